"""A receiver of webhooks that can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behave = Callable[[web.Request], Any]


@dataclass
class Receiver:
    """`taken`: what was answered with 2xx, and `seen`: all that came, as (webhook-id, body, headers)."""

    url: str = ""
    behaviours: list[str] = field(default_factory=list)
    """One for each of the next requests; then all is well."""
    seen: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    taken: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        return [told["type"] for _, told, _ in self.taken]

    async def until(self, ready: Callable[[], bool], within_s: float = 60) -> None:
        async with asyncio.timeout(within_s):
            while not ready():
                await asyncio.sleep(0.02)

    async def hook(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        event_id = request.headers["webhook-id"]
        one = (event_id, json.loads(content), dict(request.headers))
        assert self.raw.setdefault(event_id, content) == content, "a body changed between attempts"
        self.seen.append(one)
        how = self.behaviours.pop(0) if self.behaviours else "well"
        if how == "slow":
            await asyncio.sleep(1.5)  # longer than the test's sender waits
        if how == "dead":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if how == "500":
            return web.Response(status=500, text="x" * 100_000)
        if how == "gone":
            return web.Response(status=410)
        if how == "redirect":
            return web.Response(status=307, headers={"Location": self.url + "/elsewhere"})
        self.taken.append(one)
        if how == "cut":  # taken, and the sender may not know
            answer = web.StreamResponse()
            answer.content_length = 1_000
            await answer.prepare(request)
            assert request.transport is not None
            request.transport.abort()
            return answer
        if how == "endless":
            answer = web.StreamResponse()
            await answer.prepare(request)
            try:
                while True:
                    await answer.write(b"x" * 65_536)
            except (ConnectionError, asyncio.CancelledError):
                return answer
        return web.Response(status=204)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.hook)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    receiver.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"  # type: ignore[attr-defined]
    try:
        yield receiver
    finally:
        await runner.cleanup()
