"""What the provider is asked to do with a transcription's audio: said by `start`, and stored with the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, structs

from gateway.transcription.domain.stored import readable_struct

Share = Annotated[float, Meta(ge=0, le=1)]
LONGEST_WORD: Final = 200
Word = Annotated[str, Meta(min_length=1, max_length=LONGEST_WORD)]
Language = Annotated[str, Meta(min_length=2, max_length=16, description="language code, for example en")]


class VocabularyWord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A word that the provider is to expect. `intensity`: how readily it is heard; above 0.6 also where it is not."""

    value: Word
    intensity: Share | None = None
    pronunciations: tuple[Word, ...] = ()
    language: Language | None = None


class TranslationStyle(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How the provider translates; what is not said is its own choice."""

    model: Literal["base", "batch", "enhanced"] | None = None
    match_original_utterances: bool | None = None
    lipsync: bool | None = None
    context_adaptation: bool | None = None
    context: Annotated[str, Meta(max_length=2000)] | None = None
    informal: bool | None = None


class SpeechOptions(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Times in seconds. None: the gateway's setting, or else the provider's choice."""

    languages: tuple[str, ...] = ()
    code_switching: bool = False
    custom_vocabulary: tuple[str | VocabularyWord, ...] = ()
    translate_to: tuple[str, ...] = ()
    vocabulary_intensity: float | None = None
    custom_spelling: Mapping[str, tuple[str, ...]] = {}
    translation: TranslationStyle | None = None
    named_entities: bool = False
    sentiment: bool = False
    endpointing: float | None = None
    maximum_duration_without_endpointing: float | None = None
    speech_threshold: float | None = None
    audio_enhancer: bool | None = None
    model: str | None = None
    region: str | None = None
    participant_names: bool = True
    """Names of those who take part are expected words."""

    def stored(self) -> dict[str, Any]:
        """As plain JSON values; what is not asked for is left out."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> SpeechOptions:
        """From what `stored` gave, among other fields, also of another version; what cannot be read is left out."""
        return readable_struct(stored, cls)


# Within what the provider recommends for each use (docs.gladia.io, recommended parameters). Names and terms are heard
# where others were said when their intensity is above 0.6.
PRESETS: Final[Mapping[str, Mapping[str, float]]] = {
    "meeting": {
        "endpointing": 0.4,
        "maximum_duration_without_endpointing": 60.0,
        "vocabulary_intensity": 0.4,
    },
    "subtitles": {
        "endpointing": 0.3,
        "maximum_duration_without_endpointing": 30.0,
        "vocabulary_intensity": 0.4,
    },
}


def with_preset(asked: SpeechOptions, preset: Mapping[str, float]) -> SpeechOptions:
    """What a start leaves open is the preset's."""
    return structs.replace(asked, **{name: value for name, value in preset.items() if getattr(asked, name) is None})
