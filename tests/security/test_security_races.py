"""Guests and users who do everything at once: whatever the order, nobody gets what is not theirs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from security.test_security_connections import metric, pipe, rest
from security.test_security_identities import ROOMS, call, people, user
from support.waiting import until

from stt.local.server import LocalServer

CAP = 6


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(
        database_url,
        provider,
        tmp_path,
        join_starts="nothing",
        max_participants=CAP,
        join_per_minute=0,
        create_per_minute=0,
        **ROOMS,
    ) as found:
        yield found


async def test_whatever_the_order_nobody_gets_what_is_not_theirs(gateway: InProcess) -> None:
    for seed in range(5):
        await one_round(gateway, random.Random(seed))


async def one_round(gateway: InProcess, chance: random.Random) -> None:
    owner, mia = user("owner", "team"), user("mia", "team")
    slug = (await call(gateway, "POST", "", owner, title="race")).json["slug"]
    guests = [f"guest-{n}" for n in range(6)]
    tokens = {
        one: (await call(gateway, "GET", f"/{slug}/token?identity={one}&for=audio", None)).json["token"]
        for one in guests
    }
    asked = [(token, f"/{slug}/participants/join", {}) for token in (owner, mia)]
    for who in guests:
        asked += [(tokens[who], f"/{slug}/participants/join", {"identity": who})] * 2
        asked += [(tokens[who], f"/{slug}/participants/leave", {})]
        asked += [(None, f"/{slug}/participants/join", {"identity": chance.choice(["owner", "mia", who])})]
    asked += [(token, f"/{slug}/transcription/start", {"source": "rtmp"}) for token in (owner, mia, *tokens.values())]
    asked += [(tokens[who], f"/{slug}/transcription/host", {"identity": "owner"}) for who in guests[:2]]
    asked += [(tokens[who], f"/{slug}/end", {}) for who in guests[:2]]
    chance.shuffle(asked)
    answers = await asyncio.gather(*(call(gateway, "POST", path, token, **body) for token, path, body in asked))
    assert not [answer for answer in answers if answer.status >= 500], answers
    starts = [
        (token, answer)
        for (token, path, _), answer in zip(asked, answers, strict=True)
        if path.endswith("/start") and answer.status < 300
    ]
    assert len({answer.json["transcriptionId"] for _, answer in starts}) <= 1
    assert sum(answer.status == 201 for _, answer in starts) <= 1
    for token, answer in starts:
        assert token in (owner, mia) or "streamKey" not in answer.body.decode(), answer
    ended = [
        (answer.status, answer.body)
        for (_, path, _), answer in zip(asked, answers, strict=True)
        if path.endswith("/end")
    ]
    # A guest who has joined may; 409: it had joined when it was asked for, and the session was read before that.
    assert {status for status, _ in ended} <= {200, 403, 409}, ended
    if any(status == 200 for status, _ in ended):
        return
    for who in guests:
        await call(gateway, "POST", f"/{slug}/participants/leave", tokens[who])
    rows = await people(gateway, slug)
    assert len(rows) <= CAP
    assert all(rows[who]["leftAt"] for who in guests if who in rows)
    for one in ("owner", "mia"):
        if one in rows:
            assert (rows[one]["userId"], rows[one]["leftAt"]) == (one, None)
    await gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False})


async def test_whoever_ends_stops_and_claims_at_once_leaves_no_host_behind_and_no_session_without_its_end(
    gateway: InProcess,
) -> None:
    rounds = [await claims(gateway, random.Random(seed), ends=bool(seed % 2)) for seed in range(4)]
    database = await asyncpg.connect(gateway.database_url)
    try:
        for slug, ends in rounds:

            async def is_settled(slug: str = slug, ends: bool = ends) -> bool:
                row = await database.fetchrow(
                    'SELECT s.id, s.status, s."endedAt", t.state, t.host, e.session_id AS due FROM "VideoSession" s'
                    " JOIN gateway.transcription t ON t.session_id = s.id"
                    " LEFT JOIN gateway.session_ending e ON e.session_id = s.id WHERE s.slug = $1",
                    slug,
                )
                if ends:
                    return (row["status"], row["state"], row["due"]) == ("ENDED", "STOPPED", None) and row["endedAt"]
                there = {one for one, who in (await people(gateway, slug)).items() if who["leftAt"] is None}
                assert row["status"] == "LIVE"
                return row["state"] == "STOPPED" or row["host"] in there

            await until(is_settled, f"{slug}, ends: {ends}", every_s=0.2)
            await gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False})
    finally:
        await database.close()


async def claims(gateway: InProcess, chance: random.Random, *, ends: bool) -> tuple[str, bool]:
    """Guests claim to be the host and leave, while the owner does too, and stops, and ends it."""
    owner = user("owner", "team")
    slug = (await call(gateway, "POST", "", owner, title="race")).json["slug"]
    await call(gateway, "POST", f"/{slug}/participants/join", owner)
    guests = {}
    for who in ("ada", "bob", "cyd"):
        answer = await call(gateway, "GET", f"/{slug}/token?identity={who}&for=audio", None)
        guests[who] = answer.json["token"]
        await call(gateway, "POST", f"/{slug}/participants/join", guests[who])
    await call(gateway, "POST", f"/{slug}/transcription/start", owner, source="websocket")
    asked = [(owner, f"/{slug}/transcription/host", {"identity": who}) for who in guests]
    asked += [(token, f"/{slug}/transcription/host", {"identity": who}) for who, token in guests.items()] * 3
    asked += [(token, f"/{slug}/participants/leave", {}) for token in guests.values()]
    asked += [(owner, f"/{slug}/transcription/start", {"source": "websocket"})]
    asked += [(owner, f"/{slug}/end", {})] * 2 if ends else []
    chance.shuffle(asked)
    doing = [call(gateway, "POST", path, token, **body) for token, path, body in asked]
    if ends:
        doing.append(gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False}))
    answers = await asyncio.gather(*doing)
    assert not [answer for answer in answers if answer.status >= 500], answers
    return slug, ends


async def test_event_streams_are_watchers_with_their_limits_and_give_their_places_back(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path, max_watchers_per_address=5) as gateway:
        slug = await gateway.session()

        def asked(session: str) -> bytes:
            head = f"GET /api/realtime/transcribe?session={session} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream"
            return f"{head}\r\nAuthorization: Bearer {TOKEN}\r\n".encode()

        async with AsyncExitStack() as held:
            for _ in range(10):  # no such session, and half a request: neither takes a watcher's place
                reader, _ = await held.enter_async_context(
                    pipe(gateway, asked("none0000") + b"Connection: close\r\n\r\n")
                )
                assert (await rest(reader)).startswith(b"HTTP/1.1 404 ")
                await held.enter_async_context(pipe(gateway, asked(slug)))
            for _ in range(5):
                reader, writer = await held.enter_async_context(pipe(gateway, asked(slug) + b"\r\n"))
                await reader.readuntil(b"event: hello")
                writer.write(b"GET /healthz HTTP/1.1\r\n\r\n" * 1_000)  # behind an answer that does not end
            reader, _ = await held.enter_async_context(pipe(gateway, asked(slug) + b"Connection: close\r\n\r\n"))
            assert (await rest(reader)).startswith(b"HTTP/1.1 429 ")
            assert await metric(gateway, "gateway_watchers") == 5

        async def are_gone() -> bool:
            return await metric(gateway, "gateway_watchers") == 0

        await until(are_gone)
        async with pipe(gateway, asked(slug) + b"\r\n") as (reader, _):
            await reader.readuntil(b"event: hello")
