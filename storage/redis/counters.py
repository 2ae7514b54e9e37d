"""What the bus has done so far, for metrics. They only grow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Of one bus since it was opened."""

    published: int = 0
    """Answered by a server, whatever the number of receivers."""
    unconfirmed: int = 0
    """Sent, but the connection ended before the answer: heard or not is unknown."""
    dropped: int = 0
    """Never sent: no room, too old, no server, or refused by it."""
    overtaken: int = 0
    """Never sent, because a newer partial took its place."""
    pipelines: int = 0
    delivered: int = 0
    """Messages handed to the listener."""
    reconnects: int = 0
    """Connections that were opened after an earlier one had ended, to either end."""
    bytes_sent: int = 0
    bytes_received: int = 0
