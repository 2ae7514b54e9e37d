"""The server's behaviour towards many publishers, good and bad, on plain asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_network

import pytest
from ingest_rtmp_client import FRAME_MS, Client, aac_tone, command
from support.waiting import until

from ingest.errors import CannotListen, PublishRefused
from ingest.rtmp import amf0
from ingest.rtmp.chunk_stream import Message
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.publisher import Publisher
from ingest.rtmp.server import RtmpServer

Serve = Callable[..., Awaitable[tuple[RtmpServer, "Desk"]]]  # noqa: F821 - Desk lives in conftest

SECOND = aac_tone(440, 1.0)


async def test_a_publish_is_heard_and_its_key_split_from_the_query(serve: Serve) -> None:
    """The handler sees app, key and query; the chunks hold the tone."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key?token=abc")
    await client.play(SECOND)
    await client.unpublish("key")
    heard = await desk.ended()
    await client.close()
    assert desk.asked == [("live", "key", "token=abc")]
    assert heard.publisher.ended_because == "unpublished"
    assert heard.publisher.has_video
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert heard.pitch() == pytest.approx(440, abs=2)
    assert server.counters.audio_packets == len(SECOND[1])
    assert server.counters.video_bytes_skipped > 100_000


@pytest.mark.parametrize("chunk_bytes", [128, 4096, 65_536])
async def test_the_chunk_size_makes_no_difference(serve: Serve, chunk_bytes: int) -> None:
    """An old encoder at 128 bytes, OBS at 4,096, ffmpeg following our 65,536."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key", chunk_bytes)
    await client.play(SECOND)
    await client.close()
    heard = await desk.ended()
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert heard.publisher.ended_because == "connection lost"


async def test_a_wrong_key_is_told_and_hung_up_on(serve: Serve) -> None:
    """NetStream.Publish.BadName, as the contract says; no handler runs."""
    server, desk = await serve()
    client = await Client.open(server.port)
    assert await client.ask("wrong") == "NetStream.Publish.BadName"
    await client.hung_up()
    await client.close()
    assert desk.heard == []
    assert server.counters.refused_key == 1
    assert server.counters.publishes == 0


async def test_a_check_of_the_key_that_takes_too_long_refuses(serve: Serve) -> None:
    """A database that hangs must not let anybody in, nor leave anybody waiting."""

    class Slow(Recorder):
        async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
            await asyncio.sleep(60)
            return True

    server, _ = await serve(Slow(), authorise_s=0.05)
    client = await Client.open(server.port)
    assert await client.ask("key") == "NetStream.Failed"
    await client.close()
    assert server.counters.publishes == 0


async def test_a_check_of_the_key_that_fails_refuses(serve: Serve) -> None:
    """And is counted as our failure, not the publisher's."""

    class Broken(Recorder):
        async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
            raise RuntimeError("no database")

    server, _ = await serve(Broken())
    client = await Client.open(server.port)
    assert await client.ask("key") == "NetStream.Failed"
    await client.close()
    assert (server.counters.handler_failures, server.counters.refused_key) == (1, 0)


async def test_a_publish_that_cannot_be_taken_now_is_told_why(serve: Serve) -> None:
    """Neither the publisher's fault nor ours."""

    class Elsewhere(Recorder):
        async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
            raise PublishRefused("this gateway has no room for it")

    server, _ = await serve(Elsewhere())
    client = await Client.open(server.port)
    assert await client.ask("key") == "NetStream.Publish.Failed"
    await client.hung_up()
    await client.close()
    assert server.counters.publishes == 0
    counters = server.counters
    assert (counters.refused_now, counters.refused_key, counters.handler_failures) == (1, 0, 0)


async def test_a_second_publisher_takes_over(serve: Serve) -> None:
    """The first is told and hung up on, its handler ends before the second's begins; both are heard."""
    server, desk = await serve()
    first = await Client.publish(server.port, "key")
    await first.play(SECOND)
    old = await desk.next()
    await old.first_chunk.wait()
    second = await Client.publish(server.port, "key")
    new = await desk.next()
    assert old.over.is_set(), "the old handler was still at work when the new one began"
    assert old.publisher.ended_because == "taken over"
    assert await first.status() == "NetStream.Publish.Denied"
    await first.hung_up()
    await second.play(aac_tone(880, 1.0))
    await second.unpublish("key")
    await desk.ended(new)
    for client in (first, second):
        await client.close()
    assert old.pitch() == pytest.approx(440, abs=2)
    assert new.pitch() == pytest.approx(880, abs=2)
    assert server.counters.takeovers == 1


async def test_keys_of_different_apps_do_not_meet(serve: Serve) -> None:
    """live/key and other/key are two publishes."""
    server, desk = await serve()
    clients = [await Client.open(server.port) for _ in range(2)]
    for client, app in zip(clients, ("live", "other/deep"), strict=True):
        assert await client.ask("key", app) == "NetStream.Publish.Start"
    apps = {(await desk.next()).publisher.app for _ in range(2)}
    assert apps == {"live", "other/deep"}
    assert server.counters.publishing == 2
    for client in clients:
        await client.close()


class Recorder:
    """A handler without a track: accepts every key, and does with a publish what the test wants."""

    executor: ThreadPoolExecutor

    def __init__(self, work: Callable[[Publisher], Awaitable[None]] | None = None) -> None:
        self.publishers: list[Publisher] = []
        self.told_of_crowd = 0
        self._work = work

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        return True

    def crowded(self) -> None:
        self.told_of_crowd += 1

    async def published(self, publisher: Publisher) -> None:
        self.publishers.append(publisher)
        if self._work:
            await self._work(publisher)
        else:
            while await publisher.read():
                pass


async def test_a_handler_that_will_not_end_is_cancelled_for_the_next_publisher(serve: Serve) -> None:
    """After its grace; a stuck database must not lock an encoder out."""
    cancelled = []

    async def stuck(publisher: Publisher) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(publisher)
            raise

    server, handler = await serve(Recorder(stuck), handler_grace_s=0.05)
    first = await Client.publish(server.port, "key")
    await until(lambda: len(handler.publishers) == 1)
    second = await Client.publish(server.port, "key")
    await until(lambda: len(handler.publishers) == 2)
    assert cancelled == handler.publishers[:1]
    for client in (first, second):
        await client.close()


async def test_three_publishers_at_once_leave_one(serve: Serve) -> None:
    """They take over from one another; nobody is stuck, nothing runs twice."""
    server, handler = await serve(Recorder())
    clients = await asyncio.gather(*(Client.publish(server.port, "key") for _ in range(3)))
    await until(lambda: len(handler.publishers) == 3 and server.counters.publishing == 1)
    assert [publisher.ended_because for publisher in handler.publishers] == ["taken over", "taken over", None]
    for client in clients:
        await client.close()


async def test_a_connection_may_publish_again(serve: Serve) -> None:
    """After it has ended its first publish properly."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    await client.play(SECOND)
    await client.unpublish("key")
    await desk.ended()
    client.send(command("publish", 9, None, "key", "live", stream_id=1))
    assert await client.status() == "NetStream.Publish.Start"
    await client.play(SECOND, first_ms=5)
    await client.close()
    assert (await desk.ended()).seconds == pytest.approx(1.0, abs=0.03)


async def test_a_publisher_that_dies_ends_its_publish(serve: Serve) -> None:
    """Without a word: what came before is heard."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    await client.play(SECOND, with_video=False)
    heard = await desk.next()
    await until(lambda: server.counters.audio_packets == len(SECOND[1]))
    client.abort()
    await desk.ended(heard)
    assert heard.publisher.ended_because == "connection lost"
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    await until(lambda: server.counters.open == 0)


async def test_a_handler_that_fails_costs_its_publisher_only(serve: Serve) -> None:
    """It is counted, its publisher hung up on, the next one served."""

    async def fail(publisher: Publisher) -> None:
        raise RuntimeError("a bug")

    server, _ = await serve(Recorder(fail))
    for n in range(2):
        client = await Client.publish(server.port, f"key{n}")
        assert await client.status() == "NetStream.Publish.Denied"
        await client.close()
    assert server.counters.handler_failures == 2


async def test_a_handler_that_has_enough_ends_the_publish(serve: Serve) -> None:
    """By returning, or by closing with its own words."""

    async def enough(publisher: Publisher) -> None:
        publisher.close("session ended")

    server, handler = await serve(Recorder(enough))
    client = await Client.publish(server.port, "key")
    assert await client.status() == "NetStream.Publish.Denied"
    await client.hung_up()
    await client.close()
    assert handler.publishers[0].ended_because == "session ended"


async def test_a_slow_handler_holds_its_publisher_back_and_loses_nothing(serve: Serve) -> None:
    """TCP says wait; nothing is buffered without bound; not even the idle limit strikes meanwhile."""
    go = asyncio.Event()
    seen: list[int] = []

    async def slow(publisher: Publisher) -> None:
        await go.wait()
        while packets := await publisher.read():
            seen.extend(packet.timestamp_ms for packet in packets)

    server, _ = await serve(Recorder(slow), buffer_packets=50, idle_s=0.2)
    client = await Client.publish(server.port, "key")
    body = b"\xaf\x01" + bytes(8_000)
    sending = asyncio.create_task(send_many(client, body, 4_000))
    await until(lambda: server.counters.pauses == 1)
    await asyncio.sleep(0.5)  # more than the idle limit
    assert not sending.done()
    assert server.counters.audio_packets < 50 + 8
    go.set()
    await sending
    await until(lambda: len(seen) == 4_000)
    assert seen == list(range(4_000))
    assert server.counters.protocol_errors == {}
    await client.close()


async def send_many(client: Client, body: bytes, count: int) -> None:
    for n in range(count):
        client.audio(n, body)
        await client.writer.drain()


SHAKEN = b"\x03" + bytes(3072)


def header(csid: int, length: int, type: int = 20) -> bytes:
    return bytes((csid,)) + bytes(3) + length.to_bytes(3, "big") + bytes((type,)) + bytes(4)


HOSTILE: dict[str, list[bytes]] = {
    "http": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    "noise": [random.Random(n).randbytes(5_000) for n in range(20)],
    "noise after the handshake": [SHAKEN, *(random.Random(n).randbytes(5_000) for n in range(20))],
    "huge message": [SHAKEN, header(3, 0xFFFFFF), bytes(100_000)],
    "huge chunk size": [SHAKEN, header(2, 4, 1), b"\x7f\xff\xff\xff", header(3, 0xFFFF), bytes(65_535)],
    "many chunk streams": [SHAKEN, *(header(csid, 10, 9) + bytes(10) for csid in range(3, 60))],
    "deep amf": [SHAKEN, header(3, 125), b"\x0a\x00\x00\x00\x01" * 25],
    "empty messages": [SHAKEN, header(3, 0, 9), *([b"\xc3" * 32_000] * 6)],
}


@pytest.mark.parametrize("attack", HOSTILE)
async def test_a_hostile_connection_does_not_disturb_a_healthy_one(serve: Serve, attack: str) -> None:
    """It is closed and counted; the neighbour is heard without a gap."""
    server, desk = await serve(publish_s=0.3)
    healthy = await Client.publish(server.port, "key")
    config, frames = SECOND
    healthy.audio(0, b"\xaf\x00" + config)
    for n, frame in enumerate(frames):
        healthy.audio(n * FRAME_MS, b"\xaf\x01" + frame)
        if n == len(frames) // 2:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with contextlib.suppress(ConnectionError):
                for piece in HOSTILE[attack]:
                    writer.write(piece)
                    await writer.drain()
                while await reader.read(65_536):
                    pass
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    await healthy.unpublish("key")
    heard = await desk.ended()
    await healthy.close()
    assert sum(server.counters.protocol_errors.values()) == 1
    assert "internal error" not in server.counters.protocol_errors
    assert heard.track.stats.gaps == heard.track.stats.decode_errors == 0
    assert heard.seconds == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        (b"", "handshake timeout"),
        (b"\x03" + bytes(100), "handshake timeout"),
        (b"\x03" + bytes(3072), "publish timeout"),
    ],
)
async def test_a_peer_that_does_not_get_on_with_it_is_dropped(serve: Serve, opening: bytes, reason: str) -> None:
    """Half-open connections must not pile up."""
    server, _ = await serve(handshake_s=0.1, publish_s=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(opening)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    assert server.counters.protocol_errors == {reason: 1}
    assert server.counters.open == 0


async def test_a_publisher_that_falls_silent_is_dropped(serve: Serve) -> None:
    """The handler learns that it was for idleness."""
    server, desk = await serve(idle_s=0.2)
    client = await Client.publish(server.port, "key")
    await client.play(SECOND)
    heard = await desk.ended()
    assert heard.publisher.ended_because == "idle"
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert server.counters.protocol_errors == {"idle": 1}
    await client.close()


async def test_a_peer_that_never_reads_our_answers_is_dropped(serve: Serve) -> None:
    """Otherwise small questions would fill our memory with answers."""
    server, _ = await serve(Recorder())
    client = await Client.publish(server.port, "key")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    question = command("createStream", 9, None)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            while not server.counters.protocol_errors:
                for _ in range(200):
                    client.send(question)
                await client.writer.drain()
    assert server.counters.protocol_errors == {"peer does not read": 1}
    client.abort()


async def test_an_error_in_the_middle_of_a_publish_is_told_to_the_handler(serve: Serve) -> None:
    """In words, with what was heard before it."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    await client.play(SECOND)
    client.send(Message(8, 1, 0, bytes(300_000)), 4)
    heard = await desk.ended()
    await client.close()
    assert heard.publisher.ended_because is not None
    assert heard.publisher.ended_because.startswith("message too long")
    assert heard.seconds == pytest.approx(1.0, abs=0.03)


async def test_too_many_connections_are_turned_away(serve: Serve) -> None:
    """By address and in all; a place that becomes free can be taken."""
    server, desk = await serve(Recorder(), connections=3, connections_per_address=2)
    clients = [await Client.publish(server.port, f"key{n}") for n in range(2)]
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await Client.open(server.port)
    assert server.counters.refused_connections == 1
    await until(lambda: desk.told_of_crowd == 1)
    await clients.pop().close()
    await until(lambda: server.counters.open == 1)
    clients.append(await Client.publish(server.port, "key9"))
    for client in clients:
        await client.close()


async def test_idle_sockets_shut_out_nobody_who_publishes(serve: Serve) -> None:
    """Whoever holds most idle connections loses the oldest; who publishes keeps his."""
    server, _ = await serve(Recorder(), connections=6, connections_per_address=100)
    first = await Client.publish(server.port, "key0")
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
    await until(lambda: server.counters.evicted == 15)
    second = await Client.publish(server.port, "key1")
    assert server.counters.open == 6 and server.counters.publishing == 2 and server.counters.refused_connections == 0
    for _, writer in idle:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    await first.close()
    await second.close()


async def test_a_proxy_that_is_trusted_has_no_limit_of_its_own(serve: Serve) -> None:
    server, _ = await serve(Recorder(), connections_per_address=1, shared=(ip_network("127.0.0.0/8"),))
    clients = [await Client.publish(server.port, f"key{n}") for n in range(3)]
    assert server.counters.publishing == 3
    for client in clients:
        await client.close()


async def test_video_alone_is_visible(serve: Serve) -> None:
    """The gateway can say: there is a picture but no sound."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    heard = await desk.next()
    for n in range(20):
        client.video(n * 33)
    await until(lambda: heard.publisher.has_video)
    await client.unpublish("key")
    await desk.ended(heard)
    await client.close()
    assert heard.chunks == []
    assert heard.track.anchor is None


async def test_metadata_is_handed_on(serve: Serve) -> None:
    """And replaced when it comes again."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    for encoder in ("one", "two"):
        client.send(Message(18, 1, 0, amf0.encode("@setDataFrame", "onMetaData", {"encoder": encoder})), 4)
    heard = await desk.next()
    await until(lambda: heard.publisher.metadata == {"encoder": "two"})
    await client.close()


async def test_a_player_is_refused(serve: Serve) -> None:
    """Clearly: this server plays nothing."""
    server, _ = await serve()
    client = await Client.open(server.port)
    client.send(command("connect", 1, {"app": "live"}))
    client.send(command("createStream", 2, None))
    client.send(command("play", 3, None, "key"))
    assert await client.status() == "NetStream.Play.Failed"
    await client.hung_up()
    await client.close()


async def test_closing_ends_everything_and_frees_the_port(serve: Serve) -> None:
    """Publishers are told, handlers finish what they hold, then the sockets go."""
    server, desk = await serve()
    client = await Client.publish(server.port, "key")
    await client.play(SECOND)
    heard = await desk.next()
    await heard.first_chunk.wait()
    idle = await Client.open(server.port)
    await server.close()
    assert heard.over.is_set()
    assert heard.publisher.ended_because == "server closing"
    assert await client.status() == "NetStream.Publish.Denied"
    await idle.hung_up()
    for each in (client, idle):
        await each.close()
    assert server.counters.open == server.counters.publishing == 0
    again = RtmpServer(RtmpOptions(host="127.0.0.1", port=server.port), desk)
    await again.start()
    await again.close()


async def test_a_port_that_is_taken_says_what_to_do(serve: Serve) -> None:
    """As an OSError whose message names the address and the setting."""
    server, desk = await serve()
    other = RtmpServer(RtmpOptions(host="127.0.0.1", port=server.port), desk)
    with pytest.raises(CannotListen, match=f"127.0.0.1:{server.port}.*GATEWAY_RTMP_PORT") as raised:
        await other.start()
    assert isinstance(raised.value, OSError)
    assert raised.value.errno
    await other.close()


async def test_fifty_publishers_are_heard_each_with_its_own_voice(serve: Serve) -> None:
    """No packet strays into another track."""
    count = 50
    server, desk = await serve(keys=tuple(f"key{n}" for n in range(count)))
    tones = {n: aac_tone(300 + 40 * n, 0.5) for n in range(count)}

    async def run(n: int) -> None:
        client = await Client.publish(server.port, f"key{n}", (128, 4096)[n % 2])
        await client.play(tones[n])
        await client.unpublish(f"key{n}")
        await client.close()

    await asyncio.gather(*(run(n) for n in range(count)))
    for heard in [await desk.ended() for _ in range(count)]:
        n = int(heard.publisher.key.removeprefix("key"))
        assert heard.pitch() == pytest.approx(300 + 40 * n, abs=4)
        assert heard.seconds == pytest.approx(0.5, abs=0.03)


async def test_a_peer_that_goes_in_the_moment_of_the_end_does_not_disturb_it(serve: Serve) -> None:
    """Its socket is gone and the event loop has not been told yet."""
    server, _ = await serve()
    peer = socket.create_connection(("127.0.0.1", server.port))
    await until(lambda: server.counters.open == 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await server.close()
    assert server.counters.open == 0
