"""Translations for watchers that read one language: what their connection has not brought is read from the database.

What is stored is shown as it comes. A watcher that has just joined, or that was shown a number beyond the next one,
lacks some; so may anyone when another process has stored one, which is looked for each NET_S.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.live.channel import TRANSLATION
from gateway.live.hub import Hub
from gateway.live.watcher import BEHIND_BYTES, Watcher
from gateway.outage import Outage, RecordsUnavailable

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
NET_S: Final = 2.0
PAGE: Final = 200

ReadTranslations = Callable[[str, str, int, int], Awaitable[list[tuple[int, bytes]]]]
"""(session id, language, after, limit) → numbers and data, in order. Raises: RecordsUnavailable."""
Group = tuple[str, str, str]
"""Slug, session id, language."""


class Translated:
    """`run` must run. One statement reads for all watchers of a session and language that lack some."""

    def __init__(self, hub: Hub, read: ReadTranslations) -> None:
        self._hub = hub
        self._read = read
        self._readers: defaultdict[Group, set[Watcher]] = defaultdict(set)
        self._looked_at: dict[Group, float] = {}
        self._outage = Outage("translations wait")

    def add(self, slug: str, session_id: str, watcher: Watcher) -> None:
        """It is sent what it lacks once it is live; nothing for one that reads no language."""
        if watcher.reads is not None:
            self._readers[slug, session_id, watcher.reads.language].add(watcher)

    def remove(self, slug: str, session_id: str, watcher: Watcher) -> None:
        """To be called once for each `add`."""
        if watcher.reads is None:
            return
        group = slug, session_id, watcher.reads.language
        self._readers[group].discard(watcher)
        if not self._readers[group]:
            del self._readers[group]
            self._looked_at.pop(group, None)

    async def finish(self, slug: str) -> None:
        """Look once more before a session's watchers are told that they have all. Raises: RecordsUnavailable."""
        for group in [group for group in self._readers if group[0] == slug]:
            await self._bring(group, all_of_them=True)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._round(asyncio.get_running_loop().time())
            except RecordsUnavailable as error:
                self._outage.noticed(error)
                await asyncio.sleep(1)
            else:
                self._outage.over()

    async def _round(self, now: float) -> None:
        for group in list(self._readers):
            is_due = now - self._looked_at.get(group, now - NET_S) >= NET_S
            if is_due:
                self._looked_at[group] = now
            await self._bring(group, all_of_them=is_due)

    async def _bring(self, group: Group, *, all_of_them: bool) -> None:
        slug, session_id, language = group
        lacking = [one for one in self._readers.get(group, ()) if _takes(one, all_of_them=all_of_them)]
        if not lacking:
            return
        after = min(one.reads.has for one in lacking if one.reads is not None)
        rows = await self._read(session_id, language, after, PAGE)
        channel = self._hub.channel(slug) if self._hub.watching(slug) else None
        for one in lacking:
            if channel is None or one.reads is None or one not in self._readers.get(group, ()):
                continue
            for number, data in rows:
                if number > one.reads.has and _takes(one, all_of_them=True):
                    one.catch_up_translation(number, channel.message(TRANSLATION, data))
            one.reads.has_all = len(rows) < PAGE and (not rows or one.reads.has >= rows[-1][0])


def _takes(watcher: Watcher, *, all_of_them: bool) -> bool:
    """Whether it may be sent some now; `all_of_them`: also when it seems to have everything."""
    if watcher.reads is None or not watcher.is_live or watcher.gone or watcher.behind:
        return False
    return (all_of_them or not watcher.reads.has_all) and watcher.unsent() < BEHIND_BYTES
