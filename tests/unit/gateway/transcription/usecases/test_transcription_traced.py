"""All of a transcription's life hangs below the span of its start, whoever runs it."""

from __future__ import annotations

from support.fakes import FakeMembership, LoopClock, MemoryRecords
from support.traced import KeepingTracer
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway import tracing
from gateway.transcription.domain.preferences import Change


async def test_who_takes_over_goes_on_below_the_former_owners_start() -> None:
    clock, tracer = LoopClock(), KeepingTracer()
    records = MemoryRecords(clock)
    with tracing.using(tracer):
        async with replica(records, clock=clock) as first:
            await first.service.start(start())
            await first.service.change(SLUG, Change(languages=("en",)))
            records.steal(SLUG, "replica-2")
            first.membership.lose()
            await until(lambda: not first.service.runs)
        async with replica(records, clock=clock, owner="replica-2", membership=FakeMembership()) as second:
            await until(lambda: bool(second.service.runs))
            with tracing.span("request", {}) as request:
                await second.service.stop(SLUG)
    [began] = tracer.named("transcription start")
    [taken] = tracer.named("transcription take over")
    lost, stopped = tracer.named("transcription stop")
    assert {span.parent for span in (taken, lost, stopped)} == {began.traceparent}
    assert stopped.links == [request.traceparent] and lost.links == [None]
    assert stopped.facts["reason"] == "stopped by request"
    assert all(span.ended == 1 for span in tracer.spans)


async def test_a_start_that_finds_it_running_begins_no_span() -> None:
    tracer = KeepingTracer()
    with tracing.using(tracer):
        async with replica() as there:
            await there.service.start(start())
            await there.service.start(start())
    assert len(tracer.named("transcription start")) == 1
