//! How far off TTFT and TTFA are, against delays that the embedded server was told and logged: at 200 and at 2,000 devices
//! in conversation, server and harness on the same cores.
//!
//! ```text
//! cargo bench --bench accuracy
//! ACCURACY_SECONDS=10 ACCURACY_DEVICES=200 cargo bench --bench accuracy      # shorter
//! ```
//!
//! Yardsticks of the same run: how late the server itself was (its log against the delay it was told), and a bare echo
//! over loopback before it, one byte at a time, with nothing else going on in this process.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use voxload::measure::agreement::{Log, for_each_turn, ttfa_error, ttft_error};
use voxload::prove::stats::Sizes;
use voxload::reference::truth;
use voxload::report::json;

/// The server's delay.
const DELAY_US: i64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let given = |name: &str| std::env::var(name).ok();
    let seconds: u32 = given("ACCURACY_SECONDS").map_or(Ok(30), |s| s.parse())?;
    let devices = given("ACCURACY_DEVICES").unwrap_or_else(|| "200,2000".to_owned());
    for devices in devices.split(',') {
        measure(devices.trim().parse()?, seconds)?;
    }
    Ok(())
}

fn measure(devices: u32, seconds: u32) -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let (file, dir) = (home.path().join("accuracy.toml"), home.path().join("report"));
    let ramp = seconds / 3;
    std::fs::write(
        &file,
        format!(
            "fleet = {{ devices = {devices}, duration = \"{seconds}s\", ramp = \"{ramp}s\" }}\n\
             turn.think = \"uniform(1s, 3s)\"\n\
             reference = {{ preset = \"instant\", token_rate = 1000000.0, llm = \"{DELAY_US}us\" }}\n\
             report = {{ html = false, junit = false }}\n"
        ),
    )?;
    let echo = echo()?;
    let run = Command::new(env!("CARGO_BIN_EXE_voxload"))
        .arg("run")
        .arg(&file)
        .arg("--quiet")
        .arg("--report-dir")
        .arg(&dir)
        .output()?;
    let (result, _) = json::read(&dir)
        .map_err(|e| format!("{e}; the run said: {}", String::from_utf8_lossy(&run.stderr)))?;
    report(&dir, devices, seconds)?;
    row("yardstick: bare echo over loopback, before the run", echo);
    let invalid = result.validity.checks.iter().filter(|c| !c.ok).map(|c| format!("{} {}", c.name, c.seen));
    let invalid: Vec<_> = invalid.collect();
    if !invalid.is_empty() {
        println!("  the run is INVALID: {}", invalid.join(", "));
    }
    println!();
    Ok(())
}

fn report(dir: &Path, devices: u32, seconds: u32) -> Result<(), Box<dyn Error>> {
    let log = Log::new(truth::read(&dir.join("reference-truth.csv"))?);
    let (mut ttft, mut ttfa, mut server, mut unmatched) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for_each_turn(&dir.join("turns.csv"), |us| match log.find(&us) {
        _ if us.ttfa_first_byte_us.is_none() => {}
        Some(them) => {
            ttft.extend(ttft_error(&us, them));
            ttfa.extend(ttfa_error(&us, them));
            server.extend(them.first_token_out_us.map(|out| (out - them.turn_end_in_us).0 - DELAY_US));
        }
        None => unmatched += 1,
    })?;
    println!(
        "{devices} devices, {seconds} s, {} turns compared, {unmatched} not in the server's log",
        ttft.len()
    );
    row("|error| of TTFT", Sizes::of(ttft));
    row("|error| of TTFA", Sizes::of(ttfa));
    row("yardstick: the server's own lateness, by its log", Sizes::of(server));
    Ok(())
}

fn row(what: &str, sizes: Option<Sizes>) {
    match sizes {
        Some(s) => println!("  {what:<52} {s}"),
        None => println!("  {what:<52} nothing was measured"),
    }
}

/// Round trips of one byte, 5 ms apart.
fn echo() -> std::io::Result<Option<Sizes>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        let mut byte = [0];
        while peer.read(&mut byte)? > 0 {
            peer.write_all(&byte)?;
        }
        Ok(())
    });
    let mut there = TcpStream::connect(address)?;
    there.set_nodelay(true)?;
    let mut trips = Vec::new();
    for _ in 0..400 {
        std::thread::sleep(Duration::from_millis(5));
        let begun = Instant::now();
        there.write_all(&[1])?;
        there.read_exact(&mut [0])?;
        trips.push(i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX));
    }
    drop(there);
    // It ends with the connection; what it says then is of no interest.
    let _ = server.join();
    Ok(Sizes::of(trips))
}
