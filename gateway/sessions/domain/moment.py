"""Moments in the contract's spelling."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """ISO 8601, UTC, milliseconds, `Z`. The milliseconds are cut, not rounded, as JavaScript does."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"
