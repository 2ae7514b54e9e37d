"""Finals read back by number: those in the database, and those that watchers have seen and it has not got yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredFinal:
    """A final of one session. `data`: the JSON that watchers see."""

    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class UnstoredFinal:
    """A final that is on disk or in memory only. `epoch`: the numbering to which `seq` belongs."""

    seq: int
    data: bytes
    epoch: str


def merged(
    stored: Iterable[StoredFinal], unstored: Iterable[UnstoredFinal], epoch: str | None, limit: int
) -> Sequence[StoredFinal]:
    """Both in the order of their numbers, each number once, at most `limit`.

    `epoch`: the session's present numbering, None when it has none. An unstored final of another epoch is left out:
    another owner has given its number to other words. Where both know a number, the database is right.
    """
    found = {final.seq: StoredFinal(final.seq, final.data) for final in unstored if final.epoch == epoch}
    found |= {final.seq: final for final in stored}
    return [found[seq] for seq in sorted(found)[:limit]]


@dataclass(frozen=True, slots=True)
class Window:
    """Finals with a number above `after`, at most `limit`. Numbers have no hole, so that it is known how many come."""

    after: int
    limit: int


def after(seq: int, limit: int) -> Window:
    """What follows a number."""
    return Window(seq, limit)


def before(seq: int, limit: int, newest: int) -> Window:
    """The last `limit` ahead of a number."""
    last = max(0, min(seq - 1, newest))
    first = max(0, last - limit)
    return Window(first, last - first)


def around(seq: int, limit: int, newest: int) -> Window:
    """`limit` with that number in their middle; near the beginning or the end further ones on the other side."""
    return Window(max(0, min(seq - 1 - limit // 2, newest - limit)), limit)
