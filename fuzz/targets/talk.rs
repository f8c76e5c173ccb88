//! A device and the reference server of a dialect, and what is said between them: shared by targets.

use std::sync::Arc;

use bytes::Bytes;
use voxload::audio::{AudioFormat, Chunk, Codec};
use voxload::dialect::codec::Envelope;
use voxload::dialect::connect::Connector;
use voxload::dialect::{
    Answer, DeviceDialect, Dialect, Encoding, Handshake, Meaning, Prepared, Request, ServerDialect,
    SessionSetup,
};
use voxload::time::Micros;
use voxload::transport::Frame;

/// Formats that are agreed on, where the dialect does not say.
const FORMATS: [AudioFormat; 4] = [
    AudioFormat { codec: Codec::Opus, sample_rate: 16_000 },
    AudioFormat { codec: Codec::Pcm16, sample_rate: 24_000 },
    AudioFormat { codec: Codec::Mulaw, sample_rate: 8_000 },
    AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 },
];

/// More frames than this are not carried from one side to the other: one may ask for another without end.
const MOST: usize = 64;

/// The envelope that a description names.
pub fn envelope(description: &str) -> Option<Envelope> {
    Envelope::ALL.into_iter().find(|e| description.contains(&format!("envelope = \"{}\"", e.name())))
}

/// Both sides of one connection.
pub struct Talk {
    device: Box<dyn DeviceDialect>,
    server: Box<dyn ServerDialect>,
    envelope: Option<Envelope>,
    chunk: Prepared,
    turn: u32,
    meanings: Vec<Meaning>,
    requests: Vec<Request>,
}

impl Talk {
    /// Connected and opened.
    pub fn new(dialect: &Dialect, envelope: Option<Envelope>, format: usize) -> Self {
        let can = dialect.capabilities();
        let or = FORMATS[format % FORMATS.len()];
        let setup = Arc::new(SessionSetup {
            up: can.formats.first().copied().unwrap_or(or),
            down: can.down_formats.first().copied().unwrap_or(or),
            encoding: if can.binary { Encoding::Binary } else { Encoding::Base64 },
            vad: can.vad,
            locale: "en-US".into(),
            voice: "default".into(),
            ..SessionSetup::default()
        });
        let payload = Bytes::from_static(&[0xFC, 0xFF, 0xFE, 0, 1, 2, 3, 4]);
        let chunk = Chunk { due: Micros::ZERO, media: Micros::from_millis(20), payload };
        let mut me = Self {
            device: dialect.device(&setup, 7),
            server: dialect.server(),
            envelope,
            chunk: dialect.prepare(&chunk, setup.encoding),
            turn: 0,
            meanings: Vec::new(),
            requests: Vec::new(),
        };
        let mut handshake = Handshake::default();
        if let Some(connector) = Connector::new(dialect, &setup) {
            let mut asked = connector.request("/", 7);
            let _ = connector.sign("wss", "example.org", &mut asked, 7, 1_700_000_000);
            handshake = Handshake { target: asked.target, headers: asked.headers };
            let _ = dialect.token_shown(&handshake);
        }
        let (mut up, mut down) = (Vec::new(), Vec::new());
        me.server.connected("session-1", &handshake, &mut me.requests, &mut down);
        me.device.open((format & 4 != 0).then_some("session-0"), &mut up);
        me.deliver(up, down);
        me
    }

    /// The first byte says what happens, the rest is what is said.
    pub fn step(&mut self, step: &[u8]) {
        let Some((&what, said)) = step.split_first() else { return };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let text = || String::from_utf8_lossy(said).into_owned();
        let turn = self.turn;
        match what {
            b'<' => {
                for frame in self.frames(said) {
                    self.device.read(&frame, &mut self.meanings);
                }
            }
            b'>' => {
                for frame in self.frames(said) {
                    self.server.read(&frame, &mut self.requests);
                }
            }
            b's' => self.device.turn_start(turn, &mut up),
            b'a' => up.push(self.device.audio(&self.chunk)),
            b'e' => self.device.turn_end(turn, &mut up),
            b'i' => self.device.interrupt(turn, &mut up),
            b'b' => self.device.barge_in(turn),
            b'k' => self.device.keep_alive(&mut up),
            b'g' => self.device.goodbye(&mut up),
            b'n' => self.turn = self.turn.wrapping_add(1),
            b'R' => {
                let down_format = FORMATS[said.len() % FORMATS.len()];
                let answer =
                    Answer::Ready { session: text(), down: down_format, resumed: said.len() % 2 == 0 };
                self.server.write(answer, &mut down);
            }
            b'L' => self.server.write(Answer::Listening { turn }, &mut down),
            b'S' => self.server.write(Answer::SpeechStarted { turn }, &mut down),
            b'E' => self.server.write(Answer::SpeechStopped { turn }, &mut down),
            b'P' => self.server.write(Answer::Partial { turn, text: text() }, &mut down),
            b'F' => self.server.write(Answer::Final { turn, text: text() }, &mut down),
            b'T' => self.server.write(Answer::Token { turn, text: text(), last: false }, &mut down),
            b'U' => self.server.write(Answer::Token { turn, text: text(), last: true }, &mut down),
            b'A' => {
                self.server.write(Answer::Audio { turn, payload: Bytes::copy_from_slice(said) }, &mut down);
            }
            b'D' => self.server.write(Answer::Done { turn, interrupted: false }, &mut down),
            b'I' => self.server.write(Answer::Done { turn, interrupted: true }, &mut down),
            b'X' => {
                let answer = Answer::Error { turn: Some(turn), code: "overloaded", message: text() };
                self.server.write(answer, &mut down);
            }
            b'O' => self.server.write(Answer::Pong, &mut down),
            b'G' => self.server.write(Answer::Goodbye, &mut down),
            _ => {}
        }
        self.deliver(up, down);
    }

    /// What the bytes may be as a frame: itself, and what an envelope makes of them.
    fn frames(&self, said: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        if let (Some(envelope), Ok(value)) = (self.envelope, serde_json::from_slice(said)) {
            for audio in [None, Some(&b"\xFC\xFF\xFE"[..])] {
                frames.extend(envelope.codec(1).encode(&value, audio));
            }
        }
        frames.push(match str::from_utf8(said) {
            Ok(text) => Frame::text(text),
            Err(_) => Frame::Binary(Bytes::copy_from_slice(said)),
        });
        frames
    }

    /// Each side reads what the other one has said, and answers.
    fn deliver(&mut self, mut up: Vec<Frame>, mut down: Vec<Frame>) {
        let mut left = MOST;
        while !(up.is_empty() && down.is_empty()) && left > 0 {
            for frame in std::mem::take(&mut up).into_iter().take(left) {
                left -= 1;
                self.server.read(&frame, &mut self.requests);
            }
            for frame in std::mem::take(&mut down).into_iter().take(left) {
                left -= 1;
                self.device.read(&frame, &mut self.meanings);
            }
            let mut later = Vec::new();
            self.server.later(&mut later);
            down.extend(later.into_iter().map(|(_, frame)| frame));
            self.device.replies(&mut up);
            while self.device.unplayed() > 0 {
                self.device.played(&mut up);
            }
        }
        let _ = (self.device.waiting(), self.device.parting(), self.device.complaint());
        self.meanings.clear();
        self.requests.clear();
    }
}
