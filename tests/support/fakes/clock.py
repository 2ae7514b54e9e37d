"""Clocks of tests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class LoopClock:
    """Wall time that runs with the loop's."""

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class HandClock:
    """Time that a test moves."""

    def __init__(self, begin: datetime = BEGIN) -> None:
        self.at = begin
        self._begin = begin

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - self._begin).total_seconds()
