"""Joining and leaving a LiveKit room without the ways in which the SDK can be hurt."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from livekit import rtc

from ingest.errors import RoomTrouble

log = logging.getLogger(__name__)

LEAVE_S: Final = 5.0
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class JoinTimedOut(RoomTrouble):
    """The join still goes on inside the SDK: use another identity for the next one."""


async def join(room: rtc.Room, url: str, token: str, timeout_s: float, spawn: Spawn) -> None:
    """Connect `room`, subscribing to nothing.

    A join must never be cancelled: when the native half of it succeeds later and finds no caller waiting, the SDK ends
    the whole process (python-sdks#784). So one that takes too long is left to a task of its own, which `spawn` has to
    hold, and leaves the room as soon as it is in.

    Raises: RoomTrouble.
    """
    options = rtc.RoomOptions(auto_subscribe=False)
    joining = asyncio.create_task(room.connect(url, token, options), name="livekit-join")
    try:
        done, _ = await asyncio.wait({joining}, timeout=timeout_s)
    except asyncio.CancelledError:
        spawn(_leave_when_in(joining, room))
        raise
    if not done:
        spawn(_leave_when_in(joining, room))
        raise JoinTimedOut(
            f"LiveKit did not let us join within {timeout_s:g} s; check that its media ports are reachable"
        )
    if (error := joining.exception()) is not None:
        raise RoomTrouble(f"LiveKit refused the join: {getattr(error, 'message', None) or error}") from error


async def leave(room: rtc.Room) -> None:
    """Disconnect, in a bounded time. Harmless when already disconnected."""
    try:
        async with asyncio.timeout(LEAVE_S):
            await room.disconnect()
    except TimeoutError:
        log.warning("LiveKit did not confirm our leaving within %g s", LEAVE_S)


async def _leave_when_in(joining: asyncio.Task[None], room: rtc.Room) -> None:
    with contextlib.suppress(Exception):  # it failed after all: nothing to leave
        await asyncio.shield(joining)
        await leave(room)
