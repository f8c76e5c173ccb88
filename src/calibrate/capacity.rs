//! How many devices the harness can drive before it would call itself invalid.

use super::document::{Capacity, CapacityPoint, Probe};
use super::search::Search;
use super::subrun::{Ended, SubRun};
use super::{Bench, Step};
use crate::measure::{Metric, health};
use crate::report::text::{chosen, count, counted, percent, span};
use crate::time::Micros;

/// One turn: somebody speaks for 0.83 s and hears 1.6 s of the reply before the next. Everybody has had one when the
/// ramp is over, so that a third speaks at every instant from then on.
const RAMP: Micros = Micros::from_millis(2_450);
const JUDGED: Micros = Micros::from_millis(1_500);
const FIXTURE: &str = "knock-knock";
const LISTENS: Micros = Micros::from_millis(1_600);
const SPEAKING_SHARE: f64 = 0.34;

/// More devices are not tried.
const MOST: u32 = 10_000;

/// Fewer devices are of no interest.
const LEAST: u32 = 10;

/// Descriptors of a run besides one per device.
const OWN_DESCRIPTORS: u64 = 100;

/// A size's share of turns or devices that may fail without the embedded server being the bottleneck.
const FAILURES: f64 = 0.01;

/// A chunk size, the runs that it may take, and where to begin: devices per core, or a multiple of what 60 ms came to.
struct Size {
    chunk: Micros,
    tries: u32,
    times: f64,
}

const FIRST: Size = Size { chunk: Micros::from_millis(60), tries: 4, times: 1.0 };
const OTHERS: [Size; 2] = [
    Size { chunk: Micros::from_millis(20), tries: 3, times: 0.5 },
    Size { chunk: Micros::from_millis(100), tries: 2, times: 1.2 },
];
const PER_CORE: u32 = 1_000;

/// Searches for each chunk size while there is time.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<Option<Capacity>, String> {
    let (most, most_because) = most(&Limits::of_machine());
    let start = PER_CORE * health::cores();
    let Some(first) = search(bench, &FIRST, most, start, &most_because)? else { return Ok(None) };
    let base = first.devices.unwrap_or(start / 4);
    let mut points = vec![first];
    let rest: &[Size] = if bench.quick { &[] } else { &OTHERS };
    for size in rest {
        let start = (f64::from(base) * size.times) as u32;
        match search(bench, size, most, start, &most_because)? {
            Some(point) => points.push(point),
            None if bench.stop.asked() => break,
            None => bench.remark(&format!("no time was left for chunks of {}", chosen(size.chunk.0))),
        }
    }
    points.sort_by_key(|p| p.chunk_us);
    Ok(Some(Capacity {
        probe_us: (RAMP + JUDGED).0,
        judged_us: JUDGED.0,
        speaking_share: SPEAKING_SHARE,
        most,
        most_because,
        others_share: others(&points),
        points,
    }))
}

fn search(
    bench: &mut Bench<'_>,
    size: &Size,
    most: u32,
    start: u32,
    most_because: &str,
) -> Result<Option<CapacityPoint>, String> {
    let mut search = Search::new(LEAST, most, start, size.tries);
    let mut probes: Vec<Probe> = Vec::new();
    while let Some(devices) = search.next() {
        if !bench.has_time_for(RAMP + JUDGED) {
            break;
        }
        let what = format!("{} with chunks of {}", counted(devices.into(), "device"), chosen(size.chunk.0));
        bench.begin(Step::Capacity, &what);
        let before = Cpu::now();
        let Some(ended) = bench.run(&plan(devices, size.chunk))? else { break };
        let mut probe = judge(devices, &ended);
        probe.others_share = before.zip(Cpu::now()).and_then(|(before, after)| after.others_since(&before));
        // A pause or a neighbour, not the load: worth another look, but not for ever.
        probe.disturbed = !probe.fits && only_disturbed(&ended) && !probes.iter().any(|p| p.disturbed);
        bench.result(&words(&probe));
        if !probe.disturbed {
            search.tell(devices, probe.fits);
        }
        probes.push(probe);
    }
    Ok(point(size.chunk, &search, probes, most_because))
}

fn plan(devices: u32, chunk: Micros) -> SubRun {
    SubRun {
        devices,
        ramp: RAMP,
        judged: JUDGED,
        chunk,
        fixture: FIXTURE,
        listens: LISTENS,
        delay: Micros::ZERO,
    }
}

fn judge(devices: u32, ended: &Ended) -> Probe {
    let r = &ended.result;
    let mut reasons = ended.failed_checks();
    let connected = r.generator.devices;
    if f64::from(connected) < f64::from(devices) * (1.0 - FAILURES) {
        reasons.push(format!(
            "only {} of {} were connected in time",
            count(connected.into()),
            count(devices.into())
        ));
    }
    let failed = r.turns.failed + r.turns.timed_out;
    if failed as f64 > r.turns.started as f64 * FAILURES {
        reasons.push(format!("{} of {} turns failed", count(failed), count(r.turns.started)));
    }
    Probe {
        devices,
        connected,
        fits: reasons.is_empty(),
        reasons,
        disturbed: false,
        cpu_us_per_message_sent: r.generator.cpu_us as f64 / r.generator.messages_sent.max(1) as f64,
        cpu_share: r.generator.cpu_share,
        own_lateness_p99_us: r.metrics.get(Metric::OwnLateness.name()).and_then(|m| m.p99_us),
        others_share: None,
    }
}

/// True when nothing failed but what a machine does to any load: pauses, and time taken by other guests.
fn only_disturbed(ended: &Ended) -> bool {
    let mut failed = ended.result.validity.checks.iter().filter(|c| !c.ok).peekable();
    failed.peek().is_some() && failed.all(|c| matches!(c.name.as_str(), "send lateness max" | "CPU steal"))
}

fn words(probe: &Probe) -> String {
    let seen = format!(
        "own lateness p99 {}, {} of the CPU, {:.1} µs a message sent",
        span(probe.own_lateness_p99_us),
        percent(probe.cpu_share),
        probe.cpu_us_per_message_sent
    );
    match (probe.fits, probe.disturbed) {
        (true, _) => format!("VALID: {seen}"),
        (false, true) => format!("disturbed, once more: {}", probe.reasons.join(", ")),
        (false, false) => format!("too many: {}", probe.reasons.join(", ")),
    }
}

/// What the search came to; `None` when nothing was tried.
fn point(chunk: Micros, search: &Search, probes: Vec<Probe>, most_because: &str) -> Option<CapacityPoint> {
    if search.fits().is_none() && search.too_many().is_none() {
        return None;
    }
    let best = probes.iter().filter(|p| p.fits).max_by_key(|p| p.devices);
    let worst = probes.iter().filter(|p| !p.fits && !p.disturbed).min_by_key(|p| p.devices);
    let devices = search.fits();
    let bound_by = match worst {
        Some(p) => p.reasons.join(", "),
        None if search.is_at_most() => most_because.to_owned(),
        None => "the time for calibrating: the next larger number was not tried".to_owned(),
    };
    Some(CapacityPoint {
        chunk_us: chunk.0,
        devices,
        too_many: search.too_many(),
        bound_by,
        devices_per_core: devices.map(|n| f64::from(n) / f64::from(health::cores())),
        cpu_us_per_message_sent: best.map(|p| p.cpu_us_per_message_sent),
        cpu_share: best.map(|p| p.cpu_share),
        own_lateness_p99_us: best.and_then(|p| p.own_lateness_p99_us),
        probes,
    })
}

/// The mean of what other programs used of the machine.
fn others(points: &[CapacityPoint]) -> Option<f64> {
    let shares: Vec<f64> = points.iter().flat_map(|p| &p.probes).filter_map(|p| p.others_share).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// CPU time so far, in ticks of the kernel.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    /// Of this process and those that it has waited for.
    ours: u64,
    /// Of all programs of the machine.
    busy: u64,
    /// Of all cores, idle or not.
    all: u64,
}

impl Cpu {
    /// From `/proc`; `None` where there is none.
    fn now() -> Option<Self> {
        let read = |file| std::fs::read_to_string(file).ok();
        Self::parse(&read("/proc/self/stat")?, &read("/proc/stat")?)
    }

    /// proc(5): utime, stime, cutime and cstime of a process; user, nice, system, … of the machine.
    fn parse(own: &str, machine: &str) -> Option<Self> {
        // The name of the program stands in parentheses, and may hold anything.
        let own = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        let ours = own.map(str::parse::<u64>).sum::<Result<u64, _>>().ok()?;
        let machine = machine.lines().next()?.split_whitespace().skip(1).take(8).map(str::parse);
        let machine = machine.collect::<Result<Vec<u64>, _>>().ok()?;
        Some(Self { ours, busy: machine.iter().take(3).sum(), all: machine.iter().sum() })
    }

    /// The share of all cores that other programs used since `before`.
    fn others_since(&self, before: &Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|n| *n > 0)?;
        let busy = self.busy.saturating_sub(before.busy);
        Some(busy.saturating_sub(self.ours.saturating_sub(before.ours)) as f64 / all as f64)
    }
}

/// What this machine allows; `None`: no limit, or not known.
struct Limits {
    open_files: Option<u64>,
    ports: Option<u64>,
}

impl Limits {
    fn of_machine() -> Self {
        let ports = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().and_then(|text| {
            let mut ends = text.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
            let (low, high) = (ends.next()?, ends.next()?);
            high.checked_sub(low).map(|n| n + 1)
        });
        Self { open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum, ports }
    }
}

/// The most devices that may be tried, and why not more.
fn most(limits: &Limits) -> (u32, String) {
    let own = (u64::from(MOST), "a calibration drives no more".to_owned());
    let files = limits.open_files.map(|n| {
        let room = n.saturating_sub(OWN_DESCRIPTORS);
        (room, format!("the hard limit of open files is {}: raise it (ulimit -Hn)", count(n)))
    });
    let ports = limits.ports.map(|n| (n, format!("one address has {} local ports", count(n))));
    let (n, why) = [files, ports].into_iter().flatten().fold(own, |a, b| if b.0 < a.0 { b } else { a });
    (u32::try_from(n).unwrap_or(MOST).clamp(1, MOST), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_binds_and_is_named() {
        let (n, why) = most(&Limits { open_files: None, ports: Some(28_232) });
        assert_eq!((n, why.as_str()), (10_000, "a calibration drives no more"));
        let (n, why) = most(&Limits { open_files: Some(4_096), ports: Some(28_232) });
        assert_eq!(
            (n, why.as_str()),
            (3_996, "the hard limit of open files is 4,096: raise it (ulimit -Hn)")
        );
        assert_eq!(most(&Limits { open_files: Some(3), ports: None }).0, 1);
        assert_eq!(
            most(&Limits { open_files: Some(1 << 20), ports: Some(500) }).1,
            "one address has 500 local ports"
        );
    }

    #[test]
    fn what_other_programs_use_is_not_ours() {
        let before = Cpu::parse(
            "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 10 20 30 40 20 0",
            "cpu  1000 0 500 8000 0 0 0 500 0 0\ncpu0 1",
        );
        let (before, after) = (
            before.unwrap(),
            Cpu::parse(
                "7 (voxload) S 1 7 7 0 -1 0 0 0 0 0 20 30 80 70 20 0",
                "cpu  1150 50 600 8600 0 0 50 550 0 0",
            ),
        );
        assert_eq!((before.ours, before.busy, before.all), (100, 1_500, 10_000));
        // 300 ticks busy, 100 of them ours, of 1,000 in all.
        assert_eq!(after.unwrap().others_since(&before), Some(0.2));
        assert_eq!(before.others_since(&before), None);
        assert!(Cpu::parse("7 voxload S", "cpu 1 2").is_none());
        let point = |share| CapacityPoint {
            probes: vec![Probe { others_share: Some(share), ..probe(10, true) }],
            ..told(1, 10, &[(10, true)]).unwrap()
        };
        assert!((others(&[point(0.05), point(0.15)]).unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(others(&[]), None);
    }

    fn probe(devices: u32, fits: bool) -> Probe {
        let reasons = if fits { Vec::new() } else { vec![format!("late at {devices}")] };
        Probe { devices, connected: devices, fits, reasons, cpu_share: 0.25, ..Probe::default() }
    }

    fn told(tries: u32, most: u32, all: &[(u32, bool)]) -> Option<CapacityPoint> {
        let mut search = Search::new(LEAST, most, 1_000, tries);
        all.iter().for_each(|(n, fits)| search.tell(*n, *fits));
        let probes = all.iter().map(|(n, fits)| probe(*n, *fits)).collect();
        point(Micros::from_millis(60), &search, probes, "the ceiling")
    }

    #[test]
    fn the_largest_valid_number_and_what_bound_it() {
        let p = told(9, 10_000, &[(1_000, true), (4_000, false), (2_000, true), (2_800, false)]).unwrap();
        assert_eq!((p.devices, p.too_many, p.bound_by.as_str()), (Some(2_000), Some(2_800), "late at 2800"));
        assert_eq!(p.cpu_share, Some(0.25));
        let p = told(9, 2_000, &[(1_000, true), (2_000, true)]).unwrap();
        assert_eq!((p.devices, p.too_many, p.bound_by.as_str()), (Some(2_000), None, "the ceiling"));
        let p = told(1, 10_000, &[(1_000, true)]).unwrap();
        assert!(p.bound_by.starts_with("the time for calibrating"), "{}", p.bound_by);
        let p = told(9, 10_000, &[(10, false)]).unwrap();
        assert_eq!((p.devices, p.too_many, p.cpu_share), (None, Some(10), None));
        assert!(told(9, 10_000, &[]).is_none());
    }
}
