//! How the server knows each message of a device from the others: by the constants in the templates that devices send.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::rule::{Rule, Scalar};
use super::scan::{Found, Scan, Trie};
use super::template::{Message, Name, Node, Var};

/// What a message of a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A message of the opening that is not its last.
    Opening,
    Open,
    TurnStart,
    TurnEnd,
    Interrupt,
    Audio,
    Ping,
    Close,
    Ignore,
}

/// How a message is recognised.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    pub(super) what: What,
    pub(super) form: Form,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Json {
        /// Constants that tell it from the others.
        equals: Vec<(u16, Scalar)>,
        /// What it has and others have not.
        present: Vec<u16>,
        /// Variables that it says.
        says: Vec<(u16, Name)>,
    },
    Text(String),
    Binary(Bytes),
}

/// The messages that a description lets a device send.
pub(super) struct Outgoing<'a> {
    pub(super) open: &'a [Message],
    pub(super) turn_start: &'a [Message],
    pub(super) turn_end: &'a [Message],
    pub(super) interrupt: &'a [Message],
    pub(super) audio: Option<&'a Message>,
    pub(super) keep_alive: &'a [Message],
    pub(super) close: &'a [Message],
    pub(super) replies: &'a [Rule],
}

/// A leaf of a message.
struct Leaf {
    pointer: String,
    constant: Option<Scalar>,
    says: Option<Name>,
}

fn leaves(tree: &Node) -> Vec<Leaf> {
    let mut all = Vec::new();
    tree.leaves(&mut Vec::new(), &mut |path, node| {
        let pointer: String =
            path.iter().map(|p| format!("/{}", p.replace('~', "~0").replace('/', "~1"))).collect();
        let constant = if let Node::Fixed(value) = node { Scalar::of(value) } else { None };
        let says = match node {
            Node::Text(text) => match text.alone().map(|h| &h.var) {
                Some(Var::Named(name)) => Some(*name),
                _ => None,
            },
            _ => None,
        };
        all.push(Leaf { pointer, constant, says });
    });
    all
}

/// How the server knows each message from the others.
pub(super) fn signs(out: &Outgoing<'_>, trie: &mut Trie) -> Vec<Sign> {
    let mut all: Vec<(What, &Message)> = Vec::new();
    for (n, m) in out.open.iter().enumerate() {
        all.push((if n + 1 == out.open.len() { What::Open } else { What::Opening }, m));
    }
    for (messages, what) in [
        (out.turn_start, What::TurnStart),
        (out.turn_end, What::TurnEnd),
        (out.interrupt, What::Interrupt),
        (out.keep_alive, What::Ping),
        (out.close, What::Close),
    ] {
        all.extend(messages.iter().enumerate().map(|(n, m)| (if n == 0 { what } else { What::Ignore }, m)));
    }
    all.extend(out.audio.map(|m| (What::Audio, m)));
    all.extend(out.replies.iter().flat_map(|r| &r.reply).map(|m| (What::Ignore, m)));

    let json: Vec<Option<Vec<Leaf>>> = all
        .iter()
        .map(|(_, m)| if let Message::Json { json, .. } = m { Some(leaves(&json.tree)) } else { None })
        .collect();
    let mut constants: BTreeMap<&str, Vec<&Scalar>> = BTreeMap::new();
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    for leaves in json.iter().flatten() {
        let mut paths: Vec<String> =
            leaves.iter().flat_map(|l| [l.pointer.clone(), top(&l.pointer).to_owned()]).collect();
        paths.sort();
        paths.dedup();
        paths.into_iter().for_each(|p| *holders.entry(p).or_default() += 1);
        for leaf in leaves {
            if let Some(c) = &leaf.constant {
                let known = constants.entry(&leaf.pointer).or_default();
                if !known.contains(&c) {
                    known.push(c);
                }
            }
        }
    }
    let total = json.iter().flatten().count();
    let mut signs = Vec::new();
    for ((what, message), leaves) in all.iter().zip(&json) {
        let form = match (message, leaves) {
            (Message::Json { .. }, Some(leaves)) => {
                let tells = |l: &&Leaf| constants.get(l.pointer.as_str()).is_some_and(|c| c.len() > 1);
                let is_word =
                    |l: &&Leaf| matches!(l.constant, Some(Scalar::Str(_))) && top(&l.pointer) == l.pointer;
                let mut chosen: Vec<&Leaf> =
                    leaves.iter().filter(|l| l.constant.is_some()).filter(tells).collect();
                if chosen.is_empty() {
                    chosen = leaves.iter().filter(is_word).collect();
                }
                let equals =
                    chosen.into_iter().filter_map(|l| Some((trie.slot(&l.pointer), l.constant.clone()?)));
                let equals = equals.collect();
                let mut paths: Vec<&str> =
                    leaves.iter().flat_map(|l| [l.pointer.as_str(), top(&l.pointer)]).collect();
                paths.sort_unstable();
                paths.dedup();
                let own = |p: &&str| total == 1 || holders.get(*p).is_some_and(|n| *n < total);
                let present =
                    paths.into_iter().filter(own).filter(|p| !p.is_empty()).map(|p| trie.slot(p)).collect();
                let says = leaves.iter().filter_map(|l| Some((trie.slot(&l.pointer), l.says?))).collect();
                Form::Json { equals, present, says }
            }
            (Message::Text(text), _) => match text.fixed() {
                Some(fixed) => Form::Text(fixed),
                None => continue,
            },
            (Message::Binary(bytes), _) => Form::Binary(bytes.clone()),
            (Message::Json { .. }, None) => continue,
        };
        signs.push(Sign { what: *what, form });
    }
    signs
}

/// The first part of a pointer.
fn top(pointer: &str) -> &str {
    let end = pointer.get(1..).and_then(|p| p.find('/')).map_or(pointer.len(), |n| n + 1);
    pointer.get(..end).unwrap_or_default()
}

impl Sign {
    /// How well a message fits; `None`: it does not.
    pub(super) fn score(&self, scan: &Scan<'_>) -> Option<usize> {
        let Form::Json { equals, present, .. } = &self.form else { return None };
        let mut same = 0;
        for (slot, constant) in equals {
            let found = scan.at(*slot);
            match constant.is(found) {
                true => same += 1,
                false if found.exists() => return None,
                false => {}
            }
        }
        let there = present.iter().filter(|s| scan.at(**s) != &Found::Missing).count();
        let fits = if equals.is_empty() { there > 0 } else { same > 0 };
        fits.then_some(4 * same + there)
    }
}
