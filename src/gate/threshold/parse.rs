//! From the text of a threshold to a [`Threshold`]: what is wrong is said with its place and what was expected.

use super::subject::prebuffer_of;
use super::{LimitUnit, Operator, Statistic, Subject, Threshold};
use crate::measure::Unit;
use crate::scenario::units::{DURATION_HELP, TextError, parse_duration};
use crate::time::Micros;

/// Longer ones first: `<=` is not `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

const SYNTAX: &str =
    "expected `metric:statistic operator value`, such as `ttfa:p(95)<300ms` or `turns.failed:rate<1%`";

const GROUP: &str = "a group of devices is named as in `ttfa{group:cat1}:p(95)<1s`";

/// The word that makes a threshold stop the run.
const ABORT: &str = "abort_on_fail";

impl Threshold {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let all = 0..text.len();
        let Some(colon) = colon(text) else {
            return Err(TextError::new(all, format!("`{text}` is not a threshold")).help(SYNTAX));
        };
        let (subject, group) = subject(&text[..colon])?;
        let (rest_start, rest) = (colon + 1, &text[colon + 1..]);
        let Some(at) = rest.find(['<', '>', '=', '!']) else {
            return Err(TextError::new(rest_start..text.len(), format!("`{text}` compares with nothing"))
                .help(SYNTAX));
        };
        let Some((symbol, operator)) = OPERATORS.iter().find(|(s, _)| rest[at..].starts_with(s)) else {
            let span = rest_start + at..rest_start + at + 1;
            return Err(
                TextError::new(span, "not an operator").help("expected `<`, `<=`, `>`, `>=`, `==` or `!=`")
            );
        };
        let word = &rest[..at];
        let word_start = rest_start + word.len() - word.trim_start().len();
        let name = text[..colon].trim();
        let statistic = statistic(word.trim(), subject, name).map_err(|e| e.shifted(word_start))?;
        if group.is_some() {
            by_group(subject, statistic, name)
                .map_err(|e| e.shifted(text.len() - text.trim_start().len()))?;
        }
        let value = &rest[at + symbol.len()..];
        let value_start = text.len() - value.trim_start().len();
        let (limit, unit) = limit(value.trim(), subject, statistic).map_err(|e| e.shifted(value_start))?;
        let operator = *operator;
        Ok(Self { expression: text.to_owned(), subject, group, statistic, operator, limit, unit })
    }

    /// Reads an entry of a scenario's list: an expression, and after it `abort_on_fail`, with `delay=30s` if wanted.
    /// The delay is that of a threshold that stops the run.
    pub fn parse_entry(text: &str) -> Result<(Self, Option<Micros>), TextError> {
        let Some((expression, words)) = text.split_once(ABORT) else {
            return Ok((Self::parse(text)?, None));
        };
        let threshold = Self::parse(expression.trim_end())?;
        let start = text.len() - words.trim_start().len();
        let words = words.trim();
        let delay = match words.strip_prefix("delay=") {
            Some(delay) => parse_duration(delay).map_err(|e| e.shifted(start + "delay=".len()))?,
            None if words.is_empty() => Micros::ZERO,
            None => {
                return Err(TextError::new(
                    start..start + words.len(),
                    format!("`{words}` is not understood"),
                )
                .help("after `abort_on_fail` there may be a delay, such as `delay=30s`"));
            }
        };
        if delay == Micros::ZERO && matches!(threshold.statistic, Statistic::Mean | Statistic::Value) {
            return Err(TextError::new(
                expression.len()..expression.len() + ABORT.len(),
                "the first turn alone could stop the run: this statistic is no share that could be judged with confidence",
            )
            .help("give it time, for example `abort_on_fail delay=30s`"));
        }
        Ok((threshold, Some(delay)))
    }

    /// An entry as text, from its parts.
    pub fn entry(expression: &str, abort_on_fail: bool, delay: &str) -> String {
        match (abort_on_fail, delay) {
            (false, _) => expression.to_owned(),
            (true, "") => format!("{expression} {ABORT}"),
            (true, delay) => format!("{expression} {ABORT} delay={delay}"),
        }
    }
}

/// Reads what stands before a threshold's operator: `ttfa:p(95)`. A metric alone means its p(95), a counter its rate.
pub fn parse_measure(text: &str) -> Result<(Subject, Statistic), TextError> {
    let (name, word) = text.split_once(':').map_or((text, None), |(name, word)| (name, Some(word)));
    let (start, name) = (name.len() - name.trim_start().len(), name.trim());
    let subject = Subject::named(name).map_err(|e| e.shifted(start))?;
    let statistic = match (word, subject) {
        (Some(word), _) => statistic(word.trim(), subject, name)
            .map_err(|e| e.shifted(text.len() - word.trim_start().len()))?,
        (None, Subject::Metric(_)) => Statistic::Quantile(0.95),
        (None, Subject::Counter(_)) => Statistic::Rate,
        (None, Subject::StalledShare(_)) => Statistic::Value,
    };
    Ok((subject, statistic))
}

/// The colon between metric and statistic: not the one in `{group:…}`.
fn colon(text: &str) -> Option<usize> {
    let from = match (text.find('{'), text.find(':')) {
        (Some(brace), Some(colon)) if brace < colon => text.find('}').unwrap_or(text.len()),
        _ => 0,
    };
    text[from..].find(':').map(|at| from + at)
}

/// `ttfa`, or `ttfa{group:cat1}`.
fn subject(text: &str) -> Result<(Subject, Option<String>), TextError> {
    let (name, tag) = text.split_once('{').map_or((text, None), |(name, tag)| (name, Some(tag)));
    let start = name.len() - name.trim_start().len();
    let subject = Subject::named(name.trim()).map_err(|e| e.shifted(start))?;
    let Some(tag) = tag else { return Ok((subject, None)) };
    let group = tag.trim_end().strip_suffix('}').and_then(|t| t.split_once(':'));
    match group.map(|(tag, group)| (tag.trim(), group.trim())) {
        Some(("group", group)) if !group.is_empty() => Ok((subject, Some(group.to_owned()))),
        _ => Err(TextError::new(name.len()..text.len(), format!("`{}` names no group", &text[name.len()..]))
            .help(GROUP)),
    }
}

/// Whether that is known of a group.
fn by_group(subject: Subject, statistic: Statistic, name: &str) -> Result<(), TextError> {
    let stalled = matches!(subject, Subject::Metric(_)) && statistic == Statistic::Rate;
    if subject.by_group() && !stalled {
        return Ok(());
    }
    let what = name.split('{').next().unwrap_or(name);
    let help = if stalled {
        format!("ask for a percentile: `{what}{{group:…}}:p(98)<=0%` allows 2 % of the replies to stall")
    } else {
        "of groups the metrics of turns are known, such as `ttfa`, `ttft`, `stall_ratio@60ms`, `network`, and \
         `turns.failed` and what else is counted at the end of a turn"
            .to_owned()
    };
    Err(TextError::new(0..name.len(), format!("`{what}` is not known by group")).help(help))
}

fn statistic(word: &str, subject: Subject, name: &str) -> Result<Statistic, TextError> {
    let whole = 0..word.len();
    let parsed = match word {
        "med" => Some(Statistic::Quantile(0.5)),
        "min" => Some(Statistic::Min),
        "max" => Some(Statistic::Max),
        "avg" | "mean" => Some(Statistic::Mean),
        "count" => Some(Statistic::Count),
        "rate" => Some(Statistic::Rate),
        "value" => Some(Statistic::Value),
        _ => match word.strip_prefix("p(").and_then(|w| w.strip_suffix(')')) {
            Some(percent) => {
                let q = percent
                    .trim()
                    .parse::<f64>()
                    .ok()
                    .filter(|p| *p > 0.0 && *p < 100.0)
                    .ok_or_else(|| {
                        TextError::new(whole.clone(), format!("`{word}` is not a percentile"))
                            .help("expected a number between 0 and 100, such as `p(95)` or `p(99.9)`; `max` is the largest")
                    })?;
                Some(Statistic::Quantile(q / 100.0))
            }
            None => None,
        },
    };
    let of_distribution = "`p(95)`, `med`, `min`, `max`, `avg` and `count`";
    let (allowed, fits): (String, fn(Statistic) -> bool) = match subject {
        Subject::Metric(m) if prebuffer_of(m).is_some() => (
            format!(
                "{of_distribution} of each reply's stalled share, and `rate`, the share of replies that stalled"
            ),
            |s| s != Statistic::Value,
        ),
        Subject::Metric(_) => {
            (of_distribution.to_owned(), |s| !matches!(s, Statistic::Rate | Statistic::Value))
        }
        Subject::Counter(_) => {
            ("`count` and `rate`".to_owned(), |s| matches!(s, Statistic::Count | Statistic::Rate))
        }
        Subject::StalledShare(_) => ("`value`".to_owned(), |s| s == Statistic::Value),
    };
    parsed.filter(|s| fits(*s)).ok_or_else(|| {
        TextError::new(whole, format!("`{name}` has no statistic `{word}`"))
            .help(format!("`{name}` has {allowed}"))
    })
}

fn limit(text: &str, subject: Subject, statistic: Statistic) -> Result<(f64, LimitUnit), TextError> {
    let whole = 0..text.len();
    let is_time = matches!(subject, Subject::Metric(m) if m.unit() == Unit::Micros);
    if is_time && statistic != Statistic::Count {
        // A first token can come before the end of speech.
        let (sign, positive) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
        let t = parse_duration(positive).map_err(|e| {
            TextError::new(whole, format!("`{text}` is not a duration"))
                .help(e.help.unwrap_or_else(|| DURATION_HELP.to_owned()))
        })?;
        let unit = positive.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let micros = match unit {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "m" => 60e6,
            "h" => 3_600e6,
            "d" => 86_400e6,
            _ => 1e6,
        };
        return Ok((sign * t.0 as f64, LimitUnit::Time(micros)));
    }
    let (number, unit, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), LimitUnit::Percent, 100.0),
        None => (text, LimitUnit::Number, 1.0),
    };
    let x = number.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x / scale);
    let (expected, ok): (&str, fn(f64) -> bool) = match statistic {
        Statistic::Count => ("a whole number", |x| x >= 0.0 && x.fract() == 0.0),
        Statistic::Rate | Statistic::Value => {
            ("a share, such as `1%` or `0.01`", |x| (0.0..=1.0).contains(&x))
        }
        _ => ("a number, such as `1.2` or `5%`", |_| true),
    };
    let percent_of_count = statistic == Statistic::Count && unit == LimitUnit::Percent;
    x.filter(|x| ok(*x) && !percent_of_count).map(|x| (x, unit)).ok_or_else(|| {
        TextError::new(whole, format!("`{text}` is not a limit for this"))
            .help(format!("expected {expected}"))
    })
}
