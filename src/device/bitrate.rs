//! Adaptive bitrate: which of its bitrates a device should speak at, by what it can see itself: how much speech waits to be
//! written, and how long its heartbeats take.
//!
//! ```text
//! speech waits, or heartbeats take long ──▶ one step down, at most every half second
//! a great deal of speech waits ───────────▶ the lowest, at once
//! calm for a while ───────────────────────▶ one step up; longer, if the last step up did not last
//! ```
//!
//! Down is fast, because what waits is heard late; up is slow, because a link that has just been full has little room.

use crate::time::Micros;

/// More speech than this waiting: a step down. More than a chunk, so that one that is being written does not count.
const FULL: Micros = Micros::from_millis(200);
/// More than this: down to the lowest.
const FLOODED: Micros = Micros::from_millis(600);
/// Less than this: calm.
const EMPTY: Micros = Micros::from_millis(80);
/// What a heartbeat may take beyond the shortest, in all and as a multiple, before it is long; half of that is calm.
const LONG: (Micros, i64) = (Micros::from_millis(150), 2);
/// Between two steps down: what the first one did must show.
const SETTLE: Micros = Micros::from_millis(500);
/// Calm for so long before a step up: at first, and at most.
const CALM: (Micros, Micros) = (Micros::from_secs(5), Micros::from_secs(60));
/// The shortest heartbeat is that of the last one to two of these: routes change.
const MEMORY: Micros = Micros::from_secs(60);

/// Chooses a bitrate: an index into a list from the lowest to the highest.
#[derive(Clone, Debug)]
pub struct Bitrate {
    highest: usize,
    at: usize,
    /// Shortest heartbeat of this window and of the one before, and when this one began.
    shortest: [Option<Micros>; 2],
    window: Micros,
    last_rtt: Option<Micros>,
    calm_since: Option<Micros>,
    /// How long it must be calm before the next step up.
    patience: Micros,
    /// The last steps.
    lowered: Option<Micros>,
    raised: Option<Micros>,
}

impl Bitrate {
    /// Of so many bitrates (at least one), the highest.
    pub const fn new(bitrates: usize) -> Self {
        let highest = bitrates.saturating_sub(1);
        Self {
            highest,
            at: highest,
            shortest: [None; 2],
            window: Micros::ZERO,
            last_rtt: None,
            calm_since: None,
            patience: CALM.0,
            lowered: None,
            raised: None,
        }
    }

    /// The bitrate to speak at.
    pub const fn index(&self) -> usize {
        self.at
    }

    /// A heartbeat was answered after `rtt`.
    pub fn heartbeat(&mut self, now: Micros, rtt: Micros) -> usize {
        if now - self.window >= MEMORY {
            self.shortest = [None, self.shortest[0]];
            self.window = now;
        }
        let shortest = self.shortest[0].map_or(rtt, |s| s.min(rtt));
        self.shortest[0] = Some(shortest);
        self.last_rtt = Some(rtt);
        if self.is_long(rtt, 1) {
            self.step_down(now);
        }
        self.at
    }

    /// So much speech waits to be written: to be told with every chunk.
    pub fn waiting(&mut self, now: Micros, speech: Micros) -> usize {
        if speech > FLOODED && self.at > 0 {
            self.at = 1;
            self.lowered = None;
            self.step_down(now);
        } else if speech > FULL {
            self.step_down(now);
        } else if speech > EMPTY || self.last_rtt.is_some_and(|rtt| self.is_long(rtt, 2)) {
            self.calm_since = None;
        } else {
            let since = *self.calm_since.get_or_insert(now);
            // A step that has lasted makes the next one easier.
            if self.raised.is_some_and(|at| now - at >= self.patience * 2) {
                self.raised = None;
                self.patience = (self.patience / 2).max(CALM.0);
            }
            if now - since >= self.patience && self.at < self.highest {
                self.at += 1;
                (self.raised, self.calm_since) = (Some(now), Some(now));
            }
        }
        self.at
    }

    /// Takes longer than the shortest by a `part` of what is long.
    fn is_long(&self, rtt: Micros, part: i64) -> bool {
        let Some(shortest) = self.shortest.into_iter().flatten().min() else { return false };
        let more = LONG.0.max(shortest * (LONG.1 - 1));
        rtt > shortest + more / part
    }

    fn step_down(&mut self, now: Micros) {
        self.calm_since = None;
        if self.lowered.is_some_and(|at| now - at < SETTLE) {
            return;
        }
        // The last step up was one too many.
        if self.raised.take().is_some_and(|at| now - at < self.patience * 2) {
            self.patience = (self.patience * 2).min(CALM.1);
        }
        self.lowered = Some(now);
        self.at = self.at.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: [i64; 4] = [12_000, 16_000, 24_000, 32_000];
    const CHUNK: Micros = Micros::from_millis(60);

    /// Speaks for so long over a link that carries `capacity(t)` bits a second. Returns, for each chunk, the bitrate's
    /// index and how much speech waits behind it, in ms.
    fn speak(length: Micros, capacity: impl Fn(Micros) -> i64) -> Vec<(usize, i64)> {
        let mut b = Bitrate::new(RATES.len());
        let (mut now, mut bits, mut out) = (Micros::ZERO, 0_i64, Vec::new());
        while now < length {
            bits =
                (bits + RATES[b.index()] * CHUNK.0 / 1_000_000 - capacity(now) * CHUNK.0 / 1_000_000).max(0);
            let waiting = Micros(bits * 1_000_000 / RATES[b.index()]);
            b.waiting(now, waiting);
            if now.0 % 1_020_000 == 0 {
                b.heartbeat(now, Micros::from_millis(40) + Micros(bits * 1_000_000 / capacity(now).max(1)));
            }
            out.push((b.index(), waiting.0 / 1_000));
            now += CHUNK;
        }
        out
    }

    fn changes(spoken: &[(usize, i64)]) -> usize {
        spoken.windows(2).filter(|w| w[0].0 != w[1].0).count()
    }

    #[test]
    fn a_wide_link_is_left_alone() {
        let spoken = speak(Micros::from_secs(300), |_| 100_000);
        assert!(spoken.iter().all(|s| *s == (3, 0)));
    }

    #[test]
    fn a_link_that_narrows_is_followed_down_in_seconds_and_up_in_half_a_minute() {
        let (narrow, wide) = (Micros::from_secs(30), Micros::from_secs(60));
        let spoken =
            speak(Micros::from_secs(180), |t| if (narrow..wide).contains(&t) { 17_000 } else { 100_000 });
        let at = |s: i64| spoken[(s * 1_000_000 / CHUNK.0) as usize];
        assert_eq!(at(29).0, 3);
        assert!(at(34).0 <= 1, "{:?}", at(34));
        assert!(spoken.iter().all(|s| s.1 < 1_500), "never much waits");
        assert_eq!(at(175).0, 3, "{:?}", at(175));
        let back =
            spoken.iter().enumerate().skip(1_000).find(|(_, s)| s.0 == 3).map(|(i, _)| i as i64 * CHUNK.0);
        assert!(back.is_some_and(|at| at > wide.0 + 10_000_000), "slowly: {back:?}");
    }

    #[test]
    fn a_flood_goes_to_the_lowest_at_once() {
        let mut b = Bitrate::new(4);
        assert_eq!(b.waiting(Micros::from_secs(1), Micros::from_millis(700)), 0);
        let mut b = Bitrate::new(4);
        b.waiting(Micros::from_secs(1), Micros::from_millis(250));
        assert_eq!(b.waiting(Micros(1_100_000), Micros::from_millis(250)), 2, "a step must show first");
        assert_eq!(b.waiting(Micros(1_600_000), Micros::from_millis(250)), 1);
    }

    #[test]
    fn long_heartbeats_lower_it_too() {
        let mut b = Bitrate::new(4);
        (0..10).for_each(|s| assert_eq!(b.heartbeat(Micros::from_secs(s), Micros::from_millis(40)), 3));
        assert_eq!(b.heartbeat(Micros::from_secs(10), Micros::from_millis(180)), 3, "jitter");
        assert_eq!(b.heartbeat(Micros::from_secs(11), Micros::from_millis(200)), 2);
        // A longer way is forgotten as such after a while.
        let mut far = Bitrate::new(4);
        far.heartbeat(Micros::ZERO, Micros::from_millis(40));
        let last = (1..300).map(|s| far.heartbeat(Micros::from_secs(s), Micros::from_millis(210))).last();
        assert_eq!(last, Some(0));
        let calm = (0..2_000).map(|n| far.waiting(Micros::from_secs(300) + CHUNK * n, Micros::ZERO)).last();
        assert_eq!(calm, Some(3));
    }

    #[test]
    fn a_link_between_two_bitrates_does_not_flap() {
        let spoken = speak(Micros::from_secs(1_800), |_| 20_000);
        let late = &spoken[10_000..];
        assert!(changes(late) < 60, "{} changes in twenty minutes", changes(late));
        let fits = late.iter().filter(|s| s.0 <= 1).count() as f64 / late.len() as f64;
        assert!(fits > 0.9, "{fits}");
    }

    proptest! {
        /// Whatever it sees: the index is of the list, steps up are single and at least five seconds apart.
        #[test]
        fn up_is_slow(
            bitrates in 1_usize..6,
            seen in prop::collection::vec((10_i64..2_000, 0_i64..900, prop::option::of(1_i64..900)), 0..300),
        ) {
            let mut b = Bitrate::new(bitrates);
            let (mut now, mut raised) = (Micros::ZERO, None::<Micros>);
            for (step, waiting, rtt) in seen {
                now += Micros::from_millis(step);
                let before = b.index();
                if let Some(rtt) = rtt {
                    prop_assert!(b.heartbeat(now, Micros::from_millis(rtt)) <= before);
                }
                let before = b.index();
                let after = b.waiting(now, Micros::from_millis(waiting));
                prop_assert!(after < bitrates && after <= before + 1);
                if after > before {
                    prop_assert!(raised.is_none_or(|at| now - at >= CALM.0));
                    raised = Some(now);
                }
            }
        }
    }
}
