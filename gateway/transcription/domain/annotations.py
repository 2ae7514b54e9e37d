"""Entities and sentiments of an utterance, in the words of the stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def on_session(result: Mapping[str, Any], anchored: timedelta) -> dict[str, Any]:
    """As the provider tells it, in camelCase; `start` and `end` (seconds on the track) become `startMs` and `endMs`.

    `anchored`: when the track began, since the session's origin.
    """
    shown: dict[str, Any] = {}
    for key, value in result.items():
        if key in ("start", "end"):
            shown[f"{key}Ms"] = max(0, round((anchored.total_seconds() + value) * 1000))
        elif key != "channel":
            first, *others = key.split("_")
            shown[first + "".join(part.capitalize() for part in others)] = value
    return shown
