//! What the embedded reference server plays.

use serde::{Deserialize, Serialize};

use super::{Dist, Secret, ServerEvent};
use crate::dialect::Dialect;
use crate::time::Micros;

/// How the reference server's stages are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pipeline {
    /// Synthesis starts with the first sentence, while the model still writes.
    Overlapped,
    /// Each stage waits for the one before to finish.
    Serial,
}

/// The embedded reference server. Travels to the child process as JSON on standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferencePlan {
    /// The preset that the stages were filled in from.
    pub preset: String,
    /// Seed of its latencies.
    pub seed: u64,
    /// What it speaks.
    pub dialect: Dialect,
    /// Recogniser: end of speech → final transcript.
    pub stt: Dist,
    /// Language model: final transcript → first token.
    pub llm: Dist,
    /// Tokens per second after the first.
    pub token_rate: f64,
    /// Synthesiser: text → first audio.
    pub tts: Dist,
    /// Seconds of speech made per second.
    pub tts_speed: f64,
    /// Overlapped or serial.
    pub pipeline: Pipeline,
    /// Requests that a stage works on at once; 0: no limit.
    pub stt_slots: u32,
    /// Likewise.
    pub llm_slots: u32,
    /// Likewise.
    pub tts_slots: u32,
    /// Partial transcripts at this interval while the user speaks; zero: none.
    pub partials: Micros,
    /// Audio per reply message.
    pub chunk: Micros,
    /// Reply audio sent at once before pacing in real time.
    pub burst: Micros,
    /// Silence that ends a turn, with server-side detection.
    pub vad_silence: Micros,
    /// RMS level above which a frame counts as speech, dBFS.
    pub vad_level: f64,
    /// Speech during a reply, uninterrupted, that counts as a barge-in, with server-side detection; zero: never.
    pub vad_barge_in: Micros,
    /// The bearer token that devices must show.
    pub token: Option<Secret>,
    /// Most connections; 0: no limit. More are answered with 503.
    pub max_connections: u32,
    /// Connections without a message for this long are closed.
    pub idle_timeout: Micros,
    /// Largest message accepted, bytes; larger ones are answered with close code 1009.
    pub max_message: u32,
    /// Reply messages waiting for a slow device before the reply is held back, bytes.
    pub max_backlog: u32,
    /// Threads.
    pub threads: u32,
    /// When it stands still; `None`: never.
    pub freeze: Option<Freeze>,
    /// Whether to log each message of audio beside the turns.
    pub log_chunks: bool,
    /// Misbehaviour, each with its share of the turns or connections.
    pub faults: Vec<(Fault, f64)>,
    /// For how long a session whose connection was lost is kept; zero: not at all.
    pub resume: Micros,
    /// What becomes of its reply.
    pub resume_reply: ResumeReply,
    /// Most sessions that are kept; above that, the oldest is given up.
    pub max_parked: u32,
    /// Connections without a message either way for this long are cut without a goodbye; zero: never.
    pub idle_cut: Micros,
    /// Connections whose socket has taken nothing for this long, while something waited for it, are reset; zero: never.
    pub write_timeout: Micros,
    /// How long an upgrade waits for its answer.
    pub handshake_delay: Micros,
    /// Whether pings are answered.
    pub pongs: bool,
    /// Trouble on a timetable.
    pub events: Vec<ServerEvent>,
}

/// What becomes of a reply whose device was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResumeReply {
    /// It goes on with what had not been written.
    Continue,
    /// It is said again from its start.
    Replay,
    /// It is dropped, and the turn ended.
    Drop,
}

/// A server that stands still for `length` at the end of each period `every`, counted from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The period.
    pub every: Micros,
    /// How long it stands still; less than the period.
    pub length: Micros,
}

impl Freeze {
    /// The first freeze that ends after `at`: from, until.
    pub fn next(&self, at: Micros) -> (Micros, Micros) {
        let every = self.every.0.max(1);
        let until = Micros((at.0.div_euclid(every) + 1).saturating_mul(every));
        (until - self.length, until)
    }
}

/// What the reference server can be told to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Connections: upgrade refused with 503.
    RefuseUpgrade,
    /// Connections: 401, whatever the token.
    RefuseAuth,
    /// Turns: close with 1011 in the middle of the reply.
    CloseMidReply,
    /// Turns: reset in the middle of the reply.
    ResetMidReply,
    /// Turns: text that is not JSON.
    Garbage,
    /// Turns: reply audio as a text frame.
    TextForBinary,
    /// Turns: a frame of 100 MB is announced and begun.
    HugeFrame,
    /// Turns: reply messages with another turn's id.
    WrongTurn,
    /// Turns: no answer at all.
    Silence,
    /// Turns: the reply begins, then stops without an end.
    StallMidReply,
    /// Turns: an `error` message instead of a reply.
    Error,
    /// Turns: reply audio in another format than agreed.
    WrongFormat,
    /// Turns: a reply of silence.
    SilentReply,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 13] = [
        Self::RefuseUpgrade,
        Self::RefuseAuth,
        Self::CloseMidReply,
        Self::ResetMidReply,
        Self::Garbage,
        Self::TextForBinary,
        Self::HugeFrame,
        Self::WrongTurn,
        Self::Silence,
        Self::StallMidReply,
        Self::Error,
        Self::WrongFormat,
        Self::SilentReply,
    ];

    /// The name used in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RefuseUpgrade => "refuse_upgrade",
            Self::RefuseAuth => "refuse_auth",
            Self::CloseMidReply => "close_mid_reply",
            Self::ResetMidReply => "reset_mid_reply",
            Self::Garbage => "garbage",
            Self::TextForBinary => "text_for_binary",
            Self::HugeFrame => "huge_frame",
            Self::WrongTurn => "wrong_turn",
            Self::Silence => "silence",
            Self::StallMidReply => "stall_mid_reply",
            Self::Error => "error",
            Self::WrongFormat => "wrong_format",
            Self::SilentReply => "silent_reply",
        }
    }
}
