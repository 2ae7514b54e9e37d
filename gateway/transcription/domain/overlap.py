"""Words near a cut that two replicas have heard: which of them count. Pure.

When a transcription changes hands while somebody speaks, the heir has listened a little longer than it needs to. The
owner's last word may be cut in two, and the heir has it whole. So the owner keeps words that end clearly before the
cut, the heir those that end later or little earlier, and of what both have, told by text and time, the second falls.

Of a lost owner there is no such cut: its senders send again what it has not acknowledged, which it may have heard.
There only what both have falls, whoever's comes second: the heir's behind finals that are stored, the lost owner's
behind what the heir has heard meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from gateway.transcription.domain.captions import Caption, Word
from gateway.transcription.domain.handover import Heard

OVERLAP_MS: Final = 1_000
"""How far the heir listens back."""
EDGE_MS: Final = 150
"""A word that ends so shortly before the cut may not be whole."""
SLACK_MS: Final = 350
"""By so much the times of the same word may differ: by the clocks of two machines, and by what the provider hears."""


class Edges:
    """Of one hand-over: where speakers were interrupted, and what either side has said around there."""

    def __init__(
        self, heard: Iterable[Heard], origin: datetime, former: Iterable[Caption] = (), lost_at: datetime | None = None
    ) -> None:
        """`origin`: time zero of the session's milliseconds. `lost_at`: when it was taken from an owner that was lost,
        of whom the last stored finals are `former`."""
        self._cuts = {one.identity: (one.until - origin) // timedelta(milliseconds=1) for one in heard if one.is_cut}
        self._seam_ms = 0 if lost_at is None else (lost_at - origin) // timedelta(milliseconds=1) + OVERLAP_MS
        self._near: dict[str, list[Word]] = {}  # finals' words, by identity
        for said in former:
            self._near.setdefault(said.speaker.identity, []).extend(said.words)
        self._utterances: set[str] = set()

    def before(self, said: Caption) -> Caption | None:
        """Of what the owner hears, what is its own."""
        cut_ms = self._cuts.get(said.speaker.identity)
        return said if cut_ms is None else before(said, cut_ms)

    def once(self, said: Caption, *, is_late: bool = False) -> Caption | None:
        """What counts at the heir, and was not said by the other side already. `is_late`: the owner has heard it.

        A final that was let through passes again, to be recognised by its id.
        """
        cut_ms = self._cuts.get(said.speaker.identity)
        until_ms = self._seam_ms if cut_ms is None else cut_ms + OVERLAP_MS
        if said.start_ms >= until_ms or said.utterance_id in self._utterances:
            return said
        near = self._near.setdefault(said.speaker.identity, [])
        mine = said if is_late or cut_ms is None else after(said, cut_ms)
        kept = None if mine is None else without(mine, near)
        if kept is not None and kept.is_final:
            self._utterances.add(kept.utterance_id)
            near += [w for w in kept.words if cut_ms is None or abs(w.end_ms - cut_ms) <= 2 * OVERLAP_MS]
        return kept


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


def unheard(caption: Caption, others: Sequence[Caption]) -> Caption | None:
    """What is left of a final when the words of `others`, of the same speaker, count before its own. None: nothing.

    A word falls when one of theirs has its text at its time, or lies where its middle is; so does a caption without
    words that overlaps with one of theirs.
    """
    spans = [span for other in others for span in other.words or (Word("", other.start_ms, other.end_ms),)]
    if not caption.words:
        return None if any(s.start_ms < caption.end_ms and s.end_ms > caption.start_ms for s in spans) else caption
    rest = without(caption, spans)
    if rest is None:
        return None

    def is_covered(word: Word) -> bool:
        middle = (word.start_ms + word.end_ms) / 2
        return any(span.start_ms < middle < span.end_ms for span in spans)

    return _of(caption, [word for word in rest.words if not is_covered(word)])


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
