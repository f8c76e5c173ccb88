//! What a run adds up to: totals, the series over time, the worst turns. Bounded, however long the run.

use super::distribution::Packed;
use super::network::{DeviceLinks, Timeline};
use super::storm::Storms;
use super::typical::Typical;
use super::{Counts, Distribution, Interval, Metric, Quantile};
use crate::event::{Outcome, TurnRecord};
use crate::report::result::{IntervalPoint, NetworkResult};
use crate::time::Micros;

/// Most points of the series; then neighbours are joined and points get twice as wide.
const MAX_POINTS: usize = 300;

/// Slowest turns kept.
const SLOWEST: usize = 10;

/// First failed turns kept.
const FAILED: usize = 10;

/// The sums of a run.
#[derive(Debug)]
pub struct Totals {
    /// Everything; its levels (`connected`, `most_connected`, `in_turn`) mean nothing.
    pub all: Interval,
    /// Most devices connected at once. Shards may have theirs at different moments of an interval: then it is a
    /// little high.
    pub peak_connected: i64,
    /// The links of each device, in runs with groups.
    pub links: DeviceLinks,
    storms: Storms,
    timeline: Timeline,
    series: Vec<Point>,
    width: Micros,
    /// Slowest first.
    slowest: Vec<TurnRecord>,
    failed: Vec<TurnRecord>,
    typical: Typical,
}

/// A point of the series, its distributions packed.
#[derive(Clone, Debug)]
struct Point {
    start: Micros,
    counts: Counts,
    kept: [Packed; KEPT.len()],
}

/// The metrics of the series.
const KEPT: [Metric; 5] =
    [Metric::Ttfa, Metric::Ttft, Metric::TtfaUncorrected, Metric::TtftUncorrected, Metric::SendLateness];

impl Totals {
    /// Nothing yet; points of the series begin `interval` wide.
    pub fn new(interval: Micros) -> Self {
        Self {
            all: Interval::default(),
            peak_connected: 0,
            links: DeviceLinks::default(),
            storms: Storms::new(Micros::ZERO, false),
            timeline: Timeline::new(interval),
            series: Vec::new(),
            width: interval,
            slowest: Vec::new(),
            failed: Vec::new(),
            typical: Typical::default(),
        }
    }

    /// The run's warm-up is no steady state; and whether it has faults, so that storms are looked out for from the start.
    #[must_use]
    pub fn looking_for_storms(self, warmup: Micros, expected: bool) -> Self {
        Self { storms: Storms::new(warmup, expected), ..self }
    }

    /// The run is over.
    pub fn finish(&mut self) {
        self.storms.finish();
    }

    /// Networks and faults; `None` when the run had neither. `groups` are the names of the groups of devices.
    pub fn network(&self, groups: &[String]) -> Option<NetworkResult> {
        let nothing = Box::default();
        let network = self.all.network.as_ref().unwrap_or(&nothing);
        if groups.is_empty() && network.faults.is_empty() {
            return None;
        }
        let (storms, storms_more) = self.storms.to_result();
        Some(NetworkResult {
            groups: network.groups(groups),
            faults: network.faults.to_result(),
            storms,
            storms_more,
            reconnects: self.storms.rates(),
            timeline: self.timeline.to_result(),
            links_more: self.links.more,
        })
    }

    /// Adds an interval of all shards. Returns its row for `intervals.csv`.
    pub fn add(&mut self, start: Micros, width: Micros, interval: &Interval) -> IntervalPoint {
        self.all.absorb(interval);
        self.peak_connected = self.peak_connected.max(interval.counts.most_connected);
        for t in interval.turns.iter().filter(|t| !t.warmup) {
            self.keep(t);
        }
        self.storms.add(start, width, interval);
        if let Some(network) = &interval.network {
            self.timeline.add(start, &network.faults);
            self.links.add(&network.links);
        }
        let kept = KEPT.map(|m| interval.metric(m));
        let row = row(start, width, &interval.counts, kept);
        let point = Point { start, counts: interval.counts, kept: kept.map(Distribution::pack) };
        match self.series.last_mut() {
            Some(last) if start < last.start + self.width => last.join(&point),
            _ => self.series.push(point),
        }
        if self.series.len() > MAX_POINTS {
            self.widen();
        }
        row
    }

    fn widen(&mut self) {
        self.width = self.width * 2;
        let mut wide: Vec<Point> = Vec::with_capacity(MAX_POINTS);
        for point in self.series.drain(..) {
            match wide.last_mut() {
                Some(last) if point.start < last.start + self.width => last.join(&point),
                _ => wide.push(point),
            }
        }
        self.series = wide;
    }

    fn keep(&mut self, t: &TurnRecord) {
        match &t.outcome {
            Outcome::Failed(..) if self.failed.len() < FAILED => self.failed.push(t.clone()),
            Outcome::Succeeded | Outcome::Interrupted => {
                let at = self.slowest.partition_point(|s| s.ttfa() >= t.ttfa());
                if at < SLOWEST {
                    self.slowest.insert(at, t.clone());
                    self.slowest.truncate(SLOWEST);
                }
                if t.outcome == Outcome::Succeeded {
                    self.typical.add(t);
                }
            }
            _ => {}
        }
    }

    /// The slowest turns, slowest first, then the first failed ones.
    pub fn worst(&self) -> impl Iterator<Item = &TurnRecord> {
        self.slowest.iter().chain(&self.failed)
    }

    /// A turn that took about the median; `None` when half of all turns failed.
    pub fn typical(&self) -> Option<&TurnRecord> {
        self.typical.nearest(self.all.metric(Metric::Ttfa).quantile(0.5)?.finite()?)
    }

    /// The series over time.
    pub fn series(&self) -> Vec<IntervalPoint> {
        self.series.iter().map(|p| p.row(self.width)).collect()
    }
}

impl Point {
    /// Takes in the point that follows.
    fn join(&mut self, later: &Self) {
        let Counts { connected, in_turn, rss, .. } = later.counts;
        self.counts.absorb(&later.counts);
        (self.counts.connected, self.counts.in_turn, self.counts.rss) = (connected, in_turn, rss);
        for (mine, theirs) in self.kept.iter_mut().zip(&later.kept) {
            let mut d = mine.unpack();
            d.merge(&theirs.unpack());
            *mine = d.pack();
        }
    }

    fn row(&self, width: Micros) -> IntervalPoint {
        let kept = self.kept.each_ref().map(Packed::unpack);
        row(self.start, width, &self.counts, kept.each_ref())
    }
}

/// The row of an interval, from its [`KEPT`] metrics.
fn row(start: Micros, width: Micros, c: &Counts, kept: [&Distribution; KEPT.len()]) -> IntervalPoint {
    let [ttfa, ttft, ttfa_uncorrected, ttft_uncorrected, lateness] = kept;
    // A picture of a moment, not a claim: printed from whatever there is.
    let at = |d: &Distribution, q| d.quantile(q).and_then(Quantile::finite).map(|t| t.0);
    IntervalPoint {
        start_us: start.0,
        width_us: width.0,
        connected: level(c.connected),
        in_turn: level(c.in_turn),
        started: c.started,
        succeeded: c.succeeded + c.interrupted,
        failed: c.failed + c.timed_out,
        connection_failures: c.connect_failures + c.lost,
        messages_sent: c.messages_sent,
        messages_received: c.messages_received,
        cpu_us: c.cpu.0,
        rss_bytes: c.rss,
        ttfa_count: ttfa.count(),
        ttfa_p50_us: at(ttfa, 0.5),
        ttfa_p95_us: at(ttfa, 0.95),
        ttfa_max_us: ttfa.max().map(|t| t.0),
        ttfa_uncorrected_p50_us: at(ttfa_uncorrected, 0.5),
        ttfa_uncorrected_p95_us: at(ttfa_uncorrected, 0.95),
        ttfa_uncorrected_max_us: ttfa_uncorrected.max().map(|t| t.0),
        ttft_p50_us: at(ttft, 0.5),
        ttft_p95_us: at(ttft, 0.95),
        ttft_uncorrected_p50_us: at(ttft_uncorrected, 0.5),
        ttft_uncorrected_p95_us: at(ttft_uncorrected, 0.95),
        send_lateness_p99_us: at(lateness, 0.99),
        stalls: c.stalls,
        faults: c.faults,
        reconnects: c.reconnected,
    }
}

fn level(n: i64) -> u32 {
    u32::try_from(n.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::measure::Recorder;

    #[test]
    fn a_long_run_has_a_short_series_and_loses_no_turn() {
        let second = Micros::from_secs(1);
        let mut totals = Totals::new(second);
        let mut recorder = Recorder::new(Micros::ZERO, true);
        for i in 0..3_000 {
            recorder.record(0, Micros::ZERO, Event::TurnStarted { warmup: false });
            recorder.sent(crate::event::Sent::Audio, 1, Micros(5), Micros(6), Micros(7));
            totals.add(second * i, second, &recorder.take());
        }
        let series = totals.series();
        assert!(series.len() <= MAX_POINTS && series.len() > MAX_POINTS / 4, "{}", series.len());
        assert_eq!(series.iter().map(|p| p.started).sum::<u64>(), 3_000);
        assert!(series.windows(2).all(|w| w[0].start_us + w[0].width_us == w[1].start_us));
        assert_eq!(series.last().map(|p| p.in_turn), Some(3_000));
        assert_eq!(totals.all.metric(Metric::SendLateness).count(), 3_000);
    }

    #[test]
    fn devices_that_come_and_go_within_an_interval_are_counted() {
        let (second, times) = (Micros::from_secs(1), crate::transport::ConnectTimes::default());
        let mut totals = Totals::new(second);
        let mut recorder = Recorder::new(Micros::ZERO, true);
        let connected = || Event::Connected { times, total: Micros(1), reconnect: false };
        for device in 0..3 {
            recorder.record(device, Micros::ZERO, connected());
        }
        recorder.record(0, Micros::ZERO, Event::Disconnected);
        let row = totals.add(Micros::ZERO, second, &recorder.take());
        assert_eq!((row.connected, totals.peak_connected), (2, 3));
        recorder.record(1, second, Event::Disconnected);
        totals.add(second, second, &recorder.take());
        assert_eq!(totals.peak_connected, 3);
    }
}
