"""An owner that alone has lost the speech provider gives what it runs to a replica that has it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Running, ffmpeg, gateway_process, write_wav
from support.proxy import Proxy
from support.speaker import Speaker

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

GOES_ON_S = 10.0
BUSY = 1.5
"""By this much all may take longer on a machine that others share."""


@pytest.mark.parametrize("source", ["websocket", "rtmp"])
async def test_words_go_on_where_the_provider_is_reached(source: str, database_url: str, tmp_path: Path) -> None:
    """An encoder stays where it is connected, and notices nothing."""
    words = list(VOCABULARY[:14])
    pcm, _ = speak(words, lead_s=0.3, pauses=[0.6 if i % 2 else 0.1 for i in range(len(words))])
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        provider = await enter(LocalServer(LocalOptions(engine="scripted", api_key="k")))
        http = await enter(aiohttp.ClientSession())

        async def begin(name: str) -> tuple[str, Running, Proxy]:
            line = Proxy(int(provider.url.rpartition(":")[2]))
            await line.start()
            stack.push_async_callback(line.close)
            url = f"http://127.0.0.1:{line.port}"
            env = {"DATABASE_URL": database_url, "GLADIA_API_KEY": "k", "GLADIA_API_URL": url}
            gateway = await enter(gateway_process(tmp_path / name, **env))
            return (tmp_path / name / "instance").read_text().strip(), gateway, line

        both = {name: (gateway, line) for name, gateway, line in await asyncio.gather(begin("a"), begin("b"))}
        gateways = [gateway for gateway, _ in both.values()]
        slug = await gateways[0].new_session()
        started = await gateways[0].start(slug, source=source)
        owner = str((await gateways[0].status(slug))["replica"])
        here, line = both.pop(owner)
        [(there, _)] = both.values()
        watcher = await enter(there.watch(slug))
        if source == "rtmp":
            url = f"rtmp://127.0.0.1:{here.rtmp_port}/live/{started['ingest']['streamKey']}"
            sound = write_wav(tmp_path / "speech.wav", pcm)
            encoder = await ffmpeg(url, "-re", "-i", str(sound), "-c:a", "aac", "-ar", "44100")
            speaking = asyncio.create_task(encoder.wait())
        else:
            sender = Speaker(http, lambda: [one.url for one in gateways], slug, "anna", pcm)
            speaking = asyncio.create_task(sender.speak())
        await watcher.until(lambda watcher: bool(watcher.finals))
        line.cut()
        began, known = time.monotonic(), len(watcher.finals)
        # The first of them may have been on its way.
        await watcher.until(lambda watcher: len(watcher.finals) > known + 1)
        assert time.monotonic() - began < GOES_ON_S * BUSY
        assert (await there.status(slug))["replica"] != owner
        assert not await asyncio.wait_for(speaking, 60), "ffmpeg ends well"
        stopped = await there.stop(slug)
        await watcher.until(lambda watcher: sorted(watcher.words) == sorted(words))
        finals = (await there.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
        told = [word for final in sorted(finals, key=lambda one: one["startMs"]) for word in final["text"].split()]
        assert told == words, "none is lost or doubled, and each has its place"
        assert sorted(final["seq"] for final in finals) == list(range(1, len(finals) + 1))
        assert stopped["finalsComplete"] is True
        assert stopped["usage"]["receipt"]["secondsHeard"] == pytest.approx(len(pcm) / 32_000, abs=0.5)
        figures = await here.ok("GET", "/metrics")
        assert 'gateway_cutoff_moves_total{line="provider"} 1.0' in figures
        assert f'gateway_rtmp_carries_total{{outcome="opened"}} {float(source == "rtmp")}' in figures
