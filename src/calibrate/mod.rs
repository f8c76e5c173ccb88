//! What the harness itself can do on this machine, measured in under a minute.
//!
//! ```text
//! wakeups   timers in this process ─────────────────────┐
//! floor     `voxload run` × 2, server answers at once ──┤
//! error     `voxload run` × 2, known delays ────────────┼─▶ Calibration ─▶ calibration.json, .md, .html, .svg
//! capacity  `voxload run` × about 10 ◀─▶ Search ────────┘        │
//!                                                                └─▶ Quote ─▶ the reports of `voxload run`
//! ```
//!
//! A sub-run is a process of its own (`subrun`), so that its CPU and memory are counted as those of any run.

use std::time::{Instant, SystemTime};

use crate::measure::health;
use crate::report::rfc3339;
use crate::report::text::{count, span};
use crate::subprocess::Stop;
use crate::time::Micros;

mod capacity;
pub mod document;
mod files;
mod html;
mod markdown;
pub mod quote;
#[doc(hidden)]
pub mod sample;
mod search;
mod subrun;
pub mod terminal;
mod turns;
mod wakeups;
mod words;

pub use document::{Calibration, SCHEMA_VERSION, schema};
pub use files::{FILE, FOLDER, read, write};

use subrun::{Ended, SubRun, Workplace};

/// A calibration begins no further measurement after this time.
const TIME: Micros = Micros::from_secs(57);
const QUICK_TIME: Micros = Micros::from_secs(21);

/// What a sub-run takes besides its plan: processes start, speech is encoded, reports are written.
const OVERHEAD: Micros = Micros::from_millis(700);

/// Devices whose wake-ups the harness's timers are tried with.
const WAKEUP_DEVICES: u32 = 2_000;

/// A part of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Step {
    /// How late timers wake, the kernel's own beside them
    Wakeups,
    /// TTFT and TTFA against a server that answers at once
    Floor,
    /// The error against known delays
    Error,
    /// How many devices it can drive at which chunk size
    Capacity,
}

impl Step {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 4] = [Self::Wakeups, Self::Floor, Self::Error, Self::Capacity];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wakeups => "wakeups",
            Self::Floor => "floor",
            Self::Error => "error",
            Self::Capacity => "capacity",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// Fewer and shorter.
    pub quick: bool,
}

/// What goes on, for people.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A measurement begins.
    Begins(Step, &'a str),
    /// What came of it.
    Ended(&'a str),
}

/// What was measured, and what went wrong: then the steps from there on are missing.
#[derive(Debug)]
pub struct Measured {
    /// The document.
    pub calibration: Calibration,
    /// Why it is not whole, unless the user interrupted it.
    pub problem: Option<String>,
}

/// Measures. Interrupted, it returns what it has, marked partial.
pub fn measure(plan: &Plan, stop: &Stop, say: &mut dyn FnMut(Progress<'_>)) -> Result<Measured, String> {
    let (began, made_at) = (Instant::now(), rfc3339(SystemTime::now()));
    let mut bench = Bench {
        quick: plan.quick,
        stop,
        began,
        time: if plan.quick { QUICK_TIME } else { TIME },
        workplace: Workplace::make()?,
        remarks: Vec::new(),
        say,
    };
    let mut made = Made::default();
    let mut problem = None;
    for step in Step::ALL.into_iter().filter(|s| plan.steps.contains(s)) {
        let done = match step {
            Step::Wakeups => bench.wakeups().map(|w| made.wakeups = w),
            Step::Floor => turns::floor(&mut bench).map(|f| made.floor = f),
            Step::Error => turns::error(&mut bench).map(|e| made.error = e),
            Step::Capacity => capacity::measure(&mut bench).map(|c| made.capacity = c),
        };
        problem = done.err().map(|e| format!("{}: {e}", step.name()));
        if problem.is_some() || stop.asked() {
            break;
        }
    }
    if document::BUILD == "debug" {
        bench.remark("this is a debug build, several times slower than a release build");
    }
    let Made { wakeups, floor, error, capacity } = made;
    let calibration = Calibration {
        schema_version: SCHEMA_VERSION,
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        build: document::BUILD.to_owned(),
        made_at,
        duration_us: Micros::from(began.elapsed()).0,
        quick: plan.quick,
        partial: stop.asked() || problem.is_some(),
        host: health::host(),
        wakeups,
        floor,
        error,
        capacity,
        remarks: bench.remarks,
    };
    Ok(Measured { calibration, problem })
}

/// What the steps came to.
#[derive(Default)]
struct Made {
    wakeups: Option<document::Wakeups>,
    floor: Option<document::Floor>,
    error: Option<document::ErrorBars>,
    capacity: Option<document::Capacity>,
}

/// What the steps share.
struct Bench<'a> {
    quick: bool,
    stop: &'a Stop,
    began: Instant,
    time: Micros,
    workplace: Workplace,
    remarks: Vec<String>,
    say: &'a mut dyn FnMut(Progress<'_>),
}

impl Bench<'_> {
    fn begin(&mut self, step: Step, what: &str) {
        (self.say)(Progress::Begins(step, what));
    }

    fn result(&mut self, text: &str) {
        (self.say)(Progress::Ended(text));
    }

    fn remark(&mut self, text: &str) {
        self.remarks.push(text.to_owned());
    }

    fn run(&mut self, plan: &SubRun) -> Result<Option<Ended>, String> {
        self.workplace.run(plan, self.stop)
    }

    /// Whether a sub-run of this length ends in time.
    fn has_time_for(&self, length: Micros) -> bool {
        Micros::from(self.began.elapsed()) + length + OVERHEAD <= self.time
    }

    fn wakeups(&mut self) -> Result<Option<document::Wakeups>, String> {
        let length = Micros::from_millis(if self.quick { 1_000 } else { 1_700 });
        let devices = count(WAKEUP_DEVICES.into());
        self.begin(Step::Wakeups, &format!("timers of an idle harness, then of {devices} devices"));
        let wakeups = wakeups::measure(length, WAKEUP_DEVICES, self.stop)?;
        for w in wakeups.iter().flat_map(|w| &w.rounds) {
            let of = if w.devices == 0 { "idle".to_owned() } else { format!("{devices} devices") };
            self.result(&format!(
                "{of}: late by p50 {}, p99 {}, max {}; the kernel's own sleep p50 {}, p99 {}, max {}",
                span(w.timer.p50_us),
                span(w.timer.p99_us),
                span(w.timer.max_us),
                span(w.kernel.p50_us),
                span(w.kernel.p99_us),
                span(w.kernel.max_us)
            ));
        }
        Ok(wakeups)
    }
}
