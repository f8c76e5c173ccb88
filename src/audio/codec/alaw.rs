//! G.711 A-law (ITU-T G.711, table 1a/1b): one byte a sample, about 12 bits' worth of range. What telephones speak outside of North America and
//! Japan.
//!
//! ```text
//! byte, even bits inverted:  s eee mmmm      magnitude (16 bit) = (mmmm · 16 + 8)                    for eee = 0
//! (s = 1: positive)                                             = (mmmm · 16 + 8 + 256) << (eee − 1) else
//! ```

use std::sync::LazyLock;

use super::pcm::quantise;

/// Every second bit is inverted, so that silence has edges.
const INVERTED: u8 = 0x55;

/// The code of a 16-bit sample.
fn compress(sample: i16) -> u8 {
    // Of 13 bits; below zero the steps begin one lower, so that there is no zero but two smallest values.
    let (sign, magnitude) = if sample < 0 { (0, !sample >> 3) } else { (0x80, sample >> 3) };
    let magnitude = i32::from(magnitude);
    // The highest set bit is at 5 … 11 in the segments that double, and lower in the first.
    let segment = 27 - (magnitude | 0x1f).leading_zeros();
    let step = if segment == 0 { magnitude >> 1 } else { magnitude >> segment };
    (sign | (segment << 4) as u8 | (step & 0x0f) as u8) ^ INVERTED
}

/// The 16-bit sample of a code.
fn expand(code: u8) -> i16 {
    let code = code ^ INVERTED;
    let segment = (code >> 4) & 7;
    let step = (((code & 0x0f) as i32) << 4) + 8;
    let magnitude = if segment == 0 { step } else { (step + 256) << (segment - 1) };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

/// Every code's sample, −1 … 1.
static TABLE: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|code| f32::from(expand(code as u8)) / 32_768.0));

/// Appends the samples.
pub fn encode(samples: &[f32], out: &mut Vec<u8>) {
    out.extend(samples.iter().map(|&s| compress(quantise(s))));
}

/// Appends the samples of a payload.
pub fn decode(payload: &[u8], out: &mut Vec<f32>) {
    let table = &*TABLE;
    out.extend(payload.iter().map(|&code| table[usize::from(code)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_standard() {
        // Decision and decoder output values of G.711 table 1, scaled from 13 to 16 bits.
        for (sample, code, back) in [
            (0, 0xd5, 8),
            (-1, 0x55, -8),
            (15, 0xd5, 8),
            (16, 0xd4, 24),
            (-17, 0x54, -24),
            (504, 0xca, 504),
            (512, 0xf5, 528),
            (1_000, 0xfa, 1_008),
            (4_032 * 8, 0xaa, 32_256),
            (i16::MAX, 0xaa, 32_256),
            (i16::MIN, 0x2a, -32_256),
        ] {
            assert_eq!(compress(sample), code, "{sample}");
            assert_eq!(expand(code), back, "{sample}");
        }
    }

    #[test]
    fn every_code_survives() {
        for code in 0..=255_u8 {
            assert_eq!(compress(expand(code)), code);
        }
    }

    #[test]
    fn error_is_at_most_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let error = (i32::from(expand(compress(sample))) - i32::from(sample)).abs();
            // The first two segments have steps of 16, each other one steps of twice those before.
            let magnitude = i32::from(if sample < 0 { !sample } else { sample });
            let segment = 24 - (magnitude | 0xff).leading_zeros();
            assert!(error <= 8 << segment.saturating_sub(1), "{sample}: {error}");
        }
    }
}
