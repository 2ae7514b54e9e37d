"""What can go wrong with an analysis."""

from __future__ import annotations

from gateway.errors import SessionError


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
