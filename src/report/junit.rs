//! `junit.xml`: for the test view of a CI server. One case for validity, one a threshold, one for the verdict.
//!
//! A failure is a judgement, an error is that there is none: the thresholds of an INVALID run are skipped.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::result::{Status, ThresholdVerdict};
use super::view::View;

/// The document.
pub(super) fn render(view: &View<'_>) -> Result<String, String> {
    let result = view.result;
    let mut cases = vec![validity(view)];
    for t in &result.thresholds {
        let note = view.threshold_note(t);
        let said = format!("{}: {} {note}", t.expression, t.actual_text).trim_end().to_owned();
        let status = match (result.validity.valid, view.threshold_mark(t).0) {
            (false, _) => skipped("the run is INVALID, so nothing was judged"),
            _ if t.passed => TestCaseStatus::success(),
            (true, ThresholdVerdict::Undecided) => {
                not(NonSuccessKind::Failure, "undecided", said.clone(), None)
            }
            (true, _) => not(NonSuccessKind::Failure, "threshold", said.clone(), None),
        };
        let mut case = case(&result.name, format!("threshold {}", t.expression), status);
        case.set_system_out(said);
        cases.push(case);
    }
    cases.push(case(&result.name, "verdict".to_owned(), verdict(view)));
    let took = Duration::from_micros(result.duration_us.max(0) as u64);
    whole(&format!("voxload {}", result.name), Some(took), cases)
}

/// A report of one suite.
pub(crate) fn whole(
    name: &str,
    took: Option<Duration>,
    cases: impl IntoIterator<Item = TestCase>,
) -> Result<String, String> {
    let mut suite = TestSuite::new(name);
    if let Some(took) = took {
        suite.set_time(took);
    }
    suite.add_test_cases(cases);
    let mut report = Report::new("voxload");
    report.add_test_suite(suite);
    report.to_string().map_err(|e| e.to_string())
}

/// A case, of the scenario of that name.
pub(crate) fn case(scenario: &str, name: String, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("voxload.{scenario}"));
    case
}

/// Something that did not hold, or could not be judged.
pub(crate) fn not(kind: NonSuccessKind, what: &str, message: String, more: Option<String>) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_message(message);
    if let Some(more) = more {
        status.set_description(more);
    }
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}

/// The first case. An invalid run is an error, not a failure: the server was not judged.
fn validity(view: &View<'_>) -> TestCase {
    let (loosened, tightened) = view.changed_limits();
    let said = format!("{}: {}", view.validity_word(), view.validity());
    let out: Vec<String> = std::iter::once(said.clone()).chain(loosened).chain(tightened).collect();
    let status = if view.result.validity.valid { TestCaseStatus::success() } else { invalid(view, said) };
    let mut case = case(&view.result.name, "validity".to_owned(), status);
    case.set_system_out(out.join("\n"));
    case
}

fn invalid(view: &View<'_>, said: String) -> TestCaseStatus {
    let lines: Vec<String> = view
        .result
        .validity
        .checks
        .iter()
        .filter(|c| !c.ok)
        .map(|c| format!("{}: {}, limit {}; {}; try: {}", c.name, c.seen, c.limit, c.cause, c.try_this))
        .collect();
    not(NonSuccessKind::Error, "invalid", said, Some(lines.join("\n")))
}

fn verdict(view: &View<'_>) -> TestCaseStatus {
    let kind = match view.result.verdict.status {
        Status::Pass => return TestCaseStatus::success(),
        Status::Fail => NonSuccessKind::Failure,
        Status::Invalid | Status::Interrupted => NonSuccessKind::Error,
    };
    let message = format!("{}: {}", view.word(), view.headline());
    not(kind, "verdict", message, Some(view.result.verdict.reasons.join("\n")))
}
