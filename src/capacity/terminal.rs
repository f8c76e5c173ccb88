//! What is printed at the end of a search.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::document::CapacityReport;
use super::words::{self, Section};
use crate::report::terminal::Style;
use crate::report::text::{one_line, wrap};

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
    if !r.remarks.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Remarks"));
        for remark in &r.remarks {
            paragraph(&mut out, "  ", &one_line(remark), style, str::to_owned);
        }
    }
    for s in words::sections(r) {
        let _ = writeln!(out, "\n{}", style.heading(s.title));
        table(&mut out, &s);
        for note in &s.notes {
            paragraph(&mut out, "  ", &one_line(note), style, |t| style.faint(t));
        }
    }
    if let Some(dir) = files.first().and_then(|f| f.parent()) {
        let names = files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy());
        let names: Vec<_> = names.collect();
        let _ = writeln!(
            out,
            "\n{}\n  {}/\n    {} probes/",
            style.heading("Files"),
            dir.display(),
            names.join(" ")
        );
    }
    out
}

fn paragraph(out: &mut String, indent: &str, text: &str, style: Style, paint: impl Fn(&str) -> String) {
    for part in wrap(text, style.width().saturating_sub(indent.len())) {
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
