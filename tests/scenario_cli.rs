//! Scenarios from the command line: `inspect` and `init`, as a user meets them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

/// What a call of the binary gave back.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `voxload` in a folder, with nothing in its environment but what is given.
fn voxload(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_voxload"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_good_file_prints_its_plan() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), "fleet.devices = 20\nthresholds = [\"ttfa:p(95)<300ms\"]\n")
        .unwrap();
    let o = voxload(dir.path(), &["inspect", "mine.toml", "-d", "1m"], &[]);
    assert_eq!((o.code, o.stderr.as_str()), (0, ""));
    assert!(o.stdout.starts_with("mine (mine.toml), seed 1: no problems\n"), "{}", o.stdout);
    assert!(o.stdout.contains("20 devices for 1m, closed loop"), "{}", o.stdout);
}

#[test]
fn a_bad_file_shows_every_problem_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("bad.toml"),
        "[fleet]\ndevcies = 5\nduration = 30\n\n[target]\nurl = \"wss://h/?key=${KEY}\"\n",
    )
    .unwrap();
    let o = voxload(dir.path(), &["inspect", "bad.toml", "--set", "audio.codec=opsu"], &[("NO_COLOR", "1")]);
    assert_eq!((o.code, o.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(o.stderr);
}

#[test]
fn shipped_scenarios_work_in_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let o = voxload(dir.path(), &["inspect", "quickstart", "--json"], &[]);
    assert_eq!(o.code, 0, "{}", o.stderr);
    let plan: serde_json::Value = serde_json::from_str(&o.stdout).unwrap();
    assert_eq!((&plan["name"], &plan["devices"]), (&"quickstart".into(), &1_000.into()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_unknown_scenario_lists_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let o = voxload(dir.path(), &["inspect", "quikstart"], &[]);
    assert_eq!(o.code, 2);
    assert!(o.stderr.contains("did you mean `quickstart`?"), "{}", o.stderr);
}

#[test]
fn environment_and_variables_reach_the_scenario_and_secrets_do_not_leave_it() {
    let dir = tempfile::tempdir().unwrap();
    let environment =
        [("VOXLOAD_FLEET_DEVICES", "7"), ("VOICE_URL", "wss://voice.example.com/talk?key=hush")];
    for args in [
        &["inspect", "own-server"][..],
        &["inspect", "own-server", "--effective"],
        &["inspect", "own-server", "--json"],
    ] {
        let o = voxload(dir.path(), args, &environment);
        assert_eq!(o.code, 0, "{}", o.stderr);
        assert!(!o.stdout.contains("hush"), "{}", o.stdout);
        assert!(
            o.stdout.contains('7')
                && o.stdout.contains(if args.contains(&"--effective") {
                    "${VOICE_URL:-}"
                } else {
                    "voice.example.com/talk?key=***"
                }),
            "{}",
            o.stdout
        );
    }
}

#[test]
fn init_writes_what_inspect_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let o = voxload(
        dir.path(),
        &["init", "--url", "ws://localhost:8080/talk", "--dialect", "plain", "mine.toml"],
        &[],
    );
    assert_eq!(o.code, 0, "{}", o.stderr);
    let o = voxload(dir.path(), &["inspect", "mine.toml"], &[]);
    assert_eq!(o.code, 0, "{}", o.stderr);
    assert!(o.stdout.contains("target    ws://localhost:8080/talk, dialect plain"), "{}", o.stdout);

    let before = std::fs::read_to_string(dir.path().join("mine.toml")).unwrap();
    let o = voxload(dir.path(), &["init", "mine.toml"], &[]);
    assert_eq!(o.code, 2);
    assert!(o.stderr.contains("`--force` replaces it"), "{}", o.stderr);
    assert_eq!(std::fs::read_to_string(dir.path().join("mine.toml")).unwrap(), before);
    assert_eq!(voxload(dir.path(), &["init", "--force", "mine.toml"], &[]).code, 0);

    let o = voxload(dir.path(), &["init", "--url", "http://localhost", "other.toml"], &[]);
    assert_eq!(o.code, 2);
    assert!(o.stderr.contains("write `ws://`") && !dir.path().join("other.toml").exists(), "{}", o.stderr);
}
