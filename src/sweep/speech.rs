//! What codec and chunk of a cell do to speech: known without a server.

use std::time::Instant;

use super::document::{Quality, Speech};
use crate::audio::codec::Decoder;
use crate::audio::quality::{self, QualityError};
use crate::audio::wav::resample;
use crate::audio::{CodecSettings, Library, Sound, encode};
use crate::scenario::{EndOfTurn, Flush, Scenario};
use crate::time::Micros;

/// Coding is timed so often; the fastest counts, as others may be busy on the machine.
const TIMES: u32 = 3;

/// Cells that code alike share what was found out.
#[derive(Default)]
pub struct Known(Vec<(CodecSettings, Vec<String>, Coding)>);

#[derive(Clone, Copy, Debug, Default)]
struct Coding {
    quality: Option<Quality>,
    encode_us_per_s: Option<f64>,
    decode_us_per_s: Option<f64>,
    lookahead: Micros,
}

impl Known {
    /// Of a cell. The error is for the user.
    pub fn of(&mut self, scenario: &Scenario) -> Result<Speech, String> {
        let audio = &scenario.audio;
        let sounds = Library::load(&audio.fixtures, &audio.base)
            .map_err(|problems| format!("the fixtures cannot be used:\n  {}", problems.join("\n  ")))?;
        let (frame, chunk) = (audio.settings.frame, audio.settings.chunk);
        // However many frames are in a message, they sound the same.
        let settings = CodecSettings { chunk: frame, ..audio.settings };
        let known = self.0.iter().find(|(s, f, _)| *s == settings && *f == audio.fixtures);
        let coding = match known {
            Some((_, _, coding)) => *coding,
            None => {
                let coding =
                    coding(&sounds, &settings).map_err(|e| format!("the fixtures cannot be coded: {e}"))?;
                self.0.push((settings, audio.fixtures.clone(), coding));
                coding
            }
        };
        let (mean, worst) = match (scenario.turn.end, scenario.turn.flush) {
            // The server's decision falls anywhere within a chunk.
            (EndOfTurn::Vad, _) => (chunk.0 as f64 / 2.0, chunk),
            (EndOfTurn::Signal, Flush::Frame) => delays(&sounds, frame),
            (EndOfTurn::Signal, Flush::Chunk) => delays(&sounds, chunk),
        };
        Ok(Speech {
            packetisation_mean_us: mean + coding.lookahead.0 as f64,
            packetisation_worst_us: (worst + coding.lookahead).0,
            lost_per_cut_us: (chunk + coding.lookahead).0,
            quality: coding.quality,
            encode_us_per_s: coding.encode_us_per_s,
            decode_us_per_s: coding.decode_us_per_s,
        })
    }
}

/// From the end of speech to the step (a frame, or a chunk) at which the last chunk is cut: mean and worst over the
/// fixtures.
fn delays(sounds: &[Sound], step: Micros) -> (f64, Micros) {
    let delay = |sound: &Sound| {
        let end = Micros::of_samples(sound.speech_end, sound.sample_rate).0;
        let step = step.0.max(1);
        Micros((end + step - 1) / step * step - end)
    };
    let all: Vec<Micros> = sounds.iter().map(delay).collect();
    let mean = all.iter().map(|t| t.0 as f64).sum::<f64>() / all.len().max(1) as f64;
    (mean, all.into_iter().max().unwrap_or_default())
}

fn coding(sounds: &[Sound], settings: &CodecSettings) -> Result<Coding, QualityError> {
    let mut all = Vec::new();
    let (mut speech, mut encoding, mut decoding) = (0.0, 0.0, 0.0);
    let mut lookahead = Micros::ZERO;
    for sound in sounds {
        // A fixture that cannot be compared says nothing about the codec.
        match quality::of_codec(sound, settings) {
            Ok(q) => all.push(q),
            Err(QualityError::Silent(_)) => {}
            Err(e) => return Err(e),
        }
        let timed = timed(sound, settings)?;
        speech += timed.seconds;
        encoding += timed.encoding_us;
        decoding += timed.decoding_us;
        lookahead = timed.lookahead;
    }
    let per_second = |us: f64| (speech > 0.0).then(|| us / speech);
    Ok(Coding {
        quality: quality::pooled(&all).map(|q| Quality {
            segmental_snr_db: q.segmental_snr_db,
            spectral_distance_db: q.spectral_distance_db,
        }),
        encode_us_per_s: per_second(encoding),
        decode_us_per_s: per_second(decoding),
        lookahead,
    })
}

/// How long coding a sound takes.
struct Timed {
    /// Of sound.
    seconds: f64,
    encoding_us: f64,
    decoding_us: f64,
    lookahead: Micros,
}

fn timed(sound: &Sound, settings: &CodecSettings) -> Result<Timed, QualityError> {
    let rate = settings.format.sample_rate;
    // A toy's microphone runs at the codec's rate.
    let samples = resample(&sound.samples, sound.sample_rate, rate)?;
    let end = samples.len() as u64;
    let sound = Sound {
        sample_rate: rate,
        samples: samples.into(),
        speech_start: 0,
        speech_end: end,
        ..sound.clone()
    };
    let (mut encoding, mut decoding, mut lookahead) = (f64::INFINITY, f64::INFINITY, Micros::ZERO);
    for _ in 0..TIMES {
        let began = Instant::now();
        let clip = encode(&sound, settings, EndOfTurn::Signal, Flush::Frame)?;
        encoding = encoding.min(began.elapsed().as_secs_f64() * 1e6);
        lookahead = clip.lookahead;
        let mut decoder = Decoder::new(settings.format)?;
        let mut out = Vec::with_capacity(sound.samples.len());
        let began = Instant::now();
        for chunk in clip.speech.iter() {
            decoder.decode(&chunk.payload, &mut out)?;
        }
        decoding = decoding.min(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Timed {
        seconds: Micros::of_samples(end, rate).as_secs_f64(),
        encoding_us: encoding,
        decoding_us: decoding,
        lookahead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Environment, Source, load_in};

    fn speech(toml: &str) -> Speech {
        let text = format!("[audio]\nfixtures = [\"yes\"]\n{toml}");
        let scenario = load_in(&Source::inline("x", text), &[], &Environment::default()).unwrap();
        Known::default().of(&scenario).unwrap()
    }

    #[test]
    fn a_larger_chunk_waits_longer_unless_the_button_flushes() {
        let pcm = |chunk: &str, turn: &str| {
            speech(&format!("codec = \"pcm16\"\nchunk = \"{chunk}\"\n[turn]\n{turn}\n"))
        };
        let vad = pcm("100ms", "end = \"vad\"");
        assert_eq!((vad.packetisation_mean_us, vad.packetisation_worst_us), (50_000.0, 100_000));
        let whole = pcm("100ms", "flush = \"chunk\"");
        let flushed = pcm("100ms", "");
        assert!((0..=20_000).contains(&flushed.packetisation_worst_us), "{flushed:?}");
        assert!((0..=100_000).contains(&whole.packetisation_worst_us));
        assert!(flushed.packetisation_mean_us <= whole.packetisation_mean_us);
        assert_eq!(whole.lost_per_cut_us, 100_000);
    }

    #[test]
    fn the_delay_is_that_of_the_chunks_that_are_sent() {
        for (toml, flush) in [("", Flush::Frame), ("[turn]\nflush = \"chunk\"\n", Flush::Chunk)] {
            let text = format!("[audio]\nfixtures = [\"yes\"]\nchunk = \"100ms\"\n{toml}");
            let scenario = load_in(&Source::inline("x", text), &[], &Environment::default()).unwrap();
            let sounds = Library::load(&scenario.audio.fixtures, &scenario.audio.base).unwrap();
            let clip = encode(&sounds[0], &scenario.audio.settings, EndOfTurn::Signal, flush).unwrap();
            let last = clip.last_due() - clip.speech_end;
            assert_eq!(Known::default().of(&scenario).unwrap().packetisation_worst_us, last.0);
        }
    }

    #[test]
    fn opus_has_a_look_ahead_and_costs_more_to_encode() {
        let (opus, pcm) = (speech("codec = \"opus\""), speech("codec = \"pcm16\""));
        assert!(opus.lost_per_cut_us > 60_000);
        assert!(opus.quality.unwrap().spectral_distance_db > pcm.quality.unwrap().spectral_distance_db);
        assert!(opus.encode_us_per_s > pcm.encode_us_per_s, "a thousand times: no race to be lost");
    }
}
