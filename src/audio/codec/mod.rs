//! Codecs: samples to payloads and back, and how long a payload plays.
//!
//! To add a codec: a name in [`Codec`], a file here, and a line in each `match` below; the compiler lists them.

use crate::audio::{AudioFormat, Codec, CodecSettings};
use crate::time::Micros;

pub mod alaw;
pub mod mulaw;
pub mod opus;
pub mod packet;
pub mod pcm;

/// Sample rates at which sound is read, sent and received.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// Longest message; more is not a stream.
pub const MAX_CHUNK: Micros = Micros::from_secs(2);

/// Why a payload cannot be audio of the agreed format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// RFC 6716 framing.
    #[error("not Opus: {0}")]
    Packet(#[from] packet::PacketError),
    /// Framing is right, the content is not.
    #[error("Opus that cannot be decoded: {0}")]
    Opus(String),
    /// Half a sample.
    #[error("not PCM16: {0} bytes, an odd number")]
    OddPcm(usize),
    /// The agreed format itself.
    #[error("{0} Hz is not a rate at which Opus can be decoded (8000, 12000, 16000, 24000 or 48000)")]
    Rate(u32),
}

/// Why speech cannot be encoded as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Opus runs at certain rates.
    #[error("audio.rate is {0} Hz, but Opus runs at 8000, 12000, 16000, 24000 or 48000 Hz")]
    OpusRate(u32),
    /// Any other codec runs at any rate within reason.
    #[error("audio.rate is {0} Hz, expected 8000 to 48000")]
    Rate(u32),
    /// Opus frames have certain durations.
    #[error("audio.frame is {0}, but Opus frames are 2.5, 5, 10, 20, 40 or 60 ms")]
    OpusFrame(Micros),
    /// Frames of the other codecs.
    #[error("audio.frame is {0}, expected 1 ms or more")]
    Frame(Micros),
    /// A message holds whole frames.
    #[error("audio.chunk is {chunk}, which is not a whole number of frames of {frame}: try {}", near(*chunk, *frame))]
    Chunk {
        /// `audio.chunk`.
        chunk: Micros,
        /// `audio.frame`.
        frame: Micros,
    },
    /// A message must not hold a whole conversation.
    #[error("audio.chunk is {0}, expected 2 s or less")]
    LongChunk(Micros),
    /// No bits, or more than Opus uses.
    #[error("audio.bitrate is {0} bit/s, but Opus takes 6000 to 256000 for one channel")]
    Bitrate(u32),
    /// libopus's scale.
    #[error("audio.complexity is {0}, expected 0 to 10")]
    Complexity(u8),
    /// The codec itself refused.
    #[error("the Opus encoder refused: {0}")]
    Opus(String),
    /// The resampler refused.
    #[error("cannot resample from {from} to {to} Hz: {why}")]
    Resample {
        /// Rate of the file.
        from: u32,
        /// Rate asked for.
        to: u32,
        /// What the resampler said.
        why: String,
    },
}

/// The nearest chunk that would do.
fn near(chunk: Micros, frame: Micros) -> Micros {
    frame * ((chunk.0 + frame.0 / 2) / frame.0.max(1)).max(1)
}

impl From<packet::PacketError> for EncodeError {
    fn from(e: packet::PacketError) -> Self {
        Self::Opus(format!("a packet of its own breaks RFC 6716: {e}"))
    }
}

/// Checks that a codec can do what is asked of it.
pub fn check(settings: &CodecSettings) -> Result<(), EncodeError> {
    let CodecSettings { format: AudioFormat { codec, sample_rate }, frame, chunk, .. } = *settings;
    match codec {
        Codec::Opus if !opus::RATES.contains(&sample_rate) => Err(EncodeError::OpusRate(sample_rate)),
        Codec::Opus if !opus::FRAMES.contains(&frame) => Err(EncodeError::OpusFrame(frame)),
        Codec::Opus if !opus::BITRATES.contains(&settings.bitrate) => {
            Err(EncodeError::Bitrate(settings.bitrate))
        }
        Codec::Opus if settings.complexity > 10 => Err(EncodeError::Complexity(settings.complexity)),
        _ if !RATES.contains(&sample_rate) => Err(EncodeError::Rate(sample_rate)),
        _ if frame < Micros::from_millis(1) => Err(EncodeError::Frame(frame)),
        _ if chunk < frame || chunk.0 % frame.0 != 0 => Err(EncodeError::Chunk { chunk, frame }),
        _ if chunk > MAX_CHUNK => Err(EncodeError::LongChunk(chunk)),
        _ => Ok(()),
    }
}

/// Playing time of a payload, without decoding it: cheap, and safe on whatever came from outside.
///
/// Opus payloads must be framed as RFC 6716 says (several packets as [`packet`] says), PCM must hold whole samples:
/// this is how a wrong format is noticed.
pub fn duration(format: AudioFormat, payload: &[u8]) -> Result<Micros, PayloadError> {
    let samples = match format.codec {
        Codec::Opus => return Ok(packet::duration(payload)?),
        Codec::Pcm16 => pcm::count(payload)?,
        Codec::Mulaw | Codec::Alaw => payload.len() as u64,
    };
    Ok(Micros::of_samples(samples, format.sample_rate.max(1)))
}

/// An encoder of any codec: frames in, packets out, packed into the payload of a message.
pub(super) enum Encoder {
    Opus(Box<opus::Encoder>),
    Pcm16,
    Mulaw,
    Alaw,
}

impl Encoder {
    pub(super) fn new(settings: &CodecSettings) -> Result<Self, EncodeError> {
        check(settings)?;
        Ok(match settings.format.codec {
            Codec::Opus => Self::Opus(Box::new(opus::Encoder::new(settings)?)),
            Codec::Pcm16 => Self::Pcm16,
            Codec::Mulaw => Self::Mulaw,
            Codec::Alaw => Self::Alaw,
        })
    }

    /// Samples that the encoder needs beyond the end of a frame.
    pub(super) fn lookahead(&self) -> u64 {
        match self {
            Self::Opus(encoder) => encoder.lookahead(),
            Self::Pcm16 | Self::Mulaw | Self::Alaw => 0,
        }
    }

    /// Called when the encoder has warmed up: from here on it keeps its configuration.
    pub(super) fn settle(&mut self) -> Result<(), EncodeError> {
        match self {
            Self::Opus(encoder) => encoder.hold_bandwidth(),
            Self::Pcm16 | Self::Mulaw | Self::Alaw => Ok(()),
        }
    }

    pub(super) fn encode(&mut self, frame: &[f32]) -> Result<Vec<u8>, EncodeError> {
        let mut packet = Vec::new();
        match self {
            Self::Opus(encoder) => return encoder.encode(frame),
            Self::Pcm16 => pcm::encode(frame, &mut packet),
            Self::Mulaw => mulaw::encode(frame, &mut packet),
            Self::Alaw => alaw::encode(frame, &mut packet),
        }
        Ok(packet)
    }

    /// The payload that carries these packets.
    pub(super) fn pack(&self, packets: &[Vec<u8>]) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Opus(_) => Ok(packet::pack(packets)?),
            Self::Pcm16 | Self::Mulaw | Self::Alaw => Ok(packets.concat()),
        }
    }
}

/// A decoder of any codec: one for each stream, as Opus has a state.
pub struct Decoder(Kind);

enum Kind {
    Opus(Box<opus::Decoder>),
    Pcm16,
    Mulaw,
    Alaw,
}

impl Decoder {
    /// For one format; fails when Opus cannot run at its rate.
    pub fn new(format: AudioFormat) -> Result<Self, PayloadError> {
        Ok(Self(match format.codec {
            Codec::Opus => Kind::Opus(Box::new(opus::Decoder::new(format)?)),
            Codec::Pcm16 => Kind::Pcm16,
            Codec::Mulaw => Kind::Mulaw,
            Codec::Alaw => Kind::Alaw,
        }))
    }

    /// Appends the samples of one payload, −1 … 1, at the format's rate.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> Result<(), PayloadError> {
        match &mut self.0 {
            Kind::Opus(decoder) => decoder.decode(payload, out),
            Kind::Pcm16 => pcm::decode(payload, out),
            Kind::Mulaw => {
                mulaw::decode(payload, out);
                Ok(())
            }
            Kind::Alaw => {
                alaw::decode(payload, out);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(codec: Codec, sample_rate: u32) -> AudioFormat {
        AudioFormat { codec, sample_rate }
    }

    #[test]
    fn durations() {
        let of = |codec, rate, bytes: &[u8]| duration(format(codec, rate), bytes);
        assert_eq!(of(Codec::Pcm16, 16_000, &[0; 640]), Ok(Micros::from_millis(20)));
        assert_eq!(of(Codec::Mulaw, 8_000, &[0; 480]), Ok(Micros::from_millis(60)));
        assert_eq!(of(Codec::Opus, 16_000, &[0b0100_1000, 1, 2]), Ok(Micros::from_millis(20)));
        assert_eq!(of(Codec::Pcm16, 0, &[]), Ok(Micros::ZERO));
        insta::assert_snapshot!(of(Codec::Pcm16, 16_000, &[0; 5]).unwrap_err(), @"not PCM16: 5 bytes, an odd number");
        insta::assert_snapshot!(of(Codec::Opus, 16_000, &[]).unwrap_err(), @"not Opus: an Opus packet has at least one byte");
        insta::assert_snapshot!(of(Codec::Opus, 16_000, &[0x4b, 9]).unwrap_err(), @"not Opus: a packet of 180 ms, longer than the 120 ms that Opus allows");
    }

    #[test]
    fn pcm_is_soon_noticed_not_to_be_opus() {
        // 60 ms of a tone at 16 kHz, as a server with another idea of the format would send it.
        let tone: Vec<f32> = (0..96_000).map(|i| 0.3 * (i as f32 * 0.11).sin()).collect();
        let wrong = tone
            .chunks(960)
            .filter(|samples| {
                let mut payload = Vec::new();
                pcm::encode(samples, &mut payload);
                duration(format(Codec::Opus, 16_000), &payload).is_err()
            })
            .count();
        assert!(wrong > 50, "{wrong} of 100 messages");
    }

    #[test]
    fn opus_decodes_at_its_rates_only() {
        let error = Decoder::new(format(Codec::Opus, 44_100)).err();
        assert_eq!(error, Some(PayloadError::Rate(44_100)));
        assert!(opus::RATES.iter().all(|&rate| Decoder::new(format(Codec::Opus, rate)).is_ok()));
    }

    proptest! {
        #[test]
        fn any_payload_is_decoded_or_refused(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
            codec in prop::sample::select(vec![Codec::Opus, Codec::Opus, Codec::Opus, Codec::Pcm16, Codec::Mulaw, Codec::Alaw]),
            rate in prop::sample::select(opus::RATES.to_vec()),
        ) {
            let format = format(codec, rate);
            let mut decoder = Decoder::new(format).unwrap();
            for payload in payloads {
                let mut samples = Vec::new();
                if decoder.decode(&payload, &mut samples).is_ok() {
                    let length = Micros::of_samples(samples.len() as u64, rate);
                    prop_assert_eq!(Ok(length), duration(format, &payload));
                    prop_assert!(samples.iter().all(|s| s.is_finite()));
                } else {
                    prop_assert!(!matches!(codec, Codec::Mulaw | Codec::Alaw));
                }
            }
        }
    }
}
