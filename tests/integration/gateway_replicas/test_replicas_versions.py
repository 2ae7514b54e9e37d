"""The version before beside this one, and this one beside the next: on one database, and back again."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sysconfig
import tarfile
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from chaos.oracle import Reader, Voice
from chaos.people import Place, Sender, Watcher
from support.gateway import Running, gateway_process
from support.installed import release_tool
from support.postgres import PostgresServer
from support.redis_server import running_redis
from support.tools import missing

from gateway.version import VERSION
from storage.postgres.migrate import bundled
from storage.postgres.placement import bundled_binaries
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

ROOT: Final = Path(__file__).parents[3]
BEFORE_TAGS: Final = "ece2891c395faf44e01a743dbf2ce03d28b1754c"
"""The version before while none has a tag: without membership and hand-over, and three migrations behind."""
PAUSE_S: Final = 2.5


def git(*args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, check=False)


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before: the last tag's, else of BEFORE_TAGS."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^").stdout.decode().strip()
    archive = git("archive", tag or BEFORE_TAGS, "gateway", "ingest", "stt", "storage", "clients")
    if archive.returncode != 0:
        why = f"the history of the version before is not here (git fetch --unshallow --tags): {archive.stderr.decode()}"
        missing(why)
    tree = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = tree / "gateway" / "live" / "_sending.c"
    built = source.with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))
    headers = sysconfig.get_path("include")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", f"-I{headers}", str(source), "-o", str(built)], check=True)
    return tree


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the next version: this one with one migration more."""
    tree = tmp_path_factory.mktemp("following")
    release_tool().stage(tree)
    version = tree / "gateway" / "version.py"
    version.write_text(version.read_text().replace(f'"{VERSION}"', '"99.0.0"'))
    [*_, last] = (migration for migration in bundled() if migration.set == "gateway")
    more = tree / "storage" / "postgres" / "migrations" / "gateway" / f"{last.version + 1:04}_following.sql"
    more.write_text(
        "CREATE TABLE gateway.following (id text PRIMARY KEY);\n"
        "ALTER TABLE gateway.transcription ADD COLUMN following text NOT NULL DEFAULT 'x';\n"
        "ALTER TABLE gateway.transcript_event ADD COLUMN following text;\n"
    )
    return tree


def copy(url: str, to: str) -> None:
    """As docs/upgrading.md says."""
    parts = urlsplit(url)
    host, programs = parse_qs(parts.query)["host"][0], bundled_binaries() / "bin"

    def run(program: str, *args: str) -> None:
        subprocess.run([programs / program, "-h", host, "-U", "postgres", *args], check=True)

    dump = f"{os.environ['TMPDIR']}/gateway.dump"
    run("pg_dump", "-Fc", "-f", dump, parts.path.strip("/"))
    run("pg_restore", "--no-owner", "-d", urlsplit(to).path.strip("/"), dump)


def speech(first: int, count: int = 6) -> tuple[list[str], bytes]:
    words = list(VOCABULARY[first : first + count])
    pauses = [PAUSE_S if i % 3 == 2 else 0.1 for i in range(count - 1)]
    pcm, _ = speak(words, lead_s=0.3, tail_s=0.6, pauses=pauses)
    return words, pcm


class Meeting:
    """One session: somebody speaks, and watches on both replicas."""

    def __init__(
        self,
        slug: str,
        first: int,
        route: Callable[[], int],
        places: list[Place],
        http: aiohttp.ClientSession,
        count: int = 6,
    ) -> None:
        self.slug = slug
        self.words, pcm = speech(first, count)
        self.sender = Sender(slug, Voice("anna", [(word, 0.0) for word in self.words]), pcm, route, places, http)
        self.readers = [Reader(number) for number in range(2)]
        self._watchers = [Watcher(slug, one, places, route, http, lambda: 0.0) for one in self.readers]

    def begin(self) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(watcher.run()) for watcher in self._watchers]

    def has_heard(self, count: int) -> bool:
        return all(sum(len(f["text"].split()) for f in one.finals.values()) >= count for one in self.readers)

    async def judge(self, gateway: Running) -> None:
        """Every word once, the same for all."""
        await gateway.stop(self.slug)
        finals = (await gateway.ok("GET", f"/api/sessions/{self.slug}/transcript"))["finals"]
        assert [word for final in finals for word in final["text"].split()] == self.words
        assert [final["seq"] for final in finals] == list(range(1, len(finals) + 1))
        await until(lambda: all(reader.last == len(finals) for reader in self.readers))
        for reader in self.readers:
            assert reader.problems == []
            assert [final["text"] for final in reader.finals.values()] == [final["text"] for final in finals]


def starts_behind_newer_migrations(tree: Path) -> bool:
    return "BREAKING" in (tree / "storage" / "postgres" / "history.py").read_text()


def refused() -> pytest.RaisesExc[AssertionError]:
    return pytest.raises(AssertionError, match="was applied by a newer gateway")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)


async def test_the_version_before_runs_beside_this_one_goes_and_comes_back_on_a_backup(
    postgres_server: PostgresServer, empty_database_url: str, former: Path, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path))
        provider = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", api_key="k")))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        env = {
            "REDIS_URL": redis.url,
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": provider.url,
            "GATEWAY_DRAIN_S": "5",
        }
        on = env | {"DATABASE_URL": empty_database_url}
        going = await stack.enter_async_context(AsyncExitStack())
        old = await going.enter_async_context(gateway_process(tmp_path / "old", source=former, **on))
        backup = stack.enter_context(postgres_server.database(migrated=False))
        earlier = await old.new_session()
        await asyncio.to_thread(copy, empty_database_url, backup)

        new = await stack.enter_async_context(gateway_process(tmp_path / "new", **on))
        places = [Place(urlsplit(one.url).port or 0, one.rtmp_port) for one in (old, new)]
        up = [0, 1]
        owners = [old, new]
        meetings = []
        for number, owner in enumerate(owners):
            slug = await owner.new_session()
            await owner.start(slug, source="websocket")
            # A replica of that version does not carry audio to its owner: the balancer is asked until it finds that.
            turns = iter(range(number, 1_000))
            meetings.append(Meeting(slug, 6 * number, lambda turns=turns: up[next(turns) % len(up)], places, http))
        watching = [task for meeting in meetings for task in meeting.begin()]
        speaking = [asyncio.create_task(meeting.sender.run()) for meeting in meetings]
        try:
            await until(lambda: all(meeting.has_heard(3) for meeting in meetings))
            up.remove(0)
            await going.aclose()
            await asyncio.wait_for(asyncio.gather(*speaking), 60)
            for meeting in meetings:
                await meeting.judge(new)
        finally:
            for task in watching + speaking:
                task.cancel()
            await asyncio.gather(*watching, *speaking, return_exceptions=True)

        # Versions before 0.2.0 do not start behind a newer migration.
        with nullcontext() if starts_behind_newer_migrations(former) else refused():
            async with gateway_process(tmp_path / "old", source=former, **on):
                pass
        assert (await new.call("GET", "/readyz"))[0] == 200

        back = env | {"DATABASE_URL": backup}
        async with gateway_process(tmp_path / "back", source=former, **back) as again:
            slugs = [one["slug"] for one in (await again.ok("GET", "/api/sessions"))["sessions"]]
            assert slugs == [earlier]


async def test_one_goes_to_the_next_version_and_back_while_people_speak(
    empty_database_url: str, following: Path, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path))
        provider = await stack.enter_async_context(LocalServer(LocalOptions(engine="scripted", api_key="k")))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        env = {
            "DATABASE_URL": empty_database_url,
            "REDIS_URL": redis.url,
            "GLADIA_API_KEY": "k",
            "GLADIA_API_URL": provider.url,
            "GATEWAY_DRAIN_S": "5",
        }
        first, then = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        this = await first.enter_async_context(gateway_process(tmp_path / "this", **env))
        slug = await this.new_session()
        await this.start(slug, source="websocket")
        next_one = await then.enter_async_context(gateway_process(tmp_path / "next", source=following, **env))
        async with asyncio.timeout(30):  # it is seen with the next beat
            while {one["version"] for one in (await this.ok("GET", "/api/replicas"))["replicas"]} != {
                VERSION,
                "99.0.0",
            }:
                await asyncio.sleep(0.2)

        places = [Place(urlsplit(one.url).port or 0, one.rtmp_port) for one in (this, next_one)]
        up = [0]
        meeting = Meeting(slug, 0, lambda: up[0], places, http, count=9)
        watching = meeting.begin()
        speaking = asyncio.create_task(meeting.sender.run())
        try:
            await until(lambda: meeting.has_heard(3))
            up[0] = 1
            await first.aclose()
            back = await stack.enter_async_context(gateway_process(tmp_path / "this", **env))
            assert "_following is a newer gateway's" in back.process.output
            await until(lambda: meeting.has_heard(6))
            places.append(Place(urlsplit(back.url).port or 0, back.rtmp_port))
            up[0] = 2
            await then.aclose()
            await asyncio.wait_for(speaking, 60)
            await meeting.judge(back)
        finally:
            for task in (*watching, speaking):
                task.cancel()
            await asyncio.gather(*watching, speaking, return_exceptions=True)
