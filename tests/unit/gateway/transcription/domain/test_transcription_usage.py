"""Seconds, minutes begun, money."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transcription.domain.usage import exceeds, started_minutes, whole_seconds


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [(0, 0), (7_999, 0), (8_000, 1), (16_000, 1), (23_999, 1), (24_000, 2), (10 * 3600 * 16_000, 36_000)],
)
def test_seconds_are_rounded_halves_up(samples: int, seconds: int) -> None:
    assert whole_seconds(samples) == seconds


@given(st.integers(0, 2**40))
def test_seconds_are_within_half_a_second(samples: int) -> None:
    assert abs(Fraction(samples, 16_000) - whole_seconds(samples)) <= Fraction(1, 2)


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 1), (59, 1), (60, 1), (61, 2), (3600, 60)])
def test_a_minute_begun_is_a_minute(seconds: int, minutes: int) -> None:
    assert started_minutes(seconds) == minutes


@pytest.mark.parametrize(
    ("cost", "cap", "above"),
    [(0.1 + 0.2, 0.3, False), (3 * 0.1, 0.3, False), (0.31, 0.3, True), (0.300_002, 0.3, True), (0.0, 0.0, False)],
)
def test_a_cap_is_compared_as_people_count_money(cost: float, cap: float, above: bool) -> None:
    """Three dimes are not above thirty cents, whatever binary fractions say."""
    assert exceeds(cost, cap) is above
