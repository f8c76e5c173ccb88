//! Known delays: the server answers at scripted instants and logs when it did; what is measured must be that.
//!
//! Two yardsticks for each turn: the *script* (what the server was told, and so the whole way there and back counts as
//! error), and the *log* (when the server really wrote, so that only what comes after it counts). And one for all turns
//! together: the distribution that comes out must be the one that was scripted.

use super::lab::{Lab, Order, Pair};
use super::stats::{Sizes, cdf, critical_distance, distance, quantile};
use super::{Check, Finding, Trouble};
use crate::measure::agreement;
use crate::scenario::Dist;
use crate::time::Micros;

/// |error| against the server's log.
const LOG_P50: Micros = Micros::from_millis(1);
const LOG_P99: Micros = Micros::from_millis(5);
/// |error| against the script. Its tail is the server's, which wakes up late, too: the log judges that.
const SCRIPT_P50: Micros = Micros::from_millis(2);

/// The delays: constants by themselves, and two distributions whose shape must come back.
const SCRIPTS: [(&str, &str); 6] = [
    ("0ms", "0ms"),
    ("50ms", "50ms"),
    ("300ms", "300ms"),
    ("1000ms", "1s"),
    ("exponential", "exponential(100ms)"),
    ("bimodal", "mix(70: uniform(40ms, 60ms), 30: uniform(280ms, 320ms))"),
];

/// Quick: the four constants in one run; the log says which each turn had.
const QUICK: [(&str, &str); 3] =
    [("constants", "mix(1: 0ms, 1: 50ms, 1: 300ms, 1: 1s)"), SCRIPTS[4], SCRIPTS[5]];

pub(super) fn prove(lab: &mut Lab) -> Result<Finding, Trouble> {
    let mut all = Finding::default();
    let scripts: &[_] = lab.pick(&SCRIPTS[..], &QUICK[..]);
    for (name, script) in scripts {
        let dist: Dist = script.parse().map_err(|e| Trouble::Broken(format!("{script}: {e}")))?;
        let constant = matches!(dist, Dist::Constant(_));
        // A shape needs more turns than a number.
        let seconds = lab.pick(if constant { 6 } else { 12 }, 4);
        lab.step(&format!("{seconds} s of turns, delay {script}"));
        let ran = lab.valid(&Order::new(
            *name,
            format!(
                "[fleet]\narrivals = \"open\"\nrate = 40.0\ndevices = 1000\nduration = \"{seconds}s\"\n\
                 [reference]\nllm = \"{script}\""
            ),
        ))?;
        let (pairs, unmatched) = ran.pairs()?;
        let lost = unmatched as u64 + ran.result.turns.started - ran.result.turns.succeeded;
        all.checks.extend(judge(name, &dist, &pairs, lost));
    }
    let told = scripts.iter().filter(|(name, script)| !name.starts_with(&script[..1]));
    all.notes = vec![
        told.map(|(name, script)| format!("{name}: {script}")).collect::<Vec<_>>().join("; ") + ".",
        "Against the log: voxload's instant minus the one at which the server had written, on the same clock. Against the \
         script: TTFT, and TTFA without the reply's own leading silence, minus the delay that the server was told; the way \
         there and back and the server's lateness are in it."
            .to_owned(),
        "The speech ends with a chunk and PCM has no look-ahead, so nothing is to be added to the script but up to 12 µs \
         until the first sentence is written. D is the distance between the distributions after Kolmogorov and Smirnov; \
         a right sample exceeds its limit in one of 100 cases."
            .to_owned(),
    ];
    Ok(all)
}

/// A number of a turn, µs.
type OfTurn = fn(&Pair) -> Option<i64>;

/// What the delay of a turn should have been: drawn by the server, from its log.
fn scripted(pair: &Pair) -> Option<i64> {
    let (_, them) = pair;
    Some((them.stt_us? + them.llm_us?).0)
}

fn ttft(pair: &Pair) -> Option<i64> {
    pair.0.ttft_us
}

/// TTFA but for the reply's own leading silence.
fn ttfa(pair: &Pair) -> Option<i64> {
    Some(pair.0.ttfa_us? - pair.1.first_audible_offset_us?.0)
}

fn judge(name: &str, dist: &Dist, pairs: &[Pair], lost: u64) -> Vec<Check> {
    let within = |what: String, sizes: Option<Sizes>, p50: Micros, p99: Option<Micros>| {
        let ok = sizes.is_some_and(|s| s.p50 <= p50 && p99.is_none_or(|p99| s.p99 <= p99));
        let seen = sizes.map_or_else(|| "nothing".to_owned(), |s| s.to_string());
        let tail = p99.map_or_else(String::new, |p99| format!(", p99 ≤ {p99}"));
        Check::new(what, format!("p50 ≤ {p50}{tail}"), seen, ok)
    };
    let metrics: [(&str, OfTurn); 2] = [("TTFT", ttft), ("TTFA", ttfa)];
    let mut checks = vec![Check::new(
        format!("{name}: turns lost"),
        "0",
        format!("{lost} of {}", pairs.len() as u64 + lost),
        lost == 0 && !pairs.is_empty(),
    )];
    let logged: [(&str, OfTurn); 2] = [
        ("TTFT", |(us, them)| agreement::ttft_error(us, them)),
        ("TTFA", |(us, them)| agreement::ttfa_error(us, them)),
    ];
    for (metric, error) in logged {
        checks.push(within(
            format!("{name}: |error| of {metric} against the log"),
            Sizes::of(pairs.iter().filter_map(error)),
            LOG_P50,
            Some(LOG_P99),
        ));
    }
    for (metric, measured) in metrics {
        let errors = pairs.iter().filter_map(|p| Some(measured(p)? - scripted(p)?));
        checks.push(within(
            format!("{name}: |error| of {metric} against the script"),
            Sizes::of(errors),
            SCRIPT_P50,
            None,
        ));
        // A distribution with jumps is no more than its turns, which have been compared.
        if continuous(dist) {
            let mut all: Vec<i64> = pairs.iter().filter_map(measured).collect();
            all.sort_unstable();
            checks.push(shape(name, metric, dist, &all));
        }
    }
    checks
}

fn continuous(dist: &Dist) -> bool {
    match dist {
        Dist::Constant(_) => false,
        Dist::Mix(parts) => parts.iter().all(|(_, d)| continuous(d)),
        _ => true,
    }
}

fn shape(name: &str, metric: &str, dist: &Dist, sorted: &[i64]) -> Check {
    let paper = |x: f64| cdf(dist, x).unwrap_or(f64::NAN);
    let (d, limit) = (distance(sorted, 0.0, paper), critical_distance(sorted.len()));
    let at = |q| {
        let seen = quantile(sorted, q).map_or_else(|| "–".to_owned(), |t| Micros(t).to_string());
        let on_paper = inverse(paper, q);
        format!("p{:.0} {seen} ({on_paper} on paper)", q * 100.0)
    };
    Check::new(
        format!("{name}: distribution of {metric}"),
        format!("D ≤ {limit:.3}"),
        format!("D {d:.3}; {}, {}, {}", at(0.5), at(0.9), at(0.99)),
        d <= limit && !sorted.is_empty(),
    )
}

/// Where a distribution function reaches `q`.
fn inverse(cdf: impl Fn(f64) -> f64, q: f64) -> Micros {
    let (mut low, mut high) = (0.0, 3.6e9);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if cdf(middle) < q { low = middle } else { high = middle }
    }
    Micros(high.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::truth;
    use crate::report::result::TurnRow;
    use crate::seed::Seed;

    /// Turns whose delays are drawn from `drawn`, measured `late` later than they were.
    fn turns(drawn: &str, late: i64, n: usize) -> Vec<Pair> {
        let dist: Dist = drawn.parse().unwrap();
        let mut r = Seed(9).stream("turns", 0);
        let silence = 12_000;
        (0..n as i64)
            .map(|i| {
                let (eos, delay) = (i * 25_000, dist.draw(&mut r));
                let wrote = Micros(eos) + delay + Micros(200);
                let us = TurnRow {
                    end_of_speech_us: eos,
                    ttft_us: Some(delay.0 + 200 + late),
                    ttfa_first_byte_us: Some(delay.0 + 200 + late),
                    ttfa_us: Some(delay.0 + 200 + late + silence),
                    lead_silence_us: Some(silence),
                    ..TurnRow::default()
                };
                let them = truth::Row {
                    stt_us: Some(Micros::ZERO),
                    llm_us: Some(delay),
                    first_token_out_us: Some(wrote),
                    first_audio_out_us: Some(wrote),
                    first_audible_offset_us: Some(Micros(silence)),
                    ..truth::Row::default()
                };
                (us, them)
            })
            .collect()
    }

    fn holds(script: &str, pairs: &[Pair]) -> bool {
        judge(script, &script.parse().unwrap(), pairs, 0).iter().all(|c| c.ok)
    }

    #[test]
    fn true_measurements_hold_and_others_do_not() {
        for (_, script) in SCRIPTS.iter().chain(&QUICK) {
            assert!(holds(script, &turns(script, 300, 500)), "{script}");
            assert!(!holds(script, &turns(script, 3_000, 500)), "{script}: 3 ms too late");
            assert!(!holds(script, &turns(script, -3_000, 500)), "{script}: before it was written");
            assert!(!holds(script, &[]), "{script}: unmeasured is not OK");
        }
    }

    #[test]
    fn another_distribution_is_found_out() {
        let script = "exponential(100ms)";
        assert!(!holds(script, &turns("exponential(140ms)", 300, 500)));
        assert!(!holds(script, &turns("100ms", 300, 500)));
        let lost = judge(script, &script.parse().unwrap(), &turns(script, 300, 500), 1);
        assert!(lost.iter().any(|c| !c.ok), "a turn that is missing is not forgotten");
    }

    #[test]
    fn quantiles_on_paper() {
        let dist: Dist = "exponential(100ms)".parse().unwrap();
        let median = inverse(|x| cdf(&dist, x).unwrap(), 0.5);
        assert_eq!(median, Micros(69_315));
    }

    /// The same with a real device in virtual time, against a server that answers each turn after a drawn delay.
    #[test]
    fn a_device_recovers_what_the_server_was_told() {
        use crate::device::tests::{World, loud, ms, plan, text};
        let script = "mix(70: uniform(60ms, 90ms), 30: uniform(280ms, 320ms))";
        let dist: Dist = script.parse().unwrap();
        let mut r = Seed(11).stream("device", 0);
        // End of speech at 1,450 ms, the end of the turn is sent at 1,500 ms.
        let eos = 1_450;
        let pairs: Vec<Pair> = (0..300)
            .map(|_| {
                let delay = dist.draw(&mut r).0 / 1_000;
                let mut w = World::new(plan(crate::scenario::EndOfTurn::Signal, |p| p.turn.count = Some(1)));
                w.says(eos + delay, text(r#"{"type":"llm_token","turn":0,"text":"Hi"}"#));
                w.says(eos + delay, loud());
                w.says(eos + delay + 60, text(r#"{"type":"turn_end","turn":0}"#)).until(3_000);
                let us = crate::measure::turn_row(w.turns()[0], &[], &[]);
                let them = truth::Row {
                    stt_us: Some(Micros::ZERO),
                    llm_us: Some(ms(delay)),
                    first_token_out_us: Some(ms(eos + delay)),
                    first_audio_out_us: Some(ms(eos + delay)),
                    first_audible_offset_us: Some(Micros::ZERO),
                    ..truth::Row::default()
                };
                (us, them)
            })
            .collect();
        let checks = judge("device", &dist, &pairs, 0);
        assert!(checks.iter().all(|c| c.ok), "{checks:#?}");
        assert!(checks.iter().any(|c| c.seen.starts_with("p50 0 ms, p99 0 ms, max 0 ms")), "{checks:#?}");
    }
}
