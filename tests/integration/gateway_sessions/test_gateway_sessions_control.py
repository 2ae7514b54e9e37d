"""Starting and stopping what transcribes: one contract, kept in memory, by a direct call and over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from integration.gateway_api.in_process import TOKEN, running, speech_server
from support.fakes import LoopClock, MemoryRecords, Replica
from support.session_memory import FakeControl, HandClock, MemorySessions, Rows

from gateway.errors import SessionNotFound, SessionOver
from gateway.sessions.domain.errors import ControlRefused, ControlUnavailable
from gateway.sessions.infra.local_control import LocalControl, NoControl
from gateway.sessions.infra.remote_control import RemoteOptions, open_remote_control
from gateway.sessions.usecases.ports import NewSession, TranscriptionControl, Wanted
from gateway.transcription.domain.errors import LimitReached
from gateway.transcription.domain.transcription import StartRequest

SLUG = "abc12345"


@dataclass
class Desk:
    """A control and one session that is LIVE; `end` ends it in the tables only."""

    control: TranscriptionControl
    slug: str
    end: object


@pytest.fixture(params=["memory", "direct", "http"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        clock, rows = HandClock(), Rows()
        sessions = MemorySessions(rows, clock)
        made = await sessions.create(NewSession(SLUG, None, "default", None))

        async def expire() -> None:
            await sessions.expire(made.id)

        yield Desk(FakeControl(sessions, clock), SLUG, expire)
    elif request.param == "direct":
        there = Replica(MemoryRecords(LoopClock()))
        await there.records.sessions.create(SLUG, None, None)
        recording = asyncio.create_task(there.recorder.run())

        async def end() -> None:
            there.records.end_session(SLUG)

        try:
            async with there.service.serving():
                yield Desk(LocalControl(there.service, there.records, 1.0), SLUG, end)
        finally:
            recording.cancel()
            await asyncio.wait({recording})
    else:
        folder: Path = request.getfixturevalue("tmp_path")
        database_url: str = request.getfixturevalue("database_url")
        async with speech_server() as provider, running(database_url, provider, folder) as gateway:
            slug = await gateway.session()

            async def end_there() -> None:
                body = {"identity": "anna"}
                await gateway.ok("POST", f"/api/sessions/{slug}/participants/join", body)
                await gateway.ok("POST", f"/api/sessions/{slug}/end")

            async with open_remote_control(RemoteOptions(gateway.url, lambda: TOKEN, 20.0)) as control:
                yield Desk(control, slug, end_there)


async def test_start_and_stop_are_idempotent(desk: Desk) -> None:
    begun = await asyncio.gather(*(desk.control.start(desk.slug, "rtmp") for _ in range(3)))
    assert sum(one.created for one in begun) == 1
    assert len({one.transcription_id for one in begun}) == 1
    assert {(one.slug, one.source) for one in begun} == {(desk.slug, "rtmp")}
    for _ in range(2):
        assert await desk.control.stop(desk.slug, "the session has ended")
    assert (await desk.control.start(desk.slug, "rtmp")).created


async def test_what_never_started_is_stopped(desk: Desk) -> None:
    assert await desk.control.stop(desk.slug, "the session has ended")


async def test_nothing_starts_on_a_session_that_is_over(desk: Desk) -> None:
    await desk.end()  # type: ignore[operator]
    with pytest.raises(SessionOver):
        await desk.control.start(desk.slug, "rtmp")


# --- over HTTP, when the other side is not well -------------------------------------------------------------

STARTED = {
    "transcriptionId": "t-1",
    "sessionSlug": SLUG,
    "state": "starting",
    "source": "rtmp",
    "created": True,
    "startedAt": "2026-01-05T10:00:00.120Z",
    "ingest": {"rtmpUrl": "rtmp://x/live/key", "streamKey": "key"},
}


@asynccontextmanager
async def other_side(*answers: web.Response | float) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Gives these answers one after the other, the last one for ever; a number is a silence, seconds."""
    asked: list[dict[str, Any]] = []
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        chosen = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(chosen, float):
            await asyncio.sleep(chosen)
            return web.Response()
        return web.Response(status=chosen.status, body=chosen.body, content_type=chosen.content_type)

    app = web.Application()
    app.router.add_post("/api/transcription/{what}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


def said(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


async def test_a_passing_trouble_is_asked_about_again() -> None:
    async with (
        other_side(said(503, {}), said(502, {}), said(201, STARTED)) as (url, asked),
        open_remote_control(RemoteOptions(url, lambda: "token", retry_after_s=(0.0, 0.0))) as control,
    ):
        begun = await control.start(SLUG, "rtmp")
    assert (begun.transcription_id, begun.created, len(asked)) == ("t-1", True, 3)
    assert begun.ingest is not None and begun.ingest.stream_key == "key"


async def test_what_is_wanted_goes_to_the_other_side() -> None:
    told = {"language": "de", "tags": ["acme"]}
    wanted = Wanted(StartRequest(SLUG, tags=("acme",)), told)
    async with (
        other_side(said(201, STARTED)) as (url, asked),
        open_remote_control(RemoteOptions(url, lambda: "token")) as control,
    ):
        await control.start(SLUG, "rtmp", wanted)
        await control.start(SLUG, "rtmp")
    assert asked == [{**told, "sessionSlug": SLUG, "source": "rtmp"}, {"sessionSlug": SLUG, "source": "rtmp"}]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (said(503, {"title": "Not ready", "detail": "it is shutting down"}), ControlUnavailable, "shutting down"),
        (said(401, {"title": "Credential refused", "detail": "no"}), ControlRefused, "Credential refused"),
        (said(402, {"title": "Cost cap reached", "detail": "no"}), ControlRefused, "Cost cap reached"),
        (said(429, {"title": "Limit reached", "detail": "600 minutes a day"}), LimitReached, "600 minutes a day"),
        (said(404, {}), SessionNotFound, SLUG),
        (said(409, {"title": "Session is over", "detail": "no"}), SessionOver, SLUG),
        (said(409, {"title": "Transcription is switched off"}), ControlRefused, "switched off"),
        (said(200, {"hello": "world"}), ControlRefused, "not a gateway's"),
        (said(500, "no problem document"), ControlRefused, "HTTP 500"),
    ],
)
async def test_a_refusal_says_what_the_other_side_said(
    answer: web.Response, error: type[Exception], words: str
) -> None:
    async with (
        other_side(answer) as (url, _),
        open_remote_control(RemoteOptions(url, lambda: "secret-token", retry_after_s=())) as control,
    ):
        with pytest.raises(error, match=words) as refused:
            await control.start(SLUG, "rtmp")
        assert "secret-token" not in str(refused.value)
        if error is SessionNotFound:
            assert await control.stop(SLUG, "over")


async def test_a_silence_has_a_deadline() -> None:
    async with (
        other_side(30.0) as (url, asked),
        open_remote_control(RemoteOptions(url, lambda: "token", stop_s=0.3, retry_after_s=(0.0,))) as control,
    ):
        with pytest.raises(ControlUnavailable, match=r"no answer in time|TimeoutError"):
            await control.stop(SLUG, "over")
        assert 1 <= len(asked) <= 2


async def test_a_process_that_transcribes_nothing_waits_for_those_that_do() -> None:
    there = Replica(MemoryRecords(LoopClock()))
    session = await there.records.sessions.create(SLUG, None, None)
    control = NoControl(there.records, 0.05)
    assert await control.stop(SLUG, "over")
    claimed, _ = await there.records.leases.claim(session, "rtmp", {}, None, "another", 60)
    assert claimed is not None
    assert not await control.stop(SLUG, "over")
    await there.records.leases.finish(claimed.lease, "over", True)
    assert await control.stop(SLUG, "over")
