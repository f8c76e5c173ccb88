//! The record of one process: a head, its intervals, an end, each a line of JSON, compressed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::Start;
use crate::measure::findings::ListenDrops;
use crate::measure::{Distribution, Interval};
use crate::report::Guarded;
use crate::scenario::{Part, ReportPlan, Scenario, Undecided, ValidityLimits};
use crate::time::Micros;
use crate::transport::source::Sources;

/// The file in the folder of a process.
pub const FILE: &str = "shard.jsonl.gz";

/// Raised when a line changes its meaning. Only the voxload that wrote a record merges it.
const FORMAT: u32 = 1;

/// Numbers before a point have no more digits: a run that counts microseconds or bytes does not come to 10^16. What is
/// read can be added up without an overflow, therefore.
const DIGITS: usize = 16;

/// A line. Heads and ends are few, and intervals are large: they are boxed.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Head(Box<Head>),
    Interval(Box<Interval>),
    End(Box<End>),
}

/// The same for writing: nothing is copied for it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineRef<'a> {
    Head(&'a Head),
    Interval(&'a Interval),
    End(&'a End),
}

/// What is known before the run, and is not in its `result.json` in a form that numbers can be made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    format: u32,
    /// The part of the fleet.
    pub part: Part,
    /// What all times count from.
    pub start: Start,
    /// Width of an interval.
    pub interval: Micros,
    /// Part of the run that is not counted.
    pub warmup: Micros,
    /// Most devices at once, in all processes.
    pub most: u32,
    /// The groups of devices.
    pub groups: Vec<String>,
    /// True: the run has faults or groups, so that storms are looked out for from the start.
    pub storms: bool,
    /// What must hold.
    pub thresholds: Vec<String>,
    /// Those that are undecided count as held.
    pub undecided_passes: bool,
    /// When a run is invalid.
    pub limits: ValidityLimits,
    /// Which reports are written.
    pub report: ReportPlan,
    /// The addresses that devices connect from; empty: the kernel chose.
    pub sources: String,
}

impl Head {
    /// Of a process that is about to play its part. `groups` are the names of the groups of devices.
    pub fn of(scenario: &Scenario, groups: &[String], sources: &Sources, start: Start) -> Self {
        Self {
            format: FORMAT,
            part: scenario.part,
            start,
            interval: scenario.report.interval,
            warmup: scenario.fleet.warmup,
            most: scenario.fleet.most(),
            groups: groups.to_vec(),
            storms: !groups.is_empty() || !scenario.faults.is_empty(),
            thresholds: scenario.thresholds.clone(),
            undecided_passes: scenario.gate.undecided == Undecided::Pass,
            limits: scenario.validity,
            report: scenario.report.clone(),
            sources: sources.text(),
        }
    }

    /// Without what may differ between the processes of one run.
    pub fn of_run(&self) -> Self {
        let interval = self.interval;
        let report = ReportPlan {
            dir: None,
            html: true,
            png: true,
            histograms: true,
            junit: true,
            interval,
            prometheus: None,
        };
        Self { part: Part::WHOLE, report, sources: String::new(), ..self.clone() }
    }

    /// Where its devices connected from.
    pub fn sources(&self) -> Result<Sources, String> {
        let mut sources = Sources::default();
        let items = self.sources.split(',').map(str::trim).filter(|item| !item.is_empty());
        for item in items {
            sources.add(item)?;
        }
        Ok(sources.of_part(self.part))
    }
}

/// What is known after the run, and in no other file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct End {
    /// TTFA of the probe, where there was one.
    pub probe: Option<Distribution>,
    /// What listening sockets of the machine dropped, when the server was on it.
    pub listen: Option<ListenDrops>,
    /// Threads that could not start, or failed.
    pub lost_shards: u32,
    /// How many intervals stand before it.
    pub intervals: u64,
}

/// Writes the record while the run lasts.
pub struct Record {
    file: Guarded<GzEncoder<File>>,
    intervals: u64,
}

impl Record {
    /// Creates it in `dir`.
    pub fn create(dir: &Path, head: &Head) -> Result<Self, String> {
        let file = Guarded::create(dir, FILE, "intervals", |file| GzEncoder::new(file, Compression::fast()))?;
        let mut me = Self { file, intervals: 0 };
        me.line(0, &LineRef::Head(head))?;
        Ok(me)
    }

    /// Appends an interval. An error is returned once; later ones are dropped without one.
    pub fn interval(&mut self, interval: &Interval) -> Result<(), String> {
        self.intervals += 1;
        self.line(1, &LineRef::Interval(interval))
    }

    /// How many there were.
    pub const fn intervals(&self) -> u64 {
        self.intervals
    }

    /// The run is over.
    pub fn finish(mut self, end: &End) -> Result<(), String> {
        self.line(0, &LineRef::End(end))?;
        self.file.flush(|file| file.try_finish().and_then(|()| file.get_mut().sync_all()))
    }

    fn line(&mut self, entries: u64, line: &LineRef<'_>) -> Result<(), String> {
        self.file.write(entries, |file| {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            file.write_all(&text)
        })
    }
}

/// Reads a record, an interval at a time.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<MultiGzDecoder<BufReader<File>>>,
    number: u64,
}

impl Reader {
    /// Opens the record in `dir`, and reads its head.
    pub fn open(dir: &Path) -> Result<(Self, Head), String> {
        let path = dir.join(FILE);
        let file = File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => format!(
                "{}: there is no {FILE}, so it is not the folder of a process that was started with --shard i/n",
                dir.display()
            ),
            _ => format!("cannot read {}: {e}", path.display()),
        })?;
        let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
        let mut me = Self { path, lines, number: 0 };
        match me.next()? {
            Some(Line::Head(head)) if head.format == FORMAT => Ok((me, *head)),
            Some(Line::Head(head)) => Err(me
                .damaged(&format!("its layout is version {}, and this voxload reads {FORMAT}", head.format))),
            _ => Err(me.damaged("it does not begin with a head")),
        }
    }

    /// Goes through the record without understanding it: whether it can be decompressed, and comes to an end. What is
    /// merged is read twice, so that nothing is written from something that is not whole.
    pub fn verify(dir: &Path) -> Result<(), String> {
        let (mut me, _) = Self::open(dir)?;
        let (mut text, mut ended) = (Vec::new(), false);
        while me.line(&mut text)? {
            ended = text.starts_with(b"{\"end\"");
        }
        if ended { Ok(()) } else { Err(me.cut_short()) }
    }

    /// The next interval, or what comes after the last.
    pub fn interval(&mut self) -> Result<Result<Box<Interval>, Box<End>>, String> {
        match self.next()? {
            Some(Line::Interval(interval)) => Ok(Ok(interval)),
            Some(Line::End(end)) => Ok(Err(end)),
            Some(Line::Head(_)) => Err(self.damaged("a second head")),
            None => Err(self.cut_short()),
        }
    }

    fn cut_short(&self) -> String {
        self.damaged(
            "it ends in the middle: the process was killed, or its disk was full. Leave it out, and merge with --partial",
        )
    }

    fn next(&mut self) -> Result<Option<Line>, String> {
        let mut text = Vec::new();
        if !self.line(&mut text)? {
            return Ok(None);
        }
        if has_huge_number(&text) {
            return Err(
                self.damaged(&format!("a number of more than {DIGITS} digits, which no run comes to"))
            );
        }
        serde_json::from_slice(&text).map(Some).map_err(|e| self.damaged(&e.to_string()))
    }

    /// The next line; false at the end of the file.
    fn line(&mut self, text: &mut Vec<u8>) -> Result<bool, String> {
        text.clear();
        self.number += 1;
        match self.lines.read_until(b'\n', text) {
            // Half a line, or half a block, is the end of a process that was killed.
            Ok(_) => Ok(text.last() == Some(&b'\n')),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(self.damaged(&e.to_string())),
        }
    }

    fn damaged(&self, why: &str) -> String {
        format!("{}, line {}: {why}", self.path.display(), self.number)
    }
}

/// Whether a number in a JSON text has too many digits before its point.
fn has_huge_number(json: &[u8]) -> bool {
    let (mut in_text, mut escaped, mut fraction, mut digits) = (false, false, false, 0);
    for &b in json {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'0'..=b'9' if !fraction => {
                digits += 1;
                if digits > DIGITS {
                    return true;
                }
            }
            b'0'..=b'9' => {}
            b'.' => fraction = true,
            _ => (fraction, digits) = (false, 0),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_run_comes_to_are_damage() {
        for good in [
            "[9999999999999999, 1]",
            "0.12345678901234567890",
            "\"12345678901234567890\"",
            r#""\"12345678901234567890""#,
            "-1.5e3",
        ] {
            assert!(!has_huge_number(good.as_bytes()), "{good}");
        }
        for bad in ["[10000000000000000]", "{\"a\":-9223372036854775808}", "[0.5,12345678901234567.5]"] {
            assert!(has_huge_number(bad.as_bytes()), "{bad}");
        }
    }
}
