"""An owner that alone has lost LiveKit: a replica that reaches it joins the room."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from support.gateway import Running, gateway_process
from support.livekit import LivekitServer
from support.proxy import Proxy

GOES_ON_S = 10.0
BUSY = 1.5
"""By this much all may take longer on a machine that others share."""
BEFORE, AFTER = "alpha bravo charlie", "delta echo foxtrot golf"


async def test_a_room_is_heard_where_livekit_is_reached(
    livekit: LivekitServer, gateway_settings: dict[str, str], tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context

        async def begin(name: str) -> tuple[str, Running, Proxy]:
            line = Proxy(livekit.port)
            await line.start()
            stack.push_async_callback(line.close)
            env = gateway_settings | {"LIVEKIT_URL": f"ws://127.0.0.1:{line.port}"}
            gateway = await enter(gateway_process(tmp_path / name, **env))
            return (tmp_path / name / "instance").read_text().strip(), gateway, line

        both = {name: (gateway, line) for name, gateway, line in await asyncio.gather(begin("a"), begin("b"))}
        any_one = next(gateway for gateway, _ in both.values())
        slug = await any_one.new_session()
        async with livekit.join(slug, "anna") as anna:
            await anna.publish()
            await any_one.start(slug, source="livekit")
            owner = str((await any_one.until(slug, lambda seen: bool(seen["tracks"])))["replica"])
            here, line = both.pop(owner)
            [(there, _)] = both.values()
            watcher = await enter(there.watch(slug))
            await anna.say(BEFORE)
            await watcher.until(lambda watcher: bool(watcher.finals))
            line.cut()
            began = time.monotonic()
            await there.until(slug, lambda seen: seen["replica"] != owner and bool(seen["tracks"]))
            assert time.monotonic() - began < GOES_ON_S * BUSY
            await anna.say(AFTER)
            # The jitter buffer may spoil one.
            await watcher.until(lambda watcher: len(set(watcher.words) & set(AFTER.split())) >= 3)
            stopped = await there.stop(slug)
        assert stopped["finalsComplete"] is True
        words = watcher.words
        assert len(words) == len(set(words)) and set(words) <= set(f"{BEFORE} {AFTER}".split())
        assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.finals) + 1))
        assert 'gateway_cutoff_moves_total{line="livekit"} 1.0' in await here.ok("GET", "/metrics")
