//! `result.json`: what can be read can be shown and compared.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use voxload::compare::{self, Found, Question, Run};
use voxload::report::{RunResult, terminal};

fuzz_target!(|text: &str| {
    let Ok(result) = serde_json::from_str::<RunResult>(text) else { return };
    let _ = terminal::summary(&result, &[], terminal::Style::default());
    let side = |path: &str| Found {
        path: PathBuf::from(path),
        runs: vec![Run { file: PathBuf::from(path).join("result.json"), result: result.clone() }],
    };
    let Ok(question) = Question::new(&[], &[], true) else { return };
    if let Ok(document) = compare::judge(&side("a"), &side("b"), &question, compare::Frame::default()) {
        let _ = compare::terminal::table(&document, &[], terminal::Style::default());
    }
});
