"""As much of a Redis server as the bus speaks with, in memory, so that time can pass at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest

from storage.redis import directory
from storage.redis.connection import Connection, pack
from storage.redis.errors import RedisAway
from storage.redis.url import Address


class MemoryRedis:
    """Answers after `delay_s`; `pipelines` and `pings` hold the times at which something was written."""

    def __init__(self) -> None:
        self.is_there = True
        self.is_frozen = False
        self.greets = False
        """Whoever subscribes gets a message at once."""
        self.delay_s = 0.001
        self.dialled: list[float] = []
        self.pings: list[float] = []
        self.pipelines: list[tuple[float, list[bytes]]] = []
        self.lines: list[_Line] = []

    async def connect(self, address: Address, *, timeout: float = 0.9, **_: Any) -> Connection:
        """Stands in for storage.redis.connection.connect."""
        self.dialled.append(asyncio.get_running_loop().time())
        if not self.is_there:
            raise RedisAway("refused")
        if self.is_frozen:
            await asyncio.sleep(timeout)
            raise RedisAway("no answer")
        await asyncio.sleep(self.delay_s)
        connection = Connection()
        line = _Line(self, connection)
        connection.connection_made(line)
        self.lines.append(line)
        return connection

    def kill(self) -> None:
        """Every connection breaks, and none can be opened."""
        self.is_there = False
        self.drop()

    def drop(self) -> None:
        """Every connection breaks."""
        for line in list(self.lines):
            line.close()

    def serve(self, line: _Line, commands: list[list[bytes]]) -> None:
        now = asyncio.get_running_loop().time()
        published = [words[-1] for words in commands if words[0] == b"PUBLISH"]
        if published:
            self.pipelines.append((now, published))
        for words in commands:
            match words:
                case [b"PING"]:
                    self.pings.append(now)
                    line.say(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" if line.channels else b"+PONG\r\n")
                case [b"CLUSTER", _]:
                    line.say(b"-ERR This instance has cluster support disabled\r\n")
                case [b"SUBSCRIBE", channel]:
                    line.channels.add(channel)
                    line.say(pack((b"subscribe", channel, b"1")))
                    if self.greets:
                        line.say(pack((b"message", channel, b"welcome")))
                case [b"UNSUBSCRIBE", channel]:
                    line.channels.discard(channel)
                    line.say(pack((b"unsubscribe", channel, b"1")))
                case [b"PUBLISH", channel, data]:
                    hearing = [one for one in self.lines if channel in one.channels]
                    for one in hearing:
                        one.say(pack((b"message", channel, data)))
                    line.say(b":%d\r\n" % len(hearing))
                case _:
                    raise AssertionError(words)


class _Line(asyncio.Transport):
    """One connection, seen from the server."""

    def __init__(self, server: MemoryRedis, connection: Connection) -> None:
        super().__init__()
        self.channels: set[bytes] = set()
        self._server = server
        self._connection = connection
        self._reader = hiredis.Reader(notEnoughData=self)
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        if not self._server.is_frozen:
            self._reader.feed(data)
            self._server.serve(self, list(iter(self._reader.gets, self)))

    def say(self, data: bytes) -> None:
        self._loop.call_later(self._server.delay_s, self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if self in self._server.lines and not self._server.is_frozen:
            self._connection.data_received(data)

    def abort(self) -> None:
        if self in self._server.lines:
            self._server.lines.remove(self)
            self._loop.call_soon(self._connection.connection_lost, None)

    close = abort


@contextmanager
def memory_redis() -> Iterator[MemoryRedis]:
    """In the place of the network."""
    server = MemoryRedis()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "connect", server.connect)
        yield server
