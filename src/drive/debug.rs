//! One device on its own, watched: what `voxload debug` runs.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::connection::{DeviceTask, Tap};
use super::run::Signals;
use super::shard::{Control, Shared};
use crate::device::moment::Moment;
use crate::device::plan::Plan;
use crate::device::watch::Watch;
use crate::device::{Device, Outgoing};
use crate::event::Event;
use crate::time::{Clock, Micros};
use crate::transport::websocket::Endpoint;
use crate::transport::{Closed, Frame};

/// Attempts to connect before a target that never answered is given up.
const ATTEMPTS: u32 = 3;

/// How it went.
pub struct Played {
    /// What was seen.
    pub watch: Watch,
    /// True when it was ended before its end: by the user, or because nobody listens any more.
    pub interrupted: bool,
    /// Why nobody listens any more.
    pub unheard: Option<io::Error>,
}

/// Plays one device until it has had its turns, gives up, or is interrupted. Every moment goes to `tell`; when that
/// fails, nobody listens any more, and the device leaves. Needs a [`LocalSet`](tokio::task::LocalSet).
pub async fn play(
    device: u32,
    plan: Arc<Plan>,
    endpoint: Arc<Endpoint>,
    clock: Clock,
    record: bool,
    tell: impl FnMut(Moment) -> io::Result<()> + 'static,
) -> io::Result<Played> {
    let shared = Rc::new(Shared::new(clock, &plan, endpoint)?);
    let ticker = shared.timers.clone();
    let ticking = tokio::task::spawn_local(async move { ticker.run().await });

    let enough = Rc::new(Notify::new());
    let seen = Rc::new(RefCell::new(Spied {
        watch: Watch::new(Arc::clone(&plan), device, record),
        tell: Box::new(tell),
        unheard: None,
        enough: Rc::clone(&enough),
    }));
    let device = Device::new(device, plan, clock.now(), Micros::NEVER);
    let mut task = DeviceTask::new(device, Rc::clone(&shared), Some(Box::new(Spy(Rc::clone(&seen)))));
    let mut signals = Signals::new();
    let mut interrupted = false;
    loop {
        tokio::select! {
            () = &mut task => break,
            () = enough.notified() => {}
            () = signals.next() => {
                if std::mem::replace(&mut interrupted, true) {
                    break;
                }
            }
        }
        let (generation, _) = shared.control.get();
        shared.control.set((generation + 1, Control::Abort { owed: false }));
        shared.timers.wake_all();
    }
    drop(task);
    ticking.abort();
    let Some(mut spied) = Rc::into_inner(seen).map(RefCell::into_inner) else {
        return Err(io::Error::other("the device did not end"));
    };
    spied.watch.finish();
    spied.tell_all();
    let Spied { watch, unheard, .. } = spied;
    Ok(Played { watch, interrupted: interrupted || unheard.is_some(), unheard })
}

/// The device's tap.
struct Spy(Rc<RefCell<Spied>>);

struct Spied {
    watch: Watch,
    tell: Box<dyn FnMut(Moment) -> io::Result<()>>,
    unheard: Option<io::Error>,
    /// Told when the device should leave.
    enough: Rc<Notify>,
}

impl Spied {
    fn tell_all(&mut self) {
        while let Some(moment) = self.watch.poll() {
            if self.unheard.is_none()
                && let Err(e) = (self.tell)(moment)
            {
                self.unheard = Some(e);
                self.enough.notify_one();
            }
        }
        if !self.watch.connected() && self.watch.refusals() >= ATTEMPTS {
            self.enough.notify_one();
        }
    }
}

impl Tap for Spy {
    fn sent(&mut self, at: Micros, sent: &Outgoing) {
        let spied = &mut *self.0.borrow_mut();
        spied.watch.sent(at, sent);
        spied.tell_all();
    }

    fn received(&mut self, frame: &Frame) {
        self.0.borrow_mut().watch.received(frame);
    }

    fn closed(&mut self, at: Micros, closed: &Closed) {
        self.0.borrow_mut().watch.closed(at, closed);
    }

    fn goodbye(&mut self) {
        self.0.borrow_mut().watch.goodbye();
    }

    fn event(&mut self, event: &Event) {
        self.0.borrow_mut().watch.event(event);
    }

    fn settled(&mut self, at: Micros, device: &Device) {
        let spied = &mut *self.0.borrow_mut();
        spied.watch.settled(at, device);
        spied.tell_all();
    }
}
