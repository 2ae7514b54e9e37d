"""What `gateway canary` has measured, for Prometheus: docs/canary.md has each name."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.cli.canary_round import STEPS, Outcome
from gateway.delays import BUCKETS

OUTCOMES: Final = ("ok", "failed")


class CanaryFigures:
    """Counters are there from the beginning, so that an increase from 0 shows; the share of words once it is known."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._rounds = Counter("gateway_canary_rounds", "Rounds, by outcome", ["outcome"], registry=registry)
        self._failures = Counter(
            "gateway_canary_failures", "Rounds that failed, by the step", ["step"], registry=registry
        )
        self._steps = Gauge(
            "gateway_canary_step_seconds", "How long a step took when it was last done", ["step"], registry=registry
        )
        self._words: Gauge | None = None
        self._success = Gauge(
            "gateway_canary_last_success_timestamp_seconds",
            "When the last good round ended; before the first one, when the canary began",
            registry=registry,
        )
        self._first_partial, self._final = (
            Histogram(f"gateway_canary_{name}_seconds", meaning, buckets=BUCKETS, registry=registry)
            for name, meaning in (
                ("first_partial", "From the first word to the first text"),
                ("final", "From the end of the last word to the last final"),
            )
        )
        for outcome in OUTCOMES:
            self._rounds.labels(outcome)
        for step in STEPS:
            self._failures.labels(step)
        self._success.set(time.time())

    def note(self, outcome: Outcome) -> None:
        """A round is over."""
        self._rounds.labels("ok" if outcome.failed is None else "failed").inc()
        for step, seconds in outcome.steps.items():
            self._steps.labels(step).set(seconds)
        if outcome.words_share is not None:
            self._words = self._words or Gauge(
                "gateway_canary_words_share", "Words found in the last round that spoke, 0 to 1", registry=self.registry
            )
            self._words.set(outcome.words_share)
        if outcome.first_partial_s is not None:
            self._first_partial.observe(outcome.first_partial_s)
        if outcome.final_s is not None:
            self._final.observe(outcome.final_s)
        if outcome.failed is None:
            self._success.set(time.time())
        else:
            self._failures.labels(outcome.failed).inc()

    async def text(self) -> bytes:
        """In Prometheus' text format, UTF-8."""
        return generate_latest(self.registry)
