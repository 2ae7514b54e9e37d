"""Which survivor takes over a transcription whose owner is gone: all of them come to the same answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from gateway.replicas.replica import Replica


def heir(members: Sequence[Replica], key: str) -> str | None:
    """Of two that `key` chooses among those with room, the id of the less loaded one; None when all are full."""
    able = sorted((one for one in members if one.takes_sessions), key=lambda one: _draw(key, one.id))[:2]
    return min(able, key=lambda one: one.load.share).id if able else None


def _draw(key: str, replica_id: str) -> bytes:
    """Each key has an order of replicas of its own, which hardly changes when one comes or goes."""
    return blake2b(f"{key}\0{replica_id}".encode(), digest_size=8).digest()
