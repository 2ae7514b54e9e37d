"""A transcription changes hands between two living replicas: no word is lost, doubled, or without its number."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from support.changing_hands import Network, pair
from support.fakes import LoopClock, MemoryRecords
from support.transcribing import SLUG, replica, start, told, watch
from support.waiting import until

from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.errors import NoAnswer, NotReady, RunsElsewhere, SourceUnavailable
from gateway.transcription.domain.handover import HandedOver, Heir, Stream
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.adoption import Past
from gateway.transcription.usecases.speech import SpeechLost


async def test_the_heir_goes_on_with_numbers_epoch_and_key() -> None:
    async with pair() as two:
        before = await two.records.transcriptions.numbering(two.records.tables.sessions[SLUG].id)
        await two.fetch()
        assert two.runs_at() == "b"
        assert two.a.source(SLUG).closed
        await asyncio.sleep(0.1)
        screen = await watch(two.b)
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        two.b.link.final("two", "b:1")
        await until(lambda: two.stored() == [(1, "one"), (2, "two")])
        after = await two.records.transcriptions.numbering(two.records.tables.sessions[SLUG].id)
        assert before and after and before.epoch == after.epoch
        await until(lambda: [final["text"] for final in told(screen, "transcript.final")] == ["two"])
        record = await two.records.transcriptions.newest(SLUG)
        assert record and not record.is_stopped
        assert (await two.b.service.start(start())).created is False


async def test_words_on_their_way_are_numbered_by_the_heir_once() -> None:
    async with pair() as two:
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 2.0, ("late one", "late two")
        await two.fetch()
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        two.b.link.final("new", "b:1")
        await until(lambda: len(two.stored()) == 4)
        assert two.stored() == [(1, "one"), (2, "new"), (3, "late one"), (4, "late two")]
        for late in list(two.network.told):  # told again, for example because an answer was lost
            await two.network.handovers["b"].hear(SLUG, late)
        await asyncio.sleep(1)
        assert len(two.stored()) == 4


async def test_the_heir_counts_the_audio_that_the_former_owner_gave_up_before_and_after_once() -> None:
    async with pair() as two:
        two.a.transcriber.flush_s = 1.0
        two.a.link.hear(SpeechLost(0.0, 1.5))
        await two.fetch()
        [run] = two.b.service.runs
        assert run.counts.lost_audio_s == 1.5
        two.a.link.hear(SpeechLost(1.5, 3.5))
        await until(lambda: any(late.is_last for late in two.network.told))
        await until(lambda: run.counts.lost_audio_s == 3.5)
        for late in list(two.network.told):
            await two.network.handovers["b"].hear(SLUG, late)
        assert run.counts.lost_audio_s == 3.5


@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_stop_soon_after_a_hand_over_waits_for_the_former_owners_finals(is_cut: bool) -> None:
    """Or it says that some may be missing."""
    async with pair() as two:
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("late",)
        await two.fetch()
        two.network.cut |= {"tell_late"} if is_cut else set()
        await asyncio.sleep(0.1)
        screen = await watch(two.b)
        stopped = await two.b.service.stop(SLUG)
        assert stopped is not None
        assert stopped.finals_complete is not is_cut
        if not is_cut:
            assert two.stored() == [(1, "one"), (2, "late")]
            assert [final["text"] for final in told(screen, "transcript.final")] == ["late"]


async def test_the_owner_waits_for_a_pause_but_not_for_ever() -> None:
    async with pair() as two:
        two.a.link.is_speaking = True
        began = two.a.clock.monotonic()
        asking = asyncio.create_task(two.fetch())
        await asyncio.sleep(0.5)
        assert two.runs_at() == "a"
        two.a.link.is_speaking = False
        await asking
        assert two.a.clock.monotonic() - began < 0.7
    async with pair() as two:
        two.a.link.is_speaking = True
        began = two.a.clock.monotonic()
        await two.fetch()
        assert two.runs_at() == "b"
        assert 1.0 <= two.a.clock.monotonic() - began < 1.2


@pytest.mark.parametrize(("ends_s", "took_s"), [(0.1, 0.5), (0.7, 0.7)])
async def test_when_no_pause_comes_the_owner_leaves_at_the_end_of_a_word(ends_s: float, took_s: float) -> None:
    async with pair() as two:
        two.a.link.is_speaking = True
        began = two.a.clock.monotonic()
        asyncio.get_running_loop().call_later(ends_s, setattr, two.a.link, "is_in_word", False)
        await two.fetch()
        assert two.runs_at() == "b"
        assert took_s <= two.a.clock.monotonic() - began < took_s + 0.15


async def test_the_bill_is_one_and_exact() -> None:
    async with pair() as two:
        await asyncio.sleep(7)  # a checkpoint has been written
        two.a.link.sent_samples += 4_321  # and this is in none
        two.a.link.partial("tw")
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("two",)
        link = two.a.link
        asyncio.get_running_loop().call_later(0.5, lambda: setattr(link, "sent_samples", link.sent_samples + 999))
        await two.fetch()
        sent_before = link.sent_samples
        two.b.source(SLUG).appear().speak(2)
        await until(lambda: len(two.stored()) == 2)
        await until(lambda: two.network.told[-1].is_last)
        await asyncio.sleep(1)
        run = two.b.service.run_of(SLUG)
        assert run is not None
        [meter] = run._tracks.read()._meters.values()
        assert meter.samples_sent == sent_before + 999 + 2 * 16_000 == 3 * 16_000 + 4_321 + 999 + 32_000
        assert (meter.finals, meter.partials) == (2, 1)
        await two.b.service.stop(SLUG)
        [(_, _, used)] = two.records.metered()
        assert used.final_transcripts == 2


async def test_streams_of_senders_go_along() -> None:
    async with pair() as two:
        stream = Stream("mic", "anna", 16_000, 1, 48_000, datetime(2026, 1, 5, tzinfo=UTC))
        two.a.source(SLUG).streams = [stream]
        await two.fetch()
        assert two.b.source(SLUG).streams == [stream]


async def test_what_a_sender_said_last_is_heard_once_and_counts() -> None:
    """It goes on behind its last sample, so nothing of what the owner has heard comes to the heir as well."""
    async with pair("websocket") as two:
        [track] = two.a.source(SLUG).appeared
        assert track.anchor is not None
        track.ends_at = track.anchor + timedelta(seconds=2.1)
        two.a.link.is_speaking = True
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("four",)  # from 1.0 to 2.0 s
        await two.network.handovers["b"].accept(SLUG, "a", 1, 0.0)
        assert two.b.source(SLUG).skipped == []
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        two.b.link.final("four", "b:1")
        await until(lambda: [text for _, text in two.stored()] == ["one", "four", "four"])


async def test_a_lost_answer_was_a_yes() -> None:
    async with pair() as two:
        two.network.lost.add("ask_for")
        await two.fetch()
        assert two.runs_at() == "b"
        assert two.records.tables.transcriptions[two.b.service.runs[0].claimed.lease.transcription_id].owner == "b"


async def test_what_nobody_runs_is_given_up_and_taken_again() -> None:
    """The heir was told by nobody that it is the heir."""
    async with pair() as two:
        await two.network.handovers["a"].give(SLUG, 1, Heir("b", "run of b"), 0)
        assert two.runs_at() == ""
        await until(lambda: two.runs_at() != "")


async def test_an_owner_that_does_not_answer_keeps_it() -> None:
    async with pair() as two:
        two.network.cut.add("ask_for")
        with pytest.raises(RunsElsewhere):
            await two.fetch()
        assert two.runs_at() == "a"
        two.a.link.final("two")
        await until(lambda: two.stored() == [(1, "one"), (2, "two")])


async def test_an_owner_that_is_found_dead_meanwhile_is_not_the_last_word() -> None:
    """An encoder waits while a frozen owner is asked in vain; another replica adopts, and is asked at once."""
    async with pair() as two:
        [row] = two.records.tables.transcriptions.values()

        class Frozen:
            async def give(self, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
                row.owner = "a"
                raise NoAnswer("frozen")

        two.network.handovers["frozen"] = Frozen()  # type: ignore[assignment]
        row.owner = "frozen"
        began = LoopClock().monotonic()
        await two.fetch()
        assert two.runs_at() == "b"
        assert LoopClock().monotonic() - began < 2, "the looks for a lost answer end when somebody else has it"


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_publisher_waits_for_the_end_of_a_dying_owners_lease(hangs: bool) -> None:
    """Frozen or killed: it does not beat either, and whoever adopts it takes the publisher at once; here, we do."""
    async with pair() as two:
        [row] = two.records.tables.transcriptions.values()
        row.owner, now = "dead", LoopClock().monotonic()
        two.network.last_beat["dead"] = now - 1

        class Dead:
            async def give(self, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
                await asyncio.sleep(60 * hangs)
                raise NoAnswer("dead")

        two.network.handovers["dead"] = Dead()  # type: ignore[assignment]
        fetching = asyncio.create_task(two.fetch())
        await asyncio.sleep(6)
        assert not fetching.done()
        two.a.membership.inherits = two.a.membership.room = 0  # so b is the heir
        two.records.tables.lease(row, -1)
        await until(lambda: two.b.service.run_of(SLUG) is not None)
        adopted_at = LoopClock().monotonic()
        await fetching
        assert LoopClock().monotonic() - adopted_at < 0.3
        assert two.network.handovers["b"].taken == 0, "it was adopted"


async def test_a_publisher_is_refused_when_its_owner_lives_or_nobody_takes_over() -> None:
    for last_beat, least_s, most_s in ((None, 3.0, 3.5), (-1.0, 8.0, 8.5)):
        async with pair() as two:
            two.network.cut.add("ask_for")
            now = LoopClock().monotonic()
            if last_beat is not None:
                two.network.last_beat["a"] = now + last_beat
            with pytest.raises(RunsElsewhere):
                await two.fetch()
            assert least_s <= LoopClock().monotonic() - now < most_s


async def test_whoever_is_cut_off_from_the_database_refuses_a_publisher_at_once() -> None:
    async with pair() as two:
        two.records.tables.hangs = True
        two.b.membership.is_certain = False
        with pytest.raises(NotReady, match="cut off"):
            async with asyncio.timeout(0.1):
                await two.fetch()
        two.records.tables.hangs = False


@pytest.mark.parametrize("hears", [True, False])
async def test_a_publisher_takes_nothing_along_to_a_replica_that_could_not_hear_it(hears: bool) -> None:
    """Its audio is for the owner, wherever it comes in."""
    async with pair() as two:

        async def has_the_provider() -> bool:
            return hears

        two.network.handovers["b"]._hears = has_the_provider
        assert await two.network.handovers["b"].fetch([two.key]) is not hears
        assert two.runs_at() == ("b" if hears else "a")
        assert await two.network.handovers["b"].fetch(["of nobody"]) is False


async def test_late_words_of_an_heir_that_is_gone_are_kept_without_a_number() -> None:
    async with pair() as two:
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("late",)
        await two.fetch()
        two.network.cut.add("tell_late")
        await until(lambda: [stray.caption.text for stray in two.records.tables.strays] == ["late"])


async def test_a_database_that_does_not_answer_leaves_it_where_it_is_or_to_the_next() -> None:
    async with pair() as two:
        two.a.transcriber.last_words = ("late",)
        asking = asyncio.create_task(two.network.handovers["a"].give(SLUG, 1, Heir("b", "run of b"), 0))
        two.records.tables.hangs = True
        await asyncio.sleep(4)
        two.records.tables.hangs = False
        with pytest.raises(NotReady):
            await asking
        await until(lambda: two.stored() == [(1, "one"), (2, "late")])
        await until(lambda: [row.fence for row in two.records.tables.transcriptions.values()] == [2])  # adopted


@pytest.mark.parametrize("is_given", [False, True])
async def test_a_publisher_waits_for_an_owner_that_cannot_close_its_books(is_given: bool) -> None:
    """It gives up what it has a moment later, or the database has given it to the heir already."""
    async with pair() as two:
        run = two.a.service.run_of(SLUG)
        assert run is not None
        leases, lease = two.records.leases, run.claimed.lease

        async def fails(heir: Heir) -> None:
            if is_given:
                await leases.hand_over(lease, "a", heir, 30.0)
            raise NotReady("the books cannot be closed now")

        run._books.give_away = fails  # type: ignore[method-assign, assignment]
        two.a.membership.inherits = two.b.membership.inherits = False
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 2.0, ()
        await two.fetch()
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        two.b.link.final("two", "b:1")
        await until(lambda: two.stored() == [(1, "one"), (2, "two")])
        await until(lambda: two.runs_at() == "b")


async def test_a_publisher_is_told_when_it_comes_to_an_end() -> None:
    async with pair() as two:
        two.a.transcriber.flush_s = 1.0
        stopping = asyncio.create_task(two.a.service.stop(SLUG))
        await asyncio.sleep(0.1)
        began = LoopClock().monotonic()
        with pytest.raises(NotReady, match="ending"):
            await two.fetch()
        await stopping
        assert LoopClock().monotonic() - began < 3.0


async def test_an_heir_that_asks_again_before_it_has_an_answer_gets_the_same() -> None:
    """Its first question, or the answer, was cut off; the owner waits for a pause meanwhile."""
    async with pair() as two:
        two.a.link.is_speaking = True
        heir = Heir("b", "run of b")
        first = asyncio.create_task(two.network.handovers["a"].give(SLUG, 1, heir, 1.0))
        await asyncio.sleep(0.5)
        first.cancel()
        handed = await two.network.handovers["a"].give(SLUG, 1, heir, 1.0)
        assert handed.fence == 2
        assert await two.network.handovers["a"].give(SLUG, 1, heir, 1.0) is handed
        assert two.network.handovers["a"].given == 1


async def test_what_comes_late_is_for_the_run_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been given on while the speaker's row was made."""
    async with pair() as two:
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("late",)
        await two.fetch()
        await until(lambda: bool(two.network.told))
        [late] = [late for late in two.network.told if late.captions]
        await until(lambda: len(two.stored()) == 2)
        join = two.records.sessions.join

        async def slow(session_id: str, speaker: Speaker) -> str:
            monkeypatch.undo()
            await two.network.handovers["b"].give(SLUG, 2, Heir("a", "run of a"), 0)
            return await join(session_id, speaker)

        monkeypatch.setattr(two.records.sessions, "join", slow)
        with pytest.raises(RunsElsewhere):
            await two.network.handovers["b"].hear(SLUG, late)


async def test_whoever_goes_gives_everything_away() -> None:
    async with pair() as two:
        two.a.transcriber.flush_s, two.a.transcriber.last_words = 1.0, ("late",)
        await two.network.handovers["a"].drain(10)
        assert two.runs_at() == "b"
        with pytest.raises(NotReady):
            await two.a.service.start(start())
        await until(lambda: two.stored() == [(1, "one"), (2, "late")])


async def test_whoever_goes_alone_ends_as_ever() -> None:
    async with pair() as two:
        two.b.service.draining = True
        await two.network.handovers["a"].drain(10)
        assert two.runs_at() == "a"
        assert two.a.source(SLUG).closed is None, "it is released by the shutdown, not here"


async def test_an_heir_refuses_what_it_cannot_hear() -> None:
    async with pair() as two:
        two.b.sources.off.add("rtmp")
        with pytest.raises(SourceUnavailable):
            await two.network.handovers["b"].accept(SLUG, "a", 1, 0)
        await two.network.handovers["a"].drain(2)
        assert two.runs_at() == "a"


async def test_an_heir_that_is_going_refuses() -> None:
    async with pair() as two:
        two.b.service.draining = True
        with pytest.raises(NotReady):
            await two.fetch()
        assert two.runs_at() == "a"


async def test_a_room_is_heard_by_the_heir_before_the_owner_leaves_it() -> None:
    """What both have heard is transcribed once: by time, and where somebody was interrupted word by word."""
    clock = LoopClock()
    records, network = MemoryRecords(clock), Network()
    async with (
        replica(records, owner="b") as b,
        network.connect(b).serving(),
        replica(records, owner="a") as a,
        network.connect(a).serving(),
    ):
        await a.service.start(start("livekit"))
        track = a.source(SLUG).appear("anna")
        track.speak(3)
        await until(lambda: bool(a.transcriber.links))
        track.ends_at = clock.now()
        a.link.is_speaking = True
        a.transcriber.flush_s, a.transcriber.last_words = 1.0, ()
        giving = asyncio.create_task(network.handovers["b"].accept(SLUG, "a", 1, 0.5))
        await until(lambda: bool(b.sources.first))
        assert b.sources.first == [("livekit", SLUG, 2)]
        assert a.source(SLUG).closed is None, "it listens until the heir does"
        await giving
        assert [(one.identity, one.is_cut) for one in b.source(SLUG).skipped] == [("anna", True)]
        assert b.source(SLUG).skipped[0].until == track.ends_at
        assert a.source(SLUG).closed


@pytest.mark.parametrize("is_given", [False, True])
async def test_a_room_is_left_again_when_the_owner_keeps_it_or_the_run_cannot_begin(is_given: bool) -> None:
    clock = LoopClock()
    records, network = MemoryRecords(clock), Network(cut=set() if is_given else {"ask_for"})
    async with (
        replica(records, owner="b") as b,
        network.connect(b).serving(),
        replica(records, owner="a") as a,
        network.connect(a).serving(),
    ):
        await a.service.start(start("livekit"))

        async def away(claimed: Claimed) -> Past:
            raise RecordsUnavailable("away")

        b.service.adoption.past = away  # type: ignore[method-assign]
        with pytest.raises(RecordsUnavailable if is_given else RunsElsewhere):
            await network.handovers["b"].accept(SLUG, "a", 1, 0)
        assert b.source(SLUG).closed == "it stays where it was"
        assert (a.service.run_of(SLUG) is None) is is_given
