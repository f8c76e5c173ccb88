//! `sweep.html`: one file, in the look of a run's report.

use askama::Template;

use super::document::Sweep;
use super::words::{self, Table};
use crate::report::chart::Chart;
use crate::report::look::{Figure, Look};

/// The page, for `src/sweep/sweep.html`.
#[derive(Template)]
#[template(path = "sweep.html")]
struct Page<'a> {
    s: &'a Sweep,
    word: &'static str,
    tone: &'static str,
    setting: String,
    tables: Vec<Table>,
    failures: Vec<String>,
    skipped: Vec<String>,
    charts: Vec<Figure<'a>>,
    look: Look<'a>,
}

/// Renders the page.
pub(super) fn render(s: &Sweep, charts: &[Chart]) -> Result<String, String> {
    Page {
        s,
        word: words::word(s),
        tone: match (s.complete, s.recommendation) {
            (true, Some(_)) => "pass",
            _ => "interrupted",
        },
        setting: words::setting(s),
        tables: words::tables(s),
        failures: words::failures(s),
        skipped: words::skipped(s),
        charts: Figure::all(charts),
        look: Look::new(&s.voxload_version),
    }
    .render()
    .map_err(|e| e.to_string())
}
