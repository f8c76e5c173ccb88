//! Measurement: events become metrics, metrics become the numbers of a run.
//!
//! ```text
//! device ─▶ Event ─▶ Recorder (one per shard, no locks) ─▶ Interval (each second) ─▶ Totals ─▶ RunResult
//! ```

pub mod agreement;
mod distribution;
pub mod findings;
pub mod health;
mod metric;
pub mod probe;
mod recorder;
mod row;
mod samples;
mod totals;
pub mod validity;

pub use distribution::{Confidence, Distribution, Quantile, fewest_samples};
pub use metric::{Metric, Unit};
pub use recorder::{Counts, Failures, Interval, Recorder};
pub use row::turn_row;
pub use totals::Totals;
