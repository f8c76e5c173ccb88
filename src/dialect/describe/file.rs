//! From the tables of a file to a [`Description`].

use std::borrow::Cow;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::audio::{Header, field};
use super::contradiction::{self, Looked};
use super::message::Names;
use super::read::{Notes, Tab};
use super::rule::{Cond, Dispatch, Is, Pointers, Rule};
use super::scan::Trie;
use super::template::{Message, Name, Text, Var};
use super::{
    Choice, Close, Connect, Description, Hear, Interruption, KeepAlive, ServerPart, Signer, Step, Way, sign,
};
use crate::audio::{AudioFormat, Codec};
use crate::dialect::codec::Envelope;
use crate::dialect::{Capabilities, TextGranularity};
use crate::scenario::units::{nearest, parse_size};
use crate::time::Micros;

const TOP: [&str; 16] = [
    "dialect",
    "values",
    "connect",
    "frames",
    "open",
    "audio",
    "turn",
    "event",
    "correlate",
    "interrupt",
    "keep_alive",
    "close",
    "limits",
    "server",
    "encoding",
    "variant",
];
const OPENING: Micros = Micros::from_secs(10);
const CLOSING: Micros = Micros::from_secs(2);
const SWALLOW: Micros = Micros::from_secs(1);

/// An empty table, where a file has none.
fn section<'t, 'i>(
    notes: &mut Notes<'_>,
    top: &Tab<'t, 'i>,
    path: &'t str,
    keys: &[&str],
    none: &'t DeTable<'i>,
) -> Tab<'t, 'i> {
    let found = top.get(path).and_then(|node| notes.table(node, path, keys));
    found.unwrap_or(Tab { path, table: none })
}

/// Reads a file over which everything that is chosen has been laid. `None` after saying what is wrong.
pub(super) fn read(
    notes: &mut Notes<'_>,
    table: &DeTable<'_>,
    choice: &Choice,
    variants: &[String],
) -> Option<Description> {
    let top = Tab { path: "", table };
    notes.known(&top, &TOP);
    let none = DeTable::new();
    let about = section(
        notes,
        &top,
        "dialect",
        &["name", "about", "docs", "kind", "text", "variant", "envelope"],
        &none,
    );
    let Some((name, name_span)) = notes.text(&about, "name") else {
        if about.get("name").is_none() {
            let span = top.get("dialect").map_or(0..0, |n| n.span());
            notes.push(span, "the dialect has no name", "write `name = \"…\"` under `[dialect]`");
        }
        return None;
    };
    if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        notes.push(name_span, format!("`{name}` cannot name a dialect"), "a word without spaces");
    }
    let stt = notes.word_at(&about, "kind", &[("agent", false), ("stt", true)]).unwrap_or(false);
    let words = [
        ("token", TextGranularity::Token),
        ("sentence", TextGranularity::Sentence),
        ("reply", TextGranularity::Reply),
        ("none", TextGranularity::None),
    ];
    let text = notes.word_at(&about, "text", &words).unwrap_or(TextGranularity::None);
    let envelopes: Vec<_> =
        std::iter::once(("json", None)).chain(Envelope::ALL.map(|e| (e.name(), Some(e)))).collect();
    let envelope = notes.word_at(&about, "envelope", &envelopes).flatten();

    let frames = section(notes, &top, "frames", &["binary", "json", "emit"], &none);
    let kinds = [("text", false), ("binary", true)];
    let binary_json = notes.word_at(&frames, "binary", &[("raw", false), ("json", true)]).unwrap_or(false);
    let device_binary = notes.word_at(&frames, "json", &kinds).unwrap_or(false);
    let emit_binary = notes.word_at(&frames, "emit", &kinds).unwrap_or(false);

    let values = values(notes, &top, choice);
    let captures = super::event::captures(notes, &top);
    let names = Names { values: &values, captures: &captures, binary: device_binary };
    let emits = Names { values: &values, captures: &captures, binary: emit_binary };
    let mut pointers = Pointers { trie: Trie::new(false), captures: captures.clone() };
    let rules = super::event::rules(notes, &top, &mut pointers, &names, &emits);
    let find = |notes: &mut Notes<'_>, tab: &Tab<'_, '_>, key: &str| event_named(notes, tab, key, &rules);

    let connect = connect(notes, &top, &names);
    let (open, sends) = open(notes, &top, &names, &rules);

    let audio = section(notes, &top, "audio", &["names", "up", "down"], &none);
    let codec_names = codec_names(notes, &audio);
    let up_node = audio
        .get("up")
        .and_then(|n| notes.table(n, "audio.up", &["formats", "header", "chunk", "frame", "template"]));
    let up_tab = up_node.unwrap_or(Tab { path: "audio.up", table: &none });
    let down_tab = audio
        .get("down")
        .and_then(|n| notes.table(n, "audio.down", &["formats", "header"]))
        .unwrap_or(Tab { path: "audio.down", table: &none });
    let (up, down) = (way(notes, &up_tab), way(notes, &down_tab));
    let (chunk, frame) = (notes.duration(&up_tab, "chunk"), notes.duration(&up_tab, "frame"));
    let template = notes.messages(&up_tab, "template", &names).into_iter().next();
    if let (Some(t), None) = (&template, envelope)
        && !t.says(Name::Audio)
    {
        let span = up_tab.get("template").map_or(0..0, |n| n.span());
        notes.push(span, "`audio.up.template` carries no audio", "`{audio}` stands where the base64 goes");
    }

    let turn_keys = ["ends", "start", "end", "microphone", "tail_max", "quiet", "whole_reply"];
    let turn = section(notes, &top, "turn", &turn_keys, &none);
    let ends = ends(notes, &turn);
    let turn_start = notes.messages(&turn, "start", &names);
    let turn_end = notes.messages(&turn, "end", &names);
    let open_microphone =
        notes.word_at(&turn, "microphone", &[("turn", false), ("open", true)]).unwrap_or(false);
    let (tail_max, quiet) = (notes.duration(&turn, "tail_max"), notes.duration(&turn, "quiet"));
    let whole_reply = notes.bool(&turn, "whole_reply").unwrap_or(false);

    let correlation = section(notes, &top, "correlate", &["by", "as"], &none);
    let by = notes.strings(&correlation, "by");
    let correlate = by.into_iter().filter_map(|(p, span)| pointer(notes, &p, span, &mut pointers)).collect();
    let by_number = notes.word_at(&correlation, "as", &[("id", false), ("number", true)]).unwrap_or(false);

    let interrupt = section(notes, &top, "interrupt", &["send", "ack", "swallow", "by"], &none);
    let interruption = top.get("interrupt").map(|_| Interruption {
        send: notes.messages(&interrupt, "send", &names),
        ack: find(notes, &interrupt, "ack"),
    });
    let by_turn = notes.word_at(&interrupt, "by", &[("message", false), ("turn", true)]).unwrap_or(false);
    if let (true, Some(node)) = (by_turn && turn_start.is_empty(), interrupt.get("by")) {
        notes.push(node.span(), "no message begins a turn that could interrupt", "`start` under `[turn]`");
    }
    let swallow = notes.duration(&interrupt, "swallow").unwrap_or(SWALLOW);

    let alive = section(notes, &top, "keep_alive", &["send", "every", "answered"], &none);
    let keep_alive = KeepAlive { send: notes.messages(&alive, "send", &names) };
    let keep_alive_every = notes.duration(&alive, "every").filter(|d| *d > Micros::ZERO);
    let keep_alive_answered = notes.bool(&alive, "answered").unwrap_or(true);

    let closing = section(notes, &top, "close", &["send", "expect", "timeout", "code"], &none);
    let timeout = notes.duration(&closing, "timeout").unwrap_or(CLOSING);
    let close = Close {
        send: notes.messages(&closing, "send", &names),
        expect: find(notes, &closing, "expect").map(|rule| (rule, timeout)),
    };
    let close_code = code(notes, &closing).unwrap_or(1000);

    let limits = section(notes, &top, "limits", &["max_message", "chunk", "session"], &none);
    let max_message = size(notes, &limits);
    let chunks = chunks(notes, &limits);
    let session_limit = notes.duration(&limits, "session");
    if let Some(node) = top.get("encoding") {
        notes.table(node, "encoding", &["binary", "base64"]);
    }

    let mut heard = Pointers { trie: Trie::new(true), captures: captures.clone() };
    let (on_connect, vad, hear) = server_table(notes, &top, &mut heard, &names, sends.is_empty());
    let looked = Looked { vad: ends.contains(&true), stt, rules: &rules, open: &open };
    contradiction::check(notes, &top, &looked);
    let says_resume = sends.iter().any(|m: &Message| m.says(Name::Resume));
    let resume = says_resume && rules.iter().any(|r| r.is == Is::Ready && r.session.is_some());
    let both = top.get("encoding").is_some();
    let base64 = template.is_some() && envelope.is_none();
    let capabilities = Capabilities {
        name: Cow::Owned(name),
        text: if stt { TextGranularity::None } else { text },
        formats: Cow::Owned(up.formats.clone()),
        down_formats: Cow::Owned(down.formats.clone()),
        base64: base64 || both,
        binary: !base64 || both,
        interrupt: by_turn || interruption.as_ref().is_some_and(|i| !i.send.is_empty()),
        interrupt_by_turn: by_turn,
        signal: ends.contains(&false),
        vad: ends.contains(&true),
        vad_first: ends.first() == Some(&true),
        resume,
        stt,
        chunk,
        frame,
        chunks,
        quiet,
        open_microphone,
        tail_max,
        swallow,
        whole_reply,
        max_message,
        session_limit,
        keep_alive_every,
        keep_alive_answered,
        close_code,
    };
    let interrupts = interruption.as_ref().map(|i| &i.send[..]).unwrap_or_default();
    let outgoing = sign::Outgoing {
        open: &sends,
        turn_start: &turn_start,
        turn_end: &turn_end,
        interrupt: interrupts,
        audio: template.as_ref(),
        keep_alive: &keep_alive.send,
        close: &close.send,
        replies: &rules,
    };
    let signs = sign::signs(&outgoing, &mut heard.trie);
    let awaited =
        open.iter().filter_map(|step| if let Step::Expect(rule, _) = step { Some(*rule) } else { None });
    let awaited: Vec<u16> = awaited.chain(close.expect.map(|(rule, _)| rule)).collect();
    Some(Description {
        capabilities,
        about: notes.text(&about, "about").map(|(t, _)| t).unwrap_or_default(),
        docs: notes.text(&about, "docs").map(|(t, _)| t),
        variants: variants.to_vec(),
        envelope,
        connect,
        binary_json,
        emit_binary,
        open,
        up,
        down,
        template,
        names: codec_names,
        turn_start,
        turn_end,
        dispatch: Dispatch::new(&rules, &awaited),
        rules,
        pointers,
        values: values.clone(),
        correlate,
        by_number,
        interruption,
        keep_alive,
        close,
        server: ServerPart { on_connect, vad, hear, pointers: heard, signs },
    })
}

/// A JSON pointer.
pub(super) fn pointer(
    notes: &mut Notes<'_>,
    text: &str,
    span: std::ops::Range<usize>,
    pointers: &mut Pointers,
) -> Option<u16> {
    if text.starts_with('/') {
        return Some(pointers.trie.slot(text));
    }
    notes.push(span, format!("`{text}` is no JSON pointer"), format!("it begins with a slash: `/{text}`"));
    None
}

/// The rule of an event that is named.
fn event_named(notes: &mut Notes<'_>, tab: &Tab<'_, '_>, key: &str, rules: &[Rule]) -> Option<u16> {
    let (name, span) = notes.text(tab, key)?;
    let found = rules.iter().position(|r| *r.name == *name);
    if found.is_none() {
        let names = rules.iter().map(|r| &*r.name);
        let help = match nearest(&name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        notes.push(span, format!("there is no event `{name}`"), help);
    }
    found.map(|n| n as u16)
}

/// The variables of `[values]`, as the scenario has them.
fn values(notes: &mut Notes<'_>, top: &Tab<'_, '_>, choice: &Choice) -> Vec<(String, Var)> {
    let table = match top.get("values").map(|n| (n, n.get_ref())) {
        Some((_, DeValue::Table(table))) => Some(table),
        Some((node, _)) => {
            notes.wrong(node, "values", "it is a table");
            None
        }
        None => None,
    };
    let own = table.map(|table| Tab { path: "values", table }.entries()).unwrap_or_default();
    let mut all = Vec::new();
    for (name, span, node) in own {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            || Name::ALL.iter().any(|(n, _)| *n == name)
        {
            notes.push(
                span,
                format!("`{name}` cannot name a value"),
                "letters, digits and `_`, and no name of another variable",
            );
        }
        let Some(value) = notes.scalar(node, node.get_ref(), &format!("values.{name}")) else { continue };
        let given = choice.values.iter().find(|(n, _)| *n == name).map(|(_, v)| v.reveal());
        let var = match given {
            None => Var::Fixed(value),
            Some(text) => of_the_scenario(text, &value),
        };
        all.push((name, var));
    }
    // Values that the file has no default for are variables as well.
    for (name, value) in &choice.values {
        if all.iter().all(|(n, _)| n != name) {
            all.push((name.clone(), of_the_scenario(value.reveal(), &Value::String(String::new()))));
        }
    }
    all
}

/// A value of the scenario, of the type that the file's default has.
fn of_the_scenario(text: &str, default: &Value) -> Var {
    if text.contains('{') {
        return Var::PerDevice(text.into());
    }
    let typed = match default {
        Value::Number(_) => {
            text.parse::<i64>().ok().map(Value::from).or_else(|| text.parse::<f64>().ok().map(Value::from))
        }
        Value::Bool(_) => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    Var::Fixed(typed.unwrap_or_else(|| Value::String(text.to_owned())))
}

fn connect(notes: &mut Notes<'_>, top: &Tab<'_, '_>, names: &Names<'_>) -> Connect {
    let Some(tab) = top
        .get("connect")
        .and_then(|n| notes.table(n, "connect", &["path", "query", "headers", "subprotocols", "sign"]))
    else {
        return Connect::default();
    };
    let mut pairs = |key: &'static str| {
        let Some(node) = tab.get(key) else { return Vec::new() };
        let DeValue::Table(table) = node.get_ref() else {
            notes.wrong(node, &format!("connect.{key}"), "it is a table of texts");
            return Vec::new();
        };
        let entries = Tab { path: key, table }.entries();
        let mut pairs = Vec::new();
        for (name, span, value) in entries {
            use tokio_tungstenite::tungstenite::http::HeaderName;
            if key == "headers" && HeaderName::try_from(name.as_str()).is_err() {
                let help = "letters, digits and `-`, for example `X-Device`";
                notes.push(span, format!("`{name}` is not the name of an HTTP header"), help);
            }
            let text = match value.get_ref() {
                DeValue::String(s) => notes.template(s, value.span(), names),
                other => match notes.scalar(value, other, &format!("connect.{key}")) {
                    Some(v) => notes.template(&v.to_string(), value.span(), names),
                    None => continue,
                },
            };
            pairs.push((name, text));
        }
        pairs
    };
    let (query, headers) = (pairs("query"), pairs("headers"));
    let subprotocols = notes.strings(&tab, "subprotocols");
    let subprotocols: Vec<Text> =
        subprotocols.into_iter().map(|(t, span)| notes.template(&t, span, names)).collect();
    let path = notes.text(&tab, "path").map(|(t, span)| {
        if !t.starts_with('/') {
            notes.push(
                span.clone(),
                format!("the path `{t}` does not begin with `/`"),
                "for example `/v1/talk`",
            );
        }
        notes.template(&t, span, names)
    });
    let texts = query.iter().chain(&headers).map(|(_, text)| text).chain(&path).chain(&subprotocols);
    let span = top.get("connect").map_or(0..0, |n| n.span());
    contradiction::in_the_upgrade(notes, texts, span);
    let sign = notes.word_at(&tab, "sign", &[("aws-sigv4", Signer::AwsSigv4), ("twilio", Signer::Twilio)]);
    Connect { path, query, headers, subprotocols, sign }
}

/// The steps of the opening, and the messages that the device sends in it.
fn open(
    notes: &mut Notes<'_>,
    top: &Tab<'_, '_>,
    names: &Names<'_>,
    rules: &[Rule],
) -> (Vec<Step>, Vec<Message>) {
    let (mut steps, mut sends, mut limit) = (Vec::new(), Vec::new(), Micros::ZERO);
    let Some(node) = top.get("open") else { return (steps, sends) };
    let DeValue::Array(items) = node.get_ref() else {
        notes.wrong(node, "open", "write `[[open]]` for each step");
        return (steps, sends);
    };
    for item in items.iter() {
        let Some(tab) = notes.table(item, "open", &["send", "counted", "expect", "timeout"]) else {
            continue;
        };
        let counted = notes.bool(&tab, "counted").unwrap_or(true);
        for message in notes.messages(&tab, "send", names) {
            sends.push(message.clone());
            steps.push(Step::Send { message, counted });
        }
        if let Some(rule) = event_named(notes, &tab, "expect", rules) {
            limit += notes.duration(&tab, "timeout").unwrap_or(OPENING);
            steps.push(Step::Expect(rule, limit));
        }
        if tab.get("send").is_none() && tab.get("expect").is_none() {
            notes.push(item.span(), "a step that does nothing", "a step has `send` or `expect`");
        }
    }
    (steps, sends)
}

fn codec_names(notes: &mut Notes<'_>, audio: &Tab<'_, '_>) -> Vec<(Codec, String)> {
    let keys = ["opus", "pcm16", "mulaw", "alaw"];
    let Some(tab) = audio.get("names").and_then(|n| notes.table(n, "audio.names", &keys)) else {
        return Vec::new();
    };
    keys.iter().filter_map(|k| Some((Codec::from_name(k)?, notes.text(&tab, k)?.0))).collect()
}

fn way(notes: &mut Notes<'_>, tab: &Tab<'_, '_>) -> Way {
    let mut formats = Vec::new();
    for (text, span) in notes.strings(tab, "formats") {
        match AudioFormat::parse(&text) {
            Some(f) => formats.push(f),
            None => notes.push(span, format!("`{text}` is not an audio format"), AudioFormat::WRITTEN),
        }
    }
    let mut header = Header::default();
    for (text, span) in notes.strings(tab, "header") {
        match field(&text) {
            Ok(f) => header.push(f),
            Err(help) => notes.push(span, format!("`{text}` is not a field of a header"), help),
        }
    }
    Way { formats, header }
}

fn ends(notes: &mut Notes<'_>, turn: &Tab<'_, '_>) -> Vec<bool> {
    let Some(node) = turn.get("ends") else { return vec![false] };
    let words = [("signal", false), ("vad", true)];
    let items = notes.each(node);
    let ends: Vec<bool> = items.into_iter().filter_map(|n| notes.word(n, "turn.ends", &words)).collect();
    if ends.is_empty() { vec![false] } else { ends }
}

fn code(notes: &mut Notes<'_>, tab: &Tab<'_, '_>) -> Option<u16> {
    let node = tab.get("code")?;
    let found = match node.get_ref() {
        DeValue::Integer(n) => n.as_str().parse::<u16>().ok(),
        _ => None,
    };
    let found = found.filter(|n| matches!(n, 1000 | 1001 | 3000..=4999));
    if found.is_none() {
        notes.push(node.span(), "not a close code that a client may send", "1000, 1001, or 3000 to 4999");
    }
    found
}

fn size(notes: &mut Notes<'_>, tab: &Tab<'_, '_>) -> Option<u32> {
    let node = tab.get("max_message")?;
    let text = match node.get_ref() {
        DeValue::Integer(n) => n.as_str().to_owned(),
        _ => notes.string(node, "limits.max_message")?,
    };
    match parse_size(&text) {
        Ok(n) => Some(n),
        Err(e) => {
            notes.push(
                node.span(),
                format!("`limits.max_message`: {}", e.message),
                e.help.unwrap_or_default(),
            );
            None
        }
    }
}

fn chunks(notes: &mut Notes<'_>, tab: &Tab<'_, '_>) -> Option<(Micros, Micros)> {
    let node = tab.get("chunk")?;
    let items = notes.each(node);
    let times: Vec<Micros> = items.into_iter().filter_map(|n| notes.duration_of(n, "limits.chunk")).collect();
    match times[..] {
        [least, most] if least <= most => Some((least, most)),
        _ => {
            notes.push(
                node.span(),
                "`limits.chunk` is not a range",
                "the shortest and the longest: `[\"20ms\", \"120ms\"]`",
            );
            None
        }
    }
}

fn server_table(
    notes: &mut Notes<'_>,
    top: &Tab<'_, '_>,
    heard: &mut Pointers,
    names: &Names<'_>,
    silent: bool,
) -> (bool, Option<Cond>, Hear) {
    let mut hear = Hear::default();
    let Some(tab) = top.get("server").and_then(|n| notes.table(n, "server", &["open", "vad", "hear"])) else {
        return (silent, None, hear);
    };
    let on_connect = notes.word_at(&tab, "open", &[("message", false), ("connect", true)]).unwrap_or(silent);
    let vad = tab.get("vad").map(|n| match n.get_ref() {
        // Whatever devices say.
        DeValue::Boolean(true) => Cond::ALWAYS,
        _ => notes.cond(n, "server.vad", heard, names),
    });
    let keys = ["turn_start", "turn_end", "interrupt", "ping", "close", "ignore"];
    if let Some(tab) = tab.get("hear").and_then(|n| notes.table(n, "server.hear", &keys)) {
        let mut conds = |key: &str| {
            tab.get(key)
                .map(|n| notes.conds(n, &format!("server.hear.{key}"), heard, names))
                .unwrap_or_default()
        };
        hear = Hear {
            turn_start: conds("turn_start"),
            turn_end: conds("turn_end"),
            interrupt: conds("interrupt"),
            ping: conds("ping"),
            close: conds("close"),
            ignore: conds("ignore"),
        };
    }
    (on_connect, vad, hear)
}
