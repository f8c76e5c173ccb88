//! `capacity.json`: a versioned document, the contract with every program that reads it.
//!
//! Times are in microseconds and end in `_us`; loads are in the document's `unit`. A number that was not measured, or that
//! the turns do not support, is `null`. The JSON Schema in `docs/schema/capacity.json` is made from these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::result::{HostInfo, TargetInfo};
use crate::report::text::count;

/// Raised when a field changes its meaning or disappears.
pub const SCHEMA_VERSION: u32 = 1;

/// How much one server carries.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CapacityReport {
    /// The version of this document's layout.
    pub schema_version: u32,
    /// The version of voxload that measured.
    pub voxload_version: String,
    /// The scenario's name.
    pub name: String,
    /// When the search began, RFC 3339, UTC.
    pub started_at: String,
    /// How long it took.
    pub duration_us: i64,
    /// What loads are counted in.
    pub unit: LoadUnit,
    /// How the search ended.
    pub ended: Ended,
    /// The answer in a sentence, with its confidence.
    pub sentence: String,
    /// The answer, when loads that hold and loads that do not are both known.
    pub answer: Option<AnswerResult>,
    /// The largest load that held below the smallest that did not; `null`: none did.
    pub held: Option<f64>,
    /// Without an answer: true when 95 % confidence stands behind `held` (or behind that the smallest load does not hold);
    /// false: it rests on too few turns.
    pub certain: bool,
    /// The smallest load that did not hold; `null`: none was tried.
    pub failed: Option<f64>,
    /// The thresholds: what "carries" means.
    pub budgets: Vec<BudgetResult>,
    /// Every probe, in order.
    pub trials: Vec<TrialResult>,
    /// Latency far below the answer, near it and at it.
    pub at_shares: Vec<AtShare>,
    /// What to know before the answer is believed.
    pub remarks: Vec<String>,
    /// Servers for a fleet; `null` with open arrivals, and without an answer.
    pub fleet: Option<FleetPlan>,
    /// The same devices, coming all at once; `null`: not tried.
    pub storm: Option<StormResult>,
    /// The Universal Scalability Law, fitted to the turns per second: for the picture only.
    pub scalability: Option<ScalabilityResult>,
    /// How it was searched.
    pub search: SearchSettings,
    /// The server under test, without secrets; `null` when no probe ended.
    pub target: Option<TargetInfo>,
    /// The machine that measured.
    pub host: HostInfo,
    /// The command line, without secrets.
    pub command: String,
    /// The effective scenario as TOML, without secrets.
    pub scenario: String,
}

/// What loads are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoadUnit {
    /// Devices at once (closed fleets).
    #[serde(rename = "devices")]
    Devices,
    /// Sessions that arrive per second (open arrivals).
    #[serde(rename = "sessions/s")]
    Sessions,
}

/// Steps of one session per second.
const FINE: f64 = 100.0;

impl LoadUnit {
    /// A load of the search, which counts in whole steps.
    pub fn value(self, steps: u64) -> f64 {
        match self {
            Self::Devices => steps as f64,
            Self::Sessions => steps as f64 / FINE,
        }
    }

    /// The steps of a load.
    pub fn steps(self, value: f64) -> u64 {
        let steps = match self {
            Self::Devices => value,
            Self::Sessions => value * FINE,
        };
        steps.round().max(1.0) as u64
    }

    /// A number without its unit.
    pub fn number(self, value: f64) -> String {
        match self {
            Self::Devices => count(value.round() as u64),
            Self::Sessions => {
                let text = format!("{value:.2}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }

    /// The heading of a column of loads.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Sessions => "sessions/s",
        }
    }

    /// For people: `1 device`, `2.5 sessions/s`.
    pub fn text(self, value: f64) -> String {
        let noun = match self {
            Self::Devices if value.round() == 1.0 => "device",
            Self::Devices => "devices",
            Self::Sessions => "sessions/s",
        };
        format!("{} {noun}", self.number(value))
    }
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The capacity was found.
    Answered,
    /// The ceiling holds: there was leave to try no more.
    Ceiling,
    /// The harness was the bottleneck above what held.
    Harness,
    /// The time was over.
    Time,
    /// The user interrupted it.
    Interrupted,
    /// The budgets do not hold under the smallest load.
    NothingHolds,
    /// Not one probe was valid.
    Invalid,
    /// The server could not be reached any more.
    Lost,
}

/// The capacity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerResult {
    /// The largest load under which the budgets hold.
    pub load: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// True: fresh runs below, at and above it were made.
    pub confirmed: bool,
}

/// A threshold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BudgetResult {
    /// As written in the scenario.
    pub expression: String,
    /// The share of turns that may be over it; `null`: it is no share of turns, and judged without confidence.
    pub allowed_share: Option<f64>,
    /// Its limit, when it is about TTFA.
    pub ttfa_limit_us: Option<i64>,
    /// True: the one that ends the capacity.
    pub binds: bool,
}

/// One probe: a run of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrialResult {
    /// Its number, from 1.
    pub number: u32,
    /// The load.
    pub load: f64,
    /// Why it was made: `bracket`, `bisect`, `again`, `confirm`, `refine`.
    pub purpose: String,
    /// `pass`, `fail`, `undecided`, `aborted`, `invalid`.
    pub verdict: String,
    /// Why it was aborted or invalid; empty otherwise.
    pub reason: String,
    /// Its report, below the folder of this document.
    pub dir: String,
    /// Each budget, in the order of `budgets`.
    pub budgets: Vec<TrialBudget>,
    /// Turns that counted, without those that the end of the run cut.
    pub turns: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Most devices connected at once.
    pub connected: u32,
    /// Time to first audio, median.
    pub ttfa_p50_us: Option<i64>,
    /// 95th percentile.
    pub ttfa_p95_us: Option<i64>,
    /// 99th percentile.
    pub ttfa_p99_us: Option<i64>,
    /// Connections: 95th percentile of the time to connect.
    pub connect_p95_us: Option<i64>,
    /// Connection attempts that failed.
    pub connect_failures: u64,
    /// Turns begun per second.
    pub turn_rate: f64,
    /// Mean length of a turn, from the start of speech to its end.
    pub turn_us: Option<i64>,
    /// Devices in a turn: mean of the counts of every interval.
    pub in_turn: Option<f64>,
    /// The same by Little's law: turns per second × mean length of a turn.
    pub in_turn_by_little: Option<f64>,
    /// False: the two differ by more than 2 % and more than chance.
    pub little_agrees: Option<bool>,
    /// Payload sent, kbit/s.
    pub kbps_up: f64,
    /// Payload received, kbit/s.
    pub kbps_down: f64,
    /// CPU of the harness, share of all cores.
    pub harness_cpu_share: f64,
    /// CPU of the server and its children while the load counted, seconds a second (1.0: a whole core); `null`: not seen.
    pub server_cpu_cores: Option<f64>,
    /// Most resident memory of the server and its children while the load counted; `null`: not seen.
    pub server_rss_bytes: Option<u64>,
    /// How long the run took, start to end.
    pub took_us: i64,
}

/// A budget in a probe.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrialBudget {
    /// `pass`, `fail`, `undecided`.
    pub verdict: String,
    /// Turns over it; `null` for budgets that are no shares.
    pub over: Option<u64>,
    /// Of so many.
    pub of: Option<u64>,
    /// The design effect: so many turns tell as much as one independent one.
    pub design_effect: Option<f64>,
}

/// Latency at a share of the answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AtShare {
    /// The share: 0.1, 0.5, 0.9, 1.
    pub share: f64,
    /// The probe nearest to it.
    pub trial: u32,
    /// Its load.
    pub load: f64,
    /// Time to first audio, median.
    pub ttfa_p50_us: Option<i64>,
    /// 95th percentile.
    pub ttfa_p95_us: Option<i64>,
    /// 99th percentile.
    pub ttfa_p99_us: Option<i64>,
}

/// A connect storm: a run of its own, in which all devices come within a moment, and everything counts from the first on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StormResult {
    /// Devices that came.
    pub devices: u32,
    /// Within this time.
    pub within_us: i64,
    /// Most that were connected at once.
    pub connected: u32,
    /// Connection attempts that failed.
    pub attempts_failed: u64,
    /// Connections that were lost.
    pub lost: u64,
    /// Connections: median of the time to connect.
    pub connect_p50_us: Option<i64>,
    /// 95th percentile.
    pub connect_p95_us: Option<i64>,
    /// The longest.
    pub connect_max_us: Option<i64>,
    /// Time to first audio, 95th percentile of all turns from the first connection on.
    pub ttfa_p95_us: Option<i64>,
    /// Each budget over these turns, in the order of `budgets`.
    pub budgets: Vec<TrialBudget>,
    /// Everybody was let in at the first attempt and stayed; `null`: the run was INVALID.
    pub survived: Option<bool>,
    /// Why it was stopped or INVALID; empty otherwise.
    pub reason: String,
    /// Its report, below the folder of this document.
    pub dir: String,
}

/// Servers for a fleet of toys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FleetPlan {
    /// Toys that are on at once.
    pub toys: u64,
    /// Part of the capacity that is used: the rest is headroom.
    pub used: f64,
    /// Servers besides those that the load needs: one may fail.
    pub spare: u32,
    /// Mean time from the end of a turn to the next, as seen.
    pub think_us: i64,
    /// Mean length of a turn at the capacity.
    pub turn_us: i64,
    /// Share of the time in which a toy is in a turn.
    pub in_turn_share: f64,
    /// Servers for toys that talk as often.
    pub servers: u64,
    /// Servers at the time between turns that was asked for (`--fleet-think`); computed, as `others` are.
    pub asked: Option<FleetRow>,
    /// The same for other times between turns, by Little's law from the turns per second at the capacity: computed, not measured.
    pub others: Vec<FleetRow>,
}

/// Servers at another think time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FleetRow {
    /// Mean time from the end of a turn to the next.
    pub think_us: i64,
    /// Share of the time in which a toy is in a turn.
    pub in_turn_share: f64,
    /// Toys one server would carry.
    pub per_server: u64,
    /// Servers.
    pub servers: u64,
}

/// Throughput against load: X(N) = λN / (1 + σ(N−1) + κN(N−1)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScalabilityResult {
    /// Turns per second of one device.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
}

/// How it was searched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchSettings {
    /// The first load.
    pub from: f64,
    /// Never more than this.
    pub ceiling: f64,
    /// The largest step up.
    pub factor: f64,
    /// How close the search comes, as a share.
    pub precision: f64,
    /// Load that counts in one probe.
    pub probe_us: i64,
    /// A probe with more errors than this share is stopped.
    pub abort_share: f64,
    /// Rest between probes; 0: every probe had a server of its own.
    pub cool_down_us: i64,
}

/// The JSON Schema of `capacity.json`.
pub fn schema() -> String {
    crate::report::json::schema_of::<CapacityReport>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_have_their_units() {
        let (d, s) = (LoadUnit::Devices, LoadUnit::Sessions);
        assert_eq!(
            [d.text(1.0), d.text(1_234.0), s.text(2.5), s.text(3.0)],
            ["1 device", "1,234 devices", "2.5 sessions/s", "3 sessions/s"]
        );
        assert_eq!((d.value(7), s.value(250), d.steps(7.0), s.steps(2.5)), (7.0, 2.5, 7, 250));
    }
}
