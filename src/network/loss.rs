//! Loss: independent of everything, or in bursts.

use super::profile::Way;
use crate::seed::Stream;
use crate::time::Micros;

/// How a path loses packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Never.
    #[default]
    None,
    /// Each packet on its own, with this probability.
    Independent(f64),
    /// Everything for a while, then nothing for a while: a Gilbert chain in continuous time.
    Burst {
        /// Share of the time (and so of evenly spaced packets) that is lost.
        mean: f64,
        /// Mean length of a bad period.
        bad: Micros,
    },
}

impl Loss {
    /// True when no packet can be lost.
    pub fn is_none(self) -> bool {
        match self {
            Self::None => true,
            Self::Independent(p) | Self::Burst { mean: p, .. } => p <= 0.0,
        }
    }

    /// The share of packets lost in the long run.
    pub const fn mean(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Independent(p) | Self::Burst { mean: p, .. } => p,
        }
    }

    /// Mean length of a good period; `None` unless loss comes in bursts.
    pub fn good(self) -> Option<Micros> {
        match self {
            Self::Burst { mean, bad } if mean > 0.0 => {
                Some(Micros((bad.0 as f64 * (1.0 - mean) / mean).round().max(1.0) as i64))
            }
            _ => None,
        }
    }
}

/// The state of one path's loss.
///
/// The chain is advanced by time, never per packet: when a sender backs off, the bad period passes meanwhile, and the
/// periods of a seed are the same whatever is sent.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    bad: bool,
    /// When the state changes; `NEVER` before the first draw.
    until: Micros,
    draws: Stream,
}

impl Chain {
    pub(super) const fn new(draws: Stream) -> Self {
        Self { bad: false, until: Micros::NEVER, draws }
    }

    /// Whether a packet that sets out at `now` is lost.
    pub(super) fn lost(&mut self, way: &Way, now: Micros) -> bool {
        match way.loss {
            Loss::None => false,
            Loss::Independent(p) => self.draws.chance(p),
            Loss::Burst { mean, bad } => {
                self.in_burst(mean, bad, way.loss.good().unwrap_or(Micros::NEVER), now)
            }
        }
    }

    fn in_burst(&mut self, mean: f64, bad: Micros, good: Micros, now: Micros) -> bool {
        if self.until == Micros::NEVER {
            // As if the chain had always run: exponential periods have no memory.
            self.bad = self.draws.chance(mean);
            self.until = now;
            self.extend(bad, good);
        }
        while self.until <= now {
            self.bad = !self.bad;
            self.extend(bad, good);
        }
        self.bad
    }

    fn extend(&mut self, bad: Micros, good: Micros) {
        let mean = if self.bad { bad } else { good };
        let span = (mean.0 as f64 * self.draws.exponential()).round().clamp(1.0, 1e15) as i64;
        self.until = self.until.saturating_add(Micros(span));
    }

    /// The bad periods of a path whose packets are lost in bursts: from, until, counted from its first packet.
    pub(super) fn bad_periods(mut self, way: &Way) -> impl Iterator<Item = (Micros, Micros)> {
        let (mut from, mut bad) = (Micros::ZERO, self.lost(way, Micros::ZERO));
        std::iter::from_fn(move || {
            loop {
                let (was_bad, began) = (bad, from);
                from = self.until;
                if from == Micros::NEVER {
                    return None;
                }
                bad = self.lost(way, from);
                if was_bad {
                    return Some((began, from));
                }
            }
        })
    }

    /// The way's parameters have changed: the chain starts anew with the next packet.
    pub(super) const fn restart(&mut self) {
        self.until = Micros::NEVER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn way(loss: Loss) -> Way {
        Way { loss, ..Way::default() }
    }

    #[test]
    fn shares_are_as_said() {
        for loss in [
            Loss::None,
            Loss::Independent(0.02),
            Loss::Burst { mean: 0.02, bad: Micros::from_millis(60) },
            Loss::Burst { mean: 0.3, bad: Micros::from_millis(200) },
        ] {
            let (way, mut chain) = (way(loss), Chain::new(Seed(3).stream("test", 0)));
            let n = 400_000;
            let lost = (0..n).filter(|i| chain.lost(&way, Micros::from_millis(20) * *i)).count();
            let share = lost as f64 / n as f64;
            assert!((share - loss.mean()).abs() <= 0.1 * loss.mean(), "{loss:?}: {share}");
        }
    }

    #[test]
    fn bad_periods_pass_while_nothing_is_sent() {
        let loss = way(Loss::Burst { mean: 0.1, bad: Micros::from_millis(60) });
        let chain = || Chain::new(Seed(5).stream("test", 1));
        // The same instants see the same weather, however many packets ask.
        let (mut often, mut seldom) = (chain(), chain());
        let all: Vec<_> = (0..20_000).map(|i| often.lost(&loss, Micros::from_millis(10) * i)).collect();
        for (i, lost) in all.iter().enumerate().step_by(37) {
            assert_eq!(seldom.lost(&loss, Micros::from_millis(10) * i as i64), *lost);
        }
        // A bad period is about as long as it says.
        let (mut periods, mut bad) = (0, 0);
        for (i, lost) in all.iter().enumerate() {
            bad += u32::from(*lost);
            periods += u32::from(*lost && (i == 0 || !all[i - 1]));
        }
        let mean = f64::from(bad) * 10.0 / f64::from(periods);
        assert!((50.0..80.0).contains(&mean), "{mean} ms");
    }
}
