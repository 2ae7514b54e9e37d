"""One message of the stream, and the bytes it becomes on each kind of connection. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gateway.live import protocol


class Message:
    """Encoded once; framed once for each kind of connection that somebody watches on.

    `point`: EPOCH:SEQ of the last final that a watcher has who has this message; None when it says nothing of that.
    """

    __slots__ = ("_framed", "kind", "payload", "point")

    def __init__(self, kind: str, payload: bytes, point: str | None = None) -> None:
        self.kind = kind
        self.payload = payload
        self.point = point
        self._framed: dict[Framing, bytes] = {}

    def framed(self, framing: Framing) -> bytes:
        return self._framed.get(framing) or self._framed.setdefault(framing, framing(self))


Framing: TypeAlias = Callable[[Message], bytes]
"""A module-level function, so that it is the same key for every watcher."""


def in_frame(message: Message) -> bytes:
    """For a WebSocket."""
    return protocol.text_frame(message.payload)
