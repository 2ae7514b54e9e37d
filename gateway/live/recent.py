"""The newest finals of a session in memory; those before them are read once for all who ask."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.live.protocol import Message

PAGE: Final = 500

Read = Callable[[int, int], Awaitable[list[tuple[int, Message]]]]
"""Reads finals after a number, in order, at most the given count."""


class Recent:
    """At most `limit` finals, without a hole. False when there are none."""

    __slots__ = ("_finals", "_limit", "_reading", "_times_cleared")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._finals: deque[tuple[int, Message]] = deque()
        self._reading = asyncio.Lock()
        self._times_cleared = 0

    def __len__(self) -> int:
        return len(self._finals)

    @property
    def first(self) -> int:
        """Number of the oldest; there has to be one."""
        return self._finals[0][0]

    @property
    def last(self) -> int:
        """Number of the newest; there has to be one."""
        return self._finals[-1][0]

    def add(self, seq: int, message: Message) -> None:
        """The next final."""
        self._finals.append((seq, message))
        if len(self._finals) > self._limit:
            self._finals.popleft()

    def clear(self) -> None:
        """Forget all, and what is being read now, too."""
        self._finals.clear()
        self._times_cleared += 1

    def after(self, seq: int) -> list[tuple[int, Message]] | None:
        """The finals after a number; None when there may be some that are not here."""
        if not self._finals or self.first > seq + 1:
            return None
        return [final for final in self._finals if final[0] > seq]

    async def page(self, seq: int, last_seq: Callable[[], int], read: Read) -> list[tuple[int, Message]]:
        """The next finals after a number: from memory, or read. Raises: what `read` raises.

        One reader at a time. The first one reads as much of the end as there is room for, if that has what it asks for;
        then the others, who have waited, find theirs. `last_seq()`: of the session's last final, now.
        """
        if (found := self.after(seq)) is not None:
            return found
        async with self._reading:
            if (found := self.after(seq)) is not None:
                return found
            begin = seq
            if not self._finals and last_seq() - seq <= self._limit:
                begin = max(0, last_seq() - self._limit)
            # The newest may be shown while it is read; then they are here, and the page ends where they begin.
            cleared = self._times_cleared
            finals = await read(begin, max(PAGE, self._limit) if begin < seq else PAGE)
            if self._times_cleared == cleared:
                self._put_before(finals, last_seq())
            found = [final for final in finals if final[0] > seq]
            return found if found or begin == seq else await read(seq, PAGE)

    def _put_before(self, finals: list[tuple[int, Message]], last_seq: int) -> None:
        """What was read joins what is here, where no hole comes of it."""
        follows = self.first if self._finals else last_seq + 1
        older = [final for final in finals if final[0] < follows]
        is_whole = bool(older) and older[-1][0] - older[0][0] == len(older) - 1
        if is_whole and older[-1][0] == follows - 1:
            room = self._limit - len(self._finals)
            self._finals.extendleft(reversed(older[len(older) - room :] if room < len(older) else older))
