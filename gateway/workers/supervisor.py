"""Runs worker processes: starts them, replaces those that die or hang, ends them all. Knows nothing of what they do."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from signal import SIGTERM, Signals
from typing import Final

from gateway.errors import StartFailed
from gateway.metrics import Family, exposition
from gateway.workers.figures import Figures
from gateway.workers.line import Line, Message

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
STEADY_S: Final = 60.0
"""A worker that has lived so long is replaced at once; before that, with growing pauses."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_FIGURES_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is started; `{line}` in an argument stands for the descriptor of its end of the socket pair."""

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `start`: to the first sign of life. `silent`: between two; then it is killed. `end`: after SIGTERM."""

    silent: float
    end: float
    start: float = 120.0


@dataclass(slots=True)
class _Worker:
    """One number, and the process that has it now."""

    number: int
    process: asyncio.subprocess.Process
    line: Line
    silent_s: float = 0.0
    """Time in which we looked and heard nothing: while this process itself stands still, nothing is counted."""
    has_beaten: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    missed: list[Signals] = field(default_factory=list)
    """What was passed on to all before it was ready."""
    debug_port: int = 0
    asked: dict[int, asyncio.Future[None]] = field(default_factory=dict)


class Supervisor:
    """`run` is called once. `launch(n)` says how worker n is started, from 1 to `number`."""

    def __init__(self, number: int, launch: Callable[[int], Launch], patience: Patience) -> None:
        self.replaced = 0
        """How many workers were started in the place of one that had ended."""
        self._number = number
        self._launch = launch
        self._patience = patience
        self._workers: dict[int, _Worker] = {}
        self._figures = Figures()
        self._questions = count(1)
        self._stopping = asyncio.Event()
        self._failed: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- from outside ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Every worker ends what it does; those that take too long are killed. May be repeated."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._tell(SIGTERM, self._workers.values())

    def pass_on(self, number: Signals) -> None:
        """SIGHUP or SIGUSR1, to every worker; one without handlers yet, which would end, gets it when it is ready."""
        self._tell(number, self._ready)
        for worker in self._workers.values():
            if not worker.ready.is_set():
                worker.missed.append(number)

    def debug_port(self, worker: int | None) -> int | None:
        """Where on the loopback interface a worker that is ready is asked how it is; None: any of them."""
        found = [one.debug_port for one in self._ready if worker in (None, one.number)]
        return found[0] if found else None

    async def metrics(self) -> bytes:
        """The exposition of all workers. One that does not answer is shown as it was last seen."""
        asking = [self._ask(worker) for worker in self._ready]
        if asking:
            await asyncio.wait(asking, timeout=_FIGURES_S)
        own = [
            Family("gateway_workers", "Workers that are ready", False, "sum", [({}, len(self._ready))]),
            Family(
                "gateway_workers_replaced", "Workers started in place of others", True, "sum", [({}, self.replaced)]
            ),
        ]
        return exposition([*own, *self._figures.families()])

    async def run(self) -> None:
        """Until `stop`, and every worker has ended. The first one starts alone: a reason not to start is said once.

        Raises: StartFailed when it ends before it is ready.
        """
        watching = asyncio.create_task(self._watch(), name="watch workers")
        try:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(self._keep(1), name="worker 1")
                await self._until_ready(first)
                for number in range(2, self._number + 1):
                    group.create_task(self._keep(number), name=f"worker {number}")
        finally:
            watching.cancel()
            for worker in self._workers.values():  # after an error of our own: nothing is left running
                worker.process.kill()
        if self._failed is not None:
            raise StartFailed(self._failed)

    # --- the life of a worker -------------------------------------------------------------------------------

    async def _until_ready(self, first: asyncio.Task[None]) -> None:
        while not first.done() and not self._stopping.is_set():
            if (worker := self._workers.get(1)) is not None and worker.ready.is_set():
                return
            await asyncio.sleep(0.02)

    async def _keep(self, number: int) -> None:
        loop, pause_s, was_ready = asyncio.get_running_loop(), 0.0, False
        while not self._stopping.is_set():
            began = loop.time()
            worker = await self._start(number)
            code = await worker.process.wait()
            self._forget(worker)
            was_ready = was_ready or worker.ready.is_set()
            if self._stopping.is_set():
                return
            if number == 1 and not was_ready:
                self._failed = f"the first worker could not be started (exit code {code}); its reason stands above"
                self.stop()
                return
            is_steady = loop.time() - began >= STEADY_S
            pause_s = 0.0 if is_steady else min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            log.error("worker %d has ended, another one is started in %g s", number, pause_s, extra={"code": code})
            self.replaced += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _start(self, number: int) -> _Worker:
        launch = self._launch(number)
        ours, theirs = socket.socketpair()
        with theirs:
            command = [argument.replace("{line}", str(theirs.fileno())) for argument in launch.command]
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(launch.environment),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C in a terminal reaches us alone
            )
        worker = _Worker(number, process, await Line.open(ours))
        self._workers[number] = worker
        listening = asyncio.create_task(self._listen(worker), name=f"listen to worker {number}")
        self._tasks.add(listening)
        listening.add_done_callback(self._tasks.discard)
        if self._stopping.is_set():
            process.terminate()
        return worker

    def _forget(self, worker: _Worker) -> None:
        worker.line.close()
        del self._workers[worker.number]
        self._figures.end(worker.number)
        for asked in worker.asked.values():
            asked.cancel()

    async def _watch(self) -> None:
        loop, ending_s = asyncio.get_running_loop(), 0.0
        looked = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            since, looked = min(loop.time() - looked, 2 * LOOK_S), loop.time()
            ending_s += since if self._stopping.is_set() else 0.0
            for worker in self._workers.values():
                worker.silent_s += since
                allowed = self._patience.silent if worker.has_beaten else self._patience.start
                if worker.process.returncode is None and (worker.silent_s > allowed or ending_s > self._patience.end):
                    log.error("worker %d does not answer, it is killed", worker.number)
                    worker.process.kill()

    @property
    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.ready.is_set()]

    def _tell(self, number: Signals, workers: Iterable[_Worker]) -> None:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.process.send_signal(number)

    # --- what it says ---------------------------------------------------------------------------------------

    async def _listen(self, worker: _Worker) -> None:
        async for message in worker.line.messages():
            worker.silent_s, worker.has_beaten = 0.0, True
            if message.kind == "ready":
                worker.debug_port = message.number
                worker.ready.set()
                for number in worker.missed:
                    self._tell(number, [worker])
                worker.missed.clear()
            elif message.kind == "figures" and (asked := worker.asked.pop(message.number, None)) is not None:
                self._figures.say(worker.number, message.families)
                asked.set_result(None)
            elif message.kind == "metrics":
                answering = asyncio.create_task(self._answer(worker, message.number), name="metrics of all workers")
                self._tasks.add(answering)
                answering.add_done_callback(self._tasks.discard)

    def _ask(self, worker: _Worker) -> asyncio.Future[None]:
        number, answer = next(self._questions), asyncio.get_running_loop().create_future()
        worker.asked[number] = answer
        worker.line.send(Message("figures", number))
        return answer

    async def _answer(self, worker: _Worker, number: int) -> None:
        worker.line.send(Message("metrics", number, text=(await self.metrics()).decode()))
