//! Time: integer microseconds since the start of the run, and the one monotonic clock behind them.
//!
//! Everything inside voxload counts in [`Micros`]. Only `drive/`, `transport/` and the edges of the reference
//! server read a [`Clock`]; state machines are handed the time.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// Microseconds. As an instant: since the start of the run. As a span: signed, because a first token may come
/// before the end of speech.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// The start of the run, or no time at all.
    pub const ZERO: Self = Self(0);
    /// An instant that does not come: a deadline that is not set.
    pub const NEVER: Self = Self(i64::MAX);

    /// `n` milliseconds.
    pub const fn from_millis(n: i64) -> Self {
        Self(n * 1_000)
    }

    /// `n` whole seconds.
    pub const fn from_secs(n: i64) -> Self {
        Self(n * 1_000_000)
    }

    /// Seconds to the nearest microsecond; out of range or not a number becomes the nearest representable value.
    pub fn from_secs_f64(s: f64) -> Self {
        Self((s * 1e6).round() as i64)
    }

    /// The duration of `samples` at `rate` Hz, rounded down.
    pub const fn of_samples(samples: u64, rate: u32) -> Self {
        Self((samples as i128 * 1_000_000 / rate as i128) as i64)
    }

    /// How many samples at `rate` Hz fit in this span, rounded to the nearest.
    pub const fn to_samples(self, rate: u32) -> u64 {
        ((self.0 as i128 * rate as i128 + 500_000) / 1_000_000) as u64
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// In milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// As a [`std::time::Duration`]; a negative span becomes zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.max(0) as u64)
    }

    /// This instant plus `span`, staying at [`Micros::NEVER`] instead of overflowing.
    pub const fn saturating_add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl From<std::time::Duration> for Micros {
    fn from(d: std::time::Duration) -> Self {
        Self(i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0 + o.0)
    }
}
impl Sub for Micros {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0 - o.0)
    }
}
impl AddAssign for Micros {
    fn add_assign(&mut self, o: Self) {
        self.0 += o.0;
    }
}
impl SubAssign for Micros {
    fn sub_assign(&mut self, o: Self) {
        self.0 -= o.0;
    }
}
impl Mul<i64> for Micros {
    type Output = Self;
    fn mul(self, n: i64) -> Self {
        Self(self.0 * n)
    }
}
impl Div<i64> for Micros {
    type Output = Self;
    fn div(self, n: i64) -> Self {
        Self(self.0 / n)
    }
}
impl Neg for Micros {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl fmt::Debug for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "{}µs", self.0) }
    }
}

/// For people: `850 µs`, `12.3 ms`, `1.25 s`, `2 min 5 s`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.unsigned_abs() {
            _ if *self == Self::NEVER => "never".to_owned(),
            0 => "0 ms".to_owned(),
            1..1_000 => format!("{} µs", self.0),
            1_000..100_000 => format!("{:.1} ms", self.as_millis_f64()),
            100_000..1_000_000 => format!("{:.0} ms", self.as_millis_f64()),
            1_000_000..10_000_000 => format!("{:.2} s", self.as_secs_f64()),
            10_000_000..60_000_000 => format!("{:.1} s", self.as_secs_f64()),
            n => {
                let (sign, secs) = (if self.0 < 0 { "-" } else { "" }, n / 1_000_000);
                match (secs / 3600, secs / 60 % 60, secs % 60) {
                    (0, m, s) => format!("{sign}{m} min {s} s"),
                    (h, m, s) => format!("{sign}{h} h {m} min {s} s"),
                }
            }
        };
        f.pad(&text)
    }
}

/// The monotonic clock of the machine, counted from the start of the run.
///
/// It reads `CLOCK_MONOTONIC`, which every process of a machine shares: the embedded reference server is given the
/// [`epoch`](Clock::epoch_us) of its parent, so that its log and the harness speak of the same instants.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch_us: i64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { epoch_us: monotonic_us() }
    }

    /// A clock whose zero is an instant of the wall clock, to come or past; steps of that clock later on change nothing.
    pub fn starting_at(unix_us: i64) -> Self {
        Self { epoch_us: monotonic_us() + (unix_us - unix_now_us()) }
    }

    /// The clock whose zero is `epoch_us` on the machine's monotonic clock.
    pub const fn with_epoch_us(epoch_us: i64) -> Self {
        Self { epoch_us }
    }

    /// Zero of this clock on the machine's monotonic clock, in microseconds.
    pub const fn epoch_us(&self) -> i64 {
        self.epoch_us
    }

    /// Now.
    pub fn now(&self) -> Micros {
        Micros(monotonic_us() - self.epoch_us)
    }
}

/// The wall clock: microseconds since 1970, UTC.
pub fn unix_now_us() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    t.tv_sec * 1_000_000 + t.tv_nsec / 1_000
}

fn monotonic_us() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec * 1_000_000 + t.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_for_people() {
        for (us, text) in [
            (0, "0 ms"),
            (850, "850 µs"),
            (-850, "-850 µs"),
            (12_345, "12.3 ms"),
            (300_000, "300 ms"),
            (1_250_000, "1.25 s"),
            (125_000_000, "2 min 5 s"),
            (3_725_000_000, "1 h 2 min 5 s"),
        ] {
            assert_eq!(Micros(us).to_string(), text);
        }
    }

    #[test]
    fn samples_and_back() {
        assert_eq!(Micros::of_samples(960, 16_000), Micros::from_millis(60));
        assert_eq!(Micros::from_millis(60).to_samples(16_000), 960);
        assert_eq!(Micros(2_500).to_samples(44_100), 110);
    }

    #[test]
    fn never_stays_never() {
        assert_eq!(Micros::NEVER.saturating_add(Micros(1)), Micros::NEVER);
    }
}
