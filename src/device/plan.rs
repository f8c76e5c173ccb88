//! What all devices of a run share, and what the seed decides for each turn.

use std::sync::Arc;

use crate::audio::{Chunk, Clip};
use crate::dialect::{Dialect, Encoding, Prepared, SessionSetup};
use crate::event::FailureClass;
use crate::fault::FaultSpec;
use crate::scenario::{Arrivals, Fleet, Phase, PlaybackPlan, Reconnect, SessionPlan, TurnPlan};
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
    /// What strikes devices on purpose.
    pub faults: Arc<[FaultSpec]>,
    /// The loudspeaker.
    pub playback: PlaybackPlan,
    /// Turns planned to start before this are not counted.
    pub warmup: Micros,
    /// When devices send within a chunk period.
    pub beat: Beat,
    /// Devices that are idle when their time is over hang up within this time: all at once, they would disturb the turns
    /// that are still under way.
    pub departures: Micros,
}

/// How long a fleet of so many devices takes to hang up.
pub fn departures(devices: u32) -> Micros {
    Micros(i64::from(devices) * HANG_UP.0).min(LONGEST_DEPARTURES)
}

/// From one departure to the next, when the fleet is idle.
const HANG_UP: Micros = Micros(200);
/// Nobody waits for longer than this for the last of them.
const LONGEST_DEPARTURES: Micros = Micros::from_secs(2);

/// When devices send within a chunk period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Each device begins its first utterance so much later as the seed says, up to this period. Where its later ones
    /// begin follows from when replies end.
    Spread(Micros),
    /// Every utterance begins at a multiple of this period.
    Lockstep(Micros),
}

impl Beat {
    /// As a scenario has it, with chunks of this length. Open arrivals come exactly when their spacing says.
    pub const fn of(fleet: &Fleet, chunk: Micros) -> Self {
        match (fleet.phase, fleet.arrivals) {
            (Phase::Spread, Arrivals::Closed) => Self::Spread(chunk),
            (Phase::Spread, Arrivals::Open { .. }) => Self::Spread(Micros::ZERO),
            (Phase::Lockstep, _) => Self::Lockstep(chunk),
        }
    }
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
    /// The same at lower bit rates, highest first: the same chunks, smaller.
    pub lower: Vec<Lower>,
}

/// The frames of a clip at a lower bit rate.
#[derive(Clone, Debug)]
pub struct Lower {
    /// One per chunk of the speech.
    pub speech: Arc<[Prepared]>,
    /// One per chunk of the silence loop.
    pub silence: Arc<[Prepared]>,
}

impl Spoken {
    /// Wraps a clip in a dialect.
    pub fn new(clip: Clip, dialect: &Dialect, encoding: Encoding) -> Self {
        let prepare = |c| dialect.prepare(c, encoding);
        let (speech, silence) =
            (clip.speech.iter().map(prepare).collect(), clip.silence.iter().map(prepare).collect());
        Self { clip, speech, silence, lower: Vec::new() }
    }

    /// Adds the same clip at a lower bit rate. False (and nothing is added) when its chunks are not the same.
    #[must_use]
    pub fn add_lower(&mut self, clip: &Clip, dialect: &Dialect, encoding: Encoding) -> bool {
        let same = |a: &[Chunk], b: &[Chunk]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a.due, a.media) == (b.due, b.media))
        };
        let alike = same(&clip.speech, &self.clip.speech) && same(&clip.silence, &self.clip.silence);
        if alike {
            let Self { speech, silence, .. } = Self::new(clip.clone(), dialect, encoding);
            self.lower.push(Lower { speech, silence });
        }
        alike
    }

    /// The frames of the speech and of the silence loop at a rate: 0 the highest.
    pub fn frames(&self, rate: usize) -> (&[Prepared], &[Prepared]) {
        match rate.checked_sub(1).and_then(|n| self.lower.get(n)) {
            Some(lower) => (&lower.speech, &lower.silence),
            None => (&self.speech, &self.silence),
        }
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
}

impl Plan {
    /// Playing time of a byte of speech as it is sent, µs.
    pub fn us_per_byte(&self) -> f64 {
        let clips = || self.utterances.iter();
        let bytes: usize = clips().flat_map(|u| u.speech.iter()).map(|p| p.frame.len()).sum();
        let media: i64 = clips().flat_map(|u| u.clip.speech.iter()).map(|c| c.media.0).sum();
        media as f64 / bytes.max(1) as f64
    }

    /// How many bit rates there are to choose from.
    pub fn rates(&self) -> usize {
        self.utterances.first().map_or(1, |u| u.lower.len() + 1)
    }

    /// True when devices choose their bit rate.
    pub fn adapts(&self) -> bool {
        self.rates() > 1
    }

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
        Draw { think, utterance, barge_in, backchannel }
    }

    /// When the first utterance of a device begins that is due at `due`: devices that came together do not send together.
    pub fn first_beat(&self, device: u32, due: Micros) -> Micros {
        match self.beat {
            Beat::Spread(period) => {
                let mut r = self.seed.stream("phase", device.into());
                due + Micros(r.below(period.0.max(0).unsigned_abs()) as i64)
            }
            Beat::Lockstep(_) => self.on_beat(due),
        }
    }

    /// When any other utterance begins that is due at `due`.
    pub fn on_beat(&self, due: Micros) -> Micros {
        match self.beat {
            Beat::Lockstep(period) if period > Micros::ZERO => {
                let late = due.0.rem_euclid(period.0);
                if late == 0 { due } else { due + Micros(period.0 - late) }
            }
            _ => due,
        }
    }

    /// How much later than its time is over a device hangs up.
    pub fn departs_after(&self, device: u32) -> Micros {
        let at = self.seed.stream("departure", u64::from(device)).unit();
        Micros((self.departures.0 as f64 * at) as i64)
    }

    /// How long a device waits before it tries to come back: see [`reconnect_delay`].
    pub fn reconnect_delay(
        &self,
        device: u32,
        nth: u32,
        attempt: u32,
        class: Option<&FailureClass>,
    ) -> Micros {
        reconnect_delay(&self.session, self.seed, device, nth, attempt, class)
    }
}

/// How long a device waits before its attempt `attempt` to come back (counted from 0, from the last connection that had
/// lasted), which is its `nth` in all: each has a draw of its own, so that the delays follow from the seed, whatever
/// happens between them. `class`: why it is away. `NEVER`: it stays away.
pub fn reconnect_delay(
    session: &SessionPlan,
    seed: Seed,
    device: u32,
    nth: u32,
    attempt: u32,
    class: Option<&FailureClass>,
) -> Micros {
    let (base, cap) = (session.reconnect_base.0 as f64, session.reconnect_cap.0 as f64);
    let at = seed.stream("reconnect", u64::from(device) << 32 | u64::from(nth)).unit();
    let restarting = matches!(class, Some(FailureClass::Closed(SERVICE_RESTART | TRY_AGAIN_LATER)));
    let delay = match session.reconnect {
        Reconnect::None => return Micros::NEVER,
        _ if restarting => RESTART.0.0 as f64 + (RESTART.1 - RESTART.0).0 as f64 * at,
        Reconnect::FullJitter => (base * 2_f64.powi(attempt.min(60) as i32)).min(cap) * at,
        Reconnect::Grpc => (base * 1.6_f64.powi(attempt.min(60) as i32)).min(cap) * (0.8 + 0.4 * at),
        Reconnect::Fixed => base,
    };
    // Time must pass between two attempts, or a server that refuses at once would stop it.
    Micros(delay as i64).max(Micros(1))
}

/// Close codes after which the clients of a server should not all come back at once (RFC 6455's registry at IANA).
const SERVICE_RESTART: u16 = 1012;
/// Likewise.
const TRY_AGAIN_LATER: u16 = 1013;
/// When they should come back.
const RESTART: (Micros, Micros) = (Micros::from_secs(5), Micros::from_secs(30));

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::device::tests::plan;
    use crate::scenario::EndOfTurn;

    fn with(seed: u64, beat: Beat) -> Arc<Plan> {
        plan(EndOfTurn::Signal, |p| (p.seed, p.beat) = (Seed(seed), beat))
    }

    proptest! {
        /// Devices that would begin together begin anywhere within the period: each tenth of it has about a tenth of them.
        #[test]
        fn devices_spread_evenly_over_the_chunk_period(seed: u64, chunk_ms in 10_i64..200, due in 0..1_000_000_i64) {
            let period = Micros::from_millis(chunk_ms);
            let plan = with(seed, Beat::Spread(period));
            let devices = 4_000;
            let mut tenths = [0_u32; 10];
            for device in 0..devices {
                let late = plan.first_beat(device, Micros(due)) - Micros(due);
                prop_assert!((0..period.0).contains(&late.0));
                tenths[(late.0 * 10 / period.0) as usize] += 1;
            }
            // Binomial with mean 400 and standard deviation 19: six of those.
            prop_assert!(tenths.iter().all(|n| n.abs_diff(devices / 10) < 114), "{tenths:?}");
            prop_assert_eq!(plan.on_beat(Micros(due)), Micros(due), "later turns begin when they are due");
        }

        /// In lockstep everybody is on the same beat, at most a period after the instant that was due.
        #[test]
        fn lockstep_is_one_beat_for_all(seed: u64, chunk_us in 2_500_i64..200_000, due: [i32; 4]) {
            let plan = with(seed, Beat::Lockstep(Micros(chunk_us)));
            for (device, due) in (0..).zip(due) {
                let due = Micros(due.into());
                for at in [plan.first_beat(device, due), plan.on_beat(due)] {
                    prop_assert_eq!(at.0.rem_euclid(chunk_us), 0);
                    prop_assert!(at >= due && at - due < Micros(chunk_us));
                }
            }
        }
    }

    #[test]
    fn the_seed_decides_who_is_when() {
        let of = |seed, device| with(seed, Beat::Spread(Micros(60_000))).first_beat(device, Micros::ZERO);
        assert_eq!(of(1, 7), of(1, 7));
        assert!(of(1, 7) != of(1, 8) && of(1, 7) != of(2, 7));
    }
}
