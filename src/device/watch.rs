//! Watching one device: every frame with what it means, and every milestone when it becomes known.
//!
//! ```text
//! frames, events, the device's own records ──▶ Watch ──▶ Moment, Moment, …   for `voxload debug`
//!                                                 └────▶ Conversation         for `--record`
//! ```
//!
//! A watch is told what happens after the fact and changes nothing. What a frame means is read by a second instance of
//! the dialect; what it did is read off the device's records before and after.

use std::collections::VecDeque;
use std::sync::Arc;

use super::conversation::Conversation;
use super::moment::{Audio, Moment, Part, Seen, Source, Step, What};
use super::plan::Plan;
use super::{Device, Outgoing, Piece, Voice};
use crate::audio::codec::{self, Decoder};
use crate::audio::rms_dbfs;
use crate::dialect::{DeviceDialect, Meaning};
use crate::event::{Event, FailureClass, Outcome, TurnRecord};
use crate::report::text::{chosen, counted};
use crate::time::Micros;
use crate::transport::{Closed, Frame};

/// Watches one device.
pub struct Watch {
    plan: Arc<Plan>,
    device: u32,
    dialect: Box<dyn DeviceDialect>,
    conversation: Conversation,
    /// Decodes what the device says now.
    speaking: Option<(Voice, Decoder)>,
    /// Turns that are not over, as they were last seen.
    open: Vec<Open>,
    /// Records of turns that are over.
    turns: Vec<TurnRecord>,
    /// Since the device last settled.
    received: Option<Frame>,
    happened: Vec<Happened>,
    /// What is known to happen later.
    later: Vec<Moment>,
    out: VecDeque<Moment>,
    connected: bool,
    refusals: u32,
}

/// What is told when the device has settled.
enum Happened {
    Event(Event),
    Goodbye,
}

/// A turn under way.
struct Open {
    turn: u32,
    seen: Stage,
    /// Decodes the reply.
    decoder: Option<Decoder>,
    /// Media time of the reply so far.
    media: Micros,
}

/// How far a turn has come.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    endpoint: Option<Micros>,
    first_partial: Option<Micros>,
    final_transcript: Option<Micros>,
    first_token: Option<Micros>,
    first_audio: Option<Micros>,
    first_audible: Option<Micros>,
    reply_done: Option<Micros>,
    barge_in: Option<Micros>,
    backchannel: Option<Micros>,
    audio_messages: u32,
}

impl Stage {
    fn of(r: &TurnRecord) -> Self {
        Self {
            endpoint: r.endpoint,
            first_partial: r.first_partial,
            final_transcript: r.final_transcript,
            first_token: r.first_token,
            first_audio: r.first_byte,
            first_audible: r.judged.first_audible,
            reply_done: r.reply_done,
            barge_in: r.barge_in.map(|b| b.planned),
            backchannel: r.backchannel.map(|b| b.planned),
            audio_messages: r.audio_messages,
        }
    }
}

impl Watch {
    /// For the device of this number; with `record`, the sound of the conversation is kept.
    pub fn new(plan: Arc<Plan>, device: u32, record: bool) -> Self {
        let (up, down) = (plan.setup.up.sample_rate, plan.setup.down.sample_rate);
        Self {
            dialect: plan.dialect.device(&plan.setup, device),
            conversation: Conversation::new(up, down, plan.playback.prebuffer, record),
            plan,
            device,
            speaking: None,
            open: Vec::new(),
            turns: Vec::new(),
            received: None,
            happened: Vec::new(),
            later: Vec::new(),
            out: VecDeque::new(),
            connected: false,
            refusals: 0,
        }
    }

    /// The next thing to tell.
    pub fn poll(&mut self) -> Option<Moment> {
        self.out.pop_front()
    }

    /// Turns that are over, in the order in which they ended.
    pub fn turns(&self) -> &[TurnRecord] {
        &self.turns
    }

    /// The sound, as far as it was kept.
    pub const fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// True once a connection was open.
    pub const fn connected(&self) -> bool {
        self.connected
    }

    /// Attempts to connect that failed since a connection was last open.
    pub const fn refusals(&self) -> u32 {
        self.refusals
    }

    /// The device wrote a frame.
    pub fn sent(&mut self, at: Micros, sent: &Outgoing) {
        let audio = sent.piece.map(|piece| self.spoken(sent.planned, piece));
        let turn = audio.as_ref().and_then(|_| self.open.last()).map(|o| o.turn);
        let seen = Seen {
            planned: Some(sent.planned),
            frame: Some(sent.frame.clone()),
            ours: true,
            meanings: Vec::new(),
            note: String::new(),
            audio,
        };
        self.tell(at, turn, seen);
    }

    /// A frame arrived. What it means is told when the device has [settled](Self::settled).
    pub fn received(&mut self, frame: &Frame) {
        self.received = Some(frame.clone());
    }

    /// The connection ended from the other side.
    pub fn closed(&mut self, at: Micros, closed: &Closed) {
        // On an open connection, only a close code is a matter of authorisation.
        if matches!(closed.class, FailureClass::Closed(_) | FailureClass::Auth) {
            self.close_frame(at, false, closed.detail.clone());
        }
    }

    /// The device says goodbye.
    pub fn goodbye(&mut self) {
        self.happened.push(Happened::Goodbye);
    }

    fn close_frame(&mut self, at: Micros, ours: bool, note: String) {
        let seen = Seen {
            planned: ours.then_some(at),
            frame: None,
            ours,
            meanings: Vec::new(),
            note,
            audio: None,
        };
        self.tell(at, None, seen);
    }

    /// Something happened to the device.
    pub fn event(&mut self, event: &Event) {
        self.happened.push(Happened::Event(event.clone()));
    }

    /// The device has dealt with everything so far.
    pub fn settled(&mut self, at: Micros, device: &Device) {
        let happened = std::mem::take(&mut self.happened);
        let now: Vec<TurnRecord> = device.interrupted().into_iter().chain(device.turn()).collect();
        if let Some(frame) = self.received.take() {
            let ended = happened.iter().filter_map(|h| match h {
                Happened::Event(Event::TurnEnded(record)) => Some(&**record),
                _ => None,
            });
            let grown = ended.chain(&now).find(|r| {
                self.open
                    .iter()
                    .any(|o| o.turn == r.turn && o.seen.audio_messages < r.audio_messages)
            });
            self.understand(at, frame, grown.map(|r| r.turn));
        }
        for h in &happened {
            match h {
                Happened::Event(Event::TurnEnded(record)) => {
                    self.progress(at, record);
                    self.end(at, record);
                }
                Happened::Event(event) => self.step(at, event),
                Happened::Goodbye => self.close_frame(at, true, "goodbye, code 1000".to_owned()),
            }
        }
        for record in &now {
            self.progress(at, record);
        }
    }

    /// The device has left: what was still to come is told now.
    pub fn finish(&mut self) {
        self.release(Micros::NEVER);
    }

    /// A chunk that the device has sent: decoded, and put where it was spoken.
    fn spoken(&mut self, planned: Micros, piece: Piece) -> Audio {
        let format = self.plan.setup.up;
        let spoken = self.plan.spoken(piece.voice);
        let clip = &spoken.clip;
        let (speech, silence) = (clip.speech.len(), clip.silence.len());
        let n = piece.chunk as usize;
        let chunk = clip
            .speech
            .get(n)
            .or_else(|| clip.silence.get(n.saturating_sub(speech) % silence.max(1)));
        let Some(chunk) = chunk else {
            return Audio {
                format,
                media: Ok(Micros::ZERO),
                level: None,
                part: None,
            };
        };
        if n == 0
            || self
                .speaking
                .as_ref()
                .is_none_or(|(voice, _)| *voice != piece.voice)
        {
            self.speaking = Decoder::new(format).ok().map(|d| (piece.voice, d));
        }
        let mut samples = Vec::new();
        let decoded = self
            .speaking
            .as_mut()
            .is_some_and(|(_, d)| d.decode(&chunk.payload, &mut samples).is_ok());
        // A chunk exists once its last sample has been spoken, and the encoder has looked ahead.
        let at = planned - clip.lookahead - chunk.media;
        self.conversation.say(at, &samples);
        let from = clip
            .speech
            .iter()
            .take(n)
            .map(|c| c.media)
            .fold(Micros::ZERO, |a, b| a + b);
        let of = match piece.voice {
            _ if n >= speech => Source::Silence,
            Voice::Utterance(_) => Source::Utterance(clip.id.clone()),
            Voice::Sound(_) => Source::Sound(clip.id.clone()),
        };
        let part = match n.checked_sub(speech) {
            None => Part {
                of,
                number: piece.chunk + 1,
                total: Some(speech as u32),
                from,
            },
            Some(n) => Part {
                of,
                number: n as u32 + 1,
                total: None,
                from: from + chunk.media * n as i64,
            },
        };
        Audio {
            format,
            media: Ok(chunk.media),
            level: decoded.then(|| rms_dbfs(&samples)),
            part: Some(part),
        }
    }

    /// What a frame from the server means; its audio belongs to `turn`.
    fn understand(&mut self, at: Micros, frame: Frame, turn: Option<u32>) {
        let mut meanings = Vec::new();
        self.dialect.read(&frame, &mut meanings);
        let (mut audio, mut stall) = (None, None);
        for meaning in &meanings {
            if let Meaning::Audio { payload, .. } = meaning {
                let (heard, step) = self.heard(at, turn, payload);
                (audio, stall) = (Some(heard), step);
            }
        }
        let turn = turn.or_else(|| self.open.last().map(|o| o.turn));
        let seen = Seen {
            planned: None,
            frame: Some(frame),
            ours: false,
            meanings: meanings.iter().map(name_of).collect(),
            note: meanings.into_iter().find_map(note_on).unwrap_or_default(),
            audio,
        };
        self.tell(at, turn, seen);
        if let Some(step) = stall {
            self.tell(at, turn, step);
        }
    }

    /// Audio from the server: decoded, and put where it is heard. Returns the stall before it, if there was one.
    fn heard(&mut self, at: Micros, turn: Option<u32>, payload: &[u8]) -> (Audio, Option<Step>) {
        let format = self.plan.setup.down;
        let media = codec::duration(format, payload).map_err(|e| e.to_string());
        let open = self.open.iter_mut().find(|o| Some(o.turn) == turn);
        let (Some(open), Ok(duration)) = (open, media.clone()) else {
            return (
                Audio {
                    format,
                    media,
                    level: None,
                    part: None,
                },
                None,
            );
        };
        if open.decoder.is_none() {
            open.decoder = Decoder::new(format).ok();
        }
        let mut samples = Vec::new();
        let decoded = open
            .decoder
            .as_mut()
            .is_some_and(|d| d.decode(payload, &mut samples).is_ok());
        let part = Part {
            of: Source::Reply,
            number: open.seen.audio_messages + 1,
            total: None,
            from: open.media,
        };
        open.media += duration;
        let heard = self.conversation.hear(open.turn, at, duration, &samples);
        let stall = (heard.stalled > Micros::ZERO).then(|| {
            let step = Step::new(
                "stall",
                format!("stall: the loudspeaker had nothing to play for {}", heard.stalled),
            );
            let prebuffer = chosen(self.plan.playback.prebuffer.0);
            step.detail(format!("at a prebuffer of {prebuffer}"))
                .value("stalled_us", heard.stalled)
        });
        (
            Audio {
                format,
                media,
                level: decoded.then(|| rms_dbfs(&samples)),
                part: Some(part),
            },
            stall,
        )
    }

    /// A turn that was not there before.
    fn begin(&mut self, at: Micros, record: &TurnRecord) {
        let turn = Some(record.turn);
        let clip = &self.plan.utterances[usize::from(record.fixture)].clip;
        let says = clip
            .transcript
            .as_ref()
            .map_or_else(|| clip.id.clone(), |t| format!("{}: “{t}”", clip.id));
        let step = Step::new("speech_starts", format!("turn {}: speech starts", record.turn)).detail(says);
        self.tell(record.planned_start, turn, step);
        let step = Step::new("end_of_speech", "end of speech").detail("latencies count from here");
        self.later(at, record.end_of_speech, turn, step);
        let seen = Stage::default();
        self.open.push(Open {
            turn: record.turn,
            seen,
            decoder: None,
            media: Micros::ZERO,
        });
    }

    /// Tells what a turn has come to since it was last seen.
    fn progress(&mut self, at: Micros, record: &TurnRecord) {
        if !self.open.iter().any(|o| o.turn == record.turn) {
            self.begin(at, record);
        }
        let Some(open) = self.open.iter_mut().find(|o| o.turn == record.turn) else {
            return;
        };
        let now = Stage::of(record);
        let seen = std::mem::replace(&mut open.seen, now);
        let turn = Some(record.turn);
        let end = record.end_of_speech;
        let marks = [
            (
                "endpoint",
                "the server has detected the end of speech",
                seen.endpoint,
                now.endpoint,
            ),
            (
                "first_partial",
                "first partial transcript",
                seen.first_partial,
                now.first_partial,
            ),
            (
                "final_transcript",
                "final transcript",
                seen.final_transcript,
                now.final_transcript,
            ),
            ("first_token", "first token", seen.first_token, now.first_token),
            ("first_audio", "first audio", seen.first_audio, now.first_audio),
        ];
        for (name, text, before, now) in marks {
            if let (None, Some(t)) = (before, now) {
                self.tell(t, turn, Step::new(name, text).after(t - end));
            }
        }
        if let (None, Some(t)) = (seen.first_audible, now.first_audible) {
            let lead = record.lead_silence.unwrap_or_default();
            let step = Step::new("first_audible", "first audible")
                .after(t - end)
                .value("lead_silence_us", lead);
            let step = step.detail(format!("{lead} of leading silence"));
            self.later(at, t, turn, step);
        }
        for (name, text, detail, before, now) in [
            (
                "backchannel",
                "backchannel",
                "the user coughs or hums; the reply should go on",
                seen.backchannel,
                now.backchannel,
            ),
            (
                "barge_in",
                "barge-in",
                "the user speaks over the reply, which should stop",
                seen.barge_in,
                now.barge_in,
            ),
        ] {
            if let (None, Some(t)) = (before, now) {
                self.later(at, t, turn, Step::new(name, text).detail(detail));
            }
        }
        if let (None, Some(t)) = (seen.reply_done, now.reply_done)
            && record.outcome != Outcome::Interrupted
        {
            let (media, n) = (record.reply_media, record.audio_messages);
            let step = Step::new("reply_complete", "reply complete").after(t - end);
            let step = step.detail(format!("{media} of audio in {}", counted(n.into(), "message")));
            self.tell(t, turn, step);
        }
    }

    /// A turn is over.
    fn end(&mut self, at: Micros, record: &TurnRecord) {
        let turn = Some(record.turn);
        self.open.retain(|o| o.turn != record.turn);
        self.turns.push(record.clone());
        // A reply that has come whole is played to its end, whatever is to be said against it.
        let stopped = match record.outcome {
            Outcome::Interrupted => record.barge_in.and_then(|b| b.last_played).or(Some(record.ended)),
            _ => record.reply_done.is_none().then_some(record.ended),
        };
        if let Some(stopped) = stopped {
            self.later.retain(|m| m.turn != turn || m.at <= stopped);
        }
        if let Some(silent) = self.conversation.end(record.turn, stopped) {
            let step = match (record.barge_in, stopped) {
                (Some(b), Some(_)) => {
                    let after = silent.max(b.planned) - b.planned;
                    let step = Step::new("playback_stopped", "the loudspeaker is silent");
                    step.detail(format!("{after} after the interruption"))
                        .value("after_barge_in_us", after)
                }
                (None, Some(_)) => Step::new("playback_stopped", "the loudspeaker is silent")
                    .detail("the reply is not whole"),
                (_, None) => Step::new("reply_played", "the reply has been played")
                    .after(silent - record.end_of_speech),
            };
            self.later(at, silent, turn, step);
        }
        let n = record.turn;
        let step = match &record.outcome {
            Outcome::Succeeded => Step::new("turn_ended", format!("turn {n}: ok")),
            Outcome::Interrupted => Step::new("turn_ended", format!("turn {n}: interrupted, as planned")),
            Outcome::Cancelled => {
                Step::new("turn_ended", format!("turn {n}: cancelled by the end of the run"))
            }
            Outcome::Failed(class, detail) => {
                Step::new("turn_ended", format!("turn {n} failed: {class}: {detail}")).failed(class)
            }
        };
        self.tell(record.ended, turn, step);
    }

    /// Tells something, after what was known to happen before it.
    fn tell(&mut self, at: Micros, turn: Option<u32>, what: impl Into<What>) {
        self.release(at);
        let what = what.into();
        self.out.push_back(Moment { at, turn, what });
    }

    /// Tells something that happens at `when`: now, or when the time has come.
    fn later(&mut self, now: Micros, when: Micros, turn: Option<u32>, step: Step) {
        if when <= now {
            return self.tell(when, turn, step);
        }
        let what = What::Step(step);
        let place = self.later.partition_point(|m| m.at <= when);
        self.later.insert(place, Moment { at: when, turn, what });
    }

    fn release(&mut self, until: Micros) {
        let due = self.later.partition_point(|m| m.at <= until);
        self.out.extend(self.later.drain(..due));
    }

    fn step(&mut self, at: Micros, event: &Event) {
        let Some(mut step) = Step::of(event) else { return };
        match event {
            Event::Connected { .. } => {
                (self.connected, self.refusals) = (true, 0);
                self.dialect = self.plan.dialect.device(&self.plan.setup, self.device);
            }
            Event::ConnectionLost {
                class,
                detail,
                established,
            } => {
                self.refusals += u32::from(!established);
                let said =
                    |t: &TurnRecord| matches!(&t.outcome, Outcome::Failed(c, d) if (c, d) == (class, detail));
                if *established && self.turns.last().is_some_and(said) {
                    step = step.known("connection lost");
                }
            }
            _ => {}
        }
        self.tell(at, None, step);
    }
}

/// The stable name of a meaning.
const fn name_of(meaning: &Meaning) -> &'static str {
    match meaning {
        Meaning::Ready { .. } => "ready",
        Meaning::SpeechStopped { .. } => "speech_stopped",
        Meaning::Partial { .. } => "partial",
        Meaning::Final { .. } => "final",
        Meaning::Token { .. } => "token",
        Meaning::Audio { .. } => "audio",
        Meaning::ReplyDone {
            interrupted: false, ..
        } => "reply_done",
        Meaning::ReplyDone {
            interrupted: true, ..
        } => "reply_interrupted",
        Meaning::Error { .. } => "error",
        Meaning::Pong => "pong",
        Meaning::Ignored(_) => "ignored",
        Meaning::Garbage(_) => "garbage",
    }
}

/// What the content of a frame does not say.
fn note_on(meaning: Meaning) -> Option<String> {
    match meaning {
        Meaning::Garbage(why) => Some(format!("not understood: {why}")),
        Meaning::Ignored(what) => Some(format!("no consequence: {what}")),
        Meaning::Pong => Some("answers our keep-alive".to_owned()),
        _ => None,
    }
}
