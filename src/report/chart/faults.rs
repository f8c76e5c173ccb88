//! When faults began, on the time axis below another chart: one line a cause, so that no name lies on another.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Axis, FAINT, GRID, PURPLE, Plot, RIGHT, TEXT, WIDTH, say, write};
use crate::report::result::{FaultMark, RunResult};
use crate::report::text::one_line;

/// Height of a cause, and of its marks, largest and smallest; the space above the first.
const ROW: i32 = 20;
const MARK: i32 = 15;
const LEAST: i32 = 3;
const HEAD: i32 = 24;

/// Causes with a line of their own; the rarer ones share one.
const CAUSES: usize = 5;

/// Longest name that is written.
const NAME: usize = 15;

/// Space on the left of the plot, with names and without.
const LEFT: [u32; 2] = [136, super::LEFT];

/// The band below a chart: nothing when there were no faults.
pub(super) struct Band<'a> {
    lines: Vec<(String, Vec<&'a FaultMark>)>,
    storms: Vec<f64>,
}

impl<'a> Band<'a> {
    pub(super) fn of(r: &'a RunResult) -> Self {
        let Some(network) = &r.network else { return Self { lines: Vec::new(), storms: Vec::new() } };
        let mut lines: Vec<(String, Vec<&FaultMark>)> = Vec::new();
        for m in &network.timeline {
            match lines.iter_mut().find(|(cause, _)| *cause == m.cause) {
                Some((_, marks)) => marks.push(m),
                None => lines.push((m.cause.clone(), vec![m])),
            }
        }
        let total = |marks: &[&FaultMark]| marks.iter().map(|m| m.began).fold(0, u64::saturating_add);
        lines.sort_by(|a, b| total(&b.1).cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
        if lines.len() > CAUSES {
            let rest = lines.split_off(CAUSES - 1).into_iter().flat_map(|(_, marks)| marks).collect();
            lines.push(("others".to_owned(), rest));
        }
        Self { lines, storms: network.storms.iter().map(|s| s.at_us as f64 / 1e6).collect() }
    }

    pub(super) fn height(&self) -> u32 {
        if self.lines.is_empty() { 0 } else { (HEAD + ROW * self.lines.len() as i32 + 6).unsigned_abs() }
    }

    /// Where plots above it begin.
    pub(super) fn left(&self) -> u32 {
        LEFT[usize::from(self.lines.is_empty())]
    }

    /// Names and marks.
    pub(super) fn draw(&self, area: &Area<'_>, x: &Axis) -> Result<(), String> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (left, right) = (self.left() as i32, (WIDTH - RIGHT) as i32);
        let px = |us: i64| {
            let share = (us as f64 / 1e6 / x.to).clamp(0.0, 1.0);
            left + (f64::from(right - left) * share).round() as i32
        };
        let all = self.lines.iter().flat_map(|(_, marks)| marks);
        let most = all.map(|m| m.began).max().unwrap_or(1).max(1);
        write(area, "faults that began", (left, 2), 16, FAINT, HPos::Left)?;
        for (i, (cause, marks)) in self.lines.iter().enumerate() {
            let foot = HEAD + ROW * (i as i32 + 1) - 3;
            let name: String = one_line(cause).chars().take(NAME).collect();
            write(area, &name, (left - 10, foot - 14), 16, TEXT, HPos::Right)?;
            let rule = PathElement::new([(left, foot), (right, foot)], GRID.light.stroke_width(1));
            area.draw(&rule).map_err(say)?;
            for m in marks {
                // On a log scale, the same for all causes: one can be seen beside a thousand.
                let share = (m.began as f64).ln_1p() / (most as f64).ln_1p();
                let height = LEAST + (f64::from(MARK - LEAST) * share).round() as i32;
                let from = px(m.start_us);
                let to = px(m.start_us.saturating_add(m.width_us)).max(from + 3) - 1;
                let mark = Rectangle::new([(from, foot - height), (to, foot)], PURPLE.light.filled());
                area.draw(&mark).map_err(say)?;
            }
        }
        Ok(())
    }

    /// A line through a plot at each storm.
    pub(super) fn storms(&self, plot: &mut Plot<'_, '_>, (from, to): (f64, f64)) -> Result<(), String> {
        for &at in &self.storms {
            super::line(plot, [Some((at, from)), Some((at, to))], PURPLE, 1, true)?;
        }
        Ok(())
    }

    /// What to know about it.
    pub(super) fn note(&self) -> String {
        let mut text = String::new();
        if !self.lines.is_empty() {
            text += " Below: when faults began, by cause; the taller the more.";
        }
        if !self.storms.is_empty() {
            text += " A dashed line upright is a storm, where many devices were cut at once.";
        }
        text
    }
}
