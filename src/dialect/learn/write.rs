//! Descriptions as TOML.

use std::fmt::Write as _;

use serde_json::Value;

use super::kinds::{Example, Kind};
use super::{Guess, Known};
use crate::audio::AudioFormat;

/// Characters of an example.
const EXAMPLE: usize = 160;

/// A message as a user writes it on the command line, in the words of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// Reads `{"type": "stop"}`, `hex:02`, `hex:` (the empty binary frame), or a bare text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(hex) = text.strip_prefix("hex:") {
            if hex.is_empty() {
                return Ok(Self("{ \"$binary\" = \"\" }".to_owned()));
            }
            if !hex.len().is_multiple_of(2) || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(format!(
                    "`{hex}` is not hexadecimal: two digits for each byte, for example hex:00ff"
                ));
            }
            return Ok(Self(format!("{{ \"$hex\" = {} }}", quoted(hex))));
        }
        if !text.trim_start().starts_with('{') {
            return match text {
                "" => Err("an empty message; `hex:` is the empty binary frame".to_owned()),
                _ => Ok(Self(quoted(text))),
            };
        }
        match serde_json::from_str::<Value>(text) {
            Ok(value) => Ok(Self(inline(&value))),
            Err(e) => {
                Err(format!("not valid JSON: {e}; a message is JSON, a bare text, or `hex:` and bytes"))
            }
        }
    }

    /// As it stands in the file.
    pub fn as_toml(&self) -> &str {
        &self.0
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name of a table, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// JSON on one line of TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "{ \"$null\" = true }".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, v)| format!("{} = {}", key(name), inline(v))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// A whole description: what the user knows, and what the kinds are taken for.
pub fn description(
    known: &Known,
    kinds: &[Kind],
    guesses: &[Guess],
    hide: &dyn Fn(&str) -> String,
) -> String {
    let is = |what: &str| guesses.iter().any(|g| g.is == what);
    let heard = !guesses.is_empty();
    let stt = heard && is("final") && !is("audio");
    let mut file =
        format!("# Every key: docs/dialect-format.md\n[dialect]\nname = {}\n", quoted(&known.name));
    if stt {
        file.push_str("kind = \"stt\"    # no audio came back\n");
    } else if is("token") {
        file.push_str(
            "text = \"token\"    # what the first text of a reply is: token, sentence, reply or none\n",
        );
    }
    if !known.headers.is_empty() {
        let pairs: Vec<_> =
            known.headers.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value))).collect();
        let _ = writeln!(file, "\n[connect]\nheaders = {{ {} }}", pairs.join(", "));
    }
    if kinds.iter().any(|k| k.binary && matches!(k.example, Example::Json(_))) {
        file.push_str("\n[frames]\nbinary = \"json\"    # it sends JSON in binary frames\n");
    }
    for message in &known.open {
        let _ = writeln!(file, "\n[[open]]\nsend = {}", message.as_toml());
    }
    let names = names(&file, kinds);
    if let Some((name, _)) = names.iter().zip(guesses).find(|(_, g)| g.is == "ready") {
        let _ = writeln!(file, "\n[[open]]\nexpect = {}    # speech waits for it", quoted(name));
    }
    let format = |f: AudioFormat| format!("[\"{}/{}\"]", f.codec.name(), f.sample_rate);
    let _ = writeln!(file, "\n[audio.up]\nformats = {}", format(known.up));
    if let Some(message) = &known.audio {
        let _ = writeln!(file, "template = {}", message.as_toml());
    }
    if !stt {
        let _ = writeln!(file, "[audio.down]\nformats = {}", format(known.down));
    }
    // Before anything is known a reply must end somehow, too.
    let quiet = !stt && !is("done") && (is("audio") || !heard);
    if !known.start.is_empty() || !known.end.is_empty() || known.vad || quiet {
        file.push_str("\n[turn]\n");
    }
    if known.vad {
        file.push_str("ends = [\"vad\"]    # the server finds the end of speech\n");
    }
    for (name, messages) in [("start", &known.start), ("end", &known.end)] {
        let each: Vec<_> = messages.iter().map(Message::as_toml).collect();
        let _ = match &each[..] {
            [] => Ok(()),
            [one] => writeln!(file, "{name} = {one}"),
            several => writeln!(file, "{name} = [{}]", several.join(", ")),
        };
    }
    if quiet {
        file.push_str(
            "quiet = \"1s\"    # no message ends a reply: it is over when nothing comes for so long\n",
        );
    }
    if !is("audio") && !is("final") {
        file.push_str(
            "\n# None has come yet.\n[event.sound]\nis = \"audio\"\nwhen = { frame = \"binary\" }\n",
        );
    }
    events(&mut file, kinds, guesses, &names, hide);
    file
}

/// A description that was there already, with events for what it did not know.
pub fn appended(start: &str, kinds: &[Kind], guesses: &[Guess], hide: &dyn Fn(&str) -> String) -> String {
    let mut file = start.trim_end().to_owned();
    file.push('\n');
    let names = names(&file, kinds);
    if !kinds.is_empty() {
        file.push_str("\n# What the server said besides.\n");
    }
    events(&mut file, kinds, guesses, &names, hide);
    file
}

/// Names for events, each once, and none that the file has already.
pub fn names(file: &str, kinds: &[Kind]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for kind in kinds {
        let mut words: Vec<String> = kind
            .marks
            .iter()
            .map(|(pointer, value)| match value {
                Value::String(text) => text.clone(),
                Value::Bool(true) => pointer.clone(),
                Value::Bool(false) => format!("not{pointer}"),
                other => format!("message_{other}"),
            })
            .collect();
        if words.is_empty() {
            words.extend(kind.fields.iter().filter(|(_, there)| *there).map(|(p, _)| p.clone()).take(2));
        }
        if words.is_empty() {
            words.push(if kind.binary { "sound" } else { "text" }.to_owned());
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let plain: String = words.join("_").chars().map(plain).take(40).collect();
        let plain = plain.trim_matches('_').to_owned();
        let plain = if plain.is_empty() { "message".to_owned() } else { plain };
        let taken = |name: &String| names.contains(name) || file.contains(&format!("[event.{name}]"));
        let several = (2..).map(|n| format!("{plain}_{n}"));
        let name = std::iter::once(plain.clone()).chain(several).find(|n| !taken(n)).unwrap_or(plain);
        names.push(name);
    }
    names
}

fn events(
    file: &mut String,
    kinds: &[Kind],
    guesses: &[Guess],
    names: &[String],
    hide: &dyn Fn(&str) -> String,
) {
    let markers: Vec<&str> = kinds.iter().filter_map(marker).collect();
    for ((kind, guess), name) in kinds.iter().zip(guesses).zip(names) {
        let why = if guess.why.is_empty() { "not guessed" } else { &guess.why };
        let _ = writeln!(file, "\n# {}\n[event.{name}]", example(kind, hide));
        let _ = writeln!(file, "is = \"{}\"    # {}", guess.is, one_line(&hide(why)));
        let _ = writeln!(file, "when = {}", hide(&condition(kind, &markers)));
        let text = guess.text.as_deref();
        let text = text.map(|t| if t == "frame" { "\"frame\"".to_owned() } else { quoted(t) });
        let key = match guess.is {
            "partial" | "final" | "token" => Some("text"),
            "error" => Some("message"),
            _ => None,
        };
        if let (Some(key), Some(text)) = (key, text) {
            let _ = writeln!(file, "{key} = {text}");
        }
        if let Some(audio) = &guess.audio {
            let _ = writeln!(file, "audio = {}", quoted(audio));
        }
    }
}

/// The bare text that a kind is.
fn marker(kind: &Kind) -> Option<&str> {
    kind.marks.iter().find(|(pointer, _)| pointer.is_empty()).and_then(|(_, v)| v.as_str())
}

/// By which a kind is recognised, as `when` has it.
fn condition(kind: &Kind, markers: &[&str]) -> String {
    if let Some(text) = marker(kind) {
        return format!("{{ text = {} }}", quoted(text));
    }
    let parts: Vec<String> = match &kind.example {
        Example::Binary(_) => vec!["frame = \"binary\"".to_owned()],
        Example::Text(_) => {
            let others: Vec<_> = markers.iter().map(|m| format!("{{ text = {} }}", quoted(m))).collect();
            let none = (!others.is_empty()).then(|| format!("none = [{}]", others.join(", ")));
            std::iter::once("text = { nonempty = true }".to_owned()).chain(none).collect()
        }
        Example::Json(_) => {
            let marks =
                kind.marks.iter().map(|(pointer, value)| format!("{} = {}", quoted(pointer), inline(value)));
            let fields =
                kind.fields.iter().map(|(p, there)| format!("{} = {{ exists = {there} }}", quoted(p)));
            marks.chain(fields).collect()
        }
    };
    match parts.is_empty() {
        true => "{ frame = \"text\" }".to_owned(),
        false => format!("{{ {} }}", parts.join(", ")),
    }
}

/// An example on one line.
fn example(kind: &Kind, hide: &dyn Fn(&str) -> String) -> String {
    let text = match &kind.example {
        Example::Json(value) => value.to_string(),
        Example::Text(text) => text.clone(),
        Example::Binary(bytes) => format!("a binary frame of {bytes} bytes"),
    };
    let text = one_line(&hide(&text));
    match text.char_indices().nth(EXAMPLE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// No line breaks, and nothing that steers a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if crate::report::text::is_steering(c) { ' ' } else { c }).collect()
}
