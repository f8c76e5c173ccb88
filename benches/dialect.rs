//! What a described dialect costs beside a hand-written one: `envelope` both ways, the messages of a whole turn read and
//! written by a device. The description may cost 1.3 times as much.
//!
//! Time is that of the processor, and the ratio the median of many short pairs: others on the machine disturb it little.
//!
//! `cargo bench --bench dialect`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use voxload::audio::Chunk;
use voxload::dialect::describe::{Choice, Described, ENVELOPE};
use voxload::dialect::{Answer, Dialect, Encoding, Meaning, SessionSetup};
use voxload::time::Micros;
use voxload::transport::Frame;

/// Turns in a measurement.
const TURNS: u32 = 100;
/// Measurements of each, one after the other.
const ROUNDS: usize = 401;

/// What this thread has used of the processor.
fn used() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// What the server says in a turn: made by the native dialect, understood by both.
fn turn_of_server(setup: &Arc<SessionSetup>) -> Vec<Frame> {
    let mut server = Dialect::Envelope.server();
    let (mut hello, mut frames) = (Vec::new(), Vec::new());
    // It says audio as the device asks for it.
    Dialect::Envelope.device(setup, 1).open(None, &mut hello);
    hello.iter().for_each(|frame| server.read(frame, &mut Vec::new()));
    let text = |k: u32| format!("word{k} ");
    for k in 0..3 {
        server.write(Answer::Partial { turn: 0, text: format!("{k}.0 s of speech") }, &mut frames);
    }
    server.write(Answer::Final { turn: 0, text: "3.1 s of speech".to_owned() }, &mut frames);
    for k in 0..25 {
        server.write(Answer::Token { turn: 0, text: text(k), last: k == 24 }, &mut frames);
    }
    for k in 0..50 {
        let payload = Bytes::from(vec![k; 180]);
        server.write(Answer::Audio { turn: 0, payload }, &mut frames);
    }
    server.write(Answer::Done { turn: 0, interrupted: false }, &mut frames);
    frames
}

/// Nanoseconds for each message of so many turns.
fn measure(dialect: &Dialect, setup: &Arc<SessionSetup>, encoding: Encoding, said: &[Frame]) -> f64 {
    let chunk =
        Chunk { due: Micros::ZERO, media: Micros::from_millis(60), payload: Bytes::from(vec![7; 180]) };
    let prepared = dialect.prepare(&chunk, encoding);
    let mut device = dialect.device(setup, 1);
    let (mut frames, mut meanings): (Vec<Frame>, Vec<Meaning>) = (Vec::new(), Vec::new());
    device.open(None, &mut frames);
    let (start, mut messages) = (used(), 0);
    for turn in 0..TURNS {
        device.turn_start(turn, &mut frames);
        for _ in 0..50 {
            frames.push(device.audio(black_box(&prepared)));
        }
        device.turn_end(turn, &mut frames);
        messages += frames.len() + said.len();
        black_box(&frames);
        frames.clear();
        for frame in said {
            device.read(black_box(frame), &mut meanings);
            device.replies(&mut frames);
            black_box(&meanings);
            meanings.clear();
        }
    }
    (used() - start).as_nanos() as f64 / messages as f64
}

/// Both dialects, one after the other, and how many times as much the description costs.
fn compare(encoding: Encoding) -> Result<(), Box<dyn std::error::Error>> {
    let setup = Arc::new(SessionSetup { encoding, ..SessionSetup::default() });
    let said = turn_of_server(&setup);
    let choice = Choice { encoding: Some(encoding), ..Choice::default() };
    let described = Dialect::from(Described::load("envelope.toml", ENVELOPE, choice)?);
    let (mut native, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let a = measure(&Dialect::Envelope, &setup, encoding, &said);
        let b = measure(&described, &setup, encoding, &said);
        native.push(a);
        ours.push(b);
        ratios.push(b / a);
    }
    println!("{encoding:?}: {ROUNDS} times {TURNS} turns of {} messages of the server, medians", said.len());
    println!("native     {:8.1} ns a message", median(native));
    println!("described  {:8.1} ns a message", median(ours));
    println!("ratio      {:8.2} (at most 1.30)", median(ratios));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    compare(Encoding::Binary)?;
    compare(Encoding::Base64)
}
