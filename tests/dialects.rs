//! Described dialects through the real binary: a run against the reference server, and the verb `dialect`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::process::Command;

mod common;

use common::{Run, SMALL, VOXLOAD, each};

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

/// A home-made server is described in thirty lines, and a mistake in them is shown where it is.
#[test]
fn files_are_checked_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let text = std::fs::read_to_string("docs/dialect-format.md").unwrap();
    let text = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(text.lines().count() <= 36, "the first example is short");
    std::fs::write(&path, text).unwrap();
    let check = |args: &[&str]| {
        let out = Command::new(VOXLOAD).arg("dialect").args(args).output().unwrap();
        let both = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8(both).unwrap())
    };
    let file = path.to_str().unwrap();
    let (code, said) = check(&["check", file]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("event `sound`: audio"), "{said}");
    std::fs::write(&path, text.replace("is = \"final\"", "is = \"finale\"")).unwrap();
    let (code, said) = check(&["check", file]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("mine.toml:14:6") && said.contains("did you mean `final`?"), "{said}");
    let (code, said) = check(&["list"]);
    assert!(code == Some(0) && said.contains("xiaozhi") && said.contains("openai-realtime"), "{said}");
    let (code, said) = check(&["show", "xiaozi"]);
    assert!(code == Some(2) && said.contains("did you mean `xiaozhi`?"), "{said}");
}
