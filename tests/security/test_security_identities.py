"""Attacks on identities: a guest with the link, or a user of another space, who would like to be somebody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import jwt
import pytest
from integration.gateway_api.in_process import ROOM_SECRET, TOKEN, USER_SECRET, Answer, InProcess, running

from gateway.sessions.infra.repositories import PostgresParticipants
from storage.postgres.sessions import Participants
from stt.local.server import LocalServer

ROOMS = {"livekit_url": "ws://127.0.0.1:9", "livekit_auto_start": False}


def user(name: str, *spaces: str) -> str:
    known = {"sub": name, "spaces": list(spaces), "activeSpaceId": spaces[0] if spaces else None}
    return jwt.encode({**known, "exp": time.time() + 600}, USER_SECRET, algorithm="HS256")


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path / "one", join_starts="websocket", **ROOMS) as found:
        yield found


async def call(gateway: InProcess, method: str, path: str, token: str | None, **body: object) -> Answer:
    return await gateway.call(method, f"/api/sessions{path}", body or None, token=token)


async def created(gateway: InProcess, by: str = "owner", **more: object) -> str:
    answer = await call(gateway, "POST", "", user(by, "team"), title="Standup", **more)
    assert answer.status == 201, answer
    slug: str = answer.json["slug"]
    return slug


async def people(gateway: InProcess, slug: str) -> dict[str, Any]:
    answer = await call(gateway, "GET", f"/{slug}/participants?all=1", TOKEN)
    return {one["identity"]: one for one in answer.json["participants"]}


async def speak(gateway: InProcess, slug: str, token: str, **query: str) -> int | None:
    """None: was let in. Else the close code."""
    params = {"session": slug, "token": token, **query}
    async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/audio", params=params) as socket:
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        async with asyncio.timeout(60):
            first = await socket.receive()
        if first.type is aiohttp.WSMsgType.TEXT:
            await socket.send_json({"type": "stop"})
            return None
        return socket.close_code


async def test_a_guest_with_the_link_gets_no_token_of_the_owner_before_the_owner_has_come(gateway: InProcess) -> None:
    slug = await created(gateway)
    for token in (None, user("eve", "elsewhere")):
        for query in ("identity=owner", "identity=%20owner", "identity=owner%EF%BB%BF", "identity=owner&for=audio"):
            answer = await call(gateway, "GET", f"/{slug}/token?{query}", token)
            assert (answer.status, answer.json["title"]) == (409, "Identity taken"), (query, answer)
        assert (await call(gateway, "POST", f"/{slug}/participants/join", token, identity="owner")).status == 409
    assert (await call(gateway, "POST", f"/{slug}/participants/join", user("owner", "team"))).status == 200


async def test_a_user_who_has_only_ever_shown_a_token_is_nobody_elses_identity(gateway: InProcess) -> None:
    slug = await created(gateway)
    assert (await call(gateway, "GET", f"/{slug}", user("mia", "team"))).status == 200  # looks, and does not join
    assert (await call(gateway, "GET", f"/{slug}/token?identity=mia", None)).status == 409
    other = await created(gateway)
    assert (await call(gateway, "GET", f"/{other}/token?identity=mia", None)).status == 409


async def test_whichever_door_a_user_has_been_at_nobody_else_is_that_user(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await created(gateway)
    await gateway.start(slug, source="websocket")
    url = f"{gateway.url}/api/realtime"

    async def captions(token: str, **headers: str) -> None:
        async with gateway.http.get(f"{url}/transcribe?session={slug}&token={token}", headers=headers) as answer:
            assert answer.status == (200 if headers else 426)

    async def watches(token: str) -> None:
        async with gateway.http.ws_connect(f"{url}/transcribe?session={slug}&token={token}") as socket:
            await socket.receive()

    async def reads(token: str, path: str) -> None:
        assert (await gateway.call("GET", path, token=token)).status == 200

    doors = {
        "list": lambda token: reads(token, "/api/sessions"),
        "search": lambda token: reads(token, "/api/search?q=hello"),
        "transcript": lambda token: reads(token, f"/api/sessions/{slug}/transcript"),
        "vocabulary": lambda token: reads(token, "/api/spaces/team/vocabulary"),
        "events": lambda token: captions(token, Accept="text/event-stream"),
        "captions": watches,
        "audio": lambda token: speak(gateway, slug, token),
        "named": lambda token: call(gateway, "POST", f"/{slug}/participants/join", TOKEN, identity="x", userId="named"),
    }
    asked: list[str] = []
    meet = PostgresParticipants.meet

    async def counted(self: PostgresParticipants, user_id: str) -> None:
        asked.append(user_id)
        await meet(self, user_id)

    monkeypatch.setattr(PostgresParticipants, "meet", counted)
    for name, door in doors.items():
        for _ in range(2):
            await door(user(name, "team"))
        for query in (f"identity={name}", f"identity={name}&for=audio"):
            assert (await call(gateway, "GET", f"/{slug}/token?{query}", None)).status == 409, name
        assert (await call(gateway, "POST", f"/{slug}/participants/join", None, identity=name)).status == 409, name
    assert all(asked.count(name) <= 2 for name in doors)  # not one statement a request


async def test_whoever_came_first_under_an_id_that_nobody_knew_yet_has_lost_it_to_its_user(gateway: InProcess) -> None:
    slug = await created(gateway)
    for taker in (None, user("eve", "elsewhere")):
        zed = f"zed-{'guest' if taker is None else 'eve'}"
        tokens = [
            (await call(gateway, "GET", f"/{slug}/token?identity={zed}{more}", taker)).json["token"]
            for more in ("", "&for=audio")
        ]
        assert (await call(gateway, "POST", f"/{slug}/participants/join", taker, identity=zed)).status == 200
        joined = await call(gateway, "POST", f"/{slug}/participants/join", user(zed, "team"), name="Zed")
        assert (joined.status, joined.json["userId"]) == (200, zed), joined
        for token in tokens:
            for path, body in (
                ("participants/join", {"identity": zed, "name": "Eve"}),
                ("participants/leave", {}),
                ("end", {}),
                ("transcription/start", {}),
                ("transcription/host", {"identity": zed}),
            ):
                answer = await call(gateway, "POST", f"/{slug}/{path}", token, **body)
                assert answer.status in (403, 409), (path, answer)
            assert await speak(gateway, slug, token) == 4501
        row = (await people(gateway, slug))[zed]
        assert (row["name"], row["userId"], row["leftAt"]) == ("Zed", zed, None)
    assert await speak(gateway, slug, user("zed-eve", "team")) is None


async def test_a_users_own_room_token_is_that_user_and_says_so(gateway: InProcess) -> None:
    slug = await created(gateway)
    token = (await call(gateway, "GET", f"/{slug}/token?identity=phone-7", user("owner", "team"))).json["token"]
    attributes = jwt.decode(token, ROOM_SECRET, algorithms=["HS256"])["attributes"]
    assert attributes == {"gateway.mintedBy": "gateway", "gateway.mintedFor": "user", "gateway.userId": "owner"}
    assert (await call(gateway, "POST", f"/{slug}/participants/join", token)).json["userId"] == "owner"
    assert (await call(gateway, "GET", f"/{slug}/token?identity=phone-7", None)).status == 409
    assert (await call(gateway, "POST", f"/{slug}/participants/leave", token)).status == 200


async def test_a_token_of_the_apps_own_making_is_whoever_the_app_says(gateway: InProcess) -> None:
    slug = await created(gateway)
    assert (await call(gateway, "POST", f"/{slug}/participants/join", user("owner", "team"))).status == 200
    claims = {"iss": "livekit-key", "sub": "owner", "exp": time.time() + 60}
    made = {**claims, "video": {"room": slug, "roomJoin": True}}
    app = jwt.encode(made, ROOM_SECRET, algorithm="HS256")
    forged = jwt.encode({**made, "sub": "owner\x00"}, ROOM_SECRET, algorithm="HS256")
    spaced = jwt.encode({**made, "sub": " owner"}, ROOM_SECRET, algorithm="HS256")
    for token in (forged, spaced):
        assert (await call(gateway, "POST", f"/{slug}/participants/leave", token)).status == 403
        assert (await call(gateway, "POST", f"/{slug}/end", token)).status == 403
    assert (await call(gateway, "POST", f"/{slug}/participants/leave", app)).status == 200


async def test_a_nul_does_not_slip_past_the_reserved_prefix(gateway: InProcess) -> None:
    slug = await created(gateway)
    for identity in ("tran\x00scriber-x", "\u200btranscriber-x", " transcriber-x", "a\nb", "\u202eanna"):
        answer = await call(gateway, "POST", f"/{slug}/participants/join", None, identity=identity)
        assert answer.status == 400, (identity, answer)
    answer = await call(gateway, "POST", f"/{slug}/participants/join", None, identity="gus", name="A\x1b[2J")
    assert answer.status == 400 and "control character" in answer.json["detail"]
    for identity in ("علی\u200cرضا", "\U0001f469\u200d\U0001f4bb Dana", "山田\u3000太郎"):
        answer = await call(gateway, "POST", f"/{slug}/participants/join", None, identity=identity, name=identity)
        assert (answer.status, answer.json["identity"], answer.json["name"]) == (200, identity, identity)


async def test_the_gateways_own_identities_are_nobodys_at_any_door(gateway: InProcess) -> None:
    slug = await created(gateway)
    await gateway.start(slug, source="websocket")
    assert await speak(gateway, slug, TOKEN, identity=f"transcriber-{slug}") == 4522
    assert (await call(gateway, "GET", f"/{slug}/token?identity=transcriber-x", None)).status == 400
    assert (await call(gateway, "GET", f"/{slug}", user("transcriber-x", "team"))).status == 401
    claims = {"iss": "livekit-key", "sub": "transcriber-x", "exp": time.time() + 60}
    app = jwt.encode({**claims, "video": {"room": slug, "roomJoin": True}}, ROOM_SECRET, algorithm="HS256")
    assert (await call(gateway, "POST", f"/{slug}/participants/join", app)).json["identity"] == "\ufffdranscriber-x"
    other = await gateway.session()
    named = {"sessionSlug": other, "source": "rtmp", "participantIdentity": "transcriber-x"}
    assert (await gateway.call("POST", "/api/transcription/start", named)).status == 400


@pytest.mark.parametrize(
    ("title", "stored"),
    [
        ("  Stand\u0065\u0301up \u200b", "Stand\u00e9up"),
        ("山田\u3000さん \U0001f469\u200d\U0001f4bb", "山田\u3000さん \U0001f469\u200d\U0001f4bb"),
        ("x" * 500, "x" * 500),
        ("x" * 501, None),
        ("a\x00b", None),
        ("a\nX-Injected: 1", None),
        ("\x1b[2Jgone", None),
        ("safe\u202egnp.exe", None),
        ("\u2067open", None),
        (" \u200b ", ""),
    ],
)
async def test_a_title_is_cleaned_like_a_name_and_stored_as_checked(
    gateway: InProcess, title: str, stored: str | None
) -> None:
    made = await call(gateway, "POST", "", user("owner", "team"), title=title)
    assert made.status == (400 if stored is None else 201), made
    if stored is not None:
        told = await call(gateway, "GET", f"/{made.json['slug']}", TOKEN)
        assert (told.json["title"] or "") == stored


async def test_the_stream_key_is_for_those_who_may_publish(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path / "two", join_starts="rtmp", **ROOMS) as gateway:
        slug = await created(gateway)
        owner = user("owner", "team")
        assert (await call(gateway, "POST", f"/{slug}/participants/join", owner)).status == 200
        guest = (await call(gateway, "GET", f"/{slug}/token?identity=gus", None)).json["token"]
        assert (await call(gateway, "POST", f"/{slug}/participants/join", guest)).status == 200
        host, member = user("hana", "team"), user("mia", "team")
        assert (await call(gateway, "POST", f"/{slug}/participants/join", host, role="HOST")).status == 200
        for token, sees in ((owner, True), (host, True), (TOKEN, True), (guest, False), (member, False)):
            answer = await call(gateway, "POST", f"/{slug}/transcription/start", token, source="rtmp")
            assert answer.status in (200, 201)
            assert bool((answer.json.get("ingest") or {}).get("streamKey")) is sees
            assert (b"rtmp://" in answer.body) is sees


async def test_a_session_takes_so_many_participants_and_whoever_is_in_may_come_back(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path / "two", max_participants=5, **ROOMS) as gateway:
        slug = await created(gateway)
        answers = await asyncio.gather(
            *(call(gateway, "POST", f"/{slug}/participants/join", None, identity=f"guest-{n}") for n in range(20))
        )
        assert sorted(one.status for one in answers) == [200] * 5 + [409] * 15
        assert {one.json["title"] for one in answers if one.status == 409} == {"Session is full"}
        inside = next(iter(await people(gateway, slug)))
        assert (await call(gateway, "POST", f"/{slug}/participants/join", None, identity=inside)).status == 200


async def test_who_comes_by_speaking_counts_as_well(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    """A tenth is kept for those who have an account: guests cannot lock them out."""
    settings = {"max_participants": 20, "join_starts": "nothing", "join_per_minute": 0}
    async with running(database_url, provider, tmp_path / "two", **settings, **ROOMS) as gateway:
        slug = await created(gateway)
        assert (await call(gateway, "POST", f"/{slug}/participants/join", user("owner", "team"))).status == 200
        await gateway.start(slug, source="websocket")
        told = []
        for n in range(20):
            minted = await call(gateway, "GET", f"/{slug}/token?identity=guest-{n}&for=audio", None)
            told.append(await speak(gateway, slug, minted.json["token"]))
            if told[-1] is None:  # its row is made beside its audio
                async with asyncio.timeout(10):
                    while f"guest-{n}" not in await people(gateway, slug):
                        await asyncio.sleep(0.02)
        assert told == [None] * 17 + [4501] * 3
        assert await speak(gateway, slug, user("mia", "team")) is None
        assert (await call(gateway, "POST", f"/{slug}/participants/join", user("ben", "team"))).status == 200
        assert (await call(gateway, "POST", f"/{slug}/participants/join", user("zoe", "team"))).status == 409
        assert len(await people(gateway, slug)) == 20


async def test_no_call_reads_every_participant(gateway: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a user nor of a guest: a session of 20,001 rows answers like one of three."""
    from gateway.transcription.infra.session_records import PostgresSessionRecords

    slug = await created(gateway)
    owner = user("owner", "team")
    assert (await call(gateway, "POST", f"/{slug}/participants/join", owner)).status == 200
    guest = (await call(gateway, "GET", f"/{slug}/token?identity=gus", None)).json["token"]
    await call(gateway, "POST", f"/{slug}/participants/join", guest)

    async def forbidden(*_: object, **__: object) -> Any:
        raise AssertionError("every participant was read")

    monkeypatch.setattr(PostgresParticipants, "of", forbidden)
    for token in (owner, guest, user("mia", "team")):
        assert (await call(gateway, "GET", f"/{slug}", token)).status == 200
        assert (await call(gateway, "GET", f"/{slug}/segments", token)).status == 200
        assert (await call(gateway, "POST", f"/{slug}/transcription/start", token)).status in (200, 201)
    monkeypatch.setattr(PostgresSessionRecords, "people", forbidden)
    monkeypatch.setattr(Participants, "by_session", forbidden)
    for body in ({"identity": "gus"}, {}, {}):  # the next in line, by turns
        assert (await call(gateway, "POST", f"/{slug}/transcription/host", TOKEN, **body)).status == 200
    assert (await call(gateway, "POST", f"/{slug}/transcription/host", guest, identity="gus")).status == 200
    assert await speak(gateway, slug, owner, identity="owner") is None


async def test_whoever_has_joined_reads_transcript_document_and_stream_as_segments(gateway: InProcess) -> None:
    slug = await created(gateway)
    ben, eve = user("ben", "elsewhere"), user("eve", "elsewhere")
    assert (await call(gateway, "POST", f"/{slug}/participants/join", ben)).status == 200
    mover = user("owner", "elsewhere")  # the creator, who has left the space since
    for token, seen in ((ben, True), (mover, True), (eve, False)):
        for what in ("segments", "transcript", "document"):
            answer = await call(gateway, "GET", f"/{slug}/{what}", token)
            assert (answer.status != 403) is seen, (what, answer)
        url, params = f"{gateway.url}/api/realtime/transcribe", {"session": slug, "token": token}
        try:
            async with gateway.http.ws_connect(url, params=params):
                assert seen
        except aiohttp.WSServerHandshakeError as error:
            assert (error.status, seen) == (403, False)


async def test_a_join_token_is_renewed_by_the_creator_and_the_old_one_dies(gateway: InProcess) -> None:
    answer = await call(gateway, "POST", "", user("owner", "team"), requireJoinToken=True)
    slug, old = answer.json["slug"], answer.json["joinToken"]
    owner = user("owner", "team")
    assert (await call(gateway, "GET", f"/{slug}", owner)).json["requireJoinToken"] is True
    for token, status in ((None, 401), (user("mia", "team"), 403), (user("eve", "elsewhere"), 403)):
        assert (await call(gateway, "POST", f"/{slug}/join-token", token)).status == status
    renewed = await call(gateway, "POST", f"/{slug}/join-token", owner)
    assert (renewed.status, renewed.headers["Cache-Control"]) == (200, "no-store")
    new = renewed.json["joinToken"]
    # By which a page knows that the one it keeps is the old one.
    assert renewed.json["joinTokenMadeAt"] > answer.json["joinTokenMadeAt"]
    told = (await call(gateway, "GET", f"/{slug}", owner)).json
    assert told["joinTokenMadeAt"] == renewed.json["joinTokenMadeAt"]
    for shown, status in ((old, 403), (new, 200)):
        join = {"identity": "gus", "joinToken": shown}
        assert (await call(gateway, "POST", f"/{slug}/participants/join", None, **join)).status == status
        assert (await call(gateway, "GET", f"/{slug}/token?identity=gus&joinToken={shown}", None)).status == status
    open_one = await created(gateway)
    assert (await call(gateway, "GET", f"/{open_one}", TOKEN)).json["requireJoinToken"] is False
    assert (await call(gateway, "POST", f"/{open_one}/join-token", TOKEN)).status == 200
    listed = (await call(gateway, "GET", "?spaceId=team", TOKEN)).json["sessions"]
    assert {one["slug"]: one["requireJoinToken"] for one in listed} == {slug: True, open_one: True}
    assert (await call(gateway, "POST", f"/{open_one}/participants/join", None, identity="gus")).status == 403


async def test_guests_speak_without_livekit_with_a_token_of_their_own(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    async with running(database_url, provider, tmp_path / "two", join_starts="websocket") as gateway:
        slug = await created(gateway)
        made = await call(gateway, "GET", f"/{slug}/token?identity=gus&name=Gus&for=audio", None)
        assert (made.status, made.json["room"]) == (200, slug)
        assert made.json["url"].startswith("ws") and made.json["url"].endswith("/api/realtime/audio")
        token = made.json["token"]
        assert (await call(gateway, "POST", f"/{slug}/participants/join", token, name="Gus")).status == 200
        assert (await call(gateway, "POST", f"/{slug}/transcription/start", token)).status in (200, 201)
        assert await speak(gateway, slug, token) is None
        other = await created(gateway)
        assert (await call(gateway, "GET", f"/{other}", token)).status == 403
        for forged in (
            jwt.encode(jwt.decode(token, options={"verify_signature": False}), USER_SECRET, algorithm="HS256"),
            jwt.encode(jwt.decode(token, options={"verify_signature": False}), TOKEN * 2, algorithm="HS256"),
        ):
            assert (await call(gateway, "GET", f"/{slug}", forged)).status == 401
        connection = await asyncpg.connect(gateway.database_url)
        try:
            assert await connection.fetchval("SELECT count(*) FROM \"Participant\" WHERE identity = 'gus'") == 1
        finally:
            await connection.close()


@pytest.mark.parametrize(
    ("identity", "name", "taken"),
    [
        ("user-1", "山田\u3000太郎", True),
        ("user-2", "علی\u200cرضا", True),
        ("user-3", "\U0001f469\u200d\U0001f4bb Dana", True),
        ("a/b?c#d%20", "Jean\u00a0Luc", True),
        ("user-4", "Anna\nB: fake", False),
        ("a\x00b", "x", False),
        ("user-5", "\u202e\u05d3\u05df", False),
    ],
)
async def test_who_may_join_under_a_name_may_speak_under_it(
    gateway: InProcess, identity: str, name: str, taken: bool
) -> None:
    slug = await gateway.session()
    await gateway.start(slug, source="websocket")
    joined = await call(gateway, "POST", f"/{slug}/participants/join", TOKEN, identity=identity, name=name)
    assert (joined.status == 200) is taken
    assert await speak(gateway, slug, TOKEN, identity=identity, name=name) == (None if taken else 4522)
