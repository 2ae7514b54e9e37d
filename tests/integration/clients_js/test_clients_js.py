"""The JavaScript client against a real gateway that is spoken to over RTMP, in Node and in Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aiohttp import web
from support import browser
from support.cutter import cutting
from support.gateway import TOKEN
from support.ports import free_port
from support.scripted_gateway import World, scripted_gateway
from support.waiting import until

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "clients" / "js"
SWIFT = {"firstMs": 5, "longestMs": 50}


class Follower:
    """A Node process that follows a session. `events`: what it said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def of(self, event: str) -> list[Any]:
        return [line["detail"] for line in self.events if line["event"] == event]

    @property
    def seqs(self) -> list[int]:
        return [final["seq"] for final in self.of("final")]

    @property
    def texts(self) -> list[str]:
        return [final["data"]["text"] for final in self.of("final")]

    async def until(self, event: str) -> Any:
        """Read on until that event. Returns: its detail."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                while line := await self.process.stdout.readline():
                    self.events.append(json.loads(line))
                    if self.events[-1]["event"] == event:
                        return self.events[-1]["detail"]
        raise AssertionError(f"no {event!r}; the last events were {self.events[-12:]}")


@asynccontextmanager
async def following(
    node: str, url: str, slug: str, *, token: str = TOKEN, until: str = "", **options: Any
) -> AsyncIterator[Follower]:
    process = await asyncio.create_subprocess_exec(
        node,
        *(["--experimental-websocket"] if _has_no_socket(node) else []),
        "--no-warnings",
        str(HERE / "follow.mjs"),
        env={
            "PATH": os.environ.get("PATH", ""),
            "STREAM_URL": url,
            "SESSION": slug,
            "TOKEN": token,
            "OPTIONS": json.dumps(SWIFT | options),
            "UNTIL": until,
        },
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Follower(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _has_no_socket(node: str) -> bool:
    asked = subprocess.run([node, "-p", "typeof WebSocket"], capture_output=True, text=True, check=True)
    return asked.stdout.strip() == "undefined"


def budgets(seed: int, cuts: int) -> Iterator[int]:
    """Bytes of each connection: often inside the handshake (some 200), or inside the first messages."""
    chance = random.Random(seed)
    return (chance.choice((chance.randrange(1, 300), chance.randrange(300, 3000))) for _ in range(cuts))


def test_the_client_keeps_its_promises_alone(node: str, packages: Path) -> None:
    """The tests of the modules themselves, on sockets that the tests hold the other end of."""
    done = subprocess.run(
        [node, "--test", *map(str, sorted(CLIENT.glob("test/*.test.js")))],
        check=False,
        cwd=CLIENT,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stdout


async def test_a_program_hears_everything_as_it_is_said(world: World, node: str) -> None:
    """Partials before finals, finals in order, states, and a loop that ends with `close`."""
    slug = await world.new_session()
    async with following(node, world.url, slug, until="stopped") as follower:
        opened = await follower.until("open")
        marks = {"resumed": False, "restarted": False, "ended": False}
        assert opened == {"state": "idle", "epoch": "-", "seq": 0, "from": 1, **marks}
        said = await world.say(await world.start(slug), 4)
        await world.stop(slug)
        looped = await follower.until("looped")
    assert follower.texts == said
    assert looped["seqs"] == follower.seqs == [1, 2, 3, 4]
    assert follower.of("partial")
    assert [state["data"]["state"] for state in follower.of("state")][-2:] == ["stopping", "stopped"]
    assert follower.of("gap") == follower.of("error") == []


async def test_cut_at_random_bytes_a_program_hears_every_final_once_and_in_order(world: World, node: str) -> None:
    """Six followers, each cut up to 25 times, in the handshake and in the middle of messages, while speech goes on."""
    slug = await world.new_session()
    seeds = [random.SystemRandom().randrange(2**32) for _ in range(6)]

    async def follow(seed: int) -> tuple[Follower, int]:
        async with (
            cutting(world.url, budgets(seed, 25)) as cutter,
            following(node, cutter.url, slug, until="stopped") as follower,
        ):
            await follower.until("looped")
        return follower, cutter.cuts

    async with asyncio.TaskGroup() as tasks:
        following_ = [tasks.create_task(follow(seed)) for seed in seeds]
        said = await world.say(await world.start(slug), 12)
        await world.stop(slug)
    for seed, task in zip(seeds, following_, strict=True):
        follower, cuts = task.result()
        assert follower.seqs == list(range(1, 13)), f"seed {seed}"
        assert follower.texts == said, f"seed {seed}"
        assert follower.of("gap") == follower.of("error") == [], f"seed {seed}"
        assert cuts >= 5, f"seed {seed}"


async def test_an_ended_session_is_read_to_its_end_and_that_is_no_error(world: World, node: str) -> None:
    slug, said = await world.spoken_session(3)
    await world.end_session(slug)
    async with following(node, world.url, slug) as follower:
        await follower.until("looped")
    assert follower.texts == said
    assert follower.of("close")[-1]["code"] == 4510
    assert follower.of("error") == []


async def test_a_kept_position_brings_only_what_came_after_it(world: World, node: str) -> None:
    slug, said = await world.spoken_session(3)
    await world.end_session(slug)
    async with following(node, world.url, slug) as follower:
        position = (await follower.until("looped"))["position"]
    epoch = position.partition(":")[0]
    async with following(node, world.url, slug, since=f"{epoch}:2") as follower:
        await follower.until("looped")
    assert follower.texts == said[2:]
    assert follower.of("open")[0]["resumed"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"token": "wrong"}, 4501), ({"token": "not/a/header"}, 4501), ({"slug": "no-such-session"}, 4504)],
)
async def test_a_wrong_credential_or_slug_is_an_error_at_once(
    world: World, node: str, wrong: dict[str, str], code: int
) -> None:
    """In a program, too, although its WebSocket hides the HTTP status of a refused handshake."""
    slug = await world.new_session()
    async with following(node, world.url, **({"slug": slug} | wrong)) as follower:
        thrown = await follower.until("thrown")
    assert thrown == {"kind": "refused", "code": code}
    assert [close["willReconnect"] for close in follower.of("close")] == [False]


async def test_a_gateway_that_restarts_is_come_back_to(database_url: str, tmp_path: Path, node: str) -> None:
    """4000 on the way out; the next gateway sends what is missing."""
    port = free_port()
    async with scripted_gateway(database_url, tmp_path, http_port=port) as world:
        slug, said = await world.spoken_session(2)
        process = following(node, world.url, slug)
        follower = await process.__aenter__()
        await follower.until("final")
        await follower.until("final")
    try:
        assert (await follower.until("close"))["code"] == 4000
        async with scripted_gateway(database_url, tmp_path, http_port=port) as world:
            opened = await follower.until("open")
            assert opened["resumed"]
            said += await world.say(await world.start(slug), 2)
            await follower.until("final")
            await follower.until("final")
            await world.stop(slug)
        assert follower.texts == said
        assert follower.seqs == [1, 2, 3, 4]
    finally:
        await process.__aexit__(None, None, None)


# --- Chromium ---------------------------------------------------------------------------------------------


class Pages:
    """A web app of its own origin, and what its page reports."""

    def __init__(self) -> None:
        self.url = ""
        self.reports: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()

    async def page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(HERE / "page.html")

    async def client(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(CLIENT / request.match_info["name"])

    async def report(self, request: web.Request) -> web.StreamResponse:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    app = web.Application()
    app.router.add_get("/page.html", pages.page)
    app.router.add_get("/{name:transcript-stream.js|line.js}", pages.client)
    app.router.add_post("/report", pages.report)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pages.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield pages
    await runner.cleanup()


@asynccontextmanager
async def browsing(chromium: str, folder: Path, url: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        chromium,
        *browser.FLAGS,
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


async def test_cut_at_random_bytes_a_page_hears_every_final_once_and_in_order(
    database_url: str, tmp_path: Path, chromium: str, pages: Pages
) -> None:
    """A page of another origin, in Chromium, cut up to 25 times while speech goes on."""
    seed = random.SystemRandom().randrange(2**32)
    async with (
        scripted_gateway(database_url, tmp_path, allowed_origins=(pages.url,)) as world,
        cutting(world.url, budgets(seed, 25)) as cutter,
    ):
        slug = await world.new_session()
        query = urlencode({"gateway": cutter.url, "session": slug, "token": TOKEN})
        async with browsing(chromium, tmp_path, f"{pages.url}/page.html?{query}"):
            await until(lambda: cutter.connections)
            said = await world.say(await world.start(slug), 10)
            await world.stop(slug)
            async with asyncio.timeout(60):
                events = await pages.reports.get()
    finals = [line["detail"] for line in events if line["event"] == "final"]
    assert [final["seq"] for final in finals] == list(range(1, 11)), f"seed {seed}"
    assert [final["data"]["text"] for final in finals] == said, f"seed {seed}"
    assert not [line for line in events if line["event"] in ("gap", "error")], f"seed {seed}: {events}"
    assert cutter.cuts >= 5, f"seed {seed}"


@pytest.mark.parametrize("refusal", ["expired", "another room", "no session"])
async def test_a_page_learns_at_once_why_it_is_refused(
    database_url: str, tmp_path: Path, chromium: str, pages: Pages, refusal: str
) -> None:
    """Pages cannot see an HTTP status, so they are told by a close code, and do not come back."""
    secret = "a-secret-of-the-test-that-is-long-enough"
    settings = {"livekit_api_key": "devkey", "livekit_api_secret": secret, "allowed_origins": (pages.url,)}
    async with scripted_gateway(database_url, tmp_path, **settings) as world:
        slug = await world.new_session()
        claims = {"iss": "devkey", "exp": 4_000_000_000, "video": {"roomJoin": True, "room": slug}}
        if refusal == "expired":
            claims["exp"] = 1_000_000_000
        if refusal == "another room":
            claims["video"] = {"roomJoin": True, "room": "elsewhere"}
        token = TOKEN if refusal == "no session" else jwt.encode(claims, secret, algorithm="HS256")
        session = "nowhere1" if refusal == "no session" else slug
        query = urlencode({"gateway": world.url, "session": session, "token": token})
        async with browsing(chromium, tmp_path, f"{pages.url}/page.html?{query}"), asyncio.timeout(60):
            events = await pages.reports.get()
    code = 4504 if refusal == "no session" else 4501
    assert [line["detail"]["kind"] for line in events if line["event"] == "error"] == ["refused"]
    assert [line["detail"]["code"] for line in events if line["event"] == "close"] == [code]
