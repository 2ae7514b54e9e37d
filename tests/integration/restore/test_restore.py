"""A backup in an empty place: what is there again, and what a lost volume costs. As docs/upgrading.md says."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from support.gateway import Running, gateway_process
from support.postgres import PostgresServer, running_postgres
from support.speaker import Speaker

from storage.postgres.placement import bundled_binaries
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

SYSTEM: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
EARLIER, KEPT, AWAY, AFTER = (list(VOCABULARY[at : at + 3]) for at in (0, 3, 6, 9))


@dataclass
class Server:
    """PostgreSQL with the programs of its version: the system's own, where there is one."""

    postgres: PostgresServer
    programs: Path

    def run(self, program: str, *args: str | Path) -> None:
        host = parse_qs(urlsplit(self.postgres.url).query)["host"][0]
        subprocess.run([self.programs / program, "-h", host, "-U", "postgres", *args], check=True)

    @contextmanager
    def restored(self, dump: Path) -> Iterator[str]:
        """The URL of a database that was empty."""
        with self.postgres.database(migrated=False) as url:
            self.run("pg_restore", "--no-owner", "--exit-on-error", "-d", name_of(url), dump)
            yield url


def name_of(url: str) -> str:
    return urlsplit(url).path.strip("/")


@pytest.fixture
def server() -> Iterator[Server]:
    folder = SYSTEM[0].parents[1] if SYSTEM else bundled_binaries()
    with running_postgres(binaries=folder) as postgres:
        yield Server(postgres, folder / "bin")


async def say(gateway: Running, slug: str, identity: str, words: list[str]) -> None:
    """In real time; a pause after each three words."""
    pauses = [1.5 if at % 3 == 2 else 0.1 for at in range(len(words) - 1)]
    pcm, _ = speak(words, lead_s=0.3, tail_s=0.6, pauses=pauses)
    await Speaker(gateway.http, lambda: [gateway.url], slug, identity, pcm).speak()


async def told(gateway: Running, slug: str) -> dict[str, Any]:
    """All that people and bills are told about a session; what the provider billed is read later."""
    usage = await gateway.ok("GET", f"/api/transcription/{slug}/usage")
    return {
        "transcript": await gateway.ok("GET", f"/api/sessions/{slug}/transcript"),
        "segments": await gateway.ok("GET", f"/api/sessions/{slug}/segments"),
        "usage": {name: value for name, value in usage.items() if name != "billing"},
    }


async def finals(gateway: Running, slug: str) -> list[tuple[int, str]]:
    listed = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    return [(final["seq"], final["text"]) for final in listed]


def words(listed: list[tuple[int, str]]) -> list[str]:
    assert [seq for seq, _ in listed] == list(range(1, len(listed) + 1)), "a hole, or a number twice"
    return [word for _, text in listed for word in text.split()]


async def document(gateway: Running, slug: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            status, answer = await gateway.call("GET", f"/api/sessions/{slug}/document")
            if status == 200:
                return answer
            await asyncio.sleep(0.05)


@dataclass
class Before:
    """What was there when the machine was lost: an ended session, and one that ran while the database was away."""

    ended: str
    of_ended: dict[str, Any]
    document: Any
    running: str
    shown: list[tuple[int, str]]
    epoch: str


async def until_the_machine_is_lost(server: Server, url: str, data: Path, env: dict[str, str]) -> Before:
    """The gateway is killed while the database takes nothing."""
    async with gateway_process(data, DATABASE_URL=url, **env) as gateway:
        ended = await gateway.new_session()
        await gateway.start(ended, source="websocket")
        await say(gateway, ended, "anna", EARLIER)
        await gateway.stop(ended)
        await gateway.ok("POST", f"/api/sessions/{ended}/end")
        written = await document(gateway, ended)
        of_ended = await told(gateway, ended)

        running = await gateway.new_session()
        await gateway.start(running, source="websocket")
        async with gateway.watch(running) as watcher:
            speaking = asyncio.create_task(say(gateway, running, "berta", KEPT + AWAY))
            await watcher.until(lambda seen: seen.words == KEPT)
            name = name_of(url)
            away = f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            await asyncio.to_thread(server.postgres.execute, away, end)
            await watcher.until(lambda seen: seen.words == KEPT + AWAY)
            shown = [(final["seq"], final["data"]["text"]) for final in watcher.finals]
            epoch = watcher.finals[0]["epoch"]
            await gateway.kill()
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        await asyncio.to_thread(server.postgres.execute, away.replace("false", "true"))
    return Before(ended, of_ended, written, running, shown, epoch)


async def judge(before: Before, data: Path, expected: list[str], **env: str) -> None:
    """What ended is as it was; what ran goes on behind `expected`, also for who had seen all that was shown."""
    async with gateway_process(data, **env) as gateway:
        assert await told(gateway, before.ended) == before.of_ended
        assert await document(gateway, before.ended) == before.document

        assert words(await finals(gateway, before.running)) == expected
        await say(gateway, before.running, "berta", AFTER)
        assert (await gateway.stop(before.running))["state"] == "stopped"
        kept = await finals(gateway, before.running)
        assert words(kept) == expected + AFTER
        async with gateway.watch(before.running, since=f"{before.epoch}:{len(before.shown)}") as back:
            await back.until(lambda seen: seen.words[-len(AFTER) :] == AFTER)
            resumed = back.of("hello")[0]["data"]["resumed"]
            assert back.words == (AFTER if resumed else expected + AFTER)
            assert expected == KEPT + AWAY or not resumed, "number 2 is another final than the one that was shown"


@pytest.mark.timeout(240)
async def test_a_backup_is_all_again_and_a_lost_volume_costs_what_the_database_had_not_taken(
    server: Server, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        servers = [LocalServer(LocalOptions(engine="scripted", api_key="k")) for _ in range(2)]
        provider, ignorant = [await stack.enter_async_context(one) for one in servers]
        url = stack.enter_context(server.postgres.database(migrated=False))
        blobs, data = tmp_path / "blobs", tmp_path / "data"
        common = {"GLADIA_API_KEY": "k", "GATEWAY_LEASE_S": "5", "GATEWAY_DRAIN_S": "5"}
        here = common | {"GLADIA_API_URL": provider.url, "GATEWAY_BLOB_URL": blobs.as_uri()}
        before = await until_the_machine_is_lost(server, url, data, here)
        assert words(before.shown) == KEPT + AWAY

        dump = tmp_path / "gateway.dump"
        await asyncio.to_thread(server.run, "pg_dump", "-Fc", "-f", dump, name_of(url))
        copies = tmp_path / "copies"
        shutil.copytree(data, copies / "data")
        shutil.move(blobs, copies / "blobs")
        shutil.rmtree(data)

        # All of it, at the same addresses.
        whole = stack.enter_context(server.restored(dump))
        shutil.copytree(copies / "data", data)
        shutil.copytree(copies / "blobs", blobs)
        # Without the volume, at a provider that knows nothing of it, and with the documents in another place.
        bare, elsewhere = stack.enter_context(server.restored(dump)), tmp_path / "elsewhere"
        shutil.copytree(copies / "blobs", elsewhere)
        moved = f"UPDATE gateway.document SET place = 'folder {elsewhere}' WHERE place = 'folder {blobs}'"
        server.postgres.execute(moved, database=name_of(bare))
        there = common | {"GLADIA_API_URL": ignorant.url, "GATEWAY_BLOB_URL": elsewhere.as_uri()}
        async with asyncio.TaskGroup() as group:
            group.create_task(judge(before, data, KEPT + AWAY, DATABASE_URL=whole, **here))
            group.create_task(judge(before, tmp_path / "lost", KEPT, DATABASE_URL=bare, **there))
        assert not [session for one in (provider, ignorant) for session in one.sessions.values() if session.open]
