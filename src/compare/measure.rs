//! What is compared: one number of each run, such as its `ttfa:p(95)`.

use crate::gate::compare::{MARGIN, MARGIN_SHARE};
use crate::gate::{Counter, Statistic, Subject, parse_measure};
use crate::measure::{Distribution, Metric, Quantile, Unit as Samples, fewest_samples};
use crate::report::RunResult;
use crate::report::result::PlaybackResult;
use crate::report::text::{count, percent};
use crate::scenario::units::parse_duration;
use crate::time::Micros;

/// What decides unless the user says otherwise.
pub const PRIMARY: &str = "ttfa:p(95)";

/// What is looked at beside it.
pub const ADVISORY: [&str; 11] = [
    "ttfa:p(50)",
    "ttfa:p(99)",
    "ttfa_first_byte:p(95)",
    "ttft:p(50)",
    "ttft:p(95)",
    "endpoint_delay:p(95)",
    "barge_in_stop:p(95)",
    "turns.failed:rate",
    "stall_ratio@60ms:rate",
    "connect:p(95)",
    "connections.failed:rate",
];

/// A difference of shares up to this, half a point of a hundred, is not worth an alarm.
const SHARE_MARGIN: f64 = 0.005;
/// Likewise of ratios such as the real-time factor.
const RATIO_MARGIN: f64 = 0.02;

/// Counters of which more is better.
const MORE_IS_BETTER: [&str; 5] =
    ["turns.planned", "turns.started", "turns.succeeded", "barge_in.stopped", "connections.reconnected"];

/// What the numbers are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Time,
    /// A share of a whole, 0 to 1.
    Share,
    /// A ratio, such as the real-time factor.
    Ratio,
    /// How many.
    Count,
}

/// Why a run lacks a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing that it could be of.
    Nothing(String),
    /// There are samples, but too few for it.
    TooFew(String),
}

impl Missing {
    /// For people.
    pub fn text(&self) -> &str {
        match self {
            Self::Nothing(text) | Self::TooFew(text) => text,
        }
    }

    fn nothing(text: &str) -> Self {
        Self::Nothing(text.to_owned())
    }
}

/// One number of a run.
#[derive(Clone, Debug)]
pub struct Measure {
    text: String,
    subject: Subject,
    statistic: Statistic,
}

impl Measure {
    /// Reads `ttfa:p(95)`, as in thresholds; `ttfa` alone is its p(95), `turns.failed` alone its rate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (subject, statistic) = parse_measure(text).map_err(|e| e.to_string())?;
        let name = text.split(':').next().unwrap_or(text).trim();
        let word = match statistic {
            Statistic::Quantile(q) => format!("p({})", trimmed(q * 100.0)),
            Statistic::Min => "min".to_owned(),
            Statistic::Max => "max".to_owned(),
            Statistic::Mean => "avg".to_owned(),
            Statistic::Count => "count".to_owned(),
            Statistic::Rate => "rate".to_owned(),
            Statistic::Value => "value".to_owned(),
        };
        Ok(Self { text: format!("{name}:{word}"), subject, statistic })
    }

    /// As in a threshold: `ttfa:p(95)`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The metric whose distribution it is of, where it is of one.
    pub const fn metric(&self) -> Option<Metric> {
        match self.subject {
            Subject::Metric(m) => Some(m),
            _ => None,
        }
    }

    /// For a sentence: `p95 TTFA`, `share of failed turns`.
    pub fn spoken(&self) -> String {
        let name = self.text.split(':').next().unwrap_or_default();
        let known = match name {
            "ttfa" => "TTFA",
            "ttft" => "TTFT",
            "ttfa_first_byte" => "TTFA (first byte)",
            "endpoint_delay" => "endpoint delay",
            "barge_in_stop" => "barge-in stop",
            "connect" => "connect time",
            other => other,
        };
        match (self.statistic, name) {
            (Statistic::Rate, "turns.failed") => "share of failed turns".to_owned(),
            (Statistic::Rate, "connections.failed") => "share of failed connection attempts".to_owned(),
            (Statistic::Rate, n) if n.starts_with("stall_ratio@") => {
                format!(
                    "share of replies that stall at a prebuffer of {}",
                    n.trim_start_matches("stall_ratio@")
                )
            }
            (Statistic::Rate, n) => format!("rate of {n}"),
            (Statistic::Value, n) => n.to_owned(),
            (Statistic::Quantile(q), _) => format!("p{} {known}", trimmed(q * 100.0)),
            (Statistic::Min, _) => format!("smallest {known}"),
            (Statistic::Max, _) => format!("largest {known}"),
            (Statistic::Mean, _) => format!("mean {known}"),
            (Statistic::Count, _) => format!("count of {known}"),
        }
    }

    /// What its numbers are counted in.
    pub fn unit(&self) -> Unit {
        match (self.subject, self.statistic) {
            (_, Statistic::Count) => Unit::Count,
            (_, Statistic::Rate | Statistic::Value) => Unit::Share,
            (Subject::Metric(m), _) if m.unit() == Samples::Micros => Unit::Time,
            (Subject::Metric(m), _) if m.name().starts_with("stall_ratio") => Unit::Share,
            _ => Unit::Ratio,
        }
    }

    /// True for what should be large.
    pub fn more_is_better(&self) -> bool {
        matches!(self.subject, Subject::Counter(c) if MORE_IS_BETTER.contains(&c.name))
    }

    /// The number of a run, µs or a plain one; a failure is [`f64::INFINITY`]. `Err`: why there is none.
    pub fn of(&self, run: &RunResult) -> Result<f64, Missing> {
        match self.subject {
            Subject::Counter(counter) => self.of_counter(counter, run),
            Subject::StalledShare(at) => {
                let p = playback(run, at)?;
                share(p.stalled_us.max(0) as u64, (p.stalled_us + p.media_us).max(0) as u64)
            }
            Subject::Metric(m) if self.statistic == Statistic::Rate => {
                let at = m.name().split_once('@').and_then(|(_, at)| parse_duration(at).ok());
                let p = playback(run, at.unwrap_or(Micros::ZERO))?;
                share(p.stalled_replies, p.replies)
            }
            Subject::Metric(m) => self.of_metric(m, run),
        }
    }

    fn of_counter(&self, counter: &Counter, run: &RunResult) -> Result<f64, Missing> {
        let (n, of) = counter.of_run(run);
        if self.statistic == Statistic::Count { Ok(n as f64) } else { share(n, of) }
    }

    fn of_metric(&self, metric: Metric, run: &RunResult) -> Result<f64, Missing> {
        let Some(m) = run.metrics.get(metric.name()).filter(|m| m.count > 0) else {
            // Nobody was answered, although there was something to answer: that is a failure, not a gap.
            return if fails_as_infinite(metric) && nobody_answered(run) {
                Ok(f64::INFINITY)
            } else {
                Err(Missing::nothing("no sample"))
            };
        };
        let scale = if metric.unit() == Samples::Ppm { 1e-6 } else { 1.0 };
        let or_infinite = |v: Option<f64>| v.filter(|_| m.infinite == 0).unwrap_or(f64::INFINITY);
        Ok(match self.statistic {
            Statistic::Count => return Ok(m.count as f64),
            Statistic::Min => m.min_us.map_or(f64::INFINITY, |us| us as f64) * scale,
            Statistic::Max => or_infinite(m.max_us.map(|us| us as f64)) * scale,
            Statistic::Mean => or_infinite(m.mean_us) * scale,
            Statistic::Quantile(_) if m.infinite == m.count => f64::INFINITY,
            Statistic::Quantile(q) => {
                let needed = fewest_samples(q);
                if m.count < needed {
                    let (has, needs) = (count(m.count), count(needed));
                    return Err(Missing::TooFew(format!(
                        "{has} samples, where {} needs {needs}",
                        self.spoken()
                    )));
                }
                match Distribution::from_result(m).map_err(Missing::Nothing)?.quantile(q) {
                    Some(Quantile::Finite(t)) => t.0 as f64 * scale,
                    Some(Quantile::Infinite) => f64::INFINITY,
                    None => return Err(Missing::nothing("no sample")),
                }
            }
            // Refused when the expression was read.
            Statistic::Rate | Statistic::Value => {
                return Err(Missing::nothing("not a statistic of this metric"));
            }
        })
    }
}

/// Metrics whose failures are samples, at +∞.
fn fails_as_infinite(m: Metric) -> bool {
    matches!(m, Metric::Ttfa | Metric::TtfaFirstByte) || m.name().starts_with("ttfa@")
}

/// True when turns were planned and not one was answered.
const fn nobody_answered(r: &RunResult) -> bool {
    r.turns.planned > 0 && r.turns.succeeded + r.turns.interrupted == 0
}

fn playback(run: &RunResult, at: Micros) -> Result<&PlaybackResult, Missing> {
    let found = run.playback.iter().find(|p| p.prebuffer_us == at.0 && p.replies > 0);
    found.ok_or_else(|| Missing::nothing("no reply had audio"))
}

fn share(part: u64, whole: u64) -> Result<f64, Missing> {
    if whole == 0 {
        Err(Missing::nothing("nothing that it could be a share of"))
    } else {
        Ok(part as f64 / whole as f64)
    }
}

impl Unit {
    /// The name in `compare.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "us",
            Self::Share => "share",
            Self::Ratio => "ratio",
            Self::Count => "count",
        }
    }

    /// A number for people: `238 ms`, `1.2 %`, `∞`.
    pub fn level(self, x: f64) -> String {
        match self {
            _ if x == f64::INFINITY => "∞".to_owned(),
            _ if x == f64::NEG_INFINITY => "−∞".to_owned(),
            Self::Time => Micros(x.round() as i64).to_string(),
            Self::Share => percent(x),
            Self::Ratio => format!("{x:.3}"),
            Self::Count => trimmed(x),
        }
    }

    /// A change for people, with its sign: `+12.3 ms`, `−0.40 points`.
    pub fn change(self, x: f64) -> String {
        let (number, unit) = self.parts(x);
        format!("{number}{unit}")
    }

    /// The ends of an interval: `+30.5 to +35.1 ms`.
    pub fn interval(self, low: f64, high: f64) -> String {
        let ((a, unit), (b, other)) = (self.parts(low), self.parts(high));
        if unit == other { format!("{a} to {b}{unit}") } else { format!("{a}{unit} to {b}{other}") }
    }

    /// A change and its unit; nothing that rounds to zero has a sign.
    fn parts(self, x: f64) -> (String, String) {
        let (size, unit) = match self {
            _ if x.is_infinite() => ("∞".to_owned(), String::new()),
            Self::Time if x.abs() < 1e6 => (format!("{:.1}", x.abs() / 1e3), " ms".to_owned()),
            Self::Share => (format!("{:.2}", x.abs() * 100.0), " points".to_owned()),
            _ => {
                let text = self.level(x.abs());
                let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
                let gap = if unit.is_empty() { "" } else { " " };
                (number.to_owned(), format!("{gap}{unit}"))
            }
        };
        let zero = size.chars().all(|c| matches!(c, '0' | '.'));
        let sign = if zero {
            ""
        } else if x < 0.0 {
            "−"
        } else {
            "+"
        };
        (format!("{sign}{size}"), unit)
    }
}

/// Up to this much is no change that matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// In the unit of the numbers.
    pub amount: f64,
    /// Share of the baseline's median; the larger of the two counts.
    pub share: f64,
}

impl Margin {
    /// The one of `docs/METRICS.md`: 10 ms or 5 % for times, half a point for shares, 0.02 or 5 % for ratios.
    pub const fn default_of(unit: Unit) -> Self {
        match unit {
            Unit::Time => Self { amount: MARGIN.0 as f64, share: MARGIN_SHARE },
            Unit::Share => Self { amount: SHARE_MARGIN, share: 0.0 },
            Unit::Ratio => Self { amount: RATIO_MARGIN, share: MARGIN_SHARE },
            Unit::Count => Self { amount: 0.0, share: MARGIN_SHARE },
        }
    }

    /// Reads `15ms`, `5%` or `15ms,5%` for a unit. For shares, `1%` is one point of a hundred.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        let mut margin = Self { amount: 0.0, share: 0.0 };
        for part in text.split(',').map(str::trim) {
            let number = |t: &str| t.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
            match (unit, part.strip_suffix('%').map(number)) {
                (_, Some(None)) => return Err(wrong(part, unit)),
                (Unit::Share, Some(Some(points))) => margin.amount = points / 100.0,
                (_, Some(Some(percent))) => margin.share = percent / 100.0,
                (Unit::Time, None) => {
                    margin.amount = parse_duration(part).map_err(|_| wrong(part, unit))?.0 as f64;
                }
                (_, None) => margin.amount = number(part).ok_or_else(|| wrong(part, unit))?,
            }
        }
        Ok(margin)
    }

    /// For this median of the baseline.
    pub fn of(self, median: f64) -> f64 {
        if median.is_finite() { self.amount.max(self.share * median.abs()) } else { self.amount }
    }
}

fn wrong(part: &str, unit: Unit) -> String {
    let expected = match unit {
        Unit::Time => {
            "a time or a share of the baseline, such as `15ms`, `5%` or `10ms,5%` (the larger counts)"
        }
        Unit::Share => "points of a hundred, such as `1%`",
        Unit::Ratio | Unit::Count => "a number or a share of the baseline, such as `0.02` or `5%`",
    };
    format!("`{part}` is not a margin: expected {expected}")
}

/// Up to three digits after the point, without trailing zeros.
fn trimmed(x: f64) -> String {
    let text = format!("{x:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Kind, make};

    fn of(text: &str, run: &RunResult) -> Result<f64, Missing> {
        Measure::parse(text).unwrap().of(run)
    }

    #[test]
    fn every_standard_measure_can_be_read() {
        for text in ADVISORY.iter().chain([&PRIMARY]) {
            let m = Measure::parse(text).unwrap();
            assert_eq!(m.text(), *text);
            assert!(!m.spoken().contains(':') && !m.more_is_better(), "{}", m.spoken());
        }
        assert_eq!(Measure::parse("ttfa").unwrap().text(), PRIMARY);
        assert_eq!(Measure::parse("turns.failed").unwrap().text(), "turns.failed:rate");
        assert!(Measure::parse("turns.succeeded").unwrap().more_is_better());
        let e = Measure::parse("tffa:p(95)").unwrap_err();
        assert!(e.contains("ttfa"), "{e}");
    }

    #[test]
    fn numbers_of_a_run() {
        let good = make(Kind::Good, 7, 2_000).result;
        let p95 = of("ttfa:p(95)", &good).unwrap();
        assert_eq!(p95 as i64, good.metrics["ttfa"].p95_us.unwrap());
        assert_eq!(of("turns.failed:rate", &good), Ok(0.0));
        assert!((0.01..0.1).contains(&of("stall_ratio@60ms:rate", &good).unwrap()));
        assert!((0.5..0.7).contains(&of("rtf:med", &good).unwrap()), "ppm is made a ratio");
        assert_eq!(of("barge_in_stop", &good), Err(Missing::nothing("no sample")));
    }

    #[test]
    fn failures_are_infinite_and_gaps_are_not() {
        let failing = make(Kind::Failing, 7, 2_000).result;
        assert_eq!(of("ttfa:p(95)", &failing), Ok(f64::INFINITY));
        assert_eq!(of("ttfa:max", &failing), Ok(f64::INFINITY));
        assert!(of("ttfa:p(50)", &failing).unwrap().is_finite());
        let empty = make(Kind::Empty, 7, 0).result;
        assert_eq!(of("ttfa:p(95)", &empty), Ok(f64::INFINITY), "planned, and nobody was answered");
        assert!(of("connect:p(95)", &empty).is_err());
        let few = make(Kind::Good, 7, 50).result;
        assert!(matches!(of("ttfa:p(95)", &few), Err(Missing::TooFew(why)) if why.contains("needs 59")));
    }

    #[test]
    fn margins() {
        let of = |text, unit| Margin::parse(text, unit).map(|m| m.of(300_000.0));
        assert_eq!(of("10ms,5%", Unit::Time), Ok(15_000.0));
        assert_eq!(of("20ms", Unit::Time), Ok(20_000.0));
        assert_eq!(of("1%", Unit::Share), Ok(0.01));
        assert_eq!(Margin::default_of(Unit::Time).of(100_000.0), 10_000.0);
        assert_eq!(Margin::default_of(Unit::Time).of(f64::INFINITY), 10_000.0);
        for (text, unit) in [("15", Unit::Time), ("-1%", Unit::Share), ("x", Unit::Ratio), ("", Unit::Time)] {
            assert!(of(text, unit).unwrap_err().contains("expected"), "{text}");
        }
    }

    #[test]
    fn changes_have_signs() {
        assert_eq!(Unit::Time.change(12_345.0), "+12.3 ms");
        assert_eq!(Unit::Time.change(-1_500_000.0), "−1.50 s");
        assert_eq!(Unit::Share.change(-0.004), "−0.40 points");
        assert_eq!(Unit::Time.change(f64::NEG_INFINITY), "−∞");
        assert_eq!(Unit::Time.change(-3.0), "0.0 ms");
        assert_eq!(Unit::Time.interval(-1_000.0, 2_500.0), "−1.0 to +2.5 ms");
        assert_eq!(Unit::Time.interval(1_000.0, 2_500_000.0), "+1.0 ms to +2.50 s");
        assert_eq!(Unit::Time.interval(1_000.0, f64::INFINITY), "+1.0 ms to +∞");
        assert_eq!(Unit::Ratio.interval(-0.1, 0.25), "−0.100 to +0.250");
    }
}
