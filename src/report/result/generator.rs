//! What the generator used while it measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The generator's own health.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Most devices connected at once.
    pub devices: u32,
    /// Threads that drive devices.
    pub shards: u32,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// The part of the run that shares are of: after warm-up, until no more turns began.
    #[serde(default)]
    pub load_us: i64,
    /// User and system time of the harness process, from the first device to the last.
    pub cpu_us: i64,
    /// User and system time under load, as a share of all its cores.
    pub cpu_share: f64,
    /// CPU time per message, sent and received.
    pub cpu_us_per_message: f64,
    /// Resident memory before the first device.
    pub rss_base_bytes: u64,
    /// Most resident memory.
    pub rss_peak_bytes: u64,
    /// (peak − base) / devices.
    pub rss_bytes_per_device: u64,
    /// CPU time taken by other guests of the same hardware under load, share; `null` when it cannot be read.
    pub steal_share: Option<f64>,
    /// The threads that drive devices, one by one; the probe's, where there is one, comes last.
    pub threads: Vec<ThreadResult>,
    /// Share of the time under load in which something on this machine waited for a CPU (`some` of
    /// `/proc/pressure/cpu`); `null` when it cannot be read.
    #[serde(default)]
    pub pressure_share: Option<f64>,
    /// Most open descriptors of the harness process; `null` when they cannot be counted.
    #[serde(default)]
    pub open_files_peak: Option<u64>,
    /// The limit of open descriptors in force; `null`: none.
    #[serde(default)]
    pub open_files_limit: Option<u64>,
    /// Addresses that devices connected from: 1 where the kernel chose.
    #[serde(default)]
    pub source_addresses: u64,
    /// Most local ports in use by the fleet, per source address.
    #[serde(default)]
    pub ports_peak: u64,
    /// Local ports that one address has towards the server; `null` when it cannot be read.
    #[serde(default)]
    pub ports_limit: Option<u64>,
}

/// One thread that drives devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ThreadResult {
    /// `shard-0`, `shard-1`, …, `probe`.
    pub name: String,
    /// Most devices connected at once.
    pub devices: u32,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Its CPU time.
    pub cpu_us: i64,
    /// Lag of its timer, median.
    pub ticker_lag_p50_us: Option<i64>,
    /// Lag of its timer, 99th percentile.
    pub ticker_lag_p99_us: Option<i64>,
    /// Lag of its timer, largest.
    pub ticker_lag_max_us: Option<i64>,
}

/// The machine that measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Operating system and kernel.
    pub os: String,
    /// Processor.
    pub cpu: String,
    /// Cores available to the process.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Soft limit of open files.
    pub open_files: u64,
}
