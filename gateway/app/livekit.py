"""The LiveKit server, where one is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.app.secrets import HeldSecrets
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.transcription.infra.livekit_server import LivekitServer


@asynccontextmanager
async def open_livekit_server(settings: Settings, held: HeldSecrets) -> AsyncIterator[LivekitServer | None]:
    """None without LIVEKIT_URL: the SDK takes half a second to load, which only those who use it pay.

    Nothing is asked of the server yet.
    """
    if settings.livekit_url is None:
        yield None
        return
    from gateway.transcription.infra.livekit_server import LivekitOptions, open_livekit
    from gateway.transcription.infra.livekit_tokens import Keys

    options = LivekitOptions(
        settings.livekit_url,
        lambda: [Keys(*pair) for pair in held.livekit_keys()],
        screen_share=settings.livekit_screen_share,
        captions=settings.livekit_captions,
        empty_room_s=settings.empty_room_s,
        hang_over_s=settings.stt_endpointing_s + 0.5,
        unsubscribe_muted_s=settings.livekit_unsubscribe_muted_s,
    )
    async with open_livekit(options) as server:
        yield server
