"""OpenAI's own Python client, `client.realtime.connect`, against `voxload serve --dialect openai-realtime`.

Turns with `commit` and `response.create`, a reply that is cancelled, the turn after it; then a connection on which the
server finds the end of speech, and speech over a reply stops it.
"""

import base64
import time

from openai import OpenAI
from openai._models import BaseModel
from websockets.exceptions import InvalidStatus

from audio import from_pcm16, utterance
from common import Checks, Events, Microphone, arguments

RATE = 24_000
MANUAL = None
VAD = {"type": "server_vad", "silence_duration_ms": 500, "create_response": True, "interrupt_response": True}

args = arguments(__doc__)
checks = Checks("openai")
client = OpenAI(api_key=args.token, base_url=f"http://{args.address}/v1")
kinds = set()
# What the service itself says and the client's models do not have.
EXTRA = {"session.id", "session.object", "session.expires_at"}


def check_event(event):
    """The client knows the event, every field that it says is required is there, and it has none that it does not know."""
    if not isinstance(event, BaseModel):
        return checks.ok("an event that the client knows", False, event)
    first = event.type not in kinds
    kinds.add(event.type)
    try:
        type(event).model_validate(event.model_dump(exclude_unset=True))
        unknown = sorted(set(unknown_fields(event)) - EXTRA)
    except ValueError as e:
        return checks.ok(f"{event.type} has what the client's model asks for", False, e)
    # One line for each kind, and one for each that is wrong.
    if first or unknown:
        checks.ok(f"{event.type} is as the client's model says", not unknown, f"unknown {unknown}" if unknown else "")


def unknown_fields(model, where=""):
    """Fields that the client's models do not have, with their path."""
    yield from (where + name for name in model.model_extra or {})
    for name in model.model_fields_set:
        value = getattr(model, name, None)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                yield from unknown_fields(item, f"{where}{name}.")


def is_type(*types):
    return lambda e: e.type in types


def session(turn_detection):
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": RATE},
                "transcription": {"model": "whisper-1"},
                "turn_detection": turn_detection,
            },
            "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "marin"},
        },
    }


class Call:
    """A connection, opened and configured."""

    def __init__(self, connection, turn_detection):
        self.connection = connection
        self.events = Events(connection, check_event)
        at = self.events.wait(lambda e: True)
        first = self.events.all[at].type if at is not None else self.events.error
        checks.ok("the server speaks first", first == "session.created", first)
        connection.session.update(session=session(turn_detection))
        at = self.events.wait(is_type("session.updated", "error"))
        answer = self.events.all[at] if at is not None else self.events.error
        checks.ok("the session is updated", getattr(answer, "type", None) == "session.updated", "" if at else answer)

    def send_audio(self, payload):
        self.connection.input_audio_buffer.append(audio=base64.b64encode(payload).decode())

    def reply(self, since):
        """Waits for the end of a response that begins at or after this event; returns its events."""
        events = self.events
        begun = events.wait(is_type("response.created"), since=since)
        if not checks.ok("a response begins", begun is not None):
            return []
        name = events.all[begun].response.id
        done = events.wait(lambda e: e.type == "response.done" and e.response.id == name, since=begun)
        checks.ok("the response ends", done is not None)
        return events.all[begun : (done or len(events.all) - 1) + 1]


def of(events, kind):
    return [e for e in events if e.type == kind]


def audio_of(events, response=None):
    deltas = [e for e in of(events, "response.output_audio.delta") if response in (None, e.response_id)]
    return from_pcm16(b"".join(base64.b64decode(e.delta, validate=True) for e in deltas))


def check_reply(events, status):
    """Text, audio and order of a response; those of a cancelled one are a part."""
    if not events:
        return
    types = [e.type for e in events]
    part = status == "cancelled"
    checks.ok("the response says how it ended", events[-1].response.status == status, events[-1].response.status)
    name = events[0].response.id
    ids = {e.response_id for e in events if hasattr(e, "response_id")}
    checks.ok("everything in it carries its id", ids == {name}, ids)
    order = ["response.created", "response.output_item.added", "response.content_part.added",
             "response.output_audio_transcript.delta", "response.output_audio.delta"]
    order += [] if part else ["response.output_audio.done", "response.output_item.done", "response.done"]
    places = [types.index(t) if t in types else -1 for t in order]
    checks.ok("the order of its events", places == sorted(places) and -1 not in places, dict(zip(order, places)))
    items = {e.item_id for e in events if e.type in ("response.output_audio.delta", "response.output_audio_transcript.delta")}
    added = {e.item.id for e in of(events, "response.output_item.added")}
    checks.ok("audio and text belong to the item that was added", items == added and len(items) == 1, (items, added))
    said = "".join(e.delta for e in of(events, "response.output_audio_transcript.delta"))
    text = checks.same_speech("the audio is the server's reply", audio_of(events), RATE, "reply", part=part)
    same = text.startswith(said.strip()) if part else text == said.strip()
    checks.ok("the text is what is said", same and said != "", said)
    for e in of(events, "response.output_audio_transcript.done"):
        checks.ok("the whole text at its end", e.transcript == said, e.transcript)


def transcript(events):
    """What the server understood; it may come at any time after the commit."""
    found = of(events, "conversation.item.input_audio_transcription.completed")
    committed = {e.item_id for e in of(events, "input_audio_buffer.committed")}
    checks.ok("each utterance has a transcript", len(found) == len(committed) > 0
              and all(e.transcript for e in found), [e.transcript for e in found])
    checks.ok("the transcripts belong to what was committed", {e.item_id for e in found} == committed)


def with_a_button():
    with client.realtime.connect(model="gpt-realtime") as connection:
        call = Call(connection, MANUAL)
        events = call.events
        microphone = Microphone(call.send_audio, RATE, room=False)
        spoken = ["knock-knock", "yes", "why-sky"]
        ids = []
        for turn, name in enumerate(spoken):
            since = len(events.all)
            microphone.say(utterance(name, RATE))
            microphone.said()
            connection.input_audio_buffer.commit()
            connection.response.create()
            if turn == 1:
                # Cancelled in the middle of the reply.
                enough = lambda e: e.type == "response.output_audio.delta" and len(audio_of(events.all[since:])) > RATE // 2
                cut = events.wait(enough, since=since)
                if checks.ok("audio to interrupt", cut is not None):
                    response, item = events.all[cut].response_id, events.all[cut].item_id
                    connection.response.cancel()
                    connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=400)
                    reply = call.reply(since)
                    check_reply(reply, "cancelled")
                    ended = events.all.index(reply[-1])
                    time.sleep(1)
                    late = [e.type for e in events.all[ended + 1 :] if getattr(e, "response_id", None) == response]
                    checks.ok("nothing of the cancelled response comes after its end", not late, late)
                    ids.append(response)
            else:
                reply = call.reply(since)
                check_reply(reply, "completed")
                ids.append(reply[0].response.id if reply else None)
            checks.heard(args.heard, 0, turn, name)
        checks.ok("each response has an id of its own", len(set(ids)) == len(spoken), ids)
        checks.ok("no error", not of(events.all, "error"), [e.error.message for e in of(events.all, "error")])
        transcript(events.all)
        microphone.close()
    checks.ok("the connection ends well", events.closed() and events.error is None, events.error or "")


def with_detection():
    with client.realtime.connect(model="gpt-realtime") as connection:
        call = Call(connection, VAD)
        events = call.events
        microphone = Microphone(call.send_audio, RATE)
        since = len(events.all)
        microphone.say(utterance("knock-knock", RATE))
        order = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
                 "input_audio_buffer.committed", "response.created", "response.output_audio.delta"]
        found = [events.wait(is_type(t), since=since) for t in order]
        checks.ok("the server finds the end of speech", None not in found and found == sorted(found), dict(zip(order, found)))
        # Over its reply.
        microphone.say(utterance("why-sky", RATE))
        reply = call.reply(since)
        check_reply(reply, "cancelled")
        if reply:
            after = events.all.index(reply[-1])
            second = call.reply(after)
            check_reply(second, "completed")
            late = [e.type for e in events.all[after + 1 :] if getattr(e, "response_id", "") == reply[0].response.id]
            checks.ok("nothing of the first response comes after its end", not late, late)
        started = len(of(events.all, "input_audio_buffer.speech_started"))
        checks.ok("speech began as often as somebody spoke", started == 2, started)
        checks.heard(args.heard, 1, 0, "knock-knock")
        checks.heard(args.heard, 1, 1, "why-sky")
        transcript(events.all)
        microphone.close()


def with_a_wrong_token():
    try:
        with OpenAI(api_key="wrong", base_url=client.base_url).realtime.connect(model="m"):
            checks.ok("a wrong key is refused", False, "it was let in")
    except InvalidStatus as e:
        checks.ok("a wrong key is refused", e.response.status_code == 401, e.response.status_code)


with_a_button()
with_detection()
with_a_wrong_token()
checks.finish()
