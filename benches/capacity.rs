//! The capacity that the search finds, against queueing theory.
//!
//! ```text
//! cargo bench --bench capacity                 # about 5 minutes, on a machine that does nothing else
//! cargo bench --bench capacity -- theory       # what theory says, without the search
//! ```
//!
//! The server is the embedded one of `scenarios/capacity.toml`: eight slots, work exponential with mean 100 ms, which is a
//! machine-repair model, M/M/8//N (`src/capacity/queueing.rs`). What a device does between two requests, and what a turn takes
//! besides the model, is measured first with a model that takes no time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use voxload::capacity::queueing::Slots;
use voxload::capacity::read;
use voxload::measure::agreement;
use voxload::report::result::TurnRow;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// As in the scenario.
const MODEL: Slots = Slots { slots: 8, work: 0.1 };
const BUDGET: f64 = 0.6;
const ALLOWED: f64 = 0.05;

/// How long a search may take.
const LONGEST_US: i64 = 5 * 60 * 1_000_000;

/// How far off the answer may be.
const TOLERANCE: f64 = 0.10;

fn main() -> Outcome<()> {
    let home = tempfile::tempdir()?;
    let (away, besides) = floor(home.path())?;
    let truth = MODEL.closed_capacity(away, BUDGET - besides, ALLOWED);
    println!(
        "between two requests {:.0} ms, besides the model {:.0} ms: theory says {truth} devices, {:.1} turns/s",
        away * 1e3,
        besides * 1e3,
        MODEL.closed_rate(truth, away)
    );
    if std::env::args().any(|a| a == "theory") {
        return Ok(());
    }
    let status = voxload(home.path())
        .args([
            "capacity",
            "capacity",
            "--from",
            "40",
            "--probe",
            "12s",
            "--time",
            "5m",
            "--report-dir",
            "found",
        ])
        .status()?;
    let found = read(&home.path().join("found"))?;
    let Some(answer) = found.answer else {
        return Err(format!("no answer ({status}): {}", found.sentence).into());
    };
    let off = answer.load / f64::from(truth) - 1.0;
    println!(
        "found {:.0} ({:.0}…{:.0}) in {:.0} s and {} probes: {:+.1} % from theory",
        answer.load,
        answer.low,
        answer.high,
        found.duration_us as f64 / 1e6,
        found.trials.len(),
        off * 100.0
    );
    if found.duration_us > LONGEST_US {
        return Err("more than five minutes".into());
    }
    if off.abs() > TOLERANCE { Err("more than 10 % from theory".into()) } else { Ok(()) }
}

fn voxload(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxload"));
    command.current_dir(home);
    command
}

/// Seconds from one request of a device to its next, and of TTFA besides the model, with a model that takes no time.
fn floor(home: &Path) -> Outcome<(f64, f64)> {
    let args = [
        "run",
        "capacity",
        "-u",
        "50",
        "-d",
        "24s",
        "--set",
        "reference.llm=0ms",
        "--quiet",
        "--no-calibration",
    ];
    let status = voxload(home).args(args).args(["--report-dir", "floor"]).status()?;
    // A threshold may fail; an INVALID run measures the harness, and theory would be fed with it.
    if !matches!(status.code(), Some(0 | 99)) {
        return Err(format!("the floor could not be measured ({status}): this machine is too busy").into());
    }
    let mut devices: BTreeMap<u32, Vec<TurnRow>> = BTreeMap::new();
    let each = |t: TurnRow| devices.entry(t.device).or_default().push(t);
    agreement::for_each_turn(&home.join("floor/turns.csv"), each)?;
    let (mut cycles, mut ttfa) = (Vec::new(), Vec::new());
    for turns in devices.values_mut() {
        turns.sort_by_key(|t| t.turn);
        cycles.extend(turns.windows(2).map(|w| (w[1].planned_start_us - w[0].planned_start_us) as f64 / 1e6));
        ttfa.extend(turns.iter().filter_map(|t| t.ttfa_us).map(|us| us as f64 / 1e6));
    }
    if cycles.is_empty() || ttfa.is_empty() {
        return Err("no turn was answered".into());
    }
    ttfa.sort_by(f64::total_cmp);
    Ok((cycles.iter().sum::<f64>() / cycles.len() as f64, ttfa[ttfa.len() / 2]))
}
