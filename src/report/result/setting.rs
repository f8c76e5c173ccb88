//! What a run was of: the server, what devices spoke, and what they said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A phase of the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadPhase {
    /// Its name, for people.
    pub name: String,
    /// Its begin.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
}

/// The server under test.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TargetInfo {
    /// The URL without secrets.
    pub url: String,
    /// The dialect.
    pub dialect: String,
    /// What a first token is in this dialect: `token`, `sentence`, `reply`, `none`.
    pub text_granularity: String,
    /// True when it was the embedded reference server.
    pub embedded: bool,
    /// True for wss.
    pub tls: bool,
    /// True when certificates were not checked.
    pub insecure: bool,
}

/// What the rules of a described dialect have seen, over all connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialectResult {
    /// Connections that were counted.
    pub connections: u64,
    /// The rules, in the order of the description.
    pub rules: Vec<RuleResult>,
    /// Messages that no rule has matched.
    pub unmatched: u64,
    /// An example of each shape of them, without secrets.
    pub examples: Vec<UnmatchedResult>,
}

/// How often a rule has fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleResult {
    /// Its name.
    pub name: String,
    /// What it means: `audio`, `final`, …
    pub meaning: String,
    /// How often.
    pub fired: u64,
}

/// Messages of one shape that no rule has matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnmatchedResult {
    /// What they have in common.
    pub shape: String,
    /// How many were looked at.
    pub count: u64,
    /// One of them, cut.
    pub example: String,
}

/// A fixture that was spoken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FixtureInfo {
    /// Its name.
    pub id: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Length of the file.
    pub length_us: i64,
    /// First audible sample.
    pub speech_start_us: i64,
    /// End of speech.
    pub speech_end_us: i64,
}

/// The audio settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AudioInfo {
    /// The codec.
    pub codec: String,
    /// Samples per second, up.
    pub sample_rate: u32,
    /// Samples per second, down.
    pub reply_sample_rate: u32,
    /// Target bit rate; 0 for codecs without.
    pub bitrate: u32,
    /// Codec frame.
    pub frame_us: i64,
    /// Audio per message.
    pub chunk_us: i64,
    /// The codec's look-ahead.
    pub lookahead_us: i64,
    /// `binary` or `base64`.
    pub encoding: String,
    /// `signal` or `vad`.
    pub end_of_turn: String,
    /// The prebuffer that TTFA and stalls are judged at.
    pub prebuffer_us: i64,
    /// While speaking, computed: kbit/s up on the wire with WebSocket, TLS, TCP (20) and IPv4 headers.
    pub wire_kbps_up: f64,
    /// While speaking: messages per second up.
    pub messages_per_s_up: f64,
}
