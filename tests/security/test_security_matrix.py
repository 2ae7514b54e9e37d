"""Token kind × route × room × state: what each credential gets, printed, and as `access_matrix.txt` says.

After an intended change: WRITE_MATRIX=1 writes the file anew; read its diff.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import jwt
import pytest
from integration.gateway_api.in_process import ROOM_SECRET, TOKEN, InProcess, running
from security.test_security_identities import ROOMS, call, speak, user

from gateway.console import pages
from gateway.replicas.peers import HOP, TO, key_for
from gateway.replicas.routes import PREFIX
from gateway.sessions.domain.access import What
from gateway.sessions.usecases import admission
from stt.local.server import LocalServer

GOLDEN = Path(__file__).with_name("access_matrix.txt")
STATES = ("CREATED", "LIVE", "ENDED", "EXPIRED")
KINDS = (
    "service", "creator", "member", "joined user", "joined host", "stranger", "app's room token", "guest's room token",
    "guest's audio token", "token of a user's name", "another room's", "nobody", "forged",
)  # fmt: skip
# Route, body, and whether each cell needs a session of its own because the route changes it. A path continues that of
# the session, if it is not whole (`_is_whole`); there, and in bodies, SLUG stands for it.
ROUTES: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("GET", "", {}, False),
    ("GET", "/participants", {}, False),
    ("GET", "/segments", {}, False),
    ("GET", "/transcript", {}, False),
    ("GET", "/document", {}, False),
    ("GET", "/analysis", {}, False),
    ("GET", "/token?identity=new", {}, False),
    ("GET", "/token?identity=jo", {}, False),
    ("POST", "/participants/join", {}, True),
    ("POST", "/participants/join HOST", {"role": "HOST"}, True),
    ("POST", "/participants/leave", {}, True),
    ("POST", "/transcription/start", {"source": "rtmp"}, False),
    ("POST", "/transcription/start (with tags)", {"source": "rtmp", "tags": ["acme"]}, False),
    ("POST", "/transcription/host", {}, False),
    (
        "POST",
        "/segments",
        {"utteranceId": "u", "text": "x", "isFinal": True, "startedAt": "2026-01-05T10:00:00Z"},
        True,
    ),
    ("POST", "/analysis/retry", {}, False),
    ("POST", "/join-token", {}, True),
    ("PATCH", "", {"guestMinutes": True}, False),
    ("POST", "/end", {}, True),
    ("DELETE", "", {}, True),
    ("GET", "/api/sessions?spaceId=team", {}, False),
    ("POST", "/api/sessions", {"spaceId": "team"}, False),
    ("POST", "/api/transcription/start", {"sessionSlug": "SLUG", "source": "rtmp"}, True),
    ("GET", "/api/transcription", {}, False),
    ("GET", "/api/transcription/SLUG", {}, False),
    ("GET", "/api/transcription/SLUG/usage", {}, False),
    ("GET", "/api/transcription/SLUG/timeline", {}, False),
    ("PATCH", "/api/transcription/SLUG", {"languages": []}, False),
    ("POST", "/api/transcription/SLUG/pause", {}, False),
    ("POST", "/api/transcription/SLUG/pause ONESELF", {"participantIdentity": "gus"}, False),
    ("POST", "/api/transcription/SLUG/resume", {}, False),
    ("POST", "/api/transcription/stop", {"sessionSlug": "SLUG"}, False),
    ("GET", "/api/spaces/team/limits", {}, False),
    ("PUT", "/api/spaces/team/limits", {"sessionMinutes": 500}, False),
    ("GET", "/api/spaces/team/vocabulary", {}, False),
    ("PUT", "/api/spaces/team/vocabulary", {"words": ["x"]}, False),
    ("GET", "/api/audit", {}, False),
    ("GET", "/api/search?q=x&session=SLUG", {}, False),
    ("GET", "/api/search?q=x", {}, False),
    ("GET", "/api/usage?from=2026-01-01&to=2026-01-02", {}, False),
    ("GET", "/api/replicas", {}, False),
    ("POST", "/api/webhooks", {"url": "https://app.example.com"}, False),
    ("GET", "/api/webhooks", {}, False),
    ("GET", "/api/webhooks/NONE", {}, False),
    ("PATCH", "/api/webhooks/NONE", {"description": "x"}, False),
    ("DELETE", "/api/webhooks/NONE", {}, False),
    ("POST", "/api/webhooks/NONE/test", {}, False),
    ("POST", "/api/webhooks/NONE/secret", {}, False),
    ("GET", "/api/webhooks/NONE/deliveries", {}, False),
    ("POST", "/api/webhooks/NONE/deliveries/1/replay", {}, False),
    ("POST", "/api/webhooks/NONE/replay", {"from": "2026-01-01T00:00:00Z"}, False),
    ("GET", "/metrics", {}, False),
    ("GET", "/debug/tasks", {}, False),
    ("GET", "/debug/profile?seconds=0.1", {}, False),
    ("GET", "/debug/sessions/SLUG", {}, False),
    ("GET", "/debug/log", {}, False),
    ("PUT", "/debug/log", {"level": "info"}, False),
    ("POST", "/api/livekit/webhook", {"event": "room_started"}, False),
    ("GET", "/healthz", {}, False),
    ("GET", "/readyz", {}, False),
    ("GET", "/openapi.json", {}, False),
)
STREAMS = ("/api/realtime/transcribe", "/api/realtime/audio")


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    limits = {
        "create_per_minute": 0,
        "join_per_minute": 0,
        "list_per_minute": 0,
        "search_per_minute": 0,
        "steer_per_minute": 0,
    }
    async with running(database_url, provider, tmp_path, join_starts="nothing", **limits, **ROOMS) as found:
        yield found


class Stage:
    def __init__(self, gateway: InProcess, database: asyncpg.Connection) -> None:
        self.gateway = gateway
        self._database = database
        self.other = "", ""  # another session, and a guest's audio token of it

    async def session(self, state: str) -> str:
        """One in that state, in which a user, a host, a guest and somebody whom the app knows have joined."""
        made = await call(self.gateway, "POST", "", user("owner", "team"), title="Standup")
        slug: str = made.json["slug"]
        for body in (
            {"identity": "jo", "userId": "jo"},
            {"identity": "hana", "userId": "hana", "role": "HOST"},
            {"identity": "gus"},
            {"identity": "ana"},
        ):
            assert (await call(self.gateway, "POST", f"/{slug}/participants/join", TOKEN, **body)).status == 200
        change = 'UPDATE "VideoSession" SET status = $2::text::"SessionStatus" WHERE slug = $1'
        await self._database.execute(change, slug, state)
        return slug

    async def tokens(self, slug: str) -> dict[str, str | None]:
        def room(identity: str, name: str, **more: Any) -> str:
            claims = {"iss": "livekit-key", "sub": identity, "exp": time.time() + 600, **more}
            return jwt.encode({**claims, "video": {"room": name, "roomJoin": True}}, ROOM_SECRET, algorithm="HS256")

        guest = {"attributes": {"gateway.mintedBy": "gateway", "gateway.mintedFor": "guest"}}
        other, audio = self.other
        claims = {**jwt.decode(audio, options={"verify_signature": False}), "room": slug}
        made = (
            TOKEN, user("owner", "team"), user("mia", "team"), user("jo", "elsewhere"), user("hana", "elsewhere"),
            user("eve", "elsewhere"), room("ana", slug), room("gus", slug, **guest), _own(claims),
            room("jo", slug, **guest), room("gus", other, **guest), None,
            jwt.encode(claims, ROOM_SECRET, algorithm="HS256"),
        )  # fmt: skip
        return dict(zip(KINDS, made, strict=True))


def _own(claims: dict[str, Any]) -> str:
    from gateway.transcription.domain.passes import signing_key

    return jwt.encode(claims, signing_key(TOKEN), algorithm="HS256")


async def test_the_matrix_is_as_written_and_every_row_of_the_table_decides_a_route(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[What] = set()
    decide = admission.decide

    def noting(what: What, *more: Any) -> Any:
        asked.add(what)
        return decide(what, *more)

    monkeypatch.setattr(admission, "decide", noting)
    database = await asyncpg.connect(gateway.database_url)
    try:
        lines = await _lines(Stage(gateway, database))
    finally:
        await database.close()
    await call(gateway, "GET", "?spaceId=team", user("mia", "team"))
    text = "\n".join(lines) + "\n"
    print(text)
    if os.environ.get("WRITE_MATRIX"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert asked == set(What), "a row of the access table decides nothing: no route asks for it"


async def test_every_route_that_exists_is_in_the_matrix(gateway: InProcess) -> None:
    """Pages and their files hold nothing of a session: everything that begins with /api, and what else takes part."""
    named = {("GET", path) for path in STREAMS}
    for method, path, _, _ in ROUTES:
        path = path.partition("?")[0].partition(" ")[0]
        for given, name in (
            ("SLUG", "{slug}"),
            ("/spaces/team", "/spaces/{id}"),
            ("NONE", "{id}"),
            ("/1/", "/{deliveryId}/"),
        ):
            path = path.replace(given, name)
        named.add((method, path if _is_whole(path) else "/api/sessions/{slug}" + path))
    there = {(method, path) for method, path in _routes(gateway) if not path.startswith(PREFIX + "/")}
    console = {"/" + file.name for file in Path(pages.__file__).parent.iterdir()}
    known = {("GET", path) for path in {*pages.PAGES, *console, "/assets/{version}/{name}"}}
    assert there - named <= known, "a route that the matrix does not name"
    assert not named - there, "the matrix names what is not there"


async def test_for_everybody_but_a_replica_there_is_nothing_under_internal(gateway: InProcess) -> None:
    """Not even for a service's token by itself, and with a replica's header for no other token."""
    routes = [(method, path) for method, path in _routes(gateway) if path.startswith(PREFIX + "/")]
    assert routes
    database = await asyncpg.connect(gateway.database_url)
    try:
        stage = Stage(gateway, database)
        other = await stage.session("LIVE")
        answer = await call(gateway, "GET", f"/{other}/token?identity=gus&for=audio", None)
        stage.other = other, answer.json["token"]
        slug = await stage.session("LIVE")
        tokens = await stage.tokens(slug)
    finally:
        await database.close()
    for method, path in routes:
        for kind, token in tokens.items():
            for headers in ({}, {HOP: "1"}, {HOP: "1", TO: "another"}):
                answer = await gateway.call(method, path.replace("{slug}", slug), {}, token=token, headers=headers)
                expected = 421 if headers and kind == "service" else 404
                assert answer.status == expected, (method, path, kind, headers, answer)
        for meant, key_of, expected in (("other", "other", 421), ("other", "me", 404), ("me", "other", 404)):
            asked = {HOP: "1", TO: meant}
            answer = await gateway.call(
                method, path.replace("{slug}", slug), {}, token=key_for(key_of, TOKEN), headers=asked
            )
            assert answer.status == expected, (method, path, meant, key_of, answer)
    for route, token in (("/api/transcription", key_for("me", TOKEN)), ("/api/usage", key_for("", TOKEN))):
        assert (await gateway.call("GET", route, token=token)).status == 401  # good for nothing else


def _routes(gateway: InProcess) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical)
        for route in gateway.app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS", "*")
    }


def _is_whole(path: str) -> bool:
    """Else it continues that of the session."""
    return path.startswith(("/api/", "/debug/", "/metrics", "/healthz", "/readyz", "/openapi.json"))


async def _lines(stage: Stage) -> list[str]:
    lines = [f"{'':26}" + "".join(f" {state:27}" for state in ("created", "live", "ended", "expired")).rstrip()]
    other = await stage.session("LIVE")
    answer = await call(stage.gateway, "GET", f"/{other}/token?identity=gus&for=audio", None)
    stage.other = other, answer.json["token"]
    shared = {state: await stage.session(state) for state in STATES}
    known = {state: await stage.tokens(slug) for state, slug in shared.items()}
    for method, path, body, changes in ROUTES:
        lines.append(f"{method} {path or '(the session)'}")
        for kind in KINDS:
            cells = []
            for state in STATES:
                slug = await stage.session(state) if changes else shared[state]
                token = (await stage.tokens(slug) if changes else known[state])[kind]
                sent = dict(body)
                if path.startswith("/participants/join") and kind in ("service", "nobody"):
                    sent["identity"] = "new"
                if path == "/participants/leave" and kind == "service":
                    sent["identity"] = "gus"
                sent = {name: slug if value == "SLUG" else value for name, value in sent.items()}
                where = path.partition(" ")[0].replace("SLUG", slug)
                where = where if _is_whole(where) else f"/api/sessions/{slug}{where}"
                answer = await stage.gateway.call(method, where, sent or None, token=token)
                key = b'"streamKey":"' in answer.body
                cells.append(f"{answer.status}{' with the key' if key else ''}")
            lines.append((f"  {kind:24}" + "".join(f" {cell:27}" for cell in cells)).rstrip())
    for route, attempt in (("WebSocket of captions", _watched), ("WebSocket of audio", _heard)):
        lines.append(route)
        for kind in KINDS:
            cells = [await attempt(stage.gateway, slug, known[state][kind]) for state, slug in shared.items()]
            lines.append((f"  {kind:24}" + "".join(f" {cell:27}" for cell in cells)).rstrip())
    return lines


async def _watched(gateway: InProcess, slug: str, token: str | None) -> str:
    params = {"session": slug} if token is None else {"session": slug, "token": token}
    try:
        async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/transcribe", params=params):
            return "101"
    except aiohttp.WSServerHandshakeError as error:
        return str(error.status)


async def _heard(gateway: InProcess, slug: str, token: str | None) -> str:
    """The close code, where the door was passed: 4510 for whoever may speak, as no transcription takes its audio."""
    try:
        return f"101, {await speak(gateway, slug, token or '')}"
    except aiohttp.WSServerHandshakeError as error:
        return str(error.status)
