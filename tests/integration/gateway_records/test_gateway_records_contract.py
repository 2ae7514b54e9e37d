"""One contract, two databases: what the use cases rely on holds in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from support.fakes import HandClock, MemoryRecords
from support.postgres import PostgresServer

from gateway.errors import SessionNotFound, SessionOver
from gateway.live.protocol import encode_caption
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.handover import Heir
from gateway.transcription.domain.meters import Meter, read
from gateway.transcription.domain.transcription import Claimed, Lease, TranscriptionState
from gateway.transcription.domain.usage import Figures, Usage
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore, TranslationToStore
from gateway.transcription.usecases.records import InLine, Records, SessionRecord, StoreOutcome, TranscriptionRecord
from gateway.transcription.usecases.speech import ProviderSession
from storage.postgres.pool import connect, open_pool
from storage.postgres.retention import Retention
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url

BEGIN = datetime(2026, 1, 5, 10, 0, 0, 120_000, tzinfo=UTC)
ANNA = Speaker("anna", "Anna")


@dataclass
class Shelf:
    """Records, and what happens to sessions behind their back.

    `delete`: by the gateway, with all that belongs to the session. `delete_in_app`: by the app, whose tables only it
    knows.
    """

    records: Records
    clock: HandClock
    end: Callable[[SessionRecord], Awaitable[object]]
    delete: Callable[[SessionRecord], Awaitable[object]]
    delete_in_app: Callable[[SessionRecord], Awaitable[object]]
    lapse: Callable[[timedelta], Awaitable[object]]

    async def wait(self, time: timedelta) -> None:
        """Also by the clock that leases are judged by."""
        self.clock.at += time
        await self.lapse(time)

    async def session(self, slug: str = "abc12345") -> SessionRecord:
        return await self.records.sessions.create(slug, "Standup", None)

    async def claimed(self, session: SessionRecord, owner: str = "me", lease_s: float = 30.0) -> Claimed:
        claimed, _ = await self.records.leases.claim(session, "rtmp", {"languages": ["en"]}, None, owner, lease_s)
        assert claimed is not None
        return claimed

    async def record(self, slug: str = "abc12345") -> TranscriptionRecord:
        found = await self.records.transcriptions.newest(slug)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "postgres"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    clock = HandClock(BEGIN)
    if request.param == "memory":
        memory = MemoryRecords(clock)

        async def end(session: SessionRecord) -> None:
            memory.end_session(session.slug)

        async def delete(session: SessionRecord) -> None:
            memory.delete_session(session.slug)

        async def delete_in_app(session: SessionRecord) -> None:
            memory.delete_session_in_app(session.slug)

        async def lapse(time: timedelta) -> None:
            pass  # it has one clock

        yield Shelf(memory, clock, end, delete, delete_in_app, lapse)
        return
    url = request.getfixturevalue("database_url")
    async with open_pool(parse_database_url(url), size=4) as database:
        sessions = Sessions(database)
        yield Shelf(
            postgres_records(database, clock),
            clock,
            lambda session: sessions.end(session.id, clock.now()),
            lambda session: sessions.delete(session.id, clock.now()),
            lambda session: database.pool.execute('DELETE FROM "VideoSession" WHERE id = $1', session.id),
            lambda time: database.pool.execute(
                "UPDATE gateway.transcription SET lease_until = lease_until - $1::interval "
                "WHERE lease_until > to_timestamp(1)",
                time,
            ),
        )


def final(claimed: Claimed, seq: int, utterance: str | None = None, participant: str | None = None) -> FinalToStore:
    at = BEGIN + timedelta(seconds=seq)
    text = f"Number {seq}."
    said = Caption(utterance or f"p:{seq}", text, "en", True, ANNA, at, at, seq * 1000, seq * 1000, 0.9, ())
    shown = {"text": text, "utteranceId": said.utterance_id, "participantIdentity": said.speaker.identity}
    data = json.dumps(shown).encode()
    return FinalToStore(claimed.lease, claimed.session_id, claimed.numbering.epoch, seq, said, participant, data)


def used(shelf: Shelf, claimed: Claimed, seconds: int, identity: str = "anna", **more: object) -> Usage:
    meter = Meter(
        shelf.records.usage.row_id(claimed.lease, identity), identity, None, BEGIN, 0.01, samples_sent=seconds * 16_000
    )
    return structs.replace(read(meter), **more)


async def numbers(shelf: Shelf, session: SessionRecord, after: int = 0, limit: int = 100) -> list[int]:
    return [one.seq for one in await shelf.records.finals.since(session.id, after, limit)]


# --- sessions -----------------------------------------------------------------------------------------------


async def test_a_session_is_found_by_its_slug(shelf: Shelf) -> None:
    made = await shelf.session()
    assert (made.slug, made.title, made.status) == ("abc12345", "Standup", "CREATED")
    assert await shelf.records.sessions.by_slug("abc12345") == made
    assert await shelf.records.sessions.by_slug("nowhere") is None


async def test_a_session_without_a_slug_gets_one(shelf: Shelf) -> None:
    one, two = [await shelf.records.sessions.create(None, None, None) for _ in range(2)]
    assert one.slug != two.slug
    assert one.id != two.id


async def test_an_unknown_space_is_refused(shelf: Shelf) -> None:
    with pytest.raises(LookupError):
        await shelf.records.sessions.create(None, None, "no such space")


async def test_the_first_join_makes_a_session_live(shelf: Shelf) -> None:
    """The same participant joins once, however often it comes."""
    session = await shelf.session()
    first = await shelf.records.sessions.join(session.id, ANNA)
    assert await shelf.records.sessions.join(session.id, Speaker("anna", "Anna again")) == first
    assert await shelf.records.sessions.join(session.id, Speaker("ben", None)) != first
    found = await shelf.records.sessions.by_slug(session.slug)
    assert found is not None and found.status == "LIVE"


async def test_nothing_is_claimed_on_a_session_that_has_just_ended_or_gone(shelf: Shelf) -> None:
    """The record was read before; what counts is the row."""
    session = await shelf.session()
    await shelf.records.sessions.join(session.id, ANNA)
    await shelf.end(session)
    with pytest.raises(SessionOver):
        await shelf.claimed(session)
    await shelf.delete(session)
    with pytest.raises(SessionNotFound):
        await shelf.claimed(session)


async def test_a_speaker_of_an_ended_session_is_still_known_by_name(shelf: Shelf) -> None:
    """Its last words arrive after the end; that does not open it again."""
    session = await shelf.session()
    await shelf.records.sessions.join(session.id, ANNA)
    await shelf.end(session)
    assert await shelf.records.sessions.join(session.id, Speaker("late", None))
    found = await shelf.records.sessions.by_slug(session.slug)
    assert found is not None and found.status == "ENDED"


async def test_nobody_joins_a_deleted_session(shelf: Shelf) -> None:
    session = await shelf.session()
    await shelf.delete(session)
    assert await shelf.records.sessions.by_slug(session.slug) is None
    with pytest.raises(LookupError):
        await shelf.records.sessions.join(session.id, ANNA)


# --- transcriptions -----------------------------------------------------------------------------------------


async def test_of_many_claims_at_once_one_creates(shelf: Shelf) -> None:
    session = await shelf.session()
    answers = await asyncio.gather(
        *(shelf.records.leases.claim(session, "rtmp", {}, f"key-{n}", f"owner-{n}", 30) for n in range(20))
    )
    [claimed] = [claimed for claimed, _ in answers if claimed is not None]
    assert {record.id for _, record in answers} == {claimed.lease.transcription_id}
    assert {record.stream_key for _, record in answers} == {claimed.stream_key}


async def test_a_claim_says_what_is_to_be_done(shelf: Shelf) -> None:
    session = await shelf.session()
    options = {"languages": ["en"], "costCapUsd": 0.5}
    claimed, record = await shelf.records.leases.claim(session, "rtmp", options, "key", "me", 30)
    assert claimed is not None
    assert (claimed.slug, claimed.session_id, claimed.source, claimed.stream_key) == (
        session.slug,
        session.id,
        "rtmp",
        "key",
    )
    assert (claimed.options, claimed.started_at) == (options, BEGIN)
    assert (claimed.numbering.origin, claimed.numbering.last_seq) == (BEGIN, 0)
    assert (record.state, record.started_at, record.finals_complete) == ("STARTING", BEGIN, None)
    assert await shelf.records.transcriptions.active() == [(record, Figures())]
    assert await shelf.record() == record


async def test_a_finished_transcription_makes_room_for_the_next(shelf: Shelf) -> None:
    """Which numbers on, from the same origin."""
    session = await shelf.session()
    first = await shelf.claimed(session)
    await shelf.records.finals.store([final(first, 1), final(first, 2)])
    await shelf.wait(timedelta(minutes=5))
    await shelf.records.leases.finish(first.lease, "stopped by request", True)
    record = await shelf.record()
    assert (record.state, record.stop_reason, record.finals_complete, record.stopped_at) == (
        "STOPPED",
        "stopped by request",
        True,
        shelf.clock.at,
    )
    assert await shelf.records.transcriptions.active() == []
    await shelf.wait(timedelta(minutes=5))
    second = await shelf.claimed(session)
    assert second.lease.transcription_id != first.lease.transcription_id
    assert second.numbering == replace(first.numbering, last_seq=2)
    assert (await shelf.record()).id == second.lease.transcription_id


async def test_audio_that_was_given_up_is_known_to_the_heir_and_after_the_stop(shelf: Shelf) -> None:
    leases, mine = shelf.records.leases, await shelf.claimed(await shelf.session(), "me", 30)
    assert (mine.lost_audio_s, (await shelf.record()).lost_audio_s) == (0.0, 0.0)
    await leases.set_lost_audio(mine.lease, 1.25)
    await shelf.wait(timedelta(seconds=31))
    [heirs] = await leases.adopt("heir", 30, own=False)
    assert heirs.lost_audio_s == 1.25
    await leases.set_lost_audio(heirs.lease, 3.5)
    await leases.set_lost_audio(mine.lease, 9.0)
    await leases.finish(heirs.lease, "stopped by request", True)
    await leases.set_lost_audio(heirs.lease, 9.0)
    assert (await shelf.record()).lost_audio_s == 3.5


async def test_a_lease_is_adopted_when_it_has_run_out_and_not_before(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session, "me", 30)
    await shelf.wait(timedelta(seconds=29))
    assert await shelf.records.leases.adopt("heir", 30, own=False) == []
    assert await shelf.records.leases.renew("me", 30) == {mine.lease}
    await shelf.wait(timedelta(seconds=29))
    assert await shelf.records.leases.adopt("heir", 30, own=False) == []
    await shelf.wait(timedelta(seconds=2))
    await shelf.records.finals.store([final(mine, 1)])
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    assert heirs.lease == Lease(mine.lease.transcription_id, mine.lease.fence + 1)
    assert heirs.numbering.last_seq == 1
    assert (heirs.options, heirs.slug, heirs.started_at) == (mine.options, mine.slug, mine.started_at)
    assert await shelf.records.leases.renew("me", 30) == frozenset()
    assert await shelf.records.leases.renew("heir", 30) == {heirs.lease}


@pytest.mark.parametrize(
    ("heir", "own", "is_handed_over", "begins"),
    [
        ("heir", False, False, True),  # the owner died, perhaps with finals that only its disk has
        ("heir", True, False, True),  # the heir has just started
        ("me", False, False, True),  # not a restart, so nothing says that our disk is empty
        ("heir", False, True, False),
        ("me", True, False, False),  # a restart, and the disk was emptied before
        ("me", True, True, False),
    ],
)
async def test_who_takes_over_from_the_dead_begins_an_epoch(
    shelf: Shelf, heir: str, own: bool, is_handed_over: bool, begins: bool
) -> None:
    """In the same numbers: finals that are stored keep theirs."""
    session = await shelf.session()
    other = await shelf.claimed(await shelf.session("other123"), "other", 3600)
    mine = await shelf.claimed(session, "me", 30)
    await shelf.records.finals.store([final(mine, 1)])
    if is_handed_over:
        await shelf.records.leases.release(mine.lease, "me")
    await shelf.wait(timedelta(seconds=31))
    [taken] = await shelf.records.leases.adopt(heir, 30, own=own)
    assert (taken.numbering.epoch != mine.numbering.epoch) is begins
    former = {mine.numbering.epoch: 1} if begins else {}
    assert taken.numbering == replace(mine.numbering, epoch=taken.numbering.epoch, last_seq=1, former=former)
    assert await shelf.records.transcriptions.numbering(session.id) == taken.numbering
    assert await shelf.records.transcriptions.numbering(other.session_id) == other.numbering
    await shelf.records.leases.finish(taken.lease, "stopped by request", True)
    assert (await shelf.claimed(session)).numbering == taken.numbering


async def test_of_two_heirs_one_adopts(shelf: Shelf) -> None:
    for number in range(5):
        await shelf.claimed(await shelf.session(f"slug{number}"))
    await shelf.wait(timedelta(minutes=1))
    found = await asyncio.gather(*(shelf.records.leases.adopt(f"heir-{n}", 30, own=False) for n in range(4)))
    taken = [claimed.slug for claims in found for claimed in claims]
    assert sorted(taken) == [f"slug{number}" for number in range(5)]


async def test_an_owner_that_restarts_takes_its_own_at_once(shelf: Shelf) -> None:
    """And nobody else's."""
    mine = await shelf.claimed(await shelf.session("mine1234"), "me")
    await shelf.claimed(await shelf.session("yours123"), "you")
    [again] = await shelf.records.leases.adopt("me", 30, own=True)
    assert again.lease == Lease(mine.lease.transcription_id, mine.lease.fence + 1)


async def test_a_released_lease_is_free_a_moment_later(shelf: Shelf) -> None:
    mine = await shelf.claimed(await shelf.session())
    await shelf.records.leases.release(mine.lease, "me")
    await shelf.wait(timedelta(milliseconds=1))
    assert len(await shelf.records.leases.adopt("heir", 30, own=False)) == 1


async def test_a_living_owner_hands_over_once(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session, "me", 30)
    leases, heir = shelf.records.leases, Heir("heir", "its run")
    assert await leases.hand_over(mine.lease, "somebody else", heir, 30) is False
    assert await leases.of(heir) == []
    assert await leases.hand_over(mine.lease, "me", heir, 30) is True
    assert await leases.hand_over(mine.lease, "me", Heir("another", ""), 30) is False
    [taken] = await leases.of(heir)
    assert taken.lease == Lease(mine.lease.transcription_id, mine.lease.fence + 1)
    assert taken.numbering == mine.numbering, "the epoch stays"
    assert (await shelf.records.finals.store([final(mine, 1)])).fenced == {mine.lease.transcription_id}
    await shelf.records.finals.store([final(taken, 1)])
    assert await numbers(shelf, session) == [1]
    assert await leases.of(Heir("heir", "another run")) == []
    await leases.release(taken.lease, "heir")
    assert await leases.of(heir) == [], "what was given up is nobody's"


async def test_a_transcription_is_found_by_its_stream_key_while_it_is_not_stopped(shelf: Shelf) -> None:
    session = await shelf.session()
    key = "key-of-this-one"
    mine, _ = await shelf.records.leases.claim(session, "rtmp", {}, key, "me", 30)
    assert mine is not None
    found = await shelf.records.leases.published(["no such key", key])
    assert found is not None and (found.owner, found.claimed) == ("me", mine)
    assert await shelf.records.leases.published(["no such key", "\x00"]) is None
    await shelf.records.leases.finish(mine.lease, "over", True)
    assert await shelf.records.leases.published([key]) is None


async def test_a_stale_owner_changes_nothing(shelf: Shelf) -> None:
    """Neither state nor end nor finals; it is told about the finals."""
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.leases.set_state(mine.lease, TranscriptionState.RUNNING)
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.records.leases.set_state(mine.lease, TranscriptionState.WAITING)
    assert not await shelf.records.leases.finish(mine.lease, "stale", False)
    outcome = await shelf.records.finals.store([final(mine, 1)])
    assert outcome.fenced == {mine.lease.transcription_id}
    assert (await shelf.record()).state == "RUNNING"
    assert await numbers(shelf, session) == []
    assert (await shelf.records.finals.store([final(heirs, 1)])).fenced == frozenset()


async def test_a_stopped_transcription_is_not_adopted_renewed_or_changed(shelf: Shelf) -> None:
    mine = await shelf.claimed(await shelf.session())
    await shelf.records.leases.finish(mine.lease, "stopped by request", True)
    await shelf.wait(timedelta(hours=1))
    assert await shelf.records.leases.adopt("me", 30, own=True) == []
    assert await shelf.records.leases.renew("me", 30) == frozenset()
    await shelf.records.leases.set_state(mine.lease, TranscriptionState.RUNNING)
    assert await shelf.records.leases.finish(mine.lease, "again", False), "its first answer may have been lost"
    record = await shelf.record()
    assert (record.state, record.stop_reason, record.finals_complete) == ("STOPPED", "stopped by request", True)


async def test_what_never_started_has_no_transcription(shelf: Shelf) -> None:
    session = await shelf.session()
    assert await shelf.records.transcriptions.newest(session.slug) is None
    assert await shelf.records.transcriptions.newest("nowhere") is None
    assert await shelf.records.transcriptions.numbering(session.id) is None


# --- finals -------------------------------------------------------------------------------------------------


async def test_finals_are_read_back_in_order_after_a_number(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.finals.store([final(mine, seq) for seq in (3, 1, 2)])
    await shelf.records.finals.store([final(mine, 4)])
    assert await numbers(shelf, session) == [1, 2, 3, 4]
    assert await numbers(shelf, session, after=2) == [3, 4]
    assert await numbers(shelf, session, after=1, limit=2) == [2, 3]
    assert await numbers(shelf, session, after=4) == []
    [first] = await shelf.records.finals.since(session.id, 0, 1)
    assert json.loads(first.data) == {"text": "Number 1.", "utteranceId": "p:1", "participantIdentity": "anna"}
    numbering = await shelf.records.transcriptions.numbering(session.id)
    assert numbering == replace(mine.numbering, last_seq=4)
    assert (await shelf.record()).last_seq == 4


async def test_the_same_batch_twice_changes_nothing(shelf: Shelf) -> None:
    """The answer to the first was lost on the way."""
    session = await shelf.session()
    mine = await shelf.claimed(session)
    participant = await shelf.records.sessions.join(session.id, ANNA)
    batch = [final(mine, seq, participant=participant) for seq in (1, 2)]
    for _ in range(2):
        outcome = await shelf.records.finals.store(batch)
        assert (outcome.fenced, outcome.gone) == (frozenset(), frozenset())
    assert await numbers(shelf, session) == [1, 2]


async def test_an_utterance_is_stored_under_its_first_number_only(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.finals.store([final(mine, 1, "p:0")])
    await shelf.records.finals.store([final(mine, 2, "p:0"), final(mine, 3, "p:1")])
    assert await numbers(shelf, session) == [1, 3]


async def test_finals_of_a_session_that_we_deleted_are_fenced_and_the_others_stored(shelf: Shelf) -> None:
    """Its transcription is deleted with it, so its writer is told that it owns nothing any more."""
    gone, stays = await shelf.session("gone1234"), await shelf.session("stays123")
    one, two = await shelf.claimed(gone), await shelf.claimed(stays)
    await shelf.delete(gone)
    outcome = await shelf.records.finals.store([final(one, 1), final(two, 1)])
    assert outcome == StoreOutcome(fenced=frozenset({one.lease.transcription_id}))
    assert await numbers(shelf, stays) == [1]
    assert await numbers(shelf, gone) == []


async def test_finals_of_a_session_that_the_app_deleted_are_gone_and_the_others_stored(shelf: Shelf) -> None:
    """The transcription's row still stands: the lease is good, and the session is not there."""
    gone, stays = await shelf.session("gone1234"), await shelf.session("stays123")
    one, two = await shelf.claimed(gone), await shelf.claimed(stays)
    await shelf.delete_in_app(gone)
    outcome = await shelf.records.finals.store([final(one, 1), final(two, 1)])
    assert outcome == StoreOutcome(gone=frozenset({gone.id}))
    assert await numbers(shelf, stays) == [1]
    assert await numbers(shelf, gone) == []
    assert one.lease in await shelf.records.leases.renew("me", 30)
    with pytest.raises(LookupError):
        await shelf.records.sessions.join(gone.id, ANNA)


async def test_of_a_stale_owner_and_a_deleted_session_the_lease_is_what_counts(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.wait(timedelta(minutes=1))
    await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.delete_in_app(session)
    outcome = await shelf.records.finals.store([final(mine, 1)])
    assert outcome == StoreOutcome(fenced=frozenset({mine.lease.transcription_id}))


# --- usage --------------------------------------------------------------------------------------------------


async def test_usage_only_grows(shelf: Shelf) -> None:
    """A late checkpoint of a former owner takes nothing back."""
    session = await shelf.session()
    mine = await shelf.claimed(session)
    for seconds in (61, 130, 70):
        await shelf.records.usage.save(mine, {}, [used(shelf, mine, seconds)])
    [row] = await shelf.records.usage.of_transcription(mine.lease.transcription_id)
    assert (row.identity, row.duration_seconds, row.duration_minutes, row.total_cost) == ("anna", 130, 3, 0.03)
    assert row.started_at == BEGIN
    assert await shelf.records.usage.spent(session.id) == pytest.approx(0.03)


async def test_a_receipt_is_kept_with_the_usage_and_only_grows(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    receipt = {"gate": "on", "heard_s": 90.5, "speech_s": 20.25, "silent_s": 60.0, "withheld_s": 60.0}
    late = {"gate": "shadow", "heard_s": 30.0, "speech_s": 9.0, "silent_s": 20.0, "withheld_s": 0.0}
    for given in (receipt, late):
        await shelf.records.usage.save(mine, {}, [used(shelf, mine, 30, **given)])
    [row] = await shelf.records.usage.of_transcription(mine.lease.transcription_id)
    assert {name: getattr(row, name) for name in receipt if name != "gate"} == {
        name: value for name, value in receipt.items() if name != "gate"
    }


async def test_an_heir_continues_the_row(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.usage.save(mine, {}, [used(shelf, mine, 10)])
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.records.usage.save(heirs, {}, [used(shelf, heirs, 20, ended_at=shelf.clock.at)])
    [row] = await shelf.records.usage.of_transcription(mine.lease.transcription_id)
    assert (row.duration_seconds, row.ended_at) == (20, shelf.clock.at)


async def test_money_is_counted_over_all_transcriptions_and_speakers_of_a_session(shelf: Shelf) -> None:
    session, other = await shelf.session(), await shelf.session("other123")
    first = await shelf.claimed(session)
    await shelf.records.usage.save(first, {}, [used(shelf, first, 60), used(shelf, first, 61, "ben")])
    await shelf.records.leases.finish(first.lease, "stopped", True)
    second = await shelf.claimed(session)
    await shelf.records.usage.save(second, {}, [used(shelf, second, 1)])
    assert await shelf.records.usage.spent(session.id) == pytest.approx(0.04)
    assert await shelf.records.usage.spent(other.id) == 0
    assert {row.identity for row in await shelf.records.usage.of_transcription(first.lease.transcription_id)} == {
        "anna",
        "ben",
    }
    assert [
        row.duration_seconds for row in await shelf.records.usage.of_transcription(second.lease.transcription_id)
    ] == [1]


async def test_usage_of_a_deleted_session_is_dropped_without_an_error(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.delete(session)
    await shelf.records.usage.save(mine, {"anna": "a participant that is gone"}, [used(shelf, mine, 5)])
    assert await shelf.records.usage.of_transcription(mine.lease.transcription_id) == []


async def test_the_rest_can_be_written_at_any_time(shelf: Shelf) -> None:
    """Activity, provider sessions, partials: also when the session has ended."""
    session = await shelf.session()
    mine = await shelf.claimed(session)
    said = final(mine, 1).caption
    for _ in range(2):
        await shelf.records.sessions.touch(session.id)
        await shelf.records.provider_sessions.note(mine, "anna", ProviderSession("p", False, 0.0, "streaming"))
        await shelf.records.provider_sessions.note(mine, "anna", ProviderSession("p", True, 1.5, "closed"))
        await shelf.records.finals.store_partials(session.id, [(structs.replace(said, is_final=False), None)])
        await shelf.end(session)


async def test_a_lost_connection_is_trouble_that_passes(postgres_server: PostgresServer, database_url: str) -> None:
    """The server drops everybody in the middle of a call: the caller is told to try again, and then it works."""
    async with open_pool(parse_database_url(database_url), size=2) as database:
        records = postgres_records(database, HandClock(BEGIN))
        name = await database.pool.fetchval("SELECT current_database()")
        session = await records.sessions.create("abc12345", None, None)
        other = await connect(parse_database_url(database_url))
        await other.execute("BEGIN; LOCK TABLE gateway.transcription")
        hanging = asyncio.create_task(records.leases.claim(session, "rtmp", {}, None, "me", 30))
        await asyncio.sleep(0.2)
        drop = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        await asyncio.to_thread(postgres_server.execute, drop)
        with pytest.raises(RecordsUnavailable):
            await hanging
        other.terminate()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await records.sessions.by_slug("abc12345") == session
                    break
                except RecordsUnavailable:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("slug", ["", "\x00", "a\x00b", "\ud800", "x" * 5000, "'; DROP TABLE x; --", "日本"])
async def test_no_slug_is_strange_enough_to_be_an_error(shelf: Shelf, slug: str) -> None:
    assert await shelf.records.sessions.by_slug(slug) is None
    assert await shelf.records.transcriptions.newest(slug) is None


# --- the host -----------------------------------------------------------------------------------------------


async def test_a_host_is_named_by_people_and_passed_on_by_us(shelf: Shelf) -> None:
    """Whoever was named meanwhile goes before our choice; a stopped transcription has no new host."""
    claimed = await shelf.claimed(await shelf.session())
    run = claimed.lease.transcription_id
    records = shelf.records
    assert await records.hosts.current(run) is None
    assert await records.hosts.replace(run, None, "anna")
    assert await records.hosts.appoint(run, "ben")
    assert not await records.hosts.replace(run, "anna", "carl")
    assert await records.hosts.current(run) == "ben"
    assert await records.hosts.of_all([run, "nothing"]) == {run: "ben"}
    assert await records.hosts.replace(run, "ben", None)
    assert await records.hosts.current(run) is None
    await records.leases.finish(claimed.lease, "stopped by request", True)
    assert not await records.hosts.appoint(run, "ben")
    assert not await records.hosts.replace(run, None, "ben")
    assert await records.hosts.current("nothing") is None and not await records.hosts.appoint("nothing", "ben")


async def test_those_in_a_session_are_listed_by_how_long_they_are_there(shelf: Shelf) -> None:
    session = await shelf.session()
    for name in ("anna", "ben"):
        await shelf.records.sessions.join(session.id, Speaker(name, name.title()))
        await shelf.wait(timedelta(seconds=1))
    people = await shelf.records.sessions.people(session.id)
    assert [(one.identity, one.name, one.role, one.user_id) for one in people] == [
        ("anna", "Anna", "GUEST", None),
        ("ben", "Ben", "GUEST", None),
    ]
    assert people[0].joined_at < people[1].joined_at
    assert await shelf.records.sessions.people("nothing") == []
    assert await shelf.records.sessions.names(session.id, 1) == ["Ben"]
    assert await shelf.records.sessions.names(session.id, 5) == ["Ben", "Anna"]
    other = await shelf.session("other123")
    await shelf.records.sessions.join(other.id, Speaker("carl", None))
    await shelf.records.sessions.leave(session.id, "anna")
    asked = [InLine(session.id, "anna"), InLine(other.id, None, ["x"]), InLine("nothing", "anna")]
    everybody = await shelf.records.sessions.in_line(asked)
    assert {one: [person.identity for person in there] for one, there in everybody.items()} == {
        session.id: ["ben"],
        other.id: ["carl"],
    }


async def test_of_those_in_a_session_the_host_and_the_next_in_line_are_found_whoever_else_is_there(
    shelf: Shelf,
) -> None:
    session = await shelf.session()
    names = [f"guest-{n}" for n in range(12)]
    for name in names:
        await shelf.records.sessions.join(session.id, Speaker(name, None))
        await shelf.wait(timedelta(seconds=1))

    async def found(host: str | None, without: list[str]) -> list[str]:
        there = (await shelf.records.sessions.in_line([InLine(session.id, host, without)]))[session.id]
        return [one.identity for one in there]

    for host, without, next_one in (
        (None, [], "guest-0"),
        ("guest-0", [], "guest-1"),
        ("guest-5", ["guest-5", "guest-0", "guest-1"], "guest-2"),
        ("gone", names[:11], "guest-11"),
    ):
        told = await found(host, without)
        assert len(told) <= 3 and next_one in told and (host in told) is (host in names)
    assert [one for one in await found("guest-3", names) if one != "guest-3"]  # somebody else is there


# --- words without a number -----------------------------------------------------------------------------------


async def test_words_that_lost_their_number_are_kept_once(shelf: Shelf) -> None:
    session = await shelf.session()
    former = await shelf.claimed(session)
    lost = [final(former, seq) for seq in (1, 2)]
    assert await shelf.records.finals.store_strays([]) == 0
    assert await shelf.records.finals.store_strays(lost) == 2
    assert await shelf.records.finals.store_strays(lost) == 0
    assert await numbers(shelf, session) == []


async def test_what_the_heir_has_heard_as_well_is_taken_out_of_words_without_a_number(shelf: Shelf) -> None:
    """Also when the heir stores it later; and of two lost owners the first one's counts."""
    session = await shelf.session()
    former = await shelf.claimed(session)
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)

    def spoken(claimed: Claimed, seq: int, name: str, words: str, at_ms: int) -> FinalToStore:
        found = tuple(Word(w, at_ms + n * 300, at_ms + n * 300 + 200) for n, w in enumerate(words.split()))
        start, end = found[0].start_ms, found[-1].end_ms
        times = (BEGIN + timedelta(milliseconds=start), BEGIN + timedelta(milliseconds=end), start, end)
        said = Caption(name, words, "en", True, Speaker("anna", "Anna"), *times, 0.9, found)
        data = encode_caption(said)
        return FinalToStore(claimed.lease, session.id, claimed.numbering.epoch, seq, said, None, data)

    await shelf.records.finals.store([spoken(heirs, 1, "new:1", "two three", 1_300)])
    lost = [
        spoken(former, 1, "old:1", "one two", 1_000),
        spoken(former, 2, "old:2", "three", 1_620),
        spoken(former, 3, "old:3", "four five", 3_000),
        spoken(former, 4, "older:1", "five six", 3_300),
    ]
    assert await shelf.records.finals.store_strays(lost) == 3
    await shelf.records.finals.store([spoken(heirs, 2, "new:2", "Four,", 3_020)])
    await shelf.records.leases.finish(heirs.lease, "stopped by request", True)
    numbered = [json.loads(one.data) for one in await shelf.records.finals.number_strays(session.id)]
    assert [(one["text"], one["startMs"], one["endMs"]) for one in numbered] == [
        ("one", 1_000, 1_200),
        ("five", 3_300, 3_500),
        ("six", 3_600, 3_800),
    ]
    assert [len(one["words"]) for one in numbered] == [1, 1, 1]
    assert [one.text for one in await shelf.records.finals.last(session.id, 4)] == ["Four,", "one", "five", "six"]
    assert [one.start_ms for one in await shelf.records.finals.last(session.id, 1)] == [3_600]


async def test_words_that_get_their_number_after_the_stop_are_counted_in_usage(shelf: Shelf) -> None:
    """Those that the former owner's last reading has counted already are not counted twice."""
    session = await shelf.session()
    former = await shelf.claimed(session)
    await shelf.records.finals.store([final(former, 1)])
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.records.finals.store([final(heirs, seq, f"new:{seq}") for seq in (2, 3)])
    meters = [
        used(shelf, heirs, 9, final_transcripts=3, partial_transcripts=4, transcripts_received=7),
        used(shelf, heirs, 9, "ben", final_transcripts=1, transcripts_received=1),
    ]
    await shelf.records.usage.save(heirs, {}, meters)
    assert await shelf.records.finals.store_strays([final(former, seq, f"old:{seq}") for seq in (12, 13)]) == 2
    await shelf.records.leases.finish(heirs.lease, "stopped by request", True)
    for _ in range(2):
        await shelf.records.finals.number_strays(session.id)
        rows = await shelf.records.usage.of_transcription(heirs.lease.transcription_id)
        counts = {row.identity: (row.final_transcripts, row.transcripts_received) for row in rows}
        assert counts == {"anna": (5, 9), "ben": (1, 1)}
    await shelf.records.usage.save(heirs, {}, meters[:1])
    assert await shelf.records.usage.of_transcription(heirs.lease.transcription_id) == rows


async def test_words_that_lost_their_number_get_the_next_when_nobody_numbers(shelf: Shelf) -> None:
    session = await shelf.session()
    former = await shelf.claimed(session)
    await shelf.records.finals.store([final(former, 1)])
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.records.finals.store([final(heirs, 2, "new:2")])
    lost = [final(former, seq, f"old:{seq}") for seq in (12, 13)]
    assert (await shelf.records.finals.store(lost)).fenced
    assert await shelf.records.finals.store_strays(lost) == 2
    assert await shelf.records.finals.number_strays(session.id) == []
    assert await numbers(shelf, session) == [1, 2]
    await shelf.records.finals.store([final(heirs, 3, "new:3")])
    await shelf.records.leases.finish(heirs.lease, "stopped by request", True)
    numbered = await shelf.records.finals.number_strays(session.id)
    assert [(one.seq, one.utterance_id) for one in numbered] == [(4, "old:12"), (5, "old:13")]
    assert json.loads(numbered[0].data) == json.loads(lost[0].data)
    assert await numbers(shelf, session) == [1, 2, 3, 4, 5]
    assert await shelf.records.finals.number_strays(session.id) == []
    assert (await shelf.claimed(session)).numbering.last_seq == 5
    assert await shelf.records.finals.number_strays("nowhere") == []


# --- translations ---------------------------------------------------------------------------------------------


def translation(claimed: Claimed, utterance: str, language: str = "de") -> TranslationToStore:
    data = json.dumps({"utteranceId": utterance, "targetLanguage": language, "text": f"{utterance} in {language}"})
    transcription_id = claimed.lease.transcription_id
    return TranslationToStore(transcription_id, claimed.session_id, "abc12345", utterance, language, data.encode())


async def translated(shelf: Shelf, session: SessionRecord, language: str = "de", after: int = 0) -> list[object]:
    found = await shelf.records.translations.since(session.id, language, after, 100)
    return [(one.seq, one.of_seq, json.loads(one.data)["text"]) for one in found]


async def test_translations_are_numbered_by_language_and_kept_once(shelf: Shelf) -> None:
    """Also when the answer to the first attempt was lost, and when the former owner of the lease stores them."""
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.finals.store([final(mine, seq) for seq in (1, 2, 3)])
    store = shelf.records.translations.store
    first = await store([translation(mine, "p:2"), translation(mine, "p:1"), translation(mine, "p:1", "fr")])
    assert [(one.language, one.seq, one.of_seq, one.utterance_id) for one in first] == [
        ("de", 1, 1, "p:1"),
        ("de", 2, 2, "p:2"),
        ("fr", 1, 1, "p:1"),
    ]
    assert await store([translation(mine, "p:2"), translation(mine, "p:1", "fr")]) == []
    await shelf.wait(timedelta(minutes=1))
    await shelf.records.leases.adopt("heir", 30, own=False)
    await store([translation(mine, "p:3")])
    assert await translated(shelf, session) == [(1, 1, "p:1 in de"), (2, 2, "p:2 in de"), (3, 3, "p:3 in de")]
    assert await translated(shelf, session, after=2) == [(3, 3, "p:3 in de")]
    found = await shelf.records.translations.of_finals(session.id, 2, 9, "de")
    assert [(one.of_seq, one.utterance_id) for one in found] == [(2, "p:2"), (3, "p:3")]
    assert await shelf.records.translations.languages(session.id) == ["de", "fr"]


async def test_a_translation_waits_for_its_final(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    assert await shelf.records.translations.store([translation(mine, "p:1")]) == []
    assert await translated(shelf, session) == []
    await shelf.records.finals.store([final(mine, 1), final(mine, 2)])
    await shelf.records.translations.store([translation(mine, "p:2")])
    assert await translated(shelf, session) == [(1, 1, "p:1 in de"), (2, 2, "p:2 in de")]


async def test_words_that_get_their_number_late_bring_their_translations(shelf: Shelf) -> None:
    session = await shelf.session()
    former = await shelf.claimed(session)
    await shelf.wait(timedelta(minutes=1))
    [heirs] = await shelf.records.leases.adopt("heir", 30, own=False)
    await shelf.records.finals.store_strays([final(former, 7, "old:7")])
    await shelf.records.translations.store([translation(former, "old:7")])
    await shelf.records.leases.finish(heirs.lease, "stopped by request", True)
    await shelf.records.finals.number_strays(session.id)
    assert await translated(shelf, session) == [(1, 1, "old:7 in de")]


async def test_translations_go_with_their_session_and_none_comes_after_it(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.finals.store([final(mine, 1)])
    await shelf.records.translations.store([translation(mine, "p:1")])
    await shelf.delete(session)
    assert await shelf.records.translations.store([translation(mine, "p:1", "fr")]) == []
    assert await translated(shelf, session) == await translated(shelf, session, "fr") == []
    assert await shelf.records.translations.languages(session.id) == []


async def test_many_who_store_at_once_leave_no_hole(shelf: Shelf) -> None:
    session = await shelf.session()
    mine = await shelf.claimed(session)
    await shelf.records.finals.store([final(mine, seq) for seq in range(1, 41)])
    batches = [[translation(mine, f"p:{seq}") for seq in range(first, 41, 5)] for first in (1, 2, 3, 4, 5, 1, 2)]
    await asyncio.gather(*(shelf.records.translations.store(batch) for batch in batches))
    stored = await translated(shelf, session)
    assert [one[0] for one in stored] == list(range(1, 41))  # type: ignore[index]
    assert {one[1] for one in stored} == set(range(1, 41))  # type: ignore[index]


async def test_a_translation_that_cannot_be_stored_holds_up_no_other(database_url: str) -> None:
    """Neither one that no JSON is, nor one that PostgreSQL alone finds out about."""
    async with open_pool(parse_database_url(database_url), size=2) as database:
        records = postgres_records(database, HandClock(BEGIN))
        session = await records.sessions.create("abc12345", "Standup", None)
        claimed, _ = await records.leases.claim(session, "rtmp", {}, None, "me", 30)
        assert claimed is not None
        await records.finals.store([final(claimed, seq) for seq in (1, 2, 3)])
        deep = b'{"targetLanguage":"de","text":"x","more":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        odd = [
            replace(translation(claimed, "p:1"), data=b'{"text":'),
            replace(translation(claimed, "p:2"), data=deep),
            replace(translation(claimed, "p:3"), data=b'{"targetLanguage":"de","text":"nul \\u0000"}'),
            replace(translation(claimed, "\ud800"), data=b'{"targetLanguage":"de","text":"x"}'),
        ]
        await records.translations.store(odd)
        assert 3 in [one.of_seq for one in await records.translations.since(session.id, "de", 0, 9)]


async def test_a_translation_whose_final_never_comes_is_dropped(database_url: str) -> None:
    async with open_pool(parse_database_url(database_url), size=2) as database:
        records, retention = postgres_records(database, HandClock(BEGIN)), Retention(database)
        session = await records.sessions.create("abc12345", "Standup", None)
        claimed, _ = await records.leases.claim(session, "rtmp", {"translateTo": ["fr"]}, None, "me", 30)
        assert claimed is not None
        await records.finals.store([final(claimed, 1)])
        await records.translations.store([translation(claimed, "p:1"), translation(claimed, "never")])
        assert await retention.drop_translations(BEGIN + timedelta(hours=1)) == 0  # it still runs
        await records.leases.finish(claimed.lease, "stopped by request", True)
        assert await retention.drop_translations(BEGIN) == 0
        assert await retention.drop_translations(BEGIN + timedelta(hours=1)) == 1
        assert [one.of_seq for one in await records.translations.since(session.id, "de", 0, 9)] == [1]
        assert await records.translations.languages(session.id) == ["de", "fr"]
