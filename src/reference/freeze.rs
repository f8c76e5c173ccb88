//! Standing still on purpose: one thread of the server, on the schedule of [`Freeze`].
//!
//! The thread sleeps in the middle of its event loop: whatever arrives meanwhile waits in the kernel, as with a server
//! that collects garbage, swaps, or holds a lock. Each thread follows the same schedule by itself.

use tokio::sync::watch;

use super::truth::{Entry, FreezeRow, Truth};
use crate::drive::timer::Timer;
use crate::scenario::Freeze;
use crate::time::{Clock, Micros};

/// Freezes thread `thread` again and again, from when the run's `zero` is known.
pub(super) async fn freeze(
    thread: u32,
    plan: Freeze,
    timer: Timer,
    clock: Clock,
    mut zero: watch::Receiver<Option<Micros>>,
    truth: Truth,
) {
    let mut known = *zero.borrow_and_update();
    loop {
        let Some(start) = known else {
            if zero.changed().await.is_err() {
                return; // the server is gone
            }
            known = *zero.borrow_and_update();
            continue;
        };
        let (from, until) = plan.next(clock.now() - start);
        let (planned_from_us, planned_until_us) = (start + from, start + until);
        tokio::select! {
            () = timer.until(planned_from_us) => {}
            changed = zero.changed() => {
                if changed.is_err() {
                    return;
                }
                known = *zero.borrow_and_update();
                continue;
            }
        }
        stand_still(thread, planned_from_us, planned_until_us, clock, &truth);
    }
}

/// Stands still until then: not an await, nothing else on this thread moves.
pub(super) fn stand_still(
    thread: u32,
    planned_from_us: Micros,
    planned_until_us: Micros,
    clock: Clock,
    truth: &Truth,
) {
    let from_us = clock.now();
    std::thread::sleep((planned_until_us - from_us).to_std());
    let until_us = clock.now();
    truth.add(|| Entry::Freeze(FreezeRow { thread, planned_from_us, planned_until_us, from_us, until_us }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_with_its_freeze() {
        let plan = Freeze { every: Micros(20), length: Micros(2) };
        for (at, freeze) in [(0, (18, 20)), (17, (18, 20)), (19, (18, 20)), (20, (38, 40)), (-1, (-2, 0))] {
            assert_eq!(plan.next(Micros(at)), (Micros(freeze.0), Micros(freeze.1)), "{at}");
        }
    }
}
