//! When devices come and go: the arrival plan, computed from the scenario and the seed alone.

use super::{Arrivals, Fleet};
use crate::seed::Seed;
use crate::time::Micros;

/// One device's stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The device's number: unique in the run.
    pub device: u32,
    /// When it comes.
    pub arrive: Micros,
    /// From when on it begins no more turns.
    pub leave_at: Micros,
}

/// The stays of a run, by arrival. Lazy: an open-loop run may last a week.
pub fn plan(fleet: &Fleet, seed: Seed) -> Box<dyn Iterator<Item = Stay> + Send> {
    match fleet.arrivals {
        Arrivals::Open { rate, poisson } => Box::new(open(rate, poisson, fleet.duration, seed)),
        Arrivals::Closed if fleet.stages.is_empty() => {
            let (n, ramp, leave_at) = (fleet.devices, fleet.ramp, fleet.duration);
            let mut spread = seed.stream("arrival", 0);
            Box::new((0..n).map(move |device| {
                // Anywhere in the device's own share of the ramp, so that a fleet is no metronome.
                let at = (f64::from(device) + spread.unit()) / f64::from(n);
                Stay { device, arrive: Micros((ramp.0 as f64 * at) as i64), leave_at }
            }))
        }
        Arrivals::Closed => Box::new(stages(fleet).into_iter()),
    }
}

fn open(rate: f64, poisson: bool, end: Micros, seed: Seed) -> impl Iterator<Item = Stay> + Send {
    let mut gaps = seed.stream("arrival", 0);
    let mut at = 0.0;
    (0..u32::MAX)
        .map(move |device| {
            let now = at;
            at += if poisson { gaps.exponential() } else { 1.0 } / rate;
            Stay { device, arrive: Micros::from_secs_f64(now), leave_at: end }
        })
        .take_while(move |s| s.arrive < end)
}

/// Follows the piecewise linear number of devices: device i is there while that number is above i.
fn stages(fleet: &Fleet) -> Vec<Stay> {
    let mut all: Vec<Stay> = Vec::new();
    let mut here: Vec<usize> = Vec::new(); // who is there, as indices into `all`: a stack
    let (mut start, mut level) = (Micros::ZERO, 0_u32);
    for stage in &fleet.stages {
        let steps = f64::from(stage.devices.abs_diff(level));
        let moment = |k: u32| start + Micros((stage.duration.0 as f64 * (f64::from(k) + 0.5) / steps) as i64);
        if stage.devices > level {
            for k in 0..stage.devices - level {
                here.push(all.len());
                all.push(Stay { device: all.len() as u32, arrive: moment(k), leave_at: Micros::NEVER });
            }
        } else {
            for k in 0..level - stage.devices {
                if let Some(i) = here.pop() {
                    all[i].leave_at = moment(k);
                }
            }
        }
        (start, level) = (start + stage.duration, stage.devices);
    }
    for i in here {
        all[i].leave_at = start;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Stage;

    fn fleet(devices: u32, stages: Vec<Stage>, arrivals: Arrivals) -> Fleet {
        Fleet {
            devices,
            duration: Micros::from_secs(10),
            ramp: Micros::from_secs(2),
            warmup: Micros::ZERO,
            graceful_stop: Micros::ZERO,
            stages,
            arrivals,
            phase: crate::scenario::Phase::Spread,
        }
    }

    #[test]
    fn a_ramp_is_even_and_seeded() {
        let f = fleet(100, vec![], Arrivals::Closed);
        let all: Vec<_> = plan(&f, Seed(1)).collect();
        assert_eq!(all, plan(&f, Seed(1)).collect::<Vec<_>>());
        assert_ne!(all, plan(&f, Seed(2)).collect::<Vec<_>>());
        for (i, s) in all.iter().enumerate() {
            let slot = 20_000 * i as i64;
            assert!((slot..slot + 20_000).contains(&s.arrive.0), "{s:?}");
        }
    }

    #[test]
    fn stages_go_up_and_down() {
        let s = |secs, devices| Stage { duration: Micros::from_secs(secs), devices };
        let all: Vec<_> =
            plan(&fleet(20, vec![s(4, 20), s(2, 20), s(4, 10), s(1, 15)], Arrivals::Closed), Seed(1))
                .collect();
        assert_eq!(all.len(), 25);
        let there = |secs: f64| {
            let t = Micros::from_secs_f64(secs);
            all.iter().filter(|s| s.arrive <= t && t < s.leave_at).count()
        };
        assert_eq!([2.0, 5.0, 8.0, 10.0, 10.99].map(there), [10, 20, 15, 10, 15]);
        assert!(all.iter().all(|s| s.leave_at <= Micros::from_secs(11)));
    }

    #[test]
    fn an_extension_changes_nothing_before_it() {
        let s = |secs, devices| Stage { duration: Micros::from_secs(secs), devices };
        let staged =
            Fleet { duration: Micros::from_secs(6), ..fleet(20, vec![s(4, 20), s(2, 5)], Arrivals::Closed) };
        let open = fleet(5, vec![], Arrivals::Open { rate: 3.0, poisson: true });
        for f in [fleet(10, vec![], Arrivals::Closed), staged, open] {
            let by = Micros::from_secs(20);
            let (short, long): (Vec<_>, Vec<_>) =
                (plan(&f, Seed(1)).collect(), plan(&f.extended(by), Seed(1)).collect());
            for (a, b) in short.iter().zip(&long) {
                let leave_at = if a.leave_at == f.duration { f.duration + by } else { a.leave_at };
                assert_eq!(*b, Stay { leave_at, ..*a });
            }
            assert!(long[short.len()..].iter().all(|s| s.arrive >= f.duration), "who comes later");
            assert_eq!(long.len() > short.len(), matches!(f.arrivals, Arrivals::Open { .. }));
            assert_eq!(plan(&f.extended(Micros::ZERO), Seed(1)).collect::<Vec<_>>(), short);
        }
    }

    #[test]
    fn open_arrivals_have_their_rate() {
        for poisson in [true, false] {
            let n = plan(&fleet(5, vec![], Arrivals::Open { rate: 200.0, poisson }), Seed(3)).count();
            assert!((1_850..=2_150).contains(&n), "{n}");
        }
    }
}
