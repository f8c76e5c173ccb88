//! Reads out of JSON what a dialect asks for, without building a tree: one pass, nothing allocated for the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use smallvec::SmallVec;

/// A value that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Found<'a> {
    #[default]
    Missing,
    Null,
    Bool(bool),
    Num(Number),
    Str(Cow<'a, str>),
    /// A list, or a table; true when it is empty.
    Array(bool),
    Object(bool),
}

impl Found<'_> {
    /// There, and not null.
    pub(super) const fn exists(&self) -> bool {
        !matches!(self, Self::Missing | Self::Null)
    }

    /// There, and with something in it.
    pub(super) fn nonempty(&self) -> bool {
        match self {
            Self::Missing | Self::Null | Self::Array(true) | Self::Object(true) => false,
            Self::Str(s) => !s.trim().is_empty(),
            _ => true,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Str(s) = self { Some(s) } else { None }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        if let Self::Num(n) = self { n.as_f64() } else { None }
    }

    /// As a value of its own, with its type.
    pub(super) fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Bool(b) => Value::Bool(*b),
            Self::Num(n) => Value::Number(n.clone()),
            Self::Str(s) => Value::String(s.as_ref().to_owned()),
            _ => return None,
        })
    }

    /// As a text for people.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Str(s) => s.into_owned(),
            Self::Num(n) => n.to_string(),
            Self::Bool(b) => b.to_string(),
            _ => String::new(),
        }
    }
}

/// What was found in a message, in its order: few values, so that no memory is asked for.
#[derive(Debug, Default)]
pub(super) struct Scan<'a>(SmallVec<[(u16, Found<'a>); 8]>);

const MISSING: &Found<'static> = &Found::Missing;

impl<'a> Scan<'a> {
    /// The first value at a slot.
    pub(super) fn at(&self, slot: u16) -> &Found<'a> {
        self.0.iter().find(|(s, _)| *s == slot).map_or(MISSING, |(_, found)| found)
    }

    /// Every value at a slot: more than one where a pointer has a `*`. [`Found::Missing`] when there is none.
    pub(super) fn all(&self, slot: u16) -> impl Iterator<Item = &Found<'a>> {
        let mut rest = self.0.iter();
        let first = rest.find(|(s, _)| *s == slot).map_or(MISSING, |(_, found)| found);
        std::iter::once(first).chain(rest.filter(move |(s, _)| *s == slot).map(|(_, found)| found))
    }
}

#[derive(Clone, Debug, Default)]
struct Branch {
    children: Vec<(Box<str>, usize)>,
    star: Option<usize>,
    slot: Option<u16>,
}

/// Pointers into JSON, asked for together.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    branches: Vec<Branch>,
    pointers: Vec<Box<str>>,
    /// `snake_case` and `camelCase` are the same.
    lenient: bool,
}

impl Trie {
    pub(super) fn new(lenient: bool) -> Self {
        Self { branches: vec![Branch::default()], pointers: Vec::new(), lenient }
    }

    /// Asks for a pointer (RFC 6901; `*` is any element of a list).
    pub(super) fn slot(&mut self, pointer: &str) -> u16 {
        if let Some(n) = self.pointers.iter().position(|p| **p == *pointer) {
            return n as u16;
        }
        let mut at = 0;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let known = match &*part {
                "*" => self.branches[at].star,
                name => self.branches[at].children.iter().find(|(n, _)| **n == *name).map(|(_, b)| *b),
            };
            at = known.unwrap_or_else(|| {
                self.branches.push(Branch::default());
                let new = self.branches.len() - 1;
                match &*part {
                    "*" => self.branches[at].star = Some(new),
                    name => self.branches[at].children.push((name.into(), new)),
                }
                new
            });
        }
        let slot = self.pointers.len() as u16;
        self.branches[at].slot = Some(slot);
        self.pointers.push(pointer.into());
        slot
    }

    pub(super) fn pointer(&self, slot: u16) -> &str {
        self.pointers.get(usize::from(slot)).map_or("", |p| p)
    }

    /// Reads a message. Errors say why it is not JSON.
    pub(super) fn scan<'a>(&self, json: &'a str, scan: &mut Scan<'a>) -> Result<(), String> {
        let mut d = serde_json::Deserializer::from_str(json);
        Seed { trie: self, at: 0, scan }.deserialize(&mut d).map_err(|e| e.to_string())?;
        d.end().map_err(|e| e.to_string())
    }

    /// Reads a message that a codec has made.
    pub(super) fn scan_value<'a>(&self, value: &'a Value, scan: &mut Scan<'a>) {
        // A value is never wrong.
        let _ = Seed { trie: self, at: 0, scan }.deserialize(value);
    }

    fn child(&self, at: usize, key: &str) -> Option<usize> {
        if !self.lenient {
            // Most names differ in length or at their beginning, which needs no call.
            let first = key.as_bytes().first();
            let same = |n: &str| n.len() == key.len() && n.as_bytes().first() == first && n == key;
            return self.branches[at].children.iter().find(|(name, _)| same(name)).map(|(_, b)| *b);
        }
        let same = |name: &str| alike(name, key);
        self.branches[at].children.iter().find(|(name, _)| same(name)).map(|(_, b)| *b)
    }
}

/// Whether two keys differ in spelling only: `mimeType` and `mime_type`.
fn alike(a: &str, b: &str) -> bool {
    let plain =
        |s: &str| s.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
    a == b || plain(a) == plain(b)
}

struct Seed<'t, 's, 'de> {
    trie: &'t Trie,
    at: usize,
    scan: &'s mut Scan<'de>,
}

impl<'de> Seed<'_, '_, 'de> {
    fn put(self, found: Found<'de>) {
        if let Some(slot) = self.trie.branches[self.at].slot {
            self.scan.0.push((slot, found));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        self.put(Found::Bool(v));
        Ok(())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.put(Found::Num(v.into()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.put(Found::Num(v.into()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<(), E> {
        self.put(Number::from_f64(v).map_or(Found::Null, Found::Num));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<(), E> {
        self.put(Found::Str(Cow::Borrowed(v)));
        Ok(())
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<(), E> {
        if self.trie.branches[self.at].slot.is_some() {
            self.put(Found::Str(Cow::Owned(v.to_owned())));
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Found::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let branch = &self.trie.branches[self.at];
        let mut n = 0_usize;
        loop {
            let named =
                (!branch.children.is_empty()).then(|| self.trie.child(self.at, &n.to_string())).flatten();
            let more = match named.or(branch.star) {
                Some(at) => seq.next_element_seed(Seed { trie: self.trie, at, scan: self.scan })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
            n += 1;
        }
        self.put(Found::Array(n == 0));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut empty = true;
        while let Some(child) = map.next_key_seed(KeySeed { trie: self.trie, at: self.at })? {
            empty = false;
            match child {
                Some(at) => map.next_value_seed(Seed { trie: self.trie, at, scan: self.scan })?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        self.put(Found::Object(empty));
        Ok(())
    }
}

/// Which branch a key leads to.
struct KeySeed<'t> {
    trie: &'t Trie,
    at: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(self.trie.child(self.at, v))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trie(pointers: &[&str]) -> Trie {
        let mut trie = Trie::new(false);
        pointers.iter().for_each(|p| _ = trie.slot(p));
        trie
    }

    fn read<'a>(trie: &Trie, json: &'a str) -> Result<Scan<'a>, String> {
        let mut scan = Scan::default();
        trie.scan(json, &mut scan).map(|()| scan)
    }

    #[test]
    fn what_is_asked_for_is_found_with_its_type() {
        let t = trie(&["/a", "/b/c", "/b/*/d", "/e/1", "/f", "/none", "/b"]);
        let s = read(&t, r#"{"x":[{"a":1}],"a":"\u00e9","b":[{"d":1},{"d":"two"},{}],"e":[1,2],"f":null}"#)
            .unwrap();
        assert_eq!(s.at(0).as_str(), Some("é"));
        assert_eq!(s.at(1), &Found::Missing);
        assert_eq!(s.all(2).map(|f| f.to_value().unwrap().to_string()).collect::<Vec<_>>(), ["1", "\"two\""]);
        assert_eq!(s.at(3).as_f64(), Some(2.0));
        assert!(!s.at(4).exists() && !s.at(5).exists() && s.at(6).nonempty());
        assert!(read(&t, "{\"a\":1} x").is_err() && read(&t, "{\"a\":").is_err());
    }

    #[test]
    fn spellings() {
        let mut t = Trie::new(true);
        let slot = t.slot("/realtimeInput/audio/mimeType");
        let s = read(&t, r#"{"realtime_input":{"audio":{"mime_type":"x"}}}"#).unwrap();
        assert_eq!(s.at(slot).as_str(), Some("x"));
    }

    proptest! {
        /// The same as looking it up in a tree, whatever comes.
        #[test]
        fn as_a_tree_would_say(text in "[\\[\\]{}:,\"ab01 ]{0,40}") {
            let t = trie(&["/a", "/b/a", "/a/0"]);
            match serde_json::from_str::<Value>(&text) {
                Err(_) => prop_assert!(read(&t, &text).is_err()),
                Ok(tree) => {
                    let scan = read(&t, &text).unwrap();
                    for slot in 0..3 {
                        let there = tree.pointer(t.pointer(slot));
                        prop_assert_eq!(there.is_some_and(|v| !v.is_null()), scan.at(slot).exists(), "{}", text);
                    }
                }
            }
        }
    }
}
