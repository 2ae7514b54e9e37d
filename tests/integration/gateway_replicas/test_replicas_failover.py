"""An owner that is no more, or does not know that it is none: real processes, one database."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
from support.gateway import ffmpeg, gateway_process, publish, write_wav

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


class Line:
    """Between a gateway and the database's socket. `is_cut`: nothing goes through, and nobody is told."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._database = parts.path
        self.is_cut = False
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """The database's URL through it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}{self._database}?sslmode=disable"
        finally:
            server.close()
            for serving in self._serving:
                serving.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._both(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_unix_connection(self._socket)
        try:
            with suppress(ConnectionError):
                await asyncio.gather(self._carry(reader, below), self._carry(above, writer))
        finally:
            for end in (writer, below):
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            while self.is_cut:
                await asyncio.sleep(0.05)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def test_an_owner_that_is_cut_off_from_the_database_falls_silent_and_comes_back_as_another(
    database_url: str, tmp_path: Path
) -> None:
    """The other one reaches it, so it is no outage of all. What somebody has seen is kept, and the encoder stays."""
    speech, line = sound(tmp_path), Line(database_url)
    async with line.open() as through, LocalServer(LocalOptions(engine="scripted", api_key="k")) as provider:
        env = {"GLADIA_API_KEY": "k", "GLADIA_API_URL": provider.url, "GATEWAY_LEASE_S": "5", "GATEWAY_DRAIN_S": "2"}
        async with (
            gateway_process(tmp_path / "b", DATABASE_URL=database_url, **env) as b,
            gateway_process(tmp_path / "a", DATABASE_URL=through, **env) as a,
        ):
            slug = await a.new_session()
            ingest = (await a.start(slug))["ingest"]
            before = await owner_of(database_url, slug)
            async with published(speech, ingest["rtmpUrl"]), a.watch(slug) as near:
                await near.until(lambda watcher: len(watcher.finals) >= 3)
                line.is_cut = True
                await near.until(lambda watcher: watcher.stream.closed)
                assert near.stream.close_code == 4000
                refused = await ffmpeg(f"{ingest['rtmpUrl'][:-4]}none", "-re", "-i", str(speech))
                assert await refused.wait() != 0
                why = "this gateway is cut off from its database; publish to another one"
                assert why in refused.output and why in a.process.output
                seen = [(final["seq"], final["data"]["text"]) for final in near.finals]
                async with asyncio.timeout(60):
                    while await owner_of(database_url, slug) == before:
                        await asyncio.sleep(0.1)
                async with b.watch(slug) as far:
                    await far.until(lambda watcher: len(watcher.finals) >= len(seen) + 2)
                    line.is_cut = False
                    async with asyncio.timeout(60):
                        while (await a.call("GET", "/readyz"))[0] != 200:
                            await asyncio.sleep(0.1)
                    await far.until(lambda watcher: len(watcher.finals) >= len(seen) + 4)
                    numbers = [final["seq"] for final in far.finals]
                    assert numbers == list(range(1, len(numbers) + 1))
                await b.stop(slug)
                async with b.watch(slug) as after:
                    await after.until(lambda watcher: watcher.stream.closed or len(watcher.finals) >= len(numbers))
                    told = {final["data"]["text"] for final in after.finals}
                    assert not {text for _, text in seen} - told, "what somebody has seen is kept"
            assert (await owner_of(database_url, slug))[1] == before[1] + 1


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
