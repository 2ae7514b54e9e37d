"""The transcription that belongs to a session: begun by its first join, started and stopped with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from gateway.errors import SessionError
from gateway.outage import RecordsUnavailable
from gateway.sessions.usecases.ports import Begun, TranscriptionControl, Wanted
from gateway.transcription.domain.transcription import begins_by_itself
from gateway.transcription.usecases.records import TranscriptionRecord

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# Most transcriptions being begun at once. Above it a join begins none; the session's next join does.
BEGINNINGS: Final = 1_000


class History(Protocol):
    """Which transcriptions there have been."""

    async def newest(self, slug: str) -> TranscriptionRecord | None:
        """The session's, running or stopped; None when it never had one. Raises: RecordsUnavailable."""


class ServerTranscription:
    """Use inside `async with serving()`. `source`: where a session's audio comes from; None: joins begin nothing."""

    def __init__(
        self,
        control: TranscriptionControl,
        history: History,
        source: str | None,
        *,
        retry_after_s: Sequence[float] = RETRY_AFTER_S,
    ) -> None:
        self.refused = 0
        """Beginnings given up, for whatever reason."""
        self._control = control
        self._history = history
        self._source = source
        self._retry_after_s = retry_after_s
        self._beginning: dict[str, asyncio.Event] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Joins begin transcriptions inside the block. At its end those being begun are given up, and awaited."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                for given_up in self._beginning.values():
                    given_up.set()

    @property
    def beginning(self) -> int:
        """How many sessions' transcriptions are being begun; at most BEGINNINGS."""
        return len(self._beginning)

    def begin(self, slug: str) -> None:
        """A participant has joined: a task begins the session's transcription. Never waits and never raises.

        While the control does not answer, the task tries again after RETRY_AFTER_S; then it gives up, which is counted.
        """
        if self._source is None or self._tasks is None or slug in self._beginning:
            return
        if len(self._beginning) >= BEGINNINGS:
            self.refused += 1
            log.error("transcription not begun: too many at once", extra={"session": slug})
            return
        given_up = self._beginning[slug] = asyncio.Event()
        task = self._tasks.create_task(self._begin(slug, self._source, given_up), name=f"begin {slug}")
        task.add_done_callback(lambda _: self._beginning.pop(slug, None))

    async def start(self, slug: str, source: str | None, wanted: Wanted | None = None) -> Begun:
        """As a caller asks for it; idempotent. Raises: SessionError, RecordsUnavailable."""
        return await self._control.start(slug, source or self._source or "livekit", wanted)

    async def stop(self, slug: str, reason: str) -> bool:
        """Drained. Returns: whether nothing transcribes the session any more.

        Raises: SessionError, RecordsUnavailable.
        """
        if (given_up := self._beginning.get(slug)) is not None:
            given_up.set()
        return await self._control.stop(slug, reason)

    async def _begin(self, slug: str, source: str, given_up: asyncio.Event) -> None:
        for wait_s in (*self._retry_after_s, None):
            try:
                if begins_by_itself(await self._last(slug)):
                    await self._control.start(slug, source)
                return
            except (SessionError, RecordsUnavailable) as error:
                if wait_s is None or (isinstance(error, SessionError) and not error.passing):
                    self.refused += 1
                    log.error("transcription not begun: %s", error, extra={"session": slug})
                    return
                log.warning("transcription not begun, trying again: %s", error, extra={"session": slug})
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await given_up.wait()
                if given_up.is_set():
                    return
            except Exception:  # of one session: the others' beginnings share this task group
                self.refused += 1
                log.exception("transcription not begun", extra={"session": slug})
                return

    async def _last(self, slug: str) -> tuple[str, str | None] | None:
        record = await self._history.newest(slug)
        return None if record is None else (record.state, record.stop_reason)
