//! Made-up snapshots, seeded: for tests and benchmarks. No number in here was measured.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{About, Exposed, Latency, Moment, Snapshot, exposition};
use crate::drive::run::Phase;
use crate::measure::{Counts, Distribution, Metric, Quantile};
use crate::report::sample::{self, Kind};
use crate::time::Micros;

/// The state of a run of so many turns at its end.
pub fn make(kind: Kind, seed: u64, turns: u32) -> Snapshot {
    let r = sample::make(kind, seed, turns).result;
    let of = |m: Metric| {
        r.metrics.get(m.name()).and_then(|m| Distribution::from_result(m).ok()).unwrap_or_default()
    };
    let finite = |us: Option<i64>| us.map(|us| Quantile::Finite(Micros(us)));
    let history: VecDeque<_> = r
        .intervals
        .iter()
        .map(|i| {
            let none = if i.ttfa_count > 0 { Some(Quantile::Infinite) } else { None };
            Moment {
                at: Micros(i.start_us + i.width_us),
                p50: finite(i.ttfa_p50_us).or(none),
                p95: finite(i.ttfa_p95_us).or(none),
            }
        })
        .collect();
    let counts = Counts {
        started: r.turns.started,
        started_warmup: r.turns.warmup,
        succeeded: r.turns.succeeded,
        failed: r.turns.failed,
        timed_out: r.turns.timed_out,
        connects: r.connections.attempted,
        connected_total: r.connections.opened,
        connect_failures: r.connections.failed,
        lost: r.connections.lost,
        reconnected: r.connections.reconnected,
        messages_sent: r.generator.messages_sent,
        messages_received: r.generator.messages_received,
        bytes_sent: r.generator.bytes_sent,
        bytes_received: r.generator.bytes_received,
        ..Counts::default()
    };
    let latest = r.intervals.last();
    Snapshot {
        about: Arc::new(About {
            name: r.name.clone(),
            seed: r.seed,
            target: r.target.url.clone(),
            dialect: r.target.dialect.clone(),
            devices: r.generator.devices,
            warmup: Micros(r.warmup_us),
            end: Micros::from_secs(60),
            interval: Micros::from_secs(1),
            started: 1_784_980_800.0,
        }),
        now: history.back().map_or(Micros::ZERO, |m| m.at),
        phase: Phase::Load,
        connected: latest.map_or(0, |i| i.connected.into()),
        in_turn: latest.map_or(0, |i| i.in_turn.into()),
        counts,
        ttfa: Latency::of(&of(Metric::Ttfa)),
        ttfa_uncorrected: Latency::of(&of(Metric::TtfaUncorrected)),
        ttft: Latency::of(&of(Metric::Ttft)),
        history,
        failures: r.failures.clone(),
        thresholds: r.thresholds.clone(),
        rss: r.generator.rss_peak_bytes,
        generator: r.generator.clone(),
        validity: r.validity.clone(),
        histograms: exposition::HISTOGRAMS.iter().map(|h| Exposed::of(&of(h.metric), h.bounds)).collect(),
    }
}
