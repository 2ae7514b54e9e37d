"""A database outage is one line in the log at its beginning and one at its end, however often it is noticed."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger(__name__)


class RecordsUnavailable(Exception):
    """The database cannot be reached now; trying again can help."""


class Outage:
    """What one task that asks the database again and again knows of it. `work`: what waits meanwhile."""

    def __init__(self, work: str, **facts: str) -> None:
        self._work: Final = work
        self._facts: Final = facts
        self._lasts = False

    def noticed(self, error: Exception) -> None:
        if not self._lasts:
            self._lasts = True
            log.warning("database: %s; %s until it answers", error, self._work, extra=self._facts)

    def over(self) -> None:
        if self._lasts:
            self._lasts = False
            log.info("database: it answers again; %s no longer", self._work, extra=self._facts)
