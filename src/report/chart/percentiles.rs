//! Latency by percentile, HdrHistogram style: every further 9 is as far again.

use plotters::prelude::*;

use super::{
    Axis, BLUE, Chart, FAINT, GREEN, Ink, ORANGE, PURPLE, Spots, TEXT, dashed, key, legend, line, plot, svg,
};
use crate::measure::{Distribution, Metric, Quantile};
use crate::report::BUDGET;
use crate::report::text::one_line;
use crate::report::view::View;
use crate::time::Micros;

/// Points per power of ten of 1/(1 − p).
const POINTS: u32 = 40;

/// Columns with values likewise.
const COLUMNS: u32 = 16;

/// Percentiles that are marked, with the share above them.
const MARKS: [(&str, f64); 9] = [
    ("0 %", 1.0),
    ("50 %", 0.5),
    ("75 %", 0.25),
    ("90 %", 0.1),
    ("95 %", 0.05),
    ("99 %", 0.01),
    ("99.9 %", 0.001),
    ("99.99 %", 0.000_1),
    ("99.999 %", 0.000_01),
];

pub(super) fn latency(view: &View<'_>) -> Result<Option<Chart>, String> {
    let curves: Vec<(&Distribution, _, bool, &str)> = [
        (Metric::Ttfa, BLUE, false, "TTFA"),
        (Metric::TtfaUncorrected, BLUE, true, "TTFA uncorrected"),
        (Metric::Ttft, ORANGE, false, "TTFT"),
        (Metric::TtftUncorrected, ORANGE, true, "TTFT uncorrected"),
    ]
    .into_iter()
    .filter_map(|(m, ink, dash, name)| Some((view.distribution(m)?, ink, dash, name)))
    .collect();
    let Some(most) = curves.iter().map(|(d, ..)| d.count()).max() else {
        return Ok(None);
    };
    // Up to the largest sample: percentile 1 − 1/n.
    let end = (most as f64).log10().max(1.0);
    let x = Axis { from: 0.0, to: end, ticks: marks(end), title: "percentile of turns" };

    let budget = BUDGET.as_millis_f64();
    let smallest = curves.iter().filter_map(|(d, ..)| d.min()).min();
    let largest = curves.iter().filter_map(|(d, ..)| d.max()).max();
    let y = Axis::log_millis(
        smallest.map_or(budget, Micros::as_millis_f64).min(budget / 3.0),
        largest.map_or(budget, Micros::as_millis_f64).max(budget * 1.2),
        "ms after the end of speech",
    );
    let mut keys: Vec<_> = curves
        .iter()
        .map(|(_, ink, dash, name)| if *dash { dashed(name, *ink) } else { key(name, *ink) })
        .collect();
    keys.push(key("budget 300 ms", GREEN));
    let title = "Latency by percentile";
    let mut spots = Spots::default();
    let svg = svg(470, title, |area| {
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        spots.columns(&plot, columns(end, curves.iter().map(|(d, .., name)| (*name, *d))));
        let budget = y.log(BUDGET.0);
        plot.draw_series([PathElement::new([(0.0, budget), (end, budget)], GREEN.light.stroke_width(2))])
            .map_err(super::say)?;
        for (d, ink, dash, _) in &curves {
            line(&mut plot, curve(d, &y).into_iter().map(Some), *ink, if *dash { 2 } else { 3 }, *dash)?;
        }
        Ok(())
    })?;
    let failed = view.distribution(Metric::Ttfa).map_or(0, Distribution::infinite_count);
    let mut caption = "How long the slowest share of turns waited: to the right of 99 % is the slowest hundredth. \
                       Dashed: what a tool that restarts its clock when it is late and forgets failures would print."
        .to_owned();
    if failed > 0 {
        caption += " A curve that leaves through the top has reached the turns that were never answered.";
    }
    Ok(Some(Chart { name: "latency-by-percentile", title, caption, svg, spots }))
}

/// Colours of groups; a scenario with more has its first ones drawn.
const INKS: [Ink; 5] = [BLUE, ORANGE, PURPLE, TEXT, FAINT];

/// TTFA of each group of devices.
pub(super) fn groups(view: &View<'_>) -> Result<Option<Chart>, String> {
    let Some(network) = &view.result.network else { return Ok(None) };
    // What cannot be read has been said of the run's own metrics; here it costs a curve.
    let curves: Vec<(String, Distribution, Ink)> = network
        .groups
        .iter()
        .filter_map(|g| Some((&g.name, Distribution::from_result(&g.ttfa).ok().filter(|d| d.count() > 0)?)))
        .zip(INKS)
        .map(|((name, d), ink)| (one_line(name).chars().take(20).collect(), d, ink))
        .collect();
    let Some(most) = curves.iter().map(|(_, d, _)| d.count()).max().filter(|_| curves.len() > 1) else {
        return Ok(None);
    };
    let end = (most as f64).log10().max(1.0);
    let x = Axis { from: 0.0, to: end, ticks: marks(end), title: "percentile of the group's turns" };
    let budget = BUDGET.as_millis_f64();
    let ends = |of: fn(&Distribution) -> Option<Micros>| curves.iter().filter_map(move |(_, d, _)| of(d));
    let y = Axis::log_millis(
        ends(Distribution::min).min().map_or(budget, Micros::as_millis_f64).min(budget / 3.0),
        ends(Distribution::max).max().map_or(budget, Micros::as_millis_f64).max(budget * 1.2),
        "TTFA, ms",
    );
    let mut keys: Vec<_> = curves.iter().map(|(name, _, ink)| key(name, *ink)).collect();
    keys.push(key("budget 300 ms", GREEN));
    let title = "What the network cost: TTFA by group";
    let mut spots = Spots::default();
    let svg = svg(470, title, |area| {
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        spots.columns(&plot, columns(end, curves.iter().map(|(name, d, _)| (name.as_str(), d))));
        let budget = y.log(BUDGET.0);
        plot.draw_series([PathElement::new([(0.0, budget), (end, budget)], GREEN.light.stroke_width(2))])
            .map_err(super::say)?;
        for (_, d, ink) in &curves {
            line(&mut plot, curve(d, &y).into_iter().map(Some), *ink, 3, false)?;
        }
        Ok(())
    })?;
    let mut caption = "Devices with different networks, in the same run against the same server.".to_owned();
    if network.groups.iter().any(|g| g.control) {
        caption += " Between a group and the control group, whose network is left alone, lies what the network cost.";
    }
    if network.groups.len() > curves.len() {
        caption += " Groups without turns, and those after the fifth, are left out.";
    }
    Ok(Some(Chart { name: "ttfa-by-group", title, caption, svg, spots }))
}

/// Ticks of an axis that ends at the percentile 1 − 10^−`end`.
pub(super) fn marks(end: f64) -> Vec<(f64, String)> {
    let all = MARKS.into_iter().map(|(label, above)| (-f64::log10(above), label.to_owned()));
    all.filter(|(at, _)| *at <= end).collect()
}

/// Values of some distributions along an axis of percentiles that ends at 1 − 10^−`end`.
pub(super) fn columns<'a>(
    end: f64,
    of: impl Iterator<Item = (&'a str, &'a Distribution)> + Clone,
) -> Vec<(f64, String)> {
    let steps = (end * f64::from(COLUMNS)).ceil().max(1.0) as u32;
    let column = |i: u32| {
        let x = end * f64::from(i) / f64::from(steps);
        let above = 10_f64.powf(-x);
        let mut lines = vec![format!("{:.*} % of turns within", x as usize, 100.0 * (1.0 - above))];
        for (name, d) in of.clone() {
            match d.quantile(1.0 - above) {
                Some(Quantile::Finite(t)) => lines.push(format!("{name} {t}")),
                Some(Quantile::Infinite) => lines.push(format!("{name} ∞")),
                None => {}
            }
        }
        (x, lines.join("\n"))
    };
    (0..=steps).map(column).collect()
}

/// The curve of a distribution: from its smallest sample to its last, or out through the top at the first failure.
pub(super) fn curve(d: &Distribution, y: &Axis) -> Vec<(f64, f64)> {
    let end = (d.count() as f64).log10();
    let steps = (end * f64::from(POINTS)).ceil().max(1.0) as u32;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for i in 0..=steps {
        let x = end * f64::from(i) / f64::from(steps);
        match d.quantile(1.0 - 10_f64.powf(-x)) {
            Some(Quantile::Finite(t)) => points.push((x, y.log(t.0))),
            Some(Quantile::Infinite) => {
                // Straight up at the share of failures, not at the next point of the grid.
                let at = -(d.infinite_count() as f64 / d.count() as f64).log10();
                let level = points.last().map_or(y.to, |(_, level)| *level);
                points.extend([(at, level), (at, y.to)]);
                break;
            }
            None => break,
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis::log_millis(10.0, 10_000.0, "")
    }

    #[test]
    fn failures_leave_through_the_top() {
        let mut d = Distribution::default();
        (0..90).for_each(|_| d.record(Micros::from_millis(100)));
        let flat = curve(&d, &axis());
        assert!(flat.iter().all(|(_, y)| (y - 2.0).abs() < 0.001), "{flat:?}");
        (0..10).for_each(|_| d.record_infinite());
        let up = curve(&d, &axis());
        let (x, y) = *up.last().unwrap();
        assert!((x - 1.0).abs() < 1e-9 && y == 4.0, "{up:?}");
    }

    #[test]
    fn only_failures_is_a_wall_at_the_left() {
        let mut d = Distribution::default();
        d.record_infinite();
        d.record_infinite();
        assert_eq!(curve(&d, &axis()), [(0.0, 4.0), (0.0, 4.0)]);
    }
}
