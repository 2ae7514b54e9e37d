"""Delivery of a session's messages to the URL it named."""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

log = logging.getLogger(__name__)

LIMIT: Final = 1000
TRIES: Final = 2
TIMEOUT_S: Final = 10.0


def is_public(url: str) -> bool:
    """Whether its host is a name, or an address that all the world can reach."""
    try:
        host = urlsplit(url).hostname or ""
        return ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return host not in ("", "localhost") and not host.endswith(".localhost")


class _PublicNames(ThreadedResolver):
    """Names are judged by the addresses that are then connected to: a name may point anywhere, and change."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        public = [each for each in found if ip_address(each["host"].partition("%")[0]).is_global]
        if not public:
            raise OSError(0, f"{host} has no public address")
        return public


def callback_client(private: bool) -> aiohttp.ClientSession:
    """What delivers callbacks. `private`: to any address; else to such as all the world can reach."""
    if private:
        return aiohttp.ClientSession(trust_env=False)
    return aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(resolver=_PublicNames()))


class Callbacks:
    """One session's queue of callbacks: in order, one at a time. Full: the new one is dropped and counted."""

    def __init__(self, url: str, session_id: str) -> None:
        self._url, self._id = url, session_id
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.lost = 0

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message as it goes over the wire; never waits."""
        if self._queue.qsize() >= LIMIT:
            self.lost += 1
            return
        self._queue.put_nowait({"id": self._id, "event": f"live.{message['type']}", "payload": message})

    def end(self) -> None:
        """Nothing more will be put; `deliver` returns when all is out."""
        self._queue.put_nowait(None)

    async def deliver(self, http: aiohttp.ClientSession) -> None:
        """POST what is put until `end`; each is tried TRIES times, then counted as lost."""
        while (event := await self._queue.get()) is not None:
            if not await self._post(http, event):
                self.lost += 1
        if self.lost:
            log.warning("session %s: %d callbacks could not be delivered to their URL", self._id, self.lost)

    async def _post(self, http: aiohttp.ClientSession, event: dict[str, Any]) -> bool:
        for _ in range(TRIES):
            try:
                timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
                async with http.post(self._url, json=event, timeout=timeout, allow_redirects=False) as answer:
                    if answer.status < 400:
                        return True
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
        return False
