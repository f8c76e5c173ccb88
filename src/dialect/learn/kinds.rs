//! Frames of a server, sorted by what they have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Heard, object};
use crate::transport::Frame;

/// Kinds that are told apart.
const MOST: usize = 30;
/// Different words that a field may have and still be what messages are told apart by.
const WORDS: usize = 24;
/// Where protocols keep the word that says what a message is, the usual names first.
const NAMES: [&str; 16] = [
    "type",
    "event",
    "kind",
    "message_type",
    "messageType",
    "msg_type",
    "msg",
    "ev",
    "op",
    "opcode",
    "action",
    "cmd",
    "method",
    "name",
    "status",
    "state",
];
/// A second word, where messages with the same first one differ in it.
const SECOND: [&str; 5] = ["state", "status", "event", "action", "phase"];

/// What messages of one kind have in common: each a pointer, and what is there.
pub(super) type Marks = Vec<(String, Value)>;

/// An example of a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// JSON, from a text frame or a binary one.
    Json(Value),
    /// A text frame that is no JSON object.
    Text(String),
    /// A binary frame that is not: how long.
    Binary(usize),
}

/// Frames that seem to be of one kind.
#[derive(Clone, Debug)]
pub struct Kind {
    /// By which they are told from others.
    pub marks: Vec<(String, Value)>,
    /// Fields that they have, where no word tells them apart: pointer, and whether it must be there or must not.
    pub fields: Vec<(String, bool)>,
    /// The first of them.
    pub example: Example,
    /// Positions among all frames that were looked at.
    pub at: Vec<usize>,
    /// They were binary frames.
    pub binary: bool,
}

impl Kind {
    fn new(example: Example, binary: bool) -> Self {
        Self { marks: Vec::new(), fields: Vec::new(), example, at: Vec::new(), binary }
    }
}

/// The kinds of frames, in the order in which they came first.
pub fn kinds(heard: &[Heard]) -> Vec<Kind> {
    let objects: Vec<Option<Value>> = heard.iter().map(|h| object(&h.frame)).collect();
    let all: Vec<&Value> = objects.iter().flatten().collect();
    let word = word_field(&all);
    // JSON by its word or its fields; the rest by what it is.
    let mut json: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut kinds: Vec<Kind> = Vec::new();
    for (n, (h, object)) in heard.iter().zip(&objects).enumerate() {
        match (object, &h.frame) {
            (Some(value), _) => json.entry(group(value, word.as_deref())).or_default().push(n),
            (None, Frame::Text(text)) => bare(&mut kinds, n, text.as_str()),
            (None, Frame::Binary(bytes)) => {
                let at = kinds.iter().position(|k| matches!(k.example, Example::Binary(_)));
                let at = at.unwrap_or_else(|| {
                    kinds.push(Kind::new(Example::Binary(bytes.len()), true));
                    kinds.len() - 1
                });
                kinds[at].at.push(n);
            }
            (None, Frame::Ping(_) | Frame::Pong(_)) => {}
        }
    }
    let value = |n: usize| objects.get(n).and_then(Option::as_ref);
    for places in json.into_values() {
        for (marks, at) in split(&places, &value, word.as_deref()) {
            let Some(example) = at.first().and_then(|n| value(*n)) else { continue };
            let binary = at.first().is_some_and(|n| matches!(heard[*n].frame, Frame::Binary(_)));
            kinds.push(Kind { marks, at, ..Kind::new(Example::Json(example.clone()), binary) });
        }
    }
    told_apart_by_fields(&mut kinds);
    kinds.sort_by_key(|k| k.at.first().copied());
    kinds.truncate(MOST);
    kinds
}

/// The pointer of the word by which most messages say what they are.
fn word_field(all: &[&Value]) -> Option<String> {
    let mut fields: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (name, value) in all.iter().filter_map(|v| v.as_object()).flatten() {
        fields.entry(name).or_default().push(value);
    }
    let usual = |name: &str| NAMES.iter().position(|n| *n == name);
    let mut fit: Vec<(usize, bool, std::cmp::Reverse<usize>, &str)> = Vec::new();
    for (name, values) in &fields {
        let words = values.iter().all(|v| is_word(v) || v.is_u64());
        let different = values.iter().map(|v| v.to_string()).collect::<BTreeSet<_>>().len();
        // A counter or an id is new in each message.
        let counts = values.len() > 3 && different == values.len() && usual(name).is_none();
        if !words || counts || different > WORDS || values.len() * 2 < all.len() {
            continue;
        }
        // Of names that say nothing, one with several words tells messages apart.
        if usual(name).is_none() && different < 2 {
            continue;
        }
        let numbers = values.iter().any(|v| v.is_u64());
        fit.push((usual(name).unwrap_or(NAMES.len()), numbers, std::cmp::Reverse(values.len()), name));
    }
    fit.sort_unstable();
    fit.first().map(|(.., name)| pointer(name))
}

/// A text that names something, and is not said to anybody.
fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|t| {
        (1..=40).contains(&t.len()) && t.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/".contains(c))
    })
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What a message is put together by: its word, or its fields.
fn group(value: &Value, word: Option<&str>) -> String {
    let word = word.and_then(|w| value.pointer(w)).filter(|w| is_word(w) || w.is_u64());
    match (word, value.as_object()) {
        (Some(word), _) => format!("word {word}"),
        (None, Some(fields)) => fields.keys().map(|k| format!("/{k}")).collect(),
        (None, None) => String::new(),
    }
}

/// Messages of one group by their second word, and by what is true of one and false of another.
fn split<'v>(
    places: &[usize],
    value: &impl Fn(usize) -> Option<&'v Value>,
    word: Option<&str>,
) -> Vec<(Marks, Vec<usize>)> {
    let first = word.and_then(|w| {
        let found = value(*places.first()?)?.pointer(w).filter(|v| is_word(v) || v.is_u64())?;
        Some((w.to_owned(), found.clone()))
    });
    let mut by: Vec<String> = Vec::new();
    let objects = || places.iter().filter_map(|n| value(*n)).filter_map(Value::as_object);
    let names: BTreeSet<&String> = objects().flat_map(|o| o.keys()).collect();
    for name in names {
        let values: Vec<&Value> = objects().filter_map(|o| o.get(name)).collect();
        let whole = values.len() == places.len();
        let differ = values.iter().any(|v| Some(v) != values.first());
        let words = SECOND.contains(&name.as_str()) && values.iter().all(|v| is_word(v));
        let flags = values.iter().all(|v| v.is_boolean());
        // Without a word a flag is all that there is: `{"done": true}`.
        if whole
            && ((words && differ) || (flags && (differ || first.is_none())))
            && word != Some(&pointer(name))
        {
            by.push(pointer(name));
        }
    }
    let mut split: Vec<(Marks, Vec<usize>)> = Vec::new();
    for n in places {
        let Some(v) = value(*n) else { continue };
        let second = by.iter().filter_map(|p| Some((p.clone(), v.pointer(p)?.clone())));
        let marks: Marks = first.iter().cloned().chain(second).collect();
        match split.iter_mut().find(|(known, _)| *known == marks) {
            Some((_, at)) => at.push(*n),
            None => split.push((marks, vec![*n])),
        }
    }
    split
}

/// Bare texts: what repeats is a word, what differs is one kind.
fn bare(kinds: &mut Vec<Kind>, n: usize, text: &str) {
    let marker = is_word(&Value::from(text)) && text.chars().all(|c| !c.is_lowercase());
    let same = |k: &&mut Kind| match &k.example {
        Example::Text(known) => match (k.marks.is_empty(), marker) {
            (true, false) => true,
            (false, true) => known == text,
            _ => false,
        },
        _ => false,
    };
    if let Some(known) = kinds.iter_mut().find(same) {
        return known.at.push(n);
    }
    let mut kind = Kind::new(Example::Text(text.to_owned()), false);
    if marker {
        kind.marks = vec![(String::new(), Value::from(text))];
    }
    kind.at.push(n);
    kinds.push(kind);
}

/// Where no word tells kinds apart their fields do, and what the others have besides.
fn told_apart_by_fields(kinds: &mut [Kind]) {
    let fields = |k: &Kind| -> BTreeSet<String> {
        match &k.example {
            Example::Json(Value::Object(o)) if k.marks.iter().all(|(_, v)| v.is_boolean()) => {
                o.keys().map(|name| pointer(name)).collect()
            }
            _ => BTreeSet::new(),
        }
    };
    let all: Vec<BTreeSet<String>> = kinds.iter().map(fields).collect();
    for (k, own) in kinds.iter_mut().zip(&all) {
        let marked = |p: &String| k.marks.iter().any(|(m, _)| m == p);
        let mut wanted: Vec<(String, bool)> =
            own.iter().filter(|p| !marked(p)).map(|p| (p.clone(), true)).collect();
        for more in all.iter().filter(|other| other.is_superset(own) && *other != own && !own.is_empty()) {
            wanted.extend(more.difference(own).next().map(|p| (p.clone(), false)));
        }
        wanted.dedup();
        k.fields = wanted;
    }
}
