//! What a threshold looks at: a metric, something counted, stalled time; of all devices, or of a group.

use crate::event::PREBUFFERS;
use crate::measure::Metric;
use crate::report::RunResult;
use crate::report::result::{BargeInCounts, ConnectionCounts, TurnCounts};
use crate::scenario::units::{TextError, nearest, parse_duration};
use crate::time::Micros;

/// What a threshold looks at.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// A metric with a distribution.
    Metric(Metric),
    /// Something counted.
    Counter(&'static Counter),
    /// Stalled time as a share of playing time over all replies, at one of [`PREBUFFERS`].
    StalledShare(Micros),
}

/// Something counted, with what its rate is a share of.
#[derive(Debug)]
pub struct Counter {
    /// The name in thresholds.
    pub name: &'static str,
    /// What it counts, for the documentation.
    pub doc: &'static str,
    /// How many, and of how many.
    pub count: fn(&Counted) -> (u64, u64),
    /// True when it is known by group, too.
    pub by_group: bool,
    /// True when it says what the harness did with its plan: all of it, no sample of something.
    pub of_plan: bool,
}

impl Counter {
    /// How many, and of how many, in a whole run.
    pub fn of_run(&self, run: &RunResult) -> (u64, u64) {
        (self.count)(&Counted::of(run))
    }
}

/// What counters count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Turns after warm-up.
    pub turns: TurnCounts,
    /// Connections.
    pub connections: ConnectionCounts,
    /// Interruptions.
    pub barge_in: BargeInCounts,
}

impl Counted {
    /// In a whole run.
    pub const fn of(run: &RunResult) -> Self {
        Self { turns: run.turns, connections: run.connections, barge_in: run.barge_in }
    }
}

/// Turns that the server is judged by: those that the end of the run did not cut.
const fn judged(r: &Counted) -> u64 {
    r.turns.started.saturating_sub(r.turns.cancelled)
}

/// Everything that is counted.
pub const COUNTERS: &[Counter] = &[
    Counter {
        name: "turns.planned",
        by_group: false,
        of_plan: true,
        doc: "turns planned",
        count: |r| (r.turns.planned, r.turns.planned),
    },
    Counter {
        name: "turns.started",
        by_group: false,
        of_plan: true,
        doc: "turns begun; of those planned",
        count: |r| (r.turns.started, r.turns.planned),
    },
    Counter {
        name: "turns.succeeded",
        by_group: true,
        of_plan: false,
        doc: "complete audible replies; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.succeeded, judged(r)),
    },
    Counter {
        name: "turns.failed",
        by_group: true,
        of_plan: false,
        doc: "failed turns, time-outs included; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.failed + r.turns.timed_out, judged(r)),
    },
    Counter {
        name: "turns.timed_out",
        by_group: true,
        of_plan: false,
        doc: "turns without audio in time; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.timed_out, judged(r)),
    },
    Counter {
        name: "turns.interrupted",
        by_group: true,
        of_plan: false,
        doc: "turns cut by a planned barge-in; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.interrupted, judged(r)),
    },
    Counter {
        name: "turns.missed",
        by_group: false,
        of_plan: true,
        doc: "turns planned and never begun; of those planned",
        count: |r| (r.turns.missed, r.turns.planned),
    },
    Counter {
        name: "turns.reconnected",
        by_group: true,
        of_plan: false,
        doc: "turns that lost their connection, went on with another and succeeded; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.reconnected, judged(r)),
    },
    Counter {
        name: "turns.lost_to_cut",
        by_group: true,
        of_plan: false,
        doc: "turns that failed because of a lost connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.lost_to_cut, judged(r)),
    },
    Counter {
        name: "turns.cut_short",
        by_group: true,
        of_plan: false,
        doc: "turns whose reply was lost in part with a connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.cut_short, judged(r)),
    },
    Counter {
        name: "turns.answered_twice",
        by_group: false,
        of_plan: false,
        doc: "turns whose reply, or its beginning, came twice; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.answered_twice, judged(r)),
    },
    Counter {
        name: "turns.speech_lost",
        by_group: true,
        of_plan: false,
        doc: "turns of which some speech was never sent for want of a connection; of the turns begun and not cut by the end of the run",
        count: |r| (r.turns.speech_lost, judged(r)),
    },
    Counter {
        name: "connections.failed",
        by_group: false,
        of_plan: false,
        doc: "connection attempts that failed; of all attempts",
        count: |r| (r.connections.failed, r.connections.attempted),
    },
    Counter {
        name: "connections.lost",
        by_group: false,
        of_plan: false,
        doc: "open connections that ended unasked; of those opened",
        count: |r| (r.connections.lost, r.connections.opened),
    },
    Counter {
        name: "connections.reconnected",
        by_group: false,
        of_plan: false,
        doc: "connections opened again after a loss; of those lost",
        count: |r| (r.connections.reconnected, r.connections.lost),
    },
    Counter {
        name: "barge_in.stopped",
        by_group: true,
        of_plan: false,
        doc: "interruptions that stopped the reply; of those made",
        count: |r| (r.barge_in.stopped, r.barge_in.made),
    },
    Counter {
        name: "barge_in.false_stops",
        by_group: true,
        of_plan: false,
        doc: "coughs and \"mm-hm\"s that stopped the reply; of those made",
        count: |r| (r.barge_in.false_stops, r.barge_in.backchannels),
    },
];

impl Subject {
    /// The subject of that name, or what may have been meant.
    pub fn named(name: &str) -> Result<Self, TextError> {
        if let Some(metric) = Metric::from_name(name) {
            return Ok(Self::Metric(metric));
        }
        if let Some(counter) = COUNTERS.iter().find(|c| c.name == name) {
            return Ok(Self::Counter(counter));
        }
        if let Some(at) = PREBUFFERS.into_iter().find(|at| stalled_share(*at) == name) {
            return Ok(Self::StalledShare(at));
        }
        let fixed = Metric::ALL.iter().map(|m| m.name()).chain(COUNTERS.iter().map(|c| c.name));
        let known: Vec<_> = fixed.map(str::to_owned).chain(PREBUFFERS.map(stalled_share)).collect();
        let help = nearest(name, known.iter().map(String::as_str)).map_or_else(
            || {
                "for example `ttfa`, `ttft`, `turns.failed`, `stall_ratio@60ms`; docs/scenario.md lists them all"
                    .to_owned()
            },
            |near| format!("did you mean `{near}`?"),
        );
        Err(TextError::new(0..name.len(), format!("there is no metric `{name}`")).help(help))
    }

    /// True when it is known by group, too.
    pub const fn by_group(self) -> bool {
        match self {
            Self::Metric(m) => m.is_of_turns(),
            Self::Counter(c) => c.by_group,
            Self::StalledShare(_) => false,
        }
    }

    /// What it is a number of.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Metric(m) if m.is_of_turns() => "turns",
            Self::Metric(_) => "samples",
            Self::Counter(c) if c.name.starts_with("turns.") => "turns",
            Self::Counter(c) if c.name.starts_with("connections.") => "connections",
            Self::Counter(_) => "interruptions",
            Self::StalledShare(_) => "replies",
        }
    }
}

fn stalled_share(at: Micros) -> String {
    format!("stalled_share@{}ms", at.0 / 1_000)
}

/// The prebuffer in the name of a stall ratio: `stall_ratio@60ms`.
pub(super) fn prebuffer_of(metric: Metric) -> Option<Micros> {
    parse_duration(metric.name().strip_prefix("stall_ratio@")?).ok()
}
