//! Bytes of a connection, before there are messages. The first byte chooses:
//! 0: what a server answers to a device's upgrade; 1: the same, upgraded already: frames; 2: what a client asks of the
//! reference server, and its frames; 3: what asks the endpoint of the metrics.
#![no_main]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::Stream as _;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf, duplex};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use voxload::dialect::{Dialect, Handshake};
use voxload::live;
use voxload::scenario::{self, Environment, Secret, Source};
use voxload::transport::accept::accept;
use voxload::transport::websocket::Endpoint;

/// Largest message that is taken.
const MOST: usize = 64 * 1024;

/// Once: everything is in memory, so that what waits now would wait for ever.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Writes as much as there is room for.
fn say(io: &mut DuplexStream, bytes: &[u8]) {
    let mut cx = Context::from_waker(Waker::noop());
    let _ = Pin::new(io).poll_write(&mut cx, bytes);
}

/// Says nothing more, and listens on.
fn leave(io: &mut DuplexStream) {
    let _ = Pin::new(io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
}

/// Everything that has been said.
fn heard(io: &mut DuplexStream) -> Vec<u8> {
    let (mut all, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    loop {
        let mut space = [0; 1024];
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *io).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => all.extend_from_slice(buffer.filled()),
            _ => return all,
        }
    }
}

fn endpoint() -> Endpoint {
    let source = Source::inline("fuzz.toml", "[target]\nurl = \"ws://localhost/\"\n");
    let scenario = scenario::load_in(&source, &[], &Environment::default()).expect("a scenario");
    Endpoint {
        addresses: Vec::new(),
        sources: Default::default(),
        authority: "localhost".to_owned(),
        path: Secret::new("/"),
        headers: Vec::new(),
        connector: None,
        values: Default::default(),
        tls: None,
        max_message: MOST,
        secrets: scenario.secrets(),
        links: None,
    }
}

/// A device connects to `answer`; `upgraded`: after a good answer to its upgrade.
fn device(answer: &[u8], upgraded: bool) {
    thread_local!(static ENDPOINT: Endpoint = endpoint());
    let (near, mut far) = duplex(1 << 20);
    ENDPOINT.with(|endpoint| {
        let mut connecting = pin!(endpoint.connect_within(7, near));
        let mut now = poll(connecting.as_mut());
        let request = String::from_utf8(heard(&mut far)).expect("a request is text");
        if upgraded {
            let key = request.lines().find_map(|l| {
                l.split_once(": ")
                    .filter(|(n, _)| n.eq_ignore_ascii_case("sec-websocket-key"))
                    .map(|(_, v)| v)
            });
            let accept = derive_accept_key(key.expect("a request has a key").as_bytes());
            say(
                &mut far,
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .as_bytes(),
            );
        }
        say(&mut far, answer);
        leave(&mut far);
        if now.is_pending() {
            now = poll(connecting.as_mut());
        }
        let Poll::Ready(connected) = now else { panic!("waits for a server that is gone") };
        assert!(connected.is_ok() || !upgraded);
        let Ok(mut transport) = connected else { return };
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match transport.poll_recv(&mut cx) {
                Poll::Ready(Ok(frame)) => assert!(frame.len() <= MOST),
                Poll::Ready(Err(closed)) => return drop((closed.class.to_string(), closed.detail)),
                Poll::Pending => panic!("waits for a server that is gone"),
            }
        }
    });
}

/// A client asks the reference server's side for an upgrade, and goes on.
fn server(request: &[u8]) {
    let (near, mut far) = duplex(1 << 20);
    say(&mut far, request);
    let mut handshake = Handshake::default();
    let accepting = accept(near, MOST, |request| {
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let text = |(name, value): (
            &tokio_tungstenite::tungstenite::http::HeaderName,
            &tokio_tungstenite::tungstenite::http::HeaderValue,
        )| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        handshake = Handshake { target, headers: request.headers().iter().filter_map(text).collect() };
        Ok(())
    });
    let mut accepting = Box::pin(accepting);
    let mut now = poll(accepting.as_mut());
    let _ = heard(&mut far);
    leave(&mut far);
    if now.is_pending() {
        now = poll(accepting.as_mut());
    }
    let Poll::Ready(accepted) = now else { panic!("waits for a client that is gone") };
    drop(accepting);
    let Ok(mut ws) = accepted else { return };
    for dialect in Dialect::NATIVE {
        let mut side = dialect.server();
        side.connected("session", &handshake, &mut Vec::new(), &mut Vec::new());
    }
    let _ = (handshake.query("token"), handshake.header("authorization").map(str::len));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut ws).poll_next(&mut cx) {
            Poll::Ready(Some(Ok(message))) => assert!(message.len() <= MOST),
            Poll::Ready(Some(Err(e))) => return drop(e.to_string()),
            Poll::Ready(None) => return,
            Poll::Pending => panic!("waits for a client that is gone"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 4 {
        0 => device(rest, false),
        1 => device(rest, true),
        2 => server(rest),
        _ => {
            let reply = live::respond(rest, &|| "voxload_up 1\n".to_owned());
            let status = reply.get(..13).expect("an answer has a status");
            assert!(
                status.starts_with(b"HTTP/1.1 ")
                    && (200..500).contains(&str::from_utf8(&status[9..12]).unwrap().parse().unwrap_or(0))
            );
        }
    }
});
