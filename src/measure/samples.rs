//! Times that are not negative, at a resolution of 0.1 %: as they are while they are few, in a histogram when they are
//! many. A histogram takes up to 200 KiB, and most metrics have but a few samples in an interval of one thread.

use std::borrow::Cow;

use hdrhistogram::Histogram;

/// Significant digits kept.
pub(super) const DIGITS: u8 = 3;

/// Buckets of one power of two: what three digits need (HdrHistogram's `sub_bucket_count` / 2, a power of two).
const HALF_BITS: u32 = 10;

/// More samples than this go into a histogram.
const FEW: usize = 512;

/// Samples. Empty, they take no memory.
#[derive(Clone, Debug)]
pub(super) enum Samples {
    /// In the order of recording.
    Few(Vec<u64>),
    /// By value.
    Many(Box<Histogram<u64>>),
}

impl Default for Samples {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Samples {
    /// Adds a sample; at most a day of microseconds.
    pub(super) fn record(&mut self, value: u64) {
        match self {
            Self::Few(all) if all.len() < FEW => all.push(value),
            Self::Few(_) => {
                self.make_many();
                self.record(value);
            }
            Self::Many(h) => {
                // The histogram grows by itself: this cannot fail.
                let recorded = h.record(value);
                debug_assert!(recorded.is_ok());
            }
        }
    }

    /// Puts the samples into a histogram, however few.
    pub(super) fn make_many(&mut self) {
        if let Self::Few(all) = self
            && let Some(h) = histogram_of(all)
        {
            *self = Self::Many(Box::new(h));
        }
    }

    /// Adds all samples of another: lossless.
    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Few(all)) => all.iter().for_each(|&v| self.record(v)),
            (Self::Many(mine), Self::Many(theirs)) => {
                let added = mine.add(&**theirs);
                debug_assert!(added.is_ok());
            }
            (Self::Few(_), Self::Many(_)) => {
                let few = std::mem::replace(self, other.clone());
                self.merge(&few);
            }
        }
    }

    /// How many.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Few(all) => all.len() as u64,
            Self::Many(h) => h.len(),
        }
    }

    /// The `rank`-th smallest (from 1), rounded up to the resolution.
    pub(super) fn at_rank(&self, rank: u64) -> u64 {
        match self {
            Self::Few(all) => {
                let mut sorted = all.clone();
                sorted.sort_unstable();
                let index = (rank.max(1) as usize - 1).min(sorted.len().saturating_sub(1));
                sorted.get(index).copied().map_or(0, rounded_up)
            }
            Self::Many(h) => {
                let mut seen = 0;
                for bucket in h.iter_recorded() {
                    seen += bucket.count_since_last_iteration();
                    if seen >= rank {
                        return h.highest_equivalent(bucket.value_iterated_to());
                    }
                }
                h.max()
            }
        }
    }

    /// How many do not exceed `limit`, to the resolution.
    pub(super) fn count_up_to(&self, limit: u64) -> u64 {
        match self {
            Self::Few(all) => all.iter().filter(|&&v| v <= rounded_up(limit)).count() as u64,
            Self::Many(h) => h.count_between(0, limit).min(h.len()),
        }
    }

    /// How many do not exceed each of `limits`, which ascend; in one pass.
    pub(super) fn counts_up_to(&self, limits: &[u64]) -> Vec<u64> {
        let limits: Vec<u64> = limits.iter().map(|&l| rounded_up(l)).collect();
        let mut counts = vec![0; limits.len()];
        let mut add = |value: u64, n: u64| {
            if let Some(count) = counts.get_mut(limits.partition_point(|&l| l < value)) {
                *count += n;
            }
        };
        match self {
            Self::Few(all) => all.iter().for_each(|&v| add(v, 1)),
            Self::Many(h) => h.iter_recorded().for_each(|b| {
                add(h.highest_equivalent(b.value_iterated_to()), b.count_since_last_iteration());
            }),
        }
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        counts
    }

    /// At a resolution of 1 %; nothing when there is no sample.
    pub(super) fn coarse(&self) -> Option<Histogram<u64>> {
        let fine = self.histogram()?;
        let mut coarse = Histogram::new(2).ok()?;
        // The histogram grows by itself: this cannot fail.
        let added = coarse.add(&*fine);
        debug_assert!(added.is_ok());
        Some(coarse)
    }

    /// As a histogram that says the same in whatever order the samples came: a histogram that grows remembers what made
    /// it grow, and writes that down.
    pub(super) fn written(&self) -> Option<Histogram<u64>> {
        let grown = self.histogram()?;
        let mut h = Histogram::new_with_max(grown.max().max(2), DIGITS).ok()?;
        h.auto(true);
        let added = h.add(&*grown);
        debug_assert!(added.is_ok());
        Some(h)
    }

    /// As a histogram; nothing when there is no sample.
    pub(super) fn histogram(&self) -> Option<Cow<'_, Histogram<u64>>> {
        match self {
            Self::Few(all) if all.is_empty() => None,
            Self::Few(all) => histogram_of(all).map(Cow::Owned),
            Self::Many(h) => Some(Cow::Borrowed(h)),
        }
    }
}

impl From<Option<Histogram<u64>>> for Samples {
    fn from(h: Option<Histogram<u64>>) -> Self {
        h.map_or_else(Self::default, |h| Self::Many(Box::new(h)))
    }
}

fn histogram_of(all: &[u64]) -> Option<Histogram<u64>> {
    let mut h = Histogram::new(DIGITS).ok()?;
    for &v in all {
        let recorded = h.record(v);
        debug_assert!(recorded.is_ok());
    }
    Some(h)
}

/// The largest value that the histogram cannot tell from `v`.
fn rounded_up(v: u64) -> u64 {
    let shift = v.checked_ilog2().unwrap_or(0).saturating_sub(HALF_BITS);
    v | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn few(values: &[u64]) -> Samples {
        let mut s = Samples::default();
        values.iter().for_each(|&v| s.record(v));
        s
    }

    fn many(values: &[u64]) -> Samples {
        let mut s = Samples::default();
        s.make_many();
        values.iter().for_each(|&v| s.record(v));
        s
    }

    #[test]
    fn a_few_stay_few_and_many_become_a_histogram() {
        assert!(matches!(few(&[1; FEW]), Samples::Few(_)));
        assert!(matches!(few(&[1; FEW + 1]), Samples::Many(_)));
        assert!(few(&[]).histogram().is_none());
        assert_eq!(few(&[3; FEW + 1]).len(), FEW as u64 + 1);
    }

    proptest! {
        #[test]
        fn a_few_say_what_a_histogram_says(
            values in prop::collection::vec(prop_oneof![0_u64..5_000, 0_u64..90_000_000_000], 1..100),
            other in prop::collection::vec(0_u64..1_000_000, 0..50),
            limit in prop_oneof![0_u64..5_000, 0_u64..90_000_000_000],
        ) {
            let (a, b) = (few(&values), many(&values));
            for rank in 1..=values.len() as u64 {
                prop_assert_eq!(a.at_rank(rank), b.at_rank(rank));
            }
            prop_assert_eq!(a.count_up_to(limit), b.count_up_to(limit));
            let limits = [limit / 2, limit, limit.saturating_mul(3)];
            for s in [&a, &b] {
                prop_assert_eq!(s.counts_up_to(&limits), limits.map(|l| s.count_up_to(l)));
            }
            prop_assert_eq!(a.histogram().unwrap().into_owned(), b.histogram().unwrap().into_owned());
            let whole = many(&[values, other.clone()].concat()).histogram().unwrap().into_owned();
            for mut one in [a, b] {
                for another in [few(&other), many(&other)] {
                    let mut merged = one.clone();
                    merged.merge(&another);
                    prop_assert_eq!(merged.histogram().unwrap().into_owned(), whole.clone());
                    let mut turned = another;
                    turned.merge(&one);
                    prop_assert_eq!(turned.histogram().unwrap().into_owned(), whole.clone());
                }
                one.make_many();
                prop_assert!(matches!(one, Samples::Many(_)));
            }
        }
    }
}
