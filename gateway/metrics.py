"""What an operator's Prometheus scrapes. Read from the counters the rooms keep anyway, at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[dict[str, str], float]
Read = Callable[[], Iterable[Sample]]


class Metrics(Collector):
    """Named readers of other people's counters; nothing is counted here."""

    def __init__(self) -> None:
        self._readers: list[tuple[str, str, bool, Read]] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def counter(self, name: str, meaning: str, read: Read) -> None:
        """`name` without `gateway_` and `_total`. The number that `read` gives must never fall."""
        self._readers.append((f"gateway_{name}", meaning, True, read))

    def gauge(self, name: str, meaning: str, read: Read) -> None:
        """`name` without `gateway_`. The number that `read` gives may rise and fall."""
        self._readers.append((f"gateway_{name}", meaning, False, read))

    def include(self, collector: Collector) -> None:
        """Expose what somebody else collects, histograms for example."""
        self._registry.register(collector)

    def collect(self) -> Iterator[Metric]:
        """Calls every reader, in the order of registration; a family without samples is empty."""
        for name, meaning, is_counter, read in self._readers:
            samples = list(read())
            labels = list(samples[0][0]) if samples else []
            family = (CounterMetricFamily if is_counter else GaugeMetricFamily)(name, meaning, labels=labels)
            for values, value in samples:
                family.add_metric([values[label] for label in labels], value)
            yield family

    def text(self) -> bytes:
        """The exposition in Prometheus' text format, UTF-8."""
        return generate_latest(self._registry)


def plain(read: Callable[[], float]) -> Read:
    """A reader of one number without labels."""
    return lambda: [({}, float(read()))]


def by(label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> Read:
    """A reader of one number for each value of a label."""
    return lambda: [({label: value}, float(number)) for value, number in read()]
