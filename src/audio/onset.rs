//! The first audible sample of a reply, found while it streams in: the instant that TTFA is measured to.
//!
//! ```text
//! samples  ····.·.··│▁▃▅▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
//! windows      └10 ms┘                        RMS above −40 dBFS, a new one each 2.5 ms
//!               └10 ms┘ …                     17 in a row: 50 ms held
//!                   ▲ the answer: in the first window, the first 2.5 ms that are themselves that loud,
//!                     and in them the first sample that is
//! ```

use super::level::{AUDIBLE_DBFS, amplitude, power};
use crate::time::Micros;

/// Hops of 2.5 ms in a window of 10 ms.
const WINDOW: usize = 4;
/// Windows in a row that span 50 ms: the first of 10 ms, then one for each further 2.5 ms.
const HELD: u32 = 1 + (50 - 10) * 4 / 10;

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onset {
    /// Nothing audible has been held for 50 ms yet.
    Pending,
    /// The first audible sample, as media time from the start of the reply.
    Found(Micros),
}

/// Finds the first audible sample of one reply: 10 ms RMS above −40 dBFS, held for 50 ms.
///
/// A sound shorter than that (a click) is passed over, unless the reply ends during it: [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct OnsetFinder {
    rate: u32,
    /// Samples per hop.
    hop: u32,
    /// Mean square and amplitude of the limit.
    power: f64,
    amplitude: f32,
    /// Hops before the one being filled.
    hops: u64,
    filling: Hop,
    /// Samples in it.
    filled: u32,
    /// The last [`WINDOW`] complete hops, as a ring.
    window: [Hop; WINDOW],
    /// Windows in a row above the limit, and the first loud sample of the first of them.
    held: u32,
    candidate: u64,
    found: Option<Micros>,
}

/// 2.5 ms of sound.
#[derive(Clone, Copy, Debug, Default)]
struct Hop {
    energy: f64,
    /// The first sample of the stream in it whose magnitude reaches the limit.
    loud: Option<u64>,
}

impl OnsetFinder {
    /// For a reply at `rate` Hz.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            hop: (rate / 400).max(1),
            power: power(AUDIBLE_DBFS),
            amplitude: amplitude(AUDIBLE_DBFS),
            hops: 0,
            filling: Hop::default(),
            filled: 0,
            window: [Hop::default(); WINDOW],
            held: 0,
            candidate: 0,
            found: None,
        }
    }

    /// Takes the next samples. Once found, the answer stays, and nothing more is looked at.
    pub fn push(&mut self, samples: &[f32]) -> Onset {
        for &sample in samples {
            if self.found.is_some() {
                break;
            }
            self.filling.energy += f64::from(sample) * f64::from(sample);
            if self.filling.loud.is_none() && sample.abs() >= self.amplitude {
                self.filling.loud = Some(self.hops * u64::from(self.hop) + u64::from(self.filled));
            }
            self.filled += 1;
            if self.filled == self.hop {
                self.end_hop();
            }
        }
        self.answer()
    }

    /// The reply is complete. A sound that lasts to its very end counts, however short: nobody knows how long it
    /// would have been held. So does a reply shorter than one window, if it is loud enough as a whole.
    pub fn finish(&mut self) -> Onset {
        if self.found.is_none() {
            if self.held > 0 {
                self.found = Some(self.at(self.candidate));
            } else if self.hops < WINDOW as u64 {
                let samples = self.hops * u64::from(self.hop) + u64::from(self.filled);
                let parts = || self.window.iter().chain([&self.filling]);
                let energy: f64 = parts().map(|h| h.energy).sum();
                if energy > self.power * samples.max(1) as f64 {
                    self.found = parts().filter_map(|h| h.loud).min().map(|s| self.at(s));
                }
            }
        }
        self.answer()
    }

    fn end_hop(&mut self) {
        self.window[(self.hops % WINDOW as u64) as usize] = std::mem::take(&mut self.filling);
        self.filled = 0;
        self.hops += 1;
        if self.hops < WINDOW as u64 {
            return;
        }
        let energy: f64 = self.window.iter().map(|h| h.energy).sum();
        if energy <= self.power * f64::from(self.hop) * WINDOW as f64 {
            self.held = 0;
            return;
        }
        if self.held == 0 {
            // A mean above the limit has at least one hop above it, and that one a sample.
            let limit = self.power * f64::from(self.hop);
            let loud = self.window.iter().filter(|h| h.energy > limit);
            self.candidate = loud.filter_map(|h| h.loud).min().unwrap_or(0);
        }
        self.held += 1;
        if self.held == HELD {
            self.found = Some(self.at(self.candidate));
        }
    }

    fn at(&self, sample: u64) -> Micros {
        Micros::of_samples(sample, self.rate)
    }

    fn answer(&self) -> Onset {
        self.found.map_or(Onset::Pending, Onset::Found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Samples of a tone between two instants in milliseconds, in silence.
    fn tone(rate: u32, amplitude: f32, from: f64, to: f64, total: f64) -> Vec<f32> {
        let at = |ms: f64| (ms * f64::from(rate) / 1e3) as usize;
        let mut samples = vec![0.0; at(total)];
        for (i, s) in samples[at(from)..at(to)].iter_mut().enumerate() {
            *s = amplitude * (std::f32::consts::FRAC_PI_2 + i as f32 * 0.4).sin();
        }
        samples
    }

    fn find(rate: u32, samples: &[f32]) -> (Onset, Onset) {
        let mut finder = OnsetFinder::new(rate);
        (finder.push(samples), finder.finish())
    }

    #[test]
    fn the_first_loud_sample_is_found() {
        for rate in [8_000, 16_000, 24_000, 44_100, 48_000] {
            for from in [0.0, 0.5, 9.0, 123.25, 500.0] {
                let (onset, _) = find(rate, &tone(rate, 0.3, from, 700.0, 800.0));
                let Onset::Found(at) = onset else { panic!("{rate} {from}") };
                assert!((at.as_millis_f64() - from).abs() < 0.2, "{rate} {from}: {at}");
            }
        }
    }

    #[test]
    fn quiet_sounds_and_clicks_are_not_audible() {
        let pending = (Onset::Pending, Onset::Pending);
        assert_eq!(find(16_000, &tone(16_000, 0.013, 100.0, 500.0, 600.0)), pending, "−41 dBFS");
        assert_eq!(find(16_000, &tone(16_000, 0.3, 100.0, 130.0, 600.0)), pending, "30 ms");
        assert_eq!(find(16_000, &[0.0; 8_000]), pending);
        assert_eq!(find(16_000, &[]), pending);
        // A click, then speech: the click is passed over.
        let mut samples = tone(16_000, 0.3, 100.0, 110.0, 300.0);
        samples.extend(tone(16_000, 0.3, 0.0, 100.0, 100.0));
        assert_eq!(find(16_000, &samples).0, Onset::Found(Micros(300_000)));
    }

    #[test]
    fn what_lasts_to_the_end_counts() {
        for length in [4.0, 10.0, 30.0, 40.0] {
            let (before, after) = find(16_000, &tone(16_000, 0.3, 400.0, 400.0 + length, 400.0 + length));
            assert_eq!(before, Onset::Pending);
            assert_eq!(after, Onset::Found(Micros(400_000)), "{length} ms at the very end");
        }
        assert_eq!(find(16_000, &tone(16_000, 0.3, 1.0, 6.0, 6.0)).1, Onset::Found(Micros(1_000)));
    }

    #[test]
    fn garbage_is_not_a_panic() {
        let wild = [f32::NAN, f32::INFINITY, f32::MIN, 1e-40];
        for rate in [0, 1, 399, 16_000] {
            let mut finder = OnsetFinder::new(rate);
            finder.push(&wild.repeat(1_000));
            finder.finish();
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(from in 0_u32..2_000, length in 0_u32..2_000, cut in 1_usize..700) {
            let samples = tone(16_000, 0.1, f64::from(from) / 16.0, f64::from(from + length) / 16.0, 300.0);
            let mut finder = OnsetFinder::new(16_000);
            let mut last = Onset::Pending;
            for part in samples.chunks(cut) {
                last = finder.push(part);
            }
            prop_assert_eq!((last, finder.finish()), find(16_000, &samples));
        }
    }
}
