//! The largest number that fits: doubled until it no longer does, then halved in between.
//!
//! A state machine without clock or process: it proposes, it is told, it proposes again.

/// How close the two ends of the bracket come before the search is content.
const CLOSE: f64 = 1.12;

/// A search among whole numbers, for one that fits while larger ones do not.
#[derive(Clone, Debug)]
pub(super) struct Search {
    least: u32,
    most: u32,
    start: u32,
    tries: u32,
    fits: Option<u32>,
    too_many: Option<u32>,
}

impl Search {
    /// Among `least..=most`, beginning at `start`, with at most so many `tries` from the first that fits on.
    pub(super) fn new(least: u32, most: u32, start: u32, tries: u32) -> Self {
        let (least, most) = (least.max(1), most.max(least).max(1));
        Self { least, most, start: round(start).clamp(least, most), tries, fits: None, too_many: None }
    }

    /// The number to try next; `None` when there is nothing more to be learned, or no try left.
    pub(super) fn next(&self) -> Option<u32> {
        if self.tries == 0 {
            return None;
        }
        match (self.fits, self.too_many) {
            (None, None) => Some(self.start),
            (Some(n), None) => (n < self.most).then(|| n.saturating_mul(2).min(self.most)),
            (None, Some(n)) => (n > self.least).then(|| round(n / 2).max(self.least)),
            (Some(low), Some(high)) => {
                let middle = round((f64::from(low) * f64::from(high)).sqrt() as u32);
                (f64::from(high) > f64::from(low) * CLOSE && low < middle && middle < high).then_some(middle)
            }
        }
    }

    /// What became of the last proposal.
    pub(super) fn tell(&mut self, n: u32, fits: bool) {
        if fits {
            self.fits = self.fits.max(Some(n));
        } else {
            self.too_many = Some(self.too_many.map_or(n, |m| m.min(n)));
        }
        // A search that has found nothing yet has told nobody anything.
        if self.fits.is_some() {
            self.tries = self.tries.saturating_sub(1);
        }
    }

    /// True when as many as may be tried fitted.
    pub(super) fn is_at_most(&self) -> bool {
        self.fits == Some(self.most)
    }

    /// The largest number that fitted.
    pub(super) const fn fits(&self) -> Option<u32> {
        self.fits
    }

    /// The smallest that did not.
    pub(super) const fn too_many(&self) -> Option<u32> {
        self.too_many
    }
}

/// To two digits: an estimate should not look like more.
fn round(n: u32) -> u32 {
    let unit = 10_u32.pow(n.checked_ilog10().unwrap_or(0).saturating_sub(1));
    (n + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried when everything up to `truth` fits, and where it ends.
    fn search(mut s: Search, truth: u32) -> (Vec<u32>, Option<u32>, Option<u32>) {
        let mut tried = Vec::new();
        while let Some(n) = s.next() {
            tried.push(n);
            s.tell(n, n <= truth);
            assert!(tried.len() < 40, "{tried:?}");
        }
        (tried, s.fits(), s.too_many())
    }

    #[test]
    fn doubles_then_bisects() {
        let s = Search::new(10, 10_000, 1_000, 20);
        assert_eq!(
            search(s, 4_700),
            (vec![1_000, 2_000, 4_000, 8_000, 5_700, 4_800, 4_400], Some(4_400), Some(4_800))
        );
    }

    #[test]
    fn halves_when_the_start_is_too_much() {
        let s = Search::new(10, 10_000, 1_000, 20);
        let (tried, fits, too_many) = search(s, 70);
        assert_eq!(tried[..5], [1_000, 500, 250, 130, 65]);
        assert!(fits <= Some(70) && too_many > Some(70) && fits >= Some(60), "{fits:?} {too_many:?}");
    }

    #[test]
    fn ends_at_its_limits() {
        assert_eq!(
            search(Search::new(10, 3_000, 1_000, 20), u32::MAX),
            (vec![1_000, 2_000, 3_000], Some(3_000), None)
        );
        assert_eq!(search(Search::new(40, 100, 80, 20), 0), (vec![80, 40], None, Some(40)));
        assert_eq!(search(Search::new(5, 5, 900, 20), 9), (vec![5], Some(5), None));
        assert_eq!(search(Search::new(0, 0, 0, 20), 9), (vec![1], Some(1), None));
    }

    #[test]
    fn tries_are_counted() {
        let (tried, fits, too_many) = search(Search::new(10, 10_000, 2_000, 3), 3_000);
        assert_eq!((tried, fits, too_many), (vec![2_000, 4_000, 2_800], Some(2_800), Some(4_000)));
        assert_eq!(search(Search::new(10, 100, 50, 0), 70), (vec![], None, None));
        let (tried, fits, too_many) = search(Search::new(10, 10_000, 2_000, 2), 300);
        assert_eq!((tried, fits, too_many), (vec![2_000, 1_000, 500, 250, 350], Some(250), Some(350)));
    }

    #[test]
    fn every_answer_is_found_to_within_the_closeness() {
        for truth in (10..10_000).step_by(37) {
            let (_, fits, too_many) = search(Search::new(10, 10_000, 2_000, 99), truth);
            let (low, high) = (f64::from(fits.unwrap()), f64::from(too_many.unwrap()));
            assert!(low <= f64::from(truth) && f64::from(truth) < high, "{truth}");
            // Small numbers are a digit apart at best.
            assert!(high <= low * CLOSE * 1.05 || high - low <= 2.0, "{truth}: {low} {high}");
        }
    }
}
