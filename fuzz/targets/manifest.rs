//! `manifest.toml`, and its entries held against a recording.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::audio::manifest::Manifest;

const WAV: &[u8] = include_bytes!("../../fixtures/backchannels/cough.wav");

fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text, "manifest.toml") {
        for entry in manifest.fixtures.iter().take(2) {
            let _ = entry.check(WAV);
        }
    }
});
