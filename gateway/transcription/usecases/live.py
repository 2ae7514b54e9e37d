"""The live stream of a session, as a transcription sees it."""

from __future__ import annotations

from typing import Protocol

from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.transcription import Numbering


class LiveChannel(Protocol):
    """The live stream of one session: everybody who watches it."""

    def final(self, seq: int, utterance_id: str, data: bytes) -> None: ...
    def partial(self, utterance_id: str, data: bytes) -> None: ...
    def say(self, kind: str, data: bytes) -> None:
        """An event that nobody needs to be replayed: session.state, health, translation."""


class Live(Protocol):
    def channel(self, session_slug: str) -> LiveChannel: ...
    def begin(self, session_slug: str, numbering: Numbering) -> None:
        """Say where the numbering stands, before the first final of a run."""

    def set_state(self, session_slug: str, state: str, reason: str | None) -> None: ...
    def encode(self, caption: Caption) -> bytes:
        """The `data` of a transcript message."""
