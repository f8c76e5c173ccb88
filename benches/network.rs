//! What the imitated network costs, and what it adds of its own.
//!
//! ```text
//! cargo bench --bench network                  # cost at 2,000 devices, then delays of 40: about 5 minutes
//! cargo bench --bench network -- cost 500 5    # 500 devices, 5 s each
//! cargo bench --bench network -- delay
//! ```
//!
//! Cost: CPU per message sent and memory per device, without a link, through a link that does nothing (what a scenario with
//! faults has), and through `wifi-congested`; rounds are interleaved, and medians compared.
//!
//! Delay: 40 devices talk through a link of exactly 40 ms each way. The server logs when it read each message; what is
//! beyond plan + 40 ms is the link's own doing, and the machine's. The same without a link says how much the machine's is.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use voxload::prove::stats::Sizes;
use voxload::reference::truth::{self, CHUNKS, ChunkRow};
use voxload::report::result::TurnRow;

mod lab;

use lab::{Load, Ours, Outcome, Server, generator};

/// Rounds of each kind of link.
const ROUNDS: usize = 3;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |n: usize, default: u64| args.get(n).map_or(Ok(default), |s| s.parse());
    match args.first().map(String::as_str) {
        None => cost(2_000, 8).and_then(|()| delay()),
        Some("cost") => cost(u32::try_from(number(1, 2_000)?)?, number(2, 8)?),
        Some("delay") => delay(),
        Some(other) => Err(format!("`{other}`: expected cost or delay").into()),
    }
}

/// Kinds of link, as arguments of a run. A fault that would come long after the end makes a link necessary.
const LINKS: [(&str, &[&str]); 3] = [
    ("without a link", &[]),
    ("a link that does nothing", &["--set", r#"faults=["reset at=23h share=1%"]"#]),
    ("wifi-congested", &["--set", "link.preset=wifi-congested"]),
];

fn cost(devices: u32, seconds: u64) -> Outcome<()> {
    for load in [Load::Talk, Load::Converse] {
        println!("{} with {devices} devices, {ROUNDS} rounds of {seconds} s", load.name());
        let mut runs: [Vec<Ours>; LINKS.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (runs, (_, more)) in runs.iter_mut().zip(LINKS) {
                runs.push(generator(load, &Server::start()?, devices, seconds, more)?);
            }
        }
        let of = |n: usize, get: fn(&Ours) -> f64| median(runs[n].iter().map(get).collect());
        for (n, (name, _)) in LINKS.iter().enumerate() {
            let (cpu, kib) = (of(n, |r| r.cpu_per_message), of(n, |r| r.kib_per_device));
            println!(
                "  {name:<26} {cpu:>6.2} µs a message, {:.2} × ; {kib:>5.1} KiB a device, {:+.1}; late p99 {:.2} ms",
                cpu / of(0, |r| r.cpu_per_message),
                kib - of(0, |r| r.kib_per_device),
                of(n, |r| r.lateness.1) / 1e3,
            );
            for why in runs[n].iter().filter_map(|r| r.invalid.as_ref()) {
                println!("    INVALID: {why}");
            }
        }
    }
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One way, µs.
const ONE_WAY: i64 = 40_000;

fn delay() -> Outcome<()> {
    println!("40 devices, 20 s: messages read by the server, against the plan");
    let without = arrivals(&[])?;
    let with = arrivals(&["--set", "link.rtt=80ms"])?;
    let beyond: Vec<i64> = with.iter().map(|late| late - ONE_WAY).collect();
    for (what, late) in [("without a link", without), ("80 ms there and back, beyond 40 ms", beyond)] {
        match Sizes::of(late) {
            Some(s) => println!("  {what:<36} {s} ({} messages)", s.count),
            None => println!("  {what:<36} nothing was measured"),
        }
    }
    Ok(())
}

/// How long after the plan each message was read by the server, µs.
fn arrivals(more: &[&str]) -> Outcome<Vec<i64>> {
    let home = tempfile::tempdir()?;
    let dir = home.path().join("report");
    // Whether the run is VALID is no matter here.
    let ran = Command::new(env!("CARGO_BIN_EXE_voxload"))
        .args(["run", "quickstart", "--quiet", "-u", "40", "-d", "20s", "--warmup", "2s", "--report-dir"])
        .arg(&dir)
        .args(["--set", "reference.log_chunks=true", "--set", "report.html=false", "--set", "thresholds=[]"])
        // A codec without look-ahead: a chunk is due when its last sample has been spoken.
        .args(["--set", "audio.fixtures=[\"dragon-story\"]", "--set", "audio.codec=pcm16"])
        .args(more)
        .output()?;
    let chunks = truth::sibling(&dir.join("reference-truth.csv"), CHUNKS);
    if !chunks.exists() {
        return Err(format!("{}: the run said: {}", ran.status, String::from_utf8_lossy(&ran.stderr)).into());
    }
    let turns: Vec<TurnRow> = rows(&dir.join("turns.csv"))?;
    let chunks: Vec<ChunkRow> = rows(&chunks)?;
    let starts: HashMap<(u16, u32), i64> =
        turns.iter().map(|t| ((t.local_port, t.session_turn), t.planned_start_us)).collect();
    let chunk_us = 60_000;
    let whole = |t: &TurnRow| (t.last_send_planned_us - t.planned_start_us) / chunk_us;
    let lengths: HashMap<(u16, u32), i64> =
        turns.iter().map(|t| ((t.local_port, t.session_turn), whole(t))).collect();
    // The last chunk of an utterance is shorter, and goes earlier.
    let late = |c: &ChunkRow| {
        let turn = (c.peer_port, c.session_turn);
        let k = i64::from(c.chunk) + 1;
        let start = starts.get(&turn).filter(|_| lengths.get(&turn).is_some_and(|n| k <= *n))?;
        Some(c.in_us.0 - (start + k * chunk_us))
    };
    Ok(chunks.iter().filter_map(late).collect())
}

fn rows<T: serde::de::DeserializeOwned>(path: &Path) -> Outcome<Vec<T>> {
    Ok(csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>()?)
}
