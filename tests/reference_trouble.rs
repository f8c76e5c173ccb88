//! The reference server's trouble over real sockets: lost connections and sessions that go on, drains, refusals, pings,
//! cuts, slow readers, and what `voxload serve` is told on its standard input.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use voxload::audio::{AudioFormat, Codec};
use voxload::reference::truth::{self, FreezeRow};
use voxload::reference::{Options, Server, Spoken};
use voxload::scenario::{ReferencePlan, ResumeReply, ServerEvent, Trouble};
use voxload::time::{Clock, Micros};

const PCM: AudioFormat = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };

/// Longer than any test should take: a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

const MS: fn(i64) -> Micros = Micros::from_millis;

type Ws = WebSocketStream<TcpStream>;

fn plan() -> ReferencePlan {
    ReferencePlan { resume: MS(30_000), ..ReferencePlan::instant() }
}

/// Replies of that many seconds.
fn options(plan: ReferencePlan, seconds: usize) -> Options {
    let samples: Vec<f32> = (0..16_000 * seconds).map(|i| 0.3 * (i as f32 * 0.15).sin()).collect();
    Options {
        plan,
        replies: vec![Spoken { text: "Yes. It does.".to_owned(), rate: 16_000, samples: samples.into() }],
        formats: vec![PCM],
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        secure: false,
        truth: None,
        heard: None,
        clock: Clock::start(),
    }
}

fn server(plan: ReferencePlan) -> Server {
    let server = Server::start(options(plan, 2)).unwrap();
    server.set_zero(MS(0));
    server
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let test = async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") };
    runtime.unwrap().block_on(test)
}

async fn connect(url: &str, socket: TcpSocket) -> Result<Ws, Error> {
    let tcp = socket.connect(url.split('/').nth(2).unwrap().parse().unwrap()).await?;
    tokio_tungstenite::client_async(url.into_client_request().unwrap(), tcp).await.map(|(ws, _)| ws)
}

async fn dial(url: &str) -> Result<Ws, Error> {
    connect(url, TcpSocket::new_v4().unwrap()).await
}

async fn send(ws: &mut Ws, message: Value) {
    ws.send(Message::text(message.to_string())).await.unwrap();
}

/// Opens a session, or goes on with one; the server's name for it, and whether it is the old one.
async fn open(ws: &mut Ws, resume: Option<&str>) -> (String, bool) {
    send(ws, json!({"type": "session_start", "resume": resume, "audio": {"up": PCM, "down": PCM}})).await;
    loop {
        let message = ws.next().await.unwrap().unwrap();
        let m: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        if m["type"] == "session_started" {
            return (m["session"].as_str().unwrap().to_owned(), m["resumed"] == true);
        }
    }
}

async fn opened(server: &Server) -> (Ws, String) {
    let mut ws = dial(&server.url()).await.unwrap();
    let (name, resumed) = open(&mut ws, None).await;
    assert!(!resumed);
    (ws, name)
}

/// 200 ms of speech, and the end of the turn.
async fn speak(ws: &mut Ws, turn: u32) {
    for _ in 0..10 {
        ws.send(Message::binary(vec![1_u8; 640])).await.unwrap();
    }
    send(ws, json!({"type": "audio_end", "turn": turn})).await;
}

/// What a device heard.
#[derive(Debug, Default)]
struct Heard {
    audio: usize,
    transcripts: usize,
    /// `turn_end`, `turn_end interrupted`, `close 1012`, `lost`, or nothing when enough was heard.
    end: String,
}

/// Listens until the turn or the connection ends, or until enough messages of audio have come.
async fn listen(ws: &mut Ws, enough: usize) -> Heard {
    let mut heard = Heard::default();
    while heard.audio < enough {
        match ws.next().await {
            Some(Ok(Message::Text(text))) => {
                let m: Value = serde_json::from_str(&text).unwrap();
                heard.transcripts += usize::from(m["type"] == "transcript_final");
                if m["type"] == "turn_end" {
                    heard.end =
                        if m["interrupted"] == true { "turn_end interrupted" } else { "turn_end" }.to_owned();
                    break;
                }
            }
            Some(Ok(Message::Binary(_))) => heard.audio += 1,
            Some(Ok(Message::Close(frame))) => {
                heard.end = format!("close {}", frame.map_or(1005, |f| u16::from(f.code)));
                break;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                heard.end = "lost".to_owned();
                break;
            }
        }
    }
    heard
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The connection is reset: what was on its way is lost.
fn reset(ws: Ws) {
    ws.get_ref().set_zero_linger().unwrap();
    drop(ws);
}

#[test]
fn a_reply_goes_on_over_another_connection() {
    // 1 s is 17 messages of 60 ms; real time after the first 200 ms.
    for (how, threads) in [
        (ResumeReply::Continue, 1),
        (ResumeReply::Replay, 1),
        (ResumeReply::Drop, 1),
        (ResumeReply::Continue, 3),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truth.csv");
        let plan = ReferencePlan { resume_reply: how, threads, ..plan() };
        let server = Server::start(Options { truth: Some(path.clone()), ..options(plan, 1) }).unwrap();
        run(async {
            let (mut ws, name) = opened(&server).await;
            speak(&mut ws, 0).await;
            let before = listen(&mut ws, 6).await;
            assert_eq!(before.transcripts, 1);
            reset(ws);
            until(|| server.counts().parked == 1).await;
            let mut ws = dial(&server.url()).await.unwrap();
            assert_eq!(open(&mut ws, Some(&name)).await, (name.clone(), true));
            let after = listen(&mut ws, 100).await;
            match how {
                // Some may have been written and never read.
                ResumeReply::Continue => {
                    assert!(after.audio <= 11 && after.audio > 3 && after.transcripts == 0, "{after:?}");
                    assert_eq!(after.end, "turn_end");
                }
                ResumeReply::Replay => {
                    assert_eq!((after.audio, after.transcripts, after.end.as_str()), (17, 1, "turn_end"));
                }
                ResumeReply::Drop => {
                    assert_eq!((after.audio, after.end.as_str()), (0, "turn_end interrupted"));
                }
            }
            speak(&mut ws, 1).await;
            assert_eq!(listen(&mut ws, 100).await.end, "turn_end", "the session goes on");
            ws.close(Some(CloseFrame { code: 1000.into(), reason: "".into() })).await.unwrap();
            until(|| server.counts().live == 0).await;
        });
        let counts = server.stop().unwrap();
        assert_eq!((counts.parked, counts.resumed, counts.abandoned, counts.turns), (0, 1, 0, 2));
        let rows = truth::read(&path).unwrap();
        let turns: Vec<_> =
            rows.iter().map(|r| (r.session, r.session_turn, r.resumed, r.interrupted)).collect();
        assert_eq!(turns, [(0, 0, true, how == ResumeReply::Drop), (0, 1, false, false)], "{how:?}");
    }
}

#[test]
fn a_device_takes_its_session_over_before_the_server_misses_it() {
    let server = server(ReferencePlan { threads: 2, ..plan() });
    run(async {
        let (mut old, name) = opened(&server).await;
        speak(&mut old, 0).await;
        listen(&mut old, 6).await;
        let mut new = dial(&server.url()).await.unwrap();
        assert_eq!(open(&mut new, Some(&name)).await, (name, true));
        assert_eq!(listen(&mut new, 100).await.end, "turn_end");
        assert_eq!(listen(&mut old, 100).await.end, "lost");
        until(|| server.counts().live == 1).await;
    });
}

#[test]
fn who_does_not_come_back_is_given_up() {
    let server = server(ReferencePlan { resume: MS(150), ..plan() });
    run(async {
        let (ws, name) = opened(&server).await;
        reset(ws);
        until(|| server.counts().abandoned == 1).await;
        assert_eq!(server.counts().parked, 0);
        let mut ws = dial(&server.url()).await.unwrap();
        let (new, resumed) = open(&mut ws, Some(&name)).await;
        assert!(!resumed && new != name);
    });
}

#[test]
fn a_drain_closes_a_share_with_its_code_and_all_can_come_back() {
    let drain = |text| ServerEvent::parse(text).unwrap();
    let server = server(ReferencePlan { events: vec![drain("500ms: drain 1012 30%")], threads: 2, ..plan() });
    run(async {
        let mut all = Vec::new();
        for _ in 0..40 {
            all.push(opened(&server).await);
        }
        until(|| server.counts().live < 40).await;
        let mut drained = 0;
        for (mut ws, name) in all {
            // Who was spared answers.
            if ws.send(Message::text(json!({"type": "ping"}).to_string())).await.is_ok()
                && let Some(Ok(Message::Text(_))) = ws.next().await
            {
                continue;
            }
            drained += 1;
            let mut back = dial(&server.url()).await.unwrap();
            assert_eq!(open(&mut back, Some(&name)).await, (name, true));
        }
        assert!((4..=22).contains(&drained), "{drained} of 40");
        // A drain of all, told at run time: the code arrives.
        let (mut ws, _) = opened(&server).await;
        server.control().tell(Trouble::Drain { code: 4001, share: 1.0 });
        assert_eq!(listen(&mut ws, 1).await.end, "close 4001");
        let (mut ws, _) = opened(&server).await;
        server.control().tell(Trouble::Reset { share: 1.0 });
        assert_eq!(listen(&mut ws, 1).await.end, "lost");
    });
}

#[test]
fn a_share_of_the_upgrades_is_refused_for_a_while() {
    let server = server(plan());
    let status = async || match dial(&server.url()).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(e) => panic!("{e}"),
        Ok(_) => 101,
    };
    run(async {
        assert_eq!(status().await, 101);
        server.control().tell(Trouble::Refuse { share: 0.5, length: MS(60_000) });
        let mut refused = 0;
        for _ in 0..60 {
            refused += usize::from(status().await == 503);
        }
        assert!((10..=50).contains(&refused), "{refused} of 60");
        server.control().tell(Trouble::Refuse { share: 1.0, length: MS(100) });
        until(|| server.control().told().len() == 1).await;
        server.control().tell(Trouble::Refuse { share: 0.0, length: Micros::NEVER });
        for _ in 0..20 {
            assert_eq!(status().await, 101);
        }
    });
}

#[test]
fn pings_go_unanswered() {
    let server = server(ReferencePlan { pongs: false, ..plan() });
    run(async {
        let (mut ws, _) = opened(&server).await;
        let ask = async |ws: &mut Ws| {
            ws.send(Message::Ping(vec![7].into())).await.unwrap();
            send(ws, json!({"type": "ping"})).await;
            // Something that is answered in any case, after them.
            send(ws, json!({"type": "sing"})).await;
            let mut answers = Vec::new();
            loop {
                match ws.next().await.unwrap().unwrap() {
                    Message::Pong(b) => answers.push(format!("pong {}", b[0])),
                    Message::Text(t) if t.contains("error") => return answers,
                    Message::Text(t) if t.contains("pong") => answers.push("dialect's pong".to_owned()),
                    other => panic!("{other:?}"),
                }
            }
        };
        assert!(ask(&mut ws).await.is_empty());
        server.control().tell(Trouble::Pongs { on: true, length: Micros::NEVER });
        while ask(&mut ws).await.len() < 2 {}
        assert_eq!(ask(&mut ws).await, ["pong 7", "dialect's pong"]);
    });
}

#[test]
fn upgrades_wait_as_told() {
    let server = server(ReferencePlan { handshake_delay: MS(150), ..plan() });
    run(async {
        let start = std::time::Instant::now();
        dial(&server.url()).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(150));
    });
}

#[test]
fn a_proxy_cuts_what_is_idle_and_not_what_is_not() {
    let server = server(ReferencePlan { idle_cut: MS(400), ..plan() });
    run(async {
        let (mut idle, name) = opened(&server).await;
        let (mut busy, _) = opened(&server).await;
        let cut = async { listen(&mut idle, 1).await.end };
        let pings = async {
            loop {
                busy.send(Message::Ping(Vec::new().into())).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let end = tokio::select! {
            end = cut => end,
            () = pings => unreachable!(),
        };
        assert_eq!(end, "lost", "without a goodbye");
        let mut back = dial(&server.url()).await.unwrap();
        assert!(open(&mut back, Some(&name)).await.1);
    });
}

#[test]
fn a_planned_freeze_stands_still_once_and_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.csv");
    let events = vec![ServerEvent::parse("100ms: freeze 150ms").unwrap()];
    let plan = ReferencePlan { events, threads: 2, ..plan() };
    let server = Server::start(Options { truth: Some(path.clone()), ..options(plan, 1) }).unwrap();
    server.set_zero(MS(0));
    let freezes = || truth::read_rows::<FreezeRow>(&path.with_file_name("freezes.csv")).unwrap_or_default();
    run(until(|| freezes().len() == 2));
    server.control().tell(Trouble::Freeze { length: MS(1) });
    run(until(|| freezes().len() == 4));
    server.stop().unwrap();
    for f in freezes().iter().take(2) {
        assert_eq!((f.planned_from_us, f.planned_until_us), (MS(100), MS(250)));
        assert!(f.from_us >= MS(100) && f.until_us >= MS(250), "{f:?}");
    }
}

#[test]
fn a_slow_reader_disturbs_nobody_and_one_that_takes_nothing_is_reset() {
    let plan = ReferencePlan {
        burst: Micros::from_secs(1_000),
        tts_speed: 100_000.0,
        max_backlog: 16_384,
        write_timeout: MS(2_000),
        ..plan()
    };
    // Replies of 9.6 MB: far more than sockets hold.
    let server = Server::start(options(plan, 300)).unwrap();
    run(async {
        let small = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4_096).unwrap();
            socket
        };
        let mut slow = connect(&server.url(), small()).await.unwrap();
        let mut stuck = connect(&server.url(), small()).await.unwrap();
        let (_, _) = (open(&mut slow, None).await, open(&mut stuck, None).await);
        speak(&mut slow, 0).await;
        speak(&mut stuck, 0).await;
        let mut trickle = 0;
        let reads = async {
            loop {
                trickle += listen(&mut slow, 2).await.audio;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let others = async {
            let mut turns = 0;
            // Others converse until the one that takes nothing has been found out.
            while server.counts().stuck == 0 || turns < 3 {
                let (mut ws, _) = opened(&server).await;
                speak(&mut ws, 0).await;
                assert!(listen(&mut ws, 20).await.audio == 20);
                send(&mut ws, json!({"type": "interrupt"})).await;
                assert_eq!(listen(&mut ws, usize::MAX).await.end, "turn_end interrupted");
                ws.close(Some(CloseFrame { code: 1000.into(), reason: "".into() })).await.unwrap();
                turns += 1;
            }
        };
        tokio::select! {
            () = reads => unreachable!(),
            () = others => {}
        }
        assert!(trickle > 10, "{trickle}");
        assert_eq!(server.counts().stuck, 1);
        let heard = listen(&mut stuck, usize::MAX).await;
        assert_eq!(heard.end, "lost");
        until(|| server.counts().live == 1).await;
        assert!(listen(&mut slow, 20).await.audio == 20, "the slow one is still served");
    });
}

#[test]
fn serve_obeys_its_standard_input_and_survives_its_end() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_voxload"))
        .args(["serve", "--listen", "127.0.0.1:0", "--preset", "instant"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        assert!(stdout.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let url = said.split_whitespace().find(|w| w.starts_with("ws://")).unwrap().to_owned();
    let mut tell = |command: &str| {
        writeln!(stdin, "{command}").unwrap();
        let mut answer = String::new();
        stdout.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    };
    run(async {
        let mut ws = dial(&url).await.unwrap();
        let (name, _) = open(&mut ws, None).await;
        assert!(tell("status").starts_with("1 live, 1 connections, 1 sessions, 0 turns, 0 parked"));
        assert!(tell("help").contains("drain CODE [SHARE]"));
        let wrong = tell("drian 1012");
        assert_eq!(wrong, "error: column 1: `drian` is not known; did you mean `drain`?");
        assert_eq!(tell("  drain 1012  "), "ok: drain 1012");
        assert_eq!(listen(&mut ws, 1).await.end, "close 1012");
        assert_eq!(tell("pongs off for 30s"), "ok: pongs off for 30s");
        assert!(tell("status").contains("; pongs off for 30s ("));
        drop(ws);
        let mut ws = dial(&url).await.unwrap();
        assert!(open(&mut ws, Some(&name)).await.1);
    });
    drop(stdin);
    run(async {
        assert!(dial(&url).await.is_ok(), "it serves on");
    });
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.wait().unwrap().success());
}
