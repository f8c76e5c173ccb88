//! Faults that strike: every kind in every phase, what they leave behind, and that nothing does not end.

use proptest::prelude::*;

use super::*;
use crate::scenario::{Dist, Reconnect};

/// When each phase is first reached in the first turn, from 100 ms on.
fn begins(phase: Phase) -> Micros {
    match phase {
        Phase::Handshake => Micros::NEVER,
        Phase::Idle => ms(100),
        Phase::Speaking => ms(500),
        Phase::Waiting => ms(1_450),
        // The first audio: 300 ms after the server has heard the end, and two ways of 5 ms.
        Phase::Listening => ms(1_810),
    }
}

#[test]
fn every_kind_strikes_in_every_phase() {
    for kind in FaultKind::ALL {
        for phase in Phase::ALL.into_iter().filter(|p| *p != Phase::Handshake) {
            // Short enough to be lived through.
            let short = matches!(kind, FaultKind::Roam | FaultKind::StalledWriter);
            let length = if short { " length=300ms" } else { "" };
            let spec = format!("{} at=100ms phase={}{length}", kind.name(), phase.name());
            let mut s = sim(&[&spec], |p| p.turn.count = Some(3));
            s.until(60_000);
            s.accounts();
            let struck: Vec<_> = s
                .events
                .iter()
                .filter_map(|(at, e)| match e {
                    Event::FaultBegan { fault, phase } => Some((*at, *fault, *phase)),
                    _ => None,
                })
                .collect();
            assert_eq!(struck, [(begins(phase), kind, phase)], "{spec}");
            let cut = |e: &&(Micros, Event)| matches!(e.1, Event::FaultBegan { .. });
            let at = s.events.iter().find(cut).map(|e| e.0).unwrap();
            match kind {
                FaultKind::Vanish => {
                    assert!(s.abandoned && s.recoveries().is_empty(), "{spec}");
                    let under_way = usize::from(phase != Phase::Idle);
                    assert_eq!(s.turns().len(), under_way, "{spec}");
                    assert!(s.turns().iter().all(|t| t.outcome == Outcome::Cancelled), "{spec}");
                    continue;
                }
                FaultKind::Reset | FaultKind::Close => {
                    assert_eq!(s.noticed(), [(fault(kind), phase, Micros::ZERO)], "{spec}");
                }
                FaultKind::AddressChange => {
                    // By the new address after 2 s, or by a heartbeat before that.
                    let (_, _, after) = s.noticed()[0];
                    assert!(after <= ms(2_000) && after > ms(500), "{spec}: {after}");
                }
                FaultKind::BlackHole => {
                    let (_, _, after) = s.noticed()[0];
                    assert!(
                        after <= ms(1_000) && after > ms(500),
                        "{spec}: a heartbeat each 400 ms tells: {after}"
                    );
                }
                FaultKind::Roam | FaultKind::StalledWriter | FaultKind::SlowReader => {}
            }
            let r = s.recoveries();
            // The server has said the rest of its reply into the hole, and will not say it again.
            if phase == Phase::Listening && matches!(kind, FaultKind::BlackHole | FaultKind::AddressChange) {
                assert_eq!((s.class(0).as_str(), s.turns()[0].cut_short), ("reply_stalled", true), "{spec}");
                assert_eq!((r[0].audio, r[0].resumed, r.len()), (None, true, 2), "{spec}");
                assert_eq!(r[1].cause.to_string(), "reply_stalled", "{spec}");
                continue;
            }
            assert_eq!(r.len(), 1, "{spec}: {r:?}");
            assert_eq!((&r[0].cause, r[0].phase, r[0].cut), (&fault(kind), phase, at), "{spec}");
            let audio = r[0].audio.unwrap_or_else(|| panic!("{spec}: {r:?}"));
            assert!(audio > at && audio >= r[0].connected, "{spec}");
            if let Some(noticed) = r[0].noticed {
                assert_eq!(
                    r[0].connected,
                    noticed + r[0].back_off + DOOR,
                    "{spec}: one attempt, and its time"
                );
                assert_eq!((r[0].attempts, r[0].tcp), (1, DOOR), "{spec}");
                assert_eq!(r[0].session, Some(WAY * 2), "{spec}");
                assert!(r[0].resumed, "{spec}");
            } else {
                assert_eq!(r[0].connected, r[0].cut, "{spec}");
            }
            let failed = s.turns().iter().filter(|t| t.outcome != Outcome::Succeeded).count();
            assert!(s.turns().len() == 3 && failed <= 1, "{spec}: {:?}", s.turns());
        }
    }
}

#[test]
fn handshakes_are_struck_too() {
    for kind in FaultKind::ALL {
        let mut s = sim(&[&format!("{} at=0s phase=handshake", kind.name())], |p| p.turn.count = Some(1));
        s.until(60_000);
        s.accounts();
        let began = s.count(|e| *e == Event::FaultBegan { fault: kind, phase: Phase::Handshake });
        assert_eq!(began, 1, "{kind:?}");
        let refused = s.count(|e| matches!(e, Event::ConnectionLost { established: false, .. }));
        match kind {
            FaultKind::Vanish => assert!(s.abandoned && s.turns().is_empty()),
            FaultKind::Reset | FaultKind::Close | FaultKind::BlackHole | FaultKind::AddressChange => {
                assert_eq!(refused, 1, "{kind:?}");
                let after = if matches!(kind, FaultKind::Reset | FaultKind::Close) { 0 } else { 1_000 };
                assert_eq!(s.noticed(), [(fault(kind), Phase::Handshake, ms(after))]);
                assert!(s.recoveries()[0].audio.is_some() || s.class(0) != "Succeeded", "{kind:?}");
            }
            _ => assert_eq!(s.recoveries().len(), 1, "{kind:?}"),
        }
    }
}

#[test]
fn what_holds_for_a_while_holds_for_the_next_connection() {
    let faults = ["roam at=1000ms length=3s", "slow_reader at=1000ms length=9s rate=1KiB", "reset at=1100ms"];
    let mut s = sim(&faults, |p| p.turn.count = Some(1));
    s.until(60_000);
    let lose = Impairment::Lose(ms(4_000));
    let slow = Impairment::SlowRead(1_024, ms(10_000));
    let before: Vec<_> = s.impaired.iter().filter(|(at, _)| *at <= ms(1_100)).map(|i| i.1).collect();
    assert_eq!(before, [lose, slow, Impairment::Reset]);
    let attempts = s.count(|e| matches!(e, Event::Connecting));
    assert_eq!(s.impaired.iter().filter(|(at, i)| *at > ms(1_100) && *i == slow).count(), attempts - 1);
    assert!(s.impaired.iter().filter(|(at, i)| *at > ms(1_100) && *i == lose).all(|(at, _)| *at < ms(4_000)));
    let first =
        s.events.iter().skip(1).find(|(at, e)| *at > ms(1_100) && matches!(e, Event::Connected { .. }));
    assert!(first.is_none_or(|(at, _)| *at >= ms(4_000)), "nothing gets through before that");
}

#[test]
fn a_fault_that_outlives_connections_is_one_trouble() {
    for kind in ["roam", "stalled_writer"] {
        let mut s = sim(&[&format!("{kind} at=100ms length=3s")], |p| {
            p.turn.think = Dist::Constant(ms(5_000));
            p.turn.count = Some(1);
        });
        s.until(60_000);
        s.accounts();
        let r = s.recoveries();
        assert_eq!((s.noticed().len(), r.len(), r[0].cause.to_string().as_str()), (1, 1, kind), "{r:?}");
        assert!(r[0].attempts >= 2 && r[0].connected <= ms(5_000) && r[0].audio.is_some(), "{r:?}");
    }
}

#[test]
fn losses_that_nobody_planned_have_a_cause_too() {
    for (class, key) in [(FailureClass::Reset, "reset"), (FailureClass::Closed(1001), "closed_1001")] {
        let mut s = sim(&[], |p| p.turn.count = Some(1));
        s.until(1_900);
        s.server_closes(class);
        s.until(60_000);
        s.accounts();
        let r = s.recoveries();
        assert_eq!(r.len(), 1);
        assert_eq!(
            (r[0].cause.to_string().as_str(), r[0].phase, r[0].cut),
            (key, Phase::Listening, ms(1_900))
        );
        assert!(r[0].resumed && r[0].audio.is_some() && s.turns()[0].reconnects == 1);
    }
    // A drain: back after 5 to 30 s, whatever the policy says.
    for code in [1012, 1013] {
        let mut s =
            sim(&[], |p| (p.turn.think, p.turn.count) = (Dist::Constant(Micros::from_secs(40)), Some(1)));
        s.until(1_000);
        s.server_closes(FailureClass::Closed(code));
        s.until(59_000);
        let back = s.recoveries()[0].back_off;
        assert!((5..30).contains(&(back.0 / 1_000_000)), "{back}");
    }
    // What a server says after a fault is over is its own doing; what it says during it is not.
    for (at, key) in [(1_200, "roam"), (1_900, "closed_1008")] {
        let mut s = sim(&["roam at=1100ms length=200ms"], |p| p.turn.count = Some(1));
        s.until(at);
        if at == 1_900 {
            assert!(s.recoveries().iter().any(|r| r.audio.is_some()), "heard again at 1,810");
        }
        s.server_closes(FailureClass::Closed(1008));
        s.until(60_000);
        assert_eq!(s.noticed()[0].0.to_string(), key);
    }
}

#[test]
fn the_network_part_of_a_turn_is_recorded() {
    let mut s = sim(&[], |p| p.turn.count = Some(1));
    s.device.set_group(3);
    s.until(1_600);
    s.input(Input::Delivered { turn: 0, after: ms(42) });
    s.input(Input::Delivered { turn: 1, after: ms(99) });
    s.link_delay = Some(ms(17));
    s.until(60_000);
    let t = s.turns()[0];
    assert_eq!((t.group, t.network_up, t.network_down), (3, Some(ms(42)), Some(ms(17))));
}

#[test]
fn a_spared_device_is_not_struck() {
    let mut s = sim(&["reset at=1s", "roam every=500ms"], |p| p.turn.count = Some(2));
    s.device.spare();
    s.until(60_000);
    assert_eq!(s.count(|e| matches!(e, Event::FaultBegan { .. })), 0);
    assert_eq!(s.turns().len(), 2);
}

/// An hour of faults, one a second: nothing is left over.
#[test]
fn nothing_leaks() {
    let kinds = ["reset", "close", "black_hole", "roam", "address_change", "slow_reader", "stalled_writer"];
    let faults: Vec<_> = kinds.iter().map(|k| format!("{k} every=exponential(7s)")).collect();
    let faults: Vec<_> = faults.iter().map(String::as_str).collect();
    let mut s = sim(&faults, |p| p.turn.timeout = ms(5_000));
    s.device.leave_at = Micros::from_secs(3_600);
    let mut largest = 0;
    for minute in 1..=61 {
        s.until(minute * 60_000);
        largest =
            largest.max(s.device.out.capacity() + s.device.frames.capacity() + s.device.meanings.capacity());
        s.server.parked.clear();
    }
    s.accounts();
    assert!(largest < 256, "{largest}: its queues do not grow");
    let struck = s.count(|e| matches!(e, Event::FaultBegan { .. }));
    assert!((3_000..4_200).contains(&struck), "{struck}");
    assert!(s.turns().len() > 300, "{} turns", s.turns().len());
    assert!(s.ticks < 2_000_000, "{} inputs in an hour", s.ticks);
}

fn any_fault() -> impl Strategy<Value = String> {
    let phases = ["any", "handshake", "idle", "speaking", "waiting", "listening"];
    (0..8_usize, 0..10_000_i64, any::<bool>(), 0..6_usize, 1..3_000_i64).prop_map(
        move |(kind, at, again, phase, length)| {
            let kind = FaultKind::ALL[kind];
            let when =
                if again { format!("every=exponential({}ms)", 200 + at / 4) } else { format!("at={at}ms") };
            let length =
                if FaultSpec::has_length(kind) { format!(" length={length}ms") } else { String::new() };
            format!("{} {when} phase={}{length}", kind.name(), phases[phase])
        },
    )
}

proptest! {
    /// Whatever strikes whenever: every turn ends once, time goes on, and the device ends.
    #[test]
    fn any_faults_are_survived(
        seed: u64,
        faults in prop::collection::vec(any_fault(), 0..6),
        (resume, vad, memory, policy) in (any::<bool>(), any::<bool>(), 0..5_usize, 0..4_usize),
        refused in 0..4_000_i64,
        limit in 0..2_000_i64,
        closes in prop::collection::vec(0..11_000_i64, 0..3),
        late in 0_i64..30,
        turns in 0_u32..3,
    ) {
        let policy = [Reconnect::FullJitter, Reconnect::Grpc, Reconnect::Fixed, Reconnect::None][policy];
        let faults: Vec<_> = faults.iter().map(String::as_str).collect();
        let mut s = sim(&faults, |p| {
            p.seed = crate::seed::Seed(seed);
            if vad {
                let other = plan(EndOfTurn::Vad, |_| {});
                (p.turn.end, p.utterances, p.setup) = (EndOfTurn::Vad, other.utterances.clone(), Arc::clone(&other.setup));
            }
            p.turn.barge_in = Some(crate::scenario::BargeInPlan { share: 0.4, after: Dist::Constant(ms(100)) });
            (p.turn.timeout, p.turn.gap_timeout) = (ms(1_500), ms(700));
            (p.session.resume, p.session.reconnect) = (resume, policy);
            p.session.offline_limit = ms(limit);
            p.session.turns = Some(turns).filter(|n| *n > 0);
        });
        s.server.memory = [Memory::Exact, Memory::Repeats, Memory::Drops, Memory::None, Memory::Silent][memory];
        s.closed.1 = ms(refused);
        let late = Micros(late * 1_000);
        for at in closes {
            s.until_late(at.max(s.now.0 / 1_000), late);
            if s.online {
                s.server_closes(FailureClass::Closed(1011));
            }
        }
        s.until_late(11_000.max(s.now.0 / 1_000), late);
        s.input_if_here(Input::LeaveAt(s.now));
        s.until_late(14_000, late);
        s.input_if_here(Input::Abort { owed: true });
        s.accounts();
    }
}
