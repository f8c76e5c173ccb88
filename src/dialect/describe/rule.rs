//! What a description says about the server's messages: rules, and the conditions under which they hold.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::scan::{Found, Scan, Trie};
use super::template::Message;
use crate::time::Micros;

/// What an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Ready,
    SpeechStarted,
    SpeechStopped,
    Partial,
    Final,
    Token,
    Audio,
    Done,
    Interrupted,
    Error,
    Pong,
    Ignore,
}

impl Is {
    pub(super) const ALL: [(&'static str, Self); 12] = [
        ("ready", Self::Ready),
        ("speech_started", Self::SpeechStarted),
        ("speech_stopped", Self::SpeechStopped),
        ("partial", Self::Partial),
        ("final", Self::Final),
        ("token", Self::Token),
        ("audio", Self::Audio),
        ("done", Self::Done),
        ("interrupted", Self::Interrupted),
        ("error", Self::Error),
        ("pong", Self::Pong),
        ("ignore", Self::Ignore),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, i)| *i == self).map_or("", |(n, _)| n)
    }

    /// One bit each.
    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// When the reference server sends an event's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Connect,
    Ready,
    Turn,
    SpeechStarted,
    SpeechStopped,
    Heard,
    Partial,
    Final,
    FirstToken,
    Token,
    FirstAudio,
    Audio,
    Done,
    Interrupted,
    Error,
    Pong,
    Close,
}

impl Moment {
    pub(super) const ALL: [(&'static str, Self); 17] = [
        ("connect", Self::Connect),
        ("ready", Self::Ready),
        ("turn", Self::Turn),
        ("speech_started", Self::SpeechStarted),
        ("speech_stopped", Self::SpeechStopped),
        ("heard", Self::Heard),
        ("partial", Self::Partial),
        ("final", Self::Final),
        ("first_token", Self::FirstToken),
        ("token", Self::Token),
        ("first_audio", Self::FirstAudio),
        ("audio", Self::Audio),
        ("done", Self::Done),
        ("interrupted", Self::Interrupted),
        ("error", Self::Error),
        ("pong", Self::Pong),
        ("close", Self::Close),
    ];

    /// When nobody says.
    pub(super) fn of(is: Is) -> &'static [Self] {
        match is {
            Is::Ready => &[Self::Ready],
            Is::SpeechStarted => &[Self::SpeechStarted],
            Is::SpeechStopped => &[Self::SpeechStopped],
            Is::Partial => &[Self::Partial],
            Is::Final => &[Self::Final],
            Is::Token => &[Self::Token],
            Is::Audio => &[Self::Audio],
            Is::Done => &[Self::Done, Self::Interrupted],
            Is::Interrupted => &[Self::Interrupted],
            Is::Error => &[Self::Error],
            Is::Pong => &[Self::Pong],
            Is::Ignore => &[],
        }
    }
}

/// Kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    /// Audio that came out of an envelope codec.
    Payload,
}

/// A constant of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Str(Box<str>),
    Num(f64),
    Bool(bool),
}

impl Scalar {
    pub(super) fn is(&self, found: &Found<'_>) -> bool {
        match (self, found) {
            (Self::Str(a), Found::Str(b)) => **a == **b,
            (Self::Num(a), Found::Num(b)) => b.as_f64() == Some(*a),
            (Self::Bool(a), Found::Bool(b)) => a == b,
            _ => false,
        }
    }

    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::String(s) => Self::Str(s.as_str().into()),
            Value::Number(n) => Self::Num(n.as_f64()?),
            Value::Bool(b) => Self::Bool(*b),
            _ => return None,
        })
    }
}

/// What a number is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Num(f64),
    Captured(u16),
}

/// A test of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    In(Vec<Scalar>),
    Not(Vec<Scalar>),
    Exists(bool),
    NonEmpty(bool),
    Prefix(Box<str>),
    Captured(u16),
    AtMost(Bound),
    AtLeast(Bound),
}

/// A test of a bare text frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextTest {
    Is(Box<str>),
    Prefix(Box<str>),
    /// Anything that is not JSON.
    NonEmpty,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cond {
    All(Vec<Self>),
    Any(Vec<Self>),
    None(Vec<Self>),
    Frame(Kind),
    Text(TextTest),
    At(u16, Test),
}

/// A frame as conditions see it.
pub(super) struct View<'v, 'a> {
    pub(super) kind: Kind,
    /// Of JSON.
    pub(super) scan: Option<&'v Scan<'a>>,
    /// Of text frames.
    pub(super) text: Option<&'a str>,
    pub(super) captured: &'v [Option<Value>],
}

impl Cond {
    /// Holds for every message.
    pub(super) const ALWAYS: Self = Self::All(Vec::new());

    pub(super) fn holds(&self, view: &View<'_, '_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|c| c.holds(view)),
            Self::Any(any) => any.iter().any(|c| c.holds(view)),
            Self::None(none) => !none.iter().any(|c| c.holds(view)),
            // Binary JSON is JSON: what is left in `Binary` are bytes.
            Self::Frame(kind) => *kind == view.kind,
            Self::Text(test) => view.text.is_some_and(|text| match test {
                TextTest::Is(is) => **is == *text,
                TextTest::Prefix(p) => text.starts_with(&**p),
                TextTest::NonEmpty => view.scan.is_none() && !text.trim().is_empty(),
            }),
            Self::At(slot, test) => view.scan.is_some_and(|scan| test.holds(*slot, scan, view.captured)),
        }
    }

    /// The texts of which one must stand at a slot for this to hold: what messages are told apart by.
    fn key(&self, slot: u16) -> Option<Vec<&str>> {
        match self {
            Self::At(s, Test::In(values)) if *s == slot => {
                values.iter().map(|v| if let Scalar::Str(s) = v { Some(&**s) } else { None }).collect()
            }
            Self::All(all) => all.iter().find_map(|c| c.key(slot)),
            Self::Any(any) => {
                let keys: Option<Vec<_>> = any.iter().map(|c| c.key(slot)).collect();
                keys.filter(|k| !k.is_empty()).map(|k| k.concat())
            }
            _ => None,
        }
    }

    fn slots(&self, out: &mut Vec<u16>) {
        match self {
            Self::All(c) | Self::Any(c) => c.iter().for_each(|c| c.slots(out)),
            Self::At(slot, Test::In(_)) => out.push(*slot),
            _ => {}
        }
    }
}

impl Test {
    fn holds(&self, slot: u16, scan: &Scan<'_>, captured: &[Option<Value>]) -> bool {
        let number = |b: &Bound| match b {
            Bound::Num(n) => Some(*n),
            Bound::Captured(c) => captured.get(usize::from(*c))?.as_ref()?.as_f64(),
        };
        let any = |test: &dyn Fn(&Found<'_>) -> bool| scan.all(slot).any(test);
        match self {
            Self::In(values) => any(&|f| values.iter().any(|v| v.is(f))),
            Self::Not(values) => any(&|f| f.exists() && !values.iter().any(|v| v.is(f))),
            Self::Exists(yes) => any(&|f| f.exists()) == *yes,
            Self::NonEmpty(yes) => any(&|f| f.nonempty()) == *yes,
            Self::Prefix(p) => any(&|f| f.as_str().is_some_and(|s| s.starts_with(&**p))),
            Self::Captured(c) => {
                let value = captured.get(usize::from(*c)).and_then(Option::as_ref).and_then(Scalar::of);
                value.is_some_and(|v| any(&|f| v.is(f)))
            }
            Self::AtMost(b) => number(b).is_some_and(|b| any(&|f| f.as_f64().is_some_and(|x| x <= b))),
            Self::AtLeast(b) => number(b).is_some_and(|b| any(&|f| f.as_f64().is_some_and(|x| x >= b))),
        }
    }
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    At(u16),
    /// The whole text frame.
    Frame,
}

/// What a message of the reference server is, and when it comes.
#[derive(Clone, Debug, Default)]
pub(super) struct Emit {
    pub(super) messages: Vec<Message>,
    pub(super) on: Vec<Moment>,
    pub(super) after: Micros,
}

/// A rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) is: Is,
    pub(super) when: Cond,
    pub(super) text: Vec<Source>,
    pub(super) audio: Option<u16>,
    pub(super) session: Option<u16>,
    pub(super) resumed: Option<Cond>,
    pub(super) interrupted: Option<Cond>,
    pub(super) code: Vec<Source>,
    pub(super) message: Vec<Source>,
    pub(super) capture: Vec<(u16, u16)>,
    pub(super) reply: Vec<Message>,
    /// It waits until the audio before the message has been played.
    pub(super) reply_played: bool,
    /// Bits of [`Is`]; 0: no such rule.
    pub(super) only_after: u16,
    pub(super) stale: Option<Cond>,
    pub(super) emit: Emit,
}

impl Rule {
    /// Says that a frame of bytes is audio, and does nothing else.
    fn is_plain_audio(&self) -> bool {
        self.is == Is::Audio
            && self.audio.is_none()
            && self.capture.is_empty()
            && self.reply.is_empty()
            && self.only_after == 0
            && self.stale.is_none()
    }
}

/// Which rules to try on which frame: the value that tells the messages apart is looked up, not compared with each.
#[derive(Clone, Debug, Default)]
pub(super) struct Dispatch {
    slot: Option<u16>,
    by_value: FxHashMap<Box<str>, Box<[u16]>>,
    otherwise: Box<[u16]>,
    pub(super) all: Box<[u16]>,
    /// Rules that hold for a frame of bytes, whichever: without JSON and without text, nothing but its kind is looked at.
    pub(super) bytes: Box<[u16]>,
    /// The one rule for bytes, where it says that they are audio and nothing else.
    pub(super) sound: Option<u16>,
}

impl Dispatch {
    /// For these rules, of which those in `awaited` do more than they say: something waits for them.
    pub(super) fn new(rules: &[Rule], awaited: &[u16]) -> Self {
        let all: Box<[u16]> = (0..rules.len() as u16).collect();
        let view = View { kind: Kind::Binary, scan: None, text: None, captured: &[] };
        let bytes: Box<[u16]> =
            rules.iter().zip(0..).filter(|(r, _)| r.when.holds(&view)).map(|(_, n)| n).collect();
        let sound = match &bytes[..] {
            [n] if !awaited.contains(n) => {
                rules.get(usize::from(*n)).filter(|r| r.is_plain_audio()).map(|_| *n)
            }
            _ => None,
        };
        let mut votes: FxHashMap<u16, usize> = FxHashMap::default();
        for rule in rules {
            let mut slots = Vec::new();
            rule.when.slots(&mut slots);
            slots.sort_unstable();
            slots.dedup();
            slots
                .into_iter()
                .filter(|s| rule.when.key(*s).is_some())
                .for_each(|s| *votes.entry(s).or_default() += 1);
        }
        let best =
            votes.into_iter().max_by_key(|(slot, n)| (*n, std::cmp::Reverse(*slot))).map(|(slot, _)| slot);
        let Some(slot) = best else {
            return Self { otherwise: all.clone(), all, bytes, sound, ..Self::default() };
        };
        let keys: Vec<Option<Vec<&str>>> = rules.iter().map(|r| r.when.key(slot)).collect();
        let with = |value: Option<&str>| -> Box<[u16]> {
            let fits =
                |k: &Option<Vec<&str>>| k.as_ref().is_none_or(|k| value.is_some_and(|v| k.contains(&v)));
            keys.iter().zip(0..).filter(|(k, _)| fits(k)).map(|(_, n)| n).collect()
        };
        let values = keys.iter().flatten().flatten();
        let by_value = values.map(|v| (Box::from(*v), with(Some(v)))).collect();
        let otherwise = with(None);
        Self { slot: Some(slot), by_value, otherwise, all, bytes, sound }
    }

    /// The pointer of the value that tells messages apart.
    pub(super) fn pointer<'t>(&self, trie: &'t Trie) -> Option<&'t str> {
        self.slot.map(|slot| trie.pointer(slot))
    }

    /// The rules to try on a message, in the order of the file.
    pub(super) fn candidates(&self, scan: &Scan<'_>) -> &[u16] {
        let value = self.slot.and_then(|slot| scan.at(slot).as_str());
        value.and_then(|v| self.by_value.get(v)).unwrap_or(&self.otherwise)
    }
}

/// Pointers of one side of a description, with what it captures.
#[derive(Clone, Debug)]
pub(super) struct Pointers {
    pub(super) trie: Trie,
    pub(super) captures: Vec<String>,
}

impl Pointers {
    pub(super) fn capture(&self, name: &str) -> Option<u16> {
        self.captures.iter().position(|c| c == name).map(|n| n as u16)
    }
}
