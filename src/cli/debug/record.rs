//! `--record`: the conversation as a stereo WAV, and its milestones.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::device::conversation::{Conversation, Stereo};
use crate::exit::Failure;

/// Names of the files.
const WAV: &str = "conversation.wav";
const JSON: &str = "conversation.json";

/// Where a recording goes.
pub(super) struct Recording {
    dir: PathBuf,
    /// Milestones so far.
    milestones: Vec<Value>,
}

impl Recording {
    /// Makes the folder, so that a wrong path is known before the run.
    pub(super) fn create(dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(|e| {
            Failure::usage(format!("--record {}: the folder cannot be made: {e}", dir.display()))
        })?;
        Ok(Self { dir: dir.to_owned(), milestones: Vec::new() })
    }

    /// Notes a milestone; frames are not kept.
    pub(super) fn note(&mut self, moment: Value) {
        self.milestones.push(moment);
    }

    /// Writes both files. `about` says what was recorded. Returns their paths.
    pub(super) fn write(
        self,
        conversation: &Conversation,
        mut about: Value,
    ) -> Result<[PathBuf; 2], Failure> {
        let mix = conversation.mix().map_err(|e| Failure::usage(format!("the recording: {e}")))?;
        let (wav, json) = (self.dir.join(WAV), self.dir.join(JSON));
        let cannot = |file: &Path, e: &dyn std::fmt::Display| {
            Failure::usage(format!("the recording {} cannot be written: {e}", file.display()))
        };
        write_wav(&wav, &mix).map_err(|e| cannot(&wav, &e))?;
        about["wav"] = json!({
            "file": WAV,
            "sample_rate": mix.rate,
            "samples": mix.left.len(),
            "left": "what the device said, each sample at the instant at which it was planned to be spoken",
            "right": "what its loudspeaker played, each sample when it was heard",
            "cut_short": conversation.cut_short(),
        });
        about["milestones"] = self.milestones.into();
        let text = serde_json::to_string_pretty(&about).map_err(|e| cannot(&json, &e))?;
        std::fs::write(&json, text + "\n").map_err(|e| cannot(&json, &e))?;
        Ok([wav, json])
    }
}

fn write_wav(file: &Path, mix: &Stereo) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: mix.rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, spec)?;
    let pcm = |s: f32| (s * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16;
    for (&left, &right) in mix.left.iter().zip(&mix.right) {
        writer.write_sample(pcm(left))?;
        writer.write_sample(pcm(right))?;
    }
    writer.finalize()
}
