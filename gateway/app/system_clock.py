"""The real time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from gateway.replicas.skew import Skew


class SystemClock:
    """The port Clock, on the machine's clocks; wall time is corrected by the database's, which all replicas hear."""

    def __init__(self) -> None:
        self._skew = Skew()
        self._ahead = timedelta()

    def now(self) -> datetime:
        """UTC, aware. May jump when the machine's clock is set."""
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def told(self, now: datetime, took_s: float) -> None:
        """The database has said what time it is, in an answer that has just come and took so long."""
        self._skew.learn((now - datetime.now(UTC)).total_seconds() + took_s / 2, took_s)
        self._ahead = timedelta(seconds=self._skew.seconds)
