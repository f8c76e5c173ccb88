//! A world in virtual time for the tests of this module.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::Waker;

use super::ears::Memory;
use super::pipeline::Stages;
use super::replies::{Replies, Reply, Spoken};
use super::session::{Out, Session};
use super::sessions::Sessions;
use super::timetable::Conditions;
use super::truth::{ChunkRow, Entry, Row, Truth};
use super::world::{Stats, World};
use crate::audio::{AudioFormat, Codec};
use crate::dialect::plain;
use crate::scenario::ReferencePlan;
use crate::time::Micros;
use crate::transport::Frame;

/// Milliseconds.
pub(super) const MS: fn(i64) -> Micros = Micros::from_millis;

/// PCM16 at 16 kHz: 32 bytes a millisecond, exact.
pub(super) const PCM: AudioFormat = plain::FORMAT;

/// Opus at 16 kHz.
pub(super) const OPUS: AudioFormat = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };

/// Two sentences of three words, one second long: 100 ms of silence, then a tone.
pub(super) fn spoken() -> Spoken {
    Spoken {
        text: "One two six. Ten two one.".to_owned(),
        rate: 16_000,
        samples: tone(MS(100), 0.0).into_iter().chain(tone(MS(900), 0.3)).collect(),
    }
}

/// A tone at 16 kHz.
pub(super) fn tone(duration: Micros, amplitude: f32) -> Vec<f32> {
    (0..duration.to_samples(16_000))
        .map(|i| amplitude * (i as f32 * std::f32::consts::TAU / 40.0).sin())
        .collect()
}

/// That tone as PCM16.
pub(super) fn pcm(duration: Micros, amplitude: f32) -> Frame {
    let bytes: Vec<u8> =
        tone(duration, amplitude).into_iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    Frame::Binary(bytes.into())
}

/// The one reply as PCM.
pub(super) fn reply(plan: &ReferencePlan) -> Arc<Reply> {
    let set = Replies::new(vec![spoken()], plan).get(PCM).unwrap();
    Arc::clone(&set.replies[0])
}

/// What was logged so far.
pub(super) struct Kept(Receiver<Entry>);

impl Kept {
    /// The turns.
    pub(super) fn try_iter(&self) -> impl Iterator<Item = Row> {
        self.0.try_iter().filter_map(|e| if let Entry::Turn(row) = e { Some(*row) } else { None })
    }

    /// The next turn.
    pub(super) fn try_recv(&self) -> Option<Row> {
        self.try_iter().next()
    }

    /// The messages of audio.
    pub(super) fn chunks(&self) -> Vec<ChunkRow> {
        self.0.try_iter().filter_map(|e| if let Entry::Chunk(row) = e { Some(row) } else { None }).collect()
    }
}

/// A world whose truth log can be read.
pub(super) fn world(plan: ReferencePlan) -> (Rc<World>, Kept) {
    let (truth, rows) = Truth::kept();
    let (plan, stats) = (Arc::new(plan), Arc::<Stats>::default());
    let world = World {
        stages: Stages::new(&plan),
        replies: Arc::new(Replies::new(vec![spoken()], &plan)),
        truth,
        memory: RefCell::new(Memory::new(plan.vad_level)),
        sessions: Arc::new(Sessions::new(Arc::clone(&plan), Arc::clone(&stats))),
        heard: None,
        conditions: Cell::new(Conditions::usual(&plan)),
        stats,
        plan,
    };
    (Rc::new(world), Kept(rows))
}

/// One session with a device that reads as fast as it is told.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Micros,
    /// What was written, and when.
    pub(super) written: Vec<(Micros, Out)>,
    /// False while the device's socket takes nothing.
    pub(super) reads: bool,
}

impl Rig {
    pub(super) fn new(world: &Rc<World>) -> Self {
        Self::later(world, MS(0))
    }

    /// One that comes later.
    pub(super) fn later(world: &Rc<World>, now: Micros) -> Self {
        let peer = ([127, 0, 0, 1], 40_000).into();
        let session = Session::new(
            Rc::clone(world),
            peer,
            false,
            &crate::dialect::Handshake::default(),
            now,
            Waker::noop().clone(),
        );
        let mut rig = Self { session, now, written: Vec::new(), reads: true };
        rig.flush();
        rig
    }

    /// A session of the `envelope` dialect, opened with this format both ways.
    pub(super) fn opened(world: &Rc<World>, format: AudioFormat, vad: bool) -> Self {
        let mut rig = Self::new(world);
        let turn_detection = if vad { "server" } else { "client" };
        rig.text(&serde_json::json!({
            "type": "session_start", "turn_detection": turn_detection, "audio": {"up": format, "down": format},
        }));
        assert_eq!(rig.kinds(), ["session_started"]);
        rig.written.clear();
        rig
    }

    /// The device of session `name` comes back.
    pub(super) fn resumed(world: &Rc<World>, now: Micros, name: &str) -> Self {
        let mut rig = Self::later(world, now);
        rig.text(&serde_json::json!({
            "type": "session_start", "resume": name, "audio": {"up": PCM, "down": PCM},
        }));
        rig
    }

    /// The connection is lost.
    pub(super) fn lose(&mut self) {
        self.session.gone(self.now);
    }

    pub(super) fn send(&mut self, frame: &Frame) {
        self.session.on_frame(self.now, frame);
        self.flush();
    }

    pub(super) fn text(&mut self, message: &serde_json::Value) {
        self.send(&Frame::text(message.to_string()));
    }

    /// Speaks in real time, 20 ms a message.
    pub(super) fn speak(&mut self, duration: Micros, amplitude: f32) {
        for _ in 0..duration.0 / 20_000 {
            self.until(self.now + MS(20));
            self.send(&pcm(MS(20), amplitude));
        }
    }

    /// Half a second of speech, and the end of the turn.
    pub(super) fn turn(&mut self, turn: u32) {
        self.speak(MS(500), 0.3);
        self.text(&serde_json::json!({"type": "audio_end", "turn": turn}));
    }

    /// Lets time pass.
    pub(super) fn until(&mut self, end: Micros) {
        loop {
            self.session.on_time(self.now);
            self.flush();
            let next = self.session.deadline();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
        }
        self.now = end;
    }

    fn flush(&mut self) {
        while self.reads
            && let Some(out) = self.session.next_out()
        {
            if let Out::Frame(_, mark) = &out {
                self.session.written(self.now, *mark);
            }
            self.written.push((self.now, out));
        }
        self.session.on_socket(self.now, !self.reads, 0);
    }

    /// What was written, in short: message types, `audio` for binary frames.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.written.iter().map(|(_, out)| kind(out)).collect()
    }

    /// When the first of a kind was written.
    pub(super) fn at(&self, wanted: &str) -> Option<Micros> {
        self.written.iter().find(|(_, out)| kind(out) == wanted).map(|(at, _)| *at)
    }

    pub(super) fn count(&self, wanted: &str) -> usize {
        self.written.iter().filter(|(_, out)| kind(out) == wanted).count()
    }
}

/// An [`Out`] in short.
fn kind(out: &Out) -> String {
    match out {
        Out::Frame(Frame::Text(text), _) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(m) => {
                let mut kind = m["type"].as_str().unwrap_or_default().to_owned();
                if let Some(code) = m["code"].as_str() {
                    kind = format!("{kind} {code}");
                }
                if m["interrupted"] == true {
                    kind += " interrupted";
                }
                if m["resumed"] == true {
                    kind += " resumed";
                }
                kind
            }
            Err(_) => "text".to_owned(),
        },
        Out::Frame(..) => "audio".to_owned(),
        Out::Raw(_) => "raw".to_owned(),
        Out::Close(code, _) => format!("close {code}"),
        Out::Reset => "reset".to_owned(),
        Out::Vanish => "vanish".to_owned(),
    }
}
