"""Where the CPU time goes, by a timer of it."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from gateway.cpu_profile import EVERY_S, CpuProfile, ProfileRefused


def burn() -> None:
    until = time.thread_time() + 2 * EVERY_S
    while time.thread_time() < until:
        sum(range(1_000))


async def test_what_computes_is_seen_and_what_waits_is_not() -> None:
    profile = CpuProfile()

    async def wait() -> None:
        await asyncio.sleep(0.3)

    before_s = time.process_time()
    measured = asyncio.create_task(profile.measure(0.4))
    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    burn()  # two looks at least, however little of the machine this process gets
    while not measured.done():
        burn()
        await asyncio.sleep(0)
    text = await measured
    await waiting
    counts = {stack: int(count) for stack, _, count in (line.rpartition(" ") for line in text.splitlines())}
    burnt = sum(count for stack, count in counts.items() if f"{__name__}:burn" in stack)
    spent_s = time.process_time() - before_s
    assert burnt >= 1 and burnt * EVERY_S <= 2 * spent_s + EVERY_S  # the timer counts the kernel's ticks, not time
    assert not [stack for stack in counts if stack.endswith(":wait")]
    assert all("/" not in stack for stack in counts)  # no path of this machine


async def test_one_at_a_time_and_a_cancelled_one_makes_room() -> None:
    profile = CpuProfile()
    first = asyncio.create_task(profile.measure(60))
    await asyncio.sleep(0)
    with pytest.raises(ProfileRefused):
        await profile.measure(0.1)
    first.cancel()
    await asyncio.wait([first])
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    signal.raise_signal(signal.SIGPROF)  # late: by default it would end this process
    assert await profile.measure(0.01) is not None
