"""How long the event loop keeps timers waiting."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.delays import REMEMBERED, Delays

LOOK_EVERY_S: Final = 15.0 / REMEMBERED


async def watch_loop(delays: Delays) -> None:
    """Look at it until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        delays.lag(max(0.0, clock() - due))
