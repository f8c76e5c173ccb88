//! What the server heard, as WAV files: one per turn, so that a client can be checked for sending speech and not noise.
//!
//! Files are written by the thread that serves the connection, which is slow: not for servers that are measured.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audio::{AudioFormat, Decoder};

/// Most samples of one turn: a minute at 48 kHz.
const LONGEST: usize = 48_000 * 60;

/// Where the files go; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Shelf(Arc<Path>);

/// The speech of the turn under way.
pub(super) struct Tape {
    shelf: Shelf,
    format: AudioFormat,
    decoder: Decoder,
    samples: Vec<f32>,
}

impl Shelf {
    /// Makes the folder.
    pub(super) fn new(dir: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(dir)
            .map_err(|e| format!("cannot make the folder {} for what is heard: {e}", dir.display()))?;
        Ok(Self(dir.into()))
    }

    /// A tape for a session that speaks this format; `None` when nothing can be decoded at its rate.
    pub(super) fn tape(&self, format: AudioFormat) -> Option<Tape> {
        let decoder = Decoder::new(format).ok()?;
        Some(Tape { shelf: self.clone(), format, decoder, samples: Vec::new() })
    }
}

impl Tape {
    /// A payload was heard. One that cannot be decoded leaves nothing: the ear has complained.
    pub(super) fn hear(&mut self, payload: &[u8]) {
        if self.samples.len() < LONGEST {
            let _ = self.decoder.decode(payload, &mut self.samples);
        }
    }

    /// The turn ended: writes `SESSION-TURN.wav`, and begins anew. What had to be said of a failure is on stderr.
    pub(super) fn cut(&mut self, session: u64, turn: u32) {
        let samples = std::mem::take(&mut self.samples);
        let file: PathBuf = self.shelf.0.join(format!("{session}-{turn}.wav"));
        if let Err(e) = write(&file, self.format.sample_rate, &samples) {
            let _ = writeln!(std::io::stderr(), "warning: cannot write {}: {e}", file.display());
        }
        if let Ok(decoder) = Decoder::new(self.format) {
            self.decoder = decoder;
        }
    }
}

fn write(file: &Path, sample_rate: u32, samples: &[f32]) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, spec)?;
    for s in samples {
        writer.write_sample((s * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16)?;
    }
    writer.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::audio::Codec;

    #[test]
    fn each_turn_is_a_file_with_what_was_said_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let format = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };
        let mut tape = Shelf::new(&dir.path().join("new")).unwrap().tape(format).unwrap();
        let payload: Bytes = [100_i16, -200].iter().flat_map(|s| s.to_le_bytes()).collect();
        tape.hear(&payload);
        tape.cut(7, 0);
        tape.hear(b"odd");
        tape.cut(7, 1);
        let read = |name: &str| {
            let reader = hound::WavReader::open(dir.path().join("new").join(name)).unwrap();
            assert_eq!(reader.spec().sample_rate, 16_000);
            reader.into_samples::<i16>().map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(read("7-0.wav"), [100, -200]);
        assert!(read("7-1.wav").is_empty());
    }
}
