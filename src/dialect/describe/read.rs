//! Reading TOML with positions: what is wrong is noted, and reading goes on.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scenario::units::{nearest, parse_duration};
use crate::scenario::{Diagnostics, Place, type_name};
use crate::time::Micros;

pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// A table, and where it is in the file.
#[derive(Clone, Copy)]
pub(super) struct Tab<'t, 'i> {
    pub(super) path: &'t str,
    pub(super) table: &'t DeTable<'i>,
}

impl<'t, 'i> Tab<'t, 'i> {
    pub(super) fn get(&self, key: &str) -> Option<&'t Node<'i>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, node)| node)
    }

    /// Keys and values in the order of the file.
    pub(super) fn entries(&self) -> Vec<(String, Range<usize>, &'t Node<'i>)> {
        let mut all: Vec<_> =
            self.table.iter().map(|(k, v)| (k.get_ref().to_string(), k.span(), v)).collect();
        all.sort_by_key(|(_, span, _)| span.start);
        all
    }
}

/// Where problems go.
pub(super) struct Notes<'a> {
    pub(super) out: &'a mut Diagnostics,
    pub(super) source: usize,
}

impl Notes<'_> {
    pub(super) fn push(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.out.push(Some(Place { source: self.source, span }), message, help);
    }

    pub(super) fn wrong(&mut self, node: &Node<'_>, path: &str, help: &str) {
        self.push(node.span(), format!("`{path}` is {}", type_name(node.get_ref())), help);
    }

    /// A table with these keys and no others.
    pub(super) fn table<'t, 'i>(
        &mut self,
        node: &'t Node<'i>,
        path: &'t str,
        keys: &[&str],
    ) -> Option<Tab<'t, 'i>> {
        let DeValue::Table(table) = node.get_ref() else {
            self.wrong(node, path, "it is a table");
            return None;
        };
        let tab = Tab { path, table };
        self.known(&tab, keys);
        Some(tab)
    }

    pub(super) fn known(&mut self, tab: &Tab<'_, '_>, keys: &[&str]) {
        for (key, span, _) in tab.entries() {
            if !keys.contains(&key.as_str()) {
                let whole = if tab.path.is_empty() { key.clone() } else { format!("{}.{key}", tab.path) };
                let help = match nearest(&key, keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", keys.join(", ")),
                };
                self.push(span, format!("unknown key `{whole}`"), help);
            }
        }
    }

    pub(super) fn text(&mut self, tab: &Tab<'_, '_>, key: &str) -> Option<(String, Range<usize>)> {
        let node = tab.get(key)?;
        self.string(node, &format!("{}.{key}", tab.path)).map(|t| (t, node.span()))
    }

    pub(super) fn string(&mut self, node: &Node<'_>, path: &str) -> Option<String> {
        match node.get_ref() {
            DeValue::String(s) => Some(s.to_string()),
            _ => {
                self.wrong(node, path, "expected a text in quotes");
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&mut self, node: &Node<'_>, path: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(node, path)?;
        let found = words.iter().find(|(w, _)| *w == text).map(|(_, t)| *t);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
            let all =
                format!("expected {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "));
            let help = match nearest(&text, names) {
                Some(near) => format!("did you mean `{near}`? {all}"),
                None => all,
            };
            self.push(node.span(), format!("`{text}` is not a value of `{path}`"), help);
        }
        found
    }

    pub(super) fn word_at<T: Copy>(
        &mut self,
        tab: &Tab<'_, '_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let node = tab.get(key)?;
        self.word(node, &format!("{}.{key}", tab.path), words)
    }

    pub(super) fn bool(&mut self, tab: &Tab<'_, '_>, key: &str) -> Option<bool> {
        let node = tab.get(key)?;
        match node.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            _ => {
                self.wrong(node, &format!("{}.{key}", tab.path), "expected `true` or `false`");
                None
            }
        }
    }

    pub(super) fn duration(&mut self, tab: &Tab<'_, '_>, key: &str) -> Option<Micros> {
        let node = tab.get(key)?;
        self.duration_of(node, &format!("{}.{key}", tab.path))
    }

    pub(super) fn duration_of(&mut self, node: &Node<'_>, path: &str) -> Option<Micros> {
        let DeValue::String(text) = node.get_ref() else {
            self.wrong(node, path, "expected a duration in quotes: `\"300ms\"`");
            return None;
        };
        match parse_duration(text) {
            Ok(d) => Some(d),
            Err(e) => {
                self.push(node.span(), format!("`{path}`: {}", e.message), e.help.unwrap_or_default());
                None
            }
        }
    }

    /// What may be one thing or a list of them.
    pub(super) fn each<'t, 'i>(&self, node: &'t Node<'i>) -> Vec<&'t Node<'i>> {
        match node.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![node],
        }
    }

    /// A list of texts, or one.
    pub(super) fn strings(&mut self, tab: &Tab<'_, '_>, key: &str) -> Vec<(String, Range<usize>)> {
        let Some(node) = tab.get(key) else { return Vec::new() };
        let path = format!("{}.{key}", tab.path);
        let items = self.each(node);
        items.into_iter().filter_map(|n| Some((self.string(n, &path)?, n.span()))).collect()
    }
}
