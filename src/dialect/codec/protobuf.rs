//! pipecat's protobuf frames (`src/pipecat/frames/frames.proto`), by a table and by hand: five small messages do not need a
//! code generator.
//!
//! ```text
//! Frame { oneof: text = 1, audio = 2, transcription = 3, message = 4, interruption = 5 }
//! ```
//!
//! The JSON has one key, the kind of frame, and in it the fields by their names, with proto3's defaults where the wire has
//! nothing. `audio.audio` is the payload and not in the JSON; `message` is the JSON that its `data` holds (RTVI), or `data` itself
//! when that is no JSON. Unknown fields and frames are skipped: a frame of an unknown kind is `{}`.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{Decoded, EnvelopeCodec, Input, object, utf8};
use crate::transport::Frame;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `uint32`, `uint64`.
    Number,
    /// `optional uint64`: no default.
    Optional,
    Text,
    /// The audio payload.
    Audio,
}

struct Message {
    number: u64,
    name: &'static str,
    fields: &'static [(u64, &'static str, Kind)],
}

const FRAMES: [Message; 5] = [
    Message {
        number: 1,
        name: "text",
        fields: &[(1, "id", Kind::Number), (2, "name", Kind::Text), (3, "text", Kind::Text)],
    },
    Message {
        number: 2,
        name: "audio",
        fields: &[
            (1, "id", Kind::Number),
            (2, "name", Kind::Text),
            (3, "audio", Kind::Audio),
            (4, "sample_rate", Kind::Number),
            (5, "num_channels", Kind::Number),
            (6, "pts", Kind::Optional),
        ],
    },
    Message {
        number: 3,
        name: "transcription",
        fields: &[
            (1, "id", Kind::Number),
            (2, "name", Kind::Text),
            (3, "text", Kind::Text),
            (4, "user_id", Kind::Text),
            (5, "timestamp", Kind::Text),
        ],
    },
    Message { number: 4, name: "message", fields: &[(1, "data", Kind::Text)] },
    Message { number: 5, name: "interruption", fields: &[(1, "id", Kind::Number), (2, "name", Kind::Text)] },
];

/// The frame whose one field is JSON.
const MESSAGE: &str = "message";

/// Wire types (protobuf's encoding guide).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// One field as it is on the wire.
enum Wire<'a> {
    Varint(u64),
    /// The bytes, and where they are in the message.
    Delimited(&'a [u8], Range<usize>),
    Skipped,
}

fn varint(input: &mut Input<'_>) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = input.byte()?;
        // The tenth byte has room for one bit; what is beyond is cut off, as protobuf's own readers do.
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(format!("a number of more than ten bytes before byte {}", input.at))
}

fn field<'a>(input: &mut Input<'a>) -> Result<(u64, Wire<'a>), String> {
    let tag = varint(input)?;
    let wire = match tag & 7 {
        VARINT => Wire::Varint(varint(input)?),
        DELIMITED => {
            // A length that does not fit is longer than what is there.
            let len = usize::try_from(varint(input)?).unwrap_or(usize::MAX);
            let start = input.at;
            Wire::Delimited(input.take(len)?, start..start + len)
        }
        FIXED64 => input.take(8).map(|_| Wire::Skipped)?,
        FIXED32 => input.take(4).map(|_| Wire::Skipped)?,
        other => return Err(format!("wire type {other} before byte {}: not a protobuf frame", input.at)),
    };
    Ok((tag >> 3, wire))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | DELIMITED, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The fields of a message, and where in it the audio is.
type Read = (Map<String, Value>, Option<Range<usize>>);

impl Message {
    /// The fields in `data`, and where in it the audio is.
    fn read(&self, data: &[u8]) -> Result<Read, String> {
        let default = |kind| match kind {
            Kind::Number => Some(Value::from(0)),
            Kind::Text => Some(Value::from("")),
            Kind::Optional | Kind::Audio => None,
        };
        let mut fields: Map<String, Value> = self
            .fields
            .iter()
            .filter_map(|&(_, name, kind)| Some((name.to_owned(), default(kind)?)))
            .collect();
        let (mut audio, mut input) = (None, Input::new(data));
        while input.left() > 0 {
            let (number, wire) = field(&mut input)?;
            let Some(&(_, name, kind)) = self.fields.iter().find(|(n, ..)| *n == number) else { continue };
            let value = match (kind, wire) {
                (Kind::Number | Kind::Optional, Wire::Varint(n)) => Value::from(n),
                (Kind::Text, Wire::Delimited(bytes, _)) => {
                    Value::from(utf8(bytes).map_err(|e| format!("{}.{name}: {e}", self.name))?)
                }
                (Kind::Audio, Wire::Delimited(_, range)) => {
                    audio = Some(range);
                    continue;
                }
                // Another wire type than the field's: an unknown field.
                _ => continue,
            };
            fields.insert(name.to_owned(), value);
        }
        Ok((fields, audio.filter(|range| !range.is_empty())))
    }

    fn write(&self, fields: &Map<String, Value>, audio: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let known = |name: &str| self.fields.iter().any(|&(_, n, kind)| n == name && kind != Kind::Audio);
        if let Some(name) = fields.keys().find(|name| !known(name)) {
            let names: Vec<_> = self.fields.iter().map(|&(_, n, _)| n).filter(|n| known(n)).collect();
            return Err(format!("no field `{name}` in `{}`; it has {}", self.name, names.join(", ")));
        }
        let mut out = Vec::with_capacity(audio.map_or(0, <[u8]>::len) + 64);
        for &(number, name, kind) in self.fields {
            let value = fields.get(name);
            let expected = |what| move || format!("`{}.{name}` is {what}", self.name);
            match (kind, value) {
                (Kind::Audio, _) => {
                    if let Some(audio) = audio.filter(|a| !a.is_empty()) {
                        put_bytes(number, audio, &mut out);
                    }
                }
                (_, None) => {}
                (Kind::Text, Some(value)) => {
                    let text = value.as_str().ok_or_else(expected("a text"))?;
                    if !text.is_empty() {
                        put_bytes(number, text.as_bytes(), &mut out);
                    }
                }
                (Kind::Number | Kind::Optional, Some(value)) => {
                    let n = value.as_u64().ok_or_else(expected("a whole number, 0 or more"))?;
                    if n != 0 || kind == Kind::Optional {
                        put_varint(number << 3 | VARINT, &mut out);
                        put_varint(n, &mut out);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// pipecat's envelope. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pipecat;

impl EnvelopeCodec for Pipecat {
    fn decode(&mut self, frame: &Frame) -> Result<Decoded, String> {
        let data = match frame {
            Frame::Binary(data) => data,
            Frame::Text(_) => return Err("a text frame; pipecat's protobuf frames are binary".to_owned()),
            Frame::Ping(_) | Frame::Pong(_) => return Ok(Decoded::default()),
        };
        let mut decoded = Decoded { value: Value::Object(Map::new()), audio: None };
        let mut input = Input::new(data);
        while input.left() > 0 {
            let (number, Wire::Delimited(bytes, at)) = field(&mut input)? else { continue };
            let Some(message) = FRAMES.iter().find(|m| m.number == number) else { continue };
            let (mut fields, audio) = message.read(bytes)?;
            let inner = match fields.remove("data") {
                Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
                _ => Value::Object(fields),
            };
            // The last one of a `oneof` counts.
            decoded = Decoded {
                value: Value::Object(Map::from_iter([(message.name.to_owned(), inner)])),
                audio: audio.map(|range| data.slice(at.start + range.start..at.start + range.end)),
            };
        }
        Ok(decoded)
    }

    fn encode(&mut self, value: &Value, audio: Option<&[u8]>) -> Result<Frame, String> {
        let frame = object(value, "a pipecat frame")?;
        let kinds = || FRAMES.map(|m| m.name).join(", ");
        let mut entries = frame.iter();
        let (Some((kind, inner)), None) = (entries.next(), entries.next()) else {
            return Err(format!("a pipecat frame has one key, one of {}; this has {}", kinds(), frame.len()));
        };
        let Some(message) = FRAMES.iter().find(|m| m.name == kind) else {
            return Err(format!("no pipecat frame `{kind}`; expected one of {}", kinds()));
        };
        if audio.is_some() && !message.fields.iter().any(|(.., k)| *k == Kind::Audio) {
            return Err(format!("a `{kind}` frame of pipecat carries no audio; `audio` does"));
        }
        let body = if kind == MESSAGE {
            let data = match inner {
                // As it is, unless it would be read as something else than this text.
                Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
                other => other.to_string(),
            };
            message.write(&Map::from_iter([("data".to_owned(), Value::String(data))]), None)?
        } else {
            message.write(object(inner, &format!("`{kind}`"))?, audio)?
        };
        let mut out = Vec::with_capacity(body.len() + 6);
        put_bytes(message.number, &body, &mut out);
        Ok(Frame::Binary(out.into()))
    }

    fn shareable(&self) -> bool {
        true
    }
}
