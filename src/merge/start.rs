//! The instant that all processes of a run count from.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::time::{Micros, unix_now_us};

/// What `--start-at` takes.
const EXPECTED: &str = "expected an instant that is the same on every machine: RFC 3339 with its zone (2026-01-31T12:00:00Z), or seconds \
                        since 1970 (`date +%s`)";

/// An instant of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Start {
    unix_us: i64,
}

impl Start {
    /// Now.
    pub fn now() -> Self {
        Self { unix_us: unix_now_us() }
    }

    /// For the standard library.
    pub fn to_system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.unix_us.max(0).unsigned_abs())
    }

    /// Microseconds since 1970, UTC.
    pub const fn unix_us(self) -> i64 {
        self.unix_us
    }

    /// How long until then; an error when it is past. `now`: the wall clock, likewise. `when` says which moment that is.
    pub fn remaining(self, now: i64, when: &str) -> Result<Micros, String> {
        let left = Micros(self.unix_us - now);
        if left < Micros::ZERO {
            return Err(format!(
                "--start-at {self} was {} ago {when}\n  \
                 choose a later instant, the same for every process; and see that the clocks of the machines agree (NTP)",
                -left
            ));
        }
        Ok(left)
    }
}

/// RFC 3339, UTC, to the microsecond where it has any.
impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match DateTime::from_timestamp_micros(self.unix_us) {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.unix_us),
        }
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('+') {
            return Err(format!(
                "`{text}` would be another instant in every process; {EXPECTED}, for example --start-at \"$(date -u -d '{text}' \
                 +%FT%TZ)\" once for all"
            ));
        }
        if let Ok(t) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self { unix_us: t.timestamp_micros() });
        }
        let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        // Milliseconds since 1970 would be thousands of years away.
        match text.parse::<f64>() {
            Ok(s) if plain && s < 1e11 => Ok(Self { unix_us: Micros::from_secs_f64(s).0 }),
            _ => Err(format!("`{text}` is no instant; {EXPECTED}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_the_same_everywhere() {
        let noon = 1_769_860_800_000_000;
        for (text, us) in [
            ("2026-01-31T12:00:00Z", noon),
            ("2026-01-31T13:00:00+01:00", noon),
            ("2026-01-31T12:00:00.25Z", noon + 250_000),
            ("1769860800", noon),
            ("1769860800.5", noon + 500_000),
        ] {
            assert_eq!(text.parse(), Ok(Start { unix_us: us }), "{text}");
        }
        assert_eq!(Start { unix_us: noon + 250_000 }.to_string(), "2026-01-31T12:00:00.250Z");
        for bad in
            ["", "10s", "2026-01-31", "2026-01-31T12:00:00", "noon", "1769860800000", "-5", "1e9", "inf"]
        {
            let e = bad.parse::<Start>().unwrap_err();
            assert!(e.contains("RFC 3339"), "{bad}: {e}");
        }
        let e = "+10s".parse::<Start>().unwrap_err();
        assert!(e.contains("another instant in every process") && e.contains("date -u"), "{e}");
    }

    #[test]
    fn a_start_in_the_past_says_by_how_much() {
        let start = Start { unix_us: 1_769_860_800_000_000 };
        assert_eq!(start.remaining(start.unix_us - 5, ""), Ok(Micros(5)));
        let e = start.remaining(start.unix_us + 90_000_000, "when this process was ready").unwrap_err();
        assert!(
            e.starts_with("--start-at 2026-01-31T12:00:00Z was 1 min 30 s ago when this process was ready"),
            "{e}"
        );
    }
}
