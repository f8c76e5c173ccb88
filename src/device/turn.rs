//! One turn, from the first word to the end of the reply.

use bytes::Bytes;

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

impl Turn {
    /// A turn that begins. `record` holds what the plan says about it.
    pub(super) fn new(record: TurnRecord, draw: Draw, prebuffer: Micros) -> Self {
        Self {
            last_activity: record.end_of_speech,
            record,
            draw,
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
