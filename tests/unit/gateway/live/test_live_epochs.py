"""Owners die with finals that only they have shown; whatever a watcher has seen, in the end it has what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_stage import NOW, SLUG, Stage, text
from support.fakes import FakeTransport
from support.frames import messages

from gateway.live.protocol import CloseCode, ResumePoint
from gateway.live.watcher import Watcher
from gateway.transcription.domain.transcription import Numbering

pytestmark = pytest.mark.usefixtures("way")


@dataclass
class Client:
    """As the JavaScript client reads, with the rules of docs/stream.md. `loads`: how often it began at number 1;
    `taken`: how many finals it was sent."""

    stage: Stage
    crosses: bool
    voids: bool = False
    taken: int = 0
    epoch: str = ""
    seq: int = 0
    lines: dict[int, str] = field(default_factory=dict)
    loads: int = 0
    cuts: int = 0
    closed: list[CloseCode] = field(default_factory=list)
    transport: FakeTransport | None = None
    watcher: Watcher | None = None
    read: int = 0

    async def connect(self) -> None:
        since = ResumePoint(self.epoch, self.seq) if self.seq else None
        self.transport, self.read = FakeTransport(), 0
        self.watcher = self.stage.join(self.transport, self.closed, crosses_epochs=self.crosses, takes_voids=self.voids)
        await self.stage.channel.catch_up(self.watcher, since, self.stage.read)

    async def keep_up(self) -> None:
        """Take what has come, and connect again if that was the end."""
        self.stage.channel.deliver_now()
        assert self.transport is not None
        assert self.watcher is not None
        arrived = messages(bytes(self.transport.arrived))
        for message in arrived[self.read :]:
            self.take(message)
        self.read = len(arrived)
        if self.closed:
            self.closed.clear()
            self.cuts += 1
            self.stage.hub.leave(SLUG, self.watcher)
            await self.connect()
            await self.keep_up()

    def take(self, message: dict[str, Any]) -> None:
        epoch, data = message["epoch"], message["data"]
        if message["type"] == "hello":
            if data["resumed"]:
                self.epoch = epoch
                if self.voids and "voidFrom" in data:
                    self.seq = data["voidFrom"] - 1
                    self.lines = {seq: line for seq, line in self.lines.items() if seq <= self.seq}
            elif epoch != self.epoch or data["seq"] < self.seq:
                self.restart(epoch)
        elif message["type"] == "transcript.final":
            if epoch != self.epoch:
                self.restart(epoch)
            if message["seq"] <= self.seq:
                return
            assert message["seq"] == self.seq + 1, "a gap"
            self.seq = message["seq"]
            self.taken += 1
            self.lines[self.seq] = data["text"]

    def restart(self, epoch: str) -> None:
        self.loads += bool(self.seq)
        self.epoch, self.seq = epoch, 0
        self.lines.clear()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=6),
    st.sampled_from([(False, False), (True, False), (True, True)]),
)
def test_in_the_end_every_client_has_what_is_kept(
    reigns: list[tuple[int, int, bool]], understands: tuple[bool, bool]
) -> None:
    """A reign: finals that are kept, finals that are not, and whether the client is connected when it ends."""
    asyncio.run(_reigns(reigns, *understands))


async def _reigns(reigns: list[tuple[int, int, bool]], crosses: bool, takes_voids: bool) -> None:
    stage = Stage()
    client = Client(stage, crosses, takes_voids)
    await client.connect()
    former: dict[str, int] = {}
    voids = 0
    for number, (kept, void, stays) in enumerate(reigns):
        stage.say(kept)
        for _ in range(void):
            seq = stage.channel.last_seq + 1
            stage.channel.final(seq, f"v{number}-{seq}", text(seq).replace(b"Number", b"Void"))
        voids += bool(void)
        await client.keep_up()
        if not stays and client.watcher is not None:
            stage.hub.leave(SLUG, client.watcher)
        former[stage.channel.epoch] = max(stage.database, default=0)
        stage.hub.begin(SLUG, Numbering(f"epoch{number}", NOW, max(stage.database, default=0), dict(former)))
        if not stays:
            await client.connect()
        await client.keep_up()
    stage.say(1)
    await client.keep_up()
    assert client.lines == {seq: f"Number {seq}. " + "x" * 20 for seq in stage.database}
    if crosses:
        assert client.loads <= voids, "only who has seen more than is kept loads again"
    if takes_voids:
        assert client.loads == 0, "and of that only what has changed"
        assert client.taken <= len(stage.database) + sum(void for _, void, _ in reigns)


@pytest.mark.parametrize("crosses", [True, False])
async def test_ten_owners_die_one_after_the_other_while_nobody_watches(crosses: bool) -> None:
    """The oldest epoch is still good up to its end."""
    stage = Stage()
    client = Client(stage, crosses)
    await client.connect()
    stage.say(2)
    await client.keep_up()
    assert client.watcher is not None
    stage.hub.leave(SLUG, client.watcher)
    former: dict[str, int] = {}
    for number in range(10):
        former[stage.channel.epoch] = stage.channel.last_seq
        stage.hub.begin(SLUG, Numbering(f"n{number}", NOW, stage.channel.last_seq, dict(former)))
        stage.say(1)
    await client.connect()
    await client.keep_up()
    assert client.seq == 12
    assert client.loads == (0 if crosses else 1)
