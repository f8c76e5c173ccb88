//! Trouble that is not one bad answer: servers that die, doors that do not open, hostile texts, secrets that come back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use serde_json::json;

mod common;

use common::rogue::{Rogue, Toy, silence, tone};
use common::{Run, SECRET, SMALL, Served, each, failure, zoo};

/// Connections that cannot be made, or not be kept.
#[test]
fn bad_connections() {
    each(
        [
            ("killed and restarted", killed_and_restarted as fn()),
            ("gone for good", gone_for_good),
            ("TLS", greeted_wrongly),
            ("no descriptors", no_descriptors_left),
        ],
        |check| check(),
    );
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
            3 => {
                toy.json(&json!({"type": "error", "code": "x".repeat(9_000), "message": "y".repeat(9_000)}))?
            }
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
        assert!(
            class.len() <= 40 && class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{class}"
        );
    }
    for file in ["summary.md", "turns.csv", "junit.xml", "percentiles/ttfa.hgrm", "charts/stages.svg"] {
        assert!(!ran.text(file).contains(|c: char| c.is_control() && c != '\n'), "{file}");
    }
    assert_eq!(ran.text("report.html").matches("<script").count(), 1, "our own, and no other");
    assert!(ran.turns().iter().filter(|t| t.device == 0).all(|t| t.outcome == "ok"));
}

/// A server that repeats what it was told does not make voxload repeat it.
#[test]
fn secrets_that_come_back() {
    let server = Rogue::start(|mut call| {
        let (head, device) = call.request()?;
        let token =
            head.lines().find_map(|l| l.split_once("Bearer ")).map_or("", |(_, t)| t.trim()).to_owned();
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
                3 => toy.json(
                    &json!({"type": "error", "code": "auth", "message": format!("invalid: {token}")}),
                )?,
                4 => toy.json(&json!({"type": "error", "code": token, "message": "?"}))?,
                5 => toy.json(&json!({"type": token}))?,
                _ => toy.json(&json!({"type": "llm_token", "turn": token}))?,
            }
        }
    });
    // From a table of devices, and from the environment.
    let table = format!("token\n{SECRET}-0\n{SECRET}-1\n");
    let headers = r#"target.headers.Authorization=Bearer {token}"#;
    let run = zoo(&server, 7)
        .file("devices.csv", &table)
        .set("target.data", "devices.csv")
        .arg("--set")
        .arg(headers);
    let ran = run.set("target.headers.X-Key", "${TOKEN}").go().expect(0);
    let turns = ran.turns();
    for device in [1, 2, 3, 6] {
        let hidden = turns.iter().any(|t| t.device == device && t.detail.contains("***"));
        assert!(hidden, "device {device} was told its secret");
    }
    assert!(turns.iter().any(|t| t.outcome == "server_hidden"));
    // Everybody showed what is theirs.
    for head in server.heads() {
        let device: u32 = head.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
        let token = format!("authorization: Bearer {SECRET}-{}\r\n", device % 2);
        assert!(head.contains(&token) && head.contains(&format!("x-key: {SECRET}\r\n")), "{head}");
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
        let mut run =
            Run::new(SMALL).args("-u 12 -d 2s --seed 2").set(&format!("reference.faults.{fault}"), 0.5);
        for (key, value) in [
            ("turn.timeout", "500ms"),
            ("turn.gap_timeout", "300ms"),
            ("turn.count", "1"),
            ("session.reconnect_base", "100ms"),
            ("session.reconnect_cap", "100ms"),
            ("reference.burst", "100ms"),
            // A busy machine makes any reply stutter, and that is no fault.
            ("playback.max_stall_ratio", "1"),
        ] {
            run = run.set(key, value);
        }
        let result = run.go().expect(0).result();
        assert!(
            failure(&result, class).turns + failure(&result, class).connections > 0,
            "{:?}",
            result.failures
        );
        assert_eq!(result.failures.len(), 1, "{:?}", result.failures);
        assert!(result.turns.succeeded > 0, "{:?}", result.turns);
    });
}

/// A server that is killed and comes back: connections are lost, refused, and opened again.
fn killed_and_restarted() {
    let serve = ["--preset", "instant", "--set", "reference.burst=1m"];
    let server = Served::start(&serve);
    let (port, url) = (server.port(), server.url.clone());
    let run = Run::new(SMALL).arg("--url").arg(url).args("-u 6 -d 8s").set("session.reconnect_base", "100ms");
    let mut run = run.set("session.reconnect_cap", "300ms").set("report.interval", "200ms").start();
    run.until_said("load ·");
    // In the middle of the first turns.
    std::thread::sleep(Duration::from_millis(300));
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
    let failed = turns.iter().filter(|t| t.outcome != "ok" && t.outcome != "cancelled");
    let back = failed.map(|t| t.ended_us).max().unwrap();
    assert!(turns.iter().filter(|t| t.planned_start_us > back).count() >= 3, "it works again");
    for device in 0..6 {
        assert!(turns.iter().any(|t| t.device == device && t.outcome == "ok"), "device {device}");
    }
}

/// A server that dies and stays away: the devices try to the end, and every turn they try for has failed.
fn gone_for_good() {
    let server = Rogue::start(|call| {
        let mut toy = call.upgrade()?;
        let turn = toy.turn()?;
        toy.reply(turn)?;
        toy.turn()?;
        toy.reset()
    });
    let mut run =
        zoo(&server, 4).args("--threshold turns.failed:rate<1%").set("report.interval", "100ms").start();
    // The knock, and four devices.
    run.until("everybody", || server.heads().len() == 5);
    server.stop();
    let ran = run.wait().expect(99);
    let result = ran.result();
    assert!(result.duration_us >= 3_000_000, "it goes on to its end");
    assert_eq!((result.turns.succeeded, result.connections.lost), (4, 4), "{:?}", result.turns);
    // Some speak before the first attempt to come back has been refused.
    let away: u64 = ["refused", "not_connected"]
        .iter()
        .filter_map(|class| result.failures.iter().find(|f| f.class == *class))
        .map(|f| f.turns)
        .sum();
    assert!(away > 6 && failure(&result, "refused").connections > 20, "{:?}", result.failures);
    assert_eq!(failure(&result, "reset").connections, 4, "{:?}", result.failures);
}

fn greeted_wrongly() {
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
    assert_eq!(
        (failure(&result, "tls").connections, result.connections.failed),
        (1, 1),
        "{:?}",
        result.failures
    );
    assert_eq!(result.metrics["connect_tls"].count, result.connections.opened);
    assert!(result.turns.succeeded >= 2, "{:?}", result.turns);
}

/// The harness's own fault: no descriptors left. The run says INVALID.
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
    ran.verdict("INVALID", "INVALID");
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

/// Sound without end: the rest of the reply is still owed when the run ends. Silence without end is no answer, and takes no memory.
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
    let ran =
        zoo(&server, 4).set("fleet.graceful_stop", "2s").set("session.keep_alive", "off").go().expect(0);
    let turns = ran.turns();
    let of = |device| {
        turns.iter().filter(move |t| t.device == device).map(|t| t.outcome.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(1), ["unanswered_at_stop"]);
    assert!(of(2).len() > 1 && of(2).iter().all(|o| ["silent", "cancelled"].contains(o)), "{:?}", of(2));
    assert!(of(3).len() > 1 && of(3).iter().all(|o| *o == "ok"), "{:?}", of(3));
}
