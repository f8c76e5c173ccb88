//! Linear PCM, 16 bit, little endian.

use super::PayloadError;

/// The nearest 16-bit value; what is out of range, or not a number, becomes the nearest that is in range, or zero.
pub(super) fn quantise(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Appends the samples.
pub fn encode(samples: &[f32], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|&s| quantise(s).to_le_bytes()));
}

/// Number of samples in a payload.
pub fn count(payload: &[u8]) -> Result<u64, PayloadError> {
    if payload.len().is_multiple_of(2) {
        Ok(payload.len() as u64 / 2)
    } else {
        Err(PayloadError::OddPcm(payload.len()))
    }
}

/// Appends the samples of a payload.
pub fn decode(payload: &[u8], out: &mut Vec<f32>) -> Result<(), PayloadError> {
    count(payload)?;
    let (pairs, _) = payload.as_chunks();
    out.extend(pairs.iter().map(|&p| f32::from(i16::from_le_bytes(p)) / 32_768.0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_and_the_rest_is_clipped() {
        let all: Vec<u8> = (i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes).collect();
        let (mut samples, mut again) = (Vec::new(), Vec::new());
        decode(&all, &mut samples).unwrap();
        encode(&samples, &mut again);
        assert_eq!(all, again);
        assert_eq!([1.0, 1.5, -1.5, f32::NAN].map(quantise), [i16::MAX, i16::MAX, i16::MIN, 0]);
    }

    #[test]
    fn half_a_sample_is_an_error() {
        assert_eq!(decode(&[1, 2, 3], &mut Vec::new()), Err(PayloadError::OddPcm(3)));
        assert_eq!(count(&[]), Ok(0));
    }
}
