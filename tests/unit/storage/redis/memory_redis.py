"""As much of a Redis server as the bus speaks with, in memory, so that time can pass at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest

from storage.redis import wire
from storage.redis.url import Address, Login
from storage.redis.wire import Wire, options


def pack(words: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class MemoryRedis:
    """Answers after `delay_s`; `pipelines` and `pings` hold the times at which something was written."""

    def __init__(self) -> None:
        self.is_there = True
        self.is_frozen = False
        self.is_loading = False
        self.greets = False
        """Whoever subscribes gets a message at once."""
        self.delay_s = 0.001
        self.dialled: list[float] = []
        self.pings: list[float] = []
        self.pipelines: list[tuple[float, list[bytes]]] = []
        self.lines: list[_Line] = []

    def wire_to(self, address: Address, **_: Any) -> MemoryWire:
        """Stands in for storage.redis.wire.wire_to."""
        return MemoryWire(self.accept)

    async def accept(self) -> _Line:
        self.dialled.append(asyncio.get_running_loop().time())
        if not self.is_there:
            raise ConnectionRefusedError("refused")
        await asyncio.sleep(self.delay_s)
        line = _Line(self)
        self.lines.append(line)
        return line

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
                case _ if self.is_loading:
                    line.say(b"-LOADING Redis is loading the dataset in memory\r\n")
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


class MemoryWire(Wire):
    """redis-py's connection over a transport that is no socket."""

    def __init__(self, accept: Callable[[], Awaitable[asyncio.Transport]]) -> None:
        super().__init__(**options(Login()))
        self._accept = accept

    async def _connect(self) -> None:
        transport = await self._accept()
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, asyncio.get_running_loop())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _host_error(self) -> str:
        return "memory"

    def repr_pieces(self) -> list[tuple[str, str]]:
        return []


class _Line(asyncio.Transport):
    """One connection, seen from the server."""

    def __init__(self, server: MemoryRedis) -> None:
        super().__init__()
        self.channels: set[bytes] = set()
        self._server = server
        self._protocol: Any = None
        self._under_way: deque[bytes] = deque()
        self._reader = hiredis.Reader(notEnoughData=self)
        self._loop = asyncio.get_running_loop()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self not in self._server.lines

    def writelines(self, some: Iterable[Any]) -> None:
        self.write(b"".join(some))

    def write(self, data: Any) -> None:
        if not self._server.is_frozen:
            self._reader.feed(data)
            self._server.serve(self, list(iter(self._reader.gets, self)))

    def say(self, data: bytes) -> None:
        self._under_way.append(data)  # timers of one moment come in any order
        self._loop.call_later(self._server.delay_s, self._arrive)

    def _arrive(self) -> None:
        data = self._under_way.popleft()
        if self in self._server.lines and not self._server.is_frozen:
            self._protocol.data_received(data)

    def abort(self) -> None:
        if self in self._server.lines:
            self._server.lines.remove(self)
            self._loop.call_soon(self._protocol.connection_lost, None)

    close = abort


@contextmanager
def memory_redis() -> Iterator[MemoryRedis]:
    """In the place of the network."""
    server = MemoryRedis()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "wire_to", server.wire_to)
        yield server
