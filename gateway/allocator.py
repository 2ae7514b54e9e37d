"""glibc's allocator, held to giving back what is freed. Elsewhere (musl, macOS, Windows) there is nothing to hold."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE: Final = 512 * 1024
"""Bytes. glibc begins with 128 kB, and takes the size of each larger block that is freed, up to 32 MB; of what is free
it keeps twice as much. uvloop asks for 256 kB at each read of a TLS connection, which has to be cheap."""


def keep_large_blocks_apart() -> None:
    """They come from the system one by one and go back to it. To be called before anything large is loaded."""
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Whole pages that are free between blocks in use go back, too: after a burst there are many. 1 to 3 ms."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*arguments)
