//! Where speech begins and ends in a recording: checks the fixtures' manifest, and finds the end of speech of a
//! user's own WAV.
//!
//! Audible is 10 ms RMS above −40 dBFS, as for replies, but recordings are not as clean as synthetic speech: in a
//! noisy one the limit rises above the noise floor, in a quiet one it falls with the loudest sound. What is that loud
//! for less than 30 ms is a click, not speech.

use super::level::{AUDIBLE_DBFS, amplitude, power_dbfs, rms_dbfs};

/// Hops of 2.5 ms in a window of 10 ms.
const WINDOW: usize = 4;
/// Windows in a row that span 30 ms.
const HELD: usize = 1 + (30 - 10) * 4 / 10;
/// How far above the noise floor speech is.
const ABOVE_FLOOR_DB: f64 = 7.0;
/// How far below the loudest 10 ms speech still is.
const BELOW_LOUDEST_DB: f64 = 25.0;
/// The noise floor is the level that this share of the windows does not exceed.
const FLOOR_SHARE: f64 = 0.1;
/// Windows below this are digital silence; it is also the lowest limit that makes sense.
const LOWEST_DBFS: f64 = -70.0;

/// Speech in a recording, in samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speech {
    /// First audible sample.
    pub start: u64,
    /// One past the last audible sample.
    pub end: u64,
    /// The limit that was used, dBFS.
    pub limit: f64,
    /// The noise floor, dBFS.
    pub floor: f64,
}

/// Finds speech; `None` when nothing in the recording is audible.
pub fn detect(samples: &[f32], rate: u32) -> Option<Speech> {
    let hop = (rate as usize / 400).max(1);
    let levels = window_levels(samples, hop);
    let mut sorted: Vec<f64> = levels.iter().map(|l| l.max(LOWEST_DBFS)).collect();
    sorted.sort_by(f64::total_cmp);
    let &loudest = sorted.last()?;
    let floor = sorted[(sorted.len() as f64 * FLOOR_SHARE) as usize];
    // Where speech fills the recording, the quietest tenth is speech, not noise.
    let limit = (floor + ABOVE_FLOOR_DB)
        .min(loudest - ABOVE_FLOOR_DB)
        .max(AUDIBLE_DBFS.min(loudest - BELOW_LOUDEST_DB))
        .max(LOWEST_DBFS);

    let runs: Vec<(usize, usize)> =
        loud_runs(&levels, limit).filter(|(from, to)| to - from >= HELD.min(levels.len())).collect();
    let (first, last) = (runs.first()?.0, runs.last()?.1 - 1);
    // To the sample: in the outermost windows, the outermost hop that is itself that loud (there is one, as the mean
    // of the window is), and in it the outermost sample that reaches the limit.
    let near = amplitude(limit);
    let loud = |window: usize| {
        (window..window + WINDOW).filter_map(move |h| {
            let part = samples.get(h * hop..samples.len().min((h + 1) * hop))?;
            (rms_dbfs(part) > limit).then_some((h * hop, part))
        })
    };
    let (from, part) = loud(first).next()?;
    let start = from + part.iter().position(|s| s.abs() >= near)?;
    let (from, part) = loud(last).next_back()?;
    let end = from + part.iter().rposition(|s| s.abs() >= near)? + 1;
    Some(Speech { start: start as u64, end: end as u64, limit, floor })
}

/// Levels of the 10 ms windows that begin at each hop; a recording shorter than that has one.
fn window_levels(samples: &[f32], hop: usize) -> Vec<f64> {
    let energies: Vec<(f64, usize)> = samples
        .chunks(hop)
        .map(|h| (h.iter().map(|&s| f64::from(s) * f64::from(s)).sum(), h.len()))
        .collect();
    let level = |hops: &[(f64, usize)]| {
        let (energy, count) = hops.iter().fold((0.0, 0), |(e, n), h| (e + h.0, n + h.1));
        power_dbfs(energy / count.max(1) as f64)
    };
    if energies.is_empty() {
        Vec::new()
    } else if energies.len() < WINDOW {
        vec![level(&energies)]
    } else {
        energies.windows(WINDOW).map(level).collect()
    }
}

/// Runs of windows above the limit, `(first, one past the last)`.
fn loud_runs(levels: &[f64], limit: f64) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at + levels[at..].iter().position(|&l| l > limit)?;
        let to = levels[from..].iter().position(|&l| l <= limit).map_or(levels.len(), |n| from + n);
        at = to;
        Some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const RATE: u32 = 16_000;

    /// Two words with a pause of 500 ms in noise of that level, from 200 ms to 1.4 s of 1.7 s.
    fn recording(speech: f32, noise_dbfs: f64) -> Vec<f32> {
        let mut r = Seed(3).stream("noise", 0);
        (0..27_200)
            .map(|i| {
                let said = (3_200..11_200).contains(&i) || (19_200..22_400).contains(&i);
                let voice = if said { speech * (i as f32 * 0.3).sin() } else { 0.0 };
                voice + (f64::from(amplitude(noise_dbfs)) * r.normal()) as f32
            })
            .collect()
    }

    fn off_by_ms(speech: Speech) -> (f64, f64) {
        ((speech.start as f64 - 3_200.0) / 16.0, (speech.end as f64 - 22_400.0) / 16.0)
    }

    #[test]
    fn loud_quiet_and_noisy_recordings() {
        for (voice, noise) in [(0.3, -90.0), (0.3, -60.0), (0.3, -25.0), (0.02, -75.0), (0.9, -20.0)] {
            let speech = detect(&recording(voice, noise), RATE).unwrap();
            let (start, end) = off_by_ms(speech);
            assert!(start.abs() < 5.0 && end.abs() < 5.0, "{voice} {noise}: {start} {end} {speech:?}");
        }
    }

    #[test]
    fn clicks_are_not_speech() {
        let mut samples = recording(0.3, -80.0);
        for at in [800, 26_000] {
            samples[at..at + 80].fill(0.5);
        }
        let (start, end) = off_by_ms(detect(&samples, RATE).unwrap());
        assert!(start.abs() < 5.0 && end.abs() < 5.0, "{start} {end}");
    }

    #[test]
    fn a_recording_that_is_all_speech() {
        let samples: Vec<f32> = (0..16_000).map(|i| 0.3 * (i as f32 * 0.3).cos()).collect();
        let speech = detect(&samples, RATE).unwrap();
        assert!(speech.start == 0 && speech.end > 15_990, "{speech:?}");
    }

    #[test]
    fn silence_has_no_speech() {
        assert_eq!(detect(&[], RATE), None);
        assert_eq!(detect(&[0.0; 16_000], RATE), None);
        assert_eq!(detect(&[0.000_01; 16_000], RATE), None);
        assert_eq!(detect(&[f32::NAN; 1_000], RATE), None);
        assert!(detect(&[0.5; 10], RATE).is_some(), "shorter than a window");
    }
}
