"""How many may be connected at once: in all, from one address, to one session. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.live.protocol import CloseCode


class NotAdmitted(Exception):
    """No connection can be admitted now. `code` says when to come back; `reason` is a label of a metric."""

    def __init__(self, code: CloseCode, text: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections at once. `per_address`: of one IPv4 address, or of one /64 of IPv6."""

    total: int = 20_000
    per_address: int = 1_000
    per_session: int = 10_000


class Slot:
    """One connection's share of the limits, held until `release` or the end of its `with` block."""

    __slots__ = ("_address", "_slots", "_slug")

    def __init__(self, slots: Slots, address: str, slug: str) -> None:
        self._slots, self._address, self._slug = slots, address, slug

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back. To be called exactly once."""
        self._slots.release(self._address, self._slug)


class Slots:
    """Counts the connections of one endpoint against its limits."""

    def __init__(self, limits: Limits, elsewhere: Callable[[str], int] = lambda slug: 0) -> None:
        """`elsewhere`: connections of a session on other replicas, as far as is known."""
        self._limits = limits
        self._elsewhere = elsewhere
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self._by_session: Counter[str] = Counter()

    def take(self, address: str, slug: str) -> Slot:
        """Raises: NotAdmitted, which names the first limit that is reached: all, session, address."""
        if self._taken >= self._limits.total:
            raise NotAdmitted(CloseCode.TOO_MANY, "too many connections; come back later", "too_many")
        if self._by_session[slug] + self._elsewhere(slug) >= self._limits.per_session:
            raise NotAdmitted(CloseCode.TOO_MANY, "too many connections of this session", "too_many_of_session")
        if self._by_address[address] >= self._limits.per_address:
            raise NotAdmitted(CloseCode.TOO_MANY, f"too many connections from {address}", "too_many_from_address")
        self._taken += 1
        self._by_address[address] += 1
        self._by_session[slug] += 1
        return Slot(self, address, slug)

    def release(self, address: str, slug: str) -> None:
        """`Slot.release` calls it."""
        self._taken -= 1
        for counter, key in ((self._by_address, address), (self._by_session, slug)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
