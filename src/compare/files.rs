//! A comparison's files, in a folder of their own: the document first.

use std::path::Path;

use super::collect::Found;
use super::document::{Amount, Answer, Compared, Document};
use super::judge::counts;
use super::measure::Measure;
use super::words::{interval, unit};
use super::{html, junit, markdown};
use crate::measure::{Distribution, Metric};
use crate::report::chart::Chart;
use crate::report::chart::sides::{self, Mark, Row};
use crate::report::{Writer, Written};

/// The name of the document.
pub const FILE: &str = "compare.json";
/// The name of the Markdown.
pub const MARKDOWN: &str = "compare.md";
/// The name of the page.
pub const PAGE: &str = "compare.html";
/// The name of the report for CI servers; the same as that of a run.
pub const JUNIT: &str = "junit.xml";

/// Writes everything into the folder, which exists. A file that fails is a problem; the others are written all the same.
pub fn write(document: &Document, base: &Found, new: &Found, dir: &Path) -> Written {
    let mut out = Writer::new(dir);
    out.document(FILE, document);
    out.text(MARKDOWN, &markdown::render(document));
    out.rendered(JUNIT, junit::render(document));
    let (charts, problems) = charts(document, base, new);
    out.rendered(PAGE, html::render(document, &charts));
    out.charts("", &charts);
    problems.into_iter().for_each(|p| out.problem(p));
    out.finish()
}

/// The pictures that there is data for.
pub(super) fn charts(document: &Document, base: &Found, new: &Found) -> (Vec<Chart>, Vec<String>) {
    let primary = document.metrics.first();
    let drawn = [
        sides::shifts(&document.metrics.iter().filter_map(row).collect::<Vec<_>>()),
        percentiles(primary, base, new),
        primary.map_or(Ok(None), runs),
    ];
    let (mut charts, mut problems) = (Vec::new(), Vec::new());
    for chart in drawn {
        match chart {
            Ok(chart) => charts.extend(chart),
            Err(e) => problems.push(format!("a chart cannot be drawn: {e}")),
        }
    }
    (charts, problems)
}

/// The picture of the metric that decides, or of TTFA where that is no time.
fn percentiles(primary: Option<&Compared>, base: &Found, new: &Found) -> Result<Option<Chart>, String> {
    let Some(measure) = primary.and_then(|c| Measure::parse(&c.metric).ok()) else { return Ok(None) };
    let metric =
        measure.metric().filter(|m| m.unit() == crate::measure::Unit::Micros).unwrap_or(Metric::Ttfa);
    let title = match metric {
        Metric::Ttfa => "TTFA by percentile",
        Metric::Ttft => "TTFT by percentile",
        other => other.name(),
    };
    let of = |found: &Found| {
        let used = found.runs.iter().filter(|r| counts(&r.result, &measure).is_ok());
        let results = used.filter_map(|r| r.result.metrics.get(metric.name()));
        results.map(Distribution::from_result).collect::<Result<Vec<_>, _>>()
    };
    sides::percentiles(title, [&of(base)?, &of(new)?])
}

fn runs(primary: &Compared) -> Result<Option<Chart>, String> {
    if unit(primary) != super::measure::Unit::Time {
        return Ok(None);
    }
    let numbers = |side: &[Amount]| side.iter().map(|a| a.0).collect::<Vec<f64>>();
    sides::runs(&primary.title, [&numbers(&primary.base), &numbers(&primary.new)])
}

/// A shift in margins; a number without a margin to measure it by is not drawn.
fn row(c: &Compared) -> Option<Row> {
    let s = c.shift?;
    if c.margin <= 0.0 {
        return None;
    }
    let in_margins = |a: Amount| a.0 / c.margin;
    let u = unit(c);
    Some(Row {
        label: if c.title.chars().count() > 30 { c.metric.clone() } else { c.title.clone() },
        text: format!("{}: {}", c.answer.word(), interval(u, s)),
        low: in_margins(s.low),
        shift: in_margins(s.shift),
        high: in_margins(s.high),
        mark: match c.answer {
            Answer::Better => Mark::Good,
            Answer::Worse => Mark::Bad,
            Answer::Same | Answer::NoWorse => Mark::Neutral,
            Answer::Inconclusive => Mark::Open,
        },
    })
}
