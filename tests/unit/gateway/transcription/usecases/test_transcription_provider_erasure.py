"""What the provider keeps of deleted sessions: deleted once, tried again through an outage, given up loudly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import pytest
from support.fakes import LoopClock

from gateway.outage import RecordsUnavailable
from gateway.transcription.usecases.provider_erasure import MOST_ATTEMPTS, ProviderErasure, Unwanted
from gateway.transcription.usecases.sweep import AccountUnavailable


@dataclass
class FakeKeeper:
    """`away`: it deletes nothing."""

    kept: set[str]
    away: bool = False
    asked: list[float] = field(default_factory=list)

    async def erase(self, session_id: str) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.away:
            raise AccountUnavailable("away")
        self.kept.discard(session_id)


@dataclass
class FakeBooks:
    """The queue; `down`: the database does not answer."""

    due: dict[str, datetime]
    attempts: dict[str, int] = field(default_factory=dict)
    ended: dict[str, datetime | None] = field(default_factory=dict)
    down: bool = False

    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[Unwanted]:
        if self.down:
            raise RecordsUnavailable("down")
        found = [name for name, at in self.due.items() if at <= now][:limit]
        for name in found:
            self.due[name] = again_at
            self.attempts[name] = self.attempts.get(name, 0) + 1
        return [Unwanted(name, self.attempts[name]) for name in found]

    async def erase_again(self, session_id: str, at: datetime) -> None:
        self.due[session_id] = at

    async def erased(self, session_id: str, at: datetime | None) -> None:
        del self.due[session_id]
        self.ended[session_id] = at


@pytest.fixture
async def books() -> FakeBooks:
    return FakeBooks({f"g-{number}": LoopClock().now() for number in range(60)})


async def test_all_of_it_goes_in_portions(books: FakeBooks) -> None:
    keeper = FakeKeeper({*books.due, "wanted"})
    erasure = ProviderErasure(keeper, books, LoopClock())
    await erasure.work()
    assert 0 < len(keeper.kept) < 61  # a thousand deleted sessions are no storm of requests
    await erasure.work()
    assert keeper.kept == {"wanted"} and not books.due
    assert (erasure.counts.erased, erasure.counts.failed, erasure.counts.given_up) == (60, 0, 0)


async def pass_time(erasure: ProviderErasure, hours: float) -> None:
    """As `run`, with longer steps."""
    for _ in range(round(hours * 6)):
        await erasure.work()
        await asyncio.sleep(600)


async def test_an_outage_of_the_provider_is_waited_out_with_longer_and_longer_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two days of it: said once, and done after it."""
    books = FakeBooks({"g": LoopClock().now()})
    keeper = FakeKeeper({"g"}, away=True)
    erasure = ProviderErasure(keeper, books, LoopClock())
    await pass_time(erasure, 48)
    assert keeper.kept and 10 < len(keeper.asked) < 20
    pauses = [after - before for before, after in pairwise(keeper.asked)]
    assert pauses == sorted(pauses) and 6 * 3600 <= pauses[-1] < 7 * 3600
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    keeper.away = False
    await pass_time(erasure, 7)
    assert not keeper.kept and books.ended["g"] is not None


async def test_the_first_attempts_are_seconds_apart_and_the_database_may_be_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    books = FakeBooks({"g": LoopClock().now()})
    keeper = FakeKeeper({"g"}, away=True)
    running = asyncio.create_task(ProviderErasure(keeper, books, LoopClock()).run())
    await asyncio.sleep(12)
    assert len(keeper.asked) == 2
    keeper.away, books.down = False, True
    await asyncio.sleep(60)
    books.down = False
    await asyncio.sleep(10)
    running.cancel()
    assert not keeper.kept and books.ended["g"] is not None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]  # the latter: database


async def test_what_cannot_be_deleted_is_given_up_loudly_after_a_week(caplog: pytest.LogCaptureFixture) -> None:
    books = FakeBooks({"g": LoopClock().now()})
    keeper = FakeKeeper({"g"}, away=True)
    erasure = ProviderErasure(keeper, books, LoopClock())
    await pass_time(erasure, 6 * 24)
    assert books.due
    await pass_time(erasure, 3 * 24)
    assert books.ended == {"g": None} and len(keeper.asked) == MOST_ATTEMPTS
    assert (erasure.counts.failed, erasure.counts.given_up) == (MOST_ATTEMPTS - 1, 1)
    [said] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "delete it there by hand" in said.getMessage() and said.providerSession == "g"  # type: ignore[attr-defined]
