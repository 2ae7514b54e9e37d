"""The PocketSphinx engine, seen from the server: worker processes, and channels pinned to them.

It understands clean English only, two to three words in ten wrong; it proves the pipeline and is no product.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, Final

from stt.local.recogniser import (
    EngineUnavailable,
    Event,
    Finished,
    Hear,
    Heard,
    Listening,
    Recogniser,
    SpeechEnded,
    SpeechStarted,
    Stumbled,
    Word,
)
from stt.local.sphinx_wire import (
    LENGTH,
    Answer,
    Audio,
    Broken,
    Close,
    Ended,
    Finish,
    Open,
    Order,
    Ready,
    Report,
    Started,
    Text,
    answer_decoder,
    pack,
)
from stt.tasks import TaskOwner

log = logging.getLogger(__name__)

RATE: Final = 16_000
PIECE_BYTES: Final = 3200  # 100 ms: how much a worker is given at once
WINDOW: Final = RATE  # samples under way to a worker per channel; the rest waits here
NO_PARTIALS_S: Final = 2.0  # further behind than this, partials are left out
SLOW_S: Final = 5.0  # further behind than this, the client is held back by late acks
LOAD_S: Final = 60.0
EXIT_S: Final = 2.0
RESTART_S: Final = (0.1, 0.5, 2.0, 5.0)  # pauses before a crashed worker is started again
STRIKES: Final = 2  # crashes over one and the same utterance before its audio is given up


class SphinxEngine:
    """`workers` None: one per core. Channels go to the worker with the fewest, and stay there."""

    name = "pocketsphinx"
    languages: frozenset[str] | None = frozenset({"en"})

    def __init__(self, workers: int | None = None) -> None:
        count = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._tasks = TaskOwner()
        self._workers = [_Worker(i, self._tasks) for i in range(count)]
        self._channels = 0

    @property
    def pids(self) -> list[int]:
        """Of the workers that are ready to hear."""
        return [worker.pid for worker in self._workers if worker.ready and worker.pid is not None]

    async def start(self) -> None:
        """Start every worker and wait until its decoder is loaded. Raises: EngineUnavailable."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.start(), name=f"sphinx-start-{worker.number}")
        except ExceptionGroup as errors:
            await self.close()
            raise errors.exceptions[0] from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the worker processes; one that does not exit within EXIT_S is killed."""
        await self._tasks.cancel()
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    def open(self, listening: Listening, hear: Hear) -> Recogniser:
        """A channel of the worker with the fewest; `hear` is called when its reports come."""
        self._channels += 1
        worker = min(self._workers, key=lambda worker: len(worker.channels))
        return _Channel(self._channels, listening, hear, worker)

    def annotate(self, kind: str, words: tuple[Word, ...]) -> list[dict[str, Any]] | None:
        """None: it knows words only."""
        return None

    def translate(self, text: str, target: str) -> str | None:
        """None: it knows English only."""
        return None


class _Worker:
    """One worker process and the channels pinned to it. It is started again when it dies."""

    def __init__(self, number: int, tasks: TaskOwner) -> None:
        self.number, self._tasks = number, tasks
        self.channels: dict[int, _Channel] = {}
        self._process: asyncio.subprocess.Process | None = None
        self.ready = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process and wait until its decoder is loaded. Raises: EngineUnavailable."""
        command = (sys.executable, "-m", "stt.local.sphinx_worker")
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        except OSError as error:
            raise EngineUnavailable(f"a PocketSphinx worker cannot be started: {error}") from error
        try:
            async with asyncio.timeout(LOAD_S):
                answer = await self._next()
        except TimeoutError:
            await self.stop()
            raise EngineUnavailable(f"PocketSphinx did not load within {LOAD_S:g} s") from None
        if not isinstance(answer, Ready):
            await self.stop()
            why = answer.message if isinstance(answer, Broken) else "the worker process died"
            raise EngineUnavailable(f"PocketSphinx cannot be loaded: {why}; reinstall the package pocketsphinx")
        self.ready = True
        self._tasks.start(self._listen(), f"sphinx-worker-{self.number}")

    async def stop(self) -> None:
        """End the process: the end of its input is its signal, a kill is the fallback."""
        self.ready = False
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._process = None  # not before: a cancelled stop must be repeatable

    def tell(self, order: Order) -> None:
        """Bounded by the channels' windows, so it needs no waiting. A dead worker's orders are repeated later."""
        if self.ready and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(pack(order))

    async def _next(self) -> Answer | None:
        """The next answer, None when the process has died."""
        if self._process is None or self._process.stdout is None:
            return None
        try:
            (size,) = LENGTH.unpack(await self._process.stdout.readexactly(LENGTH.size))
            answer: Answer = answer_decoder.decode(await self._process.stdout.readexactly(size))
            return answer
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _listen(self) -> None:
        """Hand out reports until the process dies, then start another one."""
        while (answer := await self._next()) is not None:
            if isinstance(answer, Report) and answer.channel in self.channels:
                self.channels[answer.channel].reported(answer)
        self.ready = False
        log.error("PocketSphinx worker %d died; starting another one", self.number)
        for channel in list(self.channels.values()):
            channel.interrupted()
        for pause in chain(RESTART_S, repeat(RESTART_S[-1])):
            await self.stop()
            await asyncio.sleep(pause)
            try:
                await self.start()
            except EngineUnavailable as error:
                log.error("PocketSphinx worker %d: %s", self.number, error)
                continue
            for channel in list(self.channels.values()):
                channel.begin()
            return


class _Channel:
    """A recogniser: audio waits here until the worker has room, and is held until its utterance is final."""

    def __init__(self, number: int, listening: Listening, hear: Hear, worker: _Worker) -> None:
        self._number, self._listening, self._hear, self._worker = number, listening, hear, worker
        self._waiting: deque[bytes] = deque()
        self._unsettled = bytearray()  # given to the worker, from sample `_settled` on
        self._settled = self._heard = self._given = self._fed = 0  # samples
        self._utterance = 0
        self._announced = -1  # the last utterance whose start was reported
        self._strikes = 0
        self._finishing = self._finish_told = False
        self._moved = asyncio.Event()
        worker.channels[number] = self
        self.begin()

    @property
    def behind_s(self) -> float:
        return (self._fed - self._heard) / RATE

    async def room(self) -> None:
        while self.behind_s > SLOW_S:
            self._moved.clear()
            await self._moved.wait()

    def feed(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), PIECE_BYTES):
            self._waiting.append(pcm[at : at + PIECE_BYTES])
        self._fed += len(pcm) // 2
        self._give()

    def finish(self) -> None:
        self._finishing = True
        self._give()

    def close(self) -> None:
        if self._worker.channels.pop(self._number, None) is not None:
            self._worker.tell(Close(self._number))
        self._waiting.clear()
        self._heard = self._fed
        self._moved.set()

    def begin(self) -> None:
        """Open the channel in a fresh worker, at the last settled place."""
        if not self._worker.ready:
            return  # the worker's restart calls again
        how = self._listening
        self._worker.tell(Open(self._number, how.endpointing_s, how.longest_s, self._settled, self._utterance))
        again = bytes(self._unsettled)
        self._unsettled.clear()
        self._given = self._heard = self._settled
        self._finish_told = False
        pieces = [again[at : at + PIECE_BYTES] for at in range(0, len(again), PIECE_BYTES)]
        self._waiting.extendleft(reversed(pieces))
        self._give()

    def interrupted(self) -> None:
        """The worker died. Its unfinished utterance is heard again, unless that is what kills workers."""
        self._strikes += 1
        if self._strikes < STRIKES:
            self._hear(Stumbled("the recogniser crashed; the unfinished utterance is being heard again"))
            return
        lost = len(self._unsettled) / 2 / RATE
        self._strikes = 0
        self._settled += len(self._unsettled) // 2
        self._unsettled.clear()
        self._utterance += 1
        self._hear(Stumbled(f"the recogniser crashed again on the same {lost:.1f} s of audio, which are skipped"))

    def reported(self, report: Report) -> None:
        if report.settled > self._settled:
            del self._unsettled[: 2 * (report.settled - self._settled)]
            self._settled, self._utterance = report.settled, report.utterance
            self._strikes = 0
        self._heard = report.heard
        self._moved.set()
        for event in report.events:
            for told in self._translated(event):
                self._hear(told)
        if report.finished:
            self._hear(Finished())
        self._give()

    def _translated(self, event: Started | Ended | Text) -> list[Event]:
        match event:
            case Started(at=at, utterance=number):
                if number <= self._announced:
                    return []  # heard again after a crash
                self._announced = number
                return [SpeechStarted(at)]
            case Ended(at=at):
                return [SpeechEnded(at)]
            case Text(utterance=number, words=words, is_final=is_final):
                return [Heard(number, tuple(Word(*word) for word in words), is_final)]

    def _give(self) -> None:
        if not self._worker.ready:
            return
        while self._waiting and self._given - self._heard < WINDOW:
            pcm = self._waiting.popleft()
            self._unsettled += pcm
            self._given += len(pcm) // 2
            partials = self._listening.partials and self.behind_s < NO_PARTIALS_S
            self._worker.tell(Audio(self._number, pcm, partials))
        if self._finishing and not self._finish_told and not self._waiting:
            self._finish_told = True
            self._worker.tell(Finish(self._number))
