"""Finding what was said, in all sessions that somebody may see, newest first."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from weakref import WeakValueDictionary

from gateway.archive.errors import SearchTooSlow
from gateway.archive.query import Leaf, Mark, Query, combined, marks, parse
from gateway.errors import WrongRequest
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.access import Caller, Kind, Reach, What, reach
from gateway.sessions.usecases.admission import Admission

log = logging.getLogger(__name__)

AT_ONCE: Final = 2
"""Searches that are under way in one process: they must not take all connections."""
DEADLINE_S: Final = 5.0
FEW: Final = 200
"""Whoever may see no more sessions than this is looked for in those alone."""
_FEWEST: Final = 10
_NEWEST: Final = 1_000
_GROWTH: Final = 8
_SPANS: Final = 4
_SHORT: Final = 2
_BATCH: Final = 500
_PAUSE_S: Final = 0.1
_TRY_AGAIN_S: Final = 30.0
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"(\d{1,18})\.(\d{1,18})\.([^\x00-\x1f\ud800-\udfff]{1,128})")
_TICK: Final = timedelta(microseconds=1)
_SHOWN: Final = Reach(everything=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """`text`: the query as it was typed. `session`: only in this slug. Said in [since, until). `cursor`: of the page
    before."""

    text: str
    limit: int
    session: str | None = None
    space_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a final stands in the order of results, which is from the highest to the lowest."""

    said_at: datetime
    session_id: str
    seq: int

    def __str__(self) -> str:
        return f"{(self.said_at - FIRST) // _TICK}.{self.seq}.{self.session_id}"


@dataclass(frozen=True, slots=True)
class Within:
    """`sessions`: only these, by id; else those of `reach`, of one space if it is given. `behind`: after this one.
    `each`: there are so few lines that each is looked at; of a common word the index would have to read all."""

    reach: Reach
    since: datetime
    until: datetime
    space_id: str | None = None
    sessions: Sequence[str] | None = None
    behind: Place | None = None
    each: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A final that was found. `data`: the JSON that watchers see, and `text` of it. `shown`: that with marks, see
    `query.marks`."""

    place: Place
    slug: str
    title: str | None
    data: bytes
    text: str
    shown: str


@dataclass(frozen=True, slots=True)
class Part:
    """What is found: `lines` that may be seen, the newest first; `matched`: of how many, whoever may see them."""

    lines: Sequence[Line]
    matched: int


@dataclass(frozen=True, slots=True)
class Understood:
    """Each leaf of a query, in each text search configuration that there are lines of. `is_complete`: every final has
    its line."""

    leaves: Mapping[str, Mapping[Leaf, str]]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Span:
    """[since, until). `is_short`: it has few lines, whatever their words."""

    since: datetime
    until: datetime
    is_short: bool = False


class Index(Protocol):
    """The lines of words. Every method may raise RecordsUnavailable."""

    async def read(self, leaves: Sequence[Leaf]) -> Understood:
        """What each leaf means."""

    async def sessions(self, who: Reach, space_id: str | None, limit: int) -> Sequence[str]:
        """Ids of at most so many sessions within reach, of one space if it is given; in no order."""

    async def behind(self, until: datetime, lines: int) -> tuple[datetime, datetime | None] | None:
        """When the newest line before a moment was said, and the one so many behind it, if there is one. None: there
        is no line."""

    async def find(self, query: str, shown_by: Mapping[str, str], within: Within, limit: int) -> Part:
        """Of the lines that `query` (a tsquery) finds at most so many. `shown_by`: its form in each configuration, by
        which words are marked."""

    async def catch_up(self, limit: int) -> tuple[int, bool]:
        """Make lines of at most so many older finals that have none. Returns: of how many (none when another replica is
        at it), and whether there may be more. May be repeated."""


@dataclass(frozen=True, slots=True)
class Hit:
    line: Line
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Found:
    """`cursor`: where the next page begins; None on the last one. `is_complete`: as in `Understood`."""

    hits: Sequence[Hit]
    cursor: str | None
    is_complete: bool


class Search:
    """`indexed`: older finals that have got their line here since the start."""

    def __init__(self, index: Index, admission: Admission) -> None:
        self.indexed = 0
        self._index = index
        self._admission = admission
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._own_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, caller: Caller, asked: Asked) -> Found:
        """Raises: WrongRequest, SearchTooSlow, RecordsUnavailable; as `Admission.session` for one session."""
        query, behind = parse(asked.text), _place(asked.cursor)
        try:
            async with asyncio.timeout(DEADLINE_S), self._own_turn(caller), self._turns:
                return await self._find(caller, asked, query, behind)
        except TimeoutError:
            raise SearchTooSlow(DEADLINE_S) from None

    def _own_turn(self, caller: Caller) -> AbstractAsyncContextManager[None]:
        """One search at a time for each user, and for all guests of a room, so that nobody holds every turn. The app's
        own token asks for all its users."""
        if caller.kind is Kind.SERVICE:
            return nullcontext()
        whose = f"room:{caller.room}" if caller.user_id is None else f"user:{caller.user_id}"
        return self._own_turns.setdefault(whose, asyncio.Lock())

    async def _find(self, caller: Caller, asked: Asked, query: Query, behind: Place | None) -> Found:
        within = await self._within(caller, asked, behind)
        understood = await self._index.read(query.leaves)
        by_config = {config: query.assembled(read) or "" for config, read in understood.leaves.items()}
        looked_for = combined(by_config)
        if looked_for is None or within.sessions == []:
            return Found([], None, understood.is_complete)
        lines: list[Line] = []
        spans = await self._spans(within)
        while spans and len(lines) <= asked.limit:
            now, *spans = spans
            within = replace(within, since=now.since, until=now.until, each=now.is_short)
            part = await self._index.find(looked_for, by_config, within, asked.limit + 1 - len(lines))
            lines += part.lines
            if spans and not part.matched:  # a rare word: the index is fast in all the rest at once
                spans = [Span(spans[-1].since, now.since)]
        hits = [Hit(line, marks(line.text, line.shown, query.runs)) for line in lines[: asked.limit]]
        cursor = str(hits[-1].line.place) if len(lines) > asked.limit else None
        return Found(hits, cursor, understood.is_complete)

    async def _within(self, caller: Caller, asked: Asked, behind: Place | None) -> Within:
        since, until = asked.since or FIRST, asked.until or LAST
        slug = asked.session or (caller.room if caller.kind is Kind.ROOM else None)
        if slug is not None:
            session = await self._admission.session(caller, slug, What.VIEW)
            fits = asked.space_id in (None, session.space_id)
            return Within(_SHOWN, since, until, sessions=[session.id] if fits else [], behind=behind)
        who = reach(caller, What.VIEW)
        if not who.everything or asked.space_id is not None:
            ids = await self._index.sessions(who, asked.space_id, FEW + 1)
            if len(ids) <= FEW:
                return Within(_SHOWN, since, until, sessions=ids, behind=behind)
        return Within(who, since, until, asked.space_id, behind=behind)

    async def _spans(self, within: Within) -> list[Span]:
        """The newest lines first, where common words are found at once."""
        if within.sessions is not None:
            return [Span(within.since, within.until, len(within.sessions) <= _FEWEST)]
        until = within.until if within.behind is None else min(within.until, within.behind.said_at + _TICK)
        found = await self._index.behind(until, _NEWEST)
        return [] if found is None else spans(found[0] + _TICK, found[1], within.since)

    async def catch_up(self) -> None:
        """Make lines of finals that were stored before there were any, some at a time. Ends when all have theirs."""
        is_left = True
        while is_left:
            pause_s = _TRY_AGAIN_S
            try:
                lines, is_left = await self._index.catch_up(_BATCH)
                self.indexed += lines
                if lines:
                    pause_s = _PAUSE_S
            except RecordsUnavailable as error:
                log.warning("older finals wait to be found by a search: %s", error)
            except Exception as error:  # a row that cannot be read ends no gateway
                log.error("the remaining older finals are not found by a search: %s", type(error).__name__)
                return
            await asyncio.sleep(pause_s)
        if self.indexed:
            log.info("a search finds all older finals now; %d were looked through here", self.indexed)


def spans(until: datetime, start: datetime | None, floor: datetime) -> list[Span]:
    """Times from `until` back to `floor` without a gap: to `start`, since when lines are few, then longer ones."""
    found: list[Span] = []
    end, width = until, until - (start or floor)
    for number in range(_SPANS):
        if width >= until - floor:
            break
        found.append(Span(until - width, end, number < _SHORT))
        end, width = until - width, width * _GROWTH
    if end > floor:
        found.append(Span(floor, end, start is None and not found))
    return found


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    given = _CURSOR.fullmatch(cursor)
    try:
        if given is None:
            raise ValueError
        return Place(FIRST + int(given[1]) * _TICK, given[3], int(given[2]))
    except (ValueError, OverflowError):
        raise WrongRequest("cursor must be the nextCursor of a page") from None
