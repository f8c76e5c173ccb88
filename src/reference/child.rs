//! The reference server as a child process: its CPU, memory and descriptors are not the harness's.
//!
//! ```text
//! parent ── one line of JSON: the order ──▶ stdin of `voxload serve --embedded`
//!        ◀── one line of JSON: Ready ────── stdout, once it listens
//!        ── the run's time zero ──────▶ stdin, when the first device is about to come
//!            … closes stdin (or dies) …     the child stops
//!        ◀── one line of JSON: Farewell ─── stdout, then exit
//! ```
//!
//! The child ends when its standard input does, whatever became of its parent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::server::{Counts, Options, Server};
use crate::audio::AudioFormat;
use crate::measure::health;
use crate::scenario::ReferencePlan;
use crate::time::{Clock, Micros};

/// How long the child may take until it listens.
const START: Duration = Duration::from_secs(20);

/// How long it may take to finish its log.
const STOP: Duration = Duration::from_secs(10);

/// Descriptors that the server asks for, one a connection; it gets what the hard limit allows.
pub const OPEN_FILES: u64 = 1 << 20;

/// What the child is told: one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// How it behaves.
    pub plan: ReferencePlan,
    /// Formats whose replies are encoded before the first connection.
    pub formats: Vec<AudioFormat>,
    /// Speak wss.
    pub secure: bool,
    /// Where the truth log goes.
    pub truth: Option<PathBuf>,
    /// [`Clock::epoch_us`] to count from until [`Child::set_epoch`] says otherwise.
    pub epoch_us: i64,
}

/// What the child says once it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ready {
    url: String,
    ca_pem: Option<String>,
    pid: u32,
}

/// The file in a run's report that holds the child's [`Farewell`].
pub const USAGE: &str = "reference-usage.json";

/// What the child says when it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// What it did.
    pub counts: Counts,
    /// CPU time that it used.
    pub cpu: Micros,
    /// Its largest resident memory; 0 where it cannot be known.
    pub peak_rss_bytes: u64,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    /// Closing it is how the child is told to stop.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<std::thread::JoinHandle<String>>,
    ready: Ready,
}

impl Child {
    /// Starts `voxload serve --embedded` from this same binary and waits until it listens. On Linux the child also
    /// dies with the *thread* that calls this.
    pub fn start(order: &Order) -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|e| format!("cannot find voxload's own binary: {e}"))?;
        Self::start_from(&program, order)
    }

    /// Likewise, from another binary.
    pub fn start_from(program: &Path, order: &Order) -> Result<Self, String> {
        let mut process = Command::new(program)
            .args(["serve", "--embedded"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C goes to the whole foreground group: the parent wants to drain before the server stops.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start the embedded server ({}): {e}", program.display()))?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (line, lines) = std::sync::mpsc::channel();
        if let Some(stdout) = stdout {
            std::thread::spawn(move || {
                let all = BufReader::new(stdout).lines();
                all.map_while(Result::ok).try_for_each(|l| line.send(l))
            });
        }
        let errors = stderr.map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                // What was read before a failure is still worth showing.
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let mut child =
            Self { process, stdin, lines, errors, ready: Ready { url: String::new(), ca_pem: None, pid: 0 } };
        child.order(order)?;
        let line = child.line(START, "did not start")?;
        child.ready = serde_json::from_str(&line)
            .map_err(|e| format!("the embedded server's first line is not what was expected: {e}"))?;
        Ok(child)
    }

    fn order(&mut self, order: &Order) -> Result<(), String> {
        let mut line =
            serde_json::to_vec(order).map_err(|e| format!("the plan of the embedded server: {e}"))?;
        line.push(b'\n');
        match self.stdin.as_mut().map(|s| s.write_all(&line).and_then(|()| s.flush())) {
            Some(Ok(())) => Ok(()),
            // It ended before it read: what it said tells more than a broken pipe.
            _ => self.line(START, "did not start").map(drop),
        }
    }

    /// The child's next line; an error holds what it said on stderr.
    fn line(&mut self, patience: Duration, problem: &str) -> Result<String, String> {
        let why = match self.lines.recv_timeout(patience) {
            Ok(line) => return Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                // Fails only when it has ended by itself.
                let _ = self.process.kill();
                format!("nothing was heard of it for {} s", patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => "it ended".to_owned(),
        };
        let status = match self.process.wait() {
            Ok(status) => format!("{why}; {status}"),
            Err(_) => why,
        };
        let said = self.errors.take().and_then(|e| e.join().ok()).unwrap_or_default();
        let said = said.trim();
        Err(if said.is_empty() {
            format!("the embedded server {problem}: {status}")
        } else {
            format!("the embedded server {problem}: {status}\n{said}")
        })
    }

    /// The run begins now: the truth log's instants count from `epoch_us` on the machine's monotonic clock.
    pub fn set_epoch(&mut self, epoch_us: i64) {
        if let Some(stdin) = &mut self.stdin {
            // A child that has died is found out when it is stopped.
            let _ = writeln!(stdin, "{epoch_us}").and_then(|()| stdin.flush());
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.ready.url
    }

    /// The certificate to trust, when it speaks wss.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ready.ca_pem.as_deref()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.ready.pid
    }

    /// Stops it, waits until its log is complete, and returns what it did. Kills it when that takes too long.
    pub fn stop(mut self) -> Result<Farewell, String> {
        drop(self.stdin.take());
        let line = self.line(STOP, "did not stop in good order")?;
        let farewell = serde_json::from_str(&line)
            .map_err(|e| format!("the embedded server's last line is not what was expected: {e}"))?;
        let end = Instant::now() + STOP;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > end {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(farewell)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The child's side: serves as ordered on standard input until that ends.
pub fn embedded() -> Result<(), String> {
    // A parent that was killed leaves a pipe that ends; this is for one that left the pipe to somebody else.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    health::raise_open_files(OPEN_FILES);
    let mut stdin = std::io::stdin().lock();
    let mut order = String::new();
    stdin.read_line(&mut order).map_err(|e| format!("cannot read the order on standard input: {e}"))?;
    let order: Order = serde_json::from_str(&order)
        .map_err(|e| format!("`--embedded` expects its order as one line of JSON on standard input: {e}"))?;
    let server = Server::start(Options {
        plan: order.plan,
        replies: super::sound::shipped()?,
        formats: order.formats,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        secure: order.secure,
        truth: order.truth,
        heard: None,
        clock: Clock::with_epoch_us(order.epoch_us),
    })?;
    say(&Ready { url: server.url(), ca_pem: server.ca_pem().map(str::to_owned), pid: std::process::id() })?;
    // The parent may say when its run begins; then its end of the pipe closes. A failing pipe is an end, too.
    for line in stdin.lines().map_while(Result::ok) {
        if let Ok(epoch_us) = line.parse::<i64>() {
            server.set_zero(Micros(epoch_us - order.epoch_us));
        }
    }
    let counts = server.stop()?;
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Nobody listens any more when the parent has died.
    let _ = say(&Farewell {
        counts,
        cpu: Micros(cpu.tv_sec * 1_000_000 + cpu.tv_nsec / 1_000),
        peak_rss_bytes: peak_rss_bytes(),
    });
    Ok(())
}

fn say(line: &impl Serialize) -> Result<(), String> {
    let cannot = |e: &dyn std::fmt::Display| format!("cannot write to standard output: {e}");
    let mut text = serde_json::to_vec(line).map_err(|e| cannot(&e))?;
    text.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(|e| cannot(&e))
}

/// `VmHWM` of Linux.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
