//! What benches of the generator share: a server, a load, a run and what it cost.

#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Devices connect at this pace.
pub const RAMP_PER_SECOND: f64 = 1_000.0;
/// After the last device has come, before anything is counted.
pub const SETTLE: u64 = 4;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What devices do.
#[derive(Clone, Copy)]
pub enum Load {
    /// Talk nearly all the time.
    Talk,
    /// Talk about a third of the time.
    Converse,
}

impl Load {
    pub fn named(name: &str) -> Outcome<Self> {
        match name {
            "talk" => Ok(Self::Talk),
            "converse" => Ok(Self::Converse),
            other => Err(format!("`{other}` is not a load; expected talk or converse").into()),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Talk => "talk",
            Self::Converse => "converse",
        }
    }

    /// (utterance, think time).
    pub fn scenario(self) -> Outcome<(String, &'static str)> {
        match self {
            Self::Talk => Ok((long_speech()?.display().to_string(), "200ms")),
            Self::Converse => Ok(("dragon-story".to_owned(), "uniform(3s, 5s)")),
        }
    }
}

/// Half a minute of something that is encoded like speech: a voice-like tone that swells four times a second.
fn long_speech() -> Outcome<PathBuf> {
    let path = std::env::temp_dir().join("voxload-bench-long.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&path, spec)?;
    for n in 0..30 * 16_000 {
        let (t, tau) = (f64::from(n) / 16_000.0, std::f64::consts::TAU);
        let pitch = 180.0 * t + 9.0 * (tau * 0.7 * t).sin();
        let voice: f64 = (1..8).map(|k| (tau * pitch * f64::from(k)).sin() / f64::from(k)).sum();
        wav.write_sample(((0.6 + 0.4 * (tau * 4.0 * t).sin()) * voice * 5_000.0) as i16)?;
    }
    wav.finalize()?;
    Ok(path)
}

/// The server that is talked to.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(env!("CARGO_BIN_EXE_voxload"))
            .args(["serve", "--preset", "instant", "--listen", &address.to_string()])
            .args(["--set", "reference.burst=60s", "--set", "reference.chunk=200ms"])
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
pub struct Ours {
    pub cpu_per_message: f64,
    /// p50 and p99, µs.
    pub lateness: (f64, f64),
    pub sent: f64,
    pub received: f64,
    pub kib_per_device: f64,
    pub invalid: Option<String>,
    /// Mean time between two messages of one device, seconds.
    pub period: f64,
}

pub fn ramp(devices: u32) -> u64 {
    (f64::from(devices) / RAMP_PER_SECOND).ceil() as u64
}

/// A run with these further arguments, and what it cost while everybody was there.
pub fn generator(load: Load, server: &Server, devices: u32, seconds: u64, more: &[&str]) -> Outcome<Ours> {
    let dir = std::env::temp_dir().join(format!("voxload-cost-{}", std::process::id()));
    let from = ramp(devices) + SETTLE;
    let (utterance, think) = load.scenario()?;
    // A threshold or a short run is no matter here: the exit code says nothing about the figures.
    Command::new(env!("CARGO_BIN_EXE_voxload"))
        .args(["run", "quickstart", "--quiet", "--url", &format!("ws://{}/", server.address)])
        .args(["-u", &devices.to_string(), "-d", &format!("{}s", from + seconds)])
        .args(["--set", &format!("fleet.ramp={}s", ramp(devices))])
        .args(["--warmup", &format!("{from}s")])
        .args(["--set", &format!("audio.fixtures=[{utterance:?}]"), "--set", &format!("turn.think={think}")])
        .args(["--set", "thresholds=[]", "--set", "report.html=false", "--report-dir"])
        .arg(&dir)
        .args(more)
        .stdout(Stdio::null())
        .status()?;
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("result.json"))?)?;
    std::fs::remove_dir_all(&dir)?;
    let invalid = (result["verdict"]["status"] == "invalid").then(|| {
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
    let late = result["metrics"]["own_lateness"].clone();
    let (sent, width) = (sum("messages_sent"), sum("width_us"));
    Ok(Ours {
        cpu_per_message: sum("cpu_us") / sent,
        lateness: (number(&late, "p50_us"), number(&late, "p99_us")),
        sent: sent / width * 1e6,
        received: sum("messages_received") / width * 1e6,
        kib_per_device: number(&result["generator"], "rss_bytes_per_device") / 1024.0,
        invalid,
        period: f64::from(devices) * width / 1e6 / sent,
    })
}
