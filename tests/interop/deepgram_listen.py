"""Deepgram's own Python client, `client.listen.v1.connect`, against `voxload serve --dialect deepgram-listen`.

An utterance whose end the server finds, one that `Finalize` ends, and the end of the stream.
"""

from deepgram.core.api_error import ApiError
from websockets.exceptions import InvalidStatus

from audio import utterance
from common import Checks, Events, Microphone, arguments
from deepgram_common import Kinds, client, messages

RATE = 16_000

args = arguments(__doc__)
checks = Checks("deepgram listen")
kinds = Kinds(checks)


def said(event):
    return event.channel.alternatives[0].transcript if event.type == "Results" else ""


def segments(events, until):
    """The results of an utterance: interim ones before its end, and the final text."""
    results = [e for e in events if e.type == "Results"]
    interim = [e for e in results if not e.is_final and said(e)]
    final = "".join(said(e) for e in results if e.is_final)
    checks.ok("interim results with text come first", interim and results.index(interim[0]) < len(results) - 1, len(interim))
    checks.ok("the final text is there", final != "", final)
    checks.ok("the last result ends the utterance", results and until(results[-1]))
    times = [(e.start, e.start + e.duration) for e in results]
    checks.ok("results have times that go on", all(a <= c and b <= d for (a, b), (c, d) in zip(times, times[1:]))
              and times[-1][1] > 0, times[-1:])


def stream():
    options = {"model": "nova-3", "encoding": "linear16", "sample_rate": RATE, "channels": 1, "interim_results": True,
               "endpointing": 300, "utterance_end_ms": 1000, "vad_events": True}
    with client(args.address, args.token).listen.v1.connect(**options) as connection:
        events = Events(messages(connection), kinds.check)
        microphone = Microphone(connection.send_media, RATE)
        microphone.say(utterance("knock-knock", RATE))
        end = events.wait(lambda e: e.type == "Results" and e.speech_final)
        if checks.ok("the server finds the end of speech", end is not None, events.error or ""):
            segments(events.all[: end + 1], lambda e: e.speech_final and e.is_final)
        connection.send_keep_alive()
        since = len(events.all)
        microphone.say(utterance("why-sky", RATE))
        microphone.said()
        connection.send_finalize()
        end = events.wait(lambda e: e.type == "Results" and e.from_finalize, since=since)
        if checks.ok("Finalize ends the utterance", end is not None, events.error or ""):
            segments([e for e in events.all[since : end + 1] if said(e)], lambda e: e.from_finalize and e.is_final)
        checks.heard(args.heard, 0, 0, "knock-knock")
        checks.heard(args.heard, 0, 1, "why-sky")
        microphone.close()
        connection.send_close_stream()
        checks.ok("the server closes after CloseStream", events.closed(10) and events.error is None, events.error or "")
        last = events.all[-1].type if events.all else None
        checks.ok("the last message is the metadata", last == "Metadata", last)
        wrong = [e for e in events.all if e.type == "Error"]
        checks.ok("no error", not wrong, wrong)


def with_a_wrong_token():
    try:
        with client(args.address, "wrong").listen.v1.connect(model="nova-3"):
            checks.ok("a wrong key is refused", False, "it was let in")
    except (ApiError, InvalidStatus) as e:
        # The client means to raise ApiError; with some versions of `websockets` it lets theirs through.
        status = e.status_code if isinstance(e, ApiError) else e.response.status_code
        checks.ok("a wrong key is refused", status == 401, status)


stream()
with_a_wrong_token()
checks.finish()
