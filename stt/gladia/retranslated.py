"""The translations in the provider's record of a session. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stt.gladia import lenient
from stt.gladia.messages import Result, SpokenUtterance


class _InLanguage(msgspec.Struct, frozen=True):
    languages: tuple[str | None, ...] | None = None
    utterances: tuple[SpokenUtterance | None, ...] | None = None


class _Translation(msgspec.Struct, frozen=True):
    results: tuple[_InLanguage | None, ...] | None = None


def translations(result: Result) -> Iterator[tuple[str, SpokenUtterance]]:
    """Each with its target language, as far as they can be read. Their times are those of what was said."""
    try:
        told = lenient.read(result.translation, _Translation)
    except (ValueError, RecursionError):
        return
    for found in told.results or ():
        if found is None:
            continue
        for one in found.utterances or ():
            target = next(iter(found.languages or ()), None) or (one.known_language if one is not None else None)
            if one is not None and target and one.visible_text:
                yield target, one
