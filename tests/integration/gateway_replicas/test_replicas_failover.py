"""An owner that is no more, or does not know that it is none: real processes, one database."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from support.gateway import gateway_process, publish, write_wav

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer


def sound(folder: Path) -> Path:
    words = [VOCABULARY[i % len(VOCABULARY)] for i in range(160)]
    pcm, _ = speak(words, lead_s=0.2, pauses=[0.6 if i % 2 else 0.1 for i in range(len(words))])
    return write_wav(folder / "speech.wav", pcm)


@asynccontextmanager
async def published(path: Path, url: str) -> AsyncIterator[None]:
    publisher = await publish(path, url)
    try:
        yield
    finally:
        await publisher.end()


async def owner_of(database_url: str, slug: str) -> tuple[str, int]:
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow(
            "SELECT owner, fence FROM gateway.transcription WHERE session_slug = $1 ORDER BY started_at DESC", slug
        )
        return row["owner"], row["fence"]
    finally:
        await connection.close()


async def test_a_frozen_owner_says_nothing_when_it_thaws(database_url: str, tmp_path: Path) -> None:
    """Another one has taken over; whoever watches on the frozen one is sent to find it, and it is a member again."""
    speech = sound(tmp_path)
    async with LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        env = {"DATABASE_URL": database_url, "GLADIA_API_KEY": "k", "GLADIA_API_URL": provider.url}
        async with (
            gateway_process(tmp_path / "a", GATEWAY_LEASE_S="5", GATEWAY_DRAIN_S="2", **env) as a,
            gateway_process(tmp_path / "b", GATEWAY_LEASE_S="5", GATEWAY_DRAIN_S="2", **env) as b,
        ):
            slug = await a.new_session()
            ingest = (await a.start(slug))["ingest"]
            before = await owner_of(database_url, slug)
            async with published(speech, ingest["rtmpUrl"]), a.watch(slug) as near:
                await near.until(lambda watcher: len(watcher.finals) >= 3)
                group = a.process.process.pid
                os.killpg(group, signal.SIGSTOP)
                try:
                    async with asyncio.timeout(60):
                        while await owner_of(database_url, slug) == before:
                            await asyncio.sleep(0.1)
                    url = f"rtmp://127.0.0.1:{b.rtmp_port}/live/{ingest['streamKey']}"
                    async with published(speech, url), b.watch(slug) as far:
                        count = len(near.finals)
                        await far.until(lambda watcher: len(watcher.finals) >= count + 3)
                        seen = len(near.messages)
                        os.killpg(group, signal.SIGCONT)
                        await near.until(lambda watcher: watcher.stream.closed)
                        assert near.stream.close_code == 4000
                        assert [message["type"] for message in near.messages[seen:]] == []
                        assert [final["seq"] for final in far.finals] == list(range(1, len(far.finals) + 1))
                finally:
                    os.killpg(group, signal.SIGCONT)
            assert (await owner_of(database_url, slug))[1] == before[1] + 1, "it was taken over once"
            other = await a.new_session()
            await a.start(other)
            assert (await owner_of(database_url, other))[0] == before[0]
