//! One connection, as a state machine without sockets and clocks.
//!
//! ```text
//!            frames in                                   frames out, marked
//! on_frame ──dialect──▶ listen (ear, vad) ──end of turn──▶ reply (pipeline) ──dialect──▶ next_out ─▶ written
//!               │           ▲                                  │   ▲
//!               └─▶ open    └────────── done, cut ◀────────────┘   on_time(now), at deadline()
//! ```
//!
//! The caller hands in frames and time, takes [`Out`]s and says when each was written: that instant goes into the
//! truth log. The session never holds more than `max_backlog` bytes of reply for a slow device; the pipeline simply
//! is not asked for more until the socket has taken some.
//!
//! What makes up the session itself ([`Talk`]) outlives the connection, when that is lost: see [`open`] and
//! [`super::sessions`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;

use super::sessions::{Line, Order};
use super::truth::Row;
use super::vad::Vad;
use super::world::World;
use crate::dialect::{Answer, Handshake, OpenRequest, Request, ServerDialect};
use crate::scenario::Fault;
use crate::time::Micros;
use crate::transport::Frame;

mod listen;
mod open;
mod reply;
mod talk;

pub(super) use open::Agreed;
pub use open::DEFAULT_DOWN;
pub(super) use talk::{Replying, Talk, note_waits};

/// What the fault `wrong_turn` adds to turn ids.
const WRONG_TURN: u32 = 1_000;
/// How long a socket may take to write what comes before the goodbye.
const LAST_WORDS: Micros = Micros::from_secs(1);

/// Something for the socket, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// A message; say [`Session::written`] with its mark when it has been written.
    Frame(Frame, Mark),
    /// Bytes below the WebSocket, written as they are.
    Raw(Bytes),
    /// Say goodbye with this code and reason.
    Close(u16, String),
    /// Reset the connection.
    Reset,
    /// Drop the connection without a goodbye.
    Vanish,
}

/// What a frame means for the truth log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    turn: u32,
    what: u8,
}

const STOPPED: u8 = 1;
const FINAL: u8 = 2;
const TOKEN: u8 = 4;
const AUDIO: u8 = 8;
const DONE: u8 = 16;

/// A session.
pub(super) struct Session {
    world: Rc<World>,
    waker: Waker,
    peer: SocketAddr,
    number: u64,
    /// How others reach this connection.
    line: Arc<Line>,
    authorised: bool,
    dialect: Box<dyn ServerDialect>,
    /// Set once the session is open.
    talk: Option<Box<Talk>>,
    /// A session that another connection is to let go of, and until when that is waited for.
    awaited: Option<(Box<OpenRequest>, Micros)>,
    complained: bool,
    out: VecDeque<Out>,
    /// Bytes in `out`.
    queued: usize,
    rows: VecDeque<Box<Row>>,
    last_activity: Micros,
    idle_check: Micros,
    /// While something waits for the socket: since when the device has taken nothing, and how much it had by then.
    stuck: Option<(Micros, u64)>,
    /// When a connection that says nothing any more is dropped.
    vanish_at: Micros,
    /// True after the last [`Out`]: everything is ignored.
    ended: bool,
    /// The last [`Out`] does not wait for what comes before it.
    at_once: bool,
    /// The session ends with its connection.
    over: bool,
    requests: Vec<Request>,
    frames: Vec<Frame>,
    /// A dialect that collects the reply owes the audio it was given.
    audio_owed: bool,
    /// What a dialect says too late: when, once that is known; after which time.
    late: Vec<(Option<Micros>, (Micros, Frame))>,
}

impl Session {
    /// A connection was upgraded. `authorised`: the token in its header was right, or none is needed.
    pub(super) fn new(
        world: Rc<World>,
        peer: SocketAddr,
        authorised: bool,
        handshake: &Handshake,
        now: Micros,
        waker: Waker,
    ) -> Self {
        let number = world.stats.sessions.fetch_add(1, Ordering::Relaxed);
        let mut session = Self {
            dialect: world.plan.dialect.server(),
            line: world.sessions.join(number, waker.clone()),
            world,
            waker,
            peer,
            number,
            authorised,
            talk: None,
            awaited: None,
            complained: false,
            out: VecDeque::new(),
            queued: 0,
            rows: VecDeque::new(),
            last_activity: now,
            idle_check: now,
            stuck: None,
            vanish_at: Micros::NEVER,
            ended: false,
            at_once: false,
            over: false,
            requests: Vec::new(),
            frames: Vec::new(),
            audio_owed: false,
            late: Vec::new(),
        };
        session.check_idle(now);
        session.greet(now, handshake);
        session
    }

    /// What a dialect does before a device has said anything.
    fn greet(&mut self, now: Micros, handshake: &Handshake) {
        let name = self.world.sessions.name(self.number);
        let mut requests = std::mem::take(&mut self.requests);
        let mut frames = std::mem::take(&mut self.frames);
        self.dialect.connected(&name, handshake, &mut requests, &mut frames);
        for frame in frames.drain(..) {
            self.push(frame, Mark::default());
        }
        for request in requests.drain(..) {
            self.on_request(now, request);
        }
        (self.requests, self.frames) = (requests, frames);
    }

    /// A frame arrived.
    pub(super) fn on_frame(&mut self, now: Micros, frame: &Frame) {
        if self.ended {
            return;
        }
        self.last_activity = now;
        let mut requests = std::mem::take(&mut self.requests);
        self.dialect.read(frame, &mut requests);
        for request in requests.drain(..) {
            self.on_request(now, request);
        }
        self.requests = requests;
        self.collect_late();
    }

    /// The device said goodbye, with this code.
    pub(super) fn on_goodbye(&mut self, code: Option<u16>) {
        self.over |= matches!(code, None | Some(1000 | 1001));
    }

    /// Time has come, or the waker was woken.
    pub(super) fn on_time(&mut self, now: Micros) {
        if self.vanish_at <= now {
            self.vanish_at = Micros::NEVER;
            return self.out.push_back(Out::Vanish);
        }
        if let Some(order) = self.line.order() {
            return self.obey(now, order);
        }
        if self.ended {
            return;
        }
        if self.idle_check <= now && self.check_idle(now) {
            return;
        }
        let patience = self.world.plan.write_timeout;
        if patience > Micros::ZERO && self.stuck.is_some_and(|(since, _)| now - since >= patience) {
            self.world.stats.stuck.fetch_add(1, Ordering::Relaxed);
            return self.end_at_once(now, Out::Reset);
        }
        if let Some((open, until)) = self.awaited.take() {
            self.ask_again(now, open, until);
        }
        self.say_late(now);
        self.speak(now);
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Micros {
        if self.ended {
            return self.vanish_at;
        }
        let mut at = self.idle_check;
        if let Some((since, _)) = self.stuck
            && self.world.plan.write_timeout > Micros::ZERO
        {
            at = at.min(since.saturating_add(self.world.plan.write_timeout));
        }
        if let Some((_, until)) = &self.awaited {
            at = at.min(*until);
        }
        for (due, _) in &self.late {
            at = at.min(due.unwrap_or(Micros::ZERO));
        }
        let pipeline = self.talk.as_ref().and_then(|t| t.reply.as_ref()?.pipeline.as_ref());
        match pipeline {
            // A device that is slow to read is waited for; `written` asks again. The end of a silence wakes everybody.
            Some(p) if !self.full() && !self.world.conditions.get().silent => at.min(p.next()),
            _ => at,
        }
    }

    /// What to do with the socket next.
    pub(super) fn next_out(&mut self) -> Option<Out> {
        let out = self.out.pop_front()?;
        match &out {
            Out::Frame(frame, _) => self.queued -= frame.len(),
            // From here on it is up to the socket.
            Out::Close(..) | Out::Reset => self.vanish_at = Micros::NEVER,
            Out::Raw(_) | Out::Vanish => {}
        }
        Some(out)
    }

    /// How the connection is to end at once, whatever is still on its way.
    pub(super) fn given_up(&self) -> Option<&Out> {
        self.out.back().filter(|out| **out == Out::Vanish || self.at_once)
    }

    /// True while nothing should be read: the device reads too slowly itself, or what it says next belongs to a session
    /// that is not here yet.
    pub(super) fn full(&self) -> bool {
        self.queued >= (self.world.plan.max_backlog as usize).max(1) || self.awaited.is_some()
    }

    /// Bytes that wait to be taken.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// True while something has been waiting for the socket.
    pub(super) fn waits_for_socket(&self) -> bool {
        self.stuck.is_some()
    }

    /// Whether something waits for the socket, and how much the device's end has taken so far.
    pub(super) fn on_socket(&mut self, now: Micros, waits: bool, taken: u64) {
        self.stuck = match self.stuck {
            Some((since, then)) if waits && then == taken => Some((since, then)),
            _ => waits.then_some((now, taken)),
        };
    }

    /// A frame was written to the socket.
    pub(super) fn written(&mut self, now: Micros, mark: Mark) {
        self.last_activity = now;
        if mark.what == 0 {
            return;
        }
        if let Some(talk) = &mut self.talk {
            talk.written(mark);
        }
        let Some(at) = self.rows.iter().rposition(|r| r.session_turn == mark.turn) else {
            return;
        };
        let row = &mut self.rows[at];
        for (bit, field) in [
            (STOPPED, &mut row.speech_stopped_out_us),
            (FINAL, &mut row.final_out_us),
            (TOKEN, &mut row.first_token_out_us),
            (AUDIO, &mut row.first_audio_out_us),
            (DONE, &mut row.done_out_us),
        ] {
            if mark.what & bit != 0 {
                field.get_or_insert(now);
            }
        }
        if mark.what & AUDIO != 0 {
            row.last_audio_out_us = Some(now);
        }
        if mark.what & DONE != 0 {
            for row in self.rows.drain(..=at) {
                self.world.truth.log(*row);
            }
        }
    }

    /// The connection is gone: the session is kept for its device, or frees what it holds.
    pub(super) fn gone(&mut self, now: Micros) {
        self.ended = true;
        let plan = &self.world.plan;
        let keeps = plan.resume > Micros::ZERO && plan.dialect.capabilities().resume && !self.over;
        match self.talk.take() {
            Some(talk) if keeps => self.park(now, talk),
            talk => {
                if let Some(reply) = talk.and_then(|t| t.reply) {
                    self.finish_pipeline(reply.turn, reply.pipeline, now);
                }
                self.world.sessions.leave(self.number, &self.line);
            }
        }
    }

    fn on_request(&mut self, now: Micros, request: Request) {
        if self.ended {
            return;
        }
        match request {
            Request::Open(_) if self.talk.is_some() => {
                self.complain("`session_start` came twice".to_owned());
            }
            Request::Open(open) => self.open(now, *open),
            Request::Ping if self.world.conditions.get().pongs => {
                self.answer(Answer::Pong, Mark::default());
            }
            Request::Ping | Request::Ignored => {}
            Request::Garbage(why) => self.complain(why),
            Request::Audio(_)
            | Request::TurnStart { .. }
            | Request::TurnEnd { .. }
            | Request::Interrupt { .. }
                if self.talk.is_none() =>
            {
                // Once: a device that starts too early sends many chunks.
                if !std::mem::replace(&mut self.complained, true) {
                    self.complain("speech before the session was opened (`envelope`: the first message must be `session_start`)".to_owned());
                }
            }
            Request::Audio(payload) => self.on_audio(now, &payload),
            Request::TurnStart { vad } => self.begin_turn(vad),
            Request::Goodbye => {
                self.answer(Answer::Goodbye, Mark::default());
                self.over = true;
                self.close(now, 1000, String::new());
            }
            Request::TurnEnd { turn } => {
                let detecting = self.talk.as_ref().and_then(|t| t.vad.as_ref());
                // Where the server detects the end itself, the signal can only come early.
                if detecting.is_none_or(Vad::speaking) {
                    self.end_turn(now, turn, false);
                }
            }
            Request::Interrupt { turn } => {
                let replying = self.talk.as_ref().and_then(|t| t.reply.as_ref());
                if replying.is_some_and(|r| turn.is_none_or(|t| t == r.turn)) {
                    self.cut(now);
                }
            }
        }
    }

    fn obey(&mut self, now: Micros, order: Order) {
        match order {
            // A session may also be wanted while its last words are on their way.
            Order::Close(_) | Order::Reset if self.ended => {}
            Order::Close(code) => self.close(now, code, "drained".to_owned()),
            Order::Reset => self.end_at_once(now, Out::Reset),
            Order::HandOver => self.end_at_once(now, Out::Vanish),
        }
    }

    /// Ends a connection on which nothing went for too long, and says so; else notes when to look again.
    fn check_idle(&mut self, now: Micros) -> bool {
        let (idle, cut) = (self.world.plan.idle_timeout, self.world.plan.idle_cut);
        let limit = if cut > Micros::ZERO { idle.min(cut) } else { idle };
        self.idle_check = self.last_activity.saturating_add(limit);
        if self.idle_check > now {
            return false;
        }
        if limit < idle {
            // A proxy in between: the session is none of its business.
            self.end_at_once(now, Out::Vanish);
        } else {
            self.over = true;
            self.close(now, 1001, format!("no message for {idle}"));
        }
        true
    }

    fn row(&mut self, turn: u32) -> Option<&mut Row> {
        self.rows.iter_mut().rev().find(|r| r.session_turn == turn).map(|r| &mut **r)
    }

    fn complain(&mut self, why: String) {
        self.error(None, "protocol", why);
    }

    fn error(&mut self, turn: Option<u32>, code: &'static str, message: String) {
        self.answer(Answer::Error { turn, code, message }, Mark::default());
    }

    /// An error that ends a turn.
    fn out_error(&mut self, turn: u32, code: &'static str, message: String) {
        let mark = Mark { turn, what: DONE };
        let turn = Some(turn);
        self.answer(Answer::Error { turn, code, message }, mark);
    }

    fn answer(&mut self, answer: Answer, mut mark: Mark) {
        let audio = matches!(answer, Answer::Audio { .. });
        let mut frames = std::mem::take(&mut self.frames);
        self.dialect.write(answer, &mut frames);
        if audio && frames.is_empty() {
            self.audio_owed = true;
        }
        for frame in frames.drain(..) {
            if matches!(frame, Frame::Binary(_)) && std::mem::take(&mut self.audio_owed) {
                mark.what |= AUDIO;
            }
            self.push(frame, mark);
        }
        self.frames = frames;
        self.collect_late();
    }

    /// Takes what the dialect says later.
    fn collect_late(&mut self) {
        let mut later = Vec::new();
        self.dialect.later(&mut later);
        // How late is counted from when somebody looks at the clock next: at once.
        self.late.extend(later.into_iter().map(|(after, frame)| (None, (after, frame))));
    }

    /// Says what a dialect says too late.
    fn say_late(&mut self, now: Micros) {
        for (due, (after, _)) in &mut self.late {
            due.get_or_insert(now + *after);
        }
        while let Some(n) = self.late.iter().position(|(due, _)| due.is_some_and(|d| d <= now)) {
            let (_, (_, frame)) = self.late.remove(n);
            self.push(frame, Mark::default());
        }
    }

    fn push(&mut self, frame: Frame, mark: Mark) {
        self.queued += frame.len();
        self.out.push_back(Out::Frame(frame, mark));
    }

    fn close(&mut self, now: Micros, code: u16, reason: String) {
        self.end(Out::Close(code, reason), now + LAST_WORDS);
    }

    /// Nothing comes after `last`, and nothing that waits before it is written.
    fn end_at_once(&mut self, now: Micros, last: Out) {
        // What is lost with the connection is found again, if the session is.
        self.gone(now);
        self.at_once = true;
        self.out.clear();
        self.queued = 0;
        self.out.push_back(last);
    }

    /// Nothing comes after `last`; a socket that does not even take that is given up at `vanish_at`.
    fn end(&mut self, last: Out, vanish_at: Micros) {
        self.ended = true;
        self.vanish_at = vanish_at;
        self.out.push_back(last);
    }
}

impl Drop for Session {
    /// Turns that were under way are logged as far as they came.
    fn drop(&mut self) {
        self.world.sessions.leave(self.number, &self.line);
        let reply = self.talk.take().and_then(|t| t.reply);
        if let Some(Replying { turn, pipeline: Some(p), .. }) = reply {
            note_waits(&mut self.rows, turn, p.waits());
        }
        for row in self.rows.drain(..) {
            self.world.truth.log(*row);
        }
    }
}

/// The fault `wrong_turn` shifts the ids that messages carry.
fn said_turn(turn: u32, fault: Option<Fault>) -> u32 {
    match fault {
        Some(Fault::WrongTurn) => turn.wrapping_add(WRONG_TURN),
        _ => turn,
    }
}

/// What the recogniser understood: it does not, and says so.
fn transcript(media: Micros) -> String {
    format!("{:.1} s of speech", media.as_secs_f64())
}

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;
