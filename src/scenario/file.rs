//! What a scenario's sources say: file, environment, command line, each value with the place it comes from.
//!
//! ```text
//! file ─────────┐
//! VOXLOAD_… ────┼─▶ Settings: the highest layer's value of every key ─▶ check.rs
//! --set, -u, … ─┘   (flag over environment over file over default)
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::Override;
use super::diagnostic::{Diagnostics, Place};
use super::keys::{self, Fallback, Key, Kind, SECTIONS, VARIABLE_PREFIX};
use super::template::secret_parts;
use super::units::nearest;
use super::value::{Reader, Value, type_name};
use crate::fault::plan::pieces;
use crate::time::Micros;

/// The environment that a scenario is read in.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of the process; variables that are not UTF-8 do not exist.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// Where a value comes from; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Default,
    File,
    Environment,
    Flag,
}

impl Layer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "command line",
        }
    }
}

/// What a key is.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) layer: Layer,
    /// `None`: not set.
    pub(super) value: Option<Value>,
    /// True when what was written is wrong: checks across keys leave it alone.
    pub(super) broken: bool,
    pub(super) place: Option<Place>,
    /// Places of a list's elements and a table's values.
    pub(super) parts: Vec<Place>,
}

/// What every key is: the highest layer's value, or the default.
pub(super) struct Settings {
    map: HashMap<&'static str, Setting>,
}

impl Settings {
    pub(super) fn empty() -> Self {
        Self { map: HashMap::new() }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Setting> {
        self.map.get(path)
    }

    /// Replaces a duration by one that follows from a value of a higher layer.
    pub(super) fn shorten(&mut self, path: &str, to: Micros, layer: Layer) {
        if let Some(setting) = self.map.get_mut(path) {
            (setting.value, setting.layer) = (Some(Value::Duration(to)), layer);
        }
    }

    /// What a key is when nobody says, in place of its default.
    pub(super) fn suggest(&mut self, path: &'static str, value: Value) {
        let unset =
            self.get(path).is_none_or(|s| s.value.is_none() && !s.broken && s.layer == Layer::Default);
        if unset {
            let setting = Setting {
                layer: Layer::Default,
                value: Some(value),
                broken: false,
                place: None,
                parts: Vec::new(),
            };
            self.map.insert(path, setting);
        }
    }

    /// Back to its default.
    pub(super) fn clear(&mut self, path: &str) {
        self.map.remove(path);
    }

    /// Makes the relative paths of a key absolute: those of the file start from its folder, others from the current.
    pub(super) fn resolve(&mut self, path: &str, base: &Path, is_path: impl Fn(&str) -> bool) {
        let Some(setting) = self.map.get_mut(path) else {
            return;
        };
        let base = match setting.layer {
            Layer::File => base,
            _ => Path::new(""),
        };
        let texts = match &mut setting.value {
            Some(Value::Text(text)) => std::slice::from_mut(text),
            Some(Value::List(texts)) => texts.as_mut_slice(),
            _ => return,
        };
        for text in texts.iter_mut().filter(|t| is_path(&t.value)) {
            let absolute = std::path::absolute(base.join(&text.value));
            let Some(absolute) = absolute.ok().and_then(|p| p.to_str().map(str::to_owned)) else {
                continue;
            };
            if !text.has_variables() {
                text.written.clone_from(&absolute);
            }
            text.value = absolute;
        }
    }

    fn put(&mut self, key: &'static Key, setting: Setting, append: bool) {
        let Some(old) = self.map.get_mut(key.path).filter(|_| append) else {
            self.map.insert(key.path, setting);
            return;
        };
        match (&mut old.value, setting.value) {
            (Some(Value::List(list)), Some(Value::List(more))) => {
                list.extend(more);
                old.parts.extend(setting.parts);
            }
            (Some(Value::Table(entries)), Some(Value::Table(more))) => {
                for ((name, value), part) in more.into_iter().zip(setting.parts) {
                    let same = entries.iter().position(|(n, _)| n.eq_ignore_ascii_case(&name));
                    if let Some((entry, place)) =
                        same.and_then(|i| entries.get_mut(i).zip(old.parts.get_mut(i)))
                    {
                        *entry = (name, value);
                        *place = part;
                    } else {
                        entries.push((name, value));
                        old.parts.push(part);
                    }
                }
            }
            (Some(Value::FaultList(list)), Some(Value::FaultList(more))) => {
                list.extend(more);
                old.parts.extend(setting.parts);
            }
            (Some(Value::Axes(axes)), Some(Value::Axes(more))) => {
                for (key, values) in more {
                    match axes.iter_mut().find(|(k, _)| *k == key) {
                        Some((_, old)) => *old = values,
                        None => axes.push((key, values)),
                    }
                }
            }
            (Some(Value::Faults(faults)), Some(Value::Faults(more))) => {
                faults.retain(|(fault, _)| more.iter().all(|(new, _)| new != fault));
                faults.extend(more);
            }
            (_, value) => old.value = value,
        }
        old.layer = setting.layer;
        old.broken |= setting.broken;
        old.place = setting.place;
    }

    /// Fills in the defaults of all keys that are not set. Choices come before what depends on them, because the
    /// table lists them first where that matters and this asks again where it does not.
    pub(super) fn fill_defaults(&mut self) {
        for key in keys::all() {
            if self.get(key.path).is_none_or(|s| s.value.is_none() && s.layer == Layer::Default) {
                let setting = Setting {
                    layer: Layer::Default,
                    value: self.default_of(key),
                    broken: false,
                    place: None,
                    parts: Vec::new(),
                };
                self.map.insert(key.path, setting);
            }
        }
        // A value that is wrong is reported; what depends on it is checked against the default.
        for key in keys::all() {
            if self.get(key.path).is_some_and(|s| s.broken && s.value.is_none()) {
                let value = self.default_of(key);
                if let Some(setting) = self.map.get_mut(key.path) {
                    setting.value = value;
                }
            }
        }
    }

    fn default_of(&self, key: &'static Key) -> Option<Value> {
        let toml = match key.default {
            Fallback::Unset => return None,
            Fallback::Toml(toml) => toml,
            Fallback::By(on, values) => {
                let on = keys::find(on)?;
                let chosen = match self.get(on.path).and_then(|s| s.value.clone()) {
                    Some(value) => Some(value),
                    None => self.default_of(on),
                };
                let chosen = match &chosen {
                    Some(Value::Choice(chosen)) => *chosen,
                    // A described dialect has said what it wants, or leaves it to the first.
                    Some(Value::Text(dialect)) => dialect.value.as_str(),
                    _ => return None,
                };
                values.iter().find(|(name, _)| *name == chosen).or_else(|| values.first())?.1
            }
        };
        DEFAULTS.get(&(key.path, toml)).cloned()
    }
}

/// The values of all defaults, by key and by how they are written: read once, and asked for with every scenario.
static DEFAULTS: LazyLock<HashMap<(&str, &str), Value>> = LazyLock::new(|| {
    let written = |key: &'static Key| match key.default {
        Fallback::Unset => Vec::new(),
        Fallback::Toml(toml) => vec![toml],
        Fallback::By(_, values) => values.iter().map(|(_, toml)| *toml).collect(),
    };
    let all = keys::all().flat_map(|key| written(key).into_iter().map(move |toml| (key, toml)));
    all.filter_map(|(key, toml)| Some(((key.path, toml), parse_default(key, toml)?))).collect()
});

/// The value of a default; a test makes sure that each of the table has one.
fn parse_default(key: &'static Key, toml: &str) -> Option<Value> {
    let mut out = Diagnostics::default();
    let source = out.add_source("default", toml);
    let node = DeValue::parse(toml).ok()?;
    Reader { out: &mut out, source, offset: 0, variable: &|_| None }.read(key, &node).map(|found| found.value)
}

/// Reads the layers; what is wrong goes to `out`.
pub(super) struct Layers<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) out: &'a mut Diagnostics,
    pub(super) environment: &'a Environment,
}

impl Layers<'_> {
    /// A scenario file.
    pub(super) fn file(&mut self, origin: &str, text: &str) {
        let source = self.out.add_source(origin, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for span in lines_with_secrets(text) {
                self.out.mask(Place { source, span });
            }
        }
        for e in &errors {
            let span = e.span().unwrap_or(text.len()..text.len());
            let help = if e.message().contains("duplicate key") {
                "every key stands once; `fleet.devices` and `devices` under `[fleet]` are the same key"
            } else {
                ""
            };
            self.out.push(Some(Place { source, span }), format!("not valid TOML: {}", e.message()), help);
        }
        self.table(source, "", table.get_ref());
        // What was made of a broken line is not worth a second complaint.
        if !errors.is_empty() {
            self.out.keep_first_of_each_line(source, errors.len());
        }
    }

    fn table(&mut self, source: usize, prefix: &str, table: &DeTable<'_>) {
        for (name, node) in table.iter() {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let is_section = SECTIONS.iter().any(|s| {
                s.path == path || s.path.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.'))
            });
            if let Some(key) = keys::find(&path) {
                self.entry(key, source, 0, node, Layer::File, false);
            } else if !is_section {
                let span = name.span();
                let what = if matches!(node.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
                // A mistyped `token` is still a token.
                if matches!(node.get_ref(), DeValue::String(_) | DeValue::Array(_)) {
                    self.out.mask(Place { source, span: node.span() });
                }
                self.out.push(
                    Some(Place { source, span }),
                    format!("unknown {what} `{path}`"),
                    unknown_help(&path),
                );
            } else if let DeValue::Table(inner) = node.get_ref() {
                self.table(source, &path, inner);
            } else {
                self.out.push(
                    Some(Place { source, span: node.span() }),
                    format!("`{path}` is {}", type_name(node.get_ref())),
                    format!("it is a table: write `[{path}]` and its keys below"),
                );
            }
        }
    }

    /// `VOXLOAD_FLEET_DEVICES` and its like.
    pub(super) fn environment(&mut self) {
        for (variable, value) in &self.environment.0 {
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            if let Some(key) = keys::all().find(|k| k.variable() == *variable) {
                let text = format!("{variable}={value}");
                let source = self.out.add_source("environment", text);
                self.assignment(key, source, variable.len() + 1, value, Layer::Environment, false);
                continue;
            }
            // Other programs may use the prefix; a name that begins like a section is a mistyped key.
            let of_section = |s: &&keys::Section| {
                !s.path.is_empty()
                    && name.starts_with(&format!("{}_", s.path.replace('.', "_").to_uppercase()))
            };
            if SECTIONS.iter().any(|s| of_section(&s)) {
                let source = self.out.add_source("environment", variable.as_str());
                let known: Vec<_> = keys::all().map(Key::variable).collect();
                let help = nearest(variable, known.iter().map(String::as_str))
                    .map(|near| format!("did you mean `{near}`?"))
                    .unwrap_or_default();
                let span = 0..variable.len();
                self.out.push(
                    Some(Place { source, span }),
                    format!("the environment variable `{variable}` overrides no key"),
                    help,
                );
            }
        }
    }

    /// `--set key=value`, `-u 500`, …
    pub(super) fn flag(&mut self, o: &Override) {
        let axis = o.key.strip_prefix("sweep.axes.");
        let before = match (o.flag, axis) {
            ("--set", _) => format!("--set {}=", o.key),
            (flag, Some(axis)) => format!("{flag} {axis}="),
            (flag, None) => format!("{flag} "),
        };
        let source = self.out.add_source("command line", format!("{before}{}", o.value));
        let at = before.len();
        if let Some(key) = keys::find(&o.key) {
            return self.assignment(key, source, at, &o.value, Layer::Flag, o.append);
        }
        if let (Some(axis), Some(key)) = (axis, keys::find("sweep.axes")) {
            let node = super::axes::node(axis, &o.value);
            return self.entry(key, source, at, &node, Layer::Flag, true);
        }
        // One entry of a table: `--set target.headers.X-Device=7`.
        if let Some((key, name)) = o
            .key
            .rsplit_once('.')
            .and_then(|(parent, name)| Some((keys::find(parent)?, name)))
            .filter(|(key, _)| matches!(key.kind, Kind::Headers | Kind::Values | Kind::Faults))
        {
            let mut table = DeTable::new();
            let name_span = 0..0;
            table.insert(
                Spanned::new(name_span, DeString::Owned(name.to_owned())),
                string_node(&o.value, 0..o.value.len()),
            );
            let node = Spanned::new(0..o.value.len(), DeValue::Table(table));
            return self.entry(key, source, at, &node, Layer::Flag, true);
        }
        let start = before.find(&o.key).unwrap_or(0);
        self.out.mask(Place { source, span: at..at + o.value.len() });
        self.out.push(
            Some(Place { source, span: start..start + o.key.len() }),
            format!("unknown key `{}`", o.key),
            unknown_help(&o.key),
        );
    }

    /// A value given as bare text: TOML where it is TOML of the right kind, else a string.
    fn assignment(
        &mut self,
        key: &'static Key,
        source: usize,
        at: usize,
        text: &str,
        layer: Layer,
        append: bool,
    ) {
        let whole = 0..text.len();
        let as_toml = || DeValue::parse(text).ok();
        let node = match key.kind {
            Kind::Bool
            | Kind::Int(..)
            | Kind::Float(..)
            | Kind::Share
            | Kind::Bitrate(..)
            | Kind::Size(..)
            | Kind::Headers
            | Kind::Values
            | Kind::Axes
            | Kind::Faults => as_toml(),
            Kind::List | Kind::Thresholds | Kind::Stages | Kind::FaultList
                if text.trim_start().starts_with('[') =>
            {
                as_toml()
            }
            Kind::List | Kind::Thresholds | Kind::Stages | Kind::FaultList => {
                let mut items = DeArray::new();
                // Distributions have commas of their own, in parentheses; nothing else has any of these.
                for span in pieces(text, |c| c == ',').into_iter().filter(|_| !text.is_empty()) {
                    let item = &text[span.clone()];
                    let from = span.start + item.len() - item.trim_start().len();
                    items.push(string_node(item.trim(), from..from + item.trim().len()));
                }
                Some(Spanned::new(whole.clone(), DeValue::Array(items)))
            }
            _ if text.starts_with(['"', '\'']) => as_toml(),
            _ => None,
        };
        let node = node.unwrap_or_else(|| string_node(text, whole));
        self.entry(key, source, at, &node, layer, append);
    }

    fn entry(
        &mut self,
        key: &'static Key,
        source: usize,
        offset: usize,
        node: &Spanned<DeValue<'_>>,
        layer: Layer,
        append: bool,
    ) {
        let span = node.span();
        let place = Place { source, span: span.start + offset..span.end + offset };
        self.hide(key.kind, &place, offset, node);
        let environment = self.environment;
        let found =
            Reader { out: self.out, source, offset, variable: &|name| environment.get(name) }.read(key, node);
        let broken = found.is_none();
        let (value, parts) = found.map_or((None, Vec::new()), |f| (Some(f.value), f.parts));
        // An empty text takes a value away, so that `${URL:-}` and `--set target.url=` work.
        let emptied = matches!(&value, Some(Value::Text(text)) if text.value.is_empty());
        let unset = emptied && key.default == Fallback::Unset;
        let setting = Setting {
            layer: if unset { Layer::Default } else { layer },
            value: value.filter(|_| !unset),
            broken,
            place: Some(place),
            parts,
        };
        self.settings.put(key, setting, append);
    }

    /// Masks what must not be shown of a value, wherever it is written.
    fn hide(&mut self, kind: Kind, place: &Place, offset: usize, node: &Spanned<DeValue<'_>>) {
        match kind {
            Kind::Url => {
                let masks: Vec<_> = secret_parts(self.out.slice(place).trim_end_matches(['"', '\'']))
                    .into_iter()
                    .map(|r| place.span.start + r.start..place.span.start + r.end)
                    .collect();
                for span in masks {
                    self.out.mask(Place { source: place.source, span });
                }
            }
            Kind::Headers | Kind::Values => {
                if let DeValue::Table(table) = node.get_ref() {
                    for item in table.values() {
                        let span = item.span();
                        self.out.mask(Place {
                            source: place.source,
                            span: span.start + offset..span.end + offset,
                        });
                    }
                } else {
                    self.out.mask(place.clone());
                }
            }
            Kind::Secret => self.out.mask(place.clone()),
            Kind::Axes => super::axes::hide(self.out, place, offset, node),
            _ => {}
        }
    }
}

pub(super) fn string_node(text: &str, span: Range<usize>) -> Spanned<DeValue<'static>> {
    Spanned::new(span, DeValue::String(Cow::Owned(text.to_owned())))
}

/// What an unknown key may have meant: the nearest path, or the same name in another section.
pub(super) fn unknown_help(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let known =
        || keys::all().map(|k| k.path).chain(SECTIONS.iter().map(|s| s.path).filter(|p| !p.is_empty()));
    let namesakes: Vec<_> =
        keys::all().filter(|k| k.name() == name).map(|k| format!("`{}`", k.path)).collect();
    if let Some(near) = nearest(path, known()) {
        return format!("did you mean `{near}`?");
    }
    if !namesakes.is_empty() && namesakes.len() <= 3 {
        return format!("did you mean {}?", namesakes.join(" or "));
    }
    let section = path.rsplit_once('.').map_or("", |(section, _)| section);
    match SECTIONS.iter().find(|s| s.path == section && !section.is_empty()) {
        Some(s) => {
            let names: Vec<_> = s.keys.iter().map(|k| format!("`{}`", k.name())).collect();
            format!("`[{section}]` has {}", names.join(", "))
        }
        None => {
            let sections: Vec<_> = SECTIONS.iter().skip(1).map(|s| format!("`[{}]`", s.path)).collect();
            format!("there are `name`, `seed`, `thresholds` and the tables {}", sections.join(", "))
        }
    }
}

/// Where secrets stand in a file that is not valid TOML: by the look of its lines.
fn lines_with_secrets(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut at, mut in_headers) = (0, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            in_headers = trimmed.contains("headers");
        }
        let (name, value) = line.split_once('=').unwrap_or(("", line));
        let secret = ["token", "url", "headers"].iter().any(|word| name.contains(word));
        if in_headers && !trimmed.starts_with('[') || secret {
            spans.push(at + line.len() - value.len()..at + line.len());
        }
        at += line.len();
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_example_is_a_valid_value() {
        for key in keys::all() {
            let mut values = match key.default {
                Fallback::Unset => vec![],
                Fallback::Toml(toml) => vec![toml],
                Fallback::By(_, values) => values.iter().map(|(_, toml)| *toml).collect(),
            };
            assert!(
                !values.is_empty() || !key.example.is_empty(),
                "{} has neither default nor example",
                key.path
            );
            if !key.example.is_empty() && !key.example.contains("${") {
                values.push(key.example);
            }
            for toml in values {
                assert!(parse_default(key, toml).is_some(), "{} = {toml}", key.path);
            }
        }
    }

    #[test]
    fn broken_lines_do_not_show_secrets() {
        let text =
            "[target]\nurl = \"wss://h?t=abc\n[target.headers]\nA = \"abc\n\"abc\n[fleet]\ndevices = 1O\n";
        let mut shown = text.to_owned().into_bytes();
        for span in lines_with_secrets(text) {
            shown[span].iter_mut().for_each(|b| *b = b'*');
        }
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("abc") && shown.contains("devices = 1O"), "{shown}");
    }
}
