//! `voxload network`, as a user meets it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn network(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_voxload")).arg("network").args(args).env_clear().output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn presets_are_listed() {
    let (code, out, err) = network(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(out);
    let (_, json, _) = network(&["--json"]);
    let presets: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(presets[3]["name"], "wifi-congested");
    assert_eq!(presets[3]["up"]["bits_per_second"], 2_000_000);
}

#[test]
fn one_is_shown_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("lte.svg");
    let (code, out, err) = network(&["lte", "--seed", "7", "--svg", svg.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        "lte · 4G",
        "70.0 ms, half of it each way",
        "12 to the device, 6 from it",
        "p99.9",
        "sent again",
        "█",
    ] {
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
    assert_eq!(out, network(&["lte", "--seed", "7"]).1, "the same seed, the same numbers");
    assert_ne!(out, network(&["lte", "--seed", "8"]).1);
    assert!(std::fs::read_to_string(svg).unwrap().contains("from the device"));
}

#[test]
fn an_esp32_takes_longer_to_repair() {
    let p99 = |stack: &str| {
        let (_, json, _) = network(&["edge", "--stack", stack, "--json"]);
        let study: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(study["preset"]["stack"], stack);
        study["up"]["p99_us"].as_i64().unwrap()
    };
    assert!(p99("lwip") > p99("linux"));
}

#[test]
fn recordings_are_checked() {
    let (code, out, _) = network(&["--check", "wifi-microwave"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r"
    wifi-microwave: good
      duration      2.00 s, then it starts over
      opportunities 501 of 1500 bytes
      rate          3.01 Mbit/s on average
      longest gap   11.0 ms, from 0.019 s on
    ");
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.trace");
    std::fs::write(&bad, "5\n3\nx\n").unwrap();
    let (code, out, err) = network(&["--check", bad.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("bad.trace: line 2: 3 ms comes after 5 ms") && err.contains("line 3: `x` is not"),
        "{err}"
    );
    let (code, _, err) = network(&["--check", "none"]);
    assert!(code == Some(2) && err.contains("cat1-drive"), "{err}");
}

#[test]
fn mistakes_are_named() {
    let (code, _, err) = network(&["wifi-hom"]);
    assert!(
        code == Some(2) && err.contains("no preset `wifi-hom`") && err.contains("did you mean `wifi-home`?"),
        "{err}"
    );
    assert_eq!(network(&["--runs", "3"]).0, Some(2));
    assert_eq!(network(&["lte", "--truth"]).0, Some(2));
}

#[test]
fn the_truth_is_a_table() {
    let (code, out, _) = network(&["--truth", "--runs", "1"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("uplink, 5 %") && out.contains("321.0") && out.contains("within"), "{out}");
    let (_, json, _) = network(&["--truth", "--runs", "1", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(rows.as_array().unwrap().len() > 15 && rows[0]["within"] == true);
}
