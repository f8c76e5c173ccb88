//! What a sweep says at its end, and what it plans.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::document::Sweep;
use super::words::{self, Table};
use super::{Job, plan};
use crate::report::section::{self, paragraph};
use crate::report::terminal::Style;
use crate::report::text::{counted, one_line};
use crate::scenario::SweepOrder;
use crate::time::Micros;

/// Skipped combinations that a terminal shows.
const SKIPPED: usize = 12;

/// The answer, the tables; `files` are named at the end.
pub fn summary(s: &Sweep, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &format!("{}: {}", words::word(s), one_line(&s.answer)), style, |t| {
        style.heading(t)
    });
    for reason in &s.reasons {
        paragraph(&mut out, "  ", &one_line(reason), style, str::to_owned);
    }
    paragraph(&mut out, "", &one_line(&words::setting(s)), style, |t| style.faint(t));
    for t in words::tables(s) {
        let _ = writeln!(out, "\n{}", style.heading(t.title));
        table(&mut out, &t, style);
        for note in &t.notes {
            paragraph(&mut out, "  ", note, style, |t| style.faint(t));
        }
    }
    list(&mut out, "Failures", &words::failures(s), style);
    list(&mut out, "Skipped", &words::skipped(s), style);
    list(&mut out, "Notes", &s.notes, style);
    section::files(&mut out, files, &[], style);
    out
}

/// What would be measured: for `--dry-run`.
pub fn plan(job: &Job, left: Micros, runs_left: usize) -> String {
    let mut out = String::new();
    let order = match job.plan.order {
        SweepOrder::Interleaved => "interleaved: every round each cell once, in an order of its own",
        SweepOrder::Sequential => "one cell after the other",
    };
    let cells = counted(job.grid.cells.len() as u64, "cell");
    let _ = writeln!(
        out,
        "{cells} × {} = {}, {order}",
        counted(job.plan.repeat.into(), "round"),
        counted(job.runs() as u64, "run")
    );
    let done = job.runs() - runs_left;
    let before = if done > 0 { format!("{done} are done; the others take") } else { "about".to_owned() };
    let _ = writeln!(out, "{before} {left}, if no run is INVALID\n");
    if job.plan.capacity > Micros::ZERO {
        let cells = counted(job.searches_left() as u64, "cell");
        let _ = writeln!(out, "of that {} for the capacity of each of {cells}\n", job.plan.capacity);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for c in &job.grid.cells {
        let mut row = vec![c.number.to_string()];
        row.extend(c.shown(&job.grid.axes));
        row.push(job.estimate(c.number).to_string());
        row.push(if c.number == job.baseline { "baseline".to_owned() } else { String::new() });
        rows.push(row);
    }
    let keys: Vec<_> = job.grid.axes.iter().map(|a| a.key.as_str()).collect();
    let headings = std::iter::once("cell".to_owned())
        .chain(plan::axis_names(&keys))
        .chain(["a run".to_owned(), String::new()]);
    rows.insert(0, headings.collect());
    aligned(&mut out, &rows, keys.len() + 1, |_, line| line);
    let skipped: Vec<_> =
        job.grid.skipped.iter().map(|k| format!("{}: {}", k.values.join(", "), k.reason)).collect();
    list(&mut out, "Skipped", &skipped, Style::plain());
    out
}

fn list(out: &mut String, title: &str, lines: &[String], style: Style) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", style.heading(title));
    for line in lines.iter().take(SKIPPED) {
        paragraph(out, "  ", &one_line(line), style, str::to_owned);
    }
    if lines.len() > SKIPPED {
        let _ = writeln!(out, "  … and {} more", lines.len() - SKIPPED);
    }
}

fn table(out: &mut String, t: &Table, style: Style) {
    let rows: Vec<Vec<String>> =
        std::iter::once(t.headings.clone()).chain(t.rows.iter().map(|r| r.columns.clone())).collect();
    let best: Vec<bool> = std::iter::once(false).chain(t.rows.iter().map(|r| r.best)).collect();
    aligned(out, &rows, t.texts, |i, line| if best.get(i) == Some(&true) { style.good(&line) } else { line });
}

/// Columns under each other: the first `texts` to the left, the others to the right.
fn aligned(out: &mut String, rows: &[Vec<String>], texts: usize, paint: impl Fn(usize, String) -> String) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (i, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (c, (cell, w)) in row.iter().zip(&widths).enumerate() {
            let _ = if c < texts { write!(line, "  {cell:<w$}") } else { write!(line, "  {cell:>w$}") };
        }
        let _ = writeln!(out, "{}", paint(i, line.trim_end().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::sample;

    #[test]
    fn the_answer_comes_first_and_the_tables_follow() {
        let files = ["s/sweep.json", "s/sweep.html", "s/charts/pareto.svg"].map(PathBuf::from);
        insta::assert_snapshot!(summary(&sample::judged(), &files, Style::plain()));
    }

    #[test]
    fn a_part_says_so() {
        let mut s = sample::sweep();
        s.complete = false;
        s.valid_runs = 5;
        super::super::judge::judge(&mut s);
        let text = summary(&s, &[], Style::plain());
        assert!(text.starts_with("PARTIAL: So far, choose"), "{text}");
        assert!(text.contains("runs are missing: the same command with --resume"), "{text}");
    }
}
