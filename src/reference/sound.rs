//! The server's sounds: its replies, encoded as devices ask for them.

use super::replies::Spoken;
use crate::audio::{AudioFormat, Chunk, Decoder, Library, Onset, OnsetFinder, encode_reply};
use crate::time::Micros;

/// Bit rate of Opus replies, bit/s: what voice services commonly send for wide-band speech.
const BITRATE: u32 = 24_000;

/// Encodes a reply, message by message.
pub(super) fn encode(
    samples: &[f32],
    rate: u32,
    format: AudioFormat,
    chunk: Micros,
) -> Result<Vec<Chunk>, String> {
    encode_reply(samples, rate, format, chunk, BITRATE)
        .map_err(|e| format!("replies cannot be encoded as asked: {e}"))
}

/// The first audible sample after decoding, as a device will hear it.
pub(super) fn audible_from(chunks: &[Chunk], format: AudioFormat) -> Result<Option<Micros>, String> {
    let mut decoder = Decoder::new(format).map_err(|e| e.to_string())?;
    let mut finder = OnsetFinder::new(format.sample_rate);
    let mut samples = Vec::new();
    for c in chunks {
        samples.clear();
        decoder.decode(&c.payload, &mut samples).map_err(|e| e.to_string())?;
        if let Onset::Found(at) = finder.push(&samples) {
            return Ok(Some(at));
        }
    }
    Ok(match finder.finish() {
        Onset::Found(at) => Some(at),
        Onset::Pending => None,
    })
}

/// The replies that are part of the binary.
pub fn shipped() -> Result<Vec<Spoken>, String> {
    let sounds = Library::replies()?;
    Ok(sounds
        .into_iter()
        .map(|s| Spoken { text: s.transcript.unwrap_or_default(), rate: s.sample_rate, samples: s.samples })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{MS, OPUS};

    #[test]
    fn shipped_replies_begin_soon_and_have_words() {
        for s in shipped().unwrap() {
            let chunks = encode(&s.samples, s.rate, OPUS, MS(60)).unwrap();
            let audible = audible_from(&chunks, OPUS).unwrap().unwrap();
            assert!(audible < MS(40), "{}: {audible:?}", s.text);
            assert!(s.text.split_whitespace().count() > 3, "{}", s.text);
        }
    }
}
