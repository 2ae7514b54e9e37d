"""Transcriptions change hands between living replicas: taken from others, given to others, all given away at the end.

The heir asks and the owner gives, whoever began it: an owner that wants to go offers, and the one that accepts asks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from gateway import tracing
from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.tasks import Tasks
from gateway.transcription.domain.errors import CutOffHere, NoAnswer, NoRoom, NotReady, RunsElsewhere
from gateway.transcription.domain.handover import HandedOver, Heir, Late
from gateway.transcription.domain.lines import Line
from gateway.transcription.domain.transcription import Claimed, Lease
from gateway.transcription.usecases.context import RunContext
from gateway.transcription.usecases.late import PATIENCE_S, LateFinals
from gateway.transcription.usecases.records import Owned
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.transcriptions import Transcriptions

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
"""How long an heir lets the owner wait for a pause, when a publisher waits for it."""
PARTING_PAUSE_S: Final = 5.0
"""The same when the owner goes."""
DEAF_PAUSE_S: Final = 1.0
"""The same when the owner has no line on which it could be heard, so that a breath will do."""
AT_ONCE: Final = 20
"""Hand-overs of a replica that goes."""
_ANSWER_S: Final = 0.5
"""Beyond a pause that was waited for; then the database is looked at beside the wait."""
_LOST_ANSWER_S: Final = 3.0
"""So long the database is looked at whether a lost answer was a yes, also of an owner that lives."""
_DYING_S: Final = 7.0
"""Beyond the pause, for an owner that does not beat either: its lease ends and somebody adopts, this replica perhaps. A
publisher waits for all of it, and an RTMP server gives its key 10 s to be checked."""
_LOOK_S: Final = 0.2
_ANSWER_LOOKS: Final = 10
_REMEMBERED: Final = 1_000
CLOSE_S: Final = PATIENCE_S + 8.0
"""For what came late: beyond the patience with an heir, its last answer (3 s) and the database."""


class Neighbours(Protocol):
    """The replicas beside this one, by id. Every call has a deadline of its own and may be repeated."""

    def heir(self) -> Heir:
        """This replica, as the next owner."""

    async def with_room(self, among: Collection[str] | None = None) -> Sequence[str]:
        """Others to which a transcription may go, all or `among` these, in the order in which it is to be offered to
        them."""

    async def reaches(self, replica: str, lines: Collection[Line]) -> bool:
        """Whether it has all these lines. False also when it does not say."""

    async def ask_for(self, owner: str, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
        """Raises: NoAnswer; NotReady, RunsElsewhere as it has refused."""

    async def offer(self, replica: str, slug: str, owner: str, fence: int, pause_s: float) -> None:
        """Let it ask us for a transcription; returns when it has it. Raises: NoAnswer;
        NotReady, NoRoom, RunsElsewhere as it has refused."""

    async def tell_late(self, replica: str, slug: str, late: Late) -> None:
        """Raises: NoAnswer, also when it does not have the transcription."""

    def silent_s(self, replica: str) -> float:
        """Since that one's last beat that is known here; infinite when it does not beat any more."""


class Handover:
    """Between this replica and its neighbours."""

    def __init__(
        self,
        here: Transcriptions,
        context: RunContext,
        others: Neighbours,
        hears: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`hears`: whether audio that comes here could be transcribed; None: always."""
        self.taken = self.given = self.refused = 0
        """Transcriptions taken from living owners, given to others, and asked for in vain."""
        self._here = here
        self._context = context
        self._leases = context.records.leases
        self._sessions = context.records.sessions
        self._others = others
        self._hears = hears
        self._tasks = Tasks()
        self._giving: OrderedDict[tuple[str, int, Heir], asyncio.Task[HandedOver | SessionError]] = OrderedDict()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Around the time in which transcriptions run: at its end, what came late is brought to the heirs."""
        try:
            yield
        finally:
            await self._tasks.close(CLOSE_S)

    # --- asked by others ------------------------------------------------------------------------------------

    async def give(self, slug: str, fence: int, heir: Heir, pause_s: float) -> HandedOver:
        """What runs here goes to the heir, which may ask again. Raises: NotReady, RunsElsewhere."""
        question = slug, fence, heir
        if (giving := self._giving.get(question)) is None:
            run = self._here.run_of(slug)
            if run is None or run.claimed.lease.fence != fence:
                raise RunsElsewhere(slug)
            # A task of its own: whoever asked may be gone before it is done, and ask again.
            giving = self._giving[question] = self._tasks.start(self._give(run, heir, pause_s), f"hand over {slug}")
            if len(self._giving) > _REMEMBERED:
                self._giving.popitem(last=False)
        handed = await asyncio.shield(giving)
        if isinstance(handed, SessionError):
            self._giving.pop(question, None)
            raise handed
        return handed

    async def accept(self, slug: str, owner: str, fence: int, pause_s: float) -> None:
        """An owner that goes, or is cut off, offers what it runs. Raises: as `take`."""
        if self._here.run_of(slug) is None:
            await self._take(slug, owner, fence, pause_s)
            if (run := self._here.run_of(slug)) is not None:
                run.came_at = self._context.clock.monotonic()

    async def hear(self, slug: str, late: Late) -> None:
        """What came to a former owner. Raises: RunsElsewhere, also before the run has begun; RecordsUnavailable."""
        run = self._here.run_of(slug)
        if run is None or run.claimed.lease != Lease(late.transcription_id, late.fence):
            raise RunsElsewhere(slug)
        participants: dict[str, asyncio.Future[str | None]] = {}
        for speaker in {caption.speaker for caption in late.captions}:
            row = participants[speaker.identity] = asyncio.get_running_loop().create_future()
            try:
                row.set_result(await self._sessions.join(run.claimed.session_id, speaker))
            except LookupError:  # the session was deleted
                row.set_result(None)
        if self._here.run_of(slug) is not run:  # meanwhile it was given on, and numbers nothing any more
            raise RunsElsewhere(slug)
        run.hear_late(late, participants)

    # --- by ourselves ---------------------------------------------------------------------------------------

    async def fetch(self, keys: Sequence[str]) -> bool:
        """Take over the transcription with one of these stream keys, if another replica has it.

        Returns: whether it stays there all the same, for this replica does not reach the provider.
        Raises: SessionError, with what to tell the publisher; RecordsUnavailable.
        """
        if not self._context.membership.may_act():
            raise CutOffHere
        before: tuple[str, Lease] | None = None
        while (owned := await self._leases.published(keys)) is not None:
            if self._hears is not None and not await self._hears():
                return True
            try:
                await self._take(owned.claimed.slug, owned.owner, owned.claimed.lease.fence, PAUSE_S)
                break
            except RunsElsewhere:
                # The owner did not answer; while it was waited for, another replica may have adopted it.
                after = await self._leases.published(keys)
                if before is not None or after is None or _owner(after) == _owner(owned):
                    raise
                before = _owner(owned)
        return False

    async def drain(self, within_s: float) -> None:
        """Give away what runs here, spread over those that have room. What nobody takes is left to `release`."""
        self._here.draining = True
        give = self._giver(min(PARTING_PAUSE_S, within_s / 2))
        parting = [asyncio.create_task(give(run), name=f"give away {run.claimed.slug}") for run in self._here.runs]
        if parting:
            _, late = await asyncio.wait(parting, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*parting, return_exceptions=True)

    async def who_reaches(self, lines: Collection[Line]) -> Collection[str]:
        """Some of those with room that have all these lines."""
        others = await self._others.with_room()
        reached = await asyncio.gather(*(self._others.reaches(one, lines) for one in others))
        return [one for one, has_them in zip(others, reached, strict=True) if has_them]

    async def move(self, runs: Sequence[Run], to: Collection[str]) -> int:
        """Give these away, spread over replicas where they are better off. Returns: how many have gone."""
        give = self._giver(DEAF_PAUSE_S, to)
        return sum(await asyncio.gather(*(give(run) for run in runs)))

    # --- inside ---------------------------------------------------------------------------------------------

    async def _give(self, run: Run, heir: Heir, pause_s: float) -> HandedOver | SessionError:
        slug = run.claimed.slug
        late = LateFinals(run.claimed, heir, self._context, self._others.tell_late)
        try:
            with tracing.span("transcription hand over", _facts(slug, heir.replica), links=[run.claimed.traceparent]):
                handed = await run.hand_over(heir, pause_s, late)
        except SessionError as error:
            return error
        self._here.let_go(run)
        self._tasks.start(late.run(), f"late finals {slug}")
        self.given += 1
        log.info("handed over to another replica", extra={"session": slug, "to": heir.replica})
        return handed

    def _giver(self, pause_s: float, to: Collection[str] | None = None) -> Callable[[Run], Coroutine[None, None, bool]]:
        """How to give away many, AT_ONCE at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def give(run: Run) -> bool:
            async with gate:
                return await self._give_away(run, pause_s, to)

        return give

    async def _give_away(self, run: Run, pause_s: float, to: Collection[str] | None = None) -> bool:
        slug, fence, me = run.claimed.slug, run.claimed.lease.fence, self._others.heir().replica
        for replica in await self._others.with_room(to):
            if run.state.is_ending:
                break
            try:
                await self._others.offer(replica, slug, me, fence, pause_s)
                return True
            except (NoAnswer, SessionError) as error:
                log.warning("replica %s does not take it over: %s", replica, error, extra={"session": slug})
        return False

    async def _take(self, slug: str, owner: str, fence: int, pause_s: float) -> None:
        """Raises: NotReady, NoRoom, SourceUnavailable, RunsElsewhere, RecordsUnavailable."""
        with tracing.span("transcription take over", _facts(slug, owner)) as span:
            await self._take_traced(slug, owner, fence, pause_s, span)

    async def _take_traced(self, slug: str, owner: str, fence: int, pause_s: float, span: tracing.Span) -> None:
        async with self._here.lock(slug):
            if self._here.run_of(slug) is not None:
                return
            if self._here.draining:
                raise NotReady("this gateway is shutting down")
            if self._here.is_full:
                raise NoRoom("this gateway has no room for it")
            record = await self._context.records.transcriptions.newest(slug)
            kind = record.source if record is not None else ""
            self._here.sources.require(kind)
            source = await self._here.sources.listen_first(kind, slug, fence + 1)
            run: Run | None = None
            try:
                handed, claimed = await self._ask(slug, owner, fence, pause_s)
                span.link(claimed.traceparent)
                adopted = self._here.run_of(slug)
                run = adopted or await self._here.go_on(claimed, handed, source)
            except BaseException:
                self.refused += 1
                raise
            finally:
                if source is not None and (run is None or run.source is not source):
                    await source.close("it is heard already" if run is not None else "it stays where it was")
            if adopted is None:
                self.taken += 1
                log.info("taken over from a living replica", extra={"session": slug, "from": owner})

    async def _ask(self, slug: str, owner: str, fence: int, pause_s: float) -> tuple[HandedOver | None, Claimed]:
        """What the owner says, if its answer was heard, and what is ours now. Raises: as `_take`.

        A lost answer may have been a yes, which only the database knows; and an owner that says nothing may be dying,
        frozen for example: it is waited for until it shows that it lives, or the database that another one has it.
        One that cannot close its books gives up what it has, soon: then it is anybody's, or ours already.
        """
        now = self._context.clock.monotonic
        asking = asyncio.create_task(self._question(slug, owner, fence, pause_s), name=f"ask for {slug}")
        began, lost_at = now(), math.inf
        try:
            await asyncio.wait({asking}, timeout=pause_s + _ANSWER_S)
            while True:
                is_late = now() - began >= pause_s + _DYING_S
                answer = asking.result() if asking.done() else None
                refused = answer if isinstance(answer, NotReady) else None
                try:
                    if (ours := await self._ours(slug, asking)) is not None:
                        return ours
                    await self._still_theirs(slug, owner, refused)
                except RecordsUnavailable:
                    if is_late:
                        raise
                if asking.done():
                    lost_at = min(lost_at, now())
                lives = now() - lost_at >= _LOST_ANSWER_S and self._others.silent_s(owner) < now() - began
                if is_late or isinstance(answer, HandedOver) or (lives and refused is None):
                    raise refused or RunsElsewhere(slug)
                await asyncio.sleep(_LOOK_S)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _question(self, slug: str, owner: str, fence: int, pause_s: float) -> HandedOver | NotReady | None:
        """None: no answer was heard. NotReady: it ends there, one way or the other. Raises: RunsElsewhere, as it has
        refused."""
        try:
            return await self._others.ask_for(owner, slug, fence, self._others.heir(), pause_s)
        except NotReady as error:
            log.warning("the owner %s does not hand over: %s", owner, error, extra={"session": slug})
            return error
        except NoAnswer as error:
            log.warning("the owner %s was not heard: %s", owner, error, extra={"session": slug})
            return None

    async def _ours(
        self, slug: str, asking: asyncio.Task[HandedOver | NotReady | None]
    ) -> tuple[HandedOver | None, Claimed] | None:
        """What is ours by now, adopted or handed over. Raises: RecordsUnavailable."""
        if (run := self._here.run_of(slug)) is not None:
            return None, run.claimed
        if (found := await self._held(slug)) is None:
            return None
        for _ in range(_ANSWER_LOOKS):  # the answer is on its way, if it is no adoption
            if asking.done() or self._here.run_of(slug) is not None:
                break
            await asyncio.wait({asking}, timeout=_LOOK_S)
        answer = asking.result() if asking.done() else None
        return (answer if isinstance(answer, HandedOver) else None), found

    async def _still_theirs(self, slug: str, owner: str, refused: NotReady | None) -> None:
        """Raises: RunsElsewhere when another replica has it; `refused` when it has stopped; RecordsUnavailable."""
        record = await self._context.records.transcriptions.newest(slug)
        if record is None or record.owner not in (owner, self._others.heir().replica):
            raise RunsElsewhere(slug)
        if refused is not None:
            if record.is_stopped:
                raise refused
            await self._here.adoption.take(record.id)

    async def _held(self, slug: str) -> Claimed | None:
        return next((one for one in await self._leases.of(self._others.heir()) if one.slug == slug), None)


def _facts(slug: str, other: str) -> dict[str, str]:
    return {"session": slug, "other_replica": other}


def _owner(owned: Owned) -> tuple[str, Lease]:
    return owned.owner, owned.claimed.lease
