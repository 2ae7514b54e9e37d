"""Watchers that ask for it are told where the time of each final went, behind it; the others are told nothing of it."""

from __future__ import annotations

import asyncio

from live_stage import SLUG, Stage, kinds, of_kind, text
from support.fakes import FakeTransport
from support.frames import messages

from gateway.live.watcher import Watcher
from gateway.transcription.domain.timing import Timing


def say(stage: Stage, *numbers: int) -> None:
    for seq in numbers:
        stage.keep(seq)
        stage.channel.final(seq, f"u{seq}", text(seq))
        stage.hub.timing(SLUG, Timing(seq, f"u{seq}", "anna", 1, 2, 3, 4, 5, 15))


async def timed(stage: Stage) -> tuple[Watcher, FakeTransport]:
    transport = FakeTransport()
    watcher = stage.hub.join(SLUG, transport, lambda code: None, is_timed=True)
    await stage.channel.catch_up(watcher, None, stage.read)
    return watcher, transport


async def test_each_final_is_followed_by_its_timing() -> None:
    stage = Stage()
    _, asks = await timed(stage)
    _, other = await stage.watch()
    say(stage, 1, 2)
    await asyncio.sleep(0)
    say(stage, 3)
    await asyncio.sleep(0)
    assert [message["data"]["seq"] for message in of_kind(asks, "timing")] == [1, 2, 3]
    assert of_kind(asks, "timing")[0]["data"]["endToEndMs"] == 15
    order = [(told["type"], told.get("seq") or told["data"].get("seq")) for told in messages(bytes(asks.arrived))]
    for seq in (1, 2, 3):
        assert order.index(("transcript.final", seq)) < order.index(("timing", seq))
    assert "timing" not in kinds(other)


async def test_who_is_slow_gets_them_in_order_once_it_reads() -> None:
    stage = Stage()
    watcher, asks = await timed(stage)
    asks.stuck = True
    for seq in range(1, 200):
        say(stage, seq)
        await asyncio.sleep(0)
    assert watcher.behind
    asks.stuck = False
    asks.read()
    stage.hub.flush_lagging()
    told = [(one["type"], one.get("seq") or one["data"].get("seq")) for one in messages(bytes(asks.arrived))]
    expected = [(kind, seq) for seq in range(1, 200) for kind in ("transcript.final", "timing")]
    assert [one for one in told if one[0] in ("transcript.final", "timing")] == expected


async def test_nothing_is_kept_for_nobody() -> None:
    stage = Stage()
    watcher, asks = await timed(stage)
    stage.hub.leave(SLUG, watcher)
    say(stage, 1)
    await asyncio.sleep(0)
    later, _ = await timed(stage)
    say(stage, 2)
    await asyncio.sleep(0)
    assert later.is_live and "timing" not in kinds(asks)
