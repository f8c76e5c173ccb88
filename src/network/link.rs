//! One connection of one device: a path each way, and a TCP sender at each end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::profile::Profile;
use super::{Direction, LinkStats};
use crate::seed::Seed;
use crate::time::Micros;

/// One connection of one device, both ways.
#[derive(Debug)]
pub struct Link {
    profile: Arc<Profile>,
    now: Micros,
    up: Flow,
    down: Flow,
}

#[derive(Debug, Default)]
struct Flow {
    data: VecDeque<u8>,
    consumed: u64,
    ended: bool,
}

impl Link {
    /// The link of connection `connection` (0, 1, 2, … over its life) of device `device`, which starts to connect at `now`.
    pub fn new(profile: Arc<Profile>, seed: Seed, device: u32, connection: u32, now: Micros) -> Self {
        let _ = (seed, device, connection);
        Self { profile, now, up: Flow::default(), down: Flow::default() }
    }

    /// How long TCP's handshake takes here: the round trip, and the SYNs that get lost; `NEVER` when it gives up. To be
    /// called once, before anything is written.
    pub fn handshake(&mut self) -> Micros {
        self.profile.rtt()
    }

    /// The connection is established at `now`.
    pub fn start(&mut self, now: Micros) {
        self.now = now;
    }

    /// Bytes that [`Link::write`] would take.
    pub fn room(&self, d: Direction) -> usize {
        (64 << 10) - self.flow(d).data.len()
    }

    /// Gives bytes to the sender; returns how many it took.
    pub fn write(&mut self, d: Direction, now: Micros, bytes: &[u8]) -> usize {
        self.now = now;
        let n = self.room(d).min(bytes.len());
        self.flow_mut(d).data.extend(&bytes[..n]);
        n
    }

    /// Nothing more will be written.
    pub fn finish(&mut self, d: Direction, now: Micros) {
        self.now = now;
        self.flow_mut(d).ended = true;
    }

    /// Time has come.
    pub fn advance(&mut self, now: Micros) {
        self.now = now;
    }

    /// What has been delivered in order and is not consumed yet.
    pub fn ready(&self, d: Direction) -> (&[u8], &[u8]) {
        self.flow(d).data.as_slices()
    }

    /// Takes `n` bytes of what is ready.
    pub fn consume(&mut self, d: Direction, n: usize) {
        let flow = self.flow_mut(d);
        let n = n.min(flow.data.len());
        flow.data.drain(..n);
        flow.consumed += n as u64;
    }

    /// True when the sender has finished, and all that it sent is consumed.
    pub fn finished(&self, d: Direction) -> bool {
        self.flow(d).ended && self.flow(d).data.is_empty()
    }

    /// The next instant at which something may come out, or has to be done; `NEVER` when nothing will happen.
    pub fn deadline(&self) -> Micros {
        Micros::NEVER
    }

    /// Bytes written so far.
    pub fn written(&self, d: Direction) -> u64 {
        self.flow(d).consumed + self.flow(d).data.len() as u64
    }

    /// Bytes delivered in order so far.
    pub fn delivered(&self, d: Direction) -> u64 {
        self.written(d)
    }

    /// Of the bytes delivered last: from their write to their delivery.
    pub fn delay(&self, d: Direction) -> Micros {
        let _ = d;
        Micros::ZERO
    }

    /// Bytes written and not acknowledged: what an adaptive device looks at.
    pub fn backlog(&self, d: Direction) -> usize {
        let _ = d;
        0
    }

    /// Everything on the path is lost, both ways, from `now` until `until`; `NEVER`: for good.
    pub fn lose_until(&mut self, now: Micros, until: Micros) {
        let _ = (now, until);
    }

    /// What happened so far.
    pub fn stats(&self) -> LinkStats {
        LinkStats::default()
    }

    const fn flow(&self, d: Direction) -> &Flow {
        match d {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    const fn flow_mut(&mut self, d: Direction) -> &mut Flow {
        match d {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}
