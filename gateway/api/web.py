"""What every HTTP answer shares: cross-origin rules, an access log without credentials, no version header."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler, Middleware

log = logging.getLogger("gateway.access")


def cross_origin(allowed: tuple[str, ...]) -> Middleware:
    """A middleware that lets pages of the allowed origins use the API. Credentials are tokens, never cookies."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        permitted = origin is not None and ("*" in allowed or origin in allowed)
        if permitted and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response = await handler(request)
        if permitted and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin or ""
            response.headers["Vary"] = "Origin"
        return response

    return middleware


async def no_server_header(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "gateway"
    response.headers["X-Content-Type-Options"] = "nosniff"


class _AccessLog(AbstractAccessLogger):
    """One line a request. The query is left out: it may hold a token."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        log.info(
            "%s %s",
            request.method,
            request.path,
            extra={"status": response.status, "ms": round(time * 1000, 1), "peer": request.remote},
        )

    @property
    def enabled(self) -> bool:
        return log.isEnabledFor(logging.INFO)


def access_log() -> type[AbstractAccessLogger]:
    return _AccessLog
