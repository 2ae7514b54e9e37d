"""The audit log over HTTP: routes that are noted in it, and reading it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec
from aiohttp import web

from gateway.api.errors import Problem
from gateway.api.openapi import Handler, Parameter, Route
from gateway.api.period import FROM, TO, moment
from gateway.api.schemas import Moment
from gateway.api.web import json_answer
from gateway.archive.audit import Audit
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.live.address import Network, client_address
from gateway.moment import timestamp
from gateway.reading import NotJson, read_json
from gateway.replicas.peers import asked_by

KEY_READ: Final = web.RequestKey("gateway.key_read", bool)
"""Set by a handler whose answer holds a stream key."""
UNCHANGED: Final = web.RequestKey("gateway.unchanged", bool)
"""Set by a handler: whether all was so already, which makes no row."""
PAGE: Final = 200


class DeedView(msgspec.Struct, rename="camel"):
    """`kind`: service, user, guest, room. `who`: a service token's fingerprint, a user's id, an identity."""

    id: str
    at: Moment
    kind: str
    who: str
    what: str
    session_slug: str | None
    subject: str | None
    address: str


class AuditPage(msgspec.Struct, rename="camel"):
    """Newest first. `nextCursor` is null on the last page."""

    entries: list[DeedView]
    next_cursor: str | None


class _Named(msgspec.Struct, rename="camel"):
    session_slug: str | None = None


@dataclass(frozen=True, slots=True)
class AuditApi:
    """`check`: finds out what a credential is. `trusted_proxies`: whose X-Forwarded-For is believed."""

    audit: Audit
    check: Callable[[str | None], Awaitable[credentials.Access]]
    trusted_proxies: tuple[Network, ...] = ()

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        return [
            Route("GET", "/api/audit", self.show, "Who did what, newest first", parameters=(
                  FROM, TO,
                  Parameter("session", "query", "only this session's slug"),
                  Parameter("cursor", "query", "nextCursor of the page before")),
                  answers={200: AuditPage, 400: Problem, 503: Problem}, tag="operation"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/audit`, for services: 200."""
        cursor = request.query.get("cursor")
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
            raise WrongRequest("cursor must be the nextCursor of a page")
        since, until = moment(request, "from"), moment(request, "to")
        before = None if cursor is None else int(cursor)
        found = await self.audit.listed(since, until, request.query.get("session"), before, PAGE + 1)
        deeds = [
            DeedView(str(one.id), timestamp(one.deed.at), one.deed.kind, one.deed.who, one.deed.what,
                     one.deed.session_slug, one.deed.subject, one.deed.address)
            for one in found[:PAGE]
        ]  # fmt: skip
        return json_answer(AuditPage(deeds, deeds[-1].id if len(found) > PAGE else None))

    def noted(self, route: Route, handler: Handler) -> Handler:
        """The handler, whose success is kept; refusals are not, nor what has changed nothing."""

        async def noting(request: web.Request) -> web.StreamResponse:
            who = await self._who(request)
            asked_by.set(" ".join(who))
            try:
                response = await handler(request)
            except ConnectionError:  # the client has gone in the middle of what it was sent
                await self._note(request, route.audit, who)
                raise
            if response.status < 400:
                if not request.get(UNCHANGED):
                    await self._note(request, route.audit, who)
                if request.get(KEY_READ):
                    await self._note(request, "key read", who)
            return response

        return noting

    async def _note(self, request: web.Request, what: str, who: tuple[str, str]) -> None:
        address = client_address(request.remote, request.headers.getall("X-Forwarded-For", ()), self.trusted_proxies)
        slug = request.match_info.get("slug") or request.query.get("session") or await _named(request)
        await self.audit.note(*who, what, slug, request.match_info.get("id"), address)

    async def _who(self, request: web.Request) -> tuple[str, str]:
        token = credentials.bearer(request.headers.get("Authorization", "")) or request.query.get("token")
        try:
            access = await self.check(token)
        except credentials.CredentialRefused:  # none was needed, or it has expired meanwhile
            return "guest", ""
        if access.is_service:
            return "service", fingerprint(token or "")
        if access.user_id is not None:
            return "user", access.user_id
        return ("room" if access.is_vouched else "guest"), access.subject


def fingerprint(service_token: str) -> str:
    """Tells service tokens apart without telling them: the first 12 hex digits of the SHA-256."""
    return sha256(service_token.encode(errors="surrogatepass")).hexdigest()[:12]


async def _named(request: web.Request) -> str | None:
    """The session that the body names; the handler has read it already."""
    try:
        return read_json(await request.read() or b"{}", _Named).session_slug
    except NotJson:
        return None
