//! `voxload compare`, `voxload baseline record` and `voxload run --baseline`, as a user starts them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use voxload::compare::{Document, sample};
use voxload::report::RunResult;
use voxload::report::sample::{Kind, make};

mod common;

use common::VOXLOAD;

/// Many short turns in a second: enough for a p95, on a machine that may be busy.
const TINY: &str = r#"
name = "tiny"
[fleet]
arrivals = "open"
rate = 100.0
devices = 150
duration = "1200ms"
graceful_stop = "15s"
[audio]
fixtures = ["yes"]
codec = "pcm16"
[turn]
count = 1
think = "0ms"
[reference]
preset = "instant"
burst = "1m"
[report]
html = false
junit = false
histograms = false
[validity]
send_lateness_p99 = "10s"
send_lateness_max = "60s"
cpu = 1.0
steal = 1.0
probe = 0
"#;

fn command(home: &Path, args: &str) -> Command {
    let mut command = Command::new(VOXLOAD);
    command.args(args.split_whitespace()).current_dir(home).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("VOXLOAD_")) {
        command.env_remove(name);
    }
    command
}

fn voxload(home: &Path, args: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(home, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(stdout), text(stderr));
    assert!(!err.contains("panicked"), "{err}");
    (status.code(), out, err)
}

fn put(dir: &Path, run: &RunResult) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("result.json"), serde_json::to_string(run).unwrap()).unwrap();
}

/// A folder with so many runs of that p95, spread a little.
fn side(dir: &Path, p95: f64, runs: u64, parity: u64) {
    for n in 0..runs {
        put(&dir.join(format!("run-{n}")), &sample::run(p95 + n as f64, 2 * n + parity));
    }
}

fn read(file: &Path) -> Document {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn exit_codes_say_the_answer() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    side(&home.join("base"), 300.0, 5, 0);
    side(&home.join("same"), 300.0, 5, 1);
    side(&home.join("slower"), 340.0, 5, 1);
    side(&home.join("few"), 340.0, 3, 1);
    let mut invalid = make(Kind::Invalid, 9, 600).result;
    let good = sample::run(300.0, 9);
    (invalid.scenario, invalid.target, invalid.name) = (good.scenario, good.target, good.name);
    side(&home.join("invalid"), 300.0, 4, 1);
    put(&home.join("invalid/run-9"), &invalid);
    for (new, code, says) in [
        ("same", 0, "SAME"),
        ("slower", 122, "WORSE"),
        ("few", 123, "INCONCLUSIVE"),
        ("invalid", 120, "INVALID"),
    ] {
        let (status, out, err) = voxload(home, &format!("compare base {new} --report-dir report-{new}"));
        assert_eq!(status, Some(code), "{new}: {out}{err}");
        assert!(out.starts_with(says), "{out}");
        let d = read(&home.join(format!("report-{new}/compare.json")));
        assert_eq!(i32::from(d.verdict.exit_code), code);
        for file in ["compare.md", "compare.html", "compare-percentiles.svg", "junit.xml"] {
            assert!(home.join(format!("report-{new}/{file}")).is_file(), "{file}");
        }
    }
    let (status, out, _) = voxload(home, "compare base slower --json --margin 60ms");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &json["verdict"]["answer"]), (Some(0), &"same".into()));
    assert!(home.join("reports/latest/compare.html").is_file());
}

#[test]
fn what_cannot_be_compared_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    side(&home.join("base"), 300.0, 5, 0);
    let mut other = sample::run(300.0, 1);
    other.scenario = other.scenario.replace("1000", "500");
    put(&home.join("other"), &other);
    fs::create_dir(home.join("empty")).unwrap();
    for (args, says) in [
        ("compare base", "compare BASE NEW"),
        ("compare base gone", "cannot read gone"),
        ("compare base empty", "holds no run"),
        ("compare base base", "on both sides"),
        ("compare base other", "fleet.devices: 1000 → 500"),
        ("compare base other --metric tfa", "--metric tfa"),
        ("compare base other --margin ten", "--margin ten"),
        ("run quickstart --metric ttfa", "--baseline DIR"),
        ("run quickstart --runs 5", "--baseline"),
        ("run quickstart --baseline gone", "cannot read gone"),
        ("run quickstart --baseline base", "is of another load"),
        ("baseline record quickstart --runs 0", "1..=100"),
        ("baseline record gone.toml", "gone.toml"),
        ("baseline record quickstart --report-dir x", "--out"),
        ("baseline record quickstart --margin 5ms", "--against URL"),
        ("baseline record quickstart --against-set seed=2", "the same seeds"),
    ] {
        let (status, out, err) = voxload(home, args);
        assert_eq!(status, Some(2), "{args}: {out}{err}");
        assert!(err.contains(says), "{args}: {err}");
    }
    let (status, out, _) = voxload(home, "compare base other --allow-different");
    assert_eq!(status, Some(123), "one run: {out}");
    assert!(out.contains("not of the same load"), "{out}");
}

#[test]
fn the_schema_is_printed() {
    let (status, out, _) = voxload(Path::new("."), "compare --print-schema");
    assert_eq!(status, Some(0));
    assert_eq!(out, include_str!("../docs/schema/comparison.json"));
}

#[test]
fn a_baseline_is_recorded_resumed_and_compared_with() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let (status, _, err) = voxload(home, "baseline record tiny.toml --runs 2 --out b");
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("run 1 of 2 (base 1, seed 1)") && err.contains("left"), "{err}");
    let result = |run: &str| voxload::report::json::read(&home.join(run)).unwrap().0;
    let (first, second) = (result("b/base/run-01"), result("b/base/run-02"));
    assert_eq!((first.seed, second.seed), (1, 2));

    // Three more; what is there stays.
    let (status, _, err) = voxload(home, "baseline record tiny.toml --runs 5 --out b");
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("run 3 of 5") && !err.contains("run 2 of 5"), "{err}");
    assert_eq!(result("b/base/run-01").started_at, first.started_at);
    let (status, _, err) = voxload(home, "baseline record tiny.toml -u 50 --runs 5 --out b");
    assert_eq!(status, Some(2));
    assert!(err.contains("fleet.devices: 150 there, 50 now"), "{err}");

    // The same again: no machine is so busy that it is five seconds slower.
    let again = "run tiny.toml --baseline b --margin 5s --report-dir again";
    let (status, out, err) = voxload(home, again);
    assert_eq!(status, Some(0), "{out}{err}");
    assert_eq!(result("again/run-01").seed, 1, "the same draws as the baseline's");
    let d = read(&home.join("again/compare.json"));
    assert_eq!((d.base.used, d.new.used, d.metrics[0].metric.as_str()), (5, 5, "ttfa:p(95)"));
    let (status, _, err) = voxload(home, again);
    assert_eq!(status, Some(2), "not into a folder with other runs");
    assert!(err.contains("--report-dir") && err.contains("--resume again"), "{err}");
    // Going on with it is asked for, and only with runs of the same.
    let (status, _, err) =
        voxload(home, "run tiny.toml -u 140 --baseline b --resume again --allow-different");
    assert_eq!(status, Some(2), "{err}");
    assert!(err.contains("fleet.devices: 150 there, 140 now"), "{err}");
    let (status, _, err) = voxload(home, "run tiny.toml --baseline b --resume b");
    assert!(status == Some(2) && err.contains("no run of a comparison"), "{err}");
    fs::remove_dir_all(home.join("again/run-05")).unwrap();
    let outs = "--out json=c.json --out md=c.md --out html=c.html --out junit=c.xml";
    let (status, out, err) =
        voxload(home, &format!("run tiny.toml --baseline b --margin 5s --resume again {outs}"));
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(err.contains("run 5 of 5") && !err.contains("run 4 of 5"), "{err}");
    for (copy, of) in [
        ("c.json", "compare.json"),
        ("c.md", "compare.md"),
        ("c.html", "compare.html"),
        ("c.xml", "junit.xml"),
    ] {
        assert_eq!(fs::read(home.join(copy)).unwrap(), fs::read(home.join("again").join(of)).unwrap());
    }
    let (status, _, err) = voxload(home, "run tiny.toml --baseline b --out csv=turns.csv");
    assert!(status == Some(2) && err.contains("no turns of its own"), "{err}");
    // A failed threshold outranks the comparison; one run decides nothing.
    let (status, out, err) =
        voxload(home, "run tiny.toml --baseline b --runs 1 --threshold ttfa:p(95)<1ms --report-dir one");
    assert_eq!(status, Some(99), "{out}{err}");
    assert!(out.starts_with("INCONCLUSIVE") && err.contains("nothing can be decided"), "{out}{err}");
}

#[test]
fn two_targets_take_turns_and_are_compared() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let record = "baseline record tiny.toml --against-set reference.llm=3s --margin 500ms --out two";
    let (status, out, err) = voxload(home, record);
    assert_eq!(status, Some(122), "{out}{err}");
    let order: Vec<&str> =
        err.lines().filter_map(|l| l.split_once('(')?.1.split_once(',')).map(|(name, _)| name).collect();
    let expected = [
        "base 1",
        "against 1",
        "against 2",
        "base 2",
        "base 3",
        "against 3",
        "against 4",
        "base 4",
        "base 5",
    ];
    assert_eq!(order[..9], expected, "{err}");
    let d = read(&home.join("two/compare.json"));
    assert!(!d.notes.iter().any(|n| n.contains("one after the other")), "{:?}", d.notes);
    assert!(home.join("two/compare.html").is_file());
    let (status, out, err) = voxload(home, "compare two --margin 500ms --report-dir later");
    assert_eq!(status, Some(122), "{out}{err}");
    let (status, _, err) = voxload(home, "compare two/base two");
    assert_eq!(status, Some(2));
    assert!(err.contains("two sides"), "{err}");
}

#[test]
fn an_interrupted_recording_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let mut child = command(home, "baseline record tiny.toml --runs 3 --out b -q").spawn().unwrap();
    let start = Instant::now();
    while !home.join("b/base/run-02/turns.csv").exists() {
        assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!home.join("b/base/run-03").exists());
    let (status, _, err) = voxload(home, "baseline record tiny.toml --runs 3 --out b");
    assert_eq!(status, Some(0), "{err}");
    assert!(!err.contains("run 1 of 3") && err.contains("run 2 of 3"), "{err}");
}

#[test]
fn an_unreachable_target_ends_it_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let (status, _, err) = voxload(home, "baseline record tiny.toml --url ws://127.0.0.1:1/ --out b");
    assert_eq!(status, Some(124), "{err}");
    assert!(err.contains("base 1 could not be made") && err.contains("goes on from there"), "{err}");
}

#[test]
fn github_is_told() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    side(&home.join("base"), 300.0, 5, 0);
    side(&home.join("slower"), 340.0, 5, 1);
    let summary = home.join("step.md");
    let told = |args: &str| {
        let out = command(home, args)
            .envs([("GITHUB_ACTIONS", "true".as_ref()), ("GITHUB_STEP_SUMMARY", summary.as_os_str())])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    let (status, out, err) = told("compare base slower");
    assert_eq!(status, Some(122), "{out}{err}");
    let last: Vec<&str> = out.lines().filter(|l| l.starts_with("::")).collect();
    assert!(last[0].starts_with("::error title=voxload sample%3A a regression::NEW is slower: "), "{last:?}");
    let once = fs::read_to_string(&summary).unwrap();
    assert!(once.starts_with("# ❌ WORSE"), "{once}");

    // A document on standard output stays one. What is a part of something larger says nothing by itself.
    fs::write(home.join("tiny.toml"), TINY).unwrap();
    let (status, out, err) = told("run tiny.toml --json --threshold ttfa:p(95)<1ms --report-dir r");
    assert_eq!(status, Some(99), "{out}{err}");
    serde_json::from_str::<Value>(&out).unwrap();
    assert!(
        err.contains("\n::error title=voxload tiny%3A a threshold did not hold::ttfa:p(95)<1ms: "),
        "{err}"
    );
    let twice = fs::read_to_string(&summary).unwrap();
    assert!(twice.starts_with(&once) && twice.contains("VALID, FAIL: tiny"), "{twice}");
    let (status, out, err) = told("baseline record tiny.toml --runs 1 --out b");
    assert_eq!(status, Some(0), "{out}{err}");
    assert_eq!(fs::read_to_string(&summary).unwrap(), twice);
}
