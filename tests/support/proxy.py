"""A TCP proxy in front of one server: what runs over it can be reset, refused, frozen, delayed or throttled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

Tap = Callable[[bytes], None]
"""Is shown what the client of one connection sends, in pieces of any size."""


def _ignore(data: bytes) -> None:
    """Nobody taps this line."""


class Proxy:
    """`target`: a port of loopback, or the path of a Unix socket. Begins with `start`, on a port that stays its own.

    `tap` is called for each connection.
    """

    def __init__(self, target: int | str, tap: Callable[[], Tap] | None = None) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.sent = self.received = 0
        """Bytes of all clients, and of the server."""
        self.tap = tap
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()
        self._refusing = False
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self.heal()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Break every connection, at whatever byte it is; new ones are served."""
        for writer in list(self._open):
            writer.transport.abort()

    def cut(self) -> None:
        """Break every connection, and every new one at once."""
        self._refusing = True
        self.reset()

    def freeze(self) -> None:
        """Connections are accepted and stay open; nothing moves."""
        self._moving.clear()

    def slow(self, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Every piece waits so long; 0 bytes a second: as many as come."""
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s

    def heal(self) -> None:
        """As in the beginning. What a frozen line held moves on."""
        self._refusing = False
        self.slow()
        self._moving.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # Only `close` cancels; asyncio's own callback cannot bear a cancelled task.
        with suppress(asyncio.CancelledError, OSError):
            await self._relay(reader, writer)
        writer.transport.abort()
        self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        if isinstance(self.target, str):
            above, upward = await asyncio.open_unix_connection(self.target)
        else:
            above, upward = await asyncio.open_connection("127.0.0.1", self.target)
        self.connections += 1
        ends = {writer, upward}
        self._open |= ends
        down = asyncio.create_task(self._carry(above, writer))
        try:
            if not self._refusing:
                await self._carry(reader, upward, self.tap() if self.tap else _ignore, upward=True)
                await down  # the client has said all; the server may not have
        finally:
            down.cancel()
            self._open -= ends
            upward.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap = _ignore, *, upward: bool = False
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._bytes_per_s:
                    await asyncio.sleep(len(data) / self._bytes_per_s)
                await self._moving.wait()
                tap(data)
                self.sent += len(data) * upward
                self.received += len(data) * (not upward)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()  # a reset is one at the other end, too, which would wait for ever
