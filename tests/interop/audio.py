"""Speech in and out: the fixtures, resampling, and whether two recordings are the same speech."""

import pathlib
import tomllib
import wave

import numpy as np

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"

# What correlates less than this is not the same speech: other fixtures stay below 0.3.
ALIKE = 0.9


def read_wav(path):
    """The samples of a mono 16-bit WAV as floats, and their rate."""
    with wave.open(str(path), "rb") as f:
        assert (f.getnchannels(), f.getsampwidth()) == (1, 2), path
        return np.frombuffer(f.readframes(f.getnframes()), "<i2") / 32768.0, f.getframerate()


def resample(samples, rate, to):
    """To another rate, by the spectrum: enough for a comparison."""
    if rate == to or not len(samples):
        return samples
    length = round(len(samples) * to / rate)
    spectrum = np.fft.rfft(samples)
    bins = length // 2 + 1
    spectrum = spectrum[:bins] if len(spectrum) >= bins else np.pad(spectrum, (0, bins - len(spectrum)))
    return np.fft.irfft(spectrum, length) * (length / len(samples))


def pcm16(samples):
    """Little-endian PCM16."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def from_pcm16(payload):
    """Floats from little-endian PCM16; half a sample is an error of whoever sent it."""
    assert len(payload) % 2 == 0, f"{len(payload)} bytes are not whole samples of 16 bits"
    return np.frombuffer(payload, "<i2") / 32768.0


def alike(a, b):
    """The highest correlation of the shorter recording with any place in the longer, both at one rate; 0 for silence."""
    if len(a) > len(b):
        a, b = b, a
    if not len(a):
        return 0.0
    # Room at both ends: the shorter may begin a little earlier.
    b = np.pad(b, len(a) // 4)
    size = 1 << (len(a) + len(b)).bit_length()
    across = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)[: len(b) - len(a) + 1]
    energy = np.concatenate(([0.0], np.cumsum(b * b)))
    energy = energy[len(a) :] - energy[: len(b) - len(a) + 1]
    norm = np.sqrt(np.maximum(energy, 1e-9) * max(float(np.dot(a, a)), 1e-9))
    return float(np.max(across / norm))


def manifest(kind):
    """The fixtures of that kind: id to (samples, rate, transcript)."""
    entries = tomllib.loads((FIXTURES / "manifest.toml").read_text(encoding="utf-8"))["fixture"]
    return {e["id"]: (*read_wav(FIXTURES / e["file"]), e["transcript"]) for e in entries if e["kind"] == kind}


def utterance(name, rate):
    """What a device says, at this rate."""
    samples, own, _ = manifest("utterance")[name]
    return resample(samples, own, rate)


def best_match(heard, rate, kind, part=False):
    """The fixture that sounds most like it: (id, correlation, transcript). `part`: only its beginning was heard."""
    at = 16_000
    heard = resample(heard, rate, at)
    found = []
    for name, (samples, own, transcript) in manifest(kind).items():
        samples = resample(samples, own, at)
        found.append((alike(samples[: len(heard)] if part else samples, heard), name, transcript))
    correlation, name, transcript = max(found)
    return name, correlation, transcript
