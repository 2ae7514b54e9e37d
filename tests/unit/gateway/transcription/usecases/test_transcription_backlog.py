"""The database is slow or away: finals go to disk, people see them, the database gets them later, in order, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from support.fakes import BEGIN, LoopClock, MemoryRecords
from support.fakes.accounts import MemoryUsageRecords
from support.fakes.journal import MemoryJournal
from support.fakes.ports import MemoryFinalRecords
from support.fakes.tables import Tables
from support.frames import messages
from support.recording import Desk
from support.virtual_time import run_virtually

from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import FinalToStore, UsageToStore
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import StoreOutcome


class SlowFinals(MemoryFinalRecords):
    """Finals that take their time, fail after having been stored, or fail in a way that was not foreseen."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.slow_s = 0.0
        self.answer_lost = False
        self.broken = False
        self.batches: list[list[int]] = []

    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        self.batches.append([final.seq for final in finals])
        await asyncio.sleep(self.slow_s)
        if self.broken:
            raise RuntimeError("nobody foresaw this")
        outcome = await super().store(finals)
        if self.answer_lost:
            raise RecordsUnavailable("the answer was lost")
        return outcome


class SlowUsage(MemoryUsageRecords):
    """Readings that wait while a test holds the lock."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.lock = asyncio.Lock()

    async def save(self, claimed: Claimed, participant_ids: Mapping[str, str | None], usage: Sequence[Usage]) -> None:
        async with self.lock:
            await super().save(claimed, participant_ids, usage)


class SlowRecords(MemoryRecords):
    finals: SlowFinals
    usage: SlowUsage

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock, finals=SlowFinals, usage=SlowUsage)


class SlowDesk(Desk):
    """With a database that has its moods, and a disk."""

    records: SlowRecords

    def __init__(self, limit: int = 5_000) -> None:
        self.journal = MemoryJournal()
        super().__init__(limit, records=SlowRecords(LoopClock()), journal=self.journal)

    def reading(self, seconds: int) -> UsageToStore:
        used = Usage("u", "anna", BEGIN, None, seconds, 1, seconds, 0, 0, 0, 0.01, 0.01, 0)
        return UsageToStore(self.claimed, {"anna": None}, (used,))


async def test_a_healthy_database_leaves_the_disk_alone() -> None:
    desk = SlowDesk()
    async with desk.at_work():
        for seq in range(1, 20):
            desk.put(seq)
            await asyncio.sleep(0.2)
        assert desk.stored == desk.shown == list(range(1, 20))
        assert (desk.journal.appended, desk.recorder.behind_s, desk.recorder.pending) == ([], 0, 0)


async def test_people_see_finals_while_the_database_is_away_for_ten_minutes() -> None:
    """Each is on disk first; afterwards the backlog drains by itself, in order, and the disk is empty."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.put(1)
        await asyncio.sleep(1)
        desk.records.down = True
        for seq in range(2, 302):
            desk.put(seq)
            await asyncio.sleep(2)
            assert desk.shown[-1] == desk.journal.appended[-1] == seq
        assert desk.recorder.behind_s == pytest.approx(600, abs=3)
        assert desk.stored == [1]
        desk.records.down = False
        await desk.settled()
        assert desk.stored == desk.shown == list(range(1, 302))
        await asyncio.sleep(0.1)  # whose turn comes first is Python's affair
        assert (len(desk.journal), desk.recorder.behind_s, desk.recorder.stored) == (0, 0, 301)
        desk.put(302)
        await asyncio.sleep(0.1)
        assert desk.stored[-1] == 302
        assert desk.journal.appended[-1] == 301


async def test_a_final_waits_for_a_slow_database_no_longer_than_our_patience() -> None:
    """And is stored once, although the first attempt succeeds in the end."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.finals.slow_s = 25
        desk.put(1)
        await asyncio.sleep(0.29)
        assert desk.shown == []
        await asyncio.sleep(0.02)
        assert desk.shown == desk.journal.appended == [1]
        desk.put(2)  # is not offered to the database while an older one waits
        await asyncio.sleep(1)
        assert desk.shown == desk.journal.appended == [1, 2]
        assert desk.records.finals.batches == [[1]]
        await desk.settled()
        assert desk.stored == [1, 2]
        assert desk.shown == [1, 2]


async def test_an_answer_that_is_lost_doubles_nothing() -> None:
    """The rows were stored, the connection broke before we were told."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.finals.answer_lost = True
        desk.put(1, 2)
        await asyncio.sleep(10)
        assert desk.shown == [1, 2]
        desk.records.finals.answer_lost = False
        await desk.settled()
        assert desk.stored == desk.shown == [1, 2]


async def test_an_outage_is_told_again_each_minute_with_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.down = True
        desk.put(1)
        desk.put(2)
        await asyncio.sleep(190)
        told = [line.getMessage() for line in caplog.records if "gateway check" in line.getMessage()]
        assert [line.partition(" s;")[0].rpartition(" ")[2] for line in told] == ["60", "120", "180"]
        assert all("2 finals and meter readings wait" in line for line in told)
        desk.records.down = False
        await desk.settled()
        await asyncio.sleep(120)
        assert len([line for line in caplog.records if "gateway check" in line.getMessage()]) == 3


async def test_a_bug_in_storing_stops_no_caption(caplog: pytest.LogCaptureFixture) -> None:
    """It is told with its trace, and tried again as trouble is."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.finals.broken = True
        for seq in range(1, 5):
            desk.put(seq)
            await asyncio.sleep(1)
        assert desk.shown == [1, 2, 3, 4]
        assert "nobody foresaw this" in caplog.text
        desk.records.finals.broken = False
        await desk.settled()
        assert desk.stored == [1, 2, 3, 4]


async def test_a_speaker_whose_row_is_not_known_yet_holds_nobody_up() -> None:
    """The final goes to disk without it; when it is stored, the row is asked for again."""
    desk = SlowDesk()
    async with desk.at_work(resolved=False):
        desk.put(1)
        await asyncio.sleep(1)
        assert desk.shown == [1]
        desk.participant.set_result(await desk.records.sessions.join(desk.claimed.session_id, Speaker("anna", None)))
        await desk.settled()
        assert [final.participant_id for final in desk.records.stored("abc")] == [desk.participant.result()]


async def test_finals_of_a_lost_lease_are_kept_unseen_behind_the_next_owners() -> None:
    """What the provider had heard already comes for a few seconds after the loss; the next owner cannot hear it."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.put(1)
        await desk.settled()
        desk.records.steal("abc", "replica-2")
        desk.recorder.abandon(desk.claimed.lease)
        desk.put(2)
        await desk.settled()
        desk.put(3)
        await desk.settled()
        assert (desk.shown, desk.stored) == ([1], [1])
        assert [final.caption.text for final in desk.records.tables.strays] == ["Number 2.", "Number 3."]


async def test_latecomers_get_what_is_only_on_disk() -> None:
    """By number, after the one they have, a page at a time."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.put(1)
        await asyncio.sleep(1)
        desk.records.down = True
        desk.put(2, 3)
        await asyncio.sleep(1)
        desk.journal.refusal = "full"
        desk.put(4, 5)
        await asyncio.sleep(1)
        session = desk.claimed.session_id
        unsaved = await desk.recorder.unstored(session, 0, 100)
        assert [final.seq for final in unsaved] == [2, 3, 4, 5]
        assert unsaved[0].data == desk.final(2).data
        assert [final.seq for final in await desk.recorder.unstored(session, 3, 1)] == [4]
        assert await desk.recorder.unstored("another session", 0, 100) == []
        desk.records.down = False
        await desk.settled()
        assert await desk.recorder.unstored(session, 0, 100) == []


async def test_a_full_disk_is_told_and_captions_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """In memory meanwhile, in order; on disk again as soon as it takes them."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.down = True
        desk.put(1)
        await asyncio.sleep(1)
        desk.journal.refusal = "no room for the spool; free some"
        for seq in (2, 3):
            desk.put(seq)
            await asyncio.sleep(3)
        assert desk.shown == [1, 2, 3]
        assert desk.recorder.trouble == "no room for the spool; free some"
        assert caplog.text.count("kept in memory only: no room") == 1
        desk.journal.refusal = None
        await asyncio.sleep(3)
        assert desk.recorder.trouble is None
        assert desk.journal.appended == [1, 2, 3]
        desk.put(4)
        await asyncio.sleep(1)
        assert desk.journal.appended == [1, 2, 3, 4]
        desk.records.down = False
        await desk.settled()
        assert desk.stored == desk.shown == [1, 2, 3, 4]


async def test_a_database_that_is_back_ends_the_trouble_with_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is in memory only any more; a second outage is told again."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.journal.refusal = "full"
        for seq in (1, 2):
            desk.records.down = True
            desk.put(seq)
            await asyncio.sleep(1)
            assert desk.recorder.trouble == "full"
            desk.records.down = False
            await desk.settled()
            assert desk.recorder.trouble is None
        assert caplog.text.count("kept in memory only") == 2
        assert desk.stored == desk.shown == [1, 2]


async def test_what_neither_takes_is_bounded() -> None:
    """With database and disk away the sources wait at last; when either is back, they go on and nothing is lost."""
    desk = SlowDesk(limit=10)
    async with desk.at_work():
        desk.records.down, desk.journal.refusal = True, "full"
        for seq in range(1, 11):
            await desk.recorder.room()
            desk.put(seq)
            await asyncio.sleep(0.5)
        waiting = asyncio.create_task(desk.recorder.room())
        await asyncio.sleep(60)
        assert not waiting.done()
        assert desk.shown == list(range(1, 11))
        desk.journal.refusal = None
        await asyncio.wait_for(waiting, 5)
        desk.records.down = False
        await desk.settled()
        assert desk.stored == list(range(1, 11))


async def test_a_disk_that_hangs_is_treated_as_one_that_refuses() -> None:
    """Captions wait two seconds for it, once; the write that comes late doubles nothing."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.down, desk.journal.slow_s = True, 30
        desk.put(1)
        await asyncio.sleep(2.5)
        assert desk.shown == [1]
        assert "has not answered" in (desk.recorder.trouble or "")
        desk.put(2)
        await asyncio.sleep(0.5)
        assert desk.shown == [1, 2]
        desk.journal.slow_s = 0
        await asyncio.sleep(60)
        assert set(desk.journal.appended) == {1, 2}
        desk.records.down = False
        await desk.settled()
        assert desk.stored == desk.shown == [1, 2]


async def test_a_lease_that_was_lost_meanwhile_is_told() -> None:
    """What people saw and the database will not take is counted and logged; the run is told to end."""
    desk = SlowDesk()
    told: list[str] = []
    desk.recorder.on_fenced = told.append
    async with desk.at_work():
        desk.records.down = True
        desk.put(1, 2)
        await asyncio.sleep(1)
        desk.records.steal("abc", "somebody else")
        desk.records.down = False
        await desk.settled()
        assert told == [desk.claimed.lease.transcription_id]
        assert (desk.stored, desk.recorder.refused, len(desk.journal)) == ([], 2, 0)
        assert [stray.seq for stray in desk.records.tables.strays] == [1, 2]  # the words stay, without their numbers


async def test_a_session_that_the_app_has_deleted_meanwhile_is_told() -> None:
    """Its words are no strays: there is no session that they could be numbered in."""
    desk = SlowDesk()
    gone: list[str] = []
    desk.recorder.on_gone = gone.append
    async with desk.at_work():
        desk.records.down = True
        desk.put(1, 2)
        await asyncio.sleep(1)
        desk.records.delete_session_in_app("abc")
        desk.records.down = False
        await desk.settled()
        assert gone == [desk.claimed.session_id]
        assert (desk.recorder.refused, desk.recorder.stored, len(desk.journal)) == (2, 0, 0)
        assert desk.records.tables.strays == []


async def test_meter_readings_go_the_same_way() -> None:
    """On disk while the database is away; of several the latest counts, and `settled` waits for it."""
    desk = SlowDesk()
    async with desk.at_work():
        await desk.recorder.checkpoint(desk.reading(10))
        assert [
            used.duration_seconds
            for used in await desk.records.usage.of_transcription(desk.claimed.lease.transcription_id)
        ] == [10]
        assert not len(desk.journal)
        desk.records.down = True
        for seconds in (20, 30):
            await desk.recorder.checkpoint(desk.reading(seconds))
        assert len(desk.journal) == desk.recorder.pending == 2
        desk.records.down = False
        await desk.settled()
        assert [
            used.duration_seconds
            for used in await desk.records.usage.of_transcription(desk.claimed.lease.transcription_id)
        ] == [30]


async def test_a_restart_brings_what_was_shown_to_the_database() -> None:
    """Before anything is numbered anew: `recover` returns when the disk is empty."""
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.down = True
        desk.put(*range(1, 451))
        await desk.recorder.checkpoint(desk.reading(5))
        await asyncio.sleep(1)
        assert desk.shown == list(range(1, 451))
    desk.records.down = False
    heir = Recorder(desk.records, desk.hub, desk.clock, desk.journal)
    assert await heir.recover() == 451
    assert desk.stored == list(range(1, 451))
    assert {final.participant_id for final in desk.records.stored("abc")} == {"participant-1"}
    assert len(desk.journal) == 0
    assert heir.stored == 450


async def test_a_recorder_that_is_stopped_in_an_outage_loses_nothing_it_has_shown() -> None:
    desk = SlowDesk()
    async with desk.at_work():
        desk.records.finals.slow_s = 1_000
        for seq in range(1, 4):
            desk.put(seq)
            await asyncio.sleep(1)
    assert desk.shown == desk.journal.appended == [1, 2, 3]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_database_and_disk_do_everything_is_stored_once_in_order(seed: int) -> None:
    """Random outages of both, lost answers, delays, and killed processes."""

    async def story() -> None:
        dice = random.Random(seed)
        desk = SlowDesk()
        seq = 0

        def seen() -> set[tuple[int, str]]:
            said = messages(bytes(desk.screen.arrived))
            return {(one["seq"], one["data"]["utteranceId"]) for one in said if one["type"] == "transcript.final"}

        def stored() -> set[tuple[int, str]]:
            return {(final.seq, final.caption.utterance_id) for final in desk.records.stored("abc")}

        async with desk.at_work():
            pass  # claimed; the processes below do the work
        for desk.life in range(4):
            desk.recorder = Recorder(desk.records, desk.hub, desk.clock, desk.journal)
            desk.records.down = desk.records.finals.answer_lost = False
            desk.records.finals.slow_s = desk.journal.slow_s = 0
            await desk.recorder.recover()
            assert seen() <= stored()
            seq = max(desk.stored, default=0)
            async with desk.running():
                for _ in range(dice.randrange(10, 40)):
                    await desk.recorder.room()
                    seq += 1
                    desk.put(seq)
                    if dice.random() < 0.2:
                        desk.records.down = dice.random() < 0.5
                        desk.records.finals.answer_lost = dice.random() < 0.3
                        desk.records.finals.slow_s = dice.choice([0, 0, 0.1, 1, 40])
                        desk.journal.slow_s = dice.choice([0, 0, 0.01, 1])
                    await asyncio.sleep(dice.expovariate(2))
                assert desk.recorder.trouble is None
            await asyncio.sleep(2)  # a write that was under way reaches the disk or not, but not after the next start
        desk.records.down = desk.records.finals.answer_lost = False
        await Recorder(desk.records, desk.hub, desk.clock, desk.journal).recover()
        assert desk.stored == list(range(1, len(desk.stored) + 1))
        assert seen() <= stored()
        assert len(desk.shown) == len(seen()) > 20

    run_virtually(story())


async def test_a_reading_that_is_given_up_leaves_nothing_to_wait_for() -> None:
    """A run that ends while its beat writes a reading cancels it, takes the last one and settles: at once."""
    desk = SlowDesk()
    async with desk.at_work():
        await desk.records.usage.lock.acquire()
        beat = asyncio.create_task(desk.recorder.checkpoint(desk.reading(1)))
        await asyncio.sleep(0.1)
        beat.cancel()
        with suppress(asyncio.CancelledError):
            await beat
        desk.records.usage.lock.release()
        await desk.recorder.checkpoint(desk.reading(2))
        await desk.settled()
        assert desk.recorder.pending == 0
