//! What a prebuffer buys: stalls at each of the four.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Axis, BLUE, Chart, FAINT, GRID, Ink, ORANGE, Spots, TEXT, say, svg, write};
use crate::event::PREBUFFERS;
use crate::report::result::PlaybackResult;
use crate::report::text::{chosen, count, percent, span};
use crate::report::view::View;

/// Where the bars stand: their foot, and their greatest height.
const FOOT: i32 = 226;
const HEIGHT: i32 = 170;

pub(super) fn by_prebuffer(view: &View<'_>) -> Result<Option<Chart>, String> {
    let rows: Vec<&PlaybackResult> = view.result.playback.iter().filter(|p| p.replies > 0).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let title = "Stalls by prebuffer";
    let mut spots = Spots::default();
    let svg = svg(320, title, |area| {
        let (left, right) = area.split_horizontally(480);
        let replies = |p: &PlaybackResult| p.stalled_replies as f64 / p.replies as f64;
        let time =
            |p: &PlaybackResult| p.stalled_us as f64 / p.stalled_us.saturating_add(p.media_us).max(1) as f64;
        bars(&left, ("replies with a stall", BLUE), &rows, replies, &mut spots)?;
        bars(&right, ("stalled share of playback", ORANGE), &rows, time, &mut spots)
    })?;
    Ok(Some(Chart {
        name: "stalls",
        title,
        caption: format!(
            "A device that waits for some audio before it plays stalls less and answers later. All {} are computed from the \
             same replies.",
            PREBUFFERS.len()
        ),
        svg,
        spots,
    }))
}

fn bars(
    area: &Area<'_>,
    (title, ink): (&str, Ink),
    rows: &[&PlaybackResult],
    of: impl Fn(&PlaybackResult) -> f64,
    spots: &mut Spots,
) -> Result<(), String> {
    // Between 0 and 1 whatever a document says.
    let share = |p: &PlaybackResult| of(p).clamp(0.0, 1.0);
    write(area, title, (62, 3), 18, TEXT, HPos::Left)?;
    let most = rows.iter().map(|p| share(p)).fold(0.0, f64::max);
    let axis = Axis::linear(most.max(0.001) * 100.0, "");
    let px = |p: f64| FOOT - (p / axis.to * f64::from(HEIGHT)).round() as i32;
    for (v, label) in &axis.ticks {
        let rule = PathElement::new([(56, px(*v)), (456, px(*v))], GRID.light.stroke_width(1));
        area.draw(&rule).map_err(say)?;
        write(area, &format!("{label} %"), (50, px(*v) - 8), 16, FAINT, HPos::Right)?;
    }
    let step = 400 / rows.len() as i32;
    for (i, p) in rows.iter().enumerate() {
        let (x, width) = (56 + step * i as i32 + step / 5, step * 3 / 5);
        let value = share(p);
        let top = px(value * 100.0).min(FOOT - 1);
        area.draw(&Rectangle::new([(x, top), (x + width, FOOT)], ink.light.filled())).map_err(say)?;
        let text = format!(
            "prebuffer {}\n{} of {} replies stalled, {} in all\nTTFA p95 {}",
            chosen(p.prebuffer_us),
            count(p.stalled_replies),
            count(p.replies),
            span(Some(p.stalled_us)),
            span(p.ttfa_p95_us)
        );
        spots.rect(area, (x, 24), (x + width, FOOT), text);
        write(area, &percent(value), (x + width / 2, top - 18), 17, TEXT, HPos::Center)?;
        write(area, &chosen(p.prebuffer_us), (x + width / 2, FOOT + 8), 17, FAINT, HPos::Center)?;
    }
    write(area, "prebuffer", (256, FOOT + 30), 17, FAINT, HPos::Center)
}
