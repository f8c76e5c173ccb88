//! Messages with variables in them: parsed once, rendered many times without building a tree.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::Value;

use crate::transport::Frame;

/// Variables that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Token,
    Device,
    Mac,
    Uuid,
    Locale,
    Voice,
    UpRate,
    DownRate,
    UpCodec,
    DownCodec,
    ChunkMs,
    FrameMs,
    Vad,
    Turn,
    TurnId,
    Resume,
    Seq,
    Chunk,
    TsMs,
    Audio,
    Len,
    Text,
    Session,
    Response,
    Item,
    Event,
    Status,
    Interrupted,
    Resumed,
    Code,
    Message,
    HeardMs,
    HeardS,
    TurnS,
    TurnHeardMs,
    TurnHeardS,
    Detected,
    Signalled,
}

impl Name {
    /// Every one, as files write it.
    pub(super) const ALL: [(&'static str, Self); 38] = [
        ("token", Self::Token),
        ("device", Self::Device),
        ("mac", Self::Mac),
        ("uuid", Self::Uuid),
        ("locale", Self::Locale),
        ("voice", Self::Voice),
        ("up.rate", Self::UpRate),
        ("down.rate", Self::DownRate),
        ("up.codec", Self::UpCodec),
        ("down.codec", Self::DownCodec),
        ("chunk_ms", Self::ChunkMs),
        ("frame_ms", Self::FrameMs),
        ("vad", Self::Vad),
        ("turn", Self::Turn),
        ("turn_id", Self::TurnId),
        ("resume", Self::Resume),
        ("seq", Self::Seq),
        ("chunk", Self::Chunk),
        ("ts_ms", Self::TsMs),
        ("audio", Self::Audio),
        ("len", Self::Len),
        ("text", Self::Text),
        ("session", Self::Session),
        ("response", Self::Response),
        ("item", Self::Item),
        ("event", Self::Event),
        ("status", Self::Status),
        ("interrupted", Self::Interrupted),
        ("resumed", Self::Resumed),
        ("code", Self::Code),
        ("message", Self::Message),
        ("heard_ms", Self::HeardMs),
        ("heard_s", Self::HeardS),
        ("turn_s", Self::TurnS),
        ("turn_heard_ms", Self::TurnHeardMs),
        ("turn_heard_s", Self::TurnHeardS),
        ("detected", Self::Detected),
        ("signalled", Self::Signalled),
    ];

    /// True for what is the same for every chunk and device of a run, so that a frame with it is made once.
    const fn is_of_the_run(self) -> bool {
        matches!(
            self,
            Self::UpRate | Self::DownRate | Self::UpCodec | Self::DownCodec | Self::Audio | Self::Len
        )
    }
}

/// A variable, found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Var {
    Named(Name),
    /// What an event has captured, by its number.
    Captured(u16),
    /// A value with `{columns}` of the scenario's data in it.
    PerDevice(Box<str>),
    /// A value of the file or of the scenario.
    Fixed(Value),
}

/// What a variable is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val<'a> {
    Unset,
    Str(Cow<'a, str>),
    Int(i64),
    Num(f64),
    Bool(bool),
    Json(&'a Value),
}

impl Val<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Unset | Self::Json(Value::Null) => true,
            Self::Str(s) => s.is_empty(),
            Self::Json(Value::String(s)) => s.is_empty(),
            _ => false,
        }
    }
}

/// Where the values come from.
pub(super) trait Values {
    fn get(&self, var: &Var) -> Val<'_>;
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Lit(Box<str>),
    Hole(Hole),
}

/// A variable in a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hole {
    pub(super) var: Var,
    /// `{name:s}`: a text even where it stands alone.
    as_text: bool,
    /// `{name?}`: without a value, what holds the text is left out.
    pub(super) optional: bool,
    fallback: Option<Box<str>>,
}

impl Hole {
    /// True when it is a captured value that must be there.
    pub(super) fn needs_capture(&self) -> bool {
        matches!(self.var, Var::Captured(_)) && !self.optional && self.fallback.is_none()
    }
}

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Text(pub(super) Vec<Part>);

impl Text {
    /// Reads a text; `find` says what a name means. Errors are what is wrong, with the bytes of the text.
    pub(super) fn parse(
        text: &str,
        mut find: impl FnMut(&str) -> Result<Var, String>,
    ) -> Result<Self, Vec<(std::ops::Range<usize>, String)>> {
        let (mut parts, mut errors, mut lit) = (Vec::new(), Vec::new(), String::new());
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                lit.push(c);
                at += 2;
                continue;
            }
            let inner = rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(inner, _)| inner);
            let Some((inner, name)) = inner.and_then(|i| Some((i, variable_name(i)?))) else {
                lit.push(c);
                at += c.len_utf8();
                continue;
            };
            let span = at..at + inner.len() + 2;
            let tail = &inner[name.len()..];
            let (as_text, tail) = tail.strip_prefix(":s").map_or((false, tail), |t| (true, t));
            let (optional, fallback) = match tail {
                "" => (false, None),
                "?" => (true, None),
                other => (false, other.strip_prefix('|')),
            };
            if !(tail.is_empty() || optional || fallback.is_some()) {
                errors.push((
                    span.clone(),
                    format!("`{{{inner}}}`: after the name comes `?`, `:s` or `|` and a text"),
                ));
            }
            match find(name) {
                Ok(Var::Fixed(value))
                    if !as_text && !optional && fallback.is_none() && span != (0..text.len()) =>
                {
                    lit.push_str(&plain(&value));
                }
                Ok(var) => {
                    if !lit.is_empty() {
                        parts.push(Part::Lit(std::mem::take(&mut lit).into()));
                    }
                    parts.push(Part::Hole(Hole {
                        var,
                        as_text,
                        optional,
                        fallback: fallback.map(Into::into),
                    }));
                }
                Err(why) => errors.push((span.clone(), why)),
            }
            at = span.end;
        }
        if !lit.is_empty() {
            parts.push(Part::Lit(lit.into()));
        }
        if errors.is_empty() { Ok(Self(parts)) } else { Err(errors) }
    }

    /// The one variable that it is, if it is nothing else.
    pub(super) fn alone(&self) -> Option<&Hole> {
        match &self.0[..] {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// The text when nothing in it varies.
    pub(super) fn fixed(&self) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Lit(lit) => text.push_str(lit),
                Part::Hole(Hole { var: Var::Fixed(value), .. }) => text.push_str(&plain(value)),
                Part::Hole(_) => return None,
            }
        }
        Some(text)
    }

    /// With its variables filled in; `None`: an optional one is not set.
    pub(super) fn render(&self, values: &dyn Values) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Lit(lit) => out.push_str(lit),
                Part::Hole(hole) => {
                    let val = values.get(&hole.var);
                    match (&hole.fallback, val.is_empty()) {
                        (_, true) if hole.optional => return None,
                        (Some(other), true) => out.push_str(other),
                        _ => write_plain(&val, &mut out),
                    }
                }
            }
        }
        Some(out)
    }

    pub(super) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.0.iter().filter_map(|p| if let Part::Hole(h) = p { Some(h) } else { None })
    }
}

/// The name at the beginning of what stands in braces.
fn variable_name(inner: &str) -> Option<&str> {
    let end =
        inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(inner.len());
    let name = &inner[..end];
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let ends = inner[end..].is_empty() || inner[end..].starts_with(['?', ':', '|']);
    (starts && ends).then_some(name)
}

/// As it stands in a text.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(s) => Cow::Borrowed(s),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

fn write_plain(val: &Val<'_>, out: &mut String) {
    match val {
        Val::Unset => {}
        Val::Str(s) => out.push_str(s),
        Val::Int(n) => _ = write!(out, "{n}"),
        Val::Num(x) => _ = write!(out, "{x}"),
        Val::Bool(b) => _ = write!(out, "{b}"),
        Val::Json(v) => out.push_str(&plain(v)),
    }
}

/// A JSON value with variables.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Fixed(Value),
    Text(Text),
}

impl Node {
    /// Calls `each` with the path of every leaf.
    pub(super) fn leaves<'a>(&'a self, path: &mut Vec<&'a str>, each: &mut impl FnMut(&[&'a str], &'a Self)) {
        match self {
            Self::Object(fields) => {
                for (key, node) in fields {
                    path.push(key);
                    node.leaves(path, each);
                    path.pop();
                }
                if fields.is_empty() {
                    each(path, self);
                }
            }
            _ => each(path, self),
        }
    }
}

/// A piece of rendered JSON.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Lit(String),
    /// A whole JSON value.
    Value(Hole),
    /// Within a JSON text.
    Inside(Hole),
    /// `"key":value`, with its comma, unless a variable is not set.
    Field(String, Text),
}

/// JSON that is rendered by copying.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Json {
    pieces: Vec<Piece>,
    pub(super) tree: Node,
}

impl Json {
    pub(super) fn new(tree: Node) -> Self {
        let mut pieces = Vec::new();
        pieces_of(&tree, &mut pieces);
        Self { pieces, tree }
    }

    pub(super) fn render(&self, values: &dyn Values, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Lit(lit) => out.push_str(lit),
                Piece::Value(hole) => write_value(hole, values, out),
                Piece::Inside(hole) => write_inside(hole, values, out),
                Piece::Field(key, text) => {
                    if let Some(rendered) = text.render(values) {
                        if !out.ends_with('{') {
                            out.push(',');
                        }
                        out.push_str(key);
                        match text.alone().filter(|h| !h.as_text) {
                            Some(hole) => write_value(hole, values, out),
                            None => push_quoted(&rendered, out),
                        }
                    }
                }
            }
        }
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().flat_map(|p| {
            let (one, text) = match p {
                Piece::Lit(_) => (None, None),
                Piece::Value(h) | Piece::Inside(h) => (Some(h), None),
                Piece::Field(_, t) => (None, Some(t)),
            };
            one.into_iter().chain(text.into_iter().flat_map(Text::holes))
        })
    }
}

fn pieces_of(node: &Node, out: &mut Vec<Piece>) {
    let lit = |out: &mut Vec<Piece>, text: &str| match out.last_mut() {
        Some(Piece::Lit(last)) => last.push_str(text),
        _ => out.push(Piece::Lit(text.to_owned())),
    };
    match node {
        Node::Fixed(value) => lit(out, &value.to_string()),
        Node::Array(items) => {
            lit(out, "[");
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    lit(out, ",");
                }
                pieces_of(item, out);
            }
            lit(out, "]");
        }
        Node::Object(fields) => {
            lit(out, "{");
            let optional = |n: &Node| matches!(n, Node::Text(t) if t.holes().any(|h| h.optional));
            let (late, firm): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, n)| optional(n));
            for (n, (key, node)) in firm.into_iter().enumerate() {
                if n > 0 {
                    lit(out, ",");
                }
                lit(out, &format!("{}:", quoted(key)));
                pieces_of(node, out);
            }
            for (key, node) in late {
                if let Node::Text(text) = node {
                    out.push(Piece::Field(format!("{}:", quoted(key)), text.clone()));
                }
            }
            lit(out, "}");
        }
        Node::Text(text) => match text.alone() {
            Some(hole) if !hole.as_text => match &hole.var {
                Var::Fixed(value) => lit(out, &value.to_string()),
                _ => out.push(Piece::Value(hole.clone())),
            },
            _ => {
                lit(out, "\"");
                for part in &text.0 {
                    match part {
                        Part::Lit(l) => {
                            let q = quoted(l);
                            lit(out, &q[1..q.len() - 1]);
                        }
                        Part::Hole(hole) => out.push(Piece::Inside(hole.clone())),
                    }
                }
                lit(out, "\"");
            }
        },
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Appends a text as a JSON text.
pub(super) fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    push_escaped(text, out);
    out.push('"');
}

fn push_escaped(text: &str, out: &mut String) {
    // Base64 and most words need no escaping.
    if text.bytes().any(|b| b == b'"' || b == b'\\' || b < 0x20) {
        let q = quoted(text);
        out.push_str(&q[1..q.len() - 1]);
    } else {
        out.push_str(text);
    }
}

fn write_value(hole: &Hole, values: &dyn Values, out: &mut String) {
    let val = values.get(&hole.var);
    match (&val, &hole.fallback) {
        (v, Some(other)) if v.is_empty() => push_quoted(other, out),
        (Val::Unset, None) => out.push_str("\"\""),
        (Val::Str(s), _) => push_quoted(s, out),
        (Val::Int(n), _) => _ = write!(out, "{n}"),
        (Val::Num(x), _) => _ = write!(out, "{x}"),
        (Val::Bool(b), _) => _ = write!(out, "{b}"),
        (Val::Json(v), _) => _ = write!(out, "{v}"),
        (Val::Unset, Some(_)) => {}
    }
}

fn write_inside(hole: &Hole, values: &dyn Values, out: &mut String) {
    let val = values.get(&hole.var);
    if let (Some(other), true) = (&hole.fallback, val.is_empty()) {
        return push_escaped(other, out);
    }
    match &val {
        Val::Str(s) => push_escaped(s, out),
        Val::Json(Value::String(s)) => push_escaped(s, out),
        other => write_plain(other, out),
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Json { json: Json, binary: bool },
    Text(Text),
    Binary(Bytes),
}

impl Message {
    /// The frame that carries it.
    pub(super) fn frame(&self, values: &dyn Values) -> Frame {
        match self {
            Self::Json { json, binary } => {
                let mut out = String::with_capacity(128);
                json.render(values, &mut out);
                if *binary { Frame::Binary(out.into_bytes().into()) } else { Frame::text(out) }
            }
            Self::Text(text) => Frame::text(text.render(values).unwrap_or_default()),
            Self::Binary(bytes) => Frame::Binary(bytes.clone()),
        }
    }

    /// As JSON, for an envelope.
    pub(super) fn json(&self, values: &dyn Values) -> Option<Value> {
        let Self::Json { json, .. } = self else { return None };
        let mut out = String::new();
        json.render(values, &mut out);
        serde_json::from_str(&out).ok()
    }

    pub(super) fn holes(&self) -> Box<dyn Iterator<Item = &Hole> + '_> {
        match self {
            Self::Json { json, .. } => Box::new(json.holes()),
            Self::Text(text) => Box::new(text.holes()),
            Self::Binary(_) => Box::new(std::iter::empty()),
        }
    }

    /// True when it says this.
    pub(super) fn says(&self, name: Name) -> bool {
        self.holes().any(|h| h.var == Var::Named(name))
    }

    /// True when it is the same for every device and every moment of a run.
    pub(super) fn is_of_the_run(&self) -> bool {
        self.holes().all(|h| match &h.var {
            Var::Named(name) => name.is_of_the_run(),
            Var::Fixed(_) => true,
            Var::Captured(_) | Var::PerDevice(_) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Some1(Vec<(&'static str, Value)>);

    impl Values for Some1 {
        fn get(&self, var: &Var) -> Val<'_> {
            match var {
                Var::Captured(n) => self.0.get(usize::from(*n)).map_or(Val::Unset, |(_, v)| Val::Json(v)),
                Var::Fixed(_) | Var::PerDevice(_) | Var::Named(_) => Val::Unset,
            }
        }
    }

    fn text(t: &str, values: &Some1) -> Text {
        Text::parse(t, |name| {
            let at = values.0.iter().position(|(n, _)| *n == name);
            at.map(|n| Var::Captured(n as u16)).ok_or_else(|| format!("no {name}"))
        })
        .unwrap()
    }

    #[test]
    fn types_are_kept_and_fields_left_out() {
        let values =
            Some1(vec![("n", json!(7)), ("s", json!("a\"b")), ("none", json!(null)), ("o", json!({"x": 1}))]);
        let tree = Node::Object(
            [
                ("gone", "{none?}"),
                ("n", "{n}"),
                ("ns", "{n:s}"),
                ("mixed", "<{s}-{n}>"),
                ("o", "{o}"),
                ("d", "{none|else}"),
                ("there", "{s?}"),
            ]
            .map(|(k, t)| (k.to_owned(), Node::Text(text(t, &values))))
            .into(),
        );
        let mut out = String::new();
        Json::new(tree).render(&values, &mut out);
        let back: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            back,
            json!({"n": 7, "ns": "7", "mixed": "<a\"b-7>", "o": {"x": 1}, "d": "else", "there": "a\"b"})
        );
    }

    #[test]
    fn an_object_of_nothing_but_absent_fields_is_empty() {
        let values = Some1(vec![("none", json!(""))]);
        let tree = Node::Object(vec![
            ("a".into(), Node::Text(text("{none?}", &values))),
            ("b".into(), Node::Text(text("{none?}", &values))),
        ]);
        let mut out = String::new();
        Json::new(tree).render(&values, &mut out);
        assert_eq!(out, "{}");
    }

    #[test]
    fn braces_that_are_no_variables_are_themselves() {
        let values = Some1(vec![("a", json!("x"))]);
        for (written, is) in
            [(r#"{"eof" : 1}"#, r#"{"eof" : 1}"#), ("{{a}} {a}", "{a} x"), ("{", "{"), ("{}", "{}")]
        {
            assert_eq!(text(written, &values).render(&values).as_deref(), Some(is), "{written}");
        }
        assert!(
            Text::parse("{nope} {a:x}", |n| if n == "a" { Ok(Var::Captured(0)) } else { Err("no".into()) })
                .is_err()
        );
    }
}
