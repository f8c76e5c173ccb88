//! Loudness: RMS levels in dBFS, where a full-scale square wave is 0 dBFS.

/// What an ear at a toy's loudspeaker notices: 10 ms RMS above this is audible.
pub const AUDIBLE_DBFS: f64 = -40.0;

/// RMS level; −∞ for digital silence and for no samples at all.
pub fn rms_dbfs(samples: &[f32]) -> f64 {
    let energy: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    power_dbfs(energy / samples.len().max(1) as f64)
}

/// Mean square as a level.
pub(super) fn power_dbfs(mean_square: f64) -> f64 {
    10.0 * mean_square.log10()
}

/// A level as mean square.
pub(super) fn power(dbfs: f64) -> f64 {
    10_f64.powf(dbfs / 10.0)
}

/// A level as amplitude.
pub(super) fn amplitude(dbfs: f64) -> f32 {
    10_f64.powf(dbfs / 20.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_levels() {
        assert_eq!(rms_dbfs(&[1.0, -1.0]), 0.0);
        assert!((rms_dbfs(&[0.01; 160]) - AUDIBLE_DBFS).abs() < 1e-6);
        let sine: Vec<f32> = (0..16_000).map(|i| (i as f32 * std::f32::consts::TAU / 16.0).sin()).collect();
        assert!((rms_dbfs(&sine) + 3.01).abs() < 0.01);
        assert_eq!(rms_dbfs(&[]), f64::NEG_INFINITY);
        assert_eq!(rms_dbfs(&[0.0]), f64::NEG_INFINITY);
        assert!((amplitude(AUDIBLE_DBFS) - 0.01).abs() < 1e-9 && (power(-20.0) - 0.01).abs() < 1e-12);
    }
}
