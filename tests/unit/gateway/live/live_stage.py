"""A hub with one session and the database behind it, and watchers whose connections a test holds."""

from __future__ import annotations

import asyncio
import json
from array import array
from datetime import UTC, datetime
from typing import Any, ClassVar

from support.fakes import FakeTransport
from support.frames import frames, messages

from gateway.live.audience import NO_DESCRIPTOR
from gateway.live.hub import Hub
from gateway.live.protocol import CloseCode, ResumePoint
from gateway.live.watcher import Bounds, Watcher
from gateway.transcription.domain.transcription import Numbering

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SLUG = "abc"


class Stage:
    """A hub with one session, and the database behind it. `say` keeps first and shows then, as the recorder does."""

    has_descriptors: ClassVar[bool] = True

    def __init__(self, *, last_seq: int = 0, epoch: str = "e1", **options: int) -> None:
        self.database = {seq: text(seq) for seq in range(1, last_seq + 1)}
        self.deleted: set[int] = set()
        self.reads: list[tuple[int, int]] = []
        self._options = Bounds(**options)
        self._transports: list[FakeTransport] = []
        self._begin(epoch, last_seq)

    def _begin(self, epoch: str, last_seq: int) -> None:
        self.hub = Hub(lambda: NOW, self._options, self._send_all)
        self.hub.begin(SLUG, Numbering(epoch, NOW, last_seq))
        self.hub.set_state(SLUG, "running", None)
        self.channel = self.hub.channel(SLUG)

    def restart(self) -> None:
        """Another process goes on where the numbering in the database stands; memory is gone."""
        self._begin(self.channel.epoch, max([*self.database, *self.deleted], default=0))

    def delete(self, count: int) -> None:
        """The oldest finals are gone for good, as retention does it."""
        for seq in sorted(self.database)[:count]:
            del self.database[seq]
            self.deleted.add(seq)

    def keep(self, seq: int) -> None:
        self.database[seq] = text(seq)

    def show(self, seq: int) -> None:
        self.channel.final(seq, f"u{seq}", self.database[seq])
        self.channel.deliver_now()

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            seq = self.channel.last_seq + 1
            self.keep(seq)
            self.show(seq)

    def partial(self, utterance: str, said: str = "…") -> None:
        self.channel.partial(utterance, json.dumps({"utteranceId": utterance, "text": said}).encode())
        self.channel.deliver_now()

    def join(
        self,
        transport: FakeTransport,
        closed: list[CloseCode] | None = None,
        *,
        crosses_epochs: bool = False,
        takes_voids: bool = False,
    ) -> Watcher:
        self._transports.append(transport)
        descriptor = len(self._transports) - 1 if self.has_descriptors else NO_DESCRIPTOR
        close = (closed if closed is not None else []).append
        return self.hub.join(
            SLUG, transport, close, descriptor=descriptor, crosses_epochs=crosses_epochs, takes_voids=takes_voids
        )

    def _send_all(self, descriptors: array[int], begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
        told = [(index, descriptors[index]) for index in range(begin, end) if descriptors[index] != NO_DESCRIPTOR]
        taken = [(index, self._transports[descriptor].send(data)) for index, descriptor in told]
        return [(index, sent) for index, sent in taken if sent != len(data)]

    async def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        await asyncio.sleep(0)
        self.reads.append((after, limit))
        return [(seq, self.database[seq]) for seq in sorted(self.database) if seq > after][:limit]

    async def watch(
        self, since: ResumePoint | None = None, *, newest: int | None = None, stuck: bool = False
    ) -> tuple[Watcher, FakeTransport]:
        transport = FakeTransport()
        watcher = self.join(transport)
        await self.channel.catch_up(watcher, since, self.read, newest)
        transport.stuck = stuck
        return watcher, transport


def text(seq: int, size: int = 20) -> bytes:
    return json.dumps({"utteranceId": f"u{seq}", "text": f"Number {seq}. " + "x" * size}).encode()


def kinds(transport: FakeTransport) -> list[str]:
    return [message["type"] for message in messages(bytes(transport.arrived))]


def of_kind(transport: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message for message in messages(bytes(transport.arrived)) if message["type"] == kind]


def loosely(transport: FakeTransport) -> list[dict[str, Any]]:
    """Without the filler of the test."""
    return [json.loads(frame.data) for frame in frames(bytes(transport.arrived)) if frame.data.strip()]


def kinds_after_hello(transport: FakeTransport) -> list[str]:
    return [message["type"] for message in loosely(transport)][1:]


def of_kind_loosely(transport: FakeTransport, kind: str) -> list[dict[str, Any]]:
    return [message for message in loosely(transport) if message["type"] == kind]


class Writes(FakeTransport):
    """Remembers what was written in one piece."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__(stuck=stuck)
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        self.pieces.append(data)

    def send(self, data: bytes) -> int:
        taken = super().send(data)
        self.pieces.append(data[:taken])
        return taken


async def crowd(stage: Stage, count: int, *, stuck: int = 0) -> list[Writes]:
    """Live watchers who have seen everything so far; the first `stuck` of them read no more."""
    transports = [Writes() for _ in range(count)]
    for number, transport in enumerate(transports):
        watcher = stage.join(transport)
        await stage.channel.catch_up(watcher, None, stage.read)
        transport.pieces.clear()
        transport.stuck = number < stuck
    return transports
