//! The tables at the end of a calibration.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::document::Calibration;
use super::words::{self, Section};
use crate::report::terminal::Style;
use crate::report::text::{one_line, wrap};

/// The calibration as tables; `files` are named at its end.
pub fn tables(c: &Calibration, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &words::headline(c), style.width(), |t| style.heading(t));
    paragraph(&mut out, "", &one_line(&words::setting(c)), style.width(), |t| style.faint(t));
    if let Some(text) = words::partial(c) {
        paragraph(&mut out, "", text, style.width(), |t| style.bad(t));
    }
    for s in words::sections(c) {
        let _ = writeln!(out, "\n{}", style.heading(s.title));
        table(&mut out, &s);
        for note in &s.notes {
            paragraph(&mut out, "  ", &one_line(note), style.width(), |t| style.faint(t));
        }
    }
    if !c.remarks.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Remarks"));
        for r in &c.remarks {
            paragraph(&mut out, "  ", &one_line(r), style.width(), str::to_owned);
        }
    }
    if let Some(dir) = files.first().and_then(|f| f.parent()) {
        let names = files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy());
        let names: Vec<_> = names.collect();
        let _ = writeln!(out, "\n{}\n  {}/\n    {}", style.heading("Files"), dir.display(), names.join(" "));
    }
    out
}

fn paragraph(out: &mut String, indent: &str, text: &str, width: usize, paint: impl Fn(&str) -> String) {
    for part in wrap(text, width.saturating_sub(indent.len())) {
        let _ = writeln!(out, "{indent}{}", paint(&part));
    }
}

fn table(out: &mut String, s: &Section) {
    let headings: Vec<String> = s.headings.iter().map(|h| (*h).to_owned()).collect();
    let rows: Vec<&Vec<String>> = std::iter::once(&headings).chain(&s.rows).collect();
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, w)) in row.iter().zip(&widths).enumerate() {
            let _ = if i == 0 { write!(line, "  {cell:<w$}") } else { write!(line, "  {cell:>w$}") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
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
