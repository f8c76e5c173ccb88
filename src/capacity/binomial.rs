//! Whether a budget holds, judged from a sample: "p95 < 300 ms" means that at most 5 % of all turns are over 300 ms, and
//! the number of turns over it in a sample is binomial.
//!
//! ```text
//! turns over the budget:   0 ────────── 38 ─────────── 63 ──────────▶   (of 1,000, 5 % allowed)
//!                             PASS          UNDECIDED        FAIL
//! ```
//!
//! The rule holds for independent turns. Turns that wait in one queue are not: when one waits, so do its neighbours. By
//! how much that inflates the variance is estimated from slices of the run (the design effect of survey sampling: L. Kish,
//! Survey Sampling, 1965, ch. 5 and 8), and the sample counts for as many turns as independent ones would be worth.

use crate::gate::binomial::{MISS, at_least, at_most};

pub use crate::gate::binomial::Verdict;

/// Turns over a budget, with the share that may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Turns over it; failed ones are.
    pub over: u64,
    /// Of so many.
    pub of: u64,
    /// The share that may be over it, between 0 and 1.
    pub allowed: f64,
    /// The design effect: the variance as a multiple of that of as many independent turns; at least 1.
    pub effect: f64,
}

impl Share {
    /// What it says, with 95 % confidence on either side.
    pub fn verdict(&self) -> Verdict {
        self.verdict_at(MISS)
    }

    /// What it says when a wrong answer may come at most with probability `miss`.
    pub fn verdict_at(&self, miss: f64) -> Verdict {
        let n = (self.of as f64 / self.effect).floor() as u64;
        if n == 0 {
            return Verdict::Undecided;
        }
        // Rounded against the verdict, either way.
        let over = self.over as f64 / self.effect;
        let (most, least) = (over.ceil() as u64, over.floor() as u64);
        if at_most(most, n, self.allowed) <= miss {
            Verdict::Pass
        } else if least > 0 && at_least(least, n, self.allowed) <= miss {
            Verdict::Fail
        } else {
            Verdict::Undecided
        }
    }

    /// The share seen; `None` without turns.
    pub fn seen(&self) -> Option<f64> {
        (self.of > 0).then(|| self.over as f64 / self.of as f64)
    }

    /// Within the budget as far as it was seen. What was not measured is not.
    pub fn leans(&self) -> bool {
        self.seen().is_some_and(|p| p <= self.allowed)
    }

    /// So close to the budget that more turns would say something about it.
    pub fn near(&self) -> bool {
        self.seen().is_none_or(|p| p >= self.allowed / 3.0 && p <= self.allowed * 3.0)
    }

    /// With the turns of another run under the same load.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let (a, b) = (self.of as f64, other.of as f64);
        let effect = if a + b > 0.0 { (self.effect * a + other.effect * b) / (a + b) } else { 1.0 };
        Self { over: self.over + other.over, of: self.of + other.of, effect, ..self }
    }
}

/// The design effect from slices of a run, (over, of) each: the variance of the share between slices as a multiple of the
/// binomial one. At least 1: a run that is steadier than chance is not believed to be.
pub fn design_effect(slices: &[(u64, u64)]) -> f64 {
    let used: Vec<_> = slices.iter().filter(|(_, of)| *of > 0).collect();
    let count = used.len() as f64;
    let (over, of) = used.iter().fold((0, 0), |(x, n), (a, b)| (x + a, n + b));
    if used.len() < 2 || over == 0 || over == of {
        return 1.0;
    }
    let (n, p) = (of as f64, over as f64 / of as f64);
    let squares: f64 = used.iter().map(|(x, m)| (*x as f64 - p * *m as f64).powi(2)).sum();
    let variance = count / (count - 1.0) * squares / (n * n);
    (variance / (p * (1.0 - p) / n)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn share(over: u64, of: u64, allowed: f64) -> Share {
        Share { over, of, allowed, effect: 1.0 }
    }

    /// The table of docs/METRICS.md: independent turns are judged as thresholds are.
    #[test]
    fn the_table_of_the_statistics() {
        for (n, pass, fail) in [(300, 8, 22), (1_000, 38, 63), (3_000, 130, 171)] {
            let verdict = |over| share(over, n, 0.05).verdict();
            assert_eq!([verdict(pass), verdict(pass + 1)], [Verdict::Pass, Verdict::Undecided], "{n}");
            assert_eq!([verdict(fail - 1), verdict(fail)], [Verdict::Undecided, Verdict::Fail], "{n}");
        }
    }

    #[test]
    fn nothing_measured_decides_nothing() {
        let none = share(0, 0, 0.05);
        assert_eq!((none.verdict(), none.leans(), none.seen()), (Verdict::Undecided, false, None));
    }

    #[test]
    fn turns_that_depend_on_each_other_count_for_fewer() {
        assert_eq!(share(30, 1_000, 0.05).verdict(), Verdict::Pass);
        let clumped = Share { effect: 10.0, ..share(30, 1_000, 0.05) };
        assert_eq!(clumped.verdict(), Verdict::Undecided);
        assert_eq!(clumped.with(clumped).effect, 10.0);
    }

    #[test]
    fn the_effect_of_clumps_is_found() {
        let mut r = Seed(1).stream("slices", 0);
        let mut slices = |clump: u64| -> f64 {
            let mut mean = 0.0;
            for _ in 0..40 {
                let all: Vec<_> = (0..20)
                    .map(|_| ((0..100 / clump).filter(|_| r.chance(0.1)).count() as u64 * clump, 100))
                    .collect();
                mean += design_effect(&all) / 40.0;
            }
            mean
        };
        let (alone, clumps) = (slices(1), slices(5));
        assert!((1.0..1.4).contains(&alone), "{alone}");
        assert!((4.0..6.5).contains(&clumps), "{clumps}");
        assert_eq!(design_effect(&[(0, 10), (0, 10)]), 1.0);
        assert_eq!(design_effect(&[(3, 10)]), 1.0);
    }
}
