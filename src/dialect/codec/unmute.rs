//! Unmute's messages: JSON in text frames, in which audio is base64 of a continuous Ogg Opus stream.
//!
//! The pages of each connection and direction are one stream, cut anywhere: a message may hold several packets, or none. Its
//! server waits for a message that begins with the first page of a stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::{Decoded, EnvelopeCodec, object, ogg, opus_message};
use crate::transport::Frame;

/// Messages that carry audio, and where.
const AUDIO: [(&str, &str); 2] = [("input_audio_buffer.append", "audio"), ("response.audio.delta", "delta")];

/// Unmute's envelope.
pub struct Unmute {
    muxer: ogg::Muxer,
    demuxer: ogg::Demuxer,
}

impl Unmute {
    /// For one connection; `serial` is that of the Ogg stream that it writes.
    pub fn new(serial: u32) -> Self {
        Self { muxer: ogg::Muxer::new(serial, ogg::MONO_24K), demuxer: ogg::Demuxer::default() }
    }
}

/// The field that holds audio.
fn audio_field(value: &Value) -> Option<&'static str> {
    let kind = value.get("type").and_then(Value::as_str)?;
    AUDIO.iter().find(|(k, _)| *k == kind).map(|(_, field)| *field)
}

impl EnvelopeCodec for Unmute {
    fn decode(&mut self, frame: &Frame) -> Result<Decoded, String> {
        let parsed = match frame {
            Frame::Text(text) => serde_json::from_str(text),
            // JSON in a binary frame is JSON.
            Frame::Binary(data) => serde_json::from_slice(data),
            Frame::Ping(_) | Frame::Pong(_) => return Ok(Decoded::default()),
        };
        let mut value: Value = parsed.map_err(|e| format!("not the expected JSON: {e}"))?;
        let field = audio_field(&value);
        let taken = field.and_then(|f| value.as_object_mut().and_then(|map| map.remove(f)));
        let (Some(field), Some(taken)) = (field, taken) else { return Ok(Decoded { value, audio: None }) };
        let text = taken.as_str().ok_or_else(|| format!("`{field}` is not a base64 text"))?;
        let bytes = BASE64.decode(text).map_err(|e| format!("`{field}` is not base64: {e}"))?;
        let mut packets = Vec::new();
        self.demuxer.push(&bytes, &mut packets).map_err(|e| format!("`{field}`: {e}"))?;
        Ok(Decoded { value, audio: opus_message(&packets)? })
    }

    fn encode(&mut self, value: &Value, audio: Option<&[u8]>) -> Result<Frame, String> {
        let Some(audio) = audio else { return Ok(Frame::text(value.to_string())) };
        let Some(field) = audio_field(value) else {
            let kinds = AUDIO.map(|(kind, _)| kind).join(" and ");
            return Err(format!("this message of Unmute carries no audio; {kinds} do"));
        };
        let mut message = object(value, "a message of Unmute")?.clone();
        message.insert(field.to_owned(), BASE64.encode(self.muxer.push(audio)?).into());
        Ok(Frame::text(Value::Object(message).to_string()))
    }

    fn shareable(&self) -> bool {
        false
    }
}
