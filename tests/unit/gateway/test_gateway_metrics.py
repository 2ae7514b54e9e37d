"""What Prometheus reads: the exposition of whatever the readers say."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics, by, plain


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
