"""One process's transcriptions, with every neighbour in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from support.fakes.audio import FakeSource, FakeSources
from support.fakes.clock import LoopClock
from support.fakes.membership import FakeMembership
from support.fakes.records import MemoryRecords
from support.fakes.speech import FakeLink, FakeTranscriber

from gateway.live.hub import Hub
from gateway.transcription.domain.limits import Limits
from gateway.transcription.usecases.context import RunContext, RunOptions
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.speech import Transcriber
from gateway.transcription.usecases.status import Status
from gateway.transcription.usecases.transcriptions import Transcriptions


@dataclass
class Replica:
    """One process's service over records that others may share. Use inside `serving`."""

    records: MemoryRecords
    clock: LoopClock = field(default_factory=LoopClock)
    options: RunOptions = field(default_factory=lambda: RunOptions(owner="replica-1"))
    limits: Limits = field(default_factory=Limits)
    real: Transcriber | None = None
    """In place of `transcriber`, the fake one."""
    membership: FakeMembership = field(default_factory=FakeMembership)
    finals: int = 5_000
    """That may be in memory."""

    def __post_init__(self) -> None:
        self.hub = Hub(self.clock.now)
        self.recorder = Recorder(self.records, self.hub, self.clock, limit=self.finals, may_act=self.membership.may_act)
        self.transcriber = FakeTranscriber()
        self.sources = FakeSources(self.clock)
        self.keeper = LimitKeeper(self.limits, self.records.ledger, self.clock)
        self.context = RunContext(
            self.records,
            self.recorder,
            self.hub,
            self.real or self.transcriber,
            self.clock,
            self.options,
            self.keeper,
            self.membership,
        )
        self.service = Transcriptions(self.context, self.sources)
        self.status = Status(self.service, self.records)

    def source(self, slug: str) -> FakeSource:
        return self.sources.opened[slug]

    @property
    def link(self) -> FakeLink:
        """The newest."""
        return self.transcriber.links[-1]
