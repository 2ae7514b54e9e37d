"""Finding what was said, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.period import FROM, TO, moment
from gateway.api.sessions import caller_of
from gateway.api.web import json_answer
from gateway.archive.query import LONGEST, Mark
from gateway.archive.search import Asked, Hit, Search
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.live.address import Network, client_address
from gateway.live.credentials import Access
from gateway.sessions.usecases.rates import Rates

if TYPE_CHECKING:
    from aiohttp import web

PAGE: Final = 20
LARGEST: Final = 100
_LONGEST_WORD: Final = 256


class MarkView(msgspec.Struct):
    """`text.slice(start, end)` in JavaScript: positions are UTF-16 units."""

    start: int
    end: int


class _Said(msgspec.Struct, rename="camel"):
    """What is shown of a final."""

    participant_identity: str = ""
    participant_name: str | None = None
    language: str | None = None
    started_at: str | None = None
    start_ms: int = 0
    end_ms: int = 0


class HitView(msgspec.Struct, rename="camel"):
    """A final. `/s/{sessionSlug}#t=MINUTES:SECONDS` of `startMs` is its moment on the session's page."""

    session_slug: str
    title: str | None
    seq: int
    participant_identity: str
    participant_name: str | None
    language: str | None
    started_at: str | None
    start_ms: int
    end_ms: int
    text: str
    marks: list[MarkView]


class SearchPage(msgspec.Struct, rename="camel"):
    """Newest first. `nextCursor` is null on the last page. `complete` is false for a while after the update that
    brought the search, while earlier finals are made ready for it."""

    hits: list[HitView]
    next_cursor: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class SearchApi:
    """`check`: what a credential proves. `trusted_proxies`: whose X-Forwarded-For is believed."""

    search: Search
    rates: Rates
    check: Callable[[str | None], Awaitable[Access]]
    trusted_proxies: tuple[Network, ...] = ()

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        word = {"type": "string", "minLength": 1, "maxLength": _LONGEST_WORD}
        return [
            Route("GET", "/api/search", self.find, "Find what was said, in all sessions that one may see, newest first",
                  credential="user", parameters=(
                  Parameter("q", "query", 'words, a "phrase", the beginning of a word with *, -without, one OR another',
                            {"type": "string", "minLength": 1, "maxLength": LONGEST}),
                  Parameter("session", "query", "only in the session with this slug", word),
                  Parameter("spaceId", "query", "only in sessions of this space", word), FROM, TO,
                  Parameter("limit", "query", f"how many, at most {LARGEST}",
                            {"type": "integer", "minimum": 1, "maximum": LARGEST, "default": PAGE}),
                  Parameter("cursor", "query", "nextCursor of the page before")),
                  answers={200: SearchPage, 400: Problem, 401: Problem, 403: Problem, 404: Problem, 429: Problem,
                           503: Problem}, tag="sessions", audit="search"),
        ]  # fmt: skip

    async def find(self, request: web.Request) -> web.Response:
        """`GET /api/search`, for services, users and those in a room: 200; 429 above the rate."""
        caller = caller_of(await self.check(credentials.bearer(request.headers.get("Authorization", ""))))
        forwarded = request.headers.getall("X-Forwarded-For", ())
        await self.rates.search(caller, client_address(request.remote, forwarded, self.trusted_proxies))
        found = await self.search.find(caller, _asked(request))
        return json_answer(SearchPage([_hit(one) for one in found.hits], found.cursor, found.is_complete))


def _asked(request: web.Request) -> Asked:
    query = request.query
    if "q" not in query:
        raise WrongRequest("q is needed: what to look for")
    for name in ("session", "spaceId"):
        if name in query and not 1 <= len(query[name]) <= _LONGEST_WORD:
            raise WrongRequest(f"{name} must have 1 to {_LONGEST_WORD} characters")
    limit = query.get("limit", str(PAGE))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 9 and 1 <= int(limit) <= LARGEST):
        raise WrongRequest(f"limit must be a whole number from 1 to {LARGEST}")
    since, until = moment(request, "from"), moment(request, "to")
    if since is not None and until is not None and until <= since:
        raise WrongRequest("to must be later than from, and is not part of the period itself")
    return Asked(query["q"], int(limit), query.get("session"), query.get("spaceId"), since, until, query.get("cursor"))


def _hit(hit: Hit) -> HitView:
    line, said = hit.line, msgspec.json.decode(hit.line.data, type=_Said)
    return HitView(
        line.slug,
        line.title,
        line.place.seq,
        said.participant_identity,
        said.participant_name,
        said.language,
        said.started_at,
        said.start_ms,
        said.end_ms,
        line.text,
        [_mark(mark) for mark in hit.marks],
    )


def _mark(mark: Mark) -> MarkView:
    return MarkView(mark.start, mark.end)
