//! The result of a run: a versioned document, the contract with every program that reads `result.json`.
//!
//! Times are in microseconds since the start of the run and end in `_us`. A quantile that the number of samples does
//! not support is `null`, never a guess. The JSON Schema in `docs/schema/result.json` is made from these types.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod network;
mod process;

pub use process::{ProcessResult, ShardInfo};

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

/// A phase of the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadPhase {
    /// Its name, for people.
    pub name: String,
    /// Its begin.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
}

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Pass, fail, invalid or interrupted.
    pub status: Status,
    /// The exit code of the process.
    pub exit_code: u8,
    /// Why, in sentences; empty when it passed.
    pub reasons: Vec<String>,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Valid, and every threshold held.
    Pass,
    /// A threshold failed, or no turn completed.
    #[default]
    Fail,
    /// The generator was the bottleneck: the numbers say nothing about the server.
    Invalid,
    /// Interrupted by the user.
    Interrupted,
}

/// Whether the numbers can be trusted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// False: the run is INVALID.
    pub valid: bool,
    /// Every check that was made.
    pub checks: Vec<ValidityCheck>,
    /// The fleet against its probe; `null` when there was none.
    pub probe: Option<ProbeResult>,
    /// Limits that are looser than voxload's own, in words: a run that is valid by them need not be valid by those.
    #[serde(default)]
    pub loosened: Vec<String>,
    /// Limits that are tighter than voxload's own, in words.
    #[serde(default)]
    pub tightened: Vec<String>,
}

/// The fleet's TTFA against that of a few of its devices that have a quiet thread to themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProbeResult {
    /// Turns of the probe, failed ones included.
    pub turns: u64,
    /// Its median TTFA; `null` when most turns failed.
    pub ttfa_p50_us: Option<i64>,
    /// Where the median lies with 99.9 % confidence (an end at `null`: infinite); `null` when the turns were too few.
    pub ttfa_p50_interval_us: Option<[Option<i64>; 2]>,
    /// Median TTFA of the whole fleet.
    pub fleet_ttfa_p50_us: Option<i64>,
    /// How far the fleet's median lies outside of that interval; 0 within it, a day where one of them is infinite.
    /// `null`: too few turns to tell.
    pub outside_us: Option<i64>,
}

/// One check of the generator's own health.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValidityCheck {
    /// What was checked, for example `send lateness p99`.
    pub name: String,
    /// What was seen, for people, for example `1.2 ms`; `not measured` when it could not be.
    pub seen: String,
    /// The limit, for people.
    pub limit: String,
    /// False: this makes the run invalid.
    pub ok: bool,
    /// The likely cause, when not ok.
    pub cause: String,
    /// What to try, with the flag, when not ok.
    pub try_this: String,
}

/// Something that was found out about the run, which makes it neither invalid nor failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// What it is about, for programs, for example `accept_queue`.
    pub name: String,
    /// What was seen, what it means, what to try.
    pub text: String,
}

/// A threshold, judged.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdResult {
    /// As written in the scenario.
    pub expression: String,
    /// The value found, in the unit that the expression's right side has; `null` when there was no sample or it is
    /// infinite.
    pub actual: Option<f64>,
    /// The value for people, for example `281 ms`, `∞`, `no samples`.
    pub actual_text: String,
    /// True when it counts as held: it passed, or is undecided and `gate.undecided` lets that pass.
    pub passed: bool,
    /// What the run says about it; `null` in documents of earlier versions, where `passed` says it all.
    #[serde(default)]
    pub verdict: Option<ThresholdVerdict>,
    /// What a percentile or a rate was judged by; `null` for other statistics, whose value decides, and without samples.
    #[serde(default)]
    pub share: Option<ThresholdShare>,
    /// More about it: what it was judged by, what would decide it, the nearest metric name, …
    pub note: String,
}

impl ThresholdResult {
    /// What the run says about it.
    pub fn verdict(&self) -> ThresholdVerdict {
        self.verdict.unwrap_or(if self.passed { ThresholdVerdict::Pass } else { ThresholdVerdict::Fail })
    }
}

/// What a run says about a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdVerdict {
    /// It holds; of a percentile or a rate, with confidence.
    Pass,
    /// It does not, likewise; or there was nothing to judge it by.
    Fail,
    /// There are too few samples to say.
    Undecided,
}

/// A percentile or a rate as a share of samples: `ttfa:p(95)<300ms` allows 5 % of the turns over 300 ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdShare {
    /// Samples on the wrong side of the limit; failed turns are.
    pub over: u64,
    /// Of so many.
    pub n: u64,
    /// The share that may be, between 0 and 1.
    pub allowed: f64,
    /// The least share that the samples are compatible with, one-sided: the threshold fails when it is above `allowed`.
    pub low: f64,
    /// The largest share, one-sided: the threshold passes when it is not above `allowed`.
    pub high: f64,
    /// The confidence of either bound: 0.95, or 0.99 where the run may be extended and is looked at again and again.
    pub confidence: f64,
    /// About so many samples in all would decide it, if the share stays what it is; `n` when it is decided, `null` when
    /// the share is too near to what is allowed.
    pub needed: Option<u64>,
}

/// What thresholds did to the course of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// What becomes of thresholds that are undecided: `fail`, `pass` or `extend`.
    pub undecided: String,
    /// How much longer than planned load was applied, because thresholds were undecided.
    pub extended_us: i64,
    /// The threshold that stopped the run (`abort_on_fail`).
    pub aborted: Option<Aborted>,
}

/// A run that a threshold stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Aborted {
    /// The threshold.
    pub expression: String,
    /// When no more turns began.
    pub at_us: i64,
    /// Until when turns would have begun.
    pub planned_us: i64,
    /// What it was then, for people.
    pub seen: String,
}

/// The server under test.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TargetInfo {
    /// The URL without secrets.
    pub url: String,
    /// The dialect.
    pub dialect: String,
    /// What a first token is in this dialect: `token`, `sentence`, `reply`, `none`.
    pub text_granularity: String,
    /// True when it was the embedded reference server.
    pub embedded: bool,
    /// True for wss.
    pub tls: bool,
    /// True when certificates were not checked.
    pub insecure: bool,
}

/// What the rules of a described dialect have seen, over all connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialectResult {
    /// Connections that were counted.
    pub connections: u64,
    /// The rules, in the order of the description.
    pub rules: Vec<RuleResult>,
    /// Messages that no rule has matched.
    pub unmatched: u64,
    /// An example of each shape of them, without secrets.
    pub examples: Vec<UnmatchedResult>,
}

/// How often a rule has fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleResult {
    /// Its name.
    pub name: String,
    /// What it means: `audio`, `final`, …
    pub meaning: String,
    /// How often.
    pub fired: u64,
}

/// Messages of one shape that no rule has matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnmatchedResult {
    /// What they have in common.
    pub shape: String,
    /// How many were looked at.
    pub count: u64,
    /// One of them, cut.
    pub example: String,
}

/// Turns after warm-up. `started = succeeded + failed + timed_out + interrupted + cancelled`;
/// `planned = started + missed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TurnCounts {
    /// Planned.
    pub planned: u64,
    /// Begun.
    pub started: u64,
    /// Complete audible replies.
    pub succeeded: u64,
    /// Failed, but for time-outs.
    pub failed: u64,
    /// No audio in time.
    pub timed_out: u64,
    /// Cut by a planned barge-in after the first audio: neither failed nor complete.
    pub interrupted: u64,
    /// Cut by the end of the run through no fault of the server.
    pub cancelled: u64,
    /// Planned and never begun.
    pub missed: u64,
    /// Turns during warm-up, in none of the other numbers.
    pub warmup: u64,
    /// Turns that lost their connection, went on with another and succeeded.
    #[serde(default)]
    pub reconnected: u64,
    /// Turns that failed because of a lost connection.
    #[serde(default)]
    pub lost_to_cut: u64,
    /// Turns whose reply was lost in part with a connection.
    #[serde(default)]
    pub cut_short: u64,
    /// Turns whose reply, or its beginning, came twice.
    #[serde(default)]
    pub answered_twice: u64,
    /// Turns of which some speech was never sent, because there was no connection.
    #[serde(default)]
    pub speech_lost: u64,
    /// How much speech that was.
    #[serde(default)]
    pub speech_lost_us: i64,
    /// Turns of which some speech was kept, and sent when the connection was back.
    #[serde(default)]
    pub speech_late: u64,
    /// How much speech that was.
    #[serde(default)]
    pub speech_late_us: i64,
    /// Chunks sent at a lower bit rate than the scenario's, because the line was slow (`audio.adaptive`).
    #[serde(default)]
    pub lowered_chunks: u64,
    /// How often a device lowered its bit rate.
    #[serde(default)]
    pub bitrate_downs: u64,
    /// How often one raised it again.
    #[serde(default)]
    pub bitrate_ups: u64,
}

impl TurnCounts {
    /// Counts only turns that have ended, whatever else has begun.
    #[must_use]
    pub const fn of_ended(self) -> Self {
        let started = self.succeeded + self.failed + self.timed_out + self.interrupted + self.cancelled;
        Self { started, planned: started + self.missed, ..self }
    }
}

/// Connections over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionCounts {
    /// Attempts.
    pub attempted: u64,
    /// Opened.
    pub opened: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Open connections that ended unasked.
    pub lost: u64,
    /// Opened again after a loss.
    pub reconnected: u64,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricResult {
    /// The unit of the samples: `us`, or `ppm` for ratios (then read `_us` as millionths).
    pub unit: String,
    /// Samples, failures included.
    pub count: u64,
    /// Of these: failures, which count as +∞.
    pub infinite: u64,
    /// Of these: below zero.
    pub negative: u64,
    /// Smallest finite sample.
    pub min_us: Option<i64>,
    /// Mean of the finite samples: for rates and loads, not for judging latency.
    pub mean_us: Option<f64>,
    /// Median.
    pub p50_us: Option<i64>,
    /// 90th percentile.
    pub p90_us: Option<i64>,
    /// 95th percentile.
    pub p95_us: Option<i64>,
    /// 99th percentile.
    pub p99_us: Option<i64>,
    /// Where the 99th percentile lies with 95 % confidence (order statistics); `null` at an end is +∞.
    #[serde(default)]
    pub p99_interval_us: Option<[Option<i64>; 2]>,
    /// 99.9th percentile.
    pub p999_us: Option<i64>,
    /// Largest sample; `null` when it is infinite.
    pub max_us: Option<i64>,
    /// The same quantiles over finite samples only.
    pub finite: FiniteQuantiles,
    /// The finite samples ≥ 0: HdrHistogram V2, deflated, base64. Read it with any HdrHistogram library.
    pub histogram: String,
    /// The negative samples, mirrored; empty when there are none.
    pub histogram_negative: String,
}

/// Quantiles over the samples that are finite: what a tool that forgets failures would print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FiniteQuantiles {
    /// Median.
    pub p50_us: Option<i64>,
    /// 90th percentile.
    pub p90_us: Option<i64>,
    /// 95th percentile.
    pub p95_us: Option<i64>,
    /// 99th percentile.
    pub p99_us: Option<i64>,
    /// 99.9th percentile.
    pub p999_us: Option<i64>,
    /// Largest.
    pub max_us: Option<i64>,
}

/// Failures of one class.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailureGroup {
    /// The class, for example `closed_1011`.
    pub class: String,
    /// What it means and what to look at.
    pub explanation: String,
    /// Failed turns.
    pub turns: u64,
    /// Failed connection attempts and lost connections.
    pub connections: u64,
    /// The first one, in detail.
    pub example: FailureExample,
}

/// The first failure of a class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FailureExample {
    /// The device.
    pub device: u32,
    /// Its turn, if it was in one.
    pub turn: Option<u32>,
    /// When.
    pub at_us: i64,
    /// What was seen, without secrets.
    pub detail: String,
}

/// One stage of a turn: the mean time between two consecutive milestones. All stages are over the same turns, so that
/// they add up to those turns' mean TTFA, which quantiles would not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageMean {
    /// The milestones: `end of speech → last send`, …
    pub name: String,
    /// The turns: those that succeeded with the most common set of milestones.
    pub turns: u64,
    /// Mean; negative when the second milestone tends to come first.
    pub mean_us: f64,
}

/// Playback at one prebuffer, over all replies that had audio.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlaybackResult {
    /// The prebuffer.
    pub prebuffer_us: i64,
    /// Replies played.
    pub replies: u64,
    /// Replies with at least one stall.
    pub stalled_replies: u64,
    /// Stalls.
    pub stalls: u64,
    /// Time stalled in all.
    pub stalled_us: i64,
    /// Time that replies take to play without stalls.
    pub media_us: i64,
    /// Time to first audio at this prebuffer.
    pub ttfa_p50_us: Option<i64>,
    /// Likewise.
    pub ttfa_p95_us: Option<i64>,
    /// The same without correction.
    #[serde(default)]
    pub ttfa_uncorrected_p50_us: Option<i64>,
    /// Likewise.
    #[serde(default)]
    pub ttfa_uncorrected_p95_us: Option<i64>,
}

/// Interruptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BargeInCounts {
    /// Interruptions made.
    pub made: u64,
    /// Of these: the reply stopped.
    pub stopped: u64,
    /// Coughs and "mm-hm"s made.
    pub backchannels: u64,
    /// Of these: the reply stopped, which it should not.
    pub false_stops: u64,
    /// Messages of interrupted turns that came late and were dropped as they should be.
    pub stale_messages: u64,
}

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

/// One point of the series.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct IntervalPoint {
    /// Start.
    pub start_us: i64,
    /// Width.
    pub width_us: i64,
    /// Devices connected at its end.
    pub connected: u32,
    /// Devices in a turn at its end.
    pub in_turn: u32,
    /// Turns begun.
    pub started: u64,
    /// Turns that succeeded (or were interrupted as planned).
    pub succeeded: u64,
    /// Turns that failed or timed out.
    pub failed: u64,
    /// Connections lost or refused.
    pub connection_failures: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// CPU time of the generator.
    pub cpu_us: i64,
    /// Resident memory of the generator at its end.
    pub rss_bytes: u64,
    /// Turns that ended in it, by TTFA; failures as +∞ (`null`).
    pub ttfa_count: u64,
    /// Median TTFA.
    pub ttfa_p50_us: Option<i64>,
    /// 95th percentile.
    pub ttfa_p95_us: Option<i64>,
    /// Largest finite.
    pub ttfa_max_us: Option<i64>,
    /// Median TTFA without correction.
    #[serde(default)]
    pub ttfa_uncorrected_p50_us: Option<i64>,
    /// 95th percentile.
    #[serde(default)]
    pub ttfa_uncorrected_p95_us: Option<i64>,
    /// Largest.
    #[serde(default)]
    pub ttfa_uncorrected_max_us: Option<i64>,
    /// Median TTFT.
    pub ttft_p50_us: Option<i64>,
    /// 95th percentile.
    pub ttft_p95_us: Option<i64>,
    /// Median TTFT without correction.
    #[serde(default)]
    pub ttft_uncorrected_p50_us: Option<i64>,
    /// 95th percentile.
    #[serde(default)]
    pub ttft_uncorrected_p95_us: Option<i64>,
    /// Send lateness, 99th percentile.
    pub send_lateness_p99_us: Option<i64>,
    /// Stalls at the scenario's prebuffer.
    pub stalls: u64,
    /// Faults of the scenario that began.
    #[serde(default)]
    pub faults: u64,
    /// Devices that connected again after a loss.
    #[serde(default)]
    pub reconnects: u64,
}

/// One row of `turns.csv`. Instants are since the start of the run; empty when it did not happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnRow {
    /// The device.
    pub device: u32,
    /// The turn of the device.
    pub turn: u32,
    /// The turn on its connection.
    pub session_turn: u32,
    /// The connection's local port.
    pub local_port: u16,
    /// The connection's local address, where it was chosen (`target.source_ips`) and not left to the kernel.
    #[serde(default)]
    pub source_ip: Option<IpAddr>,
    /// The fixture spoken.
    pub fixture: String,
    /// True: during warm-up, not counted.
    pub warmup: bool,
    /// `ok`, `interrupted`, `cancelled`, or the failure class.
    pub outcome: String,
    /// `t0`: planned start of the utterance.
    pub planned_start_us: i64,
    /// `T_eos`: planned end of speech.
    pub end_of_speech_us: i64,
    /// Planned instant of the last send.
    pub last_send_planned_us: i64,
    /// When it was written.
    pub last_send_done_us: Option<i64>,
    /// First token − end of speech.
    pub ttft_us: Option<i64>,
    /// The same without correction: the lateness of the last send is taken off.
    #[serde(default)]
    pub ttft_uncorrected_us: Option<i64>,
    /// First audible sample played − end of speech.
    pub ttfa_us: Option<i64>,
    /// The same without correction.
    #[serde(default)]
    pub ttfa_uncorrected_us: Option<i64>,
    /// First audio arrived − end of speech.
    pub ttfa_first_byte_us: Option<i64>,
    /// The same without correction.
    #[serde(default)]
    pub ttfa_first_byte_uncorrected_us: Option<i64>,
    /// First audible sample played − last send written.
    pub ttfa_from_last_send_us: Option<i64>,
    /// Server's end-of-turn event − end of speech.
    pub endpoint_delay_us: Option<i64>,
    /// First partial transcript − end of speech.
    pub first_partial_us: Option<i64>,
    /// Final transcript − end of speech.
    pub final_transcript_us: Option<i64>,
    /// Leading silence of the reply.
    pub lead_silence_us: Option<i64>,
    /// Last audio arrived − end of speech.
    pub last_byte_us: Option<i64>,
    /// Server's "reply complete" − end of speech.
    pub reply_done_us: Option<i64>,
    /// Non-empty tokens.
    pub tokens: u32,
    /// Audio messages.
    pub audio_messages: u32,
    /// Playing time of the audio received.
    pub reply_media_us: i64,
    /// Wall clock from the first to the last audio per second of audio; ≤ 1 keeps up.
    pub rtf: Option<f64>,
    /// Stalls at the scenario's prebuffer.
    pub stalls: u32,
    /// Time stalled at the scenario's prebuffer.
    pub stalled_us: i64,
    /// Time stalled at prebuffer 0, 60, 120 and 200 ms.
    pub stalled_0_us: i64,
    /// Likewise.
    pub stalled_60_us: i64,
    /// Likewise.
    pub stalled_120_us: i64,
    /// Likewise.
    pub stalled_200_us: i64,
    /// The prebuffer that would have avoided every stall.
    pub required_prebuffer_us: i64,
    /// Planned onset of a barge-in.
    pub barge_in_us: Option<i64>,
    /// Last audible agent sample played − that onset.
    pub barge_in_stop_us: Option<i64>,
    /// Last audio received − that onset.
    pub barge_in_last_byte_us: Option<i64>,
    /// When a cough or "mm-hm" was made.
    pub backchannel_us: Option<i64>,
    /// True: it stopped the reply.
    pub false_barge_in: bool,
    /// When the turn ended.
    pub ended_us: i64,
    /// What was seen, for failures; without secrets.
    pub detail: String,
    /// The device's group; empty in runs without groups.
    #[serde(default)]
    pub group: String,
    /// How long the imitated network took to deliver the end of the speech.
    #[serde(default)]
    pub network_up_us: Option<i64>,
    /// How long it took to deliver the message with the first audible sample.
    #[serde(default)]
    pub network_down_us: Option<i64>,
    /// Both: the network's share of the TTFA.
    #[serde(default)]
    pub network_us: Option<i64>,
    /// How often the connection was lost and the turn went on.
    #[serde(default)]
    pub reconnects: u16,
    /// True: the end of the reply never came, it was lost with a connection.
    #[serde(default)]
    pub cut_short: bool,
    /// True: the reply, or its beginning, came twice.
    #[serde(default)]
    pub answered_twice: bool,
    /// Speech that was never sent, because there was no connection.
    #[serde(default)]
    pub speech_lost_us: i64,
    /// Speech that was kept, and sent when the connection was back.
    #[serde(default)]
    pub speech_late_us: i64,
    /// Chunks sent at a lower bit rate than the scenario's, because the line was slow.
    #[serde(default)]
    pub lowered: u32,
    /// When playback at the scenario's prebuffer first ran dry − end of speech.
    #[serde(default)]
    pub first_stall_us: Option<i64>,
}

/// A fixture that was spoken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FixtureInfo {
    /// Its name.
    pub id: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Length of the file.
    pub length_us: i64,
    /// First audible sample.
    pub speech_start_us: i64,
    /// End of speech.
    pub speech_end_us: i64,
}

/// The audio settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AudioInfo {
    /// The codec.
    pub codec: String,
    /// Samples per second, up.
    pub sample_rate: u32,
    /// Samples per second, down.
    pub reply_sample_rate: u32,
    /// Target bit rate; 0 for codecs without.
    pub bitrate: u32,
    /// Codec frame.
    pub frame_us: i64,
    /// Audio per message.
    pub chunk_us: i64,
    /// The codec's look-ahead.
    pub lookahead_us: i64,
    /// `binary` or `base64`.
    pub encoding: String,
    /// `signal` or `vad`.
    pub end_of_turn: String,
    /// The prebuffer that TTFA and stalls are judged at.
    pub prebuffer_us: i64,
    /// While speaking, computed: kbit/s up on the wire with WebSocket, TLS, TCP (20) and IPv4 headers.
    pub wire_kbps_up: f64,
    /// While speaking: messages per second up.
    pub messages_per_s_up: f64,
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

/// Harness against reference server: the same instants, seen from both sides.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// Turns found in both logs.
    pub turns: u64,
    /// Turns of the harness (with a first audio) that the server's log does not have.
    pub unmatched: u64,
    /// Turns over an imitated network, which lies between the two: not compared.
    #[serde(default)]
    pub delayed: u64,
    /// First token: harness − server.
    pub ttft: Difference,
    /// First audio: harness − server.
    pub ttfa: Difference,
}

/// Differences, harness minus server: what the network and the harness add.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Pairs compared.
    pub count: u64,
    /// Median.
    pub p50_us: Option<i64>,
    /// 99th percentile of the absolute difference.
    pub p99_abs_us: Option<i64>,
    /// Largest absolute difference.
    pub max_abs_us: Option<i64>,
    /// Share of pairs within 5 ms.
    pub within_5ms: Option<f64>,
}

/// What a calibration says about this run. Numbers are `null` when it was not made here, or lacks that step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationQuote {
    /// The file.
    pub file: String,
    /// When it was made, RFC 3339, UTC.
    pub made_at: String,
    /// How old it was when the run started.
    pub age_us: i64,
    /// True: made on this machine, by this voxload.
    pub host_match: bool,
    /// What differs, for people, when it was not.
    pub mismatch: Vec<String>,
    /// Median TTFT against a server that answers at once, without what its definition asks for.
    pub floor_ttft_us: Option<i64>,
    /// Median TTFA, likewise.
    pub floor_ttfa_us: Option<i64>,
    /// |harness − known| of TTFT, 99th percentile.
    pub error_ttft_p99_us: Option<i64>,
    /// |harness − known| of TTFA, 99th percentile.
    pub error_ttfa_p99_us: Option<i64>,
    /// How late timers wake under load, 99th percentile.
    pub wakeup_p99_us: Option<i64>,
    /// The chunk size of this run.
    pub chunk_us: i64,
    /// Devices that this machine can drive at that chunk size, the embedded server on the same cores: an estimate, on
    /// the line between the two sizes that were measured; `null` outside of them.
    pub devices: Option<u32>,
    /// True: other programs were busy when devices were counted; an idle machine drives more.
    #[serde(default)]
    pub busy: bool,
    /// Devices that this run planned.
    pub devices_planned: u32,
    /// True: this run sends as the calibration did: Opus, binary, without TLS.
    pub as_measured: bool,
}
