//! What a codec does to speech, in two numbers of our own: how far the decoded sound is from the fixture.
//!
//! These are plain signal measures. They are not PESQ, POLQA or ViSQOL, and no opinion score can be read from them: they
//! put settings of codecs in order, and show where one begins to hurt.
//!
//! ```text
//! fixture ─▶ 16 kHz ──────────────────────────────┐
//! fixture ─▶ codec ─▶ chunks ─▶ decoder ─▶ 16 kHz ─┴▶ aligned ─▶ frames with speech ─▶ segmental SNR,
//!                                                                                      log-spectral distance
//! ```

use std::f64::consts::{PI, TAU};

use super::codec::{Decoder, EncodeError, PayloadError};
use super::wav::resample;
use super::{CodecSettings, Sound, encode};
use crate::scenario::{EndOfTurn, Flush};

/// Sounds are compared at this rate, up to 8 kHz: what recognisers hear. A codec that keeps less (µ-law at 8 kHz has
/// nothing above 4 kHz) is charged for it.
pub const RATE: u32 = 16_000;

/// Frames of the segmental SNR: 20 ms.
const SEGMENT: usize = 320;
/// SNR of a segment counts between these, dB (Hansen and Pellom, ICSLP 1998): one silent segment must not outweigh a
/// sentence, and beyond 35 dB nobody hears a difference.
const SNR: std::ops::RangeInclusive<f64> = -10.0..=35.0;
/// A frame within so many dB of the loudest is speech.
const ACTIVE_DB: f64 = 40.0;
/// Samples of a spectrum (32 ms), and from one to the next.
const WINDOW: usize = 512;
const HOP: usize = WINDOW / 2;
/// Bands of a spectrum, equally wide on the mel scale, from 100 Hz to half the rate.
const BANDS: usize = 40;
/// What lies so far below the loudest band of the whole fixture is as good as silence, dB.
const FLOOR_DB: f64 = 60.0;
/// The decoded sound may lie this far off, either way: 20 ms.
const MOST_SHIFT: usize = 320;
/// Alignment listens to so much of the sound: 2 s.
const LISTENS: usize = 2 * RATE as usize;

/// How far a sound is from the original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Segmental signal-to-noise ratio: the mean over segments of 20 ms with speech, each within −10 to 35 dB. 35: the
    /// same. Punishes codecs that keep the sound and not the waveform, as Opus at low bit rates does.
    pub segmental_snr_db: f64,
    /// Log-spectral distance over 40 mel bands: the mean over spectra of 32 ms with speech of the root mean square
    /// difference of the bands' levels, dB. 0: the same. Does not care about phase.
    pub spectral_distance_db: f64,
    /// By how many samples at 16 kHz the decoded sound was late.
    pub shift: i64,
    /// Segments with speech.
    pub segments: u32,
}

/// Why the quality of a setting cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualityError {
    /// The encoder refused.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What was encoded cannot be decoded.
    #[error(transparent)]
    Decode(#[from] PayloadError),
    /// Nothing in it is loud enough to be compared.
    #[error("{0} has no sound to compare")]
    Silent(String),
}

/// A fixture through encoder and decoder.
pub fn of_codec(sound: &Sound, settings: &CodecSettings) -> Result<Quality, QualityError> {
    // The whole file in whole chunks, as a device streams it.
    let clip = encode(sound, settings, EndOfTurn::Vad, Flush::Chunk)?;
    let mut decoder = Decoder::new(settings.format)?;
    let mut decoded = Vec::new();
    for chunk in clip.speech.iter() {
        decoder.decode(&chunk.payload, &mut decoded)?;
    }
    let original = resample(&sound.samples, sound.sample_rate, RATE)?;
    let decoded = resample(&decoded, settings.format.sample_rate, RATE)?;
    compare(&original, &decoded).ok_or_else(|| QualityError::Silent(sound.id.clone()))
}

/// Several sounds as one: segments count the same, whatever sound they are from. `None` of none.
pub fn pooled(all: &[Quality]) -> Option<Quality> {
    let segments: u32 = all.iter().map(|q| q.segments).sum();
    let mean = |of: fn(&Quality) -> f64| {
        all.iter().map(|q| of(q) * f64::from(q.segments)).sum::<f64>() / f64::from(segments)
    };
    (segments > 0).then(|| Quality {
        segmental_snr_db: mean(|q| q.segmental_snr_db),
        spectral_distance_db: mean(|q| q.spectral_distance_db),
        shift: all.first().map_or(0, |q| q.shift),
        segments,
    })
}

/// Compares two sounds at [`RATE`], after moving the second one over the first. `None` when there is nothing to compare.
pub fn compare(original: &[f32], decoded: &[f32]) -> Option<Quality> {
    let shift = shift(original, decoded);
    let (late, early) = (shift.max(0).unsigned_abs() as usize, shift.min(0).unsigned_abs() as usize);
    let (a, b) = (original.get(early..)?, decoded.get(late..)?);
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (snr, segments) = segmental_snr(a, b)?;
    Some(Quality { segmental_snr_db: snr, spectral_distance_db: spectral_distance(a, b)?, shift, segments })
}

/// By how many samples the second sound is late: where the two are most alike.
fn shift(original: &[f32], decoded: &[f32]) -> i64 {
    let n = original.len().min(decoded.len());
    let from = MOST_SHIFT.max(n.saturating_sub(LISTENS) / 2);
    let to = (from + LISTENS).min(n.saturating_sub(MOST_SHIFT));
    let Some(heard) = original.get(from..to) else { return 0 };
    let likeness = |shift: i64| -> f64 {
        let at = (from as i64 + shift) as usize;
        decoded
            .get(at..at + heard.len())
            .map_or(f64::NEG_INFINITY, |d| heard.iter().zip(d).map(|(&x, &y)| f64::from(x * y)).sum())
    };
    let most = MOST_SHIFT as i64;
    // Nearest to none first: equally good ones must not move it.
    let mut shifts: Vec<i64> = (-most..=most).collect();
    shifts.sort_by_key(|s| s.abs());
    let best = shifts.into_iter().map(|s| (s, likeness(s)));
    best.fold((0, f64::NEG_INFINITY), |best, it| if it.1 > best.1 { it } else { best }).0
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum()
}

fn decibels(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

fn segmental_snr(a: &[f32], b: &[f32]) -> Option<(f64, u32)> {
    let energies: Vec<f64> = a.chunks_exact(SEGMENT).map(energy).collect();
    let loudest = energies.iter().copied().fold(0.0, f64::max);
    let quiet = loudest / 10_f64.powf(ACTIVE_DB / 10.0);
    let (mut sum, mut count) = (0.0, 0);
    for ((x, y), &signal) in a.chunks_exact(SEGMENT).zip(b.chunks_exact(SEGMENT)).zip(&energies) {
        if signal <= quiet {
            continue;
        }
        let noise: f64 = x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
        sum += decibels(signal / noise.max(f64::MIN_POSITIVE)).clamp(*SNR.start(), *SNR.end());
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count), count))
}

fn spectral_distance(a: &[f32], b: &[f32]) -> Option<f64> {
    let spectra = |samples: &[f32]| -> Vec<[f64; BANDS]> {
        let starts = (0..(samples.len() + HOP).saturating_sub(WINDOW) / HOP).map(|i| i * HOP);
        starts.filter_map(|at| samples.get(at..at + WINDOW)).map(bands).collect()
    };
    let (a, b) = (spectra(a), spectra(b));
    let floor = a.iter().flatten().copied().fold(0.0, f64::max) / 10_f64.powf(FLOOR_DB / 10.0);
    let total = |bands: &[f64; BANDS]| bands.iter().sum::<f64>();
    let quiet = a.iter().map(total).fold(0.0, f64::max) / 10_f64.powf(ACTIVE_DB / 10.0);
    let (mut sum, mut count) = (0.0, 0.0);
    for (x, y) in a.iter().zip(&b).filter(|(x, _)| total(x) > quiet) {
        let squares = x.iter().zip(y).map(|(&x, &y)| decibels(x.max(floor) / y.max(floor)).powi(2));
        sum += (squares.sum::<f64>() / BANDS as f64).sqrt();
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

/// The power of a window in each band, per line of its spectrum.
fn bands(samples: &[f32]) -> [f64; BANDS] {
    let mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (mel(100.0), mel(f64::from(RATE) / 2.0));
    let mut lines: Vec<(f64, f64)> = samples
        .iter()
        .enumerate()
        .map(|(i, &s)| (f64::from(s) * (0.5 - 0.5 * (TAU * i as f64 / WINDOW as f64).cos()), 0.0))
        .collect();
    fft(&mut lines);
    let (mut power, mut count) = ([0.0; BANDS], [0.0; BANDS]);
    for (i, (re, im)) in lines.iter().enumerate().take(WINDOW / 2) {
        let hz = i as f64 * f64::from(RATE) / WINDOW as f64;
        let at = (mel(hz) - low) / (high - low) * BANDS as f64;
        if let (true, Some(p), Some(n)) = (at >= 0.0, power.get_mut(at as usize), count.get_mut(at as usize))
        {
            *p += re * re + im * im;
            *n += 1.0;
        }
    }
    // Bands narrower than a line have none: they are as their neighbour below.
    for i in 0..BANDS {
        power[i] = if count[i] > 0.0 { power[i] / count[i] } else { power[i.saturating_sub(1)] };
    }
    power
}

/// Radix-2 in place; the length is a power of two.
fn fft(x: &mut [(f64, f64)]) {
    let n = x.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        for i in 0..half {
            let (sin, cos) = (-PI * i as f64 / half as f64).sin_cos();
            for a in (i..n).step_by(2 * half) {
                let (u, v) = (x[a], x[a + half]);
                let w = (v.0 * cos - v.1 * sin, v.0 * sin + v.1 * cos);
                x[a] = (u.0 + w.0, u.1 + w.1);
                x[a + half] = (u.0 - w.0, u.1 - w.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{AudioFormat, Codec, Library};
    use crate::seed::Seed;
    use crate::time::Micros;

    fn speech() -> Sound {
        Library::load(&["knock-knock".to_owned()], std::path::Path::new("")).unwrap().remove(0)
    }

    fn samples() -> Vec<f32> {
        let s = speech();
        resample(&s.samples, s.sample_rate, RATE).unwrap()
    }

    fn settings(codec: Codec, sample_rate: u32, bitrate: u32) -> CodecSettings {
        let frame = Micros::from_millis(20);
        CodecSettings {
            format: AudioFormat { codec, sample_rate },
            bitrate,
            frame,
            chunk: frame * 3,
            complexity: 5,
            dtx: false,
        }
    }

    fn noisy(samples: &[f32], amplitude: f64) -> Vec<f32> {
        let mut r = Seed(7).stream("noise", 0);
        samples.iter().map(|s| s + (amplitude * r.normal()) as f32).collect()
    }

    #[test]
    fn the_same_is_perfect_wherever_it_lies() {
        let a = samples();
        for late in [0, 1, 37, 320] {
            let mut b = vec![0.0; late];
            b.extend_from_slice(&a);
            let q = compare(&a, &b).unwrap();
            assert_eq!((q.segmental_snr_db, q.spectral_distance_db, q.shift), (35.0, 0.0, late as i64));
        }
        assert_eq!(compare(&a, &a[100..]).unwrap().shift, -100);
    }

    #[test]
    fn noise_is_bad_and_more_noise_is_worse() {
        let a = samples();
        let q: Vec<_> = [0.001, 0.01, 0.1].map(|n| compare(&a, &noisy(&a, n)).unwrap()).to_vec();
        for pair in q.windows(2) {
            assert!(pair[0].segmental_snr_db > pair[1].segmental_snr_db + 5.0, "{q:?}");
            assert!(pair[0].spectral_distance_db + 2.0 < pair[1].spectral_distance_db, "{q:?}");
        }
        let other: Vec<f32> = a.iter().rev().copied().collect();
        let q = compare(&a, &other).unwrap();
        assert!(q.segmental_snr_db < 0.0 && q.spectral_distance_db > 10.0, "{q:?}");
    }

    #[test]
    fn half_the_loudness_is_six_decibels() {
        let a = samples();
        let b: Vec<f32> = a.iter().map(|s| s / 2.0).collect();
        let q = compare(&a, &b).unwrap();
        assert!((q.segmental_snr_db - 6.02).abs() < 0.01, "{q:?}");
        // Bands at the floor do not become quieter.
        assert!((4.0..6.1).contains(&q.spectral_distance_db), "{q:?}");
    }

    #[test]
    fn more_bits_are_better_and_pcm_is_best() {
        let sound = speech();
        let of = |codec, rate, bitrate| of_codec(&sound, &settings(codec, rate, bitrate)).unwrap();
        let opus = [6_000, 12_000, 24_000, 64_000].map(|b| of(Codec::Opus, 16_000, b));
        for pair in opus.windows(2) {
            assert!(pair[0].segmental_snr_db < pair[1].segmental_snr_db, "{opus:?}");
            assert!(pair[0].spectral_distance_db > pair[1].spectral_distance_db, "{opus:?}");
        }
        let pcm = of(Codec::Pcm16, 16_000, 0);
        assert!(pcm.segmental_snr_db > 30.0 && pcm.spectral_distance_db < 0.5, "{pcm:?}");
        assert_eq!(pcm.shift, 0);
        // Half the band is missing, and the rest is companded.
        let mulaw = of(Codec::Mulaw, 8_000, 0);
        assert!(mulaw.spectral_distance_db > pcm.spectral_distance_db + 3.0, "{mulaw:?}");
    }

    #[test]
    fn silence_cannot_be_compared() {
        assert_eq!(compare(&[], &[]), None);
        assert_eq!(compare(&[0.0; 16_000], &[0.0; 16_000]), None);
        assert_eq!(compare(&[0.5; 100], &[0.5; 100]), None, "shorter than a segment");
        assert_eq!(pooled(&[]), None);
    }

    #[test]
    fn long_sounds_count_more() {
        let q = |segments, db| Quality { segmental_snr_db: db, spectral_distance_db: db, shift: 0, segments };
        assert_eq!(pooled(&[q(10, 10.0), q(30, 30.0)]).unwrap().segmental_snr_db, 25.0);
    }

    #[test]
    fn a_tone_is_one_line_of_its_spectrum() {
        let mut x: Vec<_> = (0..64).map(|i| ((TAU * 5.0 * f64::from(i) / 64.0).cos(), 0.0)).collect();
        fft(&mut x);
        for (i, (re, im)) in x.iter().enumerate() {
            let expected = if i == 5 || i == 59 { 32.0 } else { 0.0 };
            assert!((re - expected).abs() < 1e-9 && im.abs() < 1e-9, "{i}: {re} {im}");
        }
    }
}
