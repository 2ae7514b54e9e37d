"""Moments in the contract's spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.moment import timestamp

NOW = datetime(2026, 1, 5, 10, 0, 3, 120_000, UTC)


@pytest.mark.parametrize(
    ("microsecond", "shown"), [(0, "000"), (999, "000"), (1000, "001"), (120_999, "120"), (999_999, "999")]
)
def test_milliseconds_are_cut_not_rounded(microsecond: int, shown: str) -> None:
    """As JavaScript does; rounding 999.9 ms up would need the next second."""
    assert timestamp(NOW.replace(microsecond=microsecond)) == f"2026-01-05T10:00:03.{shown}Z"


def test_times_of_other_zones_are_shown_in_utc() -> None:
    assert timestamp(NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-01-05T10:00:03.120Z"


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_moment_is_shown_as_iso_8601_spells_it(moment: datetime, zone: timezone) -> None:
    """Whatever was shown before in the same second."""
    there = moment.replace(tzinfo=zone)
    spelt = there.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert timestamp(there) == timestamp(there.astimezone(UTC)) == spelt
