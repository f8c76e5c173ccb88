//! Recorded links in the format of mahimahi's `mm-link`: one line per opportunity to deliver 1,500 bytes, as milliseconds
//! since the start; a line that is repeated is as many opportunities. At its end the recording starts over.

use std::fmt;

use crate::time::Micros;

/// Bytes that one opportunity delivers.
pub const OPPORTUNITY: u32 = 1_500;

/// Most lines of a recording: three hours at some 20 Mbit/s.
const MOST: usize = 20_000_000;

/// A recorded link.
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its name, for reports.
    pub name: String,
    /// Milliseconds, ascending; not empty, and the last is not 0.
    at: Vec<u32>,
}

/// What is wrong with a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    /// The line, from 1; 0: the recording as a whole.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for TraceError {}

/// What a recording looks like, for messages.
pub const TRACE_HELP: &str = "expected one line per opportunity to deliver 1,500 bytes: whole milliseconds since the start, ascending \
     (mahimahi's format)";

impl Trace {
    /// Reads a recording; every line that is wrong, up to ten.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<TraceError>> {
        let (mut at, mut errors, mut last) = (Vec::new(), Vec::new(), 0);
        for (i, line) in text.lines().enumerate() {
            let mut fail = |message: String| errors.push(TraceError { line: i + 1, message });
            let line = line.trim();
            match line.parse::<u32>() {
                Ok(ms) if ms < last => fail(format!("{ms} ms comes after {last} ms")),
                Ok(ms) if at.len() < MOST => {
                    last = ms;
                    at.push(ms);
                }
                Ok(_) => fail(format!("more than {MOST} lines")),
                Err(_) if line.is_empty() => fail("an empty line".to_owned()),
                Err(_) => fail(format!(
                    "`{}` is not a number of milliseconds",
                    line.chars().take(40).collect::<String>()
                )),
            }
            if errors.len() >= 10 {
                break;
            }
        }
        let whole = |message: &str| vec![TraceError { line: 0, message: message.to_owned() }];
        match (errors.is_empty(), at.last()) {
            (false, _) => Err(errors),
            (true, None) => Err(whole("no line at all")),
            (true, Some(0)) => {
                Err(whole("all opportunities are at 0 ms: a recording that lasts no time cannot start over"))
            }
            (true, Some(_)) => Ok(Self { name: name.to_owned(), at }),
        }
    }

    /// After this time it starts over.
    pub fn duration(&self) -> Micros {
        Micros::from_millis(i64::from(self.at.last().copied().unwrap_or(1)))
    }

    /// Opportunities of one turn.
    pub fn opportunities(&self) -> usize {
        self.at.len()
    }

    /// Bits per second, on average.
    pub fn rate(&self) -> f64 {
        self.at.len() as f64 * f64::from(OPPORTUNITY) * 8.0 / self.duration().as_secs_f64()
    }

    /// The longest time without an opportunity, and when it begins; the turn from the end to the beginning counts too.
    pub fn longest_gap(&self) -> (Micros, Micros) {
        let ms = |n: u32| Micros::from_millis(i64::from(n));
        let first = self.at.first().map_or(Micros::ZERO, |n| ms(*n));
        let within = self.at.windows(2).map(|w| (ms(w[1]) - ms(w[0]), ms(w[0])));
        within.fold((first, Micros::ZERO), |longest, gap| if gap.0 > longest.0 { gap } else { longest })
    }

    /// The first opportunity at or after `at` (counted from the recording's first start).
    fn find(&self, at: Micros) -> u64 {
        let turn = self.duration().0;
        let (turns, within) = (at.0.max(0) / turn, at.0.max(0) % turn);
        let n = self.at.partition_point(|ms| i64::from(*ms) * 1_000 < within);
        turns as u64 * self.at.len() as u64 + n as u64
    }

    /// When opportunity `n` is, counted over all turns.
    fn instant(&self, n: u64) -> Micros {
        let len = self.at.len() as u64;
        let within = self.at.get((n % len) as usize).copied().unwrap_or(0);
        Micros((n / len) as i64 * self.duration().0 + i64::from(within) * 1_000)
    }
}

/// Without the million numbers.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({}, {} opportunities)", self.name, self.at.len())
    }
}

/// Where a device is in a recording.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// The opportunity that is used next, or has bytes left.
    next: u64,
    /// Bytes left of it.
    left: u32,
}

impl Cursor {
    /// About how many bytes wait for their opportunity.
    pub(super) fn waiting(&self, trace: &Trace, now: Micros) -> u64 {
        // What is left of the next one is not taken yet, and those before it that are still to come are.
        let taken = self.next.saturating_sub(trace.find(now)) * u64::from(OPPORTUNITY);
        let begun = u64::from(OPPORTUNITY - self.left.min(OPPORTUNITY)) * u64::from(self.left > 0);
        if self.left > 0 && trace.instant(self.next) < now { 0 } else { taken + begun }
    }

    /// When the bottleneck has let `bytes` pass that come to it at `now`, on the recording's time.
    pub(super) fn pass(&mut self, trace: &Trace, now: Micros, bytes: u32) -> Micros {
        if self.left == 0 || trace.instant(self.next) < now {
            let found = trace.find(now);
            if found > self.next || self.left == 0 {
                *self = Self { next: found.max(self.next), left: OPPORTUNITY };
            }
        }
        let mut bytes = bytes;
        while bytes > self.left {
            bytes -= self.left;
            *self = Self { next: self.next + 1, left: OPPORTUNITY };
        }
        self.left -= bytes;
        let done = trace.instant(self.next);
        if self.left == 0 {
            self.next += 1;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_describes() {
        let trace = Trace::parse("t", "0\n5\n5\n100\n").unwrap();
        assert_eq!(trace.opportunities(), 4);
        assert_eq!(trace.duration(), Micros::from_millis(100));
        assert_eq!(trace.longest_gap(), (Micros::from_millis(95), Micros::from_millis(5)));
        assert!((trace.rate() - 480_000.0).abs() < 1.0);
    }

    #[test]
    fn says_every_wrong_line() {
        let errors = Trace::parse("t", "5\n3\nx\n\n7\n").unwrap_err();
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "line 2: 3 ms comes after 5 ms",
                "line 3: `x` is not a number of milliseconds",
                "line 4: an empty line"
            ]
        );
        assert!(Trace::parse("t", "").is_err() && Trace::parse("t", "0\n0\n").is_err());
        assert!(Trace::parse("t", "-1\n").is_err() && Trace::parse("t", "99999999999\n").is_err());
    }

    #[test]
    fn opportunities_are_shared_and_wasted_as_in_mahimahi() {
        let trace = Trace::parse("t", "10\n20\n20\n50\n").unwrap();
        let ms = Micros::from_millis;
        let mut c = Cursor::default();
        // Two small packets share one; what is left at 11 ms is gone.
        assert_eq!(c.pass(&trace, ms(0), 700), ms(10));
        assert_eq!(c.pass(&trace, ms(0), 700), ms(10));
        assert_eq!(c.pass(&trace, ms(11), 100), ms(20));
        // A large one takes the rest of one and the next.
        assert_eq!(c.pass(&trace, ms(11), 2_000), ms(20));
        assert_eq!(c.pass(&trace, ms(12), 1_500), ms(50));
        // The recording starts over at its end.
        assert_eq!(c.pass(&trace, ms(55), 100), ms(60));
    }

    #[test]
    fn never_more_than_the_recording_has() {
        let trace = Trace::parse("t", "1\n2\n3\n50\n60\n100\n").unwrap();
        let mut c = Cursor::default();
        let (mut sent, mut last) = (0_u64, Micros::ZERO);
        for i in 0..5_000_i64 {
            let done = c.pass(&trace, Micros(i * 100), 300);
            assert!(done >= Micros(i * 100) && done >= last);
            last = done;
            sent += 300;
            assert!(sent <= (trace.find(done + Micros(1)) + 1) * u64::from(OPPORTUNITY));
        }
    }
}
