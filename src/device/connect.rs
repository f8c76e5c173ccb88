//! Coming, losing the connection, coming back, and going on with the session that there was.
//!
//! With `session.resume`, a turn that was under way when the connection was lost waits, and its limits of time go on
//! counting. The device opens the next connection with the server's name for the session, and sends no speech until it
//! knows whether the server goes on with it. If it does, so does the turn. If not, the turn is lost with the class of the
//! loss. A device that hangs up by itself, because a turn has failed, asks for a new session: what the old one may still
//! have to say about that turn could not be told from an answer to the next.

use super::speaker::Speaker;
use super::turn::{Fault, Turn};
use super::{Device, Link, Online, Output};
use crate::dialect::Waiting;
use crate::event::{Event, FailureClass, Outcome};
use crate::scenario::{EndOfTurn, Reconnect};
use crate::time::Micros;
use crate::transport::ConnectTimes;

impl Device {
    pub(super) fn connect(&mut self, now: Micros, planned: Micros) {
        self.link = Link::Connecting { planned };
        self.trouble_attempt();
        self.event(Event::Connecting);
        self.out.push_back(Output::Connect);
        self.impair_again(now);
    }

    pub(super) fn connected(&mut self, now: Micros, times: ConnectTimes) {
        let Link::Connecting { planned } = self.link else { return };
        let keep_alive = self.keep_alive_every();
        self.link = Link::Online(Online {
            planned,
            since: now,
            ready: None,
            resumes: self.session.is_some(),
            local_port: times.local_port,
            next_heartbeat: keep_alive.map_or(Micros::NEVER, |every| now + every),
            heartbeat_sent: None,
        });
        self.event(Event::Connected { times, total: now - planned, reconnect: self.opened });
        if let Some(lost) = self.lost_at.take() {
            self.event(Event::Reconnected { after: now - lost });
        }
        if let Some(b) = &mut self.bitrate {
            b.reconnected();
        }
        self.trouble_connected(now, times);
        (self.opened, self.refused) = (true, false);
        self.speaker = Speaker::default();
        let mut dialect = self.plan.dialect.device(&self.plan.setup, self.id);
        dialect.open(self.session.as_deref(), &mut self.frames);
        self.dialect = Some(dialect);
        self.send_frames(now, None, true);
        self.opening_done(now);
    }

    /// Speech may begin when the opening is done; a session that is to go on has its own message for that.
    pub(super) fn opening_done(&mut self, now: Micros) {
        if let Link::Online(Online { ready: None, resumes: false, .. }) = self.link
            && self.waiting().is_none()
        {
            self.begin_session(now);
        }
    }

    /// What the opening waits for.
    fn waiting(&self) -> Option<Waiting> {
        self.dialect.as_ref().and_then(|d| d.waiting())
    }

    /// How often a sign of life is sent.
    fn keep_alive_every(&self) -> Option<Micros> {
        self.plan.session.keep_alive.or_else(|| self.plan.dialect.capabilities().keep_alive_every)
    }

    /// The server's session message.
    pub(super) fn session_opened(&mut self, now: Micros, name: Option<String>, resumed: bool) {
        let Link::Online(online) = self.link else { return };
        let after = now - online.since;
        self.event(Event::SessionReady { after, total: now - online.planned });
        let asked = online.ready.is_none() && online.resumes;
        self.trouble_session(after, asked && resumed);
        if self.plan.session.resume
            && let Some(name) = name
        {
            self.session = Some(name.into());
        }
        match (asked, resumed) {
            (true, true) => self.go_on(now),
            (true, false) => self.start_afresh(now, "the server did not go on with the session"),
            // Nobody had asked.
            (false, _) => {}
        }
    }

    /// When the device stops waiting to hear whether its session goes on.
    pub(super) fn session_deadline(&self) -> Micros {
        match self.link {
            Link::Online(Online { ready: None, since, .. }) => {
                since + self.waiting().map_or(self.plan.session.connect_timeout, |w| w.limit)
            }
            _ => Micros::NEVER,
        }
    }

    /// Servers need not send a session message; this one should have.
    pub(super) fn session_overdue(&mut self, now: Micros) {
        if self.session_deadline() > now {
            return;
        }
        if let Some(Waiting { event, limit }) = self.waiting() {
            let detail = format!("the server did not say `{event}` within {limit} of the connection");
            let detail = self.with_complaint(detail);
            self.fail(now, (FailureClass::Unready, detail));
        } else {
            let limit = self.plan.session.connect_timeout;
            self.session = None;
            self.start_afresh(
                now,
                &format!("the server did not say within {limit} whether the session goes on"),
            );
        }
    }

    /// What was seen, with what the description of the dialect did not see.
    pub(super) fn with_complaint(&self, detail: String) -> String {
        match self.dialect.as_ref().and_then(|d| d.complaint()) {
            Some(complaint) => format!("{detail}; {complaint}"),
            None => detail,
        }
    }

    /// A new session: turns count from 0.
    fn begin_session(&mut self, now: Micros) {
        (self.session_turn, self.resumes, self.answered) = (0, 0, None);
        self.ready(now);
    }

    /// The session is another one: what was under way in the old one is lost.
    fn start_afresh(&mut self, now: Micros, why: &str) {
        let (class, detail) = self.loss.clone().unwrap_or_else(|| (FailureClass::Reset, String::new()));
        let detail = format!("{detail}; {why}");
        for mut turn in [self.turn.take_if(|t| t.on_wire), self.interrupted.take()].into_iter().flatten() {
            turn.cut_short();
            self.finish(now, turn, Outcome::Failed(class.clone(), detail.as_str().into()));
        }
        self.begin_session(now);
    }

    /// The session goes on, and so does the turn.
    fn go_on(&mut self, now: Micros) {
        self.resumes += 1;
        for turn in [&mut self.turn, &mut self.interrupted].into_iter().flatten().filter(|t| t.on_wire) {
            turn.resumed();
        }
        let signal = self.plan.turn.end == EndOfTurn::Signal;
        // The server may not have heard that it was interrupted: it is told again, which does no harm.
        if let (true, Some(turn), Some(dialect)) = (signal, &self.interrupted, &mut self.dialect) {
            dialect.interrupt(turn.record.session_turn, &mut self.frames);
            self.send_frames(now, None, true);
        }
        // Nor that its user had finished, when that was still waiting to be written, or was sent into a hole.
        let unheard = |t: &mut Box<Turn>| {
            let unwritten = std::mem::take(&mut t.unwritten) > 0;
            t.end_said && (t.end_swallowed || unwritten)
        };
        if self.turn.as_mut().is_some_and(unheard) {
            self.say_end(now, now, true);
        }
        self.ready(now);
    }

    /// From now on the device can speak.
    fn ready(&mut self, now: Micros) {
        if let Link::Online(online) = &mut self.link {
            online.ready = Some(now);
        }
        self.catch_up(now);
    }

    /// The connection, or the attempt to open one, is no more.
    pub(super) fn lost(&mut self, now: Micros, class: FailureClass, detail: String) {
        let established = matches!(self.link, Link::Online(_));
        self.notice(now, &class, established);
        self.count_swallowed();
        let fault: Fault = (class.clone(), detail.clone());
        if established {
            self.lost_at = Some(now);
            self.last_failure = Some((FailureClass::NotConnected, format!("{class}: {detail}")));
            self.loss = Some(fault);
        } else {
            self.refused = true;
            self.last_failure = Some(fault);
        }
        let away = self.plan.session.reconnect == Reconnect::None;
        let resumes = self.session.is_some() && !away;
        // A user who had begun to speak into a toy that was still connecting has been let down.
        let waits = established && !away;
        for turn in [self.turn.take(), self.interrupted.take()].into_iter().flatten() {
            let survives = if turn.on_wire { resumes } else { waits };
            if survives {
                let interrupted = turn.record.barge_in.is_some();
                *(if interrupted { &mut self.interrupted } else { &mut self.turn }) = Some(turn);
            } else {
                self.lose(now, turn, &class, &detail);
            }
        }
        let detail = detail.into();
        self.event(Event::ConnectionLost { class: class.clone(), detail, established });
        self.offline(now, Some(&class));
    }

    /// A turn is lost with its connection, or with the attempt to open one.
    fn lose(&mut self, now: Micros, mut turn: Box<Turn>, class: &FailureClass, detail: &str) {
        if turn.on_wire {
            turn.cut_short();
            self.finish(now, turn, Outcome::Failed(class.clone(), detail.into()));
        } else {
            self.finish_unheard(now, turn);
        }
    }

    pub(super) fn offline(&mut self, now: Micros, class: Option<&FailureClass>) {
        if let Link::Online(online) = self.link
            && now - online.since >= self.plan.session.reconnect_reset
        {
            self.attempts = 0;
        }
        (self.cough, self.dialect, self.knows_at) = (None, None, Micros::NEVER);
        if self.turn.is_none() {
            self.speech = None;
        }
        let delay = self.plan.reconnect_delay(self.id, self.returns, self.attempts, class);
        self.attempts = self.attempts.saturating_add(1);
        self.returns = self.returns.saturating_add(1);
        if delay == Micros::NEVER {
            self.session = None;
        } else {
            self.trouble_waits(delay);
        }
        self.link = Link::Offline { retry_at: now.saturating_add(delay) };
    }

    /// Hangs up on a server that has lost the thread, and comes back.
    pub(super) fn hang_up(&mut self, now: Micros, class: FailureClass, detail: &str) {
        self.notice(now, &class, true);
        self.out.push_back(Output::Hangup);
        self.lost_at = Some(now);
        self.session = None;
        self.last_failure = Some((FailureClass::NotConnected, format!("hung up after {class}: {detail}")));
        let event = Event::ConnectionLost { class: class.clone(), detail: detail.into(), established: true };
        self.event(event);
        self.offline(now, Some(&class));
    }

    pub(super) fn heartbeat(&mut self, now: Micros) {
        let Link::Online(mut online) = self.link else { return };
        if let Some(sent) = online.heartbeat_sent
            && sent + self.plan.session.keep_alive_timeout <= now
        {
            let limit = self.plan.session.keep_alive_timeout;
            self.out.push_back(Output::Hangup);
            return self.lost(
                now,
                FailureClass::HeartbeatLost,
                format!("a heartbeat was not answered within {limit}"),
            );
        }
        if online.next_heartbeat <= now
            && let Some(every) = self.keep_alive_every()
        {
            let planned = online.next_heartbeat;
            online.next_heartbeat = now + every;
            if online.heartbeat_sent.is_none() {
                let answered = self.plan.dialect.capabilities().keep_alive_answered;
                online.heartbeat_sent = answered.then_some(now);
                if let Some(dialect) = &mut self.dialect {
                    dialect.keep_alive(&mut self.frames);
                }
            }
            self.link = Link::Online(online);
            self.send_frames(planned, None, false);
        }
    }
}
