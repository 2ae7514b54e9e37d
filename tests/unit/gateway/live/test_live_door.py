"""The door: in which order a request is checked, and how a refusal is told to programs and to pages."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.errors import SessionNotFound
from gateway.live.address import parse_networks
from gateway.live.credentials import Access, CredentialRefused, Forbidden, Secrets, WrongOrigin, check
from gateway.live.door import Door, DoorPolicy, Refusal, WrongOffer, handshake
from gateway.live.protocol import CloseCode
from gateway.live.slots import Limits, NotAdmitted, Slot
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.usecases.watch import Watched, Watching

UPGRADE = {"Upgrade": "websocket"}


class Sessions:
    """One session; `None` for the database stands for an outage."""

    is_away = False
    is_over = False

    async def session(self, slug: str) -> Watched:
        if self.is_away:
            raise RecordsUnavailable
        if slug != "abc":
            raise SessionNotFound(slug)
        return Watched("id", slug, "space", self.is_over)


class Entry:
    """A door, and the whole ladder of a request."""

    def __init__(self, *, total: int = 9, per_address: int = 9) -> None:
        self.refused: Counter[str] = Counter()
        self.sessions = Sessions()

        async def checked(token: str | None) -> Access:
            if token == "stranger":
                return Access("user-1", spaces=frozenset({"another"}))
            if token in ("guest", "user"):
                return Access(token, room="abc", bearer=MintedFor(token))
            return check(token, Secrets(("service",)))

        async def belongs(access: Access, slug: str) -> bool:
            return False

        policy = DoorPolicy(
            cast(Watching, self.sessions),
            checked,
            lambda: "https://own.example",
            ("https://friend.example",),
            parse_networks("10.0.0.0/8"),
            belongs,
        )
        self.door = Door(policy, Limits(total, per_address, 9), self.refused)

    async def climb(self, request: web.Request) -> Slot:
        self.door.check_origin(request)
        self.door.check_offer(request, "transcript.v1")
        _, watched = await self.door.identify(request)
        return self.door.enter(request, watched.slug)


def asking(session: str = "abc", token: str | None = "service", peer: str = "192.0.2.1", **headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        named["Authorization"] = f"Bearer {token}"
    request = make_mocked_request("GET", f"/?session={session}", headers={"Host": "gateway", **named})
    return request.clone(remote=peer)


async def test_the_rungs_come_in_order() -> None:
    """The first thing that is wrong is what is told; each mended one shows the next."""
    entry = Entry(total=0)
    entry.sessions.is_away = True
    entry.door.is_draining = True
    wrong: dict[str, Any] = {
        "session": "nowhere",
        "token": "wrong",
        "Origin": "https://evil.example",
        "Sec_WebSocket_Protocol": "bearer.x",
    }
    for expected, mend in (
        (WrongOrigin, {"Origin": "https://friend.example"}),
        (WrongOffer, {"Sec_WebSocket_Protocol": "transcript.v1, bearer.x"}),
        (CredentialRefused, {"token": "stranger"}),
        (RecordsUnavailable, {}),
        (SessionNotFound, {"session": "abc"}),
        (Forbidden, {"token": "service"}),
    ):
        with pytest.raises(expected):
            await entry.climb(asking(**wrong))
        wrong |= mend
        entry.sessions.is_away = expected is CredentialRefused
    with pytest.raises(NotAdmitted) as draining:
        await entry.climb(asking(**wrong))
    entry.door.is_draining = False
    with pytest.raises(NotAdmitted) as full:
        await entry.climb(asking(**wrong))
    assert (draining.value.reason, full.value.reason) == ("draining", "too_many")


async def test_whether_a_guest_may_read_is_asked_once_it_is_over() -> None:
    entry = Entry()
    (await entry.climb(asking(token="guest"))).release()
    entry.sessions.is_over = True
    with pytest.raises(Forbidden):
        await entry.climb(asking(token="guest"))
    (await entry.climb(asking(token="user"))).release()


@pytest.mark.parametrize(
    "origin", ["https://own.example", "https://friend.example", "http://gateway", "https://gateway"]
)
async def test_own_pages_and_allowed_ones_may_come(origin: str) -> None:
    (await Entry().climb(asking(Origin=origin))).release()


async def test_clients_behind_a_trusted_proxy_have_a_slot_each() -> None:
    entry = Entry(per_address=1)
    for client in ("198.51.100.1", "198.51.100.2"):
        await entry.climb(asking(peer="10.0.0.9", X_Forwarded_For=client))
    with pytest.raises(NotAdmitted):
        await entry.climb(asking(peer="198.51.100.1"))


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (WrongOrigin("x"), "origin", None),
        (WrongOffer(text="x"), "malformed", None),
        (Forbidden("x"), "forbidden", CloseCode.CREDENTIAL_REFUSED),
        (CredentialRefused("x"), "credential", CloseCode.CREDENTIAL_REFUSED),
        (SessionNotFound("x"), "no_session", CloseCode.NO_SUCH_SESSION),
        (RecordsUnavailable("x"), "database", CloseCode.DRAINING),
        (NotAdmitted(CloseCode.TOO_MANY, "x", "too_many"), "too_many", CloseCode.TOO_MANY),
        (web.HTTPBadRequest(text="x"), "malformed", CloseCode.MALFORMED),
        (ConnectionResetError("x"), "malformed", None),
    ],
)
def test_a_page_is_told_by_a_code_where_there_is_one_and_a_program_by_http(
    error: Exception, reason: str, code: CloseCode | None
) -> None:
    entry = Entry()
    text = error.text if isinstance(error, web.HTTPException) else str(error)
    page = asking(Origin="https://own.example", **UPGRADE)
    assert entry.door.refuse(page, error) == (None if code is None else Refusal(code, text or ""))
    assert entry.door.refuse(asking(**UPGRADE), error) is None
    assert entry.door.refuse(asking(Origin="https://own.example"), error) is None  # an EventSource sees the status
    assert entry.refused == {reason: 3}


def test_a_version_that_is_not_spoken_is_answered_with_the_one_that_is() -> None:
    with pytest.raises(web.HTTPBadRequest) as error:
        handshake(asking(**UPGRADE, Sec_WebSocket_Version="8"), "transcript.v1")
    assert error.value.headers["Sec-WebSocket-Version"] == "13"
