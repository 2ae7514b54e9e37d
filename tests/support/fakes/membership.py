"""A process among replicas, as a test says."""

from __future__ import annotations

from gateway.transcription.usecases.membership import Alone


class FakeMembership(Alone):
    """`is_certain`: it may act. `inherits`: it is the heir of whatever has lost its owner."""

    def __init__(self) -> None:
        super().__init__()
        self.is_certain = True
        self.inherits = True
        self.run_id = "run-1"

    def may_act(self) -> bool:
        return self.is_certain

    def is_heir(self, key: str) -> bool:
        return self.inherits

    def lose(self) -> None:
        """All that it owns, and it is a member again at once."""
        self.run_id += "1"
        for tell in self.on_lost:
            tell()
