//! Probes of a real server: each a `voxload run` of the scenario in a process of its own, with its report beside the others.
//!
//! The server is protected: devices come no faster than in the scenario, nor faster than they will talk later; a run with
//! too many errors, or whose answer leaves no doubt any more, is ended early, as Ctrl-C would end it; and between runs there is
//! a rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::binomial::Verdict;
use super::child::{errors, rows};
use super::document::{
    AnswerResult, CapacityReport, LoadUnit, SCHEMA_VERSION, SearchSettings, StormResult, TrialBudget,
    TrialResult,
};
use super::judge::{self, Budget, Little};
use super::search::{Ask, Level, Search, Seen, Tally};
use super::server::{Used, Watch, Who};
use super::words::{self, Outcome};
use crate::exit::{Exit, Failure};
use crate::measure::{Metric, agreement, health};
use crate::report::result::{IntervalPoint, TurnRow};
use crate::report::text::{count, percent, span};
use crate::report::{RunResult, json, rfc3339};
use crate::scenario::estimate::{Estimate, Speech};
use crate::scenario::units::format_duration;
use crate::scenario::{Arrivals, Scenario, Undecided};
use crate::subprocess::{self, End, LOOK, Stop, Subprocess};
use crate::time::Micros;

/// Between two looks at the files of a run.
const READ: Duration = Duration::from_secs(1);

/// Between two looks at the server's process.
const WATCH: Duration = Duration::from_millis(250);

/// What a run takes besides its plan: processes start, speech is encoded, the last replies end, reports are written.
const OVERHEAD: Micros = Micros::from_millis(2_500);

/// Devices come within this time at least, and at most.
const RAMP: [Micros; 2] = [Micros::from_secs(1), Micros::from_secs(60)];

/// Nobody waits longer for a load to settle.
const LONGEST_CYCLE: Micros = Micros::from_secs(30);

/// Longer than its plan and grace by this, and a run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// After a load that was too much, the rest is so many times as long.
const LONG_REST: i64 = 3;

/// What to probe, and how.
pub struct Plan<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The file or name it came from.
    pub source: String,
    /// What the command line changes in it: key, value, and whether it is added to a list.
    pub overrides: Vec<(String, String, bool)>,
    /// The command line, without secrets.
    pub command: String,
    /// Where the reports go.
    pub dir: PathBuf,
    /// The thresholds.
    pub budgets: Vec<Budget>,
    /// Load that counts in one run.
    pub probe: Micros,
    /// The search begins no run that would end later than this.
    pub time: Option<Micros>,
    /// A run with more errors than this share is stopped.
    pub abort_share: f64,
    /// Rest between runs.
    pub cool_down: Micros,
    /// The process of a server on this machine that is not the embedded one.
    pub server_pid: Option<u32>,
    /// Whether the user wants it to end.
    pub stop: Stop,
}

/// Why no more probes were made, when the search did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The time was over.
    Time,
    /// The user interrupted.
    Interrupted,
    /// The server could not be reached any more, or a run broke.
    Lost(String),
}

/// The laboratory.
pub struct Lab<'a> {
    pub(super) plan: Plan<'a>,
    pub(super) unit: LoadUnit,
    began: Instant,
    started: SystemTime,
    /// From one utterance of a device to its next, as far as is known.
    cycle: Micros,
    trials: Vec<TrialResult>,
    /// Time that the search leaves for what comes after it.
    pub(super) kept: Micros,
    /// The latest result.
    last: Option<RunResult>,
    /// Why it ended early.
    pub(super) stopped: Option<Stopped>,
    pub(super) say: &'a mut dyn FnMut(&str),
}

/// When devices come and turns count in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) ramp: Micros,
    pub(super) warmup: Micros,
    pub(super) duration: Micros,
}

/// A run that has ended.
pub(super) struct Launched {
    /// Why it was stopped, if it was because of errors.
    pub(super) aborted: Option<String>,
    /// What the server has used meanwhile, where that can be seen.
    server: Option<Used>,
    took: Micros,
}

/// Why there is no run.
pub(super) enum NotMade {
    /// The user wants everything to end.
    Interrupted,
    /// It broke.
    Broken(Failure),
}

/// What loads of a scenario are counted in.
pub fn unit(scenario: &Scenario) -> LoadUnit {
    match scenario.fleet.arrivals {
        Arrivals::Closed => LoadUnit::Devices,
        Arrivals::Open { .. } => LoadUnit::Sessions,
    }
}

/// A run's timing: `load` in the unit of the scenario's arrivals.
fn timing(scenario: &Scenario, load: f64, cycle: Micros, probe: Micros) -> Timing {
    let fleet = &scenario.fleet;
    let settle = (fleet.warmup - fleet.ramp).max(cycle);
    let (ramp, warmup) = match fleet.arrivals {
        Arrivals::Closed => {
            // As many a second as in the scenario; and the first turns no closer together than the later ones will be.
            let pace = f64::from(fleet.devices) / fleet.ramp.as_secs_f64().max(0.001);
            let ramp = Micros::from_secs_f64(load / pace).max(cycle).clamp(RAMP[0], RAMP[1]);
            (ramp, ramp + settle)
        }
        // As long again for the queues to fill.
        Arrivals::Open { .. } => (fleet.ramp, settle.max(cycle * 2)),
    };
    Timing { ramp, warmup, duration: warmup + probe }
}

impl<'a> Lab<'a> {
    /// Begins now.
    pub fn new(plan: Plan<'a>, say: &'a mut dyn FnMut(&str)) -> Self {
        let cycle = Estimate::of(plan.scenario, Speech::default()).turn;
        let unit = unit(plan.scenario);
        Self {
            plan,
            unit,
            began: Instant::now(),
            started: SystemTime::now(),
            cycle,
            trials: Vec::new(),
            kept: Micros::ZERO,
            last: None,
            stopped: None,
            say,
        }
    }

    /// Since it began.
    pub fn elapsed(&self) -> Micros {
        self.began.elapsed().into()
    }

    fn outcome(&self, search: &Search) -> Outcome {
        Outcome::of(search, self.stopped.as_ref(), self.unit, &self.plan.budgets, &self.trials)
    }

    /// What one server carries, as far as it is known.
    pub fn answer(&self, search: &Search) -> Option<AnswerResult> {
        self.outcome(search).answer
    }

    /// The document; `fleet`: toys, and how long they are quiet between two turns, if not as in the scenario.
    pub fn report(
        &self,
        search: &Search,
        settings: SearchSettings,
        fleet: (u64, Option<Micros>),
        storm: Option<StormResult>,
    ) -> CapacityReport {
        let scenario = self.plan.scenario;
        let o = self.outcome(search);
        CapacityReport {
            schema_version: SCHEMA_VERSION,
            voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: scenario.name.clone(),
            started_at: rfc3339(self.started),
            duration_us: self.elapsed().0,
            unit: self.unit,
            ended: o.ended,
            sentence: o.sentence,
            answer: o.answer,
            held: o.held,
            certain: o.certain,
            failed: o.failed,
            budgets: o.budgets,
            trials: self.trials.clone(),
            at_shares: o.at_shares,
            remarks: o.remarks,
            fleet: words::fleet_plan(fleet, self.unit, o.answer, &self.trials),
            storm,
            scalability: o.scalability,
            search: settings,
            target: self.last.as_ref().map(|r| r.target.clone()),
            host: health::host(),
            command: self.plan.command.clone(),
            scenario: scenario.effective.clone(),
        }
    }

    /// The scenario's keys for a load.
    pub(super) fn keys(&self, load: f64, timing: &Timing) -> Vec<(String, String)> {
        let key = |k: &str, v: String| (k.to_owned(), v);
        let fleet = &self.plan.scenario.fleet;
        let mut keys = vec![
            key("fleet.duration", format_duration(timing.duration)),
            key("fleet.warmup", format_duration(timing.warmup)),
            // Every run has its own draws: the same ones again would tell nothing new.
            key("seed", self.plan.scenario.seed.wrapping_add(self.trials.len() as u64).to_string()),
            key("report.html", "false".to_owned()),
            key("report.junit", "false".to_owned()),
            key("report.histograms", "false".to_owned()),
        ];
        if self.plan.scenario.gate.undecided == Undecided::Extend {
            // How long a probe takes, and whether there is another, is the search's to say.
            keys.push(key("gate.undecided", Undecided::Fail.name().to_owned()));
        }
        match fleet.arrivals {
            Arrivals::Closed => keys.extend([
                key("fleet.devices", format!("{}", load as u64)),
                key("fleet.ramp", format_duration(timing.ramp)),
            ]),
            Arrivals::Open { rate, .. } => {
                // Room for more sessions at a higher rate, or they would be missed.
                let room = (f64::from(fleet.devices) * (load / rate).max(1.0)).ceil();
                keys.extend([
                    key("fleet.rate", format!("{load:.2}")),
                    key("fleet.devices", format!("{}", room as u64)),
                ]);
            }
        }
        keys
    }

    fn command(&self, keys: &[(String, String)], dir: &Path) -> Result<Command, Failure> {
        let mut command = subprocess::command()?;
        command.arg("run").arg(&self.plan.source);
        for (key, value, append) in &self.plan.overrides {
            if *append {
                command.arg("--threshold").arg(value);
            } else if key != "report.dir" && !keys.iter().any(|(k, _)| k == key) {
                command.arg("--set").arg(format!("{key}={value}"));
            }
        }
        for (key, value) in keys {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.arg("--report-dir").arg(dir).args(["--quiet", "--no-calibration"]);
        Ok(command)
    }

    /// The search leaves time for a storm of all devices within this time.
    pub fn keep_time_for_storm(&mut self, within: Micros) {
        self.kept = within + self.plan.probe + OVERHEAD;
    }

    /// Whether a run of this length would end in time.
    pub(super) fn time_for(&self, length: Micros) -> bool {
        self.plan.time.is_none_or(|t| self.elapsed() + length + OVERHEAD + self.kept <= t)
    }

    /// Makes a run in that folder and waits for its end; `early`: it may end once its answer leaves no doubt.
    pub(super) fn launch(
        &self,
        keys: &[(String, String)],
        dir: &Path,
        timing: &Timing,
        early: bool,
    ) -> Result<Result<Launched, NotMade>, Failure> {
        fs::create_dir_all(dir)
            .map_err(|e| Failure::usage(format!("cannot create {}: {e}", dir.display())))?;
        let said = dir.join("stderr.txt");
        let child = Subprocess::start(self.command(keys, dir)?, &said)?;
        let began = Instant::now();
        let (end, aborted, server) = self.look_after(child, dir, timing, early)?;
        let heard = fs::read_to_string(&said).unwrap_or_default();
        if heard.is_empty() {
            let _ = fs::remove_file(&said);
        }
        let broken = match end {
            End::Interrupted => return Ok(Err(NotMade::Interrupted)),
            End::Stuck => Failure::usage("a run does not end; this machine stands still"),
            End::Exited(status) if TELLING.iter().any(|e| Some(i32::from(e.code())) == status.code()) => {
                return Ok(Ok(Launched { aborted, server, took: began.elapsed().into() }));
            }
            End::Exited(status) => {
                let code = status.code();
                let exit = code.and_then(|c| u8::try_from(c).ok()).and_then(Exit::from_code);
                let text = heard.trim().trim_start_matches("error: ").to_owned();
                let text = if text.is_empty() { format!("a run ended with {code:?}") } else { text };
                Failure { exit: exit.unwrap_or(Exit::Usage), message: text }
            }
        };
        Ok(Err(NotMade::Broken(broken)))
    }

    /// Which process the server is, when this machine can see it.
    fn server(&self, run: &Subprocess) -> Option<Who> {
        match (self.plan.server_pid, &self.plan.scenario.target.url) {
            (Some(pid), _) => Some(Who::Process(pid)),
            (None, None) => Some(Who::EmbeddedIn(run.id())),
            (None, Some(_)) => None,
        }
    }

    /// Waits for a run, looking after it: how it ended, why it was stopped if it was because of errors, and what the server used.
    fn look_after(
        &self,
        mut child: Subprocess,
        dir: &Path,
        timing: &Timing,
        early: bool,
    ) -> Result<(End, Option<String>, Option<Used>), Failure> {
        let grace = self.plan.scenario.fleet.graceful_stop;
        let began = Instant::now();
        let end = Some(began + (timing.duration + grace).to_std() + PATIENCE);
        let mut watch = Watch::new(self.server(&child), timing.warmup, timing.duration);
        let (mut aborted, mut asked) = (None, false);
        let (mut read, mut watched) = (began, began);
        loop {
            if let Some(ended) = child.look(&self.plan.stop, end)? {
                return Ok((ended, aborted, watch.used()));
            }
            if asked {
                continue;
            }
            if watched.elapsed() >= WATCH {
                watched = Instant::now();
                watch.look(began.elapsed().into());
            }
            if read.elapsed() < READ {
                continue;
            }
            read = Instant::now();
            let errors = errors(&rows::<IntervalPoint>(&dir.join("intervals.csv")));
            if errors.is_some_and(|(share, _)| share > self.plan.abort_share) {
                aborted = errors.map(|(share, of)| {
                    format!("{} of {} turns and connections failed", percent(share), count(of))
                });
                asked = true;
            }
            let certain = || judge::certain(&self.plan.budgets, &rows::<TurnRow>(&dir.join("turns.csv")));
            asked |= early && certain().is_some();
            if asked {
                // What the server does for the last replies is no load that counts.
                watch.over(began.elapsed().into());
                child.interrupt();
            }
        }
    }

    /// Rests between two runs against a server that lives on.
    fn rest(&mut self, search: &Search) {
        let Some(last) = self.trials.last() else { return };
        let steps = self.unit.steps(last.load);
        let hard = search.levels().get(&steps).is_some_and(|l: &Level| l.holds() == Some(false));
        let rest = if hard { self.plan.cool_down * LONG_REST } else { self.plan.cool_down };
        if rest <= Micros::ZERO {
            return;
        }
        (self.say)(&format!("          the server rests for {}", format_duration(rest)));
        let end = Instant::now() + rest.to_std();
        while Instant::now() < end && !self.plan.stop.asked() {
            std::thread::sleep(LOOK);
        }
    }

    /// What a run that has ended tells.
    fn read(&mut self, ask: Ask, dir: &Path, launched: Launched) -> Result<Seen, String> {
        let Launched { aborted, server, took } = launched;
        let (result, _) = json::read(dir)?;
        let mut turns = Vec::new();
        agreement::for_each_turn(&dir.join("turns.csv"), |t| turns.push(t))?;
        let mut trial = self.trial(ask, dir, &result, &turns);
        trial.took_us = took.0;
        trial.server_cpu_cores = server.map(|u| u.cores);
        trial.server_rss_bytes = server.map(|u| u.rss_bytes);
        let tallies = judge::tallies(&self.plan.budgets, &result, &turns);
        let measured = result.turns.started.saturating_sub(result.turns.cancelled);
        let refused = result.connections.failed > 0;
        // A harness in trouble may have made the errors: INVALID outranks them, as in exit codes.
        let seen = if !result.validity.valid {
            let errors = aborted.map_or_else(String::new, |e| format!("; {e}"));
            trial.reason = format!("{}{errors}", why_invalid(&result));
            Seen::Invalid
        } else if let Some(reason) = aborted {
            trial.reason = reason;
            Seen::Aborted
        } else if measured == 0 && refused {
            trial.reason = format!("no turn began: {} failed to connect", count(result.connections.failed));
            Seen::Aborted
        } else if measured == 0 {
            return Err(format!(
                "no turn ended within the {} that count; give the probes longer with --probe",
                format_duration(self.plan.probe)
            ));
        } else {
            Seen::Judged(tallies.clone())
        };
        let level = Level { tallies, rounds: 1, ..Level::default() };
        trial.verdict = match &seen {
            Seen::Aborted => "aborted",
            Seen::Invalid => "invalid",
            Seen::Judged(_) => level.verdict().map_or("undecided", word),
        }
        .to_owned();
        if let Some(us) = trial.turn_us.filter(|_| seen != Seen::Aborted) {
            // Little's law: so many devices make so many turns a second. With sessions, their own pace.
            let seen = Micros::from_secs_f64(trial.load / trial.turn_rate.max(1e-3));
            let paced = Micros(us) + self.plan.scenario.turn.think.mean();
            let cycle = if self.unit == LoadUnit::Devices { seen } else { paced };
            self.cycle = cycle.clamp(RAMP[0], LONGEST_CYCLE);
        }
        (self.say)(&said(&trial, &seen));
        self.trials.push(trial);
        self.last = Some(result);
        Ok(seen)
    }

    fn trial(&self, ask: Ask, dir: &Path, r: &RunResult, turns: &[TurnRow]) -> TrialResult {
        let little = Little::of(r, turns);
        let ttfa = r.metrics.get(Metric::Ttfa.name());
        let kbps = |bytes: u64| bytes as f64 * 8.0 / Micros(r.duration_us.max(1)).as_secs_f64() / 1e3;
        let tallies = judge::tallies(&self.plan.budgets, r, turns);
        TrialResult {
            number: self.trials.len() as u32 + 1,
            load: self.unit.value(ask.load),
            purpose: ask.purpose.name().to_owned(),
            dir: dir.strip_prefix(&self.plan.dir).unwrap_or(dir).display().to_string(),
            budgets: tallies.iter().map(trial_budget).collect(),
            turns: r.turns.started.saturating_sub(r.turns.cancelled),
            failed: r.turns.failed + r.turns.timed_out,
            connected: r.generator.devices,
            ttfa_p50_us: ttfa.and_then(|m| m.p50_us),
            ttfa_p95_us: ttfa.and_then(|m| m.p95_us),
            ttfa_p99_us: ttfa.and_then(|m| m.p99_us),
            // One alone is its own percentile, as far as a table is concerned.
            connect_p95_us: r.metrics.get(Metric::Connect.name()).and_then(|m| m.p95_us.or(m.max_us)),
            connect_failures: r.connections.failed,
            turn_rate: judge::turn_rate(r, turns),
            turn_us: judge::turn_length(r, turns).map(|t| t.0),
            in_turn: little.map(|l| l.counted),
            in_turn_by_little: little.map(|l| l.computed),
            little_agrees: little.map(|l| l.agrees()),
            kbps_up: kbps(r.generator.bytes_sent),
            kbps_down: kbps(r.generator.bytes_received),
            harness_cpu_share: r.generator.cpu_share,
            ..TrialResult::default()
        }
    }
}

impl super::Probe for Lab<'_> {
    type Trouble = Failure;

    fn probe(&mut self, ask: Ask, search: &Search) -> Result<Option<Seen>, Failure> {
        self.rest(search);
        if self.plan.stop.asked() {
            self.stopped = Some(Stopped::Interrupted);
            return Ok(None);
        }
        let load = self.unit.value(ask.load);
        let timing = timing(self.plan.scenario, load, self.cycle, self.plan.probe);
        let length = timing.duration + OVERHEAD;
        if !self.time_for(timing.duration) {
            self.stopped = Some(Stopped::Time);
            return Ok(None);
        }
        let number = self.trials.len() + 1;
        let seconds = |t: Micros| format!("{:.0} s", t.as_secs_f64());
        // Runs whose answer is clear end early, others take their time.
        let left = Micros((length + self.plan.cool_down).0 * i64::from(search.left().max(1)));
        let left = self.plan.time.map_or(left, |t| left.min(t - self.elapsed()));
        (self.say)(&format!(
            "probe {number:>2}  {} ({}), up to {}; about {} left",
            self.unit.text(load),
            ask.purpose.name(),
            seconds(length),
            minutes(left)
        ));
        let dir =
            self.plan.dir.join(format!("probes/{number:02}-{}", self.unit.number(load).replace(',', "")));
        let trouble = match self.launch(&self.keys(load, &timing), &dir, &timing, true)? {
            Ok(launched) => match self.read(ask, &dir, launched) {
                Ok(seen) => return Ok(Some(seen)),
                Err(e) => Failure::usage(e),
            },
            Err(NotMade::Interrupted) => {
                self.stopped = Some(Stopped::Interrupted);
                return Ok(None);
            }
            Err(NotMade::Broken(failure)) => failure,
        };
        if self.trials.is_empty() {
            return Err(trouble);
        }
        (self.say)(&format!("          {}", trouble.message));
        self.stopped = Some(Stopped::Lost(trouble.message));
        Ok(None)
    }
}

/// Exit codes of runs that tell something.
const TELLING: [Exit; 5] = [Exit::Good, Exit::Threshold, Exit::Invalid, Exit::NoTurns, Exit::Interrupted];

fn word(v: Verdict) -> &'static str {
    match v {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Undecided => "undecided",
    }
}

pub(super) fn trial_budget(t: &Tally) -> TrialBudget {
    let share = match t {
        Tally::Share(s) => Some(s),
        Tally::Plain { .. } => None,
    };
    TrialBudget {
        verdict: word(t.verdict()).to_owned(),
        over: share.map(|s| s.over),
        of: share.map(|s| s.of),
        design_effect: share.map(|s| s.effect),
    }
}

/// What came of a run, in a line.
fn said(t: &TrialResult, seen: &Seen) -> String {
    let numbers = format!(
        "TTFA p50 {} p95 {}, {} turns, {} failed, {:.1} turns/s",
        span(t.ttfa_p50_us),
        span(t.ttfa_p95_us),
        count(t.turns),
        count(t.failed),
        t.turn_rate
    );
    let verdict = t.verdict.to_uppercase();
    match seen {
        Seen::Judged(_) => format!("          {verdict}: {numbers}"),
        Seen::Invalid => format!("          {verdict}, the harness was the bottleneck: {}", t.reason),
        Seen::Aborted => format!("          {verdict} to protect the server: {}; {numbers}", t.reason),
    }
}

fn minutes(t: Micros) -> String {
    match t.as_secs_f64() {
        s if s < 90.0 => format!("{:.0} s", (s / 10.0).ceil() * 10.0),
        s => format!("{:.0} min", (s / 60.0).ceil()),
    }
}

pub(super) fn why_invalid(r: &RunResult) -> String {
    let bad = r.validity.checks.iter().filter(|c| !c.ok);
    bad.map(|c| format!("{} {} (limit {})", c.name, c.seen, c.limit)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Source};

    fn scenario(toml: &str) -> Scenario {
        scenario::load(&Source::inline("test", toml), &[]).unwrap()
    }

    const CLOSED: &str = "[fleet]\ndevices = 100\nramp = \"10s\"\nwarmup = \"12s\"\nduration = \"30s\"\n";

    #[test]
    fn devices_come_at_the_scenarios_pace_and_never_faster_than_they_talk() {
        let s = scenario(CLOSED);
        let (cycle, probe) = (Micros::from_secs(4), Micros::from_secs(20));
        let t = timing(&s, 200.0, cycle, probe);
        assert_eq!(
            (t.ramp, t.warmup, t.duration),
            (Micros::from_secs(20), Micros::from_secs(24), Micros::from_secs(44))
        );
        assert_eq!(timing(&s, 5.0, cycle, probe).ramp, cycle);
        assert_eq!(timing(&s, 90_000.0, cycle, probe).ramp, RAMP[1]);
    }

    fn lab<'a>(s: &'a Scenario, say: &'a mut dyn FnMut(&str)) -> Lab<'a> {
        let plan = Plan {
            scenario: s,
            source: "a.toml".to_owned(),
            overrides: vec![
                ("audio.chunk".to_owned(), "20ms".to_owned(), false),
                ("report.dir".to_owned(), "there".to_owned(), false),
                ("thresholds".to_owned(), "ttfa:p(95)<1s".to_owned(), true),
            ],
            command: String::new(),
            dir: PathBuf::from("reports/x"),
            budgets: Vec::new(),
            probe: Micros::from_secs(20),
            time: None,
            abort_share: 0.1,
            cool_down: Micros::ZERO,
            server_pid: None,
            stop: Stop::default(),
        };
        Lab::new(plan, say)
    }

    #[test]
    fn a_probe_is_the_scenario_with_another_load() {
        let s = scenario(CLOSED);
        let mut say = |_: &str| {};
        let lab = lab(&s, &mut say);
        let timing = timing(&s, 40.0, Micros::from_secs(4), Micros::from_secs(20));
        let command = lab.command(&lab.keys(40.0, &timing), Path::new("reports/x/probes/01-40")).unwrap();
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let line = args.join(" ");
        for part in [
            "run a.toml",
            "--set audio.chunk=20ms",
            "--threshold ttfa:p(95)<1s",
            "--set fleet.devices=40",
            "--set fleet.ramp=4s",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("there") && line.contains("--report-dir reports/x/probes/01-40"), "{line}");
    }

    #[test]
    fn open_arrivals_have_room() {
        let s = scenario("[fleet]\ndevices = 50\narrivals = \"open\"\nrate = 2.0\n[turn]\ncount = 1\n");
        let mut say = |_: &str| {};
        let lab = lab(&s, &mut say);
        assert_eq!(lab.unit, LoadUnit::Sessions);
        let t = timing(&s, 8.0, Micros::from_secs(5), Micros::from_secs(20));
        let keys = lab.keys(8.0, &t);
        assert!(keys.contains(&("fleet.rate".to_owned(), "8.00".to_owned())), "{keys:?}");
        assert!(keys.contains(&("fleet.devices".to_owned(), "200".to_owned())), "{keys:?}");
    }

    #[test]
    fn time_left_in_words() {
        assert_eq!(
            [4, 61, 89, 100, 300].map(|s| minutes(Micros::from_secs(s))),
            ["10 s", "70 s", "90 s", "2 min", "5 min"]
        );
    }
}
