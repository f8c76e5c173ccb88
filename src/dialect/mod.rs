//! Dialects: what the messages of a voice protocol mean, on the device's side and on the server's.
//!
//! A dialect is sans-IO: it turns what a device wants to say into frames, and frames into [`Meaning`]s. The same file
//! holds both sides, so that the reference server speaks every dialect that the devices speak.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::audio::{AudioFormat, Chunk};
use crate::transport::Frame;

pub mod codec;
pub mod envelope;
pub mod plain;

/// What a dialect's first text is: printed with every TTFT, and compared only with its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextGranularity {
    /// A language model token.
    Token,
    /// A whole sentence.
    Sentence,
    /// The whole reply.
    Reply,
    /// The protocol has no reply text: TTFT does not exist.
    None,
}

/// What a dialect can and cannot do; the scenario check refuses what it cannot.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The dialect's name.
    pub name: &'static str,
    /// What the first text is.
    pub text: TextGranularity,
    /// Audio formats it carries; empty means any.
    pub formats: &'static [AudioFormat],
    /// Base64-in-JSON audio exists.
    pub base64: bool,
    /// The device can say that it is being interrupted.
    pub interrupt: bool,
    /// The server can detect the end of speech by itself.
    pub vad: bool,
    /// A device can ask for the session that it had before.
    pub resume: bool,
}

/// How audio travels inside messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Raw binary frames.
    Binary,
    /// Base64 inside a JSON text frame.
    Base64,
}

/// What the connections of a run are about; shared by all devices.
#[derive(Clone, Debug)]
pub struct SessionSetup {
    /// Audio from the device.
    pub up: AudioFormat,
    /// Audio asked of the server.
    pub down: AudioFormat,
    /// How audio travels.
    pub encoding: Encoding,
    /// True when the server is to find the end of speech.
    pub vad: bool,
    /// Locale, for example `en-US`.
    pub locale: String,
    /// Voice asked for.
    pub voice: String,
}

/// What a frame from the server means to a device. `turn` is the id that the message carried, if it carried one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Meaning {
    /// The session is open.
    Ready {
        /// The server's name for it.
        session: Option<String>,
        /// The server goes on with the session that the device asked for.
        resumed: bool,
    },
    /// The server's own end-of-turn decision.
    SpeechStopped { turn: Option<u32> },
    /// Transcript so far.
    Partial { turn: Option<u32>, text: String },
    /// Transcript, final.
    Final { turn: Option<u32>, text: String },
    /// Reply text; `text` may be empty (an empty token is not a first token).
    Token { turn: Option<u32>, text: String },
    /// Reply audio: a codec payload.
    Audio { turn: Option<u32>, payload: Bytes },
    /// The reply is complete, or was cut when `interrupted`.
    ReplyDone { turn: Option<u32>, interrupted: bool },
    /// The server reports an error.
    Error {
        turn: Option<u32>,
        /// Machine-readable, for example `auth`, `format_mismatch`, `overloaded`.
        code: String,
        /// For people.
        message: String,
    },
    /// Answer to a keep-alive of ours.
    Pong,
    /// Understood, and without consequence; the label is for `debug`.
    Ignored(&'static str),
    /// Not understood: a protocol error; says why.
    Garbage(String),
}

/// A dialect as a device speaks it: one value per connection.
pub trait DeviceDialect: Send {
    /// First messages after connecting. `resume`: the session to go on with, in the server's words; a dialect that
    /// cannot say so ignores it.
    fn open(&mut self, resume: Option<&str>, out: &mut Vec<Frame>);

    /// A turn begins (before its first audio).
    fn turn_start(&mut self, turn: u32, out: &mut Vec<Frame>);

    /// The frame that carries a chunk. Cheap: called per chunk and device.
    fn audio(&mut self, chunk: &Prepared) -> Frame;

    /// The user stopped speaking.
    fn turn_end(&mut self, turn: u32, out: &mut Vec<Frame>);

    /// The user speaks over the reply to `turn`.
    fn interrupt(&mut self, turn: u32, out: &mut Vec<Frame>);

    /// A sign of life; answered by [`Meaning::Pong`] or by a transport-level [`Frame::Pong`].
    fn keep_alive(&mut self, out: &mut Vec<Frame>);

    /// What a frame means. One frame may mean several things.
    fn read(&mut self, frame: &Frame, out: &mut Vec<Meaning>);
}

/// A chunk as the dialect sends it: wrapped once per clip, shared by all devices.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The finished frame, where the dialect needs nothing per device in it.
    pub frame: Frame,
}

/// What a frame from a device means to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Request {
    /// Open a session.
    Open(Box<OpenRequest>),
    /// Speech: a codec payload.
    Audio(Bytes),
    /// The user stopped speaking.
    TurnEnd { turn: Option<u32> },
    /// Stop the reply.
    Interrupt { turn: Option<u32> },
    /// A sign of life that wants [`Answer::Pong`].
    Ping,
    /// Understood, and without consequence.
    Ignored,
    /// Not understood; says why.
    Garbage(String),
}

/// What a device asks for when it opens a session; fields that the dialect does not carry are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRequest {
    /// Audio that the device will send.
    pub up: Option<AudioFormat>,
    /// Audio that the device wants back.
    pub down: Option<AudioFormat>,
    /// How audio travels down.
    pub encoding: Option<Encoding>,
    /// True when the server is to find the end of speech.
    pub vad: bool,
    /// Bearer token given in the message (the header is checked before).
    pub token: Option<String>,
    /// The device's own name.
    pub device: Option<String>,
    /// The session to go on with, as the server named it.
    pub resume: Option<String>,
}

/// What the server says; the server's half of the dialect makes frames of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Answer {
    /// The session is open; `resumed`: the one that the device asked for goes on.
    Ready { session: String, down: AudioFormat, resumed: bool },
    /// The end of speech was detected.
    SpeechStopped { turn: u32 },
    /// Transcript so far.
    Partial { turn: u32, text: String },
    /// Transcript, final.
    Final { turn: u32, text: String },
    /// A token of the reply.
    Token { turn: u32, text: String },
    /// Reply audio: a codec payload. Dialects whose replies are one message collect until [`Answer::Done`].
    Audio { turn: u32, payload: Bytes },
    /// The reply is complete, or was cut.
    Done { turn: u32, interrupted: bool },
    /// An error.
    Error { turn: Option<u32>, code: &'static str, message: String },
    /// Answer to [`Request::Ping`].
    Pong,
}

/// A dialect as the reference server speaks it: one value per connection.
pub trait ServerDialect: Send {
    /// What a frame means.
    fn read(&mut self, frame: &Frame, out: &mut Vec<Request>);

    /// The frames that say it.
    fn write(&mut self, answer: Answer, out: &mut Vec<Frame>);
}

/// A dialect by name: makes both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// voxload's native, typed dialect: JSON for control and text, raw binary frames for audio.
    Envelope,
    /// Raw PCM16 at 16 kHz, `end_stream`, one binary message back.
    Plain,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 2] = [Self::Envelope, Self::Plain];

    /// The dialect with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.capabilities().name == name)
    }

    /// What it can do.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Envelope => envelope::CAPABILITIES,
            Self::Plain => plain::CAPABILITIES,
        }
    }

    /// The device's side of one connection.
    pub fn device(self, setup: &Arc<SessionSetup>, device: u32) -> Box<dyn DeviceDialect> {
        match self {
            Self::Envelope => Box::new(envelope::Device::new(Arc::clone(setup), device)),
            Self::Plain => Box::new(plain::Device::default()),
        }
    }

    /// The server's side of one connection.
    pub fn server(self) -> Box<dyn ServerDialect> {
        match self {
            Self::Envelope => Box::new(envelope::Server::default()),
            Self::Plain => Box::new(plain::Server::default()),
        }
    }

    /// Wraps a chunk for sending.
    pub fn prepare(self, chunk: &Chunk, encoding: Encoding) -> Prepared {
        let frame = match self {
            Self::Envelope => envelope::audio_frame(chunk, encoding),
            Self::Plain => Frame::Binary(chunk.payload.clone()),
        };
        Prepared { frame }
    }
}
