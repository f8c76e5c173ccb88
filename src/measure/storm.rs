//! Storms: many devices cut at once, and how long it takes until they are back.
//!
//! A storm is at least three devices, and at least 5 % of those connected, that lose their connections within 100 ms; it
//! takes in what is lost after that without a pause of 100 ms, for a second at most.

use std::collections::{BTreeMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Distribution, Interval, Metric};
use crate::event::{Outcome, TurnRecord};
use crate::fault::Cause;
use crate::report::result::{ReconnectRates, Spread, StormResult};
use crate::time::Micros;

/// Losses so close belong together.
const GAP: Micros = Micros::from_millis(100);

/// Longest time within which the devices of one storm are cut.
const LONGEST: Micros = Micros::from_secs(1);

/// Fewest devices, and their share of those connected.
const FEWEST: u64 = 3;
const SHARE: f64 = 0.05;

/// Storms that are described; further ones are counted.
const MAX_STORMS: usize = 20;

/// The devices that were not cut are looked at for so long before, and for at least and at most so long after it.
const BEFORE: Micros = Micros::from_secs(30);
const DURING: [Micros; 2] = [Micros::from_secs(10), Micros::from_secs(60)];

/// Answers to turns of that time come so much later at most.
const ANSWERS: Micros = Micros::from_secs(60);

/// Intervals wait so long before they count: by then it is known whether they lie in a storm.
const LAG: Micros = Micros::from_secs(3);

/// A device whose connection became useless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The device.
    pub device: u32,
    /// When: cut by the scenario, or noticed.
    pub at: Micros,
    /// Why.
    pub cause: Cause,
}

/// A device that is connected again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// The instant of its [`Cut`].
    pub lost: Micros,
    /// When it was connected.
    pub at: Micros,
}

/// Finds storms in what happens, interval by interval.
#[derive(Debug)]
pub(super) struct Storms {
    storms: Vec<Storm>,
    more: u64,
    /// Cuts that may belong to a storm, by time.
    cuts: VecDeque<Cut>,
    /// Connections whose cut is among those.
    backs: Vec<Back>,
    /// Turns of the last seconds: once something was cut, or from the start when something will be.
    turns: VecDeque<Turn>,
    keep_turns: bool,
    /// Intervals that do not count yet.
    waiting: VecDeque<Past>,
    warmup: Micros,
    /// Reconnects outside of storms, and for how long that was.
    steady: (u64, Micros),
    peak_per_s: f64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    device: u32,
    end_of_speech: Micros,
    /// `None`: failed.
    ttfa: Option<Micros>,
}

#[derive(Debug)]
struct Past {
    start: Micros,
    width: Micros,
    reconnects: u64,
    most_connected: i64,
    connect: Distribution,
}

#[derive(Debug)]
struct Storm {
    at: Micros,
    /// The last of its cuts.
    until: Micros,
    cause: Cause,
    devices: u64,
    connected: u64,
    /// Those cut; forgotten when the storm is history.
    cut: HashSet<u32>,
    /// From `at` to each connection, µs, in no order.
    back: Vec<u32>,
    peak_per_s: f64,
    peak_connect: Spread,
    before: Distribution,
    during: Distribution,
}

impl Storm {
    /// When so many of the devices were connected again, from `at`.
    fn until_back(&self, devices: u64) -> Option<Micros> {
        let nth = usize::try_from(devices.max(1)).ok()?.checked_sub(1)?;
        let mut sorted = self.back.clone();
        (nth < sorted.len()).then(|| Micros(i64::from(*sorted.select_nth_unstable(nth).1)))
    }

    fn until_99(&self) -> Option<Micros> {
        // 99 % of the devices, rounded up: of 50 all, of 200 all but two.
        self.until_back((self.devices * 99).div_ceil(100))
    }

    /// When it is over for the devices that were not cut.
    fn over(&self) -> Micros {
        let lasted = self.until_99().unwrap_or(DURING[1]);
        self.at + lasted.clamp(DURING[0], DURING[1])
    }

    fn answered(&mut self, turn: Turn, over: Micros) {
        if self.cut.contains(&turn.device)
            || turn.end_of_speech < self.at - BEFORE
            || turn.end_of_speech >= over
        {
            return;
        }
        let side = if turn.end_of_speech < self.at { &mut self.before } else { &mut self.during };
        match turn.ttfa {
            Some(ttfa) => side.record(ttfa),
            None => side.record_infinite(),
        }
    }

    fn to_result(&self) -> StormResult {
        StormResult {
            at_us: self.at.0,
            cause: self.cause.to_string(),
            devices: self.devices,
            connected: self.connected,
            back: self.back.len() as u64,
            until_99_us: self.until_99().map(|t| t.0),
            until_100_us: self.until_back(self.devices).map(|t| t.0),
            peak_per_s: self.peak_per_s,
            peak_connect: self.peak_connect.clone(),
            others_before: self.before.to_spread(),
            others_during: self.during.to_spread(),
        }
    }
}

impl Storms {
    /// Nothing yet. `expected`: the run has faults, so that turns are worth keeping from the start.
    pub(super) fn new(warmup: Micros, expected: bool) -> Self {
        Self {
            storms: Vec::new(),
            more: 0,
            cuts: VecDeque::new(),
            backs: Vec::new(),
            turns: VecDeque::new(),
            keep_turns: expected,
            waiting: VecDeque::new(),
            warmup,
            steady: (0, Micros::ZERO),
            peak_per_s: 0.0,
        }
    }

    /// An interval of all shards is over.
    pub(super) fn add(&mut self, start: Micros, width: Micros, interval: &Interval) {
        let end = start + width;
        if let Some(network) = &interval.network {
            self.keep_turns |= !network.cuts.is_empty();
            self.cuts.extend(network.cuts.iter().cloned());
            self.backs.extend(&network.backs);
            // From several shards; and what was noticed late comes late.
            self.cuts.make_contiguous().sort_by_key(|c| c.at);
        }
        let reconnects = interval.counts.reconnected;
        self.waiting.push_back(Past {
            start,
            width,
            reconnects,
            most_connected: interval.counts.most_connected,
            connect: if reconnects > 0 {
                interval.metric(Metric::Connect).clone()
            } else {
                Distribution::default()
            },
        });
        self.settle(end - LONGEST - GAP);
        self.take_turns(&interval.turns, end);
        self.count(end - LAG);
    }

    /// The run is over.
    pub(super) fn finish(&mut self) {
        self.settle(Micros::NEVER);
        self.count(Micros::NEVER);
    }

    /// Which cuts make a storm: of those for which everything is known that came before `until`.
    fn settle(&mut self, until: Micros) {
        while let Some(first) = self.cuts.front().filter(|c| c.at < until).map(|c| c.at) {
            let late = self.storms.iter_mut().find(|s| s.at <= first && first <= s.until);
            if let (Some(storm), Some(cut)) = (late, self.cuts.front()) {
                storm.devices += 1;
                storm.cut.insert(cut.device);
                self.cuts.pop_front();
                continue;
            }
            let connected =
                self.waiting.iter().map(|p| p.most_connected).max().unwrap_or(0).max(0).unsigned_abs();
            let needed = ((connected as f64 * SHARE).ceil() as u64).max(FEWEST);
            let cuts = self.cuts.make_contiguous();
            let at_once = cuts.partition_point(|c| c.at <= first + GAP);
            if (at_once as u64) < needed {
                self.cuts.pop_front();
                continue;
            }
            let pause = |c: &[Cut]| c[1].at - c[0].at > GAP || c[1].at - first > LONGEST;
            let members = cuts.windows(2).position(pause).map_or(cuts.len(), |last| last + 1);
            let members: Vec<Cut> = self.cuts.drain(..members).collect();
            self.storm(members, connected);
        }
        // What is settled is settled: connections that belong to no storm and to no cut that waits are of no interest.
        let open = self.cuts.front().map_or(until, |c| c.at.min(until));
        let storms = &mut self.storms;
        self.backs.retain(|b| match storms.iter_mut().find(|s| s.at <= b.lost && b.lost <= s.until) {
            Some(storm) => {
                storm.back.push(u32::try_from((b.at - storm.at).0.max(0)).unwrap_or(u32::MAX));
                false
            }
            None => b.lost >= open,
        });
    }

    fn storm(&mut self, members: Vec<Cut>, connected: u64) {
        let (Some(first), Some(last)) = (members.first(), members.last()) else { return };
        if self.storms.len() >= MAX_STORMS {
            self.more += 1;
            return;
        }
        let mut causes: BTreeMap<&Cause, u64> = BTreeMap::new();
        members.iter().for_each(|c| *causes.entry(&c.cause).or_default() += 1);
        let most = causes.iter().max_by_key(|(_, n)| **n).map_or(&first.cause, |(cause, _)| cause);
        let mut storm = Storm {
            at: first.at,
            until: last.at,
            cause: most.clone(),
            devices: members.len() as u64,
            connected: connected.max(members.len() as u64),
            cut: members.iter().map(|c| c.device).collect(),
            back: Vec::new(),
            peak_per_s: 0.0,
            peak_connect: Spread::default(),
            before: Distribution::default(),
            during: Distribution::default(),
        };
        let over = storm.over();
        self.turns.iter().for_each(|t| storm.answered(*t, over));
        self.storms.push(storm);
    }

    fn take_turns(&mut self, turns: &[Box<TurnRecord>], end: Micros) {
        for storm in self.storms.iter_mut().filter(|s| !s.cut.is_empty()) {
            let over = storm.over();
            counted(turns).for_each(|t| storm.answered(t, over));
            if storm.over() + ANSWERS < end {
                storm.cut = HashSet::new();
            }
        }
        if self.keep_turns {
            self.turns.extend(counted(turns));
            while self.turns.front().is_some_and(|t| t.end_of_speech < end - BEFORE - LAG) {
                self.turns.pop_front();
            }
        }
    }

    /// Intervals that ended before `until` count: to a storm, or to the time in which there was none.
    fn count(&mut self, until: Micros) {
        while self.waiting.front().is_some_and(|p| p.start + p.width <= until) {
            let Some(past) = self.waiting.pop_front() else { break };
            let per_s = past.reconnects as f64 / past.width.as_secs_f64().max(1e-6);
            self.peak_per_s = self.peak_per_s.max(per_s);
            let mut stormy = false;
            for storm in &mut self.storms {
                let lasts = storm.until_99().map_or(Micros::NEVER, |t| storm.at + t);
                if past.start <= lasts && storm.at < past.start + past.width {
                    stormy = true;
                    if per_s > storm.peak_per_s {
                        storm.peak_per_s = per_s;
                        storm.peak_connect = past.connect.to_spread();
                    }
                }
            }
            if !stormy && past.start >= self.warmup {
                self.steady.0 += past.reconnects;
                self.steady.1 += past.width;
            }
        }
    }

    /// The storms, and how many more there were.
    pub(super) fn to_result(&self) -> (Vec<StormResult>, u64) {
        (self.storms.iter().map(Storm::to_result).collect(), self.more)
    }

    /// Reconnects per second.
    pub(super) fn rates(&self) -> ReconnectRates {
        let (n, time) = self.steady;
        let steady = n as f64 / time.as_secs_f64().max(1e-6);
        ReconnectRates {
            peak_per_s: self.peak_per_s,
            steady_per_s: steady,
            peak_over_steady: (n > 0).then(|| self.peak_per_s / steady),
        }
    }
}

/// Turns that count.
fn counted(turns: &[Box<TurnRecord>]) -> impl Iterator<Item = Turn> {
    turns.iter().filter(|t| !t.warmup && t.outcome != Outcome::Cancelled).map(|t| Turn {
        device: t.device,
        end_of_speech: t.end_of_speech,
        ttfa: if matches!(t.outcome, Outcome::Failed(..)) { None } else { t.ttfa() },
    })
}

#[cfg(test)]
mod tests;
