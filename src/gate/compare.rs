//! Comparing runs with runs: is the candidate slower than the baseline?
//!
//! Single runs lie: runs of the same thing differ by more than the samples within one run suggest. So each run counts as
//! one number (its p95, say; a failure is +∞), five runs a side, and the shift between the sides is estimated from all
//! 25 differences candidate − baseline (Hodges and Lehmann): their median, with an interval between two of the ordered
//! differences that the rank-sum distribution makes exact, whatever the numbers are distributed like.
//!
//! ```text
//! baseline  b₁ … bₙ ─┐                     low        shift        high
//! candidate c₁ … cₘ ─┴▶ cⱼ − bᵢ, sorted:  ──┼────────────┼───────────┼──     margin m
//!                       high ≤ m: pass       low > m: regression       else: inconclusive
//! ```

use crate::measure::Quantile;
use crate::time::Micros;

/// The interval misses the true shift in at most this share of comparisons.
const MISS: f64 = 0.05;

/// The margin: a shift up to this is not worth an alarm, …
pub const MARGIN: Micros = Micros::from_millis(10);
/// … nor one up to this share of the baseline's median.
pub const MARGIN_SHARE: f64 = 0.05;

/// Runs a side beyond which nobody would go to decide.
const MOST_RUNS: f64 = 1_000.0;

/// A difference of two runs; ±∞ where one of them has failed.
type Difference = f64;

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The estimated shift, candidate − baseline, µs; infinite where failures decide it.
    pub shift: f64,
    /// The lower end of its interval, µs.
    pub low: f64,
    /// The upper end, µs.
    pub high: f64,
    /// The share of such intervals that hold the true shift.
    pub confidence: f64,
    /// Shifts up to this are no regression.
    pub margin: Micros,
    /// The verdict.
    pub verdict: Verdict,
}

/// Pass, regression, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The candidate is not slower by more than the margin.
    Pass,
    /// It is.
    Regression,
    /// The runs do not decide it.
    Inconclusive {
        /// About so many runs a side would, if they spread as these do; `None`: cannot be said, or too many.
        runs: Option<u32>,
    },
}

impl Comparison {
    /// True when the whole interval lies beyond zero: what an alarm without a margin would be.
    pub fn shifted(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The estimated shift between two sides, in the unit of their numbers; infinite where failures decide it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The estimate, candidate − baseline.
    pub shift: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The share of such intervals that hold the true shift.
    pub confidence: f64,
}

/// Estimates the shift from all differences; a failure is [`f64::INFINITY`]. `None`: so few runs that no interval holds
/// with 95 % confidence (four a side are the least).
pub fn shift(baseline: &[f64], candidate: &[f64]) -> Option<Shift> {
    let (rank, confidence) = interval_rank(baseline.len(), candidate.len())?;
    // Two failures do not say which would have been the slower: the interval takes the worse for either end.
    let [least, most, middle] = [f64::NEG_INFINITY, f64::INFINITY, 0.0].map(|both| {
        let mut all = differences(baseline, candidate, both);
        all.sort_by(f64::total_cmp);
        all
    });
    Some(Shift {
        shift: median(&middle),
        low: least.get(rank - 1).copied().unwrap_or(f64::NEG_INFINITY),
        high: most.get(most.len() - rank).copied().unwrap_or(f64::INFINITY),
        confidence,
    })
}

/// Compares two sides, one number a run. `Err`: too few runs, see [`shift`].
pub fn compare(baseline: &[Quantile], candidate: &[Quantile]) -> Result<Comparison, String> {
    let number = |q: &Quantile| q.finite().map_or(f64::INFINITY, |t| t.0 as f64);
    let numbers = |side: &[Quantile]| side.iter().map(number).collect::<Vec<_>>();
    let Some(s) = shift(&numbers(baseline), &numbers(candidate)) else {
        return Err(format!(
            "{} runs against {} are too few to compare: make at least four a side, better five",
            candidate.len(),
            baseline.len()
        ));
    };
    let Shift { shift, low, high, confidence } = s;
    let margin = margin(baseline);
    let m = margin.0 as f64;
    let verdict = if high <= m {
        Verdict::Pass
    } else if low > m {
        Verdict::Regression
    } else {
        Verdict::Inconclusive { runs: runs_to_decide(shift - m, high - low, baseline.len()) }
    };
    Ok(Comparison { shift, low, high, confidence, margin, verdict })
}

/// max(10 ms, 5 % of the baseline's median); without a median, the 10 ms.
fn margin(baseline: &[Quantile]) -> Micros {
    let mut sorted = baseline.to_vec();
    sorted.sort_unstable();
    match sorted.get(sorted.len() / 2) {
        Some(Quantile::Finite(t)) => MARGIN.max(Micros((t.0 as f64 * MARGIN_SHARE).round() as i64)),
        _ => MARGIN,
    }
}

/// All differences; `both` stands for that of two failures.
fn differences(baseline: &[f64], candidate: &[f64], both: Difference) -> Vec<Difference> {
    let pairs = baseline.iter().flat_map(|b| candidate.iter().map(move |c| (*b, *c)));
    pairs.map(|(b, c)| if b.is_infinite() && c.is_infinite() { both } else { c - b }).collect()
}

fn median(sorted: &[Difference]) -> Difference {
    let n = sorted.len();
    match (sorted.get(n.saturating_sub(1) / 2), sorted.get(n / 2)) {
        (Some(a), Some(b)) if a == b => *a,
        // −∞ and +∞ have no middle: no shift is as good a guess as any.
        (Some(a), Some(b)) if a.is_infinite() && b.is_infinite() => 0.0,
        (Some(a), Some(b)) => (a + b) / 2.0,
        _ => 0.0,
    }
}

/// About how many runs a side would decide, if they spread as these do; `None`: cannot be said, or too many. The width
/// shrinks with the root of the number of runs: when is half of it less than the distance to the margin?
pub fn runs_to_decide(distance: f64, width: f64, runs: usize) -> Option<u32> {
    let needed = runs as f64 * (width / 2.0 / distance.abs()).powi(2);
    (needed.is_finite() && needed <= MOST_RUNS).then(|| (needed.ceil() as u32).max(runs as u32 + 1))
}

/// The largest k for which the interval from the k-th smallest to the k-th largest difference misses the true shift in
/// at most 5 % of comparisons, and how often it then holds it. 5 against 5: k = 3, 96.8 %.
fn interval_rank(n: usize, m: usize) -> Option<(usize, f64)> {
    let counts = rank_sums(n, m);
    let all: f64 = counts.iter().sum();
    let (mut below, mut best) = (0.0, None);
    for (u, ways) in counts.iter().enumerate() {
        below += ways / all;
        if 2.0 * below > MISS {
            break;
        }
        best = Some((u + 1, 1.0 - 2.0 * below));
    }
    best
}

/// In how many of the orders of n + m different numbers, u of the pairs stand the wrong way round (Mann and Whitney's U),
/// for each u.
fn rank_sums(n: usize, m: usize) -> Vec<f64> {
    // The coefficients of the Gaussian binomial (n + m over n): ∏ (1 − x^(m+i)) / (1 − x^i).
    let mut ways = vec![0.0; n * m + 1];
    if let Some(first) = ways.first_mut() {
        *first = 1.0;
    }
    for i in 1..=n {
        for u in ((m + i)..ways.len()).rev() {
            ways[u] -= ways[u - m - i];
        }
        for u in i..ways.len() {
            ways[u] += ways[u - i];
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::{Seed, Stream};

    fn runs(ms: &[i64]) -> Vec<Quantile> {
        ms.iter().map(|&t| if t < 0 { Quantile::Infinite } else { finite(t * 1_000) }).collect()
    }

    fn finite(us: i64) -> Quantile {
        Quantile::Finite(Micros(us))
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        for ((n, m), (rank, confidence)) in
            [((5, 5), (3, 0.968)), ((4, 4), (1, 0.971)), ((10, 10), (24, 0.957)), ((3, 5), (1, 0.964))]
        {
            let (k, c) = interval_rank(n, m).unwrap();
            assert_eq!(k, rank, "{n} {m}");
            assert!((c - confidence).abs() < 0.001, "{n} {m}: {c}");
        }
        assert_eq!(interval_rank(3, 3), None);
        assert_eq!(interval_rank(0, 5), None);
        assert_eq!(rank_sums(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(rank_sums(5, 5).iter().sum::<f64>(), 252.0);
    }

    #[test]
    fn the_interval_is_the_third_and_the_twenty_third_difference() {
        // Differences of these are 0, 1, …, 24 ms, each once.
        let c = compare(&runs(&[100, 95, 90, 85, 80]), &runs(&[100, 101, 102, 103, 104])).unwrap();
        assert_eq!((c.shift, c.low, c.high), (12_000.0, 2_000.0, 22_000.0));
        assert_eq!(c.margin, Micros::from_millis(10));
        assert!(matches!(c.verdict, Verdict::Inconclusive { runs: Some(_) }));
        assert!(c.shifted());
    }

    #[test]
    fn verdicts() {
        let base = runs(&[300, 301, 302, 303, 304]);
        let judge = |ms: &[i64]| compare(&base, &runs(ms)).unwrap().verdict;
        assert_eq!(judge(&[300, 301, 302, 303, 304]), Verdict::Pass);
        assert_eq!(judge(&[200, 201, 202, 203, 204]), Verdict::Pass, "faster is no regression");
        assert_eq!(judge(&[330, 331, 332, 333, 334]), Verdict::Regression);
        assert!(matches!(judge(&[305, 310, 316, 320, 325]), Verdict::Inconclusive { .. }), "on the margin");
        let c = compare(&base, &base).unwrap();
        assert_eq!(c.margin, Micros(15_100), "5 % of 302 ms");
    }

    #[test]
    fn failures_are_infinitely_slow() {
        let base = runs(&[300, 301, 302, 303, 304]);
        let judge = |b: &[Quantile], ms: &[i64]| compare(b, &runs(ms)).unwrap().verdict;
        assert_eq!(judge(&base, &[-1, -1, -1, -1, -1]), Verdict::Regression);
        assert_eq!(judge(&base, &[-1, 301, 302, 303, 304]), Verdict::Inconclusive { runs: None });
        let failed = runs(&[-1; 5]);
        assert_eq!(judge(&failed, &[300, 301, 302, 303, 304]), Verdict::Pass);
        assert_eq!(judge(&failed, &[-1; 5]), Verdict::Inconclusive { runs: None }, "unmeasured is not OK");
        assert!(compare(&base, &runs(&[300, 301])).is_err());
    }

    /// Five runs whose p95 spreads by 6 % from run to run.
    fn noisy(r: &mut Stream, median: f64) -> Vec<Quantile> {
        (0..5).map(|_| finite((median * (1.0 + 0.06 * r.normal())) as i64)).collect()
    }

    #[test]
    fn false_alarms_are_as_rare_as_stated() {
        let mut r = Seed(5).stream("false alarms", 0);
        let all: Vec<_> = (0..4_000)
            .map(|_| {
                let (a, b) = (noisy(&mut r, 300_000.0), noisy(&mut r, 300_000.0));
                compare(&a, &b).unwrap()
            })
            .collect();
        let share =
            |f: fn(&Comparison) -> bool| all.iter().filter(|c| f(c)).count() as f64 / all.len() as f64;
        let shifted = share(Comparison::shifted);
        assert!((0.022..0.042).contains(&shifted), "3.2 % of exact 96.8 % intervals: {shifted}");
        let alarms = share(|c| c.verdict == Verdict::Regression);
        assert!(alarms < 0.01, "the margin keeps most of them away: {alarms}");
    }

    #[test]
    fn ten_per_cent_more_is_found_when_runs_are_alike() {
        let mut r = Seed(5).stream("found", 0);
        let mut steady = |median: f64| -> Vec<Quantile> {
            (0..5).map(|_| finite((median * (1.0 + 0.01 * r.normal())) as i64)).collect()
        };
        let found = (0..500)
            .filter(|_| {
                let (a, b) = (steady(300_000.0), steady(330_000.0));
                compare(&a, &b).unwrap().verdict == Verdict::Regression
            })
            .count();
        assert!(found > 490, "{found}");
    }

    proptest! {
        #[test]
        fn order_of_runs_does_not_matter_and_the_sides_mirror_each_other(
            a in proptest::collection::vec(0..1_000_000_i64, 4..9),
            b in proptest::collection::vec(0..1_000_000_i64, 4..9),
        ) {
            let of = |v: &[i64]| v.iter().map(|&t| finite(t)).collect::<Vec<_>>();
            let c = compare(&of(&a), &of(&b)).unwrap();
            prop_assert!(c.low <= c.shift && c.shift <= c.high);
            let mut shuffled = a.clone();
            shuffled.reverse();
            prop_assert_eq!(compare(&of(&shuffled), &of(&b)).unwrap(), c);
            let back = compare(&of(&b), &of(&a)).unwrap();
            prop_assert_eq!((back.low, back.high), (-c.high, -c.low));
        }

        #[test]
        fn a_slower_candidate_never_looks_better(
            a in proptest::collection::vec(0..1_000_000_i64, 5),
            b in proptest::collection::vec(0..1_000_000_i64, 5),
            failed in 0..5_usize,
        ) {
            let of = |v: &[i64]| v.iter().map(|&t| finite(t)).collect::<Vec<_>>();
            let before = compare(&of(&a), &of(&b)).unwrap();
            let mut worse = of(&b);
            worse[failed] = Quantile::Infinite;
            let after = compare(&of(&a), &worse).unwrap();
            prop_assert!(after.low >= before.low && after.high >= before.high);
        }
    }
}
