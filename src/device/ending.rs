//! How turns end when no reply ends them: given up, failed, or owed when the run ends.

use super::turn::{Fault, Turn};
use super::{Device, Link, Output};
use crate::event::{Event, FailureClass, Outcome};
use crate::time::Micros;

/// A server that has had less time than this when the run ends owes nothing yet.
const LEAST_WAIT: Micros = Micros::from_secs(1);

impl Device {
    pub(super) fn abort(&mut self, now: Micros, owed: bool) {
        if owed && self.turn.is_none() && self.next_start.is_some_and(|t| t <= now && t < self.leave_at) {
            self.fail_unstarted(now);
        }
        for turn in [self.turn.take(), self.interrupted.take()].into_iter().flatten() {
            if owed && !turn.on_wire {
                self.finish_unheard(now, turn);
                continue;
            }
            let waited = now - turn.record.end_of_speech;
            // Owed: an answer, or the rest of a reply that has run dry or has had all the time that there is.
            let fair = self.plan.turn.timeout + self.plan.turn.gap_timeout;
            let overdue = match turn.playback.end() {
                None => waited >= LEAST_WAIT,
                Some(end) => now > end || waited >= fair,
            };
            let outcome = if owed && overdue {
                let media = turn.playback.media();
                let got = if media > Micros::ZERO {
                    format!("{media} of a reply that did not end")
                } else {
                    "no answer".to_owned()
                };
                let detail = format!("the run ended {waited} after the end of speech, with {got}");
                Outcome::Failed(FailureClass::UnansweredAtStop, detail.into())
            } else {
                Outcome::Cancelled
            };
            self.finish(now, turn, outcome);
        }
        self.next_start = None;
        self.leave(now);
    }

    /// Until when an interrupted server may go on.
    pub(super) fn stop_deadline(&self, turn: &Turn) -> Micros {
        let onset = turn.record.barge_in.map_or(turn.record.end_of_speech, |b| b.planned);
        turn.deadline(self.plan.turn.timeout, self.plan.turn.gap_timeout)
            .max(onset + self.plan.turn.gap_timeout)
    }

    /// Gives up on replies that are overdue.
    pub(super) fn give_up_due(&mut self, now: Micros) {
        let (timeout, gap) = (self.plan.turn.timeout, self.plan.turn.gap_timeout);
        let overdue = |t: &mut Box<Turn>| t.deadline(timeout, gap) <= now;
        if let Some(turn) = self.turn.take_if(|t| !t.on_wire && overdue(t)) {
            return self.finish_unheard(now, turn);
        }
        if self.all_lost_at() <= now
            && let Some(turn) = self.turn.take()
        {
            return self.finish_unheard(now, turn);
        }
        if let Some(turn) = self.turn.as_deref().filter(|t| t.deadline(timeout, gap) <= now) {
            let fault = match turn.record.first_byte {
                None => {
                    let got = if turn.record.first_token.is_some() {
                        "text came, but no audio"
                    } else {
                        "no answer"
                    };
                    let detail = format!("{got} within {timeout} of the end of speech");
                    (FailureClass::Timeout, self.with_complaint(detail))
                }
                Some(_) => {
                    let media = turn.playback.media();
                    let detail = format!("nothing for {gap} after {media} of audio, and no end of the reply");
                    (FailureClass::ReplyStalled, self.with_complaint(detail))
                }
            };
            self.fail(now, fault);
        } else if self.interrupted.as_ref().is_some_and(|t| self.stop_deadline(t) <= now) {
            let detail =
                format!("the server neither stopped nor ended its reply within {gap} of the interruption");
            self.fail(now, (FailureClass::ReplyStalled, detail));
        }
    }

    /// The open turns have failed, and the connection is no longer to be trusted.
    pub(super) fn fail(&mut self, now: Micros, (class, mut detail): Fault) {
        let online = matches!(self.link, Link::Online(_));
        if online {
            self.notice(now, &class, true);
            self.count_swallowed();
        } else {
            detail.push_str("; the connection had been lost, and was not back yet");
        }
        let cut = !online || self.cut_on_purpose();
        for mut turn in [self.interrupted.take(), self.turn.take()].into_iter().flatten() {
            if cut || turn.record.reconnects > 0 {
                turn.cut_short();
            }
            self.finish(now, turn, Outcome::Failed(class.clone(), detail.as_str().into()));
        }
        if online {
            self.hang_up(now, class, &detail);
        } else {
            // What the server may still have to say about that turn is for nobody.
            self.session = None;
        }
    }

    /// A turn is over: plans the next and tells the recorder.
    pub(super) fn finish(&mut self, now: Micros, mut turn: Box<Turn>, outcome: Outcome) {
        let current = turn.record.barge_in.is_none();
        let heard_until = match &outcome {
            Outcome::Succeeded => turn.playback.end().unwrap_or(now).max(now),
            // Into a toy that is not connected one speaks to the end.
            _ if !turn.on_wire => now.max(turn.record.end_of_speech),
            _ => now,
        };
        if current {
            if self.ready_since().is_none()
                && let Some(speech) = &mut self.speech
            {
                turn.record.speech_lost += speech.skip_due(now, Micros::ZERO).0;
            }
            self.cough = None;
            let open = self.plan.dialect.capabilities().open_microphone && turn.on_wire;
            self.speech = self.speech.take().filter(|s| open && s.spoken_out());
        }
        // After an interruption the next turn has begun already.
        if self.next_start.is_none() && self.turn.is_none() {
            self.plan_next_start(heard_until);
        }
        self.out.push_back(Output::Event(Event::TurnEnded(turn.into_record(now, outcome))));
    }
}
