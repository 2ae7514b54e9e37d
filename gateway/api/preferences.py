"""What is asked for a transcription while it runs, and who is paused: over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway import names
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import Languages, PersonalBody, StartBody, Vocabulary
from gateway.api.sessions import caller_of
from gateway.api.web import json_answer, read_body, read_body_warned
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.live.credentials import Access
from gateway.sessions.domain.access import What
from gateway.sessions.domain.errors import Denied
from gateway.sessions.usecases.admission import Admission
from gateway.transcription.domain import languages
from gateway.transcription.domain.preferences import (
    EVERYBODY,
    MOST_PARTICIPANTS,
    Change,
    Personal,
    PersonalChange,
)
from gateway.transcription.domain.speech import PRESETS, Language, SpeechOptions, VocabularyWord, with_preset
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
    """`check`: what a credential proves."""

    steering: Steering
    admission: Admission
    check: Callable[[str | None], Awaitable[Access]]

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        refused: dict[int, type | None] = {
            400: Problem, 401: Problem, 403: Problem, 404: Problem, 409: Problem, 413: Problem, 503: Problem,
        }  # fmt: skip
        path = "/api/transcription/{slug}"
        return [
            Route("PATCH", path, self.change, "Change languages, translations and vocabulary while it runs, for "
                  "everybody or single participants; in force from each speaker's next pause",
                  body=ChangeBody, parameters=(_SLUG,), answers={200: InForceView, **refused}, audit="options"),
            Route("POST", f"{path}/pause", self.pause, "Hear nothing of a participant, or of nobody at all, until "
                  "resumed; idempotent", credential="watch", body=PauseBody, needs_body=False, parameters=(_SLUG,),
                  answers={200: PauseAnswer, **refused}, audit="pause"),
            Route("POST", f"{path}/resume", self.resume, "Hear them again; idempotent", credential="watch",
                  body=PauseBody, needs_body=False, parameters=(_SLUG,), answers={200: PauseAnswer, **refused},
                  audit="resume"),
        ]  # fmt: skip

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /api/transcription/{slug}`, for services: 200 with what is in force; 409 when it has stopped."""
        body, warnings = await read_body_warned(request, ChangeBody)
        # For everybody null is nothing: no languages, no translation, no words.
        told = {name: () if value is None else value for name, value in _fields(body).items()}
        change = Change(
            languages=told["languages"],
            translate_to=told["translate_to"],
            custom_vocabulary=told["custom_vocabulary"],
            participants=by_identity(body.participants, personal_change),
        )
        answer = view(await self.steering.change(request.match_info["slug"], change))
        answer.warnings = warnings or UNSET
        return json_answer(answer)

    async def pause(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/{slug}/pause`, for the creator and services, and for one's own identity: 200."""
        return await self._pause(request, is_paused=True)

    async def resume(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/{slug}/resume`, as `pause`. Who is paused alone stays so when all are resumed."""
        return await self._pause(request, is_paused=False)

    async def _pause(self, request: web.Request, *, is_paused: bool) -> web.Response:
        slug = request.match_info["slug"]
        access = await self.check(credentials.bearer(request.headers.get("Authorization", "")))
        body = await read_body(request, PauseBody, default=b"{}")
        identity = names.identity(body.participant_identity, "participantIdentity")
        caller = caller_of(access)
        session = await self.admission.session(caller, slug, What.PAUSE_ONESELF)
        may_pause_others = await self.admission.allows(caller, session, What.PAUSE)
        if not (may_pause_others or (identity and await self.admission.is_oneself(caller, session, identity))):
            raise Denied(
                "only the session's creator and services may pause others", "name your own participantIdentity"
            )
        done = await self.steering.change(session.slug, Change(pauses={identity or EVERYBODY: is_paused}))
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


def personal_change(body: PersonalBody) -> PersonalChange:
    """Raises: WrongRequest for languages that the provider does not know."""
    told = _fields(body)
    words = told["custom_vocabulary"]
    return PersonalChange(told["languages"], told["translate_to"], () if words is None else words)


def personal(body: PersonalBody) -> Personal:
    """Of a start. Raises: WrongRequest as before."""
    told = {name: None if value is UNSET else value for name, value in _fields(body).items()}
    return Personal(told["languages"], told["translate_to"], told["custom_vocabulary"] or ())


def speech(body: StartBody) -> SpeechOptions:
    """Of a start. Raises: WrongRequest for languages that the provider does not know."""
    spoken = [*([body.language] if body.language else []), *body.languages]
    targets = [body.translate_to] if isinstance(body.translate_to, str) else body.translate_to or []
    asked = SpeechOptions(
        languages=checked_languages(spoken),
        translate_to=checked_targets(targets),
        code_switching=body.code_switching,
        custom_vocabulary=tuple(body.custom_vocabulary),
        vocabulary_intensity=body.vocabulary_intensity,
        custom_spelling={word: tuple(forms) for word, forms in body.custom_spelling.items()},
        translation=body.translation,
        named_entities=body.named_entities,
        sentiment=body.sentiment,
        endpointing=body.endpointing,
        maximum_duration_without_endpointing=body.maximum_duration_without_endpointing,
        speech_threshold=body.speech_threshold,
        audio_enhancer=body.audio_enhancer,
        model=body.model,
        region=body.region,
        participant_names=body.participant_names,
    )
    return asked if body.preset is None else with_preset(asked, PRESETS[body.preset])


def personal_of_all(bodies: Mapping[str, PersonalBody]) -> dict[str, Personal]:
    """Of a start, by identity. Raises: as `by_identity`."""
    found = by_identity(bodies, personal)
    return {identity: mine for identity, mine in found.items() if mine is not None and mine != Personal()}


def by_identity(
    bodies: Mapping[str, PersonalBody] | Mapping[str, PersonalBody | None], read: Callable[[PersonalBody], P]
) -> dict[str, P | None]:
    """Raises: WrongRequest with the participant it is about; NameRefused."""
    if len(bodies) > MOST_PARTICIPANTS:
        raise WrongRequest(f"participants may be at most {MOST_PARTICIPANTS}")
    found: dict[str, P | None] = {}
    for name, body in bodies.items():
        identity = names.identity(name, "participants")
        if not identity:
            raise WrongRequest("participants: an identity is not empty")
        try:
            found[identity] = None if body is None else read(body)
        except WrongRequest as error:
            raise WrongRequest(f"participants.{identity[:64]}: {error}") from None
    return found


def checked_languages(codes: Iterable[str]) -> tuple[str, ...]:
    """In their order, each once. Raises: WrongRequest."""
    return _known(codes, languages.SPOKEN, "languages")


def checked_targets(codes: Iterable[str]) -> tuple[str, ...]:
    """In their order, each once. Raises: WrongRequest."""
    return _known(codes, languages.TARGETS, "translateTo")


def _known(codes: Iterable[str], known: frozenset[str], name: str) -> tuple[str, ...]:
    once = tuple(dict.fromkeys(codes))
    if (wrong := languages.unknown(once, known)) is not None:
        raise WrongRequest(f"{name}: {wrong}")
    return once


def _fields(body: PersonalBody | ChangeBody) -> dict[str, Any]:
    """`languages`, `translate_to` and `custom_vocabulary`: UNSET, None or a tuple."""
    spoken: Any = UNSET
    if body.language is not UNSET or body.languages is not UNSET:
        told = [*([body.language] if body.language else []), *(body.languages or ())]
        is_nothing = not told and None in (body.language, body.languages)
        spoken = None if is_nothing else checked_languages(told)
    targets: Any = body.translate_to
    if isinstance(targets, str):
        targets = [targets]
    words: Any = body.custom_vocabulary
    return {
        "languages": spoken,
        "translate_to": checked_targets(targets) if isinstance(targets, list) else targets,
        "custom_vocabulary": tuple(words) if isinstance(words, list) else words,
    }
