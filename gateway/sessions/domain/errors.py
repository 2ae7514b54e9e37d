"""What can go wrong, in the words of the app. `gateway.api.errors` maps each class to one HTTP status."""

from __future__ import annotations

from typing import ClassVar


class SessionError(Exception):
    """Base. `title` is the short name of the problem, `hint` says what to do."""

    title: ClassVar[str] = "Request refused"
    hint: str | None = None


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


class NeverStarted(SessionError):
    title = "Transcription never started"
    hint = "POST /api/transcription/start first"

    def __init__(self, slug: str) -> None:
        super().__init__(f"session {slug!r} has no transcription")


class NoDocument(SessionError):
    title = "No transcript document"
    hint = "it is made when the session ends; GET …/transcript has what was said so far"

    def __init__(self, slug: str) -> None:
        super().__init__(f"session {slug!r} has no transcript document")


class RunsElsewhere(SessionError):
    title = "Another replica holds this transcription"
    hint = "repeat the request in a few seconds; the other replica's lease must end first"

    def __init__(self, slug: str) -> None:
        super().__init__(f"the transcription of {slug!r} is run by another replica")


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
    hint = "wait until GET /readyz answers 200"


class CostCapReached(SessionError):
    title = "Cost cap reached"
    hint = "raise costCapUsd, or create a new session"

    def __init__(self, slug: str, cap: float) -> None:
        super().__init__(f"the transcriptions of {slug!r} have used up the cap of {cap:.2f} USD")


class WrongRequest(SessionError):
    """A value in the request cannot be used."""

    title = "Invalid request"


class SessionNotEnded(SessionError):
    title = "Session is not over"
    hint = "end the session first; its analysis follows by itself"

    def __init__(self, session: str, status: str) -> None:
        super().__init__(f"session {session!r} is {status}, so it cannot be analysed yet")


class NoAnalysis(SessionError):
    title = "No analysis"
    hint = "a session is analysed once it has ended"

    def __init__(self, slug: str) -> None:
        super().__init__(f"session {slug!r} has no analysis")


class AnalysisNotFailed(SessionError):
    title = "Analysis has not failed"
    hint = "only a FAILED analysis can be started again"

    def __init__(self, slug: str, status: str) -> None:
        super().__init__(f"the analysis of {slug!r} is {status}")
