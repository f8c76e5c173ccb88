//! A description of a server of which little is known, from what it has said to one device.
//!
//! ```text
//! Known: what the user says ─▶ a file to ask with ─▶ one device ─▶ Heard ─▶ kinds ─▶ guesses ─▶ a file to start from
//! ```
//!
//! Messages of one kind have the same word where the protocol keeps it (`"type": "token"`), or else the same fields. What
//! a kind means is guessed from its words, its fields, and when it came. A guess may be wrong, so the file says that it is one.

use serde_json::Value;

use crate::audio::AudioFormat;
use crate::time::Micros;
use crate::transport::Frame;

mod guess;
mod kinds;
mod write;

pub use self::guess::{Guess, guesses};
pub use self::kinds::{Example, Kind, kinds};
pub use self::write::{Message, appended, description, names};

/// A frame of the server, and when it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Since the start of the run.
    pub at: Micros,
    /// What it is.
    pub frame: Frame,
}

/// When the user of the device spoke: the first and the last turn's share is enough to tell before from after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// Since the start of the run.
    pub from: Micros,
    /// Its last audible sample.
    pub to: Micros,
}

/// What the user knows of the server already.
#[derive(Clone, Debug)]
pub struct Known {
    /// What the dialect is to be called.
    pub name: String,
    /// Headers of the upgrade.
    pub headers: Vec<(String, String)>,
    /// Said when connected.
    pub open: Vec<Message>,
    /// Said before the first audio of a turn.
    pub start: Vec<Message>,
    /// Said when the user has stopped speaking.
    pub end: Vec<Message>,
    /// The server finds the end of speech.
    pub vad: bool,
    /// The message that carries the audio; `None`: binary frames.
    pub audio: Option<Message>,
    /// What the device sends.
    pub up: AudioFormat,
    /// What it takes the reply for.
    pub down: AudioFormat,
}

/// The JSON of a frame, where it is an object.
fn object(frame: &Frame) -> Option<Value> {
    let value: Value = match frame {
        Frame::Text(text) => serde_json::from_str(text.as_str()).ok()?,
        Frame::Binary(bytes) => serde_json::from_slice(bytes).ok()?,
        Frame::Ping(_) | Frame::Pong(_) => return None,
    };
    value.is_object().then_some(value)
}

#[cfg(test)]
mod tests;
