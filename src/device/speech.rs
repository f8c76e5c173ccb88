//! Speaking: which frame is due when.

use std::sync::Arc;

use super::plan::{Plan, Spoken};
use crate::dialect::Prepared;
use crate::time::Micros;

/// An utterance (or a cough) on its way out.
#[derive(Clone, Debug)]
pub(super) struct Speech {
    plan: Arc<Plan>,
    voice: Voice,
    /// `t0`.
    start: Micros,
    /// Chunks sent.
    next: usize,
    /// Streams silence after the speech, until [`Speech::hush`].
    silence: bool,
}

/// Something that a device says: an index into the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// One of [`Plan::utterances`].
    Utterance(u32),
    /// One of [`Plan::sounds`].
    Sound(u32),
}

/// The chunk that a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What is being said.
    pub voice: Voice,
    /// Counted from 0; past the end of [`Clip::speech`](crate::audio::Clip::speech) it is streamed silence.
    pub chunk: u32,
}

impl Plan {
    /// What a voice says.
    pub fn spoken(&self, voice: Voice) -> &Spoken {
        match voice {
            Voice::Utterance(i) => &self.utterances[i as usize],
            Voice::Sound(i) => &self.sounds[i as usize],
        }
    }
}

impl Speech {
    /// An utterance that starts at `start`; with `silence`, the microphone stays open after it.
    pub(super) fn utterance(plan: &Arc<Plan>, index: usize, start: Micros, silence: bool) -> Self {
        Self { plan: Arc::clone(plan), voice: Voice::Utterance(index as u32), start, next: 0, silence }
    }

    /// A cough or an "mm-hm".
    pub(super) fn sound(plan: &Arc<Plan>, index: usize, start: Micros) -> Self {
        Self { plan: Arc::clone(plan), voice: Voice::Sound(index as u32), start, next: 0, silence: false }
    }

    fn spoken(&self) -> &Spoken {
        self.plan.spoken(self.voice)
    }

    /// Which chunk [`take`](Self::take) gives next.
    pub(super) const fn piece(&self) -> Piece {
        Piece { voice: self.voice, chunk: self.next as u32 }
    }

    /// How long the next chunk is; zero for silence.
    pub(super) fn media(&self) -> Micros {
        self.spoken().clip.speech.get(self.next).map_or(Micros::ZERO, |c| c.media)
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
        let after = last.due * passes + looped[n % looped.len()].due;
        let can = self.plan.dialect.capabilities();
        let enough = !can.open_microphone && can.tail_max.is_some_and(|most| after > most);
        (!enough).then(|| self.start + clip.last_due() + after)
    }

    /// The next chunk, to be sent now at this bit rate (0 the highest).
    pub(super) fn take(&mut self, rate: usize) -> Option<&Prepared> {
        let n = self.next;
        self.next += 1;
        let (speech, silence) = self.spoken().frames(rate);
        match speech.get(n) {
            Some(chunk) => Some(chunk),
            None if silence.is_empty() => None,
            None => silence.get((n - speech.len()) % silence.len()),
        }
    }

    /// Leaves out what was due while nothing could be sent, but for the last `keep` of it. Silence is not kept: it says
    /// nothing late. Returns how much speech is lost, and how much is late.
    pub(super) fn skip_due(&mut self, now: Micros, keep: Micros) -> (Micros, Micros) {
        let (plan, start, from) = (Arc::clone(&self.plan), self.start, self.next);
        let chunks = plan.spoken(self.voice).clip.speech.get(from..).unwrap_or_default();
        let due = chunks.iter().take_while(|c| start + c.due <= now);
        let media: Vec<Micros> = due.map(|c| c.media).collect();
        let mut late = media.iter().fold(Micros::ZERO, |sum, m| sum + *m);
        let all = late;
        for m in &media {
            if late <= keep {
                break;
            }
            late -= *m;
            self.next += 1;
        }
        while self.spoken_out() && self.due().is_some_and(|due| due <= now) {
            self.next += 1;
        }
        (all - late, late)
    }

    /// When the last chunk of the speech itself is due, and how long it is.
    pub(super) fn last_chunk(&self) -> (Micros, Micros) {
        let clip = &self.spoken().clip;
        (self.start + clip.last_due(), clip.speech.last().map_or(Micros::ZERO, |c| c.media))
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
