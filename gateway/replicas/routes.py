"""Who may ask what only replicas ask each other: the guard of every route under /internal/."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from gateway.replicas.peers import CALLER, FROM, HOP, TO, header_text

log = logging.getLogger(__name__)

PREFIX: Final = "/internal"
_LEVELS: Final = {"GET": logging.DEBUG, "POST": logging.INFO}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_IS_REPLICA: Final = web.RequestKey("gateway.is_replica", bool)


@dataclass(frozen=True, slots=True)
class InternalRoutes:
    """`me`: this replica's id. `admits`: whether an `Authorization` header holds a service token, or the key
    (`peers.key_for`) of the replica whose id is the second argument."""

    me: str
    admits: Callable[[str, str], bool]

    def register(self, app: web.Application, routes: dict[tuple[str, str], Handler]) -> None:
        """`routes`: by method and path, which begins with PREFIX. None of them may ask another replica."""
        app.on_response_prepare.append(self._sign)
        for (method, path), handler in routes.items():
            app.router.add_route(method, path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            meant = request.headers.get(TO, "")
            if request.headers.get(HOP) != "1" or not self.admits(request.headers.get("Authorization", ""), meant):
                raise web.HTTPNotFound  # for everybody else there is nothing here
            request[_IS_REPLICA] = True
            if meant != self.me:
                return misdirected(f"this is replica {self.me}")
            by = header_text(request.headers.get(CALLER, ""))
            extra = {"by": by, "path": request.path}
            log.log(_LEVELS[request.method], "%s for another replica", request.method, extra=extra)
            return await handler(request)

        return guarded

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.get(_IS_REPLICA):
            response.headers[FROM] = self.me


def misdirected(detail: str, owner: str = "") -> web.Response:
    """421. `owner`: who is to be asked instead, once."""
    told = {"type": "about:blank", "title": "Misdirected", "status": 421, "detail": detail, "owner": owner}
    return web.Response(body=msgspec.json.encode(told), status=421, content_type="application/problem+json")
