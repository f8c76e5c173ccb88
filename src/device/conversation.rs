//! A conversation as a microphone between the user and the toy would have recorded it: what was said, each sample at
//! the instant at which it was planned to be spoken, and what the toy's loudspeaker played, each sample when it was
//! heard.
//!
//! ```text
//! messages  arrive      1  2        3  4              played: interrupted
//!                       │  │        │  │                   │
//! heard     ────────────┤1 ┤2 ┤     ┤3 ┤4 ┤5 ┤6            ┆
//!                    ▲ prebuffer  ▲ stall               ▲ cut
//! said      ──┤▂▅▇▅▂▅▇▅▂├──────────────────────────────┤▂▅▇▅▂├──
//! ```
//!
//! Only sound is kept, as runs of samples at the rate of their codec; silence costs nothing, and resampling is done
//! once, over whole runs.

use std::collections::BTreeMap;

use super::playback::Playback;
use crate::audio::{EncodeError, wav};
use crate::time::Micros;

/// What is later than this is not kept.
pub const LONGEST: Micros = Micros::from_secs(3_600);

/// The sound of a conversation.
#[derive(Debug)]
pub struct Conversation {
    prebuffer: Micros,
    /// Whether samples are kept.
    keep: bool,
    said: Side,
    heard: Side,
    /// The loudspeaker, reply by reply.
    replies: BTreeMap<u32, Playback>,
    /// True when something was later than [`LONGEST`].
    cut_short: bool,
}

/// Where a message of a reply is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When its first sample leaves the loudspeaker.
    pub from: Micros,
    /// One past its last sample.
    pub until: Micros,
    /// How long the loudspeaker was silent before it, for want of audio.
    pub stalled: Micros,
}

/// Both sides at one rate, from the start of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Stereo {
    /// Samples per second.
    pub rate: u32,
    /// What was said.
    pub left: Vec<f32>,
    /// What was heard.
    pub right: Vec<f32>,
}

#[derive(Debug)]
struct Side {
    rate: u32,
    runs: Vec<Run>,
}

/// Sound without a gap.
#[derive(Debug)]
struct Run {
    /// The reply that it belongs to.
    reply: u32,
    at: Micros,
    samples: Vec<f32>,
}

impl Conversation {
    /// Nothing said yet. `said` and `heard`: samples per second; `prebuffer`: of the loudspeaker; without `keep`, it
    /// only tells when things are heard.
    pub const fn new(said: u32, heard: u32, prebuffer: Micros, keep: bool) -> Self {
        Self {
            prebuffer,
            keep,
            said: Side { rate: said, runs: Vec::new() },
            heard: Side { rate: heard, runs: Vec::new() },
            replies: BTreeMap::new(),
            cut_short: false,
        }
    }

    /// The user says this from `at` on.
    pub fn say(&mut self, at: Micros, samples: &[f32]) {
        if self.keeps(at) {
            self.said.add(0, at, samples);
        }
    }

    /// Audio of the reply to `turn` arrives, and plays for `duration`.
    pub fn hear(&mut self, turn: u32, arrival: Micros, duration: Micros, samples: &[f32]) -> Heard {
        let prebuffer = self.prebuffer;
        let playback = self.replies.entry(turn).or_insert_with(|| Playback::new(prebuffer));
        let before = playback.judged_playout().stalled;
        playback.push(arrival, duration);
        let until = playback.end().unwrap_or(arrival + duration);
        let heard =
            Heard { from: until - duration, until, stalled: playback.judged_playout().stalled - before };
        if self.keeps(heard.from) {
            self.heard.add(turn, heard.from, samples);
        }
        heard
    }

    /// The reply to `turn` is over. When the loudspeaker was stopped before it was played, it stopped at `stopped`.
    /// Returns when the loudspeaker falls silent, if it played at all.
    pub fn end(&mut self, turn: u32, stopped: Option<Micros>) -> Option<Micros> {
        let end = self.replies.remove(&turn)?.end()?;
        let Some(at) = stopped.filter(|&at| at < end) else {
            return Some(end);
        };
        self.heard.cut(turn, at);
        Some(at)
    }

    /// True when something came later than [`LONGEST`], and was not kept.
    pub const fn cut_short(&self) -> bool {
        self.cut_short
    }

    /// Both sides at the higher of their rates.
    pub fn mix(&self) -> Result<Stereo, EncodeError> {
        let rate = self.said.rate.max(self.heard.rate);
        let (mut left, mut right) = (self.said.mix(rate)?, self.heard.mix(rate)?);
        let length = left.len().max(right.len());
        left.resize(length, 0.0);
        right.resize(length, 0.0);
        Ok(Stereo { rate, left, right })
    }

    fn keeps(&mut self, at: Micros) -> bool {
        self.cut_short |= self.keep && at >= LONGEST;
        self.keep && at < LONGEST
    }
}

impl Side {
    fn add(&mut self, reply: u32, at: Micros, samples: &[f32]) {
        // Times are whole microseconds: what is less than a sample apart belongs together, without a click.
        let sample = Micros::of_samples(1, self.rate).0 + 1;
        let follows = |r: &&mut Run| r.reply == reply && (r.end(self.rate) - at).0.abs() <= sample;
        match self.runs.last_mut().filter(follows) {
            Some(run) => run.samples.extend_from_slice(samples),
            None => self.runs.push(Run { reply, at, samples: samples.to_vec() }),
        }
    }

    /// Forgets what would have been heard of a reply from `at` on.
    fn cut(&mut self, reply: u32, at: Micros) {
        for run in self.runs.iter_mut().filter(|r| r.reply == reply) {
            let left = (at - run.at).max(Micros::ZERO).to_samples(self.rate) as usize;
            run.samples.truncate(left);
        }
        self.runs.retain(|r| !r.samples.is_empty());
    }

    fn mix(&self, rate: u32) -> Result<Vec<f32>, EncodeError> {
        let mut all: Vec<f32> = Vec::new();
        for run in &self.runs {
            // An utterance can have been planned before the run began to count; it is heard from then on.
            let skip = (-run.at).max(Micros::ZERO).to_samples(rate) as usize;
            let from = run.at.max(Micros::ZERO).to_samples(rate) as usize;
            let samples = wav::resample(&run.samples, self.rate, rate)?;
            let samples = samples.get(skip..).unwrap_or_default();
            all.resize(all.len().max(from + samples.len()), 0.0);
            for (sum, s) in all[from..].iter_mut().zip(samples) {
                *sum += s;
            }
        }
        Ok(all)
    }
}

impl Run {
    fn end(&self, rate: u32) -> Micros {
        self.at + Micros::of_samples(self.samples.len() as u64, rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: u32 = 8_000;

    fn ms(n: i64) -> Micros {
        Micros::from_millis(n)
    }

    /// Messages (arrival in ms, duration in ms) whose samples all have their own value.
    fn play(prebuffer: i64, messages: &[(i64, i64)]) -> (Conversation, Vec<Heard>) {
        let mut c = Conversation::new(RATE, RATE, ms(prebuffer), true);
        let heard = messages.iter().enumerate().map(|(i, &(at, d))| {
            let samples = vec![(i + 1) as f32; ms(d).to_samples(RATE) as usize];
            c.hear(7, ms(at), ms(d), &samples)
        });
        let heard = heard.collect();
        (c, heard)
    }

    /// Runs of equal samples: (value, from in ms, to in ms), without silence.
    fn runs(samples: &[f32]) -> Vec<(i32, i64, i64)> {
        let mut out: Vec<(i32, usize, usize)> = Vec::new();
        for (i, &s) in samples.iter().enumerate().filter(|(_, s)| **s != 0.0) {
            match out.last_mut() {
                Some((value, _, to)) if *value == s as i32 && *to == i => *to = i + 1,
                _ => out.push((s as i32, i, i + 1)),
            }
        }
        let ms = |i: usize| i as i64 * 1_000 / i64::from(RATE);
        out.into_iter().map(|(value, from, to)| (value, ms(from), ms(to))).collect()
    }

    #[test]
    fn a_reply_is_heard_after_prebuffer_and_stalls() {
        // 60 ms of audio at 100 and 110, then nothing until 300: at a prebuffer of 20 ms it runs dry at 240.
        let (c, heard) = play(20, &[(100, 60), (110, 60), (300, 60), (301, 40)]);
        let stalled: Vec<_> = heard.iter().map(|h| h.stalled).collect();
        assert_eq!(stalled, [ms(0), ms(0), ms(60), ms(0)]);
        let mix = c.mix().unwrap();
        assert_eq!(runs(&mix.right), [(1, 120, 180), (2, 180, 240), (3, 300, 360), (4, 360, 400)]);
        assert_eq!(mix.left.len(), mix.right.len());
        assert!(mix.left.iter().all(|&s| s == 0.0));
    }

    #[test]
    fn an_interrupted_reply_ends_where_the_device_stopped_playing() {
        let (mut c, _) = play(0, &[(100, 60), (101, 60), (102, 60)]);
        assert_eq!(c.end(7, Some(ms(190))), Some(ms(190)));
        assert_eq!(runs(&c.mix().unwrap().right), [(1, 100, 160), (2, 160, 190)]);
        // Stopped after it had been played: nothing to cut.
        let (mut c, _) = play(0, &[(100, 60)]);
        assert_eq!(c.end(7, Some(ms(500))), Some(ms(160)));
        assert_eq!(runs(&c.mix().unwrap().right), [(1, 100, 160)]);
        assert_eq!(c.end(8, None), None, "a reply that there never was");
    }

    #[test]
    fn replies_do_not_cut_each_other_and_may_overlap() {
        let mut c = Conversation::new(RATE, RATE, ms(0), true);
        c.hear(1, ms(0), ms(100), &[1.0; 800]);
        c.hear(2, ms(50), ms(100), &[2.0; 800]);
        c.end(1, Some(ms(80)));
        assert_eq!(runs(&c.mix().unwrap().right), [(1, 0, 50), (3, 50, 80), (2, 80, 150)]);
    }

    #[test]
    fn both_sides_get_the_higher_rate_and_keep_their_times() {
        let mut c = Conversation::new(8_000, 24_000, ms(0), true);
        // Two chunks of a tone, which are one sound, and a pulse long after it.
        let tone: Vec<f32> = (0..960).map(|i| (i as f32 * 0.3).sin()).collect();
        c.say(ms(200), &tone[..480]);
        c.say(ms(260), &tone[480..]);
        c.hear(0, ms(1_000), ms(10), &[0.5; 240]);
        assert_eq!(c.said.runs.len(), 1);
        let mix = c.mix().unwrap();
        assert_eq!((mix.rate, mix.right.len()), (24_000, 24_240));
        let loud = |samples: &[f32]| {
            let first = samples.iter().position(|s| s.abs() > 0.2).unwrap();
            let last = samples.iter().rposition(|s| s.abs() > 0.2).unwrap();
            (first / 24, last / 24)
        };
        assert_eq!((loud(&mix.left), loud(&mix.right)), ((200, 319), (1_000, 1_009)));
    }

    #[test]
    fn what_is_too_long_or_not_wanted_is_not_kept() {
        let mut c = Conversation::new(RATE, RATE, ms(0), true);
        c.say(LONGEST, &[1.0; 8]);
        c.hear(0, LONGEST, ms(1), &[1.0; 8]);
        assert!(c.cut_short());
        assert_eq!(c.mix().unwrap().left.len(), 0);
        let mut c = Conversation::new(RATE, RATE, ms(0), false);
        c.say(ms(0), &[1.0; 8]);
        assert_eq!(c.hear(0, ms(5), ms(1), &[1.0; 8]).until, ms(6));
        assert!(!c.cut_short());
        assert_eq!(c.mix().unwrap(), Stereo { rate: RATE, left: Vec::new(), right: Vec::new() });
    }

    proptest! {
        /// Every sample is heard once, in order, never before it arrived, and gaps add up to the stalls.
        #[test]
        fn the_loudspeaker_plays_everything_in_order(
            messages in prop::collection::vec((0_i64..150, 20_i64..80), 1..20),
            prebuffer in 0_i64..100,
        ) {
            let mut at = 0;
            let messages: Vec<_> = messages.iter().map(|&(gap, d)| { at += gap; (at, d) }).collect();
            let (c, heard) = play(prebuffer, &messages);
            for (h, (arrival, d)) in heard.iter().zip(&messages) {
                prop_assert!(h.from >= ms(*arrival));
                prop_assert_eq!(h.until - h.from, ms(*d));
            }
            for pair in heard.windows(2) {
                prop_assert_eq!(pair[1].from - pair[0].until, pair[1].stalled);
            }
            let expected: Vec<_> = heard
                .iter()
                .enumerate()
                .map(|(i, h)| (i as i32 + 1, h.from.0 / 1_000, h.until.0 / 1_000))
                .collect();
            prop_assert_eq!(runs(&c.mix().unwrap().right), expected);
        }
    }
}
