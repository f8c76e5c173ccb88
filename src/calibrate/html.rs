//! `calibration.html`: one file, in the look of a run's report.

use askama::Template;

use super::document::Calibration;
use super::words;
use crate::report::chart::Chart;
use crate::report::look::{Figure, Look};
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
    figure: Option<Figure<'a>>,
    look: Look<'a>,
}

/// Renders the page.
pub(super) fn render(c: &Calibration, chart: Option<&Chart>) -> Result<String, String> {
    Page {
        c,
        headline: words::headline(c),
        setting: words::setting(c),
        partial: words::partial(c),
        sections: words::sections(c),
        figure: chart.map(Figure::of),
        look: Look::new(&c.voxload_version),
    }
    .render()
    .map_err(|e| e.to_string())
}
