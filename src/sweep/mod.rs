//! `voxload sweep`: the same scenario with every combination of some values, measured side by side, and what to choose.
//!
//! ```text
//! axes ─▶ plan (combinations, checked; order by seed) ─▶ state (what is on disk, what is next) ─▶ child: voxload run
//!                                                             ▲                                       │
//!                                                             └───────────── runs/cNN-rN/ ◀───────────┘
//!                  then, if asked for, capacity: voxload capacity for each cell ─▶ capacity/cNN/
//! runs/*/result.json ─▶ measure ─┬─▶ document ─▶ judge (front, recommendation) ─▶ words ─▶ terminal, md, csv, html
//! fixtures ─▶ codec ─▶ speech ───┘        └─▶ sweep.json                    charts
//! ```
//!
//! What is on disk is the only state: an interrupted sweep goes on where it stopped.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::exit::Failure;
use crate::measure::health;
use crate::report::json;
use crate::scenario::SweepPlan;
use crate::scenario::estimate::{Estimate, Speech as Assumed};
use crate::subprocess::Stop;
use crate::time::Micros;

pub mod capacity;
mod child;
mod csv;
pub mod document;
mod files;
mod html;
pub mod judge;
mod markdown;
pub mod measure;
pub mod plan;
#[doc(hidden)]
pub mod sample;
pub mod speech;
pub mod state;
pub mod terminal;
mod words;

pub use document::{Sweep, schema};
pub use files::{FILE, MARKDOWN, write};

use document::{AxisInfo, Cell, Run};
use plan::{Grid, Slot};
use state::{Attempt, Done};

/// What a run takes besides its plan: processes start, speech is encoded, the report is written.
const OVERHEAD: Micros = Micros::from_millis(1_500);

/// A sweep to be made.
pub struct Job {
    /// Its folder, which exists and holds the plan.
    pub dir: PathBuf,
    /// The scenario's name.
    pub name: String,
    /// What to measure.
    pub grid: Grid,
    /// How.
    pub plan: SweepPlan,
    /// The runs, in their order.
    pub schedule: Vec<Vec<Slot>>,
    /// The scenario's seed.
    pub seed: u64,
    /// The number of the cell that others are compared with.
    pub baseline: u32,
    /// When it was started, RFC 3339, UTC.
    pub started_at: String,
    /// The command line, without secrets.
    pub command: String,
}

/// What goes on, for people.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A run begins.
    Begins(Begins),
    /// It was INVALID, for this reason.
    Invalid(String),
}

/// A run that begins.
#[derive(Clone, Debug)]
pub struct Begins {
    /// The run that begins, counted from 1 within the whole sweep.
    pub nth: usize,
    /// Of so many.
    pub of: usize,
    /// The cell, in words.
    pub label: String,
    /// The round.
    pub round: u32,
    /// The attempt at it, from 1.
    pub attempt: u32,
    /// Time left, this run included, if none is INVALID.
    pub left: Micros,
}

impl Job {
    /// Runs in all.
    pub fn runs(&self) -> usize {
        self.schedule.iter().map(Vec::len).sum()
    }

    /// How long a run of a cell will take, as far as one can tell before.
    pub fn estimate(&self, cell: u32) -> Micros {
        let cell = self.grid.cells.iter().find(|c| c.number == cell);
        cell.map_or(Micros::ZERO, |c| {
            let fleet = &c.scenario.fleet;
            let turn = Estimate::of(&c.scenario, Assumed::default()).turn - c.scenario.turn.think.mean();
            fleet.duration + fleet.graceful_stop.min(turn) + OVERHEAD
        })
    }

    /// How long everything will take that is not done.
    pub fn estimate_left(&self, done: &Done) -> Micros {
        self.runs_left(done) + self.plan.capacity * self.searches_left() as i64
    }

    /// The same of the runs alone.
    fn runs_left(&self, done: &Done) -> Micros {
        let slots = self.schedule.iter().flatten();
        let left = slots.filter(|s| !done.get(s).is_some_and(|a| a.contains(&Attempt::Valid)));
        Micros(left.map(|s| self.estimate(s.cell).0).sum())
    }

    fn folder(&self, slot: Slot, attempt: u32) -> PathBuf {
        self.dir.join(state::RUNS).join(slot.folder(attempt))
    }
}

/// Makes the runs that are not there yet. False: the user has interrupted. `args` are those of a run: its slot and its
/// folder.
pub fn measure(
    job: &Job,
    done: &mut Done,
    stop: &Stop,
    args: &dyn Fn(Slot, &Path) -> Vec<String>,
    say: &mut dyn FnMut(Progress),
) -> Result<bool, Failure> {
    // How long runs took, and were expected to take.
    let (mut took, mut expected) = (Micros::ZERO, Micros::ZERO);
    while let Some((slot, attempt)) = state::next(&job.schedule, done, job.plan.retries) {
        if stop.asked() {
            return Ok(false);
        }
        let length = job.estimate(slot.cell);
        let pace = if expected > Micros::ZERO { took.as_secs_f64() / expected.as_secs_f64() } else { 1.0 };
        let left = state::left(&job.schedule, done, job.plan.retries);
        say(Progress::Begins(Begins {
            nth: job.runs() - left + 1,
            of: job.runs(),
            label: job
                .grid
                .cells
                .iter()
                .find(|c| c.number == slot.cell)
                .map_or_else(String::new, |c| c.label(&job.grid.axes)),
            round: slot.round,
            attempt,
            left: Micros::from_secs_f64(job.runs_left(done).as_secs_f64() * pace)
                + job.plan.capacity * job.searches_left() as i64,
        }));
        let dir = job.folder(slot, attempt);
        let said = dir.with_extension("stderr");
        let began = Instant::now();
        let ended = child::run(&args(slot, &dir), &said, length, stop)?;
        if !ended {
            return Ok(false);
        }
        took += Micros::from(began.elapsed());
        expected += length;
        let came = state::attempt(&dir);
        if came == Attempt::Unfinished {
            return Err(Failure::usage(format!("a run left no result in {}", dir.display())));
        }
        if came == Attempt::Invalid {
            say(Progress::Invalid(why_invalid(&dir)));
        }
        done.entry(slot).or_default().push(came);
    }
    Ok(true)
}

/// Reads the runs that are there, and judges them.
pub fn assemble(job: &Job, done: &Done) -> Result<Sweep, String> {
    let axes = &job.grid.axes;
    let mut known = speech::Known::default();
    let mut cells = Vec::new();
    let mut harvests = Vec::new();
    for cell in &job.grid.cells {
        let (mut runs, mut harvest) = (Vec::new(), Vec::new());
        for round in 1..=job.plan.repeat {
            let slot = Slot { cell: cell.number, round };
            let attempts = done.get(&slot).map_or(&[][..], Vec::as_slice);
            let counting = state::counting(attempts);
            let mut run = Run {
                round,
                dir: format!("{}/{}", state::RUNS, slot.folder(counting.map_or(1, |(n, _)| n))),
                state: match counting {
                    Some((_, Attempt::Valid)) => "valid",
                    Some(_) => "invalid",
                    None => "missing",
                }
                .to_owned(),
                attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
                ..Run::default()
            };
            match counting {
                Some((n, Attempt::Valid)) => {
                    let made = measure::Harvest::read(&job.folder(slot, n), round)?;
                    run.ttfa_p50_us = made.median().map(|t| t.0);
                    harvest.push(made);
                }
                Some((n, _)) => run.reason = why_invalid(&job.folder(slot, n)),
                None => {}
            }
            runs.push(run);
        }
        cells.push(Cell {
            number: cell.number,
            label: cell.label(axes),
            values: cell.shown(axes),
            runs,
            speech: known.of(&cell.scenario)?,
            measured: None,
            capacity: capacity::found(job, cell.number),
        });
        harvests.push(harvest);
    }
    let base = cells.iter().position(|c| c.number == job.baseline);
    for (i, cell) in cells.iter_mut().enumerate() {
        let baseline = base.filter(|b| *b != i).and_then(|b| harvests.get(b));
        let own = harvests.get(i).map_or(&[][..], Vec::as_slice);
        cell.measured = measure::together(own, baseline.map(Vec::as_slice));
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut sweep = Sweep {
        schema_version: document::SCHEMA_VERSION,
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: job.name.clone(),
        seed: job.seed,
        started_at: job.started_at.clone(),
        complete: state::next(&job.schedule, done, job.plan.retries).is_none() && job.searches_left() == 0,
        planned_runs: count(job.runs()),
        valid_runs: count(harvests.iter().map(Vec::len).sum()),
        recommendation: None,
        answer: String::new(),
        reasons: Vec::new(),
        axes: axes.iter().map(|a| AxisInfo { key: a.key.clone(), values: plan::shown_all(a) }).collect(),
        repeat: job.plan.repeat,
        order: match job.plan.order {
            crate::scenario::SweepOrder::Interleaved => "interleaved",
            crate::scenario::SweepOrder::Sequential => "sequential",
        }
        .to_owned(),
        max_delay_us: job.plan.max_delay.0,
        max_distortion_db: job.plan.max_distortion,
        baseline: job.baseline,
        cells,
        skipped: job.grid.skipped.clone(),
        front: Vec::new(),
        notes: Vec::new(),
        host: health::host(),
        command: job.command.clone(),
    };
    judge::judge(&mut sweep);
    Ok(sweep)
}

fn why_invalid(dir: &Path) -> String {
    let checks = json::read(dir).map(|(r, _)| r.validity.checks).unwrap_or_default();
    let failed = checks.iter().filter(|c| !c.ok);
    failed.map(|c| format!("{} was {} (limit {})", c.name, c.seen, c.limit)).collect::<Vec<_>>().join(", ")
}
