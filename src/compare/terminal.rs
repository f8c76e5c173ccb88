//! The table that `voxload compare` prints, and the cells that every rendering shares.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::document::{Answer, Compared, Difference, Document, Kind, RunInfo};
use super::words::{FEW, interval, unit};
use crate::exit::Exit;
use crate::report::section::{self, paragraph};
use crate::report::terminal::Style;
use crate::report::text::{count, counted, harmless, one_line, percent, wrap};

/// The columns of the table of metrics.
pub(super) const HEADINGS: [&str; 7] = ["metric", "BASE", "NEW", "shift", "interval", "margin", "answer"];

/// The columns of the table of runs.
pub(super) const RUN_HEADINGS: [&str; 7] = ["side", "run", "seed", "began", "turns", "failed", "value"];

/// The comparison for people; `files` are named at its end.
pub fn table(d: &Document, files: &[PathBuf], style: Style) -> String {
    let mut out = String::new();
    let head = word(d);
    let painted = match Exit::from_code(d.verdict.exit_code) {
        Some(Exit::Good) => style.good(head),
        _ => style.bad(head),
    };
    let width = style.width();
    for (i, line) in wrap(&harmless(&d.verdict.sentence), width - 14).iter().enumerate() {
        let pad = " ".repeat(14_usize.saturating_sub(head.len()));
        let _ = if i == 0 { writeln!(out, "{painted}{pad}{line}") } else { writeln!(out, "{:14}{line}", "") };
    }
    let sides = format!(
        "BASE {} ({}, {} turns) · NEW {} ({}, {} turns)",
        d.base.path,
        of(d.base.used, d.base.runs.len()),
        count(d.base.turns),
        d.new.path,
        of(d.new.used, d.new.runs.len()),
        count(d.new.turns)
    );
    paragraph(&mut out, &" ".repeat(14), &one_line(&sides), style, |t| style.faint(t));
    if let Some(text) = also_worse(d) {
        paragraph(&mut out, &" ".repeat(14), &text, style, |t| style.bad(t));
    }
    let _ = writeln!(out, "\n{}", style.heading("Metrics (the first decides, the others advise)"));
    rows(&mut out, &HEADINGS, &d.metrics.iter().map(narrow).collect::<Vec<_>>(), |i, line| {
        match d.metrics.get(i) {
            Some(c) if c.answer == Answer::Worse => style.bad(line),
            Some(c) if c.answer == Answer::Better => style.good(line),
            _ => line.to_owned(),
        }
    });
    let advice: Vec<&Compared> =
        d.metrics.iter().filter(|c| !c.advice.is_empty() && c.advice != FEW).collect();
    if !advice.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("What it means"));
        for c in advice {
            paragraph(&mut out, "  ", &format!("{}: {}", c.title, one_line(&c.advice)), style, str::to_owned);
        }
    }
    let mut notes: Vec<String> = d.notes.iter().map(|n| harmless(n)).collect();
    notes.extend(within_run(d));
    section(&mut out, style, "Notes", &notes);
    section(
        &mut out,
        style,
        "What differs besides",
        &d.differences.iter().map(difference).collect::<Vec<_>>(),
    );
    let _ = writeln!(out, "\n{}", style.heading("Runs"));
    rows(&mut out, &RUN_HEADINGS, &run_cells(d), |_, line| line.to_owned());
    section::files(&mut out, files, &[], style);
    out
}

/// The verdict in a word or two.
pub(super) fn word(d: &Document) -> &'static str {
    match (Exit::from_code(d.verdict.exit_code), d.verdict.answer) {
        (Some(Exit::Invalid), _) => "INVALID",
        (_, Answer::Better) => "BETTER",
        (_, Answer::Same) => "SAME",
        (_, Answer::NoWorse) => "NO WORSE",
        (_, Answer::Worse) => "WORSE",
        (_, Answer::Inconclusive) => "INCONCLUSIVE",
    }
}

/// What is worse among the numbers that do not decide.
pub(super) fn also_worse(d: &Document) -> Option<String> {
    let all = &d.verdict.also_worse;
    (!all.is_empty()).then(|| format!("Also worse, though not what decides: {}.", all.join("; ")))
}

/// A line of the table of metrics.
pub(super) fn cells(c: &Compared) -> [String; 7] {
    let u = unit(c);
    let level = |x: Option<super::document::Amount>| x.map_or_else(|| "–".to_owned(), |x| u.level(x.0));
    let (shift, between) =
        c.shift.map_or_else(|| ("–".to_owned(), "–".to_owned()), |s| (u.change(s.shift.0), interval(u, s)));
    [
        c.title.clone(),
        level(c.base_median),
        level(c.new_median),
        shift,
        between,
        u.change(c.margin).replace('+', ""),
        c.answer.word().to_owned(),
    ]
}

/// The same for a terminal: the metric by its short name.
fn narrow(c: &Compared) -> [String; 7] {
    let mut cells = cells(c);
    cells[0].clone_from(&c.metric);
    cells.map(|cell| cell.replace(" points", " pt"))
}

/// The lines of the table of runs.
pub(super) fn run_cells(d: &Document) -> Vec<[String; 7]> {
    let u = d.metrics.first().map_or(super::measure::Unit::Count, unit);
    let line = |side: &str, path: &str, r: &RunInfo| {
        let value = r.value.map_or_else(|| "–".to_owned(), |v| u.level(v.0));
        let name = r.file.trim_end_matches("/result.json");
        let name = name.strip_prefix(path).unwrap_or(name).trim_start_matches('/');
        [
            side.to_owned(),
            one_line(if name.is_empty() { path } else { name }),
            r.seed.to_string(),
            one_line(&r.started_at),
            count(r.turns),
            count(r.failed),
            if r.unused.is_empty() { value } else { format!("not used: {}", one_line(&r.unused)) },
        ]
    };
    let base = d.base.runs.iter().map(|r| line("BASE", &d.base.path, r));
    base.chain(d.new.runs.iter().map(|r| line("NEW", &d.new.path, r))).collect()
}

/// A difference in words.
pub(super) fn difference(d: &Difference) -> String {
    let kind = match d.kind {
        Kind::Workload => "different load or machine: ",
        Kind::Server => "server: ",
        Kind::Measurement => "",
    };
    format!("{kind}{}: {} → {}", one_line(&d.what), one_line(&d.base), one_line(&d.new))
}

/// What one run against one can say.
pub(super) fn within_run(d: &Document) -> Option<String> {
    let (w, c) = (d.within_run?, d.metrics.first()?);
    let u = unit(c);
    Some(format!(
        "Within these two runs alone, {} differs by {} (block bootstrap of their turns: {}). How much runs of the same thing \
         differ is not in it, so it decides nothing.",
        c.title,
        u.change(w.shift.0),
        u.interval(w.low.0, w.high.0)
    ))
}

/// How sure the intervals are.
pub(super) fn confidence(d: &Document) -> String {
    let c = d.metrics.first().and_then(|c| c.shift).map(|s| s.confidence);
    c.map_or_else(|| "–".to_owned(), percent)
}

fn of(used: usize, all: usize) -> String {
    if used == all { counted(all as u64, "run") } else { format!("{used} of {all} runs used") }
}

fn section(out: &mut String, style: Style, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", style.heading(title));
    for line in lines {
        paragraph(out, "  ", line, style, str::to_owned);
    }
}

/// A table; the first column is text, and so is the last.
fn rows(out: &mut String, headings: &[&str], lines: &[[String; 7]], paint: impl Fn(usize, &str) -> String) {
    let width = |c: usize| {
        let cells = lines.iter().filter_map(|l| l.get(c)).map(|t| t.chars().count());
        cells.chain(headings.get(c).map(|h| h.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut put = |row: &[&str], paint: &dyn Fn(&str) -> String| {
        let mut text = String::new();
        for (i, (cell, w)) in row.iter().zip(&widths).enumerate() {
            let left = i == 0 || i + 1 == widths.len();
            let _ = if left { write!(text, "  {cell:<w$}") } else { write!(text, "  {cell:>w$}") };
        }
        let _ = writeln!(out, "{}", paint(text.trim_end()));
    };
    put(headings, &str::to_owned);
    for (i, line) in lines.iter().enumerate() {
        put(&line.iter().map(String::as_str).collect::<Vec<_>>(), &|text| paint(i, text));
    }
}
