//! Seeded randomness: one seed in the scenario decides arrivals, think times, fixtures and faults.
//!
//! Every consumer derives its own stream from the seed, a purpose and an index, so that adding a draw in one
//! place does not shift the draws of another, and device 17 does the same whatever the other devices do.

use rand::{Rng as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The root of all randomness in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream for one purpose (`"think"`, `"fixture"`, …) and one index (a device, a connection, a turn).
    pub fn stream(self, purpose: &str, index: u64) -> Stream {
        // FNV-1a over the purpose, then SplitMix64 (inside `seed_from_u64`) spreads the bits.
        let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ self.0.rotate_left(17);
        for b in purpose.bytes() {
            h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        h ^= index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Stream(Xoshiro256PlusPlus::seed_from_u64(h ^ self.0))
    }
}

/// A reproducible stream of random numbers: the same on every platform and in every version of voxload.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// True with probability `share`.
    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Standard normal (Box–Muller, one of the pair: simple, stateless).
    pub fn normal(&mut self) -> f64 {
        let r = (2.0 * self.exponential()).sqrt();
        r * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_apart() {
        let take = |s: u64, p: &str, i: u64| {
            let mut r = Seed(s).stream(p, i);
            [r.bits(), r.bits()]
        };
        assert_eq!(take(1, "think", 3), take(1, "think", 3));
        let all = [take(1, "think", 3), take(2, "think", 3), take(1, "fixture", 3), take(1, "think", 4)];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn moments_are_right() {
        let mut r = Seed(7).stream("moments", 0);
        let n = 100_000;
        let (mut unit, mut exp, mut norm, mut sq) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..n {
            unit += r.unit();
            exp += r.exponential();
            let x = r.normal();
            norm += x;
            sq += x * x;
        }
        let n = f64::from(n);
        assert!((unit / n - 0.5).abs() < 0.01);
        assert!((exp / n - 1.0).abs() < 0.02);
        assert!((norm / n).abs() < 0.02);
        assert!((sq / n - 1.0).abs() < 0.03);
    }
}
