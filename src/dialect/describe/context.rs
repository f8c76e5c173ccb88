//! What variables are, on either side.

use std::borrow::Cow;

use serde_json::Value;

use super::Description;
use super::template::{Name, Val, Values, Var};
use crate::audio::AudioFormat;
use crate::dialect::SessionSetup;
use crate::seed::Seed;
use crate::time::Micros;

/// Variables of a message of the device.
pub(super) struct Ours<'a> {
    pub(super) d: &'a Description,
    pub(super) setup: &'a SessionSetup,
    pub(super) device: u32,
    pub(super) captured: &'a [Option<Value>],
    pub(super) turn: Option<u32>,
    pub(super) resume: Option<&'a str>,
    pub(super) seq: u64,
    pub(super) chunk: u64,
    pub(super) ts_ms: i64,
    /// Base64, and its length before that.
    pub(super) audio: Option<(&'a str, usize)>,
}

impl Values for Ours<'_> {
    fn get(&self, var: &Var) -> Val<'_> {
        let name = match var {
            Var::Fixed(value) => return fixed(value),
            Var::Captured(n) => {
                return self
                    .captured
                    .get(usize::from(*n))
                    .and_then(Option::as_ref)
                    .map_or(Val::Unset, Val::Json);
            }
            Var::PerDevice(text) => return owned(self.setup.given.columns.fill(text, self.device)),
            Var::Named(name) => *name,
        };
        let s = self.setup;
        let text = |t: &'_ str| Val::Str(Cow::Owned(t.to_owned()));
        let ms = |t: Micros| Val::Int(t.0 / 1_000);
        match name {
            Name::Token => match &s.given.token {
                Some(token) => owned(s.given.columns.fill(token.reveal(), self.device)),
                None => Val::Unset,
            },
            Name::Device => Val::Int(self.device.into()),
            Name::Mac => owned(mac(s.given.seed, self.device)),
            Name::Uuid => owned(uuid(s.given.seed, "dialect device", self.device.into())),
            Name::TurnId => {
                let turn = u64::from(self.turn.unwrap_or_default());
                owned(uuid(s.given.seed, "dialect turn", u64::from(self.device) << 32 | turn))
            }
            Name::Locale => text(&s.locale),
            Name::Voice => text(&s.voice),
            Name::UpRate => Val::Int(s.up.sample_rate.into()),
            Name::DownRate => Val::Int(s.down.sample_rate.into()),
            Name::UpCodec => text(self.d.codec_name(s.up.codec)),
            Name::DownCodec => text(self.d.codec_name(s.down.codec)),
            Name::ChunkMs => ms(s.given.chunk),
            Name::FrameMs => ms(s.given.frame),
            Name::Vad => Val::Bool(s.vad),
            Name::Turn => self.turn.map_or(Val::Unset, |t| Val::Int(t.into())),
            Name::Resume => self.resume.map_or(Val::Unset, |r| Val::Str(Cow::Borrowed(r))),
            Name::Seq => Val::Int(self.seq as i64),
            Name::Chunk => Val::Int(self.chunk as i64),
            Name::TsMs => Val::Int(self.ts_ms),
            Name::Audio => self.audio.map_or(Val::Unset, |(b, _)| Val::Str(Cow::Borrowed(b))),
            Name::Len => self.audio.map_or(Val::Unset, |(_, n)| Val::Int(n as i64)),
            Name::Text
            | Name::Session
            | Name::Response
            | Name::Item
            | Name::Event
            | Name::Status
            | Name::Interrupted
            | Name::Resumed
            | Name::Code
            | Name::Message
            | Name::HeardMs
            | Name::HeardS
            | Name::TurnS
            | Name::TurnHeardMs
            | Name::TurnHeardS
            | Name::Detected
            | Name::Signalled => Val::Unset,
        }
    }
}

/// Variables of a message of the server.
#[derive(Default)]
pub(super) struct Theirs<'a> {
    pub(super) session: &'a str,
    pub(super) up: Option<(AudioFormat, &'a str)>,
    pub(super) down: Option<(AudioFormat, &'a str)>,
    pub(super) vad: bool,
    pub(super) turn: Option<u32>,
    pub(super) seq: u64,
    pub(super) ts_ms: i64,
    pub(super) said: Said<'a>,
    /// Playing time heard on this connection, and how much of it before the turn.
    pub(super) heard: (Micros, Micros),
    /// The end of speech was found, not told.
    pub(super) detected: bool,
}

/// What one answer of the server says.
#[derive(Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) text: Option<&'a str>,
    /// Base64, and its length before that.
    pub(super) audio: Option<(&'a str, usize)>,
    /// Audio for an envelope.
    pub(super) payload: Option<&'a [u8]>,
    pub(super) interrupted: bool,
    /// The session that the device asked for goes on.
    pub(super) resumed: bool,
    /// Code and message.
    pub(super) error: Option<(&'a str, &'a str)>,
}

impl Values for Theirs<'_> {
    fn get(&self, var: &Var) -> Val<'_> {
        let name = match var {
            Var::Fixed(value) => return fixed(value),
            // What devices keep, and columns of their data, are theirs.
            Var::Captured(_) | Var::PerDevice(_) => return Val::Unset,
            Var::Named(name) => *name,
        };
        let text = |t: Option<&str>| t.map_or(Val::Unset, |t| Val::Str(Cow::Owned(t.to_owned())));
        let of_turn =
            |what: &str| owned(format!("{what}_{}_{}", self.session, self.turn.unwrap_or_default()));
        match name {
            Name::Session => Val::Str(Cow::Borrowed(self.session)),
            Name::Response => of_turn("resp"),
            Name::Item => of_turn("item"),
            Name::TurnId => of_turn("turn"),
            Name::Event => owned(format!("event_{}_{}", self.session, self.seq)),
            Name::Turn => self.turn.map_or(Val::Unset, |t| Val::Int(t.into())),
            Name::Seq | Name::Chunk => Val::Int(self.seq as i64),
            Name::TsMs => Val::Int(self.ts_ms),
            Name::Text => self.said.text.map_or(Val::Unset, |t| Val::Str(Cow::Borrowed(t))),
            Name::Audio => self.said.audio.map_or(Val::Unset, |(b, _)| Val::Str(Cow::Borrowed(b))),
            Name::Len => self.said.audio.map_or(Val::Unset, |(_, n)| Val::Int(n as i64)),
            Name::UpRate => self.up.map_or(Val::Unset, |(f, _)| Val::Int(f.sample_rate.into())),
            Name::DownRate => self.down.map_or(Val::Unset, |(f, _)| Val::Int(f.sample_rate.into())),
            Name::UpCodec => text(self.up.map(|(_, name)| name)),
            Name::DownCodec => text(self.down.map(|(_, name)| name)),
            Name::Vad => Val::Bool(self.vad),
            Name::Status => text(Some(if self.said.interrupted { "cancelled" } else { "completed" })),
            Name::Interrupted => Val::Bool(self.said.interrupted),
            Name::Resumed => Val::Bool(self.said.resumed),
            Name::Code => text(self.said.error.map(|(c, _)| c)),
            Name::Message => text(self.said.error.map(|(_, m)| m)),
            Name::HeardMs => Val::Int(self.heard.0.0 / 1_000),
            Name::HeardS => Val::Num(self.heard.0.as_secs_f64()),
            Name::TurnS => Val::Num(self.heard.1.as_secs_f64()),
            Name::TurnHeardMs => Val::Int((self.heard.0 - self.heard.1).0 / 1_000),
            Name::TurnHeardS => Val::Num((self.heard.0 - self.heard.1).as_secs_f64()),
            Name::Detected => Val::Bool(self.detected),
            Name::Signalled => Val::Bool(!self.detected),
            Name::Token
            | Name::Device
            | Name::Mac
            | Name::Uuid
            | Name::Locale
            | Name::Voice
            | Name::ChunkMs
            | Name::FrameMs
            | Name::Resume => Val::Unset,
        }
    }
}

/// A copy: these are short, and most have become constant parts of their template before.
fn fixed<'a>(value: &Value) -> Val<'a> {
    match value {
        Value::String(s) => owned(s.clone()),
        Value::Bool(b) => Val::Bool(*b),
        Value::Number(n) => n.as_i64().map_or_else(|| owned(n.to_string()), Val::Int),
        _ => Val::Unset,
    }
}

fn owned<'a>(text: String) -> Val<'a> {
    Val::Str(Cow::Owned(text))
}

/// A MAC address of the range that nobody sells (locally administered, unicast).
fn mac(seed: Seed, device: u32) -> String {
    let bits = seed.stream("dialect device", device.into()).bits().to_be_bytes();
    let each = bits.iter().take(6).enumerate().map(|(n, b)| if n == 0 { b & 0xfc | 0x02 } else { *b });
    each.map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

/// A random uuid (version 4).
fn uuid(seed: Seed, purpose: &str, index: u64) -> String {
    let mut r = seed.stream(purpose, index);
    let bits = u128::from(r.bits()) << 64 | u128::from(r.bits());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_follow_from_the_seed() {
        assert_eq!(mac(Seed(1), 7), mac(Seed(1), 7));
        assert_ne!(mac(Seed(1), 7), mac(Seed(1), 8));
        let first = u8::from_str_radix(&mac(Seed(3), 0)[..2], 16).unwrap();
        assert_eq!(first & 3, 2);
        let id = uuid(Seed(1), "dialect device", 7);
        assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}
