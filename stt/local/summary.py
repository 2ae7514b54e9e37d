"""A summary without a model: the most telling utterances, in their own words and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

MARK: Final = "[extractive summary: selected utterances, not rewritten]"
_PICKED: Final = {"general": 5, "bullet_points": 5, "concise": 2}
_COMMON_TEXT: Final = (
    "a an and are as at be but by for from had has have he her his i if in is it its me my not of on or our she so "
    "that the their them they this to us was we were what which who will with you your"
)
_COMMON: Final = frozenset(_COMMON_TEXT.split())


def summarise(texts: Sequence[str], style: str) -> str:
    """Pick the utterances with the most frequent words. `style`: general, bullet_points or concise."""
    words = [[w for w in text.lower().split() if w not in _COMMON] for text in texts]
    frequency = Counter(word for line in words for word in line)
    score = [sum(frequency[word] for word in set(line)) / (len(line) + 2) for line in words]
    best = sorted(range(len(texts)), key=lambda i: -score[i])[: _PICKED[style]]
    chosen = [texts[i].strip() for i in sorted(best) if words[i]]
    if style == "bullet_points":
        return "\n".join([MARK, *(f"- {line}" for line in chosen)])
    return " ".join([MARK, *(f"{line.rstrip('.')}." for line in chosen)])
