//! Measurement: events become metrics, metrics become the numbers of a run.
//!
//! ```text
//! device ─▶ Event ─▶ Recorder (one per shard, no locks) ─▶ Interval (each second) ─▶ Totals ─▶ RunResult
//! ```

pub mod agreement;
mod distribution;
mod faults;
pub mod findings;
pub mod health;
mod metric;
mod network;
pub mod probe;
mod recorder;
mod row;
mod samples;
mod stored;
mod storm;
#[cfg(test)]
pub(crate) mod testing;
mod totals;
mod typical;
pub mod validity;

pub use distribution::{Confidence, Distribution, Quantile, fewest_samples};
pub use metric::{Metric, Unit};
pub use network::{DeviceLinks, Groups, Network};
pub use recorder::{Counts, Failures, Interval, Recorder};
pub use row::turn_row;
pub use totals::Totals;
