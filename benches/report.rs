//! How long the report of 100,000 turns takes: rows and intervals streamed, then everything that is made at the end.
//!
//! ```text
//! cargo bench --bench report
//! ```

use std::time::{Instant, SystemTime};

use voxload::report::sample::{self, Kind};
use voxload::report::{Format, HlogWriter, IntervalsCsv, TurnsCsv, write_formats};
use voxload::time::Micros;

/// Turns of the report.
const TURNS: u32 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = sample::make(Kind::Failing, 7, TURNS);
    let dir = tempfile::tempdir()?;
    let formats = <Format as clap::ValueEnum>::value_variants().iter().copied().collect();

    let begun = Instant::now();
    let mut turns = TurnsCsv::create(dir.path())?;
    for row in &sample.turns {
        turns.write(row)?;
    }
    turns.finish()?;
    let rows = begun.elapsed();
    let mut intervals = IntervalsCsv::create(dir.path())?;
    let mut log = HlogWriter::create(dir.path(), SystemTime::now())?;
    for (point, samples) in sample.result.intervals.iter().zip(&sample.intervals) {
        intervals.write(point)?;
        for (metric, distribution) in samples {
            if let Some(h) = distribution.positive() {
                log.write(metric.name(), Micros(point.start_us), Micros(point.width_us), &h)?;
            }
        }
        intervals.flush()?;
        log.flush()?;
    }
    intervals.finish()?;
    log.finish()?;
    let streamed = begun.elapsed();
    let written = write_formats(&sample.result, dir.path(), &formats);
    let all = begun.elapsed();
    assert!(written.problems.is_empty(), "{:?}", written.problems);

    println!("{TURNS} turns, {} intervals, {} files", sample.intervals.len(), written.files.len() + 3);
    println!("  turns.csv streamed          {:8.3} s", rows.as_secs_f64());
    println!("  intervals.csv, .hlog        {:8.3} s", (streamed - rows).as_secs_f64());
    println!("  everything else             {:8.3} s", (all - streamed).as_secs_f64());
    println!("  in all                      {:8.3} s", all.as_secs_f64());
    Ok(())
}
