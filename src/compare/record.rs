//! A series of runs: which are to be made in which order, and what is there already. No process, no clock.
//!
//! ```text
//! baselines/quickstart/baseline.json     what it is of
//!                      base/run-01/      the report of a run; …
//!                      against/run-01/   the other target, where there is one
//! order with two targets: A B B A A B B A …, so that what drifts drifts for both
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fingerprint::{Fingerprint, of_scenario};
use crate::report::RunResult;
use crate::report::result::Status;

/// The file that says what a folder is a baseline of.
pub const MANIFEST: &str = "baseline.json";
/// The folder of the runs of the scenario's own target.
pub const BASE: &str = "base";
/// The folder of the runs of the other target.
pub const AGAINST: &str = "against";

/// A run that comes out INVALID is tried so often, at most: a neighbour may have been busy for a moment.
pub const TRIES: u32 = 3;

/// What a folder is a baseline of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's layout.
    pub schema_version: u32,
    /// The version of voxload that began it.
    pub voxload_version: String,
    /// The scenario's name.
    pub name: String,
    /// The seed of the first run; the next has the next.
    pub seed: u64,
    /// The scenario: its keys, without seed and report.
    pub scenario: Fingerprint,
    /// The target of the runs in `base`, without secrets.
    pub target: String,
    /// The other side, if there is one.
    pub against: Option<Against>,
}

/// The other side of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// Its target, without secrets.
    pub target: String,
    /// Its scenario.
    pub scenario: Fingerprint,
}

/// The version of the manifest's layout.
pub const SCHEMA_VERSION: u32 = 1;

impl Manifest {
    /// Of a scenario, by its effective text.
    pub fn new(name: &str, seed: u64, effective: &str, target: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            seed,
            scenario: of_scenario(effective),
            target: target.to_owned(),
            against: None,
        }
    }

    /// What keeps runs of `self` from joining those of `there`; nothing when they can.
    pub fn differs_from(&self, there: &Self) -> Vec<String> {
        let mut what = Vec::new();
        let mut differ = |name: &str, here: String, there: String| {
            if here != there {
                what.push(format!("{name}: {there} there, {here} now"));
            }
        };
        differ("seed", self.seed.to_string(), there.seed.to_string());
        differ("target", self.target.clone(), there.target.clone());
        let other = |m: &Self| m.against.as_ref().map_or_else(|| "none".to_owned(), |a| a.target.clone());
        differ("the other target", other(self), other(there));
        // What is judged by, and what it is called, is no part of the load.
        let load = |f: &Fingerprint| {
            let mut f = f.clone();
            let judges = |k: &str| k.starts_with("validity.") || k.starts_with("gate.");
            f.retain(|k, _| !matches!(k.as_str(), "name" | "thresholds") && !judges(k));
            f
        };
        let mut keys = |prefix: &str, here: &Fingerprint, there: &Fingerprint| {
            let (here, there) = (load(here), load(there));
            for key in here.keys().chain(there.keys()).collect::<std::collections::BTreeSet<_>>() {
                let show = |f: &Fingerprint| f.get(key).cloned().unwrap_or_else(|| "not set".to_owned());
                differ(&format!("{prefix}{key}"), show(&here), show(&there));
            }
        };
        keys("", &self.scenario, &there.scenario);
        if let (Some(a), Some(b)) = (&self.against, &there.against) {
            keys("against: ", &a.scenario, &b.scenario);
        }
        what
    }
}

/// Which target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The scenario's own.
    Base,
    /// The other one.
    Against,
}

/// One run of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its target.
    pub target: Target,
    /// Its number on its side, from 1.
    pub number: u32,
    /// Its seed: the same for the runs of that number on both sides.
    pub seed: u64,
    /// Its report's folder.
    pub dir: PathBuf,
}

impl Slot {
    /// For people: `base 3`.
    pub fn name(&self) -> String {
        let side = match self.target {
            Target::Base => BASE,
            Target::Against => AGAINST,
        };
        format!("{side} {}", self.number)
    }

    /// Where an INVALID try of it is put aside.
    fn aside(&self, attempt: u32) -> PathBuf {
        let mut name = self.dir.file_name().unwrap_or_default().to_owned();
        name.push(format!("-invalid-{attempt}"));
        self.dir.with_file_name(name)
    }

    /// Where the next INVALID try of it goes; `exists` says which folders there are.
    pub fn next_aside(&self, exists: impl Fn(&Path) -> bool) -> PathBuf {
        (1..).map(|n| self.aside(n)).find(|dir| !exists(dir)).unwrap_or_else(|| self.aside(0))
    }
}

/// The runs of a baseline in the order in which they are made.
pub fn plan(dir: &Path, seeds: &[u64], two_targets: bool) -> Vec<Slot> {
    let slot = |target, number: u32, seed| {
        let side = if target == Target::Base { BASE } else { AGAINST };
        Slot { target, number, seed, dir: dir.join(side).join(folder(number)) }
    };
    let numbered = seeds.iter().zip(1..);
    numbered
        .flat_map(|(seed, n)| {
            let targets: &[Target] = match (two_targets, n % 2) {
                (false, _) => &[Target::Base],
                (true, 1) => &[Target::Base, Target::Against],
                (true, _) => &[Target::Against, Target::Base],
            };
            targets.iter().map(move |t| slot(*t, n, *seed))
        })
        .collect()
}

/// The runs of one side, straight into a folder.
pub fn one_side(dir: &Path, seeds: &[u64]) -> Vec<Slot> {
    let slot = |(seed, number): (&u64, u32)| Slot {
        target: Target::Base,
        number,
        seed: *seed,
        dir: dir.join(folder(number)),
    };
    seeds.iter().zip(1..).map(slot).collect()
}

fn folder(number: u32) -> String {
    format!("run-{number:02}")
}

/// The seeds of so many runs: one after the other. Streams are drawn from a hash of them, so that neighbours have nothing in
/// common.
pub fn seeds(first: u64, runs: u32) -> Vec<u64> {
    // A scenario's seed is a TOML integer.
    (0..u64::from(runs)).map(|n| first.wrapping_add(n) & i64::MAX as u64).collect()
}

/// Whether a run need not be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Done,
    /// It is there, and INVALID: made again unless it has been tried too often.
    Invalid,
    /// It is missing, or covers a part of its plan.
    Missing,
}

/// By what is in its folder.
pub fn state(slot: &Slot, found: Option<&RunResult>) -> State {
    match found {
        Some(r) if r.seed != slot.seed || r.verdict.status == Status::Interrupted => State::Missing,
        Some(r) if !r.validity.valid => State::Invalid,
        Some(_) => State::Done,
        None => State::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Kind, make};

    #[test]
    fn two_targets_take_turns() {
        let all = plan(Path::new("b"), &seeds(7, 4), true);
        let order: Vec<String> = all.iter().map(Slot::name).collect();
        assert_eq!(
            order,
            ["base 1", "against 1", "against 2", "base 2", "base 3", "against 3", "against 4", "base 4"]
        );
        assert_eq!(all[2].seed, all[3].seed);
        assert_eq!(all[2].dir, Path::new("b/against/run-02"));
        let one = plan(Path::new("b"), &seeds(7, 3), false);
        assert_eq!(one.iter().map(|s| s.seed).collect::<Vec<_>>(), [7, 8, 9]);
        assert!(one.iter().all(|s| s.target == Target::Base));
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let slot = &one_side(Path::new("x"), &[7])[0];
        let mut r = make(Kind::Good, 7, 100).result;
        assert_eq!(state(slot, Some(&r)), State::Done);
        assert_eq!(state(slot, None), State::Missing);
        r.verdict.status = Status::Interrupted;
        assert_eq!(state(slot, Some(&r)), State::Missing);
        assert_eq!(state(slot, Some(&make(Kind::Good, 8, 100).result)), State::Missing, "of another seed");
        assert_eq!(state(slot, Some(&make(Kind::Invalid, 7, 100).result)), State::Invalid);
        assert_eq!(slot.next_aside(|p| p.ends_with("run-01-invalid-1")), Path::new("x/run-01-invalid-2"));
    }

    #[test]
    fn a_baseline_goes_on_only_as_what_it_is() {
        let of = |text: &str| Manifest::new("a", 1, text, "ws://x/");
        let there = of("seed = 1\nthresholds = []\n[fleet]\ndevices = 5\n");
        assert!(of("seed = 2\nthresholds = [\"x\"]\n[fleet]\ndevices = 5\n").differs_from(&there).is_empty());
        let other = of("[fleet]\ndevices = 6\n");
        assert_eq!(other.differs_from(&there), ["fleet.devices: 5 there, 6 now"]);
        let two = Manifest {
            against: Some(Against { target: "ws://y/".to_owned(), scenario: there.scenario.clone() }),
            ..there.clone()
        };
        assert_eq!(two.differs_from(&there), ["the other target: none there, ws://y/ now"]);
    }
}
