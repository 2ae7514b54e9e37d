"""What can go wrong with what is kept."""

from __future__ import annotations

from gateway.errors import SessionError


class NoDocument(SessionError):
    title = "No transcript document"
    hint = "it is made when the session ends; GET …/transcript has what was said so far"

    def __init__(self, slug: str) -> None:
        super().__init__(f"session {slug!r} has no transcript document")


class SearchTooSlow(SessionError):
    title = "The search takes too long"
    hint = "look in fewer sessions or a shorter time (session, spaceId, from, to), or for rarer words"
    passing = True
    retry_after_s = 5.0

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"nothing was found within {deadline_s:g} s")


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
