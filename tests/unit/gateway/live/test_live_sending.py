"""One message to many sockets: the form in C and the form in Python do the same."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest
import uvloop
from support.tools import missing

from gateway.live.sending import SendAll, in_python


def in_c() -> SendAll:
    """It is an extension that an installation without a compiler goes without; CI has a compiler."""
    try:
        from gateway.live._sending import send_all
    except ImportError:
        missing("gateway.live._sending is not built: `pip install -e .` with a C compiler builds it")
    return send_all


@pytest.fixture(params=["in C", "in Python"])
def send_all(request: pytest.FixtureRequest) -> SendAll:
    return in_c() if request.param == "in C" else in_python


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as open_sockets:
        made = [socket.socketpair() for _ in range(5)]
        for pair in made:
            for one in pair:
                one.setblocking(False)
                open_sockets.enter_context(one)
        yield made


Pairs = list[tuple[socket.socket, socket.socket]]


def descriptors_of(pairs: Pairs) -> array[int]:
    return array("i", [ours.fileno() for ours, _ in pairs])


def test_everybody_between_begin_and_end_gets_it(send_all: SendAll, pairs: Pairs) -> None:
    assert send_all(descriptors_of(pairs), 1, 4, b"hello") == []
    for _, theirs in pairs[1:4]:
        assert theirs.recv(100) == b"hello"
    for _, theirs in (pairs[0], pairs[4]):
        with pytest.raises(BlockingIOError):
            theirs.recv(100)


def test_gaps_are_passed_over(send_all: SendAll, pairs: Pairs) -> None:
    descriptors = descriptors_of(pairs)
    descriptors[2] = -1
    assert send_all(descriptors, 0, 5, b"hello") == []
    assert pairs[3][1].recv(100) == b"hello"


def test_a_full_socket_says_how_much_it_took_and_holds_up_nobody(send_all: SendAll, pairs: Pairs) -> None:
    pairs[1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = os.urandom(150_000)
    for ours, theirs in (pairs[0], pairs[2]):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)
    [(index, sent)] = send_all(descriptors_of(pairs[:3]), 0, 3, data)
    assert index == 1
    assert 0 <= sent < len(data)
    assert send_all(descriptors_of(pairs[:3]), 1, 2, b"more") == [(1, 0)]
    assert drained(pairs[1][1]) == data[:sent]
    assert drained(pairs[2][1]) == data


def drained(reader: socket.socket) -> bytes:
    found = bytearray()
    while True:
        try:
            found += reader.recv(1 << 20)
        except BlockingIOError:
            return bytes(found)


def test_a_broken_socket_took_nothing(send_all: SendAll, pairs: Pairs) -> None:
    pairs[0][1].close()
    descriptors = descriptors_of(pairs)
    assert send_all(descriptors, 0, 2, b"hello") == [(0, 0)]
    pairs[2][0].close()
    assert send_all(descriptors, 2, 3, b"hello") == [(2, 0)]
    assert pairs[1][1].recv(100) == b"hello"


def test_nothing_is_sent_past_the_descriptors(send_all: SendAll, pairs: Pairs) -> None:
    with pytest.raises(IndexError):
        send_all(descriptors_of(pairs), 5, 6, b"hello")


# --- what the descriptors rely on ---------------------------------------------------------------------------


class Listener(asyncio.Protocol):
    """Looks in `connection_lost` whether the socket's number is still its own."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.here, self.lost = asyncio.Event(), asyncio.Event()
        self.was_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.descriptor = transport.get_extra_info("socket").fileno()
        self.inode = os.fstat(self.descriptor).st_ino
        self.here.set()

    def connection_lost(self, error: Exception | None) -> None:
        found = os.fstat(self.descriptor)
        self.was_open = stat.S_ISSOCK(found.st_mode) and found.st_ino == self.inode
        self.lost.set()


def reset(client: socket.socket, transport: asyncio.Transport) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(
    "end",
    [
        reset,
        lambda client, transport: client.close(),
        lambda client, transport: transport.close(),
        lambda client, transport: transport.abort(),
    ],
    ids=["reset", "closed by the peer", "closed here", "aborted here"],
)
def test_a_transport_keeps_its_socket_open_until_it_has_said_that_it_is_lost(
    new_loop: Callable[[], asyncio.AbstractEventLoop], end: Callable[[socket.socket, asyncio.Transport], None]
) -> None:
    """Else the number could be another watcher's already, who would read what is not for it."""

    async def watch() -> bool:
        listener = Listener()
        server = await asyncio.get_running_loop().create_server(lambda: listener, "127.0.0.1", 0)
        async with server:
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                await listener.here.wait()
                assert listener.transport is not None
                end(client, listener.transport)
                await listener.lost.wait()
        return listener.was_open

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(asyncio.wait_for(watch(), 10))
