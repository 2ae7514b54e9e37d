"""Audio that comes in here for a transcription of another replica: messages both ways, as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
from aiohttp import web


class OwnerGone(Exception):
    """The owner takes no audio from here: it does not answer, or owns it no more. The text says which."""


class OwnerSilent(OwnerGone):
    """It has not shown a sign of life when it should have: either it does in a moment, or another one takes over."""


class OwnerClosed(Exception):
    """The owner has ended the connection. `code`: to be passed on to the sender."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class OwnerLine(Protocol):
    """A connection to the owner. It notices within seconds that the owner says nothing more."""

    async def send(self, message: str | bytes) -> None:
        """Waits while the owner takes no more. Raises: OwnerClosed."""

    async def receive(self) -> str:
        """What the owner says next. Raises: OwnerClosed."""


class Owners(Protocol):
    """Replicas that transcribe."""

    def speak(self, owner: str, query: Mapping[str, str]) -> AbstractAsyncContextManager[OwnerLine]:
        """A connection to that replica until the end of the block. `query`: session; identity and name of the speaker.

        Raises: OwnerGone; OwnerSilent, without asking one of which that is known.
        """


async def carry(
    sender: web.WebSocketResponse,
    owner: OwnerLine,
    first: str,
    taken: Callable[[bytes], None],
    closed: Callable[[int, str], None],
) -> None:
    """Until one of both ends; `closed` is told how the owner has. `first`: the sender's first message.

    Neither side is read faster than the other one takes, so nothing piles up here. `taken`: called with each message
    of audio. Raises: ConnectionError when the sender has gone.
    """
    down = asyncio.create_task(_down(sender, owner), name="audio answers")
    up = asyncio.create_task(_up(sender, owner, first, taken), name="audio carried")
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if up.done() and up.exception() is None and not down.done():
            return  # the sender has gone
        await asyncio.gather(up, down)
    except OwnerClosed as error:
        closed(error.code, error.reason)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _up(sender: web.WebSocketResponse, owner: OwnerLine, first: str, taken: Callable[[bytes], None]) -> None:
    await owner.send(first)
    async for message in sender:
        if message.type is aiohttp.WSMsgType.BINARY:
            taken(message.data)
            await owner.send(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await owner.send(message.data)


async def _down(sender: web.WebSocketResponse, owner: OwnerLine) -> None:
    while True:
        await sender.send_str(await owner.receive())
