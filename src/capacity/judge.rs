//! What a probe's files say about the scenario's thresholds.

use super::binomial::{Share, Verdict, design_effect};
use super::search::Tally;
use crate::gate::{Allowance, AllowedOf, Threshold};
use crate::measure::Metric;
use crate::report::RunResult;
use crate::report::result::TurnRow;
use crate::time::Micros;

/// Slices of a run whose differences tell how much turns depend on each other: long, so that a queue that builds up and
/// goes away again fits into one. (Eight slots of 100 ms near their limit: 12 s worth 900 turns tell as much as 20 independent
/// ones. Slices find a good part of that, how runs differ from each other finds the rest.)
pub const SLICES: usize = 5;

/// A look at a probe under way is believed only when it is surer than this: there are many looks.
const EARLY_MISS: f64 = 0.001;

/// And only after so many times the turns that it would need.
const EARLY_EFFECT: f64 = 3.0;

/// A threshold, as a budget that a server keeps or does not.
#[derive(Clone, Debug)]
pub struct Budget {
    /// As written.
    pub expression: String,
    threshold: Threshold,
    allowance: Option<Allowance>,
}

impl Budget {
    /// Of a checked expression.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let threshold = Threshold::parse(expression).map_err(|e| e.to_string())?;
        // Rows of turns do not tell by group: those are judged by their value.
        let allowance = threshold.allowance().filter(|_| threshold.group().is_none());
        Ok(Self { expression: expression.to_owned(), allowance, threshold })
    }

    /// The share of turns that may be over it; `None`: it is no share of turns, and judged without confidence.
    pub fn allowed(&self) -> Option<f64> {
        self.allowance.map(|a| a.share)
    }

    /// The limit of TTFA, for charts; `None`: it is about something else.
    pub fn ttfa_limit(&self) -> Option<Micros> {
        match self.allowance?.of {
            AllowedOf::Above(Metric::Ttfa, limit) => Some(limit),
            _ => None,
        }
    }

    /// What a finished probe says.
    fn tally(&self, result: &RunResult, turns: &[TurnRow]) -> Tally {
        let Some(allowance) = self.allowance else {
            let held = self.threshold.holds(result);
            return Tally::Plain { held: held.into(), failed: (!held).into() };
        };
        let (over, of) = self.threshold.over(allowance.of, result).unwrap_or_default();
        let until = result.warmup_us + result.generator.load_us.max(1);
        let slices = slices(turns, result.warmup_us, until, |t| allowance.over(t));
        Tally::Share(Share { over, of, allowed: allowance.share, effect: design_effect(&slices) })
    }
}

impl Allowance {
    /// Whether a turn is over it; `None`: it does not count, or a row does not tell.
    fn over(&self, turn: &TurnRow) -> Option<bool> {
        let failed = failed(turn)?;
        match self.of {
            AllowedOf::Counted(c) if c.name == "turns.failed" => Some(failed),
            AllowedOf::NotCounted(c) if c.name == "turns.succeeded" => Some(failed || turn.outcome != "ok"),
            AllowedOf::Counted(_)
            | AllowedOf::NotCounted(_)
            | AllowedOf::Stalled(_)
            | AllowedOf::NotStalled(_) => None,
            AllowedOf::Above(_, _) if failed => Some(true),
            AllowedOf::Above(metric, limit) => of_turn(turn, metric).map(|us| us > limit.0),
            AllowedOf::UpTo(_, _) if failed => Some(false),
            AllowedOf::UpTo(metric, limit) => of_turn(turn, metric).map(|us| us <= limit.0),
        }
    }
}

/// A metric of a turn that was answered, where its row has it.
const fn of_turn(turn: &TurnRow, metric: Metric) -> Option<i64> {
    match metric {
        Metric::Ttfa => turn.ttfa_us,
        Metric::Ttft => turn.ttft_us,
        Metric::TtfaFirstByte => turn.ttfa_first_byte_us,
        Metric::FinalTranscript => turn.final_transcript_us,
        Metric::EndpointDelay => turn.endpoint_delay_us,
        _ => None,
    }
}

/// Whether a turn failed; `None`: the end of the run cut it.
fn failed(turn: &TurnRow) -> Option<bool> {
    match turn.outcome.as_str() {
        "ok" | "interrupted" => Some(false),
        "cancelled" => None,
        _ => Some(true),
    }
}

/// (over, of) by slices of the time from `from` to `until`.
fn slices(
    turns: &[TurnRow],
    from: i64,
    until: i64,
    over: impl Fn(&TurnRow) -> Option<bool>,
) -> Vec<(u64, u64)> {
    let mut slices = vec![(0, 0); SLICES];
    let width = ((until - from) as f64 / SLICES as f64).max(1.0);
    for t in turns.iter().filter(|t| !t.warmup) {
        let Some(over) = over(t) else { continue };
        let at = ((t.end_of_speech_us - from) as f64 / width).max(0.0) as usize;
        if let Some(slice) = slices.get_mut(at.min(SLICES - 1)) {
            *slice = (slice.0 + u64::from(over), slice.1 + 1);
        }
    }
    slices
}

/// One tally a budget.
pub fn tallies(budgets: &[Budget], result: &RunResult, turns: &[TurnRow]) -> Vec<Tally> {
    budgets.iter().map(|b| b.tally(result, turns)).collect()
}

/// What the turns so far leave no doubt about: `Some(true)` that every budget holds, `Some(false)` that one does not.
/// Turns that have not ended are not there yet, and tend to be the slow ones: one more reason to ask it of many.
pub fn certain(budgets: &[Budget], turns: &[TurnRow]) -> Option<bool> {
    let counted: Vec<&TurnRow> = turns.iter().filter(|t| !t.warmup).collect();
    let (from, until) = counted
        .iter()
        .fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(t.end_of_speech_us), b.max(t.end_of_speech_us)));
    if from >= until {
        return None;
    }
    let (mut all_hold, mut any_fails) = (true, false);
    for b in budgets {
        let Some(allowance) = b.allowance else {
            all_hold = false;
            continue;
        };
        let slices = slices(turns, from, until, |t| allowance.over(t));
        let (over, of) = slices.iter().fold((0, 0), |(x, n), (a, b)| (x + a, n + b));
        let share = Share { over, of, allowed: allowance.share, effect: design_effect(&slices) };
        // The slices of a beginning are short, and find less than there is of how turns depend on each other.
        let share = Share { effect: share.effect * EARLY_EFFECT, ..share };
        any_fails |= share.verdict_at(EARLY_MISS) == Verdict::Fail;
        all_hold &= share.verdict_at(EARLY_MISS) == Verdict::Pass;
    }
    if any_fails { Some(false) } else { (all_hold && !budgets.is_empty()).then_some(true) }
}

/// Devices in a turn: as counted once an interval, and as Little's law has it from the rate of turns and their length
/// (J. D. C. Little, Operations Research 9 (1961) 383–387). The two come from different files; when they differ, one is
/// wrong, or the load was not steady.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Little {
    /// Mean of the counts.
    pub counted: f64,
    /// Turns per second × mean length of a turn.
    pub computed: f64,
    /// By so much they differ by chance (95 %): counts are few, and turns begin at random.
    pub error: f64,
}

impl Little {
    /// From a finished probe; `None` when it was too short.
    pub fn of(result: &RunResult, turns: &[TurnRow]) -> Option<Self> {
        let (from, until) = window(result);
        let counts: Vec<f64> = result
            .intervals
            .iter()
            .filter(|i| i.start_us >= from && i.start_us + i.width_us <= until)
            .map(|i| f64::from(i.in_turn))
            .collect();
        let n = counts.len() as f64;
        if counts.len() < 4 {
            return None;
        }
        let counted = counts.iter().sum::<f64>() / n;
        let variance = counts.iter().map(|c| (c - counted).powi(2)).sum::<f64>() / (n - 1.0);
        let computed = turn_rate(result, turns) * mean_length(turns, (from, until))?.as_secs_f64();
        let begun = turn_rate(result, turns) * Micros(until - from).as_secs_f64();
        let (of_counts, of_rate) = (variance / n, computed * computed / begun.max(1.0));
        Some(Self { counted, computed, error: 1.96 * (of_counts + of_rate).sqrt() })
    }

    /// Within 2 %, or what the counts leave open.
    pub fn agrees(&self) -> bool {
        (self.counted - self.computed).abs() <= (0.02 * self.computed).max(self.error)
    }
}

/// Mean length of the turns that ended under the load that counts.
pub fn turn_length(result: &RunResult, turns: &[TurnRow]) -> Option<Micros> {
    mean_length(turns, window(result))
}

/// The same between these instants. A turn that is talked into ends, for its device, where the next begins.
fn mean_length(turns: &[TurnRow], (from, until): (i64, i64)) -> Option<Micros> {
    let mut all: Vec<&TurnRow> = turns.iter().filter(|t| failed(t).is_some()).collect();
    all.sort_by_key(|t| (t.device, t.planned_start_us));
    let next = all.iter().skip(1).map(Some).chain([None]);
    let lengths = all.iter().zip(next).filter_map(|(t, next)| {
        let next = next.filter(|n| n.device == t.device).map_or(i64::MAX, |n| n.planned_start_us);
        let end = t.ended_us.min(next);
        (from..until).contains(&end).then_some(end - t.planned_start_us)
    });
    let (sum, count) = lengths.fold((0, 0), |(sum, count), length| (sum + length, count + 1));
    (count > 0).then(|| Micros(sum / count))
}

/// From when until when turns counted.
pub fn window(result: &RunResult) -> (i64, i64) {
    (result.warmup_us, result.warmup_us + result.generator.load_us.max(1))
}

/// Turns that began under the load that counts, per second.
pub fn turn_rate(result: &RunResult, turns: &[TurnRow]) -> f64 {
    let (from, until) = window(result);
    let begun = turns.iter().filter(|t| (from..until).contains(&t.planned_start_us)).count();
    begun as f64 / Micros(until - from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Distribution;
    use crate::report::result::{Generator, IntervalPoint, TurnCounts};
    use crate::report::sample::{self, Kind};

    fn turn(at_ms: i64, ttfa_ms: Option<i64>) -> TurnRow {
        TurnRow {
            outcome: if ttfa_ms.is_some() { "ok" } else { "timeout" }.to_owned(),
            // Everybody says one thing.
            device: at_ms as u32,
            planned_start_us: at_ms * 1_000,
            end_of_speech_us: at_ms * 1_000,
            ended_us: (at_ms + 2_000) * 1_000,
            ttfa_us: ttfa_ms.map(|ms| ms * 1_000),
            ..TurnRow::default()
        }
    }

    fn budgets() -> Vec<Budget> {
        ["ttfa:p(95)<300ms", "turns.failed:rate<1%"].map(|e| Budget::parse(e).unwrap()).into()
    }

    /// Twelve seconds, 50 turns a second, of which some are slow and some fail.
    fn probe(slow: impl Fn(i64) -> bool, fails: impl Fn(i64) -> bool) -> (RunResult, Vec<TurnRow>) {
        let turns: Vec<_> =
            (0..600).map(|n| turn(n * 20, (!fails(n)).then(|| if slow(n) { 400 } else { 200 }))).collect();
        let mut ttfa = Distribution::default();
        for t in &turns {
            match t.ttfa_us {
                Some(us) => ttfa.record(Micros(us)),
                None => ttfa.record_infinite(),
            }
        }
        let failed = turns.iter().filter(|t| t.ttfa_us.is_none()).count() as u64;
        let intervals = (0..12).map(|s| IntervalPoint {
            start_us: s * 1_000_000,
            width_us: 1_000_000,
            in_turn: 100,
            ..IntervalPoint::default()
        });
        let result = RunResult {
            warmup_us: 0,
            generator: Generator { load_us: 12_000_000, ..Generator::default() },
            turns: TurnCounts {
                planned: 600,
                started: 600,
                succeeded: 600 - failed,
                failed,
                ..TurnCounts::default()
            },
            metrics: [("ttfa".to_owned(), ttfa.to_result("us"))].into(),
            intervals: intervals.collect(),
            ..sample::make(Kind::Good, 1, 10).result
        };
        (result, turns)
    }

    fn shares(t: &[Tally]) -> Vec<Share> {
        t.iter().filter_map(|t| if let Tally::Share(s) = t { Some(*s) } else { None }).collect()
    }

    #[test]
    fn turns_over_each_budget_are_counted() {
        let (result, turns) = probe(|n| n % 50 == 0, |n| n % 200 == 7);
        let s = shares(&tallies(&budgets(), &result, &turns));
        assert_eq!((s[0].over, s[0].of, s[1].over, s[1].of), (12 + 3, 600, 3, 600));
        assert!((s[0].allowed - 0.05).abs() < 1e-12 && s[0].effect < 1.5, "{:?}", s[0]);
        let (result, turns) = probe(|n| (100..130).contains(&n), |_| false);
        assert!(shares(&tallies(&budgets(), &result, &turns))[0].effect > 5.0, "all at once");
    }

    #[test]
    fn other_thresholds_hold_or_do_not() {
        let (result, turns) = probe(|n| n == 3, |_| false);
        let plain = ["ttfa:max<350ms", "ttfa:max<500ms"].map(|e| Budget::parse(e).unwrap());
        let t = tallies(&plain, &result, &turns);
        assert_eq!(t, [Tally::Plain { held: 0, failed: 1 }, Tally::Plain { held: 1, failed: 0 }]);
        assert_eq!(certain(&plain, &turns), None);
    }

    #[test]
    fn a_look_is_believed_when_it_leaves_no_doubt() {
        assert_eq!(certain(&budgets(), &probe(|n| n % 3 == 0, |_| false).1), Some(false));
        assert_eq!(certain(&budgets()[..1], &probe(|_| false, |_| false).1), Some(true));
        assert_eq!(
            certain(&budgets(), &probe(|_| false, |_| false).1),
            None,
            "1 % of failures needs more turns"
        );
        assert_eq!(certain(&budgets(), &probe(|n| n % 20 == 0, |_| false).1), None);
        assert_eq!(certain(&budgets(), &[]), None);
    }

    #[test]
    fn a_turn_that_is_talked_into_ends_there() {
        let mut all = [turn(0, Some(100)), turn(1_200, Some(100)), turn(9_000, Some(100))];
        all.iter_mut().for_each(|t| t.device = 7);
        let all_day = (0, 100_000_000);
        assert_eq!(mean_length(&all, all_day), Some(Micros((1_200 + 2_000 + 2_000) * 1_000 / 3)));
        assert_eq!(mean_length(&all, (0, 2_000_000)), Some(Micros(1_200_000)), "the others end later");
        assert_eq!(mean_length(&[], all_day), None);
    }

    #[test]
    fn littles_law() {
        let (result, turns) = probe(|_| false, |_| false);
        let little = Little::of(&result, &turns).unwrap();
        assert_eq!((little.counted, little.computed), (100.0, 100.0));
        assert!(little.agrees() && !Little { computed: 112.0, ..little }.agrees());
        assert!((turn_rate(&result, &turns) - 50.0).abs() < 1e-9);
        assert_eq!(Little::of(&RunResult { intervals: Vec::new(), ..result }, &turns), None);
    }
}
