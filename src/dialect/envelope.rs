//! `envelope`, voxload's native dialect: JSON for control and text, raw binary frames (or base64 in JSON) for audio,
//! one connection per session.
//!
//! | direction | type | fields |
//! |---|---|---|
//! | device → server | `session_start` | `locale`, `voice`, `device`, `turn_detection` (`client` `server`), `audio` {`up`, `down`: `codec`, `sample_rate`; `encoding`}, optional `token`, optional `resume`: a `session` to go on with |
//! | device → server | `audio_chunk` | a binary frame; with base64: `audio` |
//! | device → server | `audio_end` | `turn`: the user stopped speaking |
//! | device → server | `interrupt` | `turn`: the user spoke over that reply |
//! | device → server | `ping` | answered by `pong` |
//! | server → device | `session_started` | `session`, `resumed` when it is the one asked for; optional, devices do not wait for it |
//! | server → device | `speech_stopped` | optional: the server detected the end of speech |
//! | server → device | `transcript_partial`, `transcript_final` | `text` |
//! | server → device | `llm_token` | `text` |
//! | server → device | `tts_audio_chunk` | a binary frame; with base64: `audio` |
//! | server → device | `turn_end` | the reply is complete; `interrupted` when it was cut |
//! | server → device | `error` | `code`, `message`; recoverable |
//!
//! Turns count from 0 in each session. Server messages may carry `turn`; a message without it belongs to the
//! oldest turn whose reply is not complete, and so do binary frames.
//!
//! A `session_start` with `resume` goes on with the session of that name, in which turns count on: the server answers with
//! `session_started`, and `resumed` if it still knows the session; otherwise it is a new one. The device sends no speech
//! before that. Then it goes on with the turn that was under way. An `audio_end` that had not been written before the loss
//! comes then, and an `interrupt` may come a second time: a server ignores it when the reply has stopped.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Capabilities, DeviceDialect, Encoding, Meaning, OpenRequest, Prepared, Request, ServerDialect,
    SessionSetup,
};
use crate::audio::{AudioFormat, Chunk};
use crate::transport::{Frame, Text};

/// What the dialect can do: everything.
pub static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| Capabilities {
    base64: true,
    interrupt: true,
    vad: true,
    resume: true,
    ..Capabilities::named("envelope")
});

/// Every message, either way: unknown types and fields are tolerated, as real servers add their own.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    /// Base64 in audio messages, an object in `session_start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio: Option<serde_json::Value>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    session: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    resumed: bool,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    resume: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    locale: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    voice: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    device: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    token: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    turn_detection: Option<Cow<'a, str>>,
}

/// The `audio` object of `session_start`.
#[derive(Debug, Serialize, Deserialize)]
struct Audio {
    up: AudioFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    down: Option<AudioFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
}

impl<'a> Message<'a> {
    fn new(kind: &'a str) -> Self {
        Self { kind: Cow::Borrowed(kind), ..Self::default() }
    }

    fn turn(kind: &'a str, turn: u32) -> Self {
        Self { turn: Some(turn), ..Self::new(kind) }
    }

    fn frame(&self) -> Frame {
        // Serialising a struct of strings and numbers cannot fail; an empty object would be seen by the peer at once.
        Frame::Text(Text::from(serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())))
    }
}

fn base64_frame(kind: &str, turn: Option<u32>, payload: &[u8]) -> Frame {
    // Written by hand: the payload needs no escaping, and this is the one frequent message.
    use std::fmt::Write as _;
    let mut text = String::with_capacity(payload.len() * 4 / 3 + 64);
    let _ = write!(text, "{{\"type\":\"{kind}\",");
    if let Some(turn) = turn {
        let _ = write!(text, "\"turn\":{turn},");
    }
    text.push_str("\"audio\":\"");
    BASE64.encode_string(payload, &mut text);
    text.push_str("\"}");
    Frame::text(text)
}

fn decode_base64(audio: Option<serde_json::Value>) -> Result<bytes::Bytes, String> {
    let Some(serde_json::Value::String(text)) = audio else {
        return Err("`audio` is missing, or is not a base64 string".to_owned());
    };
    BASE64.decode(text.as_bytes()).map(Into::into).map_err(|e| format!("`audio` is not base64: {e}"))
}

/// The frame that carries a chunk of speech.
pub fn audio_frame(chunk: &Chunk, encoding: Encoding) -> Frame {
    match encoding {
        Encoding::Binary => Frame::Binary(chunk.payload.clone()),
        Encoding::Base64 => base64_frame("audio_chunk", None, &chunk.payload),
    }
}

/// The device's side.
pub struct Device {
    setup: Arc<SessionSetup>,
    device: u32,
}

impl Device {
    /// For one connection of one device.
    pub fn new(setup: Arc<SessionSetup>, device: u32) -> Self {
        Self { setup, device }
    }
}

impl DeviceDialect for Device {
    fn open(&mut self, resume: Option<&str>, out: &mut Vec<Frame>) {
        let s = &self.setup;
        let audio = Audio { up: s.up, down: Some(s.down), encoding: Some(s.encoding) };
        out.push(
            Message {
                locale: Some(Cow::Borrowed(&s.locale)),
                voice: Some(Cow::Borrowed(&s.voice)),
                device: Some(Cow::Owned(self.device.to_string())),
                turn_detection: Some(Cow::Borrowed(if s.vad { "server" } else { "client" })),
                audio: serde_json::to_value(audio).ok(),
                resume: resume.map(Cow::Borrowed),
                ..Message::new("session_start")
            }
            .frame(),
        );
    }

    fn turn_start(&mut self, _turn: u32, _out: &mut Vec<Frame>) {}

    fn audio(&mut self, chunk: &Prepared) -> Frame {
        chunk.frame.clone()
    }

    fn turn_end(&mut self, turn: u32, out: &mut Vec<Frame>) {
        out.push(Message::turn("audio_end", turn).frame());
    }

    fn interrupt(&mut self, turn: u32, out: &mut Vec<Frame>) {
        out.push(Message::turn("interrupt", turn).frame());
    }

    fn keep_alive(&mut self, out: &mut Vec<Frame>) {
        out.push(Frame::Ping(bytes::Bytes::new()));
    }

    fn read(&mut self, frame: &Frame, out: &mut Vec<Meaning>) {
        let text = match frame {
            Frame::Binary(payload) if self.setup.encoding == Encoding::Base64 => {
                return out.push(Meaning::Garbage(format!(
                    "a binary frame of {} bytes where base64 in JSON was agreed",
                    payload.len()
                )));
            }
            Frame::Binary(payload) => {
                return out.push(Meaning::Audio { turn: None, payload: payload.clone() });
            }
            Frame::Pong(_) => return out.push(Meaning::Pong),
            Frame::Ping(_) => return out.push(Meaning::Ignored("ping")),
            Frame::Text(text) => text,
        };
        let m: Message<'_> = match serde_json::from_str(text) {
            Ok(m) => m,
            Err(e) => {
                return out
                    .push(Meaning::Garbage(format!("a text frame that is not the expected JSON: {e}")));
            }
        };
        let turn = m.turn;
        let said = |t: Option<Cow<'_, str>>| t.unwrap_or_default().into_owned();
        out.push(match &*m.kind {
            "session_started" => {
                Meaning::Ready { session: m.session.map(Cow::into_owned), resumed: m.resumed }
            }
            "speech_stopped" => Meaning::SpeechStopped { turn },
            "transcript_partial" => Meaning::Partial { turn, text: said(m.text) },
            "transcript_final" => Meaning::Final { turn, text: said(m.text) },
            "llm_token" => Meaning::Token { turn, text: said(m.text) },
            "tts_audio_chunk" => match decode_base64(m.audio) {
                Ok(payload) => Meaning::Audio { turn, payload },
                Err(why) => Meaning::Garbage(why),
            },
            "turn_end" => Meaning::ReplyDone { turn, interrupted: m.interrupted },
            "error" => Meaning::Error { turn, code: said(m.code), message: said(m.message) },
            "pong" => Meaning::Pong,
            _ => Meaning::Ignored("a message type that this dialect does not know"),
        });
    }
}

/// The server's side.
#[derive(Default)]
pub struct Server {
    base64: bool,
}

impl Server {
    fn open(&mut self, m: Message<'_>) -> Request {
        let audio = match m.audio.map(serde_json::from_value::<Audio>).transpose() {
            Ok(audio) => audio,
            Err(e) => return Request::Garbage(format!("`audio` of session_start: {e}")),
        };
        let encoding = audio.as_ref().and_then(|a| a.encoding);
        self.base64 = encoding == Some(Encoding::Base64);
        Request::Open(Box::new(OpenRequest {
            up: audio.as_ref().map(|a| a.up),
            down: audio.as_ref().and_then(|a| a.down),
            encoding,
            vad: m.turn_detection.as_deref() == Some("server"),
            token: m.token.map(Cow::into_owned),
            device: m.device.map(Cow::into_owned),
            resume: m.resume.map(Cow::into_owned),
        }))
    }
}

impl ServerDialect for Server {
    fn read(&mut self, frame: &Frame, out: &mut Vec<Request>) {
        let text = match frame {
            Frame::Binary(payload) => return out.push(Request::Audio(payload.clone())),
            Frame::Ping(_) | Frame::Pong(_) => return out.push(Request::Ignored),
            Frame::Text(text) => text,
        };
        let m: Message<'_> = match serde_json::from_str(text) {
            Ok(m) => m,
            Err(e) => return out.push(Request::Garbage(format!("not the expected JSON: {e}"))),
        };
        let turn = m.turn;
        let request = match &*m.kind {
            "session_start" => self.open(m),
            "audio_chunk" => decode_base64(m.audio).map_or_else(Request::Garbage, Request::Audio),
            "audio_end" => Request::TurnEnd { turn },
            "interrupt" => Request::Interrupt { turn },
            "ping" => Request::Ping,
            other => Request::Garbage(format!("unknown message type `{other}`")),
        };
        out.push(request);
    }

    fn write(&mut self, answer: Answer, out: &mut Vec<Frame>) {
        let text = |kind, turn, text: String| {
            Message { text: Some(Cow::Owned(text)), ..Message::turn(kind, turn) }.frame()
        };
        out.push(match answer {
            Answer::Ready { session, down, resumed } => Message {
                session: Some(Cow::Owned(session)),
                resumed,
                audio: serde_json::to_value(down).ok(),
                ..Message::new("session_started")
            }
            .frame(),
            Answer::SpeechStopped { turn } => Message::turn("speech_stopped", turn).frame(),
            Answer::Partial { turn, text: t } => text("transcript_partial", turn, t),
            Answer::Final { turn, text: t } => text("transcript_final", turn, t),
            Answer::Token { turn, text: t, .. } => text("llm_token", turn, t),
            Answer::Audio { turn, payload } if self.base64 => {
                base64_frame("tts_audio_chunk", Some(turn), &payload)
            }
            Answer::Audio { payload, .. } => Frame::Binary(payload),
            Answer::Done { turn, interrupted } => {
                Message { interrupted, ..Message::turn("turn_end", turn) }.frame()
            }
            Answer::Error { turn, code, message } => Message {
                turn,
                code: Some(Cow::Borrowed(code)),
                message: Some(Cow::Owned(message)),
                ..Message::new("error")
            }
            .frame(),
            Answer::Pong => Message::new("pong").frame(),
            // The dialect has no words for these.
            Answer::Listening { .. } | Answer::SpeechStarted { .. } | Answer::Goodbye => return,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::audio::Codec;
    use crate::time::Micros;

    fn setup(encoding: Encoding, vad: bool) -> Arc<SessionSetup> {
        let up = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
        let down = AudioFormat { codec: Codec::Opus, sample_rate: 24_000 };
        Arc::new(SessionSetup {
            up,
            down,
            encoding,
            vad,
            locale: "en-US".into(),
            voice: "default".into(),
            ..SessionSetup::default()
        })
    }

    #[test]
    fn a_session_as_both_sides_understand_it() {
        for encoding in [Encoding::Binary, Encoding::Base64] {
            let mut device = Device::new(setup(encoding, true), 7);
            let mut server = Server::default();
            let chunk =
                Chunk { due: Micros::ZERO, media: Micros(20_000), payload: Bytes::from_static(&[1, 2, 3]) };
            let mut frames = Vec::new();
            device.open(Some("s0"), &mut frames);
            frames.push(audio_frame(&chunk, encoding));
            device.turn_end(0, &mut frames);
            device.interrupt(0, &mut frames);
            let mut requests = Vec::new();
            for f in &frames {
                server.read(f, &mut requests);
            }
            let s = setup(encoding, true);
            assert_eq!(
                requests,
                [
                    Request::Open(Box::new(OpenRequest {
                        up: Some(s.up),
                        down: Some(s.down),
                        encoding: Some(encoding),
                        vad: true,
                        token: None,
                        device: Some("7".into()),
                        resume: Some("s0".into()),
                    })),
                    Request::Audio(chunk.payload.clone()),
                    Request::TurnEnd { turn: Some(0) },
                    Request::Interrupt { turn: Some(0) },
                ]
            );

            let mut frames = Vec::new();
            for a in [
                Answer::Ready { session: "s1".into(), down: s.down, resumed: true },
                Answer::Token { turn: 0, text: "Hi".into(), last: true },
                Answer::Audio { turn: 0, payload: chunk.payload.clone() },
                Answer::Done { turn: 0, interrupted: true },
                Answer::Error { turn: None, code: "overloaded", message: "try later".into() },
            ] {
                server.write(a, &mut frames);
            }
            let mut meanings = Vec::new();
            for f in &frames {
                device.read(f, &mut meanings);
            }
            let turn = (encoding == Encoding::Base64).then_some(0);
            assert_eq!(
                meanings,
                [
                    Meaning::Ready { session: Some("s1".into()), resumed: true },
                    Meaning::Token { turn: Some(0), text: "Hi".into() },
                    Meaning::Audio { turn, payload: chunk.payload.clone() },
                    Meaning::ReplyDone { turn: Some(0), interrupted: true },
                    Meaning::Error { turn: None, code: "overloaded".into(), message: "try later".into() },
                ]
            );
        }
    }

    #[test]
    fn garbage_is_named_and_novelties_are_tolerated() {
        let mut device = Device::new(setup(Encoding::Binary, false), 0);
        let mut out = Vec::new();
        device.read(&Frame::text("not json"), &mut out);
        device.read(&Frame::text(r#"{"type":"tts_audio_chunk","audio":"%%%"}"#), &mut out);
        device.read(&Frame::text(r#"{"type":"something_new","extra":[1]}"#), &mut out);
        assert!(
            matches!(&out[..], [Meaning::Garbage(_), Meaning::Garbage(_), Meaning::Ignored(_)]),
            "{out:?}"
        );
    }
}
