//! Thresholds against what was measured: a run that is over, or one under way.

use std::borrow::Cow;

use super::subject::prebuffer_of;
use super::{Counted, LimitUnit, Operator, Statistic, Subject, Threshold};
use crate::gate::binomial::{self, MISS, Verdict};
use crate::measure::{Distribution, Metric, Quantile, Unit};
use crate::report::RunResult;
use crate::report::result::{GroupResult, PlaybackResult, ThresholdResult, ThresholdShare, ThresholdVerdict};
use crate::scenario::units::{format_duration, nearest};
use crate::time::Micros;

/// What is believed of a run under way that it would be stopped for: there are many looks.
const ABORT_MISS: f64 = 0.001;

/// How thresholds are judged.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Those that are undecided count as held.
    pub undecided_passes: bool,
    /// A wrong pass, and a wrong fail, come at most with this probability.
    pub miss: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { undecided_passes: false, miss: MISS }
    }
}

/// What was measured: of all devices, or of a group. An error says why there is nothing.
pub trait Evidence {
    /// The distribution of a metric; `None`: no sample.
    fn distribution(&self, m: Metric, group: Option<&str>) -> Result<Option<Cow<'_, Distribution>>, String>;
    /// What counters count.
    fn counted(&self, group: Option<&str>) -> Result<Counted, String>;
    /// Playback at one of the prebuffers.
    fn playback(&self, at: Micros) -> Result<PlaybackResult, String>;
}

impl Evidence for RunResult {
    fn distribution(&self, m: Metric, group: Option<&str>) -> Result<Option<Cow<'_, Distribution>>, String> {
        let metric = match group {
            None => self.metrics.get(m.name()),
            Some(name) => {
                let group = find_group(self, name)?;
                match (m, &group.judged) {
                    (Metric::Ttfa, _) => Some(&group.ttfa),
                    (Metric::Ttft, _) => Some(&group.ttft),
                    (_, Some(judged)) => judged.metrics.get(m.name()),
                    (_, None) => None,
                }
            }
        };
        let found = metric.filter(|r| r.count > 0).map(Distribution::from_result);
        found.transpose().map(|d| d.map(Cow::Owned))
    }

    fn counted(&self, group: Option<&str>) -> Result<Counted, String> {
        let Some(name) = group else { return Ok(Counted::of(self)) };
        let judged = find_group(self, name)?.judged.as_deref();
        Ok(judged.map_or_else(Counted::default, |g| Counted {
            turns: g.turns,
            barge_in: g.barge_in,
            ..Counted::default()
        }))
    }

    fn playback(&self, at: Micros) -> Result<PlaybackResult, String> {
        let found = self.playback.iter().find(|p| p.prebuffer_us == at.0).copied();
        found.ok_or_else(|| format!("no playback at a prebuffer of {} in this run", format_duration(at)))
    }
}

fn find_group<'r>(run: &'r RunResult, name: &str) -> Result<&'r GroupResult, String> {
    let groups = run.network.as_ref().map_or(&[][..], |n| n.groups.as_slice());
    let found = groups.iter().find(|g| g.name == name);
    found.ok_or_else(|| no_group(name, groups.iter().map(|g| g.name.as_str())))
}

/// What to say about a group that there is not.
pub(crate) fn no_group<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let help = match (nearest(name, known.iter().copied()), known.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => "the devices are in groups when `[link]` gives them networks".to_owned(),
        (None, false) => format!("there are `{}`", known.join("`, `")),
    };
    format!("there is no group `{name}` of devices: {help}")
}

impl Threshold {
    /// Judges a run that is over.
    pub fn evaluate(&self, run: &RunResult) -> ThresholdResult {
        self.judge(run, Rule::default())
    }

    /// True when the value itself holds, however few samples it is made of.
    pub fn holds(&self, evidence: &dyn Evidence) -> bool {
        self.actual(evidence).is_ok_and(|(actual, _)| self.is_within(actual))
    }

    /// Judges what was measured.
    pub fn judge(&self, evidence: &dyn Evidence, rule: Rule) -> ThresholdResult {
        let expression = self.expression.clone();
        let (actual, mut notes) = match self.actual(evidence) {
            Ok((actual, note)) => (actual, vec![note]),
            Err(note) => {
                return ThresholdResult {
                    expression,
                    actual_text: "no samples".to_owned(),
                    verdict: Some(ThresholdVerdict::Fail),
                    note,
                    ..ThresholdResult::default()
                };
            }
        };
        if actual.is_infinite() {
            notes.push("so many turns failed that the statistic is one of them".to_owned());
        }
        let (verdict, share) = match self.share(evidence, rule.miss) {
            None if self.is_within(actual) => (Verdict::Pass, None),
            None => (Verdict::Fail, None),
            Some((verdict, share, words)) => {
                notes.push(self.said(verdict, &share, &words, rule.miss));
                (verdict, Some(share))
            }
        };
        notes.retain(|n| !n.is_empty());
        ThresholdResult {
            expression,
            actual: actual.is_finite().then(|| self.in_unit(actual)),
            actual_text: self.shown(actual),
            passed: verdict == Verdict::Pass || verdict == Verdict::Undecided && rule.undecided_passes,
            verdict: Some(match verdict {
                Verdict::Pass => ThresholdVerdict::Pass,
                Verdict::Fail => ThresholdVerdict::Fail,
                Verdict::Undecided => ThresholdVerdict::Undecided,
            }),
            share,
            note: notes.join("; "),
        }
    }

    /// As a share of samples, judged; `None`: it is none, or there are no samples.
    fn share(&self, evidence: &dyn Evidence, miss: f64) -> Option<(Verdict, ThresholdShare, String)> {
        let allowance = self.allowance()?;
        let counts = self.over(allowance.of, evidence).ok().filter(|(_, n)| *n > 0)?;
        let (verdict, share) = allowance.judged(counts, miss);
        Some((verdict, share, allowance.of.words()))
    }

    /// What the verdict stands on, and what would decide it.
    fn said(&self, verdict: Verdict, s: &ThresholdShare, words: &str, miss: f64) -> String {
        let seen = format!("{} of {}{words}", s.over, s.n);
        let sure = format!("with {} % confidence, {} may be", percent(s.confidence), share_text(s.allowed));
        let decided = match verdict {
            Verdict::Pass => return format!("{seen}: at most {} {sure}", share_text(s.high)),
            Verdict::Fail => return format!("{seen}: at least {} {sure}", share_text(s.low)),
            Verdict::Undecided => {
                format!("undecided: {seen}: between {} and {} {sure}", percent(s.low), share_text(s.high))
            }
        };
        let (noun, fewest) = (self.subject.noun(), binomial::fewest(s.allowed, miss));
        let more = match s.needed.map(|n| n.saturating_sub(s.n)) {
            Some(more) if s.over == 0 => {
                format!("fewer than {fewest} {noun} cannot show it; {more} more would, if it stays at none")
            }
            Some(more) => format!("about {} more {noun} would decide it, if the share stays", about(more)),
            None => format!("the share is too near to what may be for more {noun} to decide it soon"),
        };
        format!("{decided}; {more}")
    }

    /// What a run under way is stopped for, if it goes on to fail whatever comes: a share that is too large with 99.9 %
    /// confidence, a count or a maximum that is passed already. What may still recover is no reason, but for a mean or
    /// a stalled share, of which nothing surer can be said than what they are.
    pub fn certainly_fails(&self, evidence: &dyn Evidence) -> Option<String> {
        let (actual, _) = self.actual(evidence).ok()?;
        let upper = matches!(self.operator, Operator::Less | Operator::LessOrEqual);
        let passed_by = self.operator == Operator::Equal && actual > self.limit;
        let certain = if let Some(allowance) = self.allowance() {
            let counts = self.over(allowance.of, evidence).ok()?;
            return (binomial::verdict(counts.0, counts.1, allowance.share, ABORT_MISS) == Verdict::Fail)
                .then(|| {
                    let words = allowance.of.words();
                    format!("{}: {} of {}{words}", self.shown(actual), counts.0, counts.1)
                });
        } else {
            match self.statistic {
                // They only grow.
                Statistic::Count | Statistic::Max => passed_by || upper && !self.is_within(actual),
                Statistic::Min => !upper && self.operator != Operator::Equal && !self.is_within(actual),
                Statistic::Mean | Statistic::Value => !self.is_within(actual),
                // All or nothing: one is enough.
                Statistic::Rate if self.limit == 0.0 => passed_by || upper && !self.is_within(actual),
                Statistic::Quantile(_) | Statistic::Rate => false,
            }
        };
        certain.then(|| self.shown(actual))
    }

    fn is_within(&self, actual: f64) -> bool {
        match self.operator {
            Operator::Less => actual < self.limit,
            Operator::LessOrEqual => actual <= self.limit,
            Operator::Greater => actual > self.limit,
            Operator::GreaterOrEqual => actual >= self.limit,
            Operator::Equal => actual == self.limit,
            Operator::NotEqual => actual != self.limit,
        }
    }

    /// The value in µs or as a plain number, and a note; an error says why there is none.
    fn actual(&self, evidence: &dyn Evidence) -> Result<(f64, String), String> {
        let group = self.group();
        match (self.subject, self.statistic) {
            (Subject::Metric(metric), Statistic::Rate) => {
                let p = evidence.playback(prebuffer_of(metric).unwrap_or(Micros::ZERO))?;
                self.rate(p.stalled_replies, p.replies, "no reply had audio")
            }
            (Subject::Metric(metric), statistic) => {
                let found = evidence.distribution(metric, group)?.ok_or_else(|| {
                    let of = group.map_or_else(String::new, |g| format!(" of the group `{g}`"));
                    format!(
                        "`{}`{of} has no sample in this run: what is not measured does not pass",
                        metric.name()
                    )
                })?;
                let scale = match metric.unit() {
                    _ if statistic == Statistic::Count => 1.0,
                    Unit::Micros => 1.0,
                    Unit::Ppm => 1e-6,
                };
                of_metric(&found, statistic).map(|x| (x * scale, String::new()))
            }
            (Subject::Counter(counter), statistic) => {
                let (count, of) = (counter.count)(&evidence.counted(group)?);
                match statistic {
                    Statistic::Count => Ok((count as f64, String::new())),
                    _ => self.rate(count, of, "there was nothing that it could be a share of"),
                }
            }
            (Subject::StalledShare(at), _) => {
                let p = evidence.playback(at)?;
                let played = p.stalled_us + p.media_us;
                if played <= 0 {
                    return Err("no reply had audio".to_owned());
                }
                Ok((p.stalled_us as f64 / played as f64, String::new()))
            }
        }
    }

    fn rate(&self, count: u64, of: u64, none: &str) -> Result<(f64, String), String> {
        if of == 0 {
            return Err(none.to_owned());
        }
        // What it is judged by says it, too.
        let note = if self.allowance().is_some() { String::new() } else { format!("{count} of {of}") };
        Ok((count as f64 / of as f64, note))
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

/// Judges what was measured by all thresholds. An expression that cannot be read fails and says why.
pub fn judge_all(expressions: &[String], evidence: &dyn Evidence, rule: Rule) -> Vec<ThresholdResult> {
    expressions
        .iter()
        .map(|expression| match Threshold::parse(expression) {
            Ok(threshold) => threshold.judge(evidence, rule),
            Err(e) => ThresholdResult {
                expression: expression.clone(),
                actual_text: "not a threshold".to_owned(),
                verdict: Some(ThresholdVerdict::Fail),
                note: e.to_string(),
                ..ThresholdResult::default()
            },
        })
        .collect()
}

fn of_metric(d: &Distribution, statistic: Statistic) -> Result<f64, String> {
    let or_infinite =
        |finite: Option<f64>| finite.filter(|_| d.infinite_count() == 0).unwrap_or(f64::INFINITY);
    let us = |t: Micros| t.0 as f64;
    Ok(match statistic {
        Statistic::Count => d.count() as f64,
        Statistic::Min => d.min().map_or(f64::INFINITY, us),
        Statistic::Max => or_infinite(d.max().map(us)),
        Statistic::Mean => or_infinite(d.mean()),
        Statistic::Quantile(q) => match d.quantile(q).ok_or("no samples")? {
            Quantile::Finite(t) => us(t),
            Quantile::Infinite => f64::INFINITY,
        },
        // Refused when the expression was read.
        Statistic::Rate | Statistic::Value => return Err("not a statistic of this metric".to_owned()),
    })
}

/// Up to three digits after the point, without trailing zeros.
pub(super) fn significant(x: f64) -> String {
    decimals(x, 3)
}

fn decimals(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Rounded up to two digits: nobody knows it more exactly.
fn about(n: u64) -> u64 {
    let unit = 10_u64.pow(n.max(1).ilog10().saturating_sub(1));
    n.div_ceil(unit) * unit
}

/// A share in per cent, to about three digits.
fn percent(share: f64) -> String {
    let x = share * 100.0;
    decimals(
        x,
        if x >= 10.0 {
            1
        } else if x >= 1.0 {
            2
        } else {
            3
        },
    )
}

/// The same with its sign.
fn share_text(share: f64) -> String {
    format!("{} %", percent(share))
}
