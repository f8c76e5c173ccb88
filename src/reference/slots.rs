//! Slots: how many requests a stage works on at once. Those beyond wait in the order they came, and that is how the
//! server saturates like a real one.
//!
//! ```text
//! request(at) ─▶ granted at once ──────────────┐
//!             └▶ queue ─▶ granted at the release ┴─▶ release(at): the first in the queue is granted at that instant
//! ```
//!
//! All instants are handed in: a slot is given back at the instant at which the work was planned to end, so waiting
//! times add up exactly however late a thread wakes. Dropping a [`Slot`] gives it back too: work that nobody waits
//! for any more never keeps a slot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::time::Micros;

/// The slots of one stage, shared by every session of every thread.
#[derive(Clone, Debug)]
pub(super) struct Slots(Option<Arc<Mutex<Queue>>>);

#[derive(Debug)]
struct Queue {
    free: u32,
    waiting: VecDeque<Waiter>,
    /// The latest instant seen: when dropped work is taken to have ended.
    latest: Micros,
}

#[derive(Debug)]
struct Waiter {
    requested: Micros,
    granted: Arc<AtomicI64>,
    waker: Waker,
}

/// A slot, or a place in the queue for one.
#[derive(Debug)]
pub(super) struct Slot {
    requested: Micros,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    queue: Arc<Mutex<Queue>>,
    granted: Arc<AtomicI64>,
}

impl Slots {
    /// So many slots; 0: no limit.
    pub(super) fn new(slots: u32) -> Self {
        Self((slots > 0).then(|| {
            Arc::new(Mutex::new(Queue { free: slots, waiting: VecDeque::new(), latest: Micros(i64::MIN) }))
        }))
    }

    /// Asks for a slot at `at`; `waker` is woken when it is granted later.
    pub(super) fn request(&self, at: Micros, waker: &Waker) -> Slot {
        let place = self.0.as_ref().map(|queue| {
            let granted = Arc::new(AtomicI64::new(Micros::NEVER.0));
            let mut q = lock(queue);
            q.latest = q.latest.max(at);
            if q.free > 0 {
                q.free -= 1;
                granted.store(at.0, Ordering::Release);
            } else {
                q.waiting.push_back(Waiter {
                    requested: at,
                    granted: Arc::clone(&granted),
                    waker: waker.clone(),
                });
            }
            drop(q);
            Place { queue: Arc::clone(queue), granted }
        });
        Slot { requested: at, place }
    }
}

impl Slot {
    /// When it was granted; `None` while it waits.
    pub(super) fn granted(&self) -> Option<Micros> {
        let Some(place) = &self.place else {
            return Some(self.requested);
        };
        let at = Micros(place.granted.load(Ordering::Acquire));
        (at != Micros::NEVER).then_some(at)
    }

    /// From now on `waker` is woken when it is granted.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let Some(place) = &self.place else {
            return;
        };
        let mut q = lock(&place.queue);
        if let Some(waiter) = q.waiting.iter_mut().find(|w| Arc::ptr_eq(&w.granted, &place.granted)) {
            waiter.waker.clone_from(waker);
            return;
        }
        drop(q);
        // Granted a moment ago, and somebody else was told.
        waker.wake_by_ref();
    }

    /// When it was asked for.
    pub(super) fn requested(&self) -> Micros {
        self.requested
    }

    /// Gives it back at `at`, or leaves the queue.
    pub(super) fn release(mut self, at: Micros) {
        if let Some(place) = self.place.take() {
            place.leave(at);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.leave(Micros(i64::MIN));
        }
    }
}

impl Place {
    fn leave(self, at: Micros) {
        let mut q = lock(&self.queue);
        q.latest = q.latest.max(at);
        if self.granted.load(Ordering::Acquire) == Micros::NEVER.0 {
            q.waiting.retain(|w| !Arc::ptr_eq(&w.granted, &self.granted));
            return;
        }
        let at = if at.0 == i64::MIN { q.latest } else { at };
        match q.waiting.pop_front() {
            Some(next) => {
                next.granted.store(at.max(next.requested).0, Ordering::Release);
                drop(q);
                next.waker.wake();
            }
            None => q.free += 1,
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // A thread that panicked elsewhere left the queue whole: nothing in here panics half-way.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(s: &Slots, at: i64) -> Slot {
        s.request(Micros(at), Waker::noop())
    }

    #[test]
    fn without_a_limit_everyone_is_served_at_once() {
        let slots = Slots::new(0);
        let all: Vec<_> = (0..100).map(|t| ask(&slots, t)).collect();
        assert!(all.iter().all(|s| s.granted() == Some(s.requested())));
    }

    #[test]
    fn first_come_first_served_at_the_instant_of_the_release() {
        let slots = Slots::new(2);
        let (a, b, c, d) = (ask(&slots, 0), ask(&slots, 1), ask(&slots, 2), ask(&slots, 3));
        assert_eq!([a.granted(), b.granted()], [Some(Micros(0)), Some(Micros(1))]);
        assert_eq!([c.granted(), d.granted()], [None, None]);
        b.release(Micros(10));
        assert_eq!([c.granted(), d.granted()], [Some(Micros(10)), None]);
        a.release(Micros(15));
        assert_eq!(d.granted(), Some(Micros(15)));
    }

    #[test]
    fn cancelled_work_frees_its_slot_and_its_place_in_the_queue() {
        let slots = Slots::new(1);
        let (a, b, c) = (ask(&slots, 0), ask(&slots, 1), ask(&slots, 2));
        drop(b);
        drop(a);
        // Nobody said when: the latest instant that was seen.
        assert_eq!(c.granted(), Some(Micros(2)));
        c.release(Micros(9));
        assert_eq!(ask(&slots, 20).granted(), Some(Micros(20)));
    }

    proptest::proptest! {
        /// Never more than the limit at work, and nobody overtakes.
        #[test]
        fn never_more_than_the_limit(limit in 1_u32..5, steps in proptest::collection::vec((0_usize..3, 0_usize..8), 1..200)) {
            let slots = Slots::new(limit);
            let mut held: Vec<Slot> = Vec::new();
            for (t, (what, which)) in steps.into_iter().enumerate() {
                let at = Micros(t as i64);
                match what {
                    0 => held.push(slots.request(at, Waker::noop())),
                    1 if which < held.len() => held.remove(which).release(at),
                    _ if which < held.len() => drop(held.remove(which)),
                    _ => {}
                }
                let working = held.iter().filter(|s| s.granted().is_some()).count();
                proptest::prop_assert_eq!(working, held.len().min(limit as usize));
                let first_waiting = held.iter().position(|s| s.granted().is_none()).unwrap_or(held.len());
                proptest::prop_assert!(held.iter().skip(first_waiting).all(|s| s.granted().is_none()));
            }
        }
    }
}
