//! How a device hangs up: for good, or until its next turn, where a connection carries so many turns and no more
//! (`session.turns`).

use super::ear::Ear;
use super::{Device, Link, Output};
use crate::event::{Event, FailureClass};
use crate::time::Micros;
use crate::transport::Closed;

/// WebSocket's code of a close that nothing is wrong with (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;

impl Device {
    /// No turn will start any more.
    pub(super) fn leaving(&self, now: Micros) -> bool {
        // A turn that was planned before the end is still owed, even when the connection for it is still opening.
        self.next_start.is_none_or(|t| t >= self.leave_at && now >= self.departs_at())
    }

    /// When it hangs up, if it is idle when its time is over.
    pub(super) fn departs_at(&self) -> Micros {
        self.leave_at.saturating_add(self.departs_after)
    }

    /// No turn is under way.
    const fn idle(&self) -> bool {
        self.turn.is_none() && self.interrupted.is_none()
    }

    /// It is time for the goodbye, or for the end of what it waits for.
    pub(super) fn hangs_up_due(&self, now: Micros) -> bool {
        self.parting_until < Micros::NEVER || (self.idle() && (self.leaving(now) || self.had_its_turns()))
    }

    /// So many turns have begun on this connection that no other one will.
    fn had_its_turns(&self) -> bool {
        self.ready_since().is_some() && self.plan.session.turns.is_some_and(|most| self.session_turn >= most)
    }

    /// The device hangs up, for good.
    pub(super) fn leave(&mut self, now: Micros) {
        if self.link == Link::Gone {
            return;
        }
        self.give_up_trouble(now);
        match self.link {
            Link::Online(_) => {
                if self.parts(now) {
                    return;
                }
                self.event(Event::Disconnected);
                self.out.push_back(Output::Goodbye);
            }
            Link::Connecting { .. } => self.out.push_back(Output::Hangup),
            Link::Offline { .. } | Link::Gone => {}
        }
        self.gone();
    }

    /// The device hangs up, and connects again for its next turn.
    pub(super) fn part(&mut self, now: Micros) {
        if self.leaving(now) {
            return self.leave(now);
        }
        // The next turn waits for nobody.
        let due = self.next_start.is_some_and(|t| t <= now);
        if self.parts(now) && !due {
            return;
        }
        self.event(Event::Disconnected);
        self.out.push_back(Output::Goodbye);
        self.rest(now);
    }

    /// Says goodbye, and waits for the answer where there is one. True while it does.
    fn parts(&mut self, now: Micros) -> bool {
        if self.parting_until == Micros::NEVER {
            if let Some(dialect) = &mut self.dialect {
                dialect.goodbye(&mut self.frames);
            }
            self.send_frames(now, None, false);
            let waits = self.dialect.as_ref().and_then(|d| d.parting());
            self.parting_until = now + waits.unwrap_or_default();
        }
        let answered = self.dialect.as_ref().is_none_or(|d| d.parting().is_none());
        !answered && now < self.parting_until
    }

    /// The connection has ended as it should; the next turn wants another one.
    fn rest(&mut self, now: Micros) {
        self.give_up_trouble(now);
        (self.speech, self.cough, self.dialect, self.session) = (None, None, None, None);
        (self.attempts, self.parting_until, self.knows_at) = (0, Micros::NEVER, Micros::NEVER);
        self.link = Link::Offline { retry_at: self.next_start.unwrap_or(now) };
    }

    /// The server has closed the connection. True when that is how it was to end.
    pub(super) fn closed_as_planned(&mut self, now: Micros, closed: &Closed, ear: &mut Ear) -> bool {
        // As it was asked to.
        let mut planned = self.parting_until < Micros::NEVER;
        let quiet = self.plan.dialect.capabilities().quiet.is_some();
        let heard = self.turn.as_ref().is_some_and(|t| t.on_wire && t.record.first_byte.is_some());
        if self.had_its_turns() && closed.class == FailureClass::Closed(NORMAL) && quiet && heard {
            // Where no message ends a reply, the end of its connection does.
            self.reply_done(now, None, false, ear);
            planned = self.idle() && matches!(self.link, Link::Online(_));
        }
        if planned {
            self.event(Event::Disconnected);
            if self.leaving(now) { self.gone() } else { self.rest(now) }
        }
        planned
    }

    pub(super) fn gone(&mut self) {
        self.link = Link::Gone;
        (self.speech, self.cough, self.dialect, self.next_start) = (None, None, None, None);
        self.out.push_back(Output::Done);
    }
}
