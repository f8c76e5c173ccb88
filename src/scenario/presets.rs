//! Latencies of the reference server's presets, each with where it comes from.
//!
//! They are defaults of the `reference.*` keys: any of them can be set on its own.

/// The presets and what they stand for.
pub(super) const CHOICES: &[(&str, &str)] = &[
    ("instant", "answers at once: what is measured is the harness and the network"),
    ("local", "small models on one machine in the same room: within a budget of 300 ms"),
    ("cloud", "three cloud services called one after the other: about a second"),
];

/// End of speech → final transcript, p50 and p95.
///
/// local: a choice; a small streaming recogniser has most of the transcript when the speech ends. cloud: a streaming
/// recogniser's final transcript, 250/300 ms p50/p95.
pub(super) const STT: &[(&str, &str)] = &[
    ("instant", "\"0ms\""),
    ("local", "\"lognormal(40ms, 60ms)\""),
    ("cloud", "\"lognormal(250ms, 300ms)\""),
];

/// Transcript → first token, p50 and p95.
///
/// local: a choice; a model of a few billion parameters with a short, cached prompt. cloud: a hosted model, 546/1369 ms
/// p50/p95, with the long tail that comes from queues shared with others.
pub(super) const LLM: &[(&str, &str)] = &[
    ("instant", "\"0ms\""),
    ("local", "\"lognormal(50ms, 80ms)\""),
    ("cloud", "\"lognormal(546ms, 1369ms)\""),
];

/// Sentence → first audio.
///
/// local: a choice; a small streaming synthesiser. cloud: 288 ± 28 ms, mean and standard deviation.
pub(super) const TTS: &[(&str, &str)] =
    &[("instant", "\"0ms\""), ("local", "\"lognormal(30ms, 45ms)\""), ("cloud", "\"normal(288ms, 28ms)\"")];

/// Tokens per second after the first. All three are choices: fast enough that the first sentence does not dominate a
/// local answer; what hosted models commonly stream at.
pub(super) const TOKEN_RATE: &[(&str, &str)] =
    &[("instant", "10000.0"), ("local", "200.0"), ("cloud", "80.0")];

/// Seconds of speech per second. All three are choices: well above real time, as synthesisers in use are.
pub(super) const TTS_SPEED: &[(&str, &str)] = &[("instant", "1000.0"), ("local", "10.0"), ("cloud", "5.0")];
