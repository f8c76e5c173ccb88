//! Follows the [`Timetable`](super::timetable) at the edge, on each thread, and keeps the sessions whose device is away.

use std::rc::Rc;
use std::task::Poll;

use tokio::sync::watch;

use super::freeze::stand_still;
use super::sessions::Order;
use super::timetable::{Entry, Timetable, Told};
use super::world::World;
use crate::drive::timer::Timer;
use crate::scenario::Trouble;
use crate::time::{Clock, Micros};

/// Makes trouble on thread `thread`, as planned from the run's zero on and as told.
pub(super) async fn conduct(
    thread: u32,
    world: Rc<World>,
    timer: Timer,
    clock: Clock,
    mut zero: watch::Receiver<Option<Micros>>,
    mut told: watch::Receiver<Told>,
) {
    let mut timetable = Timetable::new(&world.plan);
    loop {
        timetable.zero = *zero.borrow_and_update();
        timetable.told = Told::clone(&told.borrow_and_update());
        let now = clock.now();
        let before = world.conditions.replace(timetable.conditions(now));
        if before.silent && !world.conditions.get().silent {
            world.sessions.wake_all();
        }
        for Entry { key, at, trouble } in timetable.due(now) {
            // Whose thread a connection is on does not matter: one of them tells all.
            let strike = |share, order| {
                if thread == 0 {
                    world.sessions.strike(key, share, order);
                }
            };
            match trouble {
                Trouble::Drain { code, share } => strike(share, Order::Close(code)),
                Trouble::Reset { share } => strike(share, Order::Reset),
                Trouble::Freeze { length } => stand_still(thread, at, at + length, clock, &world.truth),
                _ => {}
            }
        }
        let next = timetable.next(now);
        tokio::select! {
            () = timer.until(next) => {}
            // An error means that the server is gone.
            changed = zero.changed() => if changed.is_err() { return },
            changed = told.changed() => if changed.is_err() { return },
        }
    }
}

/// Keeps the sessions whose device is away.
pub(super) async fn keep(world: Rc<World>, timer: Timer, clock: Clock) {
    std::future::poll_fn(|cx| -> Poll<()> {
        loop {
            world.sessions.on_time(clock.now(), cx.waker(), &world.truth);
            let at = world.sessions.deadline();
            if at > clock.now() {
                timer.set(at, cx.waker());
                return Poll::Pending;
            }
        }
    })
    .await;
}
