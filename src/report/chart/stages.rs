//! Where the time of a turn goes: each stage begins where the one before ends.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Axis, BLUE, Chart, FAINT, GRID, ORANGE, Spots, TEXT, WIDTH, say, svg, write};
use crate::report::text::{count, millis};
use crate::report::view::View;

/// Height of a stage, and of the bar in it.
const ROW: i32 = 40;
const BAR: i32 = 22;

/// Where the bars begin, and the space kept for numbers on their right.
const LEFT: i32 = 330;
const RIGHT: i32 = 90;

pub(super) fn waterfall(view: &View<'_>) -> Result<Option<Chart>, String> {
    let stages = &view.result.stages;
    let Some(turns) = stages.first().map(|s| s.turns) else {
        return Ok(None);
    };
    // Where each begins and ends, ms. A stage is negative when its second milestone tends to come first.
    let mut at = 0.0;
    let mut bars = Vec::new();
    for s in stages {
        let from = at;
        at += s.mean_us / 1e3;
        bars.push((s, from, at));
    }
    let least = bars.iter().map(|b| b.2).fold(0.0, f64::min);
    let most = bars.iter().map(|b| b.2).fold(1.0, f64::max);
    let axis = Axis::linear(most - least, "");
    let scale = f64::from(WIDTH as i32 - LEFT - RIGHT) / (most - least);
    let px = |ms: f64| LEFT + ((ms - least) * scale).round().clamp(0.0, f64::from(WIDTH)) as i32;

    let title = "Where the time of a turn goes";
    let height = ROW * bars.len() as i32;
    let mut spots = Spots::default();
    let svg = svg(height.unsigned_abs() + 92, title, |area| {
        for (v, label) in axis.ticks.iter().filter(|(v, _)| *v <= most) {
            let rule = PathElement::new([(px(*v), 4), (px(*v), height + 8)], GRID.light.stroke_width(1));
            area.draw(&rule).map_err(say)?;
            write(area, label, (px(*v), height + 14), 17, FAINT, HPos::Center)?;
        }
        for (i, (stage, from, to)) in bars.iter().enumerate() {
            let y = ROW * i as i32 + 8;
            let ink = if i % 2 == 0 { BLUE } else { ORANGE };
            let (left, right) = (px(from.min(*to)), px(from.max(*to)).max(px(from.min(*to)) + 2));
            area.draw(&Rectangle::new([(left, y), (right, y + BAR)], ink.light.filled())).map_err(say)?;
            let from_to = format!("{}\nfrom {from:.1} to {to:.1} ms, mean", stage.name);
            spots.rect(area, (0, y - 8), (WIDTH as i32, y + ROW - 8), from_to);
            write(area, &stage.name, (LEFT - 12, y + 4), 18, TEXT, HPos::Right)?;
            let value = format!("{} ms", millis(stage.mean_us.round() as i64));
            write(area, &value, (right + 8, y + 4), 18, TEXT, HPos::Left)?;
        }
        write(area, "ms after the end of speech", (LEFT, height + 33), 17, FAINT, HPos::Left)
    })?;
    Ok(Some(Chart {
        name: "stages",
        title,
        caption: format!(
            "Means over {} successful turns, so that the stages add up: to {} ms. Percentiles of stages would not.",
            count(turns),
            millis((at * 1e3).round() as i64)
        ),
        svg,
        spots,
    }))
}
