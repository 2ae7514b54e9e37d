"""A reader of server-sent events (WHATWG HTML, 9.2.6), for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

STREAM = "/api/realtime/transcribe"


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    id: str | None
    data: dict[str, Any]


@dataclass
class Events:
    """One connection. `last_id`: what a browser would come back with. `comments`: heartbeats so far."""

    answer: aiohttp.ClientResponse
    last_id: str | None = None
    retry_ms: int | None = None
    comments: int = 0
    seen: list[Event] = field(default_factory=list)

    async def next(self, within_s: float = 60) -> Event | None:
        """None when the stream is over."""
        async with asyncio.timeout(within_s):
            kind, data, place = "message", "", self.last_id
            while line := (await self.answer.content.readline()).decode():
                name, _, value = line.rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                match name:
                    case "" if line == "\n" and data:
                        self.last_id = place  # only now: an event that is cut off has not come
                        self.seen.append(Event(kind, self.last_id, json.loads(data)))
                        return self.seen[-1]
                    case "":
                        self.comments += line.startswith(":")
                    case "event":
                        kind = value
                    case "data":
                        data += value
                    case "id":
                        place = value
                    case "retry":
                        self.retry_ms = int(value)
        return None

    async def until(self, kind: str) -> Event:
        while (event := await self.next()) is not None:
            if event.kind == kind:
                return event
        raise AssertionError(f"it ended before {kind!r}: {self.kinds}")

    async def rest(self) -> list[Event]:
        """Everything to the end of the stream."""
        while await self.next() is not None:
            pass
        return self.seen

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.seen]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [event.data for event in self.seen if event.kind == "transcript.final"]


@asynccontextmanager
async def listening(
    http: aiohttp.ClientSession, url: str, slug: str, *, last_id: str | None = None, **query: str
) -> AsyncIterator[Events]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id is not None else {})
    async with http.get(url + STREAM, params={"session": slug, **query}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        yield Events(answer, last_id)
