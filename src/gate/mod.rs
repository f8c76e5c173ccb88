//! The gate: what must hold for a run to pass.
//!
//! ```text
//! "ttfa:p(95)<300ms" ─▶ Threshold (checked with the scenario) ─ RunResult ─▶ ThresholdResult ─▶ report, exit code 99
//!                          │        a run under way ─ Watch ─▶ stop it, extend it
//!                          └▶ binomial: pass, fail, undecided
//! runs against runs ─▶ compare ─▶ pass, regression, inconclusive
//! ```

pub mod binomial;
pub mod compare;
mod threshold;
pub mod watch;

pub(crate) use threshold::no_group;
pub use threshold::{
    Allowance, AllowedOf, COUNTERS, Counted, Counter, Evidence, Rule, Statistic, Subject, Threshold,
    judge_all, parse_measure,
};
