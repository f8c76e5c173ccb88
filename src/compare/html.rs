//! `compare.html`: one file, in the look of a run's report.

use askama::Template;

use super::document::{Answer, Document};
use super::terminal::{RUN_HEADINGS, also_worse, cells, confidence, difference, run_cells, within_run, word};
use super::words::unit;
use crate::exit::Exit;
use crate::report::chart::Chart;
use crate::report::look::{Figure, Look};
use crate::report::text::count;

/// The page, for `src/compare/compare.html`.
#[derive(Template)]
#[template(path = "compare.html")]
struct Page<'a> {
    d: &'a Document,
    word: &'static str,
    /// `pass`, `fail`, `invalid`, or `interrupted` (as undecided as that).
    tone: &'static str,
    tiles: Vec<Tile>,
    also_worse: Option<String>,
    notes: Vec<String>,
    lines: Vec<Line<'a>>,
    charts: Vec<Figure<'a>>,
    differences: Vec<String>,
    stages: Vec<[String; 4]>,
    run_headings: [&'static str; 7],
    runs: Vec<[String; 7]>,
    look: Look<'a>,
}

/// A headline number.
struct Tile {
    label: String,
    value: String,
    note: String,
}

/// A line of the table of metrics.
struct Line<'a> {
    metric: &'a str,
    decides: bool,
    title: String,
    answer: String,
    /// Shift, interval, margin, BASE, NEW.
    numbers: [String; 5],
    /// `yes`, `no` or nothing.
    class: &'static str,
    advice: &'a str,
}

/// Renders the page.
pub(super) fn render(d: &Document, charts: &[Chart]) -> Result<String, String> {
    let mut notes = d.notes.clone();
    notes.extend(within_run(d));
    Page {
        d,
        word: word(d),
        tone: match Exit::from_code(d.verdict.exit_code) {
            Some(Exit::Good) => "pass",
            Some(Exit::Regression) => "fail",
            Some(Exit::Invalid) => "invalid",
            _ => "interrupted",
        },
        tiles: tiles(d),
        also_worse: also_worse(d),
        notes,
        lines: d.metrics.iter().map(line).collect(),
        charts: Figure::all(charts),
        differences: d.differences.iter().map(difference).collect(),
        stages: stages(d),
        run_headings: RUN_HEADINGS,
        runs: run_cells(d),
        look: Look::new(&d.voxload_version),
    }
    .render()
    .map_err(|e| e.to_string())
}

fn tiles(d: &Document) -> Vec<Tile> {
    let Some(first) = d.metrics.first() else { return Vec::new() };
    let [title, base, new, shift, interval, margin, _] = cells(first);
    let runs = |used: usize, turns: u64| format!("median of {used} runs, {} turns", count(turns));
    let tile = |label: String, value: String, note: String| Tile { label, value, note };
    vec![
        tile(format!("BASE, {title}"), base, runs(d.base.used, d.base.turns)),
        tile(format!("NEW, {title}"), new, runs(d.new.used, d.new.turns)),
        tile("Shift".to_owned(), shift, format!("{} confidence: {interval}", confidence(d))),
        tile("Margin".to_owned(), margin, "shifts up to this do not matter".to_owned()),
    ]
}

fn line(c: &super::document::Compared) -> Line<'_> {
    let [title, base, new, shift, interval, margin, answer] = cells(c);
    Line {
        metric: &c.metric,
        decides: c.decides,
        title,
        answer,
        numbers: [shift, interval, margin, base, new],
        class: match c.answer {
            Answer::Worse => "no",
            Answer::Better => "yes",
            _ => "",
        },
        advice: &c.advice,
    }
}

fn stages(d: &Document) -> Vec<[String; 4]> {
    let time = d.metrics.first().map_or(super::measure::Unit::Time, unit);
    let time = if time == super::measure::Unit::Time { time } else { super::measure::Unit::Time };
    let row = |s: &super::document::StageChange| {
        [s.name.clone(), time.level(s.base_us), time.level(s.new_us), time.change(s.new_us - s.base_us)]
    };
    d.stages.iter().map(row).collect()
}
