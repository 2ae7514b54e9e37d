"""Authorisation, before every use case about one session: does it exist, and may this caller do that with it now?"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import sha256
from typing import Final

from gateway import names
from gateway.errors import SessionNotFound, SessionOver, WrongRequest
from gateway.sessions.domain.access import (
    Caller,
    Kind,
    Verdict,
    What,
    Who,
    decide,
    is_guest,
    is_person,
    to_session,
    to_space,
)
from gateway.sessions.domain.errors import CredentialNeeded, Denied, IdentityTaken, SessionNotEnded, SessionNotLive
from gateway.sessions.domain.video_session import Participant, Role, VideoSession, is_over
from gateway.sessions.usecases.ports import ParticipantRepository, SessionRepository

_SLUG_LIMIT = 128
_MET: Final = 10_000


class Admission:
    """Reads the session and the caller's relations to it, then asks the table in `domain.access`."""

    def __init__(self, sessions: SessionRepository, participants: ParticipantRepository) -> None:
        self._sessions = sessions
        self._participants = participants
        self._met: OrderedDict[str, None] = OrderedDict()  # users, the longest not seen first

    async def session(self, caller: Caller, slug: str, *whats: What, join_token: str | None = None) -> VideoSession:
        """The session, if the caller may do all of that with it now.

        Raises: CredentialNeeded, SessionNotFound, Denied, SessionOver, SessionNotLive, SessionNotEnded,
        RecordsUnavailable.
        """
        if any(decide(what, caller, frozenset({Who.INVITED}), None) is Verdict.UNKNOWN for what in whats):
            raise CredentialNeeded("a credential is needed for this")  # whether or not there is such a session
        session = await self._sessions.by_slug(slug) if 0 < len(slug) <= _SLUG_LIMIT else None
        if session is None:
            raise SessionNotFound(slug[:_SLUG_LIMIT])
        await self.meet(caller)
        relations = await self._relations(caller, session, join_token)
        for what in whats:
            match decide(what, caller, relations, session.status):
                case Verdict.UNKNOWN | Verdict.DENIED:
                    raise _denied(caller, what)
                case Verdict.WRONG_STATE:
                    if is_over(session.status):
                        raise SessionOver(session.slug, session.status)
                    wrong = SessionNotEnded if what is What.RETRY_ANALYSIS else SessionNotLive
                    raise wrong(session.slug, session.status)
        return session

    async def allows(self, caller: Caller, session: VideoSession, what: What) -> bool:
        """Whether the table allows it now. Raises: RecordsUnavailable."""
        relations = await self._relations(caller, session, None)
        return decide(what, caller, relations, session.status) is Verdict.ALLOWED

    async def is_oneself(self, caller: Caller, session: VideoSession, identity: str) -> bool:
        """Whether that participant is the caller. Raises: RecordsUnavailable."""
        rows = await self._rows(caller, session)
        return any(one.identity == identity and is_person(caller, one) for one in rows)

    async def meet(self, caller: Caller) -> None:
        """A user who has shown a token is known from then on. Raises: RecordsUnavailable."""
        if caller.kind is Kind.USER:
            await self.know(caller.id)

    async def know(self, user_id: str) -> None:
        """That there is such a user, of which only the first call is a statement. Raises: RecordsUnavailable."""
        if user_id not in self._met:
            await self._participants.meet(user_id)
            self._met[user_id] = None
            if len(self._met) > _MET:
                self._met.popitem(last=False)

    def space(self, caller: Caller, what: What, space_id: str | None) -> None:
        """Raises: CredentialNeeded, Denied."""
        match decide(what, caller, to_space(caller, space_id), None):
            case Verdict.UNKNOWN:
                raise CredentialNeeded("a credential is needed for this")
            case Verdict.DENIED:
                raise _denied(caller, what)

    async def identity(self, caller: Caller, session: VideoSession, identity: str | None) -> str:
        """The name under which this caller is in the room.

        Raises: WrongRequest without one, NameRefused, Denied for another than the token's, IdentityTaken.
        """
        chosen = names.identity(identity) or caller.id
        if not chosen:
            raise WrongRequest("identity is needed: the name under which the participant is in the room")
        if caller.kind is Kind.ROOM and chosen != caller.id:
            raise Denied("this LiveKit token is for another identity")
        if not caller.is_vouched and chosen != caller.user_id:
            owner = await self._participants.owner(session.id, chosen)
            if not caller.may_be(owner):
                raise IdentityTaken(chosen)
        return chosen

    async def _relations(self, caller: Caller, session: VideoSession, join_token: str | None) -> frozenset[Who]:
        if caller.kind is Kind.SERVICE:
            return to_session(caller, session, participates=False, invited=False)
        wanted = await self._sessions.join_token_sha256(session.id)
        shown = sha256((join_token or "").encode(errors="surrogatepass")).digest()
        invited = wanted is None or hmac.compare_digest(shown, wanted)
        mine = [one for one in await self._rows(caller, session) if is_person(caller, one)]
        hosts = any(one.role == Role.HOST for one in mine)
        may_be_kept = is_guest(caller) and is_over(session.status)
        kept = may_be_kept and session.id in await self._sessions.kept_from_guests([session.id])
        return to_session(caller, session, participates=bool(mine), invited=invited, hosts=hosts, kept=kept)

    async def _rows(self, caller: Caller, session: VideoSession) -> list[Participant]:
        """The rows that may be the caller's: asked for by name, for a session may have thousands."""
        match caller.kind:
            case Kind.USER:
                return await self._participants.by_user(session.id, caller.id)
            case Kind.ROOM if caller.room == session.slug:
                if not (caller.is_vouched or caller.may_be(await self._participants.owner(session.id, caller.id))):
                    return []
                row = await self._participants.by_identity(session.id, caller.id)
                return [] if row is None else [row]
            case _:
                return []


def _denied(caller: Caller, what: What) -> Denied:
    if what in (What.JOIN, What.TOKEN) and caller.kind in (Kind.GUEST, Kind.USER):
        return Denied("this session needs a join token", "whoever created the session was given joinToken")
    match caller.kind:
        case Kind.USER:
            return Denied(f"this user may not {what} here", "docs/sessions.md says who may do what")
        case Kind.ROOM:
            return Denied(f"this LiveKit token does not allow to {what} here", "docs/sessions.md says who may do what")
        case _:
            return Denied(f"guests may not {what} here", "docs/sessions.md says who may do what")
