//! A device and a scripted server in virtual time.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::watch::Watch;
use super::*;
use crate::audio::{AudioFormat, Chunk, Clip, Codec, CodecSettings};
use crate::device::plan::{Beat, Spoken};
use crate::dialect::{Dialect, Encoding, SessionSetup};
use crate::event::{Backchannel, Outcome};
use crate::scenario::{
    BackchannelPlan, BargeInPlan, Dist, EndOfTurn, Flush, PlaybackPlan, Reconnect, SessionPlan, TurnPlan,
};
use crate::seed::Seed;

mod keys;
mod leave;

pub(crate) const FORMAT: AudioFormat = AudioFormat { codec: Codec::Pcm16, sample_rate: 16_000 };

pub(crate) fn ms(n: i64) -> Micros {
    Micros::from_millis(n)
}

/// An utterance of 1 s in chunks of 100 ms whose last audible sample lies at 950 ms.
fn clip(name: &str, chunks: i64, silence: i64) -> Spoken {
    let chunk =
        |k: i64| Chunk { due: ms(100 * (k + 1)), media: ms(100), payload: Bytes::from(vec![k as u8; 4]) };
    let settings = CodecSettings {
        format: FORMAT,
        bitrate: 0,
        frame: ms(20),
        chunk: ms(100),
        complexity: 0,
        dtx: false,
    };
    let clip = Clip {
        id: name.to_owned(),
        transcript: None,
        settings,
        speech_start: ms(50),
        speech_end: ms(100 * chunks - 50),
        lookahead: Micros::ZERO,
        speech: (0..chunks).map(chunk).collect(),
        silence: (0..silence).map(chunk).collect(),
    };
    Spoken::new(clip, &Dialect::Envelope, Encoding::Binary)
}

pub(crate) fn plan(end: EndOfTurn, change: impl FnOnce(&mut Plan)) -> Arc<Plan> {
    let mut plan = Plan {
        seed: Seed(1),
        dialect: Dialect::Envelope,
        setup: Arc::new(SessionSetup {
            up: FORMAT,
            down: FORMAT,
            encoding: Encoding::Binary,
            vad: end == EndOfTurn::Vad,
            locale: "en-US".to_owned(),
            voice: "default".to_owned(),
            ..SessionSetup::default()
        }),
        utterances: vec![clip("one", 10, if end == EndOfTurn::Vad { 3 } else { 0 })],
        sounds: vec![clip("cough", 2, 0)],
        turn: TurnPlan {
            count: None,
            think: Dist::Constant(ms(500)),
            end,
            flush: Flush::Frame,
            timeout: ms(3_000),
            gap_timeout: ms(2_000),
            barge_in: None,
            backchannel: None,
        },
        session: SessionPlan {
            connect_timeout: ms(1_000),
            keep_alive: None,
            keep_alive_timeout: ms(1_000),
            max_message: 1 << 20,
            reconnect: Reconnect::FullJitter,
            reconnect_base: ms(100),
            reconnect_cap: ms(1_000),
            reconnect_reset: ms(10_000),
            turns: None,
            resume: false,
            offline_limit: ms(5_000),
            locale: "en-US".to_owned(),
            voice: "default".to_owned(),
        },
        faults: [].into(),
        playback: PlaybackPlan { prebuffer: Micros::ZERO, max_stall_ratio: 0.1 },
        warmup: Micros::ZERO,
        // Without spread: the tests know every instant.
        beat: Beat::Spread(Micros::ZERO),
        departures: Micros::ZERO,
    };
    change(&mut plan);
    Arc::new(plan)
}

/// 60 ms of sound, or of silence.
pub(crate) fn pcm(loud: bool) -> Bytes {
    let sample = |i: usize| {
        if !loud {
            0_i16
        } else if i.is_multiple_of(2) {
            8_000
        } else {
            -8_000
        }
    };
    (0..960).flat_map(|i| sample(i).to_le_bytes()).collect()
}

pub(crate) fn loud() -> Frame {
    Frame::Binary(pcm(true))
}

pub(crate) fn text(json: &str) -> Frame {
    Frame::text(json)
}

/// A device, its ear, and everything that it has said and done.
pub(crate) struct World {
    device: Device,
    ear: Ear,
    now: Micros,
    /// Connecting takes this long and ends like this; the last entry stays.
    doors: VecDeque<(Micros, Result<(), FailureClass>)>,
    opening: Option<(Micros, Result<(), FailureClass>)>,
    /// What the server will say, by time.
    script: Vec<(Micros, Frame)>,
    sent: Vec<(Micros, Micros, Frame)>,
    pub(crate) events: Vec<(Micros, Event)>,
    done: bool,
    /// Looks on.
    pub(crate) watch: Watch,
}

impl World {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self {
            watch: Watch::new(Arc::clone(&plan), 0, true),
            device: Device::new(0, plan, Micros::ZERO, Micros::from_secs(60)),
            ear: Ear::new(FORMAT),
            now: Micros::ZERO,
            doors: VecDeque::from([(ms(1), Ok(()))]),
            opening: None,
            script: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            done: false,
        }
    }

    pub(crate) fn says(&mut self, at: i64, frame: Frame) -> &mut Self {
        self.script.push((ms(at), frame));
        self.script.sort_by_key(|(at, _)| *at);
        self
    }

    /// A reply of `n` messages of 60 ms in real time, with a token before and the end right after.
    pub(crate) fn replies(&mut self, at: i64, turn: u32, n: i64) -> &mut Self {
        self.says(at - 10, text(&format!(r#"{{"type":"llm_token","turn":{turn},"text":"Hi"}}"#)));
        for i in 0..n {
            self.says(at + 60 * i, loud());
        }
        self.says(at + 60 * (n - 1), text(&format!(r#"{{"type":"turn_end","turn":{turn}}}"#)))
    }

    fn input(&mut self, input: Input) {
        match &input {
            Input::Frame(frame) => self.watch.received(frame),
            Input::Closed(closed) => self.watch.closed(self.now, closed),
            _ => {}
        }
        self.device.handle(self.now, input, &mut self.ear);
        self.drain();
        assert!(
            self.done || self.device.deadline() > self.now,
            "a deadline that does not go away at {}",
            self.now
        );
    }

    fn drain(&mut self) {
        while let Some(output) = self.device.poll() {
            match output {
                Output::Connect => {
                    let (delay, how) = self.doors[0].clone();
                    if self.doors.len() > 1 {
                        self.doors.pop_front();
                    }
                    self.opening = Some((self.now.saturating_add(delay), how));
                }
                Output::Send(o) => {
                    // A frame is written when the device has settled.
                    self.watch.settled(self.now, &self.device);
                    self.watch.sent(self.now, &o);
                    self.sent.push((o.planned, self.now, o.frame));
                    if let Some(turn) = o.last_of_turn {
                        self.device.handle(self.now, Input::Written(turn), &mut self.ear);
                    }
                }
                Output::Hangup | Output::Goodbye => {
                    self.watch.goodbye();
                    self.opening = None;
                }
                Output::Impair(_) | Output::Abandon => panic!("these worlds have no faults"),
                Output::Event(e) => {
                    self.watch.event(&e);
                    self.events.push((self.now, e));
                }
                Output::Done => self.done = true,
            }
        }
        self.watch.settled(self.now, &self.device);
    }

    /// Plays until `end`, waking the device exactly when it wants to be woken.
    pub(crate) fn until(&mut self, end: i64) -> &mut Self {
        self.until_late(end, Micros::ZERO)
    }

    /// Likewise, but every wake-up comes late.
    pub(crate) fn until_late(&mut self, end: i64, late: Micros) -> &mut Self {
        while !self.done {
            let tick = self.device.deadline().saturating_add(late);
            let said = self.script.first().map_or(Micros::NEVER, |(at, _)| *at);
            let opened = self.opening.as_ref().map_or(Micros::NEVER, |(at, _)| *at);
            let next = tick.min(said).min(opened);
            if next > ms(end) {
                break;
            }
            self.now = self.now.max(next);
            if opened == next {
                let Some((_, how)) = self.opening.take() else { break };
                self.input(match how {
                    Ok(()) => Input::Connected(ConnectTimes::default()),
                    Err(class) => Input::Closed(Closed { class, detail: "scripted".to_owned() }),
                });
            } else if said == next {
                let (_, frame) = self.script.remove(0);
                self.input(Input::Frame(frame));
            } else {
                self.input(Input::Tick);
            }
        }
        self.now = self.now.max(ms(end));
        self
    }

    pub(crate) fn turns(&self) -> Vec<&TurnRecord> {
        self.events
            .iter()
            .filter_map(|(_, e)| if let Event::TurnEnded(t) = e { Some(&**t) } else { None })
            .collect()
    }

    fn only_turn(&self) -> &TurnRecord {
        let turns = self.turns();
        assert_eq!(turns.len(), 1, "{turns:#?}");
        turns[0]
    }

    /// The class of the only turn, which failed.
    fn failure(&self) -> String {
        match &self.only_turn().outcome {
            Outcome::Failed(class, _) => class.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, f: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, e)| f(e)).count()
    }
}

// The first turn: t0 at 500 ms (think), end of speech at 1,450, last chunk and audio_end at 1,500.

#[test]
fn a_turn_is_measured_from_planned_instants() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.replies(1_700, 0, 5).until(3_000);
    let t = w.only_turn();
    assert_eq!(t.outcome, Outcome::Succeeded);
    assert_eq!((t.planned_start, t.end_of_speech), (ms(500), ms(1_450)));
    assert_eq!((t.ttft(), t.ttfa_first_byte(), t.ttfa()), (Some(ms(240)), Some(ms(250)), Some(ms(250))));
    assert_eq!((t.last_send_planned, t.last_send_done), (ms(1_500), Some(ms(1_500))));
    assert_eq!((t.audio_messages, t.tokens, t.reply_media), (5, 1, ms(300)));
    // session_start, ten chunks on their instants, audio_end right behind the last; then the next turn, 500 ms after the
    // reply has been played (1,700 + 300 + 500).
    let planned: Vec<_> = w.sent.iter().map(|s| s.0.0 / 1_000).collect();
    let chunks: Vec<_> = (6..=15).map(|k| k * 100).collect();
    assert_eq!(planned[0], 1);
    assert_eq!(planned[1..11], chunks);
    assert_eq!(planned[11], 1_500);
    assert_eq!(w.sent[11].2, text(r#"{"type":"audio_end","turn":0}"#));
    assert_eq!(planned[12], 2_600);
}

#[test]
fn a_late_device_keeps_its_schedule_and_measures_the_wait() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.replies(2_000, 0, 2).until_late(2_100, ms(130));
    let t = w.only_turn();
    assert_eq!(t.end_of_speech, ms(1_450), "not shifted");
    assert_eq!(t.ttfa(), Some(ms(550)));
    assert_eq!(t.send_delay(), Some(ms(130)));
    let chunk = &w.sent[1];
    assert_eq!((chunk.0, chunk.1), (ms(600), ms(630)), "the turn itself began 130 ms late");
    // Woken late every time, it still sends what has become due in between at once, in order.
    assert!(w.sent.windows(2).all(|p| p[0].0 <= p[1].0));
}

#[test]
fn silence_and_stalls_and_gaps_fail_the_turn() {
    let quiet = || Frame::Binary(pcm(false));
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, quiet()).says(1_760, text(r#"{"type":"turn_end"}"#)).until(1_800);
    assert_eq!(w.failure(), "silent");
    assert_eq!(w.only_turn().ttfa(), None);

    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, loud()).says(2_000, loud()).says(2_010, text(r#"{"type":"turn_end"}"#)).until(2_100);
    assert_eq!(w.failure(), "stalls");
    assert_eq!(w.only_turn().judged.stalled, ms(240));

    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, loud()).until(3_770);
    assert_eq!(w.failure(), "reply_stalled");
    assert_eq!(w.only_turn().ended, ms(3_760), "two seconds after what there was had been played");

    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_600, text(r#"{"type":"llm_token","text":"Hm"}"#)).until(4_460);
    assert_eq!(w.failure(), "timeout");
    assert_eq!(w.only_turn().ended, ms(4_450));
    assert!(w.count(|e| matches!(e, Event::Reconnected { .. })) == 0);
    w.until(4_700);
    assert_eq!(w.count(|e| matches!(e, Event::Reconnected { .. })), 1, "it hung up and came back");
}

#[test]
fn leading_silence_counts_for_the_listener() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, Frame::Binary(pcm(false)));
    w.replies(1_760, 0, 3).until(2_000);
    let t = w.only_turn();
    assert_eq!(t.ttfa_first_byte(), Some(ms(250)));
    let lead = t.lead_silence.unwrap();
    assert!((lead - ms(60)).0.abs() <= 10_000, "{lead}");
    assert_eq!(t.ttfa(), Some(ms(250) + lead));
}

#[test]
fn what_a_server_must_not_send_has_a_class() {
    for (at, frame, class) in [
        (1_700, text("{not json"), "protocol"),
        (1_700, Frame::Binary(Bytes::from_static(b"odd")), "format_mismatch"),
        (1_700, text(r#"{"type":"llm_token","turn":7,"text":"x"}"#), "wrong_turn"),
        (1_700, text(r#"{"type":"turn_end","turn":3}"#), "wrong_turn"),
        (1_000, loud(), "wrong_turn"),
        (1_000, text(r#"{"type":"turn_end","turn":0}"#), "wrong_turn"),
        (1_700, text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#), "protocol"),
        (1_700, text(r#"{"type":"error","code":"auth","message":"no"}"#), "auth"),
        (1_700, text(r#"{"type":"error","code":"Over loaded!","message":"later"}"#), "server_over_loaded_"),
        (1_700, text(r#"{"type":"turn_end","turn":0}"#), "silent"),
    ] {
        let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
        w.says(at, frame.clone()).until(1_900);
        assert_eq!(w.failure(), class, "{frame:?}");
    }
    let mut w = World::new(plan(EndOfTurn::Vad, |_| {}));
    w.says(1_200, loud()).until(1_300);
    assert_eq!(w.failure(), "cut_off");
}

#[test]
fn an_error_message_costs_the_turn_and_not_the_connection() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, text(r#"{"type":"error","turn":0,"code":"overloaded","message":"later"}"#));
    w.replies(3_500, 1, 2).until(3_700);
    let classes: Vec<_> = w.turns().iter().map(|t| t.outcome.clone()).collect();
    assert_eq!(classes[0], Outcome::Failed(FailureClass::Server("overloaded".to_owned()), "later".into()));
    assert_eq!(classes[1], Outcome::Succeeded);
    assert_eq!(w.count(|e| matches!(e, Event::Connecting)), 1);
}

#[test]
fn a_turn_without_a_connection_fails_at_its_own_time() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.doors = VecDeque::from([(ms(1), Err(FailureClass::Refused))]);
    w.until(510);
    let t = w.only_turn();
    assert_eq!((t.planned_start, t.local_port), (ms(500), 0));
    assert!(matches!(&t.outcome, Outcome::Failed(FailureClass::Refused, why) if why.contains("scripted")));
    // The user tries again half a second after having finished speaking to a dead toy.
    w.until(1_960);
    assert_eq!(w.turns()[1].planned_start, ms(500 + 950 + 500));
    let attempts = w.count(|e| matches!(e, Event::Connecting));
    assert!((3..30).contains(&attempts), "{attempts}: backed off");
}

#[test]
fn a_slow_connection_delays_the_speech_and_not_the_clock() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.session.connect_timeout = ms(2_000)));
    w.doors = VecDeque::from([(ms(1_200), Ok(()))]);
    w.replies(1_700, 0, 2).until(1_800);
    let t = w.only_turn();
    assert_eq!((t.planned_start, t.ttfa()), (ms(500), Some(ms(250))));
    let late: Vec<_> = w.sent.iter().filter(|s| s.1 == ms(1_200)).map(|s| s.0.0 / 1_000).collect();
    assert_eq!(late, [1_200, 600, 700, 800, 900, 1_000, 1_100, 1_200], "buffered speech goes at once");

    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.doors = VecDeque::from([(Micros::from_secs(100), Ok(()))]);
    w.until(1_001);
    assert_eq!(w.failure(), "connect_timeout");
}

#[test]
fn a_barge_in_goes_on_speaking_and_times_the_stop() {
    let with_barge_in =
        |p: &mut Plan| p.turn.barge_in = Some(BargeInPlan { share: 1.0, after: Dist::Constant(ms(200)) });
    let mut w = World::new(plan(EndOfTurn::Signal, with_barge_in));
    // A burst of 600 ms at 1,700; the user interrupts at 1,900; the server stops at 1,950.
    for _ in 0..10 {
        w.says(1_700, loud());
    }
    w.says(1_920, loud());
    w.says(1_950, text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#));
    w.says(1_960, loud()); // had been under way
    w.says(1_970, text(r#"{"type":"llm_token","turn":0,"text":"stale"}"#));
    w.until(2_000);
    let t = w.only_turn();
    assert_eq!(t.outcome, Outcome::Interrupted);
    let b = t.barge_in.unwrap();
    assert_eq!(b.planned, ms(1_900));
    assert_eq!(
        (b.last_played, b.last_byte, b.acknowledged),
        (Some(ms(1_950)), Some(ms(1_920)), Some(ms(1_950)))
    );
    assert_eq!(w.count(|e| *e == Event::StaleMessage), 2);
    let interrupt = w.sent.iter().find(|s| s.2 == text(r#"{"type":"interrupt","turn":0}"#)).unwrap();
    assert_eq!(interrupt.0, ms(1_900));
    // The interruption is the next turn: its first chunk is due 100 ms after the onset.
    assert!(w.sent.iter().any(|s| s.0 == ms(2_000) && matches!(s.2, Frame::Binary(_))));
    w.script.clear();
    w.replies(3_100, 1, 2).until(3_200);
    assert_eq!(w.turns()[1].outcome, Outcome::Succeeded);
    assert_eq!(w.turns()[1].planned_start, ms(1_900));

    let mut w = World::new(plan(EndOfTurn::Signal, with_barge_in));
    for _ in 0..10 {
        w.says(1_700, loud());
    }
    w.until(3_950);
    assert_eq!(
        w.turns().len(),
        0,
        "the buffer has been played until 2,300, and the server may take two seconds"
    );
    w.until(4_310);
    assert!(
        matches!(w.turns()[0].outcome, Outcome::Failed(FailureClass::ReplyStalled, _)),
        "{:?}",
        w.turns()[0].outcome
    );
}

#[test]
fn a_voice_without_words_interrupts_nobody() {
    for (end, interruptions) in [(EndOfTurn::Vad, 0), (EndOfTurn::Signal, 1)] {
        let mut w = World::new(plan(end, |p| {
            p.turn.count = Some(1);
            p.turn.barge_in = Some(BargeInPlan { share: 1.0, after: Dist::Constant(ms(100)) });
        }));
        w.replies(1_700, 0, 5).until(5_000);
        let made = w.turns().iter().filter(|t| t.barge_in.is_some()).count();
        assert_eq!((w.turns().len(), made), (1, interruptions), "{end:?}");
        assert!(w.done);
    }
}

#[test]
fn a_cough_must_not_stop_the_reply() {
    let with_cough = |p: &mut Plan| {
        let sounds = vec!["cough".to_owned()];
        p.turn.backchannel = Some(BackchannelPlan { share: 1.0, after: Dist::Constant(ms(100)), sounds });
    };
    let mut w = World::new(plan(EndOfTurn::Signal, with_cough));
    w.replies(1_700, 0, 8).until(2_200);
    let t = w.only_turn();
    assert_eq!(t.outcome, Outcome::Succeeded);
    assert_eq!(t.backchannel, Some(Backchannel { planned: ms(1_800), stopped_reply: false }));
    let coughed: Vec<_> = w.sent.iter().filter(|s| s.0 > ms(1_600) && s.0 < ms(2_200)).map(|s| s.0).collect();
    assert_eq!(coughed, [ms(1_900), ms(2_000)]);

    let mut w = World::new(plan(EndOfTurn::Signal, with_cough));
    w.says(1_700, loud()).says(1_760, loud()).says(1_820, loud());
    w.says(1_870, text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#)).until(1_900);
    assert_eq!(w.failure(), "false_barge_in");
    assert!(w.only_turn().backchannel.unwrap().stopped_reply);
}

#[test]
fn an_open_microphone_streams_silence_until_the_server_has_heard_enough() {
    let mut w = World::new(plan(EndOfTurn::Vad, |_| {}));
    w.says(2_150, text(r#"{"type":"speech_stopped","turn":0}"#)).replies(2_300, 0, 2).until(2_450);
    let audio: Vec<_> =
        w.sent.iter().filter(|s| matches!(s.2, Frame::Binary(_))).map(|s| s.0.0 / 1_000).collect();
    assert_eq!(
        audio,
        (6..=21).map(|k| k * 100).collect::<Vec<_>>(),
        "ten of speech, six of silence, in step"
    );
    let t = w.only_turn();
    assert_eq!(t.endpoint, Some(ms(2_150)));
    assert_eq!(t.last_send_planned, ms(1_500), "the chunk that holds the last audible sample");
    assert_eq!(t.ttfa(), Some(ms(850)));
}

#[test]
fn heartbeats_are_timed_and_missed() {
    let beating = |p: &mut Plan| {
        p.session.keep_alive = Some(ms(700));
        p.turn.think = Dist::Constant(Micros::from_secs(20));
    };
    let mut w = World::new(plan(EndOfTurn::Signal, beating));
    w.says(711, Frame::Pong(Bytes::new())).until(2_450);
    assert_eq!(w.count(|e| *e == Event::HeartbeatAnswered { rtt: ms(10) }), 1);
    // The second, at 1,401, is not answered.
    let lost = |e: &Event| {
        matches!(e, Event::ConnectionLost { class: FailureClass::HeartbeatLost, established: true, .. })
    };
    assert_eq!(w.events.iter().find(|(_, e)| lost(e)).map(|(at, _)| *at), Some(ms(2_401)));
}

#[test]
fn a_device_leaves_when_its_turns_or_its_time_are_over() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.turn.count = Some(1)));
    w.replies(1_700, 0, 2).until(5_000);
    assert!(w.done);
    assert_eq!(w.turns().len(), 1);
    assert_eq!(w.count(|e| *e == Event::Disconnected), 1);

    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.until(1_000);
    w.input(Input::LeaveAt(ms(1_000)));
    w.replies(1_700, 0, 2).until(5_000);
    assert!(w.done, "the turn under way was finished, and no other begun");
    assert_eq!(w.only_turn().outcome, Outcome::Succeeded);
}

#[test]
fn an_abort_tells_what_was_owed() {
    for (at, owed, failed) in
        [(1_000, true, false), (2_000, true, false), (2_500, true, true), (2_500, false, false)]
    {
        let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
        w.until(at);
        w.input(Input::Abort { owed });
        assert!(w.done);
        let outcome = &w.only_turn().outcome;
        assert_eq!(
            matches!(outcome, Outcome::Failed(FailureClass::UnansweredAtStop, _)),
            failed,
            "{at} {owed}"
        );
        assert_eq!(*outcome == Outcome::Cancelled, !failed);
    }
}

#[test]
fn a_reply_that_does_not_end_is_owed_too() {
    // One that has run dry when the run ends, one that has had more than its time, one that is still within it.
    for (audio, until, failed) in [(1, 2_500, true), (400, 7_000, true), (400, 4_000, false)] {
        let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
        for i in 0..audio {
            w.says(1_700 + 10 * i, loud());
        }
        w.until(until);
        w.input(Input::Abort { owed: true });
        let outcome = &w.only_turn().outcome;
        assert_eq!(
            matches!(outcome, Outcome::Failed(FailureClass::UnansweredAtStop, _)),
            failed,
            "{audio}: {outcome:?}"
        );
    }
    // Saying nothing, often, is no sign of life.
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    w.says(1_700, loud());
    for i in 0..10 {
        w.says(1_800 + 400 * i, text(r#"{"type":"llm_token","text":""}"#));
        w.says(1_900 + 400 * i, Frame::Binary(Bytes::new()));
    }
    w.until(4_000);
    assert_eq!(w.failure(), "reply_stalled");
}

#[test]
fn only_what_was_lost_is_found_again() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| p.turn.think = Dist::Constant(ms(3_000))));
    w.doors = VecDeque::from([(ms(1), Err(FailureClass::UpgradeStatus(503))), (ms(1), Ok(()))]);
    w.until(1_000);
    assert_eq!(w.count(|e| matches!(e, Event::Reconnected { .. })), 0, "it had never been connected");
    w.says(3_500, text("garbage")).until(6_000);
    assert_eq!(w.count(|e| matches!(e, Event::Reconnected { .. })), 1);
}

#[test]
fn speech_into_a_device_that_is_coming_back_is_a_failure_of_its_own() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| {
        p.turn.think = Dist::Constant(ms(1));
        p.session.reconnect_base = Micros::from_secs(20);
        p.session.reconnect_cap = Micros::from_secs(20);
        p.session.offline_limit = Micros::ZERO;
    }));
    w.says(1_300, text("garbage")).until(2_300);
    assert_eq!(w.turns().len(), 1, "the user is still speaking");
    w.until(2_302);
    let classes: Vec<_> = w.turns().iter().map(|t| t.outcome.clone()).collect();
    assert!(matches!(&classes[0], Outcome::Failed(FailureClass::Protocol, _)), "{classes:?}");
    let because = "not connected when the user spoke; last failure: hung up after protocol";
    assert!(
        matches!(&classes[1], Outcome::Failed(FailureClass::NotConnected, why) if why.starts_with(because)),
        "{classes:?}"
    );
}

#[test]
fn the_same_seed_draws_the_same_turns() {
    let draws = |seed| {
        let p = plan(EndOfTurn::Signal, |p| {
            p.seed = Seed(seed);
            p.turn.think = Dist::Exponential(ms(1_000));
        });
        (0..20).map(|t| p.draw(3, t)).collect::<Vec<_>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
}

#[test]
fn interruptions_and_coughs_have_their_shares_of_all_turns() {
    let plan = plan(EndOfTurn::Vad, |p| {
        p.turn.barge_in = Some(BargeInPlan { share: 0.6, after: Dist::Constant(ms(100)) });
        let sounds = vec!["cough".to_owned()];
        p.turn.backchannel = Some(BackchannelPlan { share: 0.3, after: Dist::Constant(ms(50)), sounds });
    });
    let draws: Vec<_> = (0..20_000).map(|turn| plan.draw(0, turn)).collect();
    let share = |f: fn(&Draw) -> bool| draws.iter().filter(|d| f(d)).count() as f64 / draws.len() as f64;
    assert!((share(|d| d.barge_in.is_some()) - 0.6).abs() < 0.02);
    assert!((share(|d| d.backchannel.is_some()) - 0.3).abs() < 0.02);
    assert!(draws.iter().all(|d| d.barge_in.is_none() || d.backchannel.is_none()));
}

#[test]
fn a_silence_without_end_is_given_up() {
    let mut w = World::new(plan(EndOfTurn::Signal, |_| {}));
    for n in 0..100 {
        w.says(1_700 + 60 * n, Frame::Binary(pcm(false)));
    }
    w.until(1_700 + 2_999);
    assert_eq!(w.turns().len(), 0, "three seconds are allowed");
    w.until(5_000);
    assert_eq!(w.failure(), "silent");
}

proptest! {
    /// Whatever a server does: turns are accounted for, deadlines go away, and nothing panics.
    #[test]
    fn any_server_is_survived(
        vad in any::<bool>(),
        doors in prop::collection::vec((0_i64..800, any::<bool>()), 1..5),
        script in prop::collection::vec((0_i64..12_000, 0_usize..12), 0..80),
        late in 0_i64..50,
        turns in 0_u32..3,
    ) {
        let end = if vad { EndOfTurn::Vad } else { EndOfTurn::Signal };
        let mut w = World::new(plan(end, |p| {
            p.turn.barge_in = Some(BargeInPlan { share: 0.5, after: Dist::Constant(ms(100)) });
            let sounds = vec!["cough".to_owned()];
            p.turn.backchannel = Some(BackchannelPlan { share: 0.5, after: Dist::Constant(ms(50)), sounds });
            p.session.keep_alive = Some(ms(400));
            p.session.turns = Some(turns).filter(|n| *n > 0);
            p.turn.timeout = ms(900);
            p.turn.gap_timeout = ms(500);
        }));
        w.doors = doors
            .into_iter()
            .map(|(d, ok)| (ms(d), if ok { Ok(()) } else { Err(FailureClass::Refused) }))
            .collect();
        for (at, what) in script {
            let turn = at / 3_000;
            w.says(at, match what {
                0 => text("garbage"),
                1 => Frame::Binary(Bytes::from_static(b"odd")),
                2 => text(r#"{"type":"turn_end"}"#),
                3 => text(&format!(r#"{{"type":"turn_end","turn":{turn},"interrupted":true}}"#)),
                4 => text(&format!(r#"{{"type":"llm_token","turn":{turn},"text":"x"}}"#)),
                5 => text(r#"{"type":"transcript_final","text":"x"}"#),
                6 => text(r#"{"type":"error","code":"x","message":"y"}"#),
                7 => Frame::Pong(Bytes::new()),
                8 => Frame::Binary(pcm(false)),
                _ => loud(),
            });
        }
        w.until_late(11_000, Micros(late * 1_000));
        w.input(Input::LeaveAt(w.now));
        w.until_late(14_000, Micros(late * 1_000));
        if !w.done {
            w.input(Input::Abort { owed: true });
        }
        prop_assert!(w.done);
        let started = w.count(|e| matches!(e, Event::TurnStarted { .. }));
        prop_assert_eq!(started, w.turns().len(), "every turn that began has ended, once");
        let opened = w.count(|e| matches!(e, Event::Connected { .. }));
        let closed = w.count(|e| matches!(e, Event::Disconnected | Event::ConnectionLost { established: true, .. }));
        prop_assert_eq!(opened, closed);
        let numbers: Vec<_> = w.turns().iter().map(|t| t.turn).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), numbers.len());
    }
}
