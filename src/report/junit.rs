//! `junit.xml`: for the test view of a CI server. One case a threshold, one for validity, one for the verdict.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::result::{RunResult, Status};
use super::view::View;

/// The document.
pub(super) fn render(view: &View<'_>) -> Result<String, String> {
    let result = view.result;
    let mut suite = TestSuite::new(format!("voxload {}", result.name));
    suite.set_time(Duration::from_micros(result.duration_us.max(0) as u64));
    for t in &result.thresholds {
        let status = if t.passed {
            TestCaseStatus::success()
        } else {
            let text = format!("{}: {} {}", t.expression, t.actual_text, t.note);
            not(NonSuccessKind::Failure, "threshold", text.trim_end().to_owned(), None)
        };
        suite.add_test_case(case(result, format!("threshold {}", t.expression), status));
    }
    suite.add_test_case(case(result, "validity".to_owned(), validity(view)));
    suite.add_test_case(case(result, "verdict".to_owned(), verdict(view)));
    let mut report = Report::new("voxload");
    report.add_test_suite(suite);
    report.to_string().map_err(|e| e.to_string())
}

fn case(result: &RunResult, name: String, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("voxload.{}", result.name));
    case
}

fn not(kind: NonSuccessKind, what: &str, message: String, more: Option<String>) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_message(message);
    if let Some(more) = more {
        status.set_description(more);
    }
    status
}

/// An invalid run is an error, not a failure: the server was not judged.
fn validity(view: &View<'_>) -> TestCaseStatus {
    if view.result.validity.valid {
        return TestCaseStatus::success();
    }
    let lines: Vec<String> = view
        .result
        .validity
        .checks
        .iter()
        .filter(|c| !c.ok)
        .map(|c| format!("{}: {}, limit {}; {}; try: {}", c.name, c.seen, c.limit, c.cause, c.try_this))
        .collect();
    not(NonSuccessKind::Error, "invalid", view.validity(), Some(lines.join("\n")))
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
