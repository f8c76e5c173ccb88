//! Voice activity: when the user began to speak, and when they stopped.
//!
//! Works on the loud spans of each payload (10 ms steps, found after decoding), in media time: what counts is how
//! much quiet was *heard*, not how long nothing came.
//!
//! ```text
//! ▁▁▁█▁▁▁▁▁███████▁▁████████▁▁▁▁▁▁▁▁▁▁▁
//!    click  speech  (bridged) └─ silence ─▶ the turn ends
//! ```

use crate::time::Micros;

/// Quiet up to this long inside a run of speech (a plosive's closure, a breath between words) does not end the run.
const BRIDGE: Micros = Micros::from_millis(150);

/// A run shorter than this is a click and does not begin a turn.
const SHORTEST: Micros = Micros::from_millis(60);

/// What was heard so far on one connection.
#[derive(Clone, Debug)]
pub(super) struct Vad {
    /// Silence that ends a turn.
    silence: Micros,
    /// Media heard since the start.
    position: Micros,
    /// The latest run of speech, bridged.
    run: Option<(Micros, Micros)>,
    /// True from the first run that is long enough until the end of the turn.
    speaking: bool,
}

impl Vad {
    pub(super) fn new(silence: Micros) -> Self {
        Self { silence, position: Micros::ZERO, run: None, speaking: false }
    }

    /// Takes one payload in: its loud spans, offset from its start, and its duration.
    pub(super) fn hear(&mut self, loud: &[(Micros, Micros)], duration: Micros) {
        for (from, to) in loud {
            let (from, to) = (self.position + *from, self.position + *to);
            self.run = match self.run {
                Some((start, end)) if from - end <= BRIDGE => Some((start, to)),
                _ => Some((from, to)),
            };
            self.speaking |= self.run_length() >= SHORTEST;
        }
        self.position += duration;
    }

    /// True when the user has begun a turn that has not ended.
    pub(super) fn speaking(&self) -> bool {
        self.speaking
    }

    /// True when the turn has been followed by enough silence.
    pub(super) fn ended(&self) -> bool {
        self.speaking && self.quiet() >= self.silence
    }

    /// How long it has been quiet since the last loud span; zero when there was none.
    pub(super) fn quiet(&self) -> Micros {
        self.run.map_or(Micros::ZERO, |(_, end)| self.position - end)
    }

    /// How long the user has been speaking without a break; zero when the last run is over.
    pub(super) fn uninterrupted(&self) -> Micros {
        match self.run {
            Some((_, end)) if self.position - end <= BRIDGE => self.run_length(),
            _ => Micros::ZERO,
        }
    }

    /// Forgets what was heard: the next speech begins the next turn.
    pub(super) fn reset(&mut self) {
        self.run = None;
        self.speaking = false;
    }

    fn run_length(&self) -> Micros {
        self.run.map_or(Micros::ZERO, |(start, end)| end - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(i64) -> Micros = Micros::from_millis;

    /// Plays a pattern of 20 ms payloads, loud (`#`) or quiet, and returns after which payload the turn ended.
    fn ends(pattern: &str, silence: i64) -> Option<usize> {
        let mut vad = Vad::new(MS(silence));
        pattern.chars().position(|c| {
            let loud = [(MS(0), MS(20))];
            vad.hear(if c == '#' { &loud } else { &[] }, MS(20));
            vad.ended()
        })
    }

    #[test]
    fn a_turn_ends_after_the_silence_and_not_in_a_pause() {
        assert_eq!(ends("..####....####..........", 200), Some(23));
        assert_eq!(ends("..####.........", 200), None);
        assert_eq!(ends("..####..........", 200), Some(15));
    }

    #[test]
    fn a_click_begins_nothing() {
        assert_eq!(ends("..#....................", 100), None);
        assert_eq!(ends("..##.........##.........", 100), None);
    }

    #[test]
    fn the_end_is_counted_from_the_last_loud_span_inside_a_payload() {
        let mut vad = Vad::new(MS(100));
        vad.hear(&[(MS(0), MS(70))], MS(100));
        vad.hear(&[], MS(60));
        assert!(!vad.ended(), "90 ms of quiet");
        vad.hear(&[], MS(10));
        assert!(vad.ended());
    }

    #[test]
    fn a_long_run_is_a_barge_in_and_two_coughs_are_not() {
        let mut vad = Vad::new(MS(500));
        let (mut longest, loud) = (MS(0), [(MS(0), MS(20))]);
        for c in "##########...........##########".chars() {
            vad.hear(if c == '#' { &loud } else { &[] }, MS(20));
            longest = longest.max(vad.uninterrupted());
        }
        assert_eq!(longest, MS(200), "220 ms apart: not one run");
        for _ in 0..10 {
            vad.hear(&loud, MS(20));
        }
        assert_eq!(vad.uninterrupted(), MS(400));
    }
}
