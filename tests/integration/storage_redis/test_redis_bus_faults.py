"""What the bus promises while Redis fails: everything is said, nothing is sent twice, all comes back by itself."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from redis_world import Notes, connected_bus, live, published
from support.redis_server import RedisServer, running_redis
from support.waiting import until

from storage.redis.bus import open_bus
from storage.redis.errors import RedisAway
from storage.redis.throttle import open_throttle

CHANNEL = "gw:{a}"


async def test_killed_and_back(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, notes):
        await live(bus, CHANNEL)
        server.stop()
        await until(lambda: notes.has("lost", CHANNEL) and notes.has("down"))
        assert bus.why and not bus.subscribe(CHANNEL).is_live
        bus.publish(CHANNEL, b"in between")
        with pytest.raises(RedisAway):
            await bus.numsub([CHANNEL])
        server.start()
        await until(lambda: notes.has("live", CHANNEL, True) and bus.is_up)
        await published(bus, CHANNEL, b"after")
        await until(lambda: notes.heard(CHANNEL)[-1:] == [b"after"])
        assert bus.counters.reconnects >= 2


async def test_a_server_that_is_killed_leaves_no_task_and_no_socket_behind(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, _), open_throttle(server.url) as throttle:
        assert await throttle.take("k", 600) == 0
        held = _held()
        assert held["Connection._read"] == held["Connection._write"] == 3
        for _ in range(2):
            server.stop()
            await until(lambda: not bus.is_up and _held()["Connection._read"] == 0)
            server.start()
            await until(lambda: _held() == held)


def _held() -> Counter[str]:
    """Tasks of this loop by what they run, and the descriptors of this process."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    descriptors = {"descriptors": len(list(Path("/proc/self/fd").iterdir()))}
    return Counter(getattr(one, "__qualname__", "") for one in coroutines) + Counter(descriptors)


async def test_frozen_is_noticed_and_nothing_comes_twice(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, notes), connected_bus(server.url) as (_, other):
        await live(bus, CHANNEL)
        server.freeze()
        began = time.monotonic()
        bus.publish(CHANNEL, b"on its way")
        await until(lambda: notes.has("lost", CHANNEL) and bus.counters.unconfirmed == 1)
        assert time.monotonic() - began < 10  # a second, on a machine with time
        for number in range(20):
            bus.publish(CHANNEL, b"%d" % number)
            await asyncio.sleep(0.1)
        server.thaw()
        await until(lambda: notes.has("live", CHANNEL, True) and bus.is_up)
        await published(bus, CHANNEL, b"after")
        await until(lambda: notes.heard(CHANNEL)[-1:] == [b"after"])
        heard = notes.heard(CHANNEL)
        assert len(heard) == len(set(heard))
        counters = bus.counters
        assert counters.published + counters.dropped + counters.unconfirmed == 22
        await until(lambda: other.has("up") and other.told[-1][0] == "up")


async def test_the_servers_own_view_counts_when_a_subscriber_is_cut(server: RedisServer) -> None:
    """CLIENT KILL: a library that subscribes anew in silence would hide the hole."""
    async with connected_bus(server.url) as (bus, notes), connected_bus(server.url) as (speaker, _):
        await live(bus, CHANNEL)
        assert server.ask("CLIENT", "KILL", "TYPE", "pubsub").startswith(":1")
        await until(lambda: notes.has("lost", CHANNEL))
        await until(lambda: notes.has("live", CHANNEL, True))
        await published(speaker, CHANNEL, b"after")
        await until(lambda: notes.heard(CHANNEL) == [b"after"])
        assert notes.told.index(("lost", CHANNEL)) < notes.told.index(("live", CHANNEL, True))


async def test_a_cut_publisher_is_back_before_anything_is_too_old(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, notes), connected_bus(server.url) as (hearing, heard):
        await live(hearing, CHANNEL)
        assert server.ask("CLIENT", "KILL", "TYPE", "normal").startswith(":")
        await until(lambda: notes.has("down"))
        await published(bus, CHANNEL, b"a", b"b")
        await until(lambda: heard.heard(CHANNEL) == [b"a", b"b"])
        assert not heard.has("lost")


async def test_flushed(server: RedisServer) -> None:
    """The wire holds nothing, so there is nothing to lose."""
    async with connected_bus(server.url) as (bus, notes):
        await live(bus, CHANNEL)
        assert server.ask("FLUSHALL") == "+OK\r\n"
        await published(bus, CHANNEL, b"after")
        await until(lambda: notes.heard(CHANNEL) == [b"after"])
        assert not notes.has("lost")


async def test_who_reads_too_slowly_is_told_of_the_hole(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--client-output-buffer-limit", "pubsub 1mb 512kb 1") as server:
        async with connected_bus(server.url) as (bus, notes), connected_bus(server.url) as (speaker, _):
            await live(bus, CHANNEL)
            _flood(server, CHANNEL, 20)  # the loop stands still meanwhile, and reads nothing
            await until(lambda: notes.has("live", CHANNEL, True))
            lost = notes.told.index(("lost", CHANNEL))
            assert all(told[0] != "message" for told in notes.told[lost : notes.told.index(("live", CHANNEL, True))])
            await published(speaker, CHANNEL, b"after")
            await until(lambda: notes.heard(CHANNEL)[-1] == b"after")
            assert len(notes.heard(CHANNEL)) < 20 * 100


def _flood(server: RedisServer, channel: str, megabytes: int) -> None:
    data = b"x" * 10_000
    command = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(channel), channel.encode(), len(data), data)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        for _ in range(megabytes):
            line.sendall(command * 100)
            answered = 0
            while answered < 100:
                answered += line.recv(65_536).count(b"\n")


async def test_this_process_standing_still_is_not_the_servers_fault(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, notes):
        await live(bus, CHANNEL)
        time.sleep(2)  # noqa: ASYNC251
        await published(bus, CHANNEL, b"after")
        await until(lambda: notes.heard(CHANNEL) == [b"after"])
        assert not notes.has("lost") and not notes.has("down")


async def test_an_answer_that_came_while_this_process_stood_still_counts(server: RedisServer) -> None:
    async with connected_bus(server.url) as (bus, notes):
        await live(bus, CHANNEL)
        server.freeze()
        bus.publish(CHANNEL, b"x")
        await until(lambda: bus.counters.pipelines == 1)
        server.thaw()
        time.sleep(1)  # noqa: ASYNC251
        await until(lambda: notes.heard(CHANNEL) == [b"x"])
        assert await bus.flush(20)
        assert (bus.counters.published, bus.counters.unconfirmed) == (1, 0) and not notes.has("down")


async def test_a_doubled_message_is_handed_on_as_it_came(server: RedisServer) -> None:
    """Something in between may double; the counter that the sender puts in is there for it."""
    async with connected_bus(server.url) as (bus, notes):
        await live(bus, CHANNEL)
        for _ in range(2):
            assert server.ask("PUBLISH", CHANNEL, "17") == ":1\r\n"
        await until(lambda: notes.heard(CHANNEL) == [b"17", b"17"])
        assert bus.counters.delivered == 2


async def test_never_there_then_there(server: RedisServer) -> None:
    server.stop()
    notes = Notes()
    async with open_bus(server.url, notes) as bus:
        subscription = bus.subscribe(CHANNEL)
        for number in range(5_000):
            bus.publish(CHANNEL, b"x" * 450, f"{number}")
        await until(lambda: "cannot be reached" in bus.why)
        assert bus.counters.dropped > 2_000 and not notes.told
        server.start()
        async with asyncio.timeout(60):
            assert await subscription.confirmed()
        await until(lambda: bus.is_up)
        await published(bus, CHANNEL, b"first")
        await until(lambda: notes.heard(CHANNEL)[-1:] == [b"first"])
        assert ("live", CHANNEL, False) in notes.told and not notes.has("live", CHANNEL, True)


async def test_a_server_that_still_loads_or_speaks_something_else_is_away() -> None:
    async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def still_load(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-LOADING Redis is loading the dataset in memory\r\n")
        writer.close()

    for answer, said in ((speak_http, "not Redis' protocol"), (still_load, "still reading its data")):
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
            port = other.sockets[0].getsockname()[1]
            async with open_bus(f"redis://127.0.0.1:{port}", Notes()) as bus:
                await until(lambda bus=bus, said=said: said in bus.why)  # type: ignore[misc]
