"""Delivery of a session's messages to the URL it named."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import aiohttp

log = logging.getLogger(__name__)

LIMIT: Final = 1000
TRIES: Final = 2
TIMEOUT_S: Final = 10.0


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
                async with http.post(self._url, json=event, timeout=timeout) as answer:
                    if answer.status < 400:
                        return True
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
        return False
