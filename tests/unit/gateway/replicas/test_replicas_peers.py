"""One replica asks another: what counts as its answer, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from gateway.replicas.peers import CALLER, FROM, Misdirected, Peers, Unreached, asked_by, key_for, open_peers
from gateway.replicas.replica import Load, Replica
from gateway.replicas.routes import Handler, InternalRoutes, misdirected


def member(name: str, url: str | None) -> Replica:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    return Replica(name, "r", "1.0", url, now, now, False, Load())


@asynccontextmanager
async def serving(handler: Handler, name: str = "b", token: str = "t") -> AsyncIterator[str]:
    """The URL of a replica that has one internal route."""
    app = web.Application()
    routes: dict[tuple[str, str], Handler] = {("POST", "/internal/x"): handler, ("GET", "/internal/audio"): handler}
    InternalRoutes(name, lambda shown, to: shown == f"Bearer {key_for(to, token)}").register(app, routes)
    async with open_at(app) as url:
        yield url


@asynccontextmanager
async def open_at(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with open_peers(lambda: "t") as found:
        yield found


async def test_an_answer_comes_as_it_is_with_who_has_asked_and_without_their_credential(peers: Peers) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers[CALLER], request.headers["Authorization"], await request.read()))
        return web.Response(status=409, body=b"no", headers={"Retry-After": "7"})

    asked_by.set("user anna")
    async with serving(handler) as url:
        answer = await peers.ask(member("b", url), "POST", "/internal/x", b"{}", timeout_s=5)
    assert (answer.status, answer.body, answer.retry_after_s) == (409, b"no", 7.0)
    assert seen == [("user anna", f"Bearer {key_for('b', 't')}", b"{}")]
    assert dict(peers.asked) == {"answered": 1}


async def test_who_does_not_have_it_names_the_owner(peers: Peers) -> None:
    async def handler(request: web.Request) -> web.Response:
        return misdirected("it has moved", "c")

    async with serving(handler) as url:
        with pytest.raises(Misdirected) as told:
            await peers.ask(member("b", url), "POST", "/internal/x", timeout_s=5)
    assert told.value.owner == "c"


@pytest.mark.parametrize(
    ("name", "token", "path", "why"),
    [
        ("c", "t", "/internal/x", "leads to replica c"),
        ("b", "other", "/internal/x", "other service tokens"),
        ("b", "t", "/internal/of-a-later-version", "HTTP 404"),
    ],
)
async def test_what_is_no_answer_of_that_replica(peers: Peers, name: str, token: str, path: str, why: str) -> None:
    """And nothing was done there."""
    done = []

    async def handler(request: web.Request) -> web.Response:
        done.append(request)
        return web.Response()

    async with serving(handler, name, token) as url:
        with pytest.raises(Unreached, match=why):
            await peers.ask(member("b", url), "POST", path, timeout_s=5)
    assert not done


async def test_one_that_hangs_has_gone_or_has_no_address_is_given_up(peers: Peers) -> None:
    over = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with serving(handler) as url:
        with pytest.raises(Unreached, match="TimeoutError"):
            await peers.ask(member("b", url), "POST", "/internal/x", timeout_s=0.1)
        over.set()
    for place in (url, None):
        with pytest.raises(Unreached):
            await peers.ask(member("b", place), "POST", "/internal/x", timeout_s=5)
    assert peers.asked["unreached"] == 3


async def test_a_kept_connection_that_has_died_is_made_anew(peers: Peers) -> None:
    cut = False

    async def handler(request: web.Request) -> web.Response:
        nonlocal cut
        if not cut:
            cut = True
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=b"done")

    async with serving(handler) as url:
        assert (await peers.ask(member("b", url), "POST", "/internal/x", timeout_s=5)).body == b"done"


async def test_an_address_that_leads_to_somebody_else_teaches_him_no_token_and_leads_nowhere_further(
    peers: Peers,
) -> None:
    """What a row among the replicas can do whose address is not a replica's."""
    shown, beyond = [], []

    async def there(request: web.Request) -> web.Response:
        beyond.append(request.path)
        return web.Response(headers={FROM: "b"})

    target = web.Application()
    target.router.add_route("*", "/{path:.*}", there)
    async with open_at(target) as further:

        async def redirect(request: web.Request) -> web.Response:
            shown.append(str(sorted(request.headers.items())))
            return web.Response(status=307, headers={"Location": further + request.path})

        evil = web.Application()
        evil.router.add_route("*", "/{path:.*}", redirect)
        async with open_at(evil) as url, open_peers(lambda: "a-service-token") as with_token:
            with pytest.raises(Unreached, match="HTTP 307"):
                await with_token.ask(member("b", url), "POST", "/internal/x", b"{}", timeout_s=5)
            with pytest.raises(Unreached, match="HTTP 307"):
                async with with_token.socket(member("b", url), "/internal/audio", {}):
                    pytest.fail("it is no replica")
    assert len(shown) == 2 and not beyond
    assert not [one for one in shown if "a-service-token" in one]
    assert len({key_for(one, token) for one in "ab" for token in "tu"}) == 4


@pytest.mark.parametrize("sender", [None, "c"])
async def test_a_websocket_is_that_replicas_or_none(peers: Peers, sender: str | None) -> None:
    async def accept(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        if sender is not None:
            socket.headers[FROM] = sender
        await socket.prepare(request)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/internal/audio", accept)
    async with open_at(app) as url:
        with pytest.raises(Unreached):
            async with peers.socket(member("b", url), "/internal/audio", {}):
                pytest.fail("it is another one, or none")
    async with serving(accept) as url, peers.socket(member("b", url), "/internal/audio", {}):
        pass
