//! Listening: what is heard of a turn, and when it ends.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Mark, Replying, STOPPED, Session, said_turn, transcript};
use crate::dialect::Answer;
use crate::reference::fault;
use crate::reference::pipeline::{Draws, Pipeline, Said};
use crate::reference::truth::{ChunkRow, Entry, Row};
use crate::reference::vad::Vad;
use crate::scenario::Fault;
use crate::seed::{Seed, Stream};
use crate::time::Micros;

/// Speech over a reply, followed by this much of nothing, was an aside and not the beginning of the next turn.
const ASIDE: Micros = Micros::from_millis(500);
/// Rows kept back while their last frames are on their way; more turns than that never overlap.
const OPEN_ROWS: usize = 4;

/// What was heard of the turn so far.
#[derive(Default)]
pub(in crate::reference) struct Heard {
    media: Micros,
    pub(super) first: Option<Micros>,
    last: Option<Micros>,
    next_partial: Micros,
    /// Messages of it.
    chunks: u32,
    /// Some of it came during a reply, without detection at the server: it may be a cough.
    over_reply: bool,
    /// The connection was lost meanwhile, and the session went on.
    pub(super) resumed: bool,
    /// Something that is not audio of the agreed format came: the device has been told.
    broken: bool,
}

impl Session {
    pub(super) fn on_audio(&mut self, now: Micros, payload: &[u8]) {
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
        if let Some(tape) = &mut talk.tape {
            tape.hear(payload);
        }
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
        let spoke = vad.speaking();
        vad.hear(&heard.loud, heard.duration);
        let (begins, next) = (!spoke && vad.speaking(), talk.next_turn);
        if talk.reply.is_some() {
            let enough = self.world.plan.vad_barge_in;
            if enough > Micros::ZERO && vad.uninterrupted() >= enough {
                self.answer(Answer::SpeechStarted { turn: next }, Mark::default());
                self.cut(now);
            } else if vad.ended() {
                vad.reset(); // a cough, and it is over
            }
        } else if vad.ended() {
            self.end_turn(now, None, true);
        } else if vad.speaking() {
            if begins {
                self.answer(Answer::SpeechStarted { turn: next }, Mark::default());
            }
            self.partial();
        }
    }

    /// The user begins to speak; `vad`: who is to find the end of that.
    pub(super) fn begin_turn(&mut self, vad: Option<bool>) {
        let silence = self.world.plan.vad_silence;
        let Some(talk) = &mut self.talk else {
            return;
        };
        match vad {
            Some(true) if talk.vad.is_none() => talk.vad = Some(Vad::new(silence)),
            Some(false) => talk.vad = None,
            _ => {}
        }
        let turn = talk.next_turn;
        self.answer(Answer::Listening { turn }, Mark::default());
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
    pub(super) fn end_turn(&mut self, now: Micros, turn: Option<u32>, detected: bool) {
        self.cut(now);
        let world = Rc::clone(&self.world);
        let Some(talk) = &mut self.talk else {
            return;
        };
        let heard = std::mem::take(&mut talk.heard);
        let quiet = talk.vad.as_ref().map_or(Micros::ZERO, Vad::quiet);
        let turn = turn.unwrap_or(talk.next_turn);
        talk.next_turn = turn.wrapping_add(1);
        if let Some(tape) = &mut talk.tape {
            tape.cut(self.number, turn);
        }
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
            resumed: heard.resumed,
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
        talk.reply = Some(Replying { turn, fault, pipeline, written: Said::default() });
        if detected {
            let mark = Mark { turn, what: STOPPED };
            let turn = said_turn(turn, fault);
            self.answer(Answer::SpeechStopped { turn }, mark);
        }
        self.speak(now);
    }
}

/// The randomness of one turn.
fn turn_stream(seed: u64, session: u64, turn: u32) -> Stream {
    Seed(seed).stream("reference turn", session << 32 | u64::from(turn))
}
