"""The provider sessions of one track as spans, each with its seams: from a lost connection to the next one."""

from __future__ import annotations

from gateway import tracing
from stt.gladia.client import SessionReport


class SessionSpans:
    """Told what a link tells. A session that takes a lost one's place has a link to it."""

    def __init__(self) -> None:
        self._sessions: dict[str, tracing.Span] = {}
        self._seams: dict[str, tracing.Span] = {}
        self._lost: str | None = None

    def report(self, session: SessionReport) -> None:
        """It was opened, or is over."""
        if not session.over:
            facts = {"provider_session": session.id}
            self._sessions[session.id] = tracing.begin("provider session", facts, kind="client", links=[self._lost])
            self._lost = None
        elif (span := self._sessions.pop(session.id, None)) is not None:
            self._end_seam(session.id, session.outcome)
            span.note({"outcome": session.outcome, "seconds_sent": session.seconds_sent})
            span.note({"seconds_resent": session.seconds_resent})
            is_lost = session.outcome == "lost"
            self._lost = span.traceparent if is_lost else None
            span.end("lost" if is_lost else None)

    def line(self, session_id: str, why: str | None) -> None:
        """Its connection is lost, for that reason; None: it has one."""
        if why is None:
            self._end_seam(session_id, "resumed")
        elif (span := self._sessions.get(session_id)) is not None and session_id not in self._seams:
            facts = {"provider_session": session_id, "reason": why}
            self._seams[session_id] = tracing.begin("provider seam", facts, parent=span.traceparent)

    def _end_seam(self, session_id: str, outcome: str) -> None:
        if (seam := self._seams.pop(session_id, None)) is not None:
            seam.note({"outcome": outcome})
            seam.end()
