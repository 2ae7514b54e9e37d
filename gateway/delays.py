"""Where time goes: how long each hop took, as histograms with the same buckets everywhere."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp for each series, that nothing asks for

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds."""
LOOK_EVERY_S: Final = 0.25
REMEMBERED: Final = 60  # looks at the event loop: a quarter of a minute, the usual distance of two scrapes


class Delays:
    """The histograms of one process. An observation costs about a microsecond and never fails."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._hop = Histogram(
            "gateway_hop_seconds", "How long finals took, by hop", ["hop"], buckets=BUCKETS, registry=self.registry
        )
        self._http = Histogram(
            "gateway_http_request_seconds",
            "Requests by route and status, without streams",
            ["route", "method", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.final_heard = self._hop.labels("final_heard").observe
        """From the end of the words to the provider's message."""
        self.final_durable = self._hop.labels("final_durable").observe
        """From there until it is in the database, or on disk."""
        self.final_shown = self._hop.labels("final_shown").observe
        """From the provider's message until watchers get it."""
        self.final_end_to_end = self._hop.labels("final_end_to_end").observe
        """`final_heard` and `final_shown` together."""
        self._lags: deque[float] = deque([0.0], maxlen=REMEMBERED)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route`: as it is registered, never a path with names in it."""
        self._http.labels(route, method, str(status)).observe(seconds)

    @property
    def loop_lag_s(self) -> float:
        """The longest time that the event loop has kept a timer waiting, in the last quarter of a minute."""
        return max(self._lags)

    async def watch_loop(self) -> None:
        """Look at the event loop until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            self._lags.append(max(0.0, clock() - due))
