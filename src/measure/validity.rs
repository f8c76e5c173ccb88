//! When a run is INVALID: the harness must know when it was the bottleneck itself.

use super::{Metric, Quantile, Totals};
use crate::event::FailureClass;
use crate::report::result::{Generator, ProbeResult, Validity, ValidityCheck};
use crate::scenario::ValidityLimits;
use crate::time::Micros;

/// Checks the generator's health against the limits.
/// `lost_shards` drove devices that nobody drives any more.
pub fn judge(
    totals: &Totals,
    generator: &Generator,
    limits: &ValidityLimits,
    lost_shards: u32,
    probe: Option<ProbeResult>,
) -> Validity {
    let mut checks = Vec::new();
    let mut check = |name: &str, seen: String, limit: String, ok: bool, cause: &str, try_this: &str| {
        let when_bad = |text: &str| if ok { String::new() } else { text.to_owned() };
        let (cause, try_this) = (when_bad(cause), when_bad(try_this));
        checks.push(ValidityCheck { name: name.to_owned(), seen, limit, ok, cause, try_this });
    };

    // Without what the server or the network made it wait for.
    let own = totals.all.metric(Metric::OwnLateness);
    let p99 = own.quantile(0.99).and_then(Quantile::finite);
    let shown = |t: Option<Micros>| t.map_or_else(|| "not measured".to_owned(), |t| t.to_string());
    check(
        "send lateness p99",
        shown(p99),
        format!("≤ {}", limits.send_lateness_p99),
        p99.is_none_or(|t| t <= limits.send_lateness_p99),
        "the generator could not keep its schedule: too many devices for its cores, or other work on this machine",
        "fewer devices (-u), larger chunks (--set audio.chunk=100ms), the server on another machine, or an idle machine",
    );
    let max = own.max();
    check(
        "send lateness max",
        shown(max),
        format!("≤ {}", limits.send_lateness_max),
        max.is_none_or(|t| t <= limits.send_lateness_max),
        "the generator stood still for a moment: another process, a paused virtual machine, swapping",
        "an idle machine, or --set validity.send_lateness_max=… if a single pause does not matter to you",
    );
    check(
        "CPU of the generator",
        format!("{:.0} %", generator.cpu_share * 100.0),
        format!("≤ {:.0} %", limits.cpu * 100.0),
        generator.cpu_share <= limits.cpu,
        "the generator had no CPU time to spare",
        "fewer devices (-u), or a machine with more cores",
    );
    check(
        "CPU steal",
        generator.steal_share.map_or_else(|| "not measured".to_owned(), |s| format!("{:.1} %", s * 100.0)),
        format!("≤ {:.1} %", limits.steal * 100.0),
        generator.steal_share.is_none_or(|s| s <= limits.steal),
        "other guests of the same hardware took CPU time away",
        "a dedicated machine, or run again",
    );
    check(
        "threads lost",
        lost_shards.to_string(),
        "0".to_owned(),
        lost_shards == 0,
        "a thread that drives devices could not start or failed, and its devices with it",
        "the message on standard error says why; fewer devices (-u), or more memory",
    );
    let missed = totals.all.counts.missed;
    check(
        "turns missed",
        missed.to_string(),
        "0".to_owned(),
        missed == 0,
        "sessions arrived while fleet.devices of them were open already",
        "raise fleet.devices (-u), or lower fleet.rate",
    );
    let local = totals.all.failures.get(&FailureClass::LocalLimit).map_or(0, |f| f.turns + f.connections);
    check(
        "local limits hit",
        local.to_string(),
        "0".to_owned(),
        local == 0,
        "this machine ran out of descriptors, ports or memory",
        "raise ulimit -n, or fewer devices (-u)",
    );
    Validity { valid: checks.iter().all(|c| c.ok), checks, probe }
}
