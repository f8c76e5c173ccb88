//! Listening: what the messages of the server do to the turns.

use bytes::Bytes;

use super::ear::Ear;
use super::turn::Turn;
use super::{Device, Link};
use crate::audio::codec;
use crate::dialect::Meaning;
use crate::event::{Event, FailureClass, Outcome};
use crate::scenario::EndOfTurn;
use crate::time::Micros;
use crate::transport::Frame;

/// Which turn a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The turn under way.
    Current,
    /// The turn whose reply was interrupted.
    Interrupted,
    /// A turn that is over.
    Past,
    /// No turn that there ever was.
    Nobody,
}

impl Device {
    /// A message arrived.
    pub(super) fn hear(&mut self, now: Micros, frame: &Frame, ear: &mut Ear) {
        self.received(frame.len());
        // A sign of life: what was sent into a hole has been sent again, unless it is still one.
        if !self.swallowed(now) {
            [&mut self.turn, &mut self.interrupted].into_iter().flatten().for_each(|t| t.arrived());
        }
        let mut meanings = std::mem::take(&mut self.meanings);
        if let Some(dialect) = &mut self.dialect {
            dialect.read(frame, &mut meanings);
            dialect.replies(&mut self.frames);
        }
        if !self.frames.is_empty() {
            self.send_frames(now, None, true);
        }
        for meaning in meanings.drain(..) {
            // A message may end the connection; what comes after it in the same frame is for nobody.
            if matches!(self.link, Link::Online(_)) {
                self.understand(now, meaning, ear);
            }
        }
        self.meanings = meanings;
        self.answers_wait(now);
        self.opening_done(now);
        self.link_delay = None;
    }

    fn understand(&mut self, now: Micros, meaning: Meaning, ear: &mut Ear) {
        match meaning {
            Meaning::Ready { session, resumed } => self.session_opened(now, session, resumed),
            Meaning::Pong => {
                if let Link::Online(online) = &mut self.link
                    && let Some(sent) = online.heartbeat_sent.take()
                {
                    let rtt = now - sent;
                    self.event(Event::HeartbeatAnswered { rtt });
                    let step = self.bitrate.as_mut().and_then(|b| b.heartbeat(now, rtt));
                    self.bitrate_changed(step);
                }
            }
            Meaning::SpeechStopped { turn } => self.milestone(now, turn, |r| &mut r.endpoint, true),
            Meaning::Partial { turn, .. } => self.milestone(now, turn, |r| &mut r.first_partial, false),
            Meaning::Final { turn, .. } => {
                self.milestone(now, turn, |r| &mut r.final_transcript, true);
                self.recognised(now);
            }
            Meaning::Token { turn, text } => self.token(now, turn, &text),
            Meaning::Audio { turn, payload } => self.audio(now, turn, &payload, ear),
            Meaning::ReplyDone { turn, interrupted } => {
                if interrupted {
                    self.speaker.dropped(now);
                }
                self.reply_done(now, turn, interrupted, ear);
            }
            Meaning::Error { turn, code, message } => self.server_error(now, turn, &code, &message),
            Meaning::Ignored(_) | Meaning::Unmatched => {}
            Meaning::Garbage(why) => self.fail(now, (FailureClass::Protocol, why)),
        }
    }

    fn whose(&self, turn: Option<u32>) -> Whose {
        let is = |t: &Option<Box<Turn>>| {
            t.as_ref().is_some_and(|t| t.on_wire && turn.is_none_or(|id| t.record.session_turn == id))
        };
        // Without an id a message belongs to the oldest turn whose reply is not complete.
        if is(&self.interrupted) {
            Whose::Interrupted
        } else if is(&self.turn) {
            Whose::Current
        } else if turn.is_none_or(|id| id < self.session_turn) {
            Whose::Past
        } else {
            Whose::Nobody
        }
    }

    /// The turn that a message belongs to; what belongs to none has been dealt with.
    fn turn_of(&mut self, now: Micros, turn: Option<u32>, what: &str) -> Option<&mut Turn> {
        match self.whose(turn) {
            Whose::Current => {
                // It speaks of this turn again.
                if let Some(a) = self.answered.as_mut().filter(|_| turn.is_some()) {
                    a.again = false;
                }
                self.turn.as_deref_mut()
            }
            Whose::Interrupted => self.interrupted.as_deref_mut(),
            Whose::Past => {
                // Only a server that has gone on with a session can have forgotten what it had said.
                if let Some(a) = self.answered.as_mut().filter(|a| Some(a.session_turn) == turn) {
                    a.again = self.resumes > 0 && !a.twice;
                }
                self.event(Event::StaleMessage);
                None
            }
            Whose::Nobody => {
                let id = turn.unwrap_or_default();
                let next = self.session_turn;
                let detail =
                    format!("{what} for turn {id}, but only {next} turns have begun on this connection");
                self.fail(now, (FailureClass::WrongTurn, detail));
                None
            }
        }
    }

    fn milestone(
        &mut self,
        now: Micros,
        turn: Option<u32>,
        field: impl Fn(&mut crate::event::TurnRecord) -> &mut Option<Micros>,
        closes_microphone: bool,
    ) {
        // Transcripts are of what the user says: of the current turn, also while an old reply is being stopped.
        let spoken = self.turn.as_ref().filter(|t| t.on_wire);
        let turn = turn.or_else(|| spoken.map(|t| t.record.session_turn));
        let Some(found) = self.turn_of(now, turn, "a transcript") else { return };
        field(&mut found.record).get_or_insert(now);
        if closes_microphone && self.whose(turn) == Whose::Current {
            self.hush();
        }
    }

    /// The server has decided that the user has finished: the microphone closes once the utterance is out.
    fn hush(&mut self) {
        if self.plan.dialect.capabilities().open_microphone {
            return;
        }
        if let Some(speech) = &mut self.speech {
            speech.hush();
        }
    }

    /// Where speech is recognised and nothing else, the turn is complete with its final transcript.
    fn recognised(&mut self, now: Micros) {
        // One that comes while the user still speaks is of a part of what is said.
        let complete = |t: &mut Box<Turn>| {
            t.record.final_transcript.is_some() && now >= t.record.end_of_speech && t.on_wire
        };
        if self.plan.dialect.capabilities().stt
            && let Some(mut turn) = self.turn.take_if(complete)
        {
            turn.record.final_transcript = Some(now);
            turn.record.reply_done = Some(now);
            self.finish(now, turn, Outcome::Succeeded);
        }
    }

    fn token(&mut self, now: Micros, turn: Option<u32>, text: &str) {
        if let Some(gap) = self.turn_of(now, turn, "a token").and_then(|t| t.token(now, text)) {
            self.event(gap);
        }
    }

    fn audio(&mut self, now: Micros, turn: Option<u32>, payload: &Bytes, ear: &mut Ear) {
        let (format, timeout) = (self.plan.setup.down, self.plan.turn.timeout);
        let network = self.link_delay;
        if turn.is_none() && self.answered.is_some_and(|a| a.again) {
            return self.event(Event::StaleMessage);
        }
        if self.whose(turn) == Whose::Current
            && let Some(t) = &self.turn
            && now < t.record.end_of_speech
        {
            if turn.is_none() && now < self.stale_until {
                return self.event(Event::StaleMessage);
            }
            let early = t.record.end_of_speech - now;
            let fault = match self.plan.turn.end {
                EndOfTurn::Vad => {
                    (FailureClass::CutOff, format!("reply audio {early} before the end of speech"))
                }
                EndOfTurn::Signal => {
                    let detail = format!(
                        "reply audio {early} before the end of speech: it can only be for another turn"
                    );
                    (FailureClass::WrongTurn, detail)
                }
            };
            return self.fail(now, fault);
        }
        let Some(t) = self.turn_of(now, turn, "audio") else {
            let duration = codec::duration(format, payload).unwrap_or(Micros::ZERO);
            return self.speaker.plays_for(now, duration);
        };
        let before = t.record.audio_messages;
        match t.audio(now, payload, network, format, timeout, ear) {
            Ok(gap) => {
                let heard = t.record.audio_messages > before;
                let end = t.playback.end();
                if let Some(barge_in) = &mut t.record.barge_in {
                    barge_in.last_byte = Some(now);
                } else {
                    self.hush();
                }
                if let Some(gap) = gap {
                    self.event(gap);
                }
                if let Some(end) = end {
                    self.speaker.plays_until(end);
                }
                if heard {
                    self.trouble_hears(now);
                }
            }
            Err(fault) => self.fail(now, fault),
        }
    }

    /// Where no message ends a reply, quiet does.
    pub(super) fn fell_quiet(&mut self, now: Micros, ear: &mut Ear) {
        let Some(quiet) = self.plan.dialect.capabilities().quiet else { return };
        let over = |t: &Turn| t.record.first_byte.is_some() && t.deadline(Micros::NEVER, quiet) <= now;
        let ids = [&self.interrupted, &self.turn]
            .map(|t| t.as_deref().filter(|t| over(t)).map(|t| t.record.session_turn));
        for id in ids.into_iter().flatten() {
            self.reply_done(now, Some(id), false, ear);
        }
    }

    pub(super) fn reply_done(&mut self, now: Micros, turn: Option<u32>, interrupted: bool, ear: &mut Ear) {
        let limit = self.plan.playback.max_stall_ratio;
        match self.whose(turn) {
            Whose::Interrupted => {
                let Some(mut t) = self.interrupted.take() else { return };
                let outcome = t.complete(now, ear, limit);
                self.answered = Some(t.answered());
                let end = t.playback.end().unwrap_or(now);
                if let Some(barge_in) = &mut t.record.barge_in {
                    // The server's word empties the toy's buffer.
                    barge_in.last_played =
                        Some(if interrupted { end.min(now) } else { end }.max(barge_in.planned));
                    barge_in.acknowledged = interrupted.then_some(now);
                }
                self.stale_until = now + self.plan.dialect.capabilities().swallow;
                // A cut reply is judged by having been cut, not by its length.
                let outcome = if interrupted { Outcome::Interrupted } else { outcome };
                self.finish(now, t, outcome);
            }
            Whose::Current => {
                let Some(mut t) = self.turn.take() else { return };
                if t.record.first_byte.is_none() && now < t.record.end_of_speech {
                    self.turn = Some(t);
                    if turn.is_none() && now < self.stale_until {
                        return self.event(Event::StaleMessage);
                    }
                    let detail =
                        "the end of a reply while the user still speaks: it can only be for another turn";
                    return self.fail(now, (FailureClass::WrongTurn, detail.to_owned()));
                }
                let outcome = match (interrupted, &mut t.record.backchannel) {
                    (true, Some(cough)) => {
                        cough.stopped_reply = true;
                        let after = now - cough.planned;
                        let detail = format!("the reply stopped {after} after a cough or an \"mm-hm\"");
                        Outcome::Failed(FailureClass::FalseBargeIn, detail.into())
                    }
                    (true, None) if t.record.reconnects > 0 => {
                        t.cut_short();
                        let (class, loss) =
                            self.loss.clone().unwrap_or_else(|| (FailureClass::Reset, String::new()));
                        let detail = format!("{loss}; the server has dropped the reply");
                        Outcome::Failed(class, detail.into())
                    }
                    (true, None) => {
                        let detail =
                            "the server says that the reply was interrupted, and nobody had interrupted it";
                        Outcome::Failed(FailureClass::Protocol, detail.into())
                    }
                    (false, _) => t.complete(now, ear, limit),
                };
                let outcome = match outcome {
                    // A reply without audio may be one whose audio was not recognised.
                    Outcome::Failed(FailureClass::Silent, why) if t.record.first_byte.is_none() => {
                        Outcome::Failed(FailureClass::Silent, self.with_complaint(why.into()).into())
                    }
                    other => other,
                };
                let mismatch = matches!(outcome, Outcome::Failed(FailureClass::FormatMismatch, _));
                self.answered = Some(t.answered());
                self.finish(now, t, outcome);
                if mismatch {
                    self.hang_up(now, FailureClass::FormatMismatch, "reply audio that cannot be decoded");
                }
            }
            Whose::Past | Whose::Nobody => {
                let _ = self.turn_of(now, turn, "the end of a reply");
                if let Some(a) = self.answered.as_mut().filter(|a| a.again) {
                    (a.again, a.twice) = (false, true);
                    let turn = a.turn;
                    self.event(Event::AnsweredTwice { turn });
                }
            }
        }
    }

    fn server_error(&mut self, now: Micros, turn: Option<u32>, code: &str, message: &str) {
        let class = FailureClass::of_code(code);
        let detail = match message {
            "" => "an error without a message".to_owned(),
            text => text.chars().take(200).collect(),
        };
        let fatal = matches!(class, FailureClass::Auth | FailureClass::FormatMismatch);
        if fatal || (self.turn.is_none() && self.interrupted.is_none()) {
            return self.fail(now, (class, detail));
        }
        // Recoverable: this turn is lost, the connection is not.
        let slot = match self.whose(turn) {
            Whose::Interrupted => self.interrupted.take(),
            Whose::Current => self.turn.take(),
            Whose::Past | Whose::Nobody => None,
        };
        if let Some(t) = slot {
            self.finish(now, t, Outcome::Failed(class, detail.into()));
        }
    }
}
