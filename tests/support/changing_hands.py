"""Replicas in memory between which a transcription changes hands."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.fakes import LoopClock, MemoryRecords, Replica
from support.transcribing import SLUG, replica, start
from support.waiting import until

from gateway.transcription.domain.errors import NoAnswer, RunsElsewhere
from gateway.transcription.domain.handover import HandedOver, Heir, Late
from gateway.transcription.domain.lines import Line
from gateway.transcription.usecases.handover import Handover
from gateway.transcription.usecases.transcriptions import Transcriptions


@dataclass
class Network:
    """Replicas that reach each other. `lost`: answers of these calls never arrive; `cut`: the calls themselves."""

    handovers: dict[str, Handover] = field(default_factory=dict)
    services: dict[str, Transcriptions] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    told: list[Late] = field(default_factory=list)
    last_beat: dict[str, float] = field(default_factory=dict)
    """When each has beaten last; who is not in it has just now."""
    down: defaultdict[str, set[Line]] = field(default_factory=lambda: defaultdict(set))
    """Lines that a replica has lost, by its name."""
    questions: int = 0
    """Replicas asked which lines they have."""

    async def call(self, name: str, work: Callable[[], Awaitable[object]]) -> object:
        await asyncio.sleep(0.01)
        if name in self.cut:
            raise NoAnswer(f"{name} was not heard")
        answer = await work()
        if name in self.lost:
            raise NoAnswer(f"the answer of {name} was lost")
        return answer

    def connect(self, there: Replica) -> Handover:
        name = there.options.owner
        self.services[name] = there.service
        self.handovers[name] = Handover(there.service, there.context, End(self, name))
        return self.handovers[name]


@dataclass
class End:
    """One replica's view of the others."""

    network: Network
    name: str

    def heir(self) -> Heir:
        return Heir(self.name, f"run of {self.name}")

    async def with_room(self, among: Collection[str] | None = None) -> list[str]:
        others = [name for name in self.network.handovers if name != self.name and (among is None or name in among)]
        return [name for name in others if not self.network.services[name].draining]

    async def reaches(self, replica: str, lines: Collection[Line]) -> bool:
        self.network.questions += 1
        return not self.network.down[replica] & set(lines)

    async def ask_for(self, owner: str, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
        give = self.network.handovers[owner].give
        answer = await self.network.call("ask_for", lambda: give(slug, fence, heir, pause_s))
        assert isinstance(answer, HandedOver)
        return answer

    async def offer(self, replica: str, slug: str, owner: str, fence: int, pause_s: float) -> None:
        accept = self.network.handovers[replica].accept
        await self.network.call("offer", lambda: accept(slug, owner, fence, pause_s))

    def silent_s(self, replica: str) -> float:
        now = LoopClock().monotonic()
        return now - self.network.last_beat.get(replica, now)

    async def tell_late(self, replica: str, slug: str, late: Late) -> None:
        self.network.told.append(late)
        try:
            await self.network.call("tell_late", lambda: self.network.handovers[replica].hear(slug, late))
        except RunsElsewhere as error:
            raise NoAnswer(str(error)) from error


@dataclass
class Pair:
    records: MemoryRecords
    network: Network
    a: Replica
    b: Replica
    key: str

    async def fetch(self) -> None:
        """An encoder publishes at b."""
        await self.network.handovers["b"].fetch([self.key])

    def runs_at(self) -> str:
        return "".join(name for name, there in (("a", self.a), ("b", self.b)) if there.service.run_of(SLUG))

    def stored(self) -> list[tuple[int, str]]:
        return [(final.seq, final.caption.text) for final in self.records.stored(SLUG)]


@asynccontextmanager
async def pair(source: str = "rtmp") -> AsyncIterator[Pair]:
    """`a` transcribes, somebody speaks and has said `one`."""
    clock = LoopClock()
    records, network = MemoryRecords(clock), Network()
    async with (
        replica(records, owner="b") as b,
        network.connect(b).serving(),
        replica(records, owner="a") as a,
        network.connect(a).serving(),
    ):
        started = await a.service.start(start(source))
        a.source(SLUG).appear().speak(3)
        await until(lambda: bool(a.transcriber.links))
        a.link.final("one")
        await until(lambda: len(records.stored(SLUG)) == 1)
        yield Pair(records, network, a, b, started.ingest.stream_key or "")
