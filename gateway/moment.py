"""Moments in the contract's spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(moment: datetime) -> str:
    """ISO 8601, UTC, milliseconds, `Z`. The milliseconds are cut, not rounded, as JavaScript does."""
    since = moment - _EPOCH
    return f"{_second(since.days, since.seconds)}.{since.microseconds // 1000:03}Z"


@lru_cache(maxsize=256)
def _second(days: int, seconds: int) -> str:
    """What is said in one second, by whomever, has most of its spelling in common."""
    return (_EPOCH + timedelta(days, seconds)).isoformat()[:19]
