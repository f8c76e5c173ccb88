//! The loudspeaker of a connection, for servers that ask what of theirs has been played: the marks of a telephone network.

use std::collections::VecDeque;

use super::{Device, Link};
use crate::time::Micros;

/// When what has come will have been played, and what is to be said then.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    until: Micros,
    /// When each answer that waits is due, the oldest first.
    due: VecDeque<Micros>,
}

impl Speaker {
    /// Audio has come; all of it will have been played at `end`.
    pub(super) fn plays_until(&mut self, end: Micros) {
        self.until = self.until.max(end);
    }

    /// Audio of no turn has come, such as a greeting: it is played after what came before.
    pub(super) fn plays_for(&mut self, now: Micros, duration: Micros) {
        self.until = self.until.max(now) + duration;
    }

    /// What has not been played is dropped.
    pub(super) fn dropped(&mut self, now: Micros) {
        self.until = now;
        self.due.iter_mut().for_each(|due| *due = now);
    }

    /// When the next answer is due.
    pub(super) fn deadline(&self) -> Micros {
        self.due.front().copied().unwrap_or(Micros::NEVER)
    }

    /// So many answers wait in all.
    fn wait(&mut self, now: Micros, answers: usize) {
        while self.due.len() < answers {
            self.due.push_back(self.until.max(now));
        }
    }
}

impl Device {
    /// A message has been understood, and its answer may have to wait.
    pub(super) fn answers_wait(&mut self, now: Micros) {
        let waiting = self.dialect.as_ref().map_or(0, |d| d.unplayed());
        self.speaker.wait(now, waiting);
    }

    /// Answers what has been played.
    pub(super) fn played(&mut self, now: Micros) {
        while matches!(self.link, Link::Online(_)) && self.speaker.deadline() <= now {
            let planned = self.speaker.due.pop_front().unwrap_or(now);
            if let Some(dialect) = &mut self.dialect {
                dialect.played(&mut self.frames);
            }
            self.send_frames(planned, None, false);
        }
    }
}
