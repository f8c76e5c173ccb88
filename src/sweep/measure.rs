//! From the reports of runs to the numbers of a cell.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::document::{Change, Measured, Wire};
use crate::measure::{Distribution, Metric, Quantile, agreement};
use crate::reference::child::{Farewell, USAGE};
use crate::report::json;
use crate::report::result::{RunResult, ThresholdVerdict, TurnRow};
use crate::scenario::estimate;
use crate::time::Micros;

/// What is kept of a VALID run.
#[derive(Clone, Debug, Default)]
pub struct Harvest {
    /// The round.
    pub round: u32,
    pub(super) ttfa: Distribution,
    pub(super) turns: u64,
    pub(super) failed: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) sent: (u64, u64),
    pub(super) received: (u64, u64),
    /// Seconds in which devices sent, and seconds of reply that they received.
    pub(super) seconds: (f64, f64),
    pub(super) tls: bool,
    pub(super) replies: u64,
    pub(super) stalled: u64,
    pub(super) messages: u64,
    pub(super) cpu: Micros,
    pub(super) cpu_share: f64,
    /// CPU of the embedded server, and the time in which it was used by so many devices.
    pub(super) server: Option<(Micros, f64)>,
    pub(super) failed_thresholds: u32,
}

impl Harvest {
    /// Of the report in a folder.
    pub fn read(dir: &Path, round: u32) -> Result<Self, String> {
        let (result, _) = json::read(dir)?;
        let mut heard = Heard::new(&result);
        agreement::for_each_turn(&dir.join("turns.csv"), |turn| heard.turn(&turn))?;
        let usage = fs::read_to_string(dir.join(USAGE)).ok();
        let usage = usage.and_then(|text| serde_json::from_str::<Farewell>(&text).ok());
        Self::of(&result, &heard, usage.map(|u| u.cpu), round)
    }

    fn of(r: &RunResult, heard: &Heard, server_cpu: Option<Micros>, round: u32) -> Result<Self, String> {
        let ttfa = match r.metrics.get(Metric::Ttfa.name()) {
            Some(m) => Distribution::from_result(m)?,
            None => Distribution::default(),
        };
        let playback = r.playback.iter().find(|p| p.prebuffer_us == r.audio.prebuffer_us);
        let g = &r.generator;
        let device_seconds = f64::from(g.devices) * Micros(r.duration_us).as_secs_f64();
        let with_turns = r.failures.iter().filter(|f| f.turns > 0);
        Ok(Self {
            round,
            ttfa,
            turns: r.turns.started - r.turns.cancelled.min(r.turns.started),
            failed: r.turns.failed + r.turns.timed_out,
            failures: with_turns.map(|f| (f.class.clone(), f.turns)).collect(),
            sent: (g.messages_sent, g.bytes_sent),
            received: (g.messages_received, g.bytes_received),
            seconds: (heard.sending.as_secs_f64(), heard.replies.as_secs_f64()),
            tls: r.target.tls,
            replies: playback.map_or(0, |p| p.replies),
            stalled: playback.map_or(0, |p| p.stalled_replies),
            messages: g.messages_sent + g.messages_received,
            cpu: Micros(g.cpu_us),
            cpu_share: g.cpu_share,
            server: server_cpu.map(|cpu| (cpu, device_seconds)),
            failed_thresholds: r.thresholds.iter().filter(|t| t.verdict() == ThresholdVerdict::Fail).count()
                as u32,
        })
    }

    /// Mean TTFA of the turns that were answered.
    fn mean(&self) -> Option<Micros> {
        self.ttfa.mean().map(|us| Micros(us.round() as i64))
    }

    /// Median TTFA; `None`: infinite, or no sample.
    pub fn median(&self) -> Option<Micros> {
        match self.ttfa.quantile(0.5) {
            Some(Quantile::Finite(t)) => Some(t),
            _ => None,
        }
    }
}

/// How long devices sent, and what they heard.
#[derive(Clone, Debug, Default)]
struct Heard {
    /// The server finds the end of speech, and until then the microphone is open.
    vad: bool,
    /// Lengths of the fixtures' files.
    lengths: HashMap<String, i64>,
    sending: Micros,
    replies: Micros,
}

impl Heard {
    fn new(r: &RunResult) -> Self {
        Self {
            vad: r.audio.end_of_turn == "vad",
            lengths: r.fixtures.iter().map(|f| (f.id.clone(), f.length_us)).collect(),
            ..Self::default()
        }
    }

    fn turn(&mut self, t: &TurnRow) {
        let closed = if self.vad {
            // The microphone closes when the server has decided, but not before the file is out.
            let decided = [t.endpoint_delay_us, t.final_transcript_us, t.ttfa_first_byte_us];
            let decided = decided.into_iter().flatten().min().map(|us| t.end_of_speech_us + us);
            let out = t.planned_start_us + self.lengths.get(&t.fixture).copied().unwrap_or(0);
            Some(decided.unwrap_or(t.ended_us).max(out))
        } else {
            t.last_send_done_us
        };
        // A turn that failed may have ended before.
        let closed = closed.unwrap_or(t.ended_us).min(t.ended_us);
        self.sending += Micros((closed - t.planned_start_us).max(0));
        self.replies += Micros(t.reply_media_us);
    }
}

/// All VALID runs of a cell as one. `None` of none.
pub fn together(runs: &[Harvest], baseline: Option<&[Harvest]>) -> Option<Measured> {
    let first = runs.first()?;
    let mut ttfa = Distribution::default();
    let mut failures = BTreeMap::new();
    for run in runs {
        ttfa.merge(&run.ttfa);
        for (class, n) in &run.failures {
            *failures.entry(class.clone()).or_insert(0) += n;
        }
    }
    let sum = |of: fn(&Harvest) -> u64| runs.iter().map(of).sum::<u64>();
    let seconds = |of: fn(&Harvest) -> f64| runs.iter().map(of).sum::<f64>();
    let up = wire(sum(|r| r.sent.0), sum(|r| r.sent.1), seconds(|r| r.seconds.0), true, first.tls);
    let down = wire(sum(|r| r.received.0), sum(|r| r.received.1), seconds(|r| r.seconds.1), false, first.tls);
    let servers: Vec<_> = runs.iter().filter_map(|r| r.server).collect();
    let device_seconds: f64 = servers.iter().map(|(_, s)| s).sum();
    let server_cpu: f64 = servers.iter().map(|(cpu, _)| cpu.as_secs_f64()).sum();
    let quantiles = ttfa.to_result("us");
    let replies = sum(|r| r.replies);
    Some(Measured {
        turns: sum(|r| r.turns),
        failed: sum(|r| r.failed),
        failures,
        ttfa_mean_us: ttfa.mean(),
        ttfa_p50_us: quantiles.p50_us,
        ttfa_p95_us: quantiles.p95_us,
        change: baseline.and_then(|b| change(runs, b)),
        mb_per_hour: (up.bytes_per_s + down.bytes_per_s) / 2.0 * 3_600.0 / 1e6,
        up,
        down,
        stalled_share: (replies > 0).then(|| sum(|r| r.stalled) as f64 / replies as f64),
        harness_cpu_us_per_message: runs.iter().map(|r| r.cpu.0 as f64).sum::<f64>()
            / sum(|r| r.messages).max(1) as f64,
        harness_cpu_share: seconds(|r| r.cpu_share) / runs.len() as f64,
        server_cpu_per_device: (device_seconds > 0.0).then(|| server_cpu / device_seconds),
        failed_thresholds: runs.iter().map(|r| r.failed_thresholds).sum(),
    })
}

fn wire(messages: u64, payload: u64, seconds: f64, from_device: bool, tls: bool) -> Wire {
    if seconds <= 0.0 || messages == 0 {
        return Wire::default();
    }
    let w = estimate::Wire::counted(messages, payload, seconds, from_device, tls);
    Wire {
        kbps: w.kbps(),
        bytes_per_s: w.bytes * w.messages_per_s,
        payload_bytes_per_s: payload as f64 / seconds,
        messages_per_s: w.messages_per_s,
    }
}

/// The differences of means, round by round.
fn change(runs: &[Harvest], baseline: &[Harvest]) -> Option<Change> {
    let mut differences: Vec<i64> = runs
        .iter()
        .filter_map(|run| {
            let theirs = baseline.iter().find(|b| b.round == run.round)?;
            Some(run.mean()?.0 - theirs.mean()?.0)
        })
        .collect();
    differences.sort_unstable();
    let n = differences.len();
    // The mean of the middle two where there are two.
    let median_us = (differences.get(n.checked_sub(1)? / 2)? + differences.get(n / 2)?) / 2;
    Some(Change {
        median_us,
        least_us: *differences.first()?,
        most_us: *differences.last()?,
        pairs: u32::try_from(n).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Kind};

    fn harvest(kind: Kind, seed: u64, round: u32) -> Harvest {
        let sample = sample::make(kind, seed, 2_000);
        let mut heard = Heard::new(&sample.result);
        sample.turns.iter().for_each(|t| heard.turn(t));
        Harvest::of(&sample.result, &heard, Some(Micros::from_secs(3)), round).unwrap()
    }

    fn at(round: u32, ms: &[i64]) -> Harvest {
        let mut ttfa = Distribution::default();
        ms.iter().for_each(|t| ttfa.record(Micros::from_millis(*t)));
        Harvest { round, ttfa, ..Harvest::default() }
    }

    #[test]
    fn histograms_are_merged_and_counts_added() {
        let runs = [harvest(Kind::Good, 1, 1), harvest(Kind::Failing, 2, 2)];
        let one = |n: usize| together(&runs[n..=n], None).unwrap();
        let both = together(&runs, None).unwrap();
        assert_eq!(both.turns, one(0).turns + one(1).turns);
        assert_eq!(both.failed, one(1).failed);
        assert_eq!(both.failures.values().sum::<u64>(), one(1).failures.values().sum::<u64>());
        assert!(both.failed > 0 && one(0).failed == 0);
        let p50 = |m: &Measured| m.ttfa_p50_us.unwrap();
        assert!(p50(&one(0)) < p50(&both) && p50(&both) < p50(&one(1)));
        // 3 s of CPU for 1,000 devices of a minute.
        assert!((both.server_cpu_per_device.unwrap() - 3.0 / 60_000.0).abs() < 1e-5);
    }

    #[test]
    fn failed_turns_are_infinitely_slow() {
        let mut run = at(1, &[100; 10]);
        (0..20).for_each(|_| run.ttfa.record_infinite());
        assert_eq!(run.median(), None);
        assert_eq!(together(&[run], None).unwrap().ttfa_p50_us, None);
    }

    #[test]
    fn changes_are_paired_by_round() {
        let base = [at(1, &[100]), at(2, &[200]), at(3, &[300])];
        // The machine became slower from round to round: pairs do not notice.
        let runs = [at(3, &[330]), at(1, &[120]), at(2, &[221])];
        let c = change(&runs, &base).unwrap();
        assert!((c.median_us - 21_000).abs() < 300 && c.pairs == 3, "{c:?}");
        assert!(c.least_us < c.median_us && c.median_us < c.most_us);
        assert_eq!(change(&runs[..1], &base[..2]), None, "no round in common");
        let even = change(&runs[1..], &base).unwrap();
        assert!(even.pairs == 2 && (20_000..21_000).contains(&even.median_us), "{even:?}");
    }

    #[test]
    fn the_wire_is_what_was_counted_and_its_headers() {
        // 50 messages a second of 640 bytes: PCM16 at 16 kHz in chunks of 20 ms.
        let w = wire(500, 320_000, 10.0, true, true);
        assert_eq!((w.messages_per_s, w.payload_bytes_per_s), (50.0, 32_000.0));
        assert!((w.kbps - 284.0).abs() < 1.0, "{w:?}");
        assert_eq!(wire(0, 0, 0.0, true, true), Wire::default());
    }

    #[test]
    fn microphones_are_open_while_pressed_or_until_the_server_has_decided() {
        let turn = |planned_start_us, last_send_done_us, final_transcript_us, ended_us| TurnRow {
            fixture: "hello".to_owned(),
            planned_start_us,
            end_of_speech_us: planned_start_us + 1_800_000,
            last_send_done_us,
            final_transcript_us,
            ended_us,
            reply_media_us: 1_000_000,
            ..TurnRow::default()
        };
        let sending = |vad: bool, turns: &[TurnRow]| {
            let lengths = HashMap::from([("hello".to_owned(), 2_000_000)]);
            let mut heard = Heard { vad, lengths, ..Heard::default() };
            turns.iter().for_each(|t| heard.turn(t));
            assert_eq!(heard.replies, Micros::from_secs(turns.len() as i64));
            heard.sending.as_millis_f64()
        };
        let answered = turn(10_000_000, Some(11_850_000), Some(500_000), 15_000_000);
        assert_eq!(sending(false, std::slice::from_ref(&answered)), 1_850.0);
        assert_eq!(sending(true, std::slice::from_ref(&answered)), 2_300.0);
        let early = turn(0, Some(1_850_000), Some(100_000), 5_000_000);
        assert_eq!(sending(true, std::slice::from_ref(&early)), 2_000.0, "the file is out first");
        let cut = turn(0, None, None, 700_000);
        assert_eq!(sending(false, std::slice::from_ref(&cut)), 700.0);
        assert_eq!(sending(true, &[cut, answered, early]), 5_000.0);
    }
}
