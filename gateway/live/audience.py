"""The watchers of one session: those on the fast path are written to in one call, the others one by one. Pure.

On the fast path is a watcher whose transport buffers nothing, so that frames can go to its socket by descriptor, past
the transport. Before anything is written to that transport the watcher has to leave the fast path, else bytes would
overtake others; it is taken back when a round begins and its transport is empty.

A round delivers one batch of messages to every watcher. It is done in slices, with the event loop between them:
whatever happens between two slices, no watcher is left out and none gets the batch twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from gateway.live.sending import SendAll

NO_DESCRIPTOR: Final = -1
"""Of a connection whose frames must go through its transport; `SendAll` passes it over."""
BUFFERED: Final = -1
"""`Member.fast_index` of one that is not on the fast path."""


class Member(Protocol):
    """`fast_index`: its position on the fast path, or BUFFERED; only the audience sets it.

    `descriptor`: of its socket, which stays open while it is a member; or NO_DESCRIPTOR.
    """

    fast_index: int
    descriptor: int

    def keeps_up(self, first_seq: int) -> bool:
        """Whether it may be on the fast path: its transport buffers nothing, and it lacks no final before `first_seq`.

        Asked of every buffered member when a round begins. Must not call the audience.
        """


M = TypeVar("M", bound=Member)


class Audience(Generic[M]):
    """Iterating over it gives every member; `len` counts them."""

    __slots__ = ("_buffered", "_descriptors", "_due", "_fast", "_fast_end", "_fast_next", "_gaps", "_send_all")

    def __init__(self, send_all: SendAll) -> None:
        self._send_all = send_all
        self._fast: list[M | None] = []  # None: a gap, left by a member that has left the fast path
        self._descriptors = array("i")  # of `_fast`; NO_DESCRIPTOR in a gap
        self._gaps = 0
        self._buffered: dict[M, None] = {}
        # the round under way: what of `_fast` is to be written to, and which of `_buffered`
        self._fast_next = self._fast_end = 0
        self._due: list[M] = []

    def __len__(self) -> int:
        return len(self._fast) - self._gaps + len(self._buffered)

    def __iter__(self) -> Iterator[M]:
        return chain((member for member in self._fast if member is not None), self._buffered)

    def add(self, member: M) -> None:
        """It gets nothing of the round under way."""
        member.fast_index = BUFFERED
        self._buffered[member] = None

    def remove(self, member: M) -> None:
        """It gets nothing more. May be repeated."""
        self.leave_fast_path(member)
        self._buffered.pop(member, None)

    def leave_fast_path(self, member: M) -> None:
        """To be called before its transport is given something to buffer, and before its descriptor is closed.

        What the round under way still owes it is delivered through its transport. May be repeated.
        """
        index, member.fast_index = member.fast_index, BUFFERED
        if index == BUFFERED:
            return
        self._fast[index], self._descriptors[index] = None, NO_DESCRIPTOR
        self._gaps += 1
        self._buffered[member] = None
        if self._fast_next <= index < self._fast_end:
            self._due.append(member)

    # --- a round ----------------------------------------------------------------------------------------

    def begin(self, first_seq: int) -> None:
        """A round begins for all who are members now. `first_seq`: the number of the batch's first final."""
        if self._gaps * 4 > len(self._fast):
            self._close_gaps()
        for member in [one for one in self._buffered if one.keeps_up(first_seq)]:
            del self._buffered[member]
            member.fast_index = len(self._fast)
            self._fast.append(member)
            self._descriptors.append(member.descriptor)
        self._fast_next, self._fast_end = 0, len(self._fast)
        self._due = list(self._buffered)

    @property
    def is_served(self) -> bool:
        """Whether the round has reached all who were members when it began."""
        return self._fast_next >= self._fast_end and not self._due

    def end(self) -> None:
        """The round is over, also for those whom it has not reached: nothing of it is worth delivering any more."""
        self._fast_next = self._fast_end = 0
        self._due = []

    def send_fast(self, data: bytes, most: int) -> tuple[int, list[tuple[M, int]]]:
        """Write `data` to the next `most` sockets of the fast path, without waiting.

        Returns: to how many, and (member, bytes taken) of those whose socket did not take all; these have left the fast
        path, and the rest of `data` is to be written to their transports before anything else is.
        """
        begin, self._fast_next = self._fast_next, min(self._fast_next + most, self._fast_end)
        gaps = self._descriptors[begin : self._fast_next].count(NO_DESCRIPTOR) if self._gaps else 0
        short = []
        for index, sent in self._send_all(self._descriptors, begin, self._fast_next, data):
            member = self._fast[index]
            if member is not None:
                self.leave_fast_path(member)
                short.append((member, sent))
        return self._fast_next - begin - gaps, short

    def next_buffered(self, most: int) -> list[M]:
        """The next members, at most so many, to whom the caller has to deliver the batch itself."""
        now, self._due = self._due[:most], self._due[most:]
        return now

    def _close_gaps(self) -> None:
        members = [member for member in self._fast if member is not None]
        for index, member in enumerate(members):
            member.fast_index = index
        self._fast = [*members]
        self._descriptors = array("i", [member.descriptor for member in members])
        self._gaps = 0
