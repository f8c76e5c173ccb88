//! What a kind of message probably means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::kinds::{Example, Kind};
use super::{Heard, Speech};

/// A text that is base64, and at least so long, is audio.
const AUDIO: usize = 120;
/// How deep texts are looked for.
const DEPTH: usize = 5;

const ERRORS: &[&str] = &["error", "err", "exception", "failed", "failure", "warning"];
const READY: &[&str] = &[
    "ready",
    "welcome",
    "hello",
    "hi",
    "connected",
    "connect",
    "session",
    "started",
    "created",
    "open",
    "ack",
    "ok",
    "config",
    "configured",
    "begin",
    "setup",
    "init",
    "metadata",
    "accepted",
];
const PARTIAL: &[&str] = &["partial", "interim", "hypothesis", "intermediate"];
const USER: &[&str] = &[
    "transcript",
    "transcription",
    "stt",
    "asr",
    "heard",
    "said",
    "recognized",
    "recognised",
    "recognition",
    "utterance",
    "user",
    "final",
    "question",
    "you",
];
const BOT: &[&str] = &[
    "token",
    "delta",
    "llm",
    "word",
    "words",
    "chunk",
    "say",
    "says",
    "sentence",
    "reply",
    "response",
    "answer",
    "agent",
    "assistant",
    "bot",
    "speak",
    "tts",
    "piece",
    "output",
    "completion",
];
const DONE: &[&str] = &[
    "done",
    "end",
    "ended",
    "finish",
    "finished",
    "complete",
    "completed",
    "over",
    "stop",
    "stopped",
    "eos",
    "eot",
    "idle",
];
/// Names of fields with what was said, the surest first.
const TEXTS: &[&str] = &[
    "text",
    "transcript",
    "delta",
    "token",
    "sentence",
    "partial",
    "content",
    "words",
    "word",
    "reply",
    "response",
    "answer",
    "message",
    "reason",
    "error",
    "detail",
    "data",
];
/// So many of them hold nothing else.
const SURE: usize = 6;
/// Names of fields with texts that nobody said.
const NAMES: &[&str] =
    &["id", "lang", "language", "model", "role", "voice", "codec", "format", "status", "state"];

/// What a kind is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// A value of `is`.
    pub is: &'static str,
    /// The pointer to its text.
    pub text: Option<String>,
    /// The pointer to its audio.
    pub audio: Option<String>,
    /// Why, for people.
    pub why: String,
}

/// What a kind looks like.
struct Look {
    /// The words in what it is told apart by, in small letters.
    words: Vec<String>,
    text: Option<String>,
    audio: Option<String>,
    /// A flag that says whether a transcript is final.
    fixed: Option<bool>,
    times: usize,
    before: bool,
    after: bool,
    first: usize,
    last: usize,
    binary: bool,
}

/// One guess for each kind, in their order.
pub fn guesses(kinds: &[Kind], heard: &[Heard], speech: &[Speech]) -> Vec<Guess> {
    let looks: Vec<Look> = kinds.iter().map(|k| look(k, heard, speech)).collect();
    let turns = speech.len().max(1);
    let sound = |l: &Look| l.audio.is_some() || l.binary;
    let audio = |at: fn(&Look) -> usize| looks.iter().filter(move |l| sound(l)).map(at);
    let (first_sound, last_sound) = (audio(|l| l.first).min(), audio(|l| l.last).max());
    let mut guesses: Vec<Guess> = looks.iter().map(|l| by_words(l, turns)).collect();

    // A word said by nobody else: what comes after the speech and before the sound is what was understood, then the answer.
    let mut known = guesses.iter().any(|g| g.is == "final");
    for (l, g) in
        looks.iter().zip(&mut guesses).filter(|(l, g)| g.is == "ignore" && l.after && l.text.is_some())
    {
        if !known && l.times <= turns && first_sound.is_none_or(|s| l.first < s) {
            (g.is, g.why) = ("final", "the first text after the speech".to_owned());
            known = true;
        } else if first_sound.is_some() {
            (g.is, g.why) = ("token", "a text of the reply".to_owned());
        }
        g.text.clone_from(&l.text);
    }
    // A reply ends once: the last message after its sound, best one that says so.
    let ends = |g: &Guess, l: &Look| g.is == "done" || (g.is == "ignore" && l.text.is_none());
    let after_sound = |l: &Look| l.after && last_sound.is_some_and(|s| l.last > s);
    let end = (0..guesses.len())
        .filter(|n| ends(&guesses[*n], &looks[*n]) && (after_sound(&looks[*n]) || last_sound.is_none()))
        .filter(|n| guesses[*n].is == "done" || looks[*n].times <= turns)
        .max_by_key(|n| (guesses[*n].is == "done", looks[*n].last));
    for (n, g) in guesses.iter_mut().enumerate() {
        if Some(n) == end {
            if g.is != "done" {
                let after = if last_sound.is_some() { "sound" } else { "speech" };
                (g.is, g.why) = ("done", format!("the last message after the {after}"));
            }
        } else if g.is == "done" {
            (g.is, g.why) = ("ignore", "the reply ends with another message".to_owned());
        }
    }
    // One message opens a session.
    let mut opened = false;
    for g in guesses.iter_mut().filter(|g| g.is == "ready") {
        if std::mem::replace(&mut opened, true) {
            (g.is, g.why) = ("ignore", "the session is open already".to_owned());
        }
    }
    guesses
}

/// What its words and fields say.
fn by_words(l: &Look, turns: usize) -> Guess {
    let has = |list: &[&str]| l.words.iter().find(|w| list.contains(&w.as_str()));
    let said = |is, word: Option<&String>| Guess {
        is,
        text: l.text.clone(),
        audio: None,
        why: word.map_or_else(String::new, |w| format!("it says `{w}`")),
    };
    if let Some(pointer) = &l.audio {
        let why = format!("base64 at `{pointer}`");
        return Guess { is: "audio", text: None, audio: Some(pointer.clone()), why };
    }
    if l.binary {
        return Guess { is: "audio", text: None, audio: None, why: "binary frames".to_owned() };
    }
    let one = |word: &str| l.words.iter().find(|w| *w == word);
    if let Some(word) = has(ERRORS) {
        return said("error", Some(word));
    }
    if let Some(word) = one("ping") {
        return said("ignore", Some(word));
    }
    if let Some(word) = one("pong") {
        return said("pong", Some(word));
    }
    let heard = has(&["speech", "vad", "user", "listening", "voice"]).is_some() && l.text.is_none();
    if heard && let Some(word) = has(&["start", "started", "begin", "detected"]) {
        return said("speech_started", Some(word));
    }
    if heard && let Some(word) = has(&["stop", "stopped", "end", "ended"]) {
        return said("speech_stopped", Some(word));
    }
    if l.before && !l.after && (l.first == 0 || has(READY).is_some()) {
        let why = has(READY).map_or_else(|| "it came first".to_owned(), |w| format!("it says `{w}`"));
        return Guess { why, ..said("ready", None) };
    }
    if l.text.is_some() {
        let partial = has(PARTIAL);
        if partial.is_some() || (l.fixed == Some(false) && has(BOT).is_none()) {
            return said("partial", partial);
        }
        if let Some(word) = has(USER) {
            return said(if l.times > turns { "partial" } else { "final" }, Some(word));
        }
        if let Some(word) = has(BOT) {
            return said("token", Some(word));
        }
        if l.fixed == Some(true) {
            return said("final", None);
        }
    } else if let Some(word) = has(DONE).filter(|_| l.after) {
        return said("done", Some(word));
    }
    Guess { why: String::new(), ..said("ignore", None) }
}

fn look(kind: &Kind, heard: &[Heard], speech: &[Speech]) -> Look {
    let at = |n: &usize| heard.get(*n).map(|h| h.at);
    let begins = speech.iter().map(|s| s.from).min();
    let ends = speech.iter().map(|s| s.to).min();
    let times: Vec<_> = kind.at.iter().filter_map(at).collect();
    let mut words = Vec::new();
    for (pointer, value) in &kind.marks {
        match value {
            Value::String(text) => words.extend(in_words(text)),
            // `{"final": false}` is no final transcript.
            Value::Bool(true) => words.extend(in_words(pointer)),
            _ => {}
        }
    }
    let mut look = Look {
        words,
        text: None,
        audio: None,
        fixed: None,
        times: kind.at.len(),
        before: begins.is_none_or(|b| times.iter().any(|t| *t < b)),
        after: ends.is_some_and(|e| times.iter().any(|t| *t >= e)),
        first: kind.at.first().copied().unwrap_or_default(),
        last: kind.at.last().copied().unwrap_or_default(),
        binary: matches!(kind.example, Example::Binary(_)),
    };
    match &kind.example {
        Example::Json(value) => {
            if !kind.marks.iter().any(|(_, v)| !v.is_boolean()) {
                let fields = value.as_object().into_iter().flatten();
                let said = fields.filter(|(_, v)| !v.is_boolean()).flat_map(|(name, _)| in_words(name));
                look.words.extend(said);
            }
            let mut texts = Vec::new();
            collect(value, String::new(), DEPTH, &mut texts);
            let marked = |p: &str| kind.marks.iter().any(|(m, _)| m == p);
            look.audio = texts.iter().find(|(_, t)| is_audio(t)).map(|(p, _)| p.clone());
            // A text may be empty in the example, and the words of others.
            look.text = texts
                .iter()
                .filter(|(p, t)| !marked(p) && !is_audio(t))
                .filter_map(|(p, t)| Some((rank(p, t)?, p)))
                .min()
                .map(|(_, p)| p.clone());
            let last = |p: &str| p.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            look.fixed = value
                .as_object()
                .into_iter()
                .flatten()
                .find(|(name, v)| v.is_boolean() && last(name).contains("final"))
                .and_then(|(_, v)| v.as_bool());
        }
        Example::Text(_) if kind.marks.is_empty() => look.text = Some("frame".to_owned()),
        Example::Text(_) | Example::Binary(_) => {}
    }
    look
}

/// The words of a name: `TranscriptFinal`, `transcript.final` and `TRANSCRIPT_FINAL` have the same two.
fn in_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && small) {
            words.push(String::new());
        }
        small = c.is_ascii_lowercase();
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// The texts in a message with their pointers.
fn collect(value: &Value, at: String, depth: usize, out: &mut Vec<(String, String)>) {
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::String(text) => out.push((at, text.clone())),
        Value::Object(fields) if depth > 0 => {
            fields.iter().for_each(|(name, v)| collect(v, below(name), depth - 1, out));
        }
        // Its first element stands for all.
        Value::Array(items) if depth > 0 => {
            items.iter().take(1).for_each(|v| collect(v, below("*"), depth - 1, out));
        }
        _ => {}
    }
}

fn is_audio(text: &str) -> bool {
    text.len() >= AUDIO && BASE64.decode(text).is_ok()
}

/// How likely the text is what somebody said; `None`: not at all.
fn rank(pointer: &str, text: &str) -> Option<(usize, usize)> {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let words = in_words(name);
    let depth = pointer.matches('/').count();
    let rank = TEXTS.iter().position(|t| words.iter().any(|w| w == t)).unwrap_or(TEXTS.len());
    // `"reply": "r-17"` is a name, `"text": "17"` is not.
    let named = words.iter().any(|w| NAMES.contains(&w.as_str())) || (rank >= SURE && is_id(text));
    (!named).then_some((rank, depth))
}

/// A name that a machine has made up.
fn is_id(text: &str) -> bool {
    !text.contains(' ') && text.chars().any(|c| c.is_ascii_digit())
}
