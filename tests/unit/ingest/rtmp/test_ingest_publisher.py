"""The handler's end of a publish: order, bounds, endings."""

from __future__ import annotations

import asyncio

import pytest

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.rtmp.publisher import Publisher

FORMAT = AudioFormat("aac", b"", 48_000, 2, True)


def packet(n: int, size: int = 10) -> AudioPacket:
    return AudioPacket(n, bytes(size), FORMAT)


class Flow:
    """Records what a publisher asks of its connection."""

    def __init__(self, buffer_bytes: int = 1000, buffer_packets: int = 5) -> None:
        self.calls: list[str] = []
        self.now = 10.0
        self.publisher = Publisher(
            "live",
            "key",
            "peer",
            buffer_bytes=buffer_bytes,
            buffer_packets=buffer_packets,
            clock=lambda: self.now,
            full=lambda: self.calls.append("full"),
            emptied=lambda: self.calls.append("emptied"),
            closed=self.calls.append,
        )


async def test_a_read_takes_everything_that_waits_in_order() -> None:
    """And then waits for more."""
    publisher = Flow().publisher
    for n in range(3):
        publisher.take(packet(n))
    assert [p.timestamp_ms for p in await publisher.read()] == [0, 1, 2]
    reading = asyncio.ensure_future(publisher.read())
    await asyncio.sleep(0)
    assert not reading.done()
    publisher.take(packet(3))
    assert [p.timestamp_ms for p in await reading] == [3]


async def test_after_the_end_what_waits_is_still_read() -> None:
    """Then nothing, again and again; the first reason stands."""
    publisher = Flow().publisher
    publisher.take(packet(0))
    publisher.end("idle")
    publisher.end("connection lost")
    assert len(await publisher.read()) == 1
    assert await publisher.read() == []
    assert await publisher.read() == []
    assert publisher.ended_because == "idle"


@pytest.mark.parametrize(("size", "count"), [(10, 5), (300, 4)])
async def test_a_full_buffer_holds_the_publisher_back_once_until_it_is_read(size: int, count: int) -> None:
    """By packets or by bytes."""
    flow = Flow()
    for n in range(count - 1):
        flow.publisher.take(packet(n, size))
    assert flow.calls == []
    flow.publisher.take(packet(9, size))
    flow.publisher.take(packet(10, size))  # what was on its way
    assert flow.calls == ["full"]
    assert len(await flow.publisher.read()) == count + 1
    assert flow.calls == ["full", "emptied"]
    for n in range(count):
        flow.publisher.take(packet(n, size))
    assert flow.calls == ["full", "emptied", "full"]


async def test_a_cancelled_read_loses_nothing() -> None:
    """The packets are there for the next one."""
    publisher = Flow().publisher
    reading = asyncio.ensure_future(publisher.read())
    await asyncio.sleep(0)
    publisher.take(packet(0))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(await publisher.read()) == 1


def test_close_reaches_the_connection_only_while_it_is_alive() -> None:
    """Closing what has ended is harmless."""
    flow = Flow()
    flow.publisher.close("enough")
    assert flow.calls == ["enough"]
    flow.publisher.end("enough")
    flow.publisher.close("again")
    assert flow.calls == ["enough"]


def test_the_age_of_the_audio_counts_from_its_first_packet() -> None:
    """The anchor of the track needs it when a handler starts late."""
    flow = Flow()
    assert flow.publisher.audio_age_s == 0
    flow.publisher.take(packet(0))
    flow.now += 2.5
    flow.publisher.take(packet(1))
    assert flow.publisher.audio_age_s == 2.5
