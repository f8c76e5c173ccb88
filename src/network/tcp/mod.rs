//! A TCP connection between two machines that do not exist: a sender and a receiver each way.
//!
//! What the mechanisms are called, and where they come from: `docs/NETWORK.md`. Times are the link's; sequence numbers count
//! the bytes of the stream from 0, and the end of the stream takes one.

mod ack;
mod cubic;
mod receiver;
mod recovery;
mod rtt;
mod sender;

pub(super) use receiver::Receiver;
pub(super) use sender::Sender;

use std::collections::VecDeque;

use super::path::Path;
use super::profile::{Stack, Way};
use super::{Direction, WayStats};
use crate::time::Micros;

/// Bytes of headers: IPv4, TCP, timestamps.
pub(super) const HEADERS: u32 = 52;

/// Everything about a sender that does not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// Selective acknowledgements, and with them RACK and tail-loss probes.
    pub(super) sack: bool,
    /// Timestamps: a retransmission can be told from the original.
    pub(super) timestamps: bool,
    /// lwIP's congestion control and timers instead of Linux's.
    pub(super) lwip: bool,
    /// Largest segment, bytes.
    pub(super) mss: u32,
    /// First congestion window, segments.
    pub(super) window: u32,
    /// Send buffer, bytes.
    pub(super) buffer: u32,
    /// The receiver's window when nothing is unread, bytes.
    pub(super) receive: u32,
}

impl Params {
    /// Of a way: the device's TCP at one end, the server's Linux at the other.
    pub(super) const fn of(stack: Stack, d: Direction) -> Self {
        let linux = Self {
            sack: true,
            timestamps: true,
            lwip: false,
            mss: 1_448,
            window: 10,
            buffer: 64 << 10,
            receive: 65_535,
        };
        match (stack, d) {
            (Stack::Linux, _) => linux,
            (Stack::LinuxNoSack, _) => Self { sack: false, ..linux },
            (Stack::Lwip, Direction::Up) => Self {
                sack: false,
                timestamps: false,
                lwip: true,
                mss: 1_436,
                window: 3,
                buffer: 5_744,
                receive: 65_535,
            },
            (Stack::Lwip, Direction::Down) => {
                Self { sack: false, timestamps: false, mss: 1_436, receive: 5_744, ..linux }
            }
        }
    }
}

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) arrives: Micros,
    /// After its last byte.
    pub(super) end: u64,
    pub(super) len: u32,
    /// When it was sent: its timestamp.
    pub(super) sent: Micros,
    /// When the application wrote its last byte.
    pub(super) written: Micros,
    /// When the first transmission of its first byte would have arrived.
    pub(super) due: Micros,
}

/// An acknowledgement on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) arrives: Micros,
    /// Everything before has arrived.
    pub(super) next: u64,
    /// The receiver takes bytes up to here.
    pub(super) edge: u64,
    /// Timestamp of the segment that moved `next` last.
    pub(super) echo: Micros,
    /// What has arrived beyond, as offsets from `next`: the newest block first.
    pub(super) blocks: [(u32, u32); 3],
    /// It answers something that had arrived before.
    pub(super) again: bool,
    /// It says nothing new about data: it opens the window.
    pub(super) update: bool,
}

impl Ack {
    /// True when it tells that something is missing, or came twice.
    pub(super) const fn is_urgent(&self) -> bool {
        self.blocks[0].1 > 0 || self.again || self.update
    }
}

/// Where a sender's segments go.
pub(super) struct Out<'a> {
    pub(super) now: Micros,
    pub(super) path: &'a mut Path,
    pub(super) way: (&'a Way, usize),
    pub(super) wire: &'a mut VecDeque<Packet>,
    pub(super) stats: &'a mut WayStats,
}

impl Out<'_> {
    /// Sends a segment; returns when it arrives, or would have.
    fn send(&mut self, end: u64, len: u32, written: Micros, due: Option<Micros>) -> Micros {
        let fate = self.path.send(self.way, self.now, len + HEADERS, true);
        let due = due.unwrap_or(fate.arrives);
        if fate.lost {
            self.stats.lost += 1;
        } else {
            push(self.wire, Packet { arrives: fate.arrives, end, len, sent: self.now, written, due });
        }
        due
    }
}

/// Adds to a queue. The first item alone takes no room for more: it may stay for long, and there are thousands of queues.
pub(super) fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
    queue.push_back(item);
}

/// Gives memory back: most links are idle most of the time, and there are thousands of them.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}
