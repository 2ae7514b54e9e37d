"""What can go wrong with a transcription."""

from __future__ import annotations

from gateway.errors import SessionError


class NeverStarted(SessionError):
    title = "Transcription never started"
    hint = "POST /api/transcription/start first"

    def __init__(self, slug: str) -> None:
        super().__init__(f"session {slug!r} has no transcription")


class NotRunning(SessionError):
    title = "Transcription is not running"
    hint = "it has stopped; POST /api/transcription/start begins another"

    def __init__(self, slug: str) -> None:
        super().__init__(f"the transcription of session {slug!r} has stopped")


class NoAnswer(Exception):
    """A replica could not be asked, or has not answered in time; whether it has done what it was asked is unknown."""


class RunsElsewhere(SessionError):
    title = "Another replica holds this transcription"
    passing = True
    hint = "repeat the request in a few seconds; the other replica's lease must end first"
    retry_after_s = 5.0

    def __init__(self, slug: str, owner: str = "") -> None:
        """`owner`: that replica's id, where it is known."""
        super().__init__(f"the transcription of {slug!r} is run by another replica")
        self.owner = owner


class RefusedThere(SessionError):
    """Another replica was asked to do it, and has refused. Its answer is told as it came."""

    title = "Another replica has refused"

    def __init__(self, status: int, title: str, detail: str, hint: str | None, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.passing = status in (429, 503)


class NoRoom(SessionError):
    """No replica that could be asked takes another transcription."""

    title = "No room"
    passing = True
    hint = "repeat the request; if it stays so, add a replica or raise GATEWAY_MAX_TRACKS"
    retry_after_s = 5.0


class SourceUnavailable(SessionError):
    """The audio source asked for is not switched on here."""

    title = "Source not available"

    def __init__(self, source: str, hint: str) -> None:
        super().__init__(f"this gateway takes no audio from {source!r}")
        self.hint = hint


class ProviderRefusedKey(SessionError):
    title = "Speech provider refused"
    hint = "set a valid GLADIA_API_KEY and restart; `gateway check` tells whether it works"


class NotReady(SessionError):
    title = "Not ready"
    passing = True
    hint = "wait until GET /readyz answers 200"


class CutOffHere(NotReady):
    """This replica does not reach the database, and others may."""

    def __init__(self) -> None:
        super().__init__("this gateway is cut off from its database; publish to another one, or again in a while")


class CostCapReached(SessionError):
    title = "Cost cap reached"
    hint = "raise costCapUsd, or create a new session"

    def __init__(self, slug: str, cap: float) -> None:
        super().__init__(f"another minute for {slug!r} would cost more than the cap of {cap:g} USD")


class NotFedByBrowsers(SessionError):
    title = "No browser feeds this transcription"
    hint = "start it with source websocket; with other sources nobody is host"

    def __init__(self, slug: str) -> None:
        super().__init__(f"no running transcription of {slug!r} takes audio over WebSocket")


class NotPresent(SessionError):
    title = "Not in the session"
    hint = "join first: POST /api/sessions/{slug}/participants/join, or send audio"

    def __init__(self, slug: str, identity: str | None) -> None:
        who = "nobody else" if identity is None else repr(identity)
        super().__init__(
            f"{who} is in session {slug!r} now" if identity is None else f"{who} is not in session {slug!r} now"
        )


class TranscriptionOff(SessionError):
    """No one may transcribe, on this gateway or in this space."""

    title = "Transcription is switched off"
    hint = "set GATEWAY_TRANSCRIPTION, or PUT /api/spaces/{id}/limits for one space"


class LimitReached(SessionError):
    """`retry_after_s`: when there is more; None when there will not be."""

    title = "Limit reached"

    def __init__(self, reason: str, retry_after_s: int | None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.hint = "wait until midnight UTC, or raise the limit" if retry_after_s else "raise the limit"
