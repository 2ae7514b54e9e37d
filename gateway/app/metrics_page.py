"""The page of GATEWAY_METRICS_PORT: a listener of its own, without a token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.app.admittance import Caps
from gateway.app.listener import Listener, ListenerOptions, listening


@asynccontextmanager
async def metrics_page(host: str, port: int, text: Callable[[], Awaitable[bytes]]) -> AsyncIterator[None]:
    """`text` is asked at each scrape. Raises: StartFailed."""

    async def scrape(request: web.Request) -> web.Response:
        return web.Response(body=await text(), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    options = ListenerOptions(host, port, Caps(64, 64), setting="GATEWAY_METRICS_PORT", backlog=64)
    async with listening(app, Listener(options)):
        yield
