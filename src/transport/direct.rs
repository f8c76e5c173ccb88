//! Frames of ours, written straight to the socket.
//!
//! A message that the socket takes whole (nearly all are) needs no buffer and no state of the WebSocket library: its frame
//! is built in memory that the whole thread shares, and given to one `write` call. Where the socket takes less, or the
//! library has bytes of its own under way (the answer to a ping), the message goes the library's way, behind them.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Frame;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The socket has it.
    Whole,
    /// The socket has its beginning; a flush writes the rest.
    Partly,
    /// Nothing: others are under way, or the socket takes nothing now.
    No,
}

/// A stream below a WebSocket that may be able to write a frame by itself.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Writes a frame, if that can be done at once.
    fn write_frame(&mut self, _frame: &Frame) -> io::Result<Written> {
        Ok(Written::No)
    }
}

/// TLS has records and buffers of its own.
impl<S: Socket> Wire for TlsStream<S> {}

/// In memory, the library writes.
impl Wire for DuplexStream {}

/// A connection that can be asked to write without waiting.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Writes what can be written at once; `WouldBlock` when that is nothing.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

impl Socket for TcpStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
}

/// A TCP connection (an imitated network may lie before it) that writes frames by itself.
#[derive(Debug)]
pub(super) struct Direct<S> {
    tcp: S,
    /// The rest of a frame of which the socket has the beginning: before it nothing else may be written.
    rest: Vec<u8>,
    /// The library has tried to write, and has not written all: a frame of ours would land inside of one of its own.
    torn: bool,
}

impl<S: Socket> Direct<S> {
    pub(super) const fn new(tcp: S) -> Self {
        Self { tcp, rest: Vec::new(), torn: false }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let n = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..n);
        }
        // Rare, and not worth its memory afterwards.
        self.rest = Vec::new();
        Poll::Ready(Ok(()))
    }
}

/// A thread's memory for frames, and its masking keys.
struct Scratch {
    frame: Vec<u8>,
    keys: Xoshiro256PlusPlus,
}

thread_local! {
    // Masks keep intermediaries from reading payloads as their own protocol (RFC 6455, section 10.3). The payloads here are
    // the user's own fixtures: unpredictable to a server is enough.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        frame: Vec::new(),
        keys: Xoshiro256PlusPlus::seed_from_u64(std::hash::RandomState::new().build_hasher().finish()),
    });
}

impl<S: Socket> Wire for Direct<S> {
    fn write_frame(&mut self, frame: &Frame) -> io::Result<Written> {
        if self.torn || !self.rest.is_empty() {
            return Ok(Written::No);
        }
        SCRATCH.with_borrow_mut(|Scratch { frame: bytes, keys }| {
            bytes.clear();
            encode(frame, keys.next_u32().to_ne_bytes(), bytes);
            match self.tcp.try_write(bytes) {
                Ok(n) if n == bytes.len() => Ok(Written::Whole),
                Ok(n) => {
                    self.rest.extend_from_slice(&bytes[n..]);
                    Ok(Written::Partly)
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Written::No),
                Err(e) => Err(e),
            }
        })
    }
}

/// The frame of a client (RFC 6455, section 5.2): whole, and masked with `key`.
fn encode(frame: &Frame, key: [u8; 4], out: &mut Vec<u8>) {
    let (opcode, payload) = match frame {
        Frame::Text(text) => (0x1, text.as_bytes()),
        Frame::Binary(bytes) => (0x2, &bytes[..]),
        Frame::Ping(bytes) => (0x9, &bytes[..]),
        Frame::Pong(bytes) => (0xA, &bytes[..]),
    };
    out.reserve(payload.len() + 14);
    out.push(0x80 | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(key);
    let start = out.len();
    out.extend_from_slice(payload);
    let (words, tail) = out[start..].as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    tail.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
}

impl<S: Socket> AsyncRead for Direct<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

/// The library's own bytes: behind what is left of a frame of ours.
impl<S: Socket> AsyncWrite for Direct<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.torn = true;
        ready!(self.poll_rest(cx))?;
        let n = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.torn = n < buf.len();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    use super::*;

    /// What a server reads.
    fn read(bytes: Vec<u8>) -> Message {
        let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
        server.read().unwrap()
    }

    proptest! {
        #[test]
        fn frames_are_read_by_a_server(
            payload in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(any::<u8>(), 65_530..65_545),
            ],
            key in any::<[u8; 4]>(),
        ) {
            let mut bytes = Vec::new();
            encode(&Frame::Binary(payload.clone().into()), key, &mut bytes);
            prop_assert_eq!(read(bytes), Message::Binary(payload.into()));
        }

        #[test]
        fn text_and_control_frames_too(text in "\\PC{0,40}", key in any::<[u8; 4]>()) {
            let payload = bytes::Bytes::from(text.clone().into_bytes());
            for (frame, message) in [
                (Frame::text(text.clone()), Message::text(text.clone())),
                (Frame::Ping(payload.clone().split_to(payload.len().min(125))), Message::Ping(payload.slice(..payload.len().min(125)))),
                (Frame::Pong(payload.slice(..payload.len().min(125))), Message::Pong(payload.slice(..payload.len().min(125)))),
            ] {
                let mut bytes = Vec::new();
                encode(&frame, key, &mut bytes);
                prop_assert_eq!(read(bytes), message);
            }
        }
    }
}
