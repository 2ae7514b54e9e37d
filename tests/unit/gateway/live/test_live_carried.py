"""Audio for another replica: nothing piles up between the two ends, and each end hears how the other has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.live.carried import OwnerClosed, carry


class Sender:
    """A WebSocket that has always another message to be read."""

    def __init__(self, messages: int) -> None:
        self.left = messages
        self.told: list[str] = []
        self.gone = False

    async def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]:
        while self.left:
            self.left -= 1
            yield aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"ab", None)
        if not self.gone:
            await asyncio.Event().wait()

    async def send_str(self, text: str) -> None:
        self.told.append(text)


class Owner:
    """Takes `room` messages and no more; says what is put into `says`."""

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self.got: list[str | bytes] = []
        self.says: asyncio.Queue[str | OwnerClosed] = asyncio.Queue()

    async def send(self, message: str | bytes) -> None:
        await self.room.acquire()
        self.got.append(message)

    async def receive(self) -> str:
        said = await self.says.get()
        if isinstance(said, OwnerClosed):
            raise said
        return said


async def carried(sender: Any, owner: Owner, closed: list[tuple[int, str]]) -> int:
    counted = [0]

    def count(audio: bytes) -> None:
        counted[0] += len(audio)

    await carry(sender, owner, "start", count, lambda code, why: closed.append((code, why)))
    return counted[0]


async def test_a_sender_is_read_no_further_than_its_owner_takes() -> None:
    sender, owner = Sender(100), Owner(11)
    closed: list[tuple[int, str]] = []
    running = asyncio.create_task(carried(sender, owner, closed))
    owner.says.put_nowait("ready")
    for _ in range(50):
        await asyncio.sleep(0)
    assert owner.got == ["start", *[b"ab"] * 10] and sender.left == 89, "one is in the hand"
    assert sender.told == ["ready"], "answers come although the owner takes nothing"
    owner.says.put_nowait(OwnerClosed(4509, "taken over"))
    assert await running == 22
    assert closed == [(4509, "taken over")]


async def test_a_sender_that_goes_ends_it_and_nothing_is_left_running() -> None:
    sender, owner = Sender(3), Owner(10)
    sender.gone = True
    closed: list[tuple[int, str]] = []
    assert await carried(sender, owner, closed) == 6
    assert not closed and len(asyncio.all_tasks()) == 1


async def test_a_sender_that_cannot_be_told_ends_it() -> None:
    class Deaf(Sender):
        async def send_str(self, text: str) -> None:
            raise ConnectionResetError

    owner = Owner(10)
    owner.says.put_nowait("ready")
    with pytest.raises(ConnectionError):
        await carried(Deaf(1), owner, [])
    assert len(asyncio.all_tasks()) == 1
