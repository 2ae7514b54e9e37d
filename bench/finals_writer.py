"""How many finals a second one gateway process can store, by batch size.

    python bench/finals_writer.py                       # an embedded PostgreSQL, fully durable
    python bench/finals_writer.py --url postgresql://…  # a server of yours; the database must be empty or ours

The client is one process on one core; "rows per CPU second" counts its own CPU time only, so it says what the gateway
would pay whatever the server's disk does. The goal is 5,000.

Then the whole way of a final (queue, batches, database, fan-out): at a steady 5,000 a second, how long until it is
durable; and how fast a spool that has filled in an outage drains.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uvloop

from gateway.app.system_clock import SystemClock
from gateway.live.protocol import encode_caption
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.timing import Passage
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.final_records import PostgresFinalRecords
from gateway.transcription.infra.journal import SpoolJournal, open_journal
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records, StoreOutcome
from storage import ids
from storage.postgres.embedded import EmbeddedPostgres
from storage.postgres.finals import FinalRow, Finals
from storage.postgres.migrate import prepare
from storage.postgres.pool import Database, open_pool
from storage.postgres.sessions import Participants, Sessions
from storage.postgres.transcriptions import NewTranscription, TranscriptionRow, Transcriptions
from storage.postgres.url import parse_database_url

TEXT = "The quick brown fox jumps over the lazy dog while the gateway writes down every single word it says."


async def main() -> None:
    arguments = _arguments()
    async with AsyncExitStack() as stack:
        url = arguments.url
        if url is None:
            url = (await stack.enter_async_context(EmbeddedPostgres(stack.enter_context(_folder())))).url
        options = parse_database_url(url)
        await prepare(options)
        db = await stack.enter_async_context(open_pool(options))
        print(f"{'batch':>6} {'rows/s':>9} {'rows per client CPU s':>22} {'ms per batch (median)':>22}")
        for size in (1, 10, 100):
            runs = [await measure(db, size, arguments.seconds) for _ in range(arguments.rounds)]
            rate, per_cpu, delay = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{size:>6} {rate:>9,.0f} {per_cpu:>22,.0f} {delay * 1000:>22.2f}")
        await sustained(db, arguments.rate, arguments.seconds * 2)
        await drained(db, arguments.spool)


async def sustained(db: Database, rate: int, seconds: float) -> None:
    """Finals at a steady rate through the recorder: the time until each is durable, and what it costs."""
    async with _desk(db) as desk:
        began, cpu, count = time.perf_counter(), time.process_time(), 0
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(count, int(passed * rate)):
                desk.put()
            count = max(count, int(passed * rate))
            await asyncio.sleep(0.002)
        await desk.recorder.settled(desk.transcription_id)
        took, used = time.perf_counter() - began, time.process_time() - cpu
        delays = sorted(desk.shown[seq] - desk.given[seq] for seq in desk.given)
        p50, p99 = (delays[int(len(delays) * share)] * 1000 for share in (0.5, 0.99))
        print(
            f"through the recorder, {rate:,}/s offered: {count / took:,.0f} finals/s, {used / took:.0%} of a core, "
            f"durable after {p50:.1f} ms (median), {p99:.1f} ms (99 %), {len(desk.journal)} on disk"
        )


async def drained(db: Database, count: int) -> None:
    """What an outage has left on disk goes to the database, a batch of 200 a statement."""
    async with _desk(db) as desk:
        desk.finals.away = True
        for _ in range(count):
            desk.put()
            if len(desk.given) % 200 == 0:
                await asyncio.sleep(0)
        while len(desk.journal) < count:
            await asyncio.sleep(0.01)
        began, cpu = time.perf_counter(), time.process_time()
        desk.finals.away = False
        await desk.recorder.settled(desk.transcription_id)
        took, used = time.perf_counter() - began, time.process_time() - cpu
        print(f"spool of {count:,}: {count / took:,.0f} finals/s drained, {count / used:,.0f} per CPU second")


class _Finals(PostgresFinalRecords):
    """`away`: the database takes nothing."""

    away = False

    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        if self.away:
            raise RecordsUnavailable("away")
        return await super().store(finals)


@dataclass
class _Desk:
    """A recorder with everything real behind it, and a stopwatch in front."""

    records: Records
    finals: _Finals
    journal: SpoolJournal
    claimed: Claimed
    participant: asyncio.Future[str | None]
    given: dict[int, float] = field(default_factory=dict)
    shown: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.records, self, SystemClock(), self.journal, limit=1_000_000)  # type: ignore[arg-type]

    @property
    def transcription_id(self) -> str:
        return self.claimed.lease.transcription_id

    def channel(self, slug: str) -> _Desk:
        return self

    def final(self, seq: int, utterance_id: str, data: bytes) -> None:
        self.shown[seq] = time.perf_counter()

    def put(self) -> None:
        seq = len(self.given) + 1
        now = datetime.now(UTC)
        words = tuple(Word(word, 0, 9) for word in TEXT.split())
        said = Caption(f"bench:{seq:08}", TEXT, "en", True, Speaker("anna", "Anna"), now, now, 0, 9, 0.9, words)
        self.given[seq] = time.perf_counter()
        final = FinalToStore(
            self.claimed.lease,
            self.claimed.session_id,
            self.claimed.numbering.epoch,
            seq,
            said,
            None,
            encode_caption(said),
        )
        self.recorder.put(self.claimed.slug, final, self.participant, Passage())


@asynccontextmanager
async def _desk(db: Database) -> AsyncIterator[_Desk]:
    finals = _Finals(db, SystemClock())
    records = replace(postgres_records(db, SystemClock()), finals=finals)
    session = await records.sessions.create(None, None, None)
    claimed, _ = await records.leases.claim(session, "livekit", {}, None, "bench", 3600)
    assert claimed is not None
    participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    participant.set_result(await records.sessions.join(session.id, Speaker("anna", "Anna")))
    with _folder() as folder:
        async with open_journal(folder / "spool", 2**30) as journal:
            desk = _Desk(records, finals, journal, claimed, participant)
            writing = asyncio.create_task(desk.recorder.run())
            try:
                yield desk
            finally:
                writing.cancel()
                await asyncio.wait([writing])


async def measure(db: Database, size: int, seconds: float) -> tuple[float, float, float]:
    """Rows per second, rows per CPU second of this process, median seconds per batch; one batch at a time."""
    run, participant_id = await _world(db)
    finals, seq, delays = Finals(db), 0, list[float]()
    for warm in range(3):
        await finals.append(_batch(run, participant_id, seq + warm * size, size))
    seq = 3 * size
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        batch = _batch(run, participant_id, seq, size)
        sent = time.perf_counter()
        outcome = await finals.append(batch)
        delays.append(time.perf_counter() - sent)
        assert len(outcome.stored) == size
        seq += size
    done = len(delays) * size
    used, took = time.process_time() - cpu, time.perf_counter() - began
    return done / took, done / used, statistics.median(delays)


async def _world(db: Database) -> tuple[TranscriptionRow, str]:
    now = datetime.now(UTC)
    sessions = Sessions(db)
    session = await sessions.create(ids.slug(), None, await sessions.ensure_default_space(), None, now)
    joined = await Participants(db).join(session.id, "anna", "Anna", now)
    assert joined is not None
    new = NewTranscription(session.id, session.slug, "livekit", {})
    run, _ = await Transcriptions(db).claim(new, "bench", 3600, now)
    return run, joined.participant.id


def _batch(run: TranscriptionRow, participant_id: str, after: int, size: int) -> list[FinalRow]:
    now = datetime.now(UTC)
    data = {"text": TEXT, "isFinal": True, "words": [{"text": w, "startMs": 0, "endMs": 9} for w in TEXT.split()]}
    return [
        FinalRow(
            transcription_id=run.id,
            fence=run.fence,
            session_id=run.session_id,
            epoch=run.epoch,
            seq=seq,
            participant_id=participant_id,
            utterance_id=f"2d1fb0b2-8f0f-4e43-9a8b-1f0f3f0a8d11:00_{seq:08}",
            text=TEXT,
            language="en",
            started_at=now,
            ended_at=now + timedelta(seconds=2),
            data=msgspec.json.encode(data),
            created_at=now,
        )
        for seq in range(after + 1, after + size + 1)
    ]


@contextmanager
def _folder() -> Iterator[Path]:
    """Open to every account: as root the server runs under another one."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is printed")
    parser.add_argument("--rate", type=int, default=5_000, help="finals a second through the recorder")
    parser.add_argument("--spool", type=int, default=20_000, help="finals that an outage leaves on disk")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main())
