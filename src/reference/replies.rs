//! What the server answers: real speech with its text, encoded once for each agreed format and shared by every turn.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::sound;
use crate::audio::{AudioFormat, Chunk, Codec};
use crate::scenario::{Fault, ReferencePlan};
use crate::time::Micros;

/// A reply before it is encoded.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// What is said.
    pub text: String,
    /// Samples per second.
    pub rate: u32,
    /// Mono samples, −1 … 1.
    pub samples: Arc<[f32]>,
}

/// A reply, ready to be sent in one format.
#[derive(Debug)]
pub(super) struct Reply {
    /// The tokens: words with the space that follows them.
    pub(super) words: Vec<String>,
    /// Where each sentence begins and ends.
    pub(super) sentences: Vec<Sentence>,
    /// The audio, message by message.
    pub(super) chunks: Vec<Chunk>,
    /// Playing time of all chunks.
    pub(super) media: Micros,
    /// First audible sample after decoding, from the start of the audio; `None`: all silence.
    pub(super) audible: Option<Micros>,
}

/// A sentence of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Words up to and including this sentence.
    pub(super) words: usize,
    /// Where its audio begins, estimated by its share of the letters.
    pub(super) media: Micros,
}

/// Every reply in one format.
#[derive(Debug)]
pub(super) struct ReplySet {
    /// The replies.
    pub(super) replies: Vec<Arc<Reply>>,
    /// The same words with as much silence: for the fault `silent_reply`; empty when the plan does not have it.
    pub(super) silent: Vec<Arc<Reply>>,
    /// The same words in a format that was not agreed: for the fault `wrong_format`; likewise.
    pub(super) wrong: Vec<Arc<Reply>>,
}

/// Formats whose replies are kept: clients may ask for any rate, and each costs megabytes.
const KEPT: usize = 16;

/// The replies in the formats that were asked for last.
#[derive(Debug)]
pub(super) struct Replies {
    spoken: Vec<Spoken>,
    chunk: Micros,
    silent: bool,
    wrong: bool,
    /// The format that was asked for last stands last.
    encoded: Mutex<Vec<(AudioFormat, Arc<ReplySet>)>>,
}

impl Replies {
    pub(super) fn new(spoken: Vec<Spoken>, plan: &ReferencePlan) -> Self {
        let has = |fault| plan.faults.iter().any(|(f, _)| *f == fault);
        Self {
            spoken,
            chunk: plan.chunk,
            silent: has(Fault::SilentReply),
            wrong: has(Fault::WrongFormat),
            encoded: Mutex::new(Vec::new()),
        }
    }

    /// The replies in that format: encoded when it has not been asked for lately.
    pub(super) fn get(&self, format: AudioFormat) -> Result<Arc<ReplySet>, String> {
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let set = match encoded.iter().position(|(f, _)| *f == format) {
            Some(at) => encoded.remove(at).1,
            None => Arc::new(self.encode(format)?),
        };
        encoded.push((format, Arc::clone(&set)));
        if encoded.len() > KEPT {
            // Sessions that speak it keep it for as long as they need it.
            encoded.remove(0);
        }
        Ok(set)
    }

    fn encode(&self, format: AudioFormat) -> Result<ReplySet, String> {
        let chunk = self.chunk;
        let mut set = ReplySet { replies: Vec::new(), silent: Vec::new(), wrong: Vec::new() };
        for s in &self.spoken {
            let reply = Reply::new(&s.text, sound::encode(&s.samples, s.rate, format, chunk)?, format)?;
            if self.silent {
                let silence = vec![0.0; s.samples.len()];
                let chunks = sound::encode(&silence, s.rate, format, chunk)?;
                set.silent.push(Arc::new(Reply::new(&s.text, chunks, format)?));
            }
            if self.wrong {
                set.wrong.push(Arc::new(reply.in_wrong_format(s, format, chunk)?));
            }
            set.replies.push(Arc::new(reply));
        }
        if set.replies.is_empty() {
            return Err("the server has no replies to give".to_owned());
        }
        Ok(set)
    }
}

impl Reply {
    fn new(text: &str, chunks: Vec<Chunk>, format: AudioFormat) -> Result<Self, String> {
        let media = Micros(chunks.iter().map(|c| c.media.0).sum());
        let audible = sound::audible_from(&chunks, format)?;
        let words: Vec<String> = text.split_whitespace().map(|w| format!("{w} ")).collect();
        let letters: usize = words.iter().map(String::len).sum();
        let (mut sentences, mut said, mut from) = (Vec::new(), 0, 0);
        for (i, word) in words.iter().enumerate() {
            said += word.len();
            if word.trim_end().ends_with(['.', '!', '?']) || i + 1 == words.len() {
                sentences.push(Sentence {
                    words: i + 1,
                    media: Micros(media.0 * from as i64 / letters.max(1) as i64),
                });
                from = said;
            }
        }
        if sentences.is_empty() {
            // Sound without words, as a jingle: one sentence that is there at once.
            sentences.push(Sentence { words: 0, media: Micros::ZERO });
        }
        Ok(Self { words, sentences, chunks, media, audible })
    }

    /// The same reply as PCM where something else was agreed, or as PCM with half a sample where PCM was.
    fn in_wrong_format(&self, spoken: &Spoken, format: AudioFormat, chunk: Micros) -> Result<Self, String> {
        let pcm = AudioFormat { codec: Codec::Pcm16, ..format };
        let mut chunks = sound::encode(&spoken.samples, spoken.rate, pcm, chunk)?;
        for (i, c) in chunks.iter_mut().enumerate() {
            let mut bytes = c.payload.to_vec();
            match format.codec {
                // A first sample of 3 reads as an Opus packet of code 3 with no frames, which RFC 6716 forbids
                // (R5): a decoder must notice, whatever the length.
                Codec::Opus => bytes.iter_mut().zip([3, 0]).for_each(|(b, v)| *b = v),
                // The first alone: where a dialect sends the reply whole, two halves would add up to a sample.
                Codec::Pcm16 if i == 0 => drop(bytes.pop()),
                Codec::Pcm16 => {}
                // Any bytes are valid G.711: the device hears noise of twice the length.
                Codec::Mulaw | Codec::Alaw => {}
            }
            c.payload = Bytes::from(bytes);
        }
        Ok(Self {
            words: self.words.clone(),
            sentences: self.sentences.clone(),
            media: Micros(chunks.iter().map(|c| c.media.0).sum()),
            chunks,
            audible: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::spoken;

    #[test]
    fn formats_that_nobody_has_asked_for_lately_are_forgotten() {
        let replies = Replies::new(vec![spoken()], &ReferencePlan::instant());
        let of = |rate: u32| AudioFormat { codec: Codec::Pcm16, sample_rate: rate };
        let first = replies.get(of(8_000)).unwrap();
        assert!(Arc::ptr_eq(&first, &replies.get(of(8_000)).unwrap()), "encoded once");
        for n in 1..KEPT as u32 {
            replies.get(of(8_000 + n)).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &replies.get(of(8_000)).unwrap()), "there is room for it");
        for n in 0..KEPT as u32 {
            replies.get(of(16_000 + n)).unwrap();
        }
        assert_eq!(replies.encoded.lock().unwrap().len(), KEPT);
        assert!(!Arc::ptr_eq(&first, &replies.get(of(8_000)).unwrap()), "encoded again");
    }
}
