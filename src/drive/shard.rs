//! A shard: one thread, one single-threaded runtime, one timer, its share of the devices, and its own recorder.
//! Nothing is shared with other shards on the way of a frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::connection::DeviceTask;
use super::timer::Timers;
use crate::device::Device;
use crate::device::ear::Ear;
use crate::device::plan::Plan;
use crate::event::Event;
use crate::measure::{Groups, Interval, Recorder, health};
use crate::scenario::arrival::Stay;
use crate::time::{Clock, Micros};
use crate::transport::Transport;
use crate::transport::websocket::Endpoint;

/// What a shard needs to know.
pub struct Config {
    /// The run's clock.
    pub clock: Clock,
    /// The conversation.
    pub plan: Arc<Plan>,
    /// Where to connect.
    pub endpoint: Arc<Endpoint>,
    /// Width of an interval.
    pub interval: Micros,
    /// The stays of this shard's devices, by arrival.
    pub stays: Box<dyn Iterator<Item = Stay> + Send>,
    /// Open arrivals: devices in the whole run at this moment, and the most there may be.
    pub cap: Option<(Arc<AtomicU32>, u32)>,
    /// The groups of devices.
    pub groups: Groups,
    /// When load ends.
    pub end: Micros,
    /// Orders from the run.
    pub control: watch::Receiver<Control>,
    /// Where intervals go.
    pub results: mpsc::UnboundedSender<(usize, Report)>,
}

/// Orders to all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Carry on.
    Run,
    /// Begin no more turns from this instant on.
    LeaveAt(Micros),
    /// Leave now.
    Abort {
        /// True when unanswered turns count as failed.
        owed: bool,
    },
}

/// What a shard tells the run.
#[derive(Debug)]
pub enum Report {
    /// An interval is over.
    Interval(Box<Interval>),
    /// The last device has left; what happened since the last interval.
    Done(Box<Interval>),
    /// The shard could not start.
    Failed(String),
}

/// What the tasks of a shard share.
pub struct Shared {
    /// The run's clock.
    pub clock: Clock,
    /// The shard's timers.
    pub timers: Timers,
    /// Where to connect.
    pub endpoint: Arc<Endpoint>,
    /// Counts and distributions.
    pub recorder: RefCell<Recorder>,
    /// Finds first audible samples.
    pub ear: RefCell<Ear>,
    /// The latest order, with a number that changes with it.
    pub control: Cell<(u32, Control)>,
    /// Playing time of a byte sent, µs.
    us_per_byte: f64,
    /// Close code of devices that leave.
    pub(super) close_code: u16,
    /// Connections whose server must not hear that they have ended, the oldest first.
    graves: RefCell<VecDeque<Box<dyn Transport>>>,
}

/// Dead connections that a shard keeps open: each costs a descriptor. Beyond that the oldest are closed after all.
const GRAVES: usize = 2_000;

impl Shared {
    /// For devices that follow `plan`; needs a tokio runtime.
    pub fn new(clock: Clock, plan: &Plan, endpoint: Arc<Endpoint>) -> io::Result<Self> {
        let can = plan.dialect.capabilities();
        let mut recorder = Recorder::new(plan.warmup, can.text != crate::dialect::TextGranularity::None);
        if can.stt {
            recorder.without_replies();
        }
        Ok(Self {
            clock,
            timers: Timers::new(clock)?,
            endpoint,
            recorder: RefCell::new(recorder),
            ear: RefCell::new(Ear::new(plan.setup.down)),
            control: Cell::new((0, Control::Run)),
            us_per_byte: plan.us_per_byte(),
            close_code: can.close_code,
            graves: RefCell::default(),
        })
    }

    /// How much speech so many bytes are, at the scenario's own bit rate.
    pub fn playing_time(&self, bytes: usize) -> Micros {
        Micros((bytes as f64 * self.us_per_byte) as i64)
    }

    /// Keeps a dead connection open, and silent, until the run ends.
    pub fn bury(&self, transport: Box<dyn Transport>) {
        let mut graves = self.graves.borrow_mut();
        if graves.len() >= GRAVES {
            graves.pop_front();
        }
        graves.push_back(transport);
    }

    /// Ends an interval of this thread.
    fn take_interval(&self) -> Interval {
        let mut done = self.recorder.borrow_mut().take();
        // Of the thread since it began: the run takes the differences.
        done.counts.cpu = health::thread_cpu();
        done
    }
}

/// Runs shard `index` to its end; blocks the calling thread.
pub fn run(index: usize, config: Config) {
    let results = config.results.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let finished = runtime.and_then(|rt| LocalSet::new().block_on(&rt, drive(index, config)));
    if let Err(e) = finished {
        let _ = results.send((index, Report::Failed(format!("shard {index}: {e}"))));
    }
}

async fn drive(index: usize, config: Config) -> io::Result<()> {
    let Config { clock, plan, endpoint, interval, stays, cap, groups, end, mut control, results } = config;
    let shared = Rc::new(Shared::new(clock, &plan, endpoint)?);
    shared.recorder.borrow_mut().of_run(groups, end, plan.turn.timeout);
    let ticker = shared.timers.clone();
    let watch = Rc::clone(&shared);
    tokio::task::spawn_local(async move {
        ticker.run_watched(|lag| watch.recorder.borrow_mut().ticked(watch.clock.now(), lag)).await;
    });

    let (gone, mut left) = mpsc::unbounded_channel::<()>();
    let spawner = Spawner { shared: Rc::clone(&shared), plan, cap, gone };
    let arrivals = tokio::task::spawn_local(spawner.spawn_all(stays));

    let timer = shared.timers.timer();
    // Also of a thread that began late: the n-th interval of every thread, and of every process, is of the same time.
    let mut next = interval.0;
    loop {
        tokio::select! {
            () = timer.until(Micros(next)) => {
                next += interval.0;
                let done = shared.take_interval();
                // The run may have gone; the devices are told by `control`.
                let _ = results.send((index, Report::Interval(Box::new(done))));
            }
            changed = control.changed() => {
                // A run that has gone away wants nothing any more.
                let order = if changed.is_ok() { *control.borrow_and_update() } else { Control::Abort { owed: false } };
                shared.control.set((shared.control.get().0 + 1, order));
                if let Control::LeaveAt(at) = order {
                    shared.recorder.borrow_mut().ends(at);
                }
                if matches!(order, Control::Abort { .. }) {
                    arrivals.abort();
                }
                shared.timers.wake_all();
            }
            // Closed when the spawner and every device have let go of their end.
            None = left.recv() => break,
        }
    }
    shared.recorder.borrow_mut().finish(clock.now());
    let rest = shared.take_interval();
    let _ = results.send((index, Report::Done(Box::new(rest))));
    Ok(())
}

struct Spawner {
    shared: Rc<Shared>,
    plan: Arc<Plan>,
    cap: Option<(Arc<AtomicU32>, u32)>,
    /// Held by every task: the channel closes when all are gone.
    gone: mpsc::UnboundedSender<()>,
}

impl Spawner {
    async fn spawn_all(self, stays: Box<dyn Iterator<Item = Stay> + Send>) {
        let timer = self.shared.timers.timer();
        for stay in stays {
            timer.until(stay.arrive).await;
            if let (_, Control::LeaveAt(at)) = self.shared.control.get()
                && at <= stay.arrive
            {
                break;
            }
            let place = match &self.cap {
                None => None,
                Some((there, most)) => match Place::take(there, *most) {
                    Some(place) => Some(place),
                    None => {
                        let turns = self.plan.turn.count.unwrap_or(1);
                        let now = self.shared.clock.now();
                        self.shared.recorder.borrow_mut().record(stay.device, now, Event::Missed { turns });
                        continue;
                    }
                },
            };
            let device = Device::new(stay.device, Arc::clone(&self.plan), stay.arrive, stay.leave_at);
            let task = DeviceTask::new(device, Rc::clone(&self.shared), None);
            let gone = self.gone.clone();
            tokio::task::spawn_local(async move {
                task.await;
                drop((place, gone));
            });
        }
    }
}

/// One of the places that an open-loop fleet has.
struct Place(Arc<AtomicU32>);

impl Place {
    fn take(there: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let taken = there.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1));
        taken.is_ok().then(|| Self(Arc::clone(there)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
