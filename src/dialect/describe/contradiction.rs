//! What a file says and cannot mean: keys that would do nothing, and values that are used before they can be there.

use toml::de::{DeTable, DeValue};

use super::Step;
use super::read::{Notes, Tab};
use super::rule::{Is, Rule};
use super::template::{Hole, Message, Text};

/// Keys of events that only some meanings have.
const OF_MEANINGS: [(&str, &[Is], &str); 7] = [
    ("text", &[Is::Partial, Is::Final, Is::Token], "`partial`, `final` and `token`"),
    ("audio", &[Is::Audio], "`audio`"),
    ("session", &[Is::Ready], "`ready`"),
    ("resumed", &[Is::Ready], "`ready`"),
    ("interrupted", &[Is::Done, Is::Interrupted], "`done`"),
    ("code", &[Is::Error], "`error`"),
    ("message", &[Is::Error], "`error`"),
];

/// What of a file it is looked at with.
pub(super) struct Looked<'a> {
    /// The server may find the end of speech.
    pub(super) vad: bool,
    /// Speech to text.
    pub(super) stt: bool,
    pub(super) rules: &'a [Rule],
    pub(super) open: &'a [Step],
}

/// Keys that have no effect beside others of the file.
pub(super) fn check(notes: &mut Notes<'_>, top: &Tab<'_, '_>, looked: &Looked<'_>) {
    let table = |path: &'static str| match top.get(path).map(|n| n.get_ref()) {
        Some(DeValue::Table(table)) => Some(Tab { path, table }),
        _ => None,
    };
    let mut idle = |tab: Option<Tab<'_, '_>>, key: &str, why: &str, help: &str| {
        if let Some((tab, node)) = tab.and_then(|tab| Some((tab, tab.get(key)?))) {
            notes.push(node.span(), format!("`{}.{key}` has no effect {why}", tab.path), help);
        }
    };
    let turn = table("turn");
    let lacks = |tab: Option<Tab<'_, '_>>, key: &str| tab.is_some_and(|tab| tab.get(key).is_none());
    for key in ["microphone", "tail_max"] {
        if !looked.vad {
            let help = "write `ends = [\"vad\"]` where the server finds the end of speech, or leave it out";
            idle(turn, key, "when the device says that the user has finished", help);
        }
    }
    let open = turn.and_then(|t| t.get("microphone")).and_then(|n| n.get_ref().as_str()) == Some("open");
    if looked.vad && open {
        idle(
            turn,
            "tail_max",
            "with `microphone = \"open\"`",
            "an open microphone streams silence without end",
        );
    }
    for key in ["quiet", "whole_reply"] {
        if looked.stt {
            idle(
                turn,
                key,
                "with `kind = \"stt\"`",
                "there are no replies: a turn is complete with its final transcript",
            );
        }
    }
    let correlate = table("correlate");
    if lacks(correlate, "by") {
        idle(correlate, "as", "without `by`", "`by` is the pointer to the id");
    }
    let close = table("close");
    if lacks(close, "expect") {
        idle(close, "timeout", "without `expect`", "`expect` names the event that is waited for");
    }
    if let Some(DeValue::Array(steps)) = top.get("open").map(|n| n.get_ref()) {
        for step in steps.iter() {
            if let DeValue::Table(table) = step.get_ref() {
                let tab = Some(Tab { path: "open", table });
                if lacks(tab, "send") {
                    idle(tab, "counted", "without `send`", "it says whether `{seq}` counts what is sent");
                }
                if lacks(tab, "expect") {
                    idle(tab, "timeout", "without `expect`", "`expect` names the event that is waited for");
                }
            }
        }
    }
    if let Some(DeValue::Table(audio)) = top.get("audio").map(|n| n.get_ref())
        && let Some(DeValue::Table(up)) = (Tab { path: "audio", table: audio }).get("up").map(|n| n.get_ref())
    {
        let up = Tab { path: "audio.up", table: up };
        if up.get("template").is_some() {
            idle(
                Some(up),
                "header",
                "with a `template`",
                "a header stands before bytes, and the audio is in JSON",
            );
        }
    }
    if let Some(DeValue::Table(events)) = top.get("event").map(|n| n.get_ref()) {
        let events = Tab { path: "event", table: events };
        for rule in looked.rules {
            let Some(DeValue::Table(table)) = events.get(&rule.name).map(|n| n.get_ref()) else { continue };
            let path = format!("event.{}", rule.name);
            for (key, _, words) in OF_MEANINGS.iter().filter(|(_, of, _)| !of.contains(&rule.is)) {
                let help = format!("only events that are {words} have it");
                let why = format!("with `is = \"{}\"`", rule.is.name());
                idle(Some(Tab { path: &path, table }), key, &why, &help);
            }
            let event = Some(Tab { path: &path, table });
            if lacks(event, "reply") {
                idle(event, "reply_when", "without `reply`", "`reply` is the message that is answered with");
            }
        }
    }
    early(notes, top, looked.open);
}

/// Captured values in what is said before any event is waited for.
fn early(notes: &mut Notes<'_>, top: &Tab<'_, '_>, open: &[Step]) {
    let sends = open.iter().take_while(|s| matches!(s, Step::Send { .. }));
    let needs = |m: &Message| m.holes().any(Hole::needs_capture);
    let some = sends
        .filter_map(|s| if let Step::Send { message, .. } = s { Some(message) } else { None })
        .any(needs);
    if some {
        let span = top.get("open").map_or(0..0, |n| n.span());
        notes.push(
            span,
            "the opening says a captured value before it waits for the event that captures it",
            "put `[[open]]` with `expect = \"…\"` before it; or `{name?}`, which is left out without a value",
        );
    }
}

/// Captured values in the upgrade, before anything can have been captured.
pub(super) fn in_the_upgrade<'t>(
    notes: &mut Notes<'_>,
    texts: impl Iterator<Item = &'t Text>,
    span: std::ops::Range<usize>,
) {
    if texts.flat_map(Text::holes).any(Hole::needs_capture) {
        notes.push(
            span,
            "the upgrade holds a captured value, and nothing is captured before the connection",
            "a value of `[values]`, `{token}`, `{device}`, `{mac}` or `{uuid}`",
        );
    }
}

/// Modes that no scenario can choose.
pub(super) fn modes(notes: &mut Notes<'_>, base: &DeTable<'_>) {
    let top = Tab { path: "", table: base };
    let Some(DeValue::Table(modes)) = top.get("mode").map(|n| n.get_ref()) else { return };
    let mut ends: Vec<String> = Vec::new();
    let mut said = |table: &DeTable<'_>| {
        let turn = Tab { path: "", table }.get("turn").map(|n| n.get_ref());
        if let Some(DeValue::Table(turn)) = turn
            && let Some(node) = (Tab { path: "", table: turn }).get("ends")
        {
            let each = node.get_ref().as_array().map(|a| a.iter().map(|n| n.get_ref()).collect());
            let each: Vec<&DeValue<'_>> = each.unwrap_or_else(|| vec![node.get_ref()]);
            ends.extend(each.into_iter().filter_map(DeValue::as_str).map(str::to_owned));
            return true;
        }
        false
    };
    let own = said(base);
    if let Some(DeValue::Table(variants)) = top.get("variant").map(|n| n.get_ref()) {
        for (_, node) in variants.iter() {
            if let DeValue::Table(table) = node.get_ref() {
                said(table);
            }
        }
    }
    if !own {
        ends.push("signal".to_owned());
    }
    for (name, span, _) in (Tab { path: "mode", table: modes }).entries() {
        if matches!(name.as_str(), "signal" | "vad") && !ends.contains(&name) {
            notes.push(
                span,
                format!("the mode `{name}` is never used: `turn.ends` has no `{name}`"),
                "`ends = [\"signal\", \"vad\"]` under `[turn]` allows both; or leave the mode out",
            );
        }
    }
}
