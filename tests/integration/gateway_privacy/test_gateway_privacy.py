"""What was said goes for good: when its session is deleted, when its time is over, when the app deletes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.waiting import until

from gateway.archive.deletions import PostgresDeletions
from gateway.archive.documents import BlobOptions, PostgresDocuments, open_blobs
from gateway.archive.erase import Eraser
from gateway.archive.errors import DeletingRefused
from gateway.archive.finalise import Finaliser
from gateway.archive.retention import Retention, RetentionRefused
from gateway.live.hub import Hub
from gateway.live.protocol import CloseCode, encode_caption
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.meters import Meter, read
from gateway.transcription.domain.timing import Passage
from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.final_records import PostgresFinalRecords
from gateway.transcription.infra.journal import SpoolJournal, open_journal
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records, SessionRecord, StoreOutcome
from storage.postgres.analyses import Analyses
from storage.postgres.pool import Database, open_pool
from storage.postgres.provider_sessions import ProviderSessions
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url

BEGIN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = "quartz"  # as it is in the search, too, which keeps words in their reduced form
ANNA = Speaker("anna", "Anna")


class HandClock:
    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()


class Finals(PostgresFinalRecords):
    """`away`: the database does not take finals."""

    away = False

    async def store(self, finals: Sequence[FinalToStore]) -> StoreOutcome:
        if self.away:
            raise RecordsUnavailable("switched off by the test")
        return await super().store(finals)


class Screen:
    """A watcher's socket."""

    def __init__(self) -> None:
        self.codes: list[CloseCode] = []

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


@dataclass
class World:
    """One gateway's parts, with everything real but the audio."""

    db: Database
    records: Records
    finals: Finals
    clock: HandClock
    hub: Hub
    journal: SpoolJournal
    recorder: Recorder
    finaliser: Finaliser
    eraser: Eraser
    folder: Path
    abandoned: list[str]

    async def session(self, slug: str) -> SessionRecord:
        return await self.records.sessions.create(slug, "Stand-up", None)

    async def claim(self, session: SessionRecord, word: str = SECRET) -> Claimed:
        claimed, _ = await self.records.leases.claim(session, "rtmp", {"customVocabulary": [word]}, None, "me", 600)
        assert claimed is not None
        self.hub.begin(session.slug, claimed.numbering)
        return claimed

    def say(self, claimed: Claimed, *seqs: int, word: str = SECRET) -> None:
        participant: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        participant.set_result(None)
        for seq in seqs:
            at = BEGIN + timedelta(seconds=seq)
            words = (Word(word, 1000 * seq, 1000 * seq + 500),)
            said = Caption(f"p:{seq}", word, "en", True, ANNA, at, at, 1000 * seq, 1000 * seq + 500, 0.9, words)
            final = FinalToStore(
                claimed.lease, claimed.session_id, claimed.numbering.epoch, seq, said, None, encode_caption(said)
            )
            self.recorder.put(claimed.slug, final, participant, Passage())

    async def over(self, session: SessionRecord, claimed: Claimed, word: str = SECRET) -> None:
        """Stopped, ended, finalised, analysed."""
        await self.recorder.settled(claimed.lease.transcription_id)
        await self.records.leases.finish(claimed.lease, "stopped by request", True)
        self.hub.set_state(session.slug, "stopped", None)
        sessions = Sessions(self.db)
        await sessions.go_live(session.id, self.clock.now())
        assert await sessions.end(session.id, self.clock.now())
        assert await self.finaliser.finalise(session.id)
        analyses = Analyses(self.db)
        assert await analyses.ensure(session.id, self.clock.now()) is not None
        job = await analyses.take(self.clock.now(), 60)
        assert job is not None
        task = {"title": f"buy a {word}"}
        assert await analyses.done(job, "model", f"They spoke of a {word}.", [task], [task], self.clock.now())

    async def places_of(self, word: str) -> list[str]:
        """Every table and file that holds a word."""
        tables = await self.db.pool.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        found = []
        for table in tables:
            name = table["name"]
            if await self.db.pool.fetchval(f"SELECT count(*) FROM {name} t WHERE t::text LIKE $1", f"%{word}%"):
                found.append(name)
        for path in self.folder.rglob("*"):
            if path.is_file() and word.encode() in path.read_bytes():
                found.append(path.relative_to(self.folder).parts[0])
        return sorted(found)


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_pool(parse_database_url(database_url)))
        clock = HandClock()
        finals = Finals(db, clock)
        records = replace(postgres_records(db, clock), finals=finals)
        hub = Hub(clock.now)
        journal = await stack.enter_async_context(open_journal(tmp_path / "spool", 10_000_000))
        blobs = await stack.enter_async_context(open_blobs(BlobOptions((tmp_path / "documents").as_uri())))
        recorder = Recorder(records, hub, clock, journal, patience_s=5)
        finaliser = Finaliser(PostgresDocuments(db), blobs, clock, lambda slug: f"https://gateway/{slug}")
        abandoned: list[str] = []
        eraser = Eraser(PostgresDeletions(db, clock), hub, finaliser, abandoned.append)
        writing = asyncio.create_task(recorder.run())
        yield World(db, records, finals, clock, hub, journal, recorder, finaliser, eraser, tmp_path, abandoned)
        writing.cancel()
        await asyncio.wait([writing])


EVERYWHERE = [
    "documents",
    "gateway.search_line",
    "gateway.transcript_event",
    "gateway.transcription",
    'public."SessionAnalysis"',
    'public."TranscriptSegment"',
]


async def test_deleting_a_session_leaves_no_byte_of_its_words(world: World) -> None:
    """Rows, document, spool, memory. (The first assertion shows that the search would find them.)"""
    session, other = await world.session("abc12345"), await world.session("other")
    claimed, others = await world.claim(session), await world.claim(other, "zeppelin")
    screen = Screen()
    world.hub.join(session.slug, screen, screen.codes.append)
    world.say(claimed, *range(1, 51))
    world.say(others, 1, word="zeppelin")
    await world.over(session, claimed)
    await world.recorder.settled(others.lease.transcription_id)
    assert await world.places_of(SECRET) == EVERYWHERE
    assert world.hub.channel(session.slug).recent

    assert await world.eraser.erase(session.id, session.slug)
    assert await world.places_of(SECRET) == []
    assert screen.codes == [CloseCode.NO_SUCH_SESSION]
    assert not world.hub.channel(session.slug).recent
    assert world.abandoned == [session.id]
    assert len(await world.places_of("zeppelin")) == 4  # another session's are still there
    assert not await world.eraser.erase(session.id, session.slug)


async def test_words_that_are_only_on_disk_go_with_their_session(world: World) -> None:
    session = await world.session("abc12345")
    claimed = await world.claim(session)
    world.finals.away = True
    world.say(claimed, 1, 2, 3)
    await until(lambda: len(world.journal))
    assert "spool" in await world.places_of(SECRET)
    assert await world.eraser.erase(session.id, session.slug)
    world.finals.away = False
    await until(lambda: not len(world.journal))
    assert await world.places_of(SECRET) == []
    assert world.recorder.refused == 3


async def test_words_that_lost_their_number_go_with_their_session(world: World) -> None:
    """When it is deleted, and when their time is over."""
    session, old = await world.session("abc12345"), await world.session("old")
    for one in (session, old):
        claimed = await world.claim(one)
        await world.records.leases.release(claimed.lease, "me")
        assert len(await world.records.leases.adopt("heir", 600, own=False)) == 1
        world.say(claimed, 1)
        world.finals.away = True
        async with asyncio.timeout(60):
            while world.recorder.pending:
                world.finals.away = not len(world.journal)  # to the disk first, then from there
                await asyncio.sleep(0.01)
    assert await world.places_of(SECRET) == [
        "gateway.stray_final",
        "gateway.transcription",
        'public."TranscriptSegment"',
    ]
    assert await world.eraser.erase(session.id, session.slug)
    assert "gateway.stray_final" in await world.places_of(SECRET)
    assert await world.eraser.erase(old.id, old.slug)
    assert await world.places_of(SECRET) == []


async def test_the_bill_of_a_deleted_session_stays(world: World) -> None:
    session = await world.session("abc12345")
    claimed = await world.claim(session)
    meter = Meter(
        world.records.usage.row_id(claimed.lease, "anna"), "anna", "Anna", BEGIN, 0.01, samples_sent=16_000 * 61
    )
    await world.records.usage.save(claimed, {}, [read(meter)])
    assert await world.eraser.erase(session.id, session.slug)
    kept = await world.db.pool.fetchrow("SELECT session_slug, duration_seconds, total_cost FROM gateway.usage_archive")
    assert tuple(kept) == ("abc12345", 61, 0.02)


async def test_words_are_removed_so_many_days_after_their_session_and_the_session_stays(world: World) -> None:
    old = await world.session("old")
    claimed = await world.claim(old)
    world.say(claimed, 1, 2)
    await world.over(old, claimed)
    world.clock.at += 20 * DAY
    young = await world.session("young")
    claimed = await world.claim(young, "zeppelin")
    world.say(claimed, 1, word="zeppelin")
    await world.over(young, claimed, "zeppelin")

    deletions = PostgresDeletions(world.db, world.clock)
    retention = Retention(deletions, world.finaliser, world.clock, days=30)
    provider_sessions = await heard_by_the_provider(world, old, young)
    world.clock.at = BEGIN + 29 * DAY
    assert await retention.sweep() == 0
    assert len(await world.places_of(SECRET)) == len(EVERYWHERE)
    world.clock.at = BEGIN + 31 * DAY
    assert await retention.sweep() == 1
    assert await world.places_of(SECRET) == ["gateway.transcription"]  # the vocabulary it was started with
    row = await Sessions(world.db).by_id(old.id)
    assert row is not None and row.raw_transcript_blob_url is None and row.raw_transcript_ready_at is None
    assert await world.places_of("zeppelin") == EVERYWHERE
    assert await retention.sweep() == 0
    assert await provider_sessions.to_erase(world.clock.now(), world.clock.now(), 9) == [("g-old", 1)]


async def heard_by_the_provider(world: World, *sessions: SessionRecord) -> ProviderSessions:
    """Each in one provider session, closed and billed."""
    store = ProviderSessions(world.db, "account", "me/1")
    for session in sessions:
        name = f"g-{session.slug}"
        await store.opened(name, "t", session.id, "anna", BEGIN)
        await store.closed(name, BEGIN, 1.0, "closed")
        await store.audited(name, 1.0)
    return store


async def test_why_an_analysis_failed_goes_with_the_words(world: World) -> None:
    """The model's server may have quoted what it complained about."""
    session = await world.session("old")
    claimed = await world.claim(session, "vocabulary")
    await world.over(session, claimed, "summary")
    await world.db.pool.execute("UPDATE \"SessionAnalysis\" SET status = 'PENDING'")
    analyses = Analyses(world.db)
    job = await analyses.take(world.clock.now(), 60)
    assert job is not None
    assert await analyses.failed(job, f"answered 422: {SECRET}", world.clock.now())
    assert await world.places_of(SECRET) == ["gateway.analysis_job"]
    world.clock.at += 31 * DAY
    retention = Retention(PostgresDeletions(world.db, world.clock), world.finaliser, world.clock, days=30)
    assert await retention.sweep() == 1
    assert await world.places_of(SECRET) == []
    assert await retention.sweep() == 0


async def test_without_a_limit_everything_is_kept(world: World) -> None:
    session = await world.session("old")
    claimed = await world.claim(session)
    world.say(claimed, 1)
    await world.over(session, claimed)
    world.clock.at += 10_000 * DAY
    assert await Retention(PostgresDeletions(world.db, world.clock), world.finaliser, world.clock, days=0).sweep() == 0
    assert len(await world.places_of(SECRET)) == len(EVERYWHERE)


async def test_what_is_still_transcribed_is_not_removed_however_old(world: World) -> None:
    session = await world.session("long")
    claimed = await world.claim(session)
    world.say(claimed, 1)
    await world.recorder.settled(claimed.lease.transcription_id)
    world.clock.at += 100 * DAY
    retention = Retention(PostgresDeletions(world.db, world.clock), world.finaliser, world.clock, days=1)
    assert await retention.sweep() == 0


async def test_a_session_that_the_app_deletes_by_itself_leaves_nothing_with_us(world: World) -> None:
    session = await world.session("abc12345")
    claimed = await world.claim(session)
    world.say(claimed, 1)
    await world.over(session, claimed)
    provider_sessions = await heard_by_the_provider(world, session)
    for table, column in (
        ("SessionAnalysis", "sessionId"),
        ("TranscriptSegment", "videoSessionId"),
        ("Participant", "videoSessionId"),
        ("VideoSession", "id"),
    ):
        await world.db.pool.execute(f'DELETE FROM "{table}" WHERE "{column}" = $1', session.id)
    assert "gateway.transcript_event" in await world.places_of(SECRET)
    retention = Retention(PostgresDeletions(world.db, world.clock), world.finaliser, world.clock, days=0)
    assert await retention.sweep() == 0  # it may have been a moment ago
    assert await provider_sessions.to_erase(world.clock.now(), world.clock.now(), 9) == []
    world.clock.at += DAY
    assert await retention.sweep() == 1
    assert await world.places_of(SECRET) == []
    assert await provider_sessions.to_erase(world.clock.now(), world.clock.now(), 9) == [("g-abc12345", 1)]


async def test_replicas_do_not_remove_at_the_same_time(world: World) -> None:
    for number in range(60):
        session = await world.session(f"s{number}")
        claimed = await world.claim(session)
        world.say(claimed, 1)
        await world.recorder.settled(claimed.lease.transcription_id)
        await world.records.leases.finish(claimed.lease, "stopped by request", True)
    world.clock.at += 10 * DAY
    replicas = [Retention(PostgresDeletions(world.db, world.clock), world.finaliser, world.clock, 1) for _ in range(4)]
    counts = await asyncio.gather(*[replica.sweep() for replica in replicas])
    assert sum(counts) <= 60  # none twice
    assert sum(counts) + await replicas[0].sweep() == 60


async def test_a_role_that_may_not_delete_says_what_it_needs(world: World) -> None:
    role = f"reader_{id(world)}"
    session = await world.session("old")
    claimed = await world.claim(session)
    world.say(claimed, 1)
    await world.recorder.settled(claimed.lease.transcription_id)
    await world.records.leases.finish(claimed.lease, "stopped by request", True)
    await world.db.pool.execute(f"CREATE ROLE {role} LOGIN")
    try:
        for grant in (
            f"USAGE ON SCHEMA gateway TO {role}",
            f"SELECT ON ALL TABLES IN SCHEMA public, gateway TO {role}",
        ):
            await world.db.pool.execute(f"GRANT {grant}")
        url = world.db.options.dsn.replace("postgres@", f"{role}@", 1)
        async with open_pool(parse_database_url(url)) as reader:
            deletions = PostgresDeletions(reader, world.clock)
            with pytest.raises(RetentionRefused, match="GRANT DELETE"):
                await deletions.clear(BEGIN + 100 * DAY, BEGIN + 101 * DAY)
            with pytest.raises(DeletingRefused):
                await deletions.erase(session.id)
        assert await world.records.sessions.by_slug("old") == session
        assert len(await world.records.finals.since(session.id, 0, 10)) == 1
    finally:
        await world.db.pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
