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

/// A wrong PASS, and a wrong FAIL, at most this often.
const MISS: f64 = 0.05;

/// What a sample says about a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, with 95 % confidence.
    Pass,
    /// It does not, likewise.
    Fail,
    /// The sample does not decide it.
    Undecided,
}

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
        } else if least > 0 && 1.0 - at_most(least - 1, n, self.allowed) <= miss {
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

/// P(X ≤ k) for X binomial of n and p.
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let (size, odds) = (n as f64, (p / (1.0 - p)).ln());
    let mut log_mass = size * (-p).ln_1p();
    let mut sum = log_mass.exp();
    for i in 0..k {
        let i = i as f64;
        log_mass += ((size - i) / (i + 1.0)).ln() + odds;
        sum += log_mass.exp();
    }
    sum.min(1.0)
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

    /// The table of docs/METRICS.md.
    #[test]
    fn the_table_of_the_statistics() {
        for (n, pass, fail) in [(300, 8, 22), (1_000, 38, 63), (3_000, 130, 171)] {
            let verdict = |over| share(over, n, 0.05).verdict();
            assert_eq!([verdict(pass), verdict(pass + 1)], [Verdict::Pass, Verdict::Undecided], "{n}");
            assert_eq!([verdict(fail - 1), verdict(fail)], [Verdict::Undecided, Verdict::Fail], "{n}");
        }
        assert_eq!(share(0, 58, 0.05).verdict(), Verdict::Undecided);
        assert_eq!(share(0, 59, 0.05).verdict(), Verdict::Pass);
        assert_eq!(share(0, 2_995, 0.001).verdict(), Verdict::Pass);
        assert_eq!(share(0, 2_994, 0.001).verdict(), Verdict::Undecided);
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

    #[test]
    fn sums_are_probabilities() {
        assert_eq!(at_most(5, 5, 0.3), 1.0);
        assert!((at_most(0, 59, 0.05) - 0.95_f64.powi(59)).abs() < 1e-12);
        assert!((at_most(2, 4, 0.5) - 11.0 / 16.0).abs() < 1e-12);
        assert!((at_most(100_000, 1_000_000, 0.1) - 0.5).abs() < 0.01);
        assert_eq!([at_most(3, 9, 0.0), at_most(3, 9, 1.0)], [1.0, 0.0]);
    }
}
