"""The live stream of a session, as a transcription sees it."""

from __future__ import annotations

from typing import Protocol

from gateway.transcription.domain.captions import Caption
from gateway.transcription.domain.timing import Timing
from gateway.transcription.domain.transcription import Lease, Numbering


class LiveChannel(Protocol):
    """The live stream of one session, to all who watch it. No method waits or fails, whatever the watchers do."""

    def final(self, seq: int, utterance_id: str, data: bytes) -> None:
        """Show a final; of one run in the order of their numbers. A number that was shown already is ignored."""

    def partial(self, utterance_id: str, data: bytes) -> None:
        """Show words of an utterance before its final. Replaces its former partial; slow watchers may miss it."""

    def say(self, kind: str, data: bytes) -> None:
        """Send an event that is not replayed to those who come later: health, error and the like."""


class Live(Protocol):
    """The live streams of this replica. No method waits or fails."""

    def channel(self, session_slug: str) -> LiveChannel:
        """The session's channel; made when there is none."""

    def begin(self, session_slug: str, numbering: Numbering, lease: Lease | None = None) -> None:
        """Say where the numbering stands, and under which lease: once for each run, before its first final."""

    def move(self, session_slug: str) -> None:
        """The run goes on at another replica: watchers here are shown what that one says, without a word about it."""

    def set_state(self, session_slug: str, state: str, reason: str | None) -> None:
        """Show the state of a session's transcription, also to those who come later. `state`: in lower case."""

    def lose(self, session_slug: str) -> None:
        """Its run is another replica's from here on, perhaps from an earlier final: watchers are sent to find it."""

    def translation(self, session_slug: str, data: bytes) -> None:
        """Show a translation where the session is shown. One with a `seq` is stored; else it may come again."""

    def timing(self, session_slug: str, timing: Timing) -> None:
        """Where the time of the final went that was shown just now: for those who watch here and have asked for it."""

    def encode(self, caption: Caption, stable_chars: int | None = None) -> bytes:
        """The `data` of a transcript message, as JSON. `stable_chars`: of a partial; UTF-16 units."""
