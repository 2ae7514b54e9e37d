from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_redis import MemoryWire
from support.virtual_time import run_virtually

from storage.redis.connection import MOST_WAITING, Connection
from storage.redis.errors import RedisAway, ServerError


class Line(asyncio.Transport):
    """What the server sees, and says."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False
        self._protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self.is_aborted

    def writelines(self, some: Iterable[Any]) -> None:
        self.written.append(b"".join(some))

    def abort(self) -> None:
        self.is_aborted = True

    close = abort

    async def say(self, data: bytes) -> None:
        self._protocol.data_received(data)
        await asyncio.sleep(0.001)

    async def hang_up(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
        await asyncio.sleep(0.001)


def played(scene: Callable[[Connection, Line], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        line = Line()

        async def accept() -> Line:
            return line

        wire = MemoryWire(accept)
        await wire.open()
        connection = Connection(wire)
        await scene(connection, line)
        connection.cut("played")

    run_virtually(play())


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_replies_come_in_order_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    async def scene(connection: Connection, line: Line) -> None:
        first = connection.send((b"GET", "a"), (b"INCR", 1))
        second = connection.send((b"X",), (b"Y",))
        rest = b"$5\r\nhe\r\no\r\n:42\r\n*2\r\n$-1\r\n:1\r\n-ERR no\r\n"
        for cut in [*cuts, len(rest)]:
            await line.say(rest[:cut])
            rest = rest[cut:]
        assert await first == [b"he\r\no", 42]
        some, error = await second or []
        assert some == [None, 1] and isinstance(error, ServerError) and error.code == "ERR"
        assert line.written[0].startswith(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$4\r\nINCR\r\n$1\r\n1\r\n")

    played(scene)


def test_a_call_that_was_given_up_leaves_its_reply_to_nobody() -> None:
    async def scene(connection: Connection, line: Line) -> None:
        with pytest.raises(RedisAway, match=r"no answer in 0\.5 s"):
            await connection.call("SLOW", timeout=0.5)
        cancelled = asyncio.create_task(connection.call("CANCELLED", timeout=9))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        await asyncio.sleep(0.1)
        assert cancelled.cancelled()
        mine = asyncio.create_task(connection.call("MINE", timeout=9))
        await asyncio.sleep(0.1)
        await line.say(b"+slow\r\n+cancelled\r\n+mine\r\n")
        assert await mine == b"mine"

    played(scene)


def test_whoever_waits_is_told_of_the_end_and_whoever_comes_later_at_once() -> None:
    async def scene(connection: Connection, line: Line) -> None:
        waiting = asyncio.create_task(connection.call("A", timeout=9))
        pipeline = connection.send(("B",), ("C",))
        await asyncio.sleep(0.1)
        await line.hang_up(None)
        with pytest.raises(RedisAway, match="the server closed the connection"):
            await waiting
        assert await pipeline is None and await connection.send(("D",)) is None
        with pytest.raises(RedisAway, match="the server closed the connection"):
            await connection.call("E", timeout=9)
        assert line.is_aborted and connection.over.done()

    played(scene)


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 Bad Request\r\n", b"+an answer to nothing\r\n"])
def test_what_makes_no_sense_ends_it(junk: bytes) -> None:
    async def scene(connection: Connection, line: Line) -> None:
        await line.say(junk)
        assert line.is_aborted and connection.why

    played(scene)


def test_a_server_error_is_raised_by_a_call_and_the_connection_goes_on() -> None:
    async def scene(connection: Connection, line: Line) -> None:
        call = asyncio.create_task(connection.call("A", timeout=9))
        await asyncio.sleep(0)
        await line.say(b"-MOVED 1 h:1\r\n")
        with pytest.raises(ServerError) as refused:
            await call
        assert refused.value.moved and not line.is_aborted

    played(scene)


def test_who_listens_gets_every_reply_and_pings_leave_nothing_behind() -> None:
    async def scene(connection: Connection, line: Line) -> None:
        replies: list[Any] = []
        connection.listen(replies.append)
        for _ in range(1_000):
            connection.ping()
            await line.say(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        connection.post((b"A",))
        connection.post((b"B",))
        await asyncio.sleep(0)
        assert replies == [[b"pong", b""]] * 1_000 and not connection._waiting
        assert line.written[-1] == b"*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n" and connection.received == 1_000

    played(scene)


def test_what_waits_for_an_answer_is_bounded() -> None:
    async def scene(connection: Connection, line: Line) -> None:
        for _ in range(MOST_WAITING):
            connection.send(("A",))
        with pytest.raises(RedisAway, match="too many"):
            await connection.call("A", timeout=9)

    played(scene)
