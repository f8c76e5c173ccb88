//! What a scenario will cost, computed before it runs: bytes on the wire, turns, descriptors.

use super::{Arrivals, EndOfTurn, Scenario, Stage};
use crate::audio::{Chunk, Codec, CodecSettings};
use crate::dialect::{Dialect, Encoding};
use crate::time::Micros;

/// Payload of a full TCP segment on an Ethernet path.
const SEGMENT: f64 = 1_460.0;
/// TCP header without options, and IPv4.
const TCP_IP: f64 = 40.0;
/// A TLS 1.3 record: header, content type and authentication tag.
const TLS: f64 = 22.0;

/// What one direction of audio costs while it flows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// Bytes of a message's payload.
    pub payload: f64,
    /// Bytes of a message with all its headers.
    pub bytes: f64,
    /// Messages per second.
    pub messages_per_s: f64,
}

impl Wire {
    /// Thousand bits per second.
    pub fn kbps(&self) -> f64 {
        self.bytes * self.messages_per_s * 8.0 / 1_000.0
    }

    /// Audio from a device. `tls` as on wss.
    pub fn up(settings: &CodecSettings, dialect: &Dialect, encoding: Encoding, tls: bool) -> Self {
        let payload = codec_bytes(settings);
        let chunk = Chunk {
            due: Micros::ZERO,
            media: settings.chunk,
            payload: vec![0; payload.round() as usize].into(),
        };
        // The very frame that a device would send: its envelope is counted as it is.
        let framed = dialect.prepare(&chunk, encoding).frame.len() as f64;
        // A client's frames carry a masking key.
        Self::of(framed, 4.0, settings.chunk, tls)
    }

    /// Audio to a device, in chunks of `chunk`, each in a frame without an envelope.
    pub fn down(settings: &CodecSettings, chunk: Micros, tls: bool) -> Self {
        let payload = codec_bytes(&CodecSettings { chunk, ..*settings });
        Self::of(payload, 0.0, chunk, tls)
    }

    /// Messages that were counted, with their payloads, in so many seconds. `from_device`: they carry a masking key.
    pub fn counted(messages: u64, payload: u64, seconds: f64, from_device: bool, tls: bool) -> Self {
        let each = payload as f64 / (messages.max(1)) as f64;
        let mask = if from_device { 4.0 } else { 0.0 };
        Self {
            messages_per_s: messages as f64 / seconds.max(1e-9),
            ..Self::of(each, mask, Micros::from_secs(1), tls)
        }
    }

    fn of(payload: f64, mask: f64, chunk: Micros, tls: bool) -> Self {
        let websocket = mask
            + match payload {
                n if n <= 125.0 => 2.0,
                n if n <= 65_535.0 => 4.0,
                _ => 10.0,
            };
        let record = payload + websocket + if tls { TLS } else { 0.0 };
        Self {
            payload,
            bytes: record + (record / SEGMENT).ceil() * TCP_IP,
            messages_per_s: 1.0 / chunk.as_secs_f64(),
        }
    }
}

/// Codec bytes of one chunk.
fn codec_bytes(settings: &CodecSettings) -> f64 {
    let per_second = match settings.format.codec {
        Codec::Opus => f64::from(settings.bitrate) / 8.0,
        Codec::Pcm16 => f64::from(settings.format.sample_rate) * 2.0,
        Codec::Mulaw | Codec::Alaw => f64::from(settings.format.sample_rate),
    };
    per_second * settings.chunk.as_secs_f64()
}

/// How long people and servers speak: what estimates of turns assume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// Mean utterance.
    pub utterance: Micros,
    /// Mean reply.
    pub reply: Micros,
}

/// Utterances of 2 s and replies of 3 s.
impl Default for Speech {
    fn default() -> Self {
        Self { utterance: Micros::from_secs(2), reply: Micros::from_secs(3) }
    }
}

/// What a scenario will cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Most devices at once.
    pub devices: u32,
    /// The number of devices over time: piecewise linear, from the start.
    pub shape: Vec<(Micros, u32)>,
    /// One turn: utterance, wait, reply, thinking.
    pub turn: Micros,
    /// Turns in all.
    pub turns: u64,
    /// Of these: after warm-up.
    pub counted: u64,
    /// Audio up, while a device sends it.
    pub up: Wire,
    /// Audio down, while a device receives it.
    pub down: Wire,
    /// Share of the time in which a device sends.
    pub sending: f64,
    /// Share of the time in which a device receives.
    pub receiving: f64,
    /// Local ports of connections that have ended, which the kernel gives away again only after a minute.
    pub ended_ports: u64,
    /// File descriptors that the harness needs.
    pub descriptors: u64,
    /// Resident memory of the harness: base and devices, bytes.
    pub memory: u64,
}

/// Descriptors besides one per device: report files, timers, the child process.
const OTHER_DESCRIPTORS: u64 = 64;
/// How long the side that closes first keeps the port of a connection: Linux, `TCP_TIMEWAIT_LEN`.
const TIME_WAIT: Micros = Micros::from_secs(60);
/// Memory budget: of the process with its fixtures and histograms, and per device.
const BASE_MEMORY: u64 = 32 << 20;
/// Per device without TLS.
pub const DEVICE_MEMORY: u64 = 16 << 10;

impl Estimate {
    /// Of a scenario.
    pub fn of(scenario: &Scenario, speech: Speech) -> Self {
        let fleet = &scenario.fleet;
        let embedded = scenario.target.url.is_none();
        let r = &scenario.reference;
        let wait = if embedded {
            let detection = match scenario.turn.end {
                EndOfTurn::Vad => r.vad_silence,
                EndOfTurn::Signal => Micros::ZERO,
            };
            detection + r.stt.mean() + r.llm.mean() + r.tts.mean()
        } else {
            Micros::from_secs(1)
        };
        let turn = speech.utterance + wait + speech.reply + scenario.turn.think.mean();
        let shape = shape(scenario);
        let (turns, counted) = turns(scenario, &shape, turn);
        let tls = match &scenario.target.url {
            Some(url) => url.reveal().starts_with("wss"),
            None => scenario.target.secure,
        };
        let settings = &scenario.audio.settings;
        let reply = CodecSettings { format: scenario.audio.down, ..*settings };
        let down_chunk = if embedded { r.chunk } else { settings.chunk };
        let busy = match scenario.turn.end {
            // Without a button the microphone is open all the time.
            EndOfTurn::Vad => 1.0,
            EndOfTurn::Signal => speech.utterance.as_secs_f64() / turn.as_secs_f64(),
        };
        Self {
            devices: fleet.devices,
            shape,
            turn,
            turns,
            counted,
            up: Wire::up(settings, &scenario.target.dialect, scenario.audio.encoding, tls),
            down: Wire::down(&reply, down_chunk, tls),
            sending: busy,
            receiving: speech.reply.as_secs_f64() / turn.as_secs_f64(),
            ended_ports: ended_ports(scenario, turn),
            descriptors: u64::from(fleet.devices) + OTHER_DESCRIPTORS,
            memory: BASE_MEMORY + u64::from(fleet.devices) * DEVICE_MEMORY,
        }
    }
}

/// The number of devices over time. With open arrivals, the most there can be.
fn shape(scenario: &Scenario) -> Vec<(Micros, u32)> {
    let fleet = &scenario.fleet;
    let mut points = vec![(Micros::ZERO, if fleet.ramp > Micros::ZERO { 0 } else { fleet.devices })];
    if fleet.stages.is_empty() {
        points.push((fleet.ramp, fleet.devices));
        points.push((fleet.duration, fleet.devices));
    } else {
        points = vec![(Micros::ZERO, 0)];
        let mut at = Micros::ZERO;
        for Stage { duration, devices } in &fleet.stages {
            at = at.saturating_add(*duration);
            points.push((at, *devices));
        }
    }
    points.dedup();
    points
}

/// Local ports of connections that are over: where devices hang up while the run goes on, and not on loopback, where the
/// kernel reuses such ports at once (`net.ipv4.tcp_tw_reuse`, which is 2 unless somebody has changed it).
fn ended_ports(scenario: &Scenario, turn: Micros) -> u64 {
    if scenario.target.on_loopback() {
        return 0;
    }
    let connections_for = |turns: f64| scenario.session.turns.map(|n| (turns / f64::from(n)).max(1.0));
    let per_s = match scenario.fleet.arrivals {
        Arrivals::Open { rate, .. } => {
            rate * connections_for(scenario.turn.count.map_or(1.0, f64::from)).unwrap_or(1.0)
        }
        Arrivals::Closed => {
            let each = scenario.session.turns.map_or(0.0, |n| 1.0 / (f64::from(n) * turn.as_secs_f64()));
            f64::from(scenario.fleet.devices) * each
        }
    };
    (per_s * TIME_WAIT.min(scenario.fleet.duration).as_secs_f64()).round() as u64
}

/// Turns in all, and those after warm-up.
fn turns(scenario: &Scenario, shape: &[(Micros, u32)], turn: Micros) -> (u64, u64) {
    let (duration, warmup) = (scenario.fleet.duration, scenario.fleet.warmup);
    let per_device = scenario.turn.count.map(f64::from);
    if let Arrivals::Open { rate, .. } = scenario.fleet.arrivals {
        let sessions = |t: Micros| rate * t.as_secs_f64() * per_device.unwrap_or(1.0);
        let all = sessions(duration);
        return (all.round() as u64, sessions(duration - warmup).round() as u64);
    }
    let in_device_seconds = |from: Micros| device_seconds(shape, from) / turn.as_secs_f64();
    let most = per_device.map_or(f64::INFINITY, |n| n * f64::from(scenario.fleet.devices));
    let all = in_device_seconds(Micros::ZERO).min(most);
    let before = in_device_seconds(Micros::ZERO) - in_device_seconds(warmup);
    (all.round() as u64, (all - before).max(0.0).round() as u64)
}

/// The area under the shape from an instant on.
fn device_seconds(shape: &[(Micros, u32)], from: Micros) -> f64 {
    shape
        .windows(2)
        .filter_map(|pair| {
            let [(t0, d0), (t1, d1)] = pair else { return None };
            let width = (*t1 - *t0).as_secs_f64();
            let start = (*t0).max(from).min(*t1);
            let rest = (*t1 - start).as_secs_f64();
            if width <= 0.0 {
                return Some(0.0);
            }
            let slope = (f64::from(*d1) - f64::from(*d0)) / width;
            let at_start = f64::from(*d0) + slope * (start - *t0).as_secs_f64();
            Some((at_start + f64::from(*d1)) / 2.0 * rest)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::AudioFormat;

    fn kbps(codec: Codec, rate: u32, bitrate: u32, chunk_ms: i64, encoding: Encoding) -> i64 {
        let settings = CodecSettings {
            format: AudioFormat { codec, sample_rate: rate },
            bitrate,
            frame: Micros::from_millis(20),
            chunk: Micros::from_millis(chunk_ms),
            complexity: 5,
            dtx: false,
        };
        Wire::up(&settings, &Dialect::Envelope, encoding, true).kbps().round() as i64
    }

    /// The table of docs/METRICS.md, "Chunk and codec".
    #[test]
    fn kbits_on_the_wire() {
        let row = |codec, rate, bitrate| {
            [20, 40, 60, 100].map(|ms| kbps(codec, rate, bitrate, ms, Encoding::Binary))
        };
        assert_eq!(row(Codec::Pcm16, 16_000, 0), [284, 270, 271, 268]);
        assert_eq!(row(Codec::Mulaw, 8_000, 0), [92, 78, 73, 70]);
        assert_eq!(row(Codec::Opus, 16_000, 24_000), [51, 38, 33, 30]);
        assert_eq!(row(Codec::Opus, 16_000, 16_000), [43, 30, 25, 22]);
    }

    /// With the envelope that the dialect really sends: 33 bytes around the base64.
    #[test]
    fn base64_adds_a_third_and_an_envelope() {
        assert_eq!(kbps(Codec::Pcm16, 16_000, 0, 60, Encoding::Base64), 360);
        assert_eq!(kbps(Codec::Opus, 16_000, 16_000, 60, Encoding::Base64), 35);
    }

    #[test]
    fn device_seconds_are_the_area() {
        let s = Micros::from_secs;
        let shape = [(s(0), 0), (s(10), 100), (s(30), 100)];
        assert_eq!(device_seconds(&shape, s(0)), 2_500.0);
        assert_eq!(device_seconds(&shape, s(5)), 375.0 + 2_000.0);
        assert_eq!(device_seconds(&shape, s(20)), 1_000.0);
        assert_eq!(device_seconds(&shape, s(40)), 0.0);
    }
}
