//! How intervals are stored: maps whose keys are no text as lists of pairs, and metrics by name, those without samples
//! left out.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::distribution::{LARGEST, decode, encode_histogram};
use super::samples::Samples;

/// A map as a list of pairs.
pub(super) mod pairs {
    use super::*;

    pub(in super::super) fn serialize<'a, M, K, V, S>(map: &'a M, to: S) -> Result<S::Ok, S::Error>
    where
        &'a M: IntoIterator<Item = (&'a K, &'a V)>,
        K: Serialize + 'a,
        V: Serialize + 'a,
        S: Serializer,
    {
        to.collect_seq(map)
    }

    pub(in super::super) fn deserialize<'de, M, K, V, D>(from: D) -> Result<M, D::Error>
    where
        M: FromIterator<(K, V)>,
        K: Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

/// Distributions by the name of their metric.
pub(super) mod metrics {
    use std::collections::BTreeMap;

    use super::super::{Distribution, Metric};
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(all: &[Distribution], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(Metric::ALL.iter().zip(all).filter(|(_, d)| d.count() > 0).map(|(m, d)| (m.name(), d)))
    }

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<Vec<Distribution>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let mut named = BTreeMap::<String, Distribution>::deserialize(from)?;
        let all = Metric::ALL.iter().map(|m| named.remove(m.name()).unwrap_or_default()).collect();
        match named.keys().next() {
            Some(name) => Err(de::Error::custom(format!("`{name}` is no metric of this voxload"))),
            None => Ok(all),
        }
    }
}

/// A few samples as they are, many as a histogram.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Few(Vec<u64>),
    Many(String),
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let histogram = |h: &Histogram<u64>| match encode_histogram(h) {
            text if text.is_empty() => Err(ser::Error::custom("a histogram cannot be written")),
            text => Ok(Stored::Many(text)),
        };
        match self {
            Self::Few(all) => Stored::Few(all.clone()).serialize(to),
            Self::Many(h) => histogram(h)?.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Few(all) if all.iter().all(|v| *v <= LARGEST.unsigned_abs()) => Self::Few(all),
            Stored::Few(_) => return Err(de::Error::custom("times above a day, which no run measures")),
            Stored::Many(text) => decode(&text).map_err(de::Error::custom)?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Distribution, Interval, Metric, Recorder};
    use crate::event::{Event, FailureClass};
    use crate::fault::{FaultKind, Phase};
    use crate::measure::testing::turn;
    use crate::time::Micros;

    #[test]
    fn an_interval_comes_back_as_it_was() {
        let mut r = Recorder::new(Micros::ZERO, true);
        for n in 0..2_000 {
            r.ticked(Micros(n), Micros(n * n));
        }
        r.record(1, Micros(1), Event::TurnStarted { warmup: false });
        r.record(1, Micros(2), Event::TurnEnded(Box::new(turn(1, Micros(5), Some(Micros(-3))))));
        r.record(2, Micros(3), Event::TurnEnded(Box::new(turn(2, Micros(5), None))));
        let class = FailureClass::Server("overloaded".to_owned());
        r.record(3, Micros(4), Event::ConnectionLost { class, detail: "x".into(), established: false });
        r.record(4, Micros(5), Event::FaultBegan { fault: FaultKind::Roam, phase: Phase::Idle });
        let before = r.take();
        let text = serde_json::to_string(&before).unwrap();
        let after: Interval = serde_json::from_str(&text).unwrap();
        for &m in Metric::ALL {
            assert_eq!(before.metric(m).to_result("us"), after.metric(m).to_result("us"), "{}", m.name());
        }
        assert_eq!(after.metric(Metric::TickerLag).count(), 2_000);
        assert_eq!((before.counts, &before.turns), (after.counts, &after.turns));
        assert_eq!(before.failures, after.failures);
        assert_eq!(format!("{:?}", before.network), format!("{:?}", after.network));
    }

    #[test]
    fn what_is_no_metric_is_named() {
        let mut value = serde_json::to_value(Interval::default()).unwrap();
        value["metrics"]["smell"] = serde_json::to_value(Distribution::default()).unwrap();
        let e = serde_json::from_value::<Interval>(value).unwrap_err().to_string();
        assert!(e.contains("`smell` is no metric"), "{e}");
    }
}
