"""What goes wrong with Redis: one class per reaction of a caller."""

from __future__ import annotations


class RedisAway(Exception):
    """The server did not answer in time, or not as it should. Go on without it; it may come back by itself."""


class ServerError(Exception):
    """What the server answered instead of a result: a code in capitals, then a sentence."""

    @property
    def code(self) -> str:
        """`MOVED`, `NOPERM`, `LOADING`, `ERR` …"""
        return str(self).partition(" ")[0]

    @property
    def moved(self) -> bool:
        """Another server of the Cluster is in charge, or none is now: look again who."""
        return self.code in ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "READONLY")
