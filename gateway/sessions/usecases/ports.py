"""What the use cases around a video session need from the world. Adapters are in `gateway.sessions.infra`.

Repositories only read and write; what must be atomic is one transaction. Every method may raise RecordsUnavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gateway.sessions.domain.video_session import Participant, Segment, VideoSession
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import Ingest, StartRequest


class SlugTaken(Exception):
    """Another session has that slug."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """`join_token_sha256`: of the token that guests have to show; None when they need none."""

    slug: str
    title: str | None
    space_id: str
    created_by_user_id: str | None
    join_token_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """`role` None: GUEST, or what it was. `trusted`: the identity is proven, or vouched for by the app."""

    identity: str
    name: str | None = None
    role: str | None = None
    user_id: str | None = None
    trusted: bool = False

    @property
    def owns(self) -> bool:
        """The identity is the id of this very user, who goes before all others that came under it."""
        return self.user_id is not None and self.identity == self.user_id


@dataclass(frozen=True, slots=True)
class Joined:
    """`went_live`: this very join made the session LIVE."""

    participant: Participant
    went_live: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """One connection of an identity to a LiveKit room. `joined_ms`: by the LiveKit server's clock, since 1970.

    `sid`: empty at an end that does not say of which connection.
    """

    identity: str
    sid: str
    joined_ms: int


class TablesOfTheApp(Exception):
    """Emptying the tables is for development, on tables that the gateway made; these are the app's."""


class SessionRepository(Protocol):
    """The app's sessions. A move of the state is one conditional statement: of two calls at once, one makes it."""

    @property
    def default_space(self) -> str:
        """The space of a gateway without an app."""

    async def create(self, new: NewSession) -> VideoSession:
        """Status CREATED. Raises: SlugTaken; LookupError when there is no such space."""

    async def by_slug(self, slug: str) -> VideoSession | None:
        """None when there is none, or when it was deleted."""

    async def by_id(self, session_id: str) -> VideoSession | None:
        """None when there is none, or when it was deleted."""

    async def listed(self, space_id: str | None, limit: int, before: str | None) -> list[VideoSession]:
        """Newest first, without the expired; None: of all spaces. `before`: the slug of the last one seen."""

    async def join_token_sha256(self, session_id: str) -> bytes | None:
        """Of the token that guests must show; None when they need none."""

    async def require_join_token(self, session_id: str, token_sha256: bytes) -> datetime:
        """From now on guests must show this one; a former one dies in the same statement. Returns: when it was made."""

    async def join_required(self, session_ids: Sequence[str]) -> Mapping[str, datetime | None]:
        """Those of them whose guests must show a join token, and when it was made, if that is known: that of a new
        session with the session."""

    async def keep_from_guests(self, session_id: str, *, kept: bool) -> None:
        """Whether guests may not read it any more once it is over. May be repeated."""

    async def kept_from_guests(self, session_ids: Sequence[str]) -> set[str]:
        """Those of them that guests may not read any more once they are over."""

    async def end(self, session_id: str, follow_up_at: datetime | None, inactive_since: datetime | None = None) -> bool:
        """LIVE → ENDED. Returns: whether this call made the move.

        With `follow_up_at` an ending is noted with it, due then. With `inactive_since` only if nothing has happened
        in the session since.
        """

    async def expire(self, session_id: str) -> bool:
        """CREATED → EXPIRED. Returns: whether this call made the move."""

    async def expire_created(self, before: datetime) -> list[VideoSession]:
        """CREATED → EXPIRED for all created earlier. Returns: those."""

    async def inactive(self, since: datetime, limit: int) -> list[VideoSession]:
        """LIVE ones in which nothing has happened since, the quietest first."""

    async def over(self, session_ids: Sequence[str]) -> set[str]:
        """Those of them that are ended or expired."""

    async def delete(self, session_id: str) -> bool:
        """With all that belongs to it, in one transaction; usage is archived. Returns: whether it was there."""

    async def delete_all(self) -> int:
        """Every session, as `delete`: for development. Returns: how many. Raises: TablesOfTheApp."""


class ParticipantRepository(Protocol):
    """Who has joined which session; one row an identity and session."""

    async def enter(self, session_id: str, joining: Joining) -> Joined | None:
        """Upsert by identity; CREATED becomes LIVE and activity is noted, in the same transaction; may be repeated.

        Returns: None, and nothing has changed, when the session is over or gone, or the identity another user's.
        Raises: SessionFull; a participant who has joined before may always come back.
        """

    async def leave(self, session_id: str, identity: str) -> bool:
        """Note when. Returns: whether that participant was present; a repeat changes nothing."""

    async def by_identity(self, session_id: str, identity: str) -> Participant | None:
        """Present or not; None when that identity has never joined."""

    async def by_user(self, session_id: str, user_id: str) -> list[Participant]:
        """Those of one user, present or not, also under an identity that is its id; at most 16, hosts first."""

    async def owner(self, session_id: str, identity: str) -> str | None:
        """The user to whom an identity belongs there: who has that id, having come or not; else whose participant it
        is. None: no user's."""

    async def meet(self, user_id: str) -> None:
        """A user's token was shown: that id is no other one's identity from now on. May be repeated."""

    async def visit(self, session_id: str, visit: Visit, *, begins: bool) -> bool:
        """Note that a connection to the room has begun, or is over. May be repeated.

        Returns: False for what changes nothing: an older connection than the last one known, or the beginning of one
        that is over already. Webhooks come late, twice, and out of order.
        """

    async def of(self, session_id: str, *, active_only: bool) -> list[Participant]:
        """Who joined first comes first; without `active_only` also those who have left."""


class TranscriptRepository(Protocol):
    """The app's segments, written by a transcription or by the app."""

    async def append(self, session_id: str, participant_id: str | None, segment: Segment) -> None:
        """Insert or update by utterance; a late partial never replaces a final. May be repeated."""

    async def of(self, session_id: str, *, finals_only: bool) -> list[Segment]:
        """In spoken order."""

    async def by_utterance(self, session_id: str, utterance_id: str) -> Segment | None:
        """As stored now; None when there is none."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What has to follow the end of a session and is not done. `attempts`: that failed so far."""

    session_id: str
    attempts: int


class Endings(Protocol):
    """What has to follow ended sessions: one row a session, written with the end itself (`SessionRepository.end`)."""

    async def pending(self, session_id: str) -> Ending | None:
        """What is noted for a session; None when all of it is done, or the app has ended the session itself."""

    async def due(self, limit: int) -> list[Ending]:
        """Those whose time has come, the longest due first. Nothing is reserved: see to it that one replica asks."""

    async def later(self, session_id: str, at: datetime) -> None:
        """An attempt has failed; the next one is due then."""

    async def done(self, session_id: str) -> None:
        """All is done; repeating it changes nothing."""


class Duties(Protocol):
    """Work that one replica at a time does for all: a lease by name. It fences nothing: the work must be idempotent."""

    async def take(self, name: str, owner: str, for_s: float) -> bool:
        """Take the duty, or renew it, for `for_s` seconds. Returns: False while another owner has it."""

    async def leave(self, name: str, owner: str) -> None:
        """Free for the next replica at once. Changes nothing when `owner` does not have it."""


class RoomTokens(Protocol):
    """Access tokens of LiveKit rooms, made here: the server is not asked."""

    @property
    def url(self) -> str:
        """Where browsers reach the LiveKit server."""

    def mint(self, room: str, identity: str, name: str | None, bearer: MintedFor) -> str:
        """A token to join the room, publish and subscribe, as `identity`; how long it is valid is the adapter's.

        It says for whom it was made.
        """


@dataclass(frozen=True, slots=True)
class Begun:
    """What a start has led to, here or on another gateway. `state` in lower case.

    `detects_language`: none is in force.
    """

    transcription_id: str
    slug: str
    source: str
    state: str
    created: bool
    started_at: datetime
    ingest: Ingest | None
    detects_language: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options that a start asks for: `request` as this gateway reads them, `told` as the HTTP API takes them."""

    request: StartRequest
    told: Mapping[str, Any]

    @property
    def is_about_money(self) -> bool:
        """Whether the bill depends on them."""
        return bool(self.request.tags) or self.request.cost_cap_usd is not None


class TranscriptionControl(Protocol):
    """Start and stop transcribing: in this process, or on another gateway. Both calls may be repeated."""

    async def start(self, slug: str, source: str, wanted: Wanted | None = None) -> Begun:
        """Start, or find what runs already (`created` tells). Raises: SessionError; it may pass (`passing`).

        `wanted`: None goes on with the options of the session's last one, if that had the same source.
        """

    async def stop(self, slug: str, reason: str) -> bool:
        """Stop, and wait until the last finals are stored. Returns: whether no transcription of it is left anywhere.

        Raises: SessionError.
        """


class RateLimiter(Protocol):
    """Counts requests by rate and key."""

    async def wait_s(self, rate_name: str, per_minute: int, key: str) -> float:
        """Ask for one request of that key. Returns: 0 when it is granted and counted, else seconds to wait."""
