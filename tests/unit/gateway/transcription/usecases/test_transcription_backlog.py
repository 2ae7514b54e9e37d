"""The database is slow or away: finals go to disk, people see them, the database gets them later, in order, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from support.fakes import BEGIN, FakeTransport, LoopClock, MemoryRecords
from support.fakes.accounts import MemoryUsageRecords
from support.fakes.ports import MemoryFinalRecords
from support.fakes.tables import Tables
from support.frames import messages, seqs
from support.virtual_time import run_virtually

from gateway.live.hub import Hub
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.finals import UnstoredFinal
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.domain.usage import Usage
from gateway.transcription.usecases.journal import Entry, FinalToStore, JournalTrouble, UsageToStore
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


class MemoryJournal:
    """A disk that may refuse or hang. What it holds outlives the recorder, as a disk outlives a process."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Entry]] = []
        self.refusal: str | None = None
        self.slow_s = 0.0
        self.appended: list[int] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self.entries)

    async def append(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(self.slow_s)
        if self.refusal is not None:
            raise JournalTrouble(self.refusal)
        for entry in entries:
            self.entries.append((self._next, entry))
            self._next += 1
            if isinstance(entry, FinalToStore):
                self.appended.append(entry.seq)

    async def oldest(self, count: int) -> tuple[list[Entry], int]:
        await asyncio.sleep(0)
        page = self.entries[:count]
        return [entry for _, entry in page], page[-1][0]

    async def forget(self, mark: int) -> None:
        await asyncio.sleep(0)
        self.entries = [(at, entry) for at, entry in self.entries if at > mark]

    async def finals(self, session_id: str, after: int, limit: int) -> list[UnstoredFinal]:
        found = {
            entry.seq: UnstoredFinal(entry.seq, entry.data, entry.epoch)
            for _, entry in self.entries
            if isinstance(entry, FinalToStore) and entry.session_id == session_id and entry.seq > after
        }
        return [found[seq] for seq in sorted(found)[:limit]]


class Desk:
    """A recorder with a disk, at work on one claimed session, and somebody watching."""

    def __init__(self, limit: int = 5_000) -> None:
        self.clock = LoopClock()
        self.records = SlowRecords(self.clock)
        self.journal = MemoryJournal()
        self.hub = Hub(self.clock.now)
        self.recorder = Recorder(self.records, self.hub, self.clock, self.journal, limit=limit)
        self.screen = FakeTransport()
        self.claimed: Claimed
        self.life = 0
        """Of several processes in a row; what one says the next does not."""
        self.participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def at_work(self, *, resolved: bool = True) -> AsyncIterator[None]:
        session = await self.records.sessions.create("abc", None, None)
        claimed, _ = await self.records.leases.claim(session, "rtmp", {}, None, "me", 30)
        assert claimed is not None
        self.claimed = claimed
        self.hub.begin("abc", claimed.numbering)
        watcher = self.hub.join("abc", self.screen, lambda code: None)
        await self.hub.channel("abc").catch_up(watcher, None, self._nothing)
        if resolved:
            self.participant.set_result("participant-1")
        async with self.running():
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _nothing(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    def final(self, seq: int) -> FinalToStore:
        at = BEGIN + timedelta(seconds=seq)
        said = Caption(f"{self.life}:{seq}", f"Number {seq}.", "en", True, Speaker("anna", None), at, at, 0, 0, 0.9, ())
        return FinalToStore(self.claimed.lease, self.claimed.session_id, "e", seq, said, None, self.hub.encode(said))

    def put(self, *numbers: int) -> None:
        for seq in numbers:
            self.recorder.put("abc", self.final(seq), self.participant)

    def reading(self, seconds: int) -> UsageToStore:
        used = Usage("u", "anna", BEGIN, None, seconds, 1, seconds, 0, 0, 0, 0.01, 0.01, 0)
        return UsageToStore(self.claimed, {"anna": None}, (used,))

    async def settled(self) -> None:
        await asyncio.wait_for(self.recorder.settled(self.claimed.lease.transcription_id), 1_000)

    @property
    def kept(self) -> list[int]:
        return [final.seq for final in self.records.stored("abc")]

    @property
    def shown(self) -> list[int]:
        return seqs(bytes(self.screen.arrived))


async def test_a_healthy_database_leaves_the_disk_alone() -> None:
    desk = Desk()
    async with desk.at_work():
        for seq in range(1, 20):
            desk.put(seq)
            await asyncio.sleep(0.2)
        assert desk.kept == desk.shown == list(range(1, 20))
        assert (desk.journal.appended, desk.recorder.behind_s, desk.recorder.pending) == ([], 0, 0)


async def test_people_see_finals_while_the_database_is_away_for_ten_minutes() -> None:
    """Each is on disk first; afterwards the backlog drains by itself, in order, and the disk is empty."""
    desk = Desk()
    async with desk.at_work():
        desk.put(1)
        await asyncio.sleep(1)
        desk.records.down = True
        for seq in range(2, 302):
            desk.put(seq)
            await asyncio.sleep(2)
            assert desk.shown[-1] == desk.journal.appended[-1] == seq
        assert desk.recorder.behind_s == pytest.approx(600, abs=3)
        assert desk.kept == [1]
        desk.records.down = False
        await desk.settled()
        assert desk.kept == desk.shown == list(range(1, 302))
        assert (len(desk.journal), desk.recorder.behind_s, desk.recorder.stored) == (0, 0, 301)
        desk.put(302)
        await asyncio.sleep(0.1)
        assert desk.kept[-1] == 302
        assert desk.journal.appended[-1] == 301


async def test_a_final_waits_for_a_slow_database_no_longer_than_our_patience() -> None:
    """And is stored once, although the first attempt succeeds in the end."""
    desk = Desk()
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
        assert desk.kept == [1, 2]
        assert desk.shown == [1, 2]


async def test_an_answer_that_is_lost_doubles_nothing() -> None:
    """The rows were stored, the connection broke before we were told."""
    desk = Desk()
    async with desk.at_work():
        desk.records.finals.answer_lost = True
        desk.put(1, 2)
        await asyncio.sleep(10)
        assert desk.shown == [1, 2]
        desk.records.finals.answer_lost = False
        await desk.settled()
        assert desk.kept == desk.shown == [1, 2]


async def test_a_bug_in_storing_stops_no_caption(caplog: pytest.LogCaptureFixture) -> None:
    """It is told with its trace, and tried again as trouble is."""
    desk = Desk()
    async with desk.at_work():
        desk.records.finals.broken = True
        for seq in range(1, 5):
            desk.put(seq)
            await asyncio.sleep(1)
        assert desk.shown == [1, 2, 3, 4]
        assert "nobody foresaw this" in caplog.text
        desk.records.finals.broken = False
        await desk.settled()
        assert desk.kept == [1, 2, 3, 4]


async def test_a_speaker_whose_row_is_not_known_yet_holds_nobody_up() -> None:
    """The final goes to disk without it; when it is stored, the row is asked for again."""
    desk = Desk()
    async with desk.at_work(resolved=False):
        desk.put(1)
        await asyncio.sleep(1)
        assert desk.shown == [1]
        desk.participant.set_result(await desk.records.sessions.join(desk.claimed.session_id, Speaker("anna", None)))
        await desk.settled()
        assert [final.participant_id for final in desk.records.stored("abc")] == [desk.participant.result()]


async def test_latecomers_get_what_is_only_on_disk() -> None:
    """By number, after the one they have, a page at a time."""
    desk = Desk()
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
    desk = Desk()
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
        assert desk.kept == desk.shown == [1, 2, 3, 4]


async def test_a_database_that_is_back_ends_the_trouble_with_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is in memory only any more; a second outage is told again."""
    desk = Desk()
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
        assert desk.kept == desk.shown == [1, 2]


async def test_what_neither_takes_is_bounded() -> None:
    """With database and disk away the sources wait at last; when either is back, they go on and nothing is lost."""
    desk = Desk(limit=10)
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
        assert desk.kept == list(range(1, 11))


async def test_a_disk_that_hangs_is_treated_as_one_that_refuses() -> None:
    """Captions wait two seconds for it, once; the write that comes late doubles nothing."""
    desk = Desk()
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
        assert desk.kept == desk.shown == [1, 2]


async def test_a_lease_that_was_lost_meanwhile_is_told() -> None:
    """What people saw and the database will not take is counted and logged; the run is told to end."""
    desk = Desk()
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
        assert (desk.kept, desk.recorder.refused, len(desk.journal)) == ([], 2, 0)
        assert [stray.seq for stray in desk.records.tables.strays] == [1, 2]  # the words stay, without their numbers


async def test_a_session_that_the_app_has_deleted_meanwhile_is_told() -> None:
    """Its words are no strays: there is no session that they could be numbered in."""
    desk = Desk()
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
    desk = Desk()
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
    desk = Desk()
    async with desk.at_work():
        desk.records.down = True
        desk.put(*range(1, 451))
        await desk.recorder.checkpoint(desk.reading(5))
        await asyncio.sleep(1)
        assert desk.shown == list(range(1, 451))
    desk.records.down = False
    heir = Recorder(desk.records, desk.hub, desk.clock, desk.journal)
    assert await heir.recover() == 451
    assert desk.kept == list(range(1, 451))
    assert {final.participant_id for final in desk.records.stored("abc")} == {"participant-1"}
    assert len(desk.journal) == 0
    assert heir.stored == 450


async def test_a_recorder_that_is_stopped_in_an_outage_loses_nothing_it_has_shown() -> None:
    desk = Desk()
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
        desk = Desk()
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
            seq = max(desk.kept, default=0)
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
        assert desk.kept == list(range(1, len(desk.kept) + 1))
        assert seen() <= stored()
        assert len(desk.shown) == len(seen()) > 20

    run_virtually(story())


async def test_a_reading_that_is_given_up_leaves_nothing_to_wait_for() -> None:
    """A run that ends while its beat writes a reading cancels it, takes the last one and settles: at once."""
    desk = Desk()
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
