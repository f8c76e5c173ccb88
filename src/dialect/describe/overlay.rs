//! Variants, modes and encodings: tables that are laid over the file before it is read.

use toml::de::{DeTable, DeValue};

use super::read::{Notes, Tab};
use super::{Choice, Description, contradiction, file};
use crate::dialect::Encoding;
use crate::scenario::units::nearest;
use crate::scenario::{Diagnostics, Place};

/// Reads a file. With `everything`, what is wrong with a variant or a mode that is not chosen is wrong as well.
pub(super) fn load(
    origin: &str,
    text: &str,
    choice: &Choice,
    everything: bool,
) -> Result<Description, Diagnostics> {
    let mut out = Diagnostics::default();
    let source = out.add_source(origin, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for e in &errors {
        let span = e.span().unwrap_or(text.len()..text.len());
        out.push(Some(Place { source, span }), format!("not valid TOML: {}", e.message()), "");
    }
    if !errors.is_empty() {
        return Err(out);
    }
    let base = table.get_ref();
    let mut notes = Notes { out: &mut out, source };
    let names = names_of(&mut notes, base);
    contradiction::modes(&mut notes, base);
    let chosen = chosen_variants(&mut notes, base, choice, &names);
    let mut description = None;
    let alone = names.iter().map(|n| vec![n.clone()]);
    let all: Vec<Vec<String>> =
        std::iter::once(Vec::new()).chain(alone).chain(Some(chosen.clone())).collect();
    for (n, variants) in all.iter().enumerate() {
        let wanted = n + 1 == all.len();
        for vad in [!choice.vad, choice.vad] {
            for encoding in [None, Some(Encoding::Binary), Some(Encoding::Base64)] {
                let last = wanted && vad == choice.vad && encoding == Some(Encoding::Base64);
                if !(everything || last) {
                    continue;
                }
                let encoding = if last { choice.encoding } else { encoding };
                let merged = merged(&mut notes, base, variants, vad, encoding);
                let now = Choice { vad, encoding, ..choice.clone() };
                let read = file::read(&mut notes, &merged, &now, &names);
                if last {
                    description = read;
                }
            }
        }
    }
    out.sort();
    match description {
        Some(d) if out.is_empty() => Ok(d),
        _ if !out.is_empty() => Err(out),
        _ => {
            out.push(
                Some(Place { source, span: 0..0 }),
                "not a description of a dialect",
                "see docs/dialect-format.md",
            );
            Err(out)
        }
    }
}

fn names_of(notes: &mut Notes<'_>, base: &DeTable<'_>) -> Vec<String> {
    let top = Tab { path: "", table: base };
    match top.get("variant").map(|n| (n, n.get_ref())) {
        Some((_, DeValue::Table(table))) => {
            let mut names = Vec::new();
            for (name, span, _) in (Tab { path: "variant", table }).entries() {
                if name.is_empty() || name.contains('+') || name.trim() != name {
                    let help = "a name without `+`, which joins variants, and without spaces around it";
                    notes.push(span, format!("no variant can be called `{name}`"), help);
                }
                names.push(name);
            }
            names
        }
        Some((node, _)) => {
            notes.wrong(node, "variant", "write `[variant.NAME]`, and what is different below");
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// The variants of the choice, or of the file.
fn chosen_variants(
    notes: &mut Notes<'_>,
    base: &DeTable<'_>,
    choice: &Choice,
    names: &[String],
) -> Vec<String> {
    let top = Tab { path: "", table: base };
    let own = match top.get("dialect").map(|n| n.get_ref()) {
        Some(DeValue::Table(table)) => {
            let tab = Tab { path: "dialect", table };
            tab.get("variant").and_then(|n| Some((n.get_ref().as_str()?.to_owned(), n.span())))
        }
        _ => None,
    };
    let (text, span) = match (&choice.variant, own) {
        (Some(text), _) => (text.clone(), 0..0),
        (None, Some(own)) => own,
        (None, None) => return Vec::new(),
    };
    let mut chosen = Vec::new();
    for name in text.split('+').map(str::trim).filter(|n| !n.is_empty()) {
        if names.iter().any(|n| n == name) {
            chosen.push(name.to_owned());
            continue;
        }
        let all = names.iter().map(String::as_str);
        let help = match nearest(name, all.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "it has no variants".to_owned(),
            None => format!("there are {}", all.collect::<Vec<_>>().join(", ")),
        };
        notes.push(span.clone(), format!("the dialect has no variant `{name}`"), help);
    }
    chosen
}

/// The file with what is chosen laid over it.
fn merged<'i>(
    notes: &mut Notes<'_>,
    base: &DeTable<'i>,
    variants: &[String],
    vad: bool,
    encoding: Option<Encoding>,
) -> DeTable<'i> {
    let mut table = base.clone();
    for name in variants {
        if let Some(over) = inner(notes, base, "variant", name) {
            lay(&mut table, over);
        }
    }
    let mode = if vad { "vad" } else { "signal" };
    let encoding = encoding.map(|e| match e {
        Encoding::Binary => "binary",
        Encoding::Base64 => "base64",
    });
    for (kind, name, known) in
        [("mode", Some(mode), ["signal", "vad"]), ("encoding", encoding, ["binary", "base64"])]
    {
        let now = table.clone();
        if let Some(node) = (Tab { path: "", table: &now }).get(kind) {
            notes.table(node, kind, &known);
        }
        if let Some(over) = name.and_then(|name| inner(notes, &now, kind, name)) {
            lay(&mut table, over);
        }
    }
    for key in ["variant", "mode"] {
        table.remove(key);
    }
    table
}

fn inner<'t, 'i>(
    notes: &mut Notes<'_>,
    table: &'t DeTable<'i>,
    kind: &'t str,
    name: &str,
) -> Option<&'t DeTable<'i>> {
    let DeValue::Table(all) = (Tab { path: "", table }).get(kind)?.get_ref() else { return None };
    let node = Tab { path: kind, table: all }.get(name)?;
    match node.get_ref() {
        DeValue::Table(over) => Some(over),
        _ => {
            notes.wrong(node, &format!("{kind}.{name}"), "it is a table of tables");
            None
        }
    }
}

/// Tables into tables, everything else in place of what was there.
fn lay<'i>(under: &mut DeTable<'i>, over: &DeTable<'i>) {
    for (key, node) in over.iter() {
        let known = under.iter_mut().find(|(k, _)| k.get_ref() == key.get_ref()).map(|(_, n)| n);
        match known {
            // A message or a condition is a whole; what stands in headers of tables is not.
            Some(old) if !is_whole(key.get_ref()) => match (old.get_mut(), node.get_ref()) {
                (DeValue::Table(a), DeValue::Table(b)) => lay(a, b),
                _ => *old = node.clone(),
            },
            Some(old) => *old = node.clone(),
            None => {
                under.insert(key.clone(), node.clone());
            }
        }
    }
}

/// Keys whose tables are messages or conditions: these are replaced, not joined.
fn is_whole(key: &str) -> bool {
    matches!(
        key,
        "send"
            | "start"
            | "end"
            | "reply"
            | "emit"
            | "template"
            | "when"
            | "stale"
            | "resumed"
            | "interrupted"
    ) || key.starts_with("turn_")
}
