//! Over time: latency, and the load that goes with it.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::faults::Band;
use super::phases::Phases;
use super::{
    Axis, BLUE, Chart, FAINT, GREEN, GRID, ORANGE, PURPLE, Plot, Spots, dashed, key, legend, line, plot_from,
    say, svg,
};
use crate::report::BUDGET;
use crate::report::result::{IntervalPoint, RunResult};
use crate::report::text::{chosen, count, counted, span};
use crate::report::view::View;
use crate::time::Micros;

pub(super) fn ttfa(view: &View<'_>) -> Result<Option<Chart>, String> {
    let r = view.result;
    if r.intervals.iter().all(|i| i.ttfa_count == 0) {
        return Ok(None);
    }
    let budget = BUDGET.as_millis_f64();
    let values = r.intervals.iter().flat_map(|i| [i.ttfa_p50_us, i.ttfa_p95_us, i.ttfa_max_us]);
    let ms: Vec<f64> = values.flatten().map(|us| us as f64 / 1e3).collect();
    let x = time_axis(r);
    let y = Axis::log_millis(
        ms.iter().copied().fold(budget / 3.0, f64::min),
        ms.iter().copied().fold(budget * 1.2, f64::max),
        "TTFA, ms",
    );
    // A quantile that is a failure is drawn at the top; an interval without turns interrupts the line.
    let points = |of: fn(&IntervalPoint) -> Option<i64>| {
        r.intervals
            .iter()
            .map(|i| (i.ttfa_count > 0).then(|| (middle(i), of(i).map_or(y.to, |us| y.log(us)))))
            .collect::<Vec<_>>()
    };
    // Failures are not in it: no number, no point.
    let naive = |of: fn(&IntervalPoint) -> Option<i64>| {
        r.intervals.iter().map(|i| of(i).map(|us| (middle(i), y.log(us)))).collect::<Vec<_>>()
    };
    let title = "TTFA over time";
    let band = Band::of(r);
    let phases = Phases::of(r);
    let mut spots = Spots::default();
    let svg = svg(400 + band.height() + phases.height(), title, |area| {
        let (strip, area) = area.split_vertically(phases.height());
        phases.draw(&strip, band.left(), &x)?;
        let (area, below) = &area.split_vertically(364);
        band.draw(below, &x)?;
        let keys = [
            key("median", BLUE),
            key("95th percentile", ORANGE),
            dashed("uncorrected", ORANGE),
            key("largest", FAINT),
            key("× failed turns", PURPLE),
            key("budget 300 ms", GREEN),
        ];
        legend(area, &keys)?;
        let mut plot = plot_from(band.left(), area, &x, &y)?;
        warmup(&mut plot, r, (y.from, y.to))?;
        phases.borders(&mut plot, (y.from, y.to))?;
        spots.columns(&plot, r.intervals.iter().map(|i| (middle(i), latencies(i))));
        band.storms(&mut plot, (y.from, y.to))?;
        plot.draw_series([PathElement::new(
            [(0.0, y.log(BUDGET.0)), (x.to, y.log(BUDGET.0))],
            GREEN.light.stroke_width(2),
        )])
        .map_err(say)?;
        let largest = r.intervals.iter().map(|i| Some((middle(i), y.log(i.ttfa_max_us?))));
        line(&mut plot, largest, FAINT, 1, false)?;
        // Below the lines that count: where nothing was late, they are hidden.
        line(&mut plot, naive(|i| i.ttfa_uncorrected_p95_us), ORANGE, 2, true)?;
        line(&mut plot, naive(|i| i.ttfa_uncorrected_p50_us), BLUE, 2, true)?;
        line(&mut plot, points(|i| i.ttfa_p95_us), ORANGE, 2, false)?;
        line(&mut plot, points(|i| i.ttfa_p50_us), BLUE, 3, false)?;
        let failed = r.intervals.iter().filter(|i| i.failed > 0);
        plot.draw_series(failed.map(|i| {
            Cross::new((middle(i), y.to - (y.to - y.from) * 0.025), 5, PURPLE.light.stroke_width(2))
        }))
        .map_err(say)?;
        Ok(())
    })?;
    let mut caption = "Turns by the interval in which they ended. Dashed: uncorrected, what a tool would print that restarts its \
                       clock when it is late and forgets failures."
        .to_owned();
    if r.turns.failed + r.turns.timed_out > 0 {
        caption += " A cross marks an interval with failed turns; a quantile that is a failure lies at the top edge.";
    }
    Ok(Some(Chart {
        name: "ttfa-over-time",
        title,
        caption: caption + &band.note() + warmup_note(r) + &phases.note(),
        svg,
        spots,
    }))
}

pub(super) fn load(view: &View<'_>) -> Result<Option<Chart>, String> {
    let r = view.result;
    if r.intervals.is_empty() {
        return Ok(None);
    }
    let x = time_axis(r);
    // Only where networks or faults are looked at: elsewhere, a line of failures says as much.
    let reconnects = r.network.is_some() && r.intervals.iter().any(|i| i.reconnects > 0);
    let most = |of: fn(&IntervalPoint) -> f64| r.intervals.iter().map(of).fold(0.0, f64::max);
    let points = |of: fn(&IntervalPoint) -> f64| r.intervals.iter().map(move |i| Some((middle(i), of(i))));
    let devices = Axis::linear(most(|i| f64::from(i.connected.max(i.in_turn))), "devices");
    let (mut fastest, mut what) =
        (most(|i| rate(i, i.started.max(i.succeeded).max(i.failed))), "turns per second");
    if reconnects {
        (fastest, what) = (fastest.max(most(|i| rate(i, i.reconnects))), "turns, reconnects per second");
    }
    let rates = Axis::linear(fastest, what);
    let title = "Devices and turns over time";
    let band = Band::of(r);
    let phases = Phases::of(r);
    let mut spots = Spots::default();
    let svg = svg(560 + band.height() + phases.height(), title, |area| {
        let (strip, area) = area.split_vertically(phases.height());
        phases.draw(&strip, band.left(), &x)?;
        let (top, rest) = area.split_vertically(262);
        let (bottom, below) = rest.split_vertically(262);
        band.draw(&below, &x)?;
        legend(&top, &[key("connected", BLUE), key("in a turn", ORANGE)])?;
        let mut upper = plot_from(band.left(), &top, &x, &devices)?;
        warmup(&mut upper, r, (0.0, devices.to))?;
        phases.borders(&mut upper, (0.0, devices.to))?;
        spots.columns(&upper, r.intervals.iter().map(|i| (middle(i), level(i))));
        band.storms(&mut upper, (0.0, devices.to))?;
        line(&mut upper, points(|i| i.connected.into()), BLUE, 3, false)?;
        line(&mut upper, points(|i| i.in_turn.into()), ORANGE, 2, false)?;
        let mut keys = vec![key("begun", BLUE), key("succeeded", GREEN), key("failed", PURPLE)];
        if reconnects {
            keys.push(key("reconnects", ORANGE));
        }
        legend(&bottom, &keys)?;
        let mut lower = plot_from(band.left(), &bottom, &x, &rates)?;
        warmup(&mut lower, r, (0.0, rates.to))?;
        phases.borders(&mut lower, (0.0, rates.to))?;
        spots.columns(&lower, r.intervals.iter().map(|i| (middle(i), rates_of(i, reconnects))));
        band.storms(&mut lower, (0.0, rates.to))?;
        line(&mut lower, points(|i| rate(i, i.started)), BLUE, 2, false)?;
        line(&mut lower, points(|i| rate(i, i.succeeded)), GREEN, 2, false)?;
        line(&mut lower, points(|i| rate(i, i.failed)), PURPLE, 2, false)?;
        if reconnects {
            line(&mut lower, points(|i| rate(i, i.reconnects)), ORANGE, 2, false)?;
        }
        Ok(())
    })?;
    Ok(Some(Chart {
        name: "load-over-time",
        title,
        caption: format!(
            "What was asked of the server, and what it kept up with.{}{}",
            band.note(),
            warmup_note(r)
        ),
        svg,
        spots,
    }))
}

/// When an interval was.
fn when(i: &IntervalPoint) -> String {
    format!("{} to {}", chosen(i.start_us), chosen(i.start_us.saturating_add(i.width_us)))
}

fn latencies(i: &IntervalPoint) -> String {
    let mut text = format!("{}\n{}", when(i), counted(i.ttfa_count, "turn"));
    if i.ttfa_count > 0 {
        // No number where there are turns: a failure.
        let at = |us: Option<i64>| us.map_or_else(|| "∞".to_owned(), |us| Micros(us).to_string());
        let _ = write!(text, "\nmedian {}\n95th percentile {}", at(i.ttfa_p50_us), at(i.ttfa_p95_us));
        let _ = write!(text, "\nlargest {}", span(i.ttfa_max_us));
    }
    if let Some(us) = i.ttfa_uncorrected_p95_us {
        let _ = write!(text, "\nuncorrected 95th percentile {}", Micros(us));
    }
    if i.failed > 0 {
        let _ = write!(text, "\n{} failed", count(i.failed));
    }
    text
}

fn level(i: &IntervalPoint) -> String {
    format!("{}\n{} connected\n{} in a turn", when(i), count(i.connected.into()), count(i.in_turn.into()))
}

fn rates_of(i: &IntervalPoint, reconnects: bool) -> String {
    let (begun, succeeded, failed) = (rate(i, i.started), rate(i, i.succeeded), rate(i, i.failed));
    let mut text =
        format!("{}, per second\nbegun {begun:.1}\nsucceeded {succeeded:.1}\nfailed {failed:.1}", when(i));
    if reconnects {
        let _ = write!(text, "\nreconnects {:.1}", rate(i, i.reconnects));
    }
    text
}

fn time_axis(r: &RunResult) -> Axis {
    let end = r.intervals.last().map_or(0, |i| i.start_us.saturating_add(i.width_us));
    Axis::time(end)
}

/// The middle of an interval, seconds.
fn middle(i: &IntervalPoint) -> f64 {
    (i.start_us as f64 + i.width_us as f64 / 2.0) / 1e6
}

/// Per second.
fn rate(i: &IntervalPoint, n: u64) -> f64 {
    n as f64 * 1e6 / i.width_us.max(1) as f64
}

/// Shades the warm-up.
fn warmup(plot: &mut Plot<'_, '_>, r: &RunResult, (from, to): (f64, f64)) -> Result<(), String> {
    if r.warmup_us <= 0 {
        return Ok(());
    }
    let end = time_axis(r).to.min(r.warmup_us as f64 / 1e6);
    let shade = Rectangle::new([(0.0, from), (end, to)], GRID.light.mix(0.6).filled());
    plot.draw_series([shade]).map(drop).map_err(say)
}

const fn warmup_note(r: &RunResult) -> &'static str {
    if r.warmup_us > 0 { " The shaded part is the warm-up, which is not counted." } else { "" }
}
