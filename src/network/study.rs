//! What a link does to speech, in virtual time: for `voxload network`, and to compare the imitation with real TCP.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Direction, Link, LinkStats, Profile};
use crate::seed::Seed;
use crate::time::Micros;

/// Bytes of a message of the thin stream.
pub const MESSAGE: usize = 200;
/// The stream sends one this often.
pub const EVERY: Micros = Micros::from_millis(60);
/// How long a measurement waits for what is late: longer than any timeout that follows from loss.
const PATIENCE: Micros = Micros::from_secs(150);

/// Delays, from the write of a message to its delivery in order.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// Ascending.
    sorted: Vec<Micros>,
    /// What the links did, all together.
    pub stats: LinkStats,
}

impl Delays {
    fn new(mut all: Vec<Micros>, stats: LinkStats) -> Self {
        all.sort_unstable();
        Self { sorted: all, stats }
    }

    /// Those of several studies.
    pub fn together(all: &[Self]) -> Self {
        let mut stats = LinkStats::default();
        all.iter().for_each(|d| stats.add(&d.stats));
        Self::new(all.iter().flat_map(|d| d.sorted.iter().copied()).collect(), stats)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// All of them, ascending.
    pub fn sorted(&self) -> &[Micros] {
        &self.sorted
    }

    /// The delay that a share `q` of them does not exceed (nearest rank); `NEVER` when there are none.
    pub fn quantile(&self, q: f64) -> Micros {
        let rank = (q * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.clamp(1, self.sorted.len().max(1)) - 1).copied().unwrap_or(Micros::NEVER)
    }

    /// The share of them that is at least `limit`.
    pub fn share_from(&self, limit: Micros) -> f64 {
        let below = self.sorted.partition_point(|d| *d < limit);
        1.0 - below as f64 / self.sorted.len().max(1) as f64
    }
}

/// One connection, and the messages that it still carries.
struct Carrier {
    link: Link,
    d: Direction,
    /// Where each ends in the stream, and when it was to be sent.
    open: VecDeque<(u64, Micros)>,
    /// What the send buffer has not taken yet.
    waiting: usize,
    end: u64,
    now: Micros,
}

impl Carrier {
    fn connect(profile: &Arc<Profile>, seed: Seed, device: u32, d: Direction) -> Self {
        // Devices begin at different instants, so that nothing is in step.
        let now = Micros((seed.stream("study", u64::from(device)).unit() * 1e6) as i64);
        let mut link = Link::new(Arc::clone(profile), seed, device, 0, now);
        let took = link.handshake().min(PATIENCE);
        link.start(now + took);
        Self { link, d, open: VecDeque::new(), waiting: 0, end: 0, now: now + took }
    }

    /// Sends a message at `at`.
    fn send(&mut self, at: Micros, delays: &mut Vec<Micros>) {
        self.until(at, delays);
        self.end += MESSAGE as u64;
        self.open.push_back((self.end, at));
        self.waiting += MESSAGE;
        self.flush();
        self.collect(delays);
    }

    fn flush(&mut self) {
        while self.waiting > 0 {
            let block = [0; MESSAGE];
            let n = self.waiting.min(MESSAGE);
            let taken = self.link.write(self.d, self.now, block.get(..n).unwrap_or_default());
            self.waiting -= taken;
            if taken == 0 {
                return;
            }
        }
    }

    fn collect(&mut self, delays: &mut Vec<Micros>) {
        let through = self.link.delivered(self.d);
        while let Some((_, at)) = self.open.front().filter(|(end, _)| *end <= through) {
            delays.push(self.now - *at);
            self.open.pop_front();
        }
        self.link.consume(self.d, usize::MAX);
    }

    /// Lets time pass.
    fn until(&mut self, at: Micros, delays: &mut Vec<Micros>) {
        loop {
            let next = self.link.deadline();
            if next > at || next == Micros::NEVER {
                break;
            }
            self.now = self.now.max(next);
            self.link.advance(self.now);
            self.flush();
            self.collect(delays);
        }
        self.now = self.now.max(at);
        self.link.advance(self.now);
        self.flush();
        self.collect(delays);
    }

    /// Until everything has arrived. What never does counts as never.
    fn finish(mut self, delays: &mut Vec<Micros>, stats: &mut LinkStats) {
        let last = self.now + PATIENCE;
        while !self.open.is_empty() && self.link.deadline() < last {
            let next = self.link.deadline();
            self.until(next, delays);
        }
        delays.extend(self.open.iter().map(|_| Micros::NEVER));
        stats.add(&self.link.stats());
    }
}

/// Messages of 200 bytes each 60 ms, on `devices` connections, for `span` each.
pub fn stream(profile: &Arc<Profile>, d: Direction, seed: Seed, devices: u32, span: Micros) -> Delays {
    let (mut all, mut stats) = (Vec::new(), LinkStats::default());
    for device in 0..devices {
        let mut c = Carrier::connect(profile, seed, device, d);
        let start = c.now;
        for i in 0..span.0 / EVERY.0 {
            c.send(start + EVERY * i, &mut all);
        }
        c.finish(&mut all, &mut stats);
    }
    Delays::new(all, stats)
}

/// Messages that come in groups, at once or as an utterance.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Messages of a group.
    pub messages: i64,
    /// Between them; zero: all at once.
    pub every: Micros,
    /// From the first message of a group to that of the next.
    pub period: Micros,
    /// Groups of a connection.
    pub times: i64,
}

/// Delays of the last message of each burst or utterance.
pub fn tails(profile: &Arc<Profile>, d: Direction, seed: Seed, devices: u32, tail: &Tail) -> Delays {
    let (mut all, mut stats) = (Vec::new(), LinkStats::default());
    for device in 0..devices {
        let mut c = Carrier::connect(profile, seed, device, d);
        let start = c.now;
        let mut one = Vec::new();
        for n in 0..tail.times {
            for i in 0..tail.messages {
                c.send(start + tail.period * n + tail.every * i, &mut one);
            }
        }
        c.finish(&mut one, &mut stats);
        // Delivery is in order: so are the delays.
        all.extend(one.chunks(tail.messages.max(1) as usize).filter_map(|c| c.last().copied()));
    }
    Delays::new(all, stats)
}

/// How long `n` handshakes take.
pub fn handshakes(profile: &Arc<Profile>, seed: Seed, n: u32) -> Delays {
    let mut stats = LinkStats::default();
    let all = (0..n).map(|device| {
        let mut link = Link::new(Arc::clone(profile), seed, device, 0, Micros::ZERO);
        let took = link.handshake();
        stats.add(&link.stats());
        took
    });
    let all = all.collect();
    Delays::new(all, stats)
}
