//! The beginning of a session, and its second life: opened, parked when the connection is lost, resumed on another.

use super::listen::Heard;
use super::{Mark, Session, Talk};
use crate::audio::{AudioFormat, Codec};
use crate::dialect::{Answer, Encoding, OpenRequest};
use crate::reference::ears::Ear;
use crate::reference::pipeline::Said;
use crate::reference::sessions::{Parked, Resumption};
use crate::reference::vad::Vad;
use crate::scenario::{Fault, ResumeReply};
use crate::time::Micros;

/// Audio of devices that do not say what they send.
const DEFAULT_UP: AudioFormat = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
/// Audio for devices that do not say what they want.
pub const DEFAULT_DOWN: AudioFormat = AudioFormat { codec: Codec::Opus, sample_rate: 24_000 };

/// How long a device that comes back waits for its old connection to let go of the session: one that stands still does not.
const LET_GO: Micros = Micros::from_secs(1);

/// What device and server have agreed on; a session only goes on with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reference) struct Agreed {
    up: AudioFormat,
    down: AudioFormat,
    encoding: Option<Encoding>,
    vad: bool,
}

impl Agreed {
    fn new(open: &OpenRequest) -> Self {
        Self {
            up: open.up.unwrap_or(DEFAULT_UP),
            down: open.down.unwrap_or(DEFAULT_DOWN),
            encoding: open.encoding,
            vad: open.vad,
        }
    }
}

impl Session {
    pub(super) fn open(&mut self, now: Micros, open: OpenRequest) {
        let plan = &self.world.plan;
        let wanted = plan.token.as_ref().map(|t| t.reveal());
        if !self.authorised && wanted.is_some() && open.token.as_deref() != wanted {
            self.error(None, "auth", "the bearer token is missing or wrong".to_owned());
            return self.close(now, 4401, "not authorised".to_owned());
        }
        if open.resume.is_some() {
            return self.ask_again(now, Box::new(open), now + LET_GO);
        }
        self.begin(now, Agreed::new(&open));
    }

    /// A session that begins.
    fn begin(&mut self, now: Micros, agreed: Agreed) {
        let (ear, replies) = match (Ear::new(agreed.up), self.world.replies.get(agreed.down)) {
            (Ok(ear), Ok(replies)) => (ear, replies),
            (Err(why), _) | (_, Err(why)) => {
                self.error(None, "unsupported_format", why);
                return self.close(now, 1003, "unsupported audio format".to_owned());
            }
        };
        let vad = agreed.vad.then(|| Vad::new(self.world.plan.vad_silence));
        let tape = self.world.heard.as_ref().and_then(|shelf| shelf.tape(agreed.up));
        self.talk = Some(Box::new(Talk {
            agreed,
            replies,
            ear,
            tape,
            vad,
            heard: Heard::default(),
            reply: None,
            said: None,
            next_turn: 0,
        }));
        self.ready(false);
    }

    fn ready(&mut self, resumed: bool) {
        let Some(talk) = &self.talk else {
            return;
        };
        let (session, down) = (self.world.sessions.name(self.number), talk.agreed.down);
        self.answer(Answer::Ready { session, down, resumed }, Mark::default());
    }

    /// Goes on with the session that the device asks for, waits for it until then, or begins another.
    pub(super) fn ask_again(&mut self, now: Micros, open: Box<OpenRequest>, until: Micros) {
        let agreed = Agreed::new(&open);
        let name = open.resume.as_deref().unwrap_or_default();
        match self.world.sessions.resume(name, &agreed, self.number, &self.line, &self.waker) {
            Resumption::Here(number, parked) => self.go_on(now, number, *parked),
            Resumption::Asked if now < until => self.awaited = Some((open, until)),
            Resumption::Asked | Resumption::Unknown => self.begin(now, agreed),
        }
    }

    /// The device is back.
    fn go_on(&mut self, now: Micros, number: u64, parked: Parked) {
        let Parked { mut talk, mut rows, .. } = parked;
        rows.iter_mut().for_each(|row| row.resumed = true);
        talk.heard.resumed = talk.heard.first.is_some();
        let pipeline = talk.reply.as_mut().and_then(|r| r.pipeline.as_mut());
        if let Some(pipeline) = pipeline {
            pipeline.hand_to(&self.waker);
            // Its stages may have gone on before; what is said goes on now.
            pipeline.settle(now);
            pipeline.go_on(now);
        }
        (self.number, self.talk, self.rows) = (number, Some(talk), rows);
        self.ready(true);
        if self.world.plan.resume_reply == ResumeReply::Drop {
            self.cut(now);
        }
        self.speak(now);
    }

    /// The connection is lost: the session waits for its device.
    pub(super) fn park(&mut self, now: Micros, mut talk: Box<Talk>) {
        let how = self.world.plan.resume_reply;
        if talk.reply.is_none() {
            talk.reply = talk.said.take().map(|r| *r);
        }
        talk.said = None;
        if let Some(reply) = &mut talk.reply {
            // Faults that end a connection have struck.
            if let Some(Fault::CloseMidReply | Fault::ResetMidReply | Fault::HugeFrame) = reply.fault {
                reply.fault = None;
            }
            if how == ResumeReply::Replay {
                reply.written = Said::default();
            }
            if how == ResumeReply::Drop {
                let (turn, pipeline) = (reply.turn, reply.pipeline.take());
                self.finish_pipeline(turn, pipeline, now);
            } else if let Some(pipeline) = &mut reply.pipeline {
                pipeline.rewind(reply.written);
            }
        }
        let parked = Parked::new(talk, std::mem::take(&mut self.rows));
        self.world.sessions.park(now, self.number, &self.line, parked, &self.world.truth);
    }
}
