"""A collector that is slow, away or unknown costs spans, and nothing else."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from support.ports import free_port
from support.waiting import until

from gateway import tracing
from gateway.app import otel
from gateway.app.traces import open_traces
from gateway.correlation import bound
from gateway.errors import StartFailed


class Collector(SpanExporter):
    """Takes spans once it is let; `refuses`: not even then."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.refuses = False
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.open.wait(30)
        if self.refuses:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS


def begin(collector: Collector, fates: Counter[str]) -> tuple[otel.OtelTracer, TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(otel._Bounded(otel._Counted(collector, fates)))
    return otel.OtelTracer(provider.get_tracer("test")), provider


def test_a_slow_collector_costs_the_oldest_spans_and_they_are_counted() -> None:
    collector, fates = Collector(), Counter[str]()
    tracer, provider = begin(collector, fates)
    total = otel.WAITING + 3 * otel.BATCH
    for number in range(total):
        tracer.begin(f"{number}", {}, "internal", None, ()).end()
    collector.open.set()
    provider.shutdown()
    assert fates["dropped"] >= 2 * otel.BATCH  # a batch may be under way
    assert fates["sent"] == len(collector.spans) == total - fates["dropped"]
    assert collector.spans[-1].name == f"{total - 1}"


def test_what_the_collector_refuses_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    collector, fates = Collector(), Counter[str]()
    collector.open.set()
    tracer, provider = begin(collector, fates)
    for refuses in (True, True, False):
        collector.refuses = refuses
        tracer.begin("x", {}, "internal", None, ()).end()
        provider.force_flush()
    provider.shutdown()
    assert fates == {"failed": 2, "sent": 1}
    assert [record.levelname for record in caplog.records if record.name == otel.__name__] == ["WARNING", "INFO"]


def test_a_span_says_whose_work_it_is() -> None:
    collector, fates = Collector(), Counter[str]()
    collector.open.set()
    tracer, provider = begin(collector, fates)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with bound(request="r", session="abc"):
        span = tracer.begin("x", {"seconds": 1.5, "http.route": "/x"}, "client", parent, ["nonsense", None])
        span.link("nonsense")
        span.end("ValueError")
        tracer.begin("unsampled", {}, "internal", parent[:-1] + "0", ()).end()
    provider.shutdown()
    [sent] = collector.spans
    assert dict(sent.attributes or {}) == {
        "gateway.request": "r",
        "gateway.session": "abc",
        "gateway.seconds": 1.5,
        "http.route": "/x",
    }
    assert sent.parent is not None and f"{sent.parent.span_id:016x}" == "b7ad6b7169203331"
    assert (span.traceparent or "").split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert (sent.status.description, list(sent.links)) == ("ValueError", [])


async def test_a_collector_that_is_away_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "LAST_S", 0.1)
    fates: Counter[str] = Counter()
    async with otel.open_otlp(f"http://127.0.0.1:{free_port()}", "a", fates) as tracer:
        for _ in range(3):
            began = time.perf_counter()
            tracer.begin("x", {}, "internal", None, ()).end()
            assert time.perf_counter() - began < 1
    await until(lambda: not [one for one in threading.enumerate() if one.name.startswith(("last spans", "OtelBatch"))])
    assert fates == {"failed": 3}


def replica(endpoint: str | None) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(otlp_endpoint=endpoint), process="a/1")


async def test_without_an_endpoint_the_sdk_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.app.otel", None)
    async with open_traces(replica(None)) as fates:
        assert not tracing.is_on() and fates == {"sent": 0, "failed": 0, "dropped": 0}


async def test_without_the_sdk_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.app.otel", None)
    with pytest.raises(StartFailed, match=r"transcription-gateway\[otel\]"):
        async with open_traces(replica("http://127.0.0.1:4318")):
            pass
