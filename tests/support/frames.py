"""What a WebSocket client makes of the bytes that the hub wrote, with the parser of a client library."""

from __future__ import annotations

import json
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader


def frames(data: bytes) -> list[Frame]:
    """Every frame in `data`, which must end with one."""
    reader = StreamReader()
    reader.feed_data(data)
    found = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as done:
            found.append(done.value)
        else:
            raise AssertionError("the last frame is cut off")
    return found


def messages(data: bytes) -> list[dict[str, Any]]:
    found = frames(data)
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in found)
    return [json.loads(frame.data) for frame in found]


def seqs(data: bytes) -> list[int]:
    return [message["seq"] for message in messages(data) if message["type"] == "transcript.final"]
