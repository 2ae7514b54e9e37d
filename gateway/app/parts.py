"""What the gateway is made of, each opened from the settings alone, for the whole and for single commands."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from gateway.analysis.analyse import Analyst
from gateway.analysis.analysts import ModelAnalyst, OfflineAnalyst
from gateway.analysis.chat import ChatOptions, open_chat
from gateway.settings import Settings
from gateway.transcription.domain.limits import Limits as SpendingLimits
from gateway.transcription.infra.instance import FolderInUse, own_instance
from gateway.transcription.infra.voice import MARGIN_S
from gateway.transcription.usecases.journal import JournalTrouble
from ingest.errors import IngestError
from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.errors import StorageError
from storage.postgres.url import BadDatabaseUrl
from stt.errors import SttError
from stt.gladia.client import ProviderOptions
from stt.gladia.options import LinkOptions
from stt.local.server import LocalOptions, LocalServer

if TYPE_CHECKING:
    from gateway.transcription.infra.livekit_server import LivekitServer

log = logging.getLogger(__name__)

# Postgres absent at start has to be said within ten seconds, the shutdown included.
CONNECT_S = 5.0


class StartFailed(Exception):
    """A part that is needed cannot be had; the text says which and what to do."""


@contextmanager
def start_failures() -> Iterator[None]:
    """One class for the caller, one clear text for the operator."""
    try:
        yield
    except (StorageError, SttError, IngestError, BadDatabaseUrl) as error:
        raise StartFailed(str(error)) from error
    except (FolderInUse, JournalTrouble) as error:
        raise StartFailed(str(error)) from error
    except OSError as error:
        raise StartFailed(f"cannot listen: {error.strerror or error}; free the port, or choose another one") from error


class Place:
    """Where this gateway is reached, known once the ports are bound."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.public_url
        self.http_port = settings.http_port
        self.rtmp_port: int | None = None

    @property
    def http_url(self) -> str:
        return self._public or f"http://localhost:{self.http_port}"

    def document_url(self, slug: str) -> str:
        """Where a session's transcript document is read, for stores that have no URL of their own."""
        return f"{self.http_url}/api/sessions/{quote(slug, safe='')}/document"

    @property
    def rtmp_base(self) -> str | None:
        if self.rtmp_port is None:
            return None
        host = urlsplit(self.http_url).hostname or "localhost"
        return f"rtmp://{f'[{host}]' if ':' in host else host}:{self.rtmp_port}"


def own_name(settings: Settings, rooms: AsyncExitStack) -> str:
    try:
        return rooms.enter_context(own_instance(settings.data_dir))
    except FolderInUse:
        raise
    except OSError as error:
        raise StartFailed(f"the data folder cannot be used ({error}); set GATEWAY_DATA_DIR") from error


async def open_database_url(settings: Settings, rooms: AsyncExitStack, failed: asyncio.Future[None]) -> str:
    if settings.database_url is not None:
        return settings.database_url
    embedded = await rooms.enter_async_context(EmbeddedPostgres(settings.data_dir))
    watch = asyncio.create_task(embedded.wait_failed(), name="embedded-postgres")

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
            failed.set_exception(error)

    watch.add_done_callback(tell)
    rooms.callback(watch.cancel)
    log.info("embedded PostgreSQL runs", extra={"dataDir": str(settings.data_dir), "url": embedded.url})
    return embedded.url


async def provider_options(settings: Settings, rooms: AsyncExitStack) -> ProviderOptions:
    """Gladia, or the offline recogniser behind the same protocol. Which of them is never a matter of luck."""
    link = LinkOptions(idle_s=settings.stt_idle_s, trailing_silence_s=settings.stt_endpointing_s + MARGIN_S)
    if settings.engine == "gladia":
        return ProviderOptions(settings.gladia_api_key or "", settings.gladia_api_url, link=link)
    key = secrets.token_urlsafe(16)
    local = await rooms.enter_async_context(LocalServer(LocalOptions(api_key=key, engine=settings.engine)))
    log.warning(
        "transcribing OFFLINE with %s: English only, two to three words in ten are wrong; "
        "set GLADIA_API_KEY for the real service",
        settings.engine,
    )
    return ProviderOptions(key, local.url, link=link)


async def livekit_server(settings: Settings, rooms: AsyncExitStack) -> LivekitServer | None:
    """The LiveKit server, if there is one; its SDK takes half a second to load, and others need not wait for it."""
    if settings.livekit_url is None:
        return None
    from gateway.transcription.infra.livekit_server import LivekitOptions, open_livekit
    from gateway.transcription.infra.livekit_tokens import Keys

    options = LivekitOptions(
        settings.livekit_url,
        Keys(settings.livekit_api_key or "", settings.livekit_api_secret or ""),
        screen_share=settings.livekit_screen_share,
        captions=settings.livekit_captions,
        empty_room_s=settings.empty_room_s,
        hang_over_s=settings.stt_endpointing_s + 0.5,
        unsubscribe_muted_s=settings.livekit_unsubscribe_muted_s,
    )
    return await rooms.enter_async_context(open_livekit(options))


def spending_limits(settings: Settings) -> SpendingLimits:
    return SpendingLimits(
        settings.transcription,
        settings.session_minutes,
        settings.user_minutes_per_day,
        settings.space_minutes_per_day,
    )


async def analyst(settings: Settings, rooms: AsyncExitStack) -> Analyst:
    """A language model where one is configured: a model that fails is never silently replaced by word statistics."""
    if settings.analysis_url is None:
        return OfflineAnalyst()
    chat = await rooms.enter_async_context(open_chat(chat_options(settings, settings.analysis_url)))
    return ModelAnalyst(chat, settings.analysis_part_characters)


def chat_options(settings: Settings, url: str) -> ChatOptions:
    return ChatOptions(url, settings.analysis_model or "", settings.analysis_key, settings.analysis_timeout_s)


def decoder_threads() -> ThreadPoolExecutor:
    """Codecs release the interpreter's lock, so threads are enough; one a core, and one to spare."""
    return ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1, thread_name_prefix="decode")
