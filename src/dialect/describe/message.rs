//! Messages and conditions as files write them.

use serde_json::Value;
use toml::de::DeValue;

use super::read::{Node, Notes, Tab};
use super::rule::{Bound, Cond, Kind, Pointers, Scalar, Test, TextTest};
use super::template::{Json, Message, Name, Node as Tree, Text, Var};
use crate::scenario::units::nearest;

/// What names mean while a file is read.
pub(super) struct Names<'a> {
    pub(super) values: &'a [(String, Var)],
    pub(super) captures: &'a [String],
    /// What stands in frames: `frames.json`, of the device or of the server.
    pub(super) binary: bool,
}

impl Names<'_> {
    /// What a variable is.
    pub(super) fn find(&self, name: &str) -> Result<Var, String> {
        if let Some((_, var)) = self.values.iter().find(|(n, _)| n == name) {
            return Ok(var.clone());
        }
        if let Some(n) = self.captures.iter().position(|c| c == name) {
            return Ok(Var::Captured(n as u16));
        }
        if let Some((_, known)) = Name::ALL.iter().find(|(n, _)| *n == name) {
            return Ok(Var::Named(*known));
        }
        let all = self.values.iter().map(|(n, _)| n.as_str()).chain(self.captures.iter().map(String::as_str));
        let all = all.chain(Name::ALL.iter().map(|(n, _)| *n));
        Err(match nearest(name, all) {
            Some(near) => format!("there is no variable `{name}`: did you mean `{{{near}}}`?"),
            None => format!("there is no variable `{name}`"),
        })
    }
}

const MESSAGE_HELP: &str = "a message is a table (JSON), a text, `{ \"$binary\" = \"…\" }`, `{ \"$hex\" = \"…\" }`, or a list of these";
const VARIABLE_HELP: &str = "variables are those of docs/dialect-format.md, the keys of `[values]`, and what events capture; `{{` is a brace";

impl Notes<'_> {
    pub(super) fn template(&mut self, text: &str, span: std::ops::Range<usize>, names: &Names<'_>) -> Text {
        match Text::parse(text, |name| names.find(name)) {
            Ok(text) => text,
            Err(errors) => {
                for (_, why) in errors {
                    self.push(span.clone(), why, VARIABLE_HELP);
                }
                Text::default()
            }
        }
    }

    /// The messages of a key: none, one, or a list.
    pub(super) fn messages(&mut self, tab: &Tab<'_, '_>, key: &str, names: &Names<'_>) -> Vec<Message> {
        let Some(node) = tab.get(key) else { return Vec::new() };
        let path = format!("{}.{key}", tab.path);
        self.each(node).into_iter().filter_map(|n| self.message(n, &path, names)).collect()
    }

    fn message(&mut self, node: &Node<'_>, path: &str, names: &Names<'_>) -> Option<Message> {
        match node.get_ref() {
            DeValue::String(s) => Some(Message::Text(self.template(s, node.span(), names))),
            DeValue::Table(table) => {
                let tab = Tab { path, table };
                for (key, hex) in [("$binary", false), ("$hex", true)] {
                    if let Some(inner) = tab.get(key) {
                        self.known(&tab, &[key]);
                        let text = self.string(inner, path)?;
                        let bytes = if hex { unhex(&text) } else { Some(text.into_bytes()) };
                        if bytes.is_none() {
                            self.push(inner.span(), "not hexadecimal", "pairs of digits, such as `\"00ff\"`");
                        }
                        return bytes.map(|b| Message::Binary(b.into()));
                    }
                }
                let tree = self.tree(node, path, names);
                Some(Message::Json { json: Json::new(tree), binary: names.binary })
            }
            _ => {
                self.wrong(node, path, MESSAGE_HELP);
                None
            }
        }
    }

    fn tree(&mut self, node: &Node<'_>, path: &str, names: &Names<'_>) -> Tree {
        match node.get_ref() {
            DeValue::Table(table) => {
                let tab = Tab { path, table };
                if tab.get("$null").is_some() {
                    self.known(&tab, &["$null"]);
                    return Tree::Fixed(Value::Null);
                }
                let fields = tab.entries().into_iter().map(|(k, _, n)| (k, self.tree(n, path, names)));
                Tree::Object(fields.collect())
            }
            DeValue::Array(items) => Tree::Array(items.iter().map(|n| self.tree(n, path, names)).collect()),
            DeValue::String(s) => {
                let text = self.template(s, node.span(), names);
                match (text.alone().map(|h| (&h.var, h.optional)), text.fixed()) {
                    (Some((Var::Fixed(Value::String(s)), true)), _) if s.is_empty() => Tree::Text(text),
                    (Some((Var::Fixed(_), _)), _) | (None, None) => Tree::Text(text),
                    (None, Some(fixed)) => Tree::Fixed(Value::String(fixed)),
                    _ => Tree::Text(text),
                }
            }
            other => Tree::Fixed(self.scalar(node, other, path).unwrap_or_default()),
        }
    }

    /// A number, text or boolean as JSON.
    pub(super) fn scalar(&mut self, node: &Node<'_>, value: &DeValue<'_>, path: &str) -> Option<Value> {
        let found = match value {
            DeValue::String(s) => Some(Value::String(s.to_string())),
            DeValue::Boolean(b) => Some(Value::Bool(*b)),
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(Value::from),
            DeValue::Float(x) => x.as_str().parse::<f64>().ok().map(Value::from),
            _ => None,
        };
        if found.is_none() {
            self.wrong(node, path, "expected a text, a number, `true` or `false`");
        }
        found
    }

    /// A condition.
    pub(super) fn cond(
        &mut self,
        node: &Node<'_>,
        path: &str,
        pointers: &mut Pointers,
        names: &Names<'_>,
    ) -> Cond {
        let DeValue::Table(table) = node.get_ref() else {
            self.wrong(node, path, "a condition is a table: `{ \"/type\" = \"hello\" }`");
            return Cond::Any(Vec::new());
        };
        let mut all = Vec::new();
        for (key, span, value) in (Tab { path, table }).entries() {
            match key.as_str() {
                "frame" => {
                    let kinds = [("text", Kind::Text), ("binary", Kind::Binary), ("payload", Kind::Payload)];
                    all.extend(self.word(value, &format!("{path}.frame"), &kinds).map(Cond::Frame));
                }
                "text" => all.extend(self.text_test(value, path).map(Cond::Text)),
                "any" => all.push(Cond::Any(self.conds(value, path, pointers, names))),
                "all" => all.push(Cond::All(self.conds(value, path, pointers, names))),
                "none" => all.push(Cond::None(self.conds(value, path, pointers, names))),
                pointer if pointer.starts_with('/') => {
                    let slot = pointers.trie.slot(pointer);
                    all.extend(self.test(value, path, pointers, names).map(|t| Cond::At(slot, t)));
                }
                other => {
                    let help = match nearest(other, ["frame", "text", "any", "all", "none"]) {
                        Some(near) => format!("did you mean `{near}`? JSON pointers begin with `/`"),
                        None => format!(
                            "did you mean `\"/{other}\"`? JSON pointers begin with `/`; else there are frame, text, any, all, none"
                        ),
                    };
                    self.push(span, format!("`{other}` is no condition"), help);
                }
            }
        }
        if table.is_empty() {
            self.push(
                node.span(),
                "a condition without a test holds for every frame",
                "write `{ frame = \"text\" }` if that is meant",
            );
        }
        if all.len() == 1 { all.remove(0) } else { Cond::All(all) }
    }

    pub(super) fn conds(
        &mut self,
        node: &Node<'_>,
        path: &str,
        pointers: &mut Pointers,
        names: &Names<'_>,
    ) -> Vec<Cond> {
        self.each(node).into_iter().map(|n| self.cond(n, path, pointers, names)).collect()
    }

    fn text_test(&mut self, node: &Node<'_>, path: &str) -> Option<TextTest> {
        match node.get_ref() {
            DeValue::String(s) => Some(TextTest::Is(s.as_ref().into())),
            DeValue::Table(table) => {
                let tab = Tab { path, table };
                self.known(&tab, &["prefix", "nonempty"]);
                match (self.text(&tab, "prefix"), self.bool(&tab, "nonempty")) {
                    (Some((p, _)), None) => Some(TextTest::Prefix(p.into())),
                    (None, Some(true)) => Some(TextTest::NonEmpty),
                    _ => {
                        self.push(
                            node.span(),
                            "one test of the text",
                            "`{ prefix = \"…\" }` or `{ nonempty = true }`",
                        );
                        None
                    }
                }
            }
            _ => {
                self.wrong(node, path, "expected a text, `{ prefix = \"…\" }` or `{ nonempty = true }`");
                None
            }
        }
    }

    fn scalars(&mut self, node: &Node<'_>, path: &str, names: &Names<'_>) -> Vec<Scalar> {
        let items = self.each(node);
        items
            .into_iter()
            .filter_map(|n| {
                let value = match self.scalar(n, n.get_ref(), path)? {
                    Value::String(s) => {
                        let text = self.template(&s, n.span(), names);
                        match text.alone().map(|h| &h.var) {
                            Some(Var::Fixed(value)) => value.clone(),
                            _ => Value::String(text.fixed().or_else(|| {
                                self.push(
                                    n.span(),
                                    "only `[values]` may stand in a condition",
                                    "`{ captured = \"name\" }` compares with a capture",
                                );
                                None
                            })?),
                        }
                    }
                    other => other,
                };
                Scalar::of(&value)
            })
            .collect()
    }

    fn test(&mut self, node: &Node<'_>, path: &str, pointers: &Pointers, names: &Names<'_>) -> Option<Test> {
        let DeValue::Table(table) = node.get_ref() else {
            return Some(Test::In(self.scalars(node, path, names)));
        };
        let tab = Tab { path, table };
        const TESTS: [&str; 7] = ["exists", "nonempty", "prefix", "not", "captured", "at_most", "at_least"];
        self.known(&tab, &TESTS);
        let captured = |notes: &mut Self, n: &Node<'_>| {
            let name = notes.string(n, path)?;
            let found = pointers.capture(&name);
            if found.is_none() {
                let help = nearest(&name, pointers.captures.iter().map(String::as_str)).map_or_else(
                    || "an event captures it: `capture = { name = \"/pointer\" }`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                notes.push(n.span(), format!("nothing captures `{name}`"), help);
            }
            found
        };
        let mut tests = Vec::new();
        for (key, _, value) in tab.entries() {
            tests.extend(match key.as_str() {
                "exists" => self.bool(&tab, &key).map(Test::Exists),
                "nonempty" => self.bool(&tab, &key).map(Test::NonEmpty),
                "prefix" => self.text(&tab, &key).map(|(t, _)| Test::Prefix(t.into())),
                "not" => Some(Test::Not(self.scalars(value, path, names))),
                "captured" => captured(self, value).map(Test::Captured),
                "at_most" | "at_least" => {
                    let bound = match value.get_ref() {
                        DeValue::String(_) => captured(self, value).map(Bound::Captured),
                        number => self.scalar(value, number, path).and_then(|v| v.as_f64()).map(Bound::Num),
                    };
                    bound.map(if key == "at_most" { Test::AtMost } else { Test::AtLeast })
                }
                _ => None,
            });
        }
        if tests.len() != 1 && tab.entries().len() != 1 {
            self.push(node.span(), "one test of the value", format!("one of {}", TESTS.join(", ")));
        }
        tests.pop()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}
