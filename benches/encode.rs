//! What it takes to encode the shipped utterances: done once before a run, so it must not be felt.
//!
//! `cargo bench --bench encode`

use std::time::{Duration, Instant};

use voxload::audio::codec::opus;
use voxload::audio::{self, AudioFormat, Clip, Codec, CodecSettings, EncodeError, Library, Sound};
use voxload::scenario::{EndOfTurn, Flush};
use voxload::time::Micros;

/// The best of several runs.
fn best(mut work: impl FnMut() -> Result<(), EncodeError>) -> Result<Duration, EncodeError> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn one_by_one(sounds: &[Sound], settings: &CodecSettings) -> Result<Vec<Clip>, EncodeError> {
    sounds.iter().map(|s| audio::encode(s, settings, EndOfTurn::Signal, Flush::Frame)).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sounds = Library::load(&[], ".".as_ref()).map_err(|e| e.join("\n"))?;
    let seconds: f64 = sounds.iter().map(|s| s.speech_end as f64 / f64::from(s.sample_rate)).sum();
    println!("{} utterances, {seconds:.1} s to the end of speech; best of 5", sounds.len());
    println!(
        "{:<10} {:>9} {:>10} {:>12} {:>14} {:>12}",
        "codec", "frame", "complexity", "one thread", "per 20 ms", "all cores"
    );

    let opus = opus::FRAMES.map(|f| [0, 5, 10].map(|c| (Codec::Opus, f, c)));
    let others = [Codec::Pcm16, Codec::Mulaw].map(|c| (c, Micros::from_millis(60), 0));
    for (codec, frame, complexity) in opus.into_iter().flatten().chain(others) {
        let settings = CodecSettings {
            format: AudioFormat { codec, sample_rate: 16_000 },
            bitrate: 24_000,
            frame,
            chunk: frame,
            complexity,
            dtx: false,
        };
        let one = best(|| one_by_one(&sounds, &settings).map(drop))?;
        let all = best(|| audio::encode_all(&sounds, &settings, EndOfTurn::Signal, Flush::Frame).map(drop))?;
        println!(
            "{:<10} {:>9} {complexity:>10} {:>9.1} ms {:>11.1} µs {:>9.1} ms",
            codec.name(),
            frame.to_string(),
            one.as_secs_f64() * 1e3,
            one.as_secs_f64() * 1e6 / (seconds * 50.0),
            all.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}
