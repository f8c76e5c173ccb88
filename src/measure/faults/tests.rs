//! Faults and recoveries made by hand.

use super::*;
use crate::event::Event;
use crate::measure::{Interval, Metric, Recorder};
use crate::transport::ConnectTimes;

const MS: fn(i64) -> Micros = Micros::from_millis;
const S: fn(i64) -> Micros = Micros::from_secs;

fn recovery(kind: FaultKind, cut: Micros, connected: Micros, audio: Option<Micros>) -> Recovery {
    Recovery {
        cause: Cause::Fault(kind),
        phase: Phase::Speaking,
        cut,
        noticed: Some(cut + MS(5)),
        attempts: 2,
        back_off: MS(400),
        tcp: MS(40),
        tls: MS(80),
        upgrade: MS(20),
        session: Some(MS(10)),
        connected,
        resumed: true,
        audio,
    }
}

fn began(r: &mut Recorder, device: u32, at: Micros, fault: FaultKind) {
    r.record(device, at, Event::FaultBegan { fault, phase: Phase::Speaking });
}

fn connected(r: &mut Recorder, device: u32, at: Micros) {
    r.record(device, at, Event::Connected { times: ConnectTimes::default(), total: MS(1), reconnect: true });
}

fn recovered(r: &mut Recorder, device: u32, at: Micros, recovery: Recovery) {
    r.record(device, at, Event::Recovered(Box::new(recovery)));
}

/// Load ends after a minute; in the last five seconds nothing need recover.
fn recorder() -> Recorder {
    let mut r = Recorder::new(Micros::ZERO, true);
    r.of_run(super::super::Groups::default(), S(60), S(5));
    r
}

fn faults(i: &Interval) -> Vec<FaultResult> {
    crate::measure::testing::faults_come_to_one_thing(i);
    i.network.as_ref().map(|n| n.faults.to_result()).unwrap_or_default()
}

#[test]
fn a_run_without_faults_keeps_nothing() {
    let mut r = recorder();
    connected(&mut r, 1, S(1));
    r.record(1, S(2), Event::Disconnected);
    r.finish(S(3));
    assert!(r.take().network.is_none());
}

#[test]
fn a_cut_is_counted_from_its_instant() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Reset);
    let (cause, phase) = (Cause::Fault(FaultKind::Reset), Phase::Speaking);
    r.record(1, S(10) + MS(5), Event::Noticed { cause, phase, after: MS(5) });
    connected(&mut r, 1, S(12));
    recovered(&mut r, 1, S(14), recovery(FaultKind::Reset, S(10), S(12), Some(S(14))));
    r.finish(S(70));
    let i = r.take();
    let f = &faults(&i)[0];
    let n = &f.all;
    assert_eq!((f.cause.as_str(), f.planned, f.phases[0].phase.as_str()), ("reset", true, "speaking"));
    assert_eq!((n.began, n.recovered, n.resumed, n.reconnected, n.attempts), (1, 1, 1, 1, 2));
    assert_eq!([&n.notice, &n.outage, &n.recover].map(|s| s.p50_us), [5_000, 2_000_000, 4_000_000].map(Some));
    assert_eq!((n.notice.count, i.metric(Metric::Notice).count()), (1, 1), "told twice, counted once");
    let steps = n.steps.unwrap();
    assert_eq!((steps.back_off_us, steps.tcp_us, steps.session_us), (400_000.0, 40_000.0, Some(10_000.0)));
    let max = |m| i.metric(m).max();
    assert_eq!([Metric::Outage, Metric::Recover].map(max), [Some(S(2)), Some(S(4))]);
    assert_eq!(i.counts.faults, 1);
}

#[test]
fn those_who_never_come_back_are_infinite() {
    let mut r = recorder();
    for d in 0..20 {
        began(&mut r, d, S(10), FaultKind::Close);
        if d < 18 {
            connected(&mut r, d, S(11));
            recovered(&mut r, d, S(12), recovery(FaultKind::Close, S(10), S(11), Some(S(12))));
        }
    }
    // One gives up, and says so; one is never heard of.
    let mut gave_up = recovery(FaultKind::Close, S(10), S(10), None);
    gave_up.resumed = false;
    recovered(&mut r, 18, S(30), gave_up);
    r.finish(S(70));
    let i = r.take();
    let n = &faults(&i)[0].all;
    assert_eq!((n.recovered, n.never), (18, 2));
    assert_eq!((n.recover.infinite, n.outage.infinite, n.notice.infinite), (2, 2, 1));
    assert_eq!(n.recover.max_us, None);
    assert_eq!(i.metric(Metric::Recover).quantile(0.95), Some(super::super::Quantile::Infinite));
}

#[test]
fn connected_again_and_never_heard() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Reset);
    connected(&mut r, 1, S(12));
    recovered(&mut r, 1, S(40), recovery(FaultKind::Reset, S(10), S(12), None));
    r.finish(S(70));
    let n = &faults(&r.take())[0].all;
    assert_eq!((n.never, n.recover.infinite, n.outage.infinite, n.outage.p50_us), (1, 1, 0, Some(2_000_000)));
}

#[test]
fn what_the_end_of_the_run_overtakes_is_unfinished() {
    let mut r = recorder();
    began(&mut r, 1, S(57), FaultKind::Reset);
    began(&mut r, 2, S(20), FaultKind::Reset);
    began(&mut r, 3, S(58), FaultKind::Reset);
    connected(&mut r, 3, S(59));
    recovered(&mut r, 3, S(61), recovery(FaultKind::Reset, S(58), S(59), None));
    r.finish(S(61));
    let i = r.take();
    let n = &faults(&i)[0].all;
    assert_eq!((n.began, n.unfinished, n.never), (3, 2, 1));
    assert_eq!(i.metric(Metric::Recover).count(), 1);
}

#[test]
fn a_roam_can_be_lived_through() {
    let mut r = recorder();
    for (d, kind) in [(1, FaultKind::Roam), (2, FaultKind::SlowReader)] {
        began(&mut r, d, S(10), kind);
        let lived = Recovery { noticed: None, ..recovery(kind, S(10), S(10), Some(S(11))) };
        recovered(&mut r, d, S(11), lived);
    }
    began(&mut r, 3, S(20), FaultKind::Roam);
    r.finish(S(70));
    let all = faults(&r.take());
    let of = |cause: &str| all.iter().find(|f| f.cause == cause).unwrap().all.clone();
    let (roam, slow) = (of("roam"), of("slow_reader"));
    assert_eq!(
        (roam.lived_through, roam.silence.p50_us, roam.recover.count, roam.outage.count),
        (2, Some(1_000_000), 0, 0)
    );
    assert_eq!((slow.lived_through, slow.silence.count), (1, 0), "what is slow is not silent");
}

#[test]
fn what_is_cut_twice_recovers_from_both() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Reset);
    began(&mut r, 1, S(11), FaultKind::BlackHole);
    connected(&mut r, 1, S(12));
    recovered(&mut r, 1, S(14), recovery(FaultKind::BlackHole, S(11), S(12), Some(S(14))));
    for n in 0..2 * MAX_OPEN as i64 {
        began(&mut r, 2, S(20 + n), FaultKind::Close);
    }
    r.finish(S(70));
    let i = r.take();
    let all = faults(&i);
    let of = |cause: &str| all.iter().find(|f| f.cause == cause).unwrap().all.clone();
    assert_eq!([of("reset"), of("black_hole")].map(|n| n.recover.p50_us), [4_000_000, 3_000_000].map(Some));
    assert_eq!([of("reset"), of("black_hole")].map(|n| n.outage.p50_us), [2_000_000, 1_000_000].map(Some));
    assert_eq!((of("close").overtaken, of("close").never), (MAX_OPEN as u64, MAX_OPEN as u64));
}

#[test]
fn a_device_that_is_struck_again_is_still_coming_back() {
    let gave_up = |r: &mut Recorder, kind, cut, now| recovered(r, 1, now, recovery(kind, cut, now, None));
    let mut r = recorder();
    // The next fault is said before the last one is given up…
    began(&mut r, 1, S(10), FaultKind::Reset);
    began(&mut r, 1, S(12), FaultKind::BlackHole);
    gave_up(&mut r, FaultKind::Reset, S(10), S(12));
    // … a loss that nobody planned after it.
    connected(&mut r, 1, S(13));
    gave_up(&mut r, FaultKind::BlackHole, S(12), S(14));
    let cause = Cause::Lost(FailureClass::Closed(1011));
    r.record(1, S(14), Event::Noticed { cause: cause.clone(), phase: Phase::Idle, after: Micros::ZERO });
    connected(&mut r, 1, S(15));
    let back = Recovery {
        cause,
        cut: S(14),
        noticed: Some(S(14)),
        ..recovery(FaultKind::Reset, S(14), S(15), Some(S(16)))
    };
    recovered(&mut r, 1, S(16), back);
    r.finish(S(70));
    let i = r.take();
    let all = faults(&i);
    assert!(all.iter().all(|f| f.all.never == 0), "{all:?}");
    assert_eq!(all.iter().map(|f| f.all.recovered).sum::<u64>(), 3);
    let recover = i.metric(Metric::Recover);
    assert_eq!((recover.count(), recover.min(), recover.max()), (3, Some(S(2)), Some(S(6))));
}

#[test]
fn hanging_up_after_a_failed_turn_is_no_fault_and_no_recovery_either() {
    let hangup = Cause::Lost(FailureClass::Timeout);
    let lost = |r: &mut Recorder, at| {
        r.record(1, at, Event::Noticed { cause: hangup.clone(), phase: Phase::Waiting, after: Micros::ZERO });
    };
    let back = |cut, connected, audio| Recovery {
        cause: hangup.clone(),
        noticed: Some(cut),
        ..recovery(FaultKind::Reset, cut, connected, audio)
    };
    // By itself it is nothing.
    let mut r = recorder();
    lost(&mut r, S(10));
    connected(&mut r, 1, S(11));
    recovered(&mut r, 1, S(12), back(S(10), S(11), Some(S(12))));
    assert!(faults(&r.take()).is_empty());
    // A device that came back from a reset, and was not answered for two turns, has heard nothing yet.
    began(&mut r, 1, S(20), FaultKind::Reset);
    connected(&mut r, 1, S(21));
    recovered(&mut r, 1, S(26), recovery(FaultKind::Reset, S(20), S(21), None));
    lost(&mut r, S(26));
    r.take();
    connected(&mut r, 1, S(27));
    recovered(&mut r, 1, S(32), back(S(26), S(27), None));
    lost(&mut r, S(32));
    connected(&mut r, 1, S(33));
    recovered(&mut r, 1, S(35), back(S(32), S(33), Some(S(35))));
    r.finish(S(70));
    let i = r.take();
    assert_eq!(i.metric(Metric::Recover).max(), Some(S(15)));
    assert_eq!(i.network.unwrap().faults.to_result()[0].all.recovered, 1);
}

#[test]
fn a_hole_in_a_hole_is_over_with_it() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Roam);
    began(&mut r, 1, S(11), FaultKind::BlackHole);
    connected(&mut r, 1, S(20));
    recovered(&mut r, 1, S(22), recovery(FaultKind::Roam, S(10), S(20), Some(S(22))));
    r.finish(S(70));
    let all = faults(&r.take());
    let of = |cause: &str| all.iter().find(|f| f.cause == cause).unwrap().all.clone();
    assert_eq!((of("roam").recovered, of("black_hole").recovered), (1, 1));
}

#[test]
fn a_device_that_leaves_as_planned_has_nothing_more_to_hear() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Reset);
    connected(&mut r, 1, S(12));
    recovered(&mut r, 1, S(30), recovery(FaultKind::Reset, S(10), S(12), None));
    r.record(1, S(30), Event::Disconnected);
    // Without a connection, it has failed to come back.
    began(&mut r, 2, S(10), FaultKind::Reset);
    recovered(&mut r, 2, S(30), recovery(FaultKind::Reset, S(10), S(30), None));
    r.finish(S(70));
    let n = &faults(&r.take())[0].all;
    assert_eq!((n.unfinished, n.never, n.reconnected, n.outage.infinite), (1, 1, 1, 1));
}

#[test]
fn a_black_hole_that_nobody_notices_is_not_lived_through() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::BlackHole);
    let unnoticed = Recovery { noticed: None, ..recovery(FaultKind::BlackHole, S(10), S(10), None) };
    recovered(&mut r, 1, S(61), unnoticed);
    r.record(1, S(61), Event::Disconnected);
    r.finish(S(70));
    let n = &faults(&r.take())[0].all;
    assert_eq!((n.never, n.notice.infinite, n.outage.infinite, n.recover.infinite), (1, 1, 1, 1));
}

#[test]
fn a_roam_while_coming_back_overtakes_nothing() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Reset);
    began(&mut r, 1, S(11), FaultKind::Roam);
    connected(&mut r, 1, S(12));
    let lived = Recovery { noticed: None, ..recovery(FaultKind::Roam, S(11), S(11), Some(S(13))) };
    recovered(&mut r, 1, S(13), lived);
    recovered(&mut r, 1, S(13), recovery(FaultKind::Reset, S(10), S(12), Some(S(13))));
    r.finish(S(70));
    let all = faults(&r.take());
    assert_eq!(
        all.iter().map(|f| (f.all.recovered, f.all.lived_through)).collect::<Vec<_>>(),
        [(1, 0), (0, 1)]
    );
}

#[test]
fn losses_that_nobody_planned_have_a_cause_too() {
    let mut r = recorder();
    let cause = Cause::Lost(FailureClass::HeartbeatLost);
    r.record(1, S(10), Event::Noticed { cause: cause.clone(), phase: Phase::Idle, after: S(3) });
    connected(&mut r, 1, S(12));
    let back = Recovery {
        cause,
        cut: S(7),
        noticed: Some(S(10)),
        ..recovery(FaultKind::Reset, S(7), S(12), Some(S(13)))
    };
    recovered(&mut r, 1, S(13), back);
    r.finish(S(70));
    let f = &faults(&r.take())[0];
    assert_eq!((f.cause.as_str(), f.planned, f.phases[0].phase.as_str()), ("heartbeat_lost", false, "idle"));
    assert_eq!((f.all.notice.p50_us, f.all.outage.p50_us), (Some(3_000_000), Some(5_000_000)));
}

#[test]
fn a_device_that_vanishes_is_no_failure_to_recover() {
    let mut r = recorder();
    began(&mut r, 1, S(10), FaultKind::Vanish);
    began(&mut r, 2, S(10), FaultKind::Reset);
    began(&mut r, 2, S(11), FaultKind::Vanish);
    recovered(&mut r, 2, S(11), recovery(FaultKind::Reset, S(10), S(11), None));
    r.finish(S(70));
    let i = r.take();
    let all = i.network.as_ref().unwrap().faults.to_result();
    let of = |cause: &str| all.iter().find(|f| f.cause == cause).unwrap().all.clone();
    assert_eq!((of("vanish").began, of("vanish").never, of("reset").overtaken), (2, 0, 1));
    assert_eq!(i.metric(Metric::Recover).count(), 0);
}

#[test]
fn shards_and_intervals_add_up() {
    let mut whole = recorder();
    let mut shards = [recorder(), recorder()];
    let mut sum = Interval::default();
    for d in 0..40_u32 {
        let (at, kind) = (S(1 + i64::from(d)), [FaultKind::Reset, FaultKind::Close][d as usize % 2]);
        let shard = &mut shards[d as usize / 2 % 2];
        for r in [&mut whole, shard] {
            began(r, d, at, kind);
            connected(r, d, at + MS(300));
            recovered(r, d, at + MS(900), recovery(kind, at, at + MS(300), Some(at + MS(900))));
        }
        if d % 7 == 0 {
            shards.iter_mut().for_each(|s| sum.absorb(&s.take()));
        }
    }
    for mut s in shards {
        s.finish(S(70));
        sum.absorb(&s.take());
    }
    whole.finish(S(70));
    assert_eq!(faults(&sum), faults(&whole.take()));
    assert!(sum.network.as_ref().unwrap().cuts.is_empty(), "lists are not kept");
}

#[test]
fn a_server_that_invents_reasons_does_not_fill_the_memory() {
    let mut r = recorder();
    for n in 0..5_000_u16 {
        let cause = Cause::Lost(FailureClass::Closed(n));
        r.record(n.into(), S(1), Event::Noticed { cause, phase: Phase::Idle, after: MS(1) });
    }
    r.finish(S(70));
    let all = faults(&r.take());
    assert!(all.len() <= MAX_KEYS + 1, "{}", all.len());
    assert_eq!((all[0].cause.as_str(), all[0].all.began), ("server_other", 5_000 - MAX_KEYS as u64));
}
