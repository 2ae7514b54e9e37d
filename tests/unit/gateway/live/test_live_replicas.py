"""Two replicas on virtual time: one runs a session, the other one shows it over a wire that loses what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from live_stage import NOW, SLUG, kinds, of_kind, text
from support.fakes import FakeTransport

from gateway.live import followed, relay
from gateway.live.foreign import LEAVE_S, Foreign
from gateway.live.hub import Hub
from gateway.live.owned import Owned
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.live.relay import owner_channel, session_channel
from gateway.live.watcher import Watcher
from gateway.outage import RecordsUnavailable
from gateway.transcription.domain.transcription import Lease, Numbering
from gateway.transcription.usecases.follow import FollowedFinal, Standing

CHANNEL = session_channel(SLUG)


class Database:
    """Implements `Standings` for one session."""

    def __init__(self) -> None:
        self.finals_: dict[int, tuple[str, bytes]] = {}
        self.epoch, self.owner, self.lease, self.state = "e1", "owner", Lease("t1", 1), "running"
        self.last_seq = 0
        self.former: dict[str, int] = {}
        self.looks = self.reads = 0
        self.is_away = False

    async def look(self, session_ids: Sequence[str]) -> Mapping[str, Standing]:
        await self._answer()
        self.looks += 1
        numbering = Numbering(self.epoch, NOW, self.last_seq, self.former)
        return {one: Standing(self.lease, self.owner, self.state, numbering) for one in session_ids}

    async def finals(self, after: Mapping[str, int], limit: int) -> Sequence[FollowedFinal]:
        await self._answer()
        self.reads += 1
        return [
            FollowedFinal(session, epoch, seq, f"u{seq}", data)
            for session, last in after.items()
            for seq, (epoch, data) in sorted(self.finals_.items())
            if seq > last
        ][:limit]

    async def _answer(self) -> None:
        await asyncio.sleep(0.001)
        if self.is_away:
            raise RecordsUnavailable("away")

    async def past(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return [(final.seq, final.data) for final in await self.finals({"s": after}, limit)]


class Confirmed:
    async def confirmed(self) -> bool:
        await asyncio.sleep(0.001)
        return True


class Net:
    """What Redis is to the replicas of a test. `loses(kind)`: whether a message is lost."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[relay.News] = []
        self.loses: Callable[[relay.News], bool] = lambda news: False
        self.wanted: set[str] = set()
        self.owned: Owned
        self.foreign: Foreign

    def publish(self, channel: str, data: bytes, overtakes: str | None = None) -> None:
        news = relay.decode(data)
        assert news is not None
        if not self.is_up:
            return
        self.sent.append(news)
        hears = channel in self.wanted
        loop = asyncio.get_running_loop()
        if channel == owner_channel("owner"):
            if not self.loses(news):
                loop.call_soon(self.owned.message, data)
        else:
            loop.call_soon(self.owned.receivers, channel, int(hears))
            if hears and not self.loses(news):
                loop.call_soon(self.foreign.message, channel, data)

    def subscribe(self, channel: str) -> Confirmed:
        self.wanted.add(channel)
        asyncio.get_running_loop().call_soon(lambda: self.foreign.live(channel, hole=False))
        return Confirmed()

    def unsubscribe(self, channel: str) -> None:
        self.wanted.discard(channel)

    def cut(self) -> None:
        self.is_up = False
        self.foreign.lost(CHANNEL)
        self.foreign.changed()

    def mend(self) -> None:
        self.is_up = True
        self.foreign.changed()
        self.foreign.live(CHANNEL, hole=True)

    def kinds(self) -> list[str]:
        return [news.kind for news in self.sent]


class Two:
    """`near` runs the session; watchers are on `far`."""

    def __init__(self, *, has_wire: bool = True) -> None:
        self.database, self.net = Database(), Net()
        self.near, self.far = Hub(lambda: NOW), Hub(lambda: NOW)
        self.foreign = self.net.foreign = Foreign(self.far, self.database, self.net if has_wire else None, "far")
        self.owned = self.net.owned = Owned(self.near, self.net, lambda slug: None)
        self.near.runs = self.owned if has_wire else None
        self.closed: list[CloseCode] = []

    def begin(self) -> None:
        database = self.database
        self.near.begin(SLUG, Numbering(database.epoch, NOW, database.last_seq, database.former), database.lease)
        self.near.set_state(SLUG, "running", None)

    def keep(self, seq: int) -> None:
        self.database.finals_[seq] = (self.database.epoch, text(seq))
        self.database.last_seq = max(self.database.last_seq, seq)

    def say(self, *, keeps: bool = True) -> None:
        channel = self.near.channel(SLUG)
        if keeps:
            self.keep(channel.last_seq + 1)
        channel.final(channel.last_seq + 1, f"u{channel.last_seq + 1}", text(channel.last_seq + 1))

    def partial(self, utterance: str) -> None:
        self.near.channel(SLUG).partial(utterance, json.dumps({"utteranceId": utterance}).encode())

    async def watch(
        self, since: ResumePoint | None = None, *, crosses_epochs: bool = False
    ) -> tuple[Watcher, FakeTransport]:
        transport = FakeTransport()
        watcher = self.far.join(SLUG, transport, self.closed.append, crosses_epochs=crosses_epochs)
        await self.foreign.follow(SLUG, "s", since)
        await self.far.channel(SLUG).catch_up(watcher, since, self.database.past)
        return watcher, transport


@asynccontextmanager
async def two(*, has_wire: bool = True) -> AsyncIterator[Two]:
    pair = Two(has_wire=has_wire)
    jobs = [asyncio.create_task(pair.foreign.run()), asyncio.create_task(pair.owned.run())]
    pair.begin()
    try:
        yield pair
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


def seqs(transport: FakeTransport) -> list[int]:
    return [message["seq"] for message in of_kind(transport, "transcript.final")]


def reasons(transport: FakeTransport) -> list[str]:
    said: list[dict[str, Any]] = of_kind(transport, "health")
    return said[-1]["data"]["reasons"] if said else []


async def test_nothing_is_said_while_nobody_listens() -> None:
    async with two() as pair:
        for _ in range(3):
            pair.say()
            pair.partial("p")
            await asyncio.sleep(1)
        assert pair.net.kinds() == [relay.MARK]  # the first question whether anybody does
        assert pair.near.channel(SLUG).forward is None


async def test_nothing_is_said_elsewhere_while_it_is_not_certain_that_it_is_ours() -> None:
    """Not even a mark: others would take the owner for alive."""
    async with two() as pair:
        certain = True
        pair.owned = pair.net.owned = Owned(pair.near, pair.net, lambda slug: None, lambda: certain)
        pair.near.runs = pair.owned
        marks = asyncio.create_task(pair.owned.run())
        pair.begin()
        await pair.watch()
        pair.say()
        await asyncio.sleep(0.1)
        said = len(pair.net.sent)
        certain = False
        pair.say()
        pair.partial("p")
        await asyncio.sleep(3)
        assert [news.kind for news in pair.net.sent[said:] if news.kind != relay.ASK] == []
        marks.cancel()
        await asyncio.gather(marks, return_exceptions=True)


async def test_both_know_how_many_watch_on_the_other() -> None:
    """So a limit of a session's watchers holds over replicas: within a second, and only while they hear each other."""
    async with two() as pair:
        pair.near.join(SLUG, FakeTransport(), pair.closed.append)
        assert pair.near.watching_elsewhere(SLUG) == 0
        watchers = [(await pair.watch())[0] for _ in range(3)]
        await asyncio.sleep(2)
        assert (pair.near.watching_elsewhere(SLUG), pair.foreign.elsewhere(SLUG)) == (3, 1)
        pair.far.leave(SLUG, watchers[0])
        pair.near.join(SLUG, FakeTransport(), pair.closed.append)
        pair.say()  # who speaks has no need of marks, but for this
        await asyncio.sleep(2)
        assert (pair.near.watching_elsewhere(SLUG), pair.foreign.elsewhere(SLUG)) == (2, 2)
        said = pair.net.kinds().count(relay.CROWD)
        await asyncio.sleep(20)
        assert pair.net.kinds().count(relay.CROWD) - said in (4, 5), "each five seconds"
        pair.net.cut()
        await asyncio.sleep(15)
        assert (pair.near.watching_elsewhere(SLUG), pair.foreign.elsewhere(SLUG)) == (0, 0)


async def test_a_watcher_elsewhere_sees_what_one_here_does() -> None:
    async with two() as pair:
        pair.say()
        pair.near.channel(SLUG).say("host.changed", b'{"host":"anna"}')
        pair.near.channel(SLUG).say("health", b'{"status":"degraded","reasons":["x"]}')
        pair.partial("on screen")
        _, transport = await pair.watch()
        await asyncio.sleep(0.1)
        assert kinds(transport)[:2] == ["hello", "transcript.final"]
        assert sorted(kinds(transport)[2:]) == ["health", "host.changed", "transcript.partial"]
        pair.partial("p")
        pair.say()
        pair.near.channel(SLUG).say("transcript.translation", b"{}")
        pair.near.set_state(SLUG, "stopping", "bye")
        await asyncio.sleep(0.1)
        assert kinds(transport)[5:] == [
            "transcript.partial",
            "transcript.final",
            "transcript.translation",
            "session.state",
        ]
        assert of_kind(transport, "session.state")[-1]["data"] == {"state": "stopping", "reason": "bye"}
        assert (seqs(transport), pair.database.looks) == ([1, 2], 1)


async def test_later_watchers_read_no_standing_again_and_resume() -> None:
    async with two() as pair:
        await pair.watch()
        for _ in range(3):
            pair.say()
        await asyncio.sleep(0.1)
        looks, reads = pair.database.looks, pair.database.reads
        _, transport = await pair.watch(ResumePoint("e1", 1))
        pair.say()
        await asyncio.sleep(0.1)
        assert of_kind(transport, "hello")[0]["data"]["resumed"] is True
        assert seqs(transport) == [2, 3, 4]
        assert (pair.database.looks, pair.database.reads) == (looks, reads)


@pytest.mark.parametrize("shown_by", ["the next final", "the next partial", "a mark"])
async def test_a_lost_final_is_read_once(shown_by: str) -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        pair.say()
        await asyncio.sleep(0.1)
        reads = pair.database.reads
        pair.net.loses = lambda news: news.kind == relay.FINAL
        pair.say()
        await asyncio.sleep(0.1)
        pair.net.loses = lambda news: False
        match shown_by:
            case "the next final":
                pair.say()
            case "the next partial":
                pair.partial("p")
            case _:
                await asyncio.sleep(1)
        await asyncio.sleep(0.1)
        assert seqs(transport) == ([1, 2, 3] if shown_by == "the next final" else [1, 2])
        assert pair.database.reads == reads + 1
        assert pair.foreign.losses == 1


async def test_a_final_that_only_the_owner_has_is_waited_for() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        pair.net.loses = lambda news: news.kind == relay.FINAL and news.seq == 1
        for _ in range(3):
            pair.say(keeps=False)
        await asyncio.sleep(5)
        assert (seqs(transport), reasons(transport)) == ([], [followed.LATE])
        assert pair.database.reads < 12
        pair.keep(1)
        await asyncio.sleep(1.5)
        assert (seqs(transport), reasons(transport)) == ([1, 2, 3], [])


async def test_a_lost_event_comes_with_a_snapshot() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        await asyncio.sleep(0.1)
        pair.net.loses = lambda news: news.kind == "host.changed"
        pair.near.channel(SLUG).say("host.changed", b'{"host":"anna"}')
        await asyncio.sleep(0.1)
        assert not of_kind(transport, "host.changed")
        pair.partial("p")
        await asyncio.sleep(0.1)
        assert of_kind(transport, "host.changed")[0]["data"] == {"host": "anna"}


async def test_a_lost_question_is_asked_again() -> None:
    async with two() as pair:
        pair.near.channel(SLUG).say("host.changed", b'{"host":"anna"}')
        pair.net.loses = lambda news: news.kind in (relay.ASK, relay.SNAPSHOT)
        _, transport = await pair.watch()
        await asyncio.sleep(0.5)
        pair.net.loses = lambda news: False
        assert not of_kind(transport, "host.changed")
        await asyncio.sleep(1.2)
        assert of_kind(transport, "host.changed")


async def test_partials_that_are_no_more_are_not_shown_to_newcomers() -> None:
    async with two() as pair:
        await pair.watch()
        await asyncio.sleep(0.1)
        pair.partial("gone")
        await asyncio.sleep(0.1)
        pair.net.cut()
        del pair.near.channel(SLUG).partials["gone"]
        pair.net.mend()
        await asyncio.sleep(0.3)
        _, transport = await pair.watch()
        assert not of_kind(transport, "transcript.partial")


async def test_finals_of_an_epoch_that_is_not_known_yet_are_not_shown_under_the_old_one() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        await asyncio.sleep(0.1)
        pair.database.finals_[1] = ("e2", text(1))  # stored between the look and the read
        pair.database.last_seq = 1
        await asyncio.sleep(followed.POLL_AS_A_NET_S + 1)
        assert seqs(transport) == []
        pair.database.epoch = "e2"
        await asyncio.sleep(followed.POLL_AS_A_NET_S + 1)
        assert pair.closed == [CloseCode.DRAINING]


async def test_without_the_wire_finals_come_from_the_database_and_it_is_said() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        await asyncio.sleep(0.1)
        pair.net.cut()
        looks = pair.database.looks
        await asyncio.sleep(0.1)
        assert reasons(transport) == [followed.AWAY]
        for _ in range(4):
            pair.say()
            pair.partial("p")
            await asyncio.sleep(0.6)
        assert seqs(transport) == [1, 2, 3, 4]
        assert pair.database.looks - looks <= 7
        assert not of_kind(transport, "transcript.partial")
        pair.net.mend()
        await asyncio.sleep(0.3)
        assert (reasons(transport), len(of_kind(transport, "transcript.partial"))) == ([], 1)
        pair.partial("q")
        await asyncio.sleep(0.1)
        assert len(of_kind(transport, "transcript.partial")) == 2


async def test_an_owner_that_is_cut_off_is_noticed_and_asked() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        pair.net.loses = lambda news: True
        await asyncio.sleep(followed.SILENT_S + 0.5)
        assert reasons(transport) == [followed.SILENT]
        pair.say()
        await asyncio.sleep(0.6)
        assert seqs(transport) == [1]
        pair.net.loses = lambda news: False
        await asyncio.sleep(1.3)
        assert reasons(transport) == []


@pytest.mark.parametrize("phase_s", [0.0, 0.2, 0.4, 0.6, 0.8])
async def test_finals_of_an_owner_that_is_cut_off_come_about_a_second_later(phase_s: float) -> None:
    """Whenever they are said; watchers are told of it later, for it may be busy."""
    async with two() as pair:
        _, transport = await pair.watch()
        await asyncio.sleep(0.1)
        pair.net.loses = lambda news: True
        await asyncio.sleep(phase_s)
        pair.say()
        await asyncio.sleep(1.2)
        assert (seqs(transport), reasons(transport)) == ([1], [])


async def test_an_owner_that_is_heard_is_read_from_the_database_each_five_seconds() -> None:
    async with two() as pair:
        await pair.watch()
        await asyncio.sleep(0.1)
        looks = pair.database.looks
        await asyncio.sleep(4 * followed.POLL_AS_A_NET_S)
        assert pair.database.looks - looks <= 4


async def test_without_redis_finals_are_polled() -> None:
    async with two(has_wire=False) as pair:
        _, transport = await pair.watch()
        for _ in range(3):
            pair.say()
            await asyncio.sleep(1.3)
        assert (seqs(transport), reasons(transport)) == ([1, 2, 3], [followed.NO_WIRE])
        assert pair.database.looks <= 6


async def test_a_take_over_with_a_new_epoch_sends_watchers_back_and_the_old_owner_is_not_believed() -> None:
    async with two() as pair:
        await pair.watch()
        pair.say()
        await asyncio.sleep(0.1)
        former = relay.Speaker(pair.database.lease)
        pair.database.lease, pair.database.epoch = Lease("t1", 2), "e2"
        pair.begin()
        await asyncio.sleep(0.1)
        assert pair.closed == [CloseCode.DRAINING]
        _, transport = await pair.watch(ResumePoint("e1", 1))
        pair.foreign.message(CHANNEL, former.news(relay.FINAL, "e1", 2, "u2", b'{"text":"stale"}'))
        pair.say()
        await asyncio.sleep(0.1)
        assert of_kind(transport, "hello")[0]["data"]["resumed"] is False
        assert [m["epoch"] for m in of_kind(transport, "transcript.final")] == ["e2", "e2"]
        assert "stale" not in str(of_kind(transport, "transcript.final"))


@pytest.mark.parametrize("misses", [0, 2])
async def test_a_new_epoch_interrupts_nobody_who_has_seen_stored_finals_only(misses: int) -> None:
    """What the dead owner had stored and not told is read, under its old epoch."""
    async with two() as pair:
        _, transport = await pair.watch(crosses_epochs=True)
        pair.say()
        pair.partial("on screen")
        await asyncio.sleep(0.1)
        pair.net.loses = lambda news: news.kind == relay.FINAL
        for _ in range(misses):
            pair.say()
        database = pair.database
        database.former, database.epoch = {"e1": database.last_seq}, "e2"
        database.lease = Lease("t1", 2)
        pair.net.loses = lambda news: False
        pair.begin()
        await asyncio.sleep(2)
        pair.say()
        await asyncio.sleep(0.1)
        assert (seqs(transport), pair.closed) == (list(range(1, misses + 3)), [])
        hello = of_kind(transport, "hello")[-1]
        assert (hello["epoch"], hello["data"]["resumed"]) == ("e2", True)
        assert of_kind(transport, "transcript.final")[-1]["epoch"] == "e2"
        assert of_kind(transport, "transcript.partial")[-1]["data"]["text"] == "", "what was on screen is taken off"


async def test_who_saw_what_was_not_stored_begins_anew() -> None:
    async with two() as pair:
        await pair.watch(crosses_epochs=True)
        pair.say()
        pair.say(keeps=False)
        await asyncio.sleep(0.1)
        pair.database.lease, pair.database.epoch, pair.database.former = Lease("t1", 2), "e2", {"e1": 1}
        pair.begin()
        await asyncio.sleep(0.1)
        assert pair.closed == [CloseCode.DRAINING]
        _, transport = await pair.watch(ResumePoint("e1", 2), crosses_epochs=True)
        assert of_kind(transport, "hello")[0]["data"]["resumed"] is False


async def test_a_take_over_in_the_same_epoch_goes_on_under_the_watcher() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        pair.say()
        await asyncio.sleep(0.1)
        pair.database.lease = Lease("t1", 2)
        pair.begin()
        await asyncio.sleep(0.1)
        pair.say()
        pair.partial("p")
        await asyncio.sleep(0.1)
        assert (seqs(transport), pair.closed) == ([1, 2], [])
        assert len(of_kind(transport, "transcript.partial")) == 1


async def test_a_session_is_left_after_its_last_watcher() -> None:
    async with two() as pair:
        watcher, _ = await pair.watch()
        await asyncio.sleep(0.1)
        pair.far.leave(SLUG, watcher)
        await asyncio.sleep(LEAVE_S / 2)
        assert CHANNEL in pair.net.wanted
        pair.say()
        watcher, transport = await pair.watch()
        await asyncio.sleep(0.1)
        assert seqs(transport) == [1]
        pair.far.leave(SLUG, watcher)
        await asyncio.sleep(LEAVE_S + 1)
        assert (CHANNEL in pair.net.wanted, pair.foreign.followed) == (False, 0)
        pair.partial("p")
        await asyncio.sleep(0.1)
        assert pair.near.channel(SLUG).forward is None


@pytest.mark.parametrize("how", ["ended", "deleted"])
async def test_who_watches_elsewhere_need_not_wait_for_the_end_of_a_session(how: str) -> None:
    """Whichever replica ends it, and whether it was ever transcribed: the others look into the tables at once."""
    async with two() as pair:
        looked: list[str] = []
        pair.far.on_idle = looked.append
        await pair.watch()
        (pair.near.over if how == "ended" else pair.near.erase)(SLUG)
        await asyncio.sleep(0.1)
        assert (looked, pair.foreign.losses) == ([SLUG], 0)
        pair.far.over(SLUG)  # that no replica answers with the same is what ends this
        await asyncio.sleep(0.1)
        assert (looked, pair.net.kinds().count(relay.OVER)) == ([SLUG] * 2, 1)


async def test_a_database_that_is_away_is_said_to_the_endpoint_and_waited_for() -> None:
    async with two() as pair:
        pair.database.is_away = True
        with pytest.raises(RecordsUnavailable):
            await pair.watch()
        pair.database.is_away = False
        _, transport = await pair.watch()
        pair.database.is_away = True
        pair.net.cut()
        pair.keep(1)
        await asyncio.sleep(5)
        pair.database.is_away = False
        await asyncio.sleep(1.5)
        assert seqs(transport) == [1]


async def test_a_session_that_begins_here_is_followed_no_more() -> None:
    async with two() as pair:
        _, transport = await pair.watch()
        pair.net.cut()
        await asyncio.sleep(0.5)
        pair.foreign.release(SLUG)
        pair.far.begin(SLUG, Numbering("e1", NOW, 0))
        await asyncio.sleep(0.1)
        assert (reasons(transport), pair.foreign.followed) == ([], 0)


async def test_who_has_seen_more_on_the_owner_resumes_all_the_same() -> None:
    async with two() as pair:
        await pair.watch()
        await asyncio.sleep(0.1)
        pair.net.loses = lambda news: True
        pair.say()
        pair.say()
        _, transport = await pair.watch(ResumePoint("e1", 1))
        assert of_kind(transport, "hello")[0]["data"]["resumed"] is True
        assert seqs(transport) == [2]


async def test_a_run_elsewhere_has_said_everything_when_it_has_stopped() -> None:
    async with two() as pair:
        await pair.watch()
        await asyncio.sleep(0.1)
        assert not pair.foreign.has_all(SLUG)
        pair.net.loses = lambda news: news.kind == relay.FINAL
        pair.say(keeps=False)
        pair.near.set_state(SLUG, "stopped", None)
        await asyncio.sleep(0.1)
        assert not pair.foreign.has_all(SLUG)
        pair.keep(1)
        await asyncio.sleep(1.5)
        assert pair.foreign.has_all(SLUG)


async def test_what_retention_took_sends_back_those_who_wait_for_it() -> None:
    async with two() as pair:
        await pair.watch()
        pair.net.loses = lambda news: news.kind == relay.FINAL
        pair.database.last_seq = 1
        pair.near.channel(SLUG).final(1, "u1", text(1))
        await asyncio.sleep(followed.GIVE_UP_S + 15)
        assert pair.closed == [CloseCode.DRAINING]
