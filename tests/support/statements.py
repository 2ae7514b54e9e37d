"""Counts the statements that a client sends to PostgreSQL, by reading its side of the protocol (version 3, no TLS)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Statements:
    """`counts`: how often each text was executed, over all connections that are tapped; `about`: by its first
    parameter, too."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.about: Counter[tuple[str, bytes]] = Counter()

    def of(self, part: str, first: str | None = None) -> int:
        """Executions of statements whose text has this part. `first`: and this first parameter."""
        if first is not None:
            return sum(n for (text, one), n in self.about.items() if part in text and one == first.encode())
        return sum(count for text, count in self.counts.items() if part in text)

    def tap(self) -> Callable[[bytes], None]:
        """For one connection: call with every piece that the client sends."""
        return _Reader(self).feed


class _Reader:
    def __init__(self, counted: Statements) -> None:
        self._counted = counted
        self._held = bytearray()
        self._started = False
        self._texts: dict[bytes, str] = {}
        self._portals: dict[bytes, tuple[bytes, bytes]] = {}  # statement and first parameter

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
                self._counted.counts[body.rstrip(b"\0").decode()] += 1
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = text.decode()
            case b"B":
                portal, name, rest = body.split(b"\0", 2)
                self._portals[portal] = name, _first(rest)
            case b"E":
                name, first = self._portals.get(body.split(b"\0", 1)[0], (b"", b""))
                text = self._texts.get(name, "?")
                self._counted.counts[text] += 1
                self._counted.about[text, first] += 1


def _first(bound: bytes) -> bytes:
    """The first parameter of a Bind message, behind its names: formats, then values with their lengths; -1: NULL."""
    at = 2 + 2 * int.from_bytes(bound[:2], "big")
    if not int.from_bytes(bound[at : at + 2], "big"):
        return b""
    length = int.from_bytes(bound[at + 2 : at + 6], "big", signed=True)
    return bound[at + 6 : at + 6 + max(length, 0)]
