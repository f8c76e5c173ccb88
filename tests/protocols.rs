//! Every built-in protocol. Through the real binary: devices of a run and one of `debug` talk to `voxload serve` in it, nobody says anything
//! that the other does not know, and what was said is what was heard, both ways. What real
//! servers say is in `src/dialect/describe/vendors.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use voxload::audio::wav;

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
