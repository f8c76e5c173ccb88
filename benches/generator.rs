//! What a message costs the generator and how punctual it is, everything measured, against a bare loop of `write` calls
//! that sends the same frames at the same pace to the same server.
//!
//! ```text
//! cargo bench --bench generator                      # both kinds of load, several fleets: about 7 minutes
//! cargo bench --bench generator -- talk 2000 10      # 2,000 devices that always talk, 10 s each
//! cargo bench --bench generator -- converse 500 5    # 500 devices that talk a third of the time
//! ```
//!
//! Both are processes of their own; what they use is read from their own CPU clock while everybody is connected and
//! talks, 60 ms of Opus a message. The server is `voxload serve`, which answers at once (`reference.preset = "instant"`).
//! The loop never ends a turn, so it is never answered: what the generator spends on listening counts against it.
//! `talk`: half a minute of speech, a short pause, again. `converse`: speech, the reply, a think time; about a third of
//! the time is speech.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod lab;

use lab::{Load, Outcome, RAMP_PER_SECOND, SETTLE, Server, generator};
use rustix::time::{ClockId, clock_gettime};
use voxload::audio::{self, AudioFormat, Codec, CodecSettings, Library};
use voxload::scenario::{EndOfTurn, Flush};
use voxload::seed::Seed;
use voxload::time::Micros;

/// One message.
const CHUNK: Micros = Micros::from_millis(60);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, load, address, devices, seconds, period] = args.as_slice()
        && mode == "yardstick"
    {
        let load = Load::named(load)?;
        return yardstick(load, address.parse()?, devices.parse()?, seconds.parse()?, period.parse()?);
    }
    let loads = match args.first() {
        None => vec![(Load::Talk, vec![500, 2_000, 5_000]), (Load::Converse, vec![500, 2_000, 5_000, 8_000])],
        Some(name) => {
            let devices = args.get(1).ok_or("how many devices?")?.parse()?;
            vec![(Load::named(name)?, vec![devices])]
        }
    };
    let seconds = args.get(2).map_or(Ok(15), |s| s.parse())?;
    println!("{seconds} s each; CPU per message sent in µs, lateness of messages in ms");
    println!(
        "{:<9} {:>7} {:>7} {:>7} {:>6} {:>14} {:>14} {:>8} {:>8} {:>7}",
        "load",
        "devices",
        "voxload",
        "loop",
        "ratio",
        "late p50/p99",
        "loop p50/p99",
        "sent/s",
        "recv/s",
        "KiB/dev"
    );
    let mut ratios = Vec::new();
    for (load, devices) in loads.into_iter().flat_map(|(load, all)| all.into_iter().map(move |n| (load, n))) {
        let ours = generator(load, &Server::start()?, devices, seconds, &[])?;
        let theirs = loop_of_writes(load, &Server::start()?, devices, seconds, ours.period)?;
        let ratio = ours.cpu_per_message / theirs.cpu_per_message;
        ratios.push(ratio);
        let late = |(p50, p99): (f64, f64)| format!("{:.2}/{:.2}", p50 / 1e3, p99 / 1e3);
        println!(
            "{:<9} {devices:>7} {:>7.2} {:>7.2} {ratio:>6.2} {:>14} {:>14} {:>8.0} {:>8.0} {:>7.1}",
            load.name(),
            ours.cpu_per_message,
            theirs.cpu_per_message,
            late(ours.lateness),
            late(theirs.lateness),
            ours.sent,
            ours.received,
            ours.kib_per_device
        );
        if let Some(why) = ours.invalid {
            println!("          INVALID: {why}");
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    Ok(())
}

/// What the bare loop came to.
struct Theirs {
    cpu_per_message: f64,
    lateness: (f64, f64),
}

fn loop_of_writes(load: Load, server: &Server, devices: u32, seconds: u64, period: f64) -> Outcome<Theirs> {
    let out = Command::new(std::env::current_exe()?)
        .args(["yardstick", load.name(), &server.address.to_string(), &devices.to_string()])
        .args([&seconds.to_string(), &period.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map_while(|n| n.parse().ok()).collect();
    match numbers[..] {
        [cpu_per_message, p50, p99] => Ok(Theirs { cpu_per_message, lateness: (p50, p99) }),
        _ => Err(format!("the yardstick said {text:?}").into()),
    }
}

/// The bare loop: one thread per core, one `write` per message, nothing else.
fn yardstick(load: Load, address: SocketAddr, devices: u32, seconds: u64, period: f64) -> Outcome<()> {
    voxload::measure::health::raise_open_files(u64::from(devices) + 100);
    let frames = frames(load)?;
    let threads = std::thread::available_parallelism()?.get() as u32;
    let mut sockets = Vec::new();
    for n in 0..devices {
        sockets.push(open(address)?);
        if n % 50 == 49 {
            std::thread::sleep(Duration::from_secs_f64(50.0 / RAMP_PER_SECOND / 2.0));
        }
    }
    let zero = Instant::now() + Duration::from_secs(1);
    let end = Micros::from_secs(SETTLE as i64 + seconds as i64);
    let mut lateness = Vec::new();
    std::thread::scope(|scope| {
        let mut loops = Vec::new();
        for (t, sockets) in sockets.chunks(devices.div_ceil(threads) as usize).enumerate() {
            let plan = schedule(sockets.len(), t as u64, frames.len(), period, end);
            let frames = &frames;
            loops.push(scope.spawn(move || write_all(zero, &plan, sockets, frames)));
        }
        sleep_until(zero + Duration::from_secs(SETTLE));
        let before = (cpu(), WRITTEN.load(Relaxed));
        sleep_until(zero + Duration::from_secs(SETTLE + seconds));
        let after = (cpu(), WRITTEN.load(Relaxed));
        println!("{}", (after.0 - before.0) * 1e6 / (after.1 - before.1) as f64);
        for late in loops {
            lateness.extend(late.join().unwrap_or_default());
        }
    });
    lateness.sort_unstable();
    let at = |share: f64| lateness.get((lateness.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!("{} {}", at(0.5), at(0.99));
    Ok(())
}

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// (when, socket, frame), in order: each device says the utterance, pauses, and says it again.
fn schedule(sockets: usize, thread: u64, frames: usize, period: f64, end: Micros) -> Vec<(Micros, u32, u32)> {
    let cycle = Micros::from_secs_f64(period * frames as f64);
    let mut seed = Seed(1).stream("yardstick", thread);
    let mut plan = Vec::new();
    for socket in 0..sockets {
        let mut start = Micros((seed.unit() * cycle.0 as f64) as i64) - cycle;
        while start < end {
            let due = (0..frames).map(|k| (start + CHUNK * (k as i64 + 1), socket as u32, k as u32));
            plan.extend(due.filter(|(at, ..)| *at >= Micros::ZERO && *at < end));
            start += cycle;
        }
    }
    plan.sort_unstable();
    plan
}

/// Writes everything when it is due; how late each was, µs.
fn write_all(
    zero: Instant,
    plan: &[(Micros, u32, u32)],
    sockets: &[TcpStream],
    frames: &[Vec<u8>],
) -> Vec<u32> {
    let mut written = 0;
    let mut lateness = Vec::with_capacity(plan.len());
    for &(at, socket, frame) in plan {
        // The same grid as the generator's: what is due within 250 µs is written in one go.
        let due = zero + Micros((at.0 + 249) / 250 * 250).to_std();
        if due > Instant::now() {
            WRITTEN.fetch_add(written, Relaxed);
            written = 0;
            sleep_until(due);
        }
        if (&sockets[socket as usize]).write(&frames[frame as usize]).is_ok() {
            written += 1;
        }
        if at >= Micros::from_secs(SETTLE as i64) {
            lateness.push(Instant::now().saturating_duration_since(zero + at.to_std()).as_micros() as u32);
        }
    }
    lateness
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Connects, upgrades, opens the session.
fn open(address: SocketAddr) -> Outcome<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    write!(
        socket,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut answer = [0; 1024];
    let n = socket.read(&mut answer)?;
    if !answer[..n].starts_with(b"HTTP/1.1 101") {
        return Err("the server did not upgrade".into());
    }
    let start = br#"{"type":"session_start","audio":{"up":{"codec":"opus","sample_rate":16000}}}"#;
    socket.write_all(&masked(0x1, start))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The utterance as the generator sends it.
fn frames(load: Load) -> Outcome<Vec<Vec<u8>>> {
    let sounds = Library::load(&[load.scenario()?.0], Path::new(".")).map_err(|e| e.join("\n"))?;
    let settings = CodecSettings {
        format: AudioFormat { codec: Codec::Opus, sample_rate: 16_000 },
        bitrate: 24_000,
        frame: Micros::from_millis(20),
        chunk: CHUNK,
        complexity: 5,
        dtx: false,
    };
    let clip = audio::encode(&sounds[0], &settings, EndOfTurn::Signal, Flush::Frame)?;
    Ok(clip.speech.iter().map(|c| masked(0x2, &c.payload)).collect())
}

/// A WebSocket frame of a client (RFC 6455, section 5.2), of less than 64 KiB.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | n as u8),
        n => frame.extend([0x80 | 126, (n >> 8) as u8, n as u8]),
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}
