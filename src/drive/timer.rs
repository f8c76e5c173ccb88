//! One timer for all devices of a shard.
//!
//! Tokio's own timers tick in milliseconds. A toy that sends 60 ms of speech should send it on time to a fraction of
//! that, so each shard has one `timerfd` on a grid of 250 µs: deadlines within one grid step fire together, and a
//! shard with nothing due sleeps. Where `timerfd` does not exist, tokio's timer stands in (later by up to 1 ms).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use crate::time::{Clock, Micros};

/// Deadlines are rounded up to this.
const GRID: i64 = 250;

/// The timers of one shard. Clones share.
#[derive(Clone)]
pub struct Timers {
    inner: Rc<RefCell<Inner>>,
    alarm: Rc<Alarm>,
    clock: Clock,
}

#[derive(Default)]
struct Inner {
    /// (when, slot, generation of the slot), earliest first.
    queue: BinaryHeap<Reverse<(Micros, u32, u32)>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// What the alarm is set to.
    armed: Option<Micros>,
    /// Since when it could have gone off: what it is set to, or when it was set, where that was later.
    expected: Micros,
}

struct Slot {
    generation: u32,
    deadline: Micros,
    /// The earliest time at which the slot stands in the queue: later deadlines are queued again when it comes.
    queued: Micros,
    waker: Option<Waker>,
}

/// One device's timer. Freed when dropped.
pub struct Timer {
    timers: Timers,
    slot: u32,
}

impl Timers {
    /// Timers on the given clock. Needs a tokio runtime with IO enabled.
    pub fn new(clock: Clock) -> io::Result<Self> {
        Ok(Self { inner: Rc::default(), alarm: Rc::new(Alarm::new(clock)?), clock })
    }

    /// A timer of one's own.
    pub fn timer(&self) -> Timer {
        let mut inner = self.inner.borrow_mut();
        let slot = inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(Slot {
                generation: 0,
                deadline: Micros::NEVER,
                queued: Micros::NEVER,
                waker: None,
            });
            (inner.slots.len() - 1) as u32
        });
        Timer { timers: self.clone(), slot }
    }

    /// Fires timers for ever: the shard's ticker task.
    pub async fn run(&self) {
        self.run_watched(|_| {}).await;
    }

    /// The same, and says for each tick how late it came: the time for which the thread was not scheduled or had
    /// others to serve.
    pub async fn run_watched(&self, lag: impl Fn(Micros)) {
        loop {
            self.alarm.wait().await;
            lag(self.clock.now() - self.inner.borrow().expected);
            self.fire();
        }
    }

    /// Wakes whoever is due and sets the alarm for the next.
    fn fire(&self) {
        let now = self.clock.now();
        let mut inner = self.inner.borrow_mut();
        while let Some(&Reverse((at, id, generation))) = inner.queue.peek() {
            if at > now {
                break;
            }
            inner.queue.pop();
            let slot = &mut inner.slots[id as usize];
            if slot.generation != generation || slot.queued != at {
                continue; // freed, or queued again for an earlier time that has been dealt with
            }
            slot.queued = Micros::NEVER;
            if slot.deadline > now {
                let later = slot.deadline;
                if later != Micros::NEVER {
                    slot.queued = later;
                    inner.queue.push(Reverse((later, id, generation)));
                }
                continue;
            }
            slot.deadline = Micros::NEVER;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        inner.armed = None;
        if let Some(&Reverse((at, ..))) = inner.queue.peek() {
            self.arm(&mut inner, at);
        }
    }

    fn arm(&self, inner: &mut Inner, at: Micros) {
        let on_grid = on_grid(at);
        inner.armed = Some(at);
        inner.expected = on_grid.max(self.clock.now());
        self.alarm.set(on_grid);
    }

    /// Wakes everyone, whatever their deadlines.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = self.inner.borrow().slots.iter().filter_map(|s| s.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn set(&self, id: u32, at: Micros, waker: &Waker) {
        let mut inner = self.inner.borrow_mut();
        let slot = &mut inner.slots[id as usize];
        slot.deadline = at;
        match &mut slot.waker {
            Some(w) => w.clone_from(waker),
            None => slot.waker = Some(waker.clone()),
        }
        if at < slot.queued {
            slot.queued = at;
            let generation = slot.generation;
            inner.queue.push(Reverse((at, id, generation)));
            if inner.armed.is_none_or(|armed| at < armed) {
                self.arm(&mut inner, at);
            }
        }
    }
}

fn on_grid(at: Micros) -> Micros {
    Micros(at.0.saturating_add(GRID - 1).div_euclid(GRID) * GRID)
}

impl Timer {
    /// Wakes `waker` at `at` or as soon as possible after it; replaces what was set before. `Micros::NEVER` unsets.
    pub fn set(&self, at: Micros, waker: &Waker) {
        self.timers.set(self.slot, at, waker);
    }

    /// Waits until `at`.
    pub async fn until(&self, at: Micros) {
        std::future::poll_fn(|cx| {
            if self.timers.clock.now() >= at {
                return std::task::Poll::Ready(());
            }
            self.set(at, cx.waker());
            std::task::Poll::Pending
        })
        .await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut inner = self.timers.inner.borrow_mut();
        let slot = &mut inner.slots[self.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        (slot.deadline, slot.queued, slot.waker) = (Micros::NEVER, Micros::NEVER, None);
        inner.free.push(self.slot);
    }
}

#[cfg(target_os = "linux")]
use linux::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use crate::time::{Clock, Micros};

    /// A `timerfd` on the monotonic clock.
    pub(super) struct Alarm {
        fd: AsyncFd<OwnedFd>,
        epoch: Micros,
    }

    impl Alarm {
        #[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        pub(super) fn new(clock: Clock) -> io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: the descriptor is owned by the `AsyncFd`, is never lent out mutably, and closes after it is
            // deregistered.
            let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
                .map_err(io::Error::from)?;
            Ok(Self { fd, epoch: Micros(clock.epoch_us()) })
        }

        pub(super) fn set(&self, at: Micros) {
            // A zero would disarm; what lies in the past fires at once.
            let us = (self.epoch + at).0.max(1);
            let spec = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec { tv_sec: us / 1_000_000, tv_nsec: us % 1_000_000 * 1_000 },
            };
            // Cannot fail: the descriptor is ours and the time is in range.
            let set = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec);
            debug_assert!(set.is_ok());
        }

        pub(super) async fn wait(&self) {
            loop {
                let Ok(mut ready) = self.fd.readable().await else {
                    return std::future::pending().await;
                };
                let mut expirations = [0; 8];
                let read = rustix::io::read(self.fd.get_ref(), &mut expirations);
                ready.clear_ready();
                if read.is_ok() {
                    return;
                } // else it was set again before it was read
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
use portable::Alarm;

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::cell::Cell;
    use std::io;

    use crate::time::{Clock, Micros};

    /// Tokio's timer, to the millisecond.
    pub(super) struct Alarm {
        at: Cell<Micros>,
        changed: tokio::sync::Notify,
        clock: Clock,
    }

    impl Alarm {
        pub(super) fn new(clock: Clock) -> io::Result<Self> {
            Ok(Self { at: Cell::new(Micros::NEVER), changed: tokio::sync::Notify::new(), clock })
        }

        pub(super) fn set(&self, at: Micros) {
            self.at.set(at);
            self.changed.notify_one();
        }

        pub(super) async fn wait(&self) {
            loop {
                let left = if self.at.get() == Micros::NEVER {
                    std::time::Duration::from_secs(3600)
                } else {
                    (self.at.get() - self.clock.now()).to_std()
                };
                tokio::select! {
                    () = tokio::time::sleep(left) => if self.clock.now() >= self.at.get() {
                        self.at.set(Micros::NEVER);
                        return;
                    },
                    () = self.changed.notified() => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn run<F: Future>(f: impl FnOnce(Timers) -> F) -> F::Output {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(tokio::task::LocalSet::new().run_until(async {
            let timers = Timers::new(Clock::start()).unwrap();
            let ticker = timers.clone();
            tokio::task::spawn_local(async move { ticker.run().await });
            f(timers).await
        }))
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        run(|timers| async move {
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [30, 10, 20, 0, 25]
                .into_iter()
                .map(|ms| {
                    let (timer, order, clock) = (timers.timer(), Rc::clone(&order), timers.clock);
                    tokio::task::spawn_local(async move {
                        timer.until(Micros::from_millis(ms)).await;
                        assert!(clock.now() >= Micros::from_millis(ms));
                        order.borrow_mut().push(ms);
                    })
                })
                .collect();
            for t in tasks {
                t.await.unwrap();
            }
            assert_eq!(*order.borrow(), [0, 10, 20, 25, 30]);
        });
    }

    #[test]
    fn a_deadline_can_move_both_ways() {
        run(|timers| async move {
            let (timer, waker) = (timers.timer(), Waker::noop());
            let now = timers.clock.now();
            timer.set(now + Micros::from_secs(60), waker);
            timer.set(now + Micros::from_millis(5), waker); // earlier: queued twice
            timer.set(now + Micros::from_millis(20), waker); // later: the first entry is looked at and put back
            timer.until(now + Micros::from_millis(12)).await;
            assert!(timers.clock.now() >= now + Micros::from_millis(12));
            drop(timer);
            assert_eq!(timers.inner.borrow().free.len(), 1);
            assert_eq!(timers.timer().slot, 0, "a freed slot is used again");
        });
    }
}
