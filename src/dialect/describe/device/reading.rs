//! Frames become meanings: the rules of a description, tried on what the server says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::super::correlate::Whose;
use super::super::rule::{Is, Kind, Rule, Source, View};
use super::super::scan::{Found, Scan};
use super::super::tally::{self, Unmatched};
use super::super::{Description, Step};
use super::State;
use crate::dialect::{KNOWN, Meaning};
use crate::transport::Frame;

/// Frames of one connection that are kept as examples, where no rule has matched them.
const EXAMPLES: u64 = 32;
/// Of the first device, which is the one that `debug` and `learn` play: it may look at more than a fleet could.
const FIRST_EXAMPLES: u64 = 5_000;

impl State {
    /// A frame of an envelope.
    pub(super) fn decoded(&mut self, d: &Description, frame: &Frame, out: &mut Vec<Meaning>) {
        let Some(codec) = &mut self.codec else { return };
        let decoded = match codec.decode(frame) {
            Ok(decoded) => decoded,
            Err(why) => return out.push(Meaning::Garbage(why)),
        };
        let mut scan = Scan::default();
        d.pointers.trie.scan_value(&decoded.value, &mut scan);
        let kind = if decoded.audio.is_some() { Kind::Payload } else { Kind::Text };
        let candidates = d.dispatch.candidates(&scan);
        if !self.apply(d, candidates, kind, Some(&scan), None, decoded.audio.as_ref(), out) {
            self.unmatched(d, &decoded.value.to_string(), None, out);
        }
    }

    pub(super) fn text(&mut self, d: &Description, text: &str, out: &mut Vec<Meaning>) {
        let looks = text.trim_start().starts_with(['{', '[']);
        let mut found = Scan::default();
        let read = looks.then(|| d.pointers.trie.scan(text, &mut found));
        let scan = matches!(read, Some(Ok(()))).then_some(&found);
        let candidates = scan.map_or(&d.dispatch.all[..], |scan| d.dispatch.candidates(scan));
        if self.apply(d, candidates, Kind::Text, scan, Some(text), None, out) {
            return;
        }
        match read.and_then(Result::err) {
            Some(why) => out.push(Meaning::Garbage(format!("a text frame that is not JSON: {why}"))),
            None => self.unmatched(d, text, None, out),
        }
    }

    pub(super) fn binary(&mut self, d: &Description, bytes: &Bytes, out: &mut Vec<Meaning>) {
        // What comes most often is audio behind a header, and nothing else to it.
        if let (Some(n), Ok(Some(payload))) = (d.dispatch.sound, d.down.header.unwrap(bytes)) {
            if let Some(fired) = self.fired.get_mut(usize::from(n)) {
                *fired += 1;
            }
            self.seen |= Is::Audio.bit();
            return out.push(Meaning::Audio { turn: None, payload });
        }
        if !self.apply(d, &d.dispatch.bytes, Kind::Binary, None, None, Some(bytes), out) {
            self.unmatched(d, "", Some(bytes), out);
        }
    }

    fn unmatched(&mut self, d: &Description, text: &str, bytes: Option<&Bytes>, out: &mut Vec<Meaning>) {
        self.unmatched += 1;
        if self.unmatched <= if self.device == 0 { FIRST_EXAMPLES } else { EXAMPLES } {
            let ((shape, key), example) = match bytes {
                None => (tally::shape(text, d.dispatch.pointer(&d.pointers.trie)), tally::example(text)),
                Some(b) => (("a binary frame".to_owned(), None), format!("{} bytes", b.len())),
            };
            tally::note(&mut self.shapes, Unmatched { shape, key, count: 1, example, device: self.device });
        }
        out.push(Meaning::Unmatched);
    }

    /// Tries rules on a frame. True when one has matched.
    #[allow(clippy::too_many_arguments, reason = "a frame in its parts")]
    fn apply<'a>(
        &mut self,
        d: &Description,
        candidates: &[u16],
        kind: Kind,
        scan: Option<&Scan<'a>>,
        text: Option<&'a str>,
        bytes: Option<&Bytes>,
        out: &mut Vec<Meaning>,
    ) -> bool {
        let (mut matched, mut whose) = (false, None);
        for &n in candidates {
            let Some(rule) = d.rules.get(usize::from(n)) else { continue };
            let view = View { kind, scan, text, captured: &self.captured };
            if !rule.when.holds(&view) {
                continue;
            }
            // Bytes that a header says are something else.
            let payload = match (rule.is, bytes) {
                (Is::Audio, Some(bytes)) if rule.audio.is_none() => match d.down.header.unwrap(bytes) {
                    Ok(Some(payload)) => Some(Ok(payload)),
                    Ok(None) => continue,
                    Err(why) => Some(Err(why)),
                },
                _ => None,
            };
            let stale = rule.stale.as_ref().is_some_and(|c| c.holds(&view));
            let (resumed, interrupted) = (
                rule.resumed.as_ref().is_some_and(|c| c.holds(&view)),
                rule.interrupted.as_ref().is_some_and(|c| c.holds(&view)),
            );
            matched = true;
            if let Some(fired) = self.fired.get_mut(usize::from(n)) {
                *fired += 1;
            }
            if let Some(scan) = scan {
                for (capture, slot) in &rule.capture {
                    if let (Some(kept), Some(value)) =
                        (self.captured.get_mut(usize::from(*capture)), scan.at(*slot).to_value())
                    {
                        *kept = Some(value);
                    }
                }
            }
            self.expected(d, n, rule);
            if stale {
                out.push(Meaning::Ignored("stale: of a reply that was dropped"));
                continue;
            }
            if rule.only_after != 0 && self.seen & rule.only_after == 0 {
                out.push(Meaning::Ignored("stale: nothing has come that it could be the end of"));
                continue;
            }
            let whose = *whose.get_or_insert_with(|| self.whose(d, scan));
            self.mean(d, n, rule, whose, (resumed, interrupted), scan, text, payload, out);
        }
        matched
    }

    /// A rule has fired: what waits for it goes on, and what it wants is answered.
    fn expected(&mut self, d: &Description, n: u16, rule: &Rule) {
        if rule.reply_played {
            self.unplayed.push_back((n, self.captured.clone()));
        } else if !rule.reply.is_empty() {
            let mut frames = std::mem::take(&mut self.replies);
            self.say(d, &rule.reply, &mut frames);
            self.replies = frames;
        }
        if d.close.expect.is_some_and(|(rule, _)| rule == n) {
            self.parting = Some(n);
        }
        if matches!(d.open.get(self.step), Some(Step::Expect(rule, _)) if *rule == n) {
            self.step += 1;
            self.advance(d);
        }
    }

    fn whose(&mut self, d: &Description, scan: Option<&Scan<'_>>) -> Whose {
        let Some(scan) = scan else { return Whose::Unsaid };
        let found = d.correlate.iter().map(|slot| scan.at(*slot)).find(|f| f.exists());
        found.map_or(Whose::Unsaid, |f| self.turns.whose(f, d.by_number))
    }

    #[allow(clippy::too_many_arguments, reason = "a message in its parts")]
    fn mean(
        &mut self,
        d: &Description,
        n: u16,
        rule: &Rule,
        whose: Whose,
        (resumed, interrupted): (bool, bool),
        scan: Option<&Scan<'_>>,
        text: Option<&str>,
        payload: Option<Result<Bytes, String>>,
        out: &mut Vec<Meaning>,
    ) {
        let turn = match whose {
            Whose::Turn(turn) => Some(turn),
            Whose::Unsaid => None,
            Whose::Nobody if matches!(rule.is, Is::Token | Is::Audio | Is::Done | Is::Interrupted) => {
                return out.push(Meaning::Ignored("a reply to nothing that was said"));
            }
            Whose::Nobody => None,
        };
        let said = |sources: &[Source]| {
            let found = sources.iter().find_map(|s| match s {
                Source::Frame => text.map(str::to_owned),
                Source::At(slot) => {
                    let mut parts = scan?.all(*slot).filter(|f| f.exists()).cloned().map(Found::into_text);
                    let first = parts.next()?;
                    Some(parts.fold(first, |all, part| all + &part))
                }
            });
            found.unwrap_or_default()
        };
        let before = out.len();
        match rule.is {
            Is::Ready => {
                let session = rule.session.and_then(|slot| scan?.at(slot).as_str().map(str::to_owned));
                out.push(Meaning::Ready { session, resumed });
            }
            Is::SpeechStarted => out.push(Meaning::Ignored("the server hears the user")),
            Is::SpeechStopped => out.push(Meaning::SpeechStopped { turn }),
            Is::Partial | Is::Final => {
                let text = said(&rule.text);
                out.push(match (text.trim().is_empty(), rule.is) {
                    // Of a rule without `text`, the message itself says that the transcript is complete.
                    (true, Is::Final) if rule.text.is_empty() => Meaning::Final { turn, text },
                    (true, _) => Meaning::Ignored("an empty transcript"),
                    (false, Is::Partial) => Meaning::Partial { turn, text },
                    (false, _) => Meaning::Final { turn, text },
                });
            }
            Is::Token => out.push(Meaning::Token { turn, text: said(&rule.text) }),
            Is::Audio => match (rule.audio, payload) {
                (None, Some(Ok(payload))) => out.push(Meaning::Audio { turn, payload }),
                (None, Some(Err(why))) => out.push(Meaning::Garbage(why)),
                (Some(slot), _) => {
                    let found = scan.into_iter().flat_map(|s| s.all(slot));
                    for base64 in found.filter_map(Found::as_str) {
                        out.push(match BASE64.decode(base64.as_bytes()) {
                            Ok(bytes) => Meaning::Audio { turn, payload: bytes.into() },
                            Err(e) => Meaning::Garbage(format!(
                                "`{}` is not base64: {e}",
                                d.pointers.trie.pointer(slot)
                            )),
                        });
                    }
                }
                (None, None) => {}
            },
            Is::Done | Is::Interrupted => {
                let acknowledges = d.interruption.as_ref().is_some_and(|i| i.ack == Some(n));
                let cut = interrupted || rule.is == Is::Interrupted || (acknowledges && self.interrupting);
                self.interrupting = false;
                out.push(Meaning::ReplyDone { turn, interrupted: cut });
            }
            Is::Error => {
                // A turn that has failed without a reply takes no id away from the next.
                if turn.is_none() {
                    self.turns.give_up();
                }
                out.push(Meaning::Error { turn, code: said(&rule.code), message: said(&rule.message) });
            }
            Is::Pong => out.push(Meaning::Pong),
            Is::Ignore => out.push(Meaning::Ignored(KNOWN)),
        }
        let something = out.len() > before && !matches!(out.last(), Some(Meaning::Ignored(_)));
        match rule.is {
            Is::Done | Is::Interrupted | Is::Error => self.seen = 0,
            Is::Final if something && d.capabilities.stt => self.seen = 0,
            is if something => self.seen |= is.bit(),
            _ => {}
        }
    }
}
