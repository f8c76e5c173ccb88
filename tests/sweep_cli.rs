//! `voxload sweep`, end to end: small sweeps through the binary. What they measure is not judged: the machine is busy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use voxload::sweep::Sweep;

mod common;

use common::{SECRET, VOXLOAD};

const SCENARIO: &str = r#"
name = "tiny"
[sweep]
repeat = 1
retries = 0
[sweep.axes]
"audio.codec" = ["opus", "pcm16"]
[fleet]
devices = 2
duration = "3s"
graceful_stop = "4s"
[audio]
fixtures = ["yes"]
[turn]
think = "50ms"
[target]
headers = { X-Toy = "${TOY}" }
[reference]
preset = "instant"
burst = "1m"
[validity]
send_lateness_p99 = "10s"
send_lateness_max = "60s"
cpu = 1.0
steal = 1.0
[report]
html = false
"#;

struct Home(tempfile::TempDir);

impl Home {
    fn new(scenario: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("tiny.toml"), scenario).unwrap();
        Self(home)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(VOXLOAD);
        command.arg("sweep").args(args.split_whitespace()).env("TOY", SECRET);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn go(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn sweep(&self, dir: &str) -> Sweep {
        serde_json::from_str(&fs::read_to_string(self.path(dir).join("sweep.json")).unwrap()).unwrap()
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn printed(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// No file below the folder holds the secret.
fn no_secret(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_secret(&path);
        } else {
            let text = fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{}", path.display());
        }
    }
}

#[test]
fn two_cells_are_measured_and_compared() {
    let home = Home::new(SCENARIO);
    // There is no time for a probe in so short a search: it says that it knows nothing.
    let out = home.go("tiny.toml --report-dir s --threshold ttfa:p(95)<30s --capacity 5s");
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let s = home.sweep("s");
    for cell in &s.cells {
        let found = cell.capacity.as_ref().unwrap();
        assert!(
            found.load.is_none() && home.path("s").join(&found.dir).join("capacity.json").is_file(),
            "{found:?}"
        );
    }
    assert!(
        s.command.contains("--capacity 5s") && printed(&out).contains("devices per server"),
        "{}",
        s.command
    );
    assert!(s.complete && s.valid_runs == 2 && s.cells.len() == 2, "{}", printed(&out));
    let [opus, pcm] = &s.cells[..] else { panic!("two cells") };
    let (o, p) = (opus.measured.as_ref().unwrap(), pcm.measured.as_ref().unwrap());
    assert!(o.turns > 0 && p.turns > 0 && o.failed == 0 && p.failed == 0);
    assert!(p.up.kbps > 3.0 * o.up.kbps && p.down.kbps > 3.0 * o.down.kbps, "{o:?}\n{p:?}");
    // 256 kbit/s of samples, each second in less than 20 messages, none of them beyond the speech.
    assert!((256.0..330.0).contains(&p.up.kbps) && (12.0..25.0).contains(&p.up.messages_per_s), "{p:?}");
    assert!(o.server_cpu_per_device.unwrap() > 0.0);
    assert!(pcm.speech.quality.unwrap().segmental_snr_db > opus.speech.quality.unwrap().segmental_snr_db);
    assert_eq!((o.change, p.change.unwrap().pairs), (None, 1));
    assert_eq!(s.recommendation.map(|r| r.cell), Some(1), "{}", s.answer);
    assert!(printed(&out).starts_with("ANSWERED: Choose codec opus"), "{}", printed(&out));
    for file in ["sweep.md", "sweep.csv", "sweep.html", "charts/pareto.svg", "runs/c02-r1/result.json"] {
        assert!(home.path("s").join(file).is_file(), "{file}");
    }
    no_secret(&home.path("s"));

    // Both rounds of a cell have the same seed as the other cell's, and the schema describes the document.
    let seed = |run: &str| {
        let text = fs::read_to_string(home.path("s/runs").join(run).join("result.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["seed"].clone()
    };
    assert_eq!(seed("c01-r1"), seed("c02-r1"));
    let schema: serde_json::Value = serde_json::from_str(&printed(&home.go("--print-schema"))).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = serde_json::to_value(&s).unwrap();
    let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // The same folder again is refused, and gone on with when asked: one more round.
    let out = home.go("tiny.toml --report-dir s --threshold ttfa:p(95)<30s");
    assert!(out.status.code() == Some(2) && said(&out).contains("--resume s"), "{}", said(&out));
    let out = home.go("tiny.toml --resume s --threshold ttfa:p(95)<30s --axis audio.codec=opus,mulaw");
    assert!(out.status.code() == Some(2) && said(&out).contains("its cell 2 is pcm16"), "{}", said(&out));
    let out = home.go("tiny.toml --resume s --threshold ttfa:p(95)<30s --repeat 2 --dry-run");
    assert!(printed(&out).contains("2 cells × 2 rounds = 4 runs"), "{}", printed(&out));
    assert!(printed(&out).contains("2 are done; the others take"), "{}", printed(&out));
}

#[test]
fn an_interrupted_sweep_leaves_its_table_and_goes_on() {
    let home = Home::new(SCENARIO);
    let child = home
        .command("tiny.toml --report-dir s")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let order = |home: &Home| -> [&str; 2] {
        // Which cell comes first, the seed says.
        if home.path("s/runs/c01-r1").exists() { ["c01-r1", "c02-r1"] } else { ["c02-r1", "c01-r1"] }
    };
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let [first, second] = order(&home);
        let runs = home.path("s/runs");
        if runs.join(first).join("result.json").exists() && runs.join(second).join("turns.csv").exists() {
            break;
        }
        assert!(Instant::now() < end, "the second run does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", said(&out));
    assert!(printed(&out).starts_with("PARTIAL:"), "{}", printed(&out));
    assert!(said(&out).contains("interrupted; go on with: voxload sweep tiny.toml"), "{}", said(&out));
    let part = home.sweep("s");
    assert!(!part.complete && part.valid_runs == 1);
    let [first, _] = order(&home);
    let first = fs::read_to_string(home.path("s/runs").join(first).join("result.json")).unwrap();

    let out = home.go("tiny.toml --resume s");
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(said(&out).contains("1 runs to make") && said(&out).contains("[  2/2]"), "{}", said(&out));
    let whole = home.sweep("s");
    assert!(whole.complete && whole.valid_runs == 2 && whole.started_at == part.started_at);
    let [kept, _] = order(&home);
    let kept = fs::read_to_string(home.path("s/runs").join(kept).join("result.json")).unwrap();
    assert_eq!(first, kept, "what is done is not made again");
}

#[test]
fn plans_are_shown_and_mistakes_are_told_before_anything_runs() {
    let home = Home::new(SCENARIO);
    let out =
        home.go("tiny.toml --dry-run --repeat 2 --axis audio.bitrate=16k,24k --axis audio.frame=20ms,30ms");
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let text = printed(&out);
    assert!(
        text.contains("× 2 rounds =") && text.contains("Skipped") && text.contains("the same as cell"),
        "{text}"
    );
    for (args, says) in [
        ("", "which scenario?"),
        ("quickstart", "--axis 'audio.chunk=20ms,60ms,100ms'"),
        ("tiny.toml --axis audio.chnk=20ms", "did you mean `audio.chunk`?"),
        ("tiny.toml --axis audio.chunk=20ms,25ms", "is refused in every combination"),
        ("tiny.toml --set audio.codec=opus", "is an axis of this sweep, and --set sets it, too"),
        ("tiny.toml --axis fleet.devices=1,2 --stage 1s:5", "--stage sets what it follows from"),
        ("tiny.toml --axis seed=1,2", "`seed` cannot be an axis"),
        ("tiny.toml --set audio.fixtures=nobody", "the fixtures cannot be used"),
        ("tiny.toml --repeat 0", "out of range"),
        ("tiny.toml --resume nowhere", "cannot read nowhere/plan.json"),
    ] {
        let out = home.go(args);
        assert_eq!(out.status.code(), Some(2), "{args}: {}", said(&out));
        assert!(said(&out).contains(says), "{args}: {}", said(&out));
    }
    assert!(!home.path("reports").exists(), "nothing is left of what was refused");
}

#[test]
fn a_target_that_is_not_there_stops_the_sweep() {
    let home = Home::new(SCENARIO);
    let out = home.go("tiny.toml --url ws://127.0.0.1:9/ --report-dir s");
    assert_eq!(out.status.code(), Some(124), "{}", said(&out));
    assert!(said(&out).contains("exit code 124") && said(&out).contains("--resume s"), "{}", said(&out));
    assert_eq!(home.sweep("s").valid_runs, 0);
}

#[test]
fn the_schema_in_docs_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/sweep.json");
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == voxload::sweep::schema(),
        "docs/schema/sweep.json is out of date: cargo run -- sweep --print-schema > docs/schema/sweep.json"
    );
}
