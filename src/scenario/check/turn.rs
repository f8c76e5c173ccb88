//! Turns, interruptions and sessions.

use super::Check;
use crate::dialect::Dialect;
use crate::scenario::{BackchannelPlan, BargeInPlan, EndOfTurn, Flush, Reconnect, SessionPlan, TurnPlan};
use crate::time::Micros;

impl Check<'_> {
    pub(super) fn turn_rules(&mut self, dialect: &Dialect) {
        let can = dialect.capabilities();
        let vad = self.choice("turn.end") == "vad";
        let (barge_in, backchannel) =
            (self.share("turn.barge_in.share"), self.share("turn.backchannel.share"));
        if vad && !can.vad {
            self.fail(
                &["turn.end"],
                format!("with the dialect `{}` the server cannot find the end of speech", can.name),
                "write `end = \"signal\"`",
            );
        }
        if !vad && !can.signal && can.vad {
            self.fail(
                &["turn.end"],
                format!("with the dialect `{}` a device cannot say that its user has finished", can.name),
                "write `end = \"vad\"`",
            );
        }
        if barge_in > 0.0 && can.stt {
            self.fail(
                &["turn.barge_in.share"],
                format!("the dialect `{}` recognises speech: there is no reply to interrupt", can.name),
                "leave `[turn.barge_in]` out",
            );
        } else if barge_in > 0.0 && !can.interrupt && !(vad && can.vad) {
            self.fail(
                &["turn.barge_in.share"],
                format!("the dialect `{}` has no way to interrupt a reply", can.name),
                "leave `[turn.barge_in]` out",
            );
        }
        if backchannel > 0.0 && !vad {
            self.fail(
                &["turn.backchannel.share"],
                "a cough cannot be heard: with a talk button the microphone is closed during the reply",
                "write `turn.end = \"vad\"`, or leave `[turn.backchannel]` out",
            );
        }
        if backchannel > 0.0 && self.list("turn.backchannel.sounds").is_empty() {
            self.fail(
                &["turn.backchannel.sounds", "turn.backchannel.share"],
                "`turn.backchannel.sounds` is empty",
                "for example `sounds = [\"mm-hm\"]`",
            );
        }
        if barge_in + backchannel > 1.0 {
            self.fail(
                &["turn.backchannel.share", "turn.barge_in.share"],
                "more than all turns: `turn.barge_in.share` and `turn.backchannel.share` add up to more than 1",
                "a turn has at most one of them",
            );
        }
    }

    pub(super) fn session_rules(&mut self, dialect: &Dialect) {
        let reconnect = self.choice("session.reconnect");
        if !self.any_broken(&["session.reconnect_base", "session.reconnect_cap"])
            && reconnect != "fixed"
            && self.time("session.reconnect_base") > self.time("session.reconnect_cap")
        {
            self.fail(
                &["session.reconnect_base", "session.reconnect_cap"],
                "`session.reconnect_base` is above `session.reconnect_cap`",
                "the waiting time grows from the first to the second",
            );
        }
        let unused: &[&str] = match reconnect.as_str() {
            "none" => &["session.reconnect_base", "session.reconnect_cap", "session.reconnect_reset"],
            "fixed" => &["session.reconnect_cap"],
            _ => &[],
        };
        for path in unused {
            self.without_effect(path, "session.reconnect", &reconnect);
        }
        if self.choice("session.offline_speech") == "drop" {
            self.without_effect("session.offline_limit", "session.offline_speech", "drop");
        }
        if !self.bool("session.resume") {
            return;
        }
        let can = dialect.capabilities();
        if !can.resume {
            self.fail(
                &["session.resume"],
                format!("the dialect `{}` cannot say which session to go on with", can.name),
                "leave `session.resume` out",
            );
        }
        if reconnect == "none" {
            self.fail(
                &["session.resume"],
                "`session.resume` without reconnection",
                "a device that stays away resumes nothing: choose another `session.reconnect`",
            );
        }
    }

    pub(super) fn turn(&self) -> TurnPlan {
        let (barge_in, backchannel) =
            (self.share("turn.barge_in.share"), self.share("turn.backchannel.share"));
        TurnPlan {
            count: Some(self.u32("turn.count")).filter(|n| *n > 0),
            think: self.dist("turn.think"),
            end: match self.choice("turn.end").as_str() {
                "vad" => EndOfTurn::Vad,
                _ => EndOfTurn::Signal,
            },
            flush: match self.choice("turn.flush").as_str() {
                "chunk" => Flush::Chunk,
                _ => Flush::Frame,
            },
            timeout: self.time("turn.timeout"),
            gap_timeout: self.time("turn.gap_timeout"),
            barge_in: (barge_in > 0.0)
                .then(|| BargeInPlan { share: barge_in, after: self.dist("turn.barge_in.after") }),
            backchannel: (backchannel > 0.0).then(|| BackchannelPlan {
                share: backchannel,
                after: self.dist("turn.backchannel.after"),
                sounds: self.list("turn.backchannel.sounds").into_iter().map(|t| t.value).collect(),
            }),
        }
    }

    pub(super) fn session(&self) -> SessionPlan {
        SessionPlan {
            connect_timeout: self.time("session.connect_timeout"),
            keep_alive: Some(self.time("session.keep_alive")).filter(|t| *t > Micros::ZERO),
            keep_alive_timeout: self.time("session.keep_alive_timeout"),
            max_message: self.u32("session.max_message"),
            reconnect: match self.choice("session.reconnect").as_str() {
                "grpc" => Reconnect::Grpc,
                "fixed" => Reconnect::Fixed,
                "none" => Reconnect::None,
                _ => Reconnect::FullJitter,
            },
            reconnect_base: self.time("session.reconnect_base"),
            reconnect_cap: self.time("session.reconnect_cap"),
            reconnect_reset: self.time("session.reconnect_reset"),
            turns: Some(self.u32("session.turns")).filter(|n| *n > 0),
            resume: self.bool("session.resume"),
            offline_limit: match self.choice("session.offline_speech").as_str() {
                "drop" => Micros::ZERO,
                _ => self.time("session.offline_limit"),
            },
            locale: self.text("session.locale"),
            voice: self.text("session.voice"),
        }
    }
}
