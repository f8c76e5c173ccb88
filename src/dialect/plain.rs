//! `plain`: what a first home-made server speaks.
//!
//! Raw little-endian PCM16 at 16 kHz in binary frames; the text `end_stream` asks for the reply; one binary message of
//! PCM16 comes back. The text `ping` is answered by `pong`; transcripts come as `{"type":"transcript","text":…}`.
//! There is no reply text (so no TTFT), no server-side end of speech, and no way to interrupt.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{
    Answer, Capabilities, DeviceDialect, Handshake, Meaning, OpenRequest, Prepared, Request, ServerDialect,
    TextGranularity,
};
use crate::audio::{AudioFormat, Codec};
use crate::transport::Frame;

/// The one format that the dialect carries.
pub const FORMAT: AudioFormat = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };

/// What the dialect can do.
pub static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| Capabilities {
    text: TextGranularity::None,
    formats: Cow::Borrowed(&[FORMAT]),
    down_formats: Cow::Borrowed(&[FORMAT]),
    whole_reply: true,
    ..Capabilities::named("plain")
});

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    message: String,
}

/// The device's side.
#[derive(Debug, Default)]
pub struct Device {}

impl DeviceDialect for Device {
    fn open(&mut self, _resume: Option<&str>, _out: &mut Vec<Frame>) {}

    fn turn_start(&mut self, _turn: u32, _out: &mut Vec<Frame>) {}

    fn audio(&mut self, chunk: &Prepared) -> Frame {
        chunk.frame.clone()
    }

    fn turn_end(&mut self, _turn: u32, out: &mut Vec<Frame>) {
        out.push(Frame::text("end_stream"));
    }

    fn interrupt(&mut self, _turn: u32, _out: &mut Vec<Frame>) {}

    fn keep_alive(&mut self, out: &mut Vec<Frame>) {
        out.push(Frame::text("ping"));
    }

    fn read(&mut self, frame: &Frame, out: &mut Vec<Meaning>) {
        let text = match frame {
            // The one message is the whole reply.
            Frame::Binary(payload) => {
                out.push(Meaning::Audio { turn: None, payload: payload.clone() });
                return out.push(Meaning::ReplyDone { turn: None, interrupted: false });
            }
            Frame::Pong(_) => return out.push(Meaning::Pong),
            Frame::Ping(_) => return out.push(Meaning::Ignored("ping")),
            Frame::Text(text) => text,
        };
        if text.as_str() == "pong" {
            return out.push(Meaning::Pong);
        }
        out.push(match serde_json::from_str::<Message>(text) {
            Ok(m) if m.kind == "transcript" => Meaning::Final { turn: None, text: m.text },
            Ok(m) if m.kind == "error" => {
                Meaning::Error { turn: None, code: "error".into(), message: m.message }
            }
            Ok(_) => Meaning::Ignored("a message type that this dialect does not know"),
            Err(e) => Meaning::Garbage(format!("neither `pong` nor a JSON message: {e}")),
        });
    }
}

/// The server's side: collects the reply and sends it whole.
#[derive(Debug, Default)]
pub struct Server {
    reply: Vec<u8>,
}

impl ServerDialect for Server {
    fn connected(&mut self, _: &str, _: &Handshake, out: &mut Vec<Request>, _: &mut Vec<Frame>) {
        // There is no opening in this dialect: it has one format.
        let open = OpenRequest { up: Some(FORMAT), down: Some(FORMAT), ..OpenRequest::default() };
        out.push(Request::Open(Box::new(open)));
    }

    fn read(&mut self, frame: &Frame, out: &mut Vec<Request>) {
        out.push(match frame {
            Frame::Binary(payload) => Request::Audio(payload.clone()),
            Frame::Ping(_) | Frame::Pong(_) => Request::Ignored,
            Frame::Text(text) => match text.as_str() {
                "end_stream" => Request::TurnEnd { turn: None },
                "ping" => Request::Ping,
                _ => Request::Garbage("a text that is neither `end_stream` nor `ping`".to_owned()),
            },
        });
    }

    fn write(&mut self, answer: Answer, out: &mut Vec<Frame>) {
        match answer {
            Answer::Final { text, .. } => {
                out.push(Frame::text(serde_json::json!({"type": "transcript", "text": text}).to_string()));
            }
            Answer::Audio { payload, .. } => self.reply.extend_from_slice(&payload),
            Answer::Done { .. } => out.push(Frame::Binary(std::mem::take(&mut self.reply).into())),
            Answer::Error { message, .. } => {
                out.push(Frame::text(serde_json::json!({"type": "error", "message": message}).to_string()));
            }
            Answer::Pong => out.push(Frame::text("pong")),
            // The dialect has no words for these.
            Answer::Ready { .. }
            | Answer::SpeechStopped { .. }
            | Answer::Partial { .. }
            | Answer::Listening { .. }
            | Answer::SpeechStarted { .. }
            | Answer::Token { .. }
            | Answer::Goodbye => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_turn_as_both_sides_understand_it() {
        let (mut device, mut server) = (Device::default(), Server::default());
        let (mut frames, mut requests, mut meanings) = (Vec::new(), Vec::new(), Vec::new());
        device.turn_end(0, &mut frames);
        device.keep_alive(&mut frames);
        for f in frames.drain(..) {
            server.read(&f, &mut requests);
        }
        assert_eq!(requests, [Request::TurnEnd { turn: None }, Request::Ping]);
        for payload in [Bytes::from_static(b"ab"), Bytes::from_static(b"cd")] {
            server.write(Answer::Audio { turn: 0, payload }, &mut frames);
        }
        server.write(Answer::Done { turn: 0, interrupted: false }, &mut frames);
        server.write(Answer::Pong, &mut frames);
        for f in &frames {
            device.read(f, &mut meanings);
        }
        assert_eq!(
            meanings,
            [
                Meaning::Audio { turn: None, payload: Bytes::from_static(b"abcd") },
                Meaning::ReplyDone { turn: None, interrupted: false },
                Meaning::Pong,
            ]
        );
    }
}
