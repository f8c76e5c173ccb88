//! Datagrams over the same path: no sender that repeats anything. What is lost is lost, what is late is late, and what
//! had less jitter overtakes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::path::Path;
use super::{Direction, Profile};
use crate::seed::Seed;
use crate::time::Micros;

/// Headers of IPv4 and UDP.
const HEADERS: usize = 28;

/// The datagrams of one device, both ways.
#[derive(Debug)]
pub struct Datagrams {
    profile: Arc<Profile>,
    up: Way,
    down: Way,
}

#[derive(Debug)]
struct Way {
    path: Path,
    /// By arrival; the number keeps the order of those that arrive together.
    flying: BinaryHeap<Reverse<(Micros, u64, Vec<u8>)>>,
    sent: u64,
    lost: u64,
}

impl Datagrams {
    /// The path of connection `connection` of device `device`.
    pub fn new(profile: Arc<Profile>, seed: Seed, device: u32, connection: u32) -> Self {
        let way = |d| Way {
            path: Path::new(d, seed, device, connection),
            flying: BinaryHeap::new(),
            sent: 0,
            lost: 0,
        };
        Self { profile, up: way(Direction::Up), down: way(Direction::Down) }
    }

    /// Sends a datagram at `now`; instants must not go back.
    pub fn send(&mut self, d: Direction, now: Micros, payload: &[u8]) {
        let parameters = self.profile.way(d, now);
        let way = match d {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        let bytes = u32::try_from(payload.len() + HEADERS).unwrap_or(u32::MAX);
        let fate = way.path.send(parameters, now, bytes, false);
        way.sent += 1;
        if fate.lost {
            way.lost += 1;
        } else {
            way.flying.push(Reverse((fate.arrives, way.sent, payload.to_vec())));
        }
    }

    /// The next datagram that has arrived by `now`, and when it did.
    pub fn receive(&mut self, d: Direction, now: Micros) -> Option<(Micros, Vec<u8>)> {
        let way = match d {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        way.flying.peek().filter(|Reverse((at, ..))| *at <= now)?;
        way.flying.pop().map(|Reverse((at, _, payload))| (at, payload))
    }

    /// When the next one arrives; `NEVER` when none is on its way.
    pub fn deadline(&self) -> Micros {
        let next = |way: &Way| way.flying.peek().map_or(Micros::NEVER, |Reverse((at, ..))| *at);
        next(&self.up).min(next(&self.down))
    }

    /// Datagrams sent and lost so far.
    pub const fn counts(&self, d: Direction) -> (u64, u64) {
        match d {
            Direction::Up => (self.up.sent, self.up.lost),
            Direction::Down => (self.down.sent, self.down.lost),
        }
    }

    /// Everything is lost, both ways, from `now` until `until`.
    pub fn lose_until(&mut self, now: Micros, until: Micros) {
        self.up.path.lose(now, until);
        self.down.path.lose(now, until);
        let before = self.down.flying.len();
        let path = &self.down.path;
        self.down.flying.retain(|Reverse((at, ..))| !path.in_gap(*at));
        self.down.lost += (before - self.down.flying.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Jitter, Loss, Way as Parameters};

    fn play(parameters: &Parameters, seed: u64) -> (Vec<(Micros, u32)>, (u64, u64)) {
        let profile = Profile { up: parameters.clone(), down: parameters.clone(), ..Profile::none() };
        let mut path = Datagrams::new(Arc::new(profile), Seed(seed), 0, 0);
        let mut got = Vec::new();
        for i in 0..20_000_u32 {
            let now = Micros::from_millis(20) * i64::from(i);
            path.send(Direction::Up, now, &i.to_be_bytes());
            while let Some((at, payload)) = path.receive(Direction::Up, now) {
                got.push((at, u32::from_be_bytes(payload.try_into().unwrap())));
            }
        }
        while path.deadline() < Micros::NEVER {
            let now = path.deadline();
            let (at, payload) = path.receive(Direction::Up, now).unwrap();
            got.push((at, u32::from_be_bytes(payload.try_into().unwrap())));
        }
        (got, path.counts(Direction::Up))
    }

    #[test]
    fn lost_is_lost_late_is_late_and_the_order_changes() {
        let jitter = Jitter::LogNormal { median: Micros::from_millis(20), p99: Micros::from_millis(200) };
        let way = Parameters {
            delay: Micros::from_millis(30),
            jitter,
            loss: Loss::Independent(0.02),
            ..Parameters::default()
        };
        let (got, (sent, lost)) = play(&way, 1);
        assert_eq!((sent, got.len() as u64), (20_000, sent - lost));
        assert!((300..500).contains(&lost), "{lost}");
        assert!(got.windows(2).all(|w| w[0].0 <= w[1].0), "as they arrive");
        let overtaken = got.windows(2).filter(|w| w[0].1 > w[1].1).count();
        assert!(overtaken > 100, "{overtaken}");
        let mut late: Vec<_> = got.iter().map(|(at, i)| at.0 / 1_000 - i64::from(*i) * 20).collect();
        late.sort_unstable();
        assert!(late[0] >= 30 && (48..=52).contains(&late[late.len() / 2]));
        assert_eq!(play(&way, 1).0, got);
        assert_ne!(play(&way, 2).0, got);
        let mut once: Vec<_> = got.iter().map(|(_, i)| *i).collect();
        once.sort_unstable();
        assert!(once.windows(2).all(|w| w[0] < w[1]), "once at most");
    }

    #[test]
    fn without_jitter_the_order_stays() {
        let way = Parameters { delay: Micros::from_millis(30), rate: Some(100_000), ..Parameters::default() };
        let (got, (_, lost)) = play(&way, 1);
        assert_eq!((got.len(), lost), (20_000, 0));
        assert!(got.windows(2).all(|w| w[0].1 < w[1].1));
    }

    #[test]
    fn a_gap_takes_what_is_in_the_air() {
        let way = Parameters { delay: Micros::from_millis(30), ..Parameters::default() };
        let profile = Profile { up: way.clone(), down: way, ..Profile::none() };
        let mut path = Datagrams::new(Arc::new(profile), Seed(1), 0, 0);
        path.send(Direction::Up, Micros::ZERO, b"a");
        path.send(Direction::Down, Micros::ZERO, b"b");
        path.lose_until(Micros(1), Micros::from_millis(100));
        assert_eq!(path.counts(Direction::Down), (1, 1));
        path.send(Direction::Up, Micros::from_millis(50), b"c");
        let got = path.receive(Direction::Up, Micros::from_secs(1));
        assert_eq!(got, Some((Micros::from_millis(30), b"a".to_vec())));
        assert_eq!(
            (path.receive(Direction::Up, Micros::from_secs(1)), path.deadline()),
            (None, Micros::NEVER)
        );
    }
}
