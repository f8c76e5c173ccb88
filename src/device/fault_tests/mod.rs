//! A device that is struck by faults, a network that does what the faults say, and a server that remembers sessions.

use std::collections::{HashMap, HashSet, VecDeque};

use super::tests::{FORMAT, ms, plan, text};
use super::*;
use crate::event::Outcome;
use crate::fault::{Cause, FaultKind, FaultSpec, Phase, Recovery};
use crate::scenario::EndOfTurn;

mod sessions;
mod strikes;

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

impl Sim {
    fn input_if_here(&mut self, input: Input) {
        if !self.done {
            self.input(input);
        }
    }
}
