//! Reports: one [`RunResult`], many exporters.
//!
//! `result.json` is the run: complete enough to render every other report again (`voxload report`) and to merge runs
//! without loss. While a run lasts, `turns.csv`, `intervals.csv` and `histograms.hlog` are streamed to disk.
//!
//! ```text
//! during the run   TurnRow ─▶ TurnsCsv     IntervalPoint ─▶ IntervalsCsv     histograms ─▶ HlogWriter
//! at its end       RunResult ─▶ write_all ─▶ result.json, scenario.toml, percentiles/, charts/, junit.xml
//!                      └─▶ View (the words) ─▶ terminal::summary, summary.md, report.html
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::measure::Metric;
use crate::scenario::ReportPlan;
use crate::time::Micros;

pub(crate) mod chart;
mod dir;
mod hgrm;
mod hlog;
mod html;
pub mod json;
pub(crate) mod junit;
pub(crate) mod look;
pub(crate) mod markdown;
pub mod result;
#[doc(hidden)]
pub mod sample;
pub(crate) mod section;
mod stages;
mod stream;
pub mod terminal;
pub(crate) mod text;
mod view;
mod writer;

pub use chart::{Curve, compared};
pub(crate) use dir::folder_name;
pub use dir::{create_dir, rfc3339};
pub use hlog::HlogWriter;
pub use result::RunResult;
pub use stages::StageTotals;
pub(crate) use stream::Guarded;
pub use stream::{CsvRow, IntervalsCsv, RowsCsv, TurnsCsv, write_links};

use view::View;
pub(crate) use writer::Writer;

/// The time in which a turn should be answered.
pub const BUDGET: Micros = Micros::from_millis(300);

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// One message a file that is missing or incomplete.
    pub problems: Vec<String>,
}

/// A file, or group of files, that is rendered from a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Format {
    /// `result.json`: the run itself.
    Json,
    /// `scenario.toml`: the effective scenario.
    Toml,
    /// `summary.md`.
    Md,
    /// `report.html`.
    Html,
    /// `charts/*.svg`.
    Svg,
    /// `charts/*.png`: the same drawings.
    Png,
    /// `percentiles/*.hgrm`.
    Hgrm,
    /// `junit.xml`.
    Junit,
}

impl Format {
    /// The formats that a scenario's `[report]` asks for.
    pub fn of_plan(plan: &ReportPlan) -> BTreeSet<Self> {
        let mut formats = BTreeSet::from([Self::Json, Self::Toml, Self::Md]);
        if plan.html {
            formats.extend([Self::Html, Self::Svg]);
            if plan.png {
                formats.insert(Self::Png);
            }
        }
        if plan.histograms {
            formats.insert(Self::Hgrm);
        }
        if plan.junit {
            formats.insert(Self::Junit);
        }
        formats
    }
}

/// Metrics that have a file in `percentiles/`.
const PERCENTILES: [Metric; 16] = [
    Metric::Ttfa,
    Metric::Ttft,
    Metric::TtfaUncorrected,
    Metric::TtftUncorrected,
    Metric::TtfaFirstByte,
    Metric::TtfaFirstByteUncorrected,
    Metric::TtfaFromLastSend,
    Metric::FinalTranscript,
    Metric::EndpointDelay,
    Metric::BargeInStop,
    Metric::Connect,
    Metric::ConnectUncorrected,
    Metric::SendLateness,
    Metric::Outage,
    Metric::Recover,
    Metric::Network,
];

/// Writes the reports that the plan asks for. A file that fails is a problem; the others are written all the same.
pub fn write_all(result: &RunResult, dir: &Path, plan: &ReportPlan) -> Written {
    write_formats(result, dir, &Format::of_plan(plan))
}

/// Writes some formats. `result.json` comes first, so that a disk that fills up loses the least.
pub fn write_formats(result: &RunResult, dir: &Path, formats: &BTreeSet<Format>) -> Written {
    let mut out = Writer::new(dir);
    if formats.contains(&Format::Json) {
        let path = dir.join(json::FILE);
        let done = json::write(result, &path);
        out.done(path, done);
    }
    if formats.contains(&Format::Toml) {
        out.text("scenario.toml", &result.scenario);
    }
    let view = View::new(result);
    view.problems.iter().for_each(|p| out.problem(p.clone()));
    if formats.contains(&Format::Md) {
        out.text("summary.md", &markdown::render(&view));
    }
    if formats.contains(&Format::Junit) {
        out.rendered("junit.xml", junit::render(&view));
    }
    let (mut charts, mut problems) = (Vec::new(), Vec::new());
    if [Format::Html, Format::Svg, Format::Png].iter().any(|f| formats.contains(f)) {
        (charts, problems) = chart::all(&view);
    }
    problems.into_iter().for_each(|p| out.problem(p));
    if formats.contains(&Format::Html) {
        out.rendered("report.html", html::render(&view, &charts));
    }
    let (svg, png) = (formats.contains(&Format::Svg), formats.contains(&Format::Png));
    if (svg || png) && out.folder("charts") {
        charts.iter().filter(|_| svg).for_each(|c| out.svg("charts/", c));
        charts.iter().filter(|_| png).for_each(|c| out.png("charts/", c));
    }
    if formats.contains(&Format::Hgrm) && out.folder("percentiles") {
        for m in PERCENTILES {
            if let Some(text) = view.distribution(m).and_then(hgrm::render) {
                out.text(&format!("percentiles/{}.hgrm", m.name()), &text);
            }
        }
    }
    out.finish()
}
