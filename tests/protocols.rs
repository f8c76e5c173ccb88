//! Every built-in protocol. Through the real binary: devices of a run and one of `debug` talk to `voxload serve` in it, nobody says anything
//! that the other does not know, and what was said is what was heard, both ways. What real
//! servers say is in `src/dialect/describe/vendors.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use voxload::audio::{
    AudioFormat, Chunk, Clip, Codec, CodecSettings, Decoder, Library, Sound, encode, encode_reply, wav,
};
use voxload::dialect::connect::Connector;
use voxload::dialect::describe::{Choice, Described};
use voxload::dialect::{
    Answer, DeviceDialect, Dialect, Encoding, Handshake, Meaning, Request, ServerDialect, SessionSetup,
};
use voxload::scenario::{EndOfTurn, Flush};
use voxload::time::Micros;
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
    /// It replies with speech.
    replies: bool,
    /// Its replies can be interrupted.
    interrupts: bool,
}

/// With a reply that can be interrupted.
const AGENT: Case =
    Case { dialect: "", variant: None, end: "vad", more: &[], replies: true, interrupts: true };
/// Without one.
const STT: Case = Case { replies: false, interrupts: false, ..AGENT };

/// What URLs and upgrades are signed with, and the server compares them with.
const AWS: &str =
    "target.values={ access_key_id = 'AKID', secret_access_key = 's3cr3t-key', region = 'us-east-1' }";
const TWILIO: &str = "target.values={ auth_token = 's3cr3t-key' }";

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
    Case { dialect: "gemini-live", end: "signal", ..AGENT },
    Case { dialect: "twilio-media", ..AGENT },
    Case { dialect: "twilio-media", variant: Some("marks"), more: &[TWILIO], ..AGENT },
    Case { dialect: "vosk", ..STT },
    Case { dialect: "vosk", end: "signal", ..STT },
    Case { dialect: "xiaozhi", end: "signal", ..AGENT },
    Case { dialect: "xiaozhi", variant: Some("v3"), end: "signal", ..AGENT },
    Case { dialect: "xiaozhi", variant: Some("v2+realtime"), ..AGENT },
    Case { dialect: "pipecat", ..AGENT },
    Case { dialect: "pipecat", variant: Some("rtvi"), ..AGENT },
    Case { dialect: "moshi", ..STT },
    Case { dialect: "unmute", ..AGENT },
    Case { dialect: "amazon-transcribe", more: &[AWS], ..STT },
    Case { dialect: "plain", end: "signal", interrupts: false, ..AGENT },
    Case { dialect: "envelope", more: &["audio.codec=mulaw", "audio.encoding=base64"], ..AGENT },
    Case { dialect: "xiaozhi", variant: Some("realtime"), ..AGENT },
    Case { dialect: "openai-realtime", variant: Some("g711"), more: &["audio.codec=alaw"], ..AGENT },
    Case { dialect: "deepgram-agent", more: &["audio.codec=mulaw"], ..AGENT },
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
        // The loudspeaker stutters while the machine stands still: then what it played is not what came.
        let mut unlike = String::new();
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let heard = dir.path().join("heard");
            let server = self.serve(&["--heard", heard.to_str().unwrap()]);
            let played = self.play_one(dir.path(), &server.url);
            let compared = self.compare(&played, &heard);
            server.stop();
            match compared {
                Ok(()) => return,
                Err(why) => unlike = why,
            }
        }
        panic!("{}: {unlike}, three times", self.name());
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
        std::fs::write(dir.join("one.toml"), "name = \"one\"\n").unwrap();
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
            // A button interrupts the last reply as well: it needs nothing to say. Here it is the beginning of the next turn that interrupts.
            (true, "signal") if self.dialect != "gemini-live" => &["interrupted", "interrupted"],
            (true, _) => &["interrupted", "ok"],
        };
        assert_eq!(outcomes, expected, "{name}\n{stdout}");
        channel(&dir.join("record/conversation.wav"), 1)
    }

    /// Both ends of the one device's conversation, against the fixtures.
    fn compare(&self, played: &[f32], heard: &Path) -> Result<(), String> {
        let said = channel(&heard.join("0-0.wav"), 0);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let alike_up = alike(&channel(&fixtures.join(format!("utterances/{FIXTURE}.wav")), 0), &said);
        if alike_up < ALIKE {
            return Err(format!("what was heard is not what was said: {alike_up}"));
        }
        if self.replies {
            let replies = std::fs::read_dir(fixtures.join("replies")).unwrap();
            let each = replies.map(|f| alike(&channel(&f.unwrap().path(), 0), played));
            let best = each.fold(0.0, f32::max);
            if best < ALIKE {
                return Err(format!("what was played is not what was sent: {best}"));
            }
        }
        Ok(())
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

/// A server that knows the key refuses what is not signed with it, and no key is ever shown. That it takes what is: the cases above.
#[test]
fn a_wrong_key_is_refused() {
    for (dialect, right, why) in
        [("amazon-transcribe", AWS, "not that of this URL"), ("twilio-media", TWILIO, "X-Twilio-Signature")]
    {
        let case = Case { dialect, ..AGENT };
        let server = case.serve(&["--set", right]);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("one.toml"), "name = \"one\"\n").unwrap();
        let mut command = Command::new(VOXLOAD);
        let wrong = right.replace("s3cr3t-key", "wr0ng-key");
        command.args(["debug", "one.toml", "--url", &server.url, "--set", &wrong]).current_dir(dir.path());
        for setting in case.settings() {
            command.args(["--set", &setting]);
        }
        let out = command.env_clear().stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert_eq!(out.status.code(), Some(124), "{dialect}: {said}");
        assert!(said.contains("403") && said.contains(why), "{dialect}: {said}");
        assert!(!said.contains("wr0ng-key") && !said.contains("s3cr3t-key"), "{dialect}: {said}");
        server.stop();
    }
}

/// A session goes on after its connection was cut, where the description says how to ask for it; where it does not, a scenario that wants
/// that is refused.
#[test]
fn sessions_are_resumed_through_a_description() {
    let described = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dialect/builtin/envelope.toml");
    let scenario = SCENARIO.replace("url = \"URL\"\n", "").replace("FIXTURE", FIXTURE).replace("3s", "5s");
    let run = |dialect: &str| {
        let run = Run::new(&scenario).set("target.dialect", dialect).set("session.resume", "true");
        run.set("reference.preset", "instant").arg("--set").arg("faults=[\"reset at=2s\"]").go()
    };
    let ran = run(described).expect(0);
    let (result, t) = (ran.result(), ran.result().turns);
    assert_eq!(result.metrics["reconnect"].count, 3, "{}", ran.stdout);
    assert!(t.succeeded > 0 && t.reconnected > 0 && t.failed + t.timed_out == 0, "{t:?}\n{}", ran.stdout);
    assert_eq!(result.dialect.unwrap().unmatched, 0);
    let refused = run("xiaozhi").expect(2);
    assert!(refused.stderr.contains("cannot say which session to go on with"), "{}", refused.stderr);
}

#[test]
fn runs_in_described_dialects_go_well() {
    std::thread::scope(|scope| {
        for n in [1, 3, 20] {
            scope.spawn(move || CASES[n].run_some());
        }
    });
}

/// The two ends of one connection, without a socket between them.
struct Pair {
    device: Box<dyn DeviceDialect>,
    server: Box<dyn ServerDialect>,
    /// Audio that the server has heard, and the device.
    heard: [Vec<Bytes>; 2],
}

impl Pair {
    /// A session that is open.
    fn open(dialect: &Dialect, setup: SessionSetup) -> Self {
        let (down, setup) = (setup.down, Arc::new(setup));
        let mut pair =
            Self { device: dialect.device(&setup, 0), server: dialect.server(), heard: Default::default() };
        let asked = Connector::new(dialect, &setup).map(|c| c.request("/", 0)).unwrap_or_default();
        let handshake = Handshake { target: asked.target, headers: asked.headers };
        let (mut requests, mut frames) = (Vec::new(), Vec::new());
        pair.server.connected("s", &handshake, &mut requests, &mut frames);
        pair.answer(requests, down);
        pair.device_hears(&frames);
        let mut frames = Vec::new();
        pair.device.open(None, &mut frames);
        pair.server_hears(&frames, down);
        assert_eq!(pair.device.waiting(), None, "the opening is done");
        pair
    }

    fn answer(&mut self, requests: Vec<Request>, down: AudioFormat) {
        for request in requests {
            match request {
                Request::Open(open) => {
                    assert_eq!(open.down, Some(down), "the format of replies is understood");
                    self.say(Answer::Ready { session: "s".to_owned(), down, resumed: false });
                }
                Request::Audio(payload) => self.heard[0].push(payload),
                Request::Garbage(why) => panic!("the server does not understand: {why}"),
                _ => {}
            }
        }
    }

    fn server_hears(&mut self, frames: &[Frame], down: AudioFormat) {
        for frame in frames {
            let mut requests = Vec::new();
            self.server.read(frame, &mut requests);
            self.answer(requests, down);
        }
    }

    /// The server says something, and the device hears it.
    fn say(&mut self, answer: Answer) {
        let (mut frames, mut later) = (Vec::new(), Vec::new());
        self.server.write(answer, &mut frames);
        self.server.later(&mut later);
        frames.extend(later.into_iter().map(|(_, frame)| frame));
        self.device_hears(&frames);
    }

    fn device_hears(&mut self, frames: &[Frame]) {
        for frame in frames {
            let mut meanings = Vec::new();
            self.device.read(frame, &mut meanings);
            for meaning in meanings {
                match meaning {
                    Meaning::Audio { payload, .. } => self.heard[1].push(payload),
                    Meaning::Unmatched | Meaning::Garbage(_) => panic!("{meaning:?}: {frame:?}"),
                    _ => {}
                }
            }
        }
        let mut replies = Vec::new();
        self.device.replies(&mut replies);
        for frame in replies {
            let mut requests = Vec::new();
            self.server.read(&frame, &mut requests);
            for request in requests {
                match request {
                    Request::Open(open) => {
                        let down = open.down.unwrap();
                        self.say(Answer::Ready { session: "s".to_owned(), down, resumed: false });
                    }
                    Request::Garbage(why) => panic!("the server does not understand: {why}"),
                    _ => {}
                }
            }
        }
    }
}

/// What is known already: encoding and decoding take longer than everything else.
#[derive(Default)]
struct Known {
    clips: HashMap<CodecSettings, Clip>,
    replies: HashMap<AudioFormat, Vec<Chunk>>,
    alike: HashMap<(AudioFormat, Vec<Bytes>), f32>,
}

impl Known {
    /// How much payloads sound like what was said.
    fn alike(&mut self, said: &Sound, format: AudioFormat, payloads: &[Bytes]) -> f32 {
        *self.alike.entry((format, payloads.to_vec())).or_insert_with(|| {
            let (mut decoder, mut samples) = (Decoder::new(format).unwrap(), Vec::new());
            payloads.iter().for_each(|p| decoder.decode(p, &mut samples).unwrap());
            let heard = wav::resample(&samples, format.sample_rate, RATE).unwrap();
            alike(&wav::resample(&said.samples, said.sample_rate, RATE).unwrap(), &heard)
        })
    }

    /// An utterance goes up and comes back down, through the frames of the dialect.
    fn carries(&mut self, dialect: &Dialect, tried: &Tried, said: &Sound) -> Result<(), String> {
        let can = dialect.capabilities();
        let Tried { up, down, encoding, vad, .. } = *tried;
        let (chunk, frame) = (can.chunk.unwrap_or(Micros::from_millis(60)), Micros::from_millis(20));
        let settings = CodecSettings { format: up, bitrate: 24_000, frame, chunk, complexity: 0, dtx: false };
        let clip = self.clips.entry(settings);
        let clip = clip.or_insert_with(|| encode(said, &settings, EndOfTurn::Signal, Flush::Frame).unwrap());
        let setup = SessionSetup { up, down, encoding, vad, ..SessionSetup::default() };
        let mut pair = Pair::open(dialect, setup);
        let mut frames = Vec::new();
        pair.device.turn_start(0, &mut frames);
        for chunk in clip.speech.iter() {
            let prepared = dialect.prepare(chunk, encoding);
            frames.push(pair.device.audio(&prepared));
        }
        if !vad {
            pair.device.turn_end(0, &mut frames);
        }
        pair.server_hears(&frames, down);
        let heard = self.alike(said, up, &pair.heard[0]);
        if heard < ALIKE {
            return Err(format!("up, {up:?}: {heard}"));
        }
        if can.stt {
            return Ok(());
        }
        let whole = || encode_reply(&said.samples, said.sample_rate, down, Micros::from_millis(60), 24_000);
        let reply = self.replies.entry(down).or_insert_with(|| whole().unwrap());
        pair.say(Answer::Final { turn: 0, text: "hello".to_owned() });
        for chunk in reply {
            pair.say(Answer::Audio { turn: 0, payload: chunk.payload.clone() });
        }
        pair.say(Answer::Done { turn: 0, interrupted: false });
        let heard = self.alike(said, down, &pair.heard[1]);
        if heard < ALIKE { Err(format!("down, {down:?}: {heard}")) } else { Ok(()) }
    }
}

/// A dialect with everything that is chosen of it.
struct Tried {
    name: &'static str,
    variant: Option<String>,
    vad: bool,
    encoding: Encoding,
    up: AudioFormat,
    down: AudioFormat,
}

/// Formats for where a dialect carries any.
const ANY: [(Codec, u32); 5] = [
    (Codec::Opus, 16_000),
    (Codec::Opus, 48_000),
    (Codec::Pcm16, 16_000),
    (Codec::Mulaw, 8_000),
    (Codec::Alaw, 8_000),
];

/// Every dialect, each of its variants alone and with another, each way to find the end of speech, each encoding, each format.
fn everything(mut each: impl FnMut(&Dialect, Tried)) {
    let any = ANY.map(|(codec, sample_rate)| AudioFormat { codec, sample_rate });
    let or_any = |f: &[AudioFormat]| if f.is_empty() { any.to_vec() } else { f.to_vec() };
    for name in Dialect::names() {
        let file = Described::built_in(name).map(|t| Described::load(name, t, Choice::default()).unwrap());
        let choose = |choice| match &file {
            Some(file) => file.choose(choice).unwrap().into(),
            None => Dialect::native(name).unwrap(),
        };
        let names = file.as_ref().map(|f| f.variants().to_vec()).unwrap_or_default();
        let mut variants = vec![None];
        variants.extend(names.iter().cloned().map(Some));
        let pairs = names.iter().flat_map(|a| names.iter().map(move |b| (a, b))).filter(|(a, b)| a != b);
        variants.extend(pairs.map(|(a, b)| Some(format!("{a}+{b}"))));
        for (variant, vad) in variants.iter().flat_map(|v| [(v, false), (v, true)]) {
            let chosen = Choice { variant: variant.clone(), vad, ..Choice::default() };
            let can = choose(chosen.clone()).capabilities().clone();
            let (ups, downs) = (or_any(&can.formats), or_any(&can.down_formats));
            for (there, encoding) in [(can.binary, Encoding::Binary), (can.base64, Encoding::Base64)] {
                // Each format once in each direction.
                let most = if there && (if vad { can.vad } else { can.signal }) {
                    ups.len().max(downs.len())
                } else {
                    0
                };
                for n in 0..most {
                    let (up, down) = (ups[n % ups.len()], downs[n % downs.len()]);
                    let (encoding_of, formats) = (Some(encoding), Some((up, down)));
                    let dialect = choose(Choice { encoding: encoding_of, formats, ..chosen.clone() });
                    each(&dialect, Tried { name, variant: variant.clone(), vad, encoding, up, down });
                }
            }
        }
    }
}

#[test]
fn every_format_of_every_dialect_carries_speech_both_ways() {
    let said = Library::load(&[FIXTURE.to_owned()], Path::new(".")).unwrap().remove(0);
    let (mut known, mut tried, mut wrong) = (Known::default(), 0, Vec::new());
    everything(|dialect, of| {
        tried += 1;
        let which = format!("{} {:?}, vad {}, {:?}", of.name, of.variant, of.vad, of.encoding);
        wrong.extend(known.carries(dialect, &of, &said).err().map(|why| format!("{which}: {why}")));
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 100, "{tried}");
}

#[test]
fn audio_that_is_taken_for_another_is_noticed() {
    let said = Library::load(&[FIXTURE.to_owned()], Path::new(".")).unwrap().remove(0);
    let mut known = Known::default();
    let format = |codec, sample_rate| AudioFormat { codec, sample_rate };
    let coded = |of| {
        let chunks =
            encode_reply(&said.samples, said.sample_rate, of, Micros::from_millis(60), 24_000).unwrap();
        chunks.into_iter().map(|c| c.payload).collect::<Vec<_>>()
    };
    let (ulaw, alaw, pcm) =
        (format(Codec::Mulaw, 8_000), format(Codec::Alaw, 8_000), format(Codec::Pcm16, 16_000));
    let mut alike = |taken_for, payloads: &[Bytes]| known.alike(&said, taken_for, payloads);
    for of in [ulaw, alaw, pcm] {
        assert!(alike(of, &coded(of)) > ALIKE, "{of:?}");
    }
    assert!(alike(ulaw, &coded(alaw)) < ALIKE);
    assert!(alike(alaw, &coded(ulaw)) < ALIKE);
    // At another rate, and half a sample late: as when a header is not taken off.
    assert!(alike(format(Codec::Pcm16, 24_000), &coded(pcm)) < ALIKE);
    let whole = coded(pcm).concat();
    assert!(alike(pcm, &[Bytes::copy_from_slice(&whole[1..whole.len() - 1])]) < ALIKE);
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
