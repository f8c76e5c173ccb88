//! Described dialects through the real binary: a run against the reference server, and the verb `dialect`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::process::Command;

mod common;

use common::{Run, SMALL, Served, VOXLOAD, each};

/// Turns come with everything that is measured, interruptions stop, and no message is left unmatched.
#[test]
fn described_dialects_talk_to_the_reference_server() {
    let cases = [
        ("xiaozhi", ("xiaozhi", "", "signal", "0.5")),
        ("xiaozhi, version 2, detection", ("xiaozhi", "v2", "vad", "0")),
        ("xiaozhi, version 3", ("xiaozhi", "v3", "signal", "0")),
        ("openai-realtime", ("openai-realtime", "", "signal", "0.5")),
        ("openai-realtime, older names, detection", ("openai-realtime", "beta", "vad", "0")),
    ];
    each(cases, |(dialect, variant, end, barge_in)| {
        let run = Run::new(SMALL)
            .args("-d 3s")
            .set("target.dialect", dialect)
            .set("target.variant", variant)
            .set("turn.end", end)
            .set("turn.barge_in.share", barge_in)
            .set("report.html", "false");
        let ran = run.go().expect(0);
        let result = ran.result();
        let heard = result.dialect.unwrap();
        assert!(result.turns.succeeded > 0, "{dialect} {variant}: {:?}", result.failures);
        assert_eq!(result.failures.len(), 0, "{dialect} {variant}: {:?}", result.failures);
        assert_eq!(heard.unmatched, 0, "{dialect} {variant}: {:?}", heard.examples);
        for is in ["ready", "final", "token", "audio", "done"] {
            assert!(heard.rules.iter().any(|r| r.meaning == is && r.fired > 0), "{dialect} {variant}: {is}");
        }
        assert!(result.metrics["ttft"].count > 0 && result.metrics["ttfa"].count > 0);
    });
}

/// `voxload dialect …`: its code, and everything that it says.
fn dialect(args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(VOXLOAD).arg("dialect").args(args).env_remove("VOXLOAD_TOKEN").output().unwrap();
    let both = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(both).unwrap())
}

/// The first TOML of a page.
fn first_example(page: &str) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// A home-made server is described in thirty lines, and a mistake in them is shown where it is.
#[test]
fn files_are_checked_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let text = first_example("docs/dialect-format.md");
    assert!(text.lines().count() <= 30, "the first example is short");
    std::fs::write(&path, &text).unwrap();
    let file = path.to_str().unwrap();
    let (code, said) = dialect(&["check", file]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("event `sound`: audio"), "{said}");
    assert!(said.contains("`voxload serve` would never send `heard`, `word`, `over`"), "{said}");
    std::fs::write(&path, text.replace("is = \"final\"", "is = \"finale\"")).unwrap();
    let (code, said) = dialect(&["check", file]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("mine.toml:10:16") && said.contains("did you mean `final`?"), "{said}");
    let (code, said) = dialect(&["list"]);
    assert!(code == Some(0) && said.contains("xiaozhi") && said.contains("openai-realtime"), "{said}");
    let (code, said) = dialect(&["show", "xiaozi"]);
    assert!(code == Some(2) && said.contains("did you mean `xiaozhi`?"), "{said}");
}

/// The worked example is the file beside its server, and one of thirty lines.
#[test]
fn the_tutorial_shows_the_file_of_the_example() {
    let body = |text: &str| text.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
    let shown = first_example("docs/describe-your-protocol.md");
    let file = std::fs::read_to_string("examples/homemade/homemade.toml").unwrap();
    assert_eq!(body(&shown), body(&file));
    assert!(file.lines().count() <= 30);
    let (code, said) = dialect(&["check", "examples/homemade/homemade.toml"]);
    assert_eq!(code, Some(0), "{said}");
}

/// A server that nobody has described to `learn`: what is written is checked, and a device that uses it has its turn.
#[test]
fn a_dialect_is_learned_and_runs_unedited() {
    let dir = tempfile::tempdir().unwrap();
    let server = Served::start(&["--dialect", "envelope"]);
    let file = dir.path().join("learned.toml");
    let learned = file.to_str().unwrap();
    let hello = r#"{"type":"session_start","audio":{"up":{"codec":"pcm16","sample_rate":16000},"down":{"codec":"pcm16","sample_rate":16000},"encoding":"binary"}}"#;
    let learn = ["learn", &server.url, "--open", hello, "--end", r#"{"type":"audio_end"}"#, "--out", learned];
    let (code, said) = dialect(&learn);
    assert_eq!(code, Some(0), "{said}");
    for (event, is) in [
        ("session_started", "ready"),
        ("transcript_final", "final"),
        ("llm_token", "token"),
        ("turn_end", "done"),
    ] {
        let at = said
            .lines()
            .find(|l| l.trim_start().starts_with(event) && l.contains("time"))
            .unwrap_or_else(|| panic!("{event}: {said}"));
        assert!(at.contains(is), "{at}");
    }
    let (code, said) = dialect(&["check", learned]);
    assert_eq!(code, Some(0), "{said}");
    let debug = Command::new(VOXLOAD)
        .args(["debug", "--url", &server.url, "--set", &format!("target.dialect={learned}")])
        .args(["--set", "audio.fixtures=knock-knock", "--set", "turn.think=100ms"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&debug.stdout);
    assert_eq!(debug.status.code(), Some(0), "{said}");
    assert!(said.contains("turn 0: ok") && !said.contains("no rule"), "{said}");
    // A file that is there is not lost, and one that cannot be used is not written.
    let (code, said) = dialect(&learn);
    assert!(code == Some(2) && said.contains("--force replaces it"), "{said}");
    let other = dir.path().join("other.toml");
    let other = other.to_str().unwrap();
    let (code, said) = dialect(&["learn", "ws://127.0.0.1:1/", "--out", other]);
    assert!(code == Some(124) && said.contains("nothing was written"), "{said}");
    let (code, said) = dialect(&["learn", &server.url, "--end", "{\"a\"", "--out", other]);
    assert!(code == Some(2) && said.contains("not valid JSON"), "{said}");
    let (code, said) = dialect(&["learn", &server.url, "--open", "{\"a\": \"{tokn}\"}", "--out", other]);
    assert!(code == Some(2) && said.contains("did you mean `{token}`?"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
}
