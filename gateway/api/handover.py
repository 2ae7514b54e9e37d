"""How transcriptions change hands between replicas, under /internal/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.api.web import json_answer, read_told
from gateway.replicas.routes import Handler, misdirected
from gateway.transcription.domain.errors import RunsElsewhere
from gateway.transcription.domain.handover import Heir, Late
from gateway.transcription.usecases.handover import Handover

Pause = Annotated[float, Meta(ge=0, le=30)]


class HandOver(msgspec.Struct, rename="camel"):
    """`fence`: under which the asked replica has it. `pause_s`: how long a pause is waited for."""

    fence: int
    to: Heir
    pause_s: Pause


class TakeOver(msgspec.Struct, rename="camel"):
    """`owner` offers what it has under `fence`."""

    owner: str
    fence: int
    pause_s: Pause


@dataclass(frozen=True, slots=True)
class HandoverApi:
    """Refused as the API refuses; 421 where the transcription is another replica's."""

    handover: Handover

    def routes(self) -> dict[tuple[str, str], Handler]:
        """For `InternalRoutes`."""
        path = "/internal/transcription/{slug}"
        return {
            ("POST", f"{path}/hand-over"): _directed(self.hand_over),
            ("POST", f"{path}/take-over"): _directed(self.take_over),
            ("POST", f"{path}/late"): _directed(self.late),
        }

    async def hand_over(self, request: web.Request) -> web.Response:
        """Give it to the one who asks: 200 with what it needs to go on."""
        body = await read_told(request, HandOver)
        return json_answer(await self.handover.give(request.match_info["slug"], body.fence, body.to, body.pause_s))

    async def take_over(self, request: web.Request) -> web.Response:
        """Ask the one who offers it: 204 when it runs here."""
        body = await read_told(request, TakeOver)
        await self.handover.accept(request.match_info["slug"], body.owner, body.fence, body.pause_s)
        return web.Response(status=204)

    async def late(self, request: web.Request) -> web.Response:
        """What came to the former owner: 204 when it is numbered here."""
        await self.handover.hear(request.match_info["slug"], await read_told(request, Late))
        return web.Response(status=204)


def _directed(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
    async def directed(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except RunsElsewhere as error:
            return misdirected(str(error), error.owner)

    return directed
