//! Thresholds: `ttfa:p(95)<300ms`, in the spirit of k6.
//!
//! `metric:statistic operator limit`. What is not measured does not pass: a metric without a sample fails its
//! threshold, and a quantile that is a failed turn is +∞.

use crate::event::PREBUFFERS;
use crate::measure::{Distribution, Metric, Quantile, Unit};
use crate::report::RunResult;
use crate::report::result::{MetricResult, ThresholdResult};
use crate::scenario::units::{DURATION_HELP, TextError, format_duration, nearest, parse_duration};
use crate::time::Micros;

/// What a threshold looks at.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// A metric with a distribution.
    Metric(Metric),
    /// Something counted.
    Counter(&'static Counter),
    /// Stalled time as a share of playing time over all replies, at one of [`PREBUFFERS`].
    StalledShare(Micros),
}

/// Something counted, with what its rate is a share of.
#[derive(Debug)]
pub struct Counter {
    /// The name in thresholds.
    pub name: &'static str,
    /// What it counts, for the documentation.
    pub doc: &'static str,
    /// How many, and of how many.
    pub count: fn(&RunResult) -> (u64, u64),
}

/// Turns that the server is judged by: those that the end of the run did not cut.
const fn judged(r: &RunResult) -> u64 {
    r.turns.started.saturating_sub(r.turns.cancelled)
}

/// Everything that is counted.
pub const COUNTERS: &[Counter] = &[
    Counter { name: "turns.planned", doc: "turns planned", count: |r| (r.turns.planned, r.turns.planned) },
    Counter {
        name: "turns.started",
        doc: "turns begun; of those planned",
        count: |r| (r.turns.started, r.turns.planned),
    },
    Counter {
        name: "turns.succeeded",
        doc: "complete audible replies; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.succeeded, judged(r)),
    },
    Counter {
        name: "turns.failed",
        doc: "failed turns, time-outs included; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.failed + r.turns.timed_out, judged(r)),
    },
    Counter {
        name: "turns.timed_out",
        doc: "turns without audio in time; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.timed_out, judged(r)),
    },
    Counter {
        name: "turns.interrupted",
        doc: "turns cut by a planned barge-in; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.interrupted, judged(r)),
    },
    Counter {
        name: "turns.missed",
        doc: "turns planned and never begun; of those planned",
        count: |r| (r.turns.missed, r.turns.planned),
    },
    Counter {
        name: "turns.reconnected",
        doc: "turns that lost their connection, went on with another and succeeded; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.reconnected, judged(r)),
    },
    Counter {
        name: "turns.lost_to_cut",
        doc: "turns that failed because of a lost connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.lost_to_cut, judged(r)),
    },
    Counter {
        name: "turns.cut_short",
        doc: "turns whose reply was lost in part with a connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.cut_short, judged(r)),
    },
    Counter {
        name: "turns.answered_twice",
        doc: "turns whose reply, or its beginning, came twice; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.answered_twice, judged(r)),
    },
    Counter {
        name: "turns.speech_lost",
        doc: "turns of which some speech was never sent for want of a connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.speech_lost, judged(r)),
    },
    Counter {
        name: "connections.failed",
        doc: "connection attempts that failed; of all attempts",
        count: |r| (r.connections.failed, r.connections.attempted),
    },
    Counter {
        name: "connections.lost",
        doc: "open connections that ended unasked; of those opened",
        count: |r| (r.connections.lost, r.connections.opened),
    },
    Counter {
        name: "connections.reconnected",
        doc: "connections opened again after a loss; of those lost",
        count: |r| (r.connections.reconnected, r.connections.lost),
    },
    Counter {
        name: "barge_in.stopped",
        doc: "interruptions that stopped the reply; of those made",
        count: |r| (r.barge_in.stopped, r.barge_in.made),
    },
    Counter {
        name: "barge_in.false_stops",
        doc: "coughs and \"mm-hm\"s that stopped the reply; of those made",
        count: |r| (r.barge_in.false_stops, r.barge_in.backchannels),
    },
];

/// What is computed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// The quantile 0 < q < 1 over all samples, failures as +∞.
    Quantile(f64),
    /// Smallest.
    Min,
    /// Largest; +∞ when there was a failure.
    Max,
    /// Mean; +∞ when there was a failure.
    Mean,
    /// How many.
    Count,
    /// Share of what could have been.
    Rate,
    /// The number itself.
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer ones first: `<=` is not `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// The unit of a limit: what one of it is in the unit of the samples (µs, or 1).
#[derive(Clone, Copy, Debug, PartialEq)]
enum LimitUnit {
    Time(f64),
    Percent,
    Number,
}

/// A parsed threshold.
#[derive(Clone, Debug)]
pub struct Threshold {
    expression: String,
    subject: Subject,
    statistic: Statistic,
    operator: Operator,
    /// In µs, or as a plain number (1 % is 0.01).
    limit: f64,
    unit: LimitUnit,
}

const SYNTAX: &str =
    "expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`";

/// A threshold as a share of samples: "p95 < 300 ms" allows 5 % of them above 300 ms.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Of what.
    pub of: AllowedOf,
    /// The share that may be, between 0 and 1.
    pub share: f64,
}

/// What a share is of.
#[derive(Clone, Copy, Debug)]
pub enum AllowedOf {
    /// Samples of this metric above the limit, in the unit of its samples.
    Above(Metric, Micros),
    /// What this counts, of what its rate is a share of.
    Counted(&'static Counter),
}

impl Threshold {
    /// As a share of samples, which a sample can be judged by with confidence; `None`: it is not of that kind.
    pub fn allowance(&self) -> Option<Allowance> {
        if !matches!(self.operator, Operator::Less | Operator::LessOrEqual) {
            return None;
        }
        let (of, share) = match (self.subject, self.statistic) {
            (Subject::Metric(m), Statistic::Quantile(q)) => {
                let scale = if m.unit() == Unit::Ppm { 1e6 } else { 1.0 };
                (AllowedOf::Above(m, Micros((self.limit * scale).round() as i64)), 1.0 - q)
            }
            (Subject::Counter(c), Statistic::Rate) => (AllowedOf::Counted(c), self.limit),
            _ => return None,
        };
        (share > 0.0 && share < 1.0).then_some(Allowance { of, share })
    }

    /// What it looks at.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// The statistic of it.
    pub const fn statistic(&self) -> Statistic {
        self.statistic
    }

    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let all = 0..text.len();
        let Some((name, rest)) = text.split_once(':') else {
            return Err(TextError::new(all, format!("`{text}` is not a threshold")).help(SYNTAX));
        };
        let name_start = name.len() - name.trim_start().len();
        let name = name.trim();
        let subject = subject(name).map_err(|e| e.shifted(name_start))?;
        let rest_start = text.len() - rest.len();
        let Some(at) = rest.find(['<', '>', '=', '!']) else {
            return Err(TextError::new(rest_start..text.len(), format!("`{text}` compares with nothing"))
                .help(SYNTAX));
        };
        let Some((symbol, operator)) = OPERATORS.iter().find(|(s, _)| rest[at..].starts_with(s)) else {
            let span = rest_start + at..rest_start + at + 1;
            return Err(
                TextError::new(span, "not an operator").help("expected `<`, `<=`, `>`, `>=`, `==` or `!=`")
            );
        };
        let word = &rest[..at];
        let word_start = rest_start + word.len() - word.trim_start().len();
        let statistic = statistic(word.trim(), subject, name).map_err(|e| e.shifted(word_start))?;
        let value = &rest[at + symbol.len()..];
        let value_start = text.len() - value.trim_start().len();
        let (limit, unit) = limit(value.trim(), subject, statistic).map_err(|e| e.shifted(value_start))?;
        Ok(Self { expression: text.to_owned(), subject, statistic, operator: *operator, limit, unit })
    }

    /// Judges a run.
    pub fn evaluate(&self, run: &RunResult) -> ThresholdResult {
        let (actual, mut note) = match self.actual(run) {
            Ok(found) => found,
            Err(note) => {
                return ThresholdResult {
                    expression: self.expression.clone(),
                    actual: None,
                    actual_text: "no samples".to_owned(),
                    passed: false,
                    note,
                };
            }
        };
        let passed = match self.operator {
            Operator::Less => actual < self.limit,
            Operator::LessOrEqual => actual <= self.limit,
            Operator::Greater => actual > self.limit,
            Operator::GreaterOrEqual => actual >= self.limit,
            Operator::Equal => actual == self.limit,
            Operator::NotEqual => actual != self.limit,
        };
        if actual.is_infinite() && note.is_empty() {
            note = "so many turns failed that the statistic is one of them".to_owned();
        }
        ThresholdResult {
            expression: self.expression.clone(),
            actual: actual.is_finite().then(|| self.in_unit(actual)),
            actual_text: self.shown(actual),
            passed,
            note,
        }
    }

    /// The value in µs or as a plain number, and a note; an error says why there is none.
    fn actual(&self, run: &RunResult) -> Result<(f64, String), String> {
        match (self.subject, self.statistic) {
            (Subject::Metric(metric), Statistic::Rate) => {
                let at = prebuffer_of(metric.name()).unwrap_or(Micros::ZERO);
                let p = playback(run, at)?;
                share(p.stalled_replies, p.replies, "no reply had audio")
            }
            (Subject::Metric(metric), statistic) => {
                let result = run.metrics.get(metric.name()).filter(|m| m.count > 0).ok_or_else(|| {
                    format!(
                        "`{}` has no sample in this run: what is not measured does not pass",
                        metric.name()
                    )
                })?;
                let scale = match metric.unit() {
                    Unit::Micros => 1.0,
                    Unit::Ppm => 1e-6,
                };
                of_metric(result, statistic)
                    .map(|(x, note)| (if statistic == Statistic::Count { x } else { x * scale }, note))
            }
            (Subject::Counter(counter), statistic) => {
                let (count, of) = (counter.count)(run);
                match statistic {
                    Statistic::Count => Ok((count as f64, String::new())),
                    _ => share(count, of, "there was nothing that it could be a share of"),
                }
            }
            (Subject::StalledShare(at), _) => {
                let p = playback(run, at)?;
                let played = p.stalled_us + p.media_us;
                if played <= 0 {
                    return Err("no reply had audio".to_owned());
                }
                Ok((p.stalled_us as f64 / played as f64, String::new()))
            }
        }
    }

    /// In the unit that the limit is written in.
    fn in_unit(&self, actual: f64) -> f64 {
        match self.unit {
            LimitUnit::Time(us) => actual / us,
            LimitUnit::Percent => actual * 100.0,
            LimitUnit::Number => actual,
        }
    }

    fn shown(&self, actual: f64) -> String {
        let is_share = matches!(self.statistic, Statistic::Rate | Statistic::Value);
        match self.unit {
            _ if actual.is_infinite() => "∞".to_owned(),
            LimitUnit::Time(_) => Micros(actual.round() as i64).to_string(),
            LimitUnit::Number if !is_share => significant(actual),
            _ => format!("{} %", significant(actual * 100.0)),
        }
    }
}

/// Reads what stands before a threshold's operator: `ttfa:p(95)`. A metric alone means its p(95), a counter its rate.
pub fn parse_measure(text: &str) -> Result<(Subject, Statistic), TextError> {
    let (name, word) = text.split_once(':').map_or((text, None), |(name, word)| (name, Some(word)));
    let (start, name) = (name.len() - name.trim_start().len(), name.trim());
    let subject = subject(name).map_err(|e| e.shifted(start))?;
    let statistic = match (word, subject) {
        (Some(word), _) => statistic(word.trim(), subject, name)
            .map_err(|e| e.shifted(text.len() - word.trim_start().len()))?,
        (None, Subject::Metric(_)) => Statistic::Quantile(0.95),
        (None, Subject::Counter(_)) => Statistic::Rate,
        (None, Subject::StalledShare(_)) => Statistic::Value,
    };
    Ok((subject, statistic))
}

/// Judges a run by all of a scenario's thresholds. An expression that cannot be read fails and says why.
pub fn evaluate_all(expressions: &[String], run: &RunResult) -> Vec<ThresholdResult> {
    expressions
        .iter()
        .map(|expression| match Threshold::parse(expression) {
            Ok(threshold) => threshold.evaluate(run),
            Err(e) => ThresholdResult {
                expression: expression.clone(),
                actual: None,
                actual_text: "not a threshold".to_owned(),
                passed: false,
                note: e.to_string(),
            },
        })
        .collect()
}

/// The fewest samples with which a quantile can be bounded from above at 95 %, one-sided: p95 59, p99 299, p99.9 2,995.
pub fn fewest_for_bound(q: f64) -> f64 {
    (0.05_f64.ln() / q.ln()).ceil()
}

fn of_metric(m: &MetricResult, statistic: Statistic) -> Result<(f64, String), String> {
    let infinite_or = |finite: Option<f64>| finite.filter(|_| m.infinite == 0).unwrap_or(f64::INFINITY);
    let value = match statistic {
        Statistic::Count => m.count as f64,
        Statistic::Min => m.min_us.map_or(f64::INFINITY, |us| us as f64),
        Statistic::Max => infinite_or(m.max_us.map(|us| us as f64)),
        Statistic::Mean => infinite_or(m.mean_us),
        Statistic::Quantile(q) => {
            let quantile = Distribution::from_result(m)?.quantile(q).ok_or("no samples")?;
            let note = if (m.count as f64) < fewest_for_bound(q) {
                format!(
                    "insufficient: p{} needs at least {} samples, this run has {}",
                    significant(q * 100.0),
                    fewest_for_bound(q),
                    m.count
                )
            } else {
                String::new()
            };
            return Ok(match quantile {
                Quantile::Finite(t) => (t.0 as f64, note),
                Quantile::Infinite => (f64::INFINITY, note),
            });
        }
        // Refused when the expression was read.
        Statistic::Rate | Statistic::Value => return Err("not a statistic of this metric".to_owned()),
    };
    Ok((value, String::new()))
}

fn share(count: u64, of: u64, none: &str) -> Result<(f64, String), String> {
    if of == 0 {
        return Err(none.to_owned());
    }
    Ok((count as f64 / of as f64, format!("{count} of {of}")))
}

fn playback(run: &RunResult, at: Micros) -> Result<&crate::report::result::PlaybackResult, String> {
    run.playback
        .iter()
        .find(|p| p.prebuffer_us == at.0)
        .ok_or_else(|| format!("no playback at a prebuffer of {} in this run", format_duration(at)))
}

fn subject(name: &str) -> Result<Subject, TextError> {
    if let Some(metric) = Metric::from_name(name) {
        return Ok(Subject::Metric(metric));
    }
    if let Some(counter) = COUNTERS.iter().find(|c| c.name == name) {
        return Ok(Subject::Counter(counter));
    }
    let names = || {
        let fixed = Metric::ALL.iter().map(|m| m.name()).chain(COUNTERS.iter().map(|c| c.name));
        fixed.map(str::to_owned).chain(PREBUFFERS.map(stalled_share))
    };
    if let Some(at) = PREBUFFERS.into_iter().find(|at| stalled_share(*at) == name) {
        return Ok(Subject::StalledShare(at));
    }
    let known: Vec<_> = names().collect();
    let help = nearest(name, known.iter().map(String::as_str)).map_or_else(
        || {
            "for example `ttfa`, `ttft`, `turns.failed`, `stall_ratio@60ms`; docs/scenario.md lists them all"
                .to_owned()
        },
        |near| format!("did you mean `{near}`?"),
    );
    Err(TextError::new(0..name.len(), format!("there is no metric `{name}`")).help(help))
}

fn stalled_share(at: Micros) -> String {
    format!("stalled_share@{}ms", at.0 / 1_000)
}

/// The prebuffer in the name of a stall ratio: `stall_ratio@60ms`.
fn prebuffer_of(name: &str) -> Option<Micros> {
    parse_duration(name.strip_prefix("stall_ratio@")?).ok()
}

fn statistic(word: &str, subject: Subject, name: &str) -> Result<Statistic, TextError> {
    let whole = 0..word.len();
    let parsed = match word {
        "med" => Some(Statistic::Quantile(0.5)),
        "min" => Some(Statistic::Min),
        "max" => Some(Statistic::Max),
        "avg" | "mean" => Some(Statistic::Mean),
        "count" => Some(Statistic::Count),
        "rate" => Some(Statistic::Rate),
        "value" => Some(Statistic::Value),
        _ => match word.strip_prefix("p(").and_then(|w| w.strip_suffix(')')) {
            Some(percent) => {
                let q = percent
                    .trim()
                    .parse::<f64>()
                    .ok()
                    .filter(|p| *p > 0.0 && *p < 100.0)
                    .ok_or_else(|| {
                        TextError::new(whole.clone(), format!("`{word}` is not a percentile"))
                            .help("expected a number between 0 and 100, such as `p(95)` or `p(99.9)`; `max` is the largest")
                    })?;
                Some(Statistic::Quantile(q / 100.0))
            }
            None => None,
        },
    };
    let of_distribution = "`p(95)`, `med`, `min`, `max`, `avg` and `count`";
    let (allowed, fits): (String, fn(Statistic) -> bool) = match subject {
        Subject::Metric(m) if prebuffer_of(m.name()).is_some() => (
            format!(
                "{of_distribution} of each reply's stalled share, and `rate`, the share of replies that stalled"
            ),
            |s| s != Statistic::Value,
        ),
        Subject::Metric(_) => {
            (of_distribution.to_owned(), |s| !matches!(s, Statistic::Rate | Statistic::Value))
        }
        Subject::Counter(_) => {
            ("`count` and `rate`".to_owned(), |s| matches!(s, Statistic::Count | Statistic::Rate))
        }
        Subject::StalledShare(_) => ("`value`".to_owned(), |s| s == Statistic::Value),
    };
    parsed.filter(|s| fits(*s)).ok_or_else(|| {
        TextError::new(whole, format!("`{name}` has no statistic `{word}`"))
            .help(format!("`{name}` has {allowed}"))
    })
}

fn limit(text: &str, subject: Subject, statistic: Statistic) -> Result<(f64, LimitUnit), TextError> {
    let whole = 0..text.len();
    let is_time = matches!(subject, Subject::Metric(m) if m.unit() == Unit::Micros);
    if is_time && statistic != Statistic::Count {
        // A first token can come before the end of speech.
        let (sign, positive) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
        let t = parse_duration(positive).map_err(|e| {
            TextError::new(whole, format!("`{text}` is not a duration"))
                .help(e.help.unwrap_or_else(|| DURATION_HELP.to_owned()))
        })?;
        let unit = positive.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let micros = match unit {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "m" => 60e6,
            "h" => 3_600e6,
            "d" => 86_400e6,
            _ => 1e6,
        };
        return Ok((sign * t.0 as f64, LimitUnit::Time(micros)));
    }
    let (number, unit, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), LimitUnit::Percent, 100.0),
        None => (text, LimitUnit::Number, 1.0),
    };
    let x = number.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x / scale);
    let (expected, ok): (&str, fn(f64) -> bool) = match statistic {
        Statistic::Count => ("a whole number", |x| x >= 0.0 && x.fract() == 0.0),
        Statistic::Rate | Statistic::Value => {
            ("a share, such as `1%` or `0.01`", |x| (0.0..=1.0).contains(&x))
        }
        _ => ("a number, such as `1.2` or `5%`", |_| true),
    };
    let percent_of_count = statistic == Statistic::Count && unit == LimitUnit::Percent;
    x.filter(|x| ok(*x) && !percent_of_count).map(|x| (x, unit)).ok_or_else(|| {
        TextError::new(whole, format!("`{text}` is not a limit for this"))
            .help(format!("expected {expected}"))
    })
}

/// Up to three digits after the point, without trailing zeros.
fn significant(x: f64) -> String {
    let text = format!("{x:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::result::{BargeInCounts, ConnectionCounts, PlaybackResult, TurnCounts};

    #[test]
    fn bounds_need_the_samples_that_the_statistics_say() {
        assert_eq!([0.95, 0.99, 0.999].map(fewest_for_bound), [59.0, 299.0, 2_995.0]);
    }

    #[test]
    fn errors_say_where_and_what() {
        let report = [
            "ttfa<300ms",
            "tffa:p(95)<300ms",
            "ttfa:p95<300ms",
            "ttfa:p(100)<300ms",
            "ttfa:rate<1%",
            "ttfa:p(95)300ms",
            "ttfa:p(95)=300ms",
            "ttfa:p(95)<300",
            "turns.failed:p(95)<1%",
            "turns.failed:rate<10",
            "turns.failed:count<1%",
            "stalled_share@50ms:value<1%",
            "",
        ]
        .map(|text| format!("{text:30} {}", Threshold::parse(text).unwrap_err()))
        .join("\n");
        insta::assert_snapshot!(report, @r"
    ttfa<300ms                     column 1: `ttfa<300ms` is not a threshold; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    tffa:p(95)<300ms               column 1: there is no metric `tffa`; did you mean `ttfa`?
    ttfa:p95<300ms                 column 6: `ttfa` has no statistic `p95`; `ttfa` has `p(95)`, `med`, `min`, `max`, `avg` and `count`
    ttfa:p(100)<300ms              column 6: `p(100)` is not a percentile; expected a number between 0 and 100, such as `p(95)` or `p(99.9)`; `max` is the largest
    ttfa:rate<1%                   column 6: `ttfa` has no statistic `rate`; `ttfa` has `p(95)`, `med`, `min`, `max`, `avg` and `count`
    ttfa:p(95)300ms                column 6: `ttfa:p(95)300ms` compares with nothing; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
    ttfa:p(95)=300ms               column 11: not an operator; expected `<`, `<=`, `>`, `>=`, `==` or `!=`
    ttfa:p(95)<300                 column 12: `300` is not a duration; expected a duration such as `300ms`, `2s`, `1m30s`
    turns.failed:p(95)<1%          column 14: `turns.failed` has no statistic `p(95)`; `turns.failed` has `count` and `rate`
    turns.failed:rate<10           column 19: `10` is not a limit for this; expected a share, such as `1%` or `0.01`
    turns.failed:count<1%          column 20: `1%` is not a limit for this; expected a whole number
    stalled_share@50ms:value<1%    column 1: there is no metric `stalled_share@50ms`; did you mean `stalled_share@0ms`?
                                   column 1: `` is not a threshold; expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`
");
    }

    #[test]
    fn budgets_are_shares_of_samples() {
        let of = |text| Threshold::parse(text).unwrap().allowance();
        let a = of("ttfa:p(95)<300ms").unwrap();
        assert!(
            matches!(a.of, AllowedOf::Above(Metric::Ttfa, Micros(300_000))) && (a.share - 0.05).abs() < 1e-12
        );
        let a = of("stall_ratio@60ms:p(99)<=2%").unwrap();
        assert!(matches!(a.of, AllowedOf::Above(Metric::StallRatio60, Micros(20_000))));
        let a = of("turns.failed:rate<1%").unwrap();
        assert!(matches!(a.of, AllowedOf::Counted(c) if c.name == "turns.failed") && a.share == 0.01);
        for none in
            ["ttfa:max<2s", "ttfa:avg<1s", "turns.failed:count==0", "ttft:p(50)>1ms", "turns.failed:rate<=0%"]
        {
            assert!(of(none).is_none(), "{none}");
        }
    }

    fn run() -> RunResult {
        let mut ttfa = Distribution::default();
        for i in 1..=100 {
            ttfa.record(Micros::from_millis(i));
        }
        let mut failing = Distribution::default();
        for _ in 0..90 {
            failing.record(Micros::from_millis(100));
        }
        (0..10).for_each(|_| failing.record_infinite());
        let mut ttft = Distribution::default();
        ttft.record(Micros::from_millis(-20));
        let mut stalls = Distribution::default();
        stalls.record(Micros(20_000));
        let metrics =
            [("ttfa", &ttfa), ("ttfa_first_byte", &failing), ("ttft", &ttft), ("stall_ratio@60ms", &stalls)]
                .map(|(name, d)| (name.to_owned(), d.to_result("us")));
        RunResult {
            turns: TurnCounts {
                planned: 105,
                started: 104,
                succeeded: 96,
                failed: 1,
                timed_out: 3,
                cancelled: 4,
                missed: 1,
                ..TurnCounts::default()
            },
            connections: ConnectionCounts { attempted: 10, opened: 10, ..ConnectionCounts::default() },
            metrics: metrics.into(),
            playback: vec![PlaybackResult {
                prebuffer_us: 60_000,
                replies: 50,
                stalled_replies: 1,
                stalls: 2,
                stalled_us: 100_000,
                media_us: 9_900_000,
                ttfa_p50_us: None,
                ttfa_p95_us: None,
                ttfa_uncorrected_p50_us: None,
                ttfa_uncorrected_p95_us: None,
            }],
            barge_in: BargeInCounts::default(),
            ..empty_run()
        }
    }

    fn empty_run() -> RunResult {
        serde_json::from_value(serde_json::json!({
            "schema_version": 1, "voxload_version": "", "name": "", "seed": 1, "started_at": "",
            "duration_us": 0, "warmup_us": 0,
            "verdict": {"status": "pass", "exit_code": 0, "reasons": []},
            "validity": {"valid": true, "checks": []},
            "thresholds": [], "stages": [],
            "target": {"url": "", "dialect": "", "text_granularity": "", "embedded": true, "tls": false, "insecure": false},
            "turns": TurnCounts::default(), "connections": ConnectionCounts::default(), "metrics": {}, "failures": [],
            "playback": [], "barge_in": BargeInCounts::default(),
            "generator": crate::report::result::Generator::default(), "intervals": [], "worst_turns": [], "fixtures": [],
            "audio": crate::report::result::AudioInfo::default(), "host": crate::report::result::HostInfo::default(),
            "scenario": "", "command": "", "agreement": null,
        }))
        .unwrap()
    }

    #[test]
    fn judges_a_run() {
        let run = run();
        let report = [
            "ttfa:p(95)<300ms",
            "ttfa:med <= 50ms",
            "ttfa:p(97.5)<0.05s",
            "ttfa:p(99)<300ms",
            "ttfa:count>=100",
            "ttfa:max<100ms",
            "ttfa_first_byte:p(90)<300ms",
            "ttfa_first_byte:p(91)<300ms",
            "ttfa_first_byte:max<1h",
            "ttfa_first_byte:avg<1h",
            "ttft:med<-10ms",
            "endpoint_delay:med<1s",
            "turns.failed:rate<5%",
            "turns.failed:count==4",
            "turns.missed:rate<0.001",
            "connections.failed:rate<1%",
            "connections.reconnected:rate>50%",
            "barge_in.false_stops:count==0",
            "stall_ratio@60ms:rate<2%",
            "stall_ratio@60ms:max<2.5%",
            "stalled_share@60ms:value<2%",
            "stalled_share@0ms:value<2%",
        ]
        .map(|text| {
            let r = Threshold::parse(text).unwrap().evaluate(&run);
            let actual = r.actual.map_or_else(|| "null".to_owned(), |x| x.to_string());
            let verdict = if r.passed { "✓" } else { "✗" };
            format!("{verdict} {text:32} {:12} {actual:12} {}", r.actual_text, r.note).trim_end().to_owned()
        })
        .join("\n");
        insta::assert_snapshot!(report, @r"
    ✓ ttfa:p(95)<300ms                 95.0 ms      95.039
    ✗ ttfa:med <= 50ms                 50.0 ms      50.015
    ✗ ttfa:p(97.5)<0.05s               98.0 ms      0.098047     insufficient: p97.5 needs at least 119 samples, this run has 100
    ✓ ttfa:p(99)<300ms                 99.0 ms      99.007       insufficient: p99 needs at least 299 samples, this run has 100
    ✓ ttfa:count>=100                  100          100
    ✗ ttfa:max<100ms                   100 ms       100
    ✓ ttfa_first_byte:p(90)<300ms      100 ms       100
    ✗ ttfa_first_byte:p(91)<300ms      ∞            null         so many turns failed that the statistic is one of them
    ✗ ttfa_first_byte:max<1h           ∞            null         so many turns failed that the statistic is one of them
    ✗ ttfa_first_byte:avg<1h           ∞            null         so many turns failed that the statistic is one of them
    ✓ ttft:med<-10ms                   -20.0 ms     -20          insufficient: p50 needs at least 5 samples, this run has 1
    ✗ endpoint_delay:med<1s            no samples   null         `endpoint_delay` has no sample in this run: what is not measured does not pass
    ✓ turns.failed:rate<5%             4 %          4            4 of 100
    ✓ turns.failed:count==4            4            4
    ✗ turns.missed:rate<0.001          0.952 %      0.009523809523809525 1 of 105
    ✓ connections.failed:rate<1%       0 %          0            0 of 10
    ✗ connections.reconnected:rate>50% no samples   null         there was nothing that it could be a share of
    ✓ barge_in.false_stops:count==0    0            0
    ✗ stall_ratio@60ms:rate<2%         2 %          2            1 of 50
    ✓ stall_ratio@60ms:max<2.5%        2 %          2
    ✓ stalled_share@60ms:value<2%      1 %          1
    ✗ stalled_share@0ms:value<2%       no samples   null         no playback at a prebuffer of 0ms in this run
");
    }

    #[test]
    fn every_subject_is_understood() {
        for name in Metric::ALL.iter().map(|m| m.name()).chain(COUNTERS.iter().map(|c| c.name)) {
            Threshold::parse(&format!("{name}:count>=0")).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z.@0-9]{0,12}:?[a-z()0-9.]{0,8}[<>=! ]{0,3}[0-9a-z%.µ-]{0,8}") {
            let _ = Threshold::parse(&text);
        }

        #[test]
        fn an_unknown_name_never_passes(name in "[a-z_]{1,12}") {
            prop_assume!(Metric::from_name(&name).is_none());
            let results = evaluate_all(&[format!("{name}:p(95)<1h")], &run());
            prop_assert!(!results[0].passed);
        }
    }
}
