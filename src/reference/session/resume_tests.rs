//! Lost connections, and what becomes of their sessions.

use serde_json::json;

use super::*;
use crate::reference::testing::{MS, OPUS, PCM, Rig, pcm, world};
use crate::reference::timetable::Conditions;
use crate::scenario::{Dist, ReferencePlan, ResumeReply};
use crate::seed::Seed;

/// 100 ms recogniser, 200 ms model, 50 ms synthesiser; sessions are kept for 30 s.
fn plan() -> ReferencePlan {
    ReferencePlan {
        stt: Dist::Constant(MS(100)),
        llm: Dist::Constant(MS(200)),
        tts: Dist::Constant(MS(50)),
        resume: MS(30_000),
        ..ReferencePlan::instant()
    }
}

fn with(resume_reply: ResumeReply) -> ReferencePlan {
    ReferencePlan { resume_reply, ..plan() }
}

fn name(world: &Rc<World>, rig: &Rig) -> String {
    world.sessions.name(rig.session.number)
}

/// What the keeper of a server does, until `end`.
fn keep(world: &Rc<World>, from: Micros, end: Micros) {
    let mut now = from;
    loop {
        world.sessions.on_time(now, Waker::noop(), &world.truth);
        let next = world.sessions.deadline();
        if next > end {
            return;
        }
        now = now.max(next);
    }
}

/// Payload bytes of audio.
fn audio(rig: &Rig) -> Vec<u8> {
    let binary = rig.written.iter().filter_map(|(_, out)| match out {
        Out::Frame(Frame::Binary(b), _) => Some(b.to_vec()),
        _ => None,
    });
    binary.flatten().collect()
}

/// A reply whose connection is lost after a while, and what comes on the next one, 2 s later.
fn interrupted(plan: ReferencePlan) -> (Rig, Rig, Vec<Row>) {
    let (world, rows) = world(plan);
    let mut first = Rig::opened(&world, PCM, false);
    first.turn(0);
    first.until(MS(1_200));
    let name = name(&world, &first);
    first.lose();
    assert_eq!(rows.try_iter().count(), 0, "the turn is not over");
    let mut second = Rig::resumed(&world, MS(3_200), &name);
    second.until(MS(10_000));
    second.lose();
    let mut third = Rig::resumed(&world, MS(10_000), &name);
    assert_eq!(third.kinds(), ["session_started resumed"], "nothing is owed any more");
    third.turn(1);
    third.until(MS(20_000));
    assert_eq!(third.count("turn_end"), 1, "the next turn is a turn like any other");
    third.session.on_goodbye(Some(1000));
    third.lose();
    assert_eq!(world.sessions.held().1, 0);
    (first, second, rows.try_iter().collect())
}

#[test]
fn a_reply_goes_on_with_what_had_not_been_written() {
    let (first, second, rows) = interrupted(with(ResumeReply::Continue));
    let (before, after) = (first.count("audio"), second.count("audio"));
    assert!(before > 3 && after > 3, "{before}, {after}");
    assert_eq!(before + after, 17);
    assert_eq!((second.count("turn_end"), second.count("transcript_final")), (1, 0));
    // A burst of 200 ms (four messages begin in it), then real time.
    let audio: Vec<_> =
        second.written.iter().filter(|(_, o)| matches!(o, Out::Frame(Frame::Binary(_), _))).collect();
    let at_once = audio.iter().filter(|(at, _)| *at == MS(3_200)).count();
    assert_eq!(at_once, 4, "{at_once}");
    assert_eq!(audio[4].0, MS(3_200) + MS(40));
    let turns: Vec<_> = rows.iter().map(|r| (r.session, r.session_turn, r.resumed, r.interrupted)).collect();
    assert_eq!(turns, [(0, 0, true, false), (0, 1, false, false)]);
    assert!(rows[0].first_audio_out_us < Some(MS(1_200)) && rows[0].done_out_us > Some(MS(3_200)));
}

#[test]
fn a_reply_is_said_again_from_its_start() {
    let (first, second, rows) = interrupted(with(ResumeReply::Replay));
    assert!(first.count("audio") > 3);
    let count = |what| second.count(what);
    assert_eq!(
        (count("transcript_final"), count("llm_token"), count("audio"), count("turn_end")),
        (1, 6, 17, 1)
    );
    assert!(audio(&second).starts_with(&audio(&first)), "the same words");
    assert_eq!(rows.len(), 2, "one turn of it, and the next");
    assert!(rows[0].resumed && rows[0].first_audio_out_us < Some(MS(1_200)));
}

#[test]
fn a_reply_is_dropped_and_its_turn_ended() {
    let (_, second, rows) = interrupted(with(ResumeReply::Drop));
    assert_eq!(second.kinds(), ["session_started resumed", "turn_end interrupted"]);
    assert!(rows[0].resumed && rows[0].interrupted);
}

#[test]
fn what_was_said_and_never_written_is_said_again() {
    for waits in [MS(600), MS(1_000), MS(9_000)] {
        let (world, _rows) = world(plan());
        let mut first = Rig::opened(&world, PCM, false);
        first.turn(0);
        first.reads = false;
        first.until(waits);
        assert!(first.written.len() < 3, "the socket takes nothing");
        let name = name(&world, &first);
        first.lose();
        let mut second = Rig::resumed(&world, MS(9_000), &name);
        second.until(MS(20_000));
        let count = |what| second.count(what);
        assert_eq!((count("llm_token"), count("audio"), count("turn_end")), (6, 17, 1), "{waits:?}");
    }
}

#[test]
fn only_the_end_of_a_reply_may_be_missing() {
    let (world, rows) = world(plan());
    let mut first = Rig::opened(&world, PCM, false);
    first.turn(0);
    while first.count("audio") < 16 {
        first.until(first.now + MS(1));
    }
    first.reads = false;
    first.until(MS(5_000));
    while let Some(Out::Frame(frame, mark)) = first.session.next_out() {
        if matches!(frame, Frame::Binary(_)) {
            first.session.written(first.now, mark);
        }
    }
    let name = name(&world, &first);
    first.lose();
    let mut second = Rig::resumed(&world, MS(6_000), &name);
    second.until(MS(7_000));
    assert_eq!(second.kinds(), ["session_started resumed", "turn_end"]);
    assert_eq!(rows.try_iter().count(), 1);
}

#[test]
fn speech_before_and_after_the_loss_is_one_turn() {
    for vad in [false, true] {
        let (world, rows) = world(plan());
        let mut first = Rig::opened(&world, PCM, vad);
        first.speak(MS(300), 0.3);
        let name = name(&world, &first);
        first.lose();
        let mut second = Rig::later(&world, MS(2_000));
        let turn_detection = if vad { "server" } else { "client" };
        second.text(&json!({"type": "session_start", "resume": name, "turn_detection": turn_detection,
            "audio": {"up": PCM, "down": PCM}}));
        second.speak(MS(200), 0.3);
        if vad {
            second.speak(MS(1_000), 0.0);
        } else {
            second.text(&json!({"type": "audio_end", "turn": 0}));
        }
        second.until(MS(9_000));
        let row = rows.try_recv().unwrap();
        // Detected, it begins with the message in which it is noticed: the third.
        let missed = if vad { MS(40) } else { MS(0) };
        assert_eq!((row.speech_us, row.resumed), (MS(500) - missed, true), "vad: {vad}");
        assert_eq!(row.first_audio_in_us, Some(MS(20) + missed));
    }
}

#[test]
fn who_says_goodbye_or_asks_for_something_else_gets_a_new_session() {
    let fresh =
        |plan: ReferencePlan, goodbye: Option<Option<u16>>, ask: &dyn Fn(&str) -> serde_json::Value| {
            let (world, _rows) = world(plan);
            let mut first = Rig::opened(&world, PCM, false);
            let name = name(&world, &first);
            if let Some(code) = goodbye {
                first.session.on_goodbye(code);
            }
            first.until(MS(100));
            first.lose();
            let mut second = Rig::later(&world, MS(200));
            second.text(&ask(&name));
            assert!(second.session.talk.is_some());
            second.kinds().concat() == "session_started"
        };
    let formats = json!({"up": PCM, "down": PCM});
    let same = |name: &str| json!({"type": "session_start", "resume": name, "audio": formats});
    assert!(!fresh(plan(), None, &same));
    assert!(!fresh(plan(), Some(Some(1011)), &same), "that is no goodbye");
    for code in [None, Some(1000), Some(1001)] {
        assert!(fresh(plan(), Some(code), &same), "{code:?}");
    }
    assert!(fresh(ReferencePlan { resume: MS(0), ..plan() }, None, &same));
    for wrong in ["s0", "", "s0-0000000000000000", "s1-x", "s99999999999999999999-1", "ß"] {
        assert!(
            fresh(plan(), None, &|_| json!({"type": "session_start", "resume": wrong, "audio": formats})),
            "{wrong}"
        );
    }
    let other = json!({"up": OPUS, "down": PCM});
    assert!(fresh(plan(), None, &|n| json!({"type": "session_start", "resume": n, "audio": other})));
    assert!(fresh(
        plan(),
        None,
        &|n| json!({"type": "session_start", "resume": n, "audio": formats, "turn_detection": "server"})
    ));
}

#[test]
fn names_are_different_and_show_who_gave_them() {
    let (world, _rows) = world(plan());
    let (a, b) = (world.sessions.name(7), world.sessions.name(8));
    assert!(a.starts_with("s7-") && a.len() == "s7-0123456789abcdef".len(), "{a}");
    assert_ne!(a[3..], b[3..]);
}

#[test]
fn the_token_is_asked_for_again() {
    let (world, _rows) =
        world(ReferencePlan { token: Some(crate::scenario::Secret::new("sesame")), ..plan() });
    let mut first = Rig::later(&world, MS(0));
    first.text(&json!({"type": "session_start", "token": "sesame"}));
    let name = name(&world, &first);
    first.lose();
    let mut second = Rig::later(&world, MS(100));
    second.text(&json!({"type": "session_start", "resume": name}));
    assert_eq!(second.kinds(), ["error auth", "close 4401"]);
    let mut third = Rig::later(&world, MS(200));
    third.text(&json!({"type": "session_start", "resume": name, "token": "sesame"}));
    assert_eq!(third.kinds(), ["session_started resumed"]);
}

#[test]
fn a_device_that_comes_back_before_its_old_connection_is_missed_takes_the_session_over() {
    let (world, _rows) = world(plan());
    let mut old = Rig::opened(&world, PCM, false);
    old.turn(0);
    old.until(MS(1_200));
    let name = name(&world, &old);
    let mut new = Rig::resumed(&world, MS(1_200), &name);
    assert_eq!(new.kinds(), [""; 0], "it waits");
    assert!(new.session.full(), "and reads nothing meanwhile");
    old.until(MS(1_210));
    assert_eq!(old.kinds().last().unwrap(), "vanish");
    new.until(MS(9_000));
    assert_eq!(new.kinds()[0], "session_started resumed");
    assert_eq!(old.count("audio") + new.count("audio"), 17);
    drop(old);
    new.lose();
    assert_eq!(world.sessions.held(), (0, 1));
}

#[test]
fn nobody_waits_for_last_words_that_are_not_read() {
    let (world, _rows) = world(plan());
    let mut old = Rig::opened(&world, PCM, false);
    old.turn(0);
    old.reads = false;
    old.until(MS(1_200));
    let name = name(&world, &old);
    world.sessions.strike(0, 1.0, Order::Close(1012));
    old.until(MS(1_210));
    assert_eq!(old.session.given_up(), None, "the goodbye waits behind the reply");
    let mut new = Rig::resumed(&world, MS(1_220), &name);
    old.until(MS(1_230));
    assert_eq!(old.session.given_up(), Some(&Out::Vanish));
    new.until(MS(1_240));
    assert_eq!(new.kinds()[0], "session_started resumed");
}

#[test]
fn a_connection_that_stands_still_keeps_its_session() {
    let (world, _rows) = world(plan());
    let old = Rig::opened(&world, PCM, false);
    let mut new = Rig::resumed(&world, MS(100), &name(&world, &old));
    new.until(MS(1_099));
    assert_eq!(new.kinds(), [""; 0]);
    new.until(MS(1_200));
    assert_eq!(new.kinds(), ["session_started"]);
    assert_eq!(new.at("session_started"), Some(MS(1_100)));
}

#[test]
fn work_goes_on_without_the_device_and_frees_its_slots_when_planned() {
    // The recognisers end at 600 ms; the model writes the first's six words until 200 ms + 5 × 40 ms later.
    for (how, granted) in [(ResumeReply::Continue, MS(1_000)), (ResumeReply::Drop, MS(710))] {
        let (world, rows) = world(ReferencePlan { llm_slots: 1, token_rate: 25.0, ..with(how) });
        let (mut first, mut second) = (Rig::opened(&world, PCM, false), Rig::opened(&world, PCM, false));
        first.turn(0);
        second.turn(0);
        first.until(MS(710));
        second.until(MS(710));
        first.lose();
        keep(&world, MS(710), MS(2_000));
        second.until(MS(5_000));
        second.session.on_goodbye(None);
        second.lose();
        let row = rows.try_recv().unwrap();
        assert_eq!(row.llm_wait_us, Some(granted - MS(600)), "{how:?}");
        keep(&world, MS(2_000), MS(60_000));
        assert_eq!(world.sessions.held(), (0, 0));
    }
}

#[test]
fn who_waits_for_a_slot_while_away_gets_it() {
    let (world, _rows) = world(ReferencePlan { stt_slots: 1, stt: Dist::Constant(MS(1_000)), ..plan() });
    let (mut first, mut second) = (Rig::opened(&world, PCM, false), Rig::opened(&world, PCM, false));
    first.turn(0);
    second.turn(0);
    let name = name(&world, &second);
    second.lose();
    first.until(MS(4_000));
    keep(&world, MS(500), MS(4_000));
    let mut second = Rig::resumed(&world, MS(4_000), &name);
    second.until(MS(4_000));
    // Recognised from 1,500 ms on, and long since answered: all of the text is there, and the audio's burst.
    assert_eq!(
        (second.count("transcript_final"), second.count("llm_token"), second.count("audio")),
        (1, 6, 4)
    );
}

#[test]
fn faults_that_break_a_connection_strike_once() {
    for fault in [Fault::CloseMidReply, Fault::ResetMidReply, Fault::HugeFrame] {
        let (world, rows) = world(ReferencePlan { faults: vec![(fault, 1.0)], ..plan() });
        let mut first = Rig::opened(&world, PCM, false);
        first.turn(0);
        first.until(MS(3_000));
        let name = name(&world, &first);
        first.lose();
        let mut second = Rig::resumed(&world, MS(4_000), &name);
        second.until(MS(9_000));
        assert_eq!(first.count("audio") + second.count("audio"), 17, "{fault:?}");
        assert_eq!(second.count("turn_end"), 1);
        assert_eq!(rows.try_recv().unwrap().fault, fault.name());
    }
}

#[test]
fn drains_resets_and_cuts_leave_the_session_to_its_device() {
    let (world, _rows) = world(ReferencePlan { idle_cut: MS(5_000), ..plan() });
    for (order, end) in
        [(Some(Order::Close(1012)), "close 1012"), (Some(Order::Reset), "reset"), (None, "vanish")]
    {
        let mut first = Rig::opened(&world, PCM, false);
        first.turn(0);
        first.until(MS(1_200));
        if let Some(order) = order {
            assert_eq!(world.sessions.strike(0, 1.0, order), 1);
        }
        first.until(MS(20_000));
        assert_eq!(first.kinds().last().unwrap(), end);
        assert_eq!(first.count("turn_end"), usize::from(order.is_none()));
        if order.is_none() {
            let ended = first.at("turn_end").unwrap();
            assert_eq!(first.at("vanish"), Some(ended + MS(5_000)), "since the last message either way");
        }
        let name = name(&world, &first);
        first.lose();
        let mut second = Rig::resumed(&world, MS(20_000), &name);
        assert_eq!(second.kinds()[0], "session_started resumed", "{end}");
        second.session.on_goodbye(None);
        second.lose();
    }
}

#[test]
fn pings_keep_a_proxy_content() {
    let (world, _rows) = world(ReferencePlan { idle_cut: MS(5_000), ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    for _ in 0..5 {
        rig.until(rig.now + MS(4_000));
        rig.send(&Frame::Ping(Bytes::new()));
    }
    assert_eq!(rig.count("vanish"), 0);
    rig.until(MS(60_000));
    assert_eq!(rig.at("vanish"), Some(MS(25_000)));
}

#[test]
fn a_socket_that_takes_nothing_is_reset_and_a_slow_one_is_not() {
    let (world, _rows) =
        world(ReferencePlan { write_timeout: MS(3_000), max_backlog: 4_000, burst: MS(10_000), ..plan() });
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    rig.reads = false;
    // A little every second.
    for n in 0..20 {
        rig.until(MS(1_000 * (n + 1)));
        rig.session.on_socket(rig.now, true, n as u64 + 1);
    }
    assert_eq!(rig.session.given_up(), None);
    rig.session.on_socket(rig.now, true, 0);
    rig.until(MS(24_000));
    assert_eq!(rig.session.given_up(), Some(&Out::Reset));
    assert_eq!(world.stats.stuck.load(Ordering::Relaxed), 1);
    rig.lose();
    assert_eq!(world.sessions.held().1, 1, "its device may come back");
}

#[test]
fn silence_gives_no_replies_and_its_end_gives_what_is_due() {
    let (world, _rows) = world(plan());
    let usual = world.conditions.get();
    let mut rig = Rig::opened(&world, PCM, false);
    rig.turn(0);
    world.conditions.set(Conditions { silent: true, ..usual });
    rig.text(&json!({"type": "ping"}));
    rig.until(MS(3_000));
    assert_eq!(rig.kinds(), ["pong"]);
    world.conditions.set(Conditions { pongs: false, ..usual });
    rig.text(&json!({"type": "ping"}));
    rig.until(MS(4_000));
    assert_eq!((rig.count("pong"), rig.count("turn_end")), (1, 1));
}

#[test]
fn no_more_are_kept_than_there_is_room_for() {
    let (world, rows) = world(ReferencePlan { max_parked: 10, ..plan() });
    let mut names = Vec::new();
    for n in 0..25 {
        let mut rig = Rig::opened(&world, PCM, false);
        rig.turn(0);
        rig.until(MS(600 + n));
        names.push(name(&world, &rig));
        rig.lose();
    }
    assert_eq!(world.sessions.held(), (0, 10));
    assert_eq!(rows.try_iter().count(), 15, "those given up are logged");
    let back = names.iter().filter(|n| {
        let mut rig = Rig::resumed(&world, MS(1_000), n);
        let resumed = rig.count("session_started resumed") == 1;
        rig.session.on_goodbye(None);
        rig.lose();
        resumed
    });
    assert_eq!(back.count(), 10);
    assert_eq!(world.sessions.held(), (0, 0));
}

/// An hour of devices that come, speak, lose their connections, and come back, or do not.
#[test]
fn nothing_is_left_over_after_a_quarter_of_an_hour() {
    for (seed, how) in [(1, ResumeReply::Continue), (2, ResumeReply::Replay), (3, ResumeReply::Drop)] {
        let slots = ReferencePlan { stt_slots: 2, llm_slots: 2, tts_slots: 2, max_parked: 12, ..with(how) };
        let (world, rows) = world(slots);
        let mut r = Seed(seed).stream("quarter", 0);
        let mut devices: Vec<Option<Rig>> = (0..20).map(|_| None).collect();
        let (mut lost, mut logged) = (Vec::<String>::new(), 0);
        for second in 0..900 {
            let now = MS(second * 1_000);
            world.sessions.on_time(now, Waker::noop(), &world.truth);
            for device in &mut devices {
                if let Some(rig) = device {
                    rig.until(now);
                    rig.written.clear();
                    if rig.session.ended || r.chance(0.1) {
                        match r.below(3) {
                            0 => rig.session.on_goodbye(Some(1000)),
                            _ => lost.push(name(&world, rig)),
                        }
                        rig.lose();
                        *device = None;
                    } else if r.chance(0.3) {
                        let turn = rig.session.talk.as_ref().map_or(0, |t| t.next_turn);
                        rig.send(&pcm(MS(200), 0.3));
                        rig.text(&json!({"type": "audio_end", "turn": turn}));
                    }
                } else if r.chance(0.3) {
                    let name = lost.pop().filter(|_| r.chance(0.7)).unwrap_or_default();
                    *device = Some(Rig::resumed(&world, now, &name));
                }
            }
            logged += rows.try_iter().count();
        }
        for mut rig in devices.into_iter().flatten() {
            rig.lose();
        }
        world.sessions.give_up_all(MS(900_000), &world.truth);
        logged += rows.try_iter().count();
        assert_eq!(world.sessions.held(), (0, 0), "{how:?}");
        assert_eq!(world.sessions.deadline(), Micros::NEVER);
        let stats = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        assert_eq!(logged as u64, stats(&world.stats.turns), "each turn is logged once");
        assert_eq!(world.stats.parked.load(Ordering::Relaxed), 0);
        assert!(stats(&world.stats.resumed) > 75 && stats(&world.stats.abandoned) > 75, "{:?}", world.stats);
        // Every slot is free: as many as there are get theirs at once.
        let mut probes: Vec<_> = (0..2).map(|_| Rig::later(&world, MS(900_000))).collect();
        for rig in &mut probes {
            rig.text(&json!({"type": "session_start", "audio": {"up": PCM, "down": PCM}}));
            rig.send(&pcm(MS(200), 0.3));
            rig.text(&json!({"type": "audio_end", "turn": 0}));
        }
        for rig in &mut probes {
            rig.until(MS(900_100));
            assert_eq!(rig.at("transcript_final"), Some(MS(900_100)));
        }
    }
}
