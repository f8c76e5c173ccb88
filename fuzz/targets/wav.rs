//! WAV files, and where speech begins and ends in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::audio::{speech, wav};

fuzz_target!(|data: &[u8]| {
    if let Ok(wav) = wav::parse(data) {
        assert!(wav.samples.iter().all(|s| s.is_finite()));
        let _ = speech::detect(&wav.samples, wav.sample_rate);
    }
});
