//! How loss is found and repaired (`tcp_fastretrans_alert`, `tcp_recovery.c`), and what it does to the window.

use super::Out;
use super::ack::News;
use super::sender::{DUPLICATES, Sender, State, TIMER_LEAST, Timer};
use crate::time::Micros;

impl Sender {
    // ── States ───────────────────────────────────────────────────────────────────────────────────────────────

    /// An acknowledgement that is not just the next one. True: lost segments are to be sent again.
    pub(super) fn alarm(&mut self, news: &mut News, out: &mut Out<'_>) -> bool {
        if self.state == State::Open {
            self.began = None;
        } else if self.una >= self.high {
            match self.state {
                State::Reducing if self.una != self.high => {
                    self.end_reduction();
                    self.state = State::Open;
                }
                State::Recovery => {
                    self.forget_duplicates();
                    // Without selective acknowledgements, only what is above tells old duplicates from new ones.
                    if self.params.sack || self.una > self.high || self.out == 0 {
                        self.end_reduction();
                        self.state = State::Open;
                        self.began = None;
                    } else {
                        return false;
                    }
                }
                _ => {}
            }
        }
        match self.state {
            State::Recovery => {
                if !news.advanced {
                    self.count_duplicate(news);
                }
                self.find_losses(news, out.now);
                true
            }
            State::Loss => {
                if let Some(repair) = self.after_timeout(news, out) {
                    return repair;
                }
                self.find_losses(news, out.now);
                if self.state != State::Open && !news.lost_again {
                    return true;
                }
                self.may_recover()
            }
            State::Open | State::Disorder | State::Reducing => {
                if news.advanced {
                    self.forget_duplicates();
                }
                self.count_duplicate(news);
                self.find_losses(news, out.now);
                self.may_recover()
            }
        }
    }

    fn count_duplicate(&mut self, news: &mut News) {
        if news.duplicate && !self.params.sack {
            news.sacked += 1;
            self.sacked += 1;
            self.limit_duplicates(0);
            if self.params.lwip && self.state == State::Recovery {
                self.cwnd += 1;
            }
        }
    }

    /// More duplicates than segments: the path must have reordered, or so Linux thinks (`tcp_check_reno_reordering`). A
    /// retransmission that took several segments together makes it think so, and then fewer duplicates are a loss.
    pub(super) fn limit_duplicates(&mut self, acked: u32) {
        let out = self.out as u32;
        let holes = self.lost.max(1).min(out);
        if self.sacked + holes > out {
            self.sacked = out - holes;
            if !self.params.lwip {
                self.duplicates = (out + acked).min(300);
            }
        }
    }

    fn forget_duplicates(&mut self) {
        if !self.params.sack {
            self.sacked = 0;
        }
    }

    fn may_recover(&mut self) -> bool {
        if self.lost == 0 {
            if self.state < State::Reducing {
                let trouble = self.sacked + self.again > 0;
                if self.again == 0 {
                    self.began = None;
                }
                self.state = if trouble { State::Disorder } else { State::Open };
            }
            return false;
        }
        self.enter_recovery();
        true
    }

    fn enter_recovery(&mut self) {
        if !self.is_reducing() {
            self.begin_reduction();
        }
        if self.params.lwip {
            self.cwnd = self.threshold + DUPLICATES;
        }
        self.state = State::Recovery;
    }

    /// After a timeout (`tcp_process_loss`, with F-RTO). `Some`: that is all, and whether to send lost segments again.
    fn after_timeout(&mut self, news: &mut News, out: &mut Out<'_>) -> Option<bool> {
        let recovered = self.una >= self.high;
        let original = self.params.timestamps && self.began.is_some_and(|began| news.echo < began);
        if news.advanced && original {
            self.undo();
            return Some(false);
        }
        if self.doubtful {
            if news.original {
                // Not everything was lost: the timeout was too early, or hit something else.
                self.undo();
                if self.state == State::Open {
                    self.find_losses(news, out.now);
                    return Some(self.may_recover());
                }
                return Some(false);
            }
            if self.next() > self.high {
                if news.sacked > 0 || news.duplicate {
                    self.doubtful = false;
                }
            } else if news.advanced && !recovered {
                // First see whether new data gets through.
                self.high = self.next();
                self.control(news, out.now);
                if self.push(out, false) {
                    *news = News { acked: 0, sacked: 0, ..*news };
                    return Some(false);
                }
                self.doubtful = false;
            }
        }
        if recovered {
            self.forget_duplicates();
            self.state = State::Open;
            self.began = None;
            return None;
        }
        if self.params.sack {
            return None;
        }
        if self.next() > self.high && news.duplicate {
            self.count_duplicate(news);
        } else if news.advanced {
            self.forget_duplicates();
        }
        None
    }

    /// A timeout was too early: as if it had not been (Eifel, RFC 4015).
    fn undo(&mut self) {
        for seg in self.segs.iter_mut().take(self.out) {
            seg.lost = false;
        }
        self.lost = 0;
        self.cwnd = self.cwnd.max(self.prior_cwnd);
        self.threshold = self.threshold.max(self.prior_threshold);
        self.timeouts = 0;
        self.doubtful = false;
        self.state = State::Open;
        self.began = None;
    }

    // ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────

    fn find_losses(&mut self, news: &mut News, now: Micros) {
        let before = self.again;
        if self.params.sack {
            if let Some(rest) = self.rack(now) {
                self.set(Timer::Reorder, now + rest + TIMER_LEAST);
                news.timer_set = true;
            }
        } else if (self.state < State::Recovery && self.sacked >= self.duplicates)
            || (self.state == State::Recovery && news.advanced)
        {
            // The first of them, once.
            if self.segs.front().is_some_and(|s| !s.lost) && self.out > 0 {
                self.mark_lost(0);
            }
        }
        news.lost_again |= self.again < before;
    }

    /// RACK (RFC 8985): lost is what was sent before something that has arrived, a round trip and a reordering window ago.
    /// What remains until the next of them is.
    fn rack(&mut self, now: Micros) -> Option<Micros> {
        let (sent, end, rtt) = self.rack?;
        let patience = if self.state >= State::Recovery || self.sacked >= DUPLICATES {
            Micros::ZERO
        } else {
            (self.rtt.least() / 4).min(self.rtt.srtt().unwrap_or(Micros::ZERO))
        };
        let mut rest = None;
        for i in 0..self.out {
            let Some(seg) = self.segs.get(i) else {
                break;
            };
            if seg.sacked || (seg.lost && !seg.again) || (seg.sent, seg.end) >= (sent, end) {
                continue;
            }
            let left = seg.sent + rtt + patience - now;
            if left <= Micros::ZERO {
                self.mark_lost(i);
            } else {
                rest = rest.max(Some(left));
            }
        }
        rest
    }

    fn mark_lost(&mut self, i: usize) {
        let Some(seg) = self.segs.get_mut(i).filter(|s| !s.sacked) else {
            return;
        };
        if !seg.lost {
            seg.lost = true;
            self.lost += 1;
        } else if seg.again {
            seg.again = false;
            self.again -= 1;
        }
    }

    /// The reordering window has passed (`tcp_rack_reo_timeout`).
    pub(super) fn reorder_timeout(&mut self, out: &mut Out<'_>) {
        let before = self.in_flight();
        // The rest, if any, is left to the timeout, as Linux does.
        let _ = self.rack(out.now);
        if self.in_flight() != before {
            if self.state != State::Recovery {
                self.enter_recovery();
                self.reduce(1, false);
            }
            self.repair(out);
        }
        if self.timer != Timer::Timeout {
            self.rearm(out.now);
        }
    }

    // ── Repairing ────────────────────────────────────────────────────────────────────────────────────────────

    /// Sends lost segments again, as far as the window allows (`tcp_xmit_retransmit_queue`).
    pub(super) fn repair(&mut self, out: &mut Out<'_>) {
        let mut i = 0;
        while i < self.out && self.in_flight() < self.cwnd && self.again < self.lost {
            let due = self.segs.get(i).is_some_and(|s| s.lost && !s.sacked && !s.again);
            if due {
                self.retransmit(i, out);
                if self.is_reducing() {
                    self.prr_out += 1;
                }
                if i == 0 && self.timer != Timer::Reorder {
                    self.set(Timer::Timeout, out.now + self.rtt.rto());
                }
            }
            i += 1;
        }
    }

    /// A retransmission timeout (`tcp_retransmit_timer`).
    pub(super) fn time_out(&mut self, out: &mut Out<'_>) {
        if self.out == 0 {
            self.set(Timer::Off, Micros::NEVER);
            return;
        }
        out.stats.timeouts += 1;
        self.forget_duplicates();
        let rack = self.rack.map(|(_, _, rtt)| rtt);
        for i in 0..self.out {
            let young = self
                .segs
                .get(i)
                .is_some_and(|s| self.params.sack && i > 0 && rack.is_some_and(|rtt| s.sent + rtt > out.now));
            if !young {
                self.mark_lost(i);
            }
        }
        let first = matches!(self.state, State::Open | State::Disorder)
            || self.una >= self.high
            || (self.state == State::Loss && self.timeouts == 0);
        if first {
            self.prior_cwnd = self.cwnd;
            self.prior_threshold = self.kept_threshold();
            self.threshold = self.reduced();
            self.cubic.reset();
            self.began = None;
        }
        self.cwnd = if self.params.lwip { 1 } else { self.in_flight() + 1 };
        self.high = self.next();
        self.probed = None;
        self.doubtful = !self.params.lwip && (self.state < State::Recovery || self.timeouts > 0);
        self.state = State::Loss;
        self.retransmit(0, out);
        self.timeouts += 1;
        self.rtt.backoff += 1;
        self.set(Timer::Timeout, out.now + self.rtt.rto());
    }

    // ── The window ───────────────────────────────────────────────────────────────────────────────────────────

    pub(super) const fn is_reducing(&self) -> bool {
        matches!(self.state, State::Reducing | State::Recovery) && !self.params.lwip
    }

    /// The threshold after a loss.
    fn reduced(&mut self) -> u32 {
        if self.params.lwip {
            (self.cwnd.min(self.out as u32) / 2).max(2)
        } else {
            self.cubic.reduced(self.cwnd)
        }
    }

    /// The threshold that is remembered (`tcp_current_ssthresh`).
    pub(super) fn kept_threshold(&self) -> u32 {
        if self.is_reducing() { self.threshold } else { self.threshold.max(self.cwnd / 2 + self.cwnd / 4) }
    }

    pub(super) fn begin_reduction(&mut self) {
        self.high = self.next();
        self.probed = None;
        self.prior_cwnd = self.cwnd;
        self.prior_threshold = self.kept_threshold();
        self.prr_delivered = 0;
        self.prr_out = 0;
        self.threshold = self.reduced();
    }

    pub(super) fn end_reduction(&mut self) {
        if self.threshold < u32::MAX {
            self.cwnd = self.threshold;
        }
    }

    /// Proportional rate reduction (RFC 6937, `tcp_cwnd_reduction`).
    fn reduce(&mut self, delivered: u32, advanced: bool) {
        if delivered == 0 || self.prior_cwnd == 0 {
            return;
        }
        self.prr_delivered += delivered;
        let flight = self.in_flight();
        let (threshold, prior) = (u64::from(self.threshold), u64::from(self.prior_cwnd));
        let mut count = if flight > self.threshold {
            let wanted = (threshold * u64::from(self.prr_delivered)).div_ceil(prior) as i64;
            wanted - i64::from(self.prr_out)
        } else {
            let wanted = (i64::from(self.prr_delivered) - i64::from(self.prr_out)).max(i64::from(delivered));
            (wanted + i64::from(advanced)).min(i64::from(self.threshold - flight))
        };
        // At least the first retransmission goes at once.
        count = count.max(i64::from(self.prr_out == 0)).max(0);
        self.cwnd = flight + count as u32;
    }

    /// Grows or shrinks the window (`tcp_cong_control`).
    pub(super) fn control(&mut self, news: &News, now: Micros) {
        if self.is_reducing() {
            self.reduce(news.delivered(), news.advanced);
        } else if news.acked > 0 && self.state != State::Recovery && self.is_limited() {
            let mut acked = news.delivered();
            if self.cwnd < self.threshold {
                let grown = (self.cwnd.saturating_add(acked)).min(self.threshold);
                acked -= grown - self.cwnd;
                self.cwnd = grown;
            }
            if acked > 0 {
                let rtt = self.rtt.least();
                self.cwnd += self.cubic.grow(now, self.cwnd, acked, rtt);
            }
        } else if self.params.lwip && self.state == State::Recovery && news.advanced {
            // Each partial acknowledgement takes out what it inflated.
            self.cwnd = self.cwnd.saturating_sub(news.acked).max(self.threshold);
        }
        self.cwnd = self.cwnd.clamp(1, 10_000);
    }
}
