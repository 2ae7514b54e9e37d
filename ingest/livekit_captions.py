"""Captions on their way back into a room: finals all and in order, partials as often as a screen needs them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PARTIAL_EVERY_S: Final = 0.33  # per speaker
HELD: Final = 500  # finals; more are only waiting when the room has been away for minutes


@dataclass(frozen=True, slots=True)
class RoomCaption:
    """`segment_id` stays the same from the first partial to the final, which replaces them on screen."""

    identity: str
    track_sid: str
    segment_id: str
    text: str
    is_final: bool


class CaptionQueue:
    """What to send next. A newer version of a segment replaces the one waiting; a full queue drops the oldest."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: dict[str, RoomCaption] = {}
        self._next_partial: dict[str, float] = {}  # by speaker

    def put(self, caption: RoomCaption) -> None:
        """Let it wait for `take`. Dropped when the final of its segment waits already."""
        held = self._waiting.get(caption.segment_id)
        if held is not None and held.is_final and not caption.is_final:
            return  # a late partial never replaces a final
        self._waiting[caption.segment_id] = caption
        if len(self._waiting) > HELD:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1

    def take(self, now: float) -> RoomCaption | None:
        """The oldest one that may be sent at `now`, seconds."""
        for segment_id, caption in self._waiting.items():
            if caption.is_final or now >= self._next_partial.get(caption.identity, now):
                del self._waiting[segment_id]
                if not caption.is_final:
                    self._next_partial[caption.identity] = now + PARTIAL_EVERY_S
                return caption
        return None

    def wait_s(self, now: float) -> float | None:
        """How long until the next one may be sent; None when nothing waits."""
        due = [
            0.0 if one.is_final else self._next_partial.get(one.identity, now) - now for one in self._waiting.values()
        ]
        return max(0.0, min(due)) if due else None

    def forget(self, identity: str) -> None:
        """The speaker has left."""
        self._next_partial.pop(identity, None)
