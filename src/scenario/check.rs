//! From settings to a [`Scenario`]: the checks that need more than one key, and the files that a scenario names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::axes::{self, Axis, SweepOrder, SweepPlan};
use super::diagnostic::{Diagnostics, Place};
use super::dist::Dist;
use super::file::{Environment, Layer, Setting, Settings};
use super::keys;
use super::template::{Text, placeholders, shown_url};
use super::units::{TextError, format_bitrate, format_duration, nearest, parse_bitrate};
use super::value::Value;
use super::{
    Abort, Arrivals, AudioPlan, BackchannelPlan, BargeInPlan, DeviceValues, EndOfTurn, Fault, Fleet, Flush,
    Freeze, GatePlan, Part, Phase, Pipeline, PlaybackPlan, Reconnect, ReferencePlan, ReportPlan, ResumeReply,
    Scenario, Secret, ServerEvent, SessionPlan, Stage, Target, TurnPlan, Undecided, ValidityLimits,
};
use crate::audio::{AudioFormat, Codec, CodecSettings};
use crate::dialect::{Dialect, Encoding, TextGranularity};
use crate::gate::{Subject, Threshold, no_group};
use crate::measure::Metric;
use crate::network::NetworkPlan;
use crate::time::Micros;
use crate::transport::source::{self, Sources};

/// Opus speaks at no less, bit/s.
const LEAST_BITRATE: u32 = 6_000;

/// Opus runs at these rates and with these frames (RFC 6716).
const OPUS_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
const OPUS_FRAMES: [i64; 6] = [2_500, 5_000, 10_000, 20_000, 40_000, 60_000];

/// Looks at all settings together.
pub(super) struct Check<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) out: &'a mut Diagnostics,
    pub(super) environment: &'a Environment,
    /// The folder that relative paths of the file start from.
    pub(super) base: &'a Path,
}

impl Check<'_> {
    /// Everything, in the order of the table. What it returns is good when there are no diagnostics.
    pub(super) fn scenario(mut self, origin: &str, name: &str) -> Scenario {
        self.stages();
        self.shortened_run();
        self.settings.resolve("target.dialect", self.base, |t| t.ends_with(".toml"));
        let first = self.suggestions();
        self.settings.fill_defaults();
        self.resolve_paths();
        let name = match self.setting("name") {
            Some(s) if s.layer > Layer::Default => self.text("name"),
            _ => name.to_owned(),
        };
        self.name(&name);
        let dialect = self.dialect(first);
        let target = self.target(&dialect);
        self.fleet_rules();
        self.audio_rules(&dialect);
        self.turn_rules(&dialect);
        self.freeze_rules();
        self.session_rules(&dialect);
        self.trouble_rules();
        let network = self.network();
        let (thresholds, aborts) = self.thresholds(&dialect, &network);
        self.gate_rules();
        let seed = self.int("seed").unsigned_abs();
        Scenario {
            part: Part::WHOLE,
            seed,
            origin: origin.to_owned(),
            effective: String::new(),
            target,
            fleet: self.fleet(),
            audio: self.audio(),
            turn: self.turn(),
            session: self.session(),
            faults: match self.value("faults") {
                Some(Value::FaultList(faults)) => faults.as_slice().into(),
                _ => [].into(),
            },
            playback: PlaybackPlan {
                prebuffer: self.time("playback.prebuffer"),
                max_stall_ratio: self.share("playback.max_stall_ratio"),
            },
            network,
            reference: self.reference(seed, dialect.clone()),
            thresholds,
            gate: GatePlan {
                undecided: match self.choice("gate.undecided").as_str() {
                    "pass" => Undecided::Pass,
                    "extend" => Undecided::Extend,
                    _ => Undecided::Fail,
                },
                extend_limit: self.time("gate.extend_limit"),
                aborts,
            },
            validity: ValidityLimits {
                send_lateness_p99: self.time("validity.send_lateness_p99"),
                send_lateness_max: self.time("validity.send_lateness_max"),
                cpu: self.share("validity.cpu"),
                steal: self.share("validity.steal"),
                probe: self.u32("validity.probe"),
                probe_margin: self.time("validity.probe_margin"),
                pressure: self.share("validity.pressure"),
            },
            report: ReportPlan {
                dir: self.path("report.dir"),
                html: self.bool("report.html"),
                png: self.bool("report.png"),
                histograms: self.bool("report.histograms"),
                junit: self.bool("report.junit"),
                interval: self.time("report.interval"),
                prometheus: self.prometheus(),
            },
            sweep: self.sweep(),
            name,
        }
    }

    // ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────

    fn name(&mut self, name: &str) {
        if name.is_empty()
            || name.starts_with('.')
            || name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | ':'))
        {
            self.fail(
                &["name"],
                format!("`{name}` cannot name a folder"),
                "the name titles the report folder: not empty, no `/`, `\\` or `:`, no `.` at its start",
            );
        }
    }

    /// Stages and the simple plan exclude each other; across layers, stages from above win.
    fn stages(&mut self) {
        let Some(stages) = self.setting("fleet.stages") else {
            return;
        };
        let Some(Value::Stages(list)) = &stages.value else {
            return;
        };
        if list.is_empty() {
            return;
        }
        let (layer, most) = (stages.layer, list.iter().map(|s| s.devices).max().unwrap_or(0));
        let total: i64 = list.iter().map(|s| s.duration.0).fold(0, i64::saturating_add);
        for path in ["fleet.devices", "fleet.duration", "fleet.ramp"] {
            let Some(setting) = self.setting(path) else {
                continue;
            };
            if setting.layer >= layer {
                self.fail(
                    &[path],
                    format!("`{path}` and `fleet.stages` both say how many devices there are, when"),
                    "give either `fleet.stages` (`--stage`), or `fleet.devices`, `fleet.duration` and `fleet.ramp`",
                );
            } else {
                self.settings.clear(path);
            }
        }
        if most == 0 || total <= 0 {
            self.fail(
                &["fleet.stages"],
                "the stages have no device at any time",
                "for example `[\"10s:100\", \"30s:100\"]`",
            );
        }
    }

    /// `-d 5s` on a scenario that ramps for longer: the ramp and the warm-up of the file shrink with the run.
    fn shortened_run(&mut self) {
        let stages = self.setting("fleet.stages").filter(|_| !self.stage_list().is_empty());
        let Some(layer) = stages.or_else(|| self.setting("fleet.duration")).map(|s| s.layer) else {
            return;
        };
        let duration = self.duration();
        for path in ["fleet.ramp", "fleet.warmup"] {
            let lower = self.setting(path).is_some_and(|s| s.layer < layer && !s.broken);
            if lower && self.time(path) > duration / 2 {
                self.settings.shorten(path, duration / 4, layer);
            }
        }
    }

    fn target(&mut self, dialect: &Dialect) -> Target {
        let url = self.optional_text("target.url");
        let headers = match self.value("target.headers") {
            Some(Value::Table(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        let tls = match &url {
            Some(url) => self.url(url),
            None => self.bool("target.secure"),
        };
        if url.is_some() && self.bool("target.secure") {
            self.fail(
                &["target.secure"],
                "`target.secure` is for the embedded server",
                "your own server decides by its URL: write `wss://`",
            );
        }
        if !tls {
            let without = if url.is_some() { "`ws://`" } else { "the embedded server" };
            for path in ["target.insecure", "target.ca", "target.client_cert"] {
                let given = match self.value(path) {
                    Some(Value::Bool(on)) => *on,
                    other => other.is_some(),
                };
                if given && !self.any_broken(&["target.url"]) {
                    self.fail(
                        &[path],
                        format!("`{path}` with {without}, which has no certificates"),
                        "write `wss://`, or leave it out",
                    );
                }
            }
        }
        let cert = self.path("target.client_cert");
        let key = self.path("target.client_key");
        for (one, other, given, missing) in [
            ("target.client_cert", "target.client_key", &cert, &key),
            ("target.client_key", "target.client_cert", &key, &cert),
        ] {
            if given.is_some() && missing.is_none() && !self.any_broken(&[other]) {
                self.fail(
                    &[one],
                    format!("`{one}` without `{other}`"),
                    "a client certificate and its key come together",
                );
            }
        }
        for path in ["target.ca", "target.client_cert", "target.client_key"] {
            self.file_exists(path);
        }
        let sources = self.sources(url.as_ref());
        let values = self.device_values();
        let complete = values.is_some();
        let values = values.unwrap_or_default();
        let columns: Vec<&str> = values.columns.iter().map(String::as_str).chain(["device"]).collect();
        let url_place = self.setting("target.url").and_then(|s| s.place.clone());
        if let Some(url) = url.as_ref().filter(|_| complete) {
            self.placeholders(url, url_place, &columns);
        }
        let parts = self.setting("target.headers").map(|s| s.parts.clone()).unwrap_or_default();
        for ((_, text), place) in headers.iter().zip(parts).filter(|_| complete) {
            self.placeholders(text, Some(place), &columns);
        }
        Target {
            shown: match &url {
                Some(url) => shown_url(url, &|name| self.environment.get(name)),
                None => format!("embedded reference server, preset {}", self.choice("reference.preset")),
            },
            url: url.map(|t| Secret::new(t.value)),
            dialect: dialect.clone(),
            token: self.optional_text("target.token").map(|t| Secret::new(t.value)),
            headers: headers.into_iter().map(|(name, t)| (name, Secret::new(t.value))).collect(),
            insecure: self.bool("target.insecure"),
            ca: self.path("target.ca"),
            client_cert: cert.zip(key),
            secure: self.bool("target.secure"),
            sources,
            values: Arc::new(values),
        }
    }

    /// Checks a URL; true when it is wss.
    fn url(&mut self, url: &Text) -> bool {
        let mut plain = url.value.clone();
        for (_, span) in placeholders(&url.value).into_iter().rev() {
            plain.replace_range(span, "0");
        }
        let scheme = plain.split_once("://").map(|(scheme, _)| scheme);
        let help = match scheme {
            Some("http") => "write `ws://` instead of `http://`: it is the same server and port",
            Some("https") => "write `wss://` instead of `https://`: it is the same server and port",
            Some("ws" | "wss") => "",
            _ => "expected `ws://host:port/path` or `wss://host/path`",
        };
        if !help.is_empty() {
            self.fail(&["target.url"], "the URL is not one of a WebSocket", help);
        } else if plain
            .parse::<tokio_tungstenite::tungstenite::http::Uri>()
            .ok()
            .and_then(|uri| uri.host().map(|h| !h.is_empty()))
            != Some(true)
        {
            self.fail(
                &["target.url"],
                "the URL cannot be read",
                "expected `ws://host:port/path` or `wss://host/path`, without spaces",
            );
        } else if has_user_info(&plain) {
            self.fail(
                &["target.url"],
                "the user info before the `@` of the URL would not be sent",
                "put it into `target.headers`: `Authorization = \"Basic …\"`, with the base64 of `user:password`",
            );
        }
        scheme == Some("wss")
    }

    /// An address of this machine, with a port.
    fn prometheus(&mut self) -> Option<SocketAddr> {
        let written = self.optional_text("report.prometheus")?.value;
        let address = written.parse().ok();
        if address.is_none() {
            self.fail(
                &["report.prometheus"],
                format!("`{written}` is not an address and a port"),
                "such as \"127.0.0.1:9464\", or \"0.0.0.0:9464\" for all addresses of this machine",
            );
        }
        address
    }

    /// Where devices connect from. An address in the URL must be of the same family.
    fn sources(&mut self, url: Option<&Text>) -> Sources {
        let mut sources = Sources::default();
        let parts = self.setting("target.source_ips").map(|s| s.parts.clone()).unwrap_or_default();
        let mut places = parts.into_iter();
        for item in self.list("target.source_ips") {
            let place = places.next();
            if let Err(e) = sources.add(&item.value) {
                self.out.push(place, format!("`target.source_ips`: {e}"), source::EXPECTED);
            }
        }
        let host = url.map_or("127.0.0.1", |url| url_host(&url.value));
        if let Ok(target) = host.parse()
            && let Some(ip) = sources.mismatch(target)
        {
            self.fail(
                &["target.source_ips"],
                format!("`target.source_ips`: {ip} cannot connect to {target}"),
                "addresses of the same family as the target's: IPv4 to IPv4, IPv6 to IPv6",
            );
        }
        sources
    }

    fn placeholders(&mut self, text: &Text, place: Option<Place>, columns: &[&str]) {
        for (name, _) in placeholders(&text.written) {
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
            if !is_name || columns.contains(&name) {
                continue;
            }
            let help = match (nearest(name, columns.iter().copied()), columns.len()) {
                (Some(near), _) => format!("did you mean `{{{near}}}`?"),
                (None, 1) => {
                    "`target.data` names a CSV file with such a column; `{device}` always exists".to_owned()
                }
                (None, _) => format!("`target.data` has the columns {}", columns.join(", ")),
            };
            self.out.push(
                place.clone(),
                format!("no column `{name}` for the placeholder `{{{name}}}`"),
                help,
            );
        }
    }

    /// The values per device; `None` after saying what is wrong with their file.
    fn device_values(&mut self) -> Option<DeviceValues> {
        let Some(path) = self.path("target.data") else {
            return (!self.any_broken(&["target.data"])).then(DeviceValues::default);
        };
        match read_device_values(&path) {
            Ok(values) => Some(values),
            Err((message, help)) => {
                self.fail(&["target.data"], format!("{}: {message}", path.display()), help);
                None
            }
        }
    }

    fn file_exists(&mut self, path: &str) {
        if let Some(file) = self.path(path)
            && let Err(e) = std::fs::File::open(&file)
        {
            self.fail(
                &[path],
                format!("{} cannot be read: {e}", file.display()),
                "paths in a scenario file start from its folder, those on the command line from the current one",
            );
        }
    }

    fn fleet_rules(&mut self) {
        let open = self.choice("fleet.arrivals") == "open";
        let has_stages = !self.stage_list().is_empty();
        let duration = self.duration();
        if open && has_stages {
            self.fail(
                &["fleet.stages", "fleet.arrivals"],
                "`fleet.stages` with open arrivals",
                "open arrivals come at `fleet.rate`; stages are for `fleet.arrivals = \"closed\"`",
            );
        }
        if open && self.value("fleet.rate").is_none() && !self.any_broken(&["fleet.rate"]) {
            self.fail(
                &["fleet.arrivals"],
                "open arrivals without `fleet.rate`",
                "for example `rate = 5.0`, in sessions per second",
            );
        }
        if open && self.int("turn.count") == 0 && !self.any_broken(&["turn.count"]) {
            self.fail(
                &["turn.count", "fleet.arrivals"],
                "open arrivals without `turn.count`",
                "sessions leave after so many turns: for example `turn.count = 3`",
            );
        }
        let arrivals = self.setting("fleet.arrivals").map(|s| s.layer);
        let of_other_kind: &[&str] = if open { &["fleet.ramp"] } else { &["fleet.rate", "fleet.spacing"] };
        for path in of_other_kind {
            let given = self.setting(path).filter(|s| s.layer > Layer::Default).map(|s| s.layer);
            if given.is_some() && given >= arrivals && !self.any_broken(&["fleet.arrivals"]) {
                let help = if open {
                    "open arrivals come at `fleet.rate` from the start"
                } else {
                    "it is for `fleet.arrivals = \"open\"`"
                };
                let kind = if open { "open" } else { "closed" };
                self.fail(&[path], format!("`{path}` has no effect with {kind} arrivals"), help);
            }
        }
        if !self.any_broken(&["fleet.warmup", "fleet.duration", "fleet.stages"])
            && self.time("fleet.warmup") >= duration
        {
            let message = format!(
                "a warm-up of {} leaves nothing of a run of {}",
                format_duration(self.time("fleet.warmup")),
                format_duration(duration)
            );
            self.fail(
                &["fleet.warmup", "fleet.duration"],
                message,
                "make the run longer (`-d`) or the warm-up shorter (`--warmup`)",
            );
        }
        if !self.any_broken(&["fleet.ramp", "fleet.duration"])
            && !has_stages
            && !open
            && self.time("fleet.ramp") > duration
        {
            let message = format!(
                "a ramp of {} does not end within a run of {}",
                format_duration(self.time("fleet.ramp")),
                format_duration(duration)
            );
            self.fail(
                &["fleet.ramp", "fleet.duration"],
                message,
                "make the run longer (`-d`) or the ramp shorter (`--set fleet.ramp=…`)",
            );
        }
    }

    fn audio_rules(&mut self, dialect: &Dialect) {
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
    fn wav_files(&mut self, path: &str) {
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

    fn turn_rules(&mut self, dialect: &Dialect) {
        let can = dialect.capabilities();
        let vad = self.choice("turn.end") == "vad";
        let (barge_in, backchannel) =
            (self.share("turn.barge_in.share"), self.share("turn.backchannel.share"));
        if vad && !can.vad {
            self.fail(
                &["turn.end"],
                format!("with the dialect `{}` the server cannot find the end of speech", can.name),
                "write `end = \"signal\"`",
            );
        }
        if !vad && !can.signal && can.vad {
            self.fail(
                &["turn.end"],
                format!("with the dialect `{}` a device cannot say that its user has finished", can.name),
                "write `end = \"vad\"`",
            );
        }
        if barge_in > 0.0 && can.stt {
            self.fail(
                &["turn.barge_in.share"],
                format!("the dialect `{}` recognises speech: there is no reply to interrupt", can.name),
                "leave `[turn.barge_in]` out",
            );
        } else if barge_in > 0.0 && !can.interrupt && !(vad && can.vad) {
            self.fail(
                &["turn.barge_in.share"],
                format!("the dialect `{}` has no way to interrupt a reply", can.name),
                "leave `[turn.barge_in]` out",
            );
        }
        if backchannel > 0.0 && !vad {
            self.fail(
                &["turn.backchannel.share"],
                "a cough cannot be heard: with a talk button the microphone is closed during the reply",
                "write `turn.end = \"vad\"`, or leave `[turn.backchannel]` out",
            );
        }
        if backchannel > 0.0 && self.list("turn.backchannel.sounds").is_empty() {
            self.fail(
                &["turn.backchannel.sounds", "turn.backchannel.share"],
                "`turn.backchannel.sounds` is empty",
                "for example `sounds = [\"mm-hm\"]`",
            );
        }
        if barge_in + backchannel > 1.0 {
            self.fail(
                &["turn.backchannel.share", "turn.barge_in.share"],
                "more than all turns: `turn.barge_in.share` and `turn.backchannel.share` add up to more than 1",
                "a turn has at most one of them",
            );
        }
    }

    fn session_rules(&mut self, dialect: &Dialect) {
        let reconnect = self.choice("session.reconnect");
        if !self.any_broken(&["session.reconnect_base", "session.reconnect_cap"])
            && reconnect != "fixed"
            && self.time("session.reconnect_base") > self.time("session.reconnect_cap")
        {
            self.fail(
                &["session.reconnect_base", "session.reconnect_cap"],
                "`session.reconnect_base` is above `session.reconnect_cap`",
                "the waiting time grows from the first to the second",
            );
        }
        let unused: &[&str] = match reconnect.as_str() {
            "none" => &["session.reconnect_base", "session.reconnect_cap", "session.reconnect_reset"],
            "fixed" => &["session.reconnect_cap"],
            _ => &[],
        };
        for path in unused {
            self.without_effect(path, "session.reconnect", &reconnect);
        }
        if self.choice("session.offline_speech") == "drop" {
            self.without_effect("session.offline_limit", "session.offline_speech", "drop");
        }
        if !self.bool("session.resume") {
            return;
        }
        let can = dialect.capabilities();
        if !can.resume {
            self.fail(
                &["session.resume"],
                format!("the dialect `{}` cannot say which session to go on with", can.name),
                "leave `session.resume` out",
            );
        }
        if reconnect == "none" {
            self.fail(
                &["session.resume"],
                "`session.resume` without reconnection",
                "a device that stays away resumes nothing: choose another `session.reconnect`",
            );
        }
    }

    /// Says so when somebody gave a key that a choice of the same or a higher layer makes meaningless.
    fn without_effect(&mut self, path: &str, choice: &str, chosen: &str) {
        let layer = |s: &Setting| s.layer;
        let given = self.setting(path).map(layer).filter(|l| *l > Layer::Default);
        if given.is_some() && given >= self.setting(choice).map(layer) {
            let name = choice.rsplit('.').next().unwrap_or(choice);
            self.fail(
                &[path],
                format!("`{path}` has no effect with `{name} = \"{chosen}\"`"),
                format!("leave it out, or choose another `{choice}`"),
            );
        }
    }

    /// Stages that end with nobody there cannot be extended.
    fn gate_rules(&mut self) {
        let undecided = self.choice("gate.undecided");
        if undecided != "extend" {
            self.without_effect("gate.extend_limit", "gate.undecided", &undecided);
        } else if self.stage_list().last().is_some_and(|s| s.devices == 0) {
            self.fail(
                &["gate.undecided", "fleet.stages"],
                "`gate.undecided = \"extend\"` with stages that end without a device: there would be nobody to go on",
                "let the last stage keep its devices, or choose another `gate.undecided`",
            );
        }
    }

    /// The expressions, and which of them stop the run.
    fn thresholds(&mut self, dialect: &Dialect, network: &NetworkPlan) -> (Vec<String>, Vec<Abort>) {
        let (mut expressions, mut aborts) = (Vec::new(), Vec::new());
        let parts = self.setting("thresholds").map(|s| s.parts.clone()).unwrap_or_default();
        for (text, place) in self.list("thresholds").into_iter().zip(parts) {
            let (threshold, abort) = match Threshold::parse_entry(&text.value) {
                Ok(read) => read,
                Err(e) => {
                    self.wrong_item(&text, place, e);
                    continue;
                }
            };
            aborts.extend(abort.map(|delay| Abort { threshold: expressions.len(), delay }));
            expressions.push(threshold.expression().to_owned());
            if let Some(name) = threshold.group()
                && !network.groups.iter().any(|g| g.name == name)
            {
                let known = network.groups.iter().map(|g| g.name.as_str());
                let said = no_group(name, known);
                let (message, help) = said.split_once(": ").unwrap_or((&said, ""));
                self.out.push(Some(place), message, help);
                continue;
            }
            let never = match threshold.subject() {
                Subject::Metric(Metric::Ttft | Metric::TtftUncorrected | Metric::TokenGap)
                    if dialect.capabilities().text == TextGranularity::None =>
                {
                    format!("the dialect `{}` has no reply text", dialect.capabilities().name)
                }
                Subject::Metric(metric) if dialect.capabilities().stt && metric.is_of_reply() => {
                    format!("the dialect `{}` recognises speech: nobody replies", dialect.capabilities().name)
                }
                Subject::Metric(Metric::BargeInStop | Metric::BargeInLastByte)
                    if self.share("turn.barge_in.share") == 0.0 =>
                {
                    "`turn.barge_in.share` is 0".to_owned()
                }
                _ => continue,
            };
            self.out.push(Some(place), format!("`{}` would have no sample, and fail", text.written), never);
        }
        (expressions, aborts)
    }

    /// Says what is wrong with a text of a list, at the part that is.
    fn wrong_item(&mut self, text: &Text, place: Place, e: TextError) {
        let source = self.out.slice(&place);
        // Of a table only the expression stands there as it is.
        let shown = source.find(&text.value).or_else(|| source.find(text.value.get(..e.span.end)?));
        let span = shown.map(|at| place.span.start + at + e.span.start..place.span.start + at + e.span.end);
        let span = span.filter(|_| !text.has_variables()).unwrap_or_else(|| place.span.clone());
        let place = Place { span, ..place };
        self.out.push(Some(place), e.message, e.help.unwrap_or_default());
    }

    // ── Values ───────────────────────────────────────────────────────────────────────────────────────────────

    fn fleet(&self) -> Fleet {
        let stages = self.stage_list();
        let most = stages.iter().map(|s| s.devices).max();
        let arrivals = match self.value("fleet.rate") {
            Some(Value::Float(rate)) if self.choice("fleet.arrivals") == "open" => {
                Arrivals::Open { rate: *rate, poisson: self.choice("fleet.spacing") == "poisson" }
            }
            _ => Arrivals::Closed,
        };
        // Stages and open arrivals say by themselves when devices come.
        let ramps = stages.is_empty() && arrivals == Arrivals::Closed;
        Fleet {
            devices: most.unwrap_or_else(|| self.u32("fleet.devices")),
            duration: self.duration(),
            ramp: if ramps { self.time("fleet.ramp") } else { Micros::ZERO },
            warmup: self.time("fleet.warmup"),
            graceful_stop: self.time("fleet.graceful_stop"),
            arrivals,
            stages,
            phase: match self.choice("fleet.phase").as_str() {
                "lockstep" => Phase::Lockstep,
                _ => Phase::Spread,
            },
        }
    }

    fn stage_list(&self) -> Vec<Stage> {
        match self.value("fleet.stages") {
            Some(Value::Stages(stages)) => stages.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn duration(&self) -> Micros {
        let stages = self.stage_list();
        if stages.is_empty() {
            self.time("fleet.duration")
        } else {
            Micros(stages.iter().map(|s| s.duration.0).fold(0, i64::saturating_add))
        }
    }

    fn codec(&self) -> Codec {
        Codec::from_name(&self.choice("audio.codec")).unwrap_or(Codec::Opus)
    }

    pub(super) fn codec_settings(&self) -> CodecSettings {
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

    pub(super) fn down(&self) -> AudioFormat {
        AudioFormat { codec: self.codec(), sample_rate: self.u32("audio.reply_rate") }
    }

    fn audio(&mut self) -> AudioPlan {
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
    fn adaptive(&mut self) -> Vec<u32> {
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

    fn turn(&self) -> TurnPlan {
        let (barge_in, backchannel) =
            (self.share("turn.barge_in.share"), self.share("turn.backchannel.share"));
        TurnPlan {
            count: Some(self.u32("turn.count")).filter(|n| *n > 0),
            think: self.dist("turn.think"),
            end: match self.choice("turn.end").as_str() {
                "vad" => EndOfTurn::Vad,
                _ => EndOfTurn::Signal,
            },
            flush: match self.choice("turn.flush").as_str() {
                "chunk" => Flush::Chunk,
                _ => Flush::Frame,
            },
            timeout: self.time("turn.timeout"),
            gap_timeout: self.time("turn.gap_timeout"),
            barge_in: (barge_in > 0.0)
                .then(|| BargeInPlan { share: barge_in, after: self.dist("turn.barge_in.after") }),
            backchannel: (backchannel > 0.0).then(|| BackchannelPlan {
                share: backchannel,
                after: self.dist("turn.backchannel.after"),
                sounds: self.list("turn.backchannel.sounds").into_iter().map(|t| t.value).collect(),
            }),
        }
    }

    fn session(&self) -> SessionPlan {
        SessionPlan {
            connect_timeout: self.time("session.connect_timeout"),
            keep_alive: Some(self.time("session.keep_alive")).filter(|t| *t > Micros::ZERO),
            keep_alive_timeout: self.time("session.keep_alive_timeout"),
            max_message: self.u32("session.max_message"),
            reconnect: match self.choice("session.reconnect").as_str() {
                "grpc" => Reconnect::Grpc,
                "fixed" => Reconnect::Fixed,
                "none" => Reconnect::None,
                _ => Reconnect::FullJitter,
            },
            reconnect_base: self.time("session.reconnect_base"),
            reconnect_cap: self.time("session.reconnect_cap"),
            reconnect_reset: self.time("session.reconnect_reset"),
            resume: self.bool("session.resume"),
            offline_limit: match self.choice("session.offline_speech").as_str() {
                "drop" => Micros::ZERO,
                _ => self.time("session.offline_limit"),
            },
            locale: self.text("session.locale"),
            voice: self.text("session.voice"),
        }
    }

    fn reference(&self, seed: u64, dialect: Dialect) -> ReferencePlan {
        ReferencePlan {
            preset: self.choice("reference.preset"),
            seed,
            dialect,
            stt: self.dist("reference.stt"),
            llm: self.dist("reference.llm"),
            token_rate: self.float("reference.token_rate"),
            tts: self.dist("reference.tts"),
            tts_speed: self.float("reference.tts_speed"),
            pipeline: match self.choice("reference.pipeline").as_str() {
                "serial" => Pipeline::Serial,
                _ => Pipeline::Overlapped,
            },
            stt_slots: self.u32("reference.stt_slots"),
            llm_slots: self.u32("reference.llm_slots"),
            tts_slots: self.u32("reference.tts_slots"),
            partials: self.time("reference.partials"),
            chunk: self.time("reference.chunk"),
            burst: self.time("reference.burst"),
            vad_silence: self.time("reference.vad_silence"),
            vad_level: self.float("reference.vad_level"),
            vad_barge_in: self.time("reference.vad_barge_in"),
            token: self.optional_text("reference.token").map(|t| Secret::new(t.value)),
            max_connections: self.u32("reference.max_connections"),
            idle_timeout: self.time("reference.idle_timeout"),
            max_message: self.u32("reference.max_message"),
            max_backlog: self.u32("reference.max_backlog"),
            threads: self.u32("reference.threads"),
            freeze: self.freeze(),
            log_chunks: self.bool("reference.log_chunks"),
            faults: self.faults(),
            resume: self.time("reference.resume"),
            resume_reply: match self.choice("reference.resume_reply").as_str() {
                "replay" => ResumeReply::Replay,
                "drop" => ResumeReply::Drop,
                _ => ResumeReply::Continue,
            },
            max_parked: self.u32("reference.max_parked"),
            idle_cut: self.time("reference.idle_cut"),
            write_timeout: self.time("reference.write_timeout"),
            handshake_delay: self.time("reference.handshake_delay"),
            pongs: self.bool("reference.pongs"),
            events: self
                .list("reference.events")
                .iter()
                .filter_map(|t| ServerEvent::parse(&t.value).ok())
                .collect(),
        }
    }

    /// What `voxload sweep` varies; conditions must be about its axes.
    fn sweep(&mut self) -> SweepPlan {
        let mut axes: Vec<Axis> = match self.value("sweep.axes") {
            Some(Value::Axes(axes)) => {
                axes.iter().map(|(key, values)| Axis { key: key.clone(), values: values.clone() }).collect()
            }
            _ => Vec::new(),
        };
        axes.retain(|a| !a.values.is_empty());
        let parts = self.setting("sweep.skip").map(|s| s.parts.clone()).unwrap_or_default();
        let mut places = parts.into_iter();
        let mut skip = Vec::new();
        for text in self.list("sweep.skip") {
            let place = places.next();
            match axes::conditions(&text.value, &axes) {
                Ok(conditions) => skip.push(conditions),
                Err((message, help)) => self.out.push(place, format!("`sweep.skip`: {message}"), help),
            }
        }
        let baseline = self.optional_text("sweep.baseline").and_then(|text| {
            axes::conditions(&text.value, &axes)
                .map_err(|(message, help)| {
                    self.fail(&["sweep.baseline"], format!("`sweep.baseline`: {message}"), help);
                })
                .ok()
        });
        SweepPlan {
            axes,
            repeat: self.u32("sweep.repeat"),
            order: match self.choice("sweep.order").as_str() {
                "sequential" => SweepOrder::Sequential,
                _ => SweepOrder::Interleaved,
            },
            skip,
            skip_invalid: self.choice("sweep.invalid") != "refuse",
            retries: self.u32("sweep.retries"),
            baseline,
            capacity: self.time("sweep.capacity"),
            max_delay: self.time("sweep.max_delay"),
            max_distortion: self.float("sweep.max_distortion"),
        }
    }

    fn freeze_rules(&mut self) {
        let (every, length) = ("reference.freeze.every", "reference.freeze.length");
        if self.any_broken(&[every, length]) {
            return;
        }
        let given = self.value(length).is_some();
        match (self.time(every) > Micros::ZERO, given) {
            (false, true) => self.fail(
                &[length],
                format!("`{length}` has no effect: `{every}` is off"),
                format!("say how often: {every} = \"20s\""),
            ),
            (true, false) => self.fail(
                &[every],
                format!("`{every}` without `{length}`"),
                format!("say for how long: {length} = \"2s\""),
            ),
            (true, true) if self.time(length) >= self.time(every) => self.fail(
                &[length, every],
                format!("`{length}` is not shorter than `{every}`"),
                "the server would never move",
            ),
            _ => {}
        }
    }

    /// The server's trouble: events that can be read, and a cut that comes before the goodbye.
    fn trouble_rules(&mut self) {
        let parts = self.setting("reference.events").map(|s| s.parts.clone()).unwrap_or_default();
        for (text, place) in self.list("reference.events").into_iter().zip(parts) {
            if let Err(e) = ServerEvent::parse(&text.value) {
                self.wrong_item(&text, place, e);
            }
        }
        let (cut, idle) = ("reference.idle_cut", "reference.idle_timeout");
        if !self.any_broken(&[cut, idle]) && self.time(cut) >= self.time(idle) {
            self.fail(
                &[cut, idle],
                format!("`{cut}` has no effect: `{idle}` closes such connections before"),
                format!("make `{cut}` shorter than `{idle}`, or `{idle}` longer"),
            );
        }
    }

    fn freeze(&self) -> Option<Freeze> {
        let every = self.time("reference.freeze.every");
        (every > Micros::ZERO).then(|| Freeze { every, length: self.time("reference.freeze.length") })
    }

    fn faults(&self) -> Vec<(Fault, f64)> {
        match self.value("reference.faults") {
            Some(Value::Faults(faults)) => faults.iter().copied().filter(|(_, share)| *share > 0.0).collect(),
            _ => Vec::new(),
        }
    }

    // ── Access ───────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn setting(&self, path: &str) -> Option<&Setting> {
        debug_assert!(keys::find(path).is_some(), "no key `{path}` in the table");
        self.settings.get(path)
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.setting(path).and_then(|s| s.value.as_ref())
    }

    fn any_broken(&self, paths: &[&str]) -> bool {
        paths.iter().any(|p| self.setting(p).is_some_and(|s| s.broken))
    }

    /// Says what is wrong, at the first of the keys that somebody wrote.
    pub(super) fn fail(&mut self, paths: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let place = paths.iter().find_map(|p| self.setting(p).and_then(|s| s.place.clone()));
        self.out.push(place, message, help);
    }

    fn bool(&self, path: &str) -> bool {
        matches!(self.value(path), Some(Value::Bool(true)))
    }

    fn int(&self, path: &str) -> i64 {
        match self.value(path) {
            Some(Value::Int(n)) => *n,
            _ => 0,
        }
    }

    pub(super) fn u32(&self, path: &str) -> u32 {
        match self.value(path) {
            Some(Value::Int(n)) => u32::try_from(*n).unwrap_or(u32::MAX),
            Some(Value::Bitrate(n) | Value::Size(n)) => *n,
            _ => 0,
        }
    }

    fn float(&self, path: &str) -> f64 {
        match self.value(path) {
            Some(Value::Float(x)) => *x,
            _ => 0.0,
        }
    }

    pub(super) fn share(&self, path: &str) -> f64 {
        match self.value(path) {
            Some(Value::Share(x)) => *x,
            _ => 0.0,
        }
    }

    pub(super) fn time(&self, path: &str) -> Micros {
        match self.value(path) {
            Some(Value::Duration(t)) => *t,
            _ => Micros::ZERO,
        }
    }

    fn dist(&self, path: &str) -> Dist {
        match self.value(path) {
            Some(Value::Dist(d)) => d.clone(),
            _ => Dist::Constant(Micros::ZERO),
        }
    }

    pub(super) fn choice(&self, path: &str) -> String {
        match self.value(path) {
            Some(Value::Choice(name)) => (*name).to_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn optional_text(&self, path: &str) -> Option<Text> {
        match self.value(path) {
            Some(Value::Text(t)) => Some(t.clone()),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> String {
        self.optional_text(path).map(|t| t.value).unwrap_or_default()
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.optional_text(path).map(|t| PathBuf::from(t.value))
    }

    pub(super) fn list(&self, path: &str) -> Vec<Text> {
        match self.value(path) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    /// Makes paths absolute, so that the effective scenario works from any folder.
    fn resolve_paths(&mut self) {
        for path in ["target.data", "target.ca", "target.client_cert", "target.client_key"] {
            self.settings.resolve(path, self.base, |_| true);
        }
        for path in ["audio.fixtures", "turn.backchannel.sounds"] {
            self.settings.resolve(path, self.base, looks_like_path);
        }
        for path in ["link.trace_down", "link.trace_up"] {
            self.settings.resolve(path, self.base, super::network::is_path);
        }
    }
}

/// The host of a URL, without port and brackets.
pub(super) fn url_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    }
}

/// `user:password@` before the host.
fn has_user_info(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    authority.split(['/', '?', '#']).next().is_some_and(|a| a.contains('@'))
}

/// A WAV file rather than the name of a shipped fixture.
fn looks_like_path(fixture: &str) -> bool {
    fixture.contains(['/', '\\'])
        || Path::new(fixture).extension().is_some_and(|e| e.eq_ignore_ascii_case("wav"))
}

/// Reads a CSV file with a header row. The error is what is wrong, and what to try; never a value.
fn read_device_values(path: &Path) -> Result<DeviceValues, (String, &'static str)> {
    let expected = "expected a header row with the names of the columns, then one row per device";
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|e| (format!("cannot be read: {e}"), "paths start from the scenario file's folder"))?;
    let fail = |e: &csv::Error| match e.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} values where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            format!("line {} is not UTF-8", pos.as_ref().map_or(0, csv::Position::line))
        }
        _ => format!("cannot be read: {e}"),
    };
    let columns: Vec<String> =
        reader.headers().map_err(|e| (fail(&e), expected))?.iter().map(str::to_owned).collect();
    if columns.iter().any(String::is_empty) || columns.is_empty() {
        return Err(("a column has no name".to_owned(), expected));
    }
    if columns.iter().any(|c| c == "device") {
        return Err((
            "a column is named `device`".to_owned(),
            "`{device}` is the number of the device; choose another name",
        ));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| (fail(&e), expected))?;
        rows.push(record.iter().map(Secret::new).collect());
    }
    if rows.is_empty() {
        return Err(("no row after the header".to_owned(), expected));
    }
    Ok(DeviceValues { columns, rows })
}
