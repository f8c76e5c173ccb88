//! Bad weather: every class of failure, provoked by a server that misbehaves. Whatever it does, the run goes on to its
//! end, the turn counts as failed, the other devices are not harmed, and the report says what was seen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use serde_json::json;

mod common;

use common::rogue::{BINARY, PING, Rogue, TEXT, Toy, silence, tone};
use common::{Ran, Run, SECRET, SMALL, Served, each, failure};

/// Devices that do not wait long, against a server that is told how to treat each.
const ZOO: &str = r#"
name = "zoo"
[fleet]
duration = "4s"
graceful_stop = "5s"
[target]
url = "URL"
headers = { Authorization = "Bearer ${TOKEN}" }
[audio]
fixtures = ["yes"]
codec = "pcm16"
[turn]
think = "uniform(50ms, 150ms)"
timeout = "700ms"
gap_timeout = "500ms"
[session]
connect_timeout = "600ms"
keep_alive = "200ms"
keep_alive_timeout = "500ms"
max_message = "64 KiB"
reconnect_base = "100ms"
reconnect_cap = "200ms"
"#;

fn zoo(server: &Rogue, devices: usize) -> Run {
    Run::new(&ZOO.replace("URL", &server.url())).env("TOKEN", SECRET).args(&format!("-u {devices}"))
}

/// How a device is treated, and what must come of it.
type Cage = (&'static str, fn(&mut Toy) -> io::Result<()>);

/// A run against a server that treats device n as cage n − 1 says. Device 0 and two more are treated well.
fn visit(cages: &'static [Cage], change: impl FnOnce(Run) -> Run) -> Ran {
    let server = Rogue::for_toys(move |toy| match cages.get(toy.device as usize - 1) {
        Some((_, keeper)) => keeper(toy),
        None => toy.serve(),
    });
    let ran = change(zoo(&server, cages.len() + 3)).go().expect(0);
    judge(&ran, &cages.iter().map(|(class, _)| *class).collect::<Vec<_>>());
    ran
}

/// Device n fails as class n − 1 says and as nothing else; the others do not fail.
fn judge(ran: &Ran, classes: &[&str]) {
    let (result, turns) = (ran.result(), ran.turns());
    let mut of_device: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for t in turns.iter().filter(|t| t.outcome != "cancelled") {
        of_device.entry(t.device).or_default().push(t);
    }
    let mut wrong = Vec::new();
    for device in 0..classes.len() as u32 + 3 {
        let turns = of_device.remove(&device).unwrap_or_default();
        let (first, last) = (turns.first(), turns.last());
        let Some(expected) = (device as usize).checked_sub(1).and_then(|n| classes.get(n)) else {
            if turns.len() < 2 || turns.iter().any(|t| t.outcome != "ok") {
                wrong.push(format!("device {device}, treated well: {:?}", first.map(|t| (&t.outcome, &t.detail))));
            }
            continue;
        };
        if turns.is_empty() || turns.iter().any(|t| t.outcome != *expected) {
            let seen: Vec<_> = turns.iter().map(|t| format!("{}: {}", t.outcome, t.detail)).collect();
            wrong.push(format!("device {device}, expected {expected}: {seen:?}"));
        }
        // It comes back, and fails again, to the end of the run.
        if *expected != "ok" && (turns.len() < 2 || last.is_some_and(|t| t.planned_start_us < 1_500_000)) {
            wrong.push(format!("device {device} ({expected}) had {} turns", turns.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", ran.stderr);
    for class in classes.iter().filter(|c| **c != "ok") {
        let group = failure(&result, class);
        let culprit = group.example.device as usize;
        assert!(group.turns > 0 && group.example.turn.is_some(), "{group:?}");
        assert_eq!(classes.get(culprit.wrapping_sub(1)), Some(class), "{group:?}");
    }
    assert!(result.duration_us >= 4_000_000, "it goes on to its end");
}

/// Plays the turn up to its end, then does something.
macro_rules! then {
    ($toy:ident, $turn:ident => $what:expr) => {
        |$toy| {
            loop {
                let $turn = $toy.turn()?;
                #[allow(unused_must_use, reason = "the last thing that a server does")]
                $what?;
            }
        }
    };
}

#[test]
fn bad_replies() {
    const CAGES: &[Cage] = &[
        ("closed_1000", then!(t, n => { t.begin_reply(n)?; t.close(1000, "") })),
        ("closed_1001", then!(t, n => { t.begin_reply(n)?; t.close(1001, "going away") })),
        ("closed_1008", then!(t, n => { t.begin_reply(n)?; t.close(1008, "policy") })),
        ("closed_1011", then!(t, n => { t.begin_reply(n)?; t.close(1011, "") })),
        ("closed_4000", then!(t, _n => t.close(4000, "private"))),
        ("auth", then!(t, _n => t.close(4401, "who are you?"))),
        ("closed_1005", then!(t, _n => t.close_without_code())),
        ("reset", then!(t, n => { t.begin_reply(n)?; t.reset() })),
        ("reset", then!(t, n => { t.begin_reply(n)?; io::Result::<()>::Err(io::ErrorKind::Other.into()) })),
        // What is no JSON, or JSON of another shape.
        ("protocol", then!(t, _n => t.text("what?"))),
        ("protocol", then!(t, _n => t.text("{\"type\": \"llm_token\", "))),
        ("protocol", then!(t, _n => t.text(""))),
        ("protocol", then!(t, _n => t.text("[1, 2]"))),
        ("protocol", then!(t, _n => t.text("null"))),
        ("protocol", then!(t, _n => t.json(&json!({"type": 5})))),
        ("protocol", then!(t, _n => t.json(&json!({"turn": 0, "text": "no type"})))),
        ("protocol", then!(t, _n => t.json(&json!({"type": "llm_token", "turn": "zero", "text": "a"})))),
        ("protocol", then!(t, _n => t.json(&json!({"type": "llm_token", "turn": -1, "text": "a"})))),
        ("protocol", then!(t, _n => t.json(&json!({"type": "llm_token", "text": ["a"]})))),
        ("protocol", then!(t, n => t.json(&json!({"type": "turn_end", "turn": n, "interrupted": "yes"})))),
        ("protocol", then!(t, _n => t.text(&"[".repeat(20_000)))),
        ("protocol", then!(t, _n => t.text(&String::from_utf8_lossy(&tone(1)[0])))),
        // What is no WebSocket.
        ("protocol", then!(t, _n => t.frame(TEXT, b"{\"type\": \"llm_token\", \"text\": \"\xff\xfe\"}"))),
        ("protocol", then!(t, _n => t.raw(&[0x82, 0x81, 1, 2, 3, 4, 5]))),
        ("protocol", then!(t, _n => t.raw(&[0x83, 1, 0]))),
        ("protocol", then!(t, _n => t.raw(&[0xc2, 1, 0]))),
        ("protocol", then!(t, _n => t.raw(&[0x09, 0]))),
        ("protocol", then!(t, _n => t.raw(&[0x80, 1, 0]))),
        ("protocol", then!(t, _n => t.frame(PING, &[0; 200]))),
        ("protocol", then!(t, _n => t.raw(&[b'H'; 200]))),
        ("message_too_large", then!(t, _n => t.raw(&[0x82, 127, 0, 0, 0, 0, 5, 245, 225, 0]))),
        ("message_too_large", then!(t, _n => t.raw(&[0x82, 127, 127, 255, 255, 255, 255, 255, 255, 255]))),
        ("message_too_large", then!(t, _n => t.frame(BINARY, &[0; 70_000]))),
        // Audio in another format.
        ("format_mismatch", then!(t, n => t.audio(n, &[0; 1_919]))),
        ("format_mismatch", then!(t, n => t.json(&json!({"type": "error", "turn": n, "code": "format_mismatch", "message": "opus?"})))),
        // Turns that never were.
        ("wrong_turn", then!(t, _n => t.json(&json!({"type": "llm_token", "turn": 99, "text": "a"})))),
        ("wrong_turn", then!(t, _n => t.json(&json!({"type": "transcript_final", "turn": 4_294_967_295_u32, "text": "a"})))),
        ("wrong_turn", then!(t, n => t.done(n + 1))),
        ("wrong_turn", |t| { t.first_words()?; t.begin_reply(0)?; t.listen() }),
        ("wrong_turn", |t| { t.first_words()?; t.done(0)?; t.listen() }),
        // Nothing, or not enough.
        ("timeout", Toy::listen),
        ("timeout", then!(t, n => t.json(&json!({"type": "llm_token", "turn": n, "text": "a"})))),
        ("reply_stalled", then!(t, n => t.begin_reply(n))),
        ("silent", then!(t, n => { t.audio(n, &silence(5).concat())?; t.done(n) })),
        ("silent", then!(t, n => t.done(n))),
        ("silent", then!(t, n => { t.audio(n, &[])?; t.done(n) })),
        ("stalls", then!(t, n => {
            t.begin_reply(n)?;
            std::thread::sleep(Duration::from_millis(400));
            t.begin_reply(n)?;
            t.done(n)
        })),
        // The server says so itself.
        ("server_overloaded", then!(t, n => t.json(&json!({"type": "error", "turn": n, "code": "overloaded", "message": "later"})))),
        ("server_overloaded", then!(t, _n => t.json(&json!({"type": "error", "code": "OVERLOADED"})))),
        ("server_error", then!(t, _n => t.json(&json!({"type": "error"})))),
        ("auth", then!(t, _n => t.json(&json!({"type": "error", "code": "unauthorized", "message": "no"})))),
        ("protocol", then!(t, n => {
            t.begin_reply(n)?;
            t.json(&json!({"type": "turn_end", "turn": n, "interrupted": true}))
        })),
        ("heartbeat_lost", |t| { t.mute = true; t.listen() }),
        // What real servers do, and what a device must bear.
        ("ok", then!(t, n => {
            t.json(&json!({"type": "rate_limits", "turn": 77, "left": {"tokens": 5}}))?;
            t.frame(PING, b"are you there?")?;
            t.json(&json!({"type": "llm_token", "text": "", "new_field": [1, {"a": null}]}))?;
            t.reply(n)?;
            // A second, stale "stop".
            t.done(n)
        })),
        ("ok", |t| { t.json(&json!({"type": "session_started", "session": "é\u{202e}\u{0}"}))?; t.serve() }),
        // In two fragments, with a ping between them.
        ("ok", then!(t, n => {
            let sound = tone(5).concat();
            let (head, tail) = sound.split_at(300);
            let part = |first: u8, bytes: &[u8]| [&[first, 126, (bytes.len() >> 8) as u8, bytes.len() as u8][..], bytes].concat();
            t.write(&part(BINARY, head))?;
            t.frame(PING, b"")?;
            t.write(&part(0x80, tail))?;
            t.done(n)
        })),
    ];
    let ran = visit(CAGES, |run| run);
    let result = ran.result();
    // Those who were hung up on came back.
    assert!(result.metrics["reconnect"].count > 20, "{:?}", result.connections);
    assert!(result.connections.reconnected > 20, "{:?}", result.connections);
    assert!(failure(&result, "closed_1001").example.detail.contains("going away"));
    assert!(failure(&result, "server_overloaded").connections == 0, "the connection is kept");
}

#[test]
fn bad_replies_in_base64() {
    const CAGES: &[Cage] = &[
        ("protocol", then!(t, _n => t.frame(BINARY, &tone(1)[0]))),
        ("protocol", then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n, "audio": "no base64!"})))),
        ("protocol", then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n, "audio": 5})))),
        ("protocol", then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n})))),
        ("wrong_turn", then!(t, n => t.audio(n + 1, &tone(1)[0]))),
        ("format_mismatch", then!(t, n => t.audio(n, &[0; 3]))),
        ("message_too_large", then!(t, n => t.audio(n, &[0; 60_000]))),
        // Audio of the turn before is old news.
        ("ok", then!(t, n => {
            t.audio(n.saturating_sub(1), &tone(1)[0])?;
            t.reply(n)
        })),
    ];
    visit(CAGES, |run| run.set("audio.encoding", "base64"));
}

#[test]
fn bad_replies_to_those_who_listen_while_they_speak() {
    const CAGES: &[Cage] = &[
        ("cut_off", |t| { t.first_words()?; t.begin_reply(0)?; t.listen() }),
        ("false_barge_in", then!(t, n => {
            t.begin_reply(n)?;
            std::thread::sleep(Duration::from_millis(100));
            t.json(&json!({"type": "turn_end", "turn": n, "interrupted": true}))
        })),
        ("timeout", Toy::listen),
        ("timeout", then!(t, n => t.json(&json!({"type": "speech_stopped", "turn": n})))),
        ("wrong_turn", then!(t, n => t.json(&json!({"type": "speech_stopped", "turn": n + 1})))),
        // Told too early that it has finished, a device says what it has to say all the same.
        ("ok", |t| {
            t.first_words()?;
            t.json(&json!({"type": "speech_stopped"}))?;
            t.serve()
        }),
    ];
    let sounds = r#"
[turn.backchannel]
share = 1.0
after = "10ms"
sounds = ["mm-hm"]
"#;
    visit(CAGES, |run| {
        let toml = std::fs::read_to_string(run.home().join("scenario.toml")).unwrap();
        run.file("scenario.toml", format!("{toml}{sounds}")).set("turn.end", "vad").set("turn.timeout", "900ms")
    });
}

#[test]
fn bad_replies_in_plain() {
    const CAGES: &[Cage] = &[
        ("protocol", then!(t, _n => t.text("what?"))),
        ("protocol", then!(t, _n => t.json(&json!({"text": "no type"})))),
        ("protocol", then!(t, _n => t.frame(TEXT, &[0xff]))),
        ("format_mismatch", then!(t, _n => t.frame(BINARY, &[0; 3]))),
        ("silent", then!(t, _n => t.frame(BINARY, &silence(5).concat()))),
        ("silent", then!(t, _n => t.frame(BINARY, &[]))),
        ("server_error", then!(t, _n => t.json(&json!({"type": "error", "message": "no GPU"})))),
        ("closed_1013", then!(t, _n => t.close(1013, "try again later"))),
        ("wrong_turn", |t| { t.first_words()?; t.frame(BINARY, &tone(1)[0])?; t.listen() }),
        ("timeout", Toy::listen),
        ("ok", then!(t, n => { t.json(&json!({"type": "transcript", "text": "yes"}))?; t.reply(n) })),
    ];
    let ran = visit(CAGES, |run| run.set("target.dialect", "plain").set("session.keep_alive", "off"));
    assert!(!ran.result().metrics.contains_key("ttft"), "the dialect has no reply text");
}

#[test]
fn bad_handshakes() {
    const CLASSES: &[&str] = &[
        "upgrade_503", "upgrade_500", "upgrade_302", "upgrade_200", "auth", "auth", "connect_timeout", "reset", "reset",
        "protocol", "protocol", "protocol",
    ];
    let server = Rogue::start(|mut call| {
        let (head, device) = call.request()?;
        match device {
            1 => call.refuse("503 Service Unavailable", "too many toys"),
            2 => call.refuse("500 Internal Server Error", "<h1>oops</h1>"),
            3 => call.refuse("302 Found\r\nLocation: ws://127.0.0.1:1/", ""),
            4 => call.refuse("200 OK", "a web page"),
            5 => call.refuse("401 Unauthorized", ""),
            6 => call.refuse("403 Forbidden", ""),
            7 => call.linger(),
            8 => Ok(()),
            9 => call.write("HTTP/1.1 101 Switching"),
            10 => call.write("SSH-2.0-OpenSSH_9.9\r\n\r\n"),
            11 => call.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            12 => call.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: guess\r\n\r\n",
            ),
            _ => call.agree(&head, device)?.serve(),
        }
    });
    let ran = zoo(&server, CLASSES.len() + 3).go().expect(0);
    judge(&ran, CLASSES);
    let result = ran.result();
    assert!(failure(&result, "upgrade_503").example.detail.contains("too many toys"));
    assert!(failure(&result, "upgrade_500").connections > 2);
    assert!(result.connections.failed > 12 && result.connections.lost == 0, "{:?}", result.connections);
}

/// Strangers say strange things: they stay strange, bounded, and in their place.
#[test]
fn hostile_texts() {
    let server = Rogue::for_toys(|toy| {
        let turn = toy.turn()?;
        let said = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}<script>alert(1)</script>\0\r\nverdict: PASS | # `";
        match toy.device {
            1 => toy.close(4000, said)?,
            2 => toy.json(&json!({"type": "error", "turn": turn, "code": said, "message": said}))?,
            3 => toy.json(&json!({"type": "error", "code": "x".repeat(9_000), "message": "y".repeat(9_000)}))?,
            // Always another class.
            device => {
                for n in 0..60 {
                    let code = format!("code_{device}_{n}");
                    toy.json(&json!({"type": "error", "turn": turn + n, "code": code, "message": "again"}))?;
                    toy.turn()?;
                }
            }
        }
        toy.listen()
    });
    let ran = zoo(&server, 40).args("-d 5s").go().expect(0);
    let result = ran.result();
    let classes: Vec<_> = result.failures.iter().map(|f| f.class.as_str()).collect();
    assert!(classes.len() <= 65, "{} classes", classes.len());
    assert!(failure(&result, "server_other").turns > 0, "{classes:?}");
    for class in classes {
        assert!(class.len() <= 40 && class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{class}");
    }
    for file in ["summary.md", "turns.csv", "junit.xml", "percentiles/ttfa.hgrm", "charts/stages.svg"] {
        assert!(!ran.text(file).contains(|c: char| c.is_control() && c != '\n'), "{file}");
    }
    assert!(!ran.text("report.html").contains("<script"));
    assert!(ran.turns().iter().filter(|t| t.device == 0).all(|t| t.outcome == "ok"));
}

/// A server that repeats what it was told does not make voxload repeat it.
#[test]
fn secrets_that_come_back() {
    let server = Rogue::start(|mut call| {
        let (head, device) = call.request()?;
        let token = head.lines().find_map(|l| l.split_once("Bearer ")).map_or("", |(_, t)| t.trim()).to_owned();
        assert!(token.starts_with(SECRET), "{head}");
        if device == 1 {
            return call.refuse("403 Forbidden", &format!("the token {token} has expired"));
        }
        let mut toy = call.agree(&head, device)?;
        loop {
            let turn = toy.turn()?;
            match device {
                0 => toy.reply(turn)?,
                2 => toy.close(4401, &format!("bad token {token}"))?,
                3 => toy.json(&json!({"type": "error", "code": "auth", "message": format!("invalid: {token}")}))?,
                4 => toy.json(&json!({"type": "error", "code": token, "message": "?"}))?,
                5 => toy.json(&json!({"type": token}))?,
                _ => toy.text(&format!("{token} is no JSON"))?,
            }
        }
    });
    // From a table of devices, and from the environment.
    let table = format!("token\n{SECRET}-0\n{SECRET}-1\n");
    let headers = r#"target.headers.Authorization=Bearer {token}"#;
    let run = zoo(&server, 7).file("devices.csv", &table).set("target.data", "devices.csv").arg("--set").arg(headers);
    let ran = run.set("target.headers.X-Key", "${TOKEN}").go().expect(0);
    assert!(failure(&ran.result(), "auth").turns > 0);
    assert!(server.heads().iter().all(|h| h.contains(&format!("X-Key: {SECRET}"))), "{:?}", server.heads());
    let (row, device) = (|n: u32| format!("Bearer {SECRET}-{}", n % 2), |n: u32| format!("/toy/{n} "));
    for n in 0..7 {
        let of_device: Vec<_> = server.heads().into_iter().filter(|h| h.contains(&device(n))).collect();
        assert!(!of_device.is_empty() && of_device.iter().all(|h| h.contains(&row(n))), "{of_device:?}");
    }
}

/// The faults that the reference server can be told to have.
#[test]
fn faults_of_the_reference_server() {
    let cases = [
        ("refuse_upgrade", "upgrade_503"),
        ("refuse_auth", "auth"),
        ("close_mid_reply", "closed_1011"),
        ("reset_mid_reply", "reset"),
        ("garbage", "protocol"),
        ("text_for_binary", "protocol"),
        ("huge_frame", "message_too_large"),
        ("wrong_turn", "wrong_turn"),
        ("silence", "timeout"),
        ("stall_mid_reply", "reply_stalled"),
        ("error", "server_overloaded"),
        ("wrong_format", "format_mismatch"),
        ("silent_reply", "silent"),
    ];
    each(cases.map(|case| (case.0, case)), |(fault, class)| {
        // With this seed the knock is let in, and of the first twelve connections and turns some are struck.
        let mut run = Run::new(SMALL).args("-u 12 -d 2s --seed 2").set(&format!("reference.faults.{fault}"), 0.5);
        for (key, value) in [
            ("turn.timeout", "500ms"),
            ("turn.gap_timeout", "300ms"),
            ("turn.count", "1"),
            ("session.reconnect_base", "100ms"),
            ("session.reconnect_cap", "100ms"),
            ("reference.burst", "100ms"),
        ] {
            run = run.set(key, value);
        }
        let result = run.go().expect(0).result();
        assert!(failure(&result, class).turns + failure(&result, class).connections > 0, "{:?}", result.failures);
        assert_eq!(result.failures.len(), 1, "{:?}", result.failures);
        assert!(result.turns.succeeded > 0, "{:?}", result.turns);
    });
}

/// A server that is killed and comes back: connections are lost, refused, and opened again.
#[test]
fn a_server_that_dies_and_comes_back() {
    let serve = ["--preset", "instant", "--set", "reference.burst=1m"];
    let server = Served::start(&serve);
    let (port, url) = (server.port(), server.url.clone());
    let toml = SMALL.replace("[turn]", "[turn]\ncount = 1000").replace("2s", "5s");
    let run = Run::new(&toml).arg("--url").arg(url).args("-u 6").set("session.reconnect_base", "100ms");
    let mut run = run.set("session.reconnect_cap", "300ms").start();
    run.until_said("load ·");
    std::thread::sleep(Duration::from_millis(1_200));
    drop(server);
    std::thread::sleep(Duration::from_millis(1_000));
    let listen = format!("127.0.0.1:{port}");
    let again = Served::start(&[&["--listen", listen.as_str()], &serve[..]].concat());
    let ran = run.wait().expect(0);
    let said = again.stop();
    let result = ran.result();
    assert!(failure(&result, "reset").connections >= 6, "{:?}", result.failures);
    assert!(failure(&result, "refused").connections >= 6, "{:?}", result.failures);
    assert_eq!(result.connections.reconnected, 6, "{:?}", result.connections);
    let away = &result.metrics["reconnect"];
    assert!(away.count == 6 && away.min_us > Some(900_000), "{away:?}");
    assert!(said.contains("6 connections, 6 sessions"), "{said}");
    let turns = ran.turns();
    let last_failed = turns.iter().filter(|t| t.outcome != "ok").map(|t| t.ended_us).max().unwrap();
    for device in 0..6 {
        let after = turns.iter().filter(|t| t.device == device && t.planned_start_us > last_failed);
        assert!(after.clone().count() > 0 && after.clone().all(|t| t.outcome == "ok"), "device {device}");
    }
}

/// A server that dies and stays away: the devices try to the end, and every turn they try for has failed.
#[test]
fn a_server_that_dies() {
    let server = Rogue::start(|call| {
        let mut toy = call.upgrade()?;
        let turn = toy.turn()?;
        toy.reply(turn)?;
        toy.turn()?;
        toy.reset()
    });
    let mut run = zoo(&server, 4).args("--threshold turns.failed:rate<1%").set("report.interval", "100ms").start();
    // The knock, and four devices.
    run.until("everybody", || server.heads().len() == 5);
    server.stop();
    let ran = run.wait().expect(99);
    let result = ran.result();
    assert!(result.duration_us >= 4_000_000, "it goes on to its end");
    assert_eq!((result.turns.succeeded, result.connections.lost), (4, 4), "{:?}", result.turns);
    assert!(failure(&result, "refused").turns > 8 && failure(&result, "refused").connections > 20, "{:?}", result.failures);
    assert_eq!(failure(&result, "reset").connections, 4, "{:?}", result.failures);
}

#[test]
fn certificates_that_fail_in_the_middle() {
    let served = Served::start(&["--tls", "--preset", "instant", "--set", "reference.burst=1m"]);
    let port = served.port();
    // Connection 0 is the knock; the fourth answers a TLS greeting with something else.
    let server = Rogue::start(move |call| match call.number {
        3 => call.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
        _ => call.relay(port),
    });
    let url = format!("wss://127.0.0.1:{}/", server.port());
    let ran = Run::new(SMALL).arg("--url").arg(url).set("target.insecure", true).go().expect(0);
    ran.said("target.insecure is set: certificates are NOT checked");
    let result = ran.result();
    assert!(result.target.tls && result.target.insecure);
    assert_eq!((failure(&result, "tls").connections, result.connections.failed), (1, 1), "{:?}", result.failures);
    assert_eq!(result.metrics["connect_tls"].count, result.connections.opened);
    assert!(result.turns.succeeded >= 2, "{:?}", result.turns);
}

/// The harness's own fault: no descriptors left. The run says INVALID.
#[test]
fn no_descriptors_left() {
    let server = Rogue::for_toys(Toy::serve);
    let mut run = zoo(&server, 20).args("-d 3s").set("fleet.ramp", "2s").start();
    run.until_said("load ·");
    let used = std::fs::read_dir(format!("/proc/{}/fd", run.pid().as_raw_nonzero())).unwrap().count() as u64;
    let limit = Rlimit { current: Some(used + 2), maximum: Some(used + 2) };
    rustix::process::prlimit(Some(run.pid()), Resource::Nofile, limit).unwrap();
    let ran = run.wait().expect(120);
    let result = ran.result();
    let group = failure(&result, "local_limit");
    assert!(group.turns > 0 && group.example.detail.contains("Too many open files"), "{group:?}");
    let check = result.validity.checks.iter().find(|c| c.name == "local limits hit").unwrap();
    assert!(!check.ok && check.try_this.contains("ulimit -n"), "{check:?}");
    assert!(ran.stdout.starts_with("INVALID"), "{}", ran.stdout);
}

#[test]
fn answers_that_are_still_owed_at_the_end() {
    let server = Rogue::for_toys(|toy| match toy.device {
        1 => toy.listen(),
        _ => toy.serve(),
    });
    let run = zoo(&server, 3).args("-d 2s").set("turn.timeout", "1m").set("fleet.graceful_stop", "500ms");
    let ran = run.go().expect(0);
    let result = ran.result();
    let group = failure(&result, "unanswered_at_stop");
    assert_eq!((group.turns, group.example.device, result.turns.failed), (1, 1, 1), "{:?}", result.turns);
}

/// Sound without end: the turn is cut by the end of the run. Silence without end is no answer, and takes no memory.
#[test]
fn replies_without_end() {
    let server = Rogue::for_toys(|toy| {
        let turn = toy.turn()?;
        let message = match toy.device {
            1 => tone(1).concat(),
            2 => silence(1).concat(),
            _ => return toy.reply(turn).and_then(|()| toy.serve()),
        };
        loop {
            toy.audio(turn, &message)?;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let ran = zoo(&server, 4).set("fleet.graceful_stop", "500ms").set("session.keep_alive", "off").go().expect(0);
    let turns = ran.turns();
    let of = |device| turns.iter().filter(move |t| t.device == device).map(|t| t.outcome.as_str()).collect::<Vec<_>>();
    assert_eq!(of(1), ["cancelled"]);
    assert!(of(2).len() > 1 && of(2).iter().all(|o| ["silent", "cancelled"].contains(o)), "{:?}", of(2));
    assert!(of(3).len() > 1 && of(3).iter().all(|o| *o == "ok"), "{:?}", of(3));
}
