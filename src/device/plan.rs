//! What all devices of a run share, and what the seed decides for each turn.

use std::sync::Arc;

use crate::audio::Clip;
use crate::dialect::{Dialect, Encoding, Prepared, SessionSetup};
use crate::scenario::{PlaybackPlan, SessionPlan, TurnPlan};
use crate::seed::Seed;
use crate::time::Micros;

/// The conversation that every device has, each with its own draws.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Root of all draws.
    pub seed: Seed,
    /// The protocol.
    pub dialect: Dialect,
    /// What connections are opened with.
    pub setup: Arc<SessionSetup>,
    /// Utterances; at least one.
    pub utterances: Vec<Spoken>,
    /// Coughs and "mm-hm"s, in the order of the scenario.
    pub sounds: Vec<Spoken>,
    /// Turns.
    pub turn: TurnPlan,
    /// Connections.
    pub session: SessionPlan,
    /// The loudspeaker.
    pub playback: PlaybackPlan,
    /// Turns planned to start before this are not counted.
    pub warmup: Micros,
}

/// A clip and its frames, ready to send: shared by all devices.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// Timing.
    pub clip: Clip,
    /// One per chunk of the speech.
    pub speech: Arc<[Prepared]>,
    /// One per chunk of the silence loop.
    pub silence: Arc<[Prepared]>,
}

impl Spoken {
    /// Wraps a clip in a dialect.
    pub fn new(clip: Clip, dialect: Dialect, encoding: Encoding) -> Self {
        let prepare = |c| dialect.prepare(c, encoding);
        let (speech, silence) =
            (clip.speech.iter().map(prepare).collect(), clip.silence.iter().map(prepare).collect());
        Self { clip, speech, silence }
    }
}

/// What the seed decides for one turn of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Think time before the turn.
    pub think: Micros,
    /// Which utterance.
    pub utterance: usize,
    /// Interrupt the reply this long after its first audible sample.
    pub barge_in: Option<Micros>,
    /// Make this sound this long after the reply's first audible sample.
    pub backchannel: Option<(usize, Micros)>,
    /// Position of a reconnection within its back-off, 0 … 1, in 2⁻³² steps.
    pub jitter: u32,
}

impl Plan {
    /// The draws of turn `turn` of device `device`: independent of everything else that happens.
    pub fn draw(&self, device: u32, turn: u32) -> Draw {
        let mut r = self.seed.stream("turn", u64::from(device) << 32 | u64::from(turn));
        let think = self.turn.think.draw(&mut r);
        let utterance = r.below(self.utterances.len() as u64) as usize;
        let barge_in = self.turn.barge_in.as_ref().and_then(|b| {
            let (yes, after) = (r.chance(b.share), b.after.draw(&mut r));
            yes.then_some(after)
        });
        let interrupted = self.turn.barge_in.as_ref().map_or(0.0, |b| b.share);
        let backchannel = self.turn.backchannel.as_ref().and_then(|b| {
            // An interruption and a cough in one reply could not be told apart: its share is of all turns, and it
            // takes it from those that are left.
            let (yes, after) = (r.chance(b.share / (1.0 - interrupted)), b.after.draw(&mut r));
            let sound = r.below(self.sounds.len() as u64) as usize;
            (yes && barge_in.is_none() && !self.sounds.is_empty()).then_some((sound, after))
        });
        Draw { think, utterance, barge_in, backchannel, jitter: (r.bits() >> 32) as u32 }
    }

    /// Full jitter: a random delay up to a limit that doubles with each attempt (`attempt` counts from 0).
    pub fn backoff(&self, attempt: u32, jitter: u32) -> Micros {
        let limit = self
            .session
            .reconnect_base
            .0
            .saturating_mul(1 << attempt.min(30))
            .min(self.session.reconnect_cap.0);
        // A golden-ratio walk from the turn's draw, so that successive attempts of one turn differ.
        let at = jitter.wrapping_add(attempt.wrapping_mul(0x9e37_79b9));
        Micros(((i128::from(limit) * i128::from(at)) >> 32) as i64)
    }
}
