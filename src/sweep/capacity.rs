//! How many devices one server carries at each cell: a short `voxload capacity` for each, after the rounds.
//!
//! Nothing is derived from CPU: what a server of somebody's own can bear ends where a budget breaks, and only a search finds that.

use std::fs;
use std::path::{Path, PathBuf};

use super::document::CellCapacity;
use super::{Job, child};
use crate::capacity::document::{CapacityReport, Ended};
use crate::exit::Failure;
use crate::scenario::Scenario;
use crate::scenario::units::format_duration;
use crate::subprocess::Stop;
use crate::time::Micros;

/// Searches lie in it, each in a folder of its own.
pub const FOLDER: &str = "capacity";

/// A search has so many probes, about.
const PROBES: i64 = 15;

/// Probes are no shorter, and no longer.
const PROBE: [Micros; 2] = [Micros::from_secs(4), Micros::from_secs(20)];

/// Keys that a search sets itself: they can be no axis, and what the command line says of them is about the runs of the rounds.
pub const OWN: [&str; 8] = [
    "fleet.devices",
    "fleet.rate",
    "fleet.stages",
    "fleet.duration",
    "fleet.warmup",
    "fleet.ramp",
    "seed",
    "report.dir",
];

impl Job {
    /// Where the search of a cell is.
    fn searched(&self, cell: u32) -> PathBuf {
        self.dir.join(FOLDER).join(format!("c{cell:02}"))
    }

    /// Cells whose search is still to be made.
    pub fn searches_left(&self) -> usize {
        if self.plan.capacity == Micros::ZERO {
            return 0;
        }
        self.grid.cells.iter().filter(|c| finished(&self.searched(c.number)).is_none()).count()
    }
}

/// What keeps a search from being made in every cell.
pub fn check(job: &Job) -> Result<(), Failure> {
    if job.plan.capacity == Micros::ZERO {
        return Ok(());
    }
    if let Some(axis) = job.grid.axes.iter().find(|a| OWN.contains(&a.key.as_str())) {
        return Err(Failure::usage(format!(
            "sweep.capacity: `{}` is an axis of this sweep, and a search of the capacity sets it itself\n  \
             take the axis away (--axis '{}='), or leave --capacity out",
            axis.key, axis.key
        )));
    }
    let vague = job.grid.cells.iter().find(|c| c.scenario.thresholds.is_empty());
    match vague {
        None => Ok(()),
        Some(_) => Err(Failure::usage(
            "sweep.capacity: what does \"carries\" mean? The scenario has no thresholds\n  \
             give them, for example: --threshold 'ttfa:p(95)<300ms' --threshold 'turns.failed:rate<1%'",
        )),
    }
}

/// The arguments of a search after the scenario and its keys.
pub fn arguments(scenario: &Scenario, time: Micros, dir: &Path) -> Vec<String> {
    let probe = (time / PROBES).clamp(PROBE[0], PROBE[1]);
    let mut words =
        vec!["--time".to_owned(), format_duration(time), "--probe".to_owned(), format_duration(probe)];
    if scenario.fleet.arrivals == crate::scenario::Arrivals::Closed {
        // What the rounds had no trouble with, as a rule.
        words.extend(["--from".to_owned(), scenario.fleet.devices.to_string()]);
    }
    words.extend(["--report-dir".to_owned(), dir.display().to_string(), "--quiet".to_owned()]);
    words
}

/// Makes the searches that are not there yet. False: the user has interrupted. `args` are those of the search of a cell (its
/// number and its folder); `say` is told which begins.
pub fn search(
    job: &Job,
    stop: &Stop,
    args: &dyn Fn(u32, &Path) -> Vec<String>,
    say: &mut dyn FnMut(&str, usize),
) -> Result<bool, Failure> {
    if job.plan.capacity == Micros::ZERO {
        return Ok(true);
    }
    for cell in &job.grid.cells {
        let dir = job.searched(cell.number);
        if finished(&dir).is_some() {
            continue;
        }
        if stop.asked() {
            return Ok(false);
        }
        say(&cell.label(&job.grid.axes), job.searches_left());
        let cannot =
            |what: &str, e: std::io::Error| Failure::usage(format!("cannot {what} {}: {e}", dir.display()));
        if dir.exists() {
            // Of a search that was interrupted; it is made anew.
            fs::remove_dir_all(&dir).map_err(|e| cannot("remove", e))?;
        }
        fs::create_dir_all(&dir).map_err(|e| cannot("create", e))?;
        let said = dir.with_extension("stderr");
        if !child::run(&args(cell.number, &dir), &said, job.plan.capacity, stop)? {
            return Ok(false);
        }
        if finished(&dir).is_none() {
            return Err(Failure::usage(format!("a search left no answer in {}", dir.display())));
        }
    }
    Ok(true)
}

/// What was found of a cell; `None`: not searched, or not to its end.
pub(super) fn found(job: &Job, cell: u32) -> Option<CellCapacity> {
    if job.plan.capacity == Micros::ZERO {
        return None;
    }
    let dir = job.searched(cell);
    let report = finished(&dir)?;
    let below = dir.strip_prefix(&job.dir).unwrap_or(&dir).display().to_string();
    Some(of(&report, below))
}

fn finished(dir: &Path) -> Option<CapacityReport> {
    crate::capacity::read(dir).ok().filter(|r| r.ended != Ended::Interrupted)
}

fn of(r: &CapacityReport, dir: String) -> CellCapacity {
    CellCapacity {
        unit: r.unit,
        load: r.answer.map(|a| a.load),
        low: r.answer.map(|a| a.low),
        high: r.answer.map(|a| a.high),
        at_least: r.held,
        less_than: r.failed,
        certain: r.answer.map_or(r.certain, |a| a.confirmed),
        sentence: r.sentence.clone(),
        dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::sample;
    use crate::scenario::{self, Source};

    #[test]
    fn a_cell_has_what_its_search_found() {
        let found = sample::found();
        let c = of(&found, "capacity/c01".to_owned());
        assert_eq!((c.load, c.certain), (found.answer.map(|a| a.load), true));
        let c = of(&sample::harness(), String::new());
        assert!(c.load.is_none() && c.at_least == Some(320.0), "{c:?}");
    }

    #[test]
    fn searches_are_as_long_as_the_time_allows() {
        let s = scenario::load(&Source::inline("a", "[fleet]\ndevices = 30\n"), &[]).unwrap();
        let line = |time| arguments(&s, Micros::from_secs(time), Path::new("x")).join(" ");
        assert_eq!(line(180), "--time 3m --probe 12s --from 30 --report-dir x --quiet");
        assert!(line(10).contains("--probe 4s") && line(3_600).contains("--probe 20s"));
    }

    #[test]
    fn an_interrupted_search_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut r = sample::found();
        crate::capacity::write(&r, dir.path());
        assert!(finished(dir.path()).is_some());
        r.ended = Ended::Interrupted;
        crate::capacity::write(&r, dir.path());
        assert!(finished(dir.path()).is_none() && finished(&dir.path().join("gone")).is_none());
    }
}
