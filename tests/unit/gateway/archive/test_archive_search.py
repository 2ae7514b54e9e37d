"""A search: the newest part first, page by page, over whatever an index holds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.archive import search
from gateway.archive.errors import SearchTooSlow
from gateway.archive.query import Leaf
from gateway.archive.search import FEW, FIRST, Asked, Line, Part, Place, Search, Understood, Within, spans
from gateway.errors import WrongRequest
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.access import SERVICE, Caller, Kind, Reach

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass
class MemoryIndex:
    """`lines`: (seconds, session id, seq). Every one is found. `mine`: sessions within reach."""

    lines: list[tuple[int, str, int]]
    mine: list[str] = field(default_factory=lambda: ["a"])
    older: int = 0
    is_away: bool = False
    asked: list[Within] = field(default_factory=list)

    async def read(self, leaves: Sequence[Leaf]) -> Understood:
        return Understood({"simple": dict.fromkeys(leaves, "x")}, not self.older)

    async def sessions(self, who: Reach, space_id: str | None, limit: int) -> Sequence[str]:
        return self.mine[:limit]

    async def behind(self, until: datetime, lines: int) -> tuple[datetime, datetime | None] | None:
        said = sorted((BEGIN + at * SECOND for at, _, _ in self.lines if BEGIN + at * SECOND < until), reverse=True)
        return (said[0], said[3] if len(said) > 3 else None) if said else None

    async def find(self, query: str, shown_by: Mapping[str, str], within: Within, limit: int) -> Part:
        self.asked.append(within)
        places = [Place(BEGIN + at * SECOND, session_id, seq) for at, session_id, seq in self.lines]
        behind = within.behind
        found = [
            one
            for one in places
            if within.since <= one.said_at < within.until
            and (behind is None or key(one) < key(behind))
            and (within.sessions is None or one.session_id in within.sessions)
        ]
        lines = [Line(one, "slug", None, b"{}", "x", "x") for one in sorted(found, key=key, reverse=True)[:limit]]
        return Part(lines, len(found))

    async def catch_up(self, limit: int) -> tuple[int, bool]:
        if self.is_away:
            self.is_away = False
            raise RecordsUnavailable("away")
        done = min(limit, self.older)
        self.older -= done
        return done, bool(done)


def key(place: Place) -> tuple[Any, ...]:
    return place.said_at, place.session_id, place.seq


def searching(index: MemoryIndex) -> Search:
    return Search(index, SimpleNamespace())  # type: ignore[arg-type]


lines = st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from("abc"), st.integers(1, 9)), unique=True, max_size=40)


@given(lines, st.integers(1, 9))
def test_page_by_page_everything_comes_once_and_the_newest_first(given: list[tuple[int, str, int]], limit: int) -> None:
    async def read() -> list[tuple[Any, ...]]:
        found, cursor = [], None
        while True:
            page = await searching(MemoryIndex(given)).find(SERVICE, Asked("x", limit, cursor=cursor))
            assert len(page.hits) <= limit
            found += [key(hit.line.place) for hit in page.hits]
            cursor = page.cursor
            if cursor is None:
                return found

    assert asyncio.run(read()) == sorted(((BEGIN + at * SECOND, one, seq) for at, one, seq in given), reverse=True)


@given(st.integers(1, 10**6), st.none() | st.integers(1, 10**6), st.integers(0, 10**6))
def test_spans_cover_the_time_without_a_gap(until: int, start: int | None, floor: int) -> None:
    def at(seconds: int) -> datetime:
        return FIRST + seconds * SECOND

    found = spans(at(until), None if start is None or start >= until else at(start), at(floor))
    if floor >= until:
        assert found == []
        return
    assert found[0].until == at(until) and found[-1].since == at(floor)
    assert all(later.until == earlier.since for earlier, later in itertools.pairwise(found))
    assert all(one.since < one.until for one in found) and len(found) <= 5


async def test_what_the_newest_part_has_is_not_looked_for_further_back() -> None:
    index = MemoryIndex([(second, "a", 1) for second in range(5_000)])
    assert len((await searching(index).find(SERVICE, Asked("x", 2))).hits) == 2
    assert len(index.asked) == 1
    index.asked.clear()
    assert len((await searching(index).find(SERVICE, Asked("x", 100))).hits) == 100
    assert [one.each for one in index.asked] == [True, True, False]


async def test_what_the_newest_part_has_not_is_looked_for_in_all_the_rest() -> None:
    class Rare(MemoryIndex):
        async def behind(self, until: datetime, lines: int) -> tuple[datetime, datetime | None] | None:
            return BEGIN + 5_000 * SECOND, BEGIN + 4_999 * SECOND

    index = Rare([(3, "a", 1)])
    assert len((await searching(index).find(SERVICE, Asked("x", 1))).hits) == 1
    assert [one.each for one in index.asked] == [True, False]


async def test_whoever_sees_few_sessions_is_looked_for_in_those() -> None:
    user = Caller(Kind.USER, "anna", frozenset({"team"}))
    index = MemoryIndex([(1, "a", 1), (2, "b", 1)])
    assert [hit.line.place.session_id for hit in (await searching(index).find(user, Asked("x", 9))).hits] == ["a"]
    index = MemoryIndex([(1, "a", 1)], mine=[])
    assert (await searching(index).find(user, Asked("x", 9))).hits == []
    assert index.asked == []
    index = MemoryIndex([(1, "a", 1)], mine=["a"] * (FEW + 1))
    await searching(index).find(user, Asked("x", 9))
    assert index.asked[0].sessions is None and index.asked[0].reach.spaces == {"team"}


@pytest.mark.parametrize(
    "cursor", ["", "x", "1.2", "1.2.", "-1.2.a", "1.2.a\n", f"{10**18 - 1}.1.a", "1.2." + "a" * 129]
)
async def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(WrongRequest):
        await searching(MemoryIndex([])).find(SERVICE, Asked("x", 9, cursor=cursor))


async def test_a_search_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(MemoryIndex):
        async def read(self, leaves: Sequence[Leaf]) -> Understood:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(search, "DEADLINE_S", 0.01)
    with pytest.raises(SearchTooSlow):
        await searching(Stuck([])).find(SERVICE, Asked("x", 9))


async def test_older_finals_are_made_ready_some_at_a_time_also_when_the_database_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "_PAUSE_S", 0)
    monkeypatch.setattr(search, "_TRY_AGAIN_S", 0)
    index = MemoryIndex([], older=1_200, is_away=True)
    found = searching(index)
    assert not (await found.find(SERVICE, Asked("x", 1))).is_complete
    async with asyncio.timeout(60):
        await found.catch_up()
    assert found.indexed == 1_200 and (await found.find(SERVICE, Asked("x", 1))).is_complete
