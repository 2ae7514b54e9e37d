"""Spans by OpenTelemetry's SDK, sent over OTLP/HTTP. Imported by those alone who have set OTEL_EXPORTER_OTLP_ENDPOINT.

The SDK reads the rest of its environment itself: OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME,
OTEL_RESOURCE_ATTRIBUTES and others. Nothing of it is set as the process's global tracer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from gateway.structured import get_contextvars
from gateway.tracing import Facts, Kind, Span, place
from gateway.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

WAITING: Final = 2_048
"""Spans that wait to be sent, at most; then the oldest are dropped."""
BATCH: Final = 512
EVERY_S: Final = 2.0
LAST_S: Final = 3.0
"""How long the last ones may take when the gateway ends."""
_KINDS: Final = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_ROOT: Final[Context] = set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
"""Of a span without a parent: what the SDK holds for the current one is never asked."""


@asynccontextmanager
async def open_otlp(endpoint: str, replica: str, fates: Counter[str]) -> AsyncIterator[OtelTracer]:
    """Spans are sent until the end of the block, and the last ones within LAST_S. `endpoint`: a base URL.

    `fates` counts spans: sent, failed, dropped.
    """
    resource = Resource.create({"service.version": VERSION, "service.instance.id": replica})
    if resource.attributes.get("service.name", "").startswith("unknown_service"):  # type: ignore[union-attr]
        resource = resource.merge(Resource({"service.name": "transcription-gateway"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = _Counted(OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces"), fates)
    provider.add_span_processor(_Bounded(exporter))
    # What cannot be sent is counted, and told once by us; the SDK tells each attempt, at length.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    try:
        yield OtelTracer(provider.get_tracer("gateway", VERSION))
    finally:
        ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, LAST_S)
        if ending.is_alive():
            exporter.shutdown()  # ends the pause between its attempts, and so the thread


class OtelTracer:
    """The port `Tracer`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, name: str, facts: Facts, kind: Kind, parent: str | None, links: Sequence[str | None]) -> Span:
        """The ids that are bound for log lines are facts, too."""
        above = _context(parent)
        return _Begun(
            self._tracer.start_span(
                name,
                context=_ROOT if above is None else set_span_in_context(NonRecordingSpan(above)),
                kind=_KINDS[kind],
                attributes=_attributes({**get_contextvars(), **facts}),
                links=[Link(found) for link in links if (found := _context(link)) is not None],
            )
        )


class _Begun:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        known = span.get_span_context()
        ids = f"{format_trace_id(known.trace_id)}-{format_span_id(known.span_id)}"
        self.traceparent: Final = f"00-{ids}-{known.trace_flags:02x}"

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(_attributes(facts))

    def link(self, traceparent: str | None) -> None:
        if (found := _context(traceparent)) is not None:
            self._span.add_link(found)

    def end(self, trouble: str | None = None) -> None:
        if trouble is not None:
            self._span.set_status(Status(StatusCode.ERROR, trouble))
        self._span.end()


def _attributes(facts: Facts) -> Facts:
    return {name if "." in name else f"gateway.{name}": fact for name, fact in facts.items()}


def _context(traceparent: str | None) -> SpanContext | None:
    found = place(traceparent)
    return None if found is None else SpanContext(found.trace_id, found.span_id, True, TraceFlags(found.flags))


class _Counted(SpanExporter):
    """Counts what becomes of spans. Called from the SDK's own thread."""

    def __init__(self, exporter: SpanExporter, fates: Counter[str]) -> None:
        self.fates = fates
        self.taken = 0
        self._exporter = exporter
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        is_failing = result is not SpanExportResult.SUCCESS
        self.fates["failed" if is_failing else "sent"] += len(spans)
        if is_failing and not self._is_failing:
            log.warning("spans cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT; they are dropped until that is over")
        elif self._is_failing and not is_failing:
            log.info("spans can be sent again")
        self._is_failing = is_failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Bounded(BatchSpanProcessor):
    """The SDK's queue, which drops the oldest span for a new one; that is counted here."""

    def __init__(self, exporter: _Counted) -> None:
        super().__init__(
            exporter, max_queue_size=WAITING, max_export_batch_size=BATCH, schedule_delay_millis=EVERY_S * 1e3
        )
        self._counted = exporter
        self._ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        fates, self._ended = self._counted.fates, self._ended + 1
        if self._ended - self._counted.taken - fates["dropped"] > WAITING:
            fates["dropped"] += 1
        super().on_end(span)
