//! Links as people write them: `lognormal(10ms, 180ms)`, `1% / 60ms`, `mix(70: wifi-home, 30: cat1)`, `20s: wifi-congested`.

use std::fmt;

use super::{Jitter, Loss, Profile};
use crate::scenario::units::{TextError, format_duration, nearest, parse_duration, parse_share};
use crate::time::Micros;

/// What jitter looks like, for messages.
pub const JITTER_HELP: &str = "expected `lognormal(median, p99)` such as `lognormal(10ms, 180ms)`, `uniform(50ms)` for ±50 ms, or `off`";

/// What loss looks like, for messages.
pub const LOSS_HELP: &str =
    "expected a share such as `1%`, or `1% / 60ms` for bursts of 60 ms on average; `0%` for none";

const MIX_HELP: &str =
    "write `weight: preset`, for example `mix(70: wifi-home, 20: wifi-congested, 10: cat1)`";

/// What a change looks like, for messages.
pub const SCHEDULE_HELP: &str =
    "write `time: preset`, for example `20s: wifi-congested`; `base` goes back to each device's own";

/// In a schedule: what each device had at the beginning.
pub const BASE: &str = "base";

/// As it is written in a scenario.
impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("off"),
            Self::LogNormal { median, p99 } => {
                write!(f, "lognormal({}, {})", format_duration(*median), format_duration(*p99))
            }
            Self::Uniform(spread) => write!(f, "uniform({})", format_duration(*spread)),
        }
    }
}

/// As it is written in a scenario.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shares such as 0.2 % have no exact binary fraction.
        let percent = |p: f64| (p * 1e8).round() / 1e6;
        match self {
            Self::None => f.write_str("0%"),
            Self::Independent(p) => write!(f, "{}%", percent(*p)),
            Self::Burst { mean, bad } => write!(f, "{}% / {}", percent(*mean), format_duration(*bad)),
        }
    }
}

/// The parts of a text between a mark, each with where it begins.
fn parts(text: &str, mark: char) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(mark).map(move |part| {
        let start = at + part.len() - part.trim_start().len();
        at += part.len() + mark.len_utf8();
        (start, part.trim())
    })
}

/// A duration in a part of a text.
fn duration(start: usize, text: &str, help: &str) -> Result<Micros, TextError> {
    parse_duration(text).map_err(|e| {
        let e = e.shifted(start);
        TextError {
            span: e.span.start..e.span.end.max(e.span.start + 1),
            help: e.help.or_else(|| Some(help.to_owned())),
            ..e
        }
    })
}

/// Reads jitter.
pub fn parse_jitter(text: &str) -> Result<Jitter, TextError> {
    let all = 0..text.len();
    let bad = |message: String| TextError::new(all.clone(), message).help(JITTER_HELP);
    let trimmed = text.trim();
    if trimmed == "off" {
        return Ok(Jitter::None);
    }
    let Some((name, inner)) = trimmed.strip_suffix(')').and_then(|t| t.split_once('(')) else {
        return Err(bad(format!("`{trimmed}` is not a jitter")));
    };
    let start = text.len() - text.trim_start().len() + name.len() + 1;
    let times: Vec<_> = parts(inner, ',')
        .map(|(at, part)| duration(start + at, part, JITTER_HELP))
        .collect::<Result<_, _>>()?;
    match (name.trim(), times.as_slice()) {
        ("lognormal", [median, p99]) if *median > Micros::ZERO && p99 >= median => {
            Ok(Jitter::LogNormal { median: *median, p99: *p99 })
        }
        ("lognormal", [_, _]) => Err(bad("a log-normal needs 0 < median ≤ p99".to_owned())),
        ("uniform", [spread]) => Ok(Jitter::Uniform(*spread)),
        ("lognormal" | "uniform", _) => Err(bad(format!("`{trimmed}` has the wrong number of times"))),
        (name, _) => Err(bad(format!("`{name}` is not a kind of jitter"))),
    }
}

/// Reads loss.
pub fn parse_loss(text: &str) -> Result<Loss, TextError> {
    let found: Vec<_> = parts(text, '/').collect();
    let share = |start: usize, part: &str| {
        let p = parse_share(part)
            .map_err(|e| TextError { help: Some(LOSS_HELP.to_owned()), ..e.shifted(start) })?;
        if p < 1.0 {
            Ok(p)
        } else {
            let message = "everything is lost: that is no link";
            Err(TextError::new(start..start + part.len(), message).help(LOSS_HELP))
        }
    };
    match found.as_slice() {
        [(at, p)] => {
            let p = share(*at, p)?;
            Ok(if p > 0.0 { Loss::Independent(p) } else { Loss::None })
        }
        [(at, p), (bad_at, bad)] => {
            let mean = share(*at, p)?;
            let bad_time = duration(*bad_at, bad, LOSS_HELP)?;
            if bad_time < Micros::from_millis(1) {
                let message = "bursts of less than a millisecond";
                return Err(TextError::new(*bad_at..*bad_at + bad.len().max(1), message).help(LOSS_HELP));
            }
            Ok(if mean > 0.0 { Loss::Burst { mean, bad: bad_time } } else { Loss::None })
        }
        _ => Err(TextError::new(0..text.len(), format!("`{text}` is not a loss")).help(LOSS_HELP)),
    }
}

/// A preset by name.
fn preset(start: usize, name: &str, others: &[&'static str]) -> Result<&'static str, TextError> {
    let names = || Profile::presets().iter().map(|p| p.name).chain(others.iter().copied());
    if let Some(found) = names().find(|n| *n == name) {
        return Ok(found);
    }
    let all = names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let near = nearest(name, names()).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
    Err(TextError::new(start..start + name.len().max(1), format!("no preset `{name}`"))
        .help(format!("{near}expected {all}")))
}

/// Reads a preset, or a mix of them: names and weights.
pub fn parse_mix(text: &str) -> Result<Vec<(f64, &'static str)>, TextError> {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let Some(inner) = trimmed.strip_prefix("mix") else {
        return Ok(vec![(1.0, preset(start, trimmed, &[])?)]);
    };
    let opened = inner.trim_start();
    let start = start + 3 + inner.len() - opened.len() + 1;
    let Some(inner) = opened.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else {
        return Err(TextError::new(0..text.len(), format!("`{trimmed}` is not a mix")).help(MIX_HELP));
    };
    let mut mix: Vec<(f64, &'static str)> = Vec::new();
    for (at, part) in parts(inner, ',') {
        let at = start + at;
        let Some((weight, name)) = part.split_once(':') else {
            let message = format!("`{part}` has no weight");
            return Err(TextError::new(at..at + part.len().max(1), message).help(MIX_HELP));
        };
        let number = weight.trim().parse::<f64>().ok().filter(|w| w.is_finite() && *w > 0.0);
        let Some(number) = number else {
            let message = format!("`{}` is not a weight", weight.trim());
            return Err(TextError::new(at..at + weight.len().max(1), message).help(MIX_HELP));
        };
        let name_at = at + weight.len() + 1 + name.len() - name.trim_start().len();
        let name = preset(name_at, name.trim(), &[])?;
        if mix.iter().any(|(_, other)| *other == name) {
            let message = format!("`{name}` is in the mix twice");
            return Err(TextError::new(name_at..name_at + name.len(), message).help("add up its weights"));
        }
        mix.push((number, name));
    }
    Ok(mix)
}

/// Reads a change of a schedule: when, and what to.
pub fn parse_change(text: &str) -> Result<(Micros, &'static str), TextError> {
    let Some((at, name)) = text.split_once(':') else {
        let message = format!("`{text}` does not say when and what");
        return Err(TextError::new(0..text.len().max(1), message).help(SCHEDULE_HELP));
    };
    let start = at.len() - at.trim_start().len();
    let time = duration(start, at.trim(), SCHEDULE_HELP)?;
    let name_at = at.len() + 1 + name.len() - name.trim_start().len();
    Ok((time, preset(name_at, name.trim(), &[BASE])?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for p in Profile::presets() {
            assert_eq!(parse_jitter(&p.jitter.to_string()), Ok(p.jitter));
            assert_eq!(parse_loss(&p.loss.to_string()), Ok(p.loss), "{}", p.loss);
        }
        assert_eq!(
            parse_mix("mix( 70 : wifi-home,30: cat1 )"),
            Ok(vec![(70.0, "wifi-home"), (30.0, "cat1")])
        );
        assert_eq!(parse_mix("lte"), Ok(vec![(1.0, "lte")]));
        assert_eq!(parse_change("1m20s: base"), Ok((Micros::from_secs(80), "base")));
    }

    #[test]
    fn errors_say_the_column() {
        let jitter =
            ["", "5ms", "lognormal(10ms)", "lognormal(10ms, 5ms)", "lognormal(10ms, 5)", "gauss(1ms, 2ms)"];
        let loss = ["", "x", "1% / ", "100%", "1% / 10us", "1/2/3"];
        let mix =
            ["wifi", "mix(", "mix(wifi-home)", "mix(x: lte)", "mix(1: lte, 2: lte)", "mix(1: ltee)", "mix()"];
        let change = ["lte", "20: lte", "20s: lt", ": lte", "20s:"];
        let said = |text: &str, e: Option<TextError>| {
            format!("{text:?} {}", e.map_or_else(String::new, |e| e.to_string()))
        };
        let lines: Vec<_> = jitter
            .iter()
            .map(|t| said(t, parse_jitter(t).err()))
            .chain(loss.iter().map(|t| said(t, parse_loss(t).err())))
            .chain(mix.iter().map(|t| said(t, parse_mix(t).err())))
            .chain(change.iter().map(|t| said(t, parse_change(t).err())))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9(),:/% .µ\\PC]{0,24}") {
            let _ = (parse_jitter(&text), parse_loss(&text), parse_mix(&text), parse_change(&text));
        }
    }
}
