"""Requests to the replica beside one that stands still: nobody waits longer than the lease."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from support.gateway import TOKEN, gateway_process

from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer


async def test_a_frozen_owner_keeps_nobody_waiting(database_url: str, tmp_path: Path) -> None:
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        env = {
            "DATABASE_URL": database_url,
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": provider.url,
            "GATEWAY_DRAIN_S": "2",
            "GATEWAY_LEASE_S": "5",
        }
        async with (
            gateway_process(tmp_path / "a", **env) as a,
            gateway_process(tmp_path / "b", **env) as b,
        ):
            while len([one for one in (await a.ok("GET", "/api/replicas"))["replicas"] if one["url"]]) < 2:
                await asyncio.sleep(0.1)
            slug = await b.new_session()
            started = await a.start(slug, source="websocket")
            assert started["created"]
            second = await b.new_session()
            assert (await a.start(second, source="websocket"))["created"]
            start = {"type": "start", "sampleRate": 16_000, "channels": 1, "stream": "s"}
            url = f"{b.url}/api/realtime/audio?session={slug}&token={TOKEN}&identity=ben"
            async with b.http.ws_connect(url) as sender:
                await sender.send_json(start)
                assert await sender.receive_json() == {"type": "ready", "samples": 0}
                await sender.send_bytes(speak("alpha bravo", lead_s=0.2)[0])
                assert (await sender.receive_json())["type"] == "ack"
                os.kill(a.process.process.pid, signal.SIGSTOP)
                a.killed = True
                try:
                    shown = await b.status(slug)
                    assert (shown["figures"], shown["state"]) == ("stored", "running")
                    other = await b.new_session()
                    assert (await b.start(other))["created"]
                    while not sender.closed:
                        await sender.receive()
                    assert sender.close_code == 4000

                    async def comes_back() -> None:
                        """Before the lease has ended: the next owner is waited for on this connection."""
                        async with b.http.ws_connect(url.replace(slug, second)) as sender:
                            await sender.send_json(start)
                            assert await sender.receive_json(timeout=60) == {"type": "ready", "samples": 0}

                    stopped, _ = await asyncio.gather(b.stop(slug), comes_back())
                    assert stopped["state"] == "stopped"
                    assert (await b.status(slug))["replica"] is None
                finally:
                    os.kill(a.process.process.pid, signal.SIGKILL)
