#!/usr/bin/env python3
"""Makes the vectors of src/dialect/codec/*/tests.rs with implementations that are not ours.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install protobuf==7.36.2 msgpack==1.2.4 botocore==1.44.5 amazon-transcribe==0.6.4
    apt-get install opus-tools
    /tmp/v/bin/python scripts/codec_vectors.py

Prints one line each: name, then hex or text. The tests hold them as constants.
`codec_vectors.py ogg FILE` instead checks an Ogg Opus stream that voxload wrote with `opusinfo`.
"""

import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def protobuf():
    """pipecat's src/pipecat/frames/frames.proto, as a descriptor: no protoc is needed."""
    from google.protobuf import descriptor_pb2 as d
    from google.protobuf import descriptor_pool, message_factory

    f = d.FieldDescriptorProto
    u64, u32, text, raw, message = f.TYPE_UINT64, f.TYPE_UINT32, f.TYPE_STRING, f.TYPE_BYTES, f.TYPE_MESSAGE
    file = d.FileDescriptorProto(name="frames.proto", package="pipecat", syntax="proto3")
    frames = {
        "TextFrame": [("id", u64), ("name", text), ("text", text)],
        "AudioRawFrame": [("id", u64), ("name", text), ("audio", raw), ("sample_rate", u32), ("num_channels", u32), ("pts", u64)],
        "TranscriptionFrame": [("id", u64), ("name", text), ("text", text), ("user_id", text), ("timestamp", text)],
        "MessageFrame": [("data", text)],
        "InterruptionFrame": [("id", u64), ("name", text)],
    }
    for name, fields in frames.items():
        m = file.message_type.add(name=name)
        for i, (field, kind) in enumerate(fields, 1):
            added = m.field.add(name=field, number=i, type=kind, label=f.LABEL_OPTIONAL)
            if field == "pts":
                m.oneof_decl.add(name="_pts")
                added.oneof_index, added.proto3_optional = 0, True
    frame = file.message_type.add(name="Frame")
    frame.oneof_decl.add(name="frame")
    for i, (field, kind) in enumerate(zip(["text", "audio", "transcription", "message", "interruption"], frames), 1):
        frame.field.add(name=field, number=i, type=message, type_name=f".pipecat.{kind}", label=f.LABEL_OPTIONAL, oneof_index=0)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    Frame = message_factory.GetMessageClass(pool.FindMessageTypeByName("pipecat.Frame"))
    yield "TEXT", Frame(text=dict(id=7, name="TextFrame#0", text="Grüße")).SerializeToString()
    yield "AUDIO", Frame(audio=dict(id=2**40, name="a", audio=bytes([1, 0, 255, 127]), sample_rate=24000, num_channels=1, pts=0)).SerializeToString()
    yield "TRANSCRIPTION", Frame(transcription=dict(text="hello", user_id="u", timestamp="2026-01-31T12:00:00Z")).SerializeToString()
    rtvi = json.dumps({"label": "rtvi-ai", "type": "bot-llm-text", "data": {"text": "Hi"}}, separators=(",", ":"))
    yield "MESSAGE", Frame(message=dict(data=rtvi)).SerializeToString()
    yield "INTERRUPTION", Frame(interruption=dict(id=3)).SerializeToString()


def msgpack():
    import msgpack

    pack = lambda v, **more: msgpack.packb(v, use_bin_type=True, **more)
    yield "AUDIO", pack({"type": "Audio", "pcm": [0.0, 0.5, -1.0]}, use_single_float=True)
    yield "AUDIO_LAST", pack({"pcm": [0.0, 0.5, -1.0, 1], "type": "Audio"})
    yield "WORD", pack({"type": "Word", "text": "hello", "start_time": 1.28})
    yield "STEP", pack({"type": "Step", "step_idx": 70000, "prs": [0.5, 0.25], "buffered_pcm": 0})
    yield "MARKER", pack({"type": "Marker", "id": -1})
    yield "BYTES", pack({"type": "Other", "data": b"\x01\x02"})
    numbers = [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
    yield "NUMBERS", pack(numbers)
    yield "TEXTS", pack(["", "a" * 31, "b" * 32, "c" * 256, None, True, False])
    yield "EXTENSION", pack([msgpack.ExtType(5, b"abcd"), msgpack.ExtType(5, b"abc"), float("nan")])


def event_stream():
    from amazon_transcribe.eventstream import EventStreamMessageSerializer, Int32HeaderValue

    class Sorted(EventStreamMessageSerializer):
        """With headers in the order in which voxload writes them."""

        def serialize(self, headers, payload):
            return super().serialize(dict(sorted(headers.items())), payload)

    s = Sorted()
    audio = {":message-type": "event", ":event-type": "AudioEvent", ":content-type": "application/octet-stream"}
    yield "AUDIO", s.serialize(audio, bytes([1, 2, 3, 4]))
    yield "END", s.serialize(audio, b"")
    transcript = json.dumps({"Transcript": {"Results": [{"IsPartial": True, "Alternatives": [{"Transcript": "hel"}]}]}}, separators=(",", ":"))
    yield "TRANSCRIPT", s.serialize({":message-type": "event", ":event-type": "TranscriptEvent", ":content-type": "application/json"}, transcript.encode())
    yield "EXCEPTION", s.serialize({":message-type": "exception", ":exception-type": "BadRequestException", ":content-type": "application/json"}, b'{"Message":"No audio"}')
    yield "ERROR", s.serialize({":message-type": "error", ":error-code": "500", ":error-message": "Oh"}, b"")
    date = datetime.datetime.fromtimestamp(1_700_000_000, datetime.timezone.utc)
    inner = s.serialize(audio, bytes([1, 2, 3, 4]))
    yield "SIGNED", s.serialize({":date": date, ":chunk-signature": bytes(range(32))}, inner)
    yield "NUMBER", s.serialize({"event-type": Int32HeaderValue(40972)}, b"{'foo':'bar'}")


def sigv4():
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    class Query(botocore.auth.SigV4QueryAuth):
        def _modify_request_before_signing(self, request):
            request.context["timestamp"] = "20260131T120000Z"
            super()._modify_request_before_signing(request)

    botocore.auth.get_current_datetime = lambda *a, **k: datetime.datetime(2026, 1, 31, 12, 0, 0)
    for name, token, region in [("PLAIN", None, "us-east-1"), ("TOKEN", "IQoJb3JpZ2luX2VjE+/x==", "eu-central-1")]:
        keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
        host = f"transcribestreaming.{region}.amazonaws.com:8443"
        request = AWSRequest("GET", f"https://{host}/stream-transcription-websocket", params={
            "language-code": "en-US", "media-encoding": "pcm", "sample-rate": "16000", "session-id": "a b/c~é"}, headers={"host": host})
        Query(keys, "transcribe", region, expires=300).add_auth(request)
        url = request.prepare().url.replace("https://", "wss://", 1)
        yield name, url


def ogg():
    """Half a second of silence and a tone by opusenc, with a serial of ours, and the first page alone."""
    import math
    import struct
    import wave

    with tempfile.TemporaryDirectory() as folder:
        wav, opus = Path(folder, "a.wav"), Path(folder, "a.opus")
        with wave.open(str(wav), "wb") as w:
            w.setparams((1, 2, 24000, 0, "NONE", ""))
            w.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 8))) for i in range(4800)))
        subprocess.run(["opusenc", "--quiet", "--bitrate", "6", "--framesize", "20", "--serial", "77", "--padding", "0",
                        "--discard-comments", "--max-delay", "0", str(wav), str(opus)], check=True)
        yield "OPUSENC", opus.read_bytes()


def main():
    if sys.argv[1:2] == ["ogg"]:
        sys.exit(subprocess.run(["opusinfo", sys.argv[2]]).returncode)
    for make in [protobuf, msgpack, event_stream, sigv4, ogg]:
        print(f"# {make.__name__}")
        for name, value in make():
            print(name, value if isinstance(value, str) else value.hex())


main()
