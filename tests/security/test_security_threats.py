"""docs/security.md row by row: which test shows that it is so, and the ones that are at home nowhere else."""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from security.test_security_connections import pipe, rest
from security.test_security_identities import ROOMS, call, user

from stt.local.server import LocalServer

TESTS: Final = Path(__file__).parents[1]
PAGE: Final = TESTS.parent / "docs" / "security.md"
MATRIX: Final = "security/test_security_matrix.py::test_the_matrix_is_as_written"
ROTATED: Final = "security/test_security_rotation.py::test_every_secret_is_rotated_in_a_running_gateway"
IDLE: Final = "security/test_security_connections.py::test_a_stranger_with_idle_connections"
STRANGERS: Final = "integration/gateway_live/test_gateway_live_audio.py::test_a_refused_sender_is_told"
HERE: Final = "security/test_security_threats.py::"
FLOODS: Final = "security/test_security_floods.py::"
OUTSIDE: Final = "what it opens is not ours"
COVERED: Final = {
    # Who may do what.
    "a service (your app's server)": MATRIX,
    "a signed-in user": MATRIX,
    "a guest in a room": MATRIX,
    "an encoder": HERE + "test_a_stream_key_is_good_for_one_transcription",
    "the LiveKit server": "integration/gateway_sessions/test_gateway_sessions_http.py::test_webhooks_note",
    "the speech provider": "security/test_security_parsers.py::test_any_bytes_give",
    "anybody": MATRIX,
    # What a stolen secret can do.
    "a service token": ROTATED,
    "`GATEWAY_JWT_SECRET`": ROTATED,
    "a user's token": "integration/gateway_live/test_gateway_live_socket.py::test_a_credential_that_expires",
    "LiveKit's key and secret": ROTATED,
    "a guest's room token": "integration/gateway_live/test_gateway_live_audio.py::test_a_credential_that_expires",
    "a stream key": HERE + "test_a_stream_key_is_good_for_one_transcription",
    "the provider's key": ROTATED,
    "a webhook's secret": "unit/gateway/webhooks/test_webhook_rules.py::test_every_secret_verifies",
    "`DATABASE_URL`": OUTSIDE,
    "a webhook body, a log file": HERE + "test_no_secret_reaches_the_log",
    # What a stranger can cost.
    "connections that say nothing, half heads, slow bodies, answers that are not read": IDLE,
    "RTMP sockets": "integration/ingest/test_ingest_rtmp_server.py::test_idle_sockets_shut_out_nobody",
    "both, with few descriptors (`ulimit -n`)": "unit/gateway/app/test_app_admittance.py::test_listeners_never_get",
    "requests": MATRIX,
    "refused encoders and senders of audio": STRANGERS,
    "large, deep or broken bodies": "security/test_security_malformed.py::test_json_that_cannot_be_read",
    "guesses of stream keys (144 bits) and tokens":
        "unit/gateway/live/test_live_credentials.py::test_service_tokens_are_compared_in_constant_time",
    "RTMP `publish`, given up and asked again": FLOODS + "test_a_stranger_has_one_key_checked",
    "tiny or empty frames, fragments, pings, texts on the audio WebSocket": FLOODS + "test_a_sender_that_floods",
    "starts, ends, pauses, hosts that a participant repeats": "security/test_security_pauses.py::test_who_repeats",
    "the same from a watcher": FLOODS + "test_a_watcher_that_floods",
    "`GET …/segments` of a long session, again and again":
        "unit/gateway/sessions/usecases/test_sessions_usecases.py::test_only_so_many_sessions_are_read_whole",
    "the history of a session, asked for and not read": FLOODS + "test_event_streams_that_are_never_read",
    "`publish` and its end as fast as can be, with a good key, also on several connections":
        FLOODS + "test_an_admitted_key_that_is_published",
    "anything on RTMP: tiny chunks and messages, commands, metadata, aggregates":
        FLOODS + "test_a_publisher_that_floods",
    "guesses of slugs (47 bits)": HERE + "test_guessing_slugs_and_join_tokens_is_slow",
    "a join of an open session": "integration/gateway_limits/test_gateway_limits_books.py::test_a_user_and_a_space_use",
    # How secrets are rotated.
    "service tokens": ROTATED,
    "LiveKit's pair": ROTATED,
}  # fmt: skip


@pytest.fixture
async def gateway(database_url: str, provider: LocalServer, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running(database_url, provider, tmp_path, join_starts="nothing", **ROOMS) as found:
        yield found


def test_every_row_of_the_page_has_a_test_that_exists() -> None:
    text = PAGE.read_text().partition("### Siege")[0]
    rows = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    rows = [row for row in rows if not row.startswith("---") and row not in ("Who", "Stolen", "With", "Of")]
    assert sorted(set(rows)) == sorted(COVERED)
    for row, test in COVERED.items():
        file, _, name = test.partition("::")
        assert test is OUTSIDE or f"def {name}" in (TESTS / file).read_text(), row


async def test_a_stream_key_is_good_for_one_transcription_and_dies_with_it(gateway: InProcess) -> None:
    slug, other = await gateway.session(), await gateway.session()
    first, beside = await gateway.start(slug), await gateway.start(other)
    keys = [first["ingest"]["streamKey"], beside["ingest"]["streamKey"]]
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    keys.append((await gateway.start(slug))["ingest"]["streamKey"])
    assert len(set(keys)) == 3 and all(len(key) == 24 for key in keys)  # of 6 bits each
    url = first["ingest"]["rtmpUrl"]
    assert await published(url, keys[0]) == b"NetStream.Publish.BadName"
    assert await published(url, f"{keys[1]}x") == b"NetStream.Publish.BadName"
    assert await published(url, keys[2]) == await published(url, keys[1]) == b"NetStream.Publish.Start"


async def published(url: str, key: str) -> bytes:
    """What the server says to it."""
    host, _, port = url.removeprefix("rtmp://").partition("/")[0].partition(":")

    def text(value: str) -> bytes:
        return b"\x02" + struct.pack("!H", len(value)) + value.encode()

    def message(body: bytes, stream: int = 0) -> bytes:
        pieces = [body[at : at + 128] for at in range(0, len(body), 128)]
        head = b"\x03\0\0\0" + len(body).to_bytes(3, "big") + b"\x14" + struct.pack("<I", stream)
        return head + b"\xc3".join(pieces)

    def number(value: float) -> bytes:
        return b"\0" + struct.pack("!d", value)

    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"\x03" + bytes(1536) + bytes(1536))
        app = text("connect") + number(1) + b"\x03" + struct.pack("!H", 3) + b"app" + text("live") + b"\0\0\x09"
        writer.write(message(app) + message(text("createStream") + number(2) + b"\x05"))
        writer.write(message(text("publish") + number(3) + b"\x05" + text(key) + text("live"), 1))
        seen = b""
        async with asyncio.timeout(20):
            while (found := re.search(rb"NetStream\.Publish\.\w+", seen)) is None and (
                more := await reader.read(65_536)
            ):
                seen += more
        return found[0] if found is not None else b""
    finally:
        writer.close()


async def test_no_secret_reaches_the_log(gateway: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever callers put them: header, query, subprotocol, body, path."""
    caplog.set_level(logging.DEBUG)
    made = await call(gateway, "POST", "", user("owner", "team"), requireJoinToken=True)
    slug, join_token = made.json["slug"], made.json["joinToken"]
    guest = (await call(gateway, "GET", f"/{slug}/token?identity=gus&joinToken={join_token}", None)).json["token"]
    await call(gateway, "POST", f"/{slug}/participants/join", None, identity="gus", joinToken=join_token)
    ingest = (await gateway.start(slug))["ingest"]
    url, key = ingest["rtmpUrl"], ingest["streamKey"]
    for named in (key, f"{key}?token={TOKEN}", f"{key}x"):
        await published(url, named)
    secrets = [TOKEN, join_token, guest, key, user("eve", "elsewhere")]
    for secret in secrets:
        await gateway.call("GET", f"/api/sessions/{slug}?token={secret}", token=secret)
        url = f"{gateway.url}/api/realtime/transcribe?session={slug}"
        for more, offered in ((f"&token={secret}", ()), ("", ("transcript.v1", f"bearer.{secret}")), ("", (secret,))):
            try:
                async with gateway.http.ws_connect(url + more, protocols=offered):
                    pass
            except aiohttp.WSServerHandshakeError:
                pass
    async with pipe(gateway, f"GET /x?{TOKEN} HTTP/1.1\r\nAuthorization {TOKEN}\r\n\r\n".encode()) as (reader, _):
        await rest(reader)
    ours = [
        record for record in caplog.records if record.name.startswith(("gateway", "ingest", "stt", "storage", "aio"))
    ]
    lines = [f"{record.getMessage()} {vars(record)}" for record in ours]
    assert len(lines) > 20
    assert not [line for line in lines if any(secret in line for secret in secrets)]


async def test_guessing_slugs_and_join_tokens_is_slow(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    async with running(database_url, provider, tmp_path / "two", join_per_minute=5, **ROOMS) as gateway:
        made = await call(gateway, "POST", "", user("owner", "team"), requireJoinToken=True)
        slug = made.json["slug"]
        guesses = [f"/{n:08}/token?identity=x" for n in range(3)] + [
            f"/{slug}/token?identity=x&joinToken={n}" for n in "abc"
        ]
        answers = [(await call(gateway, "GET", guess, None)).status for guess in guesses]
        assert answers == [404, 404, 404, 403, 403, 429]
        assert (
            await call(gateway, "POST", f"/{slug}/participants/join", None, identity="x", joinToken="d")
        ).status == 429
        owner = user("owner", "team")  # whoever has signed in is counted apart
        assert (await call(gateway, "POST", f"/{slug}/participants/join", owner)).status == 200
