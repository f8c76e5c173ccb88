//! Trouble on a timetable: what the reference server does to its devices, and when.
//!
//! The same words in a scenario (`reference.events = ["20s: drain 1012"]`) and on the standard input of
//! `voxload serve` (`drain 1012`).

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::units::{TextError, format_duration, nearest, parse_duration, parse_share};
use crate::time::Micros;

/// Something that a server does to its devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the variant's text and the field's name say it")]
pub enum Trouble {
    /// Closes this share of its connections with this code; new ones are accepted.
    Drain { code: u16, share: f64 },
    /// Resets this share of its connections.
    Reset { share: f64 },
    /// Stands still.
    Freeze { length: Micros },
    /// Answers this share of the upgrades with 503.
    Refuse { share: f64, length: Micros },
    /// Answers pings, or does not.
    Pongs { on: bool, length: Micros },
    /// Waits so long before it answers an upgrade.
    Handshake { delay: Micros, length: Micros },
    /// Accepts and hears everything, and gives no replies.
    Silence { length: Micros },
}

/// Trouble at an instant, counted from the start of the run (or of `voxload serve`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// When it begins.
    pub at: Micros,
    /// What.
    pub trouble: Trouble,
}

impl Trouble {
    /// How each is written, and what it does.
    pub const WORDS: [(&'static str, &'static str); 7] = [
        ("drain CODE [SHARE]", "closes every connection, or that share of them, with a close code"),
        ("reset [SHARE]", "resets them"),
        ("freeze LENGTH", "stands still: reads, writes and accepts nothing"),
        ("refuse SHARE [for LENGTH]", "answers that share of the upgrades with 503"),
        ("pongs off|on [for LENGTH]", "leaves pings unanswered, or answers them"),
        ("handshake DELAY [for LENGTH]", "answers upgrades that much later"),
        ("silence for LENGTH", "accepts and hears everything, and gives no replies"),
    ];

    /// For how long it lasts; nothing for what happens in an instant.
    pub const fn length(self) -> Micros {
        match self {
            Self::Drain { .. } | Self::Reset { .. } => Micros::ZERO,
            Self::Freeze { length }
            | Self::Refuse { length, .. }
            | Self::Pongs { length, .. }
            | Self::Handshake { length, .. }
            | Self::Silence { length } => length,
        }
    }

    /// Reads `drain 1012 30%`, `freeze 2s`, `refuse 50% for 10s`, …
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut words = Words { text, at: 0 };
        let Some((name, span)) = words.next() else {
            return Err(TextError::new(0..text.len(), "nothing to do").help(expected()));
        };
        let share = |words: &mut Words<'_>| match words.next() {
            None => Ok(1.0),
            Some((share, span)) => parse_share(share).map_err(|e| e.shifted(span.start)),
        };
        let trouble = match name {
            "drain" => {
                let (code, span) = words.need("a close code, such as `1012`")?;
                let code = close_code(code).map_err(|e| e.shifted(span.start))?;
                Self::Drain { code, share: share(&mut words)? }
            }
            "reset" => Self::Reset { share: share(&mut words)? },
            "freeze" => Self::Freeze { length: words.duration("how long, such as `2s`")? },
            "refuse" => {
                let (share, span) = words.need("a share, such as `50%`")?;
                let share = parse_share(share).map_err(|e| e.shifted(span.start))?;
                Self::Refuse { share, length: words.length()? }
            }
            "pongs" => {
                let (on, span) = words.need("`off` or `on`")?;
                let on = match on {
                    "on" => true,
                    "off" => false,
                    other => {
                        let message = format!("`{other}` is neither `off` nor `on`");
                        return Err(TextError::new(span, message).help("for example `pongs off for 30s`"));
                    }
                };
                Self::Pongs { on, length: words.length()? }
            }
            "handshake" => {
                let (delay, span) = words.need("how much later, such as `300ms`")?;
                let delay = bounded(delay, MAX_HANDSHAKE, true).map_err(|e| e.shifted(span.start))?;
                Self::Handshake { delay, length: words.length()? }
            }
            "silence" => match words.length()? {
                Micros::NEVER => {
                    return Err(TextError::new(text.trim_end().len()..text.len(), "for how long?")
                        .help("for example `silence for 5s`"));
                }
                length => Self::Silence { length },
            },
            other => {
                let names = Self::WORDS.map(|(words, _)| words.split(' ').next().unwrap_or_default());
                let help = match nearest(other, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => expected(),
                };
                return Err(TextError::new(span, format!("`{other}` is not known")).help(help));
            }
        };
        match words.next() {
            None => Ok(trouble),
            Some((more, span)) => {
                let usage = Self::WORDS.iter().find(|(words, _)| words.split(' ').next() == Some(name));
                let help = format!("expected `{}`", usage.map_or("", |(words, _)| words));
                Err(TextError::new(span.start..text.len(), format!("`{more}` is too much")).help(help))
            }
        }
    }
}

impl ServerEvent {
    /// Reads `20s: drain 1012`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let Some((at, trouble)) = text.split_once(':') else {
            return Err(TextError::new(0..text.len(), format!("`{text}` does not say when"))
                .help("expected the time since the start, then what: `20s: drain 1012`"));
        };
        let lead = at.len() - at.trim_start().len();
        Ok(Self {
            at: parse_duration(at.trim()).map_err(|e| e.shifted(lead))?,
            trouble: Trouble::parse(trouble).map_err(|e| e.shifted(at.len() + 1))?,
        })
    }
}

/// As it is written; parses back to the same.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |f: &mut fmt::Formatter<'_>, share: f64| match share {
            1.0 => Ok(()),
            share => write!(f, " {}%", percent(share)),
        };
        match *self {
            Self::Drain { code, share: s } => write!(f, "drain {code}").and_then(|()| share(f, s)),
            Self::Reset { share: s } => write!(f, "reset").and_then(|()| share(f, s)),
            Self::Freeze { length } => write!(f, "freeze {}", format_duration(length)),
            Self::Refuse { share, .. } => write!(f, "refuse {}%", percent(share)),
            Self::Pongs { on, .. } => write!(f, "pongs {}", if on { "on" } else { "off" }),
            Self::Handshake { delay, .. } => write!(f, "handshake {}", format_duration(delay)),
            Self::Silence { .. } => write!(f, "silence"),
        }?;
        match (self, self.length()) {
            (Self::Drain { .. } | Self::Reset { .. } | Self::Freeze { .. }, _) | (_, Micros::NEVER) => Ok(()),
            (_, length) => write!(f, " for {}", format_duration(length)),
        }
    }
}

/// `20s: drain 1012`
impl fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", format_duration(self.at), self.trouble)
    }
}

/// Without the noise of binary fractions.
fn percent(share: f64) -> f64 {
    (share * 1e11).round() / 1e9
}

/// The longest that an upgrade may be held back.
pub(super) const MAX_HANDSHAKE: Micros = Micros::from_secs(60);

/// The longest that anything lasts that has an end.
const MAX_LENGTH: Micros = Micros::from_secs(31 * 86_400);

fn expected() -> String {
    let words: Vec<_> = Trouble::WORDS.iter().map(|(words, _)| format!("`{words}`")).collect();
    format!("expected {}", words.join(", "))
}

/// A code that an endpoint may send (RFC 6455, section 7.4, and its registry).
fn close_code(text: &str) -> Result<u16, TextError> {
    text.parse::<u16>().ok().filter(|c| matches!(c, 1000..=1003 | 1007..=1014 | 3000..=4999)).ok_or_else(
        || {
            TextError::new(0..text.len(), format!("`{text}` is not a close code that can be sent"))
                .help("for example 1001 (going away), 1012 (restart), 1013 (try again later), 4000 to 4999 (your own)")
        },
    )
}

fn bounded(text: &str, max: Micros, zero: bool) -> Result<Micros, TextError> {
    let t = parse_duration(text)?;
    if t <= max && (zero || t > Micros::ZERO) {
        return Ok(t);
    }
    let least = if zero { "0ms" } else { "more than 0" };
    Err(TextError::new(0..text.len(), format!("`{text}` is out of range"))
        .help(format!("expected {least} to {}", format_duration(max))))
}

/// The words of a text, with where they are.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(&'a str, Range<usize>)> {
        let rest = self.text.get(self.at..)?;
        let start = self.at + (rest.len() - rest.trim_start().len());
        let word = rest.split_whitespace().next()?;
        self.at = start + word.len();
        Some((word, start..self.at))
    }

    fn need(&mut self, what: &str) -> Result<(&'a str, Range<usize>), TextError> {
        let end = self.text.trim_end().len();
        self.next().ok_or_else(|| {
            TextError::new(end..self.text.len(), format!("`{}` needs more", self.text.trim()))
                .help(format!("expected {what}"))
        })
    }

    fn duration(&mut self, what: &str) -> Result<Micros, TextError> {
        let (text, span) = self.need(what)?;
        bounded(text, MAX_LENGTH, false).map_err(|e| e.shifted(span.start))
    }

    /// `for 10s`, or nothing: until told otherwise.
    fn length(&mut self) -> Result<Micros, TextError> {
        match self.next() {
            None => Ok(Micros::NEVER),
            Some(("for", _)) => self.duration("how long, such as `10s`"),
            Some((other, span)) => Err(TextError::new(span, format!("`{other}` is not known here"))
                .help("expected `for` and how long, such as `for 10s`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(i64) -> Micros = Micros::from_secs;

    #[test]
    fn what_people_write() {
        for (text, trouble) in [
            ("drain 1012", Trouble::Drain { code: 1012, share: 1.0 }),
            ("drain 4000 30%", Trouble::Drain { code: 4000, share: 0.3 }),
            ("reset", Trouble::Reset { share: 1.0 }),
            ("reset 7%", Trouble::Reset { share: 0.07 }),
            ("reset 0.5", Trouble::Reset { share: 0.5 }),
            ("freeze 2s", Trouble::Freeze { length: S(2) }),
            ("refuse 50% for 10s", Trouble::Refuse { share: 0.5, length: S(10) }),
            ("refuse 0%", Trouble::Refuse { share: 0.0, length: Micros::NEVER }),
            ("pongs off for 30s", Trouble::Pongs { on: false, length: S(30) }),
            ("pongs on", Trouble::Pongs { on: true, length: Micros::NEVER }),
            (
                "handshake 300ms for 10s",
                Trouble::Handshake { delay: Micros::from_millis(300), length: S(10) },
            ),
            ("  silence   for 5s ", Trouble::Silence { length: S(5) }),
        ] {
            assert_eq!(Trouble::parse(text), Ok(trouble), "{text}");
            assert_eq!(Trouble::parse(&trouble.to_string()), Ok(trouble), "{trouble}");
            let event = ServerEvent { at: S(90), trouble };
            assert_eq!(ServerEvent::parse(&event.to_string()), Ok(event));
        }
    }

    #[test]
    fn mistakes_say_where_and_what_to_try() {
        let said = |text: &str| match ServerEvent::parse(text) {
            Ok(e) => e.to_string(),
            Err(e) => e.to_string(),
        };
        insta::assert_snapshot!(
            [
                "drain 1012", "20: drain 1012", "20s: drian 1012", "20s: drain", "20s: drain 1005", "20s: drain 1012 3",
                "20s: drain 1012 30% now", "20s: sing", "20s:", "20s: freeze 0s", "20s: refuse", "20s: refuse 10% 5s",
                "20s: refuse 10% for", "20s: pongs never", "20s: handshake 2m", "20s: silence", "20s: silence for ever",
            ]
            .map(|t| format!("{t}\n    {}", said(t)))
            .join("\n"),
            @r#"
drain 1012
    column 1: `drain 1012` does not say when; expected the time since the start, then what: `20s: drain 1012`
20: drain 1012
    column 1: a duration without a unit: `20`; expected a duration such as `300ms`, `2s`, `1m30s`
20s: drian 1012
    column 6: `drian` is not known; did you mean `drain`?
20s: drain
    column 11: `drain` needs more; expected a close code, such as `1012`
20s: drain 1005
    column 12: `1005` is not a close code that can be sent; for example 1001 (going away), 1012 (restart), 1013 (try again later), 4000 to 4999 (your own)
20s: drain 1012 3
    column 17: 3 is outside 0–100 %; expected a share from 0 to 1, such as `0.2` or `"20%"`
20s: drain 1012 30% now
    column 21: `now` is too much; expected `drain CODE [SHARE]`
20s: sing
    column 6: `sing` is not known; expected `drain CODE [SHARE]`, `reset [SHARE]`, `freeze LENGTH`, `refuse SHARE [for LENGTH]`, `pongs off|on [for LENGTH]`, `handshake DELAY [for LENGTH]`, `silence for LENGTH`
20s:
    column 5: nothing to do; expected `drain CODE [SHARE]`, `reset [SHARE]`, `freeze LENGTH`, `refuse SHARE [for LENGTH]`, `pongs off|on [for LENGTH]`, `handshake DELAY [for LENGTH]`, `silence for LENGTH`
20s: freeze 0s
    column 13: `0s` is out of range; expected more than 0 to 31d
20s: refuse
    column 12: `refuse` needs more; expected a share, such as `50%`
20s: refuse 10% 5s
    column 17: `5s` is not known here; expected `for` and how long, such as `for 10s`
20s: refuse 10% for
    column 20: `refuse 10% for` needs more; expected how long, such as `10s`
20s: pongs never
    column 12: `never` is neither `off` nor `on`; for example `pongs off for 30s`
20s: handshake 2m
    column 16: `2m` is out of range; expected 0ms to 1m
20s: silence
    column 13: for how long?; for example `silence for 5s`
20s: silence for ever
    column 18: `ever` is not a duration; expected a duration such as `300ms`, `2s`, `1m30s`
"#
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = (Trouble::parse(&text), ServerEvent::parse(&text));
        }
    }
}
