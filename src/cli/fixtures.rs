//! `voxload fixtures`: what devices say, and whether the files are what they claim to be.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::audio::level::rms_dbfs;
use crate::audio::library::Shipped;
use crate::audio::manifest::{self, Entry, Manifest};
use crate::audio::wav::{self, Wav};
use crate::audio::{self, AudioFormat, Codec, CodecSettings, EncodeError, Library, Sound, speech};
use crate::exit::{Exit, Failure};
use crate::scenario::{EndOfTurn, Flush};
use crate::time::Micros;

/// List, check, describe and export speech fixtures.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// The shipped fixtures: names for `audio.fixtures`.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare a manifest with its files: hashes, lengths, and where speech is heard.
    Check {
        /// A folder with a manifest.toml; the shipped fixtures when left out.
        dir: Option<PathBuf>,
    },
    /// What a WAV file holds, where speech begins and ends in it, and what it costs to send.
    Describe {
        /// The WAV file.
        wav: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the shipped fixtures and their manifest to a folder.
    Export {
        /// The folder; made if it does not exist.
        dir: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let text = match &args.verb {
        Verb::List { json } => list(*json),
        Verb::Check { dir: None } => check_shipped(),
        Verb::Check { dir: Some(dir) } => check_folder(dir),
        Verb::Describe { wav, json } => {
            describe(wav, *json).map_err(|e| Failure::usage(format!("{}: {e}", wav.display())))
        }
        Verb::Export { dir } => export(dir),
    }?;
    super::print(&text)?;
    Ok(Exit::Good)
}

fn shipped() -> Result<Vec<Shipped>, Failure> {
    Library::shipped().map_err(Failure::usage)
}

fn list(json: bool) -> Result<String, Failure> {
    let mut rows = Vec::new();
    for s in shipped()? {
        rows.push((s.sound().map_err(Failure::usage)?, s.entry));
    }
    if json {
        let all: Vec<_> = rows
            .iter()
            .map(|(sound, entry)| {
                json!({
                    "id": entry.id, "kind": entry.kind, "transcript": entry.transcript, "licence": entry.licence,
                    "sha256": sound.sha256, "sample_rate": sound.sample_rate, "samples": sound.samples.len(),
                    "speech_start": sound.speech_start, "speech_end": sound.speech_end,
                })
            })
            .collect();
        return Ok(format!("{:#}\n", serde_json::Value::Array(all)));
    }
    let mut text =
        format!("{:<22} {:<12} {:>8} {:>8} {:>8}  {}\n", "id", "kind", "length", "from", "to", "says");
    for (sound, entry) in &rows {
        let at = |sample| Micros::of_samples(sample, sound.sample_rate);
        let _ = writeln!(
            text,
            "{:<22} {:<12} {:>8} {:>8} {:>8}  {}",
            entry.id,
            entry.kind.name(),
            at(sound.samples.len() as u64),
            at(sound.speech_start),
            at(sound.speech_end),
            entry.transcript.as_deref().unwrap_or_default(),
        );
    }
    Ok(text)
}

fn check_shipped() -> Result<String, Failure> {
    let shipped = shipped()?;
    let found = shipped.iter().map(|s| (&s.entry, Ok(s.bytes)));
    verdict(found, "the shipped fixtures", Vec::new())
}

fn check_folder(dir: &Path) -> Result<String, Failure> {
    let manifest = Manifest::of_folder(dir).map_err(Failure::usage)?.ok_or_else(|| {
        Failure::usage(format!(
            "{}: has no {}; `voxload fixtures describe FILE` shows what belongs into one",
            dir.display(),
            manifest::FILE
        ))
    })?;
    let mut problems = Vec::new();
    for (i, entry) in manifest.fixtures.iter().enumerate() {
        if manifest.fixtures.iter().take(i).any(|other| other.id == entry.id) {
            problems.push(format!("{}: the id `{}` is there twice", manifest::FILE, entry.id));
        }
    }
    let files: Vec<_> =
        manifest.fixtures.iter().map(|entry| (entry, manifest::read_file(&dir.join(&entry.file)))).collect();
    let found = files.iter().map(|(e, bytes)| (*e, bytes.as_deref().map_err(Clone::clone)));
    verdict(found, &dir.display().to_string(), problems)
}

/// Checks every file; all problems at once.
fn verdict<'a>(
    files: impl Iterator<Item = (&'a Entry, Result<&'a [u8], String>)>,
    what: &str,
    mut problems: Vec<String>,
) -> Result<String, Failure> {
    let (mut count, mut placed) = (0, 0);
    for (entry, bytes) in files {
        count += 1;
        placed += usize::from(entry.speech_end.is_some());
        if let Err(why) = bytes.and_then(|bytes| entry.check(bytes)) {
            problems.push(format!("{}: {why}", entry.file));
        }
    }
    if problems.is_empty() {
        let heard = match placed {
            0 => "it does not say where speech is".to_owned(),
            n => format!("speech is heard where it should be, to {}, in {n} of them", manifest::TOLERANCE),
        };
        return Ok(format!("{what}: {count} files are as their manifest says; {heard}\n"));
    }
    Err(Failure::usage(format!(
        "{what}: {} of {count} files are not as their manifest says\n  {}",
        problems.len(),
        problems.join("\n  ")
    )))
}

/// Codecs and chunks whose cost is shown.
const COSTS: [(Codec, u32, u32); 4] = [
    (Codec::Opus, 16_000, 24_000),
    (Codec::Opus, 16_000, 16_000),
    (Codec::Pcm16, 16_000, 0),
    (Codec::Mulaw, 8_000, 0),
];
const CHUNKS: [Micros; 2] = [Micros::from_millis(20), Micros::from_millis(60)];

/// Largest TCP segment on an Ethernet path.
const MSS: usize = 1_460;

/// What it takes to send a sound.
struct Cost {
    name: String,
    chunk: Micros,
    /// Codec payload, bytes per second of sound.
    payload: f64,
    /// On the wire with WebSocket, TLS 1.3, TCP and IPv4, kbit/s.
    wire: f64,
}

fn costs(sound: &Sound) -> Result<Vec<Cost>, EncodeError> {
    let mut costs = Vec::new();
    for (codec, sample_rate, bitrate) in COSTS {
        for chunk in CHUNKS {
            let settings = CodecSettings {
                format: AudioFormat { codec, sample_rate },
                bitrate,
                frame: chunk,
                chunk,
                complexity: 5,
                dtx: false,
            };
            let clip = audio::encode(sound, &settings, EndOfTurn::Signal, Flush::Chunk)?;
            let seconds = clip.speech.iter().map(|c| c.media.as_secs_f64()).sum::<f64>();
            let sizes = || clip.speech.iter().map(|c| c.payload.len());
            let wire = sizes().map(on_the_wire);
            costs.push(Cost {
                name: if bitrate == 0 {
                    format!("{} {} kHz", codec.name(), sample_rate / 1_000)
                } else {
                    format!("{} {} kbit/s", codec.name(), bitrate / 1_000)
                },
                chunk,
                payload: sizes().sum::<usize>() as f64 / seconds,
                wire: wire.sum::<usize>() as f64 * 8.0 / 1_000.0 / seconds,
            });
        }
    }
    Ok(costs)
}

/// Bytes of a message with its WebSocket, TLS 1.3, TCP and IPv4 headers.
fn on_the_wire(payload: usize) -> usize {
    let record = payload + if payload <= 125 { 6 } else { 8 } + 22;
    record + record.div_ceil(MSS) * (20 + 20)
}

fn describe(path: &Path, json: bool) -> Result<String, String> {
    let bytes = manifest::read_file(path)?;
    let Wav { sample_rate, channels, bits, float, samples } =
        wav::parse(&bytes[..]).map_err(|e| e.to_string())?;
    let at = |sample| Micros::of_samples(sample, sample_rate);
    let length = samples.len() as u64;
    let peak = 20.0 * f64::from(samples.iter().fold(0.0_f32, |p, s| p.max(s.abs()))).log10();
    let found = speech::detect(&samples, sample_rate);
    let sha256 = manifest::sha256(&bytes);
    // Without speech there is no end of speech to send it to.
    let costs = match Entry::unknown(path).sound(&bytes) {
        Ok(sound) => costs(&sound).map_err(|e| e.to_string())?,
        Err(_) => Vec::new(),
    };
    let level = found.and_then(|f| samples.get(f.start as usize..f.end as usize)).map(rms_dbfs);
    if json {
        let costs: Vec<_> = costs
            .iter()
            .map(|c| {
                json!({
                    "codec": c.name, "chunk_us": c.chunk, "payload_bytes_per_s": c.payload.round(),
                    "wire_kbps": (c.wire * 10.0).round() / 10.0,
                })
            })
            .collect();
        let value = json!({
            "file": path.display().to_string(), "sha256": sha256,
            "sample_rate": sample_rate, "channels": channels, "bits": bits, "float": float,
            "samples": length, "length_us": at(length),
            "peak_dbfs": finite(peak), "speech_dbfs": level.and_then(finite),
            "noise_floor_dbfs": found.map(|f| f.floor), "audible_limit_dbfs": found.map(|f| f.limit),
            "speech_start": found.map(|f| f.start), "speech_end": found.map(|f| f.end),
            "speech_start_us": found.map(|f| at(f.start)), "speech_end_us": found.map(|f| at(f.end)),
            "costs": costs,
        });
        return Ok(format!("{value:#}\n"));
    }
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<15} {value}");
    };
    line("file", path.display().to_string());
    line("sha256", sha256);
    let channels = match channels {
        1 => "mono".to_owned(),
        n => format!("{n} channels, mixed to one"),
    };
    line("format", format!("{sample_rate} Hz, {bits} bit{}, {channels}", if float { " float" } else { "" }));
    line("length", format!("{} ({length} samples)", at(length)));
    line("peak", format!("{peak:.1} dBFS"));
    match (found, level) {
        (Some(found), Some(level)) => {
            line("speech level", format!("{level:.1} dBFS"));
            line(
                "noise floor",
                format!("{:.0} dBFS; audible is what is above {:.1} dBFS", found.floor, found.limit),
            );
            line("speech from", format!("{} (sample {})", at(found.start), found.start));
            line("end of speech", format!("detected at {} (sample {})", at(found.end), found.end));
            line("silence before", at(found.start).to_string());
            line("silence after", (at(length) - at(found.end)).to_string());
        }
        _ => line("speech", "none: nothing in it is audible for 30 ms; devices cannot say it".to_owned()),
    }
    if !costs.is_empty() {
        let _ = writeln!(
            text,
            "\n{:<15} {:>7} {:>12} {:>14}   (wss over IPv4, to the end of speech)",
            "to send", "chunk", "payload B/s", "wire kbit/s"
        );
        for c in &costs {
            let _ = writeln!(text, "{:<15} {:>7} {:>12.0} {:>14.1}", c.name, c.chunk, c.payload, c.wire);
        }
    }
    Ok(text)
}

/// JSON has no infinity.
fn finite(level: f64) -> Option<f64> {
    level.is_finite().then_some(level)
}

fn export(dir: &Path) -> Result<String, Failure> {
    let write = |file: &str, bytes: &[u8]| {
        let path = dir.join(file);
        let written = match path.parent() {
            Some(folder) => std::fs::create_dir_all(folder),
            None => Ok(()),
        };
        written
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|e| Failure::usage(format!("{}: cannot be written: {e}", path.display())))
    };
    let shipped = shipped()?;
    for s in &shipped {
        write(&s.entry.file, s.bytes)?;
    }
    write(manifest::FILE, Library::manifest().as_bytes())?;
    Ok(format!("{} files and {} written to {}\n", shipped.len(), manifest::FILE, dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_fixtures_pass_the_check_and_changed_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        export(dir.path()).unwrap();
        assert!(check_folder(dir.path()).unwrap().contains(": 19 files are as"));
        assert!(check_shipped().unwrap().contains(": 19 files are as"));

        let hello = dir.path().join("utterances/hello.wav");
        let mut bytes = std::fs::read(&hello).unwrap();
        bytes[5_000] ^= 1;
        std::fs::write(&hello, bytes).unwrap();
        std::fs::remove_file(dir.path().join("utterances/yes.wav")).unwrap();
        let manifest = dir.path().join(manifest::FILE);
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, text.replace("id = \"sky\"", "id = \"dragon\"")).unwrap();
        let failure = check_folder(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for part in [
            "3 of 19 files",
            "the id `dragon` is there twice",
            "utterances/hello.wav: is not the file",
            "utterances/yes.wav: cannot be read",
        ] {
            assert!(failure.message.contains(part), "{part}: {failure}");
        }
        assert!(
            check_folder(&dir.path().join("replies")).unwrap_err().message.contains("has no manifest.toml")
        );
    }

    #[test]
    fn a_file_is_described() {
        let dir = tempfile::tempdir().unwrap();
        export(dir.path()).unwrap();
        let path = dir.path().join("utterances/yes.wav");
        let text = describe(&path, false).unwrap();
        let shown = text.replace(&path.display().to_string(), "yes.wav");
        insta::assert_snapshot!(shown, @r#"
        file            yes.wav
        sha256          85bfaebbd9943e476261d57ce548953b055d5f4383c1b47b2001b8e9cf210c23
        format          16000 Hz, 16 bit, mono
        length          849 ms (13581 samples)
        peak            -2.9 dBFS
        speech level    -16.4 dBFS
        noise floor     -65 dBFS; audible is what is above -40.0 dBFS
        speech from     200 ms (sample 3204)
        end of speech   detected at 547 ms (sample 8759)
        silence before  200 ms
        silence after   301 ms

        to send           chunk  payload B/s    wire kbit/s   (wss over IPv4, to the end of speech)
        opus 24 kbit/s  20.0 ms         2889           50.3
        opus 24 kbit/s  60.0 ms         2793           31.7
        opus 16 kbit/s  20.0 ms         1907           42.5
        opus 16 kbit/s  60.0 ms         1925           24.5
        pcm16 16 kHz    20.0 ms        32000          284.0
        pcm16 16 kHz    60.0 ms        32000          270.7
        mulaw 8 kHz     20.0 ms         8000           92.0
        mulaw 8 kHz     60.0 ms         8000           73.3
        "#);

        let value: serde_json::Value = serde_json::from_str(&describe(&path, true).unwrap()).unwrap();
        assert_eq!(value["sample_rate"], 16_000);
        assert_eq!(value["costs"].as_array().unwrap().len(), 8);
        assert_eq!(value["costs"][4]["payload_bytes_per_s"], 32_000.0, "PCM16 at 16 kHz");
        assert_eq!(value["costs"][4]["wire_kbps"], 284.0, "as in the table of the documentation");
    }

    #[test]
    fn silence_is_described_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silence.wav");
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        (0..1_600).for_each(|_| writer.write_sample(0_i16).unwrap());
        writer.finalize().unwrap();
        let text = describe(&path, false).unwrap();
        assert!(text.contains("2 channels, mixed to one") && text.contains("none: nothing in it is audible"));
        let value: serde_json::Value = serde_json::from_str(&describe(&path, true).unwrap()).unwrap();
        assert!(value["speech_end"].is_null() && value["peak_dbfs"].is_null());
    }

    #[test]
    fn the_list_names_every_fixture() {
        let text = list(false).unwrap();
        assert_eq!(text.lines().count(), 20);
        assert!(text.contains("why-sky                utterance") && text.contains("Why is the sky blue?"));
        let value: serde_json::Value = serde_json::from_str(&list(true).unwrap()).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 19);
        assert_eq!(value[0]["kind"], "utterance");
    }
}
