"""What every route shares: bodies in and out, cross-origin rules, a log without credentials, no version header."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler, Middleware

from gateway import correlation, tracing
from gateway.api.correlated import id_of
from gateway.api.warnings import warnings
from gateway.errors import WrongRequest
from gateway.live.address import Network, client_address
from gateway.reading import NotJson, read_json

log = logging.getLogger("gateway.access")
T = TypeVar("T")

ALLOWED: Final = f"Authorization, Content-Type, Last-Event-ID, {correlation.HEADER}, {tracing.HEADER}"
"""Headers that pages of other origins may send."""


_NUL: Final = "\x00"


async def read_body(request: web.Request, kind: type[T], *, default: bytes = b"null") -> T:
    """`default` stands for a body that is absent. No text in it has a NUL: PostgreSQL could not hold it, so what is
    checked would not be what is stored.

    Raises: WrongRequest with what is wrong where; HTTPRequestEntityTooLarge above the application's limit.
    """
    body = await read_told(request, kind, default=default)
    data = await request.read()
    if b"\\u0000" in data:
        try:
            where = _nul(json.loads(data))
        except (ValueError, RecursionError):
            where = ""
        if where is not None:
            raise WrongRequest(f"the request does not fit: a text has a NUL (U+0000){where and f' - at `${where}`'}")
    return body


async def read_told(request: web.Request, kind: type[T], *, default: bytes = b"null") -> T:
    """As `read_body`, of another replica, which has checked it; a text may hold whatever a provider has said."""
    try:
        return read_json(await request.read() or default, kind)
    except NotJson as error:
        raise WrongRequest(
            f"the request does not fit: {error}" if error.misfits else f"the body is not JSON: {error}"
        ) from None


async def read_body_warned(request: web.Request, kind: type[T], *, default: bytes = b"null") -> tuple[T, list[str]]:
    """As `read_body`, with what to tell about fields that nothing reads."""
    body = await read_body(request, kind, default=default)
    try:
        told = read_json(await request.read() or default)
    except NotJson:
        return body, []  # such a field holds what is no JSON value, 1e999 for example
    return body, warnings(told, body)


def _nul(node: object) -> str | None:
    """Where the first text with a NUL is; None: nowhere."""
    match node:
        case str():
            return "" if _NUL in node else None
        case list():
            parts: Iterable[tuple[str, object]] = ((f"[{at}]", one) for at, one in enumerate(node))
        case dict():
            if any(_NUL in key for key in node):
                return ""
            parts = ((f".{key}", one) for key, one in node.items())
        case _:
            return None
    return next((step + where for step, one in parts if (where := _nul(one)) is not None), None)


def address_of(request: web.Request, trusted_proxies: tuple[Network, ...]) -> str:
    """Of whoever asks. `trusted_proxies`: whose X-Forwarded-For is believed."""
    return client_address(request.remote, request.headers.getall("X-Forwarded-For", []), trusted_proxies)


def json_answer(value: object, status: int = 200) -> web.Response:
    """`value`: whatever msgspec encodes, such as the structs of `schemas`."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


class CrossOrigin:
    """Lets pages of the allowed origins use the API. Credentials are tokens, never cookies."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed

    def register(self, app: web.Application) -> None:
        """Preflights are answered, and every answer is marked, refusals and streams too. To be called once."""
        app.middlewares.append(self._preflight())
        app.on_response_prepare.append(self._permit)  # streamed answers are prepared by their handler

    def _permits(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        return origin is not None and ("*" in self._allowed or origin in self._allowed)

    def _preflight(self) -> Middleware:
        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
            if not asked or not self._permits(request):
                return await handler(request)
            response = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = ALLOWED
            response.headers["Access-Control-Max-Age"] = "600"
            return response

        return answer

    async def _permit(self, request: web.Request, response: web.StreamResponse) -> None:
        if self._permits(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = correlation.HEADER
            response.headers["Vary"] = "Origin"


async def no_server_header(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler for `on_response_prepare`: no version of aiohttp and Python is shown, no type is guessed."""
    response.headers["Server"] = "gateway"
    response.headers["X-Content-Type-Options"] = "nosniff"


class _AccessLog(AbstractAccessLogger):
    """One line a request. The query is left out: it may hold a token."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        log.info(
            "%s %s",
            request.method,
            request.rel_url.raw_path,  # undecoded: no line break gets in
            extra={
                "status": response.status,
                "ms": round(time * 1000, 1),
                "peer": request.remote,
                "request": id_of(request),
            },
        )

    @property
    def enabled(self) -> bool:
        return log.isEnabledFor(logging.INFO)


def access_log() -> type[AbstractAccessLogger]:
    """What `web.AppRunner` takes as `access_log_class`."""
    return _AccessLog
