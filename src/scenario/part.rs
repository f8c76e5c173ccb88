//! Which part of the fleet this process plays, when several play one plan.
//!
//! ```text
//! plan of the run    device 0  1  2  3  4  5  6 …      the same in every process
//! part 1/3                  0        3        6 …      device d belongs to part d modulo 3
//! part 2/3                     1        4       …
//! ```
//!
//! A device keeps its number, and with it everything that its seed decides, whichever process plays it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of so many equal parts of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Part {
    /// Which one, counted from 0.
    index: u32,
    /// How many there are.
    of: u32,
}

/// As it is read back from files: whatever they say.
#[derive(Deserialize)]
struct Stored {
    index: u32,
    of: u32,
}

impl TryFrom<Stored> for Part {
    type Error = String;

    fn try_from(Stored { index, of }: Stored) -> Result<Self, String> {
        if index < of && of <= MOST {
            Ok(Self { index, of })
        } else {
            Err(format!("part {index} (from 0) of {of} is none: there are 1 to {MOST}"))
        }
    }
}

/// More parts than this are a mistake.
const MOST: u32 = 10_000;

impl Part {
    /// The whole fleet.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Its number, counted from 1.
    pub const fn number(self) -> u32 {
        self.index + 1
    }

    /// How many parts there are.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// All parts of the same whole.
    pub fn all(self) -> impl Iterator<Item = Self> {
        (0..self.of).map(move |index| Self { index, of: self.of })
    }

    /// True when this part plays the device.
    pub const fn has(self, device: u32) -> bool {
        device % self.of == self.index
    }

    /// The device's number among those of this part: they are counted from 0, without gaps.
    pub const fn local(self, device: u32) -> u32 {
        device / self.of
    }

    /// How many of the devices 0 to `n` − 1 are of this part; of so many places, those that it has.
    pub const fn share(self, n: u32) -> u32 {
        n / self.of + (self.index < n % self.of) as u32
    }
}

impl Default for Part {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// As in `--shard`: `1/3`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number(), self.of)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}`: expected i/n, this process and how many there are, from 1/n to n/n");
        let (number, of) = text.split_once('/').ok_or_else(expected)?;
        let parse = |text: &str| text.trim().parse::<u32>().map_err(|_| expected());
        let (number, of) = (parse(number)?, parse(of)?);
        if of > MOST {
            return Err(format!("`{text}`: at most {MOST} processes play one plan"));
        }
        // Job indices are often counted from 0.
        let index = number.checked_sub(1).filter(|index| *index < of).ok_or_else(expected)?;
        Ok(Self { index, of })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_part_is_not_read() {
        let part: Part = "2/3".parse().unwrap();
        let text = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<Part>(&text).unwrap(), part);
        for bad in [(0, 0), (3, 3), (u32::MAX, u32::MAX), (0, MOST + 1)] {
            let text = format!(r#"{{"index":{},"of":{}}}"#, bad.0, bad.1);
            let e = serde_json::from_str::<Part>(&text).unwrap_err().to_string();
            assert!(e.contains("is none"), "{e}");
        }
    }

    #[test]
    fn parts_are_counted_from_1() {
        let part: Part = "2/3".parse().unwrap();
        assert_eq!((part.number(), part.of(), part.to_string().as_str()), (2, 3, "2/3"));
        for bad in ["", "1", "0/3", "4/3", "1/0", "-1/2", "a/b", "1/10001"] {
            let e = bad.parse::<Part>().unwrap_err();
            assert!(e.contains("expected i/n") || e.contains("at most"), "{bad}: {e}");
        }
    }

    proptest! {
        #[test]
        fn every_device_is_of_one_part_and_parts_count_without_gaps(of in 1_u32..20, n in 0_u32..500) {
            let first = Part { index: 0, of };
            prop_assert_eq!(first.all().map(|p| p.share(n)).sum::<u32>(), n);
            for part in first.all() {
                let own: Vec<u32> = (0..n).filter(|d| part.has(*d)).map(|d| part.local(d)).collect();
                prop_assert_eq!(own, (0..part.share(n)).collect::<Vec<_>>());
            }
        }
    }
}
