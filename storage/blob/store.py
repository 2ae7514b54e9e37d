"""Documents by name, somewhere that keeps them: what every blob store here can do, and what can go wrong."""

from __future__ import annotations

import re
from typing import Final, Protocol

_KEY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LONGEST_KEY: Final = 512


class BlobError(Exception):
    """The store did not do what it was asked. `retryable`: the same call may succeed later, with the same settings."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        self.retryable = retryable
        super().__init__(message)


class Blobs(Protocol):
    """One store. A key is a path of plain ASCII names (`check_key`)."""

    @property
    def place(self) -> str:
        """Which store this is, in words without secrets. A document is found again only in the place it was put."""

    async def put(self, key: str, data: bytes, content_type: str) -> str | None:
        """Keep a document, whole or not at all; one of the same key is replaced.

        Returns: its URL; None when the store has none to offer. Raises: BlobError.
        """

    async def get(self, key: str) -> bytes | None:
        """None when there is none. Raises: BlobError."""

    async def delete(self, key: str) -> None:
        """It is gone when this returns; one that is not there changes nothing. Raises: BlobError."""


def check_key(key: str) -> str:
    """Raises: ValueError. A key is our own making, so a bad one is a bug."""
    if len(key) > _LONGEST_KEY or _KEY.fullmatch(key) is None:
        raise ValueError(f"not a key of a blob: {key[:80]!r}")
    return key
