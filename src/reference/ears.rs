//! Ears: from the payloads of a connection to where they are loud.
//!
//! Thousands of devices replay the same fixtures, so what was decoded once is remembered: by the payload together
//! with those just before it, because an Opus decoder carries a state. 80 ms of those are enough for the state to
//! settle (RFC 7845, section 4.6, asks for as much after a seek), so a miss decodes a few payloads with a fresh
//! decoder, and neither a decoder nor its history has to be kept for each connection.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use crate::audio::{AudioFormat, Codec, Decoder, PayloadError, duration, rms_dbfs};
use crate::time::Micros;

/// How much audio before a payload decides how an Opus decoder hears it.
const PREROLL: Micros = Micros::from_millis(80);

/// Most payloads of pre-roll: 2.5 ms each, at worst.
const PREROLL_PAYLOADS: usize = 32;

/// Step in which loudness is judged.
const STEP: Micros = Micros::from_millis(10);

/// Entries in each of the two generations of the memory: about 2 MiB in all.
const GENERATION: usize = 16_384;

/// What a payload sounds like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Playing time.
    pub(super) duration: Micros,
    /// Where it is loud: from, to, offset from its start.
    pub(super) loud: Box<[(Micros, Micros)]>,
}

/// What was decoded before: shared by the connections of a thread.
#[derive(Debug)]
pub(super) struct Memory {
    /// RMS above which a step is loud, dBFS.
    level: f64,
    young: HashMap<u64, Result<Rc<Heard>, Rc<str>>>,
    /// What was young before `young` was full; dropped when it is full again.
    old: HashMap<u64, Result<Rc<Heard>, Rc<str>>>,
    /// Payloads that had to be decoded.
    misses: u64,
}

/// One connection's ear.
#[derive(Debug)]
pub(super) struct Ear {
    format: AudioFormat,
    /// The payloads just before the next, with their hash and duration; their buffers are used again and again.
    before: VecDeque<(u64, Micros, Vec<u8>)>,
}

impl Memory {
    pub(super) fn new(level: f64) -> Self {
        Self { level, young: HashMap::new(), old: HashMap::new(), misses: 0 }
    }

    fn recall(&mut self, key: u64) -> Option<Result<Rc<Heard>, Rc<str>>> {
        if let Some(heard) = self.young.get(&key) {
            return Some(heard.clone());
        }
        let heard = self.old.remove(&key)?;
        self.keep(key, heard.clone());
        Some(heard)
    }

    fn keep(&mut self, key: u64, heard: Result<Rc<Heard>, Rc<str>>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, heard);
    }
}

impl Ear {
    /// Fails when nothing can be decoded at that rate.
    pub(super) fn new(format: AudioFormat) -> Result<Self, String> {
        Decoder::new(format).map_err(|e| e.to_string())?;
        Ok(Self { format, before: VecDeque::new() })
    }

    /// Forgets what came before: the next payload comes from a fresh encoder.
    pub(super) fn reset(&mut self) {
        self.before.clear();
    }

    /// Listens to a payload. An error says why it is not audio of the agreed format.
    pub(super) fn hear(&mut self, payload: &[u8], memory: &mut Memory) -> Result<Rc<Heard>, Rc<str>> {
        let mut h = DefaultHasher::new();
        payload.hash(&mut h);
        let own = h.finish();
        let mut h = DefaultHasher::new();
        self.format.hash(&mut h);
        for (hash, ..) in &self.before {
            hash.hash(&mut h);
        }
        own.hash(&mut h);
        let key = h.finish();
        let heard = match memory.recall(key) {
            Some(heard) => heard,
            None => {
                memory.misses += 1;
                let heard = self.listen(payload, memory.level).map(Rc::new).map_err(Rc::from);
                memory.keep(key, heard.clone());
                heard
            }
        };
        if let Ok(heard) = &heard {
            self.remember(own, heard.duration, payload);
        }
        heard
    }

    fn remember(&mut self, hash: u64, duration: Micros, payload: &[u8]) {
        if self.format.codec != Codec::Opus {
            return; // PCM and µ-law have no state
        }
        let mut buffer = Vec::new();
        let mut total: i64 = duration.0 + self.before.iter().map(|(_, d, _)| d.0).sum::<i64>();
        while let Some((_, first, _)) = self.before.front()
            && (total - first.0 >= PREROLL.0 || self.before.len() >= PREROLL_PAYLOADS)
        {
            total -= first.0;
            if let Some((.., b)) = self.before.pop_front() {
                buffer = b;
            }
        }
        buffer.clear();
        buffer.extend_from_slice(payload);
        self.before.push_back((hash, duration, buffer));
    }

    fn listen(&self, payload: &[u8], level: f64) -> Result<Heard, String> {
        let say = |e: PayloadError| e.to_string();
        let duration = duration(self.format, payload).map_err(say)?;
        let mut decoder = Decoder::new(self.format).map_err(say)?;
        let mut samples = Vec::new();
        for (.., earlier) in &self.before {
            decoder.decode(earlier, &mut samples).map_err(say)?;
        }
        samples.clear();
        decoder.decode(payload, &mut samples).map_err(say)?;
        let step = STEP.to_samples(self.format.sample_rate).max(1) as usize;
        let mut loud: Vec<(Micros, Micros)> = Vec::new();
        for (i, window) in samples.chunks(step).enumerate() {
            if rms_dbfs(window) < level {
                continue;
            }
            let from = STEP * i as i64;
            let to = (from + STEP).min(duration);
            match loud.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => loud.push((from, to)),
            }
        }
        Ok(Heard { duration, loud: loud.into_boxed_slice() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::sound;
    use crate::reference::testing::{MS, OPUS, PCM, tone};

    fn payloads(format: AudioFormat) -> Vec<bytes::Bytes> {
        let sound = [tone(MS(300), 0.0), tone(MS(600), 0.3), tone(MS(300), 0.0)].concat();
        let chunks = sound::encode(&sound, 16_000, format, MS(60)).unwrap();
        chunks.into_iter().map(|c| c.payload).collect()
    }

    #[test]
    fn hears_where_it_is_loud_in_either_codec() {
        for format in [PCM, OPUS] {
            let (mut ear, mut memory) = (Ear::new(format).unwrap(), Memory::new(-40.0));
            let mut at = MS(0);
            let mut loud = Vec::new();
            for p in payloads(format) {
                let heard = ear.hear(&p, &mut memory).unwrap();
                loud.extend(heard.loud.iter().map(|(a, b)| (at + *a, at + *b)));
                at += heard.duration;
            }
            let (from, to) = (loud[0].0, loud[loud.len() - 1].1);
            assert!((from - MS(300)).0.abs() <= 20_000, "{format:?}: {from:?}");
            assert!((to - MS(900)).0.abs() <= 20_000, "{format:?}: {to:?}");
        }
    }

    #[test]
    fn the_second_device_with_the_same_fixture_is_not_decoded() {
        let mut memory = Memory::new(-40.0);
        let all = payloads(OPUS);
        let mut ear = Ear::new(OPUS).unwrap();
        let first: Vec<_> = all.iter().map(|p| ear.hear(p, &mut memory).unwrap()).collect();
        let misses = memory.misses;
        for _ in 0..3 {
            ear.reset();
            let again: Vec<_> = all.iter().map(|p| ear.hear(p, &mut memory).unwrap()).collect();
            assert_eq!(again, first);
        }
        assert_eq!(memory.misses, misses);
        assert!(misses <= all.len() as u64);
    }

    #[test]
    fn what_is_not_audio_is_remembered_as_such() {
        let (mut ear, mut memory) = (Ear::new(OPUS).unwrap(), Memory::new(-40.0));
        let first = ear.hear(&[3, 0], &mut memory).unwrap_err();
        assert_eq!(ear.hear(&[3, 0], &mut memory).unwrap_err(), first);
        assert_eq!(memory.misses, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut ear, mut memory) = (Ear::new(PCM).unwrap(), Memory::new(-40.0));
        for n in 0..3 * GENERATION as u32 {
            ear.hear(&n.to_le_bytes(), &mut memory).unwrap();
        }
        assert!(memory.young.len() + memory.old.len() <= 2 * GENERATION);
    }
}
