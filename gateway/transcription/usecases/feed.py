"""Audio that pages and programs send over WebSockets: under which identity, and into which transcription."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from gateway.errors import SessionError
from gateway.transcription.domain.captions import Speaker
from gateway.transcription.usecases.records import Records


@dataclass(frozen=True, slots=True)
class FeedStart:
    """What the first message says. `stream`: the sender's name for this audio, to go on with it after a cut.

    `age_s`: how long ago the first sample was spoken. `tells_gaps`: it says whenever nothing is recorded.
    """

    sample_rate: int
    channels: int
    stream: str | None = None
    age_s: float | None = None
    tells_gaps: bool = False


class NotTaken(Exception):
    """No audio is taken now; the text says why. `come_back`: whether the same request may succeed later."""

    def __init__(self, why: str, *, come_back: bool = False) -> None:
        self.come_back = come_back
        super().__init__(why)


class TakenElsewhere(NotTaken):
    """Another replica takes the audio of this transcription. `owner`: its id."""

    def __init__(self, owner: str) -> None:
        super().__init__("the transcription is run by another replica; come back", come_back=True)
        self.owner = owner


class Feed(Protocol):
    """One connection's way into a track. Once another connection has replaced it, its methods do nothing."""

    @property
    def speaker(self) -> Speaker:
        """As whom it is heard."""

    @property
    def taken(self) -> int:
        """Frames of the sender's stream so far, those of its earlier connections included."""

    def put(self, pcm: bytes) -> None:
        """Append audio in the format of `FeedStart`. Never waits: call `room` before reading more.

        Raises: ValueError when the bytes are not whole frames.
        """

    def skip(self, seconds: float) -> None:
        """Nothing was recorded for so many seconds; they lie behind what was `put` before."""

    async def room(self) -> None:
        """Wait until the track's buffer takes more."""

    def leave(self, *, for_good: bool) -> None:
        """The connection is over. Unless for good, the sender may go on with its stream over another connection, for
        a while. May be called twice."""


class Ending(Enum):
    """How the gateway ends a feed."""

    STOPPED = auto()
    REPLACED = auto()
    """Another connection of the same identity has taken its place."""
    MOVED = auto()
    """Another replica goes on with the transcription: come back."""


TurnedAway = Callable[[str, str | None, str], object]
"""Called when a sender is refused or has broken a rule: the slug that it named, its identity (None when it has not
proved one), and why, with what to do: the session's health says so."""

SetPause = Callable[[str, str, bool], Awaitable[None]]
"""Pause an identity of a session that is transcribed here, or resume it: slug, identity, whether it is paused. May be
repeated. Raises: SessionError, RecordsUnavailable."""

Over = Callable[[str, Ending], None]
"""Called when the gateway ends a feed: why, in words, and in which way."""


class Entrance(Protocol):
    """The transcriptions of this replica that take audio over WebSockets."""

    def enter(self, slug: str, speaker: Speaker | None, start: FeedStart, over: Over) -> Feed:
        """Open a track of `speaker` (None: of the transcription's own), or go on with one that was cut off.

        Replaces an earlier connection of the same identity. Raises: NotTaken; ValueError when the format cannot be
        used.
        """

    def takes(self, slug: str) -> bool:
        """Whether a transcription of this replica takes the session's audio."""


class IdentityRefused(Exception):
    """This caller may not speak under that identity."""


class Feeding:
    """Admits senders of audio."""

    def __init__(
        self, records: Records, entrance: Entrance, turned_away: TurnedAway, set_pause: SetPause | None = None
    ) -> None:
        self._set_pause = set_pause
        self._sessions = records.sessions
        self._transcriptions = records.transcriptions
        self._entrance = entrance
        self.turned_away = turned_away

    async def own_identity(self, session_id: str, user_id: str, identity: str | None) -> Speaker:
        """The speaker under which a user sends: its own id, or a participant of the session that belongs to it.

        Raises: IdentityRefused, RecordsUnavailable.
        """
        if not identity or identity == user_id:
            return Speaker(user_id, None)
        person = await self._sessions.participant(session_id, identity)
        if person is not None and person.user_id == user_id:
            return Speaker(identity, person.name)
        raise IdentityRefused(f"this user is not {identity!r} in this session")

    def takes(self, slug: str) -> bool:
        """As `Entrance.takes`."""
        return self._entrance.takes(slug)

    async def check_owner(self, session_id: str, identity: str, user_id: str | None) -> None:
        """Whether a token that we have made for that user (None: for a guest) may speak under `identity`.

        Raises: IdentityRefused, RecordsUnavailable.
        """
        owner = await self._sessions.owner(session_id, identity)
        if owner is not None and owner != user_id:
            raise IdentityRefused(f"{identity!r} is a signed-in user of this session; show that user's own token")

    async def check_room(self, session_id: str, identity: str, *, guest: bool) -> None:
        """Whether one more may speak. `guest`: nobody has signed in for it.

        Raises: IdentityRefused, RecordsUnavailable.
        """
        if not await self._sessions.has_room(session_id, identity, guest=guest):
            raise IdentityRefused("the session is full; see GATEWAY_MAX_PARTICIPANTS")

    async def enter(self, slug: str, speaker: Speaker | None, start: FeedStart, over: Over) -> Feed:
        """As `Entrance.enter`.

        Raises: NotTaken, TakenElsewhere; ValueError when the format cannot be used; RecordsUnavailable.
        """
        try:
            return self._entrance.enter(slug, speaker, start, over)
        except NotTaken:
            if (owner := await self.owner(slug)) is not None:
                raise TakenElsewhere(owner) from None
            raise

    async def pause(self, slug: str, feed: Feed, *, is_paused: bool) -> None:
        """The sender asks not to be heard, or to be heard again; whatever else it sends is dropped meanwhile.

        Raises: NotTaken, RecordsUnavailable.
        """
        if self._set_pause is not None:
            try:
                await self._set_pause(slug, feed.speaker.identity, is_paused)
            except SessionError as error:
                raise NotTaken(str(error), come_back=error.passing) from error

    async def owner(self, slug: str) -> str | None:
        """Id of the replica that takes the session's audio, this one perhaps; None: none does.

        Raises: RecordsUnavailable.
        """
        record = await self._transcriptions.newest(slug)
        takes_audio = record is not None and record.source == "websocket" and not record.is_stopped
        return record.owner if record is not None and takes_audio else None
