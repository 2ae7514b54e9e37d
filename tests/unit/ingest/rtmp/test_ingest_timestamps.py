"""Timestamps that wrap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.timestamps import Unwrapped


def test_a_wrap_goes_on() -> None:
    """49.7 days later."""
    unwrapped = Unwrapped()
    assert [unwrapped(t) for t in (0xFFFFFFF0, 0xFFFFFFFF, 5)] == [0xFFFFFFF0, 0xFFFFFFFF, 0x100000005]


def test_a_step_back_is_a_step_back() -> None:
    """Not 49 days forward."""
    unwrapped = Unwrapped()
    assert [unwrapped(t) for t in (1000, 900, 1100)] == [1000, 900, 1100]


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=50))
def test_steps_below_half_the_range_are_kept_exactly(first: int, steps: list[int]) -> None:
    """Whatever wraps on the way."""
    unwrapped = Unwrapped()
    true = first
    assert unwrapped(first) == first
    for step in steps:
        true += step
        assert unwrapped(true & 0xFFFFFFFF) == true
