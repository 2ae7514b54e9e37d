"""A long-lived world for faults: PostgreSQL, a scripted provider, a real gateway process, publishers, watchers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from support.gateway import TOKEN, Process, publish, write_wav
from support.ports import free_port

from storage.postgres.embedded import EmbeddedPostgres
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer
from transcription_client import transcript

WITHIN_S = 60.0


@dataclass
class Database:
    """A PostgreSQL that can be frozen, killed, crowded out and locked."""

    folder: Path
    server: EmbeddedPostgres = field(init=False)

    @property
    def url(self) -> str:
        return self.server.url

    async def start(self) -> None:
        self.server = EmbeddedPostgres(self.folder, durable=False, lock_wait_s=20)
        await self.server.__aenter__()

    async def end(self) -> None:
        await self.server.__aexit__(None, None, None)

    async def crash(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        await self.end()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server and all its backends stop in mid-work, with their connections open."""
        stopped = [self.server.pid, *_children(self.server.pid)]
        try:
            for pid in stopped:
                _signal(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def disconnect_everybody(self, connection: asyncpg.Connection) -> None:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND application_name = 'transcription-gateway'"
        )

    @asynccontextmanager
    async def crowded(self) -> AsyncIterator[None]:
        """Every connection is taken by others; whoever had one has lost it."""
        taken: list[asyncpg.Connection] = []
        full = False
        try:
            async with asyncio.timeout(WITHIN_S):
                first = await asyncpg.connect(self.url)
                taken.append(first)
                theirs = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transcription-gateway'"
                while await first.fetchval(theirs) or not full:
                    await self.disconnect_everybody(first)
                    # Several at once, to be faster than those who come back.
                    tries = await asyncio.gather(*(asyncpg.connect(self.url) for _ in range(8)), return_exceptions=True)
                    taken += [one for one in tries if isinstance(one, asyncpg.Connection)]
                    full = len(taken) > len(tries) and any(isinstance(one, asyncpg.PostgresError) for one in tries)
            yield
        finally:
            for connection in taken:
                connection.terminate()

    @asynccontextmanager
    async def locked(self, mode: str) -> AsyncIterator[None]:
        """Statements that store finals wait; with ACCESS EXCLUSIVE those that read them, too."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = '20s'")
            await connection.execute(f"LOCK TABLE gateway.transcript_event IN {mode} MODE")
            yield


@asynccontextmanager
async def open_database(folder: Path) -> AsyncIterator[Database]:
    """Has 25 connections to give."""
    database = Database(folder)
    await database.start()
    async with database.connection() as connection:
        await connection.execute("ALTER SYSTEM SET max_connections = 25")
    await database.end()
    await database.start()
    try:
        yield database
    finally:
        await database.end()


@dataclass
class Viewer:
    """Somebody in front of a screen, who comes back whenever the stream ends. What was seen, by number."""

    slug: str
    seen: dict[int, tuple[str, str]] = field(default_factory=dict)
    connections: int = 0
    epoch: str = ""
    last: int = 0
    epochs: int = 1
    """How many numberings there may be, one after the other."""

    def take(self, message: dict[str, Any]) -> None:
        """Fails on a hole, a repeat with other words, and an epoch too many."""
        match message["type"]:
            case "hello":
                said = message["data"]
                if self.epoch not in ("", message["epoch"]):
                    self.epochs -= 1
                    assert self.epochs > 0 and not said["resumed"], message
                    self.seen.clear()
                    self.last = 0
                self.epoch = message["epoch"]
            case "gap":
                raise AssertionError(f"a hole in {self.slug}: {message}")
            case "transcript.final":
                seq, said = message["seq"], message["data"]
                if self.epochs > 1 and seq <= self.last:  # all is sent again to whoever is ahead of the database
                    assert self.seen[seq] == (said["utteranceId"], said["text"])
                    return
                assert seq == self.last + 1, f"{self.slug}: {seq} came after {self.last}"
                self.last = seq
                self.seen[seq] = (said["utteranceId"], said["text"])


@dataclass
class World:
    database: Database
    provider: LocalServer
    folder: Path
    http: aiohttp.ClientSession
    sound: Path
    http_port: int
    rtmp_port: int
    gateway: Process = field(init=False)
    viewers: list[Viewer] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    broken: list[BaseException] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    strays: int = 0
    """Segments that have no number, as the test expects."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    async def start_gateway(self) -> None:
        env = {
            "DATABASE_URL": self.database.url,
            "GLADIA_API_URL": self.provider.url,
            "GLADIA_API_KEY": "any",
            "GATEWAY_API_TOKENS": TOKEN,
            "GATEWAY_HTTP_HOST": "127.0.0.1",
            "GATEWAY_HTTP_PORT": str(self.http_port),
            "GATEWAY_RTMP_HOST": "127.0.0.1",
            "GATEWAY_RTMP_PORT": str(self.rtmp_port),
            "GATEWAY_DATA_DIR": str(self.folder / "data"),
            "GATEWAY_STT_ENDPOINTING_S": "0.05",
            "GATEWAY_DRAIN_S": "5",
            "GATEWAY_LOG_FORMAT": "text",
            **self.settings,
        }
        self.gateway = await Process.start(sys.executable, "-m", "gateway", "serve", env=env)
        async with asyncio.timeout(WITHIN_S):
            while True:
                assert self.gateway.process.returncode is None, self.gateway.output
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)

    async def kill_gateway(self) -> None:
        os.kill(self.gateway.process.pid, signal.SIGKILL)
        await self.gateway.process.wait()

    @contextlib.contextmanager
    def disk_full(self) -> Iterator[None]:
        """Every write of the gateway to a file fails, as on a full disk."""
        before = resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE, before)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if "json" in answer.content_type else await answer.text()

    async def metric(self, name: str) -> float:
        lines = (await self.call("GET", "/metrics")).splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that viewers see."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not holds():
                    if self.broken:
                        raise self.broken[0]
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"it never came: {what}") from None

    async def more_captions(self, count: int) -> None:
        """Wait until every viewer has seen so many more finals."""
        wanted = {viewer.slug: viewer.last + count for viewer in self.viewers}
        await self.until(
            lambda: all(viewer.last >= wanted[viewer.slug] for viewer in self.viewers),
            f"{count} more finals for everybody; seen {[(v.slug, v.last) for v in self.viewers]}, wanted {wanted}",
        )

    async def view(self, viewer: Viewer) -> None:
        """Watch for ever: after every end come back with the last number seen."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                params = {"session": viewer.slug} | ({"since": f"{viewer.epoch}:{viewer.last}"} if viewer.epoch else {})
                async with self.http.ws_connect(
                    f"{self.url}/api/realtime/transcribe", params=params, headers={"Authorization": f"Bearer {TOKEN}"}
                ) as stream:
                    viewer.connections += 1
                    async for message in stream:
                        try:
                            viewer.take(json.loads(message.data))
                        except AssertionError as error:
                            self.broken.append(error)
                        self.news.set()
            await asyncio.sleep(0.02)

    async def speak(self, url: str) -> None:
        """Publish for ever: an encoder that comes back whenever it is dropped."""
        while True:
            publisher = await publish(self.sound, url)
            try:
                await publisher.process.wait()
            finally:
                if publisher.process.returncode is None:
                    publisher.process.kill()
                    await publisher.process.wait()
                assert publisher.reading is not None
                await publisher.reading
            await asyncio.sleep(0.05)

    async def stored(self) -> dict[str, dict[int, tuple[str, str]]]:
        """What the tables hold: the numbered events, each with its segment."""
        async with (
            self.database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(
                "SELECT v.slug, e.seq, e.utterance_id, e.data->>'text' AS text, s.text AS segment, s.\"participantId\" "
                'FROM gateway.transcript_event e JOIN "VideoSession" v ON v.id = e.session_id '
                'LEFT JOIN "TranscriptSegment" s ON s."videoSessionId" = v.id AND s."utteranceId" = e.utterance_id '
                "ORDER BY e.seq"
            )
            segments = await connection.fetchval('SELECT count(*) FROM "TranscriptSegment"')
        assert segments == len(rows) + self.strays, "segments and events differ in number"
        found: dict[str, dict[int, tuple[str, str]]] = {viewer.slug: {} for viewer in self.viewers}
        for row in rows:
            if row["slug"] not in found:
                continue  # another gateway's
            assert row["segment"] == row["text"], row
            assert row["participantId"] is not None, row
            found[row["slug"]][row["seq"]] = (row["utterance_id"], row["text"])
        return found

    async def all_seen_is_stored(self, context: str) -> int:
        """Everything that a viewer has seen until now is in the tables, as seen; numbers have no hole.

        Returns: how many finals were compared.
        """
        seen = {viewer.slug: dict(viewer.seen) for viewer in self.viewers}
        stored: dict[str, dict[int, tuple[str, str]]] = {}
        deadline = asyncio.get_running_loop().time() + WITHIN_S
        while asyncio.get_running_loop().time() < deadline:
            stored = await self.stored()
            if all(seen[slug].keys() <= stored[slug].keys() for slug in seen):
                break
            await asyncio.sleep(0.05)
        for slug, finals in seen.items():
            missing = finals.keys() - stored[slug].keys()
            assert not missing, f"{context}: {slug} lacks {sorted(missing)}"
            for seq, final in finals.items():
                assert stored[slug][seq] == final, f"{context}: {slug} has another {seq}"
            assert sorted(stored[slug]) == list(range(1, len(stored[slug]) + 1)), f"{context}: a hole in {slug}"
            utterances = [utterance for utterance, _ in stored[slug].values()]
            assert len(utterances) == len(set(utterances)), f"{context}: an utterance twice in {slug}"
        if self.broken:
            raise self.broken[0]
        return sum(map(len, seen.values()))

    async def export_has_everything(self, viewer: Viewer) -> None:
        """The transcript that anybody may download holds all that the viewer has seen, wherever it lies."""
        wanted = dict(viewer.seen)
        exported = await self.call("GET", f"/api/sessions/{viewer.slug}/transcript?format=json")
        found = {final["seq"]: (final["utteranceId"], final["text"]) for final in exported["finals"]}
        assert found.items() >= wanted.items(), f"{viewer.slug} lacks {sorted(wanted.keys() - found.keys())}"

    async def newcomer_sees_everything(self, viewer: Viewer) -> None:
        """Somebody who comes now gets all that the viewer has seen, without a hole."""
        newcomer, wanted = Viewer(viewer.slug), viewer.last
        async with (
            asyncio.timeout(WITHIN_S),
            transcript(self.url, viewer.slug, TOKEN) as stream,
        ):
            async for message in stream:
                newcomer.take(dict(message))
                if newcomer.last >= wanted:
                    break
        assert newcomer.last >= wanted
        for seq in range(1, wanted + 1):
            assert newcomer.seen[seq] == viewer.seen.get(seq, newcomer.seen[seq])


@asynccontextmanager
async def open_world(database: Database, folder: Path, sessions: int, **settings: str) -> AsyncIterator[World]:
    words = [VOCABULARY[i % len(VOCABULARY)] for i in range(800)]
    pcm, _ = speak(words, lead_s=0.2, tail_s=0.3, pauses=[0.15] * len(words))
    sound = await asyncio.to_thread(write_wav, folder / "speech.wav", pcm)
    async with (
        LocalServer(LocalOptions(engine="scripted", record_limit_bytes=0)) as provider,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)) as http,
    ):
        world = World(database, provider, folder, http, sound, free_port(), free_port(), settings=settings)
        await world.start_gateway()
        tasks: list[asyncio.Task[None]] = []
        try:
            for _ in range(sessions):
                slug = (await world.call("POST", "/api/sessions", {}))["slug"]
                body = {"sessionSlug": slug, "source": "rtmp"}
                started = await world.call("POST", "/api/transcription/start", body)
                world.viewers.append(Viewer(slug))
                tasks.append(asyncio.create_task(world.view(world.viewers[-1]), name=f"view {slug}"))
                tasks.append(asyncio.create_task(world.speak(started["ingest"]["rtmpUrl"]), name=f"speak {slug}"))
            yield world
        except BaseException:
            print(world.gateway.output[-20_000:])
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if world.gateway.process.returncode is None:
                await world.gateway.end()
            shutil.rmtree(folder / "data", ignore_errors=True)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
