//! The embedded reference server.

use super::Check;
use crate::dialect::Dialect;
use crate::scenario::value::Value;
use crate::scenario::{Fault, Freeze, Pipeline, ReferencePlan, ResumeReply, Secret, ServerEvent};
use crate::time::Micros;

impl Check<'_> {
    pub(super) fn reference(&self, seed: u64, dialect: Dialect) -> ReferencePlan {
        ReferencePlan {
            preset: self.choice("reference.preset"),
            seed,
            dialect,
            stt: self.dist("reference.stt"),
            llm: self.dist("reference.llm"),
            token_rate: self.float("reference.token_rate"),
            tts: self.dist("reference.tts"),
            tts_speed: self.float("reference.tts_speed"),
            pipeline: match self.choice("reference.pipeline").as_str() {
                "serial" => Pipeline::Serial,
                _ => Pipeline::Overlapped,
            },
            stt_slots: self.u32("reference.stt_slots"),
            llm_slots: self.u32("reference.llm_slots"),
            tts_slots: self.u32("reference.tts_slots"),
            partials: self.time("reference.partials"),
            chunk: self.time("reference.chunk"),
            burst: self.time("reference.burst"),
            vad_silence: self.time("reference.vad_silence"),
            vad_level: self.float("reference.vad_level"),
            vad_barge_in: self.time("reference.vad_barge_in"),
            token: self.optional_text("reference.token").map(|t| Secret::new(t.value)),
            max_connections: self.u32("reference.max_connections"),
            idle_timeout: self.time("reference.idle_timeout"),
            max_message: self.u32("reference.max_message"),
            max_backlog: self.u32("reference.max_backlog"),
            threads: self.u32("reference.threads"),
            freeze: self.freeze(),
            log_chunks: self.bool("reference.log_chunks"),
            faults: self.faults(),
            resume: self.time("reference.resume"),
            resume_reply: match self.choice("reference.resume_reply").as_str() {
                "replay" => ResumeReply::Replay,
                "drop" => ResumeReply::Drop,
                _ => ResumeReply::Continue,
            },
            max_parked: self.u32("reference.max_parked"),
            idle_cut: self.time("reference.idle_cut"),
            write_timeout: self.time("reference.write_timeout"),
            handshake_delay: self.time("reference.handshake_delay"),
            pongs: self.bool("reference.pongs"),
            events: self
                .list("reference.events")
                .iter()
                .filter_map(|t| ServerEvent::parse(&t.value).ok())
                .collect(),
        }
    }

    pub(super) fn freeze_rules(&mut self) {
        let (every, length) = ("reference.freeze.every", "reference.freeze.length");
        if self.any_broken(&[every, length]) {
            return;
        }
        let given = self.value(length).is_some();
        match (self.time(every) > Micros::ZERO, given) {
            (false, true) => self.fail(
                &[length],
                format!("`{length}` has no effect: `{every}` is off"),
                format!("say how often: {every} = \"20s\""),
            ),
            (true, false) => self.fail(
                &[every],
                format!("`{every}` without `{length}`"),
                format!("say for how long: {length} = \"2s\""),
            ),
            (true, true) if self.time(length) >= self.time(every) => self.fail(
                &[length, every],
                format!("`{length}` is not shorter than `{every}`"),
                "the server would never move",
            ),
            _ => {}
        }
    }

    /// The server's trouble: events that can be read, and a cut that comes before the goodbye.
    pub(super) fn trouble_rules(&mut self) {
        let parts = self.setting("reference.events").map(|s| s.parts.clone()).unwrap_or_default();
        for (text, place) in self.list("reference.events").into_iter().zip(parts) {
            if let Err(e) = ServerEvent::parse(&text.value) {
                self.wrong_item(&text, place, e);
            }
        }
        let (cut, idle) = ("reference.idle_cut", "reference.idle_timeout");
        if !self.any_broken(&[cut, idle]) && self.time(cut) >= self.time(idle) {
            self.fail(
                &[cut, idle],
                format!("`{cut}` has no effect: `{idle}` closes such connections before"),
                format!("make `{cut}` shorter than `{idle}`, or `{idle}` longer"),
            );
        }
    }

    pub(super) fn freeze(&self) -> Option<Freeze> {
        let every = self.time("reference.freeze.every");
        (every > Micros::ZERO).then(|| Freeze { every, length: self.time("reference.freeze.length") })
    }

    pub(super) fn faults(&self) -> Vec<(Fault, f64)> {
        match self.value("reference.faults") {
            Some(Value::Faults(faults)) => faults.iter().copied().filter(|(_, share)| *share > 0.0).collect(),
            _ => Vec::new(),
        }
    }
}
