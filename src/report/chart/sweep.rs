//! A sweep: latency against bandwidth with the front that no cell beats, and a map of every cell.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{
    Area, Axis, BLUE, Chart, FAINT, GREEN, Ink, ORANGE, PURPLE, Spots, TEXT, font, line, plot, say, svg,
    write,
};
use crate::sweep::Sweep;
use crate::sweep::document::Cell;
use crate::sweep::judge::bandwidth;
use crate::sweep::plan::ANY;

/// Colours of the values of the first axis.
const INKS: [Ink; 4] = [BLUE, ORANGE, GREEN, PURPLE];

/// Steps of a map from good to bad; the last two take light text. None of them is a colour that turns dark.
const STEPS: [RGBColor; 6] = [
    RGBColor(0xe4, 0xf1, 0xfa),
    RGBColor(0xbd, 0xdc, 0xf0),
    RGBColor(0x8f, 0xc1, 0xe3),
    RGBColor(0x5a, 0xa0, 0xd0),
    RGBColor(0x1f, 0x6f, 0xa8),
    RGBColor(0x0b, 0x45, 0x70),
];
const ON_LIGHT: RGBColor = RGBColor(0x10, 0x14, 0x19);
const ON_DARK: RGBColor = RGBColor(0xfd, 0xfd, 0xfd);

/// Most rows of a map.
const MOST_ROWS: usize = 24;

/// Both charts, as far as there is something to draw; and what went wrong.
pub(crate) fn sweep(s: &Sweep) -> (Vec<Chart>, Vec<String>) {
    let (mut charts, mut problems) = (Vec::new(), Vec::new());
    for draw in [pareto, heat] {
        match draw(s) {
            Ok(Some(chart)) => charts.push(chart),
            Ok(None) => {}
            Err(e) => problems.push(format!("a chart cannot be drawn: {e}")),
        }
    }
    (charts, problems)
}

/// A cell in the picture: kbit/s, ms after the fastest.
fn points(s: &Sweep) -> Vec<(&Cell, f64, f64)> {
    let measured = || s.cells.iter().filter_map(|c| Some((c, c.measured.as_ref()?)));
    let fastest = measured().filter_map(|(_, m)| m.ttfa_mean_us).fold(f64::INFINITY, f64::min);
    measured()
        .filter_map(|(c, m)| Some((c, bandwidth(m), (m.ttfa_mean_us? - fastest) / 1e3)))
        .filter(|(_, kbps, _)| *kbps > 0.0)
        .collect()
}

fn pareto(s: &Sweep) -> Result<Option<Chart>, String> {
    let points = points(s);
    if points.len() < 2 {
        return Ok(None);
    }
    let title = "Latency against bandwidth";
    let least = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let slowest = points.iter().map(|p| p.2).fold(0.0, f64::max);
    let x = Axis::log_millis(least * 0.9, most * 1.1, "kbit/s on the wire, up and down");
    let y = Axis::linear(slowest.max(1.0) * 1.08, "ms later than the fastest (mean TTFA)");
    // The axis counts thousands of what it is given.
    let at = |kbps: f64, ms: f64| (x.log((kbps * 1e3) as i64), ms);
    let mut spots = Spots::default();
    let drawing = svg(500, title, |area| {
        legend(area, s)?;
        let mut plot = plot(area, &x, &y)?;
        let on_front = s.front.iter().filter_map(|n| points.iter().find(|p| p.0.number == *n));
        let mut steps: Vec<Option<(f64, f64)>> = Vec::new();
        for (_, kbps, ms) in on_front {
            // Nothing is promised between two cells: the front is a staircase.
            if let Some(Some((_, before))) = steps.last().copied() {
                steps.push(Some((at(*kbps, *ms).0, before)));
            }
            steps.push(Some(at(*kbps, *ms)));
        }
        line(&mut plot, steps, FAINT, 2, true)?;
        for (cell, kbps, ms) in &points {
            let ink = ink_of(s, cell);
            let place = at(*kbps, *ms);
            let best = s.recommendation.is_some_and(|r| r.cell == cell.number);
            spots.dot(&plot, place, told(cell));
            plot.draw_series([Circle::new(place, 6, ink.light.filled())]).map_err(say)?;
            if best {
                plot.draw_series([Circle::new(place, 11, TEXT.light.stroke_width(2))]).map_err(say)?;
            }
            let text = if best {
                format!("{} ★ {}", cell.number, short(s, cell))
            } else {
                cell.number.to_string()
            };
            let style = font(if best { 18 } else { 15 }, if best { TEXT } else { FAINT });
            // The recommended one is often at the left edge, and others at the right.
            let right = (place.0 - x.from) / (x.to - x.from) > 0.75;
            let (side, dx) = if right { (HPos::Right, -10) } else { (HPos::Left, 10) };
            let style = style.pos(Pos::new(side, VPos::Bottom));
            plot.draw_series([EmptyElement::at(place) + Text::new(text, (dx, -4), style)]).map_err(say)?;
        }
        Ok(())
    })?;
    let best = s.recommendation.and_then(|r| s.cells.iter().find(|c| c.number == r.cell));
    let ring = best.map_or_else(String::new, |c| format!(" The ring is what is recommended: {}.", c.label));
    Ok(Some(Chart {
        name: "pareto",
        title,
        caption: format!(
            "Every cell by its number in the tables; down and to the left is better. Cells on the dashed line are beaten by no \
             other in both.{ring}"
        ),
        svg: drawing,
        spots,
    }))
}

/// A cell in full.
fn told(cell: &Cell) -> String {
    let mut text = format!("{}: {}", cell.number, cell.label);
    if let Some(m) = &cell.measured {
        let _ = write!(text, "\n{:.1} kbit/s, up and down", bandwidth(m));
        if let Some(us) = m.ttfa_mean_us {
            let _ = write!(text, "\nTTFA {:.1} ms, mean", us / 1e3);
        }
    }
    if let Some(q) = cell.speech.quality {
        let _ = write!(text, "\ndistortion {:.1} dB", q.spectral_distance_db);
    }
    text
}

/// The values of a cell.
fn short(s: &Sweep, cell: &Cell) -> String {
    let several = s.axes.iter().map(|a| a.values.len() > 1);
    let values = cell.values.iter().zip(several).filter(|(_, several)| *several).map(|(v, _)| v.as_str());
    values.filter(|v| *v != ANY).collect::<Vec<_>>().join(" ")
}

/// The first axis with several values gives the colour.
fn coloured(s: &Sweep) -> Option<usize> {
    s.axes.iter().position(|a| a.values.len() > 1 && a.values.len() <= INKS.len())
}

fn ink_of(s: &Sweep, cell: &Cell) -> Ink {
    let value = coloured(s).and_then(|i| {
        let value = cell.values.get(i)?;
        s.axes.get(i)?.values.iter().position(|v| v == value)
    });
    INKS.get(value.unwrap_or(0)).copied().unwrap_or(BLUE)
}

fn legend(area: &Area<'_>, s: &Sweep) -> Result<(), String> {
    let Some(axis) = coloured(s).and_then(|i| s.axes.get(i)) else { return Ok(()) };
    let mut x = 84;
    for (value, ink) in axis.values.iter().zip(INKS) {
        area.draw(&Circle::new((x, 10), 6, ink.light.filled())).map_err(say)?;
        write(area, value, (x + 14, 2), 17, TEXT, HPos::Left)?;
        x += 14 + (value.chars().count() as f64 * 8.0) as i32 + 26;
    }
    Ok(())
}

/// What a map shows: its heading, and the number of a cell with its text.
type Layer = (&'static str, fn(&Cell) -> Option<(f64, String)>);

const LAYERS: [Layer; 3] = [
    ("TTFA, mean, ms", |c| {
        let us = c.measured.as_ref()?.ttfa_mean_us?;
        Some((us, format!("{:.0}", us / 1e3)))
    }),
    ("kbit/s, up and down", |c| {
        let kbps = bandwidth(c.measured.as_ref()?);
        // A factor of two looks the same wherever it is.
        Some((kbps.max(0.1).ln(), format!("{kbps:.0}")))
    }),
    ("distortion, dB", |c| {
        let db = c.speech.quality?.spectral_distance_db;
        Some((db, format!("{db:.1}")))
    }),
];

/// A map of all cells, where there are at least two axes: the last across, all others down.
fn heat(s: &Sweep) -> Result<Option<Chart>, String> {
    let several: Vec<usize> =
        s.axes.iter().enumerate().filter(|(_, a)| a.values.len() > 1).map(|(i, _)| i).collect();
    let Some((&across, down)) = several.split_last().filter(|(_, down)| !down.is_empty()) else {
        return Ok(None);
    };
    let Some(columns) = s.axes.get(across) else { return Ok(None) };
    let row_of = |c: &Cell| -> String {
        let values = down.iter().filter_map(|i| c.values.get(*i).map(String::as_str));
        values.filter(|v| *v != ANY).collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = Vec::new();
    for c in &s.cells {
        let row = row_of(c);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    if rows.len() > MOST_ROWS || columns.values.len() > 12 || s.cells.iter().all(|c| c.measured.is_none()) {
        return Ok(None);
    }
    let layers: Vec<_> = LAYERS.iter().filter(|(_, of)| s.cells.iter().any(|c| of(c).is_some())).collect();
    let title = "Every cell";
    let labels = rows.iter().map(|r| r.chars().count()).max().unwrap_or(0) as i32 * 8 + 24;
    let labels = labels.clamp(60, 260);
    let width = (944 - labels) / i32::try_from(layers.len().max(1)).unwrap_or(1) - 18;
    let (w, h) = (width / i32::try_from(columns.values.len()).unwrap_or(1).max(1), 34);
    let height = 36 + 62 + h * i32::try_from(rows.len()).unwrap_or(1) + 12;
    let mut spots = Spots::default();
    let drawing = svg(u32::try_from(height).unwrap_or(200), title, |area| {
        for (r, row) in rows.iter().enumerate() {
            let y = 58 + h * r as i32;
            write(area, row, (labels - 8, y + 8), 16, TEXT, HPos::Right)?;
        }
        for (l, (heading, of)) in layers.iter().enumerate() {
            let left = labels + (width + 18) * l as i32;
            write(area, heading, (left, 4), 17, TEXT, HPos::Left)?;
            let all: Vec<f64> = s.cells.iter().filter_map(|c| of(c).map(|(v, _)| v)).collect();
            let (low, high) = (
                all.iter().copied().fold(f64::INFINITY, f64::min),
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            );
            for (c, value) in columns.values.iter().enumerate() {
                let x = left + w * c as i32;
                write(area, value, (x + w / 2, 32), 15, FAINT, HPos::Center)?;
                for (r, row) in rows.iter().enumerate() {
                    // Where the value makes no difference, one cell stands for all of the row.
                    let of_column = |k: &&Cell| k.values.get(across).is_some_and(|v| v == value || v == ANY);
                    let cell = s.cells.iter().filter(of_column).find(|k| row_of(k) == *row);
                    if let Some(cell) = cell {
                        let y = 58 + h * r as i32;
                        spots.rect(area, (x, y), (x + w, y + h), told(cell));
                    }
                    square(area, (x, 58 + h * r as i32), (w, h), cell, *of, (low, high), s)?;
                }
            }
        }
        Ok(())
    })?;
    let name = |i: &usize| s.axes.get(*i).map_or("", |a| a.key.as_str());
    let caption = format!(
        "{} across, {} down; lighter is better. The frame is what is recommended.",
        name(&across),
        down.iter().map(name).collect::<Vec<_>>().join(" and ")
    );
    Ok(Some(Chart { name: "heat", title, caption, svg: drawing, spots }))
}

fn square(
    area: &Area<'_>,
    (x, y): (i32, i32),
    (w, h): (i32, i32),
    cell: Option<&Cell>,
    of: fn(&Cell) -> Option<(f64, String)>,
    (low, high): (f64, f64),
    s: &Sweep,
) -> Result<(), String> {
    let middle = (x + w / 2, y + 8);
    let Some((cell, (value, text))) = cell.and_then(|c| Some((c, of(c)?))) else {
        return write(area, "–", middle, 16, FAINT, HPos::Center);
    };
    let share = if high > low { (value - low) / (high - low) } else { 0.0 };
    let step = ((share * STEPS.len() as f64) as usize).min(STEPS.len() - 1);
    let Some(fill) = STEPS.get(step) else { return Ok(()) };
    let best = s.recommendation.is_some_and(|r| r.cell == cell.number);
    area.draw(&Rectangle::new([(x + 1, y + 1), (x + w - 1, y + h - 1)], fill.filled())).map_err(say)?;
    if best {
        let frame = Rectangle::new([(x + 1, y + 1), (x + w - 1, y + h - 1)], ORANGE.light.stroke_width(3));
        area.draw(&frame).map_err(say)?;
    }
    let ink = if step + 2 >= STEPS.len() { ON_DARK } else { ON_LIGHT };
    let style = ("sans-serif", 16).into_font().color(&ink).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw_text(&text, &style, middle).map_err(say)
}
