//! A/A: comparing the same with the same raises no more alarms than stated; ten per cent more delay is found.
//!
//! Runs cost time, so one pool of runs of the same scenario (each with a seed of its own) serves all comparisons: a
//! seeded permutation deals two sides of five for each. Every tenth of the pool's turns being slow would be seen by both
//! sides, as it should.

use super::lab::{Lab, Order, Ran};
use super::{Check, Finding, Trouble};
use crate::gate::compare::{Comparison, Verdict, compare};
use crate::measure::{Distribution, Quantile};
use crate::seed::{Seed, Stream};
use crate::time::Micros;

/// Runs a side.
const SIDE: usize = 5;
/// Comparisons of the same with the same.
const COMPARISONS: usize = 20;
/// Alarms that are one too many: exact intervals lie beyond zero on the slow side in 1.6 % of comparisons, and 20
/// independent ones would raise more than one alarm in 4 of 100 cases, even without a margin.
const ALARMS: usize = 1;
/// Runs at the same time.
const AT_ONCE: usize = 5;

/// The server's delay, and the same with ten per cent more.
const DELAY: &str = "normal(300ms, 10ms)";
const INJECTED: &str = "normal(330ms, 11ms)";

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let pool = lab.pick(20, 10);
    let same = runs(lab, "same", DELAY, pool)?;
    let slower = runs(lab, "slower", INJECTED, SIDE)?;
    let (same, slower) = (headline(&same)?, headline(&slower)?);
    let mut finding = judge(&same, &slower)?;
    finding.notes.push(format!(
        "One number a run: p95 TTFA, failures as +∞. A pool of {pool} runs (delay {DELAY}), a seed each, {AT_ONCE} at the same \
         time; each of the {COMPARISONS} comparisons deals two disjoint sides of {SIDE} from it by a seeded permutation, so they \
         are not independent of each other. Against it, {SIDE} runs with 10 % more delay ({INJECTED})."
    ));
    Ok(finding)
}

fn runs(lab: &mut Lab, name: &str, delay: &str, count: usize) -> Result<Vec<Ran>, Trouble> {
    let orders: Vec<Order> = (1..=count)
        .map(|n| {
            let toml = format!(
                "seed = {n}\n[fleet]\narrivals = \"open\"\nrate = 60.0\ndevices = 500\nduration = \"2s\"\n\
                 [reference]\nllm = \"{delay}\""
            );
            Order::new(format!("{name}-{n}"), toml)
        })
        .collect();
    let mut all = Vec::new();
    for some in orders.chunks(AT_ONCE) {
        lab.step(&format!("{name}: runs {} to {} of {count}", all.len() + 1, all.len() + some.len()));
        all.extend(lab.valid_at_once(some)?);
    }
    Ok(all)
}

/// The number that counts of each run.
fn headline(runs: &[Ran]) -> Result<Vec<Quantile>, Trouble> {
    let of = |ran: &Ran| {
        let ttfa = ran.result.metrics.get("ttfa").ok_or("no TTFA in result.json")?;
        Distribution::from_result(ttfa)?.quantile(0.95).ok_or_else(|| "no turn was answered".to_owned())
    };
    runs.iter().map(|r| of(r).map_err(|e: String| Trouble::Broken(e))).collect()
}

fn judge(pool: &[Quantile], slower: &[Quantile]) -> Result<Finding, Trouble> {
    let mut r = Seed(1).stream("A/A", 0);
    let same: Vec<Comparison> = (0..COMPARISONS)
        .map(|_| {
            let (a, b) = deal(pool, &mut r);
            compare(&a, &b)
        })
        .collect::<Result<_, _>>()
        .map_err(Trouble::Broken)?;
    let (side, _) = deal(pool, &mut r);
    let injected = compare(&side, slower).map_err(Trouble::Broken)?;
    if matches!(injected.verdict, Verdict::Inconclusive { .. }) {
        // Neither found nor overlooked: the comparison itself says that these runs do not decide it.
        return Err(Trouble::Invalid(format!(
            "runs of the same thing spread too much on this machine to tell 10 % more delay (p95 TTFA {}): the comparison was \
             inconclusive, with an interval of {} to {} around a margin of {}; try again on an idle machine",
            spread(pool),
            ms(injected.low),
            ms(injected.high),
            injected.margin
        )));
    }
    let count = |v: fn(&Comparison) -> bool| same.iter().filter(|c| v(c)).count();
    let alarms = count(|c| c.verdict == Verdict::Regression);
    let passed = count(|c| c.verdict == Verdict::Pass);
    let widest = same.iter().map(|c| c.high - c.low).fold(0.0, f64::max);
    Ok(Finding {
        checks: vec![
            Check::new(
                format!("{COMPARISONS} comparisons of the same with the same: alarms"),
                format!("at most {ALARMS}"),
                format!("{alarms}; {passed} pass, {} inconclusive", COMPARISONS - alarms - passed),
                alarms <= ALARMS,
            ),
            Check::new(
                "10 % more delay",
                "a regression",
                format!(
                    "shift {}, {:.1} % interval {} to {}, margin {}",
                    ms(injected.shift),
                    injected.confidence * 100.0,
                    ms(injected.low),
                    ms(injected.high),
                    injected.margin
                ),
                injected.verdict == Verdict::Regression,
            ),
        ],
        notes: vec![format!(
            "p95 TTFA of the pool's runs: {}. Widest interval of the {COMPARISONS}: {}; beyond zero, on either side: {} of them.",
            spread(pool),
            Micros(widest as i64),
            count(Comparison::shifted)
        )],
        charts: Vec::new(),
    })
}

fn ms(us: f64) -> String {
    format!("{:+.1} ms", us / 1e3)
}

fn spread(pool: &[Quantile]) -> String {
    let mut sorted = pool.to_vec();
    sorted.sort_unstable();
    let show = |q: Option<&Quantile>| match q {
        Some(Quantile::Finite(t)) => format!("{:.1} ms", t.as_millis_f64()),
        Some(Quantile::Infinite) => "∞".to_owned(),
        None => "–".to_owned(),
    };
    format!(
        "{} to {}, median {}",
        show(sorted.first()),
        show(sorted.last()),
        show(sorted.get(sorted.len() / 2))
    )
}

/// Two disjoint sides, as a seeded permutation deals them.
fn deal(pool: &[Quantile], r: &mut Stream) -> (Vec<Quantile>, Vec<Quantile>) {
    let mut cards = pool.to_vec();
    for i in (1..cards.len()).rev() {
        cards.swap(i, r.below(i as u64 + 1) as usize);
    }
    let b = cards.iter().skip(SIDE).take(SIDE).copied().collect();
    cards.truncate(SIDE);
    (cards, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs around a median that spread by a share.
    fn runs(median: f64, spread: f64, n: usize, purpose: &str) -> Vec<Quantile> {
        let mut r = Seed(2).stream(purpose, 0);
        (0..n).map(|_| Quantile::Finite(Micros((median * (1.0 + spread * r.normal())) as i64))).collect()
    }

    fn ok(pool: &[Quantile], slower: &[Quantile]) -> Vec<bool> {
        judge(pool, slower).unwrap().checks.iter().map(|c| c.ok).collect()
    }

    #[test]
    fn alike_runs_raise_no_alarm_and_slower_ones_do() {
        let pool = runs(316_000.0, 0.01, 20, "pool");
        assert_eq!(ok(&pool, &runs(348_000.0, 0.01, 5, "slower")), [true, true]);
        assert_eq!(ok(&pool, &runs(316_000.0, 0.01, 5, "no slower")), [true, false]);
    }

    #[test]
    fn a_pool_of_two_kinds_of_runs_raises_alarms_or_decides_nothing() {
        let mut pool = runs(316_000.0, 0.001, 5, "fast");
        pool.extend(runs(400_000.0, 0.001, 5, "slow"));
        let undecided = judge(&pool, &runs(348_000.0, 0.01, 5, "slower")).unwrap_err();
        assert!(matches!(&undecided, Trouble::Invalid(why) if why.contains("399.9")), "{undecided:?}");
        let f = judge(&pool, &runs(500_000.0, 0.01, 5, "much slower")).unwrap();
        assert!(!f.checks[0].seen.contains("20 pass"), "{:?}", f.checks);
    }

    #[test]
    fn sides_are_disjoint() {
        let pool: Vec<_> = (0..10).map(|n| Quantile::Finite(Micros(n))).collect();
        let (mut a, b) = deal(&pool, &mut Seed(1).stream("deal", 0));
        assert_eq!((a.len(), b.len()), (SIDE, SIDE));
        a.extend(b);
        a.sort_unstable();
        assert_eq!(a, pool);
    }
}
