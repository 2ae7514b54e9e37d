"""Which connections a listener keeps: so many in all and from one address, those that ask before those that wait.

Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

from gateway.live.address import Network, client_address


class Evictable(Protocol):
    """A connection as its listener's admittance sees it."""

    def evict(self) -> None:
        """Another one needs the place: end now, and be released by that."""


C = TypeVar("C", bound=Evictable)


@dataclass(frozen=True, slots=True)
class Caps:
    """Connections at once. `shared`: peers that stand for many clients, such as proxies; they have no own limit."""

    total: int
    per_address: int
    shared: tuple[Network, ...] = ()


@dataclass(slots=True)
class AdmittanceCounts:
    """`refused`, by reason: connections not admitted; `evicted`: those that made room. Fit for a metric's label."""

    refused: Counter[str] = field(default_factory=Counter)
    evicted: int = 0


class Admittance(Generic[C]):
    """Counts connections, and knows which of them wait: they have asked for nothing, or have been answered."""

    def __init__(self, caps: Caps) -> None:
        self.counts = AdmittanceCounts()
        self.open = 0
        self._caps = caps
        self._addresses: Counter[str] = Counter()
        self._waiting: dict[str, dict[C, None]] = {}  # by address, oldest first

    def address(self, peer: str | None) -> str:
        """What counts as one client: an IPv4 address, or the /64 of an IPv6 one."""
        return client_address(peer, (), ())

    def admit(self, peer: str | None) -> str | None:
        """One more. Returns: its address, to be given back by `release`; None when it is refused, which is counted."""
        address = self.address(peer)
        if self._addresses[address] >= self._caps.per_address and not self._is_shared(peer):
            self.counts.refused["address"] += 1
            return None
        if self.open >= self._caps.total and not self._make_room():
            self.counts.refused["total"] += 1
            return None
        self.open += 1
        self._addresses[address] += 1
        return address

    def most(self, count: int) -> list[tuple[str, int]]:
        """The addresses with most connections, and how many each has."""
        return self._addresses.most_common(count)

    def release(self, address: str) -> None:
        """A connection has ended. To be called exactly once for each that was admitted."""
        self.open -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def waits(self, address: str, connection: C) -> None:
        """It may be evicted from now on. May be repeated."""
        self._waiting.setdefault(address, {})[connection] = None

    def asks(self, address: str, connection: C) -> None:
        """It may not. May be repeated."""
        of_address = self._waiting.get(address)
        if of_address is not None and of_address.pop(connection, self) is None and not of_address:
            del self._waiting[address]

    def _make_room(self) -> bool:
        """Evict the longest waiting one of the address that has most of them."""
        if not self._waiting:
            return False
        address = max(self._waiting, key=lambda each: len(self._waiting[each]))
        oldest = next(iter(self._waiting[address]))
        self.asks(address, oldest)
        self.counts.evicted += 1
        oldest.evict()
        return True

    def _is_shared(self, peer: str | None) -> bool:
        if not self._caps.shared or not peer:
            return False
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._caps.shared)
