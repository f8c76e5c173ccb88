//! How late timers wake: the shards' own timer, and the kernel's sleep beside it as a yardstick.

use std::cell::RefCell;
use std::rc::Rc;

use super::document::{WakeupRound, Wakeups};
use crate::drive::timer::Timers;
use crate::measure::{Distribution, health};
use crate::seed::Seed;
use crate::subprocess::Stop;
use crate::time::{Clock, Micros};

/// Mean of the gaps between the wake-ups of one sleeper, exponentially distributed: no rhythm of the machine is hit or
/// missed by chance.
const GAP: Micros = Micros(800);

/// Chunk size of the many sleepers, and one in how many devices speaks.
const CHUNK: Micros = Micros::from_millis(60);
const ONE_IN: u32 = 3;

/// Threads need a moment to start; nothing is due before.
const LEAD: Micros = Micros::from_millis(30);

/// Measures for `length` with one sleeper a thread, and again with as many as so many `devices` make.
pub(super) fn measure(length: Micros, devices: u32, stop: &Stop) -> Result<Option<Wakeups>, String> {
    let threads = health::cores();
    let mut rounds = Vec::new();
    for devices in [0, devices] {
        let round = round(threads, length, devices, stop)?;
        if stop.asked() {
            return Ok(None);
        }
        rounds.push(round);
    }
    Ok(Some(Wakeups { threads, rounds }))
}

fn round(threads: u32, length: Micros, devices: u32, stop: &Stop) -> Result<WakeupRound, String> {
    let clock = Clock::start();
    let (mut timer, mut kernel) = (Distribution::default(), Distribution::default());
    std::thread::scope(|scope| -> Result<(), String> {
        let pairs: Vec<_> = (0..threads)
            .map(|thread| {
                let sleepers = sleepers(thread, threads, length, devices);
                let yardstick = instants(Seed(2), u64::from(thread), length);
                (
                    scope.spawn(move || on_timers(clock, sleepers, stop)),
                    scope.spawn(move || on_the_kernel(clock, yardstick, stop)),
                )
            })
            .collect();
        for (ours, yardstick) in pairs {
            let panicked = |_| "a thread that measures wake-ups panicked".to_owned();
            timer.merge(&ours.join().map_err(panicked)??);
            kernel.merge(&yardstick.join().map_err(panicked)?);
        }
        Ok(())
    })?;
    Ok(WakeupRound {
        devices,
        per_second: timer.count() as f64 / length.as_secs_f64(),
        timer: timer.to_result("us"),
        kernel: kernel.to_result("us"),
    })
}

/// The plan of one thread: for each sleeper, when it wants to wake.
fn sleepers(thread: u32, threads: u32, length: Micros, devices: u32) -> Vec<Vec<Micros>> {
    if devices == 0 {
        return vec![instants(Seed(1), u64::from(thread), length)];
    }
    (0..devices / ONE_IN)
        .filter(|n| n % threads == thread)
        .map(|n| {
            let phase = Seed(1).stream("calibrate-phase", u64::from(n)).below(CHUNK.0 as u64);
            let first = LEAD + Micros(phase as i64);
            (0..).map(|k| first + CHUNK * k).take_while(|at| *at < LEAD + length).collect()
        })
        .collect()
}

/// Seeded instants with exponential gaps.
fn instants(seed: Seed, index: u64, length: Micros) -> Vec<Micros> {
    let mut random = seed.stream("calibrate-wakeup", index);
    let mut at = LEAD;
    std::iter::from_fn(|| {
        at += Micros((random.exponential() * GAP.0 as f64) as i64 + 1);
        (at < LEAD + length).then_some(at)
    })
    .collect()
}

/// As a shard does it: one runtime, one alarm, a timer for each sleeper.
fn on_timers(clock: Clock, sleepers: Vec<Vec<Micros>>, stop: &Stop) -> Result<Distribution, String> {
    let cannot = |e: std::io::Error| format!("cannot start a timer: {e}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let late = Rc::new(RefCell::new(Distribution::default()));
    let work = tokio::task::LocalSet::new();
    runtime.block_on(work.run_until(async {
        let timers = Timers::new(clock).map_err(cannot)?;
        let ticker = timers.clone();
        tokio::task::spawn_local(async move { ticker.run().await });
        let tasks: Vec<_> = sleepers
            .into_iter()
            .map(|instants| {
                let (timer, late, stop) = (timers.timer(), Rc::clone(&late), stop.clone());
                tokio::task::spawn_local(async move {
                    for at in instants {
                        timer.until(at).await;
                        late.borrow_mut().record(clock.now() - at);
                        if stop.asked() {
                            break;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.map_err(|e| format!("a sleeper failed: {e}"))?;
        }
        Ok::<(), String>(())
    }))?;
    Ok(late.take())
}

fn on_the_kernel(clock: Clock, instants: Vec<Micros>, stop: &Stop) -> Distribution {
    let mut late = Distribution::default();
    for at in instants.into_iter().take_while(|_| !stop.asked()) {
        sleep_until(clock, at);
        late.record(clock.now() - at);
    }
    late
}

#[cfg(target_os = "linux")]
fn sleep_until(clock: Clock, at: Micros) {
    let us = clock.epoch_us() + at.0;
    let until = rustix::time::Timespec { tv_sec: us / 1_000_000, tv_nsec: us % 1_000_000 * 1_000 };
    // Interrupted by a signal: sleeps on.
    while clock.now() < at
        && rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &until).is_err()
    {}
}

#[cfg(not(target_os = "linux"))]
fn sleep_until(clock: Clock, at: Micros) {
    std::thread::sleep((at - clock.now()).to_std());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_seeded_and_within_their_time() {
        let second = Micros::from_secs(1);
        let plan = instants(Seed(1), 0, second);
        assert!(plan.len() > 1_000 && plan.is_sorted());
        assert!(plan[0] > LEAD && *plan.last().unwrap() < LEAD + second);
        assert_eq!(plan, instants(Seed(1), 0, second));
        assert_ne!(plan, instants(Seed(1), 1, second));
    }

    #[test]
    fn a_third_of_the_devices_wakes_once_a_chunk() {
        let all: Vec<_> = (0..2).flat_map(|t| sleepers(t, 2, Micros::from_secs(3), 600)).collect();
        assert_eq!(all.len(), 200);
        assert!(all.iter().all(|s| s.len() == 50 && s.windows(2).all(|w| w[1] - w[0] == CHUNK)));
    }

    #[test]
    fn nothing_wakes_early_and_everything_is_counted() {
        let (length, stop) = (Micros::from_millis(120), Stop::default());
        let done = measure(length, 30, &stop).unwrap().unwrap();
        for r in &done.rounds {
            assert!(r.timer.min_us >= Some(0) && r.kernel.min_us >= Some(0), "{r:?}");
            assert!(r.timer.count > 10 && r.kernel.count > 10);
        }
        assert_eq!(done.rounds[1].timer.count, 20);
        stop.ask();
        assert!(measure(Micros::from_secs(600), 30, &stop).unwrap().is_none(), "it does not wait");
    }
}
