"""A channel: how newcomers are brought up to it, and how what is published goes out to everybody."""

from __future__ import annotations

import asyncio

import pytest
from live_stage import NOW, SLUG, Stage, crowd, kinds, of_kind, text
from support.fakes import FakeTransport
from support.frames import messages, seqs

from gateway.live.channel import MAX_PENDING, WATCHERS_PER_SLICE
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.live.watcher import BEHIND_BYTES
from gateway.transcription.domain.transcription import Numbering

pytestmark = pytest.mark.usefixtures("way")


# --- arriving -----------------------------------------------------------------------------------------------


async def test_hello_comes_first_and_says_where_the_session_stands() -> None:
    stage = Stage(last_seq=3)
    _, transport = await stage.watch()
    first = messages(bytes(transport.arrived))[0]
    assert (first["type"], first["epoch"], first["v"]) == ("hello", "e1", 1)
    assert first["data"] == {"state": "running", "epoch": "e1", "seq": 3, "resumed": False}
    assert seqs(bytes(transport.arrived)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("since", "resumed", "expected"),
    [
        (ResumePoint("e1", 0), True, [1, 2, 3]),
        (ResumePoint("e1", 2), True, [3]),
        (ResumePoint("e1", 3), True, []),
        (ResumePoint("e1", 4), False, [1, 2, 3]),
        (ResumePoint("e0", 2), False, [1, 2, 3]),
        (None, False, [1, 2, 3]),
    ],
)
async def test_a_known_resume_point_gets_what_follows_it_and_an_unknown_one_everything(
    since: ResumePoint | None, resumed: bool, expected: list[int]
) -> None:
    stage = Stage(last_seq=3)
    _, transport = await stage.watch(since)
    assert seqs(bytes(transport.arrived)) == expected
    assert messages(bytes(transport.arrived))[0]["data"]["resumed"] is resumed


@pytest.mark.parametrize(
    ("newest", "since", "begins", "expected"),
    [
        (2, None, 2, [2, 3]),
        (0, None, 4, []),
        (9, None, 1, [1, 2, 3]),
        (1, ResumePoint("e1", 1), 2, [2, 3]),  # what was asked for is resumed
        (1, ResumePoint("e0", 1), 3, [3]),
    ],
)
async def test_who_wants_the_newest_gets_these_and_is_told_where_they_begin(
    newest: int, since: ResumePoint | None, begins: int, expected: list[int]
) -> None:
    stage = Stage(last_seq=3)
    _, transport = await stage.watch(since, newest=newest)
    assert seqs(bytes(transport.arrived)) == expected
    hello, *rest = messages(bytes(transport.arrived))
    assert hello["data"]["from"] == begins
    assert all(one["type"] != "gap" for one in rest), "nothing is missing: it was not asked for"


async def test_history_comes_from_memory_where_memory_has_it() -> None:
    stage = Stage()
    stage.say(10)
    _, transport = await stage.watch()
    assert seqs(bytes(transport.arrived)) == list(range(1, 11))
    assert stage.reads == []


async def test_older_history_comes_from_the_database_page_by_page() -> None:
    """Memory keeps the newest; what came before is read, each final once."""
    stage = Stage(last_seq=1200, recent_finals=5)
    stage.say(20)
    _, transport = await stage.watch()
    assert seqs(bytes(transport.arrived)) == list(range(1, 1221))
    assert [after for after, _ in stage.reads] == [0, 500, 1000]


async def test_a_hole_in_the_history_is_said() -> None:
    """Finals that the database has lost are a gap from and to, never a silent jump."""
    stage = Stage(last_seq=9)
    for seq in (1, 4, 5, 9):
        del stage.database[seq]
    _, transport = await stage.watch()
    assert seqs(bytes(transport.arrived)) == [2, 3, 6, 7, 8]
    assert [gap["data"] for gap in of_kind(transport, "gap")] == [
        {"fromSeq": 1, "toSeq": 1},
        {"fromSeq": 4, "toSeq": 5},
        {"fromSeq": 9, "toSeq": 9},
    ]


async def test_an_empty_database_behind_memory_is_a_gap_up_to_memory() -> None:
    stage = Stage(last_seq=4)
    stage.database.clear()
    stage.say(2)
    _, transport = await stage.watch()
    assert [gap["data"] for gap in of_kind(transport, "gap")] == [{"fromSeq": 1, "toSeq": 4}]
    assert seqs(bytes(transport.arrived)) == [5, 6]


async def test_numbers_that_another_owner_gave_are_read_not_remembered() -> None:
    """A session ran here, then elsewhere, and is here again: memory alone would have a hole (and once looped)."""
    stage = Stage()
    stage.say(3)
    keeper, _ = await stage.watch()  # keeps the channel alive
    stage.hub.set_state(SLUG, "stopped", "handed over")
    for seq in (4, 5):
        stage.keep(seq)
    stage.hub.refresh(SLUG, Numbering("e1", NOW, 5), "running")
    async with asyncio.timeout(5):
        _, transport = await stage.watch()
    assert seqs(bytes(transport.arrived)) == [1, 2, 3, 4, 5]
    stage.hub.begin(SLUG, Numbering("e1", NOW, 5))
    stage.say(1)
    async with asyncio.timeout(5):
        _, late = await stage.watch()
    assert seqs(bytes(late.arrived)) == [1, 2, 3, 4, 5, 6]
    stage.hub.leave(SLUG, keeper)


async def test_another_epoch_begins_a_new_history() -> None:
    stage = Stage()
    stage.say(3)
    await stage.watch()
    stage.database.clear()
    stage.hub.begin(SLUG, Numbering("e2", NOW, 0))
    stage.say(1)
    _, transport = await stage.watch(ResumePoint("e1", 3))
    assert [message["epoch"] for message in messages(bytes(transport.arrived))] == ["e2", "e2"]
    assert seqs(bytes(transport.arrived)) == [1]


async def test_finals_between_the_read_and_the_stream_come_once_and_in_order() -> None:
    """The overlap of database, memory and live stream is dropped by number."""
    stage = Stage(last_seq=4, recent_finals=2)
    transport = FakeTransport()
    watcher = stage.join(transport)

    async def read(after: int, limit: int) -> list[tuple[int, bytes]]:
        stage.say(1)  # while the database is asked
        rows = await stage.read(after, limit)
        stage.say(1)  # while its answer is on its way
        return rows

    await stage.channel.catch_up(watcher, None, read)
    stage.say(2)
    assert seqs(bytes(transport.arrived)) == list(range(1, stage.channel.last_seq + 1))


async def test_a_state_that_changes_during_the_history_is_told() -> None:
    """Hello said `running`; a watcher that is still reading the past must not believe that for ever."""
    stage = Stage(last_seq=2)
    transport = FakeTransport()
    watcher = stage.join(transport)

    async def read(after: int, limit: int) -> list[tuple[int, bytes]]:
        stage.hub.set_state(SLUG, "stopping", "stopped by request")
        return await stage.read(after, limit)

    await stage.channel.catch_up(watcher, None, read)
    assert kinds(transport) == ["hello", "transcript.final", "transcript.final", "session.state"]
    assert of_kind(transport, "session.state")[0]["data"] == {"state": "stopping", "reason": "stopped by request"}


async def test_a_newcomer_sees_what_is_on_everybodys_screen() -> None:
    """Health and the unsettled words; settled ones are history."""
    stage = Stage()
    stage.partial("u1", "first")
    stage.partial("u2", "sec")
    stage.partial("u2", "second")
    stage.channel.say("health", b'{"status":"degraded","reasons":["x"]}')
    stage.say(1)  # settles u1
    _, transport = await stage.watch()
    assert kinds(transport) == ["hello", "transcript.final", "health", "transcript.partial"]
    assert of_kind(transport, "transcript.partial")[0]["data"]["text"] == "second"
    stage.hub.set_state(SLUG, "stopped", None)
    _, after = await stage.watch()
    assert kinds(after) == ["hello", "transcript.final"]


# --- the fan-out --------------------------------------------------------------------------------------------


async def test_what_is_published_in_one_turn_goes_out_in_one_write() -> None:
    stage = Stage()
    [transport] = await crowd(stage, 1)
    stage.channel.partial("u1", b'{"text":"a"}')
    stage.channel.partial("u1", b'{"text":"a b"}')  # overtakes the first, which nobody has seen
    stage.channel.final(1, "u0", text(1))
    stage.channel.say("health", b"{}")
    assert transport.pieces == []
    await asyncio.sleep(0)
    assert len(transport.pieces) == 1
    told = messages(transport.pieces[0])
    assert [one["type"] for one in told] == ["transcript.partial", "transcript.final", "health"]
    assert told[0]["data"]["text"] == "a b"


async def test_a_crowd_is_told_in_turns_and_everything_else_goes_on_between_them() -> None:
    """And each one hears all in order, whoever comes meanwhile."""
    stage = Stage()
    many = await crowd(stage, 3 * WATCHERS_PER_SLICE)
    stage.keep(1)
    stage.channel.final(1, "u1", stage.database[1])
    await asyncio.sleep(0)
    assert sum(bool(one.pieces) for one in many) == WATCHERS_PER_SLICE
    stage.channel.partial("u2", b"{}")
    stage.keep(2)
    stage.channel.final(2, "u2", stage.database[2])
    assert not stage.channel.is_delivered
    _, newcomer = await stage.watch()
    stage.keep(3)
    stage.channel.final(3, "u3", stage.database[3])
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.channel.is_delivered
    for transport in [*many, newcomer]:
        assert seqs(bytes(transport.arrived)) == [1, 2, 3]
    assert "transcript.partial" not in kinds(newcomer)  # its final was out before it came
    assert sum(len(one.pieces) for one in many) == 2 * len(many)  # the second and the third together


async def test_more_news_than_the_loop_tells_are_told_at_once() -> None:
    """Whoever publishes without a pause does the work itself: nothing piles up."""
    stage = Stage(mailbox_bytes=10**9)
    many = await crowd(stage, WATCHERS_PER_SLICE + 1)
    for seq in range(1, 2 * MAX_PENDING + 2):
        stage.keep(seq)
        stage.channel.final(seq, f"u{seq}", stage.database[seq])
    assert len(seqs(bytes(many[-1].arrived))) >= MAX_PENDING
    stage.channel.deliver_now()
    assert seqs(bytes(many[-1].arrived)) == list(range(1, 2 * MAX_PENDING + 2))


async def test_one_who_stops_reading_changes_nothing_for_the_others() -> None:
    """The same bytes in the same pieces, whether everybody reads or not."""
    written = []
    for stuck in (0, 1):
        stage = Stage(mailbox_bytes=5_000)
        everybody = await crowd(stage, 50, stuck=stuck)
        for number in range(200):
            stage.partial(f"u{number}")
            stage.say(1)
        await asyncio.sleep(0)
        written.append([transport.pieces for transport in everybody[1:]])
        assert stage.hub.counts.closed_too_slow == stuck
        assert len(everybody[0].buffered) <= (BEHIND_BYTES + 1000) * stuck
    assert written[0] == written[1]


async def test_finals_that_were_said_elsewhere_are_fetched_before_news_from_here() -> None:
    """A watcher stays while another replica transcribes, then this one does: without coming back it had a hole."""
    stage = Stage(last_seq=2)
    closed: list[CloseCode] = []
    watcher = stage.join(FakeTransport(), closed)
    await stage.channel.catch_up(watcher, None, stage.read)
    stage.hub.set_state(SLUG, "stopped", "handed over")
    stage.hub.begin(SLUG, Numbering("e1", NOW, 2))
    assert closed == []
    stage.hub.set_state(SLUG, "stopped", "handed over")
    stage.hub.refresh(SLUG, Numbering("e1", NOW, 5), "running")  # a newcomer makes it known here
    assert closed == []
    stage.hub.begin(SLUG, Numbering("e1", NOW, 5))
    assert closed == [CloseCode.DRAINING]


async def test_another_epoch_sends_everybody_back() -> None:
    stage = Stage(last_seq=2)
    closed: list[CloseCode] = []
    watcher = stage.join(FakeTransport(), closed)
    await stage.channel.catch_up(watcher, None, stage.read)
    stage.hub.begin(SLUG, Numbering("e2", NOW, 0))
    assert closed == [CloseCode.DRAINING]


async def test_another_epoch_elsewhere_sends_everybody_back() -> None:
    """The session does not run here any more, and what was shown last is not in the numbering of whoever has it."""
    stage = Stage(last_seq=2)
    closed: list[CloseCode] = []
    watcher = stage.join(FakeTransport(), closed)
    await stage.channel.catch_up(watcher, None, stage.read)
    stage.hub.refresh(SLUG, Numbering("e1", NOW, 9), "running")
    assert closed == []
    stage.hub.refresh(SLUG, Numbering("e2", NOW, 9), "running")
    assert closed == [CloseCode.DRAINING]


async def test_an_epoch_that_begins_while_somebody_reads_the_past_sends_them_back() -> None:
    stage = Stage(last_seq=2)
    closed: list[CloseCode] = []

    async def read(after: int, limit: int) -> list[tuple[int, bytes]]:
        stage.hub.begin(SLUG, Numbering("e2", NOW, 2))
        return [(1, b"{}"), (2, b"{}")]

    transport = FakeTransport()
    await stage.channel.catch_up(stage.join(transport, closed), None, read)
    assert closed == [CloseCode.DRAINING]
    assert [message["type"] for message in messages(bytes(transport.arrived))] == ["hello"]
