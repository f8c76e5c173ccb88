//! Storms made by hand.

use super::*;
use crate::event::{Event, FailureClass};
use crate::fault::{FaultKind, Phase};
use crate::measure::Recorder;
use crate::transport::ConnectTimes;

const MS: fn(i64) -> Micros = Micros::from_millis;
const S: fn(i64) -> Micros = Micros::from_secs;

/// What happened to whom, on two shards: even devices on one, odd ones on the other.
#[derive(Default)]
struct Script(Vec<(Micros, u32, Event)>);

impl Script {
    fn at(&mut self, at: Micros, device: u32, event: Event) -> &mut Self {
        self.0.push((at, device, event));
        self
    }

    fn connected(&mut self, at: Micros, device: u32, took: Micros, reconnect: bool) -> &mut Self {
        let times = ConnectTimes { tcp: took, ..ConnectTimes::default() };
        self.at(at, device, Event::Connected { times, total: took, reconnect });
        if reconnect {
            self.at(at, device, Event::Reconnected { after: took });
        }
        self
    }

    /// Cut by a fault of the scenario, and seen at once.
    fn reset(&mut self, at: Micros, device: u32) -> &mut Self {
        let detail = "reset".into();
        self.at(at, device, Event::FaultBegan { fault: FaultKind::Reset, phase: Phase::Idle }).at(
            at,
            device,
            Event::ConnectionLost { class: FailureClass::Reset, detail, established: true },
        )
    }

    /// An answered turn; `ttfa` of `None`: failed.
    fn turn(&mut self, device: u32, end_of_speech: Micros, ttfa: Option<Micros>) -> &mut Self {
        let ended = end_of_speech + ttfa.unwrap_or(Micros(5_000_000));
        let mut t = crate::measure::testing::turn(device, end_of_speech, ttfa);
        t.ended = ended;
        self.at(ended, device, Event::TurnEnded(Box::new(t)))
    }

    /// By intervals of a second, as shards do it.
    fn run(&mut self, until: Micros) -> Storms {
        self.0.sort_by_key(|(at, ..)| *at);
        let mut storms = Storms::new(Micros::ZERO, true);
        let mut shards = [Recorder::new(Micros::ZERO, true), Recorder::new(Micros::ZERO, true)];
        let mut events = self.0.drain(..).peekable();
        for second in 0..until.0 / 1_000_000 {
            while let Some((at, device, event)) = events.next_if(|(at, ..)| *at < S(second + 1)) {
                shards[device as usize % 2].record(device, at, event);
            }
            let mut all = Interval::default();
            shards.iter_mut().for_each(|s| all.gather(s.take()));
            storms.add(S(second), S(1), &all);
        }
        storms.finish();
        storms
    }
}

/// A fleet of 200, of which 60 are reset in the middle of a second and come back one by one, each 50 ms.
fn storm() -> Script {
    let mut script = Script::default();
    for d in 0..200 {
        script.connected(MS(10), d, MS(2), false);
    }
    for d in 0..60 {
        script.reset(MS(30_980 + i64::from(d)), d);
        script.connected(MS(31_500 + 50 * i64::from(d)), d, MS(20 + i64::from(d)), true);
    }
    script
}

#[test]
fn a_share_of_the_fleet_cut_at_once_is_a_storm() {
    let storms = storm().run(S(60));
    let (found, more) = storms.to_result();
    assert_eq!((found.len(), more), (1, 0));
    let s = &found[0];
    // The cuts lie on both sides of the end of an interval.
    assert_eq!((s.at_us, s.devices, s.connected, s.back), (30_980_000, 60, 200, 60));
    assert_eq!(s.cause, "reset");
    // 99 % of 60, rounded up, is all of them: the last is back after 31.5 s + 59 · 50 ms.
    assert_eq!(s.until_99_us, Some(3_470_000));
    assert_eq!(s.until_100_us, Some(3_470_000));
    // 20 in each full second, 10 in the half before.
    assert_eq!((s.peak_per_s, s.peak_connect.count), (20.0, 20));
    assert_eq!(
        s.peak_connect.p50_us.map(|us| us / 1_000),
        Some(39),
        "the first of the seconds with 20: devices 10 to 29"
    );
    assert_eq!(storms.rates().peak_per_s, 20.0);
    assert_eq!(storms.rates().peak_over_steady, None, "nobody reconnected otherwise");
}

#[test]
fn ninety_nine_percent_are_not_all() {
    let mut script = Script::default();
    for d in 0..400 {
        script.connected(MS(10), d, MS(2), false);
    }
    for d in 0..200 {
        script.reset(S(5), d);
        let back = if d < 198 { MS(6_000 + i64::from(d)) } else { S(20) };
        if d < 199 {
            script.connected(back, d, MS(2), true);
        }
    }
    let s = &script.run(S(40)).to_result().0[0];
    assert_eq!((s.devices, s.back), (200, 199));
    assert_eq!(s.until_99_us, Some(1_197_000), "198 of 200");
    assert_eq!(s.until_100_us, None, "one never came back");
}

#[test]
fn a_storm_from_which_too_few_come_back_never_ends() {
    let mut script = Script::default();
    for d in 0..100 {
        script.connected(MS(10), d, MS(2), false).reset(S(5), d);
    }
    for d in 0..90 {
        script.connected(S(6), d, MS(2), true);
    }
    let s = &script.run(S(120)).to_result().0[0];
    assert_eq!((s.back, s.until_99_us, s.until_100_us), (90, None, None));
}

#[test]
fn single_cuts_are_no_storm_and_make_the_steady_state() {
    let mut script = Script::default();
    for d in 0..100 {
        script.connected(MS(10), d, MS(2), false);
    }
    for n in 0..50 {
        script.reset(MS(1_000 + 1_000 * n), n as u32).connected(MS(1_500 + 1_000 * n), n as u32, MS(2), true);
    }
    // Two at once are a coincidence.
    script.reset(MS(7_001), 90).reset(MS(7_002), 91);
    let storms = script.run(S(60));
    assert_eq!(storms.to_result(), (Vec::new(), 0));
    let rates = storms.rates();
    assert_eq!((rates.peak_per_s, (rates.steady_per_s * 60.0).round()), (1.0, 50.0));
    assert!(rates.peak_over_steady.is_some_and(|x| (1.0..1.3).contains(&x)), "{rates:?}");
}

#[test]
fn a_server_that_closes_every_connection_makes_a_storm_too() {
    let mut script = Script::default();
    for d in 0..40 {
        script.connected(MS(10), d, MS(2), false);
        let cause = Cause::Lost(FailureClass::Closed(1012));
        script.at(
            MS(9_000 + i64::from(d) * 10),
            d,
            Event::Noticed { cause, phase: Phase::Speaking, after: Micros::ZERO },
        );
        script.connected(S(12), d, MS(5), true);
    }
    let s = &script.run(S(30)).to_result().0[0];
    assert_eq!((s.cause.as_str(), s.devices, s.until_100_us), ("closed_1012", 40, Some(3_000_000)));
}

#[test]
fn a_device_that_is_cut_twice_comes_back_from_both() {
    let mut script = Script::default();
    for d in 0..10 {
        script.connected(MS(10), d, MS(2), false).reset(S(5), d).reset(S(8), d).connected(
            S(9),
            d,
            MS(2),
            true,
        );
    }
    let (found, _) = script.run(S(30)).to_result();
    let until: Vec<_> = found.iter().map(|s| (s.at_us, s.until_100_us)).collect();
    assert_eq!(until, [(5_000_000, Some(4_000_000)), (8_000_000, Some(1_000_000))]);
}

#[test]
fn devices_that_were_not_cut_are_compared_with_themselves() {
    let mut script = storm();
    for n in 0..60 {
        // Of the fleet that stays: 100 ms before, 300 ms for the ten seconds after. One fails.
        let end = MS(500 + 1_000 * n);
        let slow = (31..41).contains(&n);
        script.turn(100, end, Some(if slow { MS(300) } else { MS(100) }));
        script.turn(101, end, if n == 35 { None } else { Some(MS(if slow { 300 } else { 100 })) });
        // Of those cut: no matter how slow.
        script.turn(0, end, Some(MS(2_000)));
    }
    let s = &script.run(S(80)).to_result().0[0];
    // From 0.98 s to 30.98 s: end of speech at 1.5 s, 2.5 s, … 30.5 s, of two devices.
    assert_eq!((s.others_before.count, s.others_before.p50_us), (60, Some(100_000)));
    // 99 % are back before, but at least ten seconds: to 40.98 s.
    assert_eq!((s.others_during.count, s.others_during.infinite), (20, 1));
    assert_eq!(s.others_during.p50_us.map(|us| us / 1_000), Some(300));
}

#[test]
fn memory_is_bounded() {
    let mut script = Script::default();
    for n in 0..3 * MAX_STORMS as i64 {
        for d in 0..5 {
            script.reset(S(3 * n + 1), d).connected(MS(3_000 * n + 1_500), d, MS(1), true);
        }
    }
    let storms = script.run(S(9 * MAX_STORMS as i64 + 10));
    let (found, more) = storms.to_result();
    assert_eq!((found.len(), more), (MAX_STORMS, 2 * MAX_STORMS as u64));
    assert!(storms.cuts.is_empty() && storms.backs.is_empty() && storms.turns.is_empty());
}
