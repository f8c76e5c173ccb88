//! The negative control: a harness that is starved of CPU must say so, and a healthy one must not.
//!
//! Starved: the whole run is confined to one core that busy threads of ours keep occupied, with more devices than are
//! left room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::lab::{Lab, Order, why_invalid};
use super::{Check, Finding, Trouble};
use crate::measure::health;
use crate::report::result::RunResult;

/// Busy threads on the core of the starved run: it gets a share among them.
const BUSY: u32 = 16;
/// Devices of the starved run.
const MANY: u32 = 300;
/// Devices of the healthy run.
const FEW: u32 = 50;

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let repeats = lab.pick(5, 2);
    let (mut starved, mut healthy) = (Vec::new(), Vec::new());
    for n in 1..=repeats {
        lab.step(&format!("starved run {n} of {repeats}"));
        let hunger = Hunger::begin();
        let ran = lab.run(&[order(&format!("starved-{n}"), MANY, "20ms")]);
        drop(hunger);
        starved.extend(ran?.pop().map(|r| r.result));
        lab.step(&format!("healthy run {n} of {repeats}"));
        let ran = lab.run(&[order(&format!("healthy-{n}"), FEW, "60ms")])?.pop();
        healthy.extend(ran.map(|r| r.result));
    }
    let mut finding = judge(&starved, &healthy);
    finding.notes.push(if CONFINED {
        format!("Starved: {MANY} devices with 20 ms chunks, on one core together with {BUSY} busy threads. Healthy: {FEW} devices.")
    } else {
        format!("Starved: {MANY} devices with 20 ms chunks, beside {BUSY} busy threads a core. Healthy: {FEW} devices.")
    });
    Ok(finding)
}

fn order(name: &str, devices: u32, chunk: &str) -> Order {
    Order::new(
        name,
        format!(
            "[fleet]\ndevices = {devices}\nduration = \"4s\"\nramp = \"500ms\"\ngraceful_stop = \"500ms\"\n\
             [audio]\nfixtures = [\"dragon-story\"]\nchunk = \"{chunk}\"\n\
             [turn]\ncount = 0\nthink = \"uniform(0ms, 1s)\""
        ),
    )
}

fn judge(starved: &[RunResult], healthy: &[RunResult]) -> Finding {
    let invalid = |runs: &[RunResult]| runs.iter().filter(|r| !r.validity.valid).count();
    let reasons = |runs: &[RunResult]| {
        let first = runs.iter().find(|r| !r.validity.valid);
        first.map_or_else(String::new, |r| format!("; {}", why_invalid(r)))
    };
    let (hungry, ill) = (invalid(starved), invalid(healthy));
    let all = |runs: &[RunResult]| runs.len();
    Finding {
        checks: vec![
            Check::new(
                "starved runs that say INVALID",
                format!("{} of {}", all(starved), all(starved)),
                format!("{hungry} of {}{}", all(starved), reasons(starved)),
                hungry == starved.len() && !starved.is_empty(),
            ),
            Check::new(
                "healthy runs that say INVALID",
                "0",
                format!("{ill} of {}{}", all(healthy), reasons(healthy)),
                ill == 0 && !healthy.is_empty(),
            ),
        ],
        ..Finding::default()
    }
}

/// Threads that keep a core busy while they live; meanwhile, whatever this thread starts runs on that core alone.
struct Hunger {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    freedom: confine::Freedom,
}

impl Hunger {
    fn begin() -> Self {
        let freedom = confine::to_one_core();
        let stop = Arc::<AtomicBool>::default();
        let threads = BUSY * if CONFINED { 1 } else { health::cores() };
        let threads = (0..threads).filter_map(|_| {
            let stop = Arc::clone(&stop);
            let work = move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box((0..1_000_u64).map(std::hint::black_box).sum::<u64>());
                }
            };
            // Threads inherit the core.
            std::thread::Builder::new().name("busy".to_owned()).spawn(work).ok()
        });
        Self { threads: threads.collect(), stop, freedom }
    }
}

impl Drop for Hunger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|t| drop(t.join()));
        confine::release(&self.freedom);
    }
}

/// Whether a run can be confined to one core here.
const CONFINED: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
mod confine {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Where this thread could run before.
    pub(super) type Freedom = Option<CpuSet>;

    /// Confines this thread, and what it starts, to the first core that it may use.
    pub(super) fn to_one_core() -> Freedom {
        let before = sched_getaffinity(None).ok()?;
        let first = (0..CpuSet::MAX_CPU).find(|&n| before.is_set(n))?;
        let mut one = CpuSet::new();
        one.set(first);
        // Refused: the busy threads are there all the same, and the verdict shows whether they were enough.
        let _ = sched_setaffinity(None, &one);
        Some(before)
    }

    pub(super) fn release(freedom: &Freedom) {
        if let Some(before) = freedom {
            let _ = sched_setaffinity(None, before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod confine {
    pub(super) type Freedom = ();
    pub(super) fn to_one_core() -> Freedom {}
    pub(super) fn release((): &Freedom) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Kind};

    #[test]
    fn every_verdict_must_be_right() {
        let run = |valid| {
            let mut r = sample::make(Kind::Good, 1, 50).result;
            r.validity.valid = valid;
            r
        };
        let holds = |starved: &[RunResult], healthy: &[RunResult]| {
            judge(starved, healthy).checks.iter().all(|c| c.ok)
        };
        let (valid, invalid) = (run(true), run(false));
        let twice = |r: &RunResult| [r.clone(), r.clone()];
        assert!(holds(&twice(&invalid), &twice(&valid)));
        assert!(!holds(&[invalid.clone(), valid.clone()], &twice(&valid)));
        assert!(!holds(&twice(&invalid), &[valid.clone(), invalid]));
        assert!(!holds(&[], &[valid]), "unmeasured is not OK");
    }

    #[test]
    fn a_confined_thread_is_free_again() {
        let cores = health::cores();
        let hunger = Hunger::begin();
        let confined = health::cores();
        drop(hunger);
        assert_eq!(health::cores(), cores);
        assert!(confined == 1 || !CONFINED);
    }
}
