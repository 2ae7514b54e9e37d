"""The watchers of one session: those in the row, who are told in one call, and those apart, told one by one.

In the row stands who keeps up: its connection holds nothing back, so that news go to its socket by number, past its
transport. Whoever gives its transport something to write steps out first, else bytes would overtake others; it is
taken in again when a round of news begins and its transport is empty. A round goes over everybody once, in turns: what
happens between two of them leaves nobody out and tells nobody twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

from gateway.live.sending import SendAll

APART: Final = -1


class Member(Protocol):
    """`place`: in the row, or APART; the audience keeps it. `descriptor`: of its socket, open while it is here."""

    place: int
    descriptor: int

    def keeps_up(self, first_seq: int) -> bool:
        """Whether its connection holds nothing back, and news from that final on are new to it."""


M = TypeVar("M", bound=Member)


class Audience(Generic[M]):
    __slots__ = ("_apart", "_at", "_descriptors", "_due", "_end", "_gaps", "_row", "_send_all")

    def __init__(self, send_all: SendAll) -> None:
        self._send_all = send_all
        self._row: list[M | None] = []  # None: a gap that somebody left
        self._descriptors = array("i")  # of the row; APART in a gap
        self._gaps = 0
        self._apart: dict[M, None] = {}
        # the round under way
        self._at = self._end = 0  # of the row is told, is to be told
        self._due: list[M] = []  # apart, not told yet

    def __len__(self) -> int:
        return len(self._row) - self._gaps + len(self._apart)

    def __iter__(self) -> Iterator[M]:
        return chain((member for member in self._row if member is not None), self._apart)

    def add(self, member: M) -> None:
        """It is not told what the round under way tells."""
        member.place = APART
        self._apart[member] = None

    def remove(self, member: M) -> None:
        self.step_out(member)
        self._apart.pop(member, None)

    def step_out(self, member: M) -> None:
        """Its connection holds something back from now on, or is closed."""
        place, member.place = member.place, APART
        if place == APART:
            return
        self._row[place], self._descriptors[place] = None, APART
        self._gaps += 1
        self._apart[member] = None
        if self._at <= place < self._end:
            self._due.append(member)

    # --- a round ----------------------------------------------------------------------------------------

    def begin(self, first_seq: int) -> None:
        """Everybody who is here is to be told news, whose first final has that number."""
        if self._gaps * 4 > len(self._row):
            self._close_up()
        for member in [one for one in self._apart if one.keeps_up(first_seq)]:
            del self._apart[member]
            member.place = len(self._row)
            self._row.append(member)
            self._descriptors.append(member.descriptor)
        self._at, self._end = 0, len(self._row)
        self._due = list(self._apart)

    @property
    def is_told(self) -> bool:
        return self._at >= self._end and not self._due

    def end(self) -> None:
        """Nothing is to be told any more."""
        self._at = self._end = 0
        self._due = []

    def tell_row(self, data: bytes, most: int) -> tuple[int, list[tuple[M, int]]]:
        """Send it to the next of the row, without waiting.

        Returns: how many that were, and those who took only so many bytes of it; these have stepped out.
        """
        begin, self._at = self._at, min(self._at + most, self._end)
        gaps = self._descriptors[begin : self._at].count(APART) if self._gaps else 0
        short = []
        for index, sent in self._send_all(self._descriptors, begin, self._at, data):
            member = self._row[index]
            if member is not None:
                self.step_out(member)
                short.append((member, sent))
        return self._at - begin - gaps, short

    def next_apart(self, most: int) -> list[M]:
        """Of those apart, the next to be told."""
        now, self._due = self._due[:most], self._due[most:]
        return now

    def _close_up(self) -> None:
        members = [member for member in self._row if member is not None]
        for place, member in enumerate(members):
            member.place = place
        self._row = [*members]
        self._descriptors = array("i", [member.descriptor for member in members])
        self._gaps = 0
