//! What was measured: turns, connections, latencies, failures, and how they went over time.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
