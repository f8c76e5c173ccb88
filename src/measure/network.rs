//! What networks did to groups of devices, and when faults began.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::storm::{Back, Cut};
use super::{Distribution, Interval, Metric};
use crate::event::{Outcome, TurnRecord};
use crate::fault::Cause;
use crate::network::{LinkStats, WayStats};
use crate::report::result::{
    AgainstControl, CONTROL, FaultMark, GroupJudged, GroupResult, GroupTurns, LinkRow, LinksResult, WayResult,
};
use crate::time::Micros;

/// Most spans of the timeline; then neighbours are joined and spans get twice as wide.
const MAX_SPANS: usize = 100;

/// Devices with a row of their own in `links.csv`.
const MAX_DEVICES: usize = 100_000;

/// The groups of devices, and which each device is of. Without groups, nothing is counted by group.
#[derive(Clone, Default)]
pub struct Groups {
    names: Arc<[String]>,
    of: Option<Arc<dyn Fn(u32) -> u8 + Send + Sync>>,
    /// By index: whether a threshold is about it.
    judged: Arc<[bool]>,
}

impl Groups {
    /// Groups of these names, at most 256, with the index of the one that a device is of.
    pub fn new(names: Vec<String>, of: impl Fn(u32) -> u8 + Send + Sync + 'static) -> Self {
        if names.is_empty() {
            return Self::default();
        }
        Self { names: names.into(), of: Some(Arc::new(of)), judged: Arc::default() }
    }

    /// Of these groups all metrics of turns are kept: thresholds are about them.
    #[must_use]
    pub fn judging(self, names: &[&str]) -> Self {
        Self { judged: self.names.iter().map(|n| names.contains(&n.as_str())).collect(), ..self }
    }

    /// True when a threshold is about the group.
    pub fn is_judged(&self, id: u8) -> bool {
        self.judged.get(usize::from(id)).copied().unwrap_or(false)
    }

    /// Their names, by index.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// True when the run has groups.
    pub const fn are_any(&self) -> bool {
        self.of.is_some()
    }

    /// The group of a device; `None` in runs without groups.
    pub fn of(&self, device: u32) -> Option<u8> {
        self.of.as_ref().map(|of| of(device))
    }

    /// The name of the group of a device; empty in runs without groups.
    pub fn name_of(&self, device: u32) -> String {
        self.of(device).and_then(|id| self.names.get(usize::from(id))).cloned().unwrap_or_default()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Groups").field(&self.names).finish()
    }
}

/// What networks and faults did in one interval, or in a run. It exists only where there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Network {
    /// By group.
    groups: BTreeMap<u8, Group>,
    /// By cause.
    pub faults: Faults,
    /// Devices that lost their connections. Like turns, these lists are of one interval, and not taken over by sums.
    pub cuts: Vec<Cut>,
    /// Devices that are connected again.
    pub backs: Vec<Back>,
    /// Links that ended: of which device.
    pub links: Vec<(u32, Box<LinkStats>)>,
}

impl Network {
    /// SYNs that imitated networks lost.
    pub fn syn_lost(&self) -> u64 {
        self.groups.values().map(|g| g.links.syn_lost).sum()
    }
}

/// A group of devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    turns: GroupTurns,
    ttfa: Distribution,
    ttft: Distribution,
    up: Distribution,
    down: Distribution,
    both: Distribution,
    links: Links,
    /// Its turns with all their metrics, where a threshold is about it.
    judged: Option<Box<Interval>>,
}

/// Links, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    connections: u64,
    syn_lost: u64,
    up: WayStats,
    down: WayStats,
}

impl Links {
    fn add(&mut self, link: &LinkStats) {
        self.connections += 1;
        self.syn_lost += u64::from(link.syn_lost);
        self.up.add(&link.up);
        self.down.add(&link.down);
    }

    fn absorb(&mut self, o: &Self) {
        self.connections += o.connections;
        self.syn_lost += o.syn_lost;
        self.up.add(&o.up);
        self.down.add(&o.down);
    }

    fn to_result(self) -> LinksResult {
        let way = |w: WayStats| WayResult {
            bytes: w.bytes,
            segments: w.segments,
            lost: w.lost,
            retransmissions: w.retransmissions,
            timeouts: w.timeouts,
            stalls: w.stalls,
            stalled_us: w.stalled.0,
            longest_stall_us: w.longest_stall.0,
        };
        LinksResult {
            connections: self.connections,
            syn_lost: self.syn_lost,
            up: way(self.up),
            down: way(self.down),
        }
    }
}

impl Network {
    /// Adds another interval, or another shard; all but the lists.
    pub fn absorb(&mut self, other: &Self) {
        self.faults.absorb(&other.faults);
        for (id, theirs) in &other.groups {
            let mine = self.groups.entry(*id).or_default();
            mine.turns.ended += theirs.turns.ended;
            mine.turns.succeeded += theirs.turns.succeeded;
            mine.turns.failed += theirs.turns.failed;
            mine.ttfa.merge(&theirs.ttfa);
            mine.ttft.merge(&theirs.ttft);
            mine.up.merge(&theirs.up);
            mine.down.merge(&theirs.down);
            mine.both.merge(&theirs.both);
            mine.links.absorb(&theirs.links);
            if let Some(judged) = &theirs.judged {
                mine.judged.get_or_insert_default().absorb(judged);
            }
        }
    }

    /// The turns of a group that a threshold is about.
    pub(super) fn judged(&mut self, group: u8) -> &mut Interval {
        self.groups.entry(group).or_default().judged.get_or_insert_default()
    }

    /// The same; `None` before the first has ended.
    pub fn of_group(&self, group: u8) -> Option<&Interval> {
        self.groups.get(&group)?.judged.as_deref()
    }

    /// Takes the lists of another shard over.
    pub fn gather(&mut self, other: &mut Self) {
        self.cuts.append(&mut other.cuts);
        self.backs.append(&mut other.backs);
        self.links.append(&mut other.links);
    }

    /// Puts the lists into the order of time, and of devices.
    pub(super) fn in_order(&mut self) {
        self.cuts.sort_by_key(|c| (c.at, c.device));
        self.backs.sort_by_key(|b| (b.at, b.lost));
        self.links.sort_by_key(|(device, _)| *device);
    }

    /// A turn that counts has ended.
    pub(super) fn turn(&mut self, t: &TurnRecord, has_text: bool) {
        if t.outcome == Outcome::Cancelled {
            return;
        }
        let g = self.groups.entry(t.group).or_default();
        g.turns.ended += 1;
        if matches!(t.outcome, Outcome::Failed(..)) {
            g.turns.failed += 1;
            g.ttfa.record_infinite();
            if has_text {
                g.ttft.record_infinite();
            }
            return;
        }
        g.turns.succeeded += 1;
        for (d, value) in [
            (&mut g.ttfa, t.ttfa()),
            (&mut g.ttft, t.ttft()),
            (&mut g.up, t.network_up),
            (&mut g.down, t.network_down),
            (&mut g.both, share(t)),
        ] {
            if let Some(value) = value {
                d.record(value);
            }
        }
    }

    /// A link of a device has ended.
    pub(super) fn link_ended(&mut self, device: u32, group: u8, link: Box<LinkStats>) {
        self.groups.entry(group).or_default().links.add(&link);
        self.links.push((device, link));
    }

    /// The groups of these names, in their order, whether or not anything happened to them.
    pub fn groups(&self, names: &[String]) -> Vec<GroupResult> {
        let nothing = Group::default();
        let of = |i: usize| u8::try_from(i).ok().and_then(|id| self.groups.get(&id)).unwrap_or(&nothing);
        let us = Metric::Ttfa.unit().name();
        let mut all: Vec<GroupResult> = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let g = of(i);
                GroupResult {
                    name: name.clone(),
                    control: name == CONTROL,
                    turns: g.turns,
                    ttfa: g.ttfa.to_result(us),
                    ttft: g.ttft.to_result(us),
                    network_up: g.up.to_spread(),
                    network_down: g.down.to_spread(),
                    network: g.both.to_spread(),
                    against_control: None,
                    links: g.links.to_result(),
                    judged: g.judged.as_deref().map(|turns| Box::new(judged(turns))),
                }
            })
            .collect();
        let control = all.iter().find(|g| g.control).map(|g| (g.ttfa.p50_us, g.ttfa.p95_us));
        if let Some((p50, p95)) = control {
            let less = |a: Option<i64>, b: Option<i64>| a.zip(b).map(|(a, b)| a - b);
            for g in all.iter_mut().filter(|g| !g.control) {
                g.against_control = Some(AgainstControl {
                    ttfa_p50_us: less(g.ttfa.p50_us, p50),
                    ttfa_p95_us: less(g.ttfa.p95_us, p95),
                });
            }
        }
        all
    }
}

/// The turns of a group, for `result.json`.
fn judged(turns: &Interval) -> GroupJudged {
    let counted = Metric::ALL.iter().filter(|m| turns.metric(**m).count() > 0);
    GroupJudged {
        turns: turns.counts.turns().of_ended(),
        barge_in: turns.counts.barge_in(),
        metrics: counted
            .map(|m| (m.name().to_owned(), turns.metric(*m).to_result(m.unit().name())))
            .collect(),
    }
}

/// The network's share of a turn's TTFA: up and down together, where both are known.
pub(super) fn share(t: &TurnRecord) -> Option<Micros> {
    t.network_up.zip(t.network_down).map(|(up, down)| up + down)
}

/// When faults began, in spans of time.
#[derive(Debug)]
pub(super) struct Timeline {
    width: Micros,
    /// Spans in which something began, in order.
    spans: Vec<(Micros, BTreeMap<Cause, u64>)>,
}

impl Timeline {
    /// Nothing yet; spans begin `width` wide.
    pub(super) const fn new(width: Micros) -> Self {
        Self { width, spans: Vec::new() }
    }

    /// Adds an interval.
    pub(super) fn add(&mut self, start: Micros, faults: &Faults) {
        let mut began = faults.began().peekable();
        if began.peek().is_none() {
            return;
        }
        let span = Self::span(&mut self.spans, self.width, start);
        for (cause, n) in began {
            *span.entry(cause.clone()).or_default() += n;
        }
        // A long run without faults must not be given away for two early ones: it is the run's length that counts.
        while start.0 / self.width.0.max(1) >= MAX_SPANS as i64 {
            self.width = self.width * 2;
            let mut wide = Vec::new();
            for (at, causes) in self.spans.drain(..) {
                let span = Self::span(&mut wide, self.width, at);
                causes.into_iter().for_each(|(cause, n)| *span.entry(cause).or_default() += n);
            }
            self.spans = wide;
        }
    }

    fn span(
        spans: &mut Vec<(Micros, BTreeMap<Cause, u64>)>,
        width: Micros,
        at: Micros,
    ) -> &mut BTreeMap<Cause, u64> {
        let start = Micros(at.0.div_euclid(width.0.max(1)) * width.0);
        let index = match spans.iter().rposition(|(s, _)| *s == start) {
            Some(index) => index,
            None => {
                spans.push((start, BTreeMap::new()));
                spans.len() - 1
            }
        };
        &mut spans[index].1
    }

    /// By time, then by cause.
    pub(super) fn to_result(&self) -> Vec<FaultMark> {
        let mark = |at: Micros, (cause, began): (&Cause, &u64)| FaultMark {
            start_us: at.0,
            width_us: self.width.0,
            cause: cause.to_string(),
            began: *began,
        };
        self.spans.iter().flat_map(|(at, causes)| causes.iter().map(|c| mark(*at, c))).collect()
    }
}

/// The links of each device, over all its connections.
#[derive(Debug, Default)]
pub struct DeviceLinks {
    devices: BTreeMap<u32, Links>,
    /// Links that ended of devices beyond those with a row.
    pub more: u64,
}

impl DeviceLinks {
    /// Adds links that ended.
    pub fn add(&mut self, ended: &[(u32, Box<LinkStats>)]) {
        for (device, link) in ended {
            if self.devices.len() < MAX_DEVICES || self.devices.contains_key(device) {
                self.devices.entry(*device).or_default().add(link);
            } else {
                self.more += 1;
            }
        }
    }

    /// The rows of `links.csv`; `group` is the name of a device's group.
    pub fn rows(&self, group: impl Fn(u32) -> String) -> impl Iterator<Item = LinkRow> {
        self.devices.iter().map(move |(device, l)| LinkRow {
            device: *device,
            group: group(*device),
            connections: l.connections,
            syn_lost: l.syn_lost,
            up_bytes: l.up.bytes,
            up_segments: l.up.segments,
            up_lost: l.up.lost,
            up_retransmissions: l.up.retransmissions,
            up_timeouts: l.up.timeouts,
            up_stalls: l.up.stalls,
            up_stalled_us: l.up.stalled.0,
            up_longest_stall_us: l.up.longest_stall.0,
            down_bytes: l.down.bytes,
            down_segments: l.down.segments,
            down_lost: l.down.lost,
            down_retransmissions: l.down.retransmissions,
            down_timeouts: l.down.timeouts,
            down_stalls: l.down.stalls,
            down_stalled_us: l.down.stalled.0,
            down_longest_stall_us: l.down.longest_stall.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::fault::{FaultKind, Phase};
    use crate::measure::testing::turn;
    use crate::measure::{Interval, Recorder, Totals};

    const MS: fn(i64) -> Micros = Micros::from_millis;
    const S: fn(i64) -> Micros = Micros::from_secs;

    /// Even devices are the control group.
    fn groups() -> Groups {
        Groups::new(vec!["control".into(), "cat1".into()], |device| u8::from(device % 2 == 1))
    }

    fn recorder() -> Recorder {
        let mut r = Recorder::new(Micros::ZERO, true);
        r.of_run(groups(), S(60), S(5));
        r
    }

    fn way(bytes: u64, longest: i64) -> WayStats {
        WayStats { bytes, stalls: 1, stalled: MS(longest), longest_stall: MS(longest), ..WayStats::default() }
    }

    /// Turns of 100 ms, and through the network 250 ms longer; every tenth of those fails.
    fn converse(r: &mut [Recorder]) {
        for n in 0..400_u32 {
            let on_cat1 = n % 2 == 1;
            let mut t = turn(n, S(10), Some(MS(if on_cat1 { 350 } else { 100 })));
            if on_cat1 {
                (t.group, t.network_up, t.network_down) = (1, Some(MS(90)), Some(MS(160)));
            }
            if n % 20 == 19 {
                t = TurnRecord { group: 1, ..turn(n, S(10), None) };
            }
            let r = &mut r[n as usize / 2 % 2];
            r.record(n, S(11), Event::TurnEnded(Box::new(t)));
            if on_cat1 {
                let link = LinkStats { up: way(100, i64::from(n)), down: way(1_000, 5), syn_lost: 1 };
                r.record(n, S(12), Event::LinkEnded(Box::new(link)));
            }
        }
    }

    fn totals() -> Totals {
        let mut totals = Totals::new(S(1));
        let mut shards = [recorder(), recorder()];
        converse(&mut shards);
        let mut all = Interval::default();
        shards.iter_mut().for_each(|s| all.gather(s.take()));
        totals.add(Micros::ZERO, S(1), &all);
        totals.add(S(1), S(1), &Interval::default());
        totals.finish();
        totals
    }

    #[test]
    fn groups_add_up_over_shards_and_intervals() {
        let totals = totals();
        let n = totals.network(groups().names()).unwrap();
        let [control, cat1] = n.groups.as_slice() else { panic!("{:?}", n.groups) };
        assert_eq!((control.control, control.turns.ended, control.turns.failed), (true, 200, 0));
        assert_eq!((cat1.control, cat1.turns.succeeded, cat1.turns.failed), (false, 180, 20));
        assert_eq!((cat1.ttfa.count, cat1.ttfa.infinite, cat1.ttft.infinite), (200, 20, 20));
        assert_eq!((cat1.ttfa.p50_us.map(|t| t / 1_000), cat1.ttfa.p95_us), (Some(350), None));
        let against = cat1.against_control.unwrap();
        assert_eq!((against.ttfa_p50_us.map(|t| t / 1_000), against.ttfa_p95_us), (Some(250), None));
        assert_eq!(control.against_control, None);
        // What the links say agrees with what the difference says.
        assert_eq!(cat1.network.p50_us.map(|t| t / 1_000), Some(250));
        assert_eq!((cat1.network_up.count, control.network.count), (180, 0));
        let links = cat1.links;
        assert_eq!(
            (links.connections, links.syn_lost, links.up.bytes, links.down.bytes),
            (200, 200, 20_000, 200_000)
        );
        assert_eq!((links.up.longest_stall_us, links.up.stalls), (399_000, 200));
        assert_eq!(control.links, LinksResult::default());
    }

    #[test]
    fn links_have_a_row_for_each_device() {
        let rows: Vec<_> = totals().links.rows(|d| groups().name_of(d)).collect();
        assert_eq!(rows.len(), 200);
        assert_eq!((rows[1].device, rows[1].group.as_str(), rows[1].connections), (3, "cat1", 1));
        assert_eq!(
            (rows[1].up_bytes, rows[1].up_longest_stall_us, rows[1].down_stalled_us),
            (100, 3_000, 5_000)
        );
    }

    #[test]
    fn without_groups_nothing_is_kept() {
        let mut r = [Recorder::new(Micros::ZERO, true), Recorder::new(Micros::ZERO, true)];
        converse(&mut r);
        let mut all = Interval::default();
        r.iter_mut().for_each(|s| all.gather(s.take()));
        assert!(all.network.is_none());
        let mut totals = Totals::new(S(1));
        totals.add(Micros::ZERO, S(1), &all);
        assert!(totals.network(&[]).is_none());
    }

    #[test]
    fn more_devices_than_rows() {
        let mut links = DeviceLinks::default();
        let ended = |d: u32| (d, Box::<LinkStats>::default());
        let all: Vec<_> = (0..MAX_DEVICES as u32 + 3).chain([0, 1]).map(ended).collect();
        links.add(&all);
        assert_eq!((links.devices.len(), links.more), (MAX_DEVICES, 3));
        assert_eq!(links.rows(|_| String::new()).next().map(|r| r.connections), Some(2));
    }

    #[test]
    fn the_timeline_of_a_long_run_is_short_and_loses_no_fault() {
        let mut timeline = Timeline::new(S(1));
        let mut began = 0;
        for second in 0..5_000 {
            let mut r = Recorder::new(Micros::ZERO, true);
            if second % 3 == 0 {
                r.record(1, S(second), Event::FaultBegan { fault: FaultKind::Roam, phase: Phase::Idle });
                began += 1;
            }
            let i = r.take();
            timeline.add(S(second), &i.network.unwrap_or_default().faults);
        }
        let marks = timeline.to_result();
        assert!(marks.len() <= MAX_SPANS && marks.len() > MAX_SPANS / 4, "{}", marks.len());
        assert_eq!(marks.iter().map(|m| m.began).sum::<u64>(), began);
        assert!(marks.windows(2).all(|w| w[0].start_us + w[0].width_us == w[1].start_us));
    }
}
