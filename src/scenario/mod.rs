//! Scenarios: what a run does, checked and resolved.
//!
//! ```text
//! file, VOXLOAD_…, --set ─▶ file.rs ─▶ value.rs ─▶ Settings ─▶ check.rs ─▶ Scenario, or every Diagnostic at once
//!                                          ▲                      └─▶ effective.rs ─▶ the scenario as it was run
//!                                       keys.rs ─▶ reference.rs: JSON Schema, docs/scenario.md, `voxload init`
//! ```
//!
//! `keys.rs` is the one table of keys (type, range, default, documentation); everything else that names keys is made
//! from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audio::{AudioFormat, CodecSettings};
use crate::dialect::{Dialect, Encoding};
use crate::fault::FaultSpec;
use crate::network::NetworkPlan;
use crate::seed::Seed;
use crate::time::Micros;
use crate::transport::source::Sources;

pub mod arrival;
mod axes;
mod check;
mod devices;
mod diagnostic;
mod dialect;
mod dist;
mod effective;
pub mod estimate;
mod file;
pub mod keys;
mod mask;
mod network;
mod part;
mod presets;
pub mod reference;
mod secret;
mod server;
mod source;
mod template;
mod trouble;
pub mod units;
mod value;

pub use axes::{Axis, Conditions, SweepOrder, SweepPlan, shown as shown_value};
pub use devices::DeviceValues;
pub(crate) use diagnostic::Place;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use dist::Dist;
pub use file::Environment;
pub use mask::Mask;
pub use part::Part;
pub use secret::{Secret, Secrets};
pub use server::{Fault, Freeze, Pipeline, ReferencePlan, ResumeReply};
pub use source::{BUILT_IN, SHIPPED, Source};
pub use trouble::{ServerEvent, Trouble};
pub(crate) use value::type_name;

/// A value that outranks the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key, for example `fleet.devices`; `target.headers.X-Device` is one entry of a table.
    pub key: String,
    /// The value as it was typed.
    pub value: String,
    /// The flag, for messages: `--set`, `--devices`, …
    pub flag: &'static str,
    /// True: adds to a list instead of replacing it.
    pub append: bool,
}

/// Reads, checks and resolves a scenario, in the environment of the process.
pub fn load(source: &Source, overrides: &[Override]) -> Result<Scenario, Diagnostics> {
    load_in(source, overrides, &Environment::of_process())
}

/// Reads, checks and resolves a scenario. Precedence: override, environment, file, default.
pub fn load_in(
    source: &Source,
    overrides: &[Override],
    environment: &Environment,
) -> Result<Scenario, Diagnostics> {
    let mut out = Diagnostics::default();
    let mut settings = file::Settings::empty();
    let mut layers = file::Layers { settings: &mut settings, out: &mut out, environment };
    layers.file(&source.origin, &source.text);
    layers.environment();
    overrides.iter().for_each(|o| layers.flag(o));
    let check = check::Check { settings: &mut settings, out: &mut out, environment, base: &source.base };
    let mut scenario = check.scenario(&source.origin, &source.name);
    if !out.is_empty() {
        out.sort();
        return Err(out);
    }
    scenario.effective = effective::effective(&settings, &scenario.name);
    Ok(scenario)
}

/// A run, fully resolved: defaults filled in, overrides applied, every value in range.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name: titles the report and names its folder.
    pub name: String,
    /// Decides arrivals, think times, fixtures and faults.
    pub seed: u64,
    /// Where the file came from, for messages; `<built-in>` for shipped scenarios.
    pub origin: String,
    /// The effective scenario as TOML: defaults and overrides in, secrets out.
    pub effective: String,
    /// The server under test.
    pub target: Target,
    /// How many devices, when.
    pub fleet: Fleet,
    /// What they say, and how it is encoded.
    pub audio: AudioPlan,
    /// How a conversation goes.
    pub turn: TurnPlan,
    /// How a connection is kept.
    pub session: SessionPlan,
    /// What happens to devices on purpose.
    pub faults: Arc<[FaultSpec]>,
    /// The device's loudspeaker.
    pub playback: PlaybackPlan,
    /// Which device has which link; no groups: none has one.
    pub network: NetworkPlan,
    /// The embedded reference server; used when `target.url` is not set, and by `voxload serve`.
    pub reference: ReferencePlan,
    /// Threshold expressions, for example `ttfa:p(95)<300ms`.
    pub thresholds: Vec<String>,
    /// What thresholds do to the course of a run.
    pub gate: GatePlan,
    /// When the run is INVALID.
    pub validity: ValidityLimits,
    /// Which report files to write.
    pub report: ReportPlan,
    /// What `voxload sweep` varies.
    pub sweep: SweepPlan,
    /// Which part of the fleet this process plays; no key, because it differs between the processes of one run.
    pub part: Part,
}

impl Scenario {
    /// Most devices at any time that this process plays.
    pub fn most(&self) -> u32 {
        self.part.share(self.fleet.most())
    }

    /// The stays of the devices that this process plays, by arrival. `fleet`: the scenario's own, or the same for longer.
    pub fn stays(&self, fleet: &Fleet) -> impl Iterator<Item = arrival::Stay> + Send + 'static {
        let part = self.part;
        arrival::plan(fleet, Seed(self.seed)).filter(move |stay| part.has(stay.device))
    }

    /// What must not be shown of a conversation, wherever it turns up.
    pub fn secrets(&self) -> Secrets {
        Secrets::new(self)
    }
}

/// The server under test.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ws://` or `wss://`; may hold `{placeholders}`. `None`: the embedded reference server. Secret, because it may
    /// carry a token: print [`Target::shown`].
    pub url: Option<Secret>,
    /// The URL as it may be printed: no user info, no query values.
    pub shown: String,
    /// What the server speaks.
    pub dialect: Dialect,
    /// What devices show, where the dialect says how.
    pub token: Option<Secret>,
    /// Extra headers of the upgrade request; values may hold `{placeholders}`.
    pub headers: Vec<(String, Secret)>,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of the certificate authority to trust, besides the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of a client certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// With the embedded server: speak wss, with a certificate made on the spot.
    pub secure: bool,
    /// Where devices connect from; none: decided when it is known where they connect to.
    pub sources: Sources,
    /// Values per device for the placeholders.
    pub values: Arc<DeviceValues>,
}

impl Target {
    /// True when the server is on IPv4 loopback, as far as the URL tells.
    pub fn on_loopback(&self) -> bool {
        let host = self.url.as_ref().map_or("127.0.0.1", |url| check::url_host(url.reveal()));
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
    }
}

/// What thresholds do to the course of a run.
#[derive(Clone, Debug)]
pub struct GatePlan {
    /// What becomes of thresholds that are undecided.
    pub undecided: Undecided,
    /// With [`Undecided::Extend`]: how much longer than planned the run may last.
    pub extend_limit: Micros,
    /// Thresholds that stop the run.
    pub aborts: Vec<Abort>,
}

/// What becomes of a threshold that the turns of a run do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// It has failed.
    Fail,
    /// It has held.
    Pass,
    /// The run goes on until it is decided; at the limit it has failed.
    Extend,
}

impl Undecided {
    /// As written in scenarios and in `result.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pass => "pass",
            Self::Extend => "extend",
        }
    }
}

/// A threshold that stops the run when it has certainly failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Its index among the thresholds.
    pub threshold: usize,
    /// From when on, after warm-up.
    pub delay: Micros,
}

/// How many devices, when.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Most devices at once.
    pub devices: u32,
    /// Load is applied for this long, ramp and warm-up included.
    pub duration: Micros,
    /// Devices arrive evenly over this time.
    pub ramp: Micros,
    /// Turns that start within this time from the start are not counted.
    pub warmup: Micros,
    /// How long turns that have begun may take to end after `duration`.
    pub graceful_stop: Micros,
    /// Piecewise linear number of devices over time; empty: the ramp, then `devices`.
    pub stages: Vec<Stage>,
    /// Closed loop, or arrivals at a rate.
    pub arrivals: Arrivals,
    /// When devices send within a chunk period.
    pub phase: Phase,
}

impl Fleet {
    /// The same for longer: whoever is there at the end stays, and whoever arrives goes on arriving.
    #[must_use]
    pub fn extended(&self, by: Micros) -> Self {
        let mut longer = Self { duration: self.duration.saturating_add(by), ..self.clone() };
        if let Some(last) = self.stages.last().filter(|_| by > Micros::ZERO) {
            longer.stages.push(Stage { duration: by, devices: last.devices });
        }
        longer
    }

    /// Most devices at any time, in all processes.
    pub fn most(&self) -> u32 {
        self.stages.iter().map(|s| s.devices).max().unwrap_or(self.devices)
    }
}

/// One stage: within `duration`, go linearly to `devices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How long it takes.
    pub duration: Micros,
    /// The number of devices at its end.
    pub devices: u32,
}

/// When devices send within a chunk period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Each at its own instants, drawn by the seed.
    Spread,
    /// All at the same instants.
    Lockstep,
}

/// When devices come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A fixed fleet: each device starts its next turn when its reply has been played and its think time is over.
    Closed,
    /// Sessions arrive at a rate, whatever the server does, and leave after `turn.count` turns. Arrivals that find
    /// `fleet.devices` sessions open are missed turns.
    Open {
        /// Sessions per second.
        rate: f64,
        /// Poisson arrivals; otherwise evenly spaced.
        poisson: bool,
    },
}

/// What devices say, and how it is encoded.
#[derive(Clone, Debug)]
pub struct AudioPlan {
    /// Names of shipped fixtures, or paths of WAV files (relative to the scenario file). Empty: all shipped utterances.
    pub fixtures: Vec<String>,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The codec and its settings.
    pub settings: CodecSettings,
    /// Lower bit rates, highest first, that a device may step down to; empty: none.
    pub adaptive: Vec<u32>,
    /// What is asked of the server.
    pub down: AudioFormat,
    /// Binary frames, or base64 in JSON.
    pub encoding: Encoding,
}

/// Who finds the end of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndOfTurn {
    /// The device says so: a talk button.
    Signal,
    /// The server finds it, in silence that the device keeps streaming.
    Vad,
}

/// What happens to a part-filled chunk when the button is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// It goes at the next codec-frame boundary.
    Frame,
    /// It goes when the whole chunk has passed.
    Chunk,
}

/// How a conversation goes.
#[derive(Clone, Debug)]
pub struct TurnPlan {
    /// Turns per device; `None`: until the run ends.
    pub count: Option<u32>,
    /// From the end of a reply's playback to the next utterance.
    pub think: Dist,
    /// Who finds the end of speech.
    pub end: EndOfTurn,
    /// What the last chunk of a turn waits for.
    pub flush: Flush,
    /// From the end of speech to the first audio.
    pub timeout: Micros,
    /// Longest silence in the middle of a reply.
    pub gap_timeout: Micros,
    /// The user speaks over the reply.
    pub barge_in: Option<BargeInPlan>,
    /// The user coughs or hums during the reply.
    pub backchannel: Option<BackchannelPlan>,
}

/// The user speaks over the reply.
#[derive(Clone, Debug)]
pub struct BargeInPlan {
    /// Share of the turns.
    pub share: f64,
    /// From the first audible sample of the reply to the interruption.
    pub after: Dist,
}

/// The user coughs or hums during the reply, which must not stop it.
#[derive(Clone, Debug)]
pub struct BackchannelPlan {
    /// Share of the turns.
    pub share: f64,
    /// From the first audible sample of the reply to the sound.
    pub after: Dist,
    /// Fixtures to use.
    pub sounds: Vec<String>,
}

/// How a connection is kept.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    /// TCP, TLS and upgrade together.
    pub connect_timeout: Micros,
    /// Heartbeats at this interval; `None`: none.
    pub keep_alive: Option<Micros>,
    /// A connection whose heartbeat is not answered within this time is lost.
    pub keep_alive_timeout: Micros,
    /// Largest message accepted, bytes.
    pub max_message: u32,
    /// How long a device waits before it connects again.
    pub reconnect: Reconnect,
    /// The limit of the first wait.
    pub reconnect_base: Micros,
    /// The limit grows no further.
    pub reconnect_cap: Micros,
    /// A connection that was open for this long makes the next attempt the first again.
    pub reconnect_reset: Micros,
    /// Turns on one connection, after which the device hangs up until its next one; `None`: it stays connected.
    pub turns: Option<u32>,
    /// After a loss, ask for the session that there was.
    pub resume: bool,
    /// How much speech is kept while there is no connection; zero: none.
    pub offline_limit: Micros,
    /// Locale given in the session's opening.
    pub locale: String,
    /// Voice asked for.
    pub voice: String,
}

/// How long a device waits before it connects again; attempts count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// A random time up to min(cap, base · 2ⁿ).
    FullJitter,
    /// min(cap, base · 1.6ⁿ), give or take 20 %, as gRPC does.
    Grpc,
    /// Always the base.
    Fixed,
    /// It stays away.
    None,
}

/// The device's loudspeaker.
#[derive(Clone, Copy, Debug)]
pub struct PlaybackPlan {
    /// How much audio is buffered before playback starts.
    pub prebuffer: Micros,
    /// A turn whose stalled share exceeds this fails.
    pub max_stall_ratio: f64,
}

/// When the run is INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidityLimits {
    /// Send lateness, p99, without the time in which the socket was not writable; and lag of a thread's timer, p99.
    pub send_lateness_p99: Micros,
    /// Send lateness, worst.
    pub send_lateness_max: Micros,
    /// CPU of the harness, share of its cores.
    pub cpu: f64,
    /// CPU steal, share.
    pub steal: f64,
    /// Devices of the probe.
    pub probe: u32,
    /// How far the fleet's median TTFA may be from the probe's.
    pub probe_margin: Micros,
    /// CPU pressure, share of the time; 1: never objects.
    pub pressure: f64,
}

impl ValidityLimits {
    /// Those of a scenario that says nothing about them.
    pub fn defaults() -> Self {
        let nothing = Source::inline("defaults", "");
        match load_in(&nothing, &[], &Environment::default()) {
            Ok(scenario) => scenario.validity,
            // Cannot be: a test holds it to that. Then every limit that somebody set counts as loosened.
            Err(_) => Self {
                send_lateness_p99: Micros::ZERO,
                send_lateness_max: Micros::ZERO,
                cpu: 0.0,
                steal: 0.0,
                pressure: 0.0,
                probe: 0,
                probe_margin: Micros::ZERO,
            },
        }
    }
}

/// Which report files to write; `result.json`, `turns.csv`, `intervals.csv` and `scenario.toml` always are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPlan {
    /// Where; `None`: `reports/<name>-<UTC time>`.
    pub dir: Option<PathBuf>,
    /// `report.html` and `charts/`.
    pub html: bool,
    /// `charts/*.png` beside the drawings.
    pub png: bool,
    /// `histograms.hlog` and `percentiles/`.
    pub histograms: bool,
    /// `junit.xml`.
    pub junit: bool,
    /// Width of an interval.
    pub interval: Micros,
    /// Where metrics are served while a run lasts.
    pub prometheus: Option<SocketAddr>,
}

#[cfg(test)]
mod tests;
