//! What is done and what is left: the folders on disk are the only state of a sweep, so that it can be resumed after
//! anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::plan::{Grid, Slot, shown};
use crate::report::json;
use crate::report::result::{RunResult, Status};
use crate::scenario::SweepOrder;

/// The plan of a sweep, in its folder.
pub const PLAN: &str = "plan.json";
/// Runs lie in it, each in a folder of its own.
pub const RUNS: &str = "runs";

/// What a sweep was started with: the same command must be given again to resume it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The version of voxload.
    pub voxload_version: String,
    /// When it was started, RFC 3339, UTC.
    pub started_at: String,
    /// Runs of each cell.
    pub repeat: u32,
    /// True: interleaved.
    pub interleaved: bool,
    /// The scenario's seed.
    pub seed: u64,
    /// The cells.
    pub cells: Vec<WrittenCell>,
}

/// A cell of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenCell {
    /// Its values, without secrets.
    pub values: Vec<String>,
    /// SHA-256 of its effective scenario (without secrets), hexadecimal.
    pub scenario: String,
}

impl Written {
    /// The plan of a sweep that starts now.
    pub fn new(grid: &Grid, repeat: u32, order: SweepOrder, seed: u64, started_at: String) -> Self {
        let cells = grid.cells.iter().map(|c| WrittenCell {
            values: shown(&grid.axes, &c.values),
            scenario: fingerprint(&c.scenario.effective),
        });
        Self {
            voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            repeat,
            interleaved: order == SweepOrder::Interleaved,
            seed,
            cells: cells.collect(),
        }
    }

    /// What keeps a sweep with that plan from going on with this one; `None`: nothing. More rounds are welcome.
    pub fn differs(&self, now: &Self) -> Option<String> {
        if self.voxload_version != now.voxload_version {
            return Some(format!("it was made by voxload {}", self.voxload_version));
        }
        if self.cells.len() != now.cells.len() {
            return Some(format!(
                "it has {} cells, and this would have {}",
                self.cells.len(),
                now.cells.len()
            ));
        }
        for (i, (then, now)) in self.cells.iter().zip(&now.cells).enumerate() {
            if then.values != now.values {
                let (then, now) = (then.values.join(", "), now.values.join(", "));
                return Some(format!("its cell {} is {then}, and this would be {now}", i + 1));
            }
            if then.scenario != now.scenario {
                return Some(format!(
                    "the scenario of its cell {} ({}) was another",
                    i + 1,
                    then.values.join(", ")
                ));
            }
        }
        if self.seed != now.seed {
            return Some(format!("its seed is {}, and this one's {}", self.seed, now.seed));
        }
        None
    }
}

/// Of the effective scenario, but for what is about the sweep itself and not about its runs.
fn fingerprint(effective: &str) -> String {
    // Comments and their alignment are gone with this.
    let mut table: toml::Table = effective.parse().unwrap_or_default();
    table.remove("sweep");
    if let Some(toml::Value::Table(report)) = table.get_mut("report") {
        report.remove("dir");
    }
    let digest = Sha256::digest(table.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What came of an attempt to make a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It counts.
    Valid,
    /// The generator was the bottleneck.
    Invalid,
    /// Not there, or interrupted: as if it had not been begun.
    Unfinished,
}

/// What is on disk: the attempts at each run, the first one first.
pub type Done = BTreeMap<Slot, Vec<Attempt>>;

/// The attempt that counts, from 1, and what came of it: the VALID one, else the last that was finished.
pub fn counting(attempts: &[Attempt]) -> Option<(u32, Attempt)> {
    let numbered = || attempts.iter().zip(1..).map(|(a, n)| (n, *a));
    numbered()
        .find(|(_, a)| *a == Attempt::Valid)
        .or_else(|| numbered().filter(|(_, a)| *a == Attempt::Invalid).last())
}

/// The next run to make, and which attempt it is; `None`: the sweep is done.
///
/// Within a group what has not been made comes first, then what is INVALID and may be tried again.
pub fn next(schedule: &[Vec<Slot>], done: &Done, retries: u32) -> Option<(Slot, u32)> {
    let invalid = |slot: &Slot| {
        let attempts = done.get(slot).map_or(&[][..], Vec::as_slice);
        match counting(attempts) {
            Some((_, Attempt::Valid)) => None,
            _ => Some(attempts.iter().filter(|a| **a == Attempt::Invalid).count() as u32),
        }
    };
    schedule.iter().find_map(|group| {
        let fresh = group.iter().find(|s| invalid(s) == Some(0));
        let again = || group.iter().find(|s| invalid(s).is_some_and(|n| (1..=retries).contains(&n)));
        fresh.or_else(again).map(|slot| (*slot, invalid(slot).unwrap_or(0) + 1))
    })
}

/// Runs that are still to be made if none of them is INVALID.
pub fn left(schedule: &[Vec<Slot>], done: &Done, retries: u32) -> usize {
    let settled = |slot: &&Slot| {
        let attempts = done.get(slot).map_or(&[][..], Vec::as_slice);
        let invalid = attempts.iter().filter(|a| **a == Attempt::Invalid).count();
        attempts.contains(&Attempt::Valid) || invalid > retries as usize
    };
    schedule.iter().flatten().filter(|s| !settled(s)).count()
}

/// What is in the folder of a sweep.
pub fn read(dir: &Path, schedule: &[Vec<Slot>], retries: u32) -> Done {
    let mut done = Done::new();
    for slot in schedule.iter().flatten() {
        let attempts = (1..=retries + 1).map(|n| attempt(&dir.join(RUNS).join(slot.folder(n))));
        let mut attempts: Vec<_> = attempts.collect();
        while attempts.last() == Some(&Attempt::Unfinished) {
            attempts.pop();
        }
        done.insert(*slot, attempts);
    }
    done
}

/// What came of the run in a folder.
pub fn attempt(dir: &Path) -> Attempt {
    // A result that cannot be read is made again.
    json::read(dir).map_or(Attempt::Unfinished, |(result, _)| of_result(&result))
}

fn of_result(result: &RunResult) -> Attempt {
    match (result.verdict.status, result.validity.valid) {
        (Status::Interrupted, _) => Attempt::Unfinished,
        (Status::Invalid, _) | (_, false) => Attempt::Invalid,
        (Status::Pass | Status::Fail, true) => Attempt::Valid,
    }
}

/// Reads the plan of an earlier sweep.
pub fn read_plan(dir: &Path) -> Result<Written, String> {
    let path = dir.join(PLAN);
    let text = fs::read_to_string(&path).map_err(|e| {
        format!(
            "cannot read {}: {e}\n  --resume takes the folder of a sweep that was interrupted",
            path.display()
        )
    })?;
    serde_json::from_str(&text).map_err(|e| format!("{} is not the plan of a sweep: {e}", path.display()))
}

/// Writes the plan.
pub fn write_plan(dir: &Path, plan: &Written) -> Result<(), String> {
    let path = dir.join(PLAN);
    let cannot = |e: &dyn std::fmt::Display| format!("cannot write {}: {e}", path.display());
    fs::create_dir_all(dir.join(RUNS)).map_err(|e| cannot(&e))?;
    let text = serde_json::to_string_pretty(plan).map_err(|e| cannot(&e))? + "\n";
    fs::write(&path, text).map_err(|e| cannot(&e))
}

#[cfg(test)]
mod tests {
    use super::Attempt::{Invalid, Unfinished, Valid};
    use super::*;
    use crate::report::sample::{self, Kind};

    fn slot(cell: u32, round: u32) -> Slot {
        Slot { cell, round }
    }

    fn schedule() -> Vec<Vec<Slot>> {
        vec![vec![slot(2, 1), slot(1, 1)], vec![slot(1, 2), slot(2, 2)]]
    }

    #[test]
    fn what_is_missing_comes_in_the_order_of_the_schedule() {
        let mut done = Done::new();
        assert_eq!(next(&schedule(), &done, 2), Some((slot(2, 1), 1)));
        assert_eq!(left(&schedule(), &done, 2), 4);
        done.insert(slot(2, 1), vec![Valid]);
        done.insert(slot(1, 2), vec![Valid]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(1, 1), 1)));
        done.insert(slot(1, 1), vec![Valid]);
        done.insert(slot(2, 2), vec![Valid]);
        assert_eq!((next(&schedule(), &done, 2), left(&schedule(), &done, 2)), (None, 0));
    }

    #[test]
    fn invalid_runs_are_made_again_at_the_end_of_their_round_and_not_for_ever() {
        let mut done = Done::from([(slot(2, 1), vec![Invalid])]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(1, 1), 1)), "what is missing first");
        done.insert(slot(1, 1), vec![Valid]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(2, 1), 2)));
        done.insert(slot(2, 1), vec![Invalid, Invalid]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(2, 1), 3)));
        done.insert(slot(2, 1), vec![Invalid, Invalid, Invalid]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(1, 2), 1)), "given up");
        assert_eq!(next(&schedule(), &done, 0), Some((slot(1, 2), 1)));
        done.insert(slot(2, 1), vec![Invalid, Valid]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(1, 2), 1)));
    }

    #[test]
    fn an_interrupted_run_is_as_if_it_had_not_been() {
        let done = Done::from([(slot(2, 1), vec![Unfinished])]);
        assert_eq!(next(&schedule(), &done, 2), Some((slot(2, 1), 1)));
        assert_eq!(counting(&[Unfinished]), None);
        assert_eq!(counting(&[Invalid, Valid]), Some((2, Valid)));
        assert_eq!(counting(&[Invalid, Invalid]), Some((2, Invalid)));
    }

    #[test]
    fn the_disk_says_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let put = |slot: Slot, attempt: u32, change: fn(&mut RunResult)| {
            let folder = dir.path().join(RUNS).join(slot.folder(attempt));
            fs::create_dir_all(&folder).unwrap();
            let mut result = sample::make(Kind::Good, 1, 100).result;
            change(&mut result);
            fs::write(folder.join("result.json"), serde_json::to_string(&result).unwrap()).unwrap();
        };
        put(slot(1, 1), 1, |_| {});
        put(slot(2, 1), 1, |r| {
            r.validity.valid = false;
            r.verdict.status = Status::Invalid;
        });
        put(slot(2, 1), 2, |_| {});
        put(slot(1, 2), 1, |r| r.verdict.status = Status::Interrupted);
        fs::create_dir_all(dir.path().join("runs/c02-r2")).unwrap();
        fs::write(dir.path().join("runs/c02-r2/result.json"), "{ half a docu").unwrap();
        let done = read(dir.path(), &schedule(), 2);
        assert_eq!(done[&slot(1, 1)], [Valid]);
        assert_eq!(done[&slot(2, 1)], [Invalid, Valid]);
        assert_eq!((done[&slot(1, 2)].len(), done[&slot(2, 2)].len()), (0, 0));
        assert_eq!(next(&schedule(), &done, 2), Some((slot(1, 2), 1)));
    }

    #[test]
    fn another_sweep_is_not_gone_on_with() {
        let cell = |values: &str, text: &str| WrittenCell {
            values: vec![values.to_owned()],
            scenario: fingerprint(text),
        };
        let plan = Written {
            voxload_version: "1".to_owned(),
            started_at: String::new(),
            repeat: 3,
            interleaved: true,
            seed: 1,
            cells: vec![
                cell("20ms", "a = 1 # file\n[report]\ndir = 's'\n[sweep]\nrepeat = 3"),
                cell("60ms", "a = 2"),
            ],
        };
        let more = Written { repeat: 5, started_at: "later".to_owned(), ..plan.clone() };
        assert_eq!(plan.differs(&more), None);
        let mut other = plan.clone();
        other.cells[0] = cell("20ms", "a  =  1  # flag\n[report]\n# dir\n[sweep]\nrepeat = 9");
        assert_eq!(plan.differs(&other), None, "the sweep's own keys");
        other.cells[1] = cell("60ms", "a = 3");
        assert!(plan.differs(&other).unwrap().contains("cell 2 (60ms) was another"));
        other.cells[1] = cell("80ms", "a = 2");
        assert!(plan.differs(&other).unwrap().contains("its cell 2 is 60ms"));
        other.cells.pop();
        assert!(plan.differs(&other).unwrap().contains("2 cells"));
        assert!(plan.differs(&Written { seed: 2, ..plan.clone() }).unwrap().contains("seed"));
        let dir = tempfile::tempdir().unwrap();
        write_plan(dir.path(), &plan).unwrap();
        assert_eq!(read_plan(dir.path()), Ok(plan));
        assert!(read_plan(Path::new("/nowhere")).unwrap_err().contains("--resume"));
    }
}
