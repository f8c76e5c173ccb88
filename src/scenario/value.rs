//! From a TOML value to a typed one: the check of a single key against the table.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, Place};
use super::dist::Dist;
use super::keys::{Key, Kind};
use super::template::{Text, expand};
use super::units::{
    DURATION_HELP, TextError, format_bitrate, format_duration, format_size, nearest, parse_bitrate,
    parse_duration, parse_share, parse_size,
};
use super::{Fault, Stage};
use crate::fault::FaultSpec;
use crate::fault::plan::{FAULT_HELP, Field};
use crate::gate::Threshold;
use crate::time::Micros;

/// A value of a key, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Duration(Micros),
    Choice(&'static str),
    Text(Text),
    List(Vec<Text>),
    Table(Vec<(String, Text)>),
    Dist(Dist),
    Share(f64),
    Stages(Vec<Stage>),
    Bitrate(u32),
    Size(u32),
    Faults(Vec<(Fault, f64)>),
    FaultList(Vec<FaultSpec>),
    Axes(Vec<(String, Vec<String>)>),
}

/// A value with where it and its parts (elements of lists, values of tables) are.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) parts: Vec<Place>,
}

/// Reads values of one text.
pub(super) struct Reader<'a> {
    pub(super) out: &'a mut Diagnostics,
    pub(super) source: usize,
    /// What to add to spans: where the value starts in the text that is shown.
    pub(super) offset: usize,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

type Node<'i> = Spanned<DeValue<'i>>;

const THRESHOLDS_HELP: &str = "expected a list of thresholds: `[\"ttfa:p(95)<300ms\", { threshold = \"turns.failed:rate<1%\", abort_on_fail = true }]`";

impl Reader<'_> {
    /// The value of `key`, or `None` after saying what is wrong.
    pub(super) fn read(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Found> {
        let one = |value| Found { value, parts: Vec::new() };
        match key.kind {
            Kind::Bool => match node.get_ref() {
                DeValue::Boolean(b) => Some(one(Value::Bool(*b))),
                _ => self.wrong(key, node, "expected `true` or `false`"),
            },
            Kind::Int(min, max) => {
                let help = if max == i64::MAX {
                    format!("expected a whole number, at least {min}")
                } else {
                    format!("expected a whole number from {min} to {max}")
                };
                let n = match node.get_ref() {
                    DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
                    _ => Some(self.number(key, node, &help)?),
                };
                match n {
                    Some(n) if (min..=max).contains(&n) => Some(one(Value::Int(n))),
                    _ => self.range(key, node, &help),
                }
            }
            Kind::Float(min, max) => {
                let help = format!("expected a number from {min} to {max}");
                let x = match node.get_ref() {
                    DeValue::Integer(n) => n.as_str().parse::<f64>().ok(),
                    DeValue::Float(x) => x.as_str().parse::<f64>().ok(),
                    _ => Some(self.number(key, node, &help)?),
                };
                match x {
                    Some(x) if (min..=max).contains(&x) => Some(one(Value::Float(x))),
                    _ => self.range(key, node, &help),
                }
            }
            Kind::Share => match node.get_ref() {
                DeValue::Integer(n) => self.parsed(key, node, &Text::literal(n.as_str()), parse_share),
                DeValue::Float(x) => self.parsed(key, node, &Text::literal(x.as_str()), parse_share),
                _ => {
                    let text =
                        self.text(key, node, "expected a share from 0 to 1, such as `0.2` or `\"20%\"`")?;
                    self.parsed(key, node, &text, parse_share)
                }
            }
            .map(|x| one(Value::Share(x))),
            Kind::Duration(min, max) => {
                self.duration(key, node, min, max, false).map(Value::Duration).map(one)
            }
            Kind::DurationOrOff(min, max) => {
                self.duration(key, node, min, max, true).map(Value::Duration).map(one)
            }
            Kind::Bitrate(min, max) => {
                let shown = |n: u32| n.to_string();
                self.scaled(key, node, min..=max, parse_bitrate, shown).map(|n| one(Value::Bitrate(n)))
            }
            Kind::Size(min, max) => {
                self.scaled(key, node, min..=max, parse_size, format_size).map(|n| one(Value::Size(n)))
            }
            Kind::Choice(choices) => {
                let names = || choices.iter().map(|(name, _)| *name);
                let expected = expected_choice(names());
                let text = self.text(key, node, &expected)?;
                let chosen = names().find(|name| *name == text.value);
                if chosen.is_none() {
                    let help = match nearest(&text.value, names()) {
                        Some(near) if !text.has_variables() => {
                            format!("did you mean `{near}`? {expected}")
                        }
                        _ => expected,
                    };
                    let message = format!("`{}` is not a value of `{}`", text.written, key.path);
                    self.push(node.span(), message, help);
                }
                chosen.map(|name| one(Value::Choice(name)))
            }
            Kind::Dialect => {
                let text = self.text(key, node, "expected a text in quotes")?;
                self.dialect(key, node, text).map(|t| one(Value::Text(t)))
            }
            Kind::Text | Kind::Secret | Kind::Url | Kind::File | Kind::Folder => {
                self.text(key, node, "expected a text in quotes").map(|t| one(Value::Text(t)))
            }
            Kind::Dist => {
                let text = self.text(key, node, super::dist::DIST_HELP)?;
                self.parsed(key, node, &text, str::parse).map(|d| one(Value::Dist(d)))
            }
            Kind::List => self.list(key, node),
            Kind::Thresholds => self.thresholds(key, node),
            Kind::Headers | Kind::Values => self.headers(key, node),
            Kind::Stages => self.stages(key, node).map(|s| one(Value::Stages(s))),
            Kind::Faults => self.faults(key, node).map(|f| one(Value::Faults(f))),
            Kind::FaultList => self.fault_list(key, node),
            Kind::Axes => super::axes::read(self, node).map(|a| one(Value::Axes(a))),
        }
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place { source: self.source, span: span.start + self.offset..span.end + self.offset }
    }

    pub(super) fn push(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let place = self.place(span);
        self.out.push(Some(place), message, help);
    }

    fn wrong<T>(&mut self, key: &Key, node: &Node<'_>, help: &str) -> Option<T> {
        let message = format!("`{}` is {}", key.path, type_name(node.get_ref()));
        self.push(node.span(), message, help);
        None
    }

    fn range<T>(&mut self, key: &Key, node: &Node<'_>, help: &str) -> Option<T> {
        self.push(node.span(), format!("`{}` is out of range", key.path), help);
        None
    }

    /// A number written as text: only `${ENV}` can mean one. `None` after saying what is wrong.
    fn number<T: std::str::FromStr>(&mut self, key: &Key, node: &Node<'_>, help: &str) -> Option<T> {
        let text = self.text(key, node, help)?;
        if !text.has_variables() {
            return self.wrong(key, node, help);
        }
        let number = text.value.trim().parse().ok();
        if number.is_none() {
            let message = format!("`{}` is no number once `{}` is filled in", key.path, text.written);
            self.push(node.span(), message, help);
        }
        number
    }

    fn text(&mut self, key: &Key, node: &Node<'_>, help: &str) -> Option<Text> {
        match node.get_ref() {
            DeValue::String(s) => self.expand(node, s),
            _ => self.wrong(key, node, help),
        }
    }

    fn expand(&mut self, node: &Node<'_>, text: &str) -> Option<Text> {
        match expand(text, self.variable) {
            Ok(text) => Some(text),
            Err(errors) => {
                for e in errors {
                    let span = self.inside(node, text, &e.span);
                    self.push(span, e.message, e.help);
                }
                None
            }
        }
    }

    /// Where a part of a string's content is in the source: exact, unless escapes or variables moved it.
    fn inside(&self, node: &Node<'_>, content: &str, part: &Range<usize>) -> Range<usize> {
        let span = node.span();
        let source = self.out.slice(&self.place(span.clone()));
        match source.find(content) {
            Some(quote) if !content.is_empty() => {
                span.start + quote + part.start..span.start + quote + part.end
            }
            _ => span,
        }
    }

    /// A text through a parser; what comes from the environment is not shown.
    fn parsed<T>(
        &mut self,
        key: &Key,
        node: &Node<'_>,
        text: &Text,
        parse: impl Fn(&str) -> Result<T, TextError>,
    ) -> Option<T> {
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(e) => {
                let help = e.help.unwrap_or_default();
                if text.has_variables() {
                    let message =
                        format!("`{}` has no valid value once `{}` is filled in", key.path, text.written);
                    self.push(node.span(), message, help);
                } else {
                    let span = self.inside(node, &text.value, &e.span);
                    self.push(span, format!("`{}`: {}", key.path, e.message), help);
                }
                None
            }
        }
    }

    fn duration(
        &mut self,
        key: &Key,
        node: &Node<'_>,
        min: Micros,
        max: Micros,
        off: bool,
    ) -> Option<Micros> {
        let expected = if off { format!("{DURATION_HELP}, or `off`") } else { DURATION_HELP.to_owned() };
        if let DeValue::Integer(_) | DeValue::Float(_) = node.get_ref() {
            let number = self.out.slice(&self.place(node.span())).to_owned();
            let message = format!("`{}` is a number without a unit", key.path);
            self.push(node.span(), message, format!("{expected}: write `\"{number}ms\"` or `\"{number}s\"`"));
            return None;
        }
        let text = self.text(key, node, &expected)?;
        if off && text.value == "off" {
            return Some(Micros::ZERO);
        }
        let t = self.parsed(key, node, &text, parse_duration)?;
        if (min..=max).contains(&t) {
            return Some(t);
        }
        let allowed = format!(
            "expected {} to {}{}",
            format_duration(min),
            format_duration(max),
            if off { ", or `off`" } else { "" }
        );
        self.range(key, node, &allowed)
    }

    fn scaled(
        &mut self,
        key: &Key,
        node: &Node<'_>,
        range: std::ops::RangeInclusive<u32>,
        parse: fn(&str) -> Result<u32, TextError>,
        show: fn(u32) -> String,
    ) -> Option<u32> {
        let expected = format!("expected {} to {}", show(*range.start()), show(*range.end()));
        let n = match node.get_ref() {
            DeValue::Integer(n) => {
                let Some(n) = u32::from_str_radix(n.as_str(), n.radix()).ok() else {
                    return self.range(key, node, &expected);
                };
                n
            }
            _ => {
                let text = self.text(key, node, &expected)?;
                self.parsed(key, node, &text, parse)?
            }
        };
        if range.contains(&n) { Some(n) } else { self.range(key, node, &expected) }
    }

    /// A name that is known, or the path of a file.
    fn dialect(&mut self, key: &Key, node: &Node<'_>, text: Text) -> Option<Text> {
        let names = crate::dialect::Dialect::names;
        if text.value.ends_with(".toml") || names().any(|n| n == text.value) {
            return Some(text);
        }
        let all = format!("{}, or the path of a `.toml` file", expected_choice(names()));
        let help = match nearest(&text.value, names()) {
            Some(near) if !text.has_variables() => format!("did you mean `{near}`? {all}"),
            _ => all,
        };
        self.push(node.span(), format!("`{}` is not a value of `{}`", text.written, key.path), help);
        None
    }

    fn list(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Found> {
        let DeValue::Array(items) = node.get_ref() else {
            return self.wrong(key, node, "expected a list of texts: `[\"a\", \"b\"]`");
        };
        let (mut texts, mut parts, mut complete) = (Vec::new(), Vec::new(), true);
        for item in items.iter() {
            match self.text(key, item, "expected a list of texts: `[\"a\", \"b\"]`") {
                Some(text) => {
                    texts.push(text);
                    parts.push(self.place(item.span()));
                }
                None => complete = false,
            }
        }
        complete.then_some(Found { value: Value::List(texts), parts })
    }

    fn thresholds(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Found> {
        let DeValue::Array(items) = node.get_ref() else {
            return self.wrong(key, node, THRESHOLDS_HELP);
        };
        let (mut texts, mut parts, mut complete) = (Vec::new(), Vec::new(), true);
        for item in items.iter() {
            let text = match item.get_ref() {
                DeValue::Table(table) => self.threshold_table(key, item, table),
                _ => self.text(key, item, THRESHOLDS_HELP).map(|text| (text, item.span())),
            };
            match text {
                Some((text, span)) => {
                    texts.push(text);
                    parts.push(self.place(span));
                }
                None => complete = false,
            }
        }
        complete.then_some(Found { value: Value::List(texts), parts })
    }

    /// A threshold as a table, as the text that says the same; and where its expression is.
    fn threshold_table(
        &mut self,
        key: &'static Key,
        node: &Node<'_>,
        table: &DeTable<'_>,
    ) -> Option<(Text, Range<usize>)> {
        const WHOLE: &str =
            "a threshold is `{ threshold = \"ttfa:p(95)<300ms\", abort_on_fail = true, delay = \"30s\" }`";
        let (mut expression, mut abort, mut delay) = (None, false, None);
        for (name, item) in table.iter() {
            match (name.get_ref().as_ref(), item.get_ref()) {
                ("threshold", _) => expression = Some((self.text(key, item, WHOLE)?, item.span())),
                ("abort_on_fail", DeValue::Boolean(yes)) => abort = *yes,
                ("abort_on_fail", _) => return self.wrong(key, item, "expected `true` or `false`"),
                ("delay", DeValue::String(s)) => {
                    let text = self.expand(item, s)?;
                    let time = self.parsed(key, item, &text, parse_duration)?;
                    delay = Some((format_duration(time), item.span()));
                }
                ("delay", _) => {
                    self.push(item.span(), "`delay` is no text with a unit", DURATION_HELP);
                    return None;
                }
                (other, _) => {
                    let known = ["threshold", "abort_on_fail", "delay"];
                    let help = nearest(other, known)
                        .map_or_else(|| WHOLE.to_owned(), |near| format!("did you mean `{near}`?"));
                    self.push(name.span(), format!("a threshold has no `{other}`"), help);
                    return None;
                }
            }
        }
        let Some((expression, span)) = expression else {
            self.push(node.span(), "which threshold?", WHOLE);
            return None;
        };
        if let Some((_, span)) = delay.as_ref().filter(|_| !abort) {
            self.push(span.clone(), "`delay` has no effect without `abort_on_fail = true`", WHOLE);
            return None;
        }
        let delay = delay.map_or_else(String::new, |(text, _)| text);
        let entry = |text: &str| Threshold::entry(text, abort, &delay);
        Some((Text { value: entry(&expression.value), written: entry(&expression.written) }, span))
    }

    fn headers(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Found> {
        let of_http = key.kind == Kind::Headers;
        let help = if of_http {
            "expected a table of texts: `{ Authorization = \"Bearer ${TOKEN}\" }`"
        } else {
            "expected a table of texts: `{ model = \"large\" }`"
        };
        let DeValue::Table(table) = node.get_ref() else {
            return self.wrong(key, node, help);
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let (mut values, mut parts, mut complete) = (Vec::new(), Vec::new(), true);
        for (name, item) in entries {
            use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
            let name_of_value =
                |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !of_http && !name_of_value(name.get_ref()) {
                let message = format!("`{}` cannot name a value", name.get_ref());
                self.push(name.span(), message, "letters, digits and `_`, as the dialect's variables");
                complete = false;
            }
            if of_http && HeaderName::try_from(name.get_ref().as_ref()).is_err() {
                let message = format!("`{}` is not the name of an HTTP header", name.get_ref());
                self.push(name.span(), message, "letters, digits and `-`, for example `X-Device`");
                complete = false;
            }
            match self.text(key, item, help) {
                Some(text) if of_http && HeaderValue::try_from(text.value.as_str()).is_err() => {
                    let message = format!("the value of the header `{}` cannot be sent", name.get_ref());
                    self.push(item.span(), message, "header values are visible ASCII characters on one line");
                    complete = false;
                }
                Some(text) => {
                    values.push((name.get_ref().to_string(), text));
                    parts.push(self.place(item.span()));
                }
                None => complete = false,
            }
        }
        complete.then_some(Found { value: Value::Table(values), parts })
    }

    fn stages(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Vec<Stage>> {
        let help = "expected `[\"30s:500\", \"1m:500\"]`: within each duration, go to that many devices";
        let DeValue::Array(items) = node.get_ref() else {
            return self.wrong(key, node, help);
        };
        let stages: Vec<_> = items.iter().map(|item| self.stage(key, item, help)).collect();
        stages.into_iter().collect()
    }

    fn stage(&mut self, key: &'static Key, node: &Node<'_>, help: &str) -> Option<Stage> {
        match node.get_ref() {
            DeValue::String(s) => {
                let text = self.expand(node, s)?;
                self.parsed(key, node, &text, |t| parse_stage(t, help))
            }
            DeValue::Table(table) => {
                let (mut duration, mut devices) = (None, None);
                for (name, item) in table.iter() {
                    match (name.get_ref().as_ref(), item.get_ref()) {
                        ("duration", DeValue::String(s)) => {
                            let text = self.expand(item, s)?;
                            duration = Some(self.parsed(key, item, &text, parse_duration)?);
                        }
                        ("devices", DeValue::Integer(n)) => {
                            devices = Some(match u32::from_str_radix(n.as_str(), n.radix()) {
                                Ok(n) if n <= MAX_STAGE => n,
                                _ => {
                                    return self.range(
                                        key,
                                        item,
                                        &format!("expected 0 to {MAX_STAGE} devices"),
                                    );
                                }
                            });
                        }
                        ("duration" | "devices", _) => return self.wrong(key, item, help),
                        (other, _) => {
                            let message = format!("a stage has no `{other}`");
                            self.push(
                                name.span(),
                                message,
                                "a stage is `{ duration = \"30s\", devices = 500 }`",
                            );
                            return None;
                        }
                    }
                }
                let Some((duration, devices)) = duration.zip(devices) else {
                    let help = "a stage is `{ duration = \"30s\", devices = 500 }`";
                    self.push(node.span(), "a stage needs `duration` and `devices`", help);
                    return None;
                };
                Some(Stage { duration, devices })
            }
            _ => self.wrong(key, node, help),
        }
    }

    fn faults(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Vec<(Fault, f64)>> {
        let DeValue::Table(table) = node.get_ref() else {
            return self.wrong(key, node, "expected a table of shares: `{ garbage = \"1%\" }`");
        };
        let (mut faults, mut complete) = (Vec::new(), true);
        for (name, item) in table.iter() {
            let wanted = name.get_ref().as_ref();
            let share = match item.get_ref() {
                DeValue::Integer(n) => self.parsed(key, item, &Text::literal(n.as_str()), parse_share),
                DeValue::Float(x) => self.parsed(key, item, &Text::literal(x.as_str()), parse_share),
                _ => self
                    .text(key, item, "expected a share, such as `0.01` or `\"1%\"`")
                    .and_then(|text| self.parsed(key, item, &text, parse_share)),
            };
            match (Fault::ALL.into_iter().find(|f| f.name() == wanted), share) {
                (Some(fault), Some(share)) => faults.push((fault, share)),
                (Some(_), None) => complete = false,
                (None, _) => {
                    let names = Fault::ALL.map(Fault::name);
                    let help = nearest(wanted, names)
                        .map_or_else(|| expected_choice(names), |near| format!("did you mean `{near}`?"));
                    self.push(name.span(), format!("`{wanted}` is not a fault"), help);
                    complete = false;
                }
            }
        }
        faults.sort_by_key(|(fault, _)| Fault::ALL.iter().position(|f| f == fault));
        complete.then_some(faults)
    }
}

impl Reader<'_> {
    fn fault_list(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Found> {
        let DeValue::Array(items) = node.get_ref() else {
            return self.wrong(key, node, &format!("a list; {FAULT_HELP}"));
        };
        let parts = items.iter().map(|item| self.place(item.span())).collect();
        let specs: Vec<_> = items.iter().map(|item| self.fault_spec(key, item)).collect();
        let specs: Option<Vec<_>> = specs.into_iter().collect();
        specs.map(|specs| Found { value: Value::FaultList(specs), parts })
    }

    fn fault_spec(&mut self, key: &'static Key, node: &Node<'_>) -> Option<FaultSpec> {
        let (read, hidden) = match node.get_ref() {
            DeValue::String(s) => {
                let text = self.expand(node, s)?;
                let read = FaultSpec::read(&text.value).map_err(|errors| {
                    let placed =
                        |e: TextError| TextError { span: self.inside(node, &text.value, &e.span), ..e };
                    errors.into_iter().map(placed).collect()
                });
                (read, text.has_variables())
            }
            DeValue::Table(table) => self.fault_table(key, node, table)?,
            _ => return self.wrong(key, node, FAULT_HELP),
        };
        let errors: Vec<TextError> = match read {
            Ok(spec) => return Some(spec),
            Err(errors) => errors,
        };
        for e in errors {
            let help = e.help.unwrap_or_default();
            if hidden {
                // What comes from the environment is not shown.
                let message = format!("`{}` has no valid value once its `${{…}}` are filled in", key.path);
                self.push(node.span(), message, help);
                return None;
            }
            self.push(e.span, format!("`{}`: {}", key.path, e.message), help);
        }
        None
    }

    /// A fault as a table; and whether a part of it comes from the environment.
    fn fault_table(&mut self, key: &'static Key, node: &Node<'_>, table: &DeTable<'_>) -> Option<Fields> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let (mut texts, mut hidden) = (Vec::new(), false);
        for (name, item) in entries {
            let text = match item.get_ref() {
                DeValue::Integer(n) => Text::literal(n.as_str()),
                DeValue::Float(x) => Text::literal(x.as_str()),
                _ => self.text(key, item, FAULT_HELP)?,
            };
            hidden |= text.has_variables();
            let span = self.inside(item, &text.value, &(0..text.value.len()));
            texts.push((name.get_ref().to_string(), name.span(), text.value, span));
        }
        let fields: Vec<_> = texts
            .iter()
            .map(|(name, name_span, value, span)| Field {
                name,
                name_span: name_span.clone(),
                value,
                span: span.clone(),
            })
            .collect();
        Some((FaultSpec::from_fields(&fields, node.span()), hidden))
    }
}

/// A fault, or what is wrong with it; and whether a part of it comes from the environment.
type Fields = (Result<FaultSpec, Vec<TextError>>, bool);

/// Most devices of a stage: the same as of a fleet.
const MAX_STAGE: u32 = 1_000_000;

/// Reads `30s:500`.
fn parse_stage(text: &str, help: &str) -> Result<Stage, TextError> {
    let Some((duration, devices)) = text.split_once(':') else {
        return Err(TextError::new(0..text.len(), format!("`{text}` is not a stage")).help(help));
    };
    let start = duration.len() + 1;
    let devices = devices.trim().parse().ok().filter(|n| *n <= MAX_STAGE).ok_or_else(|| {
        let message = format!("`{devices}` is not a number of devices from 0 to {MAX_STAGE}");
        TextError::new(start..text.len(), message).help(help)
    })?;
    Ok(Stage { duration: parse_duration(duration.trim_end())?, devices })
}

fn expected_choice<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("expected {} or {last}", rest.join(", ")),
        _ => format!("expected {}", quoted.concat()),
    }
}

/// What a TOML value is, for messages.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// As TOML. What comes from the environment stays as it was written, and secrets are left out.
pub(super) fn to_toml(kind: Kind, value: &Value) -> String {
    let text = |t: &str| toml::Value::String(t.to_owned()).to_string();
    let float = |x: f64| toml::Value::Float(x).to_string();
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(x) | Value::Share(x) => float(*x),
        Value::Duration(Micros::ZERO) if matches!(kind, Kind::DurationOrOff(..)) => text("off"),
        Value::Duration(t) => text(&format_duration(*t)),
        Value::Choice(name) => text(name),
        Value::Text(t) => match kind {
            Kind::Url => text(&super::template::redact_url(&t.written)),
            Kind::Secret => text(&super::template::redact_value(&t.written)),
            _ => text(&t.written),
        },
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|t| text(&t.written)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, t)| {
                    format!("{} = {}", text(name), text(&super::template::redact_value(&t.written)))
                })
                .collect();
            braces(&entries)
        }
        Value::Dist(d) => text(&d.to_string()),
        Value::Stages(stages) => {
            let stages: Vec<_> = stages
                .iter()
                .map(|s| text(&format!("{}:{}", format_duration(s.duration), s.devices)))
                .collect();
            format!("[{}]", stages.join(", "))
        }
        Value::Bitrate(n) => text(&format_bitrate(*n)),
        Value::Size(n) => text(&format_size(*n)),
        Value::Faults(faults) => {
            let faults: Vec<_> =
                faults.iter().map(|(fault, share)| format!("{} = {}", fault.name(), float(*share))).collect();
            braces(&faults)
        }
        Value::FaultList(faults) => {
            let faults: Vec<_> = faults.iter().map(|f| text(&f.to_string())).collect();
            format!("[{}]", faults.join(", "))
        }
        Value::Axes(axes) => {
            let axes: Vec<_> = axes
                .iter()
                .map(|(key, values)| {
                    let values: Vec<_> = values.iter().map(|v| text(&super::axes::shown(key, v))).collect();
                    format!("{} = [{}]", text(key), values.join(", "))
                })
                .collect();
            braces(&axes)
        }
    }
}

fn braces(entries: &[String]) -> String {
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}
