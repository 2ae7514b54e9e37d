"""Plays a soak: sessions come and go on every seat, something breaks in turn, and all processes are looked at."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from chaos.billing import Bills
from chaos.oracle import Verdict, Watched
from chaos.people import Sender
from chaos.plan import Plan
from chaos.play import FAULTS, Session, begin, end
from chaos.world import World
from soak import plan
from soak.curve import Sample
from soak.oracle import Tally, judge_session
from soak.plan import Seat
from soak.processes import Gateway, gateways, sample

SAMPLE_S: Final = 15.0
TOLD_S: Final = 60.0
OVERTIME_S: Final = 120.0


class Soak:
    """`play`; what came of it are the attributes. `sessions`: those in which people speak now. `began`: second 0.

    While somebody begins a session nothing breaks, and the other way round: what is refused then is no fault.
    """

    def __init__(self, world: World, for_s: float, seed: int, note: Callable[[Sample], object]) -> None:
        """`note` is called with each sample at once."""
        self.world = world
        self.for_s = for_s
        self.chance = random.Random(seed)
        self.sessions: list[Session] = []
        self.fault_at = 0.0
        self.deaf: frozenset[int] = frozenset()
        self.samples: list[Sample] = []
        self.tally = Tally()
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []
        self.bills = Bills(world)
        self.began = datetime.now(UTC)
        self._restarts: list[tuple[float, float]] = []
        self._struck: list[tuple[float, str]] = []
        self._note = note
        self._calm = asyncio.Lock()
        self._zero = time.monotonic()
        self._first: dict[str, int] = {}

    def clock(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._zero

    async def play(self) -> None:
        """Until the last session is over. No session begins, and nothing breaks, after `for_s`."""
        seats = [seat for seat in plan.SEATS if seat.source != "livekit" or self.world.livekit is not None]
        await self.look()
        around = [asyncio.create_task(one) for one in (self._repeat(SAMPLE_S, self.look), self._stand())]
        faults = asyncio.create_task(self._break())
        try:
            async with asyncio.timeout(self.for_s + OVERTIME_S):
                await asyncio.gather(*(self._sit(seat) for seat in seats), faults)
        except TimeoutError:
            self.wrong("sessions went on when they should have been over")
        finally:
            for task in (*around, faults):
                task.cancel()
            await asyncio.gather(*around, faults, return_exceptions=True)
        await self.look()

    def wrong(self, problem: str) -> None:
        """Is told at once."""
        self.problems.append(problem)
        self.tell(problem)

    def tell(self, what: str) -> None:
        """With the time."""
        print(f"{self.clock() / 60:.1f} min: {what}", flush=True)

    # --- people ---

    async def _sit(self, seat: Seat) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        while (left_s := self.for_s - self.clock()) > plan.SHORTEST_S:
            try:
                await self._session(seat, left_s)
            except Exception as error:
                traceback.print_exc()
                self.wrong(f"{seat.source}: {type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def _session(self, seat: Seat, left_s: float) -> None:
        async with self._calm:
            up = [replica.number for replica in self.world.replicas if replica.takes_connections]
            drawn = seat.draw(self.chance, left_s, up)
            began = self.clock()
            session = await begin(self.world, drawn, "soak", self.chance, self.clock)
        self.sessions.append(session)
        try:
            async with asyncio.timeout(seat.speech_s[1] + OVERTIME_S):
                await asyncio.gather(*(one.run() for one in session.speakers))
        except BaseException:
            for task in session.tasks:
                task.cancel()
            raise
        finally:
            self.sessions.remove(session)
        session.place(self._zero)
        for speaker, voice in zip(session.speakers, session.voices, strict=True):
            if isinstance(speaker, Sender):
                voice.lapses += self._placed(speaker.pauses)
                voice.holes += self._placed(speaker.holes)
        watched = await end(self.world, session)
        await self.world.ask("POST", f"/api/sessions/{session.slug}/end")
        self._judge(watched, session, began)

    def _placed(self, times: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(begin - self._zero, end - self._zero) for begin, end in times]

    def _judge(self, watched: Watched, session: Session, began: float) -> None:
        restarts = [(begin, end) for begin, end in self._restarts if end >= began]
        verdict: Verdict = judge_session(watched, restarts, self._struck)
        self.tally.add(watched.source, verdict)
        for problem in verdict.problems:
            self.wrong(f"{session.slug}, begun on replica {session.plan.begins_on} at {began:.0f} s: {problem}")
        number = self.tally.sessions
        fault = "owner restarted" if restarts else "nothing"
        self.bills.add(Plan(number, fault, 0.0, 0.0, 0, (session.plan,)), [session.slug])

    # --- faults ---

    async def _break(self) -> None:
        number, every_s = 0, min(plan.EVERY_S, self.for_s / 4)
        while self.clock() + every_s + plan.LASTS_S[1] < self.for_s:
            await asyncio.sleep(every_s)
            name = plan.FAULTS[number % len(plan.FAULTS)]
            number += 1
            if self.world.livekit is None and "livekit" in name:
                continue
            try:
                async with self._calm:
                    await self._strike(name)
            except Exception as error:
                traceback.print_exc()
                self.wrong(f"{name}: {type(error).__name__}: {error}")

    async def _strike(self, name: str) -> None:
        """`owner`: whoever it is; only one replica is ever restarted."""
        replicas = self.world.replicas
        is_restart = name == "owner restarted"
        struck = replicas[plan.RESTARTED] if is_restart else self.chance.choice(replicas)
        self.fault_at = self.clock()
        if is_restart:
            self._restarts.append((self.fault_at, self.fault_at + OVERTIME_S))
        try:
            undo = await FAULTS[name](self, struck)
        except AssertionError:  # nobody was connected whom it could have met
            return
        finally:
            if is_restart:
                self._restarts[-1] = (self.fault_at, self.clock())
        self.faults[name] += 1
        told = name.replace("the owner", "owner").replace("owner", f"replica {struck.number}")
        self._struck.append((self.fault_at, told))
        self.tell(told)
        if undo is not None:
            await asyncio.sleep(self.chance.uniform(*plan.LASTS_S))
            await undo()

    # --- the look at the processes ---

    async def look(self) -> None:
        """At every process, now."""
        for one in gateways(self.world):
            with suppress(OSError):
                self.samples.append(await sample(one, self.clock(), self._name(one)))
                self._note(self.samples[-1])

    def _name(self, one: Gateway) -> str:
        """With its id, unless it is the first process of that name."""
        first = self._first.setdefault(one.name, one.pid)
        return one.name if first == one.pid else f"{one.name} pid {one.pid}"

    async def _stand(self) -> None:
        async def stand() -> None:
            newest: dict[str, Sample] = {
                one.process: one for one in self.samples if one.at_s > self.clock() - 2 * SAMPLE_S
            }
            memory = ", ".join(f"{name.removeprefix('replica ')} {one.rss_mb:.0f}" for name, one in newest.items())
            tally = self.tally
            self.tell(
                f"{tally.sessions} sessions, {tally.said} words, {tally.lost} lost ({tally.excused} excused), "
                f"{self.faults.total()} faults, {len(self.problems)} problems; MB: {memory}"
            )

        await self._repeat(TOLD_S, stand)

    async def _repeat(self, every_s: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(aiohttp.ClientError, OSError):
                await what()
