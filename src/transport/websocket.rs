//! WebSocket (RFC 6455), plain and over TLS.
//!
//! Buffers are small, because thousands of them exist: 2 KiB to read into, none to write from: each message goes to
//! the socket at once, with `TCP_NODELAY` and past the library's buffers (see `direct.rs`). Pings are answered, close codes are kept.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use futures_util::{Sink, Stream};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::direct::{Direct, Socket, Wire, Written};
use super::impaired::{Impaired, Way};
use super::source::{self, Sources};
use super::{Closed, ConnectTimes, Frame, Transport};
use crate::dialect::connect::{self, Connector};
use crate::drive::links::Links;
use crate::drive::timer::Timers;
use crate::event::FailureClass;
use crate::scenario::{DeviceValues, Secret, Secrets};
use crate::time::{Clock, Micros};

/// Bytes read at once: small, because every device has its own. What is longer is read in as many goes as it takes.
const READ_BUFFER: usize = 2 * 1024;

/// The header of subprotocols.
const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol";

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
    /// What the dialect adds to the upgrade.
    pub connector: Option<Connector>,
    /// Values for the placeholders.
    pub values: Arc<DeviceValues>,
    /// TLS settings and the name to check the certificate against.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Largest message accepted.
    pub max_message: usize,
    /// What devices show to this target, and nobody else may see.
    pub secrets: Secrets,
    /// Imitated networks; `None`: devices connect as they are.
    pub links: Option<Links>,
}

impl Endpoint {
    /// Connects a device: TCP, TLS, upgrade.
    pub async fn connect(
        &self,
        device: u32,
        clock: &Clock,
    ) -> Result<(Box<dyn Transport>, ConnectTimes), Closed> {
        let start = clock.now();
        let tcp = self.tcp(device).await?;
        let local_port = tcp.local_addr().map_or(0, |a| a.port());
        self.talk(device, clock, start, local_port, tcp).await
    }

    /// The same, over an imitated network.
    pub async fn connect_over(
        &self,
        way: Way,
        device: u32,
        clock: &Clock,
        timers: &Timers,
    ) -> Result<(Box<dyn Transport>, ConnectTimes), Closed> {
        let start = clock.now();
        way.connect(start);
        let tcp = self.tcp(device).await?;
        let timer = timers.timer();
        // A fault meanwhile may put it off.
        while way.connected_at() > clock.now() {
            timer.until(way.connected_at()).await;
        }
        way.start(clock.now());
        let local_port = tcp.local_addr().map_or(0, |a| a.port());
        let tcp = Impaired::new(tcp, way, *clock, timer).map_err(|e| connecting(&e))?;
        self.talk(device, clock, start, local_port, tcp).await
    }

    /// The upgrade alone, with a server in this process.
    pub async fn connect_within(&self, device: u32, io: DuplexStream) -> Result<Box<dyn Transport>, Closed> {
        Ok(Box::new(self.upgrade(self.request(device)?, io).await?))
    }

    async fn tcp(&self, device: u32) -> Result<TcpStream, Closed> {
        let address = self.addresses.get(device as usize % self.addresses.len().max(1));
        let Some(&address) = address else {
            return Err(Closed {
                class: FailureClass::Dns,
                detail: "the host name has no address".to_owned(),
            });
        };
        let tcp = source::connect(self.sources.of(device), address).await.map_err(|e| connecting(&e))?;
        tcp.set_nodelay(true).map_err(|e| connecting(&e))?;
        Ok(tcp)
    }

    /// TLS and upgrade, on a connection that was asked for at `start`.
    async fn talk<S: Socket + 'static>(
        &self,
        device: u32,
        clock: &Clock,
        start: Micros,
        local_port: u16,
        tcp: S,
    ) -> Result<(Box<dyn Transport>, ConnectTimes), Closed> {
        let request = self.request(device)?;
        let connected = clock.now();
        let mut times = ConnectTimes { tcp: connected - start, local_port, ..ConnectTimes::default() };
        let Some((config, name)) = &self.tls else {
            let ws = self.upgrade(request, Direct::new(tcp)).await?;
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
        let target = self.values.fill(self.path.reveal(), device);
        let asked = match &self.connector {
            Some(connector) => connector.request(&target, device),
            None => connect::Request { target, ..connect::Request::default() },
        };
        let target = match &self.connector {
            Some(connector) => {
                let at = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |d| d.as_secs() as i64);
                connector.sign(scheme, &self.authority, asked.target, device, at).map_err(|why| Closed {
                    class: FailureClass::Auth,
                    detail: format!("the URL cannot be signed: {why}"),
                })?
            }
            None => asked.target,
        };
        let uri = format!("{scheme}://{}{target}", self.authority);
        let mut request = Request::builder()
            .uri(uri)
            .header("Host", &self.authority)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .body(())
            .map_err(|_| malformed("the target's path"))?;
        let own = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut of_dialect: Vec<_> = asked.headers.into_iter().filter(|(name, _)| !own(name)).collect();
        if !asked.subprotocols.is_empty() && !own(SUBPROTOCOL) {
            of_dialect.push((SUBPROTOCOL.to_owned(), asked.subprotocols.join(", ")));
        }
        for (name, value) in of_dialect {
            let bad = || malformed(&format!("the dialect's header `{name}`"));
            let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
            // A subprotocol must be read again, for the comparison with the server's.
            value.set_sensitive(name != SUBPROTOCOL);
            request.headers_mut().append(HeaderName::try_from(name.as_str()).map_err(|_| bad())?, value);
        }
        for (name, value) in &self.headers {
            let bad = || malformed(&format!("header `{name}`"));
            let mut filled =
                HeaderValue::try_from(self.values.fill(value.reveal(), device)).map_err(|_| bad())?;
            filled.set_sensitive(true);
            request.headers_mut().append(HeaderName::try_from(name.as_str()).map_err(|_| bad())?, filled);
        }
        Ok(request)
    }

    async fn upgrade<S: Wire>(&self, request: Request, io: S) -> Result<WebSocket<S>, Closed> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        match Box::pin(tokio_tungstenite::client_async_with_config(request, io, Some(config))).await {
            Ok((stream, _)) => Ok(WebSocket { stream, closing: false, flushed: true }),
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
    /// Everything that was handed over has been written.
    flushed: bool,
}

impl<S: Wire> Transport for WebSocket<S> {
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
        if self.flushed {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_ready(cx).map_err(|e| ended(&e))
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closed> {
        let written = self.stream.get_mut().write_frame(&frame).map_err(|e| ended(&Error::Io(e)))?;
        self.flushed = written == Written::Whole;
        if written != Written::No {
            return Ok(());
        }
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
        };
        Pin::new(&mut self.stream).start_send(message).map_err(|e| ended(&e))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|e| ended(&e))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
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

    /// Reads frames slowly, pings now and then; counts what came: messages in order, and answers to pings.
    fn slow_server(listener: &std::net::TcpListener) -> (u32, u32) {
        let (tcp, _) = listener.accept().unwrap();
        let mut ws = tokio_tungstenite::tungstenite::accept(tcp).unwrap();
        let (mut messages, mut pongs) = (0_u32, 0);
        loop {
            match ws.read() {
                Ok(Message::Binary(payload)) => {
                    assert_eq!(payload[..4], messages.to_be_bytes());
                    assert!(payload[4..].iter().all(|b| *b == messages as u8), "message {messages} is torn");
                    messages += 1;
                    if messages % 7 == 0 {
                        ws.send(Message::Ping(messages.to_be_bytes().to_vec().into())).unwrap();
                    }
                    if messages % 500 == 0 {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                }
                Ok(Message::Pong(_)) => pongs += 1,
                Ok(_) => {}
                Err(_) => return (messages, pongs),
            }
        }
    }

    #[test]
    fn frames_stay_whole_and_in_order_when_the_socket_is_full() {
        const MESSAGES: u32 = 3_000;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || slow_server(&listener));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (direct, waited) = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let config = WebSocketConfig::default().write_buffer_size(0);
            let url = format!("ws://{address}/");
            let (stream, _) =
                tokio_tungstenite::client_async_with_config(url, Direct::new(tcp), Some(config))
                    .await
                    .unwrap();
            let mut ws = WebSocket { stream, closing: false, flushed: true };
            let (mut sent, mut direct, mut waited) = (0_u32, 0, 0);
            std::future::poll_fn(|cx| {
                loop {
                    while let Poll::Ready(frame) = ws.poll_recv(cx) {
                        assert!(matches!(frame, Ok(Frame::Ping(_))), "{frame:?}");
                    }
                    if ws.poll_flush(cx).is_pending() || ws.poll_ready(cx).is_pending() {
                        waited += 1;
                        return Poll::Pending;
                    }
                    if sent == MESSAGES {
                        return Poll::Ready(());
                    }
                    let mut payload = vec![sent as u8; 10_000];
                    payload[..4].copy_from_slice(&sent.to_be_bytes());
                    ws.start_send(Frame::Binary(payload.into())).unwrap();
                    direct += u32::from(ws.flushed);
                    sent += 1;
                }
            })
            .await;
            std::future::poll_fn(|cx| ws.poll_close(cx, 1000)).await;
            (direct, waited)
        });
        let (messages, pongs) = server.join().unwrap();
        assert_eq!(messages, MESSAGES);
        assert!(pongs > 0, "pings were answered between frames of ours");
        assert!(
            direct > 0 && waited > 0,
            "{direct} at once, waited {waited} times: the test tests both ways"
        );
    }
}
