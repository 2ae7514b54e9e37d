"""Where spans go: nowhere, or by OpenTelemetry to OTEL_EXPORTER_OTLP_ENDPOINT."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import tracing
from gateway.app.replica import Replica
from gateway.errors import StartFailed
from storage.postgres.errors import retryable
from storage.postgres.pool import Database
from storage.postgres.transcriptions import Transcriptions


@asynccontextmanager
async def open_traces(replica: Replica) -> AsyncIterator[Counter[str]]:
    """Yields how many spans were sent, failed and dropped. Raises: StartFailed without the packages of `[otel]`."""
    fates = Counter(sent=0, failed=0, dropped=0)
    endpoint = replica.settings.otlp_endpoint
    if endpoint is None:
        yield fates
        return
    try:
        from gateway.app.otel import open_otlp
    except ImportError as error:
        raise StartFailed(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is missing: "
            "pip install 'transcription-gateway[otel]', or unset it"
        ) from error
    async with open_otlp(endpoint, replica.process, fates) as tracer:
        with tracing.using(tracer):
            yield fates


def trace_of(database: Database) -> tracing.TraceOf:
    """By one statement, if spans go anywhere. A database that is away costs a link, nothing else."""
    rows = Transcriptions(database)

    async def found(session_id: str) -> str | None:
        if not tracing.is_on():
            return None
        try:
            row = await rows.by_session(session_id)
        except Exception as error:
            if not retryable(error):
                raise
            return None
        told = row.options.get("traceparent") if row is not None else None
        return told if isinstance(told, str) else None

    return found
