"""How much is logged: as the settings say, or otherwise for a while. Libraries never say more than `info`."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway import logs

log = logging.getLogger(__name__)

FOR_S: Final = 900.0
"""How long a changed level stays: one that is forgotten would fill the disk."""


class LogLevel:
    """Of this process. `configured`: GATEWAY_LOG_LEVEL, to which it goes back."""

    def __init__(self, configured: str = "info") -> None:
        self.configured = configured
        self._back: asyncio.TimerHandle | None = None

    @property
    def now(self) -> str:
        """debug, info, warning or error."""
        return logs.level()

    @property
    def left_s(self) -> float | None:
        """Seconds until it goes back; None while it is as configured."""
        return None if self._back is None else max(0.0, self._back.when() - asyncio.get_running_loop().time())

    def change(self, level: str, for_s: float = FOR_S) -> None:
        """Log at this level for so long. May be repeated: the last call counts."""
        if self._back is not None:
            self._back.cancel()
            self._back = None
        if level != self.configured:
            self._back = asyncio.get_running_loop().call_later(for_s, self.change, self.configured)
        logs.set_level(level)
        log.warning("the log level is %s", level, extra={"seconds": for_s} if self._back is not None else {})

    def restore(self) -> None:
        """What is configured holds again, if anything else did."""
        if self._back is not None:
            self.change(self.configured)

    def flip(self) -> None:
        """Between debug and what is configured."""
        self.change(self.configured if self.now == "debug" and self._back is not None else "debug")
