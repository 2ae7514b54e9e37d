"""Which server a channel or a key lies on. Pure.

A Cluster divides 16,384 slots among its masters, and a sharded channel is heard only on the server of its slot. A lone
server is a topology of one.
"""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.redis.url import Address

SLOTS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Node:
    """A server, and whether it is one of a Cluster: then the sharded commands are the right ones."""

    address: Address
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    """`starts[i]` is the first slot of a range that ends with slot `ends[i]` and lies on `owners[i]`."""

    nodes: frozenset[Node]
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    owners: tuple[Node, ...] = ()
    _only: Node | None = field(default=None, repr=False)

    def node_of(self, key: bytes) -> Node | None:
        """None: no node serves the slot of this channel or key now."""
        if self._only is not None:
            return self._only
        slot = slot_of(key)
        place = bisect_right(self.starts, slot) - 1
        return self.owners[place] if place >= 0 and slot <= self.ends[place] else None


def lone(address: Address) -> Topology:
    """A server that is not of a Cluster."""
    node = Node(address)
    return Topology(frozenset({node}), _only=node)


def clustered(slots: Sequence[Sequence[Any]], asked: Address) -> Topology:
    """From the reply to CLUSTER SLOTS: [[first, last, [host, port, …] of the master, … of replicas], …].

    A server that does not know its own name leaves it out: then it is the one that was `asked`.
    Raises: ValueError, LookupError or TypeError for a reply of another shape.
    """
    ranges = []
    for first, last, master, *_ in slots:
        host = (master[0] or b"").decode()
        ranges.append(
            (int(first), int(last), Node(Address(host if host not in ("", "?") else asked.host, master[1]), True))
        )
    ranges.sort(key=lambda one: one[0])
    owners = tuple(node for _, _, node in ranges)
    return Topology(
        frozenset(owners), tuple(first for first, _, _ in ranges), tuple(last for _, last, _ in ranges), owners
    )


def slot_of(key: bytes) -> int:
    """Only what stands in the first braces counts, if anything does, so that `{a}:x` and `{a}:y` lie together."""
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            key = key[opening + 1 : closing]
    return crc_hqx(key, 0) % SLOTS
