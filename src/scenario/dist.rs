//! Distributions of times: think times, barge-in moments, stage latencies.
//!
//! Written as `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` (p50, p95),
//! or `mix(97: lognormal(250ms, 300ms), 3: 2s)`.

use serde::{Deserialize, Serialize};

use crate::seed::Stream;
use crate::time::Micros;

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_6;

/// A distribution of spans; draws are never negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dist {
    /// Always the same.
    Constant(Micros),
    /// Evenly between two.
    Uniform(Micros, Micros),
    /// Exponential, by mean.
    Exponential(Micros),
    /// Normal, by mean and standard deviation; negative draws become zero.
    Normal(Micros, Micros),
    /// Log-normal, by p50 and p95.
    LogNormal(Micros, Micros),
    /// One of several, by weight: rare spikes.
    Mix(Vec<(f64, Self)>),
}

impl Dist {
    /// One draw.
    pub fn draw(&self, r: &mut Stream) -> Micros {
        let us = match self {
            Self::Constant(t) => return *t,
            Self::Uniform(a, b) => a.0 as f64 + r.unit() * (b.0 - a.0) as f64,
            Self::Exponential(mean) => mean.0 as f64 * r.exponential(),
            Self::Normal(mean, sd) => mean.0 as f64 + sd.0 as f64 * r.normal(),
            Self::LogNormal(p50, p95) => {
                let sigma = (p95.0 as f64 / p50.0 as f64).ln() / Z95;
                p50.0 as f64 * (sigma * r.normal()).exp()
            }
            Self::Mix(parts) => {
                let mut at = r.unit() * parts.iter().map(|(w, _)| w).sum::<f64>();
                for (weight, part) in parts {
                    at -= weight;
                    if at < 0.0 {
                        return part.draw(r);
                    }
                }
                return parts.last().map_or(Micros::ZERO, |(_, part)| part.draw(r));
            }
        };
        Micros(us.round().max(0.0) as i64)
    }

    /// The mean, for estimates.
    pub fn mean(&self) -> Micros {
        match self {
            Self::Constant(t) | Self::Exponential(t) | Self::Normal(t, _) => *t,
            Self::Uniform(a, b) => (*a + *b) / 2,
            Self::LogNormal(p50, p95) => {
                let sigma = (p95.0 as f64 / p50.0 as f64).ln() / Z95;
                Micros((p50.0 as f64 * (sigma * sigma / 2.0).exp()) as i64)
            }
            Self::Mix(parts) => {
                let total: f64 = parts.iter().map(|(w, _)| w).sum();
                let sum: f64 = parts.iter().map(|(w, d)| w * d.mean().0 as f64).sum();
                Micros((sum / total.max(f64::MIN_POSITIVE)) as i64)
            }
        }
    }
}
