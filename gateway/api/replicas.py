"""The gateway processes on this database, for services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway.api.openapi import Route
from gateway.api.schemas import Moment
from gateway.api.web import json_answer
from gateway.moment import timestamp
from gateway.replicas.replica import Replica

if TYPE_CHECKING:
    from aiohttp import web


class ReplicaView(msgspec.Struct, rename="camel"):
    """`seenAt`: its last beat, by the database's clock. `load`: tracks as a share of what it takes, 1 = full.

    `url`: where the others reach it; null: nowhere, so that it is asked nothing. `state`: `full` and `draining` ones
    begin no transcription.
    """

    id: str
    version: str
    url: str | None
    started_at: Moment
    seen_at: Moment
    state: Literal["ready", "full", "draining"]
    sessions: int
    tracks: int
    watchers: int
    load: float


class ReplicaList(msgspec.Struct):
    """Those that beat, the longest running first."""

    replicas: list[ReplicaView]


@dataclass(frozen=True, slots=True)
class ReplicasApi:
    """`members`: as of the last beat, so it does not wait for the database."""

    members: Callable[[], Awaitable[Sequence[Replica]]]

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        return [
            Route("GET", "/api/replicas", self.show, "The gateway processes on this database: load, sessions, versions",
                  answers={200: ReplicaList}, tag="operation"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/replicas`, for services: 200."""
        return json_answer(ReplicaList([_view(one) for one in await self.members()]))


def _view(one: Replica) -> ReplicaView:
    state: Literal["ready", "full", "draining"] = "full" if one.load.is_full else "ready"
    load = one.load
    return ReplicaView(
        one.id,
        one.version,
        one.url,
        timestamp(one.started_at),
        timestamp(one.seen_at),
        "draining" if one.is_draining else state,
        load.sessions,
        load.tracks,
        load.watchers,
        round(load.share, 3) if load.capacity else 0.0,
    )
