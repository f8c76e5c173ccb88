//! Round trips, and the timeout that follows from them: RFC 6298 as Linux and lwIP have it.

use crate::time::Micros;

/// The timeout before anything is measured.
const FIRST: Micros = Micros::from_secs(1);
/// The least that Linux adds to the smoothed round trip.
const LEAST: i64 = 200_000;
/// Linux backs off no further.
pub(super) const MOST: Micros = Micros::from_secs(120);
/// lwIP's slow timer.
pub(super) const TICK: Micros = Micros::from_millis(500);

/// What a sender knows about the round trip.
#[derive(Clone, Debug)]
pub(super) struct Rtt {
    /// Smoothed round trip; zero: not known. (lwIP: `sa`, in eighths of a tick.)
    srtt: i64,
    /// Mean deviation, times four, and its largest of this round trip. (lwIP: `sv`, in quarters of a tick.)
    deviation: i64,
    largest: i64,
    /// What is added to the smoothed round trip.
    var: i64,
    /// The round trip ends when this is acknowledged.
    until: u64,
    least: Micros,
    rto: Micros,
    /// Timeouts in a row.
    pub(super) backoff: u32,
    lwip: bool,
}

impl Rtt {
    pub(super) const fn new(lwip: bool) -> Self {
        Self {
            srtt: 0,
            // lwIP's timeout is its deviation at first: three ticks as ESP-IDF configures it.
            deviation: if lwip { 3 } else { 0 },
            largest: 0,
            var: LEAST,
            until: 0,
            least: Micros::NEVER,
            rto: if lwip { Micros(3 * TICK.0) } else { FIRST },
            backoff: 0,
            lwip,
        }
    }

    /// A round trip was measured by an acknowledgement at `now`, for everything before `una`.
    pub(super) fn sample(&mut self, rtt: Micros, now: Micros, una: u64, next: u64) {
        let rtt = rtt.max(Micros(1));
        self.least = self.least.min(rtt);
        self.backoff = 0;
        if self.lwip {
            let ticks = now.0.div_euclid(TICK.0) - (now - rtt).0.div_euclid(TICK.0);
            let off = ticks - (self.srtt >> 3);
            self.srtt += off;
            self.deviation += off.abs() - (self.deviation >> 2);
            self.rto = TICK * ((self.srtt >> 3) + self.deviation).max(1);
            return;
        }
        if self.srtt == 0 {
            self.srtt = rtt.0;
            self.deviation = rtt.0 * 2;
            self.var = self.deviation.max(LEAST);
            self.largest = self.var;
            self.until = next;
        } else {
            let off = rtt.0 - self.srtt;
            self.srtt += off / 8;
            let mut grown = off.abs() - self.deviation / 4;
            if off < 0 && grown > 0 {
                // A faster round trip says less about the next slow one.
                grown /= 8;
            }
            self.deviation += grown;
            if self.deviation > self.largest {
                self.largest = self.deviation;
                self.var = self.var.max(self.largest);
            }
            if una > self.until {
                self.var -= (self.var - self.largest).max(0) / 4;
                self.until = next;
                self.largest = LEAST;
            }
        }
        self.rto = Micros(self.srtt + self.var).min(MOST);
    }

    pub(super) const fn srtt(&self) -> Option<Micros> {
        if self.srtt > 0 && !self.lwip { Some(Micros(self.srtt)) } else { None }
    }

    /// The shortest round trip seen; zero when none has been.
    pub(super) fn least(&self) -> Micros {
        if self.least == Micros::NEVER { Micros::ZERO } else { self.least }
    }

    /// The timeout, backed off.
    pub(super) fn rto(&self) -> Micros {
        let times = 1_i64 << self.backoff.min(if self.lwip { 7 } else { 30 });
        Micros(self.rto.0.saturating_mul(times)).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_path_has_the_textbook_timeout() {
        let mut rtt = Rtt::new(false);
        assert_eq!(rtt.rto(), Micros::from_secs(1));
        for i in 1..100 {
            rtt.sample(Micros::from_millis(80), Micros::from_millis(60 * i), i as u64, i as u64 + 1);
        }
        assert_eq!((rtt.srtt(), rtt.rto()), (Some(Micros::from_millis(80)), Micros::from_millis(280)));
        let backed_off: Vec<_> = (0..12)
            .map(|n| {
                rtt.backoff = n;
                rtt.rto().as_secs_f64()
            })
            .collect();
        assert_eq!(backed_off[..4], [0.28, 0.56, 1.12, 2.24]);
        assert_eq!(backed_off[11], 120.0);
    }

    #[test]
    fn a_path_that_swings_has_a_longer_one() {
        let mut rtt = Rtt::new(false);
        for i in 1..500 {
            let ms = if i % 2 == 0 { 40 } else { 300 };
            rtt.sample(Micros::from_millis(ms), Micros::from_millis(60 * i), i as u64, i as u64 + 1);
        }
        assert!(rtt.rto() > Micros::from_millis(500), "{:?}", rtt.rto());
    }

    #[test]
    fn ticks_are_coarse() {
        let mut rtt = Rtt::new(true);
        assert_eq!(rtt.rto(), Micros::from_millis(1_500));
        for i in 1..100 {
            rtt.sample(Micros::from_millis(80), Micros::from_millis(61 * i), i as u64, i as u64 + 1);
            let rto = rtt.rto().0;
            assert!((1_000_000..=3_000_000).contains(&rto) && rto % TICK.0 == 0, "{rto}");
        }
    }
}
