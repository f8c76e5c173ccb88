//! Which cell to choose, and why: pure functions of what was measured.

use std::fmt::Write as _;

use super::document::{Cell, Measured, Recommendation, Sweep};
use crate::report::text::{chosen, percent};
use crate::time::Micros;

/// A recommended cell fails no more turns than this, or than the best cell.
const MOST_FAILED: f64 = 0.01;
/// A saving of less than this is not worth waiting for.
const SAME_BANDWIDTH: f64 = 0.1;

/// What is judged of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub cell: u32,
    /// kbit/s, up and down.
    pub kbps: f64,
    /// Mean TTFA of the turns that were answered; `None`: most were not.
    pub ttfa: Option<Micros>,
    /// Share of failed turns.
    pub failed: f64,
    /// Log-spectral distance, dB; `None`: not known, and not held against it.
    pub distortion: Option<f64>,
}

impl Candidate {
    /// Of a cell with measurements.
    pub fn of(cell: &Cell) -> Option<Self> {
        let m = cell.measured.as_ref()?;
        Some(Self {
            cell: cell.number,
            kbps: bandwidth(m),
            ttfa: m.ttfa_p50_us.and(m.ttfa_mean_us).map(|us| Micros(us.round() as i64)),
            failed: failed(m),
            distortion: cell.speech.quality.map(|q| q.spectral_distance_db),
        })
    }
}

/// kbit/s up while a device speaks, and down while it listens.
pub fn bandwidth(m: &Measured) -> f64 {
    m.up.kbps + m.down.kbps
}

fn failed(m: &Measured) -> f64 {
    m.failed as f64 / m.turns.max(1) as f64
}

/// What bounds a recommendation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Slower than the fastest by at most this.
    pub delay: Micros,
    /// Log-spectral distance, dB.
    pub distortion: f64,
}

/// The cells that no other beats in both bandwidth and latency, thriftiest first.
pub fn front(all: &[Candidate]) -> Vec<u32> {
    let mut finite: Vec<_> = all.iter().filter_map(|c| Some((c.kbps, c.ttfa?, c.cell))).collect();
    finite.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut fastest = Micros::NEVER;
    finite.retain(|(_, ttfa, _)| {
        let better = *ttfa < fastest;
        fastest = fastest.min(*ttfa);
        better
    });
    finite.into_iter().map(|(_, _, cell)| cell).collect()
}

/// The thriftiest cell among those that are fast, clear and reliable enough.
pub fn recommend(all: &[Candidate], limits: Limits) -> Option<Recommendation> {
    let least_failed = all.iter().map(|c| c.failed).fold(f64::INFINITY, f64::min);
    let good: Vec<_> = all.iter().filter(|c| objection(c, least_failed, limits).is_none()).collect();
    let fastest = good.iter().filter_map(|c| Some((c.ttfa?, c))).min_by_key(|(t, c)| (*t, c.cell))?;
    let quick = good.iter().filter(|c| c.ttfa.is_some_and(|t| t - fastest.0 <= limits.delay));
    let quick: Vec<_> = quick.collect();
    let thrifty = quick.iter().map(|c| c.kbps).fold(f64::INFINITY, f64::min);
    let best = quick
        .into_iter()
        .filter(|c| c.kbps <= thrifty * (1.0 + SAME_BANDWIDTH))
        .min_by_key(|c| (c.ttfa, c.cell))?;
    Some(Recommendation { cell: best.cell, fastest: fastest.1.cell })
}

/// What speaks against a cell, latency apart.
fn objection(c: &Candidate, least_failed: f64, limits: Limits) -> Option<String> {
    if c.ttfa.is_none() {
        return Some("most of its turns fail".to_owned());
    }
    if c.failed > MOST_FAILED.max(least_failed) {
        return Some(format!("{} of its turns fail", percent(c.failed)));
    }
    let distortion = c.distortion.filter(|d| *d > limits.distortion)?;
    Some(format!(
        "it distorts speech by {distortion:.1} dB (sweep.max_distortion is {:.1})",
        limits.distortion
    ))
}

/// Judges a sweep: fills in recommendation, answer, reasons and front.
pub fn judge(sweep: &mut Sweep) {
    let all: Vec<_> = sweep.cells.iter().filter_map(Candidate::of).collect();
    let limits = Limits { delay: Micros(sweep.max_delay_us), distortion: sweep.max_distortion_db };
    sweep.front = front(&all);
    sweep.recommendation = recommend(&all, limits);
    (sweep.answer, sweep.reasons) = words(sweep, &all, limits);
    sweep.notes = notes(sweep);
}

fn words(sweep: &Sweep, all: &[Candidate], limits: Limits) -> (String, Vec<String>) {
    let find = |cell: u32| all.iter().find(|c| c.cell == cell);
    let label = |cell: u32| {
        let cell = sweep.cells.iter().find(|c| c.number == cell);
        cell.map_or_else(String::new, |c| c.label.clone())
    };
    let Some((r, best)) = sweep.recommendation.and_then(|r| Some((r, find(r.cell)?))) else {
        let least_failed = all.iter().map(|c| c.failed).fold(f64::INFINITY, f64::min);
        let against = all
            .iter()
            .filter_map(|c| Some(format!("{}: {}", label(c.cell), objection(c, least_failed, limits)?)));
        let answer = match all {
            [] => "No cell has a VALID run: nothing can be said.",
            _ => "No cell can be recommended.",
        };
        return (answer.to_owned(), against.collect());
    };
    let ttfa = |c: &Candidate| c.ttfa.unwrap_or(Micros::NEVER);
    let (up, down) = sweep
        .cells
        .iter()
        .find(|c| c.number == r.cell)
        .and_then(|c| c.measured.as_ref())
        .map_or((0.0, 0.0), |m| (m.up.kbps, m.down.kbps));
    let preliminary = if sweep.complete { "Choose" } else { "So far, choose" };
    let mut answer = format!(
        "{preliminary} {}: {up:.0} kbit/s up and {down:.0} down on the wire, and the first sound after {} (mean)",
        label(r.cell),
        ttfa(best)
    );
    let mut reasons = Vec::new();
    if best.failed > MOST_FAILED {
        reasons.push(format!(
            "Mind that {} of its turns fail, and no cell is better: look at the failures before anything else.",
            percent(best.failed)
        ));
    }
    match find(r.fastest).filter(|f| f.cell != best.cell) {
        Some(fastest) => {
            let (later, bandwidth) = (ttfa(best) - ttfa(fastest), times(fastest.kbps, best.kbps));
            // Writing to a string cannot fail.
            let _ =
                write!(answer, ", {later} more than the fastest that qualifies, which needs {bandwidth}.");
            reasons.push(format!(
                "The fastest is {}: {} at {:.0} kbit/s (up and down). {} is within the {} that may be given up for bandwidth \
                 (sweep.max_delay).",
                label(fastest.cell),
                ttfa(fastest),
                fastest.kbps,
                ttfa(best) - ttfa(fastest),
                chosen(limits.delay.0),
            ));
        }
        None => answer += ", the fastest cell that qualifies.",
    }
    let least_failed = all.iter().map(|c| c.failed).fold(f64::INFINITY, f64::min);
    let fastest = find(r.fastest).map_or(Micros::ZERO, ttfa);
    // The fastest of those that are faster, and what is wrong with it.
    let faster = all.iter().filter(|c| c.ttfa.is_some_and(|t| t < fastest)).min_by_key(|c| c.ttfa);
    if let Some((c, but)) = faster.and_then(|c| Some((c, objection(c, least_failed, limits)?))) {
        reasons.push(format!("{} is faster, {}, but {but}.", label(c.cell), ttfa(c)));
    }
    // The thriftier ones, and what is wrong with them.
    let mut thriftier: Vec<_> = all.iter().filter(|c| c.kbps * (1.0 + SAME_BANDWIDTH) < best.kbps).collect();
    thriftier.sort_by(|a, b| b.kbps.total_cmp(&a.kbps));
    for c in thriftier.into_iter().take(3) {
        let but = objection(c, least_failed, limits).unwrap_or_else(|| {
            format!("its first sound comes {} after that of the fastest", ttfa(c) - fastest)
        });
        reasons.push(format!(
            "{} would save {:.0} kbit/s more, but {but}.",
            label(c.cell),
            best.kbps - c.kbps
        ));
    }
    if let Some(quality) = best.distortion {
        let clearest = all.iter().filter_map(|c| Some((c.distortion?, c))).min_by(|a, b| a.0.total_cmp(&b.0));
        reasons.push(match clearest {
            Some((d, c)) if d + 0.05 < quality => format!(
                "It distorts speech by {quality:.1} dB (log-spectral distance; the clearest, {}, by {d:.1} dB, needs {}).",
                label(c.cell),
                times(c.kbps, best.kbps)
            ),
            _ => format!("No cell distorts speech less: {quality:.1} dB (log-spectral distance)."),
        });
    }
    let measured = sweep.cells.iter().find(|c| c.number == r.cell).and_then(|c| c.measured.as_ref());
    if let (Some(change), Some(base)) = (measured.and_then(|m| m.change), find(sweep.baseline)) {
        reasons.push(format!(
            "Against the baseline, {}: mean TTFA {} (median of {}), bandwidth {}.",
            label(base.cell),
            signed_range(change.median_us, change.least_us, change.most_us),
            pairs(change.pairs),
            relative(best.kbps, base.kbps)
        ));
    }
    (answer, reasons)
}

fn pairs(n: u32) -> String {
    format!("{n} pair{}", if n == 1 { "" } else { "s" })
}

/// `+12.3 ms (+10.0 ms to +15.1 ms)`.
fn signed_range(median: i64, least: i64, most: i64) -> String {
    if least == most {
        return signed(median);
    }
    format!("{} ({} to {})", signed(median), signed(least), signed(most))
}

/// `+12.3 ms`.
fn signed(us: i64) -> String {
    if us >= 0 { format!("+{}", Micros(us)) } else { format!("−{}", Micros(-us)) }
}

fn relative(new: f64, old: f64) -> String {
    match (new / old.max(1e-9) - 1.0) * 100.0 {
        p if p.abs() < 0.5 => "the same".to_owned(),
        p if p < 0.0 => format!("−{:.0} %", -p),
        p => format!("+{p:.0} %"),
    }
}

/// How much one bandwidth is of another: `4.1 times the bandwidth`.
fn times(a: f64, b: f64) -> String {
    match a / b.max(1e-9) {
        r if (0.995..1.005).contains(&r) => "the same bandwidth".to_owned(),
        r if r < 1.0 => format!("{:.0} % less bandwidth", (1.0 - r) * 100.0),
        r if r < 1.5 => format!("{:.0} % more bandwidth", (r - 1.0) * 100.0),
        r => format!("{r:.1} times the bandwidth"),
    }
}

/// What else to know before the numbers are believed.
fn notes(sweep: &Sweep) -> Vec<String> {
    let mut notes = Vec::new();
    let missing = sweep.planned_runs - sweep.valid_runs.min(sweep.planned_runs);
    let invalid: Vec<_> = sweep
        .cells
        .iter()
        .flat_map(|c| {
            c.runs.iter().filter(|r| r.state == "invalid").map(|r| format!("{} round {}", c.label, r.round))
        })
        .collect();
    if !sweep.complete {
        notes.push(if missing > 0 {
            format!(
                "{missing} of {} runs are missing: the same command with --resume makes them.",
                sweep.planned_runs
            )
        } else {
            "Searches of the capacity are missing: the same command with --resume makes them.".to_owned()
        });
    }
    if !invalid.is_empty() {
        notes.push(format!(
            "INVALID however often they were made, and left out: {}. The generator was too busy; an idle machine, or fewer \
             devices (-u), would help.",
            invalid.join("; ")
        ));
    }
    if sweep.repeat < 3 {
        notes.push(format!(
            "With {} a cell, changes of a few milliseconds can be chance; `--repeat 5` tells more.",
            if sweep.repeat == 1 { "1 run".to_owned() } else { format!("{} runs", sweep.repeat) }
        ));
    }
    notes.push(
        "On the wire: messages and payloads as counted in the runs; headers of WebSocket, TLS, TCP and IPv4 by arithmetic, \
         without acknowledgements."
            .to_owned(),
    );
    if sweep.cells.iter().any(|c| c.speech.quality.is_some()) {
        notes.push(
            "Speech after decoding is compared with the fixtures by segmental SNR and log-spectral distance: plain signal \
             measures, not PESQ, POLQA or ViSQOL."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::sample;

    const LIMITS: Limits = Limits { delay: Micros::from_millis(50), distortion: 6.0 };

    fn c(cell: u32, kbps: f64, ms: i64) -> Candidate {
        Candidate { cell, kbps, ttfa: Some(Micros::from_millis(ms)), failed: 0.0, distortion: None }
    }

    #[test]
    fn the_front_is_what_no_other_beats() {
        let all = [
            c(1, 300.0, 100),
            c(2, 50.0, 110),
            c(3, 30.0, 130),
            c(4, 60.0, 115),
            c(5, 30.0, 150),
            c(6, 300.0, 100),
        ];
        assert_eq!(front(&all), [3, 2, 1]);
        let dead = Candidate { ttfa: None, ..c(7, 1.0, 0) };
        assert_eq!(front(&[dead]), [0; 0]);
        assert_eq!(front(&[dead, c(1, 5.0, 5)]), [1]);
    }

    #[test]
    fn the_thriftiest_that_is_fast_enough() {
        let all = [c(1, 300.0, 100), c(2, 50.0, 110), c(3, 30.0, 130), c(4, 25.0, 160)];
        let best = |all: &[Candidate], limits| recommend(all, limits).map(|r| (r.cell, r.fastest));
        assert_eq!(best(&all, LIMITS), Some((3, 1)));
        let strict = Limits { delay: Micros::from_millis(20), ..LIMITS };
        assert_eq!(best(&all, strict), Some((2, 1)));
        assert_eq!(best(&all, Limits { delay: Micros::ZERO, ..LIMITS }), Some((1, 1)));
        assert_eq!(best(&[], LIMITS), None);
        // Bandwidths that are the same do not decide.
        assert_eq!(best(&[c(1, 30.0, 130), c(2, 30.3, 110)], LIMITS), Some((2, 2)));
    }

    #[test]
    fn bad_speech_and_failures_are_not_recommended() {
        let muffled = Candidate { distortion: Some(9.0), ..c(1, 10.0, 100) };
        let failing = Candidate { failed: 0.05, ..c(2, 20.0, 90) };
        let dead = Candidate { ttfa: None, ..c(3, 5.0, 0) };
        let good = Candidate { distortion: Some(4.0), ..c(4, 30.0, 110) };
        let r = recommend(&[muffled, failing, dead, good], LIMITS).unwrap();
        assert_eq!((r.cell, r.fastest), (4, 4));
        assert_eq!(recommend(&[muffled], LIMITS), None);
        // Where every cell fails that much, it is the server.
        assert!(recommend(&[failing, Candidate { cell: 5, ..failing }], LIMITS).is_some());
    }

    #[test]
    fn the_answer_comes_with_its_reasons() {
        let mut sweep = sample::sweep();
        judge(&mut sweep);
        insta::assert_snapshot!(format!(
            "{}\n\n{}\n\n{}",
            sweep.answer,
            sweep.reasons.join("\n"),
            sweep.notes.join("\n")
        ));
    }

    #[test]
    fn no_answer_comes_with_reasons_too() {
        let mut sweep = sample::sweep();
        sweep.max_distortion_db = 0.05;
        judge(&mut sweep);
        assert_eq!((sweep.recommendation, sweep.answer.as_str()), (None, "No cell can be recommended."));
        let told = |r: &String| r.contains("distorts speech by") || r.contains("of its turns fail");
        assert!(sweep.reasons.len() == 12 && sweep.reasons.iter().all(told), "{:?}", sweep.reasons);
        sweep.cells.iter_mut().for_each(|c| c.measured = None);
        judge(&mut sweep);
        assert!(sweep.answer.contains("nothing can be said") && sweep.front.is_empty());
    }
}
