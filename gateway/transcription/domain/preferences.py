"""What is asked for a transcription while it runs: for everybody, for single participants, and who is paused. Pure.

It is stored with the transcription, among the options of its start, and so goes to each next owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType, structs

from gateway.transcription.domain.speech import SpeechOptions, VocabularyWord
from gateway.transcription.domain.stored import readable

EVERYBODY: Final = ""
"""Stands among identities for all of them."""
MOST_PARTICIPANTS: Final = 1_000
MOST_WORDS: Final = 1_000
"""Of a vocabulary, with everything that is added to it."""

LATE: Final = timedelta(seconds=1)
"""By so much audio may be behind its time without having been held up."""

KEPT: Final = timedelta(minutes=10)
"""So long it is known of a pause that is over what was said in it."""

By = Literal["self", "other"]
"""Who asks for a pause: the participant, or the session's creator or a service. Each lifts only their own."""

Words = tuple[str | VocabularyWord, ...]


class Personal(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is asked for one participant. None: as for everybody. The words are added to everybody's."""

    languages: tuple[str, ...] | None = None
    translate_to: tuple[str, ...] | None = None
    custom_vocabulary: Words = ()


class Pause(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Nothing that is said between the two is heard. `until` None: it goes on.

    `by`: who has asked for it and not lifted it; empty: of a version that did not tell them apart.
    """

    since: datetime
    until: datetime | None = None
    by: frozenset[By] = frozenset()

    @property
    def goes_on(self) -> bool:
        return self.until is None

    def changed(self, *, is_paused: bool, by: By | None, now: datetime) -> Pause:
        """Whoever lifts it lifts what is their own; None: all of it."""
        mine = frozenset[By]() if by is None else frozenset((by,))
        if is_paused:
            return structs.replace(self, by=self.by | mine) if self.goes_on else Pause(now, by=mine)
        left = self.by - mine
        if not self.goes_on or (by is not None and left):
            return structs.replace(self, by=left) if self.goes_on else self
        return Pause(self.since, now)

    def covers(self, moment: datetime | None) -> bool:
        """Whether what was said then is not to be heard. While it goes on that is everything: clocks may differ.

        Of one that is over it is what comes later than LATE, a backlog for example; for the rest the order in which it
        has come decides.
        """
        return self.until is None or (moment is not None and self.since <= moment < self.until - LATE)


class Change(msgspec.Struct, frozen=True, rename="camel"):
    """While it runs. UNSET: as before. `participants`: identity → theirs; None forgets what was asked for them.

    `pauses`: whether an identity, or EVERYBODY, is paused from now on. `pauses_by`: as who it is asked.
    """

    languages: tuple[str, ...] | UnsetType = UNSET
    translate_to: tuple[str, ...] | UnsetType = UNSET
    custom_vocabulary: Words | UnsetType = UNSET
    participants: Mapping[str, PersonalChange | None] = {}
    pauses: Mapping[str, bool] = {}
    pauses_by: By | None = None


class PersonalChange(msgspec.Struct, frozen=True, rename="camel"):
    """As `Change`, for one participant. None: as for everybody."""

    languages: tuple[str, ...] | UnsetType | None = UNSET
    translate_to: tuple[str, ...] | UnsetType | None = UNSET
    custom_vocabulary: Words | UnsetType = UNSET


class Preferences(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Everything that is asked for now. `participants` and `pauses`: by identity, also of those who are not there."""

    speech: SpeechOptions = SpeechOptions()
    participants: Mapping[str, Personal] = {}
    pauses: Mapping[str, Pause] = {}

    def of(self, identity: str) -> SpeechOptions:
        """What the provider is asked for this participant's audio."""
        mine = self.participants.get(identity)
        if mine is None:
            return self.speech
        everybody = self.speech
        return structs.replace(
            everybody,
            languages=everybody.languages if mine.languages is None else mine.languages,
            translate_to=everybody.translate_to if mine.translate_to is None else mine.translate_to,
            custom_vocabulary=joined(mine.custom_vocabulary, everybody.custom_vocabulary),
        )

    @property
    def is_paused(self) -> bool:
        """For everybody."""
        pause = self.pauses.get(EVERYBODY)
        return pause is not None and pause.goes_on

    @property
    def paused(self) -> tuple[str, ...]:
        """Identities of those who are paused by themselves."""
        return tuple(sorted(one for one, pause in self.pauses.items() if one != EVERYBODY and pause.goes_on))

    def silences(self, identity: str, moment: datetime | None) -> bool:
        """Whether what this participant says, or said at that moment, is not to be heard."""
        pauses = (self.pauses.get(EVERYBODY), self.pauses.get(identity))
        return any(pause is not None and pause.covers(moment) for pause in pauses)

    def changed(self, change: Change, now: datetime) -> Preferences:
        """With a change; nothing that it does not name is another one."""
        told = {name: value for name, value in structs.asdict(change).items() if value is not UNSET}
        told.pop("participants"), told.pop("pauses"), told.pop("pauses_by")
        participants = dict(self.participants)
        for identity, wanted in change.participants.items():
            mine = None if wanted is None else _patched(participants.get(identity, Personal()), wanted)
            if mine is None or mine == Personal():
                participants.pop(identity, None)
            else:
                participants[identity] = mine
        pauses = {one: pause for one, pause in self.pauses.items() if pause.until is None or now - pause.until < KEPT}
        for identity, is_paused in change.pauses.items():
            if is_paused or identity in pauses:
                former = pauses.get(identity, Pause(now, now))
                pauses[identity] = former.changed(is_paused=is_paused, by=change.pauses_by, now=now)
        return Preferences(structs.replace(self.speech, **told), participants, pauses)

    def stored_in(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The stored options of a transcription, with these in place of the former ones."""
        return {**{name: value for name, value in options.items() if name not in _FIELDS}, **self.stored()}

    def stored(self) -> dict[str, Any]:
        """As plain JSON values, beside the options of the start; what is not asked for is left out."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        found.pop("speech", None)
        return {**self.speech.stored(), **found}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Preferences:
        """From what `stored` gave, among other fields, also of another version. What cannot be read is left out, but a
        pause: it goes on."""
        participants: dict[str, Personal] = readable(stored.get("participants"), dict[str, Personal], {})
        return cls(SpeechOptions.read(stored), participants, _pauses(stored.get("pauses") or {}))


_UNREADABLE: Final = Pause(datetime(1970, 1, 1, tzinfo=UTC))
_FIELDS: Final = frozenset(field.encode_name for kind in (SpeechOptions, Preferences) for field in structs.fields(kind))


def _pauses(stored: object) -> dict[str, Pause]:
    if not isinstance(stored, Mapping):
        return {EVERYBODY: _UNREADABLE}
    return {identity: readable(pause, Pause, _UNREADABLE) for identity, pause in stored.items()}


def joined(first: Words, then: Words) -> Words:
    """Both vocabularies without repeats, whatever the case; the first ones stay where they do not all fit."""
    seen: dict[str, str | VocabularyWord] = {}
    for word in (*first, *then):
        seen.setdefault((word if isinstance(word, str) else word.value).casefold(), word)
    return tuple(seen.values())[:MOST_WORDS]


def _patched(mine: Personal, wanted: PersonalChange) -> Personal:
    told = {name: value for name, value in structs.asdict(wanted).items() if value is not UNSET}
    return structs.replace(mine, **told)
