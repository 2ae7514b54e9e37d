"""One session from its creation until nothing is left of it: through HTTP and a real LiveKit room only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from livekit import rtc
from support.gateway import Running, gateway_process, words_in_order
from support.livekit import KEY, SECRET, LivekitServer, Person
from support.waiting import until

from stt.local.scripted import ScriptedEngine
from stt.local.server import LocalOptions, LocalServer

pytestmark = pytest.mark.timeout(900)  # the first one may have to build the server

USER_SECRET = "user-secret-of-at-least-thirty-two-bytes"
ANNA = "alpha bravo charlie delta echo foxtrot golf hotel"
GUS = "zero one two three four five six seven"
# Billing records and the audit log outlive their session, without a word of what was said.
KEPT = {"usage_archive", "provider_session", "audit"}


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    """It understands words that a jitter buffer has stretched."""
    async with LocalServer(LocalOptions(engine=ScriptedEngine(jittery=True), api_key="right-key")) as server:
        yield server


@pytest.fixture
async def gateway(
    provider: LocalServer, livekit: LivekitServer, database_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    env = {
        "DATABASE_URL": database_url,
        "GLADIA_API_URL": provider.url,
        "GLADIA_API_KEY": "right-key",
        "GATEWAY_DRAIN_S": "5",
        "GATEWAY_JWT_SECRET": USER_SECRET,
        "GATEWAY_LIVEKIT_AUTO_START": "false",  # the join begins it
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
    }
    async with gateway_process(tmp_path / "data", **env) as running:
        yield running
    assert not [session for session in provider.sessions.values() if session.open], "a provider session was left open"


def user(name: str) -> str:
    claims = {"sub": name, "spaces": ["team"], "activeSpaceId": "team", "exp": time.time() + 600}
    return jwt.encode(claims, USER_SECRET, algorithm="HS256")


async def good(gateway: Running, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
    status, answer = await gateway.call(method, path, body, token=token)
    assert status < 300, answer
    return answer


@asynccontextmanager
async def in_room(room_pass: dict[str, str], identity: str) -> AsyncIterator[Person]:
    """Somebody with the token that the gateway has given, and a microphone."""
    person = Person(rtc.Room(), identity)
    await person.room.connect(room_pass["url"], room_pass["token"], rtc.RoomOptions(auto_subscribe=False))
    try:
        await person.publish()
        yield person
    finally:
        await person.leave()


async def test_a_session_lives_and_leaves_nothing_behind(gateway: Running, database_url: str, tmp_path: Path) -> None:
    """Create → token → join, two people → speech → live transcript → end → drained finals → document → analysis →
    delete. Anna is a user and has created it; Gus is a guest with the join token."""
    anna = user("anna")
    made = await good(gateway, "POST", "/api/sessions", {"title": "Standup", "requireJoinToken": True}, anna)
    slug, path = made["slug"], f"/api/sessions/{made['slug']}"
    session = await good(gateway, "GET", path, token=anna)

    key = made["joinToken"]
    hers = await good(gateway, "GET", f"{path}/token?name=Anna", token=anna)
    his = await good(gateway, "GET", f"{path}/token?identity=gus&name=Gus&joinToken={key}")
    async with in_room(hers, "anna") as anna_there, in_room(his, "gus") as gus_there:
        await good(gateway, "POST", f"{path}/participants/join", {"name": "Anna", "role": "HOST"}, anna)
        await good(gateway, "POST", f"{path}/participants/join", {"identity": "gus", "name": "Gus"}, his["token"])
        there = (await good(gateway, "GET", f"{path}/participants", token=his["token"]))["participants"]
        assert [(one["identity"], one["role"]) for one in there] == [("anna", "HOST"), ("gus", "GUEST")]
        assert (await good(gateway, "GET", path, token=anna))["status"] == "LIVE"

        async def both_heard() -> bool:
            status, seen = await gateway.call("GET", f"/api/transcription/{slug}")
            return status == 200 and len(seen["tracks"]) == 2

        await until(both_heard)
        async with gateway.watch(slug) as watcher:
            await asyncio.gather(anna_there.say(ANNA, lead_s=1.5), gus_there.say(GUS, lead_s=1.5))
            await watcher.until(lambda seen: len(seen.words) >= 8)
            # The last words may still be on their way: the end waits for them.
            assert await good(gateway, "POST", f"{path}/end", token=anna) == {"status": "ok"}
            await watcher.until(lambda seen: any(one["data"]["state"] == "stopped" for one in seen.of("session.state")))

    heard = {
        who: [
            word
            for one in watcher.finals
            if one["data"]["participantIdentity"] == who
            for word in one["data"]["text"].split()
        ]
        for who in ("anna", "gus")
    }
    for who, said in (("anna", ANNA), ("gus", GUS)):
        assert set(heard[who]) <= set(said.split()), heard
        assert words_in_order(said.split(), heard[who]) >= 0.8, heard
    ended = await good(gateway, "GET", path, token=anna)
    assert ended["status"] == "ENDED" and ended["rawTranscriptReadyAt"]
    assert (await gateway.call("POST", f"{path}/participants/join", {}, token=anna))[0] == 409

    document = await good(gateway, "GET", f"{path}/document", token=anna)
    assert [one["text"] for one in document["segments"]] and len(document["segments"]) == len(watcher.finals)
    segments = (await good(gateway, "GET", f"{path}/segments", token=anna))["segments"]
    assert sorted(one["text"] for one in segments) == sorted(one["data"]["text"] for one in watcher.finals)

    async def analysed() -> Any:
        status, found = await gateway.call("GET", f"{path}/analysis", token=anna)
        return found if status == 200 and found["status"] == "DONE" else None

    assert (await until(analysed))["method"] == "extractive"

    assert (await gateway.call("DELETE", path, token=his["token"]))[0] == 403
    assert len(await left_in_database(database_url, session["id"], slug)) > 5
    assert await good(gateway, "DELETE", path, token=anna) == {"success": True}
    for rest in ("", "/participants", "/transcript", "/document", "/analysis", "/segments"):
        assert (await gateway.call("GET", path + rest))[0] == 404, rest
    assert await left_in_database(database_url, session["id"], slug) == []
    assert [file for file in (tmp_path / "data").rglob("*") if file.is_file() and b"alpha" in file.read_bytes()] == []


async def left_in_database(database_url: str, *traces: str) -> list[tuple[str, str]]:
    """Tables, ours and the app's, in which something of the session still stands; words nowhere at all."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT schemaname AS schema, tablename AS name FROM pg_tables WHERE schemaname IN ('public', 'gateway')"
        )
        assert len(tables) > 10
        found = []
        for table in tables:
            place = f'"{table["schema"]}"."{table["name"]}"'
            for trace in (*traces, "alpha", "zero"):
                if table["name"] in KEPT and trace in traces:
                    continue
                if await connection.fetchval(f"SELECT count(*) FROM {place} t WHERE t::text LIKE $1", f"%{trace}%"):
                    found.append((place, trace))
        return found
    finally:
        await connection.close()
