//! The little statistics that proofs need.

use crate::scenario::Dist;
use crate::time::Micros;

/// Sizes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// How many.
    pub count: usize,
    /// Median of the absolute values.
    pub p50: Micros,
    /// 99th percentile.
    pub p99: Micros,
    /// The largest.
    pub max: Micros,
}

impl Sizes {
    /// Of these errors, µs; `None` without any.
    pub fn of(errors: impl IntoIterator<Item = i64>) -> Option<Self> {
        let mut sizes: Vec<i64> = errors.into_iter().map(i64::abs).collect();
        sizes.sort_unstable();
        Some(Self {
            count: sizes.len(),
            p50: Micros(quantile(&sizes, 0.5)?),
            p99: Micros(quantile(&sizes, 0.99)?),
            max: Micros(*sizes.last()?),
        })
    }
}

/// `p50 0.3 ms, p99 1.2 ms, max 4.0 ms`
impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {}, p99 {}, max {}", self.p50, self.p99, self.max)
    }
}

/// The smallest value that at least the share `q` does not exceed, of sorted values.
pub fn quantile(sorted: &[i64], q: f64) -> Option<i64> {
    let rank = (q * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// P(draw ≤ x); `None` for normals and log-normals, which no proof scripts.
pub fn cdf(dist: &Dist, x: f64) -> Option<f64> {
    Some(match dist {
        Dist::Constant(t) => f64::from(u8::from(x >= t.0 as f64)),
        Dist::Uniform(a, b) => {
            ((x - a.0 as f64) / ((b.0 - a.0) as f64).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
        }
        Dist::Exponential(mean) => 1.0 - (-x.max(0.0) / (mean.0 as f64).max(f64::MIN_POSITIVE)).exp(),
        Dist::Mix(parts) => {
            let total: f64 = parts.iter().map(|(w, _)| w).sum();
            let sum = parts.iter().map(|(w, d)| Some(w * cdf(d, x)?)).sum::<Option<f64>>()?;
            sum / total
        }
        Dist::Normal(..) | Dist::LogNormal(..) => return None,
    })
}

/// The largest distance between the share of samples up to x and `cdf(x)` (Kolmogorov and Smirnov), over x ≥ `from`.
pub fn distance(sorted: &[i64], from: f64, cdf: impl Fn(f64) -> f64) -> f64 {
    let n = sorted.len() as f64;
    let below = sorted.partition_point(|&t| (t as f64) < from);
    let start = (below as f64 / n - cdf(from)).abs();
    sorted.iter().enumerate().skip(below).fold(start, |d, (i, &t)| {
        let p = cdf(t as f64);
        d.max((p - i as f64 / n).abs()).max(((i + 1) as f64 / n - p).abs())
    })
}

/// The distance that a right sample of `n` stays below in 99 of 100 cases (Stephens' approximation).
pub fn critical_distance(n: usize) -> f64 {
    let root = (n.max(1) as f64).sqrt();
    1.628 / (root + 0.12 + 0.11 / root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn draws(dist: &Dist, n: usize, shift: i64) -> Vec<i64> {
        let mut r = Seed(4).stream("draws", 0);
        let mut all: Vec<i64> = (0..n).map(|_| dist.draw(&mut r).0 + shift).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn draws_fit_their_own_distribution_and_no_other() {
        let n = 2_000;
        for text in ["exponential(100ms)", "mix(70: uniform(40ms, 60ms), 30: uniform(280ms, 320ms))"] {
            let dist: Dist = text.parse().unwrap();
            let fits = |samples: &[i64]| {
                distance(samples, 0.0, |x| cdf(&dist, x).unwrap()) < critical_distance(samples.len())
            };
            assert!(fits(&draws(&dist, n, 0)), "{text}");
            assert!(fits(&draws(&dist, n, 300)), "{text}: a third of a millisecond is not seen");
            assert!(!fits(&draws(&dist, n, 20_000)), "{text}: 20 ms are");
            assert!(!fits(&draws(&"uniform(0ms, 200ms)".parse().unwrap(), n, 0)), "{text}");
        }
        assert_eq!(cdf(&"normal(1s, 1ms)".parse().unwrap(), 0.0), None);
    }

    #[test]
    fn distances_by_hand() {
        let uniform = |x: f64| (x / 100.0).clamp(0.0, 1.0);
        assert!((distance(&[25, 75], 0.0, uniform) - 0.25).abs() < 1e-9);
        assert!((distance(&[50, 50], 0.0, uniform) - 0.5).abs() < 1e-9);
        assert!((distance(&[10, 90], 50.0, uniform) - 0.4).abs() < 1e-9, "only from 50 on");
        assert!((critical_distance(400) - 0.081).abs() < 0.001);
    }

    #[test]
    fn sizes_are_absolute() {
        let s = Sizes::of([-4, 1, 2, 3]).unwrap();
        assert_eq!((s.count, s.p50, s.p99, s.max), (4, Micros(2), Micros(4), Micros(4)));
        assert_eq!(Sizes::of([]), None);
    }
}
