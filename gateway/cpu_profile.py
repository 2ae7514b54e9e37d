"""Where a process's CPU time goes: by a timer of it, while it works on. Names of code alone."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from types import FrameType
from typing import Final

from gateway.errors import SessionError
from gateway.stacks import frames_of, function

EVERY_S: Final = 0.01
"""CPU time between two looks at what runs."""
LONGEST_S: Final = 60.0


class ProfileRefused(SessionError):
    title = "No profile now"


class CpuProfile:
    """Looks at the main thread after each EVERY_S of the process's CPU time: a look takes microseconds, and an idle
    process is not looked at.

    The time of C code counts for the function that called it, that of other threads for what the main thread does
    meanwhile.
    """

    def __init__(self) -> None:
        self._is_under_way = False
        self._seen: Counter[str] = Counter()

    async def measure(self, seconds: float) -> str:
        """Returns: collapsed stacks, `outer;inner COUNT` a line, the most frequent first; each count is EVERY_S.

        Raises: ProfileRefused while another one is under way, and where there is no such timer.
        """
        if self._is_under_way:
            raise ProfileRefused("another profile is being taken; ask again when it is over")
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            raise ProfileRefused("this process has no timer of CPU time")
        self._is_under_way, self._seen = True, Counter()
        former = signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        try:
            await asyncio.sleep(min(seconds, LONGEST_S))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            # One signal may still be on its way, and would end the process by default.
            signal.signal(signal.SIGPROF, signal.SIG_IGN if former in (signal.SIG_DFL, None) else former)
            self._is_under_way = False
        return "".join(f"{stack} {count}\n" for stack, count in self._seen.most_common())

    def _look(self, number: int, frame: FrameType | None) -> None:
        self._seen[";".join(map(function, frames_of(frame)))] += 1
