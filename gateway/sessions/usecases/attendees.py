"""Who is in a session: joining, leaving, and who is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import names
from gateway.errors import SessionFull, SessionNotFound, SessionOver
from gateway.sessions.domain.access import Caller, Kind, What, is_person
from gateway.sessions.domain.errors import Denied, IdentityTaken, NoSuchParticipant
from gateway.sessions.domain.video_session import Participant, Role, VideoSession, is_over
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.ports import Joining, ParticipantRepository, SessionRepository, Visit
from gateway.transcription.domain.passes import MintedFor

if TYPE_CHECKING:
    from gateway.sessions.usecases.server_transcription import ServerTranscription

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """`identity` None: the caller's own. `user_id`: only the app may say whose participant it is."""

    identity: str | None = None
    name: str | None = None
    role: Role | None = None
    user_id: str | None = None
    join_token: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A participant as the media server tells of it. `identity` and `name` are clean.

    `is_exact`: the identity is as the server has it, so that no other one could have become it. `bearer`: for whom we
    have made its token. `sid`: of this connection, "" where its end does not say of which.
    """

    identity: str
    name: str | None = None
    is_exact: bool = True
    bearer: MintedFor | None = None
    sid: str = ""
    joined_ms: int = 0

    def as_caller(self, room: str) -> Caller:
        """What its token would allow."""
        bearer = self.bearer if self.is_exact else MintedFor("guest")
        return Caller(Kind.ROOM, self.identity, room=room, bearer=bearer)


class Attendees:
    """Participants as the app lets them in, and as the media server sees them."""

    def __init__(
        self,
        sessions: SessionRepository,
        participants: ParticipantRepository,
        admission: Admission,
        transcription: ServerTranscription,
    ) -> None:
        self._sessions = sessions
        self._participants = participants
        self._admission = admission
        self._transcription = transcription

    async def join(self, caller: Caller, slug: str, request: JoinRequest) -> Participant:
        """upsertParticipantOnJoin. The first join makes the session LIVE; each join sees to its transcription.

        Raises: IdentityTaken, and as `Admission.session`.
        """
        host = (What.JOIN_AS_HOST,) if request.role is Role.HOST else ()
        session = await self._admission.session(caller, slug, What.JOIN, *host, join_token=request.join_token)
        if request.user_id is not None and caller.kind is not Kind.SERVICE:
            raise Denied("only the app may say whose participant it is", "leave userId out")
        identity = await self._admission.identity(caller, session, request.identity)
        user_id = request.user_id if caller.kind is Kind.SERVICE else caller.user_id
        if user_id is not None:
            await self._admission.know(user_id)
        joining = Joining(identity, names.name(request.name), request.role, user_id, caller.is_vouched)
        return await self._enter(session, joining)

    async def leave(self, caller: Caller, slug: str, identity: str | None) -> Participant:
        """markParticipantLeft, by the participant or by the app; idempotent.

        Raises: NoSuchParticipant, Denied, and as `Admission.session`.
        """
        session = await self._admission.session(caller, slug, What.LEAVE)
        chosen = names.identity(identity) or caller.id
        found = await self._participants.by_identity(session.id, chosen)
        if found is None:
            raise NoSuchParticipant(slug, chosen)
        if caller.kind is not Kind.SERVICE and not is_person(caller, found):
            raise Denied("that participant is somebody else")
        await self._leave(session, chosen)
        return await self._participants.by_identity(session.id, chosen) or found

    async def active(self, caller: Caller, slug: str) -> list[Participant]:
        """Those who have joined and not left, the longest present first. Raises: as `Admission.session`."""
        session = await self._admission.session(caller, slug, What.VIEW)
        return await self._participants.of(session.id, active_only=True)

    async def everyone(self, caller: Caller, slug: str) -> list[Participant]:
        """As `active`, with those who have left."""
        session = await self._admission.session(caller, slug, What.VIEW)
        return await self._participants.of(session.id, active_only=False)

    # --- what the media server has seen --------------------------------------------------------------------

    async def came(self, room: str, seen: Seen) -> None:
        """A participant is in the LiveKit room of that name, which may be no session's; idempotent.

        Begins no transcription: `Attendance` does for rooms. Raises: RecordsUnavailable.
        """
        session = await self._sessions.by_slug(room)
        if session is None or is_over(session.status):
            return
        owner = await self._participants.owner(session.id, seen.identity)
        if not (seen.as_caller(room).may_be(owner) and await self._visit(session, seen, begins=True)):
            return
        user_id = seen.bearer.user_id if seen.bearer is not None else None
        joining = Joining(seen.identity, seen.name, user_id=user_id, trusted=owner is not None)
        try:
            await self._enter(session, joining, transcribe=False)
        except (SessionOver, SessionNotFound, SessionFull, IdentityTaken) as error:
            log.info(
                "participant not entered: %s", error, extra={"session": room}
            )  # ended or deleted since it was read

    async def went(self, room: str, seen: Seen) -> None:
        """A participant has left the LiveKit room; as `came`."""
        session = await self._sessions.by_slug(room)
        if session is None:
            return
        owner = await self._participants.owner(session.id, seen.identity)
        if seen.as_caller(room).may_be(owner) and await self._visit(session, seen, begins=False):
            await self._leave(session, seen.identity)

    async def _visit(self, session: VideoSession, seen: Seen, *, begins: bool) -> bool:
        return await self._participants.visit(session.id, Visit(seen.identity, seen.sid, seen.joined_ms), begins=begins)

    # --- inside -------------------------------------------------------------------------------------------

    async def _enter(self, session: VideoSession, joining: Joining, *, transcribe: bool = True) -> Participant:
        joined = await self._participants.enter(session.id, joining)
        if joined is None:
            now = await self._sessions.by_id(session.id)
            if now is None:
                raise SessionNotFound(session.slug)
            if is_over(now.status):
                raise SessionOver(session.slug, now.status)
            raise IdentityTaken(joining.identity)
        if joined.went_live:
            log.info("session went live", extra={"session": session.slug})
        log.info("participant joined", extra={"session": session.slug, "identity": joining.identity})
        if transcribe:
            self._transcription.begin(session.slug)
        return joined.participant

    async def _leave(self, session: VideoSession, identity: str) -> None:
        if await self._participants.leave(session.id, identity):
            log.info("participant left", extra={"session": session.slug, "identity": identity})
