"""`gateway tail` follows a stream across cuts, and ends when the transcription does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.cli.client import ApiRefused, Client


def told(kind: str, seq: int | None = None, **data: Any) -> dict[str, Any]:
    head = {"v": 1, "type": kind, "sessionSlug": "abc12345", "epoch": "k3f9", "ts": "2026-01-05T10:00:03.120Z"}
    return head | ({"seq": seq} if seq is not None else {}) | {"data": data}


class Stream:
    """A stream server with a script: for each connection what it says, and the code it closes with."""

    def __init__(self, *script: tuple[list[dict[str, Any]], int]) -> None:
        self.script = list(script)
        self.since: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.since.append(request.query.get("since"))
        messages, code = self.script.pop(0)
        stream = web.WebSocketResponse(protocols=("transcript.v1",))
        await stream.prepare(request)
        for message in messages:
            await stream.send_json(message)
        await stream.close(code=code)
        return stream


async def follow(stream: Stream) -> AsyncIterator[dict[str, Any]]:
    app = web.Application()
    app.router.add_get("/api/realtime/transcribe", stream.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async for message in Client(f"http://127.0.0.1:{runner.addresses[0][1]}", "token").follow("abc12345"):
            yield message
    finally:
        await runner.cleanup()


HELLO = told("hello") | {"data": {"state": "running", "epoch": "k3f9", "seq": 0, "resumed": False}}
STOPPED = told("session.state", state="stopped")


async def test_it_goes_on_behind_a_cut() -> None:
    stream = Stream(
        ([HELLO, told("transcript.final", 1, text="one")], 4000),
        ([HELLO, told("transcript.final", 2, text="two"), STOPPED], 1000),
    )
    texts = [message["data"]["text"] async for message in follow(stream) if message["type"] == "transcript.final"]
    assert texts == ["one", "two"]
    assert stream.since == [None, "k3f9:1"]


async def test_it_ends_behind_the_last_final_of_a_stopped_transcription() -> None:
    """Otherwise it would wait for ever for a transcription that nobody continues."""
    hello = told("hello") | {"data": {"state": "stopped", "epoch": "k3f9", "seq": 2, "resumed": False}}
    stream = Stream(([hello, told("transcript.final", 1, text="one"), told("transcript.final", 2, text="two")], 4000))
    assert len([message async for message in follow(stream)]) == 3


async def test_a_close_for_good_is_one_line() -> None:
    """4501: coming back would not help."""
    with pytest.raises(ApiRefused, match="for good"):
        async for _ in follow(Stream(([HELLO], 4501))):
            pass


async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(ApiRefused, match=r"http://127\.0\.0\.1:1 .* --url or GATEWAY_URL says where"):
        async for _ in Client("http://127.0.0.1:1", "token").follow("abc12345"):
            pass
