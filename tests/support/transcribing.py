"""A process that transcribes over neighbours in memory, as most tests of transcriptions begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from support.fakes import FakeMembership, FakeTransport, LoopClock, MemoryRecords, Replica
from support.frames import messages

from gateway.live.endpoint import sweep
from gateway.transcription.domain.limits import Limits
from gateway.transcription.domain.transcription import StartRequest
from gateway.transcription.usecases.context import RunOptions
from gateway.transcription.usecases.speech import Transcriber

SLUG = "abc"
OPTIONS = RunOptions(owner="replica-1", drain_s=10, lease_s=30, cost_per_minute=0.01)


@asynccontextmanager
async def replica(
    records: MemoryRecords | None = None,
    *,
    session: str | None = SLUG,
    limits: Limits | None = None,
    clock: LoopClock | None = None,
    transcriber: Transcriber | None = None,
    membership: FakeMembership | None = None,
    finals: int = 5_000,
    **options: Any,
) -> AsyncIterator[Replica]:
    """A process that serves until the end of the block, where it must have drained and left no task."""
    clock = clock or LoopClock()
    made = Replica(
        records or MemoryRecords(clock),
        clock,
        replace(OPTIONS, **options),
        limits or Limits(),
        transcriber,
        membership or FakeMembership(),
        finals,
    )
    if session is not None and await made.records.sessions.by_slug(session) is None:
        await made.records.sessions.create(session, None, None)
    recording = asyncio.create_task(made.recorder.run())
    sweeping = asyncio.create_task(sweep(made.hub))
    limiting = asyncio.create_task(made.keeper.read_for_ever(lambda: [run.allowance for run in made.service.runs]))
    try:
        async with made.service.serving():
            yield made
    finally:
        for task in (recording, sweeping, limiting):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert made.service.runs == []


def start(source: str = "rtmp", slug: str = SLUG, **more: Any) -> StartRequest:
    return StartRequest(slug, source=source, **more)


async def watch(there: Replica, slug: str = SLUG, closed: list[int] | None = None) -> FakeTransport:
    """The screen of a watcher who reads everything. `closed`: gets the code with which it is closed."""
    transport = FakeTransport()
    codes = closed if closed is not None else []
    watcher = there.hub.join(slug, transport, codes.append)

    async def nothing(after: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    await there.hub.channel(slug).catch_up(watcher, None, nothing)
    return transport


def told(screen: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message["data"] for message in messages(bytes(screen.arrived)) if message["type"] == kind]
