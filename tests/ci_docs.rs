//! The workflows in docs/ci.md: YAML that a parser reads, scripts that a shell reads, and commands that voxload understands.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use yaml_rust2::{Yaml, YamlLoader};

const DOC: &str = include_str!("../docs/ci.md");

const VOXLOAD: &str = env!("CARGO_BIN_EXE_voxload");

/// Flags of `voxload run` that are none of the scenario's, and whether a value follows.
const OF_THE_RUN: [(&str, bool); 7] = [
    ("--baseline", true),
    ("--margin", true),
    ("--metric", true),
    ("--runs", true),
    ("--out", true),
    ("--json", false),
    ("--quiet", false),
];

/// The blocks of YAML, parsed.
fn workflows() -> Vec<Yaml> {
    let blocks = DOC.split("```yaml\n").skip(1).map(|b| b.split_once("\n```").unwrap().0);
    let all: Vec<Yaml> = blocks
        .map(|text| {
            let mut documents = YamlLoader::load_from_str(text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
            assert_eq!(documents.len(), 1);
            documents.remove(0)
        })
        .collect();
    assert_eq!(all.len(), 4, "a workflow more or less");
    all
}

/// Every text in it that is given to a shell: `run` of a step, the lines of a `script`.
fn scripts(y: &Yaml, found: &mut Vec<String>) {
    fn texts(y: &Yaml, found: &mut Vec<String>) {
        match y {
            Yaml::String(text) => found.push(text.clone()),
            Yaml::Array(all) => all.iter().for_each(|y| texts(y, found)),
            // `curl --header "A: b"` without quotes around all of it is a mapping, and no script.
            other => panic!("not a text: {other:?}"),
        }
    }
    match y {
        Yaml::Hash(map) => {
            for (key, value) in map {
                match key.as_str() {
                    Some("run" | "script" | ".server") => texts(value, found),
                    _ => scripts(value, found),
                }
            }
        }
        Yaml::Array(all) => all.iter().for_each(|y| scripts(y, found)),
        _ => {}
    }
}

fn all_scripts() -> Vec<String> {
    let mut found = Vec::new();
    workflows().iter().for_each(|y| scripts(y, &mut found));
    found
}

/// The words of each `voxload …` in a script, as a shell would split them. Enough of a shell for these scripts.
fn commands(script: &str) -> Vec<Vec<String>> {
    let lines = script.lines().map(str::trim).filter(|l| l.starts_with("voxload "));
    lines.map(|line| words(line).into_iter().skip(1).take_while(|w| w != "||").collect()).collect()
}

fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars().chain([' ']) {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (' ', None) if word.is_empty() => {}
            (' ', None) => all.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    // What a runner would put in.
    let filled = |w: String| w.replace("$SERVER_URL", "ws://127.0.0.1:8080/talk").replace("$attempt", "1");
    all.into_iter().map(filled).collect()
}

fn voxload(args: &[String]) -> (bool, String) {
    let out = Command::new(VOXLOAD).args(args).stdin(Stdio::null()).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn every_command_is_understood() {
    let all: Vec<Vec<String>> = all_scripts().iter().flat_map(|s| commands(s)).collect();
    assert!(all.len() >= 11, "{all:#?}");
    for args in all {
        let help = [&args[..], &["--help".to_owned()]].concat();
        let (good, said) = voxload(&help);
        assert!(good, "{args:?}: {said}");
        let scenario = match args[0].as_str() {
            "run" => &args[1..],
            "baseline" => &args[2..],
            _ => continue,
        };
        // The scenario with its flags is checked whole: thresholds, keys, values.
        let mut dry = vec!["inspect".to_owned()];
        let mut rest = scenario.iter();
        while let Some(word) = rest.next() {
            let own = OF_THE_RUN.iter().find(|(flag, _)| flag == word);
            match (own, word.as_str()) {
                (Some((_, true)), _) | (None, "--against") => drop(rest.next()),
                (Some((_, false)), _) => {}
                (None, _) => dry.push(word.clone()),
            }
        }
        let (good, said) = voxload(&dry);
        assert!(good, "{dry:?}: {said}");
    }
}

#[test]
fn a_mistyped_flag_would_be_found() {
    for line in ["voxload run ci-gate --treshold x --report-dir y", "voxload baseline record --metrics"] {
        let args = [commands(line).remove(0), vec!["--help".to_owned()]].concat();
        assert!(!voxload(&args).0, "{line}");
    }
}

#[test]
fn every_script_is_one_that_a_shell_reads() {
    let all = all_scripts();
    assert!(all.len() > 15, "{all:#?}");
    for script in all {
        // GitHub fills these in before a shell sees them.
        let mut filled = script.clone();
        while let Some((before, rest)) = filled.split_once("${{") {
            filled = format!("{before}x{}", rest.split_once("}}").expect("an expression that ends").1);
        }
        let mut shell =
            Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(filled.as_bytes()).unwrap();
        let out = shell.wait_with_output().unwrap();
        assert!(out.status.success(), "{filled}\n{}", String::from_utf8_lossy(&out.stderr));
    }
}
