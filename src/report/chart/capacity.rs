//! The charts of a capacity: TTFA and turns per second against the load, with the budget and the answer.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{
    Axis, BLUE, Chart, FAINT, GREEN, Ink, Key, ORANGE, PURPLE, Plot, Spots, TEXT, dashed, key, legend, line,
    plot, say, svg, write,
};
use crate::capacity::CapacityReport;
use crate::capacity::document::{LoadUnit, TrialResult};
use crate::report::text::{count, span};

/// The charts that there are probes for.
pub(crate) fn capacity(r: &CapacityReport) -> Result<Vec<Chart>, String> {
    let mut trials: Vec<&TrialResult> =
        r.trials.iter().filter(|t| t.verdict != "invalid" && t.turns > 0).collect();
    trials.sort_by(|a, b| a.load.total_cmp(&b.load));
    let mut charts = Vec::new();
    if trials.is_empty() {
        return Ok(charts);
    }
    charts.extend(latency(r, &trials)?);
    charts.extend(throughput(r, &trials)?);
    Ok(charts)
}

fn loads(r: &CapacityReport, trials: &[&TrialResult]) -> Axis {
    let most = trials.iter().map(|t| t.load).fold(0.0, f64::max);
    let title = match r.unit {
        LoadUnit::Devices => "devices",
        LoadUnit::Sessions => "sessions per second",
    };
    Axis::in_steps(most * 1.05, 8.0, title)
}

fn latency(r: &CapacityReport, trials: &[&TrialResult]) -> Result<Option<Chart>, String> {
    let times: Vec<i64> = trials
        .iter()
        .flat_map(|t| [t.ttfa_p50_us, t.ttfa_p95_us, t.ttfa_p99_us])
        .flatten()
        .chain(r.budgets.iter().filter_map(|b| b.ttfa_limit_us))
        .collect();
    let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) else { return Ok(None) };
    let x = loads(r, trials);
    let y = Axis::log_millis(*least as f64 / 1e3, *most as f64 / 1e3, "ms");
    let title = "Time to first audio, by load";
    let mut spots = Spots::default();
    let svg = svg(470, title, |area| {
        let mut keys = vec![key("p50", GREEN), key("p95", BLUE), dashed("budget", ORANGE)];
        if trials.iter().any(|t| t.ttfa_p99_us.is_some()) {
            keys.insert(2, dashed("p99", PURPLE));
        }
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        answer(&mut plot, r, &y)?;
        for (ink, dash, get) in LINES {
            // Runs of one load are points of their own; the line runs through their medians.
            let at = |t: &&TrialResult| get(t).map(|us| (t.load, y.log(us)));
            line(&mut plot, medians(trials.iter().filter_map(at)).map(Some), ink, 2, dash)?;
            let dots = trials.iter().filter_map(at).map(|p| Circle::new(p, 4, ink.light.filled()));
            plot.draw_series(dots).map_err(say)?;
        }
        for t in trials {
            for us in [t.ttfa_p99_us, t.ttfa_p50_us, t.ttfa_p95_us].into_iter().flatten() {
                spots.dot(&plot, (t.load, y.log(us)), told(r, t));
            }
        }
        for limit in r.budgets.iter().filter_map(|b| b.ttfa_limit_us) {
            line(&mut plot, [Some((x.from, y.log(limit))), Some((x.to, y.log(limit)))], ORANGE, 2, true)?;
        }
        label(area, r, &x)
    })?;
    let caption = "Each dot is a probe, a run of its own; lines run through the medians of each load. The shaded band is the 95 % interval \
                   of the answer. A percentile that so many turns failed that it is one of them has no dot."
        .to_owned();
    Ok(Some(Chart { name: "capacity", title, caption, svg, spots }))
}

type Get = fn(&TrialResult) -> Option<i64>;
const LINES: [(Ink, bool, Get); 3] =
    [(PURPLE, true, |t| t.ttfa_p99_us), (GREEN, false, |t| t.ttfa_p50_us), (BLUE, false, |t| t.ttfa_p95_us)];

fn throughput(r: &CapacityReport, trials: &[&TrialResult]) -> Result<Option<Chart>, String> {
    let most = trials.iter().map(|t| t.turn_rate).fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(None);
    }
    let x = loads(r, trials);
    let y = Axis::linear(most * 1.1, "turns per second");
    let title = "Turns per second, by load";
    let mut keys: Vec<Key<'_>> = vec![key("seen", BLUE)];
    if r.scalability.is_some() {
        keys.push(dashed("scalability law, fitted", FAINT));
    }
    let mut spots = Spots::default();
    let svg = svg(380, title, |area| {
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        answer(&mut plot, r, &y)?;
        if let Some(s) = r.scalability {
            let law = crate::capacity::fit::Scalability { lambda: s.lambda, sigma: s.sigma, kappa: s.kappa };
            let points =
                (1..=100).map(|i| x.to * f64::from(i) / 100.0).map(|n| Some((n, law.at(n).min(y.to))));
            line(&mut plot, points, FAINT, 2, true)?;
        }
        trials.iter().for_each(|t| spots.dot(&plot, (t.load, t.turn_rate), told(r, t)));
        let at = |t: &&TrialResult| (t.load, t.turn_rate);
        line(&mut plot, medians(trials.iter().map(at)).map(Some), BLUE, 2, false)?;
        let dots = trials.iter().map(at).map(|p| Circle::new(p, 4, BLUE.light.filled()));
        plot.draw_series(dots).map_err(say)?;
        label(area, r, &x)
    })?;
    let caption = if r.scalability.is_some() {
        "Turns begun per second. The dashed line is the Universal Scalability Law, fitted to the dots: for the eye, no verdict rests on it."
    } else {
        "Turns begun per second."
    };
    Ok(Some(Chart { name: "throughput", title, caption: caption.to_owned(), svg, spots }))
}

/// A probe in full.
fn told(r: &CapacityReport, t: &TrialResult) -> String {
    format!(
        "probe {}: {}, {}\nTTFA p50 {}, p95 {}, p99 {}\n{:.1} turns per second\n{} of {} turns failed",
        t.number,
        r.unit.text(t.load),
        t.verdict,
        span(t.ttfa_p50_us),
        span(t.ttfa_p95_us),
        span(t.ttfa_p99_us),
        t.turn_rate,
        count(t.failed),
        count(t.turns)
    )
}

/// The interval as a band.
fn answer(plot: &mut Plot<'_, '_>, r: &CapacityReport, y: &Axis) -> Result<(), String> {
    let Some(a) = r.answer else { return Ok(()) };
    let band = Rectangle::new([(a.low, y.from), (a.high, y.to)], GREEN.light.mix(0.14).filled());
    plot.draw_series([band]).map_err(say)?;
    line(plot, [Some((a.load, y.from)), Some((a.load, y.to))], GREEN, 1, false)
}

/// The answer in words, above its band.
fn label(area: &super::Area<'_>, r: &CapacityReport, x: &Axis) -> Result<(), String> {
    let Some(a) = r.answer else { return Ok(()) };
    // Where `plot` puts its axes: 78 from the left, 24 from the right.
    let width = f64::from(super::WIDTH) - 78.0 - 24.0;
    let at = 78.0 + width * (a.load / x.to).clamp(0.0, 1.0);
    let (side, shift) = if a.load > x.to * 0.7 { (HPos::Right, -8) } else { (HPos::Left, 8) };
    write(area, &r.unit.text(a.load), (at as i32 + shift, 34), 17, TEXT, side)
}

/// One point a load.
fn medians(points: impl Iterator<Item = (f64, f64)>) -> impl Iterator<Item = (f64, f64)> {
    let mut loads: Vec<(f64, Vec<f64>)> = Vec::new();
    for (load, value) in points {
        match loads.last_mut() {
            Some((at, values)) if *at == load => values.push(value),
            _ => loads.push((load, vec![value])),
        }
    }
    loads.into_iter().filter_map(|(load, mut values)| {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let low = values.get(if values.len() % 2 == 0 { middle.checked_sub(1)? } else { middle })?;
        Some((load, (low + values.get(middle)?) / 2.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::sample;

    #[test]
    fn both_are_drawn_with_budget_and_answer() {
        let charts = capacity(&sample::found()).unwrap();
        assert_eq!(charts.iter().map(|c| c.name).collect::<Vec<_>>(), ["capacity", "throughput"]);
        let answer = format!("{} devices", sample::found().answer.unwrap().load);
        for c in &charts {
            assert!(c.svg.contains(&answer), "{}", c.name);
        }
        assert!(charts[0].svg.contains("budget") && charts[1].svg.contains("scalability"));
        let empty = CapacityReport { trials: Vec::new(), ..sample::found() };
        assert_eq!(capacity(&empty).unwrap().len(), 0);
    }

    #[test]
    fn lines_run_through_medians() {
        let all =
            medians([(1.0, 5.0), (2.0, 9.0), (2.0, 1.0), (2.0, 3.0), (3.0, 2.0), (3.0, 4.0)].into_iter());
        assert_eq!(all.collect::<Vec<_>>(), [(1.0, 5.0), (2.0, 3.0), (3.0, 3.0)]);
    }
}
