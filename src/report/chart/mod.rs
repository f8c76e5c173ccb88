//! Charts as SVG, drawn with plotters; the same drawings as PNG ([`Chart::png`]).
//!
//! The files stand on a light ground of their own. In the HTML page the same SVG is inlined, and [`dark_css`] swaps the
//! colours of the palette for those of the dark one: CSS outranks the attributes that plotters writes.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::view::View;

mod calibration;
mod capacity;
mod compared;
mod faults;
mod percentiles;
mod phases;
mod png;
pub(crate) mod sides;
mod spots;
mod stages;
mod stalls;
mod sweep;
mod timeline;
mod turns;

pub(crate) use calibration::calibration;
pub(crate) use capacity::capacity;
pub use compared::{Curve, compared};
pub(crate) use spots::Spots;
pub(crate) use sweep::sweep;

/// A finished chart.
pub(crate) struct Chart {
    /// File name without extension.
    pub(crate) name: &'static str,
    /// Heading.
    pub(crate) title: &'static str,
    /// What one sees, for a caption and for those who cannot see it.
    pub(crate) caption: String,
    /// The drawing.
    pub(crate) svg: String,
    /// What a pointer finds on it.
    pub(crate) spots: Spots,
}

impl Chart {
    /// The drawing without fixed size (the page scales it), with words for those who cannot see it, and with its spots.
    pub(crate) fn inlined(&self) -> String {
        let mut open = format!("<svg role=\"img\" aria-label=\"{}\" ", spots::escape(self.title));
        let spots = self.spots.attribute();
        if !spots.is_empty() {
            let _ = write!(open, "data-spots=\"{spots}\" ");
        }
        self.svg.replacen("<svg ", &open, 1)
    }

    /// The drawing as a PNG, on its light ground.
    pub(crate) fn png(&self) -> Result<Vec<u8>, String> {
        png::render(&self.svg).map_err(|e| format!("{}.png cannot be painted: {e}", self.name))
    }
}

/// Every chart that the run has data for.
pub(super) fn all(view: &View<'_>) -> (Vec<Chart>, Vec<String>) {
    let mut charts = Vec::new();
    let mut problems = Vec::new();
    for draw in [
        percentiles::latency,
        percentiles::groups,
        timeline::ttfa,
        timeline::load,
        stages::waterfall,
        turns::typical,
        stalls::by_prebuffer,
    ] {
        match draw(view) {
            Ok(Some(chart)) => charts.push(chart),
            Ok(None) => {}
            Err(e) => problems.push(format!("a chart cannot be drawn: {e}")),
        }
    }
    let (worst, more) = turns::worst(view);
    charts.extend(worst);
    problems.extend(more);
    (charts, problems)
}

/// A colour on light and on dark ground. Okabe and Ito's hues: told apart by the colour-blind.
#[derive(Clone, Copy)]
struct Ink {
    light: RGBColor,
    dark: &'static str,
}

const fn ink(r: u8, g: u8, b: u8, dark: &'static str) -> Ink {
    Ink { light: RGBColor(r, g, b), dark }
}

const GROUND: Ink = ink(0xff, 0xff, 0xff, "#15191f");
const TEXT: Ink = ink(0x1f, 0x23, 0x28, "#e6edf3");
const FAINT: Ink = ink(0x59, 0x63, 0x6e, "#a3adb8");
const GRID: Ink = ink(0xdf, 0xe3, 0xe8, "#323a44");
const BLUE: Ink = ink(0x00, 0x72, 0xb2, "#56b4e9");
const ORANGE: Ink = ink(0xc8, 0x54, 0x00, "#ff9e5e");
const GREEN: Ink = ink(0x00, 0x7a, 0x5a, "#2fd6a3");
const PURPLE: Ink = ink(0xa3, 0x3d, 0x7d, "#f29ccf");

const PALETTE: [Ink; 8] = [GROUND, TEXT, FAINT, GRID, BLUE, ORANGE, GREEN, PURPLE];

/// Rules that turn an inlined chart dark, for elements inside `scope`.
pub(crate) fn dark_css(scope: &str) -> String {
    PALETTE
        .iter()
        .map(|ink| {
            let RGBColor(r, g, b) = ink.light;
            let (light, dark) = (format!("#{r:02X}{g:02X}{b:02X}"), ink.dark);
            format!(
                "{scope} [fill=\"{light}\"]{{fill:{dark}}}{scope} [stroke=\"{light}\"]{{stroke:{dark}}}\n"
            )
        })
        .collect()
}

/// Width of every chart; heights differ.
const WIDTH: u32 = 960;

/// Space on the right of a plot, and on its left: margin and labels.
const RIGHT: u32 = 24;
const LEFT: u32 = 78;

type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Coordinates = Cartesian2d<Axis, Axis>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Coordinates>;

/// One axis: its ends, and its ticks with their labels.
#[derive(Clone)]
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
    title: &'static str,
}

impl Axis {
    /// Evenly spaced round numbers from 0 to at least `most`.
    fn linear(most: f64, title: &'static str) -> Self {
        Self::in_steps(most, 5.0, title)
    }

    /// The same in about so many steps.
    fn in_steps(most: f64, steps: f64, title: &'static str) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / steps;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|s| *s >= rough * 0.999)
            .unwrap_or(10.0 * power);
        let steps = (most / step - 1e-9).ceil().max(1.0) as u32;
        let decimals = if step < 1.0 { (-step.log10()).ceil() as usize } else { 0 };
        Self {
            from: 0.0,
            to: step * f64::from(steps),
            ticks: (0..=steps).map(|i| step * f64::from(i)).map(|v| (v, format!("{v:.decimals$}"))).collect(),
            title,
        }
    }

    /// Time since the start of the run, from µs, in seconds, minutes or hours.
    fn time(end_us: i64) -> Self {
        let s = end_us as f64 / 1e6;
        let (unit, title) = match s {
            s if s <= 180.0 => (1.0, "seconds since the start"),
            s if s <= 3.0 * 3_600.0 => (60.0, "minutes since the start"),
            _ => (3_600.0, "hours since the start"),
        };
        let mut axis = Self::in_steps(s / unit, 8.0, title);
        axis.to = (s / unit).max(f64::MIN_POSITIVE);
        axis.ticks.retain(|(v, _)| *v <= axis.to);
        // Plotted in seconds, labelled in the unit.
        axis.to *= unit;
        axis.ticks.iter_mut().for_each(|(v, _)| *v *= unit);
        axis
    }

    /// Milliseconds on a log scale: at most `least` (but 1) to at least `most`. Place values with [`Self::log`].
    fn log_millis(least: f64, most: f64, title: &'static str) -> Self {
        let marks = (0..8).flat_map(|p| [1.0, 2.0, 5.0].map(|m| m * 10_f64.powi(p)));
        let marks: Vec<f64> = marks.collect();
        let first = marks.iter().rposition(|ms| *ms <= least).unwrap_or(0);
        let last = marks.iter().position(|ms| *ms >= most).unwrap_or(marks.len() - 1);
        let ticks: Vec<(f64, String)> = marks[first..=last.max(first + 1).min(marks.len() - 1)]
            .iter()
            .map(|ms| (ms.log10(), format!("{ms:.0}")))
            .collect();
        Self { from: marks[first].log10(), to: ticks.last().map_or(1.0, |(v, _)| *v), ticks, title }
    }

    /// Where a time lies on a log axis; what is too small for it (or negative) lies at its foot.
    fn log(&self, us: i64) -> f64 {
        (us.max(1) as f64 / 1e3).log10().max(self.from)
    }

    fn label(&self, v: f64) -> String {
        self.ticks
            .iter()
            .find(|(at, _)| (at - v).abs() < 1e-9)
            .map(|(_, text)| text.clone())
            .unwrap_or_default()
    }
}

/// For plotters: a linear axis with ticks of our choice.
impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        low + (f64::from(high - low) * share).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

/// One entry of a legend.
struct Key<'a> {
    label: &'a str,
    ink: Ink,
    dashed: bool,
}

const fn key(label: &str, ink: Ink) -> Key<'_> {
    Key { label, ink, dashed: false }
}

const fn dashed(label: &str, ink: Ink) -> Key<'_> {
    Key { label, ink, dashed: true }
}

/// Draws on a fresh canvas.
fn svg(
    height: u32,
    title: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&GROUND.light).map_err(say)?;
        write(&root, title, (16, 10), 22, TEXT, HPos::Left)?;
        draw(&root.margin(36, 0, 0, 0))?;
        root.present().map_err(say)?;
    }
    Ok(text)
}

fn say(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Text with its top at `at`.
fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: u32, ink: Ink, side: HPos) -> Result<(), String> {
    let style = font(size, ink).pos(Pos::new(side, VPos::Top));
    area.draw_text(text, &style, at).map_err(say)
}

fn font(size: u32, ink: Ink) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&ink.light)
}

/// A legend in one row at the top of the area.
fn legend(area: &Area<'_>, keys: &[Key<'_>]) -> Result<(), String> {
    let mut x = 78;
    for k in keys {
        let style = k.ink.light.stroke_width(3);
        let parts: &[(i32, i32)] = if k.dashed { &[(0, 8), (13, 21)] } else { &[(0, 21)] };
        for (a, b) in parts {
            area.draw(&PathElement::new([(x + a, 9), (x + b, 9)], style)).map_err(say)?;
        }
        write(area, k.label, (x + 28, 2), 17, TEXT, HPos::Left)?;
        // No font at hand: about half an em a character.
        x += 28 + (k.label.chars().count() as f64 * 7.6) as i32 + 24;
    }
    Ok(())
}

/// Axes and grid below the legend.
fn plot<'a, 'b>(area: &'a Area<'b>, x: &Axis, y: &Axis) -> Result<Plot<'a, 'b>, String> {
    plot_from(LEFT, area, x, y)
}

/// The same, beginning so far from the left.
fn plot_from<'a, 'b>(left: u32, area: &'a Area<'b>, x: &Axis, y: &Axis) -> Result<Plot<'a, 'b>, String> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(RIGHT)
        .margin_left(left.saturating_sub(68))
        .margin_bottom(6)
        .set_label_area_size(LabelAreaPosition::Left, 68)
        .set_label_area_size(LabelAreaPosition::Bottom, 48)
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(say)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.light)
        .axis_style(FAINT.light)
        .label_style(font(17, FAINT))
        .axis_desc_style(font(16, FAINT))
        .x_label_formatter(&|v| x.label(*v))
        .y_label_formatter(&|v| y.label(*v))
        .x_desc(x.title)
        .y_desc(y.title)
        .draw()
        .map_err(say)?;
    Ok(chart)
}

/// A line through points; `None` interrupts it.
fn line(
    plot: &mut Plot<'_, '_>,
    points: impl IntoIterator<Item = Option<(f64, f64)>>,
    ink: Ink,
    width: u32,
    dashed: bool,
) -> Result<(), String> {
    let style = ink.light.stroke_width(width);
    let mut run: Vec<(f64, f64)> = Vec::new();
    let mut draw = |run: Vec<(f64, f64)>| -> Result<(), String> {
        match run.as_slice() {
            [] => return Ok(()),
            [one] => plot.draw_series([Circle::new(*one, width, ink.light.filled())]).map(drop),
            _ if dashed => plot.draw_series(DashedLineSeries::new(run, 7, 5, style)).map(drop),
            _ => plot.draw_series(LineSeries::new(run, style)).map(drop),
        }
        .map_err(say)
    };
    for p in points {
        match p {
            Some(p) => run.push(p),
            None => draw(std::mem::take(&mut run))?,
        }
    }
    draw(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(a: &Axis) -> Vec<&str> {
        a.ticks.iter().map(|(_, t)| t.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::linear(930.0, "")), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!(labels(&Axis::linear(0.0, "")), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(0.3, "")), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&Axis::log_millis(10.0, 270.0, "")), ["10", "20", "50", "100", "200", "500"]);
    }

    #[test]
    fn long_runs_are_labelled_in_larger_units() {
        let week = Axis::time(7 * 24 * 3_600 * 1_000_000);
        assert_eq!(week.title, "hours since the start");
        assert_eq!(labels(&week), ["0", "50", "100", "150"]);
        assert!((week.ticks[1].0 - 180_000.0).abs() < 1e-6);
        assert!(labels(&Axis::time(30_000_000)).len() >= 4);
        assert!(Axis::time(0).to > 0.0);
    }

    #[test]
    fn every_colour_turns_dark() {
        let css = dark_css("figure");
        assert!(css.contains("figure [stroke=\"#0072B2\"]{stroke:#56b4e9}"), "{css}");
        assert_eq!(css.lines().count(), PALETTE.len());
    }
}
