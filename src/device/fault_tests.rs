//! A device that is struck by faults, a network that does what the faults say, and a server that remembers sessions.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::tests::{FORMAT, ms, plan, text};
use super::*;
use crate::fault::{Cause, FaultKind, FaultSpec, Phase, Recovery};
use crate::scenario::{Dist, EndOfTurn, Reconnect};

/// One way of the network.
const WAY: Micros = ms_const(5);
/// Connecting takes this long.
const DOOR: Micros = ms_const(20);
/// From the end of speech, as the server hears of it, to the first audio.
const THINKS: Micros = ms_const(300);

const fn ms_const(n: i64) -> Micros {
    Micros::from_millis(n)
}

/// Message `n` of a reply: each sounds different.
fn sound(n: u32) -> Frame {
    let level = 4_000 + 100 * n as i16;
    let sample = |i: i32| if i % 2 == 0 { level } else { -level };
    Frame::Binary((0..960).flat_map(|i| sample(i).to_le_bytes()).collect::<Vec<u8>>().into())
}

/// What the server remembers of a session.
#[derive(Debug, Default)]
struct Session {
    name: String,
    chunks: u32,
    /// The turn that is being answered, the next message of the reply, and when it is due.
    reply: Option<(u32, u32, Micros)>,
    /// Chunks that it had heard when each turn ended.
    heard: Vec<(u32, u32)>,
    /// The last turn that it has answered in full.
    said: Option<u32>,
}

/// How the server resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// It goes on where it was.
    Exact,
    /// It begins the reply again, also one that was complete.
    Repeats,
    /// It drops the reply, and says so.
    Drops,
    /// It knows no session but the one that is open.
    None,
    /// It does not even answer.
    Silent,
}

struct Server {
    memory: Memory,
    messages: u32,
    parked: HashMap<String, Session>,
    open: Option<Session>,
    opened: u32,
}

impl Server {
    fn hears(&mut self, now: Micros, frame: &Frame, out: &mut Vec<Frame>) {
        let json = match frame {
            Frame::Ping(data) => return out.push(Frame::Pong(data.clone())),
            Frame::Binary(_) => {
                if let Some(s) = &mut self.open {
                    s.chunks += 1;
                }
                return;
            }
            Frame::Text(t) => serde_json::from_str::<serde_json::Value>(t).unwrap(),
            Frame::Pong(_) => return,
        };
        let turn = json["turn"].as_u64().unwrap_or_default() as u32;
        match (json["type"].as_str().unwrap(), &mut self.open) {
            ("session_start", _) => {
                let known = json["resume"].as_str().and_then(|name| self.parked.remove(name));
                let resumed = known.is_some() && !matches!(self.memory, Memory::None | Memory::Silent);
                self.opened += 1;
                let mut session = known.filter(|_| resumed).unwrap_or_default();
                if !resumed {
                    session.name = format!("s{}", self.opened);
                }
                if self.memory == Memory::Repeats && session.reply.is_none() {
                    session.reply = session.said.take().map(|turn| (turn, 0, now));
                }
                if let Some((_, next, at)) = &mut session.reply {
                    *at = (*at).max(now + ms(1));
                    if self.memory == Memory::Repeats {
                        *next = 0;
                    }
                }
                let dropped = session.reply.take_if(|_| self.memory == Memory::Drops);
                if self.memory != Memory::Silent || json["resume"].is_null() {
                    let name = &session.name;
                    out.push(text(&format!(
                        r#"{{"type":"session_started","session":"{name}","resumed":{resumed}}}"#
                    )));
                }
                if let Some((turn, ..)) = dropped {
                    out.push(text(&format!(r#"{{"type":"turn_end","turn":{turn},"interrupted":true}}"#)));
                }
                self.open = Some(session);
            }
            ("audio_end", Some(s)) if s.heard.iter().all(|(t, _)| *t != turn) => {
                s.heard.push((turn, s.chunks));
                s.chunks = 0;
                (s.reply, s.said) = (Some((turn, 0, now + THINKS)), None);
            }
            _ => {}
        }
    }

    fn due(&self) -> Micros {
        let reply = self.open.as_ref().and_then(|s| s.reply);
        reply.map_or(Micros::NEVER, |(_, _, at)| at)
    }

    fn speaks(&mut self, now: Micros, out: &mut Vec<Frame>) {
        let Some(s) = &mut self.open else { return };
        let Some((turn, next, at)) = s.reply.filter(|r| r.2 <= now) else { return };
        if next == 0 {
            out.push(text(&format!(r#"{{"type":"llm_token","turn":{turn},"text":"Hi"}}"#)));
        }
        out.push(sound(next));
        s.reply = Some((turn, next + 1, at + ms(60)));
        if next + 1 == self.messages {
            out.push(text(&format!(r#"{{"type":"turn_end","turn":{turn}}}"#)));
            (s.reply, s.said) = (None, Some(turn));
        }
    }

    /// The connection is gone.
    fn gone(&mut self) {
        if let Some(s) = self.open.take() {
            self.parked.insert(s.name.clone(), s);
        }
    }
}

/// Everything together.
struct Sim {
    device: Device,
    ear: Ear,
    now: Micros,
    server: Server,
    /// Attempts fail with this until then.
    closed: (FailureClass, Micros),
    opening: Option<Micros>,
    online: bool,
    lose: Micros,
    stall: Micros,
    up: VecDeque<(Micros, Frame, Option<u32>)>,
    down: VecDeque<(Micros, Frame)>,
    events: Vec<(Micros, Event)>,
    sent: Vec<(Micros, Outgoing)>,
    impaired: Vec<(Micros, Impairment)>,
    abandoned: bool,
    done: bool,
    ticks: u64,
    /// What the imitated network took for each frame.
    link_delay: Option<Micros>,
}

/// What the harness plans for most of these tests: a turn at 500 ms, speech of ten chunks until 1,450, the last chunk at
/// 1,500, the first audio at about 1,810, eight messages of 60 ms.
fn sim(faults: &[&str], change: impl FnOnce(&mut Plan)) -> Sim {
    let faults: Arc<[FaultSpec]> = faults.iter().map(|f| f.parse::<FaultSpec>().unwrap()).collect();
    let plan = plan(EndOfTurn::Signal, |p| {
        p.faults = faults;
        p.session.resume = true;
        p.session.keep_alive = Some(ms(400));
        p.session.keep_alive_timeout = ms(600);
        change(p);
    });
    Sim {
        device: Device::new(0, plan, Micros::ZERO, Micros::from_secs(60)),
        ear: Ear::new(FORMAT),
        now: Micros::ZERO,
        server: Server { memory: Memory::Exact, messages: 8, parked: HashMap::new(), open: None, opened: 0 },
        closed: (FailureClass::Refused, Micros::ZERO),
        opening: None,
        online: false,
        lose: Micros::ZERO,
        stall: Micros::ZERO,
        up: VecDeque::new(),
        down: VecDeque::new(),
        events: Vec::new(),
        sent: Vec::new(),
        impaired: Vec::new(),
        abandoned: false,
        done: false,
        ticks: 0,
        link_delay: None,
    }
}

impl Sim {
    fn input(&mut self, input: Input) {
        self.ticks += 1;
        self.device.handle(self.now, input, &mut self.ear);
        while let Some(output) = self.device.poll() {
            assert!(
                !self.done && !self.abandoned || matches!(output, Output::Done),
                "{output:?} after the end"
            );
            self.output(output);
        }
        let next = self.device.deadline();
        assert!(self.done || next > self.now, "a deadline that does not go away at {}", self.now);
        assert!(!self.done || next == Micros::NEVER, "a timer is left over");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Connect => {
                assert!(self.opening.is_none() && !self.online, "connects twice");
                self.opening = Some(self.now + DOOR);
            }
            Output::Send(o) => {
                assert!(self.online, "sends without a connection");
                let at =
                    (self.now + WAY).max(self.lose.saturating_add(WAY)).max(self.stall.saturating_add(WAY));
                let at = at.max(self.up.back().map_or(at, |l| l.0));
                let frame = o.frame.clone();
                self.up.push_back((at, frame, o.last_of_turn));
                self.sent.push((self.now, o));
            }
            Output::Hangup | Output::Goodbye => self.cut(),
            Output::Impair(what) => {
                assert!(self.online || self.opening.is_some(), "impairs nothing");
                self.impaired.push((self.now, what));
                match what {
                    Impairment::Reset | Impairment::Close => self.cut(),
                    Impairment::Lose(until) => self.lose = self.lose.max(until),
                    Impairment::StallWrites(until) => self.stall = self.stall.max(until),
                    Impairment::SlowRead(..) => {}
                }
            }
            Output::Abandon => self.abandoned = true,
            Output::Event(e) => self.events.push((self.now, e)),
            Output::Done => self.done = true,
        }
    }

    /// The connection, or the attempt, is gone, and what was under way with it.
    fn cut(&mut self) {
        (self.opening, self.online, self.lose, self.stall) = (None, false, Micros::ZERO, Micros::ZERO);
        self.up.clear();
        self.down.clear();
        self.server.gone();
    }

    fn say(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            let at = (self.now + WAY).max(self.lose.saturating_add(WAY));
            let at = at.max(self.down.back().map_or(at, |l| l.0));
            self.down.push_back((at, frame));
        }
    }

    fn until(&mut self, end: i64) -> &mut Self {
        self.until_late(end, Micros::ZERO)
    }

    fn until_late(&mut self, end: i64, late: Micros) -> &mut Self {
        while !self.done {
            // Nothing arrives while everything is lost; what is lost then arrives later.
            let hold =
                |at: Micros| if self.lose > self.now { at.max(self.lose.saturating_add(WAY)) } else { at };
            let tick = self.device.deadline().saturating_add(late);
            let opened = self.opening.map_or(Micros::NEVER, |at| at.max(self.lose.saturating_add(DOOR)));
            let up = self.up.front().map_or(Micros::NEVER, |u| hold(u.0));
            let down = self.down.front().map_or(Micros::NEVER, |d| hold(d.0));
            let speaks = self.server.due();
            let next = tick.min(opened).min(up).min(down).min(speaks);
            if next > ms(end) {
                break;
            }
            self.now = self.now.max(next);
            if opened == next {
                self.opening = None;
                let (class, until) = self.closed.clone();
                if self.now < until {
                    self.input(Input::Closed(Closed { class, detail: "scripted".to_owned() }));
                } else {
                    self.online = true;
                    self.input(Input::Connected(ConnectTimes { tcp: DOOR, ..ConnectTimes::default() }));
                }
            } else if up == next {
                let (_, frame, last) = self.up.pop_front().unwrap();
                let mut out = Vec::new();
                self.server.hears(self.now, &frame, &mut out);
                self.say(out);
                if let Some(turn) = last {
                    self.input(Input::Written(turn));
                }
            } else if down == next {
                let (_, frame) = self.down.pop_front().unwrap();
                if let Some(delay) = self.link_delay {
                    self.device.set_link_delay(delay);
                }
                self.input(Input::Frame(frame));
            } else if speaks == next {
                let mut out = Vec::new();
                self.server.speaks(self.now, &mut out);
                self.say(out);
            } else {
                self.input(Input::Tick);
            }
        }
        self.now = self.now.max(ms(end));
        self
    }

    /// The server ends the connection.
    fn server_closes(&mut self, class: FailureClass) {
        self.cut();
        self.input(Input::Closed(Closed { class, detail: "the server closed".to_owned() }));
    }

    fn turns(&self) -> Vec<&TurnRecord> {
        self.events
            .iter()
            .filter_map(|(_, e)| if let Event::TurnEnded(t) = e { Some(&**t) } else { None })
            .collect()
    }

    fn class(&self, turn: usize) -> String {
        match &self.turns()[turn].outcome {
            Outcome::Failed(class, _) => class.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn recoveries(&self) -> Vec<&Recovery> {
        self.events
            .iter()
            .filter_map(|(_, e)| if let Event::Recovered(r) = e { Some(&**r) } else { None })
            .collect()
    }

    fn noticed(&self) -> Vec<(Cause, Phase, Micros)> {
        let noticed = |(_, e): &(Micros, Event)| match e {
            Event::Noticed { cause, phase, after } => Some((cause.clone(), *phase, *after)),
            _ => None,
        };
        self.events.iter().filter_map(noticed).collect()
    }

    fn count(&self, f: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, e)| f(e)).count()
    }

    /// Every turn that began ended once, every connection too, and nothing is left over.
    fn accounts(&self) {
        assert!(self.done);
        let started = self.count(|e| matches!(e, Event::TurnStarted { .. }));
        let numbers: Vec<_> = self.turns().iter().map(|t| t.turn).collect();
        assert_eq!(started, numbers.len());
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len(), "a turn ended twice");
        let opened = self.count(|e| matches!(e, Event::Connected { .. }));
        let lost =
            |e: &Event| matches!(e, Event::Disconnected | Event::ConnectionLost { established: true, .. });
        assert_eq!(opened, self.count(lost));
        let noticed = self.count(|e| matches!(e, Event::Noticed { .. }));
        let ended = self.recoveries().iter().filter(|r| r.noticed.is_some()).count();
        assert_eq!(noticed, ended, "what was noticed has an end");
        let d = &self.device;
        assert!(d.turn.is_none() && d.interrupted.is_none() && d.speech.is_none() && d.cough.is_none());
        assert!(d.trouble.is_none() && d.dialect.is_none() && d.out.is_empty());
    }
}

fn fault(kind: FaultKind) -> Cause {
    Cause::Fault(kind)
}

/// When each phase is first reached in the first turn, from 100 ms on.
fn begins(phase: Phase) -> Micros {
    match phase {
        Phase::Handshake => Micros::NEVER,
        Phase::Idle => ms(100),
        Phase::Speaking => ms(500),
        Phase::Waiting => ms(1_450),
        // The first audio: 300 ms after the server has heard the end, and two ways of 5 ms.
        Phase::Listening => ms(1_810),
    }
}

#[test]
fn every_kind_strikes_in_every_phase() {
    for kind in FaultKind::ALL {
        for phase in Phase::ALL.into_iter().filter(|p| *p != Phase::Handshake) {
            // Short enough to be lived through.
            let short = matches!(kind, FaultKind::Roam | FaultKind::StalledWriter);
            let length = if short { " length=300ms" } else { "" };
            let spec = format!("{} at=100ms phase={}{length}", kind.name(), phase.name());
            let mut s = sim(&[&spec], |p| p.turn.count = Some(3));
            s.until(60_000);
            s.accounts();
            let struck: Vec<_> = s
                .events
                .iter()
                .filter_map(|(at, e)| match e {
                    Event::FaultBegan { fault, phase } => Some((*at, *fault, *phase)),
                    _ => None,
                })
                .collect();
            assert_eq!(struck, [(begins(phase), kind, phase)], "{spec}");
            let cut = |e: &&(Micros, Event)| matches!(e.1, Event::FaultBegan { .. });
            let at = s.events.iter().find(cut).map(|e| e.0).unwrap();
            match kind {
                FaultKind::Vanish => {
                    assert!(s.abandoned && s.recoveries().is_empty(), "{spec}");
                    let under_way = usize::from(phase != Phase::Idle);
                    assert_eq!(s.turns().len(), under_way, "{spec}");
                    assert!(s.turns().iter().all(|t| t.outcome == Outcome::Cancelled), "{spec}");
                    continue;
                }
                FaultKind::Reset | FaultKind::Close => {
                    assert_eq!(s.noticed(), [(fault(kind), phase, Micros::ZERO)], "{spec}");
                }
                FaultKind::AddressChange => {
                    // By the new address after 2 s, or by a heartbeat before that.
                    let (_, _, after) = s.noticed()[0];
                    assert!(after <= ms(2_000) && after > ms(500), "{spec}: {after}");
                }
                FaultKind::BlackHole => {
                    let (_, _, after) = s.noticed()[0];
                    assert!(
                        after <= ms(1_000) && after > ms(500),
                        "{spec}: a heartbeat each 400 ms tells: {after}"
                    );
                }
                FaultKind::Roam | FaultKind::StalledWriter | FaultKind::SlowReader => {}
            }
            let r = s.recoveries();
            // The server has said the rest of its reply into the hole, and will not say it again.
            if phase == Phase::Listening && matches!(kind, FaultKind::BlackHole | FaultKind::AddressChange) {
                assert_eq!((s.class(0).as_str(), s.turns()[0].cut_short), ("reply_stalled", true), "{spec}");
                assert_eq!((r[0].audio, r[0].resumed, r.len()), (None, true, 2), "{spec}");
                assert_eq!(r[1].cause.to_string(), "reply_stalled", "{spec}");
                continue;
            }
            assert_eq!(r.len(), 1, "{spec}: {r:?}");
            assert_eq!((&r[0].cause, r[0].phase, r[0].cut), (&fault(kind), phase, at), "{spec}");
            let audio = r[0].audio.unwrap_or_else(|| panic!("{spec}: {r:?}"));
            assert!(audio > at && audio >= r[0].connected, "{spec}");
            if let Some(noticed) = r[0].noticed {
                assert_eq!(
                    r[0].connected,
                    noticed + r[0].back_off + DOOR,
                    "{spec}: one attempt, and its time"
                );
                assert_eq!((r[0].attempts, r[0].tcp), (1, DOOR), "{spec}");
                assert_eq!(r[0].session, Some(WAY * 2), "{spec}");
                assert!(r[0].resumed, "{spec}");
            } else {
                assert_eq!(r[0].connected, r[0].cut, "{spec}");
            }
            let failed = s.turns().iter().filter(|t| t.outcome != Outcome::Succeeded).count();
            assert!(s.turns().len() == 3 && failed <= 1, "{spec}: {:?}", s.turns());
        }
    }
}

#[test]
fn handshakes_are_struck_too() {
    for kind in FaultKind::ALL {
        let mut s = sim(&[&format!("{} at=0s phase=handshake", kind.name())], |p| p.turn.count = Some(1));
        s.until(60_000);
        s.accounts();
        let began = s.count(|e| *e == Event::FaultBegan { fault: kind, phase: Phase::Handshake });
        assert_eq!(began, 1, "{kind:?}");
        let refused = s.count(|e| matches!(e, Event::ConnectionLost { established: false, .. }));
        match kind {
            FaultKind::Vanish => assert!(s.abandoned && s.turns().is_empty()),
            FaultKind::Reset | FaultKind::Close | FaultKind::BlackHole | FaultKind::AddressChange => {
                assert_eq!(refused, 1, "{kind:?}");
                let after = if matches!(kind, FaultKind::Reset | FaultKind::Close) { 0 } else { 1_000 };
                assert_eq!(s.noticed(), [(fault(kind), Phase::Handshake, ms(after))]);
                assert!(s.recoveries()[0].audio.is_some() || s.class(0) != "Succeeded", "{kind:?}");
            }
            _ => assert_eq!(s.recoveries().len(), 1, "{kind:?}"),
        }
    }
}

#[test]
fn a_turn_goes_on_in_a_session_that_is_resumed() {
    // While the user speaks: 500 ms of speech before the cut, the rest after.
    let mut s = sim(&["reset at=1050ms"], |p| p.turn.count = Some(2));
    s.until(60_000);
    s.accounts();
    let t = s.turns()[0];
    assert_eq!(
        (&t.outcome, t.reconnects, t.answered_twice, t.cut_short),
        (&Outcome::Succeeded, 1, false, false)
    );
    assert_eq!(t.speech_lost, Micros::ZERO);
    assert_eq!(s.server.parked["s1"].heard, [(0, 10), (1, 10)], "all of it, and turns count on");
    assert_eq!(s.turns()[1].session_turn, 1);
    let resumed =
        s.sent.iter().filter(|(_, o)| matches!(&o.frame, Frame::Text(t) if t.contains("\"resume\":\"s1\"")));
    assert_eq!(resumed.count(), 1);
    // What was due meanwhile was late through no fault of the harness.
    let late: Vec<_> = s.sent.iter().filter(|(at, o)| *at > o.planned && o.piece.is_some()).collect();
    assert!(!late.is_empty() && late.iter().all(|(_, o)| o.waited));
    assert_eq!(t.speech_late, ms(100) * late.len() as i64);

    // While it listens: the rest of the reply comes, and the loss is heard as a stall.
    let mut s = sim(&["close at=1900ms"], |p| {
        p.turn.count = Some(1);
        p.playback.max_stall_ratio = 1.0;
    });
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((&t.outcome, t.reconnects, t.answered_twice), (&Outcome::Succeeded, 1, false));
    assert!(t.judged.stalls >= 1 && t.audio_messages >= 6, "{t:?}");
}

#[test]
fn a_reply_that_begins_again_is_recognised() {
    let mut s = sim(&["close at=1900ms"], |p| {
        p.turn.count = Some(1);
        p.playback.max_stall_ratio = 1.0;
    });
    s.server.memory = Memory::Repeats;
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((&t.outcome, t.reconnects, t.answered_twice), (&Outcome::Succeeded, 1, true));

    // A reply that was complete: the server says so a second time.
    let mut s = sim(&[], |p| p.turn.think = Dist::Constant(ms(4_000)));
    s.until(7_000);
    assert_eq!(s.turns().len(), 1);
    s.say(vec![text(r#"{"type":"turn_end","turn":0}"#), text(r#"{"type":"turn_end","turn":0}"#)]);
    s.until(7_100);
    assert_eq!(s.count(|e| *e == Event::AnsweredTwice { turn: 0 }), 0, "without a loss it is only stale");
    // Cut while the user is silent; the old reply comes again while the user already says the next thing.
    let mut s = sim(&["close at=2500ms"], |p| p.turn.count = Some(2));
    s.server.memory = Memory::Repeats;
    s.until(60_000);
    s.accounts();
    assert_eq!(s.count(|e| *e == Event::AnsweredTwice { turn: 0 }), 1);
    assert!(
        s.turns().iter().all(|t| t.outcome == Outcome::Succeeded && !t.answered_twice),
        "{:?}",
        s.turns()
    );
    assert!(s.turns()[1].planned_start < ms(3_000), "{:?}", s.turns()[1]);
}

#[test]
fn a_reply_that_the_server_drops_is_lost_with_the_connection() {
    for (at, begun) in [(1_700, false), (1_900, true)] {
        let mut s = sim(&[&format!("reset at={at}ms")], |p| p.turn.count = Some(2));
        s.server.memory = Memory::Drops;
        s.until(60_000);
        s.accounts();
        assert_eq!(
            (s.class(0).as_str(), s.turns()[0].cut_short, s.turns()[0].reconnects),
            ("cut_reset", begun, 1)
        );
        assert_eq!((s.class(1).as_str(), s.turns()[1].session_turn), ("Succeeded", 1), "the session goes on");
    }
}

#[test]
fn a_turn_is_lost_with_a_session_that_is_not_resumed() {
    for memory in [Memory::None, Memory::Silent] {
        for (at, begun) in [("1050ms", false), ("1900ms", true)] {
            let mut s = sim(&[&format!("reset at={at}")], |p| p.turn.count = Some(2));
            s.server.memory = memory;
            s.until(60_000);
            s.accounts();
            assert_eq!(s.class(0), "cut_reset");
            assert_eq!((s.turns()[0].cut_short, s.turns()[0].reconnects), (begun, 0));
            assert_eq!(
                (s.class(1).as_str(), s.turns()[1].session_turn),
                ("Succeeded", 0),
                "a new session counts from 0"
            );
            assert!(!s.recoveries()[0].resumed);
        }
    }
    // Nobody asks.
    let mut s = sim(&["reset at=1900ms"], |p| {
        p.turn.count = Some(2);
        p.session.resume = false;
    });
    s.until(60_000);
    assert_eq!(
        (s.class(0).as_str(), s.turns()[0].ended, s.turns()[0].cut_short),
        ("cut_reset", ms(1_900), true)
    );
    assert!(s.sent.iter().all(|(_, o)| !matches!(&o.frame, Frame::Text(t) if t.contains("resume"))));
    assert_eq!((s.class(1).as_str(), s.turns()[1].session_turn), ("Succeeded", 0));
}

#[test]
fn limits_go_on_counting_while_a_turn_waits() {
    // The server is away for good: the turn has until 3 s after the end of speech.
    let mut s = sim(&["reset at=1050ms"], |p| p.turn.count = Some(1));
    s.until(1_000);
    s.closed.1 = Micros::from_secs(100);
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.ended, t.speech_lost), ("timeout", ms(4_450), ms(500)));
    // A reply that had begun: 2 s after what there was had been played.
    let mut s = sim(&["reset at=1900ms"], |p| p.turn.count = Some(1));
    s.until(1_800);
    s.closed.1 = Micros::from_secs(100);
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.cut_short), ("reply_stalled", true));
    assert_eq!(t.ended, ms(1_810 + 120 + 2_000));
}

#[test]
fn speech_while_disconnected_is_kept_up_to_a_limit_or_dropped() {
    let run = |limit: i64, back: i64| {
        let mut s = sim(&["reset at=1050ms"], |p| {
            p.turn.count = Some(1);
            p.session.offline_limit = ms(limit);
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Fixed, ms(back));
        });
        s.until(60_000);
        s.accounts();
        let t = s.turns()[0].clone();
        let heard = s.server.parked.get("s1").map(|p| p.heard.clone()).unwrap_or_default();
        (t.speech_lost, t.speech_late, heard, s.class(0))
    };
    // Back at 1,050 + 320 + 20, and confirmed two ways later: what was due at 1,100 … 1,400 is late.
    let ok = "Succeeded".to_owned();
    assert_eq!(run(5_000, 320), (ms(0), ms(400), vec![(0, 10)], ok.clone()));
    assert_eq!(run(250, 320), (ms(200), ms(200), vec![(0, 8)], ok.clone()), "the oldest is lost");
    assert_eq!(run(0, 320), (ms(400), ms(0), vec![(0, 6)], ok.clone()));
    // All that was left to say: the server still hears that it was the end.
    assert_eq!(run(0, 900), (ms(500), ms(0), vec![(0, 5)], ok));
}

#[test]
fn a_turn_of_which_nothing_was_heard_was_not_connected() {
    // The turn begins in the back-off after a loss, and nothing is kept.
    let away = |limit: i64, back: i64| {
        let mut s = sim(&["reset at=400ms"], |p| {
            p.turn.count = Some(1);
            p.session.offline_limit = ms(limit);
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Fixed, ms(back));
        });
        s.until(60_000);
        s.accounts();
        let t = s.turns()[0].clone();
        (s.class(0), t.ended, t.speech_lost, t.speech_late, t.local_port)
    };
    assert_eq!(
        away(0, 5_000),
        ("not_connected".into(), ms(1_500), ms(1_000), ms(0), 0),
        "known when it is all said"
    );
    assert_eq!(away(5_000, 20_000).0, "not_connected", "kept, and never sent");
    assert_eq!(away(5_000, 20_000).1, ms(4_450), "as long as any turn is waited for");
    let (class, _, lost, late, _) = away(5_000, 700);
    assert_eq!((class.as_str(), lost, late), ("Succeeded", ms(0), ms(600)), "said late, and answered");
    let (class, _, lost, late, _) = away(0, 700);
    assert_eq!((class.as_str(), lost, late), ("Succeeded", ms(600), ms(0)), "the rest of it was enough");
}

#[test]
fn what_was_said_into_a_hole_is_lost() {
    // The address changes while the user speaks, and is known 300 ms later: three chunks have gone nowhere.
    let mut s = sim(&["address_change at=1050ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.speech_lost), ("Succeeded", ms(300)));
    assert_eq!(s.server.parked["s1"].heard, [(0, 7)]);
    // The end of the turn goes the same way, and is said again.
    let mut s = sim(&["address_change at=1350ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    assert_eq!((s.class(0).as_str(), s.turns()[0].speech_lost), ("Succeeded", ms(200)));
    // A roam that the connection lives through loses nothing.
    let mut s = sim(&["roam at=1050ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    assert_eq!((s.class(0).as_str(), s.turns()[0].speech_lost), ("Succeeded", ms(0)));
    assert_eq!(s.server.parked["s1"].heard, [(0, 10)]);
    assert_eq!(s.recoveries()[0].noticed, None);
}

#[test]
fn what_holds_for_a_while_holds_for_the_next_connection() {
    let faults = ["roam at=1000ms length=3s", "slow_reader at=1000ms length=9s rate=1KiB", "reset at=1100ms"];
    let mut s = sim(&faults, |p| p.turn.count = Some(1));
    s.until(60_000);
    let lose = Impairment::Lose(ms(4_000));
    let slow = Impairment::SlowRead(1_024, ms(10_000));
    let before: Vec<_> = s.impaired.iter().filter(|(at, _)| *at <= ms(1_100)).map(|i| i.1).collect();
    assert_eq!(before, [lose, slow, Impairment::Reset]);
    let attempts = s.count(|e| matches!(e, Event::Connecting));
    assert_eq!(s.impaired.iter().filter(|(at, i)| *at > ms(1_100) && *i == slow).count(), attempts - 1);
    assert!(s.impaired.iter().filter(|(at, i)| *at > ms(1_100) && *i == lose).all(|(at, _)| *at < ms(4_000)));
    let first =
        s.events.iter().skip(1).find(|(at, e)| *at > ms(1_100) && matches!(e, Event::Connected { .. }));
    assert!(first.is_none_or(|(at, _)| *at >= ms(4_000)), "nothing gets through before that");
}

#[test]
fn a_fault_that_outlives_connections_is_one_trouble() {
    for kind in ["roam", "stalled_writer"] {
        let mut s = sim(&[&format!("{kind} at=100ms length=3s")], |p| {
            p.turn.think = Dist::Constant(ms(5_000));
            p.turn.count = Some(1);
        });
        s.until(60_000);
        s.accounts();
        let r = s.recoveries();
        assert_eq!((s.noticed().len(), r.len(), r[0].cause.to_string().as_str()), (1, 1, kind), "{r:?}");
        assert!(r[0].attempts >= 2 && r[0].connected <= ms(5_000) && r[0].audio.is_some(), "{r:?}");
    }
}

#[test]
fn losses_that_nobody_planned_have_a_cause_too() {
    for (class, key) in [(FailureClass::Reset, "reset"), (FailureClass::Closed(1001), "closed_1001")] {
        let mut s = sim(&[], |p| p.turn.count = Some(1));
        s.until(1_900);
        s.server_closes(class);
        s.until(60_000);
        s.accounts();
        let r = s.recoveries();
        assert_eq!(r.len(), 1);
        assert_eq!(
            (r[0].cause.to_string().as_str(), r[0].phase, r[0].cut),
            (key, Phase::Listening, ms(1_900))
        );
        assert!(r[0].resumed && r[0].audio.is_some() && s.turns()[0].reconnects == 1);
    }
    // A drain: back after 5 to 30 s, whatever the policy says.
    for code in [1012, 1013] {
        let mut s =
            sim(&[], |p| (p.turn.think, p.turn.count) = (Dist::Constant(Micros::from_secs(40)), Some(1)));
        s.until(1_000);
        s.server_closes(FailureClass::Closed(code));
        s.until(59_000);
        let back = s.recoveries()[0].back_off;
        assert!((5..30).contains(&(back.0 / 1_000_000)), "{back}");
    }
    // What a server says after a fault is over is its own doing; what it says during it is not.
    for (at, key) in [(1_200, "roam"), (1_900, "closed_1008")] {
        let mut s = sim(&["roam at=1100ms length=200ms"], |p| p.turn.count = Some(1));
        s.until(at);
        if at == 1_900 {
            assert!(s.recoveries().iter().any(|r| r.audio.is_some()), "heard again at 1,810");
        }
        s.server_closes(FailureClass::Closed(1008));
        s.until(60_000);
        assert_eq!(s.noticed()[0].0.to_string(), key);
    }
}

#[test]
fn a_device_that_may_not_come_back_stays_away() {
    let mut s = sim(&["reset at=1050ms"], |p| {
        (p.session.reconnect, p.session.resume) = (Reconnect::None, false);
        p.turn.count = Some(3);
    });
    s.until(60_000);
    s.accounts();
    assert_eq!(
        (0..3).map(|t| s.class(t)).collect::<Vec<_>>(),
        ["cut_reset", "not_connected", "not_connected"]
    );
    assert_eq!(s.count(|e| matches!(e, Event::Connecting)), 1);
    assert_eq!(s.recoveries()[0].attempts, 0);
}

#[test]
fn attempts_count_on_unless_the_connection_lasted() {
    let delays = |reset: i64| {
        let faults = ["reset at=1s", "reset at=3s", "reset at=5s", "reset at=7s"];
        let mut s = sim(&faults, |p| {
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Grpc, ms(100));
            p.session.reconnect_cap = Micros::from_secs(10);
            p.session.reconnect_reset = ms(reset);
            p.turn.think = Dist::Constant(Micros::from_secs(50));
        });
        s.until(20_000);
        let lost: Vec<_> =
            s.events.iter().filter(|(_, e)| matches!(e, Event::ConnectionLost { .. })).map(|e| e.0).collect();
        let tried: Vec<_> =
            s.events.iter().filter(|(_, e)| matches!(e, Event::Connecting)).skip(1).map(|e| e.0).collect();
        lost.iter().zip(tried).map(|(l, t)| (t - *l).as_millis_f64() / 100.0).collect::<Vec<_>>()
    };
    for (i, d) in delays(10_000).iter().enumerate() {
        let middle = 1.6_f64.powi(i as i32);
        assert!((0.8 * middle..1.2 * middle).contains(d), "{i}: {d}");
    }
    assert!(delays(500).iter().all(|d| (0.8..1.2).contains(d)), "each connection lasted");
}

#[test]
fn waits_are_distributed_as_the_policies_say() {
    let delays = |policy, attempt: u32, base: i64, cap: i64| {
        let p = plan(EndOfTurn::Signal, |p| {
            p.session.reconnect = policy;
            (p.session.reconnect_base, p.session.reconnect_cap) = (ms(base), ms(cap));
        });
        (0..4_000).map(|d| p.reconnect_delay(d, attempt, attempt, None).as_millis_f64()).collect::<Vec<_>>()
    };
    for attempt in 0..12 {
        // Full jitter: each tenth below the limit has about a tenth of them (standard deviation 19).
        let limit = (500.0 * 2_f64.powi(attempt as i32)).min(10_000.0);
        let mut tenths = [0_i32; 10];
        for d in delays(Reconnect::FullJitter, attempt, 500, 10_000) {
            assert!((0.0..limit).contains(&d), "{attempt}: {d}");
            tenths[((d / limit * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (n - 400).abs() < 114), "{attempt}: {tenths:?}");
        let middle = (1_000.0 * 1.6_f64.powi(attempt as i32)).min(120_000.0);
        let grpc = delays(Reconnect::Grpc, attempt, 1_000, 120_000);
        assert!(grpc.iter().all(|d| (0.8 * middle - 0.001..1.2 * middle).contains(d)), "{attempt}");
        let mean = grpc.iter().sum::<f64>() / grpc.len() as f64;
        assert!((mean / middle - 1.0).abs() < 0.01, "{attempt}: {mean}");
        assert!(delays(Reconnect::Fixed, attempt, 500, 10_000).iter().all(|d| (*d - 500.0).abs() < 1e-9));
    }
    // They follow from the seed, the device and the number of the attempt.
    let p = plan(EndOfTurn::Signal, |_| {});
    let of = |device, nth| p.reconnect_delay(device, nth, 3, None);
    assert_eq!(of(1, 2), of(1, 2));
    assert!(of(1, 2) != of(1, 3) && of(1, 2) != of(2, 2));
}

#[test]
fn the_network_part_of_a_turn_is_recorded() {
    let mut s = sim(&[], |p| p.turn.count = Some(1));
    s.device.set_group(3);
    s.until(1_600);
    s.input(Input::Delivered { turn: 0, after: ms(42) });
    s.input(Input::Delivered { turn: 1, after: ms(99) });
    s.link_delay = Some(ms(17));
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((t.group, t.network_up, t.network_down), (3, Some(ms(42)), Some(ms(17))));
}

#[test]
fn a_spared_device_is_not_struck() {
    let mut s = sim(&["reset at=1s", "roam every=500ms"], |p| p.turn.count = Some(2));
    s.device.spare();
    s.until(60_000);
    assert_eq!(s.count(|e| matches!(e, Event::FaultBegan { .. })), 0);
    assert_eq!(s.turns().len(), 2);
}

/// An hour of faults, one a second: nothing is left over.
#[test]
fn nothing_leaks() {
    let kinds = ["reset", "close", "black_hole", "roam", "address_change", "slow_reader", "stalled_writer"];
    let faults: Vec<_> = kinds.iter().map(|k| format!("{k} every=exponential(7s)")).collect();
    let faults: Vec<_> = faults.iter().map(String::as_str).collect();
    let mut s = sim(&faults, |p| p.turn.timeout = ms(5_000));
    s.device.leave_at = Micros::from_secs(3_600);
    let mut largest = 0;
    for minute in 1..=61 {
        s.until(minute * 60_000);
        largest =
            largest.max(s.device.out.capacity() + s.device.frames.capacity() + s.device.meanings.capacity());
        s.server.parked.clear();
    }
    s.accounts();
    assert!(largest < 256, "{largest}: its queues do not grow");
    let struck = s.count(|e| matches!(e, Event::FaultBegan { .. }));
    assert!((3_000..4_200).contains(&struck), "{struck}");
    assert!(s.turns().len() > 300, "{} turns", s.turns().len());
    assert!(s.ticks < 2_000_000, "{} inputs in an hour", s.ticks);
}

fn any_fault() -> impl Strategy<Value = String> {
    let phases = ["any", "handshake", "idle", "speaking", "waiting", "listening"];
    (0..8_usize, 0..10_000_i64, any::<bool>(), 0..6_usize, 1..3_000_i64).prop_map(
        move |(kind, at, again, phase, length)| {
            let kind = FaultKind::ALL[kind];
            let when =
                if again { format!("every=exponential({}ms)", 200 + at / 4) } else { format!("at={at}ms") };
            let length =
                if FaultSpec::has_length(kind) { format!(" length={length}ms") } else { String::new() };
            format!("{} {when} phase={}{length}", kind.name(), phases[phase])
        },
    )
}

proptest! {
    /// Whatever strikes whenever: every turn ends once, time goes on, and the device ends.
    #[test]
    fn any_faults_are_survived(
        seed: u64,
        faults in prop::collection::vec(any_fault(), 0..6),
        (resume, vad, memory, policy) in (any::<bool>(), any::<bool>(), 0..5_usize, 0..4_usize),
        refused in 0..4_000_i64,
        limit in 0..2_000_i64,
        closes in prop::collection::vec(0..11_000_i64, 0..3),
        late in 0_i64..30,
    ) {
        let policy = [Reconnect::FullJitter, Reconnect::Grpc, Reconnect::Fixed, Reconnect::None][policy];
        let faults: Vec<_> = faults.iter().map(String::as_str).collect();
        let mut s = sim(&faults, |p| {
            p.seed = crate::seed::Seed(seed);
            if vad {
                let other = plan(EndOfTurn::Vad, |_| {});
                (p.turn.end, p.utterances, p.setup) = (EndOfTurn::Vad, other.utterances.clone(), Arc::clone(&other.setup));
            }
            p.turn.barge_in = Some(crate::scenario::BargeInPlan { share: 0.4, after: Dist::Constant(ms(100)) });
            (p.turn.timeout, p.turn.gap_timeout) = (ms(1_500), ms(700));
            (p.session.resume, p.session.reconnect) = (resume, policy);
            p.session.offline_limit = ms(limit);
        });
        s.server.memory = [Memory::Exact, Memory::Repeats, Memory::Drops, Memory::None, Memory::Silent][memory];
        s.closed.1 = ms(refused);
        let late = Micros(late * 1_000);
        for at in closes {
            s.until_late(at.max(s.now.0 / 1_000), late);
            if s.online {
                s.server_closes(FailureClass::Closed(1011));
            }
        }
        s.until_late(11_000.max(s.now.0 / 1_000), late);
        s.input_if_here(Input::LeaveAt(s.now));
        s.until_late(14_000, late);
        s.input_if_here(Input::Abort { owed: true });
        s.accounts();
    }
}

impl Sim {
    fn input_if_here(&mut self, input: Input) {
        if !self.done {
            self.input(input);
        }
    }
}
