//! Numbers and outside text, made fit for people.

use super::result::MetricResult;
use crate::measure::fewest_samples;
use crate::time::Micros;

/// Longest detail that reports print; `result.json` has all of it.
const DETAIL_LENGTH: usize = 300;

/// The quantiles of tables, with their headings.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// A number of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// No samples at all.
    Empty,
    /// So many samples are too few for this quantile.
    Insufficient {
        /// The fewest that would do.
        needed: u64,
    },
    /// So many turns failed that the number is one of them.
    Infinite,
    /// In the metric's unit.
    Value(i64),
}

impl Cell {
    /// The quantile `q` of a metric; the result says `null` for three different reasons.
    pub(super) fn quantile(m: &MetricResult, q: f64) -> Self {
        let value = match q {
            0.5 => m.p50_us,
            0.9 => m.p90_us,
            0.95 => m.p95_us,
            0.99 => m.p99_us,
            _ => m.p999_us,
        };
        match value {
            Some(us) => Self::Value(us),
            None if m.count == 0 => Self::Empty,
            None if m.count < fewest_samples(q) => Self::Insufficient { needed: fewest_samples(q) },
            None => Self::Infinite,
        }
    }

    /// The largest sample.
    pub(super) fn max(m: &MetricResult) -> Self {
        match m.max_us {
            Some(us) => Self::Value(us),
            None if m.infinite > 0 => Self::Infinite,
            None => Self::Empty,
        }
    }

    /// The smallest finite sample.
    pub(super) fn min(m: &MetricResult) -> Self {
        m.min_us.map_or(Self::Empty, Self::Value)
    }

    /// For a table whose heading names the unit.
    pub(super) fn text(self, unit: Shown) -> String {
        match self {
            Self::Empty => "–".to_owned(),
            Self::Insufficient { .. } => "insufficient".to_owned(),
            Self::Infinite => "∞".to_owned(),
            Self::Value(v) => unit.number(v),
        }
    }

    /// For a sentence: with the unit.
    pub(super) fn spoken(self, unit: Shown) -> String {
        match (self, unit) {
            (Self::Value(_), Shown::Millis) => format!("{} ms", self.text(unit)),
            (Self::Value(_), Shown::Percent) => format!("{} %", self.text(unit)),
            _ => self.text(unit),
        }
    }
}

/// How a metric's samples are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Microseconds, as milliseconds.
    Millis,
    /// Millionths, as a ratio.
    Ratio,
    /// Millionths, as a percentage.
    Percent,
}

impl Shown {
    /// For the metric of that name and unit.
    pub(super) fn of(name: &str, unit: &str) -> Self {
        match unit {
            "ppm" if name.starts_with("stall_ratio") => Self::Percent,
            "ppm" => Self::Ratio,
            _ => Self::Millis,
        }
    }

    /// The unit, as written in a table.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Ratio => "ratio",
            Self::Percent => "%",
        }
    }

    fn number(self, v: i64) -> String {
        match self {
            Self::Millis => millis(v),
            Self::Ratio => format!("{:.3}", v as f64 / 1e6),
            Self::Percent => format!("{:.2}", v as f64 / 1e4),
        }
    }
}

/// Microseconds as milliseconds without the unit: `12.3`, `271`, `12,345`.
pub(crate) fn millis(us: i64) -> String {
    if us.unsigned_abs() < 99_950 {
        return format!("{:.1}", us as f64 / 1e3);
    }
    let ms = (us as f64 / 1e3).round() as i64;
    format!("{}{}", if ms < 0 { "-" } else { "" }, count(ms.unsigned_abs()))
}

/// A count with thousands apart: `100,000`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// A count and its noun: `1 turn`, `12 turns`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `part` of `whole` as a percentage that is 0 or 100 only when it is exactly that.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    percent(part as f64 / whole as f64)
}

/// A share as a percentage, likewise.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p == 0.0 || p == 100.0 => format!("{p:.0} %"),
        p if p < 0.01 => "<0.01 %".to_owned(),
        p if p < 1.0 => format!("{p:.2} %"),
        p if (99.9..100.0).contains(&p) => format!("{:.2} %", p.min(99.99)),
        p => format!("{p:.1} %"),
    }
}

/// Bytes: `812 B`, `7.9 KiB`, `1.2 GiB`.
pub(crate) fn bytes(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

/// A span, or a dash.
pub(crate) fn span(us: Option<i64>) -> String {
    us.map_or_else(|| "–".to_owned(), |us| Micros(us).to_string())
}

/// A span that somebody chose, without zeros behind the point: `60 ms`, `5 s`, `1 min`.
pub(crate) fn chosen(us: i64) -> String {
    let text = Micros(us).to_string();
    for (long, short) in [(".0 ms", " ms"), (".00 s", " s"), (".0 s", " s"), (" min 0 s", " min")] {
        if let Some(stem) = text.strip_suffix(long) {
            return format!("{stem}{short}");
        }
    }
    text
}

/// Text from outside on one line: no control characters (a server must not steer the reader's terminal), and cut.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = harmless(text);
    if line.chars().count() > DETAIL_LENGTH {
        line = line.chars().take(DETAIL_LENGTH).collect();
        line.push('…');
    }
    line
}

/// The same in full: for text that voxload itself has written into the document.
pub(crate) fn harmless(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }));
    }
    line
}

/// Control characters, and those that reverse or hide text.
pub(crate) fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Breaks text at spaces into lines of at most `width` characters; longer words are cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() <= width {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.extend(&rest);
            }
            used += 1 + rest.len();
            continue;
        }
        if used > 0 {
            lines.push(String::new());
        }
        while rest.len() > width {
            let tail = rest.split_off(width);
            if let Some(line) = lines.last_mut() {
                line.extend(&rest);
            }
            lines.push(String::new());
            rest = tail;
        }
        used = rest.len();
        if let Some(line) = lines.last_mut() {
            line.extend(&rest);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Distribution;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, -4_250, 99_940, 99_960, 271_400, 12_345_600].map(millis),
            ["0.0", "-4.2", "99.9", "100", "271", "12,346"]
        );
        assert_eq!(
            [(0, 5), (5, 5), (99_999, 100_000), (1, 100_000), (1, 2_000), (1, 3), (0, 0)]
                .map(|(a, b)| share(a, b)),
            ["0 %", "100 %", "99.99 %", "<0.01 %", "0.05 %", "33.3 %", "–"]
        );
        assert_eq!(
            [60_000, 5_000_000, 30_000_000, 60_000_000, 2_500, 3_600_000_000].map(chosen),
            ["60 ms", "5 s", "30 s", "1 min", "2.5 ms", "1 h 0 min"]
        );
        assert_eq!([812, 8_090, 1 << 30].map(bytes), ["812 B", "7.9 KiB", "1.0 GiB"]);
    }

    #[test]
    fn the_three_reasons_for_null() {
        let mut d = Distribution::default();
        let cell = |d: &Distribution, q| Cell::quantile(&d.to_result("us"), q);
        assert_eq!(cell(&d, 0.5), Cell::Empty);
        (0..50).for_each(|_| d.record(Micros(100_000)));
        assert_eq!(cell(&d, 0.5), Cell::Value(100_000));
        assert_eq!(cell(&d, 0.95), Cell::Insufficient { needed: 59 });
        (0..50).for_each(|_| d.record_infinite());
        assert_eq!(cell(&d, 0.95), Cell::Infinite);
        assert_eq!(Cell::max(&d.to_result("us")), Cell::Infinite);
    }

    #[test]
    fn outside_text_cannot_steer_a_terminal() {
        assert_eq!(one_line("a\u{1b}[31mred\r\n\tb\u{202e}c"), "a\u{fffd}[31mred b\u{fffd}c");
        assert_eq!(one_line(&"x".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn lines_are_never_too_long() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("a bbbbbbb c", 3), ["a", "bbb", "bbb", "b c"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
