#!/usr/bin/env python3
"""Makes the recordings in this folder: `python3 scenarios/traces/make.py`. Same files every time.

They are models, not measurements: a rate that changes over time, cut into opportunities to deliver 1,500 bytes (one line
each, in milliseconds; the format of mahimahi's mm-link).
"""

import math
import pathlib
import random

HERE = pathlib.Path(__file__).parent


def record(name, seconds, mbit):
    """Writes the opportunities of a link whose rate at second t is mbit(t)."""
    lines, owed = [], 0.0
    for ms in range(1, seconds * 1000 + 1):
        owed += mbit(ms / 1000.0) * 1e6 / 8 / 1000
        while owed >= 1500:
            owed -= 1500
            lines.append(ms)
    # The recording lasts as long as it says.
    if lines[-1] != seconds * 1000:
        lines.append(seconds * 1000)
    (HERE / f"{name}.trace").write_text("".join(f"{ms}\n" for ms in lines))


def wander(seed, seconds, spread):
    """A factor around 1 that changes every 100 ms and remembers where it was."""
    r, z, steps = random.Random(seed), 0.0, []
    for _ in range(seconds * 10 + 1):
        z = 0.9 * z + math.sqrt(1 - 0.81) * r.gauss(0, 1)
        steps.append(math.exp(spread * z))
    return lambda t: steps[min(int(t * 10), len(steps) - 1)]


def cat1_drive():
    swing = wander(1, 30, 0.6)

    def mbit(t):
        shadow = 9 <= t < 10 or 21 <= t < 23
        return 0.0 if shadow else 0.8 * swing(t)

    record("cat1-drive", 30, mbit)


def lte_walk():
    swing = wander(2, 20, 0.4)

    def mbit(t):
        if 12 <= t < 12.5:
            return 0.0
        return (0.4 if 11 <= t < 14 else 1.5) * swing(t)

    record("lte-walk", 20, mbit)


def wifi_microwave():
    # A magnetron on 50 Hz mains radiates in one half of each wave.
    record("wifi-microwave", 2, lambda t: 0.0 if (t * 1000) % 20 < 8 else 5.0)


cat1_drive()
lte_walk()
wifi_microwave()
