//! A made-up bad network: its events, through the same recorder as a real run's.

use crate::event::{Event, FailureClass, Outcome, Playout, TurnRecord};
use crate::fault::{Cause, FaultKind, Phase, Recovery};
use crate::measure::{Groups, Interval, Recorder, Totals};
use crate::network::{LinkStats, WayStats};
use crate::report::result::{CONTROL, IntervalPoint, NetworkResult, TurnRow};
use crate::seed::{Seed, Stream};
use crate::time::Micros;
use crate::transport::ConnectTimes;

use super::{DEVICES, DURATION, SECOND};

const MS: i64 = 1_000;

/// Groups by the last digit of a device: 20 % control, 50 % at home, 20 % in a crowd, 10 % on the road.
const NAMES: [&str; 4] = [CONTROL, "wifi-home", "wifi-congested", "cat1"];

/// Median extra delay up and down, and its spread (standard deviation of the logarithm).
const DELAYS: [Option<(f64, f64, f64)>; 4] = [
    None,
    Some((21_000.0, 22_000.0, 0.15)),
    Some((36_000.0, 48_000.0, 0.7)),
    Some((58_000.0, 70_000.0, 0.5)),
];

const fn group_of(device: u32) -> u8 {
    match device % 10 {
        0 | 1 => 0,
        2..=6 => 1,
        7 | 8 => 2,
        _ => 3,
    }
}

fn groups() -> Groups {
    Groups::new(NAMES.map(str::to_owned).into(), group_of)
}

/// What the network adds to a turn.
pub(super) fn impair(row: &mut TurnRow, random: &mut Stream) {
    let id = usize::from(group_of(row.device));
    row.group = NAMES[id].to_owned();
    let Some((up, down, sigma)) = DELAYS[id] else { return };
    let mut draw = |p50: f64| (p50 * (sigma * random.normal()).exp()) as i64;
    let (up, down) = (draw(up), draw(down));
    if row.ttfa_us.is_some() {
        (row.network_up_us, row.network_down_us, row.network_us) = (Some(up), Some(down), Some(up + down));
    }
    let both = up + down;
    for us in [
        &mut row.ttfa_us,
        &mut row.ttfa_uncorrected_us,
        &mut row.ttfa_first_byte_us,
        &mut row.ttfa_first_byte_uncorrected_us,
        &mut row.ttfa_from_last_send_us,
        &mut row.ttft_us,
        &mut row.ttft_uncorrected_us,
        &mut row.final_transcript_us,
        &mut row.last_byte_us,
        &mut row.reply_done_us,
    ]
    .into_iter()
    .flatten()
    {
        *us += both;
    }
    row.ended_us += both;
    if random.chance(0.03) {
        (row.reconnects, row.speech_late_us) = (1, 60 * MS * (1 + random.below(20) as i64));
        (row.cut_short, row.answered_twice) = (random.chance(0.2), random.chance(0.1));
        row.speech_lost_us = if random.chance(0.2) { 400 * MS } else { 0 };
    }
}

/// Everything that happens, by time.
struct Script {
    random: Stream,
    events: Vec<(i64, u32, Event)>,
}

/// What befalls a device: how long until it notices, how long until it is connected again after that, in µs.
#[derive(Clone, Copy)]
struct Blow {
    notice: i64,
    back: i64,
}

impl Script {
    fn phase(&mut self) -> Phase {
        [Phase::Idle, Phase::Idle, Phase::Speaking, Phase::Waiting, Phase::Listening, Phase::Listening]
            [self.random.below(6) as usize]
    }

    fn connect(&mut self, at: i64, device: u32, reconnect: bool, slow: f64) -> ConnectTimes {
        let mut took = |p50: f64| Micros((p50 * slow * (0.4 * self.random.normal()).exp()) as i64);
        let (tcp, tls, upgrade) = (took(41_000.0), took(46_000.0), took(22_000.0));
        let times = ConnectTimes { tcp, tls, upgrade, ..ConnectTimes::default() };
        let total = times.tcp + times.tls + times.upgrade;
        self.events.push((at, device, Event::Connected { times, total, reconnect }));
        if reconnect {
            self.events.push((at, device, Event::Reconnected { after: total }));
        }
        times
    }

    /// A cut: noticed, connected again, heard again.
    fn cut(&mut self, device: u32, cut: i64, cause: &Cause, blow: Blow, slow: f64) {
        let phase = self.phase();
        if let Cause::Fault(fault) = cause {
            self.events.push((cut, device, Event::FaultBegan { fault: *fault, phase }));
        }
        let noticed = cut + blow.notice;
        let detail = Box::default();
        self.events.push((
            noticed,
            device,
            Event::ConnectionLost { class: FailureClass::Reset, detail, established: true },
        ));
        let after = Micros(blow.notice);
        self.events.push((noticed, device, Event::Noticed { cause: cause.clone(), phase, after }));
        if self.random.chance(0.005) {
            return;
        }
        let back = noticed + blow.back;
        let times = self.connect(back, device, true, slow);
        let think = if phase == Phase::Idle { 4_000 * MS } else { 700 * MS };
        let audio = back + (think as f64 * (0.5 * self.random.normal()).exp()) as i64;
        let recovery = Recovery {
            cause: cause.clone(),
            phase,
            cut: Micros(cut),
            noticed: Some(Micros(noticed)),
            attempts: 1 + (blow.back / (1_500 * MS)) as u32,
            back_off: Micros(blow.back * 4 / 5),
            tcp: times.tcp,
            tls: times.tls,
            upgrade: times.upgrade,
            session: Some(Micros(9 * MS)),
            connected: Micros(back),
            resumed: self.random.chance(0.9),
            audio: Some(Micros(audio)),
        };
        self.events.push((audio, device, Event::Recovered(Box::new(recovery))));
    }

    /// A roam that costs no connection.
    fn lived_through(&mut self, device: u32, at: i64, fault: FaultKind) {
        let phase = self.phase();
        self.events.push((at, device, Event::FaultBegan { fault, phase }));
        let audio = at + 600 * MS + self.random.below(2_500_000) as i64;
        let recovery = Recovery {
            cause: Cause::Fault(fault),
            phase,
            cut: Micros(at),
            noticed: None,
            attempts: 0,
            back_off: Micros::ZERO,
            tcp: Micros::ZERO,
            tls: Micros::ZERO,
            upgrade: Micros::ZERO,
            session: None,
            connected: Micros(at),
            resumed: false,
            audio: Some(Micros(audio)),
        };
        self.events.push((audio, device, Event::Recovered(Box::new(recovery))));
    }

    fn everything(&mut self, turns: &[TurnRow]) {
        for device in 0..DEVICES {
            let at = i64::from(device) * 5 * MS;
            self.connect(at, device, false, 1.0);
        }
        let reset = Cause::Fault(FaultKind::Reset);
        for device in (0..DEVICES).filter(|d| group_of(*d) != 0 && d % 8 < 3) {
            let cut = 25 * SECOND + self.random.below(15_000) as i64;
            let blow =
                Blow { notice: self.random.below(40_000) as i64, back: self.random.below(4_000_000) as i64 };
            self.cut(device, cut, &reset, blow, 3.0);
        }
        let drained = Cause::Lost(FailureClass::Closed(1012));
        for device in (0..DEVICES).filter(|d| d % 12 == 5) {
            let cut = 44 * SECOND + self.random.below(60_000) as i64;
            let blow = Blow { notice: 0, back: self.random.below(9_000_000) as i64 };
            self.cut(device, cut, &drained, blow, 1.0);
        }
        for n in 0..240_u32 {
            let at = 5 * SECOND + i64::from(n) * 200 * MS + self.random.below(150_000) as i64;
            let device = 7 + 10 * (self.random.below(100) as u32) + n % 3;
            let back = 500 * MS + self.random.below(1_500_000) as i64;
            match n % 8 {
                0..4 => self.lived_through(device, at, FaultKind::Roam),
                4 | 5 => {
                    let notice = 3 * SECOND;
                    self.cut(device, at, &Cause::Fault(FaultKind::Roam), Blow { notice, back }, 1.5);
                }
                6 => {
                    let notice = 9 * SECOND + self.random.below(2_000_000) as i64;
                    self.cut(device, at, &Cause::Fault(FaultKind::BlackHole), Blow { notice, back }, 1.5);
                }
                _ => self.lived_through(device, at, FaultKind::SlowReader),
            }
        }
        for device in 0..DEVICES {
            if let Some(stats) = link(&mut self.random, group_of(device)) {
                self.events.push((DURATION.0, device, Event::LinkEnded(Box::new(stats))));
            }
        }
        self.events.extend(turns.iter().map(|row| (row.ended_us, row.device, Event::TurnEnded(turn(row)))));
        self.events.sort_by_key(|(at, ..)| *at);
    }
}

fn link(random: &mut Stream, group: u8) -> Option<LinkStats> {
    let (loss, down) = [(0.0, 0.0), (0.002, 1.0), (0.01, 1.0), (0.005, 0.7)][usize::from(group)];
    let mut way = |segments: f64, size: u64| {
        let segments = (segments * (0.8 + 0.4 * random.unit())) as u64;
        let lost = (segments as f64 * loss * (0.5 + random.unit())) as u64;
        let longest = Micros((220_000.0 * (1.0 + loss * 60.0) * (0.5 + random.unit())) as i64);
        WayStats {
            bytes: segments * size,
            segments,
            lost,
            retransmissions: lost,
            timeouts: lost / 12,
            stalls: lost * 4 / 5,
            stalled: longest * (lost as i64 * 2 / 5),
            longest_stall: if lost > 0 { longest } else { Micros::ZERO },
        }
    };
    let (up, down) = (way(430.0, 190), way(900.0 * down, 260));
    (group > 0).then(|| LinkStats { up, down, syn_lost: u32::from(random.chance(loss * 2.0)) })
}

/// Back from its row: what sums need of it.
fn turn(row: &TurnRow) -> Box<TurnRecord> {
    let eos = Micros(row.end_of_speech_us);
    let at = |us: Option<i64>| us.map(|us| eos + Micros(us));
    let playout = Playout { first_audible: at(row.ttfa_us), ..Playout::default() };
    Box::new(TurnRecord {
        device: row.device,
        turn: row.turn,
        session_turn: row.session_turn,
        local_port: row.local_port,
        fixture: 0,
        warmup: row.warmup,
        planned_start: Micros(row.planned_start_us),
        end_of_speech: eos,
        last_send_planned: Micros(row.last_send_planned_us),
        last_send_done: row.last_send_done_us.map(Micros),
        endpoint: None,
        first_partial: None,
        final_transcript: at(row.final_transcript_us),
        first_token: at(row.ttft_us),
        first_byte: at(row.ttfa_first_byte_us),
        lead_silence: None,
        last_byte: at(row.last_byte_us),
        reply_done: at(row.reply_done_us),
        tokens: row.tokens,
        audio_messages: row.audio_messages,
        reply_media: Micros(row.reply_media_us),
        playout: [playout; 4],
        judged: playout,
        required_prebuffer: Micros::ZERO,
        barge_in: None,
        backchannel: None,
        group: group_of(row.device),
        network_up: row.network_up_us.map(Micros),
        network_down: row.network_down_us.map(Micros),
        reconnects: row.reconnects,
        cut_short: row.cut_short,
        answered_twice: row.answered_twice,
        speech_lost: Micros(row.speech_lost_us),
        speech_late: Micros(row.speech_late_us),
        lowered: row.lowered,
        outcome: if row.outcome == "ok" {
            Outcome::Succeeded
        } else {
            Outcome::Failed(FailureClass::NotConnected, Box::default())
        },
        ended: Micros(row.ended_us),
    })
}

/// What the events of such a run add up to: `network` of the document, all sums, and the points of the series.
pub(super) fn make(seed: u64, turns: &[TurnRow]) -> (NetworkResult, Interval, Vec<IntervalPoint>) {
    let mut script = Script { random: Seed(seed).stream("sample-network", 0), events: Vec::new() };
    script.everything(turns);
    let second = Micros(SECOND);
    let mut totals = Totals::new(second).looking_for_storms(super::WARMUP, true);
    let mut recorder = Recorder::new(super::WARMUP, true);
    recorder.of_run(groups(), DURATION, Micros::from_secs(5));
    let mut events = script.events.into_iter().peekable();
    let mut next = second;
    while events.peek().is_some() {
        while let Some((at, device, event)) = events.next_if(|(at, ..)| *at < next.0) {
            recorder.record(device, Micros(at), event);
        }
        if events.peek().is_none() {
            recorder.finish(next);
        }
        totals.add(next - second, second, &recorder.take());
        next += second;
    }
    totals.finish();
    let network = totals.network(groups().names()).unwrap_or_default();
    let series = totals.series();
    (network, totals.all, series)
}
