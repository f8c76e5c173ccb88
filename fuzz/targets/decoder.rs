//! Audio of the other side: every payload is sound or an error. The first byte chooses codec and rate; 0xFE parts payloads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::audio::codec::{Decoder, duration};
use voxload::audio::{AudioFormat, Codec};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let codec = [Codec::Opus, Codec::Opus, Codec::Pcm16, Codec::Mulaw][usize::from(choice) % 4];
    let sample_rate = [8_000, 16_000, 24_000, 48_000][usize::from(choice >> 2) % 4];
    let format = AudioFormat { codec, sample_rate };
    let Ok(mut decoder) = Decoder::new(format) else { return };
    let mut samples = Vec::new();
    for payload in rest.split(|&b| b == 0xFE) {
        samples.clear();
        if decoder.decode(payload, &mut samples).is_ok() {
            let expected = duration(format, payload).map(|d| d.0);
            let got = samples.len() as i64 * 1_000_000 / i64::from(sample_rate);
            assert!(matches!(expected, Ok(e) if (e - got).abs() <= 1), "{expected:?} {got}");
        }
    }
});
