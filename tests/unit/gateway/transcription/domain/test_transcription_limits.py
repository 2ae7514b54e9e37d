"""The table of limits: which is told when, what a space may change, when tomorrow begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.transcription.domain.limits import (
    Limits,
    Overrides,
    Reached,
    Standing,
    effective,
    reached,
    until_tomorrow_s,
)

ALL = Limits(True, session_minutes=10, user_minutes_per_day=20, space_minutes_per_day=30)
SESSION = Reached("limit of 10 minutes for one session reached", daily=False)
USER = Reached("limit of 20 minutes a day for one user reached", daily=True)
SPACE = Reached("limit of 30 minutes a day for this space reached", daily=True)


@pytest.mark.parametrize(
    ("standing", "own_s", "found"),
    [
        (Standing(), 0, None),
        (Standing(), 598, None),
        (Standing(), 599, SESSION),
        (Standing(session_s=500), 98, None),
        (Standing(session_s=500), 99, SESSION),
        (Standing(user_s=1198), 0, None),
        (Standing(user_s=1198), 1, USER),
        (Standing(space_s=1798), 0, None),
        (Standing(space_s=1798), 1, SPACE),
        (Standing(user_s=1200, space_s=1800), 0, USER),
        (Standing(session_s=600, user_s=1200, space_s=1800), 0, SESSION),
        (Standing(space_s=1700, space_live=8), 2, None),  # 1700 + 2 + 2 + 8 * 12
        (Standing(space_s=1700, space_live=8), 3, SPACE),
        (Standing(own_before_s=500, user_s=1190), 508, None),  # 8 s of them today
        (Standing(own_before_s=500, user_s=1190), 509, USER),
        (Standing(own_before_s=500), 599, SESSION),  # a session has no days
    ],
)
def test_a_limit_is_told_before_it_is_exceeded(standing: Standing, own_s: float, found: Reached | None) -> None:
    assert reached(ALL, standing, own_s, own_ahead_s=2, others_ahead_s=12) == found


def test_nothing_is_limited_by_nought() -> None:
    everything = Standing(session_s=10**9, user_s=10**9, user_live=99, space_s=10**9, space_live=99)
    assert reached(Limits(), everything, 10**9, 2, 12) is None


@pytest.mark.parametrize(
    ("everywhere", "here", "found"),
    [
        (ALL, Overrides(), ALL),
        (ALL, Overrides(session_minutes=0), Limits(True, 0, 20, 30)),
        (ALL, Overrides(None, 1, 2, 3), Limits(True, 1, 2, 3)),
        (ALL, Overrides(transcription=False), Limits(False, 10, 20, 30)),
        (Limits(False), Overrides(transcription=True), Limits(False)),
    ],
)
def test_a_space_may_differ_but_not_switch_on_what_is_off(everywhere: Limits, here: Overrides, found: Limits) -> None:
    assert effective(everywhere, here) == found


def test_off_says_where() -> None:
    here = reached(ALL, Standing(Overrides(transcription=False)), 0, 2, 12)
    everywhere = reached(Limits(False), Standing(), 0, 2, 12)
    assert here is not None and here.off and "in this space" in here.reason
    assert everywhere is not None and everywhere.off and "on this gateway" in everywhere.reason


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 1, 5, tzinfo=UTC), 86_400),
        (datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC), 1),
        (datetime(2026, 1, 5, 23, 59, 59, 999_999, tzinfo=UTC), 1),
        (datetime(2026, 1, 6, 1, 0, tzinfo=timezone(timedelta(hours=2))), 3_600),
    ],
)
def test_tomorrow_begins_at_midnight_utc(now: datetime, seconds: int) -> None:
    assert until_tomorrow_s(now) == seconds
