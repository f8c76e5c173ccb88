//! Bad answers: classes of failure, provoked by a server that misbehaves as told. Whatever it does, the run goes on to its
//! end, the turn counts as failed, the other devices are not harmed, and the report says what was seen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::json;

mod common;

use common::rogue::{BINARY, PING, Rogue, TEXT, Toy, silence, tone};
use common::{Ran, Run, each, failure, zoo};

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
    let mut latest: BTreeMap<u32, i64> = BTreeMap::new();
    for t in &turns {
        let at = latest.entry(t.device).or_default();
        *at = t.planned_start_us.max(*at);
    }
    // A user who speaks while the device is coming back from such a failure finds it not connected.
    for t in turns.iter().filter(|t| t.outcome != "cancelled" && t.outcome != "not_connected") {
        of_device.entry(t.device).or_default().push(t);
    }
    let mut wrong = Vec::new();
    for device in 0..classes.len() as u32 + 3 {
        let turns = of_device.remove(&device).unwrap_or_default();
        let (first, last) = (turns.first(), latest.get(&device));
        let Some(expected) = (device as usize).checked_sub(1).and_then(|n| classes.get(n)) else {
            if turns.len() < 2 || turns.iter().any(|t| t.outcome != "ok") {
                wrong.push(format!(
                    "device {device}, treated well: {:?}",
                    first.map(|t| (&t.outcome, &t.detail))
                ));
            }
            continue;
        };
        if turns.is_empty() || turns.iter().any(|t| t.outcome != *expected) {
            let seen: Vec<_> = turns.iter().map(|t| format!("{}: {}", t.outcome, t.detail)).collect();
            wrong.push(format!("device {device}, expected {expected}: {seen:?}"));
        }
        // It comes back, and fails again, to the end of the run.
        if *expected != "ok" && (turns.len() < 2 || last.is_some_and(|&at| at < 1_500_000)) {
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
    assert!(result.duration_us >= 3_000_000, "it goes on to its end");
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

/// Every device of a run against another misbehaviour.
#[test]
fn bad_answers() {
    each(
        [
            ("binary", in_binary as fn()),
            ("base64", in_base64),
            ("open microphone", over_an_open_microphone),
            ("plain", in_plain),
            ("handshakes", at_the_door),
        ],
        |visit| visit(),
    );
}

fn in_binary() {
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
        (
            "format_mismatch",
            then!(t, n => t.json(&json!({"type": "error", "turn": n, "code": "format_mismatch", "message": "opus?"}))),
        ),
        // Turns that never were.
        ("wrong_turn", then!(t, _n => t.json(&json!({"type": "llm_token", "turn": 99, "text": "a"})))),
        (
            "wrong_turn",
            then!(t, _n => t.json(&json!({"type": "transcript_final", "turn": 4_294_967_295_u32, "text": "a"}))),
        ),
        ("wrong_turn", then!(t, n => t.done(n + 1))),
        ("wrong_turn", |t| {
            t.first_words()?;
            t.begin_reply(0)?;
            t.listen()
        }),
        ("wrong_turn", |t| {
            t.first_words()?;
            t.done(0)?;
            t.listen()
        }),
        // Nothing, or not enough.
        ("timeout", Toy::listen),
        ("timeout", then!(t, n => t.json(&json!({"type": "llm_token", "turn": n, "text": "a"})))),
        ("reply_stalled", then!(t, n => t.begin_reply(n))),
        ("silent", then!(t, n => { t.audio(n, &silence(5).concat())?; t.done(n) })),
        ("silent", then!(t, n => t.done(n))),
        ("silent", then!(t, n => { t.audio(n, &[])?; t.done(n) })),
        (
            "stalls",
            then!(t, n => {
                t.begin_reply(n)?;
                std::thread::sleep(Duration::from_millis(400));
                t.begin_reply(n)?;
                t.done(n)
            }),
        ),
        // The server says so itself.
        (
            "server_overloaded",
            then!(t, n => t.json(&json!({"type": "error", "turn": n, "code": "overloaded", "message": "later"}))),
        ),
        ("server_overloaded", then!(t, _n => t.json(&json!({"type": "error", "code": "OVERLOADED"})))),
        ("server_error", then!(t, _n => t.json(&json!({"type": "error"})))),
        ("auth", then!(t, _n => t.json(&json!({"type": "error", "code": "unauthorized", "message": "no"})))),
        (
            "protocol",
            then!(t, n => {
                t.begin_reply(n)?;
                t.json(&json!({"type": "turn_end", "turn": n, "interrupted": true}))
            }),
        ),
        ("heartbeat_lost", |t| {
            t.mute = true;
            t.listen()
        }),
        // What real servers do, and what a device must bear.
        (
            "ok",
            then!(t, n => {
                t.json(&json!({"type": "rate_limits", "turn": 77, "left": {"tokens": 5}}))?;
                t.frame(PING, b"are you there?")?;
                t.json(&json!({"type": "llm_token", "text": "", "new_field": [1, {"a": null}]}))?;
                t.reply(n)?;
                // A second, stale "stop".
                t.done(n)
            }),
        ),
        ("ok", |t| {
            t.json(&json!({"type": "session_started", "session": "é\u{202e}\u{0}"}))?;
            t.serve()
        }),
        // In two fragments, with a ping between them.
        (
            "ok",
            then!(t, n => {
                let sound = tone(5).concat();
                let (head, tail) = sound.split_at(300);
                let part = |first: u8, bytes: &[u8]| [&[first, 126, (bytes.len() >> 8) as u8, bytes.len() as u8][..], bytes].concat();
                t.write(&part(BINARY, head))?;
                t.frame(PING, b"")?;
                t.write(&part(0x80, tail))?;
                t.done(n)
            }),
        ),
    ];
    let ran = visit(CAGES, |run| run);
    let result = ran.result();
    // Those who were hung up on came back.
    assert!(result.metrics["reconnect"].count > 20, "{:?}", result.connections);
    assert!(result.connections.reconnected > 20, "{:?}", result.connections);
    assert!(failure(&result, "closed_1001").example.detail.contains("going away"));
    assert!(failure(&result, "server_overloaded").connections == 0, "the connection is kept");
}

fn in_base64() {
    const CAGES: &[Cage] = &[
        ("protocol", then!(t, _n => t.frame(BINARY, &tone(1)[0]))),
        (
            "protocol",
            then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n, "audio": "no base64!"}))),
        ),
        ("protocol", then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n, "audio": 5})))),
        ("protocol", then!(t, n => t.json(&json!({"type": "tts_audio_chunk", "turn": n})))),
        ("wrong_turn", then!(t, n => t.audio(n + 1, &tone(1)[0]))),
        ("format_mismatch", then!(t, n => t.audio(n, &[0; 3]))),
        ("message_too_large", then!(t, n => t.audio(n, &[0; 60_000]))),
        // Audio of the turn before is old news.
        (
            "ok",
            then!(t, n => {
                t.audio(n.saturating_sub(1), &tone(1)[0])?;
                t.reply(n)
            }),
        ),
    ];
    visit(CAGES, |run| run.set("audio.encoding", "base64"));
}

fn over_an_open_microphone() {
    const CAGES: &[Cage] = &[
        ("cut_off", |t| {
            t.first_words()?;
            t.begin_reply(0)?;
            t.listen()
        }),
        (
            "false_barge_in",
            then!(t, n => {
                t.begin_reply(n)?;
                std::thread::sleep(Duration::from_millis(100));
                t.json(&json!({"type": "turn_end", "turn": n, "interrupted": true}))
            }),
        ),
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
        run.file("scenario.toml", format!("{toml}{sounds}"))
            .set("turn.end", "vad")
            .set("turn.timeout", "900ms")
    });
}

fn in_plain() {
    const CAGES: &[Cage] = &[
        ("protocol", then!(t, _n => t.text("what?"))),
        ("protocol", then!(t, _n => t.json(&json!({"text": "no type"})))),
        ("protocol", then!(t, _n => t.frame(TEXT, &[0xff]))),
        ("format_mismatch", then!(t, _n => t.frame(BINARY, &[0; 3]))),
        ("silent", then!(t, _n => t.frame(BINARY, &silence(5).concat()))),
        ("silent", then!(t, _n => t.frame(BINARY, &[]))),
        ("server_error", then!(t, _n => t.json(&json!({"type": "error", "message": "no GPU"})))),
        // 1012 and 1013 would send the device away for longer than this run.
        ("closed_3000", then!(t, _n => t.close(3000, "try again"))),
        ("wrong_turn", |t| {
            t.first_words()?;
            t.frame(BINARY, &tone(1)[0])?;
            t.listen()
        }),
        ("timeout", Toy::listen),
        ("ok", then!(t, n => { t.json(&json!({"type": "transcript", "text": "yes"}))?; t.reply(n) })),
    ];
    let ran = visit(CAGES, |run| run.set("target.dialect", "plain").set("session.keep_alive", "off"));
    assert!(!ran.result().metrics.contains_key("ttft"), "the dialect has no reply text");
}

fn at_the_door() {
    const CLASSES: &[&str] = &[
        "upgrade_503",
        "upgrade_500",
        "upgrade_302",
        "upgrade_200",
        "auth",
        "auth",
        "connect_timeout",
        "reset",
        "reset",
        "protocol",
        "protocol",
        "protocol",
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
