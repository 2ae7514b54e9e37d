"""What one connection is subscribed to, as far as its server has confirmed it. Pure.

Commands are confirmed in their order, one confirmation each, with messages between them. A confirmation that was not
asked for tells of something that happened behind our back: a Cluster moved the channel, or a proxy in between
subscribed anew for us.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum, auto


class Confirmed(Enum):
    """What a confirmation means for its channel."""

    NOTHING = auto()
    LIVE = auto()
    """From here on its messages come."""
    HOLE = auto()
    """It was live, and was subscribed to once more: there may have been a time without."""
    LOST = auto()
    """The server took it away."""


class Confirmations:
    """Of one connection; a new connection begins with a new one."""

    def __init__(self) -> None:
        self.live: set[bytes] = set()
        """Channels whose messages come, and are meant to."""
        self._asked: deque[tuple[bool, bytes]] = deque()
        self._pending: Counter[bytes] = Counter()
        self._last: dict[bytes, bool] = {}  # what was asked last, of channels with an answer to come

    def ask(self, on: bool, channel: bytes) -> None:
        """A command was written: subscribe, or with `on` False unsubscribe; then nothing is heard any more at once."""
        self._asked.append((on, channel))
        self._pending[channel] += 1
        self._last[channel] = on
        if not on:
            self.live.discard(channel)

    def confirmed(self, on: bool, channel: bytes) -> Confirmed:
        """The server has said so."""
        if self._asked and self._asked[0] == (on, channel):
            if self._answered() or not on:
                return Confirmed.NOTHING  # another command on the same channel is under way
            self.live.add(channel)
            return Confirmed.LIVE
        if channel not in self.live:
            return Confirmed.NOTHING
        if on:
            return Confirmed.HOLE
        self.live.discard(channel)
        return Confirmed.LOST

    def refused(self) -> bytes | None:
        """The server has answered the oldest command with an error. Returns: the channel that is not heard for it."""
        if not self._asked:
            return None
        on, channel = self._asked[0]
        return None if self._answered() or not on else channel

    def is_coming(self, channel: bytes) -> bool:
        """Whether the channel will be live unless its server says no."""
        return self._last.get(channel, False)

    def _answered(self) -> bool:
        """The oldest command is answered. Returns: whether a later one on the same channel is not."""
        _, channel = self._asked.popleft()
        self._pending[channel] -= 1
        if self._pending[channel]:
            return True
        del self._pending[channel], self._last[channel]
        return False
