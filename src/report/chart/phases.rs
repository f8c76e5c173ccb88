//! The phases of a run, in a strip above the plots over time.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Axis, FAINT, GRID, Plot, RIGHT, TEXT, WIDTH, say, write};
use crate::report::result::{LoadPhase, RunResult};
use crate::report::text::{chosen, one_line};

/// Height of the strip, and of the band in it.
const HEIGHT: u32 = 26;
const BAND: i32 = 20;

/// Most phases that are drawn: a run with more stages has a line of devices to look at.
const MOST: usize = 12;

/// The strip of a run; nothing for runs that say no phases.
pub(super) struct Phases<'a>(Vec<&'a LoadPhase>);

impl<'a> Phases<'a> {
    pub(super) fn of(r: &'a RunResult) -> Self {
        let phases: Vec<_> = r.phases.iter().filter(|p| p.to_us > p.from_us).collect();
        Self(if phases.len() > MOST { Vec::new() } else { phases })
    }

    pub(super) fn height(&self) -> u32 {
        if self.0.is_empty() { 0 } else { HEIGHT }
    }

    /// The names, from `left` to the end of the plots below.
    pub(super) fn draw(&self, area: &Area<'_>, left: u32, x: &Axis) -> Result<(), String> {
        let (left, right) = (left as i32, (WIDTH - RIGHT) as i32);
        let px = |us: i64| {
            let share = (us as f64 / 1e6 / x.to).clamp(0.0, 1.0);
            left + (f64::from(right - left) * share).round() as i32
        };
        for p in &self.0 {
            let (from, to) = (px(p.from_us), px(p.to_us));
            if to <= from {
                continue;
            }
            area.draw(&Rectangle::new([(from + 1, 0), (to - 1, BAND)], GRID.light.filled())).map_err(say)?;
            let name = one_line(&p.name);
            let long = format!("{name}, {}", chosen(p.to_us.saturating_sub(p.from_us)));
            // No font at hand: about half an em a character.
            let fits = |text: &str| text.chars().count() as i32 * 8 + 6 <= to - from;
            if let Some(text) = [long, name].iter().find(|t| fits(t)) {
                write(area, text, ((from + to) / 2, 2), 15, TEXT, HPos::Center)?;
            }
        }
        Ok(())
    }

    /// A line through a plot where a phase begins.
    pub(super) fn borders(&self, plot: &mut Plot<'_, '_>, (from, to): (f64, f64)) -> Result<(), String> {
        for p in self.0.iter().filter(|p| p.from_us > 0) {
            let at = p.from_us as f64 / 1e6;
            super::line(plot, [Some((at, from)), Some((at, to))], FAINT, 1, true)?;
        }
        Ok(())
    }

    /// What they mean, where the strip has no room to say it.
    pub(super) fn note(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let spans: Vec<String> = self
            .0
            .iter()
            .map(|p| format!("{} {} to {}", one_line(&p.name), chosen(p.from_us), chosen(p.to_us)))
            .collect();
        format!(" Phases: {}.", spans.join(", "))
    }
}
