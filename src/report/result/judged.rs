//! What came of a run: whether it can be believed, and what the gate says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
