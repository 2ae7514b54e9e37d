"""Where time goes: how long each hop took, as histograms with the same buckets everywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp for each series, that nothing asks for

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds."""
REMEMBERED: Final = 60
"""Looks at the event loop; a quarter of a minute is the usual distance of two scrapes."""


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
        self._http.labels("/api/livekit/webhook", "POST", "401")  # an alert counts these: there before the first one
        self._statement = Histogram(
            "gateway_database_statement_seconds",
            "Statements by name, with the wait for a connection",
            ["statement"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._statements: dict[str, Callable[[float], None]] = {}
        self._heard, self._durable, self._shown, self._end_to_end = (
            self._hop.labels(f"final_{hop}").observe for hop in ("heard", "durable", "shown", "end_to_end")
        )
        self._source, self._socket = (self._hop.labels(hop).observe for hop in ("source_chunk", "chunk_socket"))
        self._lags: deque[float] = deque([0.0], maxlen=REMEMBERED)

    def final(self, heard_s: float, durable_s: float, shown_s: float) -> None:
        """`heard_s`: from the end of the words to the provider's message. From there `durable_s` until it was in the
        database, or on disk, and `shown_s` until watchers got it."""
        self._heard(heard_s)
        self._durable(durable_s)
        self._shown(shown_s)
        self._end_to_end(heard_s + shown_s)

    def chunk(self, source_s: float, socket_s: float) -> None:
        """The one in which the words of a final ended. `source_s`: from their end until it came out of the source.
        `socket_s`: from there to the provider's socket."""
        self._source(source_s)
        self._socket(socket_s)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route`: as it is registered, never a path with names in it."""
        self._http.labels(route, method, str(status)).observe(seconds)

    def statement(self, name: str, seconds: float) -> None:
        """`name`: of the file that holds it, so that there are as many as files."""
        observe = self._statements.get(name)
        if observe is None:
            observe = self._statements[name] = self._statement.labels(name).observe
        observe(seconds)

    @property
    def loop_lag_s(self) -> float:
        """The longest time that the event loop has kept a timer waiting, in the last quarter of a minute."""
        return max(self._lags)

    def lag(self, seconds: float) -> None:
        """The event loop kept a timer waiting for so long; to be told REMEMBERED times in a quarter of a minute."""
        self._lags.append(seconds)
