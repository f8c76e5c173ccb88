//! Whether some folders are the parts of one run: all of them, each once, of the same plan.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::record::{FILE, Head, Reader};
use crate::compare::fingerprint;
use crate::report::result::{FixtureInfo, Status};
use crate::report::{RunResult, json};
use crate::scenario::Part;
use crate::transport::source::Sources;

/// Differences that are named; more are counted.
const NAMED: usize = 8;

/// One process: its report, and its record, of which the head has been read.
pub struct Process {
    /// Its folder.
    pub dir: PathBuf,
    /// Its own result.
    pub result: RunResult,
    /// What its record begins with.
    pub head: Head,
    /// The rest of the record.
    pub reader: Reader,
    /// Where its devices connected from.
    pub sources: Sources,
}

impl Process {
    fn open(dir: &Path) -> Result<Self, String> {
        let result = read(dir)?;
        Reader::verify(dir)?;
        let (reader, head) = Reader::open(dir)?;
        let sources = head.sources().map_err(|e| format!("{}: {e}", dir.join(FILE).display()))?;
        Ok(Self { dir: dir.to_owned(), result, head, reader, sources })
    }

    /// True when it played its part to the end.
    pub fn is_complete(&self) -> bool {
        self.result.verdict.status != Status::Interrupted
    }

    /// As messages name it.
    pub fn name(&self) -> String {
        format!("shard {} ({})", self.head.part, self.dir.display())
    }
}

fn read(dir: &Path) -> Result<RunResult, String> {
    if !dir.is_dir() {
        return Err(format!("{} is no folder; expected the report folder of a process", dir.display()));
    }
    let (result, file) = json::read(dir).map_err(|e| {
        // A run that has not come to its end has a record already.
        let died = dir.join(FILE).is_file() && !dir.join(json::FILE).is_file();
        if died {
            format!("{e}\n  the process still runs, or died: leave it out, and merge with --partial")
        } else {
            e
        }
    })?;
    if !result.processes.is_empty() {
        return Err(format!(
            "{} is a merged result already; merge the folders of the processes themselves",
            file.display()
        ));
    }
    let here = env!("CARGO_PKG_VERSION");
    if result.voxload_version != here {
        return Err(format!(
            "{} was written by voxload {}, and this is {here}: merge with the voxload that measured",
            file.display(),
            result.voxload_version
        ));
    }
    Ok(result)
}

/// The parts of one run.
pub struct Shards {
    /// Those that are there, by their number.
    pub processes: Vec<Process>,
    /// Those that are not.
    pub missing: Vec<Part>,
}

impl Shards {
    /// How many there should be.
    pub fn of(&self) -> u32 {
        self.processes.first().map_or(0, |p| p.head.part.of())
    }

    /// The scenario's name.
    pub fn name(&self) -> &str {
        self.processes.first().map_or("", |p| p.result.name.as_str())
    }

    /// Those that played their part to the end.
    pub fn complete(&self) -> u32 {
        self.processes.iter().filter(|p| p.is_complete()).count() as u32
    }
}

/// Opens the folders. Without `partial`, every part must be there and complete.
pub fn open(dirs: &[PathBuf], partial: bool) -> Result<Shards, String> {
    let mut processes = dirs.iter().map(|dir| Process::open(dir)).collect::<Result<Vec<_>, _>>()?;
    processes.sort_by_key(|p| p.head.part);
    let Some(first) = processes.first() else { return Err("there is nothing to merge".to_owned()) };
    for other in &processes {
        same_run(first, other)?;
    }
    if let Some([a, b]) = processes.windows(2).find(|w| w[0].head.part == w[1].head.part) {
        return Err(format!(
            "{} and {} are the same part of the fleet, {}; each part is merged once",
            a.dir.display(),
            b.dir.display(),
            a.head.part
        ));
    }
    let missing: Vec<Part> =
        first.head.part.all().filter(|part| processes.iter().all(|p| p.head.part != *part)).collect();
    if !partial {
        whole(&processes, &missing)?;
    }
    Ok(Shards { processes, missing })
}

/// Every part, from its beginning to its end.
fn whole(processes: &[Process], missing: &[Part]) -> Result<(), String> {
    let despite = "merge what there is with --partial; the result is INVALID then, because load was missing";
    if !missing.is_empty() {
        let parts: Vec<_> = missing.iter().map(Part::to_string).collect();
        return Err(format!("missing: shard {}\n  give its folder too, or {despite}", parts.join(", ")));
    }
    match processes.iter().find(|p| !p.is_complete()) {
        Some(p) => {
            Err(format!("{} was interrupted, and its devices left\n  run again, or {despite}", p.name()))
        }
        None => Ok(()),
    }
}

/// Both played the same plan, against the same server, from the same instant, by the same program.
fn same_run(a: &Process, b: &Process) -> Result<(), String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, a: &str, b: &str| {
        if a != b {
            differences.push(format!("{what}: {a} against {b}"));
        }
    };
    differ("number of shards", &a.head.part.of().to_string(), &b.head.part.of().to_string());
    differ("--start-at", &a.head.start.to_string(), &b.head.start.to_string());
    differ("seed", &a.result.seed.to_string(), &b.result.seed.to_string());
    differ("target", &a.result.target.url, &b.result.target.url);
    differ("report.interval", &a.head.interval.to_string(), &b.head.interval.to_string());
    let fixtures = |p: &Process| {
        let name = |f: &FixtureInfo| format!("{} {}", f.id, f.sha256);
        p.result.fixtures.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    differ("fixtures", &fixtures(a), &fixtures(b));
    let (mut x, mut y) =
        (fingerprint::of_scenario(&a.result.scenario), fingerprint::of_scenario(&b.result.scenario));
    let keys: BTreeSet<String> = x.keys().chain(y.keys()).cloned().collect();
    // Every machine has addresses of its own.
    for key in keys.iter().filter(|key| *key != "target.source_ips") {
        let value = |of: Option<String>| of.unwrap_or_else(|| "not set".to_owned());
        differ(key, &value(x.remove(key)), &value(y.remove(key)));
    }
    // What the numbers are made with follows from all that, and is held to it.
    if differences.is_empty() && a.head.of_run() != b.head.of_run() {
        differences.push(format!("the heads of their {FILE}"));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(NAMED);
    differences.truncate(NAMED);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(format!(
        "{} and {} are not of the same run; they differ in\n  {}\n  \
         give every process the same scenario, options, --seed and --start-at; only i in --shard i/n differs",
        a.name(),
        b.name(),
        differences.join("\n  ")
    ))
}
