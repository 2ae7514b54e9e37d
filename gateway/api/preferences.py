"""What is asked for a transcription while it runs, and who is paused: over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway import names
from gateway.api import wishes
from gateway.api.audit import UNCHANGED
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import Languages, PersonalBody, Vocabulary
from gateway.api.sessions import caller_of
from gateway.api.web import address_of, json_answer, read_body, read_body_warned
from gateway.live import credentials
from gateway.live.address import Network
from gateway.live.credentials import Access
from gateway.sessions.domain.access import What
from gateway.sessions.domain.errors import Denied
from gateway.sessions.usecases.admission import Admission
from gateway.sessions.usecases.rates import Rates
from gateway.transcription.domain.preferences import (
    EVERYBODY,
    Change,
    Personal,
)
from gateway.transcription.domain.speech import Language, VocabularyWord
from gateway.transcription.usecases.asked import InForce
from gateway.transcription.usecases.steering import Steering

if TYPE_CHECKING:
    from aiohttp import web

P = TypeVar("P")

_SLUG: Final = Parameter("slug", "path", "the session's slug")


class ChangeBody(msgspec.Struct, rename="camel"):
    """Absent: as before. `languages: []` lets the provider detect the language. `participants`: by identity, also those
    who are not there yet; null forgets what was asked for one."""

    language: Language | UnsetType | None = UNSET
    languages: Languages | UnsetType | None = UNSET
    custom_vocabulary: Vocabulary | UnsetType | None = UNSET
    translate_to: Language | Languages | UnsetType | None = UNSET
    participants: dict[str, PersonalBody | None] = {}


class PauseBody(msgspec.Struct, rename="camel"):
    """Without `participantIdentity` everybody."""

    participant_identity: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class PauseAnswer(msgspec.Struct, rename="camel"):
    """`state`: `paused` when nobody is heard. `paused`: identities of those who are paused by themselves."""

    state: str
    paused: list[str]


class PersonalView(msgspec.Struct, rename="camel"):
    """null: as for everybody."""

    languages: list[str] | None
    translate_to: list[str] | None
    custom_vocabulary: list[str | VocabularyWord]


class InForceView(msgspec.Struct, rename="camel"):
    """`pending`: identities of those whose provider session does not have it yet; it begins at their next pause."""

    transcription_id: str
    session_slug: str
    state: str
    languages: list[str]
    translate_to: list[str]
    custom_vocabulary: list[str | VocabularyWord]
    participants: dict[str, PersonalView]
    paused: list[str]
    pending: list[str]
    warnings: list[str] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class PreferencesApi:
    """`check`: what a credential proves. `trusted_proxies`: whose X-Forwarded-For is believed."""

    steering: Steering
    admission: Admission
    rates: Rates
    check: Callable[[str | None], Awaitable[Access]]
    trusted_proxies: tuple[Network, ...] = ()

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        refused: dict[int, type | None] = {
            400: Problem, 401: Problem, 403: Problem, 404: Problem, 409: Problem, 413: Problem, 503: Problem,
        }  # fmt: skip
        paused = {**refused, 429: Problem}
        path = "/api/transcription/{slug}"
        return [
            Route("PATCH", path, self.change, "Change languages, translations and vocabulary while it runs, for "
                  "everybody or single participants; in force from each speaker's next pause",
                  body=ChangeBody, parameters=(_SLUG,), answers={200: InForceView, **refused}, audit="options"),
            Route("POST", f"{path}/pause", self.pause, "Hear nothing of a participant, or of nobody at all, until "
                  "resumed; idempotent", credential="watch", body=PauseBody, needs_body=False, parameters=(_SLUG,),
                  answers={200: PauseAnswer, **paused}, audit="pause"),
            Route("POST", f"{path}/resume", self.resume, "Hear them again; idempotent", credential="watch",
                  body=PauseBody, needs_body=False, parameters=(_SLUG,), answers={200: PauseAnswer, **paused},
                  audit="resume"),
        ]  # fmt: skip

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /api/transcription/{slug}`, for services: 200 with what is in force; 409 when it has stopped."""
        body, warnings = await read_body_warned(request, ChangeBody)
        # For everybody null is nothing: no languages, no translation, no words.
        told = {name: () if value is None else value for name, value in wishes.fields(body).items()}
        change = Change(
            languages=told["languages"],
            translate_to=told["translate_to"],
            custom_vocabulary=told["custom_vocabulary"],
            participants=wishes.by_identity(body.participants, wishes.personal_change),
        )
        done = await self.steering.change(request.match_info["slug"], change)
        request[UNCHANGED] = not done.changed
        answer = view(done)
        answer.warnings = warnings or UNSET
        return json_answer(answer)

    async def pause(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/{slug}/pause`, for the creator and services, and for one's own identity: 200."""
        return await self._pause(request, is_paused=True)

    async def resume(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/{slug}/resume`, as `pause`. Who is paused alone stays so when all are resumed; whose
        pause is their own stays paused whatever others resume, and the other way round."""
        return await self._pause(request, is_paused=False)

    async def _pause(self, request: web.Request, *, is_paused: bool) -> web.Response:
        slug = request.match_info["slug"]
        caller = caller_of(await self.check(credentials.bearer(request.headers.get("Authorization", ""))))
        await self.rates.steer(caller, address_of(request, self.trusted_proxies))
        body = await read_body(request, PauseBody, default=b"{}")
        identity = names.identity(body.participant_identity, "participantIdentity")
        session = await self.admission.session(caller, slug, What.PAUSE_ONESELF)
        is_own = identity is not None and await self.admission.is_oneself(caller, session, identity)
        if not (is_own or await self.admission.allows(caller, session, What.PAUSE)):
            raise Denied(
                "only the session's creator and services may pause others", "name your own participantIdentity"
            )
        change = Change(pauses={identity or EVERYBODY: is_paused}, pauses_by="self" if is_own else "other")
        done = await self.steering.change(session.slug, change)
        request[UNCHANGED] = not done.changed
        return json_answer(PauseAnswer(done.state, list(done.paused)))


def view(found: InForce) -> InForceView:
    """As the API tells it."""
    asked = found.preferences
    return InForceView(
        found.transcription_id,
        found.session_slug,
        found.state,
        list(asked.speech.languages),
        list(asked.speech.translate_to),
        list(asked.speech.custom_vocabulary),
        {identity: personal_view(mine) for identity, mine in asked.participants.items()},
        list(found.paused),
        list(found.pending),
    )


def personal_view(mine: Personal) -> PersonalView:
    """What is asked for one participant."""
    return PersonalView(
        None if mine.languages is None else list(mine.languages),
        None if mine.translate_to is None else list(mine.translate_to),
        list(mine.custom_vocabulary),
    )
