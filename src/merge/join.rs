//! Joins processes as a run joins its threads, and makes the result of the whole.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use super::check::{Process, Shards};
use super::combine;
use super::record::End;
use crate::drive::heard;
use crate::drive::outcome::{self, Names};
use crate::drive::run::Sinks;
use crate::gate::{Rule, judge_all};
use crate::measure::findings::ListenDrops;
use crate::measure::{Distribution, Interval, Metric, Totals, findings, probe, validity};
use crate::report::result::{LinkRow, RunResult, SCHEMA_VERSION};
use crate::report::{CsvRow as _, HlogWriter, IntervalsCsv, StageTotals, TurnsCsv, write_links};
use crate::scenario::{Part, ReportPlan, ValidityLimits};
use crate::time::Micros;
use crate::transport::source::Sources;

/// What came of a merge.
pub struct Merged {
    /// The document.
    pub result: RunResult,
    /// Which reports to write.
    pub report: ReportPlan,
    /// What all times count from.
    pub started: SystemTime,
    /// What could not be written.
    pub problems: Vec<String>,
}

/// What intervals add up to.
pub(super) struct Sums {
    pub(super) totals: Totals,
    pub(super) stages: StageTotals,
    ends: Vec<End>,
}

/// Merges into `dir`: the streamed files are written, the rest is in the result. `command`: what is being done, for the
/// report.
pub fn join(mut shards: Shards, dir: &Path, command: String) -> Result<Merged, String> {
    let Some(first) = shards.processes.first() else { return Err("there is nothing to merge".to_owned()) };
    let (head, base) = (first.head.clone(), first.result.clone());
    let started = head.start.to_system();
    let fixtures: Vec<String> = base.fixtures.iter().map(|f| f.id.clone()).collect();
    let log = head.report.histograms.then(|| HlogWriter::create(dir, started)).transpose()?;
    let mut sinks = Sinks {
        turns: TurnsCsv::create(dir)?,
        intervals: IntervalsCsv::create(dir)?,
        histograms: log,
        record: None,
        fixtures: fixtures.clone(),
        problems: Vec::new(),
    };
    let Sums { totals, stages, ends } = add_up(&mut shards, &mut sinks)?;
    let mut problems = std::mem::take(&mut sinks.problems);
    problems.extend(links(&shards, &totals, dir).err());

    let from = sources(&shards);
    let source = |device| address(&from, device);
    let names = Names { fixtures: &fixtures, groups: &head.groups, source: &source };
    let generator = combine::generator(&shards, &totals, head.most);
    let evidence = validity::Evidence {
        totals: &totals,
        generator: &generator,
        probe: probes(&ends).map(|p| probe::compare(&p, totals.all.metric(Metric::Ttfa))),
        lost_shards: ends.iter().map(|e| e.lost_shards).sum(),
    };
    let together = validity::judge(evidence, &head.limits, &ValidityLimits::defaults());
    // Of one process all can be said that its own report says.
    let alone = shards.processes.len() == 1 && shards.of() == 1;
    let mut result = RunResult {
        schema_version: SCHEMA_VERSION,
        validity: combine::validity(together, &shards),
        notes: findings::findings(&totals, listen(&ends)),
        voxload_version: base.voxload_version,
        name: base.name,
        seed: base.seed,
        started_at: crate::report::rfc3339(started),
        duration_us: shards.processes.iter().map(|p| p.result.duration_us).max().unwrap_or(0),
        warmup_us: base.warmup_us,
        target: base.target,
        generator,
        phases: combine::phases(&shards),
        fixtures: base.fixtures,
        audio: base.audio,
        host: combine::host(&shards),
        scenario: base.scenario,
        command,
        agreement: base.agreement.filter(|_| alone),
        calibration: base.calibration.filter(|_| alone),
        processes: combine::processes(&shards),
        gate: base.gate,
        dialect: combine::dialect(&shards),
        ..outcome::measured(&totals, &stages, &names)
    };
    result.notes.extend(result.dialect.as_ref().map(heard::notes).into_iter().flatten());
    result.thresholds = judge_all(
        &head.thresholds,
        &result,
        Rule { undecided_passes: head.undecided_passes, ..Rule::default() },
    );
    result.verdict = outcome::verdict(&result, false);
    Ok(Merged { result, report: head.report, started, problems })
}

/// Interval by interval: of each process one is in memory.
pub(super) fn add_up(shards: &mut Shards, sinks: &mut Sinks) -> Result<Sums, String> {
    let Some(head) = shards.processes.first().map(|p| p.head.clone()) else {
        return Err("there is nothing to merge".to_owned());
    };
    let from = sources(shards);
    let source = |device| address(&from, device);
    let mut totals = Totals::new(head.interval).looking_for_storms(head.warmup, head.storms);
    let mut stages = StageTotals::default();
    let mut ends: Vec<Option<End>> = shards.processes.iter().map(|_| None).collect();
    let mut start = Micros::ZERO;
    loop {
        let mut parts = Vec::new();
        for (process, end) in shards.processes.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
            match process.reader.interval()? {
                Ok(interval) => parts.push(*interval),
                Err(over) => *end = Some(*over),
            }
        }
        if parts.is_empty() {
            break;
        }
        // Processes share no memory; threads do, and have been told the same number.
        let rss = parts.iter().map(|p| p.counts.rss).sum();
        let mut all = Interval::joined(parts);
        all.counts.rss = rss;
        let row = totals.add(start, head.interval, &all);
        sinks.write(&row, &all, &mut stages, (&source, &head.groups));
        start += head.interval;
    }
    totals.finish();
    sinks.flush();
    Ok(Sums { totals, stages, ends: ends.into_iter().flatten().collect() })
}

fn sources(shards: &Shards) -> Vec<(Part, Sources)> {
    shards.processes.iter().map(|p| (p.head.part, p.sources.clone())).collect()
}

/// The address that a device connected from, by the process that played it.
fn address(from: &[(Part, Sources)], device: u32) -> Option<IpAddr> {
    from.iter().find(|(part, _)| part.has(device)).and_then(|(_, sources)| sources.of(device))
}

/// All probes as one; `None` where there was none.
fn probes(ends: &[End]) -> Option<Distribution> {
    let mut all = None;
    for probe in ends.iter().filter_map(|e| e.probe.as_ref()) {
        all.get_or_insert_with(Distribution::default).merge(probe);
    }
    all
}

/// What listening sockets dropped: processes on the server's machine have all seen the same.
fn listen(ends: &[End]) -> Option<ListenDrops> {
    ends.iter().filter_map(|e| e.listen).max_by_key(|l| (l.overflows, l.drops))
}

/// `links.csv`: each device is in the file of one process, in the order of devices.
fn links(shards: &Shards, totals: &Totals, dir: &Path) -> Result<(), String> {
    let mut files = Vec::new();
    for p in &shards.processes {
        files.push(rows(p)?.peekable());
    }
    let (mut problem, mut count) = (None, 0);
    let merged = std::iter::from_fn(|| {
        let next = files
            .iter_mut()
            .enumerate()
            .filter_map(|(i, rows)| Some((rows.peek()?.as_ref().map_or(0, |r| r.device), i)))
            .min()?;
        match files.get_mut(next.1)?.next()? {
            Ok(row) => {
                count += 1;
                Some(row)
            }
            Err(e) => {
                problem = Some(e);
                None
            }
        }
    });
    write_links(dir, merged)?;
    if let Some(e) = problem {
        return Err(e);
    }
    let expected = totals.links.rows(|_| String::new()).count();
    if count < expected {
        return Err(format!(
            "links.csv has {count} devices of {expected}: the file of a process is missing or not whole"
        ));
    }
    Ok(())
}

/// The rows of one process; none where no device had a link.
fn rows(p: &Process) -> Result<impl Iterator<Item = Result<LinkRow, String>> + use<>, String> {
    let path = p.dir.join(LinkRow::FILE);
    let file = match File::open(&path) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
    };
    let rows = file.into_iter().flat_map(|file| csv::Reader::from_reader(file).into_deserialize());
    Ok(rows.map(move |row| row.map_err(|e| format!("{}: {e}", path.display()))))
}
