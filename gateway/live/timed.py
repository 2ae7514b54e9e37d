"""Watchers of one session that are told where the time of each final went: behind the round that brings the final."""

from __future__ import annotations

from gateway.live.protocol import Message
from gateway.live.watcher import Update, Watcher


class Timed:
    """`watchers`: those who have asked for it; they are on no fast path."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self._next: list[Message] = []  # of finals that are published, but in no round yet
        self._current: list[Message] = []

    def put(self, message: Message) -> None:
        """Right behind its final; for those who watch then. It is not told again."""
        self._next.append(message)

    def begin(self) -> None:
        """A round of the fan-out begins, with every final that was published."""
        self._current, self._next = self._next, []

    def end(self) -> set[Watcher]:
        """It is over. Returns: watchers that hold something back."""
        messages, self._current = self._current, []
        told = [one for one in self.watchers if one.is_live] if messages else []
        for watcher in told:
            for message in messages:
                watcher.deliver(Update(message), watcher.framed(message))
        return {one for one in told if one.behind}
