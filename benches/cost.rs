//! What a message costs the generator, everything measured, against a bare loop of `write` calls that sends the same
//! frames at the same pace to the same server.
//!
//! ```text
//! cargo bench --bench cost                      # 500, 2,000, 5,000 and 8,000 devices, about 3 minutes
//! cargo bench --bench cost -- 2000 10           # 2,000 devices, 10 s each
//! ```
//!
//! Both are processes of their own; what they use is read from their own CPU clock while everybody is connected and
//! talks: about a third of the time, 60 ms of Opus a message. The server is `voxload serve`, which answers at once
//! (`reference.preset = "instant"`). The loop never ends a turn, so it is never answered: what the generator spends on
//! listening counts against it.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use voxload::audio::{self, AudioFormat, Codec, CodecSettings, Library};
use voxload::scenario::{EndOfTurn, Flush};
use voxload::seed::Seed;
use voxload::time::Micros;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Devices connect at this pace.
const RAMP_PER_SECOND: f64 = 1_000.0;
/// After the last device has come, before anything is counted.
const SETTLE: u64 = 4;
/// One message.
const CHUNK: Micros = Micros::from_millis(60);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, address, devices, seconds, period] = args.as_slice()
        && mode == "yardstick"
    {
        return yardstick(address.parse()?, devices.parse()?, seconds.parse()?, period.parse()?);
    }
    let devices = args.first().map_or(Ok(vec![500, 2_000, 5_000, 8_000]), |n| n.parse().map(|n| vec![n]))?;
    let seconds = args.get(1).map_or(Ok(15), |s| s.parse())?;
    println!("CPU per message sent, {seconds} s each, microseconds");
    println!(
        "{:>8} {:>12} {:>12} {:>7} {:>14} {:>12} {:>12}",
        "devices", "voxload", "write loop", "ratio", "msgs sent/s", "received/s", "KiB/device"
    );
    let mut ratios = Vec::new();
    for n in devices {
        let mut server = Server::start()?;
        let ours = generator(&server, n, seconds)?;
        let mut again = Server::start()?;
        std::mem::swap(&mut server, &mut again);
        drop(again);
        let theirs = loop_of_writes(&server, n, seconds, ours.period)?;
        let ratio = ours.cpu_per_message / theirs;
        ratios.push(ratio);
        println!(
            "{n:>8} {:>12.2} {theirs:>12.2} {ratio:>7.2} {:>14.0} {:>12.0} {:>12.1}",
            ours.cpu_per_message, ours.sent, ours.received, ours.kib_per_device
        );
        if let Some(why) = ours.invalid {
            println!("         INVALID: {why}");
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    Ok(())
}

/// The server that both talk to.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Outcome<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(env!("CARGO_BIN_EXE_voxload"))
            .args(["serve", "--preset", "instant", "--listen", &address.to_string()])
            .args(["--set", "reference.burst=60s", "--set", "reference.chunk=1s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("the server did not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run came to.
struct Ours {
    cpu_per_message: f64,
    sent: f64,
    received: f64,
    kib_per_device: f64,
    invalid: Option<String>,
    /// Mean time between two messages of one device, seconds.
    period: f64,
}

fn ramp(devices: u32) -> u64 {
    (f64::from(devices) / RAMP_PER_SECOND).ceil() as u64
}

fn generator(server: &Server, devices: u32, seconds: u64) -> Outcome<Ours> {
    let dir = std::env::temp_dir().join(format!("voxload-cost-{}", std::process::id()));
    let from = ramp(devices) + SETTLE;
    let status = Command::new(env!("CARGO_BIN_EXE_voxload"))
        .args(["run", "quickstart", "--quiet", "--url", &format!("ws://{}/", server.address)])
        .args(["-u", &devices.to_string(), "-d", &format!("{}s", from + seconds)])
        .args(["--set", &format!("fleet.ramp={}s", ramp(devices)), "--warmup", "0s"])
        .args(["--set", "audio.fixtures=[\"dragon-story\"]", "--set", "turn.think=uniform(3s, 5s)"])
        .args(["--set", "thresholds=[]", "--set", "report.html=false", "--report-dir"])
        .arg(&dir)
        .stdout(Stdio::null())
        .status()?;
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("result.json"))?)?;
    std::fs::remove_dir_all(&dir)?;
    let invalid = (!status.success()).then(|| {
        let reasons = result["verdict"]["reasons"].as_array().cloned().unwrap_or_default();
        reasons.iter().filter_map(|r| r.as_str()).collect::<Vec<_>>().join("; ")
    });
    let number = |v: &serde_json::Value, key: &str| v[key].as_f64().unwrap_or(f64::NAN);
    let window = (from as f64 * 1e6)..((from + seconds) as f64 * 1e6);
    let rows: Vec<&serde_json::Value> = result["intervals"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|i| window.contains(&number(i, "start_us")))
        .collect();
    let sum = |key: &str| rows.iter().map(|i| number(i, key)).sum::<f64>();
    let (sent, width) = (sum("messages_sent"), sum("width_us"));
    Ok(Ours {
        cpu_per_message: sum("cpu_us") / sent,
        sent: sent / width * 1e6,
        received: sum("messages_received") / width * 1e6,
        kib_per_device: number(&result["generator"], "rss_bytes_per_device") / 1024.0,
        invalid,
        period: f64::from(devices) * width / 1e6 / sent,
    })
}

fn loop_of_writes(server: &Server, devices: u32, seconds: u64, period: f64) -> Outcome<f64> {
    let out = Command::new(std::env::current_exe()?)
        .args(["yardstick", &server.address.to_string(), &devices.to_string()])
        .args([&seconds.to_string(), &period.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    text.trim().parse().map_err(|_| format!("the yardstick said {text:?}").into())
}

/// The bare loop: one thread per core, one `write` per message, nothing else.
fn yardstick(address: SocketAddr, devices: u32, seconds: u64, period: f64) -> Outcome<()> {
    voxload::measure::health::raise_open_files(u64::from(devices) + 100);
    let frames = frames()?;
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
    std::thread::scope(|scope| {
        for (t, sockets) in sockets.chunks(devices.div_ceil(threads) as usize).enumerate() {
            let plan = schedule(sockets.len(), t as u64, frames.len(), period, end);
            let frames = &frames;
            scope.spawn(move || write_all(zero, &plan, sockets, frames));
        }
        sleep_until(zero + Duration::from_secs(SETTLE));
        let before = (cpu(), WRITTEN.load(Relaxed));
        sleep_until(zero + Duration::from_secs(SETTLE + seconds));
        let after = (cpu(), WRITTEN.load(Relaxed));
        println!("{}", (after.0 - before.0) * 1e6 / (after.1 - before.1) as f64);
    });
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

fn write_all(zero: Instant, plan: &[(Micros, u32, u32)], sockets: &[TcpStream], frames: &[Vec<u8>]) {
    let mut written = 0;
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
    }
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
fn frames() -> Outcome<Vec<Vec<u8>>> {
    let sounds = Library::load(&["dragon-story".to_owned()], Path::new(".")).map_err(|e| e.join("\n"))?;
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
