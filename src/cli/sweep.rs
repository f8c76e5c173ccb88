//! `voxload sweep`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::REPORTS;
use super::scenario_args::{ScenarioArgs, key_and_value};
use crate::audio::Library;
use crate::ci;
use crate::exit::{Exit, Failure};
use crate::report::terminal::Style;
use crate::report::{self, Written};
use crate::scenario::{self, Override, Scenario, Undecided};
use crate::seed::Seed;
use crate::subprocess::Stop;
use crate::sweep::plan::{self, Slot};
use crate::sweep::state::{self, Done};
use crate::sweep::{self, Job, Sweep, terminal};

/// Measure every combination of some values, and say which to choose.
///
/// Each combination of the axes is a cell. Every cell is measured several times, interleaved with the others, in a process
/// of its own, and compared with a baseline in pairs. Ends with an answer in a sentence, tables, a page, and SVG charts.
/// Interrupted, it leaves the table of what there is, and goes on with --resume. See docs/SWEEP.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload sweep chunk-codec-sweep                     # which chunk size, which codec? In minutes
  voxload sweep chunk-codec-sweep --url wss://voice.example.com/v1/talk
  voxload sweep chunk-codec-sweep --threshold 'ttfa:p(95)<1s' --capacity 3m    # and devices per server
  voxload sweep server-vad --axis 'audio.chunk=20ms,60ms,100ms' --axis 'fleet.devices=10,100' -d 10s --dry-run
  voxload sweep chunk-codec-sweep --resume reports/chunk-codec-sweep-sweep-20260131T120000Z

Exit codes:
    0  every cell has a VALID run
    2  usage, scenario or file error, or a run could not be made
  120  a cell has no VALID run: the generator was the bottleneck
  121  no turn completed in any cell
  124  target unreachable
  130  interrupted; the report covers what was measured until then")]
pub(super) struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// A key and its values; repeatable. Replaces the scenario's axis of that key; no values: takes it away
    #[arg(long = "axis", value_name = "KEY=VALUE,VALUE", value_parser = key_and_value)]
    axes: Vec<(String, String)>,

    /// Measure every cell so often [key: sweep.repeat]
    #[arg(long, value_name = "N")]
    repeat: Option<String>,

    /// After the rounds, find out how many devices one server carries at each cell, within this time for each, for example 3m
    /// [key: sweep.capacity]
    #[arg(long, value_name = "TIME")]
    capacity: Option<String>,

    /// Go on with the sweep in this folder. Give the same command again; --repeat may be larger
    #[arg(long, value_name = "DIR", conflicts_with = "report_dir")]
    resume: Option<PathBuf>,

    /// Print the cells and how long it would take, and measure nothing
    #[arg(long)]
    dry_run: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the result as JSON instead of the tables
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of `sweep.json`, and do nothing else
    #[arg(long)]
    print_schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.print_schema {
        super::print(&sweep::schema())?;
        return Ok(Exit::Good);
    }
    let source = args.scenario.source("voxload sweep chunk-codec-sweep")?;
    let given = args.scenario.overrides();
    let mut flags = given.clone();
    flags.extend(args.axes.iter().map(|(key, values)| Override {
        key: format!("sweep.axes.{key}"),
        value: values.clone(),
        flag: "--axis",
        append: true,
    }));
    flags.extend(args.repeat.as_ref().map(|n| Override {
        key: "sweep.repeat".to_owned(),
        value: n.clone(),
        flag: "--repeat",
        append: false,
    }));
    flags.extend(args.capacity.as_ref().map(|time| Override {
        key: "sweep.capacity".to_owned(),
        value: time.clone(),
        flag: "--capacity",
        append: false,
    }));
    let base = scenario::load(&source, &flags)?;
    no_axis_twice(&base, &given)?;
    let load = |pairs: &[(String, String)]| {
        let cell = pairs.iter().map(|(key, value)| of_cell(key, value));
        let all: Vec<_> = flags.iter().cloned().chain(cell).collect();
        scenario::load(&source, &all).map_err(|e| reason(&e))
    };
    let plan = base.sweep.clone();
    let grid = plan::grid(&plan.axes, &plan.skip, plan.skip_invalid, load).map_err(Failure::usage)?;
    fixtures_exist(&grid)?;
    let baseline = plan::baseline(&grid, plan.baseline.as_ref()).map_err(Failure::usage)?;
    let cells = u32::try_from(grid.cells.len()).unwrap_or(u32::MAX);
    let mut job = Job {
        dir: PathBuf::new(),
        name: base.name.clone(),
        schedule: plan::schedule(cells, plan.repeat, plan.order, Seed(base.seed)),
        seed: base.seed,
        baseline,
        started_at: report::rfc3339(SystemTime::now()),
        command: command_line(args, &base),
        grid,
        plan,
    };
    sweep::capacity::check(&job)?;
    let done = begin(args, &base, &mut job)?;
    if args.dry_run {
        let left = state::left(&job.schedule, &done, job.plan.retries);
        super::print(&terminal::plan(&job, job.estimate_left(&done), left))?;
        return Ok(Exit::Good);
    }
    measure(args, &given, &job, done)
}

/// A fixture that does not exist should be told before the first run, and not by it.
fn fixtures_exist(grid: &plan::Grid) -> Result<(), Failure> {
    let mut seen: Vec<&[String]> = Vec::new();
    for cell in &grid.cells {
        let audio = &cell.scenario.audio;
        if seen.contains(&audio.fixtures.as_slice()) {
            continue;
        }
        seen.push(&audio.fixtures);
        Library::load(&audio.fixtures, &audio.base).map_err(|problems| {
            Failure::usage(format!("the fixtures cannot be used:\n  {}", problems.join("\n  ")))
        })?;
    }
    Ok(())
}

/// The folder of the sweep, and what is in it already.
fn begin(args: &Args, base: &Scenario, job: &mut Job) -> Result<Done, Failure> {
    let order = job.plan.order;
    let now = state::Written::new(&job.grid, job.plan.repeat, order, job.seed, job.started_at.clone());
    if let Some(dir) = &args.resume {
        let then = state::read_plan(dir).map_err(Failure::usage)?;
        if let Some(why) = then.differs(&now) {
            return Err(Failure::usage(format!(
                "the sweep in {} cannot be gone on with: {why}\n  \
                 give the same command as then, or start a new sweep without --resume",
                dir.display()
            )));
        }
        job.dir = absolute(dir)?;
        job.started_at.clone_from(&then.started_at);
        let done = state::read(&job.dir, &job.schedule, job.plan.retries);
        if !args.dry_run {
            let plan = state::Written { started_at: then.started_at, ..now };
            state::write_plan(&job.dir, &plan).map_err(Failure::usage)?;
        }
        return Ok(done);
    }
    if args.dry_run {
        return Ok(Done::new());
    }
    if let Some(dir) = base.report.dir.as_deref().filter(|d| d.join(state::PLAN).exists()) {
        return Err(Failure::usage(format!(
            "{} holds a sweep already\n  go on with it: --resume {}; or choose another folder with --report-dir",
            dir.display(),
            dir.display()
        )));
    }
    let name = format!("{}-sweep", base.name);
    let dir = report::create_dir(base.report.dir.as_deref(), Path::new(REPORTS), &name, SystemTime::now())
        .map_err(Failure::usage)?;
    state::write_plan(&dir, &now).map_err(Failure::usage)?;
    job.dir = absolute(&dir)?;
    Ok(Done::new())
}

fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    dir.canonicalize().map_err(|e| Failure::usage(format!("{}: {e}", dir.display())))
}

fn measure(args: &Args, given: &[Override], job: &Job, mut done: Done) -> Result<Exit, Failure> {
    let say = |text: String| {
        if !args.quiet {
            super::say(text);
        }
    };
    let left = state::left(&job.schedule, &done, job.plan.retries);
    say(format!(
        "voxload {} · {} · {} cells × {} rounds, {left} runs to make, about {} · {}",
        env!("CARGO_PKG_VERSION"),
        job.name,
        job.grid.cells.len(),
        job.plan.repeat,
        job.estimate_left(&done),
        shown(&job.dir)
    ));
    for s in job.grid.skipped.iter().filter(|_| args.resume.is_none()) {
        say(format!("skipped: {}: {}", s.values.join(", "), s.reason));
    }
    let stop = Stop::default();
    super::calibrate::stop_on_a_signal(&stop)?;
    let mut progress = |p: sweep::Progress| match p {
        sweep::Progress::Begins(p) => {
            let again = if p.attempt > 1 { format!(", attempt {}", p.attempt) } else { String::new() };
            say(format!("[{:>3}/{}] {} · round {}{again} · {} left", p.nth, p.of, p.label, p.round, p.left));
        }
        sweep::Progress::Invalid(why) => say(format!("          INVALID: {why}")),
    };
    let arguments = |slot: Slot, dir: &Path| arguments(args, given, job, slot, dir);
    let mut ended = sweep::measure(job, &mut done, &stop, &arguments, &mut progress);
    if matches!(ended, Ok(true)) {
        let search = |cell: u32, dir: &Path| search_arguments(args, given, job, cell, dir);
        let mut begins = |label: &str, left: usize| {
            say(format!(
                "[{left:>3} left] {label} · how many devices does one server carry? Up to {}",
                job.plan.capacity
            ));
        };
        ended = sweep::capacity::search(job, &stop, &search, &mut begins);
    }
    // The newest report is the sweep, and not its last run.
    let _ = report::create_dir(Some(&job.dir), Path::new(REPORTS), &job.name, SystemTime::now());
    say("reading the runs, and coding the fixtures".to_owned());
    let sweep = sweep::assemble(job, &done).map_err(Failure::usage)?;
    let Written { files, mut problems } = sweep::write(&sweep, &job.dir);
    let text = if args.json {
        serde_json::to_string_pretty(&sweep).map(|t| t + "\n").unwrap_or_else(|e| {
            problems.push(format!("the result as JSON: {e}"));
            String::new()
        })
    } else if args.quiet {
        String::new()
    } else {
        let files: Vec<_> = files.iter().map(|f| shown_path(f)).collect();
        terminal::summary(&sweep, &files, Style::for_stdout())
    };
    problems.extend(super::print(&text).err().map(|e| e.message));
    problems.extend(super::tell_ci(&job.dir.join(sweep::MARKDOWN), &ci::of_sweep(&sweep), args.json).err());
    let go_on = || format!("go on with: {} --resume {}", job.command, shown(&job.dir));
    match ended {
        Err(e) => {
            problems.insert(0, e.message);
            problems.push(go_on());
            Err(Failure { exit: e.exit, message: problems.join("\n") })
        }
        Ok(_) if !problems.is_empty() => Err(Failure::usage(problems.join("\n"))),
        Ok(false) => {
            say(format!("interrupted; {}", go_on()));
            Ok(Exit::Interrupted)
        }
        Ok(true) => Ok(exit(&sweep)),
    }
}

fn exit(s: &Sweep) -> Exit {
    let measured: Vec<_> = s.cells.iter().filter_map(|c| c.measured.as_ref()).collect();
    if measured.len() < s.cells.len() {
        Exit::Invalid
    } else if measured.iter().all(|m| m.failed >= m.turns) {
        Exit::NoTurns
    } else {
        Exit::Good
    }
}

/// A path as the user would write it.
fn shown(path: &Path) -> String {
    shown_path(path).display().to_string()
}

fn shown_path(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|d| d.canonicalize());
    here.ok().and_then(|d| path.strip_prefix(d).ok().map(Path::to_owned)).unwrap_or_else(|| path.to_owned())
}

/// What is said of a combination that the check refuses: the first thing, in a line.
fn reason(e: &scenario::Diagnostics) -> String {
    let first = e.items().first();
    let of = |d: &scenario::Diagnostic| match &d.help {
        Some(help) => format!("{} ({help})", d.message),
        None => d.message.clone(),
    };
    first.map_or_else(String::new, of)
}

fn of_cell(key: &str, value: &str) -> Override {
    Override { key: key.to_owned(), value: value.to_owned(), flag: "--axis", append: false }
}

/// A flag whose value the axis would silently replace.
fn no_axis_twice(base: &Scenario, given: &[Override]) -> Result<(), Failure> {
    for axis in &base.sweep.axes {
        // Stages say how many devices there are, when.
        let same = |o: &&Override| {
            o.key == axis.key
                || o.key == "fleet.stages"
                    && ["fleet.devices", "fleet.duration", "fleet.ramp"].contains(&axis.key.as_str())
        };
        if let Some(o) = given.iter().find(same) {
            return Err(Failure::usage(format!(
                "`{}` is an axis of this sweep, and {} sets {}\n  \
                 give the value as an axis: --axis '{}=…', or take the axis away: --axis '{}='",
                axis.key,
                o.flag,
                if o.key == axis.key { "it, too" } else { "what it follows from" },
                axis.key,
                axis.key
            )));
        }
    }
    Ok(())
}

/// The arguments of a run.
fn arguments(args: &Args, given: &[Override], job: &Job, slot: Slot, dir: &Path) -> Vec<String> {
    let mut words = vec!["run".to_owned()];
    words.extend(of_the_cell(args, given, job, slot.cell, &["report.dir", "seed"]));
    let mut flag = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    flag("--set", format!("name={} c{:02} r{}", job.name, slot.cell, slot.round));
    flag("--seed", plan::round_seed(Seed(job.seed), slot.round).to_string());
    flag("--report-dir", dir.display().to_string());
    words.extend(["--quiet", "--no-calibration"].map(str::to_owned));
    words
}

/// The arguments of a search of a cell's capacity.
fn search_arguments(args: &Args, given: &[Override], job: &Job, cell: u32, dir: &Path) -> Vec<String> {
    let mut words = vec!["capacity".to_owned()];
    words.extend(of_the_cell(args, given, job, cell, &sweep::capacity::OWN));
    words.extend(["--set".to_owned(), format!("name={} c{cell:02}", job.name)]);
    if let Some(c) = job.grid.cells.iter().find(|c| c.number == cell) {
        words.extend(sweep::capacity::arguments(&c.scenario, job.plan.capacity, dir));
    }
    words
}

/// The scenario of a cell: what the command line says, but for some keys, and the values of the axes.
fn of_the_cell(args: &Args, given: &[Override], job: &Job, cell: u32, but: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = args.scenario.scenario.iter().cloned().collect();
    let mut flag = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    for o in given.iter().filter(|o| !but.contains(&o.key.as_str()) && !o.key.starts_with("sweep.")) {
        if o.append {
            flag("--threshold", o.value.clone());
        } else {
            flag("--set", format!("{}={}", o.key, o.value));
        }
    }
    let cell = job.grid.cells.iter().find(|c| c.number == cell);
    for (axis, value) in job.grid.axes.iter().zip(cell.iter().flat_map(|c| &c.values)) {
        flag("--set", format!("{}={value}", axis.key));
    }
    if cell.is_some_and(|c| c.scenario.gate.undecided == Undecided::Extend) {
        // Cells are compared: all take the same time.
        flag("--set", format!("gate.undecided={}", Undecided::Fail.name()));
    }
    words
}

/// The command that repeats this, without secrets.
fn command_line(args: &Args, base: &Scenario) -> String {
    let mut text = args.scenario.command_line("sweep", base);
    for (key, values) in &args.axes {
        let values = scenario::shown_value(key, values).replace('\'', "'\\''");
        // Writing to a string cannot fail.
        let _ = write!(text, " --axis '{key}={values}'");
    }
    if let Some(n) = &args.repeat {
        let _ = write!(text, " --repeat {n}");
    }
    if let Some(time) = &args.capacity {
        let _ = write!(text, " --capacity {time}");
    }
    text
}
