//! The result of a run: a versioned document, the contract with every program that reads `result.json`.
//!
//! Times are in microseconds since the start of the run and end in `_us`. A quantile that the number of samples does
//! not support is `null`, never a guess. The JSON Schema in `docs/schema/result.json` is made from these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod generator;
mod judged;
mod network;
mod process;
mod setting;
mod turns;

pub use generator::{Generator, HostInfo, ThreadResult};
pub use judged::{
    Aborted, Agreement, CalibrationQuote, Difference, GateResult, Note, ProbeResult, Status, ThresholdResult,
    ThresholdShare, ThresholdVerdict, Validity, ValidityCheck, Verdict,
};
pub use process::{ProcessResult, ShardInfo};
pub use setting::{
    AudioInfo, DialectResult, FixtureInfo, LoadPhase, RuleResult, TargetInfo, UnmatchedResult,
};
pub use turns::{
    BargeInCounts, ConnectionCounts, FailureExample, FailureGroup, FiniteQuantiles, IntervalPoint,
    MetricResult, PlaybackResult, StageMean, TurnCounts, TurnRow,
};

pub use network::{
    AgainstControl, CONTROL, FaultMark, FaultNumbers, FaultResult, GroupJudged, GroupResult, GroupTurns,
    LinkRow, LinksResult, NetworkResult, PhaseResult, ReconnectRates, RecoverySteps, Spread, StormResult,
    WayResult,
};

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything about one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// Whether the numbers can be trusted: read it before any of them.
    pub validity: Validity,
    /// What came of it.
    pub verdict: Verdict,
    /// What else to know before the numbers are believed, or the server blamed.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// The version of voxload that measured.
    pub voxload_version: String,
    /// The scenario's name.
    pub name: String,
    /// The scenario's seed.
    pub seed: u64,
    /// Start of the run, RFC 3339, UTC.
    pub started_at: String,
    /// How long load was applied and awaited.
    pub duration_us: i64,
    /// Part of it that was not counted.
    pub warmup_us: i64,
    /// The thresholds, judged.
    pub thresholds: Vec<ThresholdResult>,
    /// What they did to the course of the run; `null` in documents of earlier versions.
    #[serde(default)]
    pub gate: Option<GateResult>,
    /// The server under test, without secrets.
    pub target: TargetInfo,
    /// Turns after warm-up, counted.
    pub turns: TurnCounts,
    /// Connections, counted.
    pub connections: ConnectionCounts,
    /// Every metric that has a meaning in this run, by name.
    pub metrics: BTreeMap<String, MetricResult>,
    /// Failures by class, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Where the time of a turn goes, from the end of speech to the first audible sample.
    pub stages: Vec<StageMean>,
    /// Playback at each prebuffer.
    pub playback: Vec<PlaybackResult>,
    /// Interruptions.
    pub barge_in: BargeInCounts,
    /// The generator's own health.
    pub generator: Generator,
    /// Series over time, at most 300 points however long the run.
    pub intervals: Vec<IntervalPoint>,
    /// The slowest and the first failed turns, in full.
    pub worst_turns: Vec<TurnRow>,
    /// A turn whose TTFA is about the median, in full; `null` when there was none, or half of all turns failed.
    #[serde(default)]
    pub typical_turn: Option<TurnRow>,
    /// What the load did when, one after the other: `ramp`, `warm-up`, `steady`, `drain`, or the scenario's stages.
    #[serde(default)]
    pub phases: Vec<LoadPhase>,
    /// The fixtures that were spoken.
    pub fixtures: Vec<FixtureInfo>,
    /// The audio settings, with what they cost on the wire.
    pub audio: AudioInfo,
    /// The machine that measured.
    pub host: HostInfo,
    /// The effective scenario as TOML, without secrets.
    pub scenario: String,
    /// The command line, without secrets.
    pub command: String,
    /// How harness and reference server agree about the same turns, when the embedded server ran.
    pub agreement: Option<Agreement>,
    /// What `voxload calibrate` found this machine to be capable of; `null` when there is no calibration.
    #[serde(default)]
    pub calibration: Option<CalibrationQuote>,
    /// Networks and faults; `null` when the run had neither.
    #[serde(default)]
    pub network: Option<NetworkResult>,
    /// The part of the fleet that this process played (`--shard`); `null`: all of it.
    #[serde(default)]
    pub shard: Option<ShardInfo>,
    /// Of a merged result (`voxload merge`): the processes that it was merged from; else empty. Then `generator` is all of
    /// them together: sums where they add up, and the worst where shares and peaks do not.
    #[serde(default)]
    pub processes: Vec<ProcessResult>,
    /// What the rules of the dialect have seen; absent for dialects without a description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<DialectResult>,
}
