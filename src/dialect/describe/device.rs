//! The device's side of a description: turns become messages here, frames become meanings in `reading`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value;

use super::audio::Numbers;
use super::context::Ours;
use super::correlate::Turns;
use super::rule::Is;
use super::tally::Unmatched;
use super::template::Message;
use super::{Described, Description, Step};
use crate::audio::Chunk;
use crate::dialect::codec::EnvelopeCodec;
use crate::dialect::{DeviceDialect, Meaning, Prepared, SessionSetup, Waiting};
use crate::time::Micros;
use crate::transport::Frame;

mod reading;

/// Characters of an answer that are shown when it is not understood.
const SHOWN: usize = 160;

/// Wraps a chunk: finished, where nothing in it is of a device or a moment.
pub fn prepare(d: &Described, chunk: &Chunk) -> Prepared {
    let (described, media) = (&d.description, chunk.media);
    let frame = match &described.template {
        Some(template) if described.envelope.is_some() => {
            let codec =
                described.envelope.map(|e| e.codec(0)).filter(|c| c.shareable() && template.is_of_the_run());
            let setup = setup_of(d);
            let json = template.json(&context(described, &setup)).unwrap_or_default();
            let frame = codec.and_then(|mut c| c.encode(&json, Some(&chunk.payload)).ok());
            // Else it is made for each device.
            frame.unwrap_or_else(|| Frame::Binary(chunk.payload.clone()))
        }
        None if described.up.header.is_of_the_run() => {
            Frame::Binary(described.up.header.wrap(&chunk.payload, Numbers::default()))
        }
        None => Frame::Binary(chunk.payload.clone()),
        Some(template) => {
            let base64 = BASE64.encode(&chunk.payload);
            if template.is_of_the_run() {
                let setup = setup_of(d);
                let mut context = context(described, &setup);
                context.audio = Some((&base64, chunk.payload.len()));
                template.frame(&context)
            } else {
                Frame::text(base64)
            }
        }
    };
    Prepared { frame, media }
}

/// What is agreed on for the whole run.
fn setup_of(d: &Described) -> SessionSetup {
    let mut setup = SessionSetup::default();
    if let Some((up, down)) = d.choice.formats {
        (setup.up, setup.down) = (up, down);
    }
    setup
}

fn context<'a>(d: &'a Description, setup: &'a SessionSetup) -> Ours<'a> {
    Ours {
        d,
        setup,
        device: 0,
        captured: &[],
        turn: None,
        resume: None,
        seq: 0,
        chunk: 0,
        ts_ms: 0,
        audio: None,
    }
}

/// What is known before a connection is open.
pub(super) fn context_of<'a>(d: &'a Description, setup: &'a SessionSetup, device: u32) -> Ours<'a> {
    Ours { device, ..context(d, setup) }
}

/// One connection of a device.
pub struct Device {
    d: Arc<Described>,
    /// Every audio frame is made for its device and moment.
    live_audio: bool,
    s: State,
}

/// What has been captured, by number.
type Captured = Box<[Option<Value>]>;

struct State {
    setup: Arc<SessionSetup>,
    device: u32,
    captured: Captured,
    resume: Option<String>,
    step: usize,
    turn: Option<u32>,
    turns: Turns,
    /// Messages and audio messages sent, and the playing time of the latter.
    seq: u64,
    chunks: u64,
    sent: Micros,
    /// Meanings since the last reply ended: bits of [`Is`].
    seen: u16,
    /// A reply that is being interrupted.
    interrupting: bool,
    replies: Vec<Frame>,
    /// Rules whose answer waits for playback, with what was captured when they fired.
    unplayed: VecDeque<(u16, Captured)>,
    /// The rule of the answer to the goodbye, when it has fired.
    parting: Option<u16>,
    codec: Option<Box<dyn EnvelopeCodec>>,
    fired: Box<[u32]>,
    unmatched: u64,
    shapes: Vec<Unmatched>,
}

impl Device {
    /// For one connection of one device.
    pub fn new(d: Arc<Described>, setup: Arc<SessionSetup>, device: u32) -> Self {
        let described = &d.description;
        let live_audio = match &described.template {
            Some(template) => {
                !(template.is_of_the_run() && described.envelope.is_none_or(|e| e.codec(0).shareable()))
            }
            None => !described.up.header.is_of_the_run(),
        };
        let s = State {
            setup,
            device,
            captured: vec![None; described.pointers.captures.len()].into(),
            resume: None,
            step: 0,
            turn: None,
            turns: Turns::default(),
            seq: 0,
            chunks: 0,
            sent: Micros::ZERO,
            seen: 0,
            interrupting: false,
            replies: Vec::new(),
            unplayed: VecDeque::new(),
            parting: None,
            codec: described.envelope.map(|e| e.codec(device)),
            fired: vec![0; described.rules.len()].into(),
            unmatched: 0,
            shapes: Vec::new(),
        };
        Self { d, live_audio, s }
    }

    /// How often each rule has fired on this connection.
    #[cfg(test)]
    pub(super) fn fired(&self) -> &[u32] {
        &self.s.fired
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.d.tally.add(&self.s.fired, self.s.unmatched, &self.s.shapes);
    }
}

impl DeviceDialect for Device {
    fn open(&mut self, resume: Option<&str>, out: &mut Vec<Frame>) {
        self.s.resume = resume.map(str::to_owned);
        self.s.advance(&self.d.description);
        out.append(&mut self.s.replies);
    }

    fn turn_start(&mut self, turn: u32, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        self.s.turn = Some(turn);
        self.s.turns.begin(turn);
        self.s.say(d, &d.turn_start, out);
    }

    fn audio(&mut self, chunk: &Prepared) -> Frame {
        let s = &mut self.s;
        (s.seq, s.chunks) = (s.seq + 1, s.chunks + 1);
        let at = s.sent;
        s.sent += chunk.media;
        if !self.live_audio {
            return chunk.frame.clone();
        }
        let d = &self.d.description;
        let mut context = s.context(d);
        context.ts_ms = at.0 / 1_000;
        match (&d.template, &chunk.frame) {
            (Some(template), Frame::Binary(payload)) if d.envelope.is_some() => {
                let json = template.json(&context).unwrap_or_default();
                s.encoded(&json, Some(payload))
            }
            (Some(template), Frame::Text(base64)) => {
                context.audio = Some((base64, base64.len() / 4 * 3));
                template.frame(&context)
            }
            (_, Frame::Binary(payload)) => {
                let numbers = Numbers {
                    ts_ms: context.ts_ms as u32,
                    seq: context.seq as u32,
                    chunk: context.chunk as u32,
                };
                Frame::Binary(d.up.header.wrap(payload, numbers))
            }
            _ => chunk.frame.clone(),
        }
    }

    fn turn_end(&mut self, turn: u32, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        self.s.turn = Some(turn);
        self.s.say(d, &d.turn_end, out);
    }

    fn interrupt(&mut self, turn: u32, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        if let Some(i) = &d.interruption {
            let now = self.s.turn.replace(turn);
            self.s.say(d, &i.send, out);
            self.s.turn = now;
        }
        self.s.interrupting = true;
    }

    fn barge_in(&mut self, _turn: u32) {
        self.s.interrupting = true;
    }

    fn keep_alive(&mut self, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        if d.keep_alive.send.is_empty() {
            out.push(Frame::Ping(Bytes::new()));
        }
        self.s.say(d, &d.keep_alive.send, out);
    }

    fn goodbye(&mut self, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        self.s.say(d, &d.close.send, out);
    }

    fn parting(&self) -> Option<Micros> {
        let (rule, timeout) = self.d.description.close.expect?;
        (self.s.parting != Some(rule)).then_some(timeout)
    }

    fn read(&mut self, frame: &Frame, out: &mut Vec<Meaning>) {
        let d = &self.d.description;
        match frame {
            Frame::Text(_) | Frame::Binary(_) if self.s.codec.is_some() => self.s.decoded(d, frame, out),
            Frame::Pong(_) => out.push(Meaning::Pong),
            Frame::Ping(_) => out.push(Meaning::Ignored("ping")),
            Frame::Text(text) => self.s.text(d, text.as_str(), out),
            Frame::Binary(bytes) => {
                let json = d.binary_json && matches!(bytes.first(), Some(b'{' | b'[' | b' ' | b'\n'));
                match json.then(|| std::str::from_utf8(bytes)) {
                    Some(Ok(text)) => self.s.text(d, text, out),
                    _ => self.s.binary(d, bytes, out),
                }
            }
        }
    }

    fn replies(&mut self, out: &mut Vec<Frame>) {
        out.append(&mut self.s.replies);
    }

    fn unplayed(&self) -> usize {
        self.s.unplayed.len()
    }

    fn played(&mut self, out: &mut Vec<Frame>) {
        let d = &self.d.description;
        let Some((n, captured)) = self.s.unplayed.pop_front() else { return };
        let Some(rule) = d.rules.get(usize::from(n)) else { return };
        let now = std::mem::replace(&mut self.s.captured, captured);
        self.s.say(d, &rule.reply, out);
        self.s.captured = now;
    }

    fn waiting(&self) -> Option<Waiting> {
        let d = &self.d.description;
        match d.open.get(self.s.step)? {
            Step::Expect(rule, limit) => {
                Some(Waiting { event: Arc::clone(&d.rules.get(usize::from(*rule))?.name), limit: *limit })
            }
            Step::Send { .. } => None,
        }
    }

    fn content(&self, frame: &Frame) -> Option<String> {
        let Frame::Binary(bytes) = frame else { return None };
        let d = &self.d.description;
        let value = match d.envelope {
            // A codec of its own: what one looks at changes nothing.
            Some(envelope) => envelope.codec(self.s.device).decode(frame).ok()?.value,
            None if d.binary_json => serde_json::from_slice(bytes).ok()?,
            None => return None,
        };
        (!value.is_null()).then(|| value.to_string())
    }

    fn complaint(&self) -> Option<String> {
        let d = &self.d.description;
        let matters = |is: Is| matches!(is, Is::Audio | Is::Final | Is::Token | Is::Done);
        let never: Vec<String> = d
            .rules
            .iter()
            .zip(&self.s.fired)
            .filter(|(r, n)| matters(r.is) && **n == 0)
            .map(|(r, _)| format!("`{}`", r.name))
            .collect();
        let mut text = match &never[..] {
            [] => String::new(),
            [one] => format!("the rule {one} never fired on this connection"),
            many => format!("the rules {} never fired on this connection", many.join(", ")),
        };
        if self.s.unmatched > 0 {
            if !text.is_empty() {
                text.push_str("; ");
            }
            let _ = write!(text, "no rule matched {} frames", self.s.unmatched);
            if let Some(first) = self.s.shapes.first() {
                let example: String = first.example.chars().take(SHOWN).collect();
                let _ = write!(text, ", the first: {example}");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

impl State {
    fn context<'a>(&'a self, d: &'a Description) -> Ours<'a> {
        Ours {
            device: self.device,
            captured: &self.captured,
            turn: self.turn,
            resume: self.resume.as_deref(),
            seq: self.seq,
            chunk: self.chunks,
            ts_ms: self.sent.0 / 1_000,
            ..context(d, &self.setup)
        }
    }

    /// Makes the frames of messages.
    fn say(&mut self, d: &Description, messages: &[Message], out: &mut Vec<Frame>) {
        for message in messages {
            self.seq += 1;
            let frame = match &self.codec {
                None => message.frame(&self.context(d)),
                Some(_) => match message.json(&self.context(d)) {
                    Some(json) => self.encoded(&json, None),
                    None => message.frame(&self.context(d)),
                },
            };
            out.push(frame);
        }
    }

    /// As the envelope has it.
    fn encoded(&mut self, json: &Value, payload: Option<&Bytes>) -> Frame {
        match self.codec.as_mut().map(|c| c.encode(json, payload.map(|p| &p[..]))) {
            Some(Ok(frame)) => frame,
            // What the protocol cannot say is sent as it was described: the server will complain, and `debug` shows it.
            Some(Err(_)) | None => Frame::text(json.to_string()),
        }
    }

    /// Goes on with the opening as far as possible.
    fn advance(&mut self, d: &Description) {
        let mut frames = std::mem::take(&mut self.replies);
        while let Some(Step::Send { message, counted }) = d.open.get(self.step) {
            self.step += 1;
            let seq = self.seq;
            self.say(d, std::slice::from_ref(message), &mut frames);
            if !counted {
                self.seq = seq;
            }
        }
        self.replies = frames;
    }
}
