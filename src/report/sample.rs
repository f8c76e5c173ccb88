//! Made-up runs, seeded: for tests, benchmarks and looking at pages. No number in here was measured.

use std::collections::BTreeMap;

use super::StageTotals;
use super::result::{
    Agreement, AudioInfo, BargeInCounts, ConnectionCounts, Difference, FailureExample, FailureGroup,
    FixtureInfo, GateResult, Generator, HostInfo, IntervalPoint, LoadPhase, Note, PlaybackResult, RunResult,
    SCHEMA_VERSION, Status, TargetInfo, ThresholdResult, TurnCounts, TurnRow, Validity, ValidityCheck,
    Verdict,
};
use crate::event::{FailureClass, PREBUFFERS};
use crate::gate::{Rule, judge_all};
use crate::measure::{Distribution, Metric, Quantile};
use crate::seed::{Seed, Stream};
use crate::time::Micros;

/// What became of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything held.
    Good,
    /// Slow, and turns failed in many ways.
    Failing,
    /// The generator could not keep up.
    Invalid,
    /// Nobody answered.
    Empty,
    /// Everything held, on bad networks and with faults.
    Networks,
}

mod network;

/// What the runs are judged by; undecided ones pass, so that runs of any length can be made.
const THRESHOLDS: [&str; 2] = ["ttfa:p(95)<300ms", "turns.failed:rate<1%"];

/// A run: what was streamed while it lasted, and its result.
pub struct Sample {
    /// The document.
    pub result: RunResult,
    /// All turns, by the instant of their end.
    pub turns: Vec<TurnRow>,
    /// The samples of each of `result.intervals`.
    pub intervals: Vec<BTreeMap<Metric, Distribution>>,
}

/// The length of the run, and the part of it that is not counted.
const DURATION: Micros = Micros::from_secs(60);
const WARMUP: Micros = Micros::from_secs(5);
const SECOND: i64 = 1_000_000;
const DEVICES: u32 = 1_000;

/// Length of each utterance, and its end of speech.
const UTTERANCE: i64 = 2_000_000;
const END_OF_SPEECH: i64 = 1_840_000;

/// How turns of the failing kind fail, with what their server said: text that must not get out of its place.
const FAILURES: [(&str, FailureClass, &str); 6] = [
    ("timeout", FailureClass::Timeout, "no audio within 5 s of the end of speech"),
    ("closed_1011", FailureClass::Closed(1011), "close code 1011 \"internal error: CUDA out of memory\""),
    (
        "server_overloaded",
        FailureClass::Server(String::new()),
        "<script>alert('overloaded')</script> & | `tick` *star*",
    ),
    ("protocol", FailureClass::Protocol, "text frame that is not JSON: \u{1b}[31m{\"type\":\n\"tts_audio"),
    ("stalls", FailureClass::Stalls, "stalled 38 % of its playback, limit 20 %"),
    ("reset", FailureClass::Reset, "connection reset by peer"),
];

/// Makes up a run of so many turns, warm-up included.
pub fn make(kind: Kind, seed: u64, turns: u32) -> Sample {
    let mut random = Seed(seed).stream("sample", 0);
    let turns = if kind == Kind::Empty { 0 } else { turns };
    let mut rows: Vec<TurnRow> = (0..turns).map(|n| turn(kind, &mut random, n, turns)).collect();
    rows.sort_by_key(|r| r.ended_us);
    let seconds = DURATION.0 / SECOND + 1;
    let mut points: Vec<IntervalPoint> = (0..seconds).map(|s| point(s, kind)).collect();
    let mut intervals = vec![BTreeMap::new(); seconds as usize];
    for row in &rows {
        let at = |us: i64| (us.max(0) / SECOND).min(seconds - 1) as usize;
        points[at(row.planned_start_us)].started += 1;
        let ended = at(row.ended_us);
        if row.outcome == "ok" {
            points[ended].succeeded += 1;
        } else {
            points[ended].failed += 1;
        }
        if !row.warmup {
            record(kind, &mut random, row, &mut intervals[ended]);
        }
    }
    for (p, samples) in points.iter_mut().zip(&intervals) {
        fill(p, samples);
    }
    let mut totals: BTreeMap<Metric, Distribution> = BTreeMap::new();
    for samples in &intervals {
        for (m, d) in samples {
            totals.entry(*m).or_default().merge(d);
        }
    }
    let mut result = result(kind, seed, &rows, points, &totals);
    if kind == Kind::Networks {
        on_a_bad_network(&mut result, seed, &rows);
    }
    Sample { result, turns: rows, intervals }
}

/// Adds what the network and faults did.
fn on_a_bad_network(result: &mut RunResult, seed: u64, rows: &[TurnRow]) {
    let (network, all, series) = network::make(seed, rows);
    for (p, of) in result.intervals.iter_mut().zip(&series) {
        (p.connected, p.faults, p.reconnects) = (of.connected, of.faults, of.reconnects);
        p.connection_failures = of.connection_failures;
    }
    for &m in Metric::ALL.iter().filter(|m| m.is_of_network()) {
        result.metrics.insert(m.name().to_owned(), all.metric(m).to_result(m.unit().name()));
    }
    let c = &all.counts;
    result.turns = TurnCounts {
        reconnected: c.turns_reconnected,
        lost_to_cut: c.turns_lost_to_cut,
        cut_short: c.turns_cut_short,
        answered_twice: c.turns_answered_twice,
        speech_lost: c.turns_speech_lost,
        speech_lost_us: c.speech_lost.0,
        speech_late: c.turns_speech_late,
        speech_late_us: c.speech_late.0,
        lowered_chunks: c.lowered,
        bitrate_downs: c.bitrate_downs,
        bitrate_ups: c.bitrate_ups,
        ..result.turns
    };
    result.connections = ConnectionCounts {
        opened: c.connected_total,
        attempted: c.connected_total,
        lost: c.lost,
        reconnected: c.reconnected,
        ..result.connections
    };
    result.network = Some(network);
}

fn turn(kind: Kind, random: &mut Stream, n: u32, of: u32) -> TurnRow {
    let device = n % DEVICES;
    let span = DURATION.0 - 2 * UTTERANCE;
    let start = (i64::from(n) * span / i64::from(of.max(1))) + random.below(50_000) as i64;
    let eos = start + END_OF_SPEECH;
    let log_normal =
        |random: &mut Stream, p50: f64, sigma: f64| (p50 * (sigma * random.normal()).exp()) as i64;
    let slow = if matches!(kind, Kind::Good | Kind::Networks) { 1.0 } else { 1.9 };
    let transcript = 20_000 + log_normal(random, 45_000.0, 0.25);
    let token = transcript + log_normal(random, 62_000.0 * slow, 0.22);
    let byte = token + log_normal(random, 44_000.0 * slow, 0.2);
    let lead = 8_000 + random.below(12_000) as i64;
    let late = log_normal(random, if kind == Kind::Invalid { 9_000.0 } else { 180.0 }, 0.5);
    let last_send = eos + 20_000;
    let media = 1_500_000 + random.below(2_000_000) as i64;
    let required = if random.chance(0.03) { random.below(240_000) as i64 } else { 0 };
    let at = |prebuffer: i64| (required - prebuffer).max(0);
    let mut row = TurnRow {
        device,
        turn: n / DEVICES,
        session_turn: n / DEVICES,
        local_port: 32_768 + device as u16,
        fixture: ["weather", "story", "counting"][n as usize % 3].to_owned(),
        warmup: start < WARMUP.0,
        outcome: "ok".to_owned(),
        planned_start_us: start,
        end_of_speech_us: eos,
        last_send_planned_us: last_send,
        last_send_done_us: Some(last_send + late),
        ttft_us: Some(token),
        ttft_uncorrected_us: Some(token - late),
        ttfa_us: Some(byte + lead),
        ttfa_uncorrected_us: Some(byte + lead - late),
        ttfa_first_byte_us: Some(byte),
        ttfa_first_byte_uncorrected_us: Some(byte - late),
        ttfa_from_last_send_us: Some(byte + lead - 20_000 - late),
        first_partial_us: Some(-1_100_000),
        final_transcript_us: Some(transcript),
        lead_silence_us: Some(lead),
        last_byte_us: Some(byte + media * 3 / 5),
        reply_done_us: Some(byte + media * 3 / 5 + 1_000),
        tokens: 12 + random.below(30) as u32,
        audio_messages: (media / 60_000) as u32,
        reply_media_us: media,
        rtf: Some(0.6),
        stalls: u32::from(required > 0),
        stalled_us: at(0),
        stalled_0_us: at(0),
        stalled_60_us: at(60_000),
        stalled_120_us: at(120_000),
        stalled_200_us: at(200_000),
        required_prebuffer_us: required,
        first_stall_us: (required > 0).then_some(byte + media / 3),
        ended_us: eos + byte + lead + media,
        ..TurnRow::default()
    };
    if kind == Kind::Failing && random.chance(0.07) {
        let (class, _, detail) = FAILURES[(random.unit() * random.unit() * FAILURES.len() as f64) as usize];
        row = TurnRow {
            outcome: class.to_owned(),
            detail: detail.to_owned(),
            ttfa_us: None,
            ttft_us: None,
            ttfa_first_byte_us: None,
            ttft_uncorrected_us: None,
            ttfa_uncorrected_us: None,
            ttfa_first_byte_uncorrected_us: None,
            ttfa_from_last_send_us: None,
            lead_silence_us: None,
            first_stall_us: None,
            last_byte_us: None,
            reply_done_us: None,
            tokens: 0,
            audio_messages: 0,
            reply_media_us: 0,
            rtf: None,
            ended_us: eos + 5_000_000,
            ..row
        };
    }
    if kind == Kind::Networks {
        network::impair(&mut row, random);
    }
    row
}

/// A turn's samples.
fn record(kind: Kind, random: &mut Stream, row: &TurnRow, to: &mut BTreeMap<Metric, Distribution>) {
    let mut finite = |m: Metric, us: Option<i64>| {
        if let Some(us) = us {
            to.entry(m).or_default().record(Micros(us));
        }
    };
    finite(Metric::TtfaFromLastSend, row.ttfa_from_last_send_us);
    finite(Metric::TtfaUncorrected, row.ttfa_uncorrected_us);
    finite(Metric::TtftUncorrected, row.ttft_uncorrected_us);
    finite(Metric::TtfaFirstByteUncorrected, row.ttfa_first_byte_uncorrected_us);
    finite(Metric::FirstPartial, row.first_partial_us);
    finite(Metric::FinalTranscript, row.final_transcript_us);
    finite(Metric::LeadSilence, row.lead_silence_us);
    finite(Metric::Rtf, row.rtf.map(|r| (r * 1e6) as i64));
    finite(Metric::RequiredPrebuffer, row.rtf.map(|_| row.required_prebuffer_us));
    let connect = (row.turn == 0).then(|| 900 + random.below(2_000) as i64);
    finite(Metric::Connect, connect);
    finite(Metric::ConnectUncorrected, connect.map(|us| us - 140));
    for _ in 0..10 {
        let scale = if kind == Kind::Invalid { 3_000.0 } else { 120.0 };
        let (own, blocked) = ((scale * random.exponential()) as i64, i64::from(random.chance(0.01)) * 400);
        finite(Metric::OwnLateness, Some(own));
        finite(Metric::SocketBlocked, Some(blocked));
        finite(Metric::SendLateness, Some(own + blocked));
    }
    let shifted = |by: i64| row.ttfa_us.map(|t| t + by);
    for (m, us) in [
        (Metric::Ttfa, row.ttfa_us),
        (Metric::Ttft, row.ttft_us),
        (Metric::TtfaFirstByte, row.ttfa_first_byte_us),
        (Metric::TtfaAt60, shifted(12_000)),
        (Metric::TtfaAt120, shifted(31_000)),
        (Metric::TtfaAt200, shifted(70_000)),
    ] {
        let d = to.entry(m).or_default();
        match us {
            Some(us) => d.record(Micros(us)),
            None => d.record_infinite(),
        }
    }
}

fn point(second: i64, kind: Kind) -> IntervalPoint {
    let connected = (DEVICES as i64 * (second + 1) / 5).min(DEVICES.into()) as u32;
    IntervalPoint {
        start_us: second * SECOND,
        width_us: SECOND,
        connected: if kind == Kind::Empty { 0 } else { connected },
        connection_failures: if kind == Kind::Empty { 40 } else { 0 },
        ..IntervalPoint::default()
    }
}

fn fill(p: &mut IntervalPoint, samples: &BTreeMap<Metric, Distribution>) {
    let quantile = |m, q| {
        let d: Option<&Distribution> = samples.get(&m);
        d.and_then(|d| d.quantile(q)).and_then(Quantile::finite).map(|t| t.0)
    };
    p.in_turn = (p.started * 3).min(u64::from(p.connected)) as u32;
    p.messages_sent = p.started * 36;
    p.messages_received = p.succeeded * 60;
    p.ttfa_count = samples.get(&Metric::Ttfa).map_or(0, Distribution::count);
    p.ttfa_p50_us = quantile(Metric::Ttfa, 0.5);
    p.ttfa_p95_us = quantile(Metric::Ttfa, 0.95);
    p.ttfa_max_us = samples.get(&Metric::Ttfa).and_then(Distribution::max).map(|t| t.0);
    p.ttfa_uncorrected_p50_us = quantile(Metric::TtfaUncorrected, 0.5);
    p.ttfa_uncorrected_p95_us = quantile(Metric::TtfaUncorrected, 0.95);
    p.ttfa_uncorrected_max_us =
        samples.get(&Metric::TtfaUncorrected).and_then(Distribution::max).map(|t| t.0);
    p.ttft_uncorrected_p50_us = quantile(Metric::TtftUncorrected, 0.5);
    p.ttft_uncorrected_p95_us = quantile(Metric::TtftUncorrected, 0.95);
    p.ttft_p50_us = quantile(Metric::Ttft, 0.5);
    p.ttft_p95_us = quantile(Metric::Ttft, 0.95);
    p.send_lateness_p99_us = quantile(Metric::SendLateness, 0.99);
}

fn result(
    kind: Kind,
    seed: u64,
    rows: &[TurnRow],
    intervals: Vec<IntervalPoint>,
    totals: &BTreeMap<Metric, Distribution>,
) -> RunResult {
    let counted: Vec<&TurnRow> = rows.iter().filter(|r| !r.warmup).collect();
    let number = |f: &dyn Fn(&&&TurnRow) -> bool| counted.iter().filter(f).count() as u64;
    let timed_out = number(&|r| r.outcome == "timeout");
    let succeeded = number(&|r| r.outcome == "ok");
    let turns = TurnCounts {
        planned: if kind == Kind::Empty { 3_000 } else { counted.len() as u64 },
        started: counted.len() as u64,
        succeeded,
        failed: counted.len() as u64 - succeeded - timed_out,
        timed_out,
        missed: if kind == Kind::Empty { 3_000 } else { 0 },
        warmup: (rows.len() - counted.len()) as u64,
        ..TurnCounts::default()
    };
    let mut stages = StageTotals::default();
    rows.iter().for_each(|r| stages.add(r));
    let mut worst: Vec<&TurnRow> = counted.clone();
    worst.sort_by_key(|r| std::cmp::Reverse(r.ttfa_us.unwrap_or(i64::MAX)));
    let median =
        totals.get(&Metric::Ttfa).and_then(|d| d.quantile(0.5)).and_then(Quantile::finite).map(|t| t.0);
    let metric = |(m, d): (&Metric, &Distribution)| (m.name().to_owned(), d.to_result(m.unit().name()));
    let validity = validity(kind);
    let mut result = RunResult {
        schema_version: SCHEMA_VERSION,
        validity,
        verdict: Verdict { status: Status::Pass, exit_code: 0, reasons: Vec::new() },
        notes: notes(kind),
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: format!("sample-{kind:?}").to_lowercase(),
        seed,
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        duration_us: DURATION.0,
        warmup_us: WARMUP.0,
        thresholds: Vec::new(),
        gate: Some(GateResult { undecided: "pass".to_owned(), ..GateResult::default() }),
        target: TargetInfo {
            url: "ws://127.0.0.1:9000/".to_owned(),
            dialect: "envelope".to_owned(),
            text_granularity: "token".to_owned(),
            embedded: kind == Kind::Good,
            tls: false,
            insecure: false,
        },
        turns,
        connections: ConnectionCounts {
            attempted: DEVICES.into(),
            opened: if kind == Kind::Empty { 0 } else { DEVICES.into() },
            failed: if kind == Kind::Empty { DEVICES.into() } else { 0 },
            ..ConnectionCounts::default()
        },
        metrics: totals.iter().map(metric).collect(),
        failures: failures(kind, &counted),
        stages: stages.to_result(),
        playback: playback(&counted),
        barge_in: if kind == Kind::Good {
            BargeInCounts {
                made: 120,
                stopped: 119,
                backchannels: 80,
                false_stops: 2,
                stale_messages: 31,
            }
        } else {
            BargeInCounts::default()
        },
        generator: generator(kind, rows.len() as u64),
        intervals,
        typical_turn: worst.iter().rfind(|t| t.ttfa_us >= median).map(|t| (*t).clone()),
        worst_turns: worst_turns(&worst),
        phases: phases(),
        fixtures: ["weather", "story", "counting"].map(fixture).into(),
        audio: AudioInfo {
            codec: "opus".to_owned(),
            sample_rate: 16_000,
            reply_sample_rate: 24_000,
            bitrate: 24_000,
            frame_us: 20_000,
            chunk_us: 60_000,
            lookahead_us: 6_500,
            encoding: "binary".to_owned(),
            end_of_turn: "signal".to_owned(),
            prebuffer_us: 0,
            wire_kbps_up: 30.1,
            messages_per_s_up: 16.7,
        },
        host: HostInfo {
            os: "Linux 6.1".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            open_files: 65_536,
        },
        scenario: "# every value, defaults included\nname = \"sample\"\n\n[fleet]\ndevices = 1000\nduration = \"60s\"\n"
            .to_owned(),
        command: "voxload run scenarios/sample.toml --seed 7".to_owned(),
        agreement: (kind == Kind::Good).then(|| agreement(succeeded)),
        calibration: None,
        network: None,
        shard: None,
        processes: Vec::new(),
        dialect: None,
    };
    let rule = Rule { undecided_passes: true, ..Rule::default() };
    result.thresholds = judge_all(&THRESHOLDS.map(str::to_owned), &result, rule);
    result.verdict = verdict(kind, &result.thresholds);
    result
}

/// The slowest, then the first that failed.
fn worst_turns(slowest_first: &[&TurnRow]) -> Vec<TurnRow> {
    let slow = slowest_first.iter().filter(|t| t.ttfa_us.is_some()).take(10);
    let failed = slowest_first.iter().filter(|t| t.ttfa_us.is_none()).take(10);
    slow.chain(failed).map(|t| (*t).clone()).collect()
}

fn phases() -> Vec<LoadPhase> {
    let phase = |name: &str, from: i64, to: i64| LoadPhase {
        name: name.to_owned(),
        from_us: from * SECOND,
        to_us: to * SECOND,
    };
    vec![phase("ramp", 0, 5), phase("steady", 5, 56), phase("drain", 56, 60)]
}

fn verdict(kind: Kind, thresholds: &[ThresholdResult]) -> Verdict {
    let failed = thresholds.iter().filter(|t| !t.passed);
    let mut reasons: Vec<String> =
        failed.map(|t| format!("threshold failed: {} was {}", t.expression, t.actual_text)).collect();
    let (status, exit_code) = match kind {
        Kind::Good => (Status::Pass, 0),
        Kind::Networks if reasons.is_empty() => (Status::Pass, 0),
        Kind::Networks => (Status::Fail, 99),
        Kind::Failing => (Status::Fail, 99),
        Kind::Invalid => {
            reasons.insert(
                0,
                "send lateness p99: 13.8 ms (limit ≤ 2 ms): more devices than this machine's cores can drive; try \
                 fewer devices (-u 400), or a machine with more cores"
                    .to_owned(),
            );
            (Status::Invalid, 120)
        }
        Kind::Empty => {
            reasons.insert(0, "no turn completed".to_owned());
            (Status::Fail, 121)
        }
    };
    Verdict { status, exit_code, reasons }
}

fn notes(kind: Kind) -> Vec<Note> {
    let text = "25 of 1,000 connections waited 1 or 3 s for a repeated SYN: the server's accept queue (listen backlog, \
                net.core.somaxconn) overflowed, or packets were lost. Shape the ramp (--set fleet.ramp=…), or raise the backlog";
    let note = Note { name: "accept_queue".to_owned(), text: text.to_owned() };
    if kind == Kind::Failing { vec![note] } else { Vec::new() }
}

fn validity(kind: Kind) -> Validity {
    let ok = kind != Kind::Invalid;
    let check = |name: &str, seen: &str, limit: &str, ok: bool, cause: &str, try_this: &str| ValidityCheck {
        name: name.to_owned(),
        seen: seen.to_owned(),
        limit: limit.to_owned(),
        ok,
        cause: cause.to_owned(),
        try_this: try_this.to_owned(),
    };
    Validity {
        valid: ok,
        probe: None,
        checks: vec![
            if ok {
                check("send lateness p99", "0.6 ms", "≤ 2 ms", true, "", "")
            } else {
                check(
                    "send lateness p99",
                    "13.8 ms",
                    "≤ 2 ms",
                    false,
                    "more devices than this machine's cores can drive",
                    "fewer devices (-u 400), or a machine with more cores",
                )
            },
            check("CPU of the generator", "41.0 %", "≤ 98 %", true, "", ""),
            check("CPU steal", "not measured", "≤ 5 %", true, "", ""),
        ],
        // A run that failed by other people's limits, and one by stricter ones.
        loosened: if kind == Kind::Failing {
            vec!["CPU of the generator ≤ 98 % (default ≤ 90 %)".to_owned()]
        } else {
            Vec::new()
        },
        tightened: vec!["send lateness p99 ≤ 2 ms (default ≤ 5 ms)".to_owned()],
    }
}

fn failures(kind: Kind, rows: &[&TurnRow]) -> Vec<FailureGroup> {
    if kind == Kind::Empty {
        return vec![FailureGroup {
            class: "refused".to_owned(),
            explanation: FailureClass::Refused.explain().to_owned(),
            turns: 0,
            connections: DEVICES.into(),
            example: FailureExample {
                device: 0,
                turn: None,
                at_us: 1_200,
                detail: "ws://127.0.0.1:9000/: Connection refused (os error 111)".to_owned(),
            },
        }];
    }
    let mut groups: Vec<FailureGroup> = FAILURES
        .iter()
        .filter_map(|(class, kind, detail)| {
            let of: Vec<_> = rows.iter().filter(|r| r.outcome == *class).collect();
            let first = of.first()?;
            Some(FailureGroup {
                class: (*class).to_owned(),
                explanation: kind.explain().to_owned(),
                turns: of.len() as u64,
                connections: 0,
                example: FailureExample {
                    device: first.device,
                    turn: Some(first.turn),
                    at_us: first.ended_us,
                    detail: (*detail).to_owned(),
                },
            })
        })
        .collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.turns));
    groups
}

fn playback(rows: &[&TurnRow]) -> Vec<PlaybackResult> {
    let replies: Vec<_> = rows.iter().filter(|r| r.rtf.is_some()).collect();
    PREBUFFERS
        .iter()
        .enumerate()
        .map(|(i, prebuffer)| {
            let stalled =
                |r: &TurnRow| [r.stalled_0_us, r.stalled_60_us, r.stalled_120_us, r.stalled_200_us][i];
            let mut ttfa = Distribution::default();
            for r in &replies {
                ttfa.record(Micros(r.ttfa_us.unwrap_or(0) + [0, 12_000, 31_000, 70_000][i]));
            }
            let all = ttfa.to_result("us");
            let naive = |us: Option<i64>| us.map(|us| us - 180);
            let with = replies.iter().filter(|r| stalled(r) > 0).count() as u64;
            PlaybackResult {
                prebuffer_us: prebuffer.0,
                replies: replies.len() as u64,
                stalled_replies: with,
                stalls: with,
                stalled_us: replies.iter().map(|r| stalled(r)).sum(),
                media_us: replies.iter().map(|r| r.reply_media_us).sum(),
                ttfa_p50_us: all.p50_us,
                ttfa_p95_us: all.p95_us,
                ttfa_uncorrected_p50_us: naive(all.p50_us),
                ttfa_uncorrected_p95_us: naive(all.p95_us),
            }
        })
        .collect()
}

fn generator(kind: Kind, turns: u64) -> Generator {
    Generator {
        devices: if kind == Kind::Empty { 0 } else { DEVICES },
        shards: 2,
        messages_sent: turns * 36,
        messages_received: turns * 60,
        bytes_sent: turns * 6_400,
        bytes_received: turns * 9_000,
        cpu_us: turns as i64 * 700,
        cpu_share: if kind == Kind::Invalid { 0.97 } else { 0.41 },
        cpu_us_per_message: if turns == 0 { 0.0 } else { 7.3 },
        rss_base_bytes: 18 << 20,
        rss_peak_bytes: 27 << 20,
        rss_bytes_per_device: if kind == Kind::Empty { 0 } else { 9_437 },
        threads: Vec::new(),
        steal_share: (kind != Kind::Empty).then_some(0.001),
        load_us: DURATION.0 - WARMUP.0,
        pressure_share: (kind != Kind::Empty).then_some(if kind == Kind::Invalid { 0.93 } else { 0.21 }),
        open_files_peak: Some(if kind == Kind::Empty { 19 } else { u64::from(DEVICES) + 19 }),
        open_files_limit: Some(65_536),
        source_addresses: 1,
        ports_peak: if kind == Kind::Empty { 0 } else { DEVICES.into() },
        ports_limit: Some(28_232),
    }
}

fn agreement(turns: u64) -> Agreement {
    let difference = |p50: i64| Difference {
        count: turns,
        p50_us: Some(p50),
        p99_abs_us: Some(1_900),
        max_abs_us: Some(4_300),
        within_5ms: Some(1.0),
    };
    Agreement { turns, unmatched: 0, delayed: 0, ttft: difference(240), ttfa: difference(310) }
}

fn fixture(id: &str) -> FixtureInfo {
    FixtureInfo {
        id: id.to_owned(),
        sha256: "0".repeat(64),
        length_us: UTTERANCE,
        speech_start_us: 120_000,
        speech_end_us: END_OF_SPEECH,
    }
}
