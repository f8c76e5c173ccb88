//! The sessions of a server, for all of its threads: those that are connected, to be told what to do, and those whose
//! device is away, kept for it to come back. Sans-IO.
//!
//! ```text
//! join ─▶ connected ──lost──▶ parked ──resume──▶ connected (another connection, perhaps another thread)
//!             │                 └──time, or too many──▶ given up: its turns are logged, its slots are free
//!             └──goodbye──▶ gone
//! ```
//!
//! A reply whose device is away goes on being made: it keeps its slots as long as it would have, and what has been made
//! by the time the device is back is there at once. Only a server that drops such replies frees the slots at once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::session::{Agreed, Talk, note_waits};
use super::timetable::chosen;
use super::truth::{Row, Truth};
use super::world::Stats;
use crate::scenario::ReferencePlan;
use crate::seed::Seed;
use crate::time::Micros;

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close with this code.
    Close(u16),
    /// Reset.
    Reset,
    /// The device has come back on another connection: leave the session to that.
    HandOver,
}

/// The way to a connection from any thread.
#[derive(Debug)]
pub(super) struct Line {
    /// 0: nothing; a close code; [`RESET`]; [`HAND_OVER`].
    order: AtomicU32,
    waker: Waker,
    /// Who waits for the session of this connection.
    heir: Mutex<Option<Waker>>,
}

const RESET: u32 = 1 << 16;
const HAND_OVER: u32 = 2 << 16;

impl Line {
    /// What it was told since the last time.
    pub(super) fn order(&self) -> Option<Order> {
        // Looked at for each message: nearly always nothing.
        if self.order.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.order.swap(0, Ordering::Acquire) {
            0 => None,
            RESET => Some(Order::Reset),
            HAND_OVER => Some(Order::HandOver),
            code => u16::try_from(code).ok().map(Order::Close),
        }
    }

    fn tell(&self, order: Order) {
        let order = match order {
            Order::Close(code) => u32::from(code),
            Order::Reset => RESET,
            Order::HandOver => HAND_OVER,
        };
        self.order.store(order, Ordering::Release);
        self.waker.wake_by_ref();
    }

    fn wake_heir(&self) {
        if let Some(heir) = lock(&self.heir).take() {
            heir.wake();
        }
    }
}

/// A session whose device is away.
pub(super) struct Parked {
    pub(super) talk: Box<Talk>,
    /// Rows of turns that are not over.
    pub(super) rows: VecDeque<Box<Row>>,
    until: Micros,
}

impl Parked {
    pub(super) fn new(talk: Box<Talk>, rows: VecDeque<Box<Row>>) -> Self {
        Self { talk, rows, until: Micros::NEVER }
    }

    /// Its device does not come back.
    fn give_up(mut self, now: Micros, truth: &Truth) {
        if let Some(mut reply) = self.talk.reply.take()
            && let Some(pipeline) = reply.pipeline.take()
        {
            note_waits(&mut self.rows, reply.turn, pipeline.waits());
            pipeline.cancel(now);
        }
        for row in self.rows {
            truth.log(*row);
        }
    }
}

enum Holder {
    Connected(Arc<Line>),
    Parked(Box<Parked>),
}

/// What became of a wish to resume.
pub(super) enum Resumption {
    /// Here it is, with its number.
    Here(u64, Box<Parked>),
    /// Its old connection has been told to let go: ask again when woken.
    Asked,
    /// There is no such session, or not one that could go on like this.
    Unknown,
}

/// All sessions.
pub(super) struct Sessions {
    plan: Arc<ReferencePlan>,
    stats: Arc<Stats>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<u64, Holder>,
    /// Those that are away, by when they are given up.
    away: BTreeSet<(Micros, u64)>,
    /// Those of them whose replies are being made, and need a look when a stage ends.
    working: BTreeSet<u64>,
    /// Woken when somebody has to look earlier than before.
    keeper: Option<Waker>,
}

impl Sessions {
    pub(super) fn new(plan: Arc<ReferencePlan>, stats: Arc<Stats>) -> Self {
        Self { plan, stats, inner: Mutex::default() }
    }

    /// The name by which a device asks for its session: a number to find it by, and something to show that it is its own.
    pub(super) fn name(&self, number: u64) -> String {
        let token = Seed(self.plan.seed).stream("reference session", number).bits();
        format!("s{number}-{token:016x}")
    }

    fn number(&self, name: &str) -> Option<u64> {
        let number = name.strip_prefix('s')?.split('-').next()?.parse().ok()?;
        (self.name(number) == name).then_some(number)
    }

    /// A connection with a session of its own.
    pub(super) fn join(&self, number: u64, waker: Waker) -> Arc<Line> {
        let line = Arc::new(Line { order: AtomicU32::new(0), waker, heir: Mutex::default() });
        lock(&self.inner).held.insert(number, Holder::Connected(Arc::clone(&line)));
        line
    }

    /// The connection is gone, and its session with it.
    pub(super) fn leave(&self, number: u64, line: &Arc<Line>) {
        lock(&self.inner).forget(number, line);
        line.wake_heir();
    }

    /// The connection is gone; its session is kept for a while.
    pub(super) fn park(&self, now: Micros, number: u64, line: &Arc<Line>, parked: Parked, truth: &Truth) {
        let until = now.saturating_add(self.plan.resume);
        let mut parked = Box::new(Parked { until, ..parked });
        let mut inner = lock(&self.inner);
        if let Some(pipeline) = parked.talk.reply.as_mut().and_then(|r| r.pipeline.as_mut())
            && self.slots_are_scarce()
            && pipeline.works()
        {
            if let Some(keeper) = &inner.keeper {
                pipeline.hand_to(keeper);
            }
            inner.working.insert(number);
        }
        inner.held.insert(number, Holder::Parked(parked));
        inner.away.insert((until, number));
        self.stats.parked.fetch_add(1, Ordering::Relaxed);
        while inner.away.len() > self.plan.max_parked.max(1) as usize
            && let Some((_, oldest)) = inner.away.pop_first()
        {
            self.give_up(&mut inner, oldest, now, truth);
        }
        let keeper = inner.keeper.clone();
        drop(inner);
        line.wake_heir();
        if let Some(keeper) = keeper {
            keeper.wake();
        }
    }

    /// A device asks for a session by name, on a connection with the session `own`. `waker` is woken when it is worth asking
    /// again.
    pub(super) fn resume(
        &self,
        name: &str,
        agreed: &Agreed,
        own: u64,
        line: &Arc<Line>,
        waker: &Waker,
    ) -> Resumption {
        let Some(number) = self.number(name).filter(|n| self.plan.resume > Micros::ZERO && *n != own) else {
            return Resumption::Unknown;
        };
        let mut inner = lock(&self.inner);
        match inner.held.get(&number) {
            Some(Holder::Connected(other)) => {
                // Under the lock: it cannot let go in between, and wake nobody.
                *lock(&other.heir) = Some(waker.clone());
                other.tell(Order::HandOver);
                Resumption::Asked
            }
            Some(Holder::Parked(parked)) if parked.talk.agreed == *agreed => {
                let Some(Holder::Parked(parked)) =
                    inner.held.insert(number, Holder::Connected(Arc::clone(line)))
                else {
                    return Resumption::Unknown;
                };
                inner.forget(own, line);
                inner.away.remove(&(parked.until, number));
                inner.working.remove(&number);
                drop(inner);
                self.stats.parked.fetch_sub(1, Ordering::Relaxed);
                self.stats.resumed.fetch_add(1, Ordering::Relaxed);
                Resumption::Here(number, parked)
            }
            _ => Resumption::Unknown,
        }
    }

    /// Tells a share of the connections, chosen by seed; returns how many.
    pub(super) fn strike(&self, key: u64, share: f64, order: Order) -> usize {
        let inner = lock(&self.inner);
        let struck = inner.held.iter().filter_map(|(number, holder)| match holder {
            Holder::Connected(line) if chosen(self.plan.seed, "reference strike", key, *number, share) => {
                Some(line)
            }
            _ => None,
        });
        struck.map(|line| line.tell(order)).count()
    }

    /// Something has changed for everybody.
    pub(super) fn wake_all(&self) {
        for holder in lock(&self.inner).held.values() {
            if let Holder::Connected(line) = holder {
                line.waker.wake_by_ref();
            }
        }
    }

    /// Gives up who has been away for too long, and lets the replies of the others go on being made. Then waits for
    /// [`deadline`](Self::deadline), or to be woken by `keeper`.
    pub(super) fn on_time(&self, now: Micros, keeper: &Waker, truth: &Truth) {
        let mut inner = lock(&self.inner);
        while let Some((until, number)) = inner.away.first().copied()
            && until <= now
        {
            inner.away.pop_first();
            self.give_up(&mut inner, number, now, truth);
        }
        let Inner { held, working, keeper: known, .. } = &mut *inner;
        let handed = known.as_ref().is_some_and(|k| k.will_wake(keeper));
        *known = Some(keeper.clone());
        working.retain(|number| {
            let Some(pipeline) = held.get_mut(number).and_then(Holder::pipeline) else {
                return false;
            };
            if !handed {
                pipeline.hand_to(keeper);
            }
            pipeline.settle(now);
            pipeline.works()
        });
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Micros {
        let mut inner = lock(&self.inner);
        let Inner { held, working, away, .. } = &mut *inner;
        let pipelines = working.iter().filter_map(|n| match held.get(n) {
            Some(Holder::Parked(p)) => p.talk.reply.as_ref()?.pipeline.as_ref(),
            _ => None,
        });
        let next = pipelines.map(super::pipeline::Pipeline::next_work).min().unwrap_or(Micros::NEVER);
        away.first().map_or(next, |(until, _)| next.min(*until))
    }

    /// The server stops.
    pub(super) fn give_up_all(&self, now: Micros, truth: &Truth) {
        let mut inner = lock(&self.inner);
        while let Some((_, number)) = inner.away.pop_first() {
            self.give_up(&mut inner, number, now, truth);
        }
    }

    /// Connected sessions and parked ones, and all that is noted of the latter.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let inner = lock(&self.inner);
        (inner.held.len() - inner.away.len(), inner.away.len() + inner.working.len())
    }

    /// One that has been taken out of `away`.
    fn give_up(&self, inner: &mut Inner, number: u64, now: Micros, truth: &Truth) {
        inner.working.remove(&number);
        if let Some(Holder::Parked(parked)) = inner.held.remove(&number) {
            self.stats.parked.fetch_sub(1, Ordering::Relaxed);
            self.stats.abandoned.fetch_add(1, Ordering::Relaxed);
            parked.give_up(now, truth);
        }
    }

    /// Without limits, a stage's end concerns nobody else: it can be looked at when the device is back.
    fn slots_are_scarce(&self) -> bool {
        let p = &self.plan;
        p.stt_slots > 0 || p.llm_slots > 0 || p.tts_slots > 0
    }
}

impl Holder {
    fn pipeline(&mut self) -> Option<&mut super::pipeline::Pipeline> {
        match self {
            Self::Parked(p) => p.talk.reply.as_mut()?.pipeline.as_mut(),
            Self::Connected(_) => None,
        }
    }
}

impl Inner {
    /// Unless somebody else has it by now.
    fn forget(&mut self, number: u64, line: &Arc<Line>) {
        if matches!(self.held.get(&number), Some(Holder::Connected(l)) if Arc::ptr_eq(l, line)) {
            self.held.remove(&number);
        }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked elsewhere left it whole: nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
