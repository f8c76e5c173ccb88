#!/usr/bin/env python3
"""Decodes voxload's Opus packets with libopus and compares with what ropus decoded.

    cargo run --example opus_packets -- DIR
    scripts/opus_interop.py DIR          # needs libopus.so.0 (Debian: libopus0)

Exit code 1 when libopus refuses a packet, or hears something else: a difference above -40 dB of the signal.
"""

import array
import ctypes
import ctypes.util
import math
import pathlib
import struct
import sys

LIMIT_DB = 40.0


def load():
    name = ctypes.util.find_library("opus") or "libopus.so.0"
    try:
        lib = ctypes.CDLL(name)
    except OSError as e:
        sys.exit(f"opus_interop.py: {e}; on Debian: apt-get install libopus0")
    lib.opus_get_version_string.restype = ctypes.c_char_p
    lib.opus_decoder_create.restype = ctypes.c_void_p
    lib.opus_decode.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.c_int,
    ]
    lib.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
    return lib


def packets(data):
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def decode(lib, data, rate):
    error = ctypes.c_int()
    decoder = lib.opus_decoder_create(rate, 1, ctypes.byref(error))
    if error.value:
        sys.exit(f"opus_interop.py: opus_decoder_create: error {error.value}")
    room = rate * 120 // 1000
    buffer = (ctypes.c_int16 * room)()
    pcm = array.array("h")
    count = 0
    for packet in packets(data):
        samples = lib.opus_decode(decoder, packet, len(packet), buffer, room, 0)
        if samples < 0:
            raise ValueError(f"libopus refuses packet {count} ({packet[:8].hex()}…): error {samples}")
        pcm.extend(buffer[:samples])
        count += 1
    lib.opus_decoder_destroy(decoder)
    return pcm, count


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lib = load()
    rows, failed = [], 0
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.packets")):
        want = array.array("h", path.with_suffix(".pcm").read_bytes())
        try:
            got, count = decode(lib, path.read_bytes(), int(path.stem.split("-")[0]))
        except ValueError as e:
            print(f"{path.stem}: {e}")
            failed += 1
            continue
        if len(got) != len(want):
            print(f"{path.stem}: {len(got)} samples, expected {len(want)}")
            failed += 1
            continue
        noise = sum((a - b) ** 2 for a, b in zip(got, want))
        signal = sum(b * b for b in want)
        snr = 10 * math.log10(signal / noise) if noise and signal else math.inf
        largest = max(abs(a - b) for a, b in zip(got, want))
        rows.append((snr, largest, path.stem, count))
        if snr < LIMIT_DB:
            print(f"{path.stem}: only {snr:.1f} dB, {largest} LSB at most")
            failed += 1
    if not rows:
        sys.exit(f"opus_interop.py: no cases in {sys.argv[1]}")
    rows.sort()
    worst, median = rows[0], rows[len(rows) // 2]
    print(lib.opus_get_version_string().decode())
    print(f"{len(rows)} cases, {sum(r[3] for r in rows)} packets; signal over difference: worst {worst[0]:.1f} dB "
          f"({worst[2]}, {worst[1]} LSB), median {median[0]:.1f} dB ({median[1]} LSB); {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
