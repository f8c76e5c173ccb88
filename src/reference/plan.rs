//! A plan to start from.

use crate::dialect::Dialect;
use crate::scenario::{Dist, Pipeline, ReferencePlan, ResumeReply};
use crate::time::Micros;

impl ReferencePlan {
    /// A server that answers at once and without limits, to change from.
    pub fn instant() -> Self {
        let at_once = Dist::Constant(Micros::ZERO);
        Self {
            preset: "instant".to_owned(),
            seed: 1,
            dialect: Dialect::Envelope,
            stt: at_once.clone(),
            llm: at_once.clone(),
            token_rate: 10_000.0,
            tts: at_once,
            tts_speed: 1_000.0,
            pipeline: Pipeline::Overlapped,
            stt_slots: 0,
            llm_slots: 0,
            tts_slots: 0,
            partials: Micros::ZERO,
            chunk: Micros::from_millis(60),
            burst: Micros::from_millis(200),
            vad_silence: Micros::from_millis(500),
            vad_level: -40.0,
            vad_barge_in: Micros::from_millis(600),
            token: None,
            max_connections: 0,
            idle_timeout: Micros::from_secs(120),
            max_message: 1024 * 1024,
            max_backlog: 256 * 1024,
            threads: 1,
            freeze: None,
            log_chunks: false,
            faults: Vec::new(),
            resume: Micros::ZERO,
            resume_reply: ResumeReply::Continue,
            max_parked: 10_000,
            idle_cut: Micros::ZERO,
            write_timeout: Micros::ZERO,
            handshake_delay: Micros::ZERO,
            pongs: true,
            events: Vec::new(),
        }
    }
}
