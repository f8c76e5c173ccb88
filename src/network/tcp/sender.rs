//! The sending end: what has been written, what is on its way, and the one timer.

use std::collections::VecDeque;

use super::cubic::Cubic;
use super::rtt::Rtt;
use super::{Out, Params, push, shrink};
use crate::time::Micros;

/// Linux allows this much for timers that are late themselves.
pub(super) const TIMER_LEAST: Micros = Micros::from_millis(2);
/// The least retransmission timeout of Linux, added to probes of a single segment.
const RTO_LEAST: Micros = Micros::from_millis(200);

/// So many duplicate acknowledgements are a loss, at first.
pub(super) const DUPLICATES: u32 = 3;

/// What a sender believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// All is well.
    Open,
    /// Something came out of order, or was sent again to be sure.
    Disorder,
    /// The window is being reduced after a probe that found a loss.
    Reducing,
    /// Something was lost, and is sent again.
    Recovery,
    /// A timeout.
    Loss,
}

/// What the one timer is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::network) enum Timer {
    /// Nothing.
    Off,
    /// Retransmission timeout.
    Timeout,
    /// Tail-loss probe.
    Probe,
    /// A segment that is late counts as lost soon.
    Reorder,
    /// The receiver's window is closed: asking whether it still is.
    Window,
}

/// A piece of the stream: written, and perhaps sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seg {
    /// After its last byte.
    pub(super) end: u64,
    pub(super) len: u32,
    /// When its last byte was written.
    pub(super) written: Micros,
    /// When it was sent last.
    pub(super) sent: Micros,
    /// When its first transmission arrives, or would have.
    pub(super) due: Micros,
    pub(super) sacked: bool,
    pub(super) lost: bool,
    /// A retransmission of it is on its way.
    pub(super) again: bool,
    /// It was ever sent more than once.
    pub(super) ever: bool,
}

impl Seg {
    pub(super) const fn start(&self) -> u64 {
        self.end - self.len as u64
    }
}

/// The sending end of one way.
#[derive(Clone, Debug)]
pub(in crate::network) struct Sender {
    pub(super) params: Params,
    /// Not acknowledged yet; the first `out` of them have been sent.
    pub(super) segs: VecDeque<Seg>,
    pub(super) out: usize,
    /// Everything before is acknowledged.
    pub(super) una: u64,
    /// Everything before has been written.
    pub(super) end: u64,
    /// The receiver takes bytes up to here.
    pub(super) edge: u64,
    pub(super) cwnd: u32,
    pub(super) threshold: u32,
    pub(super) state: State,
    /// What was sent when the state was entered.
    pub(super) high: u64,
    /// Segments with selective acknowledgements; without these, duplicate acknowledgements.
    pub(super) sacked: u32,
    /// So many duplicates are a loss.
    pub(super) duplicates: u32,
    pub(super) lost: u32,
    pub(super) again: u32,
    pub(super) prior_cwnd: u32,
    pub(super) prior_threshold: u32,
    pub(super) prr_delivered: u32,
    pub(super) prr_out: u32,
    /// When the first retransmission of this episode was sent.
    pub(super) began: Option<Micros>,
    /// A timeout may have been spurious (F-RTO).
    pub(super) doubtful: bool,
    /// Timeouts since the last progress.
    pub(super) timeouts: u32,
    pub(super) rtt: Rtt,
    /// RACK: the segment sent last among those delivered: when, its end, its round trip.
    pub(super) rack: Option<(Micros, u64, Micros)>,
    /// What was sent when a tail was probed, and whether the probe was a retransmission.
    pub(super) probed: Option<(u64, bool)>,
    pub(super) timer: Timer,
    pub(super) at: Micros,
    pub(super) cubic: Cubic,
    /// Whether the window was what limited sending, and the most segments out, in this round trip.
    pub(super) limited: bool,
    pub(super) most_out: u32,
    pub(super) usage: u64,
    last_sent: Option<Micros>,
}

impl Sender {
    pub(in crate::network) fn new(params: Params) -> Self {
        Self {
            params,
            segs: VecDeque::new(),
            out: 0,
            una: 0,
            end: 0,
            edge: u64::from(params.receive),
            cwnd: params.window,
            threshold: u32::MAX,
            state: State::Open,
            high: 0,
            sacked: 0,
            duplicates: DUPLICATES,
            lost: 0,
            again: 0,
            prior_cwnd: 0,
            prior_threshold: u32::MAX,
            prr_delivered: 0,
            prr_out: 0,
            began: None,
            doubtful: false,
            timeouts: 0,
            rtt: Rtt::new(params.lwip),
            rack: None,
            probed: None,
            timer: Timer::Off,
            at: Micros::NEVER,
            cubic: Cubic::default(),
            limited: false,
            most_out: 0,
            usage: 0,
            last_sent: None,
        }
    }

    /// The handshake measured the round trip.
    pub(in crate::network) fn measured(&mut self, rtt: Micros, now: Micros) {
        self.rtt.sample(rtt, now, 0, 0);
    }

    /// Bytes up to `at` were delivered without a network, into a window of `receive`.
    pub(in crate::network) fn skip_to(&mut self, at: u64, receive: usize) {
        (self.una, self.end, self.edge) = (at, at, at + receive as u64);
    }

    // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Size of the send buffer, bytes.
    pub(in crate::network) const fn buffer(&self) -> usize {
        self.params.buffer as usize
    }

    /// Free bytes of the send buffer.
    pub(in crate::network) const fn room(&self) -> usize {
        (self.params.buffer as u64).saturating_sub(self.end - self.una) as usize
    }

    /// Bytes written and not acknowledged.
    pub(in crate::network) const fn backlog(&self) -> usize {
        (self.end - self.una) as usize
    }

    /// When the timer goes off.
    pub(in crate::network) const fn deadline(&self) -> Micros {
        self.at
    }

    /// Everything written is acknowledged by an acknowledgement for `next`.
    pub(in crate::network) const fn is_done_by(&self, next: u64) -> bool {
        next >= self.end
    }

    /// True when the next acknowledgement lets something happen: bytes wait for it, or something is being repaired.
    pub(in crate::network) fn wants_news(&self) -> bool {
        self.out < self.segs.len() || self.state > State::Open || self.room() == 0
    }

    /// Takes `len` bytes that fit, and sends what may be sent. `fin`: the end of the stream, one byte of its own.
    pub(in crate::network) fn write(&mut self, len: usize, out: &mut Out<'_>) {
        self.after_a_pause(out.now);
        let mut len = len as u32;
        // What waits is filled up to a whole segment; what does not wait goes as it was written.
        if self.out < self.segs.len()
            && let Some(last) = self.segs.back_mut()
        {
            let more = len.min(self.params.mss.saturating_sub(last.len));
            if more > 0 {
                last.len += more;
                last.end += u64::from(more);
                last.written = out.now;
                self.end += u64::from(more);
                len -= more;
            }
        }
        while len > 0 {
            let part = len.min(self.params.mss);
            self.end += u64::from(part);
            len -= part;
            let seg = Seg {
                end: self.end,
                len: part,
                written: out.now,
                sent: out.now,
                due: out.now,
                sacked: false,
                lost: false,
                again: false,
                ever: false,
            };
            push(&mut self.segs, seg);
        }
        self.push(out, false);
    }

    /// Slow start after idle: the window halves for each timeout of silence, down to the first window (RFC 2861).
    fn after_a_pause(&mut self, now: Micros) {
        let Some(last) = self.last_sent.filter(|_| self.out == 0 && !self.params.lwip) else {
            return;
        };
        let (mut idle, rto) = (now - last, self.rtt.rto().max(Micros(1)));
        if idle <= rto {
            return;
        }
        self.threshold = self.kept_threshold();
        let floor = self.params.window.min(self.cwnd);
        let mut cwnd = self.cwnd;
        idle -= rto;
        while idle > Micros::ZERO && cwnd > floor {
            cwnd /= 2;
            idle -= rto;
        }
        self.cwnd = cwnd.max(floor);
    }

    // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Segments on their way, as far as the sender knows.
    pub(super) fn in_flight(&self) -> u32 {
        (self.out as u32 + self.again).saturating_sub(self.sacked + self.lost)
    }

    /// What has been sent, by its end.
    pub(super) fn next(&self) -> u64 {
        self.out.checked_sub(1).and_then(|i| self.segs.get(i)).map_or(self.una, |s| s.end)
    }

    /// Sends what the windows allow; with `probe`, one segment whatever the congestion window says.
    pub(super) fn push(&mut self, out: &mut Out<'_>, probe: bool) -> bool {
        let mut sent = 0;
        while self.out < self.segs.len() {
            if self.in_flight() >= self.cwnd && !probe {
                break;
            }
            let Some(seg) = self.segs.get_mut(self.out) else {
                break;
            };
            if seg.end > self.edge {
                break;
            }
            if self.out as u32 + self.again <= self.sacked + self.lost
                && let Some(last) = self.last_sent
            {
                self.cubic.idle(out.now - last);
            }
            seg.sent = out.now;
            seg.due = out.send(seg.end, seg.len, seg.written, None);
            out.stats.segments += 1;
            self.last_sent = Some(out.now);
            self.out += 1;
            sent += 1;
            if self.out == 1 || self.timer == Timer::Probe {
                self.rearm(out.now);
            }
            if probe {
                break;
            }
        }
        let limited = self.in_flight() >= self.cwnd;
        if sent > 0 || limited {
            self.note_use(limited);
        }
        if sent > 0 {
            if self.is_reducing() {
                self.prr_out += sent;
            }
            if !probe {
                self.arm_probe(out.now, false);
            }
        } else if self.out == 0 && !self.segs.is_empty() && self.timer == Timer::Off {
            // Only the receiver's window is in the way: ask it from time to time.
            self.set(Timer::Window, out.now + self.rtt.rto());
        }
        sent > 0
    }

    /// How far the congestion window is used (`tcp_cwnd_validate`).
    fn note_use(&mut self, limited: bool) {
        let out = self.out as u32;
        if self.una >= self.usage || limited || (!self.limited && out > self.most_out) {
            self.limited = limited;
            self.most_out = out;
            self.usage = self.next();
        }
    }

    /// True when the window, not the application, is the limit.
    pub(super) const fn is_limited(&self) -> bool {
        self.params.lwip || self.limited || (self.cwnd < self.threshold && self.cwnd < 2 * self.most_out)
    }

    /// Sends segment `i` again, with its neighbours as far as they fit into one (Linux does).
    pub(super) fn retransmit(&mut self, i: usize, out: &mut Out<'_>) {
        if !self.params.lwip {
            self.collapse(i);
        }
        let Some(seg) = self.segs.get_mut(i) else {
            return;
        };
        seg.sent = out.now;
        out.send(seg.end, seg.len, seg.written, Some(seg.due));
        out.stats.retransmissions += 1;
        seg.ever = true;
        if !seg.again {
            seg.again = true;
            self.again += 1;
        }
        self.began.get_or_insert(out.now);
        self.last_sent = Some(out.now);
    }

    fn collapse(&mut self, i: usize) {
        while i + 1 < self.out {
            let (Some(seg), Some(next)) = (self.segs.get(i), self.segs.get(i + 1)) else {
                return;
            };
            if next.sacked || seg.sacked || seg.len + next.len > self.params.mss {
                return;
            }
            let Some(next) = self.segs.remove(i + 1) else {
                return;
            };
            self.out -= 1;
            self.lost -= u32::from(next.lost);
            self.again -= u32::from(next.again);
            if let Some(seg) = self.segs.get_mut(i) {
                seg.end = next.end;
                seg.len += next.len;
                seg.written = next.written;
                seg.ever |= next.ever;
            }
        }
    }

    // ── The timer ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) const fn set(&mut self, timer: Timer, at: Micros) {
        self.timer = timer;
        self.at = at;
    }

    /// Sets the retransmission timeout (`tcp_rearm_rto`).
    pub(super) fn rearm(&mut self, now: Micros) {
        if self.out == 0 {
            self.set(Timer::Off, Micros::NEVER);
            return;
        }
        let at = if matches!(self.timer, Timer::Reorder | Timer::Probe) {
            // Counted from the transmission that it is about, not from now.
            self.head_timeout().max(now + Micros(1))
        } else {
            now + self.rtt.rto()
        };
        self.set(Timer::Timeout, at);
    }

    /// When the first segment times out.
    fn head_timeout(&self) -> Micros {
        self.segs.front().map_or(Micros::NEVER, |s| s.sent + self.rtt.rto())
    }

    /// Sets the tail-loss probe, where there is one (`tcp_schedule_loss_probe`).
    pub(super) fn arm_probe(&mut self, now: Micros, advancing: bool) -> bool {
        if !self.params.sack || self.out == 0 || !matches!(self.state, State::Open | State::Reducing) {
            return false;
        }
        let mut wait = match self.rtt.srtt() {
            Some(srtt) => srtt * 2 + if self.out == 1 { RTO_LEAST } else { TIMER_LEAST },
            None => Micros::from_secs(1),
        };
        let timeout = if advancing { self.rtt.rto() } else { self.head_timeout() - now };
        if timeout > Micros::ZERO {
            wait = wait.min(timeout);
        }
        self.set(Timer::Probe, now + wait);
        true
    }

    /// The timer goes off.
    pub(in crate::network) fn fire(&mut self, out: &mut Out<'_>) {
        match self.timer {
            Timer::Off => self.at = Micros::NEVER,
            Timer::Timeout => self.time_out(out),
            Timer::Probe => self.probe(out),
            Timer::Reorder => self.reorder_timeout(out),
            Timer::Window => {
                self.rtt.backoff += 1;
                // A segment without data: the receiver answers it with its window.
                out.send(self.una, 0, out.now, None);
                let at = out.now + self.rtt.rto();
                self.set(Timer::Window, at);
            }
        }
    }

    /// A tail-loss probe: new data, else the last segment again (`tcp_send_loss_probe`).
    fn probe(&mut self, out: &mut Out<'_>) {
        let again = if self.probed.is_some() {
            // One at a time.
            None
        } else if self.push(out, true) {
            Some(false)
        } else if self.out > 0 {
            let last = self.out - 1;
            self.retransmit(last, out);
            Some(true)
        } else {
            None
        };
        if let Some(again) = again {
            self.probed = Some((self.next(), again));
            self.timer = Timer::Off;
        }
        self.rearm(out.now);
    }

    /// Bytes that its queue holds.
    pub(in crate::network) fn held(&self) -> usize {
        self.segs.capacity() * size_of::<Seg>()
    }

    /// Gives memory back.
    pub(super) fn tidy(&mut self) {
        shrink(&mut self.segs);
    }
}
