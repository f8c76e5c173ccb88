//! The axes of a sweep: which keys take which values, and conditions about them.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostics, Place};
use super::file::{string_node, unknown_help};
use super::keys::{self, Kind};
use super::template::redact_url;
use super::units::nearest;
use super::value::Reader;
use crate::time::Micros;

/// A key, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The key, for example `audio.chunk`.
    pub key: String,
    /// The values, as they would be given to `--set`.
    pub values: Vec<String>,
}

/// Keys and values, all of which must hold.
pub type Conditions = Vec<(String, String)>;

/// The order of the runs of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepOrder {
    /// Each round measures every cell once.
    Interleaved,
    /// All rounds of a cell, then the next cell.
    Sequential,
}

/// What `voxload sweep` varies, and how.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The axes; empty: the scenario is not made for a sweep.
    pub axes: Vec<Axis>,
    /// Runs of each cell.
    pub repeat: u32,
    /// The order of the runs.
    pub order: SweepOrder,
    /// Combinations to leave out.
    pub skip: Vec<Conditions>,
    /// Combinations that the check refuses are skipped; otherwise they are an error.
    pub skip_invalid: bool,
    /// An INVALID run is made again so often.
    pub retries: u32,
    /// The cell that others are compared with; `None`: the first.
    pub baseline: Option<Conditions>,
    /// A search of this length for how many devices one server carries, at each cell; 0: none.
    pub capacity: Micros,
    /// How much slower than the fastest cell a recommended one may be, mean TTFA.
    pub max_delay: Micros,
    /// How much a recommended cell may distort speech: log-spectral distance, dB.
    pub max_distortion: f64,
}

/// Keys that a sweep itself decides, and why they can be no axis.
const OWN: [(&str, &str); 4] = [
    ("name", "runs of a sweep are named by their cell"),
    ("seed", "every round of a sweep has a seed of its own, the same for all cells"),
    ("report.dir", "runs of a sweep lie in its own folder"),
    ("report.prometheus", "runs of a sweep take turns at one address"),
];

/// The axes of a table, or `None` after saying what is wrong.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: &Spanned<DeValue<'_>>,
) -> Option<Vec<(String, Vec<String>)>> {
    let DeValue::Table(table) = node.get_ref() else {
        reader.push(
            node.span(),
            "`sweep.axes` is not a table",
            "expected keys with their values: `{ \"audio.chunk\" = [\"20ms\", \"60ms\"] }`",
        );
        return None;
    };
    let (mut axes, mut complete) = (Vec::new(), true);
    tables(reader, "", table, &mut axes, &mut complete);
    axes.sort_by_key(|(at, _, _): &(usize, String, Vec<String>)| *at);
    complete.then(|| axes.into_iter().map(|(_, key, values)| (key, values)).collect())
}

/// Keys may be quoted (`"audio.chunk"`) or not, and are then tables in tables.
fn tables(
    reader: &mut Reader<'_>,
    prefix: &str,
    table: &DeTable<'_>,
    axes: &mut Vec<(usize, String, Vec<String>)>,
    complete: &mut bool,
) {
    for (name, node) in table.iter() {
        let path = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        if let DeValue::Table(inner) = node.get_ref() {
            tables(reader, &path, inner, axes, complete);
            continue;
        }
        match axis(reader, &path, node) {
            Ok(values) => axes.push((node.span().start, path, values)),
            Err(Some((message, help))) => {
                reader.push(name.span(), message, help);
                *complete = false;
            }
            Err(None) => *complete = false,
        }
    }
}

type Wrong = Option<(String, String)>;

fn axis(reader: &mut Reader<'_>, path: &str, node: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Wrong> {
    let kind = kind_of(path)
        .ok_or_else(|| Some((format!("`sweep.axes`: unknown key `{path}`"), unknown_help(path))))?;
    if let Some((_, why)) = OWN.iter().find(|(key, _)| *key == path) {
        return Err(Some((format!("`{path}` cannot be an axis"), (*why).to_owned())));
    }
    if path.starts_with("sweep.") {
        return Err(Some((
            format!("`{path}` cannot be an axis"),
            "it says how to sweep, and not what is measured".to_owned(),
        )));
    }
    if matches!(kind, Kind::Secret | Kind::Headers | Kind::Values) {
        return Err(Some((
            format!("`{path}` cannot be an axis"),
            "a sweep prints the values of its axes, and these are secret".to_owned(),
        )));
    }
    let DeValue::Array(items) = node.get_ref() else {
        return Err(Some((
            format!("the values of `{path}` are not a list"),
            format!("expected `\"{path}\" = [VALUE, VALUE]`"),
        )));
    };
    let (mut values, mut complete) = (Vec::new(), true);
    for item in items.iter() {
        let value = match item.get_ref() {
            DeValue::String(s) => s.to_string(),
            // As it is written.
            _ => reader.out.slice(&reader.place(item.span())).to_owned(),
        };
        if values.contains(&value) {
            let message = format!("`{}` stands twice among the values of `{path}`", shown(path, &value));
            reader.push(item.span(), message, "every value once");
            complete = false;
        } else {
            values.push(value);
        }
    }
    if complete { Ok(values) } else { Err(None) }
}

/// The kind of a key, or of an entry of a table (`target.headers.X-Device`).
fn kind_of(path: &str) -> Option<Kind> {
    keys::find(path).map(|k| k.kind).or_else(|| {
        let (parent, _) = path.rsplit_once('.')?;
        keys::find(parent)
            .map(|k| k.kind)
            .filter(|k| matches!(k, Kind::Headers | Kind::Values | Kind::Faults))
    })
}

/// A value of a key as it may be printed.
pub fn shown(key: &str, value: &str) -> String {
    match kind_of(key) {
        Some(Kind::Url) => redact_url(value),
        Some(kind) if kind.is_secret() => "***".to_owned(),
        _ => value.to_owned(),
    }
}

/// `--axis KEY=VALUE,VALUE`: a table with one axis. Commas within brackets and quotes are part of a value.
pub(super) fn node(axis: &str, text: &str) -> Spanned<DeValue<'static>> {
    let mut items = DeArray::new();
    for range in split(text) {
        let item = &text[range.clone()];
        let inner = item.strip_prefix(['"', '\'']).and_then(|t| t.strip_suffix(['"', '\'']));
        items.push(string_node(inner.unwrap_or(item), range));
    }
    let mut table = DeTable::new();
    table.insert(
        Spanned::new(0..0, DeString::Owned(axis.to_owned())),
        Spanned::new(0..text.len(), DeValue::Array(items)),
    );
    Spanned::new(0..text.len(), DeValue::Table(table))
}

/// The parts between commas, trimmed; none of an empty text.
fn split(text: &str) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_i32, None);
    let trimmed = |from: usize, to: usize| {
        let part = &text[from..to];
        let start = from + part.len() - part.trim_start().len();
        start..start + part.trim().len()
    };
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(trimmed(from, at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(trimmed(from, text.len()));
    parts.retain(|r| !r.is_empty());
    parts
}

/// Values of axes that are secret in part are not shown where the scenario is wrong.
pub(super) fn hide(out: &mut Diagnostics, place: &Place, offset: usize, node: &Spanned<DeValue<'_>>) {
    fn each(out: &mut Diagnostics, source: usize, offset: usize, path: &str, table: &DeTable<'_>) {
        for (name, node) in table.iter() {
            let path = if path.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{path}.{}", name.get_ref())
            };
            match node.get_ref() {
                DeValue::Table(inner) => each(out, source, offset, &path, inner),
                // A mistyped `token` is still a token.
                _ if kind_of(&path).is_none_or(Kind::is_secret) => {
                    let span = node.span();
                    out.mask(Place { source, span: span.start + offset..span.end + offset });
                }
                _ => {}
            }
        }
    }
    if let DeValue::Table(table) = node.get_ref() {
        each(out, place.source, offset, "", table);
    }
}

/// Reads `audio.codec=pcm16, audio.chunk=20ms`; the error is what is wrong, and what to try.
pub(super) fn conditions(text: &str, axes: &[Axis]) -> Result<Conditions, (String, String)> {
    let mut conditions = Vec::new();
    for part in split(text) {
        let part = &text[part];
        let Some((key, value)) = part.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
            return Err((
                format!("`{part}` is no condition"),
                "expected `key=value`, several with commas between them".to_owned(),
            ));
        };
        let Some(axis) = axes.iter().find(|a| a.key == key) else {
            let keys: Vec<_> = axes.iter().map(|a| Cow::from(&a.key)).collect();
            return Err((
                format!("`{key}` is no axis of this sweep"),
                match nearest(key, keys.iter().map(AsRef::as_ref)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if keys.is_empty() => "`sweep.axes` has none".to_owned(),
                    None => format!("the axes are {}", keys.join(", ")),
                },
            ));
        };
        if !axis.values.iter().any(|v| v == value) {
            let values: Vec<_> = axis.values.iter().map(|v| shown(key, v)).collect();
            return Err((
                format!("`{}` is no value of the axis `{key}`", shown(key, value)),
                format!("its values are {}", values.join(", ")),
            ));
        }
        conditions.push((key.to_owned(), value.to_owned()));
    }
    if conditions.is_empty() {
        return Err(("the condition is empty".to_owned(), "expected `key=value`".to_owned()));
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Override, Source, load_in};
    use super::*;

    fn load(toml: &str, axes: &[(&str, &str)]) -> Result<SweepPlan, String> {
        let flags: Vec<_> = axes
            .iter()
            .map(|(key, value)| Override {
                key: format!("sweep.axes.{key}"),
                value: (*value).to_owned(),
                flag: "--axis",
                append: true,
            })
            .collect();
        load_in(&Source::inline("sweep.toml", toml), &flags, &Environment::default())
            .map(|s| s.sweep)
            .map_err(|e| e.render(false))
    }

    fn axes(plan: &SweepPlan) -> Vec<String> {
        plan.axes.iter().map(|a| format!("{}={}", a.key, a.values.join("|"))).collect()
    }

    #[test]
    fn axes_of_the_file_keep_their_order_and_flags_replace_them() {
        let toml =
            "[sweep]\naxes = { \"audio.codec\" = [\"opus\", \"pcm16\"], \"audio.chunk\" = [\"20ms\"] }\n";
        let plan = load(toml, &[]).unwrap();
        assert_eq!(axes(&plan), ["audio.codec=opus|pcm16", "audio.chunk=20ms"]);
        let plan =
            load(toml, &[("audio.codec", "mulaw, opus"), ("fleet.devices", "5,10"), ("audio.chunk", "")])
                .unwrap();
        assert_eq!(axes(&plan), ["audio.codec=mulaw|opus", "fleet.devices=5|10"]);
    }

    #[test]
    fn keys_may_be_written_as_tables_and_values_of_any_type() {
        let toml = "[sweep.axes]\nfleet.devices = [10, 100]\naudio.dtx = [true, false]\nturn.think = [\"uniform(1s, 2s)\"]\n";
        let plan = load(toml, &[]).unwrap();
        assert_eq!(
            axes(&plan),
            ["fleet.devices=10|100", "audio.dtx=true|false", "turn.think=uniform(1s, 2s)"]
        );
    }

    #[test]
    fn commas_in_brackets_and_quotes_are_part_of_a_value() {
        let plan = load(
            "",
            &[("turn.think", "uniform(1s, 2s), 500ms"), ("audio.adaptive", "[\"16k\", \"10k\"],[]")],
        );
        assert_eq!(
            axes(&plan.unwrap()),
            ["turn.think=uniform(1s, 2s)|500ms", "audio.adaptive=[\"16k\", \"10k\"]|[]"]
        );
    }

    #[test]
    fn what_cannot_be_an_axis_is_said() {
        insta::assert_snapshot!(
            load(
                "[sweep.axes]\n\"audio.chunks\" = [\"20ms\"]\nseed = [1, 2]\n\"audio.chunk\" = [\"20ms\", \"20ms\"]\n\
                 \"audio.codec\" = \"opus\"\n\"reference.token\" = [\"abc\"]\n\"sweep.repeat\" = [1]\n",
                &[]
            )
            .unwrap_err()
        );
    }

    #[test]
    fn conditions_are_about_the_axes() {
        let toml =
            |skip: &str| format!("[sweep]\nskip = [\"{skip}\"]\naxes = {{ \"audio.chunk\" = [\"20ms\"] }}\n");
        assert_eq!(
            load(&toml("audio.chunk=20ms"), &[]).unwrap().skip,
            [[("audio.chunk".into(), "20ms".into())]]
        );
        for (skip, says) in [
            ("audio.chunk=60ms", "no value of the axis"),
            ("audio.chunks=20ms", "did you mean `audio.chunk`?"),
            ("20ms", "is no condition"),
            ("", "the condition is empty"),
        ] {
            let e = load(&toml(skip), &[]).unwrap_err();
            assert!(e.contains(says), "{skip}: {e}");
        }
    }

    #[test]
    fn secrets_in_axes_are_not_shown() {
        let e = load("[sweep.axes]\n\"target.url\" = [\"ws://h/?t=abcdef\", 5, \"ws://h/?t=abcdef\"]\n", &[]);
        assert!(!e.as_ref().unwrap_err().contains("abcdef"), "{e:?}");
        assert_eq!(shown("target.headers.X", "abcdef"), "***");
    }
}
