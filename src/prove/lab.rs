//! Where proofs are made: runs of this same binary, each in a folder of its own, read back from their files.
//!
//! A run is a child process, as a user would start it: its CPU and memory are its own, and what it reports is what is
//! judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal as Kill, kill_process};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Proof, Trouble};
use crate::measure::agreement;
use crate::reference::truth;
use crate::report::json;
use crate::report::result::{RunResult, TurnRow};
use crate::scenario::keys::VARIABLE_PREFIX;
use crate::time::Micros;

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(20);

/// Runs that come out INVALID are made again so often: a neighbour may have been busy for a moment.
const TRIES: u32 = 3;

/// What is said while it goes on: a step, for people.
pub type Progress = Box<dyn FnMut(&str)>;

/// The utterance of every proof: half a second of a tone that ends, to the sample, where a chunk ends.
pub(super) const SPEECH: Micros = Micros::from_millis(480);
/// Its rate.
const RATE: u32 = 16_000;

/// The laboratory.
pub struct Lab {
    dir: PathBuf,
    /// Shorter runs.
    pub(super) quick: bool,
    progress: Progress,
    runtime: Runtime,
    signals: Vec<Signal>,
    interrupted: bool,
    proof: Option<Proof>,
    /// Report folders of the proof under way, and of all.
    runs: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

/// A run to be made: TOML that comes after what all proofs have in common.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) toml: String,
}

impl Order {
    pub(super) fn new(name: impl Into<String>, toml: impl Into<String>) -> Self {
        Self { name: name.into(), toml: toml.into() }
    }
}

/// A run that has been made.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) dir: PathBuf,
    pub(super) result: RunResult,
}

/// A turn as the harness saw it, with what the server did.
pub(super) type Pair = (TurnRow, truth::Row);

impl Ran {
    /// The turns that had audio, with the server's rows; the second number: those that the server's log lacks.
    pub(super) fn pairs(&self) -> Result<(Vec<Pair>, usize), Trouble> {
        let log = truth::read(&self.dir.join("reference-truth.csv")).map_err(Trouble::Broken)?;
        let log = agreement::Log::new(log);
        let (mut pairs, mut unmatched) = (Vec::new(), 0);
        let each = |us: TurnRow| match log.find(&us) {
            _ if us.ttfa_first_byte_us.is_none() => {}
            Some(them) => pairs.push((us, them.clone())),
            None => unmatched += 1,
        };
        agreement::for_each_turn(&self.dir.join("turns.csv"), each).map_err(Trouble::Broken)?;
        Ok((pairs, unmatched))
    }

    /// Every turn.
    pub(super) fn turns(&self) -> Result<Vec<TurnRow>, Trouble> {
        let mut turns = Vec::new();
        agreement::for_each_turn(&self.dir.join("turns.csv"), |t| turns.push(t)).map_err(Trouble::Broken)?;
        Ok(turns)
    }

    /// A file beside the server's log.
    pub(super) fn beside<R: DeserializeOwned>(&self, kind: &str) -> Result<Vec<R>, Trouble> {
        let log = self.dir.join("reference-truth.csv");
        truth::read_rows(&truth::sibling(&log, kind)).map_err(Trouble::Broken)
    }
}

impl Lab {
    /// In this folder, which exists.
    pub fn new(dir: &Path, quick: bool, progress: Progress) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("cannot start: {e}"))?;
        let signals = runtime.block_on(async {
            [SignalKind::interrupt(), SignalKind::terminate()]
                .into_iter()
                .filter_map(|k| signal(k).ok())
                .collect()
        });
        // Children are started in it: relative paths would mean something else there.
        let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
        write_fixture(&dir.join("fixture"))
            .map_err(|e| format!("cannot write into {}: {e}", dir.display()))?;
        fs::create_dir_all(dir.join("runs"))
            .map_err(|e| format!("cannot write into {}: {e}", dir.display()))?;
        Ok(Self {
            dir,
            quick,
            progress,
            runtime,
            signals,
            interrupted: false,
            proof: None,
            runs: Vec::new(),
            all: Vec::new(),
        })
    }

    pub(super) fn begin(&mut self, proof: Proof) {
        self.proof = Some(proof);
        self.runs.clear();
    }

    /// The report folders of the proof that has been made, below the lab's own.
    pub(super) fn end(&mut self) -> Vec<String> {
        let below = |p: PathBuf| p.strip_prefix(&self.dir).unwrap_or(&p).display().to_string();
        self.runs.drain(..).map(below).collect()
    }

    /// The report folders of all runs so far.
    pub(super) fn all_runs(&self) -> &[PathBuf] {
        &self.all
    }

    /// Where it works.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of two, as the time allows.
    pub(super) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Says what is going on.
    pub(super) fn step(&mut self, text: &str) {
        let proof = self.proof.map_or("", Proof::name);
        (self.progress)(&format!("{proof}: {text}"));
    }

    /// A valid run; INVALID ones are made again a few times.
    pub(super) fn valid(&mut self, order: &Order) -> Result<Ran, Trouble> {
        let first = self.run(std::slice::from_ref(order))?.pop();
        self.until_valid(order, first)
    }

    /// Valid runs, all at the same time; INVALID ones are made again, one by one.
    pub(super) fn valid_at_once(&mut self, orders: &[Order]) -> Result<Vec<Ran>, Trouble> {
        let first = self.run(orders)?;
        orders.iter().zip(first).map(|(o, ran)| self.until_valid(o, Some(ran))).collect()
    }

    fn until_valid(&mut self, order: &Order, first: Option<Ran>) -> Result<Ran, Trouble> {
        let (mut ran, mut reasons) = (first, String::new());
        for n in 2..=TRIES + 1 {
            match ran.take() {
                Some(ran) if ran.result.validity.valid => return Ok(ran),
                Some(bad) => reasons = why_invalid(&bad.result),
                None => {}
            }
            if n <= TRIES {
                let name = format!("{}again-{n}", if order.name.is_empty() { "" } else { "-" });
                let name = format!("{}{name}", order.name);
                self.step(&format!("{name}: INVALID, {reasons}"));
                ran = self.run(&[Order { name, ..order.clone() }])?.pop();
            }
        }
        Err(Trouble::Invalid(format!(
            "{} was INVALID {TRIES} times, the last time because {reasons}; try again on an idle machine",
            order.name
        )))
    }

    /// Runs, all at the same time, whatever comes of them.
    pub(super) fn run(&mut self, orders: &[Order]) -> Result<Vec<Ran>, Trouble> {
        let mut going = Vec::new();
        for order in orders {
            going.push(self.start(order)?);
        }
        let mut ran = Vec::new();
        for Going { mut child, dir, name } in going {
            let status = self.wait(&mut child)?;
            let said = child.stderr.take().and_then(|e| std::io::read_to_string(e).ok()).unwrap_or_default();
            let (result, _) = json::read(&dir).map_err(|e| {
                let said = said.trim();
                Trouble::Broken(format!(
                    "the run {name} left no result ({status}): {}",
                    if said.is_empty() { &e } else { said }
                ))
            })?;
            ran.push(Ran { dir, result });
        }
        Ok(ran)
    }

    fn start(&mut self, order: &Order) -> Result<Going, Trouble> {
        let broken = |what: &str, e: &dyn std::fmt::Display| Trouble::Broken(format!("{what}: {e}"));
        let runs = self.dir.join("runs");
        let name = match self.proof {
            Some(proof) if order.name.is_empty() => proof.name().to_owned(),
            Some(proof) => format!("{}-{}", proof.name(), order.name),
            None => order.name.clone(),
        };
        let file = runs.join(format!("{name}.toml"));
        fs::write(&file, scenario(&name, &order.toml))
            .map_err(|e| broken(&file.display().to_string(), &e))?;
        let dir = runs.join(&name);
        let program = std::env::current_exe().map_err(|e| broken("cannot find voxload's own binary", &e))?;
        let mut command = Command::new(program);
        command.arg("run").arg(&file).arg("--quiet").arg("--report-dir").arg(&dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Else `reports/latest` of the folder that we were started in would point at it.
        command.current_dir(&self.dir);
        // What the user has set for runs of their own is no part of a proof.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(VARIABLE_PREFIX) {
                command.env_remove(variable);
            }
        }
        crate::ci::hide_from(&mut command);
        // Ctrl-C goes to us, and we say when it stops.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| broken("cannot start a run", &e))?;
        self.runs.push(dir.clone());
        self.all.push(dir.clone());
        Ok(Going { child: Guard(child), dir, name })
    }

    /// Waits for a child; an interruption stops it.
    fn wait(&mut self, child: &mut Guard) -> Result<String, Trouble> {
        let Self { runtime, signals, interrupted, .. } = self;
        runtime.block_on(async {
            loop {
                match child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return Ok(status.to_string()),
                    Err(e) => return Err(Trouble::Broken(format!("cannot wait for a run: {e}"))),
                }
                if *interrupted {
                    return Err(Trouble::Interrupted);
                }
                tokio::select! {
                    () = heard(signals) => *interrupted = true,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        })
    }
}

async fn heard(signals: &mut [Signal]) {
    std::future::poll_fn(|cx| {
        let any = signals.iter_mut().any(|s| s.poll_recv(cx).is_ready());
        if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A run under way.
struct Going {
    child: Guard,
    dir: PathBuf,
    name: String,
}

/// A child that is stopped when nobody waits for it any more: once to end, twice to end at once; its report stays.
struct Guard(Child);

impl std::ops::Deref for Guard {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) else { return };
        for _ in 0..2 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            // Fails only when it has ended meanwhile.
            let _ = kill_process(pid, Kill::INT);
            std::thread::sleep(Duration::from_millis(200));
        }
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) {
            if std::time::Instant::now() > end {
                let _ = self.0.kill();
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What made it so, in a line.
pub(super) fn why_invalid(result: &RunResult) -> String {
    let bad = result.validity.checks.iter().filter(|c| !c.ok);
    bad.map(|c| format!("{} was {} (limit {})", c.name, c.seen, c.limit)).collect::<Vec<_>>().join(", ")
}

/// What all runs have in common, and what is their own. PCM has no look-ahead and the speech ends with a chunk, so the
/// server can know of the end of the turn at the very end of speech: delays on paper need no correction.
pub(super) fn scenario(name: &str, own: &str) -> String {
    let own: toml::Table = own.parse().unwrap_or_default();
    let mut all: toml::Table = COMMON.parse().unwrap_or_default();
    all.insert("name".to_owned(), toml::Value::String(name.to_owned()));
    merge(&mut all, own);
    toml::to_string(&all).unwrap_or_default()
}

/// For proofs about tens of milliseconds and seconds: a neighbour's few milliseconds do not matter to them.
pub(super) const COARSE: &str = "[validity]\nsend_lateness_p99 = \"25ms\"\n";

const COMMON: &str = r#"
[audio]
fixtures = ["../fixture/exact.wav"]
codec = "pcm16"
chunk = "60ms"
[turn]
count = 1
think = "0ms"
[reference]
preset = "instant"
token_rate = 1000000.0
[report]
html = false
junit = false
"#;

/// Adds `own` to `all`; tables are joined.
fn merge(all: &mut toml::Table, own: toml::Table) {
    for (key, value) in own {
        match (all.get_mut(&key), value) {
            (Some(toml::Value::Table(theirs)), toml::Value::Table(ours)) => merge(theirs, ours),
            (_, value) => drop(all.insert(key, value)),
        }
    }
}

/// A tone, and a manifest that says where it ends.
fn write_fixture(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let samples = SPEECH.to_samples(RATE);
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(dir.join("exact.wav"), spec).map_err(std::io::Error::other)?;
    for i in 0..samples {
        let t = i as f64 / f64::from(RATE);
        let sample = 0.3 * (std::f64::consts::TAU * 440.0 * t).sin();
        wav.write_sample((sample * 32_767.0) as i16).map_err(std::io::Error::other)?;
    }
    wav.finalize().map_err(std::io::Error::other)?;
    fs::write(
        dir.join("manifest.toml"),
        format!(
            "[[fixture]]\nid = \"exact\"\nfile = \"exact.wav\"\nkind = \"utterance\"\nsample_rate = {RATE}\n\
             samples = {samples}\nspeech_start = 0\nspeech_end = {samples}\n"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speech_ends_where_a_chunk_ends() {
        let dir = tempfile::tempdir().unwrap();
        write_fixture(&dir.path().join("fixture")).unwrap();
        let file = dir.path().join("runs.toml");
        let text = scenario("exact", "reference.llm = \"50ms\"").replace("../fixture", "fixture");
        fs::write(&file, text).unwrap();
        let source = crate::scenario::Source::find(&file.to_string_lossy()).unwrap();
        let scenario = crate::scenario::load(&source, &[]).unwrap();
        assert_eq!(scenario.reference.llm, crate::scenario::Dist::Constant(Micros::from_millis(50)));
        assert!(scenario.reference.token_rate > 1e5, "tables are joined");
        let speech = crate::drive::prepare::speech(&scenario).unwrap();
        let clip = &speech.plan.utterances[0].clip;
        assert_eq!(clip.speech_end, SPEECH);
        assert_eq!(
            clip.speech.last().unwrap().due,
            SPEECH,
            "the end of the turn is sent at the end of speech"
        );
    }
}
