"""The fan-out: what a watcher sees, however slowly it reads and wherever its line drops."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import FakeTransport
from support.frames import messages, seqs
from support.virtual_time import run_virtually

from gateway.live.audience import APART
from gateway.live.hub import AT_ONCE, BEHIND_BYTES, FRESH, PARTIALS, SWEEP_S, Hub, HubOptions, Watcher
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.transcription.domain.transcription import Numbering

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SLUG = "abc"


@pytest.fixture(scope="module", params=["by transport", "by descriptor"], autouse=True)
def way(request: pytest.FixtureRequest) -> None:
    """Everything holds for watchers whose socket the hub writes to past their transport, too."""
    Stage.has_descriptors = request.param == "by descriptor"


class Stage:
    """A hub with one session, and the database behind it. `say` keeps first and shows then, as the recorder does."""

    has_descriptors: ClassVar[bool]

    def __init__(self, *, last_seq: int = 0, epoch: str = "e1", **options: int) -> None:
        self.database = {seq: text(seq) for seq in range(1, last_seq + 1)}
        self.deleted: set[int] = set()
        self.reads: list[tuple[int, int]] = []
        self._options = HubOptions(**options)
        self._transports: list[FakeTransport] = []
        self._begin(epoch, last_seq)

    def _begin(self, epoch: str, last_seq: int) -> None:
        self.hub = Hub(lambda: NOW, self._options, self._send_all)
        self.hub.begin(SLUG, Numbering(epoch, NOW, last_seq))
        self.hub.set_state(SLUG, "running", None)
        self.channel = self.hub.channel(SLUG)

    def restart(self) -> None:
        """Another process goes on where the numbering in the database stands; memory is gone."""
        self._begin(self.channel.epoch, max([*self.database, *self.deleted], default=0))

    def delete(self, count: int) -> None:
        """The oldest finals are gone for good, as retention does it."""
        for seq in sorted(self.database)[:count]:
            del self.database[seq]
            self.deleted.add(seq)

    def keep(self, seq: int) -> None:
        self.database[seq] = text(seq)

    def show(self, seq: int) -> None:
        self.channel.final(seq, f"u{seq}", self.database[seq])
        self.channel.tell()

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            seq = self.channel.last_seq + 1
            self.keep(seq)
            self.show(seq)

    def partial(self, utterance: str, said: str = "…") -> None:
        self.channel.partial(utterance, json.dumps({"utteranceId": utterance, "text": said}).encode())
        self.channel.tell()

    def join(self, transport: FakeTransport, closed: list[CloseCode] | None = None) -> Watcher:
        self._transports.append(transport)
        descriptor = len(self._transports) - 1 if self.has_descriptors else APART
        close = (closed if closed is not None else []).append
        return self.hub.join(SLUG, transport, close, descriptor=descriptor)

    def _send_all(self, descriptors: array[int], begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
        told = [(index, descriptors[index]) for index in range(begin, end) if descriptors[index] != APART]
        taken = [(index, self._transports[descriptor].send(data)) for index, descriptor in told]
        return [(index, sent) for index, sent in taken if sent != len(data)]

    async def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        await asyncio.sleep(0)
        self.reads.append((after, limit))
        return [(seq, self.database[seq]) for seq in sorted(self.database) if seq > after][:limit]

    async def watch(self, since: ResumePoint | None = None, *, stuck: bool = False) -> tuple[Watcher, FakeTransport]:
        transport = FakeTransport()
        watcher = self.join(transport)
        await self.channel.catch_up(watcher, since, self.read)
        transport.stuck = stuck
        return watcher, transport


def text(seq: int, size: int = 20) -> bytes:
    return json.dumps({"utteranceId": f"u{seq}", "text": f"Number {seq}. " + "x" * size}).encode()


def kinds(transport: FakeTransport) -> list[str]:
    return [message["type"] for message in messages(bytes(transport.arrived))]


def of_kind(transport: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message for message in messages(bytes(transport.arrived)) if message["type"] == kind]


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


# --- reading slowly -----------------------------------------------------------------------------------------


async def test_partials_of_one_utterance_coalesce_for_a_slow_watcher() -> None:
    """It gets the newest of each, after its finals, and the count is kept."""
    stage = Stage()
    _, transport = await stage.watch(stuck=True)
    transport.write(b"\x81\x7e\x7f\xff" + b" " * 32_767)  # something big is under way
    for version in range(5):
        stage.partial("u7", f"version {version}")
        stage.partial("u8", f"version {version}")
    stage.say(1)
    transport.read()
    sweeping = asyncio.create_task(stage.hub.sweep())
    await asyncio.sleep(3 * SWEEP_S)
    sweeping.cancel()
    transport.read()
    assert kinds_after_hello(transport) == ["transcript.final", "transcript.partial", "transcript.partial"]
    assert [one["data"]["text"] for one in of_kind_loosely(transport, "transcript.partial")] == ["version 4"] * 2
    assert stage.hub.counts.coalesced == 8


def loosely(transport: FakeTransport) -> list[dict[str, Any]]:
    """Without the filler of the test."""
    from support.frames import frames

    return [json.loads(frame.data) for frame in frames(bytes(transport.arrived)) if frame.data.strip()]


def kinds_after_hello(transport: FakeTransport) -> list[str]:
    return [message["type"] for message in loosely(transport)][1:]


def of_kind_loosely(transport: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message for message in loosely(transport) if message["type"] == kind]


async def test_a_settled_utterance_sends_no_partial_afterwards() -> None:
    stage = Stage()
    _, transport = await stage.watch(stuck=True)
    transport.write(b"\x81\x7e\x7f\xff" + b" " * 32_767)
    stage.partial("u1", "unsettled")
    stage.say(1)  # the final of u1
    transport.stuck = False
    transport.read()
    sweeping = asyncio.create_task(stage.hub.sweep())
    await asyncio.sleep(2 * SWEEP_S)
    sweeping.cancel()
    assert kinds_after_hello(transport) == ["transcript.final"]


async def test_a_watcher_that_does_not_read_is_told_to_come_back() -> None:
    """Past its bound it is closed with 4008; its memory is bounded and given back; the others notice nothing."""
    stage = Stage(mailbox_bytes=20_000)
    closed: list[CloseCode] = []
    stuck = FakeTransport(stuck=True)
    slow = stage.join(stuck, closed)
    await stage.channel.catch_up(slow, None, stage.read)
    _, quick = await stage.watch()
    while not closed:
        stage.say(1)
        assert len(stuck.buffered) <= BEHIND_BYTES + 1000
    assert closed == [CloseCode.TOO_SLOW]
    assert not slow.behind
    after = len(stuck.buffered)
    stage.say(500)
    stage.partial("u")
    stage.channel.say("health", b"{}")
    assert (len(stuck.buffered), slow.behind) == (after, False)
    assert closed == [CloseCode.TOO_SLOW]
    assert stage.hub.counts.closed_too_slow == 1
    assert seqs(bytes(quick.arrived)) == list(range(1, stage.channel.last_seq + 1))


async def test_nothing_follows_a_dropped_final() -> None:
    """A final after the hole would move the resume point past it, and the hole would never be filled."""
    stage = Stage(mailbox_bytes=5_000)
    closed: list[CloseCode] = []
    transport = FakeTransport(stuck=True)
    watcher = stage.join(transport, closed)
    await stage.channel.catch_up(watcher, None, stage.read)
    while not closed:
        stage.say(1)
    transport.stuck = False
    transport.read()  # it reads again before the close frame is on its way
    stage.say(3)
    watcher.flush()
    got = seqs(bytes(transport.arrived))
    assert got == list(range(1, len(got) + 1))
    assert len(got) < stage.channel.last_seq
    _, again = await stage.watch(ResumePoint("e1", got[-1]))
    assert got + seqs(bytes(again.arrived)) == list(range(1, stage.channel.last_seq + 1))


async def test_a_watcher_that_stops_reading_during_its_history_is_closed_too() -> None:
    """What is published meanwhile waits only up to the bound."""
    stage = Stage(last_seq=300, mailbox_bytes=5_000)
    closed: list[CloseCode] = []
    watcher = stage.join(FakeTransport(stuck=True), closed)
    catching_up = asyncio.create_task(stage.channel.catch_up(watcher, None, stage.read))
    await asyncio.sleep(1)
    stage.say(100)
    assert closed == [CloseCode.TOO_SLOW]
    async with asyncio.timeout(1):
        await catching_up


async def test_history_waits_for_a_slow_reader() -> None:
    """One page at a time is in flight, so a long history does not sit in memory."""
    stage = Stage(last_seq=5000)
    transport = FakeTransport(stuck=True)
    watcher = stage.join(transport)
    catching_up = asyncio.create_task(stage.channel.catch_up(watcher, None, stage.read))
    most = 0
    while not catching_up.done():
        await asyncio.sleep(0.1)
        most = max(most, len(transport.buffered))
        transport.read(4096)
    transport.read()
    assert seqs(bytes(transport.arrived)) == list(range(1, 5001))
    assert most < 500 * 300


async def test_unsettled_words_are_bounded_as_well() -> None:
    """Utterances that never get a final fill neither the session nor a watcher's box."""
    stage = Stage()
    _, transport = await stage.watch(stuck=True)
    transport.write(b"\x81\x7e\x7f\xff" + b" " * 32_767)
    for number in range(10 * PARTIALS):
        stage.partial(f"u{number}")
    transport.stuck = False
    transport.read()
    sweeping = asyncio.create_task(stage.hub.sweep())
    await asyncio.sleep(2 * SWEEP_S)
    sweeping.cancel()
    partials = of_kind_loosely(transport, "transcript.partial")
    assert [one["data"]["utteranceId"] for one in partials] == [f"u{n}" for n in range(9 * PARTIALS, 10 * PARTIALS)]
    _, late = await stage.watch()
    assert len(of_kind(late, "transcript.partial")) == PARTIALS


async def test_a_lost_connection_is_not_written_to() -> None:
    """Between the loss and the goodbye of its handler; uvloop raises there, and would stop everybody."""
    stage = Stage()
    _, lost = await stage.watch()
    _, good = await stage.watch()
    lost.closing = True
    stage.say(2)
    stage.partial("u9")
    stage.channel.say("health", b"{}")
    stage.hub.set_state(SLUG, "stopping", None)
    assert seqs(bytes(good.arrived)) == [1, 2]
    async with asyncio.timeout(1):
        watcher = stage.join(lost)
        await stage.channel.catch_up(watcher, None, stage.read)


# --- the fan-out --------------------------------------------------------------------------------------------


class Writes(FakeTransport):
    """Remembers what was written in one piece."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__(stuck=stuck)
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        self.pieces.append(data)

    def send(self, data: bytes) -> int:
        taken = super().send(data)
        self.pieces.append(data[:taken])
        return taken


async def crowd(stage: Stage, count: int, *, stuck: int = 0) -> list[Writes]:
    """Live watchers who have seen everything so far; the first `stuck` of them read no more."""
    transports = [Writes() for _ in range(count)]
    for number, transport in enumerate(transports):
        watcher = stage.join(transport)
        await stage.channel.catch_up(watcher, None, stage.read)
        transport.pieces.clear()
        transport.stuck = number < stuck
    return transports


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
    many = await crowd(stage, 3 * AT_ONCE)
    stage.keep(1)
    stage.channel.final(1, "u1", stage.database[1])
    await asyncio.sleep(0)
    assert sum(bool(one.pieces) for one in many) == AT_ONCE
    stage.channel.partial("u2", b"{}")
    stage.keep(2)
    stage.channel.final(2, "u2", stage.database[2])
    assert not stage.channel.has_told_all
    _, newcomer = await stage.watch()
    stage.keep(3)
    stage.channel.final(3, "u3", stage.database[3])
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.channel.has_told_all
    for transport in [*many, newcomer]:
        assert seqs(bytes(transport.arrived)) == [1, 2, 3]
    assert "transcript.partial" not in kinds(newcomer)  # its final was out before it came
    assert sum(len(one.pieces) for one in many) == 2 * len(many)  # the second and the third together


async def test_more_news_than_the_loop_tells_are_told_at_once() -> None:
    """Whoever publishes without a pause does the work itself: nothing piles up."""
    stage = Stage(mailbox_bytes=10**9)
    many = await crowd(stage, AT_ONCE + 1)
    for seq in range(1, 2 * FRESH + 2):
        stage.keep(seq)
        stage.channel.final(seq, f"u{seq}", stage.database[seq])
    assert len(seqs(bytes(many[-1].arrived))) >= FRESH
    stage.channel.tell()
    assert seqs(bytes(many[-1].arrived)) == list(range(1, 2 * FRESH + 2))


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


# --- coming and going ---------------------------------------------------------------------------------------


async def test_a_channel_lives_as_long_as_it_has_a_run_or_a_watcher() -> None:
    stage = Stage()
    stage.say(1)
    first, _ = await stage.watch()
    stage.hub.set_state(SLUG, "stopped", None)
    assert stage.hub.channel(SLUG) is stage.channel
    assert (stage.hub.watching(SLUG), stage.hub.runs_here(SLUG)) == (1, False)
    stage.hub.leave(SLUG, first)
    assert (stage.hub.watching(SLUG), stage.hub.counts.watchers) == (0, 0)
    assert stage.hub.channel(SLUG) is not stage.channel


async def test_closing_all_closes_each_once() -> None:
    stage = Stage()
    closed: list[CloseCode] = []
    for _ in range(3):
        stage.join(FakeTransport(), closed)
    stage.hub.close_all(CloseCode.DRAINING)
    stage.hub.close_all(CloseCode.DRAINING)
    assert closed == [CloseCode.DRAINING] * 3


# --- wherever the line drops --------------------------------------------------------------------------------

Step = tuple[str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 6)),
        st.tuples(st.just("keep"), st.integers(1, 3)),
        st.tuples(st.just("read"), st.integers(0, 3000)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
        st.tuples(st.just("cut"), st.integers(0, 3000)),
        st.tuples(st.just("partial"), st.integers(1, 3)),
        st.tuples(st.just("step out"), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 3000)),
        st.tuples(st.just("delete"), st.integers(1, 4)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(steps, st.integers(1, 8), st.integers(0, 12))
def test_a_watcher_that_comes_back_sees_every_final_once_in_order(
    plan: list[Step], recent_finals: int, before: int
) -> None:
    """However often and at whatever byte its line is cut, whatever is said, kept or read meanwhile.

    Also when the gateway is another process then. What has been deleted is told as a gap, and nothing else is.
    """
    run_virtually(_comes_back(plan, recent_finals, before))


async def _comes_back(plan: list[Step], recent_finals: int, before: int) -> None:
    stage = Stage(last_seq=before, recent_finals=recent_finals, mailbox_bytes=3_000)
    seen: list[tuple[int, str]] = []
    browser = Browser(stage, seen)
    for what, amount in [*plan, ("cut", 0)]:
        match what:
            case "say":
                stage.say(amount)
            case "keep":  # the database is ahead of the stream: the recorder writes first and shows then
                first = stage.channel.last_seq + 1
                for seq in range(first, first + amount):
                    stage.keep(seq)
                await asyncio.sleep(0)
                for seq in range(first, first + amount):
                    stage.show(seq)
            case "restart":
                stage.keep(stage.channel.last_seq + 1)  # written, and the process dies before it is shown
                browser.cut(amount)
                stage.restart()
                browser = Browser(stage, seen)
            case "delete":
                stage.delete(amount)
            case "read":
                browser.transport.read(amount)
            case "step out":  # as for a ping
                browser.watcher.step_out()
            case "turn":
                for _ in range(amount):
                    await asyncio.sleep(0.02)
            case "partial":
                for number in range(amount):
                    stage.partial(f"u{stage.channel.last_seq + 1 + number}")
            case "cut":
                browser.cut(amount)
                browser = Browser(stage, seen)
    browser.transport.stuck = False
    for _ in range(100):
        browser.transport.read()
        browser.watcher.flush()
        await asyncio.sleep(0.02)
        if browser.closed:
            browser.cut(0)
            browser = Browser(stage, seen)
            browser.transport.stuck = False
    browser.cut(0)
    assert [seq for seq, _ in seen] == list(range(1, stage.channel.last_seq + 1))
    assert {seq for seq, kind in seen if kind == "gap"} <= stage.deleted


class Browser:
    """Comes back with the last number it knows of: a final that it has seen whole, or the end of a gap."""

    def __init__(self, stage: Stage, seen: list[tuple[int, str]]) -> None:
        self.transport = FakeTransport(stuck=True)
        self.closed: list[CloseCode] = []
        self.watcher = stage.join(self.transport, self.closed)
        self._stage = stage
        self._seen = seen
        since = ResumePoint("e1", seen[-1][0]) if seen else None
        catch_up: Callable[..., Awaitable[None]] = stage.channel.catch_up
        self._task = asyncio.ensure_future(catch_up(self.watcher, since, stage.read))

    def cut(self, more: int) -> None:
        """The line drops after `more` bytes: what is incomplete is lost."""
        self.transport.read(more)
        self._task.cancel()
        self.transport.closing = True
        self._stage.hub.leave(SLUG, self.watcher)
        for message in messages(whole(bytes(self.transport.arrived))):
            if message["type"] == "transcript.final":
                self._seen.append((message["seq"], "final"))
            elif message["type"] == "gap":
                first, last = message["data"]["fromSeq"], message["data"]["toSeq"]
                self._seen += [(seq, "gap") for seq in range(first, last + 1)]


def whole(data: bytes) -> bytes:
    """The complete frames at the beginning of `data`."""
    at = 0
    while at + 2 <= len(data):
        size, head = data[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4]), 4
        if at + head + size > len(data):
            break
        at += head + size
    return data[:at]
