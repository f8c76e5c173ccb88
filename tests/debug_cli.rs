//! `voxload debug` as a user meets it: what it prints, what it records, what it hides, how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use voxload::audio::{Library, Onset, OnsetFinder, wav};

/// What a call of the binary gave back.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// The output of `--json`, line by line.
    fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxload"));
    command.arg("debug").args(args).current_dir(dir).env_clear();
    command
}

/// Runs `voxload debug` in an empty folder.
fn debug(args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    debug_in(dir.path(), args)
}

fn debug_in(dir: &Path, args: &[&str]) -> Outcome {
    let output = command(dir, args).output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A short conversation: one word, and a reply whose milestones are 50 ms apart.
const SHORT: [&str; 14] = [
    "ci-gate",
    "--set",
    "audio.fixtures=knock-knock",
    "--set",
    "turn.think=100ms",
    "--set",
    "reference.preset=instant",
    "--set",
    "reference.stt=50ms",
    "--set",
    "reference.llm=50ms",
    "--set",
    "reference.tts=100ms",
    "--turns=1",
];

/// A line without what differs from run to run: numbers, and the unit of a span.
fn shape(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let mut shape = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if shape.ends_with('#') => {}
                '.' if shape.ends_with('#') => {}
                '0'..='9' => shape.push('#'),
                c => shape.push(c),
            }
        }
        let unit = matches!(shape.trim_end_matches([')', ',']), "ms" | "µs" | "s");
        match words.last_mut() {
            Some(number) if unit && number.ends_with('#') => {
                number.push_str(&shape.replace("ms", "t").replace("µs", "t").replace('s', "t"));
            }
            _ => words.push(shape),
        }
    }
    words.join(" ")
}

#[test]
fn what_a_turn_looks_like() {
    let o = debug(&SHORT);
    assert_eq!(o.code, 0, "{}{}", o.stdout, o.stderr);
    let mut shapes: Vec<String> = Vec::new();
    // How often the loudspeaker ran dry depends on how busy this machine is; levels on the last bit of the decoder.
    for line in o.stdout.lines().filter(|l| !l.contains("stall:")) {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        let shape = shape(line).replace("-# dBFS", "level").replace("silence", "level");
        if shapes.last() != Some(&shape) {
            shapes.push(shape);
        }
    }
    insta::assert_snapshot!(shapes.join("\n"));
    insta::assert_snapshot!(shape(&o.stderr), @r"voxload # · ci-gate · seed # one device, # turn, against the embedded reference server (instant), ws://#:#/");
}

#[test]
fn json_lines_say_the_same() {
    let o = debug(&[&SHORT[..], &["--json", "--set=reference.burst=20s"]].concat());
    assert_eq!(o.code, 0, "{}", o.stderr);
    let lines = o.json();
    let all = |name: &str| lines.iter().filter(|l| l["event"] == name).collect::<Vec<_>>();
    let frames = all("frame");
    let chunks: Vec<_> = frames.iter().filter(|f| f["audio"]["of"] == "utterance").collect();
    assert_eq!(chunks.len() as u64, chunks[0]["audio"]["total"].as_u64().unwrap());
    for (i, c) in chunks.iter().enumerate() {
        assert_eq!(
            (&c["direction"], &c["frame"], &c["audio"]["codec"], &c["audio"]["number"], &c["turn"]),
            (&"sent".into(), &"binary".into(), &"opus".into(), &(i + 1).into(), &0.into())
        );
        assert!(c["at_us"].as_i64() >= c["planned_us"].as_i64(), "{c}");
    }
    let reply: Vec<_> = frames.iter().filter(|f| f["audio"]["of"] == "reply").collect();
    assert!(reply.iter().all(|f| f["direction"] == "received" && f["means"] == serde_json::json!(["audio"])));
    let token = frames.iter().find(|f| f["means"] == serde_json::json!(["token"])).unwrap();
    assert!(token["text"].as_str().unwrap().starts_with(r#"{"type":"llm_token""#));

    // The milestones are the numbers of the turn.
    let summary = lines.last().unwrap();
    assert_eq!((&summary["event"], &summary["exit_code"]), (&"summary".into(), &0.into()));
    let turn = &summary["turns"][0];
    assert_eq!(turn["audio_messages"], reply.len());
    for (event, field) in [
        ("final_transcript", "final_transcript_us"),
        ("first_token", "ttft_us"),
        ("first_audio", "ttfa_first_byte_us"),
        ("first_audible", "ttfa_us"),
        ("reply_complete", "reply_done_us"),
    ] {
        assert_eq!(all(event)[0]["after_end_of_speech_us"], turn[field], "{event}");
    }
    assert_eq!(all("end_of_speech")[0]["at_us"], turn["end_of_speech_us"]);
    assert_eq!(all("connected")[0]["tls_us"], 0);
}

/// The lag, in samples, at which `heard` from `at` on is most like `sound`, and how alike they are, 0 … 1.
fn best_lag(sound: &[f32], heard: &[f32], at: usize) -> (i64, f64) {
    let energy = |samples: &[f32]| samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
    (-480..=480_i64)
        .filter_map(|lag| {
            let from = usize::try_from(at as i64 + lag).ok()?;
            let part = heard.get(from..(from + sound.len()).min(heard.len()))?;
            let product: f64 = sound.iter().zip(part).map(|(a, b)| f64::from(a * b)).sum();
            Some((lag, product / (energy(&sound[..part.len()]) * energy(part)).sqrt()))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap()
}

#[test]
fn a_recording_has_everything_where_it_was_said_and_heard() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&SHORT[..], &["--set", "playback.prebuffer=60ms", "--record", "rec"]].concat();
    let o = debug_in(dir.path(), &args);
    assert_eq!(o.code, 0, "{}{}", o.stdout, o.stderr);
    let about = std::fs::read_to_string(dir.path().join("rec/conversation.json")).unwrap();
    let about: Value = serde_json::from_str(&about).unwrap();
    let mut reader = hound::WavReader::open(dir.path().join("rec/conversation.wav")).unwrap();
    let rate = reader.spec().sample_rate;
    assert_eq!((reader.spec().channels, rate), (2, 24_000));
    let samples: Vec<f32> = reader.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
    let side = |n: usize| samples.iter().skip(n).step_by(2).copied().collect::<Vec<f32>>();
    let (left, right) = (side(0), side(1));
    assert_eq!(about["wav"]["samples"], left.len());
    let turn = &about["turns"][0];
    let us = |field: &str| turn[field].as_i64().unwrap();
    let sample = |us: i64| (us * i64::from(rate) / 1_000_000) as usize;

    // Left: the fixture up to its end of speech, from the planned start on.
    let sound = &Library::load(&["knock-knock".to_owned()], Path::new("")).unwrap()[0];
    let spoken = &sound.samples[..sound.speech_end as usize];
    let spoken = wav::resample(spoken, sound.sample_rate, rate).unwrap();
    let (lag, alike) = best_lag(&spoken, &left, sample(us("planned_start_us")));
    assert!(lag.abs() <= i64::from(rate) / 1_000, "{lag} samples");
    assert!(alike > 0.8, "{alike}");
    let before = &left[..sample(us("planned_start_us"))];
    assert!(before.iter().all(|&s| s == 0.0), "nothing is said before");

    // Right: the first audible sample where the turn record says, and as much sound as the reply had.
    let mut finder = OnsetFinder::new(rate);
    finder.push(&right);
    let Onset::Found(heard) = finder.finish() else { panic!("silence") };
    let recorded = us("end_of_speech_us") + us("ttfa_us");
    assert!((heard.0 - recorded).abs() < 5_000, "heard at {heard:?}, recorded at {recorded}");
    let first = right.iter().position(|&s| s != 0.0).unwrap();
    let arrived = us("end_of_speech_us") + us("ttfa_first_byte_us") + 60_000;
    assert!(first.abs_diff(sample(arrived)) < 48, "after a prebuffer of 60 ms");
    let whole = first + sample(us("reply_media_us") + us("stalled_us"));
    assert!(right.len().abs_diff(whole) < 48 + left.len().saturating_sub(whole), "{} {whole}", right.len());

    let names: Vec<_> =
        about["milestones"].as_array().unwrap().iter().map(|m| m["event"].as_str().unwrap()).collect();
    for name in ["connected", "speech_starts", "end_of_speech", "first_audible", "reply_played", "turn_ended"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"frame"));
}

/// Says its caller's secrets in every way that it can think of, and hangs up when the user has spoken.
fn gossip() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut secrets = String::new();
                #[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
                let listen = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
                    let header = request.headers()["x-token"].to_str().unwrap();
                    secrets = format!("{header} {}", request.uri());
                    Ok(response)
                };
                let mut ws = tokio_tungstenite::accept_hdr_async(tcp, listen).await.unwrap();
                let token = secrets.split(' ').nth(1).unwrap().to_owned();
                let json = |kind: &str| serde_json::json!({ "type": kind, "text": secrets }).to_string();
                let _ = ws.send(Message::text(json("gossip"))).await;
                while let Some(Ok(message)) = ws.next().await {
                    if message.to_text().is_ok_and(|t| t.contains("audio_end")) {
                        let mut bytes = vec![0_u8; 20];
                        bytes.extend(token.as_bytes());
                        let _ = ws.send(Message::text(json("transcript_final"))).await;
                        let _ = ws.send(Message::Ping(bytes.into())).await;
                        let close =
                            CloseFrame { code: 4_000.into(), reason: format!("no, {token}\u{7}").into() };
                        let _ = ws.close(Some(close)).await;
                    }
                }
            }
        });
    });
    port
}

#[test]
fn secrets_are_never_shown() {
    let url = format!("ws://127.0.0.1:{}/talk/?key=k3y-in-the-url", gossip());
    for more in [&["--raw"][..], &["--json"], &["--json", "--raw"], &["--record", "rec"]] {
        let dir = tempfile::tempdir().unwrap();
        let base =
            ["ci-gate", "--url", &url, "--set", "turn.think=0ms", "--set", "audio.fixtures=knock-knock"];
        let header = ["--set", "target.headers.X-Token=Bearer t0k3n-in-a-header"];
        let o = debug_in(dir.path(), &[&base[..], &header, more].concat());
        assert_eq!(o.code, 121, "{}{}", o.stdout, o.stderr);
        let record = std::fs::read_to_string(dir.path().join("rec/conversation.json")).unwrap_or_default();
        let all = format!("{}{}{record}", o.stdout, o.stderr);
        for secret in ["t0k3n", "k3y-in", "74 30 6b 33 6e"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        assert!(!o.stdout.contains('\u{7}'), "control characters are escaped");
        assert!(all.contains("no, ***"), "the reason of the close is shown: {all}");
        if more == ["--raw"] {
            assert!(all.contains("00 00 ** ** **"), "{all}");
            assert!(all.contains(r#""text":"*** /talk/?key=***""#), "{all}");
        }
    }
}

#[test]
fn how_it_ends() {
    // Nothing listens there any more.
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let o = debug(&["--url", &format!("ws://127.0.0.1:{port}/")]);
    assert_eq!(o.code, 124, "{}", o.stdout);
    assert_eq!(o.stdout.matches("no connection: refused").count(), 3, "{}", o.stdout);
    assert!(o.stderr.contains(&format!("error: cannot reach ws://127.0.0.1:{port}/")), "{}", o.stderr);

    let o = debug(&[&SHORT[..], &["--set", "reference.faults={ error = 1.0 }"]].concat());
    assert_eq!(o.code, 121, "{}", o.stdout);
    assert!(o.stdout.contains("turn 0 failed: server_"), "{}", o.stdout);

    // The scenario's thresholds need an interruption, and nobody asks for them here.
    let url = format!("ws://127.0.0.1:{port}/");
    let o = debug(&["barge-in", "--set", "turn.barge_in.share=0", "--url", &url]);
    assert_eq!(o.code, 124, "{}", o.stderr);

    let o = debug(&["quikstart"]);
    assert_eq!(o.code, 2);
    assert!(o.stderr.contains("did you mean `quickstart`?"), "{}", o.stderr);

    let o = debug(&["--turns", "0"]);
    assert_eq!(o.code, 2, "{}", o.stderr);
}

#[test]
fn tls_and_several_turns() {
    let o = debug(&[
        "secure",
        "--turns=2",
        "--json",
        "--set=turn.think=50ms",
        "--set=audio.fixtures=knock-knock",
        "--set=reference.preset=instant",
        "--set=reference.burst=20s",
    ]);
    assert_eq!(o.code, 0, "{}{}", o.stdout, o.stderr);
    let lines = o.json();
    let connected = lines.iter().find(|l| l["event"] == "connected").unwrap();
    assert!(connected["tls_us"].as_i64().unwrap() > 0);
    let summary = lines.last().unwrap();
    let outcomes: Vec<_> = summary["turns"].as_array().unwrap().iter().map(|t| &t["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "ok"]);
}

#[test]
fn last_words_are_written_before_the_connection_is_closed() {
    let dialect = ["quickstart", "--json", "--set", "target.dialect=twilio-media", "--set"];
    let out = debug(&[&dialect[..], &["audio.fixtures=knock-knock", "--turns=1"]].concat());
    assert_eq!(out.code, 0, "{}", out.stderr);
    let lines = out.json();
    let at = |what: &str| lines.iter().position(|l| l.to_string().contains(what));
    let (last, closed) = (at(r#"\"event\":\"stop\""#), at("goodbye"));
    assert!(last.is_some() && last < closed, "{last:?} {closed:?}\n{}", out.stdout);
}

#[test]
fn an_interruption_ends_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["quickstart", "--json", "--turns=100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("speech_starts") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["event"], &summary["exit_code"]), (&"summary".into(), &130.into()));
    assert_eq!(summary["turns"][0]["outcome"], "cancelled");
    assert!(rest.contains("goodbye"), "{rest}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["quickstart", "--turns=100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(output.status.code(), Some(130), "{stderr}");
}
