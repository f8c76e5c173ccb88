//! `sweep.json`: what came of a sweep, the contract with every program that reads it.
//!
//! Names are as in `result.json`: times are microseconds and end in `_us`; what was not measured is `null`. The JSON
//! Schema in `docs/schema/sweep.json` is made from these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capacity::document::LoadUnit;
use crate::report::result::HostInfo;

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// A sweep, whole or as far as it came.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// The version of voxload that measured.
    pub voxload_version: String,
    /// The scenario's name.
    pub name: String,
    /// The scenario's seed.
    pub seed: u64,
    /// Start of the first run of this sweep, RFC 3339, UTC.
    pub started_at: String,
    /// False: runs are missing; `voxload sweep … --resume` makes them.
    pub complete: bool,
    /// Runs that were planned: cells × repetitions.
    pub planned_runs: u32,
    /// Of these: VALID ones that were made.
    pub valid_runs: u32,
    /// What to choose; `null` when no cell can be recommended, then `answer` says why.
    pub recommendation: Option<Recommendation>,
    /// The recommendation in a sentence, or why there is none.
    pub answer: String,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// What was varied.
    pub axes: Vec<AxisInfo>,
    /// Runs of each cell.
    pub repeat: u32,
    /// `interleaved` or `sequential`.
    pub order: String,
    /// How much slower than the fastest a recommended cell may be (`sweep.max_delay`).
    pub max_delay_us: i64,
    /// How much a recommended cell may distort speech (`sweep.max_distortion`), dB.
    pub max_distortion_db: f64,
    /// The number of the cell that changes are counted from.
    pub baseline: u32,
    /// The combinations that were measured.
    pub cells: Vec<Cell>,
    /// The combinations that were not.
    pub skipped: Vec<Skipped>,
    /// Numbers of the cells that no other beats in latency and bandwidth both, thriftiest first.
    pub front: Vec<u32>,
    /// What else to know.
    pub notes: Vec<String>,
    /// The machine that measured.
    pub host: HostInfo,
    /// The command line, without secrets.
    pub command: String,
}

/// What was varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AxisInfo {
    /// The key of the scenario.
    pub key: String,
    /// Its values, without secrets.
    pub values: Vec<String>,
}

/// What to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// The number of the cell.
    pub cell: u32,
    /// The fastest cell among those that could have been recommended.
    pub fastest: u32,
}

/// A combination that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Its values, in the order of the axes.
    pub values: Vec<String>,
    /// Why.
    pub reason: String,
}

/// A combination, and what was measured of it, over all its VALID runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Its number, from 1.
    pub number: u32,
    /// Its values, in words.
    pub label: String,
    /// Its values, in the order of the axes.
    pub values: Vec<String>,
    /// Its runs.
    pub runs: Vec<Run>,
    /// What its audio is, and costs on paper.
    pub speech: Speech,
    /// What was measured; `null`: no VALID run.
    pub measured: Option<Measured>,
    /// How much one server carries; `null`: not searched (`sweep.capacity`).
    pub capacity: Option<CellCapacity>,
}

/// How much one server carries at a cell: found by a search of its own (`voxload capacity`), not computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellCapacity {
    /// What loads are counted in.
    pub unit: LoadUnit,
    /// The answer; `null`: none was found.
    pub load: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The largest load that held.
    pub at_least: Option<f64>,
    /// The smallest load that did not hold.
    pub less_than: Option<f64>,
    /// True: the answer was confirmed by fresh runs, or 95 % confidence stands behind what is known.
    pub certain: bool,
    /// The answer in a sentence.
    pub sentence: String,
    /// The search's report, below the folder of this document.
    pub dir: String,
}

/// One run of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The round.
    pub round: u32,
    /// Its folder, below the sweep's.
    pub dir: String,
    /// `valid`, `invalid` or `missing`.
    pub state: String,
    /// Runs that were made for it, INVALID ones included.
    pub attempts: u32,
    /// Median TTFA of the run; `null`: infinite, or no sample.
    pub ttfa_p50_us: Option<i64>,
    /// Why it is INVALID; empty otherwise.
    pub reason: String,
}

/// Codec and chunk of a cell, known without a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Speech {
    /// From the last audible sample to the instant at which the chunk that carries it can be sent, mean over the
    /// fixtures (talk button), or half a chunk and the codec's look-ahead (server-side detection).
    pub packetisation_mean_us: f64,
    /// The worst case of the same.
    pub packetisation_worst_us: i64,
    /// Most speech that is gone with the connection: one chunk that was not complete, and the look-ahead.
    pub lost_per_cut_us: i64,
    /// Between the fixtures and what comes out of the decoder; `null`: could not be told.
    pub quality: Option<Quality>,
    /// Time to encode a second of speech on this machine, µs.
    pub encode_us_per_s: Option<f64>,
    /// Time to decode a second of speech on this machine, µs.
    pub decode_us_per_s: Option<f64>,
}

/// Speech after decoding against the fixtures: plain signal measures, not PESQ, POLQA or ViSQOL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Segmental signal-to-noise ratio, dB, each segment of 20 ms within −10 to 35; 35: the same.
    pub segmental_snr_db: f64,
    /// Log-spectral distance over 40 mel bands up to 8 kHz, dB; 0: the same.
    pub spectral_distance_db: f64,
}

/// What was measured of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Turns that count, failed ones included.
    pub turns: u64,
    /// Of these: failed or never answered.
    pub failed: u64,
    /// Failed turns by class.
    pub failures: BTreeMap<String, u64>,
    /// Mean TTFA of the turns that were answered: what cells are compared by, as failures are judged apart. A chunk's
    /// delay depends on where in it the speech ends, and few utterances make a median jump.
    pub ttfa_mean_us: Option<f64>,
    /// Median TTFA, failed turns as +∞; `null`: infinite, or too few turns.
    pub ttfa_p50_us: Option<i64>,
    /// 95th percentile, likewise.
    pub ttfa_p95_us: Option<i64>,
    /// Mean TTFA against the baseline cell, pair by pair: runs of the same round. `null` for the baseline itself,
    /// and without pairs.
    pub change: Option<Change>,
    /// What devices send, while they send.
    pub up: Wire,
    /// What they receive, per second of reply.
    pub down: Wire,
    /// Megabytes of an hour of which half is speech and half are replies.
    pub mb_per_hour: f64,
    /// Share of the replies that stalled at the scenario's prebuffer.
    pub stalled_share: Option<f64>,
    /// CPU of the harness per message, µs.
    pub harness_cpu_us_per_message: f64,
    /// CPU of the harness, share of its cores.
    pub harness_cpu_share: f64,
    /// CPU of the embedded server per device, share of a core; `null` with a server of your own.
    pub server_cpu_per_device: Option<f64>,
    /// Thresholds of the scenario that failed, over all runs.
    pub failed_thresholds: u32,
}

/// A change, paired by round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The median of the differences.
    pub median_us: i64,
    /// The smallest.
    pub least_us: i64,
    /// The largest.
    pub most_us: i64,
    /// Rounds in which both were measured.
    pub pairs: u32,
}

/// One direction on the wire: messages and payloads counted in the runs, and the headers of WebSocket, TLS, TCP (20
/// bytes) and IPv4 added by arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wire {
    /// kbit/s with all headers.
    pub kbps: f64,
    /// Bytes per second with all headers.
    pub bytes_per_s: f64,
    /// Of these: payload.
    pub payload_bytes_per_s: f64,
    /// Messages per second.
    pub messages_per_s: f64,
}

/// The JSON Schema of `sweep.json`, as pretty-printed text.
pub fn schema() -> String {
    crate::report::json::schema_of::<Sweep>()
}
