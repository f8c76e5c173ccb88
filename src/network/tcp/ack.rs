//! What an acknowledgement tells the sender (`tcp_ack`).

use super::sender::{Seg, Sender, State, Timer};
use super::{Ack, Out};
use crate::time::Micros;

/// What one acknowledgement said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// The left edge moved.
    pub(super) advanced: bool,
    /// Segments acknowledged in order that were not known to have arrived.
    pub(super) acked: u32,
    /// Segments known to have arrived for the first time, by selective acknowledgement.
    pub(super) sacked: u32,
    /// Something never sent again arrived that was sent before the state was entered.
    pub(super) original: bool,
    /// It says nothing new: a duplicate.
    pub(super) duplicate: bool,
    /// It answers something that had arrived before.
    pub(super) again: bool,
    /// A retransmission was found to be lost.
    pub(super) lost_again: bool,
    /// RACK has set its timer.
    pub(super) timer_set: bool,
    /// The timestamp it echoes.
    pub(super) echo: Micros,
}

impl News {
    /// Segments that left the network.
    pub(super) const fn delivered(&self) -> u32 {
        self.acked + self.sacked
    }
}

/// Round trips that one acknowledgement measures.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// Of the first segment acknowledged in order.
    acked: Option<Micros>,
    /// Of the first segment acknowledged selectively.
    sacked: Option<Micros>,
}

impl Sender {
    /// An acknowledgement arrives.
    pub(in crate::network) fn acknowledged(&mut self, ack: &Ack, out: &mut Out<'_>) {
        let (now, before, flight_before) = (out.now, self.una, self.out);
        self.edge = self.edge.max(ack.edge);
        if ack.next < self.una {
            return;
        }
        let mut news = News { again: ack.again, echo: ack.echo, ..News::default() };
        let mut measured = Measured::default();
        if self.params.sack {
            self.take_blocks(ack, now, &mut news, &mut measured);
        }
        self.take_edge(ack.next, now, &mut news, &mut measured);
        news.advanced = self.una > before;
        news.duplicate = !self.params.sack && !news.advanced && !ack.update && flight_before > 0;
        let timed = self.params.timestamps && news.advanced;
        let sample = measured.acked.or(measured.sacked).or_else(|| timed.then(|| now - ack.echo));
        let next = self.next();
        if let Some(rtt) = sample {
            self.rtt.sample(rtt, now, self.una, next);
        }
        let head_sent = self.segs.front().filter(|_| self.out > 0).map(|s| s.sent);
        let rearm =
            news.advanced || measured.sacked.zip(head_sent).is_some_and(|(rtt, sent)| rtt > now - sent);
        self.probe_answered(&news);
        if !self.params.sack {
            self.take_duplicates(&mut news);
        }
        if news.advanced {
            self.timeouts = 0;
        }
        let repair = if news.sacked > 0 || news.duplicate || !news.advanced || self.state != State::Open {
            self.alarm(&mut news, out)
        } else {
            false
        };
        if rearm && !news.timer_set && !self.arm_probe(now, true) {
            self.rearm(now);
        }
        self.control(&news, now);
        if repair {
            self.repair(out);
        }
        if self.timer == Timer::Window && self.segs.front().is_some_and(|s| s.end <= self.edge) {
            self.set(Timer::Off, Micros::NEVER);
            self.rtt.backoff = 0;
        }
        self.push(out, false);
        self.tidy();
    }

    /// Marks what has arrived out of order (`tcp_sacktag_write_queue`).
    fn take_blocks(&mut self, ack: &Ack, now: Micros, news: &mut News, measured: &mut Measured) {
        if ack.blocks[0].1 == 0 {
            return;
        }
        let blocks = ack.blocks.map(|(a, b)| (ack.next + u64::from(a), ack.next + u64::from(b)));
        for i in 0..self.out {
            let Some(seg) = self.segs.get_mut(i) else {
                break;
            };
            let start = seg.start();
            if seg.sacked || !blocks.iter().any(|(a, b)| *a <= start && seg.end <= *b && a < b) {
                continue;
            }
            seg.sacked = true;
            self.lost -= u32::from(std::mem::take(&mut seg.lost));
            self.again -= u32::from(std::mem::take(&mut seg.again));
            self.sacked += 1;
            news.sacked += 1;
            let seg = *seg;
            if !seg.ever {
                measured.sacked.get_or_insert(now - seg.sent);
                news.original |= seg.end <= self.high;
            }
            self.rack_advance(&seg, now);
        }
    }

    /// Drops what has arrived in order (`tcp_clean_rtx_queue`).
    fn take_edge(&mut self, next: u64, now: Micros, news: &mut News, measured: &mut Measured) {
        while self.out > 0
            && let Some(seg) = self.segs.front_mut()
        {
            if seg.end > next {
                // A retransmission took several segments together, and the first of them has arrived before.
                seg.len = seg.len.min((seg.end - next) as u32);
                break;
            }
            let seg = *seg;
            self.segs.pop_front();
            self.out -= 1;
            self.lost -= u32::from(seg.lost);
            self.again -= u32::from(seg.again);
            if seg.sacked {
                self.sacked -= 1;
                continue;
            }
            news.acked += 1;
            if !seg.ever {
                measured.acked.get_or_insert(now - seg.sent);
                news.original |= seg.end <= self.high;
            }
            self.rack_advance(&seg, now);
        }
        self.una = self.una.max(next);
    }

    /// Without selective acknowledgements, duplicates stand for segments that have arrived (`tcp_remove_reno_sacks`).
    fn take_duplicates(&mut self, news: &mut News) {
        if news.acked == 0 {
            return;
        }
        // One segment filled the hole; the others were counted as duplicates.
        let (acked, counted) = (news.acked, self.sacked);
        self.sacked = counted.saturating_sub(acked - 1);
        news.acked = acked.saturating_sub(counted).max(1);
        self.limit_duplicates(acked);
    }

    /// RACK: the newest transmission known to have arrived (`tcp_rack_advance`).
    fn rack_advance(&mut self, seg: &Seg, now: Micros) {
        let rtt = now - seg.sent;
        if seg.ever && rtt < self.rtt.least() {
            // It cannot be the retransmission that arrived.
            return;
        }
        self.rack = match self.rack {
            Some((sent, end, _)) if (sent, end) > (seg.sent, seg.end) => Some((sent, end, rtt)),
            _ => Some((seg.sent, seg.end, rtt)),
        };
    }

    /// What became of a tail-loss probe (`tcp_process_tlp_ack`).
    fn probe_answered(&mut self, news: &News) {
        let Some((high, again)) = self.probed else {
            return;
        };
        if self.una < high {
            return;
        }
        if again && !news.again && self.una > high {
            // The probe repaired a loss, which is a sign of congestion: as if it had been found otherwise.
            self.probed = None;
            self.begin_reduction();
            self.end_reduction();
            self.state = if self.sacked + self.lost + self.again > 0 { State::Disorder } else { State::Open };
        } else if !again || news.again || !news.advanced {
            self.probed = None;
        }
    }
}
