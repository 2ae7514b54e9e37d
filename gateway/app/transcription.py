"""The transcription wing: from live audio to numbered finals in the database."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.app.files import rtmp_options
from gateway.app.livekit import open_livekit_server
from gateway.app.provider import ProviderWing
from gateway.app.replica import Replica
from gateway.availability import available
from gateway.clock import Clock
from gateway.errors import StartFailed
from gateway.live.hub import Hub
from gateway.replicas.membership import Membership
from gateway.settings import Settings
from gateway.transcription.domain.limits import Limits
from gateway.transcription.domain.lines import Line
from gateway.transcription.infra.account import GladiaAccount
from gateway.transcription.infra.journal import SpoolJournal, open_journal
from gateway.transcription.infra.ledger import PostgresUsageLedger
from gateway.transcription.infra.provider_sessions import PostgresSessionLedger
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.infra.rtmp_source import RtmpSource
from gateway.transcription.infra.sources import Sources
from gateway.transcription.infra.transcription_records import PostgresLeases
from gateway.transcription.usecases.attend import Attendance
from gateway.transcription.usecases.context import RunContext, RunOptions
from gateway.transcription.usecases.cutoff import CutOff
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.handover import Handover, Neighbours
from gateway.transcription.usecases.host import Hosts
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.lines import Lines
from gateway.transcription.usecases.provider_erasure import ProviderErasure
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.status import Status
from gateway.transcription.usecases.steering import Others, Steering
from gateway.transcription.usecases.sweep import Sweeper
from gateway.transcription.usecases.transcriptions import Transcriptions
from ingest.rtmp.server import RtmpServer

if TYPE_CHECKING:
    from gateway.transcription.infra.livekit_server import LivekitServer

log = logging.getLogger(__name__)

# A full spool of 256 MB holds 180,000 finals; the database takes about 6,500 a second.
_RECOVER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class TranscriptionWing:
    """Parts that other wings, the API or the metrics need; nothing of it runs before `running.stages`."""

    records: Records
    finals: FinalReader
    journal: SpoolJournal
    recorder: Recorder
    sources: Sources
    rtmp: RtmpServer
    """Made, not listening yet."""
    livekit: LivekitServer | None
    keeper: LimitKeeper
    transcriptions: Transcriptions
    """Of this replica."""
    status: Status
    steering: Steering
    """Starts and stops them on any."""
    handover: Handover
    """Takes them from other replicas, and gives them away."""
    lines: Lines
    cut_off: CutOff
    hosts: Hosts
    attendance: Attendance | None
    """None unless people in a LiveKit room begin its transcription (LIVEKIT_AUTO_START)."""
    sweeper: Sweeper
    erasure: ProviderErasure


@asynccontextmanager
async def open_transcription(
    replica: Replica, membership: Membership, speech: ProviderWing, hub: Hub, others: Others, heirs: Neighbours
) -> AsyncIterator[TranscriptionWing]:
    """Everything made, nothing running: no lease is taken and no port is bound yet.

    What the spool kept for the database is stored before this yields: adopting a transcription reads the numbering
    that it continues. Raises: JournalTrouble, StartFailed.
    """
    settings, clock, addresses = replica.settings, replica.clock, replica.addresses
    slots = speech.slots.shared
    leases = PostgresLeases(
        replica.database,
        clock,
        replica.process,
        lambda: membership.run_id,
        slots.inherit if slots is not None else lambda places: None,
    )
    records = postgres_records(
        replica.database, clock, replica.account, replica.process, leases, settings.max_participants
    )
    async with (
        _open_recorder(replica, records, hub, membership.may_act) as (journal, recorder),
        _decoder_threads() as decoders,
        open_livekit_server(settings, replica.secrets) as livekit,
    ):
        listen = (lambda room, fence: livekit.listen(room, fence, clock)) if livekit else None
        rtmp = partial(RtmpSource, executor=decoders, clock=clock, may_acknowledge=membership.may_acknowledge)
        sources = Sources(rtmp, clock, addresses.rtmp_base, addresses.http_url, listen, membership.may_acknowledge)
        keeper = LimitKeeper(_limits(settings), PostgresUsageLedger(replica.database, clock), clock)
        options = _run_options(settings, replica.owner)
        context = RunContext(records, recorder, hub, speech.transcriber, clock, options, keeper, membership)
        transcriptions = Transcriptions(context, sources)
        steering = Steering(transcriptions, records, others, settings.drain_s, settings.lease_s)
        lines = _lines(speech, livekit, addresses.rtmp_base, clock)
        handover = Handover(transcriptions, context, heirs, partial(lines.has, Line.PROVIDER))
        sweeper, erasure = _provider_upkeep(replica, speech, transcriptions)
        yield TranscriptionWing(
            records=records,
            finals=FinalReader(records, recorder.unstored),
            journal=journal,
            recorder=recorder,
            sources=sources,
            rtmp=RtmpServer(rtmp_options(settings, replica.files, is_shared=replica.worker is not None), sources),
            livekit=livekit,
            keeper=keeper,
            transcriptions=transcriptions,
            status=Status(transcriptions, records),
            steering=steering,
            handover=handover,
            lines=lines,
            cut_off=CutOff(transcriptions, handover, lines, clock, settings.cutoff_s),
            hosts=Hosts(records, hub, lambda: transcriptions.runs),
            attendance=Attendance(transcriptions, records, livekit, steering)
            if livekit and settings.livekit_auto_start
            else None,
            sweeper=sweeper,
            erasure=erasure,
        )


@asynccontextmanager
async def _open_recorder(
    replica: Replica, records: Records, hub: Hub, may_act: Callable[[], bool]
) -> AsyncIterator[tuple[SpoolJournal, Recorder]]:
    """The spool, and the recorder on it once everything that it kept is in the database."""
    settings = replica.settings
    async with open_journal(settings.data_dir / "spool", settings.spool_mb * 1_000_000) as journal:
        recorder = Recorder(records, hub, replica.clock, journal, delays=replica.delays, may_act=may_act)
        await _recover(recorder)
        yield journal, recorder


async def _recover(recorder: Recorder) -> None:
    """Raises: StartFailed when the database does not take it in time; it stays on disk then."""
    try:
        async with asyncio.timeout(_RECOVER_S):
            count = await recorder.recover()
    except TimeoutError:
        raise StartFailed(
            f"the database did not take within {_RECOVER_S:g} s the finals that were kept on disk; "
            "nothing is lost: look after the database and start again"
        ) from None
    if count:
        log.warning("finals and meter readings of the former process brought to the database: %d", count)


@asynccontextmanager
async def _decoder_threads() -> AsyncIterator[ThreadPoolExecutor]:
    """Codecs release the interpreter's lock, so threads are enough; one a core, and one to spare."""
    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1, thread_name_prefix="decode") as threads:
        yield threads


def _lines(
    speech: ProviderWing, livekit: LivekitServer | None, rtmp_base: Callable[[], str | None], clock: Clock
) -> Lines:
    async def takes_encoders(within_s: float) -> bool:
        return rtmp_base() is not None

    tries = {Line.PROVIDER: speech.provider.reaches, Line.ENCODERS: takes_encoders}
    return Lines(tries | ({Line.LIVEKIT: livekit.reaches} if livekit else {}), clock)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.transcription,
        settings.session_minutes,
        settings.user_minutes_per_day,
        settings.space_minutes_per_day,
    )


def _run_options(settings: Settings, owner: str) -> RunOptions:
    return RunOptions(
        owner=owner,
        drain_s=settings.drain_s,
        cost_per_minute=settings.cost_per_minute,
        store_partials=settings.store_partials,
        maximum_s=settings.max_transcription_s,
        max_tracks=settings.max_tracks,
    )


def _provider_upkeep(
    replica: Replica, speech: ProviderWing, transcriptions: Transcriptions
) -> tuple[Sweeper, ProviderErasure]:
    """What is seen to at the provider behind the runs: sessions left open, bills, deletions."""
    account = GladiaAccount(speech.provider)
    ledger = PostgresSessionLedger(replica.database, replica.account, replica.process)
    sweeper = Sweeper(
        account,
        ledger,
        replica.clock,
        owner=replica.owner,
        process=replica.process,
        swept=partial(available(speech.slots.table.drop_former), replica.owner),
        salvage=transcriptions.salvage,
    )
    return sweeper, ProviderErasure(account, ledger, replica.clock)
