//! Descriptions of dialects: any text is a description that both sides can speak, or a list of diagnostics that can be
//! printed. After a NUL: what is said then, as target `described` has it.
#![no_main]

#[path = "talk.rs"]
mod talk;

use libfuzzer_sys::fuzz_target;
use voxload::dialect::Dialect;
use voxload::dialect::describe::{Choice, Described};

use talk::Talk;

/// A turn, an interruption, and a goodbye.
const TURN: [&[u8]; 15] = [
    b"s",
    b"a",
    b"e",
    b"FHello.",
    b"TOnce. ",
    b"Utwice",
    b"A\xFC\xFF\xFE",
    b"D",
    b"k",
    b"O",
    b"i",
    b"I",
    b"X",
    b"g",
    b"G",
];

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |&b| b == 0);
    let Some(Ok(text)) = parts.next().map(str::from_utf8) else { return };
    let said = parts.next().unwrap_or_default();
    let described = match Described::load("fuzz.toml", text, Choice::default()) {
        Ok(described) => described,
        Err(problems) => return drop(problems.to_string()),
    };
    assert!(!described.summary().is_empty());
    // What is wrong in a variant or the other mode is said when the file is read. One of them at a time: each is read again.
    let variants = described.variants().iter().map(|v| Some(v.clone()));
    let variants: Vec<_> = std::iter::once(None).chain(variants).collect();
    let variant = variants[data.len() / 2 % variants.len()].clone();
    let choice = Choice { variant, vad: data.len() % 2 == 0, ..Choice::default() };
    let dialect = match described.choose(choice.clone()) {
        Ok(chosen) => Dialect::from(chosen),
        Err(problems) => panic!("{choice:?}: {problems}"),
    };
    let mut talk = Talk::new(&dialect, talk::envelope(text), said.len());
    for step in TURN.iter().copied().chain(said.split(|&b| b == 0xFF)) {
        talk.step(step);
    }
});
