//! Jitter: delay on top of a path's own, correlated in time.

use crate::seed::Stream;
use crate::time::Micros;

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// For how long a path that is slow stays slow (the e-folding time of the correlation).
pub const MEMORY: Micros = Micros::from_millis(100);

/// Delay on top of a path's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// None.
    #[default]
    None,
    /// Log-normal, by median and 99th percentile.
    LogNormal {
        /// Half of the time less than this.
        median: Micros,
        /// 1 % of the time more than this.
        p99: Micros,
    },
    /// Evenly between −spread and +spread.
    Uniform(Micros),
}

impl Jitter {
    /// The least that it can add.
    pub fn least(self) -> Micros {
        match self {
            Self::Uniform(spread) => -spread,
            Self::None | Self::LogNormal { .. } => Micros::ZERO,
        }
    }

    /// True when it never adds anything.
    pub fn is_none(self) -> bool {
        matches!(self, Self::None) || self == Self::Uniform(Micros::ZERO)
    }
}

/// The state of one path's jitter: a standard normal variable that wanders (an Ornstein–Uhlenbeck process), mapped to the
/// distribution that is asked for. Advanced by time, so that packets of one instant share their fate and packets of
/// different seconds do not.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    z: f64,
    at: Option<Micros>,
    draws: Stream,
}

impl Weather {
    pub(super) const fn new(draws: Stream) -> Self {
        Self { z: 0.0, at: None, draws }
    }

    /// The delay that is added at `now`.
    pub(super) fn delay(&mut self, jitter: Jitter, now: Micros) -> Micros {
        if jitter.is_none() {
            return Micros::ZERO;
        }
        match self.at {
            Some(at) if at >= now => {}
            at => {
                let kept = at.map_or(0.0, |at| (-((now.0 - at.0) as f64) / MEMORY.0 as f64).exp());
                self.z = kept * self.z + (1.0 - kept * kept).sqrt() * self.draws.normal();
                self.at = Some(now);
            }
        }
        let us = match jitter {
            Jitter::None => 0.0,
            Jitter::LogNormal { median, p99 } => {
                let median = median.0.max(1) as f64;
                let sigma = (p99.0 as f64 / median).max(1.0).ln() / Z99;
                // Far above what anybody measures, and far below what overflows.
                (median * (sigma * self.z).exp()).min(60e6)
            }
            Jitter::Uniform(spread) => spread.0 as f64 * (2.0 * below(self.z) - 1.0),
        };
        Micros(us.round() as i64)
    }
}

/// The share of a standard normal distribution below `z`, to 2·10⁻⁴ (Page 1977).
fn below(z: f64) -> f64 {
    1.0 / (1.0 + (-(1.597_6 * z + 0.070_56 * z * z * z)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn drawn(jitter: Jitter, step: Micros) -> Vec<i64> {
        let mut weather = Weather::new(Seed(11).stream("test", 0));
        let mut all: Vec<_> = (0..200_000).map(|i| weather.delay(jitter, step * i).0).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn distributions_are_as_said() {
        let ms = Micros::from_millis;
        let all = drawn(Jitter::LogNormal { median: ms(10), p99: ms(180) }, ms(60));
        let at = |q: f64| all[(q * all.len() as f64) as usize] as f64 / 1e3;
        assert!((at(0.5) - 10.0).abs() < 0.4 && (at(0.99) - 180.0).abs() < 15.0, "{} {}", at(0.5), at(0.99));
        let all = drawn(Jitter::Uniform(ms(50)), ms(60));
        let at = |q: f64| all[(q * all.len() as f64) as usize] as f64 / 1e3;
        for (q, expected) in [(0.1, -40.0), (0.25, -25.0), (0.5, 0.0), (0.9, 40.0)] {
            assert!((at(q) - expected).abs() < 2.0, "{q}: {}", at(q));
        }
        assert!(all[0] >= -50_000 && all[all.len() - 1] <= 50_000);
    }

    #[test]
    fn neighbours_are_alike_and_strangers_are_not() {
        let ms = Micros::from_millis;
        let correlation = |step: Micros| {
            let mut weather = Weather::new(Seed(11).stream("test", 2));
            let jitter = Jitter::Uniform(ms(50));
            let all: Vec<_> = (0..50_000).map(|i| weather.delay(jitter, step * i).0 as f64).collect();
            let pairs = all.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / (all.len() - 1) as f64;
            pairs / (all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64)
        };
        assert!(correlation(ms(5)) > 0.9);
        assert!(correlation(ms(1_000)).abs() < 0.05);
    }
}
