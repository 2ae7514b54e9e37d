"""WebSockets that keep up are written to past their transports: nothing is torn, mixed up or sent to a stranger."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from array import array
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import pytest
from small_endpoint import SERVICE, Small, small_endpoint
from sse_client import STREAM

from gateway.live.audience import NO_DESCRIPTOR
from gateway.live.endpoint import LiveOptions
from gateway.live.sending import in_python, send_all
from gateway.live.watcher import Bounds
from gateway.transcription.usecases.records import SessionRecord


class Watched:
    """Sends as the product does, and remembers to how many and who did not take all."""

    def __init__(self) -> None:
        self.told = 0
        self.short = 0

    def __call__(self, descriptors: array[int], begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
        self.told += sum(one != NO_DESCRIPTOR for one in descriptors[begin:end])
        short = send_all(descriptors, begin, end, data)
        self.short += len(short)
        return short


async def seqs(socket: aiohttp.ClientWebSocketResponse, last: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(60):
        while not found or found[-1] != last:
            message = json.loads((await socket.receive()).data)
            if "seq" in message and message["type"] == "transcript.final":
                found.append(message["seq"])
    return found


async def test_pings_and_news_do_not_get_mixed_up() -> None:
    sending = Watched()
    async with small_endpoint(LiveOptions(ping_s=0.02), send_all=sending) as small:
        small.begin()
        async with small.http.ws_connect(small.url + STREAM, params={"session": "one"}) as watcher:
            await small.watching(1)
            reading = asyncio.create_task(seqs(watcher, 500))
            for seq in range(1, 501):
                small.final(seq)
                await asyncio.sleep(0.001)
            assert await reading == list(range(1, 501))
    assert 250 < sending.told <= 500


async def test_a_socket_that_is_full_gets_the_rest_through_its_transport() -> None:
    sending = Watched()
    async with small_endpoint(bounds=Bounds(mailbox_bytes=10**9), send_all=sending) as small:
        small.begin()
        async with small.http.ws_connect(small.url + STREAM, params={"session": "one"}) as watcher:
            await small.watching(1)
            last = 0
            for _ in range(3):  # it stops reading, and reads again, three times
                first = last + 1
                while not sending.short or last < first + 500:
                    last += 1
                    small.final(last, size=20_000)
                    await asyncio.sleep(0)
                assert await seqs(watcher, last) == list(range(first, last + 1))
                sending.short = 0


@pytest.mark.parametrize("sending", [send_all, in_python])
async def test_the_number_of_a_lost_connection_is_nobodys(sending: Callable[..., list[tuple[int, int]]]) -> None:
    """Who comes next gets the same number for its socket, and must hear only its own session."""
    async with small_endpoint(send_all=sending) as small:
        small.begin()
        small.begin("two")
        for seq in range(1, 20):
            async with small.http.ws_connect(small.url + STREAM, params={"session": "one"}) as lost:
                await small.watching(1)
                small.final(2 * seq - 1)
                assert await seqs(lost, 2 * seq - 1)
                number = descriptor(small, "one")
                cut(lost)
                small.final(2 * seq)
            await small.watching(0)
            async with small.http.ws_connect(small.url + STREAM, params={"session": "two"}) as next_one:
                await small.watching(1)
                small.final(seq, slug="two")
                heard = await seqs(next_one, seq)
                assert heard == list(range(1, seq + 1))
                assert os.fstat(number)  # taken again by somebody
            await small.watching(0)


async def test_who_talks_before_the_answer_is_read_and_refused_not_kept() -> None:
    """The HTTP library stops reading from a client that sends without waiting for its handshake."""
    head = (
        f"GET {STREAM}?session=one&token={SERVICE} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with small_endpoint() as small:
        found = small.records.by_slug

        async def slowly(slug: str) -> SessionRecord | None:
            await asyncio.sleep(0.2)
            return await found(slug)

        small.records.by_slug = slowly  # type: ignore[method-assign]
        _, writer = await asyncio.open_connection("127.0.0.1", int(small.url.rpartition(":")[2]))
        writer.write(head.encode() + (b"\x81\xe4\0\0\0\0" + b" " * 100) * 40_000)
        await small.watching(1)
        writer.close()
        await small.watching(0)
        with suppress(ConnectionError):
            await writer.wait_closed()


def descriptor(small: Small, slug: str) -> int:
    [watcher] = small.hub.channel(slug).audience
    return watcher.descriptor


def cut(connection: aiohttp.ClientWebSocketResponse) -> None:
    """The line drops without a close frame."""
    with socket.socket(fileno=os.dup(connection.get_extra_info("socket").fileno())) as raw:
        raw.shutdown(socket.SHUT_RDWR)
