"""Tokens for people who join a session's room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.transcription.infra import livekit_tokens

if TYPE_CHECKING:
    from gateway.transcription.infra.livekit_tokens import Keys


@dataclass(frozen=True, slots=True)
class LivekitPasses:
    """`url`: where browsers reach the server. Loading this module loads LiveKit's SDK, half a second."""

    url: str
    keys: Callable[[], Keys]
    lifetime: timedelta

    def mint(self, room: str, identity: str, name: str | None) -> str:
        """A signed JWT, good from now for `lifetime`; the server is not asked."""
        return livekit_tokens.participant(self.keys(), room, identity, name, self.lifetime)
