//! `voxload prove` as a user starts it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn prove(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_voxload")).arg("prove").args(args).current_dir(home).output().unwrap()
}

#[test]
fn a_quick_proof_leaves_its_report() {
    let home = tempfile::tempdir().unwrap();
    let out = prove(home.path(), &["hlog", "--quick"]);
    let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let dir = home.path().join("reports/latest");
    let json: Value = serde_json::from_str(&fs::read_to_string(dir.join("proof.json")).unwrap()).unwrap();
    let proof = &json["proofs"][0];
    assert_eq!(proof["proof"], "hlog");
    assert!(told.contains("hlog: a run with failures"), "progress: {told}");
    // On a machine that is too busy, the run itself is INVALID, and the proof says that it is undecided.
    let outcome = proof["outcome"].as_str().unwrap();
    let code = match outcome {
        "holds" => 0,
        "undecided" => 120,
        _ => panic!("{outcome}: {said}{told}"),
    };
    assert_eq!(out.status.code(), Some(code), "{said}{told}");
    assert!(fs::read_to_string(dir.join("proof.md")).unwrap().contains("## hlog"));
    let run = proof["runs"][0].as_str().unwrap();
    assert!(dir.join(run).join("histograms.hlog").is_file(), "{run}: the underlying run is kept");
    if outcome == "holds" {
        assert!(said.contains("1 of 1 proofs hold"), "{said}");
        assert!(!proof["checks"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_folder_with_earlier_proofs_is_refused() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("old/runs")).unwrap();
    let out = prove(home.path(), &["hlog", "--quick", "--report-dir", "old"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--report-dir"));
}

#[test]
fn a_proof_that_does_not_exist_is_a_usage_error() {
    let out = prove(Path::new("."), &["perpetual-motion"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("possible values: floor, delays"));
}
