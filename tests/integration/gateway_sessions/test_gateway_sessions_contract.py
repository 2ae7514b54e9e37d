"""One contract a port, kept in memory and by the real Postgres and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from support.redis_server import RedisServer
from support.session_memory import (
    BEGIN,
    HandClock,
    MemoryDuties,
    MemoryEndings,
    MemoryParticipants,
    MemorySessions,
    MemoryTranscripts,
    Rows,
)

from gateway.app.system_clock import SystemClock
from gateway.sessions.domain.video_session import Segment, VideoSession
from gateway.sessions.infra.rate_limits import MemoryLimiter, RedisLimiter
from gateway.sessions.infra.repositories import (
    PostgresDuties,
    PostgresEndings,
    PostgresParticipants,
    PostgresSessions,
    PostgresTranscripts,
)
from gateway.sessions.usecases.ports import (
    Duties,
    Ending,
    Endings,
    Joining,
    NewSession,
    ParticipantRepository,
    RateLimiter,
    SessionRepository,
    SlugTaken,
    TablesOfTheApp,
    TranscriptRepository,
)
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url
from storage.redis.throttle import open_throttle


async def at_once(seconds: float) -> None:
    """In memory the test's clock is the only one."""


@dataclass
class Shelf:
    clock: HandClock
    sessions: SessionRepository
    people: ParticipantRepository
    transcripts: TranscriptRepository
    endings: Endings
    duties: Duties
    lapse: Callable[[float], Awaitable[object]]

    async def wait(self, seconds: float) -> None:
        """Also by the clock of the database, which duties go by."""
        self.clock.go_on(seconds=seconds)
        await self.lapse(seconds)

    async def session(self, slug: str = "abc12345", **more: object) -> VideoSession:
        values = {"title": "Standup", "space_id": "team", "created_by_user_id": "anna", **more}
        return await self.sessions.create(NewSession(slug, **values))  # type: ignore[arg-type]

    async def live(self, slug: str = "abc12345") -> VideoSession:
        session = await self.session(slug)
        assert await self.people.enter(session.id, Joining("anna")) is not None
        return await self.again(session)

    async def again(self, session: VideoSession) -> VideoSession:
        found = await self.sessions.by_id(session.id)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "postgres"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    clock = HandClock()
    if request.param == "memory":
        rows = Rows()
        yield Shelf(
            clock,
            MemorySessions(rows, clock),
            MemoryParticipants(rows, clock),
            MemoryTranscripts(rows),
            MemoryEndings(rows, clock),
            MemoryDuties(rows, clock),
            at_once,
        )
        return
    async with open_pool(parse_database_url(request.getfixturevalue("database_url")), size=8) as database:
        yield Shelf(
            clock,
            PostgresSessions(database, clock, own_tables=True),
            PostgresParticipants(database, clock, own_tables=True),
            PostgresTranscripts(database, clock),
            PostgresEndings(database, clock),
            PostgresDuties(database),
            lambda s: database.pool.execute("UPDATE gateway.duty SET until = until - $1 * interval '1 second'", s),
        )


# --- sessions -----------------------------------------------------------------------------------------------


async def test_a_new_session_is_found_as_it_was_made(shelf: Shelf) -> None:
    made = await shelf.session()
    assert (made.slug, made.title, made.space_id, made.created_by_user_id) == ("abc12345", "Standup", "team", "anna")
    assert (made.status, made.created_at, made.started_at, made.last_activity_at) == ("CREATED", BEGIN, None, None)
    assert await shelf.sessions.by_slug("abc12345") == made
    assert await shelf.sessions.by_id(made.id) == made
    assert await shelf.sessions.by_slug("nowhere") is None
    assert await shelf.sessions.by_id("nowhere") is None


async def test_a_slug_and_a_space_are_checked(shelf: Shelf) -> None:
    """A user's space comes from a signed token; what a service names has to be there."""
    await shelf.session()
    with pytest.raises(SlugTaken):
        await shelf.session()
    with pytest.raises(LookupError):
        await shelf.session("other", space_id="no such space", created_by_user_id=None)
    default = shelf.sessions.default_space
    assert (await shelf.session("third", space_id=default, created_by_user_id=None)).space_id == default


async def test_a_join_token_is_kept_with_its_session(shelf: Shelf) -> None:
    digest = bytes(range(32))
    locked, free = await shelf.session(join_token_sha256=digest), await shelf.session("other")
    assert await shelf.sessions.join_token_sha256(locked.id) == digest
    assert await shelf.sessions.join_token_sha256(free.id) is None
    await shelf.sessions.delete(locked.id)
    assert await shelf.sessions.join_token_sha256(locked.id) is None


async def test_sessions_are_listed_page_by_page(shelf: Shelf) -> None:
    """Newest first, also of those made in the same millisecond; without the expired, of one space or of all."""
    slugs = [f"slug-{n}" for n in range(6)]
    for n, slug in enumerate(slugs):
        session = await shelf.session(slug)
        if n % 2:
            shelf.clock.go_on(seconds=1)
    await shelf.sessions.expire(session.id)
    await shelf.session("elsewhere", space_id="another")

    async def page(space: str | None, limit: int, before: str | None = None) -> list[str]:
        return [one.slug for one in await shelf.sessions.listed(space, limit, before)]

    expected = slugs[4::-1]
    assert await page("team", 10) == expected
    assert await page("team", 2) == expected[:2]
    assert await page("team", 2, expected[1]) == expected[2:4]
    assert await page("team", 10, "nowhere") == []
    assert await page(None, 10) == ["elsewhere", *expected]
    assert await page(None, 10, "elsewhere") == expected
    assert await page("nowhere", 10) == []


async def test_a_session_is_ended_once_and_only_when_it_is_live(shelf: Shelf) -> None:
    session = await shelf.session()
    later = BEGIN + timedelta(minutes=2)
    assert not await shelf.sessions.end(session.id, later)
    assert await shelf.endings.pending(session.id) is None
    await shelf.people.enter(session.id, Joining("anna"))
    assert not await shelf.sessions.expire(session.id)
    shelf.clock.go_on(minutes=1)
    ended = await asyncio.gather(*(shelf.sessions.end(session.id, later) for _ in range(5)))
    assert sum(ended) == 1
    found = await shelf.again(session)
    assert (found.status, found.started_at, found.ended_at) == ("ENDED", BEGIN, BEGIN + timedelta(minutes=1))
    assert await shelf.endings.pending(session.id) == Ending(session.id, 0)
    assert not await shelf.sessions.end("nowhere", later)


async def test_an_end_for_inactivity_looks_once_more(shelf: Shelf) -> None:
    session = await shelf.live()
    assert not await shelf.sessions.end(session.id, None, inactive_since=BEGIN)
    assert await shelf.sessions.end(session.id, None, inactive_since=BEGIN + timedelta(seconds=1))
    assert await shelf.endings.pending(session.id) is None


async def test_quiet_and_stale_sessions_are_found(shelf: Shelf) -> None:
    stale, quiet = await shelf.session("stale"), await shelf.live("quiet")
    shelf.clock.go_on(minutes=10)
    since = shelf.clock.now()
    young, busy = await shelf.session("young"), await shelf.live("busy")
    assert [one.id for one in await shelf.sessions.inactive(since, 10)] == [quiet.id]
    assert await shelf.sessions.inactive(since, 0) == []
    [expired] = await shelf.sessions.expire_created(since)
    assert (expired.id, expired.status) == (stale.id, "EXPIRED")
    assert await shelf.sessions.expire_created(since) == []
    await shelf.sessions.end(quiet.id, None)
    assert await shelf.sessions.over([one.id for one in (stale, quiet, young, busy)]) == {stale.id, quiet.id}
    assert await shelf.sessions.over([]) == set()


async def test_deleting_takes_everything_along(shelf: Shelf) -> None:
    session, other = await shelf.live(), await shelf.live("other")
    await shelf.transcripts.append(session.id, None, said("u1", 0))
    await shelf.sessions.end(session.id, BEGIN)
    assert [await shelf.sessions.delete(session.id), await shelf.sessions.delete(session.id)] == [True, False]
    assert await shelf.sessions.by_slug(session.slug) is None
    assert await shelf.people.of(session.id, active_only=False) == []
    assert await shelf.transcripts.of(session.id, finals_only=False) == []
    assert await shelf.endings.pending(session.id) is None
    assert len(await shelf.people.of(other.id, active_only=False)) == 1


async def test_all_can_be_deleted_in_tables_of_our_own(shelf: Shelf) -> None:
    session, other = await shelf.live(), await shelf.live("other")
    await shelf.transcripts.append(session.id, None, said("u1", 0))
    assert await shelf.sessions.delete_all() == 2
    assert await shelf.sessions.listed(None, 10, None) == []
    assert await shelf.transcripts.of(session.id, finals_only=False) == []
    assert await shelf.people.of(other.id, active_only=False) == []
    assert await shelf.sessions.delete_all() == 0


async def test_the_tables_of_an_app_are_not_emptied(database_url: str) -> None:
    clock = HandClock()
    async with open_pool(parse_database_url(database_url), size=2) as database:
        ours, theirs = (PostgresSessions(database, clock, own_tables=own) for own in (True, False))
        made = await ours.create(NewSession("abc12345", None, ours.default_space, None))
        with pytest.raises(TablesOfTheApp):
            await theirs.delete_all()
        assert await theirs.by_slug("abc12345") == made


# --- participants -------------------------------------------------------------------------------------------


async def test_of_many_joins_at_once_one_makes_the_session_live(shelf: Shelf) -> None:
    session = await shelf.session()
    joined = await asyncio.gather(*(shelf.people.enter(session.id, Joining(f"p{n % 4}")) for n in range(10)))
    assert all(joined) and sum(one.went_live for one in joined if one) == 1
    assert len({one.participant.id for one in joined if one}) == 4
    found = await shelf.again(session)
    assert (found.status, found.started_at, found.last_activity_at) == ("LIVE", BEGIN, BEGIN)


async def test_a_join_updates_what_it_says_and_keeps_the_rest(shelf: Shelf) -> None:
    session = await shelf.session()
    first = await shelf.people.enter(session.id, Joining("phone"))
    assert first is not None
    made = first.participant
    assert (made.role, made.name, made.user_id, made.joined_at, made.left_at) == ("GUEST", None, None, BEGIN, None)
    shelf.clock.go_on(minutes=1)
    assert [await shelf.people.leave(session.id, "phone"), await shelf.people.leave(session.id, "phone")] == [
        True,
        False,
    ]
    second = await shelf.people.enter(session.id, Joining("phone", "Anna", "HOST", "anna"))
    third = await shelf.people.enter(session.id, Joining("phone", user_id="anna"))
    assert second is not None and third is not None
    assert second.participant == third.participant
    now = third.participant
    assert (now.id, now.role, now.name, now.user_id, now.left_at) == (made.id, "HOST", "Anna", "anna", None)
    assert (await shelf.again(session)).last_activity_at == shelf.clock.now()
    assert await shelf.people.by_identity(session.id, "phone") == now
    assert await shelf.people.by_identity(session.id, "other") is None


async def test_an_identity_of_a_user_is_not_anybody_elses(shelf: Shelf) -> None:
    """And a refused join changes nothing: neither the row nor the session's activity."""
    session = await shelf.session()
    await shelf.people.enter(session.id, Joining("phone", "Anna", None, "anna"))
    before = await shelf.again(session)
    shelf.clock.go_on(minutes=1)
    assert await shelf.people.enter(session.id, Joining("phone", "Eve")) is None
    assert await shelf.people.enter(session.id, Joining("phone", "Eve", "HOST", "eve")) is None
    assert await shelf.again(session) == before
    vouched = await shelf.people.enter(session.id, Joining("phone", "Anna B.", trusted=True))
    assert vouched is not None
    assert (vouched.participant.user_id, vouched.participant.name) == ("anna", "Anna B.")


async def test_nobody_enters_what_is_over_or_gone(shelf: Shelf) -> None:
    session = await shelf.live()
    await shelf.sessions.end(session.id, None)
    assert await shelf.people.enter(session.id, Joining("ben")) is None
    assert await shelf.people.enter("nowhere", Joining("ben")) is None
    assert [one.identity for one in await shelf.people.of(session.id, active_only=False)] == ["anna"]


async def test_the_longest_present_come_first(shelf: Shelf) -> None:
    session = await shelf.session()
    for identity in ("carl", "anna", "ben"):
        await shelf.people.enter(session.id, Joining(identity))
        shelf.clock.go_on(seconds=1)
    await shelf.people.leave(session.id, "anna")
    assert [one.identity for one in await shelf.people.of(session.id, active_only=True)] == ["carl", "ben"]
    assert [one.identity for one in await shelf.people.of(session.id, active_only=False)] == ["carl", "anna", "ben"]


# --- transcripts --------------------------------------------------------------------------------------------


def said(utterance: str, second: int, text: str = "Good morning.", *, is_final: bool = True) -> Segment:
    return Segment(utterance, text, "en", is_final, BEGIN + timedelta(seconds=second), None)


async def test_segments_are_kept_once_and_listed_as_they_were_spoken(shelf: Shelf) -> None:
    session = await shelf.live()
    anna = await shelf.people.by_identity(session.id, "anna")
    assert anna is not None
    await shelf.transcripts.append(session.id, None, said("u2", 2, "And you?"))
    for text, is_final in (("Good", False), ("Good morning.", True), ("Good m", False)):
        await shelf.transcripts.append(session.id, anna.id, said("u1", 1, text, is_final=is_final))
    await shelf.transcripts.append(session.id, None, said("u3", 3, "Well", is_final=False))
    finals = await shelf.transcripts.of(session.id, finals_only=True)
    assert [(one.text, one.identity) for one in finals] == [("Good morning.", "anna"), ("And you?", None)]
    assert len(await shelf.transcripts.of(session.id, finals_only=False)) == 3
    assert await shelf.transcripts.by_utterance(session.id, "u1") == finals[0]
    assert await shelf.transcripts.by_utterance(session.id, "u9") is None


# --- endings and duties -------------------------------------------------------------------------------------


async def test_an_ending_is_due_until_it_is_done(shelf: Shelf) -> None:
    one, two = await shelf.live("one"), await shelf.live("two")
    await shelf.sessions.end(one.id, BEGIN + timedelta(minutes=2))
    await shelf.sessions.end(two.id, BEGIN + timedelta(minutes=1))
    assert await shelf.endings.due(10) == []
    shelf.clock.go_on(minutes=2)
    assert await shelf.endings.due(10) == [Ending(two.id, 0), Ending(one.id, 0)]
    assert await shelf.endings.due(1) == [Ending(two.id, 0)]
    await shelf.endings.later(two.id, BEGIN + timedelta(minutes=3))
    await shelf.endings.done(one.id)
    assert await shelf.endings.due(10) == []
    shelf.clock.go_on(minutes=1)
    assert await shelf.endings.due(10) == [Ending(two.id, 1)]


async def test_a_duty_has_one_owner_until_it_lapses_or_is_left(shelf: Shelf) -> None:
    taken = await asyncio.gather(*(shelf.duties.take("sweep", f"replica-{n}", 60) for n in range(5)))
    assert sum(taken) == 1
    mine = f"replica-{taken.index(True)}"
    await shelf.wait(40)
    assert await shelf.duties.take("sweep", mine, 60)
    await shelf.wait(40)
    assert not await shelf.duties.take("sweep", "another", 60)
    assert await shelf.duties.take("mop", "another", 60)
    await shelf.duties.leave("sweep", "another")
    assert not await shelf.duties.take("sweep", "another", 60)
    await shelf.wait(20)
    assert await shelf.duties.take("sweep", "another", 60)
    await shelf.duties.leave("sweep", "another")
    assert await shelf.duties.take("sweep", mine, 60)


# --- rates --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryLimiter(SystemClock())
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with open_throttle(server.url) as throttle:
        yield RedisLimiter(throttle, SystemClock())


async def test_a_minutes_worth_is_granted_also_at_once(limiter: RateLimiter) -> None:
    waits = await asyncio.gather(*(limiter.wait_s("create", 2, "anna") for _ in range(5)))
    assert sum(wait == 0 for wait in waits) == 2
    assert all(20 < wait <= 30 for wait in waits if wait)
    assert await limiter.wait_s("create", 2, "ben") == 0
    assert await limiter.wait_s("list", 2, "anna") == 0


async def test_after_the_time_that_was_told_one_more_is_granted(limiter: RateLimiter) -> None:
    rate = 3_000
    while not (wait_s := await limiter.wait_s("join", rate, "anna")):
        pass
    assert wait_s <= 0.02
    await asyncio.sleep(wait_s + 0.005)
    assert await limiter.wait_s("join", rate, "anna") == 0
