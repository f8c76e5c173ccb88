//! The state of a run, copied out of it once an interval.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::drive::outcome;
use crate::drive::run::{Phase, Progress};
use crate::gate::{Rule, judge_all};
use crate::measure::{Counts, Distribution, Interval, Metric, Quantile};
use crate::report::result::{FailureGroup, Generator, ThresholdResult, Validity};
use crate::scenario::Scenario;
use crate::time::Micros;
use crate::transport::source::Sources;

use super::exposition;

/// Intervals kept for the picture over time.
pub const HISTORY: usize = 300;

/// What does not change while a run lasts.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The scenario's name.
    pub name: String,
    /// The scenario's seed.
    pub seed: u64,
    /// The server under test, without secrets.
    pub target: String,
    /// What is spoken to it, for example `envelope`.
    pub dialect: String,
    /// Most devices at once.
    pub devices: u32,
    /// Turns that begin before are not counted.
    pub warmup: Micros,
    /// When load ends.
    pub end: Micros,
    /// Width of an interval.
    pub interval: Micros,
    /// Seconds since 1970 at time zero.
    pub started: f64,
}

impl About {
    /// Of a run of this scenario against `target`.
    pub fn new(scenario: &Scenario, target: String, started: SystemTime) -> Self {
        Self {
            name: scenario.name.clone(),
            seed: scenario.seed,
            target,
            dialect: scenario.target.dialect.capabilities().name.to_string(),
            devices: scenario.fleet.most(),
            warmup: scenario.fleet.warmup,
            end: scenario.fleet.duration,
            interval: scenario.report.interval,
            started: started.duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
        }
    }
}

/// Quantiles of a latency, from whatever samples there are: a picture of the moment, not a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Samples, failures included.
    pub count: u64,
    /// The median.
    pub p50: Option<Quantile>,
    /// The 95th percentile.
    pub p95: Option<Quantile>,
    /// The 99th.
    pub p99: Option<Quantile>,
}

impl Latency {
    /// Of these samples.
    pub fn of(d: &Distribution) -> Self {
        Self { count: d.count(), p50: d.quantile(0.5), p95: d.quantile(0.95), p99: d.quantile(0.99) }
    }
}

/// One interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// When it ended.
    pub at: Micros,
    /// Median TTFA of the turns that ended in it.
    pub p50: Option<Quantile>,
    /// The 95th percentile of it.
    pub p95: Option<Quantile>,
}

/// A distribution, for Prometheus: one of [`exposition::HISTOGRAMS`].
#[derive(Clone, Debug)]
pub struct Exposed {
    /// Samples up to each of the histogram's bounds.
    pub up_to: Vec<u64>,
    /// All samples, failures included.
    pub count: u64,
    /// Sum of the finite samples, s.
    pub sum: f64,
}

/// The state of a run.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which run.
    pub about: Arc<About>,
    /// When it was so.
    pub now: Micros,
    /// What is going on.
    pub phase: Phase,
    /// Devices with a connection.
    pub connected: u64,
    /// Devices in a turn.
    pub in_turn: u64,
    /// Counts from the beginning; the levels among them mean nothing.
    pub counts: Counts,
    /// Time to first audio.
    pub ttfa: Latency,
    /// The same without correction.
    pub ttfa_uncorrected: Latency,
    /// Time to first token.
    pub ttft: Latency,
    /// The latest intervals, oldest first: at most [`HISTORY`].
    pub history: VecDeque<Moment>,
    /// Failures by class, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// The thresholds, judged by what there is so far.
    pub thresholds: Vec<ThresholdResult>,
    /// The generator so far.
    pub generator: Generator,
    /// Whether it would be valid if it ended now.
    pub validity: Validity,
    /// Resident memory of the generator, bytes.
    pub rss: u64,
    /// For Prometheus, in the order of [`exposition::HISTOGRAMS`]; empty when nobody asks for it.
    pub histograms: Vec<Exposed>,
}

impl Snapshot {
    /// Before anything has happened.
    pub fn first(about: Arc<About>) -> Self {
        Self { about, ..Self::default() }
    }
}

/// Makes snapshots.
pub struct Watcher<'a> {
    scenario: &'a Scenario,
    sources: &'a Sources,
    about: Arc<About>,
    history: VecDeque<Moment>,
    histograms: bool,
}

impl<'a> Watcher<'a> {
    /// `histograms`: with what Prometheus wants.
    pub fn new(scenario: &'a Scenario, sources: &'a Sources, about: Arc<About>, histograms: bool) -> Self {
        Self { scenario, sources, about, history: VecDeque::new(), histograms }
    }

    /// An interval is over.
    pub fn look(&mut self, p: &Progress<'_>) -> Snapshot {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        let ttfa = p.latest.metric(Metric::Ttfa);
        self.history.push_back(Moment { at: p.now, p50: ttfa.quantile(0.5), p95: ttfa.quantile(0.95) });
        let all = &p.totals.all;
        let (generator, validity) = p.harness().judge(self.scenario, self.sources);
        Snapshot {
            about: Arc::clone(&self.about),
            now: p.now,
            phase: p.phase,
            connected: p.latest.counts.connected.max(0).unsigned_abs(),
            in_turn: p.latest.counts.in_turn.max(0).unsigned_abs(),
            counts: all.counts,
            ttfa: Latency::of(all.metric(Metric::Ttfa)),
            ttfa_uncorrected: Latency::of(all.metric(Metric::TtfaUncorrected)),
            ttft: Latency::of(all.metric(Metric::Ttft)),
            history: self.history.clone(),
            failures: outcome::failures(all),
            thresholds: judge_all(&self.scenario.thresholds, &p.so_far(), Rule::of(&self.scenario.gate)),
            generator,
            validity,
            rss: p.latest.counts.rss,
            histograms: if self.histograms { exposed(all) } else { Vec::new() },
        }
    }
}

fn exposed(all: &Interval) -> Vec<Exposed> {
    exposition::HISTOGRAMS.iter().map(|h| Exposed::of(all.metric(h.metric), h.bounds)).collect()
}

impl Exposed {
    /// Of these samples, for a histogram with these bounds.
    pub fn of(d: &Distribution, bounds: &[Micros]) -> Self {
        Self { up_to: d.counts_up_to(bounds), count: d.count(), sum: d.sum() / 1e6 }
    }
}
