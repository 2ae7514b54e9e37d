"""However a run ends, the stream here is told once: stopped, lost, or moved. Else its watchers wait for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

import pytest
from support.fakes import LoopClock, MemoryRecords, Replica
from support.transcribing import SLUG, replica, start

from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.handover import Heir, Late
from gateway.transcription.usecases.late import LateFinals
from gateway.transcription.usecases.run import LEASE_LOST, Run

HEIR = Heir("b", "run of b")
Way = Callable[[Replica, Run], Coroutine[None, None, None]]


async def stop(there: Replica, run: Run) -> None:
    run.stop("stopped by request")


async def release(there: Replica, run: Run) -> None:
    run.release()


async def lose(there: Replica, run: Run) -> None:
    run.abandon(LEASE_LOST)


async def delete(there: Replica, run: Run) -> None:
    there.service.session_gone(run.claimed.session_id)


async def end_source(there: Replica, run: Run) -> None:
    await run.source.close("gone")


async def steal(there: Replica, run: Run) -> None:
    """Another replica has the row, and nobody has told us."""
    row = there.records.tables.transcriptions[run.claimed.lease.transcription_id]
    row.owner, row.fence = "c", row.fence + 1


async def hand_over(there: Replica, run: Run) -> None:
    async def tell(replica: str, slug: str, late: Late) -> None:
        """It is heard."""

    try:
        await run.hand_over(HEIR, 0.0, LateFinals(run.claimed, HEIR, there.context, tell))
    except (SessionError, RecordsUnavailable):
        return
    there.service.let_go(run)


async def hang(there: Replica, run: Run) -> None:
    there.records.tables.hangs = True
    asyncio.get_running_loop().call_later(4.0, setattr, there.records.tables, "hangs", False)


async def doubt(there: Replica, run: Run) -> None:
    """The database is not certain to know us; it answers."""
    there.membership.is_certain = False
    asyncio.get_running_loop().call_later(20.0, setattr, there.membership, "is_certain", True)


async def fail(there: Replica, run: Run) -> None:
    async def broken(*_: object) -> bool:
        raise ValueError("a bug")

    run._books.finish = run._books.hand_over = broken  # type: ignore[method-assign, assignment]


ENDINGS: tuple[Way, ...] = (stop, release, lose, delete, end_source, hand_over)
TROUBLES: tuple[Way, ...] = (hang, doubt, steal, fail)


class Ends:
    """What the hub was told of the end of runs."""

    def __init__(self, there: Replica) -> None:
        self.told: list[str] = []
        hub, set_state = there.hub, there.hub.set_state

        def state(slug: str, state: str, reason: str | None) -> None:
            if state == "stopped":
                self.told.append(state)
            assert len(self.told) == (state == "stopped"), "its state is shown when it is not this run's any more"
            set_state(slug, state, reason)

        hub.set_state = state  # type: ignore[method-assign]
        for name in ("lose", "move"):
            setattr(hub, name, self._spied(name, getattr(hub, name)))

    def _spied(self, name: str, tell: Callable[[str], None]) -> Callable[[str], None]:
        def spy(slug: str) -> None:
            self.told.append(name)
            tell(slug)

        return spy


async def play(ways: list[tuple[float, Way]]) -> tuple[str, ...]:
    records = MemoryRecords(LoopClock())
    async with replica(records, owner="a", drain_s=2.0) as there:
        ends = Ends(there)
        await there.service.start(start("websocket"))
        there.source(SLUG).appear("anna").speak(1)
        run = there.service.run_of(SLUG)
        assert run is not None
        await asyncio.sleep(0.1)
        under_way: list[asyncio.Task[None]] = []
        for pause_s, way in ways:
            await asyncio.sleep(pause_s)
            under_way.append(asyncio.create_task(way(there, run), name=way.__name__))
        async with asyncio.timeout(300):
            await run.finished.wait()
            await asyncio.gather(*under_way)
        assert there.hub.runs_here(SLUG) is (there.service.run_of(SLUG) is not None)
        there.membership.is_certain = True
        return tuple(ends.told)


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        ([stop], "stopped"),
        ([release], "move"),
        ([lose], "lose"),
        ([delete], "move"),
        ([end_source], "stopped"),
        ([hand_over], "move"),
        ([hang, hand_over], "move"),
        ([steal, hand_over], "lose"),
        ([steal, stop], "lose"),
        ([doubt, stop], "stopped"),
        ([fail, stop], "stopped"),
    ],
    ids=lambda ways: "-".join(one.__name__ for one in ways) if isinstance(ways, list) else "",
)
async def test_the_stream_is_told_how_a_run_ends(ways: list[Way], told: str) -> None:
    assert await play([(0.0, way) for way in ways]) == (told,)


@pytest.mark.parametrize("seed", range(40))
async def test_it_is_told_once_whatever_comes_together(seed: int) -> None:
    drawn = random.Random(seed)
    chosen = drawn.sample(TROUBLES, drawn.randint(0, 2)) + drawn.choices(ENDINGS, k=drawn.randint(1, 3))
    ways = [(drawn.choice((0.0, 0.0, 0.01, 0.5, 2.5)), way) for way in chosen]
    assert len(await play(ways)) == 1
