//! One run by several processes in `result.json` (docs/DISTRIBUTED.md).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Generator, HostInfo};

/// The part of the fleet that one process played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardInfo {
    /// Which one, counted from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// The instant that all planned times count from, RFC 3339, UTC, by the machine's wall clock.
    pub start_at: String,
    /// The machine's name.
    pub machine: String,
}

/// One of the processes that a merged result is of.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProcessResult {
    /// The part of the fleet that it played.
    pub shard: ShardInfo,
    /// The folder of its report.
    pub folder: String,
    /// False: it was interrupted, and its part of the run ends there.
    pub complete: bool,
    /// Whether the numbers of its own result could be trusted.
    pub valid: bool,
    /// Checks of its own that did not hold: `name: seen (limit …)`.
    pub not_met: Vec<String>,
    /// How long it lasted.
    pub duration_us: i64,
    /// The generator's health in this process.
    pub generator: Generator,
    /// Its machine.
    pub host: HostInfo,
    /// Its command line, without secrets.
    pub command: String,
}
