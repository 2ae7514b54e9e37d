"""What can go wrong, in the words of the app. `gateway.api.errors` maps each class to one HTTP status."""

from __future__ import annotations


class StartFailed(Exception):
    """A part that is needed cannot be had; the text says which and what to do."""


class PartDied(Exception):
    """A part that a running gateway cannot do without has ended; the text says which and what to do."""


class SessionError(Exception):
    """Base. `title` is the short name of the problem, `hint` says what to do."""

    title: str = "Request refused"
    hint: str | None = None
    passing: bool = False
    """The same request, repeated after a pause, may succeed without a change by the caller or an operator."""
    retry_after_s: float | None = None
    """When the same request may be answered otherwise."""


class SessionNotFound(SessionError):
    title = "No such session"
    hint = "create the session first; the slug is the LiveKit room name"

    def __init__(self, slug: str) -> None:
        super().__init__(f"there is no session {slug!r}")


class SessionOver(SessionError):
    title = "Session is over"
    hint = "an ended or expired session is never reopened; create a new one"

    def __init__(self, slug: str, status: str) -> None:
        super().__init__(f"session {slug!r} is {status}")


class SessionFull(SessionError):
    title = "Session is full"
    hint = "the operator sets GATEWAY_MAX_PARTICIPANTS"

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} participants have joined this session; it takes no more")


class WrongRequest(SessionError):
    """A value in the request cannot be used."""

    title = "Invalid request"
