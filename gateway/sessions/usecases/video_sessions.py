"""Create, find, list, end and delete video sessions; tokens for their rooms."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway import names
from gateway.errors import SessionNotFound
from gateway.sessions.domain.access import Caller, Kind, What
from gateway.sessions.domain.errors import NoRooms, NoSuchSpace
from gateway.sessions.domain.video_session import VideoSession, is_over, new_slug
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.ports import Begun, NewSession, RoomTokens, SessionRepository, SlugTaken, Wanted
from gateway.transcription.domain.passes import MintedFor

if TYPE_CHECKING:
    from gateway.sessions.usecases.closing import Closing
    from gateway.sessions.usecases.server_transcription import ServerTranscription

log = logging.getLogger(__name__)

LISTED: Final = 200
LONGEST_TITLE: Final = 500


@dataclass(frozen=True, slots=True)
class Created:
    """`join_token`: what guests have to show; said this once and never again."""

    session: VideoSession
    join_token: str | None


@dataclass(frozen=True, slots=True)
class RoomPass:
    """A LiveKit token, the URL of its server as browsers reach it, and the room's name, which is the slug."""

    token: str
    url: str
    room: str


class VideoSessions:
    """`rooms`: None without a LiveKit server. `audio`: tokens for this gateway alone. `choose` picks a letter of a
    slug, unpredictably.
    """

    def __init__(
        self,
        sessions: SessionRepository,
        admission: Admission,
        closing: Closing,
        transcription: ServerTranscription,
        rooms: RoomTokens | None,
        audio: RoomTokens | None = None,
        *,
        choose: Callable[[str], str] = secrets.choice,
    ) -> None:
        self._sessions = sessions
        self._admission = admission
        self._closing = closing
        self._transcription = transcription
        self._rooms = rooms
        self._audio = audio
        self._choose = choose

    async def create(
        self, caller: Caller, title: str | None, space_id: str | None, *, require_join_token: bool = False
    ) -> Created:
        """Without a space, in the user's active one. Raises: NoSuchSpace, CredentialNeeded, Denied, NameRefused."""
        space, shown = space_id or self._space_of(caller), names.name(title, "title", LONGEST_TITLE)
        self._admission.space(caller, What.CREATE, space)
        await self._admission.meet(caller)
        creator = caller.id if caller.kind is Kind.USER else None
        join_token, digest = _join_token() if require_join_token else (None, None)
        while True:
            try:
                session = await self._sessions.create(NewSession(new_slug(self._choose), shown, space, creator, digest))
            except SlugTaken:
                continue
            except LookupError:
                raise NoSuchSpace(f"there is no space {space!r}") from None
            log.info("session created", extra={"session": session.slug})
            return Created(session, join_token)

    async def get(self, caller: Caller, slug: str) -> VideoSession:
        """Raises: as `Admission.session`."""
        return await self._admission.session(caller, slug, What.VIEW)

    async def listed(
        self, caller: Caller, space_id: str | None = None, limit: int = LISTED, before: str | None = None
    ) -> list[VideoSession]:
        """Newest first, of the user's active space unless another is named; a service may ask for all spaces.

        `before`: the slug of the last one seen. Raises: NoSuchSpace, CredentialNeeded, Denied, RecordsUnavailable.
        """
        space = space_id or (None if caller.kind is Kind.SERVICE else self._space_of(caller))
        self._admission.space(caller, What.LIST, space)
        return await self._sessions.listed(space, limit, before)

    async def end(self, caller: Caller, slug: str) -> bool:
        """Idempotent; waits until the last finals are in and the document is written, as long as that may take.

        Returns: False when it had ended before.
        """
        session = await self._admission.session(caller, slug, What.END)
        await self._closing.end(session, "asked for")
        return not is_over(session.status)

    async def delete(self, caller: Caller, slug: str) -> None:
        """Raises: as `Admission.session` and `Closing.delete`."""
        await self._closing.delete(await self._admission.session(caller, slug, What.DELETE))

    async def room_pass(
        self,
        caller: Caller,
        slug: str,
        identity: str | None,
        name: str | None,
        join_token: str | None = None,
        *,
        for_audio: bool = False,
    ) -> RoomPass:
        """`for_audio`: a token for the gateway's own audio and captions, which needs no LiveKit server.

        Raises: NoRooms, IdentityTaken, NameRefused, and as `Admission.session`.
        """
        session = await self._admission.session(caller, slug, What.TOKEN, join_token=join_token)
        chosen = await self._admission.identity(caller, session, identity)
        rooms = self._audio if for_audio else self._rooms
        if rooms is None:
            raise NoRooms
        return RoomPass(rooms.mint(session.slug, chosen, names.name(name), _bearer(caller)), rooms.url, session.slug)

    async def renew_join_token(self, caller: Caller, slug: str) -> tuple[str, datetime]:
        """A new one, which guests must show from now on, and when it was made; former ones are good no more. Told this
        once.

        Raises: as `Admission.session`.
        """
        session = await self._admission.session(caller, slug, What.RENEW_JOIN_TOKEN)
        join_token, digest = _join_token()
        made_at = await self._sessions.require_join_token(session.id, digest)
        log.info("join token renewed", extra={"session": session.slug})
        return join_token, made_at

    async def let_guests_read(self, caller: Caller, slug: str, *, may: bool) -> VideoSession:
        """Whether guests who were in it may read it once it is over. Raises: as `Admission.session`."""
        session = await self._admission.session(caller, slug, What.LET_GUESTS_READ)
        await self._sessions.keep_from_guests(session.id, kept=not may)
        return session

    async def kept_from_guests(self, sessions: Sequence[VideoSession]) -> set[str]:
        """Ids of those that guests may not read once they are over. Raises: RecordsUnavailable."""
        return await self._sessions.kept_from_guests([one.id for one in sessions])

    async def require_join_token(self, sessions: Sequence[VideoSession]) -> Mapping[str, datetime | None]:
        """Ids of those that guests join with a join token only, and when it was made. Raises: RecordsUnavailable."""
        return await self._sessions.join_required([one.id for one in sessions])

    async def transcribe(self, caller: Caller, slug: str, source: str | None, wanted: Wanted | None = None) -> Begun:
        """startServerTranscription, as a caller asks for it; idempotent. The session must be LIVE.

        Raises: SessionError, RecordsUnavailable.
        """
        what = What.CHOOSE_COST if wanted is not None and wanted.is_about_money else What.TRANSCRIBE
        session = await self._admission.session(caller, slug, what)
        begun = await self._transcription.start(session.slug, source, wanted)
        if begun.ingest is None or begun.ingest.stream_key is None:
            return begun
        if await self._admission.allows(caller, session, What.READ_KEY):
            return begun
        return replace(begun, ingest=None)  # who has the key throws the real encoder out

    async def stop_transcribing(self, slug: str) -> bool:
        """stopServerTranscription; idempotent. Raises: SessionNotFound."""
        if await self._sessions.by_slug(slug) is None:
            raise SessionNotFound(slug)
        return await self._transcription.stop(slug, "stopped by request")

    def _space_of(self, caller: Caller) -> str:
        if caller.active_space:
            return caller.active_space
        if caller.kind is Kind.SERVICE:
            return self._sessions.default_space
        if len(caller.spaces) == 1:
            return next(iter(caller.spaces))
        if caller.kind is Kind.USER:
            raise NoSuchSpace("spaceId is needed: the token has no activeSpaceId")
        return ""  # guests and room tokens belong to no space


def _join_token() -> tuple[str, bytes]:
    """A new one, and its hash."""
    token = secrets.token_urlsafe(24)
    return token, sha256(token.encode()).digest()


def _bearer(caller: Caller) -> MintedFor:
    match caller.kind:
        case Kind.SERVICE:
            return MintedFor("service")
        case Kind.USER:
            return MintedFor("user", caller.id)
        case _:
            return MintedFor("guest")
