//! A threshold as a share of samples: "p95 < 300 ms" says that at most 5 % of all turns are over 300 ms.

use super::judge::Evidence;
use super::subject::prebuffer_of;
use super::{Counter, Operator, Statistic, Subject, Threshold};
use crate::gate::binomial;
use crate::measure::{Metric, Unit};
use crate::report::result::ThresholdShare;
use crate::time::Micros;

/// The share of samples that may be on the wrong side.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Of what.
    pub of: AllowedOf,
    /// The share that may be, between 0 and 1.
    pub share: f64,
}

/// What a share is of. Limits are in the unit of the metric's samples.
#[derive(Clone, Copy, Debug)]
pub enum AllowedOf {
    /// Samples of this metric above the limit.
    Above(Metric, Micros),
    /// Samples of it up to the limit, of a threshold that wants more.
    UpTo(Metric, Micros),
    /// What this counts, of what its rate is a share of.
    Counted(&'static Counter),
    /// What this does not count, of the same.
    NotCounted(&'static Counter),
    /// Replies that stalled at this prebuffer.
    Stalled(Micros),
    /// Replies that did not.
    NotStalled(Micros),
}

impl AllowedOf {
    /// What is on the wrong side, for people.
    pub(super) fn words(self) -> String {
        let limit = |m: Metric, at: Micros| match m.unit() {
            Unit::Micros => at.to_string(),
            Unit::Ppm => format!("{} %", super::judge::significant(at.0 as f64 / 1e4)),
        };
        match self {
            Self::Above(m, at) => format!(" over {}", limit(m, at)),
            Self::UpTo(m, at) => format!(" not over {}", limit(m, at)),
            Self::Counted(_) => String::new(),
            Self::NotCounted(_) => " were not".to_owned(),
            Self::Stalled(_) => " stalled".to_owned(),
            Self::NotStalled(_) => " did not stall".to_owned(),
        }
    }
}

impl Threshold {
    /// As a share of samples, which a sample can be judged by with confidence; `None`: it is not of that kind.
    pub fn allowance(&self) -> Option<Allowance> {
        let upper = match self.operator {
            Operator::Less | Operator::LessOrEqual => true,
            Operator::Greater | Operator::GreaterOrEqual => false,
            Operator::Equal | Operator::NotEqual => return None,
        };
        let other = |share: f64| if upper { share } else { 1.0 - share };
        let (of, share) = match (self.subject, self.statistic) {
            (Subject::Metric(m), Statistic::Quantile(q)) => {
                let scale = if m.unit() == Unit::Ppm { 1e6 } else { 1.0 };
                let limit = Micros((self.limit * scale).round() as i64);
                // That p95 is above the limit allows 95 % of the samples up to it.
                (if upper { AllowedOf::Above(m, limit) } else { AllowedOf::UpTo(m, limit) }, 1.0 - other(q))
            }
            (Subject::Metric(m), Statistic::Rate) => {
                let at = prebuffer_of(m)?;
                (if upper { AllowedOf::Stalled(at) } else { AllowedOf::NotStalled(at) }, other(self.limit))
            }
            (Subject::Counter(c), Statistic::Rate) if !c.of_plan => {
                (if upper { AllowedOf::Counted(c) } else { AllowedOf::NotCounted(c) }, other(self.limit))
            }
            _ => return None,
        };
        // All or nothing is no share that a sample could show.
        (share > 1e-12 && share < 1.0 - 1e-12).then_some(Allowance { of, share })
    }

    /// How many are on the wrong side, and of how many.
    pub fn over(&self, of: AllowedOf, evidence: &dyn Evidence) -> Result<(u64, u64), String> {
        let not = |(n, of): (u64, u64)| (of.saturating_sub(n), of);
        let distribution = |m| evidence.distribution(m, self.group());
        let counted = |c: &Counter| evidence.counted(self.group()).map(|all| (c.count)(&all));
        let stalled = |at| evidence.playback(at).map(|p| (p.stalled_replies, p.replies));
        Ok(match of {
            AllowedOf::Above(m, limit) => {
                distribution(m)?.map_or((0, 0), |d| (d.count_above(limit), d.count()))
            }
            AllowedOf::UpTo(m, limit) => {
                distribution(m)?.map_or((0, 0), |d| not((d.count_above(limit), d.count())))
            }
            AllowedOf::Counted(c) => counted(c)?,
            AllowedOf::NotCounted(c) => not(counted(c)?),
            AllowedOf::Stalled(at) => stalled(at)?,
            AllowedOf::NotStalled(at) => not(stalled(at)?),
        })
    }
}

impl Allowance {
    /// What so many on the wrong side say, when either answer may be wrong with probability `miss`.
    pub(super) fn judged(&self, (over, n): (u64, u64), miss: f64) -> (binomial::Verdict, ThresholdShare) {
        let [low, high] = binomial::bounds(over, n, miss);
        let share = ThresholdShare {
            over,
            n,
            allowed: self.share,
            low,
            high,
            confidence: 1.0 - miss,
            needed: binomial::needed(over, n, self.share, miss),
        };
        (binomial::verdict(over, n, self.share, miss), share)
    }
}
