"""Tokens for people who join a session's room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import jwt

from gateway.clock import Clock
from gateway.transcription.domain.passes import ISSUER, MintedFor, signing_key, written

if TYPE_CHECKING:
    from gateway.transcription.infra.livekit_tokens import Keys


@dataclass(frozen=True, slots=True)
class LivekitPasses:
    """`url`: where browsers reach the server. Loading this module loads LiveKit's SDK, half a second."""

    url: str
    keys: Callable[[], Keys]
    lifetime: timedelta

    def mint(self, room: str, identity: str, name: str | None, bearer: MintedFor) -> str:
        """A signed JWT, good from now for `lifetime`; the server is not asked."""
        from gateway.transcription.infra import livekit_tokens

        return livekit_tokens.participant(self.keys(), room, identity, name, self.lifetime, written(bearer))


class AudioPasses:
    """Tokens for this gateway's own WebSockets: to speak, to read along, to say that one joins and leaves.

    `base_url`: of this gateway as browsers reach it. `service_tokens`: those in force; the first one signs, any is
    accepted.
    """

    def __init__(
        self,
        base_url: Callable[[], str],
        service_tokens: Callable[[], tuple[str, ...]],
        clock: Clock,
        lifetime: timedelta,
    ) -> None:
        self._base_url = base_url
        self._tokens = service_tokens
        self._clock = clock
        self._lifetime = lifetime

    @property
    def url(self) -> str:
        """Of the audio WebSocket."""
        return self._base_url().rstrip("/").replace("http", "ws", 1) + "/api/realtime/audio"

    def mint(self, room: str, identity: str, name: str | None, bearer: MintedFor) -> str:
        """A signed JWT, good from now for `lifetime`."""
        expires = int((self._clock.now() + self._lifetime).timestamp())
        claims = {"iss": ISSUER, "sub": identity, "room": room, "exp": expires, "attributes": written(bearer)}
        key = signing_key(self._tokens()[0])
        return jwt.encode(claims if name is None else {**claims, "name": name}, key, algorithm="HS256")
