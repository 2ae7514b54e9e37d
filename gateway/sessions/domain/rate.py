"""Rate limiting: so many requests a minute, and as many at once after a pause. Pure.

The generic cell rate algorithm: one moment is kept for each key, that until which the key's allowance is spent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` requests a minute on the long run, and that many at once after a pause. 0 = no limit."""

    name: str
    per_minute: int

    @property
    def interval_s(self) -> float:
        """What one request costs."""
        return 60.0 / self.per_minute


def take(rate: Rate, spent_until: float, now: float) -> tuple[float, float]:
    """One request at `now`, seconds on any clock; `spent_until` is 0 for a key never seen.

    Returns: the new `spent_until`, and how long to wait before asking again: 0 when this request is granted.
    """
    after = max(spent_until, now) + rate.interval_s
    early = after - now - 60.0
    if early > 1e-6:  # the sum of many intervals is not exactly a minute
        return spent_until, early
    return after, 0.0
