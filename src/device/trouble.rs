//! Trouble: faults that strike, losses that are noticed, and how the device comes back.
//!
//! ```text
//! struck ────▶ noticed ────▶ connected again ────▶ first audio: recovered
//!    │   (at once, or by a heartbeat, a turn,      (or lived through: first audio once the fault is over)
//!    │    the new address)
//!    └─▶ struck again, or gone: recovered without audio
//! ```
//!
//! A device has one trouble at a time. A slow reader or a stalled writer is no new trouble to a device that has one.

use super::{Device, Link, Output};
use crate::event::{Event, FailureClass, Outcome};
use crate::fault::{Cause, FaultKind, Impairment, Phase, Planned, Recovery};
use crate::time::Micros;
use crate::transport::ConnectTimes;

/// A trouble that is not over.
#[derive(Debug)]
pub(super) struct Trouble {
    recovery: Recovery,
    /// When a fault that can be lived through is over; `NEVER`: only a new connection helps.
    until: Micros,
    /// Connected again.
    back: bool,
    /// First audio since it began, whether it is over or not.
    heard: Option<Micros>,
}

impl Trouble {
    fn new(cause: Cause, phase: Phase, cut: Micros, until: Micros) -> Box<Self> {
        let recovery = Recovery {
            cause,
            phase,
            cut,
            noticed: None,
            attempts: 0,
            back_off: Micros::ZERO,
            tcp: Micros::ZERO,
            tls: Micros::ZERO,
            upgrade: Micros::ZERO,
            session: None,
            connected: cut,
            resumed: false,
            audio: None,
        };
        Box::new(Self { recovery, until, back: false, heard: None })
    }

    /// Likely what the device notices now. What the server says once a fault is over is the server's own.
    fn explains(&self, now: Micros, class: &FailureClass) -> bool {
        use FailureClass::{ConnectTimeout, HeartbeatLost, ReplyStalled, Reset, Stalls, Timeout};
        now < self.until
            || matches!(class, HeartbeatLost | Timeout | ReplyStalled | ConnectTimeout | Reset | Stalls)
    }

    /// Its connection, or its attempt at one, has been given up; the device is not back yet.
    const fn coming_back(&self) -> bool {
        self.recovery.noticed.is_some() && !self.back
    }

    /// It swallows what is sent.
    fn deaf(&self, now: Micros) -> bool {
        use FaultKind::{AddressChange, BlackHole, Roam};
        self.recovery.noticed.is_none()
            && now < self.until
            && matches!(self.recovery.cause, Cause::Fault(BlackHole | AddressChange | Roam))
    }
}

/// What holds for a while, also for connections to come: until when; the past: it does not hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    lose: Micros,
    slow: (u32, Micros),
    stall: Micros,
}

impl Conditions {
    fn at(self, now: Micros) -> impl Iterator<Item = Impairment> {
        let lose = (self.lose > now).then_some(Impairment::Lose(self.lose));
        let slow = (self.slow.1 > now).then_some(Impairment::SlowRead(self.slow.0, self.slow.1));
        let stall = (self.stall > now).then_some(Impairment::StallWrites(self.stall));
        [lose, slow, stall].into_iter().flatten()
    }
}

impl Device {
    /// What the device is doing; `None` without a connection, or an attempt at one.
    pub(super) fn phase(&self, now: Micros) -> Option<Phase> {
        match (self.link, &self.turn) {
            (Link::Offline { .. } | Link::Gone, _) => None,
            (Link::Connecting { .. }, _) => Some(Phase::Handshake),
            (Link::Online(_), Some(t)) if now < t.record.end_of_speech => Some(Phase::Speaking),
            (Link::Online(_), Some(t)) if t.record.first_byte.is_none() => Some(Phase::Waiting),
            (Link::Online(_), None) if self.interrupted.is_none() => Some(Phase::Idle),
            (Link::Online(_), _) => Some(Phase::Listening),
        }
    }

    /// When a fault may want to strike.
    pub(super) fn strike_deadline(&self) -> Micros {
        // The one phase that begins without anything else happening.
        let waiting = match (self.link, &self.turn) {
            (Link::Online(_), Some(t))
                if t.record.first_byte.is_none() && self.strikes.waits_for(Phase::Waiting) =>
            {
                t.record.end_of_speech
            }
            _ => Micros::NEVER,
        };
        self.strikes.next_at().min(self.knows_at).min(waiting)
    }

    /// Strikes what is due.
    pub(super) fn strike_due(&mut self, now: Micros) {
        while self.link != Link::Gone {
            let phase = self.phase(now);
            let Some(fault) = self.strikes.take(now, phase) else { return };
            let Some(phase) = phase else { return };
            self.strike(now, fault, phase);
        }
    }

    fn strike(&mut self, now: Micros, fault: Planned, phase: Phase) {
        let Planned { kind, length, rate, .. } = fault;
        self.event(Event::FaultBegan { fault: kind, phase });
        let until = now.saturating_add(length);
        let what = match kind {
            FaultKind::Vanish => return self.vanish(now),
            FaultKind::Reset => Impairment::Reset,
            FaultKind::Close => Impairment::Close,
            FaultKind::BlackHole => Impairment::Lose(Micros::NEVER),
            FaultKind::AddressChange => {
                self.knows_at = self.knows_at.min(until);
                Impairment::Lose(Micros::NEVER)
            }
            FaultKind::Roam => {
                self.conditions.lose = self.conditions.lose.max(until);
                Impairment::Lose(self.conditions.lose)
            }
            FaultKind::SlowReader => {
                self.conditions.slow = (rate, until);
                Impairment::SlowRead(rate, until)
            }
            FaultKind::StalledWriter => {
                self.conditions.stall = self.conditions.stall.max(until);
                Impairment::StallWrites(self.conditions.stall)
            }
        };
        let until = match what {
            Impairment::Lose(until) | Impairment::SlowRead(_, until) | Impairment::StallWrites(until) => {
                until
            }
            Impairment::Reset | Impairment::Close => Micros::NEVER,
        };
        let at_once = matches!(kind, FaultKind::Reset | FaultKind::Close);
        let mild = matches!(kind, FaultKind::SlowReader | FaultKind::StalledWriter);
        let new = match &self.trouble {
            None => true,
            Some(_) if mild => false,
            // What hears nothing already hears nothing still.
            Some(t) => at_once || !t.deaf(now),
        };
        if new {
            self.give_up_trouble(now);
            self.trouble = Some(Trouble::new(Cause::Fault(kind), phase, now, until));
        }
        // A second hole in one that has an end has none.
        if let Some(t) = self.trouble.as_mut().filter(|t| t.deaf(now) && until > t.until) {
            t.until = until;
        }
        self.out.push_back(Output::Impair(what));
        if at_once {
            let detail = format!("{}: a fault of the scenario", kind.doc());
            self.lost(now, FailureClass::Cut(kind), detail);
        }
    }

    /// Gone without a word. Nobody waits for an answer any more, so that nothing has failed.
    fn vanish(&mut self, now: Micros) {
        for turn in [self.turn.take(), self.interrupted.take()].into_iter().flatten() {
            self.finish(now, turn, Outcome::Cancelled);
        }
        self.give_up_trouble(now);
        if matches!(self.link, Link::Online(_)) {
            self.event(Event::Disconnected);
        }
        self.out.push_back(Output::Abandon);
        self.gone();
    }

    /// The device learns that its address has changed.
    pub(super) fn learn_address(&mut self, now: Micros) {
        if self.knows_at <= now {
            self.out.push_back(Output::Hangup);
            let detail = "the device has another address: a fault of the scenario".to_owned();
            self.lost(now, FailureClass::Cut(FaultKind::AddressChange), detail);
        }
    }

    /// What is sent now does not arrive: it is lost if the connection is.
    pub(super) fn swallowed(&self, now: Micros) -> bool {
        self.conditions.stall > now || self.trouble.as_ref().is_some_and(|t| t.deaf(now))
    }

    /// Says again what holds, to a new connection.
    pub(super) fn impair_again(&mut self, now: Micros) {
        self.out.extend(self.conditions.at(now).map(Output::Impair));
    }

    /// The device finds out that its connection (with `established`; else: its attempt at one) is of no use, as `class`.
    pub(super) fn notice(&mut self, now: Micros, class: &FailureClass, established: bool) {
        // Since when the connection was of no use, as far as the device can tell.
        let useless = match self.link {
            Link::Online(online) if *class == FailureClass::HeartbeatLost => {
                online.heartbeat_sent.unwrap_or(now)
            }
            _ => now,
        };
        let known = match &mut self.trouble {
            Some(t) if t.coming_back() => return,
            // What holds for a while holds for the new connection, too: the device is where it was.
            Some(t) if t.recovery.noticed.is_some() && t.until != Micros::NEVER && useless < t.until => {
                t.back = false;
                return;
            }
            Some(t) => t.recovery.noticed.is_none() && t.explains(now, class),
            None => false,
        };
        if !known && !established {
            return;
        }
        if !known {
            let phase = self.phase(now).unwrap_or(Phase::Idle);
            self.give_up_trouble(now);
            self.trouble = Some(Trouble::new(Cause::Lost(class.clone()), phase, useless, Micros::NEVER));
        }
        if let Some(t) = &mut self.trouble {
            t.recovery.noticed = Some(now);
            let (cause, phase) = (t.recovery.cause.clone(), t.recovery.phase);
            let after = now - t.recovery.cut;
            self.event(Event::Noticed { cause, phase, after });
        }
    }

    /// An attempt to come back begins.
    pub(super) fn trouble_attempt(&mut self) {
        if let Some(t) = self.trouble.as_mut().filter(|t| t.coming_back()) {
            t.recovery.attempts += 1;
        }
    }

    /// The device waits before the next attempt.
    pub(super) fn trouble_waits(&mut self, delay: Micros) {
        if let Some(t) = self.trouble.as_mut().filter(|t| t.coming_back()) {
            t.recovery.back_off = t.recovery.back_off.saturating_add(delay);
        }
    }

    /// The device is connected again.
    pub(super) fn trouble_connected(&mut self, now: Micros, times: ConnectTimes) {
        if let Some(t) = self.trouble.as_mut().filter(|t| t.coming_back()) {
            let r = &mut t.recovery;
            (r.tcp, r.tls, r.upgrade, r.connected) = (times.tcp, times.tls, times.upgrade, now);
            t.back = true;
        }
    }

    /// The server has answered the opening of the session.
    pub(super) fn trouble_session(&mut self, after: Micros, resumed: bool) {
        if let Some(t) = self.trouble.as_mut().filter(|t| t.back) {
            t.recovery.session.get_or_insert(after);
            t.recovery.resumed |= resumed;
        }
    }

    /// Audio arrived.
    pub(super) fn trouble_hears(&mut self, now: Micros) {
        let Some(t) = &mut self.trouble else { return };
        t.heard.get_or_insert(now);
        let over = if t.recovery.noticed.is_some() { t.back } else { t.until <= now };
        if over && let Some(mut t) = self.trouble.take() {
            t.recovery.audio = Some(now);
            self.event(Event::Recovered(Box::new(t.recovery)));
        }
    }

    /// The trouble is as it is: the next one comes, or the device leaves.
    pub(super) fn give_up_trouble(&mut self, now: Micros) {
        let Some(mut t) = self.trouble.take() else { return };
        if t.coming_back() {
            t.recovery.connected = now;
        }
        if t.recovery.noticed.is_none() {
            t.recovery.audio = t.heard;
        }
        self.event(Event::Recovered(Box::new(t.recovery)));
    }

    /// A fault of the scenario is to blame for what is lost now.
    pub(super) fn cut_on_purpose(&self) -> bool {
        self.trouble.as_ref().is_some_and(|t| t.coming_back() && matches!(t.recovery.cause, Cause::Fault(_)))
    }
}
