//! Every built-in protocol. Through the real binary: devices of a run and one of `debug` talk to `voxload serve` in it, nobody says anything
//! that the other does not know, and what was said is what was heard, both ways. And what real servers say, as their documentation and
//! their clients have it, means what it should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use voxload::audio::wav;
use voxload::dialect::codec::Envelope;
use voxload::dialect::describe::{Choice, Described};
use voxload::dialect::{DeviceDialect, Dialect, Meaning, SessionSetup};
use voxload::transport::Frame;

mod common;

use common::{Run, Served, VOXLOAD};

/// A dialect as it is tried.
struct Case {
    dialect: &'static str,
    variant: Option<&'static str>,
    /// `turn.end`.
    end: &'static str,
    /// More settings for both sides.
    more: &'static [&'static str],
    /// More of the devices' scenario.
    scenario: &'static str,
    /// It replies with speech.
    replies: bool,
    /// Its replies can be interrupted.
    interrupts: bool,
}

/// With a reply that can be interrupted.
const AGENT: Case =
    Case { dialect: "", variant: None, end: "vad", more: &[], scenario: "", replies: true, interrupts: true };
/// Without one.
const STT: Case = Case { replies: false, interrupts: false, ..AGENT };

/// What a URL is signed with; the region is not in the name of this machine.
const AWS: &str = r#"
[target.values]
access_key_id = "AKID"
secret_access_key = "secret"
region = "us-east-1"
"#;

const CASES: &[Case] = &[
    Case { dialect: "openai-realtime", end: "signal", ..AGENT },
    Case { dialect: "openai-realtime", ..AGENT },
    Case { dialect: "openai-realtime", variant: Some("beta"), end: "signal", ..AGENT },
    Case { dialect: "deepgram-listen", ..STT },
    Case { dialect: "deepgram-listen", end: "signal", ..STT },
    Case { dialect: "deepgram-agent", ..AGENT },
    Case { dialect: "deepgram-agent", end: "signal", interrupts: false, ..AGENT },
    Case { dialect: "assemblyai", more: &["audio.codec=opus"], ..STT },
    Case { dialect: "assemblyai", end: "signal", ..STT },
    Case { dialect: "elevenlabs", ..AGENT },
    Case { dialect: "elevenlabs", variant: Some("parts"), ..AGENT },
    Case { dialect: "gemini-live", ..AGENT },
    Case { dialect: "gemini-live", end: "signal", interrupts: false, ..AGENT },
    Case { dialect: "twilio-media", ..AGENT },
    Case { dialect: "twilio-media", variant: Some("marks"), ..AGENT },
    Case { dialect: "vosk", ..STT },
    Case { dialect: "vosk", end: "signal", ..STT },
    Case { dialect: "xiaozhi", end: "signal", ..AGENT },
    Case { dialect: "xiaozhi", variant: Some("v3"), end: "signal", ..AGENT },
    Case { dialect: "xiaozhi", variant: Some("v2+realtime"), ..AGENT },
    Case { dialect: "pipecat", ..AGENT },
    Case { dialect: "pipecat", variant: Some("rtvi"), ..AGENT },
    Case { dialect: "moshi", ..STT },
    Case { dialect: "unmute", ..AGENT },
    Case { dialect: "amazon-transcribe", scenario: AWS, ..STT },
];

/// What the devices say: long enough to be meant as an interruption.
const FIXTURE: &str = "knock-knock";

impl Case {
    fn name(&self) -> String {
        format!("{} {} {}", self.dialect, self.variant.unwrap_or("-"), self.end)
    }

    /// What both sides are told.
    fn settings(&self) -> Vec<String> {
        let own = [format!("target.dialect={}", self.dialect), format!("turn.end={}", self.end)];
        let variant = self.variant.map(|v| format!("target.variant={v}"));
        own.into_iter().chain(variant).chain(self.more.iter().map(|s| (*s).to_owned())).collect()
    }

    fn serve(&self, more: &[&str]) -> Served {
        let mut args = more.to_vec();
        for setting in
            ["preset=instant", "vad_silence=400ms", "vad_barge_in=150ms", "partials=300ms", "burst=1s"]
        {
            args.push(Box::leak(format!("--set=reference.{setting}").into_boxed_str()));
        }
        let settings: Vec<_> = self.settings().into_iter().map(|s| format!("--set={s}")).collect();
        args.extend(settings.iter().map(String::as_str));
        Served::start(&args)
    }

    fn try_it(&self) {
        let dir = tempfile::tempdir().unwrap();
        let heard = dir.path().join("heard");
        let server = self.serve(&["--heard", heard.to_str().unwrap()]);
        let played = self.play_one(dir.path(), &server.url);
        self.compare(&played, &heard);
        server.stop();
    }

    /// `voxload debug`: every frame is understood, and the first reply interrupted where that can be. Returns what its
    /// loudspeaker played.
    fn play_one(&self, dir: &Path, url: &str) -> Vec<f32> {
        let name = self.name();
        let mut command = Command::new(VOXLOAD);
        command.args(["debug", "--json", "--record", "record", "--url", url]).current_dir(dir).env_clear();
        command.args(["--set", "playback.max_stall_ratio=1.0", "--set", "turn.think=100ms"]);
        command.args(["--set", &format!("audio.fixtures={FIXTURE}")]);
        if self.interrupts {
            command.args([
                "--turns",
                "2",
                "--set",
                "turn.barge_in.share=1.0",
                "--set",
                "turn.barge_in.after=800ms",
            ]);
        }
        for setting in self.settings() {
            command.args(["--set", &setting]);
        }
        // Without a scenario, `quickstart` would be played, with settings that not every dialect takes.
        std::fs::write(dir.join("one.toml"), format!("name = \"one\"\n{}", self.scenario)).unwrap();
        let output = command.arg("one.toml").stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{name}\n{stdout}\n{stderr}");
        let lines: Vec<Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for frame in &lines {
            let means = frame["means"].as_array().map_or(&[][..], Vec::as_slice);
            let lost = means.iter().any(|m| m == "unmatched" || m == "garbage");
            assert!(!lost, "{name}: {frame}");
        }
        let turns = lines.last().unwrap()["turns"].as_array().unwrap();
        let outcomes: Vec<_> = turns.iter().map(|t| t["outcome"].as_str().unwrap()).collect();
        let expected: &[_] = match (self.interrupts, self.end) {
            (false, _) => &["ok"],
            // A button interrupts the last reply as well: it needs nothing to say.
            (true, "signal") => &["interrupted", "interrupted"],
            (true, _) => &["interrupted", "ok"],
        };
        assert_eq!(outcomes, expected, "{name}\n{stdout}");
        channel(&dir.join("record/conversation.wav"), 1)
    }

    /// Both ends of the one device's conversation, against the fixtures.
    fn compare(&self, played: &[f32], heard: &Path) {
        let said = channel(&heard.join("0-0.wav"), 0);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let alike_up = alike(&channel(&fixtures.join(format!("utterances/{FIXTURE}.wav")), 0), &said);
        assert!(alike_up > ALIKE, "{}: what was heard is not what was said: {alike_up}", self.name());
        if self.replies {
            let replies = std::fs::read_dir(fixtures.join("replies")).unwrap();
            let each = replies.map(|f| alike(&channel(&f.unwrap().path(), 0), played));
            let best = each.fold(0.0, f32::max);
            assert!(best > ALIKE, "{}: what was played is not what was sent: {best}", self.name());
        }
    }

    /// A few devices in a run: turns go well, some are interrupted.
    fn run_some(&self) {
        let server = self.serve(&[]);
        let mut run = Run::new(&SCENARIO.replace("URL", &server.url).replace("FIXTURE", FIXTURE));
        if self.interrupts {
            run = run.set("turn.barge_in.share", "1.0");
        }
        for setting in self.settings() {
            run = run.arg("--set").arg(setting);
        }
        let ran = run.go().expect(0);
        let result = ran.result();
        let (t, name) = (&result.turns, self.name());
        let heard = result.dialect.as_ref().unwrap();
        assert_eq!(heard.unmatched, 0, "{name}: {:?}", heard.examples);
        assert!(t.succeeded > 0 && t.failed + t.timed_out == 0, "{name}: {t:?}\n{}", ran.stdout);
        assert_eq!(t.interrupted > 0, self.interrupts, "{name}: {t:?}\n{}", ran.stdout);
    }
}

const SCENARIO: &str = r#"
name = "dialects"
[fleet]
devices = 3
duration = "3s"
[target]
url = "URL"
[audio]
fixtures = ["FIXTURE"]
[turn]
think = "uniform(50ms, 150ms)"
[turn.barge_in]
after = "uniform(200ms, 400ms)"
[playback]
max_stall_ratio = 1.0
"#;

/// What correlates less than this is not the same speech: other speech stays below 0.4, Opus at 24 kbit/s is above 0.7.
const ALIKE: f32 = 0.6;
/// Samples a second at which recordings are compared.
const RATE: u32 = 8_000;
/// How much speech is compared, from its first audible sample on.
const LENGTH: usize = RATE as usize / 2;
/// How far apart the two may seem to begin.
const SLACK: usize = RATE as usize / 20;

/// One channel of a WAV file.
fn channel(path: &Path, channel: usize) -> Vec<f32> {
    let reader = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (spec, all) = (reader.spec(), reader.into_samples::<i16>().map(Result::unwrap).collect::<Vec<_>>());
    let one: Vec<f32> =
        all.chunks(usize::from(spec.channels)).map(|f| f32::from(f[channel]) / 32_768.0).collect();
    if one.is_empty() { one } else { wav::resample(&one, spec.sample_rate, RATE).unwrap() }
}

/// The highest correlation of the beginnings of two pieces of speech; 0 when one is silent.
fn alike(a: &[f32], b: &[f32]) -> f32 {
    let begins = |s: &[f32]| s.chunks(80).position(|w| energy(w) > 80.0 * 1e-4).map(|n| n * 80);
    let (Some(a_from), Some(b_from)) = (begins(a), begins(b)) else { return 0.0 };
    let Some(a) = a.get(a_from..a_from + LENGTH) else { return 0.0 };
    let b = &b[b_from.saturating_sub(SLACK)..];
    let norm = energy(a).sqrt();
    b.windows(LENGTH)
        .take(2 * SLACK)
        .map(|w| a.iter().zip(w).map(|(a, b)| a * b).sum::<f32>() / (norm * energy(w).sqrt()))
        .fold(0.0, f32::max)
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s * s).sum()
}

#[test]
fn both_sides_of_every_dialect_understand_each_other() {
    // They mostly wait.
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(|| case.try_it());
        }
    });
}

#[test]
fn runs_in_described_dialects_go_well() {
    std::thread::scope(|scope| {
        for n in [1, 3, 20] {
            scope.spawn(move || CASES[n].run_some());
        }
    });
}

#[test]
fn noise_and_other_speech_are_told_apart_from_what_was_said() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/utterances");
    let said = channel(&fixtures.join("why-sky.wav"), 0);
    let other = channel(&fixtures.join("hello.wav"), 0);
    let late: Vec<f32> = std::iter::repeat_n(0.0, 1_234).chain(said.iter().map(|s| s * 0.5)).collect();
    assert!(alike(&said, &late) > 0.99);
    assert!(alike(&said, &other) < 0.4, "{}", alike(&said, &other));
    let noise: Vec<f32> =
        (0..16_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5).collect();
    assert!(alike(&said, &noise) < 0.2, "{}", alike(&said, &noise));
    assert_eq!(alike(&said, &[0.0; 16_000]), 0.0);
}

/// What a frame means to a device, as words; what is passed over is `-` when there is nothing else.
fn words(meanings: &[Meaning]) -> String {
    let said: Vec<String> = meanings
        .iter()
        .filter_map(|m| {
            Some(match m {
                Meaning::Ignored(_) => return None,
                Meaning::Ready { .. } => "ready".to_owned(),
                Meaning::SpeechStopped { .. } => "stopped".to_owned(),
                Meaning::Partial { text, .. } => format!("partial {text}"),
                Meaning::Final { text, .. } => format!("final {text}"),
                Meaning::Token { text, .. } => format!("token {text}"),
                Meaning::Audio { payload, .. } => format!("audio {}", payload.len()),
                Meaning::ReplyDone { interrupted, .. } => {
                    if *interrupted { "interrupted" } else { "done" }.to_owned()
                }
                Meaning::Error { code, message, .. } => format!("error {code}: {message}"),
                other => format!("{other:?}"),
            })
        })
        .collect();
    if said.is_empty() { "-".to_owned() } else { said.join(", ").trim_end().to_owned() }
}

/// A message as the dialect's envelope has it.
fn enveloped(dialect: &str, json: &str, audio: Option<&[u8]>) -> Frame {
    let name = if dialect == "amazon-transcribe" { "event-stream" } else { dialect };
    let mut codec = Envelope::from_name(name).unwrap().codec(0);
    codec.encode(&serde_json::from_str(json).unwrap(), audio).unwrap()
}

/// One device of a dialect that hears what real servers say: `>` begins a turn, `#` is a binary frame of so many bytes, `=` one with
/// this text; `@` is JSON in the dialect's envelope, `~` the same with audio of eight bytes.
#[track_caller]
fn hears(dialect: &str, vad: bool, said: &[(&str, &str)]) -> Box<dyn DeviceDialect> {
    let text = Described::built_in(dialect).unwrap();
    let d = Described::load(dialect, text, Choice { vad, ..Choice::default() }).unwrap();
    let setup = SessionSetup { vad, ..SessionSetup::default() };
    let mut device = Dialect::from(d).device(&Arc::new(setup), 0);
    let (mut frames, mut meanings, mut turns) = (Vec::new(), Vec::new(), 0);
    device.open(None, &mut frames);
    for (message, meaning) in said {
        let frame = match message.split_at(1) {
            (">", _) => {
                device.turn_start(turns, &mut frames);
                turns += 1;
                continue;
            }
            ("#", n) => Frame::Binary(vec![0; n.parse().unwrap()].into()),
            ("=", text) => Frame::Binary(text.as_bytes().to_vec().into()),
            ("@", json) => enveloped(dialect, json, None),
            ("~", json) => enveloped(dialect, json, Some(&[0; 8])),
            _ => Frame::text(*message),
        };
        device.read(&frame, &mut meanings);
        assert_eq!(words(&meanings), *meaning, "{dialect}: {message}");
        meanings.clear();
    }
    device
}

#[test]
fn deepgram_says_much_that_is_no_transcript_and_ends_utterances_in_four_ways() {
    const R: fn(&str, bool, bool, bool) -> String = |text, is_final, speech_final, from_finalize| {
        format!(
            r#"{{"type":"Results","channel_index":[0,1],"duration":1.0,"start":0.0,"is_final":{is_final},"speech_final":{speech_final},"from_finalize":{from_finalize},"channel":{{"alternatives":[{{"transcript":"{text}","confidence":0.9,"words":[]}}]}},"metadata":{{}}}}"#
        )
    };
    let end = r#"{"type":"UtteranceEnd","channel":[0,1],"last_word_end":2.1}"#;
    hears(
        "deepgram-listen",
        true,
        &[
            (&R("", false, false, false), "-"),
            (">", ""),
            (r#"{"type":"SpeechStarted","channel":[0,1],"timestamp":0.4}"#, "-"),
            (&R("why is", false, false, false), "partial why is"),
            (&R("why is the", true, false, false), "partial why is the"),
            (&R("sky blue", true, true, false), "final sky blue"),
            // Both come after the end that is known already, and silence may "end", too.
            (end, "-"),
            (&R("", true, true, false), "-"),
            (">", ""),
            (&R("yes", true, false, false), "partial yes"),
            // The last segment was closed before.
            (&R("", true, true, false), "final"),
            (">", ""),
            (&R("no", false, false, false), "partial no"),
            (end, "final"),
            (">", ""),
            (&R("well", false, false, false), "partial well"),
            (&R("well then", true, false, true), "final well then"),
            (r#"{"type":"Error","description":"too slow","code":"NET-0001"}"#, "error NET-0001: too slow"),
            (r#"{"type":"Metadata","request_id":"x"}"#, "-"),
            (r#"{"type":"SomethingNew"}"#, "Unmatched"),
        ],
    );
}

#[test]
fn the_agent_of_deepgram_is_cut_when_the_user_speaks_over_it_and_only_then() {
    let speaks = r#"{"type":"UserStartedSpeaking"}"#;
    let done = r#"{"type":"AgentAudioDone"}"#;
    let text = |role: &str, text: &str| {
        format!(r#"{{"type":"ConversationText","role":"{role}","content":"{text}"}}"#)
    };
    hears(
        "deepgram-agent",
        true,
        &[
            (r#"{"type":"Welcome","request_id":"x"}"#, "-"),
            (r#"{"type":"SettingsApplied"}"#, "ready"),
            (">", ""),
            (speaks, "-"),
            (&text("user", "hello"), "final hello"),
            (r#"{"type":"History","role":"user","content":"hello"}"#, "-"),
            (r#"{"type":"AgentThinking","content":""}"#, "-"),
            (&text("assistant", "Hi there."), "token Hi there."),
            (
                r#"{"type":"AgentStartedSpeaking","total_latency":1.2,"tts_latency":0.3,"ttt_latency":0.9}"#,
                "-",
            ),
            ("#960", "audio 960"),
            (">", ""),
            (speaks, "interrupted"),
            // Of the reply that is gone.
            (done, "-"),
            (&text("user", "stop"), "final stop"),
            ("#960", "audio 960"),
            (done, "done"),
            (done, "-"),
        ],
    );
}

#[test]
fn the_first_word_of_assemblyai_stands_beside_an_empty_transcript() {
    let turn = |order: u32, end: bool, formatted: bool, text: &str, words: &str| {
        format!(
            r#"{{"type":"Turn","turn_order":{order},"turn_is_formatted":{formatted},"end_of_turn":{end},"transcript":"{text}","end_of_turn_confidence":0.3,"words":[{words}]}}"#
        )
    };
    let word = r#"{"text":"why","start":1,"end":2,"confidence":0.9,"word_is_final":false}"#;
    hears(
        "assemblyai",
        true,
        &[
            (r#"{"type":"Begin","id":"x","expires_at":1}"#, "ready"),
            (">", ""),
            (r#"{"type":"SpeechStarted","timestamp":14}"#, "-"),
            (&turn(0, false, false, "", ""), "-"),
            (&turn(0, false, false, "", word), "partial why"),
            (&turn(0, false, false, "why is", word), "partial why is"),
            (&turn(0, true, false, "why is it", word), "final why is it"),
            // The device knows by the number that it is of the turn before.
            (&turn(0, true, true, "Why is it?", word), "final Why is it?"),
            (r#"{"type":"Termination","audio_duration_seconds":2,"session_duration_seconds":2}"#, "-"),
        ],
    );
}

#[test]
fn audio_of_elevenlabs_is_dropped_by_its_number_after_an_interruption() {
    let audio = |id: u32| {
        format!(
            r#"{{"type":"audio","audio_event":{{"event_id":{id},"audio_base_64":"AAAA","alignment":null}}}}"#
        )
    };
    let cut = |id: u32| format!(r#"{{"type":"interruption","interruption_event":{{"event_id":{id}}}}}"#);
    let ping = r#"{"type":"ping","ping_event":{"event_id":7,"ping_ms":40}}"#;
    let mut device = hears(
        "elevenlabs",
        true,
        &[
            (
                r#"{"type":"conversation_initiation_metadata","conversation_initiation_metadata_event":{"conversation_id":"c","agent_output_audio_format":"pcm_16000"}}"#,
                "ready",
            ),
            (">", ""),
            (r#"{"type":"vad_score","vad_score_event":{"vad_score":0.9}}"#, "-"),
            (r#"{"type":"user_transcript","user_transcription_event":{"user_transcript":"hi"}}"#, "final hi"),
            (&cut(1), "-"),
            (
                r#"{"type":"agent_response","agent_response_event":{"agent_response":"Hello."}}"#,
                "token Hello.",
            ),
            (&audio(2), "audio 3"),
            (&audio(3), "audio 3"),
            (&cut(3), "interrupted"),
            (&audio(3), "-"),
            (&audio(2), "-"),
            (&audio(4), "audio 3"),
            (ping, "-"),
        ],
    );
    let mut frames = Vec::new();
    device.replies(&mut frames);
    assert_eq!(frames.pop(), Some(Frame::text(r#"{"type":"pong","event_id":7}"#)));
}

#[test]
fn one_message_of_gemini_may_be_several_events_and_json_comes_in_binary_frames() {
    hears(
        "gemini-live",
        true,
        &[
            (r#"={"setupComplete":{}}"#, "ready"),
            (">", ""),
            (r#"={"serverContent":{"interrupted":true}}"#, "-"),
            (r#"={"serverContent":{"inputTranscription":{"text":"why"}}}"#, "partial why"),
            (
                r#"={"serverContent":{"modelTurn":{"parts":[{"text":"hm","thought":true},{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAAA"}},{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAAAAAAA"}}]},"outputTranscription":{"text":"Air"}},"usageMetadata":{"totalTokenCount":3}}"#,
                "token Air, audio 3, audio 6",
            ),
            (r#"={"serverContent":{"interrupted":true}}"#, "interrupted"),
            (r#"={"serverContent":{"turnComplete":true}}"#, "-"),
            (">", ""),
            (r#"{"serverContent":{"outputTranscription":{"text":"Yes"}}}"#, "token Yes"),
            (r#"{"serverContent":{"generationComplete":true}}"#, "done"),
            (r#"{"serverContent":{"turnComplete":true}}"#, "-"),
            (r#"{"goAway":{"timeLeft":"50s"}}"#, "-"),
        ],
    );
}

#[test]
fn marks_of_a_voice_app_come_back_and_vosk_answers_every_message() {
    let media = r#"{"event":"media","streamSid":"MZ1","media":{"payload":"AAAA"}}"#;
    let mark = r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"end"}}"#;
    let clear = r#"{"event":"clear","streamSid":"MZ1"}"#;
    let said = [(">", ""), (media, "audio 3"), (clear, "interrupted"), (mark, "-")];
    let mut device = hears("twilio-media", true, &said);
    let mut frames = Vec::new();
    device.replies(&mut frames);
    assert!(matches!(frames.pop(), Some(Frame::Text(t)) if t.contains(r#""mark":{"name":"end"}"#)));
    hears(
        "vosk",
        true,
        &[
            (r#"{"partial" : ""}"#, "-"),
            (r#"{"text" : ""}"#, "-"),
            (">", ""),
            (r#"{"partial" : "why"}"#, "partial why"),
            (r#"{"result" : [{"conf" : 1.0, "word" : "why"}], "text" : "why is"}"#, "final why is"),
            (r#"{"partial" : ""}"#, "-"),
            (">", ""),
            (r#"{"partial" : "no"}"#, "partial no"),
            (r#"{"text" : ""}"#, "final"),
        ],
    );
}

#[test]
fn replies_of_openai_are_told_apart_by_their_ids_and_transcripts_come_when_they_please() {
    let delta = |kind: &str, id: &str, delta: &str| {
        format!(
            r#"{{"type":"response.{kind}.delta","event_id":"e","response_id":"{id}","item_id":"i","output_index":0,"content_index":0,"delta":"{delta}"}}"#
        )
    };
    let done = |id: &str, status: &str| {
        format!(
            r#"{{"type":"response.done","event_id":"e","response":{{"object":"realtime.response","id":"{id}","status":"{status}","output":[]}}}}"#
        )
    };
    hears(
        "openai-realtime",
        true,
        &[
            (r#"{"type":"session.created","event_id":"e","session":{"type":"realtime","id":"s"}}"#, "-"),
            (r#"{"type":"session.updated","event_id":"e","session":{"type":"realtime"}}"#, "ready"),
            (">", ""),
            (
                r#"{"type":"input_audio_buffer.speech_stopped","event_id":"e","audio_end_ms":900,"item_id":"u"}"#,
                "stopped",
            ),
            (
                r#"{"type":"response.created","event_id":"e","response":{"id":"r1","status":"in_progress"}}"#,
                "-",
            ),
            (&delta("output_audio_transcript", "r1", "Hi"), "token Hi"),
            (&delta("output_audio", "r1", "AAAA"), "audio 3"),
            (
                r#"{"type":"conversation.item.input_audio_transcription.completed","event_id":"e","item_id":"u","content_index":0,"transcript":"hello","usage":{"type":"duration","seconds":1}}"#,
                "final hello",
            ),
            (
                r#"{"type":"response.function_call_arguments.delta","event_id":"e","response_id":"r1","delta":"{}"}"#,
                "-",
            ),
            (r#"{"type":"rate_limits.updated","event_id":"e","rate_limits":[]}"#, "-"),
            (&done("r1", "cancelled"), "interrupted"),
            (">", ""),
            (&delta("output_audio", "r2", "AAAA"), "audio 3"),
            (&done("r2", "completed"), "done"),
            (
                r#"{"type":"error","event_id":"e","error":{"type":"invalid_request_error","code":"c","message":"m"}}"#,
                "error c: m",
            ),
        ],
    );
}

#[test]
fn a_bot_of_pipecat_ends_its_replies_in_words_and_interrupts_where_nothing_is_to_be_interrupted() {
    let rtvi = |kind: &str, data: &str| {
        format!(r#"@{{"message":{{"label":"rtvi-ai","type":"{kind}","data":{data}}}}}"#)
    };
    let heard = |text: &str, last: bool| {
        rtvi(
            "user-transcription",
            &format!(r#"{{"text":"{text}","user_id":"","timestamp":"","final":{last}}}"#),
        )
    };
    let cut = r#"@{"interruption":{"id":5,"name":"InterruptionFrame#0"}}"#;
    let audio = r#"~{"audio":{"id":9,"name":"OutputAudioRawFrame#0","sample_rate":24000,"num_channels":1}}"#;
    let done = rtvi("bot-stopped-speaking", "{}");
    hears(
        "pipecat",
        true,
        &[
            (">", ""),
            (cut, "-"),
            (&rtvi("user-started-speaking", "{}"), "-"),
            (&heard("why", false), "partial why"),
            (&rtvi("user-stopped-speaking", "{}"), "stopped"),
            (&heard("why is", true), "final why is"),
            (&rtvi("bot-llm-started", "{}"), "-"),
            (&rtvi("bot-llm-text", r#"{"text":"Air"}"#), "token Air"),
            (audio, "audio 8"),
            (&rtvi("bot-started-speaking", "{}"), "-"),
            (&rtvi("bot-tts-text", r#"{"text":"Air"}"#), "-"),
            (cut, "interrupted"),
            (&done, "-"),
            (">", ""),
            (audio, "audio 8"),
            (&done, "done"),
            (&rtvi("error", r#"{"error":"no credit","fatal":true}"#), "error : no credit"),
            (
                r#"@{"transcription":{"text":"of a bot without RTVI","user_id":"u"}}"#,
                "final of a bot without RTVI",
            ),
        ],
    );
}

#[test]
fn moshi_is_asked_for_one_marker_when_words_are_followed_by_a_pause() {
    let step =
        |p: f64| format!(r#"@{{"type":"Step","step_idx":4,"prs":[0.1,0.2,{p},0.3],"buffered_pcm":0}}"#);
    let word = |text: &str| format!(r#"@{{"type":"Word","text":"{text}","start_time":0.4}}"#);
    let marker = r#"@{"type":"Marker","id":1}"#;
    let mut device = hears(
        "moshi",
        true,
        &[
            (r#"@{"type":"Ready"}"#, "ready"),
            (&word(""), "-"),
            (">", ""),
            (&step(0.1), "-"),
            (&word("why"), "partial why"),
            (r#"@{"type":"EndWord","stop_time":0.6}"#, "-"),
            (&step(0.59), "-"),
            (&step(0.61), "stopped"),
            (&step(0.9), "-"),
            (&step(0.9), "-"),
        ],
    );
    let (mut frames, mut meanings) = (Vec::new(), Vec::new());
    device.replies(&mut frames);
    assert_eq!(frames, [enveloped("moshi", r#"{"type":"Marker","id":1}"#, None)]);
    for (message, means) in [(marker, "final"), (&*step(0.9), "-"), (marker, "-")] {
        device.read(&enveloped("moshi", &message[1..], None), &mut meanings);
        assert_eq!(words(&meanings), means, "{message}");
        meanings.clear();
    }
    hears(
        "moshi",
        true,
        &[(r#"@{"type":"Error","message":"no free channels"}"#, "error : no free channels")],
    );
}

#[test]
fn unmute_warns_without_failing_and_its_transcript_is_complete_when_the_reply_is_asked_for() {
    let delta = |kind: &str, text: &str| {
        format!(r#"{{"type":"{kind}","event_id":"e","delta":"{text}","start_time":1.0}}"#)
    };
    let heard = "conversation.item.input_audio_transcription.delta";
    let created = r#"{"type":"response.created","event_id":"e","response":{"object":"realtime.response","status":"in_progress","voice":"v","chat_history":[]}}"#;
    let done = r#"{"type":"response.audio.done","event_id":"e"}"#;
    let error = |kind: &str| {
        format!(r#"{{"type":"error","event_id":"e","error":{{"type":"{kind}","code":null,"message":"m"}}}}"#)
    };
    // The first page of a stream has no sound in it.
    let head = r#"{"type":"response.audio.delta","event_id":"e","delta":""}"#;
    hears(
        "unmute",
        true,
        &[
            (r#"{"type":"session.updated","event_id":"e","session":{"allow_recording":false}}"#, "ready"),
            // A greeting.
            (created, "-"),
            (">", ""),
            (&delta(heard, ""), "-"),
            (&delta(heard, "why"), "partial why"),
            (r#"{"type":"input_audio_buffer.speech_started","event_id":"e"}"#, "-"),
            (r#"{"type":"input_audio_buffer.speech_stopped","event_id":"e"}"#, "stopped"),
            (created, "final"),
            (&error("warning"), "-"),
            (&delta("unmute.response.text.delta.ready", "Air"), "token Air"),
            (head, "-"),
            (&delta("response.text.delta", "Air"), "-"),
            (r#"{"type":"unmute.interrupted_by_vad","event_id":"e"}"#, "interrupted"),
            (done, "-"),
            (">", ""),
            (&delta("unmute.response.text.delta.ready", "Yes"), "token Yes"),
            (done, "done"),
            (&error("fatal"), "error fatal: m"),
        ],
    );
}

#[test]
fn results_of_amazon_are_partial_until_they_are_not_and_exceptions_have_names() {
    let result = |text: &str, partial: bool| {
        format!(
            r#"@{{"headers":{{":message-type":"event",":event-type":"TranscriptEvent",":content-type":"application/json"}},"payload":{{"Transcript":{{"Results":[{{"ResultId":"r","StartTime":0.1,"EndTime":0.5,"IsPartial":{partial},"ChannelId":"ch_0","Alternatives":[{{"Transcript":"{text}","Items":[]}}]}}]}}}}}}"#
        )
    };
    hears(
        "amazon-transcribe",
        true,
        &[
            (
                r#"@{"headers":{":message-type":"event",":event-type":"TranscriptEvent",":content-type":"application/json"},"payload":{"Transcript":{"Results":[]}}}"#,
                "-",
            ),
            (">", ""),
            (&result("why", true), "partial why"),
            (&result("Why is it?", false), "final Why is it?"),
            (
                r#"@{"headers":{":message-type":"exception",":exception-type":"LimitExceededException",":content-type":"application/json"},"payload":{"Message":"too many"}}"#,
                "error LimitExceededException: too many",
            ),
        ],
    );
}
