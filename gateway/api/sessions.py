"""The sessions module over HTTP: who asks, what, and the answer in the app's shapes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import names
from gateway.api import session_schemas as schemas
from gateway.api import views, wishes
from gateway.api.audit import KEY_READ, UNCHANGED
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import StartAnswer
from gateway.api.web import json_answer, read_body, read_body_warned
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.live.address import Network, client_address
from gateway.moment import timestamp
from gateway.sessions.domain.access import GUEST, SERVICE, Caller, Kind
from gateway.sessions.domain.errors import CredentialNeeded
from gateway.sessions.domain.video_session import Role, Segment, VideoSession
from gateway.sessions.usecases.attendees import Attendees, JoinRequest
from gateway.sessions.usecases.ports import Wanted
from gateway.sessions.usecases.rates import Rates
from gateway.sessions.usecases.transcripts import Transcripts
from gateway.sessions.usecases.video_sessions import LISTED, VideoSessions

if TYPE_CHECKING:
    from aiohttp import web

SLUG: Final = Parameter("slug", "path", "the session's slug")
LISTED_MOST: Final = 1_000
_WORD: Final = {"type": "string", "minLength": 1, "maxLength": 256}


@dataclass(frozen=True, slots=True)
class SessionsApi:
    """`check`: finds out what a credential is. `trusted_proxies`: whose X-Forwarded-For is believed."""

    sessions: VideoSessions
    attendees: Attendees
    transcripts: Transcripts
    rates: Rates
    check: Callable[[str | None], Awaitable[credentials.Access]]
    trusted_proxies: tuple[Network, ...] = ()

    def routes(self) -> tuple[Route, ...]:
        """For `Api.more`."""
        problem = Problem
        base = {400: problem, 401: problem, 403: problem, 404: problem, 503: problem}
        written = {**base, 413: problem}
        tag = "sessions"
        return (
            Route("POST", "/api/sessions", self.create, "Create a session", credential="user", body=schemas.NewSession,
                  answers={201: schemas.SessionCreated, 400: problem, 403: problem, 413: problem, 429: problem,
                           503: problem}, tag=tag),
            Route("GET", "/api/sessions", self.listed, "Sessions of a space, newest first", credential="user",
                  parameters=(
                  Parameter("spaceId", "query", "default: the user's active space; for a service all spaces", _WORD),
                  Parameter("limit", "query", f"how many, at most {LISTED_MOST}",
                            {"type": "integer", "minimum": 1, "maximum": LISTED_MOST, "default": LISTED}),
                  Parameter("before", "query", "the slug of the last one seen: those that are older", _WORD)),
                  answers={200: schemas.SessionList, 400: problem, 403: problem, 429: problem, 503: problem}, tag=tag),
            Route("GET", "/api/sessions/{slug}", self.show, "One session", credential="user", parameters=(SLUG,),
                  answers={200: schemas.SessionView, **base}, tag=tag),
            Route("PATCH", "/api/sessions/{slug}", self.change, "Let guests read it once it is over, or not",
                  credential="user", parameters=(SLUG,), body=schemas.SessionChange,
                  answers={200: schemas.SessionView, **written}, tag=tag, audit="session"),
            Route("DELETE", "/api/sessions/{slug}", self.delete, "Delete a session and all that belongs to it; billing "
                  "records are kept elsewhere", credential="user", parameters=(SLUG,),
                  answers={200: schemas.Deleted, **base}, tag=tag, audit="delete"),
            Route("POST", "/api/sessions/{slug}/end", self.end, "End a session: its transcription is drained and "
                  "stopped, its document written, its analysis scheduled; idempotent", tag=tag, audit="end",
                  credential="user", parameters=(SLUG,),
                  answers={200: schemas.Ended, **base, 409: problem, 429: problem}),
            Route("GET", "/api/sessions/{slug}/token", self.token, "A LiveKit token for the session's room",
                  credential="guest", parameters=(SLUG,
                  Parameter("identity", "query", "name in the room; needed unless the credential says it", _WORD),
                  Parameter("name", "query", "name to be shown", _WORD),
                  Parameter("joinToken", "query", "for guests, where the session requires it", _WORD),
                  Parameter("for", "query", "audio: a token for this gateway's own audio and captions, with the "
                            "audio WebSocket's url; needs no LiveKit server")),
                  answers={200: schemas.RoomPassView, **base, 409: problem, 429: problem}, tag=tag),
            Route("POST", "/api/sessions/{slug}/join-token", self.renew_join_token, "A new join token, which guests "
                  "must show from now on; former ones are good no more", credential="user", parameters=(SLUG,),
                  answers={200: schemas.JoinTokenView, **base, 409: problem}, tag=tag, audit="join token"),
            Route("POST", "/api/sessions/{slug}/participants/join", self.join, "A participant is in the room; the "
                  "first join makes the session LIVE and begins its transcription", credential="guest",
                  parameters=(SLUG,), body=schemas.JoinBody, needs_body=False,
                  answers={200: schemas.ParticipantView, **written, 409: problem, 429: problem}, tag=tag),
            Route("POST", "/api/sessions/{slug}/participants/leave", self.leave, "A participant has left the room",
                  credential="user", parameters=(SLUG,), body=schemas.LeaveBody, needs_body=False,
                  answers={200: schemas.ParticipantView, **written}, tag=tag),
            Route("GET", "/api/sessions/{slug}/participants", self.participants, "Who is there", credential="user",
                  parameters=(SLUG, Parameter("all", "query", "1: also those who have left")),
                  answers={200: schemas.ParticipantList, **base}, tag=tag),
            Route("POST", "/api/sessions/{slug}/transcription/start", self.transcribe, "Start transcribing a session "
                  "that is live; idempotent", credential="user", parameters=(SLUG,), body=schemas.SessionStartBody,
                  needs_body=False, answers={200: StartAnswer, 201: StartAnswer, **written, 402: problem, 409: problem,
                                             429: problem}, tag=tag, audit="start"),
            Route("GET", "/api/sessions/{slug}/segments", self.segments, "What was said, as the app's table has it",
                  credential="user", parameters=(SLUG,), answers={200: schemas.SegmentList, **base}, tag=tag,
                  audit="export"),
            Route("POST", "/api/sessions/{slug}/segments", self.append, "Add or change one utterance that no "
                  "transcription of ours has heard; a final is never undone", credential="user", parameters=(SLUG,),
                  body=schemas.SegmentBody, answers={200: schemas.SegmentView, **written}, tag=tag),
        )  # fmt: skip

    # --- sessions -----------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """`POST /api/sessions`, for services and members of the space: 201 with the slug; 429 above the rate."""
        caller = await self._known(request)
        await self.rates.create(caller, self._address(request))
        body = await read_body(request, schemas.NewSession)
        made = await self.sessions.create(caller, body.title, body.space_id, require_join_token=body.require_join_token)
        made_at = timestamp(made.session.created_at) if made.join_token else None
        return json_answer(schemas.SessionCreated(made.session.slug, made.join_token, made_at), 201)

    async def listed(self, request: web.Request) -> web.Response:
        """`GET /api/sessions`, for services and members of the space: 200, newest first; 429 above the rate."""
        caller = await self._known(request)
        await self.rates.list(caller, self._address(request))
        limit = request.query.get("limit", str(LISTED))
        if not (limit.isascii() and limit.isdecimal() and len(limit) <= 9 and 1 <= int(limit) <= LISTED_MOST):
            raise WrongRequest(f"limit must be a whole number from 1 to {LISTED_MOST}")
        found = await self.sessions.listed(caller, _word(request, "spaceId"), int(limit), _word(request, "before"))
        return json_answer(schemas.SessionList(await self._views(found)))

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/sessions/{slug}`, for all who belong to the session: 200."""
        found = await self.sessions.get(await self._known(request), _slug(request))
        return json_answer((await self._views([found]))[0])

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /api/sessions/{slug}`, for the creator and services: 200 with the session; may be repeated."""
        caller = await self._known(request)
        body = await read_body(request, schemas.SessionChange)
        found = await self.sessions.let_guests_read(caller, _slug(request), may=body.guest_minutes)
        return json_answer((await self._views([found]))[0])

    async def _views(self, found: Sequence[VideoSession]) -> list[schemas.SessionView]:
        closed = await self.sessions.require_join_token(found)
        kept = await self.sessions.kept_from_guests(found)
        return [views.session(one, one.id in closed, one.id not in kept, closed.get(one.id)) for one in found]

    async def renew_join_token(self, request: web.Request) -> web.Response:
        """`POST …/join-token`, for the creator and services: 200 with the new one, told this once; 409 once it is over.

        Former ones are good no more, and a session that needed none needs one from now on.
        """
        token, made_at = await self.sessions.renew_join_token(await self._known(request), _slug(request))
        answer = json_answer(schemas.JoinTokenView(token, timestamp(made_at)))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /api/sessions/{slug}`, for the creator and services: 200 once all of it is gone, else 503."""
        await self.sessions.delete(await self._known(request), _slug(request))
        return json_answer(schemas.Deleted())

    async def end(self, request: web.Request) -> web.Response:
        """`POST …/end`, for participants, the creator and services: 200 once its transcription is drained.

        May be repeated; 409 for a session that was never live, 429 above the rate.
        """
        caller = await self._known(request)
        await self.rates.steer(caller, self._address(request))
        request[UNCHANGED] = not await self.sessions.end(caller, _slug(request))
        return json_answer(schemas.Ended())

    async def token(self, request: web.Request) -> web.Response:
        """`GET …/token`, for all who may join, guests too: 200 with a LiveKit token; 429 above the rate."""
        caller = await self._caller(request)
        await self.rates.join(caller, self._address(request))
        identity, name, join_token = (_word(request, key) for key in ("identity", "name", "joinToken"))
        for_audio = request.query.get("for") == "audio"
        slug = _slug(request)
        found = await self.sessions.room_pass(caller, slug, identity, name, join_token, for_audio=for_audio)
        answer = json_answer(schemas.RoomPassView(found.token, found.url, found.room))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    # --- people -------------------------------------------------------------------------------------------

    async def join(self, request: web.Request) -> web.Response:
        """`POST …/participants/join`, for all who may join, guests too: 200 with the row; 409 when it is over."""
        caller = await self._caller(request)
        await self.rates.join(caller, self._address(request))
        body = await read_body(request, schemas.JoinBody, default=b"{}")
        role = None if body.role is None else Role(body.role)
        wanted = JoinRequest(body.identity, body.name, role, body.user_id, body.join_token)
        return json_answer(views.participant(await self.attendees.join(caller, _slug(request), wanted)))

    async def leave(self, request: web.Request) -> web.Response:
        """`POST …/participants/leave`, for participants and services: 200 with the row; 404 without one."""
        caller = await self._known(request)
        body = await read_body(request, schemas.LeaveBody, default=b"{}")
        return json_answer(views.participant(await self.attendees.leave(caller, _slug(request), body.identity)))

    async def participants(self, request: web.Request) -> web.Response:
        look = self.attendees.everyone if request.query.get("all") == "1" else self.attendees.active
        there = await look(await self._known(request), _slug(request))
        return json_answer(schemas.ParticipantList([views.participant(one) for one in there]))

    # --- what is said -------------------------------------------------------------------------------------

    async def transcribe(self, request: web.Request) -> web.Response:
        """`POST …/transcription/start`, for members, participants and services: 201 when it is new, 200 when it runs.

        Takes the options of `POST /api/transcription/start`. 409 unless the session is live; 402 and 429 say which
        limit or rate forbids it; 403 for tags and a cost cap by those who belong to the room alone.
        """
        caller = await self._known(request)
        await self.rates.steer(caller, self._address(request))
        body, warnings = await read_body_warned(request, schemas.SessionStartBody, default=b"{}")
        slug, wanted = _slug(request), None
        if body != schemas.SessionStartBody(source=body.source):
            told = {name: value for name, value in msgspec.to_builtins(body).items() if name != "source"}
            wanted = Wanted(wishes.start_request(body, slug, body.source or ""), told)
            warnings += wishes.warnings(wanted.request)
        begun = await self.sessions.transcribe(caller, slug, body.source, wanted)
        if wanted is None and begun.created and begun.detects_language:
            warnings.append(wishes.NO_LANGUAGE)
        request[UNCHANGED] = not begun.created
        request[KEY_READ] = begun.ingest is not None and begun.ingest.stream_key is not None
        return json_answer(views.begun(begun, warnings), 201 if begun.created else 200)

    async def segments(self, request: web.Request) -> web.Response:
        """`GET …/segments`, for all who belong to the session: 200 with the app's rows."""
        said = await self.transcripts.of(await self._known(request), _slug(request))
        return json_answer(schemas.SegmentList([views.segment(one) for one in said]))

    async def append(self, request: web.Request) -> web.Response:
        """`POST …/segments`, for services: 200 with the row as it is stored; a final is not undone by a partial."""
        caller = await self._known(request)
        body = await read_body(request, schemas.SegmentBody)
        segment = Segment(
            body.utterance_id,
            body.text.strip(),
            body.language,
            body.is_final,
            body.started_at,
            body.ended_at,
            names.identity(body.participant_identity, "participantIdentity"),
        )
        return json_answer(views.segment(await self.transcripts.append(caller, _slug(request), segment)))

    # --- who asks -----------------------------------------------------------------------------------------

    async def _caller(self, request: web.Request) -> Caller:
        """A request without a credential is a guest's; a wrong one is refused. Raises: CredentialRefused."""
        shown = request.headers.get("Authorization")
        if shown is None:
            return GUEST
        return caller_of(await self.check(credentials.bearer(shown)))

    async def _known(self, request: web.Request) -> Caller:
        """The caller, who must not be a guest. Raises: CredentialNeeded, CredentialRefused."""
        caller = await self._caller(request)
        if caller.kind is Kind.GUEST:
            raise CredentialNeeded("a credential is needed for this")
        return caller

    def _address(self, request: web.Request) -> str:
        return client_address(request.remote, request.headers.getall("X-Forwarded-For", ()), self.trusted_proxies)


def caller_of(access: credentials.Access) -> Caller:
    """Raises: CredentialRefused for a token that does not say whose it is."""
    if access.is_service:
        return SERVICE
    if not access.subject:
        raise credentials.CredentialRefused("the token has no sub")
    if access.room is not None:
        return Caller(Kind.ROOM, access.subject, room=access.room, bearer=access.bearer)
    return Caller(Kind.USER, access.subject, access.spaces or frozenset(), access.active_space)


def _slug(request: web.Request) -> str:
    return request.match_info["slug"]


def _word(request: web.Request, name: str) -> str | None:
    """Raises: WrongRequest."""
    word = request.query.get(name)
    if word is not None and not 1 <= len(word) <= 256:
        raise WrongRequest(f"{name} must have 1 to 256 characters")
    return word
