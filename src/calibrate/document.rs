//! `calibration.json`: a versioned document, the contract with every program that reads it.
//!
//! Spans are in microseconds and end in `_us`. A quantile that the number of samples does not support is `null`. The
//! JSON Schema in `docs/schema/calibration.json` is made from these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{Distribution, Quantile, fewest_samples};
use crate::report::result::{HostInfo, MetricResult};

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// What the harness can do on one machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// The version of voxload that measured.
    pub voxload_version: String,
    /// `release` or `debug`: a debug build is several times slower.
    pub build: String,
    /// When it began, RFC 3339, UTC.
    pub made_at: String,
    /// How long it took.
    pub duration_us: i64,
    /// True: fewer and shorter measurements.
    pub quick: bool,
    /// True: it was interrupted, or failed; what is missing was not measured.
    pub partial: bool,
    /// The machine.
    pub host: HostInfo,
    /// How late timers wake; `null` when not measured.
    pub wakeups: Option<Wakeups>,
    /// TTFT and TTFA against a server that answers at once.
    pub floor: Option<Floor>,
    /// The harness's error against known delays.
    pub error: Option<ErrorBars>,
    /// How many devices it can drive.
    pub capacity: Option<Capacity>,
    /// What to know about these numbers: steps that were disturbed, limits that were met.
    pub remarks: Vec<String>,
}

/// How late timers wake.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Wakeups {
    /// Threads, each with a timer of the harness, and another with the kernel's own sleep.
    pub threads: u32,
    /// With one sleeper a thread, and with many.
    pub rounds: Vec<WakeupRound>,
}

/// Wake-ups under one load.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WakeupRound {
    /// Devices in conversation that make as many wake-ups; 0: one sleeper a thread, on an otherwise idle harness.
    pub devices: u32,
    /// Wake-ups asked of the harness's timers per second, all threads together.
    pub per_second: f64,
    /// The harness's timers, planned → awake.
    pub timer: MetricResult,
    /// `clock_nanosleep` at the same time, likewise: the yardstick.
    pub kernel: MetricResult,
}

/// TTFT and TTFA against a server that answers at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Floor {
    /// With few devices, and with more.
    pub runs: Vec<FloorRun>,
}

/// One run against the null server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FloorRun {
    /// Devices.
    pub devices: u32,
    /// Turns counted.
    pub turns: u64,
    /// False: the run was INVALID by its own checks, also when it was repeated.
    pub valid: bool,
    /// Planned attempt → upgraded.
    pub connect: Spread,
    /// As defined: end of speech → first token.
    pub ttft: Spread,
    /// As defined: end of speech → first audible sample.
    pub ttfa: Spread,
    /// Part of both by definition, median: end of speech → the instant at which the last chunk is due (codec frame and
    /// look-ahead).
    pub last_chunk_us: Option<i64>,
    /// Part of TTFA by definition, median: silence at the beginning of the reply.
    pub lead_silence_us: Option<i64>,
    /// What remains of TTFT without the last chunk's wait: harness, loopback and null server.
    pub ttft_remaining: Spread,
    /// What remains of TTFA without the last chunk's wait and the reply's leading silence.
    pub ttfa_remaining: Spread,
}

/// The harness's error: |harness − the server's own log| of the same turns.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBars {
    /// Each known delay on its own.
    pub delays: Vec<KnownDelay>,
    /// Of TTFT, all delays together.
    pub ttft: Spread,
    /// Of TTFA, all delays together.
    pub ttfa: Spread,
}

/// The error at one known delay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KnownDelay {
    /// The server's delay before the first token.
    pub delay_us: i64,
    /// Devices.
    pub devices: u32,
    /// Turns found in both logs.
    pub turns: u64,
    /// Turns of the harness that the server's log does not have.
    pub unmatched: u64,
    /// False: the run was INVALID by its own checks, also when it was repeated.
    pub valid: bool,
    /// Of TTFT.
    pub ttft: Spread,
    /// Of TTFA.
    pub ttfa: Spread,
}

/// How many devices the harness can drive while the embedded server shares its cores: a lower bound, estimated by
/// short runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// Length of one run.
    pub probe_us: i64,
    /// Its part that was judged, after everybody had come.
    pub judged_us: i64,
    /// Share of the time in which a device speaks.
    pub speaking_share: f64,
    /// More devices were not tried.
    pub most: u32,
    /// Why not.
    pub most_because: String,
    /// Mean share of all cores that other programs used meanwhile; `null` where it cannot be known.
    pub others_share: Option<f64>,
    /// By chunk size, smallest first.
    pub points: Vec<CapacityPoint>,
}

/// The estimate for one chunk size.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CapacityPoint {
    /// Audio per message.
    pub chunk_us: i64,
    /// The largest number of devices of a run that stayed VALID; `null`: none did.
    pub devices: Option<u32>,
    /// The smallest number that did not; `null`: none was found.
    pub too_many: Option<u32>,
    /// What bound it, for people.
    pub bound_by: String,
    /// `devices` per core.
    pub devices_per_core: Option<f64>,
    /// CPU time of the harness per message sent in that run, receiving included.
    pub cpu_us_per_message_sent: Option<f64>,
    /// Share of all cores that the harness used in that run.
    pub cpu_share: Option<f64>,
    /// 99th percentile of the harness's own lateness in that run.
    pub own_lateness_p99_us: Option<i64>,
    /// Every run that was made.
    pub probes: Vec<Probe>,
}

/// One short run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Devices planned.
    pub devices: u32,
    /// Of these: connected at once.
    pub connected: u32,
    /// True: VALID, everybody connected, and the embedded server kept up.
    pub fits: bool,
    /// Why it did not fit, for people.
    pub reasons: Vec<String>,
    /// True: the reasons may well be the machine's neighbours, and it was tried again.
    pub disturbed: bool,
    /// CPU time of the harness per message sent, receiving included.
    pub cpu_us_per_message_sent: f64,
    /// Share of all cores that the harness used.
    pub cpu_share: f64,
    /// 99th percentile of the harness's own lateness.
    pub own_lateness_p99_us: Option<i64>,
    /// Share of all cores that other programs used meanwhile; `null` where it cannot be known.
    pub others_share: Option<f64>,
}

/// A distribution in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min_us: Option<i64>,
    /// Median.
    pub p50_us: Option<i64>,
    /// 99th percentile; `null` below 1,000 samples.
    pub p99_us: Option<i64>,
    /// Largest.
    pub max_us: Option<i64>,
}

impl Spread {
    /// Of a distribution.
    pub fn of(d: &Distribution) -> Self {
        let n = d.count();
        let at = |q| {
            let supported = n >= fewest_samples(q);
            if supported { d.quantile(q).and_then(Quantile::finite).map(|t| t.0) } else { None }
        };
        let us = |t: crate::time::Micros| t.0;
        Self { count: n, min_us: d.min().map(us), p50_us: at(0.5), p99_us: at(0.99), max_us: d.max().map(us) }
    }

    /// From `result.json`.
    pub const fn of_result(m: &MetricResult) -> Self {
        Self { count: m.count, min_us: m.min_us, p50_us: m.p50_us, p99_us: m.p99_us, max_us: m.max_us }
    }
}

impl Calibration {
    /// False: a run that any machine should manage was INVALID.
    pub fn is_valid(&self) -> bool {
        let floor = self.floor.iter().flat_map(|f| &f.runs).all(|r| r.valid);
        floor && self.error.iter().flat_map(|e| &e.delays).all(|d| d.valid)
    }
}

/// Other programs that use more than this share of the CPU are worth a remark.
const BUSY: f64 = 0.1;

impl Capacity {
    /// True: other programs used so much of the machine that an idle one drives more.
    pub fn is_busy(&self) -> bool {
        self.others_share.is_some_and(|s| s > BUSY)
    }

    /// Devices at a chunk size: measured, or on the line between its two neighbours; `None` outside of what was
    /// measured.
    pub fn at(&self, chunk_us: i64) -> Option<u32> {
        let found = self.points.iter().filter_map(|p| Some((p.chunk_us, p.devices?)));
        let mut points: Vec<(i64, u32)> = found.collect();
        points.sort_unstable();
        let after = points.iter().position(|(chunk, _)| *chunk >= chunk_us)?;
        let (high, most) = points[after];
        if high == chunk_us {
            return Some(most);
        }
        let (low, fewest) = *points.get(after.checked_sub(1)?)?;
        let share = (chunk_us - low) as f64 / (high - low) as f64;
        Some((f64::from(fewest) + share * (f64::from(most) - f64::from(fewest))) as u32)
    }
}

/// Of this program.
pub const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// The JSON Schema of the document, as in `docs/schema/calibration.json`.
pub fn schema() -> String {
    crate::report::json::schema_of::<Calibration>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::sample;
    use crate::time::Micros;

    #[test]
    fn between_measured_sizes_lies_a_line_and_outside_nothing() {
        let capacity = sample::calibration().capacity.unwrap();
        let ms = |n: i64| capacity.at(n * 1_000);
        assert_eq!([20, 60, 100].map(ms), [Some(1_800), Some(4_200), Some(6_000)]);
        assert_eq!([40, 80].map(ms), [Some(3_000), Some(5_100)]);
        assert_eq!([10, 19, 101, 120].map(ms), [None; 4]);
        let one = Capacity { points: capacity.points[1..2].to_vec(), ..capacity };
        assert_eq!([20, 60, 100].map(|n| one.at(n * 1_000)), [None, Some(4_200), None]);
        assert_eq!(Capacity { points: Vec::new(), ..one }.at(60_000), None);
    }

    #[test]
    fn a_p99_needs_a_thousand_samples() {
        let mut d = Distribution::default();
        (1..1_000).for_each(|n| d.record(Micros(n)));
        let few = Spread::of(&d);
        assert_eq!((few.count, few.min_us, few.p50_us, few.p99_us), (999, Some(1), Some(500), None));
        d.record(Micros(5_000));
        let enough = Spread::of(&d);
        assert_eq!((enough.p99_us, enough.max_us), (Some(990), Some(5_000)));
        assert_eq!(Spread::of(&Distribution::default()), Spread::default());
    }

    #[test]
    fn the_schema_is_checked_in() {
        let checked_in = include_str!("../../docs/schema/calibration.json");
        assert!(
            checked_in == schema(),
            "docs/schema/calibration.json is out of date: voxload calibrate --print-schema > docs/schema/calibration.json"
        );
    }
}
