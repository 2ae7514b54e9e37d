"""History in memory: a crowd that comes back costs one read, and what memory says is what the database has."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_stage import Stage
from support.frames import messages

from gateway.live.pace import Pace
from gateway.live.protocol import Message, ResumePoint
from gateway.live.recent import Recent

pytestmark = pytest.mark.usefixtures("way")


async def test_a_crowd_that_comes_back_after_a_take_over_costs_one_read() -> None:
    """Whatever each of them has seen last."""
    stage = Stage(last_seq=300)
    points = [ResumePoint("e1", 300 - n % 40) for n in range(200)]
    watched = await asyncio.gather(*(stage.watch(point) for point in points))
    assert len(stage.reads) == 1
    for point, (_, transport) in zip(points, watched, strict=True):
        assert list(range(point.seq + 1, 301)) == [message["seq"] for message in _finals(bytes(transport.arrived))]


def _finals(data: bytes) -> list[dict[str, int]]:
    return [message for message in messages(data) if message["type"] == "transcript.final"]


async def test_what_is_forgotten_while_it_is_read_is_not_remembered() -> None:
    """The session was deleted, or another numbering began."""
    recent, reading = Recent(10), asyncio.Event()

    async def read(after: int, limit: int) -> list[tuple[int, Message]]:
        reading.set()
        await asyncio.sleep(1)
        return [(1, Message("transcript.final", b"{}"))]

    asking = asyncio.create_task(recent.page(0, lambda: 1, read))
    await reading.wait()
    recent.clear()
    assert [seq for seq, _ in await asking] == [1]
    assert not len(recent)


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=20), st.integers(1, 15))
def test_pages_have_no_hole_and_memory_stays_bounded(stored: int, asks: list[tuple[int, int]], limit: int) -> None:
    """Readers at any points, while finals are said."""

    async def all_ask() -> None:
        recent, last = Recent(limit), stored

        async def read(after: int, count: int) -> list[tuple[int, Message]]:
            await asyncio.sleep(0)
            return [(seq, Message("transcript.final", b"{}")) for seq in range(after + 1, last + 1)][: min(count, 7)]

        async def reader(at: int) -> None:
            while at < last:
                page = await recent.page(at, lambda: last, read)
                assert [seq for seq, _ in page] == list(range(at + 1, at + 1 + len(page)))
                assert page
                at = page[-1][0]

        readers = []
        for at, more in asks:
            readers.append(asyncio.create_task(reader(at)))
            await asyncio.sleep(0)
            for _ in range(more):
                last += 1
                recent.add(last, Message("transcript.final", b"{}"))
            assert len(recent) <= limit
        await asyncio.gather(*readers)
        if len(recent):
            held = recent.after(recent.first - 1)
            assert held is not None
            assert [seq for seq, _ in held] == list(range(recent.first, last + 1))

    asyncio.run(all_ask())


async def test_a_crowd_is_let_through_at_its_pace() -> None:
    clock = asyncio.get_running_loop().time
    pace = Pace(50, clock)
    began = clock()
    done: list[float] = []

    async def one() -> None:
        await pace.turn()
        done.append(clock() - began)

    await asyncio.gather(*(one() for _ in range(200)))
    assert sum(at < 0.01 for at in done) <= 51
    assert 2.9 <= max(done) <= 3.1
