"""What replicas ask each other before a transcription changes hands for want of a line, under /internal/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from gateway.api.web import json_answer
from gateway.replicas.routes import Handler
from gateway.transcription.domain.lines import Line
from gateway.transcription.usecases.lines import Lines

PATH: Final = "/internal/lines"


class Reached(msgspec.Struct):
    """Names of lines; one that this version does not know is not among them."""

    reached: list[str]


@dataclass(frozen=True, slots=True)
class LinesApi:
    """For other replicas alone."""

    lines: Lines

    def routes(self) -> dict[tuple[str, str], Handler]:
        """For `InternalRoutes`."""
        return {("GET", PATH): self.reached}

    async def reached(self, request: web.Request) -> web.Response:
        """Which of the lines asked for (`line`, several) work from here: 200, after a try of 1.5 s at most."""
        asked = set(request.query.getall("line", ()))
        return json_answer(Reached(sorted(await self.lines.reached([line for line in Line if line in asked]))))
