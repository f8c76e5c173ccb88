//! Several distributions in one percentile chart, for those who compare measurements with each other or with paper.

use super::percentiles::marks;
use super::{Axis, BLUE, GREEN, Key, ORANGE, PURPLE, legend, line, plot, svg};

/// Points per power of ten of 1/(1 − p).
const POINTS: u32 = 60;

/// Colours, in order.
const INKS: [super::Ink; 4] = [BLUE, GREEN, ORANGE, PURPLE];

/// A distribution to draw.
pub struct Curve<'a> {
    /// Its name in the legend.
    pub label: &'static str,
    /// Sorted samples, µs.
    pub sorted: &'a [i64],
    /// Drawn dashed.
    pub dashed: bool,
}

/// An SVG of latencies by percentile, log scale from `least` ms; at most four curves.
pub fn compared(title: &str, axis: &'static str, least: f64, curves: &[Curve<'_>]) -> Result<String, String> {
    let most = curves.iter().map(|c| c.sorted.len()).max().unwrap_or(0);
    let end = (most.max(10) as f64).log10();
    let x = Axis { from: 0.0, to: end, ticks: marks(end), title: "percentile" };
    let largest = curves.iter().filter_map(|c| c.sorted.last()).max().copied().unwrap_or(1);
    let y = Axis::log_millis(least, largest as f64 / 1e3, axis);
    let keys: Vec<Key<'_>> =
        curves.iter().zip(INKS).map(|(c, ink)| Key { label: c.label, ink, dashed: c.dashed }).collect();
    svg(470, title, |area| {
        legend(area, &keys)?;
        let mut plot = plot(area, &x, &y)?;
        for (c, ink) in curves.iter().zip(INKS) {
            let points = points(c.sorted).into_iter().map(|(at, us)| Some((at, y.log(us))));
            line(&mut plot, points, ink, if c.dashed { 2 } else { 3 }, c.dashed)?;
        }
        Ok(())
    })
}

/// Where the curve runs: −log₁₀(1 − p), µs.
fn points(sorted: &[i64]) -> Vec<(f64, i64)> {
    let n = sorted.len() as f64;
    let end = n.max(1.0).log10();
    let steps = (end * f64::from(POINTS)).ceil().max(1.0) as u32;
    let at = |i: u32| end * f64::from(i) / f64::from(steps);
    (0..=steps)
        .filter_map(|i| {
            let rank = ((1.0 - 10_f64.powf(-at(i))) * n - 1e-9).ceil().max(1.0) as usize;
            Some((at(i), *sorted.get(rank - 1)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_at_its_largest_sample() {
        let sorted: Vec<i64> = (1..=100).collect();
        let points = points(&sorted);
        assert_eq!(points.first(), Some(&(0.0, 1)));
        assert_eq!(points.last(), Some(&(2.0, 99)));
        let median = points.iter().find(|(x, _)| *x >= 2_f64.log10()).unwrap();
        assert!((50..=52).contains(&median.1), "{median:?}");
    }

    #[test]
    fn it_is_drawn_with_its_legend() {
        let sorted: Vec<i64> = (1..=1_000).map(|n| n * 1_000).collect();
        let curve = |label| Curve { label, sorted: &sorted, dashed: false };
        let svg = compared("two", "ms", 10.0, &[curve("measured"), curve("on paper")]).unwrap();
        assert!(svg.contains("measured") && svg.contains("on paper") && svg.contains("99 %"));
        assert!(compared("none", "ms", 10.0, &[]).is_ok());
    }
}
