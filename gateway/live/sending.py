"""One message to many sockets.

A thousand writes cost Python a quarter of what they cost the kernel; in C they cost nothing, and other threads run
meanwhile (docs/fan-out.md). Where the C part was not built, because there was no compiler, Python does the same.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from typing import Final, TypeAlias

SendAll: TypeAlias = "Callable[[array[int], int, int, bytes], list[tuple[int, int]]]"


def in_python(descriptors: array[int], begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
    """Write `data` to the sockets `descriptors[begin:end]`, without waiting; negative ones are passed over.

    Returns: (index, bytes taken) of those that did not take all. A socket that is broken took 0: its reader learns why.
    """
    short = []
    for index in range(begin, end):
        descriptor = descriptors[index]
        if descriptor < 0:
            continue
        try:
            sent = os.write(descriptor, data)
        except OSError:
            sent = 0
        if sent != len(data):
            short.append((index, sent))
    return short


def _best() -> SendAll:
    try:
        from gateway.live._sending import send_all
    except ImportError:
        return in_python
    return send_all


send_all: Final[SendAll] = _best()
