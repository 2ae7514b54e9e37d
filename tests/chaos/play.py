"""Plays one round: people speak and watch, something breaks, and what all have seen is given to the oracle."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from chaos.oracle import Outcome, Reader, Voice, Watched
from chaos.people import Attendee, Encoder, EventWatcher, Sender, Watcher, sound
from chaos.plan import Plan, SessionPlan
from chaos.world import HISTORY, Replica, World

SETTLE_S: Final = 15.0
TAKEN_S: Final = 5.0
HEALTH_CHECK_S: Final = 3.0
NAMES: Final = ("anna", "ben", "clara", "dan")
Undo = Callable[[], Awaitable[None]]


class Scene(Protocol):
    """What a fault strikes."""

    world: World
    sessions: list[Session]
    chance: random.Random
    fault_at: float
    deaf: frozenset[int]


@dataclass(slots=True)
class Session:
    """One session of a round."""

    plan: SessionPlan
    slug: str
    voices: list[Voice]
    speakers: list[Sender | Encoder | Attendee]
    watchers: list[Watcher]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    id: str = ""
    reads: list[int] = field(default_factory=list)

    @property
    def readers(self) -> list[Reader]:
        return [watcher.reader for watcher in self.watchers]

    def place(self, zero: float) -> None:
        """From now on the moments of its words count from there, as `time.monotonic()` does."""
        for speaker, voice in zip(self.speakers, self.voices, strict=True):
            voice.words = [(word, at + speaker.began - zero) for word, at in voice.words]


class Round:
    """`play`, then `finish`, which may overlap with the next round."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.sessions: list[Session] = []
        self.fault_at = 0.0
        self.deaf: frozenset[int] = frozenset()
        self._zero = time.monotonic()
        self.chance = random.Random(plan.seed)

    def clock(self) -> float:
        """Seconds since the round began."""
        return time.monotonic() - self._zero

    async def play(self) -> None:
        """Until everybody has said everything and the fault is over."""
        begun = (begin(self.world, one, self.plan.fault, self.chance, self.clock) for one in self.plan.sessions)
        self.sessions += await asyncio.gather(*begun)
        speaking = [asyncio.create_task(one.run()) for session in self.sessions for one in session.speakers]
        try:
            await self._taken()
            await asyncio.sleep(self.plan.at_s)
            owner = await self.world.owner(self.sessions[self.plan.session].slug) or self.world.replicas[0]
            before = [self._reads(session) for session in self.sessions]
            self.fault_at = self.clock()
            undo = await FAULTS[self.plan.fault](self, owner)
            await asyncio.sleep(max(self.fault_at + self.plan.for_s - self.clock(), 0.0))
            if undo is not None:
                await undo()
            async with asyncio.timeout(self.plan.kind.speech_s + 60):
                await asyncio.gather(*speaking)
        finally:
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)
            for session in self.sessions:
                session.place(self._zero)
        for session, then in zip(self.sessions, before, strict=True):
            session.reads = [now - was for was, now in zip(then, self._reads(session), strict=True)]

    async def _taken(self) -> None:
        """What an encoder says before a replica has taken it is said to nobody; on a busy machine that is seconds. A
        room that is not heard yet would make a fault of its line a late beginning."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_S):
                for session in self.sessions:
                    path = f"/api/transcription/{session.slug}"
                    while session.plan.source != "websocket" and not (await self.world.ask("GET", path))["tracks"]:
                        await asyncio.sleep(0.1)

    def _reads(self, session: Session) -> list[int]:
        return [replica.statements.of(HISTORY, session.id) for replica in self.world.replicas]

    async def finish(self) -> Outcome:
        """Stops everything. Returns what there is to judge."""
        watched = await asyncio.gather(*(end(self.world, session) for session in self.sessions))
        is_busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
        return Outcome(self.plan, self.fault_at, watched, self.deaf, is_busy)

    def close(self) -> None:
        """Of a round that cannot be finished."""
        for session in self.sessions:
            for task in session.tasks:
                task.cancel()


async def begin(
    world: World, one: SessionPlan, title: str, chance: random.Random, clock: Callable[[], float]
) -> Session:
    """Its transcription runs, and its watchers watch; nobody speaks yet. `clock`: of what the watchers hear."""
    route = world.route(chance)
    places = [replica.place for replica in world.replicas]
    slug = (await world.ask("POST", "/api/sessions", {"title": title}))["slug"]
    first = world.replicas[one.begins_on].running
    started = await first.start(slug, source=one.source)
    session = Session(one, slug, [], [], [], id=await world.session_id(slug))
    for name, words in zip(NAMES, one.voices, strict=False):
        pcm, said = sound(words, one.pause_s)
        voice = Voice("rtmp" if one.source == "rtmp" else name, said)
        session.voices.append(voice)
        if one.source == "livekit":
            assert world.livekit is not None
            session.speakers.append(Attendee(slug, voice, pcm, world.livekit))
        elif one.source == "websocket":
            session.speakers.append(Sender(slug, voice, pcm, route, places, world.http))
        else:
            key = started["ingest"]["streamKey"]
            session.speakers.append(Encoder(one.begins_on, key, voice, pcm, route, places, world.folder, clock))
    for kind, numbers in ((Watcher, one.watched_on), (EventWatcher, one.events_on)):
        for number in numbers:
            watcher = kind(slug, Reader(number), places, route, world.http, clock)
            session.watchers.append(watcher)
            session.tasks.append(asyncio.create_task(watcher.run()))
    return session


async def end(world: World, session: Session) -> Watched:
    """Once everybody has spoken: the transcription is stopped, and nobody watches any more."""
    words = {word for voice in session.voices for word, _ in voice.words}
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while not all(words <= _words(reader) for reader in session.readers):
                await asyncio.sleep(0.1)
    await world.ask("POST", "/api/transcription/stop", {"sessionSlug": session.slug}, 40)
    transcript: list[dict[str, Any]] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while True:  # strays get their numbers at the end
                transcript = await _transcript(world, session.slug)
                last = max((final["seq"] for final in transcript), default=0)
                if all(reader.last >= last and reader.state == "stopped" for reader in session.readers):
                    break
                await asyncio.sleep(0.3)
    for task in session.tasks:
        task.cancel()
    await asyncio.gather(*session.tasks, return_exceptions=True)
    return Watched(session.plan.source, session.voices, session.readers, transcript, session.reads)


async def _transcript(world: World, slug: str) -> list[dict[str, Any]]:
    answer = await world.ask("GET", f"/api/sessions/{slug}/transcript?format=json")
    finals: list[dict[str, Any]] = answer["finals"]
    return sorted(finals, key=lambda final: final["seq"])


def _words(reader: Reader) -> set[str]:
    return {word for data in reader.finals.values() for word in data["text"].lower().split()}


# --- faults: each begins, and returns what ends it ----------------------------------------------------------


async def _nothing(one: Scene, owner: Replica) -> Undo | None:
    return None


async def _redis_killed(one: Scene, owner: Replica) -> Undo | None:
    redis = one.world.redis
    redis.stop()
    return lambda: asyncio.to_thread(redis.start)


async def _redis_frozen(one: Scene, owner: Replica) -> Undo | None:
    one.world.redis.freeze()

    async def undo() -> None:
        one.world.redis.thaw()

    return undo


async def _redis_flushed(one: Scene, owner: Replica) -> Undo | None:
    await asyncio.to_thread(one.world.redis.ask, "FLUSHALL")
    return None


def _line(name: str, act: str, whose: str) -> Callable[[Scene, Replica], Awaitable[Undo | None]]:
    """`whose`: the owner's, another's, or all replicas' line of that name."""

    async def fault(one: Scene, owner: Replica) -> Undo | None:
        replicas = one.world.replicas
        others = [replica for replica in replicas if replica is not owner]
        struck = {"owner": [owner], "other": [one.chance.choice(others)], "all": replicas}[whose]
        lines = [getattr(replica, name) for replica in struck]
        for line in lines:
            if act == "slow":
                line.slow(delay_s=0.15, bytes_per_s=40_000)
            else:
                getattr(line, act)()

        async def undo() -> None:
            for line in lines:
                line.heal()

        return undo

    return fault


def _reset(who: str) -> Callable[[Scene, Replica], Awaitable[Undo | None]]:
    async def fault(one: Scene, owner: Replica) -> Undo | None:
        people = [person for session in one.sessions for person in getattr(session, who)]
        if not sum(person.reset() for person in people):
            raise AssertionError("nobody was connected: a fault that does nothing proves nothing")
        return None

    return fault


async def _other_killed(one: Scene, owner: Replica) -> Undo | None:
    owners = [await one.world.owner(session.slug) for session in one.sessions]
    other = next(replica for replica in one.world.replicas if replica not in owners)
    await other.end(signal.SIGKILL)
    one.deaf = frozenset({other.number})
    return other.start


async def _owner_killed(one: Scene, owner: Replica) -> Undo | None:
    await owner.end(signal.SIGKILL)
    return owner.start


async def _owner_frozen(one: Scene, owner: Replica) -> Undo | None:
    """No encoder notices it: its socket takes minutes of audio. So the balancer cuts, as its health checks tell."""
    owner.freeze()
    one.deaf = frozenset({owner.number})
    await asyncio.sleep(HEALTH_CHECK_S)
    for session in one.sessions:
        for speaker in session.speakers:
            if isinstance(speaker, Encoder) and speaker.where == owner.number:
                speaker.cut(one.fault_at)

    async def undo() -> None:
        owner.thaw()

    return undo


async def _owner_cut_off(one: Scene, owner: Replica) -> Undo | None:
    owner.database.cut()
    one.deaf = frozenset({owner.number})

    async def undo() -> None:
        owner.database.heal()

    return undo


async def _owner_restarted(one: Scene, owner: Replica) -> Undo | None:
    await owner.end()
    return owner.start


FAULTS: Final[dict[str, Callable[[Scene, Replica], Awaitable[Undo | None]]]] = {
    "nothing": _nothing,
    "redis killed": _redis_killed,
    "redis frozen": _redis_frozen,
    "redis flushed": _redis_flushed,
    "redis cut from the owner": _line("redis", "cut", "owner"),
    "redis frozen for a watcher's replica": _line("redis", "freeze", "other"),
    "redis slow": _line("redis", "slow", "all"),
    "postgres reset": _line("database", "reset", "all"),
    "postgres cut from the owner for a moment": _line("database", "cut", "owner"),
    "postgres cut from all": _line("database", "cut", "all"),
    "postgres frozen for all": _line("database", "freeze", "all"),
    "postgres slow": _line("database", "slow", "all"),
    "provider reset": _line("provider", "reset", "all"),
    "provider cut from the owner": _line("provider", "cut", "owner"),
    "provider frozen for the owner": _line("provider", "freeze", "owner"),
    "provider slow": _line("provider", "slow", "all"),
    "watchers reset": _reset("watchers"),
    "senders reset": _reset("speakers"),
    "peers cut": _line("peers", "cut", "all"),
    "a watcher's replica killed": _other_killed,
    "owner killed": _owner_killed,
    "owner frozen": _owner_frozen,
    "owner cut from postgres": _owner_cut_off,
    "owner restarted": _owner_restarted,
    "livekit cut from the owner": _line("livekit", "cut", "owner"),
    "owner in a room killed": _owner_killed,
    "peers frozen": _line("peers", "freeze", "all"),
    "peers slow": _line("peers", "slow", "all"),
    "livekit frozen for the owner": _line("livekit", "freeze", "owner"),
    "owner of a room restarted": _owner_restarted,
    "provider lost to the owner of a room": _line("provider", "cut", "owner"),
    "livekit lost to the owner": _line("livekit", "cut", "owner"),
    "provider lost to the owner": _line("provider", "cut", "owner"),
}
