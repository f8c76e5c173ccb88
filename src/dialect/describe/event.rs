//! The rules of a file: `[event.NAME]`.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::file::pointer;
use super::message::Names;
use super::read::{Node, Notes, Tab};
use super::rule::{Emit, Is, Moment, Pointers, Rule, Source};
use crate::time::Micros;

const KEYS: [&str; 17] = [
    "is",
    "when",
    "text",
    "audio",
    "session",
    "resumed",
    "interrupted",
    "code",
    "message",
    "capture",
    "reply",
    "reply_when",
    "only_after",
    "stale",
    "emit",
    "emit_on",
    "emit_after",
];

/// The events of a file, in its order.
fn events<'t, 'i>(notes: &mut Notes<'_>, top: &Tab<'t, 'i>) -> Vec<(String, &'t Node<'i>)> {
    let Some(node) = top.get("event") else { return Vec::new() };
    let DeValue::Table(table) = node.get_ref() else {
        notes.wrong(node, "event", "write `[event.NAME]` for each");
        return Vec::new();
    };
    let mut all: Vec<_> =
        (Tab { path: "event", table }).entries().into_iter().map(|(n, s, node)| (s.start, n, node)).collect();
    all.sort_by_key(|(at, ..)| *at);
    all.into_iter().map(|(_, name, node)| (name, node)).collect()
}

/// Every name that some event captures.
pub(super) fn captures(notes: &mut Notes<'_>, top: &Tab<'_, '_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, node) in events(notes, top) {
        let DeValue::Table(event) = node.get_ref() else { continue };
        let capture = Tab { path: "", table: event }.get("capture").map(|n| n.get_ref());
        if let Some(DeValue::Table(table)) = capture {
            for (name, ..) in (Tab { path: "", table }).entries() {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
    }
    all
}

/// The rules. What is wrong with one does not hide what is wrong with the next.
pub(super) fn rules(
    notes: &mut Notes<'_>,
    top: &Tab<'_, '_>,
    pointers: &mut Pointers,
    names: &Names<'_>,
    emits: &Names<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let events = events(notes, top);
    let all = events.len();
    for (name, node) in events {
        let path = format!("event.{name}");
        if let Some(tab) = notes.table(node, &path, &KEYS) {
            rules.extend(rule(notes, &name, node, &tab, pointers, names, emits));
        }
    }
    let has = |is: Is| rules.iter().any(|r: &Rule| r.is == is);
    // Of a file with a broken event nobody knows.
    if !rules.is_empty() && rules.len() == all && !has(Is::Audio) && !has(Is::Final) {
        let span = top.get("event").map_or(0..0, |n| n.span());
        notes.push(
            span,
            "no event means anything that could be measured",
            "at least one has `is = \"audio\"`, or `is = \"final\"` for speech to text",
        );
    }
    if all == 0 {
        notes.push(
            0..0,
            "a dialect without events",
            "write `[event.NAME]` with `is` and `when` for each message of the server",
        );
    }
    rules
}

fn rule(
    notes: &mut Notes<'_>,
    name: &str,
    node: &Node<'_>,
    tab: &Tab<'_, '_>,
    pointers: &mut Pointers,
    names: &Names<'_>,
    emits: &Names<'_>,
) -> Option<Rule> {
    for key in ["is", "when"] {
        if tab.get(key).is_none() {
            notes.push(
                node.span(),
                format!("`{}` has no `{key}`", tab.path),
                "an event says what it `is`, and `when`",
            );
        }
    }
    let is = notes.word_at(tab, "is", &Is::ALL);
    let mut cond = |notes: &mut Notes<'_>, key: &str| {
        tab.get(key).map(|n| notes.cond(n, &format!("{}.{key}", tab.path), pointers, names))
    };
    let when = cond(notes, "when");
    let (resumed, interrupted, stale) =
        (cond(notes, "resumed"), cond(notes, "interrupted"), cond(notes, "stale"));
    let mut at = |notes: &mut Notes<'_>, key: &str| {
        let (text, span) = notes.text(tab, key)?;
        pointer(notes, &text, span, pointers)
    };
    let (audio, session) = (at(notes, "audio"), at(notes, "session"));
    let mut sources = |notes: &mut Notes<'_>, key: &str| -> Vec<Source> {
        let all = notes.strings(tab, key);
        all.into_iter()
            .filter_map(|(text, span)| match text.as_str() {
                "frame" => Some(Source::Frame),
                _ => pointer(notes, &text, span, pointers).map(Source::At),
            })
            .collect()
    };
    let (text, code, message) = (sources(notes, "text"), sources(notes, "code"), sources(notes, "message"));
    let needs_text = matches!(is, Some(Is::Partial | Is::Token));
    if needs_text && text.is_empty() && tab.get("text").is_none() {
        notes.push(
            node.span(),
            format!("`{}` has no `text`", tab.path),
            "the pointer to its text, or `\"frame\"` for the whole text frame",
        );
    }
    let mut capture = Vec::new();
    if let Some(n) = tab.get("capture") {
        match n.get_ref() {
            DeValue::Table(table) => capture = captured(notes, table, pointers),
            _ => notes.wrong(
                n,
                &format!("{}.capture", tab.path),
                "a table of names and pointers: `{ session_id = \"/id\" }`",
            ),
        }
    }
    let mut only_after = 0;
    if let Some(n) = tab.get("only_after") {
        for item in notes.each(n) {
            only_after |= notes.word(item, &format!("{}.only_after", tab.path), &Is::ALL).map_or(0, Is::bit);
        }
    }
    let reply = notes.messages(tab, "reply", names);
    let reply_played =
        notes.word_at(tab, "reply_when", &[("read", false), ("played", true)]).unwrap_or(false);
    let mut on = Vec::new();
    if let Some(n) = tab.get("emit_on") {
        for item in notes.each(n) {
            on.extend(notes.word(item, &format!("{}.emit_on", tab.path), &Moment::ALL));
        }
    } else if let Some(is) = is {
        on = Moment::of(is).to_vec();
    }
    let emit = Emit {
        messages: notes.messages(tab, "emit", emits),
        on,
        after: notes.duration(tab, "emit_after").unwrap_or(Micros::ZERO),
    };
    Some(Rule {
        name: Arc::from(name),
        is: is?,
        when: when?,
        text,
        audio,
        session,
        resumed,
        interrupted,
        code,
        message,
        capture,
        reply,
        reply_played,
        only_after,
        stale,
        emit,
    })
}

fn captured(notes: &mut Notes<'_>, table: &DeTable<'_>, pointers: &mut Pointers) -> Vec<(u16, u16)> {
    let mut all = Vec::new();
    for (name, span, node) in (Tab { path: "capture", table }).entries() {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            notes.push(span, format!("`{name}` cannot name what is captured"), "letters, digits and `_`");
        }
        let Some(text) = notes.string(node, "capture") else { continue };
        let slot = pointer(notes, &text, node.span(), pointers);
        all.extend(pointers.capture(&name).zip(slot));
    }
    all
}
