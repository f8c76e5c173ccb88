//! One way of a path: what happens to a packet between two machines, whoever sent it.

use super::Direction;
use super::jitter::Weather;
use super::loss::Chain;
use super::profile::Way;
use super::trace::Cursor;
use crate::seed::Seed;
use crate::time::Micros;

/// The queue before a bottleneck, unless somebody says otherwise: this much time, and no fewer bytes than below.
const QUEUE: Micros = Micros::from_millis(250);
const QUEUE_LEAST: u64 = 32 << 10;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives, or would have.
    pub(super) arrives: Micros,
    /// It does not.
    pub(super) lost: bool,
}

/// The state of one way. Packets are to be given to it in the order of time.
#[derive(Clone, Debug)]
pub(super) struct Path {
    direction: Direction,
    /// When the bottleneck has passed what it was given.
    free: Micros,
    /// When the last packet arrives: nothing overtakes it.
    last: Micros,
    chain: Chain,
    weather: Weather,
    cursor: Cursor,
    /// Where in a recording this device began.
    offset: f64,
    /// How many changes of the schedule have been seen.
    step: usize,
    /// Everything is lost from, until.
    gap: (Micros, Micros),
}

/// The losses of one way of a connection.
pub(super) fn chain(direction: Direction, seed: Seed, device: u32, connection: u32) -> Chain {
    let loss = match direction {
        Direction::Up => "link loss up",
        Direction::Down => "link loss down",
    };
    Chain::new(seed.stream(loss, u64::from(device) << 32 | u64::from(connection)))
}

impl Path {
    pub(super) fn new(direction: Direction, seed: Seed, device: u32, connection: u32) -> Self {
        let jitter = match direction {
            Direction::Up => "link jitter up",
            Direction::Down => "link jitter down",
        };
        let index = u64::from(device) << 32 | u64::from(connection);
        Self {
            direction,
            free: Micros(i64::MIN),
            last: Micros(i64::MIN),
            chain: chain(direction, seed, device, connection),
            weather: Weather::new(seed.stream(jitter, index)),
            cursor: Cursor::default(),
            // Both ways of a device, and all of its connections, are at the same place of a recording.
            offset: seed.stream("link trace", u64::from(device)).unit(),
            step: 0,
            gap: (Micros::NEVER, Micros::NEVER),
        }
    }

    /// A packet of `bytes` (headers included) sets out at `now`. On a stream nothing overtakes anything; with
    /// `ordered` false a packet with less jitter does.
    pub(super) fn send(
        &mut self,
        (way, step): (&Way, usize),
        now: Micros,
        bytes: u32,
        ordered: bool,
    ) -> Fate {
        if step != self.step {
            self.step = step;
            self.chain.restart();
            self.cursor = Cursor::default();
        }
        // The radio is at the device's end: what it sends in the gap never sets out.
        if self.direction == Direction::Up && self.in_gap(now) {
            return Fate { arrives: now + way.delay, lost: true };
        }
        let Some(through) = self.bottleneck(way, now, bytes) else {
            return Fate { arrives: now.max(self.free) + way.delay, lost: true };
        };
        // What the air loses has taken its time all the same.
        let mut lost = self.chain.lost(way, through);
        let mut arrives = (through + way.delay + self.weather.delay(way.jitter, now)).max(through);
        if ordered {
            arrives = arrives.max(self.last);
        }
        lost |= self.direction == Direction::Down && self.in_gap(arrives);
        if !lost {
            self.last = self.last.max(arrives);
        }
        Fate { arrives, lost }
    }

    /// When the bottleneck has passed a packet; `None`: its queue is full.
    fn bottleneck(&mut self, way: &Way, now: Micros, bytes: u32) -> Option<Micros> {
        if let Some(trace) = &way.trace {
            let offset = Micros((self.offset * trace.duration().0 as f64) as i64);
            let limit = way.queue.map_or_else(|| QUEUE_LEAST.max((trace.rate() / 32.0) as u64), u64::from);
            let waiting = self.cursor.waiting(trace, now + offset);
            if waiting > 0 && waiting + u64::from(bytes) > limit {
                return None;
            }
            self.free = self.cursor.pass(trace, now + offset, bytes) - offset;
            return Some(self.free.max(now));
        }
        let Some(rate) = way.rate else {
            return Some(now);
        };
        let rate = u64::from(rate.max(1));
        let time = |bits: u64| Micros((bits * 1_000_000).div_ceil(rate) as i64);
        if self.free > now {
            let waiting = (self.free.0 - now.0) as u128 * u128::from(rate) / 8_000_000;
            let limit =
                way.queue.map_or_else(|| QUEUE_LEAST.max(rate * QUEUE.0 as u64 / 8_000_000), u64::from);
            if waiting + u128::from(bytes) > u128::from(limit) {
                return None;
            }
        }
        self.free = self.free.max(now) + time(u64::from(bytes) * 8);
        Some(self.free)
    }

    /// Everything is lost from `now` until `until`.
    pub(super) fn lose(&mut self, now: Micros, until: Micros) {
        self.gap = if self.in_gap(now) { (self.gap.0, self.gap.1.max(until)) } else { (now, until) };
    }

    pub(super) fn in_gap(&self, at: Micros) -> bool {
        self.gap.0 <= at && (at < self.gap.1 || self.gap.1 == Micros::NEVER)
    }

    /// True when nothing will ever arrive again.
    pub(super) fn is_black(&self) -> bool {
        self.gap.0 < Micros::NEVER && self.gap.1 == Micros::NEVER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Jitter, Loss, Trace};
    use super::*;
    use std::sync::Arc;

    fn path() -> Path {
        Path::new(Direction::Up, Seed(1), 0, 0)
    }

    const fn ms(n: i64) -> Micros {
        Micros::from_millis(n)
    }

    #[test]
    fn a_rate_spreads_and_its_queue_drops() {
        let way = Way { delay: ms(10), rate: Some(80_000), queue: Some(3_000), ..Way::default() };
        let mut path = path();
        // 10 bytes a millisecond: 1,000 bytes take 100 ms.
        let fates: Vec<_> = (0..5).map(|_| path.send((&way, 0), ms(0), 1_000, true)).collect();
        assert_eq!(fates[0], Fate { arrives: ms(110), lost: false });
        assert_eq!(fates[2], Fate { arrives: ms(310), lost: false });
        assert!(!fates[1].lost && fates[3].lost && fates[4].lost);
        assert_eq!(path.send((&way, 0), ms(1_000), 1_000, true).arrives, ms(1_110));
    }

    #[test]
    fn a_gap_takes_what_the_radio_would_have_carried() {
        let way = Way { delay: ms(40), ..Way::default() };
        let mut up = path();
        up.lose(ms(100), ms(200));
        assert!(!up.send((&way, 0), ms(99), 100, true).lost && up.send((&way, 0), ms(100), 100, true).lost);
        assert!(up.send((&way, 0), ms(199), 100, true).lost && !up.send((&way, 0), ms(200), 100, true).lost);
        let mut down = Path::new(Direction::Down, Seed(1), 0, 0);
        down.lose(ms(100), ms(200));
        assert!(
            !down.send((&way, 0), ms(50), 100, true).lost && down.send((&way, 0), ms(70), 100, true).lost
        );
        assert!(!down.send((&way, 0), ms(160), 100, true).lost && !down.is_black());
        down.lose(ms(300), Micros::NEVER);
        assert!(down.is_black() && down.send((&way, 0), ms(9_000_000), 100, true).lost);
    }

    proptest! {
        #[test]
        fn nothing_is_early_and_nothing_overtakes(
            seed: u64,
            steps in proptest::collection::vec((0..80_000_i64, 40..1_500_u32), 1..200),
            delay in 0..100_000_i64,
            rate in proptest::option::of(10_000..10_000_000_u32),
            uniform: bool,
            traced: bool,
        ) {
            let jitter = if uniform {
                Jitter::Uniform(ms(30))
            } else {
                Jitter::LogNormal { median: ms(5), p99: ms(90) }
            };
            let trace = traced.then(|| Arc::new(Trace::parse("t", "3\n9\n9\n80\n").unwrap()));
            let way = Way { delay: Micros(delay), jitter, loss: Loss::Independent(0.1), rate, queue: None, trace };
            let mut path = Path::new(Direction::Down, Seed(seed), 3, 1);
            let (mut now, mut last) = (Micros::ZERO, Micros::ZERO);
            for (step, bytes) in steps {
                now += Micros(step);
                let fate = path.send((&way, 0), now, bytes, true);
                prop_assert!(fate.arrives >= now + way.least());
                if !fate.lost {
                    prop_assert!(fate.arrives >= last);
                    last = fate.arrives;
                }
            }
        }
    }
}
