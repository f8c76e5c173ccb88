//! moshi-server's MessagePack messages: maps with a `type`, in binary frames.
//!
//! | direction | `type` | fields |
//! |---|---|---|
//! | to the server | `Audio` | `pcm`: 32-bit floats at 24 kHz, 1920 (80 ms) a message |
//! | to the server | `OggOpus` | `data`: bytes of an Ogg Opus stream |
//! | to the server | `Init`, `Marker`, `Text`, `Eos` | `id`, `text` |
//! | from the server | `Ready`, `Error`, `Step`, `Word`, `EndWord`, `Marker`, `Text`, `Audio`, `OggOpus` | theirs |
//!
//! `pcm` becomes PCM of 16 bits, `data` an Opus message; neither is in the JSON. A text frame is what its text-to-speech takes
//! instead of a map, and becomes `{"type": "Text", "text": …}`. The server's own library writes bytes as an array of small
//! integers and reads nothing else, so that is what is written here; both forms are read.
//!
//! MessagePack can hold what JSON cannot: a number that is not finite and an extension become `null`, bytes become base64,
//! integers as keys become text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Number, Value};

use super::{Decoded, EnvelopeCodec, Input, object, ogg, opus_message, utf8};
use crate::audio::codec::pcm;
use crate::transport::Frame;

/// Arrays and maps in one another; the protocol has two.
const DEPTH: usize = 32;

/// The beginning of a value: a small value in whole, or how much of what follows.
enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(usize),
    Bytes(usize),
    /// An extension: its type byte is counted.
    Extension(usize),
    Array(usize),
    Map(usize),
}

fn head(input: &mut Input<'_>) -> Result<Head, String> {
    let at = input.at;
    let first = input.byte()?;
    let low = |mask: u8| usize::from(first & mask);
    Ok(match first {
        0x00..=0x7F => Head::Unsigned(first.into()),
        0x80..=0x8F => Head::Map(low(0x0F)),
        0x90..=0x9F => Head::Array(low(0x0F)),
        0xA0..=0xBF => Head::Text(low(0x1F)),
        0xC0 => Head::Nil,
        0xC1 => return Err(format!("byte {at} is 0xC1, which MessagePack never uses")),
        0xC2 | 0xC3 => Head::Bool(first == 0xC3),
        0xC4 => Head::Bytes(len8(input)?),
        0xC5 => Head::Bytes(len16(input)?),
        0xC6 => Head::Bytes(len32(input)?),
        0xC7 => Head::Extension(len8(input)?.saturating_add(1)),
        0xC8 => Head::Extension(len16(input)?.saturating_add(1)),
        0xC9 => Head::Extension(len32(input)?.saturating_add(1)),
        0xCA => Head::Float(f32::from_be_bytes(input.array()?).into()),
        0xCB => Head::Float(f64::from_be_bytes(input.array()?)),
        0xCC => Head::Unsigned(input.byte()?.into()),
        0xCD => Head::Unsigned(u16::from_be_bytes(input.array()?).into()),
        0xCE => Head::Unsigned(u32::from_be_bytes(input.array()?).into()),
        0xCF => Head::Unsigned(u64::from_be_bytes(input.array()?)),
        0xD0 => Head::Signed(i8::from_be_bytes(input.array()?).into()),
        0xD1 => Head::Signed(i16::from_be_bytes(input.array()?).into()),
        0xD2 => Head::Signed(i32::from_be_bytes(input.array()?).into()),
        0xD3 => Head::Signed(i64::from_be_bytes(input.array()?)),
        0xD4..=0xD8 => Head::Extension(1 + (1 << (first - 0xD4))),
        0xD9 => Head::Text(len8(input)?),
        0xDA => Head::Text(len16(input)?),
        0xDB => Head::Text(len32(input)?),
        0xDC => Head::Array(len16(input)?),
        0xDD => Head::Array(len32(input)?),
        0xDE => Head::Map(len16(input)?),
        0xDF => Head::Map(len32(input)?),
        0xE0.. => Head::Signed(i64::from(first as i8)),
    })
}

fn len8(input: &mut Input<'_>) -> Result<usize, String> {
    Ok(input.byte()?.into())
}

fn len16(input: &mut Input<'_>) -> Result<usize, String> {
    Ok(u16::from_be_bytes(input.array()?).into())
}

fn len32(input: &mut Input<'_>) -> Result<usize, String> {
    Ok(usize::try_from(u32::from_be_bytes(input.array()?)).unwrap_or(usize::MAX))
}

/// An item has a byte at least: a count beyond what is left is wrong, and must not decide how much is allocated.
fn counted(input: &Input<'_>, items: usize, each: usize) -> Result<usize, String> {
    if items > input.left() / each {
        return Err(format!(
            "cut short: {items} entries announced before byte {}, {} bytes are left",
            input.at,
            input.left()
        ));
    }
    Ok(items)
}

fn text<'a>(input: &mut Input<'a>) -> Result<&'a str, String> {
    match head(input)? {
        Head::Text(len) => utf8(input.take(len)?),
        _ => Err(format!("something else than a text before byte {}", input.at)),
    }
}

fn key(input: &mut Input<'_>) -> Result<String, String> {
    Ok(match head(input)? {
        Head::Text(len) => utf8(input.take(len)?)?.to_owned(),
        Head::Unsigned(n) => n.to_string(),
        Head::Signed(n) => n.to_string(),
        _ => return Err(format!("a key that is neither a text nor an integer before byte {}", input.at)),
    })
}

fn value(input: &mut Input<'_>, depth: usize) -> Result<Value, String> {
    let head = head(input)?;
    if depth == DEPTH && matches!(head, Head::Array(_) | Head::Map(_)) {
        return Err(format!("more than {DEPTH} arrays and maps in one another"));
    }
    Ok(match head {
        Head::Nil => Value::Null,
        Head::Bool(b) => Value::Bool(b),
        Head::Unsigned(n) => n.into(),
        Head::Signed(n) => n.into(),
        Head::Float(x) => Number::from_f64(x).map_or(Value::Null, Value::Number),
        Head::Text(len) => utf8(input.take(len)?)?.into(),
        Head::Bytes(len) => BASE64.encode(input.take(len)?).into(),
        Head::Extension(len) => input.take(len).map(|_| Value::Null)?,
        Head::Array(n) => {
            let n = counted(input, n, 1)?;
            (0..n).map(|_| value(input, depth + 1)).collect::<Result<_, _>>()?
        }
        Head::Map(n) => {
            let n = counted(input, n, 2)?;
            let entries = (0..n).map(|_| Ok((key(input)?, value(input, depth + 1)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}

/// Passes over a value, however deep.
fn skip(input: &mut Input<'_>) -> Result<(), String> {
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        match head(input)? {
            Head::Text(len) | Head::Bytes(len) | Head::Extension(len) => {
                input.take(len)?;
            }
            // Each count is within what is left, and each turn of the loop takes a byte of that.
            Head::Array(n) => left += counted(input, n, 1)?,
            Head::Map(n) => left += 2 * counted(input, n, 2)?,
            _ => {}
        }
    }
    Ok(())
}

/// Samples as PCM of 16 bits.
fn samples(input: &mut Input<'_>) -> Result<Vec<u8>, String> {
    let Head::Array(n) = head(input)? else {
        return Err("`pcm` is not an array of numbers".to_owned());
    };
    let n = counted(input, n, 1)?;
    let mut floats = Vec::with_capacity(n);
    for _ in 0..n {
        floats.push(match head(input)? {
            Head::Float(x) => x as f32,
            Head::Unsigned(x) => x as f32,
            Head::Signed(x) => x as f32,
            _ => return Err("`pcm` is not an array of numbers".to_owned()),
        });
    }
    let mut bytes = Vec::with_capacity(2 * n);
    pcm::encode(&floats, &mut bytes);
    Ok(bytes)
}

/// Bytes, or an array of small integers.
fn bytes(input: &mut Input<'_>) -> Result<Vec<u8>, String> {
    let n = match head(input)? {
        Head::Bytes(len) => return Ok(input.take(len)?.to_vec()),
        Head::Array(n) => counted(input, n, 1)?,
        _ => return Err("`data` is neither bytes nor an array of them".to_owned()),
    };
    let mut out = Vec::with_capacity(n);
    for _ in 0..n {
        out.push(match head(input)? {
            Head::Unsigned(n @ 0..=255) => n as u8,
            _ => return Err("`data` has an entry that is no byte".to_owned()),
        });
    }
    Ok(out)
}

fn put_len(len: usize, small: (usize, u8), [eight, sixteen, thirty_two]: [Option<u8>; 3], out: &mut Vec<u8>) {
    if len < small.0 {
        out.push(small.1 | len as u8);
    } else if let (Some(mark), Ok(len)) = (eight, u8::try_from(len)) {
        out.extend([mark, len]);
    } else if let (Some(mark), Ok(len)) = (sixteen, u16::try_from(len)) {
        out.push(mark);
        out.extend(len.to_be_bytes());
    } else if let Some(mark) = thirty_two {
        // Nothing that a frame could hold is longer.
        out.push(mark);
        out.extend((len as u32).to_be_bytes());
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_len(text.len(), (32, 0xA0), [Some(0xD9), Some(0xDA), Some(0xDB)], out);
    out.extend_from_slice(text.as_bytes());
}

fn put_array(len: usize, out: &mut Vec<u8>) {
    put_len(len, (16, 0x90), [None, Some(0xDC), Some(0xDD)], out);
}

fn put_map(len: usize, out: &mut Vec<u8>) {
    put_len(len, (16, 0x80), [None, Some(0xDE), Some(0xDF)], out);
}

fn put_unsigned(n: u64, out: &mut Vec<u8>) {
    match n {
        0..0x80 => out.push(n as u8),
        0x80..=0xFF => out.extend([0xCC, n as u8]),
        0x100..=0xFFFF => {
            out.push(0xCD);
            out.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            out.push(0xCE);
            out.extend((n as u32).to_be_bytes());
        }
        _ => {
            out.push(0xCF);
            out.extend(n.to_be_bytes());
        }
    }
}

fn put_signed(n: i64, out: &mut Vec<u8>) {
    match n {
        0.. => put_unsigned(n as u64, out),
        -32..0 => out.push(n as u8),
        -0x80..-32 => out.extend([0xD0, n as u8]),
        -0x8000..-0x80 => {
            out.push(0xD1);
            out.extend((n as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xD2);
            out.extend((n as i32).to_be_bytes());
        }
        _ => {
            out.push(0xD3);
            out.extend(n.to_be_bytes());
        }
    }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xC0),
        Value::Bool(b) => out.push(if *b { 0xC3 } else { 0xC2 }),
        Value::Number(n) => {
            if let Some(n) = n.as_u64() {
                put_unsigned(n, out);
            } else if let Some(n) = n.as_i64() {
                put_signed(n, out);
            } else {
                out.push(0xCB);
                out.extend(n.as_f64().unwrap_or(0.0).to_be_bytes());
            }
        }
        Value::String(s) => put_text(s, out),
        Value::Array(items) => {
            put_array(items.len(), out);
            items.iter().for_each(|v| put(v, out));
        }
        Value::Object(entries) => {
            put_map(entries.len(), out);
            for (key, value) in entries {
                put_text(key, out);
                put(value, out);
            }
        }
    }
}

/// moshi-server's envelope.
pub struct Moshi {
    muxer: ogg::Muxer,
    demuxer: ogg::Demuxer,
}

impl Moshi {
    /// For one connection; `serial` is that of the Ogg stream that it writes.
    pub fn new(serial: u32) -> Self {
        Self { muxer: ogg::Muxer::new(serial, ogg::MONO_24K), demuxer: ogg::Demuxer::default() }
    }

    fn map(&mut self, input: &mut Input<'_>, entries: usize) -> Result<Decoded, String> {
        // First where everything is: `type` says what the others are, and may come last.
        let entries = counted(input, entries, 2)?;
        let mut kind = None;
        let mut at = Vec::with_capacity(entries);
        for _ in 0..entries {
            let key = key(input)?;
            if key == "type" {
                kind = text(&mut Input { data: input.data, at: input.at }).ok();
            }
            at.push((key, input.at));
            skip(input)?;
        }
        let (mut map, mut audio) = (Map::new(), None);
        for (key, at) in at {
            let mut input = Input { data: input.data, at };
            match (kind, &*key) {
                (Some("Audio"), "pcm") => {
                    audio = Some(Bytes::from(samples(&mut input)?)).filter(|a| !a.is_empty());
                }
                (Some("OggOpus"), "data") => {
                    let mut packets = Vec::new();
                    self.demuxer.push(&bytes(&mut input)?, &mut packets)?;
                    audio = opus_message(&packets)?;
                }
                _ => {
                    map.insert(key, value(&mut input, 1)?);
                }
            }
        }
        Ok(Decoded { value: Value::Object(map), audio })
    }
}

impl EnvelopeCodec for Moshi {
    fn decode(&mut self, frame: &Frame) -> Result<Decoded, String> {
        let data = match frame {
            Frame::Binary(data) => data,
            Frame::Text(text) => {
                return Ok(Decoded {
                    value: serde_json::json!({ "type": "Text", "text": &**text }),
                    audio: None,
                });
            }
            Frame::Ping(_) | Frame::Pong(_) => return Ok(Decoded::default()),
        };
        let mut input = Input::new(data);
        let decoded = match head(&mut input)? {
            Head::Map(entries) => self.map(&mut input, entries)?,
            _ => {
                input.at = 0;
                Decoded { value: value(&mut input, 0)?, audio: None }
            }
        };
        match input.left() {
            0 => Ok(decoded),
            left => Err(format!("{left} bytes after the end of the MessagePack message")),
        }
    }

    fn encode(&mut self, value: &Value, audio: Option<&[u8]>) -> Result<Frame, String> {
        let mut out = Vec::new();
        let Some(audio) = audio else {
            put(value, &mut out);
            return Ok(Frame::Binary(out.into()));
        };
        let map = object(value, "a message of moshi-server with audio")?;
        out.reserve(3 * audio.len() + 64);
        put_map(map.len() + 1, &mut out);
        for (key, value) in map {
            put_text(key, &mut out);
            put(value, &mut out);
        }
        match map.get("type").and_then(Value::as_str) {
            Some("Audio") => {
                let mut floats = Vec::with_capacity(audio.len() / 2);
                pcm::decode(audio, &mut floats).map_err(|e| e.to_string())?;
                put_text("pcm", &mut out);
                put_array(floats.len(), &mut out);
                for x in floats {
                    out.push(0xCA);
                    out.extend(x.to_be_bytes());
                }
            }
            Some("OggOpus") => {
                let pages = self.muxer.push(audio)?;
                put_text("data", &mut out);
                put_array(pages.len(), &mut out);
                pages.iter().for_each(|&b| put_unsigned(b.into(), &mut out));
            }
            other => {
                return Err(format!(
                    "a message `{}` of moshi-server carries no audio; `Audio` and `OggOpus` do",
                    other.unwrap_or("without type")
                ));
            }
        }
        Ok(Frame::Binary(out.into()))
    }

    /// PCM would be; an Ogg stream counts its pages.
    fn shareable(&self) -> bool {
        false
    }
}
