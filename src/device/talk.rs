//! Talking: turns that start, chunks that are due, interruptions and coughs.

use super::bitrate::Bitrate;
use super::speech::Speech;
use super::turn::Turn;
use super::{Device, Link, Online, Outgoing, Output};
use crate::event::{Backchannel, BargeIn, Event, FailureClass, Outcome, Sent, TurnRecord};
use crate::scenario::EndOfTurn;
use crate::time::Micros;

impl Device {
    /// Starts the next turn if its time has come.
    pub(super) fn start_due(&mut self, now: Micros) {
        let Some(start) = self.next_start.filter(|&t| t <= now && t < self.leave_at) else { return };
        match self.link {
            _ if self.turn.is_some() => {}
            // After a loss a user may hope; a toy that could not connect again says so.
            Link::Offline { retry_at } if self.refused || !self.opened || retry_at == Micros::NEVER => {
                self.fail_unstarted(now);
            }
            Link::Gone => {}
            _ => self.start_turn(now, start),
        }
    }

    pub(super) fn new_record(&self, start: Micros) -> TurnRecord {
        let clip = &self.plan.utterances[self.draw.utterance].clip;
        let end_of_speech = start + clip.speech_end;
        TurnRecord {
            device: self.id,
            turn: self.next_turn,
            session_turn: self.session_turn,
            local_port: if let Link::Online(o) = self.link { o.local_port } else { 0 },
            fixture: self.draw.utterance as u16,
            warmup: start < self.plan.warmup,
            planned_start: start,
            end_of_speech,
            last_send_planned: end_of_speech,
            last_send_done: None,
            endpoint: None,
            first_partial: None,
            final_transcript: None,
            first_token: None,
            first_byte: None,
            lead_silence: None,
            last_byte: None,
            reply_done: None,
            tokens: 0,
            audio_messages: 0,
            reply_media: Micros::ZERO,
            playout: Default::default(),
            judged: Default::default(),
            required_prebuffer: Micros::ZERO,
            barge_in: None,
            backchannel: None,
            group: self.group,
            network_up: None,
            network_down: None,
            reconnects: 0,
            cut_short: false,
            answered_twice: false,
            speech_lost: Micros::ZERO,
            speech_late: Micros::ZERO,
            lowered: 0,
            outcome: Outcome::Cancelled,
            ended: start,
        }
    }

    /// The user begins to speak. Without a connection the speech waits, or is lost.
    pub(super) fn start_turn(&mut self, now: Micros, start: Micros) {
        let mut record = self.new_record(start);
        let vad = self.plan.turn.end == EndOfTurn::Vad;
        let speech = Speech::utterance(&self.plan, self.draw.utterance, start, vad);
        record.last_send_planned = speech.end_due();
        self.event(Event::TurnStarted { warmup: record.warmup });
        self.turn = Some(Box::new(Turn::new(record, self.draw, self.plan.playback.prebuffer)));
        (self.speech, self.cough) = (Some(speech), None);
        self.next_start = None;
        self.plan_next_draw();
        self.speak(now);
    }

    /// Tells the server of a turn that it does not know of yet.
    fn put_on_wire(&mut self) {
        let Link::Online(Online { local_port, .. }) = self.link else { return };
        let Some(turn) = self.turn.as_mut().filter(|t| !t.on_wire) else { return };
        let session_turn = self.session_turn;
        turn.on_wire = true;
        (turn.record.session_turn, turn.record.local_port) = (session_turn, local_port);
        let start = turn.record.planned_start;
        self.session_turn += 1;
        if let Some(dialect) = &mut self.dialect {
            dialect.turn_start(session_turn, &mut self.frames);
        }
        self.send_frames(start, None, self.waited(start));
    }

    /// The device can speak again: what was due since it could not is sent late, or was lost.
    pub(super) fn catch_up(&mut self, now: Micros) {
        let (Some(turn), Some(speech)) = (&mut self.turn, &mut self.speech) else { return };
        let (lost, late) = speech.skip_due(now, self.plan.session.offline_limit);
        turn.record.speech_lost += lost;
        turn.record.speech_late += late;
        let spoken_out = speech.spoken_out();
        if spoken_out && !turn.on_wire {
            // Not a word is left.
            if let Some(turn) = self.turn.take() {
                self.finish_unheard(now, turn);
            }
        } else if spoken_out && !turn.end_said && self.plan.turn.end == EndOfTurn::Signal {
            let due = speech.last_chunk().0;
            self.speech = None;
            self.say_end(now, due, true);
        } else {
            self.speak(now);
        }
    }

    /// When the whole speech of a turn is lost, because there is no connection and nothing is kept.
    pub(super) fn all_lost_at(&self) -> Micros {
        let unheard = self.turn.as_ref().is_some_and(|t| !t.on_wire) && self.ready_since().is_none();
        match self.speech.as_ref().filter(|_| unheard).map(Speech::last_chunk) {
            Some((due, media)) if media > self.plan.session.offline_limit => due,
            _ => Micros::NEVER,
        }
    }

    /// A turn ends of which the server has never heard.
    pub(super) fn finish_unheard(&mut self, now: Micros, turn: Box<Turn>) {
        let (class, detail) = self.last_failure.clone().unwrap_or_else(|| {
            (FailureClass::NotConnected, "none, the first connection was still being opened".to_owned())
        });
        let detail = format!("not connected when the user spoke; last failure: {detail}");
        self.finish(now, turn, Outcome::Failed(class, detail.into()));
    }

    /// Speech that was sent into a hole is lost with its connection.
    pub(super) fn count_swallowed(&mut self) {
        for turn in [&mut self.turn, &mut self.interrupted].into_iter().flatten() {
            turn.record.speech_lost += std::mem::take(&mut turn.swallowed);
        }
    }

    /// The user spoke, and the toy was not connected.
    pub(super) fn fail_unstarted(&mut self, now: Micros) {
        let Some(start) = self.next_start.take() else { return };
        let mut record = self.new_record(start);
        self.event(Event::TurnStarted { warmup: record.warmup });
        let (class, detail) =
            self.last_failure.clone().unwrap_or_else(|| (FailureClass::Network, "not connected".to_owned()));
        record.outcome = Outcome::Failed(
            class,
            format!("not connected when the user spoke; last failure: {detail}").into(),
        );
        record.ended = now;
        let end = record.end_of_speech;
        self.event(Event::TurnEnded(Box::new(record)));
        self.plan_next_draw();
        self.plan_next_start(end.max(now));
    }

    pub(super) fn plan_next_draw(&mut self) {
        self.next_turn += 1;
        self.draw = self.plan.draw(self.id, self.next_turn);
    }

    /// The next turn starts a think time after `from`, unless all turns have been had.
    pub(super) fn plan_next_start(&mut self, from: Micros) {
        let more = self.plan.turn.count.is_none_or(|n| self.next_turn < n);
        self.next_start = more.then(|| self.plan.on_beat(from + self.draw.think));
    }

    /// Sends the chunks that are due.
    pub(super) fn speak(&mut self, now: Micros) {
        if self.ready_since().is_none() {
            return;
        }
        self.put_on_wire();
        let swallowed = self.swallowed(now);
        while let Some(mut speech) = self.speech.take() {
            let Some(due) = speech.due().filter(|&t| t <= now) else {
                self.speech = Some(speech);
                break;
            };
            let Some(turn) = &mut self.turn else {
                // Between turns, an open microphone hears silence.
                let piece = Some(speech.piece());
                if let (Some(dialect), Some(chunk)) = (&mut self.dialect, speech.take(0)) {
                    let frame = dialect.audio(chunk);
                    let (what, last_of_turn) = (Sent::Audio, None);
                    let send = Outgoing { frame, planned: due, what, last_of_turn, waited: false, piece };
                    self.out.push_back(Output::Send(send));
                    self.speech = Some(speech);
                    continue;
                }
                break;
            };
            let session_turn = turn.record.session_turn;
            let marks_end = turn.record.last_send_planned == due;
            let rate = self.bitrate.as_ref().map_or(0, Bitrate::at);
            turn.record.lowered += u32::from(rate > 0);
            let (piece, media) = (Some(speech.piece()), speech.media());
            let (Some(dialect), Some(chunk)) = (&mut self.dialect, speech.take(rate)) else { break };
            let frame = dialect.audio(chunk);
            if swallowed {
                turn.swallowed += media;
            }
            turn.unwritten += u32::from(marks_end);
            let signal = self.plan.turn.end == EndOfTurn::Signal && speech.spoken_out();
            let waited = self.waited(due);
            self.out.push_back(Output::Send(Outgoing {
                frame,
                planned: due,
                what: Sent::Audio,
                last_of_turn: marks_end.then_some(session_turn),
                waited,
                piece,
            }));
            if signal {
                self.say_end(now, due, waited);
            } else {
                self.speech = Some(speech);
            }
        }
        while let Some(due) = self.cough.as_ref().and_then(Speech::due).filter(|&t| t <= now) {
            let piece = self.cough.as_ref().map(Speech::piece);
            let (Some(dialect), Some(chunk)) =
                (&mut self.dialect, self.cough.as_mut().and_then(|cough| cough.take(0)))
            else {
                break;
            };
            let frame = dialect.audio(chunk);
            let send =
                Outgoing { frame, planned: due, what: Sent::Audio, last_of_turn: None, waited: false, piece };
            self.out.push_back(Output::Send(send));
        }
    }

    /// The button is released: the server is told.
    pub(super) fn say_end(&mut self, now: Micros, planned: Micros, waited: bool) {
        let swallowed = self.swallowed(now);
        let Some(turn) = &mut self.turn else { return };
        (turn.end_said, turn.end_swallowed) = (true, swallowed);
        let session_turn = turn.record.session_turn;
        if let Some(dialect) = &mut self.dialect {
            dialect.turn_end(session_turn, &mut self.frames);
        }
        turn.unwritten += self.frames.len() as u32;
        self.send_frames(planned, Some(session_turn), waited);
    }

    /// True when something planned for `at` had to wait for the connection.
    pub(super) fn waited(&self, at: Micros) -> bool {
        self.ready_since().is_some_and(|ready| at < ready)
    }

    /// When the user interrupts the reply.
    pub(super) fn barge_in_at(&self, turn: &Turn) -> Option<Micros> {
        let at = self.plan.on_beat(turn.audible()? + turn.draw.barge_in?);
        // A voice interrupts by saying something: there must be something left to say. A button needs no words.
        let wordless =
            self.plan.turn.end == EndOfTurn::Signal && !self.plan.dialect.capabilities().interrupt_by_turn;
        let able = wordless || self.plan.turn.count.is_none_or(|n| self.next_turn < n);
        // While there is no connection it would be said to nobody.
        let able = able && self.ready_since().is_some();
        (able && self.interrupted.is_none() && at < self.leave_at).then_some(at)
    }

    /// When the user coughs.
    pub(super) fn cough_at(&self, turn: &Turn) -> Option<Micros> {
        self.ready_since()?;
        let (_, after) = turn.draw.backchannel.filter(|_| turn.record.backchannel.is_none())?;
        Some(turn.audible()? + after)
    }

    pub(super) fn interrupt_due(&mut self, now: Micros) {
        if let Some(at) = self.turn.as_ref().and_then(|t| self.cough_at(t)).filter(|&t| t <= now)
            && let Some(turn) = &mut self.turn
            && let Some((sound, _)) = turn.draw.backchannel
        {
            turn.record.backchannel = Some(Backchannel { planned: at, stopped_reply: false });
            self.cough = Some(Speech::sound(&self.plan, sound, at));
            // A device that is late has something to say already.
            self.speak(now);
        }
        let Some(at) = self.turn.as_ref().and_then(|t| self.barge_in_at(t)).filter(|&t| t <= now) else {
            return;
        };
        let Some(mut turn) = self.turn.take() else { return };
        let signal = self.plan.turn.end == EndOfTurn::Signal;
        // A button interrupts when it is pressed, a voice when it becomes audible.
        let silence = self.plan.utterances[self.draw.utterance].clip.speech_start;
        let planned = if signal { at } else { at + silence };
        turn.record.barge_in = Some(BargeIn { planned, ..BargeIn::default() });
        if signal {
            if let Some(dialect) = &mut self.dialect {
                dialect.interrupt(turn.record.session_turn, &mut self.frames);
            }
            self.send_frames(at, None, false);
        } else if let Some(dialect) = &mut self.dialect {
            dialect.barge_in(turn.record.session_turn);
        }
        self.interrupted = Some(turn);
        // The user goes on to say the next thing.
        if self.plan.turn.count.is_none_or(|n| self.next_turn < n) {
            self.start_turn(now, at);
        }
    }
}
