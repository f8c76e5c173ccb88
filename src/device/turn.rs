//! One turn, from the first word to the end of the reply.

use std::hash::{DefaultHasher, Hasher as _};

use bytes::Bytes;

use super::Answered;
use super::ear::{Ear, Heard};
use super::plan::Draw;
use crate::audio::{AudioFormat, codec};
use crate::event::{Event, FailureClass, Outcome, TurnRecord};
use crate::time::Micros;

use super::playback::Playback;

/// A failure: its class, and what was seen.
pub(super) type Fault = (FailureClass, String);

/// A turn under way.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) record: TurnRecord,
    pub(super) draw: Draw,
    /// The server has been told of it: it has a number in its session.
    pub(super) on_wire: bool,
    /// The end of a turn with a button has been said, and said into a hole.
    pub(super) end_said: bool,
    pub(super) end_swallowed: bool,
    /// Frames of that end which the socket has not taken yet.
    pub(super) unwritten: u32,
    /// Speech that was sent into a hole: lost if the connection is.
    pub(super) swallowed: Micros,
    /// Content of the first messages of the reply, while there was no reconnect.
    beginning: Vec<u64>,
    /// How many messages since the last reconnect were those, in order; `None`: it is not that.
    again: Option<usize>,
    pub(super) playback: Playback,
    /// Payloads of the reply until its first audible sample is found.
    unheard: Vec<Bytes>,
    /// Of those that came through an imitated network: media time at their end, and how long it took for them.
    delays: Vec<(Micros, Micros)>,
    /// Listen again when this much has arrived.
    listen_at: Micros,
    last_token: Option<Micros>,
    /// Last message of the reply.
    last_activity: Micros,
}

/// A first listen once 60 ms have arrived: 50 ms of sound decide.
const FIRST_LISTEN: Micros = Micros::from_millis(60);

/// A reply that begins with so many messages like another is that one again.
const BEGINNING: usize = 4;

impl Turn {
    /// A turn that begins. `record` holds what the plan says about it.
    pub(super) fn new(record: TurnRecord, draw: Draw, prebuffer: Micros) -> Self {
        Self {
            last_activity: record.end_of_speech,
            record,
            draw,
            on_wire: false,
            end_said: false,
            end_swallowed: false,
            unwritten: 0,
            swallowed: Micros::ZERO,
            beginning: Vec::new(),
            again: None,
            playback: Playback::new(prebuffer),
            unheard: Vec::new(),
            delays: Vec::new(),
            listen_at: FIRST_LISTEN,
            last_token: None,
        }
    }

    /// A token of the reply. Returns the gap since the one before.
    pub(super) fn token(&mut self, now: Micros, text: &str) -> Option<Event> {
        // A server that keeps saying nothing has fallen silent.
        if text.is_empty() {
            return None;
        }
        self.last_activity = self.last_activity.max(now);
        self.record.tokens += 1;
        self.record.first_token.get_or_insert(now);
        self.last_token
            .replace(now)
            .filter(|_| !self.record.warmup)
            .map(|before| Event::TokenGap(now - before))
    }

    /// Audio of the reply, which must become audible before it has played for `timeout`. `network`: how long an imitated
    /// network took for it. Returns the gap since the one before.
    pub(super) fn audio(
        &mut self,
        now: Micros,
        payload: &Bytes,
        network: Option<Micros>,
        format: AudioFormat,
        timeout: Micros,
        ear: &mut Ear,
    ) -> Result<Option<Event>, Fault> {
        let index = self.record.audio_messages;
        let mismatch = |why: String| {
            let codec = format.codec.name();
            let detail = format!(
                "reply audio, message {index} ({} bytes): not {codec} as agreed: {why}",
                payload.len()
            );
            (FailureClass::FormatMismatch, detail)
        };
        let duration = codec::duration(format, payload).map_err(|e| mismatch(e.to_string()))?;
        // A message without a sound in it is neither audio nor a sign of life.
        if duration <= Micros::ZERO {
            return Ok(None);
        }
        self.recognise(payload);
        let before = self.record.last_byte.replace(now);
        self.record.audio_messages += 1;
        self.last_activity = self.last_activity.max(now);
        self.record.first_byte.get_or_insert(now);
        self.playback.push(now, duration);
        if self.playback.lead().is_none() {
            self.unheard.push(payload.clone());
            let media = self.playback.media();
            self.delays.extend(network.map(|took| (media, took)));
            if media >= self.listen_at || media > timeout {
                // Ever less often, so that a long silence costs no more than twice its length.
                self.listen_at = media * 2;
                self.listen(ear, false).map_err(mismatch)?;
            }
            if media > timeout && self.playback.lead().is_none() {
                // A silence without end must fill neither the memory nor the rest of the run.
                return Err((FailureClass::Silent, format!("{media} of audio without an audible sound")));
            }
        }
        Ok(before.filter(|_| !self.record.warmup).map(|before| Event::AudioGap(now - before)))
    }

    /// A reply that begins again after a reconnect. A reply may repeat itself, so that one message does not tell, unless
    /// there had been only one.
    fn recognise(&mut self, payload: &Bytes) {
        if self.again.is_none() && (self.record.reconnects > 0 || self.beginning.len() == BEGINNING) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        let content = hasher.finish();
        let Some(n) = self.again else { return self.beginning.push(content) };
        self.again = (self.beginning.get(n) == Some(&content)).then_some(n + 1);
        if self.again == Some(self.beginning.len()) {
            (self.record.answered_twice, self.again) = (true, None);
        }
    }

    /// The session goes on after a loss.
    pub(super) fn resumed(&mut self) {
        self.record.reconnects = self.record.reconnects.saturating_add(1);
        self.again = (!self.beginning.is_empty()).then_some(0);
    }

    /// As what it is remembered once its reply is complete.
    pub(super) const fn answered(&self) -> Answered {
        let r = &self.record;
        Answered { session_turn: r.session_turn, turn: r.turn, again: false, twice: false }
    }

    /// What was sent has arrived.
    pub(super) const fn arrived(&mut self) {
        (self.swallowed, self.end_swallowed) = (Micros::ZERO, false);
    }

    /// It is lost: if its reply had begun, the end of that is what is missing.
    pub(super) const fn cut_short(&mut self) {
        self.record.cut_short = self.record.first_byte.is_some() && self.record.reply_done.is_none();
    }

    /// True if the server knows it by this number.
    pub(super) const fn is(&self, session_turn: u32) -> bool {
        self.on_wire && self.record.session_turn == session_turn
    }

    fn listen(&mut self, ear: &mut Ear, complete: bool) -> Result<(), String> {
        match ear.listen(&self.unheard, complete) {
            Heard::Nothing => {}
            Heard::Sound(lead) => {
                self.playback.set_lead(lead);
                self.record.network_down =
                    self.delays.iter().find(|(end, _)| lead < *end).map(|(_, took)| *took);
                (self.unheard, self.delays) = (Vec::new(), Vec::new());
            }
            Heard::Noise => return Err("it cannot be decoded".to_owned()),
        }
        Ok(())
    }

    /// When the first audible sample of the reply was (or will be) heard.
    pub(super) fn audible(&self) -> Option<Micros> {
        self.playback.judged_playout().first_audible
    }

    /// When to give up waiting, and as what.
    pub(super) fn deadline(&self, timeout: Micros, gap_timeout: Micros) -> Micros {
        match self.record.first_byte {
            None => self.record.end_of_speech.saturating_add(timeout),
            // A server may send faster than real time and then wait until its reply has been played.
            Some(_) => self
                .last_activity
                .max(self.playback.end().unwrap_or(self.last_activity))
                .saturating_add(gap_timeout),
        }
    }

    /// The reply is complete: the verdict on it.
    pub(super) fn complete(&mut self, now: Micros, ear: &mut Ear, max_stall_ratio: f64) -> Outcome {
        self.record.reply_done = Some(now);
        if self.playback.lead().is_none()
            && !self.unheard.is_empty()
            && let Err(why) = self.listen(ear, true)
        {
            return Outcome::Failed(FailureClass::FormatMismatch, format!("reply audio: {why}").into());
        }
        if self.playback.lead().is_none() {
            let media = self.playback.media();
            return Outcome::Failed(
                FailureClass::Silent,
                format!("the reply ended after {media} of audio without an audible sound").into(),
            );
        }
        let stalled = self.playback.judged_playout().stalled;
        let ratio = crate::event::stall_ratio(stalled, self.playback.media());
        if ratio > max_stall_ratio {
            let (percent, limit) = (ratio * 100.0, max_stall_ratio * 100.0);
            let detail = format!(
                "playback stalled for {stalled}, {percent:.1} % of the reply; at most {limit} % is allowed"
            );
            return Outcome::Failed(FailureClass::Stalls, detail.into());
        }
        Outcome::Succeeded
    }

    /// The finished record.
    pub(super) fn into_record(mut self, now: Micros, outcome: Outcome) -> Box<TurnRecord> {
        Self::played(&mut self.record, &self.playback);
        self.record.ended = now;
        self.record.outcome = outcome;
        Box::new(self.record)
    }

    /// The record as it is now.
    pub(super) fn so_far(&self) -> TurnRecord {
        let mut record = self.record.clone();
        Self::played(&mut record, &self.playback);
        record
    }

    fn played(r: &mut TurnRecord, playback: &Playback) {
        r.lead_silence = playback.lead();
        r.reply_media = playback.media();
        r.playout = playback.playouts();
        r.judged = playback.judged_playout();
        r.required_prebuffer = playback.required_prebuffer();
    }
}
