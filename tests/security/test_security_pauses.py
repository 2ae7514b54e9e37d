"""Pauses: whose they are, and what one who repeats them can cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from security.test_security_identities import call, created, user

from gateway.live import audio
from gateway.transcription.usecases.feed import Feeding
from stt.local.server import LocalServer

RATE = 12


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    settings: dict[str, Any] = {"join_starts": "nothing", "steer_per_minute": RATE}
    async with running(database_url, provider, tmp_path / "one", **settings) as found:
        yield found


async def guest_in(gateway: InProcess, slug: str, name: str = "gus") -> str:
    token: str = (await call(gateway, "GET", f"/{slug}/token?identity={name}&for=audio", None)).json["token"]
    assert (await call(gateway, "POST", f"/{slug}/participants/join", token)).status == 200
    return token


async def deeds(gateway: InProcess, slug: str) -> list[tuple[str, str]]:
    found = (await gateway.ok("GET", f"/api/audit?session={slug}"))["entries"]
    return [(one["what"], one["who"]) for one in reversed(found)]


async def test_a_participants_own_pause_is_lifted_by_nobody_else_and_the_hosts_not_by_the_participant(
    gateway: InProcess,
) -> None:
    slug = await created(gateway)
    gus, owner = await guest_in(gateway, slug), user("owner", "team")
    await gateway.start(slug, source="websocket")
    everybody = {"gus": gus, "owner": owner, "app": TOKEN}

    async def asks(who: str, what: str) -> bool:
        """Whether he is paused now."""
        path = f"/api/transcription/{slug}/{what}"
        answer = await gateway.call("POST", path, {"participantIdentity": "gus"}, token=everybody[who])
        assert answer.status == 200, answer
        return bool(answer.json["paused"] == ["gus"])

    assert await asks("gus", "pause")
    assert await asks("owner", "resume") and await asks("app", "resume")  # still: it is his own
    assert not await asks("gus", "resume")
    assert await asks("owner", "pause")
    assert await asks("gus", "resume")  # still: it is the creator's
    assert await asks("gus", "pause")
    assert await asks("app", "resume")
    assert not await asks("gus", "resume")
    told = [("start", "pause", "resume", "pause", "pause", "resume", "resume")]
    assert [tuple(what for what, _ in await deeds(gateway, slug))] == told  # what lifts nothing leaves no row


async def test_who_repeats_what_changes_nothing_leaves_no_rows_and_has_a_rate(gateway: InProcess) -> None:
    slug = await created(gateway)
    gus = await guest_in(gateway, slug)
    ida = await guest_in(gateway, slug, "ida")
    assert (await call(gateway, "POST", f"/{slug}/transcription/start", gus, source="websocket")).status == 201
    pause = (f"/api/transcription/{slug}/pause", {"participantIdentity": "gus"})
    host = (f"/api/sessions/{slug}/transcription/host", {"identity": "gus"})
    start = (f"/api/sessions/{slug}/transcription/start", {"source": "websocket"})
    await gateway.ok("POST", host[0], {"identity": "ida"})  # else gus is it by himself, soon or late
    async with gateway.watch(slug) as stream:
        for path, body in (pause, host, start, pause, host, start, pause, host, start):
            assert (await gateway.call("POST", path, body, token=gus)).status == 200, path
        refused = [
            (await gateway.call("POST", path, body, token=token)).status
            for path, body in (pause, host, start, (f"/api/sessions/{slug}/end", {}))
            for token in (gus, ida)
        ]
        assert refused[2:].count(429) >= 4, "one more each six seconds is right"
        assert (await gateway.call("POST", *pause)).status == 200
        assert (await gateway.call("POST", *host)).status == 200  # services have no rate
        await gateway.ok("POST", f"/api/transcription/{slug}/resume", {"participantIdentity": "ida"})
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        while (await stream.next())["type"] != "session.state" or stream.messages[-1]["data"]["state"] != "stopped":
            pass
    assert len([one for one in stream.messages if one["type"] == "session.pause"]) == 1
    assert [(what, who) for what, who in await deeds(gateway, slug) if who == "gus"] == [
        ("start", "gus"),
        ("pause", "gus"),
        ("host", "gus"),
    ]
    for _ in range(2):
        await gateway.ok("POST", f"/api/sessions/{slug}/end")
    assert [what for what, _ in await deeds(gateway, slug)].count("end") == 1


async def test_a_sender_that_pauses_and_resumes_by_turns_waits_and_its_last_word_holds(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "PAUSE_EVERY_S", 0.2)
    at: list[float] = []
    pause = Feeding.pause

    async def noted(*args: Any, **named: Any) -> None:
        at.append(asyncio.get_running_loop().time())
        await pause(*args, **named)

    monkeypatch.setattr(Feeding, "pause", noted)
    slug = await created(gateway)
    await gateway.start(slug, source="websocket")
    url = f"{gateway.url}/api/realtime/audio?session={slug}&token={TOKEN}&identity=gus"
    async with gateway.http.ws_connect(url) as socket:
        await socket.send_json({"type": "start", "sampleRate": 16_000})
        for kind in ("pause", "resume") * 4 + ("pause",):
            await socket.send_json({"type": kind})
        async with asyncio.timeout(60):
            while len(at) < 9 or (await socket.receive_json())["type"] != "paused":
                await asyncio.sleep(0.01)
        assert (await gateway.ok("GET", f"/api/transcription/{slug}"))["paused"]["participants"] == ["gus"]
        await socket.send_json({"type": "stop"})
    assert min(after - before for before, after in pairwise(at)) > 0.19
