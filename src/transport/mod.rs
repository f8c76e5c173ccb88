//! Transports: message-oriented, and blind to what the messages mean.
//!
//! A [`Transport`] is polled by the device that owns it, on the shard's thread. WebSocket is the first; gRPC, WebRTC,
//! WebTransport and the HTTP ones fit behind the same trait without touching device, dialect or measurement.

use std::task::{Context, Poll};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
pub use tokio_tungstenite::tungstenite::Utf8Bytes as Text;

use crate::event::FailureClass;
use crate::time::Micros;

pub mod accept;
mod direct;
pub mod impaired;
pub mod source;
pub mod tls;
pub mod websocket;

/// One message, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// UTF-8 text.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
    /// A transport-level ping (answers are the transport's own business).
    Ping(Bytes),
    /// The answer to a ping of ours.
    Pong(Bytes),
}

impl Frame {
    /// A text frame.
    pub fn text(s: impl Into<String>) -> Self {
        Self::Text(Text::from(s.into()))
    }

    /// Payload size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(t) => t.len(),
            Self::Binary(b) | Self::Ping(b) | Self::Pong(b) => b.len(),
        }
    }

    /// Size of the frame of a server that carries it (RFC 6455, section 5.2; no mask, not in pieces), bytes.
    pub fn wire_len(&self) -> usize {
        let header = match self.len() {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        header + self.len()
    }

    /// True when the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What it counts as.
    pub class: FailureClass,
    /// The close reason of the peer, or the error, for people. Free of secrets.
    pub detail: String,
}

/// How long each step of connecting took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectTimes {
    /// TCP handshake.
    pub tcp: Micros,
    /// TLS handshake; zero on plain connections.
    pub tls: Micros,
    /// Upgrade (or the transport's equivalent).
    pub upgrade: Micros,
    /// Our port, to find the connection in the server's log.
    pub local_port: u16,
}

/// An open connection.
pub trait Transport {
    /// The next message; `Err` once when the connection has ended, however it ended.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Closed>>;

    /// Ready when [`start_send`](Transport::start_send) may be called: everything before has been written.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>>;

    /// Hands over one message. Call only after `poll_ready` said so.
    fn start_send(&mut self, frame: Frame) -> Result<(), Closed>;

    /// Ready when everything handed over has been written to the socket.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>>;

    /// Says goodbye with a close code, then shuts down. Ready when done.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<()>;
}
