//! Sound to messages: what a toy's microphone, encoder and radio make of an utterance.
//!
//! ```text
//! microphone   room noise ▸ file ················· speech_end ▸ room noise …
//! encoder      │ primed  │ frame │ frame │ frame │ frame │ frame │     always on, `look-ahead` behind
//! messages     │ dropped │     chunk 0   │     chunk 1   │ last  │
//! due                                    ▲ (k+1)·chunk + look-ahead
//! ```
//!
//! The encoder's frames are shifted by its look-ahead, so that chunk k decodes to exactly the samples
//! [k·chunk, (k+1)·chunk) of the utterance, at the price of existing that much later.
//!
//! With DTX, Opus packets of silence shrink to one or two bytes. They are sent all the same: a device that streams
//! keeps its rhythm.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::codec::{EncodeError, Encoder, check, opus};
use super::level::amplitude;
use super::wav::resample;
use super::{AudioFormat, Chunk, Clip, CodecSettings, Sound};
use crate::scenario::{EndOfTurn, Flush};
use crate::seed::{Seed, Stream};
use crate::time::Micros;

/// What a quiet room sounds like: far below audible, yet not digital silence, which codecs treat as a special case.
const ROOM_DBFS: f64 = -65.0;
/// The loop of streamed silence is at least this long.
const SILENCE: Micros = Micros::from_secs(1);
/// With DTX the encoder has heard this much of the room before the utterance: it must know what silence is.
const SETTLE: Micros = Micros::from_secs(2);
/// Complexity of replies: libopus's middle.
const REPLY_COMPLEXITY: u8 = 5;

/// Encodes an utterance as a device would send it.
///
/// With [`EndOfTurn::Signal`] the button is released at the end of speech: frames go on to the next frame boundary,
/// where the last chunk is cut ([`Flush::Frame`]), or to the end of the chunk ([`Flush::Chunk`]); the rest of the file
/// is not sent. With [`EndOfTurn::Vad`] the whole file is sent in whole chunks, and then [`Clip::silence`]: its chunk j
/// of pass n is due at `last_due + n · length + (j+1) · chunk`.
pub fn encode(
    sound: &Sound,
    settings: &CodecSettings,
    end: EndOfTurn,
    flush: Flush,
) -> Result<Clip, EncodeError> {
    check(settings)?;
    let rate = settings.format.sample_rate;
    let samples = resample(&sound.samples, sound.sample_rate, rate)?;
    let at = |sample| Micros::of_samples(sample, sound.sample_rate);
    let (speech_end, length) = (at(sound.speech_end), at(sound.samples.len() as u64));
    let (last, step, silence) = match (end, flush) {
        (EndOfTurn::Signal, Flush::Frame) => (speech_end, settings.frame, Micros::ZERO),
        (EndOfTurn::Signal, Flush::Chunk) => (speech_end, settings.chunk, Micros::ZERO),
        (EndOfTurn::Vad, _) => (length, settings.chunk, round_up(SILENCE, settings.chunk)),
    };
    let stop = round_up(last, step);
    let mut line = Line::new(settings, &samples, stop + silence)?;
    let lookahead = line.lookahead;
    let speech = line.chunks(stop, |_, end| end + lookahead)?;
    let silence = line.chunks(silence, |_, end| end)?;
    Ok(Clip {
        id: sound.id.clone(),
        transcript: sound.transcript.clone(),
        settings: *settings,
        speech_start: at(sound.speech_start),
        speech_end,
        lookahead,
        speech: speech.into(),
        silence: silence.into(),
    })
}

/// Encodes several utterances, on all cores.
pub fn encode_all(
    sounds: &[Sound],
    settings: &CodecSettings,
    end: EndOfTurn,
    flush: Flush,
) -> Result<Vec<Clip>, EncodeError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((i, sound)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            sounds.get(i).map(|s| (i, s))
        } {
            done.push((i, encode(sound, settings, end, flush)?));
        }
        Ok::<_, EncodeError>(done)
    };
    let mut clips = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.min(sounds.len())).map(|_| scope.spawn(work)).collect();
        let mut clips = work()?;
        for worker in workers {
            clips.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, EncodeError>(clips)
    })?;
    clips.sort_by_key(|&(i, _)| i);
    Ok(clips.into_iter().map(|(_, clip)| clip).collect())
}

/// Encodes a reply as a server would send it: all of it, `due` being each chunk's place in the reply.
///
/// Opus frames are as long as the chunk where there are such frames, else the longest up to 20 ms that divide it.
/// The last chunk ends with the sound, at the next frame boundary.
pub fn encode_reply(
    samples: &[f32],
    rate: u32,
    format: AudioFormat,
    chunk: Micros,
    bitrate: u32,
) -> Result<Vec<Chunk>, EncodeError> {
    let divides = |f: &&Micros| **f <= Micros::from_millis(20) && chunk.0 % f.0 == 0;
    let frame = if opus::FRAMES.contains(&chunk) {
        chunk
    } else {
        opus::FRAMES.iter().rev().find(divides).copied().unwrap_or(chunk)
    };
    let settings = CodecSettings { format, bitrate, frame, chunk, complexity: REPLY_COMPLEXITY, dtx: false };
    check(&settings)?;
    let samples = resample(samples, rate, format.sample_rate)?;
    let stop = round_up(Micros::of_samples(samples.len() as u64, format.sample_rate), frame);
    Line::new(&settings, &samples, stop)?.chunks(stop, |start, _| start)
}

/// The next whole number of steps, at least one.
fn round_up(span: Micros, step: Micros) -> Micros {
    step * ((span.0 + step.0 - 1) / step.0.max(1)).max(1)
}

/// A microphone and the encoder behind it.
struct Line {
    encoder: Encoder,
    rate: u32,
    frame: Micros,
    chunk: Micros,
    lookahead: Micros,
    /// What the encoder will hear from the first frame that is kept.
    input: Vec<f32>,
    /// Where the next frame begins.
    at: Micros,
}

impl Line {
    /// For `length` of sound; where the samples end, the room goes on.
    fn new(settings: &CodecSettings, samples: &[f32], length: Micros) -> Result<Self, EncodeError> {
        let mut encoder = Encoder::new(settings)?;
        let rate = settings.format.sample_rate;
        let ahead = encoder.lookahead();
        let mut room = room();

        // Frames before the utterance: the last `ahead` samples of them are the first of the utterance.
        let frame = settings.frame.to_samples(rate).max(1);
        let settle = if settings.dtx { SETTLE.to_samples(rate) } else { 0 };
        let primed = (ahead + settle).div_ceil(frame) * frame;
        let total = (primed + length.to_samples(rate)) as usize;
        let mut input: Vec<f32> = room.by_ref().take((primed - ahead) as usize).collect();
        input.extend_from_slice(samples);
        input.truncate(total);
        input.extend(room.take(total - input.len()));
        for priming in input[..primed as usize].chunks(frame as usize) {
            encoder.encode(priming)?;
        }
        encoder.settle()?;
        input.drain(..primed as usize);
        Ok(Self {
            encoder,
            rate,
            frame: settings.frame,
            chunk: settings.chunk,
            lookahead: Micros::of_samples(ahead, rate),
            input,
            at: Micros::ZERO,
        })
    }

    /// The next `length` as chunks, the last of which may be short; `due` tells when a chunk is due from its start
    /// and end, counted from here.
    fn chunks(
        &mut self,
        length: Micros,
        due: impl Fn(Micros, Micros) -> Micros,
    ) -> Result<Vec<Chunk>, EncodeError> {
        let mut chunks = Vec::new();
        let mut start = Micros::ZERO;
        while start < length {
            let media = self.chunk.min(length - start);
            let packets = (0..media.0 / self.frame.0).map(|_| self.frame()).collect::<Result<Vec<_>, _>>()?;
            chunks.push(Chunk {
                due: due(start, start + media),
                media,
                payload: self.encoder.pack(&packets)?.into(),
            });
            start += media;
        }
        Ok(chunks)
    }

    fn frame(&mut self) -> Result<Vec<u8>, EncodeError> {
        let from = self.at.to_samples(self.rate) as usize;
        self.at += self.frame;
        let to = self.at.to_samples(self.rate) as usize;
        // `length` was rounded to whole frames, so the input reaches to the end of every one.
        self.encoder.encode(self.input.get(from..to.min(self.input.len())).unwrap_or_default())
    }
}

/// The noise of a quiet room: always the same.
fn room() -> impl Iterator<Item = f32> {
    let mut stream: Stream = Seed(0).stream("room", 0);
    let level = f64::from(amplitude(ROOM_DBFS));
    std::iter::repeat_with(move || (level * stream.normal()) as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::codec::{Decoder, duration, packet};
    use super::super::level::rms_dbfs;
    use super::super::{Codec, speech};
    use super::*;

    /// A voice-like sound (a gliding pulse train, filtered) from 200 ms to 1.3 s of 1.6 s, in a quiet room.
    fn sound(rate: u32) -> Sound {
        let at = |ms: u32| (ms * rate / 1_000) as usize;
        let mut samples: Vec<f32> = room().take(at(1_600)).collect();
        let (mut phase, mut y1, mut y2) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (i, s) in samples[at(200)..at(1_300)].iter_mut().enumerate() {
            let t = i as f64 / f64::from(rate);
            phase += (180.0 + 60.0 * (t * 7.0).sin()) / f64::from(rate);
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase %= 1.0;
            let w = std::f64::consts::TAU * 900.0 / f64::from(rate);
            let y = pulse + 1.9 * 0.97 * w.cos() * y1 - 0.94 * 0.97 * y2;
            (y2, y1) = (y1, y);
            *s += (0.25 * y) as f32;
        }
        Sound {
            detected: false,
            id: "glide".into(),
            transcript: None,
            sha256: String::new(),
            sample_rate: rate,
            speech_start: at(200) as u64,
            speech_end: at(1_300) as u64,
            samples: samples.into(),
        }
    }

    fn settings(codec: Codec, rate: u32, frame_us: i64, chunk_us: i64) -> CodecSettings {
        CodecSettings {
            format: AudioFormat { codec, sample_rate: rate },
            bitrate: 24_000,
            frame: Micros(frame_us),
            chunk: Micros(chunk_us),
            complexity: 5,
            dtx: false,
        }
    }

    fn decode(format: AudioFormat, chunks: &[Chunk]) -> Vec<f32> {
        let mut decoder = Decoder::new(format).unwrap();
        let mut out = Vec::new();
        for c in chunks {
            let before = out.len();
            decoder.decode(&c.payload, &mut out).unwrap();
            assert_eq!(Micros::of_samples((out.len() - before) as u64, format.sample_rate), c.media);
            assert_eq!(duration(format, &c.payload), Ok(c.media));
        }
        out
    }

    /// The lag at which `b` correlates best with `a`, and the correlation there.
    fn best_lag(a: &[f32], b: &[f32]) -> (i64, f64) {
        let at = |lag: i64| {
            let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
            for (i, &x) in a.iter().enumerate() {
                if let Some(&y) = usize::try_from(i as i64 + lag).ok().and_then(|j| b.get(j)) {
                    let (x, y) = (f64::from(x), f64::from(y));
                    ab += x * y;
                    aa += x * x;
                    bb += y * y;
                }
            }
            ab / (aa * bb).sqrt()
        };
        (-200..=200).map(|lag| (lag, at(lag))).max_by(|x, y| x.1.total_cmp(&y.1)).unwrap()
    }

    #[test]
    fn decoded_speech_is_where_it_was_spoken() {
        for rate in [8_000, 16_000, 24_000, 48_000] {
            let sound = sound(rate);
            for frame in opus::FRAMES.map(|f| f.0) {
                let s = CodecSettings { bitrate: 64_000, ..settings(Codec::Opus, rate, frame, frame) };
                let clip = encode(&sound, &s, EndOfTurn::Signal, Flush::Frame).unwrap();
                let (lag, r) = best_lag(&decode(s.format, &clip.speech), &sound.samples);
                assert!(lag.abs() <= 2 && r > 0.8, "{rate} Hz, {frame} µs: lag {lag}, correlation {r:.3}");
            }
        }
    }

    #[test]
    fn chunks_are_due_when_they_have_been_spoken() {
        let s = settings(Codec::Opus, 16_000, 20_000, 100_000);
        let clip = encode(&sound(16_000), &s, EndOfTurn::Signal, Flush::Frame).unwrap();
        assert_eq!(clip.lookahead, Micros(6_500));
        for (k, c) in clip.speech.iter().enumerate() {
            assert_eq!(c.due, Micros(100_000) * (k as i64 + 1) + clip.lookahead);
            assert_eq!(c.media, s.chunk);
        }
        assert_eq!(clip.speech_end, Micros(1_300_000));
        assert_eq!(clip.last_due(), Micros(1_306_500));
        assert!(clip.silence.is_empty());
        assert_eq!(packet::split(&clip.speech[0].payload).unwrap().len(), 5);
    }

    #[test]
    fn the_button_cuts_the_last_chunk() {
        let media = |chunk, flush| {
            let s = settings(Codec::Opus, 16_000, 20_000, chunk);
            let clip = encode(&sound(16_000), &s, EndOfTurn::Signal, flush).unwrap();
            let last = clip.speech.last().unwrap();
            (clip.speech.len(), last.media.0 / 1_000, last.due.0 / 100)
        };
        // 1.3 s of speech.
        assert_eq!(media(60_000, Flush::Frame), (22, 40, 13_065));
        assert_eq!(media(60_000, Flush::Chunk), (22, 60, 13_265));
        assert_eq!(media(240_000, Flush::Frame), (6, 100, 13_065));
        // Beyond the end of the file the room goes on.
        assert_eq!(media(1_000_000, Flush::Chunk), (2, 1_000, 20_065));
    }

    #[test]
    fn with_server_side_detection_silence_follows() {
        for codec in [Codec::Opus, Codec::Pcm16, Codec::Mulaw, Codec::Alaw] {
            let s = settings(codec, 16_000, 20_000, 60_000);
            let clip = encode(&sound(16_000), &s, EndOfTurn::Vad, Flush::Frame).unwrap();
            assert_eq!(clip.speech.len(), 27, "1.6 s in whole chunks of 60 ms");
            assert_eq!(clip.silence.len(), 17, "1.02 s");
            let due: Vec<i64> = clip.silence.iter().map(|c| c.due.0).collect();
            assert_eq!(due, (1..=17).map(|j| j * 60_000).collect::<Vec<_>>());
            let mut all = clip.speech.to_vec();
            all.extend(clip.silence.iter().chain(clip.silence.iter()).cloned());
            let samples = decode(s.format, &all);
            let quiet = rms_dbfs(&samples[1_620 * 16..]);
            assert!((-80.0..-60.0).contains(&quiet), "{codec:?}: {quiet:.1} dBFS");
            let found = speech::detect(&samples, 16_000).unwrap();
            // Opus rings on a little.
            assert!(found.end.abs_diff(1_300 * 16) <= 320, "{codec:?}: {found:?}");
        }
    }

    #[test]
    fn dtx_packets_are_sent_too() {
        let with = |dtx| {
            let s = CodecSettings { dtx, ..settings(Codec::Opus, 16_000, 20_000, 20_000) };
            encode(&sound(16_000), &s, EndOfTurn::Vad, Flush::Frame).unwrap()
        };
        let (on, off) = (with(true), with(false));
        assert_eq!(on.silence.len(), off.silence.len());
        assert!(on.silence.iter().any(|c| c.payload.len() <= 2));
        assert!(off.silence.iter().all(|c| c.payload.len() > 2));
        decode(on.settings.format, &on.silence);
    }

    #[test]
    fn pcm_is_exact_at_any_rate() {
        let s = settings(Codec::Pcm16, 44_100, 2_500, 62_500);
        let sound = sound(44_100);
        let clip = encode(&sound, &s, EndOfTurn::Signal, Flush::Frame).unwrap();
        let mut out = Vec::new();
        let mut decoder = Decoder::new(s.format).unwrap();
        for c in clip.speech.iter() {
            decoder.decode(&c.payload, &mut out).unwrap();
        }
        assert_eq!(out.len(), 57_330, "1.3 s, although 2.5 ms is no whole number of samples");
        assert!(out.iter().zip(sound.samples.iter()).all(|(a, b)| (a - b).abs() < 1e-4));
        assert_eq!((clip.lookahead, clip.last_due()), (Micros::ZERO, Micros(1_300_000)));
    }

    #[test]
    fn replies_are_whole() {
        let sound = sound(24_000);
        for (codec, chunk) in [(Codec::Opus, 60), (Codec::Opus, 100), (Codec::Opus, 250), (Codec::Pcm16, 33)]
        {
            let format = AudioFormat { codec, sample_rate: 24_000 };
            let chunk = Micros::from_millis(chunk);
            let chunks = encode_reply(&sound.samples, 24_000, format, chunk, 24_000).unwrap();
            for (k, c) in chunks.iter().enumerate() {
                assert_eq!(c.due, chunk * k as i64);
            }
            let samples = decode_any(format, &chunks);
            assert!(samples.len() >= sound.samples.len());
            assert!(samples.len() < sound.samples.len() + 60 * 24);
            let (lag, _) = best_lag(&samples, &sound.samples);
            assert!(lag.abs() <= 2, "{codec:?} {chunk}: {lag}");
        }
    }

    fn decode_any(format: AudioFormat, chunks: &[Chunk]) -> Vec<f32> {
        let mut out = Vec::new();
        let mut decoder = Decoder::new(format).unwrap();
        chunks.iter().for_each(|c| decoder.decode(&c.payload, &mut out).unwrap());
        out
    }

    #[test]
    fn what_cannot_be_encoded_is_said() {
        let why = |s: CodecSettings| {
            encode(&sound(16_000), &s, EndOfTurn::Signal, Flush::Frame).unwrap_err().to_string()
        };
        let good = settings(Codec::Opus, 16_000, 20_000, 60_000);
        insta::assert_snapshot!(why(settings(Codec::Opus, 44_100, 20_000, 60_000)), @"audio.rate is 44100 Hz, but Opus runs at 8000, 12000, 16000, 24000 or 48000 Hz");
        insta::assert_snapshot!(why(settings(Codec::Opus, 16_000, 30_000, 60_000)), @"audio.frame is 30.0 ms, but Opus frames are 2.5, 5, 10, 20, 40 or 60 ms");
        insta::assert_snapshot!(why(settings(Codec::Opus, 16_000, 20_000, 50_000)), @"audio.chunk is 50.0 ms, which is not a whole number of frames of 20.0 ms: try 60.0 ms");
        insta::assert_snapshot!(why(settings(Codec::Opus, 16_000, 20_000, 4_000_000)), @"audio.chunk is 4.00 s, expected 2 s or less");
        insta::assert_snapshot!(why(CodecSettings { bitrate: 800, ..good }), @"audio.bitrate is 800 bit/s, but Opus takes 6000 to 256000 for one channel");
        insta::assert_snapshot!(why(CodecSettings { complexity: 11, ..good }), @"audio.complexity is 11, expected 0 to 10");
        insta::assert_snapshot!(why(settings(Codec::Pcm16, 96_000, 20_000, 60_000)), @"audio.rate is 96000 Hz, expected 8000 to 48000");
        insta::assert_snapshot!(why(settings(Codec::Pcm16, 16_000, 0, 60_000)), @"audio.frame is 0 ms, expected 1 ms or more");
    }

    #[test]
    fn several_at_once_keep_their_order() {
        let sounds: Vec<Sound> =
            (0..5).map(|i| Sound { detected: false, id: i.to_string(), ..sound(8_000) }).collect();
        let s = settings(Codec::Opus, 8_000, 60_000, 60_000);
        let clips = encode_all(&sounds, &s, EndOfTurn::Signal, Flush::Frame).unwrap();
        let one = encode(&sounds[0], &s, EndOfTurn::Signal, Flush::Frame).unwrap();
        assert_eq!(clips.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
        assert!(clips.iter().all(|c| c.speech == one.speech));
        assert!(encode_all(&[], &s, EndOfTurn::Vad, Flush::Frame).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn speech_is_covered_and_no_more(
            codec in prop::sample::select(vec![Codec::Opus, Codec::Pcm16, Codec::Mulaw]),
            frame in prop::sample::select(opus::FRAMES.to_vec()),
            frames in 1_i64..20,
            speech_end in 1_u64..12_800,
            vad in any::<bool>(),
            by_chunk in any::<bool>(),
        ) {
            let sound = Sound { speech_start: 0, speech_end, ..sound(8_000) };
            let s = settings(codec, 8_000, frame.0, frame.0 * frames);
            let (end, flush) = (
                if vad { EndOfTurn::Vad } else { EndOfTurn::Signal },
                if by_chunk { Flush::Chunk } else { Flush::Frame },
            );
            let clip = encode(&sound, &s, end, flush).unwrap();
            let media: i64 = clip.speech.iter().map(|c| c.media.0).sum();
            let (needed, step) = match (vad, by_chunk) {
                (true, _) => (1_600_000, s.chunk.0),
                (false, true) => (clip.speech_end.0, s.chunk.0),
                (false, false) => (clip.speech_end.0, frame.0),
            };
            prop_assert!(media >= needed && media - needed < step.max(needed + 1), "{} {}", media, needed);
            prop_assert!(media - step < needed);
            prop_assert_eq!(clip.last_due(), Micros(media) + clip.lookahead);
            for c in clip.speech.iter().chain(clip.silence.iter()) {
                prop_assert_eq!(duration(s.format, &c.payload), Ok(c.media));
            }
            prop_assert_eq!(clip.silence.is_empty(), !vad);
        }
    }
}
