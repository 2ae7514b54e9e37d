"""Counts the statements that a client sends to PostgreSQL, by reading its side of the protocol (version 3, no TLS)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Statements:
    """`counts`: how often each text was executed, over all connections that are tapped."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def of(self, part: str) -> int:
        """Executions of statements whose text has this part."""
        return sum(count for text, count in self.counts.items() if part in text)

    def tap(self) -> Callable[[bytes], None]:
        """For one connection: call with every piece that the client sends."""
        return _Reader(self.counts).feed


class _Reader:
    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._held = bytearray()
        self._started = False
        self._texts: dict[bytes, str] = {}
        self._portals: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        held = self._held
        held += data
        while True:
            at = 1 if self._started else 0  # the first message has no type
            if len(held) < at + 4:
                return
            end = at + int.from_bytes(held[at : at + 4], "big")
            if len(held) < end:
                return
            if self._started:
                self._message(held[0:1], bytes(held[5:end]))
            elif held[4:8] != b"\x04\xd2\x16\x2f":  # a question whether there is TLS comes before it
                self._started = True
            del held[:end]

    def _message(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q":
                self._counts[body.rstrip(b"\0").decode()] += 1
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = text.decode()
            case b"B":
                portal, name, _ = body.split(b"\0", 2)
                self._portals[portal] = name
            case b"E":
                name = self._portals.get(body.split(b"\0", 1)[0], b"")
                self._counts[self._texts.get(name, "?")] += 1
