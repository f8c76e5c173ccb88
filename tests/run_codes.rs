//! Exit codes, interruptions, full disks: what a script can rely on when a run does not go well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use voxload::report::result::{IntervalPoint, Status, ThresholdVerdict};

mod common;

use common::rogue::{Rogue, Toy};
use common::{Ran, Run, SECRET, SMALL, Served, VOXLOAD, each, failure};

/// Nothing was measured, and nothing is left behind but an empty folder at most.
#[track_caller]
fn no_report(ran: &Ran) {
    assert!(!ran.home().join("reports/latest/result.json").exists());
    assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
}

#[test]
fn usage_errors_end_with_2() {
    let small = || Run::new(SMALL);
    let cases = [
        ("no scenario", Run::shipped("nonsense").args(""), "nonsense"),
        ("no such file", Run::shipped("gone.toml"), "gone.toml"),
        ("a broken file", small().file("scenario.toml", "[fleet\ndevices = 5"), "scenario.toml:1"),
        ("an unknown key", small().set("fleet.devises", 5), "fleet.devices"),
        ("a wrong unit", small().args("-d 5"), "unit"),
        ("a wrong metric", small().args("--threshold ttfb:p(95)<300ms"), "ttfa"),
        ("an unknown fixture", small().set("audio.fixtures", "yess"), "yes"),
        ("a missing recording", small().set("audio.fixtures", "gone.wav"), "gone.wav"),
        ("a broken recording", small().file("bad.wav", "RIFF").set("audio.fixtures", "bad.wav"), "bad.wav"),
        ("a missing variable", small().set("target.headers.A", "${NOT_SET_ANYWHERE}"), "NOT_SET_ANYWHERE"),
        ("a missing folder", small().args("--out json=gone/result.json"), "the folder gone does not exist"),
        ("an unknown kind", small().args("--out xml=a.xml"), "not among json, csv, md, html, junit, otlp"),
        (
            "left out and wanted",
            small().set("report.html", false).args("--out html=a.html"),
            "leaves report.html out",
        ),
        ("a file for a folder", small().file("taken", "").args("--report-dir taken/x"), "--report-dir"),
        (
            "a missing authority",
            small().args("--url wss://127.0.0.1:1/ --set target.ca=gone.pem"),
            "gone.pem",
        ),
        ("no address", small().args("--source-ip 127.0.0"), "`127.0.0` is not an address"),
        // For documentation only (RFC 5737): nobody has it.
        (
            "the address of others",
            small().args("--source-ip 192.0.2.7"),
            "192.0.2.7 is not an address of this machine",
        ),
        ("the other family", small().args("--source-ip ::1"), "::1 cannot connect to 127.0.0.1"),
        ("a wrong scheme", small().args("--url http://127.0.0.1:1/"), "ws://"),
    ];
    each(cases.map(|(name, run, says)| (name, (run, says))), |(run, says)| {
        let ran = run.go().expect(2);
        ran.said(says);
        no_report(&ran);
    });
}

#[test]
fn unreachable_targets_end_with_124() {
    let shut = Rogue::start(|_| Ok(()));
    let closed = format!("ws://127.0.0.1:{}/", shut.port());
    shut.stop();
    let mute = Rogue::start(common::rogue::Call::linger);
    let unauthorised = Rogue::start(|mut call| {
        let (head, _) = call.request()?;
        let token = head.lines().find_map(|l| l.split_once("x-key: ")).map_or("", |(_, t)| t).to_owned();
        call.refuse("401 Unauthorized", &format!("\u{1b}[31mnot you, {token}"))
    });
    let full =
        Rogue::start(|mut call| call.request().and_then(|_| call.refuse("503 Service Unavailable", "full")));
    let plain = Rogue::start(|call| call.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let tls = Served::start(&["--tls"]);
    let wss = |port: u16| format!("wss://127.0.0.1:{port}/");
    let cases = [
        ("nothing listens", closed, "nothing listens at the target's port"),
        ("no such host", "ws://no-such-host.invalid/".to_owned(), "does not resolve"),
        ("no network", "ws://255.255.255.255:9/".to_owned(), "unreachable"),
        ("no answer", mute.url(), "no connection within session.connect_timeout"),
        ("always 401", unauthorised.url(), "check the token in target.headers"),
        ("always 503", full.url(), "HTTP status 503: full"),
        ("no TLS there", wss(plain.port()), "TLS handshake"),
        ("an unknown authority", wss(tls.port()), "target.ca"),
        ("TLS where none is expected", tls.url.replace("wss", "ws"), "cannot reach"),
    ];
    each(cases.map(|(name, url, says)| (name, (url, says))), |(url, says)| {
        let run = Run::new(SMALL).arg("--url").arg(url).set("session.connect_timeout", "300ms");
        let run = run.set("target.headers.X-Key", "${KEY}").env("KEY", SECRET);
        let ran = run.go().expect(124);
        ran.said(says);
        no_report(&ran);
    });
}

/// Not one answer: exit code 121, with everything that was seen.
#[test]
fn a_server_that_never_answers_ends_with_121() {
    let server = Rogue::start(|call| call.upgrade()?.listen());
    let run = Run::new(SMALL).arg("--url").arg(server.url()).args("-d 1s --threshold turns.failed:rate<1%");
    let ran = run.set("turn.timeout", "300ms").go().expect(121);
    let result = ran.result();
    assert_eq!((result.verdict.status, result.turns.succeeded), (Status::Fail, 0));
    assert!(failure(&result, "timeout").turns >= 3 && result.turns.timed_out >= 3, "{:?}", result.turns);
    assert!(result.verdict.reasons[0].contains("no turn completed"), "{:?}", result.verdict);
    ran.verdict("VALID", "FAIL");
}

#[test]
fn thresholds_and_validity() {
    let quick = || Run::new(SMALL).args("-d 1s").set("turn.count", 1);
    let cases = [
        ("held", quick().args("-u 6 --threshold ttfa:med<9s"), 0, "PASS"),
        ("failed", quick().args("-u 6 --threshold ttfa:med<1us"), 99, "FAIL"),
        ("too few turns", quick().args("--threshold ttfa:p(95)<9s"), 99, "FAIL"),
        ("let pass", quick().args("--threshold ttfa:p(95)<9s").set("gate.undecided", "pass"), 0, "PASS"),
        ("no sample", quick().args("--threshold reconnect:max<9s"), 99, "FAIL"),
        ("starved", quick().set("validity.send_lateness_max", "100us"), 120, "INVALID"),
        ("busy", quick().set("validity.cpu", "0.000001"), 120, "INVALID"),
        (
            "starved, and failed",
            quick().set("validity.cpu", "0.000001").args("--threshold ttfa:med<1us"),
            120,
            "INVALID",
        ),
    ];
    each(cases.map(|(name, run, code, says)| (name, (run, code, says))), |(run, code, says)| {
        let ran = run.go().expect(code);
        let result = ran.result();
        ran.verdict(if code == 120 { "INVALID" } else { "VALID" }, says);
        assert_eq!(result.validity.valid, code != 120, "{:?}", result.validity);
        assert_eq!(result.verdict.reasons.is_empty(), code == 0, "{:?}", result.verdict);
        let bad: Vec<_> = result.validity.checks.iter().filter(|c| !c.ok).collect();
        assert!(bad.iter().all(|c| !c.cause.is_empty() && !c.try_this.is_empty()), "{bad:?}");
        assert!(ran.text("junit.xml").contains("<failure") || code != 99);
    });
}

/// A threshold that asks for it stops the run as soon as nothing can save it: what has begun is finished, and reported.
#[test]
fn a_threshold_stops_the_run() {
    let run = Run::new(SMALL).args("-u 6 -d 1h").set("report.interval", "100ms");
    let ran = run.arg("--threshold").arg("ttfa:med<1us abort_on_fail delay=100ms").go().expect(99);
    let result = ran.result();
    let aborted = result.gate.as_ref().and_then(|g| g.aborted.as_ref()).expect("stopped");
    assert_eq!((aborted.expression.as_str(), aborted.planned_us), ("ttfa:med<1us", 3_600_000_000));
    assert!(
        aborted.at_us >= 100_000 && result.verdict.reasons[0].contains("stopped by a threshold"),
        "{result:?}"
    );
    assert_eq!((result.turns.cancelled, result.thresholds[0].verdict()), (0, ThresholdVerdict::Fail));
    assert!(result.turns.succeeded >= 10, "ten turns are the fewest that leave no doubt: {:?}", result.turns);
    ran.verdict("VALID", "FAIL");
    assert!(ran.stdout.contains("stopped after"), "{}", ran.stdout);
}

/// No turn ends within a second, and seven are needed: the run goes on for them.
#[test]
fn an_undecided_run_is_extended() {
    let run = Run::new(SMALL).args("-u 5 -d 1s --threshold ttfa:p(50)<50s").set("report.interval", "100ms");
    let ran = run.set("gate.undecided", "extend").go().expect(0);
    let result = ran.result();
    let share = result.thresholds[0].share.expect("a share");
    assert!(share.n >= 7 && share.confidence == 0.99 && result.thresholds[0].passed, "{share:?}");
    let gate = result.gate.expect("what became of it");
    assert!(gate.extended_us > 0 && gate.aborted.is_none(), "{gate:?}");
    assert!(ran.stdout.contains("extended by"), "{}", ran.stdout);
}

/// Open arrivals that find no free device were not measured: the run is no measurement of that rate.
#[test]
fn open_arrivals_that_are_missed_end_with_120() {
    let run = Run::new(SMALL)
        .args("-u 2 -d 2s")
        .set("fleet.arrivals", "open")
        .set("fleet.rate", 10)
        .set("turn.count", 1);
    let result = run.go().expect(120).result();
    assert!(result.turns.missed > 0 && result.turns.planned > result.turns.started, "{:?}", result.turns);
    let check = result.validity.checks.iter().find(|c| c.name == "turns missed").unwrap();
    assert!(!check.ok && check.try_this.contains("fleet.devices"), "{check:?}");
}

/// Ctrl-C: no new turns, what has begun is finished, and everything is reported.
#[test]
fn ctrl_c_once_drains_and_reports() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut run = Run::new(SMALL).args("-u 6 -d 1h").start();
        let report = run.report();
        run.until("turns", || {
            fs::read_to_string(report.join("turns.csv")).unwrap_or_default().lines().count() > 6
        });
        run.signal(signal);
        let ran = run.wait().expect(130);
        interrupted(&ran);
        assert_eq!(ran.result().turns.cancelled, 0, "what has begun is finished");
    }
}

#[test]
fn ctrl_c_twice_stops_at_once_and_reports() {
    // Nobody is ever answered: draining would take an hour.
    let server = Rogue::start(|call| call.upgrade()?.listen());
    let run = Run::new(SMALL).arg("--url").arg(server.url()).args("-u 4 -d 1h --graceful-stop 1h");
    let mut run = run.set("turn.timeout", "1h").set("report.interval", "100ms").start();
    let intervals = run.report().join("intervals.csv");
    // Not there yet, or the last row half written.
    let last =
        || csv::Reader::from_path(&intervals).ok()?.into_deserialize::<IntervalPoint>().flatten().last();
    let in_turn = || last().is_some_and(|i| i.in_turn == 4);
    run.until("four in a turn", in_turn);
    run.signal(Signal::INT);
    run.until_said("interrupted, draining");
    run.signal(Signal::INT);
    let ran = run.wait().expect(130);
    interrupted(&ran);
    let turns = ran.result().turns;
    assert!(turns.cancelled == 4 && turns.failed + turns.timed_out == 0, "not the server's fault: {turns:?}");
}

/// The report is complete, and says that it was cut short.
fn interrupted(ran: &Ran) {
    let result = ran.result();
    assert_eq!((result.verdict.status, result.verdict.exit_code), (Status::Interrupted, 130));
    assert!(result.verdict.reasons[0].contains("interrupted by the user"), "{:?}", result.verdict);
    for file in ["summary.md", "report.html", "junit.xml", "scenario.toml", "histograms.hlog"] {
        assert!(!ran.text(file).is_empty(), "{file}");
    }
    ran.verdict("VALID", "INTERRUPTED");
    assert!(ran.text("summary.md").to_lowercase().contains("interrupted"));
}

/// The server goes when the harness goes, however rudely.
#[test]
fn a_killed_run_leaves_no_server() {
    let mut run = Run::new(SMALL).args("-d 1h").start();
    let report = run.report();
    run.until("a turn", || {
        fs::read_to_string(report.join("turns.csv")).unwrap_or_default().lines().count() > 1
    });
    let said = fs::read_to_string(report.parent().unwrap().parent().unwrap().join("stderr")).unwrap();
    let url = said.split_whitespace().find_map(|w| w.strip_prefix("ws://")).unwrap();
    let address = url.trim_end_matches('/').to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    run.signal(Signal::KILL);
    drop(run);
    let gone = || std::net::TcpStream::connect(&address).is_err();
    assert!(
        (0..500).any(|_| gone() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }),
        "it still listens"
    );
}

/// A disk that fills up in the middle: the run goes on to its end, writes what it can, and says what is missing.
#[test]
fn a_full_disk() {
    // Files of so many blocks of 512 bytes; the signal would end the process, the error does not.
    let server = Rogue::for_toys(Toy::serve);
    let limited = |limit| {
        let run = Run::new(SMALL).arg("--url").arg(server.url()).set("audio.codec", "pcm16").shell(limit);
        run.args("-u 20 -d 3s").set("report.interval", "200ms").go()
    };
    // The small files fit.
    let ran = limited("trap '' XFSZ; ulimit -f 16").expect(2);
    ran.said("turns.csv: File too large").said("histograms.hlog: File too large").said("the rest is lost");
    ran.said("result.json: File too large").said("report.html: File too large");
    assert!(!ran.report().join("result.json").exists(), "whole or not at all");
    ran.verdict("VALID", "PASS");
    assert!(ran.text("summary.md").starts_with("# ✅ VALID, PASS"), "{}", ran.stdout);
    let kept = ran.text("turns.csv").lines().count();
    assert!(kept > 1, "what was written before is kept");
    let said: Vec<_> = ran.stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    let each_once: std::collections::BTreeSet<_> = said.iter().collect();
    assert_eq!(said.len(), each_once.len(), "{said:#?}");
    // Nothing fits: found out before the first device comes.
    let ran = limited("trap '' XFSZ; ulimit -f 1").expect(2);
    ran.said("turns.csv: File too large");
    no_report(&ran);
}

/// The same with the embedded server, whose own log does not fit either.
#[test]
fn a_full_disk_with_the_embedded_server() {
    let run = Run::new(SMALL).args("-u 60 -d 2s").set("turn.count", 1).set("report.html", false);
    let ran = run.shell("trap '' XFSZ; ulimit -f 9").go().expect(2);
    ran.said("reference-truth.csv").said("turns.csv: File too large");
    ran.verdict("VALID", "PASS");
}

/// Whoever reads the output may leave: `voxload run … | head -1`.
#[test]
fn a_reader_who_leaves() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("s.toml"), SMALL).unwrap();
    for args in [
        &["run", "s.toml", "-d", "1s", "--set", "turn.count=1"][..],
        &["run", "s.toml", "-d", "1s", "--set", "turn.count=1", "--json"],
        &["inspect", "s.toml"],
        &["inspect", "--print-schema"],
        &["fixtures"],
        &["report", "--print-schema"],
        &["init"],
        &["--help"],
    ] {
        let mut command = Command::new(VOXLOAD);
        command
            .args(args)
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        drop(process.stdout.take());
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = process.wait().unwrap();
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        assert!(status.code().is_some(), "{args:?}: {status}");
    }
}
