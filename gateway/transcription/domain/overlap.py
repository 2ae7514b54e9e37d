"""Words near a cut that two replicas have heard: which of them count. Pure.

When a transcription changes hands while somebody speaks, the heir has listened a little longer than it needs to. The
owner's last word may be cut in two, and the heir has it whole. So the owner keeps words that end clearly before the
cut, the heir those that end later or little earlier, and of what both have, told by text and time, the second falls.

Each places words by when their audio came to it: clocks, and the jitter buffers of a busy machine, may set that apart
by more than a word takes. What both have heard tells by how much. Where the owner has said nothing yet that the heir
must have heard as well, the heir keeps all that can be new.

Of a lost owner there is no such cut: its senders send again what it has not acknowledged, which it may have heard.
There only what both have falls, whoever's comes second: the heir's behind finals that are stored, the lost owner's
behind what the heir has heard meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import compress
from math import inf
from operator import and_
from statistics import median_low
from typing import Final

from msgspec import structs

from gateway.transcription.domain.captions import Caption, Word
from gateway.transcription.domain.handover import Heard

OVERLAP_MS: Final = 2_000
"""How far the heir listens back."""
BEHIND_MS: Final = 1_000
"""How far behind the loss of an owner words may have been heard by it."""
APART_MS: Final = 1_000
"""By so much the two may place the same word apart, should what both have heard show it."""
EDGE_MS: Final = 150
"""A word that ends so shortly before the cut may not be whole."""
SLACK_MS: Final = 350
"""By so much the times of the same word may differ besides: by what the provider hears."""

_MOST_PAIRED: Final = 4096  # equal words times places
_STEP_MS: Final = 50
_MOST: Final = 60
"""Words that tell how far apart the two are; more are not said within seconds."""


@dataclass(slots=True)
class _Untold:
    """Words of one speaker around the loss of an owner that another telling has not said again yet, one for one.

    `for_heir`: the lost owner's. `for_late`: its stored ones, and `heirs`, for what is found of the lost one later.
    """

    for_heir: list[Word] = field(default_factory=list)
    for_late: list[Word] = field(default_factory=list)
    heirs: list[Word] = field(default_factory=list)


class Edges:
    """Of one hand-over: where speakers were interrupted, and what either side has said around there."""

    def __init__(
        self, heard: Iterable[Heard], origin: datetime, former: Iterable[Caption] = (), lost_at: datetime | None = None
    ) -> None:
        """`origin`: time zero of the session's milliseconds. `former`: the last stored finals of the owner. `lost_at`:
        when it was taken from one that was lost."""
        self._cuts = {one.identity: (one.until - origin) // timedelta(milliseconds=1) for one in heard if one.is_cut}
        # Words of finals near the cut, by identity; of the heir's those that count, too.
        self._owners: dict[str, list[Word]] = {}
        self._heirs: dict[str, list[Word]] = {}
        self._counted: dict[str, list[Word]] = {}
        self._seam_ms = 0 if lost_at is None else (lost_at - origin) // timedelta(milliseconds=1) + BEHIND_MS
        self._untold: dict[str, _Untold] = {}  # by identity, where an owner was lost
        for said in former:
            if (cut_ms := self._cuts.get(said.speaker.identity)) is not None:
                self._owners.setdefault(said.speaker.identity, []).extend(_near(said, cut_ms))
                continue
            untold = self._untold.setdefault(said.speaker.identity, _Untold())
            untold.for_heir += said.words
            untold.for_late += said.words
        self._utterances: set[str] = set()
        self._left_out: set[str] = set()  # utterances of which nothing counts

    def mend(self, identity: str) -> None:
        """There is no cut: what either side says of this speaker counts."""
        self._cuts.pop(identity, None)

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
        if cut_ms is None:
            return self._behind_loss(said, is_late=is_late)
        return self._at_cut(said, cut_ms, is_late=is_late)

    def _behind_loss(self, said: Caption, *, is_late: bool) -> Caption | None:
        if said.utterance_id in self._left_out:
            return None
        untold = self._untold.setdefault(said.speaker.identity, _Untold())
        rest: Caption | None = said
        for others in (untold.for_late, untold.heirs) if is_late else (untold.for_heir,):
            if rest is None:
                break
            both = counterparts(rest.words, others, 0)
            rest = _keeping(rest, [n not in both for n in range(len(rest.words))]) if both else rest
            if both and said.is_final:
                told = {id(word) for word in both.values()}
                others[:] = [word for word in others if id(word) not in told]
        if said.is_final:
            (self._left_out if rest is None else self._utterances).add(said.utterance_id)
            (untold.for_heir if is_late else untold.heirs).extend(rest.words if rest is not None else ())
        return rest

    def _at_cut(self, said: Caption, cut_ms: int, *, is_late: bool) -> Caption | None:
        identity, near = said.speaker.identity, _near(said, cut_ms)
        owners, heirs = self._owners.setdefault(identity, []), self._heirs.setdefault(identity, [])
        if is_late:
            counted = self._counted.get(identity, ())
            both = counterparts([*owners, *said.words], heirs, -(apart([*owners, *near], heirs, cut_ms) or 0))
            fresh = [both.get(len(owners) + n) not in counted for n in range(len(said.words))]
            kept = _keeping(said, fresh)
        else:
            apart_ms = apart(owners, [*heirs, *near], cut_ms)
            both = counterparts([*heirs, *said.words], owners, apart_ms or 0)
            fresh = [len(heirs) + n not in both for n in range(len(said.words))]
            kept = after(said, cut_ms, apart_ms, fresh)
        if said.is_final:
            (owners if is_late else heirs).extend(near)
        if kept is not None and kept.is_final:
            self._utterances.add(kept.utterance_id)
            if not is_late:
                self._counted.setdefault(identity, []).extend(_near(kept, cut_ms))
        return kept


def apart(owners: Sequence[Word], heirs: Sequence[Word], cut_ms: int) -> int | None:
    """By how much the heir places words later than the owner, milliseconds; None when nothing tells.

    Of all that would make two words the same, that by which most words are, less those of the heir that the owner
    would then have to have and has not.
    """
    since, until = cut_ms - OVERLAP_MS + APART_MS + _STEP_MS, cut_ms - EDGE_MS - _STEP_MS
    owners, heirs = owners[-_MOST:], heirs[:_MOST]
    offsets = {
        round((heard.start_ms - told.start_ms) / _STEP_MS) * _STEP_MS
        for told in owners
        for heard in heirs
        if _plain(told) == _plain(heard)
    }
    found = 0 if any(word.start_ms >= since for word in owners) else None
    most = 0
    for offset in sorted((one for one in offsets if abs(one) <= APART_MS), key=abs):
        both = counterparts(heirs, owners, offset, EDGE_MS)
        score = len(both) - sum(
            n not in both and word.start_ms - offset >= since and word.end_ms - offset <= until
            for n, word in enumerate(heirs)
        )
        if score > most:
            found, most = offset, score
    return found


def before(caption: Caption, cut_ms: int) -> Caption | None:
    """What the owner keeps. None: nothing. A caption without words is kept where it ends before the cut."""
    if caption.end_ms <= cut_ms - EDGE_MS:
        return caption
    if not caption.words:
        return caption if caption.start_ms < cut_ms - OVERLAP_MS else None
    return _keeping(caption, [word.end_ms <= cut_ms - EDGE_MS for word in caption.words])


def after(caption: Caption, cut_ms: int, apart_ms: int | None = 0, fresh: Sequence[bool] = ()) -> Caption | None:
    """What the heir keeps. None: nothing. `apart_ms`: as `apart` says. `fresh`: of its words, those not told yet."""
    from_ms = cut_ms - EDGE_MS + (-APART_MS if apart_ms is None else apart_ms - SLACK_MS)
    if not caption.words:
        return caption if caption.end_ms > from_ms else None
    late = [word.end_ms > from_ms for word in caption.words]
    return _keeping(caption, map(and_, late, fresh or late))


def counterparts(
    words: Sequence[Word], others: Sequence[Word], apart_ms: int, slack_ms: int = EDGE_MS + SLACK_MS
) -> dict[int, Word]:
    """The same words in another telling, one for one and the nearest first, by their index in `words`.

    `apart_ms`: by how much `words` lie later, give or take `slack_ms`.
    """
    same: dict[str, tuple[list[int], list[int]]] = {}
    for n, word in enumerate(words):
        same.setdefault(_plain(word), ([], []))[0].append(n)
    for m, other in enumerate(others):
        if (pair := same.get(_plain(other))) is not None:
            pair[1].append(m)
    found: dict[int, Word] = {}
    for ours, theirs in same.values():
        at = [(words[n].start_ms - apart_ms, n) for n in ours]
        places = [(others[m].start_ms, m) for m in theirs]
        paired = _nearest if len(at) * len(places) <= _MOST_PAIRED else _first_free
        found |= {n: others[m] for n, m in paired(at, places, slack_ms)}
    return found


_Places = list[tuple[int, int]]
"""Milliseconds and index of each."""


def _nearest(at: _Places, places: _Places, slack_ms: int) -> Iterator[tuple[int, int]]:
    near = sorted(
        (distance, n, m) for time, n in at for place, m in places if (distance := abs(time - place)) <= slack_ms
    )
    gone: tuple[set[int], set[int]] = set(), set()
    for _, n, m in near:
        if n not in gone[0] and m not in gone[1]:
            gone[0].add(n)
            gone[1].add(m)
            yield n, m


def _first_free(at: _Places, places: _Places, slack_ms: int) -> Iterator[tuple[int, int]]:
    """So many equal words are said by no person: in order will do."""
    waiting = iter(sorted(places))
    place, m = next(waiting, (inf, 0))
    for time, n in sorted(at):
        while place < time - slack_ms:
            place, m = next(waiting, (inf, 0))
        if place <= time + slack_ms:
            yield n, m
            place, m = next(waiting, (inf, 0))


def _near(caption: Caption, cut_ms: int) -> list[Word]:
    return [word for word in caption.words if abs(word.end_ms - cut_ms) <= 2 * OVERLAP_MS]


def unheard(caption: Caption, others: Sequence[Caption]) -> Caption | None:
    """What is left of a final when the words of `others`, of the same speaker, count before its own. None: nothing.

    A word falls when one of theirs has its text at its time, or another lies where its middle is; so does a caption
    without words that overlaps with one of theirs. What both have tells how far apart the two place words.
    """
    spans = [span for other in others for span in other.words or (Word("", other.start_ms, other.end_ms),)]
    if not caption.words:
        return None if any(s.start_ms < caption.end_ms and s.end_ms > caption.start_ms for s in spans) else caption
    both = counterparts(caption.words, spans, 0)
    later_ms = median_low([other.start_ms - caption.words[n].start_ms for n, other in both.items()]) if both else 0
    told = {id(other) for other in both.values()}
    rest = [span for span in spans if id(span) not in told]  # the same word lies over no other one

    def is_covered(word: Word) -> bool:
        middle = (word.start_ms + word.end_ms) / 2 + later_ms
        return any(span.start_ms < middle < span.end_ms for span in rest)

    return _keeping(caption, [n not in both and not is_covered(word) for n, word in enumerate(caption.words)])


def _plain(word: Word) -> str:
    return word.text.strip(".,;:!?…").casefold()


def _keeping(caption: Caption, kept: Iterable[bool]) -> Caption | None:
    words = list(compress(caption.words, kept))
    if len(words) == len(caption.words):
        return caption
    if not words:
        return None
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
