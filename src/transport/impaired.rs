//! A TCP connection at the far end of an imitated network.
//!
//! ```text
//! device ─▶ WebSocket ─▶ TLS ─▶ Impaired ═ Link (virtual TCP, both ways) ═ real socket ─▶ server
//! ```
//!
//! What is written goes into the link and reaches the real socket when the link delivers it; what the real socket has
//! goes into the link and is read when the link delivers that. Below TLS, so that handshakes take their time, too. The
//! link decides; here are the clock, the timer and the socket.
//!
//! Where the link's buffers are full nothing more is taken, from the device (which waits for its socket) or from the
//! real socket (whose small receive buffer then stops the server).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::direct::Socket;
use crate::drive::timer::Timer;
use crate::fault::Impairment;
use crate::network::{Direction, Link};
use crate::time::{Clock, Micros};

/// Receive buffer of the real socket: what a slow device does not take must soon stop the server. Linux doubles it.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Bytes taken from the real socket at once.
const READ_AT_ONCE: usize = 4 * 1024;

/// How often a slow reader takes a portion.
const SLOW_READ_PERIOD: Micros = Micros::from_millis(50);

/// The way of one connection: shared by its socket and by the device's task, which does things to it and looks at it.
#[derive(Clone)]
pub struct Way(Rc<RefCell<State>>);

struct State {
    link: Link,
    /// While TCP connects: when it will have.
    connecting: Option<Micros>,
    /// Nothing is taken from the device until then.
    stalled_until: Micros,
    slow: Option<Slow>,
    /// Nothing will come through any more.
    dead: bool,
    /// Ends with a reset.
    reset: bool,
    /// When which bytes came from the server: up to where in the stream, and when; of those that nobody has asked about.
    came: VecDeque<(u64, Micros)>,
    /// Bytes that the device has read.
    read: u64,
    /// When the oldest of those came that it read last.
    read_came: Micros,
}

/// A device that reads slowly.
struct Slow {
    /// Bytes a second.
    rate: u32,
    until: Micros,
    /// What it may read now, and since when that is so.
    allowed: usize,
    since: Micros,
}

impl Way {
    /// Of a connection over this link.
    pub fn new(link: Link) -> Self {
        Self(Rc::new(RefCell::new(State {
            link,
            connecting: None,
            stalled_until: Micros::ZERO,
            slow: None,
            dead: false,
            reset: false,
            came: VecDeque::new(),
            read: 0,
            read_came: Micros::NEVER,
        })))
    }

    /// Does something to the connection. What ends it ends it when its socket is dropped.
    pub fn impair(&self, now: Micros, what: Impairment) {
        let mut state = self.0.borrow_mut();
        match what {
            Impairment::Reset => state.reset = true,
            Impairment::Close => {}
            Impairment::Lose(until) => {
                state.dead |= until == Micros::NEVER;
                state.link.lose_until(now, until);
                if state.connecting.is_some() {
                    state.connecting = Some(now.saturating_add(state.link.handshake()));
                }
            }
            Impairment::SlowRead(rate, until) => {
                state.slow = Some(Slow { rate, until, allowed: 0, since: now });
            }
            Impairment::StallWrites(until) => state.stalled_until = state.stalled_until.max(until),
        }
    }

    /// True when nothing will come through any more: not even the end of the connection.
    pub fn is_dead(&self) -> bool {
        self.0.borrow().dead
    }

    /// How many bytes the device has written, and how many of them have come through.
    pub fn up(&self) -> (u64, u64) {
        let link = &self.0.borrow().link;
        (link.written(Direction::Up), link.delivered(Direction::Up))
    }

    /// How many bytes the device has read.
    pub fn down(&self) -> u64 {
        self.0.borrow().read
    }

    /// How long a message was on its way to the device that ends at byte `end` of the stream, and has been read by now.
    /// Where nobody knows its end (TLS adds bytes of its own): the oldest of what was read last.
    pub fn down_delay(&self, now: Micros, end: Option<u64>) -> Micros {
        let state = &mut *self.0.borrow_mut();
        let Some(end) = end else {
            state.came.clear();
            return (now - state.read_came).max(Micros::ZERO);
        };
        while state.came.front().is_some_and(|(until, _)| *until < end) {
            state.came.pop_front();
        }
        state.came.front().map_or(Micros::ZERO, |(_, at)| now - *at)
    }

    /// Bytes that the device has written and that have not been acknowledged.
    pub fn backlog(&self) -> usize {
        self.0.borrow().link.backlog(Direction::Up)
    }

    /// What the link did so far.
    pub fn stats(&self) -> crate::network::LinkStats {
        self.0.borrow().link.stats()
    }

    /// TCP begins to connect.
    pub(super) fn connect(&self, now: Micros) {
        let state = &mut *self.0.borrow_mut();
        state.connecting = Some(now.saturating_add(state.link.handshake()));
    }

    /// When TCP will have connected, as things stand; `NEVER` when it has given up.
    pub(super) fn connected_at(&self) -> Micros {
        self.0.borrow().connecting.unwrap_or(Micros::NEVER)
    }

    /// TCP is connected.
    pub(super) fn start(&self, now: Micros) {
        let state = &mut *self.0.borrow_mut();
        state.connecting = None;
        state.link.start(now);
    }
}

impl State {
    /// How much a reader may take now.
    fn allowed(&mut self, now: Micros) -> usize {
        let Some(slow) = &mut self.slow else { return usize::MAX };
        if now >= slow.until {
            self.slow = None;
            return usize::MAX;
        }
        if now >= slow.since + SLOW_READ_PERIOD {
            // What was not taken is not saved up: the device was slow all the time.
            let portion = i64::from(slow.rate) * SLOW_READ_PERIOD.0 / 1_000_000;
            (slow.allowed, slow.since) = ((portion as usize).max(1), now);
        }
        slow.allowed
    }

    fn deadline(&self, now: Micros) -> Micros {
        let mut at = self.link.deadline();
        if self.stalled_until > now {
            at = at.min(self.stalled_until);
        }
        if let Some(slow) = self.slow.as_ref().filter(|s| s.allowed == 0) {
            at = at.min((slow.since + SLOW_READ_PERIOD).min(slow.until));
        }
        at
    }
}

/// A socket on the far side of a link.
pub(super) struct Impaired {
    tcp: TcpStream,
    way: Way,
    clock: Clock,
    timer: Timer,
    /// Whom to wake when the link has something.
    waker: Option<Waker>,
    /// The real socket has no more: how it ended.
    ended: Option<Option<io::ErrorKind>>,
    /// The real socket takes no more.
    broken: Option<io::ErrorKind>,
    shut: bool,
}

impl Impaired {
    pub(super) fn new(tcp: TcpStream, way: Way, clock: Clock, timer: Timer) -> io::Result<Self> {
        sockopt::set_socket_recv_buffer_size(&tcp, RECEIVE_BUFFER)?;
        Ok(Self { tcp, way, clock, timer, waker: None, ended: None, broken: None, shut: false })
    }

    fn remember(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Moves what can be moved, both ways.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let state = &mut *self.way.0.borrow_mut();
        state.link.advance(self.clock.now());
        // To the server.
        while self.broken.is_none() {
            let (ready, _) = state.link.ready(Direction::Up);
            if ready.is_empty() {
                break;
            }
            match Pin::new(&mut self.tcp).poll_write(cx, ready) {
                Poll::Ready(Ok(n)) => state.link.consume(Direction::Up, n),
                Poll::Ready(Err(e)) => self.broken = Some(e.kind()),
                Poll::Pending => break,
            }
        }
        if !self.shut && state.link.finished(Direction::Up) {
            self.shut = true;
            let _ = Pin::new(&mut self.tcp).poll_shutdown(cx);
        }
        // From the server.
        let mut bytes = [0; READ_AT_ONCE];
        while self.ended.is_none() {
            let room = state.link.room(Direction::Down).min(READ_AT_ONCE);
            if room == 0 {
                break;
            }
            let mut buf = ReadBuf::new(&mut bytes[..room]);
            match Pin::new(&mut self.tcp).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.ended = Some(None),
                Poll::Ready(Ok(())) => {
                    let now = self.clock.now();
                    state.link.write(Direction::Down, now, buf.filled());
                    let end = state.link.written(Direction::Down);
                    match state.came.back_mut() {
                        Some((until, at)) if *at == now => *until = end,
                        _ => state.came.push_back((end, now)),
                    }
                }
                Poll::Ready(Err(e)) => self.ended = Some(Some(e.kind())),
                Poll::Pending => break,
            }
            if self.ended.is_some() {
                state.link.finish(Direction::Down, self.clock.now());
            }
        }
    }

    /// Has itself woken when the link has something to do.
    fn arm(&self) {
        if let Some(waker) = &self.waker {
            self.timer.set(self.way.0.borrow().deadline(self.clock.now()), waker);
        }
    }
}

impl Socket for Impaired {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        let now = self.clock.now();
        {
            let state = &mut *self.way.0.borrow_mut();
            state.link.advance(now);
            if state.stalled_until > now || state.link.room(Direction::Up) < bytes.len() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.link.write(Direction::Up, now, bytes);
        }
        // Without a waker nobody has looked at the socket yet; whoever does will move the bytes.
        if let Some(waker) = self.waker.clone() {
            self.drive(&mut Context::from_waker(&waker));
            self.arm();
        }
        Ok(bytes.len())
    }
}

impl AsyncRead for Impaired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.remember(cx.waker());
        this.drive(cx);
        let outcome = {
            let state = &mut *this.way.0.borrow_mut();
            let allowed = state.allowed(this.clock.now());
            let (ready, _) = state.link.ready(Direction::Down);
            let n = ready.len().min(buf.remaining()).min(allowed);
            if n > 0 {
                buf.put_slice(&ready[..n]);
                state.link.consume(Direction::Down, n);
                let first = state.read + 1;
                state.read += n as u64;
                let came = state.came.iter().find(|(until, _)| *until >= first);
                state.read_came = came.map_or(state.read_came, |(_, at)| *at);
                if let Some(slow) = &mut state.slow {
                    slow.allowed -= n;
                }
                Poll::Ready(Ok(()))
            } else if state.link.finished(Direction::Down) {
                match this.ended {
                    Some(Some(kind)) => Poll::Ready(Err(kind.into())),
                    _ => Poll::Ready(Ok(())),
                }
            } else {
                Poll::Pending
            }
        };
        if outcome.is_pending() {
            this.arm();
        }
        outcome
    }
}

impl AsyncWrite for Impaired {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.remember(cx.waker());
        if let Some(kind) = this.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let now = this.clock.now();
        let written = {
            let state = &mut *this.way.0.borrow_mut();
            state.link.advance(now);
            if state.stalled_until > now { 0 } else { state.link.write(Direction::Up, now, buf) }
        };
        this.drive(cx);
        this.arm();
        if written == 0 && !buf.is_empty() { Poll::Pending } else { Poll::Ready(Ok(written)) }
    }

    /// What the link has taken is as good as in a socket's buffer.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.remember(cx.waker());
        this.way.0.borrow_mut().link.finish(Direction::Up, this.clock.now());
        this.drive(cx);
        this.arm();
        if this.shut || this.broken.is_some() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Drop for Impaired {
    fn drop(&mut self) {
        if self.way.0.borrow().reset {
            // Else the kernel would say goodbye for us.
            let _ = sockopt::set_socket_linger(&self.tcp, Some(std::time::Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::LocalSet;

    use super::*;
    use crate::drive::timer::Timers;
    use crate::network::Profile;
    use crate::seed::Seed;

    /// Does something with a socket behind a link while `server` has the other end.
    fn over<T, R: Send + 'static>(
        profile: &str,
        server: impl FnOnce(std::net::TcpStream) -> R + Send + 'static,
        client: impl AsyncFnOnce(Impaired, Way, Clock) -> T,
    ) -> (T, R) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || server(listener.accept().unwrap().0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let profile = Arc::new(Profile::preset(profile).unwrap());
        let done = LocalSet::new().block_on(&runtime, async {
            let clock = Clock::start();
            let timers = Timers::new(clock).unwrap();
            let ticker = timers.clone();
            tokio::task::spawn_local(async move { ticker.run().await });
            let way = Way::new(Link::new(profile, Seed(3), 0, 0, clock.now()));
            way.start(clock.now());
            let tcp = TcpStream::connect(address).await.unwrap();
            let socket = Impaired::new(tcp, way.clone(), clock, timers.timer()).unwrap();
            client(socket, way, clock).await
        });
        (done, server.join().unwrap())
    }

    fn payload(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * i / 7) as u8).collect()
    }

    /// Sends back what comes, to the end.
    fn echo(mut peer: std::net::TcpStream) -> usize {
        let (mut bytes, mut total) = ([0; 3_000], 0);
        while let Ok(n) = peer.read(&mut bytes) {
            if n == 0 || peer.write_all(&bytes[..n]).is_err() {
                break;
            }
            total += n;
        }
        total
    }

    #[test]
    fn every_byte_comes_through_once_and_in_order_both_ways() {
        for profile in ["none", "lan", "wifi-congested"] {
            let sent = payload(60_000);
            let (heard, echoed) = over(profile, echo, async |socket, way, _| {
                let (mut from, mut to) = tokio::io::split(socket);
                let write = async {
                    to.write_all(&sent).await.unwrap();
                    to.shutdown().await.unwrap();
                };
                let mut heard = Vec::new();
                let (_, read) = tokio::join!(write, from.read_to_end(&mut heard));
                read.unwrap();
                assert_eq!(way.up(), (60_000, 60_000));
                heard
            });
            assert_eq!(echoed, 60_000, "{profile}");
            assert!(heard == sent, "{profile}");
        }
    }

    /// How a connection ended, as the server saw it.
    fn end_of(mut peer: std::net::TcpStream) -> Result<usize, io::ErrorKind> {
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.read(&mut [0; 10]).map_err(|e| e.kind())
    }

    #[test]
    fn a_reset_is_a_reset_and_a_close_is_none() {
        for (what, seen) in
            [(Impairment::Reset, Err(io::ErrorKind::ConnectionReset)), (Impairment::Close, Ok(0))]
        {
            let ((), end) = over("none", end_of, async |socket, way, clock| {
                way.impair(clock.now(), what);
                drop(socket);
            });
            assert_eq!(end, seen);
        }
    }

    #[test]
    fn nothing_comes_through_a_black_hole_until_it_ends() {
        let ((), first) = over(
            "lan",
            |mut peer: std::net::TcpStream| {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                byte[0]
            },
            async |mut socket, way, clock| {
                way.impair(clock.now(), Impairment::Lose(clock.now() + Micros::from_millis(50)));
                let lost = clock.now();
                socket.write_all(&[7]).await.unwrap();
                let ended = socket.read(&mut [0]).await.unwrap();
                assert_eq!(ended, 0, "the server has it, and has gone");
                assert!(clock.now() - lost >= Micros::from_millis(50));
                assert!(!way.is_dead());
                way.impair(clock.now(), Impairment::Lose(Micros::NEVER));
                assert!(way.is_dead());
            },
        );
        assert_eq!(first, 7);
    }

    #[test]
    fn a_slow_reader_stops_the_server_and_a_stalled_writer_waits() {
        let full = |peer: std::net::TcpStream| {
            peer.set_nonblocking(true).unwrap();
            let (mut peer, mut taken, mut idle) = (peer, 0_usize, 0);
            while idle < 20 {
                match peer.write(&[1; 10_000]) {
                    Ok(n) => (taken, idle) = (taken + n, 0),
                    Err(_) => idle += 1,
                }
                std::thread::sleep(Duration::from_millis(5));
                assert!(taken < 50_000_000, "nobody stops the server");
            }
            taken
        };
        let (read, taken) = over("none", full, async |mut socket, way, clock| {
            let end = clock.now() + Micros::from_millis(400);
            way.impair(clock.now(), Impairment::SlowRead(2_000, end));
            way.impair(clock.now(), Impairment::StallWrites(clock.now() + Micros::from_millis(60)));
            let begun = clock.now();
            socket.write_all(&[1]).await.unwrap();
            assert!(clock.now() - begun >= Micros::from_millis(60));
            let (mut bytes, mut read) = ([0; 4_096], 0);
            while clock.now() < end {
                read += socket.read(&mut bytes).await.unwrap();
            }
            // The last of them may have come after the end, when nothing is slow any more.
            read.saturating_sub(bytes.len())
        });
        assert!(read <= 1_000, "{read} bytes in 0.4 s at 2,000 a second");
        assert!(taken > read);
    }
}
