"""A translation as watchers see it: an object of JSON, and its numbers once it is stored."""

from __future__ import annotations

import msgspec


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """What of it decides who is shown it. `seq` counts in its language; None: it is not stored yet."""

    target_language: str = ""
    text: str = ""
    seq: int | None = None


told = msgspec.json.Decoder(Told).decode


def numbered(data: bytes, seq: int, of_seq: int) -> bytes:
    """`data` with its number and that of its final."""
    return data.rstrip()[:-1] + b',"seq":%d,"ofSeq":%d}' % (seq, of_seq)
