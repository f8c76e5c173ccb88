//! What devices speak, and how it travels.

use std::path::Path;

use super::{Check, looks_like_path};
use crate::audio::{AudioFormat, Codec, CodecSettings};
use crate::dialect::{Dialect, Encoding};
use crate::scenario::AudioPlan;
use crate::scenario::units::{format_bitrate, format_duration, parse_bitrate};

/// Opus speaks at no less, bit/s.
const LEAST_BITRATE: u32 = 6_000;

/// Opus runs at these rates and with these frames (RFC 6716).
const OPUS_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

const OPUS_FRAMES: [i64; 6] = [2_500, 5_000, 10_000, 20_000, 40_000, 60_000];

impl Check<'_> {
    pub(super) fn audio_rules(&mut self, dialect: &Dialect) {
        let opus = self.choice("audio.codec") == "opus";
        let (frame, chunk) = (self.time("audio.frame"), self.time("audio.chunk"));
        if opus && !self.any_broken(&["audio.frame", "audio.codec"]) && !OPUS_FRAMES.contains(&frame.0) {
            self.fail(
                &["audio.frame"],
                format!("Opus has no frame of {}", format_duration(frame)),
                "expected `2.5ms`, `5ms`, `10ms`, `20ms`, `40ms` or `60ms`",
            );
        } else if !self.any_broken(&["audio.frame", "audio.chunk"]) && chunk.0 % frame.0.max(1) != 0 {
            let message = format!(
                "a chunk of {} is not a whole number of frames of {}",
                format_duration(chunk),
                format_duration(frame)
            );
            let (below, above) = (chunk.0 / frame.0.max(1), chunk.0 / frame.0.max(1) + 1);
            let near: Vec<_> = [below, above]
                .into_iter()
                .filter(|n| *n > 0)
                .map(|n| format!("`{}`", format_duration(frame * n)))
                .collect();
            self.fail(
                &["audio.chunk", "audio.frame"],
                message,
                format!("the nearest are {}", near.join(" and ")),
            );
        }
        for path in ["audio.rate", "audio.reply_rate"] {
            let rate = u32::try_from(self.int(path)).unwrap_or(0);
            if self.any_broken(&[path, "audio.codec"]) {
                continue;
            }
            if opus && !OPUS_RATES.contains(&rate) {
                self.fail(
                    &[path],
                    format!("Opus does not run at {rate} Hz"),
                    "expected 8000, 12000, 16000, 24000 or 48000",
                );
            } else if frame.0 * i64::from(rate) % 1_000_000 != 0 && !self.any_broken(&["audio.frame"]) {
                self.fail(
                    &["audio.frame", path],
                    format!(
                        "a frame of {} is not a whole number of samples at {rate} Hz",
                        format_duration(frame)
                    ),
                    "choose a frame such as `20ms`, or another rate",
                );
            }
        }
        let can = dialect.capabilities();
        let settings = self.codec_settings();
        let ways = [
            ("audio.rate", settings.format, &can.formats),
            ("audio.reply_rate", self.down(), &can.down_formats),
        ];
        for (path, format, formats) in ways {
            if !formats.is_empty() && !formats.contains(&format) && !self.any_broken(&[path, "audio.codec"]) {
                let carried: Vec<_> =
                    formats.iter().map(|f| format!("`{}` at {} Hz", f.codec.name(), f.sample_rate)).collect();
                let codec_fits = formats.iter().any(|f| f.codec == format.codec);
                if !codec_fits && path == "audio.reply_rate" {
                    continue; // said already
                }
                let at = if codec_fits { path } else { "audio.codec" };
                self.fail(
                    &[at, "target.dialect"],
                    format!(
                        "the dialect `{}` does not carry `{}` at {} Hz",
                        can.name,
                        format.codec.name(),
                        format.sample_rate
                    ),
                    format!("it carries {}", carried.join(", ")),
                );
            }
        }
        if !can.base64 && self.choice("audio.encoding") == "base64" {
            self.fail(
                &["audio.encoding"],
                format!("the dialect `{}` has no base64 audio", can.name),
                "write `encoding = \"binary\"`",
            );
        }
        self.limits(dialect, &settings);
        self.wav_files("audio.fixtures");
        self.wav_files("turn.backchannel.sounds");
    }

    /// Names of shipped fixtures are looked up when they are loaded; files must exist now.
    pub(super) fn wav_files(&mut self, path: &str) {
        let parts = self.setting(path).map(|s| s.parts.clone()).unwrap_or_default();
        for (text, place) in self.list(path).into_iter().zip(parts) {
            // A folder stands for its utterances, a pattern for what it matches when the files are read.
            let pattern = text.value.contains(['*', '?']);
            if looks_like_path(&text.value) && !pattern && !Path::new(&text.value).exists() {
                let shown = if text.has_variables() { &text.written } else { &text.value };
                self.out.push(
                    Some(place),
                    format!("no file {shown}"),
                    "paths in a scenario file start from its folder; `voxload fixtures` lists the names of shipped utterances",
                );
            }
        }
    }

    pub(super) fn codec(&self) -> Codec {
        Codec::from_name(&self.choice("audio.codec")).unwrap_or(Codec::Opus)
    }

    pub(in crate::scenario) fn codec_settings(&self) -> CodecSettings {
        let codec = self.codec();
        let opus = codec == Codec::Opus;
        CodecSettings {
            format: AudioFormat { codec, sample_rate: self.u32("audio.rate") },
            // What the other codecs do not have is the same for all of them, so that they share what is encoded.
            bitrate: if opus { self.u32("audio.bitrate") } else { 0 },
            frame: self.time("audio.frame"),
            chunk: self.time("audio.chunk"),
            complexity: if opus { u8::try_from(self.int("audio.complexity")).unwrap_or(10) } else { 0 },
            dtx: opus && self.bool("audio.dtx"),
        }
    }

    pub(in crate::scenario) fn down(&self) -> AudioFormat {
        AudioFormat { codec: self.codec(), sample_rate: self.u32("audio.reply_rate") }
    }

    pub(super) fn audio(&mut self) -> AudioPlan {
        AudioPlan {
            fixtures: self.list("audio.fixtures").into_iter().map(|t| t.value).collect(),
            base: self.base.to_owned(),
            settings: self.codec_settings(),
            down: self.down(),
            adaptive: self.adaptive(),
            encoding: match self.choice("audio.encoding").as_str() {
                "base64" => Encoding::Base64,
                _ => Encoding::Binary,
            },
        }
    }

    /// Bit rates to step down to: each lower than the one before.
    pub(super) fn adaptive(&mut self) -> Vec<u32> {
        let parts = self.setting("audio.adaptive").map(|s| s.parts.clone()).unwrap_or_default();
        let (mut places, mut rates) = (parts.into_iter(), Vec::new());
        let items = self.list("audio.adaptive");
        if !items.is_empty() && self.codec() != Codec::Opus {
            self.fail(
                &["audio.adaptive", "audio.codec"],
                "`audio.adaptive` is for Opus: the other codecs have one bit rate".to_owned(),
                "`audio.codec = \"opus\"`, or no `audio.adaptive`",
            );
            return rates;
        }
        for item in items {
            let place = places.next();
            let above = rates.last().copied().unwrap_or_else(|| self.u32("audio.bitrate"));
            match parse_bitrate(&item.value) {
                Ok(rate) if (LEAST_BITRATE..above).contains(&rate) => rates.push(rate),
                Ok(rate) => self.out.push(
                    place,
                    format!(
                        "`audio.adaptive`: {} is not below {}, or too low for Opus",
                        format_bitrate(rate),
                        format_bitrate(above)
                    ),
                    "bit rates below `audio.bitrate`, each lower than the one before, at least 6k",
                ),
                Err(_) => self.out.push(
                    place,
                    format!("`audio.adaptive`: `{}` is not a bit rate", item.value),
                    "bits per second, such as `\"16k\"`",
                ),
            }
        }
        rates
    }
}
