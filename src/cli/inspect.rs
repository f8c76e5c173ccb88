//! `voxload inspect`.

use std::fmt::Write as _;

use serde::Serialize;

mod faults;

use super::scenario_args::ScenarioArgs;
use crate::drive::prepare;
use crate::exit::{Exit, Failure};
use crate::gate::{Rule, Threshold, binomial};
use crate::scenario::estimate::{DEVICE_MEMORY, Estimate, Speech, Wire};
use crate::scenario::units::format_duration;
use crate::scenario::{Arrivals, EndOfTurn, Flush, Part, Scenario, Undecided, reference};
use crate::time::Micros;
use crate::transport::source::{self, Sources};

/// Check a scenario and print the plan.
///
/// Reports everything that is wrong at once, with line and column. If nothing is: the devices over time, the turns to
/// expect, bandwidth, descriptors and memory, and what to be wary of. Nothing is sent to any server.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// Print the effective scenario as TOML: every key, with where its value comes from, without secrets.
    #[arg(long, group = "what")]
    effective: bool,

    /// Print the plan as JSON.
    #[arg(long, group = "what")]
    json: bool,

    /// Print what the seed has planned against each device: faults with their times, and the waits before it comes back.
    #[arg(long, group = "what")]
    faults: bool,

    /// With --faults: only this device, counted from 0.
    #[arg(long, value_name = "N", requires = "faults")]
    device: Option<u32>,

    /// With --faults: only the devices of this shard, as `voxload run --shard` plays them.
    #[arg(long, value_name = "I/N", requires = "faults")]
    shard: Option<Part>,

    /// Print the JSON Schema of scenario files, for editors.
    #[arg(long, group = "what", conflicts_with = "scenario")]
    print_schema: bool,

    /// Print the reference of all keys as Markdown (docs/scenario.md).
    #[arg(long, group = "what", conflicts_with = "scenario")]
    print_reference: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.print_schema {
        super::print(&reference::json_schema())?;
        return Ok(Exit::Good);
    }
    if args.print_reference {
        super::print(&reference::markdown())?;
        return Ok(Exit::Good);
    }
    let part = args.shard.unwrap_or_default();
    let scenario = Scenario { part, ..args.scenario.load()? };
    if args.effective {
        super::print(&scenario.effective)?;
        return Ok(Exit::Good);
    }
    if args.faults {
        let text = faults::text(&scenario, args.device).ok_or_else(|| {
            let most = scenario.fleet.most();
            Failure::usage(match args.device {
                Some(device) if device < most => format!("--device {device} is not of shard {part}"),
                Some(device) => {
                    format!("--device {device}: no such device; {most} devices are counted from 0")
                }
                None => format!("shard {part} has no device: there are {most}"),
            })
        })?;
        super::print(&text)?;
        return Ok(Exit::Good);
    }
    let plan = Plan::of(&scenario, &Limits::of_machine());
    if args.json {
        let text = serde_json::to_string_pretty(&plan)
            .map_err(|e| Failure::usage(format!("the plan cannot be printed as JSON: {e}")))?;
        super::print(&(text + "\n"))?;
    } else {
        super::print(&plan.text(&scenario))?;
    }
    Ok(Exit::Good)
}

/// What this machine allows. `None`: unlimited, or not known.
#[derive(Clone, Copy, Debug, Serialize)]
struct Limits {
    open_files_soft: Option<u64>,
    open_files_hard: Option<u64>,
    local_ports: Option<u64>,
}

impl Limits {
    fn of_machine() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            open_files_soft: files.current,
            open_files_hard: files.maximum,
            local_ports: source::local_ports(),
        }
    }
}

/// The number of devices at an instant; linear in between.
#[derive(Debug, Serialize)]
struct Point {
    at_us: i64,
    devices: u32,
}

/// Bandwidth of one direction, headers of WebSocket, TLS, TCP and IP included.
#[derive(Debug, Serialize)]
struct Bandwidth {
    message_bytes: f64,
    messages_per_s: f64,
    /// One device, while it speaks or is spoken to.
    device_kbps: f64,
    /// One device, over whole turns.
    device_average_kbps: f64,
    /// All devices, over whole turns.
    fleet_average_kbps: f64,
}

impl Bandwidth {
    fn of(wire: &Wire, share: f64, devices: u32) -> Self {
        let average = wire.kbps() * share;
        Self {
            message_bytes: wire.bytes,
            messages_per_s: wire.messages_per_s,
            device_kbps: wire.kbps(),
            device_average_kbps: average,
            fleet_average_kbps: average * f64::from(devices),
        }
    }
}

/// What a scenario will do, and cost.
#[derive(Debug, Serialize)]
struct Plan {
    name: String,
    origin: String,
    seed: u64,
    target: String,
    dialect: String,
    devices: u32,
    duration_us: i64,
    warmup_us: i64,
    devices_over_time: Vec<Point>,
    turn_us: i64,
    turns_expected: u64,
    turns_counted: u64,
    up: Bandwidth,
    down: Bandwidth,
    descriptors: u64,
    /// Of connections that have ended, for a minute each.
    ended_ports: u64,
    /// Addresses that devices connect from; empty: the kernel chooses.
    source_ips: String,
    source_addresses: u64,
    memory_bytes: u64,
    limits: Limits,
    thresholds: Vec<String>,
    warnings: Vec<String>,
}

impl Plan {
    fn of(s: &Scenario, limits: &Limits) -> Self {
        let e = Estimate::of(s, Speech::default());
        let sources = sources(s, e.devices, limits);
        Self {
            name: s.name.clone(),
            origin: s.origin.clone(),
            seed: s.seed,
            target: s.target.shown.clone(),
            dialect: s.target.dialect.capabilities().name.to_string(),
            devices: e.devices,
            duration_us: s.fleet.duration.0,
            warmup_us: s.fleet.warmup.0,
            devices_over_time: e
                .shape
                .iter()
                .map(|(at, devices)| Point { at_us: at.0, devices: *devices })
                .collect(),
            turn_us: e.turn.0,
            turns_expected: e.turns,
            turns_counted: e.counted,
            up: Bandwidth::of(&e.up, e.sending, e.devices),
            down: Bandwidth::of(&e.down, e.receiving, e.devices),
            descriptors: e.descriptors,
            ended_ports: e.ended_ports,
            source_ips: sources.text(),
            source_addresses: sources.count().max(1),
            memory_bytes: e.memory,
            limits: *limits,
            thresholds: s.thresholds.clone(),
            warnings: warnings(s, &e, limits, &sources),
        }
    }

    /// For people.
    fn text(&self, s: &Scenario) -> String {
        let mut text = String::new();
        let fleet = &s.fleet;
        let a = &s.audio.settings;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} ({}), seed {}: no problems\n", self.name, self.origin, self.seed);
        let _ = writeln!(text, "target    {}, dialect {}", self.target, self.dialect);
        let how = match fleet.arrivals {
            Arrivals::Closed => "closed loop".to_owned(),
            Arrivals::Open { rate, poisson } => {
                let spacing = if poisson { "Poisson" } else { "evenly" };
                format!("open arrivals, {rate} sessions/s {spacing}, at most this many at once")
            }
        };
        let _ = writeln!(
            text,
            "fleet     {} devices for {}, {how}; warm-up {}, graceful stop {}",
            grouped(u64::from(self.devices)),
            format_duration(fleet.duration),
            format_duration(fleet.warmup),
            format_duration(fleet.graceful_stop),
        );
        for point in &self.devices_over_time {
            let _ = writeln!(
                text,
                "            at {:>8}  {:>9}",
                format_duration(Micros(point.at_us)),
                grouped(u64::from(point.devices))
            );
        }
        let bitrate =
            if a.bitrate > 0 { format!(" {} kbit/s", f64::from(a.bitrate) / 1e3) } else { String::new() };
        let _ = writeln!(
            text,
            "audio     {} {} Hz{bitrate}, {} a message in frames of {}; replies {} {} Hz",
            a.format.codec.name(),
            a.format.sample_rate,
            format_duration(a.chunk),
            format_duration(a.frame),
            s.audio.down.codec.name(),
            s.audio.down.sample_rate,
        );
        let end = match (s.turn.end, s.turn.flush) {
            (EndOfTurn::Vad, _) => "the server finds the end of speech",
            (EndOfTurn::Signal, Flush::Frame) => "a button ends the turn, the last chunk at the next frame",
            (EndOfTurn::Signal, Flush::Chunk) => "a button ends the turn, the last chunk when it is full",
        };
        let count = s.turn.count.map_or_else(|| "until the end".to_owned(), |n| format!("{n} each"));
        let connection = match s.session.turns {
            None => String::new(),
            Some(1) => "; a connection for each".to_owned(),
            Some(n) => format!("; {n} on a connection"),
        };
        let _ = writeln!(text, "turns     {count}; {end}; think {}{connection}", s.turn.think);
        let assumed = Speech::default();
        let _ = writeln!(
            text,
            "expected  ≈ {} turns, {} of them counted, {} each (assumed: utterances of {}, replies of {})",
            grouped(self.turns_expected),
            grouped(self.turns_counted),
            Micros(self.turn_us),
            format_duration(assumed.utterance),
            format_duration(assumed.reply),
        );
        for (i, threshold) in self.thresholds.iter().enumerate() {
            let _ = writeln!(text, "{}{threshold}", if i == 0 { "must hold " } else { "          " });
        }
        let _ = writeln!(
            text,
            "\nbandwidth, kbit/s with all headers         up      down   (replies assumed at the same bit rate)"
        );
        for (label, pick) in [
            ("one device, while there is audio", (|b| b.device_kbps) as fn(&Bandwidth) -> f64),
            ("one device, on average", |b| b.device_average_kbps),
            ("all devices, on average", |b| b.fleet_average_kbps),
        ] {
            let (up, down) = (pick(&self.up), pick(&self.down));
            let _ = writeln!(text, "  {label:36} {:>8}  {:>8}", kbps(up), kbps(down));
        }
        let limit = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), grouped);
        let _ = writeln!(
            text,
            "\nneeds     {} descriptors (limit: soft {}, hard {})",
            grouped(self.descriptors),
            limit(self.limits.open_files_soft),
            limit(self.limits.open_files_hard),
        );
        if let Some(ports) = self.limits.local_ports {
            let _ = writeln!(
                text,
                "          {} local ports (an address of this machine has {} towards a server)",
                grouped(u64::from(self.devices)),
                grouped(ports)
            );
            if self.ended_ports > 0 {
                let _ = writeln!(
                    text,
                    "          ≈ {} more of connections that have ended: each is kept for a minute",
                    grouped(self.ended_ports)
                );
            }
        }
        if self.source_addresses > 1 {
            let why = if s.target.sources.is_empty() {
                ", by itself: the server is on loopback, and one address has too few ports for comfort"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "          {} source addresses: {}{why}",
                grouped(self.source_addresses),
                self.source_ips
            );
        }
        let _ = writeln!(
            text,
            "          ≈ {} MiB of memory (budget: {} KiB a device beyond the base, without TLS)",
            self.memory_bytes >> 20,
            DEVICE_MEMORY >> 10,
        );
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }
}

/// Where devices would connect from. What a host name stands for is not looked up.
fn sources(s: &Scenario, devices: u32, limits: &Limits) -> Sources {
    if s.target.sources.is_empty() {
        source::of_fleet(devices, limits.local_ports, s.target.on_loopback())
    } else {
        s.target.sources.clone()
    }
}

/// What to be wary of: what was seen, why it matters, what to try.
fn warnings(s: &Scenario, e: &Estimate, limits: &Limits, sources: &Sources) -> Vec<String> {
    let mut all = Vec::new();
    let embedded = s.target.url.is_none();
    if s.target.insecure {
        all.push(
            "certificates are NOT checked (target.insecure): whoever answers is believed. Give target.ca instead"
                .to_owned(),
        );
    }
    if let Some(hard) = limits.open_files_hard.filter(|hard| *hard < e.descriptors) {
        all.push(format!(
            "{} descriptors are needed and {} allowed: raise the hard limit (`ulimit -Hn {}`, as root), or lower --devices",
            grouped(e.descriptors),
            grouped(hard),
            e.descriptors
        ));
    }
    let room = limits.local_ports.map_or(u64::MAX, |ports| sources.room(ports, 1));
    if room < u64::from(e.devices) + e.ended_ports {
        let ended = match e.ended_ports {
            0 => String::new(),
            n => format!(", about {} connections that ended within the last minute", grouped(n)),
        };
        all.push(format!(
            "{} devices{ended}, and {} local ports towards a server: connect from more addresses (--source-ip LIST), widen \
             net.ipv4.ip_local_port_range, or lower --devices",
            grouped(u64::from(e.devices)),
            grouped(room)
        ));
    }
    if let Some((ip, e)) = sources.stranger(e.devices) {
        all.push(prepare::not_ours(ip, &e).replace("\n  ", ": "));
    }
    if s.fleet.arrivals == Arrivals::Closed && e.devices > 5_000 {
        all.push(format!(
            "{} devices in a closed loop: when the server slows down, so does the load. `fleet.arrivals = \"open\"` \
             keeps arriving as customers do",
            grouped(u64::from(e.devices))
        ));
    }
    for expression in &s.thresholds {
        let Ok(threshold) = Threshold::parse(expression) else {
            continue;
        };
        let Some(allowance) = threshold.allowance() else {
            continue;
        };
        let rule = Rule::of(&s.gate);
        let needed = binomial::fewest(allowance.share, rule.miss);
        if e.counted < needed {
            let what = match s.gate.undecided {
                Undecided::Extend => "the run goes on for longer than planned".to_owned(),
                _ => "run longer (-d), with more devices (-u), or with shorter turn.think".to_owned(),
            };
            all.push(format!(
                "`{expression}` needs at least {} turns to say anything at {} %, about {} are expected: {what}",
                grouped(needed),
                ((1.0 - rule.miss) * 100.0).round(),
                grouped(e.counted)
            ));
        }
    }
    if s.audio.settings.chunk > Micros::from_millis(120) {
        all.push(format!(
            "chunks of {}: audio waits for its chunk to fill, which a listener notices. 20–100 ms are common",
            format_duration(s.audio.settings.chunk)
        ));
    }
    if embedded && s.reference.token.is_some() {
        let shows = s.target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if !shows {
            all.push(
                "reference.token is set and target.headers has no Authorization: every connection will be refused"
                    .to_owned(),
            );
        }
    }
    if embedded && !s.reference.events.is_empty() {
        let events: Vec<_> = s.reference.events.iter().map(ToString::to_string).collect();
        all.push(format!("the embedded server makes trouble (reference.events): {}", events.join("; ")));
    }
    if embedded && !s.reference.faults.is_empty() {
        all.push("the embedded server misbehaves on purpose (reference.faults): turns will fail".to_owned());
    }
    all.extend(faults::too_late(s));
    all
}

/// `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

fn kbps(x: f64) -> String {
    if x < 10.0 { format!("{x:.1}") } else { grouped(x.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Environment, Override, Source, load_in};

    const LIMITS: Limits =
        Limits { open_files_soft: Some(1_024), open_files_hard: Some(4_096), local_ports: Some(28_232) };

    fn plan(name: &str, set: &[(&str, &str)]) -> String {
        plan_within(name, set, &LIMITS)
    }

    fn plan_within(name: &str, set: &[(&str, &str)], limits: &Limits) -> String {
        let overrides: Vec<_> = set
            .iter()
            .map(|(key, value)| Override {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                flag: "--set",
                append: false,
            })
            .collect();
        let s = load_in(&Source::find(name).unwrap(), &overrides, &Environment::default())
            .unwrap_or_else(|d| panic!("{d}"));
        Plan::of(&s, limits).text(&s)
    }

    #[test]
    fn the_quickstart_plan() {
        insta::assert_snapshot!(plan("quickstart", &[]));
    }

    #[test]
    fn shipped_scenarios_are_long_enough_for_their_thresholds() {
        let ample = Limits { open_files_hard: Some(20_000), ..LIMITS };
        for (name, _) in crate::scenario::SHIPPED {
            let text = plan_within(name, &[], &ample);
            // That many devices cannot be but in a closed loop: each must come back to its conversation.
            let wary = |l: &&str| l.starts_with("warning:") && !l.contains("in a closed loop");
            assert_eq!(text.lines().find(wary), None, "{name}: {text}");
        }
    }

    #[test]
    fn what_to_be_wary_of() {
        let text = plan(
            "secure",
            &[
                ("target.secure", "false"),
                ("target.url", "wss://h/p?key=hush"),
                ("target.insecure", "true"),
                ("fleet.devices", "30000"),
                ("thresholds", "ttfa:p(99.999)<1s"),
                ("audio.chunk", "200ms"),
            ],
        );
        assert!(!text.contains("hush"), "{text}");
        let remote = ("target.url", "wss://h/p");
        let plain = ("target.secure", "false");
        let toys = |devices: &str| {
            plan("secure", &[plain, remote, ("fleet.devices", devices), ("session.turns", "1")])
        };
        let (few, many) = (toys("500"), toys("10000"));
        let wary = |l: &str| l.starts_with("warning") && l.contains("connections that ended");
        assert!(few.contains("a connection for each") && !few.lines().any(wary), "{few}");
        assert!(many.lines().any(wary), "{many}");
        let warnings: Vec<_> = text.lines().filter(|l| l.starts_with("warning")).collect();
        insta::assert_snapshot!(warnings.join("\n"));
    }
}
