//! What real servers say, as their documentation and their clients have it, and what it means: the reference server is no witness of
//! that, since it speaks from the same descriptions.

use std::sync::Arc;

use super::{Choice, Described};
use crate::dialect::codec::Envelope;
use crate::dialect::{DeviceDialect, Dialect, Handshake, Meaning, SessionSetup};
use crate::transport::Frame;

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

/// One device of a dialect that hears what real servers say: `>` begins a turn, `<` interrupts the one before, `#` is a binary frame of so many bytes, `=` one with
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
            ("<", _) => {
                device.interrupt(turns - 1, &mut frames);
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
fn servers_of_xiaozhi_start_before_they_speak_stop_twice_and_announce_a_rate_that_is_not_theirs() {
    // What the device said itself; the packets are at 24 kHz all the same, and say how long they are.
    let hello = r#"{"type":"hello","transport":"websocket","session_id":"s","audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}"#;
    let stt = r#"{"type":"stt","text":"why is the sky blue","session_id":"s"}"#;
    let start = r#"{"type":"tts","state":"start","session_id":"s"}"#;
    let emoji = r#"{"type":"llm","text":"🙂","emotion":"happy","session_id":"s"}"#;
    let sentence =
        r#"{"type":"tts","state":"sentence_start","text":"The air scatters the light.","session_id":"s"}"#;
    let ended =
        r#"{"type":"tts","state":"sentence_end","text":"The air scatters the light.","session_id":"s"}"#;
    let stop = r#"{"type":"tts","state":"stop","session_id":"s"}"#;
    let text = "token The air scatters the light.";
    hears(
        "xiaozhi",
        false,
        &[
            (hello, "ready"),
            (r#"{"type":"mcp","payload":{"jsonrpc":"2.0","id":1,"method":"initialize"}}"#, "-"),
            (">", ""),
            (stt, "final why is the sky blue"),
            // Half a second before the first audio.
            (start, "-"),
            (emoji, "-"),
            // A whole sentence at once.
            (sentence, text),
            ("#120", "audio 120"),
            (ended, "-"),
            (stop, "done"),
            (">", ""),
            (stt, "final why is the sky blue"),
            (start, "-"),
            (sentence, text),
            ("#120", "audio 120"),
            ("<", ""),
            (stop, "interrupted"),
            (">", ""),
            (start, "-"),
            // Of the turn that was cancelled, half a second late.
            (stop, "-"),
            (sentence, text),
            ("#120", "audio 120"),
            (stop, "done"),
            // A refused token, after a successful upgrade.
            ("invalid token", "error : invalid token"),
        ],
    );
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
    assert_eq!(frames, [], "a mark waits until what came before it has been played");
    assert_eq!(device.unplayed(), 1);
    device.played(&mut frames);
    let echo = r#"{"event":"mark","sequenceNumber":"2","streamSid":"#;
    let said = |t: &str| t.starts_with(echo) && t.contains(r#""mark":{"name":"end"}"#);
    assert!(matches!(&frames[..], [Frame::Text(t)] if said(t.as_str())), "{frames:?}");
    assert_eq!(device.unplayed(), 0);
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
fn tokens_are_found_where_each_protocol_has_them() {
    let shown = |dialect: &str, header: &str, value: &str| {
        let text = Described::built_in(dialect).unwrap();
        let d = Described::load(dialect, text, Choice::default()).unwrap();
        let headers = vec![(header.to_owned(), value.to_owned())];
        d.token_shown(&Handshake { target: "/".to_owned(), headers })
    };
    for (dialect, header, value) in [
        ("openai-realtime", "authorization", "Bearer k"),
        // As the documentation of Deepgram writes it, and as its client does.
        ("deepgram-listen", "authorization", "token k"),
        ("deepgram-agent", "authorization", "Token k"),
        ("assemblyai", "authorization", "k"),
        ("elevenlabs", "xi-api-key", "k"),
        ("gemini-live", "x-goog-api-key", "k"),
    ] {
        assert_eq!(shown(dialect, header, value).as_deref(), Some("k"), "{dialect}");
    }
    assert_eq!(shown("openai-realtime", "authorization", "Basic k"), None);
    assert_eq!(shown("gemini-live", "authorization", "Bearer k"), None);
    assert_eq!(shown("openai-realtime", "authorization", ""), None);
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
