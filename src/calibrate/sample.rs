//! A made-up calibration: for tests and for looking at pages. No number in here was measured.

use super::document::{
    Calibration, Capacity, CapacityPoint, ErrorBars, Floor, FloorRun, KnownDelay, Probe, SCHEMA_VERSION,
    Spread, WakeupRound, Wakeups,
};
use crate::measure::Distribution;
use crate::report::result::{HostInfo, MetricResult};
use crate::time::Micros;

/// A whole calibration.
pub fn calibration() -> Calibration {
    Calibration {
        schema_version: SCHEMA_VERSION,
        voxload_version: "0.1.0".to_owned(),
        build: "release".to_owned(),
        made_at: "2026-01-31T12:00:00Z".to_owned(),
        duration_us: 53_200_000,
        quick: false,
        partial: false,
        host: HostInfo {
            os: "Linux 6.1 x86_64".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            open_files: 20_000,
        },
        wakeups: Some(Wakeups {
            threads: 2,
            rounds: vec![round(0, 2_500.0, 190, 310), round(2_000, 11_111.0, 220, 410)],
        }),
        floor: Some(Floor { runs: vec![floor(3, 12), floor(100, 410)] }),
        error: Some(ErrorBars {
            delays: [50_000, 300_000].map(delay).into(),
            ttft: spread(1_180, 3, 40, 180, 390),
            ttfa: spread(1_180, 4, 60, 240, 510),
        }),
        capacity: Some(Capacity {
            probe_us: 3_950_000,
            judged_us: 1_500_000,
            speaking_share: 0.34,
            most: 10_000,
            most_because: "a calibration drives no more".to_owned(),
            others_share: Some(0.012),
            points: vec![
                point(20, 1_800, Some(2_500)),
                point(60, 4_200, Some(5_700)),
                point(100, 6_000, None),
            ],
        }),
        remarks: vec!["no number in here was measured".to_owned()],
    }
}

fn round(devices: u32, per_second: f64, p50: i64, p99: i64) -> WakeupRound {
    WakeupRound { devices, per_second, timer: late(p50, p99), kernel: late(p50 / 3, p99 / 2) }
}

fn late(p50: i64, p99: i64) -> MetricResult {
    let mut d = Distribution::default();
    for n in 0..2_000 {
        let us = match n {
            0..1_900 => p50 / 2 + p50 * n / 1_900,
            1_900..1_985 => p99,
            _ => p99 * 2,
        };
        d.record(Micros(us));
    }
    d.to_result("us")
}

const fn spread(count: u64, min: i64, p50: i64, p99: i64, max: i64) -> Spread {
    let p99_us = if count < 1_000 { None } else { Some(p99) };
    Spread { count, min_us: Some(min), p50_us: Some(p50), p99_us, max_us: Some(max) }
}

const fn floor(devices: u32, turns: u64) -> FloorRun {
    FloorRun {
        devices,
        turns,
        valid: true,
        connect: spread(devices as u64, 310, 420, 900, 1_100),
        ttft: spread(turns, 17_900, 18_100, 18_900, 19_300),
        ttfa: spread(turns, 38_300, 38_700, 39_800, 41_000),
        last_chunk_us: Some(17_700),
        lead_silence_us: Some(20_600),
        ttft_remaining: spread(turns, 200, 310, 900, 1_300),
        ttfa_remaining: spread(turns, 300, 420, 1_100, 1_900),
    }
}

fn delay(delay_us: i64) -> KnownDelay {
    let one = spread(590, 3, 50, 200, 510);
    KnownDelay { delay_us, devices: 200, turns: 590, unmatched: 0, valid: true, ttft: one, ttfa: one }
}

fn point(chunk_ms: i64, devices: u32, too_many: Option<u32>) -> CapacityPoint {
    let probe = |devices, fits| Probe {
        devices,
        connected: devices,
        fits,
        reasons: if fits {
            Vec::new()
        } else {
            vec!["send lateness p99 7.9 ms (limit ≤ 5.0 ms)".to_owned()]
        },
        disturbed: false,
        cpu_us_per_message_sent: 21.4,
        cpu_share: 0.41,
        own_lateness_p99_us: Some(2_900),
        others_share: Some(0.012),
    };
    let probes: Vec<_> =
        std::iter::once(probe(devices, true)).chain(too_many.map(|n| probe(n, false))).collect();
    let reasons = probes.iter().flat_map(|p| &p.reasons).next().cloned();
    CapacityPoint {
        chunk_us: chunk_ms * 1_000,
        devices: Some(devices),
        too_many,
        bound_by: reasons.unwrap_or_else(|| "a calibration drives no more".to_owned()),
        devices_per_core: Some(f64::from(devices) / 2.0),
        cpu_us_per_message_sent: Some(21.4),
        cpu_share: Some(0.41),
        own_lateness_p99_us: Some(2_900),
        probes,
    }
}
