//! Two sides of a comparison: their distributions, their runs, and how far they are apart.

use plotters::prelude::*;

use super::percentiles::{columns, curve, marks};
use super::{
    Area, Axis, BLUE, Chart, FAINT, GREEN, GRID, GROUND, HPos, Ink, ORANGE, Spots, TEXT, WIDTH, key, legend,
    line, plot, say, svg, write,
};
use crate::measure::Distribution;
use crate::time::Micros;

/// The sides.
const SIDES: [(&str, Ink); 2] = [("BASE", BLUE), ("NEW", ORANGE)];

/// A number whose shift is drawn, in margins: 1 is a shift of exactly the margin.
pub(crate) struct Row {
    /// Its name.
    pub(crate) label: String,
    /// The shift with its interval, in words.
    pub(crate) text: String,
    pub(crate) low: f64,
    pub(crate) shift: f64,
    pub(crate) high: f64,
    pub(crate) mark: Mark,
}

/// How a shift is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Neutral,
    Open,
}

impl Mark {
    const fn ink(self) -> Ink {
        match self {
            Self::Good => GREEN,
            Self::Bad => ORANGE,
            Self::Neutral => BLUE,
            Self::Open => FAINT,
        }
    }
}

/// Latency by percentile: each run as a thin line, all runs of a side as a thick one.
pub(crate) fn percentiles(title: &'static str, sides: [&[Distribution]; 2]) -> Result<Option<Chart>, String> {
    let merged = sides.map(|runs| {
        let mut all = Distribution::default();
        runs.iter().for_each(|d| all.merge(d));
        all
    });
    let most = merged.iter().map(Distribution::count).max().unwrap_or(0);
    let (Some(least), Some(largest)) = (
        merged.iter().filter_map(Distribution::min).min(),
        merged.iter().filter_map(Distribution::max).max(),
    ) else {
        return Ok(None);
    };
    let end = (most as f64).log10().max(1.0);
    let x = Axis { from: 0.0, to: end, ticks: marks(end), title: "percentile of turns" };
    let y = millis(least.as_millis_f64(), largest.as_millis_f64());
    let keys = SIDES.map(|(name, ink)| key(name, ink));
    let mut spots = Spots::default();
    let svg = svg(470, title, |area| {
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        spots.columns(&plot, columns(end, SIDES.iter().map(|(name, _)| *name).zip(&merged)));
        for ((_, ink), runs) in SIDES.iter().zip(sides) {
            for d in runs {
                line(&mut plot, curve(d, &y).into_iter().map(Some), *ink, 1, false)?;
            }
        }
        for ((_, ink), d) in SIDES.iter().zip(&merged) {
            line(&mut plot, curve(d, &y).into_iter().map(Some), *ink, 3, false)?;
        }
        Ok(())
    })?;
    let mut caption = "How long the slowest share of turns waited: to the right of 99 % is the slowest hundredth. Thick: all \
                       runs of a side together; thin: each run by itself, to see how far runs of the same thing lie apart."
        .to_owned();
    if merged.iter().any(|d| d.infinite_count() > 0) {
        caption += " A curve that leaves through the top has reached the turns that were never answered.";
    }
    Ok(Some(Chart { name: "compare-percentiles", title, caption, svg, spots }))
}

/// An axis for latencies between two values: logarithmic; where they are close to each other, with more numbers at it than
/// powers of ten have.
fn millis(least: f64, most: f64) -> Axis {
    const TITLE: &str = "ms after the end of speech";
    if least <= 1.0 || most / least > 5.0 {
        return Axis::log_millis(least, most, TITLE);
    }
    let steps = Axis::in_steps((most - least).max(1.0), 5.0, "").ticks;
    let step = steps.get(1).map_or(1.0, |(v, _)| *v).max(1.0);
    let (first, last) = ((least / step).floor().max(1.0) as i64, (most / step).ceil() as i64);
    let ticks: Vec<(f64, String)> = (first..=last.max(first + 1))
        .map(|n| n as f64 * step)
        .map(|ms| (ms.log10(), format!("{ms:.0}")))
        .collect();
    let end = |tick: Option<&(f64, String)>| tick.map_or(0.0, |(v, _)| *v);
    // What is below the first step stands at the foot.
    let from = end(ticks.first()).min(least.log10());
    Axis { from, to: end(ticks.last()), ticks, title: TITLE }
}

/// Where the labels end and the text begins.
const LEFT: i32 = 250;
const RIGHT: i32 = 650;
/// Margins drawn on either side of no change.
const REACH: f64 = 4.0;
const ROW: i32 = 34;
/// Length of a bar that lies beyond the edge.
const STUB: i32 = 26;

/// The shift of each number with its interval, in margins.
pub(crate) fn shifts(rows: &[Row]) -> Result<Option<Chart>, String> {
    if rows.is_empty() {
        return Ok(None);
    }
    let title = "How far NEW is from BASE";
    let bottom = 44 + ROW * rows.len() as i32;
    let at = |v: f64| {
        let share = (v.clamp(-REACH, REACH) + REACH) / (2.0 * REACH);
        LEFT + (share * f64::from(RIGHT - LEFT)).round() as i32
    };
    let mut spots = Spots::default();
    let svg = svg((bottom + 100) as u32, title, |area| {
        let band = Rectangle::new([(at(-1.0), 34), (at(1.0), bottom)], GRID.light.filled());
        area.draw(&band).map_err(say)?;
        write(area, "← less", (LEFT, 8), 16, FAINT, HPos::Left)?;
        write(area, "within the margin", (at(0.0), 8), 16, FAINT, HPos::Center)?;
        write(area, "more →", (RIGHT, 8), 16, FAINT, HPos::Right)?;
        stroke(area, [(at(0.0), 34), (at(0.0), bottom)], FAINT, 1)?;
        for (i, row) in rows.iter().enumerate() {
            let y = 44 + ROW * i as i32 + ROW / 2;
            let ink = row.mark.ink();
            let text = format!("{}\n{}", row.label, row.text);
            spots.rect(area, (0, y - ROW / 2), (WIDTH as i32, y + ROW / 2), text);
            write(area, &row.label, (LEFT - 14, y - 9), 16, TEXT, HPos::Right)?;
            write(area, &row.text, (RIGHT + 14, y - 9), 16, TEXT, HPos::Left)?;
            // What lies beyond the edge altogether is a short bar at it.
            let (low, high) = (at(row.low).min(RIGHT - STUB), at(row.high).max(LEFT + STUB));
            stroke(area, [(low, y), (high, y)], ink, 4)?;
            // An end beyond the edge is an arrow.
            for (end, edge, inwards) in [(row.low, LEFT, 10), (row.high, RIGHT, -10)] {
                if end.abs() > REACH && at(end) == edge {
                    stroke(area, [(edge + inwards, y - 8), (edge, y)], ink, 3)?;
                    stroke(area, [(edge + inwards, y + 8), (edge, y)], ink, 3)?;
                }
            }
            if row.shift.abs() <= REACH {
                area.draw(&Circle::new((at(row.shift), y), 6, ink.light.filled())).map_err(say)?;
            }
        }
        for margins in [-4, -2, -1, 0, 1, 2, 4] {
            let x = at(f64::from(margins));
            stroke(area, [(x, bottom), (x, bottom + 5)], FAINT, 1)?;
            let label =
                if margins == 0 { "0".to_owned() } else { format!("{margins:+}").replace('-', "−") };
            write(area, &label, (x, bottom + 9), 16, FAINT, HPos::Center)?;
        }
        write(area, "shift, in margins of each number", (at(0.0), bottom + 32), 16, FAINT, HPos::Center)
    })?;
    let caption = "The dot is the estimated shift, the bar its interval (96.8 % with five runs a side). A bar within the grey band: \
                   no change that matters. A bar beyond it: a change. One that crosses its edge decides nothing."
        .to_owned();
    Ok(Some(Chart { name: "compare-shifts", title, caption, svg, spots }))
}

/// The number that decides, run by run: µs, infinite for failures.
pub(crate) fn runs(label: &str, sides: [&[f64]; 2]) -> Result<Option<Chart>, String> {
    let finite: Vec<f64> = sides.iter().flat_map(|s| s.iter()).copied().filter(|v| v.is_finite()).collect();
    let (Some(least), Some(most)) =
        (finite.iter().copied().min_by(f64::total_cmp), finite.iter().copied().max_by(f64::total_cmp))
    else {
        return Ok(None);
    };
    // Some room, and never a scale on which a microsecond fills the page; round numbers at the ends.
    let room = ((most - least) * 0.1).max(1_000.0);
    let steps = Axis::in_steps(most - least + 2.0 * room, 5.0, "").ticks;
    let step = steps.get(1).map_or(1_000.0, |(v, _)| *v);
    let (first, last) = (((least - room) / step).floor() as i64, ((most + room) / step).ceil() as i64);
    let first = if least >= 0.0 { first.max(0) } else { first };
    let (from, to) = (first as f64 * step, last as f64 * step);
    let infinite = sides.iter().any(|s| s.iter().any(|v| v.is_infinite()));
    let (left, right) = (110, WIDTH as i32 - if infinite { 120 } else { 40 });
    let at = |v: f64| {
        if v.is_infinite() {
            return WIDTH as i32 - 60;
        }
        left + ((v - from) / (to - from) * f64::from(right - left)).round() as i32
    };
    let title = "Every run";
    let mut spots = Spots::default();
    let svg = svg(210, title, |area| {
        for (i, ((name, ink), runs)) in SIDES.iter().zip(sides).enumerate() {
            let y = 30 + 50 * i as i32;
            write(area, name, (24, y - 9), 18, TEXT, HPos::Left)?;
            stroke(area, [(left, y), (WIDTH as i32 - 40, y)], GRID, 1)?;
            for (n, v) in runs.iter().enumerate() {
                let value = if v.is_finite() { Micros(*v as i64).to_string() } else { "∞".to_owned() };
                let text = format!("{name}, run {}\n{value}", n + 1);
                spots.rect(area, (at(*v) - 12, y - 12), (at(*v) + 12, y + 12), text);
                area.draw(&Circle::new((at(*v), y), 7, ink.light.filled())).map_err(say)?;
                // Dots upon dots stay apart.
                area.draw(&Circle::new((at(*v), y), 7, GROUND.light.stroke_width(1))).map_err(say)?;
            }
        }
        for i in first..=last {
            let v = i as f64 * step;
            let text = format!("{} ms", (v / 100.0).round() / 10.0);
            stroke(area, [(at(v), 112), (at(v), 118)], FAINT, 1)?;
            write(area, &text, (at(v), 122), 16, FAINT, HPos::Center)?;
        }
        if infinite {
            write(area, "∞", (at(f64::INFINITY), 120), 20, FAINT, HPos::Center)?;
        }
        write(area, label, ((left + right) / 2, 146), 16, FAINT, HPos::Center)
    })?;
    let caption = format!(
        "{label} of each run that counts. What lies between dots of one colour is chance; the comparison weighs \
                           the distance between the colours against it."
    );
    Ok(Some(Chart { name: "compare-runs", title, caption, svg, spots }))
}

fn stroke(area: &Area<'_>, ends: [(i32, i32); 2], ink: Ink, width: u32) -> Result<(), String> {
    area.draw(&PathElement::new(ends, ink.light.stroke_width(width))).map_err(say)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs_of(ms: i64) -> Vec<Distribution> {
        (0..5)
            .map(|n| {
                let mut d = Distribution::default();
                (0..200).for_each(|i| d.record(Micros::from_millis(ms + n + i % 40)));
                d
            })
            .collect()
    }

    #[test]
    fn both_sides_are_drawn() {
        let (a, mut b) = (runs_of(300), runs_of(330));
        let chart = percentiles("TTFA", [&a, &b]).unwrap().unwrap();
        assert!(chart.svg.contains("BASE") && chart.svg.contains("NEW") && !chart.caption.contains("never"));
        b[0].record_infinite();
        assert!(percentiles("TTFA", [&a, &b]).unwrap().unwrap().caption.contains("never answered"));
        assert!(percentiles("TTFA", [&[], &[]]).unwrap().is_none());
    }

    #[test]
    fn close_latencies_have_more_numbers_at_their_axis() {
        let labels = |least, most| millis(least, most).ticks.into_iter().map(|(_, t)| t).collect::<Vec<_>>();
        assert_eq!(labels(312.0, 408.0), ["300", "320", "340", "360", "380", "400", "420"]);
        assert_eq!(labels(20.0, 900.0), ["20", "50", "100", "200", "500", "1000"]);
        assert_eq!(labels(30.2, 30.4), ["30", "31"]);
        assert!(millis(0.0, 0.0).to > millis(0.0, 0.0).from);
    }

    #[test]
    fn shifts_beyond_the_edge_are_arrows() {
        let row = |high: f64| Row {
            label: "p95 TTFA".to_owned(),
            text: "+1 ms".to_owned(),
            low: 0.5,
            shift: 1.0,
            high,
            mark: Mark::Open,
        };
        let lines = |high| shifts(&[row(high)]).unwrap().unwrap().svg.matches("<polyline").count();
        assert_eq!(lines(f64::INFINITY), lines(2.0) + 2);
        assert!(shifts(&[]).unwrap().is_none());
    }

    #[test]
    fn runs_that_failed_have_a_place() {
        let chart = runs("p95 TTFA", [&[300e3, 301e3], &[310e3, f64::INFINITY]]).unwrap().unwrap();
        assert_eq!(chart.svg.matches("<circle").count(), 8, "each with a rim");
        assert!(chart.svg.contains('∞'));
        assert!(runs("x", [&[f64::INFINITY], &[]]).unwrap().is_none());
    }
}
