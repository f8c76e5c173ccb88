//! `calibration.html`: one file, no network, no script, in the look of a run's report.

use askama::Template;

use super::document::Calibration;
use super::words;
use crate::report::chart::{Chart, dark_css};
use crate::report::section::Section;

/// The page, for `src/calibrate/calibration.html`.
#[derive(Template)]
#[template(path = "calibration.html")]
struct Page<'a> {
    c: &'a Calibration,
    headline: String,
    setting: String,
    partial: Option<&'static str>,
    sections: Vec<Section>,
    chart: Option<(String, &'a str)>,
    dark_css: String,
}

/// Renders the page.
pub(super) fn render(c: &Calibration, chart: Option<&Chart>) -> Result<String, String> {
    Page {
        c,
        headline: words::headline(c),
        setting: words::setting(c),
        partial: words::partial(c),
        sections: words::sections(c),
        chart: chart.map(|chart| (chart.inlined(), chart.caption.as_str())),
        dark_css: dark_css("figure"),
    }
    .render()
    .map_err(|e| e.to_string())
}
