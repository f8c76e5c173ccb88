//! Measurement: events become metrics, metrics become the numbers of a run.
//!
//! ```text
//! device ─▶ Event ─▶ Recorder (one per shard, no locks) ─▶ Interval (each second) ─▶ Totals ─▶ RunResult
//! ```

mod distribution;
mod metric;
mod recorder;
mod totals;

pub use distribution::{Distribution, Quantile, fewest_samples};
pub use metric::{Metric, Unit};
pub use recorder::{Counts, Failures, Interval, Recorder};
pub use totals::{Milestones, Totals};
