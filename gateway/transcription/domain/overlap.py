"""Words near a cut that two replicas have heard: which of them count. Pure.

When a transcription changes hands while somebody speaks, the heir has listened a little longer than it needs to. The
owner's last word may be cut in two, and the heir has it whole. So the owner keeps words that end clearly before the
cut, the heir those that end later or little earlier, and of what both have, told by text and time, the second falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from msgspec import structs

from gateway.transcription.domain.captions import Caption, Word

OVERLAP_MS: Final = 1_000
"""How far the heir listens back."""
EDGE_MS: Final = 150
"""A word that ends so shortly before the cut may not be whole."""
SLACK_MS: Final = 350
"""By so much the times of the same word may differ: by the clocks of two machines, and by what the provider hears."""


def before(caption: Caption, cut_ms: int) -> Caption | None:
    """What the owner keeps. None: nothing. A caption without words is kept where it ends before the cut."""
    if caption.end_ms <= cut_ms - EDGE_MS:
        return caption
    if not caption.words:
        return caption if caption.start_ms < cut_ms - OVERLAP_MS else None
    return _of(caption, [word for word in caption.words if word.end_ms <= cut_ms - EDGE_MS])


def after(caption: Caption, cut_ms: int) -> Caption | None:
    """What the heir keeps. None: nothing."""
    from_ms = cut_ms - EDGE_MS - SLACK_MS
    if not caption.words:
        return caption if caption.end_ms > from_ms else None
    return _of(caption, [word for word in caption.words if word.end_ms > from_ms])


def without(caption: Caption, known: Sequence[Word]) -> Caption | None:
    """What is left of a caption when words are known already. None: nothing."""

    def is_known(word: Word) -> bool:
        return any(
            _plain(word) == _plain(other) and abs(word.start_ms - other.start_ms) <= EDGE_MS + SLACK_MS
            for other in known
        )

    return _of(caption, [word for word in caption.words if not is_known(word)]) if caption.words else caption


def _plain(word: Word) -> str:
    return word.text.strip(".,;:!?…").casefold()


def _of(caption: Caption, words: list[Word]) -> Caption | None:
    if not words:
        return None
    if len(words) == len(caption.words):
        return caption
    first, last = words[0], words[-1]
    return structs.replace(
        caption,
        text=" ".join(word.text for word in words),
        words=tuple(words),
        start_ms=first.start_ms,
        end_ms=last.end_ms,
        started_at=caption.started_at + timedelta(milliseconds=first.start_ms - caption.start_ms),
        ended_at=caption.ended_at + timedelta(milliseconds=last.end_ms - caption.end_ms),
    )
