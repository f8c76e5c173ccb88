//! A comparison in words: the answer in a sentence, what to know before it is believed, what to look at.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Answer, Compared, Difference, Estimate, Kind, StageChange};
use super::judge::{Judged, RUNS, Sides};
use super::measure::Unit;
use crate::report::RunResult;
use crate::report::text::{counted, percent};

/// A stage of a turn has changed when it has by this much, µs.
const STAGE_MOVED: f64 = 3_000.0;

/// The unit of a compared number.
pub(super) fn unit(c: &Compared) -> Unit {
    [Unit::Time, Unit::Share, Unit::Ratio, Unit::Count]
        .into_iter()
        .find(|u| u.name() == c.unit)
        .unwrap_or(Unit::Count)
}

/// The answer in a sentence, with its confidence.
pub(super) fn sentence(c: &Compared, invalid: bool) -> String {
    let u = unit(c);
    if invalid {
        return format!(
            "Nothing is decided: INVALID runs do not count, and without them there are {} of the baseline and {} of the \
             candidate, where five a side are needed.",
            counted(c.base.len() as u64, "run"),
            counted(c.new.len() as u64, "run")
        );
    }
    let Some(s) = c.shift else { return format!("Nothing is decided: {}.", c.advice) };
    let (slower, faster) = if u == Unit::Time { ("slower", "faster") } else { ("worse", "better") };
    let margin = u.change(c.margin).replace('+', "");
    match c.answer {
        Answer::Worse => format!("NEW is {slower}: {}, more than the margin of {margin}.", change(c)),
        Answer::Better => format!("NEW is {faster}: {}, more than the margin of {margin}.", change(c)),
        Answer::Same => format!("NEW is as good as BASE: {}, within the margin of ±{margin}.", change(c)),
        Answer::NoWorse => format!(
            "NEW is not {slower} by more than the margin of {margin}: {}; whether it is {faster}, these runs do not say.",
            change(c)
        ),
        Answer::Inconclusive if c.base.len().min(c.new.len()) < RUNS => format!("Nothing is decided: {}.", c.advice),
        Answer::Inconclusive => format!(
            "Not decided: the shift of {} is between {} and {} with {} confidence, and the margin of {margin} lies in between; {}.",
            c.title,
            u.change(s.low.0),
            u.change(s.high.0),
            percent(s.confidence),
            match c.runs_to_decide {
                Some(n) => format!("about {n} runs a side would decide, if they spread as these do"),
                None if s.high.0.is_infinite() || s.low.0.is_infinite() => {
                    "in one of the runs so many turns failed that its number is infinite: look at that run, or make more".to_owned()
                }
                None => "more runs would hardly decide it: calm the machine, make longer runs, or set another --margin"
                    .to_owned(),
            }
        ),
    }
}

/// `p95 TTFA went from 338 ms to 371 ms, a shift of +32.5 ms (96.8 % confidence: +30.5 to +35.1 ms)`.
pub(super) fn change(c: &Compared) -> String {
    let u = unit(c);
    let level = |x: Option<super::document::Amount>| x.map_or_else(|| "–".to_owned(), |x| u.level(x.0));
    let from_to = format!("{} went from {} to {}", c.title, level(c.base_median), level(c.new_median));
    match c.shift {
        None => from_to,
        Some(s) => format!("{from_to}, a shift of {}", shift(u, s)),
    }
}

/// `p95 TTFA by +32.5 ms (+30.5 to +35.1 ms)`.
pub(super) fn short(c: &Compared) -> String {
    let u = unit(c);
    let by =
        c.shift.map_or_else(String::new, |s| format!(" by {} ({})", u.change(s.shift.0), interval(u, s)));
    format!("{}{by}", c.title)
}

fn shift(u: Unit, s: Estimate) -> String {
    format!("{} ({} confidence: {})", u.change(s.shift.0), percent(s.confidence), interval(u, s))
}

/// `+30.5 to +35.1 ms`.
pub(super) fn interval(u: Unit, s: Estimate) -> String {
    u.interval(s.low.0, s.high.0)
}

/// What is said of each number that does not decide, where there are too few runs.
pub(super) const FEW: &str = "too few runs";

/// Why so many runs decide nothing.
pub(super) fn too_few(base: usize, new: usize) -> String {
    format!(
        "{} of BASE and {new} of NEW are too few, because runs of the same thing differ by more than one of them shows: make \
         at least five a side (`voxload baseline record`, `voxload run --baseline`)",
        counted(base as u64, "usable run")
    )
}

/// What to know before the answer is believed.
pub(super) fn notes(base: &[Judged<'_>], new: &[Judged<'_>], differences: &[Difference]) -> Vec<String> {
    let mut notes = Vec::new();
    let different: Vec<_> =
        differences.iter().filter(|d| d.kind == Kind::Workload).map(|d| d.what.as_str()).collect();
    if !different.is_empty() {
        notes.push(format!(
            "The two sides are not of the same load or machine ({}): a shift may be owed to that instead of the server.",
            different.join(", ")
        ));
    }
    for (side, runs) in [("baseline", base), ("candidate", new)] {
        let unused: Vec<&String> = runs.iter().filter_map(|(_, why)| why.as_ref().err()).collect();
        if let Some(first) = unused.first() {
            notes.push(format!(
                "{} of the {side} {} not used ({first}{}).",
                counted(unused.len() as u64, "run"),
                if unused.len() == 1 { "was" } else { "were" },
                if unused.len() > 1 { "; …" } else { "" }
            ));
        }
        let used: Vec<&RunResult> =
            runs.iter().filter(|(_, why)| why.is_ok()).map(|(r, _)| &r.result).collect();
        let seeds: BTreeSet<u64> = used.iter().map(|r| r.seed).collect();
        if seeds.len() < used.len() {
            notes.push(format!(
                "Runs of the {side} share seeds: they repeat each other's draws, and spread less than they should."
            ));
        }
    }
    let loosened = |(run, why): &&Judged<'_>| why.is_ok() && !run.result.validity.loosened.is_empty();
    let count = base.iter().chain(new).filter(loosened).count();
    if count > 0 {
        notes.push(format!(
            "{} VALID by limits that are looser than voxload's own.",
            if count == 1 { "1 run was".to_owned() } else { format!("{count} runs were") }
        ));
    }
    notes.extend(apart(base, new));
    notes
}

/// Sides that were measured one after the other differ by whatever else has changed meanwhile.
fn apart(base: &[Judged<'_>], new: &[Judged<'_>]) -> Option<String> {
    let times = |side: &[Judged<'_>]| {
        let mut t: Vec<String> =
            side.iter().filter(|(_, why)| why.is_ok()).map(|(r, _)| r.result.started_at.clone()).collect();
        t.sort();
        t
    };
    let (base, new) = (times(base), times(new));
    let (b, n) = (base.first()?.clone()..=base.last()?.clone(), new.first()?.clone()..=new.last()?.clone());
    (b.end() < n.start() || n.end() < b.start()).then(|| {
        format!(
            "The sides were measured one after the other (from {} and from {}): what else has changed meanwhile, on the \
             machine or the network, looks like a change of the server. Runs that take turns (`voxload baseline record \
             --against`) do not have that doubt.",
            b.start(),
            n.start()
        )
    })
}

/// Says of each number what it means and what to look at, unless it has words already.
pub(super) fn advise(all: &mut [Compared], stages: &[StageChange], sides: &Sides<'_>) {
    let answers: BTreeMap<String, Answer> = all.iter().map(|c| (c.metric.clone(), c.answer)).collect();
    for c in all.iter_mut().filter(|c| c.advice.is_empty()) {
        c.advice = match c.answer {
            Answer::Worse => worse(c, &answers, stages, sides),
            Answer::Better => {
                "better by more than the margin; if nothing was meant to change, find out what did".to_owned()
            }
            Answer::Same => String::new(),
            Answer::NoWorse => "not worse; more runs would tell whether it is better".to_owned(),
            Answer::Inconclusive => match c.runs_to_decide {
                Some(n) => format!("the margin lies within the interval: about {n} runs a side would decide"),
                None if c.base.iter().chain(&c.new).any(|x| x.0.is_infinite()) => {
                    "in some runs, so many turns failed that their number is infinite; in others not"
                        .to_owned()
                }
                None => "the runs spread too much to tell".to_owned(),
            },
        };
    }
}

fn worse(
    c: &Compared,
    answers: &BTreeMap<String, Answer>,
    stages: &[StageChange],
    sides: &Sides<'_>,
) -> String {
    let is = |metric: &str, answer| answers.get(metric) == Some(&answer);
    match c.metric.split(':').next().unwrap_or_default() {
        "ttfa" if c.new_median.is_some_and(|m| m.0.is_infinite()) => {
            format!("so many turns fail that the number is one of them{}", failures(sides))
        }
        "ttfa" if !c.decides && c.metric.ends_with("p(50)") => "the typical turn has become slower, not only the slow ones".to_owned(),
        "ttfa" => {
            let tail = !c.metric.ends_with("p(50)") && is("ttfa:p(50)", Answer::Same);
            let shape = if tail {
                "only the slow turns have become slower, the median has not: look for queues, pauses, cold starts. "
            } else {
                ""
            };
            let before = if is("ttft:p(95)", Answer::Same) {
                "Tokens come as early as before: what is slower lies between the first token and the first sound. "
            } else {
                ""
            };
            // Said once.
            let (before, stage) = if c.decides { (before, moved(stages)) } else { ("", String::new()) };
            format!("{shape}{before}{stage}").trim().to_owned()
        }
        "ttft" if c.decides => format!("the first token comes later. {}", moved(stages)).trim().to_owned(),
        "ttft" => "the first token comes later".to_owned(),
        "ttfa_first_byte" => "the first audio arrives later: it is not the leading silence of replies".to_owned(),
        "turns" => format!("more turns fail{}", failures(sides)),
        "connections" => format!("more connections fail or are lost{}", failures(sides)),
        "endpoint_delay" => "the server takes longer to notice the end of speech".to_owned(),
        "barge_in_stop" => "an interrupted reply is heard for longer".to_owned(),
        "connect" => "connecting takes longer: accept queue, TLS handshakes, session set-up".to_owned(),
        name if name.starts_with("stall") || name == "rtf" || name == "required_prebuffer" => {
            "audio arrives more slowly than it is played, or less evenly: synthesis speed, pacing, the network".to_owned()
        }
        _ => String::new(),
    }
}

/// The stage that has grown most.
fn moved(stages: &[StageChange]) -> String {
    let grown = |s: &StageChange| s.new_us - s.base_us;
    let most = stages.iter().max_by(|a, b| grown(a).total_cmp(&grown(b)));
    most.filter(|s| grown(s) > STAGE_MOVED).map_or_else(String::new, |s| {
        format!(
            "Most of it is in the stage \"{}\": its mean went from {} to {}",
            s.name,
            Unit::Time.level(s.base_us),
            Unit::Time.level(s.new_us)
        )
    })
}

/// The failure class that has grown most, by turns a run.
fn failures(sides: &Sides<'_>) -> String {
    let count = |side: &[&RunResult]| {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        for f in side.iter().flat_map(|r| &r.failures) {
            *all.entry(f.class.clone()).or_default() += (f.turns + f.connections) as f64 / side.len() as f64;
        }
        all
    };
    let (base, new) = (count(&sides.base), count(&sides.new));
    let grown = |class: &str, n: f64| n - base.get(class).copied().unwrap_or(0.0);
    let most = new.iter().max_by(|a, b| grown(a.0, *a.1).total_cmp(&grown(b.0, *b.1)));
    most.filter(|(class, n)| grown(class, **n) > 0.0).map_or_else(String::new, |(class, n)| {
        format!(
            "; most often as `{class}`: {n:.1} a run, {:.1} before",
            base.get(class).copied().unwrap_or(0.0)
        )
    })
}
