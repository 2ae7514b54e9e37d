"""What can go wrong with a session."""

from __future__ import annotations

from gateway.errors import SessionError, WrongRequest


class SessionNotEnded(SessionError):
    title = "Session is not over"
    hint = "end the session first; its analysis follows by itself"

    def __init__(self, session: str, status: str) -> None:
        super().__init__(f"session {session!r} is {status}, so it cannot be analysed yet")


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


class NoRooms(SessionError):
    title = "LiveKit is not configured"
    hint = "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET; for=audio gets a token that needs no server"

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
