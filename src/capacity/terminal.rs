//! What is printed at the end of a search.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::document::CapacityReport;
use super::words;
use crate::report::section::{self, paragraph};
use crate::report::terminal::Style;
use crate::report::text::one_line;

/// The answer and its tables; `files` are named at their end.
pub fn tables(r: &CapacityReport, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    let (word, tone) = words::headline(r);
    let paint = |t: &str| if tone == "pass" { style.good(t) } else { style.bad(t) };
    let _ = writeln!(out, "{}", paint(word));
    paragraph(&mut out, "", &one_line(&r.sentence), style, |t| style.heading(t));
    if let Some(text) = words::fleet_sentence(r) {
        paragraph(&mut out, "", &text, style, |t| style.heading(t));
    }
    paragraph(&mut out, "", &one_line(&words::setting(r)), style, |t| style.faint(t));
    section::remarks(&mut out, &r.remarks, style);
    words::sections(r).iter().for_each(|s| s.terminal(&mut out, style));
    section::files(&mut out, files, &["probes/"], style);
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_answer() {
        let files = ["capacity.json", "capacity.md"].map(|f| PathBuf::from("reports/x").join(f));
        insta::assert_snapshot!(tables(&sample::found(), &files, Style::plain()));
    }

    #[test]
    fn as_far_as_it_is_known() {
        let text = tables(&sample::harness(), &[], Style::plain());
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.starts_with("AT LEAST one server carries at least 320 devices at TTFA p95 < 600 ms"),
            "{text}"
        );
        assert!(text.contains("this machine cannot drive more") && !text.contains("Files"), "{text}");
    }
}
