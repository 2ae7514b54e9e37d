"""Words that the provider is to expect: kept by a space, and the names of those who take part. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import structs

from gateway.transcription.domain.preferences import MOST_WORDS, Words, joined
from gateway.transcription.domain.speech import SpeechOptions, VocabularyWord

NAME_INTENSITY: Final = 0.4
"""The provider's advice; with more, names are heard where others were said."""
MOST_NAMES: Final = 100
_LONGEST_NAME: Final = 64


class Vocabulary(msgspec.Struct, frozen=True, rename="camel"):
    """Of a space. `spelling`: how to write what is heard → what is heard."""

    words: Words = ()
    spelling: Mapping[str, tuple[str, ...]] = {}

    def into(self, asked: SpeechOptions) -> SpeechOptions:
        """A start's options with the space's behind them: where both spell a word, the start's stands."""
        if not (self.words or self.spelling):
            return asked
        return structs.replace(
            asked,
            custom_vocabulary=joined(asked.custom_vocabulary, self.words),
            custom_spelling={**self.spelling, **asked.custom_spelling},
        )


def with_names(asked: SpeechOptions, names: Iterable[str | None]) -> SpeechOptions:
    """What the provider is asked, with the names of those who take part, behind all other words."""
    known = dict.fromkeys(name.strip() for name in names if name)
    told = [name for name in known if 2 <= len(name) <= _LONGEST_NAME and any(map(str.isalpha, name))]
    if not told or not asked.participant_names:
        return asked
    words = tuple(VocabularyWord(name, intensity=NAME_INTENSITY) for name in told[:MOST_NAMES])
    return structs.replace(asked, custom_vocabulary=joined(asked.custom_vocabulary, words)[:MOST_WORDS])
