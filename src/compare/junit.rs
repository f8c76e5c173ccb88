//! `junit.xml` of a comparison: one case for validity, one a metric. Only the metric that decides can fail; what the others
//! advise is their output.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus};

use super::document::{Answer, Compared, Document};
use super::words;
use crate::exit::Exit;
use crate::report::junit::{case, not, whole};

/// The document.
pub(super) fn render(d: &Document) -> Result<String, String> {
    let cases = std::iter::once(validity(d)).chain(d.metrics.iter().map(|c| metric(d, c)));
    whole(&format!("voxload compare {}", d.new.name), None, cases)
}

/// Runs of both sides count. An error and not a failure: nothing was judged.
fn validity(d: &Document) -> TestCase {
    let unused: Vec<String> = [&d.base, &d.new]
        .into_iter()
        .flat_map(|side| side.runs.iter().filter(|r| !r.unused.is_empty()))
        .map(|r| format!("{}: {}", r.file, r.unused))
        .collect();
    let status = if invalid(d) {
        not(NonSuccessKind::Error, "invalid", d.verdict.sentence.clone(), Some(unused.join("\n")))
    } else {
        TestCaseStatus::success()
    };
    let mut case = case(&d.new.name, "validity".to_owned(), status);
    let mut said = vec![format!("{} runs of BASE and {} of NEW count", d.base.used, d.new.used)];
    said.extend(unused);
    case.set_system_out(said.join("\n"));
    case
}

fn invalid(d: &Document) -> bool {
    Exit::from_code(d.verdict.exit_code) == Some(Exit::Invalid)
}

fn metric(d: &Document, c: &Compared) -> TestCase {
    let status = match c.answer {
        _ if !c.decides => TestCaseStatus::success(),
        Answer::Worse => not(NonSuccessKind::Failure, "regression", d.verdict.sentence.clone(), None),
        // Neither a regression nor none: it could not be judged.
        Answer::Inconclusive => {
            let what = if invalid(d) { "invalid" } else { "inconclusive" };
            not(NonSuccessKind::Error, what, d.verdict.sentence.clone(), None)
        }
        Answer::Better | Answer::Same | Answer::NoWorse => TestCaseStatus::success(),
    };
    let role = if c.decides { "decides" } else { "advisory" };
    let mut case = case(&d.new.name, format!("{} ({role})", c.metric), status);
    let said = [format!("{role}: {}: {}", c.answer.word(), words::change(c)), c.advice.clone()];
    let said: Vec<_> = said.into_iter().filter(|s| !s.is_empty()).collect();
    case.set_system_out(said.join("\n"));
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample;

    fn counts(d: &Document) -> (usize, usize, usize) {
        let xml = render(d).unwrap();
        let of = |what: &str| xml.matches(what).count();
        (of("<testcase "), of("<failure "), of("<error "))
    }

    #[test]
    fn only_what_decides_can_fail() {
        let good = sample::document(300.0, 300.0);
        assert_eq!(counts(&good), (1 + good.metrics.len(), 0, 0));
        let worse = sample::document(300.0, 400.0);
        assert!(!worse.verdict.also_worse.is_empty(), "others are worse, too");
        assert_eq!(counts(&worse), (1 + worse.metrics.len(), 1, 0));
        let xml = render(&worse).unwrap();
        assert!(xml.contains("type=\"regression\"") && xml.contains("advisory: worse: "), "{xml}");
    }

    #[test]
    fn what_is_not_decided_is_an_error() {
        let mut d = sample::document(300.0, 300.0);
        d.metrics[0].answer = Answer::Inconclusive;
        (d.verdict.answer, d.verdict.exit_code) = (Answer::Inconclusive, 123);
        assert_eq!((counts(&d).1, counts(&d).2), (0, 1));
        assert!(render(&d).unwrap().contains("type=\"inconclusive\""));
        d.verdict.exit_code = 120;
        d.new.runs[0].unused = "INVALID: cpu was 0.99".to_owned();
        assert_eq!((counts(&d).1, counts(&d).2), (0, 2));
        assert!(render(&d).unwrap().contains("INVALID: cpu was 0.99"));
    }
}
