//! Whole turns between the two sides of a description, and what is wrong with files.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::audio::Chunk;
use crate::dialect::{
    Answer, DeviceDialect as _, Dialect, Handshake, Meaning, Request, ServerDialect as _, SessionSetup,
    envelope,
};
use crate::transport::Frame;

fn described(name: &str, choice: Choice) -> Arc<Described> {
    let text = match name {
        "envelope" => ENVELOPE,
        name => Described::built_in(name).unwrap(),
    };
    Arc::new(Described::load(name, text, choice).unwrap_or_else(|e| panic!("{e}")))
}

/// A device and a server that talk to each other at once.
struct Talk {
    device: Device,
    server: Server,
    d: Arc<Described>,
    requests: Vec<Request>,
    meanings: Vec<Meaning>,
    frames: Vec<Frame>,
}

impl Talk {
    fn new(name: &str, variant: Option<&str>, vad: bool) -> Self {
        let choice = Choice { variant: variant.map(str::to_owned), vad, ..Choice::default() };
        let text = Described::built_in(name).unwrap();
        let d = Described::read(name, text, choice.clone(), false).unwrap();
        let can = d.capabilities();
        let formats = (can.formats[0], can.down_formats[0]);
        let d = Arc::new(d.choose(Choice { formats: Some(formats), ..choice }).unwrap());
        let setup = SessionSetup { up: formats.0, down: formats.1, vad, ..SessionSetup::default() };
        let device = Device::new(Arc::clone(&d), Arc::new(setup), 7);
        let server = Server::new(Arc::clone(&d));
        Self { device, server, d, requests: Vec::new(), meanings: Vec::new(), frames: Vec::new() }
    }

    /// Everything that was said arrives, and is answered by the dialects themselves.
    fn server_hears(&mut self) -> Vec<Request> {
        for frame in std::mem::take(&mut self.frames) {
            self.server.read(&frame, &mut self.requests);
        }
        std::mem::take(&mut self.requests)
    }

    fn device_hears(&mut self) -> Vec<Meaning> {
        let mut replies = Vec::new();
        for frame in std::mem::take(&mut self.frames) {
            self.device.read(&frame, &mut self.meanings);
            self.device.replies(&mut replies);
        }
        self.frames = replies;
        // What is known and without consequence is not what these tests are about.
        std::mem::take(&mut self.meanings).into_iter().filter(|m| !matches!(m, Meaning::Ignored(_))).collect()
    }

    fn say(&mut self, answer: Answer) -> Vec<Meaning> {
        self.server.write(answer, &mut self.frames);
        self.device_hears()
    }

    fn open(&mut self) {
        let mut frames = Vec::new();
        self.server.connected("s1", &Handshake::default(), &mut self.requests, &mut frames);
        self.device.open(None, &mut self.frames);
        let from_device = std::mem::take(&mut self.frames);
        self.frames = frames;
        assert_eq!(self.device_hears(), []);
        self.frames.splice(0..0, from_device);
        let opened = self.server_hears();
        let can = self.d.capabilities();
        assert!(
            matches!(&opened[..], [Request::Open(o)] if o.up == Some(can.formats[0]) && o.down == Some(can.down_formats[0])),
            "{opened:?}"
        );
        assert!(self.device.waiting().is_some());
        let down = self.d.capabilities().down_formats[0];
        let ready = self.say(Answer::Ready { session: "s1".into(), down, resumed: false });
        assert!(matches!(ready[..], [Meaning::Ready { resumed: false, .. }]), "{ready:?}");
        assert_eq!(self.device.waiting(), None);
    }
}

fn chunk() -> Chunk {
    Chunk { due: Micros::ZERO, media: Micros::from_millis(60), payload: Bytes::from_static(&[0x4b, 1, 2, 3]) }
}

#[test]
fn a_turn_of_every_description_as_both_sides_understand_it() {
    let cases = [
        ("xiaozhi", None),
        ("xiaozhi", Some("v2")),
        ("xiaozhi", Some("v3")),
        ("openai-realtime", None),
        ("openai-realtime", Some("beta")),
    ];
    for (name, variant) in cases {
        let mut t = Talk::new(name, variant, false);
        t.open();
        t.device.turn_start(0, &mut t.frames);
        let prepared = prepare(&t.d, &chunk());
        for _ in 0..2 {
            t.frames.push(t.device.audio(&prepared));
        }
        t.device.turn_end(0, &mut t.frames);
        let heard: Vec<_> = t.server_hears().into_iter().filter(|r| *r != Request::Ignored).collect();
        let audio = Request::Audio(chunk().payload);
        let spoken = [audio.clone(), audio, Request::TurnEnd { turn: None }];
        let started = heard.iter().filter(|r| matches!(r, Request::TurnStart { .. })).count();
        assert_eq!(heard[started..], spoken, "{name} {variant:?}");

        // With ids, messages belong to their turn; without, they say nothing of it.
        let turn = (name == "openai-realtime").then_some(0);
        let said = t.say(Answer::Final { turn: 0, text: "hello".into() });
        assert!(matches!(&said[..], [Meaning::Final { text, .. }] if text == "hello"), "{name}: {said:?}");
        let mut text = t.say(Answer::Token { turn: 0, text: "Sure ".into(), last: false });
        text.extend(t.say(Answer::Token { turn: 0, text: "thing. ".into(), last: true }));
        let words: String = text
            .iter()
            .map(|m| match m {
                Meaning::Token { turn: of, text } if *of == turn => text.as_str(),
                other => panic!("{name}: {other:?}"),
            })
            .collect();
        assert_eq!(words.trim_end(), "Sure thing.");
        let payload = chunk().payload;
        let heard = t.say(Answer::Audio { turn: 0, payload: payload.clone() });
        assert_eq!(heard, [Meaning::Audio { turn, payload }], "{name}");
        let done = t.say(Answer::Done { turn: 0, interrupted: false });
        assert_eq!(done, [Meaning::ReplyDone { turn, interrupted: false }], "{name}");

        // The next one is interrupted.
        t.device.turn_start(1, &mut t.frames);
        t.server_hears();
        t.say(Answer::Final { turn: 1, text: "more".into() });
        t.say(Answer::Audio { turn: 1, payload: chunk().payload });
        t.device.interrupt(1, &mut t.frames);
        assert_eq!(t.server_hears(), [Request::Interrupt { turn: None }], "{name}");
        let stopped = t.say(Answer::Done { turn: 1, interrupted: true });
        let turn = (name == "openai-realtime").then_some(1);
        assert_eq!(stopped, [Meaning::ReplyDone { turn, interrupted: true }], "{name}");
        let mut late = Vec::new();
        t.server.later(&mut late);
        for (_, frame) in late {
            t.frames.push(frame);
        }
        assert_eq!(t.device_hears(), [], "a second stop ends nothing");
        assert_eq!(t.device.complaint(), None, "{name}: every rule that matters has fired");
    }
}

#[test]
fn the_server_hears_who_finds_the_end_of_speech() {
    for (name, by_turn) in [("xiaozhi", true), ("openai-realtime", false)] {
        let mut t = Talk::new(name, None, true);
        let mut frames = Vec::new();
        t.server.connected("s1", &Handshake::default(), &mut t.requests, &mut frames);
        t.device.open(None, &mut t.frames);
        t.frames.extend(frames);
        let created = t.frames.pop_if(|_| !by_turn);
        t.frames = created.into_iter().chain(std::mem::take(&mut t.frames)).collect();
        if !by_turn {
            t.device_hears();
        }
        let Some(Request::Open(open)) = t.server_hears().pop() else { panic!("{name}") };
        assert_eq!(open.vad, !by_turn, "{name}");
        t.device.turn_start(0, &mut t.frames);
        let expected: &[Request] = if by_turn { &[Request::TurnStart { vad: Some(true) }] } else { &[] };
        assert_eq!(t.server_hears(), expected, "{name}");
    }
}

#[test]
fn where_the_next_turn_interrupts_the_server_hears_both() {
    let mut t = Talk::new("gemini-live", None, false);
    t.open();
    for turn in 0..2 {
        let over_a_reply = turn > 0;
        if over_a_reply {
            t.device.interrupt(0, &mut t.frames);
            assert_eq!(t.server_hears(), [], "no message of its own");
        }
        t.device.turn_start(turn, &mut t.frames);
        // Detection is off, and stays so.
        let begins = [Request::Interrupt { turn: None }, Request::TurnStart { vad: Some(false) }];
        assert_eq!(t.server_hears(), begins);
        if over_a_reply {
            let stopped = t.say(Answer::Done { turn: 0, interrupted: true });
            assert_eq!(stopped, [Meaning::ReplyDone { turn: None, interrupted: true }]);
        } else {
            t.device.turn_end(turn, &mut t.frames);
            assert_eq!(t.server_hears(), [Request::TurnEnd { turn: None }]);
            t.say(Answer::Audio { turn, payload: Bytes::from_static(&[0, 0]) });
        }
    }
    let by = "[dialect]\nname = \"x\"\n[interrupt]\nby = \"turn\"\n[turn]\nends = [\"signal\"]";
    assert!(problems(by).contains("no message begins a turn that could interrupt"), "{}", problems(by));
}

#[test]
fn described_and_native_mean_the_same() {
    let setup = Arc::new(SessionSetup::default());
    let d = described("envelope", Choice::default());
    let mut ours = Device::new(d, Arc::clone(&setup), 3);
    let mut native = envelope::Device::new(setup, 3);
    for frame in [
        Frame::text(r#"{"type":"session_started","session":"x","resumed":true}"#),
        Frame::text(r#"{"type":"speech_stopped","turn":4}"#),
        Frame::text(r#"{"type":"transcript_partial","text":"a\"b","turn":0}"#),
        Frame::text(r#"{"type":"transcript_final","text":"abc","turn":0,"more":[{"type":"x"}]}"#),
        Frame::text(r#"{"text":"word ","type":"llm_token","turn":0}"#),
        Frame::Binary(Bytes::from_static(b"opus")),
        Frame::text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#),
        Frame::text(r#"{"type":"turn_end","turn":1}"#),
        Frame::text(r#"{"type":"error","code":"overloaded","message":"later","turn":2}"#),
        Frame::text(r#"{"type":"pong"}"#),
        Frame::Pong(Bytes::new()),
    ] {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        ours.read(&frame, &mut a);
        native.read(&frame, &mut b);
        assert_eq!(a, b, "{frame:?}");
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    ours.read(&Frame::text("{\"type\": "), &mut a);
    native.read(&Frame::text("{\"type\": "), &mut b);
    assert!(matches!((&a[..], &b[..]), ([Meaning::Garbage(_)], [Meaning::Garbage(_)])));
}

#[test]
fn a_first_stop_counts_only_after_audio() {
    let mut t = Talk::new("xiaozhi", None, false);
    t.open();
    t.frames.push(Frame::text(r#"{"type":"tts","state":"stop"}"#));
    assert_eq!(t.device_hears(), [], "it belongs to a reply before");
    t.frames.push(Frame::Binary(Bytes::from_static(&[0x4b, 0])));
    t.frames.push(Frame::text(r#"{"type":"tts","state":"stop"}"#));
    assert!(matches!(
        t.device_hears()[..],
        [Meaning::Audio { .. }, Meaning::ReplyDone { interrupted: false, .. }]
    ));
}

#[test]
fn unmatched_frames_are_counted_with_an_example_of_each_shape() {
    let mut t = Talk::new("openai-realtime", None, false);
    for text in [r#"{"type":"new.thing","a":1}"#, r#"{"type":"new.thing","a":2}"#, r#"{"odd":true}"#, "words"]
    {
        t.device.read(&Frame::text(text), &mut t.meanings);
    }
    assert_eq!(t.meanings, [Meaning::Unmatched, Meaning::Unmatched, Meaning::Unmatched, Meaning::Unmatched]);
    assert!(
        t.device
            .complaint()
            .unwrap()
            .contains("no rule matched 4 frames, the first: {\"type\":\"new.thing\"")
    );
    let d = Arc::clone(&t.d);
    drop(t);
    let shapes: Vec<_> = d.tally.shapes().into_iter().map(|u| (u.shape, u.count)).collect();
    assert_eq!(
        shapes,
        [
            ("/type = new.thing {a, type}".to_owned(), 2),
            ("{odd}".to_owned(), 1),
            ("a text that is not JSON".to_owned(), 1)
        ]
    );
    assert_eq!((d.tally.unmatched(), d.tally.connections()), (4, 1));
}

#[test]
fn servers_are_lenient_about_what_devices_add_and_leave_out() {
    let mut t = Talk::new("xiaozhi", None, false);
    for (text, is) in [
        (
            r#"{"type":"hello","version":3,"features":{"mcp":true},"audio_params":{"sampleRate":16000}}"#,
            "Open",
        ),
        (r#"{"session_id":"","type":"listen","state":"start","mode":"manual","extra":1}"#, "TurnStart"),
        (r#"{"type":"listen","state":"detect","text":"hi"}"#, "Ignored"),
        (r#"{"type":"mcp","payload":{}}"#, "Ignored"),
        (r#"{"type":"listen","state":"stop"}"#, "TurnEnd"),
        (r#"{"type":"abort"}"#, "Interrupt"),
        (r#"{"type":"ping"}"#, "Ping"),
        (r#"{"type":"nonsense"}"#, "Garbage"),
        ("not json", "Garbage"),
    ] {
        t.frames.push(Frame::text(text));
        let heard = t.server_hears();
        assert!(format!("{heard:?}").starts_with(&format!("[{is}")), "{text}: {heard:?}");
    }
}

#[test]
fn the_upgrade_says_what_the_file_says() {
    let token = Some(Secret::new("s3cret-token"));
    let given = crate::dialect::Given { token, ..crate::dialect::Given::default() };
    let setup = Arc::new(SessionSetup { given: Arc::new(given), ..SessionSetup::default() });
    let d = Dialect::Described(described("openai-realtime", Choice::default()));
    let connector = crate::dialect::connect::Connector::new(&d, &setup).unwrap();
    let asked = connector.request("/", 0);
    assert_eq!(asked.target, "/v1/realtime?model=gpt-realtime");
    assert_eq!(asked.headers, [("Authorization".to_owned(), "Bearer s3cret-token".to_owned())]);
    assert_eq!(connector.request("/own?model=mine", 0).target, "/own?model=mine");
    let mut server = d.server();
    let handshake = Handshake { target: asked.target, headers: asked.headers };
    let (mut requests, mut frames) = (Vec::new(), Vec::new());
    server.connected("s", &handshake, &mut requests, &mut frames);
    assert!(requests.is_empty() && frames.len() == 1, "the server speaks first");
    // Without a token there is no header.
    let plain = crate::dialect::connect::Connector::new(&d, &Arc::new(SessionSetup::default())).unwrap();
    assert_eq!(plain.request("/", 0).headers, []);
}

fn problems(text: &str) -> String {
    Described::load("mine.toml", text, Choice::default()).map_or_else(|e| e.to_string(), |_| String::new())
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    insta::assert_snapshot!(problems(
        r#"
[dialect]
name = "mine"
kind = "agnet"

[connect]
path = "v1"
headers = { "Bad Name" = "x", Authorization = "Bearer {tokn}" }

[[open]]
expect = "redy"
timeout = "5"

[audio.up]
formats = ["opus/1600"]
header = ["u9=1"]
template = { audio = "nothing" }

[turn]
ends = ["button"]
strat = { type = "start" }

[event.ready]
is = "ready"
when = { type = "ready" }

[event.word]
is = "token"
when = { "/type" = { exist = true } }

[event.audio]
is = "audio"
when = { "/id" = { at_most = "last" } }
audio = "data"
capture = { id = "/id" }
"#
    ));
}

/// Values of another type than the key has.
#[test]
fn wrong_types_are_said_where_they_are() {
    insta::assert_snapshot!(problems(
        r#"
[dialect]
name = "mine"
text = 1

[values]
token = "x"

[frames]
binary = ["json"]

[audio.up]
formats = "pcm16"

[turn]
end = 5
tail_max = 300

[limits]
chunk = ["60ms"]

[event.audio]
is = ["audio"]
when = "binary"
only_after = "sound"

[event.word]
is = "token"
when = { "/type" = 1.5 }
text = 3
capture = "/id"
emit_on = "tokens"
"#
    ));
}

/// What a file says and cannot mean.
#[test]
fn contradictions_are_said() {
    insta::assert_snapshot!(problems(
        r#"
[dialect]
name = "mine"

[connect]
headers = { X-Session = "{session_id}" }

[[open]]
send = { type = "hello", session = "{session_id}" }
timeout = "5s"

[[open]]
expect = "ready"

[audio.up]
header = ["u8=1"]
template = { audio = "{audio}" }

[turn]
tail_max = "3s"
microphone = "open"

[correlate]
as = "number"

[close]
timeout = "1s"

[mode.vad.turn]
end = "never"

[event.ready]
is = "ready"
when = { "/type" = "ready" }
capture = { session_id = "/id" }
text = "/id"

[event.audio]
is = "audio"
when = { frame = "binary" }
interrupted = { "/cut" = true }
"#
    ));
    let event = "[event.final]\nis = \"final\"\nwhen = { \"/a\" = 1 }\n";
    let of = |tables: &str| problems(&format!("[dialect]\nname = \"m\"\n{tables}\n{event}"));
    assert_eq!(of("kind = \"stt\""), "");
    assert!(of("kind = \"stt\"\n[turn]\nquiet = \"1s\"").contains("`turn.quiet` has no effect"));
    let vad = of("[turn]\nends = [\"vad\"]\nmicrophone = \"open\"\ntail_max = \"1s\"");
    assert!(vad.contains("`turn.tail_max` has no effect with `microphone"), "{vad}");
    assert!(
        of("[turn]\nends = \"vad\"\n[mode.signal.turn]\nend = \"x\"").contains("mode `signal` is never used")
    );
    let open = of("[[open]]\nexpect = \"final\"\ncounted = false");
    assert!(open.contains("`open.counted` has no effect without `send`"), "{open}");
    let reply = of("[event.a]\nis = \"ignore\"\nwhen = { text = \"a\" }\nreply_when = \"played\"");
    assert!(reply.contains("`event.a.reply_when` has no effect without `reply`"), "{reply}");
    assert_eq!(of("[variant.a.turn]\nends = \"vad\"\n[mode.vad.turn]\nend = \"x\""), "");
}

/// What a value that nothing has captured yet is.
#[test]
fn a_capture_may_be_optional_before_it_is_there() {
    let file = |hole: &str| {
        format!(
            "[dialect]\nname = \"m\"\n[[open]]\nsend = {{ a = \"{hole}\" }}\n[event.audio]\nis = \"audio\"\n\
             when = {{ frame = \"binary\" }}\n[event.x]\nis = \"ignore\"\nwhen = {{ \"/b\" = 1 }}\ncapture = {{ c = \"/b\" }}\n"
        )
    };
    assert!(problems(&file("{c}")).contains("before it waits for the event"));
    assert_eq!(problems(&file("{c?}")), "");
    assert_eq!(problems(&file("{c|token}")), "");
}

/// What is in an envelope, or in a binary frame of JSON, can be shown.
#[test]
fn the_content_of_frames_can_be_shown() {
    let of = |name| {
        let d = described(name, Choice { vad: true, ..Choice::default() });
        (Device::new(Arc::clone(&d), Arc::default(), 0), Server::new(d))
    };
    for name in ["pipecat", "moshi", "gemini-live"] {
        let (device, mut server) = of(name);
        let mut frames = Vec::new();
        server.write(Answer::Partial { turn: 0, text: "good day".into() }, &mut frames);
        server.write(Answer::Final { turn: 0, text: "good day".into() }, &mut frames);
        let shown: Vec<_> = frames.iter().filter_map(|f| device.content(f)).collect();
        assert!(
            shown.iter().any(|s| s.starts_with('{') && s.contains("good")),
            "{name}: {shown:?} {frames:?}"
        );
        assert_eq!(device.content(&Frame::text("{}")), None, "a text frame shows itself");
        assert_eq!(device.content(&Frame::Binary(Bytes::from_static(b"\xff\xff"))), None, "{name}");
    }
    let (device, _) = of("xiaozhi");
    assert_eq!(device.content(&Frame::Binary(Bytes::from_static(b"{}"))), None);
}

#[test]
fn a_variant_that_is_not_chosen_is_checked_too() {
    let text = "[dialect]\nname = \"m\"\n[event.a]\nis = \"audio\"\nwhen = { frame = \"binary\" }\n";
    assert_eq!(problems(text), "");
    let wrong = problems(&format!("{text}[variant.x.event.a]\nis = \"adio\"\n"));
    assert!(wrong.contains("did you mean `audio`?"), "{wrong}");
    let choice = Choice { variant: Some("y".into()), ..Choice::default() };
    let wrong =
        Described::load("m", &format!("{text}[variant.x.event.a]\nis = \"audio\"\n"), choice).unwrap_err();
    assert!(wrong.to_string().contains("no variant `y`"), "{wrong}");
}

#[test]
fn a_variant_that_could_not_be_chosen_is_refused() {
    for name in ["a+b", "", " a"] {
        let wrong = problems(&format!("[dialect]\nname = \"x\"\n[variant.\"{name}\".dialect]\n"));
        assert!(wrong.contains(&format!("no variant can be called `{name}`")), "{wrong}");
    }
}

#[test]
fn a_dialect_travels_to_another_process() {
    let d =
        Dialect::Described(described("xiaozhi", Choice { variant: Some("v3".into()), ..Choice::default() }));
    let json = serde_json::to_string(&d).unwrap();
    assert_eq!(serde_json::from_str::<Dialect>(&json).unwrap(), d);
    assert_eq!(serde_json::to_string(&Dialect::Plain).unwrap(), r#"{"native":"plain"}"#);
}

#[test]
fn numbers_below_a_captured_one_are_stale() {
    let text = r#"
[dialect]
name = "cut"
[event.cut]
is = "interrupted"
when = { "/type" = "interruption" }
capture = { cut = "/id" }
[event.audio]
is = "audio"
when = { "/type" = "audio" }
audio = "/data"
stale = { "/id" = { at_most = "cut" } }
[event.ping]
is = "ignore"
when = { "/type" = "ping" }
capture = { ping_id = "/n" }
reply = { type = "pong", event_id = "{ping_id}" }
"#;
    let d = Arc::new(Described::load("cut", text, Choice::default()).unwrap());
    let mut device = Device::new(d, Arc::default(), 0);
    let mut out = Vec::new();
    for text in [
        r#"{"type":"audio","id":1,"data":"AAAA"}"#,
        r#"{"type":"interruption","id":2}"#,
        r#"{"type":"audio","id":2,"data":"AAAA"}"#,
        r#"{"type":"audio","id":3,"data":"AAAA"}"#,
        r#"{"type":"ping","n":77}"#,
    ] {
        device.read(&Frame::text(text), &mut out);
    }
    let names: Vec<_> = out
        .iter()
        .map(|m| format!("{m:?}").split([' ', '(']).next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(names, ["Audio", "ReplyDone", "Ignored", "Audio", "Ignored"]);
    let mut replies = Vec::new();
    device.replies(&mut replies);
    assert_eq!(replies, [Frame::text(r#"{"type":"pong","event_id":77}"#)], "the id keeps its type");
    assert_eq!(device.fired(), [1, 3, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that comes from outside panics, on either side, and every frame means something.
    #[test]
    fn anything_may_come(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..40), json in "[\\[\\]{}:,\"a-z/0-9. ]{0,60}") {
        for (name, variant) in [("xiaozhi", Some("v2")), ("openai-realtime", None)] {
            let mut t = Talk::new(name, variant, false);
            for frame in [Frame::text(text.clone()), Frame::text(json.clone()), Frame::Binary(bytes.clone().into())] {
                let before = t.meanings.len();
                t.device.read(&frame, &mut t.meanings);
                prop_assert!(t.meanings.len() > before);
                t.server.read(&frame, &mut t.requests);
            }
        }
    }

    /// Neither does a file.
    #[test]
    fn any_file_is_read_or_refused(at in 0..4_000_usize, insert in "[\\[\\]{}=\"a-z.\n]{0,12}") {
        let text = Described::built_in("xiaozhi").unwrap();
        let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let broken = format!("{}{insert}{}", &text[..at], &text[at..]);
        let _ = Described::load("x.toml", &broken, Choice::default()).map_err(|e| e.to_string());
    }
}

#[test]
fn formats_are_those_of_the_file() {
    let d = described("xiaozhi", Choice::default());
    let up = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
    assert_eq!(d.capabilities().formats[..], [up]);
}
