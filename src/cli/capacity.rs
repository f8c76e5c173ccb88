//! `voxload capacity`.

use std::path::Path;
use std::time::SystemTime;

use super::REPORTS;
use super::calibrate::stop_on_a_signal;
use super::scenario_args::ScenarioArgs;
use crate::capacity::document::{CapacityReport, Ended, LoadUnit, SearchSettings};
use crate::capacity::judge::Budget;
use crate::capacity::lab::{self, Lab, Plan};
use crate::capacity::search::{Limits, Search};
use crate::capacity::server;
use crate::capacity::{self, terminal};
use crate::ci;
use crate::exit::{Exit, Failure};
use crate::report;
use crate::report::terminal::Style;
use crate::scenario::Scenario;
use crate::scenario::units::{parse_duration, parse_share};
use crate::subprocess::Stop;
use crate::time::Micros;

/// Runs of one load while it is undecided.
const ROUNDS: u32 = 3;

/// Keys that the search sets, and the flags that do instead.
const OWN: [(&str, &str); 7] = [
    ("fleet.devices", "the search chooses how many; begin with --from, end with --ceiling"),
    ("fleet.rate", "the search chooses the rate; begin with --from, end with --ceiling"),
    ("fleet.stages", "the search chooses how many devices there are, and when"),
    ("fleet.duration", "the time that counts in a probe is --probe, that of the whole search --time"),
    ("fleet.warmup", "it follows from the number of devices and the length of a turn"),
    ("fleet.ramp", "it follows from the number of devices: they come at the pace of the scenario's file"),
    ("seed", "every probe has a seed of its own; set it in the scenario's file"),
];

/// Find how many devices one server carries.
///
/// The thresholds of the scenario (and --threshold) say what "carries" means. Doubles the number of devices until they
/// no longer hold, bisects, and confirms the answer on fresh runs. With open arrivals (fleet.arrivals) the load is sessions
/// per second. Every probe is a run of its own, with its report under the report's folder. Ctrl-C leaves the answer as far as
/// it is known: docs/CAPACITY.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload capacity my-server.toml --threshold 'ttfa:p(95)<300ms' --ceiling 500
  voxload capacity my-server.toml --from 50 --probe 60s --time 30m --fleet 50000 --fleet-think 2m
  voxload capacity my-server.toml --storm 1s --server-pid \"$(pidof my-server)\"
  voxload capacity capacity --time 5m          # the embedded server, whose capacity is known")]
pub(super) struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// Begin with this load: devices, or sessions per second [default: 10 devices, or a tenth of fleet.rate]
    #[arg(long, value_name = "N", value_parser = load)]
    from: Option<f64>,

    /// Never more than this, to protect the server [default: 10,000 devices, or 100 times fleet.rate]
    #[arg(long, value_name = "N", value_parser = load)]
    ceiling: Option<f64>,

    /// Go up by at most this factor
    #[arg(long, value_name = "X", default_value = "2", value_parser = factor)]
    factor: f64,

    /// How close to come, for example 5%
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    precision: f64,

    /// Load that counts in one probe, after devices have come and settled
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    probe: Micros,

    /// End within this time, with the answer as far as it is known
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = time)]
    time: Micros,

    /// Stop a probe with more failed turns and connections than this
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = share)]
    abort_on_errors: f64,

    /// Rest between probes; three times as long after a load that was too much. The embedded server is a new one each time and needs none
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    cool_down: Micros,

    /// Toys that are on at once: how many servers do they need?
    #[arg(long, value_name = "TOYS", default_value_t = 50_000)]
    fleet: u64,

    /// Toys that are quiet for this long between two turns: how many servers then? By Little's law, from what was measured
    #[arg(long, value_name = "TIME", value_parser = time)]
    fleet_think: Option<Micros>,

    /// At the end, let all devices that one server carries come within this time, for example 1s: are they let in?
    #[arg(long, value_name = "TIME", value_parser = time)]
    storm: Option<Micros>,

    /// The process of a server on this machine: its CPU and memory, and those of its children, are in the report
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the result as JSON instead of the tables
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of `capacity.json`, and do nothing else
    #[arg(long)]
    print_schema: bool,
}

fn load(text: &str) -> Result<f64, String> {
    let n = text.replace([',', '_'], "").parse::<f64>().ok().filter(|n| *n > 0.0 && *n <= 1e7);
    n.ok_or_else(|| "expected a number above 0, for example 50".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    let x = text.parse::<f64>().ok().filter(|x| (1.1..=4.0).contains(x));
    x.ok_or_else(|| "expected a factor from 1.1 to 4, for example 1.5".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let x = parse_share(text).map_err(|e| e.to_string())?;
    if (0.01..=0.5).contains(&x) { Ok(x) } else { Err("expected a share from 1% to 50%".to_owned()) }
}

fn time(text: &str) -> Result<Micros, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.print_schema {
        super::print(&capacity::schema())?;
        return Ok(Exit::Good);
    }
    let overrides = args.scenario.overrides();
    for o in &overrides {
        if let Some((key, instead)) = OWN.iter().find(|(key, _)| *key == o.key) {
            return Err(Failure::usage(format!(
                "{} {}: {key} cannot be set here: {instead}",
                o.flag, o.value
            )));
        }
    }
    let scenario = args.scenario.load()?;
    let budgets = budgets(&scenario)?;
    let unit = lab::unit(&scenario);
    let limits = limits(args, &scenario, unit)?;
    check(args, &scenario, unit)?;

    let name = format!("{}-capacity", scenario.name);
    let (wanted, root) = (scenario.report.dir.as_deref(), Path::new(REPORTS));
    let dir = report::create_dir(wanted, root, &name, SystemTime::now()).map_err(Failure::usage)?;
    if dir.join("probes").exists() {
        return Err(Failure::usage(format!(
            "{} holds an earlier search; choose another folder with --report-dir, or remove it",
            dir.display()
        )));
    }
    let stop = Stop::default();
    stop_on_a_signal(&stop)?;
    let mut say = |text: &str| {
        if !args.quiet {
            super::say(text);
        }
    };
    say(&format!(
        "voxload {} · {}: how many {} does one server carry?",
        env!("CARGO_PKG_VERSION"),
        scenario.name,
        unit.heading()
    ));
    say(&format!(
        "at {}; from {} to at most {}, each step up by at most {} times",
        scenario.thresholds.join(" and "),
        unit.text(unit.value(limits.from)),
        unit.text(unit.value(limits.ceiling)),
        args.factor
    ));
    // The embedded server is a new one for every run.
    let cool_down = if scenario.target.url.is_some() { args.cool_down } else { Micros::ZERO };
    let plan = Plan {
        scenario: &scenario,
        source: args.scenario.scenario.clone().unwrap_or_default(),
        overrides: overrides.iter().map(|o| (o.key.clone(), o.value.clone(), o.append)).collect(),
        command: command(args, &scenario),
        dir: dir.clone(),
        budgets,
        probe: args.probe,
        time: Some(args.time),
        abort_share: args.abort_on_errors,
        cool_down,
        server_pid: args.server_pid,
        stop,
    };
    let mut search = Search::new(limits);
    let mut lab = Lab::new(plan, &mut say);
    args.storm.into_iter().for_each(|within| lab.keep_time_for_storm(within));
    let searched = capacity::run(&mut search, &mut lab);
    if let Err(failure) = searched {
        // Nothing was learned: no folder of nothing.
        let _ = std::fs::remove_dir_all(dir.join("probes"));
        let _ = std::fs::remove_dir(&dir);
        return Err(failure);
    }
    let settings = SearchSettings {
        from: unit.value(limits.from),
        ceiling: unit.value(limits.ceiling),
        factor: args.factor,
        precision: args.precision,
        probe_us: args.probe.0,
        abort_share: args.abort_on_errors,
        cool_down_us: cool_down.0,
    };
    let storm = match args.storm {
        // What the search has found is not lost for it.
        Some(within) => lab.storm(lab.answer(&search), within).unwrap_or_else(|e| {
            super::say(format_args!("error: the storm could not be measured: {}", e.message));
            None
        }),
        None => None,
    };
    let report = lab.report(&search, settings, (args.fleet, args.fleet_think), storm);
    publish(args, &report, &dir)
}

/// Writes the files, prints the answer, and says what could not be written.
fn publish(args: &Args, report: &CapacityReport, dir: &Path) -> Result<Exit, Failure> {
    let written = capacity::write(report, dir);
    let mut problems = written.problems;
    // Every probe has pointed `latest` at itself.
    problems.extend(report::create_dir(Some(dir), Path::new(REPORTS), "", SystemTime::now()).err());
    let text = if args.json {
        serde_json::to_string_pretty(report).map(|t| t + "\n").unwrap_or_else(|e| {
            problems.push(format!("the result as JSON: {e}"));
            String::new()
        })
    } else if args.quiet {
        String::new()
    } else {
        terminal::tables(report, &written.files, Style::for_stdout())
    };
    problems.extend(super::print(&text).err().map(|e| e.message));
    let told = super::tell_ci(&dir.join(capacity::MARKDOWN), &ci::of_capacity(report), args.json);
    problems.extend(told.err());
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n")));
    }
    Ok(exit(report.ended, report.certain))
}

const fn exit(ended: Ended, certain: bool) -> Exit {
    match ended {
        Ended::Answered => Exit::Good,
        Ended::Ceiling | Ended::NothingHolds if !certain => Exit::Inconclusive,
        Ended::Ceiling => Exit::Good,
        Ended::NothingHolds => Exit::Threshold,
        Ended::Invalid => Exit::Invalid,
        Ended::Harness | Ended::Time => Exit::Inconclusive,
        Ended::Lost => Exit::Unreachable,
        Ended::Interrupted => Exit::Interrupted,
    }
}

fn budgets(scenario: &Scenario) -> Result<Vec<Budget>, Failure> {
    if scenario.thresholds.is_empty() {
        return Err(Failure::usage(
            "what does \"carries\" mean? The scenario has no thresholds\n  \
             give them, for example: --threshold 'ttfa:p(95)<300ms' --threshold 'turns.failed:rate<1%'",
        ));
    }
    scenario.thresholds.iter().map(|t| Budget::parse(t)).collect::<Result<_, _>>().map_err(Failure::usage)
}

fn limits(args: &Args, scenario: &Scenario, unit: LoadUnit) -> Result<Limits, Failure> {
    let (from, ceiling) = match scenario.fleet.arrivals {
        crate::scenario::Arrivals::Closed => (10.0, 10_000.0),
        crate::scenario::Arrivals::Open { rate, .. } => (rate / 10.0, rate * 100.0),
    };
    let ceiling = args.ceiling.unwrap_or(ceiling);
    let from = args.from.unwrap_or_else(|| from.min(ceiling));
    if from > ceiling {
        return Err(Failure::usage(format!(
            "--from {from} is above --ceiling {ceiling}: the search would begin where it may not go"
        )));
    }
    Ok(Limits {
        from: unit.steps(from),
        ceiling: unit.steps(ceiling),
        factor: args.factor,
        precision: args.precision,
        rounds: ROUNDS,
    })
}

/// What makes no sense together.
fn check(args: &Args, scenario: &Scenario, unit: LoadUnit) -> Result<(), Failure> {
    if !scenario.fleet.stages.is_empty() {
        return Err(Failure::usage(
            "the scenario has fleet.stages, and the search chooses how many devices there are\n  \
             use a scenario with devices and ramp",
        ));
    }
    if args.probe < Micros::from_secs(1) {
        return Err(Failure::usage("--probe: expected at least 1s, better 20s or more"));
    }
    if let Some(pid) = args.server_pid {
        if scenario.target.url.is_none() {
            return Err(Failure::usage(
                "--server-pid: the embedded server's process is known, and seen without it; give the --url of yours",
            ));
        }
        if !server::exists(pid) {
            return Err(Failure::usage(format!(
                "--server-pid {pid}: this machine shows no such process; for a server on another machine, leave it out"
            )));
        }
    }
    if let Some(within) = args.storm {
        if unit == LoadUnit::Sessions {
            return Err(Failure::usage(
                "--storm: with open arrivals there is no fleet that could come all at once; use a scenario with devices",
            ));
        }
        if within < Micros::from_millis(100) {
            return Err(Failure::usage("--storm: expected at least 100ms"));
        }
    }
    if unit == LoadUnit::Devices && scenario.turn.count.is_some() {
        return Err(Failure::usage(
            "turn.count ends every device's conversation, and the load would fade while it is measured\n  \
             leave it out (--set turn.count=0), or let sessions arrive: fleet.arrivals = \"open\"",
        ));
    }
    Ok(())
}

fn command(args: &Args, scenario: &Scenario) -> String {
    let mut line = args.scenario.command_line("capacity", scenario);
    let mut add = |flag: &str, value: String| line.extend([" ", flag, " ", &value]);
    if let Some(n) = args.from {
        add("--from", n.to_string());
    }
    if let Some(n) = args.ceiling {
        add("--ceiling", n.to_string());
    }
    let duration = crate::scenario::units::format_duration;
    for (flag, value, usual) in [
        ("--factor", args.factor.to_string(), "2"),
        ("--precision", format!("{}%", args.precision * 100.0), "5%"),
        ("--probe", duration(args.probe), "20s"),
        ("--time", duration(args.time), "20m"),
        ("--abort-on-errors", format!("{}%", args.abort_on_errors * 100.0), "10%"),
        ("--cool-down", duration(args.cool_down), "3s"),
        ("--fleet", args.fleet.to_string(), "50000"),
    ] {
        if value != usual {
            add(flag, value);
        }
    }
    if let Some(t) = args.fleet_think {
        add("--fleet-think", duration(t));
    }
    if let Some(t) = args.storm {
        add("--storm", duration(t));
    }
    if args.server_pid.is_some() {
        add("--server-pid", "PID".to_owned());
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(args: &str) -> Args {
        Command::try_parse_from(["voxload"].into_iter().chain(args.split_whitespace())).unwrap().args
    }

    fn refused(line: &str) -> String {
        run(&parse(line)).unwrap_err().message
    }

    #[test]
    fn what_makes_no_sense_is_said_before_anything_is_made() {
        for (line, says) in [
            ("quickstart -u 5", "--devices 5: fleet.devices cannot be set here: the search chooses how many"),
            ("quickstart -d 5s", "--probe"),
            ("quickstart --set fleet.ramp=5s", "--set 5s: fleet.ramp cannot be set here"),
            ("quickstart --from 20 --ceiling 10", "--from 20 is above --ceiling 10"),
            ("quickstart --probe 10ms", "expected at least 1s"),
            ("quickstart --set turn.count=2", "the load would fade"),
            ("quickstart --set thresholds=[]", "no thresholds"),
            ("quickstart --server-pid 1", "the embedded server's process is known"),
            ("quickstart --url ws://x/ --server-pid 4294967294", "no such process"),
            ("quickstart --storm 1ms", "at least 100ms"),
            ("", "which scenario?"),
        ] {
            let e = refused(line);
            assert!(e.contains(says), "{line}: {e}");
        }
        assert!(Command::try_parse_from(["voxload", "quickstart", "--factor", "9"]).is_err());
        assert!(Command::try_parse_from(["voxload", "quickstart", "--precision", "0%"]).is_err());
    }

    #[test]
    fn the_command_repeats_it() {
        let args = parse("quickstart --from 20 --time 5m --set audio.chunk=20ms");
        let scenario = args.scenario.load().unwrap();
        assert_eq!(
            command(&args, &scenario),
            "voxload capacity quickstart --set audio.chunk=20ms --from 20 --time 5m"
        );
    }

    #[test]
    fn loads_by_arrivals() {
        let closed = parse("quickstart --ceiling 5");
        let s = closed.scenario.load().unwrap();
        let l = limits(&closed, &s, LoadUnit::Devices).unwrap();
        assert_eq!((l.from, l.ceiling), (5, 5));
        let open = parse("quickstart --set fleet.arrivals=open --set fleet.rate=2 --set turn.count=1");
        let s = open.scenario.load().unwrap();
        let l = limits(&open, &s, LoadUnit::Sessions).unwrap();
        assert_eq!((l.from, l.ceiling), (20, 20_000), "hundredths");
    }
}
