"""A call between two real browsers: what one says is what the other reads, from the gateway and in the room."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr
from aiohttp import web
from support.browser import Page, needs_chromium, open_page, running_chromium
from support.builds import npm_packages
from support.gateway import Running, gateway_process, words_in_order
from support.livekit import KEY, SECRET, LivekitServer

from stt.local.scripted import ScriptedEngine, speak
from stt.local.server import LocalOptions, LocalServer

PAGE = Path(__file__).parent / "livekit_page"
CLIENT = Path(__file__).parents[2] / "clients" / "js"
SAID = "alpha bravo charlie delta echo foxtrot golf hotel india juliet"
RATE = 48_000

pytestmark = pytest.mark.timeout(900)  # the first one may have to build the server


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """The app's web server."""
    client = npm_packages(PAGE) / "livekit-client" / "dist" / "livekit-client.umd.js"
    files = {"": PAGE / "index.html", client.name: client}
    files |= {name: CLIENT / name for name in ("transcript-stream.js", "line.js")}

    async def serve(request: web.Request) -> web.FileResponse:
        return web.FileResponse(files[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def provider() -> AsyncIterator[LocalServer]:
    """It understands words that a jitter buffer has stretched."""
    async with LocalServer(LocalOptions(engine=ScriptedEngine(jittery=True), api_key="right-key")) as server:
        yield server


@pytest.fixture
async def gateway(
    provider: LocalServer, livekit: LivekitServer, origin: str, database_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    env = {
        "DATABASE_URL": database_url,
        "GLADIA_API_URL": provider.url,
        "GLADIA_API_KEY": "right-key",
        "GATEWAY_DRAIN_S": "5",
        "GATEWAY_ALLOWED_ORIGINS": origin,
        "GATEWAY_LIVEKIT_AUTO_START": "false",
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
    }
    async with gateway_process(tmp_path / "data", **env) as running:
        yield running


@pytest.fixture
def devtools(tmp_path: Path) -> Iterator[str]:
    """A browser whose microphone is a file that begins again at its end."""
    needs_chromium()
    pcm, _ = speak(SAID, lead_s=0.5, tail_s=1.5)
    samples = soxr.resample(np.frombuffer(pcm, "<i2"), 16_000, RATE, quality="HQ").astype("<i2")
    with wave.open(str(tmp_path / "speech.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'speech.wav'}",
        "--autoplay-policy=no-user-gesture-required",
    )
    with running_chromium(tmp_path / "chromium", *flags) as url:
        yield url


async def lines(page: Page, listed: str) -> list[tuple[str, str]]:
    """Who and what, as the page shows it."""
    shown = await page.run(f"[...document.querySelectorAll('#{listed} li')].map(item => item.textContent)")
    return [(who, text) for who, _, text in (line.partition(": ") for line in shown)]


async def test_one_page_speaks_and_the_other_reads_it_twice(
    gateway: Running, livekit: LivekitServer, origin: str, devtools: str
) -> None:
    """Anna's microphone is a file. Bob's page has nothing but his LiveKit token: it opens the gateway's stream with it,
    and gets Anna's captions through `lk.transcription`, as sent by her."""
    slug = await gateway.new_session()
    anna_token, bob_token = livekit.token("anna", "Anna", slug), livekit.token("bob", "Bob", slug)
    async with open_page(devtools) as anna, open_page(devtools) as bob:
        await anna.open(origin)
        await bob.open(origin)
        await anna.run(f"speak('{livekit.url}', '{anna_token}')")
        await gateway.start(slug, source="livekit")
        await gateway.until(slug, lambda seen: bool(seen["tracks"]))
        await bob.run(f"follow('{livekit.url}', '{bob_token}', '{gateway.url}', '{slug}')")
        # The first saying may have begun before anybody listened.
        await bob.until("document.querySelectorAll('#transcript li').length >= 3", within_s=60)
        await bob.until("document.querySelectorAll('#captions li').length >= 2")
        await anna.run("room.disconnect()")
        await gateway.stop(slug)
        transcript, captions = await lines(bob, "transcript"), await lines(bob, "captions")
        # livekit-client warns of what it then mends itself, on a busy machine for example of a late ICE state.
        mended = "detected connection state mismatch"
        assert not [told for told in (*anna.complaints, *bob.complaints) if mended not in told]
    assert {who for who, _ in transcript} == {"Anna"} and {who for who, _ in captions} == {"anna"}
    assert max(words_in_order(SAID.split(), text.split()) for _, text in transcript) >= 0.8, transcript
    assert {text for _, text in captions} <= {text for _, text in transcript}
