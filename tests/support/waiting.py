"""Waiting for what has no event of its own. A wait in vain says what it was for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(holds: Callable[[], Any], what: str = "", within_s: float = 60.0, every_s: float = 0.01) -> Any:
    """Look again and again, awaiting the answer where it is to be awaited. Returns: the first that counts as true.

    Raises: AssertionError with `what`, else with the source of `holds`, and with the last answer.
    """
    found: Any = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = holds()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(every_s)
    except TimeoutError:
        what = what or inspect.getsource(holds).strip()
        raise AssertionError(f"it never came in {within_s:.0f} s: {what}; the last answer was {found!r}") from None
