//! From what a run came to, to the document that every report is made of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::heard;
use super::run::{Finished, Load};
use crate::device::plan::Plan;
use crate::event::{PREBUFFERS, TurnRecord};
use crate::exit::Exit;
use crate::gate::{Rule, judge_all};
use crate::measure::health::Usage;
use crate::measure::{
    Distribution, Groups, Interval, Metric, Quantile, Totals, findings, health, probe, turn_row, validity,
};
use crate::report::StageTotals;
use crate::report::result::{
    Agreement, AudioInfo, ConnectionCounts, FailureExample, FailureGroup, FixtureInfo, Generator, LoadPhase,
    MetricResult, PlaybackResult, RunResult, SCHEMA_VERSION, ShardInfo, Status, TargetInfo, ThreadResult,
    ThresholdVerdict, TurnRow, Validity, Verdict,
};
use crate::scenario::estimate::Wire;
use crate::scenario::{Arrivals, Fleet, Scenario, ValidityLimits};
use crate::time::Micros;
use crate::transport::source::{self, Sources};

/// Metrics that a run of the right kind always has, with or without samples.
const HEADLINES: [Metric; 3] = [Metric::Ttfa, Metric::TtfaFirstByte, Metric::SendLateness];

/// What the document needs besides the measurements.
pub struct Context<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The conversation.
    pub plan: &'a Plan,
    /// The fixtures that were spoken.
    pub fixtures: Vec<FixtureInfo>,
    /// The wall clock at time zero.
    pub started: SystemTime,
    /// The command line, without secrets.
    pub command: String,
    /// The URL that was connected to, without secrets.
    pub url: String,
    /// True when it was the embedded server.
    pub embedded: bool,
    /// True for wss.
    pub tls: bool,
    /// Where devices connected from.
    pub sources: &'a Sources,
    /// The groups of devices.
    pub groups: &'a Groups,
    /// Harness against reference server.
    pub agreement: Option<Agreement>,
    /// The part of the fleet that this process played, when it was not all of it.
    pub shard: Option<ShardInfo>,
}

/// What indices in events stand for.
pub struct Names<'a> {
    /// The run's fixtures.
    pub fixtures: &'a [String],
    /// The groups of devices.
    pub groups: &'a [String],
    /// The address that a device connects from, where it was chosen.
    pub source: &'a dyn Fn(u32) -> Option<IpAddr>,
}

/// What the document says of a run's events, of one process or of several together; the rest of it is empty.
pub fn measured(totals: &Totals, stages: &StageTotals, names: &Names<'_>) -> RunResult {
    let row = |t: &TurnRecord| TurnRow {
        source_ip: (names.source)(t.device),
        ..turn_row(t, names.fixtures, names.groups)
    };
    RunResult {
        turns: totals.all.counts.turns(),
        connections: connections(totals),
        metrics: metrics(totals),
        failures: failures(&totals.all),
        stages: stages.to_result(),
        playback: playback(totals),
        barge_in: totals.all.counts.barge_in(),
        intervals: totals.series(),
        worst_turns: totals.worst().map(&row).collect(),
        typical_turn: totals.typical().map(&row),
        network: totals.network(names.groups),
        ..RunResult::default()
    }
}

/// Makes the document, verdict included.
pub fn result(context: Context<'_>, run: &Finished) -> RunResult {
    let Context {
        scenario,
        plan,
        fixtures,
        started,
        command,
        url,
        embedded,
        tls,
        sources,
        groups,
        agreement,
        shard,
    } = context;
    let totals = &run.totals;
    let harness = Harness {
        totals,
        before: run.before,
        after: run.after,
        load: run.load,
        rss_peak: run.rss_peak,
        open_files_peak: run.open_files_peak,
        shards: run.shards,
        threads: run.threads.clone(),
        probe: run.probe.as_ref(),
        lost_shards: run.lost_shards,
    };
    let (generator, validity) = harness.judge(scenario, sources);
    let names: Vec<String> = fixtures.iter().map(|f| f.id.clone()).collect();
    let source = |device| sources.of(device);
    let names = Names { fixtures: &names, groups: groups.names(), source: &source };
    let mut result = RunResult {
        schema_version: SCHEMA_VERSION,
        validity,
        notes: findings::findings(totals, run.listen),
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: scenario.name.clone(),
        seed: scenario.seed,
        started_at: crate::report::rfc3339(started),
        duration_us: run.duration.0,
        warmup_us: scenario.fleet.warmup.0,
        gate: Some(run.gate.clone()),
        target: TargetInfo {
            url,
            dialect: plan.dialect.capabilities().name.to_string(),
            text_granularity: format!("{:?}", plan.dialect.capabilities().text).to_lowercase(),
            embedded,
            tls,
            insecure: scenario.target.insecure,
        },
        generator,
        phases: phases(&scenario.fleet, run.load.span, run.duration),
        fixtures,
        audio: audio(scenario, plan, tls),
        host: health::host(),
        scenario: scenario.effective.clone(),
        command,
        agreement,
        shard,
        dialect: heard::result(plan, &scenario.secrets()),
        ..measured(totals, &run.stages, &names)
    };
    result.notes.extend(result.dialect.as_ref().map(heard::notes).into_iter().flatten());
    result.thresholds = judge_all(&scenario.thresholds, &result, Rule::of(&scenario.gate));
    result.verdict = verdict(&result, run.interrupted);
    result
}

/// What the load did when: the plan's phases, until no more turns began `span` after the warm-up; then what was under way
/// ended.
fn phases(fleet: &Fleet, span: Micros, duration: Micros) -> Vec<LoadPhase> {
    let end = (fleet.warmup + span).min(duration);
    let mut plan: Vec<(String, Micros)> = Vec::new();
    let mut before = 0;
    for s in &fleet.stages {
        let name = match s.devices {
            n if n == before => format!("at {n}"),
            n => format!("to {n}"),
        };
        plan.push((name, plan.last().map_or(Micros::ZERO, |(_, to)| *to) + s.duration));
        before = s.devices;
    }
    if plan.is_empty() {
        let ramp = if fleet.arrivals == Arrivals::Closed { fleet.ramp } else { Micros::ZERO };
        plan = vec![
            ("ramp".to_owned(), ramp),
            ("warm-up".to_owned(), fleet.warmup),
            ("steady".to_owned(), Micros::NEVER),
        ];
    }
    let (mut phases, mut from) = (Vec::new(), Micros::ZERO);
    let planned = plan.into_iter().map(|(name, to)| (name, to.min(end)));
    for (name, to) in planned.chain([("drain".to_owned(), duration)]) {
        if to > from {
            phases.push(LoadPhase { name, from_us: from.0, to_us: to.0 });
            from = to;
        }
    }
    phases
}

/// Invalid outranks everything but the user's own interruption; a threshold outranks an empty run.
pub fn verdict(r: &RunResult, interrupted: bool) -> Verdict {
    let mut reasons = Vec::new();
    for c in r.validity.checks.iter().filter(|c| !c.ok) {
        reasons.push(format!("{}: {} (limit {}): {}; try {}", c.name, c.seen, c.limit, c.cause, c.try_this));
    }
    let none = r.turns.succeeded + r.turns.interrupted == 0;
    if none {
        let why = r
            .failures
            .first()
            .map_or_else(String::new, |f| format!("; most failed as `{}`: {}", f.class, f.explanation));
        reasons.push(format!("no turn completed{why}"));
    }
    let aborted = r.gate.as_ref().and_then(|g| g.aborted.as_ref());
    if let Some(a) = aborted {
        reasons.push(format!(
            "stopped by a threshold after {} of {}: {} had certainly failed ({})",
            Micros(a.at_us),
            Micros(a.planned_us),
            a.expression,
            a.seen
        ));
    }
    for t in r.thresholds.iter().filter(|t| !t.passed) {
        let what = if t.verdict() == ThresholdVerdict::Undecided { "undecided" } else { "failed" };
        let note = t.note.replacen("undecided: ", "", 1);
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        reasons.push(format!("threshold {what}: {} was {}{note}", t.expression, t.actual_text));
    }
    if interrupted {
        reasons.insert(0, "interrupted by the user: the numbers cover the time until then".to_owned());
    }
    let (status, exit) = if interrupted {
        (Status::Interrupted, Exit::Interrupted)
    } else if !r.validity.valid {
        (Status::Invalid, Exit::Invalid)
    } else if none {
        (Status::Fail, Exit::NoTurns)
    } else if aborted.is_some() || r.thresholds.iter().any(|t| !t.passed) {
        (Status::Fail, Exit::Threshold)
    } else {
        (Status::Pass, Exit::Good)
    };
    Verdict { status, exit_code: exit.code(), reasons }
}

/// The generator, at the end of a run or under way.
pub struct Harness<'a> {
    /// What was measured.
    pub totals: &'a Totals,
    /// Before the first device.
    pub before: Usage,
    /// Now.
    pub after: Usage,
    /// Under load.
    pub load: Load,
    /// Most resident memory seen, bytes.
    pub rss_peak: u64,
    /// Most open descriptors seen.
    pub open_files_peak: Option<u64>,
    /// Threads that share the load.
    pub shards: u32,
    /// What each thread that drives devices came to.
    pub threads: Vec<ThreadResult>,
    /// TTFA of the probe, where there is one.
    pub probe: Option<&'a Distribution>,
    /// Shards that could not start, or failed.
    pub lost_shards: u32,
}

impl Harness<'_> {
    /// Its health, and whether its numbers can be trusted.
    pub fn judge(self, scenario: &Scenario, sources: &Sources) -> (Generator, Validity) {
        let (totals, lost_shards) = (self.totals, self.lost_shards);
        let probe = self.probe.map(|p| probe::compare(p, totals.all.metric(Metric::Ttfa)));
        // The shards' own peaks need not be of the same moment.
        let generator = self.generator(scenario.most(), sources);
        let evidence = validity::Evidence { totals, generator: &generator, probe, lost_shards };
        let validity = validity::judge(evidence, &scenario.validity, &ValidityLimits::defaults());
        (generator, validity)
    }

    /// `most`: devices that this process plays at once.
    fn generator(self, most: u32, sources: &Sources) -> Generator {
        let c = &self.totals.all.counts;
        let cpu = self.after.cpu - self.before.cpu;
        let messages = c.messages_sent + c.messages_received;
        let load = &self.load;
        let source_addresses = sources.count().clamp(1, u64::from(most.max(1)));
        let devices = u32::try_from(self.totals.peak_connected.max(0)).unwrap_or(u32::MAX).min(most);
        Generator {
            devices,
            shards: self.shards,
            messages_sent: c.messages_sent,
            messages_received: c.messages_received,
            bytes_sent: c.bytes_sent,
            bytes_received: c.bytes_received,
            cpu_us: cpu.0,
            load_us: load.span.0,
            cpu_share: (load.end.cpu - load.begin.cpu).0 as f64
                / (load.span.0.max(1) as f64 * f64::from(health::cores())),
            cpu_us_per_message: cpu.0 as f64 / messages.max(1) as f64,
            rss_base_bytes: self.before.rss,
            rss_peak_bytes: self.rss_peak,
            rss_bytes_per_device: self.rss_peak.saturating_sub(self.before.rss) / u64::from(devices.max(1)),
            threads: self.threads,
            steal_share: load.end.steal_since(&load.begin),
            pressure_share: load.end.pressure_since(&load.begin, load.span),
            open_files_peak: self.open_files_peak,
            open_files_limit: health::open_files_limit(),
            source_addresses,
            // Devices take turns: no address has more than this.
            ports_peak: u64::from(devices).div_ceil(source_addresses),
            ports_limit: source::local_ports(),
        }
    }
}

pub(super) fn connections(totals: &Totals) -> ConnectionCounts {
    let c = &totals.all.counts;
    ConnectionCounts {
        attempted: c.connects,
        opened: c.connected_total,
        failed: c.connect_failures,
        lost: c.lost,
        reconnected: c.reconnected,
    }
}

fn metrics(totals: &Totals) -> BTreeMap<String, MetricResult> {
    Metric::ALL
        .iter()
        .filter(|&&m| totals.all.metric(m).count() > 0 || HEADLINES.contains(&m))
        .map(|&m| (m.name().to_owned(), totals.all.metric(m).to_result(m.unit().name())))
        .collect()
}

/// Failures by class, most frequent first.
pub fn failures(all: &Interval) -> Vec<FailureGroup> {
    let mut groups: Vec<FailureGroup> = all
        .failures
        .iter()
        .map(|(class, f)| {
            let example = f.example.clone().map(|(device, turn, at, detail)| FailureExample {
                device,
                turn,
                at_us: at.0,
                detail: detail.into(),
            });
            FailureGroup {
                class: class.to_string(),
                explanation: class.explain().to_owned(),
                turns: f.turns,
                connections: f.connections,
                example: example.unwrap_or_default(),
            }
        })
        .collect();
    groups.sort_by(|a, b| (b.turns, b.connections, &a.class).cmp(&(a.turns, a.connections, &b.class)));
    groups
}

pub(super) fn playback(totals: &Totals) -> Vec<PlaybackResult> {
    let c = &totals.all.counts;
    let ttfa = [Metric::TtfaAt0, Metric::TtfaAt60, Metric::TtfaAt120, Metric::TtfaAt200];
    let quantile = |m: Metric, q| totals.all.metric(m).quantile(q).and_then(Quantile::finite).map(|t| t.0);
    PREBUFFERS
        .iter()
        .zip(&c.playback)
        .zip(ttfa)
        .map(|((prebuffer, p), m)| PlaybackResult {
            prebuffer_us: prebuffer.0,
            replies: c.replies,
            stalled_replies: p.stalled_replies,
            stalls: p.stalls,
            stalled_us: p.stalled.0,
            media_us: c.media.0,
            ttfa_p50_us: quantile(m, 0.5),
            ttfa_p95_us: quantile(m, 0.95),
            ttfa_uncorrected_p50_us: m.uncorrected().and_then(|m| quantile(m, 0.5)),
            ttfa_uncorrected_p95_us: m.uncorrected().and_then(|m| quantile(m, 0.95)),
        })
        .collect()
}

fn audio(scenario: &Scenario, plan: &Plan, tls: bool) -> AudioInfo {
    let s = &scenario.audio.settings;
    let cost = Wire::up(s, &plan.dialect, scenario.audio.encoding, tls);
    AudioInfo {
        codec: s.format.codec.name().to_owned(),
        sample_rate: s.format.sample_rate,
        reply_sample_rate: scenario.audio.down.sample_rate,
        bitrate: if s.format.codec == crate::audio::Codec::Opus { s.bitrate } else { 0 },
        frame_us: s.frame.0,
        chunk_us: s.chunk.0,
        lookahead_us: plan.utterances.first().map_or(0, |u| u.clip.lookahead.0),
        encoding: format!("{:?}", scenario.audio.encoding).to_lowercase(),
        end_of_turn: format!("{:?}", scenario.turn.end).to_lowercase(),
        prebuffer_us: scenario.playback.prebuffer.0,
        wire_kbps_up: cost.kbps(),
        messages_per_s_up: cost.messages_per_s,
    }
}
