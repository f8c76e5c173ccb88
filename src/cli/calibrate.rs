//! `voxload calibrate`.

use std::path::{Path, PathBuf};

use crate::calibrate::{self, FOLDER, Plan, Progress, Step};
use crate::exit::{Exit, Failure};
use crate::report::terminal::Style;
use crate::subprocess::Stop;

/// Measure what the harness itself can do on this machine, in under a minute.
///
/// How late its timers wake, what it adds to TTFT and TTFA, its error against known delays, and about how many devices
/// it can drive before it would call itself invalid. Needs no server. Writes a report of its own, which `voxload run`
/// quotes: docs/CALIBRATE.md. For the truest numbers, let nothing else run on the machine.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload calibrate                  # everything, into reports/calibration/
  voxload calibrate --quick          # about 20 seconds: chunks of 60 ms only
  voxload calibrate wakeups floor    # two steps")]
pub(super) struct Args {
    /// The steps to make: all by default. Steps that are left out are missing from the report
    #[arg(value_name = "STEP", value_enum)]
    steps: Vec<Step>,

    /// Fewer and shorter measurements, about 20 seconds
    #[arg(long)]
    quick: bool,

    /// Write the report into this folder; an earlier calibration in it is replaced
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the result as JSON instead of the tables
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of `calibration.json`, and do nothing else
    #[arg(long, conflicts_with_all = ["steps", "quick", "report_dir", "quiet", "json"])]
    print_schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.print_schema {
        super::print(&calibrate::schema())?;
        return Ok(Exit::Good);
    }
    let dir = args.report_dir.clone().unwrap_or_else(|| Path::new(super::REPORTS).join(FOLDER));
    std::fs::create_dir_all(&dir).map_err(|e| {
        Failure::usage(format!(
            "cannot create {}: {e}; choose another folder with --report-dir",
            dir.display()
        ))
    })?;
    let say = |text: &str| {
        if !args.quiet {
            super::say(text);
        }
    };
    let steps = if args.steps.is_empty() { Step::ALL.to_vec() } else { args.steps.clone() };
    say(&format!(
        "voxload {} · calibrating this machine; let nothing else run on it",
        env!("CARGO_PKG_VERSION")
    ));
    let stop = Stop::default();
    stop_on_a_signal(&stop)?;
    let mut progress = |p: Progress<'_>| match p {
        Progress::Begins(step, what) => say(&format!("{:<9} {what}", step.name())),
        Progress::Ended(text) => say(&format!("{:9}   {text}", "")),
    };
    let plan = Plan { steps, quick: args.quick };
    let measured = calibrate::measure(&plan, &stop, &mut progress).map_err(Failure::usage)?;
    let c = measured.calibration;
    let mut problems: Vec<String> = measured.problem.into_iter().collect();
    // Nothing takes the place of an earlier calibration for nothing.
    let empty = c.wakeups.is_none() && c.floor.is_none() && c.error.is_none() && c.capacity.is_none();
    let mut files = Vec::new();
    if empty {
        // Fails when there is an earlier one in it, as it should.
        let _ = std::fs::remove_dir(&dir);
        say("nothing was measured, and nothing written");
    } else {
        let written = calibrate::write(&c, &dir);
        files = written.files;
        problems.extend(written.problems);
    }
    let text = match (args.json, args.quiet || empty) {
        (true, _) => serde_json::to_string_pretty(&c).map(|t| t + "\n").unwrap_or_else(|e| {
            problems.push(format!("the calibration as JSON: {e}"));
            String::new()
        }),
        (false, true) => String::new(),
        (false, false) => calibrate::terminal::tables(&c, &files, Style::for_stdout()),
    };
    problems.extend(super::print(&text).err().map(|e| e.message));
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n")));
    }
    Ok(exit(stop.asked(), c.is_valid()))
}

const fn exit(interrupted: bool, valid: bool) -> Exit {
    match (interrupted, valid) {
        (true, _) => Exit::Interrupted,
        (false, false) => Exit::Invalid,
        (false, true) => Exit::Good,
    }
}

/// Ctrl-C, or a polite kill: the measurement under way is given up, what is there is written.
pub(super) fn stop_on_a_signal(stop: &Stop) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |e: std::io::Error| Failure::usage(format!("cannot wait for Ctrl-C: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(cannot);
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
    };
    let stop = stop.clone();
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            stop.ask();
        })
        .map(drop)
        .map_err(cannot)
}
