"""Deepgram's own Python client, pointed at `voxload serve`."""

import threading

import pydantic
from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment


def client(address, token):
    """The client, which believes that the server is Deepgram."""
    ws, http = f"ws://{address}", f"http://{address}"
    return DeepgramClient(
        api_key=token, environment=DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)
    )


class Kinds:
    """What arrived, held to the client's own models."""

    def __init__(self, checks):
        self.checks = checks
        self.seen = set()

    def check(self, message):
        """The client knows the message, and finds in it what its model asks for and nothing else."""
        if isinstance(message, bytes):
            return
        if not isinstance(message, pydantic.BaseModel):
            return self.checks.ok("a message that the client knows", False, message)
        name = type(message).__name__
        first = name not in self.seen
        self.seen.add(name)
        try:
            # The client itself is content with less.
            type(message).model_validate(message.model_dump(by_alias=True, exclude_unset=True))
        except ValueError as e:
            return self.checks.ok(f"{name} has what the client's model asks for", False, e)
        said = type(message).model_fields["type"].default
        unknown = sorted(unknown_fields(message))
        if first or unknown or said != message.type:
            self.checks.ok(f"{name} is as the client's model says", not unknown and said == message.type,
                           f"type {message.type}, unknown fields {unknown}" if unknown or said != message.type else "")


def unknown_fields(model, where=""):
    """Fields that the client's models do not have, with their path."""
    yield from (where + name for name in model.model_extra or {})
    for name in model.model_fields_set:
        value = getattr(model, name, None)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, pydantic.BaseModel):
                yield from unknown_fields(item, f"{where}{name}.")


def messages(connection):
    """What arrives, as the client hands it to its listeners; an error of the client is raised."""
    waiting, over = [], threading.Event()
    news = threading.Condition()

    def put(message):
        with news:
            waiting.append(message)
            news.notify_all()

    connection.on(EventType.MESSAGE, put)
    connection.on(EventType.ERROR, put)
    connection.on(EventType.CLOSE, lambda _: (over.set(), put(None)))
    threading.Thread(target=connection.start_listening, daemon=True).start()
    while True:
        with news:
            news.wait_for(lambda: waiting)
            message = waiting.pop(0)
        if isinstance(message, Exception):
            raise message
        if message is None:
            return
        yield message
