"""How many finals a second one gateway process can store, by batch size.

    python bench/finals_writer.py                       # an embedded PostgreSQL, fully durable
    python bench/finals_writer.py --url postgresql://…  # a server of yours; the database must be empty or ours

The client is one process on one core; "rows per CPU second" counts its own CPU time only, so it says what the gateway
would pay whatever the server's disk does. The goal is 5,000.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uvloop

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
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main())
