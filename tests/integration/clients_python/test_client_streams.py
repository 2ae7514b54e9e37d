"""Both streams of the client for programs against a server with a script: cuts, refusals, tokens, cancelled waits."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from aiohttp import web
from support.waiting import until

import transcription_client
import transcription_client.sync
from transcription_client import Refused, Unavailable

Twin = Literal["asyncio", "sync"]
BOTH = pytest.mark.parametrize("twin", ["asyncio", "sync"])


def told(kind: str, data: dict[str, Any], **more: Any) -> str:
    head = {"v": 1, "type": kind, "sessionSlug": "abc12345", "epoch": "k3f9", "ts": "2026-01-05T10:00:03.120Z"}
    return json.dumps({**head, "data": data, **more})


def final(seq: int) -> str:
    return told("transcript.final", {"utteranceId": f"u{seq}", "text": f"text {seq}"}, seq=seq)


def hello(resumed: bool = False) -> str:
    return told("hello", {"state": "running", "epoch": "k3f9", "seq": 0, "resumed": resumed})


class Server:
    """For each connection what it says, and the code it closes with; None: it stays open."""

    def __init__(self, *script: tuple[list[str | bytes], int | None]) -> None:
        self.script = list(script)
        self.asked: list[tuple[str | None, str | None]] = []  # since, Authorization
        self.languages: list[str | None] = []
        self.open = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.query.get("since"), request.headers.get("Authorization")))
        self.languages.append(request.query.get("lang"))
        if not self.script:
            return web.Response(status=503, text="later")
        messages, code = self.script.pop(0)
        stream = web.WebSocketResponse(protocols=("transcript.v1",))
        await stream.prepare(request)
        for message in messages:
            await (stream.send_bytes(message) if isinstance(message, bytes) else stream.send_str(message))
        if code is not None:
            await stream.close(code=code)
            return stream
        self.open += 1
        async for _ in stream:
            pass
        self.open -= 1
        return stream


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_get("/api/realtime/transcribe", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def read(twin: Twin, url: str, token: str | Callable[[], str] = "secret", **more: Any) -> list[Any]:
    """All messages, until it ends."""
    if twin == "asyncio":
        return [message async for message in transcription_client.transcript(url, "abc12345", token, **more)]
    return await asyncio.to_thread(lambda: list(transcription_client.sync.transcript(url, "abc12345", token, **more)))


@BOTH
async def test_a_cut_is_followed_by_a_resume_behind_the_last_final(twin: Twin) -> None:
    script = Server(
        ([hello(), final(1), b"\0"], 4000), ([hello(True), "{", final(9)], 1011), ([hello(True), final(2)], 4510)
    )
    tokens = iter(("one", "two", "three"))
    async with serving(script) as server:
        messages = await read(twin, server.url, lambda: next(tokens))
    assert [message["seq"] for message in messages if message["type"] == "transcript.final"] == [1, 2]
    assert server.asked == [(None, "Bearer one"), ("k3f9:1", "Bearer two"), ("k3f9:1", "Bearer three")]


@BOTH
async def test_translations_into_one_language_are_resumed_too(twin: Twin) -> None:
    german = told("translation", {"utteranceId": "u1", "targetLanguage": "de", "text": "…", "seq": 1, "ofSeq": 1})
    script = Server(([hello(), final(1), german], 4000), ([hello(True), german], 4510))
    async with serving(script) as server:
        messages = await read(twin, server.url, lang="de")
    assert [message["type"] for message in messages].count("translation") == 1
    assert ([since for since, _ in server.asked], server.languages) == ([None, "k3f9:1:1"], ["de", "de"])


@BOTH
async def test_a_close_for_good_is_an_error(twin: Twin) -> None:
    async with serving(Server(([hello()], 4501))) as server:
        with pytest.raises(Refused) as refused:
            await read(twin, server.url)
    assert refused.value.code == 4501


@BOTH
async def test_nobody_there_is_an_error_where_no_patience_is_asked_for(twin: Twin) -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 "):
        await read(twin, "http://127.0.0.1:1", first_patience_s=0)
    async with serving(Server()) as server:
        with pytest.raises(Unavailable, match="HTTP 503: later"):
            await read(twin, server.url, first_patience_s=0)


@BOTH
async def test_what_cannot_be_a_token_is_refused_before_it_is_sent(twin: Twin) -> None:
    async with serving(Server(([hello()], None))) as server:
        for wrong in ("a\r\nb: c", "ключ"):
            with pytest.raises(ValueError, match=r"^token: "):
                await read(twin, server.url, wrong)
    assert server.asked == []


async def test_a_cancelled_wait_loses_nothing() -> None:
    """`asyncio.timeout` around the next message is what programs write."""
    script = Server(([hello(), final(1)], None))
    async with serving(script) as server, transcription_client.transcript(server.url, "abc12345", "x") as stream:
        assert [(await anext(stream))["type"] for _ in range(2)] == ["hello", "transcript.final"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(stream)
        assert server.open == 1
        await stream.aclose()
        assert [message async for message in stream] == []
        await until(lambda: server.open == 0)
    assert stream.position == "k3f9:1"


async def test_a_loop_that_is_left_leaves_no_connection() -> None:
    async with serving(Server(([hello(), final(1)], None))) as server:
        async for _ in transcription_client.transcript(server.url, "abc12345", "x"):
            break
        gc.collect()
        await until(lambda: server.open == 0)


async def test_a_coroutine_function_may_give_the_token() -> None:
    async def token() -> str:
        return "fresh"

    async with serving(Server(([hello()], 4510))) as server:
        assert len([message async for message in transcription_client.transcript(server.url, "abc12345", token)]) == 1
    assert server.asked == [(None, "Bearer fresh")]
