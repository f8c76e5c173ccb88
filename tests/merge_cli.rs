//! One run by several processes, and `voxload merge`, as a user starts them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use voxload::report::result::TurnRow;

mod common;

use common::{Run, SMALL, Served, VOXLOAD};

fn voxload(home: &Path, args: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(VOXLOAD);
    command.args(args.split_whitespace()).current_dir(home).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn two_processes_are_one_run() {
    let server = Served::start(&["--preset", "instant", "--set", "reference.burst=1m"]);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 8;
    let args = format!("-u 5 -d 2s --seed 3 --url {} --start-at {at}", server.url);
    let start =
        |part: u32| Run::new(SMALL).set("turn.count", 2).args(&format!("{args} --shard {part}/2")).start();
    let ran = [start(1), start(2)].map(|running| running.wait().expect(0));
    ran[1].said("2 devices of 5 (shard 2/2)");
    let parts = ran.each_ref().map(|r| r.report().canonicalize().unwrap());
    let home = tempfile::tempdir().unwrap();
    let merge = |args: &str| {
        let [one, two] = parts.each_ref().map(|p| p.display());
        voxload(
            home.path(),
            &format!("merge {}", args.replace("ONE", &one.to_string()).replace("TWO", &two.to_string())),
        )
    };

    let (code, stdout, stderr) = merge("TWO ONE --report-dir whole");
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let whole = home.path().join("whole");
    let (result, _) = voxload::report::json::read(&whole).unwrap();
    let own = ran.each_ref().map(|r| r.result());
    assert_eq!(result.turns.succeeded, 5);
    assert_eq!(result.metrics["ttfa"].count, own.iter().map(|r| r.metrics["ttfa"].count).sum::<u64>());
    assert_eq!(result.metrics["ttfa"].min_us, own.iter().map(|r| r.metrics["ttfa"].min_us.unwrap()).min());
    assert_eq!(result.generator.messages_sent, own.iter().map(|r| r.generator.messages_sent).sum::<u64>());
    assert_eq!(result.processes.iter().map(|p| p.generator.devices).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(own[0].shard.as_ref().map(|s| (s.number, s.of)), Some((1, 2)));
    assert_eq!(result.started_at, own[1].started_at);
    let rows = |dir: &Path| -> Vec<TurnRow> {
        csv::Reader::from_path(dir.join("turns.csv")).unwrap().deserialize().map(Result::unwrap).collect()
    };
    let devices = |rows: &[TurnRow]| rows.iter().map(|t| t.device).collect::<BTreeSet<_>>();
    assert_eq!(devices(&rows(&parts[0])), BTreeSet::from([0, 2, 4]));
    let merged = rows(&whole);
    assert_eq!((merged.len(), devices(&merged)), (5, (0..5).collect()));
    assert!(merged.windows(2).all(|w| w[0].ended_us <= w[1].ended_us));
    for file in
        ["report.html", "summary.md", "junit.xml", "histograms.hlog", "intervals.csv", "scenario.toml"]
    {
        assert!(whole.join(file).is_file(), "{file}");
    }
    for text in [&stdout, &fs::read_to_string(whole.join("report.html")).unwrap()] {
        assert!(text.contains("1/2 on ") && text.contains("2/2 on "), "{text}");
    }

    for (args, expected) in [
        ("ONE", "missing: shard 2/2"),
        ("ONE ONE", "are the same part of the fleet"),
        ("ONE TWO --report-dir ONE", "which is read; choose another"),
    ] {
        let (code, _, stderr) = merge(args);
        assert!(code == Some(2) && stderr.contains(expected), "{args}: {stderr}");
    }
    let (code, stdout, _) = merge("TWO --partial --json --quiet --report-dir half");
    let half: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, half["verdict"]["status"].as_str()), (Some(120), Some("invalid")));
}

#[test]
fn a_part_that_cannot_be_played_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for (args, expected) in [
        ("--shard 1/2", "run one with `voxload serve`"),
        ("--shard 1/2 --url ws://127.0.0.1:9/", "--shard 1/2 needs --start-at"),
        ("--shard 3/2", "expected i/n"),
        ("--start-at +10s", "another instant in every process"),
        ("--start-at 2020-01-31T12:00:00Z", "--start-at 2020-01-31T12:00:00Z was"),
        ("-u 3 --shard 5/8 --url ws://127.0.0.1:9/ --start-at 9999999999", "has no device: there are 3"),
        ("--shard 1/1 --baseline x", "cannot be used with"),
    ] {
        let (code, _, stderr) = voxload(home.path(), &format!("run quickstart {args}"));
        assert!(code == Some(2) && stderr.contains(expected), "{args}: {stderr}");
    }
}

/// The parts of a plan are the plan, whatever the scenario.
#[test]
fn the_plans_of_all_parts_are_the_plan_of_the_whole() {
    let home = tempfile::tempdir().unwrap();
    for scenario in
        ["flaky-wifi -u 20", "mixed-homes -u 20", "barge-in --stage 5s:9 --stage 5s:3 --stage 1s:7"]
    {
        let plan = |shard: &str| {
            let (code, stdout, stderr) =
                voxload(home.path(), &format!("inspect {scenario} --faults {shard}"));
            assert_eq!(code, Some(0), "{stderr}");
            stdout.split("\ndevice ").skip(1).map(|d| d.trim_end().to_owned()).collect::<Vec<_>>()
        };
        let by_device = |mut all: Vec<String>| {
            all.sort();
            all
        };
        let parts = (1..=3).flat_map(|i| plan(&format!("--shard {i}/3"))).collect();
        assert_eq!(by_device(parts), by_device(plan("")), "{scenario}");
    }
}
