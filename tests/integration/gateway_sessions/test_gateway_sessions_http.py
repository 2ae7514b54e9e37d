"""The sessions module through its doors: a whole gateway, a real database, real tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from integration.gateway_api.in_process import ROOM_SECRET, TOKEN, USER_SECRET, Answer, InProcess, room_token, running
from support.gateway import Process
from support.redis_server import RedisServer
from support.waiting import until

from stt.local.server import LocalServer

ROOMS = {
    "livekit_url": "ws://127.0.0.1:9",
    "livekit_public_url": "https://rooms.example.com",
    "livekit_auto_start": False,
}


def user(name: str, *spaces: str, active: str | None = None, **claims: object) -> str:
    known = {"sub": name, "spaces": list(spaces), "activeSpaceId": active, "exp": time.time() + 600, **claims}
    return jwt.encode(known, USER_SECRET, algorithm="HS256")


# Made for each request: a token has a life span, and nobody knows how long after its import a module runs.
Token = str | Callable[[], str] | None
ANNA = partial(user, "anna", "team", "other", active="team")
BEN = partial(user, "ben", "elsewhere", active="elsewhere")
MEMBER = partial(user, "mia", "team")


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Joins begin an RTMP transcription, which waits for a publisher."""
    async with running(database_url, provider, tmp_path / "one", join_starts="rtmp", **ROOMS) as found:
        yield found


async def call(gateway: InProcess, method: str, path: str, token: Token = ANNA, **body: object) -> Answer:
    return await gateway.call(method, path, body or None, token=token() if callable(token) else token)


async def good(gateway: InProcess, method: str, path: str, token: Token = ANNA, **body: object) -> Any:
    answer = await call(gateway, method, path, token, **body)
    assert answer.status < 300, answer
    return answer.json


async def new(gateway: InProcess, token: Token = ANNA, **body: object) -> str:
    slug: str = (await good(gateway, "POST", "/api/sessions", token, title="Standup", **body))["slug"]
    return slug


async def live(gateway: InProcess) -> str:
    slug = await new(gateway)
    await good(gateway, "POST", f"/api/sessions/{slug}/participants/join", identity="anna")
    return slug


async def show(gateway: InProcess, slug: str) -> Any:
    return await good(gateway, "GET", f"/api/sessions/{slug}", TOKEN)


async def transcribed(gateway: InProcess, slug: str) -> Any:
    answer = await gateway.call("GET", f"/api/transcription/{slug}")
    return answer.json if answer.status == 200 and answer.json["state"] != "stopped" else None


# --- one life -----------------------------------------------------------------------------------------------


async def test_a_session_from_its_creation_to_its_deletion(gateway: InProcess) -> None:
    made = await call(gateway, "POST", "/api/sessions", title="Standup")
    assert (made.status, set(made.json), len(made.json["slug"])) == (201, {"slug"}, 8)
    slug = made.json["slug"]
    path = f"/api/sessions/{slug}"
    listed = await good(gateway, "GET", "/api/sessions")
    [one] = listed["sessions"]
    assert set(listed) == {"sessions"}
    assert (one["slug"], one["title"], one["status"], one["spaceId"]) == (slug, "Standup", "CREATED", "team")
    assert (one["createdByUserId"], one["startedAt"], one["lastActivityAt"]) == ("anna", None, None)
    assert one["createdAt"].endswith("Z") and len(one["createdAt"]) == 24

    room_pass = await good(gateway, "GET", f"{path}/token?name=Anna")
    assert set(room_pass) == {"token", "url", "room"}
    assert (room_pass["url"], room_pass["room"]) == ("wss://rooms.example.com", slug)
    claims = jwt.decode(room_pass["token"], options={"verify_signature": False})
    assert (claims["sub"], claims["name"], claims["video"]["room"]) == ("anna", "Anna", slug)
    assert all(claims["video"][grant] for grant in ("roomJoin", "canPublish", "canSubscribe"))
    assert 3600 <= claims["exp"] - time.time() <= 24 * 3600

    joined = await good(gateway, "POST", f"{path}/participants/join", room_pass["token"], identity="anna", name="Anna")
    assert (joined["identity"], joined["name"], joined["role"], joined["leftAt"]) == ("anna", "Anna", "GUEST", None)
    await good(gateway, "POST", f"{path}/participants/join", None, identity="gus", role="GUEST")
    there = await good(gateway, "GET", f"{path}/participants")
    assert [one["identity"] for one in there["participants"]] == ["anna", "gus"]
    await good(gateway, "POST", f"{path}/participants/leave", TOKEN, identity="gus")
    assert [one["identity"] for one in (await good(gateway, "GET", f"{path}/participants"))["participants"]] == ["anna"]
    everybody = (await good(gateway, "GET", f"{path}/participants?all=1"))["participants"]
    assert [(one["identity"], bool(one["leftAt"])) for one in everybody] == [("anna", False), ("gus", True)]
    assert (await show(gateway, slug))["status"] == "LIVE"
    running = await until(lambda: transcribed(gateway, slug))
    again = await call(gateway, "POST", f"{path}/transcription/start", sorce="rtmp")
    assert again.json["warnings"][0].endswith("did you mean source?")
    assert (again.status, again.json["created"], again.json["transcriptionId"]) == (
        200, False, running["transcriptionId"]
    )  # fmt: skip
    assert again.json["ingest"]["streamKey"]

    said = await good(
        gateway, "POST", f"{path}/segments", TOKEN, utteranceId="u1", text=" Good morning. ", isFinal=True,
        startedAt="2026-01-05T10:00:00.120Z", participantIdentity="gus",
    )  # fmt: skip
    assert (said["text"], said["participantIdentity"], said["endedAt"]) == ("Good morning.", "gus", None)
    assert (await good(gateway, "GET", f"{path}/segments"))["segments"] == [said]

    assert await good(gateway, "POST", f"{path}/end") == {"status": "ok"}
    ended = await show(gateway, slug)
    assert ended["status"] == "ENDED" and ended["endedAt"] and ended["rawTranscriptBlobUrl"]
    assert ended["rawTranscriptSizeBytes"] > 0
    assert await transcribed(gateway, slug) is None
    document = await good(gateway, "GET", f"{path}/document", TOKEN)
    assert "Good morning." in json.dumps(document)
    assert await good(gateway, "POST", f"{path}/end") == {"status": "ok"}
    assert await show(gateway, slug) == ended
    await until(lambda: _is_done(gateway, f"{path}/analysis"))

    assert await good(gateway, "DELETE", path) == {"success": True}
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/participants"), ("POST", f"{path}/end")):
        assert (await call(gateway, method, where)).status == 404
    assert (await good(gateway, "GET", "/api/sessions"))["sessions"] == []


async def _is_done(gateway: InProcess, path: str) -> bool:
    answer = await gateway.call("GET", path)
    return answer.status == 200 and answer.json["status"] == "DONE"


async def test_what_is_asked_of_the_wrong_state_is_refused_and_changes_nothing(gateway: InProcess) -> None:
    created, over = await new(gateway), await live(gateway)
    await good(gateway, "POST", f"/api/sessions/{over}/end")
    before = [await show(gateway, created), await show(gateway, over)]
    for slug, method, rest in (
        (created, "POST", "end"),
        (created, "POST", "transcription/start"),
        (over, "POST", "transcription/start"),
        (over, "GET", "token"),
    ):
        answer = await call(gateway, method, f"/api/sessions/{slug}/{rest}")
        assert (answer.status, answer.kind) == (409, "application/problem+json"), (slug, rest)
        assert answer.json["hint"]
    answer = await call(gateway, "POST", f"/api/sessions/{over}/participants/join", identity="anna")
    assert (answer.status, answer.json["title"]) == (409, "Session is over")
    assert [await show(gateway, created), await show(gateway, over)] == before


async def test_a_start_takes_the_options_of_a_transcription(gateway: InProcess) -> None:
    """They hold for the next start, too, that has none; who belongs to the room alone chooses nothing for the bill."""
    slug = await live(gateway)
    path = f"/api/sessions/{slug}"
    await good(gateway, "POST", f"{path}/participants/join", None, identity="carl")
    carl = (await good(gateway, "GET", f"{path}/token?identity=carl", None))["token"]
    await until(lambda: transcribed(gateway, slug))

    async def start(token: Token = ANNA, **body: object) -> Answer:
        await good(gateway, "POST", "/api/transcription/stop", TOKEN, sessionSlug=slug)
        return await call(gateway, "POST", f"{path}/transcription/start", token, **body)

    bare = await start()
    assert (bare.status, "no language" in str(bare.json.get("warnings"))) == (201, True), bare
    again = await call(gateway, "POST", f"{path}/transcription/start", ANNA)
    assert (again.status, "warnings" in again.json) == (200, False), again

    async def in_force() -> dict[str, Any]:
        found: dict[str, Any] = await good(gateway, "PATCH", f"/api/transcription/{slug}", TOKEN, participants={})
        return {name: found[name] for name in ("languages", "translateTo", "customVocabulary", "participants")}

    ben = {"ben": {"language": "fr"}}
    wanted = {"language": "de", "translateTo": "en", "customVocabulary": ["Zugspitze"], "participants": ben}
    answer = await start(preset="meeting", tags=["acme"], costCapUsd=5, **wanted)
    assert (answer.status, "warnings" in answer.json) == (201, False), answer
    assert await in_force() == {
        "languages": ["de"],
        "translateTo": ["en"],
        "customVocabulary": ["Zugspitze"],
        "participants": {"ben": {"languages": ["fr"], "translateTo": None, "customVocabulary": []}},
    }
    usage = await good(gateway, "GET", f"/api/transcription/{slug}/usage", TOKEN)
    assert usage["transcriptionId"] == answer.json["transcriptionId"]
    assert (await start()).status == 201
    assert (await in_force())["languages"] == ["de"]
    for refused in ({"tags": ["acme"]}, {"costCapUsd": 1}):
        assert (await start(carl, **refused)).status == 403
    assert (await start(carl, language="xx")).status == 400
    assert (await start(carl, language="fr")).status == 201
    assert (await in_force())["languages"] == ["fr"]
    caps = "SELECT options->>'costCapUsd' FROM gateway.transcription ORDER BY id DESC LIMIT 3"
    assert await rows(gateway, caps) == [("5.0",)] * 3, "whoever may not choose the cap does not lift it"
    [other] = await rows(gateway, "SELECT count(*) FROM gateway.transcription WHERE options->'tags' ? 'acme'")
    assert other == (2,)


# Rows: service, creator, member, stranger, a joined LiveKit token, another room's, a guest, a wrong token.
MATRIX = {
    ("GET", ""): (200, 200, 200, 403, 200, 403, 401, 401),
    ("GET", "/participants"): (200, 200, 200, 403, 200, 403, 401, 401),
    ("GET", "/segments"): (200, 200, 200, 403, 200, 403, 401, 401),
    ("GET", "/token?identity=x"): (200, 200, 200, 200, 403, 403, 200, 401),
    ("POST", "/transcription/start"): (200, 200, 200, 403, 200, 403, 401, 401),
    ("POST", "/segments"): (400, 400, 400, 400, 400, 400, 401, 401),
    ("DELETE", "?"): (None, None, 403, 403, 403, 403, 401, 401),
    ("POST", "/end"): (None, None, 403, 403, None, 403, 401, 401),
    # Last, because a participant may do more.
    ("POST", "/participants/join"): (200, 200, 200, 200, 403, 403, 200, 401),
}


async def test_who_may_do_what(gateway: InProcess) -> None:
    """As docs/sessions.md says; None: allowed, and tried elsewhere because it ends the session."""
    slug = await live(gateway)
    await good(gateway, "POST", f"/api/sessions/{slug}/participants/join", None, identity="carl")
    await until(lambda: transcribed(gateway, slug))
    carl = (await good(gateway, "GET", f"/api/sessions/{slug}/token?identity=carl", None))["token"]
    callers = (TOKEN, ANNA, MEMBER, BEN, carl, room_token("another"), None, "wrong")
    for (method, rest), expected in MATRIX.items():
        for n, (token, status) in enumerate(zip(callers, expected, strict=True)):
            body = {"identity": f"x-{n}"} if rest.endswith("join") else {"text": "x"} if rest == "/segments" else {}
            if status is not None and not (token == carl and rest.endswith("join")):
                answer = await call(gateway, method, f"/api/sessions/{slug}{rest}", token, **body)
                assert answer.status == status, (method, rest, token, answer)
                if status == 401:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                if status >= 400:
                    assert answer.kind == "application/problem+json"
    for token, status in zip(callers, (400, 201, 201, 403, 403, 403, 401, 401), strict=True):
        answer = await call(gateway, "POST", "/api/sessions", token, spaceId="team" if token != TOKEN else "no such")
        assert answer.status == status, (token, answer)
    for token, status in zip(callers, (200, 200, 200, 403, 403, 403, 401, 401), strict=True):
        answer = await call(gateway, "GET", "/api/sessions?spaceId=team", token)
        assert answer.status == status, (token, answer)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=²", "spaceId=", "before=" + "x" * 257])
async def test_a_strange_query_is_refused(gateway: InProcess, query: str) -> None:
    assert (await call(gateway, "GET", f"/api/sessions?{query}")).status == 400


async def test_a_token_without_a_name_is_nobodys(gateway: InProcess) -> None:
    assert (await call(gateway, "GET", "/api/sessions", user("", "team"))).status == 401


async def test_without_a_livekit_server_there_are_no_passes(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path) as gateway:
        slug = await new(gateway)
        answer = await call(gateway, "GET", f"/api/sessions/{slug}/token")
        assert (answer.status, answer.json["title"]) == (503, "LiveKit is not configured")
        assert "LIVEKIT_URL" in answer.json["hint"]
        joined = await good(gateway, "POST", f"/api/sessions/{slug}/participants/join")  # the credential says who
        assert joined["identity"] == "anna"
        assert await transcribed(gateway, slug) is None  # and no join begins what could not hear anything


# --- at the same moment -------------------------------------------------------------------------------------


async def rows(gateway: InProcess, query: str) -> list[Any]:
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


@asynccontextmanager
async def two(
    database_url: str, provider: LocalServer, folder: Path, **settings: Any
) -> AsyncIterator[list[InProcess]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running(database_url, provider, folder / name, **settings))
            for name in ("one", "two")
        ]


async def test_ten_joins_at_once_over_two_replicas(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    """One CREATED → LIVE, one startedAt, one transcription."""
    async with two(database_url, provider, tmp_path, join_starts="rtmp") as gateways:
        slug = await new(gateways[0], TOKEN)
        path = f"/api/sessions/{slug}/participants/join"
        answers = await asyncio.gather(
            *(call(gateways[n % 2], "POST", path, None, identity=f"guest-{n}") for n in range(10))
        )
        assert [answer.status for answer in answers] == [200] * 10
        assert len({answer.json["id"] for answer in answers}) == 10
        await until(lambda: transcribed(gateways[0], slug))
        assert (await show(gateways[0], slug))["status"] == "LIVE"
        assert await rows(gateways[0], "SELECT count(*) FROM gateway.transcription") == [(1,)]
        # Ended where it is not transcribed: the other replica notices, and the end waits for it.
        [other] = [one for one in gateways if not await one.metric_of("starting")]
        assert await good(other, "POST", f"/api/sessions/{slug}/end", TOKEN) == {"status": "ok"}
        assert (await show(other, slug))["rawTranscriptReadyAt"]
        assert await rows(other, "SELECT state, finals_complete FROM gateway.transcription") == [("STOPPED", True)]
        assert await rows(other, "SELECT * FROM gateway.session_ending") == []


async def test_end_and_join_at_once_end_well(gateway: InProcess) -> None:
    """Whoever comes first: the session is over, nothing transcribes it, and a join after the end is refused."""
    for _ in range(5):
        slug = await live(gateway)
        path = f"/api/sessions/{slug}"
        joins = [call(gateway, "POST", f"{path}/participants/join", None, identity=f"guest-{n}") for n in range(4)]
        ended, *joined = await asyncio.gather(call(gateway, "POST", f"{path}/end"), *joins)
        assert ended.status == 200
        assert {answer.status for answer in joined} <= {200, 409}
        assert (await show(gateway, slug))["status"] == "ENDED"
        assert await transcribed(gateway, slug) is None
    await asyncio.sleep(0.3)
    states = await rows(gateway, "SELECT DISTINCT state FROM gateway.transcription")
    assert states in ([], [("STOPPED",)])


async def test_deleting_stops_a_running_transcription_first(gateway: InProcess) -> None:
    slug = await live(gateway)
    await until(lambda: transcribed(gateway, slug))
    assert await good(gateway, "DELETE", f"/api/sessions/{slug}") == {"success": True}
    assert (await gateway.ok("GET", "/api/transcription"))["transcriptions"] == []
    for table in (
        "gateway.transcription",
        "gateway.stream",
        "gateway.session_ending",
        '"VideoSession"',
        '"Participant"',
    ):
        assert await rows(gateway, f"SELECT * FROM {table}") == [], table


# --- how often ----------------------------------------------------------------------------------------------


async def test_who_asks_too_often_is_told_when_to_come_back(
    database_url: str, provider: LocalServer, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Over two replicas together with Redis; without it each counts for itself; the app is not limited."""
    limits = {"create_per_minute": 3, "list_per_minute": 4, "join_per_minute": 2, "redis_url": redis_server.url}
    async with two(database_url, provider, tmp_path, **limits, **ROOMS) as gateways:
        first, second = gateways
        made = [await call(gateways[n % 2], "POST", "/api/sessions", title="x") for n in range(5)]
        assert [answer.status for answer in made] == [201, 201, 201, 429, 429]
        refused = made[-1]
        assert refused.kind == "application/problem+json" and refused.json["hint"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        assert (await call(second, "POST", "/api/sessions", BEN, title="x")).status == 201
        listed = [(await call(gateways[n % 2], "GET", "/api/sessions")).status for n in range(6)]
        assert listed == [200] * 4 + [429] * 2
        slug = made[0].json["slug"]
        joins = [
            (await call(gateways[n % 2], "POST", f"/api/sessions/{slug}/participants/join", None, identity="g")).status
            for n in range(3)
        ]
        assert joins == [200, 200, 429]
        assert (await call(first, "GET", f"/api/sessions/{slug}/token?identity=g", None)).status == 429
        for _ in range(6):
            await new(first, TOKEN)
        redis_server.stop()
        alone = [(await call(first, "POST", "/api/sessions", title="x")).status for _ in range(4)]
        assert alone == [201, 201, 201, 429]
        assert await first.metric("gateway_rate_limits_alone") == 1
        assert 'gateway_requests_limited_total{kind="create"}' in (await first.call("GET", "/metrics")).body.decode()


# --- another gateway transcribes ----------------------------------------------------------------------------


async def test_start_and_stop_go_to_the_gateway_that_transcribes(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """Two real gateways on one database: one has the sessions, the other the audio."""
    async with running(database_url, provider, tmp_path / "audio") as audio:
        settings = {"ws_server_url": audio.url, "join_starts": "rtmp"}
        async with running(database_url, provider, tmp_path / "app", **settings) as app:
            slug = await live(app)
            seen = await until(lambda: transcribed(audio, slug))
            assert (await audio.metric_of("starting"), await app.metric_of("starting")) == (1, 0)
            again = await call(app, "POST", f"/api/sessions/{slug}/transcription/start")
            assert (again.status, again.json["transcriptionId"]) == (200, seen["transcriptionId"])
            assert again.json["ingest"]["streamKey"]
            assert await good(app, "POST", f"/api/sessions/{slug}/end") == {"status": "ok"}
            assert await transcribed(audio, slug) is None
            assert (await show(app, slug))["rawTranscriptReadyAt"]
            refused = await call(app, "POST", f"/api/sessions/{slug}/transcription/start")
            assert refused.status == 409


async def test_a_gateway_that_is_away_or_refuses_fails_no_join_and_no_end(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    settings = {"ws_server_url": "http://127.0.0.1:9", "join_starts": "rtmp", "upkeep_s": 0.2}
    async with running(database_url, provider, tmp_path / "app", **settings) as app:
        slug = await live(app)
        answer = await call(app, "POST", f"/api/sessions/{slug}/transcription/start")
        assert (answer.status, answer.json["title"]) == (503, "The transcribing gateway is away")
        assert "WS_SERVER_URL" in answer.json["hint"]
        assert await good(app, "POST", f"/api/sessions/{slug}/end") == {"status": "ok"}
        assert (await show(app, slug))["rawTranscriptReadyAt"] is None  # what follows is repeated later
        assert await rows(app, "SELECT attempts FROM gateway.session_ending") == [(1,)]
    async with running(database_url, provider, tmp_path / "audio") as audio:
        wrong = {"ws_server_url": audio.url, "ws_server_token": "wrong", "join_starts": "rtmp"}
        async with running(database_url, provider, tmp_path / "app", **wrong) as app:
            slug = await live(app)
            answer = await call(app, "POST", f"/api/sessions/{slug}/transcription/start")
            assert (answer.status, answer.json["title"]) == (503, "The transcribing gateway has refused")
            assert "WS_SERVER_TOKEN" in answer.json["hint"]


# --- what the media server tells ----------------------------------------------------------------------------


async def told(gateway: InProcess, event_name: str, room: str, id_: str = "", **participant: object) -> int:
    """A webhook as LiveKit sends it: signed, with the hash of its body."""
    event = {"event": event_name, "id": id_ or secrets.token_hex(8), "room": {"name": room}, "participant": participant}
    body = json.dumps(event).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": "livekit-key", "exp": time.time() + 60, "sha256": digest}
    signed = jwt.encode(claims, ROOM_SECRET, algorithm="HS256")
    answer = await gateway.call(
        "POST", "/api/livekit/webhook", body, token=None,
        headers={"Authorization": signed, "Content-Type": "application/webhook+json"},
    )  # fmt: skip
    return answer.status


async def test_webhooks_note_who_comes_and_goes(gateway: InProcess) -> None:
    slug = await new(gateway)
    assert await told(gateway, "participant_joined", slug, identity="anna", name="Anna") == 200
    assert await told(gateway, "participant_joined", slug, identity="recorder", kind="EGRESS") == 200
    assert await told(gateway, "participant_joined", "a room of something else", identity="anna") == 200
    assert (await show(gateway, slug))["status"] == "LIVE"
    path = f"/api/sessions/{slug}/participants"
    assert [(one["identity"], one["name"]) for one in (await good(gateway, "GET", path))["participants"]] == [
        ("anna", "Anna")
    ]
    assert await told(gateway, "participant_left", slug, identity="anna") == 200
    assert (await good(gateway, "GET", path))["participants"] == []


async def test_a_webhook_delivered_again_makes_nobody_present_and_sends_nobody_away(gateway: InProcess) -> None:
    """Whether or not the server says of which connection it speaks."""
    slug = await new(gateway)
    path = f"/api/sessions/{slug}/participants"

    async def there() -> list[str]:
        return [one["identity"] for one in (await good(gateway, "GET", path))["participants"]]

    for identity, first, second in (
        ("gus", {"sid": "PA_1", "joinedAt": "100"}, {"sid": "PA_2", "joinedAt": "200"}),
        ("eva", {}, {}),
    ):
        assert await told(gateway, "participant_joined", slug, f"{identity}-1", identity=identity, **first) == 200
        assert await told(gateway, "participant_left", slug, f"{identity}-2", identity=identity, **first) == 200
        assert await told(gateway, "participant_joined", slug, f"{identity}-1", identity=identity, **first) == 200
        assert await there() == []
        assert await told(gateway, "participant_joined", slug, f"{identity}-3", identity=identity, **second) == 200
        assert await there() == [identity]
        if second:
            assert await told(gateway, "participant_left", slug, f"{identity}-2", identity=identity, **first) == 200
            assert await there() == [identity]
        assert await told(gateway, "participant_left", slug, f"{identity}-4", identity=identity, **second) == 200
        assert await there() == []
    guest = {"attributes": {"gateway.mintedBy": "gateway", "gateway.mintedFor": "guest"}}
    assert await told(gateway, "participant_joined", slug, identity="anna", sid="PA_3", name="Eve", **guest) == 200
    assert await there() == [], "the creator's identity, under a guest's token"


# --- upkeep -------------------------------------------------------------------------------------------------


async def test_quiet_sessions_end_and_stale_ones_expire_by_themselves(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """With what follows an end; also a session that the app has ended in its own table is transcribed no longer."""
    settings = {"join_starts": "rtmp", "inactive_minutes": 10, "expire_hours": 1, "upkeep_s": 0.2}
    async with running(database_url, provider, tmp_path, **settings) as gateway:
        quiet, stale, theirs, busy = await live(gateway), await new(gateway), await live(gateway), await live(gateway)
        for slug in (quiet, theirs, busy):
            await until(lambda slug=slug: transcribed(gateway, slug))
        connection = await asyncpg.connect(database_url)
        try:
            change = 'UPDATE "VideoSession" SET '
            await connection.execute(f"{change} \"createdAt\" = now() - interval '2 h' WHERE slug = $1", stale)
            await connection.execute(f"{change} \"lastActivityAt\" = now() - interval '11 min' WHERE slug = $1", quiet)
            await connection.execute(f"{change} status = 'ENDED' WHERE slug = $1", theirs)
        finally:
            await connection.close()

        async def all_done() -> bool:
            ended = await show(gateway, quiet)
            expired = await show(gateway, stale)
            stopped = await transcribed(gateway, theirs) is None
            return bool(ended["rawTranscriptReadyAt"]) and expired["status"] == "EXPIRED" and stopped

        await until(all_done)
        assert (await show(gateway, quiet))["status"] == "ENDED"
        assert (await show(gateway, busy))["status"] == "LIVE"
        assert (await show(gateway, theirs))["rawTranscriptReadyAt"] is None  # that is the app's own business
        assert await transcribed(gateway, busy)


async def test_maintenance_can_be_left_to_cron(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    """`gateway maintain`, beside a gateway that has the transcription, and never looks itself."""
    env = {"DATABASE_URL": database_url, "GATEWAY_DATA_DIR": str(tmp_path / "cron"), "GATEWAY_LOG_LEVEL": "warning"}
    async with running(database_url, provider, tmp_path / "one", join_starts="rtmp", inactive_minutes=0) as gateway:
        quiet, stale = await live(gateway), await new(gateway)
        await until(lambda: transcribed(gateway, quiet))
        connection = await asyncpg.connect(database_url)
        try:
            for column, slug in (("lastActivityAt", quiet), ("createdAt", stale)):
                old = f'UPDATE "VideoSession" SET "{column}" = now() - interval \'25 h\' WHERE slug = $1'
                await connection.execute(old, slug)
        finally:
            await connection.close()
        process = await Process.start(sys.executable, "-m", "gateway", "maintain", env=env)
        assert await process.wait(60) == 0, process.output
        assert process.lines[-1].startswith("ended 1, expired 1, completed 1"), process.output
        ended = await show(gateway, quiet)
        assert ended["status"] == "ENDED" and ended["rawTranscriptReadyAt"]
        assert (await show(gateway, stale))["status"] == "EXPIRED"
        assert await transcribed(gateway, quiet) is None
        process = await Process.start(sys.executable, "-m", "gateway", "maintain", env=env)
        assert await process.wait(60) == 0, process.output
        assert process.lines[-1].startswith("ended 0, expired 0, completed 0"), process.output


async def test_a_role_that_may_not_delete_is_told_what_it_lacks(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    role = f"keeper_{secrets.token_hex(4)}"
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(
            f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA gateway TO {role}; "
            f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}; "
            f"GRANT ALL ON ALL TABLES IN SCHEMA gateway TO {role}"
        )
        url = database_url.replace("postgres@", f"{role}@", 1)
        async with running(url, provider, tmp_path / "one") as gateway:
            slug = await live(gateway)
            refused = await call(gateway, "DELETE", f"/api/sessions/{slug}")
            assert (refused.status, refused.kind) == (503, "application/problem+json")
            assert "GRANT DELETE" in refused.json["hint"]
            assert (await show(gateway, slug))["status"] == "ENDED"
            await owner.execute(f"GRANT DELETE ON ALL TABLES IN SCHEMA public TO {role}")
            assert await good(gateway, "DELETE", f"/api/sessions/{slug}") == {"success": True}
    finally:
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await owner.close()


async def test_what_was_said_is_for_guests_unless_the_host_says_no(gateway: InProcess) -> None:
    """Each door by itself: the session, its people, transcript, document and analysis. Others read on."""
    slug = (await good(gateway, "POST", "/api/sessions", title="Weekly"))["slug"]
    path = f"/api/sessions/{slug}"
    guest = (await good(gateway, "GET", f"{path}/token?identity=gus&for=audio", None))["token"]
    await good(gateway, "POST", f"{path}/participants/join", guest, identity="gus")
    assert (await good(gateway, "GET", path))["guestMinutes"] is True
    assert (await call(gateway, "PATCH", path, guest, guestMinutes=False)).status == 403
    assert (await call(gateway, "PATCH", path, MEMBER, guestMinutes=False)).status == 403
    doors = [path, *(f"{path}/{one}" for one in ("participants", "segments", "transcript", "document", "analysis"))]

    async def open_to(token: Token) -> list[str]:
        return [door for door in doors if (await call(gateway, "GET", door, token)).status not in (401, 403)]

    assert (await good(gateway, "PATCH", path, guestMinutes=False))["guestMinutes"] is False
    assert await open_to(guest) == doors, "while it lasts guests read along"
    await good(gateway, "POST", f"{path}/end")
    assert await open_to(guest) == []
    assert await open_to(ANNA) == doors
    assert await open_to(room_token(slug)) == doors, "the app's own tokens are the app's to give"
    await good(gateway, "PATCH", path, guestMinutes=True)
    assert await open_to(guest) == doors
