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
from gateway.transcription.usecases.provider_erasure import MOST_ATTEMPTS, ProviderErasure, SessionToErase
from gateway.transcription.usecases.sweep import AccountUnavailable


@dataclass
class FakeEraser:
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
class FakeQueue:
    """The queue; `down`: the database does not answer."""

    due: dict[str, datetime]
    attempts: dict[str, int] = field(default_factory=dict)
    ended: dict[str, datetime | None] = field(default_factory=dict)
    down: bool = False

    async def to_erase(self, now: datetime, again_at: datetime, limit: int) -> Sequence[SessionToErase]:
        if self.down:
            raise RecordsUnavailable("down")
        found = [name for name, at in self.due.items() if at <= now][:limit]
        for name in found:
            self.due[name] = again_at
            self.attempts[name] = self.attempts.get(name, 0) + 1
        return [SessionToErase(name, self.attempts[name]) for name in found]

    async def postpone_erasure(self, session_id: str, at: datetime) -> None:
        self.due[session_id] = at

    async def erased(self, session_id: str, at: datetime | None) -> None:
        del self.due[session_id]
        self.ended[session_id] = at


@pytest.fixture
async def queue() -> FakeQueue:
    return FakeQueue({f"g-{number}": LoopClock().now() for number in range(60)})


async def test_all_of_it_goes_in_portions(queue: FakeQueue) -> None:
    eraser = FakeEraser({*queue.due, "wanted"})
    erasure = ProviderErasure(eraser, queue, LoopClock())
    await erasure.work()
    assert 0 < len(eraser.kept) < 61  # a thousand deleted sessions are no storm of requests
    await erasure.work()
    assert eraser.kept == {"wanted"} and not queue.due
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
    queue = FakeQueue({"g": LoopClock().now()})
    eraser = FakeEraser({"g"}, away=True)
    erasure = ProviderErasure(eraser, queue, LoopClock())
    await pass_time(erasure, 48)
    assert eraser.kept and 10 < len(eraser.asked) < 20
    pauses = [after - before for before, after in pairwise(eraser.asked)]
    assert pauses == sorted(pauses) and 6 * 3600 <= pauses[-1] < 7 * 3600
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    eraser.away = False
    await pass_time(erasure, 7)
    assert not eraser.kept and queue.ended["g"] is not None


async def test_the_first_attempts_are_seconds_apart_and_the_database_may_be_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    queue = FakeQueue({"g": LoopClock().now()})
    eraser = FakeEraser({"g"}, away=True)
    running = asyncio.create_task(ProviderErasure(eraser, queue, LoopClock()).run())
    await asyncio.sleep(12)
    assert len(eraser.asked) == 2
    eraser.away, queue.down = False, True
    await asyncio.sleep(60)
    queue.down = False
    await asyncio.sleep(10)
    running.cancel()
    assert not eraser.kept and queue.ended["g"] is not None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]  # the latter: database


async def test_what_cannot_be_deleted_is_given_up_loudly_after_a_week(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue({"g": LoopClock().now()})
    eraser = FakeEraser({"g"}, away=True)
    erasure = ProviderErasure(eraser, queue, LoopClock())
    await pass_time(erasure, 6 * 24)
    assert queue.due
    await pass_time(erasure, 3 * 24)
    assert queue.ended == {"g": None} and len(eraser.asked) == MOST_ATTEMPTS
    assert (erasure.counts.failed, erasure.counts.given_up) == (MOST_ATTEMPTS - 1, 1)
    [said] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "delete it there by hand" in said.getMessage() and said.providerSession == "g"  # type: ignore[attr-defined]
