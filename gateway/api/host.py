"""Who feeds a transcription that is fed by browsers: asked for by pages and services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway import names
from gateway.api.audit import UNCHANGED
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.sessions import caller_of
from gateway.api.web import address_of, json_answer, read_body
from gateway.live import credentials
from gateway.live.address import Network
from gateway.live.credentials import Access, Forbidden
from gateway.sessions.domain.access import What
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.rates import Rates
from gateway.transcription.usecases.host import Hosts

if TYPE_CHECKING:
    from aiohttp import web

_SLUG = Parameter("slug", "path", "the session's slug")


class HostBody(msgspec.Struct, rename="camel"):
    """Without `identity` the next in line: role HOST first, then the longest present, never the one who is host now."""

    identity: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class HostView(msgspec.Struct, rename="camel"):
    participant_identity: str
    participant_name: str | None


@dataclass(frozen=True, slots=True)
class HostApi:
    """`check`: what a credential proves. `trusted_proxies`: whose X-Forwarded-For is believed."""

    hosts: Hosts
    admission: Admission
    rates: Rates
    check: Callable[[str | None], Awaitable[Access]]
    trusted_proxies: tuple[Network, ...] = ()

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        return [
            Route("POST", "/api/sessions/{slug}/transcription/host", self.appoint,
                  "Make a participant the host of a transcription that is fed by browsers",
                  credential="watch", body=HostBody, needs_body=False, parameters=(_SLUG,),
                  answers={200: HostView, 400: Problem, 401: Problem, 403: Problem, 404: Problem, 409: Problem,
                           413: Problem, 429: Problem, 503: Problem}, tag="sessions", audit="host"),
        ]  # fmt: skip

    async def appoint(self, request: web.Request) -> web.Response:
        """`POST /api/sessions/{slug}/transcription/host`, for participants, creator and services: 200 with the host.

        409 when the transcription is not fed by browsers, or the participant is not present; 429 above the rate.
        """
        access = await self.check(credentials.bearer(request.headers.get("Authorization", "")))
        caller = caller_of(access)
        await self.rates.steer(caller, address_of(request, self.trusted_proxies))
        session = await self.admission.session(caller, request.match_info["slug"], What.CHANGE_HOST)
        body = await read_body(request, HostBody, default=b"{}")
        identity = names.identity(body.identity)
        if access.room is not None:
            # A LiveKit token is a guest's: it may make its own participant the host, and may hand over from it.
            mine = identity or await self.hosts.current(session.slug)
            if mine != access.subject:
                raise Forbidden("a LiveKit token makes its own participant the host, or hands over when it is")
        person, has_changed = await self.hosts.appoint(session.slug, identity)
        request[UNCHANGED] = not has_changed
        return json_answer(HostView(person.identity, person.name))
