//! `voxload merge`, and what `voxload run` takes for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::compare::Output;
use super::run;
use crate::exit::{Exit, Failure};
use crate::measure::health;
use crate::merge::{self, Shards, Start};
use crate::report::result::ShardInfo;
use crate::scenario::{Part, Scenario, Undecided};
use crate::time::{Micros, unix_now_us};

/// The wall clock is looked at so often while the start is awaited: it may be put right meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// One run by several processes, on one machine or on many (docs/DISTRIBUTED.md).
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ShardArgs {
    /// Play only the i-th of n parts of the fleet; the other processes play the others. `voxload merge` joins the results
    #[arg(long, value_name = "I/N", help_heading = "Several machines")]
    shard: Option<Part>,

    /// Start at this instant: RFC 3339 (2026-01-31T12:00:00Z), or seconds since 1970
    #[arg(long, value_name = "INSTANT", help_heading = "Several machines")]
    start_at: Option<Start>,
}

impl ShardArgs {
    /// True when this process plays a part.
    pub(super) const fn is_given(&self) -> bool {
        self.shard.is_some()
    }

    /// The instant to start at, when one was given.
    pub(super) const fn start(&self) -> Option<Start> {
        self.start_at
    }

    /// The part of the scenario that this process plays, if it can be played.
    pub(super) fn of(&self, scenario: Scenario) -> Result<Scenario, Failure> {
        if let Some(start) = self.start_at {
            start.remaining(unix_now_us(), "already").map_err(Failure::usage)?;
        }
        let Some(part) = self.shard else { return Ok(scenario) };
        let refuse = |message: String| Err(Failure::usage(message));
        if scenario.target.url.is_none() {
            return refuse(format!(
                "--shard {part}: the scenario has no target, and each process would start a server of its own\n  \
                 run one with `voxload serve`, and give its address to every process: --url ws://HOST:8765/"
            ));
        }
        if part.of() > 1 && self.start_at.is_none() {
            return refuse(format!(
                "--shard {part} needs --start-at: all processes count from one instant\n  \
                 for example --start-at \"$(date -u -d '+30 seconds' +%FT%TZ)\", made once and given to each"
            ));
        }
        if part.of() > 1 && scenario.gate.undecided == Undecided::Extend {
            return refuse(format!(
                "--shard {part} with gate.undecided = \"extend\": a part alone cannot see whether the whole is decided\n  \
                 make the run long enough, and give every process --set gate.undecided=fail (or pass)"
            ));
        }
        if part.of() > 1 && !scenario.gate.aborts.is_empty() {
            return refuse(format!(
                "--shard {part} with abort_on_fail: a part alone cannot see what the whole does, and would end before the others\n  \
                 take abort_on_fail out of `thresholds`; `voxload merge` judges them on the whole"
            ));
        }
        let scenario = Scenario { part, ..scenario };
        if scenario.most() == 0 {
            return refuse(format!(
                "--shard {part} has no device: there are {} in all\n  use fewer shards, or more devices (-u)",
                scenario.fleet.most()
            ));
        }
        Ok(scenario)
    }

    /// Waits for the start, if there is one to wait for.
    pub(super) fn wait(&self, say: impl Fn(&str)) -> Result<(), Failure> {
        let Some(start) = self.start_at else { return Ok(()) };
        let left = start.remaining(unix_now_us(), "when this process was ready").map_err(Failure::usage)?;
        say(&format!("ready; starting at {start}, in {left}"));
        loop {
            let left = Micros(start.unix_us() - unix_now_us());
            if left <= Micros::ZERO {
                return Ok(());
            }
            std::thread::sleep(left.to_std().min(LOOK));
        }
    }

    /// For the result: what was played, counted from `start`.
    pub(super) fn info(&self, part: Part, start: Start) -> Option<ShardInfo> {
        self.is_given().then(|| ShardInfo {
            number: part.number(),
            of: part.of(),
            start_at: start.to_string(),
            machine: health::machine_name(),
        })
    }

    /// As it was given; begins with a space.
    pub(super) fn command_line(&self) -> String {
        let shard = self.shard.map(|part| format!(" --shard {part}"));
        let start = self.start_at.map(|start| format!(" --start-at {start}"));
        shard.into_iter().chain(start).collect()
    }
}

/// Join the results of processes that played one plan together.
///
/// Each was started with the same scenario, options, --seed and --start-at, and its own `--shard i/n`. The merged result is
/// that of one process that recorded everything: histograms and turns are joined, nothing is averaged; thresholds are
/// judged anew; one process that could not keep up makes it INVALID. The exit code is that of a run.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  START=$(date -u -d '+30 seconds' +%FT%TZ)
  voxload run load.toml --url ws://server:8765/ --shard 1/2 --start-at $START --report-dir part-1    # on one machine
  voxload run load.toml --url ws://server:8765/ --shard 2/2 --start-at $START --report-dir part-2    # on another
  voxload merge part-1 part-2 --report-dir whole")]
pub(super) struct Args {
    /// The report folders of the processes
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,

    /// Write the merged report into this folder
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,

    /// Merge what there is, though shards are missing or were interrupted; the result is INVALID
    #[arg(long)]
    partial: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the result as JSON instead of the summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let shards = merge::open(&args.dirs, args.partial).map_err(Failure::usage)?;
    let (name, of) = (shards.name().to_owned(), shards.of());
    if !args.quiet {
        super::say(format_args!("merging {} of {of} shards of {name}", shards.processes.len()));
    }
    apart(&shards, args.report_dir.as_deref())?;
    let dir = run::folder(args.report_dir.as_deref(), &name, Path::new(""))?;
    let merged = merge::join(shards, &dir, args.command_line()).map_err(Failure::usage)?;
    let out = Output { json: args.json, quiet: args.quiet };
    run::publish(&out, &[], &merged.report, &dir, &merged.result, merged.started, merged.problems)
}

/// What is merged must not be written over.
fn apart(shards: &Shards, dir: Option<&Path>) -> Result<(), Failure> {
    let canonical = |p: &Path| p.canonicalize().ok();
    let Some(to) = dir.and_then(canonical) else { return Ok(()) };
    match shards.processes.iter().find(|p| canonical(&p.dir).as_ref() == Some(&to)) {
        Some(p) => Err(Failure::usage(format!(
            "--report-dir {} is the folder of {}, which is read; choose another",
            to.display(),
            p.name()
        ))),
        None => Ok(()),
    }
}

impl Args {
    /// The command that repeats this.
    fn command_line(&self) -> String {
        let mut words = vec!["voxload merge".to_owned()];
        words.extend(self.dirs.iter().map(|d| d.display().to_string()));
        if self.partial {
            words.push("--partial".to_owned());
        }
        words.join(" ")
    }
}
