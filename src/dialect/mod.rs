//! Dialects: what the messages of a voice protocol mean, on the device's side and on the server's.
//!
//! A dialect is sans-IO: it turns what a device wants to say into frames, and frames into [`Meaning`]s. The same file
//! holds both sides, so that the reference server speaks every dialect that the devices speak.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::audio::{AudioFormat, Chunk, Codec};
use crate::scenario::{DeviceValues, Secret};
use crate::seed::Seed;
use crate::time::Micros;
use crate::transport::Frame;

pub mod codec;
pub mod connect;
pub mod describe;
pub mod envelope;
pub mod learn;
pub mod plain;

use self::describe::{Choice, Described};

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
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// The dialect's name.
    pub name: Cow<'static, str>,
    /// What the first text is.
    pub text: TextGranularity,
    /// Audio formats that it carries from the device; empty means any. The first is the usual one.
    pub formats: Cow<'static, [AudioFormat]>,
    /// Likewise, from the server.
    pub down_formats: Cow<'static, [AudioFormat]>,
    /// Base64-in-JSON audio exists.
    pub base64: bool,
    /// Audio in binary frames exists.
    pub binary: bool,
    /// The device can say that it is being interrupted.
    pub interrupt: bool,
    /// It says so by beginning the next turn: the last one of a session cannot be interrupted.
    pub interrupt_by_turn: bool,
    /// The device can say that its user has finished.
    pub signal: bool,
    /// The server can detect the end of speech by itself.
    pub vad: bool,
    /// That is the usual way.
    pub vad_first: bool,
    /// A device can ask for the session that it had before.
    pub resume: bool,
    /// It recognises speech, and replies with nothing else: a turn is complete with its final transcript.
    pub stt: bool,
    /// The usual length of an audio message.
    pub chunk: Option<Micros>,
    /// The usual length of a codec frame.
    pub frame: Option<Micros>,
    /// The shortest and the longest audio message.
    pub chunks: Option<(Micros, Micros)>,
    /// No message ends a reply: it is over when nothing has come for so long after it would have been played.
    pub quiet: Option<Micros>,
    /// With server-side detection, silence is streamed also during replies and pauses.
    pub open_microphone: bool,
    /// With server-side detection, at most so much silence is streamed after the speech.
    pub tail_max: Option<Micros>,
    /// How long after an interruption messages without an id may still be of the old reply.
    pub swallow: Micros,
    /// A reply is one message.
    pub whole_reply: bool,
    /// Largest message that a device may send, bytes.
    pub max_message: Option<u32>,
    /// Longest session.
    pub session_limit: Option<Micros>,
    /// Signs of life are sent so often when the scenario does not say.
    pub keep_alive_every: Option<Micros>,
    /// They are answered.
    pub keep_alive_answered: bool,
    /// Close code of a device that leaves.
    pub close_code: u16,
}

impl Capabilities {
    /// A dialect of that name that can do what most can; to change from.
    pub const fn named(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            text: TextGranularity::Token,
            formats: Cow::Borrowed(&[]),
            down_formats: Cow::Borrowed(&[]),
            base64: false,
            binary: true,
            interrupt: false,
            interrupt_by_turn: false,
            signal: true,
            vad: false,
            vad_first: false,
            resume: false,
            stt: false,
            chunk: None,
            frame: None,
            chunks: None,
            quiet: None,
            open_microphone: false,
            tail_max: None,
            // A second, stale "stop" has been seen half a second after the first.
            swallow: Micros::from_secs(1),
            whole_reply: false,
            max_message: None,
            session_limit: None,
            keep_alive_every: None,
            keep_alive_answered: true,
            close_code: 1000,
        }
    }
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
    /// What described dialects may ask for besides.
    pub given: Arc<Given>,
}

impl Default for SessionSetup {
    fn default() -> Self {
        let format = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
        Self {
            up: format,
            down: format,
            encoding: Encoding::Binary,
            vad: false,
            locale: String::new(),
            voice: String::new(),
            given: Arc::default(),
        }
    }
}

/// What the variables of described dialects are filled in from.
#[derive(Clone, Debug)]
pub struct Given {
    /// From which devices get their names.
    pub seed: Seed,
    /// `target.token`.
    pub token: Option<Secret>,
    /// Values per device.
    pub columns: Arc<DeviceValues>,
    /// Length of an audio message.
    pub chunk: Micros,
    /// Length of a codec frame.
    pub frame: Micros,
}

impl Default for Given {
    fn default() -> Self {
        let frame = Micros::from_millis(60);
        Self { seed: Seed(0), token: None, columns: Arc::default(), chunk: frame, frame }
    }
}

/// Said of what is [understood](Meaning::Ignored) and is nothing else.
pub const KNOWN: &str = "no consequence";

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
    /// Nothing that the description of the dialect knows.
    Unmatched,
    /// Not understood: a protocol error; says why.
    Garbage(String),
}

/// An event of the opening that a device waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub event: Arc<str>,
    /// How long after the connection it may come.
    pub limit: Micros,
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

    /// What the frames read so far are to be answered with: the next messages of the opening, pongs.
    fn replies(&mut self, _out: &mut Vec<Frame>) {}

    /// How many of its answers wait until the audio that came before them has been played.
    fn unplayed(&self) -> usize {
        0
    }

    /// The audio before the oldest of these has been played, or was dropped.
    fn played(&mut self, _out: &mut Vec<Frame>) {}

    /// What the opening waits for; `None`: the device may speak.
    fn waiting(&self) -> Option<Waiting> {
        None
    }

    /// The user speaks over the reply to `turn`, and the server is to notice by itself.
    fn barge_in(&mut self, _turn: u32) {}

    /// What is said before the connection is closed.
    fn goodbye(&mut self, _out: &mut Vec<Frame>) {}

    /// How long the answer to that is waited for; `None`: there is none, or it has come.
    fn parting(&self) -> Option<Micros> {
        None
    }

    /// What a frame says, where its bytes do not show it: JSON out of an envelope, or in a binary frame. For people; audio
    /// is not in it.
    fn content(&self, _frame: &Frame) -> Option<String> {
        None
    }

    /// What the description did not see on this connection, for turns that got no answer.
    fn complaint(&self) -> Option<String> {
        None
    }
}

/// A chunk as the dialect sends it: wrapped once per clip, shared by all devices.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The finished frame, where the dialect needs nothing per device in it; else what the dialect makes it from.
    pub frame: Frame,
    /// How much audio it carries.
    pub media: Micros,
}

/// What a frame from a device means to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Request {
    /// Open a session.
    Open(Box<OpenRequest>),
    /// Speech: a codec payload.
    Audio(Bytes),
    /// The user begins to speak; `vad`, where it is said here: the server is to find the end of speech.
    TurnStart { vad: Option<bool> },
    /// The user stopped speaking.
    TurnEnd { turn: Option<u32> },
    /// Stop the reply.
    Interrupt { turn: Option<u32> },
    /// A sign of life that wants [`Answer::Pong`].
    Ping,
    /// The device is about to leave.
    Goodbye,
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
    /// The device has said that its user begins to speak.
    Listening { turn: u32 },
    /// The server has noticed that the user speaks.
    SpeechStarted { turn: u32 },
    /// A token of the reply; `last`: there are no more.
    Token { turn: u32, text: String, last: bool },
    /// Reply audio: a codec payload. Dialects whose replies are one message collect until [`Answer::Done`].
    Audio { turn: u32, payload: Bytes },
    /// The reply is complete, or was cut.
    Done { turn: u32, interrupted: bool },
    /// An error.
    Error { turn: Option<u32>, code: &'static str, message: String },
    /// Answer to [`Request::Ping`].
    Pong,
    /// Answer to [`Request::Goodbye`].
    Goodbye,
}

/// How a device has asked for its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Path and query.
    pub target: String,
    /// Headers, as far as they are text.
    pub headers: Vec<(String, String)>,
}

/// A dialect as the reference server speaks it: one value per connection.
pub trait ServerDialect: Send {
    /// A device has connected; the server's name for the session. Where devices need not open their session with a
    /// message, it is open now.
    fn connected(
        &mut self,
        _session: &str,
        _handshake: &Handshake,
        _out: &mut Vec<Request>,
        _frames: &mut Vec<Frame>,
    ) {
    }

    /// What a frame means.
    fn read(&mut self, frame: &Frame, out: &mut Vec<Request>);

    /// The frames that say it.
    fn write(&mut self, answer: Answer, out: &mut Vec<Frame>);

    /// Frames that are to follow what was written last, each so much later: what real servers say too late.
    fn later(&mut self, _out: &mut Vec<(Micros, Frame)>) {}
}

/// A dialect: makes both sides. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// voxload's native, typed dialect: JSON for control and text, raw binary frames for audio.
    Envelope,
    /// Raw PCM16 at 16 kHz, `end_stream`, one binary message back.
    Plain,
    /// One that is described in TOML.
    Described(Arc<Described>),
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Envelope, Self::Envelope) | (Self::Plain, Self::Plain) => true,
            (Self::Described(a), Self::Described(b)) => a.text == b.text && a.choice == b.choice,
            _ => false,
        }
    }
}

impl Eq for Dialect {}

/// How a dialect travels to another process.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Portable {
    Native(String),
    Described { origin: String, text: String, choice: Choice },
}

impl Serialize for Dialect {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let portable = match self {
            Self::Described(d) => Portable::Described {
                origin: d.origin.clone(),
                text: d.text.clone(),
                choice: d.choice.clone(),
            },
            native => Portable::Native(native.capabilities().name.to_string()),
        };
        portable.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Dialect {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Portable::deserialize(d)? {
            Portable::Native(name) => {
                Self::native(&name).ok_or_else(|| D::Error::custom(format!("no dialect `{name}`")))
            }
            Portable::Described { origin, text, choice } => {
                Described::load(&origin, &text, choice).map(Self::from).map_err(D::Error::custom)
            }
        }
    }
}

impl From<Described> for Dialect {
    fn from(d: Described) -> Self {
        Self::Described(Arc::new(d))
    }
}

impl Dialect {
    /// The dialects that are written in Rust.
    pub const NATIVE: [Self; 2] = [Self::Envelope, Self::Plain];

    /// The names of all that need no file.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ["envelope", "plain"].into_iter().chain(describe::BUILT_IN.iter().map(|(name, _)| *name))
    }

    /// The native dialect with that name.
    pub fn native(name: &str) -> Option<Self> {
        Self::NATIVE.into_iter().find(|d| d.capabilities().name == name)
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        match self {
            Self::Envelope => &envelope::CAPABILITIES,
            Self::Plain => &plain::CAPABILITIES,
            Self::Described(d) => d.capabilities(),
        }
    }

    /// The same, with counts of its own: for somebody who reads along.
    pub fn apart(&self) -> Self {
        match self {
            Self::Described(d) => d.choose(d.choice.clone()).map_or_else(|_| self.clone(), Self::from),
            native => native.clone(),
        }
    }

    /// The description, of one that has one.
    pub const fn described(&self) -> Option<&Arc<Described>> {
        match self {
            Self::Described(d) => Some(d),
            Self::Envelope | Self::Plain => None,
        }
    }

    /// The token that a device shows in its upgrade, where the dialect has its own place for it.
    pub fn token_shown(&self, handshake: &Handshake) -> Option<String> {
        self.described()?.token_shown(handshake)
    }

    /// A token that is not in a bearer header may come with the opening.
    pub fn token_in_opening(&self) -> bool {
        match self {
            Self::Envelope => true,
            Self::Plain => false,
            Self::Described(d) => d.says_token(),
        }
    }

    /// Whether an upgrade request is signed as the dialect says, as far as the server knows the key; says what is wrong. `now`: seconds
    /// since 1970.
    pub fn verify(&self, asked: &Handshake, now: i64) -> Result<(), &'static str> {
        self.described().map_or(Ok(()), |d| d.verify(asked, now))
    }

    /// The device's side of one connection.
    pub fn device(&self, setup: &Arc<SessionSetup>, device: u32) -> Box<dyn DeviceDialect> {
        match self {
            Self::Envelope => Box::new(envelope::Device::new(Arc::clone(setup), device)),
            Self::Plain => Box::new(plain::Device::default()),
            Self::Described(d) => Box::new(describe::Device::new(Arc::clone(d), Arc::clone(setup), device)),
        }
    }

    /// The server's side of one connection.
    pub fn server(&self) -> Box<dyn ServerDialect> {
        match self {
            Self::Envelope => Box::new(envelope::Server::default()),
            Self::Plain => Box::new(plain::Server::default()),
            Self::Described(d) => Box::new(describe::Server::new(Arc::clone(d))),
        }
    }

    /// Wraps a chunk for sending.
    pub fn prepare(&self, chunk: &Chunk, encoding: Encoding) -> Prepared {
        let frame = match self {
            Self::Envelope => envelope::audio_frame(chunk, encoding),
            Self::Plain => Frame::Binary(chunk.payload.clone()),
            Self::Described(d) => return describe::prepare(d, chunk),
        };
        Prepared { frame, media: chunk.media }
    }
}
