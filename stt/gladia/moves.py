"""The life of one provider session as a table of moves. Pure: no I/O, no clock.

`docs/provider-link.md` shows the same table as a diagram; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import Final

from stt.errors import SttError


class SessionState(Enum):
    """Life of one provider session."""

    CREATING = auto()  # POST is due or under way; audio waits in the window
    CONNECTING = auto()  # the socket is to be opened, for the first time or again
    RESUMING = auto()  # open again; the first acknowledgement will tell what the provider still has
    STREAMING = auto()
    FLUSHING = auto()  # no more audio goes out; final transcripts may still arrive
    FETCHING = auto()  # the socket gave no end; the result is read over REST
    CLOSED = auto()  # over, nothing to send again
    LOST = auto()  # over too early; a successor has to send again what has no final yet


class Event(Enum):
    """What can happen to a provider session."""

    CREATED = auto()
    OPENED = auto()
    REOPENED = auto()
    PLACED = auto()  # an acknowledgement told where the provider's sample counter stands
    STOP_SENT = auto()
    TURNED_AWAY = auto()  # the provider takes no more audio
    DROPPED = auto()  # the connection is gone; the session may live
    GONE = auto()  # the session cannot be continued
    ENDED = auto()  # all that was sent has been heard
    CUT_SHORT = auto()  # the provider ended before it had heard everything
    UNCERTAIN = auto()  # only the result can tell whether everything was heard
    ABANDONED = auto()  # the time is up, or we were refused


_S, _E = SessionState, Event
MOVES: Final[Mapping[tuple[SessionState, Event], SessionState]] = {
    (_S.CREATING, _E.CREATED): _S.CONNECTING,
    (_S.CREATING, _E.ABANDONED): _S.CLOSED,
    (_S.CONNECTING, _E.OPENED): _S.STREAMING,
    (_S.CONNECTING, _E.REOPENED): _S.RESUMING,
    (_S.CONNECTING, _E.DROPPED): _S.CONNECTING,
    (_S.CONNECTING, _E.GONE): _S.LOST,
    (_S.CONNECTING, _E.UNCERTAIN): _S.FETCHING,
    (_S.CONNECTING, _E.ABANDONED): _S.CLOSED,
    (_S.RESUMING, _E.PLACED): _S.STREAMING,
    (_S.RESUMING, _E.STOP_SENT): _S.FLUSHING,
    (_S.RESUMING, _E.TURNED_AWAY): _S.FLUSHING,
    (_S.RESUMING, _E.DROPPED): _S.CONNECTING,
    (_S.RESUMING, _E.GONE): _S.LOST,
    (_S.RESUMING, _E.ENDED): _S.CLOSED,
    (_S.RESUMING, _E.CUT_SHORT): _S.LOST,
    (_S.RESUMING, _E.UNCERTAIN): _S.FETCHING,
    (_S.RESUMING, _E.ABANDONED): _S.CLOSED,
    (_S.STREAMING, _E.STOP_SENT): _S.FLUSHING,
    (_S.STREAMING, _E.TURNED_AWAY): _S.FLUSHING,
    (_S.STREAMING, _E.DROPPED): _S.CONNECTING,
    (_S.STREAMING, _E.GONE): _S.LOST,
    (_S.STREAMING, _E.CUT_SHORT): _S.LOST,
    (_S.STREAMING, _E.ABANDONED): _S.CLOSED,
    (_S.FLUSHING, _E.PLACED): _S.FLUSHING,
    (_S.FLUSHING, _E.DROPPED): _S.CONNECTING,
    (_S.FLUSHING, _E.GONE): _S.LOST,
    (_S.FLUSHING, _E.ENDED): _S.CLOSED,
    (_S.FLUSHING, _E.CUT_SHORT): _S.LOST,
    (_S.FLUSHING, _E.UNCERTAIN): _S.FETCHING,
    (_S.FLUSHING, _E.ABANDONED): _S.CLOSED,
    (_S.FETCHING, _E.ENDED): _S.CLOSED,
    (_S.FETCHING, _E.CUT_SHORT): _S.LOST,
    (_S.FETCHING, _E.ABANDONED): _S.CLOSED,
}
CONNECTED: Final = frozenset({_S.RESUMING, _S.STREAMING, _S.FLUSHING})
OVER: Final = frozenset({_S.CLOSED, _S.LOST})


class ProviderEnd(Enum):
    """Whether the session has ended at the provider, whatever its state here."""

    OPEN = auto()  # not that we know: left alone it may run, and cost money, for hours
    ENDED = auto()  # the provider said so, or no longer knows the session
    COMPLETE = auto()  # ended, and it had heard everything that was sent


class LinkState(StrEnum):
    """State of a track's link, as people and metrics are shown it: that of its current session, with two more."""

    IDLE = "idle"  # no session: the track has not been heard yet, or has been silent for long
    WAITING = "waiting"  # every session that the account allows is in use
    CREATING = "creating"
    CONNECTING = "connecting"
    RESUMING = "resuming"
    STREAMING = "streaming"
    FLUSHING = "flushing"
    FETCHING = "fetching"
    CLOSED = "closed"
    LOST = "lost"


SHOWN: Final[Mapping[SessionState, LinkState]] = {state: LinkState[state.name] for state in SessionState}


class OutOfOrder(SttError):
    """A move that the table does not list: a bug, never a warning."""

    def __init__(self, state: SessionState, event: Event) -> None:
        super().__init__(f"{event.name} in state {state.name}")


def move(state: SessionState, event: Event) -> SessionState:
    """The state that `event` leads to. Raises: OutOfOrder when the table has no such move."""
    try:
        return MOVES[state, event]
    except KeyError:
        raise OutOfOrder(state, event) from None
