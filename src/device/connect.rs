//! Coming, losing the connection, coming back.

use super::{Device, Link, Online, Output};
use crate::event::{Event, FailureClass, Outcome};
use crate::time::Micros;
use crate::transport::ConnectTimes;

impl Device {
    pub(super) fn connect(&mut self, planned: Micros) {
        self.link = Link::Connecting { planned };
        self.event(Event::Connecting);
        self.out.push_back(Output::Connect);
    }

    pub(super) fn connected(&mut self, now: Micros, times: ConnectTimes) {
        let Link::Connecting { planned } = self.link else { return };
        let keep_alive = self.plan.session.keep_alive;
        self.link = Link::Online(Online {
            planned,
            since: now,
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
        (self.opened, self.attempts, self.session_turn) = (true, 0, 0);
        let mut dialect = self.plan.dialect.device(&self.plan.setup, self.id);
        dialect.open(None, &mut self.frames);
        self.dialect = Some(dialect);
        self.send_frames(now, None, true);
    }

    /// The connection, or the attempt to open one, is no more.
    pub(super) fn lost(&mut self, now: Micros, class: FailureClass, detail: String) {
        let established = matches!(self.link, Link::Online(_));
        let in_turn = self.turn.is_some() || self.interrupted.is_some();
        for turn in [self.turn.take(), self.interrupted.take()].into_iter().flatten() {
            self.finish(now, turn, Outcome::Failed(class.clone(), detail.as_str().into()));
        }
        self.event(Event::ConnectionLost {
            class: class.clone(),
            detail: detail.as_str().into(),
            established,
        });
        if established {
            self.lost_at = Some(now);
            self.last_failure = Some((FailureClass::NotConnected, format!("{class}: {detail}")));
        } else {
            self.last_failure = Some((class, detail));
        }
        // A user who had begun to speak into a toy that was still connecting has been let down.
        if !in_turn && !established && self.next_start.is_some_and(|t| t <= now) {
            self.fail_unstarted(now);
        }
        self.offline(now);
    }

    pub(super) fn offline(&mut self, now: Micros) {
        (self.speech, self.cough, self.dialect) = (None, None, None);
        let delay = self.plan.backoff(self.attempts, self.draw.jitter);
        self.attempts = self.attempts.saturating_add(1);
        self.link = Link::Offline { retry_at: now + delay };
    }

    /// Hangs up on a server that has lost the thread, and comes back.
    pub(super) fn hang_up(&mut self, now: Micros, class: FailureClass, detail: &str) {
        self.out.push_back(Output::Hangup);
        self.lost_at = Some(now);
        self.last_failure = Some((FailureClass::NotConnected, format!("hung up after {class}: {detail}")));
        self.event(Event::ConnectionLost { class, detail: detail.into(), established: true });
        self.offline(now);
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
            && let Some(every) = self.plan.session.keep_alive
        {
            let planned = online.next_heartbeat;
            online.next_heartbeat = now + every;
            if online.heartbeat_sent.is_none() {
                online.heartbeat_sent = Some(now);
                if let Some(dialect) = &mut self.dialect {
                    dialect.keep_alive(&mut self.frames);
                }
            }
            self.link = Link::Online(online);
            self.send_frames(planned, None, false);
        }
    }
}
