"""What a track's way to the speech provider is doing."""

from __future__ import annotations

from enum import StrEnum


class LinkState(StrEnum):
    """Names as the API shows them."""

    IDLE = "idle"  # there is no session at the provider
    WAITING = "waiting"  # the account has no room for another session; audio is held
    CREATING = "creating"  # the session is being asked for
    CONNECTING = "connecting"  # its WebSocket is being opened, for the first time or again
    RESUMING = "resuming"  # open again; it is not known yet what the provider still has
    STREAMING = "streaming"
    FLUSHING = "flushing"  # everything is sent; the last finals are awaited
    FETCHING = "fetching"  # they are read from the provider's record of the session
    CLOSED = "closed"
    LOST = "lost"  # over too early: another session is to follow

    @property
    def is_being_connected(self) -> bool:
        """Audio cannot be sent now, and a connection is on its way."""
        return self in (LinkState.CREATING, LinkState.CONNECTING)

    @property
    def is_down(self) -> bool:
        """There is no connection that is known to be good; there should be one."""
        return self.is_being_connected or self is LinkState.RESUMING
