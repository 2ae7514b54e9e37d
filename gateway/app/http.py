"""The HTTP side: one application for API, streams and console, and /metrics on a port of its own if asked."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.api.errors import problems
from gateway.api.routes import BODY_LIMIT, Api
from gateway.api.web import CrossOrigin, access_log, no_server_header
from gateway.console.pages import register as register_pages
from gateway.metrics import Metrics
from gateway.settings import Settings

if TYPE_CHECKING:
    pass


async def serve_http(settings: Settings, api: Api, metrics: Metrics, rooms: AsyncExitStack) -> int:
    app = web.Application(client_max_size=BODY_LIMIT)
    CrossOrigin(settings.allowed_origins).register(app)
    app.middlewares.append(problems)
    app.on_response_prepare.append(no_server_header)
    api.register(app)
    register_pages(app)
    port = await _listen(app, settings.http_host, settings.http_port, rooms)
    if settings.metrics_port:
        side = web.Application()

        async def scrape(request: web.Request) -> web.Response:
            return web.Response(body=metrics.text(), content_type="text/plain")

        side.router.add_get("/metrics", scrape)
        await _listen(side, settings.http_host, settings.metrics_port, rooms)
    return port


async def _listen(app: web.Application, host: str, port: int, rooms: AsyncExitStack) -> int:
    runner = web.AppRunner(app, access_log_class=access_log(), shutdown_timeout=5.0, handle_signals=False)
    await runner.setup()
    rooms.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port, backlog=4096)
    await site.start()
    bound: int = runner.addresses[0][1]
    return bound
