//! A device on a real connection: the task that moves a [`Device`] through time and a [`Transport`] for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::hearsay;
use super::shard::{Control, Shared};
use super::timer::Timer;
use crate::device::{Device, Input, Outgoing, Output};
use crate::event::Event;
use crate::fault::Impairment;
use crate::time::Micros;
use crate::transport::impaired::Way;
use crate::transport::{Closed, ConnectTimes, Frame, Transport};

/// Frames read from one connection before others get their turn.
const READ_BATCH: u32 = 64;

/// How long a goodbye may take.
const GOODBYE: Micros = Micros::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<(Box<dyn Transport>, ConnectTimes), Closed>>>>;

/// Sees every frame of a device, for `voxload debug`.
pub trait Tap {
    /// A frame was written.
    fn sent(&mut self, at: Micros, sent: &Outgoing);
    /// A frame arrived; the device has not seen it yet.
    fn received(&mut self, frame: &Frame);
    /// The open connection ended from the other side; the device does not know yet.
    fn closed(&mut self, at: Micros, closed: &Closed);
    /// The device says goodbye.
    fn goodbye(&mut self);
    /// Something happened to the device.
    fn event(&mut self, event: &Event);
    /// The device has dealt with all of that.
    fn settled(&mut self, at: Micros, device: &Device);
}

/// The task of one device.
pub struct DeviceTask {
    device: Device,
    shared: Rc<Shared>,
    timer: Timer,
    connection: Connection,
    /// Frames that wait for the socket, with the time at which the harness was ready to write them.
    outbox: VecDeque<(Outgoing, Micros)>,
    /// A frame that has been handed over and is not yet written.
    unflushed: Option<Unflushed>,
    /// The latest time that the socket took nothing: from, and until (while it lasts: for ever).
    blocked: (Micros, Micros),
    control_seen: u32,
    /// When the device wants its next tick: kept, because asking it costs more than looking here.
    due: Micros,
    done: bool,
    /// The device has said its last words on the open connection: until when they are waited for.
    leaving: Option<Micros>,
    tap: Option<Box<dyn Tap>>,
    socket: Option<Arc<SocketWaker>>,
    /// The imitated network of the connection, or of the attempt to open one.
    way: Option<Way>,
    /// Connections asked for so far.
    connections: u32,
    /// The socket is to be looked at though it has not woken anybody.
    look: bool,
    /// Bytes of the connection up to the end of the last frame that was heard.
    heard: u64,
    /// The end of an utterance, on its way through the imitated network.
    delivering: Option<Delivering>,
}

/// The last frame of a turn's utterance: it has come through when so many bytes have.
struct Delivering {
    turn: u32,
    bytes: u64,
    written: Micros,
}

/// Tells a wake-up by the socket from one by the timer: most are by the timer, and then there is nothing to read.
struct SocketWaker {
    task: Waker,
    woken: AtomicBool,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

enum Connection {
    None,
    Opening(Opening),
    Open(Box<dyn Transport>),
    Closing(Box<dyn Transport>, Micros),
}

struct Unflushed {
    sent: Outgoing,
    bytes: usize,
    woke: Micros,
}

impl DeviceTask {
    /// A task for a device of this shard.
    pub fn new(mut device: Device, shared: Rc<Shared>, tap: Option<Box<dyn Tap>>) -> Self {
        if let Some(links) = &shared.endpoint.links {
            device.set_group(links.group(device.id()));
            if links.is_control(device.id()) {
                device.spare();
            }
        }
        let timer = shared.timers.timer();
        Self {
            device,
            shared,
            timer,
            connection: Connection::None,
            outbox: VecDeque::new(),
            unflushed: None,
            blocked: (Micros::ZERO, Micros::ZERO),
            control_seen: 0,
            due: Micros(i64::MIN),
            done: false,
            leaving: None,
            tap,
            socket: None,
            way: None,
            connections: 0,
            look: false,
            heard: 0,
            delivering: None,
        }
    }

    fn handle(&mut self, now: Micros, input: Input) {
        self.device.handle(now, input, &mut self.shared.ear.borrow_mut());
    }

    /// What the whole shard has been told.
    fn obey(&mut self, now: Micros) {
        let (generation, control) = self.shared.control.get();
        if generation == self.control_seen {
            return;
        }
        self.control_seen = generation;
        match control {
            Control::Run => {}
            Control::LeaveAt(at) => self.handle(now, Input::LeaveAt(at)),
            Control::Abort { owed } => self.handle(now, Input::Abort { owed }),
        }
    }

    /// Reads what has arrived. True when something did.
    fn poll_connection(&mut self, cx: &mut Context<'_>, now: Micros) -> bool {
        match &mut self.connection {
            Connection::None => false,
            Connection::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok((transport, times))) => {
                    self.connection = Connection::Open(transport);
                    self.heard = self.way.as_ref().map_or(0, Way::down);
                    self.handle(self.shared.clock.now(), Input::Connected(times));
                    true
                }
                Poll::Ready(Err(closed)) => {
                    self.drop_connection();
                    self.handle(self.shared.clock.now(), Input::Closed(closed));
                    true
                }
            },
            // What still comes is for nobody.
            Connection::Open(_) if self.leaving.is_some() => false,
            Connection::Open(_) => self.poll_read(cx, now),
            Connection::Closing(transport, deadline) => {
                if transport.poll_close(cx, self.shared.close_code).is_ready() || *deadline <= now {
                    self.drop_connection();
                }
                false
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Micros) -> bool {
        for n in 0..READ_BATCH {
            let Connection::Open(transport) = &mut self.connection else { return true };
            match transport.poll_recv(cx) {
                Poll::Pending => return n > 0,
                Poll::Ready(Ok(frame)) => {
                    if let Some(tap) = &mut self.tap {
                        tap.received(&frame);
                    }
                    if let Some(way) = &self.way {
                        // What the server's frame took on the wire: with TLS, that is not to be known.
                        let plain = self.shared.endpoint.tls.is_none();
                        self.heard += frame.wire_len() as u64;
                        self.device.set_link_delay(way.down_delay(now, plain.then_some(self.heard)));
                    }
                    self.handle(now, Input::Frame(frame));
                    self.take_outputs(now);
                    if self.leaving.is_some() {
                        return true;
                    }
                }
                Poll::Ready(Err(closed)) => {
                    self.closed(now, closed);
                    return true;
                }
            }
        }
        // More may have arrived: come back soon, after the others.
        cx.waker().wake_by_ref();
        true
    }

    /// The open connection is no more.
    fn closed(&mut self, now: Micros, closed: Closed) {
        if let Some(tap) = &mut self.tap {
            tap.closed(now, &closed);
        }
        let left = self.leaving.is_some();
        self.drop_connection();
        if !left {
            self.handle(now, Input::Closed(closed));
        }
    }

    fn drop_connection(&mut self) {
        let connection = std::mem::replace(&mut self.connection, Connection::None);
        self.outbox.clear();
        self.unflushed = None;
        self.blocked = (Micros::ZERO, Micros::ZERO);
        self.delivering = None;
        self.leaving = None;
        let Some(way) = self.way.take() else { return };
        if let Connection::Open(transport) | Connection::Closing(transport, _) = connection {
            let ended = Event::LinkEnded(Box::new(way.stats()));
            self.shared.recorder.borrow_mut().record(self.device.id(), self.shared.clock.now(), ended);
            if way.is_dead() {
                // The server must not hear of its end: nothing comes through any more.
                self.shared.bury(transport);
            }
        }
    }

    /// Opens a connection, over the device's network where it has one.
    fn connect(&mut self, now: Micros) {
        // One that is still saying goodbye has only as much time as that takes.
        if self.leaving.is_some() {
            self.poll_write(&mut Context::from_waker(Waker::noop()));
            self.hang_up();
        }
        self.drop_connection();
        let (shared, id) = (Rc::clone(&self.shared), self.device.id());
        let links = shared.endpoint.links.as_ref();
        self.way = links.and_then(|links| links.way(id, self.connections, now));
        self.connections = self.connections.wrapping_add(1);
        let way = self.way.clone();
        self.connection = Connection::Opening(Box::pin(async move {
            match way {
                Some(way) => shared.endpoint.connect_over(way, id, &shared.clock, &shared.timers).await,
                None => shared.endpoint.connect(id, &shared.clock).await,
            }
        }));
    }

    /// Drops the connection, with a goodbye if there is time for it.
    fn hang_up(&mut self) {
        if let Connection::Open(transport) = &mut self.connection {
            if let Some(tap) = &mut self.tap {
                tap.goodbye();
            }
            if self.way.is_some() {
                // The goodbye takes its time on the network; the device does not wait for it.
                self.see_off();
            } else {
                // If the socket takes it at once; the server has had its chance.
                let _ = transport.poll_close(&mut Context::from_waker(Waker::noop()), 1000);
            }
        }
        self.drop_connection();
    }

    /// Leaves the connection to a task of its own that says goodbye.
    fn see_off(&mut self) {
        if self.way.as_ref().is_none_or(Way::is_dead) {
            return;
        }
        let connection = std::mem::replace(&mut self.connection, Connection::None);
        let Connection::Open(mut transport) = connection else { return };
        let Some(way) = self.way.take() else { return };
        let (shared, id) = (Rc::clone(&self.shared), self.device.id());
        tokio::task::spawn_local(async move {
            let (timer, end) = (shared.timers.timer(), shared.clock.now() + GOODBYE);
            tokio::select! {
                () = std::future::poll_fn(|cx| transport.poll_close(cx, 1000)) => {}
                () = timer.until(end) => {}
            }
            let ended = Event::LinkEnded(Box::new(way.stats()));
            shared.recorder.borrow_mut().record(id, shared.clock.now(), ended);
        });
    }

    /// A fault of the scenario happens to the connection.
    fn impair(&mut self, now: Micros, what: Impairment) {
        if let Some(way) = &self.way {
            way.impair(now, what);
        }
        match what {
            Impairment::Reset | Impairment::Close => {
                if let Connection::Opening(opening) = &mut self.connection {
                    // The server shall have heard of an attempt that is broken off.
                    let _ = opening.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                }
                self.drop_connection();
            }
            // Whether it has something to do now, and when, is another question than before.
            Impairment::Lose(_) | Impairment::SlowRead(..) | Impairment::StallWrites(_) => self.look = true,
        }
    }

    /// Takes what the device wants. True when there was anything.
    fn take_outputs(&mut self, now: Micros) -> bool {
        let mut any = false;
        while let Some(output) = self.device.poll() {
            any = true;
            match output {
                Output::Connect => self.connect(now),
                Output::Send(outgoing) => self.outbox.push_back((outgoing, now)),
                Output::Hangup => self.hang_up(),
                Output::Goodbye => self.leaving = Some(now + GOODBYE),
                Output::Impair(what) => self.impair(now, what),
                Output::Abandon => {
                    if let Some(way) = &self.way {
                        way.impair(now, Impairment::Lose(Micros::NEVER));
                    }
                    self.drop_connection();
                }
                Output::Event(mut event) => {
                    hearsay::tidy(&self.shared.endpoint.secrets, self.device.id(), &mut event);
                    if let Some(tap) = &mut self.tap {
                        tap.event(&event);
                    }
                    self.shared.recorder.borrow_mut().record(self.device.id(), now, event);
                }
                Output::Done => self.done = true,
            }
        }
        if let (true, Some(tap)) = (any, &mut self.tap) {
            tap.settled(now, &self.device);
        }
        any
    }

    /// Closes a connection once its device's last words are written. True when it has done so.
    fn close_when_said(&mut self, now: Micros) -> bool {
        let said = self.outbox.is_empty() && self.unflushed.is_none();
        let Some(until) = self.leaving.filter(|until| said || *until <= now) else { return false };
        let connection = std::mem::replace(&mut self.connection, Connection::None);
        let way = self.way.take();
        self.drop_connection();
        if let Connection::Open(transport) = connection {
            if let Some(tap) = &mut self.tap {
                tap.goodbye();
                tap.settled(self.shared.clock.now(), &self.device);
            }
            self.connection = Connection::Closing(transport, until);
            self.way = way;
        }
        true
    }

    /// Writes what the socket takes. True when something was written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        loop {
            let Connection::Open(transport) = &mut self.connection else { return any };
            let outcome = if self.unflushed.is_some() {
                match transport.poll_flush(cx) {
                    Poll::Pending => {
                        self.socket_blocks();
                        return any;
                    }
                    Poll::Ready(flushed) => flushed,
                }
            } else {
                if self.outbox.is_empty() {
                    return any;
                }
                match transport.poll_ready(cx) {
                    Poll::Pending => {
                        self.socket_blocks();
                        return any;
                    }
                    Poll::Ready(Err(closed)) => Err(closed),
                    Poll::Ready(Ok(())) => {
                        let Some((mut sent, woke)) = self.outbox.pop_front() else { return any };
                        // The tap wants to see the frame; otherwise it moves on without a copy.
                        let bytes = sent.frame.len();
                        let frame = if self.tap.is_some() {
                            sent.frame.clone()
                        } else {
                            std::mem::replace(&mut sent.frame, Frame::Ping(bytes::Bytes::new()))
                        };
                        let handed_over = transport.start_send(frame);
                        if handed_over.is_ok() {
                            self.unflushed = Some(Unflushed { sent, bytes, woke });
                            continue;
                        }
                        handed_over
                    }
                }
            };
            any = true;
            let now = self.shared.clock.now();
            match outcome {
                Ok(()) => self.written(now),
                Err(closed) => {
                    self.closed(now, closed);
                    return true;
                }
            }
        }
    }

    /// The socket takes nothing now. What the harness has ready from here on waits for the server or the network.
    fn socket_blocks(&mut self) {
        if self.blocked.1 != Micros::NEVER {
            self.blocked = (self.shared.clock.now(), Micros::NEVER);
        }
    }

    fn written(&mut self, now: Micros) {
        let Some(Unflushed { sent, bytes, woke }) = self.unflushed.take() else { return };
        if let Some(tap) = &mut self.tap {
            tap.sent(now, &sent);
        }
        let (since, until) = &mut self.blocked;
        *until = (*until).min(now);
        // What waited for a connection was not late through the harness either.
        let blocked = if sent.waited { now - sent.planned } else { *until - woke.max(*since) };
        self.shared.recorder.borrow_mut().sent(
            sent.what,
            bytes,
            sent.planned,
            blocked.max(Micros::ZERO),
            now,
        );
        if let Some(turn) = sent.last_of_turn {
            if let Some(way) = &self.way {
                self.delivering = Some(Delivering { turn, bytes: way.up().0, written: now });
            }
            self.handle(now, Input::Written(turn));
        }
    }

    /// Tells a device that cares how much of what it sent has not come through.
    fn tell_backlog(&mut self, now: Micros) {
        if !self.device.adapts() {
            return;
        }
        let waiting: usize = self.outbox.iter().map(|(sent, _)| sent.frame.len()).sum();
        // Of a socket without a link only what it has not taken is known.
        let waiting = waiting + self.way.as_ref().map_or(0, Way::backlog);
        self.device.set_backlog(now, self.shared.playing_time(waiting));
    }

    /// Tells the device when the end of its utterance has come through the network.
    fn watch_delivery(&mut self, now: Micros) {
        let Some((way, d)) = self.way.as_ref().zip(self.delivering.as_ref()) else { return };
        if way.up().1 >= d.bytes {
            let (turn, after) = (d.turn, now - d.written);
            self.delivering = None;
            self.handle(now, Input::Delivered { turn, after });
        }
    }
}

impl Future for DeviceTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (socket, mut readable) = match this.socket.take() {
            Some(s) if s.task.will_wake(cx.waker()) => {
                let woken = s.woken.swap(false, Ordering::Relaxed);
                (s, woken)
            }
            // The first poll, or the task has moved: the socket must learn whom to wake.
            _ => (Arc::new(SocketWaker { task: cx.waker().clone(), woken: AtomicBool::new(false) }), true),
        };
        this.socket = Some(Arc::clone(&socket));
        let waker = Waker::from(socket);
        let by_socket = &mut Context::from_waker(&waker);
        let mut now = this.shared.clock.now();
        this.obey(now);
        if this.due <= now {
            this.tell_backlog(now);
            this.handle(now, Input::Tick);
        }
        loop {
            let mut progress = this.take_outputs(now);
            progress |= this.poll_write(by_socket);
            progress |= this.close_when_said(now);
            let open = matches!(this.connection, Connection::Open(_));
            if readable || !open || std::mem::take(&mut this.look) {
                progress |= this.poll_connection(by_socket, now);
                this.watch_delivery(now);
                // What has just opened has not been read from yet; what was open has been read dry.
                readable = !open;
            }
            if !progress {
                break;
            }
            now = this.shared.clock.now();
        }
        if this.done && matches!(this.connection, Connection::None) {
            return Poll::Ready(());
        }
        let closing =
            if let Connection::Closing(_, deadline) = this.connection { deadline } else { Micros::NEVER };
        let leaving = this.leaving.unwrap_or(Micros::NEVER);
        this.due = this.device.deadline().min(closing).min(leaving);
        this.timer.set(this.due, cx.waker());
        Poll::Pending
    }
}
