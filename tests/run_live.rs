//! A run while it lasts: the view on a terminal, and the endpoint for Prometheus.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

mod common;

use common::{Run, SMALL, VOXLOAD};

/// The page at this address.
fn scrape(address: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    let text: std::io::Result<String> = ask();
    let text = text.expect("the run has ended too soon");
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("200 OK") && head.contains("text/plain; version=0.0.4"), "{head}");
    page.to_owned()
}

/// The counters, and the buckets of the histograms.
fn counters(page: &str) -> BTreeMap<String, f64> {
    let series = page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' '));
    let grows = |name: &str| ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end));
    let series = series.filter(|(series, _)| grows(series.split('{').next().unwrap()));
    series.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn prometheus_sees_a_run_as_it_grows() {
    let mut run = Run::new(SMALL)
        .set("report.interval", "100ms")
        .args("-d 6s --prometheus 127.0.0.1:0 --out otlp=traces.jsonl --threshold turns.failed:count<1")
        .start();
    let said = run.home().join("stderr");
    run.until_said("/metrics");
    let said = std::fs::read_to_string(said).unwrap();
    let address = said.split_once("metrics: http://").unwrap().1.split_once('/').unwrap().0.to_owned();
    let answered = "voxload_turns_total{outcome=\"succeeded\"}";
    let mut seen = BTreeMap::new();
    run.until("two turns", || {
        let page = scrape(&address);
        let now = counters(&page);
        for (series, value) in &seen {
            assert!(now.get(series).is_some_and(|n| n >= value), "{series} was {value}\n{page}");
        }
        seen = now;
        seen.get(answered).is_some_and(|n| *n >= 2.0)
    });
    let page = scrape(&address);
    assert!(page.contains("voxload_valid 1\n") && page.contains("{phase=\"load\"} 1\n"), "{page}");
    assert!(page.contains("voxload_threshold_passed{threshold=\"turns.failed:count<1\"} 1\n"), "{page}");
    let ran = run.wait().expect(0);
    let result = ran.result();
    assert!(result.turns.succeeded as f64 >= seen[answered] && seen["voxload_ttfa_seconds_count"] > 0.0);
    assert!(TcpStream::connect(&address).is_err(), "it ends with the run");
    let traces = std::fs::read_to_string(ran.home().join("traces.jsonl")).unwrap();
    assert_eq!(traces.matches("\"name\":\"turn\"").count(), ran.turns().len());
}

#[test]
fn what_cannot_be_had_ends_with_2() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for (args, says) in [
        (vec!["--prometheus", "9464"], "`9464` is not an address and a port"),
        (vec!["--live", "on"], "--live on: standard error is not a terminal"),
        (vec!["--prometheus", &taken], "something else listens there"),
        (vec!["--prometheus", "192.0.2.7:9464"], "not an address of this machine"),
    ] {
        let ran = args.iter().fold(Run::new(SMALL), |run, arg| run.arg(*arg)).go().expect(2);
        ran.said(says);
    }
}

/// A run in a terminal of its own.
struct Terminal {
    child: Child,
    ours: File,
    theirs: File,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(home: &std::path::Path, env: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let toml = SMALL.replace("duration = \"2s\"", "duration = \"30s\"");
        std::fs::write(home.join("scenario.toml"), toml).unwrap();
        // A session with this terminal; the process is the same.
        let mut command = Command::new("setsid");
        command.args(["--ctty", VOXLOAD, "run", "scenario.toml"]).current_dir(home);
        command.args(["--set", "report.interval=100ms"]).env_remove("CI").env("TERM", "xterm");
        command.envs(env.iter().copied());
        command.stdin(theirs.try_clone().unwrap()).stderr(theirs.try_clone().unwrap());
        let out = File::create(home.join("stdout")).unwrap();
        let child = command.stdout(Stdio::from(out)).spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, shared) = (File::from(ours.try_clone().unwrap()), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, ours: File::from(ours), theirs, seen }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until something has been shown.
    fn until(&self, what: &str, so: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !so(&self.seen()) {
            assert!(start.elapsed() < Duration::from_secs(60), "in vain: {what}\n{:?}", self.seen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, key: &str) {
        self.ours.write_all(key.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code.
    fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Lines are edited and echoed by the terminal, as a shell wants it.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only when it has ended.
        let _ = self.child.kill();
    }
}

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

#[test]
fn the_view_takes_the_terminal_and_gives_it_back() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Terminal::start(home.path(), &[("NO_COLOR", "1")]);
    run.until("the view", |seen| seen.contains(ENTER) && seen.contains("VALID so far"));
    assert!(!run.is_cooked());
    assert!(!run.seen().contains("\u{1b}[38;5"), "no colours were asked for");
    // Nobody is there who could continue an orphan: it comes back by itself.
    run.signal(Signal::TSTP);
    run.until("the terminal given back and taken again", |seen| {
        seen.matches(ENTER).count() == 2 && seen.rfind(ENTER) > seen.rfind(LEAVE)
    });
    run.press("s");
    assert_eq!(run.wait(), Some(130));
    assert!(run.is_cooked());
    let seen = run.seen();
    assert_eq!(seen.matches(ENTER).count(), seen.matches(LEAVE).count(), "{seen:?}");
    let summary = std::fs::read_to_string(home.path().join("stdout")).unwrap();
    assert!(summary.contains("interrupted by the user"), "{summary}");
}

#[test]
fn signals_end_the_view_and_pipelines_get_lines() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Terminal::start(home.path(), &[]);
    run.until("the view", |seen| seen.contains(ENTER) && seen.contains("VALID so far"));
    run.signal(Signal::TERM);
    assert_eq!(run.wait(), Some(130));
    assert!(run.is_cooked() && run.seen().contains(LEAVE));
    let home = tempfile::tempdir().unwrap();
    let mut run = Terminal::start(home.path(), &[("CI", "true")]);
    run.until("a line", |seen| seen.contains(" s  load · "));
    run.press("\u{3}");
    assert_eq!(run.wait(), Some(130));
    assert!(!run.seen().contains(ENTER));
}
