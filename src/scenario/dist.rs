//! Distributions of times: think times, barge-in moments, stage latencies.
//!
//! Written as `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` (p50, p95),
//! or `mix(97: lognormal(250ms, 300ms), 3: 2s)`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::units::{TextError, format_duration, nearest, parse_duration};
use crate::seed::Stream;
use crate::time::Micros;

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_6;

/// A distribution of spans; draws are never negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dist {
    /// Always the same.
    Constant(Micros),
    /// Evenly between two.
    Uniform(Micros, Micros),
    /// Exponential, by mean.
    Exponential(Micros),
    /// Normal, by mean and standard deviation; negative draws become zero.
    Normal(Micros, Micros),
    /// Log-normal, by p50 and p95.
    LogNormal(Micros, Micros),
    /// One of several, by weight: rare spikes.
    Mix(Vec<(f64, Self)>),
}

impl Dist {
    /// One draw.
    pub fn draw(&self, r: &mut Stream) -> Micros {
        let us = match self {
            Self::Constant(t) => return *t,
            Self::Uniform(a, b) => a.0 as f64 + r.unit() * (b.0 - a.0) as f64,
            Self::Exponential(mean) => mean.0 as f64 * r.exponential(),
            Self::Normal(mean, sd) => mean.0 as f64 + sd.0 as f64 * r.normal(),
            Self::LogNormal(p50, p95) => {
                let sigma = (p95.0 as f64 / p50.0 as f64).ln() / Z95;
                p50.0 as f64 * (sigma * r.normal()).exp()
            }
            Self::Mix(parts) => {
                let mut at = r.unit() * parts.iter().map(|(w, _)| w).sum::<f64>();
                for (weight, part) in parts {
                    at -= weight;
                    if at < 0.0 {
                        return part.draw(r);
                    }
                }
                return parts.last().map_or(Micros::ZERO, |(_, part)| part.draw(r));
            }
        };
        Micros(us.round().max(0.0) as i64)
    }

    /// The mean, for estimates.
    pub fn mean(&self) -> Micros {
        match self {
            Self::Constant(t) | Self::Exponential(t) | Self::Normal(t, _) => *t,
            Self::Uniform(a, b) => (*a + *b) / 2,
            Self::LogNormal(p50, p95) => {
                let sigma = (p95.0 as f64 / p50.0 as f64).ln() / Z95;
                Micros((p50.0 as f64 * (sigma * sigma / 2.0).exp()) as i64)
            }
            Self::Mix(parts) => {
                let total: f64 = parts.iter().map(|(w, _)| w).sum();
                let sum: f64 = parts.iter().map(|(w, d)| w * d.mean().0 as f64).sum();
                Micros((sum / total.max(f64::MIN_POSITIVE)) as i64)
            }
        }
    }
}

/// What a distribution looks like, for messages.
pub(crate) const DIST_HELP: &str = "expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, \
     `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`";

/// As it is written in a scenario; parses back to the same distribution.
impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let two = |f: &mut fmt::Formatter<'_>, name: &str, a: &Micros, b: &Micros| {
            write!(f, "{name}({}, {})", format_duration(*a), format_duration(*b))
        };
        match self {
            Self::Constant(t) => f.write_str(&format_duration(*t)),
            Self::Uniform(a, b) => two(f, "uniform", a, b),
            Self::Exponential(mean) => write!(f, "exponential({})", format_duration(*mean)),
            Self::Normal(mean, sd) => two(f, "normal", mean, sd),
            Self::LogNormal(p50, p95) => two(f, "lognormal", p50, p95),
            Self::Mix(parts) => {
                f.write_str("mix(")?;
                for (i, (weight, part)) in parts.iter().enumerate() {
                    write!(f, "{}{weight}: {part}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl FromStr for Dist {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut reader = Reader { text, at: 0 };
        let dist = reader.dist(0)?;
        reader.skip_spaces();
        if reader.at < text.len() {
            let rest = &text[reader.at..];
            return Err(TextError::new(
                reader.at..text.len(),
                format!("`{rest}` after the end of the distribution"),
            ));
        }
        Ok(dist)
    }
}

/// Mixes within mixes make sense; deeper nesting than this does not.
const MAX_DEPTH: u32 = 4;

/// A recursive-descent reader of distributions.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn dist(&mut self, depth: u32) -> Result<Dist, TextError> {
        let (start, word) = self.word();
        if word.is_empty() {
            return Err(TextError::new(start..self.end(), "a distribution is missing").help(DIST_HELP));
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return parse_duration(&word).map(Dist::Constant).map_err(|e| e.shifted(start));
        }
        let names = ["uniform", "exponential", "normal", "lognormal", "mix"];
        if !names.contains(&word.as_str()) {
            let help = nearest(&word, names)
                .map_or_else(|| DIST_HELP.to_owned(), |name| format!("did you mean `{name}`? {DIST_HELP}"));
            let message = format!("`{word}` is neither a duration nor a distribution");
            return Err(TextError::new(start..start + word.len(), message).help(help));
        }
        self.expect('(', &format!("`(` after `{word}`"))?;
        let dist = match word.as_str() {
            "mix" => self.mix(start, depth)?,
            "exponential" => Dist::Exponential(self.duration()?),
            _ => {
                let a = self.duration()?;
                self.expect(',', &format!("`,`: `{word}` takes two durations"))?;
                let b = self.duration()?;
                let span = start..self.at;
                match word.as_str() {
                    "uniform" if a > b => {
                        return Err(TextError::new(span, "the lower end is above the upper end"));
                    }
                    "uniform" => Dist::Uniform(a, b),
                    "normal" => Dist::Normal(a, b),
                    _ if a <= Micros::ZERO || a > b => {
                        let message = "a log-normal needs 0 < p50 ≤ p95";
                        return Err(TextError::new(span, message)
                            .help("write `lognormal(p50, p95)`, for example `lognormal(250ms, 300ms)`"));
                    }
                    _ => Dist::LogNormal(a, b),
                }
            }
        };
        self.expect(')', &format!("`)` at the end of `{word}(…`"))?;
        Ok(dist)
    }

    fn mix(&mut self, start: usize, depth: u32) -> Result<Dist, TextError> {
        if depth >= MAX_DEPTH {
            return Err(TextError::new(
                start..self.at,
                "mixes are nested too deeply: four levels are the most",
            ));
        }
        let mut parts = Vec::new();
        loop {
            let (at, word) = self.word();
            let span = at..at + word.len();
            let weight = word.parse::<f64>().ok().filter(|w| w.is_finite() && *w > 0.0).ok_or_else(|| {
                TextError::new(span, format!("`{word}` is not a weight"))
                    .help("write `weight: distribution`, for example `mix(97: 250ms, 3: 2s)`")
            })?;
            self.expect(':', "`:` between weight and distribution")?;
            parts.push((weight, self.dist(depth + 1)?));
            if !self.take(',') {
                return Ok(Dist::Mix(parts));
            }
        }
    }

    fn duration(&mut self) -> Result<Micros, TextError> {
        let (start, word) = self.word();
        parse_duration(&word).map_err(|e| {
            let e = e.shifted(start);
            let end = e.span.end.max((start + 1).min(self.text.len()));
            TextError { span: e.span.start..end, ..e }
        })
    }

    /// The next run of characters that are not punctuation, and where it starts.
    fn word(&mut self) -> (usize, String) {
        self.skip_spaces();
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.find(|c: char| "(),:".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
        self.at += len;
        (start, rest[..len].to_owned())
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_spaces();
        let found = self.text[self.at..].starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char, what: &str) -> Result<(), TextError> {
        if self.take(c) {
            return Ok(());
        }
        Err(TextError::new(self.at..self.end(), format!("expected {what}")).help(DIST_HELP))
    }

    /// One character on, or the end of the text.
    fn end(&self) -> usize {
        self.at + self.text[self.at..].chars().next().map_or(0, char::len_utf8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        let ms = Micros::from_millis;
        for (text, dist) in [
            ("2s", Dist::Constant(ms(2_000))),
            ("uniform(1s, 3s)", Dist::Uniform(ms(1_000), ms(3_000))),
            ("exponential( 2s )", Dist::Exponential(ms(2_000))),
            ("normal(288ms,28ms)", Dist::Normal(ms(288), ms(28))),
            ("lognormal(250ms, 300ms)", Dist::LogNormal(ms(250), ms(300))),
            (
                "mix(97: lognormal(250ms, 300ms), 3: 2s)",
                Dist::Mix(vec![(97.0, Dist::LogNormal(ms(250), ms(300))), (3.0, Dist::Constant(ms(2_000)))]),
            ),
        ] {
            assert_eq!(text.parse(), Ok(dist), "{text}");
        }
    }

    #[test]
    fn errors_say_the_column() {
        let report = [
            "",
            "5",
            "lognormal(250ms)",
            "lognorml(250ms, 300ms)",
            "lognormal(0ms, 300ms)",
            "uniform(3s, 1s)",
            "uniform(1s, 3)",
            "normal(288ms, )",
            "mix(97 250ms)",
            "mix(-1: 250ms)",
            "mix(97: 250ms, 3: )",
            "2s 3s",
            "exponential 2s",
            "mix(1: mix(1: mix(1: mix(1: mix(1: 2s)))))",
        ]
        .map(|text| format!("{text:?} {}", text.parse::<Dist>().unwrap_err()))
        .join("\n");
        insta::assert_snapshot!(report, @r#"
    "" column 1: a distribution is missing; expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "5" column 1: a duration without a unit: `5`; expected a duration such as `300ms`, `2s`, `1m30s`
    "lognormal(250ms)" column 16: expected `,`: `lognormal` takes two durations; expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "lognorml(250ms, 300ms)" column 1: `lognorml` is neither a duration nor a distribution; did you mean `lognormal`? expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "lognormal(0ms, 300ms)" column 1: a log-normal needs 0 < p50 ≤ p95; write `lognormal(p50, p95)`, for example `lognormal(250ms, 300ms)`
    "uniform(3s, 1s)" column 1: the lower end is above the upper end
    "uniform(1s, 3)" column 13: a duration without a unit: `3`; expected a duration such as `300ms`, `2s`, `1m30s`
    "normal(288ms, )" column 15: an empty duration; expected a duration such as `300ms`, `2s`, `1m30s`
    "mix(97 250ms)" column 8: expected `:` between weight and distribution; expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "mix(-1: 250ms)" column 5: `-1` is not a weight; write `weight: distribution`, for example `mix(97: 250ms, 3: 2s)`
    "mix(97: 250ms, 3: )" column 19: a distribution is missing; expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "2s 3s" column 4: `3s` after the end of the distribution
    "exponential 2s" column 13: expected `(` after `exponential`; expected `2s`, `uniform(1s, 3s)`, `exponential(2s)`, `normal(288ms, 28ms)`, `lognormal(250ms, 300ms)` or `mix(97: 250ms, 3: 2s)`
    "mix(1: mix(1: mix(1: mix(1: mix(1: 2s)))))" column 29: mixes are nested too deeply: four levels are the most
"#);
    }

    fn span() -> impl Strategy<Value = Micros> {
        (0..10_000_000_i64).prop_map(Micros)
    }

    fn dist() -> impl Strategy<Value = Dist> {
        let leaf = prop_oneof![
            span().prop_map(Dist::Constant),
            (span(), span()).prop_map(|(a, b)| Dist::Uniform(a.min(b), a.max(b))),
            span().prop_map(Dist::Exponential),
            (span(), span()).prop_map(|(a, b)| Dist::Normal(a, b)),
            (span(), span()).prop_map(|(a, b)| Dist::LogNormal(a.min(b) + Micros(1), a.max(b) + Micros(1))),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            proptest::collection::vec((0.001..1000.0_f64, inner), 1..4).prop_map(Dist::Mix)
        })
    }

    proptest! {
        #[test]
        fn round_trips(dist in dist()) {
            prop_assert_eq!(dist.to_string().parse(), Ok(dist));
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9(),: .µ\\PC]{0,24}") {
            let _ = text.parse::<Dist>();
        }
    }
}
