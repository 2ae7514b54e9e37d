"""Audio that pages and programs bring themselves: who may speak as whom, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.usecases.records import Records


@dataclass(frozen=True, slots=True)
class FeedStart:
    """What the first message says. `stream`: the sender's name for this audio, to go on with it after a cut.

    `age_s`: how long ago the first sample was spoken.
    """

    sample_rate: int
    channels: int
    stream: str | None = None
    age_s: float | None = None


class NotTaken(Exception):
    """No audio is taken now; the text says why. `come_back`: whether that can change by itself."""

    def __init__(self, why: str, *, come_back: bool = False) -> None:
        self.come_back = come_back
        super().__init__(why)


class Feed(Protocol):
    """One connection's way into a track."""

    @property
    def taken(self) -> int:
        """Frames of the sender's stream so far, those of its earlier connections included."""

    def put(self, pcm: bytes) -> None:
        """Raises: ValueError when the bytes are no whole frames."""

    def skip(self, seconds: float) -> None:
        """So long nothing was recorded."""

    async def room(self) -> None:
        """Wait until more may be read."""

    def leave(self, *, for_good: bool) -> None:
        """The connection is over; unless for good, the sender may go on with its stream for a while."""


Over = Callable[[str, bool], None]
"""The feed is over from this side: why, and whether somebody else has taken the place."""


class Entrance(Protocol):
    """Where audio goes in."""

    def enter(self, slug: str, speaker: Speaker | None, start: FeedStart, over: Over) -> Feed:
        """Without a speaker it is the transcription's own.

        Raises: NotTaken; ValueError when the format cannot be used.
        """


class IdentityRefused(Exception):
    """This caller may not speak under that identity."""


class Feeding:
    """Lets speakers in."""

    def __init__(self, records: Records, entrance: Entrance) -> None:
        self._records = records
        self._entrance = entrance

    async def own_identity(self, session_id: str, user_id: str, identity: str | None) -> Speaker:
        """A user speaks as itself, or as the participant of the session that it is.

        Raises: IdentityRefused, RecordsUnavailable.
        """
        if not identity or identity == user_id:
            return Speaker(user_id, None)
        for person in await self._records.participants(session_id):
            if person.identity == identity and person.user_id == user_id:
                return Speaker(identity, person.name)
        raise IdentityRefused(f"this user is not {identity!r} in this session")

    async def enter(self, slug: str, speaker: Speaker | None, start: FeedStart, over: Over) -> Feed:
        """Raises: NotTaken; ValueError when the format cannot be used; RecordsUnavailable."""
        try:
            return self._entrance.enter(slug, speaker, start, over)
        except NotTaken:
            record = await self._records.transcription(slug)
            if record is not None and record.source == "websocket" and record.state != "STOPPED":
                raise NotTaken("the transcription is run by another replica; come back", come_back=True) from None
            raise
