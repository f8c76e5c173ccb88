//! The tables at the end of a calibration.

use std::path::PathBuf;

use super::document::Calibration;
use super::words;
use crate::report::section::{self, paragraph};
use crate::report::terminal::Style;
use crate::report::text::one_line;

/// The calibration as tables; `files` are named at its end.
pub fn tables(c: &Calibration, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &words::headline(c), style, |t| style.heading(t));
    paragraph(&mut out, "", &one_line(&words::setting(c)), style, |t| style.faint(t));
    if let Some(text) = words::partial(c) {
        paragraph(&mut out, "", text, style, |t| style.bad(t));
    }
    words::sections(c).iter().for_each(|s| s.terminal(&mut out, style));
    section::remarks(&mut out, &c.remarks, style);
    section::files(&mut out, files, &[], style);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::sample;

    #[test]
    fn a_whole_calibration() {
        let files =
            ["calibration.json", "calibration.md"].map(|f| PathBuf::from("reports/calibration").join(f));
        insta::assert_snapshot!(tables(&sample::calibration(), &files, Style::plain()));
    }

    #[test]
    fn a_part_says_that_it_is_one() {
        let c = sample::calibration();
        let c = Calibration { partial: true, floor: None, error: None, capacity: None, ..c };
        let text = tables(&c, &[], Style::plain());
        assert!(text.starts_with("timers wake late by 410 µs (p99)\n"), "{text}");
        assert!(text.contains("PARTIAL") && !text.contains("Floor") && !text.contains("Files"), "{text}");
        let none = Calibration { wakeups: None, ..c };
        assert!(tables(&none, &[], Style::plain()).starts_with("nothing was measured\n"));
    }
}
