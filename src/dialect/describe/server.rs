//! The server's side of a description: what devices say is recognised by its signs, and answers are the `emit` messages
//! of the events.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::Described;
use super::audio::Numbers;
use super::context::{Said, Theirs};
use super::rule::{Cond, Is, Kind, Moment, Rule, View};
use super::scan::{Found, Scan};
use super::sign::{Form, Sign, What};
use super::template::{Name, Part, Text, Var};
use crate::audio::{AudioFormat, Codec, codec};
use crate::dialect::codec::EnvelopeCodec;
use crate::dialect::{Answer, Encoding, Handshake, OpenRequest, Request, ServerDialect, TextGranularity};
use crate::time::Micros;
use crate::transport::Frame;

/// The server's side of one connection.
pub struct Server {
    d: Arc<Described>,
    session: String,
    up: AudioFormat,
    down: AudioFormat,
    vad: bool,
    token: Option<String>,
    device: Option<String>,
    resume: Option<String>,
    said_turn: Option<u32>,
    opened: bool,
    turn: Option<u32>,
    tokens: bool,
    audio: bool,
    /// Text that waits for the end of its sentence, or of the reply.
    text: String,
    /// All text of the reply so far.
    said: String,
    /// The transcript so far.
    partial: String,
    /// The end of speech was found, not told.
    detected: bool,
    /// Playing time heard on this connection, and how much of it before the turn.
    heard: (Micros, Micros),
    /// Messages of audio that were heard since somebody asked what follows from them.
    messages: u32,
    /// A reply that goes out whole.
    whole: Vec<u8>,
    seq: u64,
    media: Micros,
    later: Vec<(Micros, Frame)>,
    codec: Option<Box<dyn EnvelopeCodec>>,
}

/// Takes the codec that a device asks for. G.711 has a rate of its own, which need not be said.
fn agree(format: &mut AudioFormat, asked: Option<Codec>) {
    let Some(codec) = asked.filter(|c| *c != format.codec) else { return };
    format.codec = codec;
    if matches!(codec, Codec::Mulaw | Codec::Alaw) {
        format.sample_rate = 8_000;
    }
}

impl Server {
    /// For one connection.
    pub fn new(d: Arc<Described>) -> Self {
        let can = d.capabilities();
        let first = |f: &[AudioFormat], or: AudioFormat| f.first().copied().unwrap_or(or);
        let (up, down) = d.choice.formats.unwrap_or_else(|| {
            let up = first(&can.formats, AudioFormat { codec: codec_of_default(), sample_rate: 16_000 });
            (up, first(&can.down_formats, up))
        });
        let vad = can.vad && !can.signal || d.description.server.vad == Some(Cond::ALWAYS);
        Self {
            session: String::new(),
            up,
            down,
            vad,
            token: None,
            device: None,
            resume: None,
            said_turn: None,
            opened: false,
            turn: None,
            tokens: false,
            audio: false,
            text: String::new(),
            said: String::new(),
            partial: String::new(),
            detected: false,
            heard: (Micros::ZERO, Micros::ZERO),
            messages: 0,
            whole: Vec::new(),
            seq: 0,
            media: Micros::ZERO,
            later: Vec::new(),
            codec: d.description.envelope.map(|e| e.codec(0)),
            d,
        }
    }

    fn hear_variable(&mut self, name: Name, found: &Found<'_>) {
        let text = || found.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let rate = || match found {
            Found::Str(s) => s.trim().parse().ok(),
            other => other.as_f64().map(|x| x as u32),
        };
        let codec = || self.d.description.codec(found.as_str()?);
        match name {
            Name::UpRate => self.up.sample_rate = rate().unwrap_or(self.up.sample_rate),
            Name::DownRate => self.down.sample_rate = rate().unwrap_or(self.down.sample_rate),
            Name::UpCodec => agree(&mut self.up, codec()),
            Name::DownCodec => agree(&mut self.down, codec()),
            Name::Vad => {
                self.vad = match found {
                    Found::Bool(b) => *b,
                    // Clients write `True` as well.
                    Found::Str(s) => s.eq_ignore_ascii_case("true"),
                    _ => self.vad,
                };
            }
            Name::Turn => self.said_turn = found.as_f64().map(|x| x as u32),
            Name::Token => self.token = text(),
            Name::Device => self.device = found.exists().then(|| found.clone().into_text()),
            Name::Resume => self.resume = text(),
            _ => {}
        }
    }

    /// A value of the query or a header, against its template.
    fn hear_text(&mut self, template: &Text, value: &str) {
        let (name, value) = match &template.0[..] {
            [Part::Hole(hole)] => (&hole.var, value),
            [Part::Lit(before), Part::Hole(hole)] => match value.strip_prefix(&**before) {
                Some(rest) => (&hole.var, rest),
                None => return,
            },
            _ => return,
        };
        if let Var::Named(name) = name {
            self.hear_variable(*name, &Found::Str(value.into()));
        }
    }

    fn open_request(&mut self) -> Request {
        self.opened = true;
        let base64 = self.d.description.template.is_some();
        Request::Open(Box::new(OpenRequest {
            up: Some(self.up),
            down: Some(self.down),
            encoding: Some(if base64 { Encoding::Base64 } else { Encoding::Binary }),
            vad: self.vad,
            token: self.token.take(),
            device: self.device.take(),
            resume: self.resume.take(),
        }))
    }

    fn json(&mut self, text: &str, out: &mut Vec<Request>) {
        let d = Arc::clone(&self.d);
        let part = &d.description.server;
        let mut scan = Scan::default();
        match part.pointers.trie.scan(text, &mut scan) {
            Ok(()) => self.scanned(&scan, Some(text), None, out),
            Err(why) => out.push(Request::Garbage(format!("not the expected JSON: {why}"))),
        }
    }

    /// A message; `payload`: the audio that came with it in an envelope.
    fn scanned<'a>(
        &mut self,
        scan: &Scan<'a>,
        text: Option<&'a str>,
        payload: Option<Bytes>,
        out: &mut Vec<Request>,
    ) {
        let d = Arc::clone(&self.d);
        let part = &d.description.server;
        if let Some(payload) = payload {
            return out.push(Request::Audio(payload));
        }
        let view = View { kind: Kind::Text, scan: Some(scan), text, captured: &[] };
        let hears = |conds: &[Cond]| conds.iter().any(|c| c.holds(&view));
        let best = part.signs.iter().filter_map(|s| Some((s.score(scan)?, s)));
        // Of equals, the first.
        let best = best.rev().max_by_key(|(score, _)| *score).map(|(_, sign)| sign);
        let hear = &part.hear;
        let others = [
            (&hear.ignore, What::Ignore),
            (&hear.turn_start, What::TurnStart),
            (&hear.turn_end, What::TurnEnd),
            (&hear.interrupt, What::Interrupt),
            (&hear.ping, What::Ping),
            (&hear.close, What::Close),
        ];
        let other = others.iter().find(|(conds, _)| hears(conds)).map(|(_, what)| *what);
        let what = match (other, best) {
            // What is ignored by name may look like a message of ours.
            (Some(what), _) => what,
            (None, Some(sign)) => sign.what,
            (None, None) => {
                return out.push(Request::Garbage("a message that this dialect does not know".to_owned()));
            }
        };
        let mut audio = None;
        if let (None, Some(Sign { form: Form::Json { says, .. }, .. })) = (other, best) {
            self.said_turn = None;
            for (slot, name) in says {
                let found = scan.at(*slot);
                if *name == Name::Audio {
                    audio = found.as_str().map(str::to_owned);
                } else if found.exists() {
                    self.hear_variable(*name, found);
                }
            }
        }
        let vad = part.vad.as_ref().map(|c| c.holds(&view));
        if let (Some(vad), What::Open | What::Opening | What::TurnStart) = (vad, what) {
            self.vad = vad;
        }
        let turn = self.said_turn;
        if what == What::TurnStart && d.capabilities().interrupt_by_turn {
            out.push(Request::Interrupt { turn: None });
        }
        out.push(match what {
            What::Opening | What::Ignore => Request::Ignored,
            // Once more: settings are changed under way, as some clients do.
            What::Open if self.opened => Request::Ignored,
            What::Open if part.on_connect => Request::Ignored,
            What::Open => self.open_request(),
            What::TurnStart => Request::TurnStart { vad },
            What::TurnEnd => Request::TurnEnd { turn },
            What::Interrupt => Request::Interrupt { turn },
            What::Ping => Request::Ping,
            What::Close => Request::Goodbye,
            What::Audio => match audio.map(|b| BASE64.decode(b.as_bytes())) {
                Some(Ok(bytes)) => Request::Audio(bytes.into()),
                Some(Err(e)) => Request::Garbage(format!("audio that is not base64: {e}")),
                None => Request::Garbage("an audio message without audio".to_owned()),
            },
        });
    }

    fn words(&self, what: What) -> Request {
        match what {
            What::TurnStart => Request::TurnStart { vad: None },
            What::TurnEnd => Request::TurnEnd { turn: None },
            What::Interrupt => Request::Interrupt { turn: None },
            What::Ping => Request::Ping,
            What::Close => Request::Goodbye,
            What::Open | What::Opening | What::Ignore | What::Audio => Request::Ignored,
        }
    }

    /// Sends what events say at a moment.
    fn emit(&mut self, moment: Moment, said: Said<'_>, out: &mut Vec<Frame>) {
        let d = Arc::clone(&self.d);
        let described = &d.description;
        for rule in described.rules.iter().filter(|r| r.emit.on.contains(&moment)) {
            for message in &rule.emit.messages {
                self.seq += 1;
                let theirs = Theirs {
                    session: &self.session,
                    up: Some((self.up, described.codec_name(self.up.codec))),
                    down: Some((self.down, described.codec_name(self.down.codec))),
                    vad: self.vad,
                    turn: self.turn,
                    seq: self.seq,
                    ts_ms: self.media.0 / 1_000,
                    said,
                    heard: self.heard,
                    detected: self.detected,
                };
                let frame = match &mut self.codec {
                    None => message.frame(&theirs),
                    Some(codec) => {
                        match message.json(&theirs).map(|json| codec.encode(&json, said.payload)) {
                            Some(Ok(frame)) => frame,
                            _ => message.frame(&theirs),
                        }
                    }
                };
                if rule.emit.after > Micros::ZERO {
                    self.later.push((rule.emit.after, frame));
                } else {
                    out.push(frame);
                }
            }
        }
    }

    /// A turn's reply goes on, or begins.
    fn of_turn(&mut self, turn: u32) {
        if self.turn != Some(turn) {
            self.turn = Some(turn);
            (self.tokens, self.audio) = (false, false);
            self.text.clear();
            self.said.clear();
            self.whole.clear();
        }
    }

    fn say_text(&mut self, out: &mut Vec<Frame>) {
        let text = std::mem::take(&mut self.text);
        if !text.trim().is_empty() {
            self.emit(Moment::Token, Said { text: Some(text.trim_end()), ..Said::default() }, out);
        }
    }

    fn say_audio(&mut self, payload: &Bytes, out: &mut Vec<Frame>) {
        let d = Arc::clone(&self.d);
        let of_audio = |r: &&Rule| r.is == Is::Audio;
        let in_json = d.description.rules.iter().filter(of_audio).any(|r| !r.emit.messages.is_empty());
        if self.codec.is_some() {
            self.emit(Moment::Audio, Said { payload: Some(payload), ..Said::default() }, out);
        } else if in_json {
            let base64 = BASE64.encode(payload);
            self.emit(Moment::Audio, Said { audio: Some((&base64, payload.len())), ..Said::default() }, out);
        } else if d.description.rules.iter().any(|r| r.is == Is::Audio) {
            self.seq += 1;
            let numbers = Numbers {
                ts_ms: (self.media.0 / 1_000) as u32,
                seq: self.seq as u32,
                chunk: self.seq as u32,
            };
            out.push(Frame::Binary(d.description.down.header.wrap(payload, numbers)));
        }
        self.media += codec::duration(self.down, payload).unwrap_or_default();
    }

    fn understand(&mut self, frame: &Frame, out: &mut Vec<Request>) {
        let d = Arc::clone(&self.d);
        let described = &d.description;
        match frame {
            Frame::Ping(_) | Frame::Pong(_) => out.push(Request::Ignored),
            _ if self.codec.is_some() => match self.codec.as_mut().map(|c| c.decode(frame)) {
                Some(Ok(decoded)) => {
                    let mut scan = Scan::default();
                    described.server.pointers.trie.scan_value(&decoded.value, &mut scan);
                    self.scanned(&scan, None, decoded.audio, out);
                }
                Some(Err(why)) => out.push(Request::Garbage(why)),
                None => {}
            },
            Frame::Text(text) => {
                let bare = described.server.signs.iter().find(
                    |s| matches!(&s.form, Form::Text(t) if t == text.as_str() || t.trim() == text.trim()),
                );
                match bare {
                    Some(sign) => out.push(match sign.what {
                        What::Open if !self.opened && !described.server.on_connect => self.open_request(),
                        what => self.words(what),
                    }),
                    None if text.trim_start().starts_with(['{', '[']) => self.json(text, out),
                    None => out.push(Request::Garbage("a text that this dialect does not know".to_owned())),
                }
            }
            Frame::Binary(bytes) => {
                let mark = |s: &&Sign| matches!(&s.form, Form::Binary(b) if b == bytes);
                if let Some(sign) = described.server.signs.iter().find(mark) {
                    return out.push(self.words(sign.what));
                }
                let json = matches!(bytes.first(), Some(b'{'))
                    && (described.binary_json || described.emit_binary || described.template.is_some());
                if let (true, Ok(text)) = (json, std::str::from_utf8(bytes)) {
                    return self.json(text, out);
                }
                out.push(match described.up.header.unwrap(bytes) {
                    Ok(Some(payload)) => Request::Audio(payload),
                    Ok(None) => Request::Ignored,
                    Err(why) => Request::Garbage(why),
                });
            }
        }
    }
}

/// What is spoken when a description does not say: what most servers take.
const fn codec_of_default() -> Codec {
    Codec::Pcm16
}

impl ServerDialect for Server {
    fn connected(
        &mut self,
        session: &str,
        handshake: &Handshake,
        out: &mut Vec<Request>,
        frames: &mut Vec<Frame>,
    ) {
        session.clone_into(&mut self.session);
        let d = Arc::clone(&self.d);
        let connect = &d.description.connect;
        for (name, template) in &connect.query {
            if let Some(value) = handshake.query(name) {
                self.hear_text(template, &value);
            }
        }
        for (name, template) in &connect.headers {
            if let Some(value) = handshake.header(name) {
                self.hear_text(template, value);
            }
        }
        self.emit(Moment::Connect, Said::default(), frames);
        if d.description.server.on_connect {
            out.push(self.open_request());
        }
    }

    fn read(&mut self, frame: &Frame, out: &mut Vec<Request>) {
        let before = out.len();
        self.understand(frame, out);
        for request in out.iter().skip(before) {
            if let Request::Audio(payload) = request {
                self.heard.0 += codec::duration(self.up, payload).unwrap_or_default();
                self.messages += 1;
            }
        }
    }

    fn write(&mut self, answer: Answer, out: &mut Vec<Frame>) {
        match answer {
            Answer::Ready { session, down, resumed } => {
                (self.session, self.down) = (session, down);
                self.emit(Moment::Ready, Said { resumed, ..Said::default() }, out);
            }
            Answer::Listening { turn } => {
                // The reply before may still be going on.
                let now = self.turn.replace(turn);
                self.emit(Moment::Turn, Said::default(), out);
                self.turn = now;
            }
            Answer::SpeechStarted { turn } => {
                // Likewise.
                let now = self.turn.replace(turn);
                self.emit(Moment::SpeechStarted, Said::default(), out);
                self.turn = now;
            }
            Answer::SpeechStopped { turn } => {
                self.of_turn(turn);
                self.detected = true;
                self.emit(Moment::SpeechStopped, Said::default(), out);
            }
            Answer::Partial { turn, text } => {
                self.of_turn(turn);
                self.emit(Moment::Partial, Said { text: Some(&text), ..Said::default() }, out);
                self.partial = text;
            }
            Answer::Final { turn, text } => {
                self.of_turn(turn);
                self.emit(Moment::Final, Said { text: Some(&text), ..Said::default() }, out);
                self.partial.clear();
                self.detected = false;
                self.heard.1 = self.heard.0;
            }
            Answer::Token { turn, text, last } => {
                self.of_turn(turn);
                if !std::mem::replace(&mut self.tokens, true) {
                    // Not what is measured as the first text, so it is not logged as that either.
                    let mut beside = Vec::new();
                    self.emit(Moment::FirstToken, Said { text: Some(&text), ..Said::default() }, &mut beside);
                    self.later.extend(beside.into_iter().map(|frame| (Micros::ZERO, frame)));
                }
                let ends = last || text.trim_end().ends_with(['.', '!', '?']);
                let waits = match self.d.capabilities().text {
                    TextGranularity::Token | TextGranularity::None => false,
                    TextGranularity::Sentence => !ends,
                    TextGranularity::Reply => !last,
                };
                self.text.push_str(&text);
                self.said.push_str(&text);
                if self.d.capabilities().text == TextGranularity::Token {
                    let text = std::mem::take(&mut self.text);
                    self.emit(Moment::Token, Said { text: Some(&text), ..Said::default() }, out);
                } else if !waits {
                    self.say_text(out);
                } else if !text.ends_with(' ') {
                    self.text.push(' ');
                }
            }
            Answer::Audio { turn, payload } => {
                self.of_turn(turn);
                if !std::mem::replace(&mut self.audio, true) {
                    self.emit(Moment::FirstAudio, Said::default(), out);
                }
                if self.d.capabilities().whole_reply {
                    self.whole.extend_from_slice(&payload);
                } else {
                    self.say_audio(&payload, out);
                }
            }
            Answer::Done { turn, interrupted } => {
                self.of_turn(turn);
                if !interrupted {
                    self.say_text(out);
                }
                self.text.clear();
                if !self.whole.is_empty() {
                    let whole = Bytes::from(std::mem::take(&mut self.whole));
                    self.say_audio(&whole, out);
                }
                let moment = if interrupted { Moment::Interrupted } else { Moment::Done };
                let said = std::mem::take(&mut self.said);
                self.emit(moment, Said { interrupted, text: Some(&said), ..Said::default() }, out);
            }
            Answer::Error { turn, code, message } => {
                let now = self.turn;
                self.turn = turn.or(now);
                self.emit(Moment::Error, Said { error: Some((code, &message)), ..Said::default() }, out);
                self.turn = now;
            }
            Answer::Pong => self.emit(Moment::Pong, Said::default(), out),
            Answer::Goodbye => self.emit(Moment::Close, Said::default(), out),
        }
    }

    fn later(&mut self, out: &mut Vec<(Micros, Frame)>) {
        for _ in 0..std::mem::take(&mut self.messages) {
            let partial = std::mem::take(&mut self.partial);
            let mut frames = Vec::new();
            self.emit(Moment::Heard, Said { text: Some(&partial), ..Said::default() }, &mut frames);
            self.partial = partial;
            out.extend(frames.into_iter().map(|frame| (Micros::ZERO, frame)));
        }
        out.append(&mut self.later);
    }
}
