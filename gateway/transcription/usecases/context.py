"""What every run of a process shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.transcription.usecases.limits import LimitKeeper
from gateway.transcription.usecases.live import Live
from gateway.transcription.usecases.membership import Alone, Membership
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records
from gateway.transcription.usecases.speech import Transcriber


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`owner`: this replica's name in leases. `drain_s`: how long late finals are awaited. `lease_s`: how long a lease
    lasts, without being renewed, for a version that does not see whether its owner lives. `cost_per_minute`: USD.
    `maximum_s`: length of a transcription; 0 = no limit. `max_tracks`: with which a replica begins no more
    transcriptions; 0 = no limit.
    """

    owner: str
    drain_s: float = 10.0
    lease_s: float = 90.0
    cost_per_minute: float = 0.01
    store_partials: bool = False
    maximum_s: float = 0.0
    max_tracks: int = 0


@dataclass(frozen=True, slots=True)
class RunContext:
    """The neighbours of a run."""

    records: Records
    recorder: Recorder
    live: Live
    transcriber: Transcriber
    clock: Clock
    options: RunOptions
    limits: LimitKeeper
    membership: Membership = field(default_factory=Alone)
