//! Networks and faults in `result.json`. What is measured from when: `docs/METRICS.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BargeInCounts, MetricResult, TurnCounts};

/// The name of the group of devices whose network is left alone, against which the others are compared.
pub const CONTROL: &str = "control";

/// Networks and faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkResult {
    /// Groups of devices, in the order of the scenario; empty when it has none.
    pub groups: Vec<GroupResult>,
    /// Faults, by cause; the most frequent first. Over the whole run, warm-up included.
    pub faults: Vec<FaultResult>,
    /// Instants at which many devices were cut at once.
    pub storms: Vec<StormResult>,
    /// Storms beyond those listed.
    pub storms_more: u64,
    /// Reconnects per second.
    pub reconnects: ReconnectRates,
    /// When faults began: at most some hundred spans of time, however long the run.
    pub timeline: Vec<FaultMark>,
    /// Connections of devices that have no row in `links.csv`, because there were too many.
    pub links_more: u64,
}

/// Some numbers of a distribution. `null`: too few samples, or +∞ (see [`Spread::infinite`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Samples, infinite ones included.
    pub count: u64,
    /// Of these: those that are +∞: failed, or never.
    pub infinite: u64,
    /// Median.
    pub p50_us: Option<i64>,
    /// 95th percentile.
    pub p95_us: Option<i64>,
    /// 99th percentile.
    pub p99_us: Option<i64>,
    /// Largest; `null` when it is infinite.
    pub max_us: Option<i64>,
}

/// A group of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupResult {
    /// Its name in the scenario.
    pub name: String,
    /// True: the control group, whose network is left alone.
    pub control: bool,
    /// Its turns after warm-up.
    pub turns: GroupTurns,
    /// Time to first audio; failures as +∞.
    pub ttfa: MetricResult,
    /// Time to first token; failures as +∞.
    pub ttft: MetricResult,
    /// How long the network took to deliver the end of the speech.
    pub network_up: Spread,
    /// How long it took to deliver the message with the first audible sample.
    pub network_down: Spread,
    /// Both together, turn by turn: the network's share of the TTFA.
    pub network: Spread,
    /// TTFA of this group − TTFA of the control group; `null` without one, and for the control group itself.
    pub against_control: Option<AgainstControl>,
    /// What its links did.
    pub links: LinksResult,
    /// More about its turns, where a threshold is about the group.
    #[serde(default)]
    pub judged: Option<Box<GroupJudged>>,
}

/// The turns of a group that a threshold is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupJudged {
    /// Those that have ended, counted.
    pub turns: TurnCounts,
    /// Interruptions.
    pub barge_in: BargeInCounts,
    /// Every metric of turns that has samples, by name.
    pub metrics: BTreeMap<String, MetricResult>,
}

/// Turns of a group, after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupTurns {
    /// Ended, but for those that the end of the run cut.
    pub ended: u64,
    /// Complete audible replies, and those interrupted as planned.
    pub succeeded: u64,
    /// Failed and timed out.
    pub failed: u64,
}

/// Differences of quantiles; `null` where one of the two is missing or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgainstControl {
    /// Of the medians of TTFA.
    pub ttfa_p50_us: Option<i64>,
    /// Of the 95th percentiles.
    pub ttfa_p95_us: Option<i64>,
}

/// What the imitated links of a group did, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinksResult {
    /// Connections that ended.
    pub connections: u64,
    /// SYNs lost while connecting.
    pub syn_lost: u64,
    /// From the devices.
    pub up: WayResult,
    /// To the devices.
    pub down: WayResult,
}

/// One way of links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WayResult {
    /// Bytes delivered.
    pub bytes: u64,
    /// Segments sent, without retransmissions.
    pub segments: u64,
    /// Segments lost, retransmissions included.
    pub lost: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// How often delivery stood still because a segment was missing.
    pub stalls: u64,
    /// For how long in all.
    pub stalled_us: i64,
    /// The longest of them.
    pub longest_stall_us: i64,
}

/// Faults of one cause. `began = recovered + never + lived_through + unfinished + overtaken`, except for devices that
/// vanish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultResult {
    /// A kind of fault of the scenario (`reset`, `roam`, …), or what devices saw (`closed_1012`, …).
    pub cause: String,
    /// True: a fault of the scenario; false: something that happened.
    pub planned: bool,
    /// All phases together.
    pub all: FaultNumbers,
    /// The same by what the device was doing when it was cut.
    pub phases: Vec<PhaseResult>,
}

/// Faults of one cause in one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseResult {
    /// `handshake`, `idle`, `speaking`, `waiting`, `listening`.
    pub phase: String,
    /// What came of them.
    pub numbers: FaultNumbers,
}

/// What came of faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultNumbers {
    /// Faults that began.
    pub began: u64,
    /// Devices that came back and heard something again.
    pub recovered: u64,
    /// Devices that never heard anything again, or never came back.
    pub never: u64,
    /// Faults that did not cost the device its connection.
    pub lived_through: u64,
    /// Cut so shortly before the end of the run that nothing can be said.
    pub unfinished: u64,
    /// Not followed to the end: the device vanished, or was struck too often.
    pub overtaken: u64,
    /// Of the next number: the server still knew the session.
    pub resumed: u64,
    /// Connected again, by attempts and steps that are known.
    pub reconnected: u64,
    /// Attempts that these took.
    pub attempts: u64,
    /// Cut → the device noticed.
    pub notice: Spread,
    /// Cut → connected again; never: +∞.
    pub outage: Spread,
    /// Cut → first audio; never: +∞.
    pub recover: Spread,
    /// Of those that kept their connection while nothing came through: cut → first audio.
    pub silence: Spread,
    /// Where the time until the connection was back went.
    pub steps: Option<RecoverySteps>,
}

/// Means over the devices that connected again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoverySteps {
    /// Waiting between attempts.
    pub back_off_us: f64,
    /// TCP, of the attempt that succeeded.
    pub tcp_us: f64,
    /// TLS.
    pub tls_us: f64,
    /// Upgrade.
    pub upgrade_us: f64,
    /// Upgrade → the server's session message; `null` where it sends none.
    pub session_us: Option<f64>,
}

/// Many devices cut at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StormResult {
    /// When the first of them was cut.
    pub at_us: i64,
    /// The most frequent cause.
    pub cause: String,
    /// Devices cut.
    pub devices: u64,
    /// Devices connected before.
    pub connected: u64,
    /// Of those cut: connected again by the end of the run.
    pub back: u64,
    /// Until 99 % of them were connected again; `null`: never.
    pub until_99_us: Option<i64>,
    /// Until all of them were; `null`: never.
    pub until_100_us: Option<i64>,
    /// Reconnects per second, in the interval that had the most.
    pub peak_per_s: f64,
    /// Connecting in that interval: planned attempt → upgraded.
    pub peak_connect: Spread,
    /// TTFA of the devices that were not cut, before.
    pub others_before: Spread,
    /// The same while it lasted.
    pub others_during: Spread,
}

/// Reconnects per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReconnectRates {
    /// In the interval that had the most.
    pub peak_per_s: f64,
    /// Mean, outside of storms.
    pub steady_per_s: f64,
    /// Peak as a multiple of that; `null` when nobody reconnected outside of storms.
    pub peak_over_steady: Option<f64>,
}

/// Faults of one cause that began within a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultMark {
    /// Its start.
    pub start_us: i64,
    /// Its width.
    pub width_us: i64,
    /// The cause.
    pub cause: String,
    /// Faults that began.
    pub began: u64,
}

/// One row of `links.csv`: the links of one device, over all its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "as in `LinksResult`, way by way")]
pub struct LinkRow {
    /// The device.
    pub device: u32,
    /// Its group.
    pub group: String,
    /// Connections that ended.
    pub connections: u64,
    pub syn_lost: u64,
    pub up_bytes: u64,
    pub up_segments: u64,
    pub up_lost: u64,
    pub up_retransmissions: u64,
    pub up_timeouts: u64,
    pub up_stalls: u64,
    pub up_stalled_us: i64,
    pub up_longest_stall_us: i64,
    pub down_bytes: u64,
    pub down_segments: u64,
    pub down_lost: u64,
    pub down_retransmissions: u64,
    pub down_timeouts: u64,
    pub down_stalls: u64,
    pub down_stalled_us: i64,
    pub down_longest_stall_us: i64,
}
