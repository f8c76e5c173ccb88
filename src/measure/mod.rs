//! Measurement: events become metrics, metrics become the numbers of a run.
//!
//! ```text
//! device ─▶ Event ─▶ Recorder (one per shard, no locks) ─▶ Interval (each second) ─▶ Totals ─▶ RunResult
//! ```

mod distribution;
mod metric;

pub use distribution::{Distribution, Quantile, fewest_samples};
pub use metric::{Metric, Unit};
