//! The reference server over real sockets: in this process, and as a child.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use voxload::audio::{AudioFormat, Codec};
use voxload::dialect::Dialect;
use voxload::reference::child::{Child, Order};
use voxload::reference::truth::{self, FreezeRow};
use voxload::reference::{Options, Server, Spoken};
use voxload::scenario::{Dist, Fault, Freeze, ReferencePlan, Secret};
use voxload::time::{Clock, Micros};

const PCM: AudioFormat = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };

/// Longer than any test should take: a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

type Ws = WebSocketStream<TcpStream>;

fn plan() -> ReferencePlan {
    ReferencePlan {
        stt: Dist::Constant(Micros::from_millis(20)),
        burst: Micros::from_secs(10),
        ..ReferencePlan::instant()
    }
}

fn options(plan: ReferencePlan) -> Options {
    let reply = Spoken {
        text: "Yes. It does.".to_owned(),
        rate: 16_000,
        samples: (0..8_000).map(|i| 0.3 * (i as f32 * 0.15).sin()).collect(),
    };
    Options {
        plan,
        replies: vec![reply],
        formats: vec![PCM],
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        secure: false,
        truth: None,
        heard: None,
        clock: Clock::start(),
    }
}

fn server(plan: ReferencePlan) -> Server {
    Server::start(options(plan)).unwrap()
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let test = async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") };
    runtime.unwrap().block_on(test)
}

fn address(url: &str) -> String {
    url.split('/').nth(2).unwrap().to_owned()
}

async fn dial(url: &str, token: Option<&str>) -> Result<Ws, Error> {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("Authorization", value);
    }
    let tcp = TcpStream::connect(address(url)).await.unwrap();
    tokio_tungstenite::client_async(request, tcp).await.map(|(ws, _)| ws)
}

fn status(result: Result<Ws, Error>) -> u16 {
    match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(e) => panic!("{e}"),
        Ok(_) => 101,
    }
}

async fn send(ws: &mut (impl futures_util::Sink<Message, Error = Error> + Unpin), message: Value) {
    ws.send(Message::text(message.to_string())).await.unwrap();
}

/// Opens a session, speaks for 200 ms and asks for the reply.
async fn speak(ws: &mut (impl futures_util::Sink<Message, Error = Error> + Unpin), turn: u32) {
    if turn == 0 {
        send(ws, json!({"type": "session_start", "audio": {"up": PCM, "down": PCM}})).await;
    }
    for _ in 0..10 {
        ws.send(Message::binary(vec![1_u8; 640])).await.unwrap();
    }
    send(ws, json!({"type": "audio_end", "turn": turn})).await;
}

/// What comes until the turn ends (or the connection does), each once, in order of its first coming: message types, `audio`, `close 1009`, or `lost`.
async fn listen<S>(ws: &mut S) -> Vec<String>
where
    S: futures_util::Stream<Item = Result<Message, Error>> + Unpin,
{
    let mut heard = Vec::new();
    loop {
        let what = match ws.next().await {
            Some(Ok(Message::Text(text))) => match serde_json::from_str::<Value>(&text) {
                Ok(m) => m["type"].as_str().unwrap_or_default().to_owned(),
                Err(_) => "text".to_owned(),
            },
            Some(Ok(Message::Binary(_))) => "audio".to_owned(),
            Some(Ok(Message::Close(frame))) => {
                format!("close {}", frame.map_or(1005, |f| u16::from(f.code)))
            }
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => "lost".to_owned(),
        };
        let last = what == "turn_end" || what == "lost" || what.starts_with("close");
        if !heard.contains(&what) {
            heard.push(what);
        }
        if last {
            return heard;
        }
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_whole_conversation_and_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reference-truth.csv");
    let clock = Clock::start();
    let server = Server::start(Options { truth: Some(path.clone()), clock, ..options(plan()) }).unwrap();
    let (port, before) = run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        let before = clock.now();
        for turn in 0..3 {
            speak(&mut ws, turn).await;
            let heard = listen(&mut ws).await;
            let reply = ["transcript_final", "llm_token", "audio", "turn_end"];
            assert!(heard.ends_with(&reply.map(str::to_owned)), "{heard:?}");
        }
        (ws.get_ref().local_addr().unwrap().port(), before)
    });
    let counts = server.stop().unwrap();
    // A frame may be read before the server has noted that it was written: only now is it surely done.
    let after = clock.now();
    assert_eq!((counts.sessions, counts.turns, counts.live), (1, 3, 0));
    assert_eq!(counts.truth_rows_lost, 0);
    let rows = truth::read(&path).unwrap();
    assert_eq!(rows.iter().map(|r| r.session_turn).collect::<Vec<_>>(), [0, 1, 2]);
    for r in rows {
        assert_eq!(r.peer_port, port);
        assert_eq!(r.speech_us, Micros::from_millis(200));
        let way = [
            Some(before),
            r.first_audio_in_us,
            r.last_audio_in_us,
            Some(r.turn_end_in_us),
            r.final_out_us,
            r.first_token_out_us,
            r.first_audio_out_us,
            r.last_audio_out_us,
            r.done_out_us,
            Some(after),
        ];
        assert!(way.iter().all(Option::is_some) && way.is_sorted(), "{way:?}");
        assert!(r.final_out_us.unwrap() - r.turn_end_in_us >= Micros::from_millis(20));
    }
}

#[test]
fn plain_over_a_socket() {
    let server = server(ReferencePlan { dialect: Dialect::Plain, ..plan() });
    run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        ws.send(Message::binary(vec![1_u8; 6_400])).await.unwrap();
        ws.send(Message::text("end_stream")).await.unwrap();
        let text = ws.next().await.unwrap().unwrap();
        assert!(text.to_text().unwrap().contains("transcript"), "{text:?}");
        let audio = ws.next().await.unwrap().unwrap();
        assert!(audio.is_binary() && audio.len() >= 16_000, "{} bytes", audio.len());
    });
}

#[test]
fn tokens_are_checked_at_the_upgrade_or_in_the_opening() {
    let secret = Some(Secret::new("open sesame"));
    let envelope = server(ReferencePlan { token: secret.clone(), ..plan() });
    let plain = server(ReferencePlan { token: secret, dialect: Dialect::Plain, ..plan() });
    run(async {
        assert_eq!(status(dial(&envelope.url(), Some("open sesame")).await), 101);
        assert_eq!(status(dial(&envelope.url(), Some("guess")).await), 401);
        assert_eq!(status(dial(&plain.url(), Some("open sesame")).await), 101);
        assert_eq!(status(dial(&plain.url(), None).await), 401);
        let mut ws = dial(&envelope.url(), None).await.unwrap();
        send(&mut ws, json!({"type": "session_start"})).await;
        assert_eq!(listen(&mut ws).await, ["error", "close 4401"]);
    });
}

#[test]
fn more_connections_than_allowed_are_refused_until_one_leaves() {
    let server = server(ReferencePlan { max_connections: 2, ..plan() });
    run(async {
        let first = dial(&server.url(), None).await.unwrap();
        let _second = dial(&server.url(), None).await.unwrap();
        assert_eq!(status(dial(&server.url(), None).await), 503);
        until(|| server.counts().live == 2).await;
        drop(first);
        until(|| server.counts().live == 1).await;
        assert_eq!(status(dial(&server.url(), None).await), 101);
    });
}

#[test]
fn faults_of_connections_refuse_the_upgrade() {
    for (fault, expected) in [(Fault::RefuseUpgrade, 503), (Fault::RefuseAuth, 401)] {
        let server = server(ReferencePlan { faults: vec![(fault, 1.0)], ..plan() });
        run(async { assert_eq!(status(dial(&server.url(), None).await), expected) });
    }
}

#[test]
fn a_message_that_is_too_large_is_answered_with_1009() {
    let server = server(ReferencePlan { max_message: 10_000, ..plan() });
    run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        // Larger than the socket's buffers: part of it is unread when the server says goodbye.
        let (mut out, mut back) = ws.split();
        let large = out.send(Message::binary(vec![0_u8; 8_000_000]));
        let (heard, _) = tokio::join!(listen(&mut back), large);
        assert_eq!(heard, ["close 1009"]);
        until(|| server.counts().live == 0).await;
        ws = dial(&server.url(), None).await.unwrap();
        ws.send(Message::text(json!({"type": "session_start"}).to_string())).await.unwrap();
        assert!(ws.next().await.unwrap().is_ok(), "the server goes on");
    });
}

#[test]
fn an_idle_connection_is_closed_with_1001() {
    let server = server(ReferencePlan { idle_timeout: Micros::from_millis(200), ..plan() });
    run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        assert_eq!(listen(&mut ws).await, ["close 1001"]);
        until(|| server.counts().live == 0).await;
    });
}

#[test]
fn broken_connections_look_broken() {
    for (fault, end) in
        [(Fault::CloseMidReply, "close 1011"), (Fault::ResetMidReply, "lost"), (Fault::HugeFrame, "lost")]
    {
        let server = server(ReferencePlan { faults: vec![(fault, 1.0)], ..plan() });
        run(async {
            let mut ws = dial(&server.url(), None).await.unwrap();
            speak(&mut ws, 0).await;
            assert_eq!(listen(&mut ws).await.last().unwrap(), end, "{fault:?}");
            until(|| server.counts().live == 0).await;
        });
    }
}

#[test]
fn what_is_not_a_websocket_leaves_no_trace() {
    let server = server(plan());
    run(async {
        for junk in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01garbage\r\n\r\n"] {
            let mut tcp = TcpStream::connect(address(&server.url())).await.unwrap();
            tcp.write_all(junk.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The server may reset it: either way, it ends.
            let _ = tcp.read_to_end(&mut answer).await;
        }
        until(|| server.counts().live == 0).await;
        assert_eq!(server.counts().sessions, 0);
    });
}

#[test]
fn abandoned_sessions_are_freed_in_the_middle_of_their_replies() {
    let server = server(ReferencePlan {
        llm_slots: 1,
        llm: Dist::Constant(Micros::from_secs(60)),
        threads: 2,
        ..plan()
    });
    run(async {
        let mut all = Vec::new();
        for _ in 0..50 {
            let mut ws = dial(&server.url(), None).await.unwrap();
            speak(&mut ws, 0).await;
            all.push(ws);
        }
        until(|| server.counts().turns == 50).await;
        assert_eq!(server.counts().live, 50);
        drop(all);
        until(|| server.counts().live == 0).await;
    });
}

#[test]
fn a_device_that_does_not_read_is_held_back_and_not_buffered() {
    let reply = Spoken { samples: vec![0.3; 16_000 * 200].into(), ..options(plan()).replies[0].clone() };
    let server = Server::start(Options {
        replies: vec![reply],
        ..options(ReferencePlan {
            burst: Micros::from_secs(1_000),
            max_backlog: 10_000,
            tts_speed: 100_000.0,
            ..plan()
        })
    })
    .unwrap();
    run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        speak(&mut ws, 0).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // 6.4 MB of reply come through whole when the device reads again.
        let mut bytes = 0;
        loop {
            match ws.next().await.unwrap().unwrap() {
                Message::Binary(b) => bytes += b.len(),
                Message::Text(t) if t.contains("turn_end") => break,
                _ => {}
            }
        }
        assert_eq!(bytes.div_ceil(1_920), (16_000_usize * 200 * 2).div_ceil(1_920));
    });
}

#[test]
fn a_device_that_never_reads_again_is_dropped() {
    let reply = Spoken { samples: vec![0.3; 16_000 * 600].into(), ..options(plan()).replies[0].clone() };
    let server = Server::start(Options {
        replies: vec![reply],
        ..options(ReferencePlan {
            burst: Micros::from_secs(1_000),
            max_backlog: 10_000,
            tts_speed: 100_000.0,
            idle_timeout: Micros::from_millis(300),
            ..plan()
        })
    })
    .unwrap();
    run(async {
        let mut ws = dial(&server.url(), None).await.unwrap();
        speak(&mut ws, 0).await;
        until(|| server.counts().turns == 1).await;
        until(|| server.counts().live == 0).await;
    });
}

#[test]
fn wss_with_a_certificate_made_on_the_spot() {
    let server = Server::start(Options { secure: true, ..options(plan()) }).unwrap();
    let url = server.url();
    assert!(url.starts_with("wss://127.0.0.1:"), "{url}");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    run(async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = TcpStream::connect(address(&url)).await.unwrap();
        let tls = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await.unwrap();
        let (mut ws, _) = tokio_tungstenite::client_async(url, tls).await.unwrap();
        speak(&mut ws, 0).await;
        assert_eq!(listen(&mut ws).await.last().unwrap(), "turn_end");
    });
}

#[test]
fn an_address_in_use_is_named() {
    let server = server(plan());
    let listen = address(&server.url()).parse().unwrap();
    let e = Server::start(Options { listen, ..options(plan()) }).unwrap_err();
    assert!(e.contains(&listen.to_string()) && e.contains("Address already in use"), "{e}");
}

fn order(plan: ReferencePlan, truth: &Path, clock: Clock) -> Order {
    Order {
        plan,
        formats: vec![PCM],
        secure: false,
        truth: Some(truth.to_owned()),
        epoch_us: clock.epoch_us(),
    }
}

fn voxload() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_voxload"))
}

#[test]
fn as_a_child_it_answers_with_real_speech_and_says_farewell() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reference-truth.csv");
    let clock = Clock::start();
    let mut child = Child::start_from(voxload(), &order(plan(), &path, Clock::with_epoch_us(0))).unwrap();
    child.set_epoch(clock.epoch_us());
    run(async {
        let mut ws = dial(child.url(), None).await.unwrap();
        speak(&mut ws, 0).await;
        assert_eq!(listen(&mut ws).await.last().unwrap(), "turn_end");
    });
    let now = clock.now();
    let farewell = child.stop().unwrap();
    assert_eq!((farewell.counts.sessions, farewell.counts.turns), (1, 1));
    assert!(farewell.cpu > Micros::ZERO && farewell.peak_rss_bytes > 1_000_000, "{farewell:?}");
    let rows = truth::read(&path).unwrap();
    assert_eq!(rows.len(), 1);
    let heard = rows[0].turn_end_in_us;
    assert!(heard > Micros::ZERO && heard < now, "on the parent's clock: {heard:?}");
    assert!(rows[0].first_audible_offset_us.is_some(), "the shipped replies are audible");
}

#[test]
fn a_server_that_freezes_does_nothing_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.csv");
    let clock = Clock::start();
    let freeze = Some(Freeze { every: Micros::from_millis(150), length: Micros::from_millis(100) });
    let plan = ReferencePlan { freeze, threads: 2, ..ReferencePlan::instant() };
    let server = Server::start(Options { truth: Some(path.clone()), clock, ..options(plan) }).unwrap();
    server.set_zero(Micros::ZERO);
    let freezes = || truth::read_rows::<FreezeRow>(&path.with_file_name("freezes.csv")).unwrap_or_default();
    run(async {
        // Connections and turns, one after the other, until both threads have stood still a few times.
        while [0, 1].iter().any(|n| freezes().iter().filter(|f| f.thread == *n).count() < 3) {
            let mut ws = dial(&server.url(), None).await.unwrap();
            for turn in 0..2 {
                speak(&mut ws, turn).await;
                assert_eq!(listen(&mut ws).await.last().unwrap(), "turn_end");
            }
        }
    });
    server.stop().unwrap();
    for f in freezes() {
        assert_eq!(f.planned_until_us.0 % 150_000, 0, "counted from zero: {f:?}");
        assert!(f.from_us >= f.planned_from_us && f.until_us >= f.planned_until_us, "{f:?}");
    }
    // Whatever was done was done by a thread that moved: no instant lies within the freezes of both.
    for r in truth::read(&path).unwrap() {
        for at in
            [r.first_audio_in_us, r.last_audio_in_us, r.final_out_us, r.done_out_us].into_iter().flatten()
        {
            let frozen = |n| freezes().iter().any(|f| f.thread == n && f.from_us < at && at < f.until_us);
            assert!(!(frozen(0) && frozen(1)), "{at:?}");
        }
    }
}

#[test]
fn a_child_that_cannot_start_says_why() {
    let e = Child::start_from(voxload(), &order(plan(), Path::new("/nonexistent/t.csv"), Clock::start()))
        .unwrap_err();
    assert!(e.contains("did not start") && e.contains("/nonexistent/t.csv"), "{e}");
    let e =
        Child::start_from(Path::new("/nonexistent/voxload"), &order(plan(), Path::new("t"), Clock::start()))
            .unwrap_err();
    assert!(e.contains("/nonexistent/voxload"), "{e}");
}

#[test]
fn a_child_ends_when_its_parent_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reference-truth.csv");
    let mut process = Command::new(voxload())
        .args(["serve", "--embedded"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let order = serde_json::to_string(&order(plan(), &path, Clock::start())).unwrap();
    writeln!(stdin, "{order}").unwrap();
    drop(stdin);
    let start = Instant::now();
    while process.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it lives on without a parent");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_child_with_nonsense_for_an_order_says_what_it_expected() {
    let out = Command::new(voxload()).args(["serve", "--embedded"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("one line of JSON on standard input"), "{said}");
}

#[test]
fn serve_says_how_to_use_it_and_counts() {
    let mut process = Command::new(voxload())
        .args(["serve", "--listen", "127.0.0.1:0", "--preset", "instant", "--set", "reference.burst=10s"])
        .env("VOXLOAD_TOKEN", "open sesame")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        assert!(stdout.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let url = said.split_whitespace().find(|w| w.starts_with("ws://")).unwrap().to_owned();
    let hint = format!(
        "voxload run quickstart --url {url} --set 'target.headers.Authorization=Bearer ${{VOXLOAD_TOKEN}}'"
    );
    assert!(said.contains(&hint) && !said.contains("open sesame"), "{said}");
    run(async {
        let mut ws = dial(&url, Some("open sesame")).await.unwrap();
        speak(&mut ws, 0).await;
        assert_eq!(listen(&mut ws).await.last().unwrap(), "turn_end");
    });
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("1 connections, 1 sessions, 1 turns"), "{rest}");
    assert!(process.wait().unwrap().success());
}
