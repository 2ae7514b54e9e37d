"""What many tests stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.ports import free_port, lowest_given_away
from support.waiting import until

TESTS = Path(__file__).parents[1]


def test_a_port_is_given_once_whoever_asks_and_never_by_the_kernel() -> None:
    """Everything that is still free of a small range goes to one of two processes."""
    script = "from support.ports import free_port; print(*(free_port() for _ in range(300)), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        ours = {free_port() for _ in range(300)}
        other.stdin.write("\n")
    assert len(ours) == len(theirs) == 300 and not ours & theirs
    assert max(ours | theirs) < max(lowest_given_away(), 20_000)


async def test_a_wait_in_vain_says_what_it_was_for() -> None:
    heard: list[str] = []
    with pytest.raises(AssertionError, match=r"until\(lambda: heard.*the last answer was \[\]"):
        await until(lambda: heard, within_s=0.05)
    with pytest.raises(AssertionError, match="0 s: somebody says something;"):
        await until(lambda: heard, "somebody says something", within_s=0.05)


async def test_a_wait_ends_with_what_came() -> None:
    answers = iter([0, None, "here"])

    async def ask() -> object:
        return next(answers)

    assert await until(ask) == "here"
