"""glibc's allocator, held to giving back what is freed. Elsewhere (musl, macOS, Windows) there is nothing to hold."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE: Final = 128 * 1024
"""Bytes; glibc's own figure until the first larger block is freed: then it is that one's size, up to 32 MB, and twice
as much of what is free is kept. A TLS connection of uvloop has a block of 256 kB and uses a few of them: the rest costs
nothing where the block stands by itself."""


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
