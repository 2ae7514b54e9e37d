"""What Prometheus reads: the exposition of whatever the readers say."""

from __future__ import annotations

from collections import Counter

import msgspec
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from gateway.delays import Delays
from gateway.metrics import Family, Metrics, by, exposition, plain
from gateway.workers.figures import Figures


def families(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return {
        family.name: {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(metrics.text().decode())
    }


def test_numbers_are_read_at_the_moment_of_the_scrape() -> None:
    kept, refused = [0], Counter[str]()
    metrics = Metrics()
    metrics.counter("finals_kept", "Finals", plain(lambda: kept[0]))
    metrics.gauge("watchers", "Open streams", plain(lambda: 7))
    metrics.counter("refused", "Refused, by reason", by("reason", refused.items))
    assert families(metrics) == {
        "gateway_finals_kept": {(): 0.0},
        "gateway_watchers": {(): 7.0},
        "gateway_refused": {},
    }
    kept[0] = 3
    refused['a "quoted"\nreason\\'] = 2
    refused["origin"] += 1
    found = families(metrics)
    assert found["gateway_finals_kept"] == {(): 3.0}
    assert found["gateway_refused"] == {(("reason", 'a "quoted"\nreason\\'),): 2.0, (("reason", "origin"),): 1.0}


def test_counters_and_gauges_say_what_they_are() -> None:
    metrics = Metrics()
    metrics.counter("things", "Things so far", plain(lambda: 1))
    metrics.gauge("level", "Level now", plain(lambda: 1))
    text = metrics.text().decode()
    assert "# TYPE gateway_things_total counter" in text
    assert "# HELP gateway_things_total Things so far" in text
    assert "# TYPE gateway_level gauge" in text


def test_histograms_of_several_workers_add_up_and_survive_a_worker() -> None:
    figures = Figures()
    for worker, seconds in ((0, [0.01, 3.0]), (1, [0.02])):
        delays, metrics = Delays(), Metrics()
        for each in seconds:
            delays.final(0.0, each, each)
        metrics.include(delays.registry)
        metrics.include(ProcessCollector(registry=None))
        figures.say(worker, msgspec.msgpack.decode(msgspec.msgpack.encode(metrics.families()), type=list[Family]))
    figures.end(0)
    text = exposition(figures.families()).decode()
    assert 'gateway_hop_seconds_bucket{hop="final_shown",le="1.0"} 2.0' in text
    assert 'gateway_hop_seconds_count{hop="final_shown"} 3.0' in text
    assert 'gateway_hop_seconds_sum{hop="final_shown"} 3.03' in text
    assert 'gateway_worker_hop_seconds_count{hop="final_shown",worker="1"} 1.0' in text
    assert "\nprocess_resident_memory_bytes " in text
