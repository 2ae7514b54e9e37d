"""The metrics of several processes as one exposition."""

from __future__ import annotations

from gateway.metrics import Family, Metrics, by, plain
from gateway.workers.figures import Figures


def said(finals: float, watchers: float, refused: dict[str, float], *, up: bool = True) -> list[Family]:
    metrics = Metrics()
    metrics.counter("finals_kept", "Finals", plain(lambda: finals))
    metrics.gauge("watchers", "Open streams", plain(lambda: watchers))
    metrics.counter("refused", "Refused", by("reason", refused.items))
    metrics.gauge("relay_up", "Redis", plain(lambda: up), over="min")
    return metrics.families()


def read(figures: Figures) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(labels.values()): value for labels, value in family.samples}
        for family in figures.families()
    }


def test_together_under_their_own_names_and_one_by_one_beside() -> None:
    figures = Figures()
    figures.say(1, said(3, 10, {"origin": 1}))
    figures.say(2, said(4, 20, {"origin": 2, "key": 5}, up=False))
    found = read(figures)
    assert found["gateway_finals_kept"] == {(): 7}
    assert found["gateway_watchers"] == {(): 30}
    assert found["gateway_refused"] == {("origin",): 3, ("key",): 5}
    assert found["gateway_relay_up"] == {(): 0}, "up only where all are"
    assert found["gateway_worker_watchers"] == {("1",): 10, ("2",): 20}
    assert found["gateway_worker_refused"] == {("1", "origin"): 1, ("2", "origin"): 2, ("2", "key"): 5}


def test_a_sum_of_counters_does_not_fall_when_a_worker_is_replaced() -> None:
    figures = Figures()
    figures.say(1, said(3, 10, {}))
    figures.say(2, said(4, 20, {"key": 5}))
    figures.end(2)
    assert read(figures)["gateway_finals_kept"] == {(): 7}
    assert read(figures)["gateway_refused"] == {("key",): 5}
    assert read(figures)["gateway_watchers"] == {(): 10}, "a gauge is of those that live"
    figures.say(2, said(1, 0, {"key": 1}))
    assert read(figures)["gateway_finals_kept"] == {(): 8}
    assert read(figures)["gateway_worker_finals_kept"] == {("1",): 3, ("2",): 1}
    figures.end(2)
    figures.say(2, said(0, 0, {}))
    assert read(figures)["gateway_finals_kept"] == {(): 8}
    assert read(figures)["gateway_refused"] == {("key",): 6}
