"""Composition root: opens the wings, starts what runs, owns the shutdown. The only place that knows every wing."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.app.analysis import open_analyses
from gateway.app.elsewhere import OtherReplicas
from gateway.app.encoders import Encoders
from gateway.app.failures import start_failures
from gateway.app.files import listener_options
from gateway.app.heirs import Heirs
from gateway.app.listener import Listener
from gateway.app.live import open_live
from gateway.app.membership import open_membership
from gateway.app.provider import open_engine, open_provider, open_slots
from gateway.app.relay import open_relay
from gateway.app.replica import open_replica
from gateway.app.running import stages
from gateway.app.secrets import HeldSecrets
from gateway.app.sessions import Transcribing, open_rates, open_sessions
from gateway.app.traces import open_traces
from gateway.app.transcription import TranscriptionWing, open_transcription
from gateway.app.webhooks import open_webhooks
from gateway.app.wings import Wings
from gateway.errors import PartDied, StartFailed
from gateway.live.hub import Hub
from gateway.replicas.peers import open_peers
from gateway.replicas.replica import Load
from gateway.sessions.infra.local_control import LocalControl
from gateway.sessions.usecases.upkeep import WATCH_S
from gateway.settings import Settings
from gateway.tasks import meanwhile
from gateway.version import VERSION, how_it_runs
from gateway.workers.worker import Worker

log = logging.getLogger(__name__)

UNLIMITED: Final = 1_000_000
"""Told as the capacity of a replica without a limit, so that its load is a number: tracks by the million."""


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists: measured 9 to 15 % less CPU over the whole gateway. None: asyncio's own loop."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, for the command that has started it."""

    http_url: str
    rtmp_url: str | None
    database_url: str
    engine: str
    failed: asyncio.Future[None]
    """Ends, with the reason as exception, when a part that cannot be restarted has died."""
    read_secrets: Callable[[], None]
    """Take what the files of secrets hold now."""
    flip_log_level: Callable[[], None]
    """Log at level debug for a while, or no longer."""

    def check_alive(self) -> None:
        """For after the shutdown: inside, a task group would wrap it. Raises: PartDied when that was its reason."""
        if self.failed.done() and (error := self.failed.exception()) is not None:
            raise PartDied(str(error)) from error


@asynccontextmanager
async def open_gateway(
    settings: Settings, env: Mapping[str, str] | None = None, worker: Worker | None = None
) -> AsyncIterator[Gateway]:
    """Everything that `gateway serve` runs. On leaving, live work is drained within GATEWAY_DRAIN_S.

    `env`: where secrets are read again when their files change; None: they stay. `worker`: this process is one of
    several under a supervisor. Raises: StartFailed.
    """
    failure: StartFailed | None = None
    async with AsyncExitStack() as rooms:
        try:
            with start_failures():
                gateway = await _open(settings, HeldSecrets(settings, env), rooms, worker)
        except StartFailed as error:
            failure = error  # raised when the rooms are closed: a task group would wrap it into a group
        else:
            yield gateway
            log.info("gateway stopping")
    if failure is not None:
        raise failure


async def _open(settings: Settings, held: HeldSecrets, rooms: AsyncExitStack, worker: Worker | None) -> Gateway:
    """The order of opening; closing, and so draining, goes the other way round.

    Each part is entered by itself: inside a block that holds a TaskGroup, as `open_slots` does, the error of another
    part's start would be wrapped into an ExceptionGroup.
    """
    enter = rooms.enter_async_context
    failed = asyncio.get_running_loop().create_future()
    engine = await enter(meanwhile(open_engine(settings, held), "engine"))  # while the database comes up
    replica = await enter(open_replica(settings, held, failed, worker))
    spans = await enter(open_traces(replica))
    membership = await enter(open_membership(replica))
    peers = await enter(open_peers(lambda: next(iter(held.credentials().service_tokens), "")))
    others = OtherReplicas(membership, peers)
    membership.ask = others.reaches_database
    hub = Hub(replica.clock.now)
    slots = await enter(open_slots(replica))
    speech = await enter(open_provider(replica, slots, engine))
    heirs = Heirs(membership, others)
    transcription = await enter(open_transcription(replica, membership, speech, hub, others, heirs))
    membership.load = _load(settings, transcription, hub)
    encoders = Encoders(others, lambda: transcription.transcriptions.draining, membership.may_act)
    transcription.sources.carry = encoders.carry
    transcription.sources.fetch = partial(encoders.fetch, transcription.handover.fetch)
    relay = await enter(open_relay(replica, membership, hub))
    live = await enter(open_live(replica, transcription, hub, relay, others))
    analyses = await enter(open_analyses(replica))
    sessions = await enter(open_sessions(replica, analyses, _transcribing(settings, transcription, hub)))
    limits = await enter(open_rates(replica))
    webhooks = await enter(open_webhooks(replica))
    wings = Wings(
        replica,
        membership,
        others,
        hub,
        speech,
        transcription,
        encoders,
        relay,
        live,
        analyses,
        sessions,
        limits,
        webhooks,
        Listener(listener_options(settings, replica.files, is_shared=worker is not None)),
        spans,
    )
    for stage in stages(wings):
        await enter(stage)
    http_url, rtmp_url = replica.addresses.http_url(), replica.addresses.rtmp_base()
    told = {"http": http_url, "rtmp": rtmp_url, "engine": settings.engine}
    log.info("gateway ready", extra={**told, "version": VERSION, "code": how_it_runs(sys.modules)})
    flip = replica.log_level.flip
    return Gateway(http_url, rtmp_url, replica.database_url, settings.engine, failed, held.read_again, flip)


def _transcribing(settings: Settings, wing: TranscriptionWing, hub: Hub) -> Transcribing:
    # Another replica notices within WATCH_S that a session has ended, and then drains its run.
    control = LocalControl(wing.steering, wing.records, settings.drain_s + WATCH_S + 3)
    return Transcribing(wing.records, hub, control, wing.transcriptions.session_gone)


def _load(settings: Settings, wing: TranscriptionWing, hub: Hub) -> Callable[[], Load]:
    capacity = settings.max_tracks or UNLIMITED

    def now() -> Load:
        transcriptions = wing.transcriptions
        return Load(len(transcriptions.runs), transcriptions.tracks, hub.counts.watchers, capacity)

    return now
