//! One run against one: how far the two runs themselves differ, by resampling blocks of consecutive turns (turns that
//! follow each other are alike, so single turns must not be shuffled).
//!
//! Runs of the same thing differ by more than this says: in a simulation with 6 % spread from run to run, 40 % of such
//! comparisons of the same with the same would have been alarms. It is shown, and decides nothing.

use super::document::{Amount, WithinRun};
use crate::report::result::TurnRow;
use crate::seed::{Seed, Stream};

/// Resamples.
const RESAMPLES: u32 = 1_000;
/// Fewest turns a run.
const FEWEST: usize = 20;

/// The TTFA of each judged turn in the order of their plans, µs; failures are [`f64::INFINITY`].
pub fn ttfa(mut turns: Vec<TurnRow>) -> Vec<f64> {
    turns.retain(|t| !t.warmup && t.outcome != "cancelled");
    turns.sort_by_key(|t| t.planned_start_us);
    let answered = |t: &TurnRow| matches!(t.outcome.as_str(), "ok" | "interrupted");
    turns.iter().map(|t| t.ttfa_us.filter(|_| answered(t)).map_or(f64::INFINITY, |us| us as f64)).collect()
}

/// The difference of a quantile between two runs, with an interval that holds it in 95 % of the resamples.
pub fn within_run(base: &[f64], new: &[f64], q: f64) -> Option<WithinRun> {
    if base.len().min(new.len()) < FEWEST {
        return None;
    }
    let block = (base.len().min(new.len()) as f64).cbrt().round() as usize;
    let mut draws = [Seed(1).stream("block bootstrap", 0), Seed(1).stream("block bootstrap", 1)];
    let [for_base, for_new] = &mut draws;
    let mut all: Vec<f64> = (0..RESAMPLES)
        .map(|_| difference(resampled(base, block, q, for_base), resampled(new, block, q, for_new)))
        .collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get((f64::from(RESAMPLES) * share) as usize).copied().map(Amount);
    let shift = difference(quantile(&mut base.to_vec(), q), quantile(&mut new.to_vec(), q));
    Some(WithinRun { shift: Amount(shift), low: at(0.025)?, high: at(0.975)?, block, resamples: RESAMPLES })
}

/// Two failures do not differ.
fn difference(base: f64, new: f64) -> f64 {
    if base.is_infinite() && new.is_infinite() { 0.0 } else { new - base }
}

/// The quantile of blocks drawn with replacement, as many turns as there were.
fn resampled(turns: &[f64], block: usize, q: f64, draws: &mut Stream) -> f64 {
    let mut sample = Vec::with_capacity(turns.len() + block);
    while sample.len() < turns.len() {
        let from = draws.below((turns.len() - block + 1) as u64) as usize;
        sample.extend(turns.iter().skip(from).take(block));
    }
    sample.truncate(turns.len());
    quantile(&mut sample, q)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    let rank = ((q * values.len() as f64 - 1e-9).ceil() as usize).clamp(1, values.len().max(1));
    if values.is_empty() {
        return f64::INFINITY;
    }
    *values.select_nth_unstable_by(rank - 1, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(median: f64, purpose: &str) -> Vec<f64> {
        let mut r = Seed(3).stream(purpose, 0);
        (0..400).map(|_| median * (1.0 + 0.1 * r.normal())).collect()
    }

    #[test]
    fn two_runs_are_told_apart_or_not() {
        let base = turns(300_000.0, "a");
        let same = within_run(&base, &turns(300_000.0, "b"), 0.95).unwrap();
        assert!(same.low.0 < 0.0 && same.high.0 > 0.0, "{same:?}");
        let slower = within_run(&base, &turns(400_000.0, "c"), 0.95).unwrap();
        assert!(
            slower.low.0 > 60_000.0 && slower.low < slower.shift && slower.shift < slower.high,
            "{slower:?}"
        );
        assert_eq!(slower.block, 7);
        assert_eq!(within_run(&base, &turns(400_000.0, "c"), 0.95), Some(slower), "repeatable");
    }

    #[test]
    fn failures_and_few_turns() {
        let base = turns(300_000.0, "a");
        let mut failing = base.clone();
        failing.iter_mut().step_by(5).for_each(|t| *t = f64::INFINITY);
        let w = within_run(&base, &failing, 0.95).unwrap();
        assert_eq!((w.shift.0, w.high.0), (f64::INFINITY, f64::INFINITY));
        assert_eq!(within_run(&base, &base[..10], 0.95), None);
    }

    #[test]
    fn turns_in_the_order_of_their_plan() {
        let turn = |start, outcome: &str, ttfa| TurnRow {
            planned_start_us: start,
            outcome: outcome.to_owned(),
            ttfa_us: ttfa,
            ..TurnRow::default()
        };
        let rows = vec![
            turn(3, "timeout", None),
            turn(1, "ok", Some(10)),
            turn(2, "cancelled", Some(99)),
            TurnRow { warmup: true, ..turn(0, "ok", Some(99)) },
            turn(4, "stalls", Some(30)),
        ];
        assert_eq!(ttfa(rows), [10.0, f64::INFINITY, f64::INFINITY]);
    }
}
