//! The ear: finds the first audible sample of a reply.
//!
//! Decoding is the one expensive thing that happens to a received frame, so only the beginning of a reply is decoded,
//! until its first audible sample is found, and what was found is remembered by content: servers repeat themselves,
//! the reference server above all. One ear serves all devices of a shard.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};

use bytes::Bytes;

use crate::audio::AudioFormat;
use crate::audio::codec::Decoder;
use crate::audio::onset::{Onset, OnsetFinder};
use crate::time::Micros;

/// Replies remembered; beyond that the ear forgets everything and starts again.
const MEMORY: usize = 4_096;

/// What the ear made of the beginning of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Silence so far.
    Nothing,
    /// Audible from this media time on.
    Sound(Micros),
    /// It cannot be decoded.
    Noise,
}

/// Finds first audible samples.
#[derive(Debug)]
pub struct Ear {
    format: AudioFormat,
    memory: HashMap<u64, Heard>,
    samples: Vec<f32>,
}

impl Ear {
    /// An ear for replies in this format.
    pub fn new(format: AudioFormat) -> Self {
        Self { format, memory: HashMap::new(), samples: Vec::new() }
    }

    /// Listens to the payloads of a reply from its beginning; `complete` when there will be no more.
    pub fn listen(&mut self, payloads: &[Bytes], complete: bool) -> Heard {
        let mut key = DefaultHasher::new();
        key.write_u8(u8::from(complete));
        for p in payloads {
            key.write_usize(p.len());
            key.write(p);
        }
        let key = key.finish();
        if let Some(&heard) = self.memory.get(&key) {
            return heard;
        }
        let heard = self.decode(payloads, complete);
        if self.memory.len() >= MEMORY {
            self.memory.clear();
        }
        self.memory.insert(key, heard);
        heard
    }

    fn decode(&mut self, payloads: &[Bytes], complete: bool) -> Heard {
        let Ok(mut decoder) = Decoder::new(self.format) else { return Heard::Noise };
        let mut finder = OnsetFinder::new(self.format.sample_rate);
        for payload in payloads {
            self.samples.clear();
            if decoder.decode(payload, &mut self.samples).is_err() {
                return Heard::Noise;
            }
            if let Onset::Found(at) = finder.push(&self.samples) {
                return Heard::Sound(at);
            }
        }
        match complete.then(|| finder.finish()) {
            Some(Onset::Found(at)) => Heard::Sound(at),
            _ => Heard::Nothing,
        }
    }
}
