use serde_json::json;

use super::*;
use crate::dialect::Dialect;
use crate::reference::testing::{MS, OPUS, PCM, Rig, pcm, tone, world};
use crate::reference::{fault, sound};
use crate::scenario::{Dist, ReferencePlan, Secret};

/// 100 ms recogniser, 200 ms model, 50 ms synthesiser.
fn plan() -> ReferencePlan {
    ReferencePlan {
        stt: Dist::Constant(MS(100)),
        llm: Dist::Constant(MS(200)),
        tts: Dist::Constant(MS(50)),
        ..ReferencePlan::instant()
    }
}

fn faulty(fault: Fault) -> ReferencePlan {
    ReferencePlan { faults: vec![(fault, 1.0)], ..plan() }
}

/// One turn of the `envelope` dialect and what comes of it within ten seconds.
fn one_turn(plan: ReferencePlan) -> (Rig, Vec<Row>) {
    let (world, rows) = world(plan);
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.until(MS(10_000));
    rig.session.gone(MS(10_000));
    let kept = Rig::new(&world);
    drop(std::mem::replace(&mut rig.session, kept.session));
    (rig, rows.try_iter().collect())
}

#[test]
fn a_turn_is_answered_and_logged() {
    let (rig, rows) = one_turn(plan());
    let mut kinds = rig.kinds();
    kinds.dedup();
    assert_eq!(kinds, ["transcript_final", "llm_token", "audio", "turn_end"]);
    assert_eq!((rig.count("llm_token"), rig.count("audio")), (6, 17));
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    // The turn ended at 500 ms: 100 + 200 ms later the first token, two words and 50 ms later the first audio.
    let end = MS(500);
    let expected = Row {
        peer_ip: Some([127, 0, 0, 1].into()),
        peer_port: 40_000,
        session: 0,
        session_turn: 0,
        speech_us: MS(500),
        first_audio_in_us: Some(MS(20)),
        last_audio_in_us: Some(end),
        turn_end_in_us: end,
        speech_stopped_out_us: None,
        final_out_us: Some(end + MS(100)),
        first_token_out_us: Some(end + MS(300)),
        first_audio_out_us: Some(end + MS(350) + Micros(200)),
        first_audible_offset_us: Some(MS(100)),
        // The last of 17 chunks begins after 960 ms of audio, 200 of which went in the burst.
        last_audio_out_us: Some(end + MS(350) + Micros(200) + MS(960 - 200)),
        done_out_us: row.done_out_us,
        stt_us: Some(MS(100)),
        stt_wait_us: Some(MS(0)),
        llm_us: Some(MS(200)),
        llm_wait_us: Some(MS(0)),
        tts_us: Some(MS(50)),
        tts_wait_us: Some(MS(0)),
        interrupted: false,
        fault: String::new(),
        resumed: false,
    };
    let audible = row.first_audible_offset_us.unwrap();
    assert!((audible - MS(100)).0.abs() < 1_000, "{audible:?}");
    let row = Row { first_audible_offset_us: Some(MS(100)), ..row.clone() };
    assert_eq!(row, expected);
    assert!(row.done_out_us >= row.last_audio_out_us);
}

#[test]
fn turns_follow_each_other_with_the_ids_of_the_device() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, false);
    for turn in [0, 1, 5] {
        rig.turn(turn);
        rig.until(rig.now + MS(3_000));
    }
    drop(rig);
    let turns: Vec<_> = rows.try_iter().map(|r| (r.session_turn, r.speech_us)).collect();
    assert_eq!(turns, [(0, MS(500)), (1, MS(500)), (5, MS(500))]);
}

#[test]
fn messages_of_audio_are_logged_when_asked_for() {
    for log_chunks in [false, true] {
        let (world, rows) = world(ReferencePlan { log_chunks, ..plan() });
        let mut rig = Rig::opened(&world, PCM, false);
        let began = rig.now;
        rig.turn(0);
        let chunks = rows.chunks();
        let instants: Vec<_> = chunks.iter().map(|c| (c.session_turn, c.chunk, c.in_us)).collect();
        if log_chunks {
            assert!(instants.len() > 1, "{instants:?}");
            for (n, (turn, chunk, at)) in instants.into_iter().enumerate() {
                assert_eq!((turn, chunk), (0, n as u32));
                assert!((began..=rig.now).contains(&at), "{at:?}");
            }
        } else {
            assert_eq!(instants, []);
        }
    }
}

#[test]
fn plain_sends_the_reply_whole_and_the_log_knows_when() {
    let plan = ReferencePlan { dialect: Dialect::Plain, ..plan() };
    let (world, rows) = world(plan);
    let mut rig = Rig::new(&world);
    rig.speak(MS(500), 0.3);
    rig.send(&Frame::text("end_stream"));
    rig.send(&Frame::text("ping"));
    rig.until(MS(10_000));
    assert_eq!(rig.kinds(), ["text", "transcript", "audio"]);
    let sent = rig.at("audio").unwrap();
    assert!(sent >= MS(850) && sent < MS(870), "not paced: {sent:?}");
    drop(rig);
    let row = rows.try_recv().unwrap();
    assert_eq!(
        (row.first_audio_out_us, row.last_audio_out_us, row.done_out_us),
        (Some(sent), Some(sent), Some(sent))
    );
}

#[test]
fn base64_goes_both_ways() {
    use base64::Engine as _;
    let (world, _rows) = world(plan());
    let mut rig = Rig::new(&world);
    rig.text(&json!({"type": "session_start", "audio": {"up": PCM, "down": PCM, "encoding": "base64"}}));
    for _ in 0..10 {
        let Frame::Binary(payload) = pcm(MS(20), 0.3) else { unreachable!() };
        let audio = base64::engine::general_purpose::STANDARD.encode(payload);
        rig.text(&json!({"type": "audio_chunk", "audio": audio}));
    }
    rig.text(&json!({"type": "audio_end", "turn": 0}));
    rig.until(MS(5_000));
    assert_eq!((rig.count("tts_audio_chunk"), rig.count("audio")), (17, 0));
}

#[test]
fn opus_is_heard_and_spoken() {
    let (world, _rows) = world(plan());
    let mut rig = Rig::opened(&world, OPUS, true);
    let speech: Vec<f32> = [tone(MS(600), 0.3), tone(MS(1_200), 0.0)].concat();
    for c in sound::encode(&speech, 16_000, OPUS, MS(60)).unwrap() {
        rig.until(rig.now + c.media);
        rig.send(&Frame::Binary(c.payload));
    }
    rig.until(MS(6_000));
    let stopped = rig.at("speech_stopped").unwrap();
    assert!(stopped >= MS(1_100) && stopped <= MS(1_180), "{stopped:?}");
    assert!(rig.count("audio") >= 17);
}

#[test]
fn partials_come_while_the_user_speaks() {
    let (world, _rows) = world(ReferencePlan { partials: MS(200), ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    rig.speak(MS(1_000), 0.3);
    assert_eq!(rig.kinds(), ["transcript_partial"; 5]);
    assert_eq!(rig.at("transcript_partial"), Some(MS(200)));
}

#[test]
fn the_server_finds_the_end_of_speech_and_bridges_a_pause() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, true);
    rig.speak(MS(1_000), 0.0);
    rig.speak(MS(400), 0.3);
    rig.speak(MS(300), 0.0);
    rig.speak(MS(400), 0.3);
    rig.speak(MS(2_000), 0.0);
    rig.until(MS(6_000));
    assert_eq!(rig.count("speech_stopped"), 1);
    // Speech ends at 2100 ms; 500 ms of silence later it is noticed.
    assert_eq!(rig.at("speech_stopped"), Some(MS(2_600)));
    assert_eq!(rig.at("transcript_final"), Some(MS(2_700)));
    drop(rig);
    let row = rows.try_recv().unwrap();
    assert_eq!(row.speech_stopped_out_us, Some(MS(2_600)));
    // Noticed 60 ms after its beginning, with the message that holds them.
    assert_eq!((row.first_audio_in_us, row.speech_us), (Some(MS(1_060)), MS(1_060)));
}

#[test]
fn interrupt_stops_the_reply_at_once_and_the_next_turn_is_answered() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.until(MS(1_200));
    assert!(rig.count("audio") > 3);
    rig.written.clear();
    rig.text(&json!({"type": "interrupt", "turn": 0}));
    rig.text(&json!({"type": "interrupt", "turn": 0}));
    rig.until(MS(3_000));
    assert_eq!(rig.kinds(), ["turn_end interrupted"]);
    assert_eq!(rig.at("turn_end interrupted"), Some(MS(1_200)));
    rig.turn(1);
    rig.until(MS(8_000));
    assert_eq!(rig.count("turn_end"), 1);
    drop(rig);
    let cut: Vec<_> = rows.try_iter().map(|r| r.interrupted).collect();
    assert_eq!(cut, [true, false]);
}

#[test]
fn an_interrupt_for_another_turn_is_ignored() {
    let (world, _rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(3);
    rig.until(MS(1_000));
    rig.text(&json!({"type": "interrupt", "turn": 2}));
    rig.until(MS(5_000));
    assert_eq!((rig.count("turn_end"), rig.count("turn_end interrupted")), (1, 0));
}

#[test]
fn an_interrupt_frees_the_slots() {
    let (world, _rows) = world(ReferencePlan { tts_slots: 1, tts_speed: 0.1, ..plan() });
    let (mut first, mut second) = (Rig::opened(&world, PCM, false), Rig::opened(&world, PCM, false));
    first.turn(0);
    second.turn(0);
    first.until(MS(1_000));
    second.until(MS(1_000));
    assert_eq!((first.count("audio") > 0, second.count("audio")), (true, 0));
    first.text(&json!({"type": "interrupt"}));
    second.until(MS(1_100));
    assert_eq!(second.at("audio"), Some(MS(1_050)));
}

#[test]
fn a_session_that_goes_away_frees_its_slots() {
    let (world, _rows) = world(ReferencePlan { stt_slots: 1, ..plan() });
    let (mut first, mut second) = (Rig::opened(&world, PCM, false), Rig::opened(&world, PCM, false));
    first.turn(0);
    second.turn(0);
    drop(first);
    second.until(MS(3_000));
    assert_eq!(second.at("transcript_final"), Some(MS(600)));
}

#[test]
fn a_cough_does_not_stop_the_reply_and_speech_over_it_does() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, true);
    rig.speak(MS(400), 0.3);
    rig.speak(MS(500), 0.0);
    assert_eq!(rig.count("speech_stopped"), 1);
    rig.speak(MS(400), 0.0);
    assert!(rig.count("audio") > 0, "the reply has begun");
    rig.speak(MS(300), 0.3);
    rig.speak(MS(1_500), 0.0);
    assert_eq!((rig.count("turn_end"), rig.count("turn_end interrupted")), (1, 0));
    assert_eq!(rig.count("speech_stopped"), 1, "the cough is no turn");

    rig.written.clear();
    rig.speak(MS(400), 0.3);
    rig.speak(MS(900), 0.0);
    let onset = rig.now;
    rig.speak(MS(800), 0.3);
    assert_eq!(rig.at("turn_end interrupted"), Some(onset + MS(600)));
    rig.speak(MS(600), 0.0);
    assert_eq!(rig.count("speech_stopped"), 2, "what stopped it is the next turn");
    drop(rig);
    let turns: Vec<_> = rows.try_iter().map(|r| (r.session_turn, r.interrupted)).collect();
    assert_eq!(turns, [(0, false), (1, true), (2, false)]);
}

#[test]
fn a_cough_with_a_talk_button_is_ignored() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.until(MS(1_000));
    rig.speak(MS(300), 0.3);
    rig.until(MS(4_000));
    rig.turn(1);
    rig.until(MS(8_000));
    assert_eq!((rig.count("turn_end"), rig.count("turn_end interrupted")), (2, 0));
    drop(rig);
    let speech: Vec<_> = rows.try_iter().map(|r| r.speech_us).collect();
    assert_eq!(speech, [MS(500), MS(500)]);
}

#[test]
fn a_turn_that_ends_over_a_reply_replaces_it() {
    let (world, rows) = world(plan());
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.until(MS(900));
    rig.turn(1);
    rig.until(MS(6_000));
    assert_eq!((rig.count("turn_end interrupted"), rig.count("turn_end")), (1, 1));
    drop(rig);
    let turns: Vec<_> = rows.try_iter().map(|r| (r.interrupted, r.speech_us)).collect();
    assert_eq!(turns, [(true, MS(500)), (false, MS(500))]);
}

#[test]
fn a_slow_reader_holds_the_reply_back() {
    let limit = 8_000;
    let (world, _rows) = world(ReferencePlan { max_backlog: limit, burst: MS(10_000), ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.reads = false;
    rig.until(MS(9_000));
    assert!(rig.session.full());
    // 60 ms of PCM16 at 16 kHz are 1,920 bytes: one message beyond the limit at most.
    assert!(rig.session.queued < limit as usize + 1_920, "{}", rig.session.queued);
    rig.reads = true;
    rig.until(MS(10_000));
    assert_eq!((rig.count("audio"), rig.count("turn_end")), (17, 1));
}

#[test]
fn the_session_must_be_opened_first_and_once() {
    let (world, _rows) = world(plan());
    let mut rig = Rig::new(&world);
    rig.speak(MS(100), 0.3);
    assert_eq!(rig.kinds(), ["error protocol"], "said once");
    let mut rig = Rig::opened(&world, PCM, false);
    rig.text(&json!({"type": "session_start"}));
    rig.text(&json!({"type": "sing"}));
    rig.send(&Frame::text("not json"));
    rig.text(&json!({"type": "ping"}));
    assert_eq!(rig.kinds(), ["error protocol", "error protocol", "error protocol", "pong"]);
}

#[test]
fn a_session_without_the_token_is_refused() {
    let (world, _rows) = world(ReferencePlan { token: Some(Secret::new("open sesame")), ..plan() });
    for (token, answer) in [
        (json!("open sesame"), vec!["session_started"]),
        (json!("guess"), vec!["error auth", "close 4401"]),
        (json!(null), vec!["error auth", "close 4401"]),
    ] {
        let mut rig = Rig::new(&world);
        rig.text(&json!({"type": "session_start", "token": token}));
        rig.text(&json!({"type": "ping"}));
        let kinds = rig.kinds();
        assert_eq!(&kinds[..answer.len()], &answer[..]);
        assert_eq!(kinds.len() > answer.len(), answer.len() == 1, "nothing after the goodbye");
    }
}

#[test]
fn what_is_not_the_agreed_format_is_said_once_a_turn() {
    let (world, _rows) = world(plan());
    let mut rig = Rig::opened(&world, OPUS, false);
    for payload in [&[3_u8, 0][..], &[3, 0, 1]] {
        rig.send(&Frame::Binary(Bytes::copy_from_slice(payload)));
    }
    rig.text(&json!({"type": "audio_end", "turn": 0}));
    rig.until(MS(3_000));
    assert_eq!(rig.kinds(), ["error format_mismatch"]);
    let mut rig = Rig::opened(&world, PCM, false);
    rig.send(&Frame::Binary(Bytes::from_static(b"odd")));
    rig.text(&json!({"type": "audio_end", "turn": 0}));
    rig.text(&json!({"type": "audio_end", "turn": 1}));
    rig.turn(2);
    rig.until(MS(5_000));
    assert_eq!(rig.count("error format_mismatch"), 1);
    assert_eq!((rig.count("error no_audio"), rig.count("turn_end")), (1, 1));
}

#[test]
fn an_impossible_format_is_refused() {
    let (world, _rows) = world(plan());
    let mut rig = Rig::new(&world);
    let odd = json!({"codec": "opus", "sample_rate": 11_025});
    rig.text(&json!({"type": "session_start", "audio": {"up": odd, "down": PCM}}));
    assert_eq!(rig.kinds(), ["error unsupported_format", "close 1003"]);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let (world, _rows) = world(ReferencePlan { idle_timeout: MS(2_000), ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    for _ in 0..4 {
        rig.until(rig.now + MS(1_500));
        rig.text(&json!({"type": "ping"}));
    }
    assert_eq!(rig.kinds(), ["pong"; 4]);
    rig.until(MS(20_000));
    assert_eq!(rig.at("close 1001"), Some(MS(8_000)));
}

#[test]
fn a_device_that_never_reads_again_is_given_up() {
    let (world, _rows) = world(ReferencePlan { idle_timeout: MS(2_000), max_backlog: 5_000, ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.reads = false;
    rig.until(MS(3_400));
    assert!(rig.session.given_up().is_none(), "the goodbye may still be written");
    rig.until(MS(3_600));
    assert_eq!(rig.session.given_up(), Some(&Out::Vanish));
}

#[test]
fn every_fault_of_a_turn() {
    for fault in Fault::ALL {
        let (rig, rows) = one_turn(faulty(fault));
        let mut kinds = rig.kinds();
        kinds.dedup();
        let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
        let begun = ["transcript_final", "llm_token"];
        let expected: Vec<&str> = match fault {
            Fault::RefuseUpgrade | Fault::RefuseAuth => {
                assert!(fault::strikes_connections(fault));
                [&begun[..], &["audio", "turn_end"]].concat()
            }
            Fault::CloseMidReply => [&begun[..], &["audio", "close 1011"]].concat(),
            Fault::ResetMidReply => [&begun[..], &["audio", "reset"]].concat(),
            Fault::Garbage => [&begun[..], &["text", "turn_end"]].concat(),
            Fault::TextForBinary => [&begun[..], &["text", "turn_end"]].concat(),
            Fault::HugeFrame => [&begun[..], &["raw", "vanish"]].concat(),
            Fault::WrongTurn | Fault::WrongFormat | Fault::SilentReply => {
                [&begun[..], &["audio", "turn_end"]].concat()
            }
            Fault::Silence => vec![],
            Fault::StallMidReply => [&begun[..], &["audio"]].concat(),
            Fault::Error => vec!["error overloaded"],
        };
        assert_eq!(kinds, expected, "{fault:?}");
        let logged = if fault::strikes_connections(fault) { "" } else { fault.name() };
        assert_eq!(rows.len(), 1, "{fault:?}");
        assert_eq!(rows[0].fault, logged);
        let audio: Vec<_> = rig
            .written
            .iter()
            .filter_map(|(_, o)| match o {
                Out::Frame(Frame::Binary(b), _) => Some(b.clone()),
                _ => None,
            })
            .collect();
        match fault {
            Fault::CloseMidReply | Fault::ResetMidReply | Fault::StallMidReply => assert_eq!(audio.len(), 8),
            Fault::SilentReply => {
                let loudest = audio
                    .iter()
                    .flat_map(|p| p.chunks(2))
                    .map(|s| i16::from_le_bytes([s[0], s[1]]).abs())
                    .max();
                // The room's own noise at most: far below what counts as audible (−40 dBFS is 328).
                assert!(loudest < Some(200), "{loudest:?}");
                assert_eq!(rows[0].first_audible_offset_us, None);
            }
            Fault::WrongFormat => assert_eq!(audio[0].len() % 2, 1),
            Fault::WrongTurn => assert!(rig.written.iter().all(|(_, o)| match o {
                Out::Frame(Frame::Text(t), _) => t.contains("\"turn\":1000"),
                _ => true,
            })),
            Fault::HugeFrame => {
                let raw = rig.written.iter().find_map(|(_, o)| match o {
                    Out::Raw(b) => Some(b.clone()),
                    _ => None,
                });
                assert_eq!(raw.unwrap()[..10], [0x82, 127, 0, 0, 0, 0, 5, 245, 225, 0]);
            }
            _ => {}
        }
    }
}

#[test]
fn every_fault_of_a_turn_in_plain() {
    for fault in Fault::ALL {
        let (world, _rows) = world(ReferencePlan { dialect: Dialect::Plain, ..faulty(fault) });
        let mut rig = Rig::new(&world);
        rig.speak(MS(500), 0.3);
        rig.send(&Frame::text("end_stream"));
        rig.until(MS(10_000));
        let expected: &[&str] = match fault {
            Fault::CloseMidReply => &["transcript", "close 1011"],
            Fault::ResetMidReply => &["transcript", "reset"],
            Fault::StallMidReply => &["transcript"],
            Fault::Silence => &[],
            Fault::Error => &["error"],
            Fault::HugeFrame => &["transcript", "raw", "vanish"],
            // The reply's end is the binary message, here an empty one.
            Fault::Garbage | Fault::TextForBinary => &["transcript", "text", "audio"],
            _ => &["transcript", "audio"],
        };
        let mut kinds = rig.kinds();
        kinds.dedup();
        assert_eq!(kinds, expected, "{fault:?}");
        if let Some((_, Out::Frame(Frame::Binary(reply), _))) = rig.written.last() {
            let odd = reply.len() % 2 == 1;
            assert_eq!(odd, fault == Fault::WrongFormat, "{fault:?}: {} bytes", reply.len());
        }
    }
}

#[test]
fn faults_reach_base64_audio() {
    for (fault, audio, expected) in [
        (Fault::WrongTurn, "tts_audio_chunk", "\"turn\":1000"),
        (Fault::CloseMidReply, "tts_audio_chunk", "\"turn\":0"),
        (Fault::TextForBinary, "text", ""),
    ] {
        let (world, _rows) = world(faulty(fault));
        let mut rig = Rig::new(&world);
        rig.text(&json!({"type": "session_start", "audio": {"up": PCM, "down": PCM, "encoding": "base64"}}));
        rig.turn(0);
        rig.until(MS(10_000));
        assert!(rig.count(audio) >= 8, "{fault:?}: {:?}", rig.kinds());
        assert_eq!(rig.count("audio"), 0, "{fault:?}");
        let carried = rig.written.iter().filter_map(|(_, out)| match out {
            Out::Frame(Frame::Text(text), _) if text.contains("tts_audio_chunk") => {
                Some(text.contains(expected))
            }
            _ => None,
        });
        assert!(carried.into_iter().all(|c| c), "{fault:?}");
    }
}

#[test]
fn opus_in_the_wrong_format_breaks_rfc_6716() {
    let (world, _rows) = world(faulty(Fault::WrongFormat));
    let set = world.replies.get(OPUS).unwrap();
    for c in &set.wrong[0].chunks {
        assert!(crate::audio::duration(OPUS, &c.payload).is_err());
    }
    for c in &set.replies[0].chunks {
        assert_eq!(crate::audio::duration(OPUS, &c.payload), Ok(c.media));
    }
}

#[test]
fn the_same_seed_draws_the_same() {
    let plan = |seed| ReferencePlan { seed, stt: Dist::LogNormal(MS(100), MS(300)), ..plan() };
    let stt = |seed| one_turn(plan(seed)).1[0].stt_us;
    assert_eq!(stt(1), stt(1));
    assert_ne!(stt(1), stt(2));
}
