"""Words near a cut that two replicas have heard: which of them each keeps. Pure.

When a transcription changes hands while somebody speaks, the heir has listened a little longer than it needs to. The
owner's last word may be cut in two, and the heir has it whole. So a word belongs to the owner when it ends clearly
before the cut, and else to the heir.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from msgspec import structs

from gateway.transcription.domain.captions import Caption, Word

OVERLAP_MS: Final = 1_000
"""How far the heir listens back."""
EDGE_MS: Final = 150
"""A word that ends so shortly before the cut may not be whole. Clocks of two machines may differ by as much."""


def before(caption: Caption, cut_ms: int) -> Caption | None:
    """What the owner keeps. None: nothing. A caption without words is kept where it ends before the cut."""
    if caption.end_ms <= cut_ms - EDGE_MS:
        return caption
    if not caption.words:
        return caption if caption.start_ms < cut_ms - OVERLAP_MS else None
    return _of(caption, [word for word in caption.words if word.end_ms <= cut_ms - EDGE_MS])


def after(caption: Caption, cut_ms: int) -> Caption | None:
    """What the heir keeps. None: nothing."""
    if caption.start_ms >= cut_ms or not caption.words:
        return caption if caption.end_ms > cut_ms - EDGE_MS else None
    return _of(caption, [word for word in caption.words if word.end_ms > cut_ms - EDGE_MS])


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
