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


async def test_the_age_of_the_audio_counts_from_the_first_packet_that_was_read_last() -> None:
    """The anchor of a track needs it when a handler starts late, or one goes on behind another."""
    flow = Flow()
    assert flow.publisher.audio_age_s == 0
    flow.publisher.take(packet(0))
    flow.now += 2.5
    flow.publisher.take(packet(1))
    await flow.publisher.read()
    assert flow.publisher.audio_age_s == 2.5
    flow.publisher.take(packet(2), age_s=4.0)
    flow.now += 1.0
    await flow.publisher.read()
    assert flow.publisher.audio_age_s == 5.0, "it had waited elsewhere before"


async def test_what_is_put_back_is_read_again_before_what_came_meanwhile() -> None:
    """With its age; and it fills the buffer as it did before."""
    flow = Flow()
    for n in range(4):
        flow.publisher.take(packet(n))
    first, *rest = await flow.publisher.read()
    flow.now += 1.0
    flow.publisher.take(packet(4))
    flow.publisher.put_back(rest, age_s=1.5)
    assert flow.publisher.packets_read == 1
    flow.publisher.take(packet(5))
    assert flow.calls == ["full"]
    assert [one.timestamp_ms for one in (first, *await flow.publisher.read())] == [0, 1, 2, 3, 4, 5]
    assert (flow.publisher.audio_age_s, flow.publisher.packets_read) == (1.5, 6)
    flow.publisher.put_back([], age_s=0.0)
    flow.publisher.end("unpublished")
    assert flow.publisher.is_over


@pytest.mark.parametrize(("carried_s", "other_s", "yields"), [(9.0, 2.0, True), (9.0, 9.5, False), (None, 2.0, False)])
def test_only_a_carried_publish_yields_to_one_that_came_after_it(
    carried_s: float | None, other_s: float, yields: bool
) -> None:
    """The same one, carried anew, does not: the way before it is dead."""

    def publisher(age_s: float | None) -> Publisher:
        return Publisher(
            "live",
            "key",
            "peer",
            buffer_bytes=1,
            buffer_packets=1,
            clock=lambda: 10.0,
            full=lambda: None,
            emptied=lambda: None,
            closed=lambda reason: None,
            carried_since=None if age_s is None else 10.0 - age_s,
        )

    assert publisher(carried_s).yields_to(publisher(other_s)) is yields
