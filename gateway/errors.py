"""What can go wrong, in the words of the app. `gateway.api.errors` maps each class to one HTTP status."""

from __future__ import annotations

from typing import ClassVar


class SessionError(Exception):
    """Base. `title` is the short name of the problem, `hint` says what to do."""

    title: ClassVar[str] = "Request refused"
    hint: str | None = None
    passing: ClassVar[bool] = False
    """The same request, repeated after a pause, may succeed without anybody changing anything."""
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
    passing = True
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
    passing = True
    hint = "wait until GET /readyz answers 200"


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
    """Nobody may transcribe, here or in this space."""

    title = "Transcription is switched off"
    hint = "set GATEWAY_TRANSCRIPTION, or PUT /api/spaces/{id}/limits for one space"


class LimitReached(SessionError):
    """`retry_after_s`: when there is more; None when there will not be."""

    title = "Limit reached"

    def __init__(self, reason: str, retry_after_s: int | None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.hint = "wait until midnight UTC, or raise the limit" if retry_after_s else "raise the limit"


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


# --- the sessions module ------------------------------------------------------------------------------------


class CredentialNeeded(SessionError):
    """Guests may not do this."""

    title = "Credential needed"
    hint = "send Authorization: Bearer with a user token or a service token"


class Denied(SessionError):
    """A good credential, or none, and not enough for this."""

    title = "Forbidden"

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class SessionNotLive(SessionError):
    title = "Session is not live"
    hint = "a session is live from its first POST …/participants/join until its end"

    def __init__(self, slug: str, status: str) -> None:
        super().__init__(f"session {slug!r} is {status}")


class NoSuchSpace(WrongRequest):
    hint = "spaceId must name a space of the app; a user's spaces are in the claims spaces and activeSpaceId"


class NoSuchParticipant(SessionError):
    title = "No such participant"
    hint = "GET …/participants lists who is there"

    def __init__(self, slug: str, identity: str) -> None:
        super().__init__(f"{identity!r} has not joined session {slug!r}")


class IdentityTaken(SessionError):
    title = "Identity taken"
    hint = "join under another identity, or show that user's own token"

    def __init__(self, identity: str) -> None:
        super().__init__(f"the identity {identity!r} belongs to a signed-in user of this session")


class TooManyRequests(SessionError):
    """`retry_after_s`: when the next one is granted."""

    title = "Too many requests"
    hint = "wait as Retry-After says"

    def __init__(self, what: str, per_minute: int, retry_after_s: float) -> None:
        super().__init__(f"at most {per_minute} requests a minute to {what}")
        self.retry_after_s = retry_after_s


class DeletingRefused(SessionError):
    """The tables are the app's, and its database does not let us delete from them."""

    title = "The database refuses to delete"
    hint = (
        'GRANT DELETE ON "VideoSession", "Participant", "TranscriptSegment", "TranscriptionUsage", "SessionAnalysis" '
        "to the gateway's role, or let the app delete the session itself"
    )

    def __init__(self) -> None:
        super().__init__(
            "the gateway's role may not delete sessions; the session is over, and all of it is still there"
        )


class NoRooms(SessionError):
    title = "LiveKit is not configured"
    hint = "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"

    def __init__(self) -> None:
        super().__init__("this gateway has no LiveKit server to make tokens for")


class ControlUnavailable(SessionError):
    """The gateway that transcribes is another one, and does not answer."""

    title = "The transcribing gateway is away"
    passing = True
    hint = "look whether the gateway at WS_SERVER_URL runs"


class ControlRefused(SessionError):
    """The gateway that transcribes is another one, and has refused; its words are in the text."""

    title = "The transcribing gateway has refused"

    def __init__(self, text: str, hint: str | None) -> None:
        super().__init__(text)
        self.hint = hint
