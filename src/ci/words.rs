//! What each verb's result is worth an annotation: what failed, what is undecided, and the answer.

use super::annotation::{Annotation, Level};
use crate::capacity::CapacityReport;
use crate::capacity::document::Ended;
use crate::compare::Document;
use crate::compare::document::Answer;
use crate::report::RunResult;
use crate::report::result::{Status, ThresholdResult};
use crate::report::text::counted;
use crate::sweep::Sweep;

/// A run: why it says nothing, or what did not hold.
pub fn of_run(r: &RunResult) -> Vec<Annotation> {
    let title = |what: &str| format!("voxload {}: {what}", r.name);
    let mut all = Vec::new();
    match r.verdict.status {
        // Thresholds of an INVALID run were not judged, whatever its numbers were.
        Status::Invalid => all.push(Annotation::new(Level::Error, title("INVALID"), why_invalid(r))),
        Status::Interrupted => {
            all.push(Annotation::new(Level::Warning, title("interrupted"), "it covers a part of its plan"));
        }
        Status::Pass | Status::Fail => {}
    }
    if r.verdict.status != Status::Invalid {
        let failed = r.thresholds.iter().filter(|t| !t.passed);
        all.extend(
            failed.map(|t| Annotation::new(Level::Error, title("a threshold did not hold"), threshold(t))),
        );
        if r.verdict.status == Status::Fail && r.thresholds.iter().all(|t| t.passed) {
            all.push(Annotation::new(Level::Error, title("failed"), r.verdict.reasons.join("\n")));
        }
    }
    if !r.validity.loosened.is_empty() {
        let what = r.validity.loosened.join("\n");
        all.push(Annotation::new(Level::Warning, title("limits of validity are loosened"), what));
    }
    all
}

fn threshold(t: &ThresholdResult) -> String {
    let note = if t.note.is_empty() { String::new() } else { format!(" ({})", t.note) };
    format!("{}: {}{note}", t.expression, t.actual_text)
}

fn why_invalid(r: &RunResult) -> String {
    let bad = r.validity.checks.iter().filter(|c| !c.ok);
    let lines = bad.map(|c| format!("{}: {}, limit {}; try: {}", c.name, c.seen, c.limit, c.try_this));
    std::iter::once(
        "the load generator was the bottleneck, so nothing was measured about the server".to_owned(),
    )
    .chain(lines)
    .collect::<Vec<_>>()
    .join("\n")
}

/// Thresholds that failed in runs which were made to be compared: each once, and in how many of them.
pub fn of_series<'a>(runs: impl IntoIterator<Item = &'a RunResult>) -> Vec<Annotation> {
    let mut failed: Vec<(String, u64, String)> = Vec::new();
    let (mut of, mut name) = (0, String::new());
    for run in runs.into_iter().filter(|r| r.validity.valid) {
        of += 1;
        name.clone_from(&run.name);
        for t in run.thresholds.iter().filter(|t| !t.passed) {
            match failed.iter_mut().find(|(expression, _, _)| *expression == t.expression) {
                Some((_, times, _)) => *times += 1,
                None => failed.push((t.expression.clone(), 1, t.actual_text.clone())),
            }
        }
    }
    let of_one = |(expression, times, actual): (String, u64, String)| {
        let title = format!("voxload {name}: a threshold did not hold");
        let message = format!("{expression}: in {times} of {}, first {actual}", counted(of, "run"));
        Annotation::new(Level::Error, title, message)
    };
    failed.into_iter().map(of_one).collect()
}

/// A comparison: its sentence, and what else has become worse.
pub fn of_comparison(d: &Document) -> Vec<Annotation> {
    let name = &d.new.name;
    let (level, what) = match (d.verdict.exit_code, d.verdict.answer) {
        (120, _) => (Level::Error, "INVALID runs, nothing is decided"),
        (_, Answer::Worse) => (Level::Error, "a regression"),
        (_, Answer::Inconclusive) => (Level::Warning, "undecided"),
        (_, Answer::Better) => (Level::Notice, "better"),
        (_, Answer::Same | Answer::NoWorse) => (Level::Notice, "no regression"),
    };
    let mut all =
        vec![Annotation::new(level, format!("voxload {name}: {what}"), d.verdict.sentence.as_str())];
    let worse = d.verdict.also_worse.iter();
    all.extend(worse.map(|w| {
        Annotation::new(
            Level::Warning,
            format!("voxload {name}: also worse, which decides nothing"),
            w.as_str(),
        )
    }));
    all
}

/// A sweep: what to choose, and the cells that nothing is known of.
pub fn of_sweep(s: &Sweep) -> Vec<Annotation> {
    let title = |what: &str| format!("voxload {}: {what}", s.name);
    let level = if s.recommendation.is_some() { Level::Notice } else { Level::Warning };
    let mut all = vec![Annotation::new(level, title("what to choose"), s.answer.as_str())];
    let unknown: Vec<_> = s.cells.iter().filter(|c| c.measured.is_none()).map(|c| c.label.as_str()).collect();
    if s.complete && !unknown.is_empty() {
        let message = format!("the load generator was the bottleneck in every run of {}", unknown.join("; "));
        all.push(Annotation::new(Level::Error, title("INVALID"), message));
    }
    if !s.complete {
        let message = format!("{} of {} runs are VALID", s.valid_runs, s.planned_runs);
        all.push(Annotation::new(Level::Warning, title("not complete"), message));
    }
    all
}

/// A capacity: its sentence, as grave as its end, and what to know before it is believed.
pub fn of_capacity(r: &CapacityReport) -> Vec<Annotation> {
    let (level, what) = match r.ended {
        Ended::Answered | Ended::Ceiling => (Level::Notice, "capacity"),
        Ended::Harness | Ended::Time | Ended::Interrupted => (Level::Warning, "capacity, from below"),
        Ended::NothingHolds => (Level::Error, "not even the smallest load holds"),
        Ended::Invalid => (Level::Error, "INVALID"),
        Ended::Lost => (Level::Error, "the server was lost"),
    };
    let title = format!("voxload {}: {what}", r.name);
    let mut all = vec![Annotation::new(level, title, r.sentence.as_str())];
    all.extend(
        r.remarks
            .iter()
            .map(|m| Annotation::new(Level::Warning, format!("voxload {}: mind", r.name), m.as_str())),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::document::Verdict;
    use crate::report::sample::{Kind, make};
    use crate::{capacity, compare, sweep};

    fn levels(all: &[Annotation]) -> Vec<Level> {
        all.iter().map(|a| a.level).collect()
    }

    #[test]
    fn a_run_says_what_did_not_hold() {
        assert_eq!(of_run(&make(Kind::Good, 1, 500).result), []);
        let failing = make(Kind::Failing, 1, 500).result;
        let failed = failing.thresholds.iter().filter(|t| !t.passed).count();
        let mut said = of_run(&failing);
        assert_eq!(said.pop().map(|a| a.level), Some(Level::Warning), "its limits are loosened");
        assert!(failed > 0 && levels(&said) == vec![Level::Error; failed], "{said:?}");
        let first = failing.thresholds.iter().find(|t| !t.passed).unwrap();
        assert!(
            said[0].message.starts_with(&first.expression) && said[0].message.contains(&first.actual_text)
        );
    }

    #[test]
    fn an_invalid_run_says_only_that() {
        let mut r = make(Kind::Invalid, 1, 500).result;
        r.thresholds.iter_mut().for_each(|t| t.passed = false);
        let said = of_run(&r);
        assert_eq!(levels(&said), [Level::Error]);
        assert!(said[0].title.ends_with("INVALID") && said[0].message.contains("try: "), "{said:?}");
        r.validity.loosened = vec!["cpu: 0.9 → 1".to_owned()];
        assert_eq!(levels(&of_run(&r)), [Level::Error, Level::Warning]);
    }

    #[test]
    fn a_series_says_each_threshold_once() {
        let (good, failing) = (make(Kind::Good, 1, 500).result, make(Kind::Failing, 1, 500).result);
        let said = of_series([&good, &failing, &failing]);
        let failed = failing.thresholds.iter().filter(|t| !t.passed).count();
        assert_eq!(said.len(), failed);
        assert!(said[0].message.contains("in 2 of 3 runs"), "{said:?}");
        assert_eq!(of_series([&good]), []);
    }

    #[test]
    fn a_comparison_is_as_grave_as_its_answer() {
        let of = |new: f64| of_comparison(&compare::sample::document(300.0, new));
        let worse = of(400.0);
        assert!(worse[0].level == Level::Error && worse[0].title.ends_with("a regression"), "{worse:?}");
        assert!(of(300.0)[0].level == Level::Notice, "{:?}", of(300.0));
        let undecided = Document {
            verdict: Verdict {
                answer: Answer::Inconclusive,
                exit_code: 123,
                sentence: "Not decided".to_owned(),
                also_worse: vec!["p99 TTFA by +40 ms".to_owned()],
            },
            ..compare::sample::document(300.0, 300.0)
        };
        assert_eq!(levels(&of_comparison(&undecided)), [Level::Warning, Level::Warning]);
    }

    #[test]
    fn answers_are_notices() {
        let s = sweep::sample::judged();
        let said = of_sweep(&s);
        assert!(levels(&said) == [Level::Notice] && said[0].message == s.answer);
        let partial = Sweep { complete: false, recommendation: None, ..s };
        assert_eq!(levels(&of_sweep(&partial)), [Level::Warning, Level::Warning]);
        let mut r = capacity::sample::found();
        r.remarks.clear();
        assert_eq!(
            of_capacity(&r),
            [Annotation::new(Level::Notice, "voxload sample: capacity", &*r.sentence)]
        );
        r.ended = Ended::Invalid;
        assert_eq!(levels(&of_capacity(&r)), [Level::Error]);
    }
}
