"""Every request has an id, its caller's or one of ours: in its answer, and in the log lines of all that it causes.

So has its span, where there are spans: the child of its caller's.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import correlation, tracing

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
        return await _traced(request, handler)


async def _traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Not streams, which last as long as their reader stays, nor what is asked every second."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    is_asked = route.startswith("/api/") or (route.startswith("/internal/") and request.method == "POST")
    if not tracing.is_on() or not is_asked or route.startswith("/api/realtime/"):
        return await handler(request)
    facts = {"http.request.method": request.method, "http.route": route}
    parent = request.headers.get(tracing.HEADER)
    with tracing.span(f"{request.method} {route}", facts, kind="server", parent=parent) as span:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            span.note({"http.response.status_code": error.status})
            raise
        span.note({"http.response.status_code": response.status})
        return response


async def _answer(request: web.Request, response: web.StreamResponse) -> None:
    """Streams and upgrades too, which their handlers begin."""
    if (chosen := id_of(request)) is not None:
        response.headers[correlation.HEADER] = chosen
