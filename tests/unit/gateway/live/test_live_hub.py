"""The hub: when channels come and go, and what a watcher sees wherever its line drops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_stage import SLUG, Stage
from support.fakes import FakeTransport
from support.frames import messages
from support.virtual_time import run_virtually

from gateway.live.protocol import CloseCode, ResumePoint

pytestmark = pytest.mark.usefixtures("way")


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
                browser.watcher.leave_fast_path()
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
