//! Coming back: sessions that go on or not, speech without a connection, and how long devices wait.

use super::*;
use crate::scenario::{Dist, Reconnect};

#[test]
fn a_turn_goes_on_in_a_session_that_is_resumed() {
    // While the user speaks: 500 ms of speech before the cut, the rest after.
    let mut s = sim(&["reset at=1050ms"], |p| p.turn.count = Some(2));
    s.until(60_000);
    s.accounts();
    let t = s.turns()[0];
    assert_eq!(
        (&t.outcome, t.reconnects, t.answered_twice, t.cut_short),
        (&Outcome::Succeeded, 1, false, false)
    );
    assert_eq!(t.speech_lost, Micros::ZERO);
    assert_eq!(s.server.parked["s1"].heard, [(0, 10), (1, 10)], "all of it, and turns count on");
    assert_eq!(s.turns()[1].session_turn, 1);
    let resumed =
        s.sent.iter().filter(|(_, o)| matches!(&o.frame, Frame::Text(t) if t.contains("\"resume\":\"s1\"")));
    assert_eq!(resumed.count(), 1);
    // What was due meanwhile was late through no fault of the harness.
    let late: Vec<_> = s.sent.iter().filter(|(at, o)| *at > o.planned && o.piece.is_some()).collect();
    assert!(!late.is_empty() && late.iter().all(|(_, o)| o.waited));
    assert_eq!(t.speech_late, ms(100) * late.len() as i64);

    // While it listens: the rest of the reply comes, and the loss is heard as a stall.
    let mut s = sim(&["close at=1900ms"], |p| {
        p.turn.count = Some(1);
        p.playback.max_stall_ratio = 1.0;
    });
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((&t.outcome, t.reconnects, t.answered_twice), (&Outcome::Succeeded, 1, false));
    assert!(t.judged.stalls >= 1 && t.audio_messages >= 6, "{t:?}");
}

#[test]
fn a_reply_that_begins_again_is_recognised() {
    let mut s = sim(&["close at=1900ms"], |p| {
        p.turn.count = Some(1);
        p.playback.max_stall_ratio = 1.0;
    });
    s.server.memory = Memory::Repeats;
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((&t.outcome, t.reconnects, t.answered_twice), (&Outcome::Succeeded, 1, true));

    // A reply that was complete: the server says so a second time.
    let mut s = sim(&[], |p| p.turn.think = Dist::Constant(ms(4_000)));
    s.until(7_000);
    assert_eq!(s.turns().len(), 1);
    s.say(vec![text(r#"{"type":"turn_end","turn":0}"#), text(r#"{"type":"turn_end","turn":0}"#)]);
    s.until(7_100);
    assert_eq!(s.count(|e| *e == Event::AnsweredTwice { turn: 0 }), 0, "without a loss it is only stale");
    // Cut while the user is silent; the old reply comes again while the user already says the next thing.
    let mut s = sim(&["close at=2500ms"], |p| p.turn.count = Some(2));
    s.server.memory = Memory::Repeats;
    s.until(60_000);
    s.accounts();
    assert_eq!(s.count(|e| *e == Event::AnsweredTwice { turn: 0 }), 1);
    assert!(
        s.turns().iter().all(|t| t.outcome == Outcome::Succeeded && !t.answered_twice),
        "{:?}",
        s.turns()
    );
    assert!(s.turns()[1].planned_start < ms(3_000), "{:?}", s.turns()[1]);
}

#[test]
fn a_reply_that_the_server_drops_is_lost_with_the_connection() {
    for (at, begun) in [(1_700, false), (1_900, true)] {
        let mut s = sim(&[&format!("reset at={at}ms")], |p| p.turn.count = Some(2));
        s.server.memory = Memory::Drops;
        s.until(60_000);
        s.accounts();
        assert_eq!(
            (s.class(0).as_str(), s.turns()[0].cut_short, s.turns()[0].reconnects),
            ("cut_reset", begun, 1)
        );
        assert_eq!((s.class(1).as_str(), s.turns()[1].session_turn), ("Succeeded", 1), "the session goes on");
    }
}

#[test]
fn a_turn_is_lost_with_a_session_that_is_not_resumed() {
    for memory in [Memory::None, Memory::Silent] {
        for (at, begun) in [("1050ms", false), ("1900ms", true)] {
            let mut s = sim(&[&format!("reset at={at}")], |p| p.turn.count = Some(2));
            s.server.memory = memory;
            s.until(60_000);
            s.accounts();
            assert_eq!(s.class(0), "cut_reset");
            assert_eq!((s.turns()[0].cut_short, s.turns()[0].reconnects), (begun, 0));
            assert_eq!(
                (s.class(1).as_str(), s.turns()[1].session_turn),
                ("Succeeded", 0),
                "a new session counts from 0"
            );
            assert!(!s.recoveries()[0].resumed);
        }
    }
    // Nobody asks.
    let mut s = sim(&["reset at=1900ms"], |p| {
        p.turn.count = Some(2);
        p.session.resume = false;
    });
    s.until(60_000);
    assert_eq!(
        (s.class(0).as_str(), s.turns()[0].ended, s.turns()[0].cut_short),
        ("cut_reset", ms(1_900), true)
    );
    assert!(s.sent.iter().all(|(_, o)| !matches!(&o.frame, Frame::Text(t) if t.contains("resume"))));
    assert_eq!((s.class(1).as_str(), s.turns()[1].session_turn), ("Succeeded", 0));
}

#[test]
fn limits_go_on_counting_while_a_turn_waits() {
    // The server is away for good: the turn has until 3 s after the end of speech.
    let mut s = sim(&["reset at=1050ms"], |p| p.turn.count = Some(1));
    s.until(1_000);
    s.closed.1 = Micros::from_secs(100);
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.ended, t.speech_lost), ("timeout", ms(4_450), ms(500)));
    // A reply that had begun: 2 s after what there was had been played.
    let mut s = sim(&["reset at=1900ms"], |p| p.turn.count = Some(1));
    s.until(1_800);
    s.closed.1 = Micros::from_secs(100);
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.cut_short), ("reply_stalled", true));
    assert_eq!(t.ended, ms(1_810 + 120 + 2_000));
}

#[test]
fn speech_while_disconnected_is_kept_up_to_a_limit_or_dropped() {
    let run = |limit: i64, back: i64| {
        let mut s = sim(&["reset at=1050ms"], |p| {
            p.turn.count = Some(1);
            p.session.offline_limit = ms(limit);
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Fixed, ms(back));
        });
        s.until(60_000);
        s.accounts();
        let t = s.turns()[0].clone();
        let heard = s.server.parked.get("s1").map(|p| p.heard.clone()).unwrap_or_default();
        (t.speech_lost, t.speech_late, heard, s.class(0))
    };
    // Back at 1,050 + 320 + 20, and confirmed two ways later: what was due at 1,100 … 1,400 is late.
    let ok = "Succeeded".to_owned();
    assert_eq!(run(5_000, 320), (ms(0), ms(400), vec![(0, 10)], ok.clone()));
    assert_eq!(run(250, 320), (ms(200), ms(200), vec![(0, 8)], ok.clone()), "the oldest is lost");
    assert_eq!(run(0, 320), (ms(400), ms(0), vec![(0, 6)], ok.clone()));
    // All that was left to say: the server still hears that it was the end.
    assert_eq!(run(0, 900), (ms(500), ms(0), vec![(0, 5)], ok));
}

#[test]
fn a_turn_of_which_nothing_was_heard_was_not_connected() {
    // The turn begins in the back-off after a loss, and nothing is kept.
    let away = |limit: i64, back: i64| {
        let mut s = sim(&["reset at=400ms"], |p| {
            p.turn.count = Some(1);
            p.session.offline_limit = ms(limit);
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Fixed, ms(back));
        });
        s.until(60_000);
        s.accounts();
        let t = s.turns()[0].clone();
        (s.class(0), t.ended, t.speech_lost, t.speech_late, t.local_port)
    };
    assert_eq!(
        away(0, 5_000),
        ("not_connected".into(), ms(1_500), ms(1_000), ms(0), 0),
        "known when it is all said"
    );
    assert_eq!(away(5_000, 20_000).0, "not_connected", "kept, and never sent");
    assert_eq!(away(5_000, 20_000).1, ms(4_450), "as long as any turn is waited for");
    let (class, _, lost, late, _) = away(5_000, 700);
    assert_eq!((class.as_str(), lost, late), ("Succeeded", ms(0), ms(600)), "said late, and answered");
    let (class, _, lost, late, _) = away(0, 700);
    assert_eq!((class.as_str(), lost, late), ("Succeeded", ms(600), ms(0)), "the rest of it was enough");
}

#[test]
fn what_was_said_into_a_hole_is_lost() {
    // The address changes while the user speaks, and is known 300 ms later: three chunks have gone nowhere.
    let mut s = sim(&["address_change at=1050ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((s.class(0).as_str(), t.speech_lost), ("Succeeded", ms(300)));
    assert_eq!(s.server.parked["s1"].heard, [(0, 7)]);
    // The end of the turn goes the same way, and is said again.
    let mut s = sim(&["address_change at=1350ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    assert_eq!((s.class(0).as_str(), s.turns()[0].speech_lost), ("Succeeded", ms(200)));
    // A roam that the connection lives through loses nothing.
    let mut s = sim(&["roam at=1050ms length=300ms"], |p| p.turn.count = Some(1));
    s.until(60_000);
    assert_eq!((s.class(0).as_str(), s.turns()[0].speech_lost), ("Succeeded", ms(0)));
    assert_eq!(s.server.parked["s1"].heard, [(0, 10)]);
    assert_eq!(s.recoveries()[0].noticed, None);
}

#[test]
fn a_device_that_may_not_come_back_stays_away() {
    let mut s = sim(&["reset at=1050ms"], |p| {
        (p.session.reconnect, p.session.resume) = (Reconnect::None, false);
        p.turn.count = Some(3);
    });
    s.until(60_000);
    s.accounts();
    assert_eq!(
        (0..3).map(|t| s.class(t)).collect::<Vec<_>>(),
        ["cut_reset", "not_connected", "not_connected"]
    );
    assert_eq!(s.count(|e| matches!(e, Event::Connecting)), 1);
    assert_eq!(s.recoveries()[0].attempts, 0);
}

#[test]
fn attempts_count_on_unless_the_connection_lasted() {
    let delays = |reset: i64| {
        let faults = ["reset at=1s", "reset at=3s", "reset at=5s", "reset at=7s"];
        let mut s = sim(&faults, |p| {
            (p.session.reconnect, p.session.reconnect_base) = (Reconnect::Grpc, ms(100));
            p.session.reconnect_cap = Micros::from_secs(10);
            p.session.reconnect_reset = ms(reset);
            p.turn.think = Dist::Constant(Micros::from_secs(50));
        });
        s.until(20_000);
        let lost: Vec<_> =
            s.events.iter().filter(|(_, e)| matches!(e, Event::ConnectionLost { .. })).map(|e| e.0).collect();
        let tried: Vec<_> =
            s.events.iter().filter(|(_, e)| matches!(e, Event::Connecting)).skip(1).map(|e| e.0).collect();
        lost.iter().zip(tried).map(|(l, t)| (t - *l).as_millis_f64() / 100.0).collect::<Vec<_>>()
    };
    for (i, d) in delays(10_000).iter().enumerate() {
        let middle = 1.6_f64.powi(i as i32);
        assert!((0.8 * middle..1.2 * middle).contains(d), "{i}: {d}");
    }
    assert!(delays(500).iter().all(|d| (0.8..1.2).contains(d)), "each connection lasted");
}

#[test]
fn waits_are_distributed_as_the_policies_say() {
    let delays = |policy, attempt: u32, base: i64, cap: i64| {
        let p = plan(EndOfTurn::Signal, |p| {
            p.session.reconnect = policy;
            (p.session.reconnect_base, p.session.reconnect_cap) = (ms(base), ms(cap));
        });
        (0..4_000).map(|d| p.reconnect_delay(d, attempt, attempt, None).as_millis_f64()).collect::<Vec<_>>()
    };
    for attempt in 0..12 {
        // Full jitter: each tenth below the limit has about a tenth of them (standard deviation 19).
        let limit = (500.0 * 2_f64.powi(attempt as i32)).min(10_000.0);
        let mut tenths = [0_i32; 10];
        for d in delays(Reconnect::FullJitter, attempt, 500, 10_000) {
            assert!((0.0..limit).contains(&d), "{attempt}: {d}");
            tenths[((d / limit * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (n - 400).abs() < 114), "{attempt}: {tenths:?}");
        let middle = (1_000.0 * 1.6_f64.powi(attempt as i32)).min(120_000.0);
        let grpc = delays(Reconnect::Grpc, attempt, 1_000, 120_000);
        assert!(grpc.iter().all(|d| (0.8 * middle - 0.001..1.2 * middle).contains(d)), "{attempt}");
        let mean = grpc.iter().sum::<f64>() / grpc.len() as f64;
        assert!((mean / middle - 1.0).abs() < 0.01, "{attempt}: {mean}");
        assert!(delays(Reconnect::Fixed, attempt, 500, 10_000).iter().all(|d| (*d - 500.0).abs() < 1e-9));
    }
    // They follow from the seed, the device and the number of the attempt.
    let p = plan(EndOfTurn::Signal, |_| {});
    let of = |device, nth| p.reconnect_delay(device, nth, 3, None);
    assert_eq!(of(1, 2), of(1, 2));
    assert!(of(1, 2) != of(1, 3) && of(1, 2) != of(2, 2));
}
