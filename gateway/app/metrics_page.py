"""The page of GATEWAY_METRICS_PORT: a listener of its own, with /metrics without a token and /debug/ with one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.api.errors import note_begun, problems
from gateway.api.web import no_server_header
from gateway.app.admittance import Caps
from gateway.app.listener import Listener, ListenerOptions, listening


@asynccontextmanager
async def metrics_page(
    host: str,
    port: int,
    text: Callable[[], Awaitable[bytes]] | None,
    more: Callable[[web.Application], None] = lambda app: None,
    setting: str = "GATEWAY_METRICS_PORT",
) -> AsyncIterator[int]:
    """`text` is asked at each scrape; None: there is no /metrics. `more` adds routes. `setting`: where another port is
    chosen. Yields the port.

    Raises: StartFailed.
    """

    async def scrape(request: web.Request) -> web.Response:
        return web.Response(body=await text() if text else b"", content_type="text/plain")

    app = web.Application(middlewares=[problems])
    app.on_response_prepare.extend((no_server_header, note_begun))
    if text is not None:
        app.router.add_get("/metrics", scrape)
    more(app)
    options = ListenerOptions(host, port, Caps(64, 64), setting=setting, backlog=64)
    async with listening(app, Listener(options)) as [bound]:
        yield bound
