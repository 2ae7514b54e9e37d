"""Money and limits: what ends a transcription by itself, before it is exceeded."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import LoopClock, MemoryRecords
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.transcription.domain.errors import CostCapReached, LimitReached, TranscriptionOff
from gateway.transcription.domain.limits import Limits, Overrides
from gateway.transcription.usecases.limits import TOLD_EVERY_S


@pytest.mark.parametrize(
    ("price", "cap", "paid"), [(0.01, 0.03, 0.03), (0.1, 0.3, 0.3), (0.01, 0.025, 0.02), (0.1, 0.1, 0.1)]
)
async def test_a_cost_cap_stops_the_work_before_it_is_exceeded(price: float, cap: float, paid: float) -> None:
    """Real time, 100 ms a chunk: every minute that the cap pays for is used, and no second more."""
    async with replica(cost_per_minute=price) as there:
        await there.service.start(start(cost_cap_usd=cap))
        track = there.source(SLUG).appear()
        [run] = there.service.runs
        while not run.finished.is_set():
            if there.source(SLUG).closed is None:
                track.speak(0.1)
            await asyncio.sleep(0.1)
        [used] = await there.status.usage(SLUG)
        assert used.total_cost == pytest.approx(paid)
        assert used.total_cost <= cap + 1e-9
        assert used.duration_seconds >= 60 * round(paid / price) - 4
        record = (await there.status.seen(SLUG)).record
        assert record.stop_reason is not None and record.stop_reason.startswith("cost cap of ")
        with pytest.raises(CostCapReached):
            await there.service.start(start(cost_cap_usd=cap))


async def test_a_cap_counts_what_earlier_transcriptions_cost() -> None:
    """A dime and two dimes are three dimes: a second run may spend what is left, to the cent."""
    async with replica(cost_per_minute=0.1) as there:
        await there.service.start(start())
        there.source(SLUG).appear().speak(61)
        await asyncio.sleep(1)
        await there.service.stop(SLUG)
        assert await there.records.usage.spent((await there.status.seen(SLUG)).record.session_id) == 0.2
        with pytest.raises(CostCapReached):
            await there.service.start(start(cost_cap_usd=0.29))
        assert (await there.service.start(start(cost_cap_usd=0.3))).created


async def test_a_limit_stops_the_work_before_it_is_exceeded_and_says_why() -> None:
    """Two speakers at once, in real time: nearly all of the minutes are used, and no second more."""
    async with replica(limits=Limits(session_minutes=2)) as there:
        await there.service.start(start())
        tracks = [there.source(SLUG).appear(name) for name in ("anna", "ben")]
        [run] = there.service.runs
        while not run.finished.is_set():
            if there.source(SLUG).closed is None:
                for track in tracks:
                    track.speak(0.1)
            await asyncio.sleep(0.1)
        used = sum(one.duration_seconds for one in await there.status.usage(SLUG))
        assert 120 - 8 <= used <= 120
        record = (await there.status.seen(SLUG)).record
        assert record.stop_reason == "limit of 2 minutes for one session reached"
        with pytest.raises(LimitReached) as refused:
            await there.service.start(start())
        assert refused.value.retry_after_s is None


async def test_a_daily_limit_is_shared_by_all_sessions_of_a_space_on_all_replicas() -> None:
    """Each sees the other's meters late, and still they do not exceed it together."""
    records = MemoryRecords(LoopClock())
    limits = Limits(space_minutes_per_day=5)
    async with (
        replica(records, limits=limits) as one,
        replica(records, session="another", limits=limits, owner="replica-2") as two,
    ):
        await one.service.start(start())
        await two.service.start(start(slug="another"))
        both = [(one.source(SLUG), one.source(SLUG).appear()), (two.source("another"), two.source("another").appear())]
        runs = [*one.service.runs, *two.service.runs]
        while not all(run.finished.is_set() for run in runs):
            for source, track in both:
                if source.closed is None:
                    track.speak(0.1)
            await asyncio.sleep(0.1)
        spent = await records.ledger.spent_today("default")
        assert 300 - 40 <= spent <= 300
        assert {run.reason for run in runs} == {"limit of 5 minutes a day for this space reached"}
        await two.keeper.set_space("default", Overrides(space_minutes_per_day=spent / 60))
        with pytest.raises(LimitReached) as refused:
            await two.service.start(start())
        assert refused.value.retry_after_s is not None
        assert 0 < refused.value.retry_after_s <= 86_400


async def test_a_space_may_have_more_or_less_than_others_and_running_work_notices() -> None:
    async with replica(limits=Limits(session_minutes=1)) as there:
        await there.keeper.set_space("default", Overrides(session_minutes=3))
        await there.service.start(start())
        track = there.source(SLUG).appear()
        for _ in range(900):
            track.speak(0.1)
            await asyncio.sleep(0.1)
        [run] = there.service.runs
        assert not run.finished.is_set()  # 90 s used, 180 allowed here
        await there.keeper.set_space("default", Overrides(transcription=False))
        await run.finished.wait()
        assert run.reason == "transcription is switched off in this space"
        with pytest.raises(TranscriptionOff):
            await there.service.start(start())


async def test_nobody_transcribes_where_it_is_switched_off() -> None:
    async with replica(limits=Limits(transcription=False)) as there:
        await there.keeper.set_space("default", Overrides(transcription=True))
        with pytest.raises(TranscriptionOff, match="on this gateway"):
            await there.service.start(start())


async def test_limits_as_last_read_count_while_the_database_is_away() -> None:
    async with replica(limits=Limits(session_minutes=1)) as there:
        await there.service.start(start())
        track = there.source(SLUG).appear()
        await asyncio.sleep(3)
        there.records.down = True
        [run] = there.service.runs
        while there.source(SLUG).closed is None:
            track.speak(0.1)
            await asyncio.sleep(0.1)
        there.records.down = False
        await run.finished.wait()
        assert run.reason is not None and run.reason.startswith("limit of 1 minutes")


async def test_overlapping_tracks_of_one_participant_are_paid_once() -> None:
    """An encoder reconnects: its new track begins while the old one still awaits its last words."""
    async with replica() as there:
        there.transcriber.flush_s = 5.0
        await there.service.start(start())
        old = there.source(SLUG).appear("anna")
        old.speak(10)
        old.hang_up()
        await until(lambda: bool(there.transcriber.links))
        new = there.source(SLUG).appear("anna")
        new.speak(20)
        await asyncio.sleep(6)  # the old one has ended, the new one goes on
        new.speak(5)
        await asyncio.sleep(0.1)
        stopped = await there.service.stop(SLUG)
        assert stopped is not None
        [used] = stopped.usage
        assert (used.duration_seconds, used.audio_chunks_sent) == (35, 3)


async def test_a_maximum_length_ends_it() -> None:
    async with replica(maximum_s=60) as there:
        await there.service.start(start())
        [run] = there.service.runs
        await asyncio.sleep(58)
        assert not run.finished.is_set()
        await until(run.finished.is_set, 5)
        assert run.reason == "maximum length of 60 s reached"


async def test_a_refused_start_is_told_once_an_hour_whatever_the_flood() -> None:
    """The database is not even asked again; when it does not answer, the next try tells it."""
    async with replica() as there:
        keeper, ledger = there.keeper, there.records.ledger
        for reason in ("cost cap", "cost cap", "minutes", "cost cap"):
            await keeper.refused("s-1", reason)
        await keeper.refused("s-2", "cost cap")
        assert ledger.told == [("s-1", "cost cap"), ("s-1", "minutes"), ("s-2", "cost cap")]
        await asyncio.sleep(TOLD_EVERY_S + 1)
        there.records.down = True
        await keeper.refused("s-1", "cost cap")
        there.records.down = False
        await keeper.refused("s-1", "cost cap")
        assert ledger.told[3:] == [("s-1", "cost cap")]
