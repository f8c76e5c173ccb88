//! Opus (RFC 6716) by `ropus`, for speech: the VOIP application, variable bit rate, one channel.

use ropus::{Application, Bitrate, Channels, DecodeMode, Signal};

use super::{EncodeError, PayloadError, packet};
use crate::audio::{AudioFormat, CodecSettings};
use crate::time::Micros;

/// Rates at which Opus runs.
pub const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// Frame durations that one `encode` call can make.
pub const FRAMES: [Micros; 6] = [
    Micros(2_500),
    Micros(5_000),
    Micros(10_000),
    Micros(20_000),
    Micros(40_000),
    Micros(60_000),
];
/// Bit rates that make sense for one channel.
pub const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=256_000;
/// Enough for 60 ms: three frames of 1275 bytes, their lengths and the TOC.
const MOST_BYTES: usize = 4_000;

/// An encoder, always on: its state goes from frame to frame.
pub struct Encoder {
    inner: ropus::Encoder,
    buffer: Vec<u8>,
}

impl Encoder {
    /// With settings that [`CodecSettings::check`](super::check) accepts.
    pub fn new(settings: &CodecSettings) -> Result<Self, EncodeError> {
        // The signal is declared to be voice, so that the encoder does not change its mode within a chunk: frames
        // of one mode share a packet.
        let inner = ropus::Encoder::builder(settings.format.sample_rate, Channels::Mono, Application::Voip)
            .bitrate(Bitrate::Bits(settings.bitrate))
            .complexity(settings.complexity)
            .dtx(settings.dtx)
            .signal(Signal::Voice)
            .build()
            .map_err(|e| EncodeError::Opus(e.to_string()))?;
        Ok(Self {
            inner,
            buffer: vec![0; MOST_BYTES],
        })
    }

    /// Look-ahead in samples at the encoder's rate (libopus counts it so, whatever its documentation says of 48 kHz).
    pub fn lookahead(&self) -> u64 {
        u64::from(self.inner.lookahead())
    }

    /// Encodes one frame. With DTX, silence gives packets of one or two bytes.
    pub fn encode(&mut self, samples: &[f32]) -> Result<Vec<u8>, EncodeError> {
        let len = self
            .inner
            .encode_float(samples, &mut self.buffer)
            .map_err(|e| EncodeError::Opus(e.to_string()))?;
        Ok(self.buffer.get(..len).unwrap_or_default().to_vec())
    }
}

/// A decoder.
pub struct Decoder {
    inner: ropus::Decoder,
    /// Room for the longest packet.
    buffer: Vec<f32>,
}

impl Decoder {
    /// For one of [`RATES`].
    pub fn new(format: AudioFormat) -> Result<Self, PayloadError> {
        let inner = ropus::Decoder::new(format.sample_rate, Channels::Mono)
            .map_err(|_| PayloadError::Rate(format.sample_rate))?;
        let buffer = vec![0.0; inner.max_frame_samples_per_channel()];
        Ok(Self { inner, buffer })
    }

    /// Appends the sound of a message.
    pub fn decode(&mut self, message: &[u8], out: &mut Vec<f32>) -> Result<(), PayloadError> {
        let mut result = Ok(());
        packet::for_each_packet(message, |packet| {
            if result.is_err() {
                return;
            }
            match self
                .inner
                .decode_float(packet, &mut self.buffer, DecodeMode::Normal)
            {
                Ok(n) => out.extend_from_slice(self.buffer.get(..n).unwrap_or_default()),
                Err(e) => result = Err(PayloadError::Opus(e.to_string())),
            }
        })?;
        result
    }
}
