"""What a start or a change asks for, checked: bodies of the HTTP API → the domain's options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from msgspec import UNSET, UnsetType, structs

from gateway import names
from gateway.api.schemas import Languages, PersonalBody, StartOptions, Vocabulary
from gateway.errors import WrongRequest
from gateway.transcription.domain import languages
from gateway.transcription.domain.preferences import MOST_PARTICIPANTS, Personal, PersonalChange, Words
from gateway.transcription.domain.speech import (
    LONGEST_WORD,
    PRESETS,
    Language,
    SpeechOptions,
    VocabularyWord,
    with_preset,
)
from gateway.transcription.domain.transcription import StartRequest

P = TypeVar("P")

NO_LANGUAGE: Final = (
    "no language is given: the provider takes what it detects in each speaker's first words for all that follows, and "
    "may be wrong; give language, or several languages with codeSwitching"
)


class Wishes(Protocol):
    """What may be asked for everybody and for single participants."""

    language: Language | UnsetType | None
    languages: Languages | UnsetType | None
    custom_vocabulary: Vocabulary | UnsetType | None
    translate_to: Language | Languages | UnsetType | None


def start_request(body: StartOptions, slug: str, source: str, session_id: str | None = None) -> StartRequest:
    """Raises: WrongRequest for languages that the provider does not know; NameRefused."""
    return StartRequest(
        session_slug=slug,
        session_id=session_id,
        source=source,
        speech=speech(body),
        cost_cap_usd=body.cost_cap_usd,
        participant_identity=names.identity(body.participant_identity, "participantIdentity"),
        participant_name=names.name(body.participant_name, "participantName"),
        participants=personal_of_all(body.participants),
        tags=tuple(dict.fromkeys(tag for each in body.tags if (tag := names.name(each, "tags")) is not None)),
    )


def personal_change(body: PersonalBody) -> PersonalChange:
    """Raises: WrongRequest for languages that the provider does not know."""
    told = fields(body)
    expected = told["custom_vocabulary"]
    return PersonalChange(told["languages"], told["translate_to"], () if expected is None else expected)


def personal(body: PersonalBody) -> Personal:
    """Of a start. Raises: WrongRequest as before."""
    told = {name: None if value is UNSET else value for name, value in fields(body).items()}
    return Personal(told["languages"], told["translate_to"], told["custom_vocabulary"] or ())


def warnings(asked: StartRequest) -> list[str]:
    """What to tell of a start."""
    return [] if asked.speech.languages else [NO_LANGUAGE]


def speech(body: StartOptions) -> SpeechOptions:
    """Of a start. Raises: WrongRequest for languages that the provider does not know."""
    spoken = [*([body.language] if body.language else []), *body.languages]
    targets = [body.translate_to] if isinstance(body.translate_to, str) else body.translate_to or []
    asked = SpeechOptions(
        languages=checked_languages(spoken),
        translate_to=checked_targets(targets),
        code_switching=body.code_switching,
        custom_vocabulary=words(body.custom_vocabulary),
        vocabulary_intensity=body.vocabulary_intensity,
        custom_spelling=spelling(body.custom_spelling),
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


def words(given: Iterable[str | VocabularyWord]) -> Words:
    """In their order, cleaned as names are. Raises: WrongRequest, NameRefused."""
    return tuple(_word(one) for one in given)


def spelling(given: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Cleaned as names are, what is heard once each. Raises: WrongRequest, NameRefused."""
    found: dict[str, tuple[str, ...]] = {}
    for word, forms in given.items():
        written = _text(word, "spelling")
        heard = (_text(form, "spelling") for form in forms)
        found[written] = tuple(dict.fromkeys((*found.get(written, ()), *heard)))
    return found


def _word(given: str | VocabularyWord) -> str | VocabularyWord:
    if isinstance(given, str):
        return _text(given, "vocabulary")
    spoken = _known([given.language] if given.language is not None else (), languages.SPOKEN, "vocabulary")
    return structs.replace(
        given,
        value=_text(given.value, "vocabulary"),
        pronunciations=tuple(_text(one, "vocabulary") for one in given.pronunciations),
        language=next(iter(spoken), None),
    )


def _text(given: str, where: str) -> str:
    shown = names.name(given, f"{where}: a word", LONGEST_WORD)
    if shown is None:
        raise WrongRequest(f"{where}: a word is not empty")
    return shown


def _known(codes: Iterable[str], known: frozenset[str], name: str) -> tuple[str, ...]:
    once = tuple(dict.fromkeys(codes))
    if (wrong := languages.unknown(once, known)) is not None:
        raise WrongRequest(f"{name}: {wrong}")
    return once


def fields(body: Wishes) -> dict[str, Any]:
    """`languages`, `translate_to` and `custom_vocabulary`: UNSET, None or a tuple."""
    spoken: Any = UNSET
    if body.language is not UNSET or body.languages is not UNSET:
        told = [*([body.language] if body.language else []), *(body.languages or ())]
        is_nothing = not told and None in (body.language, body.languages)
        spoken = None if is_nothing else checked_languages(told)
    targets: Any = body.translate_to
    if isinstance(targets, str):
        targets = [targets]
    expected: Any = body.custom_vocabulary
    return {
        "languages": spoken,
        "translate_to": checked_targets(targets) if isinstance(targets, list) else targets,
        "custom_vocabulary": words(expected) if isinstance(expected, list) else expected,
    }
