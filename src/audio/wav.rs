//! WAV files in, one channel of `f32` out, at the file's rate or another.

use std::io::Read;
use std::path::Path;

use hound::{SampleFormat, WavReader};
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::codec::{EncodeError, RATES};

/// Longest recording: an utterance, not a book.
pub const MAX_SECONDS: u32 = 60;

/// A WAV file, mixed down.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels in the file.
    pub channels: u16,
    /// Bits per sample in the file.
    pub bits: u16,
    /// True when the file's samples are floating point.
    pub float: bool,
    /// The mean of the channels, −1 … 1.
    pub samples: Vec<f32>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// No WAV header.
    #[error("is not a WAV file ({0}); convert it, for example with `sox in.mp3 -r 16000 -c 1 out.wav`")]
    NotWav(&'static str),
    /// The data ends before the header says.
    #[error("is cut short: its header announces {announced} samples a channel, {found} are there")]
    Truncated {
        /// Samples a channel that the header announces.
        announced: u32,
        /// Samples a channel that are there.
        found: u32,
    },
    /// A header and nothing else.
    #[error("has no samples")]
    Empty,
    /// µ-law, ADPCM, 64-bit float and other things that WAV can hold.
    #[error("is a kind of WAV that is not supported; expected PCM of 8, 16, 24 or 32 bits, or 32-bit float")]
    Unsupported,
    /// Outside of the supported rates.
    #[error("has {0} samples a second; supported are 8000 to 48000")]
    Rate(u32),
    /// More than [`MAX_SECONDS`].
    #[error(
        "is {0:.0} s long by its header; the limit is 60 s: cut it into utterances (a WAV from a pipe: save it again)"
    )]
    TooLong(f64),
    /// NaN or infinity.
    #[error("sample {0} is not a number")]
    NotFinite(usize),
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Wav, WavError> {
    parse(std::io::BufReader::new(std::fs::File::open(path)?))
}

/// Reads from any source.
pub fn parse(source: impl Read) -> Result<Wav, WavError> {
    let reader = WavReader::new(source).map_err(|e| match e {
        hound::Error::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            WavError::NotWav("it ends within the header")
        }
        // hound reports a short read as an error of kind `Other`.
        hound::Error::IoError(e) if e.kind() == std::io::ErrorKind::Other => {
            WavError::NotWav("it ends within the header")
        }
        hound::Error::IoError(e) => WavError::Io(e),
        hound::Error::FormatError(why) => WavError::NotWav(why),
        _ => WavError::Unsupported,
    })?;
    let spec = reader.spec();
    let announced = reader.duration();
    if !RATES.contains(&spec.sample_rate) {
        return Err(WavError::Rate(spec.sample_rate));
    }
    let seconds = f64::from(announced) / f64::from(spec.sample_rate);
    if seconds > f64::from(MAX_SECONDS) {
        return Err(WavError::TooLong(seconds));
    }
    if announced == 0 {
        return Err(WavError::Empty);
    }
    let interleaved: Vec<f32> = match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Float, 32) => collect(reader.into_samples::<f32>(), |s| s),
        (SampleFormat::Int, bits @ (8 | 16 | 24 | 32)) => {
            let scale = 1.0 / (1_u64 << (bits - 1)) as f64;
            collect(reader.into_samples::<i32>(), |s| (f64::from(s) * scale) as f32)
        }
        _ => return Err(WavError::Unsupported),
    }?;
    let channels = usize::from(spec.channels.max(1));
    let samples: Vec<f32> =
        interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
    if (samples.len() as u64) < u64::from(announced) {
        return Err(WavError::Truncated { announced, found: samples.len() as u32 });
    }
    if let Some(i) = samples.iter().position(|s| !s.is_finite()) {
        return Err(WavError::NotFinite(i));
    }
    Ok(Wav {
        sample_rate: spec.sample_rate,
        channels: spec.channels,
        bits: spec.bits_per_sample,
        float: spec.sample_format == SampleFormat::Float,
        samples,
    })
}

/// Samples until the data ends: the caller compares with what was announced.
fn collect<S>(
    samples: impl Iterator<Item = hound::Result<S>>,
    convert: impl Fn(S) -> f32,
) -> Result<Vec<f32>, WavError> {
    let mut out = Vec::new();
    for sample in samples {
        match sample {
            Ok(s) => out.push(convert(s)),
            Err(hound::Error::IoError(_)) => break,
            Err(_) => return Err(WavError::Unsupported),
        }
    }
    Ok(out)
}

/// The same sound at another rate, not shifted: sample 0 stays at time 0.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, EncodeError> {
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let refused = |why: String| EncodeError::Resample { from, to, why };
    // The filter's delay is half a block, and what is trimmed is a whole number of samples: so blocks are even on
    // both sides, or the sound would be shifted by half a sample. About 1024 samples make a steep filter.
    let unit = 2 * from / gcd(from, to);
    let block = (1_024_u32.div_ceil(unit) * unit) as usize;
    let mut resampler = Fft::<f32>::new(from as usize, to as usize, block, 1, FixedSync::Both)
        .map_err(|e| refused(e.to_string()))?;
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|e| refused(e.to_string()))?;
    let output = resampler.process_all(&input, samples.len(), None).map_err(|e| refused(e.to_string()))?;
    Ok(output.take_data())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{WavSpec, WavWriter};

    use super::*;

    fn write<S: hound::Sample>(spec: WavSpec, samples: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        for s in samples {
            writer.write_sample(s).unwrap();
        }
        writer.finalize().unwrap();
        file.into_inner()
    }

    fn spec(bits: u16, float: bool, channels: u16, rate: u32) -> WavSpec {
        WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format: if float { SampleFormat::Float } else { SampleFormat::Int },
        }
    }

    fn error(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_supported_depth() {
        for bits in [8_u16, 16, 24, 32] {
            let half = 1_i32 << (bits - 2);
            let wav = parse(&write(spec(bits, false, 1, 8_000), [half, -half, 0])[..]).unwrap();
            assert_eq!(wav.samples, [0.5, -0.5, 0.0], "{bits} bits");
            assert_eq!((wav.sample_rate, wav.bits, wav.float), (8_000, bits, false));
        }
        let wav = parse(&write(spec(32, true, 1, 48_000), [0.25_f32, -1.0])[..]).unwrap();
        assert_eq!(wav.samples, [0.25, -1.0]);
    }

    #[test]
    fn channels_are_mixed() {
        let wav = parse(&write(spec(16, false, 2, 16_000), [16_384_i16, 0, -16_384, -16_384])[..]).unwrap();
        assert_eq!((wav.samples, wav.channels), (vec![0.25, -0.5], 2));
        let wav = parse(&write(spec(32, true, 6, 16_000), [0.6_f32, 0.0, 0.0, 0.0, 0.0, 0.0])[..]).unwrap();
        assert!((wav.samples[0] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = write(spec(16, false, 1, 16_000), vec![1_i16; 1_600]);
        insta::assert_snapshot!(error(b"ID3 this is an mp3"), @"is not a WAV file (no RIFF tag found); convert it, for example with `sox in.mp3 -r 16000 -c 1 out.wav`");
        insta::assert_snapshot!(error(b""), @"is not a WAV file (it ends within the header); convert it, for example with `sox in.mp3 -r 16000 -c 1 out.wav`");
        insta::assert_snapshot!(error(&good[..30]), @"is not a WAV file (it ends within the header); convert it, for example with `sox in.mp3 -r 16000 -c 1 out.wav`");
        insta::assert_snapshot!(error(&good[..good.len() - 1_000]), @"is cut short: its header announces 1600 samples a channel, 1100 are there");
        insta::assert_snapshot!(error(&write::<i16>(spec(16, false, 1, 16_000), [])), @"has no samples");
        insta::assert_snapshot!(error(&write(spec(16, false, 1, 96_000), [1_i16])), @"has 96000 samples a second; supported are 8000 to 48000");
        insta::assert_snapshot!(error(&write(spec(16, false, 1, 8_000), vec![0_i16; 8_000 * 61])), @"is 61 s long by its header; the limit is 60 s: cut it into utterances (a WAV from a pipe: save it again)");
        insta::assert_snapshot!(error(&write(spec(32, true, 1, 8_000), [0.0, f32::NAN])), @"sample 1 is not a number");
        let mut mulaw = good;
        mulaw[20] = 7;
        insta::assert_snapshot!(error(&mulaw), @"is a kind of WAV that is not supported; expected PCM of 8, 16, 24 or 32 bits, or 32-bit float");
        insta::assert_snapshot!(read(Path::new("no/such.wav")).unwrap_err(), @"cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn resampling_does_not_shift() {
        for (from, to) in
            [(8_000, 16_000), (44_100, 16_000), (48_000, 8_000), (16_000, 48_000), (22_050, 24_000)]
        {
            // A burst around 300 ms: band-limited, so it survives, and its middle can be found.
            let burst = |rate: u32| -> Vec<f32> {
                (0..rate * 7 / 10)
                    .map(|i| {
                        let t = f64::from(i) / f64::from(rate) - 0.3;
                        ((-t * t / (2.0 * 0.001 * 0.001)).exp() * (t * 5_000.0).cos()) as f32
                    })
                    .collect()
            };
            let (got, want) = (resample(&burst(from), from, to).unwrap(), burst(to));
            assert!(got.len().abs_diff(want.len()) <= 1, "{from} → {to}: {} {}", got.len(), want.len());
            let error: f64 = got.iter().zip(&want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let energy: f64 = want.iter().map(|&b| f64::from(b).powi(2)).sum();
            // A shift of half a sample at 16 kHz would give −16 dB.
            assert!(error / energy < 1e-4, "{from} → {to}: {:.1} dB", 10.0 * (error / energy).log10());
        }
        assert_eq!(resample(&[0.5; 100], 16_000, 16_000).unwrap(), [0.5; 100]);
    }
}
