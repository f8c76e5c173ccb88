use proptest::prelude::*;
use serde_json::json;

use super::event_stream::EventStream;
use super::msgpack::Moshi;
use super::protobuf::Pipecat;
use super::unmute::Unmute;
use super::vectors::*;
use super::*;

fn binary(hex: &str) -> Frame {
    Frame::Binary(bytes(hex).into())
}

/// What a codec reads in a vector, and that it writes the vector again.
fn both_ways(codec: &mut dyn EnvelopeCodec, hex: &str, value: Value, audio: Option<&[u8]>) {
    let decoded = codec.decode(&binary(hex)).unwrap();
    assert_eq!(decoded, Decoded { value: value.clone(), audio: audio.map(Bytes::copy_from_slice) });
    assert_eq!(codec.encode(&value, audio), Ok(binary(hex)));
}

/// What a codec reads in a vector.
fn reads(codec: &mut dyn EnvelopeCodec, hex: &str, value: Value) {
    assert_eq!(codec.decode(&binary(hex)), Ok(Decoded { value, audio: None }));
}

#[test]
fn names_are_those_of_the_codecs() {
    for envelope in Envelope::ALL {
        assert_eq!(Envelope::from_name(envelope.name()), Some(envelope));
        let ping = envelope.codec(0).decode(&Frame::Ping(Bytes::new()));
        assert_eq!(ping, Ok(Decoded::default()));
    }
    assert_eq!(Envelope::from_name("json"), None);
}

#[test]
fn pipecat_as_googles_protobuf_writes_it() {
    let p = &mut Pipecat;
    both_ways(p, PROTOBUF_TEXT, json!({ "text": { "id": 7, "name": "TextFrame#0", "text": "Grüße" } }), None);
    both_ways(
        p,
        PROTOBUF_AUDIO,
        json!({ "audio": { "id": 1_u64 << 40, "name": "a", "sample_rate": 24_000, "num_channels": 1, "pts": 0 } }),
        Some(&[1, 0, 255, 127]),
    );
    both_ways(
        p,
        PROTOBUF_TRANSCRIPTION,
        json!({ "transcription": {
            "id": 0, "name": "", "text": "hello", "user_id": "u", "timestamp": "2026-01-31T12:00:00Z"
        } }),
        None,
    );
    // The order of keys in the JSON inside is its writer's.
    let rtvi = json!({ "message": { "label": "rtvi-ai", "type": "bot-llm-text", "data": { "text": "Hi" } } });
    reads(p, PROTOBUF_MESSAGE, rtvi.clone());
    let written = p.encode(&rtvi, None).unwrap();
    assert_eq!(p.decode(&written).unwrap().value, rtvi);
    both_ways(p, PROTOBUF_INTERRUPTION, json!({ "interruption": { "id": 3, "name": "" } }), None);
    // A data field that is no JSON.
    both_ways(p, "220c0a0a6e6f74204a534f4e203a", json!({ "message": "not JSON :" }), None);
    // A text in JSON that would be JSON without its quotes.
    both_ways(p, "22050a03223122", json!({ "message": "1" }), None);
}

#[test]
fn pipecat_skips_what_it_does_not_know() {
    let p = &mut Pipecat;
    // In the frame: fields 9 (varint), 10 (64 bits), 11 (bytes), 12 (32 bits); in the text: the same, and `id` as bytes.
    let unknown = "48ac02510102030405060708" // 9, 10
        .to_owned()
        + "5a03010203650a0b0c0d"; // 11, 12
    let inside = format!("{unknown}0a02ffff1a026869");
    let frame = format!("{unknown}0a{:02x}{inside}", inside.len() / 2);
    reads(p, &frame, json!({ "text": { "id": 0, "name": "", "text": "hi" } }));
    reads(p, &unknown, json!({}));
    reads(p, "", json!({}));
}

#[test]
fn pipecat_says_what_is_wrong() {
    let p = &mut Pipecat;
    insta::assert_snapshot!(p.decode(&binary("12ff")).unwrap_err(), @"cut short: 1 bytes announced at byte 2, 0 are there");
    insta::assert_snapshot!(p.decode(&binary("12ffffffff0f00")).unwrap_err(), @"cut short: 4294967295 bytes announced at byte 6, 1 are there");
    insta::assert_snapshot!(p.decode(&binary("0a03120a2a")).unwrap_err(), @"cut short: 10 bytes announced at byte 2, 1 are there");
    insta::assert_snapshot!(p.decode(&binary("0a031a01ff")).unwrap_err(), @"text.text: a text that is not UTF-8, from its byte 0");
    insta::assert_snapshot!(p.decode(&binary("0b")).unwrap_err(), @"wire type 3 before byte 1: not a protobuf frame");
    insta::assert_snapshot!(p.decode(&binary("08ffffffffffffffffffff01")).unwrap_err(), @"a number of more than ten bytes before byte 11");
    insta::assert_snapshot!(p.decode(&Frame::text("{}")).unwrap_err(), @"a text frame; pipecat's protobuf frames are binary");
    insta::assert_snapshot!(p.encode(&json!({ "sound": {} }), None).unwrap_err(), @"no pipecat frame `sound`; expected one of text, audio, transcription, message, interruption");
    insta::assert_snapshot!(p.encode(&json!({ "text": {}, "audio": {} }), None).unwrap_err(), @"a pipecat frame has one key, one of text, audio, transcription, message, interruption; this has 2");
    insta::assert_snapshot!(p.encode(&json!({ "audio": { "rate": 1 } }), None).unwrap_err(), @"no field `rate` in `audio`; it has id, name, sample_rate, num_channels, pts");
    insta::assert_snapshot!(p.encode(&json!({ "audio": { "sample_rate": -1 } }), None).unwrap_err(), @"`audio.sample_rate` is a whole number, 0 or more");
    insta::assert_snapshot!(p.encode(&json!({ "text": {} }), Some(&[0])).unwrap_err(), @"a `text` frame of pipecat carries no audio; `audio` does");
    insta::assert_snapshot!(p.encode(&json!([]), None).unwrap_err(), @"a pipecat frame is a JSON object; this is []");
}

#[test]
fn moshi_as_msgpack_of_python_writes_it() {
    let m = &mut Moshi::new(1);
    let pcm = [0, 0, 0, 0x40, 0, 0x80];
    let decoded = m.decode(&binary(MSGPACK_AUDIO)).unwrap();
    assert_eq!(
        decoded,
        Decoded { value: json!({ "type": "Audio" }), audio: Some(Bytes::copy_from_slice(&pcm)) }
    );
    assert_eq!(m.encode(&decoded.value, Some(&pcm)), Ok(binary(MSGPACK_AUDIO)));
    // `type` after the samples, 64-bit floats, and one integer.
    let decoded = m.decode(&binary(MSGPACK_AUDIO_LAST)).unwrap();
    assert_eq!(decoded.audio, Some(Bytes::from([&pcm[..], &[0xFF, 0x7F]].concat())));
    reads(m, MSGPACK_WORD, json!({ "type": "Word", "text": "hello", "start_time": 1.28 }));
    reads(
        m,
        MSGPACK_STEP,
        json!({ "type": "Step", "step_idx": 70_000, "prs": [0.5, 0.25], "buffered_pcm": 0 }),
    );
    reads(m, MSGPACK_MARKER, json!({ "type": "Marker", "id": -1 }));
    reads(m, MSGPACK_BYTES, json!({ "type": "Other", "data": "AQI=" }));
    reads(m, MSGPACK_EXTENSION, json!([null, null, null]));
    both_ways(
        m,
        MSGPACK_NUMBERS,
        json!([
            0,
            127,
            128,
            255,
            256,
            65_535,
            65_536,
            u32::MAX,
            1_u64 << 32,
            u64::MAX,
            -1,
            -32,
            -33,
            -128,
            -129,
            -32_768,
            -32_769,
            i32::MIN,
            i64::from(i32::MIN) - 1,
            i64::MIN
        ]),
        None,
    );
    let texts = json!(["", "a".repeat(31), "b".repeat(32), "c".repeat(256), null, true, false]);
    both_ways(m, MSGPACK_TEXTS, texts, None);
    // Its text-to-speech: text as it is, and a zero byte for the end.
    assert_eq!(m.decode(&Frame::text("Hi")).unwrap().value, json!({ "type": "Text", "text": "Hi" }));
    both_ways(m, "00", json!(0), None);
}

#[test]
fn moshi_takes_ogg_as_bytes_and_as_numbers() {
    let (mut ours, mut theirs) = (Moshi::new(7), Moshi::new(9));
    let value = json!({ "type": "OggOpus" });
    for packet in [[0x48, 1, 2, 200], [0x48, 3, 4, 255]] {
        let frame = ours.encode(&value, Some(&packet)).unwrap();
        let decoded = theirs.decode(&frame).unwrap();
        assert_eq!((decoded.value, decoded.audio.as_deref()), (value.clone(), Some(&packet[..])));
    }
    let mut pages = ogg::Muxer::new(1, ogg::MONO_24K).push(&[0x48, 5]).unwrap();
    let mut message = bytes("82a474797065a74f67674f707573a464617461c5");
    message.extend((pages.len() as u16).to_be_bytes());
    message.append(&mut pages);
    let decoded = Moshi::new(0).decode(&Frame::Binary(message.into())).unwrap();
    assert_eq!(decoded.audio.as_deref(), Some(&[0x48, 5][..]));
}

#[test]
fn moshi_says_what_is_wrong() {
    let m = &mut Moshi::new(1);
    insta::assert_snapshot!(m.decode(&binary("")).unwrap_err(), @"cut short: 1 bytes announced at byte 0, 0 are there");
    insta::assert_snapshot!(m.decode(&binary("c1")).unwrap_err(), @"byte 0 is 0xC1, which MessagePack never uses");
    insta::assert_snapshot!(m.decode(&binary("ddffffffff")).unwrap_err(), @"cut short: 4294967295 entries announced before byte 5, 0 bytes are left");
    insta::assert_snapshot!(m.decode(&binary("81a161dfffffffff")).unwrap_err(), @"cut short: 4294967295 entries announced before byte 8, 0 bytes are left");
    insta::assert_snapshot!(m.decode(&binary("81c000")).unwrap_err(), @"a key that is neither a text nor an integer before byte 2");
    insta::assert_snapshot!(m.decode(&binary("8001")).unwrap_err(), @"1 bytes after the end of the MessagePack message");
    insta::assert_snapshot!(m.decode(&binary(&"91".repeat(100))).unwrap_err(), @"more than 32 arrays and maps in one another");
    insta::assert_snapshot!(m.decode(&binary("82a474797065a5417564696fa370636da161")).unwrap_err(), @"`pcm` is not an array of numbers");
    insta::assert_snapshot!(m.encode(&json!({ "type": "Word" }), Some(&[0, 0])).unwrap_err(), @"a message `Word` of moshi-server carries no audio; `Audio` and `OggOpus` do");
    insta::assert_snapshot!(m.encode(&json!({ "type": "Audio" }), Some(&[0])).unwrap_err(), @"not PCM16: 1 bytes, an odd number");
    insta::assert_snapshot!(m.encode(&json!({ "type": "OggOpus" }), Some(&[])).unwrap_err(), @"an Opus packet has at least one byte");
}

#[test]
fn event_stream_as_amazons_library_writes_it() {
    let e = &mut EventStream;
    let headers = json!({
        ":content-type": "application/octet-stream", ":event-type": "AudioEvent", ":message-type": "event"
    });
    both_ways(e, EVENT_STREAM_AUDIO, json!({ "headers": headers.clone() }), Some(&[1, 2, 3, 4]));
    both_ways(e, EVENT_STREAM_END, json!({ "headers": headers.clone(), "payload": "" }), None);
    both_ways(
        e,
        EVENT_STREAM_NUMBER,
        json!({ "headers": { "event-type": 40_972 }, "payload": "{'foo':'bar'}" }),
        None,
    );
    let transcript = e.decode(&binary(EVENT_STREAM_TRANSCRIPT)).unwrap().value;
    assert_eq!(transcript["headers"][":event-type"], "TranscriptEvent");
    assert_eq!(transcript["payload"]["Transcript"]["Results"][0]["IsPartial"], true);
    let again = e.encode(&transcript, None).unwrap();
    assert_eq!(e.decode(&again).unwrap().value, transcript);
    // The envelope of clients that sign each message.
    let signed = e.decode(&binary(EVENT_STREAM_SIGNED)).unwrap();
    assert_eq!(signed.value, json!({ "headers": headers.clone() }));
    assert_eq!(signed.audio.as_deref(), Some(&[1, 2, 3, 4][..]));
    // Recorded from Amazon's JavaScript library: 3200 bytes of audio.
    let Ok(Frame::Binary(frame)) = e.encode(&json!({ "headers": headers }), Some(&[0; 3200])) else {
        panic!("no message");
    };
    assert_eq!((frame.len(), &frame[..12]), (3304, &bytes("00000ce8000000586ff44aca")[..]));
    // From Amazon's specification: the empty message.
    both_ways(e, "000000100000000005c248eb7d98c8ff", json!({ "headers": {}, "payload": "" }), None);
    let end = e.decode(&Frame::text(r#"{"message-type":"event","event":"end"}"#)).unwrap().value;
    assert_eq!(end["event"], "end");
}

#[test]
fn exceptions_of_event_streams_are_errors() {
    let error = |hex| EventStream.decode(&binary(hex)).unwrap().value["error"].take();
    assert_eq!(
        error(EVENT_STREAM_EXCEPTION),
        json!({ "code": "BadRequestException", "message": "No audio" })
    );
    assert_eq!(error(EVENT_STREAM_ERROR), json!({ "code": "500", "message": "Oh" }));
    assert_eq!(error(EVENT_STREAM_NUMBER), Value::Null);
}

#[test]
fn event_stream_says_what_is_wrong() {
    let e = &mut EventStream;
    insta::assert_snapshot!(e.decode(&binary("0000")).unwrap_err(), @"cut short: 4 bytes announced at byte 0, 2 are there");
    insta::assert_snapshot!(e.decode(&binary("000000100000000005c248ec7d98c8ff")).unwrap_err(), @"the CRC of the prelude is 05c248eb, and the message says 05c248ec: damaged, or no event-stream message");
    insta::assert_snapshot!(e.decode(&binary("000000100000000005c248eb7d98c8fe")).unwrap_err(), @"the CRC of the message is 7d98c8ff, and the message says 7d98c8fe: damaged, or no event-stream message");
    insta::assert_snapshot!(e.decode(&binary("000000100000000005c248eb7d98c8")).unwrap_err(), @"the message says that it has 16 bytes; the frame has 15");
    // A prelude that is sound, and announces more than there is.
    let mut prelude = [0, 0, 0, 16, 0xFF, 0xFF, 0xFF, 0xFF].to_vec();
    prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
    prelude.extend([0; 4]);
    insta::assert_snapshot!(e.decode(&Frame::Binary(prelude.into())).unwrap_err(), @"headers of 4294967295 bytes in a message of 16");
    insta::assert_snapshot!(e.encode(&json!({ "header": {} }), None).unwrap_err(), @"no `header` in an event-stream message; it has `headers` and `payload`");
    insta::assert_snapshot!(e.encode(&json!({ "headers": { "a": [] } }), None).unwrap_err(), @"header `a` is []; expected a text, a whole number or a bool");
    insta::assert_snapshot!(e.encode(&json!({ "headers": { "a": "b".repeat(40_000) } }), None).unwrap_err(), @"header `a` is longer than 32767 bytes");
    insta::assert_snapshot!(e.encode(&json!({ "payload": "a" }), Some(&[1])).unwrap_err(), @"a payload is either `payload` or audio, not both");
}

#[test]
fn unmute_carries_a_stream_in_both_directions() {
    let (mut client, mut server) = (Unmute::new(1), Unmute::new(2));
    for (from, to, kind) in [
        (&mut client, &mut server, "input_audio_buffer.append"),
        // A second value of each, as the directions are independent.
        (&mut Unmute::new(2), &mut Unmute::new(1), "response.audio.delta"),
    ] {
        let value = json!({ "type": kind, "n": 1 });
        for n in 0..3 {
            let frame = from.encode(&value, Some(&[0x48, n, 9])).unwrap();
            let decoded = to.decode(&frame).unwrap();
            assert_eq!(decoded, Decoded { value: value.clone(), audio: Some(Bytes::from(vec![0x48, n, 9])) });
        }
    }
    // What a server looks at before anything else.
    let Ok(Frame::Text(first)) =
        Unmute::new(1).encode(&json!({ "type": "response.audio.delta" }), Some(&[0x48]))
    else {
        panic!("no text");
    };
    let first: Value = serde_json::from_str(&first).unwrap();
    let page =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, first["delta"].as_str().unwrap());
    assert_eq!(page.unwrap()[5] & 2, 2);
    // A piece of a page is a message without audio.
    let piece = server.decode(&Frame::text(r#"{"type":"response.audio.delta","delta":"T2dnUw=="}"#));
    assert_eq!(piece.unwrap(), Decoded { value: json!({ "type": "response.audio.delta" }), audio: None });
    let other = json!({ "type": "session.updated", "audio": "kept" });
    let frame = client.encode(&other, None).unwrap();
    assert_eq!(server.decode(&frame).unwrap().value, other);
    insta::assert_snapshot!(client.encode(&other, Some(&[0x48])).unwrap_err(), @"this message of Unmute carries no audio; input_audio_buffer.append and response.audio.delta do");
    insta::assert_snapshot!(client.decode(&Frame::text(r#"{"type":"response.audio.delta","delta":"%"}"#)).unwrap_err(), @"`delta` is not base64: Invalid symbol 37, offset 0.");
    insta::assert_snapshot!(client.decode(&Frame::text(r#"{"type":"response.audio.delta","delta":1}"#)).unwrap_err(), @"`delta` is not a base64 text");
    insta::assert_snapshot!(client.decode(&Frame::text(r#"{"type":"response.audio.delta","delta":"QUFB"}"#)).unwrap_err(), @"`delta`: bytes that are not the beginning of an Ogg page");
    insta::assert_snapshot!(client.decode(&Frame::text("{")).unwrap_err(), @"not the expected JSON: EOF while parsing an object at line 1 column 1");
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,40}", inner, 0..20)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn messagepack_holds_all_of_json(value in tree()) {
        let frame = Moshi::new(0).encode(&value, None).unwrap();
        prop_assert_eq!(Moshi::new(0).decode(&frame), Ok(Decoded { value, audio: None }));
    }

    #[test]
    fn audio_comes_back(audio in prop::collection::vec(any::<u8>(), 1..3000), id in any::<u64>()) {
        // One Opus frame of any content; an even number of bytes for PCM.
        let opus = [&[0x48], &audio[..audio.len().min(1275)]].concat();
        let pcm = audio.repeat(2);
        for (envelope, value, audio) in [
            (Envelope::Pipecat, json!({ "audio": { "id": id, "name": "", "sample_rate": 1, "num_channels": 1 } }), &pcm),
            (Envelope::Moshi, json!({ "type": "Audio", "id": id }), &pcm),
            (Envelope::Moshi, json!({ "type": "OggOpus", "id": id }), &opus),
            (Envelope::EventStream, json!({ "headers": { ":content-type": "application/octet-stream" } }), &audio),
            (Envelope::Unmute, json!({ "type": "response.audio.delta", "id": id }), &opus),
        ] {
            let frame = envelope.codec(1).encode(&value, Some(audio)).unwrap();
            let decoded = envelope.codec(2).decode(&frame);
            prop_assert_eq!(decoded, Ok(Decoded { value, audio: Some(Bytes::copy_from_slice(audio)) }));
        }
    }

    #[test]
    fn anything_is_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,100}") {
        for envelope in Envelope::ALL {
            let mut codec = envelope.codec(0);
            let _ = codec.decode(&Frame::Binary(data.clone().into()));
            let _ = codec.decode(&Frame::text(text.clone()));
            let _ = codec.encode(&json!({ "type": "OggOpus", "headers": {} }), Some(&data));
        }
    }

    #[test]
    fn damage_is_never_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0..12_usize) {
        let hex = [
            PROTOBUF_TEXT, PROTOBUF_AUDIO, PROTOBUF_TRANSCRIPTION, PROTOBUF_MESSAGE, MSGPACK_AUDIO, MSGPACK_STEP,
            MSGPACK_NUMBERS, MSGPACK_EXTENSION, EVENT_STREAM_AUDIO, EVENT_STREAM_TRANSCRIPT, EVENT_STREAM_SIGNED,
            EVENT_STREAM_ERROR,
        ];
        let mut data = bytes(hex[which]);
        let at = at.index(data.len());
        let (before, cut) = (data[at], data[..at].to_vec());
        data[at] = byte;
        for envelope in Envelope::ALL {
            let _ = envelope.codec(0).decode(&Frame::Binary(cut.clone().into()));
            let read = envelope.codec(0).decode(&Frame::Binary(data.clone().into()));
            // Amazon's messages notice every byte that changes.
            if envelope == Envelope::EventStream && which >= 8 && before != byte {
                prop_assert!(read.is_err());
            }
        }
    }
}
