//! The gate: what must hold for a run to pass.
//!
//! ```text
//! "ttfa:p(95)<300ms" ─▶ Threshold (checked with the scenario) ─ RunResult ─▶ ThresholdResult ─▶ report, exit code 99
//! runs against runs ─▶ compare ─▶ pass, regression, inconclusive
//! ```

pub mod compare;
mod threshold;

pub use threshold::{
    Allowance, AllowedOf, COUNTERS, Counter, Statistic, Subject, Threshold, evaluate_all, fewest_for_bound,
    parse_measure,
};
