"""What an operator's Prometheus scrapes. Read from the counters the rooms keep anyway, at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[dict[str, str], float]
Read = Callable[[], Iterable[Sample]]
Over: TypeAlias = Literal["sum", "max", "min"]
"""What the number of several processes together is. `max` also where each says the same of all replicas."""
SUM: Final = "sum"
_LATEST: Final = frozenset({"process_start_time_seconds"})


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric as it was read. `name` is without `_total`. The number of a counter never falls.

    A histogram counts as a counter, too: its samples are the buckets, by the label `le`, and where that is SUM the sum
    of all observations.
    """

    name: str
    meaning: str
    is_counter: bool
    over: Over
    samples: Sequence[Sample]
    is_histogram: bool = False


class Metrics:
    """Named readers of other people's counters; nothing is counted here."""

    def __init__(self) -> None:
        self._readers: list[tuple[str, str, bool, Over, Read]] = []
        self._collectors: list[Collector] = []

    def counter(self, name: str, meaning: str, read: Read) -> None:
        """`name` without `gateway_` and `_total`. The number that `read` gives must never fall."""
        self._readers.append((f"gateway_{name}", meaning, True, "sum", read))

    def gauge(self, name: str, meaning: str, read: Read, over: Over = "sum") -> None:
        """`name` without `gateway_`. The number that `read` gives may rise and fall."""
        self._readers.append((f"gateway_{name}", meaning, False, over, read))

    def include(self, collector: Collector) -> None:
        """Expose what somebody else collects: histograms, the process."""
        self._collectors.append(collector)

    def families(self) -> list[Family]:
        """Calls every reader, in the order of registration; a family without samples is empty."""
        read_now = [
            Family(name, meaning, is_counter, over, [*read()])
            for name, meaning, is_counter, over, read in self._readers
        ]
        return [*read_now, *(_family(metric) for collector in self._collectors for metric in collector.collect())]

    def text(self) -> bytes:
        """The exposition of this process alone."""
        return exposition(self.families())


class _Read(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if family.is_histogram:
                yield _histogram(family)
                continue
            labels = list(family.samples[0][0]) if family.samples else []
            kind = CounterMetricFamily if family.is_counter else GaugeMetricFamily
            metric = kind(family.name, family.meaning, labels=labels)
            for values, value in family.samples:
                metric.add_metric([values[label] for label in labels], value)
            yield metric


def _family(metric: Metric) -> Family:
    """What a collector of the Prometheus client says."""
    over: Over = "max" if metric.name in _LATEST else "sum"
    if metric.type != "histogram":
        samples = [(dict(one.labels), one.value) for one in metric.samples]
        return Family(metric.name, metric.documentation, metric.type == "counter", over, samples)
    buckets = [(dict(one.labels), one.value) for one in metric.samples if one.name.endswith("_bucket")]
    sums = [({**one.labels, "le": SUM}, one.value) for one in metric.samples if one.name.endswith("_sum")]
    return Family(metric.name, metric.documentation, True, over, [*buckets, *sums], True)


def _histogram(family: Family) -> Metric:
    series: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for labels, value in family.samples:
        names = tuple((name, told) for name, told in labels.items() if name != "le")
        series.setdefault(names, {})[labels["le"]] = value
    metric = HistogramMetricFamily(family.name, family.meaning, labels=[name for name, _ in next(iter(series), ())])
    for names, values in series.items():
        sum_value = values.pop(SUM)
        buckets = sorted(values.items(), key=lambda bucket: float(bucket[0]))
        metric.add_metric([told for _, told in names], buckets, sum_value)
    return metric


def exposition(families: Sequence[Family]) -> bytes:
    """In Prometheus' text format, UTF-8."""
    registry = CollectorRegistry()
    registry.register(_Read(families))
    return generate_latest(registry)


def plain(read: Callable[[], float]) -> Read:
    """A reader of one number without labels."""
    return lambda: [({}, float(read()))]


def by(label: str, read: Callable[[], Iterable[tuple[str, float]]], known: Iterable[str] = ()) -> Read:
    """A reader of one number for each value of a label. `known`: values that are there before their first event.

    Without that Prometheus sees no increase in the first one, and no sum over series of which there are none.
    """
    zeros = dict.fromkeys(known, 0.0)
    return lambda: [({label: value}, float(number)) for value, number in {**zeros, **dict(read())}.items()]
