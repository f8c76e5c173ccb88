//! The pipeline of one turn: recogniser → language model → synthesiser, in virtual time.
//!
//! ```text
//! end of turn ─wait─▶ recogniser ─▶ final ─wait─▶ model ─▶ token token token … ─▶ (slot free)
//!                                                   first sentence ─┐ overlapped   │ serial
//!                                                                   └─wait─▶ synthesiser ─▶ audio, audio, … ─▶ done
//! ```
//!
//! Each stage draws its latency from the plan and works in a slot. Once a stage has its slot, everything it will
//! say is a function of the plan, so instants are exact however late the caller asks for them.

use std::sync::Arc;
use std::task::Waker;

use super::replies::Reply;
use super::slots::{Slot, Slots};
use crate::scenario::{Pipeline as Arrangement, ReferencePlan};
use crate::seed::Stream;
use crate::time::Micros;

/// The slots of the three stages, shared by every session.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    stt: Slots,
    llm: Slots,
    tts: Slots,
}

impl Stages {
    pub(super) fn new(plan: &ReferencePlan) -> Self {
        Self {
            stt: Slots::new(plan.stt_slots),
            llm: Slots::new(plan.llm_slots),
            tts: Slots::new(plan.tts_slots),
        }
    }
}

/// The latencies of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draws {
    /// Recogniser: its start → final transcript.
    pub(super) stt: Micros,
    /// Language model: its start → first token.
    pub(super) llm: Micros,
    /// Synthesiser: its start → first audio.
    pub(super) tts: Micros,
}

impl Draws {
    pub(super) fn new(plan: &ReferencePlan, r: &mut Stream) -> Self {
        Self { stt: plan.stt.draw(r), llm: plan.llm.draw(r), tts: plan.tts.draw(r) }
    }
}

/// How long each stage waited for its slot; `None` when it did not get that far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) stt: Option<Micros>,
    pub(super) llm: Option<Micros>,
    pub(super) tts: Option<Micros>,
}

/// What a reply says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// The final transcript.
    Final,
    /// The reply's word with this index.
    Token(usize),
    /// The reply's audio chunk with this index.
    Audio(usize),
    /// The reply is complete.
    Done,
}

/// How much of a reply has been said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The final transcript.
    pub(super) transcript: bool,
    /// Tokens.
    pub(super) tokens: usize,
    /// Audio chunks.
    pub(super) chunks: usize,
}

/// A stage at work.
#[derive(Debug)]
enum Stage {
    Before,
    Waiting(Slot),
    /// Keeps its slot until then.
    Working(Slot, Micros),
    /// Ended then.
    Over(Micros),
}

/// One turn's way through the stages.
#[derive(Debug)]
pub(super) struct Pipeline {
    plan: Arc<ReferencePlan>,
    stages: Stages,
    reply: Arc<Reply>,
    waker: Waker,
    draws: Draws,
    waits: Waits,
    stt: Stage,
    llm: Stage,
    tts: Stage,
    /// Known once the model has its slot.
    first_token: Micros,
    /// When the synthesis of each sentence starts to come out: known once the synthesiser has its slot.
    voices: Vec<Micros>,
    said: Said,
    /// Playing time of the chunks said so far.
    media: Micros,
    /// Real time is counted from here: the instant, and the playing time that had been said by then.
    pace: (Micros, Micros),
    done: bool,
}

impl Pipeline {
    /// A turn ended at `at`; `waker` is woken when a slot is granted later.
    pub(super) fn start(
        at: Micros,
        plan: &Arc<ReferencePlan>,
        stages: &Stages,
        draws: Draws,
        reply: Arc<Reply>,
        waker: &Waker,
    ) -> Self {
        Self {
            plan: Arc::clone(plan),
            stages: stages.clone(),
            reply,
            waker: waker.clone(),
            draws,
            waits: Waits::default(),
            stt: Stage::Waiting(stages.stt.request(at, waker)),
            llm: Stage::Before,
            tts: Stage::Before,
            first_token: Micros::NEVER,
            voices: Vec::new(),
            said: Said::default(),
            media: Micros::ZERO,
            pace: (Micros(i64::MIN), Micros::ZERO),
            done: false,
        }
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    pub(super) fn reply(&self) -> &Arc<Reply> {
        &self.reply
    }

    /// What is due at `now`, in order, with the instant for which it was planned. `None`: nothing more until
    /// [`next`](Self::next), or until the waker is woken.
    pub(super) fn pop(&mut self, now: Micros) -> Option<(Micros, Say)> {
        self.settle(now);
        let (at, say) = self.upcoming()?;
        if at > now {
            return None;
        }
        match say {
            Say::Final => self.said.transcript = true,
            Say::Token(_) => self.said.tokens += 1,
            Say::Audio(k) => {
                self.media += self.reply.chunks.get(k).map_or(Micros::ZERO, |c| c.media);
                self.said.chunks += 1;
            }
            Say::Done => self.done = true,
        }
        Some((at, say))
    }

    /// When to ask again; [`Micros::NEVER`] while only a slot is waited for.
    pub(super) fn next(&self) -> Micros {
        let next = self.next_work();
        self.upcoming().map_or(next, |(at, _)| next.min(at))
    }

    /// When a stage begins or ends next, whoever listens.
    pub(super) fn next_work(&self) -> Micros {
        let stage = |s: &Stage| match s {
            Stage::Working(_, until) => *until,
            // Granted between two looks: at once.
            Stage::Waiting(slot) => slot.granted().unwrap_or(Micros::NEVER),
            Stage::Before | Stage::Over(_) => Micros::NEVER,
        };
        let mut next = stage(&self.stt).min(stage(&self.llm)).min(stage(&self.tts));
        if matches!(self.tts, Stage::Before) {
            next = next.min(self.synthesis_due());
        }
        next
    }

    /// True while a stage has work to do, or waits for its slot.
    pub(super) fn works(&self) -> bool {
        !matches!((&self.llm, &self.tts), (Stage::Over(_), Stage::Over(_)))
    }

    /// From now on this one is woken when a slot is granted.
    pub(super) fn hand_to(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        for stage in [&self.stt, &self.llm, &self.tts] {
            if let Stage::Waiting(slot) = stage {
                slot.set_waker(waker);
            }
        }
    }

    /// Only so much has been said: what comes after it is said (again).
    pub(super) fn rewind(&mut self, said: Said) {
        let chunks = self.reply.chunks.iter().take(said.chunks);
        self.media = Micros(chunks.map(|c| c.media.0).sum());
        self.said = said;
        self.done = false;
    }

    /// After a pause that ends `now`: the rest of the audio goes as a reply does, a burst and then real time.
    pub(super) fn go_on(&mut self, now: Micros) {
        self.pace = (now, self.media);
    }

    /// Gives every slot and place back at `now`.
    pub(super) fn cancel(self, now: Micros) {
        for stage in [self.stt, self.llm, self.tts] {
            if let Stage::Waiting(slot) | Stage::Working(slot, _) = stage {
                slot.release(now);
            }
        }
    }

    /// Moves each stage as far as `now` allows.
    pub(super) fn settle(&mut self, now: Micros) {
        if let Some((slot, granted)) = granted(&mut self.stt) {
            self.waits.stt = Some(granted - slot.requested());
            self.stt = Stage::Working(slot, granted + self.draws.stt);
        }
        if let Some(at) = finished(&mut self.stt, now) {
            self.llm = Stage::Waiting(self.stages.llm.request(at, &self.waker));
        }
        if let Some((slot, granted)) = granted(&mut self.llm) {
            self.waits.llm = Some(granted - slot.requested());
            self.first_token = granted + self.draws.llm;
            self.llm = Stage::Working(slot, self.token_at(self.reply.words.len().saturating_sub(1)));
        }
        finished(&mut self.llm, now);
        if matches!(self.tts, Stage::Before) && self.synthesis_due() <= now {
            let due = self.synthesis_due();
            self.tts = Stage::Waiting(self.stages.tts.request(due, &self.waker));
        }
        if let Some((slot, granted)) = granted(&mut self.tts) {
            self.waits.tts = Some(granted - slot.requested());
            let until = self.synthesise(granted + self.draws.tts);
            self.tts = Stage::Working(slot, until);
        }
        finished(&mut self.tts, now);
    }

    /// Lays out when each sentence's audio begins to come out, and returns when the last has been made.
    fn synthesise(&mut self, first_audio: Micros) -> Micros {
        let sentences = &self.reply.sentences;
        let (mut free, mut from) = (first_audio, Micros::ZERO);
        let mut voices = Vec::with_capacity(sentences.len());
        for s in sentences {
            free += self.making(s.media - from);
            from = s.media;
            // Overlapped, a later sentence may still be unwritten when the synthesiser is free for it.
            free = free.max(match self.plan.pipeline {
                Arrangement::Overlapped => self.token_at(s.words.saturating_sub(1)),
                Arrangement::Serial => Micros(i64::MIN),
            });
            voices.push(free);
        }
        self.voices = voices;
        free + self.making(self.reply.media - from)
    }

    /// How long it takes to synthesise so much speech.
    fn making(&self, media: Micros) -> Micros {
        Micros((media.0 as f64 / self.plan.tts_speed.max(f64::MIN_POSITIVE)).round() as i64)
    }

    fn token_at(&self, word: usize) -> Micros {
        let after = word as f64 * 1e6 / self.plan.token_rate.max(f64::MIN_POSITIVE);
        self.first_token.saturating_add(Micros(after.round() as i64))
    }

    /// When the synthesiser has text to begin with.
    fn synthesis_due(&self) -> Micros {
        if self.first_token == Micros::NEVER {
            return Micros::NEVER;
        }
        let words = match self.plan.pipeline {
            Arrangement::Overlapped => self.reply.sentences.first().map_or(0, |s| s.words),
            Arrangement::Serial => self.reply.words.len(),
        };
        self.token_at(words.saturating_sub(1))
    }

    /// When chunk `k`, which begins after `media` of audio, may be sent: it must have been made, and after the burst
    /// it is paced in real time.
    fn audio_at(&self, media: Micros) -> Micros {
        let sentence = self.reply.sentences.partition_point(|s| s.media <= media);
        let sentence = sentence.saturating_sub(1);
        let (Some(voice), Some(s)) = (self.voices.get(sentence), self.reply.sentences.get(sentence)) else {
            return Micros::NEVER;
        };
        let made = *voice + self.making(media - s.media);
        // A reply that is one message: holding it back to real time would be a slower server.
        let paced = match self.plan.dialect.capabilities().whole_reply {
            true => Micros(i64::MIN),
            false => {
                let first = self.voices.first().copied().unwrap_or(Micros::NEVER);
                let (again, said) = self.pace;
                first.max(again).saturating_add((media - said - self.plan.burst).max(Micros::ZERO))
            }
        };
        made.max(paced)
    }

    /// The next thing to say, whenever that is.
    fn upcoming(&self) -> Option<(Micros, Say)> {
        if self.done {
            return None;
        }
        let Stage::Over(recognised) = self.stt else {
            return None;
        };
        if !self.said.transcript {
            return Some((recognised, Say::Final));
        }
        let Said { tokens, chunks, .. } = self.said;
        let token = (tokens < self.reply.words.len() && self.first_token != Micros::NEVER)
            .then(|| (self.token_at(tokens), Say::Token(tokens)));
        let audio = (chunks < self.reply.chunks.len() && !self.voices.is_empty())
            .then(|| (self.audio_at(self.media), Say::Audio(chunks)));
        match (token, audio) {
            (Some(t), Some(a)) => Some(if t.0 <= a.0 { t } else { a }),
            (t, a) if t.is_some() || a.is_some() => t.or(a),
            _ => match self.tts {
                // Complete once everything was written, made and said; `settle` ended the model before the synthesis.
                Stage::Over(made) => Some((made.max(self.last_said()), Say::Done)),
                _ => None,
            },
        }
    }

    /// When the last token and the last chunk were due.
    fn last_said(&self) -> Micros {
        let last = self.reply.chunks.last().map_or(Micros::ZERO, |c| c.media);
        let words = self.reply.words.len();
        self.token_at(words.saturating_sub(1)).max(self.audio_at(self.media - last))
    }
}

/// Takes a granted slot out of a waiting stage.
fn granted(stage: &mut Stage) -> Option<(Slot, Micros)> {
    let Stage::Waiting(slot) = stage else {
        return None;
    };
    let at = slot.granted()?;
    match std::mem::replace(stage, Stage::Before) {
        Stage::Waiting(slot) => Some((slot, at)),
        _ => None,
    }
}

/// Ends a working stage whose time has come, and gives its slot back at the planned instant.
fn finished(stage: &mut Stage, now: Micros) -> Option<Micros> {
    match stage {
        Stage::Working(_, until) if *until <= now => {
            let at = *until;
            if let Stage::Working(slot, _) = std::mem::replace(stage, Stage::Over(at)) {
                slot.release(at);
            }
            Some(at)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
