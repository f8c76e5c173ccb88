//! Writes a made-up report folder, through the same writers as a run: to look at the pages, and to try scripts on.
//!
//! ```text
//! cargo run --example sample_report -- DIR [good|failing|invalid|empty] [TURNS]
//! ```

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use voxload::report::sample::{self, Kind};
use voxload::report::terminal::{Style, summary};
use voxload::report::{Format, HlogWriter, IntervalsCsv, TurnsCsv, create_dir, write_formats};
use voxload::time::Micros;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: sample_report DIR [good|failing|invalid|empty] [TURNS]";
    let dir = PathBuf::from(args.next().ok_or(usage)?);
    let kind = match args.next().as_deref() {
        None | Some("good") => Kind::Good,
        Some("failing") => Kind::Failing,
        Some("invalid") => Kind::Invalid,
        Some("empty") => Kind::Empty,
        Some(_) => return Err(usage.to_owned()),
    };
    let turns = args.next().map_or(Ok(4_000), |n| n.parse().map_err(|_| usage))?;

    // 2026-01-31T12:00:00Z, as in the sample.
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
    let dir = create_dir(Some(&dir), &dir, "sample", started)?;
    let sample = sample::make(kind, 7, turns);
    let mut csv = TurnsCsv::create(&dir)?;
    for row in &sample.turns {
        csv.write(row)?;
    }
    csv.finish()?;
    let mut csv = IntervalsCsv::create(&dir)?;
    let mut log = HlogWriter::create(&dir, started)?;
    for (point, samples) in sample.result.intervals.iter().zip(&sample.intervals) {
        csv.write(point)?;
        for (metric, distribution) in samples {
            if let Some(h) = distribution.positive() {
                log.write(metric.name(), Micros(point.start_us), Micros(point.width_us), &h)?;
            }
        }
    }
    csv.finish()?;
    log.finish()?;
    let formats = <Format as clap::ValueEnum>::value_variants().iter().copied().collect();
    let written = write_formats(&sample.result, &dir, &formats);
    print!("{}", summary(&sample.result, &written.files, Style::plain()));
    if written.problems.is_empty() { Ok(()) } else { Err(written.problems.join("\n")) }
}
