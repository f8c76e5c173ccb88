//! How a congestion window grows while nothing gets lost: slow start, then CUBIC (RFC 9438, `tcp_cubic.c`), without HyStart.

use crate::time::Micros;

/// Packets per cubed second.
const C: f64 = 0.4;
/// What is left of the window after a loss: 717 / 1,024.
const BETA: f64 = 717.0 / 1_024.0;

/// CUBIC's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Cubic {
    /// The window before the last loss; 0: none yet.
    last: f64,
    /// When growth began after it; `None`: it has not.
    began: Option<Micros>,
    origin: f64,
    k: f64,
    /// What Reno would have by now.
    reno: f64,
    /// Acknowledged since the last packet was added.
    count: f64,
}

impl Cubic {
    /// The threshold after a loss at window `cwnd`.
    pub(super) fn reduced(&mut self, cwnd: u32) -> u32 {
        let window = f64::from(cwnd);
        self.began = None;
        // Leave faster what newcomers need.
        self.last = if window < self.last { window * (1.0 + BETA) / 2.0 } else { window };
        ((window * BETA) as u32).max(2)
    }

    /// Nothing was on its way for `span`: that time is none in which the window grows.
    pub(super) fn idle(&mut self, span: Micros) {
        self.began = self.began.map(|at| at + span);
    }

    /// After a timeout everything is learnt anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many packets to add when `acked` were acknowledged.
    pub(super) fn grow(&mut self, now: Micros, cwnd: u32, acked: u32, rtt: Micros) -> u32 {
        let window = f64::from(cwnd.max(1));
        let began = *self.began.get_or_insert_with(|| {
            self.reno = window;
            (self.k, self.origin) = if self.last <= window {
                (0.0, window)
            } else {
                (((self.last - window) / C).cbrt(), self.last)
            };
            now
        });
        let t = (now - began + rtt).as_secs_f64() - self.k;
        let target = self.origin + C * t * t * t;
        let mut per = if target > window { window / (target - window) } else { 100.0 * window };
        if self.last == 0.0 {
            per = per.min(20.0);
        }
        self.reno += f64::from(acked) * 3.0 * (1.0 - BETA) / (1.0 + BETA) / window;
        if self.reno > window {
            per = per.min(window / (self.reno - window));
        }
        self.count += f64::from(acked);
        let per = per.max(2.0);
        let added = (self.count / per).floor();
        self.count -= added * per;
        added as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_to_where_it_was_and_goes_on() {
        let mut cubic = Cubic::default();
        let mut cwnd = cubic.reduced(100);
        assert_eq!(cwnd, 70);
        let (rtt, mut now) = (Micros::from_millis(80), Micros::ZERO);
        let mut at = Vec::new();
        for _ in 0..120 {
            let sent = cwnd;
            for _ in 0..sent {
                cwnd += cubic.grow(now, cwnd, 1, rtt);
            }
            now += rtt;
            at.push(cwnd);
        }
        // K = ∛(30 / 0.4) = 4.2 s.
        assert!((95..105).contains(&at[52]) && at[110] > 120, "{at:?}");
        assert!(at.windows(2).all(|w| w[0] <= w[1]));
        assert!(cubic.reduced(2) == 2);
    }
}
