//! What real TCP did on paths like these, and how near the imitation comes.
//!
//! Measured between two network namespaces of one machine (Linux 6.18), joined by a relay of IP packets that delays each by
//! 40 ms and drops it at random, both ways; 40 connections of a minute; messages of 200 bytes with TCP_NODELAY; CUBIC.

use std::sync::Arc;

use super::study::{self, Delays, EVERY, Tail};
use super::{Direction, Loss, Profile, Stack, Way};
use crate::seed::Seed;
use crate::time::Micros;

/// How long each measurement took, and on how many connections.
const SPAN: Micros = Micros::from_secs(60);
const CONNECTIONS: u32 = 40;
/// Handshakes of one run.
const HANDSHAKES: u32 = 4_000;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rig {
    /// A message each 60 ms from the device.
    Stream,
    /// Fifty messages to the device at once, each 3 s: the last of them.
    Burst,
    /// Utterances of 33 messages each 60 ms, each 4 s: the last of them.
    Utterance,
    /// Handshakes: the share that took a second or more, in hundredths of a percent as microseconds.
    Connect,
}

/// A row of the truth.
struct Row {
    name: &'static str,
    rig: Rig,
    loss: f64,
    stack: Stack,
    /// Percentile (0: none) and milliseconds.
    measured: &'static [(f64, f64)],
}

const ROWS: &[Row] = &[
    Row {
        name: "uplink, no loss",
        rig: Rig::Stream,
        loss: 0.0,
        stack: Stack::Linux,
        measured: &[(0.5, 40.2), (0.9, 40.3), (0.95, 40.4), (0.99, 41.5)],
    },
    Row {
        name: "uplink, 1 %",
        rig: Rig::Stream,
        loss: 0.01,
        stack: Stack::Linux,
        measured: &[(0.5, 40.1), (0.9, 40.2), (0.95, 40.6), (0.99, 180.0)],
    },
    Row {
        name: "uplink, 5 %",
        rig: Rig::Stream,
        loss: 0.05,
        stack: Stack::Linux,
        measured: &[(0.5, 40.2), (0.9, 120.0), (0.95, 180.0), (0.99, 321.0)],
    },
    Row {
        name: "uplink, 1 %, client without SACK",
        rig: Rig::Stream,
        loss: 0.01,
        stack: Stack::LinuxNoSack,
        measured: &[(0.5, 40.1), (0.9, 40.2), (0.99, 240.0)],
    },
    Row {
        name: "downlink burst, no loss",
        rig: Rig::Burst,
        loss: 0.0,
        stack: Stack::Linux,
        measured: &[(0.5, 120.0), (0.9, 121.0), (0.99, 139.0)],
    },
    Row {
        name: "downlink burst, 1 %",
        rig: Rig::Burst,
        loss: 0.01,
        stack: Stack::Linux,
        measured: &[(0.5, 121.0), (0.9, 201.0), (0.99, 284.0)],
    },
    Row {
        name: "last frame of an utterance, 1 %",
        rig: Rig::Utterance,
        loss: 0.01,
        stack: Stack::Linux,
        measured: &[(0.99, 350.0)],
    },
    Row {
        name: "last frame of an utterance, 5 %",
        rig: Rig::Utterance,
        loss: 0.05,
        stack: Stack::Linux,
        measured: &[(0.99, 394.0)],
    },
    Row {
        name: "connecting, 5 %: share of 1.08 s or more",
        rig: Rig::Connect,
        loss: 0.05,
        stack: Stack::Linux,
        measured: &[(0.0, 10.0)],
    },
];

/// One number, measured and imitated.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What was measured.
    pub row: &'static str,
    /// `p50`, `p99`, …, or `share`.
    pub statistic: &'static str,
    /// Milliseconds, or percent for a share.
    pub measured: f64,
    /// Of all runs together.
    pub imitated: f64,
    /// The lowest and the highest of the runs, each as large as the measurement.
    pub range: (f64, f64),
    /// How far apart they may be, in the unit of `measured`.
    pub tolerance: f64,
}

impl Compared {
    /// Whether the imitation is as near as it is meant to be.
    pub fn is_within(&self) -> bool {
        (self.imitated - self.measured).abs() <= self.tolerance
    }

    /// Whether the measurement could have been one of the runs.
    pub fn is_among(&self) -> bool {
        (self.range.0 - self.tolerance..=self.range.1 + self.tolerance).contains(&self.measured)
    }
}

/// A path of 40 ms each way that loses packets one by one.
fn path(loss: f64, stack: Stack) -> Arc<Profile> {
    let loss = if loss > 0.0 { Loss::Independent(loss) } else { Loss::None };
    let way = Way { delay: Micros::from_millis(40), loss, ..Way::default() };
    Arc::new(Profile { name: "truth".to_owned(), up: way.clone(), down: way, stack, schedule: Vec::new() })
}

fn run(row: &Row, seed: Seed) -> Delays {
    let profile = path(row.loss, row.stack);
    let tail = |messages, every, period: Micros| Tail { messages, every, period, times: SPAN.0 / period.0 };
    match row.rig {
        Rig::Stream => study::stream(&profile, Direction::Up, seed, CONNECTIONS, SPAN),
        Rig::Burst => {
            let tail = tail(50, Micros::ZERO, Micros::from_secs(3));
            study::tails(&profile, Direction::Down, seed, CONNECTIONS, &tail)
        }
        Rig::Utterance => {
            let tail = tail(33, EVERY, Micros::from_secs(4));
            study::tails(&profile, Direction::Up, seed, CONNECTIONS, &tail)
        }
        Rig::Connect => study::handshakes(&profile, seed, HANDSHAKES),
    }
}

/// Compares every row, with `runs` seeds from `seed` on.
pub fn compare(seed: u64, runs: u64) -> Vec<Compared> {
    let mut all = Vec::new();
    for row in ROWS {
        let seen: Vec<_> = (0..runs.max(1)).map(|n| run(row, Seed(seed.wrapping_add(n)))).collect();
        let together = Delays::together(&seen);
        for &(q, measured) in row.measured {
            let of = |d: &Delays| match row.rig {
                Rig::Connect => d.share_from(Micros::from_secs(1)) * 100.0,
                _ => d.quantile(q).as_millis_f64(),
            };
            let mut values: Vec<f64> = seen.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let (statistic, tolerance) = match (q * 100.0) as u32 {
                0 => ("share", 1.0),
                50 => ("p50", 2.0),
                90 => ("p90", 2.0),
                95 => ("p95", 2.0),
                _ => ("p99", 0.15 * measured),
            };
            all.push(Compared {
                row: row.name,
                statistic,
                measured,
                imitated: of(&together),
                range: values.first().copied().zip(values.last().copied()).unwrap_or_default(),
                tolerance,
            });
        }
    }
    all
}
