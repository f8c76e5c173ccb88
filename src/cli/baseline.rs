//! `voxload baseline record`, and the runs of `voxload run --baseline`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::compare::{Output, QuestionArgs, collect, judged, publish};
use super::run::{Copy, copy_out};
use super::scenario_args::{ScenarioArgs, key_and_value};
use super::{REPORTS, calibrate};
use crate::ci;
use crate::compare::record::{self, AGAINST, Against, BASE, MANIFEST, Manifest, Slot, Target};
use crate::compare::{Made, RUNS, Series, counts, fingerprint, measure};
use crate::exit::{Exit, Failure};
use crate::report;
use crate::scenario::Scenario;
use crate::subprocess::Stop;

/// The target of runs without a URL.
const EMBEDDED: &str = "the embedded reference server";

/// Runs to compare later ones with.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Record(Record),
}

/// Record runs of a scenario, to compare later ones with.
///
/// Makes several runs of the same scenario with different seeds, one after the other. With --against, runs of two targets take
/// turns (A B B A A B …), so that whatever drifts drifts for both, and the two are compared at the end. A run that comes out INVALID
/// is made again. Ctrl-C keeps the runs that have been made; the same command goes on from there.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  voxload baseline record ci-gate --url ws://localhost:8080/talk --out baselines/main
  voxload run ci-gate --url ws://localhost:8080/talk --baseline baselines/main     # later
  voxload baseline record ci-gate --url ws://old/ --against ws://new/              # both, and the answer
  voxload baseline record ci-gate --against-set 'reference.llm=90ms'

Exit codes:
    0  recorded; with two targets: the other is better, the same, or no worse
    2  usage or file error
  120  recorded, but with fewer VALID runs than asked for
  122, 123  with two targets: worse, inconclusive
  124  target unreachable
  130  interrupted; the same command goes on from there")]
struct Record {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// Runs a side
    #[arg(long, value_name = "N", default_value_t = RUNS as u32, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    /// Take turns with this target: a URL, or `self` for the same once more, to see what the machine alone does
    #[arg(long, value_name = "URL")]
    against: Option<String>,

    /// Take turns with the scenario changed like this; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    against_set: Vec<(String, String)>,

    /// The folder of the runs [default: reports/baselines/<scenario>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    question: QuestionArgs,

    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Verb::Record(args) = &args.verb;
    args.record()
}

impl Record {
    fn record(&self) -> Result<Exit, Failure> {
        let mut question = self.question.question()?;
        if self.scenario.sets("report.dir") {
            return Err(Failure::usage(
                "each run has a folder of its own: give the folder of all of them with --out",
            ));
        }
        if let Some((key, _)) =
            self.against_set.iter().find(|(k, _)| matches!(k.as_str(), "seed" | "report.dir"))
        {
            return Err(Failure::usage(format!(
                "--against-set {key}: both sides have the same seeds, and folders of their own"
            )));
        }
        let scenario = self.scenario.load()?;
        let other = self.other()?;
        if other.is_none() {
            self.question.unused("--against URL")?;
        }
        let dir = self.out.clone().unwrap_or_else(|| default_dir(&scenario));
        self.claim(&dir, &scenario, other.as_ref())?;
        let seeds = record::seeds(scenario.seed, self.runs);
        let slots = record::plan(&dir, &seeds, other.is_some());
        let arguments = |target| match target {
            Target::Base => self.scenario.child_arguments(),
            Target::Against => self.against_args().child_arguments(),
        };
        let say = speaker(self.quiet);
        say(&format!(
            "voxload {} · recording {} of {} into {}",
            env!("CARGO_PKG_VERSION"),
            if other.is_some() { format!("2 × {} runs", self.runs) } else { format!("{} runs", self.runs) },
            scenario.name,
            dir.display()
        ));
        let made = make(&slots, &arguments, &scenario, self.quiet)?;
        if made.interrupted {
            say(&format!(
                "interrupted: {} of {} runs are there; the same command goes on from there",
                made.valid,
                slots.len()
            ));
            return Ok(Exit::Interrupted);
        }
        if made.thresholds_failed > 0 {
            say(&format!(
                "in {} of the runs a threshold failed; they count all the same",
                made.thresholds_failed
            ));
        }
        if other.is_some() {
            // What was changed on purpose is no reason to refuse.
            question.allow_different |= !self.against_set.is_empty();
            let (base, new) = (collect(&dir.join(BASE))?, collect(&dir.join(AGAINST))?);
            let d = judged(&base, &new, &question, format!("voxload compare {}", dir.display()))?;
            return publish(&d, &base, &new, &dir, Output { json: false, quiet: self.quiet });
        }
        say(&format!(
            "{} VALID runs in {}; compare with them: voxload run {} --baseline {}",
            made.valid,
            dir.display(),
            self.scenario.scenario.as_deref().unwrap_or("SCENARIO"),
            dir.display()
        ));
        Ok(if made.invalid > 0 { Exit::Invalid } else { Exit::Good })
    }

    fn two(&self) -> bool {
        self.against.is_some() || !self.against_set.is_empty()
    }

    fn against_args(&self) -> ScenarioArgs {
        let url = self.against.as_deref().filter(|url| *url != "self");
        self.scenario.changed(url, &self.against_set)
    }

    /// The other side, read and checked before anything is run.
    fn other(&self) -> Result<Option<Scenario>, Failure> {
        self.two().then(|| self.against_args().load()).transpose()
    }

    /// Says what the folder is of, or finds that it is already.
    fn claim(&self, dir: &Path, scenario: &Scenario, other: Option<&Scenario>) -> Result<(), Failure> {
        let mut manifest =
            Manifest::new(&scenario.name, scenario.seed, &scenario.effective, &target(scenario));
        manifest.against =
            other.map(|o| Against { target: target(o), scenario: fingerprint::of_scenario(&o.effective) });
        let file = dir.join(MANIFEST);
        let Ok(text) = fs::read_to_string(&file) else {
            if dir.join(BASE).exists() || dir.join(AGAINST).exists() || dir.join("result.json").exists() {
                return Err(Failure::usage(format!(
                    "{} holds other runs, and no {MANIFEST} that says of what; choose another folder with --out",
                    dir.display()
                )));
            }
            let cannot = |e: std::io::Error| {
                Failure::usage(format!(
                    "cannot write {}: {e}; choose another folder with --out",
                    file.display()
                ))
            };
            fs::create_dir_all(dir).map_err(cannot)?;
            let text = serde_json::to_string_pretty(&manifest).map_err(|e| Failure::usage(e.to_string()))?;
            return fs::write(&file, text + "\n").map_err(cannot);
        };
        let there: Manifest = serde_json::from_str(&text).map_err(|e| {
            Failure::usage(format!("{}: not the {MANIFEST} of a baseline: {e}", file.display()))
        })?;
        let differs = manifest.differs_from(&there);
        if differs.is_empty() {
            return Ok(());
        }
        let lines: String = differs.iter().map(|d| format!("\n    {d}")).collect();
        Err(Failure::usage(format!(
            "{} holds a baseline of something else:{lines}\n  choose another folder with --out, or remove that one",
            dir.display()
        )))
    }
}

fn default_dir(scenario: &Scenario) -> PathBuf {
    Path::new(REPORTS).join("baselines").join(report::folder_name(&scenario.name))
}

fn target(scenario: &Scenario) -> String {
    if scenario.target.url.is_some() { scenario.target.shown.clone() } else { EMBEDDED.to_owned() }
}

fn speaker(quiet: bool) -> impl Fn(&str) {
    move |text| {
        if !quiet {
            super::say(text);
        }
    }
}

/// Makes the runs that are missing, and says how it goes.
fn make(
    slots: &[Slot],
    args: &dyn Fn(Target) -> Vec<String>,
    scenario: &Scenario,
    quiet: bool,
) -> Result<Made, Failure> {
    let stop = Stop::default();
    calibrate::stop_on_a_signal(&stop)?;
    let say = speaker(quiet);
    Series { slots, args, planned: scenario.fleet.duration, stop: &stop }.make(&mut |text| say(text))
}

/// `voxload run --baseline DIR`.
pub(super) struct Compared<'a> {
    pub(super) scenario: &'a ScenarioArgs,
    pub(super) baseline: &'a Path,
    /// The folder of an earlier attempt, to go on with.
    pub(super) resume: Option<&'a Path>,
    pub(super) runs: u32,
    pub(super) question: &'a QuestionArgs,
    /// Arguments of each run about the calibration.
    pub(super) quoting: Vec<String>,
    /// Copies of the comparison's files.
    pub(super) copies: Vec<Copy>,
    pub(super) out: Output,
}

impl Compared<'_> {
    /// Makes the runs and compares them with the baseline.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let question = self.question.question()?;
        let scenario = self.scenario.load()?;
        let base = collect(self.baseline)?;
        let say = speaker(self.out.quiet);
        // Refused now, and not after minutes.
        let keys: Vec<_> = base.runs.iter().map(|r| fingerprint::of_scenario(&r.result.scenario)).collect();
        let mine = [fingerprint::of_scenario(&scenario.effective)];
        let grave: Vec<String> = fingerprint::differences(&keys, &mine)
            .into_iter()
            .filter(|d| d.kind == crate::compare::document::Kind::Workload && !question.allow_different)
            .map(|d| format!("\n    {}: {} there, {} now", d.what, d.base, d.new))
            .collect();
        if !grave.is_empty() {
            return Err(Failure::usage(format!(
                "{} is of another load:{}\n  run the same scenario, or compare all the same with --allow-different",
                self.baseline.display(),
                grave.concat()
            )));
        }
        let primary = question.measures.first().cloned();
        let primary = primary.or_else(|| measure::Measure::parse(measure::PRIMARY).ok());
        let usable: Vec<u64> = base
            .runs
            .iter()
            .filter(|r| primary.as_ref().is_some_and(|m| counts(&r.result, m).is_ok()))
            .map(|r| r.result.seed)
            .collect();
        if usable.len() < RUNS || (self.runs as usize) < RUNS {
            say(&format!(
                "warning: {} of the baseline that count, and {} to be made: with fewer than {RUNS} a side, nothing can be decided",
                report::text::counted(usable.len() as u64, "run"),
                report::text::counted(self.runs.into(), "run"),
            ));
        }
        // The same draws as the baseline's, as far as it has runs.
        let mut seeds: Vec<u64> = usable;
        seeds.dedup();
        seeds.truncate(self.runs as usize);
        let more = record::seeds(
            seeds.iter().max().map_or(scenario.seed, |s| s + 1),
            self.runs - seeds.len() as u32,
        );
        seeds.extend(more);
        let root = Path::new(REPORTS);
        let dir = match self.resume {
            Some(dir) => dir.to_owned(),
            None => {
                let wanted = scenario.report.dir.as_deref();
                report::create_dir(wanted, root, &scenario.name, SystemTime::now()).map_err(Failure::usage)?
            }
        };
        let slots = record::one_side(&dir, &seeds);
        self.check(&dir, &slots, &scenario)?;
        say(&format!(
            "voxload {} · {} · {} against {}",
            env!("CARGO_PKG_VERSION"),
            scenario.name,
            report::text::counted(self.runs.into(), "run"),
            self.baseline.display()
        ));
        let arguments = |_| [self.scenario.child_arguments(), self.quoting.clone()].concat();
        let made = make(&slots, &arguments, &scenario, self.out.quiet)?;
        if made.interrupted {
            say(&format!(
                "interrupted: {} of {} runs are there; the same command goes on from there with --resume {}{}",
                made.valid,
                slots.len(),
                dir.display(),
                if scenario.report.dir.is_some() { " instead of --report-dir" } else { "" }
            ));
            return Ok(Exit::Interrupted);
        }
        // The runs have moved the link.
        let _ = report::create_dir(Some(&dir), root, &scenario.name, SystemTime::now());
        let new = collect(&dir)?;
        let command = format!("voxload compare {} {}", self.baseline.display(), dir.display());
        let d = judged(&base, &new, &question, command)?;
        let mut compared = publish(&d, &base, &new, &dir, self.out)?;
        let mut problems = copy_out(&dir, &self.copies);
        let series = ci::of_series(new.runs.iter().map(|r| &r.result));
        problems.extend(super::annotate(&series, self.out.json).err());
        for p in &problems {
            super::say(format_args!("error: {p}"));
        }
        if compared == Exit::Good && !problems.is_empty() {
            compared = Exit::Usage;
        }
        Ok(rank(compared, &made))
    }

    /// Runs that are there already are the user's: they are gone on with when he says so, and when they are of the same.
    fn check(&self, dir: &Path, slots: &[Slot], scenario: &Scenario) -> Result<(), Failure> {
        let there: Vec<&Slot> = slots.iter().filter(|s| s.dir.exists()).collect();
        if self.resume.is_none() {
            return match there.first() {
                None => Ok(()),
                Some(_) => Err(Failure::usage(format!(
                    "{0} holds the runs of an earlier comparison; go on with it: --resume {0}; or choose another folder with \
                     --report-dir, or remove it",
                    dir.display()
                ))),
            };
        }
        if there.is_empty() {
            return Err(Failure::usage(format!(
                "--resume {}: there is no run of a comparison in it; expected the folder of a `voxload run --baseline` that was \
                 interrupted",
                dir.display()
            )));
        }
        let now = Manifest::new(&scenario.name, 0, &scenario.effective, &target(scenario));
        for slot in there {
            // One that was cut off before its result is made again.
            let Ok((run, file)) = report::json::read(&slot.dir) else { continue };
            let of = if run.target.embedded { EMBEDDED } else { run.target.url.as_str() };
            let then = Manifest::new(&run.name, 0, &run.scenario, of);
            let differs = now.differs_from(&then);
            if !differs.is_empty() {
                let lines: String = differs.iter().map(|d| format!("\n    {d}")).collect();
                return Err(Failure::usage(format!(
                    "{} is a run of something else:{lines}\n  give the same command as then, or start anew without --resume",
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

/// The gravest: INVALID, then what every run by itself is judged by, then the comparison.
const fn rank(compared: Exit, made: &Made) -> Exit {
    match compared {
        Exit::Invalid | Exit::Usage => compared,
        _ if made.no_turns > 0 => Exit::NoTurns,
        _ if made.thresholds_failed > 0 => Exit::Threshold,
        _ => compared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_threshold_outranks_the_comparison_and_invalid_outranks_both() {
        let made = |thresholds_failed, no_turns| Made { thresholds_failed, no_turns, ..Made::default() };
        assert_eq!(rank(Exit::Regression, &made(0, 0)), Exit::Regression);
        assert_eq!(rank(Exit::Regression, &made(1, 0)), Exit::Threshold);
        assert_eq!(rank(Exit::Inconclusive, &made(1, 2)), Exit::NoTurns);
        assert_eq!(rank(Exit::Invalid, &made(1, 1)), Exit::Invalid);
        assert_eq!(rank(Exit::Good, &made(0, 0)), Exit::Good);
    }
}
