//! `voxload run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::compare::{Output, QuestionArgs};
use super::merge::ShardArgs;
use super::progress::{Live, Reporter};
use super::scenario_args::ScenarioArgs;
use super::{REPORTS, baseline};
use crate::calibrate::quote::{self, Here, Planned};
use crate::ci;
use crate::compare::RUNS;
use crate::drive::links;
use crate::drive::outcome::{self, Context};
use crate::drive::prepare::{self, Speech};
use crate::drive::run::{self, Asks, Run, Sinks};
use crate::exit::{Exit, Failure};
use crate::live::otlp::{self, Origin};
use crate::live::{About, Board, Metrics, Snapshot, Watcher};
use crate::measure::{agreement, health};
use crate::merge::{self, Record, Start};
use crate::reference::child::{Child, USAGE};
use crate::report::result::{CalibrationQuote, RunResult};
use crate::report::terminal::{self, Style};
use crate::report::{self, HlogWriter, IntervalsCsv, TurnsCsv};
use crate::scenario::{Part, ReportPlan, Scenario};
use crate::time::{Clock, Micros};
use crate::transport::websocket::Endpoint;

/// The embedded server's own log.
const TRUTH: &str = "reference-truth.csv";

/// Files that are written while the run lasts.
const STREAMED: [&str; 9] = [
    merge::FILE,
    "turns.csv",
    "intervals.csv",
    "links.csv",
    "histograms.hlog",
    TRUTH,
    "reference-chunks.csv",
    "reference-freezes.csv",
    USAGE,
];

/// Files that are rendered at its end.
const RENDERED: [&str; 5] = ["result.json", "summary.md", "report.html", "junit.xml", "scenario.toml"];

/// Folders that are rendered at its end, and what the files in them end with.
const FOLDERS: [(&str, &str); 3] = [("charts", "svg"), ("charts", "png"), ("percentiles", "hgrm")];

/// Descriptors that the harness needs besides one per device: files, timers, the runtime's own.
const OWN_DESCRIPTORS: u64 = 64;

/// Play a scenario and report.
///
/// Without `target.url` in the scenario (or `--url`) the devices talk to the embedded reference server, which is
/// started for the run. Progress goes to standard error, the summary to standard output, and the report into a folder
/// of its own under `reports/`. Ctrl-C once: no new turns, what has begun is finished, and reported. Twice: stops at
/// once, and still reports.
#[derive(clap::Args, Clone)]
#[command(after_help = "Examples:
  voxload run quickstart
  voxload run quickstart -u 200 -d 20s --set reference.preset=cloud
  voxload run my-server.toml --url ws://localhost:8765/ --threshold 'ttfa:p(95)<300ms'
  voxload run ci-gate --json | jq .metrics.ttfa.p95_us
  voxload run ci-gate --url ws://localhost:8765/ --baseline baselines/main")]
pub(super) struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Show the run on the terminal while it lasts (docs/LIVE.md)
    #[arg(long, value_name = "WHEN", default_value = "auto", conflicts_with = "baseline")]
    live: Live,

    /// Serve metrics for Prometheus on this address while the run lasts, for example 127.0.0.1:9464
    /// [key: report.prometheus]
    #[arg(long, value_name = "ADDR")]
    prometheus: Option<String>,

    /// Print the result as JSON instead of the summary
    #[arg(long)]
    json: bool,

    /// Quote this calibration instead of the one beside the reports (docs/CALIBRATE.md)
    #[arg(long, value_name = "FILE", env = "VOXLOAD_CALIBRATION")]
    calibration: Option<PathBuf>,

    /// Quote no calibration
    #[arg(long)]
    no_calibration: bool,

    /// Write one more copy of a result file: json=FILE, csv=FILE (turns), md=FILE, html=FILE, junit=FILE; or the turns as
    /// OpenTelemetry traces: otlp=FILE (docs/LIVE.md); repeatable. With --baseline: of the comparison's files, which have no
    /// turns
    #[arg(long = "out", value_name = "KIND=FILE", value_parser = parse_out)]
    outs: Vec<(OutKind, PathBuf)>,

    /// Make several runs and compare them with this baseline (`voxload baseline record`); exits with 122 or 123 too
    #[arg(long, value_name = "DIR", help_heading = "Comparison", conflicts_with_all = ["shard", "start_at"])]
    baseline: Option<PathBuf>,

    /// Go on with the runs in this folder, of the same command with --baseline that was interrupted; --runs may be larger
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Comparison",
        requires = "baseline",
        conflicts_with = "report_dir"
    )]
    resume: Option<PathBuf>,

    /// Runs to compare with the baseline [default: 5, the fewest that decide anything]
    #[arg(long, value_name = "N", help_heading = "Comparison", requires = "baseline",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,

    #[command(flatten)]
    question: QuestionArgs,

    #[command(flatten)]
    shard: ShardArgs,
}

/// What `--out` can copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutKind {
    Json,
    Csv,
    Markdown,
    Html,
    Junit,
    /// No copy: made of the turns.
    Otlp,
}

impl OutKind {
    /// The file in the report's folder that it is, or is made of.
    const fn file(self) -> &'static str {
        match self {
            Self::Json => "result.json",
            Self::Csv | Self::Otlp => "turns.csv",
            Self::Markdown => "summary.md",
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
        }
    }

    /// The file of a comparison.
    const fn compared(self) -> Option<&'static str> {
        match self {
            Self::Json => Some(crate::compare::FILE),
            Self::Csv | Self::Otlp => None,
            Self::Markdown => Some(crate::compare::MARKDOWN),
            Self::Html => Some(crate::compare::PAGE),
            Self::Junit => Some(crate::compare::JUNIT),
        }
    }
}

fn parse_out(text: &str) -> Result<(OutKind, PathBuf), String> {
    let (kind, file) = text.split_once('=').ok_or("expected KIND=FILE, for example json=result.json")?;
    let kind = match kind {
        "json" => OutKind::Json,
        "csv" => OutKind::Csv,
        "md" | "markdown" => OutKind::Markdown,
        "html" => OutKind::Html,
        "junit" => OutKind::Junit,
        "otlp" => OutKind::Otlp,
        _ => return Err(format!("`{kind}` is not among json, csv, md, html, junit, otlp")),
    };
    if file.is_empty() { Err("the file's name is missing".to_owned()) } else { Ok((kind, file.into())) }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if let Some(address) = &args.prometheus {
        let key = ("report.prometheus".to_owned(), address.clone());
        let scenario = args.scenario.changed(None, &[key]);
        return run(&Args { scenario, prometheus: None, ..args.clone() });
    }
    if let Some(baseline) = &args.baseline {
        let runs = args.runs.unwrap_or(RUNS as u32);
        let out = Output { json: args.json, quiet: args.quiet };
        let (scenario, question, resume) = (&args.scenario, &args.question, args.resume.as_deref());
        let (copies, quoting) = (compared_copies(&args.outs)?, quoting(args));
        return baseline::Compared { scenario, baseline, resume, runs, question, quoting, copies, out }.run();
    }
    args.question.unused("--baseline DIR")?;
    let scenario = args.shard.of(args.scenario.load()?)?;
    let say = |text: &str| {
        if !args.quiet {
            super::say(text);
        }
    };
    say(&format!("voxload {} · {} · seed {}", env!("CARGO_PKG_VERSION"), scenario.name, scenario.seed));
    if !scenario.sweep.axes.is_empty() {
        say("this scenario has axes, and a run is one combination: `voxload sweep` measures all of them");
    }
    if scenario.target.insecure {
        // Said even with --quiet: it is a property of the result.
        super::say(
            "warning: target.insecure is set: certificates are NOT checked; anybody could be answering",
        );
    }
    if let Some(done) = enough_descriptors(&scenario)? {
        say(&done);
    }
    check_outs(&args.outs, &scenario)?;
    let live = args.live.wanted(args.quiet)?;
    // Taken before anything has begun: an address that cannot be had is a mistake, not a loss.
    let mut metrics = scenario.report.prometheus.map(Metrics::bind).transpose().map_err(Failure::usage)?;
    let speech = prepare::speech(&scenario)?;
    for f in speech.sounds.iter().zip(&speech.fixtures).filter(|(s, _)| s.detected).map(|(_, f)| f) {
        let (from, to) = (Micros(f.speech_start_us), Micros(f.speech_end_us));
        say(&format!("{}: speech detected from {from} to {to} of {}", f.id, Micros(f.length_us)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::usage(format!("cannot start: {e}")))?;
    let target = runtime.block_on(reach(&scenario))?;
    say(&announcement(&scenario, target.server.as_ref()));
    if let Some(said) = several_sources(&target.endpoint) {
        say(&said);
    }
    let calibration = calibration(args, &scenario, say);
    let groups = links::groups(&scenario);
    let start = args.shard.start();
    let begin = start.unwrap_or_else(Start::now);
    let record = if args.shard.is_given() {
        let head = merge::Head::of(&scenario, groups.names(), &target.endpoint.sources, begin);
        Some(Record::create(&target.dir, &head).map_err(Failure::usage)?)
    } else {
        None
    };
    let started = begin.to_system();
    let sinks = sinks(&scenario, &speech, &target.dir, started, record)?;
    args.shard.wait(say)?;
    let embedded = target.server.as_ref().map(|s| s.url().to_owned());
    let url = embedded.clone().unwrap_or_else(|| scenario.target.shown.clone());
    let about = Arc::new(About::new(&scenario, url.clone(), started));
    let Target { mut server, endpoint, dir } = target;
    let watcher = Watcher::new(&scenario, &endpoint.sources, Arc::clone(&about), metrics.is_some());
    let mut reporter = Reporter::new(watcher, Board::new(Snapshot::first(about)), args.quiet);
    if let Some(metrics) = &mut metrics {
        reporter.serve(metrics)?;
        say(&format!("metrics: http://{}/metrics", metrics.address()));
    }
    // Without --start-at, what was prepared since `begin` is not part of the run.
    let clock = start.map_or_else(Clock::start, |start| Clock::starting_at(start.unix_us()));
    if let Some(server) = &mut server {
        server.set_epoch(clock.epoch_us());
    }
    let (ask, asks) = {
        let _entered = runtime.enter();
        Asks::new()
    };
    if live {
        // From here on a signal is an ask: nothing ends the process while the terminal is the view's.
        reporter.open(ask, clock);
    }
    let mut finished = runtime.block_on(run::run(Run {
        scenario: &scenario,
        plan: Arc::clone(&speech.plan),
        endpoint: Arc::clone(&endpoint),
        clock,
        groups: groups.clone(),
        sinks,
        asks,
        progress: Box::new(|p| reporter.update(p)),
    }));
    reporter.finish();

    let mut problems = std::mem::take(&mut finished.problems);
    let links = finished.totals.links.rows(|device| groups.name_of(device));
    problems.extend(report::write_links(&dir, links).err());
    let agreement = server.and_then(|s| compare(s, &dir, &mut problems));
    let context = Context {
        scenario: &scenario,
        plan: &speech.plan,
        fixtures: speech.fixtures,
        started,
        command: args.scenario.command_line("run", &scenario) + &args.shard.command_line(),
        url,
        embedded: embedded.is_some(),
        tls: endpoint.tls.is_some(),
        sources: &endpoint.sources,
        groups: &groups,
        agreement,
        shard: args.shard.info(scenario.part, begin),
    };
    let result = RunResult { calibration, ..outcome::result(context, &finished) };
    let out = Output { json: args.json, quiet: args.quiet };
    publish(&out, &args.outs, &scenario.report, &dir, &result, started, problems)
}

/// The flags about the calibration, for runs of their own.
fn quoting(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    if args.no_calibration {
        words.push("--no-calibration".to_owned());
    } else if let Some(file) = &args.calibration {
        words.extend(["--calibration".to_owned(), file.display().to_string()]);
    }
    words
}

/// A server that answers, and the folder for the report.
struct Target {
    server: Option<Child>,
    endpoint: Arc<Endpoint>,
    dir: PathBuf,
}

/// Knocks at the target, or starts the embedded server. A target that cannot be reached leaves no folder behind.
async fn reach(scenario: &Scenario) -> Result<Target, Failure> {
    let folder = || folder(scenario.report.dir.as_deref(), &scenario.name, Path::new(&scenario.origin));
    if scenario.target.url.is_some() {
        let endpoint = Arc::new(prepare::endpoint(scenario, None).await?);
        prepare::knock(scenario, &endpoint, &Clock::start()).await?;
        return Ok(Target { server: None, endpoint, dir: folder()? });
    }
    let dir = folder()?;
    let server = prepare::embedded_server(scenario, Some(dir.join(TRUTH)))?;
    let endpoint = Arc::new(prepare::endpoint(scenario, server.as_ref()).await?);
    prepare::knock(scenario, &endpoint, &Clock::start()).await?;
    Ok(Target { server, endpoint, dir })
}

/// The folder of a report, without an earlier one: `dir`, or one of its own. `scenario`: the file that stays.
pub(super) fn folder(dir: Option<&Path>, name: &str, scenario: &Path) -> Result<PathBuf, Failure> {
    let made =
        report::create_dir(dir, Path::new(REPORTS), name, SystemTime::now()).map_err(Failure::usage)?;
    clear(&made, scenario).map_err(|(file, e)| {
        Failure::usage(format!(
            "cannot remove {}, of an earlier report: {e}; choose another folder with --report-dir",
            file.display()
        ))
    })?;
    Ok(made)
}

/// Removes an earlier report, so that no file in the folder is of another run than the rest. Other files stay, and so
/// does `scenario`: a report's own scenario can be run into the same folder.
fn clear(dir: &Path, scenario: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    // Without either there has been no report here, and a `charts/` is somebody else's.
    if !["turns.csv", "result.json"].iter().any(|f| dir.join(f).is_file()) {
        return Ok(());
    }
    let mut files: Vec<_> = STREAMED.iter().chain(&RENDERED).map(|f| dir.join(f)).collect();
    let scenario = scenario.canonicalize().ok();
    files.retain(|f| scenario.is_none() || f.canonicalize().ok() != scenario);
    for (name, extension) in FOLDERS {
        let folder = dir.join(name);
        if folder.is_symlink() || !folder.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(|e| (folder, e))?;
        let paths = entries.filter_map(|f| f.ok().map(|f| f.path()));
        files.extend(paths.filter(|p| p.extension().is_some_and(|x| x == extension)));
    }
    for file in files {
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err((file, e)),
            _ => {}
        }
    }
    for (folder, _) in FOLDERS {
        // One that is not empty holds more than reports.
        let _ = std::fs::remove_dir(dir.join(folder));
    }
    Ok(())
}

/// Writes the reports, prints the summary, and says what could not be written.
pub(super) fn publish(
    out: &Output,
    outs: &[(OutKind, PathBuf)],
    plan: &ReportPlan,
    dir: &Path,
    result: &RunResult,
    started: SystemTime,
    mut problems: Vec<String>,
) -> Result<Exit, Failure> {
    let written = report::write_all(result, dir, plan);
    problems.extend(written.problems);
    let (traces, copies): (Vec<_>, Vec<_>) = outs.iter().partition(|(kind, _)| *kind == OutKind::Otlp);
    let copies: Vec<_> = copies.into_iter().map(|(kind, to)| (kind.file(), to.clone())).collect();
    problems.extend(copy_out(dir, &copies));
    for (kind, to) in traces {
        let (name, target) = (result.name.clone(), result.target.url.clone());
        let origin = Origin { name, seed: result.seed, target, started };
        let made = otlp::write(&dir.join(kind.file()), to, &origin);
        problems.extend(made.err().map(|e| format!("--out otlp: {e}")));
    }
    let files = report_files(dir, written.files);
    let text = if out.json {
        serde_json::to_string_pretty(result).map(|json| json + "\n").unwrap_or_else(|e| {
            problems.push(format!("the result as JSON: {e}"));
            String::new()
        })
    } else if out.quiet {
        String::new()
    } else {
        terminal::summary(result, &files, Style::for_stdout())
    };
    problems.extend(super::print(&text).err().map(|e| e.message));
    problems.extend(super::tell_ci(&dir.join("summary.md"), &ci::of_run(result), out.json).err());
    for p in &problems {
        super::say(format_args!("error: {p}"));
    }
    let exit = Exit::from_code(result.verdict.exit_code).unwrap_or(Exit::Usage);
    // A report that is not whole is no success, whatever it says.
    Ok(if exit == Exit::Good && !problems.is_empty() { Exit::Usage } else { exit })
}

/// Raises the limit of open files if need be; what was done.
fn enough_descriptors(scenario: &Scenario) -> Result<Option<String>, Failure> {
    let most = scenario.most();
    let needed = u64::from(most) + OWN_DESCRIPTORS;
    let limit = health::raise_open_files(needed);
    if !limit.enough {
        return Err(Failure::usage(too_few_descriptors(most, needed, limit.now)));
    }
    Ok((limit.now != limit.before).then(|| {
        format!(
            "raised the limit of open files for this run: {} → {}, as {most} devices need",
            limit.before, limit.now
        )
    }))
}

/// Says it when devices connect from more than one address.
fn several_sources(endpoint: &Endpoint) -> Option<String> {
    let n = endpoint.sources.count();
    (n > 1).then(|| format!("devices connect from {n} addresses: {}", endpoint.sources.text()))
}

fn too_few_descriptors(devices: u32, needed: u64, limit: u64) -> String {
    let fewer = match limit.saturating_sub(OWN_DESCRIPTORS) {
        0 => String::new(),
        n => format!(", or use fewer devices: -u {n}"),
    };
    format!(
        "{devices} devices need {needed} open files, and the limit is {limit} even after raising it as far as allowed\n  \
         raise it with `ulimit -n {needed}` (or LimitNOFILE= of the service){fewer}"
    )
}

/// A file of a report, and where a copy of it goes.
pub(super) type Copy = (&'static str, PathBuf);

/// Makes the copies; what could not be made.
pub(super) fn copy_out(dir: &Path, copies: &[Copy]) -> Vec<String> {
    let made = copies.iter().map(|(file, to)| {
        let done = std::fs::copy(dir.join(file), to);
        done.map_err(|e| format!("--out {file}: cannot write {}: {e}", to.display()))
    });
    made.filter_map(Result::err).collect()
}

/// The copies of a comparison's files.
fn compared_copies(outs: &[(OutKind, PathBuf)]) -> Result<Vec<Copy>, Failure> {
    let copy = |(kind, to): &(OutKind, PathBuf)| {
        let file = kind.compared().ok_or_else(|| {
            Failure::usage(format!(
                "--out {}={}: a comparison has no turns of its own; those of each run are in its folder",
                if *kind == OutKind::Otlp { "otlp" } else { "csv" },
                to.display()
            ))
        })?;
        folder_exists(to)?;
        Ok((file, to.clone()))
    };
    outs.iter().map(copy).collect()
}

fn folder_exists(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!("--out {}: the folder {} does not exist", file.display(), folder.display())))
}

/// A copy that cannot be made should fail before the run, not after it.
fn check_outs(outs: &[(OutKind, PathBuf)], scenario: &Scenario) -> Result<(), Failure> {
    for (kind, file) in outs {
        let made = match kind {
            OutKind::Html => scenario.report.html,
            OutKind::Junit => scenario.report.junit,
            _ => true,
        };
        if !made {
            return Err(Failure::usage(format!("--out: the scenario's [report] leaves {} out", kind.file())));
        }
        folder_exists(file)?;
    }
    Ok(())
}

fn sinks(
    scenario: &Scenario,
    speech: &Speech,
    dir: &Path,
    started: SystemTime,
    record: Option<Record>,
) -> Result<Sinks, Failure> {
    let log = scenario.report.histograms.then(|| HlogWriter::create(dir, started)).transpose();
    Ok(Sinks {
        turns: TurnsCsv::create(dir).map_err(Failure::usage)?,
        intervals: IntervalsCsv::create(dir).map_err(Failure::usage)?,
        histograms: log.map_err(Failure::usage)?,
        record,
        fixtures: speech.fixtures.iter().map(|f| f.id.clone()).collect(),
        problems: Vec::new(),
    })
}

fn announcement(scenario: &Scenario, server: Option<&Child>) -> String {
    let target = match server {
        Some(server) => {
            format!("the embedded reference server ({}), {}", scenario.reference.preset, server.url())
        }
        None => scenario.target.shown.clone(),
    };
    let (devices, all) = (scenario.most(), scenario.fleet.most());
    let of = if scenario.part == Part::WHOLE {
        String::new()
    } else {
        format!(" of {all} (shard {})", scenario.part)
    };
    format!("{devices} devices{of} for {} against {target}", scenario.fleet.duration)
}

/// What the calibration of this machine says about the run, said before it starts.
fn calibration(args: &Args, scenario: &Scenario, say: impl Fn(&str)) -> Option<CalibrationQuote> {
    if args.no_calibration {
        return None;
    }
    let found = || quote::find(scenario.report.dir.as_deref(), Path::new(REPORTS));
    let file = args.calibration.clone().or_else(found)?;
    match quote::from_file(&file, &Here::now(SystemTime::now()), &Planned::of(scenario)) {
        Ok(quote) => {
            say(&format!("this machine: {}", quote::sentence(&quote)));
            if let Some(warning) = quote::warning(&quote) {
                say(&format!("warning: {warning}"));
            }
            Some(quote)
        }
        Err(e) => {
            say(&format!(
                "warning: the calibration is not quoted: {e}\n  \
                 make one with `voxload calibrate`, or leave it out with --no-calibration"
            ));
            None
        }
    }
}

/// Stops the embedded server and compares its log with ours.
fn compare(server: Child, dir: &Path, problems: &mut Vec<String>) -> Option<report::result::Agreement> {
    // A log that may lack its end is not compared.
    let stopped = server.stop().and_then(|farewell| {
        let text = serde_json::to_string_pretty(&farewell).map_err(|e| e.to_string())?;
        std::fs::write(dir.join(USAGE), text + "\n").map_err(|e| format!("cannot write {USAGE}: {e}"))
    });
    let compared = stopped.and_then(|()| agreement::compare(&dir.join("turns.csv"), &dir.join(TRUTH)));
    compared.map_err(|e| problems.push(e)).ok()
}

/// The files of the report, the streamed ones with them, in the order in which people look at them.
fn report_files(dir: &Path, written: Vec<PathBuf>) -> Vec<PathBuf> {
    written.into_iter().chain(STREAMED.iter().map(|f| dir.join(f)).filter(|p| p.exists())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_room_for_devices_is_only_to_be_raised() {
        assert!(too_few_descriptors(10, 74, 70).ends_with("or use fewer devices: -u 6"));
        assert!(too_few_descriptors(10, 74, 64).ends_with("(or LimitNOFILE= of the service)"));
        assert!(too_few_descriptors(10, 74, 20).ends_with("(or LimitNOFILE= of the service)"));
    }

    #[test]
    fn an_earlier_report_goes_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let own = ["notes.txt", "charts/mine.txt", "scenario.toml"];
        let reports =
            ["result.json", "junit.xml", "turns.csv", TRUTH, "charts/load.svg", "percentiles/ttfa.hgrm"];
        for folder in ["charts", "percentiles"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        std::fs::write(dir.join("charts/load.svg"), "").unwrap();
        clear(dir, Path::new("<built-in>")).unwrap();
        assert!(dir.join("charts/load.svg").exists(), "there has been no report");
        for file in own.iter().chain(&reports) {
            std::fs::write(dir.join(file), "").unwrap();
        }
        clear(dir, &dir.join("scenario.toml")).unwrap();
        for file in own {
            assert!(dir.join(file).exists(), "{file}");
        }
        for file in reports.iter().chain(&["percentiles"]) {
            assert!(!dir.join(file).exists(), "{file}");
        }
    }
}
