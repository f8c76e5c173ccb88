//! A calibration: how late timers wake, and how many devices can be driven by chunk size.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{
    Area, Axis, BLUE, Chart, FAINT, GREEN, GRID, Ink, ORANGE, Spots, TEXT, dashed, key, legend, line, plot,
    say, svg, write,
};
use crate::calibrate::document::{Calibration, Capacity, Wakeups};
use crate::measure::Distribution;
use crate::report::text::{chosen, count};

/// Width of the left half.
const HALF: i32 = 520;

/// Where the bars stand: their foot, and their greatest height.
const FOOT: i32 = 316;
const HEIGHT: i32 = 250;

/// Points of a curve for each factor of ten.
const POINTS: u32 = 25;

const MARKS: [(&str, f64); 5] =
    [("0 %", 0.0), ("50 %", std::f64::consts::LOG10_2), ("90 %", 1.0), ("99 %", 2.0), ("99.9 %", 3.0)];

/// The chart; `None` when neither was measured.
pub(crate) fn calibration(c: &Calibration) -> Result<Option<Chart>, String> {
    let title = match (&c.wakeups, &c.capacity) {
        (Some(_), Some(_)) => "How late timers wake, and how many devices can be driven",
        (Some(_), None) => "How late timers wake",
        (None, Some(_)) => "How many devices can be driven",
        (None, None) => return Ok(None),
    };
    let mut spots = Spots::default();
    let svg = svg(420, title, |area| {
        let (left, right) = area.split_horizontally(HALF);
        if let Some(w) = &c.wakeups {
            wakeups(&left, w, &mut spots)?;
        }
        if let Some(capacity) = &c.capacity {
            bars(if c.wakeups.is_some() { &right } else { &left }, capacity, &mut spots)?;
        }
        Ok(())
    })?;
    let mut caption = String::new();
    if c.wakeups.is_some() {
        caption += "Left: the slowest share of wake-ups, planned → awake; dashed, the kernel's own sleep at the same time. ";
    }
    if c.capacity.is_some() {
        caption += "Bars: the largest number of devices of a short run that stayed VALID, with the embedded server on the \
                    same cores; the line above, the smallest that did not.";
    }
    Ok(Some(Chart { name: "calibration", title, caption: caption.trim_end().to_owned(), svg, spots }))
}

fn wakeups(area: &Area<'_>, w: &Wakeups, spots: &mut Spots) -> Result<(), String> {
    let mut curves: Vec<(Distribution, Ink, bool)> = Vec::new();
    for r in &w.rounds {
        let ink = if r.devices == 0 { BLUE } else { ORANGE };
        curves.push((Distribution::from_result(&r.timer)?, ink, false));
        curves.push((Distribution::from_result(&r.kernel)?, ink, true));
    }
    let marks = MARKS.iter().map(|(label, at)| (*at, (*label).to_owned())).collect();
    let x = Axis { from: 0.0, to: 3.0, ticks: marks, title: "percentile of wake-ups" };
    let most = curves.iter().filter_map(|(d, ..)| d.max()).max().map_or(1, |t| t.0);
    // The axis counts thousands of what it is given: here of nanoseconds.
    let y = Axis::log_millis(10.0, most as f64, "µs late");
    legend(area, &[key("idle", BLUE), key("many devices", ORANGE), dashed("kernel's sleep", FAINT)])?;
    let mut plot = plot(area, &x, &y)?;
    let column = |i: u32| {
        let at = f64::from(i) / 8.0;
        let mut text = format!("{:.*} % of wake-ups within", at as usize, 100.0 * (1.0 - 10_f64.powf(-at)));
        for r in &w.rounds {
            for (name, m) in [("", &r.timer), (", kernel's sleep", &r.kernel)] {
                let late = Distribution::from_result(m).ok()?.finite_quantile(1.0 - 10_f64.powf(-at))?;
                let _ = write!(text, "\n{} devices{name}: {late}", count(r.devices.into()));
            }
        }
        Some((at, text))
    };
    spots.columns(&plot, (0..=24).filter_map(column));
    for (d, ink, dash) in &curves {
        let points = (0..=3 * POINTS).map(|i| {
            let at = f64::from(i) / f64::from(POINTS);
            let late = d.finite_quantile(1.0 - 10_f64.powf(-at))?;
            Some((at, y.log(late.0.max(10) * 1_000)))
        });
        line(&mut plot, points, *ink, 2, *dash)?;
    }
    Ok(())
}

fn bars(area: &Area<'_>, capacity: &Capacity, spots: &mut Spots) -> Result<(), String> {
    write(area, "devices, by audio per message", (70, 3), 18, TEXT, HPos::Left)?;
    let points = &capacity.points;
    let most = points.iter().map(|p| p.too_many.max(p.devices).unwrap_or(0)).max().unwrap_or(0);
    let axis = Axis::linear(f64::from(most).max(10.0), "");
    let px = |n: f64| FOOT - (n / axis.to * f64::from(HEIGHT)).round() as i32;
    for (v, _) in &axis.ticks {
        let rule = PathElement::new([(64, px(*v)), (420, px(*v))], GRID.light.stroke_width(1));
        area.draw(&rule).map_err(say)?;
        write(area, &count(*v as u64), (58, px(*v) - 8), 16, FAINT, HPos::Right)?;
    }
    let step = 356 / i32::try_from(points.len().max(1)).unwrap_or(1);
    for (i, p) in points.iter().enumerate() {
        let (x, width) = (64 + step * i as i32 + step / 5, step * 3 / 5);
        let devices = p.devices.unwrap_or(0);
        let top = px(f64::from(devices)).min(FOOT - 1);
        area.draw(&Rectangle::new([(x, top), (x + width, FOOT)], GREEN.light.filled())).map_err(say)?;
        let known = |n: Option<u32>| n.map_or_else(|| "–".to_owned(), |n| count(n.into()));
        let text = format!(
            "{} per message\n{} devices were VALID\n{} were too many",
            chosen(p.chunk_us),
            known(p.devices),
            known(p.too_many)
        );
        spots.rect(area, (x, FOOT - HEIGHT), (x + width, FOOT + 46), text);
        if let Some(n) = p.too_many {
            let y = px(f64::from(n));
            let rule = PathElement::new([(x, y), (x + width, y)], ORANGE.light.stroke_width(2));
            area.draw(&rule).map_err(say)?;
        }
        write(
            area,
            &p.devices.map_or_else(|| "–".to_owned(), |n| count(n.into())),
            (x + width / 2, FOOT + 6),
            18,
            TEXT,
            HPos::Center,
        )?;
        write(area, &chosen(p.chunk_us), (x + width / 2, FOOT + 28), 17, FAINT, HPos::Center)?;
    }
    Ok(())
}
