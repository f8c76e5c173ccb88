//! What is learned of servers of several kinds, and that it can be used as it is.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audio::Codec;
use crate::dialect::describe::{Choice, Described, Device};
use crate::dialect::{DeviceDialect as _, Meaning};

const FORMAT: AudioFormat = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };

fn known() -> Known {
    Known {
        name: "mine".to_owned(),
        headers: Vec::new(),
        open: Vec::new(),
        start: Vec::new(),
        end: Vec::new(),
        vad: false,
        audio: None,
        up: FORMAT,
        down: FORMAT,
    }
}

/// The user speaks from 100 to 900 ms.
const SPEECH: Speech = Speech { from: Micros::from_millis(100), to: Micros::from_millis(900) };

fn at(ms: i64, frame: Frame) -> Heard {
    Heard { at: Micros::from_millis(ms), frame }
}

fn say(ms: i64, value: Value) -> Heard {
    at(ms, Frame::text(value.to_string()))
}

fn sound(ms: i64) -> Heard {
    at(ms, Frame::Binary(Bytes::from_static(&[1; 640])))
}

/// The file that is learned, and what a device that uses it hears in the same frames.
fn learned(known: &Known, heard: &[Heard]) -> (String, Vec<String>) {
    let kinds = kinds(heard);
    let guesses = guesses(&kinds, heard, &[SPEECH]);
    let file = description(known, &kinds, &guesses, &str::to_owned);
    let described = Described::load("mine.toml", &file, Choice::default());
    let described = described.unwrap_or_else(|e| panic!("{file}\n{e}"));
    let mut device = Device::new(Arc::new(described), Arc::default(), 0);
    let mut meanings = Vec::new();
    heard.iter().for_each(|h| device.read(&h.frame, &mut meanings));
    let name = |m: &Meaning| match m {
        Meaning::Final { text, .. } | Meaning::Partial { text, .. } | Meaning::Token { text, .. } => {
            format!("{}:{text}", format!("{m:?}").split(' ').next().unwrap_or_default())
        }
        other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    };
    (file, meanings.iter().map(name).collect())
}

#[test]
fn a_server_with_words_of_its_own() {
    let heard = [
        say(5, json!({"ev": "welcome", "id": "abc", "rate": 16000})),
        say(1_000, json!({"ev": "you_said", "words": "good day"})),
        say(1_010, json!({"ev": "word", "w": "What "})),
        say(1_020, json!({"ev": "word", "w": "now?"})),
        sound(1_100),
        sound(1_160),
        say(1_200, json!({"ev": "finished"})),
    ];
    let known = Known {
        open: vec![Message::parse(r#"{"cmd": "hello", "rate": null}"#).unwrap()],
        end: vec![Message::parse(r#"{"cmd": "stop"}"#).unwrap()],
        ..known()
    };
    let (file, heard) = learned(&known, &heard);
    assert_eq!(
        heard,
        ["Ready", "Final:good day", "Token:What ", "Token:now?", "Audio", "Audio", "ReplyDone"],
        "{file}"
    );
    insta::assert_snapshot!(file);
}

#[test]
fn base64_and_texts_deep_inside() {
    let pcm = BASE64.encode([7; 480]);
    let heard = [
        say(1, json!({"kind": "hi", "call": "c-77"})),
        say(2, json!({"kind": "ping", "nonce": 5})),
        say(1_000, json!({"kind": "transcript", "final": true, "transcript": {"text": "hello"}})),
        say(1_001, json!({"kind": "llm", "data": {"delta": "What"}, "reply": "r1"})),
        say(1_002, json!({"kind": "llm", "data": {"delta": "?"}, "reply": "r1"})),
        say(1_003, json!({"kind": "speaker", "seq": 0, "pcm": pcm, "reply": "r1"})),
        say(1_004, json!({"kind": "speaker", "seq": 1, "pcm": pcm, "reply": "r1"})),
        say(1_005, json!({"kind": "over", "reply": "r1"})),
    ];
    let known = Known { audio: Some(Message::parse(r#"{"pcm":"{audio}"}"#).unwrap()), ..known() };
    let (file, heard) = learned(&known, &heard);
    let expected =
        ["Ready", "Ignored", "Final:hello", "Token:What", "Token:?", "Audio", "Audio", "ReplyDone"];
    assert_eq!(heard, expected, "{file}");
}

#[test]
fn events_by_number_and_by_position() {
    let heard = [
        say(1_000, json!({"id": 20, "d": "you spoke"})),
        say(1_001, json!({"id": 30, "d": "I "})),
        say(1_002, json!({"id": 30, "d": "see."})),
        sound(1_100),
        say(1_200, json!({"id": 40})),
    ];
    let (file, heard) = learned(&known(), &heard);
    assert_eq!(heard, ["Final:you spoke", "Token:I ", "Token:see.", "Audio", "ReplyDone"], "{file}");
}

#[test]
fn messages_without_a_word_are_told_apart_by_their_fields() {
    let heard = [
        say(200, json!({"partial": ""})),
        say(300, json!({"partial": "so"})),
        say(1_000, json!({"text": "so far", "confidence": 0.5})),
    ];
    let (file, heard) = learned(&known(), &heard);
    assert_eq!(heard, ["Ignored", "Partial:so", "Final:so far"], "{file}");
    assert!(file.contains("kind = \"stt\""), "{file}");
    let heard = [
        say(1_000, json!({"transcript": "yes"})),
        say(1_001, json!({"token": "No."})),
        sound(1_002),
        say(1_003, json!({"done": true})),
    ];
    let (file, heard) = learned(&known(), &heard);
    assert_eq!(heard, ["Final:yes", "Token:No.", "Audio", "ReplyDone"], "{file}");
}

#[test]
fn a_server_without_json() {
    let heard = [at(1_000, Frame::text("you said something")), sound(1_100), at(1_200, Frame::text("END"))];
    let known = Known { end: vec![Message::parse("hex:").unwrap()], ..known() };
    let (file, heard) = learned(&known, &heard);
    assert_eq!(heard, ["Final:you said something", "Audio", "ReplyDone"], "{file}");
}

#[test]
fn a_second_word_and_a_flag_tell_messages_apart() {
    let heard = [
        say(300, json!({"type": "result", "is_final": false, "transcript": "so"})),
        say(1_000, json!({"type": "result", "is_final": true, "transcript": "so far"})),
        say(1_010, json!({"type": "tts", "state": "start"})),
        sound(1_020),
        say(1_030, json!({"type": "tts", "state": "stop"})),
    ];
    let (file, heard) = learned(&known(), &heard);
    assert_eq!(heard, ["Partial:so", "Final:so far", "Ignored", "Audio", "ReplyDone"], "{file}");
}

#[test]
fn a_reply_without_an_end_is_over_when_nothing_comes() {
    let (file, _) = learned(&known(), &[sound(1_000), sound(1_100)]);
    assert!(file.contains("quiet = \"1s\"") && !file.contains("is = \"done\""), "{file}");
    let (file, _) = learned(&known(), &[sound(1_000), say(1_100, json!({"type": "end"}))]);
    assert!(!file.contains("quiet"), "{file}");
}

#[test]
fn json_in_binary_frames() {
    let json = |ms, value: Value| at(ms, Frame::Binary(value.to_string().into()));
    let heard = [
        json(1, json!({"type": "hello"})),
        json(1_000, json!({"type": "final_transcript", "text": "a"})),
        sound(1_100),
        json(1_200, json!({"type": "done"})),
    ];
    let (file, heard) = learned(&known(), &heard);
    assert_eq!(heard, ["Ready", "Final:a", "Audio", "ReplyDone"], "{file}");
}

#[test]
fn a_file_that_is_there_is_kept_and_continued() {
    let heard = [say(1_000, json!({"type": "mood", "text": "glad"})), say(1_001, json!({"type": "mood.2"}))];
    let kinds = kinds(&heard);
    let guesses = guesses(&kinds, &heard, &[SPEECH]);
    let start = "[dialect]\nname = \"m\"\n[event.mood]\nis = \"audio\"\nwhen = { frame = \"binary\" }\n";
    let file = appended(start, &kinds, &guesses, &str::to_owned);
    assert!(file.starts_with(start.trim_end()), "{file}");
    assert!(file.contains("[event.mood_2]") && file.contains("[event.mood_2_2]"), "{file}");
    Described::load("m.toml", &file, Choice::default()).unwrap_or_else(|e| panic!("{file}\n{e}"));
}

#[test]
fn what_is_said_is_written_as_it_was_given() {
    let written = |text: &str| Message::parse(text).map(|m| m.as_toml().to_owned());
    assert_eq!(written("END").unwrap(), "\"END\"");
    assert_eq!(written("hex:00fF").unwrap(), "{ \"$hex\" = \"00fF\" }");
    assert_eq!(written("hex:").unwrap(), "{ \"$binary\" = \"\" }");
    let json = r#"{"a b": null, "list": [1, true, {"x": "{token}"}]}"#;
    assert_eq!(
        written(json).unwrap(),
        r#"{ "a b" = { "$null" = true }, list = [1, true, { x = "{token}" }] }"#
    );
    assert!(written("hex:0").unwrap_err().contains("two digits"), "half a byte");
    assert!(written("{\"a\":").unwrap_err().contains("not valid JSON"));
    assert!(written("").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever comes, what is written is a description.
    #[test]
    fn anything_can_be_learned_from(
        texts in prop::collection::vec("\\PC{0,20}", 0..4),
        words in prop::collection::vec(("(type|a/b|é|\")", "[a-z.\"\\\\{ ]{0,9}", any::<bool>()), 0..6),
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..3),
    ) {
        let texts = texts.into_iter().map(Frame::text);
        let words = words.into_iter().map(|(k, v, b)| Frame::text(json!({k: v, "b": b}).to_string()));
        let bytes = bytes.into_iter().map(|b| Frame::Binary(b.into()));
        let frames = texts.chain(words).chain(bytes).enumerate();
        let heard: Vec<Heard> = frames.map(|(n, frame)| at(n as i64 * 100, frame)).collect();
        learned(&known(), &heard);
    }
}
