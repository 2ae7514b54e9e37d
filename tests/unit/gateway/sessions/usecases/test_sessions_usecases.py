"""The use cases over rows in memory: what each does, refuses and repeats."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from support.session_memory import BEGIN, MemoryTranscripts, Module

from gateway.errors import SessionNotFound, SessionOver, WrongRequest
from gateway.sessions.domain.access import GUEST, SERVICE, Caller, Kind
from gateway.sessions.domain.errors import (
    CredentialNeeded,
    Denied,
    IdentityTaken,
    NoRooms,
    NoSuchParticipant,
    NoSuchSpace,
    SessionNotLive,
)
from gateway.sessions.domain.video_session import Role, Segment, VideoSession
from gateway.sessions.usecases.attendees import JoinRequest, Seen
from gateway.sessions.usecases.transcripts import AT_ONCE
from gateway.sessions.usecases.upkeep import DUTY, stop_what_is_over
from gateway.sessions.usecases.video_sessions import VideoSessions
from gateway.transcription.domain.errors import CostCapReached, NotReady, RunsElsewhere
from gateway.transcription.domain.passes import MintedFor
from gateway.transcription.domain.transcription import ROOM_EMPTY

ANNA = Caller(Kind.USER, "anna", frozenset({"team"}), "team")
BEN = Caller(Kind.USER, "ben", frozenset({"elsewhere"}), "elsewhere")


@pytest.fixture
async def module() -> AsyncIterator[Module]:
    made = Module()
    async with made.transcription.serving():
        yield made


async def new(module: Module, caller: Caller = ANNA) -> VideoSession:
    return (await module.sessions.create(caller, "Standup", None)).session


async def live(module: Module) -> VideoSession:
    session = await new(module)
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    return session


async def now(module: Module, session: VideoSession) -> VideoSession:
    found = await module.repository.by_id(session.id)
    assert found is not None
    return found


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


# --- create, find, list -------------------------------------------------------------------------------------


async def test_a_new_session_is_created_in_the_active_space_and_nobody_has_come(module: Module) -> None:
    session = await new(module)
    assert (session.space_id, session.created_by_user_id, session.status) == ("team", "anna", "CREATED")
    assert (session.started_at, session.ended_at, session.last_activity_at) == (None, None, None)
    assert len(session.slug) == 8
    assert (await new(module, SERVICE)).space_id == "default"


async def test_a_slug_that_is_taken_is_drawn_again(module: Module) -> None:
    letters = itertools.chain("a" * 8, "a" * 8, "a" * 8, "b" * 8)
    drawing = VideoSessions(
        module.repository, module.admission, module.closing, module.transcription, None, choose=lambda _: next(letters)
    )
    slugs = [(await drawing.create(SERVICE, None, None)).session.slug for _ in range(2)]
    assert slugs == ["aaaaaaaa", "bbbbbbbb"]


async def test_a_session_needs_a_space_of_ones_own(module: Module) -> None:
    create = module.sessions.create
    with pytest.raises(NoSuchSpace):
        await create(SERVICE, None, "no such space")
    with pytest.raises(Denied):
        await create(ANNA, None, "elsewhere")
    with pytest.raises(NoSuchSpace, match="activeSpaceId"):
        await create(Caller(Kind.USER, "anna", frozenset({"a", "b"})), None, None)
    assert (await create(Caller(Kind.USER, "anna", frozenset({"a"})), None, None)).session.space_id == "a"
    with pytest.raises(CredentialNeeded):
        await create(GUEST, None, None)
    with pytest.raises(Denied):
        await create(Caller(Kind.ROOM, "anna", room="abc"), None, None)


async def test_sessions_are_listed_newest_first_without_the_expired(module: Module) -> None:
    made = []
    for _ in range(4):
        made.append(await new(module))
        module.clock.go_on(seconds=1)
    await module.repository.expire(made[1].id)
    other = await new(module, BEN)
    assert [one.id for one in await module.sessions.listed(ANNA)] == [made[3].id, made[2].id, made[0].id]
    assert [one.id for one in await module.sessions.listed(ANNA, limit=1, before=made[3].slug)] == [made[2].id]
    assert [one.id for one in await module.sessions.listed(BEN)] == [other.id]
    assert len(await module.sessions.listed(SERVICE)) == 4
    with pytest.raises(Denied):
        await module.sessions.listed(BEN, "team")


async def test_one_session_is_for_those_who_may_see_it(module: Module) -> None:
    session = await new(module)
    assert await module.sessions.get(ANNA, session.slug) == session
    with pytest.raises(Denied):
        await module.sessions.get(BEN, session.slug)
    with pytest.raises(CredentialNeeded):
        await module.sessions.get(GUEST, "nowhere")  # nothing is learned without a credential
    for slug in ("nowhere", "", "x" * 129):
        with pytest.raises(SessionNotFound):
            await module.sessions.get(ANNA, slug)


# --- joining ------------------------------------------------------------------------------------------------


async def test_ten_joins_at_once_make_one_live_session_and_one_transcription(module: Module) -> None:
    session = await new(module)
    joins = (module.attendees.join(GUEST, session.slug, JoinRequest(f"guest-{n}")) for n in range(10))
    people = await asyncio.gather(*joins)
    assert len({one.id for one in people}) == 10
    await until(lambda: not module.transcription.beginning)
    found = await now(module, session)
    assert (found.status, found.started_at, found.last_activity_at) == ("LIVE", BEGIN, BEGIN)
    assert module.control.started == [(session.slug, "livekit")]


async def test_joining_again_is_the_same_participant_back(module: Module) -> None:
    session = await live(module)
    module.clock.go_on(minutes=1)
    left = await module.attendees.leave(ANNA, session.slug, None)
    assert left.left_at == module.clock.now()
    assert await module.attendees.active(ANNA, session.slug) == []
    module.clock.go_on(minutes=1)
    back = await module.attendees.join(ANNA, session.slug, JoinRequest(name="Anna", role=Role.HOST))
    assert (back.id, back.left_at, back.joined_at, back.name, back.role) == (left.id, None, BEGIN, "Anna", "HOST")
    found = await now(module, session)
    assert (found.started_at, found.last_activity_at) == (BEGIN, module.clock.now())
    assert await module.attendees.active(ANNA, session.slug) == [back]


async def test_a_start_that_fails_is_tried_again_and_never_fails_the_join(
    module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    session = await new(module)
    module.control.troubles = [NotReady("not yet"), RunsElsewhere(session.slug)]
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: bool(module.control.started))
    assert [record.levelname for record in caplog.records if "not begun" in record.message] == ["WARNING"] * 2
    assert module.transcription.refused == 0


@pytest.mark.parametrize("trouble", [CostCapReached("slug", 1.0), ZeroDivisionError()])
async def test_a_start_that_cannot_succeed_is_logged_once_and_the_next_join_tries(
    module: Module, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    session = await new(module)
    module.control.troubles = [trouble]
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: not module.transcription.beginning)
    assert (module.control.started, module.transcription.refused) == ([], 1)
    assert [record.levelname for record in caplog.records if "not begun" in record.message] == ["ERROR"]
    await module.attendees.join(GUEST, session.slug, JoinRequest("ben"))
    await until(lambda: bool(module.control.started))


async def test_what_somebody_has_stopped_is_not_begun_by_a_join(module: Module) -> None:
    session = await new(module)
    module.control.last[session.slug] = ("STOPPED", "stopped by request")
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: not module.transcription.beginning)
    assert module.control.started == []
    module.control.last[session.slug] = ("STOPPED", ROOM_EMPTY)
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: bool(module.control.started))


async def test_without_a_source_joins_begin_nothing() -> None:
    module = Module(source=None)
    async with module.transcription.serving():
        session = await live(module)
        assert not module.transcription.beginning
        begun = await module.sessions.transcribe(ANNA, session.slug, None)
    assert (begun.created, begun.source) == (True, "livekit")


@pytest.mark.parametrize("status", ["ENDED", "EXPIRED"])
async def test_nobody_joins_what_is_over(module: Module, status: str) -> None:
    session = await (live(module) if status == "ENDED" else new(module))
    await (module.sessions.end(ANNA, session.slug) if status == "ENDED" else module.repository.expire(session.id))
    before = dict(module.rows.people)
    with pytest.raises(SessionOver):
        await module.attendees.join(ANNA, session.slug, JoinRequest())
    with pytest.raises(SessionOver):
        await module.sessions.room_pass(ANNA, session.slug, None, None)
    assert module.rows.people == before
    assert (await now(module, session)).status == status


async def test_a_guest_needs_an_identity_and_no_users(module: Module) -> None:
    session = await live(module)
    with pytest.raises(WrongRequest, match="identity"):
        await module.attendees.join(GUEST, session.slug, JoinRequest())
    for caller in (GUEST, BEN):
        with pytest.raises(IdentityTaken):
            await module.attendees.join(caller, session.slug, JoinRequest("anna"))
        with pytest.raises(IdentityTaken):
            await module.sessions.room_pass(caller, session.slug, "anna", None)
    for call in (
        module.attendees.join(GUEST, session.slug, JoinRequest("transcriber-x")),
        module.sessions.room_pass(GUEST, session.slug, f"transcriber-{session.slug}", None),
    ):
        with pytest.raises(WrongRequest, match="gateway's own"):
            await call
    with pytest.raises(CredentialNeeded):
        await module.attendees.join(GUEST, session.slug, JoinRequest("gus", role=Role.HOST))
    with pytest.raises(Denied):
        await module.attendees.join(GUEST, session.slug, JoinRequest("gus", user_id="anna"))
    gus = await module.attendees.join(GUEST, session.slug, JoinRequest("gus", "Gus"))
    assert (gus.user_id, gus.role, gus.name) == (None, "GUEST", "Gus")


async def test_a_rooms_token_joins_as_itself_only(module: Module) -> None:
    session = await live(module)
    token = Caller(Kind.ROOM, "anna", room=session.slug)
    assert (await module.attendees.join(token, session.slug, JoinRequest())).user_id == "anna"
    with pytest.raises(Denied):
        await module.attendees.join(token, session.slug, JoinRequest("ben"))
    with pytest.raises(Denied):
        await module.attendees.join(Caller(Kind.ROOM, "anna", room="other"), session.slug, JoinRequest())


async def test_the_app_says_whose_participant_it_is(module: Module) -> None:
    session = await new(module, SERVICE)
    joined = await module.attendees.join(SERVICE, session.slug, JoinRequest("phone", user_id="carl", role=Role.HOST))
    assert (joined.user_id, joined.role) == ("carl", "HOST")
    await module.sessions.end(Caller(Kind.USER, "carl"), session.slug)  # so he may end it


async def test_a_join_token_keeps_others_out(module: Module) -> None:
    made = await module.sessions.create(ANNA, None, None, require_join_token=True)
    slug, token = made.session.slug, made.join_token
    assert token and token.encode() not in module.rows.join_tokens[made.session.id]
    for caller in (GUEST, BEN):
        for wrong in (None, "", "wrong", "\ud800"):
            with pytest.raises(Denied, match="join token"):
                await module.attendees.join(caller, slug, JoinRequest("someone", join_token=wrong))
            with pytest.raises(Denied, match="join token"):
                await module.sessions.room_pass(caller, slug, "someone", None, wrong)
    assert (await now(module, made.session)).status == "CREATED"
    await module.sessions.room_pass(GUEST, slug, "gus", None, token)
    await module.attendees.join(GUEST, slug, JoinRequest("gus", join_token=token))
    await module.attendees.join(ANNA, slug, JoinRequest())  # a member of the space needs none
    await module.attendees.join(Caller(Kind.ROOM, "gus", room=slug), slug, JoinRequest())  # nor who is in the room


async def test_leaving_is_for_oneself_and_the_app(module: Module) -> None:
    session = await live(module)
    await module.attendees.join(GUEST, session.slug, JoinRequest("gus"))
    with pytest.raises(Denied):
        await module.attendees.leave(ANNA, session.slug, "gus")
    assert (await module.attendees.leave(SERVICE, session.slug, "gus")).left_at is not None
    with pytest.raises(NoSuchParticipant):
        await module.attendees.leave(SERVICE, session.slug, "nobody")


async def test_a_pass_is_for_the_room_named_like_the_session(module: Module) -> None:
    session = await new(module)
    found = await module.sessions.room_pass(ANNA, session.slug, None, "Anna")
    assert (found.room, found.url) == (session.slug, "wss://rooms.example.com")
    assert found.token == f"token of anna for {session.slug}"
    without = VideoSessions(module.repository, module.admission, module.closing, module.transcription, None)
    with pytest.raises(NoRooms):
        await without.room_pass(ANNA, session.slug, None, None)


async def test_what_the_media_server_sees_is_kept(module: Module) -> None:
    session = await new(module)
    gus = Seen("gus", "Gus", sid="PA_1", joined_ms=1)
    await module.attendees.came(session.slug, gus)
    assert (await now(module, session)).status == "LIVE"
    assert [one.name for one in await module.attendees.active(SERVICE, session.slug)] == ["Gus"]
    assert not module.transcription.beginning  # `Attendance` begins it, on the same event
    await module.attendees.went(session.slug, gus)
    assert await module.attendees.active(SERVICE, session.slug) == []
    await module.attendees.came("a room of something else", gus)
    await module.attendees.went("a room of something else", gus)


async def test_webhooks_of_the_media_server_may_come_late_twice_and_out_of_order(module: Module) -> None:
    session = await live(module)
    first, second = Seen("gus", sid="PA_1", joined_ms=1), Seen("gus", sid="PA_2", joined_ms=2)

    async def is_there() -> bool:
        return "gus" in [one.identity for one in await module.attendees.active(SERVICE, session.slug)]

    await module.attendees.came(session.slug, first)
    await module.attendees.went(session.slug, first)
    await module.attendees.came(session.slug, first)  # delivered again
    assert not await is_there()
    await module.attendees.came(session.slug, second)
    await module.attendees.came(session.slug, second)
    await module.attendees.went(session.slug, first)  # of the connection before
    assert await is_there()
    await module.attendees.came(session.slug, first)
    await module.attendees.went(session.slug, second)
    assert not await is_there()
    other = Seen("eva", sid="PA_3", joined_ms=3)
    await module.attendees.went(session.slug, other)  # before its beginning
    await module.attendees.came(session.slug, other)
    assert [one.identity for one in await module.attendees.active(SERVICE, session.slug)] == ["anna"]


async def test_a_guest_in_the_room_under_a_users_identity_is_not_that_user(module: Module) -> None:
    session = await live(module)
    for seen in (
        Seen("anna", "Eve", bearer=MintedFor("guest")),
        Seen("anna", "Eve", bearer=MintedFor("user", "eve")),
        Seen("anna", "Eve", is_exact=False),
    ):
        await module.attendees.came(session.slug, seen)
        await module.attendees.went(session.slug, seen)
    [anna] = await module.attendees.active(SERVICE, session.slug)
    assert (anna.name, anna.user_id, anna.left_at) == (None, "anna", None)
    await module.attendees.went(session.slug, Seen("anna", bearer=MintedFor("user", "anna")))
    assert await module.attendees.active(SERVICE, session.slug) == []


# --- the end ------------------------------------------------------------------------------------------------


async def test_the_end_stops_writes_and_schedules_once(module: Module) -> None:
    session = await live(module)
    await until(lambda: bool(module.control.running))
    module.clock.go_on(minutes=5)
    await asyncio.gather(*(module.sessions.end(ANNA, session.slug) for _ in range(5)))
    found = await now(module, session)
    assert (found.status, found.ended_at) == ("ENDED", module.clock.now())
    assert module.followed == [("document", session.id), ("analysis", session.id)]
    assert module.told_over == [session.slug]
    assert not module.control.running
    assert not module.rows.endings
    module.clock.go_on(minutes=5)
    await module.sessions.end(ANNA, session.slug)
    assert await now(module, session) == found


async def test_only_creator_participant_and_app_end_a_session(module: Module) -> None:
    session = await live(module)
    for caller in (BEN, Caller(Kind.USER, "member", frozenset({"team"}))):
        with pytest.raises(Denied):
            await module.sessions.end(caller, session.slug)
    with pytest.raises(CredentialNeeded):
        await module.sessions.end(GUEST, session.slug)
    await module.attendees.join(BEN, session.slug, JoinRequest())
    await module.sessions.end(BEN, session.slug)


async def test_what_was_never_live_is_not_ended(module: Module) -> None:
    session = await new(module)
    with pytest.raises(SessionNotLive):
        await module.sessions.end(ANNA, session.slug)
    assert (await now(module, session)).status == "CREATED"
    await module.repository.expire(session.id)
    with pytest.raises(SessionOver):
        await module.sessions.end(ANNA, session.slug)


@pytest.mark.parametrize("failing", ["document", "analysis", "stop", "stop takes too long"])
async def test_what_follows_an_end_and_fails_is_done_later(module: Module, failing: str) -> None:
    """The end itself is not undone, and the answer is not an error."""
    session = await live(module)
    if failing == "stop":
        module.control.stop_trouble = RunsElsewhere(session.slug)
    elif failing == "stop takes too long":
        module.control.stops = False
    else:
        module.trouble[failing] = OSError("the disk is full")
    await module.sessions.end(ANNA, session.slug)
    assert (await now(module, session)).status == "ENDED"
    assert module.closing.failed == 1
    assert ("analysis", session.id) not in module.followed
    module.control.stop_trouble, module.control.stops, module.trouble = None, True, {}
    assert await module.upkeep().complete_endings() == 0  # not due yet
    module.clock.go_on(minutes=5)
    assert await module.upkeep().complete_endings() == 1
    assert module.followed[-1] == ("analysis", session.id)
    assert not module.rows.endings


async def test_an_ending_that_keeps_failing_is_tried_less_and_less_often(module: Module) -> None:
    session = await live(module)
    module.trouble["document"] = OSError("no")
    await module.sessions.end(ANNA, session.slug)
    waits = []
    for _ in range(10):
        due, _ = module.rows.endings[session.id]
        waits.append((due - module.clock.now()).total_seconds())
        module.clock.at = due
        await module.upkeep().complete_endings()
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


async def test_nothing_begins_after_the_end(module: Module) -> None:
    """A beginning that waits for its next attempt is given up with the session."""
    session = await new(module)
    module.transcription._retry_after_s = (3600.0,)  # as good as never
    module.control.troubles = [NotReady("not yet")]
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: not module.control.troubles)
    await module.sessions.end(ANNA, session.slug)
    await until(lambda: not module.transcription.beginning)
    assert module.control.started == []


async def test_deleting_stops_first_and_leaves_nothing(module: Module) -> None:
    session = await live(module)
    await until(lambda: bool(module.control.running))
    with pytest.raises(Denied):
        await module.sessions.delete(BEN, session.slug)
    await module.sessions.delete(ANNA, session.slug)
    assert module.control.stopped == [session.slug]
    assert not module.rows.sessions and not module.rows.people and not module.rows.endings
    assert module.followed == []
    with pytest.raises(SessionNotFound):
        await module.sessions.delete(ANNA, session.slug)


async def test_a_transcription_that_cannot_be_stopped_does_not_keep_a_session(module: Module) -> None:
    session = await live(module)
    module.control.stop_trouble = RunsElsewhere(session.slug)
    await module.sessions.delete(ANNA, session.slug)
    assert not module.rows.sessions


async def test_transcribing_needs_a_live_session(module: Module) -> None:
    session = await new(module)
    with pytest.raises(SessionNotLive):
        await module.sessions.transcribe(ANNA, session.slug, None)
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    await until(lambda: bool(module.control.started))
    assert not (await module.sessions.transcribe(ANNA, session.slug, None)).created
    assert await module.sessions.stop_transcribing(session.slug)
    assert await module.sessions.stop_transcribing(session.slug)
    with pytest.raises(SessionNotFound):
        await module.sessions.stop_transcribing("nowhere")


# --- upkeep -------------------------------------------------------------------------------------------------


async def test_quiet_sessions_end_and_stale_ones_expire(module: Module) -> None:
    quiet, stale = await live(module), await new(module)
    module.clock.go_on(minutes=31)
    busy = await live(module)
    done = await module.upkeep().round()
    assert done == {"ended": 1, "expired": 0, "completed": 1}
    assert ((await now(module, quiet)).status, (await now(module, busy)).status) == ("ENDED", "LIVE")
    assert module.followed == [("document", quiet.id), ("analysis", quiet.id)]
    assert module.told_over == [quiet.slug]
    module.clock.go_on(hours=24)
    young = await new(module)
    done = await module.upkeep(inactive_minutes=0).round()
    assert done == {"ended": 0, "expired": 1, "completed": 0}
    assert ((await now(module, stale)).status, (await now(module, young)).status) == ("EXPIRED", "CREATED")
    assert (await module.upkeep(inactive_minutes=0, expire_hours=0).round())["expired"] == 0


async def test_a_session_that_wakes_up_while_it_is_looked_at_goes_on(module: Module) -> None:
    session = await live(module)
    module.clock.go_on(minutes=31)
    since = module.clock.now()
    await module.attendees.join(ANNA, session.slug, JoinRequest())
    assert not await module.closing.end_inactive(session, since)
    assert ((await now(module, session)).status, module.told_over) == ("LIVE", [])


async def test_one_replica_keeps_the_duty_until_it_leaves_or_dies(module: Module) -> None:
    mine = asyncio.create_task(module.upkeep("me", every_s=0.001).run())
    await until(lambda: DUTY in module.rows.duties)
    other = asyncio.create_task(module.upkeep("other", every_s=0.001).run())
    for _ in range(20):
        await asyncio.sleep(0.001)
        assert module.rows.duties[DUTY][0] == "me"
    mine.cancel()
    await asyncio.wait({mine})
    await until(lambda: module.rows.duties.get(DUTY, ("",))[0] == "other")
    other.cancel()
    await asyncio.wait({other})
    assert not module.rows.duties


async def test_a_session_that_was_ended_elsewhere_is_no_longer_transcribed(module: Module) -> None:
    session, other = await live(module), await live(module)

    class Running:
        def __init__(self) -> None:
            self.reason = ""

        def stop(self, reason: str) -> None:
            self.reason = reason

    runs = {session.id: Running(), other.id: Running()}
    watching = asyncio.create_task(stop_what_is_over(module.repository, lambda: runs, 0.001))
    await module.repository.end(session.id, None)
    await until(lambda: bool(runs[session.id].reason))
    assert runs[other.id].reason == ""
    watching.cancel()
    await asyncio.wait({watching})


# --- segments -----------------------------------------------------------------------------------------------


async def test_a_final_is_never_undone(module: Module) -> None:
    session = await live(module)
    for text, is_final in (("Good", False), ("Good morning.", True), ("Good m", False)):
        said = Segment("u1", text, "en", is_final, BEGIN, None, "anna")
        kept = await module.transcripts.append(SERVICE, session.slug, said)
    assert (kept.text, kept.is_final, kept.identity) == ("Good morning.", True, "anna")
    await module.transcripts.append(SERVICE, session.slug, Segment("u2", "And", None, False, BEGIN, None, "nobody"))
    assert await module.transcripts.of(ANNA, session.slug) == [kept]
    with pytest.raises(Denied):
        await module.transcripts.append(ANNA, session.slug, kept)


async def test_only_so_many_sessions_are_read_whole_at_once(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever gives up waiting gives up its turn."""
    session, reading, most, go_on = await live(module), 0, 0, asyncio.Event()

    async def read(self: object, session_id: str, *, finals_only: bool) -> list[Segment]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await go_on.wait()
        reading -= 1
        return []

    monkeypatch.setattr(MemoryTranscripts, "of", read)
    asking = [asyncio.create_task(module.transcripts.of(ANNA, session.slug)) for _ in range(20)]
    await until(lambda: reading == AT_ONCE)
    asking.pop().cancel()
    go_on.set()
    assert await asyncio.gather(*asking) == [[]] * 19
    assert most == AT_ONCE


# --- what is logged -----------------------------------------------------------------------------------------


async def test_a_life_is_logged(module: Module, caplog: pytest.LogCaptureFixture) -> None:
    """One line a change, without names and titles."""
    caplog.set_level(logging.INFO)
    session = await new(module)
    await module.attendees.join(ANNA, session.slug, JoinRequest(name="Anna Secret"))
    await module.attendees.leave(ANNA, session.slug, None)
    await module.sessions.end(ANNA, session.slug)
    await module.sessions.delete(ANNA, session.slug)
    assert [record.message for record in caplog.records] == [
        "session created",
        "session went live",
        "participant joined",
        "participant left",
        "session ended: asked for",
    ]
    assert {vars(record)["session"] for record in caplog.records} == {session.slug}
    assert "Secret" not in caplog.text and "Standup" not in caplog.text
