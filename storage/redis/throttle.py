"""So many requests a minute over all replicas: one atomic script on the Redis server, on the server's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from storage.redis.connection import Connection
from storage.redis.directory import Directory
from storage.redis.errors import RedisAway, ServerError
from storage.redis.link import Link, Links
from storage.redis.tasks import owned_tasks
from storage.redis.topology import Node
from storage.redis.url import parse_redis_url

__all__ = ["RedisAway", "Throttle", "open_throttle"]

# The generic cell rate algorithm. KEYS[1] holds until when the allowance is spent, in microseconds.
# Numbers go in and out as integers: a double holds microseconds since 1970 exactly, but prints them rounded.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local after = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval
local early = after - now - 60000000
if early > 0 then return early end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return 0
"""


class _Server:
    """The connection to one server."""

    def __init__(self, node: Node, owner: Throttle) -> None:
        self.link = Link(lambda: owner.directory.dial(node), self)
        self._owner = owner

    def opened(self, connection: Connection) -> None:
        self._owner.tried(failed=False)

    def closed(self, why: str) -> None:
        self._owner.tried(failed=True)


class Throttle:
    """Use `open_throttle`."""

    def __init__(self, directory: Directory, tasks: asyncio.TaskGroup, answer_s: float) -> None:
        self.directory = directory
        self._tried = asyncio.Event()
        self._failures = 0
        self._answer_s = answer_s
        self._servers: Links[_Server] = Links(tasks, lambda node: _Server(node, self))
        directory.follow(self._adapt)
        self._finding = tasks.create_task(directory.run(), name="redis directory")

    async def take(self, key: str, per_minute: int) -> float:
        """Count one request. Returns: 0 when it is granted, else seconds to wait. Raises: RedisAway.

        Cancelled, or given up after its deadline, it may have been counted all the same.
        """
        raw = key.encode()
        try:
            async with asyncio.timeout(self._answer_s):
                connection = await self._connection(raw)
                replies = await connection.send(("EVAL", _TAKE, 1, raw, 60_000_000 // per_minute))
        except TimeoutError:
            raise RedisAway(self._why(raw) or f"no answer in {self._answer_s:g} s") from None
        if replies is None:
            raise RedisAway(connection.why)
        if isinstance(replies[0], ServerError):
            self.directory.doubt()  # another server may be in charge of the key by now
            raise RedisAway(str(replies[0]))
        return int(replies[0]) / 1_000_000

    async def _connection(self, key: bytes) -> Connection:
        """Waits for the attempt that is under way, or the next one. Raises: RedisAway when it has failed."""
        failures = self._failures
        while True:
            server = self._server_of(key)
            if server is not None and server.link.connection is not None:
                return server.link.connection
            if self._failures > failures:
                raise RedisAway(self._why(key))
            self._tried.clear()
            await self._tried.wait()

    def tried(self, *, failed: bool) -> None:
        """A server was found, connected to, or not."""
        self._failures += failed
        self._tried.set()

    def _adapt(self) -> None:
        topology = self.directory.topology
        if topology is not None:
            self._servers.adapt(topology.nodes)
        self.tried(failed=bool(self.directory.why))

    def _server_of(self, key: bytes) -> _Server | None:
        topology = self.directory.topology
        return self._servers.get(topology.node_of(key)) if topology else None

    def _why(self, key: bytes) -> str:
        server = self._server_of(key)
        if server is None:
            return self.directory.why
        return server.link.why if server.link.connection is None else ""

    def end(self) -> None:
        """For `open_throttle`."""
        self.directory.end()
        self._finding.cancel()
        self._servers.end()


@asynccontextmanager
async def open_throttle(url: str, *, answer_s: float = 0.5) -> AsyncIterator[Throttle]:
    """Opens at once, so that a server that is absent now may come later. Raises: BadRedisUrl."""
    directory = Directory(parse_redis_url(url))
    async with owned_tasks() as tasks:
        throttle = Throttle(directory, tasks, answer_s)
        try:
            yield throttle
        finally:
            throttle.end()
