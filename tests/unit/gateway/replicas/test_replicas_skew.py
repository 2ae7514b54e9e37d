"""Replicas on machines whose clocks differ go by one: the database's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes.roster import MemoryRoster

from gateway.app.system_clock import SystemClock
from gateway.replicas.membership import Identity, Membership
from gateway.replicas.skew import SLOW_S, STEADY_S, STEP_S, Skew

TOOK = st.floats(0.0, SLOW_S)


@given(st.floats(-1e5, 1e5), TOOK, st.floats(-0.5, 0.5))
def test_the_first_answer_sets_it(ahead_s: float, took_s: float, error: float) -> None:
    """Where in its time an answer was made is not known."""
    skew = Skew()
    skew.learn(ahead_s + error * took_s, took_s)
    assert abs(skew.seconds - ahead_s) <= STEADY_S + took_s + 1e-9


@given(st.floats(-10.0, 10.0), st.lists(st.tuples(TOOK, st.floats(-0.5, 0.5)), max_size=30))
def test_what_an_answer_takes_moves_nothing(ahead_s: float, answers: list[tuple[float, float]]) -> None:
    skew = Skew()
    skew.learn(ahead_s, 0.0)
    before = skew.seconds
    for took_s, error in answers:
        skew.learn(ahead_s + error * took_s, took_s)
    assert abs(skew.seconds - before) <= STEADY_S


@given(st.floats(-0.9, 0.9), st.floats(-1.0, 1.0))
def test_it_follows_in_small_steps(first: float, drift: float) -> None:
    skew = Skew()
    skew.learn(first + 5.0, 0.0)
    for _ in range(100):
        before = skew.seconds
        skew.learn(first + 5.0 + drift * 0.99, 0.01)
        assert abs(skew.seconds - before) <= STEP_S + 1e-9
    assert abs(skew.seconds - first - 5.0 - drift * 0.99) <= STEADY_S + STEP_S


def test_a_clock_that_is_set_is_followed_at_once_and_a_slow_answer_not_at_all() -> None:
    skew = Skew()
    skew.learn(5.0, 0.01)
    skew.learn(-5.0, SLOW_S + 0.01)
    assert skew.seconds == 5.0
    skew.learn(-5.0, 0.01)
    assert skew.seconds == -5.0


@pytest.mark.parametrize("ahead_s", [-5.0, 5.0])
async def test_the_beat_tells_what_time_it_is(ahead_s: float) -> None:
    roster, clock = MemoryRoster(), SystemClock()
    roster.now = lambda: datetime.now(UTC) + timedelta(seconds=ahead_s)
    one = Membership(roster, Identity("a", "a/1", "1.0"), 6.0)
    one.on_time = clock.told
    await one.enter()
    assert abs((clock.now() - roster.now()).total_seconds()) < 1.0
    roster.now = lambda: datetime.now(UTC) - timedelta(seconds=ahead_s)
    await one.beat()
    assert abs((clock.now() - roster.now()).total_seconds()) < 1.0
