"""The sessions module and all that follows a session's end, wired once: for the whole gateway and for `maintain`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from gateway.analysis.analyse import Analyses
from gateway.app.parts import Place
from gateway.archive.deletions import PostgresKeepsakes
from gateway.archive.documents import BlobOptions, PostgresDocuments, open_blobs
from gateway.archive.erase import Eraser
from gateway.archive.finalise import Finaliser
from gateway.archive.retention import Retention
from gateway.clock import Clock
from gateway.live.hub import Hub
from gateway.sessions.infra.assembly import SessionsModule, assemble
from gateway.sessions.infra.remote_control import RemoteControl, RemoteOptions, open_remote_control
from gateway.sessions.usecases.ports import RoomTokens, TranscriptionControl
from gateway.sessions.usecases.upkeep import UpkeepOptions
from gateway.settings import Settings
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.transcriptions import STOP_MARGIN_S
from storage.postgres.pool import Database


@dataclass(frozen=True, slots=True)
class Service:
    """What a process has already when it opens its sessions.

    `control` starts and stops transcriptions here, unless WS_SERVER_URL names another gateway; `session_gone` tells
    them that a session was deleted.
    """

    owner: str
    database: Database
    clock: Clock
    records: Records
    hub: Hub
    place: Place
    analyses: Analyses
    control: TranscriptionControl
    session_gone: Callable[[str], None]
    own_tables: bool


@dataclass(frozen=True, slots=True)
class Sessions:
    module: SessionsModule
    finaliser: Finaliser
    retention: Retention


async def open_sessions(settings: Settings, service: Service, rooms: AsyncExitStack) -> Sessions:
    """Raises: what the blob store's options make it raise."""
    database, clock = service.database, service.clock
    blobs = await rooms.enter_async_context(open_blobs(_blob_options(settings)))
    finaliser = Finaliser(PostgresDocuments(database), blobs, clock, service.place.document_url)
    keepsakes = PostgresKeepsakes(database, clock)
    module = assemble(
        database,
        clock,
        await remote_control(settings, rooms) if settings.ws_server_url else service.control,
        service.records.transcriptions,
        _room_tokens(settings),
        UpkeepOptions(service.owner, settings.inactive_minutes, settings.expire_hours, settings.upkeep_s),
        join_starts=settings.join_source,
        own_tables=service.own_tables,
        follow_ups={"document": finaliser.finalise, "analysis": service.analyses.schedule},
        erase=Eraser(keepsakes, service.hub, finaliser, service.session_gone).erase,
    )
    return Sessions(module, finaliser, Retention(keepsakes, finaliser, clock, settings.retention_days))


async def remote_control(settings: Settings, rooms: AsyncExitStack) -> RemoteControl:
    options = RemoteOptions(
        settings.ws_server_url or "",
        settings.ws_server_token or next(iter(settings.api_tokens), ""),
        stop_s=settings.drain_s + STOP_MARGIN_S,
    )
    return await rooms.enter_async_context(open_remote_control(options))


def _room_tokens(settings: Settings) -> RoomTokens | None:
    if settings.livekit_url is None:
        return None
    from gateway.sessions.infra.room_tokens import LivekitPasses
    from gateway.transcription.infra.livekit_tokens import Keys

    url = settings.livekit_public_url or settings.livekit_url
    return LivekitPasses(
        url.replace("http", "ws", 1) if url.startswith("http") else url,
        Keys(settings.livekit_api_key or "", settings.livekit_api_secret or ""),
        timedelta(hours=settings.room_token_hours),
    )


def _blob_options(settings: Settings) -> BlobOptions:
    return BlobOptions(
        url=settings.blob_store,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
        s3_key_id=settings.s3_key_id,
        s3_secret=settings.s3_secret,
        vercel_token=settings.blob_token,
        vercel_access=settings.blob_access,
        vercel_api_url=settings.blob_api_url,
    )
