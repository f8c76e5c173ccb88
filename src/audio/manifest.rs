//! `manifest.toml`: what is known about the WAV files beside it, and whether it is true.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::wav::{self, Wav, WavError};
use super::{Sound, speech};
use crate::time::Micros;

/// The file's name.
pub const FILE: &str = "manifest.toml";
/// How far the detector may be from what a manifest says.
pub const TOLERANCE: Micros = Micros::from_millis(10);
/// A WAV of 60 s, 48 kHz, 32 bit and 8 channels is 92 MB; nothing larger is read.
const MOST_BYTES: u64 = 100_000_000;

/// What a fixture is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something said to the device: a turn.
    #[default]
    Utterance,
    /// A sound during a reply that must not stop it.
    Backchannel,
    /// What the reference server answers.
    Reply,
}

impl Kind {
    /// The name used in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utterance => "utterance",
            Self::Backchannel => "backchannel",
            Self::Reply => "reply",
        }
    }
}

/// One WAV file. All that is optional is found out or left unknown; what is given is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name used in scenarios and reports.
    pub id: String,
    /// The file, relative to the manifest.
    pub file: String,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// What is said.
    pub transcript: Option<String>,
    /// Where it comes from.
    pub made_with: Option<String>,
    /// SPDX identifier.
    pub licence: Option<String>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: Option<String>,
    /// Samples per second.
    pub sample_rate: Option<u32>,
    /// Samples a channel.
    pub samples: Option<u64>,
    /// First audible sample; detected when it is not given.
    pub speech_start: Option<u64>,
    /// One past the last audible sample; detected when it is not given.
    pub speech_end: Option<u64>,
}

impl Entry {
    /// A file of which nothing is known: its name is its id.
    pub fn unknown(path: &Path) -> Self {
        Self {
            id: path.file_stem().map_or_else(|| "sound".into(), |s| s.to_string_lossy().into_owned()),
            file: path.to_string_lossy().into_owned(),
            kind: Kind::Utterance,
            transcript: None,
            made_with: None,
            licence: None,
            sha256: None,
            sample_rate: None,
            samples: None,
            speech_start: None,
            speech_end: None,
        }
    }

    /// The sound in the file's bytes, or what is wrong with it, without the file's name.
    pub fn sound(&self, bytes: &[u8]) -> Result<Sound, String> {
        let sha256 = sha256(bytes);
        if let Some(want) = &self.sha256
            && !want.eq_ignore_ascii_case(&sha256)
        {
            return Err(format!(
                "is not the file that its {FILE} describes: sha256 is {sha256}, expected {want}"
            ));
        }
        let Wav { sample_rate, samples, .. } = wav::parse(bytes).map_err(|e| e.to_string())?;
        if let Some(want) = self.sample_rate
            && want != sample_rate
        {
            return Err(format!("has {sample_rate} samples a second, but its {FILE} says {want}"));
        }
        let length = samples.len() as u64;
        if let Some(want) = self.samples
            && want != length
        {
            return Err(format!("has {length} samples, but its {FILE} says {want}"));
        }
        let (speech_start, speech_end) = match (self.speech_start, self.speech_end) {
            (Some(start), Some(end)) if start < end && end <= length => (start, end),
            (Some(start), Some(end)) => {
                return Err(format!(
                    "has {length} samples, but its {FILE} says that speech is from {start} to {end}"
                ));
            }
            (None, None) => {
                let found = speech::detect(&samples, sample_rate).ok_or(
                    "has nothing audible in it: no sound above -40 dBFS and above its own noise for 30 ms",
                )?;
                (found.start, found.end)
            }
            _ => {
                return Err(format!("has only one of speech_start and speech_end in its {FILE}"));
            }
        };
        Ok(Sound {
            detected: self.speech_start.is_none(),
            id: self.id.clone(),
            transcript: self.transcript.clone(),
            sha256,
            sample_rate,
            samples: Arc::from(samples),
            speech_start,
            speech_end,
        })
    }

    /// Everything that [`sound`](Self::sound) checks, and that the detector hears speech where the manifest says.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let sound = self.sound(bytes)?;
        let found = speech::detect(&sound.samples, sound.sample_rate).ok_or("has nothing audible in it")?;
        let at = |sample| Micros::of_samples(sample, sound.sample_rate);
        for (what, said, heard) in
            [("begins", sound.speech_start, found.start), ("ends", sound.speech_end, found.end)]
        {
            let (said, heard) = (at(said), at(heard));
            if (said - heard).0.abs() > TOLERANCE.0 {
                return Err(format!(
                    "speech {what} at {said} by its {FILE}, but is heard at {heard}; they may differ by {TOLERANCE}"
                ));
            }
        }
        Ok(())
    }
}

/// All the files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the manifest's order.
    #[serde(default, rename = "fixture")]
    pub fixtures: Vec<Entry>,
}

impl Manifest {
    /// Reads the text of a manifest; the error names the place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| {
            let place = e.span().map_or_else(String::new, |span| {
                let before = text.get(..span.start).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                format!(":{line}:{column}")
            });
            format!("{origin}{place}: {}", e.message())
        })
    }

    /// The manifest of a folder; `None` when it has none.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, String> {
        let path = folder.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: cannot be read: {e}", path.display())),
        }
    }

    /// The entry for a file of the manifest's folder.
    pub fn entry(&self, file: &str) -> Option<&Entry> {
        self.fixtures.iter().find(|e| Path::new(&e.file) == Path::new(file))
    }
}

/// Reads a file that is to be a WAV.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| WavError::Io(e).to_string())?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    if metadata.len() > MOST_BYTES {
        return Err(format!("is {} MB large; expected an utterance", metadata.len() / 1_000_000));
    }
    std::fs::read(path).map_err(|e| WavError::Io(e).to_string())
}

/// SHA-256, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_place() {
        let parse = |text| Manifest::parse(text, "m.toml").unwrap_err();
        insta::assert_snapshot!(parse("[[fixture]]\nid = \"a\"\nfile = \"a.wav\"\nlicense = \"MIT\"\n"), @"m.toml:4:1: unknown field `license`, expected one of `id`, `file`, `kind`, `transcript`, `made_with`, `licence`, `sha256`, `sample_rate`, `samples`, `speech_start`, `speech_end`");
        insta::assert_snapshot!(parse("[[fixture]]\nid = \"a\"\n"), @"m.toml:1:1: missing field `file`");
        insta::assert_snapshot!(parse("[[fixture]]\nid = \"a\"\nfile = \"a.wav\"\nkind = \"song\"\n"), @"m.toml:4:8: unknown variant `song`, expected one of `utterance`, `backchannel`, `reply`");
        insta::assert_snapshot!(parse("fixture = 3"), @"m.toml:1:11: invalid type: integer `3`, expected a sequence");
    }

    #[test]
    fn a_manifest_needs_only_names() {
        let m = Manifest::parse("[[fixture]]\nid = \"a\"\nfile = \"x/a.wav\"\n", "m.toml").unwrap();
        let entry = m.entry("x/./a.wav").unwrap();
        assert_eq!((entry.kind, &entry.sha256), (Kind::Utterance, &None));
        assert_eq!(m.entry("a.wav"), None);
        assert_eq!(Manifest::parse("", "m.toml").unwrap(), Manifest::default());
    }

    #[test]
    fn hashes_as_sha256sum_does() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
