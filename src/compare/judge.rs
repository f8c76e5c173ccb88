//! The judgement: from the runs of two sides to the document. No clock, no file.
//!
//! ```text
//! runs ─▶ usable? ─▶ one number a run and metric ─▶ gate::compare::shift ─▶ answer by margin
//!   └──▶ fingerprints ─▶ refused, or what differs                              └─▶ words: sentence, advice
//! ```

use std::collections::BTreeSet;

use super::bootstrap;
use super::collect::{Found, Run, shared};
use super::document::{
    Amount, Answer, Compared, Difference, Document, Estimate, Kind, RunInfo, SCHEMA_VERSION, Side,
    StageChange, Verdict, WithinRun,
};
use super::fingerprint::{self, Fingerprint};
use super::measure::{ADVISORY, Margin, Measure, Missing, PRIMARY, Unit};
use super::words;
use crate::exit::Exit;
use crate::gate::compare::{Shift, runs_to_decide, shift};
use crate::report::RunResult;
use crate::report::result::{Status, TurnRow};
use crate::report::text::{counted, harmless};

/// Runs a side that are needed to decide anything.
pub const RUNS: usize = 5;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is compared; the first decides.
    pub measures: Vec<Measure>,
    /// Margins by the measure's text; what is not in here has the default.
    pub margins: Vec<(String, Margin)>,
    /// Compare different loads and machines too.
    pub allow_different: bool,
}

impl Question {
    /// From the command line: the metrics asked for (the first decides), and `[METRIC=]MARGIN`s; a margin without a
    /// metric is that of the one that decides, and of all others in its unit.
    pub fn new(metrics: &[String], margins: &[String], allow_different: bool) -> Result<Self, String> {
        let mut measures: Vec<Measure> = Vec::new();
        let standard = std::iter::once(PRIMARY).chain(ADVISORY);
        for text in metrics.iter().map(String::as_str).chain(standard) {
            let measure = Measure::parse(text).map_err(|e| format!("--metric {text}: {e}"))?;
            if !measures.iter().any(|m| m.text() == measure.text()) {
                measures.push(measure);
            }
        }
        let mut named = Vec::new();
        for (text, (name, amount)) in margins.iter().filter_map(|m| Some((m, m.split_once('=')?))) {
            let at = |e: String| format!("--margin {text}: {e}");
            let measure = Measure::parse(name.trim()).map_err(at)?;
            named
                .push((measure.text().to_owned(), Margin::parse(amount.trim(), measure.unit()).map_err(at)?));
            if !measures.iter().any(|m| m.text() == measure.text()) {
                measures.push(measure);
            }
        }
        let mut by_metric = Vec::new();
        for text in margins.iter().filter(|m| !m.contains('=')) {
            let unit = measures.first().map_or(Unit::Time, Measure::unit);
            let margin = Margin::parse(text, unit).map_err(|e| format!("--margin {text}: {e}"))?;
            let alike = measures.iter().filter(|m| m.unit() == unit);
            by_metric.extend(alike.map(|m| (m.text().to_owned(), margin)));
        }
        // The last one counts: one that names its metric outranks one for all.
        by_metric.extend(named);
        Ok(Self { measures, margins: by_metric, allow_different })
    }

    fn margin(&self, measure: &Measure) -> Margin {
        let own = self.margins.iter().rev().find(|(name, _)| name == measure.text());
        own.map_or_else(|| Margin::default_of(measure.unit()), |(_, margin)| *margin)
    }
}

/// What the judge is not to find out: the time, and how it was asked.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Now, RFC 3339.
    pub made_at: String,
    /// The command line.
    pub command: String,
}

/// Compares. `Err`: refused, and why.
pub fn judge(base: &Found, new: &Found, question: &Question, frame: Frame) -> Result<Document, String> {
    if let Some(file) = shared(base, new) {
        return Err(format!(
            "{} is on both sides: a run that is compared with itself says nothing",
            file.display()
        ));
    }
    let primary = question.measures.first().ok_or("nothing to compare")?;
    let (base_runs, new_runs) = (usable(base, primary), usable(new, primary));
    let differences = differences(base, new, question.allow_different)?;
    let sides = Sides { base: good(&base_runs), new: good(&new_runs) };
    let mut metrics: Vec<Compared> = Vec::new();
    for (i, measure) in question.measures.iter().enumerate() {
        metrics.extend(sides.compare(measure, question.margin(measure), i == 0));
    }
    let stages = stages(&sides);
    words::advise(&mut metrics, &stages, &sides);
    let few = sides.base.len().min(sides.new.len()) < RUNS;
    let invalid = few && base_runs.len().min(new_runs.len()) >= RUNS && any_invalid(&base_runs, &new_runs);
    let first = metrics.first().ok_or("nothing to compare")?;
    let verdict = verdict(first, &metrics, invalid);
    let document = Document {
        schema_version: SCHEMA_VERSION,
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: frame.made_at,
        verdict,
        notes: words::notes(&base_runs, &new_runs, &differences),
        base: side(base, &base_runs, primary),
        new: side(new, &new_runs, primary),
        differences,
        metrics,
        stages,
        within_run: None,
        command: frame.command,
    };
    Ok(document)
}

/// Adds how far two single runs themselves differ: for one usable run a side, and a quantile of TTFA.
pub fn within_run(document: &mut Document, base: Vec<TurnRow>, new: Vec<TurnRow>) -> Option<WithinRun> {
    let q = match document.metrics.first()?.metric.as_str() {
        "ttfa:p(50)" => 0.5,
        "ttfa:p(90)" => 0.9,
        "ttfa:p(95)" => 0.95,
        "ttfa:p(99)" => 0.99,
        _ => return None,
    };
    document.within_run = bootstrap::within_run(&bootstrap::ttfa(base), &bootstrap::ttfa(new), q);
    document.within_run
}

/// A run, and why it does not count.
pub(super) type Judged<'a> = (&'a Run, Result<(), String>);

fn usable<'a>(found: &'a Found, primary: &Measure) -> Vec<Judged<'a>> {
    found.runs.iter().map(|run| (run, counts(&run.result, primary))).collect()
}

/// Whether a run counts; why not.
pub fn counts(run: &RunResult, primary: &Measure) -> Result<(), String> {
    if !run.validity.valid {
        let bad = run.validity.checks.iter().find(|c| !c.ok);
        let why =
            bad.map_or_else(String::new, |c| format!(": {} was {} (limit {})", c.name, c.seen, c.limit));
        return Err(format!("{INVALID}{why}"));
    }
    if run.verdict.status == Status::Interrupted {
        return Err("interrupted: it covers a part of its plan".to_owned());
    }
    match primary.of(run) {
        Ok(_) => Ok(()),
        Err(Missing::TooFew(why)) => Err(format!("too few turns: {why}")),
        Err(Missing::Nothing(why)) => Err(format!("{} cannot be read from it: {why}", primary.spoken())),
    }
}

/// How the reason of an INVALID run begins.
pub(super) const INVALID: &str = "INVALID";

fn any_invalid(base: &[Judged<'_>], new: &[Judged<'_>]) -> bool {
    let invalid = |(_, why): &Judged<'_>| why.as_ref().is_err_and(|w| w.starts_with(INVALID));
    base.iter().chain(new).any(invalid)
}

fn good<'a>(runs: &[Judged<'a>]) -> Vec<&'a RunResult> {
    runs.iter().filter(|(_, why)| why.is_ok()).map(|(run, _)| &run.result).collect()
}

fn differences(base: &Found, new: &Found, allowed: bool) -> Result<Vec<Difference>, String> {
    let prints =
        |found: &Found| found.runs.iter().map(|r| fingerprint::of(&r.result)).collect::<Vec<Fingerprint>>();
    let (b, n) = (prints(base), prints(new));
    for (found, prints) in [(base, &b), (new, &n)] {
        let mixed = fingerprint::mixed(prints);
        if !mixed.is_empty() && !allowed {
            return Err(format!(
                "the runs in {} are not of the same thing: {}\n  \
                 name the folders of one thing, or compare all the same with --allow-different",
                found.path.display(),
                listed(&mixed)
            ));
        }
    }
    let all = fingerprint::differences(&b, &n);
    let grave: Vec<String> = all
        .iter()
        .filter(|d| d.kind == Kind::Workload)
        .map(|d| format!("{}: {} → {}", d.what, d.base, d.new))
        .collect();
    if grave.is_empty() || allowed {
        return Ok(all);
    }
    Err(format!(
        "{} and {} are different loads, or of different machines: {}\n  \
         what differs would be taken for a change of the server; compare all the same with --allow-different",
        base.path.display(),
        new.path.display(),
        listed(&grave)
    ))
}

fn listed(lines: &[String]) -> String {
    lines.iter().map(|l| format!("\n    {}", harmless(l))).collect()
}

/// The runs that count.
pub(super) struct Sides<'a> {
    pub(super) base: Vec<&'a RunResult>,
    pub(super) new: Vec<&'a RunResult>,
}

impl Sides<'_> {
    /// A metric; nothing when neither side has it, unless it decides.
    fn compare(&self, measure: &Measure, margin: Margin, decides: bool) -> Option<Compared> {
        let read = |side: &[&RunResult]| side.iter().map(|r| measure.of(r)).collect::<Vec<_>>();
        let (base, new) = (read(&self.base), read(&self.new));
        let missing: Vec<&Missing> = base.iter().chain(&new).filter_map(|v| v.as_ref().err()).collect();
        let nowhere = missing.len() == base.len() + new.len();
        if nowhere && !decides && missing.iter().all(|m| matches!(m, Missing::Nothing(_))) {
            return None;
        }
        let why_missing = missing.first().map(|m| m.text().to_owned());
        let numbers =
            |side: Vec<Result<f64, Missing>>| side.into_iter().filter_map(Result::ok).collect::<Vec<f64>>();
        let (base, new) = (numbers(base), numbers(new));
        let few = base.len().min(new.len()) < RUNS;
        let (base_median, new_median) = (median(&base), median(&new));
        let margin = margin.of(base_median.unwrap_or(f64::INFINITY));
        let shift = shift(&base, &new);
        let answer = match shift {
            Some(s) if !few => answer(s, margin, measure.more_is_better()),
            _ => Answer::Inconclusive,
        };
        let more = shift.filter(|_| !few && answer == Answer::Inconclusive);
        let unit = measure.unit();
        Some(Compared {
            metric: measure.text().to_owned(),
            title: measure.spoken(),
            unit: unit.name().to_owned(),
            decides,
            runs_to_decide: more.and_then(|s| {
                let towards_worse = if measure.more_is_better() { -s.shift } else { s.shift };
                runs_to_decide(towards_worse - margin, s.high - s.low, base.len().min(new.len()))
            }),
            advice: match why_missing {
                Some(why) if nowhere => format!("no run has enough for it: {why}"),
                Some(why) if few => format!(
                    "{} of the baseline and {} of the candidate have it: {why}",
                    counted(base.len() as u64, "run"),
                    counted(new.len() as u64, "run")
                ),
                _ if few && decides => words::too_few(base.len(), new.len()),
                _ if few => words::FEW.to_owned(),
                _ => String::new(),
            },
            base: base.into_iter().map(Amount).collect(),
            new: new.into_iter().map(Amount).collect(),
            base_median: base_median.map(Amount),
            new_median: new_median.map(Amount),
            shift: shift.map(|s| Estimate {
                shift: Amount(s.shift),
                low: Amount(s.low),
                high: Amount(s.high),
                confidence: s.confidence,
            }),
            margin,
            answer,
        })
    }
}

/// By the interval and the margin.
fn answer(s: Shift, margin: f64, more_is_better: bool) -> Answer {
    let (low, high) = if more_is_better { (-s.high, -s.low) } else { (s.low, s.high) };
    if low > margin {
        Answer::Worse
    } else if high > margin {
        Answer::Inconclusive
    } else if high < -margin {
        Answer::Better
    } else if low >= -margin {
        Answer::Same
    } else {
        Answer::NoWorse
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(if low == high { *low } else { (low + high) / 2.0 })
}

/// Means of the stages, where all runs of both sides have the same ones.
fn stages(sides: &Sides<'_>) -> Vec<StageChange> {
    let names = |r: &RunResult| r.stages.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let all: BTreeSet<Vec<String>> = sides.base.iter().chain(&sides.new).map(|r| names(r)).collect();
    let (1, Some(names)) = (all.len(), all.first()) else { return Vec::new() };
    if sides.base.is_empty() || sides.new.is_empty() {
        return Vec::new();
    }
    let mean = |side: &[&RunResult], i: usize| {
        side.iter().filter_map(|r| r.stages.get(i)).map(|s| s.mean_us).sum::<f64>() / side.len() as f64
    };
    let of = |(i, name): (usize, &String)| StageChange {
        name: name.clone(),
        base_us: mean(&sides.base, i),
        new_us: mean(&sides.new, i),
    };
    names.iter().enumerate().map(of).collect()
}

fn verdict(first: &Compared, all: &[Compared], invalid: bool) -> Verdict {
    let exit = match first.answer {
        _ if invalid => Exit::Invalid,
        Answer::Worse => Exit::Regression,
        Answer::Inconclusive => Exit::Inconclusive,
        Answer::Better | Answer::Same | Answer::NoWorse => Exit::Good,
    };
    Verdict {
        answer: first.answer,
        exit_code: exit.code(),
        sentence: words::sentence(first, invalid),
        also_worse: all
            .iter()
            .filter(|c| !c.decides && c.answer == Answer::Worse)
            .map(words::short)
            .collect(),
    }
}

fn side(found: &Found, runs: &[Judged<'_>], primary: &Measure) -> Side {
    let first = found.runs.first().map(|r| &r.result);
    let used = good(runs);
    Side {
        path: found.path.display().to_string(),
        name: first.map(|r| r.name.clone()).unwrap_or_default(),
        target: first.map_or_else(String::new, |r| {
            if r.target.embedded { "the embedded reference server".to_owned() } else { r.target.url.clone() }
        }),
        runs: runs
            .iter()
            .map(|(run, why)| {
                let r = &run.result;
                RunInfo {
                    file: run.file.display().to_string(),
                    seed: r.seed,
                    started_at: r.started_at.clone(),
                    turns: r.turns.started,
                    failed: r.turns.failed + r.turns.timed_out,
                    value: primary.of(r).ok().map(Amount),
                    unused: why.clone().err().unwrap_or_default(),
                }
            })
            .collect(),
        used: used.len(),
        turns: used.iter().map(|r| r.turns.started).sum(),
    }
}
