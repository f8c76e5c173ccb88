//! Networks in user space: what a path does to bytes, and what TCP makes of it.
//!
//! Sans-IO: a [`Link`] is told the time, given bytes, and says when which bytes come out. Facts and sources: `docs/NETWORK.md`.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

mod datagram;
mod foreseen;
mod jitter;
mod link;
mod loss;
mod path;
mod plan;
mod preset;
mod profile;
pub mod study;
mod tcp;
mod text;
mod trace;
pub mod traces;
pub mod truth;

pub use datagram::Datagrams;
pub use foreseen::foreseen;
pub use jitter::{Jitter, MEMORY as JITTER_MEMORY};
pub use link::Link;
pub use loss::Loss;
pub use plan::{CONTROL, Group, NetworkPlan};
pub use preset::Preset;
pub use profile::{Change, Profile, Stack, Way};
pub use text::{
    BASE, JITTER_HELP, LOSS_HELP, SCHEDULE_HELP, parse_change, parse_jitter, parse_loss, parse_mix,
};
pub use trace::{OPPORTUNITY, TRACE_HELP, Trace, TraceError};

/// One way of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the device.
    Up,
    /// To the device.
    Down,
}

/// What a link did, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// From the device.
    pub up: WayStats,
    /// To the device.
    pub down: WayStats,
    /// SYNs that were lost while connecting.
    pub syn_lost: u32,
}

impl LinkStats {
    /// Adds what another link did.
    pub fn add(&mut self, other: &Self) {
        self.up.add(&other.up);
        self.down.add(&other.down);
        self.syn_lost = self.syn_lost.saturating_add(other.syn_lost);
    }
}

/// What one way of a link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayStats {
    /// Bytes delivered.
    pub bytes: u64,
    /// Segments sent, without retransmissions.
    pub segments: u64,
    /// Segments (retransmissions too) that the path lost.
    pub lost: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// How often delivery stood still because a segment was missing.
    pub stalls: u64,
    /// For how long in all.
    pub stalled: Micros,
    /// The longest of them.
    pub longest_stall: Micros,
}

impl WayStats {
    /// Adds what another way did.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.lost += other.lost;
        self.retransmissions += other.retransmissions;
        self.timeouts += other.timeouts;
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.longest_stall = self.longest_stall.max(other.longest_stall);
    }
}

#[cfg(test)]
mod tests;
