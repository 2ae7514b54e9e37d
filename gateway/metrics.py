"""What an operator's Prometheus scrapes. Read from the counters the rooms keep anyway, at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[dict[str, str], float]
Read = Callable[[], Iterable[Sample]]
Over: TypeAlias = Literal["sum", "max", "min"]
"""What the number of several processes together is. `max` also where each says the same of all replicas."""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric as it was read. `name` is without `_total`. The number of a counter never falls."""

    name: str
    meaning: str
    is_counter: bool
    over: Over
    samples: Sequence[Sample]


class Metrics:
    """Named readers of other people's counters; nothing is counted here."""

    def __init__(self) -> None:
        self._readers: list[tuple[str, str, bool, Over, Read]] = []

    def counter(self, name: str, meaning: str, read: Read) -> None:
        """`name` without `gateway_` and `_total`. The number that `read` gives must never fall."""
        self._readers.append((f"gateway_{name}", meaning, True, "sum", read))

    def gauge(self, name: str, meaning: str, read: Read, over: Over = "sum") -> None:
        """`name` without `gateway_`. The number that `read` gives may rise and fall."""
        self._readers.append((f"gateway_{name}", meaning, False, over, read))

    def families(self) -> list[Family]:
        """Calls every reader, in the order of registration; a family without samples is empty."""
        return [
            Family(name, meaning, is_counter, over, [*read()])
            for name, meaning, is_counter, over, read in self._readers
        ]

    def text(self) -> bytes:
        """The exposition of this process alone."""
        return exposition(self.families())


class _Read(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            labels = list(family.samples[0][0]) if family.samples else []
            kind = CounterMetricFamily if family.is_counter else GaugeMetricFamily
            metric = kind(family.name, family.meaning, labels=labels)
            for values, value in family.samples:
                metric.add_metric([values[label] for label in labels], value)
            yield metric


def exposition(families: Sequence[Family]) -> bytes:
    """In Prometheus' text format, UTF-8."""
    registry = CollectorRegistry()
    registry.register(_Read(families))
    return generate_latest(registry)


def plain(read: Callable[[], float]) -> Read:
    """A reader of one number without labels."""
    return lambda: [({}, float(read()))]


def by(label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> Read:
    """A reader of one number for each value of a label."""
    return lambda: [({label: value}, float(number)) for value, number in read()]
