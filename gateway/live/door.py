"""The door of the live endpoints: which requests become connections, and how the others are refused.

Every request goes up the same ladder: origin, subprotocol, credential, session, draining, slot. A program that is
refused gets an HTTP status. A page gets a close code instead, because a browser hides the status of a refused WebSocket
from it; pages are told apart by their `Origin` header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web

from gateway.errors import SessionNotFound
from gateway.live import credentials, websocket
from gateway.live.address import Network, client_address
from gateway.live.protocol import CloseCode, offered_token
from gateway.live.slots import Limits, NotAdmitted, Slot, Slots
from gateway.outage import RecordsUnavailable
from gateway.transcription.usecases.watch import Watched, Watching


@dataclass(frozen=True, slots=True)
class DoorPolicy:
    """What all live endpoints have in common.

    `check` tells what a credential proves, or raises CredentialRefused. `own_origin`: scheme, host and port of this
    gateway's own pages; `allowed_origins`: of others, "*" for any. `trusted_proxies`: whose X-Forwarded-For is
    believed. `belongs`: whether a user of another space may view the session all the same: has created or joined it;
    and whether a guest may, once it is over.
    """

    watching: Watching
    check: Callable[[str | None], Awaitable[credentials.Access]]
    own_origin: Callable[[], str]
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    belongs: Callable[[credentials.Access, str], Awaitable[bool]] | None = None

    async def admit(self, access: credentials.Access, slug: str, space_id: str, *, is_over: bool) -> None:
        """Raises: Forbidden when this credential is not for that session; RecordsUnavailable."""
        try:
            access.check_session(slug, space_id)
        except credentials.Forbidden:
            if access.spaces is None or self.belongs is None or not await self.belongs(access, slug):
                raise
        if is_over and access.is_guest and self.belongs is not None and not await self.belongs(access, slug):
            raise credentials.Forbidden("guests may not read this session any more")


class Visitor(NamedTuple):
    """Who has shown a credential for which session."""

    access: credentials.Access
    watched: Watched


class Refusal(NamedTuple):
    """How a page is told over its WebSocket."""

    code: CloseCode
    text: str


class WrongOffer(web.HTTPBadRequest):
    """The token is offered as a subprotocol, and nothing else that could be chosen."""


class Door:
    """One endpoint's door. `refused` counts by reason: fixed words, fit for a metric's label."""

    def __init__(
        self,
        policy: DoorPolicy,
        limits: Limits,
        refused: Counter[str],
        elsewhere: Callable[[str], int] = lambda slug: 0,
    ) -> None:
        """`elsewhere`: as for `Slots`."""
        self.is_draining = False
        self._policy = policy
        self._slots = Slots(limits, elsewhere)
        self._refused = refused

    def check_origin(self, request: web.Request) -> None:
        """First rung. Raises: WrongOrigin when the request comes from a page that may not use this gateway."""
        origin = request.headers.get("Origin")
        own = {self._policy.own_origin(), f"http://{request.host}", f"https://{request.host}"}
        if origin is not None and origin not in own and not {"*", origin} & set(self._policy.allowed_origins):
            raise credentials.WrongOrigin(f"pages from {origin} may not connect; see GATEWAY_ALLOWED_ORIGINS")

    def check_offer(self, request: web.Request, subprotocol: str) -> None:
        """Second rung. Raises: WrongOffer for a token without the subprotocol that could be chosen instead of it.

        A browser gives up when none of its offers is chosen, and aiohttp would log the offers, the token among them.
        """
        offered = websocket.offered_subprotocols(request.headers)
        if subprotocol not in offered and offered_token(offered) is not None:
            raise WrongOffer(text=f"offer {subprotocol} together with the token's subprotocol")

    async def identify(self, request: web.Request) -> Visitor:
        """Credential, then session. Raises: CredentialRefused, SessionNotFound, Forbidden, RecordsUnavailable."""
        access = await self._policy.check(_token(request))
        watched = await self._policy.watching.session(request.query.get("session", ""))
        await self._policy.admit(access, watched.slug, watched.space_id, is_over=watched.is_over)
        return Visitor(access, watched)

    def check_open(self) -> None:
        """Raises: NotAdmitted while this gateway shuts down."""
        if self.is_draining:
            raise NotAdmitted(CloseCode.DRAINING, "the gateway is shutting down; come back in a moment", "draining")

    def enter(self, request: web.Request, slug: str) -> Slot:
        """Last rungs: draining, then a slot, to be released when the connection has ended. Raises: NotAdmitted."""
        self.check_open()
        forwarded_for = request.headers.getall("X-Forwarded-For", [])
        return self._slots.take(client_address(request.remote, forwarded_for, self._policy.trusted_proxies), slug)

    def refuse(self, request: web.Request, error: Exception) -> Refusal | None:
        """Count what a rung has raised. Returns: how the page is told; None where HTTP says it: re-raise `error`."""
        reason, code = _told(error)
        self._refused[reason] += 1
        by_close = "Origin" in request.headers or request.query.get("refusal") == "close"
        if code is None or not by_close or not websocket.is_upgrade(request.headers):
            return None
        return Refusal(code, (error.text or "") if isinstance(error, web.HTTPException) else str(error))


def handshake(request: web.Request, subprotocol: str) -> bytes:
    """The whole answer to a WebSocket's request. Raises: HTTPBadRequest."""
    try:
        return websocket.handshake_answer(request.headers, subprotocol)
    except websocket.WrongVersion as error:
        raise web.HTTPBadRequest(text=str(error), headers={"Sec-WebSocket-Version": websocket.VERSION}) from None
    except websocket.BadHandshake as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def _token(request: web.Request) -> str | None:
    token = credentials.bearer(request.headers.get("Authorization", ""))
    return token or offered_token(websocket.offered_subprotocols(request.headers)) or request.query.get("token")


def refused_as(error: Exception) -> str:
    """The counter's word for a refusal."""
    return _told(error)[0]


def _told(error: Exception) -> tuple[str, CloseCode | None]:
    """The counter's word for a refusal, and what a page is told (None: HTTP says it to pages, too)."""
    match error:
        case credentials.WrongOrigin():
            return "origin", None
        case credentials.Forbidden():
            return "forbidden", CloseCode.CREDENTIAL_REFUSED
        case credentials.CredentialRefused():
            return "credential", CloseCode.CREDENTIAL_REFUSED
        case SessionNotFound():
            return "no_session", CloseCode.NO_SUCH_SESSION
        case NotAdmitted():
            return error.reason, error.code
        case RecordsUnavailable():
            return "database", CloseCode.DRAINING
        case WrongOffer():
            return "malformed", None
        case web.HTTPBadRequest():
            return "malformed", CloseCode.MALFORMED
        case _:
            return "malformed", None
