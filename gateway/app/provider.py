"""The speech provider: slots over all replicas of an account, the client, and the voice-activity gate before it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway import correlation
from gateway.app.replica import Replica
from gateway.app.secrets import HeldSecrets
from gateway.settings import Settings
from gateway.transcription.infra.provider_slots import SharedSlots
from gateway.transcription.infra.transcriber import GladiaTranscriber
from gateway.transcription.infra.voice import MARGIN_S, Voice, VoiceOptions
from storage.postgres.places import ProviderPlaces
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.options import LinkOptions

log = logging.getLogger(__name__)

PLACE_LEASES: Final = 3
"""A dead process's places last longer than it: whoever takes over its transcriptions has them before others do."""


@dataclass(frozen=True, slots=True)
class Slots:
    """`shared`: None where GATEWAY_STT_MAX_SESSIONS sets no limit; then a session needs no slot."""

    table: ProviderPlaces
    shared: SharedSlots | None


@asynccontextmanager
async def open_slots(replica: Replica) -> AsyncIterator[Slots]:
    """Slots are granted until the end of the block; then all go back, so every provider session must be over."""
    settings = replica.settings
    table = ProviderPlaces(replica.database, replica.account, replica.process)
    if not settings.stt_max_sessions:
        yield Slots(table, None)
        return
    shared = SharedSlots(table, settings.stt_max_sessions, PLACE_LEASES * settings.lease_s)
    async with shared.serving():
        yield Slots(table, shared)


@dataclass(frozen=True, slots=True)
class ProviderWing:
    """`voice`: the gate of all tracks, with its counts. `transcriber`: the port of the transcription wing."""

    provider: Provider
    slots: Slots
    voice: Voice
    transcriber: GladiaTranscriber


@asynccontextmanager
async def open_provider(
    replica: Replica, slots: Slots, engine: Callable[[], Awaitable[ProviderOptions]]
) -> AsyncIterator[ProviderWing]:
    """`engine`: what `open_engine` yields, as soon as it does. On leaving, provider sessions that are being ended are
    awaited. Raises: SttError, OSError."""
    settings = replica.settings
    async with Provider(await engine(), slots.shared) as provider:
        voice = Voice(VoiceOptions(settings.vad_mode, settings.stt_endpointing_s + MARGIN_S, settings.stt_mute_s))
        transcriber = GladiaTranscriber(
            provider,
            settings.engine,
            voice,
            process=replica.process,
            endpointing_s=settings.stt_endpointing_s,
            maximum_utterance_s=settings.stt_max_utterance_s,
        )
        yield ProviderWing(provider, slots, voice, transcriber)


@asynccontextmanager
async def open_engine(settings: Settings, held: HeldSecrets) -> AsyncIterator[ProviderOptions]:
    """Gladia, or the offline recogniser behind the same protocol; the settings alone decide which.

    The recogniser takes seconds to load, in processes of its own. Raises: SttError, OSError.
    """
    link = LinkOptions(idle_s=settings.stt_idle_s, trailing_silence_s=settings.stt_endpointing_s + MARGIN_S)
    if settings.engine == "gladia":
        key_now = held.provider_key
        url = settings.gladia_api_url
        yield ProviderOptions(key_now(), url, link=link, key_now=key_now, headers=correlation.headers)
        return
    from stt.local.server import LocalOptions, LocalServer  # only who has no provider needs one here

    key = secrets.token_urlsafe(16)
    async with LocalServer(LocalOptions(api_key=key, engine=settings.engine)) as local:
        log.warning(
            "transcribing OFFLINE with %s: English only, two to three words in ten are wrong; "
            "set GLADIA_API_KEY for the real service",
            settings.engine,
        )
        yield ProviderOptions(key, local.url, link=link, headers=correlation.headers)
