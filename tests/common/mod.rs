//! Runs of the real binary: started, waited for, read back, and held to what every run must hold to.
//!
//! ```text
//! Run::new(TOML).arg(…).go() ──▶ voxload run … (in a folder of its own)
//!                                   │ stdout, stderr, exit code, report folder
//!                                   ▼
//!                                  Ran ──check──▶ no panic, no secret, counts that add up everywhere
//! ```

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use voxload::reference::truth;
use voxload::report::RunResult;
use voxload::report::result::{FailureGroup, IntervalPoint, TurnRow};

pub mod rogue;

/// The binary.
pub const VOXLOAD: &str = env!("CARGO_BIN_EXE_voxload");

/// Put into headers, tables and the environment by every test that has a use for it; never to be seen again.
pub const SECRET: &str = "s3cr3t-t0ken";

/// Longer than any run should take: a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs at once in one test binary: they mostly wait.
const AT_ONCE: usize = 10;

/// Limits that a busy machine does not reach, where validity is not the subject.
const LENIENT: &str = r#"
[validity]
send_lateness_p99 = "10s"
send_lateness_max = "60s"
cpu = 1.0
steal = 1.0
"#;

/// A small scenario against the embedded server: three devices, one utterance of a second, replies sent at once.
pub const SMALL: &str = r#"
name = "small"
[fleet]
devices = 3
duration = "2s"
[audio]
fixtures = ["yes"]
[turn]
think = "uniform(50ms, 150ms)"
[reference]
preset = "instant"
burst = "1m"
"#;

/// Devices that do not wait long, against a server that is told how to treat each.
pub const ZOO: &str = r#"
name = "zoo"
[fleet]
duration = "3s"
graceful_stop = "5s"
[target]
url = "URL"
headers = { Authorization = "Bearer ${TOKEN}" }
[audio]
fixtures = ["yes"]
codec = "pcm16"
[turn]
think = "uniform(50ms, 150ms)"
timeout = "700ms"
gap_timeout = "500ms"
[session]
connect_timeout = "600ms"
keep_alive = "200ms"
keep_alive_timeout = "500ms"
max_message = "64 KiB"
reconnect_base = "100ms"
reconnect_cap = "200ms"
"#;

/// A run of so many of them against this server.
pub fn zoo(server: &rogue::Rogue, devices: usize) -> Run {
    Run::new(&ZOO.replace("URL", &server.url())).env("TOKEN", SECRET).args(&format!("-u {devices}"))
}

/// A run to be made.
pub struct Run {
    home: TempDir,
    scenario: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// Run through `sh -c`, after this.
    shell: Option<&'static str>,
    lenient: bool,
}

impl Run {
    /// Of a scenario written here, with lenient limits for the machine's health.
    pub fn new(toml: &str) -> Self {
        let run = Self::shipped("scenario.toml");
        let toml = if toml.contains("[validity]") { toml.to_owned() } else { format!("{toml}{LENIENT}") };
        fs::write(run.home.path().join("scenario.toml"), toml).unwrap();
        Self { lenient: false, ..run }
    }

    /// Of a shipped scenario, by its name, likewise.
    pub fn shipped(name: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            scenario: name.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            shell: None,
            lenient: true,
        }
    }

    /// The folder in which it will run.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into that folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.home().join(name), content).unwrap();
        self
    }

    /// Adds arguments, split at spaces.
    pub fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    /// Adds one argument as it is.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds `--set key=value`.
    pub fn set(self, key: &str, value: impl std::fmt::Display) -> Self {
        self.arg("--set").arg(format!("{key}={value}"))
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it through a shell that says this first.
    pub fn shell(mut self, first: &'static str) -> Self {
        self.shell = Some(first);
        self
    }

    fn command(&self) -> Command {
        let mut command = match self.shell {
            None => Command::new(VOXLOAD),
            Some(first) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{first}; exec \"$0\" \"$@\""), VOXLOAD]);
                shell
            }
        };
        command.args(["run", &self.scenario]);
        if self.lenient {
            let limits = LENIENT.lines().filter_map(|l| l.split_once(" = "));
            for (key, value) in limits {
                command.arg("--set").arg(format!("validity.{key}={}", value.trim_matches('"')));
            }
        }
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|n| n.to_string_lossy().starts_with("VOXLOAD_")) {
            command.env_remove(name);
        }
        command.args(&self.args).envs(self.env.iter().cloned()).current_dir(self.home());
        command.stdin(Stdio::null());
        command
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let file = |name: &str| fs::File::create(self.home().join(name)).unwrap();
        let place = Place::take();
        let child = self.command().stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        Running { process: Process(child), home: self.home, _place: place }
    }

    /// Runs it to its end, and checks what every run must hold to.
    pub fn go(self) -> Ran {
        self.start().wait()
    }
}

/// A run under way. Dropping it kills it.
pub struct Running {
    process: Process,
    home: TempDir,
    _place: Place,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// The folder that it runs in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process.0)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until standard error has this text.
    pub fn until_said(&mut self, text: &str) {
        let said = self.home.path().join("stderr");
        self.until(text, || fs::read_to_string(&said).unwrap_or_default().contains(text));
    }

    /// Waits until something is so; fails when the run ends before.
    pub fn until(&mut self, what: &str, mut so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !so() {
            let ended = self.process.0.try_wait().unwrap();
            let said = || fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default();
            assert!(ended.is_none(), "the run ended before: {what}\n{}", said());
            assert!(start.elapsed() < PATIENCE, "in vain: {what}\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The report's folder, once it is there.
    pub fn report(&mut self) -> PathBuf {
        let latest = self.home.path().join("reports/latest");
        self.until("the report's folder", || latest.is_dir());
        latest
    }

    /// Waits for the end, and checks what every run must hold to.
    pub fn wait(mut self) -> Ran {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > PATIENCE {
                panic!(
                    "the run does not end: {}",
                    fs::read_to_string(self.home.path().join("stderr")).unwrap()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let text = |name: &str| fs::read_to_string(self.home.path().join(name)).unwrap();
        let (stdout, stderr) = (text("stdout"), text("stderr"));
        let ran = Ran { code: status.code(), stdout, stderr, home: self.home };
        ran.check();
        ran
    }
}

/// A run that has ended.
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    home: TempDir,
}

impl Ran {
    /// The folder in which it ran.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The report's folder.
    pub fn report(&self) -> PathBuf {
        self.home().join("reports/latest")
    }

    /// Says everything that helps, and fails, unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// `result.json`.
    pub fn result(&self) -> RunResult {
        self.result_in(&self.report())
    }

    fn result_in(&self, dir: &Path) -> RunResult {
        match voxload::report::json::read(dir) {
            Ok((result, _)) => result,
            Err(e) => panic!("{e}\n{}\n{}", self.stdout, self.stderr),
        }
    }

    /// `turns.csv`.
    pub fn turns(&self) -> Vec<TurnRow> {
        rows(&self.report().join("turns.csv"))
    }

    /// `intervals.csv`.
    pub fn intervals(&self) -> Vec<IntervalPoint> {
        rows(&self.report().join("intervals.csv"))
    }

    /// `reference-truth.csv`.
    pub fn truth(&self) -> Vec<truth::Row> {
        truth::read(&self.report().join("reference-truth.csv")).unwrap()
    }

    /// A file of the report, as text.
    pub fn text(&self, name: &str) -> String {
        let path = self.report().join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.stderr))
    }

    /// Fails unless the summary begins with this verdict of validity, and goes on with this one of the run.
    #[track_caller]
    pub fn verdict(&self, validity: &str, word: &str) -> &Self {
        assert!(self.stdout.starts_with(&format!("{validity} ")), "not {validity}:\n{}", self.stdout);
        let found = self.stdout.lines().any(|l| l.split(' ').next() == Some(word));
        assert!(found, "not {word}:\n{}", self.stdout);
        self
    }

    /// Fails unless this was said on standard error.
    #[track_caller]
    pub fn said(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "not said: {text}\n{}", self.stderr);
        self
    }

    /// What every run must hold to, however it went.
    fn check(&self) {
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains("panicked"), "{text}");
            assert!(!text.contains('\u{1b}'), "control characters of a stranger: {text:?}");
        }
        for (path, content) in files(self.home()) {
            // What the test itself wrote may name the secret; nothing that voxload wrote may.
            let ours =
                path.parent() == Some(self.home()) && !path.ends_with("stdout") && !path.ends_with("stderr");
            let seen = content.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
            assert!(ours || !seen, "a secret in {}", path.display());
        }
        let report = self.report();
        if self.home().join("reports/latest/result.json").exists() {
            let result = self.result_in(&report);
            // A report that is not whole turns a pass into an error.
            if !self.stderr.contains("error: ") {
                assert_eq!(self.code, Some(i32::from(result.verdict.exit_code)), "{}", self.stderr);
            }
            add_up(&result, &rows(&report.join("turns.csv")), &rows(&report.join("intervals.csv")));
        }
    }
}

/// `voxload serve`, a process of its own. Dropping it kills it, as rudely as that.
pub struct Served {
    process: Process,
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub url: String,
}

impl Served {
    /// Starts it with these arguments, on a free port unless they say otherwise.
    pub fn start(args: &[&str]) -> Self {
        let anywhere = ["--listen", "127.0.0.1:0"];
        let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &anywhere };
        let mut command = Command::new(VOXLOAD);
        command.arg("serve").args(listen).args(args).env_remove("VOXLOAD_TOKEN").stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            assert!(stdout.read_line(&mut said).unwrap() > 0, "the server ended: {said}");
        }
        let url = said.split_whitespace().find(|w| w.starts_with("ws")).unwrap().to_owned();
        Self { process, stdout, url }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Stops it in good order; what it says at the end.
    pub fn stop(mut self) -> String {
        rustix::process::kill_process(Pid::from_child(&self.process.0), Signal::TERM).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// Counts that must agree, in `result.json` and between it and the streamed files.
fn add_up(result: &RunResult, turns: &[TurnRow], intervals: &[IntervalPoint]) {
    let t = &result.turns;
    assert_eq!(t.started, t.succeeded + t.failed + t.timed_out + t.interrupted + t.cancelled, "{t:?}");
    assert_eq!(t.planned, t.started + t.missed, "{t:?}");
    let ttfa = &result.metrics["ttfa"];
    // Where speech is recognised and nobody replies, nothing is measured of replies.
    let recognised = ttfa.count == 0 && result.metrics.get("final_transcript").is_some_and(|m| m.count > 0);
    if !recognised || t.failed + t.timed_out > 0 {
        assert_eq!(ttfa.infinite, t.failed + t.timed_out, "{t:?}");
        assert_eq!(ttfa.count, t.succeeded + t.interrupted + t.failed + t.timed_out, "{t:?}");
    }
    let failed: u64 = result.failures.iter().map(|f| f.turns).sum();
    assert_eq!(failed, t.failed + t.timed_out, "{:?}", result.failures);
    for f in &result.failures {
        assert!(!f.example.detail.is_empty() && !f.explanation.is_empty(), "{f:?}");
    }
    let c = &result.connections;
    assert!(c.attempted >= c.opened + c.failed && c.opened >= c.lost, "{c:?}");
    let lost: u64 = result.failures.iter().map(|f| f.connections).sum();
    assert_eq!(lost, c.failed + c.lost, "{c:?} {:?}", result.failures);

    let counted = |outcome: &dyn Fn(&str) -> bool| {
        turns.iter().filter(|r| !r.warmup && outcome(&r.outcome)).count() as u64
    };
    let fine = ["ok", "interrupted", "cancelled", "timeout"];
    assert_eq!(counted(&|o| o == "ok"), t.succeeded);
    assert_eq!(counted(&|o| o == "interrupted"), t.interrupted);
    assert_eq!(counted(&|o| o == "cancelled"), t.cancelled);
    assert_eq!(counted(&|o| o == "timeout"), t.timed_out);
    assert_eq!(counted(&|o| !fine.contains(&o)), t.failed);
    assert_eq!(turns.iter().filter(|r| r.warmup).count() as u64, t.warmup);

    let sum = |field: fn(&IntervalPoint) -> u64| intervals.iter().map(field).sum::<u64>();
    assert_eq!(sum(|i| i.started), t.started);
    assert_eq!(sum(|i| i.succeeded), t.succeeded + t.interrupted);
    assert_eq!(sum(|i| i.failed), t.failed + t.timed_out);
    assert_eq!(sum(|i| i.connection_failures), c.failed + c.lost);
    assert_eq!(sum(|i| i.messages_sent), result.generator.messages_sent);
    assert_eq!(sum(|i| i.messages_received), result.generator.messages_received);
    assert_eq!(sum(|i| i.ttfa_count), ttfa.count);
    let last = intervals.last();
    assert_eq!(last.map(|i| (i.connected, i.in_turn)), last.map(|_| (0, 0)), "everybody has left");
}

/// The rows of a CSV file.
pub fn rows<R: DeserializeOwned>(path: &Path) -> Vec<R> {
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

/// The failures of one class.
#[track_caller]
pub fn failure<'a>(result: &'a RunResult, class: &str) -> &'a FailureGroup {
    let found = result.failures.iter().find(|f| f.class == class);
    found.unwrap_or_else(|| panic!("no `{class}` in {:#?}", result.failures))
}

/// All files below a folder, links not followed.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found
}

/// Does the same for every case, several at once; a failure names the case.
pub fn each<T: Send>(cases: impl IntoIterator<Item = (&'static str, T)>, check: impl Fn(T) + Sync) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let check = &check;
        let all: Vec<_> =
            cases.into_iter().map(|(name, case)| (name, scope.spawn(move || check(case)))).collect();
        all.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// One of the places for runs.
struct Place;

static TAKEN: LazyLock<(Mutex<usize>, Condvar)> = LazyLock::new(Default::default);

impl Place {
    fn take() -> Self {
        let mut taken = TAKEN.0.lock().unwrap();
        while *taken >= AT_ONCE {
            taken = TAKEN.1.wait(taken).unwrap();
        }
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap() -= 1;
        TAKEN.1.notify_one();
    }
}
