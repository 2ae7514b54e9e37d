"""The socket pair between the supervisor and a worker: one JSON message a line, both ways."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import msgspec

from gateway.metrics import Family

_LIMIT: Final = 4 * 2**20


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """`beat`, `ready`: of a worker. `figures`: the supervisor asks for a worker's metrics, and is answered with
    `families`. `metrics`: a worker asks for those of all, and is answered with `text`. `number`: of the question, or of
    a port with `ready`."""

    kind: Literal["beat", "ready", "figures", "metrics"]
    number: int = 0
    families: Sequence[Family] = ()
    text: str = ""


class Line:
    """One end. The other one is gone when `messages` ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Line:
        """Takes the socket over."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end, limit=_LIMIT))

    def send(self, message: Message) -> None:
        """Never waits. Dropped when the other end is gone, or has not read for a long time."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < _LIMIT:
            transport.write(msgspec.json.encode(message) + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """Until the other end is closed, by intent or by the death of its process."""
        try:
            while (line := await self._reader.readline()).endswith(b"\n"):
                yield msgspec.json.decode(line, type=Message)
        except ConnectionError:
            return

    def close(self) -> None:
        """May be repeated."""
        self._writer.close()
