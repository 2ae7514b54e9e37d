"""This process as one of several workers: it shows its supervisor that it lives, and hears when that has died."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from gateway.metrics import Family, exposition
from gateway.workers.line import Line, Message

BEAT_S: Final = 1.0
_METRICS_S: Final = 3.0


class Worker:
    """Made by `joined`. `number`: from 1 to `of`."""

    def __init__(self, number: int, of: int, line: Line) -> None:
        self.number = number
        self.of = of
        self.lost = asyncio.Event()
        """The supervisor is no more, however it ended."""
        self.figures: Callable[[], Sequence[Family]] = list
        """Reads the metrics of this process."""
        self.debug_port = 0
        """Of the loopback interface, where this very process is asked how it is."""
        self._line = line
        self._questions = count(1)
        self._asked: dict[int, asyncio.Future[str]] = {}

    def ready(self) -> None:
        """Requests are answered from now on."""
        self._line.send(Message("ready", self.debug_port))

    async def metrics(self) -> bytes:
        """The exposition of all workers; of this one alone when the supervisor does not answer."""
        number, answer = next(self._questions), asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._line.send(Message("metrics", number))
        try:
            async with asyncio.timeout(_METRICS_S):
                return str(await answer).encode()
        except TimeoutError:
            return exposition(self.figures())
        finally:
            del self._asked[number]

    async def beat(self) -> None:
        """Runs until cancelled, on the loop that does the work: where that hangs, nothing is sent."""
        while True:
            self._line.send(Message("beat"))
            await asyncio.sleep(BEAT_S)

    async def listen(self) -> None:
        """Until the supervisor is gone."""
        async for message in self._line.messages():
            if message.kind == "figures":
                self._line.send(Message("figures", message.number, self.figures()))
            elif message.kind == "metrics" and (asked := self._asked.get(message.number)) and not asked.done():
                asked.set_result(message.text)
        self.lost.set()


@asynccontextmanager
async def joined(number: int, of: int, descriptor: int) -> AsyncIterator[Worker]:
    """`descriptor`: of this worker's end of the socket pair, which is taken over."""
    line = await Line.open(socket.socket(fileno=descriptor))
    worker = Worker(number, of, line)
    tasks = [asyncio.create_task(worker.beat(), name="beat"), asyncio.create_task(worker.listen(), name="supervisor")]
    try:
        yield worker
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        line.close()
