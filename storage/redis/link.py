"""A connection that is kept: watched, cut when its server falls silent, opened anew with growing pauses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, Protocol, TypeVar

from storage.redis.connection import Connection
from storage.redis.errors import RedisAway
from storage.redis.liveness import LOOK_S, Verdict, Watchdog, pause_s
from storage.redis.topology import Node

_STEADY_S = 1.0  # a connection that held for this many seconds was a good one: the pauses begin anew


class Holder(Protocol):
    """The user of the connection. Called from the link's task; must neither wait nor raise."""

    def opened(self, connection: Connection) -> None:
        """A new connection is there, and has answered."""

    def closed(self, why: str) -> None:
        """It has ended, or could not be opened. May be called several times without `opened` in between."""


class Link:
    """One supervised connection. A silent server is noticed after `liveness.AWAY_S` and a look, a gone one at once."""

    def __init__(self, dial: Callable[[], Awaitable[Connection]], holder: Holder) -> None:
        self.why = "not connected yet"
        """Why there is none."""
        self._dial = dial
        self._holder = holder
        self._connection: Connection | None = None
        self._ended = False

    @property
    def connection(self) -> Connection | None:
        """None while there is none that works."""
        connection = self._connection
        return connection if connection is not None and not connection.over.done() else None

    async def run(self) -> None:
        """Until cancelled, or `end` was called: a lost cancellation must not keep it alive."""
        attempt = 0
        clock = asyncio.get_running_loop().time
        while not self._ended:
            began = clock()
            try:
                await self._hold()
            except RedisAway as error:
                self._down(str(error))
            attempt = 1 if clock() - began > _STEADY_S else attempt + 1
            if not self._ended:
                await asyncio.sleep(pause_s(attempt, random.random()))  # noqa: S311

    async def _hold(self) -> None:
        """One connection, from its beginning to its end. Raises: RedisAway."""
        connection = await self._dial()
        try:
            self._connection = connection
            self._holder.opened(connection)
            await self._watch(connection)
        finally:
            connection.cut("this gateway closed it")
            self._down(connection.why)
            await connection.closed()

    def _down(self, why: str) -> None:
        self._connection = None
        self.why = why
        self._holder.closed(why)

    async def _watch(self, connection: Connection) -> None:
        clock = asyncio.get_running_loop().time
        watchdog, received = Watchdog(clock()), connection.received
        while not connection.over.done() and not self._ended:
            await asyncio.wait((connection.over,), timeout=LOOK_S)  # bears a cancellation, and leaves the future alone
            heard, received = connection.received != received, connection.received
            match watchdog.look(clock(), heard=heard):
                case Verdict.PING:
                    connection.ping()
                case Verdict.CUT:
                    connection.cut("the server is silent")

    def end(self) -> None:
        """No further attempt; the connection is cut."""
        self._ended = True
        if self._connection is not None:
            self._connection.cut("this gateway closed it")


L = TypeVar("L", bound="Linked")


class Linked(Protocol):
    """Something that holds the link to one server."""

    @property
    def link(self) -> Link:
        """Its link."""


class Links(Generic[L]):
    """One link to each server of a topology, each run by a task of the group."""

    def __init__(self, tasks: asyncio.TaskGroup, make: Callable[[Node], L]) -> None:
        self._tasks = tasks
        self._make = make
        self._held: dict[Node, tuple[L, asyncio.Task[None]]] = {}
        self._ended = False

    def adapt(self, nodes: Collection[Node]) -> None:
        """Links to servers that have left are ended, links to new ones begun; the others go on."""
        for node in self._held.keys() - set(nodes):
            one, task = self._held.pop(node)
            one.link.end()
            task.cancel()
        for node in () if self._ended else nodes:
            if node not in self._held:
                one = self._make(node)
                task = self._tasks.create_task(one.link.run(), name=f"redis {node.address}")
                self._held[node] = one, task

    def get(self, node: Node | None) -> L | None:
        """None: there is no such server in the topology."""
        held = self._held.get(node) if node is not None else None
        return held[0] if held else None

    def all(self) -> list[L]:
        """In the order in which they came."""
        return [one for one, _ in self._held.values()]

    def end(self) -> None:
        """All of them, for good."""
        self._ended = True
        self.adapt(())
