//! G.711 µ-law (ITU-T G.711, table 2a/2b): one byte a sample, about 13 bits' worth of range.
//!
//! ```text
//! byte, inverted:  s eee mmmm      magnitude (16 bit) = ((mmmm · 8 + 132) << eee) − 132
//! ```

use std::sync::LazyLock;

use super::pcm::quantise;

/// Added before the segments are cut, so that each begins at a power of two.
const BIAS: i32 = 132;
/// Largest magnitude that has a code.
const CLIP: i32 = 32_635;

/// The code of a 16-bit sample.
fn compress(sample: i16) -> u8 {
    let sample = i32::from(sample);
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.abs().min(CLIP) + BIAS;
    // The bias puts the highest set bit at 7 … 14.
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// The 16-bit sample of a code.
fn expand(code: u8) -> i16 {
    let code = !code;
    let magnitude = (((((code & 0x0f) as i32) << 3) + BIAS) << ((code >> 4) & 7)) - BIAS;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
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
        // Decision and decoder output values of G.711 table 2, scaled from 14 to 16 bits.
        for (sample, code, back) in [
            (0, 0xff, 0),
            (-1, 0x7f, 0),
            (8, 0xfe, 8),
            (-8, 0x7e, -8),
            (120, 0xf0, 120),
            (132, 0xef, 132),
            (1_000, 0xce, 988),
            (8_031 * 4, 0x80, 32_124),
            (-8_031 * 4, 0x00, -32_124),
            (i16::MAX, 0x80, 32_124),
            (i16::MIN, 0x00, -32_124),
        ] {
            assert_eq!(compress(sample), code, "{sample}");
            assert_eq!(expand(code), back, "{sample}");
        }
    }

    #[test]
    fn every_code_survives() {
        for code in 0..=255_u8 {
            // 0x7f is "negative zero"; it comes back as positive.
            let want = if code == 0x7f { 0xff } else { code };
            assert_eq!(compress(expand(code)), want);
        }
    }

    #[test]
    fn error_is_at_most_half_a_step() {
        for sample in (-CLIP..=CLIP).map(|s| s as i16) {
            let error = (i32::from(expand(compress(sample))) - i32::from(sample)).abs();
            let segment = 24 - (i32::from(sample).abs() + BIAS).leading_zeros();
            assert!(error <= 4 << segment, "{sample}: {error}");
        }
    }
}
