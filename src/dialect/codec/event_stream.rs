//! Amazon's event-stream framing (`application/vnd.amazon.eventstream`), one message in each binary frame.
//!
//! ```text
//! u32 length │ u32 length of headers │ u32 CRC of these 8 bytes │ headers │ payload │ u32 CRC of all before
//! header: u8 length, name │ u8 type │ value          big endian; CRC-32 as in gzip
//! ```
//!
//! The JSON is `{"headers": {":event-type": "TranscriptEvent", …}, "payload": …}`: rules look at `/headers/:event-type` and
//! `/payload/Transcript/…`. The payload of `application/octet-stream` is audio, and not in the JSON unless it is empty: that, `""`,
//! is the end of the speech. JSON is parsed, anything else a text. Exceptions and errors have `/error/code` and
//! `/error/message` besides, whichever of Amazon's two forms they come in.
//!
//! A message in a signed envelope (`:chunk-signature`) is taken out of it; the signature is not checked. Clients of the wild end
//! their speech with JSON in a text frame: it is read as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Decoded, EnvelopeCodec, Input, object, utf8};
use crate::transport::Frame;

/// Prelude and the CRC at the end.
const OVERHEAD: usize = 16;
/// Largest headers and payload (Amazon's event-stream specification).
const MOST_HEADERS: usize = 128 * 1024;
const MOST_PAYLOAD: usize = 24 * 1024 * 1024;

const CONTENT_TYPE: &str = ":content-type";
const MESSAGE_TYPE: &str = ":message-type";
const SIGNATURE: &str = ":chunk-signature";
const AUDIO: &str = "application/octet-stream";
const JSON: &str = "application/json";

struct Message<'a> {
    headers: Map<String, Value>,
    payload: &'a [u8],
    /// Where in the frame the payload begins.
    at: usize,
}

fn read(data: &[u8]) -> Result<Message<'_>, String> {
    let mut input = Input::new(data);
    let length = u32::from_be_bytes(input.array()?) as usize;
    let headers_length = u32::from_be_bytes(input.array()?) as usize;
    let crc = u32::from_be_bytes(input.array()?);
    check("the prelude", data.get(..8).unwrap_or_default(), crc)?;
    if length != data.len() {
        return Err(format!("the message says that it has {length} bytes; the frame has {}", data.len()));
    }
    let Some(payload_length) = length.checked_sub(OVERHEAD).and_then(|l| l.checked_sub(headers_length))
    else {
        return Err(format!("headers of {headers_length} bytes in a message of {length}"));
    };
    let mut headers = Input::new(input.take(headers_length)?);
    let at = input.at;
    let payload = input.take(payload_length)?;
    let body = data.get(..input.at).unwrap_or_default();
    check("the message", body, u32::from_be_bytes(input.array()?))?;
    let mut map = Map::new();
    while headers.left() > 0 {
        let (name, value) = header(&mut headers).map_err(|e| format!("headers: {e}"))?;
        map.insert(name, value);
    }
    Ok(Message { headers: map, payload, at })
}

fn check(what: &str, bytes: &[u8], said: u32) -> Result<(), String> {
    let crc = crc32fast::hash(bytes);
    if crc == said {
        return Ok(());
    }
    Err(format!(
        "the CRC of {what} is {crc:08x}, and the message says {said:08x}: damaged, or no event-stream message"
    ))
}

fn header(input: &mut Input<'_>) -> Result<(String, Value), String> {
    let len = input.byte()?.into();
    let name = utf8(input.take(len)?)?.to_owned();
    let value = match input.byte()? {
        0 => true.into(),
        1 => false.into(),
        2 => i8::from_be_bytes(input.array()?).into(),
        3 => i16::from_be_bytes(input.array()?).into(),
        4 => i32::from_be_bytes(input.array()?).into(),
        // A timestamp is milliseconds since 1970.
        5 | 8 => i64::from_be_bytes(input.array()?).into(),
        kind @ (6 | 7) => {
            let len = u16::from_be_bytes(input.array()?).into();
            let bytes = input.take(len)?;
            if kind == 7 { utf8(bytes)?.into() } else { BASE64.encode(bytes).into() }
        }
        9 => format!("{:032x}", u128::from_be_bytes(input.array()?)).into(),
        other => return Err(format!("`{name}` is of the unknown type {other}")),
    };
    Ok((name, value))
}

fn put_header(name: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let len = u8::try_from(name.len()).ok().filter(|&len| len > 0);
    out.push(len.ok_or_else(|| format!("the name of header `{name}` is not 1 to 255 bytes long"))?);
    out.extend_from_slice(name.as_bytes());
    match value {
        Value::Bool(b) => out.push(u8::from(!b)),
        Value::Number(n) if n.is_i64() => {
            let n = n.as_i64().unwrap_or_default();
            if let Ok(n) = i32::try_from(n) {
                out.push(4);
                out.extend(n.to_be_bytes());
            } else {
                out.push(5);
                out.extend(n.to_be_bytes());
            }
        }
        Value::String(s) => {
            let len = u16::try_from(s.len()).ok().filter(|&len| len < 0x8000);
            out.push(7);
            out.extend(
                len.ok_or_else(|| format!("header `{name}` is longer than 32767 bytes"))?.to_be_bytes(),
            );
            out.extend_from_slice(s.as_bytes());
        }
        other => {
            return Err(format!("header `{name}` is {other}; expected a text, a whole number or a bool"));
        }
    }
    Ok(())
}

fn header_text<'a>(headers: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(Value::as_str)
}

/// The code and the message of an exception, which the service models, or an error, which it does not.
fn failure(headers: &Map<String, Value>, payload: &Value) -> Option<Value> {
    let (code, message) = match header_text(headers, MESSAGE_TYPE)? {
        "exception" => {
            let message = payload.get("Message").or_else(|| payload.get("message")).and_then(Value::as_str);
            (header_text(headers, ":exception-type"), message.or_else(|| payload.as_str()))
        }
        "error" => (header_text(headers, ":error-code"), header_text(headers, ":error-message")),
        _ => return None,
    };
    Some(json!({ "code": code.unwrap_or("unknown"), "message": message.unwrap_or_default() }))
}

/// Amazon's envelope. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventStream;

impl EventStream {
    fn message(data: &Bytes) -> Result<Decoded, String> {
        let mut message = read(data)?;
        if message.headers.contains_key(SIGNATURE) && !message.payload.is_empty() {
            let outer = message.at;
            message = read(message.payload)?;
            message.at += outer;
        }
        let Message { headers, payload, at } = message;
        let content = header_text(&headers, CONTENT_TYPE);
        if content == Some(AUDIO) && !payload.is_empty() {
            let audio = Some(data.slice(at..at + payload.len()));
            return Ok(Decoded { value: json!({ "headers": headers }), audio });
        }
        let payload = match content {
            Some(JSON) if !payload.is_empty() => {
                serde_json::from_slice(payload).map_err(|e| format!("the payload is not JSON: {e}"))?
            }
            _ => Value::String(String::from_utf8_lossy(payload).into_owned()),
        };
        let error = failure(&headers, &payload);
        let mut value = json!({ "headers": headers, "payload": payload });
        if let (Some(error), Some(map)) = (error, value.as_object_mut()) {
            map.insert("error".to_owned(), error);
        }
        Ok(Decoded { value, audio: None })
    }
}

impl EnvelopeCodec for EventStream {
    fn decode(&mut self, frame: &Frame) -> Result<Decoded, String> {
        match frame {
            Frame::Binary(data) => Self::message(data),
            Frame::Text(text) => {
                let value = serde_json::from_str(text).map_err(|e| {
                    format!("a text frame that is not JSON: {e}; event-stream messages are binary")
                })?;
                Ok(Decoded { value, audio: None })
            }
            Frame::Ping(_) | Frame::Pong(_) => Ok(Decoded::default()),
        }
    }

    fn encode(&mut self, value: &Value, audio: Option<&[u8]>) -> Result<Frame, String> {
        let map = object(value, "an event-stream message")?;
        if let Some(key) = map.keys().find(|k| !["headers", "payload"].contains(&k.as_str())) {
            return Err(format!("no `{key}` in an event-stream message; it has `headers` and `payload`"));
        }
        let empty = Map::new();
        let headers = match map.get("headers") {
            Some(headers) => object(headers, "`headers`")?,
            None => &empty,
        };
        let text;
        let payload: &[u8] = match (audio, map.get("payload")) {
            (Some(_), Some(_)) => return Err("a payload is either `payload` or audio, not both".to_owned()),
            (Some(audio), None) => audio,
            (None, None) => &[],
            (None, Some(Value::String(s))) if header_text(headers, CONTENT_TYPE) != Some(JSON) => {
                s.as_bytes()
            }
            (None, Some(payload)) => {
                text = payload.to_string();
                text.as_bytes()
            }
        };
        let mut out = Vec::with_capacity(OVERHEAD + 128 + payload.len());
        out.extend([0; 12]);
        for (name, value) in headers {
            put_header(name, value, &mut out)?;
        }
        let headers_length = out.len() - 12;
        if headers_length > MOST_HEADERS || payload.len() > MOST_PAYLOAD {
            return Err(format!(
                "headers of {headers_length} and a payload of {} bytes; at most {MOST_HEADERS} and {MOST_PAYLOAD}",
                payload.len()
            ));
        }
        out.extend_from_slice(payload);
        let length = out.len() + 4;
        out[..4].copy_from_slice(&(length as u32).to_be_bytes());
        out[4..8].copy_from_slice(&(headers_length as u32).to_be_bytes());
        let prelude = crc32fast::hash(&out[..8]);
        out[8..12].copy_from_slice(&prelude.to_be_bytes());
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_be_bytes());
        Ok(Frame::Binary(out.into()))
    }

    fn shareable(&self) -> bool {
        true
    }
}
