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
use crate::dialect::{DeviceDialect, KNOWN, Meaning};
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
    session_turn: u32,
    /// Names of the milestones that have been told.
    told: Vec<&'static str>,
    audio_messages: u32,
    /// Decodes the reply.
    decoder: Option<Decoder>,
    /// Media time of the reply so far.
    media: Micros,
}

/// How far a turn has come: name, text, and when it happened.
const fn milestones(r: &TurnRecord) -> [(&'static str, &'static str, Option<Micros>); 9] {
    let (barge_in, backchannel) = (
        if let Some(b) = &r.barge_in { Some(b.planned) } else { None },
        if let Some(b) = &r.backchannel { Some(b.planned) } else { None },
    );
    // What is cut short is told as such.
    let complete = if matches!(r.outcome, Outcome::Interrupted) { None } else { r.reply_done };
    [
        ("endpoint", "the server has detected the end of speech", r.endpoint),
        ("first_partial", "first partial transcript", r.first_partial),
        ("final_transcript", "final transcript", r.final_transcript),
        ("first_token", "first token", r.first_token),
        ("first_audio", "first audio", r.first_byte),
        ("first_audible", "first audible", r.judged.first_audible),
        ("backchannel", "backchannel", backchannel),
        ("barge_in", "barge-in", barge_in),
        ("reply_complete", "reply complete", complete),
    ]
}

impl Watch {
    /// For the device of this number; with `record`, the sound of the conversation is kept.
    pub fn new(plan: Arc<Plan>, device: u32, record: bool) -> Self {
        let (up, down) = (plan.setup.up.sample_rate, plan.setup.down.sample_rate);
        Self {
            dialect: plan.dialect.apart().device(&plan.setup, device),
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
        let (planned, frame) = (Some(sent.planned), Some(sent.frame.clone()));
        let content = self.dialect.content(&sent.frame);
        self.tell(at, turn, Seen { planned, frame, ours: true, audio, content, ..Seen::default() });
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
        let planned = ours.then_some(at);
        self.tell(at, None, Seen { planned, ours, note, ..Seen::default() });
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
            let grown = ended
                .chain(&now)
                .find(|r| self.open.iter().any(|o| o.turn == r.turn && o.audio_messages < r.audio_messages));
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
        let clip = &self.plan.spoken(piece.voice).clip;
        let mut audio = Audio::new(self.plan.setup.up);
        let (n, speech) = (piece.chunk as usize, clip.speech.len());
        let (chunk, part) = if let Some(chunk) = clip.speech.get(n) {
            let of = match piece.voice {
                Voice::Utterance(_) => Source::Utterance(clip.id.clone()),
                Voice::Sound(_) => Source::Sound(clip.id.clone()),
            };
            let from = clip.speech.iter().take(n).fold(Micros::ZERO, |sum, c| sum + c.media);
            (chunk, Part { of, number: piece.chunk + 1, total: Some(speech as u32), from })
        } else {
            let n = n - speech;
            let Some(chunk) = clip.silence.get(n % clip.silence.len().max(1)) else {
                return audio;
            };
            let from = chunk.media * n as i64;
            (chunk, Part { of: Source::Silence, number: n as u32 + 1, total: None, from })
        };
        let goes_on = |(voice, _): &(Voice, Decoder)| *voice == piece.voice && n > 0;
        if !self.speaking.as_ref().is_some_and(goes_on) {
            self.speaking = Decoder::new(audio.format).ok().map(|d| (piece.voice, d));
        }
        let samples = decode(self.speaking.as_mut().map(|(_, d)| d), &chunk.payload);
        // A chunk exists once its last sample has been spoken, and the encoder has looked ahead.
        let at = planned - clip.lookahead - chunk.media;
        audio.media = Ok(chunk.media);
        audio.level = samples.as_deref().map(rms_dbfs);
        audio.part = Some(part);
        self.conversation.say(at, &samples.unwrap_or_default());
        audio
    }

    /// What a frame from the server means; its audio belongs to `turn`.
    fn understand(&mut self, at: Micros, frame: Frame, turn: Option<u32>) {
        let mut meanings = Vec::new();
        self.dialect.read(&frame, &mut meanings);
        self.dialect.replies(&mut Vec::new());
        let (mut audio, mut stall) = (None, None);
        for meaning in &meanings {
            if let Meaning::Audio { payload, .. } = meaning {
                let (heard, step) = self.heard(at, turn, payload);
                (audio, stall) = (Some(heard), step);
            }
        }
        let named = meanings.iter().find_map(turn_of);
        let open = self.open.iter().rfind(|o| named.is_none_or(|id| o.session_turn == id));
        let turn = turn.or_else(|| open.map(|o| o.turn));
        let names: Vec<_> = meanings.iter().map(name_of).collect();
        let told: Vec<_> = names.iter().copied().filter(|n| *n != "ignored").collect();
        // Where a description decides what a frame means, that is what one wants to see, beside the audio.
        let besides: Vec<_> = told.iter().copied().filter(|n| audio.is_none() || *n != "audio").collect();
        let note = match &besides[..] {
            [] if audio.is_some() => None,
            [] | ["garbage" | "unmatched" | "pong"] => meanings.into_iter().find_map(note_on),
            _ if self.plan.dialect.described().is_some() => Some(besides.join(", ")),
            _ => meanings.into_iter().find_map(note_on),
        };
        let seen = Seen {
            content: self.dialect.content(&frame),
            frame: Some(frame),
            meanings: names,
            note: note.unwrap_or_default(),
            audio,
            ..Seen::default()
        };
        self.tell(at, turn, seen);
        if let Some(step) = stall {
            self.tell(at, turn, step);
        }
    }

    /// Audio from the server: decoded, and put where it is heard. Returns the stall before it, if there was one.
    fn heard(&mut self, at: Micros, turn: Option<u32>, payload: &[u8]) -> (Audio, Option<Step>) {
        let mut audio = Audio::new(self.plan.setup.down);
        audio.media = codec::duration(audio.format, payload).map_err(|e| e.to_string());
        let open = self.open.iter_mut().find(|o| Some(o.turn) == turn);
        let (Some(open), Ok(duration)) = (open, audio.media.clone()) else {
            return (audio, None);
        };
        if open.decoder.is_none() {
            open.decoder = Decoder::new(audio.format).ok();
        }
        let samples = decode(open.decoder.as_mut(), payload);
        audio.level = samples.as_deref().map(rms_dbfs);
        audio.part =
            Some(Part { of: Source::Reply, number: open.audio_messages + 1, total: None, from: open.media });
        open.media += duration;
        let heard = self.conversation.hear(open.turn, at, duration, &samples.unwrap_or_default());
        let stall = (heard.stalled > Micros::ZERO).then(|| {
            let text = format!("stall: the loudspeaker had nothing to play for {}", heard.stalled);
            let detail = format!("at a prebuffer of {}", chosen(self.plan.playback.prebuffer.0));
            Step::new("stall", text).detail(detail).value("stalled_us", heard.stalled)
        });
        (audio, stall)
    }

    /// A turn that was not there before.
    fn begin(&mut self, at: Micros, record: &TurnRecord) {
        let turn = Some(record.turn);
        let clip = &self.plan.utterances[usize::from(record.fixture)].clip;
        let says =
            clip.transcript.as_ref().map_or_else(|| clip.id.clone(), |t| format!("{}: “{t}”", clip.id));
        let step = Step::new("speech_starts", format!("turn {}: speech starts", record.turn)).detail(says);
        self.tell(record.planned_start, turn, step);
        let step = Step::new("end_of_speech", "end of speech").detail("latencies count from here");
        self.later(at, record.end_of_speech, turn, step);
        self.open.push(Open {
            turn: record.turn,
            session_turn: record.session_turn,
            told: Vec::new(),
            audio_messages: 0,
            decoder: None,
            media: Micros::ZERO,
        });
    }

    /// Tells what a turn has come to since it was last seen.
    fn progress(&mut self, at: Micros, record: &TurnRecord) {
        if !self.open.iter().any(|o| o.turn == record.turn) {
            self.begin(at, record);
        }
        // What reads along hears of turns and interruptions as the device's own does.
        self.dialect.turn_start(record.session_turn, &mut Vec::new());
        if record.barge_in.is_some() && record.reply_done.is_none() {
            self.dialect.barge_in(record.session_turn);
        }
        for (name, text, when) in milestones(record) {
            let open = self.open.iter_mut().find(|o| o.turn == record.turn);
            let (Some(when), Some(open)) = (when, open) else {
                continue;
            };
            // The server hears of a turn that waited for a connection later.
            open.session_turn = record.session_turn;
            open.audio_messages = record.audio_messages;
            if open.told.contains(&name) {
                continue;
            }
            open.told.push(name);
            let step = Step::new(name, text);
            let late = when - record.end_of_speech;
            let step = match name {
                "barge_in" => step.detail("the user speaks over the reply, which should stop"),
                "backchannel" => step.detail("the user coughs or hums; the reply should go on"),
                "first_audible" => {
                    let lead = record.lead_silence.unwrap_or_default();
                    let detail = format!("{lead} of leading silence");
                    step.after(late).detail(detail).value("lead_silence_us", lead)
                }
                "reply_complete" => {
                    let messages = counted(record.audio_messages.into(), "message");
                    step.after(late).detail(format!("{} of audio in {messages}", record.reply_media))
                }
                _ => step.after(late),
            };
            self.later(at, when, Some(record.turn), step);
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
                    step.detail(format!("{after} after the interruption")).value("after_barge_in_us", after)
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
                self.dialect = self.plan.dialect.apart().device(&self.plan.setup, self.device);
                self.dialect.open(None, &mut Vec::new());
            }
            Event::ConnectionLost { class, detail, established } => {
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

/// The samples of a payload; `None` when it cannot be decoded.
fn decode(decoder: Option<&mut Decoder>, payload: &[u8]) -> Option<Vec<f32>> {
    let mut samples = Vec::new();
    decoder?.decode(payload, &mut samples).ok().map(|()| samples)
}

/// The turn that a message names, counted on its connection.
const fn turn_of(meaning: &Meaning) -> Option<u32> {
    match meaning {
        Meaning::SpeechStopped { turn }
        | Meaning::Partial { turn, .. }
        | Meaning::Final { turn, .. }
        | Meaning::Token { turn, .. }
        | Meaning::Audio { turn, .. }
        | Meaning::ReplyDone { turn, .. }
        | Meaning::Error { turn, .. } => *turn,
        Meaning::Ready { .. }
        | Meaning::Pong
        | Meaning::Ignored(_)
        | Meaning::Unmatched
        | Meaning::Garbage(_) => None,
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
        Meaning::ReplyDone { interrupted: false, .. } => "reply_done",
        Meaning::ReplyDone { interrupted: true, .. } => "reply_interrupted",
        Meaning::Error { .. } => "error",
        Meaning::Pong => "pong",
        Meaning::Ignored(_) => "ignored",
        Meaning::Unmatched => "unmatched",
        Meaning::Garbage(_) => "garbage",
    }
}

/// What the content of a frame does not say.
fn note_on(meaning: Meaning) -> Option<String> {
    match meaning {
        Meaning::Garbage(why) => Some(format!("not understood: {why}")),
        Meaning::Unmatched => Some("no rule of the dialect matches it".to_owned()),
        Meaning::Ignored(KNOWN) => Some(KNOWN.to_owned()),
        Meaning::Ignored(what) => Some(format!("{KNOWN}: {what}")),
        Meaning::Pong => Some("answers our keep-alive".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
