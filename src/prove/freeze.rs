//! Coordinated omission: a server that stands still, measured from planned instants, on paper, and naively.
//!
//! The server freezes for a known part of each period. A turn that ends at T is read when the server moves, is answered
//! a delay later, and written when the server moves: that is all there is to the paper. Turns are planned regardless of
//! the server (open arrivals), so the share of them that meets a freeze is the share of time that is frozen. A naive loop
//! asks only when it has been answered: during a whole freeze, each of its connections asks once.

use super::lab::{COARSE, Lab, Order, Pair, scenario};
use super::naive;
use super::stats::{Sizes, critical_distance, distance, quantile};
use super::{Check, Drawing, Finding, Trouble};
use crate::reference::truth::{FREEZES, FreezeRow};
use crate::report::{Curve, compared};
use crate::scenario::Freeze;
use crate::time::Micros;

/// The server's delay when it moves.
const DELAY: Micros = Micros::from_millis(50);
/// Instants of a period at which the paper looks.
const PHASES: i64 = 20_000;
/// Turns that took this much longer than the delay have met a freeze.
const MET: Micros = Micros::from_millis(5);

/// |measured − paper| of turns: after a freeze the server has everybody's answers to write at once.
const P50: Micros = Micros::from_millis(2);
const P99: Micros = Micros::from_millis(50);
/// A naive quantile below this share of the paper's has missed it.
const MISSED: f64 = 0.5;

/// The chart's file.
const CHART: &str = "coordinated-omission.svg";

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let freeze = lab.pick(
        Freeze { every: Micros::from_secs(20), length: Micros::from_secs(2) },
        Freeze { every: Micros::from_secs(10), length: Micros::from_secs(2) },
    );
    // Whole periods: every phase equally often.
    let duration = freeze.every * lab.pick(3, 1);
    lab.step(&format!(
        "{duration} against a server that stops for {} in every {}",
        freeze.length, freeze.every
    ));
    let toml = format!(
        "{COARSE}[fleet]\narrivals = \"open\"\nrate = 20.0\ndevices = 1000\nduration = \"{}us\"\n\
         [playback]\nmax_stall_ratio = 1.0\n\
         [reference]\nllm = \"{}us\"\nfreeze = {{ every = \"{}us\", length = \"{}us\" }}",
        duration.0, DELAY.0, freeze.every.0, freeze.length.0
    );
    // At the same time, so that it costs no time: with a server of its own that freezes in the same way.
    let loops = naive::start(scenario("naive", &toml), lab.dir().join("runs"), duration);
    let ran = lab.valid(&Order::new("", toml))?;
    let naive = loops.join().unwrap_or_else(|_| Err("the naive loop failed".to_owned()));
    let naive = naive.map_err(Trouble::Broken)?;
    let (pairs, _) = ran.pairs()?;
    let started = ran.result.turns.started;
    let mut finding = judge(&freeze, &pairs, started - pairs.len() as u64, &naive)?;
    finding.notes.push(really(&ran.beside(FREEZES)?));
    finding.notes.push(format!(
        "Planned: {started} turns at 20 per second, whatever the server does. Naive: {} connections, one turn after the other \
         without a pause, the clock started when the speech was really out, failures left out; {} turns.",
        naive::LOOPS,
        naive.len()
    ));
    Ok(finding)
}

/// What a turn that ends at `end` takes until its first audio, on paper.
fn paper(freeze: &Freeze, end: Micros) -> Micros {
    let moves = |at: Micros| {
        let (from, until) = freeze.next(at);
        if at >= from { until } else { at }
    };
    moves(moves(end) + DELAY) - end
}

/// The distribution of that over a period, sorted.
fn on_paper(freeze: &Freeze) -> Vec<i64> {
    let mut all: Vec<i64> =
        (0..PHASES).map(|i| paper(freeze, Micros(freeze.every.0 * i / PHASES)).0).collect();
    all.sort_unstable();
    all
}

fn judge(freeze: &Freeze, pairs: &[Pair], lost: u64, naive: &[i64]) -> Result<Finding, Trouble> {
    let paper_all = on_paper(freeze);
    let mut planned: Vec<i64> = pairs.iter().filter_map(|(us, _)| us.ttfa_first_byte_us).collect();
    planned.sort_unstable();
    let mut naive = naive.to_vec();
    naive.sort_unstable();
    let errors = pairs
        .iter()
        .filter_map(|(us, _)| Some(us.ttfa_first_byte_us? - paper(freeze, Micros(us.end_of_speech_us)).0));
    let sizes = Sizes::of(errors);
    let share = |sorted: &[i64]| {
        let met = sorted.len() - sorted.partition_point(|&t| t <= (DELAY + MET).0);
        met as f64 / sorted.len().max(1) as f64
    };
    let cdf = |x: f64| paper_all.partition_point(|&t| t as f64 <= x) as f64 / PHASES as f64;
    let from = (DELAY + MET).0 as f64;
    let (d, limit) = (distance(&planned, from, cdf), critical_distance(planned.len()));
    // In the middle of the turns that meet a freeze: the 95th percentile for 2 s in 20.
    let q = 1.0 - freeze.length.0 as f64 / freeze.every.0 as f64 / 2.0;
    let at =
        |sorted: &[i64], q| quantile(sorted, q).map_or_else(|| "–".to_owned(), |t| Micros(t).to_string());
    let missed = quantile(&naive, q)
        .zip(quantile(&paper_all, q))
        .is_some_and(|(naive, paper)| (naive as f64) < paper as f64 * MISSED);
    let mut finding = Finding {
        checks: vec![
            Check::new("turns without an answer", "0", lost.to_string(), lost == 0 && !pairs.is_empty()),
            Check::new(
                "|planned − paper| of each turn",
                format!("p50 ≤ {P50}, p99 ≤ {P99}"),
                sizes.map_or_else(|| "nothing".to_owned(), |s| s.to_string()),
                sizes.is_some_and(|s| s.p50 <= P50 && s.p99 <= P99),
            ),
            Check::new(
                "distribution of turns that met a freeze: planned against paper",
                format!("D ≤ {limit:.3}"),
                format!(
                    "D {d:.3}; {:.1} % met one ({:.1} % on paper)",
                    share(&planned) * 100.0,
                    share(&paper_all) * 100.0
                ),
                d <= limit && !planned.is_empty(),
            ),
            Check::new(
                format!("naive loop: p{:.0}", q * 100.0),
                format!("misses it: less than half of {} on paper", at(&paper_all, q)),
                format!("{}; {:.1} % met a freeze", at(&naive, q), share(&naive) * 100.0),
                missed,
            ),
        ],
        ..Finding::default()
    };
    finding.notes.push(
        [0.5, 0.9, 0.95, 0.99]
            .map(|q| {
                format!(
                    "p{:.0}: paper {}, planned {}, naive {}",
                    q * 100.0,
                    at(&paper_all, q),
                    at(&planned, q),
                    at(&naive, q)
                )
            })
            .join("; ")
            + ".",
    );
    let curve = |label, sorted, dashed| Curve { label, sorted, dashed };
    // Paper as far as the turns reach.
    let thinned: Vec<i64> = (1..=planned.len() as i64)
        .filter_map(|n| quantile(&paper_all, n as f64 / planned.len() as f64))
        .collect();
    let title = format!(
        "Time to first audio of a server that stops for {} s in every {} s",
        freeze.length.as_secs_f64(),
        freeze.every.as_secs_f64()
    );
    let svg = compared(
        &title,
        "ms after the end of speech",
        20.0,
        &[
            curve("measured from planned instants", &planned, false),
            curve("on paper", &thinned, true),
            curve("naive loop", &naive, false),
        ],
    )
    .map_err(|e| Trouble::Broken(format!("the chart cannot be drawn: {e}")))?;
    finding.charts.push(Drawing {
        file: CHART.to_owned(),
        caption: "Coordinated omission: the naive loop waits while the server does, and so hardly ever meets a freeze."
            .to_owned(),
        svg,
    });
    Ok(finding)
}

/// When the server really stood still.
fn really(freezes: &[FreezeRow]) -> String {
    let begun = Sizes::of(freezes.iter().map(|f| (f.from_us - f.planned_from_us).0));
    let ended = Sizes::of(freezes.iter().map(|f| (f.until_us - f.planned_until_us).0));
    match begun.zip(ended) {
        Some((begun, ended)) => format!(
            "The server really froze {} times, at most {} later than planned, and moved again at most {} later.",
            freezes.len(),
            begun.max,
            ended.max
        ),
        None => "The server's log has no freeze.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::truth;
    use crate::report::result::TurnRow;
    use crate::seed::Seed;

    const FREEZE: Freeze = Freeze { every: Micros::from_secs(20), length: Micros::from_secs(2) };
    const MS: fn(i64) -> Micros = Micros::from_millis;

    #[test]
    fn on_paper_by_hand() {
        for (end, takes) in [
            (MS(0), 50),         // long before the freeze
            (MS(17_900), 50),    // answered just before it
            (MS(17_960), 2_040), // answered when it is over
            (MS(18_000), 2_050), // read when it is over, answered after that
            (MS(19_000), 1_050),
            (MS(19_999), 51),
            (MS(20_000), 50),
            (MS(39_000), 1_050), // every period is like the first
        ] {
            assert_eq!(paper(&FREEZE, end), MS(takes), "{end:?}");
        }
    }

    #[test]
    fn on_paper_a_share_of_turns_waits_evenly() {
        let all = on_paper(&FREEZE);
        let share = |above: Micros| all.iter().filter(|t| **t > above.0).count() as f64 / all.len() as f64;
        // L > x happens in (length + delay − x) of the phases that are read in the freeze, and for x below the length
        // in all of the delay's before it.
        assert!((share(MS(1_050)) - (1.0 + 0.05) / 20.0).abs() < 0.001);
        assert!((share(MS(60)) - (1.99 + 0.05) / 20.0).abs() < 0.001);
        assert_eq!(quantile(&all, 0.5), Some(50_000));
        assert!((quantile(&all, 0.95).unwrap() - 1_100_000).abs() < 3_000);
    }

    /// What planned turns measure: paper, and what the network adds.
    fn planned(n: i64, late: i64) -> Vec<Pair> {
        let mut r = Seed(4).stream("phases", 0);
        (0..n)
            .map(|_| {
                let end = Micros(r.below(60_000_000) as i64);
                let us = TurnRow {
                    end_of_speech_us: end.0,
                    ttfa_first_byte_us: Some(paper(&FREEZE, end).0 + late),
                    ..TurnRow::default()
                };
                (us, truth::Row::default())
            })
            .collect()
    }

    /// What a naive loop measures, in virtual time.
    fn naive_loop(speech: Micros, until: Micros) -> Vec<i64> {
        let (mut now, mut all) = (Micros::ZERO, Vec::new());
        while now < until {
            let sent = now + speech;
            let takes = paper(&FREEZE, sent);
            all.push(takes.0);
            now = sent + takes;
        }
        all
    }

    fn failing(planned: &[Pair], naive: &[i64]) -> Vec<String> {
        let f = judge(&FREEZE, planned, 0, naive).unwrap();
        f.checks.iter().filter(|c| !c.ok).map(|c| c.what.clone()).collect()
    }

    #[test]
    fn planned_turns_match_and_a_naive_loop_misses() {
        let naive = naive_loop(MS(480), MS(60_000));
        assert_eq!(failing(&planned(1_200, 300), &naive), Vec::<String>::new());
    }

    #[test]
    fn a_naive_measurement_in_the_place_of_the_planned_one_fails() {
        let (naive, mut end) = (naive_loop(MS(480), MS(600_000)), Micros::ZERO);
        let turns: Vec<Pair> = naive
            .iter()
            .map(|takes| {
                end += MS(480);
                let us = TurnRow {
                    end_of_speech_us: end.0,
                    ttfa_first_byte_us: Some(*takes),
                    ..TurnRow::default()
                };
                end += Micros(*takes);
                (us, truth::Row::default())
            })
            .collect();
        assert_eq!(
            failing(&turns, &naive),
            ["distribution of turns that met a freeze: planned against paper"]
        );
    }

    #[test]
    fn a_naive_loop_that_missed_nothing_fails_too() {
        let good: Vec<i64> = planned(1_200, 300).iter().filter_map(|(us, _)| us.ttfa_first_byte_us).collect();
        assert_eq!(failing(&planned(1_200, 300), &good), ["naive loop: p95"]);
        assert_eq!(
            failing(&planned(1_200, 3_000), &naive_loop(MS(480), MS(60_000))),
            ["|planned − paper| of each turn"]
        );
        assert!(!failing(&[], &[]).is_empty(), "unmeasured is not OK");
    }

    /// Devices in virtual time, each with one turn, planned regardless of a server that freezes.
    #[test]
    fn devices_measure_what_is_on_paper() {
        use crate::device::tests::{World, loud, ms, plan, text};
        let pairs: Vec<Pair> = (0..400)
            .map(|n| {
                // All speak at the same time in their own world; the phase is the server's.
                let (eos, phase) = (1_450, MS(50) * n);
                // What the server has to do takes at least until the last chunk is there.
                let takes = paper(&FREEZE, phase).0 / 1_000;
                let mut w = World::new(plan(crate::scenario::EndOfTurn::Signal, |p| p.turn.count = Some(1)));
                w.says(eos + takes.max(50), loud());
                w.says(eos + takes.max(50) + 60, text(r#"{"type":"turn_end","turn":0}"#)).until(9_000);
                let mut us = crate::measure::turn_row(w.turns()[0], &[], &[]);
                assert_eq!(us.end_of_speech_us, ms(eos).0, "planned, whatever the server does");
                us.end_of_speech_us = phase.0;
                (us, truth::Row::default())
            })
            .collect();
        assert_eq!(failing(&pairs, &naive_loop(MS(480), MS(60_000))), Vec::<String>::new());
    }
}
