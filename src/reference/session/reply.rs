//! The reply of a turn: what the pipeline says becomes messages, and faults become trouble.

use std::sync::Arc;

use super::{AUDIO, DONE, FINAL, LAST_WORDS, Mark, Out, Session, TOKEN, note_waits, said_turn, transcript};
use crate::dialect::Answer;
use crate::reference::pipeline::{Pipeline, Say};
use crate::reference::replies::Reply;
use crate::scenario::Fault;
use crate::time::Micros;
use crate::transport::Frame;

/// How long a device may stare at the beginning of a huge frame before the connection is dropped.
const HUGE_STALL: Micros = Micros::from_secs(2);
/// Payload length announced by the fault `huge_frame`.
const HUGE_LENGTH: u64 = 100_000_000;
/// How much of it is sent.
const HUGE_BEGUN: usize = 4 * 1024;

impl Session {
    /// Stops the reply at once, if there is one: what is queued of it is dropped, its slots are free.
    pub(super) fn cut(&mut self, now: Micros) {
        let Some(reply) = self.talk.as_mut().and_then(|t| t.reply.take()) else {
            return;
        };
        let turn = reply.turn;
        if let Some(row) = self.row(turn) {
            row.interrupted = true;
        }
        self.finish_pipeline(reply.turn, reply.pipeline, now);
        self.out
            .retain(|o| !matches!(o, Out::Frame(_, m) if m.turn == turn && m.what & (TOKEN | AUDIO) != 0));
        self.queued = self.out.iter().map(|o| if let Out::Frame(f, _) = o { f.len() } else { 0 }).sum();
        let mark = Mark { turn, what: DONE };
        let turn = said_turn(turn, reply.fault);
        self.answer(Answer::Done { turn, interrupted: true }, mark);
    }

    /// Says what is due, as far as the device takes it.
    pub(super) fn speak(&mut self, now: Micros) {
        while !self.ended && !self.full() && !self.world.conditions.get().silent {
            let Some(reply) = self.talk.as_mut().and_then(|t| t.reply.as_mut()) else {
                return;
            };
            let Some(pipeline) = &mut reply.pipeline else {
                return;
            };
            let Some((_, say)) = pipeline.pop(now) else {
                return;
            };
            let (turn, fault, said) = (reply.turn, reply.fault, Arc::clone(pipeline.reply()));
            self.say(now, turn, fault, &said, say);
        }
    }

    fn say(&mut self, now: Micros, turn: u32, fault: Option<Fault>, reply: &Reply, say: Say) {
        let said = said_turn(turn, fault);
        match say {
            Say::Final if fault == Some(Fault::Error) => {
                self.stop_reply(now);
                self.out_error(turn, "overloaded", "this turn was chosen to fail".to_owned());
            }
            Say::Final => {
                let text = self.row(turn).map_or_else(String::new, |r| transcript(r.speech_us));
                let stt = self.world.plan.dialect.capabilities().stt;
                let done = if stt { DONE } else { 0 };
                self.answer(Answer::Final { turn: said, text }, Mark { turn, what: FINAL | done });
                if stt {
                    // Nobody replies.
                    self.stop_reply(now);
                }
            }
            Say::Token(k) => {
                let text = reply.words.get(k).cloned().unwrap_or_default();
                let last = k + 1 >= reply.words.len();
                self.answer(Answer::Token { turn: said, text, last }, Mark { turn, what: TOKEN });
            }
            Say::Audio(k) => self.say_audio(now, turn, fault, reply, k),
            Say::Done => {
                self.end_reply();
                let done = Answer::Done { turn: said, interrupted: false };
                self.answer(done, Mark { turn, what: DONE });
            }
        }
    }

    fn say_audio(&mut self, now: Micros, turn: u32, fault: Option<Fault>, reply: &Reply, k: usize) {
        let Some(payload) = reply.chunks.get(k).map(|c| c.payload.clone()) else {
            return;
        };
        let middle = k == reply.chunks.len() / 2;
        let mark = Mark { turn, what: AUDIO };
        match fault {
            // What the reply holds is free, or kept for the device, when the connection is gone.
            Some(Fault::CloseMidReply) if middle => {
                self.close(now, 1011, "this turn was chosen to fail".to_owned());
            }
            Some(Fault::ResetMidReply) if middle => {
                self.end(Out::Reset, now + LAST_WORDS);
            }
            // The turn stays open for ever: until the device interrupts, ends another turn, or leaves.
            Some(Fault::StallMidReply) if middle => self.silence_reply(now),
            Some(Fault::Garbage) => {
                self.stop_reply(now);
                self.push(Frame::text("{\"type\": \"tts_audio_chunk\", "), Mark::default());
                self.answer(Answer::Done { turn, interrupted: false }, Mark { turn, what: DONE });
            }
            Some(Fault::TextForBinary) => {
                self.push(Frame::text(String::from_utf8_lossy(&payload)), mark);
            }
            Some(Fault::HugeFrame) => {
                // RFC 6455, section 5.2: final binary frame, no mask, 64-bit length.
                let mut begun = vec![0x82, 127];
                begun.extend_from_slice(&HUGE_LENGTH.to_be_bytes());
                begun.resize(begun.len() + HUGE_BEGUN, 0);
                self.end(Out::Raw(begun.into()), now + HUGE_STALL);
            }
            _ => {
                let said = said_turn(turn, fault);
                self.answer(Answer::Audio { turn: said, payload }, mark);
            }
        }
    }

    /// All of the reply has been said: its stages are over, but what was said may never be written.
    fn end_reply(&mut self) {
        let Some(talk) = &mut self.talk else {
            return;
        };
        if let Some(reply) = talk.reply.take() {
            if let Some(pipeline) = &reply.pipeline {
                note_waits(&mut self.rows, reply.turn, pipeline.waits());
            }
            talk.said = Some(Box::new(reply));
        }
        if let Some(vad) = &mut talk.vad {
            vad.reset();
        }
    }

    /// The reply is over, its slots are free.
    fn stop_reply(&mut self, now: Micros) {
        if let Some(reply) = self.talk.as_mut().and_then(|t| t.reply.take()) {
            self.finish_pipeline(reply.turn, reply.pipeline, now);
        }
        if let Some(vad) = self.talk.as_mut().and_then(|t| t.vad.as_mut()) {
            // Speech that goes on is noticed again; a cough that has ended must not begin a turn.
            vad.reset();
        }
    }

    /// The reply says nothing more, and does not end either.
    fn silence_reply(&mut self, now: Micros) {
        if let Some(reply) = self.talk.as_mut().and_then(|t| t.reply.as_mut()) {
            let (turn, pipeline) = (reply.turn, reply.pipeline.take());
            self.finish_pipeline(turn, pipeline, now);
        }
    }

    pub(super) fn finish_pipeline(&mut self, turn: u32, pipeline: Option<Pipeline>, now: Micros) {
        let Some(pipeline) = pipeline else {
            return;
        };
        note_waits(&mut self.rows, turn, pipeline.waits());
        pipeline.cancel(now);
    }
}
