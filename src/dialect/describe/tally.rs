//! What the rules of a description have seen, over all devices of a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// Shapes of unmatched frames that are kept.
const SHAPES: usize = 20;
/// Characters of an example.
const EXAMPLE: usize = 300;

/// Counts, shared by all connections; each adds its own when it ends.
#[derive(Debug)]
pub struct Tally {
    rules: Vec<(Arc<str>, &'static str, AtomicU64)>,
    connections: AtomicU64,
    unmatched: AtomicU64,
    shapes: Mutex<Vec<Unmatched>>,
}

/// Frames of one shape that no rule has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// What they have in common.
    pub shape: String,
    /// The pointer and the text that tell them from others, where there are such.
    pub key: Option<(String, String)>,
    /// How many were looked at.
    pub count: u64,
    /// The first of them, cut; it may hold what is secret to its device.
    pub example: String,
    /// That device.
    pub device: u32,
}

impl Tally {
    pub(super) fn new(rules: impl Iterator<Item = (Arc<str>, &'static str)>) -> Self {
        Self {
            rules: rules.map(|(name, is)| (name, is, AtomicU64::new(0))).collect(),
            connections: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            shapes: Mutex::new(Vec::new()),
        }
    }

    /// Rules with what they mean and how often they have fired.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.rules.iter().map(|(name, is, n)| (&**name, *is, n.load(Ordering::Relaxed)))
    }

    /// Connections that have ended.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Frames that no rule has matched.
    pub fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }

    /// Examples of them.
    pub fn shapes(&self) -> Vec<Unmatched> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection has ended.
    pub(super) fn add(&self, fired: &[u32], unmatched: u64, shapes: &[Unmatched]) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.unmatched.fetch_add(unmatched, Ordering::Relaxed);
        for ((.., count), n) in self.rules.iter().zip(fired).filter(|(_, n)| **n > 0) {
            count.fetch_add(u64::from(*n), Ordering::Relaxed);
        }
        if !shapes.is_empty() {
            let mut all = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
            shapes.iter().for_each(|s| note(&mut all, s.clone()));
        }
    }
}

/// Adds to the shapes that are known, as long as there is room.
pub(super) fn note(all: &mut Vec<Unmatched>, new: Unmatched) {
    let room = all.len() < SHAPES;
    match all.iter_mut().find(|u| u.shape == new.shape) {
        Some(known) => known.count += new.count,
        None if room => all.push(new),
        None => {}
    }
}

/// By what messages are told apart in most protocols.
const KEYS: [&str; 6] = ["/type", "/event", "/message_type", "/msg_type", "/op", "/action"];

/// The shape of a text frame: the text at `key` (or where protocols usually have it), and the names of its fields.
pub(super) fn shape(text: &str, key: Option<&str>) -> (String, Option<(String, String)>) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return ("a text that is not JSON".to_owned(), None);
    };
    let at = |k: &str| Some((k.to_owned(), value.pointer(k)?.as_str().filter(|v| v.len() <= 60)?.to_owned()));
    let key = key.into_iter().chain(KEYS).find_map(at);
    let shape = match &value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.keys().map(|k| cut(k, 40)).collect();
            names.truncate(12);
            format!("{{{}}}", names.join(", "))
        }
        Value::Array(_) => "a JSON list".to_owned(),
        _ => "a JSON value".to_owned(),
    };
    match &key {
        Some((pointer, text)) => (format!("{pointer} = {text} {shape}"), key),
        None => (shape, None),
    }
}

/// An example, short enough to be kept.
pub(super) fn example(text: &str) -> String {
    cut(text, EXAMPLE)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
