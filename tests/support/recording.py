"""A recorder at work on one claimed session that is watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import msgspec
from support.fakes import BEGIN, FakeTransport, LoopClock, MemoryRecords
from support.frames import seqs

from gateway.live.hub import Hub
from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.timing import Passage
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.usecases.journal import FinalToStore, Journal, TranslationToStore
from gateway.transcription.usecases.record import Recorder


class Desk:
    """`participant`: the speaker's row, which a test may let come later. `screen`: of one who reads everything."""

    def __init__(
        self, limit: int = 5_000, *, records: MemoryRecords | None = None, journal: Journal | None = None
    ) -> None:
        self.clock = LoopClock()
        self.records = records or MemoryRecords(self.clock)
        self.hub = Hub(self.clock.now)
        self.recorder = Recorder(self.records, self.hub, self.clock, journal, limit=limit)
        self.screen = FakeTransport()
        self.claimed: Claimed
        self.life = 0
        """Of several processes in a row; what one says the next does not."""
        self.passage = Passage()
        self.participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def at_work(self, *, resolved: bool = True) -> AsyncIterator[None]:
        """Claim, watch and record. `resolved`: the speaker's row is known."""
        session = await self.records.sessions.create("abc", None, None)
        claimed, _ = await self.records.leases.claim(session, "rtmp", {}, None, "me", 30)
        assert claimed is not None
        self.claimed = claimed
        self.hub.begin("abc", claimed.numbering)
        watcher = self.hub.join("abc", self.screen, lambda code: None)
        await self.hub.channel("abc").catch_up(watcher, None, self._nothing)
        if resolved:
            self.participant.set_result("participant-1")
        async with self.running():
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _nothing(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    def final(self, seq: int, claimed: Claimed | None = None) -> FinalToStore:
        mine, at = claimed or self.claimed, BEGIN + timedelta(seconds=seq)
        said = Caption(f"{self.life}:{seq}", f"Number {seq}.", "en", True, Speaker("anna", None), at, at, 0, 0, 0.9, ())
        return FinalToStore(mine.lease, mine.session_id, "e", seq, said, None, self.hub.encode(said))

    def put(self, *numbers: int, claimed: Claimed | None = None) -> None:
        for seq in numbers:
            self.recorder.put((claimed or self.claimed).slug, self.final(seq, claimed), self.participant, self.passage)

    def translate(self, seq: int, language: str, text: str) -> None:
        """Of a final."""
        data = {"utteranceId": f"{self.life}:{seq}", "targetLanguage": language, "text": text}
        claimed = self.claimed
        self.recorder.translate(
            TranslationToStore(
                claimed.lease.transcription_id,
                claimed.session_id,
                claimed.slug,
                f"{self.life}:{seq}",
                language,
                msgspec.json.encode(data),
            )
        )

    async def settled(self) -> None:
        await asyncio.wait_for(self.recorder.settled(self.claimed.lease.transcription_id), 1_000)

    @property
    def stored(self) -> list[int]:
        return [final.seq for final in self.records.stored("abc")]

    @property
    def shown(self) -> list[int]:
        return seqs(bytes(self.screen.arrived))
