//! The endpoint that Prometheus scrapes: as much of HTTP/1.1 as `GET /metrics` needs, on a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::{Board, exposition};

/// Longest request head: scrapers send a few hundred bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Connections at once; more wait.
const AT_ONCE: usize = 16;

/// For a request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listening endpoint. It serves until it is dropped.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    listener: Option<TcpListener>,
    stop: Option<oneshot::Sender<()>>,
}

impl Metrics {
    /// Takes the address, and answers nobody yet.
    pub fn bind(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).and_then(|l| {
            l.set_nonblocking(true)?;
            Ok((l.local_addr()?, l))
        });
        match listener {
            Ok((address, listener)) => Ok(Self { address, listener: Some(listener), stop: None }),
            Err(e) => {
                let (why, hint) = match e.kind() {
                    io::ErrorKind::AddrInUse => (
                        "something else listens there".to_owned(),
                        format!("another port, or {}:0 for any free one", shown(address)),
                    ),
                    io::ErrorKind::AddrNotAvailable => (
                        "not an address of this machine".to_owned(),
                        format!("127.0.0.1:{0}, or 0.0.0.0:{0} for all addresses", address.port()),
                    ),
                    io::ErrorKind::PermissionDenied => {
                        ("not allowed".to_owned(), "a port above 1023, such as 127.0.0.1:9464".to_owned())
                    }
                    _ => (e.to_string(), "another address, such as 127.0.0.1:9464".to_owned()),
                };
                Err(format!("cannot serve metrics on {address}: {why}\n  try {hint}"))
            }
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what is on the board.
    pub fn serve(&mut self, board: Arc<Board>) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        let served = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, board) => {}
                    // Also when the sender is no more.
                    _ = stopped => {}
                }
            });
        };
        std::thread::Builder::new().name("metrics".to_owned()).spawn(served).map(drop)
    }
}

fn shown(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(a) => a.ip().to_string(),
        SocketAddr::V6(a) => format!("[{}]", a.ip()),
    }
}

async fn accept(listener: TcpListener, board: Arc<Board>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = Arc::clone(&board);
                tokio::spawn(async move {
                    // A scraper that leaves, or takes too long, asks again.
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, &board)).await;
                    drop(place);
                });
            }
            // Out of descriptors, perhaps: not for long.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, board: &Board) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let whole = |head: &[u8]| head.windows(4).any(|w| w == b"\r\n\r\n");
    while !whole(&head) {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let reply = if whole(&head) {
        respond(&head, &|| exposition::page(&board.get()))
    } else {
        response("400 Bad Request", "text/plain", "", "not an HTTP request\n", true)
    };
    stream.write_all(&reply).await?;
    stream.shutdown().await
}

/// The answer to a request: to its head, with what `page` says.
pub fn respond(head: &[u8], page: &dyn Fn() -> String) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !words.next().is_some_and(|v| v.starts_with("HTTP/1.")) {
        return response("400 Bad Request", "text/plain", "", "not an HTTP/1.1 request\n", true);
    }
    let body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => {
            return response(
                "405 Method Not Allowed",
                "text/plain",
                "Allow: GET, HEAD\r\n",
                "only GET and HEAD\n",
                true,
            );
        }
    };
    match target.split('?').next() {
        Some("/metrics") => response("200 OK", exposition::CONTENT_TYPE, "", &page(), body),
        Some("/") => {
            let text = "<!doctype html><title>voxload</title><p>voxload: <a href=\"/metrics\">metrics</a>\n";
            response("200 OK", "text/html; charset=utf-8", "", text, body)
        }
        _ => response("404 Not Found", "text/plain", "", "nothing here: see /metrics\n", body),
    }
}

fn response(status: &str, kind: &str, more: &str, text: &str, body: bool) -> Vec<u8> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n"
    );
    let mut all = head.into_bytes();
    if body {
        all.extend_from_slice(text.as_bytes());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::live::Snapshot;

    fn asked(request: &str) -> String {
        String::from_utf8(respond(request.as_bytes(), &|| "x 1\n".to_owned())).unwrap()
    }

    #[test]
    fn requests_are_answered() {
        let ok = asked("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(ok.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{ok}");
        assert!(ok.ends_with("Content-Length: 4\r\nConnection: close\r\n\r\nx 1\n"), "{ok}");
        let head = asked("HEAD /metrics HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(asked("GET / HTTP/1.1\r\n\r\n").contains("href=\"/metrics\""));
        assert!(asked("GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(asked("POST /metrics HTTP/1.1\r\n\r\n").contains("\r\nAllow: GET, HEAD\r\n"));
        for bad in ["", "\u{1b}[31m", "GET /metrics", "GET /metrics SMTP\r\n\r\n"] {
            assert!(asked(bad).starts_with("HTTP/1.1 400"), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_serves_many_and_ends() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut metrics = Metrics::bind(any).unwrap();
        let address = metrics.address();
        let taken = Metrics::bind(address).unwrap_err();
        assert!(
            taken.contains("something else listens there\n  try another port, or 127.0.0.1:0"),
            "{taken}"
        );
        metrics.serve(Board::new(Snapshot::default())).unwrap();
        // They say nothing, and cost a place each until they leave.
        let idle: Vec<_> = (0..AT_ONCE - 1).map(|_| TcpStream::connect(address).unwrap()).collect();
        for request in ["GET /metrics HTTP/1.1\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).unwrap();
            for half in request.as_bytes().chunks(9) {
                stream.write_all(half).unwrap();
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.contains("\nvoxload_build_info{version=\""), "{text}");
        }
        drop((idle, metrics));
        for _ in 0..500 {
            if TcpStream::connect(address).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it still listens");
    }
}
