//! A run: shards started, intervals collected and streamed to disk, signals obeyed, everything added up.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::division::Division;
use super::outcome::Harness;
use super::shard::{self, Control, Report};
use super::sofar::SoFar;
use crate::device::plan::Plan;
use crate::gate::watch::{Stop, Watch};
use crate::measure::findings::ListenDrops;
use crate::measure::health::{self, Usage};
use crate::measure::{Distribution, Groups, Interval, Metric, Quantile, Totals, turn_row};
use crate::merge::{End, Record};
use crate::report::result::{GateResult, IntervalPoint, ThreadResult, TurnRow};
use crate::report::{HlogWriter, IntervalsCsv, StageTotals, TurnsCsv};
use crate::scenario::{Arrivals, Scenario};
use crate::time::{Clock, Micros};
use crate::transport::source::{self, Sources};
use crate::transport::websocket::Endpoint;

/// What a run is made of.
pub struct Run<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The conversation.
    pub plan: Arc<Plan>,
    /// Where to connect.
    pub endpoint: Arc<Endpoint>,
    /// The run's clock.
    pub clock: Clock,
    /// The groups of devices.
    pub groups: Groups,
    /// Files that are written while the run lasts.
    pub sinks: Sinks,
    /// What may ask the run to stop.
    pub asks: Asks,
    /// Told after each interval.
    pub progress: Box<dyn FnMut(&Progress<'_>) + 'a>,
}

/// Files that are written while a run lasts, and what goes wrong with them.
pub struct Sinks {
    /// One row a turn.
    pub turns: TurnsCsv,
    /// One row an interval.
    pub intervals: IntervalsCsv,
    /// Histograms by interval.
    pub histograms: Option<HlogWriter>,
    /// The record of this part of the fleet, for `voxload merge`.
    pub record: Option<Record>,
    /// Names of the fixtures, by index.
    pub fixtures: Vec<String>,
    /// What could not be written, each once.
    pub problems: Vec<String>,
}

/// The state of a run, for people.
pub struct Progress<'a> {
    /// Now.
    pub now: Micros,
    /// When load ends; of a run that is being extended, at the latest.
    pub end: Micros,
    /// All so far.
    pub totals: &'a Totals,
    /// The latest interval.
    pub latest: &'a Interval,
    /// What is going on.
    pub phase: Phase,
    groups: &'a Groups,
    under_way: UnderWay<'a>,
}

impl<'a> Progress<'a> {
    /// What thresholds look at.
    pub fn so_far(&self) -> SoFar<'a> {
        SoFar { totals: self.totals, groups: self.groups }
    }

    /// The generator so far, to be judged like that of a run that has ended.
    pub fn harness(&self) -> Harness<'a> {
        let UnderWay { queues, division, probe, before, usage, marks, peaks: (rss, files), lost } =
            self.under_way;
        Harness {
            totals: self.totals,
            before,
            after: usage,
            load: marks.load(before, (self.now, usage)),
            rss_peak: rss,
            open_files_peak: files,
            shards: division.shards(),
            threads: queues.iter().enumerate().map(|(i, q)| q.to_result(division.name_of(i))).collect(),
            probe,
            lost_shards: lost,
        }
    }
}

/// What a collector knows of the generator.
#[derive(Clone, Copy)]
struct UnderWay<'a> {
    queues: &'a [Queue],
    division: Division,
    probe: Option<&'a Distribution>,
    before: Usage,
    usage: Usage,
    marks: LoadMarks,
    /// Resident memory, open files.
    peaks: (u64, Option<u64>),
    lost: u32,
}

/// What is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Turns are not counted yet.
    #[default]
    WarmUp,
    /// Turns are counted.
    Load,
    /// The planned load is over; it goes on because thresholds are undecided.
    Extended,
    /// Load is over; turns that have begun are awaited.
    Draining,
    /// A threshold has stopped the run; turns that have begun are awaited.
    Aborted,
    /// The user has interrupted; turns that have begun are awaited.
    Interrupted,
}

impl Phase {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::WarmUp, Self::Load, Self::Extended, Self::Draining, Self::Aborted, Self::Interrupted];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::Load => "load",
            Self::Extended => "extended",
            Self::Draining => "draining",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run came to.
pub struct Finished {
    /// The sums.
    pub totals: Totals,
    /// Where the time of a turn goes.
    pub stages: StageTotals,
    /// How long it lasted.
    pub duration: Micros,
    /// The harness before the first device, at the end of load, and its largest resident memory in between.
    pub before: Usage,
    /// At the end of the run.
    pub after: Usage,
    /// The generator under load.
    pub load: Load,
    /// Most resident memory seen.
    pub rss_peak: u64,
    /// Most open descriptors seen; `None` where they cannot be counted.
    pub open_files_peak: Option<u64>,
    /// What the listening sockets of this machine dropped, when the server is one of them.
    pub listen: Option<ListenDrops>,
    /// Threads that shared the load.
    pub shards: u32,
    /// All threads that drove devices.
    pub threads: Vec<ThreadResult>,
    /// TTFA of the probe, where there was one.
    pub probe: Option<Distribution>,
    /// True when the user interrupted.
    pub interrupted: bool,
    /// What thresholds did to its course.
    pub gate: GateResult,
    /// Shards that could not start, or failed.
    pub lost_shards: u32,
    /// What could not be written, and shards that failed.
    pub problems: Vec<String>,
}

/// The generator at both ends of the load that counts: after warm-up, until no more turns begin.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How long it lasted.
    pub span: Micros,
    /// At its beginning.
    pub begin: Usage,
    /// At its end.
    pub end: Usage,
}

/// Looks at the generator when the load that counts begins, and when it ends.
#[derive(Clone, Copy)]
struct LoadMarks {
    /// When it begins and when it ends, as planned.
    planned: [Micros; 2],
    seen: [Option<(Micros, Usage)>; 2],
}

impl LoadMarks {
    fn new(planned: [Micros; 2]) -> Self {
        Self { planned, seen: [None; 2] }
    }

    /// The instant of the next look, if there is one to come.
    fn next(&self) -> Option<Micros> {
        if self.seen[1].is_some() {
            return None;
        }
        self.seen.iter().position(Option::is_none).map(|i| self.planned[i])
    }

    fn look(&mut self, now: Micros) {
        if let Some(mark) = self.seen.iter_mut().find(|m| m.is_none()) {
            *mark = Some((now, Usage::now()));
        }
    }

    /// No more turns begin, earlier than planned or as planned.
    fn over(&mut self, now: Micros) {
        self.seen[1].get_or_insert_with(|| (now, Usage::now()));
    }

    /// A run that ends during warm-up has been nothing else.
    fn load(self, before: Usage, after: (Micros, Usage)) -> Load {
        let (from, begin) = self.seen[0].unwrap_or((Micros::ZERO, before));
        let (until, end) = self.seen[1].unwrap_or(after);
        Load { span: until - from, begin, end }
    }
}

/// Runs to the end.
pub async fn run(run: Run<'_>) -> Finished {
    let Run { scenario, plan, endpoint, clock, groups, sinks, mut asks, progress } = run;
    let watch = Watch::new(scenario);
    // Devices stay until the end of the extension; the run tells them when it is decided before that.
    let fleet = &scenario.fleet.extended(watch.extension());
    let (order, control) = watch::channel(Control::Run);
    let (results, mut reports) = mpsc::unbounded_channel();
    let division = Division::new(scenario, health::cores());
    let count = division.threads();
    let before = usage_without_devices(count);
    let listed = health::list_open_files();
    // Another machine's listening sockets count for themselves.
    let server_is_here = endpoint.addresses.iter().all(|a| source::is_ours(a.ip()));
    let listen = server_is_here.then(ListenDrops::now).flatten();
    let sources = endpoint.sources.clone();
    let there = Arc::new(AtomicU32::new(0));
    let threads: Vec<JoinHandle<()>> = (0..count)
        .filter_map(|index| {
            let stays = scenario.stays(fleet).filter(move |s| division.thread_of(s.device) == index);
            let config = shard::Config {
                clock,
                plan: Arc::clone(&plan),
                endpoint: Arc::clone(&endpoint),
                interval: scenario.report.interval,
                stays: Box::new(stays),
                cap: matches!(fleet.arrivals, Arrivals::Open { .. })
                    .then(|| (Arc::clone(&there), scenario.part.share(fleet.devices))),
                groups: groups.clone(),
                end: fleet.duration,
                control: control.clone(),
                results: results.clone(),
            };
            let failed = results.clone();
            let thread = std::thread::Builder::new().name(division.name_of(index));
            thread
                .spawn(move || shard::run(index, config))
                .map_err(|e| failed.send((index, Report::Failed(format!("shard {index}: {e}")))))
                .ok()
        })
        .collect();
    drop(results);

    let mut collector = Collector {
        queues: (0..count).map(|_| Queue::default()).collect(),
        probe: division.probe().map(|index| (index, Distribution::default())),
        totals: Totals::new(scenario.report.interval)
            .looking_for_storms(fleet.warmup, groups.are_any() || !scenario.faults.is_empty()),
        stages: StageTotals::default(),
        interval: scenario.report.interval,
        next: 0,
        sinks,
        division,
        marks: LoadMarks::new([fleet.warmup, fleet.duration]),
        before,
        usage: before,
        rss_peak: before.rss,
        open_files_peak: before.open_files,
        sources,
        groups,
        progress,
        planned: scenario.fleet.duration,
        end: fleet.duration,
        warmup: fleet.warmup,
        watch,
        stop: None,
        stopping: None,
        lost: 0,
    };
    let mut deadline = fleet.duration.saturating_add(fleet.graceful_stop);
    let mut aborted = false;
    let mut gate =
        GateResult { undecided: scenario.gate.undecided.name().to_owned(), ..GateResult::default() };
    // When load ended before its time.
    let mut ended = None;
    loop {
        if let Some(stop) = collector.stop.take() {
            let now = clock.now();
            collector.stopping = Some(match stop {
                Stop::Abort(why) => {
                    gate.aborted = Some(why);
                    Phase::Aborted
                }
                Stop::Decided => Phase::Draining,
            });
            ended = Some(now);
            collector.marks.over(now);
            deadline = deadline.min(now.saturating_add(fleet.graceful_stop));
            let _ = order.send(Control::LeaveAt(now));
        }
        let patience =
            if aborted { std::time::Duration::from_secs(3600) } else { (deadline - clock.now()).to_std() };
        let look = collector.marks.next().map(|at| (at - clock.now()).to_std());
        tokio::select! {
            () = tokio::time::sleep(look.unwrap_or_default()), if look.is_some() => collector.marks.look(clock.now()),
            report = reports.recv() => match report {
                Some((index, report)) => collector.take(index, report, clock.now()),
                // Every shard has ended.
                None => break,
            },
            ask = asks.next() => {
                let now = clock.now();
                collector.marks.over(now);
                ended = ended.or(Some(now));
                let again = collector.stopping.replace(Phase::Interrupted) == Some(Phase::Interrupted);
                if again && ask == Ask::Stop {
                    // It is stopping.
                } else if again {
                    aborted = true;
                    let _ = order.send(Control::Abort { owed: false });
                } else {
                    deadline = deadline.min(now.saturating_add(fleet.graceful_stop));
                    let _ = order.send(Control::LeaveAt(now));
                }
            }
            () = tokio::time::sleep(patience) => {
                // The server has had its time; after an interruption, what it still owes is not held against it.
                aborted = true;
                let _ = order.send(Control::Abort { owed: collector.stopping != Some(Phase::Interrupted) });
            }
        }
    }
    let after = Usage::now();
    let load_end = ended.unwrap_or_else(|| clock.now()).min(fleet.duration);
    gate.extended_us = (load_end - scenario.fleet.duration).max(Micros::ZERO).0;
    let load = collector.marks.load(before, (clock.now(), after));
    collector.rest();
    collector.totals.finish();
    for t in threads {
        if t.join().is_err() {
            collector.lost += 1;
            collector.sinks.problems.push("a shard panicked; its last interval is missing".to_owned());
        }
    }
    collector.sinks.flush();
    let threads = collector.threads();
    let listen = listen.and_then(|before| Some(ListenDrops::now()?.since(before)));
    let probe = collector.probe.map(|(_, ttfa)| ttfa);
    if let Some(record) = collector.sinks.record.take() {
        let end =
            End { probe: probe.clone(), listen, lost_shards: collector.lost, intervals: record.intervals() };
        collector.sinks.problems.extend(record.finish(&end).err());
    }
    Finished {
        duration: clock.now(),
        before,
        after,
        load,
        rss_peak: collector.rss_peak.max(after.rss),
        // Counted at intervals; devices that came and went between two had one each, besides those that were there
        // before.
        open_files_peak: collector
            .open_files_peak
            .max(listed.map(|n| {
                n + collector.totals.peak_connected.clamp(0, scenario.most().into()).unsigned_abs()
            })),
        listen,
        shards: division.shards(),
        threads,
        probe,
        interrupted: collector.stopping == Some(Phase::Interrupted),
        gate,
        lost_shards: collector.lost,
        problems: collector.sinks.problems,
        totals: collector.totals,
        stages: collector.stages,
    }
}

/// What the harness uses with every shard's recorder in place and no device: the base that devices come on top of.
fn usage_without_devices(threads: usize) -> Usage {
    // One interval under way on each thread, one on its way, one being joined; and the totals.
    let threads = (0..2 * threads + 1).map(|_| Interval::in_full(true));
    let recorders: Vec<Interval> = threads.chain([Interval::in_full(false)]).collect();
    let usage = Usage::now();
    drop(recorders);
    usage
}

/// Intervals of the shards, joined in time.
struct Collector<'a> {
    queues: Vec<Queue>,
    /// Which thread is the probe's, and the TTFA of its devices.
    probe: Option<(usize, Distribution)>,
    totals: Totals,
    stages: StageTotals,
    interval: Micros,
    /// Number of the next interval.
    next: i64,
    sinks: Sinks,
    division: Division,
    marks: LoadMarks,
    /// The harness before the first device, and at the last interval.
    before: Usage,
    usage: Usage,
    rss_peak: u64,
    open_files_peak: Option<u64>,
    sources: Sources,
    groups: Groups,
    progress: Box<dyn FnMut(&Progress<'_>) + 'a>,
    /// When load was to end, and when it ends at the latest.
    planned: Micros,
    end: Micros,
    warmup: Micros,
    watch: Watch,
    /// What the thresholds want, until it is obeyed.
    stop: Option<Stop>,
    stopping: Option<Phase>,
    /// Shards that are no more.
    lost: u32,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<Interval>>,
    done: bool,
    /// What the thread came to so far.
    sum: ThreadResult,
    lag: Distribution,
}

impl Collector<'_> {
    fn take(&mut self, index: usize, report: Report, now: Micros) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        match report {
            Report::Interval(i) => queue.waiting.push_back(i),
            Report::Done(i) => {
                queue.waiting.push_back(i);
                queue.done = true;
            }
            Report::Failed(why) => {
                self.lost += 1;
                queue.done = true;
                self.sinks.problems.push(why);
            }
        }
        while self.queues.iter().any(|q| !q.waiting.is_empty())
            && self.queues.iter().all(|q| q.done || !q.waiting.is_empty())
        {
            self.join(now);
        }
    }

    /// What is left when every shard has ended.
    fn rest(&mut self) {
        while self.queues.iter().any(|q| !q.waiting.is_empty()) {
            let now = self.interval * (self.next + 1);
            self.join(now);
        }
    }

    /// Joins the next interval of all shards.
    fn join(&mut self, now: Micros) {
        let mut parts = Vec::new();
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let Some(one) = queue.waiting.pop_front() else { continue };
            queue.add(&one);
            if let Some((_, ttfa)) = self.probe.as_mut().filter(|(probe, _)| *probe == index) {
                ttfa.merge(one.metric(Metric::Ttfa));
            }
            parts.push(*one);
        }
        let mut all = Interval::joined(parts);
        let start = self.interval * self.next;
        self.next += 1;
        let usage = Usage::now();
        all.counts.cpu = usage.cpu - self.usage.cpu;
        all.counts.rss = usage.rss;
        self.usage = usage;
        let row = self.totals.add(start, self.interval, &all);
        let (sources, names) = (&self.sources, self.groups.names());
        self.sinks.write(&row, &all, &mut self.stages, (&|device| sources.of(device), names));
        self.rss_peak = self.rss_peak.max(usage.rss);
        self.open_files_peak = self.open_files_peak.max(usage.open_files);
        if self.stopping.is_none() && self.stop.is_none() && now < self.end {
            self.stop = self.watch.look(now, &SoFar { totals: &self.totals, groups: &self.groups });
        }
        let phase = match self.stopping {
            Some(phase) => phase,
            None if now >= self.end => Phase::Draining,
            None if now < self.warmup => Phase::WarmUp,
            None if now >= self.planned => Phase::Extended,
            None => Phase::Load,
        };
        let end = if now < self.planned { self.planned } else { self.end };
        let under_way = UnderWay {
            queues: &self.queues,
            division: self.division,
            probe: self.probe.as_ref().map(|(_, ttfa)| ttfa),
            before: self.before,
            usage,
            marks: self.marks,
            peaks: (self.rss_peak, self.open_files_peak),
            lost: self.lost,
        };
        let (totals, groups) = (&self.totals, &self.groups);
        (self.progress)(&Progress { now, end, totals, latest: &all, phase, groups, under_way });
    }
}

impl Collector<'_> {
    /// What each thread came to.
    fn threads(&self) -> Vec<ThreadResult> {
        self.queues.iter().enumerate().map(|(i, q)| q.to_result(self.division.name_of(i))).collect()
    }
}

impl Queue {
    fn add(&mut self, interval: &Interval) {
        let counts = &interval.counts;
        self.sum.devices = self.sum.devices.max(u32::try_from(counts.most_connected).unwrap_or(0));
        self.sum.messages_sent += counts.messages_sent;
        self.sum.messages_received += counts.messages_received;
        self.sum.cpu_us = counts.cpu.0;
        self.lag.merge(interval.metric(Metric::TickerLag));
    }

    fn to_result(&self, name: String) -> ThreadResult {
        let finite = |q: Option<Quantile>| q.and_then(Quantile::finite).map(|t| t.0);
        ThreadResult {
            name,
            ticker_lag_p50_us: finite(self.lag.quantile(0.5)),
            ticker_lag_p99_us: finite(self.lag.quantile(0.99)),
            ticker_lag_max_us: self.lag.max().map(|t| t.0),
            ..self.sum.clone()
        }
    }
}

impl Sinks {
    /// What an interval adds; `row` says which time it is of. `source` is the address that a device connects from.
    pub(crate) fn write(
        &mut self,
        row: &IntervalPoint,
        interval: &Interval,
        stages: &mut StageTotals,
        (source, groups): (&dyn Fn(u32) -> Option<IpAddr>, &[String]),
    ) {
        let (start, width) = (Micros(row.start_us), Micros(row.width_us));
        let mut outcomes = Vec::new();
        for t in &interval.turns {
            let row = TurnRow { source_ip: source(t.device), ..turn_row(t, &self.fixtures, groups) };
            stages.add(&row);
            outcomes.push(self.turns.write(&row));
        }
        outcomes.push(self.intervals.write(row));
        if let Some(log) = &mut self.histograms {
            for &m in Metric::ALL {
                if let Some(h) = interval.metric(m).positive() {
                    outcomes.push(log.write(m.name(), start, width, &h));
                }
            }
        }
        if let Some(record) = &mut self.record {
            outcomes.push(record.interval(interval));
        }
        self.problems.extend(outcomes.into_iter().filter_map(Result::err));
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        let log = self.histograms.as_mut().map_or(Ok(()), HlogWriter::flush);
        let outcomes = [self.turns.flush(), self.intervals.flush(), log];
        self.problems.extend(outcomes.into_iter().filter_map(Result::err));
    }
}

/// How a run is asked to stop before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Begin no more turns, and finish what has begun.
    Stop,
    /// The same; when it is asked again, leave at once. What Ctrl-C asks.
    Quit,
}

/// What may ask a run to stop: signals, and whoever has the other end of the channel.
pub struct Asks {
    signals: Signals,
    others: mpsc::UnboundedReceiver<Ask>,
}

impl Asks {
    /// Signals are kept from now on; needs a tokio runtime.
    pub fn new() -> (mpsc::UnboundedSender<Ask>, Self) {
        let (sender, others) = mpsc::unbounded_channel();
        (sender, Self { signals: Signals::new(), others })
    }

    async fn next(&mut self) -> Ask {
        tokio::select! {
            () = self.signals.next() => Ask::Quit,
            Some(ask) = self.others.recv() => ask,
        }
    }
}

/// Ctrl-C, and a polite kill. Listens from the start: a signal that comes while something else is dealt with is kept.
pub(super) struct Signals([Option<Signal>; 2]);

impl Signals {
    pub(super) fn new() -> Self {
        Self([SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok()))
    }

    pub(super) async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
        }
    }
}

/// Waits for a signal; for ever, when it cannot be heard.
async fn heard(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(i64) -> Micros = Micros::from_secs;

    fn span(marks: LoadMarks) -> Micros {
        marks.load(Usage::default(), (S(40), Usage::default())).span
    }

    #[test]
    fn load_is_what_lies_between_warm_up_and_the_last_turn_that_began() {
        let mut marks = LoadMarks::new([S(5), S(30)]);
        assert_eq!(marks.next(), Some(S(5)));
        marks.look(S(5));
        assert_eq!(marks.next(), Some(S(30)));
        marks.look(S(30));
        assert_eq!(marks.next(), None);
        marks.over(S(33));
        assert_eq!(span(marks), S(25));
    }

    #[test]
    fn load_that_is_cut_short_ends_there() {
        let mut marks = LoadMarks::new([S(5), S(30)]);
        marks.look(S(5));
        marks.over(S(12));
        assert_eq!(span(marks), S(7));
        let mut early = LoadMarks::new([S(5), S(30)]);
        early.over(S(3));
        assert_eq!(early.next(), None, "there is no load to look at any more");
        assert_eq!(span(early), S(3), "nothing but warm-up");
        assert_eq!(span(LoadMarks::new([S(50), S(90)])), S(40), "all devices had left before");
    }
}
