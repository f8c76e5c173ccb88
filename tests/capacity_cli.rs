//! `voxload capacity`, end to end, with few devices and short probes. What it finds on a busy machine is not judged here: the
//! search is, in virtual time (`src/capacity/simulated.rs`), and its figure by `cargo bench --bench capacity`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use voxload::capacity::document::Ended;
use voxload::capacity::{read, sample};

mod common;

use common::VOXLOAD;

/// Turns of about two seconds, and limits that a busy machine does not reach.
const TOYS: &str = r#"
name = "toys"
[fleet]
devices = 10
ramp = "500ms"
[audio]
fixtures = ["yes"]
[turn]
think = "100ms"
barge_in = { share = 1.0, after = "200ms" }
[session]
connect_timeout = "2s"
[reference]
preset = "instant"
[validity]
send_lateness_p99 = "10s"
send_lateness_max = "60s"
cpu = 1.0
steal = 1.0
"#;

fn capacity(home: &Path, args: &[&str]) -> Command {
    fs::write(home.join("toys.toml"), TOYS).unwrap();
    let mut command = Command::new(VOXLOAD);
    command.arg("capacity").args(args).current_dir(home).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("VOXLOAD_")) {
        command.env_remove(name);
    }
    command
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn up_to_the_ceiling_with_every_probe_kept() {
    let home = tempfile::tempdir().unwrap();
    let budget = ["--threshold", "ttfa:p(50)<30s", "--threshold", "turns.failed:rate<50%"];
    let args = ["toys.toml", "--from", "2", "--ceiling", "3", "--probe", "2s", "--fleet", "1000"];
    let out = capacity(home.path(), &args).args(budget).args(["--set", "audio.chunk=40ms"]).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.starts_with("AT LEAST\none server carries at least 3 devices at TTFA p50 < 30 s"), "{text}");
    assert!(said(&out).contains("probe  1  2 devices (bracket)"), "{}", said(&out));
    let latest = home.path().join("reports/latest");
    let found = read(&latest).unwrap();
    assert_eq!((found.ended, found.held, found.failed), (Ended::Ceiling, Some(3.0), None));
    let loads: Vec<_> = found.trials.iter().map(|t| t.load).collect();
    // The last load runs on until it is certain.
    assert!(loads[0] == 2.0 && loads.len() >= 2 && loads[1..].iter().all(|n| *n == 3.0), "{loads:?}");
    assert!(found.certain);
    for t in &found.trials {
        let (run, _) = voxload::report::json::read(&latest.join(&t.dir)).unwrap();
        assert_eq!(f64::from(run.generator.devices), t.load);
        assert!(run.scenario.contains("chunk = \"40ms\"") && t.turns > 0 && t.turn_rate > 0.0, "{t:?}");
        assert_eq!(run.thresholds.len(), 2, "the thresholds of the command line");
    }
    assert_ne!(found.trials[0].dir, found.trials[1].dir);
    for file in ["capacity.json", "capacity.md", "capacity.html", "capacity.svg", "throughput.svg"] {
        assert!(latest.join(file).is_file(), "{file}");
    }
    assert!(found.command.contains("--from 2 --ceiling 3 --probe 2s --fleet 1000"), "{}", found.command);

    let again = capacity(home.path(), &args).args(budget).arg("--report-dir").arg(&latest).output().unwrap();
    assert!(said(&again).contains("holds an earlier search"), "{}", said(&again));
}

#[test]
fn a_server_of_errors_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let args = ["toys.toml", "--from", "1", "--ceiling", "50", "--probe", "2s", "--json"];
    let faults = ["--threshold", "turns.failed:rate<1%", "--set", "reference.faults.error=1.0"];
    let out = capacity(home.path(), &args).args(faults).output().unwrap();
    assert!(matches!(out.status.code(), Some(99)), "{}", said(&out));
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["ended"], "nothing_holds");
    let loads: Vec<_> =
        found["trials"].as_array().unwrap().iter().filter_map(|t| t["load"].as_f64()).collect();
    assert!(!loads.is_empty() && loads.iter().all(|n| *n == 1.0), "never more devices: {loads:?}");
    assert!(found["sentence"].as_str().unwrap().contains("does not carry even 1 device"), "{found}");
}

#[test]
fn an_interruption_leaves_what_is_known() {
    let home = tempfile::tempdir().unwrap();
    let errors = home.path().join("stderr");
    let args = ["toys.toml", "--from", "1", "--probe", "1s", "--threshold", "ttfa:p(95)<30s"];
    let mut command = capacity(home.path(), &args);
    let child = command.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let mut child = child.spawn().unwrap();
    // The first probe has ended, the second is under way.
    while !fs::read_to_string(&errors).unwrap().contains("probe  2 ") {
        assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&errors).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130), "{}", fs::read_to_string(&errors).unwrap());
    let found = read(&home.path().join("reports/latest")).unwrap();
    assert_eq!((found.ended, found.held, found.trials.len()), (Ended::Interrupted, Some(1.0), 1));
    assert!(
        found.sentence.contains("at least 1 device") && found.sentence.contains("interrupted"),
        "{}",
        found.sentence
    );
}

#[test]
fn nobody_there_is_said_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let args = ["toys.toml", "--probe", "1s", "--threshold", "ttfa:p(95)<1s", "--url", "ws://127.0.0.1:1/"];
    let out = capacity(home.path(), &args).output().unwrap();
    assert_eq!(out.status.code(), Some(124), "{}", said(&out));
    assert!(said(&out).contains("127.0.0.1:1"), "{}", said(&out));
    let left =
        fs::read_dir(home.path().join("reports")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0);
}

#[test]
fn the_document_is_what_the_schema_says() {
    let out = capacity(tempfile::tempdir().unwrap().path(), &["--print-schema"]).output().unwrap();
    let kept = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/capacity.json")).unwrap();
    assert!(kept == out.stdout, "out of date: `voxload capacity --print-schema > docs/schema/capacity.json`");
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for sample in [sample::found(), sample::harness()] {
        let document = serde_json::to_value(sample).unwrap();
        let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}
