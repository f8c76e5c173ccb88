//! What a sample says about a share: "at most 5 % of all turns are over 300 ms", judged from the turns of a run.
//!
//! ```text
//! turns over the limit:   0 ────────── 38 ─────────── 63 ──────────▶   (of 1,000, 5 % may be)
//!                            PASS          UNDECIDED        FAIL
//! ```
//!
//! The number over the limit is binomial. PASS: so few would be seen at most once in twenty if more than the allowed
//! share of all turns were over it; FAIL: so many would, if no more than that were. The bounds are those of Clopper and
//! Pearson (Biometrika 26 (1934) 404–413), one-sided on either side; single probabilities are computed as in
//! C. Loader, Fast and accurate computation of binomial probabilities (2000), to about 14 digits for any sample.

/// A wrong PASS, and a wrong FAIL, at most this often: one-sided bounds of 95 %.
pub const MISS: f64 = 0.05;

/// Samples beyond which nobody would go to decide.
const MOST: u64 = 10_000_000;

/// What a sample says about a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is within what is allowed.
    Pass,
    /// It is not.
    Fail,
    /// The sample does not decide it.
    Undecided,
}

/// What `over` of `of` samples say about a share that may be `allowed`, when either answer may be wrong with
/// probability `miss`.
pub fn verdict(over: u64, of: u64, allowed: f64, miss: f64) -> Verdict {
    if of == 0 {
        Verdict::Undecided
    } else if at_most(over, of, allowed) <= miss {
        Verdict::Pass
    } else if over > 0 && at_least(over, of, allowed) <= miss {
        Verdict::Fail
    } else {
        Verdict::Undecided
    }
}

/// The least and the largest share that `over` of `of` samples are compatible with, each missed with probability `miss`.
pub fn bounds(over: u64, of: u64, miss: f64) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let seen = over as f64 / of as f64;
    let low = if over == 0 { 0.0 } else { root(0.0, seen, |p| at_least(over, of, p) < miss) };
    let high = if over >= of { 1.0 } else { root(seen, 1.0, |p| at_most(over, of, p) >= miss) };
    [low, high]
}

/// Where `below` ends to hold between two shares.
fn root(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        *(if below(middle) { &mut low } else { &mut high }) = middle;
    }
    f64::midpoint(low, high)
}

/// The fewest samples that can pass: with none of them over. 5 %: 59, 1 %: 299, 0.1 %: 2,995.
pub fn fewest(allowed: f64, miss: f64) -> u64 {
    let mut n = (miss.ln() / (-allowed).ln_1p() - 1e-6).ceil().clamp(1.0, 1e15) as u64;
    // The logarithms may be off by one where the answer is exact.
    while n > 1 && at_most(0, n - 1, allowed) <= miss {
        n -= 1;
    }
    n
}

/// About how many samples in all would decide it, if the share stays what it is; `None`: more than anybody would wait
/// for, or nothing was seen yet.
pub fn needed(over: u64, of: u64, allowed: f64, miss: f64) -> Option<u64> {
    if of == 0 || verdict(over, of, allowed, miss) != Verdict::Undecided {
        return (of > 0).then_some(of);
    }
    let seen = over as f64 / of as f64;
    if over == 0 {
        return Some(fewest(allowed, miss)).filter(|n| *n <= MOST);
    }
    let decides = |n: u64| {
        // Rounded against the answer.
        let expected = seen * n as f64;
        let k = if seen < allowed { expected.ceil() } else { expected.floor() };
        verdict(k as u64, n, allowed, miss) != Verdict::Undecided
    };
    let (mut no, mut yes) = (of, of.saturating_mul(2));
    while !decides(yes) {
        (no, yes) = (yes, yes.saturating_mul(2));
        if no > MOST {
            return None;
        }
    }
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        *(if decides(middle) { &mut yes } else { &mut no }) = middle;
    }
    Some(yes).filter(|n| *n <= MOST)
}

/// P(X ≤ k) for X binomial of n and p.
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        1.0
    } else if p >= 1.0 {
        0.0
    } else if k as f64 <= n as f64 * p {
        down_from(k, n, p)
    } else {
        (1.0 - up_from(k + 1, n, p)).max(0.0)
    }
}

/// P(X ≥ k) for X binomial of n and p.
pub fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 || p >= 1.0 {
        1.0
    } else if p <= 0.0 || k > n {
        0.0
    } else if k as f64 > n as f64 * p {
        up_from(k, n, p)
    } else {
        (1.0 - down_from(k - 1, n, p)).max(0.0)
    }
}

/// P(X ≤ k) below the mean: masses get smaller from k down, and soon make no difference.
fn down_from(k: u64, n: u64, p: f64) -> f64 {
    let (size, odds) = (n as f64, (1.0 - p) / p);
    let mut one = mass(k, n, p);
    let mut sum = one;
    for i in (1..=k).rev() {
        one *= i as f64 / (size - i as f64 + 1.0) * odds;
        sum += one;
        if one <= sum * 1e-18 {
            break;
        }
    }
    sum.min(1.0)
}

/// P(X ≥ k) above the mean.
fn up_from(k: u64, n: u64, p: f64) -> f64 {
    let (size, odds) = (n as f64, p / (1.0 - p));
    let mut one = mass(k, n, p);
    let mut sum = one;
    for i in k..n {
        one *= (size - i as f64) / (i as f64 + 1.0) * odds;
        sum += one;
        if one <= sum * 1e-18 {
            break;
        }
    }
    sum.min(1.0)
}

/// P(X = k), 0 < p < 1, k ≤ n.
fn mass(k: u64, n: u64, p: f64) -> f64 {
    let (x, size) = (k as f64, n as f64);
    if k == 0 {
        return (size * (-p).ln_1p()).exp();
    }
    if k == n {
        return (size * p.ln()).exp();
    }
    let log = stirling(n)
        - stirling(k)
        - stirling(n - k)
        - deviance(x, size * p)
        - deviance(size - x, size * (1.0 - p));
    log.exp() * (size / (std::f64::consts::TAU * x * (size - x))).sqrt()
}

/// What Stirling's formula misses: ln n! − ln(√(2πn) (n/e)ⁿ), n ≥ 1.
fn stirling(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let factorial: f64 = (1..=n).map(|i| i as f64).product();
        return factorial.ln() - (x + 0.5) * x.ln() + x - 0.5 * std::f64::consts::TAU.ln();
    }
    let x2 = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1_260.0 - (1.0 / 1_680.0 - 1.0 / (1_188.0 * x2)) / x2) / x2) / x2) / x
}

/// x ln(x/m) + m − x, without losing digits where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let (mut sum, mut term) = ((x - m) * v, 2.0 * x * v);
    for j in 1..1_000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(over: u64, of: u64, allowed: f64) -> Verdict {
        verdict(over, of, allowed, MISS)
    }

    /// The table of docs/METRICS.md.
    #[test]
    fn the_table_of_the_statistics() {
        for (n, pass, fail) in [(300, 8, 22), (1_000, 38, 63), (3_000, 130, 171)] {
            assert_eq!(
                [at(pass, n, 0.05), at(pass + 1, n, 0.05)],
                [Verdict::Pass, Verdict::Undecided],
                "{n}"
            );
            assert_eq!(
                [at(fail - 1, n, 0.05), at(fail, n, 0.05)],
                [Verdict::Undecided, Verdict::Fail],
                "{n}"
            );
        }
        assert_eq!([at(0, 58, 0.05), at(0, 59, 0.05)], [Verdict::Undecided, Verdict::Pass]);
        assert_eq!([at(0, 2_994, 0.001), at(0, 2_995, 0.001)], [Verdict::Undecided, Verdict::Pass]);
        assert_eq!(at(0, 0, 0.05), Verdict::Undecided, "nothing measured decides nothing");
        assert_eq!([0.05, 0.01, 0.001, 0.5].map(|a| fewest(a, MISS)), [59, 299, 2_995, 5]);
        assert_eq!([0.05, 0.01].map(|a| fewest(a, 0.01)), [90, 459]);
    }

    /// Known values: Clopper and Pearson's own table has 0.95 one-sided limits of 10 at 0.005 … 0.606.
    #[test]
    fn bounds_are_those_of_the_books() {
        let close = |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-4);
        assert!(close(bounds(1, 10, MISS), [0.0051, 0.3942]));
        assert!(close(bounds(3, 10, MISS), [0.0873, 0.6066]));
        assert!(close(bounds(0, 59, MISS), [0.0, 0.0495]));
        assert!(close(bounds(10, 10, MISS), [0.7411, 1.0]));
        assert_eq!(bounds(0, 0, MISS), [0.0, 1.0]);
    }

    #[test]
    fn sums_are_probabilities() {
        assert_eq!(at_most(5, 5, 0.3), 1.0);
        assert!((at_most(0, 59, 0.05) - 0.95_f64.powi(59)).abs() < 1e-15);
        assert!((at_most(2, 4, 0.5) - 11.0 / 16.0).abs() < 1e-14);
        assert!((at_least(3, 4, 0.5) - 5.0 / 16.0).abs() < 1e-14);
        assert!((at_most(100_000, 1_000_000, 0.1) - 0.5).abs() < 0.01);
        assert!((at_most(50_000_000, 1_000_000_000, 0.05) - 0.5).abs() < 1e-4, "digits hold for any sample");
        assert_eq!([at_most(3, 9, 0.0), at_most(3, 9, 1.0), at_least(3, 9, 0.0)], [1.0, 0.0, 0.0]);
        // Against the sum from the beginning, term by term.
        let (n, p) = (200_u64, 0.07_f64);
        let (mut term, mut sum) = ((1.0 - p).powi(200), 0.0);
        for k in 0..60_u64 {
            sum += term;
            assert!((at_most(k, n, p) - sum).abs() < 1e-12, "{k}");
            term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
    }

    #[test]
    fn how_many_would_decide() {
        assert_eq!(needed(0, 40, 0.05, MISS), Some(59));
        assert_eq!(needed(0, 100, 0.05, MISS), Some(100), "decided");
        assert_eq!(needed(0, 0, 0.05, MISS), None);
        assert_eq!(needed(5, 100, 0.05, MISS), None, "on the limit");
        let n = needed(4, 100, 0.05, MISS).unwrap();
        assert!((1_200..1_600).contains(&n), "4 % against 5 %: {n}");
        assert_eq!(at((n as f64 * 0.04).ceil() as u64, n, 0.05), Verdict::Pass);
        let n = needed(2, 20, 0.05, MISS).unwrap();
        assert_eq!(at(n / 10, n, 0.05), Verdict::Fail, "10 % against 5 %: {n}");
    }

    const ORDER: fn(Verdict) -> u8 = |v| match v {
        Verdict::Pass => 0,
        Verdict::Undecided => 1,
        Verdict::Fail => 2,
    };

    proptest! {
        #[test]
        fn more_over_the_limit_is_never_better(of in 1..3_000_u64, over in 0..3_000_u64, allowed in 0.0005..0.9_f64) {
            let over = over % of;
            prop_assert!(ORDER(at(over, of, allowed)) <= ORDER(at(over + 1, of, allowed)));
            let [low, high] = bounds(over, of, MISS);
            let [more_low, more_high] = bounds(over + 1, of, MISS);
            prop_assert!(low <= more_low && high <= more_high);
            let seen = over as f64 / of as f64;
            prop_assert!(low <= seen + 1e-9 && seen <= high + 1e-9, "{low} {seen} {high}");
        }

        #[test]
        fn more_samples_with_none_over_are_never_worse(of in 1..5_000_u64, over in 0..100_u64, more in 1..5_000_u64, allowed in 0.001..0.5_f64) {
            let over = over % (of + 1);
            prop_assert!(ORDER(at(over, of + more, allowed)) <= ORDER(at(over, of, allowed)));
        }

        #[test]
        fn verdicts_are_what_the_bounds_say(of in 1..3_000_u64, over in 0..3_000_u64, allowed in 0.0005..0.9_f64) {
            let over = over % (of + 1);
            let [low, high] = bounds(over, of, MISS);
            prop_assume!((low - allowed).abs() > 1e-9 && (high - allowed).abs() > 1e-9);
            let expected = match () {
                () if high < allowed => Verdict::Pass,
                () if low > allowed => Verdict::Fail,
                () => Verdict::Undecided,
            };
            prop_assert_eq!(at(over, of, allowed), expected);
        }

        #[test]
        fn what_is_needed_is_more_than_there_is(of in 1..500_u64, over in 0..500_u64, allowed in 0.01..0.5_f64) {
            let over = over % (of + 1);
            let undecided = at(over, of, allowed) == Verdict::Undecided;
            let right = |n: u64| if undecided { n > of } else { n == of };
            prop_assert!(needed(over, of, allowed, MISS).is_none_or(right));
        }
    }
}
