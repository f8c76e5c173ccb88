//! Speech: from a WAV file to chunks that are ready to send, and from received payloads back to what an ear hears.
//!
//! ```text
//! names ─▶ library, manifest ─▶ WAV ─▶ mono f32 (wav), speech found (speech) ─▶ Sound
//! Sound ─▶ resampled ─▶ codec ─▶ packets ─▶ chunk ─▶ Arc<[Chunk]>, encoded once, shared
//! reply payload ─▶ codec (decode, duration) ─▶ onset: the first audible sample
//! ```

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::Micros;

pub mod chunk;
pub mod codec;
pub mod level;
pub mod library;
pub mod manifest;
pub mod onset;
pub mod quality;
pub mod speech;
pub mod wav;

pub use chunk::{encode, encode_all, encode_reply};
pub use codec::{Decoder, EncodeError, PayloadError, duration};
pub use level::rms_dbfs;
pub use library::Library;
pub use onset::{Onset, OnsetFinder};

/// How speech is coded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Opus, RFC 6716.
    Opus,
    /// Linear PCM, 16 bit, little endian.
    Pcm16,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Codec {
    /// The name used in scenarios, protocols and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcm16 => "pcm16",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
        }
    }

    /// The codec with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Opus, Self::Pcm16, Self::Mulaw, Self::Alaw].into_iter().find(|c| c.name() == name)
    }
}

/// What a receiver must know to decode a stream: sent in `session_start`, compared for format mismatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioFormat {
    /// The codec.
    pub codec: Codec,
    /// Samples per second; for Opus the rate at which encoder and decoder run.
    pub sample_rate: u32,
}

impl AudioFormat {
    /// How a format is written.
    pub const WRITTEN: &str =
        "a codec (`opus`, `pcm16`, `mulaw`, `alaw`) and samples per second, 8000 to 48000: `opus/24000`";

    /// Reads what is [written](Self::WRITTEN) so.
    pub fn parse(text: &str) -> Option<Self> {
        let (codec, rate) = text.split_once('/')?;
        let codec = Codec::from_name(codec.trim())?;
        let sample_rate = rate.trim().parse().ok().filter(|r| (8_000..=48_000).contains(r))?;
        Some(Self { codec, sample_rate })
    }
}

/// Everything that decides how a fixture is encoded: the key under which encoded audio is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodecSettings {
    /// Codec and sample rate.
    pub format: AudioFormat,
    /// Target bit rate in bit/s; Opus only.
    pub bitrate: u32,
    /// Duration of one codec frame (Opus: 2.5, 5, 10, 20, 40 or 60 ms). For the other codecs: the granularity at
    /// which the last chunk of a turn may be cut.
    pub frame: Micros,
    /// Duration of one message: a whole number of frames.
    pub chunk: Micros,
    /// Opus complexity, 0–10.
    pub complexity: u8,
    /// Opus discontinuous transmission.
    pub dtx: bool,
}

/// Mono sound with what is known about it.
#[derive(Clone, Debug)]
pub struct Sound {
    /// The fixture's name, for example `order-pizza`.
    pub id: String,
    /// What is said.
    pub transcript: Option<String>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples, −1 … 1.
    pub samples: Arc<[f32]>,
    /// True when nobody said where speech begins and ends, and it was detected.
    pub detected: bool,
    /// First audible sample.
    pub speech_start: u64,
    /// One past the last audible sample: `T_eos` is measured from here.
    pub speech_end: u64,
}

/// One message's worth of encoded speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When it exists: offset from the planned start of the utterance, look-ahead included.
    pub due: Micros,
    /// How much audio it carries.
    pub media: Micros,
    /// The codec payload of the message (several Opus frames are one RFC 6716 packet up to 120 ms,
    /// self-delimited packets beyond).
    pub payload: Bytes,
}

/// A fixture, encoded once for the whole run.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The fixture's name.
    pub id: String,
    /// What is said.
    pub transcript: Option<String>,
    /// How it was encoded.
    pub settings: CodecSettings,
    /// First audible sample, offset from the start of the utterance.
    pub speech_start: Micros,
    /// End of speech (`T_eos − t0`), offset from the start of the utterance.
    pub speech_end: Micros,
    /// The codec's look-ahead, already part of every [`Chunk::due`].
    pub lookahead: Micros,
    /// The speech: up to the release of the button (`signal`), or the whole file (`vad`).
    pub speech: Arc<[Chunk]>,
    /// Encoded silence, to be streamed in a loop after the speech; `due` counts from the start of the loop, and
    /// the loop is `silence.len()` whole chunks long. Empty unless asked for.
    pub silence: Arc<[Chunk]>,
}

impl Clip {
    /// When the last chunk of the speech is due, offset from the start of the utterance.
    pub fn last_due(&self) -> Micros {
        self.speech.last().map_or(Micros::ZERO, |c| c.due)
    }
}
