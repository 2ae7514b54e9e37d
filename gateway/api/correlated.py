"""Every request has an id, its caller's or one of ours: in its answer, and in the log lines of all that it causes."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import correlation

_ID: Final = web.RequestKey("gateway.request_id", str)


def register(app: web.Application) -> None:
    """Before any other middleware: refusals have an id, too."""
    app.middlewares.append(_correlated)
    app.on_response_prepare.append(_answer)


def id_of(request: web.BaseRequest) -> str | None:
    """None before the application has seen it, as with one that is not HTTP."""
    return request.get(_ID)


@web.middleware
async def _correlated(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[_ID] = chosen = correlation.request_id(request.headers.get(correlation.HEADER, ""))
    with correlation.bound(request=chosen):
        return await handler(request)


async def _answer(request: web.Request, response: web.StreamResponse) -> None:
    """Streams and upgrades too, which their handlers begin."""
    if (chosen := id_of(request)) is not None:
        response.headers[correlation.HEADER] = chosen
