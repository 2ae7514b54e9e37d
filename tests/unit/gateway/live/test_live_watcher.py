"""A watcher: what it is sent when it reads slowly, stops reading, or is lost."""

from __future__ import annotations

import asyncio

import pytest
from live_stage import SLUG, Stage, kinds_after_hello, of_kind, of_kind_loosely
from support.fakes import FakeTransport
from support.frames import frames, seqs

from gateway.live.audience import Audience
from gateway.live.endpoint import sweep
from gateway.live.hub import SWEEP_S
from gateway.live.protocol import CloseCode, Message, ResumePoint
from gateway.live.watcher import BEHIND_BYTES, MAX_PARTIALS, Bounds, Update, WatchCounts, Watcher

pytestmark = pytest.mark.usefixtures("way")


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
    sweeping = asyncio.create_task(sweep(stage.hub))
    await asyncio.sleep(3 * SWEEP_S)
    sweeping.cancel()
    transport.read()
    assert kinds_after_hello(transport) == ["transcript.final", "transcript.partial", "transcript.partial"]
    assert [one["data"]["text"] for one in of_kind_loosely(transport, "transcript.partial")] == ["version 4"] * 2
    assert stage.hub.counts.coalesced == 8


async def test_a_settled_utterance_sends_no_partial_afterwards() -> None:
    stage = Stage()
    _, transport = await stage.watch(stuck=True)
    transport.write(b"\x81\x7e\x7f\xff" + b" " * 32_767)
    stage.partial("u1", "unsettled")
    stage.say(1)  # the final of u1
    transport.stuck = False
    transport.read()
    sweeping = asyncio.create_task(sweep(stage.hub))
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
    for number in range(10 * MAX_PARTIALS):
        stage.partial(f"u{number}")
    transport.stuck = False
    transport.read()
    sweeping = asyncio.create_task(sweep(stage.hub))
    await asyncio.sleep(2 * SWEEP_S)
    sweeping.cancel()
    partials = of_kind_loosely(transport, "transcript.partial")
    assert [one["data"]["utteranceId"] for one in partials] == [
        f"u{n}" for n in range(9 * MAX_PARTIALS, 10 * MAX_PARTIALS)
    ]
    _, late = await stage.watch()
    assert len(of_kind(late, "transcript.partial")) == MAX_PARTIALS


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


# --- alone --------------------------------------------------------------------------------------------------


def alone(transport: FakeTransport, closed: list[CloseCode], mailbox_bytes: int = 1_000) -> Watcher:
    """A watcher without a channel, in its history."""
    audience: Audience[Watcher] = Audience(lambda *_: [])
    return Watcher(transport, closed.append, Bounds(mailbox_bytes), WatchCounts(), audience)


def deliver(watcher: Watcher, text: str, *, seq: int | None = None, utterance_id: str = "") -> None:
    update = Update(Message("any", text.encode()), utterance_id, seq)
    watcher.deliver(update, update.message.framed(watcher.framing))


def arrived(transport: FakeTransport) -> list[str]:
    return [frame.data.decode() for frame in frames(bytes(transport.arrived))]


def test_history_ends_with_the_finals_published_meanwhile_and_then_with_what_holds_now() -> None:
    """A final that the history had is not sent again; partials and events of that time are in what holds now."""
    transport = FakeTransport()
    watcher = alone(transport, [])
    deliver(watcher, "2", seq=2)
    deliver(watcher, "partial", utterance_id="u4")
    deliver(watcher, "3", seq=3)
    deliver(watcher, "event")
    watcher.write_history([Message("any", text).framed(watcher.framing) for text in (b"1", b"2")], next_seq=3)
    assert (watcher.is_live, watcher.is_current, watcher.has_all) == (False, False, False)
    watcher.go_live([Message("any", b"now").framed(watcher.framing)])
    assert arrived(transport) == ["1", "2", "3", "now"]
    assert (watcher.is_live, watcher.is_current, watcher.has_all) == (True, True, True)


def test_what_is_held_goes_out_finals_and_events_first_and_partials_last() -> None:
    transport = FakeTransport()
    watcher = alone(transport, [])
    watcher.go_live([])
    transport.stuck = True
    transport.write(bytes(BEHIND_BYTES))
    for text, seq, utterance_id in (("a", None, "u1"), ("1", 1, "u0"), ("event", None, ""), ("b", None, "u1")):
        deliver(watcher, text, seq=seq, utterance_id=utterance_id)
    assert (watcher.behind, watcher.is_current) == (True, False)
    transport.stuck = False
    transport.read()
    transport.arrived.clear()
    watcher.flush()
    assert arrived(transport) == ["1", "event", "b"]
    assert (watcher.behind, watcher.is_current) == (False, True)


def test_the_first_reason_to_close_stands_and_nothing_is_sent_after_it() -> None:
    transport = FakeTransport()
    closed: list[CloseCode] = []
    watcher = alone(transport, closed)
    watcher.go_live([])
    for code in (CloseCode.SESSION_ENDED, CloseCode.DRAINING):
        watcher.close(code)
    watcher.stop()
    deliver(watcher, "1", seq=1)
    watcher.flush()
    assert (closed, arrived(transport), watcher.gone) == ([CloseCode.SESSION_ENDED], [], True)
