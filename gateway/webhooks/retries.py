"""When a delivery that failed is tried again, and when it is given up. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

PAUSES_S: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400)
"""The last one is repeated."""
FOR: Final = timedelta(hours=24)
JITTER: Final = 0.2
LONGEST_S: Final = 4 * 3_600.0


def next_attempt(
    created_at: datetime, attempts: int, now: datetime, jitter: float, retry_after_s: float | None = None
) -> datetime | None:
    """`attempts`: made by now, from 1. `jitter`: at random from [0, 1). `retry_after_s`: as the receiver asks.

    Returns: None when a day has passed since it was created, or would have by then.
    """
    pause = PAUSES_S[min(attempts, len(PAUSES_S)) - 1] * (1 - JITTER + 2 * JITTER * jitter)
    at = now + timedelta(seconds=max(pause, min(retry_after_s or 0.0, LONGEST_S)))
    return at if at < created_at + FOR else None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, not negative. RFC 9110: a whole number of them, or a date; anything else counts as nothing."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text := value.strip()):
        return float(text)
    try:
        moment = parsedate_to_datetime(value)
        return max((moment - now).total_seconds(), 0.0) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
