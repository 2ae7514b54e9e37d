"""What runs once every wing is open: tasks, listeners, transcriptions. The order is that of starting and draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from gateway.app.failures import binding
from gateway.app.http import open_http
from gateway.app.lag import watch_loop
from gateway.app.wings import Wings
from gateway.garbage import collect_garbage
from gateway.live.endpoint import sweep
from gateway.sessions.usecases.upkeep import stop_what_is_over
from gateway.transcription.usecases.run import Run


def stages(wings: Wings) -> Iterator[AbstractAsyncContextManager[object]]:
    """To be entered one after the other; left in the reverse order, they drain the gateway.

    Each is made when the one before it has started. Enter each by itself: a stage that holds a TaskGroup must not
    stand around the start of another one, whose error it would wrap into an ExceptionGroup.
    """
    settings, transcription, sessions = wings.replica.settings, wings.transcription, wings.sessions
    module, transcriptions = sessions.module, transcription.transcriptions

    def runs() -> dict[str, Run]:
        return {run.claimed.session_id: run for run in transcriptions.runs}

    # First to start and last to end: the recorder stores finals until the last run has drained.
    yield background(
        recorder=transcription.recorder.run(),
        sweep=sweep(wings.hub),
        relay=wings.relay.run(),
        beat=wings.live.endpoint.beat(),
        translations=wings.live.endpoint.translated.run(),
        endings=wings.live.endpoint.end_finished(),
        garbage=collect_garbage(lambda: wings.hub.counts.connected),
        documents=sessions.finaliser.run(),
        analyses=wings.analyses.work(),
        retention=sessions.retention.run(),
        audit=sessions.audit.run(),
        search=sessions.search.catch_up(),
        webhooks=wings.webhooks.sender.run(),
        hosts=transcription.hosts.look_for_ever(),
        limits=transcription.keeper.read_for_ever(lambda: [run.allowance for run in transcriptions.runs]),
        secrets=wings.replica.secrets.watch(),
        lag=watch_loop(wings.replica.delays),
    )
    # Its port must be known before transcriptions are adopted: they tell publishers where to go.
    yield _rtmp_listening(wings)
    yield transcription.handover.serving()
    yield transcriptions.serving()
    yield module.transcription.serving()
    yield background(upkeep=module.upkeep.run(), over=stop_what_is_over(module.repository, runs))
    if transcription.attendance is not None:
        yield background(attend=transcription.attendance.look_for_ever())
    yield background(sweeper=transcription.sweeper.run())
    if settings.provider_delete:
        yield background(erasure=transcription.erasure.run())
    # Nearly the last to start: while connections come in, everything behind them answers.
    yield open_http(wings)
    yield background(cut_off=transcription.cut_off.run())
    # The first to end: other replicas ask for what they take over.
    yield _giving_away(wings)


@asynccontextmanager
async def background(**jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Jobs, by the names of their tasks, that run until the end of the block and are cancelled there.

    A crash of one cancels the task that has entered the block, and so interrupts the gateway; leaving the block then
    raises an ExceptionGroup.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job, name=name) for name, job in jobs.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def _giving_away(wings: Wings) -> AsyncIterator[None]:
    """At the end: not ready at once, and everything that runs goes to replicas with room, within GATEWAY_DRAIN_S."""
    try:
        yield
    finally:
        wings.membership.drain()
        await wings.transcription.handover.drain(wings.replica.settings.drain_s)


@asynccontextmanager
async def _rtmp_listening(wings: Wings) -> AsyncIterator[None]:
    rtmp = wings.transcription.rtmp
    settings = wings.replica.settings
    if settings.rtmp_port:
        with binding(settings.rtmp_host, settings.rtmp_port, "GATEWAY_RTMP_PORT"):
            await rtmp.start()
        wings.replica.addresses.rtmp_bound(rtmp.port)
    try:
        yield
    finally:
        await rtmp.close()
