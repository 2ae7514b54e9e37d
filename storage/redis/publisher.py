"""The sending end of the bus: one writer, one pipeline in flight to each server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from storage.redis.connection import Connection, Reply
from storage.redis.counters import Counters
from storage.redis.directory import Directory
from storage.redis.errors import RedisAway, ServerError
from storage.redis.link import Link, Links
from storage.redis.outbox import Message, Outbox
from storage.redis.topology import Node, Topology

APART_S: Final = 0.010
"""Between the beginnings of two pipelines. At 1,250 messages a second: a third of the CPU of one each loop turn."""
ANSWER_S: Final = 0.5
"""For the answer to a pipeline; then its connection is given up. Nothing is sent twice."""
PIPELINE: Final = 256 * 1024
"""Bytes in one pipeline, so that packing one never holds up the loop for long."""


class _Server:
    """The connection over which is published to one server."""

    def __init__(self, node: Node, owner: Publisher) -> None:
        self.node = node
        self.link = Link(lambda: owner.directory.dial(node), self)
        self.verb = b"SPUBLISH" if node.sharded else b"PUBLISH"
        self._owner = owner
        self._was_open = False

    def opened(self, connection: Connection) -> None:
        self._owner.opened(again=self._was_open)
        self._was_open = True

    def closed(self, why: str) -> None:
        self._owner.changed()

    def numsub(self, channels: list[str]) -> asyncio.Future[list[Reply] | None]:
        """Raises: RedisAway without a connection."""
        connection = self.link.connection
        if connection is None:
            raise RedisAway(self.link.why)
        return connection.send(("PUBSUB", "SHARDNUMSUB" if self.node.sharded else "NUMSUB", *channels))


class Publisher:
    """Takes messages without waiting, and sends them without being waited for."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        directory: Directory,
        counters: Counters,
        *,
        receivers: Callable[[str, int], None],
        refused: Callable[[ServerError], None],
        changed: Callable[[], None],
    ) -> None:
        """`receivers(channel, number)` is told for each message that a server has taken, `refused(why)` for each that
        it has not; `changed()` when a connection came or went. None of them may wait or raise.
        """
        self.directory = directory
        self.changed = changed
        self._counters = counters
        self._receivers = receivers
        self._refused = refused
        self._outbox = Outbox(counters)
        self._waiting = asyncio.Event()
        self._up = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = False
        self._servers: Links[_Server] = Links(tasks, lambda node: _Server(node, self))
        self._clock = asyncio.get_running_loop().time

    @property
    def links(self) -> list[Link]:
        """One to each server."""
        return [server.link for server in self._servers.all()]

    def publish(self, channel: str, data: bytes, overtakes: str | None) -> None:
        """See `Bus.publish`."""
        self._outbox.put(Message(channel.encode(), data, overtakes, self._clock()))
        self._waiting.set()
        self._idle.clear()

    async def flush(self, timeout: float) -> bool:
        """See `Bus.flush`."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def numsub(self, channels: Iterable[str]) -> dict[str, int]:
        """See `Bus.numsub`."""
        asked: dict[_Server, list[str]] = {}
        for channel in channels:
            server = self._server_of(channel.encode())
            if server is None:
                raise RedisAway(self.directory.why or f"no server is in charge of {channel}")
            asked.setdefault(server, []).append(channel)
        answers = [(some, server.numsub(some)) for server, some in asked.items()]
        if answers:
            await asyncio.wait([answer for _, answer in answers], timeout=ANSWER_S)
        return {channel: number for some, answer in answers for channel, number in _numbers(some, answer)}

    def adapt(self, topology: Topology) -> None:
        """The servers are these now."""
        self._servers.adapt(topology.nodes)

    def opened(self, *, again: bool) -> None:
        """A connection is there."""
        self._counters.reconnects += again
        self._up.set()
        self.changed()

    async def run(self) -> None:
        """Until cancelled, or `end` was called."""
        while True:
            await self._waiting.wait()
            if self._ended:
                return
            if not any(link.connection for link in self.links):
                self._up.clear()
                await self._up.wait()
                continue
            self._waiting.clear()
            began = self._clock()
            batch = self._outbox.take(began, PIPELINE)
            if batch:
                await self._send(batch)
            if self._outbox:
                self._waiting.set()
            else:
                self._idle.set()
            await asyncio.sleep(began + APART_S - self._clock())

    def end(self) -> None:
        """Nothing more is sent, and `run` ends even when its cancellation should get lost."""
        self._ended = True
        self._waiting.set()
        self._up.set()
        self._servers.end()

    async def _send(self, batch: list[Message]) -> None:
        """A pipeline to each server that is concerned, at the same time; all answered or given up at the end."""
        by_server: dict[_Server | None, list[Message]] = {}
        for message in batch:
            by_server.setdefault(self._server_of(message.channel), []).append(message)
        flying = []
        for server, some in by_server.items():
            connection = server.link.connection if server else None
            if server is None or connection is None:
                self._counters.dropped += len(some)
                continue
            before = connection.sent
            answer = connection.send(*[(server.verb, message.channel, message.data) for message in some])
            self._counters.pipelines += 1
            self._counters.bytes_sent += connection.sent - before
            flying.append((connection, some, answer))
        if flying:
            await asyncio.wait([answer for _, _, answer in flying], timeout=ANSWER_S)
        for connection, some, answer in flying:
            if not answer.done():
                connection.cut(f"no answer to a pipeline in {ANSWER_S:g} s")  # which settles the answer
            self._settle(some, answer.result())

    def _settle(self, some: list[Message], replies: list[Reply] | None) -> None:
        if replies is None:
            self._counters.unconfirmed += len(some)
            return
        for message, reply in zip(some, replies, strict=True):
            if isinstance(reply, ServerError):
                self._counters.dropped += 1
                self._refused(reply)
                self.directory.doubt()
            else:
                self._counters.published += 1
                self._receivers(message.channel.decode(), reply)

    def _server_of(self, channel: bytes) -> _Server | None:
        topology = self.directory.topology
        return self._servers.get(topology.node_of(channel)) if topology else None


def _numbers(channels: list[str], answer: asyncio.Future[list[Reply] | None]) -> Iterable[tuple[str, int]]:
    """Raises: RedisAway."""
    replies = answer.result() if answer.done() else None
    if replies is None:
        raise RedisAway(f"no answer in {ANSWER_S:g} s" if not answer.done() else "the connection ended")
    if isinstance(replies[0], ServerError):
        raise RedisAway(str(replies[0]))
    # [channel, number, channel, number, …], in the order of the question
    return zip(channels, replies[0][1::2], strict=True)
