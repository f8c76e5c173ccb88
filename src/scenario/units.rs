//! Values with units, as people write them: durations, shares, bit rates, sizes.
//!
//! Parsing is exact (no floating point between `1.5s` and 1,500,000 µs), and what [`format_duration`] prints parses
//! back to the same value.

use std::fmt::Write as _;
use std::ops::Range;

use crate::time::Micros;

/// What a text that should have been a value is wrong about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub help: Option<String>,
}

impl TextError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error in a text that this one was cut from, `by` bytes further on.
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.span = self.span.start + by..self.span.end + by;
        self
    }
}

/// `column 5: …; expected …`
impl std::fmt::Display for TextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {}: {}", self.span.start + 1, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for TextError {}

/// What a duration looks like, for messages.
pub const DURATION_HELP: &str = "expected a duration such as `300ms`, `2s`, `1m30s`";

const UNITS: [(&str, i64); 7] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
    ("µs", 1),
];

/// The JSON Schema pattern of a duration.
pub(crate) const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us|µs))+$";

/// Reads `300ms`, `1.5s`, `2m`, `1h30m`, `250us`, `7d`.
pub fn parse_duration(text: &str) -> Result<Micros, TextError> {
    let all = 0..text.len();
    let bad = |span: Range<usize>, message: String| TextError::new(span, message).help(DURATION_HELP);
    if text.is_empty() {
        return Err(bad(all, "an empty duration".into()));
    }
    let mut total = 0_i128;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = &rest[..digits];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || (number.contains('.') && (fraction.is_empty() || fraction.contains('.'))) {
            return Err(bad(at..text.len(), format!("`{rest}` is not a duration")));
        }
        let letters =
            rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - digits);
        let unit = &rest[digits..digits + letters];
        if unit.is_empty() {
            return Err(bad(at..text.len(), format!("a duration without a unit: `{number}`")));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(bad(at + digits..at + digits + letters, format!("`{unit}` is not a unit of time"))
                .help("units are `us`, `ms`, `s`, `m`, `h` and `d`, for example `300ms` or `1m30s`"));
        };
        let micros = exact(whole, fraction, *scale).ok_or_else(|| {
            bad(at..at + digits, format!("`{number}{unit}` is finer than a microsecond, or too long"))
        })?;
        total += i128::from(micros);
        at += digits + letters;
    }
    i64::try_from(total)
        .ok()
        .filter(|us| *us < i64::MAX)
        .map(Micros)
        .ok_or_else(|| bad(all, format!("`{text}` is too long")))
}

/// `whole.fraction × scale`, when that is a whole number that fits.
fn exact(whole: &str, fraction: &str, scale: i64) -> Option<i64> {
    let whole: i64 = whole.parse().ok()?;
    let fraction = fraction.trim_end_matches('0');
    let part = if fraction.is_empty() {
        0
    } else {
        let digits: i128 = fraction.parse().ok()?;
        let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let scaled = digits.checked_mul(i128::from(scale))?;
        (scaled % power == 0).then_some(i64::try_from(scaled / power).ok()?)?
    };
    whole.checked_mul(scale)?.checked_add(part)
}

/// As it is written in a scenario: `0ms`, `250us`, `2.5ms`, `1.5s`, `1m30s`, `2h`, `7d`. Parses back exactly.
pub fn format_duration(t: Micros) -> String {
    let us = t.0.unsigned_abs();
    let mut text = String::from(if t.0 < 0 { "-" } else { "" });
    // Writing to a String cannot fail.
    let _ = match us {
        0 => write!(text, "0ms"),
        1..1_000 => write!(text, "{us}us"),
        1_000..1_000_000 => write!(text, "{}ms", decimal(us, 1_000)),
        1_000_000..60_000_000 => write!(text, "{}s", decimal(us, 1_000_000)),
        _ => {
            let mut rest = us;
            for (unit, scale) in [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000)] {
                if rest >= scale {
                    let _ = write!(text, "{}{unit}", rest / scale);
                    rest %= scale;
                }
            }
            if rest > 0 {
                let _ = write!(text, "{}s", decimal(rest, 1_000_000));
            }
            Ok(())
        }
    };
    text
}

/// `n / scale` as an exact decimal; `scale` is a power of ten.
fn decimal(n: u64, scale: u64) -> String {
    let (whole, part) = (n / scale, n % scale);
    if part == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{part:0width$}").trim_end_matches('0').to_owned()
}

/// Reads a share: `20%` or `0.2`. In 0..=1.
pub fn parse_share(text: &str) -> Result<f64, TextError> {
    let bad = |message: String| {
        TextError::new(0..text.len(), message)
            .help("expected a share from 0 to 1, such as `0.2` or `\"20%\"`")
    };
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent.trim_end(), 100.0));
    let share: f64 = number
        .parse::<f64>()
        .ok()
        .filter(|x| x.is_finite())
        .ok_or_else(|| bad(format!("`{text}` is not a share")))?
        / scale;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(bad(format!("{text} is outside 0–100 %"))) }
}

/// Reads a whole number with an optional `k` (thousand) or `M` (million): `24000`, `24k`, `1.5M`.
pub fn parse_bitrate(text: &str) -> Result<u32, TextError> {
    parse_scaled(text, &[("k", 1_000), ("M", 1_000_000)]).ok_or_else(|| {
        TextError::new(0..text.len(), format!("`{text}` is not a bit rate"))
            .help("expected bits per second, such as `24000` or `\"24k\"`")
    })
}

/// Reads bytes with an optional binary unit: `65536`, `64 KiB`, `4MiB`.
pub fn parse_size(text: &str) -> Result<u32, TextError> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    parse_scaled(text, &units).ok_or_else(|| {
        TextError::new(0..text.len(), format!("`{text}` is not a size"))
            .help("expected bytes, such as `65536`, `\"64 KiB\"` or `\"4 MiB\"`")
    })
}

fn parse_scaled(text: &str, units: &[(&str, i64)]) -> Option<u32> {
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|n| (n.trim_end(), *scale)))
        .unwrap_or((text, 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    u32::try_from(exact(whole, fraction, scale)?).ok()
}

/// `24k`, or the plain number when it is not a whole number of thousands.
pub fn format_bitrate(bits: u32) -> String {
    if bits > 0 && bits.is_multiple_of(1_000) { format!("{}k", bits / 1_000) } else { bits.to_string() }
}

/// `4 MiB`, `64 KiB`, or bytes when it is not a whole number of them.
pub fn format_size(bytes: u32) -> String {
    match bytes {
        0 => "0 B".to_owned(),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

/// The known name that a mistyped one most likely meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = |k: &str| (k.len().max(name.len()) / 3).max(1);
    let chars = name.chars().count();
    known
        .into_iter()
        // Names are at least as far apart as their lengths, and the distance to a long text takes long.
        .filter(|k| k.chars().count().abs_diff(chars) <= most(k) && unlike(name, k) <= most(k))
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, k)| *distance <= most(k))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// At least so many letters must be changed: those that one of the names has and the other has not. Much faster than the
/// distance itself.
fn unlike(a: &str, b: &str) -> usize {
    // Of other alphabets several letters share a place: what they differ in may be more.
    let mut counts = [0_i32; 64];
    let mut count = |text: &str, by: i32| {
        for c in text.chars() {
            if let Some(n) = counts.get_mut(c as usize % 64) {
                *n += by;
            }
        }
    };
    count(a, 1);
    count(b, -1);
    let more = |sign: i32| counts.iter().map(|n| (n * sign).max(0).unsigned_abs() as usize).sum::<usize>();
    more(1).max(more(-1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_people_write() {
        for (text, us) in [
            ("300ms", 300_000),
            ("2s", 2_000_000),
            ("1.5s", 1_500_000),
            ("1m30s", 90_000_000),
            ("1h30m", 5_400_000_000),
            ("250us", 250),
            ("250µs", 250),
            ("2.5ms", 2_500),
            ("0ms", 0),
            ("7d", 604_800_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Micros(us)), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_where() {
        let at = |text: &str| {
            let e = parse_duration(text).unwrap_err();
            (e.span.start, e.message)
        };
        insta::assert_snapshot!(
            ["", "60", "1m30", "5 s", "2sec", "abc", "1..5s", ".5s", "0.3us", "99999999999999999999s", "-5s", "1m\u{1F984}"]
                .map(|t| format!("{t:?}: {:?}", at(t)))
                .join("\n"),
            @r#"
    "": (0, "an empty duration")
    "60": (0, "a duration without a unit: `60`")
    "1m30": (2, "a duration without a unit: `30`")
    "5 s": (1, "` s` is not a unit of time")
    "2sec": (1, "`sec` is not a unit of time")
    "abc": (0, "`abc` is not a duration")
    "1..5s": (0, "`1..5s` is not a duration")
    ".5s": (0, "`.5s` is not a duration")
    "0.3us": (0, "`0.3us` is finer than a microsecond, or too long")
    "99999999999999999999s": (0, "`99999999999999999999s` is finer than a microsecond, or too long")
    "-5s": (0, "`-5s` is not a duration")
    "1m🦄": (1, "`m🦄` is not a unit of time")
"#
        );
    }

    #[test]
    fn shares_rates_and_sizes() {
        assert_eq!(parse_share("20%"), Ok(0.2));
        assert_eq!(parse_share("0.2"), Ok(0.2));
        assert!(parse_share("120%").is_err() && parse_share("NaN").is_err() && parse_share("").is_err());
        assert_eq!(parse_bitrate("24k"), Ok(24_000));
        assert_eq!(parse_bitrate("24000"), Ok(24_000));
        assert!(parse_bitrate("24kbps").is_err() && parse_bitrate("k").is_err());
        assert_eq!(parse_size("4 MiB"), Ok(4 << 20));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert!(parse_size("4 MB").is_err() && parse_size("8 GiB").is_err());
    }

    #[test]
    fn nearest_is_near() {
        let keys = ["fleet.devices", "fleet.duration", "audio.chunk"];
        assert_eq!(nearest("fleet.devcies", keys), Some("fleet.devices"));
        assert_eq!(nearest("audio.chunks", keys), Some("audio.chunk"));
        assert_eq!(nearest("link.preset", keys), None);
    }

    proptest! {
        #[test]
        fn names_are_at_least_as_far_apart_as_their_letters(a in "[a-dä.]{0,8}", b in "[a-dä.]{0,8}") {
            prop_assert!(unlike(&a, &b) <= strsim::damerau_levenshtein(&a, &b));
        }

        #[test]
        fn durations_round_trip(us in 0..10_i64.pow(15)) {
            prop_assert_eq!(parse_duration(&format_duration(Micros(us))), Ok(Micros(us)));
        }

        #[test]
        fn rates_and_sizes_round_trip(n: u32) {
            prop_assert_eq!(parse_bitrate(&format_bitrate(n)), Ok(n));
            prop_assert_eq!(parse_size(&format_size(n)), Ok(n));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = (parse_duration(&text), parse_share(&text), parse_bitrate(&text), parse_size(&text));
        }
    }
}
