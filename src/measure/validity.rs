//! When a run is INVALID: the harness must know when it was the bottleneck itself.
//!
//! [`CHECKS`] is the table of everything that is looked at: another check is another entry.

use super::{Metric, Quantile, Totals};
use crate::event::FailureClass;
use crate::report::result::{Generator, ProbeResult, Validity, ValidityCheck};
use crate::report::text::{chosen, count};
use crate::scenario::ValidityLimits;
use crate::time::Micros;

/// What a check says that had nothing to look at.
pub const NOT_MEASURED: &str = "not measured";

/// The name of the check that is made only when it is asked for.
pub const PRESSURE: &str = "CPU pressure";

/// What a run is judged by.
pub struct Evidence<'a> {
    /// What was measured.
    pub totals: &'a Totals,
    /// The generator's health.
    pub generator: &'a Generator,
    /// What its probe saw, if there was one.
    pub probe: Option<ProbeResult>,
    /// Shards that drove devices which nobody drives any more.
    pub lost_shards: u32,
}

/// Something seen, or its limit.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Amount {
    /// A span of time.
    Time(Micros),
    /// A share of a whole.
    Share(f64),
    /// So many.
    Count(u64),
}

use Amount::{Count, Share, Time};

impl Amount {
    /// As it was measured.
    fn seen(self) -> String {
        match self {
            Time(t) => t.to_string(),
            Share(s) => format!("{:.1} %", s * 100.0),
            Count(n) => count(n),
        }
    }

    /// As somebody chose it.
    fn chosen(self) -> String {
        match self {
            Time(t) => chosen(t.0),
            // Without the noise of a binary fraction.
            Share(s) => format!("{} %", (s * 1e6).round() / 1e4),
            Count(n) => count(n),
        }
    }
}

/// One thing that is looked at.
pub struct Check {
    /// Its name in reports.
    pub name: &'static str,
    /// What was seen; `None`: it could not be measured, and makes nothing invalid.
    pub seen: fn(&Evidence<'_>) -> Option<Amount>,
    /// The most that is allowed; `None`: it is not judged.
    pub limit: fn(&Evidence<'_>, &ValidityLimits) -> Option<Amount>,
    /// The likely cause of more.
    pub cause: &'static str,
    /// What to try then, with the flag.
    pub try_this: &'static str,
}

/// Everything that is looked at.
pub const CHECKS: &[Check] = &[
    Check {
        name: "send lateness p99",
        // Without what the server or the network made it wait for.
        seen: |e| {
            e.totals.all.metric(Metric::OwnLateness).quantile(0.99).and_then(Quantile::finite).map(Time)
        },
        limit: |_, l| Some(Time(l.send_lateness_p99)),
        cause: "the generator could not keep its schedule: too many devices for its cores, or other work on this machine",
        try_this: "fewer devices (-u), larger chunks (--set audio.chunk=100ms), the server on another machine, or an idle machine",
    },
    Check {
        name: "send lateness max",
        seen: |e| e.totals.all.metric(Metric::OwnLateness).max().map(Time),
        limit: |_, l| Some(Time(l.send_lateness_max)),
        cause: "the generator stood still for a moment: another process, a paused virtual machine, swapping",
        try_this: "an idle machine, or --set validity.send_lateness_max=… if a single pause does not matter to you",
    },
    Check {
        name: "ticker lag p99",
        // Of the worst thread: a few devices of a large fleet must not be lost in the crowd. What arrives is noticed
        // as late as the timer is.
        seen: |e| {
            e.generator.threads.iter().filter_map(|t| t.ticker_lag_p99_us).max().map(|us| Time(Micros(us)))
        },
        limit: |_, l| Some(Time(l.send_lateness_p99)),
        cause: "a thread of the generator was not scheduled, or had more to do than it could: what arrived was noticed late",
        try_this: "fewer devices (-u), the server on another machine, or an idle machine",
    },
    Check {
        name: "fleet against probe",
        seen: |e| e.probe.as_ref().and_then(|p| p.outside_us).map(|us| Time(Micros(us))),
        limit: |e, l| e.probe.is_some().then_some(Time(l.probe_margin)),
        cause: "the same conversations on a quiet thread had another median TTFA: the fleet measured the generator",
        try_this: "fewer devices (-u), or --set validity.probe=0 where devices differ by their number (target.data)",
    },
    Check {
        name: "CPU of the generator",
        seen: |e| Some(Share(e.generator.cpu_share)),
        limit: |_, l| Some(Share(l.cpu)),
        cause: "the generator had no CPU time to spare",
        try_this: "fewer devices (-u), or a machine with more cores",
    },
    Check {
        name: "CPU steal",
        seen: |e| e.generator.steal_share.map(Share),
        limit: |_, l| Some(Share(l.steal)),
        cause: "other guests of the same hardware took CPU time away",
        try_this: "a dedicated machine, run again, or --set validity.steal=… if the lateness above is good enough for you",
    },
    Check {
        name: PRESSURE,
        seen: |e| e.generator.pressure_share.map(Share),
        // All of the time is more than there can be: not judged.
        limit: |_, l| Some(Share(l.pressure)).filter(|_| l.pressure < 1.0),
        cause: "more wanted to run on this machine than it has cores for",
        try_this: "the server on another machine, an idle machine, or --set validity.pressure=…",
    },
    Check {
        name: "open files",
        seen: |e| e.generator.open_files_peak.map(Count),
        limit: |e, _| e.generator.open_files_limit.map(|most| Count(most.saturating_sub(1))),
        cause: "the limit of open files was reached: no further device could connect",
        try_this: "raise it (ulimit -n, or LimitNOFILE= of the service), or fewer devices (-u)",
    },
    Check {
        name: "local ports of an address",
        seen: |e| Some(Count(e.generator.ports_peak)),
        limit: |e, _| e.generator.ports_limit.map(|most| Count(most.saturating_sub(1))),
        cause: "every local port towards the server was taken: no further device could connect",
        try_this: "more source addresses (--source-ip), a wider net.ipv4.ip_local_port_range, or fewer devices (-u)",
    },
    Check {
        name: "local limits hit",
        seen: |e| {
            let failed = e.totals.all.failures.get(&FailureClass::LocalLimit);
            Some(Count(failed.map_or(0, |f| f.turns + f.connections)))
        },
        limit: |_, _| Some(Count(0)),
        cause: "this machine ran out of descriptors, local ports or memory, and devices stayed away: `local_limit` among the \
                failures says which",
        try_this: "ulimit -n for descriptors, --source-ip for ports, or fewer devices (-u)",
    },
    Check {
        name: "threads lost",
        seen: |e| Some(Count(e.lost_shards.into())),
        limit: |_, _| Some(Count(0)),
        cause: "a thread that drives devices could not start or failed, and its devices with it",
        try_this: "the message on standard error says why; fewer devices (-u), or more memory",
    },
    Check {
        name: "turns missed",
        seen: |e| Some(Count(e.totals.all.counts.missed)),
        limit: |_, _| Some(Count(0)),
        cause: "sessions arrived while fleet.devices of them were open already",
        try_this: "raise fleet.devices (-u), or lower fleet.rate",
    },
];

/// Judges a run by `limits`; those that differ from voxload's own, `defaults`, are named.
pub fn judge(evidence: Evidence<'_>, limits: &ValidityLimits, defaults: &ValidityLimits) -> Validity {
    let (mut checks, mut loosened, mut tightened) = (Vec::new(), Vec::new(), Vec::new());
    for check in CHECKS {
        let (limit, default) = ((check.limit)(&evidence, limits), (check.limit)(&evidence, defaults));
        if limit != default {
            // Not judged is as loose as can be.
            let looser = limit.is_none_or(|l| default.is_some_and(|d| l > d));
            let text = |l: Option<Amount>| {
                l.map_or_else(|| "not judged".to_owned(), |l| format!("≤ {}", l.chosen()))
            };
            let line = format!("{} {} (default {})", check.name, text(limit), text(default));
            (if looser { &mut loosened } else { &mut tightened }).push(line);
        }
        let Some(limit) = limit else { continue };
        let seen = (check.seen)(&evidence);
        let ok = seen.is_none_or(|seen| seen <= limit);
        let when_bad = |text: &str| if ok { String::new() } else { text.to_owned() };
        checks.push(ValidityCheck {
            name: check.name.to_owned(),
            seen: seen.map_or_else(|| NOT_MEASURED.to_owned(), Amount::seen),
            limit: format!("≤ {}", limit.chosen()),
            ok,
            cause: when_bad(check.cause),
            try_this: when_bad(check.try_this),
        });
    }
    Validity { valid: checks.iter().all(|c| c.ok), checks, loosened, tightened, probe: evidence.probe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Sent};
    use crate::measure::Recorder;

    const MS: fn(i64) -> Micros = Micros::from_millis;

    /// A run whose chunks were so late, each after the other.
    fn totals(late: &[i64]) -> Totals {
        let mut recorder = Recorder::new(Micros::ZERO, true);
        late.iter().for_each(|&ms| recorder.sent(Sent::Audio, 1, MS(0), MS(0), MS(ms)));
        totals_of(&mut recorder)
    }

    fn totals_of(recorder: &mut Recorder) -> Totals {
        let mut totals = Totals::new(MS(1_000));
        totals.add(Micros::ZERO, MS(1_000), &recorder.take());
        totals
    }

    fn limits() -> ValidityLimits {
        ValidityLimits::defaults()
    }

    fn bad(evidence: Evidence<'_>, limits: &ValidityLimits) -> Vec<String> {
        let v = judge(evidence, limits, &ValidityLimits::defaults());
        assert_eq!(v.valid, v.checks.iter().all(|c| c.ok));
        for c in &v.checks {
            assert_eq!((c.ok, c.ok), (c.cause.is_empty(), c.try_this.is_empty()), "{c:?}");
        }
        v.checks
            .into_iter()
            .filter(|c| !c.ok)
            .map(|c| format!("{}: {}, {}", c.name, c.seen, c.limit))
            .collect()
    }

    #[test]
    fn every_limit_can_be_exceeded_and_only_just() {
        let calm = Generator {
            open_files_peak: Some(99),
            open_files_limit: Some(100),
            ports_peak: 49,
            ports_limit: Some(50),
            cpu_share: 0.9,
            steal_share: Some(0.05),
            pressure_share: Some(1.0),
            ..Generator::default()
        };
        let punctual = totals(&[5]);
        let judged = |totals, generator: &Generator, lost_shards| {
            bad(Evidence { totals, generator, lost_shards, probe: None }, &limits())
        };
        assert_eq!(judged(&punctual, &calm, 0), Vec::<String>::new());
        let tired = Generator {
            open_files_peak: Some(100),
            ports_peak: 50,
            cpu_share: 0.901,
            steal_share: Some(0.051),
            ..calm.clone()
        };
        let mut recorder = Recorder::new(Micros::ZERO, true);
        recorder.sent(Sent::Audio, 1, MS(0), MS(0), MS(251));
        recorder.record(0, MS(1), Event::Missed { turns: 3 });
        let lost = |class| Event::ConnectionLost { class, detail: "x".into(), established: false };
        recorder.record(0, MS(1), lost(FailureClass::LocalLimit));
        recorder.record(0, MS(1), lost(FailureClass::Refused));
        let late = totals_of(&mut recorder);
        insta::assert_snapshot!(judged(&late, &tired, 1).join("\n"), @r"
        send lateness p99: 251 ms, ≤ 5 ms
        send lateness max: 251 ms, ≤ 250 ms
        CPU of the generator: 90.1 %, ≤ 90 %
        CPU steal: 5.1 %, ≤ 5 %
        open files: 100, ≤ 99
        local ports of an address: 50, ≤ 49
        local limits hit: 1, ≤ 0
        threads lost: 1, ≤ 0
        turns missed: 3, ≤ 0
        ");
    }

    #[test]
    fn waiting_for_the_socket_is_not_the_generators_lateness() {
        let mut recorder = Recorder::new(Micros::ZERO, true);
        recorder.sent(Sent::Audio, 1, MS(0), MS(900), MS(901));
        let generator = Generator::default();
        assert!(
            bad(
                Evidence {
                    totals: &totals_of(&mut recorder),
                    generator: &generator,
                    probe: None,
                    lost_shards: 0
                },
                &limits()
            )
            .is_empty()
        );
    }

    #[test]
    fn what_was_not_measured_says_so_and_what_is_not_judged_is_left_out() {
        let (totals, generator) = (totals(&[]), Generator::default());
        let evidence = || Evidence { totals: &totals, generator: &generator, probe: None, lost_shards: 0 };
        let v = judge(evidence(), &limits(), &limits());
        let of = |name: &str| v.checks.iter().find(|c| c.name == name);
        for name in ["send lateness p99", "CPU steal"] {
            assert_eq!(of(name).map(|c| (c.seen.as_str(), c.ok)), Some(("not measured", true)));
        }
        assert!(of("CPU pressure").is_none() && of("open files").is_none());
    }

    #[test]
    fn changed_limits_are_named() {
        let (totals, generator) =
            (totals(&[12]), Generator { pressure_share: Some(0.4), ..Generator::default() });
        let evidence = || Evidence { totals: &totals, generator: &generator, probe: None, lost_shards: 0 };
        let mine = ValidityLimits { send_lateness_p99: MS(20), steal: 0.01, pressure: 0.3, ..limits() };
        let v = judge(evidence(), &mine, &limits());
        insta::assert_snapshot!([v.loosened.join("\n"), v.tightened.join("\n")].join("\n--\n"), @r"
        send lateness p99 ≤ 20 ms (default ≤ 5 ms)
        ticker lag p99 ≤ 20 ms (default ≤ 5 ms)
        --
        CPU steal ≤ 1 % (default ≤ 5 %)
        CPU pressure ≤ 30 % (default not judged)
        ");
        assert_eq!(bad(evidence(), &mine), ["CPU pressure: 40.0 %, ≤ 30 %"]);
        assert_eq!(bad(evidence(), &limits()), ["send lateness p99: 12.0 ms, ≤ 5 ms"]);
    }
}
