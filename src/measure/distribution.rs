//! A distribution of times that also holds what a histogram cannot: values below zero and +∞.
//!
//! A first token can come before the end of speech; a turn that never answers took forever. Both are counted, and both
//! enter every quantile, so that a server cannot look better by failing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::samples::{DIGITS, Samples};
use crate::report::result::{FiniteQuantiles, MetricResult, Spread};
use crate::time::Micros;

/// Largest value kept, a day: anything longer is clamped to it (and is a time-out long before).
pub(super) const LARGEST: i64 = 86_400_000_000;

/// More samples in one histogram than any run can have.
const MOST_SAMPLES: u64 = 1_000_000_000_000_000;

/// A quantile: a time, or +∞.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// A time.
    Finite(Micros),
    /// So many samples are failures that the quantile is one of them.
    Infinite,
}

impl Quantile {
    /// The time, if it is one.
    pub const fn finite(self) -> Option<Micros> {
        match self {
            Self::Finite(t) => Some(t),
            Self::Infinite => None,
        }
    }
}

/// How sure an interval is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// Probability that it is missed on one side.
    tail: f64,
    /// The normal distribution's quantile of that.
    z: f64,
}

impl Confidence {
    /// 95 %: what is printed.
    pub const P95: Self = Self { tail: 0.025, z: 1.959_964 };
    /// 99.9 %: what a run may be condemned for.
    pub const P999: Self = Self { tail: 0.000_5, z: 3.290_527 };
}

/// Samples from −∞ to +∞ at 0.1 % resolution. Costs nothing until the first sample, and little while they are few.
/// Stored (a shard's record), it comes back as it was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Distribution {
    positive: Samples,
    /// Mirrored: −5 ms is kept as 5 ms.
    negative: Samples,
    infinite: u64,
    /// Exact extremes and sum of the finite samples.
    min: Option<i64>,
    max: Option<i64>,
    sum: i128,
}

/// A distribution at rest: a few bytes per distinct value instead of a histogram's counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    positive: Vec<u8>,
    negative: Vec<u8>,
    infinite: u64,
    min: Option<i64>,
    max: Option<i64>,
    sum: i128,
}

impl Distribution {
    /// Packs it for keeping, at a resolution of 1 %: a long run keeps a thousand of them.
    pub(super) fn pack(&self) -> Packed {
        let pack = |samples: &Samples| {
            let mut bytes = Vec::new();
            if let Some(h) = samples.coarse() {
                // Writing to a `Vec` cannot fail.
                let written = V2Serializer::new().serialize(&h, &mut bytes);
                debug_assert!(written.is_ok());
            }
            bytes.shrink_to_fit();
            bytes
        };
        Packed {
            positive: pack(&self.positive),
            negative: pack(&self.negative),
            infinite: self.infinite,
            min: self.min,
            max: self.max,
            sum: self.sum,
        }
    }

    /// Adds a sample.
    pub fn record(&mut self, value: Micros) {
        let us = value.0.clamp(-LARGEST, LARGEST);
        let side = if us < 0 { &mut self.negative } else { &mut self.positive };
        side.record(us.unsigned_abs());
        self.min = Some(self.min.map_or(us, |m| m.min(us)));
        self.max = Some(self.max.map_or(us, |m| m.max(us)));
        self.sum += i128::from(us);
    }

    /// Takes the memory that many samples take.
    pub(super) fn make_many(&mut self) {
        self.positive.make_many();
    }

    /// Adds a failure.
    pub fn record_infinite(&mut self) {
        self.infinite += 1;
    }

    /// Adds all samples of another: lossless.
    pub fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        self.infinite += other.infinite;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.into_iter().chain(other.max).max();
        self.sum += other.sum;
    }

    /// Samples, failures included.
    pub fn count(&self) -> u64 {
        self.finite_count() + self.infinite
    }

    /// Samples that are finite.
    pub fn finite_count(&self) -> u64 {
        self.negative_count() + self.positive.len()
    }

    /// Samples below zero.
    pub fn negative_count(&self) -> u64 {
        self.negative.len()
    }

    /// Failures.
    pub const fn infinite_count(&self) -> u64 {
        self.infinite
    }

    /// Smallest finite sample, exact.
    pub fn min(&self) -> Option<Micros> {
        self.min.map(Micros)
    }

    /// Largest finite sample, exact.
    pub fn max(&self) -> Option<Micros> {
        self.max.map(Micros)
    }

    /// Mean of the finite samples, µs.
    pub fn mean(&self) -> Option<f64> {
        let n = self.finite_count();
        (n > 0).then(|| self.sum as f64 / n as f64)
    }

    /// The smallest value that at least the share `q` of all samples, failures included, does not exceed.
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let n = self.count();
        (n > 0).then(|| {
            let rank = rank_of(q, n);
            self.at_rank(rank).map_or(Quantile::Infinite, Quantile::Finite)
        })
    }

    /// The same over finite samples only: what a tool that forgets failures would print.
    pub fn finite_quantile(&self, q: f64) -> Option<Micros> {
        let n = self.finite_count();
        if n == 0 { None } else { self.at_rank(rank_of(q, n)) }
    }

    /// How many samples exceed `limit`, failures included (to the resolution of the histogram).
    pub fn count_above(&self, limit: Micros) -> u64 {
        let (mut n, v) = (self.infinite, limit.0.unsigned_abs());
        if limit.0 >= 0 {
            n += self.positive.len() - self.positive.count_up_to(v);
        } else {
            n += self.positive.len() + self.negative.count_up_to(v.saturating_sub(1));
        }
        n
    }

    /// How many finite samples do not exceed each of `limits`, which ascend and are not negative (to the resolution of
    /// the histogram). What is missing from [`Self::count`] is larger, or a failure.
    pub fn counts_up_to(&self, limits: &[Micros]) -> Vec<u64> {
        let limits: Vec<u64> = limits.iter().map(|l| l.0.unsigned_abs()).collect();
        let below = self.negative_count();
        self.positive.counts_up_to(&limits).into_iter().map(|n| n + below).collect()
    }

    /// Sum of the finite samples, µs.
    pub fn sum(&self) -> f64 {
        self.sum as f64
    }

    /// The finite samples that are not negative: what goes into `.hlog` and `.hgrm` files.
    pub fn positive(&self) -> Option<Histogram<u64>> {
        self.positive.written()
    }

    /// For `result.json`. Quantiles are `null` where the number of samples does not support them.
    pub fn to_result(&self, unit: &str) -> MetricResult {
        let n = self.count();
        let claim = |q: f64| {
            let enough = n >= fewest_samples(q);
            if enough { self.quantile(q).and_then(Quantile::finite).map(|t| t.0) } else { None }
        };
        let finite_n = self.finite_count();
        let finite = |q: f64| {
            let enough = finite_n >= fewest_samples(q);
            if enough { self.finite_quantile(q).map(|t| t.0) } else { None }
        };
        MetricResult {
            unit: unit.to_owned(),
            count: n,
            infinite: self.infinite,
            negative: self.negative_count(),
            min_us: self.min,
            mean_us: self.mean(),
            p50_us: claim(0.5),
            p90_us: claim(0.9),
            p95_us: claim(0.95),
            p99_us: claim(0.99),
            p99_interval_us: self.interval(0.99, Confidence::P95).filter(|_| n >= fewest_samples(0.99)),
            p999_us: claim(0.999),
            max_us: if self.infinite > 0 { None } else { self.max },
            finite: FiniteQuantiles {
                p50_us: finite(0.5),
                p90_us: finite(0.9),
                p95_us: finite(0.95),
                p99_us: finite(0.99),
                p999_us: finite(0.999),
                max_us: self.max,
            },
            histogram: encode(&self.positive),
            histogram_negative: encode(&self.negative),
        }
    }

    /// In short, for `result.json`: without its histogram. Quantiles are `null` where the number of samples does not
    /// support them.
    pub fn to_spread(&self) -> Spread {
        let n = self.count();
        let claim = |q: f64| {
            let enough = n >= fewest_samples(q);
            if enough { self.quantile(q).and_then(Quantile::finite).map(|t| t.0) } else { None }
        };
        Spread {
            count: n,
            infinite: self.infinite,
            p50_us: claim(0.5),
            p95_us: claim(0.95),
            p99_us: claim(0.99),
            max_us: if self.infinite > 0 { None } else { self.max },
        }
    }

    /// Back from `result.json`.
    pub fn from_result(r: &MetricResult) -> Result<Self, String> {
        let me = Self {
            positive: decode(&r.histogram)?.into(),
            negative: decode(&r.histogram_negative)?.into(),
            infinite: r.infinite,
            min: r.min_us,
            max: r.finite.max_us,
            sum: 0,
        };
        if me.count() != r.count {
            return Err(format!("its histograms hold {} samples where `count` says {}", me.count(), r.count));
        }
        let sum = (r.mean_us.unwrap_or(0.0) * me.finite_count() as f64).round() as i128;
        Ok(Self { sum, ..me })
    }

    /// Where a quantile lies with that confidence, whatever the distribution: between two order statistics, either of
    /// which may be a failure (`None`). Nothing when there are too few samples.
    pub fn interval(&self, q: f64, confidence: Confidence) -> Option<[Option<i64>; 2]> {
        let (low, high) = interval_ranks(q, self.count(), confidence)?;
        Some([low, high].map(|rank| self.at_rank(rank).map(|t| t.0)))
    }

    /// The value of the `rank`-th smallest sample (from 1); `None` when it is a failure.
    fn at_rank(&self, rank: u64) -> Option<Micros> {
        let below = self.negative_count();
        if rank <= below {
            // The mirrored histogram is sorted the other way round.
            let value = self.negative.at_rank(below - rank + 1);
            return Some(Micros(-(value as i64).min(-self.min?)));
        }
        // A bucket's upper end may lie above the largest sample.
        let value = |rank| (self.positive.at_rank(rank) as i64).min(self.max.unwrap_or(i64::MAX));
        let rank = rank - below;
        (rank <= self.positive.len()).then(|| Micros(value(rank)))
    }
}

impl Packed {
    /// Back as it was.
    pub(super) fn unpack(&self) -> Distribution {
        Distribution {
            positive: read_histogram(&self.positive).unwrap_or_default().into(),
            negative: read_histogram(&self.negative).unwrap_or_default().into(),
            infinite: self.infinite,
            min: self.min,
            max: self.max,
            sum: self.sum,
        }
    }
}

/// Fewest samples from which a quantile is printed: one-sided 95 % bounds (p90: 29, p95: 59, p99.9: 2,995), and for
/// p99 the 1,000 from which its confidence interval is narrow enough to act on (`docs/METRICS.md`).
pub fn fewest_samples(q: f64) -> u64 {
    match q {
        q if q <= 0.5 => 1,
        q if q <= 0.9 => 29,
        q if q <= 0.95 => 59,
        q if q <= 0.99 => 1_000,
        q => ((0.05_f64).ln() / q.ln()).ceil().min(1e15) as u64,
    }
}

fn rank_of(q: f64, n: u64) -> u64 {
    // Guard against 0.95 · 20 = 19.000000000000004.
    ((q * n as f64 - 1e-9).ceil() as u64).clamp(1, n)
}

/// Ranks (from 1) between which the quantile `q` of what `n` samples were drawn from lies with that confidence: the
/// number of samples beyond it is binomial. `None` when `n` is too small for such an interval.
fn interval_ranks(q: f64, n: u64, confidence: Confidence) -> Option<(u64, u64)> {
    /// Beyond this the normal distribution is as good.
    const LARGE: u64 = 200_000;
    let (size, p, Confidence { tail, z }) = (n as f64, 1.0 - q, confidence);
    let (few, many) = if n > LARGE {
        let half = z * (size * p * q).sqrt();
        ((size * p - half).floor(), (size * p + half).ceil())
    } else {
        // Walk through the counts beyond the quantile: `few` and `many` leave less than a tail on their sides.
        let (mut log_mass, mut sum, mut few) = (size * q.ln(), 0.0, None);
        let mut count = 0.0;
        loop {
            sum += log_mass.exp();
            if sum <= tail {
                few = Some(count);
            }
            if sum >= 1.0 - tail || count >= size {
                break (few?, count);
            }
            log_mass += ((size - count) / (count + 1.0)).ln() + (p / q).ln();
            count += 1.0;
        }
    };
    let rank = |beyond: f64| n.saturating_sub(beyond as u64);
    (many < size).then(|| (rank(many), rank(few)))
}

fn encode(samples: &Samples) -> String {
    samples.written().map_or_else(String::new, |h| encode_histogram(&h))
}

/// V2, deflated, base64: as every HdrHistogram library reads it.
pub(super) fn encode_histogram(h: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(h, &mut bytes) {
        Ok(_) => BASE64.encode(bytes),
        Err(_) => String::new(),
    }
}

pub(super) fn decode(text: &str) -> Result<Option<Histogram<u64>>, String> {
    let bytes = BASE64.decode(text).map_err(|e| format!("its histogram is not base64: {e}"))?;
    read_histogram(&bytes)
}

fn read_histogram(mut bytes: &[u8]) -> Result<Option<Histogram<u64>>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut h: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes)
        .map_err(|e| format!("its histogram cannot be read: {e:?}"))?;
    // Written are times of at most a day, and as many as a run can have: other numbers would overflow in sums.
    if h.sigfig() > DIGITS || h.max() > 2 * LARGEST.unsigned_abs() || h.len() > MOST_SAMPLES {
        return Err(
            "its histogram holds what no run measures: times above a day, or more than 10^15".to_owned()
        );
    }
    h.auto(true);
    Ok(Some(h))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn histograms_of_what_no_run_measures_are_damage() {
        let read = |h: &Histogram<u64>| decode(&encode_histogram(h));
        let mut h = Histogram::<u64>::new(3).unwrap();
        h.record_n(LARGEST.unsigned_abs(), MOST_SAMPLES).unwrap();
        assert_eq!(read(&h).unwrap().map(|h| h.len()), Some(MOST_SAMPLES));
        h.record(1).unwrap();
        assert!(read(&h).is_err_and(|e| e.contains("more than 10^15")));
        let mut fine = Histogram::<u64>::new(5).unwrap();
        fine.record(1).unwrap();
        assert!(read(&fine).is_err());
        let mut long = Histogram::<u64>::new(2).unwrap();
        long.record(3 * LARGEST.unsigned_abs()).unwrap();
        assert!(read(&long).is_err());
    }

    fn of(values: &[i64], infinite: u64) -> Distribution {
        let mut d = Distribution::default();
        values.iter().for_each(|&v| d.record(Micros(v)));
        (0..infinite).for_each(|_| d.record_infinite());
        d
    }

    /// What the quantile is by sorting.
    fn sorted(values: &[i64], infinite: u64, q: f64) -> Option<i64> {
        let mut v = values.to_vec();
        v.sort_unstable();
        let n = v.len() as u64 + infinite;
        v.get(rank_of(q, n) as usize - 1).copied()
    }

    #[test]
    fn failures_are_infinite_and_not_absent() {
        let d = of(&[100_000; 90], 10);
        assert_eq!(d.quantile(0.9), Some(Quantile::Finite(Micros(100_000))));
        assert_eq!(d.quantile(0.91), Some(Quantile::Infinite));
        assert_eq!(d.finite_quantile(0.99), Some(Micros(100_000)));
        let r = d.to_result("us");
        assert_eq!((r.count, r.infinite, r.p50_us, r.p95_us, r.max_us), (100, 10, Some(100_000), None, None));
    }

    #[test]
    fn a_quantile_has_an_interval() {
        assert_eq!(interval_ranks(0.99, 1_000, Confidence::P95), Some((983, 997)));
        assert_eq!(interval_ranks(0.5, 100, Confidence::P95), Some((40, 61)));
        assert_eq!(interval_ranks(0.99, 100, Confidence::P95), None, "no sample is surely above it");
        let (low, high) = interval_ranks(0.99, 1_000_000, Confidence::P95).unwrap();
        assert!((low..=high).contains(&990_000) && high - low < 500, "{low} {high}");
        let all: Vec<i64> = (1..=1_000).collect();
        assert_eq!(of(&all, 0).to_result("us").p99_interval_us, Some([Some(983), Some(997)]));
        assert_eq!(of(&all[..995], 5).to_result("us").p99_interval_us, Some([Some(983), None]));
    }

    #[test]
    fn empty_has_no_quantile() {
        assert_eq!(Distribution::default().quantile(0.5), None);
        assert_eq!(of(&[], 3).quantile(0.5), Some(Quantile::Infinite));
        assert_eq!(of(&[], 3).finite_quantile(0.5), None);
    }

    #[test]
    fn quantiles_need_enough_samples() {
        let r = of(&(0..999).collect::<Vec<_>>(), 0).to_result("us");
        assert!(r.p95_us.is_some() && r.p99_us.is_none() && r.p999_us.is_none());
        assert!(of(&(0..1_000).collect::<Vec<_>>(), 0).to_result("us").p99_us.is_some());
        assert_eq!(fewest_samples(0.999), 2_995);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_samples(
            values in prop::collection::vec(-2_000_000_i64..20_000_000, 0..200),
            infinite in 0_u64..20,
            q in 0.001_f64..1.0,
        ) {
            prop_assume!(values.len() as u64 + infinite > 0);
            let d = of(&values, infinite);
            let got = d.quantile(q).and_then(Quantile::finite).map(|t| t.0);
            match (got, sorted(&values, infinite, q)) {
                (Some(got), Some(want)) => prop_assert!((got - want).abs() <= want.abs() / 1000 + 1, "{got} {want}"),
                (got, want) => prop_assert_eq!(got, want),
            }
        }

        #[test]
        fn merging_and_storing_lose_nothing(
            a in prop::collection::vec(-2_000_000_i64..20_000_000, 0..100),
            b in prop::collection::vec(-2_000_000_i64..20_000_000, 0..100),
            infinite in 0_u64..5,
        ) {
            let mut merged = of(&a, infinite);
            merged.merge(&of(&b, 1));
            let both = of(&[a, b].concat(), infinite + 1);
            let stored = Distribution::from_result(&both.to_result("us")).unwrap();
            let packed = both.pack().unpack();
            for d in [&merged, &stored, &packed] {
                prop_assert_eq!(d.count(), both.count());
                prop_assert_eq!((d.min(), d.max()), (both.min(), both.max()));
            }
            for q in [0.01, 0.5, 0.95, 1.0] {
                for d in [&merged, &stored] {
                    prop_assert_eq!(d.quantile(q), both.quantile(q));
                }
                match (packed.quantile(q), both.quantile(q)) {
                    (Some(Quantile::Finite(a)), Some(Quantile::Finite(b))) => {
                        prop_assert!((a.0 - b.0).abs() <= b.0.abs() / 100 + 1, "{a} {b}");
                    }
                    (a, b) => prop_assert_eq!(a, b),
                }
            }
        }

        #[test]
        fn counting_above_agrees_with_the_samples(
            values in prop::collection::vec(-1_000_i64..1_000, 0..100),
            limit in -1_000_i64..1_000,
        ) {
            let above = values.iter().filter(|&&v| v > limit).count() as u64;
            prop_assert_eq!(of(&values, 2).count_above(Micros(limit)), above + 2);
            if limit >= 0 {
                let limits = [Micros(limit), Micros(2_000)];
                prop_assert_eq!(of(&values, 2).counts_up_to(&limits), [values.len() as u64 - above, values.len() as u64]);
            }
        }
    }
}
