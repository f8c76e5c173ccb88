//! Envelopes that a description in TOML cannot express: binary messages, and audio that is a stream of its own.
//!
//! A codec turns a frame into a JSON value and, where the frame carries speech, an audio payload; and back. So rules by JSON
//! pointers apply to protobuf, MessagePack and event-stream messages as they do to JSON. Codecs are sans-IO, keep the state
//! of one connection, and speak for both sides: what one side encodes is what the other decodes.
//!
//! | name | used by | a frame becomes |
//! |---|---|---|
//! | `pipecat` | pipecat's protobuf serializer | `{"text": {…}}`, `{"audio": {…}}`, `{"transcription": {…}}`, `{"interruption": {…}}`; `{"message": …}` holds the JSON inside |
//! | `moshi` | Kyutai's moshi-server (MessagePack) | the map itself, without `pcm` of `Audio` and `data` of `OggOpus` |
//! | `event-stream` | Amazon Transcribe | `{"headers": {…}, "payload": …}`; with `error` {`code`, `message`} when it is one |
//! | `unmute` | Kyutai's Unmute | the JSON, without the Ogg Opus bytes in `audio` or `delta` |
//!
//! Audio payloads are those of the rest of voxload: PCM of 16 bits, little endian, or an Opus message
//! ([`packet`]).
//!
//! Everything here reads outside data: every length is checked against what is there before anything is allocated, nesting is
//! limited, nothing panics.

use bytes::Bytes;
use serde_json::Value;

use crate::audio::codec::packet;
use crate::transport::Frame;

pub mod event_stream;
pub mod msgpack;
pub mod ogg;
pub mod protobuf;
pub mod sigv4;
pub mod twilio;
pub mod unmute;

/// What a frame holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The message, for rules; `null` for pings and pongs of the transport.
    pub value: Value,
    /// Speech: a codec payload, never empty.
    pub audio: Option<Bytes>,
}

/// An envelope: one value per connection.
pub trait EnvelopeCodec: Send {
    /// Reads a frame. `Err`: a protocol error, and why.
    fn decode(&mut self, frame: &Frame) -> Result<Decoded, String>;

    /// The frame that says `value`, with an audio payload in the place that the protocol has for it. `Err`: the value is
    /// nothing that the protocol can say, and why.
    fn encode(&mut self, value: &Value, audio: Option<&[u8]>) -> Result<Frame, String>;

    /// True when a frame with audio depends on nothing but the value and the audio: encoded once, it serves every device.
    fn shareable(&self) -> bool;
}

/// The codecs by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// [`protobuf::Pipecat`].
    Pipecat,
    /// [`msgpack::Moshi`].
    Moshi,
    /// [`event_stream::EventStream`].
    EventStream,
    /// [`unmute::Unmute`].
    Unmute,
}

impl Envelope {
    /// Every codec.
    pub const ALL: [Self; 4] = [Self::Pipecat, Self::Moshi, Self::EventStream, Self::Unmute];

    /// Its name in descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipecat => "pipecat",
            Self::Moshi => "moshi",
            Self::EventStream => "event-stream",
            Self::Unmute => "unmute",
        }
    }

    /// The codec with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// For one connection. `serial` tells the audio streams of devices apart, where the protocol numbers them.
    pub fn codec(self, serial: u32) -> Box<dyn EnvelopeCodec> {
        match self {
            Self::Pipecat => Box::new(protobuf::Pipecat),
            Self::Moshi => Box::new(msgpack::Moshi::new(serial)),
            Self::EventStream => Box::new(event_stream::EventStream),
            Self::Unmute => Box::new(unmute::Unmute::new(serial)),
        }
    }
}

/// Bytes from outside, read from the front.
struct Input<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    const fn left(&self) -> usize {
        self.data.len() - self.at
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.data.len());
        let Some(end) = end else {
            return Err(format!(
                "cut short: {len} bytes announced at byte {}, {} are there",
                self.at,
                self.left()
            ));
        };
        let taken = &self.data[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }
}

/// UTF-8 from outside.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|e| format!("a text that is not UTF-8, from its byte {}", e.valid_up_to()))
}

/// The Opus message that holds these packets, for example of an [`ogg::Demuxer`]; none when there are none.
pub fn opus_message(packets: &[Vec<u8>]) -> Result<Option<Bytes>, String> {
    if packets.is_empty() {
        return Ok(None);
    }
    packet::pack(packets).map(|message| Some(Bytes::from(message))).map_err(|e| e.to_string())
}

/// The object that a message must be.
fn object<'a>(value: &'a Value, what: &str) -> Result<&'a serde_json::Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is a JSON object; this is {value}"))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
