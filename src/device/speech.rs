//! Speaking: which frame is due when.

use std::sync::Arc;

use super::plan::{Plan, Spoken};
use crate::dialect::Prepared;
use crate::time::Micros;

/// An utterance (or a cough) on its way out.
#[derive(Clone, Debug)]
pub(super) struct Speech {
    plan: Arc<Plan>,
    what: What,
    /// `t0`.
    start: Micros,
    /// Chunks sent.
    next: usize,
    /// Streams silence after the speech, until [`Speech::hush`].
    silence: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Utterance(usize),
    Sound(usize),
}

impl Speech {
    /// An utterance that starts at `start`; with `silence`, the microphone stays open after it.
    pub(super) fn utterance(plan: &Arc<Plan>, index: usize, start: Micros, silence: bool) -> Self {
        Self { plan: Arc::clone(plan), what: What::Utterance(index), start, next: 0, silence }
    }

    /// A cough or an "mm-hm".
    pub(super) fn sound(plan: &Arc<Plan>, index: usize, start: Micros) -> Self {
        Self { plan: Arc::clone(plan), what: What::Sound(index), start, next: 0, silence: false }
    }

    fn spoken(&self) -> &Spoken {
        match self.what {
            What::Utterance(i) => &self.plan.utterances[i],
            What::Sound(i) => &self.plan.sounds[i],
        }
    }

    /// When the next chunk is due; `None` when there is none.
    pub(super) fn due(&self) -> Option<Micros> {
        let clip = &self.spoken().clip;
        if let Some(chunk) = clip.speech.get(self.next) {
            return Some(self.start + chunk.due);
        }
        let looped = &clip.silence;
        let last = looped.last().filter(|_| self.silence)?;
        let n = self.next - clip.speech.len();
        let passes = (n / looped.len()) as i64;
        Some(self.start + clip.last_due() + last.due * passes + looped[n % looped.len()].due)
    }

    /// The next chunk, to be sent now.
    pub(super) fn take(&mut self) -> Option<&Prepared> {
        let n = self.next;
        self.next += 1;
        let spoken = self.spoken();
        match spoken.speech.get(n) {
            Some(chunk) => Some(chunk),
            None if spoken.silence.is_empty() => None,
            None => spoken.silence.get((n - spoken.speech.len()) % spoken.silence.len()),
        }
    }

    /// True once every chunk of the speech itself has been taken.
    pub(super) fn spoken_out(&self) -> bool {
        self.next >= self.spoken().clip.speech.len()
    }

    /// Closes the microphone: no more silence.
    pub(super) fn hush(&mut self) {
        self.silence = false;
    }

    /// When the chunk that carries the last audible sample is due.
    pub(super) fn end_due(&self) -> Micros {
        let clip = &self.spoken().clip;
        let end = clip.speech_end + clip.lookahead;
        let chunk = clip.speech.iter().find(|c| c.due >= end);
        self.start + chunk.map_or_else(|| clip.last_due(), |c| c.due)
    }
}
