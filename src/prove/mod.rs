//! The proofs: voxload held against what is known, on the reader's own machine.
//!
//! ```text
//! Proof ─▶ Lab: `voxload run` as a child, embedded server with scripted behaviour ─▶ report folders
//!             │ result.json, turns.csv, reference-*.csv
//!             ▼
//!          judge (pure): what was expected ─ what was seen ─ ok ─▶ Finding ─▶ proof.json, proof.md, charts
//! ```
//!
//! Each proof is a file here: a run, and a judgement of what it recorded. Judgements read no clock and no socket, and
//! are tested with made-up records.

use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::Serialize;

mod delays;
mod floor;
mod freeze;
mod hlog;
mod hlog_reader;
mod lab;
mod naive;
mod report;
mod same;
mod starved;
pub mod stats;
mod wire;

pub use lab::{Lab, Progress};
pub use report::{table, write};

/// Something that can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// What voxload itself adds: a server that answers at once.
    Floor,
    /// Known delays are measured as what they are.
    Delays,
    /// A server that freezes cannot hide it (coordinated omission).
    Freeze,
    /// Chunks leave when they are planned to.
    Wire,
    /// A starved harness says INVALID, a healthy one does not.
    Starved,
    /// The same thing twice is no regression, ten per cent more is one.
    Same,
    /// Histogram logs are read back by others.
    Hlog,
}

impl Proof {
    /// Every proof, in the order in which they are made: the last reads what the others have left.
    pub const ALL: [Self; 7] =
        [Self::Floor, Self::Delays, Self::Freeze, Self::Wire, Self::Starved, Self::Same, Self::Hlog];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Delays => "delays",
            Self::Freeze => "freeze",
            Self::Wire => "wire",
            Self::Starved => "starved",
            Self::Same => "same",
            Self::Hlog => "hlog",
        }
    }

    /// What it claims.
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Floor => "against a server that answers at once, voxload measures next to nothing",
            Self::Delays => "scripted delays are recovered turn by turn, and their distribution with them",
            Self::Freeze => "a server that freezes is measured as on paper, where a naive loop misses it",
            Self::Wire => "chunks arrive at a sink when the plan says",
            Self::Starved => "a starved harness calls its run INVALID, a healthy one does not",
            Self::Same => "comparing the same with the same raises no alarm, 10 % more delay does",
            Self::Hlog => "the .hlog files are read back with the same quantiles",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it is.
    pub what: String,
    /// What had to be seen.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Whether it was.
    pub ok: bool,
}

impl Check {
    fn new(what: impl Into<String>, expected: impl Into<String>, seen: impl Into<String>, ok: bool) -> Self {
        Self { what: what.into(), expected: expected.into(), seen: seen.into(), ok }
    }
}

/// A drawing that belongs to a proof.
#[derive(Clone, Debug, Serialize)]
pub struct Drawing {
    /// File name.
    pub file: String,
    /// What one sees.
    pub caption: String,
    /// The SVG.
    #[serde(skip)]
    pub svg: String,
}

/// What a proof found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Finding {
    /// What was checked; all must be ok.
    pub checks: Vec<Check>,
    /// What is to be known about it.
    pub notes: Vec<String>,
    /// Drawings.
    pub charts: Vec<Drawing>,
}

/// Why a proof came to no finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The user interrupted.
    Interrupted,
    /// The machine was too busy: runs that it needs were INVALID, again and again.
    Invalid(String),
    /// Something could not be done at all.
    Broken(String),
}

/// How a proof ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every check was ok.
    Holds,
    /// One was not.
    Fails,
    /// The machine was too busy to tell.
    Undecided,
    /// It could not be carried out.
    Broken,
}

/// A proof, made.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// Which.
    pub proof: Proof,
    /// What it claims.
    pub claim: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it came to no finding; empty when it did.
    pub why: String,
    /// How long it took.
    pub seconds: f64,
    /// The report folders of its runs, below the proof's own.
    pub runs: Vec<String>,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Everything that was proven, and with what: `proof.json`.
#[derive(Debug, Serialize)]
pub struct Proven {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// The version of voxload.
    pub voxload_version: &'static str,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// True: shortened, with less statistical power.
    pub quick: bool,
    /// True: the user stopped it.
    pub interrupted: bool,
    /// The machine.
    pub host: crate::report::result::HostInfo,
    /// The proofs.
    pub proofs: Vec<Made>,
}

/// Makes proofs, one after the other, below `dir`. `made` is told of each.
pub fn prove(
    proofs: &[Proof],
    quick: bool,
    dir: &Path,
    progress: Progress,
    mut made: impl FnMut(&Made),
) -> Result<Proven, String> {
    let mut proven = Proven {
        schema_version: 1,
        voxload_version: env!("CARGO_PKG_VERSION"),
        started_at: crate::report::rfc3339(SystemTime::now()),
        quick,
        interrupted: false,
        host: crate::measure::health::host(),
        proofs: Vec::new(),
    };
    let mut lab = Lab::new(dir, quick, progress)?;
    for &proof in Proof::ALL.iter().filter(|p| proofs.contains(p)) {
        let begun = Instant::now();
        lab.begin(proof);
        let found = match proof {
            Proof::Floor => floor::prove(&mut lab),
            Proof::Delays => delays::prove(&mut lab),
            Proof::Freeze => freeze::prove(&mut lab),
            Proof::Wire => wire::prove(&mut lab),
            Proof::Starved => starved::prove(&mut lab),
            Proof::Same => same::prove(&mut lab),
            Proof::Hlog => hlog::prove(&mut lab),
        };
        let (outcome, why, finding) = match found {
            Ok(f) if !f.checks.is_empty() && f.checks.iter().all(|c| c.ok) => {
                (Outcome::Holds, String::new(), f)
            }
            Ok(f) => (Outcome::Fails, String::new(), f),
            Err(Trouble::Interrupted) => {
                proven.interrupted = true;
                break;
            }
            Err(Trouble::Invalid(why)) => (Outcome::Undecided, why, Finding::default()),
            Err(Trouble::Broken(why)) => (Outcome::Broken, why, Finding::default()),
        };
        let runs = lab.end();
        let seconds = begun.elapsed().as_secs_f64();
        let claim = proof.claim();
        proven.proofs.push(Made { proof, claim, outcome, why, seconds, runs, finding });
        if let Some(last) = proven.proofs.last() {
            made(last);
        }
    }
    Ok(proven)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        let names: Vec<_> = Proof::value_variants()
            .iter()
            .filter_map(|p| Some(p.to_possible_value()?.get_name().to_owned()))
            .collect();
        assert_eq!(names, Proof::ALL.map(Proof::name));
    }
}
