//! The one table of keys: type, range, default, unit and documentation of everything a scenario can say.
//!
//! ```text
//!              ┌─▶ check of files, --set and the environment   (value.rs, layers.rs)
//! SECTIONS ────┼─▶ defaults and the effective scenario         (check.rs, effective.rs)
//!              ├─▶ JSON Schema, docs/scenario.md               (schema.rs, reference.rs)
//!              └─▶ the starter file of `voxload init`          (reference.rs)
//! ```

use std::collections::HashMap;
use std::sync::LazyLock;

use super::presets;
use super::trouble::MAX_HANDSHAKE;
use crate::audio::codec::MAX_CHUNK;
use crate::time::Micros;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within a range, both ends included.
    Int(i64, i64),
    /// A number within a range, both ends included.
    Float(f64, f64),
    /// A duration within a range, both ends included.
    Duration(Micros, Micros),
    /// A duration within a range, or `"off"`.
    DurationOrOff(Micros, Micros),
    /// One of several words, each with what it means.
    Choice(&'static [(&'static str, &'static str)]),
    /// Any text.
    Text,
    /// Text that is never printed.
    Secret,
    /// A `ws://` or `wss://` URL; user info and query values are never printed.
    Url,
    /// The path of a file, relative to the scenario file.
    File,
    /// The path of a folder to write to, relative to where voxload runs.
    Folder,
    /// A list of texts.
    List,
    /// A list of thresholds: texts, or tables with what they do.
    Thresholds,
    /// A table of texts; the values are never printed.
    Headers,
    /// A table of texts by the names of variables; likewise.
    Values,
    /// A dialect: the name of a built-in one, or the path of a file that describes one.
    Dialect,
    /// A distribution of times.
    Dist,
    /// A share: `0.2` or `"20%"`.
    Share,
    /// Stages of a fleet.
    Stages,
    /// Bits per second, within a range: `24000` or `"24k"`.
    Bitrate(u32, u32),
    /// Bytes, within a range: `65536` or `"64 KiB"`.
    Size(u32, u32),
    /// A table of shares by fault.
    Faults,
    /// A list of faults that strike devices.
    FaultList,
    /// A table of lists: keys of scenarios, each with the values that it takes in a sweep.
    Axes,
}

impl Kind {
    /// True for values of which at least a part must never be printed.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Url | Self::Headers | Self::Values)
    }
}

/// What a key is when nobody says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// Not set.
    Unset,
    /// A TOML value.
    Toml(&'static str),
    /// A TOML value that depends on what another key is.
    By(&'static str, &'static [(&'static str, &'static str)]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path, for example `fleet.devices`.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is when nobody says.
    pub default: Fallback,
    /// A TOML value that shows how it is written; where empty, the default does.
    pub example: &'static str,
    /// What it does, in a line or two.
    pub doc: &'static str,
}

impl Key {
    /// The section: `fleet`, `turn.barge_in`, or empty for the keys at the top.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The last part of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that overrides it: `VOXLOAD_FLEET_DEVICES`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// How environment variables that override keys begin.
pub const VARIABLE_PREFIX: &str = "VOXLOAD_";

/// A table of keys.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its path; empty for the keys at the top.
    pub path: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// Every key, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|s| s.keys)
}

/// The keys by their paths: a check asks for hundreds.
static BY_PATH: LazyLock<HashMap<&str, &Key>> = LazyLock::new(|| all().map(|k| (k.path, k)).collect());

/// The key with that path.
pub fn find(path: &str) -> Option<&'static Key> {
    BY_PATH.get(path).copied()
}

const fn key(path: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Key {
    Key { path, kind, default, example: "", doc }
}

const fn shown(key: Key, example: &'static str) -> Key {
    Key { example, ..key }
}

const fn ms(n: i64) -> Micros {
    Micros::from_millis(n)
}

const fn seconds(n: i64) -> Micros {
    Micros::from_secs(n)
}

const ZERO: Micros = Micros::ZERO;
const DAY: Micros = seconds(86_400);
/// The longest run: a soak of a month.
const MONTH: Micros = seconds(31 * 86_400);
const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

use Fallback::{By, Toml, Unset};
use Kind::{
    Axes, Bitrate, Bool, Choice, Dialect, Dist, Duration, DurationOrOff, FaultList, Faults, File, Float,
    Folder, Headers, Int, List, Secret, Share, Size, Stages, Text, Thresholds, Url, Values,
};

/// Every section with its keys.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "",
        doc: "The scenario itself.",
        keys: &[
            key(
                "name",
                Text,
                Toml("\"scenario\""),
                "Titles the report and names its folder. When it is not set: the name of the file.",
            ),
            key(
                "seed",
                Int(0, i64::MAX),
                Toml("1"),
                "Decides arrivals, think times, fixtures and faults: the same seed gives the same plan, to the microsecond.",
            ),
            shown(
                key(
                    "thresholds",
                    Thresholds,
                    Toml("[]"),
                    "What must hold, or the run ends with exit code 99: `metric:statistic operator value`, of a group of devices \
                     `metric{group:name}:…`. Turns that fail or never answer count as infinitely slow. A metric that does not exist, or \
                     has no sample, fails; too few turns leave a percentile or a rate undecided (`gate.undecided`). As a table, or with \
                     ` abort_on_fail delay=30s` after it, a threshold stops the run as soon as it has certainly failed, that long after \
                     warm-up at the earliest.",
                ),
                "[\"turns.failed:rate<1%\", { threshold = \"ttfa:p(95)<300ms\", abort_on_fail = true, delay = \"30s\" }]",
            ),
            shown(
                key(
                    "faults",
                    FaultList,
                    Toml("[]"),
                    "What happens to the devices on purpose: each entry is a text or a table. `at` for once, at that instant of the run, or \
                     `every` for again and again, each device at times of its own (a distribution); `share` of the devices (all), which of \
                     them the seed decides; `phase` that a device must be in (any): the fault waits until it is; `length` (a \
                     distribution) and `rate` (bytes a second) where the kind has one. `voxload inspect --faults` prints who is struck when.",
                ),
                "[\"reset at=20s share=30% phase=speaking\", { kind = \"roam\", every = \"exponential(60s)\" }]",
            ),
        ],
    },
    Section {
        path: "target",
        doc: "The server under test. Without `url`, the embedded reference server is started and tested.",
        keys: &[
            shown(
                key(
                    "target.url",
                    Url,
                    Unset,
                    "`ws://` or `wss://`. `${NAME}` is replaced by an environment variable, `{column}` by the device's value from \
                     `target.data`, `{device}` by its number. Query values never reach a report. User info (`user:password@`) belongs into \
                     `target.headers`.",
                ),
                "\"wss://voice.example.com/v1/talk\"",
            ),
            key(
                "target.dialect",
                Dialect,
                Toml("\"envelope\""),
                "What the server speaks: `envelope` (JSON for control and text, binary frames for audio; everything can be measured), \
                 `plain` (raw PCM16 at 16 kHz, the text `end_stream`, one binary message back), another that `voxload dialect list` \
                 names, or the path of a file that describes one (docs/dialect-format.md). Where a description says how audio is sent, \
                 that is the default of `audio` and `turn.end`.",
            ),
            shown(
                key(
                    "target.variant",
                    Text,
                    Unset,
                    "Which variant of the dialect: a name that `voxload dialect show` prints, or several with `+`.",
                ),
                "\"v3\"",
            ),
            shown(
                key(
                    "target.token",
                    Secret,
                    Unset,
                    "What devices show to the server, where the dialect says how (`{token}`). May hold `${NAME}` and `{column}`; never reaches \
                     a report.",
                ),
                "\"${TOKEN}\"",
            ),
            shown(
                key(
                    "target.values",
                    Values,
                    Toml("{}"),
                    "Values of the dialect's variables, in place of those under `[values]` in its description. May hold `${NAME}` and `{column}`; \
                     never reach a report.",
                ),
                "{ model = \"gpt-realtime\" }",
            ),
            shown(
                key(
                    "target.headers",
                    Headers,
                    Toml("{}"),
                    "Headers added to the upgrade request. Values may hold `${NAME}` and `{column}` and never reach a report.",
                ),
                "{ Authorization = \"Bearer ${TOKEN}\" }",
            ),
            shown(
                key(
                    "target.data",
                    File,
                    Unset,
                    "CSV file with one row of values per device (tokens, serial numbers) and a header row that names the columns. \
                     Device n uses row n, and starts over when there are fewer rows. Values are treated as secrets.",
                ),
                "\"devices.csv\"",
            ),
            shown(
                key(
                    "target.source_ips",
                    List,
                    Toml("[]"),
                    "Addresses of this machine to connect from: addresses, ranges (`127.0.0.2-127.0.0.9`) and networks (`127.1.0.0/28`); \
                     device n uses address n, and starts over. One address has some 28,000 ports, and so many devices. Empty: the kernel \
                     chooses; a fleet that is too large for that uses several addresses of 127.0.0.0/8 when the server is on loopback.",
                ),
                "[\"10.0.0.5\", \"10.0.0.8-10.0.0.11\"]",
            ),
            shown(
                key(
                    "target.ca",
                    File,
                    Unset,
                    "PEM file of a certificate authority to trust, besides the system's.",
                ),
                "\"ca.pem\"",
            ),
            shown(
                key(
                    "target.client_cert",
                    File,
                    Unset,
                    "PEM file of the client certificate, for servers that want one. Needs `target.client_key`.",
                ),
                "\"client.pem\"",
            ),
            shown(
                key(
                    "target.client_key",
                    File,
                    Unset,
                    "PEM file of the key that belongs to `target.client_cert`.",
                ),
                "\"client.key\"",
            ),
            key(
                "target.insecure",
                Bool,
                Toml("false"),
                "Accept any certificate of the server. The report says so: someone in between could have answered.",
            ),
            key(
                "target.secure",
                Bool,
                Toml("false"),
                "Let the embedded server speak wss, with a certificate made on the spot. With `target.url`, write `wss://` instead.",
            ),
        ],
    },
    Section {
        path: "fleet",
        doc: "How many devices, when. Either `devices`, `duration` and `ramp`, or `stages`.",
        keys: &[
            key(
                "fleet.devices",
                Int(1, 1_000_000),
                Toml("10"),
                "Most devices at once. With `fleet.stages` it follows from them.",
            ),
            key(
                "fleet.duration",
                Duration(ms(100), MONTH),
                Toml("\"30s\""),
                "Load is applied for this long, ramp and warm-up included. With `fleet.stages` it is their sum.",
            ),
            key(
                "fleet.ramp",
                Duration(ZERO, MONTH),
                Toml("\"0ms\""),
                "Devices connect evenly over this time instead of all at once. When `-d` makes the run shorter than twice the \
                 file's ramp, it becomes a quarter of the run.",
            ),
            key(
                "fleet.warmup",
                Duration(ZERO, MONTH),
                Toml("\"0ms\""),
                "Turns that start within this time are played and not counted: caches fill, the ramp is over. Shrinks with \
                 `-d` as the ramp does.",
            ),
            key(
                "fleet.graceful_stop",
                Duration(ZERO, seconds(3_600)),
                Toml("\"15s\""),
                "After `fleet.duration` no turn starts any more; turns that have begun get this long to end.",
            ),
            shown(
                key(
                    "fleet.stages",
                    Stages,
                    Toml("[]"),
                    "Piecewise linear number of devices over time, from 0: within each `duration`, go to `devices`. Each is a \
                     `\"30s:500\"` or a table. A plateau is a stage with the number of the one before. Instead of `devices`, `duration` and `ramp`.",
                ),
                "[\"10s:100\", \"30s:100\", \"10s:0\"]",
            ),
            key(
                "fleet.arrivals",
                Choice(&[
                    (
                        "closed",
                        "a fixed fleet: each device starts its next turn when its reply has been played and it has thought",
                    ),
                    (
                        "open",
                        "sessions arrive at `fleet.rate` whatever the server does, and leave after `turn.count` turns",
                    ),
                ]),
                Toml("\"closed\""),
                "Who decides when the next conversation starts. A closed fleet slows down with a slow server; open arrivals do not, as \
                 customers don't.",
            ),
            shown(
                key(
                    "fleet.rate",
                    Float(0.001, 1_000_000.0),
                    Unset,
                    "Open arrivals: sessions per second. Arrivals that find `fleet.devices` sessions open are counted as missed turns.",
                ),
                "5.0",
            ),
            key(
                "fleet.spacing",
                Choice(&[
                    ("poisson", "random, as independent people arrive"),
                    ("even", "one every 1/rate seconds"),
                ]),
                Toml("\"poisson\""),
                "Open arrivals: how they are spread.",
            ),
            key(
                "fleet.phase",
                Choice(&[
                    (
                        "spread",
                        "each device at its own instants, drawn by the seed; open arrivals as `fleet.spacing` says",
                    ),
                    (
                        "lockstep",
                        "every utterance begins at a multiple of the chunk period: all devices send at the same instants",
                    ),
                ]),
                Toml("\"spread\""),
                "When devices send within a chunk period. People do not speak in step; lockstep is the worst case for a server, and \
                 for voxload.",
            ),
        ],
    },
    Section {
        path: "audio",
        doc: "What devices say, and how it is encoded.",
        keys: &[
            shown(
                key(
                    "audio.fixtures",
                    List,
                    Toml("[]"),
                    "Names of shipped utterances (`voxload fixtures`), or paths of WAV files, relative to the scenario file. Empty: all \
                     shipped utterances.",
                ),
                "[\"my-recording.wav\"]",
            ),
            key(
                "audio.codec",
                Choice(&[
                    ("opus", "compressed; what most toys should send"),
                    ("pcm16", "raw 16 bit samples"),
                    ("mulaw", "G.711 µ-law, as telephony sends"),
                    ("alaw", "G.711 A-law, likewise outside of North America and Japan"),
                ]),
                By("target.dialect", &[("envelope", "\"opus\""), ("plain", "\"pcm16\"")]),
                "How speech is coded, both ways.",
            ),
            key(
                "audio.rate",
                Int(8_000, 48_000),
                By(
                    "audio.codec",
                    &[("opus", "16000"), ("pcm16", "16000"), ("mulaw", "8000"), ("alaw", "8000")],
                ),
                "Samples per second from the device, in Hz. Opus: 8000, 12000, 16000, 24000 or 48000.",
            ),
            key(
                "audio.reply_rate",
                Int(8_000, 48_000),
                By(
                    "audio.codec",
                    &[("opus", "24000"), ("pcm16", "16000"), ("mulaw", "8000"), ("alaw", "8000")],
                ),
                "Samples per second asked of the server, in Hz. Opus: 8000, 12000, 16000, 24000 or 48000.",
            ),
            key(
                "audio.bitrate",
                Bitrate(6_000, 510_000),
                Toml("\"24k\""),
                "Target bit rate of Opus, in bit/s; the other codecs have none.",
            ),
            shown(
                key(
                    "audio.adaptive",
                    List,
                    Toml("[]"),
                    "Opus: lower bit rates, highest first, that a device steps down to while what it sends piles up or its heartbeats slow down, and up from again when the line has been quiet for some seconds. Empty: it always sends at `audio.bitrate`.",
                ),
                "[\"16k\", \"10k\"]",
            ),
            key(
                "audio.frame",
                Duration(Micros(2_500), ms(120)),
                Toml("\"20ms\""),
                "One codec frame. Opus: 2.5, 5, 10, 20, 40 or 60 ms. Otherwise: where the last chunk of a turn may be cut.",
            ),
            key(
                "audio.chunk",
                Duration(Micros(2_500), MAX_CHUNK),
                Toml("\"60ms\""),
                "Audio per message: a whole number of frames. A chunk can only be sent when its last sample has been spoken, so a larger \
                 one saves bandwidth and costs time.",
            ),
            key(
                "audio.complexity",
                Int(0, 10),
                Toml("5"),
                "Opus: effort of the encoder. A toy's processor manages about 0 to 5.",
            ),
            key(
                "audio.dtx",
                Bool,
                Toml("false"),
                "Opus: discontinuous transmission, which sends next to nothing during silence.",
            ),
            key(
                "audio.encoding",
                Choice(&[
                    ("binary", "raw bytes in binary frames"),
                    ("base64", "base64 inside JSON text frames: a third more, and an envelope"),
                ]),
                Toml("\"binary\""),
                "How audio travels inside messages.",
            ),
        ],
    },
    Section {
        path: "turn",
        doc: "How a conversation goes: the user speaks, the server replies, the user thinks, and again.",
        keys: &[
            key(
                "turn.count",
                Int(0, 1_000_000),
                Toml("0"),
                "Turns per device (or per session, with open arrivals). 0: until the run ends.",
            ),
            key(
                "turn.think",
                Dist,
                Toml("\"uniform(1s, 3s)\""),
                "From the end of a reply's playback to the next utterance.",
            ),
            key(
                "turn.end",
                Choice(&[
                    ("signal", "the device says so: a talk button"),
                    ("vad", "the server finds it, in silence that the device keeps streaming"),
                ]),
                Toml("\"signal\""),
                "Who finds the end of speech.",
            ),
            key(
                "turn.flush",
                Choice(&[
                    (
                        "frame",
                        "the last chunk goes at the next codec-frame boundary, shorter than the others",
                    ),
                    ("chunk", "the last chunk goes when the whole chunk has passed"),
                ]),
                Toml("\"frame\""),
                "When the button is released: what the last, part-filled chunk waits for.",
            ),
            key(
                "turn.timeout",
                Duration(ms(10), seconds(3_600)),
                Toml("\"10s\""),
                "No audio within this time of the end of speech: the turn has failed.",
            ),
            key(
                "turn.gap_timeout",
                Duration(ms(10), seconds(3_600)),
                Toml("\"5s\""),
                "Nothing for this long in the middle of a reply: the turn has failed.",
            ),
        ],
    },
    Section {
        path: "turn.barge_in",
        doc: "The user speaks over the reply, which must stop. How long that takes is `barge_in_stop`.",
        keys: &[
            key("turn.barge_in.share", Share, Toml("0.0"), "Share of the turns whose reply is interrupted."),
            key(
                "turn.barge_in.after",
                Dist,
                Toml("\"uniform(300ms, 1500ms)\""),
                "From the first audible sample of the reply to the interruption.",
            ),
        ],
    },
    Section {
        path: "turn.backchannel",
        doc: "The user coughs or hums \"mm-hm\" during the reply, which must not stop. Needs `turn.end = \"vad\"`: with a talk \
              button the microphone is closed while the server speaks.",
        keys: &[
            key("turn.backchannel.share", Share, Toml("0.0"), "Share of the turns in which it happens."),
            key(
                "turn.backchannel.after",
                Dist,
                Toml("\"uniform(300ms, 1500ms)\""),
                "From the first audible sample of the reply to the sound.",
            ),
            key(
                "turn.backchannel.sounds",
                List,
                Toml("[\"cough\", \"mm-hm\"]"),
                "Fixtures to use, one drawn each time: shipped names, or paths of WAV files.",
            ),
        ],
    },
    Section {
        path: "session",
        doc: "How a connection is opened and kept.",
        keys: &[
            key(
                "session.connect_timeout",
                Duration(ms(10), seconds(600)),
                Toml("\"10s\""),
                "TCP, TLS and upgrade together.",
            ),
            key(
                "session.keep_alive",
                DurationOrOff(ms(100), DAY),
                Toml("\"20s\""),
                "A heartbeat at this interval, or `\"off\"`. Proxies cut connections that are idle for 60 to 120 s.",
            ),
            key(
                "session.keep_alive_timeout",
                Duration(ms(10), seconds(3_600)),
                Toml("\"10s\""),
                "A connection whose heartbeat is not answered within this time is lost.",
            ),
            key(
                "session.max_message",
                Size(KIB, 1024 * MIB),
                Toml("\"4 MiB\""),
                "Largest message accepted from the server.",
            ),
            key(
                "session.reconnect",
                Choice(&[
                    ("full_jitter", "a random time up to a limit that doubles with each attempt"),
                    ("grpc", "the limit itself, growing by 1.6 with each attempt, give or take 20 %"),
                    (
                        "fixed",
                        "always the same time: a fleet that was cut at once comes back at once, as the bad example",
                    ),
                    ("none", "it stays away, and its later turns fail"),
                ]),
                Toml("\"full_jitter\""),
                "How long a device waits before it connects again, after a loss or a failed attempt. After close codes 1012 (service \
                 restart) and 1013 (try again later) it is a random 5 to 30 s instead.",
            ),
            key(
                "session.reconnect_base",
                Duration(ms(1), seconds(3_600)),
                By(
                    "session.reconnect",
                    &[
                        ("full_jitter", "\"500ms\""),
                        ("grpc", "\"1s\""),
                        ("fixed", "\"500ms\""),
                        ("none", "\"500ms\""),
                    ],
                ),
                "The limit of the first attempt; with `fixed`, of every attempt.",
            ),
            key(
                "session.reconnect_cap",
                Duration(ms(1), seconds(3_600)),
                By(
                    "session.reconnect",
                    &[
                        ("full_jitter", "\"10s\""),
                        ("grpc", "\"2m\""),
                        ("fixed", "\"10s\""),
                        ("none", "\"10s\""),
                    ],
                ),
                "The limit grows no further than this.",
            ),
            key(
                "session.reconnect_reset",
                Duration(ZERO, DAY),
                Toml("\"10s\""),
                "Attempts count on from loss to loss, unless the connection had been open for this long: a server that accepts and drops \
                 at once is not hammered.",
            ),
            key(
                "session.turns",
                Int(0, 1_000_000),
                Toml("0"),
                "Turns on one connection: then the device hangs up, and connects when its next turn starts, as a toy with a button does, or a \
                 client of a server that closes after each turn. 0: it stays connected.",
            ),
            key(
                "session.resume",
                Bool,
                Toml("false"),
                "After a loss, devices ask for the session that they had: a turn under way goes on if the server still knows it. Without, \
                 or when the server does not, the turn is lost.",
            ),
            key(
                "session.offline_speech",
                Choice(&[
                    ("keep", "it is kept and sent late, all at once, when the device is connected"),
                    ("drop", "it is lost"),
                ]),
                Toml("\"keep\""),
                "What becomes of speech while there is no connection: while the first one opens, and after a loss. A turn of which nothing \
                 was ever sent fails as `not_connected`.",
            ),
            key(
                "session.offline_limit",
                Duration(ms(20), seconds(600)),
                Toml("\"5s\""),
                "How much speech is kept; of more, the oldest is lost.",
            ),
            key("session.locale", Text, Toml("\"en-US\""), "Locale given when the session is opened."),
            key("session.voice", Text, Toml("\"default\""), "Voice asked for when the session is opened."),
        ],
    },
    Section {
        path: "link",
        doc: "A network for each device, imitated below TLS: no root, nothing to install. `voxload network` shows what presets do; \
              docs/NETWORK.md says what can and cannot be imitated.",
        keys: &[
            shown(
                key(
                    "link.preset",
                    Text,
                    Toml("\"none\""),
                    "What kind of link: `none`, `lan`, `wifi-home`, `wifi-congested`, `lte`, `cat1`, `5g`, `3g` or `edge`, or a mix of them by \
                     weight. Which device has which follows from the seed.",
                ),
                "\"mix(70: wifi-home, 20: wifi-congested, 10: cat1)\"",
            ),
            shown(
                key(
                    "link.rtt",
                    Duration(ZERO, seconds(60)),
                    Unset,
                    "Round trip of the empty path, half of it each way. This and the keys below change what the preset says, in all \
                     presets of a mix and of `link.schedule`; alone they are a link.",
                ),
                "\"80ms\"",
            ),
            shown(
                key(
                    "link.jitter",
                    Text,
                    Unset,
                    "Extra delay each way, correlated over 100 ms: `lognormal(median, p99)`, `uniform(50ms)` for ±50 ms, or `off`. On a stream \
                     nothing overtakes anything.",
                ),
                "\"lognormal(10ms, 180ms)\"",
            ),
            shown(
                key(
                    "link.loss",
                    Text,
                    Unset,
                    "Loss each way: `1%` of the packets, each on its own, or `1% / 60ms`: 1 % of the time, in bursts of 60 ms on average. TCP \
                     repairs it: what is seen is delay.",
                ),
                "\"1% / 60ms\"",
            ),
            shown(
                key("link.down", Bitrate(1_000, u32::MAX), Unset, "Bits per second to the device."),
                "\"5M\"",
            ),
            shown(
                key("link.up", Bitrate(1_000, u32::MAX), Unset, "Bits per second from the device."),
                "\"2M\"",
            ),
            shown(
                key(
                    "link.queue",
                    Size(1_500, 64 * MIB),
                    Unset,
                    "Bytes that may wait for the bottleneck, each way; what comes then is lost. When it is not set: 250 ms of the rate, at \
                     least 32 KiB.",
                ),
                "\"64 KiB\"",
            ),
            key(
                "link.stack",
                Choice(&[
                    ("linux", "selective acknowledgements, RACK, tail-loss probes, CUBIC"),
                    ("linux-nosack", "Linux without selective acknowledgements, as behind some middleboxes"),
                    (
                        "lwip",
                        "an ESP32: no selective acknowledgements, windows of 5,744 bytes, timeouts from 1.5 s",
                    ),
                ]),
                Toml("\"linux\""),
                "The device's TCP: it decides how long a loss lasts.",
            ),
            shown(
                key(
                    "link.trace_down",
                    Text,
                    Unset,
                    "A recorded link instead of `link.down`, in mahimahi's format: a shipped one (`cat1-drive`, `lte-walk`, \
                     `wifi-microwave`) or the path of a file. Each device begins at its own place of it.",
                ),
                "\"cat1-drive\"",
            ),
            shown(key("link.trace_up", Text, Unset, "Likewise, instead of `link.up`."), "\"cat1-drive\""),
            shown(
                key(
                    "link.schedule",
                    List,
                    Toml("[]"),
                    "Other presets later, for all devices with a link: `time: preset`, counted from the start of the run. `base` goes back \
                     to what each had at first. The device's TCP stays.",
                ),
                "[\"20s: wifi-congested\", \"40s: base\"]",
            ),
            shown(
                key(
                    "link.control",
                    Share,
                    Toml("0.0"),
                    "This share of the devices has no link: what the network costs is the difference to them.",
                ),
                "\"20%\"",
            ),
        ],
    },
    Section {
        path: "playback",
        doc: "The device's loudspeaker.",
        keys: &[
            key(
                "playback.prebuffer",
                Duration(ZERO, seconds(10)),
                Toml("\"0ms\""),
                "Playback starts this long after the first audio of a reply arrived, however fast the rest comes: it hides jitter, and \
                 delays every first sound by the whole of it. TTFA and stalls are judged at it; 0, 60, 120 and 200 ms are always computed beside it.",
            ),
            key(
                "playback.max_stall_ratio",
                Share,
                Toml("0.05"),
                "A reply that stutters for more than this share of its playing time has failed.",
            ),
        ],
    },
    Section {
        path: "reference",
        doc: "The embedded reference server: recogniser, language model and synthesiser with the latencies that you say. Used when \
              `target.url` is not set, and by `voxload serve`.",
        keys: &[
            key(
                "reference.preset",
                Choice(presets::CHOICES),
                Toml("\"local\""),
                "Fills in the latencies below.",
            ),
            key(
                "reference.stt",
                Dist,
                By("reference.preset", presets::STT),
                "Recogniser: from the end of speech to the final transcript.",
            ),
            key(
                "reference.llm",
                Dist,
                By("reference.preset", presets::LLM),
                "Language model: from the transcript to the first token.",
            ),
            key(
                "reference.tts",
                Dist,
                By("reference.preset", presets::TTS),
                "Synthesiser: from a sentence to its first audio.",
            ),
            key(
                "reference.token_rate",
                Float(0.1, 1_000_000.0),
                By("reference.preset", presets::TOKEN_RATE),
                "Tokens per second after the first.",
            ),
            key(
                "reference.tts_speed",
                Float(0.1, 100_000.0),
                By("reference.preset", presets::TTS_SPEED),
                "Seconds of speech synthesised per second. Below 1, replies stutter.",
            ),
            key(
                "reference.pipeline",
                Choice(&[
                    ("overlapped", "synthesis starts with the first sentence, while the model still writes"),
                    ("serial", "each stage waits for the one before to finish"),
                ]),
                Toml("\"overlapped\""),
                "How the stages are arranged.",
            ),
            key(
                "reference.stt_slots",
                Int(0, 1_000_000),
                Toml("0"),
                "Utterances recognised at once, the others queue: this is how a real server saturates. 0: no limit.",
            ),
            key("reference.llm_slots", Int(0, 1_000_000), Toml("0"), "Replies written at once; 0: no limit."),
            key(
                "reference.tts_slots",
                Int(0, 1_000_000),
                Toml("0"),
                "Sentences synthesised at once; 0: no limit.",
            ),
            key(
                "reference.partials",
                DurationOrOff(ms(20), seconds(60)),
                Toml("\"off\""),
                "Partial transcripts at this interval while the user speaks, or `\"off\"`.",
            ),
            key(
                "reference.chunk",
                Duration(Micros(2_500), MAX_CHUNK),
                Toml("\"60ms\""),
                "Audio per reply message.",
            ),
            key(
                "reference.burst",
                Duration(ZERO, seconds(60)),
                Toml("\"200ms\""),
                "Reply audio sent at once, as fast as it is synthesised, before it is paced in real time.",
            ),
            key(
                "reference.vad_silence",
                Duration(ms(10), seconds(10)),
                Toml("\"500ms\""),
                "Server-side detection: this much silence ends a turn, and is part of every TTFA. Longer means fewer cut sentences.",
            ),
            key(
                "reference.vad_level",
                Float(-100.0, 0.0),
                Toml("-40.0"),
                "Server-side detection: RMS level above which a frame counts as speech, in dBFS.",
            ),
            key(
                "reference.vad_barge_in",
                DurationOrOff(ms(10), seconds(10)),
                Toml("\"600ms\""),
                "Server-side detection: this much uninterrupted speech during a reply stops it, or `\"off\"`. Longer means fewer coughs \
                 that stop the toy, and a slower stop when the user means it.",
            ),
            shown(
                key(
                    "reference.token",
                    Secret,
                    Unset,
                    "Bearer token that devices must show in `target.headers`. Never printed.",
                ),
                "\"${REFERENCE_TOKEN}\"",
            ),
            key(
                "reference.max_connections",
                Int(0, 1_000_000),
                Toml("0"),
                "Most connections; more are answered with HTTP status 503. 0: no limit.",
            ),
            key(
                "reference.idle_timeout",
                Duration(ms(100), DAY),
                Toml("\"2m\""),
                "Connections without a message for this long are closed, and their memory freed.",
            ),
            key(
                "reference.max_message",
                Size(KIB, 1024 * MIB),
                Toml("\"1 MiB\""),
                "Largest message accepted from a device; larger ones are answered with close code 1009.",
            ),
            key(
                "reference.max_backlog",
                Size(KIB, 1024 * MIB),
                Toml("\"256 KiB\""),
                "Reply audio that may wait for a slow device before the reply is held back.",
            ),
            key(
                "reference.write_timeout",
                DurationOrOff(ms(100), DAY),
                Toml("\"1m\""),
                "A connection is reset when its device has taken nothing from the network for this long while something waited for it, or \
                 `\"off\"`.",
            ),
            key(
                "reference.resume",
                DurationOrOff(ms(100), DAY),
                Toml("\"30s\""),
                "A session whose connection was lost without a goodbye is kept this long for its device to come back to \
                 (`session_start` with `resume`), or `\"off\"`: then it gets a new one.",
            ),
            key(
                "reference.resume_reply",
                Choice(&[
                    ("continue", "it goes on with what had not been written to the lost connection"),
                    ("replay", "it is said again from its start"),
                    ("drop", "it is dropped, and the turn ended with `turn_end`"),
                ]),
                Toml("\"continue\""),
                "What becomes of the reply of a device that was away.",
            ),
            key(
                "reference.max_parked",
                Int(1, 1_000_000),
                Toml("10000"),
                "Most sessions kept for devices that are away; above that, the one that has waited longest is given up.",
            ),
            shown(
                key(
                    "reference.idle_cut",
                    DurationOrOff(ms(100), DAY),
                    Toml("\"off\""),
                    "As a proxy does: connections on which nothing went either way for this long are cut without a goodbye, or \
                     `\"off\"`. Messages count, pings and pongs too; bytes below the WebSocket do not.",
                ),
                "\"60s\"",
            ),
            shown(
                key(
                    "reference.handshake_delay",
                    DurationOrOff(ms(1), MAX_HANDSHAKE),
                    Toml("\"off\""),
                    "Each upgrade is answered this much later, or `\"off\"`.",
                ),
                "\"300ms\"",
            ),
            key(
                "reference.pongs",
                Bool,
                Toml("true"),
                "Whether pings are answered: those of the WebSocket, and the dialect's own.",
            ),
            shown(
                key(
                    "reference.events",
                    List,
                    Toml("[]"),
                    "Trouble on a timetable, counted from the start of the run (or of `voxload serve`): `drain CODE [SHARE]`, \
                     `reset [SHARE]`, `freeze LENGTH`, `refuse SHARE [for LENGTH]`, `pongs off [for LENGTH]`, \
                     `handshake DELAY [for LENGTH]`, `silence for LENGTH`.",
                ),
                "[\"20s: drain 1012 30%\", \"40s: refuse 50% for 10s\"]",
            ),
            key("reference.threads", Int(1, 256), Toml("1"), "Threads of the server."),
            key(
                "reference.log_chunks",
                Bool,
                Toml("false"),
                "Beside the truth log, `reference-chunks.csv` says when each message of audio was read.",
            ),
            shown(
                key(
                    "reference.faults",
                    Faults,
                    Toml("{}"),
                    "What the server does wrong, each with its share of the turns (or connections): to see that a client, or voxload, \
                     copes.",
                ),
                "{ garbage = \"1%\", close_mid_reply = 0.005 }",
            ),
        ],
    },
    Section {
        path: "reference.freeze",
        doc: "The embedded server stands still from time to time: it reads, writes and accepts nothing, and goes on afterwards as if \
              nothing had been. What a measurement makes of that shows whether it can be trusted.",
        keys: &[
            shown(
                key(
                    "reference.freeze.every",
                    DurationOrOff(ms(10), DAY),
                    Toml("\"off\""),
                    "Once in each such period, counted from the start of the run (or of `voxload serve`), at its end; or `\"off\"`.",
                ),
                "\"20s\"",
            ),
            shown(
                key(
                    "reference.freeze.length",
                    Duration(ms(1), seconds(3_600)),
                    Unset,
                    "For this long; shorter than the period.",
                ),
                "\"2s\"",
            ),
        ],
    },
    Section {
        path: "sweep",
        doc: "What `voxload sweep` varies, and how often it measures each combination. Other verbs leave it alone. Each cell lasts as \
              long as the scenario does (`fleet.duration`, `-d`).",
        keys: &[
            shown(
                key(
                    "sweep.axes",
                    Axes,
                    Toml("{}"),
                    "Keys of a scenario, each with its values: every combination is a cell of the sweep. `--axis KEY=VALUE,VALUE` adds one, \
                     or replaces the file's; an empty list takes it away. Values that change nothing in a combination (the bit rate of PCM) \
                     make no cells of their own.",
                ),
                "{ \"audio.codec\" = [\"opus\", \"pcm16\"], \"audio.chunk\" = [\"20ms\", \"60ms\", \"100ms\"] }",
            ),
            key(
                "sweep.repeat",
                Int(1, 100),
                Toml("3"),
                "Every cell is measured so often. All cells of a round have the same seed, and so the same conversations; each round has \
                 another.",
            ),
            key(
                "sweep.order",
                Choice(&[
                    (
                        "interleaved",
                        "each round measures every cell once, in an order drawn by the seed: what drifts hits all cells",
                    ),
                    ("sequential", "all rounds of a cell, then the next cell"),
                ]),
                Toml("\"interleaved\""),
                "The order of the runs.",
            ),
            shown(
                key(
                    "sweep.skip",
                    List,
                    Toml("[]"),
                    "Combinations to leave out: each a list of `key=value`, all of which must hold.",
                ),
                "[\"audio.codec=pcm16, audio.chunk=20ms\"]",
            ),
            key(
                "sweep.invalid",
                Choice(&[
                    ("skip", "combinations that no scenario may have are listed as skipped, with the reason"),
                    ("refuse", "one of them, and nothing is measured"),
                ]),
                Toml("\"skip\""),
                "What becomes of combinations that the check refuses.",
            ),
            key(
                "sweep.retries",
                Int(0, 20),
                Toml("2"),
                "A run that is INVALID is made again so often; after that its cell goes without it.",
            ),
            shown(
                key(
                    "sweep.baseline",
                    Text,
                    Unset,
                    "The cell that the others are compared with, as a list of `key=value`; the first that fits. Not set: the first cell.",
                ),
                "\"audio.codec=pcm16, audio.chunk=20ms\"",
            ),
            key(
                "sweep.capacity",
                Duration(ZERO, seconds(3_600)),
                Toml("\"0s\""),
                "After the rounds, find out how many devices one server carries at each cell (`voxload capacity`), within this time for \
                 each: `3m` is short, and enough for a server that makes tens of turns a second. The thresholds say what \"carries\" means. \
                 0: not measured. Flag: `--capacity`.",
            ),
            key(
                "sweep.max_delay",
                Duration(ZERO, seconds(60)),
                Toml("\"50ms\""),
                "What is recommended may be slower than the fastest cell by this much (mean TTFA) to save bandwidth.",
            ),
            key(
                "sweep.max_distortion",
                Float(0.0, 100.0),
                Toml("5.0"),
                "What is recommended may distort speech by so much: log-spectral distance between the fixture and what comes out of the \
                 decoder, in dB. Opus at 24 kbit/s comes to about 2, at 16 kbit/s to 3; µ-law, which has nothing above 4 kHz, to 6.",
            ),
        ],
    },
    Section {
        path: "gate",
        doc: "What thresholds do that the turns of a run do not decide: see docs/THRESHOLDS.md.",
        keys: &[
            key(
                "gate.undecided",
                Choice(&[
                    ("fail", "they fail: what was not shown does not pass"),
                    ("pass", "they pass, and reports say that they are undecided"),
                    (
                        "extend",
                        "the run goes on with the same arrivals until they are decided; at the limit they fail",
                    ),
                ]),
                Toml("\"fail\""),
                "Percentiles and rates are judged with 95 % confidence on either side (99 % with `extend`, because the run is looked at \
                 again and again); in between they are undecided.",
            ),
            key(
                "gate.extend_limit",
                Duration(seconds(1), MONTH),
                Toml("\"5m\""),
                "How much longer than planned an extended run may last.",
            ),
        ],
    },
    Section {
        path: "validity",
        doc: "When the run is INVALID (exit code 120): the generator itself was the bottleneck, and its numbers say nothing about \
              the server.",
        keys: &[
            key(
                "validity.send_lateness_p99",
                Duration(Micros(100), seconds(60)),
                Toml("\"5ms\""),
                "How late chunks are sent (99th percentile), without the time in which the socket was not writable; and how late a thread \
                 serves its timer, because what arrives is noticed as late.",
            ),
            key(
                "validity.send_lateness_max",
                Duration(Micros(100), seconds(60)),
                Toml("\"250ms\""),
                "The latest chunk.",
            ),
            key("validity.cpu", Share, Toml("0.9"), "CPU time of the harness, as a share of its cores."),
            key(
                "validity.steal",
                Share,
                Toml("0.05"),
                "CPU time taken by other guests of the same hardware.",
            ),
            key(
                "validity.probe",
                Int(0, 5),
                Toml("5"),
                "Devices of a fleet of 200 or more that have a quiet thread to themselves. If their median TTFA differs from the \
                 fleet's, the harness is what the fleet measures. 0: none.",
            ),
            key(
                "validity.probe_margin",
                Duration(Micros(100), seconds(60)),
                Toml("\"10ms\""),
                "How far the fleet's median TTFA may lie outside of the probe's 99.9 % confidence interval.",
            ),
            key(
                "validity.pressure",
                Share,
                Toml("1.0"),
                "Time in which something on this machine waited for a CPU (`some` of `/proc/pressure/cpu`). The default, everything, \
                 never objects: a server on the same cores makes pressure, and what pressure does to the run is judged by its lateness. \
                 On a machine of its own, `0.2` is a good limit.",
            ),
        ],
    },
    Section {
        path: "report",
        doc: "Which files a run writes, and where to look at it while it lasts. Other verbs write all of theirs. `result.json`, `summary.md`, `turns.csv`, `intervals.csv` and `scenario.toml` always are.",
        keys: &[
            shown(
                key(
                    "report.dir",
                    Folder,
                    Unset,
                    "The folder. When it is not set: `reports/<name>-<UTC time>`.",
                ),
                "\"reports/nightly\"",
            ),
            key(
                "report.html",
                Bool,
                Toml("true"),
                "`report.html` (one file, for people) and `charts/*.svg`.",
            ),
            key(
                "report.png",
                Bool,
                Toml("true"),
                "`charts/*.png`, too: the same charts as pictures. Only with `report.html`; a second of CPU time or less, after the run.",
            ),
            key(
                "report.histograms",
                Bool,
                Toml("true"),
                "`histograms.hlog` and `percentiles/*.hgrm`, for HdrHistogram's tools.",
            ),
            key("report.junit", Bool, Toml("true"), "`junit.xml`, one test case per threshold, for CI."),
            key(
                "report.interval",
                Duration(ms(100), seconds(3_600)),
                Toml("\"1s\""),
                "Width of the intervals in `intervals.csv` and in the charts over time.",
            ),
            shown(
                key(
                    "report.prometheus",
                    Text,
                    Unset,
                    "Serve metrics for Prometheus on this address and port while a run lasts (docs/LIVE.md); port 0 takes any free one.",
                ),
                "\"127.0.0.1:9464\"",
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn paths_are_unique_and_where_they_belong() {
        let mut seen = HashSet::new();
        let mut variables = HashSet::new();
        for section in SECTIONS {
            for key in section.keys {
                assert!(seen.insert(key.path), "{} twice", key.path);
                assert!(variables.insert(key.variable()), "{} twice", key.variable());
                assert_eq!(key.section(), section.path);
                assert!(key.doc.ends_with('.'), "{} has no documentation", key.path);
            }
        }
    }

    #[test]
    fn defaults_that_depend_cover_every_choice() {
        for key in all() {
            if let By(on, values) = key.default {
                let named: Vec<_> = match find(on).map(|k| k.kind) {
                    Some(Choice(choices)) => choices.iter().map(|(name, _)| *name).collect(),
                    // What described ones say comes before this default.
                    Some(Dialect) => crate::dialect::Dialect::names().take(2).collect(),
                    _ => panic!("{} depends on {on}, which is not a choice", key.path),
                };
                let covered: Vec<_> = values.iter().map(|(name, _)| *name).collect();
                assert_eq!(named, covered, "{}", key.path);
            }
        }
    }

    #[test]
    fn choices_are_the_names_that_the_types_know() {
        let names = |path: &str| match find(path).map(|k| k.kind) {
            Some(Choice(choices)) => choices.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            other => panic!("{path}: {other:?}"),
        };
        assert!(names("audio.codec").iter().all(|c| crate::audio::Codec::from_name(c).is_some()));
    }
}
