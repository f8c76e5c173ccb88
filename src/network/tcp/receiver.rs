//! The receiving end: holds what comes out of order, releases in order, acknowledges at once.

use super::{Ack, Packet};
use crate::time::Micros;

/// What has arrived beyond a hole.
#[derive(Clone, Copy, Debug)]
struct Held {
    start: u64,
    end: u64,
    /// When the application wrote the last of it.
    written: Micros,
}

/// What an arrival released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::network) struct Released {
    /// When the application wrote the last byte of it.
    pub(in crate::network) written: Micros,
}

/// The receiving end of one way.
#[derive(Clone, Debug)]
pub(in crate::network) struct Receiver {
    /// Everything before has arrived.
    pub(in crate::network) next: u64,
    /// Ascending, apart.
    held: Vec<Held>,
    /// Bytes that may wait for the application.
    buffer: u32,
    /// The sender has been told that it may send up to here.
    edge: u64,
    /// Timestamp of the segment that moved `next` last.
    echo: Micros,
}

impl Receiver {
    pub(in crate::network) const fn new(buffer: u32) -> Self {
        Self { next: 0, held: Vec::new(), buffer, edge: buffer as u64, echo: Micros::ZERO }
    }

    /// Bytes that may wait for the application.
    pub(in crate::network) const fn buffer(&self) -> usize {
        self.buffer as usize
    }

    /// Bytes of memory that it holds.
    pub(in crate::network) fn held(&self) -> usize {
        self.held.capacity() * size_of::<Held>()
    }

    /// Bytes up to `at` were delivered without a network.
    pub(in crate::network) fn skip_to(&mut self, at: u64) {
        self.next = self.next.max(at);
        self.edge = self.edge.max(at + u64::from(self.buffer));
    }

    /// A segment arrives; what it released, and the acknowledgement (without its time of arrival).
    pub(in crate::network) fn arrive(&mut self, packet: &Packet, consumed: u64) -> (Option<Released>, Ack) {
        let start = packet.end - u64::from(packet.len);
        let known =
            packet.end <= self.next || self.held.iter().any(|h| h.start <= start && packet.end <= h.end);
        let mut released = None;
        let mut block = None;
        if start <= self.next && packet.end > self.next {
            self.next = packet.end;
            self.echo = packet.sent;
            let mut written = packet.written;
            let reached = self.held.iter().take_while(|h| h.start <= self.next).count();
            for held in self.held.drain(..reached) {
                if held.end > self.next {
                    self.next = held.end;
                    written = held.written;
                }
            }
            released = Some(Released { written });
        } else if !known {
            block = Some(self.hold(start, packet));
        }
        if self.held.is_empty() && self.held.capacity() > 0 {
            self.held = Vec::new();
        }
        let mut ack = self.acknowledge(consumed, known);
        let offset = |at: u64| u32::try_from(at - self.next).unwrap_or(u32::MAX);
        // The block that has just grown first, then the others from the newest end.
        let newest = block.and_then(|i| self.held.get(i));
        let others = self.held.iter().rev().filter(|h| newest.is_none_or(|n| n.start != h.start));
        for (at, held) in ack.blocks.iter_mut().zip(newest.into_iter().chain(others)) {
            *at = (offset(held.start), offset(held.end));
        }
        (released, ack)
    }

    /// Puts a segment among those that are held; where.
    fn hold(&mut self, start: u64, packet: &Packet) -> usize {
        let at = self.held.partition_point(|h| h.end < start);
        let mut merged = Held { start, end: packet.end, written: packet.written };
        let overlapping = self.held.get(at..).unwrap_or_default();
        let n = overlapping.iter().take_while(|h| h.start <= merged.end).count();
        for held in self.held.drain(at..at + n) {
            merged.start = merged.start.min(held.start);
            if held.end > merged.end {
                (merged.end, merged.written) = (held.end, held.written);
            }
        }
        self.held.insert(at, merged);
        at
    }

    fn acknowledge(&mut self, consumed: u64, again: bool) -> Ack {
        self.edge = self.edge.max(self.offered(consumed));
        Ack {
            arrives: Micros::NEVER,
            next: self.next,
            edge: self.edge,
            echo: self.echo,
            blocks: [(0, 0); 3],
            again,
            update: false,
        }
    }

    const fn offered(&self, consumed: u64) -> u64 {
        let unread = self.next.saturating_sub(consumed);
        self.next + (self.buffer as u64).saturating_sub(unread)
    }

    /// The application has read: whether that opens the window enough to tell the sender (as Linux does: when less than
    /// half was left, and it has at least doubled).
    pub(in crate::network) fn read(&mut self, consumed: u64) -> Option<Ack> {
        let left = self.edge.saturating_sub(self.next);
        let now = self.offered(consumed).saturating_sub(self.next);
        if left * 2 > u64::from(self.buffer) || now < 2 * left.max(1) {
            return None;
        }
        let mut ack = self.acknowledge(consumed, false);
        ack.update = true;
        Some(ack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(start: u64, end: u64) -> Packet {
        let t = Micros(end as i64);
        Packet { arrives: t, end, len: (end - start) as u32, sent: t, written: t, due: t }
    }

    #[test]
    fn holds_and_releases_in_order() {
        let mut r = Receiver::new(10_000);
        assert_eq!(r.arrive(&packet(0, 100), 0).0, Some(Released { written: Micros(100) }));
        let (released, ack) = r.arrive(&packet(300, 400), 0);
        assert_eq!((released, ack.next, ack.blocks[0]), (None, 100, (200, 300)));
        let (_, ack) = r.arrive(&packet(600, 700), 0);
        assert_eq!(ack.blocks[..2], [(500, 600), (200, 300)]);
        let (_, ack) = r.arrive(&packet(400, 600), 0);
        assert_eq!(ack.blocks, [(200, 600), (0, 0), (0, 0)]);
        assert!(r.arrive(&packet(300, 400), 0).1.again);
        let (released, ack) = r.arrive(&packet(100, 300), 0);
        assert_eq!(
            (released, ack.next, ack.echo),
            (Some(Released { written: Micros(700) }), 700, Micros(300))
        );
        assert!(r.held.is_empty() && r.arrive(&packet(0, 100), 0).1.again);
    }

    #[test]
    fn the_window_closes_and_opens() {
        let mut r = Receiver::new(1_000);
        assert_eq!(r.arrive(&packet(0, 400), 0).1.edge, 1_000);
        assert_eq!(r.arrive(&packet(400, 1_000), 0).1.edge, 1_000);
        assert!(r.read(0).is_none());
        assert_eq!(r.read(600).map(|a| (a.edge, a.update)), Some((1_600, true)));
        assert!(r.read(700).is_none(), "more than half of it is open");
    }
}
