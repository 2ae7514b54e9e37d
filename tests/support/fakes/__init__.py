"""The neighbours of a transcription in memory, one module a port: database, provider, sources, screens, clock.

`MemoryRecords` passes the same contract suite as PostgreSQL: tests/integration/gateway_records.
"""

from support.fakes.audio import Chunk, FakeSource, FakeSources, FakeTrack
from support.fakes.clock import BEGIN, HandClock, LoopClock
from support.fakes.journal import MemoryJournal
from support.fakes.limits import MemoryLedger
from support.fakes.membership import FakeMembership
from support.fakes.records import CutLine, MemoryRecords
from support.fakes.replica import Replica
from support.fakes.screen import FakeTransport
from support.fakes.speech import FakeLink, FakeTranscriber

__all__ = [
    "BEGIN",
    "Chunk",
    "CutLine",
    "FakeLink",
    "FakeMembership",
    "FakeSource",
    "FakeSources",
    "FakeTrack",
    "FakeTranscriber",
    "FakeTransport",
    "HandClock",
    "LoopClock",
    "MemoryJournal",
    "MemoryLedger",
    "MemoryRecords",
    "Replica",
]
