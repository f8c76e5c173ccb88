#!/usr/bin/env python3
"""A home-made voice server, as people write them: the worked example of docs/describe-your-protocol.md.

Raw PCM16 at 16 kHz both ways in binary frames, JSON for the rest:

    device                              server
    {"cmd": "hello", "rate": 16000}  →
                                     ←  {"ev": "welcome", "call": "c-1"}
    binary frames, while one speaks  →
    {"cmd": "stop"}                  →
                                     ←  {"ev": "you_said", "words": "0.8 s of speech"}
                                     ←  {"ev": "word", "w": "What "}  …
                                     ←  binary frames of 60 ms
                                     ←  {"ev": "finished"}

    pip install websockets
    python3 examples/homemade/server.py [PORT]      (0: any that is free)
"""
import asyncio, itertools, json, math, struct, sys

import websockets

RATE = 16_000
# 60 ms of a tone: the "voice" of this server.
TONE = struct.pack("<960h", *(int(8000 * math.sin(2 * math.pi * 330 * n / RATE)) for n in range(960)))
calls = itertools.count(1)


async def talk(socket):
    say = lambda **message: socket.send(json.dumps(message))
    heard = 0
    async for message in socket:
        if isinstance(message, bytes):
            heard += len(message)
            continue
        command = json.loads(message).get("cmd")
        if command == "hello":
            await say(ev="welcome", call=f"c-{next(calls)}")
        elif command == "stop":
            await asyncio.sleep(0.1)  # understanding takes time
            await say(ev="you_said", words=f"{heard / RATE / 2:.1f} s of speech")
            for word in "What a lovely day.".split():
                await asyncio.sleep(0.02)
                await say(ev="word", w=word + " ")
            for _ in range(15):
                await socket.send(TONE)
                await asyncio.sleep(0.05)
            await say(ev="finished")
            heard = 0
        else:
            await say(ev="error", reason=f"what is {command!r}?")


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    async with websockets.serve(talk, "127.0.0.1", port) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
