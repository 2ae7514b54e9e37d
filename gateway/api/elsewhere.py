"""What only the replica that runs a transcription knows of it: its own answer, as it came, or none after a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.reading import NotJson, read_json
from gateway.transcription.usecases.status import Seen

PATH: Final = "/internal/transcription"


class _Several(msgspec.Struct):
    transcriptions: list[msgspec.Raw]


class _Named(msgspec.Struct, rename="camel"):
    session_slug: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """`ask`: by a replica's id and a path; the body of its answer, None when it has none to give in time."""

    ask: Callable[[str, str], Awaitable[bytes | None]]

    async def view(self, seen: Seen) -> msgspec.Raw | None:
        """Of one, as a `TranscriptionView`. None: this replica knows as much."""
        return await self._told(seen, "")

    async def usage(self, seen: Seen) -> msgspec.Raw | None:
        """Of one, as a `UsageView`. None as before."""
        return await self._told(seen, "/usage")

    async def timeline(self, seen: Seen) -> msgspec.Raw | None:
        """Of one, as a `TimelineView`. None as before."""
        return await self._told(seen, "/timeline")

    async def inside(self, seen: Seen) -> msgspec.Raw | None:
        """Of one, as an `Inside`. None as before."""
        return await self._told(seen, "/inside")

    async def views(self, seen: Sequence[Seen]) -> Mapping[str, msgspec.Raw]:
        """Of those that run elsewhere, by slug; one question a replica, all at once."""
        owners = list({one.record.owner for one in seen if _is_elsewhere(one)})
        found: dict[str, msgspec.Raw] = {}
        for body in await asyncio.gather(*(self.ask(owner, PATH) for owner in owners)):
            try:
                several = read_json(body, _Several).transcriptions if body is not None else []
                found |= {read_json(bytes(one), _Named).session_slug: one for one in several}
            except NotJson:
                continue
        return found

    async def _told(self, seen: Seen, what: str) -> msgspec.Raw | None:
        if not _is_elsewhere(seen):
            return None
        body = await self.ask(seen.record.owner, f"{PATH}/{quote(seen.record.slug, safe='')}{what}")
        return None if body is None else msgspec.Raw(body)


def _is_elsewhere(seen: Seen) -> bool:
    return seen.run is None and seen.is_stored and not seen.record.is_stopped
