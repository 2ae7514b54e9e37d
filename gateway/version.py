"""The version of this code: what the packages, the API's document, the metrics and the other replicas are told.

And whether it runs as it is written, or compiled (docs/deploy.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType
from typing import Final

VERSION: Final = "0.2.0"
_PACKAGES: Final = frozenset({"gateway", "ingest", "stt", "storage", "transcription_client"})


def how_it_runs(loaded: Mapping[str, ModuleType]) -> str:
    """`interpreted`, or `compiled (N modules)`. `loaded`: `sys.modules`, of which ours are asked for their files.

    One with an underscore before its name was written in C, and is there in both.
    """
    at_once = dict(loaded)  # threads load modules meanwhile: FFmpeg's, where an encoder was there before we were
    compiled = [
        name
        for name, module in at_once.items()
        if name.partition(".")[0] in _PACKAGES
        and not name.rpartition(".")[2].startswith("_")
        and str(getattr(module, "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES))
    ]
    return f"compiled ({len(compiled)} modules)" if compiled else "interpreted"
