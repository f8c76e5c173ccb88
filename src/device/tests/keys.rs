//! What each key of a dialect file makes a device do: with the key, and without it.

use super::*;
use crate::dialect::describe::{Choice, Described};

const EVENTS: &str = r#"
[event.sound]
is = "audio"
when = { frame = "binary" }
[event.heard]
is = "speech_stopped"
when = { text = "heard" }
[event.over]
is = "done"
when = { text = "over" }
[event.pong]
is = "pong"
when = { text = "alive" }
[event.bye]
is = "ignore"
when = { text = "bye" }
"#;

/// A world whose device speaks a dialect with these tables.
pub(super) fn world(tables: &str, end: EndOfTurn, change: impl FnOnce(&mut Plan)) -> World {
    let whole = if tables.contains("[event.") { "" } else { EVENTS };
    let file = format!(
        "[dialect]\nname = \"keys\"\n[audio.up]\nformats = [\"pcm16/16000\"]\n[audio.down]\nformats = [\"pcm16/16000\"]\n\
         {tables}{whole}"
    );
    speaks(&file, end, change)
}

pub(super) fn speaks(file: &str, end: EndOfTurn, change: impl FnOnce(&mut Plan)) -> World {
    let choice = Choice { vad: end == EndOfTurn::Vad, ..Choice::default() };
    let described = Described::load("keys.toml", file, choice).unwrap_or_else(|e| panic!("{file}\n{e}"));
    World::new(plan(end, |p| {
        p.dialect = Dialect::from(described);
        change(p);
    }))
}

impl World {
    /// When audio was sent within these times, ms.
    fn audio_sent(&self, from: i64, to: i64) -> Vec<i64> {
        let sent = self.sent.iter().filter(|s| matches!(s.2, Frame::Binary(_)));
        sent.map(|s| s.1.0 / 1_000).filter(|at| (from..to).contains(at)).collect()
    }

    /// When this text was sent, ms.
    fn text_sent(&self, text: &str) -> Vec<i64> {
        self.sent.iter().filter(|s| s.2 == Frame::text(text)).map(|s| s.1.0 / 1_000).collect()
    }

    fn failed(&self) -> Vec<String> {
        let failed = |t: &&TurnRecord| match &t.outcome {
            Outcome::Failed(class, _) => Some(class.to_string()),
            _ => None,
        };
        self.turns().iter().filter_map(failed).collect()
    }
}

// The first turn: t0 at 500 ms, end of speech at 1,450, last chunk of speech at 1,500.

#[test]
fn microphone_open_streams_silence_also_during_replies_and_pauses() {
    for (microphone, during) in [("turn", 0), ("open", 12)] {
        let tables = format!("[turn]\nends = [\"vad\"]\nmicrophone = \"{microphone}\"\n");
        let mut w = world(&tables, EndOfTurn::Vad, |p| p.turn.think = Dist::Constant(ms(1_000)));
        w.says(2_350, text("heard")).says(2_500, loud()).says(2_560, text("over")).until(3_600);
        // The user has spoken from 1,000 to 2,000; the reply is played until 2,560, and the next turn begins at 3,560.
        assert_eq!(w.audio_sent(2_400, 3_600).len(), during, "{microphone}: {:?}", w.audio_sent(0, 4_000));
        assert_eq!(w.only_turn().outcome, Outcome::Succeeded);
    }
}

#[test]
fn tail_max_bounds_the_silence_after_the_speech() {
    for (tail, sent) in [("", 10), ("tail_max = \"300ms\"\n", 3)] {
        let mut w = world(&format!("[turn]\nends = [\"vad\"]\n{tail}"), EndOfTurn::Vad, |_| {});
        w.until(2_550);
        assert_eq!(w.audio_sent(1_550, 2_550).len(), sent, "{tail}");
    }
}

#[test]
fn quiet_ends_a_reply_that_no_message_ends() {
    let reply = |tables: &str| {
        let mut w = world(tables, EndOfTurn::Signal, |_| {});
        w.says(1_700, loud()).says(1_760, loud()).until(5_000);
        let t = w.only_turn().clone();
        (t.outcome, t.ended)
    };
    // It is played until 1,820.
    assert_eq!(reply("[turn]\nquiet = \"400ms\"\n"), (Outcome::Succeeded, ms(2_220)));
    let (outcome, _) = reply("");
    assert!(matches!(outcome, Outcome::Failed(FailureClass::ReplyStalled, _)), "{outcome:?}");
}

#[test]
fn quiet_does_not_end_a_reply_that_has_not_begun() {
    let mut w = world("[turn]\nquiet = \"100ms\"\n", EndOfTurn::Signal, |_| {});
    w.until(4_500);
    assert_eq!(w.failure(), "timeout");
}

#[test]
fn close_says_goodbye_and_waits_for_the_answer_but_not_for_ever() {
    let leaves = |tables: &str, answer: Option<i64>| {
        let mut w = world(tables, EndOfTurn::Signal, |p| p.turn.count = Some(1));
        w.says(1_700, loud()).says(1_760, text("over"));
        if let Some(at) = answer {
            w.says(at, text("bye"));
        }
        w.until(9_000);
        assert!(w.done && w.failed().is_empty());
        let left = w.events.iter().find(|(_, e)| *e == Event::Disconnected).map(|(at, _)| at.0 / 1_000);
        (w.text_sent("leaving"), left.unwrap())
    };
    let (said, left) = leaves("[close]\nsend = \"leaving\"\n", None);
    let goodbye = said[0];
    assert_eq!(left, goodbye, "nothing is waited for");
    let waits = "[close]\nsend = \"leaving\"\nexpect = \"bye\"\ntimeout = \"3s\"\n";
    assert_eq!(leaves(waits, Some(goodbye + 250)), (vec![goodbye], goodbye + 250));
    assert_eq!(leaves(waits, None), (vec![goodbye], goodbye + 3_000));
    // An answer that came before the question is none.
    assert_eq!(leaves("", None).0, [0_i64; 0]);
}

#[test]
fn keep_alive_says_what_the_file_says_and_as_often() {
    let rest = |p: &mut Plan| p.turn.think = Dist::Constant(Micros::from_secs(20));
    let mut w = world("[keep_alive]\nsend = \"alive?\"\nevery = \"700ms\"\n", EndOfTurn::Signal, rest);
    w.says(711, text("alive")).says(1_411, text("alive")).until(2_000);
    assert_eq!(w.text_sent("alive?"), [701, 1_401]);
    assert_eq!(w.count(|e| *e == Event::HeartbeatAnswered { rtt: ms(10) }), 2);
    // Not answered within a second, the connection is dead; where no answer is due it is not.
    let lost = |w: &World| w.count(|e| matches!(e, Event::ConnectionLost { established: true, .. }));
    for (answered, losses) in [("", 1), ("answered = false\n", 0)] {
        let tables = format!("[keep_alive]\nsend = \"alive?\"\nevery = \"700ms\"\n{answered}");
        let mut w = world(&tables, EndOfTurn::Signal, rest);
        w.until(2_000);
        assert_eq!(lost(&w), losses, "{answered}");
    }
    let mut w = world("", EndOfTurn::Signal, rest);
    w.until(2_000);
    assert!(w.sent.is_empty(), "without the table nothing is said: {:?}", w.sent);
    let mut w = world("[keep_alive]\nevery = \"700ms\"\n", EndOfTurn::Signal, rest);
    w.until(1_000);
    assert_eq!(w.sent.iter().map(|s| &s.2).collect::<Vec<_>>(), [&Frame::Ping(Bytes::new())]);
}

#[test]
fn swallow_is_how_long_a_second_end_is_of_the_old_reply() {
    for (swallow, failed) in [("1s", 0), ("100ms", 1)] {
        let tables = format!("[interrupt]\nsend = \"stop\"\nack = \"over\"\nswallow = \"{swallow}\"\n");
        let mut w = world(&tables, EndOfTurn::Signal, |p| {
            p.turn.barge_in = Some(BargeInPlan { share: 1.0, after: Dist::Constant(ms(200)) });
        });
        for _ in 0..10 {
            w.says(1_700, loud());
        }
        // Interrupted at 1,900, acknowledged at 1,950; and again, while the user is still speaking.
        w.says(1_950, text("over")).says(2_300, text("over")).until(2_400);
        assert_eq!(w.text_sent("stop"), [1_900]);
        assert_eq!(w.turns()[0].outcome, Outcome::Interrupted);
        assert_eq!(w.failed().len(), failed, "{swallow}: {:?}", w.failed());
    }
}

#[test]
fn only_after_leaves_out_the_end_of_a_reply_before() {
    for (only_after, stale) in [("", 0), ("only_after = [\"audio\"]\n", 1)] {
        let tables = format!(
            "[event.sound]\nis = \"audio\"\nwhen = {{ frame = \"binary\" }}\n\
             [event.over]\nis = \"done\"\nwhen = {{ text = \"over\" }}\n{only_after}"
        );
        let mut w = world(&tables, EndOfTurn::Signal, |_| {});
        w.says(1_600, text("over")).says(1_700, loud()).says(1_760, text("over")).until(1_800);
        let t = w.turns()[0];
        assert_eq!(t.outcome == Outcome::Succeeded, stale == 1, "{only_after}: {:?}", t.outcome);
    }
}

/// Ids belong to turns in the order in which they come; what still comes with an old one is not the new turn's.
#[test]
fn correlation_by_id_keeps_late_audio_out_of_the_next_turn() {
    let late = |correlate: &str| {
        let tables = format!(
            "{correlate}[event.sound]\nis = \"audio\"\nwhen = {{ \"/pcm\" = {{ nonempty = true }} }}\naudio = \"/pcm\"\n\
             [event.over]\nis = \"done\"\nwhen = {{ \"/over\" = true }}\n"
        );
        let mut w = world(&tables, EndOfTurn::Signal, |_| {});
        let pcm = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pcm(true));
        let sound = |id: &str| text(&format!(r#"{{"pcm":"{pcm}","reply":"{id}"}}"#));
        let over = |id: &str| text(&format!(r#"{{"over":true,"reply":"{id}"}}"#));
        w.says(1_700, sound("a")).says(1_760, over("a"));
        // The second turn begins at 2,260 and its speech ends at 3,210. What is late of the first comes before its own.
        w.says(3_300, sound("a")).says(3_310, over("a"));
        w.says(3_400, sound("b")).says(3_460, over("b")).until(3_600);
        let second = w.turns()[1];
        assert_eq!(second.outcome, Outcome::Succeeded);
        second.ttfa_first_byte().unwrap().0 / 1_000
    };
    assert_eq!(late("[correlate]\nby = \"/reply\"\n"), 190, "its own audio");
    assert_eq!(late(""), 90, "without ids nobody can know");
}

/// `as = "number"`: the id is the turn's number on the connection, whatever came before.
#[test]
fn correlation_by_number_names_the_turn() {
    let first = |as_: &str| {
        let tables = format!(
            "[correlate]\nby = \"/turn\"\n{as_}[event.heard]\nis = \"final\"\nwhen = {{ \"/heard\" = {{ exists = true }} }}\n\
             text = \"/heard\"\n[event.sound]\nis = \"audio\"\nwhen = {{ frame = \"binary\" }}\n"
        );
        let mut w = world(&tables, EndOfTurn::Signal, |_| {});
        // A number of a turn that there never was is an error; an id that is new is the oldest turn's.
        w.says(1_600, text(r#"{"heard":"x","turn":5}"#)).until(1_650);
        w.failed()
    };
    assert_eq!(first("as = \"number\"\n"), ["wrong_turn"]);
    assert_eq!(first(""), [""; 0]);
}

/// Servers that answer every chunk: empty transcripts, growing ones, and finals of a part of what is said.
#[test]
fn a_recogniser_that_answers_every_chunk_is_done_with_its_last_word() {
    let file = "[dialect]\nname = \"keys\"\nkind = \"stt\"\n[audio.up]\nformats = [\"pcm16/16000\"]\n\
        [turn]\nend = \"EOS\"\n\
        [event.partial]\nis = \"partial\"\nwhen = { \"/partial\" = { exists = true } }\ntext = \"/partial\"\n\
        [event.final]\nis = \"final\"\nwhen = { \"/text\" = { exists = true } }\ntext = \"/text\"\n";
    let mut w = speaks(file, EndOfTurn::Signal, |_| {});
    for n in 0..10 {
        let said = match n {
            0..3 => r#"{"partial":""}"#,
            6 => r#"{"text":"one part"}"#,
            7 => r#"{"text":""}"#,
            _ => r#"{"partial":"so far"}"#,
        };
        w.says(610 + 100 * n, text(said));
    }
    // After the last chunk: nothing yet, then the rest.
    w.says(1_520, text(r#"{"text":""}"#)).says(1_600, text(r#"{"text":"and the other"}"#)).until(1_700);
    assert_eq!(w.text_sent("EOS"), [1_500]);
    let t = w.only_turn();
    assert_eq!(t.outcome, Outcome::Succeeded);
    assert_eq!(t.first_partial, Some(ms(910)), "empty transcripts are none");
    assert_eq!((t.final_transcript, t.ended), (Some(ms(1_600)), ms(1_600)));
}

/// `capture` keeps a value with its type, for `reply` and for what is said later; `expect` holds speech back until then.
#[test]
fn what_is_captured_is_said_again() {
    let tables = "[[open]]\nsend = \"hello\"\n[[open]]\nexpect = \"ready\"\n\
        [turn]\nstart = { talk = \"{session_id}\", n = \"{number}\" }\nend = \"stop\"\n\
        [event.ready]\nis = \"ready\"\nwhen = { \"/ready\" = true }\ncapture = { session_id = \"/id\", number = \"/n\" }\n\
        [event.ping]\nis = \"ignore\"\nwhen = { \"/ping\" = { exists = true } }\ncapture = { nonce = \"/ping\" }\n\
        reply = { pong = \"{nonce}\" }\n\
        [event.sound]\nis = \"audio\"\nwhen = { frame = \"binary\" }\n";
    let mut w = world(tables, EndOfTurn::Signal, |_| {});
    w.says(800, text(r#"{"ready":true,"id":"s-1","n":7}"#)).says(900, text(r#"{"ping":-5}"#)).until(1_600);
    assert_eq!(w.text_sent("hello"), [1]);
    assert_eq!(w.text_sent(r#"{"talk":"s-1","n":7}"#), [800], "not before the server is ready");
    assert_eq!(w.text_sent(r#"{"pong":-5}"#), [900]);
    assert_eq!(w.audio_sent(0, 800), [0_i64; 0], "speech waits too");
}

/// As a telephone network echoes marks: each when what came before it has been played, with what it said itself, and all at
/// once when the server drops the rest.
#[test]
fn reply_when_played_waits_for_the_loudspeaker() {
    let marks = |when: &str, cleared: bool| {
        let tables = format!(
            "[turn]\nend = \"stop\"\nquiet = \"2s\"\n\
             [event.mark]\nis = \"ignore\"\nwhen = {{ \"/mark\" = {{ exists = true }} }}\ncapture = {{ mark = \"/mark\" }}\n\
             reply = {{ played = \"{{mark}}\" }}\n{when}\
             [event.sound]\nis = \"audio\"\nwhen = {{ frame = \"binary\" }}\n\
             [event.clear]\nis = \"interrupted\"\nwhen = {{ text = \"clear\" }}\n"
        );
        let mut w = world(&tables, EndOfTurn::Signal, |_| {});
        // A greeting, before anybody has spoken.
        w.says(100, loud()).says(110, loud()).says(120, text(r#"{"mark":"hello"}"#));
        for at in [1_700, 1_701, 1_702] {
            w.says(at, loud());
        }
        w.says(1_703, text(r#"{"mark":"a"}"#)).says(1_704, loud()).says(1_705, text(r#"{"mark":"b"}"#));
        if cleared {
            w.says(1_800, text("clear"));
        }
        w.until(2_100);
        ["hello", "a", "b"].map(|mark| w.text_sent(&format!(r#"{{"played":"{mark}"}}"#)))
    };
    // 60 ms each, played from the first one on.
    let played = "reply_when = \"played\"\n";
    assert_eq!(marks(played, false), [[220], [1_880], [1_940]]);
    assert_eq!(marks(played, true), [[220], [1_800], [1_800]]);
    for at_once in ["", "reply_when = \"read\"\n"] {
        assert_eq!(marks(at_once, false), [[120], [1_703], [1_705]]);
    }
}

#[test]
fn counted_says_from_which_message_on_they_are_numbered() {
    for (counted, number) in [("", 2), ("counted = false\n", 1)] {
        let tables = format!("[[open]]\n{counted}send = \"hello\"\n[[open]]\nsend = {{ n = \"{{seq}}\" }}\n");
        let mut w = world(&tables, EndOfTurn::Signal, |_| {});
        w.until(100);
        assert_eq!(w.text_sent(&format!(r#"{{"n":{number}}}"#)), [1], "{counted}");
    }
}
