"""Audio over a WebSocket on a real gateway: speech in, finals out, and everything a sender may do wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import numpy as np
import pytest
import soxr
from aiohttp import web
from integration.gateway_api.in_process import (
    FRIEND,
    ROOM_SECRET,
    TOKEN,
    USER_SECRET,
    InProcess,
    running,
    user_token,
)
from support.fakes import LoopClock, MemoryRecords
from support.waiting import until

from gateway.live import audio
from gateway.live.audio import MESSAGE_BYTES, AudioEndpoint, AudioOptions
from gateway.live.carried import OwnerLine, Owners, OwnerSilent
from gateway.live.credentials import Access
from gateway.live.door import DoorPolicy
from gateway.transcription.usecases.feed import Feeding, FeedStart, TakenElsewhere
from gateway.transcription.usecases.watch import Watched
from stt.local.scripted import speak
from stt.local.server import LocalServer

WORDS = "alpha bravo charlie delta echo foxtrot"


def voice(words: str, rate: int = 16_000, channels: int = 1) -> bytes:
    """Speech as a sender has it, followed by the silence that ends an utterance."""
    samples = np.frombuffer(speak(words, lead_s=0.2, tail_s=0.6)[0], "<i2")
    if rate != 16_000:
        samples = soxr.resample(samples, 16_000, rate)
    frames: bytes = np.repeat(samples[:, None], channels, axis=1).astype("<i2").tobytes()
    return frames


class Sender:
    """A program or a page that speaks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.answers: list[dict[str, Any]] = []

    async def start(self, rate: int = 16_000, channels: int = 1, **more: Any) -> dict[str, Any]:
        """The answer to it."""
        await self.socket.send_json({"type": "start", "sampleRate": rate, "channels": channels, **more})
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            told: dict[str, Any] = await self.socket.receive_json()
        self.answers.append(told)
        return told

    async def send(self, pcm: bytes, rate: int = 16_000, channels: int = 1) -> None:
        """In messages of 20 ms, as fast as they are taken."""
        step = rate // 50 * channels * 2
        for at in range(0, len(pcm), step):
            await self.socket.send_bytes(pcm[at : at + step])

    async def closed(self) -> tuple[int | None, str]:
        """The close code and reason; acknowledgements before it are kept."""
        async with asyncio.timeout(60):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.answers.append(json.loads(message.data))
                    continue
                return self.socket.close_code, str(message.extra or "")

    async def stop(self) -> int:
        """Say that it was all. Returns: how many samples the gateway has taken."""
        await self.socket.send_json({"type": "stop"})
        assert (await self.closed())[0] == 1000
        taken: int = self.answers[-1]["samples"]
        return taken


@asynccontextmanager
async def speaking(gateway: InProcess, slug: str, **query: Any) -> AsyncIterator[Sender]:
    headers = query.pop("headers", {})
    params = {"session": slug, "token": TOKEN, **query}
    shown = {name: str(value) for name, value in params.items() if value is not None}
    async with gateway.http.ws_connect(f"{gateway.url}/api/realtime/audio", params=shown, headers=headers) as socket:
        yield Sender(socket)


async def started(gateway: InProcess, **more: Any) -> str:
    slug = await gateway.session()
    await gateway.start(slug, source="websocket", **more)
    return slug


def room_token(room: str, **grants: Any) -> str:
    claims = {"iss": "livekit-key", "sub": "anna", "name": "Anna Kay", "exp": time.time() + 60}
    claims["video"] = {"room": room, "roomJoin": True, **grants}
    return jwt.encode(claims, ROOM_SECRET, algorithm="HS256")


async def texts(gateway: InProcess, slug: str) -> list[tuple[str, str | None, str]]:
    """Who said what, once the transcription has stopped with nothing missing."""
    stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert stopped["finalsComplete"]
    document = await gateway.ok("GET", f"/api/sessions/{slug}/transcript")
    return [(one["participantIdentity"], one["participantName"], one["text"]) for one in document["finals"]]


# --- speech -------------------------------------------------------------------------------------------------


async def test_the_start_says_where_audio_goes_and_what_goes_there_is_heard(gateway: InProcess) -> None:
    slug = await gateway.session()
    answer = await gateway.start(slug, source="websocket", participantIdentity="desk", participantName="The desk")
    assert (answer["state"], answer["source"], answer["created"]) == ("starting", "websocket", True)
    url = answer["ingest"]["websocketUrl"]
    assert urlsplit(url)._replace(netloc="") == urlsplit(f"ws:///api/realtime/audio?session={slug}")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    pcm = voice(WORDS)
    async with gateway.http.ws_connect(url.replace("localhost", "127.0.0.1"), headers=headers) as socket:
        sender = Sender(socket)
        assert await sender.start() == {"type": "ready"}
        await sender.send(pcm)
        assert await sender.answer() == {"type": "ack", "samples": len(pcm) // 2}
        shown = (await gateway.ok("GET", f"/api/transcription/{slug}"))["tracks"][0]
        assert shown["participantIdentity"] == "desk" and shown["facts"]["connected"] is True
        assert await sender.stop() == len(pcm) // 2
    assert await texts(gateway, slug) == [("desk", "The desk", WORDS)]


async def test_a_sender_that_stops_sending_gets_its_final_and_pays_for_no_silence(gateway: InProcess) -> None:
    """Push to talk: nothing is said of the pause, and nothing comes in it. Its times are those of the day."""
    slug = await started(gateway)
    loop = asyncio.get_running_loop()
    said = ["alpha bravo", "charlie delta"]
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.start()
        began: list[float] = []
        for n, words in enumerate(said, 1):
            pcm = speak(words, lead_s=0.2, tail_s=0.4)[0]
            began.append(loop.time())
            for at in range(0, len(pcm), 640):
                await sender.socket.send_bytes(pcm[at : at + 640])
                await asyncio.sleep(max(0.0, began[-1] + (at + 640) / 32_000 - loop.time()))

            async def is_final(n: int = n) -> bool:
                return len(await finals(gateway, slug)) >= n

            await until(is_final)
            await asyncio.sleep(1.0)
        await sender.stop()
    found = await finals(gateway, slug)
    assert [one["text"] for one in found] == said
    apart = (found[1]["startMs"] - found[0]["startMs"]) / 1000
    assert apart == pytest.approx(began[1] - began[0], abs=0.3)
    usage = (await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug}))["usage"]
    spoken = 2 * (0.2 + len(speak(said[0])[0]) / 32_000)
    assert usage["receipt"]["secondsSent"] <= spoken + 2 * 0.8 + 0.5  # to the nearest second


async def finals(gateway: InProcess, slug: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    return found


async def test_a_refused_sender_is_told_by_the_sessions_health(gateway: InProcess) -> None:
    """After it has gone, to those who look: at the door, for its format, a broken rule, in mid-stream."""
    slug = await started(gateway)
    await gateway.start(elsewhere := await gateway.session(), source="rtmp")

    async def told(*words: str, by: str = slug) -> None:
        async with asyncio.timeout(20):
            while True:
                said = await health(by)
                if all(word in said for word in words):
                    return
                await asyncio.sleep(0.1)

    async def health(of: str) -> str:
        return str((await gateway.ok("GET", f"/api/transcription/{of}"))["health"]["reasons"])

    for query, word in (
        ({"token": "wrong"}, "a sender of audio was refused: its credential is missing, wrong"),
        ({"token": room_token("elsewhere")}, "is for another session"),
        ({"headers": {"Origin": "https://elsewhere.example"}}, "GATEWAY_ALLOWED_ORIGINS"),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with speaking(gateway, slug, **query):
                pass
        await told(word)
        assert "elsewhere" not in await health(slug), "a stranger's words"
    async with speaking(gateway, slug, identity="ben") as sender:
        await sender.socket.send_json({"type": "start", "sampleRate": 96_000, "channels": 1})
        assert (await sender.closed())[0] == 4522
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.start()
        await sender.socket.send_bytes(b"odd")
        assert (await sender.closed())[0] == 4522
    await told("'anna'", "whole frames", "'ben'", "8000 to 48000")
    async with speaking(gateway, slug, token=user_token("default", lifetime_s=1.0)) as sender:
        await sender.start()
        assert (await sender.closed())[0] == 4501
    await told("'user-1' was refused: the credential has expired")
    async with speaking(gateway, slug, identity="ben") as sender:
        await sender.start()
        await sender.socket.send_bytes(bytes(MESSAGE_BYTES + 2))
        assert (await sender.closed())[0] == 1009
    await told("'ben' was refused: a message of more than 128 KiB")
    async with speaking(gateway, elsewhere, identity="ben") as sender:
        await sender.socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        assert (await sender.closed())[0] == 4510
    await told("start one with source websocket", by=elsewhere)


@pytest.mark.parametrize("rate, channels", [(8_000, 1), (48_000, 2)])
async def test_every_format_is_heard(gateway: InProcess, rate: int, channels: int) -> None:
    slug = await started(gateway)
    pcm = voice(WORDS, rate, channels)
    async with speaking(gateway, slug, identity="anna", name="Anna") as sender:
        await sender.start(rate, channels)
        await sender.send(pcm, rate, channels)
        assert await sender.stop() == len(pcm) // (2 * channels)
    assert await texts(gateway, slug) == [("anna", "Anna", WORDS)]


async def test_several_speak_at_once_under_their_own_names(gateway: InProcess) -> None:
    slug = await started(gateway)
    async with (
        speaking(gateway, slug, token=room_token(slug)) as anna,
        speaking(gateway, slug, token=user_token("default"), name="Ben") as ben,
        speaking(gateway, slug, identity="desk") as desk,
    ):
        said = {anna: "alpha bravo", ben: "charlie delta", desk: "echo foxtrot"}
        for one, words in said.items():
            await one.start()
            await one.send(voice(words))
        for one in said:
            await one.stop()
    assert sorted(await texts(gateway, slug), key=str) == [
        ("anna", "Anna Kay", "alpha bravo"),
        ("desk", None, "echo foxtrot"),
        ("user-1", "Ben", "charlie delta"),
    ]
    totals = (await gateway.ok("GET", f"/api/transcription/{slug}/usage"))["rows"]
    assert {row["participantIdentity"] for row in totals} == {"anna", "desk", "user-1"}


@pytest.mark.parametrize("cut_s", [0.3, 0.55])
async def test_a_stream_that_is_cut_in_a_word_goes_on_in_it(gateway: InProcess, cut_s: float) -> None:
    """What the gateway has is not sent again, what it has not is: the words are whole although the line was not."""
    slug = await started(gateway)
    pcm = voice(WORDS)
    cut = round(cut_s * 16_000) * 2
    async with speaking(gateway, slug, identity="anna") as sender:
        assert await sender.start(stream="s1") == {"type": "ready", "samples": 0}
        await sender.send(pcm[:cut])
        await sender.answer()
        assert sender.socket._response.connection is not None
        sender.socket._response.connection.close()  # without a goodbye
    async with speaking(gateway, slug, identity="anna") as sender:
        ready = await sender.start(stream="s1")
        assert 0 < ready["samples"] <= cut // 2
        await sender.send(pcm[2 * ready["samples"] :])
        assert await sender.stop() == len(pcm) // 2
    assert await texts(gateway, slug) == [("anna", None, WORDS)]


async def test_a_restart_asks_to_come_back_and_the_rest_is_heard_by_the_next_process(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """4000, with the count of what was taken before it."""
    first, second = voice("alpha bravo charlie"), voice("delta echo foxtrot")
    opening = running(database_url, provider, tmp_path)
    gateway = await opening.__aenter__()
    slug = await started(gateway)
    async with aiohttp.ClientSession() as http:
        url = f"{gateway.url}/api/realtime/audio?session={slug}&token={TOKEN}&identity=anna"
        async with http.ws_connect(url) as socket:
            sender = Sender(socket)
            await sender.start(stream="s1")
            await sender.send(first)
            await sender.answer()
            closing = asyncio.create_task(opening.__aexit__(None, None, None))
            assert await sender.closed() == (4000, "the gateway is restarting; come back")
            assert sender.answers[-1] == {"type": "ack", "samples": len(first) // 2}
            await closing
    async with running(database_url, provider, tmp_path) as gateway:
        async with speaking(gateway, slug, identity="anna") as sender:
            assert await sender.start(stream="s1", ageMs=1500) == {"type": "ready", "samples": 0}
            await sender.send(second)
            await sender.stop()
        said = await texts(gateway, slug)
    assert said == [("anna", None, "alpha bravo charlie"), ("anna", None, "delta echo foxtrot")]


async def test_another_connection_of_the_same_identity_takes_over(gateway: InProcess) -> None:
    slug = await started(gateway)
    async with speaking(gateway, slug, identity="anna") as first, speaking(gateway, slug, identity="anna") as second:
        await first.start()
        await first.send(voice("alpha bravo"))
        await first.answer()
        await second.start()
        assert (await first.closed())[0] == 4509
        await second.send(voice("charlie delta"))
        await second.stop()
    assert [text for _, _, text in await texts(gateway, slug)] == ["alpha bravo", "charlie delta"]


async def test_the_end_of_the_transcription_ends_the_sender(gateway: InProcess) -> None:
    """4510: do not come back, because a microphone must not go on by itself."""
    slug = await started(gateway)
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.start()
        closing = asyncio.create_task(sender.closed())
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        assert await closing == (4510, "stopped by request")
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        code, why = await sender.closed()
        assert code == 4510 and "start one with source websocket" in why


# --- the host -----------------------------------------------------------------------------------------------


async def test_the_host_is_told_on_the_stream_and_may_be_chosen(gateway: InProcess) -> None:
    """Whoever feeds first; then whom somebody names; then, when that one hangs up, whoever is left."""
    slug = await started(gateway)
    path = f"/api/sessions/{slug}/transcription/host"
    async with gateway.watch(slug) as stream, speaking(gateway, slug, token=room_token(slug)) as anna:
        await anna.start()
        [first] = await stream.until("host.changed")
        expected = {"participantIdentity": "anna", "participantName": "Anna Kay", "reason": "first"}
        assert first["data"] == expected
        async with gateway.watch(slug) as late:
            assert [one["data"] for one in await late.until("host.changed")] == [expected]
        async with speaking(gateway, slug, identity="ben") as ben:
            await ben.start()
            await until_joined(gateway, slug, "ben")
            refused = [
                await gateway.call("POST", path, {"identity": "ben"}, token=room_token(slug)),
                await gateway.call("POST", path, {"identity": "anna"}, token=room_token("elsewhere")),
                await gateway.call("POST", path, {"identity": "ben"}, token=user_token("elsewhere")),
                await gateway.call("POST", path, {"identity": "stranger"}),
                await gateway.call("POST", path, {"identity": ""}),
                await gateway.call("POST", path, token=None),
                await gateway.call("POST", "/api/sessions/nowhere1/transcription/host"),
            ]
            assert [answer.status for answer in refused] == [403, 403, 403, 409, 400, 401, 404]
            given = await gateway.call("POST", path, token=room_token(slug))  # the host hands over
            assert (given.status, given.json) == (200, {"participantIdentity": "ben", "participantName": None})
            assert (await stream.until("host.changed", 2))[1]["data"]["reason"] == "claimed"
            again = await gateway.call("POST", path, token=room_token(slug))
            assert again.status == 403, "it is not the host any more"
            member = await gateway.call("POST", path, {"identity": "ben"}, token=user_token("default"))
            assert member.status == 403, "of the space, but not in the session"
            assert (await gateway.call("POST", path, {"identity": "ben"})).status == 200
            await ben.stop()
        left = (await stream.until("host.changed", 3))[2]["data"]
        assert left == {"participantIdentity": "anna", "participantName": "Anna Kay", "reason": "left"}
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert (await gateway.call("POST", path, {"identity": "anna"})).status == 409


async def until_joined(gateway: InProcess, slug: str, identity: str) -> None:
    async with gateway.records() as shelf:
        session = await shelf.records.sessions.by_slug(slug)
        assert session is not None

        async def is_there() -> bool:
            return await shelf.records.sessions.participant(session.id, identity) is not None

        await until(is_there)


# --- who may ------------------------------------------------------------------------------------------------


async def test_whoever_may_not_speak_is_refused(gateway: InProcess) -> None:
    """A program by a status, a page by a close code."""
    slug = await started(gateway)
    refusals: list[tuple[dict[str, Any], int, int]] = [
        ({"token": None}, 401, 4501),
        ({"token": "wrong"}, 401, 4501),
        ({"token": user_token("default", lifetime_s=-60)}, 401, 4501),
        ({"token": user_token("elsewhere")}, 403, 4501),
        ({"token": room_token("elsewhere")}, 403, 4501),
        ({"token": room_token(slug, canPublish=False)}, 403, 4501),
        ({"session": "nowhere1"}, 404, 4504),
    ]
    for query, status, code in refusals:
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            async with speaking(gateway, slug, **query):
                pass
        assert error.value.status == status, query
        async with speaking(gateway, slug, headers={"Origin": FRIEND}, **query) as page:
            assert (await page.closed())[0] == code, query
    for identity, token in (("ben", room_token(slug)), ("ben", user_token("default"))):
        async with speaking(gateway, slug, token=token, identity=identity) as sender:
            assert (await sender.closed())[0] == 4501
    nobody = jwt.encode({"spaces": ["default"], "exp": time.time() + 60}, USER_SECRET, algorithm="HS256")
    async with speaking(gateway, slug, token=nobody) as sender:
        assert (await sender.closed())[0] == 4501
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with speaking(gateway, slug, headers={"Origin": "https://elsewhere.example"}):
            pass
    assert error.value.status == 403
    assert (await gateway.call("GET", f"/api/realtime/audio?session={slug}")).status == 426


async def test_a_credential_that_expires_ends_the_sender(gateway: InProcess) -> None:
    slug = await started(gateway)
    async with speaking(gateway, slug, token=user_token("default", lifetime_s=1.0)) as sender:
        await sender.start()
        assert (await sender.closed())[0] == 4501


async def test_a_page_may_show_its_credential_as_a_subprotocol(gateway: InProcess) -> None:
    slug = await started(gateway)
    offered = ("audio.v1", f"bearer.{room_token(slug)}")
    url = f"{gateway.url}/api/realtime/audio?session={slug}"
    async with gateway.http.ws_connect(url, protocols=offered, headers={"Origin": FRIEND}) as socket:
        assert socket.protocol == "audio.v1"
        assert await Sender(socket).start() == {"type": "ready"}


@pytest.mark.parametrize("offered", [(), ("transcript.v1",)])
async def test_a_credential_is_offered_beside_the_subprotocol(
    gateway: InProcess, offered: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Else none of the offers could be chosen, and the HTTP library would write them to the log."""
    slug = await started(gateway)
    token = room_token(slug)
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        url = f"{gateway.url}/api/realtime/audio?session={slug}"
        async with gateway.http.ws_connect(url, protocols=(*offered, f"bearer.{token}")):
            pass
    assert error.value.status == 400
    assert token not in caplog.text


# --- bad input ----------------------------------------------------------------------------------------------

OK = '{"type":"start","sampleRate":16000,"channels":1}'


WRONG: list[list[str | bytes]] = [
    [b"\x00\x00"],
    ["start"],
    ['{"type":"stop"}'],
    ['{"type":"start"}'],
    ['{"type":"start","sampleRate":7999,"channels":1}'],
    ['{"type":"start","sampleRate":96000,"channels":1}'],
    ['{"type":"start","sampleRate":48000,"channels":3}'],
    ['{"type":"start","sampleRate":1e400,"channels":1}'],
    [OK, b"\x00"],
    [OK, bytes(3_201)],
    ['{"type":"start","sampleRate":16000,"channels":2}', bytes(6)],
    [OK, "{"],
    [OK, OK],
]


async def test_what_is_no_audio_ends_the_connection(gateway: InProcess) -> None:
    """4522, with what was expected; the gateway goes on."""
    slug = await started(gateway)
    for messages in WRONG:
        async with speaking(gateway, slug, identity="anna") as sender:
            for said in messages:
                await (sender.socket.send_str(said) if isinstance(said, str) else sender.socket.send_bytes(said))
            code, why = await sender.closed()
        assert code == 4522 and why, messages
    counted = f'gateway_audio_closed_total{{reason="wrong_audio"}} {len(WRONG)}.0'
    assert counted in (await gateway.call("GET", "/metrics")).body.decode()


async def test_giant_messages_end_the_connection(gateway: InProcess) -> None:
    slug = await started(gateway)
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.start()
        await sender.socket.send_bytes(bytes(MESSAGE_BYTES + 2))
        assert (await sender.closed())[0] == 1009


async def test_an_unknown_message_is_ignored(gateway: InProcess) -> None:
    slug = await started(gateway)
    async with speaking(gateway, slug, identity="anna") as sender:
        await sender.start()
        await sender.socket.send_json({"type": "level", "db": -20})
        await sender.socket.send_bytes(b"")
        assert await sender.stop() == 0


class Taking:
    """A feed that takes everything, and how it was left."""

    def __init__(self) -> None:
        self.taken = 0
        self.left: list[bool] = []

    def put(self, pcm: bytes) -> None:
        self.taken += len(pcm) // 2

    async def room(self) -> None:
        await asyncio.sleep(0)

    def leave(self, *, for_good: bool) -> None:
        self.left.append(for_good)


class Open:
    """Everybody may speak."""

    sessions = transcriptions = None

    def __init__(self) -> None:
        self.feed = Taking()
        self.owner = ""
        """Another replica that has the transcription."""
        self.age_s: float | None = None

    async def session(self, slug: str) -> Watched:
        return Watched("id", slug, "space", False)

    async def check(self, token: str | None) -> Access:
        return Access("service")

    def enter(self, slug: str, speaker: object, start: FeedStart, over: object) -> Taking:
        if self.owner:
            raise TakenElsewhere(self.owner)
        self.age_s = start.age_s
        return self.feed

    def turned_away(self, slug: str, who: str | None, why: str) -> None:
        self.refused = why


@asynccontextmanager
async def endpoint(
    options: AudioOptions, owners: Owners | None = None
) -> AsyncIterator[tuple[AudioEndpoint, Open, str]]:
    """The endpoint alone, with times that a test can wait for."""
    door: Any = Open()
    feeding = Feeding(MemoryRecords(LoopClock()), door, door.turned_away)
    made = AudioEndpoint(feeding, DoorPolicy(door, door.check, lambda: "http://own.example"), options, owners)
    app = web.Application()
    app.router.add_get("/audio", made.speak)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield made, door, f"http://127.0.0.1:{runner.addresses[0][1]}/audio?session=abc"
    finally:
        await made.close()
        await runner.cleanup()


class Silent:
    """An owner that shows no sign of life."""

    def __init__(self) -> None:
        self.asked = 0

    @asynccontextmanager
    async def speak(self, owner: str, query: Mapping[str, str]) -> AsyncIterator[OwnerLine]:
        self.asked += 1
        raise OwnerSilent(f"{owner} shows no sign of life; come back")
        yield


async def test_a_sender_waits_for_the_next_owner_and_its_words_keep_their_times() -> None:
    owners = Silent()
    async with (
        endpoint(AudioOptions(), owners) as (_, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        door.owner = "a"
        sender, began = Sender(socket), time.monotonic()
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1, "ageMs": 200})
        await until(lambda: owners.asked >= 2)
        door.owner = ""
        assert await sender.answer() == {"type": "ready"}
        assert door.age_s is not None and 0.4 < door.age_s < 0.25 + time.monotonic() - began


async def test_of_connections_of_one_sender_that_wait_the_newest_enters() -> None:
    """Its page was loaded anew, say. The older one must not end it by entering after it."""
    owners = Silent()
    start = {"type": "start", "sampleRate": 16_000, "channels": 1}
    async with (
        endpoint(AudioOptions(), owners) as (_, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}&identity=anna") as older,
        http.ws_connect(f"{url}&identity=ben") as another,
    ):
        door.owner = "a"
        await older.send_json(start)
        await another.send_json(start)
        await until(lambda: owners.asked >= 2)
        async with http.ws_connect(f"{url}&identity=anna") as newer:
            await newer.send_json(start)
            assert (await Sender(older).closed())[0] == 4509
            door.owner = ""
            assert await Sender(newer).answer() == {"type": "ready"}
        assert await Sender(another).answer() == {"type": "ready"}


async def test_a_sender_whose_owner_is_followed_by_nobody_is_sent_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "SUCCESSION_S", 0.1)
    async with (
        endpoint(AudioOptions(), Silent()) as (_, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        door.owner = "a"
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        assert await Sender(socket).closed() == (4000, "a shows no sign of life; come back")


async def test_a_sender_that_says_nothing_at_first_is_let_go() -> None:
    async with (
        endpoint(AudioOptions(start_s=0.1)) as (_, _, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        assert (await Sender(socket).closed())[0] == 4522


async def test_a_sender_whose_secret_was_taken_out_is_told_of() -> None:
    async with (
        endpoint(AudioOptions()) as (made, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        sender = Sender(socket)
        await sender.start()
        [line] = made._lines
        line.proof = b"of a secret"
        made.revoke(frozenset({b"of another"}))
        assert (await sender.closed())[0] == 4501
    assert door.refused == "the credential has expired"


async def test_a_sender_that_has_vanished_without_a_word_is_noticed() -> None:
    """Half-open: the socket is there, nobody answers pings. Its stream may be gone on with."""
    async with (
        endpoint(AudioOptions(heartbeat_s=0.2)) as (made, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url, autoping=False) as socket,
    ):
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1, "stream": "s"})
        await socket.receive()  # ready; from now on nothing is read, so no ping is answered
        await until(lambda: not made.connections)
    assert door.feed.left == [False]


async def test_a_muted_sender_that_answers_pings_may_stay() -> None:
    async with (
        endpoint(AudioOptions(heartbeat_s=0.2)) as (made, door, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        sender = Sender(socket)
        await sender.start()
        assert [await sender.answer() for _ in range(2)] == [{"type": "ack", "samples": 0}] * 2
        assert made.connections == 1
        await sender.stop()
    assert door.feed.left == [True]
