//! What is told of a device in virtual time, and what its recording holds.

use super::super::tests::{FORMAT, World, loud, ms, pcm, plan, text};
use super::*;
use crate::audio::{Onset, OnsetFinder};
use crate::device::conversation::Stereo;
use crate::scenario::{BargeInPlan, Dist, EndOfTurn};

/// Everything that is told: milestones with their words, frames by direction and kind.
fn told(watch: &mut Watch) -> String {
    watch.finish();
    let mut lines = Vec::new();
    while let Some(Moment { at, turn, what }) = watch.poll() {
        let turn = turn.map_or_else(|| "-".to_owned(), |t| t.to_string());
        let what = match what {
            What::Step(s) => {
                let after = s.after.map_or_else(String::new, |a| format!(" {a}"));
                format!("{}: {}{after} ({})", s.name, s.text, s.detail)
            }
            What::Frame(seen) => {
                let arrow = if seen.ours { "→" } else { "←" };
                match (&seen.frame, &seen.audio) {
                    (_, Some(a)) => {
                        let media = a.media.clone().unwrap();
                        let part = a.part.as_ref();
                        let part =
                            part.map(|p| format!("{:?} {} of {:?} from {}", p.of, p.number, p.total, p.from));
                        format!("{arrow} {media} {}", part.unwrap_or_else(|| "of nothing".to_owned()))
                    }
                    (Some(Frame::Text(text)), None) => format!("{arrow} {} {}", text.as_str(), seen.note),
                    (other, None) => format!("{arrow} {other:?} {}", seen.note),
                }
            }
        };
        lines.push(format!("{:6} {turn} {}", at.0 / 1_000, what.trim_end_matches(" ()").trim_end()));
    }
    lines.join("\n")
}

/// From the first to one past the last sound of a side, in ms, at 16 kHz.
fn sounding(samples: &[f32]) -> (usize, usize) {
    let first = samples.iter().position(|s| *s != 0.0).unwrap();
    let last = samples.iter().rposition(|s| *s != 0.0).unwrap();
    (first / 16, (last + 1) / 16)
}

/// When the first sound of a side is heard.
fn onset(stereo: &Stereo, samples: &[f32]) -> Micros {
    let mut finder = OnsetFinder::new(stereo.rate);
    finder.push(samples);
    let Onset::Found(at) = finder.finish() else { panic!("silence") };
    at
}

#[test]
fn a_turn_is_told_as_it_happens() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.turn.count = Some(1)));
    w.says(10, text(r#"{"type":"session_started","session":"x"}"#));
    w.says(20, text(r#"{"type":"weather"}"#));
    w.says(1_600, text(r#"{"type":"transcript_final","turn":0,"text":"hello"}"#));
    w.replies(1_700, 0, 2).until(3_000);
    insta::assert_snapshot!(told(&mut w.watch), @r#"
   0 - connecting: connecting
   1 - connected: connected (TCP 0 ms · upgrade 0 ms · 1.0 ms in all, port 0)
   1 - → {"type":"session_start","audio":{"down":{"codec":"pcm16","sample_rate":16000},"encoding":"binary","up":{"codec":"pcm16","sample_rate":16000}},"locale":"en-US","voice":"default","device":"0","turn_detection":"client"}
  10 - ← {"type":"session_started","session":"x"}
  10 - session_ready: session ready (9.0 ms after the upgrade)
  20 - ← {"type":"weather"} no consequence: a message type that this dialect does not know
 500 0 speech_starts: turn 0: speech starts (one)
 600 0 → 100 ms Utterance("one") 1 of Some(10) from 0 ms
 700 0 → 100 ms Utterance("one") 2 of Some(10) from 100 ms
 800 0 → 100 ms Utterance("one") 3 of Some(10) from 200 ms
 900 0 → 100 ms Utterance("one") 4 of Some(10) from 300 ms
1000 0 → 100 ms Utterance("one") 5 of Some(10) from 400 ms
1100 0 → 100 ms Utterance("one") 6 of Some(10) from 500 ms
1200 0 → 100 ms Utterance("one") 7 of Some(10) from 600 ms
1300 0 → 100 ms Utterance("one") 8 of Some(10) from 700 ms
1400 0 → 100 ms Utterance("one") 9 of Some(10) from 800 ms
1450 0 end_of_speech: end of speech (latencies count from here)
1500 0 → 100 ms Utterance("one") 10 of Some(10) from 900 ms
1500 - → {"type":"audio_end","turn":0}
1600 0 ← {"type":"transcript_final","turn":0,"text":"hello"}
1600 0 final_transcript: final transcript 150 ms
1690 0 ← {"type":"llm_token","turn":0,"text":"Hi"}
1690 0 first_token: first token 240 ms
1700 0 ← 60.0 ms Reply 1 of None from 0 ms
1700 0 first_audio: first audio 250 ms
1700 0 first_audible: first audible 250 ms (0 ms of leading silence)
1760 0 ← 60.0 ms Reply 2 of None from 60.0 ms
1760 0 ← {"type":"turn_end","turn":0}
1760 0 reply_complete: reply complete 310 ms (120 ms of audio in 2 messages)
1760 0 turn_ended: turn 0: ok
1760 - disconnected: the device hangs up
1760 - → None goodbye, code 1000
1820 0 reply_played: the reply has been played 370 ms
"#);
}

#[test]
fn what_is_heard_is_where_the_record_says() {
    // 60 ms of silence, then sound; the third message comes 90 ms late, at a prebuffer of 20 ms.
    let mut w = World::new(plan(EndOfTurn::Signal, |p| {
        p.turn.count = Some(1);
        p.playback.prebuffer = ms(20);
        p.playback.max_stall_ratio = 1.0;
    }));
    w.says(1_700, Frame::Binary(pcm(false)));
    for at in [1_700, 1_910, 1_911] {
        w.says(at, loud());
    }
    w.says(1_920, text(r#"{"type":"turn_end","turn":0}"#)).until(3_000);
    let record = w.turns()[0].clone();
    assert_eq!(record.outcome, Outcome::Succeeded);
    assert_eq!((record.judged.stalls, record.judged.stalled), (1, ms(70)));
    let stereo = w.watch.conversation().mix().unwrap();
    assert_eq!(stereo.rate, FORMAT.sample_rate);
    let heard = onset(&stereo, &stereo.right);
    assert!((heard - record.judged.first_audible.unwrap()).0.abs() < 1_000, "{heard}");
    assert_eq!(heard.0 / 1_000, 1_780);
    // Sound, the stall from 1,840 to 1,910, and sound until 2,030.
    let silent = |from: usize, to: usize| stereo.right[from * 16..to * 16].iter().all(|&s| s == 0.0);
    let loud = |from: usize, to: usize| stereo.right[from * 16..to * 16].iter().all(|&s| s != 0.0);
    assert!(loud(1_780, 1_840) && silent(1_840, 1_910) && loud(1_910, 2_030));
    assert_eq!(sounding(&stereo.right), (1_780, 2_030));
    let all = told(&mut w.watch);
    assert!(
        all.contains(
            "  1910 0 stall: stall: the loudspeaker had nothing to play for 70.0 ms (at a prebuffer of 20 ms)"
        ),
        "{all}"
    );
    assert!(all.ends_with("  2030 0 reply_played: the reply has been played 580 ms"), "{all}");
}

#[test]
fn what_is_said_is_where_it_was_planned() {
    // Every wake-up comes late; the recording does not.
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.turn.count = Some(1)));
    w.until_late(1_700, ms(37));
    let stereo = w.watch.conversation().mix().unwrap();
    // The clip's chunks of 100 ms hold two samples each, of which the first chunk's are zero: 2, 4, … at 600, 700, …
    let at: Vec<_> =
        stereo.left.iter().enumerate().filter(|(_, s)| **s != 0.0).map(|(i, _)| i / 16).collect();
    let planned: Vec<_> = (6..15).flat_map(|k| [k * 100, k * 100]).collect();
    assert_eq!(at, planned);
}

#[test]
fn an_interrupted_reply_ends_where_the_device_stopped() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| {
        p.turn.barge_in = Some(BargeInPlan { share: 1.0, after: Dist::Constant(ms(200)) });
    }));
    for _ in 0..10 {
        w.says(1_700, loud());
    }
    w.says(1_950, text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#));
    w.says(1_960, loud());
    w.until(2_000);
    let record = w.turns()[0].clone();
    let stopped = record.barge_in.unwrap().last_played.unwrap();
    let stereo = w.watch.conversation().mix().unwrap();
    assert_eq!(sounding(&stereo.right), (1_700, stopped.0 as usize / 1_000));
    let all = told(&mut w.watch);
    insta::assert_snapshot!(all.split_once("\n  1900").map(|(_, rest)| rest).unwrap_or(&all), @r#"
0 barge_in: barge-in (the user speaks over the reply, which should stop)
 1900 1 speech_starts: turn 1: speech starts (one)
 1900 - → {"type":"interrupt","turn":0}
 1950 0 ← {"type":"turn_end","turn":0,"interrupted":true}
 1950 0 playback_stopped: the loudspeaker is silent (50.0 ms after the interruption)
 1950 0 turn_ended: turn 0: interrupted, as planned
 1960 1 ← 60.0 ms of nothing
 1960 - stale_message: dropped (it belongs to a turn that is over)
 2000 1 → 100 ms Utterance("one") 1 of Some(10) from 0 ms
 2850 1 end_of_speech: end of speech (latencies count from here)
"#);
}

#[test]
fn what_goes_wrong_is_told_once() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.turn.count = Some(1)));
    w.says(1_700, loud());
    w.says(1_760, text("what?"));
    w.until(1_800);
    let all = told(&mut w.watch);
    insta::assert_snapshot!(all.split_once("\n  1760").map(|(_, rest)| rest).unwrap_or(&all), @r"
0 ← what? not understood: a text frame that is not the expected JSON: expected value at line 1 column 1
 1760 0 playback_stopped: the loudspeaker is silent (the reply is not whole)
 1760 0 turn_ended: turn 0 failed: protocol: a text frame that is not the expected JSON: expected value at line 1 column 1
 1760 - → None goodbye, code 1000
 1760 - lost: connection lost
");
    assert_eq!(sounding(&w.watch.conversation().mix().unwrap().right), (1_700, 1_760));
}
