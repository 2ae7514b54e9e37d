"""When rooms begin, end and break: what the gateway does by itself, and what it says."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from livekit import api, rtc
from support.gateway import Process, Running, gateway_process, words_in_order
from support.livekit import KEY, SECRET, LivekitServer
from support.waiting import until

GREEK = "alpha bravo charlie delta echo foxtrot golf hotel"
DIGITS = "zero one two three four five six seven"


def says(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: any(text in reason for reason in seen["health"]["reasons"])


async def test_a_server_that_is_down_at_start_is_said_and_joined_when_it_comes(
    frail_livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path
) -> None:
    """201 with state starting; health says why; then people are heard as if nothing had been."""
    async with gateway_process(tmp_path / "data", LIVEKIT_URL=frail_livekit.url, **gateway_settings) as gateway:
        slug = await gateway.new_session()
        status, started = await gateway.call("POST", "/api/transcription/start", {"sessionSlug": slug})
        assert status == 201 and started["state"] == "starting" and started["source"] == "livekit"
        seen = await gateway.until(slug, says("cannot be reached"))
        assert seen["state"] == "starting" and frail_livekit.url in seen["health"]["reasons"][0]
        await asyncio.to_thread(frail_livekit.start)
        async with frail_livekit.join(slug, "anna") as anna, gateway.watch(slug) as watcher:
            await anna.publish()
            await gateway.until(slug, lambda seen: bool(seen["tracks"]) and seen["health"]["status"] == "ok", 40)
            await asyncio.sleep(0.5)
            await anna.say(GREEK)
            await gateway.stop(slug)
            await watcher.until(lambda w: words_in_order(GREEK.split(), w.words) >= 0.75)


@pytest.mark.parametrize(
    "wrong",
    [{"LIVEKIT_API_SECRET": "another-secret-0123456789-abcdefghijkl"}, {"LIVEKIT_API_KEY": "nobodys-key"}],
    ids=["secret", "key"],
)
async def test_a_wrong_key_is_said(
    livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path, wrong: dict[str, str]
) -> None:
    """Start answers 201 all the same: somebody may be mending the server's configuration."""
    env = {**gateway_settings, "LIVEKIT_URL": livekit.url, **wrong}
    async with gateway_process(tmp_path / "data", **env) as gateway:
        slug = await gateway.new_session()
        assert (await gateway.start(slug, source="livekit"))["state"] == "starting"
        await gateway.until(slug, says("check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"))
        assert (await gateway.stop(slug))["finalsComplete"] is True


async def test_a_url_of_something_else_is_said(gateway_settings: dict[str, str], tmp_path: Path) -> None:
    """Here: the speech provider's, an HTTP server that knows no LiveKit."""
    url = gateway_settings["GLADIA_API_URL"]
    async with gateway_process(tmp_path / "data", LIVEKIT_URL=url, **gateway_settings) as gateway:
        slug = await gateway.new_session()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, says("check LIVEKIT_URL"))
        await gateway.stop(slug)


@pytest.mark.parametrize("right", [True, False])
async def test_check_tells_whether_the_server_takes_the_key(
    livekit: LivekitServer, gateway_settings: dict[str, str], right: bool
) -> None:
    env = {**gateway_settings, "LIVEKIT_URL": livekit.url, "GATEWAY_API_TOKENS": "a-service-token-for-the-tests"}
    if not right:
        env["LIVEKIT_API_SECRET"] = "another-secret-0123456789-abcdefghijkl"
    checking = await Process.start(sys.executable, "-m", "gateway", "check", env=env)
    code = await checking.wait()
    (line,) = [line for line in checking.lines if "LiveKit" in line]
    assert code == (0 if right else 1), checking.output
    assert ("accepts the key" if right else "LIVEKIT_API_SECRET") in line


async def test_a_room_nobody_opens_is_neither_made_nor_waited_for_for_ever(
    livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path
) -> None:
    env = {**gateway_settings, "GATEWAY_EMPTY_ROOM_S": "3"}
    async with gateway_process(tmp_path / "data", LIVEKIT_URL=livekit.url, **env) as gateway:
        slug = await gateway.new_session()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, says("does not exist yet"))
        async with livekit.api() as service:
            assert not (await service.room.list_rooms(api.ListRoomsRequest(names=[slug]))).rooms
        seen = await gateway.until(slug, lambda seen: seen["state"] == "stopped")
        assert seen["reason"] == "nobody was in the room any more"


async def test_being_removed_stops_the_transcription_with_the_reason(gateway: Running, livekit: LivekitServer) -> None:
    """A host who throws the transcriber out means it: nothing joins again."""
    slug = await gateway.new_session()
    async with livekit.join(slug, "anna") as anna:
        await anna.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: bool(seen["tracks"]))
        async with livekit.api() as service:
            bot = api.RoomParticipantIdentity(room=slug, identity=f"transcriber-{slug}")
            await service.room.remove_participant(bot)
        seen = await gateway.until(slug, lambda seen: seen["state"] == "stopped")
    assert "removed" in seen["reason"]


async def test_somebody_who_never_publishes_is_no_track_and_no_cost(
    gateway: Running, livekit: LivekitServer, database_url: str
) -> None:
    """In the room, so that it stays; the provider is never asked."""
    slug = await gateway.new_session()
    async with livekit.join(slug, "anna"):
        await gateway.start(slug, source="livekit")
        seen = await gateway.until(slug, says("nobody publishes yet: join the room and switch a microphone on"))
        assert seen["state"] == "starting" and not seen["tracks"]
        stopped = await gateway.stop(slug)
    assert stopped["finalsComplete"] is True and stopped["usage"]["totals"]["durationSeconds"] == 0


async def test_an_encrypted_room_is_said_in_health(gateway: Running, livekit: LivekitServer) -> None:
    slug = await gateway.new_session()
    async with livekit.join(slug, "anna", encrypted=True) as anna:
        await anna.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, says("end-to-end encrypted"))
        await gateway.stop(slug)


async def test_a_server_restart_in_mid_call_doubles_no_final(
    frail_livekit: LivekitServer, gateway_settings: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    """The call comes back, and so does the transcriber: one transcription, one numbering, every word once."""
    await asyncio.to_thread(frail_livekit.start)
    async with gateway_process(tmp_path / "data", LIVEKIT_URL=frail_livekit.url, **gateway_settings) as gateway:
        slug = await gateway.new_session()
        started = await gateway.start(slug, source="livekit")
        async with gateway.watch(slug) as watcher:
            async with frail_livekit.join(slug, "anna", "Anna") as anna:
                await anna.publish()
                await gateway.until(slug, lambda seen: bool(seen["tracks"]))
                await anna.say(GREEK)
                await asyncio.to_thread(frail_livekit.stop)
            await asyncio.to_thread(frail_livekit.start)
            async with frail_livekit.join(slug, "anna", "Anna") as anna:
                await anna.publish()
                await gateway.until(slug, _fresh, 90)
                await anna.say(DIGITS)
                assert (await gateway.stop(slug))["finalsComplete"] is True
            await watcher.until(lambda w: any(m["data"]["state"] == "stopped" for m in w.of("session.state")))
        assert (await gateway.status(slug))["transcriptionId"] == started["transcriptionId"]
    assert len(watcher.words) == len(set(watcher.words)), "a word came twice"
    assert words_in_order(f"{GREEK} {DIGITS}".split(), watcher.words) >= 0.75
    assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch('SELECT text FROM "TranscriptSegment" ORDER BY "startedAt"')
    await connection.close()
    assert [word for row in rows for word in row["text"].split()] == watcher.words


def _fresh(seen: dict[str, Any]) -> bool:
    """The track of the second call is there: it runs, and nothing has been said on it yet."""
    return any(not track["facts"]["heard_samples"] and track["facts"]["silent_samples"] for track in seen["tracks"])


async def test_finals_come_back_into_the_room_as_captions(gateway: Running, livekit: LivekitServer) -> None:
    """Bob reads what Anna says, sent in her name."""
    seen: list[tuple[str, str, str]] = []
    reading: set[asyncio.Task[None]] = set()

    def opened(reader: rtc.TextStreamReader, sender: str) -> None:
        async def read() -> None:
            facts = reader.info.attributes or {}
            seen.append((sender, facts["lk.transcription_final"], await reader.read_all()))

        reading.add(asyncio.ensure_future(read()))

    slug = await gateway.new_session()
    async with livekit.join(slug, "anna") as anna, livekit.join(slug, "bob") as bob:
        bob.room.register_text_stream_handler("lk.transcription", opened)
        await anna.publish()
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: bool(seen["tracks"]))
        async with gateway.watch(slug) as watcher:
            await anna.say(GREEK)
            await watcher.until(lambda w: bool(w.finals))
            await until(lambda: [text for _, final, text in seen if final == "true"])
        await gateway.stop(slug)
    assert {sender for sender, _, _ in seen} == {"anna"}
    assert seen[-1][2] == watcher.finals[0]["data"]["text"]
    assert any(final == "false" for _, final, _ in seen)


async def test_people_in_a_room_begin_a_transcription_and_its_end_ends_it(
    frail_livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path
) -> None:
    """By webhook: nobody calls start or stop. The next call in the same room begins anew, a person's stop holds."""
    env = {**gateway_settings, "GATEWAY_LIVEKIT_AUTO_START": "true", "LIVEKIT_URL": frail_livekit.http_url}
    async with gateway_process(tmp_path / "data", **env) as gateway:
        frail_livekit.webhook_url = f"{gateway.url}/api/livekit/webhook"
        frail_livekit.departure_timeout_s = 1
        await asyncio.to_thread(frail_livekit.start)
        slug = await gateway.new_session()
        transcriptions = set()
        for _ in range(2):
            async with frail_livekit.join(slug, "anna") as anna:
                await anna.publish()
                await _begun(gateway, slug)
                seen = await gateway.until(slug, lambda seen: bool(seen["tracks"]))
                transcriptions.add(seen["transcriptionId"])
            seen = await gateway.until(slug, lambda seen: seen["state"] == "stopped")
            assert seen["reason"] == "the room has ended"
        assert len(transcriptions) == 2
        async with frail_livekit.join(slug, "anna"):
            await _begun(gateway, slug)
            await gateway.stop(slug)
            async with frail_livekit.join(slug, "bob"):
                await asyncio.sleep(1)
                assert (await gateway.status(slug))["reason"] == "stopped by request"


async def _begun(gateway: Running, slug: str) -> None:
    async with asyncio.timeout(60):
        while True:
            status, seen = await gateway.call("GET", f"/api/transcription/{slug}")
            if status == 200 and seen["state"] != "stopped":
                return
            await asyncio.sleep(0.1)


async def test_a_room_whose_webhook_was_lost_is_found(
    livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path
) -> None:
    """Looking at the server's rooms is enough; a gateway that starts during a call finds it at once."""
    slug = "lookedat1"
    env = {**gateway_settings, "GATEWAY_LIVEKIT_AUTO_START": "true"}
    connection = await asyncpg.connect(gateway_settings["DATABASE_URL"])
    async with livekit.join(slug, "anna"):
        async with gateway_process(tmp_path / "before", LIVEKIT_URL=livekit.url, **gateway_settings) as gateway:
            made = await gateway.new_session()
            await connection.execute('UPDATE "VideoSession" SET slug = $1 WHERE slug = $2', slug, made)
        async with asyncio.timeout(60), livekit.api() as service:
            while not (await service.room.list_rooms(api.ListRoomsRequest(names=[slug]))).rooms[0].num_participants:
                await asyncio.sleep(0.2)
        async with gateway_process(tmp_path / "data", LIVEKIT_URL=livekit.url, **env) as gateway:
            await _begun(gateway, slug)
    await connection.close()


async def test_only_webhooks_of_our_server_are_believed(gateway: Running) -> None:
    for fault in ("none", "unsigned", "other key", "changed body", "no hash", "not JSON"):
        await _tell(gateway, fault)


async def _tell(gateway: Running, fault: str) -> None:
    body = b'{"event": "participant_joined", "id": "EV_1", "room": {"name": "nowhere"}}'
    token = api.AccessToken(KEY, "x" * 40 if fault == "other key" else SECRET).with_ttl(timedelta(minutes=5))
    body = b"nonsense" if fault == "not JSON" else body
    if fault != "no hash":
        token = token.with_sha256(b64encode(hashlib.sha256(body).digest()).decode())
    headers = {} if fault == "unsigned" else {"Authorization": token.to_jwt()}
    sent = body.replace(b"nowhere", b"elsewhere") if fault == "changed body" else body
    url = f"{gateway.url}/api/livekit/webhook"
    async with gateway.http.post(url, data=sent, headers=headers) as answer:
        assert answer.status == (200 if fault == "none" else 401), f"{fault}: {await answer.text()}"
        if fault != "none":
            assert (await answer.json())["title"] == "Webhook refused", fault


async def test_a_gateway_that_goes_leaves_the_room_to_one_that_listens(
    livekit: LivekitServer, gateway_settings: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    """In the middle of a telling without a pause: the other gateway hears on, and no word is doubled or lost."""
    told = f"{GREEK} {DIGITS}"
    env = {**gateway_settings, "LIVEKIT_URL": livekit.url, "DATABASE_URL": database_url, "GATEWAY_DRAIN_S": "15"}
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        a = await one.enter_async_context(gateway_process(tmp_path / "a", **env))
        b = await other.enter_async_context(gateway_process(tmp_path / "b", **env))
        slug = await a.new_session()
        await a.start(slug, source="livekit")
        leaving = one
        if (await b.status(slug))["replica"] == (tmp_path / "b" / "instance").read_text():
            leaving, b = other, a
        async with livekit.join(slug, "anna") as anna:
            await anna.publish()
            await b.until(slug, lambda seen: bool(seen["tracks"]), 40)
            await asyncio.sleep(0.5)
            telling = asyncio.create_task(anna.say(f"{told} {told}"))
            await asyncio.sleep(1)
            await leaving.aclose()
            await telling
            stopped = await b.stop(slug)
        finals = (await b.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
        words = [word for final in sorted(finals, key=lambda one: one["startMs"]) for word in final["text"].split()]
        assert words == f"{told} {told}".split()
        assert len(stopped["usage"]["rows"]) == 1
