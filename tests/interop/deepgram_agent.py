"""Deepgram's own Python client, `client.agent.v1.connect`, against `voxload serve --dialect deepgram-agent`.

A turn, a reply that is spoken over, and the turn that did it.
"""

import time

from deepgram.agent.v1.types import (
    AgentV1Settings, AgentV1SettingsAgentContext, AgentV1SettingsAudio, AgentV1SettingsAudioInput,
    AgentV1SettingsAudioOutput,
)
from deepgram.core.api_error import ApiError
from websockets.exceptions import InvalidStatus

from audio import from_pcm16, utterance
from common import Checks, Events, Microphone, arguments
from deepgram_common import Kinds, client, messages

UP, DOWN = 16_000, 24_000

args = arguments(__doc__)
checks = Checks("deepgram agent")
kinds = Kinds(checks)


def is_type(*types):
    return lambda e: not isinstance(e, bytes) and e.type in types


def settings():
    return AgentV1Settings(
        audio=AgentV1SettingsAudio(
            input=AgentV1SettingsAudioInput(encoding="linear16", sample_rate=UP),
            output=AgentV1SettingsAudioOutput(encoding="linear16", sample_rate=DOWN, container="none"),
        ),
        agent=AgentV1SettingsAgentContext(
            listen={"provider": {"version": "v1", "type": "deepgram", "model": "nova-3"}},
            think={"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "You are a toy."},
            speak={"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
        ),
    )


def types(events):
    """What came, audio as such, each run of it once."""
    names = ["audio" if isinstance(e, bytes) else e.type for e in events]
    return [n for n, before in zip(names, [None, *names]) if n != before]


def audio_of(events):
    return from_pcm16(b"".join(e for e in events if isinstance(e, bytes)))


def check_turn(events, part=False):
    """Text, audio and order of a reply."""
    names = types(events)
    order = ["UserStartedSpeaking", "ConversationText", "audio"] + ([] if part else ["AgentAudioDone"])
    places = [names.index(n) if n in names else -1 for n in order]
    checks.ok("the order of messages", places == sorted(places) and -1 not in places, names)
    texts = [e for e in events if is_type("ConversationText")(e)]
    roles = [e.role for e in texts]
    checks.ok("the user's words come first, then the agent's", roles[:2] == ["user", "assistant"], roles)
    checks.ok("the user's words", bool(texts) and texts[0].content != "", texts[0].content if texts else "")
    text = " ".join(e.content.strip() for e in texts if e.role == "assistant")
    reply = checks.same_speech("the audio is the server's reply", audio_of(events), DOWN, "reply", part=part)
    checks.ok("the agent's words are what is said", reply.startswith(text) if part else reply == text, text)
    for e in events:
        if is_type("AgentStartedSpeaking")(e):
            checks.ok("latencies in seconds that add up", 0 <= e.ttt_latency <= e.total_latency < 30
                      and 0 <= e.tts_latency <= e.total_latency, (e.ttt_latency, e.tts_latency, e.total_latency))


def converse():
    with client(args.address, args.token).agent.v1.connect() as connection:
        events = Events(messages(connection), kinds.check)
        at = events.wait(lambda e: True)
        checks.ok("the server says welcome first", at is not None and is_type("Welcome")(events.all[at]), events.error or "")
        connection.send_settings(settings())
        checks.ok("the settings are applied", events.wait(is_type("SettingsApplied")) is not None)
        microphone = Microphone(connection.send_media, UP)
        begun = len(events.all)
        microphone.say(utterance("knock-knock", UP))
        done = events.wait(is_type("AgentAudioDone"), since=begun)
        if checks.ok("the agent finishes", done is not None, events.error or ""):
            check_turn(events.all[begun : done + 1])
        time.sleep(0.5)
        # The next reply is spoken over.
        begun = len(events.all)
        microphone.say(utterance("yes", UP))
        heard = lambda e: isinstance(e, bytes) and len(audio_of(events.all[begun:])) > DOWN // 2
        if checks.ok("audio to interrupt", events.wait(heard, since=begun) is not None):
            before = len(events.all)
            microphone.say(utterance("why-sky", UP))
            cut = events.wait(is_type("UserStartedSpeaking"), since=before)
            if checks.ok("the server notices that it is spoken over", cut is not None):
                check_turn(events.all[begun:cut], part=True)
                again = events.wait(lambda e: is_type("ConversationText")(e) and e.role == "user", since=cut)
                late = sum(isinstance(e, bytes) for e in events.all[cut : again or len(events.all)])
                checks.ok("no audio of the reply after it was spoken over", late == 0, f"{late} messages")
                done = events.wait(is_type("AgentAudioDone"), since=again or cut)
                if checks.ok("the agent answers that", done is not None):
                    check_turn(events.all[cut : done + 1])
        for turn, name in enumerate(["knock-knock", "yes", "why-sky"]):
            checks.heard(args.heard, 0, turn, name)
        wrong = [e for e in events.all if is_type("Error", "Warning")(e)]
        checks.ok("no error", not wrong, wrong)
        microphone.close()
    checks.ok("the connection ends well", events.closed() and events.error is None, events.error or "")


def with_a_wrong_token():
    try:
        with client(args.address, "wrong").agent.v1.connect():
            checks.ok("a wrong key is refused", False, "it was let in")
    except (ApiError, InvalidStatus) as e:
        # The client means to raise ApiError; with some versions of `websockets` it lets theirs through.
        status = e.status_code if isinstance(e, ApiError) else e.response.status_code
        checks.ok("a wrong key is refused", status == 401, status)


converse()
with_a_wrong_token()
checks.finish()
