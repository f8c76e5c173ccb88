//! A naive measurement, as many tools make it: some connections, each asking again when it has been answered. The clock
//! starts when the question is really out, and what fails is forgotten.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::device::plan::{Plan, Spoken};
use crate::dialect::{DeviceDialect, Meaning};
use crate::drive::prepare;
use crate::scenario::{self, Environment, Scenario, Source};
use crate::time::{Clock, Micros};
use crate::transport::{Closed, Frame, Transport};

/// Connections.
pub(super) const LOOPS: u32 = 10;

/// Between the first questions of two of them.
const STAGGER: Duration = Duration::from_millis(53);

/// Measures for `duration` against an embedded server of its own; the times to the first audio, µs. `base`: where
/// relative paths in the scenario start from.
pub(super) fn start(toml: String, base: PathBuf, duration: Micros) -> JoinHandle<Result<Vec<i64>, String>> {
    std::thread::spawn(move || {
        let source = Source { base, ..Source::inline("naive", toml) };
        // What the user has set for runs of their own is no part of a proof.
        let scenario = scenario::load_in(&source, &[], &Environment::default()).map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|e| e.to_string())?.block_on(measure(&scenario, duration))
    })
}

async fn measure(scenario: &Scenario, duration: Micros) -> Result<Vec<i64>, String> {
    let speech = prepare::speech(scenario).map_err(|e| e.message)?;
    let mut server = prepare::embedded_server(scenario, None).map_err(|e| e.message)?;
    let endpoint = prepare::endpoint(scenario, server.as_ref()).await.map_err(|e| e.message)?;
    let clock = Clock::start();
    if let Some(server) = &mut server {
        server.set_epoch(clock.epoch_us());
    }
    let end = Instant::now() + duration.to_std();
    let loops = (0..LOOPS).map(|n| {
        let (endpoint, plan, clock) = (&endpoint, &speech.plan, &clock);
        async move {
            let mut measured = Vec::new();
            // They would otherwise all be in the same state when the server freezes.
            tokio::time::sleep(STAGGER * n).await;
            let Some(spoken) = plan.utterances.first() else { return measured };
            while Instant::now() < end {
                let Ok((mut transport, _)) = endpoint.connect(n, clock).await else { continue };
                // A connection that fails is forgotten with its turn.
                let _ = ask_again_and_again(&mut *transport, plan, spoken, n, end, &mut measured).await;
            }
            measured
        }
    });
    let measured = futures_util::future::join_all(loops).await.concat();
    drop(server);
    if measured.is_empty() { Err("the naive loop was never answered".to_owned()) } else { Ok(measured) }
}

async fn ask_again_and_again(
    transport: &mut dyn Transport,
    plan: &Plan,
    spoken: &Spoken,
    device: u32,
    end: Instant,
    measured: &mut Vec<i64>,
) -> Result<(), Closed> {
    let mut dialect = plan.dialect.device(&plan.setup, device);
    let mut frames = Vec::new();
    dialect.open(None, &mut frames);
    let chunk = spoken.clip.settings.chunk.to_std();
    for turn in 0.. {
        if Instant::now() >= end {
            break;
        }
        dialect.turn_start(turn, &mut frames);
        write(transport, &mut frames).await?;
        for prepared in spoken.speech.iter() {
            tokio::time::sleep(chunk).await;
            frames.push(dialect.audio(prepared));
            write(transport, &mut frames).await?;
        }
        dialect.turn_end(turn, &mut frames);
        write(transport, &mut frames).await?;
        let asked = Instant::now();
        until(transport, &mut *dialect, |m| matches!(m, Meaning::Audio { .. })).await?;
        measured.push(Micros::from(asked.elapsed()).0);
        // It wants to know about the first audio only.
        dialect.interrupt(turn, &mut frames);
        write(transport, &mut frames).await?;
        until(transport, &mut *dialect, |m| matches!(m, Meaning::ReplyDone { .. })).await?;
    }
    Ok(())
}

async fn write(transport: &mut dyn Transport, frames: &mut Vec<Frame>) -> Result<(), Closed> {
    for frame in frames.drain(..) {
        std::future::poll_fn(|cx| transport.poll_ready(cx)).await?;
        transport.start_send(frame)?;
        std::future::poll_fn(|cx| transport.poll_flush(cx)).await?;
    }
    Ok(())
}

/// Reads until it comes.
async fn until(
    transport: &mut dyn Transport,
    dialect: &mut dyn DeviceDialect,
    it: impl Fn(&Meaning) -> bool,
) -> Result<(), Closed> {
    let mut meanings = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| transport.poll_recv(cx)).await?;
        dialect.read(&frame, &mut meanings);
        if meanings.drain(..).any(|m| it(&m)) {
            return Ok(());
        }
    }
}
