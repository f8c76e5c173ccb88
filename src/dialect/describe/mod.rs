//! Dialects that are described in TOML (`docs/dialect-format.md`), read once and interpreted by both sides.
//!
//! ```text
//! text ─ overlay: variant, mode, encoding ─▶ file, event, message: Description ─┬─▶ device: frames ◀─▶ meanings
//!                                                                               └─▶ server: answers ─▶ frames ─▶ requests
//! ```
//!
//! What happens for every message is short: `scan` reads the wanted values out of the JSON in one pass, `rule::Dispatch`
//! looks up the rules that can hold, and messages are made by copying their constant parts (`template`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec::Envelope;
use super::{Capabilities, Encoding, Handshake, SessionSetup};
use crate::audio::{AudioFormat, Codec};
use crate::scenario::{Diagnostics, Secret};
use crate::time::Micros;

mod audio;
mod context;
mod contradiction;
mod correlate;
mod device;
mod event;
mod file;
mod message;
mod overlay;
mod read;
mod rule;
mod scan;
mod server;
mod sign;
mod signed;
pub mod tally;
mod template;

use self::audio::Header;
use self::rule::{Cond, Dispatch, Pointers, Rule};
use self::template::{Message, Name, Part, Text, Var};

pub use self::device::{Device, prepare};
pub use self::server::Server;
pub use self::signed::Signer;
use self::tally::Tally;

/// The descriptions that the binary carries: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("xiaozhi", include_str!("../builtin/xiaozhi.toml")),
    ("openai-realtime", include_str!("../builtin/openai-realtime.toml")),
    ("deepgram-listen", include_str!("../builtin/deepgram-listen.toml")),
    ("deepgram-agent", include_str!("../builtin/deepgram-agent.toml")),
    ("assemblyai", include_str!("../builtin/assemblyai.toml")),
    ("elevenlabs", include_str!("../builtin/elevenlabs.toml")),
    ("gemini-live", include_str!("../builtin/gemini-live.toml")),
    ("twilio-media", include_str!("../builtin/twilio-media.toml")),
    ("vosk", include_str!("../builtin/vosk.toml")),
    ("pipecat", include_str!("../builtin/pipecat.toml")),
    ("moshi", include_str!("../builtin/moshi.toml")),
    ("unmute", include_str!("../builtin/unmute.toml")),
    ("amazon-transcribe", include_str!("../builtin/amazon-transcribe.toml")),
];

/// The native `envelope`, described: for comparison with the one in Rust.
pub const ENVELOPE: &str = include_str!("../builtin/envelope.toml");

/// What of a description is used: chosen by the scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// `target.variant`; `None`: the file's own.
    pub variant: Option<String>,
    /// True when the server is to find the end of speech.
    pub vad: bool,
    /// How audio travels; `None`: as the file has it.
    pub encoding: Option<Encoding>,
    /// Values in place of those of the file.
    pub values: Vec<(String, Secret)>,
    /// Audio that the reference server takes for agreed when the device does not say: from the device, and back.
    pub formats: Option<(AudioFormat, AudioFormat)>,
}

/// A description: where it comes from, and what it says.
#[derive(Debug)]
pub struct Described {
    /// Its file, or the name of a built-in one.
    pub origin: String,
    /// The TOML.
    pub text: String,
    /// What of it is used.
    pub choice: Choice,
    description: Description,
    /// What its rules have seen, over all devices of a run.
    pub tally: Arc<Tally>,
}

impl Described {
    /// Reads a description. Errors are everything that is wrong, in all of its variants.
    pub fn load(origin: &str, text: &str, choice: Choice) -> Result<Self, Diagnostics> {
        Self::read(origin, text, choice, true)
    }

    fn read(origin: &str, text: &str, choice: Choice, all: bool) -> Result<Self, Diagnostics> {
        let description = overlay::load(origin, text, &choice, all)?;
        let tally =
            Arc::new(Tally::new(description.rules.iter().map(|r| (Arc::clone(&r.name), r.is.name()))));
        Ok(Self { origin: origin.to_owned(), text: text.to_owned(), choice, description, tally })
    }

    /// The same with another choice.
    pub fn choose(&self, choice: Choice) -> Result<Self, Diagnostics> {
        Self::read(&self.origin, &self.text, choice, false)
    }

    /// What it can do.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.description.capabilities
    }

    /// One line about it.
    pub fn about(&self) -> &str {
        &self.description.about
    }

    /// Where the protocol is documented.
    pub fn docs(&self) -> Option<&str> {
        self.description.docs.as_deref()
    }

    /// Its variants.
    pub fn variants(&self) -> &[String] {
        &self.description.variants
    }

    /// What it has understood, in lines for people.
    pub fn summary(&self) -> Vec<String> {
        self.description.summary()
    }
}

impl Described {
    /// The description of a name or a file: built in, or read.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
    }

    /// What a device adds to its upgrade request.
    pub(super) fn ask(&self, setup: &SessionSetup, device: u32) -> Asked {
        let c = &self.description.connect;
        let context = device::context_of(&self.description, setup, device);
        let pairs = |pairs: &[(String, Text)]| {
            pairs.iter().filter_map(|(name, text)| Some((name.clone(), text.render(&context)?))).collect()
        };
        Asked {
            path: c.path.as_ref().and_then(|p| p.render(&context)),
            query: pairs(&c.query),
            headers: pairs(&c.headers),
            subprotocols: c.subprotocols.iter().filter_map(|t| t.render(&context)).collect(),
        }
    }

    /// What a device shows as its token, where this description says that it stands in the upgrade.
    pub(super) fn token_shown(&self, handshake: &Handshake) -> Option<String> {
        let token = |text: &Text, value: String| match &text.0[..] {
            [Part::Hole(hole)] if hole.var == Var::Named(Name::Token) => Some(value),
            [Part::Lit(scheme), Part::Hole(hole)] if hole.var == Var::Named(Name::Token) => {
                // Schemes are written as people please: RFC 9110, section 11.1.
                let (said, rest) = value.split_at_checked(scheme.len())?;
                said.eq_ignore_ascii_case(scheme).then(|| rest.to_owned())
            }
            _ => None,
        };
        let c = &self.description.connect;
        let query = c.query.iter().find_map(|(name, t)| token(t, handshake.query(name)?));
        query.or_else(|| c.headers.iter().find_map(|(name, t)| token(t, handshake.header(name)?.to_owned())))
    }

    /// True when the server hears a token in what devices send of themselves: header, query or message.
    pub(super) fn says_token(&self) -> bool {
        let d = &self.description;
        let c = &d.connect;
        let token = Var::Named(Name::Token);
        let texts = c.query.iter().chain(&c.headers).map(|(_, t)| t);
        texts.flat_map(Text::holes).any(|h| h.var == token)
            || d.open.iter().any(|s| matches!(s, Step::Send { message, .. } if message.says(Name::Token)))
    }
}

/// What a description asks for in an upgrade.
pub(super) struct Asked {
    pub(super) path: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) subprotocols: Vec<String>,
}

/// How a connection is asked for.
#[derive(Clone, Debug, Default)]
struct Connect {
    path: Option<Text>,
    query: Vec<(String, Text)>,
    headers: Vec<(String, Text)>,
    subprotocols: Vec<Text>,
    sign: Option<Signer>,
}

/// A step of the opening.
#[derive(Clone, Debug)]
enum Step {
    Send {
        message: Message,
        /// Counted by `{seq}`.
        counted: bool,
    },
    /// The rule that must fire, and how long that may take, counted from the connection.
    Expect(u16, Micros),
}

/// Payloads of one direction.
#[derive(Clone, Debug, Default)]
struct Way {
    formats: Vec<AudioFormat>,
    header: Header,
}

/// How a reply is interrupted.
#[derive(Clone, Debug, Default)]
struct Interruption {
    send: Vec<Message>,
    ack: Option<u16>,
}

/// A sign of life.
#[derive(Clone, Debug)]
struct KeepAlive {
    send: Vec<Message>,
}

/// How a device leaves.
#[derive(Clone, Debug)]
struct Close {
    send: Vec<Message>,
    /// The rule that is waited for, and for how long.
    expect: Option<(u16, Micros)>,
}

/// Further conditions by which the server recognises messages.
#[derive(Clone, Debug, Default)]
struct Hear {
    turn_start: Vec<Cond>,
    turn_end: Vec<Cond>,
    interrupt: Vec<Cond>,
    ping: Vec<Cond>,
    close: Vec<Cond>,
    ignore: Vec<Cond>,
}

/// The reference server's part.
#[derive(Clone, Debug)]
struct ServerPart {
    on_connect: bool,
    vad: Option<Cond>,
    hear: Hear,
    pointers: Pointers,
    signs: Vec<sign::Sign>,
}

/// What a file says, ready to be used.
#[derive(Clone, Debug)]
struct Description {
    capabilities: Capabilities,
    about: String,
    docs: Option<String>,
    variants: Vec<String>,
    /// What stands between frames and JSON; `None`: nothing.
    envelope: Option<Envelope>,
    connect: Connect,
    binary_json: bool,
    emit_binary: bool,
    open: Vec<Step>,
    up: Way,
    down: Way,
    template: Option<Message>,
    names: Vec<(Codec, String)>,
    turn_start: Vec<Message>,
    turn_end: Vec<Message>,
    rules: Vec<Rule>,
    dispatch: Dispatch,
    pointers: Pointers,
    values: Vec<(String, Var)>,
    correlate: Vec<u16>,
    by_number: bool,
    interruption: Option<Interruption>,
    keep_alive: KeepAlive,
    close: Close,
    server: ServerPart,
}

impl Description {
    /// What the file calls a codec.
    fn codec_name(&self, codec: Codec) -> &str {
        self.names.iter().find(|(c, _)| *c == codec).map_or_else(|| codec.name(), |(_, name)| name)
    }

    /// The codec of that name.
    fn codec(&self, name: &str) -> Option<Codec> {
        let own = self.names.iter().find(|(_, n)| n.eq_ignore_ascii_case(name)).map(|(c, _)| *c);
        own.or_else(|| Codec::from_name(name))
    }

    fn summary(&self) -> Vec<String> {
        let can = &self.capabilities;
        let yes = |b: bool, what: &str| if b { what.to_owned() } else { format!("no {what}") };
        let formats = |formats: &[AudioFormat]| {
            let each: Vec<_> =
                formats.iter().map(|f| format!("{} at {} Hz", f.codec.name(), f.sample_rate)).collect();
            if each.is_empty() { "any format".to_owned() } else { each.join(", ") }
        };
        let mut lines = vec![
            format!(
                "{}: {}",
                can.name,
                if can.stt { "speech to text" } else { "an agent that replies with speech" }
            ),
            format!("first text: {:?}", can.text).to_lowercase(),
            format!(
                "audio up: {}, {}",
                formats(&can.formats),
                match (self.envelope, &self.template) {
                    (Some(envelope), _) => format!("in the envelope `{}`", envelope.name()),
                    (None, Some(_)) => "base64 in JSON".to_owned(),
                    (None, None) => "binary frames".to_owned(),
                }
            ),
            format!("audio down: {}", formats(&can.down_formats)),
        ];
        let ends: Vec<_> = [(can.signal, "the device says so"), (can.vad, "the server finds it")]
            .into_iter()
            .filter_map(|(b, t)| b.then_some(t))
            .collect();
        lines.push(format!("end of speech: {}", ends.join(", or ")));
        lines.push(format!(
            "{}, {}",
            yes(can.interrupt, "interruption by a message"),
            yes(can.resume, "resumption of sessions")
        ));
        for (n, step) in self.open.iter().enumerate() {
            lines.push(match step {
                Step::Send { .. } => format!("opening {}: a message", n + 1),
                Step::Expect(rule, limit) => {
                    let name = self.rules.get(usize::from(*rule)).map_or("", |r| &r.name);
                    format!("opening {}: waits for `{name}`, until {limit} after the connection", n + 1)
                }
            });
        }
        let emitted =
            |r: &Rule| !r.emit.messages.is_empty() || (r.is == rule::Is::Audio && r.audio.is_none());
        for rule in &self.rules {
            lines.push(format!("event `{}`: {}", rule.name, rule.is.name()));
        }
        let silent: Vec<_> =
            self.rules.iter().filter(|r| !emitted(r)).map(|r| format!("`{}`", r.name)).collect();
        if !silent.is_empty() {
            lines.push(format!(
                "`voxload serve` would never send {}: no `emit` (your own server needs none)",
                silent.join(", ")
            ));
        }
        if !self.variants.is_empty() {
            lines.push(format!("variants: {}", self.variants.join(", ")));
        }
        lines
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendors;
