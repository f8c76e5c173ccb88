//! What the report of a million turns costs: time, peak memory, and the size of its page.
//!
//! ```text
//! cargo bench --bench report
//! ```
//!
//! Each part runs in a process of its own, whose peak is the part's: rows streamed to `turns.csv` one by one, as during a
//! run (here they come from another CSV file, whose reading is part of the time), and everything that is made from
//! `result.json`, as by `voxload report`. Ends with an error when it is over the limits.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use voxload::report::result::TurnRow;
use voxload::report::sample::{self, Kind, Sample};
use voxload::report::{Format, HlogWriter, IntervalsCsv, TurnsCsv, json, write_formats};
use voxload::time::Micros;

/// Turns of the report.
const TURNS: u32 = 1_000_000;

/// What it may cost.
const MOST_TIME: Duration = Duration::from_secs(10);
const MOST_MEMORY: u64 = 500 << 20;
const MOST_PAGE: u64 = 2_000_000;

/// Set in a process that is one of the parts: `stream` or `render`.
const PART: &str = "VOXLOAD_BENCH_REPORT_PART";
const DIR: &str = "VOXLOAD_BENCH_REPORT_DIR";

fn main() -> Result<(), Box<dyn Error>> {
    if let (Ok(part), Some(dir)) = (env::var(PART), env::var_os(DIR)) {
        let dir = PathBuf::from(dir);
        let begun = Instant::now();
        match part.as_str() {
            "stream" => stream(&dir)?,
            _ => render(&dir)?,
        }
        println!("{} {}", begun.elapsed().as_micros(), peak()?);
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    prepare(&sample::make(Kind::Failing, 7, TURNS), dir.path())?;
    let stream = part("stream", dir.path())?;
    let render = part("render", dir.path())?;
    let page = fs::metadata(dir.path().join("report.html"))?.len();
    let (time, memory) = (stream.0 + render.0, stream.1.max(render.1));
    println!("report of {TURNS} turns");
    for (what, (time, memory)) in [("rows, streamed and read", stream), ("everything else", render)] {
        println!("  {what:<24} {:7.2} s {:7} MiB", time.as_secs_f64(), memory >> 20);
    }
    println!(
        "  in all                   {:7.2} s {:7} MiB (at most {MOST_TIME:?}, {} MiB)",
        time.as_secs_f64(),
        memory >> 20,
        MOST_MEMORY >> 20
    );
    println!("  report.html              {page:7} bytes (at most {MOST_PAGE})");
    if time > MOST_TIME || memory > MOST_MEMORY || page > MOST_PAGE {
        return Err("over the limits".into());
    }
    Ok(())
}

/// What the parts begin with.
fn prepare(sample: &Sample, dir: &Path) -> Result<(), Box<dyn Error>> {
    let document = write_formats(&sample.result, dir, &BTreeSet::from([Format::Json]));
    assert!(document.problems.is_empty(), "{:?}", document.problems);
    let mut turns = TurnsCsv::create(dir)?;
    for row in &sample.turns {
        turns.write(row)?;
    }
    turns.finish()?;
    let mut intervals = IntervalsCsv::create(dir)?;
    let mut log = HlogWriter::create(dir, SystemTime::now())?;
    for (point, samples) in sample.result.intervals.iter().zip(&sample.intervals) {
        intervals.write(point)?;
        for (metric, distribution) in samples {
            if let Some(h) = distribution.positive() {
                log.write(metric.name(), Micros(point.start_us), Micros(point.width_us), &h)?;
            }
        }
    }
    intervals.finish()?;
    Ok(log.finish()?)
}

fn part(name: &str, dir: &Path) -> Result<(Duration, u64), Box<dyn Error>> {
    let out = Command::new(env::current_exe()?).env(PART, name).env(DIR, dir).output()?;
    let said = String::from_utf8(out.stdout)?;
    let mut numbers = said.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(us)), Some(Ok(bytes))) if out.status.success() => Ok((Duration::from_micros(us), bytes)),
        _ => Err(format!("{name}: {said}{}", String::from_utf8_lossy(&out.stderr)).into()),
    }
}

fn stream(dir: &Path) -> Result<(), Box<dyn Error>> {
    let to = tempfile::tempdir()?;
    let mut written = TurnsCsv::create(to.path())?;
    let mut rows = 0;
    for row in csv::Reader::from_path(dir.join("turns.csv"))?.deserialize::<TurnRow>() {
        written.write(&row?)?;
        rows += 1;
    }
    written.finish()?;
    assert_eq!(rows, TURNS);
    Ok(())
}

fn render(dir: &Path) -> Result<(), Box<dyn Error>> {
    let (result, _) = json::read(dir)?;
    let formats: BTreeSet<_> = <Format as clap::ValueEnum>::value_variants().iter().copied().collect();
    let written = write_formats(&result, dir, &formats);
    if written.problems.is_empty() { Ok(()) } else { Err(written.problems.join("\n").into()) }
}

/// Most resident memory of this process, bytes.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().next().ok_or("VmHWM is empty")?.parse::<u64>()? << 10)
}
