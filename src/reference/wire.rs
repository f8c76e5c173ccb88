//! The stream below a WebSocket: counts what the device has taken, and hides pings that are not to be answered.
//!
//! The WebSocket library answers every ping by itself. One that it must not answer is shown to it as a pong, which it hands
//! on without a word: a bit in the first byte of the frame (RFC 6455, section 5.2).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::world::World;

/// A stream that the server accepts.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;

    /// Bytes that were written and that the device's end has not acknowledged: buffers of the kernel hold megabytes, and
    /// have room again only when a good part of that is gone.
    fn unacknowledged(&self) -> u64 {
        unacknowledged(self.tcp())
    }
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "a system call")]
fn unacknowledged(tcp: &TcpStream) -> u64 {
    use std::os::fd::AsRawFd as _;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `tcp` is borrowed, and the call writes one integer.
    let done = unsafe { libc::ioctl(tcp.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Not known: what the kernel takes has to do.
#[cfg(not(target_os = "linux"))]
fn unacknowledged(_tcp: &TcpStream) -> u64 {
    0
}

/// A stream, watched.
pub(super) struct Wire<S> {
    io: S,
    world: Rc<World>,
    /// Bytes written.
    taken: u64,
    /// `None` until the upgrade: before, there are no frames.
    frames: Option<Frames>,
}

impl<S> Wire<S> {
    pub(super) fn new(io: S, world: Rc<World>) -> Self {
        Self { io, world, taken: 0, frames: None }
    }

    /// From here on, frames come.
    pub(super) fn upgraded(&mut self) {
        self.frames = Some(Frames::default());
    }
}

impl<S: Socket> Wire<S> {
    /// Bytes that the device's end has taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken.saturating_sub(self.io.unacknowledged())
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        self.io.tcp()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let hide = !self.world.conditions.get().pongs;
        if let Some(frames) = &mut self.frames
            && let Some(new) = buf.filled_mut().get_mut(before..)
        {
            frames.pass(new, hide);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.taken += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where in the frames of a device the next byte is.
#[derive(Debug, Default)]
enum Frames {
    /// The first byte: what the frame is.
    #[default]
    First,
    /// The second: whether it is masked, and how long it is or where that stands.
    Second,
    /// So many bytes of the length are left; what they said so far; bytes between it and the payload.
    Length(u8, u64, u64),
    /// Bytes up to the next frame.
    Rest(u64),
}

const OPCODE: u8 = 0x0f;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

impl Frames {
    /// Bytes go past; pings among them become pongs, if they are to be hidden.
    fn pass(&mut self, mut bytes: &mut [u8], hide_pings: bool) {
        while let Some((byte, after)) = std::mem::take(&mut bytes).split_first_mut() {
            *self = match *self {
                Self::First => {
                    if hide_pings && *byte & OPCODE == PING {
                        *byte = *byte & !OPCODE | PONG;
                    }
                    Self::Second
                }
                Self::Second => {
                    let mask = if *byte & 0x80 == 0 { 0 } else { 4 };
                    match *byte & 0x7f {
                        126 => Self::Length(2, 0, mask),
                        127 => Self::Length(8, 0, mask),
                        length => Self::rest(u64::from(length) + mask),
                    }
                }
                Self::Length(left, so_far, mask) => {
                    let length = so_far << 8 | u64::from(*byte);
                    match left {
                        1 => Self::rest(length.saturating_add(mask)),
                        _ => Self::Length(left - 1, length, mask),
                    }
                }
                Self::Rest(n) => {
                    // This byte and those after it, as far as they belong to the frame.
                    let more = (n - 1).min(after.len() as u64);
                    bytes = after.split_at_mut(more as usize).1;
                    *self = Self::rest(n - 1 - more);
                    continue;
                }
            };
            bytes = after;
        }
    }

    fn rest(n: u64) -> Self {
        if n == 0 { Self::First } else { Self::Rest(n) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    use super::*;

    /// What a device writes.
    fn written(messages: &[Message]) -> Vec<u8> {
        let mut device = WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Client, None);
        messages.iter().for_each(|m| device.send(m.clone()).unwrap());
        device.into_inner().into_inner()
    }

    /// What a server reads of it, and whether it answered anything.
    fn read(bytes: Vec<u8>) -> (Vec<Message>, bool) {
        let end = bytes.len() as u64;
        let mut server = WebSocket::from_raw_socket(io::Cursor::new(bytes), Role::Server, None);
        let mut messages = Vec::new();
        while server.get_ref().position() < end {
            match server.read() {
                Ok(m) => messages.push(m),
                Err(_) => break,
            }
        }
        let before = server.get_ref().get_ref().len() as u64;
        let _ = server.flush();
        (messages, server.get_ref().get_ref().len() as u64 > before)
    }

    fn message() -> impl Strategy<Value = Message> {
        let bytes = |n| prop::collection::vec(any::<u8>(), n);
        prop_oneof![
            bytes(0..200).prop_map(Message::binary),
            bytes(65_530..65_540).prop_map(Message::binary),
            "\\PC{0,40}".prop_map(Message::text),
            bytes(0..125).prop_map(|b| Message::Ping(b.into())),
            bytes(0..125).prop_map(|b| Message::Pong(b.into())),
        ]
    }

    proptest! {
        #[test]
        fn pings_are_hidden_and_nothing_else(
            messages in prop::collection::vec(message(), 0..8),
            pieces in prop::collection::vec(1_usize..300, 1..20),
            hide: bool,
        ) {
            let original = written(&messages);
            let mut bytes = original.clone();
            let (mut frames, mut at) = (Frames::default(), 0);
            for n in pieces.iter().cycle() {
                let end = (at + n).min(bytes.len());
                frames.pass(&mut bytes[at..end], hide);
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert!(matches!(frames, Frames::First));
            if !hide {
                prop_assert_eq!(&bytes, &original);
            }
            let expected: Vec<_> = messages
                .iter()
                .map(|m| match m {
                    Message::Ping(b) if hide => Message::Pong(b.clone()),
                    other => other.clone(),
                })
                .collect();
            // One after the other: a cursor that is read and written would mix both.
            let mut heard = Vec::new();
            let mut server = WebSocket::from_raw_socket(OneWay(io::Cursor::new(bytes)), Role::Server, None);
            while heard.len() < expected.len() {
                heard.push(server.read().unwrap());
            }
            prop_assert_eq!(heard, expected);
        }
    }

    #[test]
    fn a_hidden_ping_is_not_answered() {
        for hide in [false, true] {
            let mut bytes = written(&[Message::Ping(vec![1, 2, 3].into())]);
            Frames::default().pass(&mut bytes, hide);
            let (messages, answered) = read(bytes);
            assert_eq!(messages.len(), 1);
            assert_eq!(answered, !hide);
        }
    }

    /// Forgets what is written to it.
    struct OneWay(io::Cursor<Vec<u8>>);

    impl io::Read for OneWay {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl io::Write for OneWay {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
