//! One connection, as a state machine without sockets and clocks.
//!
//! ```text
//!            frames in                                   frames out, marked
//! on_frame ──dialect──▶ listen (ear, vad) ──end of turn──▶ reply (pipeline) ──dialect──▶ next_out ─▶ written
//!                           ▲                                  │   ▲
//!                           └────────── done, cut ◀────────────┘   on_time(now), at deadline()
//! ```
//!
//! The caller hands in frames and time, takes [`Out`]s and says when each was written: that instant goes into the
//! truth log. The session never holds more than `max_backlog` bytes of reply for a slow device; the pipeline simply
//! is not asked for more until the socket has taken some.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;

use super::ears::Ear;
use super::fault;
use super::pipeline::{Draws, Pipeline};
use super::replies::ReplySet;
use super::truth::{ChunkRow, Entry, Row};
use super::vad::Vad;
use super::world::World;
use crate::audio::{AudioFormat, Codec};
use crate::dialect::{Answer, Dialect, OpenRequest, Request, ServerDialect, plain};
use crate::scenario::Fault;
use crate::seed::{Seed, Stream};
use crate::time::Micros;
use crate::transport::Frame;

mod reply;

/// What the fault `wrong_turn` adds to turn ids.
const WRONG_TURN: u32 = 1_000;
/// Speech over a reply, followed by this much of nothing, was an aside and not the beginning of the next turn.
const ASIDE: Micros = Micros::from_millis(500);
/// How long a socket may take to write what comes before the goodbye.
const LAST_WORDS: Micros = Micros::from_secs(1);
/// Rows kept back while their last frames are on their way; more turns than that never overlap.
const OPEN_ROWS: usize = 4;

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
    authorised: bool,
    dialect: Box<dyn ServerDialect>,
    /// Set once the session is open.
    talk: Option<Box<Talk>>,
    complained: bool,
    out: VecDeque<Out>,
    /// Bytes in `out`.
    queued: usize,
    rows: VecDeque<Box<Row>>,
    last_activity: Micros,
    idle_check: Micros,
    /// When a connection that says nothing any more is dropped.
    vanish_at: Micros,
    /// True after the last [`Out`]: everything is ignored.
    ended: bool,
    requests: Vec<Request>,
    frames: Vec<Frame>,
    /// A dialect that collects the reply owes the audio it was given.
    audio_owed: bool,
}

/// An open session.
struct Talk {
    replies: Arc<ReplySet>,
    ear: Ear,
    vad: Option<Vad>,
    heard: Heard,
    reply: Option<Replying>,
    next_turn: u32,
}

/// What was heard of the turn so far.
#[derive(Default)]
struct Heard {
    media: Micros,
    first: Option<Micros>,
    last: Option<Micros>,
    next_partial: Micros,
    /// Messages of it.
    chunks: u32,
    /// Some of it came during a reply, without detection at the server: it may be a cough.
    over_reply: bool,
    /// Something that is not audio of the agreed format came: the device has been told.
    broken: bool,
}

/// A reply on its way.
struct Replying {
    turn: u32,
    fault: Option<Fault>,
    /// `None` when nothing more will be said.
    pipeline: Option<Pipeline>,
}

impl Session {
    /// A connection was upgraded. `authorised`: the token in its header was right, or none is needed.
    pub(super) fn new(
        world: Rc<World>,
        peer: SocketAddr,
        authorised: bool,
        now: Micros,
        waker: Waker,
    ) -> Self {
        let number = world.stats.sessions.fetch_add(1, Ordering::Relaxed);
        let idle = world.plan.idle_timeout;
        let mut session = Self {
            dialect: world.plan.dialect.server(),
            world,
            waker,
            peer,
            number,
            authorised,
            talk: None,
            complained: false,
            out: VecDeque::new(),
            queued: 0,
            rows: VecDeque::new(),
            last_activity: now,
            idle_check: now.saturating_add(idle),
            vanish_at: Micros::NEVER,
            ended: false,
            requests: Vec::new(),
            frames: Vec::new(),
            audio_owed: false,
        };
        if session.world.plan.dialect == Dialect::Plain {
            // There is no opening in this dialect: it has one format.
            session.open(
                now,
                OpenRequest { up: Some(plain::FORMAT), down: Some(plain::FORMAT), ..OpenRequest::default() },
            );
        }
        session
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
    }

    /// Time has come, or the waker was woken.
    pub(super) fn on_time(&mut self, now: Micros) {
        if self.vanish_at <= now {
            self.vanish_at = Micros::NEVER;
            return self.out.push_back(Out::Vanish);
        }
        if self.ended {
            return;
        }
        if self.idle_check <= now {
            let idle = self.world.plan.idle_timeout;
            self.idle_check = self.last_activity.saturating_add(idle);
            if self.idle_check <= now {
                return self.close(now, 1001, format!("no message for {idle}"));
            }
        }
        self.speak(now);
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Micros {
        if self.ended {
            return self.vanish_at;
        }
        let pipeline = self.talk.as_ref().and_then(|t| t.reply.as_ref()?.pipeline.as_ref());
        match pipeline {
            // A device that is slow to read is waited for; `written` asks again.
            Some(p) if !self.full() => self.idle_check.min(p.next()),
            _ => self.idle_check,
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

    /// True when the connection is to be dropped, whatever is still on its way.
    pub(super) fn given_up(&self) -> bool {
        matches!(self.out.back(), Some(Out::Vanish))
    }

    /// True while the device reads too slowly: reading from it should wait, too.
    pub(super) fn full(&self) -> bool {
        self.queued >= (self.world.plan.max_backlog as usize).max(1)
    }

    /// A frame was written to the socket.
    pub(super) fn written(&mut self, now: Micros, mark: Mark) {
        self.last_activity = now;
        if mark.what == 0 {
            return;
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

    /// The connection is gone: frees what the session holds.
    pub(super) fn gone(&mut self, now: Micros) {
        self.ended = true;
        let reply = self.talk.take().and_then(|t| t.reply);
        if let Some(reply) = reply {
            self.finish_pipeline(reply.turn, reply.pipeline, now);
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
            Request::Ping => self.answer(Answer::Pong, Mark::default()),
            Request::Ignored => {}
            Request::Garbage(why) => self.complain(why),
            Request::Audio(_) | Request::TurnEnd { .. } | Request::Interrupt { .. }
                if self.talk.is_none() =>
            {
                // Once: a device that starts too early sends many chunks.
                if !std::mem::replace(&mut self.complained, true) {
                    self.complain("the first message must be `session_start`".to_owned());
                }
            }
            Request::Audio(payload) => self.on_audio(now, &payload),
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

    fn open(&mut self, now: Micros, open: OpenRequest) {
        let plan = &self.world.plan;
        let wanted = plan.token.as_ref().map(|t| t.reveal());
        if !self.authorised && wanted.is_some() && open.token.as_deref() != wanted {
            self.error(None, "auth", "the bearer token is missing or wrong".to_owned());
            return self.close(now, 4401, "not authorised".to_owned());
        }
        let down = open.down.unwrap_or(DEFAULT_DOWN);
        let ear = Ear::new(open.up.unwrap_or(DEFAULT_UP));
        let (ear, replies) = match (ear, self.world.replies.get(down)) {
            (Ok(ear), Ok(replies)) => (ear, replies),
            (Err(why), _) | (_, Err(why)) => {
                self.error(None, "unsupported_format", why);
                return self.close(now, 1003, "unsupported audio format".to_owned());
            }
        };
        let vad = open.vad.then(|| Vad::new(plan.vad_silence));
        self.talk =
            Some(Box::new(Talk { replies, ear, vad, heard: Heard::default(), reply: None, next_turn: 0 }));
        let session = format!("s{}", self.number);
        self.answer(Answer::Ready { session, down, resumed: false }, Mark::default());
    }

    fn on_audio(&mut self, now: Micros, payload: &[u8]) {
        let Some(talk) = &mut self.talk else {
            return;
        };
        let last = talk.heard.last;
        if talk.heard.over_reply && talk.reply.is_none() && last.is_some_and(|l| now - l > ASIDE) {
            // A cough over a reply that has ended: this speech has nothing to do with it.
            talk.heard = Heard::default();
            talk.ear.reset();
        }
        let heard = talk.ear.hear(payload, &mut self.world.memory.borrow_mut());
        let heard = match heard {
            Ok(heard) => heard,
            Err(why) => {
                if !std::mem::replace(&mut talk.heard.broken, true) {
                    let turn = Some(talk.next_turn);
                    self.error(turn, "format_mismatch", format!("{} bytes are {why}", payload.len()));
                }
                return;
            }
        };
        if talk.vad.as_ref().is_some_and(|v| !v.speaking()) {
            // The turn begins with the payload in which speech is noticed.
            talk.heard = Heard::default();
        }
        talk.heard.first.get_or_insert(now);
        talk.heard.last = Some(now);
        if self.world.plan.log_chunks {
            let (peer_port, session) = (self.peer.port(), self.number);
            let (session_turn, chunk) = (talk.next_turn, talk.heard.chunks);
            let row = ChunkRow { peer_port, session, session_turn, chunk, in_us: now };
            self.world.truth.add(|| Entry::Chunk(row));
        }
        talk.heard.chunks += 1;
        talk.heard.media += heard.duration;
        let Some(vad) = &mut talk.vad else {
            talk.heard.over_reply |= talk.reply.is_some();
            return self.partial();
        };
        vad.hear(&heard.loud, heard.duration);
        if talk.reply.is_some() {
            let enough = self.world.plan.vad_barge_in;
            if enough > Micros::ZERO && vad.uninterrupted() >= enough {
                self.cut(now);
            } else if vad.ended() {
                vad.reset(); // a cough, and it is over
            }
        } else if vad.ended() {
            self.end_turn(now, None, true);
        } else if vad.speaking() {
            self.partial();
        }
    }

    /// A partial transcript, when it is time for one.
    fn partial(&mut self) {
        let every = self.world.plan.partials;
        let Some(talk) = &mut self.talk else {
            return;
        };
        if every <= Micros::ZERO || talk.reply.is_some() || talk.heard.media < talk.heard.next_partial + every
        {
            return;
        }
        talk.heard.next_partial = talk.heard.media;
        let (turn, text) = (talk.next_turn, transcript(talk.heard.media));
        self.answer(Answer::Partial { turn, text }, Mark::default());
    }

    /// The user stopped speaking: the pipeline begins.
    fn end_turn(&mut self, now: Micros, turn: Option<u32>, detected: bool) {
        self.cut(now);
        let world = Rc::clone(&self.world);
        let Some(talk) = &mut self.talk else {
            return;
        };
        let heard = std::mem::take(&mut talk.heard);
        let quiet = talk.vad.as_ref().map_or(Micros::ZERO, Vad::quiet);
        let turn = turn.unwrap_or(talk.next_turn);
        talk.next_turn = turn.wrapping_add(1);
        match &mut talk.vad {
            Some(vad) => vad.reset(),
            None => talk.ear.reset(),
        }
        if heard.broken {
            return; // the device has been told
        }
        if heard.first.is_none() {
            return self.error(Some(turn), "no_audio", "the turn ended without any audio".to_owned());
        }
        world.stats.turns.fetch_add(1, Ordering::Relaxed);
        let mut r = turn_stream(world.plan.seed, self.number, turn);
        let fault = fault::of_turn(&world.plan.faults, &mut r);
        let draws = Draws::new(&world.plan, &mut r);
        let which = r.below(talk.replies.replies.len() as u64) as usize;
        let replies = match fault {
            Some(Fault::SilentReply) => &talk.replies.silent,
            Some(Fault::WrongFormat) => &talk.replies.wrong,
            _ => &talk.replies.replies,
        };
        let reply = replies.get(which).map(Arc::clone);
        let silent = fault == Some(Fault::Silence);
        self.rows.push_back(Box::new(Row {
            peer_ip: Some(self.peer.ip().to_canonical()),
            peer_port: self.peer.port(),
            session: self.number,
            session_turn: turn,
            speech_us: heard.media - quiet,
            first_audio_in_us: heard.first,
            last_audio_in_us: heard.last,
            turn_end_in_us: now,
            first_audible_offset_us: reply.as_ref().filter(|_| !silent).and_then(|r| r.audible),
            stt_us: Some(draws.stt),
            llm_us: Some(draws.llm),
            tts_us: Some(draws.tts),
            fault: fault.map_or("", Fault::name).to_owned(),
            ..Row::default()
        }));
        if self.rows.len() > OPEN_ROWS
            && let Some(row) = self.rows.pop_front()
        {
            world.truth.log(*row);
        }
        if silent {
            return;
        }
        let pipeline =
            reply.map(|reply| Pipeline::start(now, &world.plan, &world.stages, draws, reply, &self.waker));
        talk.reply = Some(Replying { turn, fault, pipeline });
        if detected {
            let mark = Mark { turn, what: STOPPED };
            let turn = said_turn(turn, fault);
            self.answer(Answer::SpeechStopped { turn }, mark);
        }
        self.speak(now);
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
    }

    fn push(&mut self, frame: Frame, mark: Mark) {
        self.queued += frame.len();
        self.out.push_back(Out::Frame(frame, mark));
    }

    fn close(&mut self, now: Micros, code: u16, reason: String) {
        self.end(Out::Close(code, reason), now + LAST_WORDS);
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
        let reply = self.talk.take().and_then(|t| t.reply);
        if let Some(Replying { turn, pipeline: Some(p), .. }) = reply {
            let waits = p.waits();
            if let Some(row) = self.row(turn) {
                (row.stt_wait_us, row.llm_wait_us, row.tts_wait_us) = (waits.stt, waits.llm, waits.tts);
            }
        }
        for row in self.rows.drain(..) {
            self.world.truth.log(*row);
        }
    }
}

/// Audio of devices that do not say what they send.
const DEFAULT_UP: AudioFormat = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
/// Audio for devices that do not say what they want.
const DEFAULT_DOWN: AudioFormat = AudioFormat { codec: Codec::Opus, sample_rate: 24_000 };

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

/// The randomness of one turn.
fn turn_stream(seed: u64, session: u64, turn: u32) -> Stream {
    Seed(seed).stream("reference turn", session << 32 | u64::from(turn))
}

#[cfg(test)]
mod tests;
