"""The live endpoint alone, on a real socket, with records in memory: for limits and times that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp import web
from support.waiting import until

from gateway.api.errors import problems
from gateway.api.web import CrossOrigin
from gateway.live.credentials import Access, Secrets, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions, sweep
from gateway.live.hub import Hub
from gateway.live.sending import SendAll, send_all
from gateway.live.watcher import Bounds
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.transcription import Numbering
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.records import Records, SessionRecord
from gateway.transcription.usecases.watch import Watching

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SERVICE = "service"
USER_SECRET = "user-secret-of-at-least-thirty-two-bytes"


@dataclass
class FewRecords:
    """Sessions by slug → status, and the finals of all of them."""

    sessions: dict[str, str] = field(default_factory=lambda: {"one": "LIVE", "two": "LIVE"})
    kept: list[bytes] = field(default_factory=list)
    is_away: bool = False
    is_half_away: bool = False  # sessions are found, nothing else is
    asked: int = 0

    async def by_slug(self, slug: str) -> SessionRecord | None:
        self.asked += 1
        if self.is_away:
            raise RecordsUnavailable
        if slug not in self.sessions:
            return None
        return SessionRecord(slug, slug, self.sessions[slug], None, "s1", NOW)

    async def newest(self, slug: str) -> Any:
        if self.is_half_away:
            raise RecordsUnavailable
        return None

    async def numbering(self, session_id: str) -> Numbering | None:
        return None

    async def since(self, session_id: str, after: int, limit: int) -> list[StoredFinal]:
        return [StoredFinal(seq, data) for seq, data in enumerate(self.kept, 1) if after < seq <= after + limit]


@dataclass
class Small:
    url: str
    hub: Hub
    endpoint: LiveEndpoint
    records: FewRecords
    http: aiohttp.ClientSession

    def begin(self, slug: str = "one", last_seq: int = 0) -> None:
        self.hub.begin(slug, Numbering("k3f9", NOW, last_seq))

    def final(self, seq: int, size: int = 10, slug: str = "one") -> None:
        self.hub.channel(slug).final(seq, f"u{seq}", b'{"text":"' + b"x" * size + b'"}')

    async def watching(self, count: int, within_s: float = 60) -> None:
        await until(lambda: self.hub.counts.watchers == count)


@asynccontextmanager
async def small_endpoint(
    options: LiveOptions | None = None, bounds: Bounds | None = None, send_all: SendAll = send_all
) -> AsyncIterator[Small]:
    hub, records = Hub(lambda: NOW, bounds, send_all), FewRecords()
    secrets = Secrets((SERVICE,), (USER_SECRET,))

    async def checked(token: str | None) -> Access:
        return check(token, secrets)

    options = options or LiveOptions()
    ports = cast(
        Records, SimpleNamespace(sessions=records, transcriptions=records, finals=records, translations=records)
    )
    watching = Watching(ports, FinalReader(ports))
    endpoint = LiveEndpoint(hub, watching, checked, lambda: "http://own.example", options)
    app = web.Application()
    CrossOrigin(options.allowed_origins).register(app)
    app.middlewares.append(problems)
    app.router.add_get("/api/realtime/transcribe", endpoint.watch)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    jobs = [
        asyncio.create_task(job)
        for job in (sweep(hub), endpoint.beat(), endpoint.end_finished(), endpoint.translated.run())
    ]
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {SERVICE}"}) as http:
            yield Small(url, hub, endpoint, records, http)
    finally:
        await endpoint.close()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await runner.cleanup()
    assert hub.counts.watchers == 0
