//! A made-up sweep: for tests and for looking at the page. No number in here was measured.

use super::document::{
    AxisInfo, Cell, CellCapacity, Change, Measured, Quality, Run, SCHEMA_VERSION, Skipped, Speech, Sweep,
    Wire,
};
use super::judge;
use crate::capacity::document::LoadUnit;
use crate::report::result::HostInfo;

/// Codec, what it sends in kbit/s without headers, segmental SNR, log-spectral distance, encoding µs.
const CODECS: [(&str, f64, f64, f64, f64); 3] =
    [("opus", 24.0, 9.1, 3.4, 9_100.0), ("pcm16", 256.0, 34.2, 0.1, 80.0), ("mulaw", 64.0, 21.7, 9.9, 70.0)];
const CHUNKS: [i64; 4] = [20, 60, 100, 240];

/// Three codecs in four chunk sizes, not judged yet.
pub fn sweep() -> Sweep {
    let mut cells = Vec::new();
    for (codec, kbps, snr, distance, encode) in CODECS {
        for chunk in CHUNKS {
            let number = cells.len() as u32 + 1;
            cells.push(cell(
                number,
                codec,
                chunk,
                kbps,
                Quality { segmental_snr_db: snr, spectral_distance_db: distance },
                encode,
            ));
        }
    }
    Sweep {
        schema_version: SCHEMA_VERSION,
        voxload_version: "0.1.0".to_owned(),
        name: "made-up".to_owned(),
        seed: 1,
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        complete: true,
        planned_runs: 36,
        valid_runs: 35,
        recommendation: None,
        answer: String::new(),
        reasons: Vec::new(),
        axes: vec![
            AxisInfo { key: "audio.codec".to_owned(), values: CODECS.map(|c| c.0.to_owned()).to_vec() },
            AxisInfo { key: "audio.chunk".to_owned(), values: CHUNKS.map(|c| format!("{c}ms")).to_vec() },
        ],
        repeat: 3,
        order: "interleaved".to_owned(),
        max_delay_us: 50_000,
        max_distortion_db: 6.0,
        baseline: 5,
        cells,
        skipped: vec![Skipped {
            values: vec!["opus".to_owned(), "250ms".to_owned()],
            reason: "a chunk of 250ms is not a whole number of frames of 20ms".to_owned(),
        }],
        front: Vec::new(),
        notes: Vec::new(),
        host: HostInfo {
            os: "Linux".to_owned(),
            cpu: "made-up".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            open_files: 1_024,
        },
        command: "voxload sweep made-up.toml".to_owned(),
    }
}

/// The same, judged.
pub fn judged() -> Sweep {
    let mut sweep = sweep();
    judge::judge(&mut sweep);
    sweep
}

fn cell(number: u32, codec: &str, chunk: i64, kbps: f64, quality: Quality, encode: f64) -> Cell {
    let opus = codec == "opus";
    let lookahead = if opus { 6_500 } else { 0 };
    let wait = chunk * 500 + lookahead;
    let ttfa = 690_000 + wait;
    let per_second = 1_000.0 / chunk as f64;
    let wire = |header: f64| {
        let bytes = kbps * 125.0 + per_second * header;
        Wire {
            kbps: bytes / 125.0,
            bytes_per_s: bytes,
            payload_bytes_per_s: kbps * 125.0,
            messages_per_s: per_second,
        }
    };
    let (up, down) = (wire(46.0), wire(44.0));
    // The baseline is PCM in chunks of 20 ms.
    let delta = wait - 10_000;
    let run = |round: u32| {
        let lost = number == 7 && round == 2;
        Run {
            round,
            dir: format!("runs/c{number:02}-r{round}"),
            state: if lost { "invalid" } else { "valid" }.to_owned(),
            attempts: if lost { 3 } else { 1 },
            ttfa_p50_us: (!lost).then(|| ttfa + i64::from(round) * 700),
            reason: if lost {
                "send lateness p99 was 8.1 ms (limit 5.0 ms)".to_owned()
            } else {
                String::new()
            },
        }
    };
    let failed = u64::from(number == 8) * 9;
    Cell {
        number,
        label: format!("codec {codec}, chunk {chunk}ms"),
        values: vec![codec.to_owned(), format!("{chunk}ms")],
        runs: (1..=3).map(run).collect(),
        speech: Speech {
            packetisation_mean_us: wait as f64,
            packetisation_worst_us: chunk * 1_000 + lookahead,
            lost_per_cut_us: chunk * 1_000 + lookahead,
            quality: Some(quality),
            encode_us_per_s: Some(encode),
            decode_us_per_s: Some(encode / 4.0),
        },
        measured: Some(Measured {
            turns: 180,
            failed,
            failures: (failed > 0).then(|| ("timeout".to_owned(), failed)).into_iter().collect(),
            ttfa_mean_us: Some(ttfa as f64),
            ttfa_p50_us: Some(ttfa),
            ttfa_p95_us: Some(ttfa + chunk * 450),
            change: (number != 5).then_some(Change {
                median_us: delta,
                least_us: delta - 1_200,
                most_us: delta + 900,
                pairs: if number == 7 { 2 } else { 3 },
            }),
            mb_per_hour: (up.bytes_per_s + down.bytes_per_s) * 1_800.0 / 1e6,
            up,
            down,
            stalled_share: Some(if chunk == 240 { 0.02 } else { 0.0 }),
            harness_cpu_us_per_message: 9.5,
            harness_cpu_share: 0.03,
            server_cpu_per_device: Some(if opus { 0.004 } else { 0.002 }),
            failed_thresholds: 0,
        }),
        // One is known from below.
        capacity: opus.then(|| CellCapacity {
            unit: LoadUnit::Devices,
            load: (number != 2).then_some(250.0 + 40.0 * f64::from(number)),
            low: (number != 2).then_some(235.0 + 40.0 * f64::from(number)),
            high: (number != 2).then_some(266.0 + 40.0 * f64::from(number)),
            at_least: Some(240.0 + 40.0 * f64::from(number)),
            less_than: (number != 2).then_some(270.0 + 40.0 * f64::from(number)),
            certain: number != 3,
            sentence: "one server carries so many".to_owned(),
            dir: format!("capacity/c{number:02}"),
        }),
    }
}
