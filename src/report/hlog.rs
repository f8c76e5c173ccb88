//! `histograms.hlog`: an HdrHistogram interval log, read by the HdrHistogram tools of every language.
//!
//! One line an interval and metric, the metric as its tag:
//!
//! ```text
//! Tag=ttfa,12.000,1.000,271.359,HISTFAAAAB…       start s, width s, largest ms, V2 histogram (µs), deflated, base64
//! ```
//!
//! Only finite samples that are not negative fit into a histogram: `result.json` counts the others.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::stream::{BUFFER, Guarded};
use crate::time::Micros;

/// Samples are in µs; the log's column of largest values is for people, in ms.
const MAX_VALUE_DIVISOR: f64 = 1_000.0;

/// The name of the file.
const FILE: &str = "histograms.hlog";

/// Writes the interval log while a run lasts.
pub struct HlogWriter {
    file: Guarded<BufWriter<File>>,
    serializer: V2DeflateSerializer,
}

impl HlogWriter {
    /// Creates the log in `dir`. `started`: the wall-clock time that the run's clock counts from.
    pub fn create(dir: &Path, started: SystemTime) -> Result<Self, String> {
        let mut me = Self {
            file: Guarded::create(dir, FILE, "histograms", |file| BufWriter::with_capacity(BUFFER, file))?,
            serializer: V2DeflateSerializer::new(),
        };
        me.file.write(0, |file| header(file, started))?;
        me.flush()?;
        Ok(me)
    }

    /// Appends the samples of a metric in an interval; nothing for an empty histogram. An error is returned once;
    /// later histograms are dropped without one.
    pub fn write(
        &mut self,
        metric: &str,
        start: Micros,
        width: Micros,
        histogram: &Histogram<u64>,
    ) -> Result<(), String> {
        if histogram.is_empty() {
            return Ok(());
        }
        let serializer = &mut self.serializer;
        self.file.write(1, |file| {
            // The crate's writer borrows file and serializer for its life and keeps no state between histograms, so
            // each line gets one of its own. It begins with the divisor's comment, which stands in the header already.
            let mut lines = Vec::new();
            IntervalLogWriterBuilder::new()
                .with_max_value_divisor(MAX_VALUE_DIVISOR)
                .begin_log_with(&mut lines, serializer)
                .map_err(|e| e.to_string())?
                .write_histogram(histogram, start.to_std(), width.to_std(), Tag::new(metric))
                .map_err(|e| e.to_string())?;
            let line = lines.split_inclusive(|&b| b == b'\n').next_back();
            file.write_all(line.unwrap_or_default()).map_err(|e| e.to_string())
        })
    }

    /// Hands what is buffered to the operating system: after each interval.
    pub fn flush(&mut self) -> Result<(), String> {
        self.file.flush(BufWriter::flush)
    }

    /// The end of the log.
    pub fn finish(mut self) -> Result<(), String> {
        self.flush()
    }
}

/// Both StartTime and BaseTime: readers add the one or the other to the lines' starts, which count from the run's.
fn header(file: &mut impl Write, started: SystemTime) -> io::Result<()> {
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(file, &mut V2DeflateSerializer::new())?;
    writeln!(
        file,
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn the_log_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        let mut log = HlogWriter::create(dir.path(), started).unwrap();
        let mut h = Histogram::<u64>::new(3).unwrap();
        log.write("empty", Micros(0), Micros::from_secs(1), &h).unwrap();
        h.record(271_000).unwrap();
        for second in 0..2 {
            for metric in ["ttfa", "stall_ratio@60ms"] {
                log.write(metric, Micros::from_secs(second), Micros::from_secs(1), &h).unwrap();
            }
        }
        log.finish().unwrap();

        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let head: Vec<_> = text.lines().take(5).collect();
        assert_eq!(
            head,
            [
                "#[Histogram log format version 1.3]",
                "#[StartTime: 1769860800.000 (seconds since epoch)]",
                "#[BaseTime: 1769860800.000 (seconds since epoch)]",
                "#[MaxValueDivisor: 1000.000]",
                "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
            ]
        );
        assert_eq!(text.matches('#').count(), 4);

        // The crate's own reader takes the legend for an interval; the readers of other languages skip it.
        let body: String = text.lines().skip(5).map(|l| format!("{l}\n")).collect();
        let mut seen = Vec::new();
        for entry in IntervalLogIterator::new(body.as_bytes()) {
            let LogEntry::Interval(line) = entry.unwrap() else { panic!() };
            let bytes = BASE64.decode(line.encoded_histogram()).unwrap();
            let back: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            assert_eq!(back, h);
            assert!((line.max() - 271.0).abs() < 0.3, "{}", line.max());
            seen.push((line.tag().unwrap().as_str().to_owned(), line.start_timestamp().as_secs()));
        }
        let tag = |t: &str, s| (t.to_owned(), s);
        assert_eq!(
            seen,
            [tag("ttfa", 0), tag("stall_ratio@60ms", 0), tag("ttfa", 1), tag("stall_ratio@60ms", 1)]
        );
    }
}
