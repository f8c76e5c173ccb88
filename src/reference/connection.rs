//! One connection at the edge: a socket, a timer, and the [`Session`] between them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::session::{Mark, Out, Session};
use super::wire::{Socket, Wire};
use crate::drive::timer::Timer;
use crate::time::Clock;
use crate::transport::Frame;

/// Messages read in one go before other connections have their turn.
const READS: usize = 32;

/// How long a peer may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// The peer has left, the socket failed, or the server has had enough.
    Gone,
    /// With a goodbye.
    Close(u16, String),
    /// With a reset.
    Reset,
}

/// Bytes of messages that are ready at the same time and go to the socket together.
const TOGETHER: usize = 8 * 1024;

struct Connection<S> {
    ws: WebSocketStream<Wire<S>>,
    session: Session,
    timer: Timer,
    clock: Clock,
    /// Messages handed to the socket and not yet written.
    in_flight: Vec<Mark>,
    /// Bytes below the WebSocket on their way.
    raw: Option<Bytes>,
    /// What comes after `in_flight`, and is no message.
    held: Option<Out>,
}

/// A connection's life, in as little memory as it takes: thousands wait for their next message at any time.
pub(super) type Life = Pin<Box<dyn Future<Output = ()>>>;

/// Serves a connection until its end.
pub(super) fn serve<S: Socket + 'static>(
    ws: WebSocketStream<Wire<S>>,
    session: Session,
    timer: Timer,
    clock: Clock,
) -> Life {
    let mut connection =
        Box::new(Connection { ws, session, timer, clock, in_flight: Vec::new(), raw: None, held: None });
    Box::pin(async move {
        let end = std::future::poll_fn(|cx| connection.poll(cx)).await;
        if let Some(goodbye) = (*connection).end(end) {
            goodbye.await;
        }
    })
}

/// Says goodbye and waits for the peer to leave. What it still sends is read and dropped: closing with unread bytes
/// would reset the connection, and the peer might never see the code.
async fn goodbye<S: Socket>(
    mut ws: WebSocketStream<Wire<S>>,
    code: u16,
    reason: String,
) -> Result<(), Error> {
    ws.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await?;
    let io = ws.get_mut();
    io.shutdown().await?;
    let mut rest = [0; 1024];
    while io.read(&mut rest).await? > 0 {}
    Ok(())
}

impl<S: Socket + 'static> Connection<S> {
    /// Lets go of everything but the socket; what is left to do with that.
    fn end(self, end: End) -> Option<Life> {
        let Self { ws, mut session, clock, .. } = self;
        // The turns' rows are logged and the memory is free before the goodbye is answered.
        session.gone(clock.now());
        drop(session);
        match end {
            End::Gone => None,
            End::Reset => {
                // Fails only when there is nothing left to reset.
                let _ = ws.get_ref().tcp().set_zero_linger();
                None
            }
            End::Close(code, reason) => Some(Box::pin(async move {
                // Late or broken: the connection is dropped either way.
                let _ = tokio::time::timeout(GOODBYE, goodbye(ws, code, reason)).await;
            })),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let was_full = self.session.full();
            if !was_full && let Some(end) = self.read(cx) {
                return Poll::Ready(end);
            }
            let now = self.clock.now();
            if self.session.waits_for_socket() {
                self.session.on_socket(now, true, self.ws.get_ref().taken());
            }
            self.session.on_time(now);
            match self.session.given_up() {
                None => {}
                Some(Out::Reset) => return Poll::Ready(End::Reset),
                Some(_) => return Poll::Ready(End::Gone),
            }
            let wrote = self.write(cx);
            if wrote.is_pending() {
                self.session.on_socket(now, true, self.ws.get_ref().taken());
            } else {
                self.session.on_socket(now, false, 0);
            }
            if let Poll::Ready(Some(end)) = wrote {
                return Poll::Ready(end);
            }
            if was_full && !self.session.full() {
                continue; // there is room again: read on
            }
            let at = self.session.deadline();
            if at > self.clock.now() {
                self.timer.set(at, cx.waker());
                return Poll::Pending;
            }
        }
    }

    /// Takes in what has arrived; `Some` when the connection is over.
    fn read(&mut self, cx: &mut Context<'_>) -> Option<End> {
        for _ in 0..READS {
            let Poll::Ready(message) = Pin::new(&mut self.ws).poll_next(cx) else {
                return None;
            };
            let frame = match message {
                Some(Ok(Message::Text(text))) => Frame::Text(text),
                Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
                // Reading on writes the answer.
                Some(Ok(Message::Ping(bytes))) => Frame::Ping(bytes),
                Some(Ok(Message::Pong(bytes))) => Frame::Pong(bytes),
                // Reading on answers the goodbye, and then ends.
                Some(Ok(Message::Close(goodbye))) => {
                    self.session.on_goodbye(goodbye.map(|g| g.code.into()));
                    continue;
                }
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(e)) => {
                    let end = broken(&e);
                    if let End::Close(..) = end {
                        // Who breaks the rules has not lost a connection.
                        self.session.on_goodbye(None);
                    }
                    return Some(end);
                }
                None => return Some(End::Gone),
            };
            self.session.on_frame(self.clock.now(), &frame);
            if self.session.full() {
                return None;
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    /// Writes what the session has to say; ready without an end when it has nothing more.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            if let Some(bytes) = &mut self.raw {
                while !bytes.is_empty() {
                    match ready!(Pin::new(self.ws.get_mut()).poll_write(cx, bytes)) {
                        Ok(n) if n > 0 => drop(bytes.split_to(n)),
                        _ => return Poll::Ready(Some(End::Gone)),
                    }
                }
                if ready!(Pin::new(self.ws.get_mut()).poll_flush(cx)).is_err() {
                    return Poll::Ready(Some(End::Gone));
                }
                self.raw = None;
            }
            if !self.in_flight.is_empty() {
                if ready!(Pin::new(&mut self.ws).poll_flush(cx)).is_err() {
                    return Poll::Ready(Some(End::Gone));
                }
                let now = self.clock.now();
                for mark in self.in_flight.drain(..) {
                    self.session.written(now, mark);
                }
            }
            match self.held.take() {
                Some(Out::Close(code, reason)) => return Poll::Ready(Some(End::Close(code, reason))),
                Some(Out::Reset) => return Poll::Ready(Some(End::Reset)),
                Some(Out::Vanish) => return Poll::Ready(Some(End::Gone)),
                Some(Out::Raw(bytes)) => self.raw = Some(bytes),
                Some(Out::Frame(..)) | None => {
                    if !self.hand_over() {
                        return Poll::Ready(Some(End::Gone));
                    }
                    if self.in_flight.is_empty() && self.held.is_none() {
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }

    /// Gives the socket what is ready to be said, up to [`TOGETHER`], to be written in one go. False when it is broken.
    fn hand_over(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < TOGETHER {
            let (frame, mark) = match self.session.next_out() {
                None => break,
                Some(Out::Frame(frame, mark)) => (frame, mark),
                Some(other) => {
                    self.held = Some(other);
                    break;
                }
            };
            bytes += frame.len();
            let message = match frame {
                Frame::Text(text) => Message::Text(text),
                Frame::Binary(bytes) => Message::Binary(bytes),
                Frame::Ping(bytes) => Message::Ping(bytes),
                Frame::Pong(bytes) => Message::Pong(bytes),
            };
            if Pin::new(&mut self.ws).start_send(message).is_err() {
                return false;
            }
            self.in_flight.push(mark);
        }
        true
    }
}

/// What to say to a peer that broke the rules (RFC 6455, section 7.4.1).
fn broken(e: &Error) -> End {
    match e {
        Error::Capacity(e) => End::Close(1009, e.to_string()),
        Error::Utf8(_) => End::Close(1007, "a text frame that is not UTF-8".to_owned()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(e) => End::Close(1002, e.to_string()),
        _ => End::Gone,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead as _, DuplexStream};
    use tokio::net::TcpStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::drive::timer::Timers;
    use crate::reference::testing::{MS, PCM, pcm, world};
    use crate::scenario::ReferencePlan;

    impl Socket for DuplexStream {
        fn tcp(&self) -> &TcpStream {
            unreachable!("there is none to reset")
        }

        fn unacknowledged(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_slow_reader_takes_no_more_memory_than_the_bound() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let bound = 4_096;
        // All of the reply, 32,000 bytes, is made at once and could be sent at once.
        let plan = ReferencePlan { max_backlog: bound, burst: MS(60_000), ..ReferencePlan::instant() };
        let (world, _rows) = world(plan);
        let clock = Clock::start();
        let (ours, mut device) = tokio::io::duplex(512);
        let wire = Wire::new(ours, std::rc::Rc::clone(&world));
        let ws = runtime.block_on(WebSocketStream::from_raw_socket(wire, Role::Server, None));
        let waker = std::task::Waker::noop();
        let peer = ([127, 0, 0, 1], 1).into();
        let mut session = Session::new(
            world,
            peer,
            true,
            &crate::dialect::Handshake::default(),
            clock.now(),
            waker.clone(),
        );
        session.on_frame(
            clock.now(),
            &Frame::text(
                serde_json::json!({"type": "session_start", "audio": {"up": PCM, "down": PCM}}).to_string(),
            ),
        );
        session.on_frame(clock.now(), &pcm(MS(200), 0.3));
        session.on_frame(clock.now(), &Frame::text("{\"type\": \"audio_end\"}"));
        let timer = Timers::new(clock).unwrap().timer();
        let mut connection =
            Connection { ws, session, timer, clock, in_flight: Vec::new(), raw: None, held: None };
        let mut cx = Context::from_waker(waker);
        // By now all of it has been made.
        std::thread::sleep(Duration::from_millis(50));
        let (mut read, mut held_back) = (0, 0);
        let mut buffer = [0; 256];
        while read < 32_000 {
            assert!(connection.poll(&mut cx).is_pending());
            // One message of 60 ms, 1,920 bytes, may be beyond either bound.
            let queued = connection.session.queued();
            assert!(queued <= bound as usize + 1_920, "{queued} bytes wait");
            assert!(connection.in_flight.len() * 16 <= TOGETHER, "{} messages", connection.in_flight.len());
            held_back += usize::from(connection.session.full());
            let mut buf = tokio::io::ReadBuf::new(&mut buffer);
            if Pin::new(&mut device).poll_read(&mut cx, &mut buf).is_ready() {
                read += buf.filled().len();
            }
        }
        assert!(held_back > 50, "it was held back nearly all the time: {held_back}");
    }
}
