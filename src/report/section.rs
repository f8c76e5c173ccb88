//! A heading, a table below it, and notes: the words of a document, the same on a terminal, in Markdown, and (as
//! `html/sections.html`) on a page.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::markdown::escape;
use super::terminal::Style;
use super::text::{one_line, wrap};

/// A table with its heading and its notes.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// The first column is text, the others numbers.
    pub(crate) headings: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

impl Section {
    /// For a terminal: columns under each other.
    pub(crate) fn terminal(&self, out: &mut String, style: Style) {
        let _ = writeln!(out, "\n{}", style.heading(self.title));
        let headings: Vec<String> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&headings).chain(&self.rows).collect();
        let width =
            |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in rows {
            let mut line = String::new();
            for (i, (cell, w)) in row.iter().zip(&widths).enumerate() {
                let _ = if i == 0 { write!(line, "  {cell:<w$}") } else { write!(line, "  {cell:>w$}") };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for note in &self.notes {
            paragraph(out, "  ", &one_line(note), style, |t| style.faint(t));
        }
    }

    /// As GitHub Markdown.
    pub(crate) fn markdown(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\n## {}\n", escape(self.title))?;
        writeln!(out, "| {} |", self.headings.join(" | "))?;
        writeln!(out, "|---|{}", "---:|".repeat(self.headings.len().saturating_sub(1)))?;
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(|c| escape(c)).collect();
            writeln!(out, "| {} |", cells.join(" | "))?;
        }
        writeln!(out)?;
        self.notes.iter().try_for_each(|note| writeln!(out, "- {}", escape(note)))
    }
}

/// Text in lines that fit.
pub(crate) fn paragraph(
    out: &mut String,
    indent: &str,
    text: &str,
    style: Style,
    paint: impl Fn(&str) -> String,
) {
    for part in wrap(text, style.width().saturating_sub(indent.len())) {
        let _ = writeln!(out, "{indent}{}", paint(&part));
    }
}

/// The heading `Remarks` and what there is to remark, if anything.
pub(crate) fn remarks(out: &mut String, remarks: &[String], style: Style) {
    if !remarks.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Remarks"));
        for remark in remarks {
            paragraph(out, "  ", &one_line(remark), style, str::to_owned);
        }
    }
}

/// The files of one folder, and what else is in it.
pub(crate) fn files(out: &mut String, files: &[PathBuf], more: &[&str], style: Style) {
    let Some(dir) = files.first().and_then(|f| f.parent()) else { return };
    let names = files.iter().map(|f| f.strip_prefix(dir).unwrap_or(f).display().to_string());
    let names: Vec<_> = names.chain(more.iter().map(|m| (*m).to_owned())).collect();
    let _ = writeln!(out, "\n{}\n  {}/\n    {}", style.heading("Files"), dir.display(), names.join(" "));
}
