//! WebSocket (RFC 6455), plain and over TLS.
//!
//! Buffers are small, because thousands of them exist: 2 KiB to read into, none to write from (each message goes to
//! the socket at once, with `TCP_NODELAY`). Pings are answered, close codes are kept.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::source::{self, Sources};
use super::{Closed, ConnectTimes, Frame, Transport};
use crate::event::FailureClass;
use crate::scenario::{DeviceValues, Secret, Secrets};
use crate::time::Clock;

/// Bytes read at once: small, because every device has its own. What is longer is read in as many goes as it takes.
const READ_BUFFER: usize = 2 * 1024;

/// Unsent bytes after which a connection counts as broken; a device waits for the socket long before.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// Where to connect, resolved once for the whole run.
pub struct Endpoint {
    /// Resolved addresses; device n uses address n modulo their number.
    pub addresses: Vec<SocketAddr>,
    /// Where devices connect from.
    pub sources: Sources,
    /// Host (and port, where it is not the default) for the `Host` header.
    pub authority: String,
    /// Path and query; may hold `{placeholders}`.
    pub path: Secret,
    /// Extra headers; values may hold `{placeholders}`.
    pub headers: Vec<(String, Secret)>,
    /// Values for the placeholders.
    pub values: Arc<DeviceValues>,
    /// TLS settings and the name to check the certificate against.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Largest message accepted.
    pub max_message: usize,
    /// What devices show to this target, and nobody else may see.
    pub secrets: Secrets,
}

impl Endpoint {
    /// Connects a device: TCP, TLS, upgrade.
    pub async fn connect(
        &self,
        device: u32,
        clock: &Clock,
    ) -> Result<(Box<dyn Transport>, ConnectTimes), Closed> {
        let mut times = ConnectTimes::default();
        let request = self.request(device)?;
        let start = clock.now();
        let address = self.addresses.get(device as usize % self.addresses.len().max(1));
        let Some(&address) = address else {
            return Err(Closed {
                class: FailureClass::Dns,
                detail: "the host name has no address".to_owned(),
            });
        };
        let tcp = source::connect(self.sources.of(device), address).await.map_err(|e| connecting(&e))?;
        tcp.set_nodelay(true).map_err(|e| connecting(&e))?;
        times.local_port = tcp.local_addr().map_or(0, |a| a.port());
        let connected = clock.now();
        times.tcp = connected - start;
        let Some((config, name)) = &self.tls else {
            let ws = self.upgrade(request, tcp).await?;
            times.upgrade = clock.now() - connected;
            return Ok((Box::new(ws), times));
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let tls = connector.connect(name.clone(), tcp).await.map_err(|e| tls_failed(&e))?;
        let secured = clock.now();
        times.tls = secured - connected;
        let ws = self.upgrade(request, tls).await?;
        times.upgrade = clock.now() - secured;
        Ok((Box::new(ws), times))
    }

    fn request(&self, device: u32) -> Result<Request, Closed> {
        let malformed = |what: &str| Closed {
            class: FailureClass::Protocol,
            detail: format!("device {device}: {what} is not valid after its placeholders are filled in"),
        };
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let uri = format!("{scheme}://{}{}", self.authority, self.values.fill(self.path.reveal(), device));
        let mut request = Request::builder()
            .uri(uri)
            .header("Host", &self.authority)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .body(())
            .map_err(|_| malformed("the target's path"))?;
        for (name, value) in &self.headers {
            let bad = || malformed(&format!("header `{name}`"));
            let mut filled =
                HeaderValue::try_from(self.values.fill(value.reveal(), device)).map_err(|_| bad())?;
            filled.set_sensitive(true);
            request.headers_mut().append(HeaderName::try_from(name.as_str()).map_err(|_| bad())?, filled);
        }
        Ok(request)
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        request: Request,
        io: S,
    ) -> Result<WebSocket<S>, Closed> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        match Box::pin(tokio_tungstenite::client_async_with_config(request, io, Some(config))).await {
            Ok((stream, _)) => Ok(WebSocket { stream, closing: false }),
            Err(Error::Http(response)) => {
                Err(refused_upgrade(response.status().as_u16(), response.body().as_deref()))
            }
            Err(e) => Err(ended(&e)),
        }
    }
}

/// An open WebSocket.
struct WebSocket<S> {
    stream: WebSocketStream<S>,
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for WebSocket<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Closed>> {
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => Ok(Frame::Text(text)),
            Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
            // The answer has been queued; reading on (or the next send) writes it.
            Some(Ok(Message::Ping(bytes))) => Ok(Frame::Ping(bytes)),
            Some(Ok(Message::Pong(bytes))) => Ok(Frame::Pong(bytes)),
            Some(Ok(Message::Frame(_))) => Ok(Frame::Ping(Bytes::new())), // never read, by its documentation
            Some(Ok(Message::Close(frame))) => {
                // Acknowledges the goodbye, if the socket takes it now.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                Err(closed_by_peer(frame))
            }
            Some(Err(e)) => Err(ended(&e)),
            None => Err(lost("the connection ended without a goodbye")),
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(|e| ended(&e))
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closed> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
        };
        Pin::new(&mut self.stream).start_send(message).map_err(|e| ended(&e))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|e| ended(&e))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<()> {
        if !self.closing {
            if Pin::new(&mut self.stream).poll_ready(cx).is_pending() {
                return Poll::Pending;
            }
            self.closing = true;
            let goodbye = Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }));
            if Pin::new(&mut self.stream).start_send(goodbye).is_err() {
                return Poll::Ready(());
            }
        }
        if Pin::new(&mut self.stream).poll_flush(cx).is_pending() {
            return Poll::Pending;
        }
        // Reads until the peer's goodbye, dropping what it still says.
        loop {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Poll::Ready(()),
                Some(Ok(_)) => {}
            }
        }
    }
}

fn lost(detail: impl Into<String>) -> Closed {
    Closed { class: FailureClass::Reset, detail: detail.into() }
}

fn closed_by_peer(frame: Option<CloseFrame>) -> Closed {
    let Some(frame) = frame else {
        return Closed {
            class: FailureClass::Closed(1005),
            detail: "closed by the server without a code".to_owned(),
        };
    };
    let code = u16::from(frame.code);
    // 4401 and 4403 are the usual private codes for 401 and 403.
    let class = if matches!(code, 4401 | 4403) { FailureClass::Auth } else { FailureClass::Closed(code) };
    let reason = frame.reason.as_str();
    let detail = if reason.is_empty() {
        format!("closed by the server with code {code}")
    } else {
        format!("closed by the server with code {code}: {}", excerpt(reason))
    };
    Closed { class, detail }
}

fn refused_upgrade(status: u16, body: Option<&[u8]>) -> Closed {
    let class =
        if matches!(status, 401 | 403) { FailureClass::Auth } else { FailureClass::UpgradeStatus(status) };
    let body = body.map(String::from_utf8_lossy).unwrap_or_default();
    let detail = match excerpt(&body) {
        text if text.is_empty() => format!("the upgrade was answered with HTTP status {status}"),
        text => format!("the upgrade was answered with HTTP status {status}: {text}"),
    };
    Closed { class, detail }
}

/// What the peer said, short enough for a report and on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

fn tls_failed(e: &io::Error) -> Closed {
    Closed { class: FailureClass::Tls, detail: format!("TLS handshake: {e}") }
}

/// An error while connecting.
fn connecting(e: &io::Error) -> Closed {
    use rustix::io::Errno;
    let class = match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => FailureClass::Refused,
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::ADDRNOTAVAIL
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::ADDRINUSE,
        ) => FailureClass::LocalLimit,
        Some(Errno::TIMEDOUT) => FailureClass::ConnectTimeout,
        Some(Errno::CONNRESET | Errno::PIPE) => FailureClass::Reset,
        _ => FailureClass::Network,
    };
    // `bind` says the same of an address that has gone; it names that address.
    let hint = match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ADDRNOTAVAIL) => {
            ": every local port towards the server is taken (--source-ip gives more)"
        }
        Some(Errno::MFILE) => ": the limit of open files is reached (ulimit -n)",
        _ => "",
    };
    Closed { class, detail: format!("connecting: {e}{hint}") }
}

/// Why a connection (or the upgrade on it) ended.
fn ended(e: &Error) -> Closed {
    let (class, detail) = match e {
        Error::Capacity(e) => (FailureClass::MessageTooLarge, e.to_string()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => (FailureClass::Reset, "the connection ended without a goodbye".to_owned()),
        Error::Protocol(e) => (FailureClass::Protocol, format!("WebSocket: {e}")),
        Error::Utf8(_) => (FailureClass::Protocol, "a text frame that is not UTF-8".to_owned()),
        Error::WriteBufferFull(_) => (FailureClass::Reset, "the server stopped reading".to_owned()),
        Error::Io(e) => match e.kind() {
            io::ErrorKind::InvalidData => (FailureClass::Tls, format!("TLS: {e}")),
            io::ErrorKind::TimedOut => (FailureClass::Network, format!("the connection timed out: {e}")),
            _ => (FailureClass::Reset, format!("the connection broke: {e}")),
        },
        e => (FailureClass::Protocol, format!("WebSocket: {e}")),
    };
    Closed { class, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_classes() {
        let io = |n| io::Error::from_raw_os_error(n);
        for (errno, class) in [
            (rustix::io::Errno::CONNREFUSED, FailureClass::Refused),
            (rustix::io::Errno::MFILE, FailureClass::LocalLimit),
            (rustix::io::Errno::ADDRNOTAVAIL, FailureClass::LocalLimit),
            (rustix::io::Errno::HOSTUNREACH, FailureClass::Network),
        ] {
            assert_eq!(connecting(&io(errno.raw_os_error())).class, class);
        }
        assert_eq!(refused_upgrade(401, None).class, FailureClass::Auth);
        assert_eq!(refused_upgrade(503, Some(b"too  many\nconnections")).detail.lines().count(), 1);
        let close = |code: u16| Some(CloseFrame { code: code.into(), reason: "why".into() });
        assert_eq!(closed_by_peer(close(4401)).class, FailureClass::Auth);
        assert_eq!(closed_by_peer(close(1011)).class, FailureClass::Closed(1011));
        assert!(excerpt(&"ä".repeat(500)).chars().count() <= 201);
    }
}
