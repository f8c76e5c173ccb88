//! Talking: turns that start, chunks that are due, interruptions and coughs.

use super::bitrate::Bitrate;
use super::speech::Speech;
use super::turn::Turn;
use super::{Device, Link, Outgoing, Output};
use crate::event::{Backchannel, BargeIn, Event, FailureClass, Outcome, Sent, TurnRecord};
use crate::scenario::EndOfTurn;
use crate::time::Micros;

impl Device {
    /// Starts the next turn if its time has come.
    pub(super) fn start_due(&mut self, now: Micros) {
        let Some(start) = self.next_start.filter(|&t| t <= now && t < self.leave_at) else { return };
        match self.link {
            Link::Online(_) if self.turn.is_none() => self.start_turn(now, start),
            Link::Offline { .. } => self.fail_unstarted(now),
            _ => {}
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

    pub(super) fn start_turn(&mut self, now: Micros, start: Micros) {
        let mut record = self.new_record(start);
        let vad = self.plan.turn.end == EndOfTurn::Vad;
        let speech = Speech::utterance(&self.plan, self.draw.utterance, start, vad);
        record.last_send_planned = speech.end_due();
        self.event(Event::TurnStarted { warmup: record.warmup });
        let session_turn = self.session_turn;
        if let Some(dialect) = &mut self.dialect {
            dialect.turn_start(session_turn, &mut self.frames);
        }
        self.send_frames(start, None, self.waited(start));
        self.turn = Some(Box::new(Turn::new(record, self.draw, self.plan.playback.prebuffer)));
        (self.speech, self.cough) = (Some(speech), None);
        self.session_turn += 1;
        self.next_start = None;
        self.plan_next_draw();
        self.speak(now);
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
        while let Some(mut speech) = self.speech.take() {
            let Some(due) = speech.due().filter(|&t| t <= now) else {
                self.speech = Some(speech);
                break;
            };
            let Some(turn) = &mut self.turn else { break };
            let session_turn = turn.record.session_turn;
            let marks_end = turn.record.last_send_planned == due;
            let piece = Some(speech.piece());
            let rate = self.bitrate.as_ref().map_or(0, Bitrate::at);
            turn.record.lowered += u32::from(rate > 0);
            let (Some(dialect), Some(chunk)) = (&mut self.dialect, speech.take(rate)) else { break };
            let frame = dialect.audio(chunk);
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
                if let Some(dialect) = &mut self.dialect {
                    dialect.turn_end(session_turn, &mut self.frames);
                }
                self.send_frames(due, Some(session_turn), waited);
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

    /// True when something planned for `at` had to wait for the connection.
    pub(super) fn waited(&self, at: Micros) -> bool {
        matches!(self.link, Link::Online(o) if at < o.since)
    }

    /// When the user interrupts the reply.
    pub(super) fn barge_in_at(&self, turn: &Turn) -> Option<Micros> {
        let at = self.plan.on_beat(turn.audible()? + turn.draw.barge_in?);
        // A voice interrupts by saying something: there must be something left to say. A button needs no words.
        let able = self.plan.turn.end == EndOfTurn::Signal
            || self.plan.turn.count.is_none_or(|n| self.next_turn < n);
        (able && self.interrupted.is_none() && at < self.leave_at).then_some(at)
    }

    /// When the user coughs.
    pub(super) fn cough_at(&self, turn: &Turn) -> Option<Micros> {
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
        }
        self.interrupted = Some(turn);
        // The user goes on to say the next thing.
        if self.plan.turn.count.is_none_or(|n| self.next_turn < n) {
            self.start_turn(now, at);
        }
    }
}
