"""States of a session, slugs, and rate limits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.domain.rate import Rate, take
from gateway.sessions.domain.video_session import MOVES, SLUG_LETTERS, SessionStatus, is_over, may_move, new_slug
from gateway.transcription.domain.transcription import ROOM_EMPTY, ROOM_OVER, begins_by_itself

LEGAL = {("CREATED", "LIVE"), ("CREATED", "EXPIRED"), ("LIVE", "ENDED")}


@pytest.mark.parametrize("before", [*SessionStatus, "PAUSED"])
@pytest.mark.parametrize("after", SessionStatus)
def test_no_move_but_the_three_of_the_table(before: str, after: SessionStatus) -> None:
    assert may_move(before, after) is ((before, after) in LEGAL)


def test_from_what_is_over_nothing_leads_on() -> None:
    assert set(MOVES) == set(SessionStatus)
    assert {status for status in SessionStatus if is_over(status)} == {s for s in SessionStatus if not MOVES[s]}


def test_a_slug_has_eight_letters_each_chosen_from_all() -> None:
    letters = itertools.cycle(SLUG_LETTERS)
    asked: list[str] = []

    def choose(among: str) -> str:
        asked.append(among)
        return next(letters)

    assert new_slug(choose) == "01234567"
    assert asked == [SLUG_LETTERS] * 8
    assert len(set(SLUG_LETTERS)) == 62 and SLUG_LETTERS.isalnum() and SLUG_LETTERS.isascii()


@pytest.mark.parametrize(
    ("last", "begins"),
    [
        (None, True),
        (("STOPPED", ROOM_EMPTY), True),
        (("STOPPED", ROOM_OVER), True),
        (("STOPPED", "stopped by request"), False),
        (("STOPPED", "cost cap of 1.00 USD reached"), False),
        (("STOPPED", None), False),
        (("RUNNING", None), False),
        (("STOPPING", ROOM_EMPTY), False),
    ],
)
def test_what_somebody_has_stopped_does_not_begin_by_itself(last: tuple[str, str | None] | None, begins: bool) -> None:
    assert begins_by_itself(last) is begins


def test_a_minutes_worth_may_come_at_once_and_then_one_an_interval() -> None:
    rate, until = Rate("create", 6), 0.0
    for _ in range(6):
        until, wait = take(rate, until, 100.0)
        assert wait == 0.0
    until, wait = take(rate, until, 100.0)
    assert wait == pytest.approx(10.0)
    until, wait = take(rate, until, 100.0 + wait)
    assert wait == 0.0
    assert take(rate, until, 110.0)[1] == pytest.approx(10.0)


@given(st.integers(1, 100), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_no_minute_sees_more_than_twice_the_rate_and_waiting_as_told_is_enough(
    per_minute: int, pauses: list[float]
) -> None:
    """Twice: what was saved up, and what the minute brings. Whoever waits as long as said is granted the next."""
    rate, until, now, granted = Rate("x", per_minute), 0.0, 1000.0, list[float]()
    for pause in pauses:
        now += pause
        after, wait = take(rate, until, now)
        if wait == 0.0:
            granted.append(now)
        else:
            assert after == until  # a refusal costs nothing
            assert take(rate, until, now + wait)[1] == 0.0
        until = after
        assert len([at for at in granted if at > now - 60]) <= 2 * per_minute + 1
