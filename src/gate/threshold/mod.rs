//! Thresholds: `ttfa:p(95)<300ms`, in the spirit of k6.
//!
//! ```text
//! "ttfa:p(95)<300ms" ─parse─▶ Threshold ─┬─ claim: at most 5 % of the turns over 300 ms ─▶ binomial ─▶ pass, fail, undecided
//!                             (a mean,   └─ no claim: its value decides
//!                              a maximum, a count)
//! ```
//!
//! What is not measured does not pass: a metric without a sample fails its threshold, and a quantile that is a failed
//! turn is +∞. `docs/THRESHOLDS.md` says it all in the user's words.

mod claim;
mod judge;
mod parse;
mod subject;
#[cfg(test)]
mod tests;

pub use claim::{Allowance, AllowedOf};
pub(crate) use judge::no_group;
pub use judge::{Evidence, Rule, judge_all};
pub use parse::parse_measure;
pub use subject::{COUNTERS, Counted, Counter, Subject};

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
    /// Of which group of devices; `None`: of all.
    group: Option<String>,
    statistic: Statistic,
    operator: Operator,
    /// In µs, or as a plain number (1 % is 0.01).
    limit: f64,
    unit: LimitUnit,
}

impl Threshold {
    /// As written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// What it looks at.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Of which group of devices; `None`: of all.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The statistic of it.
    pub const fn statistic(&self) -> Statistic {
        self.statistic
    }
}
