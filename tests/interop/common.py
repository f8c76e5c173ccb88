"""What the clients share: the checks, what arrived and when, a microphone that never stops."""

import argparse
import pathlib
import sys
import threading
import time

import numpy as np

from audio import ALIKE, best_match, pcm16, read_wav


def arguments(what):
    """Where the server is, and where it keeps what it hears."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("address", help="HOST:PORT of `voxload serve`")
    parser.add_argument("--token", required=True, help="the token that the server wants")
    parser.add_argument("--heard", type=pathlib.Path, required=True, help="the folder of `voxload serve --heard`")
    return parser.parse_args()


class Checks:
    """What was looked at, and what of it was wrong."""

    def __init__(self, name):
        self.name = name
        self.wrong = 0
        self.count = 0

    def ok(self, what, holds, found=""):
        """Notes one check; what was found is printed."""
        self.count += 1
        self.wrong += not holds
        print(f"{self.name}: {'ok    ' if holds else 'WRONG '} {what}{f': {found}' if found != '' else ''}", flush=True)
        return holds

    def same_speech(self, what, samples, rate, kind, name=None, part=False):
        """The recording is a fixture of that kind (that one, if named); returns what is said in it."""
        found, correlation, transcript = best_match(samples, rate, kind, part)
        good = correlation >= ALIKE and name in (None, found)
        self.ok(what, good, f"{len(samples) / rate:.2f} s, most like {found} (correlation {correlation:.3f})")
        return transcript

    def heard(self, heard, session, turn, name):
        """The server heard that utterance in that turn."""
        path = heard / f"{session}-{turn}.wav"
        wait_until(path.exists, 5)
        if self.ok(f"the server kept turn {turn} of session {session}", path.exists()):
            time.sleep(0.1)  # it is written in one go, but not at once
            self.same_speech(f"what the server heard in turn {turn} is what was said", *read_wav(path), "utterance", name)

    def finish(self):
        """Prints the sum, and ends."""
        if not self.count:
            sys.exit(f"{self.name}: nothing was checked")
        print(f"{self.name}: {self.count} checks, {self.wrong} wrong", flush=True)
        sys.exit(1 if self.wrong else 0)


def wait_until(condition, timeout):
    """True as soon as it holds, False when it does not in time."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


class Events:
    """What a client received, in order; a thread of its own reads."""

    def __init__(self, source, keep):
        """`source` yields what arrives until the connection ends; `keep` is asked about each before it is kept."""
        self.all = []
        self.error = None
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read, args=(source, keep), daemon=True)
        self._thread.start()

    def _read(self, source, keep):
        try:
            for event in source:
                keep(event)
                with self._news:
                    self.all.append(event)
                    self._news.notify_all()
        except Exception as e:  # noqa: BLE001: whatever it is, it is what the client saw
            self.error = e
        with self._news:
            self._over = True
            self._news.notify_all()

    def wait(self, condition, timeout=20.0, since=0):
        """The index of the first event from `since` on for which it holds; None when there is none in time."""
        until = time.monotonic() + timeout
        at = since
        with self._news:
            while True:
                while at < len(self.all):
                    if condition(self.all[at]):
                        return at
                    at += 1
                left = until - time.monotonic()
                if self._over or left <= 0:
                    return None
                self._news.wait(left)

    def closed(self, timeout=5.0):
        """True when the connection has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()


class Microphone:
    """Sends in real time, for ever: what is to be said, else a quiet room."""

    def __init__(self, send, rate, chunk_ms=40, room=True):
        """`send` takes PCM16. Without `room`, nothing is sent while nothing is said."""
        self._send, self._rate, self._room = send, rate, room
        self._chunk = rate * chunk_ms // 1000
        self._every = chunk_ms / 1000
        self._queue = np.zeros(0)
        self._lock = threading.Lock()
        self._silent = threading.Event()
        self._silent.set()
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, samples):
        """Begins to say it; returns at once."""
        with self._lock:
            self._queue = np.concatenate((self._queue, samples))
            self._silent.clear()

    def said(self, timeout=30.0):
        """Waits until all has been said."""
        return self._silent.wait(timeout)

    def close(self):
        """Stops sending."""
        self._open = False
        self._thread.join()

    def _run(self):
        noise = np.random.default_rng(1)
        due = time.monotonic()
        while self._open:
            due += self._every
            time.sleep(max(0.0, due - time.monotonic()))
            with self._lock:
                now, self._queue = self._queue[: self._chunk], self._queue[self._chunk :]
            if len(now) or self._room:
                # A quiet room is not digital silence.
                quiet = noise.normal(0, 0.0003, self._chunk)
                quiet[: len(now)] = now
                try:
                    self._send(pcm16(quiet))
                except Exception:  # noqa: BLE001: the connection has ended; the reader says how
                    return
            if not len(self._queue):
                self._silent.set()
