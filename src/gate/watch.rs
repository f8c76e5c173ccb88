//! Thresholds while a run lasts: one that has certainly failed may stop it, those that are undecided may extend it.
//!
//! ```text
//! warm-up │ load ──────── delay ──── abort_on_fail: certain? stop │ planned end ─ undecided? go on … decided, or the limit
//! ```
//!
//! Who looks again and again finds something in the end. So a run is stopped for a threshold only when it fails with
//! 99.9 % confidence, and a run that may be extended is judged with 99 %, from its planned end on, each time that it
//! has half as many turns again: then at most one in twenty of such runs ends with a wrong pass, as without extension
//! (a test simulates it).

use super::threshold::{Evidence, Rule, Threshold};
use crate::measure::Metric;
use crate::report::result::{Aborted, ThresholdVerdict};
use crate::scenario::{GatePlan, Scenario, Undecided};
use crate::time::Micros;

/// A wrong verdict at one of the looks at a run that may be extended.
const EXTEND_MISS: f64 = 0.01;

/// A run is looked at again when it has so many times the turns.
const GROWTH: f64 = 1.5;

impl Rule {
    /// That of a scenario.
    pub fn of(plan: &GatePlan) -> Self {
        let usual = Self { undecided_passes: plan.undecided == Undecided::Pass, ..Self::default() };
        if plan.undecided == Undecided::Extend { Self { miss: EXTEND_MISS, ..usual } } else { usual }
    }
}

/// Why no more turns are to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A threshold has certainly failed.
    Abort(Aborted),
    /// The run was extended, and is decided.
    Decided,
}

/// Looks at the thresholds of a run under way.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Those that are shares: what a run is extended for.
    shares: Vec<Threshold>,
    /// Those that stop it, and from when on.
    aborts: Vec<(Threshold, Micros)>,
    rule: Rule,
    planned: Micros,
    extension: Micros,
    /// Turns at the next look.
    next: u64,
}

impl Watch {
    /// For a run of the scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let (gate, fleet) = (&scenario.gate, &scenario.fleet);
        let all: Vec<Option<Threshold>> =
            scenario.thresholds.iter().map(|t| Threshold::parse(t).ok()).collect();
        let aborts = gate
            .aborts
            .iter()
            .filter_map(|a| Some((all.get(a.threshold)?.clone()?, fleet.warmup.saturating_add(a.delay))));
        let aborts = aborts.collect();
        let mut shares: Vec<Threshold> = all.into_iter().flatten().collect();
        shares.retain(|t| t.allowance().is_some());
        // What is judged by its value is never undecided.
        let extends = gate.undecided == Undecided::Extend && !shares.is_empty();
        Self {
            shares,
            aborts,
            rule: Rule::of(gate),
            planned: fleet.duration,
            extension: if extends { gate.extend_limit } else { Micros::ZERO },
            next: 0,
        }
    }

    /// How much longer than planned the run may last.
    pub const fn extension(&self) -> Micros {
        self.extension
    }

    /// After each interval: whether to stop.
    pub fn look(&mut self, now: Micros, evidence: &dyn Evidence) -> Option<Stop> {
        for (threshold, from) in &self.aborts {
            if now < *from {
                continue;
            }
            if let Some(seen) = threshold.certainly_fails(evidence) {
                return Some(Stop::Abort(Aborted {
                    expression: threshold.expression().to_owned(),
                    at_us: now.0,
                    planned_us: self.planned.0,
                    seen,
                }));
            }
        }
        if self.extension == Micros::ZERO || now < self.planned {
            return None;
        }
        let turns = evidence.distribution(Metric::Ttfa, None).ok().flatten().map_or(0, |d| d.count());
        if turns < self.next {
            return None;
        }
        self.next = (turns as f64 * GROWTH).ceil() as u64 + 1;
        let verdicts = self.shares.iter().map(|t| t.judge(evidence, self.rule).verdict());
        let verdicts: Vec<ThresholdVerdict> = verdicts.collect();
        // One that fails decides the run, whatever the others would come to.
        let decided =
            verdicts.contains(&ThresholdVerdict::Fail) || !verdicts.contains(&ThresholdVerdict::Undecided);
        decided.then_some(Stop::Decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::binomial::{Verdict, verdict};
    use crate::gate::threshold::Counted;
    use crate::measure::Distribution;
    use crate::report::result::{PlaybackResult, TurnCounts};
    use crate::scenario::{Environment, Source, load_in};
    use crate::seed::Seed;
    use std::borrow::Cow;

    /// Turns of which some take 400 ms instead of 100, and some fail.
    struct Turns {
        quick: u64,
        slow: u64,
        failed: u64,
    }

    impl Evidence for Turns {
        fn distribution(&self, _: Metric, _: Option<&str>) -> Result<Option<Cow<'_, Distribution>>, String> {
            let mut d = Distribution::default();
            (0..self.quick).for_each(|_| d.record(Micros::from_millis(100)));
            (0..self.slow).for_each(|_| d.record(Micros::from_millis(400)));
            (0..self.failed).for_each(|_| d.record_infinite());
            Ok((d.count() > 0).then_some(Cow::Owned(d)))
        }

        fn counted(&self, _: Option<&str>) -> Result<Counted, String> {
            let turns = TurnCounts {
                succeeded: self.quick + self.slow,
                failed: self.failed,
                ..TurnCounts::default()
            };
            Ok(Counted { turns: turns.of_ended(), ..Counted::default() })
        }

        fn playback(&self, _: Micros) -> Result<PlaybackResult, String> {
            Err("none".to_owned())
        }
    }

    fn watch(toml: &str) -> Watch {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, format!("{toml}\n[fleet]\nduration = \"30s\"\nwarmup = \"5s\"\n")).unwrap();
        let source = Source::find(file.to_str().unwrap()).unwrap();
        Watch::new(&load_in(&source, &[], &Environment::default()).unwrap_or_else(|d| panic!("{d}")))
    }

    const S: fn(i64) -> Micros = Micros::from_secs;

    #[test]
    fn a_run_is_stopped_when_a_threshold_has_certainly_failed() {
        let mut w = watch(
            "thresholds = [{ threshold = \"ttfa:p(95)<300ms\", abort_on_fail = true, delay = \"10s\" }, \"turns.failed:rate<1%\"]",
        );
        let bad = Turns { quick: 50, slow: 20, failed: 0 };
        assert_eq!(w.look(S(14), &bad), None, "warm-up and the delay come first");
        let Some(Stop::Abort(a)) = w.look(S(15), &bad) else { panic!() };
        assert_eq!(
            (a.expression.as_str(), a.at_us, a.planned_us),
            ("ttfa:p(95)<300ms", 15_000_000, 30_000_000)
        );
        assert_eq!(a.seen, "400 ms: 20 of 70 over 300 ms");
        assert_eq!(w.look(S(20), &Turns { quick: 50, slow: 4, failed: 0 }), None, "it may recover");
        assert_eq!(w.look(S(20), &Turns { quick: 0, slow: 0, failed: 0 }), None, "not yet measured");
        assert!(w.look(S(20), &Turns { quick: 900, slow: 0, failed: 90 }).is_some(), "failures are slow");
        assert_eq!(w.extension(), Micros::ZERO);
        let mut w = watch("thresholds = [\"turns.failed:rate<1%\"]");
        assert_eq!(w.look(S(29), &Turns { quick: 0, slow: 0, failed: 500 }), None, "nobody asked for it");
    }

    #[test]
    fn counts_and_maxima_are_certain_when_they_are_passed() {
        let certain = |threshold: &str, t: &Turns| Threshold::parse(threshold).unwrap().certainly_fails(t);
        let t = Turns { quick: 10, slow: 1, failed: 2 };
        for fails in [
            "turns.failed:count==0",
            "turns.failed:count<2",
            "ttfa:max<1s",
            "ttfa:avg<1s",
            "ttfa:min>200ms",
            "turns.failed:rate==0%",
        ] {
            assert!(certain(fails, &t).is_some(), "{fails}");
        }
        for open in [
            "turns.failed:count==3",
            "ttfa:count>=100",
            "ttfa:max>1h",
            "ttfa:min<50ms",
            "turns.failed:rate==50%",
            "ttfa:med<50us",
        ] {
            let few = Turns { quick: 3, slow: 0, failed: 2 };
            assert!(certain(open, &few).is_none(), "{open}");
        }
    }

    #[test]
    fn an_undecided_run_goes_on_until_it_is_decided() {
        let toml =
            "thresholds = [\"ttfa:p(95)<300ms\"]\n[gate]\nundecided = \"extend\"\nextend_limit = \"2m\"\n";
        let mut w = watch(toml);
        assert_eq!(w.extension(), S(120));
        let quick = |quick| Turns { quick, slow: 0, failed: 0 };
        assert_eq!(w.look(S(10), &quick(500)), None, "not before the planned end");
        assert_eq!(w.look(S(30), &quick(70)), None, "59 would do for 95 %; 99 % takes 90");
        assert_eq!(w.look(S(31), &quick(95)), None, "not looked at yet");
        assert_eq!(w.look(S(32), &quick(107)), Some(Stop::Decided));
        assert_eq!(watch(toml).look(S(30), &Turns { quick: 10, slow: 90, failed: 0 }), Some(Stop::Decided));
        let plain = "thresholds = [\"ttfa:max<3s\"]\n[gate]\nundecided = \"extend\"\n";
        assert_eq!(watch(plain).extension(), Micros::ZERO, "a maximum is never undecided");
    }

    /// Servers exactly at the limit: more than one wrong pass in twenty, and looking more often would have a price.
    #[test]
    fn looking_again_does_not_make_wrong_passes() {
        let mut r = Seed(11).stream("extend", 0);
        let (runs, mut wrong) = (600, 0);
        for _ in 0..runs {
            let (mut n, mut over, mut next) = (0_u64, 0_u64, 60_u64);
            while n < 3_000 {
                while n < next.min(3_000) {
                    over += u64::from(r.chance(0.05));
                    n += 1;
                }
                match verdict(over, n, 0.05, EXTEND_MISS) {
                    Verdict::Pass => {
                        wrong += 1;
                        break;
                    }
                    Verdict::Fail => break,
                    Verdict::Undecided => next = (n as f64 * GROWTH).ceil() as u64 + 1,
                }
            }
        }
        let share = f64::from(wrong) / f64::from(runs);
        assert!(share < 0.06, "{share}: 5 %, and what 600 runs leave open");
    }
}
