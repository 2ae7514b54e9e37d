"""A page's microphone, in a real Chromium with a recording as its device, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aiohttp import web
from support import browser
from support.cutter import cutting
from support.gateway import write_wav
from support.scripted_gateway import World, scripted_gateway
from support.waiting import until

from stt.local.scripted import speak

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "clients" / "js"
SECRET = "a-secret-of-the-test-that-is-long-enough"
LIVEKIT = {"livekit_api_key": "devkey", "livekit_api_secret": SECRET}
WORDS = "alpha bravo charlie delta echo foxtrot golf hotel"
FLAGS = (
    *browser.FLAGS,
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
)


class Pages:
    """A web app of its own origin, and what its page reports."""

    def __init__(self) -> None:
        self.url = ""
        self.heard = asyncio.Event()
        self.sounds: list[Path] = []
        self.reports: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()

    async def report(self, request: web.Request) -> web.StreamResponse:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)

    async def sound(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self.sounds[int(request.match_info["turn"])])

    async def until_heard(self, request: web.Request) -> web.StreamResponse:
        await self.heard.wait()
        if "turn" in request.query:
            self.heard.clear()
        return web.Response(status=204)


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    app = web.Application()

    def file(path: Path) -> None:
        async def send(request: web.Request) -> web.StreamResponse:
            return web.FileResponse(path)

        app.router.add_get(f"/{path.name}", send)

    for name in ("microphone.js", "audio-sender.js", "line.js", "pcm-worklet.js"):
        file(CLIENT / name)
    file(HERE / "microphone.html")
    app.router.add_post("/report", pages.report)
    app.router.add_get("/heard", pages.until_heard)
    app.router.add_get("/sound/{turn}", pages.sound)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pages.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield pages
    await runner.cleanup()


@asynccontextmanager
async def recorded(chromium: str, folder: Path, url: str, *, allowed: bool = True) -> AsyncIterator[None]:
    """A browser whose microphone plays WORDS once, after some seconds that a busy browser needs to begin."""
    pcm, _ = speak(WORDS, lead_s=3.0, tail_s=1.0, pauses=(0, 0, 0, 0.7))
    sound = write_wav(folder / "microphone.wav", pcm)
    ui = "--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts"
    process = await asyncio.create_subprocess_exec(
        chromium,
        *FLAGS,
        ui,
        f"--use-file-for-fake-audio-capture={sound}%noloop",
        f"--user-data-dir={folder / 'chromium'}",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def room_token(room: str) -> str:
    claims = {"iss": "devkey", "sub": "anna", "name": "Anna", "exp": time.time() + 600}
    claims["video"] = {"roomJoin": True, "room": room}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def started(world: World) -> str:
    slug = await world.new_session()
    await world.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "websocket"})
    return slug


async def finals(world: World, slug: str) -> list[tuple[str, str]]:
    found = (await world.call("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    return [(final["participantName"], final["text"]) for final in found]


async def spoken(world: World, slug: str, pages: Pages) -> list[dict[str, Any]]:
    """Wait for the last word; then the page stops. Returns: what the page reports."""
    last = WORDS.split()[-1]

    async def last_is_heard() -> bool:
        return any(last in text for _, text in await finals(world, slug))

    await until(last_is_heard)
    pages.heard.set()
    async with asyncio.timeout(60):
        return await pages.reports.get()


async def heard(world: World, slug: str) -> list[tuple[str, str]]:
    await world.stop(slug)
    return await finals(world, slug)


def page(pages: Pages, gateway: str, slug: str) -> str:
    query = urlencode({"gateway": gateway, "session": slug, "token": room_token(slug)})
    return f"{pages.url}/microphone.html?{query}"


async def test_a_page_is_the_microphone(database_url: str, tmp_path: Path, chromium: str, pages: Pages) -> None:
    """What is said into it is in the transcript, under the name in the page's LiveKit token."""
    async with scripted_gateway(database_url, tmp_path, allowed_origins=(pages.url,), **LIVEKIT) as world:
        slug = await started(world)
        async with recorded(chromium, tmp_path, page(pages, world.url, slug)):
            events = await spoken(world, slug, pages)
        assert [line["event"] for line in events] == ["open", "close", "closed"], events
        assert events[-1]["detail"]["code"] == 1000
        assert 0.1 < events[-1]["loudest"] < 1
        assert await heard(world, slug) == [("Anna", "alpha bravo charlie delta"), ("Anna", "echo foxtrot golf hotel")]


async def test_a_page_that_is_muted_gets_its_final_while_it_is(
    database_url: str, tmp_path: Path, chromium: str, pages: Pages
) -> None:
    """Push to talk: nothing is sent between two turns, which are two captions; no silence is paid for."""
    turns = ["alpha bravo charlie", "delta echo foxtrot"]
    for n, words in enumerate(turns):
        pages.sounds.append(write_wav(tmp_path / f"{n}.wav", speak(words, lead_s=0.2, tail_s=0.05)[0]))
    async with scripted_gateway(database_url, tmp_path, allowed_origins=(pages.url,), **LIVEKIT) as world:
        slug = await started(world)
        url = f"{page(pages, world.url, slug)}&turns={len(turns)}"
        async with recorded(chromium, tmp_path, url), asyncio.timeout(60):
            for n in range(1, len(turns) + 1):
                while len(found := await finals(world, slug)) < n:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1.0)
                pages.heard.set()
            events = await pages.reports.get()
        stopped = await world.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert found == [("Anna", words) for words in turns], events
    spoken_s = sum(len(speak(words, lead_s=0.2, tail_s=0.05)[0]) / 32_000 for words in turns)
    assert stopped["usage"]["receipt"]["secondsSent"] <= spoken_s + 2 * 1.2


async def test_cut_at_random_bytes_every_word_is_heard_once(
    database_url: str, tmp_path: Path, chromium: str, pages: Pages
) -> None:
    """The line breaks again and again while somebody speaks, in the middle of words too; nobody can tell afterwards."""
    seed = random.SystemRandom().randrange(2**32)
    choose = random.Random(seed)
    budgets = iter([choose.randrange(300, 40_000) for _ in range(8)])
    async with (
        scripted_gateway(database_url, tmp_path, allowed_origins=(pages.url,), **LIVEKIT) as world,
        cutting(world.url, budgets, upward=True) as cutter,
    ):
        slug = await started(world)
        async with recorded(chromium, tmp_path, page(pages, cutter.url, slug)):
            events = await spoken(world, slug, pages)
        said = await heard(world, slug)
    assert said == [("Anna", "alpha bravo charlie delta"), ("Anna", "echo foxtrot golf hotel")], (
        f"seed {seed}: {events}"
    )
    assert cutter.cuts >= 3, f"seed {seed}"
    assert not [line for line in events if line["event"] == "error"], f"seed {seed}: {events}"


async def test_a_page_that_may_not_have_the_microphone_is_told_what_to_do(
    database_url: str, tmp_path: Path, pages: Pages
) -> None:
    chromium = browser.needs_chromium("chromium")  # the shell has nobody who could refuse
    async with scripted_gateway(database_url, tmp_path, allowed_origins=(pages.url,), **LIVEKIT) as world:
        slug = await started(world)
        async with recorded(chromium, tmp_path, page(pages, world.url, slug), allowed=False), asyncio.timeout(60):
            events = await pages.reports.get()
    assert events[0]["event"] == "thrown" and events[0]["detail"]["kind"] == "device"
    assert "not allowed" in events[0]["detail"]["text"]
