"""Where the servers are: one at the URL, one that Sentinels name, or the masters of a Cluster."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from storage.redis.connection import Connection, ask, connect, tls_context
from storage.redis.errors import RedisAway, ServerError
from storage.redis.liveness import pause_s
from storage.redis.topology import Node, Topology, clustered, lone
from storage.redis.url import Address, Target

POLL_S: Final = 5.0
"""Sentinels and Clusters are asked again at this interval, and at once when a link says that what is known is stale."""
APART_S: Final = 0.25
"""Between two askings, at least."""


class Directory:
    """Knows the topology, and dials its servers. What was found holds until something else is found."""

    def __init__(self, target: Target) -> None:
        """Raises: BadRedisUrl when a certificate file that the URL names cannot be used."""
        self.topology: Topology | None = None
        self.why = "not connected yet"
        """What went wrong at the last look, "" when nothing."""
        self.place = target.place
        self._target = target
        self._tls: ssl.SSLContext | None = tls_context(target.tls)
        self._sentinels = list(target.addresses)
        self._stale = asyncio.Event()
        self._ended = False
        self._followers: list[Callable[[], None]] = []

    def follow(self, told: Callable[[], None]) -> None:
        """`told` is called after each look, whether it found something or not; it must neither wait nor raise."""
        self._followers.append(told)

    def doubt(self) -> None:
        """A server could not be reached, or said that another one is in charge."""
        self._stale.set()

    def end(self) -> None:
        """No further look: a lost cancellation must not keep `run` alive."""
        self._ended = True
        self._stale.set()

    async def dial(self, node: Node) -> Connection:
        """Raises: RedisAway; then the directory looks again, too."""
        try:
            return await self._connect(node.address)
        except RedisAway:
            self.doubt()
            raise

    async def run(self) -> None:
        """Until cancelled, or `end` was called."""
        attempt = 0
        while not self._ended:
            self._stale.clear()
            try:
                self.topology, self.why, attempt = await self._look(), "", 0
            except RedisAway as error:
                self.why, attempt = str(error), attempt + 1
            for told in self._followers:
                told()
            if attempt:
                await asyncio.sleep(pause_s(attempt, random.random()))  # noqa: S311
                continue
            await asyncio.sleep(APART_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_s()):
                    await self._stale.wait()

    def _rest_s(self) -> float | None:
        is_fixed = not self._target.master and self.topology == lone(self._target.addresses[0])
        return None if is_fixed else POLL_S

    async def _look(self) -> Topology:
        """Raises: RedisAway."""
        if self._target.master:
            return lone(await self._ask_sentinels())
        known = [node.address for node in self.topology.nodes] if self.topology else []
        trouble = RedisAway("no server to ask")
        for address in dict.fromkeys([*self._target.addresses, *known]):  # a server of the URL may be gone for good
            try:
                return await self._ask_server(address)
            except RedisAway as error:
                trouble = error
        raise trouble

    async def _ask_server(self, address: Address) -> Topology:
        slots = await ask(address, "CLUSTER", "SLOTS", login=self._target.login, tls=self._tls)
        if isinstance(slots, ServerError):  # not a Cluster, a proxy without the command, or a user who may not ask
            return lone(address)
        try:
            topology = clustered(slots, address)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RedisAway(
                f"Redis at {address} describes its Cluster in a way that is not understood: {error}"
            ) from error
        if not topology.nodes:
            raise RedisAway(f"the Redis Cluster at {address} serves no slots yet")
        return topology

    async def _ask_sentinels(self) -> Address:
        """The master that the first Sentinel names, if it agrees, else the next. Raises: RedisAway, the last one's."""
        trouble = RedisAway("no Sentinel to ask")
        tried: set[Address] = set()
        for sentinel in list(self._sentinels):
            try:
                address = await self._ask_sentinel(sentinel)
                if address in tried:
                    continue
                tried.add(address)
                await self._check_master(address)
            except RedisAway as error:
                trouble = error
            else:
                self._sentinels.sort(key=sentinel.__ne__)  # the next look begins with who was right
                return address
        raise trouble

    async def _ask_sentinel(self, sentinel: Address) -> Address:
        name, login = self._target.master, self._target.sentinel_login
        named = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, login=login, tls=self._tls)
        if isinstance(named, ServerError):
            raise RedisAway(f"Sentinel {sentinel}: {named}")
        if not named:
            raise RedisAway(f"Sentinel {sentinel} watches no master {name}; correct it in REDIS_URL")
        return Address(named[0].decode(), int(named[1]))

    async def _check_master(self, address: Address) -> None:
        """What is published to a replica stays there; a Sentinel may be behind."""
        role = await ask(address, "ROLE", login=self._target.login, tls=self._tls)
        # An error: the user may not ask. Then believe the Sentinel.
        if not isinstance(role, ServerError) and role[0] != b"master":
            raise RedisAway(f"Redis at {address} is no master any more, and its Sentinels have not noticed yet")

    async def _connect(self, address: Address) -> Connection:
        target = self._target
        return await connect(address, login=target.login, database=target.database, tls=self._tls)
