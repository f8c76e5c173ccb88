//! A turn like most of them: what reports show beside the worst ones.
//!
//! The median is known when the run is over, its turns are on disk by then. So a few are kept from the whole of the
//! run, evenly, and the one nearest to the median is taken in the end.

use crate::event::TurnRecord;
use crate::time::Micros;

/// Most turns kept; then every other one goes.
const MOST: usize = 128;

/// Every so-manieth of the turns that were seen.
#[derive(Debug)]
pub(super) struct Typical {
    kept: Vec<TurnRecord>,
    seen: u64,
    every: u64,
}

impl Default for Typical {
    fn default() -> Self {
        Self { kept: Vec::new(), seen: 0, every: 1 }
    }
}

impl Typical {
    /// Looks at a turn that succeeded.
    pub(super) fn add(&mut self, t: &TurnRecord) {
        if self.seen.is_multiple_of(self.every) {
            if self.kept.len() == MOST {
                let mut n = 0;
                self.kept.retain(|_| {
                    n += 1;
                    n % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.kept.push(t.clone());
            }
        }
        self.seen += 1;
    }

    /// The one whose TTFA is nearest to this.
    pub(super) fn nearest(&self, ttfa: Micros) -> Option<&TurnRecord> {
        let off = |t: &TurnRecord| t.ttfa().map(|t| (t - ttfa).0.unsigned_abs());
        self.kept.iter().filter(|t| off(t).is_some()).min_by_key(|t| off(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::testing;

    #[test]
    fn of_many_turns_one_near_the_median_is_left() {
        let mut typical = Typical::default();
        for n in 0..10_000 {
            typical.add(&testing::turn(0, Micros::ZERO, Some(Micros(n))));
            assert!(typical.kept.len() <= MOST);
        }
        assert!(typical.kept.len() > MOST / 3, "{}", typical.kept.len());
        let gap = typical.kept.windows(2).map(|w| w[1].ttfa().unwrap() - w[0].ttfa().unwrap());
        assert!(gap.clone().all(|g| Some(g) == gap.clone().next()), "evenly from the whole");
        let near = typical.nearest(Micros(5_000)).and_then(TurnRecord::ttfa).unwrap();
        assert!((4_900..5_100).contains(&near.0), "{near:?}");
        assert!(Typical::default().nearest(Micros(1)).is_none());
    }
}
