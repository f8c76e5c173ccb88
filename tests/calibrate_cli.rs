//! `voxload calibrate`, and what `voxload run` makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use voxload::calibrate::document::{BUILD, Calibration};
use voxload::calibrate::{read, sample};
use voxload::measure::health;

mod common;

use common::{Run, SMALL, VOXLOAD};

fn calibrate(home: &Path, args: &str) -> Command {
    let mut command = Command::new(VOXLOAD);
    command.arg("calibrate").args(args.split_whitespace()).current_dir(home).stdin(Stdio::null());
    command
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A made-up calibration of this machine, by this program.
fn of_here() -> Calibration {
    let c = sample::calibration();
    Calibration {
        host: health::host(),
        voxload_version: env!("CARGO_PKG_VERSION").to_owned(),
        build: BUILD.to_owned(),
        ..c
    }
}

fn json(c: &Calibration) -> String {
    serde_json::to_string(c).unwrap()
}

#[test]
fn two_steps_leave_a_report_that_run_quotes() {
    let home = tempfile::tempdir().unwrap();
    // A variable that changes runs must not change what is measured.
    let out =
        calibrate(home.path(), "--quick wakeups floor").env("VOXLOAD_FLEET_DEVICES", "0").output().unwrap();
    // A machine that is busy with other tests may make a run invalid.
    assert!(matches!(out.status.code(), Some(0 | 120)), "{}", said(&out));
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("How late timers wake") && text.contains("Floor against a server"), "{text}");
    assert!(!text.contains("known delays") && !text.contains("PARTIAL"), "{text}");
    let c = read(&home.path().join("reports/calibration")).unwrap();
    let w = c.wakeups.as_ref().unwrap();
    assert!(w.rounds.iter().all(|r| r.timer.count > 100 && r.kernel.count > 100));
    let floor = c.floor.as_ref().unwrap();
    assert_eq!(floor.runs.iter().map(|r| r.devices).collect::<Vec<_>>(), [5, 100]);
    for r in &floor.runs {
        // Less than the whole, and nothing arrives before it was asked for.
        assert!(r.turns > 0 && r.ttfa_remaining.p50_us < r.ttfa.p50_us, "{r:?}");
        assert!(r.ttft_remaining.min_us > Some(0) && r.ttfa_remaining.min_us > Some(0), "{r:?}");
    }
    assert!(c.error.is_none() && c.capacity.is_none() && !c.partial && c.quick);
    let files = fs::read_dir(home.path().join("reports/calibration")).unwrap().count();
    assert_eq!(files, 5, "nothing temporary is left");

    let ran = Run::new(SMALL).file("there.json", json(&c)).args("--calibration there.json").go().expect(0);
    let quote = ran.result().calibration.unwrap();
    assert!(quote.host_match && quote.devices.is_none(), "{quote:?}");
    assert_eq!(quote.floor_ttfa_us, floor.runs[0].ttfa_remaining.p50_us.filter(|_| floor.runs[0].valid));
    assert_eq!(quote.file, "there.json");
}

#[test]
fn run_quotes_what_it_finds_beside_the_reports() {
    let run = Run::new(SMALL);
    fs::create_dir_all(run.home().join("reports/calibration")).unwrap();
    let ran = run.file("reports/calibration/calibration.json", json(&of_here())).go().expect(0);
    let quote = ran.result().calibration.unwrap();
    assert_eq!((quote.devices, quote.devices_planned, quote.as_measured), (Some(4_200), 3, true));
    assert_eq!(
        (quote.floor_ttfa_us, quote.error_ttfa_p99_us, quote.wakeup_p99_us),
        (Some(420), Some(240), Some(410))
    );
    let line = "floor TTFA 420 µs, error p99 240 µs, can drive at least 4,200 devices at 60 ms";
    ran.said(&format!("this machine: {line}"));
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let joined = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains(&format!("this machine {line}")), "{}", ran.stdout);
    for file in ["summary.md", "report.html"] {
        assert!(ran.text(file).contains("at least 4,200 devices at 60 ms"), "{file}");
    }

    let run = Run::new(SMALL).file("here.json", json(&of_here())).args("--no-calibration");
    let ran = run.env("VOXLOAD_CALIBRATION", "here.json").go().expect(0);
    assert!(ran.result().calibration.is_none() && !ran.stdout.contains("floor TTFA"));
}

#[test]
fn more_devices_than_calibrated_for_are_warned_about() {
    let mut few = of_here();
    for p in &mut few.capacity.as_mut().unwrap().points {
        p.devices = Some(2);
    }
    let ran = Run::new(SMALL).file("c.json", json(&few)).env("VOXLOAD_CALIBRATION", "c.json").go().expect(0);
    ran.said("warning: 3 devices are planned, and this machine is known to drive 2 at 60 ms");
    let joined = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains("3 were planned"), "{}", ran.stdout);
}

#[test]
fn a_calibration_from_elsewhere_is_named_and_not_used() {
    let mut other = of_here();
    other.host.cpu = "an abacus".to_owned();
    let ran = Run::new(SMALL).file("c.json", json(&other)).args("--calibration c.json").go().expect(0);
    let quote = ran.result().calibration.unwrap();
    assert!(!quote.host_match && quote.devices.is_none() && quote.floor_ttfa_us.is_none());
    ran.said("was made elsewhere and is not used (processor an abacus, here ");
}

#[test]
fn a_file_that_cannot_be_used_is_a_warning() {
    for (content, says) in [("{}", "c.json: not a calibration: it has no"), ("", "c.json: not a calibration")]
    {
        let ran = Run::new(SMALL).file("c.json", content).args("--calibration c.json").go().expect(0);
        ran.said(&format!("warning: the calibration is not quoted: {says}"));
        assert!(ran.result().calibration.is_none());
    }
    let ran = Run::new(SMALL).args("--calibration gone.json").go().expect(0);
    ran.said("warning: the calibration is not quoted: cannot read gone.json");
}

#[test]
fn an_interruption_leaves_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    let errors = home.path().join("stderr");
    let mut command = calibrate(home.path(), "wakeups capacity");
    let child = command.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let mut child = child.spawn().unwrap();
    // The first run of the last step is under way.
    while !fs::read_to_string(&errors).unwrap().contains("capacity ") {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130), "{}", fs::read_to_string(&errors).unwrap());
    let c = read(&home.path().join("reports/calibration")).unwrap();
    assert!(c.partial && c.wakeups.is_some());
    let page = fs::read_to_string(home.path().join("reports/calibration/calibration.html")).unwrap();
    assert!(page.contains("PARTIAL"));
}

#[test]
fn mistakes_are_named() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    for (args, says) in [
        ("--report-dir file/x", "cannot create file/x"),
        ("teleport", "[possible values: wakeups, floor, error, capacity]"),
    ] {
        let out = calibrate(home.path(), args).output().unwrap();
        assert_eq!(out.status.code(), Some(2));
        assert!(said(&out).contains(says), "{}", said(&out));
    }
}

#[test]
fn the_document_is_what_the_schema_says() {
    let out = calibrate(Path::new("."), "--print-schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = serde_json::to_value(sample::calibration()).unwrap();
    let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
