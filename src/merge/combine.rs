//! What processes are together: their generators, their machines, their validity.

use std::collections::BTreeMap;

use super::check::{Process, Shards};
use crate::measure::Totals;
use crate::report::result::{
    DialectResult, Generator, HostInfo, LoadPhase, ProcessResult, ShardInfo, ThreadResult, Validity,
    ValidityCheck,
};

/// The check that every part of the fleet was played to its end.
const COMPLETE: &str = "shards complete";

/// Processes that a check names.
const NAMED: usize = 3;

/// Each process for itself.
pub(super) fn processes(shards: &Shards) -> Vec<ProcessResult> {
    let of = |p: &Process| ProcessResult {
        shard: shard(p),
        folder: p.dir.display().to_string(),
        complete: p.is_complete(),
        valid: p.result.validity.valid,
        not_met: bad(p).map(|c| format!("{}: {} (limit {})", c.name, c.seen, c.limit)).collect(),
        duration_us: p.result.duration_us,
        generator: p.result.generator.clone(),
        host: p.result.host.clone(),
        command: p.result.command.clone(),
    };
    shards.processes.iter().map(of).collect()
}

fn shard(p: &Process) -> ShardInfo {
    let machine = p.result.shard.as_ref().map_or_else(String::new, |s| s.machine.clone());
    ShardInfo {
        number: p.head.part.number(),
        of: p.head.part.of(),
        start_at: p.head.start.to_string(),
        machine,
    }
}

fn bad(p: &Process) -> impl Iterator<Item = &ValidityCheck> {
    p.result.validity.checks.iter().filter(|c| !c.ok)
}

/// The generators as one: sums where they add up; the worst where shares, peaks and limits do not. `most`: devices that
/// the scenario allows at once.
pub(super) fn generator(shards: &Shards, totals: &Totals, most: u32) -> Generator {
    let mut all = Generator::default();
    for p in &shards.processes {
        // Without `..`: who adds a field decides here what it is of several processes.
        let Generator {
            devices: _,
            shards,
            messages_sent,
            messages_received,
            bytes_sent,
            bytes_received,
            load_us,
            cpu_us,
            cpu_share,
            cpu_us_per_message: _,
            rss_base_bytes,
            rss_peak_bytes,
            rss_bytes_per_device: _,
            steal_share,
            threads,
            pressure_share,
            open_files_peak,
            open_files_limit,
            source_addresses,
            ports_peak,
            ports_limit,
        } = p.result.generator.clone();
        all.shards = all.shards.saturating_add(shards);
        all.messages_sent = all.messages_sent.saturating_add(messages_sent);
        all.messages_received = all.messages_received.saturating_add(messages_received);
        all.bytes_sent = all.bytes_sent.saturating_add(bytes_sent);
        all.bytes_received = all.bytes_received.saturating_add(bytes_received);
        all.load_us = all.load_us.max(load_us);
        all.cpu_us = all.cpu_us.saturating_add(cpu_us);
        all.cpu_share = all.cpu_share.max(cpu_share);
        all.rss_base_bytes = all.rss_base_bytes.saturating_add(rss_base_bytes);
        all.rss_peak_bytes = all.rss_peak_bytes.saturating_add(rss_peak_bytes);
        all.steal_share = largest(all.steal_share, steal_share);
        all.pressure_share = largest(all.pressure_share, pressure_share);
        let named = |t: ThreadResult| ThreadResult { name: format!("{} {}", p.head.part, t.name), ..t };
        all.threads.extend(threads.into_iter().map(named));
        (all.open_files_peak, all.open_files_limit) =
            nearest((all.open_files_peak, all.open_files_limit), (open_files_peak, open_files_limit));
        all.source_addresses = all.source_addresses.saturating_add(source_addresses);
        let ports = nearest((Some(all.ports_peak), all.ports_limit), (Some(ports_peak), ports_limit));
        (all.ports_peak, all.ports_limit) = (ports.0.unwrap_or(0), ports.1);
    }
    all.devices = u32::try_from(totals.peak_connected.max(0)).unwrap_or(u32::MAX).min(most);
    let messages = all.messages_sent.saturating_add(all.messages_received);
    all.cpu_us_per_message = all.cpu_us as f64 / messages.max(1) as f64;
    let over_base = all.rss_peak_bytes.saturating_sub(all.rss_base_bytes);
    all.rss_bytes_per_device = over_base / u64::from(all.devices.max(1));
    all
}

/// What the rules of the dialect have seen in all of them.
pub(super) fn dialect(shards: &Shards) -> Option<DialectResult> {
    let mut all: Option<DialectResult> = None;
    for d in shards.processes.iter().filter_map(|p| p.result.dialect.clone()) {
        let Some(all) = &mut all else {
            all = Some(d);
            continue;
        };
        // Without `..`: who adds a field decides here what it is of several processes.
        let DialectResult { connections, rules, unmatched, examples } = d;
        all.connections = all.connections.saturating_add(connections);
        all.unmatched = all.unmatched.saturating_add(unmatched);
        for rule in rules {
            match all.rules.iter_mut().find(|r| r.name == rule.name) {
                Some(known) => known.fired = known.fired.saturating_add(rule.fired),
                None => all.rules.push(rule),
            }
        }
        for example in examples {
            match all.examples.iter_mut().find(|e| e.shape == example.shape) {
                Some(known) => known.count = known.count.saturating_add(example.count),
                None => all.examples.push(example),
            }
        }
    }
    all
}

/// The phases of the load: the plan is the same for all, and over when the last process is.
pub(super) fn phases(shards: &Shards) -> Vec<LoadPhase> {
    let longest = shards.processes.iter().max_by_key(|p| p.result.duration_us);
    longest.map_or_else(Vec::new, |p| p.result.phases.clone())
}

fn largest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

/// Of two peaks with their limits, the one that leaves less room.
fn nearest(a: (Option<u64>, Option<u64>), b: (Option<u64>, Option<u64>)) -> (Option<u64>, Option<u64>) {
    let used = |(peak, limit): (Option<u64>, Option<u64>)| {
        // Without a limit, the larger peak; with one, always before those without.
        (limit.is_some(), peak.unwrap_or(0) as f64 / limit.map_or(1.0, |l| l.max(1) as f64))
    };
    if used(b) > used(a) { b } else { a }
}

/// The machines as one: a machine with two processes counts once.
pub(super) fn host(shards: &Shards) -> HostInfo {
    let mut machines: BTreeMap<String, &HostInfo> = BTreeMap::new();
    for p in &shards.processes {
        machines.entry(shard(p).machine).or_insert(&p.result.host);
    }
    let mut all = HostInfo { open_files: u64::MAX, ..HostInfo::default() };
    let (mut systems, mut processors): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for HostInfo { os, cpu, cores, memory_bytes, open_files } in machines.values() {
        systems.push(os);
        processors.push(cpu);
        all.cores = all.cores.saturating_add(*cores);
        all.memory_bytes = all.memory_bytes.saturating_add(*memory_bytes);
        all.open_files = all.open_files.min(*open_files);
    }
    let several = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.dedup();
        names.join(" / ")
    };
    all.os = several(systems);
    all.cpu = several(processors);
    all
}

/// The validity of the whole: what was judged together, and what did not hold in any process by itself. One process that
/// could not keep up falsifies its part, however well the others did.
pub(super) fn validity(mut together: Validity, shards: &Shards) -> Validity {
    let mut by_name: BTreeMap<&str, Vec<(String, &ValidityCheck)>> = BTreeMap::new();
    for p in &shards.processes {
        let machine = shard(p).machine;
        let place = if machine.is_empty() { String::new() } else { format!(" on {machine}") };
        for c in bad(p) {
            let place = format!("shard {}{place}", p.head.part);
            by_name.entry(&c.name).or_default().push((place, c));
        }
    }
    for (name, failed) in by_name {
        let mut seen: Vec<_> =
            failed.iter().take(NAMED).map(|(place, c)| format!("{} in {place}", c.seen)).collect();
        if failed.len() > NAMED {
            seen.push(format!("and {} more", failed.len() - NAMED));
        }
        let Some((_, first)) = failed.first() else { continue };
        let check = ValidityCheck { seen: seen.join(", "), ..(*first).clone() };
        match together.checks.iter_mut().find(|c| c.name == name) {
            Some(mine) => *mine = check,
            None => together.checks.push(check),
        }
    }
    together.checks.push(complete(shards));
    together.valid = together.checks.iter().all(|c| c.ok);
    together
}

fn complete(shards: &Shards) -> ValidityCheck {
    let (of, complete) = (shards.of(), shards.complete());
    let ok = of == complete;
    let names = |what: &str, parts: Vec<String>| match parts.len() {
        0 => None,
        _ => Some(format!("{what}: {}", parts.join(", "))),
    };
    let missing = names("missing", shards.missing.iter().map(ToString::to_string).collect());
    let cut = shards.processes.iter().filter(|p| !p.is_complete()).map(|p| p.head.part.to_string());
    let cut = names("interrupted", cut.collect());
    let why: Vec<_> = missing.into_iter().chain(cut).collect();
    let when_bad = |text: String| if ok { String::new() } else { text };
    ValidityCheck {
        name: COMPLETE.to_owned(),
        seen: format!("{complete} of {of}"),
        limit: "all".to_owned(),
        ok,
        cause: when_bad(format!("load of the plan was missing ({})", why.join("; "))),
        try_this: when_bad("run all shards again, to their end".to_owned()),
    }
}
