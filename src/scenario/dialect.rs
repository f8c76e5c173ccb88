//! Which dialect a scenario speaks: read from a description where it names one, whose usual values become defaults.

use std::path::Path;

use super::Secret;
use super::check::Check;
use super::units::format_duration;
use super::value::Value;
use crate::audio::{Codec, CodecSettings};
use crate::dialect::describe::{Choice, Described};
use crate::dialect::{Dialect, Encoding};
use crate::time::Micros;

impl Check<'_> {
    /// Reads the description that the scenario names, before defaults are known, and takes over what it says.
    /// `None` where the dialect is native, or its description is wrong.
    pub(super) fn suggestions(&mut self) -> Option<Described> {
        let name = match self.setting("target.dialect")?.value.clone()? {
            Value::Text(text) => text.value,
            _ => return None,
        };
        let choice = Choice { variant: self.variant(), ..Choice::default() };
        let described = self.described(&name, choice)?;
        let can = described.capabilities();
        let asked = match self.setting("audio.codec").and_then(|s| s.value.clone()) {
            Some(Value::Choice(codec)) => Codec::from_name(codec),
            _ => None,
        };
        let fits = |f: &&crate::audio::AudioFormat| asked.is_none_or(|codec| f.codec == codec);
        let mut suggested = Vec::new();
        if let Some(up) = can.formats.iter().find(fits) {
            suggested.push(("audio.codec", Value::Choice(up.codec.name())));
            suggested.push(("audio.rate", Value::Int(up.sample_rate.into())));
            let same = can.down_formats.iter().find(|f| f.codec == up.codec);
            suggested.extend(same.map(|f| ("audio.reply_rate", Value::Int(f.sample_rate.into()))));
        }
        suggested.extend(can.chunk.map(|d| ("audio.chunk", Value::Duration(d))));
        suggested.extend(can.frame.map(|d| ("audio.frame", Value::Duration(d))));
        if !can.binary {
            suggested.push(("audio.encoding", Value::Choice("base64")));
        }
        if can.vad_first || (can.vad && !can.signal) {
            suggested.push(("turn.end", Value::Choice("vad")));
        }
        for (path, value) in suggested {
            self.settings.suggest(path, value);
        }
        Some(described)
    }

    fn variant(&self) -> Option<String> {
        self.optional_text("target.variant").map(|t| t.value)
    }

    /// The description of that name. What is wrong with it is said.
    fn described(&mut self, name: &str, choice: Choice) -> Option<Described> {
        if Dialect::native(name).is_some() {
            return None;
        }
        let read;
        let (origin, text) = match Described::built_in(name) {
            Some(text) => (name, text),
            None if !name.ends_with(".toml") => return None,
            None => match std::fs::read_to_string(Path::new(name)) {
                Ok(text) => {
                    read = text;
                    (name, read.as_str())
                }
                Err(e) => {
                    self.fail(
                        &["target.dialect"],
                        format!("the dialect {name} cannot be read: {e}"),
                        "paths in a scenario file start from its folder, those on the command line from the current one",
                    );
                    return None;
                }
            },
        };
        match Described::load(origin, text, choice) {
            Ok(described) => Some(described),
            Err(wrong) => {
                self.out.absorb(wrong);
                None
            }
        }
    }

    /// The dialect, with what the scenario chooses of it.
    pub(super) fn dialect(&mut self, first: Option<Described>) -> Dialect {
        let name = self.optional_text("target.dialect").map(|t| t.value).unwrap_or_default();
        let Some(first) = first else {
            for path in ["target.variant", "target.token"] {
                if self.optional_text(path).is_some() && Dialect::native(&name).is_some() {
                    let help = match path {
                        "target.token" => "write `target.headers = { Authorization = \"Bearer …\" }`",
                        _ => "leave it out",
                    };
                    self.fail(&[path], format!("`{path}` has no effect with the dialect `{name}`"), help);
                }
            }
            return Dialect::native(&name).unwrap_or(Dialect::Envelope);
        };
        let values = match self.setting("target.values").and_then(|s| s.value.clone()) {
            Some(Value::Table(values)) => {
                values.into_iter().map(|(n, t)| (n, Secret::new(t.value))).collect()
            }
            _ => Vec::new(),
        };
        let choice = Choice {
            variant: self.variant(),
            vad: self.choice("turn.end") == "vad",
            encoding: Some(match self.choice("audio.encoding").as_str() {
                "base64" => Encoding::Base64,
                _ => Encoding::Binary,
            }),
            values,
            formats: Some((self.codec_settings().format, self.down())),
        };
        match first.choose(choice) {
            Ok(described) => described.into(),
            Err(wrong) => {
                self.out.absorb(wrong);
                first.into()
            }
        }
    }

    /// What a description allows no scenario to exceed.
    pub(super) fn limits(&mut self, dialect: &Dialect, settings: &CodecSettings) {
        let can = dialect.capabilities();
        let name = &can.name;
        if !can.binary && self.choice("audio.encoding") == "binary" {
            self.fail(
                &["audio.encoding"],
                format!("the dialect `{name}` has no audio in binary frames"),
                "write `encoding = \"base64\"`",
            );
        }
        if let Some((least, most)) = can.chunks
            && !(least..=most).contains(&settings.chunk)
        {
            let (least, most) = (format_duration(least), format_duration(most));
            self.fail(
                &["audio.chunk", "target.dialect"],
                format!("the dialect `{name}` has no audio messages of {}", format_duration(settings.chunk)),
                format!("from {least} to {most}"),
            );
        }
        if let Some(limit) = can.session_limit
            && self.choice("fleet.arrivals") == "closed"
            && self.duration() > limit
        {
            self.fail(
                &["fleet.duration", "target.dialect"],
                format!("sessions of the dialect `{name}` last at most {}", format_duration(limit)),
                "make the run shorter, or let sessions come and go: `fleet.arrivals = \"open\"` with `turn.count`",
            );
        }
        if let Some(limit) = can.max_message {
            let samples = settings.chunk.0.saturating_mul(settings.format.sample_rate.into()) / 1_000_000;
            let bytes = match settings.format.codec {
                Codec::Pcm16 => samples * 2,
                Codec::Mulaw | Codec::Alaw => samples,
                Codec::Opus => settings.chunk.0.saturating_mul(settings.bitrate.into()) / 8_000_000,
            };
            let bytes = if self.choice("audio.encoding") == "base64" { bytes / 3 * 4 } else { bytes };
            if bytes > i64::from(limit) {
                self.fail(
                    &["audio.chunk", "target.dialect"],
                    format!("audio messages of {bytes} bytes, and the dialect `{name}` allows {limit}"),
                    "a shorter `audio.chunk`",
                );
            }
        }
        if let Some(tail) = can.tail_max
            && tail <= Micros::ZERO
        {
            self.fail(
                &["target.dialect"],
                format!("the dialect `{name}` streams no silence: no server could find the end of speech"),
                "`turn.tail_max` is longer, or `turn.ends = [\"signal\"]`",
            );
        }
    }
}
