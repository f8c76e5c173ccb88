//! Opus (RFC 6716) by `ropus`, for speech: the VOIP application, variable bit rate, one channel.

use ropus::{Channels, DecodeMode, OPUS_APPLICATION_VOIP, OPUS_OK, OPUS_SIGNAL_VOICE, OpusEncoder};

use super::{EncodeError, PayloadError, packet};
use crate::audio::{AudioFormat, CodecSettings};
use crate::time::Micros;

/// Rates at which Opus runs.
pub const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// Frame durations that one `encode` call can make.
pub const FRAMES: [Micros; 6] =
    [Micros(2_500), Micros(5_000), Micros(10_000), Micros(20_000), Micros(40_000), Micros(60_000)];
/// Bit rates that make sense for one channel.
pub const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=256_000;
/// Enough for 60 ms: three frames of 1275 bytes, their lengths and the TOC.
const MOST_BYTES: usize = 4_000;

/// An encoder, always on: its state goes from frame to frame.
///
/// Built on the plain interface of libopus, as the typed one cannot hold the bandwidth.
pub struct Encoder {
    inner: OpusEncoder,
    frame: i32,
    buffer: Vec<u8>,
}

impl Encoder {
    /// With settings that [`check`](super::check) accepts.
    pub fn new(settings: &CodecSettings) -> Result<Self, EncodeError> {
        let rate = settings.format.sample_rate;
        let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let mut inner = OpusEncoder::new(int(rate), 1, OPUS_APPLICATION_VOIP).map_err(refused)?;
        // The signal is declared to be voice, so that the encoder does not guess.
        for code in [
            inner.set_bitrate(int(settings.bitrate)),
            inner.set_complexity(i32::from(settings.complexity)),
            inner.set_dtx(i32::from(settings.dtx)),
            inner.set_signal(OPUS_SIGNAL_VOICE),
        ] {
            if code != OPUS_OK {
                return Err(refused(code));
            }
        }
        Ok(Self { inner, frame: settings.frame.to_samples(rate) as i32, buffer: vec![0; MOST_BYTES] })
    }

    /// Look-ahead in samples at the encoder's rate.
    pub fn lookahead(&self) -> u64 {
        self.inner.get_lookahead().max(0) as u64
    }

    /// Keeps the bandwidth that the encoder has chosen so far. At complexity 7 and above it would follow what it
    /// hears, and frames of different bandwidths cannot share a packet.
    pub fn hold_bandwidth(&mut self) -> Result<(), EncodeError> {
        match self.inner.set_bandwidth(self.inner.get_bandwidth()) {
            OPUS_OK => Ok(()),
            code => Err(refused(code)),
        }
    }

    /// Encodes one frame. With DTX, silence gives packets of one or two bytes.
    pub fn encode(&mut self, samples: &[f32]) -> Result<Vec<u8>, EncodeError> {
        if samples.len() != self.frame as usize {
            return Err(EncodeError::Opus(format!("a frame of {} samples", samples.len())));
        }
        let len = self
            .inner
            .encode_float(samples, self.frame, &mut self.buffer, MOST_BYTES as i32)
            .map_err(refused)?;
        Ok(self.buffer.get(..len as usize).unwrap_or_default().to_vec())
    }
}

fn refused(code: i32) -> EncodeError {
    EncodeError::Opus(format!("libopus error {code}"))
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
            match self.inner.decode_float(packet, &mut self.buffer, DecodeMode::Normal) {
                Ok(n) => out.extend_from_slice(self.buffer.get(..n).unwrap_or_default()),
                Err(e) => result = Err(PayloadError::Opus(e.to_string())),
            }
        })?;
        result
    }
}
