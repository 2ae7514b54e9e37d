"""What we use of structlog, without `rich`, which it loads where that is installed: 4 MB for a console nobody has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import cast


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """An import of that module fails inside the block, unless it is loaded already."""
    loaded = cast("MutableMapping[str, ModuleType | None]", sys.modules)
    if name in loaded:
        yield
        return
    loaded[name] = None
    try:
        yield
    finally:
        del loaded[name]


with _absent("rich"):
    from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars
    from structlog.processors import format_exc_info
    from structlog.stdlib import ExtraAdder

__all__ = ["ExtraAdder", "bound_contextvars", "format_exc_info", "get_contextvars", "merge_contextvars"]
